"""The four functions of rho that turn coefficients into average effects, and their slopes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from spatial_agglo.core.traces import solver
from spatial_agglo.weights.matrix import SpatialWeights

#: Nodes for the multipliers of a W that is not row-standardised, over the range of the draws.
NODES = 40


@dataclass(frozen=True)
class Multipliers:
    """Average effects are ``direct = a beta + b theta`` and ``total = c beta + d theta``.

    ``a = tr(S^-1)/N``, ``b = tr(S^-1 W)/N``, ``c = 1'S^-1 1/N``, ``d = 1'S^-1 W 1/N``, with
    ``S = I - rho W``. Each is an array like rho.
    """

    a: NDArray
    b: NDArray
    c: NDArray
    d: NDArray


def multipliers(W: SpatialWeights, rho: NDArray) -> tuple[Multipliers, Multipliers]:
    """Return the multipliers and their derivatives with respect to rho.

    The traces come from the derivatives of the log-determinant:
    ``tr(W S^-1) = -d1``, ``tr(S^-1) = N - rho d1``, ``tr(S^-1 W S^-1) = -(d1 + rho d2)``.
    """
    rho = np.asarray(rho, dtype=float)
    d1, d2 = W.logdet.derivatives(rho)
    a, a1 = 1.0 - rho * d1 / W.n, -(d1 + rho * d2) / W.n
    b, b1 = -d1 / W.n, -d2 / W.n
    if W.row_standardized:
        c, c1 = 1.0 / (1.0 - rho), 1.0 / (1.0 - rho) ** 2
        return Multipliers(a, b, c, c), Multipliers(a1, b1, c1, c1)
    c, d, c1, d1_ = _sums(W, rho)
    return Multipliers(a, b, c, d), Multipliers(a1, b1, c1, d1_)


def _sums(W: SpatialWeights, rho: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return c, d and their slopes without row-standardisation; interpolated for many rho."""
    if rho.size <= NODES:
        found = np.array([_sums_at(W, float(r)) for r in rho.ravel()])
        c, d, c1, d1 = (found[:, j].reshape(rho.shape) for j in range(4))
        return c, d, c1, d1
    low, high = float(rho.min()), float(rho.max())
    nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    at = 0.5 * (low + high + (high - low) * nodes)
    # the poles at the upper end of the parameter space are divided out, so that what is
    # interpolated is smooth there as well
    end = W.logdet.interval[1]
    poles = np.array([1, 1, 2, 2])
    exact = np.array([_sums_at(W, x) for x in at]) * (1.0 - at / end)[:, None] ** poles
    weights = np.linalg.solve(chebyshev.chebvander(nodes, NODES - 1), exact)
    found = chebyshev.chebval((2.0 * rho - low - high) / (high - low), weights)
    c, d, c1, d1 = (value / (1.0 - rho / end) ** p for value, p in zip(found, poles, strict=True))
    return c, d, c1, d1


def _sums_at(W: SpatialWeights, rho: float) -> tuple[float, float, float, float]:
    solve = solver(W.matrix, rho)
    one = np.ones(W.n)
    Wone = W.matrix @ one
    x = solve(one)  # S^-1 1
    z = solve(Wone)  # S^-1 W 1
    y = solve(W.matrix @ x)  # S^-1 W S^-1 1
    w = solve(W.matrix @ z)  # S^-1 W S^-1 W 1
    return x.mean(), z.mean(), y.mean(), w.mean()
