"""Random unit effects: against splm, a dense brute force, and what must collapse."""

import dense
import dense_family
import dense_random
import numpy as np
import pytest
from conftest import FORMULA

import spatial_agglo as sa

MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns")
#: splm: lag and errors of the call, by model.
SPLM = {
    "sar": ("SAR", True, "none"),
    "ols": ("SAR", False, "none"),
    "sem": ("SAR", False, None),
    "sac": ("SAR", True, None),
    "sdm": ("SDM", True, "none"),
    "slx": ("SDM", False, "none"),
    "sdem": ("SDM", False, None),
    "gns": ("SDM", True, None),
}
NAMES = {"(Intercept)": "Intercept", "Wlogp": "W*logp", "Wlogy": "W*logy"}


@pytest.fixture(scope="module")
def matrices():
    return dense.weights_cases(np.random.default_rng(3))


def run(model, panel, W, **options):
    return getattr(sa, model)("y ~ x1 + x2", panel, W, effects="random", **options)


@pytest.mark.parametrize("form", ["kkp", "baltagi"])
@pytest.mark.parametrize("model", MODELS)
def test_against_splm(cigarettes, queen, reference, model, form):
    name, lag, errors = SPLM[model]
    errors = errors or {"kkp": "kkp", "baltagi": "b"}[form]
    block = reference("cigarettes_r")["random_effects_splm"]
    expected = block[f"RE_{name}_lag{str(lag).upper()}_err{errors}"]
    options = {} if errors == "none" else {"form": form}
    fit = getattr(sa, model)(FORMULA, cigarettes, queen, effects="random", **options)
    names = [NAMES.get(name, name) for name in expected["coef"]]
    np.testing.assert_allclose(fit.params[names], list(expected["coef"].values()), rtol=1e-4)
    assert fit.loglik == pytest.approx(expected["logLik_slot"], rel=1e-5)
    # splm: phi = sigma_mu^2 / sigma^2, rho = error parameter, arcoef = lag parameter
    components = expected["errcomp"]["est"]
    assert fit.params["phi"] == pytest.approx(components["phi"], rel=1e-4)
    if "rho" in components:
        assert fit.lam == pytest.approx(components["rho"], rel=1e-4)
    if "arcoef" in expected:
        assert fit.rho == pytest.approx(expected["arcoef"]["est"], rel=1e-4)


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("form", ["kkp", "baltagi"])
@pytest.mark.parametrize("model", MODELS)
def test_against_brute_force(matrices, small, model, form, correlated):
    W, M, D = matrices["knn5"], matrices["contiguity"], matrices["mix"]
    _, panel, weights, y, X = small(W, seed=1)
    options, others = {"correlated": correlated}, {}
    if model in ("sem", "sdem", "sac", "gns"):
        options |= {"form": form, "W_error": sa.SpatialWeights.from_dense(M, weights.ids)}
        others["M"] = M
    if model in ("slx", "sdm", "sdem", "gns"):
        options["W_durbin"] = sa.SpatialWeights.from_dense(D, weights.ids)
        others["D"] = D
    fit = run(model, panel, weights, **options)
    problem = dense_random.problem(y, X, W, model, form, mundlak=correlated, **others)
    found = dense_family.fit(problem)
    assert fit.loglik == pytest.approx(found["loglik"], abs=1e-6)
    # the twin may order the means of regressors and of their lags in another way
    np.testing.assert_allclose(np.sort(fit.values), np.sort(found["params"]), rtol=1e-4, atol=1e-4)
    if not correlated:
        np.testing.assert_allclose(fit.values, found["params"], rtol=1e-4, atol=1e-4)
        cov = dense_family.observed_cov(fit.values, problem)
        np.testing.assert_allclose(fit.std_errors, np.sqrt(np.diag(cov)), rtol=1e-4)


def test_mundlak_slopes_are_the_within_slopes(cigarettes):
    """Mundlak (1978): with unit means of all regressors, GLS is the within estimator."""
    random = sa.ols(FORMULA, cigarettes, effects="random", correlated=True)
    within = sa.ols(FORMULA, cigarettes, effects="entity")
    names = ["logp", "logy"]
    np.testing.assert_allclose(random.params[names], within.params[names], rtol=1e-9)
    assert "mean(logp)" in random.names
    assert random.regressors == ("logp", "logy")


def test_no_unit_effects_give_the_pooled_model(matrices, small):
    W = matrices["contiguity"]
    _, panel, weights, _, X = small(W, seed=3)
    frame = panel.frame.reset_index()
    rng = np.random.default_rng(0)
    x = rng.normal(size=X.shape[:2])
    e = rng.normal(size=x.shape)
    e -= e.mean(axis=0)  # less variation between units than chance would give
    frame["x1"] = x.ravel()
    frame["y"] = np.linalg.solve(np.eye(len(W)) - 0.3 * W, (x + e).T).T.ravel()
    panel = sa.Panel(frame, entity="id", time="t")
    random = sa.sar("y ~ x1", panel, weights, effects="random")
    pooled = sa.sar("y ~ x1", panel, weights, effects="none")
    assert random.params["phi"] == 0.0
    assert np.isnan(random.std_errors["phi"])
    np.testing.assert_allclose(random.params.drop("phi"), pooled.params, rtol=1e-7)
    np.testing.assert_allclose(random.std_errors.drop("phi"), pooled.std_errors, rtol=1e-6)
    assert any("lower end" in note for note in random.notes)


def test_impacts_and_residuals(cigarettes, queen):
    fit = sa.sdm(FORMULA, cigarettes, queen, effects="random", correlated=True)
    found = fit.impacts()
    assert found.names == ("logp", "logy")
    total = (fit.params["logp"] + fit.params["W*logp"]) / (1 - fit.rho)
    assert found.total.loc["logp", "estimate"] == pytest.approx(total, rel=1e-12)
    assert fit.resid.shape == (30, 46)
    mu = fit.details["unit_effects"]
    # y = structural mean + mu + eps
    W = queen.align(cigarettes.entities).matrix.toarray()
    data = fit.workspace.data
    X = data.X
    p = fit.params
    means = X.mean(axis=0)
    mean = p["Intercept"] + fit.rho * (W @ data.y.T).T
    for j, name in enumerate(("logp", "logy")):
        mean = mean + p[name] * X[:, :, j] + p[f"W*{name}"] * (W @ X[:, :, j].T).T
        mean = mean + p[f"mean({name})"] * means[:, j] + p[f"W*mean({name})"] * (W @ means[:, j])
    np.testing.assert_allclose(mean + mu + fit.resid, data.y, atol=1e-8)


def test_options(cigarettes, queen):
    for options, text in (
        ({"form": "kkp"}, "effects='random'"),
        ({"correlated": True}, "effects='random'"),
        ({"effects": "random", "form": "other"}, "'kkp', 'baltagi'"),
        ({"effects": "random", "likelihood": "corrected"}, "one likelihood"),
        ({"effects": "random", "cov": "clustered"}, "cov='observed'"),
    ):
        with pytest.raises(sa.errors.OptionError, match=text):
            sa.sem(FORMULA, cigarettes, queen, **options)
    with pytest.raises(sa.errors.OptionError, match="no error process"):
        sa.sar(FORMULA, cigarettes, queen, effects="random", form="kkp")
    one = sa.Panel(cigarettes.frame.xs(1992, level="year").reset_index(), entity="state")
    with pytest.raises(sa.errors.IdentificationError, match="two periods"):
        sa.sar(FORMULA, one, queen, effects="random")


def test_a_regressor_that_does_not_vary_over_time(matrices, small):
    _, panel, weights, _, _ = small(matrices["contiguity"], seed=1)
    frame = panel.frame.reset_index()
    frame["z"] = frame["id"].str[1:].astype(float)
    panel = sa.Panel(frame, entity="id", time="t")
    fit = sa.sdm("y ~ x1 + z", panel, weights, effects="random", correlated=True)
    assert "mean(z)" not in fit.names
    assert "mean(x1)" in fit.names
    assert any("z" in note and "do not vary" in note for note in fit.notes)
