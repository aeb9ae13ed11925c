"""What must not change anything, what must scale, and what must collapse."""

import contextlib
import io
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import EFFECTS, FORMULA

import spatial_agglo as sa

MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem")


def everything(frame, W, effects, likelihood, cov):
    """All results of one call each, as one vector."""
    panel = sa.Panel(frame, entity="state", time="year")
    options = {"effects": effects, "likelihood": likelihood}
    out = []
    for model in MODELS:
        fit = getattr(sa, model)(FORMULA, panel, W, cov=cov, **options)
        out += [*fit.params, *fit.std_errors, fit.loglik, fit.rsquared, fit.aic, fit.bic]
        out += [*fit.impacts().to_frame()["estimate"], *np.nan_to_num(fit.impacts().se.ravel())]
        out += fit.resids.loc[("Ohio", slice(None))].tolist()
    out += sa.lm_tests(FORMULA, panel, W, **options)["statistic"].tolist()
    out += sa.residual_moran(FORMULA, panel, W, **options).tolist()
    sdm = sa.sdm(FORMULA, panel, W, cov=cov, **options)
    out += sa.wald_tests(sdm)["statistic"].tolist() + sa.lr_tests(sdm)["statistic"].tolist()
    out += sa.esda.moran(panel, ["logc", "logp"], W).to_numpy().ravel().tolist()
    return np.array(out, dtype=float)


@pytest.mark.parametrize("cov", ["observed", "expected", "robust", "clustered"])
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("likelihood", ["transformed", "direct", "direct-demeaned", "corrected"])
def test_order_of_rows_and_of_weights_changes_nothing(queen, effects, likelihood, cov):
    frame = sa.datasets.cigarettes()[["state", "year", "logc", "logp", "logy"]]
    rng = np.random.default_rng(0)
    shuffled = frame.iloc[rng.permutation(len(frame))]
    turned = queen.align(rng.permutation(queen.ids.to_numpy()))
    turned = sa.SpatialWeights.from_sparse(turned.matrix, turned.ids)
    one = everything(frame, queen, effects, likelihood, cov)
    two = everything(shuffled, turned, effects, likelihood, cov)
    np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10)


def test_the_callers_objects_are_unchanged(queen):
    frame = sa.datasets.cigarettes()
    before, data = frame.copy(deep=True), queen.matrix.copy()
    graph = queen.to_libpysal()
    adjacency = graph.adjacency.copy()
    classic = graph.to_W()
    weights = {unit: list(values) for unit, values in classic.weights.items()}
    rng = np.random.default_rng(5)
    state = rng.bit_generator.state
    panel = sa.Panel(frame, entity="state", time="year")
    for W in (queen, graph, classic):
        fit = sa.choose_model(FORMULA, panel, W, cov="clustered").fit
        fit.impacts(method="simulation", draws=50, seed=1)
        sa.esda.moran(panel, "logc", W)
    pd.testing.assert_frame_equal(frame, before)
    assert (queen.matrix != data).nnz == 0
    pd.testing.assert_series_equal(graph.adjacency, adjacency)
    assert {unit: list(values) for unit, values in classic.weights.items()} == weights
    assert rng.bit_generator.state == state


def test_libpysal_objects_give_the_same_fit(cigarettes, queen):
    ours = sa.sdm(FORMULA, cigarettes, queen).values
    graph = queen.to_libpysal()
    np.testing.assert_allclose(sa.sdm(FORMULA, cigarettes, graph).values, ours, rtol=1e-12)
    np.testing.assert_allclose(sa.sdm(FORMULA, cigarettes, graph.to_W()).values, ours, rtol=1e-12)
    np.testing.assert_allclose(
        sa.sdm(FORMULA, cigarettes, queen.to_frame()).values, ours, rtol=1e-12
    )


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_scaling(cigarettes, queen, model, effects):
    """Scaling y scales beta and sigma2; scaling x scales its coefficient; rho does not move."""
    frame = cigarettes.frame.reset_index()
    frame["big"], frame["tiny"] = 1e6 * frame["logc"] + 5e8, 1e-5 * frame["logp"]
    panel = sa.Panel(frame, entity="state", time="year")
    one = getattr(sa, model)(FORMULA, panel, queen, effects=effects)
    two = getattr(sa, model)("big ~ tiny + logy", panel, queen, effects=effects)
    np.testing.assert_allclose(two.params["tiny"], 1e11 * one.params["logp"], rtol=1e-7)
    np.testing.assert_allclose(two.params["logy"], 1e6 * one.params["logy"], rtol=1e-7)
    np.testing.assert_allclose(two.sigma2, 1e12 * one.sigma2, rtol=1e-7)
    np.testing.assert_allclose(two.std_errors["tiny"], 1e11 * one.std_errors["logp"], rtol=1e-6)
    shift = one.n_effective * np.log(1e6)
    np.testing.assert_allclose(two.loglik, one.loglik - shift, rtol=1e-9)
    for name in ("rho", "lambda"):
        if name in one.params:
            np.testing.assert_allclose(two.params[name], one.params[name], rtol=1e-7)


@pytest.mark.parametrize("effects", EFFECTS)
def test_models_collapse_into_each_other(cigarettes, queen, effects):
    """With no regressor lagged sdm is sar, slx is ols; nested likelihoods are ordered."""
    options = {"effects": effects}
    fits = {m: getattr(sa, m)(FORMULA, cigarettes, queen, **options) for m in MODELS}
    none = {"durbin": [], **options}
    for model, nested in (("sdm", "sar"), ("slx", "ols"), ("sdem", "sem")):
        fit = getattr(sa, model)(FORMULA, cigarettes, queen, **none)
        np.testing.assert_allclose(fit.values, fits[nested].values, rtol=1e-12)
    assert fits["sdm"].loglik >= max(fits[m].loglik for m in ("sar", "sem", "slx", "ols"))
    assert min(fits["sar"].loglik, fits["sem"].loglik) >= fits["ols"].loglik


def test_least_squares_is_what_linearmodels_says(cigarettes):
    linearmodels = pytest.importorskip("linearmodels")
    frame = cigarettes.frame
    theirs = linearmodels.PanelOLS(
        frame["logc"], frame[["logp", "logy"]], entity_effects=True, time_effects=True
    ).fit(cov_type="clustered", cluster_entity=True, debiased=False)
    ours = sa.ols(FORMULA, cigarettes, cov="clustered")
    np.testing.assert_allclose(ours.params[["logp", "logy"]], theirs.params, rtol=1e-9)


def test_one_period_is_the_cross_section(cigarettes, queen):
    """T = 1 without effects is the cross-section: spreg's ML_Lag on 1992."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spreg = pytest.importorskip("spreg")
    frame = cigarettes.frame.xs(1992, level="year").reset_index()
    panel = sa.Panel(frame, entity="state")
    fit = sa.sar(FORMULA, panel, queen, effects="none")
    w = queen.align(frame["state"]).to_libpysal().to_W()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = spreg.ML_Lag(
            frame[["logc"]].to_numpy(), frame[["logp", "logy"]].to_numpy(), w=w, method="full"
        )
    np.testing.assert_allclose(fit.rho, float(np.ravel(theirs.rho)[0]), rtol=1e-5)
    np.testing.assert_allclose(fit.values[:3], np.ravel(theirs.betas)[:3], rtol=1e-4)
    np.testing.assert_allclose(fit.loglik, float(np.ravel(theirs.logll)[0]), rtol=1e-8)


def test_durbin_lags_only_what_is_named(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen, durbin=["logy"])
    assert list(fit.names) == ["logp", "logy", "W*logy", "rho", "sigma2"]
    frame = cigarettes.frame.reset_index()
    by_hand = queen.align(cigarettes.entities).matrix @ cigarettes.column("logy").T
    frame["lagged"] = by_hand.T.ravel()
    panel = sa.Panel(frame, entity="state", time="year")
    twin = sa.sar("logc ~ logp + logy + lagged", panel, queen)
    np.testing.assert_allclose(fit.values, twin.values, rtol=1e-9)
    np.testing.assert_allclose(fit.covariance, twin.covariance, rtol=1e-6, atol=1e-12)


def test_results_are_labelled(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen)
    assert list(fit.params.index) == ["logp", "logy", "W*logp", "W*logy", "rho", "sigma2"]
    assert fit.resids.index.names == ["state", "year"]
    y = cigarettes.frame["logc"]
    pd.testing.assert_series_equal(fit.fitted_values + fit.resids, y, check_names=False)
    interval = fit.conf_int(0.9)
    assert ((interval["upper"] - interval["lower"]) / fit.std_errors).round(4).eq(3.2897).all()
    np.testing.assert_allclose(fit.tstats, fit.params / fit.std_errors)
    assert fit.lam is None
    assert fit.rho == fit.params["rho"]
    assert sa.sem(FORMULA, cigarettes, queen).lam == pytest.approx(0.28276, abs=1e-5)
    assert "sdm" in repr(fit)


def test_simulated_impacts_are_reproducible(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen)
    one = fit.impacts(method="simulation", seed=3).to_frame()
    two = fit.impacts(method="simulation", seed=3).to_frame()
    other = fit.impacts(method="simulation", seed=4).to_frame()
    pd.testing.assert_frame_equal(one, two)
    assert not np.allclose(one["se"], other["se"], rtol=1e-6)
    delta = fit.impacts().to_frame()
    np.testing.assert_allclose(one["se"], delta["se"], rtol=0.12)
    np.testing.assert_allclose(one["lower"], delta["lower"], atol=0.25 * delta["se"].max())


def test_large_sparse_fit_agrees_with_the_spectrum(small):
    """The interpolated log-determinant gives the same fit as exact eigenvalues."""
    from spatial_agglo.core.logdet import Interpolant, Spectrum, symmetrize

    m = 14
    line = np.diag(np.ones(m - 1), 1) + np.diag(np.ones(m - 1), -1)
    B = np.kron(line, np.eye(m)) + np.kron(np.eye(m), line)
    W = B / B.sum(axis=1, keepdims=True)
    _, panel, weights, _, _ = small(W, seed=3, T=4)
    fit = sa.sdm("y ~ x1 + x2", panel, weights)
    assert isinstance(weights.logdet, Interpolant)
    exact = sa.SpatialWeights.from_dense(W, weights.ids)
    exact._logdet = Spectrum.of(exact.matrix, symmetrize(exact.matrix))
    twin = sa.sdm("y ~ x1 + x2", panel, exact)
    np.testing.assert_allclose(fit.values, twin.values, rtol=1e-9)
    np.testing.assert_allclose(fit.std_errors, twin.std_errors, rtol=1e-7)
    np.testing.assert_allclose(fit.loglik, twin.loglik, rtol=1e-12)
    np.testing.assert_allclose(fit.impacts().se, twin.impacts().se, rtol=1e-7)
    assert any("Chebyshev" in note for note in fit.notes)


@pytest.mark.parametrize("units", [46, 196])
def test_results_can_be_pickled(small, cigarettes, queen, units):
    """Other processes get weights, panels and fits; factorisations stay behind."""
    import pickle

    if units == 46:
        fit = sa.sdm(FORMULA, cigarettes, queen)
    else:
        line = np.diag(np.ones(13), 1) + np.diag(np.ones(13), -1)
        B = np.kron(line, np.eye(14)) + np.kron(np.eye(14), line)
        _, panel, weights, _, _ = small(B / B.sum(axis=1, keepdims=True), seed=3, T=3)
        fit = sa.sdm("y ~ x1 + x2", panel, weights)
    fit.impacts()
    copy = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(copy.values, fit.values)
    np.testing.assert_allclose(copy.impacts().se, fit.impacts().se, rtol=1e-9)
