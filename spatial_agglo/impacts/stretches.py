"""Stretches of a panel: the periods in which the same units act under the same weights."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core.parameter_space import radius
from spatial_agglo.core.traces import DENSE_SHARE, DENSE_UNITS
from spatial_agglo.errors import DataError, listing
from spatial_agglo.models.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Stretch:
    """Periods that are alike.

    Attributes
    ----------
    count : int
        How many they are; 1 for all the periods of a balanced panel with one W.
    W, D : csr_array, shape (N, N), or None
        Of the outcome's lag and of the regressors' lags. Rows and columns of units that are
        not observed are empty.
    mask : ndarray, shape (N,)
        1.0 for the units that are observed, else 0.0.
    """

    count: int
    W: sparse.csr_array | None
    D: sparse.csr_array | None
    mask: NDArray

    @property
    def small(self) -> bool:
        """Whether one dense matrix is the cheapest way to whatever needs all units."""
        A = self.W if self.W is not None else self.D
        N = self.mask.size
        return A is None or N <= DENSE_UNITS or A.nnz > DENSE_SHARE * N * N

    def series_converges(self, rho: float) -> bool:
        """Whether the spectral radius of ``rho W`` is below one, as sparse factors need it."""
        return rho == 0.0 or self.W is None or abs(rho) * radius(self.W) < 1.0


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
        W = None if lags is None else lags.matrices[0].matrix
        D = None if durbin is None else durbin.matrices[0].matrix
        return [Stretch(1, W, D, np.ones(data.panel.N))]
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
            None if lags is None else lags.matrices[i].matrix,
            None if durbin is None else durbin.matrices[j].matrix,
            cells[at[0]].astype(float),
        )
        for (i, j, _), at in groups.items()
    ]
