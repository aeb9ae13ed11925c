"""Moderated mediation against dummy regressions, derivatives by differences, and simulation."""

import numpy as np
import pandas as pd
import pytest
from mechanisms_twin import dummy_regression, frame_of, resampled_rows

import spatial_agglo as sa
from spatial_agglo.errors import DataError, IdentificationError, OptionError
from spatial_agglo.mechanisms.mediation import mediation
from spatial_agglo.mechanisms.moderated import moderated_mediation

PATHS = ("direct", "first", "second")
ROLES = {"treatment": "x", "mediator": "m1", "moderator": "z"}


def panel_of(frame, **options):
    return sa.Panel(frame, entity="i", time="t", **options)


def moderated_frame(N=25, T=6, seed=3, a3=0.25, b2=0.2, c3=-0.3):
    """A panel whose moderator z acts on all three paths."""
    frame = frame_of(N, T, seed)
    rng = np.random.default_rng(seed + 1)
    frame["z"] = rng.normal(size=len(frame)) + 0.3 * frame["x"] + 4.0
    added = a3 * frame["x"] * (frame["z"] - 4.0) + 0.2 * frame["z"]
    frame["m1"] += added
    frame["y"] += 0.6 * added
    frame["y"] += (frame["z"] - 4.0) * (c3 * frame["x"] + b2 * frame["m1"])
    return frame


@pytest.fixture(scope="module")
def frame():
    return moderated_frame()


def naive_slopes(frame, centres, effects, controls=("k1",)):
    """c1, c3, a1, a3, b1, b2 by dummy regressions with products as columns."""
    x, m, z = (frame[name] - centres[name] for name in ("x", "m1", "z"))
    data = frame.assign(xz=x * z, mz=m * z)
    a = dummy_regression(data, "m1", ["x", "z", "xz", *controls], effects)
    b = dummy_regression(data, "y", ["x", "m1", "z", "xz", "mz", *controls], effects)
    return np.array([b[0], b[3], a[0], a[2], b[1], b[4]])


@pytest.mark.parametrize("effects", ["two-way", "entity", "time", "none"])
@pytest.mark.parametrize("gaps", [False, True])
def test_draws_are_those_of_dummy_regressions(frame, effects, gaps):
    data = frame
    if gaps:
        data = frame[np.random.default_rng(5).random(len(frame)) > 0.2].reset_index(drop=True)
    found = moderated_mediation(
        "y ~ x + k1", panel_of(data, unbalanced="allow"), **ROLES, effects=effects, draws=8, seed=2
    )
    centres = data[["x", "m1", "z"]].mean()
    assert dict(found.centres) == pytest.approx(centres.to_dict())
    np.testing.assert_allclose(
        found.slopes.values[0], naive_slopes(data, centres, effects), rtol=1e-8, atol=1e-10
    )
    units = np.random.default_rng(2).integers(0, 25, size=(8, 25))
    for draw, chosen in zip(found.draws.to_numpy(), units, strict=True):
        expected = naive_slopes(resampled_rows(data, chosen), centres, effects)
        np.testing.assert_allclose(draw, expected, rtol=1e-7, atol=1e-9)


def test_conditional_effects_by_their_formula(frame):
    at = {"few": 2.0, "many": 5.5}
    found = moderated_mediation("y ~ x + k1", panel_of(frame), **ROLES, at=at, draws=30)
    c1, c3, a1, a3, b1, b2 = naive_slopes(frame, frame[["x", "m1", "z"]].mean(), "two-way")
    estimate = found.conditional["estimate"]
    for label, value in at.items():
        v = value - frame["z"].mean()
        assert estimate["direct", label] == pytest.approx(c1 + c3 * v)
        assert estimate["first", label] == pytest.approx(a1 + a3 * v)
        assert estimate["second", label] == pytest.approx(b1 + b2 * v)
        assert estimate["indirect", label] == pytest.approx((a1 + a3 * v) * (b1 + b2 * v))
        total = c1 + c3 * v + (a1 + a3 * v) * (b1 + b2 * v)
        assert estimate["total", label] == pytest.approx(total)
    assert found.conditional["z"].tolist() == [2.0, 5.5] * 5


def test_default_values_are_the_mean_and_one_deviation(frame):
    found = moderated_mediation("y ~ x", panel_of(frame), **ROLES, draws=20)
    mean, spread = frame["z"].mean(), frame["z"].std()
    assert found.values.to_dict() == pytest.approx(
        {"low": mean - spread, "mean": mean, "high": mean + spread}
    )


@pytest.mark.parametrize("paths", [PATHS, "first", "second", "direct", ("first", "second")])
def test_centring_changes_no_conditional_effect(frame, paths):
    options = {**ROLES, "paths": paths, "draws": 40}
    centred = moderated_mediation("y ~ x + k1", panel_of(frame), **options)
    raw = moderated_mediation("y ~ x + k1", panel_of(frame), **options, centre=False)
    columns = ["estimate", "std_error", "percentile_lower", "bc_upper"]
    np.testing.assert_allclose(
        centred.conditional[columns], raw.conditional[columns], rtol=1e-6, atol=1e-9
    )
    np.testing.assert_allclose(centred.index["estimate"], raw.index["estimate"], rtol=1e-6)
    assert set(raw.centres.values()) == {0.0}
    assert "not centred" in " ".join(raw.notes)
    if "first" in paths:  # the effect at zero is not the effect at the mean
        one, two = (f.equations["mediator"].params["x"] for f in (centred, raw))
        assert abs(one - two) > 0.1


def test_the_product_is_not_of_demeaned_variables(frame):
    """The regressor is (x - x0)(z - z0), which then loses its effects; the other one differs."""
    found = moderated_mediation("y ~ x", panel_of(frame), **ROLES, paths="first", draws=20)
    demeaned = frame.copy()
    for name in ("x", "z"):
        for key in ("i", "t"):
            demeaned[name] -= demeaned.groupby(key)[name].transform("mean")
    wrong = frame.assign(xz=demeaned["x"] * demeaned["z"])
    other = dummy_regression(wrong, "m1", ["x", "z", "xz"], "two-way")[2]
    right = frame.assign(xz=(frame["x"] - frame["x"].mean()) * (frame["z"] - frame["z"].mean()))
    ours = found.equations["mediator"].params["x:z"]
    assert ours == pytest.approx(dummy_regression(right, "m1", ["x", "z", "xz"], "two-way")[2])
    assert abs(ours - other) > 1e-3


def test_index_is_the_slope_of_the_indirect_effect(frame):
    for paths in ("first", "second"):
        found = moderated_mediation("y ~ x", panel_of(frame), **ROLES, paths=paths, draws=20)
        indirect = found.conditional["estimate"]["indirect"]
        slope = (indirect["high"] - indirect["low"]) / (found.values["high"] - found.values["low"])
        assert found.index.loc[("indirect", "index"), "estimate"] == pytest.approx(slope)
        assert ("indirect", "curvature") not in found.index.index


def test_slopes_of_a_quadratic_by_differences(frame):
    """Both steps moderated: derivative and curvature against finite differences."""
    h = 1e-4
    centre = frame["z"].mean()
    at = {"low": 3.0, "a": 3.0 - h, "b": 3.0 + h, "high": 5.0}
    found = moderated_mediation("y ~ x", panel_of(frame), **ROLES, at=at, draws=20)
    e = found.conditional["estimate"]["indirect"]
    index = found.index["estimate"]["indirect"]
    assert index["slope at low"] == pytest.approx((e["b"] - e["a"]) / (2 * h), rel=1e-6)
    second = (e["b"] - 2 * e["low"] + e["a"]) / h**2
    assert index["curvature"] == pytest.approx(second / 2, rel=1e-4)
    assert index["high - low"] == pytest.approx(e["high"] - e["low"])
    assert found.slopes.zero == pytest.approx(centre)


def test_unmoderated_paths_are_those_of_mediation(frame):
    """With the first step moderated alone, the equation of y is that of plain mediation."""
    found = moderated_mediation("y ~ x + k1", panel_of(frame), **ROLES, paths="first", draws=60)
    plain = mediation("y ~ x + k1 + z", panel_of(frame), treatment="x", mediators="m1", draws=60)
    for at in ("low", "mean", "high"):
        row = found.conditional.loc[("direct", at)].drop("z")
        np.testing.assert_allclose(row, plain.effects.loc["direct"], rtol=1e-8)
    b = plain.equations["direct"].params["m1"]
    assert found.conditional["estimate"]["second", "low"] == pytest.approx(b)


def test_the_nine_equations(frame):
    """Regressors of equations (1)-(9) of Yin & Su (2024), and each product alone."""
    found = moderated_mediation("y ~ x + k1", panel_of(frame), **ROLES, draws=20)
    expected = {
        "(1)": ("y", {"x"}),
        "(2)": ("y", {"m1"}),
        "(3)": ("m1", {"x"}),
        "(4)": ("y", {"x", "m1"}),
        "(5)": ("y", {"x", "z", "x:z"}),
        "(6)": ("m1", {"x", "z"}),
        "(7)": ("m1", {"x", "z", "x:z"}),
        "(8)": ("y", {"m1", "z"}),
        "(9)": ("y", {"m1", "z", "m1:z"}),
    }
    for key, (outcome, right) in expected.items():
        data = found.stepwise[key].workspace.data
        assert (data.outcome, set(data.regressors)) == (outcome, right | {"k1"})
    centred = frame[["x", "m1", "z"]] - frame[["x", "m1", "z"]].mean()
    data = frame.assign(xz=centred["x"] * centred["z"], mz=centred["m1"] * centred["z"])
    alone = found.interactions["estimate"]
    for path, (left, right) in {
        "direct": ("y", ["xz", "x", "z", "k1"]),
        "first": ("m1", ["xz", "x", "z", "k1"]),
        "second": ("y", ["mz", "m1", "z", "k1"]),
    }.items():
        coefficient = dummy_regression(data, left, right, "two-way")[0]
        assert alone[path, "alone"] == pytest.approx(coefficient)
    fit = found.stepwise["(7)"]
    row = found.interactions.loc[("first", "alone")]
    assert row["fit_std_error"] == pytest.approx(fit.std_errors["x:z"])
    assert row["fit_p_value"] == pytest.approx(fit.pvalues["x:z"])


def test_a_moderator_that_does_not_change_over_time(frame):
    data = frame.assign(z=(frame["i"] % 2) * 1.0)
    found = moderated_mediation(
        "y ~ x", panel_of(data), **ROLES, at={"even": 0.0, "odd": 1.0}, draws=30
    )
    assert "z" not in found.equations["mediator"].params.index
    assert any("z alone is absorbed" in note for note in found.notes)
    products = data.assign(even=data["x"] * (1 - data["z"]), odd=data["x"] * data["z"])
    slopes = dummy_regression(products, "m1", ["even", "odd"], "two-way")
    first = found.conditional["estimate"]["first"]
    np.testing.assert_allclose([first["even"], first["odd"]], slopes)


def test_default_values_lie_in_the_data(frame):
    """A quartile stands in for a standard deviation that leads out of the data."""
    even = moderated_mediation("y ~ x", panel_of(frame), **ROLES, draws=30).values
    mean, spread = frame["z"].mean(), frame["z"].std()
    np.testing.assert_allclose(even, [mean - spread, mean, mean + spread])
    assert even.index.tolist() == ["low", "mean", "high"]
    for sign, labels in (
        (1.0, ["lower quartile", "mean", "high"]),
        (-1.0, ["low", "mean", "upper quartile"]),
    ):
        skewed = frame.assign(z=sign * np.exp(3.0 * (frame["z"] - mean) / spread))
        found = moderated_mediation("y ~ x", panel_of(skewed), **ROLES, draws=30).values
        assert found.index.tolist() == labels
        assert found.between(skewed["z"].min(), skewed["z"].max()).all()
        quartile = 0.25 if sign > 0 else 0.75
        at = labels.index("lower quartile" if sign > 0 else "upper quartile")
        assert found.iloc[at] == skewed["z"].quantile(quartile)


def test_curve_passes_through_the_values(frame):
    found = moderated_mediation("y ~ x", panel_of(frame), **ROLES, at=[2.0, 6.0], draws=30)
    curve = found.curve("indirect", points=5)
    assert curve.index[0] == frame["z"].min()
    assert curve.index[-1] == frame["z"].max()
    again = moderated_mediation("y ~ x", panel_of(frame), **ROLES, at=list(curve.index), draws=30)
    np.testing.assert_allclose(
        again.conditional.loc["indirect"].drop(columns="z"), curve, rtol=1e-9
    )
    with pytest.raises(OptionError, match="effect"):
        found.curve("sideways")
    with pytest.raises(OptionError, match="points"):
        found.curve(points=1)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"moderator": "x"}, OptionError, "is the treatment"),
        ({"moderator": "m1"}, OptionError, "is a mediator"),
        ({"moderator": "k1"}, OptionError, "is a control"),
        ({"moderator": "one"}, DataError, "constant"),
        ({"moderator": ["z"]}, OptionError, "one column"),
        ({"mediator": ["m1", "m2"]}, OptionError, "one column"),
        ({"mediator": "y"}, OptionError, "is the outcome"),
        ({"moderator": "nothing"}, DataError, "nothing"),
        ({"paths": "third"}, OptionError, "third"),
        ({"paths": []}, OptionError, "path"),
        ({"centre": "yes"}, OptionError, "centre"),
        ({"at": []}, OptionError, "one finite value"),
        ({"at": ["low"]}, OptionError, "numbers"),
        ({"at": "low"}, OptionError, "numbers"),
        ({"at": [2.0, 2.0]}, OptionError, "twice"),
        ({"at": {"low": np.inf}}, OptionError, "finite"),
        ({"effects": "random"}, OptionError, "effects"),
        ({"treatment": "z"}, OptionError, "treatment"),
    ],
)
def test_bad_input(frame, options, error, said):
    data = frame.assign(one=1.0)
    with pytest.raises(error, match=said):
        moderated_mediation("y ~ x + k1", panel_of(data), **{**ROLES, "draws": 10, **options})


def test_collinear_product_is_named(frame):
    """A moderator that is a copy of a control."""
    with pytest.raises(IdentificationError, match="linear combination"):
        moderated_mediation(
            "y ~ x + k1", panel_of(frame.assign(z=2.0 * frame["k1"])), **ROLES, draws=10
        )


def test_verdict():
    """Strong products are said to moderate, with their sign; a path without one is not."""
    panel = panel_of(moderated_frame(N=60, T=8, a3=0.8, b2=0.0, c3=-1.0))
    found = moderated_mediation("y ~ x + m2", panel, **ROLES, paths="first", draws=200)
    assert "the first step positively," in found.verdict
    assert "the direct path negatively (alone)" in found.verdict
    assert found.verdict.endswith("indirect effect's high - low leaves out zero.")
    found = moderated_mediation("y ~ x + m2", panel, **ROLES, paths="direct", draws=200)
    assert found.verdict.endswith("No step of the indirect effect is moderated in the model.")


def test_values_beyond_the_data_are_said(frame):
    found = moderated_mediation(
        "y ~ x", panel_of(frame), **ROLES, at={"far": 99.0, "near": 4.0}, draws=20
    )
    assert any("outside the data" in n and "far (99)" in n for n in found.notes)
    assert not any("near" in n for n in found.notes)


def test_seed(frame):
    one, two = (
        moderated_mediation("y ~ x", panel_of(frame), **ROLES, draws=50, seed=9) for _ in range(2)
    )
    pd.testing.assert_frame_equal(one.conditional, two.conditional, check_exact=True)


@pytest.mark.slow
def test_coverage_of_the_index():
    """Nominal 95% intervals of the index, a3 b1, and of a conditional indirect effect."""
    reps = 500
    truth = {"index": 0.2 * 0.6, "effect": (0.5 + 0.2) * 0.6}
    hits = dict.fromkeys([(name, kind) for name in truth for kind in ("percentile", "bc")], 0)
    for rep in range(reps):
        frame = moderated_frame(N=80, T=8, seed=5000 + rep, a3=0.2, b2=0.0, c3=0.0)
        found = moderated_mediation(
            "y ~ x + k1 + m2", panel_of(frame), **ROLES, paths="first", at=[4.0, 5.0], draws=500,
            seed=rep,
        )  # fmt: skip
        rows = {
            "index": found.index.loc[("indirect", "index")],
            "effect": found.conditional.loc[("indirect", "5")],
        }
        for name, kind in hits:
            row = rows[name]
            hits[name, kind] += row[f"{kind}_lower"] <= truth[name] <= row[f"{kind}_upper"]
    shares = {key: hit / reps for key, hit in hits.items()}
    assert all(0.92 <= share <= 0.98 for share in shares.values()), shares
