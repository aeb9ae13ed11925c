"""Counts at the gate: labels decide, and every rule says what it does."""

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.agglomeration import Employment, location_quotient
from spatial_agglo.errors import DataError, OptionError

INDUSTRIES = ["steel", "bank", "law", "farm"]


def tidy(seed=0, N=5, T=3):
    rng = np.random.default_rng(seed)
    cities = [f"c{i}" for i in range(N)]
    index = pd.MultiIndex.from_product(
        [cities, range(2001, 2001 + T), INDUSTRIES], names=["city", "year", "branch"]
    )
    jobs = rng.integers(1, 100, size=len(index)).astype(float)
    return pd.DataFrame({"jobs": jobs}, index=index).reset_index()


KEYS = {"entity": "city", "time": "year", "industry": "branch", "employment": "jobs"}


def wide_of(frame):
    return frame.pivot(index=["city", "year"], columns="branch", values="jobs")


def test_tidy_and_wide_rows_give_the_same_counts_in_any_order():
    frame = tidy()
    a = Employment.from_tidy(frame.sample(frac=1.0, random_state=1), **KEYS)
    wide = wide_of(frame)
    b = Employment.from_wide(wide.sample(frac=1.0, random_state=2), industries=INDUSTRIES)
    c = Employment.from_wide(wide.reset_index(), industries=INDUSTRIES, entity="city", time="year")
    expected = frame.set_index(["city", "year", "branch"])["jobs"]
    for found in (a, b, c):
        stacked = found.to_frame()[INDUSTRIES].stack()
        assert len(stacked) == len(expected)
        assert all(stacked[key] == value for key, value in expected.items())
        for t, year in enumerate(found.times):
            for j, branch in enumerate(found.industries):
                total = expected.xs((year, branch), level=("year", "branch")).sum()
                assert found.national[t, j] == total


def test_rows_come_in_the_order_of_a_panel():
    frame = tidy()
    found = Employment.from_tidy(frame, **KEYS).to_frame()
    panel = sa.Panel(wide_of(frame).sample(frac=1.0, random_state=0))
    assert found.index.equals(panel.frame.index)
    assert found.index.names == panel.frame.index.names


def test_a_measure_joins_to_a_panel_by_label():
    frame = tidy()
    wide = wide_of(frame).drop(columns="law").sample(frac=1.0, random_state=3)
    quotient = location_quotient(Employment.from_tidy(frame, **KEYS), "law")
    joined = wide.join(quotient)
    counts = frame.set_index(["city", "year", "branch"])["jobs"]
    by_year = counts.groupby("year").sum()
    for (city, year), value in joined["law"].items():
        own = counts[city, year, "law"] / counts.xs((city, year)).sum()
        nation = counts.xs((year, "law"), level=("year", "branch")).sum() / by_year[year]
        assert value == pytest.approx(own / nation, rel=1e-13)


def test_the_input_is_not_changed_and_counts_cannot_be():
    frame = tidy()
    before = frame.copy()
    found = Employment.from_tidy(frame, **KEYS)
    pd.testing.assert_frame_equal(frame, before)
    with pytest.raises(ValueError, match="read-only"):
        found.counts[0, 0, 0] = 1.0


def test_a_cross_section_and_categorical_and_date_labels():
    frame = tidy(T=1).drop(columns="year")
    backwards = sorted(frame["city"].unique(), reverse=True)
    frame["city"] = frame["city"].astype(pd.CategoricalDtype(backwards))
    keys = {**KEYS, "time": None}
    found = Employment.from_tidy(frame, **keys)
    assert list(found.times) == ["cross-section"]
    assert list(found.entities) == sorted(found.entities)
    dated = tidy().assign(year=lambda d: pd.to_datetime(d["year"].astype(str)))
    assert Employment.from_tidy(dated, **KEYS).times[0] == pd.Timestamp("2001-01-01")


# --- missing, unbalanced, negative ------------------------------------------------------


def test_missing_counts_are_named_and_filled_only_on_request():
    frame = tidy()
    gone = (frame["city"] == "c2") & (frame["year"] == 2002) & (frame["branch"] == "law")
    for broken in (frame[~gone], frame.assign(jobs=frame["jobs"].mask(gone))):
        with pytest.raises(DataError, match=r"1 count\(s\) are missing.*'c2', 2002, 'law'"):
            Employment.from_tidy(broken, **KEYS)
        zero = Employment.from_tidy(broken, **KEYS, missing="zero")
        assert list(zero.filled) == [("c2", 2002, "law")]
        assert zero.to_frame().loc[("c2", 2002), "law"] == 0.0
        assert not len(zero.excluded)


def test_an_excluded_place_is_in_no_sum():
    frame = tidy()
    gone = (frame["city"] == "c2") & (frame["year"] == 2002) & (frame["branch"] == "law")
    found = Employment.from_tidy(frame[~gone], **KEYS, missing="exclude")
    assert list(found.excluded) == [("c2", 2002)]
    assert ("c2", 2002) not in found.to_frame().index
    without = frame[~((frame["city"] == "c2") & (frame["year"] == 2002))]
    same = Employment.from_tidy(without, **KEYS, unbalanced="allow")
    np.testing.assert_array_equal(found.national, same.national)
    pd.testing.assert_frame_equal(location_quotient(found), location_quotient(same))
    assert len(location_quotient(found)) == 14


def test_a_place_without_any_count_needs_its_own_word():
    frame = tidy()
    without = frame[~((frame["city"] == "c2") & (frame["year"] == 2002))]
    for missing in ("error", "zero", "exclude"):
        with pytest.raises(DataError, match=r"no count at all: \('c2', 2002\).*unbalanced"):
            Employment.from_tidy(without, **KEYS, missing=missing)
    assert Employment.from_tidy(without, **KEYS, unbalanced="allow").present.sum() == 14


def test_negative_counts():
    frame = tidy()
    frame.loc[0, "jobs"] = -3.0
    with pytest.raises(DataError, match=r"negative.*'c0', 2001, 'steel'"):
        Employment.from_tidy(frame, **KEYS)
    with pytest.raises(DataError, match="missing"):
        Employment.from_tidy(frame, **KEYS, negative="missing")
    found = Employment.from_tidy(frame, **KEYS, negative="missing", missing="zero")
    assert list(found.filled) == [("c0", 2001, "steel")]


def test_infinite_repeated_and_unlabelled_rows():
    frame = tidy()
    with pytest.raises(DataError, match="infinite"):
        Employment.from_tidy(frame.assign(jobs=np.inf), **KEYS)
    with pytest.raises(DataError, match=r"repeat.*'c0', 2001, 'steel'"):
        Employment.from_tidy(pd.concat([frame, frame.iloc[:1]]), **KEYS)
    with pytest.raises(DataError, match="no label in 'branch'"):
        Employment.from_tidy(frame.assign(branch=frame["branch"].mask(frame.index == 3)), **KEYS)
    doubled = pd.concat([wide_of(frame)] * 2)
    with pytest.raises(DataError, match=r"repeat an \(entity, time\)"):
        Employment.from_wide(doubled, industries=INDUSTRIES)
    with pytest.raises(DataError, match="not numeric"):
        Employment.from_tidy(frame.assign(jobs=frame["jobs"].astype(str)), **KEYS)


# --- totals -----------------------------------------------------------------------------


def with_total(frame, lacking=0.0):
    sums = frame.groupby(["city", "year"], as_index=False)["jobs"].sum()
    sums["jobs"] += lacking
    return pd.concat([frame, sums.assign(branch="all")])


def test_a_total_is_not_an_industry():
    frame = tidy()
    plain = Employment.from_tidy(frame, **KEYS)
    found = Employment.from_tidy(with_total(frame), **KEYS, total="all")
    pd.testing.assert_frame_equal(found.to_frame(), plain.to_frame())


def test_what_is_left_of_a_total():
    frame = with_total(tidy(), lacking=7.0)
    with pytest.raises(DataError, match=r"do not sum to the total 'all'.*remainder='other'"):
        Employment.from_tidy(frame, **KEYS, total="all")
    other = Employment.from_tidy(frame, **KEYS, total="all", remainder="other")
    np.testing.assert_allclose(other.to_frame()["other"], 7.0, rtol=1e-12)
    scaled = Employment.from_tidy(frame, **KEYS, total="all", remainder="rescale")
    totals = frame[frame["branch"] == "all"].set_index(["city", "year"])["jobs"]
    sums = scaled.to_frame().sum(axis=1)
    np.testing.assert_allclose(sums, totals.loc[sums.index], rtol=1e-14)
    quotient = location_quotient(Employment.from_tidy(tidy(), **KEYS))
    shares = other.to_frame()[INDUSTRIES].div(sums, axis=0)
    assert not np.allclose(location_quotient(other)[INDUSTRIES], quotient[INDUSTRIES])
    assert (shares.sum(axis=1) < 1).all()


def test_industries_that_exceed_their_total():
    frame = with_total(tidy(), lacking=-7.0)
    for remainder in ("error", "other"):
        with pytest.raises(DataError, match="total 'all'"):
            Employment.from_tidy(frame, **KEYS, total="all", remainder=remainder)
    Employment.from_tidy(frame, **KEYS, total="all", remainder="rescale")
    Employment.from_tidy(with_total(tidy(), -1e-9), **KEYS, total="all", remainder="other")


def test_a_total_that_is_missing_is_not_zero():
    frame = with_total(tidy())
    gone = (frame["branch"] == "all") & (frame["city"] == "c1") & (frame["year"] == 2003)
    with pytest.raises(DataError, match=r"total 'all' is missing.*'c1', 2003"):
        Employment.from_tidy(frame[~gone], **KEYS, total="all", missing="zero")


def test_shares_are_turned_into_counts():
    frame = tidy()
    wide = wide_of(frame)
    totals = wide.sum(axis=1)
    percent = wide.div(totals, axis=0) * 100.0
    percent["all"] = totals
    found = Employment.from_wide(percent, industries=INDUSTRIES, total="all", shares=100)
    plain = Employment.from_wide(wide, industries=INDUSTRIES)
    np.testing.assert_allclose(found.counts, plain.counts, rtol=1e-13)
    with pytest.raises(DataError, match="do not sum"):
        Employment.from_wide(percent, industries=INDUSTRIES[:3], total="all", shares=100)
    with pytest.raises(DataError, match="needs total="):
        Employment.from_wide(percent, industries=INDUSTRIES, shares=100)
    with pytest.raises(OptionError, match="1 or 100"):
        Employment.from_wide(percent, industries=INDUSTRIES, total="all", shares=10)


def test_a_total_that_was_not_declared_is_noticed():
    frame = tidy()
    with pytest.raises(DataError, match=r"Industry 'all' equals the sum.*total='all'"):
        Employment.from_tidy(with_total(frame), **KEYS)
    nation = frame.groupby(["year", "branch"], as_index=False)["jobs"].sum().assign(city="China")
    doubled = pd.concat([frame, nation])
    with pytest.raises(DataError, match=r"Entity 'China' equals the sum.*nation='China'"):
        Employment.from_tidy(doubled, **KEYS)
    allowed = Employment.from_tidy(doubled, **KEYS, totals="allow")
    assert allowed.national.sum() == 2 * frame["jobs"].sum()


def test_the_nations_own_row():
    frame = tidy()
    nation = frame.groupby(["year", "branch"], as_index=False)["jobs"].sum().assign(city="China")
    plain = Employment.from_tidy(frame, **KEYS)
    found = Employment.from_tidy(pd.concat([frame, nation]), **KEYS, nation="China")
    assert "China" not in found.entities
    pd.testing.assert_frame_equal(location_quotient(found), location_quotient(plain))
    # A sample of places is compared with the whole nation.
    sample = pd.concat([frame[frame["city"] != "c4"], nation])
    part = location_quotient(Employment.from_tidy(sample, **KEYS, nation="China"))
    pd.testing.assert_frame_equal(part, location_quotient(plain).loc[part.index])
    with pytest.raises(DataError, match=r"Places employ more than the nation 'China'"):
        Employment.from_tidy(
            pd.concat([frame, nation.assign(jobs=nation["jobs"] * 0.9)]), **KEYS, nation="China"
        )
    with pytest.raises(DataError, match="no entity 'Chine'"):
        Employment.from_tidy(pd.concat([frame, nation]), **KEYS, nation="Chine")
    with pytest.raises(DataError, match="the nation cannot be left out"):
        Employment.from_tidy(
            pd.concat([frame, nation.iloc[1:]]), **KEYS, nation="China", missing="exclude"
        )


# --- sectors and options ----------------------------------------------------------------


def test_industries_are_grouped_into_sectors():
    found = Employment.from_tidy(tidy(), **KEYS)
    grouped = found.group({"services": ["law", "bank"]})
    assert list(grouped.industries) == ["services", "farm", "steel"]
    frame = found.to_frame()
    np.testing.assert_array_equal(grouped.to_frame()["services"], frame["bank"] + frame["law"])
    np.testing.assert_array_equal(grouped.national.sum(axis=1), found.national.sum(axis=1))


@pytest.mark.parametrize(
    ("sectors", "message"),
    [
        ({"services": ["law", "banks"]}, r"no industry 'banks'. Did you mean 'bank'\?"),
        ({"a": ["law"], "b": ["law", "bank"]}, "'law' is in more than one"),
        ({"steel": ["law"]}, "name of an industry that it does not hold"),
        ({"services": []}, "has no industries"),
        ({"services": "law"}, "must be a list"),
        ({}, "needs a dict"),
    ],
)
def test_sectors_that_cannot_be(sectors, message):
    with pytest.raises(DataError, match=message):
        Employment.from_tidy(tidy(), **KEYS).group(sectors)


@pytest.mark.parametrize(
    "option",
    [
        {"missing": "drop"},
        {"unbalanced": "yes"},
        {"negative": "zero"},
        {"remainder": "other"},
        {"remainder": "drop"},
        {"totals": "no"},
        {"tolerance": -1.0},
        {"tolerance": None},
        {"tolerance": [0.1]},
    ],
)
def test_unknown_options(option):
    with pytest.raises(OptionError):
        Employment.from_tidy(tidy(), **KEYS, **option)


def test_measures_need_declared_counts():
    with pytest.raises(DataError, match=r"Employment.from_tidy"):
        location_quotient(tidy(), "steel")
