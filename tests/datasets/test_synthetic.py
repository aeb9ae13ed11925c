"""The synthetic panels: their moments against the printed ones, and their truth recovered."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.agglomeration import (
    Employment,
    coagglomeration,
    composite_index,
    location_quotient,
)
from spatial_agglo.datasets import china_capitals, synthetic_process
from spatial_agglo.datasets.calibration import persistent, stretched, tilted
from spatial_agglo.datasets.cities_process import even
from spatial_agglo.datasets.indicator_system import indicators_of
from spatial_agglo.errors import DataError, OptionError

#: Table 3 of Yin & Su (2024): mean, standard deviation, minimum, maximum; typed from the paper.
TABLE_3 = {
    "ami": (32.96, 5.37, 14.48, 49.24),
    "amt": (19.70, 8.57, 6.06, 48.98),
    "amm": (41.68, 9.41, 17.28, 71.11),
    "amw": (47.66, 9.82, 15.47, 83.76),
    "gam": (68.69, 15.09, 15.44, 100.00),
    "ame": (18.84, 5.66, 10.70, 90.95),
    "coagglo": (3.99, 2.49, 1.02, 19.51),
    "pdgp": (10.29, 0.80, 8.06, 12.01),
    "fdi": (21.17, 3.81, 0.00, 24.89),
    "hcl": (10.77, 1.54, 0.00, 12.61),
    "gov": (21.88, 7.32, 0.00, 26.58),
    "inv": (26.89, 2.80, 0.00, 29.49),
    "str": (43.73, 9.49, 28.60, 83.90),
    "inf": (24.69, 1.25, 20.42, 28.36),
    "uic": (0.48, 0.95, 0.00, 7.07),
    "mi": (97.28, 182.18, 0.13, 1091.58),
    "icc": (0.13, 0.76, 0.00, 10.63),
}
#: Relative tolerances of mean, sd and ends where equations, not the table, decide.
LOOSE = {
    "ami": (1e-3, 1e-3, 0.08),
    "uic": (0.35, 0.05, 0.05),
    **dict.fromkeys(("amt", "amm", "amw", "gam", "ame"), (0.025, 0.10, 0.08)),
}
#: Table 2: overall and individual weights by dimension, in the order of the columns.
TABLE_2 = {
    "amt": ((0.075, 0.086, 0.105, 0.033), (0.231, 0.278, 0.359, 0.132)),
    "amm": ((0.044, 0.034, 0.028, 0.038, 0.025), (0.238, 0.196, 0.193, 0.227, 0.146)),
    "amw": ((0.092, 0.090, 0.033, 0.046), (0.360, 0.344, 0.125, 0.171)),
    "gam": ((0.020, 0.021, 0.031, 0.037), (0.149, 0.164, 0.303, 0.384)),
    "ame": ((0.031, 0.069, 0.021, 0.042), (0.206, 0.408, 0.107, 0.280)),
}
#: Table 1 of Wang, Shi & Zhang (2025): mean, sd, minimum, maximum, median.
TABLE_1 = {
    "agg": (0.87, 0.52, 0.01, 4.85, 0.78),
    "digital": (1.35, 0.93, 0.0, 4.69, 1.2),
    "manu": (0.46, 0.11, 0.06, 1.25, 0.46),
    "serv": (0.41, 0.11, 0.08, 1.31, 0.41),
    "pop": (5.77, 0.93, 0.68, 7.88, 5.95),
    "edu": (0.18, 0.04, 0.02, 0.38, 0.18),
}
SERVICES = ["transport", "leasing", "information", "finance", "science"]
CONTROLS = ["pdgp", "fdi", "hcl", "gov", "inv", "str", "inf"]


@pytest.fixture(scope="module")
def provinces() -> pd.DataFrame:
    """The panel with what follows from it by the package's own measures."""
    df = sa.datasets.provinces()
    jobs = Employment.from_wide(
        df,
        industries=["manufacturing", *SERVICES],
        entity="province",
        time="year",
        total="employment",
        remainder="other",
    ).group({"services": SERVICES})
    df = df.set_index(["province", "year"])
    df["coagglo"] = coagglomeration(jobs, "manufacturing", "services")
    index = system(df.reset_index())
    df["ami"] = index.scores
    return df.join(index.dimensions).reset_index()


def system(df: pd.DataFrame):
    columns = list(df.loc[:, "new_products":"log_profit"].columns)
    sizes = [len(weights) for weights, _ in TABLE_2.values()]
    ends = np.cumsum([0, *sizes])
    groups = {g: columns[ends[k] : ends[k + 1]] for k, g in enumerate(TABLE_2)}
    return composite_index(
        df,
        positive=[name for name in columns if name != "debt_ratio"],
        negative=["debt_ratio"],
        groups=groups,
        entity="province",
        time="year",
        score="standardised",
    )


@pytest.fixture(scope="module")
def cities() -> pd.DataFrame:
    df = sa.datasets.cities()
    jobs = Employment.from_wide(
        df,
        industries=["manufacturing"],
        entity="city",
        time="year",
        total="employment",
        remainder="other",
    )
    df = df.set_index(["city", "year"])
    df["agg"] = location_quotient(jobs, "manufacturing")
    return df.reset_index()


def nested(df: pd.DataFrame) -> sa.SpatialWeights:
    base = df[df["year"] == 2003].set_index("province")
    d = sa.weights.distances(base, longitude="longitude", latitude="latitude")
    return sa.weights.nested(d, np.exp(base["pdgp"]), form="convex", share=0.5)


class TestProvinces:
    def test_shape_labels_and_what_is_true(self):
        df = sa.datasets.provinces()
        assert df.shape == (589, 45)
        assert df.groupby("province")["year"].agg(
            ["min", "max", "nunique"]
        ).drop_duplicates().to_numpy().tolist() == [[2003, 2021, 19]]
        capitals = china_capitals().set_index("province")
        one = df.drop_duplicates("province").set_index("province")
        pd.testing.assert_frame_equal(
            one[["region", "longitude", "latitude"]],
            capitals.loc[one.index, ["region", "longitude", "latitude"]],
        )
        assert one["clusters"].sum() == 18
        gaps = df.columns[df.isna().any()].tolist()
        assert gaps == ["centers"]
        assert df.loc[df["year"] >= 2016, "centers"].notna().all()

    def test_it_says_that_it_is_synthetic(self):
        df = sa.datasets.provinces()
        assert df.attrs["synthetic"] is True
        assert df.attrs["description"].startswith("Synthetic data")
        assert "synthetic, not data" in sa.datasets.provinces.__doc__

    def test_counts_are_whole_persons_and_fit_into_the_total(self, provinces):
        parts = provinces[["manufacturing", *SERVICES]]
        assert (parts.dtypes == "int64").all()
        assert (parts > 0).all().all()
        assert (parts.sum(axis=1) < provinces["employment"]).all()

    @pytest.mark.parametrize("name", TABLE_3)
    def test_moments_are_the_published_ones(self, provinces, name):
        found = provinces[name].agg(["mean", "std", "min", "max"]).to_numpy()
        mean, sd, ends = LOOSE.get(name, (1e-4, 1e-4, 1e-4))
        printed = np.array(TABLE_3[name])
        print(name, printed, found.round(2))
        allowed = np.array([mean, sd, ends, ends]) * np.abs(printed)
        assert (np.abs(found - printed) <= allowed + 5e-6).all()

    def test_weights_of_the_indicators_are_near_the_published_ones(self, provinces):
        table = system(provinces).weights
        overall = np.concatenate([a for a, _ in TABLE_2.values()])
        individual = np.concatenate([b for _, b in TABLE_2.values()])
        print(table[["weight", "weight_in_group"]].assign(overall=overall, individual=individual))
        assert np.abs(table["weight"] - overall).max() < 0.04
        assert np.abs(table["weight_in_group"] - individual).max() < 0.06
        assert np.corrcoef(table["weight"], overall)[0, 1] > 0.85

    def test_the_printed_tables_2_and_3_are_not_of_one_entropy_computation(self):
        """What the docstring says of them, by their own numbers."""
        overall, individual = np.array(TABLE_2["amt"][0]), np.array(TABLE_2["amt"][1])
        assert np.abs(overall / overall.sum() - individual).max() > 0.02
        implied = sum(sum(TABLE_2[g][0]) * TABLE_3[g][0] for g in TABLE_2)
        assert implied == pytest.approx(35.9, abs=0.05)
        assert abs(implied - TABLE_3["ami"][0]) > 2.5

    def test_the_index_is_the_outcome_of_the_process(self, provinces):
        """Counts and indicators are rounded; what follows from them is what was drawn."""
        from spatial_agglo.datasets import provinces_process, synthetic_provinces

        rng = np.random.Generator(np.random.PCG64(synthetic_provinces.SEED))
        drawn = provinces_process.draw(rng, china_capitals()).values
        for name in ("ami", "coagglo"):
            wide = provinces.pivot(index="year", columns="province", values=name)
            np.testing.assert_allclose(wide.to_numpy(), drawn[name], atol=2e-4)

    def test_the_sdm_recovers_the_truth(self, provinces):
        truth = synthetic_process("provinces")["ami"]
        df = provinces.copy()
        for name in ("mi", "icc"):
            df[name] = (df[name] - TABLE_3[name][0]) / TABLE_3[name][1]
        for first in ("coagglo", "uic"):
            for name in ("mi", "icc"):
                df[f"{first}_{name}"] = (df[first] - TABLE_3[first][0]) * df[name]
        names = ["coagglo", "uic", "mi", "icc"]
        names += [f"{a}_{b}" for a in ("coagglo", "uic") for b in ("mi", "icc")]
        panel = sa.Panel(df, entity="province", time="year")
        fit = sa.sdm(f"ami ~ {' + '.join(names + CONTROLS)}", panel, nested(df))
        true = pd.Series(
            {name: truth.get(name.replace("_", ":"), 0.0) for name in fit.params.index}
        )
        z = (fit.params - true) / fit.std_errors
        print(pd.DataFrame({"true": true, "estimate": fit.params, "z": z}).round(3))
        assert set(truth.index) <= {name.replace("_", ":") for name in fit.params.index}
        assert z.abs().max() < 3.0
        # 31 slopes: their squares have mean one if the standard errors tell the truth.
        assert 0.4 < (z.drop(["rho", "sigma2"]) ** 2).mean() < 1.8

    def test_there_is_positive_spatial_dependence_every_year(self, provinces):
        panel = sa.Panel(provinces, entity="province", time="year")
        found = sa.esda.moran(panel, ["ami", "coagglo"], nested(provinces))
        assert (found["I"] > 0).all()
        assert (found["p_value"] < 0.05).mean() > 0.9

    def test_a_mechanism_is_there(self, provinces):
        panel = sa.Panel(provinces, entity="province", time="year")
        controls = " + ".join(CONTROLS)
        first = sa.ols(f"uic ~ coagglo + {controls}", panel, effects="two-way", cov="clustered")
        second = sa.ols(
            f"ami ~ coagglo + uic + {controls}", panel, effects="two-way", cov="clustered"
        )
        assert first.tstats["coagglo"] > 3
        assert second.tstats["uic"] > 3

    def test_the_caller_gets_a_frame_of_its_own(self):
        df = sa.datasets.provinces()
        df["mi"] = 0.0
        assert sa.datasets.provinces()["mi"].max() > 1000


class TestCities:
    def test_shape_and_labels(self):
        df = sa.datasets.cities()
        assert df.shape == (4050, 14)
        assert df["city"].unique().tolist() == [f"City {k:03d}" for k in range(1, 271)]
        assert df["year"].agg(["min", "max"]).tolist() == [2008, 2022]
        assert not df.isna().to_numpy().any()
        one = df.drop_duplicates("city")
        assert one["region"].value_counts().to_dict() == {"East": 101, "Central": 100, "West": 69}
        assert df.attrs["synthetic"] is True
        assert "the cities do not exist" in df.attrs["description"]

    def test_points_lie_between_the_corners_of_their_region(self):
        from spatial_agglo.datasets.synthetic_cities import REGIONS

        shapely = pytest.importorskip("shapely")
        one = sa.datasets.cities().drop_duplicates("city")
        for region, (_, _, corners) in REGIONS.items():
            hull = shapely.MultiPoint(corners).convex_hull.buffer(1e-3)
            part = one[one["region"] == region]
            assert shapely.contains_xy(hull, part["longitude"], part["latitude"]).all()

    @pytest.mark.parametrize("name", TABLE_1)
    def test_moments_are_the_published_ones(self, cities, name):
        found = cities[name].agg(["mean", "std", "min", "max", "median"]).to_numpy()
        print(name, TABLE_1[name], found.round(3))
        np.testing.assert_allclose(found[:3], TABLE_1[name][:3], atol=1e-4)
        assert found[4] == pytest.approx(TABLE_1[name][4], abs=0.12)
        if name in ("manu", "serv"):  # printed maxima above one
            assert found[3] < 0.9
        else:
            assert found[3] == pytest.approx(TABLE_1[name][3], abs=1e-4)

    def test_shares_are_shares(self, cities):
        assert (cities["manu"] + cities["serv"]).max() < 1
        assert (cities["manufacturing"] < cities["employment"]).all()

    @pytest.mark.parametrize("outcome", ["tec", "inter", "agg"])
    def test_two_way_effects_recover_the_truth(self, cities, outcome):
        truth = synthetic_process("cities")[outcome]
        panel = sa.Panel(cities, entity="city", time="year")
        formula = f"{outcome} ~ {' + '.join(truth.index)}"
        fit = sa.ols(formula, panel, effects="two-way", cov="clustered")
        z = (fit.params[truth.index] - truth) / fit.std_errors[truth.index]
        print(pd.DataFrame({"true": truth, "z": z}).round(3))
        assert z.abs().max() < 3.0

    def test_the_total_effect_is_the_published_one(self):
        truth = synthetic_process("cities")
        through = sum(truth[m, "digital"] * truth["agg", m] for m in ("tec", "inter"))
        assert truth["agg", "digital"] + through == pytest.approx(0.0615, abs=5e-4)


class TestMaking:
    def test_both_panels_are_the_same_in_another_process(self):
        code = (
            "import hashlib, pandas as pd, spatial_agglo as sa\n"
            "for make in (sa.datasets.provinces, sa.datasets.cities):\n"
            "    hashed = pd.util.hash_pandas_object(make()).to_numpy().tobytes()\n"
            "    print(hashlib.sha256(hashed).hexdigest())"
        )
        runs = [
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            for _ in range(2)
        ]
        assert runs[0].stdout == runs[1].stdout != ""

    def test_stretched_keeps_the_order(self):
        z = np.random.default_rng(1).normal(size=200)
        x = stretched(z, low=1.0, high=20.0, mean=4.0, sd=2.5)
        assert (np.diff(x[np.argsort(z)]) >= 0).all()
        assert [x.min(), x.max(), x.mean(), x.std(ddof=1)] == pytest.approx([1, 20, 4, 2.5])

    def test_stretched_says_when_there_is_no_such_map(self):
        with pytest.raises(DataError, match="No monotone map"):
            stretched(np.arange(50.0), low=0.0, high=1.0, mean=0.5, sd=0.9)

    def test_tilted_meets_its_means(self):
        rng = np.random.default_rng(2)
        a, b = np.exp(rng.normal(size=(2, 30)))
        p = tilted(np.ones(30), [a, b], [1.0, 1.1])
        assert [p.sum(), p @ a, p @ b] == pytest.approx([1.0, 1.0, 1.1])
        with pytest.raises(DataError, match="outside the range"):
            tilted(np.ones(30), [a], [2.0 * a.max()])

    def test_persistent_is_a_stationary_autoregression(self):
        x = persistent(np.random.default_rng(3), 400, 100, decay=0.7)
        assert x.std() == pytest.approx(1.0, abs=0.03)
        assert np.corrcoef(x[1:].ravel(), x[:-1].ravel())[0, 1] == pytest.approx(0.7, abs=0.02)

    def test_even_errors_are_bounded_and_of_variance_one(self):
        x = even(np.random.default_rng(4).normal(size=100_000))
        assert np.abs(x).max() < np.sqrt(3.0)
        assert x.std() == pytest.approx(1.0, abs=0.01)

    def test_indicators_have_the_index_they_were_made_for(self):
        rng = np.random.default_rng(5)
        total = 40.0 + 5.0 * rng.normal(size=300)
        Y = indicators_of(
            total,
            {"a": (30.0, 8.0, 8.0, 60.0), "b": (50.0, 9.0, 20.0, 80.0)},
            {"a": (0.6, 0.4), "b": (0.3, 0.3, 0.4)},
            {"a": 0.5, "b": 0.5},
            rng.normal(size=(300, 2)),
            rng.normal(size=(300, 5)),
        )
        assert Y.min(axis=0).tolist() == [0.0] * 5
        assert Y.max(axis=0).tolist() == [1.0] * 5
        frame = pd.DataFrame(Y, columns=list("abcde")).assign(unit=range(300))
        index = composite_index(frame, positive=list("abcde"), entity="unit", score="standardised")
        np.testing.assert_allclose(index.scores, total, atol=1e-8)

    def test_an_unknown_study_is_an_error(self):
        with pytest.raises(OptionError, match="provinces"):
            synthetic_process("counties")
