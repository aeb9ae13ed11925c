"""Formulas on a panel."""

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import DataError, FormulaError
from spatial_agglo.formula import variables


@pytest.fixture
def panel():
    rng = np.random.default_rng(0)
    N, T = 4, 3
    frame = pd.DataFrame(
        {
            "i": np.tile(list("abcd"), T),
            "t": np.repeat([1, 2, 3], N),
            "y": rng.normal(size=N * T),
            "x": rng.uniform(1, 2, size=N * T),
            "z": rng.normal(size=N * T),
            "g": np.tile(["n", "s", "n", "w"], T),
            "text": ["1"] * (N * T),
        }
    )
    return sa.Panel(frame.sample(frac=1, random_state=1), entity="i", time="t")


def test_bare_names_and_evaluated_ones_agree(panel):
    plain = variables("y ~ x + z", panel)
    evaluated = variables("y ~ x + z + log(x)", panel)
    np.testing.assert_array_equal(plain.X, evaluated.X[:, :, :2])
    np.testing.assert_array_equal(plain.y, panel.column("y"))
    np.testing.assert_allclose(evaluated.X[:, :, 2], np.log(panel.column("x")))
    assert plain.regressors == ("x", "z")
    assert plain.intercept
    assert not variables("y ~ x - 1", panel).intercept


def test_functions_interactions_and_categories(panel):
    found = variables("np.exp(y) ~ x:z + C(g)", panel)
    np.testing.assert_allclose(found.y, np.exp(panel.column("y")))
    product = panel.column("x") * panel.column("z")
    np.testing.assert_allclose(found.X[:, :, found.regressors.index("x:z")], product)
    assert [name for name in found.regressors if name.startswith("C(g)")] == [
        "C(g)[T.s]",
        "C(g)[T.w]",
    ]


@pytest.mark.parametrize(
    ("formula", "match"),
    [
        ("y x", "outcome ~ regressors"),
        ("~ x", "outcome ~ regressors"),
        ("y ~ x | z", "outcome ~ regressors"),
        ("y ~ (x", "cannot be parsed"),
        ("y + z ~ x", "exactly one outcome"),
        ("y ~ q", "names 'q'.*'y', 'x', 'z', 'g'"),
        ("q ~ x", "names 'q'"),
        ("y ~ log(q)", "names 'q'"),
        ("y ~ lag(x)", "shift rows across units"),
        (3, "a string"),
    ],
)
def test_bad_formulas(panel, formula, match):
    with pytest.raises(FormulaError, match=match):
        variables(formula, panel)


@pytest.mark.parametrize(
    ("formula", "match"),
    [
        ("y ~ log(z)", r"log\(z\)' has .* missing .*\('"),
        ("y ~ text", "'text' is not numeric"),
        ("y ~ text + log(x)", "'text' is not numeric"),
    ],
)
def test_bad_variables(panel, formula, match):
    with pytest.raises(DataError, match=match):
        variables(formula, panel)


def test_not_a_panel(panel):
    with pytest.raises(DataError, match="A Panel is needed; got DataFrame"):
        variables("y ~ x", panel.frame)


def test_missing_categories_are_not_a_reference_level(panel):
    frame = panel.frame.reset_index()
    frame.loc[3, "g"] = None
    holed = sa.Panel(frame, entity="i", time="t")
    for formula in ("y ~ x + C(g)", "y ~ x + C(g):x"):
        with pytest.raises(DataError, match=r"'g' has 1 missing"):
            variables(formula, holed)
    frame["g"] = frame["g"].astype("category")
    with pytest.raises(DataError, match=r"'g' has 1 missing"):
        variables("y ~ x + g", sa.Panel(frame, entity="i", time="t"))


def test_names_of_python_are_not_columns(panel):
    for name in ("max", "id", "str"):
        with pytest.raises(FormulaError, match=f"names '{name}'"):
            variables(f"y ~ x + C({name})", panel)


def test_units_and_periods_can_be_dummies(panel):
    found = variables("y ~ x + C(i) + C(t)", panel)
    assert sum(name.startswith("C(i)") for name in found.regressors) == 3
    assert sum(name.startswith("C(t)") for name in found.regressors) == 2
    by_effects = sa.ols("y ~ x", panel, effects="two-way", likelihood="direct")
    by_dummies = sa.ols("y ~ x + C(i) + C(t)", panel, effects="none")
    assert by_effects.params["x"] == pytest.approx(by_dummies.params["x"])


@pytest.mark.parametrize("name", ["rho", "lambda", "sigma2", "Intercept", "W*x"])
def test_names_of_parameters_are_refused(panel, name):
    frame = panel.frame.reset_index().assign(**{name: lambda d: d["z"]})
    with pytest.raises(FormulaError, match="rename the columns"):
        variables(f"y ~ x + `{name}`", sa.Panel(frame, entity="i", time="t"))


@pytest.mark.parametrize(
    ("formula", "match"),
    [
        ("y ~ x.shift(1)", "across units"),
        ("y ~ x.diff().fillna(0)", "across units"),
    ],
)
def test_formulas_that_cannot_be_meant(panel, formula, match):
    with pytest.raises(FormulaError, match=match):
        variables(formula, panel)


def test_an_outcome_of_a_function_alone(panel):
    assert variables("np.exp(y) ~ 1", panel).regressors == ()
