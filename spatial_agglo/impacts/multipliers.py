"""The four functions of rho that turn coefficients into average effects, and their slopes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core.traces import BLOCK, solver
from spatial_agglo.models.workspace import Workspace

#: Nodes for the multipliers that no log-determinant gives, over the range of the draws.
NODES = 40


@dataclass(frozen=True)
class Multipliers:
    """Average effects are ``direct = a beta + b theta`` and ``total = c beta + d theta``.

    ``a = tr(S^-1)/n``, ``b = tr(S^-1 D)/n``, ``c = 1'S^-1 1/n``, ``d = 1'S^-1 D 1/n``, with
    ``S = I - rho W``, D the matrix that lags the regressors (W itself unless told otherwise) and
    n the number of units; on panels with gaps or weights that change over time, summed over
    periods and divided by the number of observed cells. Each is an array like rho.
    """

    a: NDArray
    b: NDArray
    c: NDArray
    d: NDArray


def multipliers(space: Workspace, rho: NDArray) -> tuple[Multipliers, Multipliers]:
    """Return the multipliers and their derivatives with respect to rho.

    The traces come from the derivatives of the log-determinant:
    ``tr(W S^-1) = -d1``, ``tr(S^-1) = N - rho d1``, ``tr(S^-1 W S^-1) = -(d1 + rho d2)``.
    """
    rho = np.asarray(rho, dtype=float)
    W, D = space.weights, space.durbin_weights
    assert W is not None
    assert D is not None
    cells = space.data.nobs if space.irregular else W.matrices[0].n
    times = W.times if space.irregular else np.ones(1)
    pairs = [
        (m * first, m * second)
        for m, (first, second) in (
            (m, matrix.logdet.derivatives(rho))
            for m, matrix in zip(times, W.matrices, strict=True)
        )
    ]
    d1, d2 = (np.sum([pair[j] for pair in pairs], axis=0) for j in range(2))
    a, a1 = 1.0 - rho * d1 / cells, -(d1 + rho * d2) / cells
    one, one1 = 1.0 / (1.0 - rho), 1.0 / (1.0 - rho) ** 2
    standard = W.row_standardized and D.row_standardized
    if D is W and standard:
        b, b1 = -d1 / cells, -d2 / cells
        return Multipliers(a, b, one, one), Multipliers(a1, b1, one1, one1)
    exact = _exact(space, traces=D is not W, sums=not standard)
    b, c, d, b1, c1, d1_ = _interpolated(exact, rho, W.matrices[0].logdet.interval[1])
    if D is W:
        b, b1 = -d1 / cells, -d2 / cells
    if standard:
        c, d, c1, d1_ = one, one, one1, one1
    return Multipliers(a, b, c, d), Multipliers(a1, b1, c1, d1_)


def lagged_share(space: Workspace) -> float:
    """Return ``1'D 1/n``, the multiplier of theta in the total effect of a model without rho."""
    D = space.durbin_weights
    if D is None:
        return 0.0
    total = sum(m * float(W.matrix.sum()) for m, W in zip(D.times, D.matrices, strict=True))
    return total / space.data.nobs


def _exact(space: Workspace, *, traces: bool, sums: bool) -> Callable[[float], NDArray]:
    """Return the function rho -> (b, c, d, and their slopes) by solving with S."""
    W, D = space.weights, space.durbin_weights
    assert W is not None
    assert D is not None
    groups = Counter(zip(W.which, D.which, strict=True))
    cells = space.data.cells.astype(float)
    first = {pair: j for j, pair in reversed(list(enumerate(zip(W.which, D.which, strict=True))))}

    def at(rho: float) -> NDArray:
        total = np.zeros(6)
        for (i, j), count in groups.items():
            A, B = W.matrices[i].matrix, D.matrices[j].matrix
            solve = solver(A, rho)
            if sums:
                mask = cells[first[i, j]]
                x, z = solve(mask), solve(B @ mask)  # S^-1 1, S^-1 D 1
                y, w = solve(A @ x), solve(A @ z)  # S^-1 W S^-1 1, S^-1 W S^-1 D 1
                total[[1, 2, 4, 5]] += count * np.array([mask @ part for part in (x, z, y, w)])
            if traces:
                total[[0, 3]] += count * np.array(_traces(A, B, solve))
        return total / cells.sum()

    return at


def _traces(
    A: sparse.csr_array, B: sparse.csr_array, solve: Callable[[NDArray], NDArray]
) -> tuple[float, float]:
    """Return ``tr(S^-1 D)`` and ``tr(S^-1 W S^-1 D)``, a block of columns at a time."""
    columns, level, slope = sparse.csc_array(B), 0.0, 0.0
    N = B.shape[0]
    for start in range(0, N, BLOCK):
        block = slice(start, min(start + BLOCK, N))
        x = solve(columns[:, block].toarray())
        level += float(np.trace(x[block]))
        slope += float(np.trace(solve(A @ x)[block]))
    return level, slope


def _interpolated(exact: Callable[[float], NDArray], rho: NDArray, end: float) -> NDArray:
    """Return the six functions for each rho, shape (6, ...); interpolated for many rho."""
    if rho.size <= NODES:
        found = np.array([exact(float(r)) for r in rho.ravel()])
        return found.T.reshape(6, *rho.shape)
    low, high = float(rho.min()), float(rho.max())
    nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    at = 0.5 * (low + high + (high - low) * nodes)
    # the poles at the upper end of the parameter space are divided out, so that what is
    # interpolated is smooth there as well
    poles = np.array([1, 1, 1, 2, 2, 2])
    values = np.array([exact(x) for x in at]) * (1.0 - at / end)[:, None] ** poles
    weights = np.linalg.solve(chebyshev.chebvander(nodes, NODES - 1), values)
    found = chebyshev.chebval((2.0 * rho - low - high) / (high - low), weights)
    return np.stack([v / (1.0 - rho / end) ** p for v, p in zip(found, poles, strict=True)])
