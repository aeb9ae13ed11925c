"""Location quotients, co-agglomeration and specialisation."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spatial_agglo.agglomeration import (
    Employment,
    coagglomeration,
    herfindahl_specialisation,
    krugman_specialisation,
    location_quotient,
)
from spatial_agglo.errors import DataError, OptionError

#                 steel bank law  in 2001, and in 2002
TABLE = {
    ("a", 2001): (60, 20, 20), ("b", 2001): (20, 10, 10), ("c", 2001): (20, 30, 10),
    ("a", 2002): (10, 0, 40), ("b", 2002): (30, 10, 10), ("c", 2002): (0, 90, 10),
}  # fmt: skip
NAMES = ["steel", "bank", "law"]


def employment(table=TABLE, names=NAMES, **options):
    index = pd.MultiIndex.from_tuples(table, names=["city", "year"])
    frame = pd.DataFrame(list(table.values()), index=index, columns=names, dtype=float)
    return Employment.from_wide(frame, industries=names, **options)


def cube(values):
    """Counts (T, N, J) of places p00, p01, ... and industries 0, 1, ..."""
    T, N, J = values.shape
    index = pd.MultiIndex.from_product(
        [range(T), [f"p{i:02d}" for i in range(N)]], names=["t", "id"]
    ).swaplevel()
    frame = pd.DataFrame(values.reshape(T * N, J), index=index)
    return Employment.from_wide(frame, industries=list(range(J)), totals="allow")


def test_location_quotients_by_pencil():
    """2001: a has 100 of 200 jobs, 60 of 100 in steel: (60/100)/(100/200) = 1.2."""
    found = location_quotient(employment(), "steel")
    assert found.name == "steel"
    assert found.index.names == ["city", "year"]
    expected = {
        ("a", 2001): 1.2, ("b", 2001): 1.0, ("c", 2001): 2 / 3,
        ("a", 2002): 1.0, ("b", 2002): 3.0, ("c", 2002): 0.0,
    }  # fmt: skip
    for cell, value in expected.items():
        assert found[cell] == pytest.approx(value, rel=1e-14)


def quotient(city, year, j):
    own, rows = TABLE[city, year], [row for (_, t), row in TABLE.items() if t == year]
    share = Fraction(own[j], sum(own))
    return share / Fraction(sum(row[j] for row in rows), sum(map(sum, rows)))


def test_location_quotients_in_exact_arithmetic():
    found = location_quotient(employment())
    assert list(found.columns) == NAMES
    for city, year in TABLE:
        for j, name in enumerate(NAMES):
            exact = float(quotient(city, year, j))
            assert found.loc[(city, year), name] == pytest.approx(exact, rel=1e-14)


def test_coagglomeration_in_exact_arithmetic():
    found = coagglomeration(employment(), "steel", "bank")
    swapped = coagglomeration(employment(), "bank", "steel")
    for city, year in TABLE:
        a, b = quotient(city, year, 0), quotient(city, year, 1)
        exact = 1 - abs(a - b) / (a + b) + (a + b)
        assert found[city, year] == pytest.approx(float(exact), rel=1e-14)
        assert swapped[city, year] == pytest.approx(float(exact), rel=1e-14)
    # By pencil, b in 2001: steel 1, bank (10/40)/(60/200) = 5/6: 1 - (1/6)/(11/6) + 11/6.
    assert found["b", 2001] == pytest.approx(1 - 1 / 11 + 11 / 6, rel=1e-14)


def test_coagglomeration_of_a_grouped_sector():
    """A place whose services are two industries has the quotient of their sum."""
    grouped = employment().group({"services": ["bank", "law"]})
    found = coagglomeration(grouped, "steel", "services")
    a, b = 1.2, (40 / 100) / (100 / 200)
    assert found["a", 2001] == pytest.approx(1 - (a - b) / (a + b) + a + b, rel=1e-14)


def test_krugman_by_pencil():
    """2001: the nation has 0.5, 0.3, 0.2; a has 0.6, 0.2, 0.2; the others 0.4, 0.4, 0.2."""
    found = krugman_specialisation(employment())
    assert found["a", 2001] == pytest.approx(0.2, rel=1e-13)
    rest = krugman_specialisation(employment(), reference="rest")
    assert rest["a", 2001] == pytest.approx(0.4, rel=1e-13)


def test_herfindahl_by_pencil():
    found = herfindahl_specialisation(employment())
    assert found["a", 2001] == pytest.approx(0.36 + 0.04 + 0.04, rel=1e-14)
    normal = herfindahl_specialisation(employment(), normalised=True)
    assert normal["a", 2001] == pytest.approx((0.44 - 1 / 3) / (2 / 3), rel=1e-13)


counts = arrays(
    float,
    st.tuples(st.integers(1, 3), st.integers(2, 6), st.integers(2, 5)),
    elements=st.floats(0.5, 1e4),
)


@settings(max_examples=60, deadline=None)
@given(values=counts, seed=st.integers(0, 10**6))
def test_properties_of_quotients(values, seed):
    T, N, J = values.shape
    found = location_quotient(cube(values)).to_numpy().reshape(T, N, J)
    # The mean over places, weighted by their jobs, is 1.
    weight = values.sum(axis=2) / values.sum(axis=(1, 2))[:, None]
    np.testing.assert_allclose((weight[:, :, None] * found).sum(axis=1), 1.0, rtol=1e-10)
    # Units of measurement do not matter, and may differ between periods.
    scale = np.random.default_rng(seed).uniform(0.01, 100.0, size=(T, 1, 1))
    rescaled = location_quotient(cube(values * scale)).to_numpy().reshape(T, N, J)
    np.testing.assert_allclose(rescaled, found, rtol=1e-10)
    # Neither does the order of places or industries.
    places = np.random.default_rng(seed).permutation(N)
    branches = np.random.default_rng(seed).permutation(J)
    other = location_quotient(cube(values[:, places][:, :, branches])).to_numpy()
    np.testing.assert_allclose(other.reshape(T, N, J), found[:, places][:, :, branches], rtol=1e-10)


@settings(max_examples=40, deadline=None)
@given(values=counts)
def test_places_like_the_nation(values):
    """One structure in all places: LQ = 1, co-agglomeration 3, no specialisation."""
    jobs = values.sum(axis=2, keepdims=True)
    structure = values[:, :1] / values[:, :1].sum(axis=2, keepdims=True)
    alike = cube(jobs * structure)
    np.testing.assert_allclose(location_quotient(alike), 1.0, rtol=1e-10)
    np.testing.assert_allclose(coagglomeration(alike, 0, 1), 3.0, rtol=1e-10)
    np.testing.assert_allclose(krugman_specialisation(alike), 0.0, atol=1e-10)
    np.testing.assert_allclose(krugman_specialisation(alike, reference="rest"), 0.0, atol=1e-9)


def test_places_with_nothing_in_common():
    """Every place has an industry of its own: as far from the rest as can be."""
    apart = cube(np.eye(4)[None] * 5.0)
    np.testing.assert_allclose(krugman_specialisation(apart, reference="rest"), 2.0)
    np.testing.assert_allclose(krugman_specialisation(apart), 2.0 * (1 - 1 / 4))
    np.testing.assert_allclose(herfindahl_specialisation(apart, normalised=True), 1.0)


def test_the_rest_of_the_nation_at_any_scale_of_rounding():
    """A place that holds an industry alone leaves nobody in it elsewhere."""
    values = np.array([[[0.1 + 0.2, 5.0], [0.0, 7.0], [0.0, 9.0]]])
    found = krugman_specialisation(cube(values), reference="rest").to_numpy()
    share = 0.3 / 5.3
    assert found[0] == pytest.approx(2 * share, rel=1e-12)


# --- what is undefined ------------------------------------------------------------------


def test_a_place_without_jobs():
    table = {**TABLE, ("b", 2002): (0, 0, 0)}
    for measure in (
        lambda **o: location_quotient(employment(table), "steel", **o),
        lambda **o: coagglomeration(employment(table), "steel", "bank", **o),
        lambda **o: krugman_specialisation(employment(table), **o),
        lambda **o: herfindahl_specialisation(employment(table), **o),
    ):
        with pytest.raises(DataError, match=r"employs nobody at all.*\('b', 2002\)"):
            measure()
        found = measure(undefined="nan")
        assert found.isna().sum() == 1
        assert np.isnan(found["b", 2002])


def test_a_sector_that_employs_nobody_in_a_period():
    table = {cell: (0, *row[1:]) if cell[1] == 2002 else row for cell, row in TABLE.items()}
    with pytest.raises(DataError, match=r"nobody in a sector.*\('steel', 2002\)"):
        location_quotient(employment(table), "steel")
    found = location_quotient(employment(table), "steel", undefined="nan")
    assert list(found.isna()) == [False] * 3 + [True] * 3
    assert location_quotient(employment(table), "bank").notna().all()


def test_two_sectors_without_jobs_in_a_place():
    table = {**TABLE, ("b", 2001): (0, 0, 40)}
    with pytest.raises(DataError, match=r"Neither 'steel' nor 'bank'.*\('b', 2001\)"):
        coagglomeration(employment(table), "steel", "bank")
    found = coagglomeration(employment(table), "steel", "bank", undefined="nan")
    assert list(found[found.isna()].index) == [("b", 2001)]


def test_one_place_has_no_rest():
    table = {("a", 1): (1, 2, 3)}
    with pytest.raises(DataError, match="no other jobs"):
        krugman_specialisation(employment(table), reference="rest")


def test_wrong_arguments():
    with pytest.raises(DataError, match=r"no industry 'stel'. Did you mean 'steel'"):
        location_quotient(employment(), ["bank", "stel"])
    with pytest.raises(DataError, match="Two different sectors"):
        coagglomeration(employment(), "steel", "steel")
    with pytest.raises(DataError, match=r"one industry.*\.group"):
        coagglomeration(employment(), ["steel", "law"], "bank")
    with pytest.raises(DataError, match="one industry"):
        location_quotient(employment(), {"steel"})
    with pytest.raises(OptionError, match="undefined"):
        location_quotient(employment(), undefined="zero")
    with pytest.raises(OptionError, match="reference"):
        krugman_specialisation(employment(), reference="mean")
    one = employment().group({"all": NAMES})
    with pytest.raises(DataError, match="one industry"):
        herfindahl_specialisation(one, normalised=True)
