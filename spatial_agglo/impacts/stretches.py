"""Stretches of a panel: the periods in which the same units act under the same weights."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core.traces import DENSE_SHARE, DENSE_UNITS
from spatial_agglo.errors import DataError, listing
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.weights.matrix import SpatialWeights


@dataclass(frozen=True, eq=False)
class Stretch:
    """Periods that are alike.

    Attributes
    ----------
    count : int
        How many they are; 1 for all the periods of a balanced panel with one W.
    lag, durbin : SpatialWeights or None
        Of the outcome's lag and of the regressors' lags. Rows and columns of units that are
        not observed are empty.
    mask : ndarray, shape (N,)
        1.0 for the units that are observed, else 0.0.
    """

    count: int
    lag: SpatialWeights | None
    durbin: SpatialWeights | None
    mask: NDArray

    @property
    def W(self) -> sparse.csr_array | None:
        """Matrix of the outcome's lag."""
        return None if self.lag is None else self.lag.matrix

    @property
    def D(self) -> sparse.csr_array | None:
        """Matrix of the regressors' lags."""
        return None if self.durbin is None else self.durbin.matrix

    @property
    def small(self) -> bool:
        """Whether one dense matrix is the cheapest way to whatever needs all units."""
        N = self.mask.size
        return self.lag is None or N <= DENSE_UNITS or self.lag.n_links > DENSE_SHARE * N * N

    @property
    def radius(self) -> float:
        """Spectral radius of W: its weights are not negative, so it is an eigenvalue."""
        return 0.0 if self.lag is None else 1.0 / self.lag.logdet.interval[1]


def stretches(space: Workspace, period: Hashable | None = None) -> list[Stretch]:
    """Return the stretches of a panel, or the one that a period is in.

    Raises
    ------
    DataError
        The panel has no such period.
    """
    data = space.data
    lags, durbin = space.weights, space.durbin_weights
    times = data.panel.times
    if period is not None and period not in times:
        raise DataError(f"There is no period {period!r}; there are {listing(times, 40)}.")
    if not space.irregular:
        first, second = (None if w is None else w.matrices[0] for w in (lags, durbin))
        return [Stretch(1, first, second, np.ones(data.panel.N))]
    cells = data.cells
    chosen = range(len(times)) if period is None else [int(times.get_loc(period))]
    groups: dict[tuple[int, int, bytes], list[int]] = {}
    for t in chosen:
        i = -1 if lags is None else lags.which[t]
        j = -1 if durbin is None else durbin.which[t]
        groups.setdefault((i, j, cells[t].tobytes()), []).append(t)
    return [
        Stretch(
            len(at),
            None if lags is None else lags.matrices[i],
            None if durbin is None else durbin.matrices[j],
            cells[at[0]].astype(float),
        )
        for (i, j, _), at in groups.items()
    ]
