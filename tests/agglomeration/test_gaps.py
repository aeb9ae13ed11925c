"""Linear interpolation of gaps, and its report."""

import numpy as np
import pandas as pd
import pytest

from spatial_agglo.agglomeration import interpolate
from spatial_agglo.errors import DataError, OptionError

NA = np.nan


def frame(values, years=None, city="a"):
    years = range(2001, 2001 + len(values)) if years is None else years
    return pd.DataFrame({"city": city, "year": years, "y": values})


KEYS = {"entity": "city", "time": "year"}


def test_by_pencil():
    """2, then two years without, then 8: 4 and 6; years three apart count three times."""
    found = interpolate(frame([2.0, NA, NA, 8.0]), ["y"], **KEYS)
    assert found.data["y"].to_list() == [2.0, 4.0, 6.0, 8.0]
    found = interpolate(frame([0.0, NA, 8.0], years=[2000, 2003, 2004]), ["y"], **KEYS)
    assert found.data["y"].to_list() == [0.0, 6.0, 8.0]


def test_against_pandas_unit_by_unit():
    """Series.interpolate(method="index", limit_area="inside") of every unit."""
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([list("abcdef"), range(2001, 2013)], names=["city", "year"])
    data = pd.DataFrame(rng.normal(size=(len(index), 2)), index, ["y", "z"])
    holes = rng.random(data.shape) < 0.3
    data = data.mask(holes)
    found = interpolate(data.sample(frac=1.0, random_state=1), ["y", "z"], unfilled="leave")
    for name in ("y", "z"):
        for city in "abcdef":
            own = data.loc[city, name]
            expected = own.interpolate(method="index", limit_area="inside")
            np.testing.assert_allclose(found.data[name][city].sort_index(), expected, rtol=1e-12)
    # The report is the difference between the two frames.
    filled = data.isna().to_numpy().sum() - found.data.isna().to_numpy().sum()
    assert len(found.filled) == filled
    assert len(found.unfilled) == found.data.isna().to_numpy().sum()
    for row in found.filled.itertuples():
        assert np.isnan(data.loc[(row.city, row.year), row.column])
        assert found.data.loc[(row.city, row.year), row.column] == row.value


def test_the_input_is_not_changed_nor_reordered():
    data = frame([2.0, NA, 8.0]).iloc[[2, 0, 1]].assign(other=[1, 2, 3])
    before = data.copy()
    found = interpolate(data, ["y"], **KEYS)
    pd.testing.assert_frame_equal(data, before)
    assert found.data.index.equals(data.index)
    assert found.data["y"].to_list() == [8.0, 2.0, 5.0]
    assert found.data["other"].to_list() == [1, 2, 3]


def test_nothing_goes_beyond_the_ends_or_across_units():
    data = pd.concat([frame([NA, 1.0, NA, 3.0, NA]), frame([NA] * 5, city="b"),
                      frame([9.0] * 5, city="c")])  # fmt: skip
    with pytest.raises(DataError, match=r"7 value\(s\) cannot.*'before the first value'"):
        interpolate(data, ["y"], **KEYS)
    found = interpolate(data, ["y"], **KEYS, unfilled="leave")
    assert found.data["y"].to_list()[2] == 2.0
    assert found.data["y"].isna().sum() == 7
    reasons = found.unfilled.set_index(["city", "year"])["reason"]
    assert reasons["a", 2001] == "before the first value"
    assert reasons["a", 2005] == "after the last value"
    assert set(reasons["b"]) == {"the unit has no value"}


def test_long_gaps_are_left_whole():
    data = frame([0.0, NA, NA, 3.0, NA, 5.0])
    found = interpolate(data, ["y"], **KEYS, limit=1, unfilled="leave")
    np.testing.assert_array_equal(found.data["y"], [0.0, NA, NA, 3.0, 4.0, 5.0])
    assert set(found.unfilled["reason"]) == {"in a gap longer than 1"}
    assert interpolate(data, ["y"], **KEYS, limit=2).data["y"].notna().all()


def test_dates():
    dates = pd.to_datetime(["2001-01-01", "2001-01-11", "2001-01-31"])
    found = interpolate(frame([0.0, NA, 3.0], years=dates), ["y"], **KEYS)
    assert found.data["y"].to_list() == [0.0, 1.0, 3.0]
    months = pd.period_range("2001-01", periods=3, freq="M")
    found = interpolate(frame([0.0, NA, 3.0], years=months), ["y"], **KEYS)
    assert found.data["y"].to_list() == [0.0, 1.5, 3.0]


def test_years_as_text():
    found = interpolate(frame([0.0, NA, 8.0], years=["2000", "2003", "2004"]), ["y"], **KEYS)
    assert found.data["y"].to_list() == [0.0, 6.0, 8.0]
    with pytest.raises(DataError, match="numbers or dates"):
        interpolate(frame([0.0, NA, 8.0], years=["9", "10", "11"]), ["y"], **KEYS)


@pytest.mark.parametrize("name", ["column", "value", "reason"])
def test_keys_named_as_what_is_reported(name):
    """The labels would be overwritten in the lists of what is filled."""
    data = frame([1.0, NA, 3.0]).rename(columns={"year": name})
    with pytest.raises(DataError, match="rename it"):
        interpolate(data, ["y"], entity="city", time=name)


def test_nothing_to_fill():
    data = frame([1.0, 2.0])
    found = interpolate(data, ["y"], **KEYS)
    pd.testing.assert_frame_equal(found.data, data)
    assert list(found.filled.columns) == ["city", "year", "column", "value"]
    assert found.filled.empty
    assert found.unfilled.empty


def test_unbalanced_panels():
    """A unit may begin late; a period without a row inside it is named."""
    late = pd.concat([frame([1.0, 2.0, 3.0, 4.0]), frame([1.0, NA, 3.0], [2002, 2003, 2004], "b")])
    assert interpolate(late, ["y"], **KEYS).data["y"].to_list()[-2] == 2.0
    holed = pd.concat([frame([1.0, 2.0, 3.0, 4.0]), frame([1.0, 3.0], [2001, 2003], "b")])
    with pytest.raises(DataError, match=r"have no row.*\('b', 2002\)"):
        interpolate(holed, ["y"], **KEYS)


def test_wrong_arguments():
    data = frame([1.0, NA, 3.0])
    with pytest.raises(DataError, match="empty"):
        interpolate(data, [], **KEYS)
    for limit in (0, -1, 1.5, True, "a", NA, np.inf, [1]):
        with pytest.raises(OptionError, match="limit"):
            interpolate(data, ["y"], **KEYS, limit=limit)
    with pytest.raises(OptionError, match="unfilled"):
        interpolate(data, ["y"], **KEYS, unfilled="drop")
    with pytest.raises(DataError, match="must be a list"):
        interpolate(data, "y", **KEYS)
    with pytest.raises(DataError, match="numbers or dates"):
        interpolate(data.assign(year=list("abc")), ["y"], **KEYS)
    with pytest.raises(DataError, match="time="):
        interpolate(data, ["y"], entity="city")
    with pytest.raises(DataError, match="repeat"):
        interpolate(pd.concat([data, data]), ["y"], **KEYS)
    with pytest.raises(DataError, match="not numeric"):
        interpolate(data.assign(y=list("abc")), ["y"], **KEYS)
