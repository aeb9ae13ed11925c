"""Average direct, indirect and total effects with standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from spatial_agglo.core.random import generator
from spatial_agglo.errors import BoundaryError, OptionError, check_option
from spatial_agglo.impacts.multipliers import lagged_share, multipliers

if TYPE_CHECKING:
    from spatial_agglo.models.results import FitResult

EFFECTS = ("direct", "indirect", "total")
METHODS = ("delta", "simulation")


@dataclass(frozen=True, eq=False)
class Impacts:
    """Average effects of every regressor.

    Attributes
    ----------
    names : tuple of str
        The k regressors.
    estimate : ndarray, shape (3, k)
        Direct, indirect and total effects, evaluated at the estimates.
    covariance : ndarray, shape (3, k, 3, k)
        Of the estimates above.
    bounds : ndarray, shape (2, 3, k)
        Lower and upper end of the interval.
    method : {"delta", "simulation"}
    level : float
        Coverage of the interval.
    draws, rejected : int
        Simulation only: draws kept, and draws outside the parameter space that were replaced.
    """

    names: tuple[str, ...]
    estimate: NDArray
    covariance: NDArray
    bounds: NDArray
    method: str
    level: float
    draws: int = 0
    rejected: int = 0

    @cached_property
    def se(self) -> NDArray:
        """Standard errors, shape (3, k); NaN for an effect that the model sets to zero."""
        k = len(self.names)
        variance = self.covariance.reshape(3 * k, 3 * k).diagonal().reshape(3, k)
        return np.sqrt(np.where(variance > 0, variance, np.nan))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per regressor and effect: estimate, se, z, p_value, lower, upper."""
        z = self.estimate / self.se
        columns = {
            "estimate": self.estimate,
            "se": self.se,
            "z": z,
            "p_value": 2.0 * ndtr(-np.abs(z)),
            "lower": self.bounds[0],
            "upper": self.bounds[1],
        }
        index = pd.MultiIndex.from_product([EFFECTS, self.names], names=["effect", "variable"])
        return pd.DataFrame({key: value.ravel() for key, value in columns.items()}, index=index)

    @property
    def direct(self) -> pd.DataFrame:
        """Effect of a unit's regressor on its own outcome, feedback included."""
        return self.to_frame().xs("direct")

    @property
    def indirect(self) -> pd.DataFrame:
        """Spillover: effect on a unit of the regressor changing in all the others."""
        return self.to_frame().xs("indirect")

    @property
    def total(self) -> pd.DataFrame:
        """Effect on a unit of the regressor changing everywhere."""
        return self.to_frame().xs("total")

    def _repr_html_(self) -> str:
        return self.to_frame()._repr_html_()

    def __repr__(self) -> str:
        return f"Impacts({self.method}, {self.level:.0%} intervals)\n{self.to_frame().to_string()}"


def impacts(
    fit: FitResult,
    *,
    method: str = "delta",
    draws: int = 1000,
    seed: int | np.random.Generator | None = 0,
    level: float = 0.95,
) -> Impacts:
    """Return average direct, indirect and total effects (LeSage & Pace 2009).

    For regressor k the matrix of partial derivatives is
    ``S_k = (I - rho W)^-1 (beta_k I + theta_k W)``. Direct is the mean of its diagonal, total
    the mean of its row sums, indirect their difference. Models without rho have
    ``S_k = beta_k I + theta_k W``.

    Parameters
    ----------
    fit : FitResult
    method : {"delta", "simulation"}
        "delta": exact derivatives and the full covariance of the fit, including that of
        sigma2 and rho. "simulation": draws from the normal distribution of the estimates,
        standard deviations and percentile intervals.
    draws : int
        Simulation only.
    seed : int, Generator or None
        Simulation only; the same seed gives the same numbers.
    level : float
        Coverage of the interval.

    Returns
    -------
    Impacts

    Raises
    ------
    OptionError
        Unknown method, fewer than two draws, a level outside (0, 1).
    BoundaryError
        More than half of the draws fall outside the parameter space.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> effects = sa.sdm("logc ~ logp + logy", panel, W).impacts()
    >>> effects.total["estimate"].round(3).to_dict()
    {'logp': -1.225, 'logy': 0.398}
    """
    check_option("method", method, METHODS)
    if not 0.0 < level < 1.0:
        raise OptionError(f"level={level!r} must lie between 0 and 1, for example 0.95.")
    selection = _Selection.of(fit)
    point = selection.effects(fit.values[None, :])[0]
    k = len(selection.names)
    if method == "delta":
        J = selection.jacobian(fit.values)
        covariance = (J @ _known(fit.covariance) @ J.T).reshape(3, k, 3, k)
        variance = np.clip(covariance.reshape(3 * k, 3 * k).diagonal(), 0.0, None).reshape(3, k)
        half = ndtri(0.5 + level / 2.0) * np.sqrt(variance)
        bounds = np.stack([point - half, point + half])
        return Impacts(selection.names, point, covariance, bounds, method, level)
    if not (isinstance(draws, (int, np.integer)) and draws >= 2):
        raise OptionError(f"draws={draws!r} must be a whole number of at least 2.")
    eta, rejected = _draw(fit, int(draws), generator(seed))
    sample = selection.effects(eta)
    covariance = np.cov(sample.reshape(len(sample), 3 * k), rowvar=False)
    tail = 100.0 * (1.0 - level) / 2.0
    bounds = np.percentile(sample, [tail, 100.0 - tail], axis=0)
    return Impacts(
        selection.names,
        point,
        np.reshape(covariance, (3, k, 3, k)),
        bounds,
        method,
        level,
        int(draws),
        rejected,
    )


@dataclass(frozen=True, eq=False)
class _Selection:
    """Where beta, theta and rho stand among the parameters of a fit."""

    fit: FitResult
    names: tuple[str, ...]
    beta: list[int]
    theta: list[int | None]
    rho: int | None

    @classmethod
    def of(cls, fit: FitResult) -> _Selection:
        beta = [fit.names.index(name) for name in fit.regressors]
        theta = [fit.position(f"W*{name}") for name in fit.regressors]
        return cls(fit, tuple(fit.regressors), beta, theta, fit.position("rho"))

    def coefficients(self, eta: NDArray) -> tuple[NDArray, NDArray]:
        """Beta and theta (zero where a regressor is not lagged), shape (draws, k)."""
        zero = np.zeros(len(eta))
        theta = [zero if j is None else eta[:, j] for j in self.theta]
        return eta[:, self.beta], np.stack(theta, axis=1) if theta else np.zeros((len(eta), 0))

    def effects(self, eta: NDArray) -> NDArray:
        """Effects at each row of parameters, shape (draws, 3, k)."""
        beta, theta = self.coefficients(eta)
        a, b, c, d = self._weights(eta)[0]
        direct = a[:, None] * beta + b[:, None] * theta
        total = c[:, None] * beta + d[:, None] * theta
        return np.stack([direct, total - direct, total], axis=1)

    def jacobian(self, values: NDArray) -> NDArray:
        """Return the derivatives of (direct, indirect, total) in the parameters, (3k, p)."""
        k = len(self.names)
        (a, b, c, d), slopes = self._weights(values[None, :])
        beta, theta = (z[0] for z in self.coefficients(values[None, :]))
        J = np.zeros((2, k, values.size))
        for row, own, other in ((0, a[0], b[0]), (1, c[0], d[0])):
            for j in range(k):
                J[row, j, self.beta[j]] = own
                at = self.theta[j]
                if at is not None:
                    J[row, j, at] = other
        if self.rho is not None:
            a1, b1, c1, d1 = (z[0] for z in slopes)
            J[0, :, self.rho] = a1 * beta + b1 * theta
            J[1, :, self.rho] = c1 * beta + d1 * theta
        return np.concatenate([J[0], J[1] - J[0], J[1]])

    def _weights(self, eta: NDArray) -> tuple[tuple[NDArray, ...], tuple[NDArray, ...]]:
        """Return the multipliers (a, b, c, d) at each row of parameters, and their slopes."""
        space = self.fit.workspace
        zero, one = np.zeros(len(eta)), np.ones(len(eta))
        if self.rho is None:
            return (one, zero, one, lagged_share(space) * one), (zero, zero, zero, zero)
        m, slope = multipliers(space, eta[:, self.rho])
        return (m.a, m.b, m.c, m.d), (slope.a, slope.b, slope.c, slope.d)


def _known(covariance: NDArray) -> NDArray:
    """Return the covariance with zeros for parameters whose variance is not known.

    sigma2 (bootstrap) and phi at its lower end; effects do not depend on them.
    """
    return np.where(np.isnan(covariance), 0.0, covariance)


def _draw(fit: FitResult, draws: int, rng: np.random.Generator) -> tuple[NDArray, int]:
    """Draw from N(estimates, covariance) inside the parameter space; count the rejected."""
    p = fit.values.size
    covariance = _known(fit.covariance)
    scale = np.sqrt(np.clip(np.diag(covariance), 0.0, None))
    safe = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(safe, safe))
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    low, high = -np.inf, np.inf
    rho = fit.position("rho")
    if rho is not None and fit.workspace.weights is not None:
        # the ends of the grids lie just inside the parameter space
        grids = [W.logdet.grid for W in fit.workspace.weights.matrices]
        low, high = max(float(g[0]) for g in grids), min(float(g[-1]) for g in grids)
    kept, rejected = np.zeros((0, p)), 0
    while len(kept) < draws:
        eta = fit.values + (rng.standard_normal((draws, p)) @ root.T) * safe
        inside = np.ones(draws, dtype=bool)
        if rho is not None:
            inside = (eta[:, rho] > low) & (eta[:, rho] < high)
        need = draws - len(kept)
        if inside.sum() >= need:
            last = np.flatnonzero(inside)[need - 1] + 1
            eta, inside = eta[:last], inside[:last]
        rejected += int((~inside).sum())
        kept = np.concatenate([kept, eta[inside]])
        if rejected > draws and rejected > len(kept):
            raise BoundaryError(
                f"More than half of the draws of rho fall outside ({low:.3g}, {high:.3g}): rho = "
                f"{fit.rho:.3f} is too close to the edge, or too imprecise, for simulation. "
                "Use method='delta'."
            )
    return kept, rejected
