"""Distances between units: from coordinates (never dense unless asked) or from a user's matrix."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from spatial_agglo.errors import DataError, WeightsError, check_option, listing
from spatial_agglo.weights.labels import unit_labels

#: Mean radius of the Earth, km.
EARTH_RADIUS = 6371.0088
#: Units up to which a dense matrix of distances is formed (1.7 GiB).
DENSE_UNITS = 15_000
METRICS = ("auto", "great-circle", "planar")


@dataclass(frozen=True, eq=False)
class Distances:
    """Distances between labelled units, searched with a k-d tree where there are coordinates.

    Attributes
    ----------
    ids : Index
    metric : {"great-circle", "planar", "given"}
    unit : str
        Unit of the distances: "km", the unit of the projection, or "" when unknown.
    points : ndarray, shape (N, 2 or 3), or None
        Planar coordinates, or points on the sphere of the Earth (km).
    matrix : ndarray, shape (N, N), or None
        A user's distances or travel times.

    Examples
    --------
    >>> import pandas as pd
    >>> capitals = pd.DataFrame(
    ...     {"lon": [116.40, 121.47, 113.26], "lat": [39.90, 31.23, 23.13]},
    ...     index=["Beijing", "Shanghai", "Guangzhou"],
    ... )
    >>> d = distances(capitals, longitude="lon", latitude="lat")
    >>> d.dense()[0].round().tolist()
    [0.0, 1067.0, 1888.0]
    """

    ids: pd.Index
    metric: str
    unit: str
    points: NDArray | None = None
    matrix: NDArray | None = None
    _tree: list[cKDTree] = field(default_factory=list, repr=False)

    @property
    def n(self) -> int:
        """Number of units."""
        return int(self.ids.size)

    @cached_property
    def rank(self) -> NDArray:
        """Rank of every label in sorted order: what breaks ties between equal distances."""
        order = np.argsort(self.ids.astype(str).to_numpy(dtype=object), kind="stable")
        rank = np.empty(self.n, dtype=np.int64)
        rank[order] = np.arange(self.n)
        return rank

    def __repr__(self) -> str:
        unit = f", in {self.unit}" if self.unit else ""
        return f"Distances({self.n} units, {self.metric}{unit})"

    def dense(self) -> NDArray:
        """Return all the distances, shape (N, N).

        Raises
        ------
        WeightsError
            More units than a dense matrix is formed for; the memory it needs is named.
        """
        if self.matrix is not None:
            return self.matrix
        if self.n > DENSE_UNITS:
            raise WeightsError(
                f"All distances between {self.n} units need {8 * self.n**2 / 2**30:.0f} GiB (at "
                f"most {DENSE_UNITS} units are done densely). Give a cut-off, or use the nearest "
                "neighbours."
            )
        points = self._points()
        out = np.empty((self.n, self.n))
        step = max(1, 2_000_000 // self.n)
        for start in range(0, self.n, step):
            block = points[start : start + step]
            squared = np.zeros((len(block), self.n))
            for axis in range(points.shape[1]):
                squared += (block[:, axis, None] - points[None, :, axis]) ** 2
            out[start : start + step] = self._arc(np.sqrt(squared))
        np.fill_diagonal(out, 0.0)
        return out

    def within(self, threshold: float) -> sparse.csr_array:
        """Return the distances up to a threshold, sparse; pairs at distance zero are kept."""
        if self.matrix is not None:
            near = self.matrix <= threshold
            np.fill_diagonal(near, False)
            i, j = np.nonzero(near)
            d = self.matrix[i, j]
        else:
            tree = self._kdtree()
            pairs = tree.query_pairs(self._chord(threshold * (1 + 1e-12)), output_type="ndarray")
            points = self._points()
            half = self._arc(np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1))
            pairs, half = pairs[half <= threshold], half[half <= threshold]
            i = np.concatenate([pairs[:, 0], pairs[:, 1]])
            j = np.concatenate([pairs[:, 1], pairs[:, 0]])
            d = np.concatenate([half, half])
        # distances are stored with an offset of the smallest float, so that zeros survive
        out = sparse.csr_array((np.maximum(d, np.finfo(float).tiny), (i, j)), shape=(self.n,) * 2)
        out.sort_indices()
        return out

    def nearest(self, k: int) -> tuple[NDArray, NDArray]:
        """Return the distances to and positions of the k nearest others, shape (N, k).

        Of units at the same distance the one whose label sorts first comes first, so the
        answer does not depend on the order of the rows.
        """
        if not (isinstance(k, (int, np.integer)) and 1 <= k <= self.n - 1):
            raise WeightsError(f"k={k!r} must be a whole number from 1 to {self.n - 1}.")
        if self.matrix is not None:
            d = self.matrix + np.where(np.eye(self.n, dtype=bool), np.inf, 0.0)
            order = np.lexsort((np.broadcast_to(self.rank, d.shape), d), axis=1)[:, :k]
            near = np.take_along_axis(d, order, axis=1)
            far = np.isinf(near[:, -1])
            if far.any():
                raise WeightsError(
                    f"Fewer than {k} units can be reached from {listing(self.ids[far])}: use a "
                    "smaller k, or complete the distances."
                )
            return near, order
        return self._nearest_points(k)

    def _nearest_points(self, k: int) -> tuple[NDArray, NDArray]:
        points, tree = self._points(), self._kdtree()
        ask = min(k + 2, self.n)  # itself, k others, and one more to see a tie at the edge
        chord, found = tree.query(points, k=ask, workers=-1)
        itself = found == np.arange(self.n)[:, None]
        missing = ~itself.any(axis=1)  # more than k + 1 units share the place
        itself[missing, -1] = True
        chord = chord[~itself].reshape(self.n, ask - 1)
        found = found[~itself].reshape(self.n, ask - 1)
        slack = 1e-12 * max(1.0, float(np.abs(points).max()))
        order = np.lexsort((self.rank[found], _merged(chord, slack)), axis=1)
        chord = np.take_along_axis(chord, order, axis=1)
        found = np.take_along_axis(found, order, axis=1)
        if ask > k + 1:
            tied = np.flatnonzero((chord[:, k] - chord[:, k - 1] <= slack) | missing)
            for i in tied:
                radius = chord[i, k - 1] + 2 * slack
                near = np.array([j for j in tree.query_ball_point(points[i], radius) if j != i])
                d = np.linalg.norm(points[near] - points[i], axis=1)
                best = np.lexsort((self.rank[near], _merged(d[None, :], slack)[0]))[:k]
                chord[i, :k], found[i, :k] = d[best], near[best]
        return self._arc(chord[:, :k]), found[:, :k]

    def _points(self) -> NDArray:
        assert self.points is not None
        return self.points

    def _kdtree(self) -> cKDTree:
        if not self._tree:
            self._tree.append(cKDTree(self._points()))
        return self._tree[0]

    def _arc(self, chord: NDArray) -> NDArray:
        """Turn a straight line through the Earth into the distance on its surface."""
        if self.metric != "great-circle":
            return chord
        half = np.clip(chord / (2 * EARTH_RADIUS), 0.0, 1.0)
        return 2 * EARTH_RADIUS * np.arcsin(half)

    def _chord(self, arc: float) -> float:
        if self.metric != "great-circle":
            return arc
        return 2 * EARTH_RADIUS * float(np.sin(min(arc / (2 * EARTH_RADIUS), np.pi / 2)))


def _merged(d: NDArray, slack: float) -> NDArray:
    """Give values that differ by rounding the same value, along sorted or unsorted rows."""
    order = np.argsort(d, axis=1, kind="stable")
    ordered = np.take_along_axis(d, order, axis=1)
    step = np.diff(ordered, axis=1, prepend=ordered[:, :1]) > slack
    level = np.cumsum(step, axis=1)
    out = np.empty_like(level)
    np.put_along_axis(out, order, level, axis=1)
    return out


def great_circle(longitude: ArrayLike, latitude: ArrayLike) -> NDArray:
    """Return the matrix of great-circle distances in km (haversine, R = 6371.0088 km).

    Parameters
    ----------
    longitude, latitude : array_like, shape (N,)
        Degrees.

    Examples
    --------
    >>> float(great_circle([0.0, 180.0], [0.0, 0.0])[0, 1].round(1))
    20015.1
    """
    lon, lat = np.radians(np.asarray(longitude)), np.radians(np.asarray(latitude))
    h = np.sin((lat[:, None] - lat[None, :]) / 2) ** 2
    h += (
        np.cos(lat[:, None]) * np.cos(lat[None, :]) * np.sin((lon[:, None] - lon[None, :]) / 2) ** 2
    )
    return 2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0)))


def distances(
    data: Any,
    *,
    ids: Hashable | None = None,
    longitude: Hashable | None = None,
    latitude: Hashable | None = None,
    x: Hashable | None = None,
    y: Hashable | None = None,
    metric: str = "auto",
) -> Distances:
    """Prepare the distances between units from geometry or coordinate columns.

    Parameters
    ----------
    data : GeoDataFrame, DataFrame or Distances
        One row per unit. Of a GeoDataFrame the points are used, or a representative point
        inside any other geometry. A Distances is returned as it is.
    ids : column label, optional
        Column with the labels of the units; the index when left out.
    longitude, latitude : column labels, optional
        In degrees: great-circle distances in km.
    x, y : column labels, optional
        Planar coordinates: Euclidean distances in their unit.
    metric : {"auto", "great-circle", "planar"}
        "auto": great-circle for geographic coordinates, planar for projected ones. Asking for
        the other one is an error that says what to do.

    Returns
    -------
    Distances

    Raises
    ------
    WeightsError
        No coordinates, a metric that does not fit them, no coordinate reference system.
    DataError
        Missing coordinates, or degrees out of range; the units are named.
    """
    check_option("metric", metric, METRICS)
    if isinstance(data, Distances):
        return data
    if not isinstance(data, pd.DataFrame):
        raise WeightsError(
            f"A GeoDataFrame, or a DataFrame with coordinate columns, is needed; got "
            f"{type(data).__name__}."
        )
    labels = unit_labels(data, ids)
    if longitude is not None or latitude is not None:
        first, second = _columns(data, ("longitude", longitude), ("latitude", latitude))
        geographic, unit = True, "km"
    elif x is not None or y is not None:
        first, second = _columns(data, ("x", x), ("y", y))
        geographic, unit = False, ""
    elif hasattr(data, "geometry") and hasattr(data, "crs"):
        first, second, geographic, unit = _from_geometry(data, labels)
    else:
        raise WeightsError(
            "Name the coordinate columns, longitude= and latitude= (degrees) or x= and y= "
            "(planar), or pass a GeoDataFrame."
        )
    if metric == "planar" and geographic:
        raise WeightsError(
            "metric='planar' does not fit longitude and latitude: degrees are not lengths. Project "
            "the geometries first, data.to_crs(...), or use metric='great-circle'."
        )
    if metric == "great-circle" and not geographic:
        raise WeightsError(
            "metric='great-circle' needs longitude and latitude; the coordinates are projected. "
            "Convert them, data.to_crs(4326), or use metric='planar'."
        )
    _check_coordinates(first, second, geographic, labels)
    if not geographic:
        return Distances(labels, "planar", unit, points=np.column_stack([first, second]))
    lon, lat = np.radians(first), np.radians(second)
    sphere = EARTH_RADIUS * np.column_stack(
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    )
    return Distances(labels, "great-circle", "km", points=sphere)


def given_distances(
    matrix: Any, ids: Sequence[Hashable] | pd.Index | None = None, *, unit: str = ""
) -> Distances:
    """Use a matrix of distances or travel times that already exists.

    Parameters
    ----------
    matrix : DataFrame, or array with ``ids``
        Square, non-negative, with zeros on the diagonal. It need not be symmetric. Infinite
        entries mean that there is no way.
    ids : sequence, optional
        Labels of the rows of an array. A DataFrame brings its own, the same on both sides.
    unit : str
        For descriptions: "km", "minutes", ...

    Raises
    ------
    WeightsError
        Not square, labels missing or different, negative or missing distances (named).

    Examples
    --------
    >>> given_distances([[0, 30], [45, 0]], ["a", "b"], unit="minutes")
    Distances(2 units, given, in minutes)
    """
    if isinstance(matrix, pd.DataFrame):
        labels = unit_labels(matrix, None)
        if set(labels) != set(matrix.columns) or matrix.columns.has_duplicates:
            raise WeightsError(
                "Rows and columns of the distances must have the same labels; they differ in "
                f"{listing(labels.symmetric_difference(matrix.columns, sort=False))}."
            )
        array = matrix.loc[labels, labels].to_numpy(dtype=float)
    elif ids is None:
        raise WeightsError("A bare array has no labels: pass ids=[...] with the label of each row.")
    else:
        labels = unit_labels(pd.DataFrame(index=pd.Index(list(ids))), None)
        array = np.array(matrix, dtype=float)
    if array.shape != (labels.size, labels.size):
        raise WeightsError(
            f"A matrix of {labels.size} x {labels.size} is needed for {labels.size} labels; got "
            f"{' x '.join(map(str, array.shape))}."
        )
    array = array.copy()
    for bad, what in ((np.isnan(array), "missing"), (array < 0, "negative")):
        if bad.any():
            i, j = np.nonzero(bad)
            pairs = list(zip(labels[i], labels[j], strict=True))
            raise WeightsError(f"{len(pairs)} distance(s) are {what}, at {listing(pairs)}.")
    if (np.diag(array) != 0).any():
        raise WeightsError(
            "The distance of a unit to itself must be zero; it is not for "
            f"{listing(labels[np.diag(array) != 0])}."
        )
    return Distances(labels, "given", unit, matrix=array)


def _columns(
    data: pd.DataFrame, first: tuple[str, Hashable | None], second: tuple[str, Hashable | None]
) -> tuple[NDArray, NDArray]:
    out = []
    for option, name in (first, second):
        if name is None:
            raise WeightsError(f"Give {first[0]}= and {second[0]}= together; {option}= is missing.")
        if name not in data.columns:
            raise WeightsError(
                f"The table has no column {name!r}; it has {listing(data.columns, 20)}."
            )
        out.append(pd.to_numeric(data[name], errors="coerce").to_numpy(dtype=float))
    return out[0], out[1]


def _from_geometry(data: Any, labels: pd.Index) -> tuple[NDArray, NDArray, bool, str]:
    geometry = data.geometry
    bad = np.asarray(geometry.isna() | geometry.is_empty)
    if bad.any():
        raise WeightsError(f"{int(bad.sum())} unit(s) have no geometry: {listing(labels[bad])}.")
    if data.crs is None:
        raise WeightsError(
            "The geometries have no coordinate reference system, so degrees cannot be told from "
            "metres. Set it: data.set_crs(4326) for longitude and latitude."
        )
    points = geometry
    if not (geometry.geom_type == "Point").all():
        points = geometry.representative_point()
    geographic = bool(data.crs.is_geographic)
    axes = data.crs.axis_info
    unit = "km" if geographic else (axes[0].unit_name if axes else "")
    return np.asarray(points.x), np.asarray(points.y), geographic, unit


def _check_coordinates(first: NDArray, second: NDArray, geographic: bool, labels: pd.Index) -> None:
    bad = ~(np.isfinite(first) & np.isfinite(second))
    what = "coordinates"
    if geographic:
        bad |= (np.abs(second) > 90) | (np.abs(first) > 360)
        what = "longitude and latitude in degrees"
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} unit(s) have no valid {what}: {listing(labels[bad])}. Complete them "
            "(are longitude and latitude swapped?) or leave these units out."
        )
