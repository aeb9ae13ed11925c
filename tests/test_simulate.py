"""Simulated panels: explicit NT x NT algebra, laws, seeds, labels, gaps, bad input."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import spatial_agglo as sa
from spatial_agglo.errors import AlignmentError, DataError, OptionError, WeightsError
from spatial_agglo.simulate import MODELS, TAKEN, simulate
from spatial_agglo.weights import PanelWeights

EFFECTS = ("none", "entity", "time", "two-way", "random")
HAS_RHO, HAS_THETA, HAS_LAM = ({m for m in MODELS if MODELS[m][j]} for j in range(3))
IDS = [f"u{i:02d}" for i in (4, 1, 8, 0, 6, 3, 7, 2, 5, 9)]


def weights(seed=0, n=10, density=0.35, row=True, ids=IDS):
    """Asymmetric random weights in which every unit has at least four neighbours."""
    rng = np.random.default_rng(seed)
    A = rng.uniform(0.2, 1.0, (n, n)) * (rng.uniform(size=(n, n)) < density)
    for step in (1, 2, 3, 5):
        A[np.arange(n), (np.arange(n) + step) % n] += 0.7
    np.fill_diagonal(A, 0.0)
    W = sa.SpatialWeights.from_dense(A, ids[:n])
    return W.standardize("row") if row else W.standardize("spectral")


def lattice(side):
    """Row-standardised rook contiguity of a grid."""
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
    cells = {(i, j) for i in range(side) for j in range(side)}
    return sa.SpatialWeights.from_dict(
        {
            i * side + j: [(i + a) * side + j + b for a, b in steps if (i + a, j + b) in cells]
            for i, j in sorted(cells)
        }
    ).standardize("row")


def parameters(model, k=2):
    """Values for whatever a model has."""
    out = {"beta": np.linspace(1.0, -0.5, k)}
    if model in HAS_THETA:
        out["theta"] = np.linspace(0.6, 0.2, k)
    if model in HAS_RHO:
        out["rho"] = 0.4
    if model in HAS_LAM:
        out["lam"] = 0.3
    return out


def cut(V, period, units, default):
    """Dense weights of one period among some units, rows standardised again if they were."""
    V = default if V is None else V
    table = (V[period] if isinstance(V, PanelWeights) else V).to_frame()
    whole = np.allclose(table.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    part = table.loc[units, units].to_numpy()
    return part / part.sum(axis=1, keepdims=True) if whole else part


def block_diagonal(parts):
    n = sum(len(part) for part in parts)
    out, start = np.zeros((n, n)), 0
    for part in parts:
        out[start : start + len(part), start : start + len(part)] = part
        start += len(part)
    return out


def dense_outcome(sim, form="kkp"):
    """The outcome from innovations, effects and X, by one NT x NT system. Labels only."""
    rows = sim.frame.set_index(["time", "unit"]).sort_index()
    periods = rows.index.levels[0]
    units = {t: list(rows.loc[t].index) for t in periods}
    W, D, M = (
        block_diagonal([cut(V, t, units[t], sim.W) for t in periods])
        for V in (sim.W, sim.W_durbin, sim.W_error)
    )
    n, truth, identity = len(rows), sim.truth, np.eye(len(rows))
    names = [name for name in rows.columns if name != "y"]
    X = rows[names].to_numpy()
    beta = truth[names].to_numpy()
    theta = np.array([truth.get(f"W*{name}", 0.0) for name in names])
    effects = np.array([sim.unit_effects[i] + sim.period_effects[t] for t, i in rows.index])
    e = np.array([sim.innovations[(i, t)] for t, i in rows.index])
    B = identity - truth.get("lambda", 0.0) * M
    inside = form == "kkp"
    u = np.linalg.solve(B, e + inside * effects) + (not inside) * effects
    right = truth.get("Intercept", 0.0) + X @ beta + D @ X @ theta + u
    S = identity - truth.get("rho", 0.0) * W
    if sim.initial is not None:
        tau, eta = truth["y(t-1)"], truth["W*y(t-1)"]
        N = len(units[periods[0]])
        shift = np.eye(n, k=-N)
        S = S - shift @ (tau * identity + eta * W)
        start = sim.initial[units[periods[0]]].to_numpy()
        first = cut(sim.W, periods[0], units[periods[0]], None)
        right[:N] += tau * start + eta * first @ start
    return rows["y"].to_numpy(), np.linalg.solve(S, right)


def check_dense(sim, form="kkp"):
    drawn, expected = dense_outcome(sim, form)
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert np.ptp(drawn) > 1.0


# --- the algebra ------------------------------------------------------------------------


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_under_all_effects(model, effects):
    intercept = 2.5 if effects in ("none", "random") else 0.0
    sim = simulate(
        model, weights(), 5, effects=effects, intercept=intercept, seed=3, **parameters(model)
    )
    check_dense(sim)
    assert (sim.unit_effects != 0).all() == (effects in ("entity", "two-way", "random"))
    assert (sim.period_effects != 0).all() == (effects in ("time", "two-way"))
    labels = ["Intercept"] if intercept else []
    labels += ["x1", "x2"] + (["W*x1", "W*x2"] if model in HAS_THETA else [])
    labels += (["rho"] if model in HAS_RHO else []) + (["lambda"] if model in HAS_LAM else [])
    labels += ["phi"] if effects == "random" else []
    assert sim.truth.index.tolist() == [*labels, "sigma2"]


@pytest.mark.parametrize("form", ["kkp", "baltagi"])
@pytest.mark.parametrize("effects", ["random", "entity", "time", "two-way"])
@pytest.mark.parametrize("model", sorted(HAS_LAM))
def test_forms_of_the_effects_under_a_spatial_error(model, effects, form):
    options = {"effects": effects, "effects_scale": 2.0, "seed": 1, **parameters(model)}
    W = weights(row=False)
    sim = simulate(model, W, 4, form=form, **options)
    check_dense(sim, form)
    other = simulate(model, W, 4, form="kkp" if form == "baltagi" else "baltagi", **options)
    assert not np.allclose(sim.frame["y"], other.frame["y"])


@pytest.mark.parametrize("by_period", [False, True])
@pytest.mark.parametrize("row", [True, False])
@pytest.mark.parametrize("missing", [0.0, 0.15])
def test_three_matrices_gaps_and_weights_by_period(row, missing, by_period):
    def make(seed):
        if by_period:
            return PanelWeights({t: weights(seed + t, row=row) for t in (2003, 2001, 2004, 2002)})
        return weights(seed, row=row)

    # the other matrices come in another order of their units
    W, D = make(0), make(10)
    M = make(20)
    if not by_period:
        M = M.align(IDS[::-1])
    sim = simulate(
        "gns", W, 4, W_durbin=D, W_error=M, missing=missing, times=[2001, 2002, 2003, 2004],
        seed=8, **parameters("gns"),
    )  # fmt: skip
    assert len(sim.missing) == round(missing * 40)
    check_dense(sim)
    if by_period:
        again = simulate(
            "gns", W, 4, W_durbin=D, W_error=M, missing=missing, seed=8, **parameters("gns")
        )
        pd.testing.assert_frame_equal(sim.frame, again.frame)


@pytest.mark.parametrize("model", ["ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns"])
def test_missing_cells_in_every_model(model):
    sim = simulate(model, weights(), 6, missing=0.2, seed=2, **parameters(model))
    assert len(sim.frame) == 48
    check_dense(sim)


@pytest.mark.parametrize(("tau", "eta"), [(0.5, 0.0), (0.0, 0.3), (0.4, -0.2)])
@pytest.mark.parametrize("burn_in", [0, 30])
@pytest.mark.parametrize("model", ["sar", "sdm", "sem", "gns"])
def test_dynamic_models(model, tau, eta, burn_in):
    sim = simulate(
        model, weights(), 5, tau=tau, eta=eta, burn_in=burn_in, seed=5, **parameters(model)
    )
    check_dense(sim)
    assert (sim.initial == 0).all() == (burn_in == 0)
    assert sim.truth.index[:2].tolist() == ["y(t-1)", "W*y(t-1)"]
    assert sim.truth.tolist()[:2] == [tau, eta]


def test_dynamic_models_lag_the_spatial_lag_of_the_period_before():
    W = PanelWeights({t: weights(t) for t in range(4)})
    sim = simulate("sdm", W, 4, tau=0.3, eta=0.2, seed=5, **parameters("sdm"))
    check_dense(sim)


@pytest.mark.parametrize(
    "options",
    [
        {"errors": "t"},
        {"errors": "t", "df": 3.0},
        {"heteroskedasticity": 0.8},
        {"heteroskedasticity": {"unit": 0.3, "x2": 0.5}},
        {"serial": 0.7},
        {"common": 0.5},
        {"common": 0.3, "serial": 0.5, "errors": "t", "heteroskedasticity": 0.2},
        {"correlated": 0.9},
        {"x_serial": 0.5, "x_spatial": 0.6, "x_common": 0.4},
        {"sigma": 0.0},
        {"effects_scale": 0.0},
    ],
)
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_every_option(options, missing):
    plain = simulate("gns", weights(), 6, seed=4, missing=missing, **parameters("gns"))
    sim = simulate("gns", weights(), 6, seed=4, missing=missing, **parameters("gns"), **options)
    check_dense(sim)
    assert not np.allclose(sim.frame["y"], plain.frame["y"])
    # options of one kind leave the draws of the others alone
    same_x = not any(name.startswith("x_") for name in options)
    assert sim.frame["x1"].equals(plain.frame["x1"]) == same_x
    assert sim.period_effects.equals(plain.period_effects) == ("effects_scale" not in options)


def test_without_spatial_parameters_all_models_are_one():
    """rho = theta = lam = 0: a regression, whatever the name of the model."""
    frames = [
        simulate(m, weights(), 5, beta=1.0, theta=[0.0] if m in HAS_THETA else None, seed=1).frame
        for m in MODELS
    ]
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0], rtol=1e-13)


def test_a_linear_map_is_undone():
    """y - rho W y and so on, from the frame alone, gives the innovations back."""
    sim = simulate("sac", weights(), 6, effects="none", seed=9, **parameters("sac"))
    W = sim.W.to_frame()
    table = sim.frame.pivot(index="unit", columns="time")
    y, x1, x2 = (table[name].loc[W.index] for name in ("y", "x1", "x2"))
    u = y - 0.4 * W @ y - x1 + 0.5 * x2
    e = u - 0.3 * W @ u
    expected = sim.innovations.unstack("time").loc[W.index]
    np.testing.assert_allclose(e, expected, atol=1e-13)


# --- laws -------------------------------------------------------------------------------


def innovations(T=4, side=50, **options):
    """Innovations of many units, shape (T, N)."""
    sim = simulate("ols", lattice(side), T, beta=[1.0, 2.0], effects="none", **options)
    e = sim.innovations.unstack("unit").to_numpy()
    return sim, e


def test_moments_of_normal_and_t_shocks():
    _, e = innovations(T=20, sigma=2.0, seed=1)
    n = e.size
    assert abs(e.mean()) < 4 * 2.0 / np.sqrt(n)
    assert abs(e.var() / 4.0 - 1.0) < 4 * np.sqrt(2 / n)
    assert abs((e**4).mean() / 16 - 3.0) < 4 * np.sqrt(96 / n)
    # t with 12 degrees of freedom: variance 1 after scaling, kurtosis 3 + 6 / (12 - 4)
    _, e = innovations(T=20, sigma=2.0, errors="t", df=12.0, seed=1)
    assert abs(e.mean()) < 4 * 2.0 / np.sqrt(n)
    assert abs(e.var() / 4.0 - 1.0) < 4 * np.sqrt(2.75 / n)
    assert abs((e**4).mean() / 16 - 3.75) < 0.3
    # the whole distribution, not only moments: quartiles of t(5), 0.7267, scaled by sqrt(3/5)
    _, e = innovations(T=20, errors="t", seed=2)
    assert abs(np.quantile(np.abs(e), 0.5) - 0.72669 * np.sqrt(0.6)) < 0.01


def test_ar1_innovations_are_stationary():
    _, e = innovations(T=12, serial=0.6, sigma=1.5, seed=3)
    slack = 5 / np.sqrt(e.shape[1])
    for t in range(12):
        assert abs(e[t].var() / 2.25 - 1.0) < slack
    for h in (1, 2, 3):
        found = (e[h:] * e[:-h]).mean() / 2.25
        assert abs(found - 0.6**h) < slack
    assert abs(np.corrcoef(e[3, :-1], e[3, 1:])[0, 1]) < slack


def test_ar1_runs_on_through_missing_periods():
    W = lattice(40)
    gone = [(unit, 3) for unit in range(0, 1600, 7)]
    sim = simulate("ols", W, 4, beta=1.0, effects="none", serial=0.9, missing=gone, seed=1)
    e = sim.innovations.unstack("time").loc[[unit for unit, _ in gone]]
    assert e[3].isna().all()
    assert abs((e[2] * e[4]).mean() - 0.81) < 5 / np.sqrt(len(gone))


def test_heteroskedasticity_by_unit():
    _, e = innovations(T=400, side=12, heteroskedasticity=0.7, sigma=2.0, seed=5)
    variance = e.var(axis=0)
    assert abs(variance.mean() / 4.0 - 1.0) < 0.05
    assert abs(np.log(variance).std() / 2 - 0.7) < 5 * 0.7 / np.sqrt(2 * 144)


def test_heteroskedasticity_with_a_regressor():
    sim, e = innovations(T=20, heteroskedasticity={"x2": 0.5}, sigma=3.0, seed=6)
    x = sim.frame.pivot(index="time", columns="unit", values="x2").to_numpy()
    z = (x - x.mean()) / x.std()
    spread = np.exp(0.5 * z)
    spread *= 3.0 / np.sqrt((spread**2).mean())
    standard = e / spread
    assert abs(standard.var() - 1.0) < 5 * np.sqrt(2 / e.size)
    assert abs(np.corrcoef(standard.ravel() ** 2, z.ravel())[0, 1]) < 5 / np.sqrt(e.size)
    assert np.corrcoef(e.ravel() ** 2, z.ravel())[0, 1] > 0.2


def test_common_shocks():
    """A share of the variance, not absorbed by period means, the same responses in X and e."""
    _, e = innovations(T=2000, side=6, common=0.4, serial=0.3, seed=7)
    N = 36
    assert abs(e.var() - 1.0) < 0.1
    assert abs((e[1:] * e[:-1]).mean() - 0.3) < 0.05
    values = np.linalg.eigvalsh(e.T @ e / len(e))
    assert abs(values[-1] / (0.4 * N + 0.6) - 1.0) < 0.1  # one factor ...
    assert abs(values[:-1].mean() - 0.6) < 0.05  # ... and the rest
    demeaned = e - e.mean(axis=1, keepdims=True)
    assert np.linalg.eigvalsh(demeaned.T @ demeaned / len(e))[-1] > 3.0
    sim, e = innovations(T=2000, side=6, common=0.9, x_common=0.9, seed=7)
    x = sim.frame.pivot(index="time", columns="unit", values="x1").to_numpy()
    first = [np.linalg.svd(z, full_matrices=False)[2][0] for z in (e, x)]
    assert abs(first[0] @ first[1]) > 0.99
    assert abs((x * e).mean()) < 0.1


def test_moments_of_regressors():
    sim = simulate("slx", lattice(40), 30, beta=[1.0, 0.0], theta=[0.0, 0.0], seed=1)
    x = sim.frame[["x1", "x2"]].to_numpy()
    assert np.abs(np.cov(x.T) - np.eye(2)).max() < 5 * np.sqrt(2 / len(x))
    sim = simulate("ols", lattice(40), 30, beta=1.0, x_serial=0.8, seed=1)
    x = sim.frame.pivot(index="time", columns="unit", values="x1").to_numpy()
    assert abs(x.var() - 1.0) < 0.05
    assert abs((x[1:] * x[:-1]).mean() - 0.8) < 0.05
    W = lattice(12)
    sim = simulate("ols", W, 400, beta=1.0, x_spatial=0.5, seed=1)
    x = sim.frame.pivot(index="time", columns="unit", values="x1")[W.ids].to_numpy()
    z = x - 0.5 * x @ W.matrix.toarray().T
    assert np.abs(z.T @ z / 400 - np.eye(144)).max() < 6 / np.sqrt(400)


@pytest.mark.parametrize("correlated", [-0.8, 0.0, 0.6])
def test_unit_effects_go_with_the_regressors(correlated):
    W = lattice(50)
    sim = simulate("ols", W, 5, beta=[1.0, -1.0], correlated=correlated, effects_scale=3.0, seed=2)
    means = sim.frame.groupby("unit")[["x1", "x2"]].mean().sum(axis=1)
    found = np.corrcoef(means, sim.unit_effects.loc[means.index])[0, 1]
    assert abs(found - correlated) < 4 / 50
    assert abs(sim.unit_effects.std() / 3.0 - 1.0) < 4 / np.sqrt(2 * 2500)


def test_dynamic_models_start_in_their_stationary_law():
    """Covariance of the first period against the sum of A^j S^-1 S^-1' A^j' ."""
    copies, small = 4000, weights(n=5, ids=list(range(5)))
    dense = small.to_frame().to_numpy()
    W = sa.SpatialWeights.from_sparse(
        sparse.kron(sparse.eye_array(copies), small.matrix), range(5 * copies)
    )
    inverse = np.linalg.inv(np.eye(5) - 0.3 * dense)
    A = inverse @ (0.4 * np.eye(5) + 0.2 * dense)
    expected, power = np.zeros((5, 5)), inverse
    for _ in range(500):  # beta' beta + sigma^2 = 2
        expected, power = expected + 2.0 * power @ power.T, A @ power
    sim = simulate(
        "sar", W, 1, beta=1.0, rho=0.3, tau=0.4, eta=0.2, effects="none", burn_in=60, seed=1
    )
    draws = sim.frame.set_index("unit")["y"].sort_index().to_numpy().reshape(copies, 5)
    found = np.cov(draws.T)
    assert np.abs(found - expected).max() < 5 * np.sqrt(2 / copies) * expected.max()
    assert np.abs(expected / (2.0 * inverse @ inverse.T)).max() > 1.5  # the start matters


@pytest.mark.parametrize("case", ["complete", "gaps", "by period"])
@pytest.mark.parametrize("model", MODELS)
def test_maximum_likelihood_finds_the_truth(model, case):
    """Also with gaps and changing weights, where the form of the effects matters."""
    W, T = lattice(9), 12
    if case == "by period":
        rng = np.random.default_rng(0)
        W = PanelWeights(
            {
                t: sa.SpatialWeights.from_sparse(W.matrix, rng.permutation(W.ids.to_numpy()))
                for t in range(T)
            }
        )
    missing = 0.15 if case == "gaps" else 0.0
    sim = simulate(
        model, W, T, correlated=0.5, missing=missing, errors="t", df=8, seed=4, **parameters(model)
    )
    fit = getattr(sa, model)(sim.formula, sim.panel, sim.W)
    assert list(fit.params.index) == list(sim.truth.index)
    z = (fit.params - sim.truth) / fit.std_errors
    assert (z.drop("sigma2").abs() < 3.5).all()
    assert abs(fit.params["sigma2"] - 1.0) < 0.15


@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("model", ["sar", "sdm"])
def test_dynamic_estimates_find_the_truth(model, effects):
    W = lattice(9)
    sim = simulate(model, W, 25, tau=0.4, eta=-0.1, effects=effects, seed=2, **parameters(model))
    fit = getattr(sa, model)(sim.formula, sim.panel, W, effects=effects, dynamic="both")
    assert list(fit.params.index) == list(sim.truth.index)
    assert (((fit.params - sim.truth) / fit.std_errors).abs() < 3.5).all()


@pytest.mark.parametrize("form", ["kkp", "baltagi"])
def test_random_effects_estimates_find_the_truth(form):
    W = lattice(9)
    sim = simulate(
        "sem", W, 12, effects="random", effects_scale=1.5, intercept=2.0, form=form, beta=[1.0],
        lam=0.6, seed=3,
    )  # fmt: skip
    fit = sa.sem(sim.formula, sim.panel, W, effects="random", form=form)
    assert list(fit.params.index) == list(sim.truth.index)
    assert sim.truth["phi"] == 2.25
    assert (((fit.params - sim.truth) / fit.std_errors).abs() < 3.5).all()


# --- seeds and labels -------------------------------------------------------------------


def test_the_same_seed_gives_the_same_data():
    options = {"missing": 0.1, "errors": "t", "heteroskedasticity": 0.2, **parameters("gns")}
    one = simulate("gns", weights(), 5, seed=1, **options)
    two = simulate("gns", weights(), 5, seed=1, **options)
    pd.testing.assert_frame_equal(one.frame, two.frame)
    pd.testing.assert_series_equal(one.innovations, two.innovations)
    other = simulate("gns", weights(), 5, seed=2, **options)
    assert not np.allclose(np.sort(one.frame["y"]), np.sort(other.frame["y"]))
    fresh = [simulate("gns", weights(), 5, **options).frame["y"].sum() for _ in range(2)]
    assert fresh[0] != fresh[1]


def test_a_generator_is_not_advanced_and_its_state_counts():
    rng = np.random.default_rng(1)
    state = rng.bit_generator.state
    one = simulate("sar", weights(), 5, seed=rng, **parameters("sar"))
    assert rng.bit_generator.state == state
    pd.testing.assert_frame_equal(
        one.frame, simulate("sar", weights(), 5, seed=rng, **parameters("sar")).frame
    )
    rng.standard_normal()
    moved = simulate("sar", weights(), 5, seed=rng, **parameters("sar"))
    assert not np.allclose(np.sort(one.frame["y"]), np.sort(moved.frame["y"]))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_units_in_the_weights_changes_nothing(seed):
    W = weights()
    turned = W.align(np.random.default_rng(seed).permutation(W.ids.to_numpy()))
    turned = sa.SpatialWeights.from_sparse(turned.matrix, turned.ids)
    options = {"missing": 0.1, "serial": 0.5, "common": 0.2, "x_spatial": 0.3, "seed": 1}
    one = simulate("gns", W, 5, **options, **parameters("gns"))
    two = simulate("gns", turned, 5, **options, **parameters("gns"))
    pd.testing.assert_frame_equal(one.frame, two.frame, rtol=1e-12)
    assert one.missing.equals(two.missing)
    check_dense(two)


def test_every_kind_of_labelled_weights():
    W = weights()
    one = simulate("sdm", W, 4, seed=1, **parameters("sdm")).frame
    for same in (W.to_frame(), W.to_libpysal(), PanelWeights({t: W for t in range(1, 5)})):
        two = simulate("sdm", same, 4, seed=1, **parameters("sdm")).frame
        pd.testing.assert_frame_equal(one, two, rtol=1e-12)


def test_units_may_have_integer_labels_and_periods_dates():
    W = weights(ids=[30, 10, 20, 0, 90, 50, 40, 70, 60, 80])
    times = pd.date_range("2001-01-01", periods=4, freq="YS")
    gap = (30, times[2])
    sim = simulate("sdm", W, 4, times=times, missing=[gap], seed=1, **parameters("sdm"))
    assert set(sim.frame["unit"]) == set(W.ids)
    assert list(sim.period_effects.index) == list(times)
    assert sim.missing.tolist() == [gap]
    check_dense(sim)


def test_rows_are_shuffled_and_the_panel_does_not_mind():
    sim = simulate("sar", weights(), 6, seed=1, **parameters("sar"))
    assert list(sim.frame.columns) == ["unit", "time", "y", "x1", "x2"]
    assert not sim.frame["time"].is_monotonic_increasing
    assert sim.panel.shape == (6, 10)
    assert sim.panel.entities.equals(sim.unit_effects.index)
    assert sim.panel.times.equals(sim.period_effects.index)
    assert sim.panel is sim.panel
    assert sim.formula == "y ~ x1 + x2"
    e = sim.panel.arrange(sim.innovations.to_numpy())
    assert e[2, 3] == sim.innovations[(sim.panel.entities[3], sim.panel.times[2])]
    with pytest.raises(dataclasses.FrozenInstanceError):
        sim.model = "sem"


def test_the_callers_objects_are_unchanged():
    W = weights()
    before = W.matrix.copy()
    X = np.random.default_rng(0).normal(size=(4, 10, 2))
    beta, kept = np.array([1.0, 2.0]), X.copy()
    sim = simulate("sdm", W, 4, beta=beta, theta={"x1": 0.5}, rho=0.2, X=X, missing=0.1, seed=1)
    sim.frame["x1"] = 0.0
    np.testing.assert_array_equal(X, kept)
    assert beta.tolist() == [1.0, 2.0]
    assert abs(W.matrix - before).max() == 0
    assert W.ids.tolist() == IDS


# --- regressors of the caller -----------------------------------------------------------


def test_an_array_of_regressors_follows_the_ids_of_the_weights():
    W = weights()
    X = np.random.default_rng(0).normal(size=(4, 10, 2))
    sim = simulate("sdm", W, 4, beta=[1.0, 2.0], theta=[0.5, 0.1], rho=0.3, X=X, seed=1)
    check_dense(sim)
    rows = sim.frame.set_index(["time", "unit"])
    for t, i in itertools.product(range(4), range(10)):
        assert rows.loc[(t + 1, W.ids[i]), ["x1", "x2"]].tolist() == X[t, i].tolist()
    single = simulate("ols", W, 4, beta=1.0, X=X[:, :, 0], seed=1)
    assert sorted(single.frame["x1"]) == sorted(X[:, :, 0].ravel())


@pytest.mark.parametrize("indexed", [False, True])
def test_a_table_of_regressors_is_matched_by_label(indexed):
    W = weights()
    rng = np.random.default_rng(0)
    table = pd.DataFrame(itertools.product(W.ids, range(1, 5)), columns=["unit", "time"]).assign(
        price=rng.normal(size=40), other=0.0, income=rng.normal(size=40)
    )
    expected = table.set_index(["unit", "time"])
    shuffled = table.sample(frac=1, random_state=1)
    X = shuffled.set_index(["unit", "time"]) if indexed else shuffled
    sim = simulate(
        "sdm", W, 4, beta={"income": 1.0, "price": -0.5}, theta={"price": 0.2}, rho=0.3, X=X, seed=1
    )  # fmt: skip
    assert sim.formula == "y ~ income + price"
    assert sim.truth.index.tolist() == ["income", "price", "W*price", "rho", "sigma2"]
    found = sim.frame.set_index(["unit", "time"])[["income", "price"]]
    pd.testing.assert_frame_equal(found.sort_index(), expected[["income", "price"]].sort_index())
    check_dense(sim)


def test_the_burn_in_of_given_regressors_is_their_mean():
    """With X constant over time, no noise and no effects the process rests at its mean."""
    W = weights()
    X = np.repeat(np.random.default_rng(0).normal(size=(1, 10, 1)), 3, axis=0)
    sim = simulate(
        "sar", W, 3, beta=1.0, rho=0.3, tau=0.4, eta=0.1, X=X, sigma=0.0, effects="none", seed=1
    )
    dense = W.to_frame().to_numpy()
    rest = np.linalg.solve(0.6 * np.eye(10) - 0.4 * dense, X[0, :, 0])
    found = sim.frame.pivot(index="time", columns="unit", values="y")[W.ids]
    np.testing.assert_allclose(found, np.tile(rest, (3, 1)), atol=1e-10)


# --- missing cells ----------------------------------------------------------------------


def test_named_cells_are_left_out():
    W = weights()
    gone = [("u03", 2), ("u07", 2), ("u03", 4)]
    for given in (gone, set(gone), pd.MultiIndex.from_tuples(gone)):
        sim = simulate("sdm", W, 4, missing=given, seed=1, **parameters("sdm"))
        assert set(sim.missing) == set(gone)
        kept = set(zip(sim.frame["unit"], sim.frame["time"], strict=True))
        assert len(kept) == 37
        assert not kept & set(gone)
        assert set(sim.innovations.index) == kept
    check_dense(sim)
    complete = simulate("sdm", W, 4, missing=[], seed=1, **parameters("sdm"))
    pd.testing.assert_frame_equal(
        complete.frame, simulate("sdm", W, 4, seed=1, **parameters("sdm")).frame
    )


def test_missing_cells_may_keep_their_rows():
    options = {"missing": 0.15, "seed": 1, **parameters("sdm")}
    without = simulate("sdm", weights(), 5, **options)
    kept = simulate("sdm", weights(), 5, missing_values=True, **options)
    assert len(kept.frame) == 50
    assert kept.frame.drop(columns="y").notna().all(axis=None)
    gaps = kept.frame[kept.frame["y"].isna()]
    assert set(zip(gaps["unit"], gaps["time"], strict=True)) == set(kept.missing)
    one, two = (s.frame.set_index(["unit", "time"]).sort_index() for s in (without, kept))
    pd.testing.assert_frame_equal(one, two[two["y"].notna()])
    fits = [sa.sdm(s.formula, s.panel, s.W) for s in (without, kept)]
    pd.testing.assert_series_equal(fits[0].params, fits[1].params, rtol=1e-12)


def test_periods_without_gaps_are_as_in_the_complete_panel():
    options = {"seed": 1, **parameters("gns")}
    gaps = simulate("gns", weights(), 4, missing=[("u03", 2)], **options)
    whole = simulate("gns", weights(), 4, **options)
    one, two = (s.frame.set_index(["time", "unit"])["y"].sort_index() for s in (gaps, whole))
    np.testing.assert_allclose(one.drop(2), two.drop(2), rtol=1e-13)
    assert (np.abs(one.loc[2] - two.loc[2].drop("u03")) > 1e-6).any()


@pytest.mark.parametrize("seed", range(5))
def test_random_gaps_leave_rows_and_neighbours(seed):
    W = lattice(5)  # corners have two neighbours
    sim = simulate("sar", W, 6, missing=0.3, seed=seed, **parameters("sar"))
    assert len(sim.missing) == 45
    assert (sim.frame.groupby("unit").size() >= 2).all()
    table = W.to_frame()
    for _, units in sim.frame.groupby("time")["unit"]:
        assert (table.loc[units, units].sum(axis=1) > 0).all()
    check_dense(sim)
    times = simulate("sar", W, 2, missing=0.3, effects="time", seed=seed, **parameters("sar"))
    assert times.frame["unit"].nunique() == 25


def test_isolates_that_the_weights_allow():
    """A unit without neighbours has a spatial lag of zero, in the data as in the weights."""
    A = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]], dtype=float)
    W = sa.SpatialWeights.from_dense(A, list("abcd"), isolates="allow")
    sim = simulate("sar", W, 3, beta=1.0, rho=0.4, missing=[("c", 2)], seed=1)
    check_dense(sim)
    with pytest.raises(DataError, match=r"period 2 .*no neighbours: 'd'.*other cells"):
        simulate(
            "sar", sa.SpatialWeights.from_dense(A, list("abcd")), 3, beta=1.0, rho=0.4,
            missing=[("c", 2)], seed=1,
        )  # fmt: skip


def test_gaps_that_cannot_be():
    W = weights()
    with pytest.raises(DataError, match=r"'u03' would have fewer than 2 row"):
        simulate("ols", W, 3, beta=1.0, missing=[("u03", 1), ("u03", 3)])
    simulate("ols", W, 3, beta=1.0, effects="time", missing=[("u03", 1), ("u03", 3)])
    with pytest.raises(DataError, match=r"\('zz', 1\), \('u03', 9\)"):
        simulate("ols", W, 3, beta=1.0, missing=[("zz", 1), ("u03", 9)])
    with pytest.raises(DataError, match=r"Only \d+ of the 29 cells"):
        simulate("ols", W, 3, beta=1.0, missing=0.98)
    with pytest.raises(OptionError, match="tau and eta need the outcome of the period before"):
        simulate("sar", W, 3, beta=1.0, tau=0.3, missing=0.1)


# --- bad input --------------------------------------------------------------------------


BAD = [
    (("sarar", {}), "'gns'"),
    (("sar", {"effects": "twoway"}), "'two-way'"),
    (("sar", {"form": "inside"}), "'baltagi'"),
    (("sar", {"errors": "cauchy"}), "'normal', 't'"),
    (("sem", {"rho": 0.2}), "sem has no spatial lag of the outcome"),
    (("sar", {"theta": [0.1, 0.2]}), "sar has no lagged regressors"),
    (("sar", {"W_durbin": weights()}), "W_durbin has no meaning"),
    (("sdm", {"lam": 0.2, "theta": [0.1, 0.2]}), "sdm has no spatial error"),
    (("sar", {"W_error": weights()}), "W_error has no meaning"),
    (("sar", {"form": "baltagi"}), "form has no meaning"),
    (("sar", {"intercept": 1.0}), "fixed effects absorb"),
    (("sar", {"correlated": 0.5, "effects": "random"}), "no unit has a fixed effect"),
    (("sar", {"df": 4}), "errors='t'"),
    (("sar", {"errors": "t", "df": 2}), "df=2 must be .* between 2 and inf, not at the ends"),
    (("sar", {"X": np.zeros((4, 10, 2)), "x_serial": 0.5}), "X is given"),
    (("sar", {"sigma": -1.0}), "sigma"),
    (("sar", {"sigma": "one"}), "sigma='one' must be a finite number"),
    (("sar", {"rho": np.nan}), "rho=nan"),
    (("sar", {"serial": 1.0}), "not at the ends"),
    (("sar", {"common": 1.5}), "between 0 and 1"),
    (("sar", {"correlated": -2.0}), "between -1 and 1"),
    (("sar", {"missing": True}), "missing=True"),
    (("sar", {"missing": -0.1}), "between 0 and 1"),
    (("sar", {"missing": "a"}), "collection of"),
    (("sar", {"missing_values": "nan"}), "must be True or False"),
    (("sar", {"missing": 1 + 2j}), "collection of"),
    (("sar", {"rho": 1.0}), r"rho=1 lies outside .*, 1\)"),
    (("sem", {"lam": 1.2}), "lam=1.2 lies outside"),
    (("ols", {"x_spatial": -9.0}), "x_spatial=-9 lies outside"),
    (("sar", {"tau": 0.5, "rho": 0.3, "eta": 0.2}), r"explode.*modulus 1 .*eta = 1\)"),
    (("sar", {"tau": -1.1}), "explode"),
    (("sar", {"tau": 0.3, "burn_in": -1}), "burn_in=-1"),
    (("sdm", {}), "theta must be 2 number"),
    (("sdm", {"theta": [0.1]}), "one for each of 'x1', 'x2'"),
    (("sdm", {"theta": {"x3": 0.1}}), "theta names 'x3', which beta does not have"),
    (("sdm", {"theta": {}}), "at least one"),
    (("sar", {"beta": []}), "beta must be numbers"),
    (("sar", {"beta": [[1.0]]}), "beta must be numbers"),
    (("sar", {"beta": ["a"]}), r"beta\[x1\]='a' must be a finite number"),
    (("sar", {"beta": {"log income": 1.0}}), "must be words"),
    (("sar", {"heteroskedasticity": {"x9": 1.0}}), "'unit', 'x1', 'x2'"),
    (("sar", {"heteroskedasticity": np.inf}), r"heteroskedasticity\[unit\]=inf"),
    (("sar", {"times": [1, 2]}), "T=4 needs as many"),
    (("sar", {"times": [1, 3, 2, 4]}), "must increase"),
    (("sar", {"times": [1, 2, 2, 4]}), "must increase"),
    (("sar", {"seed": "x"}), "seed='x'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "match"), BAD, ids=[f"{c[0]} {[*c[1]]}" for c, _ in BAD])
def test_bad_options(call, match):
    model, options = call
    with pytest.raises(OptionError, match=match):
        simulate(model, weights(), 4, **{"beta": [1.0, 2.0], **options})


@pytest.mark.parametrize("name", TAKEN)
def test_names_of_parameters_are_not_names_of_regressors(name):
    with pytest.raises(OptionError, match="names of regressors"):
        simulate("ols", weights(), 4, beta={name: 1.0})


@pytest.mark.parametrize("T", [0, -1, 2.0, True, "3"])
def test_bad_number_of_periods(T):
    with pytest.raises(OptionError, match="T=.*whole number of at least 1"):
        simulate("ols", weights(), T, beta=1.0)


def test_bad_weights():
    W = weights()
    with pytest.raises(WeightsError, match="no labels"):
        simulate("sar", W.matrix, 4, beta=1.0)
    with pytest.raises(AlignmentError, match="unit"):
        simulate("sem", W, 4, beta=1.0, W_error=weights(ids=[f"v{i}" for i in range(10)]))
    with pytest.raises(AlignmentError, match="no weights: 3"):
        simulate("sar", PanelWeights({1: W, 2: W}), 3, beta=1.0, times=[1, 2, 3])
    with pytest.raises(OptionError, match="T=3 needs as many"):
        simulate("sar", PanelWeights({1: W, 2: W}), 3, beta=1.0)
    mixed = sa.SpatialWeights.from_dense([[0, 1], [1, 0]], ids=[1, "a"])
    with pytest.raises(WeightsError, match="cannot be sorted"):
        simulate("sar", mixed, 3, beta=1.0)


def test_bad_regressors():
    W = weights()
    table = pd.DataFrame(itertools.product(W.ids, range(1, 5)), columns=["unit", "time"])
    table["x"] = 1.0
    with pytest.raises(DataError, match=r"\(4, 10, 1\); got \(10, 4, 1\)"):
        simulate("ols", W, 4, beta=1.0, X=np.zeros((10, 4)))
    with pytest.raises(DataError, match="with 1 missing"):
        simulate("ols", W, 4, beta=1.0, X=np.where(np.arange(40).reshape(4, 10) == 3, np.nan, 0))
    with pytest.raises(DataError, match="must hold numbers"):
        simulate("ols", W, 4, beta=1.0, X=[["a"]])
    with pytest.raises(OptionError, match="beta must name its columns"):
        simulate("ols", W, 4, beta=1.0, X=table)
    with pytest.raises(DataError, match="no column 'z'"):
        simulate("ols", W, 4, beta={"z": 1.0}, X=table)
    with pytest.raises(AlignmentError, match="periods of the simulation.*has 5"):
        simulate("ols", W, 5, beta={"x": 1.0}, X=table)
    with pytest.raises(AlignmentError, match="units of the simulation.*'u00'"):
        simulate("ols", W, 4, beta={"x": 1.0}, X=table[table["unit"] != "u00"])
    with pytest.raises(DataError, match="not balanced"):
        simulate("ols", W, 4, beta={"x": 1.0}, X=table.iloc[1:])
    with pytest.raises(DataError, match="does not vary"):
        simulate("ols", W, 4, beta={"x": 1.0}, X=table, heteroskedasticity={"x": 0.5})
    with pytest.raises(DataError, match="does not vary"):
        simulate("ols", W, 4, beta={"x": 1.0}, X=table, correlated=0.5)


def test_the_parameter_space_is_that_of_the_units_of_a_period():
    """Below -1 the space depends on which units are there: each period is checked."""
    ring = np.zeros((9, 9))
    for i in range(9):
        ring[i, (i + 1) % 9] = ring[i, (i - 1) % 9] = 0.5
    W = sa.SpatialWeights.from_dense(ring, list("abcdefghi"))  # smallest eigenvalue cos(160 deg)
    sim = simulate("sar", W, 3, beta=1.0, rho=-1.05, seed=1)
    check_dense(sim)
    with pytest.raises(OptionError, match="outside the parameter space"):
        simulate("sar", W, 3, beta=1.0, rho=-1.05, missing=[("a", 2)])  # a path: -1


def explosive(W, rho, tau, eta):
    call = {"beta": 1.0, "rho": rho, "tau": tau, "eta": eta, "burn_in": 0, "seed": 1}
    try:
        simulate("sar", W, 2, **call)
    except OptionError as error:
        return "explode" in str(error)
    return False


@pytest.mark.parametrize("row", [True, False])
def test_stability_is_that_of_the_eigenvalues(row):
    rng = np.random.default_rng(0)
    W = weights(row=row)
    dense = W.to_frame().to_numpy()
    found = []
    for _ in range(300):
        rho, tau, eta = rng.uniform(-0.9, 0.9, 3)
        A = np.linalg.solve(np.eye(10) - rho * dense, tau * np.eye(10) + eta * dense)
        found.append(np.abs(np.linalg.eigvals(A)).max() >= 1.0)
        assert explosive(W, rho, tau, eta) == found[-1]
    assert 30 < sum(found) < 270


def ring(n):
    """Each unit leans on the next two: a circulant with complex eigenvalues."""
    links = {i: [(i + 1) % n, (i + 2) % n] for i in range(n)}
    turn = np.exp(2j * np.pi * np.arange(n) / n)
    return sa.SpatialWeights.from_dict(links).standardize("row"), (turn + turn**2) / 2


def test_stability_of_many_units():
    """Above the dense limit a bound decides: exact where W has the eigenvalues 1 and -1."""
    W = lattice(45)
    assert explosive(W, 0.0, 0.4, -0.61)  # 0.4 + 0.61 at the eigenvalue -1
    assert not explosive(W, 0.0, 0.4, -0.59)
    assert explosive(W, 0.3, 0.4, 0.31)
    assert not explosive(W, 0.3, 0.4, 0.29)
    small, omega = ring(301)
    found = np.abs(0.3 - 0.8 * omega).max()
    assert found < 1.0 < 0.3 + 0.8
    assert not explosive(small, 0.0, 0.3, -0.8)
    with pytest.raises(OptionError, match=r"by a bound .*modulus 1\.1 "):
        simulate("sar", ring(1601)[0], 2, beta=1.0, tau=0.3, eta=-0.8)


@pytest.mark.slow
def test_forty_thousand_units():
    """No dense array of units by units: 40,000 units with gaps, three spatial terms."""
    W = lattice(200)
    sim = simulate("gns", W, 4, missing=0.02, seed=1, **parameters("gns"))
    assert len(sim.frame) == 156_800
    one = sim.frame[sim.frame["time"] == 2].set_index("unit").sort_index()
    V = W.subset(one.index)
    M = V.matrix
    u = one["y"] - 0.4 * (M @ one["y"]) - one["x1"] + 0.5 * one["x2"]
    u -= 0.6 * (M @ one["x1"]) + 0.2 * (M @ one["x2"])
    e = u - 0.3 * (M @ u) - sim.unit_effects[one.index] - sim.period_effects[2]
    np.testing.assert_allclose(e, sim.innovations.xs(2, level="time")[one.index], atol=1e-12)
