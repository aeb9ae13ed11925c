"""Spatial mediation against N x N inverses, plain mediation, refits on resamples, simulation."""

import numpy as np
import pandas as pd
import pytest
from mechanisms_twin import dense_parts

import spatial_agglo as sa
from spatial_agglo.errors import OptionError, WeightsError
from spatial_agglo.mechanisms.joint import joint_covariance
from spatial_agglo.mechanisms.lag_functions import (
    LagFunctions,
    one_multiplier,
    two_multipliers,
)
from spatial_agglo.mechanisms.mediation import mediation
from spatial_agglo.mechanisms.moderated import moderated_mediation
from spatial_agglo.mechanisms.spatial import spatial_mediation

PARTS = ["own", "neighbours", "total"]
ROLES = {"treatment": "x", "mediators": "m"}
TRUE = {"rho": 0.4, "b": 0.5, "d": 0.2, "g": 0.6, "h": -0.2, "r": 0.3, "a": 0.8, "c": 0.3}


def ring(N, seed=0, k=4):
    """Row-standardised, not symmetric: two neighbours on a ring and some drawn at random."""
    rng = np.random.default_rng(seed)
    W = np.zeros((N, N))
    for i in range(N):
        W[i, [(i + 1) % N, (i - 1) % N]] = 1.0
        others = rng.choice(np.setdiff1d(np.arange(N), i), size=k - 2, replace=False)
        W[i, others] = rng.uniform(0.5, 1.5, size=k - 2)
    return W / W.sum(axis=1, keepdims=True)


def simulated(W, T=8, seed=0, true=TRUE):
    """y and m from the two equations, with unit and period effects."""
    rng = np.random.default_rng(seed)
    N = len(W)
    unit, period = rng.normal(size=N), rng.normal(size=(T, 1))
    x = rng.normal(size=(T, N)) + unit + period
    k = rng.normal(size=(T, N))
    z = rng.normal(size=(T, N)) + 2.0
    e, u = rng.normal(size=(2, T, N)) * rng.uniform(0.5, 1.5, size=N)

    def solve(rho, right):
        return np.linalg.solve(np.eye(N) - rho * W, right.T).T

    m = solve(true["r"], true["a"] * x + true["c"] * x @ W.T + 0.3 * k + unit + period + e)
    right = true["b"] * x + true["d"] * x @ W.T + true["g"] * m + true["h"] * m @ W.T
    y = solve(true["rho"], right - 0.2 * k + 2.0 * unit - period + u)
    columns = {"x": x, "k": k, "z": z, "m": m, "y": y}
    frame = pd.DataFrame({name: column.ravel() for name, column in columns.items()})
    ids = [f"u{i:03d}" for i in range(N)]
    frame = frame.assign(i=np.tile(ids, T), t=np.repeat(np.arange(T), N))
    return sa.Panel(frame, entity="i", time="t"), sa.SpatialWeights.from_dense(W, ids)


@pytest.fixture(scope="module")
def data():
    return simulated(ring(30))


def matrices():
    W = ring(25, seed=2)
    A = (np.maximum(W, W.T) > 0).astype(float)
    return {
        "row-standardised": W,
        "row-standardised, symmetric links": A / A.sum(axis=1, keepdims=True),
        "symmetric": A / np.abs(np.linalg.eigvals(A)).max(),
        "neither": W * np.linspace(0.4, 1.0, 25)[:, None],
    }


@pytest.mark.parametrize("name", list(matrices()))
@pytest.mark.parametrize("rhos", [(0.4, 0.3), (0.4, 0.4), (-0.5, 0.7), (0.9, 0.9001), (0.0, 0.0)])
def test_products_against_inverses(name, rhos):
    W = matrices()[name]
    weights = sa.SpatialWeights.from_dense(W, range(len(W)))
    rho, r = (np.array([value]) for value in rhos)
    functions = LagFunctions.of(weights, min(*rhos, 0.0), max(*rhos, 0.0))
    g, d, a, c = (np.array([value]) for value in (0.6, -0.2, 0.8, 0.3))
    found = two_multipliers(functions, (g, d, rho), (a, c, r))[0]
    expected = dense_parts(W, [(rhos[0], 0.6, -0.2), (rhos[1], 0.8, 0.3)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * max(1.0, abs(expected[2])))
    found = one_multiplier(functions, g, d, rho)[0]
    expected = dense_parts(W, [(rhos[0], 0.6, -0.2)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * max(1.0, abs(expected[2])))


@pytest.mark.parametrize("how", ["lu", "ldl"])
@pytest.mark.parametrize("rhos", [(0.4, 0.3), (0.6, 0.6), (-0.6, 0.8)])
def test_products_without_eigenvalues(how, rhos):
    """The other back ends know ln|I - rho W| and its derivatives only."""
    side = 14
    line = np.diag(np.ones(side - 1), 1) + np.diag(np.ones(side - 1), -1)
    A = np.kron(line, np.eye(side)) + np.kron(np.eye(side), line)
    W = A / A.sum(axis=1, keepdims=True)
    weights = sa.SpatialWeights.from_dense(W, range(side**2)).with_logdet(how)
    functions = LagFunctions.of(weights, -0.6, 0.8)
    rho, r = (np.array([value]) for value in rhos)
    g, d, a, c = (np.array([value]) for value in (0.6, -0.2, 0.8, 0.3))
    found = two_multipliers(functions, (g, d, rho), (a, c, r))[0]
    expected = dense_parts(W, [(rhos[0], 0.6, -0.2), (rhos[1], 0.8, 0.3)])
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert callable(functions.own)


@pytest.mark.parametrize("model", ["sdm", "sar", "slx", "sdem", "sac", "ols"])
def test_effects_of_fits_against_inverses(data, model):
    panel, weights = data
    W = weights.matrix.toarray()
    found = spatial_mediation("y ~ x + k", panel, weights, **ROLES, model=model, draws=20)
    y, m = found.equations["outcome"].params, found.equations["mediator: m"].params
    second = (y.get("rho", 0.0), y["m"], y.get("W*m", 0.0))
    first = (m.get("rho", 0.0), m["x"], m.get("W*x", 0.0))
    estimate = found.effects["estimate"]
    mediated = dense_parts(W, [second, first])
    direct = dense_parts(W, [(y.get("rho", 0.0), y["x"], y.get("W*x", 0.0))])
    np.testing.assert_allclose(estimate["mediated via m"][PARTS], mediated, atol=1e-10)
    np.testing.assert_allclose(estimate["direct"][PARTS], direct, atol=1e-10)
    np.testing.assert_allclose(estimate["total"][PARTS], direct + mediated, atol=1e-10)
    reduced = found.equations["reduced form"]
    np.testing.assert_allclose(
        estimate["reduced form"][PARTS],
        dense_parts(W, [tuple(reduced.params.get(n, 0.0) for n in ("rho", "x", "W*x"))]),
        atol=1e-10,
    )


def test_totals_of_row_standardised_weights(data):
    panel, W = data
    found = spatial_mediation("y ~ x + k", panel, W, **ROLES, draws=20)
    y, m = found.equations["outcome"].params, found.equations["mediator: m"].params
    total = (y["m"] + y["W*m"]) / (1 - y["rho"]) * (m["x"] + m["W*x"]) / (1 - m["rho"])
    assert found.effects["estimate"]["mediated", "total"] == pytest.approx(total, abs=1e-12)


def test_two_mediators_and_a_durbin_list(data):
    panel, weights = data
    frame = panel.frame.reset_index().assign(n=lambda f: f["x"] * 0.4 + np.sin(f["k"] * 9))
    panel = sa.Panel(frame, entity="i", time="t")
    W = weights.matrix.toarray()
    found = spatial_mediation(
        "y ~ x + k", panel, weights, treatment="x", mediators=["m", "n"], durbin=["x", "m"],
        draws=20,
    )  # fmt: skip
    y = found.equations["outcome"].params
    assert {"W*x", "W*m"} <= set(y.index)
    assert not {"W*n", "W*k"} & set(y.index)
    expected = 0.0
    for name in ("m", "n"):
        first = found.equations[f"mediator: {name}"].params
        second = (y["rho"], y[name], y.get(f"W*{name}", 0.0))
        part = dense_parts(W, [second, (first["rho"], first["x"], first["W*x"])])
        np.testing.assert_allclose(
            found.effects["estimate"][f"mediated via {name}"][PARTS], part, atol=1e-10
        )
        expected = expected + part
    np.testing.assert_allclose(found.effects["estimate"]["mediated"][PARTS], expected, atol=1e-10)


def test_without_spatial_terms_it_is_plain_mediation(data):
    panel, W = data
    found = spatial_mediation("y ~ x + k", panel, W, **ROLES, model="ols", draws=20)
    plain = mediation("y ~ x + k", panel, **ROLES, draws=20)
    estimate = found.effects["estimate"]
    pairs = {"direct": "direct", "mediated": "indirect", "total": "total", "reduced form": "total"}
    for ours, theirs in pairs.items():
        expected = plain.effects.loc[theirs, "estimate"]
        np.testing.assert_allclose(estimate[ours][PARTS], [expected, 0.0, expected], atol=1e-12)


def test_products_collapse_where_rho_and_lags_are_zero(data):
    """Coefficients of any model, its spatial ones set to zero: the product of a and b."""
    functions = LagFunctions.of(data[1], 0.0, 0.0)
    zero = np.zeros(3)
    a, b = np.array([0.3, -2.0, 0.0]), np.array([1.5, 0.7, 4.0])
    found = two_multipliers(functions, (b, zero, zero), (a, zero, zero))
    np.testing.assert_array_equal(found, np.column_stack([a * b, zero, a * b]))


def test_moderated_without_spatial_terms_is_plain_moderated_mediation(data):
    panel, W = data
    options = {"moderator": "z", "at": [1.0, 3.0], "draws": 20}
    found = spatial_mediation("y ~ x + k", panel, W, **ROLES, model="ols", **options)
    plain = moderated_mediation("y ~ x + k", panel, treatment="x", mediator="m", **options)
    for ours, theirs in {"direct": "direct", "mediated": "indirect", "total": "total"}.items():
        np.testing.assert_allclose(
            found.effects["estimate"][ours]["own"], plain.conditional["estimate"][theirs]
        )
    np.testing.assert_allclose(
        found.differences["estimate"]["mediated"]["own"],
        plain.index["estimate"]["indirect", "3 - 1"],
    )


def test_moderated_effects_against_inverses(data):
    panel, weights = data
    W = weights.matrix.toarray()
    found = spatial_mediation(
        "y ~ x + k", panel, weights, **ROLES, moderator="z", at={"one": 1.0}, draws=20
    )
    v = 1.0 - panel.frame["z"].mean()
    y, m = found.equations["outcome"].params, found.equations["mediator: m"].params
    second = (y["rho"], y["m"] + v * y["m:z"], y["W*m"] + v * y["W*m:z"])
    first = (m["rho"], m["x"] + v * m["x:z"], m["W*x"] + v * m["W*x:z"])
    direct = (y["rho"], y["x"] + v * y["x:z"], y["W*x"] + v * y["W*x:z"])
    estimate = found.effects["estimate"].xs("one", level="at")
    np.testing.assert_allclose(
        estimate["mediated"][PARTS], dense_parts(W, [second, first]), atol=1e-10
    )
    np.testing.assert_allclose(estimate["direct"][PARTS], dense_parts(W, [direct]), atol=1e-10)
    raw = spatial_mediation(
        "y ~ x + k", panel, weights, **ROLES, moderator="z", at={"one": 1.0}, draws=20, centre=False
    )
    np.testing.assert_allclose(raw.effects["estimate"], found.effects["estimate"], atol=1e-8)
    assert found.differences.empty
    with pytest.raises(OptionError, match="no one verdict"):
        _ = found.verdict


def test_true_effects_are_found():
    """Many periods: the estimates are those of the two equations that made the data."""
    W = ring(40, seed=4)
    panel, weights = simulated(W, T=150, seed=4)
    found = spatial_mediation("y ~ x + k", panel, weights, **ROLES, draws=400)
    t = TRUE
    mediated = dense_parts(W, [(t["rho"], t["g"], t["h"]), (t["r"], t["a"], t["c"])])
    direct = dense_parts(W, [(t["rho"], t["b"], t["d"])])
    for path, expected in (("mediated", mediated), ("direct", direct)):
        rows = found.effects.loc[path].loc[PARTS]
        assert np.all(np.abs(rows["estimate"] - expected) < 3.5 * rows["std_error"])
        assert np.all(rows["std_error"] < 0.1)
    # a model with one lag of x does not hold what both equations make of it
    assert np.abs(found.effects["estimate"]["reduced form - total"]).max() > 1e-3


def test_joint_covariance_has_those_of_the_fits_on_its_diagonal(data):
    panel, W = data
    for model in ("sdm", "sac", "sem", "ols"):
        found = spatial_mediation("y ~ x + k", panel, W, **ROLES, model=model, draws=4)
        V, start = joint_covariance(found.equations), 0
        for fit in found.equations.values():
            p = len(fit.names) - 1
            part = slice(start, start + p)
            np.testing.assert_allclose(V[part, part], fit.covariance[:p, :p], rtol=1e-9, atol=1e-14)
            start += p


def test_joint_covariance_knows_that_total_is_direct_plus_mediated(data):
    """Least squares: c - c' - a b is zero in every sample, so it has no variance."""
    panel, W = data
    found = spatial_mediation("y ~ x + k", panel, W, **ROLES, model="ols", draws=4)
    fits = found.equations
    V, gradient = joint_covariance(fits), []
    a, b = fits["mediator: m"].params["x"], fits["outcome"].params["m"]
    weights = {
        ("outcome", "x"): -1.0, ("outcome", "m"): -a,
        ("mediator: m", "x"): -b, ("reduced form", "x"): 1.0,
    }  # fmt: skip
    for key, fit in fits.items():
        gradient += [weights.get((key, name), 0.0) for name in fit.names[:-1]]
    gradient = np.array(gradient)
    own = found.equations["reduced form"].std_errors["x"] ** 2
    assert abs(gradient @ V @ gradient) < 1e-12 * own


def test_resamples_are_refits(data):
    """One sign per unit in all equations; m is observed in the equation of y."""
    panel, weights = data
    W, N = weights.matrix.toarray(), panel.N
    found = spatial_mediation(
        "y ~ x + k", panel, weights, **ROLES, intervals="bootstrap", draws=4, seed=3
    )
    signs = 2.0 * np.random.default_rng(3).integers(0, 2, size=(4, N)) - 1.0
    for draw, sign in zip(range(4), signs, strict=True):
        params = {}
        for key, left, right in (("outcome", "y", "x + m + k"), ("mediator: m", "m", "x + k")):
            fit = found.equations[key]
            v = fit.resid
            S = np.eye(N) - fit.rho * W
            moved = np.sqrt(N / (N - 1)) * v * sign - v
            old = panel.column(left)
            new = old + np.linalg.solve(S, moved.T).T
            frame = panel.frame.reset_index()
            again = sa.Panel(frame.assign(**{left: new.ravel()}), entity="i", time="t")
            params[key] = sa.sdm(f"{left} ~ {right}", again, weights).params
        y, m = params["outcome"], params["mediator: m"]
        expected = dense_parts(W, [(y["rho"], y["m"], y["W*m"]), (m["rho"], m["x"], m["W*x"])])
        ours = found.draws.iloc[draw]["mediated"][PARTS]
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-8)


def test_bootstrap_and_normal_draws_agree():
    panel, W = simulated(ring(120, seed=1), T=6, seed=1)
    normal, wild = (
        spatial_mediation("y ~ x + k", panel, W, **ROLES, intervals=kind, draws=n, progress=False)
        for kind, n in (("montecarlo", 4000), ("bootstrap", 400))
    )
    for path in ("direct", "mediated", "total"):
        one, two = (f.effects["std_error"][path][PARTS] for f in (normal, wild))
        np.testing.assert_allclose(one, two, rtol=0.2)


def test_seed_and_processes(data):
    panel, W = data
    for options in ({}, {"intervals": "bootstrap", "draws": 30}):
        given = {"draws": 60, "seed": 5, **ROLES, **options}
        one = spatial_mediation("y ~ x", panel, W, **given)
        two = spatial_mediation("y ~ x", panel, W, n_jobs=2, **given)
        pd.testing.assert_frame_equal(one.draws, two.draws)
        other = spatial_mediation("y ~ x", panel, W, **{**given, "seed": 6})
        assert not np.allclose(one.draws, other.draws)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": "spatial"}, OptionError, "model"),
        ({"intervals": "delta"}, OptionError, "intervals"),
        ({"likelihood": "corrected"}, OptionError, "likelihood"),
        ({"mediators": "x"}, OptionError, "is the treatment"),
        ({"mediators": "y"}, OptionError, "is the outcome"),
        ({"moderator": "m"}, OptionError, "is a mediator"),
        ({"moderator": "z", "paths": "third"}, OptionError, "third"),
        ({"paths": "first"}, OptionError, "belong to a moderator"),
        ({"at": [1.0]}, OptionError, "belong to a moderator"),
        ({"durbin": ["nothing"]}, OptionError, "nothing"),
        ({"model": "sar", "durbin": ["x"]}, OptionError, "durbin"),
        ({"W": None}, WeightsError, "needs W"),
        ({"draws": 1}, OptionError, "draws"),
    ],
)
def test_bad_input(data, options, error, said):
    given = {"panel": data[0], "W": data[1], **ROLES, "draws": 4, **options}
    with pytest.raises(error, match=said):
        spatial_mediation("y ~ x + k", **given)


def test_gaps_are_refused(data):
    panel, W = data
    frame = panel.frame.reset_index()
    frame.loc[4, "m"] = np.nan
    gaps = sa.Panel(frame, entity="i", time="t", unbalanced="allow")
    with pytest.raises(WeightsError, match=r"'u004', 0\).*interpolate"):
        spatial_mediation("y ~ x", gaps, W, **ROLES, draws=4)


def test_verdict_speaks_of_both_places(data):
    found = spatial_mediation("y ~ x", *data, **ROLES, draws=200)
    assert found.verdict.startswith("In the unit itself: ")
    assert "From neighbours: " in found.verdict


@pytest.mark.slow
def test_coverage():
    """Nominal 95% intervals of the parts of the mediated and of the total effect."""
    W = ring(60, seed=7)
    t, reps = TRUE, 300
    mediated = dense_parts(W, [(t["rho"], t["g"], t["h"]), (t["r"], t["a"], t["c"])])
    total = mediated + dense_parts(W, [(t["rho"], t["b"], t["d"])])
    truth = {
        path: dict(zip(PARTS, parts, strict=True))
        for path, parts in (("mediated", mediated), ("total", total))
    }
    keys = [(p, part, k) for p in truth for part in PARTS for k in ("percentile", "bc")]
    hits = dict.fromkeys(keys, 0)
    for rep in range(reps):
        panel, weights = simulated(W, T=8, seed=100 + rep)
        found = spatial_mediation("y ~ x + k", panel, weights, **ROLES, draws=500, seed=rep)
        for path, part, kind in hits:
            row = found.effects.loc[(path, part)]
            inside = row[f"{kind}_lower"] <= truth[path][part] <= row[f"{kind}_upper"]
            hits[path, part, kind] += inside
    shares = {key: hit / reps for key, hit in hits.items()}
    assert all(0.92 <= share <= 0.98 for share in shares.values()), shares
