"""The tests of model selection against R."""

import numpy as np
import pytest
from conftest import EFFECTS, FORMULA

import spatial_agglo as sa

R_EFFECTS = {"none": "none", "entity": "individual", "time": "time", "two-way": "twoways"}
R_LM = {
    "LM lag": "LMlag",
    "LM error": "LMerr",
    "robust LM lag": "RLMlag",
    "robust LM error": "RLMerr",
    "SARMA": "SARMA",
}


@pytest.mark.parametrize("likelihood", ["direct-demeaned", "corrected"])
@pytest.mark.parametrize("effects", EFFECTS)
def test_lm(cigarettes, queen, reference, effects, likelihood):
    expected = reference("cigarettes_r")["ols_lm"][R_EFFECTS[effects]]["LM_pooledM"]
    table = sa.lm_tests(FORMULA, cigarettes, queen, effects=effects, likelihood=likelihood)
    assert set(table.index) == set(R_LM)
    for ours, theirs in R_LM.items():
        np.testing.assert_allclose(
            table.loc[ours, "statistic"], expected["stat"][theirs], rtol=1e-6
        )
        np.testing.assert_allclose(table.loc[ours, "p_value"], expected["p"][theirs], rtol=1e-4)
    assert table["df"].tolist() == [1, 1, 1, 1, 2]


def test_lm_that_lags_first(cigarettes, queen):
    """47.0729 is the two-way LM-lag of direct ML with Q(Wy), from brute force."""
    table = sa.lm_tests(FORMULA, cigarettes, queen, likelihood="direct")
    assert table.loc["LM lag", "statistic"] == pytest.approx(47.0729, abs=5e-5)


@pytest.mark.parametrize("effects", ["entity", "time", "two-way"])
@pytest.mark.parametrize("likelihood", ["direct-demeaned", "corrected"])
def test_wald_and_lr(cigarettes, queen, reference, effects, likelihood):
    which = "uncorrected" if likelihood == "direct-demeaned" else "corrected"
    expected = reference("cigarettes_r")["exact_ml"][R_EFFECTS[effects]][which]["tests_SDM"]
    fit = sa.sdm(FORMULA, cigarettes, queen, effects=effects, likelihood=likelihood, cov="expected")
    wald, lr = sa.wald_tests(fit), sa.lr_tests(fit)
    for table, name in ((wald, "wald"), (lr, "lr")):
        for ours, theirs in (("SAR", "lag"), ("SEM", "err")):
            row = table.loc[f"{name.replace('wald', 'Wald').replace('lr', 'LR')} SDM/{ours}"]
            np.testing.assert_allclose(row["statistic"], expected[f"{name}_{theirs}"], rtol=1e-6)
            np.testing.assert_allclose(row["p_value"], expected[f"{name}_{theirs}_p"], rtol=1e-4)
            assert row["df"] == expected["df"]


def test_lr_of_effects(cigarettes, reference):
    expected = reference("cigarettes_r")["LR_fixed_effects"]
    table = sa.effects_tests(FORMULA, cigarettes, model="ols")
    np.testing.assert_allclose(
        table["statistic"], [expected["time_FE"], expected["spatial_FE"]], rtol=1e-6
    )
    assert list(table.index) == ["LR two-way/entity", "LR two-way/time"]
    assert table["df"].tolist() == [29, 45]  # T - 1 and N - 1


@pytest.mark.parametrize("effects", EFFECTS)
def test_moran_of_residuals(cigarettes, queen, reference, effects):
    expected = reference("cigarettes_r")["ols_lm"][R_EFFECTS[effects]]["spdep_moran_kronW"]
    ours = sa.residual_moran(
        FORMULA, cigarettes, queen, effects=effects, likelihood="direct-demeaned"
    )
    theirs = expected["estimate"]
    np.testing.assert_allclose(ours["I"], theirs["Observed Moran I"], rtol=1e-10)
    np.testing.assert_allclose(ours["expected"], theirs["Expectation"], rtol=1e-8)
    np.testing.assert_allclose(ours["variance"], theirs["Variance"], rtol=1e-8)
    np.testing.assert_allclose(ours["z"], expected["statistic"], rtol=1e-8)


def test_published_table(cigarettes, queen):
    """Elhorst (2014), chapter 3: LM tests of the cigarette panel to two decimals."""
    published = {
        "none": (66.47, 58.26, 153.04, 144.84),
        "entity": (136.43, 29.51, 255.72, 148.80),
        "time": (44.04, 0.33, 62.86, 19.15),
        "two-way": (46.90, 1.16, 54.65, 8.91),
    }
    for effects, numbers in published.items():
        table = sa.lm_tests(
            FORMULA, cigarettes, queen, effects=effects, likelihood="direct-demeaned"
        )
        np.testing.assert_allclose(table["statistic"].iloc[:4], numbers, atol=0.0051)


def test_moran_by_year(cigarettes, queen, reference):
    expected = reference("cigarettes_moran_r")
    for assumption, theirs in (("randomization", "randomisation"), ("normality", "normality")):
        frame = sa.esda.moran(cigarettes, list(expected), queen, assumption=assumption)
        for name, years in expected.items():
            for year, values in years.items():
                row = frame.loc[(name, int(year))]
                np.testing.assert_allclose(row["I"], values[theirs]["I"], rtol=0, atol=1e-10)
                np.testing.assert_allclose(row["z"], values[theirs]["z"], rtol=0, atol=1e-8)
                np.testing.assert_allclose(row["variance"], values[theirs]["V"], rtol=1e-8)
                np.testing.assert_allclose(row["p_value"], values[theirs]["p"], rtol=1e-8)
