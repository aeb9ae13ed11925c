"""The search for the maximum of a likelihood with random unit effects.

A grid over (lambda, s) with rho profiled out gives starts; from each of them Newton's method
climbs with exact derivatives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.jacobian import Jacobian
from spatial_agglo.core.likelihood import EXACT, solve_spd
from spatial_agglo.core.random_baltagi import Outside
from spatial_agglo.core.random_likelihood import RandomModel, newton, profile, unpack
from spatial_agglo.errors import BoundaryError

#: Values of s at which the likelihood is searched; maxima between them are found from them.
S_GRID = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 13.0, 17.0, 21.0])
#: ln(1 + T phi) above this is a variance of the unit effects without end.
S_MAX = 25.0
#: Values of lambda in the search: for baltagi, where each costs factorisations, and for kkp.
FEW, MANY = 15, 60


def starts(model: RandomModel) -> list[NDArray]:
    """Local maxima, on a grid of (lambda, s), of the likelihood with rho profiled out."""
    rhos, rho_values = _mesh(model.rho_jacobian)
    lams, lam_values = _mesh(model.lam_jacobian)
    grid = S_GRID
    if isinstance(model.mean, Outside):  # every point costs a factorisation
        grid = S_GRID[::2]
        some = _thin(lams, FEW)
    else:
        some = _thin(lams, MANY)
    lams, lam_values = lams[some], lam_values[some]
    values, best = np.empty((2, lams.size, grid.size))
    for i, lam in enumerate(lams):
        for j, s in enumerate(grid):
            h, G = model.value(float(lam), float(s))
            profile = h + rho_values - 0.5 * model.n * np.log(_sums_of_squares(model, G, rhos))
            top = int(np.argmax(profile))
            values[i, j], best[i, j] = lam_values[i] + profile[top], rhos[top]
    padded = np.pad(values, 1, constant_values=-np.inf)
    shifts = [(a, c) for a in range(3) for c in range(3) if (a, c) != (1, 1)]
    around = [padded[a : a + lams.size, c : c + grid.size] for a, c in shifts]
    peaks = np.argwhere(np.all([values >= near for near in around], axis=0))
    has = [model.rho_jacobian is not None, model.lam_jacobian is not None, True]
    return [np.array([best[i, j], lams[i], grid[j]])[has] for i, j in peaks]


def climb(model: RandomModel, x: NDArray) -> tuple[NDArray, float, bool]:
    """Newton's method in a box: where it ends, the likelihood there, whether it settled."""
    low, high = _bounds(model)
    longest = np.append(0.2 * (high - low)[:-1], 2.0)
    x = np.clip(x, low, high)
    value, before = profile(model, x), np.inf
    for _ in range(100):
        gradient, hessian = newton(model, x)
        free = ~(((x <= low) & (gradient <= 0)) | ((x >= high) & (gradient >= 0)))
        step = np.zeros(x.size)
        if free.any():
            # Away from a maximum the Hessian is bent to be negative definite.
            roots, V = np.linalg.eigh(-hessian[np.ix_(free, free)])
            roots = np.maximum(np.abs(roots), 1e-8 * np.abs(roots).max())
            step[free] = V @ (V.T @ gradient[free] / roots)
        step /= max(1.0, float(np.max(np.abs(step) / longest)))
        # What rounding makes of the likelihood must not stop the last steps.
        slack = 1e-13 * model.n + 1e-13 * abs(value)
        for halving in range(40):
            new = np.clip(x + step * 0.5**halving, low, high)
            new_value = profile(model, new)
            if new_value >= value - slack:
                break
        else:
            return x, value, False
        moved = float(np.max(np.abs(new - x)))
        x, value = new, new_value
        if moved < 1e-13 or (moved < 1e-9 and moved >= 0.5 * before):
            return x, value, True
        before = moved
    return x, value, False


def check_interior(model: RandomModel, x: NDArray) -> None:
    """Raise when the maximum lies at an end of the parameter space other than phi = 0."""
    rho, lam, s = unpack(model, x)
    for name, jacobian, value in (
        ("rho", model.rho_jacobian, rho),
        ("lambda", model.lam_jacobian, lam),
    ):
        if jacobian and value in (jacobian.grid[0], jacobian.grid[-1]):
            low, high = jacobian.interval
            raise BoundaryError(
                f"The likelihood rises up to the end of the parameter space of {name}, "
                f"({low:.4g}, {high:.4g}): there is no interior maximum (it was followed to "
                f"{name} = {value:.4f}). Usual causes: a variable that is almost its own spatial "
                "lag (a trend that all units share: put period dummies into the formula), a W "
                "with very few links or almost equal rows, or far too few observations."
            )
    if s >= S_MAX:
        raise BoundaryError(
            "The likelihood rises with the variance of the unit effects without end: nothing is "
            "left to explain within units (an outcome that does not vary over time, or as many "
            "regressors as observations). Random effects then mean fixed effects: use "
            "effects='entity' with an outcome that varies within units."
        )


def _sums_of_squares(model: RandomModel, G: NDArray, rhos: NDArray) -> NDArray:
    """Return the sum of squares for every rho: a quadratic, from two regressions."""
    first = model.within.first
    C = G[:first, :first]
    if G.shape[0] > first:
        C = C - G[:first, first:] @ solve_spd(G[first:, first:], G[first:, :first])
    ssr = C[0, 0] + (0.0 if first == 1 else rhos * (rhos * C[1, 1] - 2.0 * C[0, 1]))
    return np.maximum(ssr, EXACT * G[0, 0])


def _mesh(jacobian: Jacobian | None) -> tuple[NDArray, NDArray]:
    """Points dense enough to see a narrow maximum, and the Jacobian there, interpolated."""
    if jacobian is None:
        return np.zeros(1), np.zeros(1)
    from scipy.interpolate import CubicSpline

    values = jacobian.sketch.value(jacobian.grid)
    grid, values = jacobian.grid[np.isfinite(values)], values[np.isfinite(values)]
    pieces = max(1, round(200 / grid.size))
    steps = np.arange(grid.size * pieces - pieces + 1) / pieces
    mesh = np.interp(steps, np.arange(grid.size), grid)
    return mesh, CubicSpline(grid, values)(mesh)


def _thin(mesh: NDArray, count: int) -> NDArray:
    """Positions of the points nearest to Chebyshev nodes, which crowd towards the ends."""
    middle, half = 0.5 * (mesh[0] + mesh[-1]), 0.5 * (mesh[-1] - mesh[0])
    nodes = middle - half * np.cos(np.pi * (np.arange(count) + 0.5) / count)
    return np.unique(np.abs(mesh[:, None] - nodes).argmin(axis=0))


def _bounds(model: RandomModel) -> tuple[NDArray, NDArray]:
    both = [j for j in (model.rho_jacobian, model.lam_jacobian) if j]
    low = [float(j.grid[0]) for j in both] + [0.0]
    high = [float(j.grid[-1]) for j in both] + [S_MAX]
    return np.array(low), np.array(high)
