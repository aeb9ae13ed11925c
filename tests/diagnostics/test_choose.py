"""choose_model: its table, its strategies, its path, and what it refuses."""

import itertools
import json
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from conftest import FORMULA

import spatial_agglo as sa
from spatial_agglo.diagnostics.path import DecisionPath
from spatial_agglo.diagnostics.posterior import Beta, model_probabilities
from spatial_agglo.diagnostics.strategies import NESTED, NOT_NESTED, Case, elhorst
from spatial_agglo.errors import (
    BoundaryError,
    FormulaError,
    IdentificationError,
    OptionError,
    WeightsError,
)

#: The package gives the name of the module to the function.
hausman_module = import_module("spatial_agglo.diagnostics.hausman")
LAYOUT = [
    "Moran's I",
    "LM error",
    "robust LM error",
    "LM lag",
    "robust LM lag",
    "LR SDM/SAR",
    "LR SDM/SEM",
    "Wald SDM/SAR",
    "Wald SDM/SEM",
    "LR two-way/entity",
    "LR two-way/time",
    "Hausman",
]


@pytest.fixture(scope="module")
def choice(cigarettes, queen):
    return sa.choose_model(FORMULA, cigarettes, queen)


@pytest.fixture(scope="module")
def raw():
    return sa.datasets.weights("cigarettes_inverse_distance")


# --- the table ----------------------------------------------------------------------------


def test_the_published_layout(choice):
    assert list(choice.table.index) == LAYOUT
    assert list(choice.table.columns) == ["statistic", "df", "p_value"]
    df = choice.table["df"]
    assert df.iloc[1:].tolist() == [1, 1, 1, 1, 2, 2, 2, 2, 29, 45, 4]
    assert pd.isna(df.iloc[0])


def test_rows_are_those_of_the_single_tests(cigarettes, queen, choice):
    sdm = sa.sdm(FORMULA, cigarettes, queen)
    single = pd.concat(
        [
            sa.lm_tests(FORMULA, cigarettes, queen),
            sa.lr_tests(sdm),
            sa.wald_tests(sdm),
            sa.effects_tests(FORMULA, cigarettes, queen),
        ]
    )
    names = [name for name in LAYOUT if name in single.index]
    assert len(names) == 10
    pd.testing.assert_frame_equal(
        choice.table.loc[names], single.loc[names], check_index_type=False
    )
    moran = sa.residual_moran(FORMULA, cigarettes, queen)
    assert choice.table.loc["Moran's I", "statistic"] == pytest.approx(moran["z"])
    hausman = hausman_module.hausman(FORMULA, cigarettes, queen, effects="two-way")
    assert choice.table.loc["Hausman"].tolist() == hausman.iloc[0].tolist()


@pytest.mark.parametrize("effects", ["entity", "two-way"])
def test_the_table_in_r(cigarettes, queen, reference, effects):
    """LM tests, Wald and LR as splm and Elhorst's routines make them."""
    key = {"entity": "individual", "two-way": "twoways"}[effects]
    numbers = reference("cigarettes_r")
    lm = numbers["ols_lm"][key]["LM_pooledM"]["stat"]
    sdm = numbers["exact_ml"][key]["uncorrected"]["tests_SDM"]
    table = sa.choose_model(
        FORMULA, cigarettes, queen, effects=effects, likelihood="direct-demeaned", cov="expected"
    ).table["statistic"]
    expected = {
        "LM error": lm["LMerr"], "robust LM error": lm["RLMerr"],
        "LM lag": lm["LMlag"], "robust LM lag": lm["RLMlag"],
        "LR SDM/SAR": sdm["lr_lag"], "LR SDM/SEM": sdm["lr_err"],
        "Wald SDM/SAR": sdm["wald_lag"], "Wald SDM/SEM": sdm["wald_err"],
    }  # fmt: skip
    np.testing.assert_allclose(table[list(expected)], list(expected.values()), rtol=1e-6)


@pytest.mark.parametrize(
    ("effects", "last"),
    [
        ("none", []),
        ("entity", ["LR entity/none", "Hausman"]),
        ("time", ["LR time/none"]),
    ],
)
def test_rows_of_other_effects(cigarettes, queen, effects, last):
    table = sa.choose_model(FORMULA, cigarettes, queen, effects=effects).table
    assert list(table.index) == LAYOUT[:9] + last


def test_every_row_knows_its_null(choice):
    about = choice.table.attrs["tests"]
    assert list(about) == LAYOUT
    assert about["Wald SDM/SEM"]["null"] == "theta + rho beta = 0 (common factor)"
    assert about["Hausman"]["distribution"] == "4 F(4, 41)"  # 46 units, a period mean, 4 unit means
    assert about["Moran's I"]["distribution"] == "standard normal"
    assert about["LR two-way/entity"]["distribution"].startswith("chi2(29) of 0.9")
    assert all(entry["source"] for entry in about.values())


def test_a_test_that_cannot_be_made_is_left_out_and_said(monkeypatch, cigarettes, queen):
    def fails(*_, **__):
        raise BoundaryError("no variance of the unit effects.")

    monkeypatch.setattr(hausman_module, "hausman_table", fails)
    found = sa.choose_model(FORMULA, cigarettes, queen)
    assert list(found.table.index) == LAYOUT[:-1]
    assert found.notes == ("Hausman left out: no variance of the unit effects.",)
    assert "Hausman left out" in repr(found)


# --- Elhorst's strategy -------------------------------------------------------------------

TESTS = [
    "LM lag", "LM error", "robust LM lag", "robust LM error",
    "LR SDM/SAR", "Wald SDM/SAR", "LR SDM/SEM", "Wald SDM/SEM",
    "LR SLX/OLS", "LR SDM/SLX", "Wald SDM/SLX",
]  # fmt: skip
FIVE = ["ols", "slx", "sar", "sem", "sdm"]


def case(rejected, larger="lag", aic=(), nested=True, sem=True, moran=None):
    """A table in which some tests reject; of the robust LM tests one statistic is larger."""
    p = pd.Series(0.5, index=["Moran's I", *TESTS])
    p[list(rejected)] = 0.01
    if moran is None:
        moran = bool({"LM lag", "LM error"} & set(rejected))
    p["Moran's I"] = 0.01 if moran else 0.5
    statistic = pd.Series(1.0, index=p.index)
    statistic[f"robust LM {larger}"] = 2.0
    tests = pd.DataFrame({"statistic": statistic, "df": pd.array([1] * 12, "Int64"), "p_value": p})
    names = [name for name in FIVE if sem or name != "sem"]
    values = pd.Series(0.0, index=names).add(pd.Series(dict(aic), dtype=float), fill_value=0.0)
    criteria = pd.DataFrame({"aic": values.loc[names], "bic": values.loc[names]})
    return Case(tests, criteria, 0.05, nested, "" if nested else "The SEM is not nested.")


def by_the_book(rejected, larger):
    """Elhorst (2010), Raising the bar, p. 16, in one expression for each of his conditions."""
    if not {"LM lag", "LM error"} & rejected:
        if "LR SLX/OLS" not in rejected:
            return "ols"
        return "sdm" if {"LR SDM/SLX", "Wald SDM/SLX"} & rejected else "slx"
    lag, error = ("robust LM lag" in rejected, "robust LM error" in rejected)
    points = larger if lag and error else "lag" if lag else "error" if error else None
    theta = {"LR SDM/SAR", "Wald SDM/SAR"} & rejected
    factor = {"LR SDM/SEM", "Wald SDM/SEM"} & rejected
    if not theta and points == "lag":
        return "sar"
    if not factor and points == "error":
        return "sem"
    return "sdm"


def test_every_constellation_of_tests():
    rng = np.random.default_rng(0)
    reached = set()
    for _ in range(400):
        rejected = {name for name in TESTS if rng.uniform() < 0.5}
        if rng.uniform() < 0.4:
            rejected -= {"LM lag", "LM error"}
        larger = str(rng.choice(["lag", "error"]))
        path = elhorst(case(rejected, larger))
        assert path.chosen == by_the_book(rejected, larger)
        reached.add((path.steps[-1].question.key, path.chosen))
        _check_walk(path, NESTED)
        for name in ("SAR", "SEM"):
            asked = any(step.question.key == "simplify" for step in path.steps)
            split = len({f"LR SDM/{name}", f"Wald SDM/{name}"} & rejected) == 1
            said = any(
                f"disagree on simplifying the SDM to the {name}" in t for t in path.sentences
            )
            assert said == (asked and split)
            assert said == any(f"to the {name} (" in t for t in path.disagreements)
    ends = {(q.key, b.to) for q in NESTED for b in q.branches if b.to in FIVE}
    assert reached == ends


def _check_walk(path, tree):
    """Every step begins where the one before it led, and the last one leads to a model."""
    assert path.steps[0].question is tree[0]
    for one, two in itertools.pairwise(path.steps):
        assert one.taken.to == two.question.key
    for step in path.steps:
        assert step.taken in step.question.branches
        assert step.evidence
        assert step.sentences
    assert path.chosen in FIVE
    assert path.sentences[-1].endswith(f": {path.chosen.upper()}.")


def test_trees_have_no_loose_ends():
    for tree in (NESTED, *NOT_NESTED.values()):
        keys = {question.key for question in tree}
        for question in tree:
            targets = [branch.to for branch in question.branches]
            assert len(set(targets)) == len(targets) > 1
            assert set(targets) <= keys | set(FIVE)
        led_to = {branch.to for question in tree for branch in question.branches}
        assert keys - led_to == {tree[0].key}


@pytest.mark.parametrize(
    ("rejected", "options", "model"),
    [
        ({"LM lag", "robust LM lag"}, {}, "sar"),
        ({"LM lag", "robust LM lag", "Wald SDM/SAR"}, {}, "sdm"),
        ({"LM lag", "robust LM error"}, {"aic": {"sem": -9.0}}, "sem"),
        ({"LM lag", "robust LM error"}, {"aic": {"sdm": -9.0}}, "sdm"),
        ({"LM lag", "robust LM error"}, {"sem": False}, "sdm"),
        ({"LM error"}, {}, "sdm"),
        (set(), {}, "ols"),
    ],
)
def test_where_the_sem_is_not_nested(rejected, options, model):
    path = elhorst(case(rejected, nested=False, **options))
    assert path.chosen == model
    _check_walk(path, NOT_NESTED[options.get("sem", True)])
    names = [item.name for step in path.steps for item in step.evidence]
    assert not [name for name in names if name.endswith("SDM/SEM")]
    if "LM lag" in rejected:
        assert "The SEM is not nested." in path.sentences
    if options.get("sem") is False:
        assert "cannot be estimated" in path.disagreements[0]


def test_criteria_that_prefer_another_model_are_named():
    path = elhorst(case({"LM lag", "robust LM lag"}, aic={"sem": -5.0, "sdm": -9.0}))
    assert path.chosen == "sar"
    assert path.disagreements == ("By AIC and BIC it would be the SDM.",)
    assert path.sentences[-2] == path.disagreements[0]
    path = elhorst(case({"LM lag", "robust LM lag"}, aic={"sar": -9.0}))
    assert path.disagreements == ()


def test_an_sdm_without_spillovers_of_the_outcome_is_named():
    everything = {"LM lag", *TESTS[4:9]}
    path = elhorst(case(everything - {"LR SDM/SLX", "Wald SDM/SLX"}, aic={"sdm": -1.0}))
    assert path.chosen == "sdm"
    assert path.disagreements == (
        "In the SDM rho is not significant (LR SDM/SLX: p = 0.500, Wald SDM/SLX: p = 0.500).",
    )
    assert elhorst(case({*everything, "LR SDM/SLX"}, aic={"sdm": -1.0})).disagreements == ()


def test_moran_that_says_otherwise_is_named():
    path = elhorst(case(set(), aic={"ols": -1.0}, moran=True))
    assert path.disagreements == ("Moran's I says otherwise (p = 0.010).",)
    assert path.chosen == "ols"


def test_robust_tests_that_are_not_defined_point_nowhere():
    found = case({"LM lag", "Wald SDM/SLX"}, aic={"sdm": -1.0})
    found.tests.loc[["robust LM lag", "robust LM error"], ["statistic", "p_value"]] = np.nan
    path = elhorst(found)
    assert path.chosen == "sdm"
    assert "not defined" in path.sentences[-1]


# --- on data ------------------------------------------------------------------------------

TRUE = {
    "ols": {},
    "slx": {"theta": [0.6, -0.6]},
    "sar": {"rho": 0.4},
    "sem": {"lam": 0.5},
    "sdm": {"rho": 0.4, "theta": [0.6, 0.6]},
    "sdem": {"lam": 0.5, "theta": [0.6, 0.6]},
    "sac": {"rho": 0.5, "lam": 0.4},
    "gns": {"rho": 0.5, "lam": 0.4, "theta": [0.8, -0.8]},
}


@pytest.fixture(scope="module")
def samples(queen):
    return {
        model: sa.simulate(model, queen, 25, beta=[1.0, 0.5], sigma=0.5, seed=7, **options).panel
        for model, options in TRUE.items()
    }


@pytest.mark.parametrize("effects", ["none", "entity", "time", "two-way"])
@pytest.mark.parametrize("model", ["ols", "sar", "sem", "sdm"])
def test_elhorst_finds_the_true_model(queen, model, effects):
    panel = sa.simulate(
        model, queen, 25, beta=[1.0, 0.5], effects=effects, seed=7, **TRUE[model]
    ).panel
    found = sa.choose_model("y ~ x1 + x2", panel, queen, effects=effects, alpha=0.01)
    assert found.chosen == model
    assert found.fit is found.fits[model]


@pytest.mark.parametrize("strategy", ["bic", "posterior"])
@pytest.mark.parametrize("model", list(TRUE))
def test_criteria_find_the_true_model_of_eight(samples, queen, model, strategy):
    found = sa.choose_model("y ~ x1 + x2", samples[model], queen, strategy=strategy)
    assert found.chosen == model
    assert list(found.criteria.index) == list(TRUE) == list(found.fits)[:8]


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
@pytest.mark.parametrize("model", ["ols", "slx", "sar", "sem", "sdm"])
def test_how_often_elhorst_finds_the_true_model(queen, model, likelihood):
    """Tests at 5%, so that about one in seven samples of a simple model is rejected somewhere.

    75 is three standard errors below.
    The LM tests have power against omitted lags of regressors, whose nearest model on the path
    is the SDM: it may be taken for the SLX.
    """
    hits = 0
    for seed in range(100):
        panel = sa.simulate(model, queen, 25, beta=[1.0, 0.5], seed=seed, **TRUE[model]).panel
        found = sa.choose_model("y ~ x1 + x2", panel, queen, likelihood=likelihood).chosen
        hits += found == model or (model == "slx" and found == "sdm")
    assert hits >= 75


def test_the_cigarettes(choice):
    assert choice.chosen == "sdm"
    assert [step.question.key for step in choice.path.steps] == ["dependence", "simplify"]
    assert choice.verdict == " ".join(choice.steps)
    assert choice.verdict.endswith("Both simplifications fail: SDM.")
    assert "By BIC it would be the SEM." in choice.steps
    assert choice.fit.model == "sdm"
    assert set(choice.fits) == set(FIVE) == set(choice.criteria.index)
    assert choice.alpha == 0.05
    assert choice.notes == ()


@pytest.mark.parametrize("strategy", ["aic", "bic"])
def test_the_lowest_criterion_is_taken(cigarettes, queen, strategy):
    found = sa.choose_model(FORMULA, cigarettes, queen, strategy=strategy)
    values = {name: getattr(fit, strategy) for name, fit in found.fits.items()}
    assert found.chosen == min(values, key=values.get) == "gns"
    assert found.criteria[strategy].to_dict() == pytest.approx(values)
    assert "weakly identified" in found.verdict
    assert "By Elhorst's strategy it would be the SDM." in found.path.disagreements
    assert list(found.table.index) == LAYOUT


def test_candidates_may_be_named(cigarettes, queen):
    found = sa.choose_model(
        FORMULA, cigarettes, queen, strategy="aic", models=["sdem", "sdm", "sar"]
    )
    assert found.chosen == "sdm"
    assert list(found.criteria.index) == ["sdem", "sdm", "sar"]
    assert [item.name for item in found.path.steps[0].evidence] == ["SDM", "SDEM", "SAR"]
    assert "The SDEM is within 2 of it, hardly a difference." in found.steps
    only = sa.choose_model(FORMULA, cigarettes, queen, strategy="aic", models=["sem"])
    assert only.chosen == "sem"


def test_posterior_probabilities_are_those_of_the_function(cigarettes, queen):
    options = {"prior": Beta(1.5), "coefficients": "flat"}
    found = sa.choose_model(FORMULA, cigarettes, queen, strategy="posterior", **options)
    table = model_probabilities(FORMULA, cigarettes, queen, **options).droplevel("W")
    for column in table:
        np.testing.assert_allclose(found.criteria[column], table.loc[found.criteria.index, column])
    assert found.notes[-1].startswith("Priors: rho and lambda: beta(1.5, 1.5)")


def test_random_effects_by_criterion(cigarettes, queen):
    found = sa.choose_model(FORMULA, cigarettes, queen, effects="random", strategy="bic")
    values = {name: fit.bic for name, fit in found.fits.items()}
    assert found.chosen == min(values, key=values.get)
    assert list(found.table.index) == [*LAYOUT[5:9], "Hausman"]
    assert any(note.startswith("LM tests left out") for note in found.notes)


def test_gaps_by_criterion(queen):
    frame = sa.datasets.cigarettes().drop(index=[5, 100, 700])
    panel = sa.Panel(frame, entity="state", time="year", unbalanced="allow")
    found = sa.choose_model(FORMULA, panel, queen, strategy="aic", models=["ols", "sar", "sdm"])
    assert found.chosen == "sdm"
    assert list(found.table.index) == LAYOUT[:-1]
    by_tests = sa.choose_model(FORMULA, panel, queen)
    pd.testing.assert_frame_equal(by_tests.table, found.table)
    full = sa.choose_model(
        FORMULA, sa.Panel(sa.datasets.cigarettes(), entity="state", time="year"), queen
    )
    assert by_tests.chosen == full.chosen  # three cells of 1380


def test_weights_that_rule_out_the_error_process(cigarettes, raw):
    """Period effects, W not row-standardised: no SEM, and the reason is said."""
    found = sa.choose_model(FORMULA, cigarettes, raw)
    assert found.chosen == "sdm"
    assert "sem" not in found.fits
    assert "LR SDM/SEM" not in found.table.index
    assert found.notes[0].startswith("SEM not estimated")
    assert any("period effects and W is not row-standardised" in step for step in found.steps)
    found = sa.choose_model(FORMULA, cigarettes, raw, strategy="bic")
    assert found.steps[0] == "Not estimated, and left out: SEM, SDEM, SAC, GNS."
    assert len(found.notes) == 4


def test_sem_against_sdm_by_aic(cigarettes, raw):
    found = sa.choose_model(FORMULA, cigarettes, raw, effects="none")
    assert any("there is an intercept" in step for step in found.steps)
    last = found.path.steps[-1]
    assert last.question.key == "criterion"
    aic = {item.name: item.value for item in last.evidence}
    assert aic == {
        "AIC of the SEM": found.fits["sem"].aic,
        "AIC of the SDM": found.fits["sdm"].aic,
    }
    assert found.chosen == min(("sem", "sdm"), key=lambda name: found.fits[name].aic)


def test_lags_of_some_regressors(cigarettes, queen):
    found = sa.choose_model(FORMULA, cigarettes, queen, durbin=["logp"])
    assert found.fits["sdm"].names == ("logp", "logy", "W*logp", "rho", "sigma2")
    assert found.fits["sar"].names == ("logp", "logy", "rho", "sigma2")
    assert found.table.loc["LR SDM/SAR", "df"] == 1
    assert "LR SDM/SEM" not in found.table.index
    assert any("not all regressors are lagged" in step for step in found.steps)


def test_candidates_that_cannot_be_estimated_are_left_out(queen):
    """A regressor that is the spatial lag of another leaves nothing for the Durbin models."""
    sample = sa.simulate("sar", queen, 8, beta=[1.0, 0.5], rho=0.4, seed=0).panel.frame
    x = sample["x1"].unstack(0)[list(queen.ids)]
    lagged = pd.DataFrame(x.to_numpy() @ queen.matrix.toarray().T, x.index, x.columns)
    sample["neighbours"] = lagged.unstack()
    panel = sa.Panel(sample)
    formula = "y ~ x1 + neighbours"
    found = sa.choose_model(formula, panel, queen, strategy="aic")
    assert found.chosen == "sar"
    assert found.steps[0] == "Not estimated, and left out: SLX, SDM, SDEM, GNS."
    assert found.notes[0].startswith("SLX not estimated: The regressor 'W*x1'")
    assert "LR tests of the SDM left out: the SDM could not be estimated." in found.notes
    assert "LM lag" in found.table.index
    assert not [name for name in found.table.index if "SDM" in name]
    with pytest.raises(IdentificationError, match=r"W\*x1"):
        sa.choose_model(formula, panel, queen, strategy="aic", models=["slx", "sdm"])
    with pytest.raises(IdentificationError, match=r"W\*x1"):
        sa.choose_model(formula, panel, queen)


def test_a_likelihood_ratio_never_decides_between_models_that_are_not_nested(samples, queen):
    allowed = {"SDM/SAR", "SDM/SEM", "SDM/SLX", "SLX/OLS"}
    for panel in samples.values():
        path = sa.choose_model("y ~ x1 + x2", panel, queen).path
        names = [item.name for step in path.steps for item in step.evidence]
        assert {name.split()[-1] for name in names if name.startswith("LR ")} <= allowed


# --- the path as an object ----------------------------------------------------------------


def test_the_path_as_a_frame(choice):
    frame = choice.path.to_frame()
    assert list(frame.index.get_level_values("step")) == [1, 1, 2, 2, 2, 2]
    rows = frame.droplevel("step")
    expected = choice.table.loc[rows.index]
    pd.testing.assert_frame_equal(rows[["statistic", "df", "p_value"]], expected, check_names=False)
    assert frame.loc[(2, "LR SDM/SAR"), ["answer", "next"]].tolist() == ["no", "SDM"]


def test_the_path_exports(choice):
    found = json.loads(json.dumps(choice.path.to_dict()))
    assert found["chosen"] == "sdm"
    assert [step["answer"] for step in found["steps"]] == ["yes", "no"]
    assert found["steps"][0]["evidence"][0]["name"] == "LM lag"
    assert found["verdict"] == choice.verdict
    markdown = choice.path.to_markdown()
    assert markdown.count("   - ") == 6
    assert "Chosen: **SDM**" in markdown
    for text in (str(choice.path), repr(choice.path), markdown):
        assert "LM error: 73.06, p < 0.001" in text
        assert "Disagreement: By BIC it would be the SEM." in text


def test_nothing_can_be_changed(choice):
    assert isinstance(choice.path, DecisionPath)
    for thing, name in ((choice, "path"), (choice.path, "steps"), (choice.path.steps[0], "taken")):
        with pytest.raises(AttributeError):
            setattr(thing, name, None)


# --- bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "cp"}, "strategy='cp'"),
        ({"alpha": 1.0}, "alpha=1.0"),
        ({"alpha": "5%"}, "alpha='5%'"),
        ({"models": ["sar", "sdm"]}, "belongs to strategy"),
        ({"strategy": "aic", "models": ["sar", "sdn"]}, "sdn"),
        ({"strategy": "aic", "prior": "beta"}, "belong to strategy='posterior'"),
        ({"coefficients": "flat"}, "belong to strategy='posterior'"),
        ({"strategy": "posterior", "prior": "cauchy"}, "prior='cauchy'"),
        ({"effects": "random"}, "fixed effects or none"),
        ({"effects": "random", "strategy": "posterior"}, "information criteria"),
        ({"durbin": ["income"]}, "income"),
        ({"durbin": []}, "nothing to lag"),
        ({"effects": "both"}, "effects='both'"),
    ],
)
def test_bad_options(cigarettes, queen, options, message):
    with pytest.raises(OptionError, match=message):
        sa.choose_model(FORMULA, cigarettes, queen, **options)


def test_bad_weights_and_formula(cigarettes, queen):
    with pytest.raises(WeightsError, match="needs spatial weights"):
        sa.choose_model(FORMULA, cigarettes, None)
    with pytest.raises(OptionError, match="model_probabilities"):
        sa.choose_model(FORMULA, cigarettes, {"queen": queen})
    with pytest.raises(FormulaError, match="no regressor"):
        sa.choose_model("logc ~ 1", cigarettes, queen, strategy="aic", effects="none")
