"""Traces and sums of ``H = W (I - rho W)^-1`` that information matrices and tests need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy import linalg, sparse

from spatial_agglo.core.factorization import factorize, lu, similarity
from spatial_agglo.core.logdet import LogDet, log_determinant
from spatial_agglo.core.parameter_space import radius
from spatial_agglo.core.progress import progress as progress  # also for those who import it here
from spatial_agglo.core.selected import inverse_diagonal

#: Up to this many units H is formed as one dense matrix; above, in blocks of columns.
DENSE_UNITS = 1_500
#: Columns per block.
BLOCK = 64
#: Up to this many units a dense inverse is the fastest way to the traces of a sparse W.
SELECTED_UNITS = 400
#: A matrix with a larger share of non-zeros than this is treated as dense.
DENSE_SHARE = 0.1
#: Below this share of the upper end of rho the first terms of the series are exact to 1e-9.
SMALL = 1e-3
#: Nodes, and half-width of their interval in units of the distance to a singularity.
NODES, REACH = 11, 0.25


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


def resolvent(W: sparse.csr_array, rho: float, logdet: LogDet | None = None) -> Resolvent:
    """Return the traces of ``H = W (I - rho W)^-1``, for a sparse W without solving N systems.

    With ``S = I - rho W`` and ``H = (S^-1 - I)/rho`` the diagonal and ``tr(H'H)`` follow from
    the diagonals of ``S^-1`` and ``(S'S)^-1``, which :func:`inverse_diagonal` takes from sparse
    factors, and ``tr(HH)`` is minus the second derivative of ``ln|S|``.

    Parameters
    ----------
    W : csr_array, shape (N, N)
        Non-negative.
    rho : float
        Inside the parameter space.
    logdet : LogDet, optional
        Of W, if there is one already.
    """
    N = W.shape[0]
    if rho == 0.0:
        return Resolvent(
            diagonal=W.diagonal(),
            column_sums=np.asarray(W.sum(axis=0)).ravel(),
            squared=float((W * W.T).sum()),
            frobenius=float(W.data @ W.data),
        )
    if _is_small_or_full(W):
        H = _dense(W, rho)
        return Resolvent(
            np.diagonal(H).copy(), H.sum(axis=0), float((H * H.T).sum()), float((H * H).sum())
        )
    S = sparse.csc_array(sparse.eye_array(N) - rho * W)
    sums = factorize(S).solve(np.asarray(W.sum(axis=0)).ravel(), trans="T")
    found = log_determinant(W) if logdet is None else logdet
    squared = -float(found.derivatives(np.asarray(rho))[1])
    diagonal = _diagonal(W, rho, S)
    return Resolvent(diagonal, sums, squared, _frobenius(W, rho, S, diagonal))


def _is_small_or_full(W: sparse.csr_array) -> bool:
    N = W.shape[0]
    return min(DENSE_UNITS, SELECTED_UNITS) >= N or W.nnz > DENSE_SHARE * N * N


def _dense(W: sparse.csr_array, rho: float) -> NDArray:
    """Return H as one array."""
    dense = W.toarray()
    S = np.eye(W.shape[0]) - rho * dense
    return linalg.solve(S.T, dense.T, check_finite=False).T


def _is_tiny(W: sparse.csr_array, rho: float) -> bool:
    return abs(rho) * radius(W) < SMALL


def _diagonal(W: sparse.csr_array, rho: float, S: sparse.csc_array) -> NDArray:
    """Return ``H_ii``: from ``S^-1``, or from ``H = W + rho W^2 + rho^2 W^3 + rho^3 W^4``."""
    if not _is_tiny(W, rho):
        return (inverse_diagonal(S) - 1.0) / rho
    square = sparse.csr_array(W @ W)
    third, fourth = (np.asarray((square * A.T).sum(axis=1)).ravel() for A in (W, square))
    return rho * square.diagonal() + rho**2 * third + rho**3 * fourth


def _frobenius(W: sparse.csr_array, rho: float, S: sparse.csc_array, diagonal: NDArray) -> float:
    """Return ``tr(H'H)``: ``rho^2`` times it is ``tr((S'S)^-1) - 2 tr(S^-1) + N``."""
    if not _is_tiny(W, rho):
        both = float((inverse_diagonal(sparse.csc_array(S.T @ S)) - 1.0).sum())
        return (both / rho - 2.0 * float(diagonal.sum())) / rho
    square = sparse.csr_array(W @ W)
    first, second = float((W * square).sum()), float(square.data @ square.data)
    cross = float(((W.T @ W) * square).sum())  # tr(W'W W^2), the inner product of W and W^3
    return float(W.data @ W.data) + 2.0 * rho * first + rho**2 * (second + 2.0 * cross)


def pair_sums(W: sparse.csr_array, rho: float, Q: NDArray, share: NDArray | None = None) -> NDArray:
    """Return ``sum_{i != j} A_ij A_ji q_i q_j`` for every row q of ``Q``, A = H or centred.

    The sum over all pairs is ``tr(H D H D)``, D = diag(q): minus the second derivative at
    t = 0 of ``ln|I - W diag(rho + t q)|``, taken from a polynomial through its values at
    Chebyshev nodes so close to zero that only rounding is left, 1e-9 of the sum or (with q that
    are very unequal) 1e-7. Eleven factorisations for every q take the place of 2N solutions of
    linear systems, so this is for many units and few q.

    Parameters
    ----------
    W : csr_array, shape (N, N)
        Non-negative.
    rho : float
        Inside the parameter space.
    Q : ndarray, shape (m, N)
    share : ndarray, shape (N,), optional
        With it ``A = (I - share 1') H``: shares of 1/N take out the mean.
    """
    if _is_small_or_full(W):
        H = _dense(W, rho)
        A = H if share is None else H - np.outer(share, H.sum(axis=0))
        np.fill_diagonal(A, 0.0)
        return np.einsum("mi,ij,mj->m", Q, A * A.T, Q, optimize=True)
    total = _all_pairs(W, rho, Q)
    S = sparse.csc_array(sparse.eye_array(W.shape[0]) - rho * W)
    diagonal = _diagonal(W, rho, S)
    if share is not None:
        factor = factorize(S)
        sums = factor.solve(np.asarray(W.sum(axis=0)).ravel(), trans="T")
        ahead = W @ factor.solve((Q * share).T)
        total += ((Q * sums) @ share) ** 2 - 2.0 * np.einsum("mi,im->m", Q * sums, ahead)
        diagonal = diagonal - share * sums
    return total - Q**2 @ diagonal**2


def _all_pairs(W: sparse.csr_array, rho: float, Q: NDArray) -> NDArray:
    """Return ``tr(H D H D)`` for every q."""
    out = np.zeros(Q.shape[0])
    largest = radius(W)
    margin = 1.0 / largest - abs(rho)
    if not margin > 0:
        for block, columns, rows in resolvent_blocks(W, rho):
            out += np.einsum("mi,ij,mj->m", Q, columns * rows, Q[:, block], optimize=True)
        return out
    evaluate = lu(W)
    centre = evaluate(rho)[0]
    nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    bend = [chebyshev.chebval(0.0, chebyshev.chebder(row, 2)) for row in np.eye(NODES)]
    weights = np.linalg.solve(chebyshev.chebvander(nodes, NODES - 1).T, bend)
    for k in progress(range(Q.shape[0]), "sums over pairs of units"):
        width = REACH * margin / max(float(np.abs(Q[k]).max()), np.finfo(float).tiny)
        values = [evaluate(rho + x * width * Q[k])[0] - centre for x in nodes]
        out[k] = -float(weights @ values) / width**2
    return out


def resolvent_blocks(W: sparse.csr_array, rho: float) -> Iterator[tuple[slice, NDArray, NDArray]]:
    """Yield ``(block, H[:, block], H[block, :]')`` over blocks of units."""
    N = W.shape[0]
    if N <= DENSE_UNITS:
        H = _dense(W, rho)
        yield slice(0, N), H, H.T
        return
    columns = solver(W, rho)
    d, Wc = similarity(W), sparse.csc_array(W)
    if d is None:
        rows, Wr = solver(sparse.csr_array(W.T), rho), sparse.csc_array(W.T)
    for start in progress(range(0, N, BLOCK), "blocks of units"):
        block = slice(start, min(start + BLOCK, N))
        # W commutes with S, so H = S^-1 W as well.
        H = columns(Wc[:, block].toarray(order="F"))
        if d is None:
            yield block, H, rows(Wr[:, block].toarray(order="F"))
        else:  # H_ij = d_i A_ij / d_j with A symmetric
            yield block, H, H * (d[block] / d[:, None]) ** 2


def solver(W: sparse.csr_array, rho: float) -> Callable[[NDArray], NDArray]:
    """Return ``b -> (I - rho W)^-1 b`` for b of shape (N,) or (N, m)."""
    N = W.shape[0]
    if N <= DENSE_UNITS or W.nnz > DENSE_SHARE * N * N:
        factor = linalg.lu_factor(np.eye(N) - rho * W.toarray(), check_finite=False)
        return lambda b: linalg.lu_solve(factor, b, check_finite=False)
    S = sparse.csc_array(sparse.eye_array(N) - rho * W)
    return factorize(S).solve


def solve_panel(W: sparse.csr_array, rho: float, Z: NDArray) -> NDArray:
    """Return ``(I - rho W)^-1 z_t`` for every period of ``Z``, shape (T, N)."""
    return solver(W, rho)(np.ascontiguousarray(Z.T)).T
