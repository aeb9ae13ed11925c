"""The parameters that effects depend on, and the derivatives of effects with respect to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.spectrum import Spectrum
from spatial_agglo.errors import BoundaryError, OptionError, check_option, listing
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.two_stage import outside_space
from spatial_agglo.models.workspace import Workspace

HORIZONS = ("short", "long")
#: Cells of the largest array of draws times eigenvalues.
CHUNK = 2**22
#: Parameters of dynamic models, and what ``details`` calls their lags.
_LAGS = (("tau", "own"), ("eta", "spatial"))

#: What beta and theta are multiplied by.
Functions: TypeAlias = tuple[NDArray, NDArray]


@dataclass(frozen=True, eq=False)
class Parameters:
    """Where beta, theta, rho, tau and eta stand among the parameters of a fit.

    The matrix of effects of variable k is ``s (I - r W)^-1 (beta_k I + theta_k D)``. In the
    short run (and in static models) ``r = rho`` and ``s = 1``; in the long run
    ``r = (rho + eta)/(1 - tau)`` and ``s = 1/(1 - tau)``.

    Attributes
    ----------
    names : tuple of str
        The k variables.
    used : tuple of int
        Positions in the fit of the P parameters that matter.
    beta, theta : ndarray, shape (P, k)
        The coefficients of the variables as sums of parameters.
    rho, tau, eta : int or None
        Positions among those used.
    """

    fit: FitResult
    names: tuple[str, ...]
    used: tuple[int, ...]
    beta: NDArray
    theta: NDArray
    rho: int | None
    tau: int | None
    eta: int | None
    long: bool

    @classmethod
    def of(cls, fit: FitResult, horizon: str = "short") -> Parameters:
        """Find the parameters of a fit.

        Raises
        ------
        OptionError
            Not a fit; a long run asked of a static model.
        BoundaryError
            rho outside the parameter space; the long run of a model that is not stable.
        """
        check_option("horizon", horizon, HORIZONS)
        if not isinstance(fit, FitResult):
            raise OptionError(f"A fitted model is needed, sdm(...); got {type(fit).__name__}.")
        long = horizon == "long"
        dynamics = {key: fit.details.get(f"{name}_lag") for key, name in _LAGS}
        if long and not any(dynamics.values()):
            raise OptionError(
                "horizon='long' is for dynamic models. This one has no lag of the outcome in time, "
                "so its effects are the same in the short and in the long run: leave it out."
            )
        labels = ["rho", *(dynamics[key] if long else None for key, _ in _LAGS)]
        places = [None if label is None else fit.position(label) for label in labels]
        beta = [fit.names.index(name) for name in fit.regressors]
        theta = [fit.position(f"W*{name}") for name in fit.regressors]
        used = tuple(sorted(j for j in {*beta, *theta, *places} if j is not None))
        rho, tau, eta = (None if j is None else used.index(j) for j in places)
        found = cls(
            fit,
            tuple(fit.regressors),
            used,
            _selection(beta, used),
            _selection(theta, used),
            rho,
            tau,
            eta,
            long,
        )
        found._check()
        return found

    def combined(self, weights: NDArray, names: Sequence[str]) -> Parameters:
        """Return the parameters of weighted sums of the variables, weights (k, m)."""
        return replace(
            self, names=tuple(names), beta=self.beta @ weights, theta=self.theta @ weights
        )

    def only(self, variable: str) -> Parameters:
        """Return the parameters of one variable.

        Raises
        ------
        OptionError
            The model has no such variable.
        """
        if variable not in self.names:
            raise OptionError(
                f"{variable!r} is not among the variables with effects: {listing(self.names, 20)}."
            )
        weights = np.zeros((len(self.names), 1))
        weights[self.names.index(variable)] = 1.0
        return self.combined(weights, [variable])

    @property
    def space(self) -> Workspace:
        """The data and weights of the fit."""
        return self.fit.workspace

    @property
    def values(self) -> NDArray:
        """The estimates, shape (P,)."""
        return self.fit.values[list(self.used)]

    @property
    def covariance(self) -> NDArray:
        """Their covariance, (P, P); sigma2 and phi, which may have none, play no part."""
        return self.fit.covariance[np.ix_(self.used, self.used)]

    def rate(self, draws: NDArray) -> tuple[NDArray, NDArray]:
        """Return r and s at every row of parameters, shape (R,) each."""
        zero = np.zeros(len(draws))
        rho, tau, eta = (zero if j is None else draws[:, j] for j in (self.rho, self.tau, self.eta))
        return (rho + eta) / (1.0 - tau), 1.0 / (1.0 - tau)

    def inside(self, draws: NDArray) -> NDArray:
        """Tell which rows of parameters are in the parameter space, and stable in the long run."""
        W = self.space.weights
        if self.rho is None or W is None:
            return np.ones(len(draws), dtype=bool)
        # the ends of the grids lie just inside the parameter space
        grids = [matrix.logdet.grid for matrix in W.matrices]
        low, high = max(float(g[0]) for g in grids), min(float(g[-1]) for g in grids)
        rho = draws[:, self.rho]
        found = (rho > low) & (rho < high)
        if not self.long:
            return found
        tau = np.zeros(len(draws)) if self.tau is None else draws[:, self.tau]
        with np.errstate(divide="ignore", invalid="ignore"):
            r, s = self.rate(draws)
        found &= (s > 0) & (r > low) & (r < high)
        eta = np.zeros(len(draws)) if self.eta is None else draws[:, self.eta]
        return found & _stable(tau, eta, rho, self.space)

    def at(self, levels: Functions, slopes: Functions) -> tuple[NDArray, NDArray]:
        """Return effects at the estimates and their derivatives with respect to parameters.

        Parameters
        ----------
        levels : pair of ndarray, shape (m,)
            What beta and theta are multiplied by: functions of r.
        slopes : pair of ndarray, shape (m,)
            Their derivatives by r.

        Returns
        -------
        ndarray, shape (m, k)
        ndarray, shape (m, k, P)
        """
        values = self.values
        r, s = (float(part[0]) for part in self.rate(values[None, :]))
        dr, ds = np.zeros(values.size), np.zeros(values.size)
        for j in (self.rho, self.eta):
            if j is not None:
                dr[j] = s
        if self.tau is not None:
            dr[self.tau], ds[self.tau] = r * s, s**2
        beta, theta = values @ self.beta, values @ self.theta
        level, slope = (
            np.multiply.outer(f, beta) + np.multiply.outer(g, theta) for f, g in (levels, slopes)
        )
        J = s * np.multiply.outer(levels[0], self.beta.T)
        J = J + s * np.multiply.outer(levels[1], self.theta.T)
        J = J + np.multiply.outer(level, ds) + s * np.multiply.outer(slope, dr)
        return s * level, J

    def propagate(self, J: NDArray) -> NDArray:
        """Return the covariance ``J V J'`` of what has the derivatives J, shape (m, P).

        NaN for what depends on a parameter of unknown variance.
        """
        V, lost = self._known(J)
        out = J @ V @ J.T
        out[lost] = out[:, lost] = np.nan
        return out

    def variance(self, J: NDArray) -> NDArray:
        """Return the variances alone, for J of shape (..., P)."""
        V, lost = self._known(J)
        return np.where(lost, np.nan, ((J @ V) * J).sum(axis=-1))

    def _known(self, J: NDArray) -> tuple[NDArray, NDArray]:
        """Return V with zeros for NaN, and what depends on a parameter of unknown variance."""
        V = self.covariance
        unknown = np.isnan(V.diagonal())
        return np.where(np.isnan(V), 0.0, V), (J[..., unknown] != 0.0).any(axis=-1)

    def _check(self) -> None:
        """Raise where effects do not exist at the estimates."""
        outside = outside_space(self.fit.values, self.fit.names, self.space)
        if outside:
            raise BoundaryError(f"Effects do not exist: {outside}")
        if not self.long:
            return
        stability = self.fit.details["stability"]
        if stability.radius >= 1.0 or not self.inside(self.values[None, :])[0]:
            raise BoundaryError(
                f"Long-run effects do not exist: the estimates are not stable, rho + tau + eta = "
                f"{stability.total:.4f} (standard error {stability.std_error:.4f}), and the "
                f"largest root of the process is {stability.radius:.4f}. horizon='short' gives "
                "the effects within the period."
            )


def _selection(places: Sequence[int | None], used: Sequence[int]) -> NDArray:
    """Return the matrix that picks parameters; a column of zeros for one that is not there."""
    out = np.zeros((len(used), len(places)))
    for k, j in enumerate(places):
        if j is not None:
            out[used.index(j), k] = 1.0
    return out


def _stable(tau: NDArray, eta: NDArray, rho: NDArray, space: Workspace) -> NDArray:
    """Tell where all roots ``(tau + eta omega)/(1 - rho omega)`` are below one in modulus.

    They move monotonically with a real eigenvalue omega, so the two ends decide; where only a
    disc is known that holds all the eigenvalues, its two real ends do, and what passes is stable.
    """
    assert space.weights is not None
    logdet = space.weights.matrices[0].logdet
    omega = 1.0 / np.array(logdet.interval)
    if isinstance(logdet, Spectrum):
        every = logdet.omega
        omega = every if np.iscomplexobj(every) else np.array([every.min(), every.max()])
    step = max(CHUNK // omega.size, 1)
    out = np.empty(len(rho), dtype=bool)
    for start in range(0, len(rho), step):
        t, e, p = (part[start : start + step, None] for part in (tau, eta, rho))
        out[start : start + step] = (np.abs(t + e * omega) < np.abs(1.0 - p * omega)).all(axis=1)
    return out
