"""What a user does with a fit: effects, residuals, predictions, profiles, fits that follow.

The algebra beside the package is explicit: dense matrices, dummies, one period at a time.
"""

import copy
import json
import pickle
from dataclasses import replace
from itertools import product

import dense
import dense_family
import dense_unbalanced
import numpy as np
import pandas as pd
import pytest
from conftest import EFFECTS, FORMULA
from scipy import stats

import spatial_agglo as sa
from spatial_agglo.errors import (
    AlignmentError,
    BoundaryError,
    DataError,
    FormulaError,
    IdentificationError,
    OptionError,
    WeightsError,
)
from spatial_agglo.models.specification import ModelSpec

MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns")
ERROR = ("sem", "sdem", "sac", "gns")
LAG = ("sar", "sdm", "sac", "gns")
LIKELIHOODS = ("transformed", "direct", "direct-demeaned", "corrected")
CASES = ("contiguity", "knn5", "mix", "unstandardised")
#: A filter of errors that is not row-standardised and period effects do not go together.
COMBINATIONS = [
    (model, effects, case)
    for model, effects, case in product(MODELS, EFFECTS, CASES)
    if not (case == "unstandardised" and effects in ("time", "two-way") and model in ERROR)
]


@pytest.fixture(scope="module")
def matrices():
    return dense.weights_cases(np.random.default_rng(3))


def run(model, panel, W, **options):
    return getattr(sa, model)("y ~ x1 + x2", panel, W, **options)


def array(series, fit):
    """A labelled series as (T, N), zero where there is none, matched by label."""
    panel = fit.workspace.data.panel
    wide = series.unstack(level=0).reindex(index=panel.times, columns=panel.entities)
    return wide.fillna(0.0).to_numpy()


def parts(fit, X, Ws, Ds=None):
    """``X beta + c`` and ``W X theta`` from the labels of the parameters, a period at a time."""
    p = fit.params
    own = sum(p[f"x{j + 1}"] * X[:, :, j] for j in range(X.shape[2])) + p.get("Intercept", 0.0)
    lagged = np.zeros_like(own)
    for t, D in enumerate(Ws if Ds is None else Ds):
        for j in range(X.shape[2]):
            lagged[t] += p.get(f"W*x{j + 1}", 0.0) * (D @ X[t, :, j])
    return own, lagged


def effects_of(fit, shape):
    """Constant, unit and period effects as an array of cells."""
    total = np.zeros(shape)
    if fit.spec.effects != "none":
        total += fit.constant
    if fit.unit_effects is not None:
        total += fit.unit_effects.to_numpy()[None, :]
    if fit.period_effects is not None:
        total += fit.period_effects.to_numpy()[:, None]
    return total


# --- fixed effects ------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "effects", "case"), COMBINATIONS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_parts_add_up_to_the_outcome(matrices, small, model, likelihood, effects, case):
    W = matrices[case]
    _, panel, weights, y, X = small(W, seed=16)
    demeaned_first = likelihood in ("direct-demeaned", "corrected")
    raw_periods = case == "unstandardised" and effects in ("time", "two-way")
    if demeaned_first and raw_periods and model in LAG:
        with pytest.raises(WeightsError, match=r"period means out before W|is defined for"):
            _ = run(model, panel, weights, effects=effects, likelihood=likelihood).period_effects
        return
    fit = run(model, panel, weights, effects=effects, likelihood=likelihood)
    own, lagged = parts(fit, X, [W] * len(y))
    u = array(fit.disturbances, fit)
    built = (fit.rho or 0.0) * y @ W.T + own + lagged + effects_of(fit, y.shape) + u
    np.testing.assert_allclose(built, y, rtol=0, atol=1e-9)
    innovations = u - (fit.lam or 0.0) * u @ W.T
    np.testing.assert_allclose(innovations, array(fit.resids, fit), rtol=0, atol=1e-9)
    for found, wanted in ((fit.unit_effects, "entity"), (fit.period_effects, "time")):
        assert (found is None) == (effects not in (wanted, "two-way"))
        assert found is None or abs(found.sum()) < 1e-9


@pytest.mark.parametrize("effects", EFFECTS[1:])
@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
@pytest.mark.parametrize("model", MODELS)
def test_effects_are_the_coefficients_of_dummies(matrices, small, model, likelihood, effects):
    """Generalised least squares on all dummies, normalised by explicit constraints."""
    W = matrices["knn5"]
    _, panel, weights, y, X = small(W, seed=24)
    fit = run(model, panel, weights, effects=effects, likelihood=likelihood)
    T, N = y.shape
    own, lagged = parts(fit, X, [W] * T)
    r = (y - (fit.rho or 0.0) * y @ W.T - own - lagged).ravel()
    B = np.kron(np.eye(T), np.eye(N) - (fit.lam or 0.0) * W)
    units = np.kron(np.ones((T, 1)), np.eye(N)) * (effects != "time")
    periods = np.kron(np.eye(T), np.ones((N, 1))) * (effects != "entity")
    D = np.hstack([np.ones((N * T, 1)), units, periods])
    normal = np.zeros((2, 1 + N + T))
    normal[0, 1 : 1 + N] = normal[1, 1 + N :] = 1.0
    rows = np.vstack([(B @ D).T @ B @ D, normal])
    right = np.concatenate([(B @ D).T @ B @ r, np.zeros(2)])
    delta = np.linalg.lstsq(rows, right, rcond=None)[0]
    assert fit.constant == pytest.approx(delta[0], abs=1e-8)
    if fit.unit_effects is not None:
        np.testing.assert_allclose(fit.unit_effects, delta[1 : 1 + N], rtol=0, atol=1e-8)
        assert list(fit.unit_effects.index) == list(panel.entities)
    if fit.period_effects is not None:
        np.testing.assert_allclose(fit.period_effects, delta[1 + N :], rtol=0, atol=1e-8)
        assert list(fit.period_effects.index) == list(panel.times)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("effects", EFFECTS[1:])
def test_effects_of_least_squares_are_those_of_linearmodels(small, matrices, effects, gaps):
    from linearmodels.panel import PanelOLS

    frame, panel, _, _, _ = small(matrices["contiguity"], seed=7)
    if gaps:
        frame = frame.sample(frac=0.8, random_state=0)
        panel = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    fit = run("ols", panel, None, effects=effects)
    indexed = frame.set_index(["id", "t"])
    theirs = PanelOLS(
        indexed["y"],
        indexed[["x1", "x2"]],
        entity_effects=effects != "time",
        time_effects=effects != "entity",
    ).fit()
    index = fit.resids.index
    total = pd.Series(fit.constant, index=index)
    for found, level in ((fit.unit_effects, 0), (fit.period_effects, 1)):
        if found is not None:
            total += found.reindex(index.get_level_values(level)).to_numpy()
    effects_there = theirs.estimated_effects["estimated_effects"].reindex(index)
    np.testing.assert_allclose(total, effects_there, rtol=0, atol=1e-8)
    np.testing.assert_allclose(fit.rsquared_within, theirs.rsquared, rtol=1e-10)


#: splm 1.6-5: effects(spml(logc ~ logp + logy, model = "within", effect = ..., lag = ...,
#: spatial.error = "none" or "b", LeeYu = FALSE))$INTTable.
INTERCEPTS = {
    ("sar", "entity"): 3.30970430437349,
    ("sdm", "entity"): 2.69445884692497,
    ("sem", "entity"): 4.46016262707136,
    ("sdem", "entity"): 4.89485870525013,
    ("sar", "time"): 1.49357560746192,
    ("sdm", "time"): 1.52421158277574,
    ("sem", "time"): 2.03533571242656,
    ("sdem", "time"): 1.98799668858523,
    ("sar", "two-way"): 1.67538213210123,
    ("sdm", "two-way"): 2.20935654101539,
    ("sem", "two-way"): 2.16914008439418,
    ("sdem", "two-way"): 2.75530582633004,
}
SPLM = {"entity": "individual", "time": "time", "two-way": "twoways"}


@pytest.mark.parametrize(("model", "effects"), INTERCEPTS)
def test_constant_and_rsquared_of_splm(cigarettes, queen, reference, model, effects):
    fit = getattr(sa, model)(
        FORMULA, cigarettes, queen, effects=effects, likelihood="direct-demeaned"
    )
    left = fit.disturbances.mean()  # zero, but for time effects and data demeaned first
    assert fit.constant + left == pytest.approx(INTERCEPTS[model, effects], rel=1e-5)
    y = array(fit.fitted_values + fit.resids, fit)
    theirs = reference("cigarettes_r")["direct_ml_splm"][
        f"{model.upper()}_{SPLM[effects]}_LeeYuFALSE"
    ]["rsqr"]
    # splm's residuals are disturbances around its own effects, means of what is left of y
    u = array(fit.disturbances, fit)
    u = u - effects_means(u, effects)
    assert 1.0 - (u**2).sum() / ((y - y.mean()) ** 2).sum() == pytest.approx(theirs, abs=1e-7)
    if effects == "entity" and model in LAG:
        assert fit.rsquared == pytest.approx(theirs, abs=1e-7)


def effects_means(u, effects):
    if effects == "entity":
        return u.mean(axis=0, keepdims=True)
    if effects == "time":
        return u.mean(axis=1, keepdims=True)
    return u.mean(axis=0, keepdims=True) + u.mean(axis=1, keepdims=True) - u.mean()


def test_effects_say_how_they_are_normalised(cigarettes, queen):
    fit = sa.sac(FORMULA, cigarettes, queen)
    assert fit.unit_effects.attrs["constraint"] == (
        "unit effects sum to zero; y_t = ... + constant + unit + period + u_t"
    )
    assert "period effects sum to zero" in fit.period_effects.attrs["constraint"]
    without = sa.sar(FORMULA, cigarettes, queen, effects="none")
    assert without.unit_effects is None
    assert without.period_effects is None
    assert without.constant == without.params["Intercept"]
    assert sa.sar(f"{FORMULA} - 1", cigarettes, queen, effects="none").constant is None


# --- gaps, and weights that change --------------------------------------------------------


def holes(T, N, seed=0, share=0.15):
    rng = np.random.default_rng(seed)
    mask = rng.uniform(size=(T, N)) > share
    mask[:3] = True
    return mask


def gappy(frame, mask):
    kept = frame[mask.ravel()].sample(frac=1.0, random_state=1)
    return sa.Panel(kept, entity="id", time="t", unbalanced="allow")


def full_size(W, mask):
    """W of every period as N x N, zero for units that are missing."""
    out = np.zeros((*mask.shape, mask.shape[1]))
    for t, block in enumerate(dense_unbalanced.cut(W, mask)):
        at = np.flatnonzero(mask[t])
        out[t][np.ix_(at, at)] = block
    return out


def check_cells(fit, y, X, Ws, mask):
    """Effects from explicit dummies inside the filter of errors; y; the reduced form."""
    T, N = y.shape
    y, X = y * mask, X * mask[:, :, None]
    lam, rho = fit.lam or 0.0, fit.rho or 0.0
    own, lagged = parts(fit, X, Ws)
    own = own * mask
    r = y - own - lagged - rho * np.stack([Ws[t] @ y[t] for t in range(T)])
    Br = r - lam * np.stack([Ws[t] @ r[t] for t in range(T)])
    D = dense.dummies(T, N, fit.spec.effects)[mask.ravel()]
    projected = (D @ np.linalg.pinv(D) @ Br[mask]) if D.shape[1] else np.zeros(mask.sum())
    np.testing.assert_allclose(effects_of(fit, y.shape)[mask], projected, atol=1e-8)
    level = np.zeros_like(y)
    level[mask] = projected
    S = [np.eye(N) - rho * Ws[t] for t in range(T)]
    B = [np.eye(N) - lam * Ws[t] for t in range(T)]
    filtered = np.stack([np.linalg.solve(B[t], level[t]) for t in range(T)])
    expected = np.stack([np.linalg.solve(S[t], own[t] + lagged[t] + filtered[t]) for t in range(T)])
    np.testing.assert_allclose(array(fit.predict(), fit)[mask], expected[mask], atol=1e-8)
    without = array(fit.predict(spillovers=False), fit)
    np.testing.assert_allclose(without[mask], (own + level)[mask], atol=1e-8)
    u = array(fit.disturbances, fit)
    left = np.stack([np.linalg.solve(S[t], u[t]) for t in range(T)])
    np.testing.assert_allclose((expected + left)[mask], y[mask], atol=1e-8)
    np.testing.assert_allclose(array(fit.reduced_form_residuals, fit), left * mask, atol=1e-8)
    e = u - lam * np.stack([Ws[t] @ u[t] for t in range(T)])
    np.testing.assert_allclose(e, array(fit.resids, fit), atol=1e-9)


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
@pytest.mark.parametrize("model", MODELS)
def test_gaps(matrices, small, model, likelihood, effects):
    W = matrices["contiguity"]
    frame, _, weights, y, X = small(W, seed=1)
    mask = holes(*y.shape)
    fit = run(model, gappy(frame, mask), weights, effects=effects, likelihood=likelihood)
    check_cells(fit, y, X, full_size(W, mask), mask)
    assert len(fit.predict()) == len(fit.disturbances) == mask.sum()


def changing(matrices, panel, weights):
    """Contiguity in the first three periods, a mix afterwards."""
    other = sa.SpatialWeights.from_dense(matrices["mix"], weights.ids)
    by_period = {t: weights if j < 3 else other for j, t in enumerate(panel.times)}
    dense_ones = [matrices["contiguity"] if j < 3 else matrices["mix"] for j in range(panel.T)]
    return sa.weights.PanelWeights(by_period), dense_ones


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS[1:])
def test_weights_that_change(matrices, small, model, effects):
    _, panel, weights, y, X = small(matrices["contiguity"], seed=2)
    W, Ws = changing(matrices, panel, weights)
    fit = run(model, panel, W, effects=effects)
    check_cells(fit, y, X, Ws, np.ones(y.shape, dtype=bool))


@pytest.mark.parametrize("effects", EFFECTS[1:])
def test_effects_inside_the_filter_are_those_of_the_mean_filtered(matrices, small, effects):
    """The two conventions are one model when W is row-standardised and nothing is missing."""
    _, panel, weights, _, _ = small(matrices["contiguity"], seed=3)
    # same weights, with a needless zero stored, so that no period looks like another
    frames = {t: weights for t in panel.times}
    fit = run("gns", panel, weights, effects=effects)
    W = sa.weights.PanelWeights(frames)
    assert not run("gns", panel, W, effects=effects).workspace.irregular
    tiny = weights.to_frame() * (1.0 + 1e-13)
    frames[panel.times[0]] = sa.SpatialWeights.from_frame(tiny)
    again = run("gns", panel, sa.weights.PanelWeights(frames), effects=effects)
    assert again.workspace.irregular
    B = np.eye(panel.N) - fit.lam * matrices["contiguity"]
    np.testing.assert_allclose(fit.levels @ B.T, again.levels, rtol=0, atol=1e-6)
    np.testing.assert_allclose(fit.predict(), again.predict(), rtol=0, atol=1e-6)
    assert again.constant == pytest.approx((1.0 - fit.lam) * fit.constant + (
        np.mean(fit.levels @ B.T) - (1.0 - fit.lam) * fit.levels.mean()
    ), abs=1e-6)  # fmt: skip


def test_groups_that_share_no_period_have_no_common_scale(matrices, small):
    chain = np.eye(5, k=1) + np.eye(5, k=-1)
    W = np.kron(np.eye(2), chain / chain.sum(axis=1, keepdims=True))
    frame, _, weights, y, _ = small(W, T=12, seed=4)
    late = (frame["id"] >= "u05") == (frame["t"] >= 2006)
    panel = sa.Panel(frame[late], entity="id", time="t", unbalanced="allow")
    fit = run("sar", panel, weights)
    with pytest.raises(IdentificationError, match=r"2 groups.*u0"):
        _ = fit.unit_effects
    mask = late.to_numpy().reshape(y.shape)
    total = fit.predict() + fit.reduced_form_residuals
    np.testing.assert_allclose(array(total, fit), y * mask, atol=1e-10)
    assert run("sar", panel, weights, effects="entity").unit_effects.notna().all()


def test_a_unit_that_is_never_observed_has_no_effect(matrices, small):
    frame, _, weights, _, _ = small(matrices["mix"], seed=4)
    frame.loc[frame["id"] == "u05", "x1"] = np.nan
    panel = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    fit = run("sdm", panel, weights)
    assert list(fit.unit_effects.index[fit.unit_effects.isna()]) == ["u05"]
    assert abs(fit.unit_effects.sum()) < 1e-10
    frame.loc[frame["t"] == 2003, "x2"] = np.nan
    gone = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    for effects in ("time", "two-way"):
        found = run("ols", gone, None, effects=effects).period_effects
        assert list(found.index[found.isna()]) == [2003]
        assert abs(found.sum()) < 1e-10
    filled = sa.Panel(frame.fillna(0.0), entity="id", time="t")
    with pytest.raises(DataError, match=r"1 unit\(s\) are not known.*'u05'"):
        fit.predict(filled)
    assert len(fit.predict(filled, effects=False)) == len(frame)


# --- predictions --------------------------------------------------------------------------


@pytest.fixture
def spreg():
    """The package, whose imports and constructors warn."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("spreg")


@pytest.mark.parametrize("model", ["sar", "sdm", "sem"])
def test_predictions_of_a_cross_section_are_those_of_spreg(matrices, small, spreg, model):
    W = matrices["contiguity"]
    frame, panel, weights, _, _ = small(W, T=1, seed=8)
    fit = run(model, panel, weights, effects="none")
    w = weights.to_libpysal().to_W()
    w.transform = "r"
    y, X = frame[["y"]].to_numpy(), frame[["x1", "x2"]].to_numpy()
    if model == "sem":
        theirs = spreg.ML_Error(y, X, w=w, epsilon=1e-12)
        np.testing.assert_allclose(fit.predict(), theirs.predy.ravel(), rtol=1e-4)
        np.testing.assert_allclose(fit.disturbances, theirs.u.ravel(), rtol=0, atol=1e-3)
        np.testing.assert_allclose(fit.resids, theirs.e_filtered.ravel(), rtol=0, atol=1e-3)
        assert fit.corr_squared == pytest.approx(theirs.pr2, abs=1e-5)
        return
    lags = {"slx_lags": 1} if model == "sdm" else {}
    theirs = spreg.ML_Lag(y, X, w=w, method="ord", epsilon=1e-12, **lags)
    assert fit.rho == pytest.approx(float(theirs.rho), abs=1e-6)
    np.testing.assert_allclose(fit.predict(), theirs.predy_e.ravel(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(fit.reduced_form_residuals, theirs.e_pred.ravel(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(fit.fitted_values, theirs.predy.ravel(), rtol=0, atol=1e-4)
    assert fit.corr_squared == pytest.approx(theirs.pr2_e, abs=1e-5)


@pytest.mark.parametrize(("model", "effects", "case"), COMBINATIONS)
def test_predictions_for_other_regressors(matrices, small, model, effects, case):
    W = matrices[case]
    frame, panel, weights, _, X = small(W, seed=30)
    fit = run(model, panel, weights, effects=effects)
    rng = np.random.default_rng(0)
    new = frame.assign(x1=rng.normal(size=len(frame))).drop(columns="y").sample(frac=1.0)
    X = X.copy()
    X[:, :, 0] = new.sort_values(["t", "id"])["x1"].to_numpy().reshape(X.shape[:2])
    other = sa.Panel(new, entity="id", time="t")
    own, lagged = parts(fit, X, [W] * len(X))
    level = effects_of(fit, own.shape)
    S = np.eye(len(W)) - (fit.rho or 0.0) * W
    expected = np.linalg.solve(S, (own + lagged + level).T).T
    np.testing.assert_allclose(fit.predict(other), expected.ravel(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        fit.predict(other, spillovers=False), (own + level).ravel(), rtol=0, atol=1e-9
    )
    plain = np.linalg.solve(S, (own + lagged + (fit.constant if effects != "none" else 0.0)).T).T
    np.testing.assert_allclose(fit.predict(other, effects=False), plain.ravel(), rtol=0, atol=1e-9)


def test_spillovers_make_no_difference_where_there_are_none(cigarettes, queen):
    for model in ("ols", "sem"):
        fit = getattr(sa, model)(FORMULA, cigarettes, queen)
        pd.testing.assert_series_equal(fit.predict(), fit.predict(spillovers=False))
    fit = sa.ols(FORMULA, cigarettes)
    np.testing.assert_allclose(fit.predict(), fit.fitted_values, rtol=1e-12)
    sar = sa.sar(FORMULA, cigarettes, queen, effects="none")
    zero = replace(sar, values=sar.values * (np.array(sar.names) != "rho"))
    np.testing.assert_allclose(zero.predict(), zero.predict(spillovers=False), rtol=1e-12)


@pytest.mark.parametrize("case", ["knn5", "unstandardised"])
@pytest.mark.parametrize("model", ["slx", "sar", "sdm", "gns"])
def test_predictions_change_by_the_impacts(matrices, small, model, case):
    """One more of x1 everywhere: the total effect; in one unit: its direct effect, in the mean."""
    frame, panel, weights, _, _ = small(matrices[case], seed=33)
    fit = run(model, panel, weights, effects="entity")
    effects = fit.impacts().to_frame()["estimate"]
    more = sa.Panel(frame.assign(x1=frame["x1"] + 1.0), entity="id", time="t")
    change = fit.predict(more) - fit.predict()
    assert change.mean() == pytest.approx(effects["total", "x1"], rel=1e-9)
    direct = []
    for unit in panel.entities:
        one = frame.assign(x1=frame["x1"] + 1.0 * (frame["id"] == unit))
        moved = fit.predict(sa.Panel(one, entity="id", time="t")) - fit.predict()
        direct.append(moved[unit].mean())
    assert np.mean(direct) == pytest.approx(effects["direct", "x1"], rel=1e-9)


def test_periods_that_were_not_in_the_estimation(cigarettes, queen):
    frame = sa.datasets.cigarettes()
    early = sa.Panel(frame[frame["year"] < 1990], entity="state", time="year")
    late = sa.Panel(frame[frame["year"] >= 1990], entity="state", time="year")
    fit = sa.sdm(FORMULA, early, queen)
    with pytest.raises(DataError, match=r"3 period\(s\) are not known.*1990.*effects='entity'"):
        fit.predict(late)
    found = fit.predict(late, effects="entity")
    W = queen.align(late.entities).matrix.toarray()
    X = np.stack([late.column("logp"), late.column("logy")], axis=2)
    p = fit.params
    level = fit.constant + fit.unit_effects.reindex(late.entities).to_numpy()
    direct = X @ p[["logp", "logy"]].to_numpy() + (X @ p[["W*logp", "W*logy"]].to_numpy()) @ W.T
    expected = np.linalg.solve(np.eye(46) - fit.rho * W, (direct + level).T).T
    np.testing.assert_allclose(found, expected.ravel(), rtol=1e-10)
    by_time = fit.predict(early, effects="time") - fit.predict(early, effects=False)
    shifts = fit.period_effects / (1.0 - fit.rho)  # rows of W sum to one
    np.testing.assert_allclose(by_time["Ohio"], shifts, rtol=1e-8)


def test_new_units_and_missing_units(cigarettes, queen):
    frame = sa.datasets.cigarettes()
    fit = sa.sdm(FORMULA, cigarettes, queen)
    fewer = sa.Panel(frame[frame["state"] != "Ohio"], entity="state", time="year")
    with pytest.raises(AlignmentError, match="Ohio"):
        fit.predict(fewer)
    alone = fit.predict(fewer, spillovers=False)  # nothing of other units is needed
    full = fit.predict(spillovers=False).drop("Ohio", level="state")
    pd.testing.assert_series_equal(alone, full.loc[alone.index], rtol=1e-10)
    renamed = frame.assign(state=frame["state"].replace("Ohio", "Atlantis"))
    new = sa.Panel(renamed, entity="state", time="year")
    with pytest.raises(DataError, match=r"1 unit\(s\) are not known.*Atlantis"):
        fit.predict(new, spillovers=False)
    W = queen.to_frame().rename(index={"Ohio": "Atlantis"}, columns={"Ohio": "Atlantis"})
    moved = fit.predict(new, effects="time", W=W)
    same = fit.predict(cigarettes, effects="time")
    assert moved["Atlantis"].to_numpy() == pytest.approx(same["Ohio"].to_numpy())


def test_weights_of_a_new_panel(matrices, small):
    frame, panel, weights, _, X = small(matrices["contiguity"], seed=2)
    W, Ws = changing(matrices, panel, weights)
    fit = run("gns", panel, W, effects="entity")
    pd.testing.assert_series_equal(fit.predict(panel), fit.predict(), rtol=1e-9)
    later = frame.assign(t=frame["t"] + 100)
    new = sa.Panel(later, entity="id", time="t")
    with pytest.raises(AlignmentError, match="have no weights"):
        fit.predict(new)
    moved = sa.weights.PanelWeights({t + 100: W[t] for t in W.periods})
    np.testing.assert_allclose(fit.predict(new, W=moved), fit.predict(), rtol=1e-9)
    # another matrix for the lags of the regressors alone
    own, _ = parts(fit, X, Ws)
    knn = matrices["knn5"]
    _, lagged = parts(fit, X, Ws, [knn] * len(Ws))
    found = fit.predict(panel, W_durbin=pd.DataFrame(knn, weights.ids, weights.ids))
    for t, at in enumerate(Ws):
        filtered = np.linalg.solve(np.eye(len(at)) - fit.lam * at, fit.levels[t])
        expected = np.linalg.solve(np.eye(len(at)) - fit.rho * at, own[t] + lagged[t] + filtered)
        np.testing.assert_allclose(found.xs(panel.times[t], level=1), expected, rtol=1e-9)
    with pytest.raises(OptionError, match="belong to a new panel"):
        fit.predict(W=W)
    with pytest.raises(OptionError, match=r"W_durbin=... has no meaning"):
        run("sar", panel, W).predict(panel, W_durbin=W)
    raw = sa.SpatialWeights.from_frame(weights.to_frame() * 4.0)
    with pytest.raises(BoundaryError, match="no multiplier"):
        run("sar", panel, weights).predict(panel, W=raw)


def test_new_panel_with_gaps(matrices, small):
    W = matrices["contiguity"]
    frame, panel, weights, y, X = small(W, seed=2)
    fit = run("sdm", panel, weights)
    mask = holes(*y.shape)
    broken = frame.copy()
    broken.loc[~mask.ravel(), "x2"] = np.nan
    with pytest.raises(DataError, match="lack a regressor"):
        fit.predict(sa.Panel(broken, entity="id", time="t"))
    found = fit.predict(sa.Panel(broken, entity="id", time="t", unbalanced="allow"))
    Ws = full_size(W, mask)
    own, lagged = parts(fit, X * mask[:, :, None], Ws)
    total = own + lagged + effects_of(fit, y.shape) * mask
    expected = np.stack(
        [np.linalg.solve(np.eye(len(w)) - fit.rho * w, z) for w, z in zip(Ws, total, strict=True)]
    )
    np.testing.assert_allclose(found, expected[mask], rtol=0, atol=1e-9)


# --- formulas on new data -----------------------------------------------------------------


@pytest.fixture
def regions(matrices, small):
    """A panel with a category and a column called time."""
    frame, _, weights, _, _ = small(matrices["mix"], seed=12)
    frame["kind"] = np.array(["a", "b", "c"])[(np.arange(len(frame)) * 7 // 3) % 3]
    frame["time"] = np.exp(frame["x2"] / 3.0)
    frame["blank"] = np.nan
    return frame, weights


def test_categories_mean_what_they_meant(regions):
    frame, weights = regions
    formula = "y ~ x1 + C(kind) + log(time) + x1:x2"
    fit = sa.sdm(formula, sa.Panel(frame, entity="id", time="t"), weights)
    some = frame[(frame["t"] == 2003)].assign(kind="b")
    found = fit.predict(sa.Panel(some, entity="id", time="t"))
    all_b = fit.predict(sa.Panel(frame.assign(kind="b"), entity="id", time="t"))
    pd.testing.assert_series_equal(found, all_b.loc[found.index], rtol=1e-10)
    with pytest.raises(FormulaError, match="a category that was not there"):
        fit.predict(sa.Panel(frame.assign(kind="d"), entity="id", time="t"))
    with pytest.raises(FormulaError, match="'kind'"):
        fit.predict(sa.Panel(frame.drop(columns="kind"), entity="id", time="t"))


def test_categories_by_type(regions):
    frame, weights = regions
    frame["kind"] = frame["kind"].astype("category")
    fit = sa.sar("y ~ x1 + kind", sa.Panel(frame, entity="id", time="t"), weights)
    text = sa.Panel(frame.assign(kind=frame["kind"].astype(str)), entity="id", time="t")
    pd.testing.assert_series_equal(fit.predict(text), fit.predict(), rtol=1e-9)
    with pytest.raises(DataError, match=r"no category of it.*'d'"):
        fit.predict(sa.Panel(frame.assign(kind="d"), entity="id", time="t"))


def test_a_column_called_time_and_one_without_values(regions):
    frame, weights = regions
    frame = frame.drop(columns="time").rename(columns={"t": "time"})
    fit = run("sdm", sa.Panel(frame, entity="id", time="time"), weights)
    again = fit.predict(sa.Panel(frame, entity="id", time="time"))
    pd.testing.assert_series_equal(again, fit.predict(), rtol=1e-9)


def test_terms_that_depend_on_the_sample_are_refused(regions):
    frame, weights = regions
    fit = sa.sar("y ~ center(x1) + x2", sa.Panel(frame, entity="id", time="t"), weights)
    with pytest.raises(FormulaError, match=r"'center\(x1\)' of .* depend on the sample"):
        fit.predict(sa.Panel(frame.assign(x1=frame["x1"] + 1.0), entity="id", time="t"))


def test_bad_predictions(cigarettes, queen):
    fit = sa.sar(FORMULA, cigarettes, queen, effects="entity")
    with pytest.raises(OptionError, match="effects='time' must be one of"):
        fit.predict(effects="time")
    with pytest.raises(OptionError, match="spillovers='no'"):
        fit.predict(spillovers="no")
    with pytest.raises(DataError, match="needs a Panel"):
        fit.predict(sa.datasets.cigarettes())
    frame = sa.datasets.cigarettes().drop(columns="logy")
    with pytest.raises(FormulaError, match="'logy'"):
        fit.predict(sa.Panel(frame, entity="state", time="year"))


# --- other effects ------------------------------------------------------------------------


def test_random_effects_are_not_recovered_as_fixed(cigarettes, queen):
    fit = sa.sar(FORMULA, cigarettes, queen, effects="random")
    for name in ("unit_effects", "period_effects", "constant"):
        with pytest.raises(OptionError, match="Random effects are not parameters"):
            getattr(fit, name)
    with pytest.raises(OptionError, match="effects=False"):
        fit.predict()
    p, W = fit.params, queen.align(cigarettes.entities).matrix.toarray()
    X = p["logp"] * cigarettes.column("logp") + p["logy"] * cigarettes.column("logy")
    expected = np.linalg.solve(np.eye(46) - fit.rho * W, (X + p["Intercept"]).T).T
    np.testing.assert_allclose(fit.predict(effects=False), expected.ravel(), rtol=1e-10)
    y = cigarettes.column("logc")
    assert fit.corr_squared == pytest.approx(np.corrcoef(y.ravel(), expected.ravel())[0, 1] ** 2)
    with pytest.raises(OptionError, match="rsquared_within"):
        _ = fit.rsquared_within
    with pytest.raises(OptionError, match="random effects"):
        fit.profile()


def test_dynamic_models_add_up_too(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen, dynamic="both")
    y, W = cigarettes.column("logc"), queen.align(cigarettes.entities).matrix.toarray()
    X = np.stack([cigarettes.column("logp"), cigarettes.column("logy")], axis=2)[1:]
    p = fit.params
    built = p["logc(t-1)"] * y[:-1] + (p["W*logc(t-1)"] * y[:-1] + p["rho"] * y[1:]) @ W.T
    built += X @ p[["logp", "logy"]].to_numpy() + (X @ p[["W*logp", "W*logy"]].to_numpy()) @ W.T
    built += fit.constant + fit.unit_effects.to_numpy() + fit.period_effects.to_numpy()[:, None]
    np.testing.assert_allclose(built, array(fit.fitted_values, fit), rtol=0, atol=1e-9)
    assert fit.period_effects.index[0] == 1964
    with pytest.raises(OptionError, match="A dynamic model predicts its own sample only"):
        fit.predict(cigarettes)
    with pytest.raises(OptionError, match="not the maximum of a likelihood"):
        fit.profile()


# --- how well it fits ---------------------------------------------------------------------


def test_corr_squared_is_what_elhorst_publishes(cigarettes, queen):
    """Elhorst (2014), Spatial Econometrics, table 3.3: R2 0.901 and 0.902, corr2 0.400 twice."""
    for likelihood, r2 in (("direct-demeaned", 0.901), ("corrected", 0.902)):
        fit = sa.sdm(FORMULA, cigarettes, queen, likelihood=likelihood)
        assert round(fit.rsquared, 3) == r2
        assert round(fit.corr_squared, 3) == 0.4


@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("dynamic", ["own", "both"])
@pytest.mark.parametrize("model", ["sar", "sdm"])
def test_r2_and_corr_squared_of_sdpdmod(cigarettes, queen, reference, model, dynamic, effects):
    """R package SDPDmod 0.0.6, SDPDm(LYtrans = FALSE): rsqr and corr2, Elhorst's definitions."""
    options = {"dynamic": dynamic, "bias_correction": False, "likelihood": "direct-demeaned"}
    fit = getattr(sa, model)(FORMULA, cigarettes, queen, effects=effects, **options)
    both = "TRUE" if dynamic == "both" else "FALSE"
    key = f"{model}_{SPLM[effects]}_LYFALSE_tlTRUE_stl{both}_DIRFALSE"
    theirs = reference("cigarettes_r")["dynamic"][key]
    assert fit.rsquared == pytest.approx(theirs["rsqr"], abs=1e-9)
    assert fit.corr_squared == pytest.approx(theirs["corr2"], abs=1e-9)


@pytest.mark.parametrize(("model", "effects", "case"), COMBINATIONS)
def test_r2(matrices, small, model, effects, case):
    W = matrices[case]
    _, panel, weights, y, X = small(W, seed=35)
    fit = run(model, panel, weights, effects=effects)
    T, N = y.shape
    D = dense.dummies(T, N, effects) if effects != "none" else np.ones((T * N, 1))
    Q = np.eye(T * N) - D @ np.linalg.pinv(D)
    own, lagged = parts(fit, X, [W] * T)
    x = (own + lagged).ravel() if effects == "none" else Q @ (own + lagged).ravel()
    S = np.kron(np.eye(T), np.eye(N) - (fit.rho or 0.0) * W)
    qy = Q @ y.ravel()
    r = np.corrcoef(qy, np.linalg.solve(S, x))[0, 1]
    assert fit.corr_squared == pytest.approx(r**2, abs=1e-10)
    within = 1.0 - (fit.resid**2).sum() / (qy @ qy)
    assert fit.rsquared_within == pytest.approx(within, abs=1e-10)
    if effects == "none":
        assert fit.rsquared_within == pytest.approx(fit.rsquared, abs=1e-12)


def test_information_criteria(cigarettes, queen):
    measures = pytest.importorskip("statsmodels.tools.eval_measures")
    fit = sa.sdm(FORMULA, cigarettes, queen)
    assert fit.n_parameters == 6
    for name in ("aic", "aicc", "bic", "hqic"):
        theirs = getattr(measures, name)(fit.loglik, fit.n_effective, 6)
        assert getattr(fit, name) == pytest.approx(theirs, rel=1e-12)
    with pytest.raises(IdentificationError, match="more than 7"):
        _ = replace(fit, n_effective=7).aicc


# --- profiles -----------------------------------------------------------------------------


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("likelihood", ["transformed", "direct", "direct-demeaned"])
@pytest.mark.parametrize("model", ["sar", "sem", "sdm", "sdem"])
def test_profile_of_one_parameter(matrices, small, model, likelihood, effects):
    """The likelihood at explicit regressions, for every value; the interval inverts the test."""
    W = matrices["knn5"]
    _, panel, weights, y, X = small(W, seed=39)
    fit = run(model, panel, weights, effects=effects, likelihood=likelihood)
    found = fit.profile("rho" if model in LAG else "lambda", points=7, level=0.9)
    s = dense.sample(y, X, W, model, effects, likelihood)
    for value, loglik in zip(found.grid, found.loglik, strict=True):
        _, _, theirs, _ = dense._concentrated(value, s, model, filter_dummies=True)
        assert loglik == pytest.approx(theirs, abs=1e-8)
    low, high = found.interval
    assert low < found.estimate < high
    for end, border in zip(found.interval, found.space, strict=True):
        if end == border:  # not bounded by the data: what is nearly there is in the interval
            _, _, theirs, _ = dense._concentrated(0.999 * end, s, model, filter_dummies=True)
            assert theirs > found.cutoff
        else:
            _, _, theirs, _ = dense._concentrated(end, s, model, filter_dummies=True)
            assert 2.0 * (fit.loglik - theirs) == pytest.approx(stats.chi2.ppf(0.9, 1), abs=1e-7)
    frame = found.to_frame()
    np.testing.assert_allclose(frame["lr"], 2.0 * (fit.loglik - found.loglik))
    assert frame.index.name == found.name
    assert found.maxima[0] == (found.estimate, pytest.approx(fit.loglik))


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", ["sac", "gns"])
@pytest.mark.parametrize("name", ["rho", "lambda"])
def test_profile_with_the_other_parameter_at_its_best(matrices, small, model, effects, name):
    W = matrices["contiguity"]
    _, panel, weights, y, X = small(W, seed=41)
    fit = run(model, panel, weights, effects=effects)
    found = fit.profile(name, points=5)
    p = dense_family.problem(y, X, W, model, effects, "transformed")
    at = found.name == "lambda"
    low, high = p.space["rho" if at else "lambda"]
    values = np.linspace(low, high, 402)[1:-1]
    for value, loglik, other in zip(found.grid, found.loglik, found.other, strict=True):
        pairs = [(v, value) if at else (value, v) for v in values]
        theirs = np.array([dense_family.concentrated(pair, p) for pair in pairs])
        best = float(dense_family.concentrated((other, value) if at else (value, other), p))
        assert loglik == pytest.approx(best, abs=1e-7)
        assert best >= theirs.max() - 1e-9
        near = theirs[np.abs(values - other) < 1.5 * (values[1] - values[0])]
        assert near.max() > best - 1.0  # and it is a point of that peak


def test_profile_finds_the_other_maximum(cigarettes, queen):
    """The two maxima of the two-way gns model, against a search of the whole surface."""
    fit = sa.gns(FORMULA, cigarettes, queen)
    found = fit.profile("rho")
    X = np.stack([cigarettes.column("logp"), cigarettes.column("logy")], axis=2)
    W = queen.align(cigarettes.entities).matrix.toarray()
    p = dense_family.problem(cigarettes.column("logc"), X, W, "gns", "two-way", "transformed")
    theirs = [(x[0], value) for value, x in dense_family.fit(p, points=24)["maxima"][:2]]
    np.testing.assert_allclose(found.maxima, theirs, rtol=0, atol=1e-4)
    assert len(found.parts) == 2
    assert found.interval == (found.parts[0][0], found.parts[1][1])
    for (low, high), (value, _) in zip(found.parts, sorted(found.maxima), strict=True):
        assert low < value < high
    inside = [any(low <= x <= high for low, high in found.parts) for x in found.grid]
    np.testing.assert_array_equal(inside, found.loglik >= found.cutoff)


@pytest.mark.parametrize("effects", ["two-way", "none"])
def test_profile_with_gaps(matrices, small, effects):
    W = matrices["contiguity"]
    frame, _, weights, y, X = small(W, seed=1)
    mask = holes(*y.shape)
    fit = run("sar", gappy(frame, mask), weights, effects=effects)
    found = fit.profile(points=5)
    p = dense_unbalanced.problem(y, X, W, mask, "sar", effects, "transformed")
    for value, loglik in zip(found.grid, found.loglik, strict=True):
        assert loglik == pytest.approx(dense_family.concentrated((value,), p), abs=1e-7)


def test_profile_where_a_quadratic_is_exact_enough(cigarettes, queen):
    """In a large sample the interval is that of Wald; the grid and its ends can be chosen."""
    fit = sa.sar(FORMULA, cigarettes, queen)
    wald = fit.conf_int().loc["rho"]
    np.testing.assert_allclose(fit.profile().interval, wald, rtol=0, atol=2e-3)
    found = fit.profile(points=11, low=-0.5, high=0.5)
    np.testing.assert_allclose(found.grid, np.linspace(-0.5, 0.5, 11))
    assert found.interval == pytest.approx(fit.profile().interval)


def test_bad_profiles(cigarettes, queen):
    fit = sa.sar(FORMULA, cigarettes, queen)
    with pytest.raises(OptionError, match="name='lambda' is not known"):
        fit.profile("lambda")
    with pytest.raises(OptionError, match="no spatial parameter"):
        sa.ols(FORMULA, cigarettes, queen).profile()
    with pytest.raises(OptionError, match="points=1"):
        fit.profile(points=1)
    with pytest.raises(OptionError, match="level=95"):
        fit.profile(level=95)
    with pytest.raises(OptionError, match="high=1.5 must lie inside"):
        fit.profile(high=1.5)
    with pytest.raises(OptionError, match="must be smaller than"):
        fit.profile(low=0.3, high=0.1)
    corrected = sa.sar(FORMULA, cigarettes, queen, likelihood="corrected")
    with pytest.raises(OptionError, match="not the maximum of a likelihood"):
        corrected.profile()
    assert corrected.replace(likelihood="direct-demeaned").profile().estimate < corrected.rho


def test_picture_of_a_profile(cigarettes, queen):
    from spatial_agglo.report.style import new_figure

    for model, others in (("sar", 0), ("gns", 1)):
        found = getattr(sa, model)(FORMULA, cigarettes, queen).profile()
        figure = new_figure((3.4, 2.5))
        left, right = figure.subplots(1, 2)
        assert found.plot(ax=right) is right
        assert not left.has_data()
        labels = [text.get_text() for text in right.get_legend().get_texts()]
        assert len(labels) == 2 + others
        assert f"{found.estimate:.3f}" in labels[0]
        lines = {len(line.get_xdata()): line for line in right.lines}
        curve = lines[max(lines)]
        assert max(curve.get_ydata()) == found.maximum
        assert set(found.grid) <= set(curve.get_xdata())
    alone = new_figure((3.4, 2.5)).add_subplot()
    found.plot(ax=alone)
    alone.figure.draw_without_rendering()
    box = alone.figure.get_tightbbox()
    assert box.x0 >= 0
    assert box.x1 <= 3.4
    assert box.y1 <= 2.5


# --- fits that follow ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "sar"},
        {"model": "gns", "effects": "entity"},
        {"effects": "time"},
        {"effects": "random"},
        {"likelihood": "direct"},
        {"cov": "clustered"},
        {"durbin": ["logy"]},
        {"dynamic": "own"},
        {"formula": "logc ~ logp"},
    ],
    ids=str,
)
def test_replace_is_a_fresh_estimate(cigarettes, queen, changes):
    fit = sa.sdm(FORMULA, cigarettes, queen)
    found = fit.replace(**changes)
    options = {"model": "sdm", "formula": FORMULA} | changes
    model, formula = options.pop("model"), options.pop("formula")
    fresh = getattr(sa, model)(formula, cigarettes, queen, **options)
    pd.testing.assert_series_equal(found.params, fresh.params, rtol=1e-10)
    pd.testing.assert_frame_equal(found.cov, fresh.cov, rtol=1e-7)
    assert found.notes == fresh.notes
    assert found.spec.effects == fresh.spec.effects


def test_replace_reads_the_data_once(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen)
    again = fit.replace(cov="robust")
    assert again.workspace is fit.workspace
    np.testing.assert_array_equal(again.values, fit.values)
    assert again.loglik == fit.loglik
    assert not np.allclose(again.covariance, fit.covariance)
    assert fit.replace(formula=FORMULA).workspace is not fit.workspace


def test_replace_weights_and_panel(cigarettes, queen):
    knn = sa.datasets.weights("cigarettes_5_nearest").standardize("row")
    fit = sa.gns(FORMULA, cigarettes, queen, W_error=knn, effects="entity", cov="expected")
    cases = [
        ({"W": knn}, {"W": knn, "W_error": knn}),
        ({"W_error": None}, {"W": queen}),
        ({"W_durbin": knn}, {"W": queen, "W_error": knn, "W_durbin": knn}),
    ]
    for changes, options in cases:
        W = options.pop("W")
        fresh = sa.gns(FORMULA, cigarettes, W, effects="entity", cov="expected", **options)
        found = fit.replace(**changes)
        pd.testing.assert_series_equal(found.std_errors, fresh.std_errors, rtol=1e-6)
        assert found.workspace.error_letter == fresh.workspace.error_letter
    frame = sa.datasets.cigarettes()
    late = sa.Panel(frame[frame["year"] > 1975], entity="state", time="year")
    fresh = sa.sar(FORMULA, late, queen, effects="entity")
    found = fit.replace(model="sar", panel=late, cov="observed")
    pd.testing.assert_series_equal(found.params, fresh.params, rtol=1e-9)
    ohio = sa.Panel(frame[frame["state"] != "Ohio"], entity="state", time="year")
    with pytest.raises(AlignmentError, match="Ohio"):
        fit.replace(panel=ohio)


def test_replace_leaves_out_what_was_inherited_only(cigarettes, queen):
    raw = sa.datasets.weights("cigarettes_queen")
    fit = sa.gns(FORMULA, cigarettes, queen, effects="entity", durbin=["logp"], W_error=raw)
    found = fit.replace(model="sar")
    fresh = sa.sar(FORMULA, cigarettes, queen, effects="entity")
    pd.testing.assert_series_equal(found.params, fresh.params, rtol=1e-9)
    assert found.n_effective == fresh.n_effective
    assert found.notes[:-1] == fresh.notes
    assert "left out" in found.notes[-1]
    assert "durbin" in found.notes[-1]
    assert found.spec.durbin is None
    # M is gone too: if it stayed, that it is not row-standardised would keep period dummies
    found = fit.replace(model="sar", effects="two-way")
    assert found.n_effective == sa.sar(FORMULA, cigarettes, queen).n_effective == 45 * 29
    with pytest.raises(OptionError, match="durbin=... has no meaning for sar"):
        fit.replace(model="sar", durbin=["logp"])
    with pytest.raises(OptionError, match="W_error=... has no meaning for sar"):
        fit.replace(model="sar", W_error=raw)
    corrected = sa.sar(FORMULA, cigarettes, queen, likelihood="corrected")
    assert "likelihood" in corrected.replace(effects="random").notes[-1]
    with pytest.raises(OptionError, match="random effects have one likelihood"):
        corrected.replace(effects="random", likelihood="corrected")
    random = sa.sem(FORMULA, cigarettes, queen, effects="random", form="baltagi")
    assert "form='baltagi'" in random.replace(effects="entity").notes[-1]
    assert random.replace(effects="entity").spec == ModelSpec.of("sem", effects="entity")


def test_bad_replacements(cigarettes, queen):
    fit = sa.sar(FORMULA, cigarettes, queen)
    with pytest.raises(OptionError, match=r"does not know 'efects'.*'effects'.*'W_error'"):
        fit.replace(efects="entity")
    with pytest.raises(OptionError, match="model='ar' is not known"):
        fit.replace(model="ar")
    with pytest.raises(WeightsError, match="needs spatial weights"):
        sa.ols(FORMULA, cigarettes).replace(model="sar")


# --- a fit is not changed by what is done with it -----------------------------------------


def test_arrays_are_read_only(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen)
    for one in (fit, pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit), replace(fit)):
        for name in ("values", "covariance", "resid"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(one, name)[...] = 0.0
        with pytest.raises(ValueError, match="read-only"):
            one.levels[...] = 0.0
    tables = ("params", "std_errors", "resids", "fitted_values", "unit_effects", "period_effects")
    for name in tables:
        table = getattr(fit, name)
        before = table.copy()
        table.iloc[:] = 7.0
        pd.testing.assert_series_equal(getattr(fit, name), before)


def test_pickles_say_the_same(matrices, small):
    frame, panel, weights, y, _ = small(matrices["contiguity"], seed=2)
    W, _ = changing(matrices, panel, weights)
    fits = [
        run("gns", panel, weights, cov="clustered"),
        run("sdm", panel, W),
        run("sem", gappy(frame, holes(*y.shape)), weights),
    ]
    for fit in fits:
        again = pickle.loads(pickle.dumps(fit))
        pd.testing.assert_series_equal(again.params, fit.params)
        pd.testing.assert_series_equal(again.predict(), fit.predict())
        pd.testing.assert_series_equal(again.unit_effects, fit.unit_effects)
        pd.testing.assert_series_equal(again.replace(cov="opg").params, fit.params)
        assert again.notes == fit.notes


def test_to_dict_is_plain(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen, cov="driscoll-kraay")
    found = json.loads(json.dumps(fit.to_dict()))
    assert found["params"] == fit.params.to_dict()
    assert found["model"] == "sdm"
    assert found["cov"] == "driscoll-kraay"
    np.testing.assert_array_equal(found["covariance"], fit.covariance)
    assert found["notes"] == list(fit.notes)
