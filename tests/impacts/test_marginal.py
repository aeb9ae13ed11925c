"""Marginal effects: known derivatives, explicit algebra, categories, what is refused."""

import dense
import numpy as np
import pandas as pd
import pytest
from impacts.explicit import delta, matrix

import spatial_agglo as sa
from spatial_agglo.errors import DataError, OptionError
from spatial_agglo.impacts import marginal_effects

EFFECTS = ["direct", "indirect", "total"]


@pytest.fixture(scope="module")
def study():
    """A panel of 12 units with positive numbers, categories, a flag; weights and their array."""
    W = dense.weights_cases(np.random.default_rng(3))["mix"]
    rng = np.random.default_rng(8)
    N, T = len(W), 15
    ids = [f"u{i:02d}" for i in range(N)]
    frame = pd.DataFrame({"id": np.tile(ids, T), "t": np.repeat(np.arange(2000, 2000 + T), N)})
    frame["x"] = rng.uniform(0.5, 3.0, size=N * T)
    frame["z"] = rng.normal(size=N * T)
    frame["v"] = rng.normal(size=N * T)
    frame["kind"] = rng.choice(["a", "b", "c"], size=N * T)
    frame["code"] = rng.choice([10, 20, 30], size=N * T)
    frame["flag"] = rng.uniform(size=N * T) > 0.5
    mean = frame["x"] * (1 + 0.5 * frame["z"]) - 0.2 * frame["x"] ** 2 + (frame["kind"] == "b")
    e = (mean + rng.normal(size=N * T)).to_numpy().reshape(T, N)
    frame["y"] = np.linalg.solve(np.eye(N) - 0.4 * W, e.T).T.ravel()
    return sa.Panel(frame, entity="id", time="t"), sa.SpatialWeights.from_dense(W, ids), W


def twin(fit, W, weights):
    """A function of the parameters: direct, indirect and total of a weighted sum of terms."""

    def effects(values):
        p = dict(zip(fit.names, values, strict=True))
        E = sum(g * matrix(p, name, W) for name, g in weights.items())
        direct, total = np.trace(E) / len(W), E.sum() / len(W)
        return np.array([direct, total - direct, total])

    return effects


def compare(rows, fit, W, weights):
    effects = twin(fit, W, weights)
    np.testing.assert_allclose(rows["estimate"], effects(fit.values), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(rows["se"], delta(fit, effects), rtol=1e-6)


#: Formula, the variable, where, and the derivative of every term there.
CASES = [
    ("y ~ x + z", "x", {}, {"x": 1.0}),
    ("y ~ x + I(x ** 2)", "x", {"x": 2.0}, {"x": 1.0, "I(x ** 2)": 4.0}),
    ("y ~ x + I(x ** 2) + I(x ** 3)", "x", {"x": 1.5}, {"x": 1, "I(x ** 2)": 3, "I(x ** 3)": 6.75}),
    ("y ~ np.log(x) + z", "x", {"x": 0.25}, {"np.log(x)": 4.0}),
    ("y ~ x * z", "x", {"z": -0.7}, {"x": 1.0, "x:z": -0.7}),
    ("y ~ x * z", "z", {"x": 2.0}, {"z": 1.0, "x:z": 2.0}),
    ("y ~ x*z*v", "x", {"z": 2.0, "v": 3.0}, {"x": 1, "x:z": 2, "x:v": 3, "x:z:v": 6}),
    ("y ~ np.exp(x * z) + v", "x", {"x": 0.5, "z": 2.0}, {"np.exp(x * z)": 2.0 * np.e}),
    ("y ~ np.log(x):z + z", "x", {"x": 0.5, "z": 3.0}, {"np.log(x):z": 6.0}),
    ("y ~ x + x:C(kind)", "x", {"kind": "b"}, {"x": 1.0, "x:C(kind)[T.b]": 1.0}),
    ("y ~ C(code):x", "x", {"code": 20}, {"C(code)[20]:x": 1.0}),
    ("y ~ x*flag", "x", {"flag": True}, {"x": 1.0, "x:flag": 1.0}),
    ("y ~ x + C(t):x", "x", {"t": 2003}, {"x": 1.0, "C(t)[T.2003]:x": 1.0}),
]


@pytest.mark.parametrize(("formula", "variable", "at", "weights"), CASES)
@pytest.mark.parametrize("model", ["sdm", "sar"])
def test_known_derivatives(study, model, formula, variable, at, weights):
    panel, W, dense_W = study
    fit = getattr(sa, model)(formula, panel, W, effects="entity")
    found = marginal_effects(fit, variable, at=at)
    assert list(found.index.get_level_values("effect")) == EFFECTS
    assert found.index.names == [*at, "effect"]
    compare(found, fit, dense_W, weights)


@pytest.mark.parametrize("model", ["ols", "slx", "sem", "sdem", "sac", "gns"])
def test_every_model(study, model):
    panel, W, dense_W = study
    fit = getattr(sa, model)("y ~ x*z", panel, W, effects="entity")
    found = marginal_effects(fit, "x", at={"z": 0.3})
    effects = twin(fit, dense_W, {"x": 1.0, "x:z": 0.3})
    np.testing.assert_allclose(found["estimate"], effects(fit.values), rtol=1e-8, atol=1e-12)
    errors = delta(fit, effects)
    free = errors > 1e-12
    np.testing.assert_allclose(found["se"][free], errors[free], rtol=1e-6)


def test_a_variable_that_stands_alone_has_its_impacts(study):
    panel, W, _ = study
    fit = sa.sdm("y ~ x + z", panel, W)
    for method in ("delta", "simulation"):
        rows = marginal_effects(fit, "x", method=method, seed=3)
        whole = sa.impacts(fit, method=method, seed=3).to_frame().xs("x", level="variable")
        np.testing.assert_allclose(rows, whole.loc[EFFECTS], rtol=1e-9)


def test_bootstrap(study):
    panel, W, dense_W = study
    fit = sa.sdm("y ~ x*z", panel, W, effects="entity", cov=sa.Bootstrap(draws=25, seed=0))
    found = marginal_effects(fit, "x", at={"z": 2.0}, method="bootstrap")
    effects = twin(fit, dense_W, {"x": 1.0, "x:z": 2.0})
    drawn = np.array([effects(v) for v in fit.details["draws"]])
    np.testing.assert_allclose(found["se"], drawn.std(axis=0, ddof=1), rtol=1e-8)
    np.testing.assert_allclose(found["lower"], np.percentile(drawn, 2.5, axis=0), rtol=1e-8)


def test_combinations_of_values(study):
    panel, W, dense_W = study
    fit = sa.sdm("y ~ x*z + x:C(kind)", panel, W)
    found = marginal_effects(fit, "x", at={"z": [0.0, 1.0], "kind": ["a", "c"]})
    assert found.index.names == ["z", "kind", "effect"]
    assert len(found) == 12
    compare(found.loc[(1.0, "c")], fit, dense_W, {"x": 1, "x:z": 1, "x:C(kind)[T.c]": 1})
    compare(found.loc[(0.0, "a")], fit, dense_W, {"x": 1})


def test_variables_that_are_not_stated_are_at_their_means(study):
    panel, W, dense_W = study
    fit = sa.sdm("y ~ x*z + v", panel, W)
    mean = panel.frame["z"].mean()
    found = marginal_effects(fit, "x")
    assert found.index.names == ["z", "effect"]
    assert found.index.get_level_values("z")[0] == pytest.approx(mean)
    compare(found, fit, dense_W, {"x": 1.0, "x:z": mean})


def test_means_are_over_the_observed_cells(study):
    panel, W, _ = study
    frame = panel.frame.reset_index()
    frame.loc[[5, 40, 100], "v"] = np.nan
    part = sa.Panel(frame, entity="id", time="t", unbalanced="allow")
    fit = sa.sdm("y ~ x*z + v", part, W)
    found = marginal_effects(fit, "x")
    expected = frame.loc[frame["v"].notna(), "z"].mean()
    assert found.index.get_level_values("z")[0] == pytest.approx(expected, rel=1e-12)


# --- categories ---------------------------------------------------------------------------


def test_categories_are_compared_with_the_reference(study):
    panel, W, dense_W = study
    fit = sa.sdm("y ~ x + C(kind)", panel, W)
    found = marginal_effects(fit, "kind")
    assert found.index.names == ["kind", "effect"]
    assert found.attrs == {"variable": "kind", "reference": "a"}
    for level in ("b", "c"):
        compare(found.loc[level], fit, dense_W, {f"C(kind)[T.{level}]": 1.0})
    other = marginal_effects(fit, "kind", levels=["c", "b"])
    compare(other.loc["b"], fit, dense_W, {"C(kind)[T.b]": 1.0, "C(kind)[T.c]": -1.0})
    assert other.attrs["reference"] == "c"


def test_numbers_that_stand_for_categories(study):
    panel, W, dense_W = study
    fit = sa.sdm("y ~ x + C(code)", panel, W)
    found = marginal_effects(fit, "code")
    compare(found.loc[30], fit, dense_W, {"C(code)[T.30]": 1.0})


def test_a_category_in_an_interaction(study):
    panel, W, dense_W = study
    fit = sa.sdm("y ~ x*C(kind)", panel, W)
    found = marginal_effects(fit, "kind", at={"x": 2.0})
    compare(found.loc[("c", 2.0)], fit, dense_W, {"C(kind)[T.c]": 1.0, "x:C(kind)[T.c]": 2.0})


def test_a_column_of_category_dtype(study):
    panel, W, dense_W = study
    frame = panel.frame.reset_index()
    frame["kind"] = pd.Categorical(frame["kind"], categories=["b", "a", "c"])
    fit = sa.sdm("y ~ x + kind", sa.Panel(frame, entity="id", time="t"), W)
    found = marginal_effects(fit, "kind")
    assert found.attrs["reference"] == "b"
    compare(found.loc["a"], fit, dense_W, {"kind[T.a]": 1.0})


def test_a_jump_of_a_number(study):
    panel, W, dense_W = study
    fit = sa.sdm("y ~ x + I(x > 2.0) + flag", panel, W)
    names = [name for name in fit.regressors if "> 2.0" in name]
    assert len(names) == 1
    found = marginal_effects(fit, "x", levels=[1.0, 2.5])
    compare(found.loc[2.5], fit, dense_W, {"x": 1.5, names[0]: 1.0})
    compare(
        marginal_effects(fit, "flag", levels=[False, True]).loc[True], fit, dense_W, {"flag": 1}
    )


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize("term", ["center(x)", "scale(x)", "poly(x, 2)", "I(x - x.mean())"])
def test_terms_that_depend_on_the_whole_column(study, term):
    panel, W, _ = study
    fit = sa.sdm(f"y ~ z + {term}:z", panel, W, effects="entity")
    with pytest.raises(OptionError, match="depend on the whole column"):
        marginal_effects(fit, "z")


@pytest.mark.parametrize(
    ("formula", "variable", "options", "message"),
    [
        ("y ~ x + z", "v", {}, "'v' is not in the formula"),
        ("y ~ x*z", "x:z", {}, "no column 'x:z'"),
        ("y ~ x + z", "x", {"at": {"z": 1.0}}, "does not depend; it depends on no other value"),
        ("y ~ x*z + v", "x", {"at": {"v": 1.0}}, "depends on 'z'"),
        ("y ~ x*z", "x", {"at": {"z": "high"}}, "'z' is a number; got 'high'"),
        ("y ~ x*z", "x", {"at": {"z": np.nan}}, "'z' is a number"),
        ("y ~ x*z", "x", {"at": {"z": []}}, "no value for 'z'"),
        ("y ~ x*C(kind)", "x", {}, "depends on the category 'kind': state its level"),
        ("y ~ x*C(kind)", "x", {"at": {"kind": "d"}}, "no level 'd'"),
        ("y ~ x + C(kind)", "kind", {"levels": ["a", "d"]}, "no level 'd'"),
        ("y ~ x + C(kind)", "kind", {"levels": ["a"]}, "reference and one or more"),
        ("y ~ x + C(kind)", "kind", {"levels": ["a", "a"]}, "reference and one or more"),
        ("y ~ np.log(x) + z", "x", {"at": {"x": -1.0}}, "no derivative .* at x = -1.0"),
        ("y ~ np.sqrt(x) + z", "x", {"at": {"x": 0.0}}, "no derivative"),
        ("y ~ np.abs(z) + x", "z", {"at": {"z": 0.0}}, "no derivative"),
        ("y ~ x + z", "x", {"level": 2.0}, "between 0 and 1"),
        ("y ~ x + z", "x", {"method": "guess"}, "'delta'"),
        ("y ~ x + z", "x", {"horizon": "long"}, "no lag of the outcome"),
    ],
)
def test_what_is_refused(study, formula, variable, options, message):
    panel, W, _ = study
    fit = sa.sdm(formula, panel, W)
    with pytest.raises((OptionError, DataError), match=message):
        marginal_effects(fit, variable, **options)


def test_a_number_whose_jumps_are_not_seen(study):
    """Away from the jump there is nothing: not an effect of zero."""
    panel, W, _ = study
    fit = sa.sdm("y ~ z + I(x > 2.0)", panel, W)
    with pytest.raises(OptionError, match="No regressor changes .* jumps"):
        marginal_effects(fit, "x", at={"x": 1.0})
