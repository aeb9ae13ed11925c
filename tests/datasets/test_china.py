"""The capitals of China lie where they should, and the synthetic series is what it says."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from spatial_agglo import datasets
from spatial_agglo.errors import OptionError
from spatial_agglo.weights import great_circle

#: Great-circle distances between city centres, km; which point is the centre matters little.
KNOWN = {
    ("Beijing", "Shanghai"): 1067,
    ("Beijing", "Tianjin"): 108,
    ("Beijing", "Guangzhou"): 1890,
    ("Beijing", "Lhasa"): 2560,
    ("Beijing", "Urumqi"): 2410,
    ("Guangzhou", "Haikou"): 456,
    ("Shanghai", "Chengdu"): 1660,
}
#: ISO 3166-2:CN, without the special administrative regions and TW.
CODES = (
    "AH BJ CQ FJ GD GS GX GZ HA HB HE HI HL HN JL JS JX LN NM NX QH SC SD SH SN SX TJ XJ XZ YN ZJ"
)
REGIONS = {
    "East": "BJ TJ HE SH JS ZJ FJ SD GD HI",
    "Central": "SX AH JX HA HB HN",
    "West": "NM GX CQ SC GZ YN XZ SN GS QH NX XJ",
    "Northeast": "LN JL HL",
}


@pytest.fixture(scope="module")
def capitals() -> pd.DataFrame:
    return datasets.china_capitals()


class TestCapitals:
    def test_table_has_the_declared_shape(self, capitals):
        assert capitals.shape == (31, 9)
        names = ["province", "province_zh", "capital", "capital_zh", "code", "region"]
        assert list(capitals.columns) == [*names, "geonames_id", "longitude", "latitude"]
        assert capitals[["longitude", "latitude"]].dtypes.eq("float64").all()
        assert pd.api.types.is_integer_dtype(capitals["geonames_id"])
        assert not capitals.isna().to_numpy().any()
        assert capitals["province"].is_monotonic_increasing

    def test_nothing_occurs_twice(self, capitals):
        for column in capitals.columns.drop(["region", "longitude", "latitude"]):
            assert capitals[column].is_unique, column
        assert not capitals.duplicated(["longitude", "latitude"]).any()

    def test_codes_are_those_of_the_standard(self, capitals):
        assert sorted(capitals["code"]) == CODES.split()

    @pytest.mark.parametrize(
        ("code", "province", "province_zh", "capital", "capital_zh"),
        [
            ("SN", "Shaanxi", "陕西省", "Xi'an", "西安市"),
            ("SX", "Shanxi", "山西省", "Taiyuan", "太原市"),
            ("HE", "Hebei", "河北省", "Shijiazhuang", "石家庄市"),
            ("HA", "Henan", "河南省", "Zhengzhou", "郑州市"),
            ("HB", "Hubei", "湖北省", "Wuhan", "武汉市"),
            ("HN", "Hunan", "湖南省", "Changsha", "长沙市"),
            ("HI", "Hainan", "海南省", "Haikou", "海口市"),
            ("HL", "Heilongjiang", "黑龙江省", "Harbin", "哈尔滨市"),
            ("GS", "Gansu", "甘肃省", "Lanzhou", "兰州市"),
            ("GX", "Guangxi", "广西壮族自治区", "Nanning", "南宁市"),
            ("GZ", "Guizhou", "贵州省", "Guiyang", "贵阳市"),
            ("NM", "Inner Mongolia", "内蒙古自治区", "Hohhot", "呼和浩特市"),
            ("JX", "Jiangxi", "江西省", "Nanchang", "南昌市"),
            ("FJ", "Fujian", "福建省", "Fuzhou", "福州市"),
        ],
    )
    def test_names_that_are_mixed_up_are_right(
        self, capitals, code, province, province_zh, capital, capital_zh
    ):
        row = capitals.set_index("code").loc[code]
        assert row[["province", "province_zh", "capital", "capital_zh"]].tolist() == [
            province,
            province_zh,
            capital,
            capital_zh,
        ]

    def test_there_are_22_provinces_5_regions_and_4_municipalities(self, capitals):
        last = capitals["province_zh"].str[-1].value_counts().to_dict()
        assert last == {"省": 22, "区": 5, "市": 4}
        own = capitals["province_zh"] == capitals["capital_zh"]
        assert sorted(capitals.loc[own, "code"]) == ["BJ", "CQ", "SH", "TJ"]
        assert (capitals["province"] == capitals["capital"])[own].all()
        assert capitals["capital_zh"].str.fullmatch("[\u4e00-\u9fff]+市").all()

    def test_regions_are_those_of_the_bureau_of_statistics(self, capitals):
        found = capitals.groupby("region")["code"].agg(set).to_dict()
        assert found == {region: set(codes.split()) for region, codes in REGIONS.items()}

    def test_points_lie_in_mainland_china_and_hainan(self, capitals):
        assert capitals["longitude"].between(73.5, 135.1).all()
        assert capitals["latitude"].between(18.1, 53.6).all()
        place = capitals.set_index("code")
        assert place["latitude"].idxmin() == "HI"
        assert place["latitude"].idxmax() == "HL"
        assert place["longitude"].idxmin() == "XJ"
        assert place["longitude"].idxmax() == "HL"

    def test_distances_are_the_known_ones(self, capitals):
        d = pd.DataFrame(
            great_circle(capitals["longitude"], capitals["latitude"]),
            index=capitals["capital"],
            columns=capitals["capital"],
        )
        for (one, other), km in KNOWN.items():
            assert d.loc[one, other] == pytest.approx(km, rel=0.005), (one, other)
        d = d + np.diag(np.full(31, np.inf))
        assert d.idxmin()["Beijing"] == "Tianjin"
        assert d.idxmin()["Haikou"] == "Nanning"
        assert d.min().min() > 100

    def test_distances_are_those_on_the_ellipsoid_but_for_its_flattening(self, capitals):
        pyproj = pytest.importorskip("pyproj")
        lon, lat = capitals["longitude"].to_numpy(), capitals["latitude"].to_numpy()
        i, j = np.triu_indices(31, 1)
        _, _, metres = pyproj.Geod(ellps="WGS84").inv(lon[i], lat[i], lon[j], lat[j])
        sphere = great_circle(lon, lat)[i, j]
        np.testing.assert_allclose(sphere, metres / 1000, rtol=0.006)

    def test_each_call_returns_a_fresh_frame(self):
        first = datasets.china_capitals()
        first.loc[:, "latitude"] = 0.0
        assert (datasets.china_capitals()["latitude"] > 18).all()

    def test_the_source_is_credited(self):
        text = re.sub(r"\s+", " ", datasets.china_capitals.__doc__)
        assert "GeoNames" in text
        assert "CC BY 4.0" in text


class TestSyntheticGdp:
    def test_levels_follow_the_stated_formula(self, capitals):
        gdp = datasets.synthetic_gdp()
        assert gdp.name == "synthetic GDP"
        assert gdp.index.tolist() == capitals["province"].tolist()
        for i, level in enumerate(gdp, start=1):
            assert level == round(2000 * 50 ** ((12 * i % 31) / 30))

    @pytest.mark.parametrize("seed", range(31))
    def test_levels_are_positive_and_all_different(self, seed):
        gdp = datasets.synthetic_gdp(seed=seed)
        assert gdp.is_unique
        assert gdp.min() == 2000
        assert gdp.max() == 100000
        assert np.diff(np.sort(gdp)).min() > 200
        assert sorted(gdp) == sorted(datasets.synthetic_gdp())

    def test_seeds_deal_differently(self):
        dealt = {tuple(datasets.synthetic_gdp(seed=seed)) for seed in range(31)}
        assert len(dealt) == 31

    def test_rounding_is_safe(self):
        powers = np.array([2000 * 50 ** (r / 30) for r in range(31)])
        assert np.abs(powers % 1 - 0.5).min() > 1e-3

    @pytest.mark.parametrize("seed", [-1, 31, 1.5, "0", True])
    def test_other_seeds_are_errors(self, seed):
        with pytest.raises(OptionError, match="from 0 to 30"):
            datasets.synthetic_gdp(seed=seed)

    def test_it_is_called_synthetic_wherever_it_appears(self):
        assert "synthetic, not data" in datasets.synthetic_gdp.__doc__
        table = datasets.ready_made()
        nested = table["description"].str.contains("nested")
        assert nested.sum() == 5
        assert table.index[nested].str.contains("synthetic").all()
        assert table.loc[nested, "description"].str.contains("synthetic GDP").all()
        assert table.loc[nested, "formula"].str.contains("Y synthetic").all()
        for name in table.index[nested]:
            assert "synthetic" in repr(datasets.weights(name))
