"""Panels with gaps and weights that change over time, against a dense brute force."""

import dense
import dense_family
import dense_unbalanced
import numpy as np
import pandas as pd
import pytest
from conftest import EFFECTS

import spatial_agglo as sa
from spatial_agglo.core.within import Projector, within
from spatial_agglo.formula import variables
from spatial_agglo.models.fitting import fit as fit_model
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace

MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns")


@pytest.fixture(scope="module")
def matrices():
    return dense.weights_cases(np.random.default_rng(3))


def run(model, panel, W, **options):
    return getattr(sa, model)("y ~ x1 + x2", panel, W, **options)


def holes(T, N, seed=0, share=0.15):
    """A mask with missing cells; every unit is observed at least three times."""
    rng = np.random.default_rng(seed)
    mask = rng.uniform(size=(T, N)) > share
    mask[:3] = True
    return mask


def with_gaps(frame, mask, rows):
    """Leave out rows, or set cells of a variable to missing; shuffled."""
    out = frame.copy()
    cells = ~mask.ravel()
    if rows:
        out = out[~cells]
    else:
        at = np.flatnonzero(cells)
        out.loc[out.index[at[::2]], "x1"] = np.nan
        out.loc[out.index[at[1::2]], "y"] = np.nan
    out = out.sample(frac=1.0, random_state=1)
    return sa.Panel(out, entity="id", time="t", unbalanced="allow")


def check(fit, problem):
    found = dense_family.fit(problem)
    np.testing.assert_allclose(fit.loglik, found["loglik"], rtol=1e-8)
    np.testing.assert_allclose(fit.values, found["params"], rtol=1e-4, atol=2e-5)
    assert dense_family.loglik(fit.values, problem) == pytest.approx(found["loglik"], abs=1e-6)
    assert fit.n_effective == found["n"]
    cov = dense_family.observed_cov(fit.values, problem)
    np.testing.assert_allclose(fit.std_errors, np.sqrt(np.diag(cov)), rtol=2e-4)


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
@pytest.mark.parametrize("model", MODELS)
def test_gaps(matrices, small, model, likelihood, effects):
    W = matrices["contiguity"]
    frame, _, weights, y, X = small(W, seed=1)
    mask = holes(*y.shape)
    panel = with_gaps(frame, mask, rows=model in ("sar", "sem", "gns"))
    fit = run(model, panel, weights, effects=effects, likelihood=likelihood)
    check(fit, dense_unbalanced.problem(y, X, W, mask, model, effects, likelihood))
    assert fit.nobs == mask.sum()
    assert len(fit.missing) == (~mask).sum()
    assert len(fit.resids) == mask.sum()
    assert any("missing and left out" in note for note in fit.notes)


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS[2:])
def test_weights_that_change(matrices, small, model, effects):
    names = ["contiguity", "knn5", "mix", "contiguity", "mix", "knn5", "knn5"]
    _frame, panel, weights, y, X = small(matrices["contiguity"], seed=2)
    stack = np.stack([matrices[name] for name in names])
    W = sa.weights.PanelWeights(
        {
            period: sa.SpatialWeights.from_dense(stack[t], weights.ids)
            for t, period in enumerate(panel.times)
        }
    )
    fit = run(model, panel, W, effects=effects)
    mask = np.ones(y.shape, dtype=bool)
    check(fit, dense_unbalanced.problem(y, X, stack, mask, model, effects, "transformed"))
    # the order in which periods are given is of no account
    turned = sa.weights.PanelWeights(dict(reversed(list(W.items()))))
    again = run(model, panel, turned, effects=effects)
    np.testing.assert_allclose(again.values, fit.values, rtol=1e-10)


@pytest.mark.parametrize("effects", EFFECTS[1:])
@pytest.mark.parametrize("model", ["sar", "sdm"])
def test_gaps_and_weights_that_change_and_are_not_standardised(matrices, small, model, effects):
    rng = np.random.default_rng(5)
    frame, _, weights, y, X = small(matrices["contiguity"], seed=3)
    T, N = y.shape
    stack = np.stack([matrices["knn5"] * rng.uniform(0.5, 1.0, size=(N, 1)) for _ in range(T)])
    mask = holes(T, N, seed=4, share=0.1)
    panel = with_gaps(frame, mask, rows=True)
    W = sa.weights.PanelWeights(
        {
            period: sa.SpatialWeights.from_dense(stack[t], weights.ids)
            for t, period in enumerate(range(2000, 2000 + T))
        }
    )
    fit = run(model, panel, W, effects=effects)
    check(fit, dense_unbalanced.problem(y, X, stack, mask, model, effects, "transformed"))


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", ["contiguity", "knn5", "mix"])
def test_a_balanced_panel_on_the_irregular_path(matrices, small, model, likelihood, effects, case):
    """The general arithmetic gives the balanced answer, covariances included."""
    W = matrices[case]
    _, panel, weights, _, _ = small(W, seed=16)
    data = variables("y ~ x1 + x2", panel)
    for cov in ("observed", "expected", "clustered"):
        spec = ModelSpec.of(model, effects=effects, likelihood=likelihood, cov=cov)
        regular = fit_model(spec, Workspace(data, weights))
        space = Workspace(data, weights)
        object.__setattr__(data, "observed", np.ones(panel.shape, dtype=bool))
        irregular = Workspace(data, weights)
        found = fit_model(spec, irregular)
        assert irregular.irregular
        object.__setattr__(data, "observed", None)
        assert not space.irregular
        np.testing.assert_allclose(found.values, regular.values, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(found.loglik, regular.loglik, rtol=1e-10)
        scale = np.sqrt(np.outer(np.diag(regular.covariance), np.diag(regular.covariance)))
        np.testing.assert_allclose(found.covariance / scale, regular.covariance / scale, atol=1e-8)


@pytest.mark.parametrize("effects", EFFECTS)
def test_the_projector_is_the_projection_off_the_dummies(effects):
    mask = holes(6, 8, seed=2, share=0.4)
    mask[:, 5] = False  # a unit that is never observed
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(6, 8, 3)) * mask[:, :, None]
    cells = mask.ravel()
    D = [np.zeros((cells.sum(), 0))]
    if effects in ("entity", "two-way"):
        D.append(np.kron(np.ones((6, 1)), np.eye(8))[cells])
    if effects in ("time", "two-way"):
        D.append(np.kron(np.eye(6), np.ones((8, 1)))[cells])
    D = np.hstack(D)
    P = D @ np.linalg.pinv(D) if D.size else np.zeros((cells.sum(),) * 2)
    projector = Projector.of(mask, effects)
    flat = Z.reshape(48, 3)[cells]
    twin = np.zeros((48, 3))
    twin[cells] = flat - P @ flat
    np.testing.assert_allclose(projector.apply(Z).reshape(48, 3), twin, atol=1e-12)
    np.testing.assert_allclose(
        projector.apply(Z[:, :, 0]), twin.reshape(6, 8, 3)[:, :, 0], atol=1e-12
    )
    assert projector.rank == round(cells.sum() - np.trace(P))
    whole = np.zeros((48, 48))
    whole[np.ix_(cells, cells)] = P
    for t in range(6):
        block = whole[8 * t : 8 * t + 8, 8 * t : 8 * t + 8]
        np.testing.assert_allclose(projector.block(t), block, atol=1e-12)


def test_a_full_mask_is_the_balanced_projection():
    Z = np.random.default_rng(0).normal(size=(5, 4, 2))
    for effects in EFFECTS:
        projector = Projector.of(np.ones((5, 4), dtype=bool), effects)
        np.testing.assert_allclose(projector.apply(Z), within(Z, effects), atol=1e-13)


def test_least_squares_with_gaps_is_what_linearmodels_says(small, matrices):
    linearmodels = pytest.importorskip("linearmodels")
    frame, _, _, y, _ = small(matrices["contiguity"], seed=1)
    mask = holes(*y.shape)
    panel = with_gaps(frame, mask, rows=True)
    ours = run("ols", panel, None, cov="clustered")
    theirs = linearmodels.PanelOLS(
        panel.frame["y"], panel.frame[["x1", "x2"]], entity_effects=True, time_effects=True
    ).fit()
    np.testing.assert_allclose(ours.params[["x1", "x2"]], theirs.params, rtol=1e-9)
    np.testing.assert_allclose(ours.resids.sort_index(), theirs.resids.sort_index(), atol=1e-9)


@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("model", ["sdm", "slx"])
def test_impacts_are_means_over_observed_cells(matrices, small, model, varying):
    frame, _, weights, y, _X = small(matrices["contiguity"], seed=3)
    T, N = y.shape
    mask = np.ones((T, N), dtype=bool) if varying else holes(T, N)
    panel = with_gaps(frame, mask, rows=True)
    names = ["contiguity", "knn5", "mix", "mix", "contiguity", "knn5", "mix"]
    stack = np.stack([matrices[names[t] if varying else "contiguity"] for t in range(T)])
    W = weights
    if varying:
        W = sa.weights.PanelWeights(
            {2000 + t: sa.SpatialWeights.from_dense(stack[t], weights.ids) for t in range(T)}
        )
    fit = run(model, panel, W)
    blocks = dense_unbalanced.cut(stack, mask)

    def effects(values):
        p = dict(zip(fit.names, values, strict=True))
        direct, total = np.zeros(2), np.zeros(2)
        for B in blocks:
            inverse = np.linalg.inv(np.eye(len(B)) - p.get("rho", 0.0) * B)
            for j, name in enumerate(("x1", "x2")):
                E = inverse @ (p[name] * np.eye(len(B)) + p[f"W*{name}"] * B)
                direct[j] += np.trace(E)
                total[j] += E.sum()
        direct, total = direct / mask.sum(), total / mask.sum()
        return np.stack([direct, total - direct, total])

    found = fit.impacts()
    np.testing.assert_allclose(found.estimate, effects(fit.values), rtol=1e-10, atol=1e-12)
    J = dense.jacobian(lambda v: effects(v).ravel(), fit.values, 1e-5 * np.ones(fit.values.size))
    variance = np.diag(J @ fit.covariance @ J.T).reshape(3, 2)
    some = variance > 1e-16
    np.testing.assert_allclose(found.se[some], np.sqrt(variance)[some], rtol=1e-6)


# --- rules ------------------------------------------------------------------------------------


def test_gaps_are_an_error_unless_allowed(small, matrices):
    frame, _, _, _y, _ = small(matrices["contiguity"])
    with pytest.raises(sa.errors.DataError, match="unbalanced='allow'"):
        sa.Panel(frame.iloc[1:], entity="id", time="t")
    frame.loc[3, "x1"] = np.nan
    panel = sa.Panel(frame, entity="id", time="t")
    with pytest.raises(sa.errors.DataError, match="'u03', 2000.*unbalanced='allow'"):
        run("ols", panel, None)
    with pytest.raises(sa.errors.OptionError, match="'error', 'allow'"):
        sa.Panel(frame, entity="id", time="t", unbalanced="drop")


def test_missing_cells_are_those_of_the_formula(small, matrices):
    frame, _, _, y, _ = small(matrices["contiguity"])
    frame.loc[3, "x1"] = np.nan
    frame["unused"] = np.nan
    panel = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    fit = run("ols", panel, None)
    assert list(fit.missing) == [("u03", 2000)]
    assert fit.nobs == y.size - 1
    assert sa.ols("y ~ x2", panel).nobs == y.size
    logs = sa.ols("y ~ I(2 * x1) + C(id):x2", panel, effects="time")
    assert list(logs.missing) == [("u03", 2000)]
    frame.loc[4, "x1"] = np.inf
    infinite = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    with pytest.raises(sa.errors.DataError, match=r"infinite.*u04"):
        run("ols", infinite, None)


def test_a_missing_category_is_a_missing_cell(small, matrices):
    frame, _, _, _y, _ = small(matrices["contiguity"])
    frame["region"] = np.where(frame["x2"] > 0, "a", "b")
    frame["region"] = frame["region"].astype(object)
    frame.loc[5, "region"] = None
    panel = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    assert list(sa.ols("y ~ x1 + C(region)", panel).missing) == [("u05", 2000)]


def test_a_unit_without_neighbours_in_a_period(small):
    chain = np.diag(np.ones(7), 1) + np.diag(np.ones(7), -1)
    chain /= chain.sum(axis=1, keepdims=True)
    frame, _, weights, _, _ = small(chain, T=6)
    gap = frame[~((frame["id"] == "u01") & (frame["t"] == 2003))]
    panel = sa.Panel(gap, entity="id", time="t", unbalanced="allow")
    with pytest.raises(sa.errors.WeightsError, match="2003.*no neighbour left.*'u00'"):
        run("sar", panel, weights, effects="entity")
    allowed = sa.SpatialWeights.from_dense(chain, weights.ids, isolates="allow")
    fit = run("sar", panel, allowed, effects="entity")
    assert -1 < fit.rho < 1
    with pytest.raises(sa.errors.WeightsError, match="row-standardised"):
        run("sem", panel, allowed, effects="two-way")


def test_options_that_need_a_balanced_panel(small, matrices):
    frame, _, weights, _, _ = small(matrices["contiguity"])
    panel = sa.Panel(frame.iloc[1:], entity="id", time="t", unbalanced="allow")
    for likelihood in ("direct-demeaned", "corrected"):
        with pytest.raises(sa.errors.OptionError, match="balanced"):
            run("sar", panel, weights, likelihood=likelihood)
    with pytest.raises(sa.errors.OptionError, match="balanced"):
        run("sar", panel, weights, effects="random")
    other = sa.SpatialWeights.from_dense(matrices["mix"], weights.ids)
    with pytest.raises(sa.errors.OptionError, match="likelihood='direct'"):
        run("sac", panel, weights, W_error=other)
    run("sac", panel, weights, W_error=other, likelihood="direct", cov="expected")


def test_too_little_is_left(small, matrices):
    frame, _, weights, _, _ = small(matrices["contiguity"])
    frame["y"] = frame["y"].where(frame["t"] == 2000)
    panel = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    with pytest.raises(sa.errors.SpatialAggloError, match="2001 0 unit.*Leave the period out"):
        run("sar", panel, weights, effects="entity")
    frame["y"] = np.nan
    empty = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    with pytest.raises(sa.errors.DataError, match="No cell"):
        run("ols", empty, None)


def test_weights_that_change_need_every_period(small, matrices):
    _, panel, weights, _, _ = small(matrices["contiguity"])
    W = sa.weights.PanelWeights({2000: weights, 2001: weights})
    with pytest.raises(sa.errors.AlignmentError, match="2002"):
        run("sar", panel, W)


def test_the_same_weights_in_every_period_are_one_matrix(small, matrices):
    _, panel, weights, _, _ = small(matrices["contiguity"])
    W = sa.weights.PanelWeights(dict.fromkeys(panel.times, weights))
    fit = run("sdm", panel, W)
    assert not fit.workspace.irregular
    np.testing.assert_array_equal(fit.values, run("sdm", panel, weights).values)


def test_matrices_without_a_basis_of_eigenvectors():
    """A chain that leads nowhere: the integral is taken numerically."""
    from scipy import integrate, sparse

    from spatial_agglo.core.jacobian import Removed

    W = np.zeros((6, 6))
    W[np.arange(5), np.arange(1, 6)] = 1.0
    W[1, 0] = 0.5
    P = np.diag(np.linspace(0.1, 0.6, 6))
    edges = np.array([-1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2])
    found = Removed.of(sparse.csr_array(W), P, edges)
    assert found.omega.size == 0

    def trace(r):
        return np.trace(P @ W @ np.linalg.inv(np.eye(6) - r * W))

    for rho in (-0.9, -0.3, 0.0, 0.37, 1.1):
        twin = integrate.quad(trace, 0, rho, epsabs=1e-13)[0]
        assert float(found.value(np.asarray(rho))) == pytest.approx(twin, abs=1e-11)
        first, second = found.derivatives(np.asarray(rho))
        assert float(first) == pytest.approx(trace(rho), abs=1e-12)
        slope = (trace(rho + 1e-5) - trace(rho - 1e-5)) / 2e-5
        assert float(second) == pytest.approx(slope, abs=1e-7)
    assert np.isfinite(found.value(edges)).all()


def test_index_of_results(small, matrices):
    frame, _, weights, y, _ = small(matrices["contiguity"])
    mask = holes(*y.shape)
    panel = with_gaps(frame, mask, rows=True)
    fit = run("sdm", panel, weights)
    total = fit.fitted_values + fit.resids
    merged = frame.set_index(["id", "t"])["y"].reindex(total.index)
    np.testing.assert_allclose(total, merged, atol=1e-12)
    assert isinstance(fit.resids.index, pd.MultiIndex)
