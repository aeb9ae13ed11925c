"""Tables of the whole family: random effects, gaps, several W, 2SLS, dynamics, covariances."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import DataError
from spatial_agglo.impacts import impacts as effects_of
from spatial_agglo.report import Table, moran_table, results_table
from spatial_agglo.report.figures import moran_scatter

FORMULA = "logc ~ logp + logy"
NUMBER = re.compile(r"[*(),\[\]<]")


def value(cell):
    return float(NUMBER.sub("", cell))


def facts(fit):
    """What stands above the coefficients, by name."""
    lines = fit.summary.splitlines()
    end = next(i for i, line in enumerate(lines) if set(line) == {"-"})
    found = {}
    for line in lines[2:end]:
        parts = re.split(r"\s{2,}", line.strip())
        found.update(zip(parts[::2], parts[1::2], strict=True))
    return found


def notes(fit):
    lines = fit.summary.splitlines()
    end = max(i for i, line in enumerate(lines) if set(line) == {"="})
    return " ".join(lines[end + 1 :])


def coefficients(fit):
    """The rows of the summary by label."""
    lines = fit.summary.splitlines()
    start = max(i for i, line in enumerate(lines) if set(line) == {"-"})
    end = max(i for i, line in enumerate(lines) if set(line) == {"="})
    return {line.split()[0]: line.split()[1:] for line in lines[start + 1 : end]}


@pytest.fixture(scope="module")
def data():
    """The cigarette panel with places and regions, the same with gaps, and several weights."""
    frame = sa.datasets.cigarettes()
    states = sa.datasets.us_states()
    states = states[states["state"].isin(frame["state"])]
    points = states.geometry.representative_point()
    places = pd.DataFrame({"lon": points.x.to_numpy(), "lat": points.y.to_numpy()})
    places = places.set_index(states["state"].to_numpy())
    frame = frame.join(places, on="state")
    frame["region"] = frame["state"].str[0]
    gaps = frame.drop(frame.sample(60, random_state=1).index)
    gaps.loc[gaps.sample(20, random_state=2).index, "logy"] = np.nan
    panel = sa.Panel(frame, entity="state", time="year")
    queen = sa.datasets.weights("cigarettes_queen").standardize("row")
    near = sa.weights.knn(states, ids="state", k=6).standardize("row")
    return SimpleNamespace(
        panel=panel,
        queen=queen,
        near=near,
        changing=sa.weights.PanelWeights({t: (queen, near)[t > 1980] for t in panel.times}),
        frame=gaps.dropna(subset="logy"),
        gaps=sa.Panel(gaps, entity="state", time="year", unbalanced="allow"),
    )


@pytest.fixture(scope="module")
def fits(data):
    """A fit of every kind."""
    panel, W, other = data.panel, data.queen, data.near
    instruments = {"endogenous": ["logp"], "instruments": ["np.log(pimin / cpi)"]}
    return {
        "gaps": sa.sdm(FORMULA, data.gaps, other, cov=sa.Clustered(["region", "time"])),
        "gaps, ols": sa.ols(FORMULA, data.gaps, cov="clustered"),
        "changing": sa.sdm(FORMULA, panel, data.changing, cov="driscoll-kraay"),
        "sac": sa.sac(FORMULA, panel, W, W_error=other, cov=sa.Conley(500, ("lon", "lat"), lags=1)),
        "gns": sa.gns(FORMULA, panel, W, W_durbin=other, effects="entity", cov="opg"),
        "re": sa.sdm(FORMULA, panel, W, effects="random"),
        "kkp": sa.sem(FORMULA, panel, W, effects="random"),
        "baltagi": sa.sem(FORMULA, panel, W, effects="random", form="baltagi", correlated=True),
        "cre": sa.sdm(FORMULA, panel, W, effects="random", correlated=True),
        "bootstrap": sa.sar(FORMULA, panel, W, cov=sa.Bootstrap(draws=9)),
        "iv": sa.stsls(FORMULA, panel, W, cov="clustered", lag_instruments=True, **instruments),
        "sargan": sa.stsls(FORMULA, panel, W, model="sdm", cov="unadjusted"),
        "just": sa.stsls(FORMULA, panel, model="ols", **instruments),
        "dynamic": sa.sdm(FORMULA, panel, W, dynamic="both"),
        "own": sa.sdm(FORMULA, panel, W, dynamic="own", bias_correction=False, effects="entity"),
    }


KINDS = (
    "gaps",
    "gaps, ols",
    "changing",
    "sac",
    "gns",
    "re",
    "kkp",
    "baltagi",
    "cre",
    "bootstrap",
    "iv",
    "sargan",
    "just",
    "dynamic",
    "own",
)


# --- every kind of fit, in every form ------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_summary_shows_every_parameter(fits, kind):
    fit = fits[kind]
    rows = coefficients(fit)
    assert list(rows) == list(fit.names)
    for name, cells in rows.items():
        assert value(cells[0]) == pytest.approx(fit.params[name], rel=1e-3, abs=5.001e-5)
        error = fit.std_errors[name]
        assert (
            cells[1] == "n/a"
            if np.isnan(error)
            else value(cells[1]) == pytest.approx(error, rel=1e-3, abs=5.001e-5)
        )
        variance = name in ("sigma2", "phi")
        assert len(cells) == (4 if variance else 6)  # a variance is not tested against zero


@pytest.mark.parametrize("kind", KINDS)
def test_summary_is_not_wider_than_a_page(fits, kind):
    assert max(map(len, fits[kind].summary.splitlines())) <= 88


@pytest.mark.parametrize("kind", KINDS)
def test_html_says_what_the_text_says(fits, kind):
    fit = fits[kind]
    root = ET.fromstring(f"<div>{fit._repr_html_()}</div>")
    text = " ".join("".join(part.itertext()) for part in root.iter("p"))
    for name, fact in facts(fit).items():
        assert f"{name}: {fact}." in text
    assert notes(fit) in text
    assert len(root.findall(".//tbody/tr")) == len(fit.names)


def test_a_table_of_all_kinds_shows_every_number(fits):
    table = results_table(fits)
    body = table.body
    assert list(body.columns) == list(fits)
    for kind, fit in fits.items():
        shown = body[kind]
        estimates = shown.xs("estimate", level="statistic")
        own = estimates[estimates != ""].drop(["Direct", "Indirect", "Total"], errors="ignore")
        found = {name: value(cell) for (_, name), cell in own.items()}
        assert found.keys() == set(fit.names)
        for name in fit.names:
            assert found[name] == pytest.approx(fit.params[name], rel=1e-3, abs=5.001e-5)
        assert shown["Fit", "N", "value"] == f"{fit.nobs:,}"
        spills = fit.spec.has_lag or fit.spec.has_durbin
        for effect in ("Direct", "Indirect", "Total"):
            cells = estimates.loc[effect]
            assert (cells != "").all() == spills
            if spills:
                expected = getattr(fit.impacts(), effect.lower())["estimate"]
                assert [value(cell) for cell in cells] == pytest.approx(
                    expected[cells.index].tolist(), abs=5.001e-5
                )


def test_a_table_of_all_kinds_in_latex_and_html(fits):
    table = results_table(fits)
    code = table.to_latex()
    body = code.split("\\toprule")[1].split("\\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicol" not in line]
    assert {row.replace(r"\&", "").count("&") for row in rows} == {len(fits)}
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    assert code.count("$") % 2 == 0
    for label in (r"$\phi$", r"logc$_{t-1}$", r"$W{\times}$logc$_{t-1}$", r"$\lambda$"):
        assert rf"\quad {label} &" in code
    assert r"\quad First-stage F: $W{\times}$logc &" in code
    root = ET.fromstring(f"<div>{table.to_html()}</div>")
    labels = {"".join(head.itertext()) for head in root.findall(".//tbody//th")}
    assert {"φ", "logct−1", "W×logct−1", "First-stage F: W×logc", "λ", "ρ"} <= labels


# --- names, effects, likelihoods -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "effects", "likelihood"),
    [
        ("gaps", "two-way (state and year)", "transformed, score adjusted for the fixed effects"),
        ("gaps, ols", "two-way (state and year)", "transformed (Lee & Yu 2010)"),
        ("gns", "fixed, state", "transformed (Lee & Yu 2010)"),
        ("re", "random (state)", "maximum likelihood, random effects"),
        (
            "kkp",
            "random (state), Kapoor-Kelejian-Prucha",
            "maximum likelihood, random effects",
        ),
        (
            "baltagi",
            "correlated random (state), Baltagi-Song-Koh",
            "maximum likelihood, random effects",
        ),
        (
            "dynamic",
            "two-way (state and year)",
            "period effects transformed away, bias-corrected (Lee & Yu 2010)",
        ),
        ("own", "fixed, state", "transformed (Lee & Yu 2010), not bias-corrected"),
    ],
)
def test_effects_and_likelihood_in_words(fits, kind, effects, likelihood):
    found = facts(fits[kind])
    assert found["Effects"] == effects
    assert found["Likelihood"] == likelihood


def test_without_effects_nothing_is_transformed(data):
    fit = sa.sar(FORMULA, data.panel, data.queen, effects="none")
    assert facts(fit)["Likelihood"] == "maximum likelihood"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"likelihood": "direct"}, "direct, effects as dummies"),
        ({"effects": "entity"}, "direct, bias-corrected (Yu, de Jong & Lee 2008)"),
    ],
)
def test_likelihoods_of_other_fits(data, options, text):
    if "effects" in options:
        options = options | {"dynamic": "own"}
        panel = sa.Panel(
            data.panel.frame.assign(growth=lambda f: f["logc"].groupby("state").diff()).query(
                "year > 1963"
            ),
        )
        fit = sa.sar("growth ~ logp", panel, data.queen, **options)
    else:
        fit = sa.sar(FORMULA, data.panel, data.queen, **options)
    assert facts(fit)["Likelihood"] == text


def test_dynamic_models_have_their_name_and_blocks(fits):
    assert fits["dynamic"].summary.startswith("Dynamic spatial Durbin model (SDM): ")
    body = results_table(fits["dynamic"]).body
    assert body.index.unique(0)[0] == "Dynamics"
    assert body.loc["Dynamics"].index.unique(0).tolist() == ["logc(t-1)", "W*logc(t-1)"]
    assert body.loc["Wx"].index.unique(0).tolist() == ["W*logp", "W*logy"]
    found = fits["dynamic"].stability
    text = notes(fits["dynamic"])
    total = fits["dynamic"].params[["logc(t-1)", "W*logc(t-1)", "rho"]].sum()
    assert f"Stable: logc(t-1) + W*logc(t-1) + rho = {total:.4f}" in text
    assert f"standard error {found.std_error:.4f}" in text
    assert f"largest root {found.radius:.4f}" in text


def test_unstable_dynamics_are_called_so(fits):
    assert "NOT STABLE: rho + tau + eta" in notes(fits["own"])
    assert "Stable:" not in notes(fits["own"])


def test_effects_of_dynamic_models_say_their_horizon(fits):
    both = {"a": fits["dynamic"], "b": fits["re"]}
    assert "a: short-run effects." in " ".join(results_table(both).notes)
    impacts = {"a": effects_of(fits["dynamic"], horizon="long")}
    table = results_table(both, impacts)
    assert "a: long-run effects." in " ".join(table.notes)
    shown = table.body.loc[("Total", "logp", "estimate"), "a"]
    assert value(shown) == pytest.approx(impacts["a"].total.loc["logp", "estimate"], abs=5.001e-5)


# --- random effects ---------------------------------------------------------------------------


def test_phi_is_a_variance(fits):
    table = results_table({"re": fits["re"], "fe": fits["gns"]})
    assert table.body.loc["Variance"].index.unique(0).tolist() == ["phi", "sigma2"]
    assert "*" not in table.body.loc[("Variance", "phi", "estimate"), "re"]
    assert table.body.loc[("Variance", "phi", "estimate"), "fe"] == ""
    assert "phi and sigma2 carry none" in table.notes[0]
    assert any("phi: variance of the unit effects over sigma2" in note for note in table.notes)


def test_a_regressor_named_phi_is_no_variance(data):
    frame = data.panel.frame.rename(columns={"logp": "phi"})
    fit = sa.sar("logc ~ phi + logy", sa.Panel(frame), data.queen)
    assert results_table(fit).body.loc[("Main", "phi", "estimate"), "SAR"].endswith("***")
    assert "phi: variance" not in notes(fit)


def test_unit_means_have_a_block_of_their_own(fits):
    body = results_table(fits["cre"]).body
    names = body.loc["Unit means"].index.unique(0).tolist()
    assert names == ["mean(logp)", "mean(logy)", "W*mean(logp)", "W*mean(logy)"]
    assert body.loc["Main"].index.unique(0).tolist() == ["logp", "logy", "Intercept"]
    assert "Unit means of the regressors are included (Mundlak 1978)" in notes(fits["cre"])


def test_phi_at_zero_has_no_standard_error_and_says_why(data):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"y": rng.normal(size=1380), "x": rng.normal(size=1380)})
    frame.index = data.panel.frame.index
    means = frame["y"].groupby("state").transform("mean")
    fit = sa.sar(
        "y ~ x", sa.Panel(frame.assign(y=frame["y"] - means)), data.queen, effects="random"
    )
    assert fit.params["phi"] == 0.0
    assert coefficients(fit)["phi"] == ["0.0000", "n/a", "n/a", "n/a"]
    text = notes(fit)
    assert "phi is at its lower end, zero" in text
    assert "estimated variance is not positive" not in text


# --- standard errors --------------------------------------------------------------------------


def test_covariances_in_words(fits, data):
    regions = data.frame["region"].nunique()
    expected = {
        "gaps": f"clustered by region ({regions} clusters) and year (30 clusters)",
        "gaps, ols": "clustered by state (46 clusters)",
        "changing": f"Driscoll-Kraay, {int(4 * (30 / 100) ** (2 / 9))} lags",
        "sac": "Conley, Bartlett kernel, cutoff 500 km, 1 lag",
        "gns": "outer product of the scores",
        "re": "observed information",
        "bootstrap": "wild bootstrap by state, 9 draws",
        "iv": "clustered by state (46 clusters)",
        "sargan": "independent errors of one variance",
        "just": "robust to heteroskedasticity",
    }
    assert {kind: facts(fits[kind])["Standard errors"] for kind in expected} == expected


def test_more_covariances_in_words(data):
    units = data.panel.entities
    far = pd.DataFrame(1.0 - np.eye(46), index=units, columns=units)
    found = [
        facts(sa.ols(FORMULA, data.panel, cov=cov))["Standard errors"]
        for cov in (
            sa.DriscollKraay(lags=1),
            sa.Conley(0.5, distances=far, kernel="uniform"),
            sa.Clustered("year"),
            sa.Clustered(["entity", "year"]),
        )
    ]
    assert found == [
        "Driscoll-Kraay, 1 lag",
        "Conley, uniform kernel, cutoff 0.5",
        "clustered by year (30 clusters)",
        "clustered by state (46 clusters) and year (30 clusters)",
    ]


def test_what_the_rows_say_is_not_said_again(fits):
    text = notes(fits["changing"]) + notes(fits["bootstrap"]) + notes(fits["gaps"])
    for phrase in ("Driscoll-Kraay", "bootstrap by entity", "score of the likelihood"):
        assert phrase not in text


def test_a_missing_standard_error_is_explained(fits):
    assert "The wild bootstrap gives no standard error of sigma2." in notes(fits["bootstrap"])
    assert "n/a:" not in notes(fits["bootstrap"])
    fit = fits["re"]
    covariance = fit.covariance.copy()
    for name in ("logp", "rho"):
        covariance[fit.names.index(name), fit.names.index(name)] = -1.0
    broken = replace(fit, covariance=covariance)
    expected = "n/a: no standard error of logp, rho, whose estimated variance is not positive."
    assert expected in notes(broken)
    assert f"a: {expected}" in results_table({"a": broken, "b": fit}, impacts=False).notes


def test_an_effect_that_is_zero_has_no_standard_error_and_a_note_says_why(data):
    fit = sa.slx(FORMULA, data.panel, data.queen, durbin=["logp"])
    table = results_table(fit)
    assert table.body.loc[("Indirect", "logy", "z"), "SLX"] == "(n/a)"
    assert any("an effect that is zero in its model" in note for note in table.notes)


# --- weights and cells ------------------------------------------------------------------------


def test_every_matrix_is_named_by_its_part(fits, data):
    queen, near = "queen contiguity of the states", "6 nearest neighbours"
    text = notes(fits["sac"])
    assert re.search(rf"W: {queen}.*188 links.*W of the error process: {near}.*276 links", text)
    text = notes(fits["gns"])
    assert re.search(rf"W: {queen}.*W of the regressors: {near}", text)
    assert "W of the error process" not in text  # it is W itself
    assert "(46 units, 30 periods)" in notes(fits["changing"])
    only = sa.sem(FORMULA, data.panel, data.queen, W_error=data.near)
    assert queen not in notes(only)  # it plays no part in this model
    assert f"W of the error process: {near}" in notes(only)
    settings = " ".join(results_table({"sac": fits["sac"], "re": fits["re"]}).notes)
    assert re.search(rf"W: {queen}.*links\)\. W of the error process: {near}.* in sac\.", settings)


def test_cells_that_are_left_out_are_counted_and_named(fits, data):
    found, counts = facts(fits["gaps"]), data.frame.groupby("state").size()
    assert found["Entities (state)"] == "46"
    assert found["Periods (year)"] == "30 (1963 to 1992)"
    assert found["Observations"] == f"{len(data.frame):,} of 1,380 cells"
    assert found["Periods per state"] == (
        f"{counts.min()} to {counts.max()}, mean {counts.mean():.1f}"
    )
    missing = fits["gaps"].missing
    assert f"{len(missing)} of 1380 (entity, time) cells are missing" in notes(fits["gaps"])
    assert repr(missing[0]).replace("np.int64(", "").replace("))", ")") in notes(fits["gaps"])


def test_units_and_periods_without_any_cell_do_not_count(data):
    frame = data.panel.frame.reset_index()
    lost = (frame["state"] == "Utah") | (frame["year"] == 1963)
    panel = sa.Panel(
        frame.assign(logy=frame["logy"].mask(lost)),
        entity="state",
        time="year",
        unbalanced="allow",
    )
    found = facts(sa.ols(FORMULA, panel))
    assert found["Entities (state)"] == "45"
    assert found["Periods (year)"] == "29 (1964 to 1992)"
    assert found["Periods per state"] == "29 to 29, mean 29.0"


def test_the_table_counts_units_and_periods_where_they_differ(fits, data):
    body = results_table({"a": fits["gaps"], "b": fits["re"]}).body.loc["Fit"]
    counts = data.frame.groupby("state").size()
    expected = {
        "N": (f"{len(data.frame):,}", "1,380"),
        "Units": ("46", "46"),
        "Periods": ("30", "30"),
        "Periods per unit, min": (str(counts.min()), ""),
        "Periods per unit, mean": (f"{counts.mean():.1f}", ""),
        "Periods per unit, max": (str(counts.max()), ""),
    }
    for row, cells in expected.items():
        assert tuple(body.loc[(row, "value")]) == cells
    assert body.index.unique(0).tolist() == [*expected, "R2", "Log-likelihood"]
    shorter = results_table({"a": fits["dynamic"], "b": fits["re"]}).body.loc["Fit"]
    assert tuple(shorter.loc[("Periods", "value")]) == ("29", "30")
    assert "Units" not in results_table({"a": fits["sac"], "b": fits["re"]}).body.loc["Fit"].index


# --- two-stage least squares ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["iv", "sargan", "just"])
def test_two_stage_least_squares_has_no_likelihood(fits, kind):
    found = facts(fits[kind])
    assert found["Estimator"] == "two-stage least squares"
    assert not {"Likelihood", "Log-likelihood", "AIC", "BIC"} & found.keys()
    assert "nan" not in fits[kind].summary.lower()
    body = results_table({"2sls": fits[kind], "ml": fits["re"]}).body
    assert body.loc[("Fit", "Log-likelihood", "value"), "2sls"] == ""
    assert body.loc[("Fit", "Log-likelihood", "value"), "ml"] == f"{fits['re'].loglik:,.2f}"
    assert "Log-likelihood" not in results_table(fits[kind]).body.loc["Fit"].index


@pytest.mark.parametrize("kind", ["iv", "sargan", "just"])
def test_the_instruments_and_their_tests_are_shown(fits, kind):
    fit = fits[kind]
    found, body = facts(fit), results_table({kind: fit}).body.loc["Instruments", kind]
    for name, row in fit.first_stage.iterrows():
        for cell in (found[f"First-stage F: {name}"], body[f"First-stage F: {name}", "value"]):
            assert float(cell) == pytest.approx(row["conditional_F"], abs=5.001e-3)
    name = fit.underidentification.index[0]
    assert float(body[f"{name} F", "value"]) == pytest.approx(
        fit.underidentification["F"].iloc[0], abs=5.001e-3
    )
    tests = {**fit.overidentification.T, "Durbin-Wu-Hausman": fit.endogeneity.loc["all"]}
    assert ("Sargan" in body) == (kind == "sargan")
    assert ("Hansen J" in body) == (kind == "iv")
    for name, row in tests.items():
        statistic, p = body[name, "statistic"], body[name, "p"]
        assert found[name] == f"{statistic} {p}"
        assert value(statistic) == pytest.approx(row["statistic"], abs=5.001e-4)
        assert value(p) == pytest.approx(max(row["p_value"], 0.001), abs=5.001e-4)
    assert f"instruments: {', '.join(fit.instruments)}" in notes(fit).replace("\n", " ")


def test_rows_of_instruments_keep_their_order(fits):
    for order in (("just", "iv", "sargan"), ("sargan", "iv", "just")):
        rows = results_table({kind: fits[kind] for kind in order}).body.loc["Instruments"]
        kinds = list(dict.fromkeys(row.split(":")[0] for row in rows.index.unique(0)))
        assert kinds == [
            "First-stage F",
            "Cragg-Donald F",
            "Kleibergen-Paap rk F",
            "Sargan",
            "Hansen J",
            "Durbin-Wu-Hausman",
        ]


def test_mixed_columns_tell_likelihood_and_estimator_apart(fits):
    text = " ".join(results_table({"ML": fits["bootstrap"], "IV": fits["iv"]}).notes)
    assert "Likelihood: transformed (Lee & Yu 2010) in ML." in text
    assert "Estimator: two-stage least squares in IV." in text
    assert "IV: endogenous: logp, W*logc; instruments: " in text
    assert "loglik, aic" not in text


def test_a_table_goes_without_effects_that_do_not_exist(fits):
    fit = fits["sargan"]
    values = fit.values.copy()
    values[-1] = 1.2
    outside = replace(fit, values=values)
    table = results_table({"a": outside, "b": fit})
    assert (table.body.loc[["Direct", "Indirect", "Total"], "a"] == "").all()
    assert (table.body.loc[["Direct", "Indirect", "Total"], "b"] != "").all()
    assert "a: rho lies outside the parameter space, so effects do not exist." in table.notes


def test_brackets_hang_like_parentheses():
    index = pd.MultiIndex.from_tuples([("A", "J", "statistic"), ("A", "J", "p")])
    table = Table("", pd.DataFrame({"x": ["1.185", "[0.757]"]}, index=index))
    lines = table.to_text().splitlines()
    assert lines[-3].index(".185") == lines[-2].index(".757")
    assert r"& [0.757\rlap{]} \\" in table.to_latex()
    assert "<td>[0.757<span>]</span></td>" in table.to_html()


# --- gaps in Moran's I and its picture ----------------------------------------------------------


def test_moran_table_of_a_panel_with_gaps(data):
    found = sa.esda.moran(data.gaps, "logc", data.near, missing="nan")
    table = moran_table(found)
    empty = found["I"].isna().to_numpy()
    assert empty.any()
    assert not empty.all()
    assert (table.body.iloc[empty] == ["n/a", "(n/a)"]).all(axis=None)
    assert any(note.startswith("n/a: not defined") for note in table.notes)
    assert any("expected to be -0.022" in note for note in table.notes)


def test_moran_scatter_names_the_units_that_are_missing(data):
    lost = data.gaps.index(~data.gaps.present)
    state, year = lost[0]
    with pytest.raises(DataError, match=rf"missing in period {year} for .*'{state}'"):
        moran_scatter(data.gaps, "logc", data.near, time=year)
