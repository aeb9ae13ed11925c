"""The likelihood with random unit effects at a point: value, score and Hessian.

See :mod:`spatial_agglo.core.random_effects` for the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.jacobian import Jacobian
from spatial_agglo.core.likelihood import EXACT, Filtered, solve_spd
from spatial_agglo.core.random_baltagi import Surface
from spatial_agglo.errors import IdentificationError


class MeanPart(Protocol):
    """What the unit means add to the likelihood."""

    def value(self, lam: float, s: float) -> tuple[float, NDArray]:
        """Return ``h`` and the cross-products."""

    def surface(self, lam: float, s: float) -> Surface:
        """Return them with two derivatives."""


@dataclass(frozen=True)
class Inside:
    """The unit means when the unit effect lies inside the filter (kkp), or nothing filters."""

    between: Filtered
    N: int

    def value(self, lam: float, s: float) -> tuple[float, NDArray]:
        """Return ``h = (N/2) ln w2`` and ``w2 G_between(lambda)``, ``w2 = exp(-s)``."""
        return -0.5 * self.N * s, np.exp(-s) * self.between.at(lam)

    def surface(self, lam: float, s: float) -> Surface:
        """Return them with two derivatives."""
        h, G = self.value(lam, s)
        G1, G2 = (np.exp(-s) * D for D in _slopes(self.between, lam))
        return Surface(
            log=h,
            gram=G,
            log1=np.array([0.0, -0.5 * self.N]),
            gram1=np.array([G1, -G]),
            log2=np.zeros((2, 2)),
            gram2=np.array([[G2, -G1], [-G1, G]]),
        )


@dataclass(frozen=True)
class RandomModel:
    """One model with random unit effects, ready to be evaluated.

    Attributes
    ----------
    within : Filtered
        Cross-products of F less its unit means.
    mean : MeanPart
        The unit means.
    N, T : int
    rho_jacobian, lam_jacobian : Jacobian or None
        ``T ln|I - rho W|`` and ``T ln|I - lambda M|``; None: the model has no rho, no lambda.
    """

    within: Filtered
    mean: MeanPart
    N: int
    T: int
    rho_jacobian: Jacobian | None = None
    lam_jacobian: Jacobian | None = None

    @property
    def n(self) -> int:
        """Observations."""
        return self.N * self.T

    def value(self, lam: float, s: float) -> tuple[float, NDArray]:
        """Return h and G."""
        h, G = self.mean.value(lam, s)
        return h, G + self.within.at(lam)

    def surface(self, lam: float, s: float) -> Surface:
        """Return h and G with two derivatives."""
        at = self.mean.surface(lam, s)
        at.gram1[0] += (slopes := _slopes(self.within, lam))[0]
        at.gram2[0, 0] += slopes[1]
        gram = at.gram + self.within.at(lam)
        return Surface(at.log, gram, at.log1, at.gram1, at.log2, at.gram2)


def _slopes(filtered: Filtered, lam: float) -> tuple[NDArray, NDArray]:
    """First and second derivative of ``filtered.at(lam)``."""
    mixed = filtered.cross + filtered.cross.T
    return 2.0 * lam * filtered.lagged - mixed, 2.0 * filtered.lagged


def coefficients(model: RandomModel, gamma: NDArray, rho: float) -> NDArray:
    """Return b, the vector that turns the columns of F into errors."""
    return np.concatenate([np.array([1.0, -rho])[: model.within.first], -gamma])


def unpack(model: RandomModel, x: NDArray) -> tuple[float, float, float]:
    """Return (rho, lambda, s) from those of them that the model has."""
    rho = float(x[0]) if model.rho_jacobian else 0.0
    lam = float(x[-2]) if model.lam_jacobian else 0.0
    return rho, lam, float(x[-1])


def jacobians(model: RandomModel, rho: float, lam: float) -> float:
    """Return the sum of the log-determinants."""
    pairs = ((model.rho_jacobian, rho), (model.lam_jacobian, lam))
    return sum(float(jacobian.value(np.asarray(x))) for jacobian, x in pairs if jacobian)


def concentrate(model: RandomModel, G: NDArray, rho: float) -> tuple[NDArray, float]:
    """Return gamma and the sum of squares."""
    first = model.within.first
    gamma = np.zeros(0)
    if G.shape[0] > first:
        left = np.array([1.0, -rho])[:first]
        gamma = solve_spd(G[first:, first:], G[first:, :first] @ left)
    b = coefficients(model, gamma, rho)
    ssr = float(b @ G @ b)
    if not ssr > EXACT * G[0, 0]:
        raise IdentificationError(
            "The regressors explain the outcome exactly: the residual variance is zero. Is a "
            "regressor a copy of the outcome?"
        )
    return gamma, ssr


def profile(model: RandomModel, x: NDArray) -> float:
    """Return the likelihood with gamma and sigma2 concentrated out."""
    rho, lam, s = unpack(model, x)
    h, G = model.value(lam, s)
    sigma2 = concentrate(model, G, rho)[1] / model.n
    return h + jacobians(model, rho, lam) - 0.5 * model.n * (np.log(2.0 * np.pi * sigma2) + 1.0)


def newton(model: RandomModel, x: NDArray) -> tuple[NDArray, NDArray]:
    """Return the gradient and the Hessian of the profile likelihood, the latter by Schur."""
    rho, lam, s = unpack(model, x)
    at = model.surface(lam, s)
    gamma, ssr = concentrate(model, at.gram, rho)
    score, info = derivatives(model, at, gamma, rho, lam, ssr / model.n)
    k = gamma.size
    outer = np.arange(k, k + x.size)
    inner = np.append(np.arange(k), k + x.size)
    scale = 1.0 / np.sqrt(np.diag(info)[inner])
    A = info[np.ix_(inner, inner)] * np.outer(scale, scale)
    C = info[np.ix_(inner, outer)] * scale[:, None]
    return score[outer], -(info[np.ix_(outer, outer)] - C.T @ np.linalg.solve(A, C))


def derivatives(
    model: RandomModel, at: Surface, gamma: NDArray, rho: float, lam: float, sigma2: float
) -> tuple[NDArray, NDArray]:
    """Score and minus the Hessian in (gamma, rho, lambda, s, sigma2), at any point.

    Everything is a quadratic form ``q = b'Gb``: gamma and rho enter through b, lambda and s
    through G.
    """
    b = coefficients(model, gamma, rho)
    k, first = gamma.size, model.within.first
    linear = np.append(np.arange(first, first + k), np.arange(1, first))
    m = linear.size
    keep = [0, 1] if model.lam_jacobian else [1]
    inner = np.arange(m, m + len(keep))
    Gb = at.gram @ b
    q, q1, q2 = float(b @ Gb), (at.gram1 @ b @ b)[keep], (at.gram2 @ b @ b)[np.ix_(keep, keep)]
    size = m + len(keep) + 1
    score, info = np.zeros(size), np.zeros((size, size))
    score[:m] = Gb[linear] / sigma2
    score[inner] = at.log1[keep] - 0.5 * q1 / sigma2
    score[-1] = 0.5 * (q / sigma2 - model.n) / sigma2
    info[:m, :m] = at.gram[np.ix_(linear, linear)] / sigma2
    info[m:-1, m:-1] = 0.5 * q2 / sigma2 - at.log2[np.ix_(keep, keep)]
    info[m:-1, :m] = -(at.gram1[keep] @ b)[:, linear] / sigma2
    info[-1, :m] = Gb[linear] / sigma2**2
    info[-1, m:-1] = -0.5 * q1 / sigma2**2
    info[-1, -1] = (q / sigma2 - 0.5 * model.n) / sigma2**2
    info = np.tril(info) + np.tril(info, -1).T
    for jacobian, value, place in ((model.rho_jacobian, rho, k), (model.lam_jacobian, lam, m)):
        if jacobian:
            d1, d2 = jacobian.derivatives(value)
            score[place] += d1
            info[place, place] -= d2
    return score, info
