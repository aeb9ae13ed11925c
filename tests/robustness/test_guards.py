"""What could be misread is refused or named: groups, samples, categories, options."""

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import DataError, FormulaError, OptionError, SpatialAggloError
from spatial_agglo.formula import variables
from spatial_agglo.robustness import by_group, regimes, sensitivity
from spatial_agglo.robustness.samples import groups_of, subpanel

FORMULA = "y ~ x + z"
N, T = 24, 6


@pytest.fixture(scope="module")
def W():
    ring = np.roll(np.eye(N), 1, axis=1) + np.roll(np.eye(N), -1, axis=1)
    return sa.SpatialWeights.from_dense(ring / 2.0, [f"u{i:02d}" for i in range(N)])


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"id": [f"u{i:02d}" for i in range(N)] * T, "t": np.repeat(range(T), N)})
    df["x"], df["z"] = rng.normal(size=(2, N * T))
    df["region"] = np.where(df["id"] < "u12", "west", "east")
    df["k"] = np.where(
        df["region"] == "west", rng.choice(list("abc"), N * T), rng.choice(list("bcd"), N * T)
    )
    shift = df["k"].map({"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0})
    df["y"] = df["x"] - 0.5 * df["z"] + shift + rng.normal(size=N * T)
    return df


@pytest.fixture(scope="module")
def panel(frame):
    return sa.Panel(frame, entity="id", time="t")


def declared(frame, **columns):
    return sa.Panel(frame.assign(**columns), entity="id", time="t")


# --- names of groups ----------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(1, "1"), (True, "True")])
def test_groups_that_read_the_same_are_refused(frame, W, names):
    groups = pd.Series(names, dtype=object)[(frame["region"] == "west").astype(int)]
    mixed = declared(frame, g=groups.to_numpy())
    for estimate in (regimes, by_group):
        with pytest.raises(DataError, match="differ as text"):
            estimate("sar", FORMULA, mixed, W, groups="g")


def test_columns_of_a_table_do_not_overwrite_groups(frame, W):
    named = declared(frame, g=np.where(frame["region"] == "west", "Common", "Equal: p"))
    plain = declared(frame, g=np.where(frame["region"] == "west", "a", "b"))
    for estimate, added in ((regimes, ["Common", "Equal: p"]), (by_group, ["Equal: p"])):
        body = estimate("sar", FORMULA, named, W, groups="g").table().body
        expected = estimate("sar", FORMULA, plain, W, groups="g").table().body
        assert list(body.columns) == ["Common", "Equal: p"] + [f"{n} (all groups)" for n in added]
        assert (body.to_numpy() == expected.to_numpy()).all()


def test_a_level_of_a_category_is_no_group(frame):
    found = regimes(
        "ols",
        "y ~ x + C(k)",
        declared(frame, g=np.where(frame["region"] == "west", "T.b", "other")),
        groups="g",
        vary=["x"],
    )
    body = found.table().body
    shown = body.loc[("Main", "C(k)[T.b]", "estimate"), "Common"]
    assert shown.startswith(f"{found.params['C(k)[T.b]']:.4f}")


# --- references of categories ---------------------------------------------------------------------


def test_a_category_with_another_reference_in_a_group_is_refused(panel):
    with pytest.raises(FormulaError, match=r"Group 'east'.*'C\(k\)\[T.b\]'.*contr.treatment"):
        by_group("ols", "y ~ x + C(k)", panel, groups="region", effects="entity")
    stated = by_group(
        "ols", "y ~ x + C(k, contr.treatment('b'))", panel, groups="region", effects="entity"
    )
    found = stated.differences().loc[("coefficient", "C(k, contr.treatment('b'))[T.c]")]
    assert abs(found["difference"]) < 4 * found["se"]  # c less b in both, 1 by construction


def test_a_slope_beside_a_category_of_one_level_is_another_slope(frame):
    """x is the slope in the east; where only the west is left, it would be that in the west."""
    found = sensitivity(
        {"slopes": "y ~ x * C(region)", "shift": "y ~ x + C(region)"},
        declared(frame),
        None,
        models="ols",
        effects="none",
        samples={"all": None, "east": "region == 'east'", "west": "region == 'west'"},
    )
    failed = found.failures
    assert failed[["sample", "formula"]].to_numpy().tolist() == [["west", "slopes"]]
    assert failed["error"].str.contains("reference").all()


def test_a_sample_with_another_reference_is_a_failed_row(panel):
    samples = {"all": None, "west": "region == 'west'", "east": "region == 'east'"}
    found = sensitivity("y ~ x + C(k)", panel, None, models="ols", samples=samples)
    assert found.failures["sample"].tolist() == ["east"]
    assert "C(k)[T.b]" in found.failures["error"].iloc[0]


def test_missing_cells_outside_the_groups_do_not_matter(frame):
    """References are compared over the rows of the groups alone."""
    holes = declared(frame, x=frame["x"].where(frame["id"] != "u23"))
    groups = {"a": [f"u{i:02d}" for i in range(12)], "b": [f"u{i:02d}" for i in range(12, 23)]}
    assert set(by_group("ols", "y ~ x + C(t)", holes, groups=groups, effects="none").fits) == {
        "a",
        "b",
    }
    with pytest.raises(DataError, match="'x'"):
        variables(FORMULA, holes)


# --- groups -------------------------------------------------------------------------------------


def test_a_series_that_repeats_its_entities(frame, panel):
    column = frame.set_index("id")["region"]
    given, kind = groups_of(panel, column)
    expected, _ = groups_of(panel, "region")
    assert kind == "unit"
    assert (given == expected).all()
    moved = frame.set_index("id")["k"]
    with pytest.raises(DataError, match="more than one group to 'u00'"):
        groups_of(panel, moved)
    with pytest.raises(DataError, match="indexed by entity alone"):
        groups_of(panel, panel.frame["region"])


def test_keys_are_groups(panel):
    labels, kind = groups_of(panel, "t")
    assert kind == "period"
    assert (labels == labels.index.get_level_values("t")).all()
    assert list(by_group("ols", "y ~ x", panel, groups="t", effects="none").fits) == list("012345")


def test_groups_of_no_use(frame, panel):
    with pytest.raises(DataError, match="groups=DataFrame must be a column"):
        groups_of(panel, frame)
    for estimate in (regimes, by_group):
        with pytest.raises(DataError, match="'x' has 144 groups in 144 rows.*pd.cut"):
            estimate("ols", "y ~ z", panel, groups="x")
    of = frame.set_index("id")["region"].to_dict()
    with pytest.raises(DataError, match="'Atlantis', which the panel does not have"):
        by_group("ols", FORMULA, panel, groups={**of, "Atlantis": "west"})


@pytest.mark.parametrize(("model", "option"), [("sac", "W_error"), ("sdm", "W_durbin")])
def test_other_weights_are_cut_as_W_is(panel, W, model, option):
    plain = by_group(model, FORMULA, panel, W, groups="region")
    found = by_group(model, FORMULA, panel, W, groups="region", **{option: W})
    for name, fit in found.fits.items():
        np.testing.assert_allclose(fit.params, plain.fits[name].params, rtol=1e-6)


def test_a_model_that_returns_no_fit(panel):
    with pytest.raises(OptionError, match="must return a fit.*NoneType"):
        by_group(lambda *_, **__: None, FORMULA, panel, groups="region")


# --- samples --------------------------------------------------------------------------------------


def test_a_mask_whose_levels_are_the_other_way_round():
    """Labels of units and periods are the same numbers: only the names tell."""
    rng = np.random.default_rng(1)
    index = pd.MultiIndex.from_product([range(1, 7), range(1, 7)], names=["t", "id"])
    df = pd.DataFrame({"y": rng.normal(size=36)}, index=index).reset_index()
    panel = sa.Panel(df, entity="id", time="t")
    early = pd.Series(index.get_level_values("t") <= 3, index=index)
    for mask in (early, early.swaplevel().sort_index()):
        part = subpanel(panel, mask, "early")
        assert (list(part.times), part.shape[1]) == ([1, 2, 3], 6)


def test_masks_that_say_nothing_about_a_row(frame, panel):
    units = sorted(frame["id"].unique())
    flags = [True] * (N - 1) + [None]
    for dtype in ("boolean", object):
        with pytest.raises(DataError, match="neither true nor false in 1.*'u23'"):
            subpanel(panel, pd.Series(flags, index=units, dtype=dtype), "m")
    half = pd.Series([True] * 12 + [False] * 12, index=units, dtype=object)
    assert subpanel(panel, half, "m").shape == (T, 12)
    gaps = declared(frame, n=pd.array([None, *range(N * T - 1)], dtype="Int64"))
    with pytest.raises(DataError, match="neither true nor false"):
        subpanel(gaps, "n > 3", "q")


def test_a_function_that_fails_is_a_failed_row(panel, W):
    samples = {"all": None, "bad": lambda df: df["nothing"]}
    found = sensitivity(FORMULA, panel, W, samples=samples)
    assert found.failures["sample"].tolist() == ["bad"]
    assert "KeyError: 'nothing'" in found.failures["error"].iloc[0]


# --- too few clusters -----------------------------------------------------------------------------


def test_tests_that_cannot_be_made_are_named(frame, W):
    """Six periods: six restrictions cannot be tested jointly, each by itself can."""
    late = declared(frame, late=frame["t"] > 2)
    formula = "y ~ x + z + I(x * z)"
    found = regimes("sdm", formula, late, W, groups="late", cov="driscoll-kraay")
    tests = found.tests()
    assert tests["df"].tolist() == [1] * 6 + [6]
    assert tests["statistic"].isna().tolist() == [False] * 6 + [True]
    assert "no test of 'all'" in tests.attrs["note"]
    notes = " ".join(found.table().notes)
    assert "No test of 'all': 6 restrictions cannot be tested jointly" in notes
    assert "all of them" not in notes
    assert "6 restrictions" in " ".join(repr(found).split())
    assert "<table" in found._repr_html_()
    groups = by_group("sar", FORMULA, late, W, groups="late", cov="driscoll-kraay")
    assert "No joint test: 3 coefficients" in groups.table().notes[-1]


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [None, "0.95", [0.9], True, 0, 1.0, float("nan")])
def test_levels(panel, level):
    with pytest.raises(OptionError, match="between 0 and 1"):
        sensitivity(FORMULA, panel, None, models="ols", level=level)
    with pytest.raises(OptionError, match="between 0 and 1"):
        by_group("ols", FORMULA, panel, groups="region").differences(level=level)
    with pytest.raises(OptionError, match="between 0 and 1"):
        regimes("ols", FORMULA, panel, groups="region").impacts(level=level)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variables": []}, "must name at least one of: 'x', 'z'"),
        ({"variables": 3}, "list of names"),
        ({"models": None}, "models must be a list"),
        ({"models": 3}, "models must be a list"),
        ({"effects": None}, "effects must be a list"),
        ({"models": "sar", "durbin": ["zzz"]}, "'zzz', not among"),
        ({"models": "sar", "durbin": "x"}, "durbin must be a list"),
    ],
)
def test_lists_of_names(panel, W, options, message):
    with pytest.raises(OptionError, match=message):
        sensitivity(FORMULA, panel, W, **options)


def test_blanks_in_names_do_not_count(panel, W):
    found = sensitivity("y ~ x + I(z**2)", panel, W, variables=["I(z**2)"], durbin=["I( z**2 )"])
    name = variables("y ~ x + I(z**2)", panel).regressors[1]
    assert found.variables == (name,)
    fit = sa.sdm("y ~ x + I(z**2)", panel, W, durbin=[name])
    row = found.to_frame().set_index("effect").loc["indirect"]
    assert row["estimate"] == pytest.approx(fit.impacts().indirect.loc[name, "estimate"])


def test_vary_is_a_list(panel):
    with pytest.raises(OptionError, match="vary must be a list"):
        regimes("ols", FORMULA, panel, groups="region", vary=3)


def test_every_failure_is_still_an_error(panel, W):
    with pytest.raises(SpatialAggloError, match="None of the 1 specifications"):
        sensitivity(FORMULA, panel, W, samples={"bad": lambda _: 1 / 0})
