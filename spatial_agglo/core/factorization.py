"""ln|I - rho W| at one rho, by sparse factorisation."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse import linalg as sparse_linalg


class Factorize(Protocol):
    """What a sparse factorisation is asked for."""

    def __call__(self, rho: float) -> tuple[float, int]:
        """Return ``ln|I - rho W|``, and the non-zeros of both factors."""


class LU(Protocol):
    """One that can also scale the columns of W."""

    def __call__(self, rho: float | NDArray) -> tuple[float, int]:
        """Return ``ln|I - W diag(rho)|``, and the non-zeros of both factors."""


def ldl(symmetric: sparse.csr_array) -> Factorize:
    """Factorise by LDL', W symmetric; the symbolic analysis is made once.

    The value is NaN where the matrix is not positive definite.
    """
    import qdldl

    N = symmetric.shape[0]
    identity = sparse.eye_array(N, format="csc")
    upper = sparse.csc_array(sparse.triu(symmetric, k=1))
    pattern = sparse.csc_matrix(identity + upper)
    pattern.sort_indices()
    columns = np.repeat(np.arange(N), np.diff(pattern.indptr))
    diagonal = pattern.indices == columns
    weights = np.where(diagonal, 0.0, pattern.data)
    solver = None

    def evaluate(rho: float) -> tuple[float, int]:
        nonlocal solver
        pattern.data = diagonal - rho * weights
        try:
            if solver is None:
                solver = qdldl.Solver(pattern, upper=True)
            else:
                solver.update(pattern, upper=True)
        except RuntimeError:
            solver = None
            return np.nan, 0
        L, pivots, _ = solver.factors()
        value = float(np.log(pivots).sum()) if np.min(pivots) > 0 else np.nan
        return value, 2 * L.nnz

    return evaluate


def lu(W: sparse.csr_array) -> LU:
    """Factorise by SuperLU; the ordering of the first time is kept.

    Instead of rho there may be an array, for ``I - W diag(rho)``.
    """
    N = W.shape[0]
    identity = sparse.eye_array(N, format="csc")
    weights, to = sparse.csc_array(W), np.arange(N)
    order = "MMD_AT_PLUS_A"

    def evaluate(rho: float | NDArray) -> tuple[float, int]:
        nonlocal weights, to, order
        scale = np.repeat(np.broadcast_to(rho, N)[to], np.diff(weights.indptr))
        scaled = sparse.csc_array(
            (scale * weights.data, weights.indices, weights.indptr), shape=(N, N)
        )
        factor = factorize(sparse.csc_array(identity - scaled), order)
        if order != "NATURAL" and np.all(rho != 0):
            to = np.argsort(factor.perm_c)
            weights, order = sparse.csc_array(weights[to][:, to]), "NATURAL"
        return float(np.log(np.abs(factor.U.diagonal())).sum()), int(factor.nnz)

    return evaluate


def factorize(S: sparse.csc_array, order: str = "MMD_AT_PLUS_A") -> sparse_linalg.SuperLU:
    """Factorise ``I - rho W`` without pivoting, which would undo the ordering.

    Inside the spectral radius it is an H-matrix (W is not negative), and those need no pivots.
    """
    return sparse_linalg.splu(
        S, permc_spec=order, diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )


def symmetrize(W: sparse.csr_array) -> sparse.csr_array | None:
    """Return a symmetric matrix similar to ``W`` by a diagonal scaling, or None.

    A row-standardised symmetric matrix ``D^-1 B`` is similar to ``D^-1/2 B D^-1/2``.
    """
    W = W if W.has_sorted_indices else W.sorted_indices()
    if similarity(W) is None:
        return None
    T = sparse.csr_array(W.T)
    T.sort_indices()
    return sparse.csr_array((np.sqrt(W.data * T.data), W.indices, W.indptr), shape=W.shape)


def similarity(W: sparse.csr_array, tolerance: float = 1e-12) -> NDArray | None:
    """Return d with ``W = diag(d) A diag(1/d)`` and A symmetric, or None if there is none.

    ``w_ij / w_ji = (d_i / d_j)^2``. The scaling is found along a spanning forest, so that it
    need not be told.
    """
    W = W if W.has_sorted_indices else W.sorted_indices()
    T = sparse.csr_array(W.T)
    T.sort_indices()
    if not (np.array_equal(W.indptr, T.indptr) and np.array_equal(W.indices, T.indices)):
        return None
    log_ratio = np.log(W.data / T.data)
    rows = np.repeat(np.arange(W.shape[0]), np.diff(W.indptr))
    limit = 1e2 * tolerance * max(1.0, np.abs(log_ratio).max(initial=0.0))

    def fits(scale: NDArray) -> bool:
        gap = scale[rows] - scale[W.indices] + log_ratio
        return bool(np.abs(gap).max(initial=0.0) <= limit)

    # One value per row, as in standardised contiguity, tells the scale at once.
    scale = np.zeros(W.shape[0])
    scale[rows] = -np.log(W.data)
    if not fits(scale):
        scale = _propagate(W, rows, log_ratio)
    return np.exp(-0.5 * scale) if fits(scale) else None


def _propagate(W: sparse.csr_array, rows: NDArray, log_ratio: NDArray) -> NDArray:
    """Solve ``scale_j = scale_i + ln(w_ij / w_ji)`` along a spanning forest."""
    N = W.shape[0]
    # The pattern of W is symmetric. If it has several components, a further unit is linked
    # to one unit of each.
    order, parent = csgraph.breadth_first_order(W, 0)  # type: ignore[arg-type]
    if order.size < N:
        _, component = csgraph.connected_components(W)
        _, roots = np.unique(component, return_index=True)
        gate = sparse.csr_array(
            (np.ones(roots.size), (np.zeros(roots.size, dtype=int), roots)), shape=(1, N)
        )
        forest = sparse.block_array([[W, gate.T], [gate, None]], format="csr")
        _, parent = csgraph.breadth_first_order(forest, N)  # type: ignore[arg-type]
        parent = np.where(parent == N, -1, parent)[:N]
    parent = np.where(parent < 0, np.arange(N), parent)
    scale = np.zeros(N)
    branch = parent[W.indices] == rows
    scale[W.indices[branch]] = log_ratio[branch]
    while not np.array_equal(parent, parent[parent]):  # pointer jumping: log2(depth) rounds
        scale = scale + scale[parent]
        parent = parent[parent]
    return scale
