"""Effects of variables in any unit of measurement; options and names that are refused."""

import dense
import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import DataError, OptionError
from spatial_agglo.impacts import aggregate, marginal_effects


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    N, T = 12, 8
    df = pd.DataFrame({"id": [f"u{i:02d}" for i in range(N)] * T, "t": np.repeat(range(T), N)})
    df["x"], df["v"] = rng.normal(size=(2, N * T))
    df["gdp"] = np.exp(rng.normal(size=N * T))
    df["share"] = rng.uniform(size=N * T)
    df["region"] = np.where(df["id"] < "u06", "west", "east")
    df["y"] = df["x"] * (1 + df["share"]) + np.log(df["gdp"]) + rng.normal(size=N * T)
    return df


@pytest.fixture(scope="module")
def W():
    W = dense.weights_cases(np.random.default_rng(3))["mix"]
    return sa.SpatialWeights.from_dense(W, [f"u{i:02d}" for i in range(len(W))])


def fitted(formula, frame, W):
    return sa.sar(formula, sa.Panel(frame, entity="id", time="t"), W)


# --- units of measurement -----------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-14, 1.0, 1e14])
def test_the_effect_of_a_logarithm_in_any_unit(frame, W, scale):
    """d log(gdp) / d gdp = 1 / gdp, at the mean or where asked, whatever gdp is counted in."""
    scaled = frame.assign(gdp=frame["gdp"] * scale)
    fit = fitted("y ~ log(gdp) + x", scaled, W)
    direct = fit.impacts().direct.loc["log(gdp)", "estimate"]
    found = marginal_effects(fit, "gdp")["estimate"]
    assert found.index.get_level_values("gdp")[0] == pytest.approx(scaled["gdp"].mean())
    np.testing.assert_allclose(
        found.xs("direct", level="effect"), direct / scaled["gdp"].mean(), rtol=1e-7
    )
    asked = marginal_effects(fit, "gdp", at={"gdp": [scale, 2.0 * scale]})["estimate"]
    np.testing.assert_allclose(
        asked.xs("direct", level="effect"), direct / scale * np.array([1.0, 0.5]), rtol=1e-7
    )


@pytest.mark.parametrize("scale", [1e-14, 1.0, 1e14])
def test_an_interaction_in_any_unit(frame, W, scale):
    scaled = frame.assign(share=frame["share"] * scale)
    fit = fitted("y ~ x * share", scaled, W)
    direct = fit.impacts().direct["estimate"]
    found = marginal_effects(fit, "x")["estimate"]
    mean = scaled["share"].mean()
    assert found.index.get_level_values("share")[0] == pytest.approx(mean)
    np.testing.assert_allclose(
        found.xs("direct", level="effect"), direct["x"] + direct["x:share"] * mean, rtol=1e-7
    )


def test_what_does_not_matter_still_does_not(frame, W):
    fit = fitted("y ~ x + v + log(gdp)", frame.assign(v=frame["v"] * 1e12), W)
    found = marginal_effects(fit, "x")
    assert list(found.index.names) == ["effect"]
    with pytest.raises(OptionError, match="does not depend"):
        marginal_effects(fit, "x", at={"v": 1.0})


# --- groups -------------------------------------------------------------------------------------


def test_a_group_that_is_missing_in_some_periods(frame, W):
    holes = frame.copy()
    holes.loc[(holes["id"] == "u03") & (holes["t"] < 4), "region"] = None
    fit = fitted("y ~ x", holes, W)
    with pytest.raises(DataError, match="missing in some periods, in 1 unit.*'u03'"):
        aggregate(fit, "x", "region")


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [None, [0.9], np.array([0.9]), True, "0.9", 1.0])
def test_levels(frame, W, level):
    fit = fitted("y ~ x", frame, W)
    for effects in (
        lambda: fit.impacts(level=level),
        lambda: aggregate(fit, "x", "region", level=level),
        lambda: marginal_effects(fit, "x", level=level),
    ):
        with pytest.raises(OptionError, match="between 0 and 1"):
            effects()
    fit.impacts(level=np.float32(0.9))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"levels": 3}, OptionError, "levels must be a list of values"),
        ({"at": [1]}, OptionError, "at must map variables to values"),
        ({"variable": ["x"]}, DataError, r"no column \['x'\]"),
    ],
)
def test_bad_input(frame, W, options, error, message):
    fit = fitted("y ~ x * share", frame, W)
    with pytest.raises(error, match=message):
        marginal_effects(fit, **{"variable": "x", **options})


def test_pairs_of_effects(frame, W):
    effects = fitted("y ~ x + v", frame, W).impacts()
    with pytest.raises(OptionError, match="twice the same effect"):
        effects.test_equal(("total", "x"), ["total", "x"])
    for wrong in (None, 3):
        with pytest.raises(OptionError, match="Name an effect and a variable"):
            effects.test_equal(("total", "x"), wrong)
    with pytest.raises(OptionError, match="variables must be a list of names"):
        effects.test_zero("direct", variables=3)
