"""Concentrated likelihoods of the whole family, on a moment matrix.

With ``F = [y, Wy, X, WX]`` (what a model uses of it) and ``b = (1, -rho, -beta, -theta)``
the innovations are ``v = (F - lambda M F) b``, so for any (rho, lambda) the residual sum
of squares is a quadratic form in the moments and one evaluation costs O(k^3), however
large the panel is. beta, theta and sigma2 are concentrated out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from spatial_agglo.core.jacobian import Jacobian
from spatial_agglo.core.moments import Column, Moments
from spatial_agglo.errors import IdentificationError

#: A regressor whose share of variance left by the others is below this is collinear.
COLLINEAR = 1e-12
#: A residual sum of squares below this share of the total is zero.
EXACT = 1e-13


@dataclass(frozen=True)
class Terms:
    """What a likelihood is made of besides the moments.

    Attributes
    ----------
    n : int
        Independent observations: ``sigma2 = SSR / n``.
    rho, lam : Jacobian or None
        The Jacobian terms of the spatial lag and of the error process, where there are any.
    """

    n: int
    rho: Jacobian | None = None
    lam: Jacobian | None = None

    @property
    def sketch(self) -> Terms:
        """The same terms, cheap and perhaps only close, for searches; itself if they are cheap."""
        rho, lam = (None if j is None else j.sketch for j in (self.rho, self.lam))
        return self if (rho is self.rho and lam is self.lam) else replace(self, rho=rho, lam=lam)


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
        ``F'F``, ``F'(MF)`` and ``(MF)'(MF)``; the last two are zero when the model has no
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
        cls,
        moments: Moments,
        regressors: Sequence[Column],
        *,
        lag: str | None,
        error: str | None,
    ) -> Filtered:
        """Select the columns of a model from the moment matrix.

        ``lag`` and ``error`` are the letters of the operators in ``Wy`` and in the error
        process, None where the model has none.
        """
        columns = [("", 0), *([(lag, 0)] if lag else []), *regressors]
        own = moments.select(columns, columns)
        if error is None:
            return cls(own, np.zeros_like(own), np.zeros_like(own), lag is not None)
        ahead = [(error + word, column) for word, column in columns]
        return cls(
            own, moments.select(columns, ahead), moments.select(ahead, ahead), lag is not None
        )

    @property
    def first(self) -> int:
        """Position of the first regressor in F."""
        return 2 if self.has_lag else 1

    def coefficients(self, estimate: Estimate) -> NDArray:
        """Return b, the vector that turns the columns of F into residuals."""
        left = [1.0, -estimate.rho] if self.has_lag else [1.0]
        return np.concatenate([left, -estimate.gamma])

    def at(self, lam: float) -> NDArray:
        """Return the cross-products of ``F - lam M F``."""
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
    _, x, failed = linalg.lapack.dposv(A * np.outer(scale, scale), (B.T * scale).T)
    if failed:
        raise np.linalg.LinAlgError("The cross-products are not positive definite.")
    return (x.T * scale).T


def complete(filtered: Filtered, terms: Terms, rho: float, lam: float) -> Estimate:
    """Return the estimate at given spatial parameters: gamma, sigma2 and the likelihood."""
    A = filtered.at(lam)
    first = filtered.first
    left = np.array([1.0, -rho])[:first]
    gamma = np.zeros(0)
    if A.shape[0] > first:
        gamma = solve_spd(A[first:, first:], A[first:, :first] @ left)
    b = np.concatenate([left, -gamma])
    ssr = float(b @ A @ b)
    check_residual(ssr, A[0, 0])
    sigma2 = ssr / terms.n
    loglik = -0.5 * terms.n * (np.log(2.0 * np.pi * sigma2) + 1.0)
    for jacobian, spatial in ((terms.rho, rho), (terms.lam, lam)):
        if jacobian is not None:
            loglik += float(jacobian.value(np.asarray(spatial)))
    return Estimate(gamma=gamma, rho=rho, lam=lam, sigma2=sigma2, loglik=float(loglik))


def check_residual(ssr: float, total: float) -> None:
    """Raise when nothing is left to be explained."""
    if ssr <= EXACT * total:
        raise IdentificationError(
            "The regressors and effects explain the outcome exactly: the residual variance is "
            "zero. Is a regressor a copy of the outcome? (Or, with time effects, do all "
            "units have the same weight in each other? Then Wy is a multiple of y.)"
        )


def reduced_many(filtered: Filtered, lams: NDArray) -> NDArray:
    """Return ``C(lam)`` of :func:`reduced` for many lambdas at once, shape (m, first, first)."""
    first, mixed = filtered.first, filtered.cross + filtered.cross.T
    lam = np.asarray(lams, dtype=float)[:, None, None]
    A = filtered.own - lam * mixed + lam**2 * filtered.lagged
    scale = 1.0 / np.sqrt(np.einsum("mii->mi", A))
    R = A * scale[:, :, None] * scale[:, None, :]
    C = R[:, :first, :first]
    if A.shape[1] > first:
        solved = np.linalg.solve(R[:, first:, first:], R[:, first:, :first])
        C = C - R[:, :first, first:] @ solved
    return C / scale[:, :first, None] / scale[:, None, :first]


def reduced(filtered: Filtered, lam: float, order: int = 0) -> tuple[NDArray, ...]:
    """Return the cross-products of (y, Wy) less what the regressors explain, and derivatives.

    ``C(lam) = B' A B`` with ``A = A(lam)`` and ``B = (I; -A_xx^-1 A_x.)``; by the envelope
    ``C' = B' A' B`` and ``C'' = B' A'' B - 2 (A' B)_x' A_xx^-1 (A' B)_x``. ``order``, at most 2,
    is that of the last one returned.
    """
    A, first = filtered.at(lam), filtered.first
    B = np.vstack([np.eye(first), np.zeros((A.shape[0] - first, first))])
    if A.shape[0] > first:
        B[first:] = -solve_spd(A[first:, first:], A[first:, :first])
    C = B.T @ A @ B
    check_residual(float(C[0, 0]), float(A[0, 0]))
    if order == 0:
        return (C,)
    slope = 2.0 * lam * filtered.lagged - filtered.cross - filtered.cross.T
    along = slope @ B
    if order == 1:
        return C, B.T @ along
    bend = 2.0 * B.T @ filtered.lagged @ B
    if A.shape[0] > first:
        bend -= 2.0 * along[first:].T @ solve_spd(A[first:, first:], along[first:])
    return C, B.T @ along, bend
