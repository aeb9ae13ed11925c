"""Outlines of the units of the US panels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spatial_agglo.datasets.panels import state_labels
from spatial_agglo.errors import DataError, MissingDependencyError, check_option

if TYPE_CHECKING:
    import geopandas as gpd
    import shapely

STUDIES = ("cigarettes", "production")


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
    check_option("study", study, STUDIES)
    units = state_labels(study)
    outlines = _us48()
    absent = units.loc[~units["code"].isin(outlines.index), "state"]
    if len(absent):
        raise DataError(
            f"The map of libpysal's example us_income must hold every unit of {study!r}; it has "
            f"no outline for {', '.join(absent)}. Install a libpysal that ships us48.shp."
        )
    return outlines.loc[units["code"]].reset_index()[["state", "code", "geometry"]]


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
