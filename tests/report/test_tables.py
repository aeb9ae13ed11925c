import re

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import DataError, OptionError
from spatial_agglo.report import (
    moran_table,
    results_table,
    sdm_table,
    selection_table,
    summary,
)
from spatial_agglo.report.formats import stars

FORMULA = "logc ~ logp + logy"


def value(cell):
    return float(re.sub(r"[*(),]", "", cell))


def mark(cell):
    return cell[len(cell.rstrip("*")) :]


def block_of(name):
    if name in ("rho", "lambda"):
        return "Spatial"
    if name == "sigma2":
        return "Variance"
    return "Wx" if name.startswith("W*") else "Main"


# --- results ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["OLS", "SAR", "SEM", "SDM"])
def test_coefficients_are_those_of_the_fit(study, model):
    fit = study.fits[model]
    body = results_table(study.fits).body
    shown = body.loc[["Main", "Wx", "Spatial", "Variance"], model]
    assert (shown != "").sum() == 2 * len(fit.names)
    for name in fit.names:
        estimate = body.loc[(block_of(name), name, "estimate"), model]
        below = body.loc[(block_of(name), name, "z"), model]
        assert value(estimate) == pytest.approx(fit.params[name], abs=5.001e-5)
        assert value(below) == pytest.approx(fit.tstats[name], abs=5.001e-3)
        assert below.startswith("(")
        assert below.endswith(")")
        expected = "" if name == "sigma2" else stars(fit.pvalues[name])
        assert mark(estimate) == expected


def test_impacts_are_those_of_the_fit(study):
    body = results_table(study.sdm).body
    for (effect, name), row in study.impacts.to_frame().iterrows():
        estimate = body.loc[(effect.capitalize(), name, "estimate"), "SDM"]
        assert value(estimate) == pytest.approx(row["estimate"], abs=5.001e-5)
        assert mark(estimate) == stars(row["p_value"])
        below = body.loc[(effect.capitalize(), name, "z"), "SDM"]
        assert value(below) == pytest.approx(row["z"], abs=5.001e-3)


def test_fit_statistics_are_those_of_the_fit(study):
    body = results_table(study.fits).body.loc["Fit"]
    for model, fit in study.fits.items():
        assert body.loc[("N", "value"), model] == "1,380"
        assert value(body.loc[("R2", "value"), model]) == pytest.approx(fit.rsquared, abs=5e-4)
        loglik = value(body.loc[("Log-likelihood", "value"), model])
        assert loglik == pytest.approx(fit.loglik, abs=5.001e-3)


def test_blocks_come_in_the_order_of_the_papers(study):
    blocks = results_table(study.fits).body.index.unique(0).tolist()
    assert blocks == ["Main", "Wx", "Spatial", "Variance", "Direct", "Indirect", "Total", "Fit"]


def test_columns_keep_the_names_and_order_given(study):
    fits = {"b": study.sdm, "a": study.fits["OLS"]}
    assert list(results_table(fits).body.columns) == ["b", "a"]
    assert list(results_table(study.sdm).body.columns) == ["SDM"]


def test_models_without_spillovers_have_no_impacts_and_a_note_says_so(study):
    table = results_table(study.fits)
    assert (table.body.loc[["Direct", "Indirect", "Total"], ["OLS", "SEM"]] == "").all(axis=None)
    assert any("OLS, SEM: no spillovers" in note for note in table.notes)
    alone = results_table(study.fits["OLS"])
    assert "Direct" not in alone.body.index.unique(0)


def test_impacts_can_be_left_out_or_given(study):
    assert "Direct" not in results_table(study.sdm, impacts=False).body.index.unique(0)
    drawn = study.sdm.impacts(method="simulation", draws=50, seed=1)
    table = results_table({"a": study.sdm}, impacts={"a": drawn})
    shown = value(table.body.loc[("Indirect", "logp", "z"), "a"])
    assert shown == pytest.approx(drawn.indirect.loc["logp", "z"], abs=5.001e-3)
    assert any("50 simulated draws" in note for note in table.notes)
    with pytest.raises(DataError, match="not among the columns"):
        results_table({"a": study.sdm}, impacts={"b": drawn})


def test_standard_errors_can_stand_in_the_parentheses(study):
    table = results_table(study.sdm, parentheses="se", decimals=3)
    shown = value(table.body.loc[("Spatial", "rho", "se"), "SDM"])
    assert shown == pytest.approx(study.sdm.std_errors["rho"], abs=5.001e-4)
    assert table.notes[0].startswith("Standard errors in parentheses. *** p < 0.01")


def test_notes_say_what_the_reader_must_know(study):
    notes = " ".join(results_table(study.fits).notes)
    for text in (
        "z statistics in parentheses",
        "*** p < 0.01, ** p < 0.05, * p < 0.1",
        "queen contiguity",
        "row-standardised (46 units, 188 links)",
        "two-way (state and year)",
        "transformed",
        "observed information",
    ):
        assert text in notes


def test_notes_tell_columns_apart_where_they_differ(study):
    fits = {
        "(1)": study.sdm,
        "(2)": sa.sar(FORMULA, study.panel, study.W, effects="entity", cov="clustered"),
    }
    notes = " ".join(results_table(fits).notes)
    assert "Effects: two-way (state and year) in (1); fixed, state in (2)." in notes
    assert "clustered by state (46 clusters) in (2)" in notes
    assert "Likelihood: transformed (Lee & Yu 2010)." in notes


def test_notes_of_the_fit_are_carried_over(study):
    W = sa.datasets.weights("cigarettes_queen")
    fit = sa.sar(FORMULA, study.panel, W)
    notes = " ".join(results_table(fit).notes)
    assert "W is not row-standardised." in notes
    assert notes.count("queen contiguity") == 1
    assert "log-determinant" not in notes


def test_an_intercept_and_an_undefined_standard_error_are_shown(study):
    fit = sa.ols(FORMULA, study.panel, study.W, effects="none")
    covariance = fit.covariance.copy()
    covariance[1, 1] = np.nan
    from dataclasses import replace

    body = results_table(replace(fit, covariance=covariance)).body
    assert value(body.loc[("Main", "Intercept", "estimate"), "OLS"])
    assert body.loc["Main"].index.unique(0).tolist() == ["logp", "logy", "Intercept"]
    assert body.loc[("Main", "logp", "z"), "OLS"] == "(n/a)"
    assert mark(body.loc[("Main", "logp", "estimate"), "OLS"]) == ""


def test_bad_arguments_are_refused(study):
    with pytest.raises(OptionError, match="'z', 'se'"):
        results_table(study.sdm, parentheses="t")
    with pytest.raises(OptionError, match="decimals"):
        results_table(study.sdm, decimals=-1)
    with pytest.raises(DataError, match="at least one fit"):
        results_table({})


def test_the_mapping_of_the_caller_is_left_alone(study):
    before = dict(study.fits)
    results_table(study.fits)
    assert study.fits == before


# --- selection ----------------------------------------------------------------------------


def test_selection_shows_every_test_with_its_numbers(study):
    table = selection_table(study.choice)
    found = study.choice.table
    assert list(table.body.index) == list(found.index)
    for name, row in table.body.iterrows():
        p = found.loc[name, "p_value"]
        assert value(row["Statistic"]) == pytest.approx(found.loc[name, "statistic"], abs=5.001e-4)
        assert mark(row["Statistic"]) == stars(p)
        df = found.loc[name, "df"]
        assert row["df"] == ("" if pd.isna(df) else str(df))
        if p >= 0.001:
            assert value(row["p-value"]) == pytest.approx(p, abs=5.001e-4)
        else:
            assert row["p-value"] == "<0.001"


def test_selection_ends_in_the_verdict(study):
    assert selection_table(study.choice).notes[-1] == f"Verdict: {study.choice.verdict}"
    html = study.choice._repr_html_()
    assert "Both simplifications fail: SDM." in html
    assert "Wald SDM/SEM" in html


def test_the_table_of_the_choice_is_left_alone(study):
    before = study.choice.table.copy()
    selection_table(study.choice)
    pd.testing.assert_frame_equal(study.choice.table, before)


# --- Moran --------------------------------------------------------------------------------


def test_moran_shows_i_and_z_of_every_year(study):
    table = moran_table(study.moran)
    assert table.body.shape == (30, 6)
    for (variable, year), row in study.moran.iterrows():
        shown = table.body.loc[str(year), (variable, "I")]
        assert value(shown) == pytest.approx(row["I"], abs=5.001e-4)
        assert mark(shown) == stars(row["p_value"])
        below = table.body.loc[str(year), (variable, "z")]
        assert below == f"({row['z']:.2f})"


def test_moran_keeps_the_order_of_the_variables(study):
    frame = sa.esda.moran(study.panel, ["logy", "logc"], study.W)
    assert list(moran_table(frame).body.columns.unique(0)) == ["logy", "logc"]


def test_moran_names_the_periods_as_the_frame_does(study):
    named = study.moran.rename_axis(["variable", "year"])
    assert moran_table(named).title == "Moran's I by year"
    assert moran_table(named).body.index.name == "year"


def test_moran_of_dates_shows_no_midnight(study):
    dates = study.moran.rename(index=lambda y: pd.Timestamp(int(y), 1, 1), level=1)
    assert moran_table(dates).body.index[0] == "1963-01-01"


def test_moran_refuses_another_frame(study):
    with pytest.raises(DataError, match=r"esda\.moran"):
        moran_table(study.choice.table)


# --- summary ------------------------------------------------------------------------------


def test_summary_shows_the_estimates(study):
    fit = study.sdm
    interval = fit.conf_int()
    rows = {line.split()[0]: line.split()[1:] for line in fit.summary.splitlines() if line}
    for name in fit.names:
        if name == "sigma2":
            continue
        estimate, se, z, p, low, high = rows[name]
        assert float(estimate) == pytest.approx(fit.params[name], abs=5.001e-5)
        assert float(se) == pytest.approx(fit.std_errors[name], abs=5.001e-5)
        assert float(z) == pytest.approx(fit.tstats[name], abs=5.001e-3)
        assert float(p.lstrip("<")) == pytest.approx(fit.pvalues[name], abs=1e-3)
        assert float(low) == pytest.approx(interval.loc[name, "lower"], abs=5.001e-5)
        assert float(high) == pytest.approx(interval.loc[name, "upper"], abs=5.001e-5)


def test_summary_shows_the_model_and_its_fit(study):
    text = summary(study.sdm)
    assert text.startswith("Spatial Durbin model (SDM): logc ~ logp + logy\n")
    for part in (
        "two-way (state and year)",
        "transformed (Lee & Yu 2010)",
        "observed information",
        "30 (1963 to 1992)",
        "1,380",
        f"{study.sdm.loglik:,.3f}",
        f"{study.sdm.aic:,.3f}",
        f"{study.sdm.bic:,.3f}",
        f"{study.sdm.rsquared:.4f}",
    ):
        assert part in text
    assert text.endswith("Log-determinant: spectrum.")
    for note in study.sdm.notes:
        assert note[1:] in text.replace("\n", " ")
    assert max(map(len, text.splitlines())) < 100


@pytest.mark.parametrize("model", ["ols", "slx", "sar", "sem", "sdm", "sdem"])
@pytest.mark.parametrize("effects", ["none", "two-way"])
def test_every_model_has_a_summary(study, model, effects):
    fit = getattr(sa, model)(FORMULA, study.panel, study.W, effects=effects)
    assert f"({model.upper()})" in fit.summary
    assert f"({model.upper()})" in fit._repr_html_()
    assert ("queen contiguity" in fit.summary) == (model != "ols")


def test_a_cross_section_has_a_summary(study):
    frame = sa.datasets.cigarettes().query("year == 1992")
    panel = sa.Panel(frame, entity="state")
    fit = sa.sdm(FORMULA, panel, study.W, effects="none")
    assert re.search(r"Periods \(time\)\s+1\s", fit.summary)
    assert results_table(fit).body.loc[("Fit", "N", "value"), "SDM"] == "46"


# --- terms, labels, spatial Durbin models -------------------------------------------------


def test_terms_can_be_kept_and_labelled(study):
    """A lag and effects are kept with their regressor; what is left out is said."""
    everything = results_table(study.fits).body
    table = results_table(
        study.fits, keep=["logy"], labels={"logy": "Income", "logc": "Packs"}, parentheses="z"
    )
    body = table.body
    assert table.title == "Estimates of Packs"
    terms = body.index.get_level_values("term")
    assert not terms.str.contains("logp").any()
    for key, written in ((("Main", "logy"), "Income"), (("Wx", "W*logy"), "W*Income")):
        cells = body.loc[(key[0], written)].to_numpy().tolist()
        assert cells == everything.loc[key].to_numpy().tolist()
    assert body.loc[("Indirect", "Income"), "SDM"].tolist() == (
        everything.loc[("Indirect", "logy"), "SDM"].tolist()
    )
    assert set(body.loc[("Fit", "Controls", "value")]) == {"Yes"}
    assert body.loc["Spatial"].equals(everything.loc["Spatial"])
    both = results_table(study.fits, keep=["logy", "logp"], title="All")
    assert both.title == "All"
    assert list(dict.fromkeys(both.body.loc["Wx"].index.get_level_values(0))) == [
        "W*logy",
        "W*logp",
    ]
    assert set(both.body.loc[("Fit", "Controls", "value")]) == {"No"}
    lag = results_table({"SDM": study.sdm}, keep=["W*logp"], impacts=False).body
    assert lag.index.unique("block")[:2].tolist() == ["Wx", "Spatial"]
    for options in ({"keep": ["price"]}, {"keep": "logp"}, {"labels": {"price": "Price"}}):
        with pytest.raises(OptionError, match=r"keep|labels"):
            results_table(study.fits, **options)


def test_a_row_of_small_numbers_keeps_its_digits(study):
    """Coefficients of a regressor in other units: the same digits, further to the right."""
    frame = sa.datasets.cigarettes().assign(cents=lambda d: 1e4 * d.logp)
    fit = sa.ols("logc ~ cents", sa.Panel(frame, entity="state", time="year"))
    estimate, error = results_table(fit, parentheses="se").body.loc[("Main", "cents"), "OLS"]
    assert value(estimate) == pytest.approx(fit.params["cents"], abs=5.1e-6)
    assert "e" not in estimate + error
    assert len(estimate.strip("-*").rstrip("0").split(".")[1].lstrip("0")) == 2


def test_the_table_of_a_durbin_model(study):
    body = sdm_table(study.sdm, parentheses="se", decimals=6, labels={"logp": "Price"}).body
    frame, fit = study.impacts.to_frame(), study.sdm
    for name, label in (("logp", "Price"), ("logy", "logy")):
        expected = [fit.params[name], fit.params[f"W*{name}"]]
        expected += [frame.loc[(e, name), "estimate"] for e in ("direct", "indirect", "total")]
        found = [value(text) for text in body.loc[("", label, "estimate")]]
        np.testing.assert_allclose(found, expected, atol=5.1e-7)
        errors = [fit.std_errors[name], fit.std_errors[f"W*{name}"]]
        errors += [frame.loc[(e, name), "se"] for e in ("direct", "indirect", "total")]
        found = [float(text.strip("()")) for text in body.loc[("", label, "se")]]
        np.testing.assert_allclose(found, errors, atol=5.1e-7)
    assert value(body.loc[("Fit", "rho", "estimate")].iloc[0]) == pytest.approx(fit.rho, abs=1e-6)
    assert [head for _, head in body.columns] == ["Main", "Wx", "Direct", "Indirect", "Total"]
    with pytest.raises(DataError, match="results_table"):
        sdm_table(study.fits["SAR"])
    with pytest.raises(OptionError, match="labels"):
        sdm_table(fit, labels={"price": "Price"})


def test_summaries_of_two_stage_least_squares_say_so(study):
    from spatial_agglo.mechanisms.iv import fe2sls

    fit = fe2sls(
        "logc ~ logp + logy", study.panel.lag("logp"), endogenous=["logp"],
        instruments=["logp_lag1"],
    )  # fmt: skip
    assert "Regression without spatial terms (FE-2SLS)" in summary(fit).splitlines()[0]
    spatial = sa.stsls("logc ~ logp + logy", study.panel, study.W)
    assert "(SAR, two-stage least squares)" in summary(spatial).splitlines()[0]
    assert "(OLS)" in summary(study.fits["OLS"]).splitlines()[0]
