"""From the covariance that was asked for to the kernel that is computed, labels resolved."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core import kernels as core
from spatial_agglo.errors import AlignmentError, DataError, OptionError, listing
from spatial_agglo.models import covariances as wanted
from spatial_agglo.panel import Panel
from spatial_agglo.weights.distances import Distances, distances, given_distances

#: Distances there and back that differ by less than this share of the longest are the same.
SAME = 1e-9


def kernel(cov: wanted.Covariance, panel: Panel, cells: NDArray | None = None) -> core.Kernel:
    """Return the kernel of a sandwich covariance for the cells of a panel.

    ``cells``, shape (T, N), are those that the estimation uses: only they need a cluster and
    coordinates. All that have a row by default.
    """
    used = panel.present if cells is None else cells
    match cov:
        case wanted.Robust():
            return core.Robust()
        case wanted.Clustered():
            labels = [cluster_labels(panel, by, used) for by in cov.by]
            return core.Clustered(*labels) if len(labels) == 1 else core.TwoWayClustered(*labels)
        case wanted.DriscollKraay():
            return core.DriscollKraay(cov.lags)
        case wanted.Conley():
            near = _near(cov, panel, used)
            return core.Conley.within(
                near, float(cov.cutoff), kernel=cov.kernel, lags=cov.lags, lagged="own"
            )
    raise OptionError(f"{type(cov).__name__} is not a sandwich covariance.")


def cluster_labels(panel: Panel, by: Hashable, cells: NDArray | None = None) -> NDArray:
    """Return the cluster of every cell as an integer, shape (T, N); -1 without a row."""
    T, N = panel.shape
    if by in ("entity", panel.entities.name) and by not in panel.dtypes:
        return core.entity_labels(T, N)
    if by in ("time", panel.times.name) and by not in panel.dtypes:
        return core.time_labels(T, N)
    if by not in panel.dtypes:
        raise OptionError(
            f"Clustered(by={by!r}) names no column. Use 'entity', 'time', or one of "
            f"{listing(panel.columns, 20)}."
        )
    codes, _ = pd.factorize(panel.frame[by])
    labels = np.full((T, N), -1)
    labels[panel.present] = codes
    bad = (labels < 0) & (panel.present if cells is None else cells)
    if bad.any():
        raise DataError(
            f"The cluster column {by!r} is missing at {listing(list(panel.index(bad)))}. Every "
            "cell that is used needs a cluster: complete the column, or leave these rows out."
        )
    return labels


def _near(cov: wanted.Conley, panel: Panel, cells: NDArray) -> sparse.csr_array:
    """Return the distances of the pairs within the cutoff, (N, N), of units that are used."""
    units = np.flatnonzero(cells.any(axis=0))
    labels = panel.entities[units]
    if cov.coordinates is not None:
        table = {name: _constant(panel, name, cells)[units] for name in cov.coordinates}
        longitude, latitude = table
        frame = pd.DataFrame(table, index=labels)
        found = distances(frame, longitude=longitude, latitude=latitude)
    else:
        found = _given(cov.distances, labels)
    pairs = sparse.coo_array(found.within(float(cov.cutoff)))
    i, j = pairs.coords
    place = units[labels.get_indexer(found.ids)]
    shape = (panel.N, panel.N)
    return sparse.csr_array((pairs.data, (place[i], place[j])), shape=shape)


def _constant(panel: Panel, name: Hashable, cells: NDArray) -> NDArray:
    """Return a column that must not change over time, shape (N,)."""
    values = np.where(cells, panel.column(name), np.nan)
    low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
    moved = low < high
    if moved.any():
        raise DataError(
            f"Coordinates must not change over time; {name!r} does in "
            f"{listing(panel.entities[moved])}."
        )
    return low


def _given(matrix: Any, labels: pd.Index) -> Distances:
    """Return a user's distances between the units, in their order."""
    if isinstance(matrix, Distances):
        absent = labels.difference(matrix.ids)
    elif isinstance(matrix, pd.DataFrame):
        absent = labels.difference(matrix.index).union(labels.difference(matrix.columns))
        for axis, name in ((matrix.index, "rows"), (matrix.columns, "columns")):
            if not axis.is_unique:
                raise AlignmentError(
                    f"The {name} of the distances name {listing(axis[axis.duplicated()].unique())} "
                    "more than once."
                )
    else:
        raise OptionError(
            "distances must be a square labelled DataFrame, or the Distances of "
            f"spatial_agglo.weights.distances(...); got {type(matrix).__name__}."
        )
    if absent.size:
        raise AlignmentError(f"The distances lack the unit(s) {listing(absent)}.")
    if isinstance(matrix, Distances):
        place = matrix.ids.get_indexer(labels)
        if matrix.points is not None:
            return Distances(labels, matrix.metric, matrix.unit, points=matrix.points[place])
        matrix = pd.DataFrame(matrix.dense()[np.ix_(place, place)], labels, labels)
    found = given_distances(matrix.loc[labels, labels])
    d = found.matrix
    assert d is not None
    finite = np.isfinite(d)
    differ = (finite != finite.T) | ~np.isclose(d, d.T, rtol=0.0, atol=SAME * d[finite].max())
    if differ.any():
        i, j = np.argwhere(differ)[0]
        raise DataError(
            f"Distances must be the same in both directions; from {labels[i]!r} to {labels[j]!r} "
            f"it is {d[i, j]:.6g}, and {d[j, i]:.6g} back. Take their mean, or the smaller one."
        )
    return found
