"""The four functions of rho that turn coefficients into average effects, and their slopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev, polynomial
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core.factorization import factorize
from spatial_agglo.core.parameter_space import radius
from spatial_agglo.core.progress import progress
from spatial_agglo.core.traces import BLOCK, solver
from spatial_agglo.impacts.stretches import Stretch, stretches
from spatial_agglo.models.workspace import Workspace

#: Nodes of a polynomial in rho, and what its last coefficients may be of the largest.
NODES, TOLERANCE = 12, 1e-11
#: Terms of a power series that are cheaper than factorisations, and where it is cut off.
TERMS, ROUNDING = 1_000, 1e-16
#: Nodes of a polynomial in a perturbation of S, and half-width of their interval in units of
#: the distance to where S might be singular.
PERTURBED, REACH = 13, 0.25


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


def without_lag(space: Workspace) -> Multipliers:
    """Return the multipliers of a model without rho: ``a = c = 1``, ``b = 0``, ``d = 1'D 1/n``."""
    D, total = space.durbin_weights, 0.0
    if D is not None:
        sums = (float(W.matrix.sum()) for W in D.matrices)
        total = sum(m * s for m, s in zip(D.times, sums, strict=True)) / space.data.nobs
    return Multipliers(np.ones(1), np.zeros(1), np.ones(1), np.array([total]))


def multipliers(space: Workspace, rho: NDArray) -> Multipliers:
    """Return the multipliers for each rho; what solves systems is interpolated for many rho.

    The traces come from the log-determinant: ``tr(W S^-1) = -d1``, ``tr(S^-1) = N - rho d1``.
    """
    rho = np.asarray(rho, dtype=float)
    own, standard = _kind(space)
    lag, _ = _traces_of_lag(space, rho)
    b, c, d = _others(space, rho, traces=not own, sums=not standard, slopes=False)
    if standard:
        c = d = 1.0 / (1.0 - rho)
    return Multipliers(1.0 + rho * lag, lag if own else b, c, d)


def slopes(space: Workspace, rho: float) -> Multipliers:
    """Return the derivatives of the multipliers at one rho, each of shape (1,).

    ``tr(S^-1 W S^-1) = -(d1 + rho d2)`` and ``tr((W S^-1)^2) = -d2``.
    """
    at = np.array([rho])
    own, standard = _kind(space)
    lag, second = _traces_of_lag(space, at)
    b, c, d = _others(space, at, traces=not own, sums=not standard, slopes=True)
    if standard:
        c = d = 1.0 / (1.0 - at) ** 2
    return Multipliers(lag + at * second, second if own else b, c, d)


def _kind(space: Workspace) -> tuple[bool, bool]:
    """Tell whether W lags the regressors as well, and whether all rows sum to one."""
    W, D = space.weights, space.durbin_weights
    assert W is not None
    assert D is not None
    return D is W, W.row_standardized and D.row_standardized


def _traces_of_lag(space: Workspace, rho: NDArray) -> tuple[NDArray, NDArray]:
    """Return ``tr(W S^-1)/n`` and ``tr((W S^-1)^2)/n``."""
    W = space.weights
    assert W is not None
    times, cells = (W.times, space.data.nobs) if space.irregular else ([1], W.matrices[0].n)
    first, second = np.zeros_like(rho), np.zeros_like(rho)
    for m, matrix in zip(times, W.matrices, strict=True):
        d1, d2 = matrix.logdet.derivatives(rho)
        first, second = first - m * d1, second - m * d2
    return first / cells, second / cells


def _others(space: Workspace, rho: NDArray, *, traces: bool, sums: bool, slopes: bool) -> NDArray:
    """Return b (traces), c and d (sums), or their slopes; NaN for what is not asked for."""
    out = np.full((3, *rho.shape), np.nan)
    if sums:
        found = _series(space, rho)
        if found is not None:
            out[1:] = found[2:] if slopes else found[:2]
            sums = False
    if traces or sums:
        exact = _solving(space, traces=traces, sums=sums, slopes=slopes)
        solved = exact(float(rho[0]))[3:, None] if slopes else _interpolated(exact, rho)[:3]
        out = np.where(np.isnan(solved), out, solved)
    return out


# --- by powers of W ---------------------------------------------------------------------


def _series(space: Workspace, rho: NDArray) -> NDArray | None:
    """Return c, d and their slopes, shape (4, ...), from ``sum_q rho^q 1'W^q 1 / n``.

    None where so many terms are needed that solving with S is cheaper.
    """
    parts = stretches(space)
    scale = max(part.radius for part in parts)
    x = float(np.abs(rho).max()) * scale
    if x >= 1.0:
        return None
    terms = 2 + int(np.log(ROUNDING * (1.0 - x) ** 2) / np.log(max(x, ROUNDING)))
    if terms > TERMS:
        return None
    moments = sum(part.count * power_sums(part, terms, scale) for part in parts)
    moments = moments / sum(part.count * part.mask.sum() for part in parts)
    if not np.all(terms * x**terms * moments[:, -1] <= 1e2 * ROUNDING * moments[:, 0]):
        return None  # W is so far from symmetric that its powers grow at first
    slopes = scale * polynomial.polyder(moments, axis=1)
    return np.stack([polynomial.polyval(rho * scale, row) for row in (*moments, *slopes)])


def power_sums(part: Stretch, orders: int, scale: float = 1.0) -> NDArray:
    """Return ``1'W^q 1`` and ``1'W^q D 1`` for q = 0, 1, .., orders, shape (2, orders + 1).

    With a scale those of ``W / scale``, whose powers stay in the range of numbers.
    """
    lagged = np.zeros_like(part.mask) if part.D is None else part.D @ part.mask
    x = np.stack([part.mask, lagged], axis=1)
    out = [part.mask @ x]
    for _ in range(orders):
        assert part.W is not None
        x = part.W @ x / scale
        out.append(part.mask @ x)
    return np.array(out).T


# --- by solving with S --------------------------------------------------------------------


def _solving(
    space: Workspace, *, traces: bool, sums: bool, slopes: bool
) -> Callable[[float], NDArray]:
    """Return the function rho -> (b, c, d and, with slopes, their derivatives); else NaN."""
    parts = stretches(space)
    cells = sum(part.count * part.mask.sum() for part in parts)

    def at(rho: float) -> NDArray:
        total = np.full(6, np.nan)
        total[[0, 3] * traces + [1, 2, 4, 5] * sums] = 0.0
        for part in parts:
            A, B = part.W, part.D
            assert A is not None
            assert B is not None
            solve = solver(A, rho)
            if sums:
                x, z = solve(part.mask), solve(B @ part.mask)  # S^-1 1, S^-1 D 1
                total[[1, 2]] += part.count * np.array([part.mask @ x, part.mask @ z])
                if slopes:  # S^-1 W S^-1 1, S^-1 W S^-1 D 1
                    moved = [part.mask @ solve(A @ u) for u in (x, z)]
                    total[[4, 5]] += part.count * np.array(moved)
            if traces:
                total[[0, 3]] += part.count * np.array(_traces(part, rho, solve, slopes))
        return total / cells

    return at


def _traces(
    part: Stretch, rho: float, solve: Callable[[NDArray], NDArray], slopes: bool
) -> tuple[float, float]:
    """Return ``tr(S^-1 D)`` and ``tr(S^-1 W S^-1 D)`` (zero unless slopes are wanted)."""
    A, B = part.W, part.D
    assert A is not None
    assert B is not None
    margin = 1.0 - abs(rho) * part.radius
    if not part.small and margin > 0.0:
        return _perturbed(A, B, rho, margin, slopes)
    columns, level, slope = sparse.csc_array(B), 0.0, 0.0
    N = B.shape[0]
    width = N if part.small else BLOCK
    for start in progress(range(0, N, width), "blocks of units"):
        block = slice(start, min(start + width, N))
        x = solve(columns[:, block].toarray())
        level += float(np.trace(x[block]))
        if slopes:
            slope += float(np.trace(solve(A @ x)[block]))
    return level, slope


def _perturbed(
    A: sparse.csr_array, B: sparse.csr_array, rho: float, margin: float, slopes: bool
) -> tuple[float, float]:
    """Return the traces from ``F(x) = ln|S - x M|``, for matrices too large to solve N systems.

    ``F'(0) = -tr(S^-1 M)`` and ``F''(0) = -tr((S^-1 M)^2)``. M = D gives the first trace. M = W
    + c D and M = W - c D differ by ``2c tr(S^-1 D)`` in the first and by
    ``4c tr(S^-1 W S^-1 D)`` in the second.
    """
    S = sparse.eye_array(A.shape[0]) - rho * A
    nodes = np.cos(np.pi * (np.arange(PERTURBED) + 0.5) / PERTURBED)
    inverse = np.linalg.inv(chebyshev.chebvander(nodes, PERTURBED - 1))

    def derivatives(M: sparse.csr_array, width: float) -> tuple[float, float]:
        values = []
        for x in nodes * width:
            pivots = factorize(sparse.csc_array(S - x * M)).U.diagonal()
            values.append(float(np.log(np.abs(pivots)).sum()))
        found = inverse @ np.array(values)
        first, second = (chebyshev.chebval(0.0, chebyshev.chebder(found, m)) for m in (1, 2))
        return -float(first) / width, -float(second) / width**2

    if not slopes:
        return derivatives(B, REACH * margin / radius(B))[0], 0.0
    c = float(A.sum()) / float(B.sum())
    width = REACH * margin / radius(sparse.csr_array(A + c * B))
    plus, minus = (derivatives(sparse.csr_array(A + sign * B), width) for sign in (c, -c))
    return (plus[0] - minus[0]) / (2.0 * c), (plus[1] - minus[1]) / (4.0 * c)


def _interpolated(exact: Callable[[float], NDArray], rho: NDArray) -> NDArray:
    """Return the functions for each rho, shape (6, ...).

    Between many values, polynomials on intervals that are halved until they converge.
    """
    flat, where = np.unique(rho.ravel(), return_inverse=True)
    out = np.empty((6, flat.size))
    nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    inverse = np.linalg.inv(chebyshev.chebvander(nodes, NODES - 1))
    todo = [slice(0, flat.size)]
    while todo:
        here = todo.pop()
        at = flat[here]
        if at.size <= NODES:
            out[:, here] = np.array([exact(float(r)) for r in at]).reshape(-1, 6).T
            continue
        low, high = at[0], at[-1]
        values = np.array([exact(x) for x in 0.5 * (low + high + (high - low) * nodes)])
        found = inverse @ values
        large = np.abs(found).max(axis=0)
        rest = np.abs(found[-2:]).max(axis=0)
        if np.all((rest <= TOLERANCE * large) | np.isnan(large)):
            out[:, here] = chebyshev.chebval((2.0 * at - low - high) / (high - low), found)
            continue
        middle = here.start + int(np.searchsorted(at, 0.5 * (low + high)))
        todo += [slice(here.start, middle), slice(middle, here.stop)]
    return out[:, where].reshape(6, *rho.shape)
