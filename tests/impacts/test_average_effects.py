"""Average effects of every model, W and covariance against explicit algebra."""

from dataclasses import replace

import dense_unbalanced
import numpy as np
import pytest
from impacts.explicit import averages, check, delta

import spatial_agglo as sa
from spatial_agglo.errors import BoundaryError, IdentificationError, OptionError
from spatial_agglo.impacts import impacts_by_unit, stretches
from spatial_agglo.impacts import multipliers as engine
from spatial_agglo.impacts.effects import effects_at
from spatial_agglo.impacts.parameters import Parameters

MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns")
LAGGED_X = ("slx", "sdm", "sdem", "gns")


def run(model, panel, W, **options):
    return getattr(sa, model)("y ~ x1 + x2", panel, W, **options)


@pytest.mark.parametrize("case", ["knn5", "unstandardised"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model(matrices, small, model, case):
    W = matrices[case]
    _, panel, weights, _, _ = small(W, seed=4)
    fit = run(model, panel, weights, effects="entity")

    def twin(v):
        return averages(fit, v, [(W, None)])

    check(sa.impacts(fit), twin(fit.values), delta(fit, twin))


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_random_effects(matrices, small, model, correlated):
    W = matrices["unstandardised"]
    _, panel, weights, _, _ = small(W, seed=5)
    fit = run(model, panel, weights, effects="random", correlated=correlated)

    def twin(v):
        return averages(fit, v, [(W, None)])

    found = sa.impacts(fit)
    assert found.names == ("x1", "x2")
    check(found, twin(fit.values), delta(fit, twin))


@pytest.mark.parametrize("rows", ["standard", "scaled"])
@pytest.mark.parametrize("model", LAGGED_X)
def test_other_weights_for_the_regressors(matrices, small, labelled, model, rows):
    W = matrices["contiguity"]
    scale = np.random.default_rng(0).uniform(0.5, 1.5, size=(len(W), 1))
    D = matrices["mix"] * (1.0 if rows == "standard" else scale)
    _, panel, weights, _, _ = small(W, seed=4)
    fit = run(model, panel, weights, effects="entity", W_durbin=labelled(D))

    def twin(v):
        return averages(fit, v, [(W, D)])

    check(sa.impacts(fit), twin(fit.values), delta(fit, twin))


@pytest.mark.parametrize("model", ["slx", "sar", "sdm"])
def test_units_without_neighbours(matrices, small, model):
    """Their rows sum to zero: they keep what is theirs and receive nothing."""
    W = matrices["contiguity"].copy()
    W[4] = 0.0
    frame, panel, _, _, _ = small(matrices["contiguity"], seed=4)
    ids = sorted(frame["id"].unique())
    fit = run(
        model, panel, sa.SpatialWeights.from_dense(W, ids, isolates="allow"), effects="entity"
    )

    def twin(v):
        return averages(fit, v, [(W, None)])

    check(sa.impacts(fit), twin(fit.values), delta(fit, twin))
    assert impacts_by_unit(fit, "x1")["received"].iloc[4] == pytest.approx(0.0, abs=1e-14)


def gaps(T, N):
    mask = np.random.default_rng(0).uniform(size=(T, N)) > 0.15
    mask[:3] = True
    return mask


@pytest.mark.parametrize("what", ["gaps", "weights by period", "both", "both, scaled, two"])
@pytest.mark.parametrize("model", ["slx", "sdm", "sac"])
def test_gaps_and_weights_by_period(matrices, small, labelled, model, what):
    """Means over all observed cells of what the matrices of each period say."""
    frame, _, _, y, _ = small(matrices["contiguity"], seed=3)
    T, N = y.shape
    mask = gaps(T, N) if what != "weights by period" else np.ones((T, N), dtype=bool)
    kinds = ["contiguity", "knn5", "mix", "mix", "contiguity", "knn5", "mix"]
    stack = np.stack([matrices[kinds[t] if what != "gaps" else "contiguity"] for t in range(T)])
    other = None
    if "scaled" in what:
        rng = np.random.default_rng(1)
        stack = stack * rng.uniform(0.6, 1.2, size=(T, N, 1))
        other = stack[::-1] if model in LAGGED_X else None
    panel = sa.Panel(frame[mask.ravel()], entity="id", time="t", unbalanced="allow")

    def by_period(Z):
        return sa.weights.PanelWeights({2000 + t: labelled(Z[t]) for t in range(T)})

    options = {} if other is None else {"W_durbin": by_period(other)}
    fit = run(model, panel, by_period(stack), effects="entity", **options)
    Ws = dense_unbalanced.cut(stack, mask)
    Ds = [None] * T if other is None else dense_unbalanced.cut(other, mask)

    def twin(v):
        return averages(fit, v, list(zip(Ws, Ds, strict=True)))

    check(sa.impacts(fit), twin(fit.values), delta(fit, twin))
    drawn = sa.impacts(fit, method="simulation", draws=20_000, seed=1)
    free = delta(fit, twin) > 1e-12
    np.testing.assert_allclose(drawn.se[free], delta(fit, twin)[free], rtol=0.15)


# --- covariances --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cov", ["observed", "expected", "opg", "robust", "clustered", "driscoll-kraay"]
)
@pytest.mark.parametrize("model", ["sdm", "gns"])
def test_the_covariance_of_the_fit_is_used(matrices, small, model, cov):
    W = matrices["mix"]
    _, panel, weights, _, _ = small(W, seed=6, T=12)
    fit = run(model, panel, weights, cov=cov)

    def twin(v):
        return averages(fit, v, [(W, None)])

    check(sa.impacts(fit), twin(fit.values), delta(fit, twin))


def test_variances_that_are_not_known_do_not_spread(matrices, small):
    W = matrices["contiguity"]
    _, panel, weights, _, _ = small(W, seed=6)
    fit = run("sdm", panel, weights, cov=sa.Bootstrap(draws=30, seed=1))
    assert np.isnan(fit.covariance[-1]).all()
    found = sa.impacts(fit)
    check(found, found.estimate, delta(fit, lambda v: averages(fit, v, [(W, None)])))
    assert np.isfinite(sa.impacts(fit, method="simulation", draws=100).bounds).all()


def test_unknown_variances_of_coefficients_do_spread(matrices, small):
    """They are not taken for zero: an interval of no width would be wrong."""
    _, panel, weights, _, _ = small(matrices["contiguity"], seed=6)
    fit = run("sdm", panel, weights)
    covariance = fit.covariance.copy()
    covariance[0] = covariance[:, 0] = np.nan
    fit = replace(fit, covariance=covariance)
    found = sa.impacts(fit).to_frame()
    assert found["se"].xs("x1", level="variable").isna().all()
    assert found["se"].xs("x2", level="variable").notna().all()
    with pytest.raises(IdentificationError, match="not known"):
        sa.impacts(fit, method="simulation")


def test_phi_at_its_lower_end(matrices, small):
    """phi = 0: its row of the covariance is NaN, and the effects have standard errors."""
    frame, _, weights, _, X = small(matrices["contiguity"], seed=1)
    rng = np.random.default_rng(0)
    T, N = X.shape[:2]
    e = rng.normal(size=(T, N))
    e = e - e.mean(axis=0)  # less variation between units than chance gives
    S = np.eye(N) - 0.4 * matrices["contiguity"]
    y = np.linalg.solve(S, (X @ [1.0, 2.0] + e).T).T
    panel = sa.Panel(frame.assign(y=y.ravel()), entity="id", time="t")
    fit = run("sdm", panel, weights, effects="random")
    assert np.isnan(fit.cov.loc["phi", "phi"])
    twin = delta(fit, lambda v: averages(fit, v, [(matrices["contiguity"], None)]))
    np.testing.assert_allclose(sa.impacts(fit).se, twin, rtol=1e-6)
    assert np.isfinite(sa.impacts(fit, method="simulation", draws=50).se).all()


# --- two-stage least squares --------------------------------------------------------------


@pytest.mark.parametrize("case", ["contiguity", "unstandardised"])
@pytest.mark.parametrize("model", ["ols", "slx", "sar", "sdm"])
def test_two_stage_least_squares(matrices, small, model, case):
    W = matrices[case]
    frame, panel, weights, y, _ = small(W, seed=4, T=20)
    noise = np.random.default_rng(0).normal(size=y.size)
    panel = sa.Panel(frame.assign(z=frame["x1"] + noise), entity="id", time="t")
    options = {"model": model, "effects": "entity", "endogenous": ["x1"], "instruments": ["z"]}
    fit = sa.stsls("y ~ x1 + x2", panel, weights, **options)

    def twin(v):
        return averages(fit, v, [(W, None)])

    check(sa.impacts(fit), twin(fit.values), delta(fit, twin))


def test_rho_outside_the_parameter_space(matrices, small):
    _, panel, weights, _, _ = small(matrices["contiguity"], seed=4)
    fit = sa.stsls("y ~ x1 + x2", panel, weights, effects="entity")
    outside = replace(fit, values=np.where(np.array(fit.names) == "rho", 1.3, fit.values))
    for run_it in (
        lambda: sa.impacts(outside),
        lambda: sa.impacts(outside, method="simulation"),
    ):
        with pytest.raises(BoundaryError, match=r"rho = 1\.3000 lies outside"):
            run_it()


# --- simulation ---------------------------------------------------------------------------


@pytest.fixture
def wide(matrices, small):
    """A fit whose covariance reaches over most of the parameter space."""

    def make(case, model="sdm", **options):
        _, panel, weights, _, _ = small(matrices[case], seed=4)
        fit = run(model, panel, weights, effects="entity", **options)
        spread = np.diag(np.where(np.array(fit.names) == "rho", 9.0, 1.0))
        return replace(fit, covariance=spread @ fit.covariance @ spread)

    return make


@pytest.mark.parametrize("terms", [1000, 0])
@pytest.mark.parametrize("case", ["contiguity", "knn5", "unstandardised"])
def test_effects_of_every_draw(monkeypatch, matrices, labelled, wide, case, terms):
    """From end to end of the parameter space, by series and by interpolated solutions."""
    monkeypatch.setattr(engine, "TERMS", terms)
    D = matrices["mix"] * np.linspace(0.5, 1.5, 12)[:, None]
    fit = wide(case, W_durbin=labelled(D))
    parameters = Parameters.of(fit)
    low, high = fit.workspace.W.logdet.interval
    rng = np.random.default_rng(2)
    drawn = rng.normal(size=(400, len(parameters.used)))
    drawn[:, parameters.rho] = 0.99 * rng.uniform(low, high, size=400)
    found = effects_at(parameters, drawn)
    values = np.tile(fit.values, (len(drawn), 1))
    values[:, list(parameters.used)] = drawn
    twin = np.array([averages(fit, v, [(matrices[case], D)]) for v in values])
    scale = np.abs(twin).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found / scale, twin / scale, rtol=0, atol=1e-8)


def test_simulation_agrees_with_the_delta_method(cigarettes, queen):
    """Where a normal distribution is narrow; 20,000 draws: an error of 0.5% of each deviation."""
    fit = sa.sdm("logc ~ logp + logy", cigarettes, queen, cov="clustered")
    fit = replace(fit, covariance=fit.covariance / 400.0)
    exact = sa.impacts(fit)
    found = sa.impacts(fit, method="simulation", draws=20_000, seed=4)
    np.testing.assert_array_equal(found.estimate, exact.estimate)
    np.testing.assert_allclose(found.se, exact.se, rtol=0.02)
    np.testing.assert_allclose((found.bounds - exact.bounds) / exact.se, 0.0, atol=0.1)
    scale = np.outer(exact.se.ravel(), exact.se.ravel())
    ours, theirs = (i.covariance.reshape(6, 6) / scale for i in (found, exact))
    np.testing.assert_allclose(ours, theirs, atol=0.03)


def test_the_same_seed_gives_the_same_numbers(cigarettes, queen):
    fit = sa.sar("logc ~ logp + logy", cigarettes, queen)
    rng = np.random.default_rng(3)
    first = sa.impacts(fit, method="simulation", draws=50, seed=rng)
    again = sa.impacts(fit, method="simulation", draws=50, seed=np.random.default_rng(3))
    other = sa.impacts(fit, method="simulation", draws=50, seed=4)
    np.testing.assert_array_equal(first.bounds, again.bounds)
    assert (first.bounds != other.bounds).all()
    assert rng.normal() == np.random.default_rng(3).normal()  # the caller's is not advanced


def test_rejected_draws_are_counted(wide):
    fit = wide("contiguity")
    found = sa.impacts(fit, method="simulation", draws=500, seed=0)
    assert found.draws == 500
    rho = fit.names.index("rho")
    sd = np.sqrt(fit.covariance[rho, rho])
    # by direct draws of rho alone
    drawn = fit.rho + sd * np.random.default_rng(1).normal(size=100_000)
    low, high = fit.workspace.W.logdet.interval
    share = np.mean((drawn <= low) | (drawn >= high))
    assert share > 0.1
    assert found.rejected / (500 + found.rejected) == pytest.approx(share, abs=0.06)
    larger = replace(fit, covariance=100.0 * fit.covariance)
    with pytest.raises(BoundaryError, match="More than half"):
        sa.impacts(larger, method="simulation")


# --- bootstrap ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["contiguity", "unstandardised"])
def test_bootstrap_takes_the_draws_of_the_fit(matrices, small, case):
    W = matrices[case]
    _, panel, weights, _, _ = small(W, seed=6)
    fit = run("sdm", panel, weights, effects="entity", cov=sa.Bootstrap(draws=40, seed=1))
    found = sa.impacts(fit, method="bootstrap", level=0.9)
    twin = np.array([averages(fit, v, [(W, None)]) for v in fit.details["draws"]])
    np.testing.assert_allclose(found.se, twin.std(axis=0, ddof=1), rtol=1e-8)
    np.testing.assert_allclose(found.bounds, np.percentile(twin, [5, 95], axis=0), rtol=1e-8)
    np.testing.assert_allclose(found.estimate, averages(fit, fit.values, [(W, None)]), rtol=1e-10)
    assert found.draws == 40
    assert found.rejected == 0


def test_bootstrap_needs_draws(cigarettes, queen):
    fit = sa.sdm("logc ~ logp + logy", cigarettes, queen, cov="robust")
    with pytest.raises(OptionError, match=r"cov=sa.Bootstrap.*has cov='robust'"):
        sa.impacts(fit, method="bootstrap")


# --- large matrices -----------------------------------------------------------------------


def test_traces_of_large_matrices_by_perturbation(monkeypatch, matrices, small, labelled):
    """What is done above 1,500 units, on a few."""
    W, D = matrices["contiguity"], matrices["knn5"]
    _, panel, weights, _, _ = small(W, seed=4)
    fit = run("sdm", panel, weights, effects="entity", W_durbin=labelled(D))
    small_way = sa.impacts(fit)
    monkeypatch.setattr(stretches, "DENSE_UNITS", 5)
    monkeypatch.setattr(stretches, "DENSE_SHARE", 1.0)
    called = []
    plain = engine._perturbed
    monkeypatch.setattr(engine, "_perturbed", lambda *a: called.append(1) or plain(*a))
    found = sa.impacts(fit)
    assert called
    np.testing.assert_allclose(found.estimate, small_way.estimate, rtol=1e-9)
    np.testing.assert_allclose(found.se, small_way.se, rtol=1e-7)


def test_traces_beyond_the_spectral_radius(monkeypatch, matrices, small, labelled):
    """rho below -1/radius, which a symmetric W allows: a block of columns at a time."""
    rng = np.random.default_rng(0)
    points = rng.uniform(size=(12, 2))
    inverse = 1.0 / (np.linalg.norm(points[:, None] - points, axis=2) + np.eye(12)) - np.eye(12)
    W, D = inverse / inverse.sum(axis=1, keepdims=True), matrices["knn5"]
    _, panel, weights, _, _ = small(W, seed=4, rho=-1.6)
    fit = run("sdm", panel, weights, effects="entity", W_durbin=labelled(D))
    fit = replace(fit, values=np.where(np.array(fit.names) == "rho", -1.6, fit.values))
    assert fit.workspace.W.logdet.interval[0] < -1.6
    monkeypatch.setattr(stretches, "DENSE_UNITS", 5)
    monkeypatch.setattr(stretches, "DENSE_SHARE", 1.0)
    monkeypatch.setattr(engine, "BLOCK", 5)

    def twin(v):
        return averages(fit, v, [(W, D)])

    check(sa.impacts(fit), twin(fit.values), delta(fit, twin))


# --- what is refused ----------------------------------------------------------------------


def test_options(cigarettes, queen):
    fit = sa.sar("logc ~ logp + logy", cigarettes, queen)
    for options, message in (
        ({"method": "exact"}, "'delta', 'simulation', 'bootstrap'"),
        ({"horizon": "medium"}, "'short', 'long'"),
        ({"horizon": "long"}, "no lag of the outcome"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"level": "95%"}, "between 0 and 1"),
        ({"method": "simulation", "draws": 1}, "at least 2"),
        ({"method": "simulation", "draws": True}, "at least 2"),
        ({"method": "simulation", "draws": 10.5}, "at least 2"),
        ({"method": "simulation", "seed": "x"}, "seed='x'"),
    ):
        with pytest.raises(OptionError, match=message):
            sa.impacts(fit, **options)
    with pytest.raises(OptionError, match="A fitted model is needed"):
        sa.impacts(fit.params)


def test_a_model_without_regressors(cigarettes, queen):
    fit = sa.sar("logc ~ 1", cigarettes, queen)
    assert sa.impacts(fit).to_frame().empty
    assert sa.impacts(fit, method="simulation", draws=10).to_frame().empty


def test_repr_and_table(cigarettes, queen):
    found = sa.impacts(sa.sdm("logc ~ logp + logy", cigarettes, queen), level=0.9)
    frame = found.to_frame()
    assert list(frame.columns) == ["estimate", "se", "z", "p_value", "lower", "upper"]
    half = frame["upper"] - frame["estimate"]
    np.testing.assert_allclose(half / frame["se"], 1.6448536269514722, rtol=1e-12)
    assert repr(found).startswith("Impacts(delta, 90% intervals)")
    np.testing.assert_array_equal(found.total, frame.loc["total"])
