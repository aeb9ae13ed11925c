"""Kernels: which errors may be related. Records only; :mod:`spatial_agglo.core.meat` uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.errors import OptionError, check_option


@dataclass(frozen=True)
class Robust:
    """Each cell by itself: heteroskedastic, independent errors (White 1980)."""


@dataclass(frozen=True, eq=False)
class Clustered:
    """Errors that are related in any way within clusters, and not between them.

    Attributes
    ----------
    labels : ndarray of int, shape (T, N)
        Cluster of every cell; what stands in unobserved cells is not read.
    """

    labels: NDArray


@dataclass(frozen=True, eq=False)
class TwoWayClustered:
    """Errors related within either of two partitions: ``V1 + V2 - V12``.

    Cameron, Gelbach & Miller (2011). Both ``labels`` are integers of shape (T, N).
    """

    first: NDArray
    second: NDArray


@dataclass(frozen=True)
class DriscollKraay:
    """Errors related between all units, fading over ``lags`` periods (many periods needed).

    ``sum_l k_l (Gamma_l + Gamma_l')`` of the period sums of scores with Bartlett weights
    ``k_l = 1 - l/(lags + 1)``; by default ``lags = floor(4 (T/100)^(2/9))``.
    Driscoll & Kraay (1998); Hoechle (2007) for the default.
    """

    lags: int | None = None


@dataclass(frozen=True, eq=False)
class Conley:
    """Errors related between near units, and over ``lags`` periods.

    The product ``s_it s_js`` counts ``K_ij k_ts``, with Bartlett weights
    ``k_ts = 1 - |t - s|/(lags + 1)``. With ``lagged="own"`` different periods are related
    within a unit only, as in the programs of Hsiang (2010).

    Attributes
    ----------
    K : ndarray or sparse array, shape (N, N)
        Weights of the kernel: symmetric, 1 on the diagonal, 0 beyond the cutoff.
    lags : int
    lagged : {"neighbours", "own"}
    """

    K: NDArray | sparse.csr_array
    lags: int = 0
    lagged: str = "neighbours"

    @classmethod
    def within(
        cls,
        distances: NDArray | sparse.csr_array,
        cutoff: float,
        *,
        kernel: str = "uniform",
        lags: int = 0,
        lagged: str = "neighbours",
    ) -> Conley:
        """Make the kernel of the distances between units, (N, N), in the unit of ``cutoff``.

        A sparse array holds those of some pairs; the others are beyond the cutoff.

        "uniform": 1 up to and including the cutoff. "bartlett": ``1 - d/cutoff``. In the plane
        neither is sure to give a positive semi-definite meat; `meat` says so when it does not.

        Examples
        --------
        >>> import numpy as np
        >>> d = np.array([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]])
        >>> Conley.within(d, 2.0, kernel="bartlett").K.toarray()
        array([[1. , 0.5, 0. ],
               [0.5, 1. , 0. ],
               [0. , 0. , 1. ]])
        """
        check_option("kernel", kernel, ("uniform", "bartlett"))
        if not cutoff > 0:
            raise OptionError(f"cutoff={cutoff!r} must be a distance above 0.")

        def weight(d: NDArray) -> NDArray:
            return (
                (d <= cutoff) * 1.0 if kernel == "uniform" else np.clip(1.0 - d / cutoff, 0, None)
            )

        if sparse.issparse(distances):
            d = sparse.csr_array(distances)
            near = sparse.csr_array((weight(d.data), d.indices, d.indptr), shape=d.shape)
            near.setdiag(1.0)
            near.eliminate_zeros()
            return cls(near, lags, lagged)
        return cls(sparse.csr_array(weight(np.asarray(distances, dtype=float))), lags, lagged)


Kernel: TypeAlias = Robust | Clustered | TwoWayClustered | DriscollKraay | Conley


def entity_labels(T: int, N: int) -> NDArray:
    """Return the labels, (T, N), of clustering by entity."""
    return np.broadcast_to(np.arange(N), (T, N))


def time_labels(T: int, N: int) -> NDArray:
    """Return the labels, (T, N), of clustering by period."""
    return np.broadcast_to(np.arange(T)[:, None], (T, N))


def default_lags(T: int) -> int:
    """Return ``floor(4 (T/100)^(2/9))``, at most T - 1.

    Examples
    --------
    >>> default_lags(30), default_lags(100)
    (3, 4)
    """
    return min(int(np.floor(4.0 * (T / 100.0) ** (2.0 / 9.0))), T - 1)


def bartlett(T: int, lags: int) -> NDArray:
    """Return the Bartlett weights ``k_ts``, (T, T)."""
    apart = np.abs(np.subtract.outer(np.arange(T), np.arange(T)))
    return np.clip(1.0 - apart / (lags + 1.0), 0.0, None)
