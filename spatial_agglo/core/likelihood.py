"""Concentrated likelihoods of the whole family, on a moment matrix.

With ``F = [y, Wy, X, WX]`` (what a model uses of it) and ``b = (1, -rho, -beta, -theta)``
the innovations are ``v = (F - lambda W F) b``, so for any (rho, lambda) the residual sum
of squares is a quadratic form in the moments and one evaluation costs O(k^3), however
large the panel is. beta, theta and sigma2 are concentrated out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from spatial_agglo.core.logdet import LogDet
from spatial_agglo.core.moments import Moments
from spatial_agglo.core.within import removes_entity, removes_time
from spatial_agglo.errors import BoundaryError, IdentificationError

#: A regressor whose share of variance left by the others is below this is collinear.
COLLINEAR = 1e-12
#: A residual sum of squares below this share of the total is zero.
EXACT = 1e-13


@dataclass(frozen=True)
class Counts:
    """What effects and likelihood change in a likelihood: three numbers.

    Attributes
    ----------
    n : int
        Independent observations: ``sigma2 = SSR / n``.
    tau : int
        Factor of ``ln|I - rho W|``.
    ones : int
        Factor of ``-ln(1 - rho)``: the eigenvalue 1 that removing period means takes away.
    """

    n: int
    tau: int
    ones: int


def counts(N: int, T: int, effects: str, likelihood: str, row_standardized: bool) -> Counts:
    """Return the counts of METHODS table: Lee & Yu (2010) for "transformed", else NT.

    Without row-standardised weights the period effects cannot be transformed away; they
    are then estimated as parameters, and only the entity effects change the counts.
    """
    if likelihood != "transformed":
        return Counts(n=N * T, tau=T, ones=0)
    periods = T - 1 if removes_entity(effects) else T
    if removes_time(effects) and row_standardized:
        return Counts(n=(N - 1) * periods, tau=periods, ones=periods)
    return Counts(n=N * periods, tau=periods, ones=0)


@dataclass(frozen=True)
class LogJacobian:
    """``tau ln|I - rho W| - ones ln(1 - rho)`` and its derivatives.

    Models without a spatial process have no log-determinant and never ask.
    """

    logdet: LogDet | None
    counts: Counts

    def value(self, rho: NDArray) -> NDArray:
        """Return the term of the log-likelihood."""
        assert self.logdet is not None
        out = self.counts.tau * self.logdet.value(rho)
        return out - self.counts.ones * np.log1p(-rho) if self.counts.ones else out

    def derivatives(self, rho: NDArray | float) -> tuple[NDArray, NDArray]:
        """Return its first and second derivative."""
        assert self.logdet is not None
        rho = np.asarray(rho, dtype=float)
        first, second = self.logdet.derivatives(rho)
        gap = self.counts.ones / (1.0 - rho)
        return self.counts.tau * first + gap, self.counts.tau * second + gap / (1.0 - rho)


@dataclass(frozen=True)
class Estimate:
    """A maximum of the likelihood.

    ``gamma`` holds the coefficients of the regressors in the order of F. ``rho`` and ``lam``
    are 0 where the model does not have them.
    """

    gamma: NDArray
    rho: float
    lam: float
    sigma2: float
    loglik: float


@dataclass(frozen=True)
class Filtered:
    """The cross-products that one model needs, for any rho and lambda.

    Attributes
    ----------
    own, cross, lagged : ndarray, shape (f, f)
        ``F'F``, ``F'(WF)`` and ``(WF)'(WF)``; the last two are zero when the model has no
        error process.
    has_lag : bool
        Whether the second column of F is ``Wy``.
    """

    own: NDArray
    cross: NDArray
    lagged: NDArray
    has_lag: bool

    @classmethod
    def of(
        cls, moments: Moments, regressors: list[tuple[int, int]], has_lag: bool, has_error: bool
    ) -> Filtered:
        """Select the columns ``(order, column)`` of a model from the moment matrix."""
        columns = [(0, 0)] + ([(1, 0)] if has_lag else []) + regressors
        i = [moments.index(order, column) for order, column in columns]
        own = moments.G[np.ix_(i, i)]
        if not has_error:
            return cls(own, np.zeros_like(own), np.zeros_like(own), has_lag)
        j = [moments.index(order + 1, column) for order, column in columns]
        return cls(own, moments.G[np.ix_(i, j)], moments.G[np.ix_(j, j)], has_lag)

    @property
    def first(self) -> int:
        """Position of the first regressor in F."""
        return 2 if self.has_lag else 1

    def coefficients(self, estimate: Estimate) -> NDArray:
        """Return b, the vector that turns the columns of F into residuals."""
        left = [1.0, -estimate.rho] if self.has_lag else [1.0]
        return np.concatenate([left, -estimate.gamma])

    def at(self, lam: float) -> NDArray:
        """Return the cross-products of ``F - lam W F``."""
        if lam == 0.0:
            return self.own
        return self.own - lam * (self.cross + self.cross.T) + lam**2 * self.lagged


def check_rank(gram: NDArray, names: list[str]) -> None:
    """Raise if a regressor is a linear combination of those before it, naming both.

    ``gram`` holds the cross-products of the regressors after the fixed effects are removed.
    """
    scale = np.sqrt(np.diag(gram))
    R = gram / np.outer(scale, scale)
    # The pivots of a Cholesky factorisation are the shares that the loop below computes.
    with contextlib.suppress(np.linalg.LinAlgError):
        left = np.diag(np.linalg.cholesky(R)) ** 2
        if np.all(left >= COLLINEAR * np.arange(len(names))):
            return
    for j in range(1, len(names)):
        before = R[:j, :j]
        combination = linalg.solve(before, R[:j, j], assume_a="pos", check_finite=False)
        if 1.0 - combination @ R[:j, j] < COLLINEAR * j:
            others = [names[i] for i in np.flatnonzero(np.abs(combination) > 1e-6)]
            raise IdentificationError(
                f"The regressor {names[j]!r} is a linear combination of "
                + ", ".join(repr(name) for name in others)
                + " once the fixed effects are removed, so its coefficient cannot be "
                "estimated. Drop one of them. (The spatial lag of a dummy that is the same "
                "for all units, or of an intercept, is collinear with it when W is "
                "row-standardised: name the columns to lag with durbin=[...].)"
            )


def solve_spd(A: NDArray, B: NDArray) -> NDArray:
    """Solve ``A x = B`` for a symmetric positive definite A, equilibrated."""
    scale = 1.0 / np.sqrt(np.diag(A))
    scaled = linalg.cho_factor(A * np.outer(scale, scale), check_finite=False)
    right = linalg.cho_solve(scaled, (B.T * scale).T, check_finite=False)
    return (right.T * scale).T


def maximize(filtered: Filtered, jacobian: LogJacobian, *, lag: bool, error: bool) -> Estimate:
    """Maximise the likelihood of a model with at most one of rho and lambda.

    Raises
    ------
    BoundaryError
        The likelihood rises up to an end of the parameter space.
    """
    if lag and error:
        raise NotImplementedError("models with both rho and lambda")
    if lag:
        rho = _root(*_lag_profile(filtered, jacobian), jacobian, "rho")
        return complete(filtered, jacobian, rho, 0.0)
    if error:
        lam = _root(*_error_profile(filtered, jacobian), jacobian, "lambda")
        return complete(filtered, jacobian, 0.0, lam)
    return complete(filtered, jacobian, 0.0, 0.0)


def complete(filtered: Filtered, jacobian: LogJacobian, rho: float, lam: float) -> Estimate:
    """Return the estimate at given spatial parameters: gamma, sigma2 and the likelihood."""
    A = filtered.at(lam)
    first = filtered.first
    left = np.array([1.0, -rho])[:first]
    gamma = np.zeros(0)
    if A.shape[0] > first:
        gamma = solve_spd(A[first:, first:], A[first:, :first] @ left)
    b = np.concatenate([left, -gamma])
    ssr = float(b @ A @ b)
    _check_residual(ssr, A[0, 0])
    n = jacobian.counts.n
    sigma2 = ssr / n
    loglik = -0.5 * n * (np.log(2.0 * np.pi * sigma2) + 1.0)
    for spatial in (rho, lam):
        if spatial != 0.0:
            loglik += float(jacobian.value(np.asarray(spatial)))
    return Estimate(gamma=gamma, rho=rho, lam=lam, sigma2=sigma2, loglik=float(loglik))


def _check_residual(ssr: float, total: float) -> None:
    """Raise when nothing is left to be explained."""
    if ssr <= EXACT * total:
        raise IdentificationError(
            "The regressors and effects explain the outcome exactly: the residual variance is "
            "zero. Is a regressor a copy of the outcome? (Or, with time effects, do all "
            "units have the same weight in each other? Then Wy is a multiple of y.)"
        )


Profile = Callable[[NDArray], NDArray]


def _lag_profile(filtered: Filtered, jacobian: LogJacobian) -> tuple[Profile, Profile]:
    """Value and score of the likelihood in rho: the SSR is a quadratic, from two regressions."""
    A = filtered.own
    C = A[:2, :2]
    if A.shape[0] > 2:
        C = C - A[:2, 2:] @ solve_spd(A[2:, 2:], A[2:, :2])
    n = jacobian.counts.n
    _check_residual(C[0, 0] - C[0, 1] ** 2 / C[1, 1], A[0, 0])

    def ssr(rho: NDArray) -> NDArray:
        return C[0, 0] - 2.0 * rho * C[0, 1] + rho**2 * C[1, 1]

    def value(rho: NDArray) -> NDArray:
        return jacobian.value(rho) - 0.5 * n * np.log(ssr(rho))

    def score(rho: NDArray) -> NDArray:
        slope = n * (C[0, 1] - rho * C[1, 1]) / ssr(rho)
        return jacobian.derivatives(rho)[0] + slope

    return value, score


def _error_profile(filtered: Filtered, jacobian: LogJacobian) -> tuple[Profile, Profile]:
    """Value and score of the likelihood in lambda, by regression on filtered data."""
    n = jacobian.counts.n
    mixed = filtered.cross + filtered.cross.T

    def residual(lam: float) -> tuple[float, float]:
        A = filtered.at(lam)
        b = np.ones(A.shape[0])
        if A.shape[0] > 1:
            b[1:] = -solve_spd(A[1:, 1:], A[1:, 0])
        ssr = float(b @ A @ b)
        _check_residual(ssr, A[0, 0])
        return ssr, float(b @ (2.0 * lam * filtered.lagged - mixed) @ b)

    def value(lam: NDArray) -> NDArray:
        ssr = np.array([residual(float(x))[0] for x in np.ravel(lam)])
        return jacobian.value(lam) - 0.5 * n * np.log(ssr.reshape(np.shape(lam)))

    def score(lam: NDArray) -> NDArray:
        ssr, slope = residual(float(lam))
        return jacobian.derivatives(lam)[0] - 0.5 * n * slope / ssr

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


def _root(value: Profile, score: Profile, jacobian: LogJacobian, name: str) -> float:
    """Find the highest point of a profile: a scan of the grid, then the zero of the score.

    The zero of the score is found to machine precision; a search on values would stop at
    its square root.
    """
    assert jacobian.logdet is not None
    grid = jacobian.logdet.grid
    values, best = _scan(value, grid)
    low, high = jacobian.logdet.interval
    edge = BoundaryError(
        f"The likelihood rises up to the end of the parameter space of {name}, "
        f"({low:.4g}, {high:.4g}): there is no interior maximum (best value at "
        f"{name} = {grid[best]:.4f}). Usual causes: a variable that is almost its own spatial "
        "lag (a trend that all units share: include time effects), a W with very few links or "
        "almost equal rows, or far too few observations."
    )
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
    return float(
        optimize.brentq(
            lambda x: float(score(np.asarray(x))),
            middle,
            other,
            xtol=1e-15 * min(-low, high),
            rtol=1e-14,
        )
    )
