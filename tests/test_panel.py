"""Panel: labels decide, never positions; every gap is named."""

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.errors import DataError


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "city": ["b", "a", "a", "b", "c", "c"],
            "year": [2001, 2002, 2001, 2002, 2002, 2001],
            "y": [3.0, 2.0, 1.0, 4.0, 6.0, 5.0],
            "name": list("uvwxyz"),
        }
    )


def test_rows_may_come_in_any_order(frame):
    panel = sa.Panel(frame, entity="city", time="year")
    assert panel.entities.tolist() == ["a", "b", "c"]
    assert panel.times.tolist() == [2001, 2002]
    assert panel.shape == (2, 3)
    assert panel.nobs == 6
    np.testing.assert_array_equal(panel.column("y"), [[1, 3, 5], [2, 4, 6]])
    assert panel.frame.loc[("b", 2002), "y"] == 4.0
    assert panel.frame.index.names == ["city", "year"]


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_rows_give_the_same_panel(frame, seed):
    one = sa.Panel(frame, entity="city", time="year")
    two = sa.Panel(frame.sample(frac=1, random_state=seed), entity="city", time="year")
    pd.testing.assert_frame_equal(one.frame, two.frame)


def test_index_levels_do_as_well_as_columns(frame):
    by_column = sa.Panel(frame, entity="city", time="year")
    indexed = frame.set_index(["city", "year"])
    pd.testing.assert_frame_equal(sa.Panel(indexed).frame, by_column.frame)
    pd.testing.assert_frame_equal(
        sa.Panel(indexed, entity="city", time="year").frame, by_column.frame
    )
    one_level = frame.set_index("city")
    pd.testing.assert_frame_equal(
        sa.Panel(one_level, entity="city", time="year").frame, by_column.frame
    )


def test_a_cross_section_is_a_panel_of_one_period(frame):
    panel = sa.Panel(frame[frame["year"] == 2001], entity="city")
    assert panel.shape == (1, 3)


def test_the_callers_frame_is_not_changed(frame):
    before = frame.copy(deep=True)
    panel = sa.Panel(frame, entity="city", time="year")
    column = panel.column("y")
    with pytest.raises(ValueError, match="read-only"):
        column[0, 0] = 9.0
    pd.testing.assert_frame_equal(frame, before)


def test_labels_may_be_integers_dates_and_categories(frame):
    frame["city"] = frame["city"].astype("category")
    frame["year"] = pd.to_datetime(frame["year"].astype(str), format="%Y")
    panel = sa.Panel(frame, entity="city", time="year")
    np.testing.assert_array_equal(panel.column("y"), [[1, 3, 5], [2, 4, 6]])


def check(match, frame, **keys):
    keys = keys or {"entity": "city", "time": "year"}
    with pytest.raises(DataError, match=match):
        sa.Panel(frame, **keys)


def test_duplicates_are_named(frame):
    check(
        r"1 \(city, year\) pair\(s\) occur more than once: \('a', 2001\)",
        pd.concat([frame, frame.iloc[[2]]]),
    )


def test_missing_cells_are_named(frame):
    check(r"1 of 6 \(city, year\) cells have no row: \('a', 2002\)", frame.drop(index=1))


def test_forgotten_time_is_hinted_at(frame):
    check("Give time=", frame, entity="city")


def test_missing_labels_are_named(frame):
    frame.loc[3, "city"] = None
    check(r"1 row\(s\) have no label in 'city' \(row positions 3\)", frame)


def test_mixed_labels(frame):
    frame["city"] = pd.Series(["b", 1, 1, "b", "c", "c"], dtype=object)
    check("mix types", frame)


def test_unknown_and_missing_keys(frame):
    check("no column 'town'", frame, entity="town", time="year")
    check("no column 'when'", frame, entity="city", time="when")
    check("needs entity=", frame, time="year")
    check("must be different", frame, entity="city", time="city")
    with pytest.raises(DataError, match="index has 1 level"):
        sa.Panel(frame)


def test_not_a_frame_and_empty(frame):
    with pytest.raises(DataError, match="got list"):
        sa.Panel([1, 2], entity="a", time="b")
    check("empty", frame.iloc[:0])


def test_repeated_column_names(frame):
    twice = pd.concat([frame, frame[["y"]]], axis=1)
    check("more than one is named 'y'", twice)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "missing"), (np.inf, "infinite")])
def test_bad_cells_are_named(frame, value, word):
    frame.loc[0, "y"] = value
    panel = sa.Panel(frame, entity="city", time="year")
    with pytest.raises(DataError, match=rf"'y' has 1 {word}.*\('b', 2001\)"):
        panel.column("y")


def test_nullable_and_boolean_columns(frame):
    frame["n"] = pd.array([1, 2, None, 4, 5, 6], dtype="Int64")
    frame["flag"] = [True, False, True, False, True, False]
    panel = sa.Panel(frame, entity="city", time="year")
    with pytest.raises(DataError, match=r"\('a', 2001\)"):
        panel.column("n")
    assert panel.column("flag").sum() == 3


def test_columns_that_are_not_numbers(frame):
    panel = sa.Panel(frame, entity="city", time="year")
    with pytest.raises(DataError, match="'name' is not numeric"):
        panel.column("name")
    with pytest.raises(DataError, match="no column 'z'.*'y', 'name'"):
        panel.column("z")


def test_an_index_in_the_other_order_is_an_error():
    frame = pd.DataFrame(
        {"city": ["a", "b"] * 3, "year": [2001, 2001, 2002, 2002, 2003, 2003], "y": range(6)}
    )
    with pytest.raises(DataError, match="in this order.*2001.*looks like the time.*swaplevel"):
        sa.Panel(frame.set_index(["year", "city"]))
    swapped = frame.set_index(["year", "city"])
    assert sa.Panel(swapped.swaplevel()).shape == (3, 2)
    assert sa.Panel(swapped, entity="city", time="year").shape == (3, 2)
    dates = frame.assign(year=pd.PeriodIndex(frame["year"].astype(str), freq="Y"))
    with pytest.raises(DataError, match="in this order"):
        sa.Panel(dates.set_index(["year", "city"]))
    numbered = frame.assign(city=frame["city"].map({"a": 7, "b": 8}))
    assert sa.Panel(numbered.set_index(["city", "year"])).shape == (3, 2)
