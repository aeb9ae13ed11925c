"""Traces and sums of ``H = W (I - rho W)^-1`` that information matrices and tests need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from spatial_agglo.core.logdet import factorize

#: Up to this many units H is formed as one dense matrix; above, in blocks of columns.
DENSE_UNITS = 1_500
#: Columns per block.
BLOCK = 256


@dataclass(frozen=True)
class Resolvent:
    """``H = W S^-1``, ``S = I - rho W``, reduced to what is asked of it.

    Attributes
    ----------
    diagonal : ndarray, shape (N,)
        ``H_ii``.
    column_sums : ndarray, shape (N,)
        ``1'H``.
    squared : float
        ``tr(H H)``.
    frobenius : float
        ``tr(H'H)``.
    """

    diagonal: NDArray
    column_sums: NDArray
    squared: float
    frobenius: float

    def projected(self, remove_mean: bool) -> tuple[float, float, float]:
        """Return ``tr(H), tr(HH), tr(H'H)`` of ``J H J`` with ``J = I - 11'/N``.

        Only for row-standardised W, where ``H 1 = 1/(1 - rho)`` and so ``J H J = J H``;
        with ``remove_mean`` False the traces of H itself.
        """
        trace = float(self.diagonal.sum())
        if not remove_mean:
            return trace, self.squared, self.frobenius
        N = self.diagonal.size
        one = float(self.column_sums.sum()) / N
        return (
            trace - one,
            self.squared - one**2,
            self.frobenius - float(self.column_sums @ self.column_sums) / N,
        )


def resolvent(W: sparse.csr_array, rho: float) -> Resolvent:
    """Return the traces of ``H = W (I - rho W)^-1`` without an N x N inverse in memory."""
    if rho == 0.0:
        return Resolvent(
            diagonal=W.diagonal(),
            column_sums=np.asarray(W.sum(axis=0)).ravel(),
            squared=float((W * W.T).sum()),
            frobenius=float(W.data @ W.data),
        )
    N = W.shape[0]
    diagonal, column_sums = np.empty(N), np.empty(N)
    squared = frobenius = 0.0
    for block, columns, rows in resolvent_blocks(W, rho):
        diagonal[block] = np.diagonal(columns[block])
        column_sums[block] = columns.sum(axis=0)
        squared += float((columns * rows).sum())
        frobenius += float((columns * columns).sum())
    return Resolvent(diagonal, column_sums, squared, frobenius)


def resolvent_blocks(W: sparse.csr_array, rho: float) -> Iterator[tuple[slice, NDArray, NDArray]]:
    """Yield ``(block, H[:, block], H[block, :]')`` over blocks of units."""
    N = W.shape[0]
    if N <= DENSE_UNITS:
        dense = W.toarray()
        H = linalg.solve((np.eye(N) - rho * dense).T, dense.T, check_finite=False).T
        yield slice(0, N), H, H.T
        return
    columns, rows = solver(W, rho), solver(sparse.csr_array(W.T), rho)
    Wc = sparse.csc_array(W)
    Wr = sparse.csc_array(W.T)
    for start in range(0, N, BLOCK):
        block = slice(start, min(start + BLOCK, N))
        # W commutes with S, so H = S^-1 W as well.
        yield block, columns(Wc[:, block].toarray()), rows(Wr[:, block].toarray())


def solver(W: sparse.csr_array, rho: float) -> Callable[[NDArray], NDArray]:
    """Return ``b -> (I - rho W)^-1 b`` for b of shape (N,) or (N, m)."""
    N = W.shape[0]
    if N <= DENSE_UNITS or W.nnz > 0.1 * N * N:
        factor = linalg.lu_factor(np.eye(N) - rho * W.toarray(), check_finite=False)
        return lambda b: linalg.lu_solve(factor, b, check_finite=False)
    S = sparse.csc_array(sparse.eye_array(N) - rho * W)
    return factorize(S).solve


def solve_panel(W: sparse.csr_array, rho: float, Z: NDArray) -> NDArray:
    """Return ``(I - rho W)^-1 z_t`` for every period of ``Z``, shape (T, N)."""
    return solver(W, rho)(np.ascontiguousarray(Z.T)).T
