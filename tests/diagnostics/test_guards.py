"""Where tests hold, where they must not be given, and what they say then.

Random effects, panels with gaps, weights that change over time, two-stage least squares and
dynamic models, against dense brute force or the same model written out by hand.
"""

from dataclasses import replace

import dense_family
import dense_random
import dense_unbalanced
import numpy as np
import pandas as pd
import pytest
from conftest import FORMULA

import spatial_agglo as sa
from spatial_agglo.diagnostics.wald import nests_sem
from spatial_agglo.errors import IdentificationError, OptionError, WeightsError
from spatial_agglo.formula import variables
from spatial_agglo.models.fitting import fit as fit_model
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace

N, T = 14, 7
XY = "y ~ x1 + x2"


def ring(N, step=1, raw=False):
    """Each unit with its neighbours on a ring, and one across; rows divided by their sums."""
    W = np.zeros((N, N))
    for i in range(N):
        W[i, (i + step) % N] = W[i, (i - step) % N] = 1.0
        W[i, (i + N // 2) % N] = 0.5
    W[0, 3] = 2.0
    return W if raw else W / W.sum(axis=1, keepdims=True)


@pytest.fixture
def data(small):
    return small(ring(N), T=T, seed=4)


@pytest.fixture
def gaps(data):
    """The panel without one cell in seven, and the mask of what is there."""
    frame, _, weights, y, X = data
    mask = np.random.default_rng(1).uniform(size=(T, N)) > 0.15
    mask[:2] = True
    panel = sa.Panel(frame[mask.ravel()], entity="id", time="t", unbalanced="allow")
    return panel, weights, y, X, mask


@pytest.fixture
def changing(data):
    """The balanced panel with other neighbours in every second period."""
    _, panel, weights, y, X = data
    other = sa.SpatialWeights.from_dense(ring(N, 2), weights.ids)
    W = sa.weights.PanelWeights({t: (weights, other)[t % 2] for t in panel.times})
    stacked = np.stack([(ring(N), ring(N, 2))[t % 2] for t in panel.times])
    return panel, W, y, X, stacked


# --- what is refused ----------------------------------------------------------------------


def test_lm_tests_are_not_for_random_effects(data):
    _, panel, weights, *_ = data
    with pytest.raises(OptionError, match=r"not for effects='random'.*z statistics"):
        sa.lm_tests(XY, panel, weights, effects="random")


def test_likelihood_ratios_need_a_likelihood(data):
    _, panel, weights, *_ = data
    with pytest.raises(OptionError, match=r"two-stage least squares.*wald_tests"):
        sa.lr_tests(sa.stsls(XY, panel, weights, model="sdm", lags=1))
    with pytest.raises(OptionError, match=r"corrected for bias.*wald_tests"):
        sa.lr_tests(sa.sdm(XY, panel, weights, dynamic="both"))


def test_effects_tests_are_for_fixed_effects(data):
    _, panel, weights, *_ = data
    with pytest.raises(OptionError, match=r"edge of the parameter space"):
        sa.effects_tests(XY, panel, weights, effects="random")


def test_choose_model_is_not_for_random_effects(data):
    _, panel, weights, *_ = data
    with pytest.raises(OptionError, match=r"not for effects='random'"):
        sa.choose_model(XY, panel, weights, effects="random")


# --- Moran's I of residuals ---------------------------------------------------------------


def moran(e, W):
    """``(N / S0) e'We / e'e``, W one matrix or one for each period."""
    W = np.broadcast_to(W, (len(e), *W.shape[-2:]))
    cross = sum(e[t] @ W[t] @ e[t] * e.shape[1] / W[t].sum() for t in range(len(e)))
    return cross / (e**2).sum()


def test_moran_of_two_stage_residuals_without_a_lag(data):
    """Instruments for a regressor: Anselin and Kelejian's variance, dummies written out."""
    frame, _, weights, _, X = data
    frame = frame.assign(z=frame["x2"] + np.random.default_rng(0).normal(size=len(frame)))
    panel = sa.Panel(frame, entity="id", time="t")
    options = {"model": "ols", "endogenous": ["x2"], "instruments": ["z"], "cov": "unadjusted"}
    fit = sa.stsls(XY, panel, weights, effects="entity", **options)
    Z = (X - X.mean(axis=0)).reshape(-1, 2)
    big, e = np.kron(np.eye(T), ring(N)), fit.resid.ravel()
    n = N * (T - 1)
    s2 = e @ e / n
    own = (T - 1) * np.trace(ring(N) @ ring(N) + ring(N) @ ring(N).T)
    d = Z.T @ (big + big.T) @ e / s2
    expected = e @ big @ e / s2 / np.sqrt(own + d @ fit.covariance @ d)
    for found in (sa.residual_moran(fit), sa.residual_moran(fit, W=weights)):
        assert found["I"] == pytest.approx(moran(fit.resid, ring(N)), rel=1e-12)
        assert found["z"] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("model", ["ols", "slx", "sar"])
def test_moran_of_random_effects(data, model):
    """I is that of the quasi-demeaned residuals."""
    _, panel, weights, y, X = data
    fit = getattr(sa, model)(XY, panel, weights, effects="random")
    W, b = ring(N), fit.params
    lagged = np.einsum("ij,tjk->tik", W, X)
    u = y - (fit.rho or 0.0) * y @ W.T - b["Intercept"] - X @ b[["x1", "x2"]].to_numpy()
    if model == "slx":
        u = u - lagged @ b[["W*x1", "W*x2"]].to_numpy()
    v = u - (1.0 - 1.0 / np.sqrt(1.0 + T * b["phi"])) * u.mean(axis=0)
    assert sa.residual_moran(fit)["I"] == pytest.approx(moran(v, W), rel=1e-8)


def test_moran_of_a_formula_with_random_effects(data):
    _, panel, weights, *_ = data
    found = sa.residual_moran(XY, panel, weights, effects="random")
    fit = sa.ols(XY, panel, weights, effects="random")
    pd.testing.assert_series_equal(found, sa.residual_moran(fit))


@pytest.mark.parametrize("model", ["ols", "sdm"])
def test_moran_with_weights_that_change(changing, model):
    panel, weights, _, _, stacked = changing
    fit = getattr(sa, model)(XY, panel, weights)
    found = sa.residual_moran(fit)
    assert found["I"] == pytest.approx(moran(fit.resid, stacked), rel=1e-12)
    assert 0.0 < found["p_value"] <= 1.0


def test_moran_with_the_same_weights_in_every_period_has_exact_moments(data):
    _, panel, weights, *_ = data
    same = sa.weights.PanelWeights(dict.fromkeys(panel.times, weights))
    expected = sa.residual_moran(XY, panel, weights)
    pd.testing.assert_series_equal(sa.residual_moran(XY, panel, same), expected)
    fit = sa.ols(XY, panel)
    pd.testing.assert_series_equal(sa.residual_moran(fit, W=same), expected)


def test_moran_of_an_error_model_with_weights_of_its_own(data):
    _, panel, weights, *_ = data
    fit = sa.sem(XY, panel, None, W_error=weights, effects="entity")
    assert sa.residual_moran(fit, permutations=9)["I"] == pytest.approx(
        moran(fit.resid, ring(N)), rel=1e-12
    )
    with pytest.raises(WeightsError, match="fitted without"):
        sa.residual_moran(sa.ols(XY, panel))


# --- likelihood ratios and Wald tests on panels with gaps ------------------------------------


@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
@pytest.mark.parametrize("effects", ["none", "entity", "time", "two-way"])
def test_lr_with_gaps_is_that_of_brute_force(gaps, effects, likelihood):
    panel, weights, y, X, mask = gaps
    fit = sa.sdm(XY, panel, weights, effects=effects, likelihood=likelihood)
    found = sa.lr_tests(fit)
    best = {}
    for model in ("sdm", "sar", "sem"):
        problem = dense_unbalanced.problem(y, X, ring(N), mask, model, effects, likelihood)
        best[model] = dense_family.fit(problem)
    for small in ("sar", "sem"):
        expected = 2.0 * (best["sdm"]["loglik"] - best[small]["loglik"])
        row = found.loc[f"LR SDM/{small.upper()}"]
        assert row["statistic"] == pytest.approx(expected, abs=1e-6)
        assert row["df"] == 2
        assert best[small]["n"] == best["sdm"]["n"]


@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
@pytest.mark.parametrize("effects", ["none", "entity", "time", "two-way"])
def test_with_gaps_the_error_model_is_the_durbin_model_with_a_common_factor(
    gaps, effects, likelihood
):
    """The likelihoods are the same function at ``rho = lambda, theta = -rho beta``."""
    _, _, y, X, mask = gaps
    sem, sdm = (
        dense_unbalanced.problem(y, X, ring(N), mask, model, effects, likelihood)
        for model in ("sem", "sdm")
    )
    beta, lam, sigma2 = np.array([0.8, 1.7]), 0.35, 1.3
    constant = [2.0] if effects == "none" else []
    factored = [(1.0 - lam) * c for c in constant]
    left = dense_family.loglik(np.array([*constant, *beta, lam, sigma2]), sem)
    right = dense_family.loglik(np.array([*factored, *beta, *(-lam * beta), lam, sigma2]), sdm)
    assert left == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("effects", ["entity", "two-way"])
def test_lr_with_weights_that_change(changing, effects):
    panel, weights, y, X, stacked = changing
    found = sa.lr_tests(sa.sdm(XY, panel, weights, effects=effects))
    full = np.ones((T, N), dtype=bool)
    best = {
        model: dense_family.fit(
            dense_unbalanced.problem(y, X, stacked, full, model, effects, "transformed")
        )["loglik"]
        for model in ("sdm", "sar", "sem")
    }
    expected = [2.0 * (best["sdm"] - best[small]) for small in ("sar", "sem")]
    np.testing.assert_allclose(found["statistic"], expected, atol=1e-6)


def test_wald_with_gaps_is_the_quadratic_form_of_the_covariance(gaps):
    panel, weights, *_ = gaps
    fit = sa.sdm(XY, panel, weights, cov="robust")
    b, V = fit.params, fit.cov
    theta = ["W*x1", "W*x2"]
    found = sa.wald_tests(fit)
    expected = b[theta] @ np.linalg.inv(V.loc[theta, theta]) @ b[theta]
    assert found.loc["Wald SDM/SAR", "statistic"] == pytest.approx(expected, rel=1e-10)
    G = pd.DataFrame(0.0, index=theta, columns=b.index)
    for name in ("x1", "x2"):
        G.loc[f"W*{name}", [f"W*{name}", name, "rho"]] = 1.0, b["rho"], b[name]
    r = b[theta].to_numpy() + b["rho"] * b[["x1", "x2"]].to_numpy()
    expected = r @ np.linalg.inv(G @ V @ G.T) @ r
    assert found.loc["Wald SDM/SEM", "statistic"] == pytest.approx(expected, rel=1e-10)


@pytest.mark.slow
def test_lr_and_wald_have_their_size_with_gaps():
    """SAR and SEM with two-way effects, T = 8, one cell in five missing: rejections at 5%."""
    N, T, draws = 26, 8, 300
    W = (ring(N) + ring(N, 2) + ring(N, 3)) / 3.0
    ids = [f"u{i:02d}" for i in range(N)]
    weights = sa.SpatialWeights.from_dense(W, ids)
    rng = np.random.default_rng(11)
    mask = rng.uniform(size=(T, N)) > 0.2
    mask[:2] = True
    X = rng.normal(size=(T, N, 2)) + rng.normal(size=(1, N, 2))
    frame = pd.DataFrame({"id": np.tile(ids, T), "t": np.repeat(np.arange(T), N)})
    frame[["x1", "x2"]] = X.reshape(-1, 2)
    frame["y"] = rng.normal(size=N * T)
    panel = sa.Panel(frame[mask.ravel()], entity="id", time="t", unbalanced="allow")
    space = Workspace.of(XY, panel, weights)
    matrices = [space.weights.matrices[j].matrix.toarray() for j in space.weights.which]
    c, alpha = rng.normal(size=N), rng.normal(size=T)
    spec = ModelSpec.of("sdm")
    for small in ("SAR", "SEM"):
        p = []
        for _ in range(draws):
            y = np.zeros((T, N))
            for t in range(T):
                mean = X[t] @ [1.0, 0.5] * mask[t]
                noise = (c + alpha[t] + rng.normal(size=N)) * mask[t]
                S = np.eye(N) - 0.5 * matrices[t]
                y[t] = np.linalg.solve(S, mean + noise) if small == "SAR" else mean
                y[t] += 0.0 if small == "SAR" else np.linalg.solve(S, noise)
            fit = fit_model(spec, space.with_data(replace(space.data, y=y * mask)))
            p.append(
                [
                    sa.lr_tests(fit).loc[f"LR SDM/{small}", "p_value"],
                    sa.wald_tests(fit).loc[f"Wald SDM/{small}", "p_value"],
                ]
            )
        rejected = (np.array(p) < 0.05).mean(axis=0)
        assert np.all((rejected > 0.015) & (rejected < 0.09))  # 0.05 and 3 standard errors


# --- the same with random effects --------------------------------------------------------------


def test_lr_with_random_effects_is_that_of_brute_force(data):
    _, panel, weights, y, X = data
    found = sa.lr_tests(sa.sdm(XY, panel, weights, effects="random"))
    best = {
        model: dense_family.fit(dense_random.problem(y, X, ring(N), model))["loglik"]
        for model in ("sdm", "sar", "sem")
    }
    expected = [2.0 * (best["sdm"] - best[small]) for small in ("sar", "sem")]
    np.testing.assert_allclose(found["statistic"], expected, atol=1e-5)
    assert found["df"].tolist() == [2, 2]


@pytest.mark.parametrize("durbin", [None, ["x1"]])
def test_unit_means_count_as_regressors(data, durbin):
    """correlated=True is the model with unit means among the regressors, written out."""
    frame, panel, weights, *_ = data
    means = frame.groupby("id")[["x1", "x2"]].transform("mean").add_prefix("m_")
    written = sa.Panel(frame.join(means), entity="id", time="t")
    options = {"durbin": durbin} if durbin else {}
    fit = sa.sdm(XY, panel, weights, effects="random", correlated=True, **options)
    lags = {"durbin": ["x1", "m_x1"]} if durbin else {}
    other = sa.sdm(f"{XY} + m_x1 + m_x2", written, weights, effects="random", **lags)
    for tests in (sa.lr_tests, sa.wald_tests):
        found, expected = tests(fit), tests(other)
        assert list(found.index) == list(expected.index)
        assert found["df"].tolist() == expected["df"].tolist() == ([2] if durbin else [4, 4])
        np.testing.assert_allclose(found["statistic"], expected["statistic"], rtol=1e-4)


# --- where the spatial error model is not nested -----------------------------------------------


def test_the_error_model_is_nested_where_the_filter_keeps_constants(data):
    _, panel, weights, *_ = data
    raw = sa.SpatialWeights.from_dense(ring(N, raw=True) / 4.0, weights.ids)
    nested = {
        ("none", True): True,
        ("random", True): True,
        ("two-way", True): True,
        ("none", False): False,
        ("random", False): False,
        ("time", False): False,
        ("two-way", False): False,
        ("entity", False): True,
    }
    for (effects, standardized), expected in nested.items():
        fit = sa.sdm(XY, panel, weights if standardized else raw, effects=effects)
        assert nests_sem(fit) == expected
        assert ("Wald SDM/SEM" in sa.wald_tests(fit).index) == expected
        assert ("LR SDM/SEM" in sa.lr_tests(fit).index) == expected
        assert "LR SDM/SAR" in sa.lr_tests(fit).index
    without = sa.sdm(f"{XY} - 1", panel, raw, effects="none")
    assert (sa.lr_tests(without)["statistic"] > 0).all()
    assert nests_sem(without)


def test_with_an_intercept_and_raw_weights_the_error_model_can_fit_better(data):
    """So a likelihood ratio of the two is no test: it would be negative here."""
    frame, _, weights, *_ = data
    W = ring(N, raw=True) / 4.0
    raw = sa.SpatialWeights.from_dense(W, weights.ids)
    rng = np.random.default_rng(2)
    X = frame[["x1", "x2"]].to_numpy().reshape(T, N, 2)
    u = np.linalg.solve(np.eye(N) - 0.6 * W, rng.normal(size=(N, T))).T
    y = 40.0 + X @ [1.0, 2.0] + u
    panel = sa.Panel(frame.assign(y=y.ravel()), entity="id", time="t")
    sdm, sem = (getattr(sa, m)(XY, panel, raw, effects="none") for m in ("sdm", "sem"))
    assert sem.loglik > sdm.loglik + 1.0
    assert list(sa.lr_tests(sdm).index) == ["LR SDM/SAR"]
    assert list(sa.wald_tests(sdm).index) == ["Wald SDM/SAR"]


def test_the_error_model_is_not_nested_with_other_weights_of_the_regressors(data):
    _, panel, weights, *_ = data
    other = sa.SpatialWeights.from_dense(ring(N, 2), weights.ids)
    fit = sa.sdm(XY, panel, weights, W_durbin=other)
    assert list(sa.lr_tests(fit).index) == ["LR SDM/SAR"]
    assert list(sa.wald_tests(fit).index) == ["Wald SDM/SAR"]


def test_a_dynamic_durbin_model_has_no_common_factor_row(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen, dynamic="both")
    found = sa.wald_tests(fit)
    assert list(found.index) == ["Wald SDM/SAR"]
    theta = ["W*logp", "W*logy"]
    expected = fit.params[theta] @ np.linalg.inv(fit.cov.loc[theta, theta]) @ fit.params[theta]
    assert found["statistic"].iloc[0] == pytest.approx(expected, rel=1e-10)
    assert found["df"].iloc[0] == 2


# --- Wald tests that cannot be -----------------------------------------------------------------


def test_wald_of_two_stage_least_squares(data):
    _, panel, weights, *_ = data
    fit = sa.stsls(XY, panel, weights, model="sdm", lags=1)
    theta = ["W*x1", "W*x2"]
    b, V = fit.params[theta], fit.cov.loc[theta, theta]
    found = sa.wald_tests(fit).loc["Wald SDM/SAR"]
    assert found["statistic"] == pytest.approx(b @ np.linalg.inv(V) @ b, rel=1e-10)


def test_wald_with_fewer_clusters_than_restrictions(data):
    frame, _, weights, *_ = data
    frame = frame.assign(half=(frame["t"] > 2002).astype(int), x3=frame["x1"] * frame["x2"])
    panel = sa.Panel(frame, entity="id", time="t")
    options = {"model": "sdm", "lags": 1, "cov": sa.Clustered("half")}
    fit = sa.stsls(f"{XY} + x3", panel, weights, **options)
    with pytest.raises(IdentificationError, match=r"3 restrictions cannot be tested jointly"):
        sa.wald_tests(fit)


def test_wald_with_a_variance_that_is_not_known(data):
    _, panel, weights, *_ = data
    fit = sa.sdm(XY, panel, weights)
    unknown = fit.covariance.copy()
    unknown[-1] = unknown[:, -1] = np.nan
    pd.testing.assert_frame_equal(
        sa.wald_tests(replace(fit, covariance=unknown)), sa.wald_tests(fit)
    )
    at = fit.names.index("W*x1")
    unknown[at] = unknown[:, at] = np.nan
    with pytest.raises(IdentificationError, match="not known"):
        sa.wald_tests(replace(fit, covariance=unknown))


# --- fixed effects -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effects", "smaller"),
    [("two-way", "entity"), ("two-way", "time"), ("entity", "none"), ("time", "none")],
)
def test_lr_of_effects_with_gaps_is_that_of_dummies(gaps, effects, smaller):
    panel, *_ = gaps
    data = variables(XY, panel)
    t, i = np.nonzero(data.cells)
    y, X = data.y[data.cells], data.X[data.cells]

    def ssr(which):
        blocks = [X, np.ones((y.size, 1))]
        blocks += [np.eye(N)[i]] if which in ("entity", "two-way") else []
        blocks += [np.eye(T)[t]] if which in ("time", "two-way") else []
        Z = np.hstack(blocks)
        e = y - Z @ np.linalg.lstsq(Z, y, rcond=None)[0]
        return e @ e, np.linalg.matrix_rank(Z)

    (large, rank), (small, fewer) = ssr(effects), ssr(smaller)
    row = sa.effects_tests(XY, panel, model="ols", effects=effects).loc[f"LR {effects}/{smaller}"]
    assert row["statistic"] == pytest.approx(y.size * np.log(small / large), rel=1e-8)
    assert row["df"] == rank - fewer


def test_lr_of_effects_without_an_intercept_has_one_more_restriction(data):
    _, panel, *_ = data
    with_one = sa.effects_tests(XY, panel, model="ols", effects="entity")
    without = sa.effects_tests(f"{XY} - 1", panel, model="ols", effects="entity")
    assert with_one["df"].tolist() == [N - 1]
    assert without["df"].tolist() == [N]


def test_lr_of_effects_of_an_error_model_with_raw_weights_that_change(changing):
    panel, weights, *_ = changing
    halved = weights.apply(lambda W: W.derive(W.matrix * 0.5, ", halved"))
    with pytest.raises(WeightsError, match="special case of them only if W is row-standardised"):
        sa.effects_tests(XY, panel, halved, model="sem", effects="entity")
    found = sa.effects_tests(XY, panel, weights, model="sem", effects="entity")
    assert found["statistic"].iloc[0] > 0
