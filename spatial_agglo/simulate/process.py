"""From regressors, effects and innovations to the outcome, and whether that can be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.moments import lag
from spatial_agglo.core.traces import solver
from spatial_agglo.errors import (
    OptionError,
)
from spatial_agglo.simulate.cells import Cells
from spatial_agglo.weights.matrix import SpatialWeights, spectral_radius

#: Above this many units the eigenvalues of a dynamic model are bounded, not computed.
SPECTRUM_UNITS = 1_500


def alike(*columns: Sequence[SpatialWeights]) -> list[list[int]]:
    """Group the rows that have the same matrices, so that each is factorised once."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, matrices in enumerate(zip(*columns, strict=True)):
        groups.setdefault(tuple(map(id, matrices)), []).append(row)
    return list(groups.values())


def solve_rows(W: SpatialWeights, r: float, Z: NDArray) -> NDArray:
    """Return ``(I - r W)^-1 z_t`` for every row and column of Z, shape (m, N) or (m, N, k)."""
    if r == 0:
        return Z
    flat = np.moveaxis(Z, 1, 0)
    solved = solver(W.matrix, r)(flat.reshape(W.n, -1))
    return np.moveaxis(solved.reshape(flat.shape), 0, 1)


def outcome_of(
    cells: Cells,
    when: NDArray,
    mean: NDArray,
    spill: NDArray,
    noise: NDArray,
    rho: float | None,
    lam: float,
) -> NDArray:
    """Return ``mean + W spill + (I - lam M)^-1 noise``, times ``(I - rho W)^-1`` unless None."""
    y = np.full(mean.shape, np.nan)
    for rows in alike(*([V[t] for t in when] for V in cells.parts.values())):
        t = when[rows[0]]
        block = np.ix_(np.array(rows), np.flatnonzero(cells.observed[t]))
        h, u = mean[block], noise[block]
        h += u if "W_error" not in cells.parts else solve_rows(cells.parts["W_error"][t], lam, u)
        if "W_durbin" in cells.parts:
            h += lag(cells.parts["W_durbin"][t].operator, spill[block])
        y[block] = h if rho is None else solve_rows(cells.parts["W"][t], rho, h)
    return y


def recursion(
    y: NDArray, weights: Sequence[SpatialWeights], rho: float, tau: float, eta: float, burn: int
) -> NDArray:
    """Turn what enters a dynamic model into the outcome, in place; return it before `burn`."""
    solve: dict[int, Callable[[NDArray], NDArray]] = {}
    before, spilled = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    start = before
    for row, W in enumerate(weights):
        if id(W) not in solve:
            solve[id(W)] = solver(W.matrix, rho)
        if row == burn:
            start = before.copy()
        y[row] = solve[id(W)](y[row] + tau * before + eta * spilled)
        before, spilled = y[row], W.matrix @ y[row]
    return start


def distinct(weights: Iterable[SpatialWeights]) -> list[SpatialWeights]:
    """Return every matrix once."""
    return list({id(W): W for W in weights}.values())


def check_space(name: str, value: float, weights: Iterable[SpatialWeights]) -> None:
    """Raise unless ``I - value W`` stays regular all the way from zero."""
    for W in distinct(weights) if value else ():
        norm = min(float(W.matrix.sum(axis=1).max()), float(W.matrix.sum(axis=0).max()))
        if abs(value) * norm < 1.0:  # a bound of the spectral radius: no determinant is needed
            continue
        low, high = W.logdet.interval
        if not low < value < high:
            raise OptionError(
                f"{name}={value:g} lies outside the parameter space of the weights, "
                f"({low:.4g}, {high:.4g}). Choose a value inside, or standardise the weights."
            )


def check_stable(weights: Iterable[SpatialWeights], rho: float, tau: float, eta: float) -> None:
    """Raise if ``(I - rho W)^-1 (tau I + eta W)`` has an eigenvalue of modulus one or more.

    ``w -> (tau + eta w) / (1 - rho w)`` takes the circle through the spectral radius, and with
    it the disc of all eigenvalues of W, to a circle symmetric about the real axis, so its two
    real points bound them; for real eigenvalues this is the condition of Elhorst (2014, 4.2).
    """
    for W in distinct(weights):
        radius = 1.0 if W.standardization in ("row", "spectral") else spectral_radius(W.matrix)
        omega = np.array([-radius, radius])
        bounded = abs(rho) * radius < 1.0 and growth(omega, rho, tau, eta) < 1.0
        if not bounded and W.n <= SPECTRUM_UNITS:
            omega = np.linalg.eigvals(W.matrix.toarray())
            bounded = growth(omega, rho, tau, eta) < 1.0 - 1e-12
        if not bounded:
            how = "" if W.n <= SPECTRUM_UNITS else ", by a bound (there are too many units),"
            raise OptionError(
                "The dynamics explode: the largest eigenvalue of (I - rho W)^-1 (tau I + eta W) "
                f"has{how} modulus {growth(omega, rho, tau, eta):.4g} and must stay below 1 "
                f"(rho + tau + eta = {rho + tau + eta:.4g}). Choose smaller tau and eta."
            )


def growth(omega: NDArray, rho: float, tau: float, eta: float) -> float:
    """Return the largest modulus of the roots that eigenvalues of W give the dynamics."""
    return float(np.abs((tau + eta * omega) / (1.0 - rho * omega)).max())
