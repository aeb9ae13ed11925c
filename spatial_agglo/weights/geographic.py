"""Weights from geography: contiguity and inverse great-circle distance."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.errors import DataError, OptionError, WeightsError, check_option, listing
from spatial_agglo.weights.matrix import SpatialWeights, _labels

if TYPE_CHECKING:
    import geopandas as gpd

#: Mean radius of the Earth, km.
EARTH_RADIUS = 6371.0088
#: Units up to which a dense matrix of distances is formed.
DENSE_UNITS = 15_000


def contiguity(
    data: gpd.GeoDataFrame,
    *,
    ids: Hashable | None = None,
    kind: str = "queen",
    isolates: str = "error",
) -> SpatialWeights:
    """Link units that share a border, ``w_ij = 1`` (libpysal's ``Graph``).

    Parameters
    ----------
    data : GeoDataFrame
        One polygon per unit.
    ids : column label, optional
        Column with the labels of the units; the index when left out.
    kind : {"queen", "rook"}
        A shared vertex suffices (queen), or an edge is needed (rook).
    isolates : {"error", "allow"}
        What to do with units that touch no other.

    Returns
    -------
    SpatialWeights
        Symmetric, binary, not standardised.

    Raises
    ------
    WeightsError
        Units without neighbours, duplicated labels, missing geometries.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from shapely.geometry import box
    >>> cells = gpd.GeoDataFrame(
    ...     {"name": ["a", "b", "c"]}, geometry=[box(i, 0, i + 1, 1) for i in range(3)]
    ... )
    >>> contiguity(cells, ids="name").n_links
    4
    """
    check_option("kind", kind, ("queen", "rook"))
    if not hasattr(data, "geometry"):
        raise WeightsError(
            f"contiguity needs a GeoDataFrame with polygons; got {type(data).__name__}."
        )
    labels = _unit_labels(data, ids)
    geometry = data.geometry
    bad = np.asarray(geometry.isna() | geometry.is_empty)
    if bad.any():
        raise WeightsError(f"{int(bad.sum())} unit(s) have no geometry: {listing(labels[bad])}.")
    flat = ~np.asarray(geometry.geom_type.isin(["Polygon", "MultiPolygon"]))
    if flat.any():
        raise WeightsError(
            f"Contiguity is defined for polygons; not polygons: {listing(labels[flat])}. "
            "Use inverse_distance for points."
        )
    from libpysal.graph import Graph

    positions = geometry.reset_index(drop=True)
    graph = Graph.build_contiguity(positions, rook=kind == "rook")
    return SpatialWeights(
        sparse.csr_array(graph.sparse, dtype=float),
        labels,
        description=f"{kind} contiguity",
        isolates=isolates,
    )


def inverse_distance(
    data: pd.DataFrame,
    *,
    ids: Hashable | None = None,
    longitude: Hashable | None = None,
    latitude: Hashable | None = None,
    power: float = 1.0,
    cutoff: float | None = None,
    isolates: str = "error",
) -> SpatialWeights:
    """Weight units by inverse great-circle distance, ``w_ij = d_ij**-power``.

    Parameters
    ----------
    data : DataFrame or GeoDataFrame
        One row per unit, with longitude and latitude columns in degrees, or geometries in
        geographic coordinates (a representative point is used for polygons).
    ids : column label, optional
        Column with the labels of the units; the index when left out.
    longitude, latitude : column labels, optional
        For a DataFrame without geometry.
    power : float
        The exponent, positive.
    cutoff : float, optional
        Distance in km beyond which the weight is zero.
    isolates : {"error", "allow"}
        What to do with units that have no other within the cut-off.

    Returns
    -------
    SpatialWeights
        Symmetric, in km**-power, not standardised.

    Raises
    ------
    WeightsError
        Projected coordinates, two units at the same place, units without neighbours.

    Examples
    --------
    >>> import pandas as pd
    >>> capitals = pd.DataFrame(
    ...     {"lon": [116.40, 121.47, 113.26], "lat": [39.90, 31.23, 23.13]},
    ...     index=["Beijing", "Shanghai", "Guangzhou"],
    ... )
    >>> W = inverse_distance(capitals, longitude="lon", latitude="lat")
    >>> round(1 / W.matrix[0, 1])
    1067
    """
    if not (np.isfinite(power) and power > 0):
        raise OptionError(f"power={power!r} must be a positive number.")
    if cutoff is not None and not cutoff > 0:
        raise OptionError(f"cutoff={cutoff!r} must be a positive distance in km, or None.")
    labels = _unit_labels(data, ids)
    lon, lat = _degrees(data, longitude, latitude, labels)
    if labels.size > DENSE_UNITS:
        raise WeightsError(
            f"The distances between {labels.size} units need "
            f"{8 * labels.size**2 / 2**30:.0f} GiB; at most {DENSE_UNITS} units are supported."
        )
    distance = great_circle(lon, lat)
    near = ~np.eye(labels.size, dtype=bool)
    same = near & (distance < 1e-9)
    if same.any():
        i, j = np.nonzero(np.triu(same))
        pairs = list(zip(labels[i], labels[j], strict=True))
        raise WeightsError(
            f"{len(pairs)} pair(s) of units lie at the same place: {listing(pairs)}. Their "
            "inverse distance is infinite: move or merge them."
        )
    if cutoff is not None:
        near &= distance <= cutoff
    weights = np.zeros_like(distance)
    weights[near] = distance[near] ** -float(power)
    within = "" if cutoff is None else f" within {cutoff:g} km"
    return SpatialWeights(
        sparse.csr_array(weights),
        labels,
        description=f"inverse great-circle distance, d^-{power:g}{within}",
        isolates=isolates,
    )


def great_circle(longitude: NDArray, latitude: NDArray) -> NDArray:
    """Return the matrix of great-circle distances in km (haversine, R = 6371.0088 km).

    Parameters
    ----------
    longitude, latitude : array_like, shape (N,)
        Degrees.
    """
    lon, lat = np.radians(longitude), np.radians(latitude)
    h = np.sin((lat[:, None] - lat[None, :]) / 2) ** 2
    h += (
        np.cos(lat[:, None]) * np.cos(lat[None, :]) * np.sin((lon[:, None] - lon[None, :]) / 2) ** 2
    )
    return 2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0)))


def _unit_labels(data: Any, ids: Hashable | None) -> pd.Index:
    if ids is None:
        return _labels(data.index)
    if ids not in data.columns:
        raise WeightsError(
            f"The table has no column {ids!r} with the labels of the units. Its columns are: "
            f"{listing(data.columns, 20)}."
        )
    return _labels(pd.Index(data[ids]))


def _degrees(
    data: Any, longitude: Hashable | None, latitude: Hashable | None, labels: pd.Index
) -> tuple[NDArray, NDArray]:
    """Return longitudes and latitudes in degrees, checked."""
    if longitude is not None and latitude is not None:
        absent = [name for name in (longitude, latitude) if name not in data.columns]
        if absent:
            raise WeightsError(
                f"The table has no column {listing(absent)}; it has {listing(data.columns, 20)}."
            )
        lon = np.asarray(data[longitude], dtype=float)
        lat = np.asarray(data[latitude], dtype=float)
    elif hasattr(data, "geometry") and longitude is None and latitude is None:
        if data.crs is not None and not data.crs.is_geographic:
            raise WeightsError(
                f"Great-circle distances need longitude and latitude; the geometries are "
                f"projected ({data.crs.name}). Convert them: data.to_crs(4326)."
            )
        points = data.geometry.representative_point()
        lon, lat = np.asarray(points.x), np.asarray(points.y)
    else:
        raise WeightsError(
            "Name both coordinate columns, longitude=... and latitude=..., or pass a GeoDataFrame."
        )
    bad = ~(np.isfinite(lon) & np.isfinite(lat)) | (np.abs(lat) > 90) | (np.abs(lon) > 360)
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} unit(s) have no valid longitude and latitude in degrees: "
            f"{listing(labels[bad])}."
        )
    return lon, lat
