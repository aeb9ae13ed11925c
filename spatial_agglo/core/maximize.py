"""The global maximum of a concentrated likelihood: scans, then roots to machine precision."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from spatial_agglo.core.jacobian import Jacobian
from spatial_agglo.core.likelihood import (
    Estimate,
    Filtered,
    Terms,
    check_residual,
    complete,
    reduced,
    reduced_many,
    solve_spd,
)
from spatial_agglo.errors import BoundaryError, ConvergenceError

#: Points of the scan in each spatial parameter when a model has both.
SCAN = 81
#: How closely a maximum is found on a sketch, as a share of the parameter space.
CLOSE = 1e-6
#: How far from the maximum of the sketch, as such a share, the maximum may be.
FAR = 0.05


def maximize(filtered: Filtered, terms: Terms) -> Estimate:
    """Return the global maximum of the likelihood.

    Raises
    ------
    BoundaryError
        The likelihood rises up to an end of the parameter space.
    ConvergenceError
        Both parameters, and the search for the maximum fails.
    """
    if terms.rho is not None and terms.lam is not None:
        return complete(filtered, terms, *_both(filtered, terms))
    if terms.rho is not None:
        profile = partial(_lag_profile, filtered, terms.n)
        return complete(filtered, terms, root(profile, terms.rho, "rho"), 0.0)
    if terms.lam is not None:
        profile = partial(_error_profile, filtered, terms.n)
        return complete(filtered, terms, 0.0, root(profile, terms.lam, "lambda"))
    return complete(filtered, terms, 0.0, 0.0)


Profile = Callable[[NDArray], NDArray]


def _lag_profile(filtered: Filtered, n: int, jacobian: Jacobian) -> tuple[Profile, Profile]:
    """Value and score of the likelihood in rho: the SSR is a quadratic, from two regressions."""
    C = filtered.own[:2, :2]
    if filtered.own.shape[0] > 2:
        A = filtered.own
        C = C - A[:2, 2:] @ solve_spd(A[2:, 2:], A[2:, :2])
    check_residual(C[0, 0] - C[0, 1] ** 2 / C[1, 1], filtered.own[0, 0])

    def ssr(rho: NDArray) -> NDArray:
        return C[0, 0] - 2.0 * rho * C[0, 1] + rho**2 * C[1, 1]

    def value(rho: NDArray) -> NDArray:
        return jacobian.value(rho) - 0.5 * n * np.log(ssr(rho))

    def score(rho: NDArray) -> NDArray:
        slope = n * (C[0, 1] - rho * C[1, 1]) / ssr(rho)
        return jacobian.derivatives(rho)[0] + slope

    return value, score


def _error_profile(filtered: Filtered, n: int, jacobian: Jacobian) -> tuple[Profile, Profile]:
    """Value and score of the likelihood in lambda, by regression on filtered data."""
    reduced(filtered, 0.0)  # raises on an exact fit

    def value(lam: NDArray) -> NDArray:
        ssr = reduced_many(filtered, lam)[:, 0, 0]
        return jacobian.value(lam) - 0.5 * n * np.log(ssr)

    def score(lam: NDArray) -> NDArray:
        ssr, slope = reduced(filtered, float(lam), 1)
        return jacobian.derivatives(lam)[0] - 0.5 * n * slope[0, 0] / ssr[0, 0]

    return value, score


def _scan(value: Profile, grid: NDArray) -> tuple[NDArray, int]:
    """Evaluate a profile on every third point of the grid, then around the best of them."""
    values = np.full(grid.size, -np.inf)
    coarse = np.unique(np.append(np.arange(0, grid.size, 3), grid.size - 1))
    values[coarse] = value(grid[coarse])
    around = int(np.nanargmax(values))
    fine = np.arange(max(around - 3, 0), min(around + 4, grid.size))
    fine = fine[np.isneginf(values[fine])]
    values[fine] = value(grid[fine])
    return values, int(np.nanargmax(values))


def root(
    profile: Callable[[Jacobian], tuple[Profile, Profile]], jacobian: Jacobian, name: str
) -> float:
    """Find the highest point of a profile, to machine precision.

    Where the log-determinant is dear, the search is made on its sketch, and only the last
    steps on itself.
    """
    value, score = profile(jacobian)
    rough = jacobian.sketch
    if rough is jacobian:
        return _search(value, score, jacobian, name)
    sketched = profile(rough)
    try:
        found = _near(score, _search(*sketched, rough, name, CLOSE), jacobian)
    except BoundaryError:
        found = None
    if found is not None:
        # The sketch must not promise more elsewhere than there is here.
        apart = np.abs(jacobian.grid - found)
        elsewhere = sketched[0](jacobian.grid[apart > apart.min()])
        if elsewhere.max() <= value(np.array([found]))[0]:
            return found
    return _search(value, score, jacobian, name)


def _near(score: Profile, start: float, jacobian: Jacobian) -> float | None:
    """Find the zero of a falling score near ``start`` by secants; None if it is not there.

    The first step is very small: an interpolated log-determinant is dear far away.
    """
    low, high = float(jacobian.grid[0]), float(jacobian.grid[-1])
    span = high - low
    here = start
    slope = float(score(np.asarray(here)))
    step = np.sign(slope) * 1e-5 * span
    for _ in range(50):
        ahead = here + step
        if not (low < ahead < high and abs(ahead - start) < FAR * span):
            return None
        if abs(step) <= 1e-10 * span:  # the error of a secant is that times the one before
            return ahead
        fell = float(score(np.asarray(ahead)))
        bend = (fell - slope) / step
        if bend >= 0.0:
            return None  # a minimum is ahead
        here, slope, step = ahead, fell, -fell / bend
    return None


def _zero(score: Profile, one: float, other: float, jacobian: Jacobian, tolerance: float) -> float:
    low, high = jacobian.interval
    return float(
        optimize.brentq(
            lambda x: float(score(np.asarray(x))),
            one,
            other,
            xtol=tolerance * min(-low, high),
            rtol=1e-14,
        )
    )


def _search(
    value: Profile,
    score: Profile,
    jacobian: Jacobian,
    name: str,
    tolerance: float = 1e-15,
) -> float:
    """Scan the grid for the highest point of a profile, then find the zero of the score.

    A search on values would stop at the square root of machine precision.
    """
    grid = jacobian.grid
    values, best = _scan(value, grid)
    edge = _edge(name, jacobian.interval, float(grid[best]))
    if best in (0, grid.size - 1):
        raise edge
    middle = grid[best]
    # A back end that interpolates builds a panel where it is asked: ask on the likely side.
    left, right = middle - grid[best - 1], grid[best + 1] - middle
    tilt = (values[best + 1] - values[best]) * left / right
    tilt += (values[best] - values[best - 1]) * right / left
    score(np.asarray(middle + (0.5 * right if tilt > 0 else -0.5 * left)))
    slope = float(score(np.asarray(middle)))
    if slope == 0.0:
        return float(middle)
    other = grid[best + 1] if slope > 0 else grid[best - 1]
    if slope * float(score(np.asarray(other))) > 0:
        raise edge
    return _zero(score, middle, other, jacobian, tolerance)


def _edge(name: str, interval: tuple[float, float], best: float) -> BoundaryError:
    low, high = interval
    return BoundaryError(
        f"The likelihood rises up to the end of the parameter space of {name}, "
        f"({low:.4g}, {high:.4g}): there is no interior maximum (best value at "
        f"{name} = {best:.4f}). Usual causes: a variable that is almost its own spatial "
        "lag (a trend that all units share: include time effects), a W with very few links or "
        "almost equal rows, or far too few observations."
    )


def _both(filtered: Filtered, terms: Terms) -> tuple[float, float]:
    """Find the highest of all maxima in (rho, lambda).

    The surface often has several: it is scanned over the whole parameter space, every maximum
    of the scan is polished by Newton's method, and the highest is taken. Where the
    log-determinants are dear, that is done on their sketch, and only the last steps on
    themselves.
    """
    rough = terms.sketch
    if rough is not terms:
        with contextlib.suppress(BoundaryError, ConvergenceError):
            polished = _polish(filtered, terms, *max(_maxima(filtered, rough))[1:])
            if polished is not None:
                return polished[1:]
    return max(_maxima(filtered, terms))[1:]


def _maxima(filtered: Filtered, terms: Terms) -> list[tuple[float, float, float]]:
    """Return the value, rho and lambda of the maxima in (rho, lambda)."""
    assert terms.rho is not None
    assert terms.lam is not None
    (at_zero,) = reduced(filtered, 0.0)
    left = at_zero[0, 0] - at_zero[0, 1] ** 2 / at_zero[1, 1]
    check_residual(float(left), float(filtered.own[0, 0]))
    rho, lam = _points(terms.rho), _points(terms.lam)
    C = reduced_many(filtered, lam)
    r = rho[:, None]
    ssr = C[:, 0, 0] - 2.0 * r * C[:, 0, 1] + r**2 * C[:, 1, 1]
    values = terms.rho.value(rho)[:, None] + terms.lam.value(lam) - 0.5 * terms.n * np.log(ssr)
    values = np.where(np.isfinite(values), values, -np.inf)
    padded = np.pad(values, 1, constant_values=-np.inf)
    shifts = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    around = [padded[i : i + rho.size, j : j + lam.size] for i, j in shifts]
    peaks = np.argwhere(values >= np.max(around, axis=0))
    peaks = peaks[np.argsort(-values[peaks[:, 0], peaks[:, 1]])]
    found = []
    for i, j in peaks[:8]:
        polished = _polish(filtered, terms, float(rho[i]), float(lam[j]))
        if polished is not None:
            found.append(polished)
    i, j = peaks[0]
    if not found or max(found)[0] < values[i, j]:
        for name, at, points, jacobian in (
            ("rho", i, rho, terms.rho),
            ("lambda", j, lam, terms.lam),
        ):
            if at in (0, points.size - 1):
                raise _edge(name, jacobian.interval, float(points[at]))
        raise ConvergenceError(
            f"The search for the maximum near rho = {rho[i]:.4f}, lambda = {lam[j]:.4f} did not "
            "converge: the likelihood is almost flat there, for rho and lambda are hard to tell "
            "apart. Use a model with one of them (sdm, sdem), or another W for the error process."
        )
    return found


def _points(jacobian: Jacobian) -> NDArray:
    """Points of the scan: the back end's own grid, with the wide gaps filled."""
    grid = jacobian.grid
    widths = np.diff(grid)
    pieces = np.maximum(1, np.round(SCAN * widths / (grid[-1] - grid[0]))).astype(int)
    inner = [
        left + width * np.arange(m) / m
        for left, width, m in zip(grid[:-1], widths, pieces, strict=True)
    ]
    return np.concatenate([*inner, grid[-1:]])


def _polish(
    filtered: Filtered, terms: Terms, rho: float, lam: float
) -> tuple[float, float, float] | None:
    """Climb to a maximum by Newton's method with step halving; None when it runs to the edge."""
    assert terms.rho is not None
    assert terms.lam is not None
    n = terms.n

    def evaluate(x: NDArray) -> tuple[float, NDArray, NDArray]:
        a, slope = np.array([1.0, -x[0]]), np.array([0.0, -1.0])
        C, C1, C2 = reduced(filtered, float(x[1]), 2)
        ssr = float(a @ C @ a)
        g = np.array([2.0 * slope @ C @ a, a @ C1 @ a])
        cross = 2.0 * slope @ C1 @ a
        H = np.array([[2.0 * slope @ C @ slope, cross], [cross, a @ C2 @ a]])
        (r1, r2), (l1, l2) = terms.rho.derivatives(x[0]), terms.lam.derivatives(x[1])  # type: ignore[union-attr]
        value = float(terms.rho.value(np.asarray(x[0])) + terms.lam.value(np.asarray(x[1])))  # type: ignore[union-attr]
        value -= 0.5 * n * np.log(ssr)
        gradient = np.array([float(r1), float(l1)]) - 0.5 * n * g / ssr
        hessian = np.diag([float(r2), float(l2)]) - 0.5 * n * (H / ssr - np.outer(g, g) / ssr**2)
        return value, gradient, hessian

    low = np.array([terms.rho.grid[0], terms.lam.grid[0]])
    high = np.array([terms.rho.grid[-1], terms.lam.grid[-1]])
    x = np.array([rho, lam])
    value, gradient, hessian = evaluate(x)
    for _ in range(100):
        values, vectors = np.linalg.eigh(-hessian)
        floor = 1e-8 * max(float(np.abs(values).max()), 1e-300)
        step = vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), floor))
        if np.abs(step).max() < 1e-13:
            break
        size = 1.0
        while size > 1e-10:
            trial = x + size * step
            if np.all((trial > low) & (trial < high)):
                ahead = evaluate(trial)
                if ahead[0] >= value - 1e-12 * abs(value):
                    break
            size *= 0.5
        else:
            return None
        moved = np.abs(trial - x).max()
        x, (value, gradient, hessian) = trial, ahead
        if moved < 1e-14:
            break
    if np.linalg.eigvalsh(hessian)[-1] >= 0:
        return None
    return value, float(x[0]), float(x[1])
