"""Every estimate against R and against brute force."""

import numpy as np
import pytest
from conftest import EFFECTS, FORMULA

import spatial_agglo as sa

R_EFFECTS = {"none": "none", "entity": "individual", "time": "time", "two-way": "twoways"}
R_NAMES = {"(Intercept)": "Intercept", "Wlogp": "W*logp", "Wlogy": "W*logy"}
MODELS = ("sar", "sem", "sdm", "sdem", "sac", "gns")


def close(ours, theirs, rtol):
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=0)


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_transformed_likelihood(cigarettes, queen, reference, model, effects):
    expected = reference("cigarettes_transformed_ml")[effects][model]
    fit = getattr(sa, model)(FORMULA, cigarettes, queen, effects=effects)
    names = list(expected["params"])
    assert set(names) == set(fit.names)
    close(fit.params[names], list(expected["params"].values()), 1e-6)
    close(fit.loglik, expected["loglik"], 1e-6)
    close(fit.std_errors[names], list(expected["se_observed"].values()), 1e-4)
    assert fit.n_effective == expected["n"]
    assert fit.nobs == 1380


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_direct_likelihood(cigarettes, queen, reference, model, effects):
    expected = reference("cigarettes_direct_ml")[effects][model]
    fit = getattr(sa, model)(FORMULA, cigarettes, queen, effects=effects, likelihood="direct")
    close(fit.params[list(expected["params"])], list(expected["params"].values()), 1e-6)
    close(fit.loglik, expected["loglik"], 1e-6)


@pytest.mark.parametrize("likelihood", ["direct-demeaned", "corrected"])
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS[:4])
def test_against_r(cigarettes, queen, reference, model, effects, likelihood):
    which = "uncorrected" if likelihood == "direct-demeaned" or effects == "none" else "corrected"
    expected = reference("cigarettes_r")["exact_ml"][R_EFFECTS[effects]][which][model.upper()]
    fit = getattr(sa, model)(
        FORMULA, cigarettes, queen, effects=effects, likelihood=likelihood, cov="expected"
    )
    spatial = "rho" if model in ("sar", "sdm") else "lambda"
    order = [R_NAMES.get(name, name) for name in expected["coef"]] + [spatial, "sigma2"]
    assert list(fit.names) == order
    assert expected["vcov_order"][-2:] == [spatial, "sigma2"]
    close(fit.params, [*expected["coef"].values(), expected["spatial"], expected["sigma2"]], 1e-6)
    close(fit.loglik, expected["logLik_full"], 1e-6)
    vcov = np.array(expected["vcov"])
    close(fit.std_errors, np.sqrt(np.diag(vcov)), 1e-6)
    scale = np.sqrt(np.outer(np.diag(vcov), np.diag(vcov)))
    np.testing.assert_allclose(fit.cov / scale, vcov / scale, rtol=0, atol=1e-6)


@pytest.mark.parametrize("effects", EFFECTS[1:])
@pytest.mark.parametrize("likelihood", ["direct-demeaned", "corrected"])
@pytest.mark.parametrize("model", ["sar", "sdm"])
def test_impacts_against_r(cigarettes, queen, reference, model, effects, likelihood):
    which = "uncorrected" if likelihood == "direct-demeaned" else "corrected"
    block = reference("cigarettes_r")["exact_ml"][R_EFFECTS[effects]][which]
    expected = block[model.upper()]["effects"]
    fit = getattr(sa, model)(
        FORMULA, cigarettes, queen, effects=effects, likelihood=likelihood, cov="expected"
    )
    frame = fit.impacts().to_frame()
    simulated = fit.impacts(method="simulation", draws=20_000, seed=1).to_frame()
    for effect in ("direct", "indirect", "total"):
        for name in ("logp", "logy"):
            row = frame.loc[(effect, name)]
            close(row["estimate"], expected["point"][effect][name], 1e-6)
            close(row["se"], expected["delta_se"][effect][name], 1e-4)
            draw = simulated.loc[(effect, name)]
            assert draw["estimate"] == row["estimate"]
            # 20,000 draws: the standard error of a standard deviation is 0.5%
            close(draw["se"], expected["mc"][f"{effect}_sd"][name], 0.025)


@pytest.mark.parametrize("effects", EFFECTS)
def test_ols_against_r(cigarettes, reference, effects):
    expected = reference("cigarettes_r")["ols_lm"][R_EFFECTS[effects]]
    fit = sa.ols(FORMULA, cigarettes, effects=effects, likelihood="direct")
    names = [R_NAMES.get(name, name) for name in expected["coef"]]
    close(fit.params[names], list(expected["coef"].values()), 1e-6)
    close(fit.loglik, expected["logLik"], 1e-6)
    close(fit.sigma2, expected["sigma2_ml"], 1e-6)
    close(fit.rsquared, expected["R2_incl_FE"], 1e-6)
    se = np.array(list(expected["se_naive_df_NT_minus_k"].values()))
    close(fit.std_errors[names], se * np.sqrt((1380 - len(names)) / 1380), 1e-6)


@pytest.mark.parametrize(("effects", "absorbed"), [("entity", 46), ("time", 30), ("two-way", 75)])
def test_slx_against_r(cigarettes, queen, reference, effects, absorbed):
    expected = reference("cigarettes_r")["SLX"][R_EFFECTS[effects]]
    fit = sa.slx(FORMULA, cigarettes, queen, effects=effects, likelihood="direct-demeaned")
    names = [R_NAMES.get(name, name) for name in expected["coef"]]
    close(fit.params[names], list(expected["coef"].values()), 1e-6)
    se = np.array(list(expected["se"].values())) * np.sqrt((1380 - absorbed - 4) / 1380)
    close(fit.std_errors[names], se, 1e-6)


@pytest.mark.parametrize("effects", ["entity", "time", "two-way"])
def test_splm(cigarettes, queen, reference, effects):
    block = reference("cigarettes_r")["direct_ml_splm"]
    for model in ("sar", "sdm", "sem", "sdem"):
        expected = block[f"{model.upper()}_{R_EFFECTS[effects]}_LeeYuFALSE"]
        fit = getattr(sa, model)(
            FORMULA, cigarettes, queen, effects=effects, likelihood="direct-demeaned"
        )
        # splm calls the lag parameter lambda and the error parameter rho
        swap = {"lambda": "rho", "rho": "lambda", **R_NAMES}
        names = [swap.get(name, name) for name in expected["coef"]]
        close(fit.params[names], list(expected["coef"].values()), 1e-5)
        if model in ("sar", "sdm") and effects == "entity":
            close(fit.rsquared, expected["rsqr"], 1e-6)


def test_published_two_way_estimates(cigarettes, queen):
    """Elhorst (2014), table 3.3: 0.219 and 0.264, from a 0.001 grid; exact 0.2269 and 0.2665."""
    direct = sa.sdm(FORMULA, cigarettes, queen, likelihood="direct-demeaned")
    corrected = sa.sdm(FORMULA, cigarettes, queen, likelihood="corrected")
    assert direct.rho == pytest.approx(0.226879, abs=5e-7)
    assert corrected.rho == pytest.approx(0.2665, abs=5e-5)
