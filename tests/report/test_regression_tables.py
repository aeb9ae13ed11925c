"""Regression tables in the papers' layout, descriptives, scatters: every cell against its fit."""

import io
import re

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import DataError, OptionError
from spatial_agglo.mechanisms.iv import fe2sls
from spatial_agglo.mechanisms.regressions import stepwise
from spatial_agglo.report.descriptives import descriptives_table
from spatial_agglo.report.fitted_scatter import fitted_scatter, partial_points, raw_points
from spatial_agglo.report.regression_tables import regression_table


@pytest.fixture(scope="module")
def panel():
    return sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")


@pytest.fixture(scope="module")
def steps(panel):
    return stepwise("logc ~ logp", panel, ["logy", "np.log(pop)"])


@pytest.fixture(scope="module")
def iv(panel):
    lagged = panel.lag("logp", [1, 2])
    names = ["logp_lag1", "logp_lag2", "np.log(pimin / cpi)"]
    return fe2sls("logc ~ logp + logy", lagged, endogenous=["logp"], instruments=names)


def cell(table, term, statistic, column, block=""):
    return table.body.loc[(block, term, statistic)].iloc[column]


def foot(table, term, column, statistic="value"):
    return cell(table, term, statistic, column, "Fit")


# --- regressions --------------------------------------------------------------------------------


@pytest.mark.parametrize("parentheses", ["t", "se"])
def test_every_cell_of_a_stepwise_table(steps, parentheses):
    table = steps.table(parentheses=parentheses, decimals=3)
    assert table.body.columns.tolist() == [(f"({j})", "logc") for j in (1, 2, 3)]
    rows = [term for _, term, kind in table.body.index if kind == "estimate"]
    assert rows == ["logp", "logy", "np.log(pop)"]
    for j, fit in enumerate(steps.fits.values()):
        for term in rows:
            if term not in fit.names:
                assert cell(table, term, "estimate", j) == ""
                assert cell(table, term, parentheses, j) == ""
                continue
            p, b, se = fit.pvalues[term], fit.params[term], fit.std_errors[term]
            marks = "***" if p < 0.01 else "**" if p < 0.05 else "*" if p < 0.1 else ""
            assert cell(table, term, "estimate", j) == f"{b:.3f}{marks}"
            below = f"({b / se:.2f})" if parentheses == "t" else f"({se:.3f})"
            assert cell(table, term, parentheses, j) == below
        assert foot(table, "Fixed effects: state", j) == "Yes"
        assert foot(table, "Fixed effects: year", j) == "Yes"
        assert foot(table, "Clusters", j) == "46"
        assert foot(table, "N", j) == "1,380"
        assert foot(table, "R2 within", j) == f"{fit.rsquared_within:.3f}"
        assert foot(table, "R2", j) == f"{fit.rsquared:.3f}"
    assert "sigma2" not in table.to_text()


def test_controls_are_said_when_they_are_not_shown(steps):
    table = steps.table(keep=["logp"])
    assert [foot(table, "Controls", j) for j in range(3)] == ["No", "Yes", "Yes"]
    assert "logy" not in table.to_text()
    order = steps.table(keep=["logy", "logp"]).body.index.get_level_values("term")
    assert list(dict.fromkeys(order))[:2] == ["logy", "logp"]


def test_effects_that_differ(panel):
    fits = {
        effects: sa.ols("logc ~ logp", panel, effects=effects, cov="robust")
        for effects in ("none", "entity", "time", "two-way")
    }
    table = regression_table(fits)
    heads = table.body.columns.tolist()
    assert heads == [(name, f"({j}) logc") for j, name in enumerate(fits, 1)]
    assert [foot(table, "Fixed effects: state", j) for j in range(4)] == ["No", "Yes", "No", "Yes"]
    assert [foot(table, "Fixed effects: year", j) for j in range(4)] == ["No", "No", "Yes", "Yes"]
    assert "Clusters" not in table.body.index.get_level_values("term")
    intercept = fits["none"].params["Intercept"]
    assert cell(table, "constant", "estimate", 0) == f"{intercept:.4f}***"
    assert cell(table, "constant", "estimate", 3) == ""
    both = regression_table(fits, constant=True)
    assert cell(both, "constant", "estimate", 3) == f"{fits['two-way'].constant:.4f}"
    terms = both.body.index[both.body.index.get_level_values("block") == ""]
    assert terms[-1][1] == "constant"


def test_columns_of_different_outcomes_and_standard_errors(panel):
    fits = {
        "(1)": sa.ols("logc ~ logp", panel, cov="clustered"),
        "(2)": sa.ols("logp ~ logy", panel, cov="driscoll-kraay"),
    }
    table = regression_table(fits, labels={"logc": "Consumption", "logp": "Price"})
    assert table.body.columns.tolist() == [("(1)", "Consumption"), ("(2)", "Price")]
    assert cell(table, "Price", "estimate", 0).startswith("-1.1")
    notes = " ".join(table.notes)
    assert re.search(r"clustered by state in \(1\); Driscoll-Kraay.* in \(2\)", notes)
    assert foot(table, "Clusters", 1) == ""


def test_one_fit_is_a_table_too(panel):
    fit = sa.ols("logc ~ logp", panel, cov="clustered")
    assert regression_table(fit).body.shape[1] == 1


# --- two-stage least squares --------------------------------------------------------------------


def test_rows_of_the_instruments(panel, iv):
    table = regression_table({"OLS": sa.ols("logc ~ logp + logy", panel, cov="clustered"),
                              "IV": iv})  # fmt: skip
    weak = iv.weak_instruments
    lm = weak.loc["Kleibergen-Paap rk LM"]
    assert foot(table, "Kleibergen-Paap rk LM", 1, "statistic") == f"{lm['statistic']:.3f}"
    assert foot(table, "Kleibergen-Paap rk LM", 1, "p") == "[<0.001]"
    for name in ("Kleibergen-Paap rk Wald F", "Cragg-Donald Wald F"):
        assert foot(table, name, 1) == f"{weak.loc[name, 'statistic']:.2f}"
        assert foot(table, name, 1, "critical") == "{22.30}"
        assert foot(table, name, 0) == ""
    assert foot(table, "First-stage F", 1) == f"{iv.first_stage['F'].iloc[0]:.2f}"
    row = iv.anderson_rubin.loc["Anderson-Rubin F"]
    assert foot(table, "Anderson-Rubin F", 1, "statistic") == f"{row['statistic']:.3f}"
    hansen = iv.overidentification.loc["Hansen J"]
    assert foot(table, "Hansen J", 1, "p") == f"[{hansen['p_value']:.3f}]"
    notes = " ".join(table.notes)
    assert "logp by logp_lag1, logp_lag2, np.log(pimin / cpi)" in notes
    assert "92 cells" in notes


def test_first_stages_stand_before(iv):
    table = regression_table({"IV": iv}, first_stages=True, keep=["logp", "logp_lag1"])
    assert table.body.columns.tolist() == [("IV", "(1) logp"), ("IV", "(2) logc")]
    first = iv.first_stage_fits["logp"]
    assert cell(table, "logp_lag1", "estimate", 0).startswith(f"{first.params['logp_lag1']:.4f}")
    assert cell(table, "logp_lag1", "estimate", 1) == ""
    assert cell(table, "logp", "estimate", 1).startswith(f"{iv.params['logp']:.4f}")
    assert foot(table, "First-stage F", 0) == f"{iv.first_stage['F'].iloc[0]:.2f}"
    assert foot(table, "First-stage F", 1) == ""
    assert foot(table, "N", 0) == foot(table, "N", 1) == "1,288"


def test_unadjusted_and_several_endogenous_regressors(panel):
    lagged = panel.lag(["logp", "logy"], [1, 2])
    fit = fe2sls(
        "logc ~ logp + logy", lagged, endogenous=["logp", "logy"], cov="unadjusted",
        instruments=["logp_lag1", "logy_lag1", "logp_lag2"],
    )  # fmt: skip
    table = regression_table({"IV": fit})
    terms = set(table.body.index.get_level_values("term"))
    assert {"First-stage F: logp", "First-stage F: logy", "Sargan"} <= terms
    assert "Anderson canonical correlations LM" in terms
    assert "Kleibergen-Paap rk Wald F" not in terms
    conditional = fit.first_stage["conditional_F"]
    assert foot(table, "First-stage F: logy", 0) == f"{conditional['logy']:.2f}"


# --- forms --------------------------------------------------------------------------------------


def test_forms_hold_every_cell(steps, iv, tmp_path):
    table = regression_table({**steps.fits, "IV": iv}, first_stages=True)
    cells = {value for value in table.body.to_numpy().ravel() if value}
    text, html = table.to_text(), table.to_html()
    for value in cells:
        assert value.rstrip("*)]}") in text
    read = pd.read_csv(io.StringIO(table.to_csv()), dtype=str, keep_default_na=False)
    assert (read.iloc[:, 3:].to_numpy() == table.body.to_numpy()).all()
    assert html.count("<tr") > len(table.body)
    latex = table.to_latex()
    assert latex.count(r"\begin{tabular}") == 1
    assert r"\{22.30\rlap{\}}" in latex
    assert "np.log(pop)" in latex
    paths = table.save(tmp_path, "regressions")
    assert [path.suffix for path in paths] == [".csv", ".tex", ".html"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"parentheses": "z"}, "parentheses"),
        ({"decimals": -1}, "decimals"),
        ({"keep": ["nope"]}, "nope"),
        ({"keep": []}, "nothing"),
        ({"keep": "logp"}, "list"),
        ({"labels": {"nope": "x"}}, "nope"),
        ({"labels": {"logp": "x", "logy": "x"}}, "more than one"),
    ],
)
def test_errors_of_tables(steps, options, match):
    with pytest.raises(OptionError, match=match):
        steps.table(**options)


def test_spatial_fits_belong_elsewhere(study):
    with pytest.raises(DataError, match="results_table"):
        regression_table({"SDM": study.sdm})


# --- descriptives -------------------------------------------------------------------------------


def test_descriptives_against_pandas(panel):
    frame = sa.datasets.cigarettes()
    names = ["logc", "logp", "pop"]
    statistics = ["N", "mean", "sd", "min", "p25", "p50", "p75", "max"]
    table = descriptives_table(panel, names, statistics=statistics, labels={"pop": "Population"})
    expected = frame[names].describe().T
    assert table.body.index.tolist() == ["logc", "logp", "Population"]
    for label, name in zip(table.body.index, names, strict=True):
        found = [float(value.replace(",", "")) for value in table.body.loc[label]]
        atol = 0.501 if name == "pop" else 0.00501  # thousands are whole numbers
        np.testing.assert_allclose(found, expected.loc[name], atol=atol)
    assert table.body.columns.tolist() == ["N", "Mean", "SD", "Min", "P25", "P50", "P75", "Max"]


def test_descriptives_of_a_panel_with_gaps():
    frame = sa.datasets.cigarettes().drop(index=[3, 4])
    frame.loc[10, "logc"] = np.nan
    panel = sa.Panel(frame, entity="state", time="year", unbalanced="allow")
    table = descriptives_table(panel, ["logc", "logp"])
    assert table.body["N"].tolist() == ["1,377", "1,378"]
    assert "1,378 rows" in table.notes[0]
    assert set(descriptives_table(panel).body.index) >= {"logc", "logp", "logy"}


def test_errors_of_descriptives(panel):
    with pytest.raises(DataError, match="nope"):
        descriptives_table(panel, ["nope"])
    with pytest.raises(DataError, match="at least one"):
        descriptives_table(panel, [])
    with pytest.raises(OptionError, match="kurtosis"):
        descriptives_table(panel, ["logc"], statistics=["kurtosis"])


# --- scatters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("effects", ["none", "entity", "time", "two-way"])
@pytest.mark.parametrize("gaps", [False, True])
def test_the_slope_of_the_partial_points_is_the_coefficient(effects, gaps):
    frame = sa.datasets.cigarettes()
    if gaps:
        frame = frame.drop(index=[3, 400])
        frame.loc[800, "logy"] = np.nan
    panel = sa.Panel(frame, entity="state", time="year", unbalanced="allow")
    fit = sa.ols("logc ~ logp + logy", panel, effects=effects, cov="clustered")
    points = partial_points(fit, "logp")
    assert points.x.size == fit.nobs
    slope, level = np.polyfit(points.x, points.y, 1)
    np.testing.assert_allclose([slope, level], [fit.params["logp"], points.level], rtol=1e-8)
    residuals = points.y - level - slope * points.x
    np.testing.assert_allclose(residuals, fit.resids.to_numpy(), atol=1e-9)
    used = frame.dropna(subset=["logc", "logp", "logy"])
    np.testing.assert_allclose(points.x.mean(), used["logp"].mean())


def test_raw_points(panel):
    fit = sa.ols("logc ~ logp + logy", panel, cov="clustered")
    points = raw_points(fit, "logp")
    frame = sa.datasets.cigarettes()
    slope, level = np.polyfit(frame["logp"], frame["logc"], 1)
    np.testing.assert_allclose([points.slope, points.level], [slope, level], rtol=1e-8)
    pooled = sa.ols("logc ~ logp", panel, effects="none", cov="clustered")
    at = 0.2
    v0, v1, v2 = points.variance
    g = np.array([1.0, at])
    V = pooled.cov.loc[["Intercept", "logp"], ["Intercept", "logp"]].to_numpy()
    np.testing.assert_allclose(v0 + 2 * v1 * at + v2 * at**2, g @ V @ g)


def test_the_picture(panel):
    from matplotlib.figure import Figure

    fit = sa.ols("logc ~ logp + logy", panel, cov="clustered")
    ax = fitted_scatter(fit, "logp", labels={"logp": "Price"}, ax=Figure().add_subplot())
    dots, line = ax.lines
    assert dots.get_xdata().size == 1380
    rise = np.diff(line.get_ydata()[[0, -1]]) / np.diff(line.get_xdata()[[0, -1]])
    np.testing.assert_allclose(rise, fit.params["logp"])
    assert ax.get_xlabel() == "Price (effects and logy removed)"
    assert "−1.035" in ax.get_title(loc="left")
    band = ax.collections[0].get_paths()[0].vertices
    middle = np.abs(band[:, 0] - dots.get_xdata().mean()).argmin()
    inner = np.ptp(band[np.isclose(band[:, 0], band[middle, 0]), 1])
    outer = np.ptp(band[np.isclose(band[:, 0], band[:, 0].max()), 1])
    assert inner < 0.1 * outer
    se = fit.std_errors["logp"] * (band[:, 0].max() - dots.get_xdata().mean())
    np.testing.assert_allclose(outer, 2 * 1.959964 * se, rtol=1e-5)
    raw = fitted_scatter(fit, "logp", partial=False, ax=Figure().add_subplot())
    assert raw.get_xlabel() == "logp"


def test_errors_of_scatters(panel, iv, study):
    fit = sa.ols("logc ~ logp", panel)
    for bad, variable, level, match in (
        (fit, "logy", 0.95, "no regressor"),
        (fit, "logp", 95, "level"),
        (iv, "logp", 0.95, "two-stage"),
        (study.sdm, "logp", 0.95, "spatial"),
        (sa.ols("logc ~ logp", panel, effects="random"), "logp", 0.95, "random"),
    ):
        with pytest.raises(OptionError, match=match):
            fitted_scatter(bad, variable, level=level)


def test_few_clusters_are_said(panel):
    frame = panel.frame.reset_index()
    few = sa.Panel(
        frame[frame["state"].isin(frame["state"].unique()[:4])], entity="state", time="year"
    )
    fits = {"All": sa.ols("logc ~ logp", panel, cov="clustered")}
    assert "not reliable" not in " ".join(regression_table(fits).notes)
    fits["Few"] = sa.ols("logc ~ logp", few, cov="clustered")
    notes = " ".join(regression_table(fits).notes)
    assert "Few: with 4 clusters standard errors are not reliable" in notes


def test_cells_left_out_for_lags_are_said_by_column(panel):
    fits = {f"({k})": sa.ols(f"logc ~ logp_lag{k}", panel.lag("logp", k)) for k in (1, 2)}
    assert "Left out for lags: 46 cells in (1); 92 cells in (2)." in regression_table(fits).notes
    fits = {"(1)": fits["(1)"], "(2)": fits["(1)"]}
    assert "Left out for lags: 46 cells." in regression_table(fits).notes


def test_descriptives_of_large_and_small_numbers():
    frame = sa.datasets.cigarettes().assign(
        jobs=lambda d: 1e4 * d["pop"], share=lambda d: d.logc / 1e3
    )
    panel = sa.Panel(frame, entity="state", time="year")
    body = descriptives_table(panel, ["jobs", "share"]).body
    assert body.loc["jobs", "Max"] == f"{frame['jobs'].max():,.0f}"
    assert body.loc["jobs", "Mean"] == f"{frame['jobs'].mean():,.0f}"
    assert body.loc["share", "Mean"] == f"{frame['share'].mean():.4f}"
