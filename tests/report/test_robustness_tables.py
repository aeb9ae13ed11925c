"""Tables of specifications and of groups hold the numbers of what they are made of."""

import numpy as np
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import OptionError
from spatial_agglo.report.describe import likelihood_text
from spatial_agglo.report.robustness_tables import (
    groups_table,
    regimes_table,
    sensitivity_table,
)
from spatial_agglo.robustness import by_group, regimes, sensitivity

FORMULA = "logc ~ logp + logy"


@pytest.fixture(scope="module")
def panel():
    df = sa.datasets.cigarettes().assign(late=lambda d: d["year"] > 1977)
    return sa.Panel(df, entity="state", time="year")


@pytest.fixture(scope="module")
def found(panel):
    names = {"Queen": "cigarettes_queen", "Near": "cigarettes_5_nearest"}
    W = {key: sa.datasets.weights(name).standardize("row") for key, name in names.items()}
    samples = {"all": None, "apart": ["Maine", "Texas", "Ohio"]}
    return sensitivity(FORMULA, panel, W, models=["ols", "sdm"], samples=samples)


def test_specifications_side_by_side(found):
    body = found.table().body
    assert list(body.columns) == [
        ("Queen", "SDM, all"),
        ("Queen", "SDM, apart"),
        ("Near", "SDM, all"),
        ("Near", "SDM, apart"),
        ("no W", "OLS, all"),
        ("no W", "OLS, apart"),
    ]
    frame = found.to_frame()
    keys = (frame["W"] == "Near") & (frame["sample"] == "all") & (frame["variable"] == "logy")
    row = frame[keys & (frame["effect"] == "indirect")].iloc[0]
    cells = body.loc[("Indirect", "logy"), ("Near", "SDM, all")].tolist()
    assert cells[0].startswith(f"{row['estimate']:.4f}*")
    assert cells[1] == f"({row['z']:.2f})"
    assert body.loc[("Spatial", "rho", "estimate"), ("Near", "SDM, all")].startswith(
        f"{row['rho']:.4f}"
    )
    assert body.loc[("Fit", "Log-likelihood", "value"), ("Near", "SDM, all")] == (
        f"{row['loglik']:,.2f}"
    )


def test_failures_are_dashes_with_a_note(found):
    table = found.table()
    assert (table.body[("Queen", "SDM, apart")] == "—").all()
    notes = " ".join(table.notes)
    assert "Not estimated: Queen, SDM, apart; Near, SDM, apart. WeightsError" in notes or (
        "Not estimated: Queen, SDM, apart. WeightsError" in notes
    )
    assert (table.body[("no W", "OLS, apart")] != "—").all()


def test_what_a_model_fixes_is_blank(found):
    body = found.table().body
    assert body.loc[("Indirect", "logp"), ("no W", "OLS, all")].tolist() == ["", ""]
    assert body.loc[("Total", "logp", "estimate"), ("no W", "OLS, all")] != ""


def test_variables_effects_and_parentheses_can_be_chosen(found):
    body = found.table(["logy"], ["total", "direct"], parentheses="se", decimals=2).body
    assert list(dict.fromkeys(body.index.get_level_values(0)))[:2] == ["Total", "Direct"]
    assert set(body.loc["Total"].index.get_level_values(0)) == {"logy"}
    frame = found.to_frame()
    row = frame[(frame["variable"] == "logy") & (frame["effect"] == "total")].iloc[0]
    cells = body.loc[("Total", "logy"), ("Queen", "SDM, all")].tolist()
    assert cells[0].startswith(f"{row['estimate']:.2f}")
    assert cells[1] == f"({row['se']:.2f})"


def test_every_form_can_be_written(found, tmp_path):
    table = found.table(["logp"])
    paths = table.save(tmp_path, "robustness")
    assert [path.suffix for path in paths] == [".csv", ".tex", ".html"]
    assert "Five" not in table.to_latex()
    assert r"\multicolumn{2}" in table.to_latex()
    assert "Queen" in found._repr_html_()
    assert "2 failed" in repr(found)


def test_one_dimension_has_one_line_of_headings(panel, queen):
    found = sensitivity(FORMULA, panel, queen, models=["sar", "sdm"])
    assert list(found.table().body.columns) == ["SAR", "SDM"]
    alone = sensitivity(FORMULA, panel, queen)
    assert list(alone.table().body.columns) == ["SDM"]


@pytest.mark.parametrize(
    "options",
    [
        {"variables": ["price"]},
        {"variables": []},
        {"effects": ["spillover"]},
        {"effects": []},
        {"parentheses": "t"},
        {"decimals": -1},
        {"decimals": True},
        {"effects": None},
        {"variables": "logp"},
        {"variables": 3},
    ],
)
def test_bad_options(found, options):
    with pytest.raises(OptionError):
        found.table(**options)


def test_groups_side_by_side(panel, queen):
    found = by_group("sdm", FORMULA, panel, queen, groups="late")
    table = found.table()
    tests = found.differences()
    for block, kind in (("Main", "coefficient"), ("Indirect", "indirect"), ("Total", "total")):
        shown = table.body.loc[(block, "logp", "estimate"), "Equal: p"]
        p = tests.loc[(kind, "logp"), "p_value"]
        assert shown == ("<0.001" if p < 0.001 else f"{p:.3f}")
    assert table.body.loc[("Main", "logp", "z"), "Equal: p"] == ""
    rho = table.body.loc[("Spatial", "rho", "estimate"), "False"]
    assert rho.startswith(f"{found.fits['False'].rho:.4f}")
    joint = tests.loc[("joint", "all coefficients")]
    note = table.notes[-1]
    assert f"chi2(5) = {joint['statistic']:.2f}" in note
    assert "not correlated over time" in note
    assert np.isfinite(joint["statistic"])
    assert "<table" in found._repr_html_()
    assert "Equal: p" in repr(found)


def test_the_likelihood_is_said_as_the_effects_have_it(panel, queen):
    """In the words that the table of a fit has for it."""

    def words(**options):
        return " ".join(sensitivity(FORMULA, panel, queen, models=["sar"], **options).table().notes)

    for effects in ("random", "none", "two-way"):
        text = likelihood_text(sa.sar(FORMULA, panel, queen, effects=effects))
        assert f"likelihood: {text};" in words(effects=effects)
    assert (
        "likelihood: transformed (Lee & Yu 2010) (two-way, entity effects), maximum likelihood, "
        "random effects (random effects);"
    ) in words(effects=["two-way", "random", "entity"])
    gaps = sa.Panel(panel.frame.iloc[1:], unbalanced="allow")
    fit = sa.sar(FORMULA, gaps, queen)
    assert "adjusted" in likelihood_text(fit)
    notes = " ".join(sensitivity(FORMULA, gaps, queen, models=["sar"]).table().notes)
    assert f"likelihood: {likelihood_text(fit)};" in notes


def test_tables_of_something_else(found, panel):
    fit = sa.ols(FORMULA, panel)
    split = regimes("ols", FORMULA, panel, groups="late")
    for table, wrong in (
        (sensitivity_table, (None, fit, split)),
        (groups_table, (None, fit, found)),
        (regimes_table, (None, fit, found)),
    ):
        for given in wrong:
            with pytest.raises(OptionError, match=f"needed; got {type(given).__name__}"):
                table(given)
