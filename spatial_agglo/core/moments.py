"""The moment matrix: one pass over the data, additive over periods.

Everything the estimators and tests need of the data is
``G = sum_t Z_t' Q Z_t`` with ``Z_t = [F_t, W F_t, W W F_t]`` and ``F_t = [y_t, X_t]``.
This module does not know which model will be estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core.within import removes_time, within

#: Cells (doubles) that one block of periods may occupy while it is accumulated: what stays
#: in the processor's cache, from measurement.
BLOCK_CELLS = 2**16

#: W as the arithmetic takes it: dense when it is small or full, sparse otherwise.
MatrixLike: TypeAlias = NDArray | sparse.csr_array


@dataclass(frozen=True)
class Moments:
    """Cross-products of the lagged and projected data.

    Attributes
    ----------
    G : ndarray, shape (p, p)
        Second moments of ``[F, W F, W W F, ...]``, each block ``1 + k`` columns wide,
        ``F = [y, X]``.
    width : int
        ``1 + k``.
    orders : int
        Number of blocks: 1 + the highest power of W.
    """

    G: NDArray
    width: int
    orders: int

    def index(self, order: int, column: int) -> int:
        """Row of G that holds ``W**order`` times column ``column`` of ``[y, X]``."""
        return order * self.width + column


def lag(W: MatrixLike, Z: NDArray) -> NDArray:
    """Return ``W z_t`` for every period and column of ``Z``, shape (T, N) or (T, N, k)."""
    if Z.ndim == 2:
        return np.ascontiguousarray((W @ Z.T).T)
    if isinstance(W, np.ndarray):
        return np.matmul(W, Z)
    T, N, k = Z.shape
    if T == 1:
        return (W @ Z[0])[None]
    flat = np.ascontiguousarray(Z.transpose(1, 0, 2)).reshape(N, T * k)
    return np.ascontiguousarray((W @ flat).reshape(N, T, k).transpose(1, 0, 2))


def blocks(
    F: NDArray, W: MatrixLike | None, effects: str, *, orders: int, lag_last: bool = False
) -> NDArray:
    """Return the projected ``[F, WF, WWF, ...]`` of a stretch of periods, shape (T, N, p).

    Entity means must have been taken out of F before (they need all the periods).
    """
    time = removes_time(effects)
    parts = [within(F, "time") if time and lag_last else F]
    for _ in range(1, orders):
        assert W is not None
        parts.append(lag(W, parts[-1]))
    if orders == 1:
        return within(F, "time") if time else F
    Z = np.concatenate(parts, axis=2)
    if time and not lag_last:
        Z -= Z.mean(axis=1, keepdims=True)
    return Z


def accumulate(
    F: NDArray, W: MatrixLike | None, effects: str, *, orders: int, lag_last: bool = False
) -> Moments:
    """Reduce the data to their moment matrix, a block of periods at a time.

    Parameters
    ----------
    F : ndarray, shape (T, N, 1 + k)
        The outcome, then the regressors; entity means taken out if the effects say so.
    W : sparse or dense matrix, shape (N, N), or None when ``orders`` is 1
    effects : {"none", "entity", "time", "two-way"}
    orders : int
        1 for F alone, 2 for ``[F, WF]``, 3 for ``[F, WF, WWF]``.
    lag_last : bool
        False: lag, then project, ``Q(W F)``. True: project, then lag, ``W(Q F)``.
    """
    T, N, width = F.shape
    p = orders * width
    G = np.zeros((p, p))
    step = max(1, BLOCK_CELLS // max(1, N * p))
    for start in range(0, T, step):
        Z = blocks(F[start : start + step], W, effects, orders=orders, lag_last=lag_last)
        Z = Z.reshape(-1, p)
        G += Z.T @ Z
    return Moments(G=G, width=width, orders=orders)
