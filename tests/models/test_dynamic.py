"""Dynamic SAR and SDM: R's SDPDmod, dense brute force, collapse, simulation.

R (SDPDmod 0.0.6, its numerical shortcuts removed): ``SDPDm(logc ~ logp + logy, model, effect,
dynamic = TRUE, tlaginfo = list(tl = TRUE, stl = ...), LYtrans = ..., DIRtrans = ...)``.
"""

import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import FORMULA
from scipy import sparse

import spatial_agglo as sa
from spatial_agglo.core.dynamic_bias import Dynamics, multiplier_traces, radius, score_bias
from spatial_agglo.core.logdet import log_determinant
from spatial_agglo.errors import (
    BoundaryError,
    DataError,
    FormulaError,
    IdentificationError,
    OptionError,
    WeightsError,
)
from spatial_agglo.models.dynamic import dynamic
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace

MODELS = ("sar", "sdm")
EFFECTS = ("entity", "two-way")
R_EFFECTS = {"entity": "individual", "two-way": "twoways"}
R_LAGS = {"both": "tlTRUE_stlTRUE", "own": "tlTRUE_stlFALSE"}
#: R's estimates before correction: rho + tau = 1.012.
UNSTABLE = ("sdm", "entity", "own")
STABLE = [(model, lags) for model in MODELS for lags in R_LAGS if (model, lags) != ("sdm", "own")]


@pytest.fixture(scope="module")
def r(reference):
    """Look one fit of R's up."""
    found = reference("cigarettes_r")["dynamic"]

    def look_up(model, effects, lags, *, lee_yu=False, direct=False):
        middle = f"LY{str(lee_yu).upper()}_{R_LAGS[lags]}_DIR{str(direct).upper()}"
        return found[f"{model}_{R_EFFECTS[effects]}_{middle}"]

    return look_up


@pytest.fixture(scope="module")
def cigarettes_space(cigarettes, queen):
    return Workspace.of(FORMULA, cigarettes, queen)


def close(ours, theirs, rtol):
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=0)


def estimates(found):
    return [*found["coef"].values(), found["rho"], found["sigma2"]]


def lattice(side):
    """Row-standardised rook contiguity of a grid."""
    line = sparse.diags_array([np.ones(side - 1)] * 2, offsets=[-1, 1], shape=(side, side))
    B = sparse.csr_array(
        sparse.kron(line, sparse.eye_array(side)) + sparse.kron(sparse.eye_array(side), line)
    )
    return sparse.csr_array(sparse.diags_array(1.0 / B.sum(axis=1)) @ B)


def neighbours(n, k, seed):
    """Row-standardised k nearest neighbours of random points: asymmetric."""
    points = np.random.default_rng(seed).random((n, 2))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    W = np.zeros((n, n))
    np.put_along_axis(W, np.argsort(distance, axis=1)[:, :k], 1.0 / k, axis=1)
    return sparse.csr_array(W)


def draw(W, T, at, rng, *, time=False, burn=60, beta=1.0):
    """One stationary panel of T + 1 periods with unit (and period) effects, as a Workspace."""
    N = W.shape[0]
    dense = W.toarray()
    S = np.linalg.inv(np.eye(N) - at.rho * dense)
    A = S @ (at.tau * np.eye(N) + at.eta * dense)
    c = rng.normal(size=N)
    X = rng.normal(size=(burn + T + 1, N)) + 0.5 * c
    u = beta * X + c + rng.normal(size=X.shape)
    if time:
        u += rng.normal(size=(len(X), 1))
    y = np.zeros_like(X)
    for t in range(1, len(X)):
        y[t] = A @ y[t - 1] + S @ u[t]
    frame = pd.DataFrame(
        {
            "id": np.tile(np.arange(N), T + 1),
            "t": np.repeat(np.arange(T + 1), N),
            "y": y[burn - 1 : burn + T].ravel(),
            "x": X[burn - 1 : burn + T].ravel(),
        }
    )
    panel = sa.Panel(frame, entity="id", time="t")
    return Workspace.of("y ~ x", panel, sa.SpatialWeights.from_sparse(W, list(range(N))))


# --- against R ----------------------------------------------------------------------------


@pytest.mark.parametrize("lags", ["both", "own"])
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_uncorrected_against_r(r, cigarettes_space, model, effects, lags):
    theirs = r(model, effects, lags)
    spec = ModelSpec.of(model, effects=effects, likelihood="direct-demeaned", cov="expected")
    fit = dynamic(spec, cigarettes_space, lags=lags, correct=False)
    assert list(fit.names) == [*theirs["coef"], "rho", "sigma2"]
    close(fit.params, estimates(theirs), 1e-9)
    close(fit.loglik, theirs["logLik"], 1e-9)


@pytest.mark.parametrize("likelihood", ["transformed", "direct", "direct-demeaned"])
@pytest.mark.parametrize(("model", "lags"), STABLE)
def test_yu_de_jong_lee_against_r(r, cigarettes_space, model, likelihood, lags):
    """With entity effects the three likelihoods have one maximum, and one correction."""
    theirs = r(model, "entity", lags, lee_yu=True)["bias_corrected"]
    spec = ModelSpec.of(model, effects="entity", likelihood=likelihood)
    fit = dynamic(spec, cigarettes_space, lags=lags)
    close(fit.params, estimates(theirs), 1e-9)
    close(fit.loglik, theirs["logLik"], 1e-9)


@pytest.mark.parametrize("lags", ["both", "own"])
@pytest.mark.parametrize("model", MODELS)
def test_lee_yu_transformation_against_r(r, cigarettes_space, model, lags):
    """R's log-likelihood is left out: it counts N T observations where (N - 1) T remain."""
    theirs = r(model, "two-way", lags, lee_yu=True)
    fit = dynamic(ModelSpec.of(model, effects="two-way"), cigarettes_space, lags=lags)
    close(fit.uncorrected, estimates(theirs), 1e-9)
    close(fit.params, estimates(theirs["bias_corrected"]), 1e-9)
    assert fit.n_effective == 45 * 29


@pytest.mark.parametrize("lags", ["both", "own"])
@pytest.mark.parametrize("model", MODELS)
def test_direct_approach_against_r(r, cigarettes_space, model, lags):
    theirs = r(model, "two-way", lags, direct=True)["bias_corrected"]
    spec = ModelSpec.of(model, effects="two-way", likelihood="direct-demeaned")
    fit = dynamic(spec, cigarettes_space, lags=lags)
    close(fit.params, estimates(theirs), 1e-9)


def with_fourth_moment(fit, *, reduced_form):
    """The expected covariance with R's term for errors that are not normal.

    ``V + V Omega V``, Omega from the excess of the fourth moment over 3 sigma^4. R takes the
    moment of the reduced-form residual ``S^-1 v`` in place of that of ``v``.
    """
    W = fit.workspace.W.matrix.toarray()
    v, sigma2 = fit.resid, fit.sigma2
    if fit.n_effective < fit.nobs:  # the period effects are transformed away
        F = np.linalg.eigh(np.eye(len(W)) - 1 / len(W))[1][:, 1:]
        W, v = F.T @ W @ F, v @ F
    S = np.eye(len(W)) - fit.rho * W
    moment = (np.linalg.solve(S, v.T) ** 4 if reduced_form else v**4).mean()
    G = np.diag(W @ np.linalg.inv(S))
    omega = np.zeros((len(fit.names),) * 2)
    omega[-2, -2] = G @ G
    omega[-2, -1] = omega[-1, -2] = G.sum() / (2 * sigma2)
    omega[-1, -1] = len(W) / (4 * sigma2**2)
    omega *= (fit.n_effective / len(W)) * (moment - 3 * sigma2**2) / sigma2**2
    return fit.covariance + fit.covariance @ omega @ fit.covariance


@pytest.mark.parametrize(
    ("model", "lags", "approach"),
    [(model, lags, "entity") for model, lags in STABLE]
    + [(m, lags, a) for m in MODELS for lags in R_LAGS for a in ("two-way", "two-way direct")],
)
def test_standard_errors_against_r(r, cigarettes_space, model, approach, lags):
    """R's standard errors are the expected information and a term that is wrong.

    With its term added back they agree; that the term is wrong is shown by simulation below.
    In the transformation approach it depends on the basis that R takes, hence the tolerance.
    """
    effects, _, direct = approach.partition(" ")
    theirs = r(model, effects, lags, lee_yu=not direct, direct=bool(direct))["bias_corrected"]
    spec = ModelSpec.of(
        model,
        effects=effects,
        likelihood="direct-demeaned" if direct else "transformed",
        cov="expected",
    )
    fit = dynamic(spec, cigarettes_space, lags=lags)
    errors = [*theirs["se"].values(), theirs["rho_se"]]
    ours = np.sqrt(np.diag(with_fourth_moment(fit, reduced_form=True)))[:-1]
    close(ours, errors, 1e-3 if approach == "two-way" else 1e-9)
    # coefficients that hardly covary with rho agree without it
    close(
        fit.std_errors[["logc(t-1)", "logp", "logy"]],
        [theirs["se"][k] for k in ("logc(t-1)", "logp", "logy")],
        2e-4,
    )


def test_r_tests_another_restriction(r, cigarettes_space):
    """R's "stationarity" statistic is that of rho + tau + eta = 0; ours is of 1."""
    theirs = r("sar", "entity", "both", lee_yu=True)
    found = theirs["bias_corrected"]
    total = found["rho"] + sum(list(found["coef"].values())[:2])
    g = np.array([1, 1, 0, 0, 1, 0])
    variance = g @ np.array(theirs["varcov"]) @ g
    close(total**2 / variance, theirs["wald_stationarity"]["stat"], 1e-9)
    fit = dynamic(ModelSpec.of("sar", effects="entity", cov="expected"), cigarettes_space)
    close(fit.stability.total, total, 1e-9)
    g = np.isin(fit.names, ["logc(t-1)", "W*logc(t-1)", "rho"])
    close(fit.stability.std_error, np.sqrt(fit.cov.to_numpy()[np.ix_(g, g)].sum()), 1e-12)
    close(fit.stability.statistic, (total - 1) ** 2 / variance, 5e-3)


def test_unstable(r, cigarettes_space):
    """R puts 0 for the root above 1 - 1/N and goes on; the sum over powers does not exist."""
    model, effects, lags = UNSTABLE
    theirs = r(model, effects, lags)
    spec = ModelSpec.of(model, effects=effects)
    fit = dynamic(spec, cigarettes_space, lags=lags, correct=False)
    close(fit.params[:-1], estimates(theirs)[:-1], 1e-9)
    assert fit.stability.total > 1
    close(fit.stability.radius, fit.tau / (1 - fit.rho), 1e-9)
    assert any(note.startswith("NOT STABLE") for note in fit.notes)
    with pytest.raises(BoundaryError, match=r"not stable before correction: .*= 1\.0123"):
        dynamic(spec, cigarettes_space, lags=lags)


# --- the bias, by brute force -------------------------------------------------------------

DYNAMICS = [
    Dynamics(0.4, 0.1, 0.3),
    Dynamics(0.5, 0.0, -0.4),
    Dynamics(0.0, 0.6, 0.2),
    Dynamics(-0.3, 0.2, 0.5),
    Dynamics(0.5, -0.15, 0.3),  # eta = -rho tau: A = tau I
]
BACK_END_NAMES = ["symmetric", "asymmetric", "symmetric sparse", "asymmetric sparse"]
BACK_ENDS = [lattice(4), neighbours(30, 4, 0), lattice(13), neighbours(160, 5, 1)]


def powers(W, at, H=4000):
    """``sum_{h < H} A^h S^-1``, and G, as explicit matrices."""
    N = len(W)
    S = np.linalg.inv(np.eye(N) - at.rho * W)
    A = S @ (at.tau * np.eye(N) + at.eta * W)
    M, term = np.zeros((N, N)), S
    for _ in range(H):
        M += term
        term = A @ term
        if np.abs(term).max() < 1e-18:
            break
    return M, W @ S


@pytest.mark.parametrize("at", DYNAMICS)
@pytest.mark.parametrize("remove_mean", [False, True])
@pytest.mark.parametrize("W", BACK_ENDS, ids=BACK_END_NAMES)
def test_bias_is_the_sum_of_powers(W, at, remove_mean):
    """The formula of Yu, de Jong & Lee, term by term, in four back ends."""
    N = W.shape[0]
    M, G = powers(W.toarray(), at)
    J = np.eye(N) - remove_mean / N
    dense = W.toarray()
    expected = (
        np.trace(J @ M),
        np.trace(J @ dense @ M),
        at.tau * np.trace(J @ G @ M) + at.eta * np.trace(J @ G @ dense @ M) + np.trace(J @ G),
        (N - remove_mean) / (2 * 1.7),
    )
    found = score_bias(at, log_determinant(W), W, sigma2=1.7, remove_mean=remove_mean)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8 * N)


@pytest.mark.parametrize("W", BACK_ENDS, ids=BACK_END_NAMES)
def test_beyond_the_reach_of_the_interpolant(W):
    """A common root above 1 that period effects absorb."""
    at = Dynamics(0.6, 0.1503, 0.25)
    logdet, N = log_determinant(W), W.shape[0]
    J = np.eye(N) - 1 / N
    dense = W.toarray()
    A = np.linalg.solve(np.eye(N) - at.rho * dense, at.tau * np.eye(N) + at.eta * dense)
    roots = np.abs(np.linalg.eigvals(J @ A))
    assert at.total > 1 > roots.max()
    close(radius(at, logdet, W, remove_mean=False), 0.7503 / 0.75, 1e-9)
    close(radius(at, logdet, W, remove_mean=True), roots.max(), 1e-9)
    M = np.linalg.inv(np.eye(N) - J @ A) @ J @ np.linalg.inv(np.eye(N) - at.rho * dense)
    found = multiplier_traces(at, logdet, W, remove_mean=True)
    close(found, (np.trace(M), np.trace(dense @ M)), 1e-9)


def test_edge_of_the_stable_region_with_many_units(monkeypatch):
    W = lattice(13)
    monkeypatch.setattr("spatial_agglo.core.dynamic_bias.DENSE_SPECTRUM", 100)
    with pytest.raises(BoundaryError, match="169 units"):
        multiplier_traces(Dynamics(0.6, 0.16, 0.25), log_determinant(W), W, remove_mean=True)


@pytest.mark.parametrize("at", DYNAMICS)
@pytest.mark.parametrize("W", BACK_ENDS, ids=BACK_END_NAMES)
def test_radius(W, at):
    dense, N = W.toarray(), W.shape[0]
    A = np.linalg.solve(np.eye(N) - at.rho * dense, at.tau * np.eye(N) + at.eta * dense)
    expected = np.abs(np.linalg.eigvals(A)).max()
    close(radius(at, log_determinant(W), W, remove_mean=False), expected, 1e-8)


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("at", DYNAMICS)
def test_bias_is_the_expected_score(at, effects):
    """The score of the likelihood at the truth, from the covariance of all the data.

    ``y = L e`` with an explicit NT x NT matrix, so the expectation of the score is exact for
    any T. It differs from its limit by a multiple of 1/T: two values of T give the limit.
    """
    W, sigma2 = neighbours(6, 2, 3).toarray(), 1.3
    N = len(W)
    S = np.linalg.inv(np.eye(N) - at.rho * W)
    A = S @ (at.tau * np.eye(N) + at.eta * W)
    two_way = effects == "two-way"
    J = np.eye(N) - two_way / N

    def score(T):
        """Cells of y before the first are independent of e and add nothing."""
        chain = [S]
        for _ in range(T - 1):
            chain.append(A @ chain[-1])
        L = np.zeros((T, N, T, N))
        for t in range(T):
            for s in range(t + 1):
                L[t, :, s] = chain[t - s]
        L = L.reshape(T * N, T * N)
        shift = np.kron(np.eye(T, k=-1), np.eye(N))
        lagW = np.kron(np.eye(T), W)
        Q = np.kron(np.eye(T) - 1 / T, J)
        jacobian = np.trace(W @ S) - two_way / (1 - at.rho)
        return np.array(
            [
                np.trace(Q @ shift @ L),
                np.trace(Q @ lagW @ shift @ L),
                np.trace(Q @ lagW @ L) - T * jacobian,
                -(N - two_way) * T / (2 * sigma2) + np.trace(Q) / (2 * sigma2),
            ]
        )

    limit = 2 * score(180) - score(90)
    logdet = log_determinant(sparse.csr_array(W))
    found = score_bias(
        at, logdet, sparse.csr_array(W), sigma2=sigma2, remove_mean=effects == "two-way"
    )
    np.testing.assert_allclose(found, -limit, rtol=1e-6, atol=1e-6)


def test_without_space_it_is_hahn_and_kuersteiner():
    """tau + (1 + tau)/T: the information of tau is N T / (1 - tau^2) and b is N / (1 - tau)."""
    W, tau, N = lattice(5), 0.4, 25
    b = score_bias(Dynamics(tau, 0, 0), log_determinant(W), W, sigma2=1.0, remove_mean=False)
    close(b[0] * (1 - tau**2) / N, 1 + tau, 1e-12)
    np.testing.assert_allclose(b[1:3], 0, atol=1e-12)


# --- collapse -----------------------------------------------------------------------------


@pytest.mark.parametrize("lags", ["both", "own", "spatial"])
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_uncorrected_is_the_static_model_with_lags_as_regressors(
    cigarettes, queen, cigarettes_space, model, effects, lags
):
    frame = cigarettes.frame.reset_index()
    frame["before"] = frame.groupby("state")["logc"].shift(1)
    W = queen.align(cigarettes.entities).matrix
    frame["around"] = (W @ frame["before"].to_numpy().reshape(30, 46).T).T.ravel()
    panel = sa.Panel(frame.dropna(), entity="state", time="year")
    terms = {"both": "before + around", "own": "before", "spatial": "around"}[lags]
    options = {"durbin": ["logp", "logy"]} if model == "sdm" else {}
    for likelihood, cov in (("transformed", "clustered"), ("direct-demeaned", "observed")):
        static = getattr(sa, model)(
            f"logc ~ {terms} + logp + logy",
            panel,
            queen,
            effects=effects,
            likelihood=likelihood,
            cov=cov,
            **options,
        )
        spec = ModelSpec.of(model, effects=effects, likelihood=likelihood, cov=cov)
        fit = dynamic(spec, cigarettes_space, lags=lags, correct=False)
        close(fit.params, static.params, 1e-8)
        close(fit.cov, static.cov, 1e-8)
        close(fit.loglik, static.loglik, 1e-12)
        pd.testing.assert_series_equal(fit.resids, static.resids, rtol=1e-8)


@pytest.mark.parametrize("effects", ["entity", "two-way"])
def test_the_correction_vanishes_with_time(effects):
    at = Dynamics(0.4, 0.1, 0.3)
    moved = {}
    for T in (250, 1000):
        space = draw(lattice(5), T, at, np.random.default_rng(T), time=effects == "two-way")
        fit = dynamic(ModelSpec.of("sar", effects=effects, likelihood="transformed"), space)
        moved[T] = fit.params - fit.uncorrected
    assert 0 < moved[1000]["y(t-1)"] < 2e-3
    assert 3.3 < moved[250]["y(t-1)"] / moved[1000]["y(t-1)"] < 4.7


@pytest.mark.parametrize("cov", ["observed", "expected", "robust", "clustered", "opg"])
@pytest.mark.parametrize("effects", EFFECTS)
def test_covariances_are_of_the_same_size_after_correction(cigarettes_space, effects, cov):
    """The correction moves the estimate by O(1/T), and its covariance no more than that."""
    spec = ModelSpec.of("sdm", effects=effects, cov=cov)
    fit = dynamic(spec, cigarettes_space)
    plain = dynamic(spec, cigarettes_space, correct=False)
    ratio = fit.std_errors / plain.std_errors
    assert (abs(ratio - 1) < 0.3).all()
    assert (ratio != 1).all()


# --- the result ---------------------------------------------------------------------------


def test_result(cigarettes_space):
    fit = dynamic(ModelSpec.of("sdm", durbin=["logp"]), cigarettes_space)
    assert list(fit.names) == [
        "logc(t-1)",
        "W*logc(t-1)",
        "logp",
        "logy",
        "W*logp",
        "rho",
        "sigma2",
    ]
    assert fit.regressors == ("logp", "logy")
    assert (fit.own_lag, fit.spatial_lag) == ("logc(t-1)", "W*logc(t-1)")
    assert fit.position(fit.own_lag) == 0
    assert fit.tau == fit.params["logc(t-1)"]
    assert fit.eta == fit.params["W*logc(t-1)"]
    assert fit.nobs == 46 * 29
    years = fit.resids.index.get_level_values("year")
    assert (years.min(), years.max()) == (1964, 1992)
    assert fit.stability.radius > fit.stability.radius_within
    assert repr(fit).startswith("DynamicFit(sdm")
    again = pickle.loads(pickle.dumps(fit))
    pd.testing.assert_series_equal(again.params, fit.params)
    own = dynamic(ModelSpec.of("sar"), cigarettes_space, lags="own")
    assert (own.eta, own.spatial_lag) == (None, None)
    close(own.stability.total, own.tau + own.rho, 1e-14)


def test_front_door(cigarettes, queen, cigarettes_space):
    fit = sa.sdm(FORMULA, cigarettes, queen, durbin=["logp"], dynamic="own", cov="robust")
    spec = ModelSpec.of("sdm", durbin=["logp"], cov="robust")
    same = dynamic(spec, cigarettes_space, lags="own")
    pd.testing.assert_series_equal(fit.params, same.params)
    plain = fit.replace(bias_correction=False)
    pd.testing.assert_series_equal(
        plain.params[:-1], fit.uncorrected[:-1], check_names=False, rtol=1e-9
    )
    assert (fit.spec.dynamic, fit.spec.bias_correction) == ("own", True)
    assert (plain.spec.dynamic, plain.spec.bias_correction) == ("own", False)
    assert any(note.startswith("bias-corrected by the transformation") for note in fit.notes)
    assert any(note.startswith("not corrected") for note in plain.notes)


def test_corrected_residuals_and_likelihood_are_those_of_the_estimates(cigarettes_space):
    fit = dynamic(ModelSpec.of("sar", effects="two-way"), cigarettes_space)
    data = cigarettes_space.data
    W = cigarettes_space.W.matrix.toarray()
    y, before = data.y[1:], data.y[:-1]
    u = y - fit.rho * y @ W.T - fit.tau * before - fit.eta * before @ W.T
    u = u - data.X[1:] @ fit.params[["logp", "logy"]].to_numpy()
    u = u - u.mean(axis=0) - u.mean(axis=1, keepdims=True) + u.mean()
    np.testing.assert_allclose(fit.resid, u, atol=1e-12)
    F = np.linalg.eigh(np.eye(46) - 1 / 46)[1][:, 1:]
    logdet = np.linalg.slogdet(np.eye(45) - fit.rho * F.T @ W @ F)[1]
    n = 45 * 29
    expected = -n / 2 * np.log(2 * np.pi * fit.sigma2) + 29 * logdet
    close(fit.loglik, expected - (u**2).sum() / (2 * fit.sigma2), 1e-12)


def test_order_of_rows_and_units_does_not_matter(cigarettes, queen):
    frame = cigarettes.frame.reset_index().sample(frac=1.0, random_state=1)
    frame["state"] = frame["state"].map(lambda name: name[::-1])
    renamed = queen.to_frame().rename(index=lambda n: n[::-1], columns=lambda n: n[::-1])
    panel = sa.Panel(frame, entity="state", time="year")
    spec = ModelSpec.of("sdm", cov="robust")
    one = dynamic(spec, Workspace.of(FORMULA, cigarettes, queen))
    two = dynamic(spec, Workspace.of(FORMULA, panel, renamed))
    close(two.params, one.params, 1e-8)
    close(two.std_errors, one.std_errors, 1e-8)


# --- bad input ----------------------------------------------------------------------------


@pytest.fixture
def few():
    """A panel of five units with given time labels."""

    def make(times, columns=()):
        rng = np.random.default_rng(0)
        frame = pd.MultiIndex.from_product([list("abcdefg"), times], names=["i", "t"]).to_frame(
            index=False
        )
        for name in ("y", "x", *columns):
            frame[name] = rng.normal(size=len(frame))
        W = sa.SpatialWeights.from_dense(
            np.triu(np.ones((7, 7)), k=1) + np.eye(7, k=-1), list("abcdefg")
        )
        formula = " + ".join(["y ~ x", *(f"`{name}`" for name in columns)])
        return Workspace.of(formula, sa.Panel(frame, entity="i", time="t"), W)

    return make


@pytest.mark.parametrize("model", ["ols", "slx", "sem", "sdem"])
def test_other_models(cigarettes_space, model):
    with pytest.raises(OptionError, match="available for sar and sdm"):
        dynamic(ModelSpec.of(model), cigarettes_space)


def test_options(cigarettes_space):
    with pytest.raises(OptionError, match="'own', 'spatial', 'both'"):
        dynamic(ModelSpec.of("sar"), cigarettes_space, lags="time")
    with pytest.raises(OptionError, match="correction of static models"):
        dynamic(ModelSpec.of("sar", likelihood="corrected"), cigarettes_space)
    with pytest.raises(OptionError, match="hold y\\(t-1\\) fixed"):
        dynamic(ModelSpec.of("sar", cov="bootstrap"), cigarettes_space)
    for effects in ("none", "time", "random"):
        with pytest.raises(OptionError, match="'entity' or 'two-way'"):
            dynamic(ModelSpec.of("sar", effects=effects), cigarettes_space)


def test_gaps_and_weights_that_change(cigarettes, queen):
    frame = cigarettes.frame.reset_index().drop(index=77)
    panel = sa.Panel(frame, entity="state", time="year", unbalanced="allow")
    with pytest.raises(DataError, match="balanced panel"):
        dynamic(ModelSpec.of("sar"), Workspace.of(FORMULA, panel, queen))
    knn = sa.datasets.weights("cigarettes_5_nearest").standardize("row")
    changing = sa.weights.PanelWeights({y: queen if y < 1980 else knn for y in cigarettes.times})
    with pytest.raises(WeightsError, match="one W for all periods"):
        dynamic(ModelSpec.of("sar"), Workspace.of(FORMULA, cigarettes, changing))


def test_too_few_periods(few):
    with pytest.raises(IdentificationError, match="at least 4 periods.*has 3"):
        dynamic(ModelSpec.of("sar", effects="entity"), few([1, 2, 3]))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([2000, 2001, 2002, 2004, 2005], r"do not: \(2002, 2004\).*without gaps"),
        (pd.PeriodIndex(["2000Q1", "2000Q2", "2000Q3", "2001Q1", "2001Q2"], freq="Q"), "equal"),
        (
            pd.to_datetime(["2000-01-01", "2001-01-01", "2003-01-01", "2004-01-01"]),
            r"do not: \(Timestamp.*2001-01",
        ),
        (["t1", "t2", "t3", "t10", "t11"], "labels without a distance"),
    ],
)
def test_periods_that_do_not_follow_each_other(few, times, message):
    with pytest.raises(DataError, match=message):
        dynamic(ModelSpec.of("sar", effects="entity"), few(times), correct=False)


@pytest.mark.parametrize(
    "times",
    [
        [1990, 1995, 2000, 2005, 2010, 2015],
        pd.period_range("2000Q1", periods=6, freq="Q"),
        pd.date_range("2000-01-01", periods=6, freq="MS"),
        pd.date_range("2000-01-01", periods=6, freq="QE"),
        pd.date_range("2000-01-31", periods=6, freq="7D"),
    ],
)
def test_periods_at_equal_steps(few, times):
    fit = dynamic(ModelSpec.of("sar", effects="entity"), few(times), correct=False)
    assert fit.nobs == 35


def test_names_that_are_taken(few):
    space = few(range(6), ["y(t-1)"])
    with pytest.raises(FormulaError, match=r"named 'y\(t-1\)'"):
        dynamic(ModelSpec.of("sar", effects="entity"), space)


def test_period_effects_need_row_standardised_weights(few):
    space = few(range(6))
    with pytest.raises(WeightsError, match="row-standardised"):
        dynamic(ModelSpec.of("sar"), space)


# --- simulation ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("effects", ["entity", "two-way"])
def test_bias_and_coverage(effects):
    """``pytest -m slow -s -k bias_and_coverage`` prints what it finds."""
    W, T, at, replications = lattice(7), 10, Dynamics(0.4, 0.1, 0.3), 1000
    rng = np.random.default_rng(2008)
    spec = ModelSpec.of("sar", effects=effects)
    truth = np.array([at.tau, at.eta, 1.0, at.rho])
    found = {"uncorrected": [], "corrected": []}
    for _ in range(replications):
        space = draw(W, T, at, rng, time=effects == "two-way")
        fit, plain = dynamic(spec, space), dynamic(spec, space, correct=False)
        for name, one in (("uncorrected", plain), ("corrected", fit)):
            found[name].append((one.values[:4] - truth, np.sqrt(np.diag(one.covariance))[:4]))
    print(f"\nN = 49, T = {T}, {effects} effects, {replications} draws: tau, eta, beta, rho")
    bias, coverage = {}, {}
    for name, values in found.items():
        error, se = np.array(values).transpose(1, 0, 2)
        bias[name] = error.mean(axis=0)
        coverage[name] = (np.abs(error) < 1.959964 * se).mean(axis=0)
        print(f"  {name:12s} bias {bias[name].round(4)}  coverage {coverage[name].round(3)}")
    assert bias["uncorrected"][0] < -0.06
    assert abs(bias["corrected"][0]) < 0.015
    assert coverage["uncorrected"][0] < 0.5
    assert 0.90 < coverage["corrected"][0] < 0.97
    assert (coverage["corrected"][1:] > 0.91).all()
    assert (coverage["corrected"][1:] < 0.98).all()


@pytest.mark.slow
def test_standard_errors_of_r_are_too_large_for_normal_errors():
    """The fourth moment of ``S^-1 e`` is not that of e: the errors of sigma2 double."""
    W = sparse.csr_array(sparse.block_diag([np.array([[0.0, 1.0], [1.0, 0.0]])] * 25))
    T, at, replications = 30, Dynamics(0.2, 0.0, 0.5), 1000
    rng = np.random.default_rng(2010)
    spec = ModelSpec.of("sar", effects="entity", cov="expected")
    found, errors = [], {"expected information": [], "moment of S^-1 v (R)": [], "moment of v": []}
    for _ in range(replications):
        fit = dynamic(spec, draw(W, T, at, rng, beta=0.3), lags="own")
        found.append(fit.values[-2:])
        for name, V in zip(
            errors,
            (fit.covariance, *(with_fourth_moment(fit, reduced_form=r) for r in (True, False))),
            strict=True,
        ):
            errors[name].append(np.sqrt(np.diag(V)[-2:]))
    spread = np.std(found, axis=0)
    ratio = {name: np.mean(se, axis=0) / spread for name, se in errors.items()}
    print("\nstandard errors of rho and sigma2 over the spread of the estimates:", ratio)
    assert (abs(ratio["expected information"] - 1) < 0.07).all()
    assert (abs(ratio["moment of v"] - 1) < 0.07).all()
    assert ratio["moment of S^-1 v (R)"][1] > 2
