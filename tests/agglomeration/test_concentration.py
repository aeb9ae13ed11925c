"""Concentration of sectors over places."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spatial_agglo.agglomeration import (
    Employment,
    herfindahl_concentration,
    hoover_localisation,
    spatial_gini,
    theil,
    theil_decomposition,
)
from spatial_agglo.errors import DataError, OptionError

PLACES = list("abcdefgh")
#: Incomes whose Gini and Theil indices below are from PySAL's inequality 1.1.2.
Y = np.array([30.0, 10.0, 25.0, 5.0, 40.0, 15.0, 60.0, 0.001])
GROUPS = dict(zip(PLACES, "eeewwwcc", strict=True))


def employment(counts, entities=None, totals="allow"):
    counts = np.asarray(counts, dtype=float)
    entities = PLACES[: len(counts)] if entities is None else entities
    frame = pd.DataFrame(counts, index=pd.Index(entities, name="city"))
    names = list(frame.columns)
    return Employment.from_wide(frame.reset_index(), industries=names, entity="city", totals=totals)


def two(first, rest=None):
    """A sector, and the rest of the jobs."""
    rest = np.ones(len(first)) if rest is None else rest
    return employment(np.column_stack([first, rest]))


def test_gini_and_theil_of_pysal():
    """inequality.gini.Gini(Y).g, .theil.Theil(Y).T, .theil.TheilD(Y, groups).bg and .wg."""
    jobs = two(Y)
    gini = spatial_gini(jobs, 0, benchmark="uniform").item()
    assert gini == pytest.approx(0.4493171658531575, rel=1e-12)
    assert theil(jobs, 0, benchmark="uniform").item() == pytest.approx(
        0.35857790702272835, rel=1e-12
    )
    parts = theil_decomposition(jobs, 0, GROUPS, benchmark="uniform").iloc[0]
    assert parts["total"] == pytest.approx(0.35857790702272835, rel=1e-12)
    assert parts["between"] == pytest.approx(0.01444463, abs=5e-9)
    assert parts["within"] == pytest.approx(0.34413328, abs=5e-9)


def test_by_pencil():
    """Two places: s = (3/4, 1/4), all jobs half and half."""
    jobs = employment([[30, 10], [10, 30]])
    assert herfindahl_concentration(jobs, 0).item() == 0.625
    assert herfindahl_concentration(jobs, 0, normalised=True).item() == 0.25
    assert hoover_localisation(jobs, 0).item() == 0.25
    assert spatial_gini(jobs, 0).item() == pytest.approx(0.25, rel=1e-14)
    assert spatial_gini(jobs, 0, method="squares").item() == 0.125
    exact = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert theil(jobs, 0).item() == pytest.approx(exact, rel=1e-14)


counts = arrays(
    float,
    st.tuples(st.integers(2, 8), st.integers(2, 4)),
    elements=st.one_of(st.just(0.0), st.floats(0.5, 1e3)),
).filter(lambda c: (c.sum(axis=0) > 0).all())


def dense(values, j, benchmark):
    """Shares of places in sector j and of the benchmark."""
    s = values[:, j] / values[:, j].sum()
    if benchmark == "uniform":
        return s, np.full(len(values), 1 / len(values))
    return s, values.sum(axis=1) / values.sum()


@settings(max_examples=80, deadline=None)
@given(values=counts, benchmark=st.sampled_from(["employment", "uniform"]))
def test_against_definitions_by_pairs(values, benchmark):
    """Gini: mean difference of s/x between all pairs of places, weighted by x."""
    jobs = employment(values)
    for j in range(values.shape[1]):
        s, x = dense(values, j, benchmark)
        pairs = product(range(len(s)), repeat=2)
        mean_difference = sum(abs(s[i] * x[k] - s[k] * x[i]) for i, k in pairs)
        options = {"benchmark": benchmark}
        assert spatial_gini(jobs, j, **options).item() == pytest.approx(
            mean_difference / 2, abs=1e-12
        )
        moved = sum(max(a - b, 0.0) for a, b in zip(s, x, strict=True))
        assert hoover_localisation(jobs, j, **options).item() == pytest.approx(moved, abs=1e-12)
        information = sum(a * math.log(a / b) for a, b in zip(s, x, strict=True) if a > 0)
        assert theil(jobs, j, **options).item() == pytest.approx(information, abs=1e-12)
        squares = spatial_gini(jobs, j, method="squares", **options).item()
        assert squares == pytest.approx(float(s @ s - 2 * s @ x + x @ x), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(values=counts, seed=st.integers(0, 10**6))
def test_theil_is_the_sum_of_its_parts(values, seed):
    label = np.random.default_rng(seed).integers(0, 3, size=len(values))
    groups = dict(zip(PLACES, label.tolist(), strict=False))
    for benchmark in ("employment", "uniform"):
        parts = theil_decomposition(employment(values), 0, groups, benchmark=benchmark).iloc[0]
        whole = theil(employment(values), 0, benchmark=benchmark).item()
        assert parts["total"] == pytest.approx(whole, abs=1e-12)
        assert parts["between"] + parts["within"] == pytest.approx(whole, abs=1e-11)
        assert parts["between"] > -1e-12
        assert parts["within"] > -1e-12
        # The part between groups is the index of groups taken as places.
        s, x = dense(values, 0, benchmark)
        S, X = (np.bincount(label, weights=v, minlength=3) for v in (s, x))
        between = sum(a * math.log(a / b) for a, b in zip(S, X, strict=True) if a > 0)
        assert parts["between"] == pytest.approx(between, abs=1e-12)


MEASURES = (herfindahl_concentration, hoover_localisation, spatial_gini, theil)


@settings(max_examples=40, deadline=None)
@given(values=counts, scale=st.floats(1e-3, 1e3), seed=st.integers(0, 10**6))
def test_order_and_units_do_not_matter(values, scale, seed):
    order = np.random.default_rng(seed).permutation(len(values))
    for measure in MEASURES:
        found = measure(employment(values))
        np.testing.assert_allclose(measure(employment(values * scale)), found, atol=1e-12)
        shuffled = employment(values[order], entities=[PLACES[i] for i in order])
        np.testing.assert_allclose(measure(shuffled), found, atol=1e-12)


def test_extremes():
    even = two(np.full(5, 3.0))
    alone = two([7.0, 0.0, 0.0, 0.0, 0.0])
    for measure in (hoover_localisation, spatial_gini, theil):
        assert measure(even, 0, benchmark="uniform").item() == pytest.approx(0.0, abs=1e-15)
    assert herfindahl_concentration(even, 0).item() == pytest.approx(0.2)
    assert herfindahl_concentration(alone, 0, normalised=True).item() == pytest.approx(1.0)
    assert hoover_localisation(alone, 0, benchmark="uniform").item() == pytest.approx(0.8)
    assert spatial_gini(alone, 0, benchmark="uniform").item() == pytest.approx(0.8)
    assert theil(alone, 0, benchmark="uniform").item() == pytest.approx(math.log(5))


def test_a_place_without_any_jobs_adds_nothing():
    values = np.array([[3.0, 5.0], [4.0, 1.0], [2.0, 2.0]])
    longer = np.vstack([values, [0.0, 0.0]])
    for measure in MEASURES:
        np.testing.assert_allclose(
            measure(employment(longer)), measure(employment(values)), rtol=1e-12
        )


# --- regions, and shape of results ------------------------------------------------------


def panel_of(seed=0, T=2):
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product([PLACES, range(T)], names=["city", "year"])
    frame = pd.DataFrame(rng.uniform(1, 9, size=(len(index), 3)), index, ["x", "y", "z"])
    return frame


def test_within_regions_is_the_measure_of_each_region_alone():
    frame = panel_of()
    jobs = Employment.from_wide(frame, industries=["x", "y", "z"])
    for measure in MEASURES:
        found = measure(jobs, regions=GROUPS)
        assert found.index.names == ["region", "year"]
        assert list(found.columns) == ["x", "y", "z"]
        for region in "ewc":
            cities = [city for city in PLACES if GROUPS[city] == region]
            alone = Employment.from_wide(frame.loc[cities], industries=["x", "y", "z"])
            own = measure(alone)
            assert own.index.name == "year"
            np.testing.assert_allclose(found.xs(region), own, rtol=1e-12)
        one = measure(jobs, "y", regions=pd.Series(GROUPS))
        pd.testing.assert_series_equal(one, found["y"], check_names=False)


def test_places_left_out_are_not_counted():
    """1/n is of the places that are there."""
    frame = panel_of()
    frame.loc[("c", 1), "x"] = np.nan
    jobs = Employment.from_wide(frame, industries=["x", "y", "z"], missing="exclude")
    rest = frame.drop(index="c")
    alone = Employment.from_wide(rest, industries=["x", "y", "z"])
    for measure in (hoover_localisation, spatial_gini, theil):
        a, b = measure(jobs, benchmark="uniform"), measure(alone, benchmark="uniform")
        np.testing.assert_allclose(a.loc[1], b.loc[1], rtol=1e-12)
        assert not np.allclose(a.loc[0], b.loc[0])


def test_what_is_undefined_or_unknown():
    jobs = two([0.0, 0.0, 0.0])
    for measure in MEASURES:
        with pytest.raises(DataError, match=r"A sector employs nobody.*\(0, 'cross-section'\)"):
            measure(jobs, 0)
        assert np.isnan(measure(jobs, 0, undefined="nan").item())
    with pytest.raises(DataError, match="nobody"):
        theil_decomposition(jobs, 0, GROUPS)
    assert theil_decomposition(jobs, 0, GROUPS, undefined="nan").isna().all(axis=None)
    partial = employment([[0, 1], [0, 2], [3, 4]])
    with pytest.raises(DataError, match=r"'west', 0, 'cross-section'"):
        theil(partial, regions={"a": "west", "b": "west", "c": "east"})
    with pytest.raises(DataError, match="regions does not say where 'c'"):
        theil(partial, regions={"a": "west", "b": "west"})
    with pytest.raises(DataError, match="no label for 'b'"):
        theil(partial, regions={"a": "west", "b": None, "c": "east"})
    for regions in ("x", [1, 2]):
        with pytest.raises(DataError, match="regions must be a dict"):
            theil(partial, regions=regions)
    with pytest.raises(OptionError, match="benchmark"):
        theil(jobs, benchmark="area")
    with pytest.raises(OptionError, match="method"):
        spatial_gini(jobs, method="area")
