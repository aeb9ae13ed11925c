"""Weights from geography: contiguity, neighbours, distance bands and decay, kernels."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.errors import OptionError, WeightsError, check_option, listing
from spatial_agglo.weights.algebra import higher_order
from spatial_agglo.weights.distances import Distances, distances
from spatial_agglo.weights.labels import unit_labels
from spatial_agglo.weights.matrix import SpatialWeights

if TYPE_CHECKING:
    import geopandas as gpd

_PLACES = """ids : column label, optional
        Column with the labels of the units; the index when left out.
    longitude, latitude : column labels, optional
        Degrees: great-circle distances in km.
    x, y : column labels, optional
        Planar coordinates: Euclidean distances in their unit.
    metric : {"auto", "great-circle", "planar"}
        "auto" takes what fits the coordinates; a metric that does not is an error."""
_COORDINATES = f"""{_PLACES}
    isolates : {{"error", "allow"}}
        What to do with units that end up without neighbours."""


def _documented(function: Callable[..., SpatialWeights]) -> Callable[..., SpatialWeights]:
    """Put the parameters that all distance builders share into a docstring."""
    text = (function.__doc__ or "").replace("[coordinates]", _COORDINATES)
    function.__doc__ = text.replace("[places]", _PLACES)
    return function


def contiguity(
    data: gpd.GeoDataFrame,
    *,
    ids: Hashable | None = None,
    kind: str = "queen",
    order: int = 1,
    cumulative: bool = False,
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
    order : int
        2 links units two borders apart, and so on.
    cumulative : bool
        Whether an order above one includes the lower ones.
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
    labels = unit_labels(data, ids)
    geometry = data.geometry
    bad = np.asarray(geometry.isna() | geometry.is_empty)
    if bad.any():
        raise WeightsError(f"{int(bad.sum())} unit(s) have no geometry: {listing(labels[bad])}.")
    flat = ~np.asarray(geometry.geom_type.isin(["Polygon", "MultiPolygon"]))
    if flat.any():
        raise WeightsError(
            f"Contiguity is defined for polygons; not polygons: {listing(labels[flat])}. "
            "Use knn, distance_band or inverse_distance for points."
        )
    from libpysal.graph import Graph

    graph = Graph.build_contiguity(geometry.reset_index(drop=True), rook=kind == "rook")
    first = SpatialWeights(
        sparse.csr_array(graph.sparse, dtype=float),
        labels,
        description=f"{kind} contiguity",
        formula="w_ij = 1 if i and j share a border, else 0",
        isolates=isolates if order == 1 else "allow",
    )
    return higher_order(first, order, cumulative=cumulative, isolates=isolates)


@_documented
def knn(
    data: Any,
    *,
    k: int,
    ids: Hashable | None = None,
    longitude: Hashable | None = None,
    latitude: Hashable | None = None,
    x: Hashable | None = None,
    y: Hashable | None = None,
    metric: str = "auto",
) -> SpatialWeights:
    """Link every unit to its k nearest, ``w_ij = 1``; not symmetric.

    Of units at the same distance the one whose label sorts first is taken, so the answer does
    not depend on the order of the rows.

    Parameters
    ----------
    data : GeoDataFrame, DataFrame or Distances
        One row per unit.
    k : int
        Number of neighbours.
    [places]

    Returns
    -------
    SpatialWeights
        Binary, not standardised.

    Raises
    ------
    WeightsError
        k out of range, no usable coordinates.

    Examples
    --------
    >>> import pandas as pd
    >>> towns = pd.DataFrame({"x": [0.0, 1.0, 3.0], "y": [0.0, 0.0, 0.0]}, index=["a", "b", "c"])
    >>> knn(towns, k=1, x="x", y="y").to_frame().loc["c"].tolist()
    [0.0, 1.0, 0.0]
    """
    d = distances(data, ids=ids, longitude=longitude, latitude=latitude, x=x, y=y, metric=metric)
    _, found = d.nearest(k)
    pointer = np.arange(0, d.n * k + 1, k)
    matrix = sparse.csr_array((np.ones(d.n * k), found.ravel(), pointer), shape=(d.n, d.n))
    return SpatialWeights(
        matrix,
        d.ids,
        description=f"{k} nearest neighbours ({d.metric} distance)",
        formula=f"w_ij = 1 if j is among the {k} units nearest to i, else 0",
    )


@_documented
def distance_band(
    data: Any,
    *,
    threshold: float,
    ids: Hashable | None = None,
    longitude: Hashable | None = None,
    latitude: Hashable | None = None,
    x: Hashable | None = None,
    y: Hashable | None = None,
    metric: str = "auto",
    isolates: str = "error",
) -> SpatialWeights:
    """Link units at most a threshold apart, ``w_ij = 1`` if ``d_ij <= threshold``.

    Parameters
    ----------
    data : GeoDataFrame, DataFrame or Distances
        One row per unit.
    threshold : float
        In km for longitude and latitude, else in the unit of the coordinates.
    [coordinates]

    Returns
    -------
    SpatialWeights
        Binary, not standardised.

    Raises
    ------
    WeightsError
        Units without neighbours, no usable coordinates.

    Examples
    --------
    >>> import pandas as pd
    >>> towns = pd.DataFrame({"x": [0.0, 1.0, 3.0], "y": [0.0, 0.0, 0.0]}, index=["a", "b", "c"])
    >>> distance_band(towns, threshold=2, x="x", y="y").n_links
    4
    """
    d = distances(data, ids=ids, longitude=longitude, latitude=latitude, x=x, y=y, metric=metric)
    near = d.within(positive("threshold", threshold))
    near.data[:] = 1.0
    return SpatialWeights(
        near,
        d.ids,
        description=f"{d.metric} distance of at most {threshold:g}{_unit(d)}",
        formula=f"w_ij = 1 if d_ij <= {threshold:g}{_unit(d)}, else 0",
        isolates=isolates,
    )


@_documented
def inverse_distance(
    data: Any,
    *,
    power: float = 1.0,
    cutoff: float | None = None,
    ids: Hashable | None = None,
    longitude: Hashable | None = None,
    latitude: Hashable | None = None,
    x: Hashable | None = None,
    y: Hashable | None = None,
    metric: str = "auto",
    isolates: str = "error",
) -> SpatialWeights:
    """Weight units by inverse distance, ``w_ij = d_ij**-power``.

    Parameters
    ----------
    data : GeoDataFrame, DataFrame or Distances
        One row per unit.
    power : float
        The exponent, positive.
    cutoff : float, optional
        Distance beyond which the weight is zero: the matrix is then sparse, and as many units
        can be done as fit the links in memory.
    [coordinates]

    Returns
    -------
    SpatialWeights
        Not standardised.

    Raises
    ------
    WeightsError
        Two units at the same place, units without neighbours, too many units for a dense
        matrix (its size is named), no usable coordinates.

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
    power = positive("power", power)
    d = distances(data, ids=ids, longitude=longitude, latitude=latitude, x=x, y=y, metric=metric)

    def decay(z: NDArray) -> NDArray:
        return np.asarray(z**-power)

    return _decay(
        d,
        decay,
        cutoff,
        name=f"inverse {d.metric} distance, d^-{power:g}",
        formula=f"w_ij = d_ij^-{power:g}",
        isolates=isolates,
        apart=True,
    )


@_documented
def exponential_distance(
    data: Any,
    *,
    decay: float,
    cutoff: float | None = None,
    ids: Hashable | None = None,
    longitude: Hashable | None = None,
    latitude: Hashable | None = None,
    x: Hashable | None = None,
    y: Hashable | None = None,
    metric: str = "auto",
    isolates: str = "error",
) -> SpatialWeights:
    """Weight units by exponential decay, ``w_ij = exp(-decay * d_ij)``.

    Parameters
    ----------
    data : GeoDataFrame, DataFrame or Distances
        One row per unit.
    decay : float
        Per unit of distance (per km for longitude and latitude), positive.
    cutoff : float, optional
        Distance beyond which the weight is zero: the matrix is then sparse.
    [coordinates]

    Returns
    -------
    SpatialWeights
        Not standardised.

    Raises
    ------
    WeightsError
        Units without neighbours, weights that all vanish, no usable coordinates.

    Examples
    --------
    >>> import pandas as pd
    >>> towns = pd.DataFrame({"x": [0.0, 1.0, 3.0], "y": [0.0, 0.0, 0.0]}, index=["a", "b", "c"])
    >>> W = exponential_distance(towns, decay=1.0, x="x", y="y")
    >>> float(W.matrix[0, 1].round(4))
    0.3679
    """
    decay = positive("decay", decay)
    d = distances(data, ids=ids, longitude=longitude, latitude=latitude, x=x, y=y, metric=metric)
    return _decay(
        d,
        lambda z: np.asarray(np.exp(-decay * z)),
        cutoff,
        name=f"exponential decay of {d.metric} distance, exp(-{decay:g} d)",
        formula=f"w_ij = exp(-{decay:g} d_ij)",
        isolates=isolates,
    )


#: Units closer than this (km, or the unit of the coordinates) lie at the same place.
SAME_PLACE = 1e-9
#: Kernels on [0, 1] (the Gaussian on the whole line, cut at three bandwidths).
KERNELS: dict[str, Callable[[NDArray], NDArray]] = {
    "triangular": lambda z: np.clip(1.0 - z, 0.0, None),
    "uniform": lambda z: (z <= 1.0) * 0.5,
    "epanechnikov": lambda z: 0.75 * np.clip(1.0 - z**2, 0.0, None),
    "bisquare": lambda z: (15.0 / 16.0) * np.clip(1.0 - z**2, 0.0, None) ** 2,
    "gaussian": lambda z: np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi),
}
_REACH = {"gaussian": 3.0}


@_documented
def kernel(
    data: Any,
    *,
    function: str = "triangular",
    bandwidth: float | None = None,
    k: int | None = None,
    ids: Hashable | None = None,
    longitude: Hashable | None = None,
    latitude: Hashable | None = None,
    x: Hashable | None = None,
    y: Hashable | None = None,
    metric: str = "auto",
    isolates: str = "error",
) -> SpatialWeights:
    """Weight units by a kernel of distance, ``w_ij = K(d_ij / h_i)``; the diagonal is zero.

    Parameters
    ----------
    data : GeoDataFrame, DataFrame or Distances
        One row per unit.
    function : {"triangular", "uniform", "epanechnikov", "bisquare", "gaussian"}
        The kernel; the Gaussian is cut at three bandwidths.
    bandwidth : float, optional
        A fixed h, in km for longitude and latitude.
    k : int, optional
        An adaptive h_i: the distance to the k-th nearest unit. Give this or ``bandwidth``.
    [coordinates]

    Returns
    -------
    SpatialWeights
        Not standardised; not symmetric with an adaptive bandwidth.

    Raises
    ------
    OptionError
        Both or neither of ``bandwidth`` and ``k``.
    WeightsError
        Units without neighbours, no usable coordinates.

    Examples
    --------
    >>> import pandas as pd
    >>> towns = pd.DataFrame({"x": [0.0, 1.0, 3.0], "y": [0.0, 0.0, 0.0]}, index=["a", "b", "c"])
    >>> kernel(towns, bandwidth=4, x="x", y="y").to_frame().loc["a"].tolist()
    [0.0, 0.75, 0.25]
    """
    check_option("function", function, KERNELS)
    if (bandwidth is None) == (k is None):
        raise OptionError("Give either bandwidth=... (fixed) or k=... (adaptive): one of the two.")
    d = distances(data, ids=ids, longitude=longitude, latitude=latitude, x=x, y=y, metric=metric)
    reach = _REACH.get(function, 1.0)
    if k is not None:
        h = d.nearest(k)[0][:, -1]
        if (h <= 0).any():
            raise WeightsError(
                f"The {k} nearest units of {listing(d.ids[h <= 0])} lie at the same place, so "
                "their bandwidth is zero: use a larger k."
            )
        what = f"adaptive bandwidth ({k} nearest)"
    else:
        h = np.full(d.n, positive("bandwidth", bandwidth))
        what = f"bandwidth {bandwidth:g}{_unit(d)}"
    near = d.within(float(h.max()) * reach)
    rows = np.repeat(np.arange(d.n), np.diff(near.indptr))
    z = near.data / h[rows]
    near.data = np.where(z <= reach, KERNELS[function](z), 0.0)
    return SpatialWeights(
        near,
        d.ids,
        description=f"{function} kernel of {d.metric} distance, {what}",
        formula="w_ij = K(d_ij / h_i)",
        isolates=isolates,
    )


def _decay(
    d: Distances,
    function: Callable[[NDArray], NDArray],
    cutoff: float | None,
    *,
    name: str,
    formula: str,
    isolates: str,
    apart: bool = False,
) -> SpatialWeights:
    """Apply a function of distance, densely or within a cut-off."""
    if cutoff is not None:
        near = d.within(positive("cutoff", cutoff))
        if apart:
            rows = np.repeat(np.arange(d.n), np.diff(near.indptr))
            close = near.data < SAME_PLACE
            _check_apart(d, rows[close], near.indices[close])
        near.data = function(near.data)
        name, formula = f"{name} within {cutoff:g}{_unit(d)}", f"{formula} if d_ij <= {cutoff:g}"
        return SpatialWeights(near, d.ids, description=name, formula=formula, isolates=isolates)
    full = d.dense()
    if apart:
        _check_apart(d, *np.nonzero(full < SAME_PLACE))
    weights = np.array(full)
    np.fill_diagonal(weights, 1.0)
    weights = function(weights)
    np.fill_diagonal(weights, 0.0)
    return SpatialWeights(
        sparse.csr_array(weights), d.ids, description=name, formula=formula, isolates=isolates
    )


def _check_apart(d: Distances, rows: NDArray, columns: NDArray) -> None:
    """Raise when different units lie at the same place: their inverse distance is infinite."""
    same = rows < columns
    if same.any():
        pairs = list(zip(d.ids[rows[same]], d.ids[columns[same]], strict=True))
        raise WeightsError(
            f"{len(pairs)} pair(s) of units lie at the same place: {listing(pairs)}. Their inverse "
            "distance is infinite: move or merge them."
        )


def positive(name: str, value: Any) -> float:
    """Return a positive finite number or raise."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise OptionError(f"{name}={value!r} must be a positive number.")
    if not (np.isfinite(value) and value > 0):
        raise OptionError(f"{name}={value!r} must be a positive number.")
    return float(value)


def _unit(d: Distances) -> str:
    return f" {d.unit}" if d.unit else ""
