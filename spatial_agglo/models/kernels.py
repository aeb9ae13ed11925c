"""From the covariance that was asked for to the kernel that is computed, labels resolved."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.core import kernels as core
from spatial_agglo.errors import AlignmentError, DataError, OptionError, listing
from spatial_agglo.models import covariances as wanted
from spatial_agglo.panel import Panel
from spatial_agglo.weights.distances import great_circle


def kernel(cov: wanted.Covariance, panel: Panel) -> core.Kernel:
    """Return the kernel of a sandwich covariance for the cells of a panel."""
    match cov:
        case wanted.Robust():
            return core.Robust()
        case wanted.Clustered():
            labels = [cluster_labels(panel, by) for by in cov.by]
            return core.Clustered(*labels) if len(labels) == 1 else core.TwoWayClustered(*labels)
        case wanted.DriscollKraay():
            return core.DriscollKraay(cov.lags)
        case wanted.Conley():
            distances = _distances(cov, panel)
            return core.Conley.within(
                distances, float(cov.cutoff), kernel=cov.kernel, lags=cov.lags, lagged="own"
            )
    raise OptionError(f"{type(cov).__name__} is not a sandwich covariance.")


def cluster_labels(panel: Panel, by: Hashable) -> NDArray:
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
    if (codes < 0).any():
        cells = list(panel.frame.index[codes < 0])
        raise DataError(f"The cluster column {by!r} is missing at {listing(cells)}.")
    labels = np.full((T, N), -1)
    labels[panel.present] = codes
    return labels


def _distances(cov: wanted.Conley, panel: Panel) -> NDArray:
    if cov.distances is not None:
        frame: Any = cov.distances
        if not isinstance(frame, pd.DataFrame):
            raise OptionError(
                f"distances must be a square labelled DataFrame; got {type(frame).__name__}."
            )
        absent = panel.entities.difference(frame.index).union(
            panel.entities.difference(frame.columns)
        )
        if absent.size:
            raise AlignmentError(f"The distances lack the unit(s) {listing(absent)}.")
        return frame.loc[panel.entities, panel.entities].to_numpy(dtype=float)
    assert cov.coordinates is not None
    columns = []
    for name in cov.coordinates:
        values = panel.column(name)
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        if not np.array_equal(low, high):
            moved = panel.entities[low != high]
            raise DataError(
                f"Coordinates must not change over time; {name!r} does in {listing(moved)}."
            )
        columns.append(low)
    return great_circle(*columns)
