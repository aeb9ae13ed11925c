"""Bias of maximum likelihood in dynamic spatial panels, and the stability of the process.

::

    y_t = tau y_{t-1} + eta W y_{t-1} + rho W y_t + X_t beta + W X_t theta + c + alpha_t + e_t
    A = S^-1 (tau I + eta W),    S = I - rho W,    G = W S^-1,    M = sum_h A^h S^-1

Taking the means of the units out correlates y_{t-1} with the errors. At the true parameters
the expected score is then, up to terms that vanish with T (Yu, de Jong & Lee 2008),

::

    tau      -tr(M)
    eta      -tr(W M)
    rho      -tr(G (tau I + eta W) M) - tr(G)
    sigma2   -n / (2 sigma2)

All of these matrices are functions of W, so ``(tau I + eta W) M = S A (I - A)^-1 S^-1`` and the
entry of rho is ``-tr(W (A (I - A)^-1 + I) S^-1) = -tr(W M)``, the same as that of eta. And
``M = (S - tau I - eta W)^-1 = (I - kappa W)^-1 / (1 - tau)`` with
``kappa = (rho + eta) / (1 - tau)``: the sum over powers is one derivative of ``ln|I - kappa W|``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg as sparse_linalg

from spatial_agglo.core.logdet import LogDet, Spectrum, symmetrize
from spatial_agglo.core.traces import solver
from spatial_agglo.errors import BoundaryError

#: Units up to which a spectrum is computed where the derivative of the log-determinant that is
#: at hand does not reach.
DENSE_SPECTRUM = 2_000


@dataclass(frozen=True)
class Dynamics:
    """The coefficients of y_{t-1}, W y_{t-1} and W y_t; 0 where the model does not have one."""

    tau: float
    eta: float
    rho: float

    @property
    def total(self) -> float:
        """``rho + tau + eta``."""
        return self.tau + self.eta + self.rho


def score_bias(
    dynamics: Dynamics,
    logdet: LogDet,
    W: sparse.csr_array,
    *,
    sigma2: float,
    remove_mean: bool,
    periods: int = 0,
) -> tuple[float, float, float, float]:
    """Return minus the expected score of (tau, eta, rho, sigma2) at the true parameters.

    Those of beta and theta are zero. With ``I`` the information, ``v + I^-1 b`` corrects the
    maximum v.

    Parameters
    ----------
    dynamics : Dynamics
        Stable: see :func:`radius`.
    logdet, W
        Of the N units.
    sigma2 : float
    remove_mean : bool
        Whether the period effects were transformed away, which leaves N - 1 units and takes the
        eigenvalue 1 from W (row-standardised; Lee & Yu 2010).
    periods : int
        T where the period effects are estimated instead (the direct approach), else 0. Each of
        them adds ``1/(1 - rho)`` and ``1/(2 sigma2)``.
    """
    trace, spatial = multiplier_traces(dynamics, logdet, W, remove_mean=remove_mean)
    units = W.shape[0] - remove_mean
    return (
        trace,
        spatial,
        spatial + periods / (1.0 - dynamics.rho),
        (units + periods) / (2.0 * sigma2),
    )


def multiplier_traces(
    dynamics: Dynamics, logdet: LogDet, W: sparse.csr_array, *, remove_mean: bool
) -> tuple[float, float]:
    """Return ``tr(M)`` and ``tr(W M)``, ``M = ((1 - tau) I - (rho + eta) W)^-1``.

    With ``remove_mean`` of ``J M`` and ``J W M``, ``J = I - 11'/N``, for row-standardised W.
    """
    grid = logdet.grid
    left = 1.0 - dynamics.tau
    kappa = (dynamics.rho + dynamics.eta) / left if left > 0 else np.inf
    if isinstance(logdet, Spectrum) or not grid[0] < kappa < grid[-1]:
        omega = _omega(logdet, W, remove_mean)
        M = 1.0 / (left - (dynamics.rho + dynamics.eta) * omega)
        return float(M.real.sum()), float((omega * M).real.sum())
    lagged = -float(logdet.derivatives(np.asarray(kappa))[0])
    if remove_mean:
        lagged -= 1.0 / (1.0 - kappa)
    return (W.shape[0] - remove_mean + kappa * lagged) / left, lagged / left


def radius(dynamics: Dynamics, logdet: LogDet, W: sparse.csr_array, *, remove_mean: bool) -> float:
    """Return the largest modulus among the eigenvalues of A; the process is stable below 1.

    With ``remove_mean`` without the eigenvalue ``(tau + eta)/(1 - rho)`` of the vector of ones,
    the common root of all units, which period effects absorb (row-standardised W).
    """
    if isinstance(logdet, Spectrum):
        omega = _omega(logdet, W, remove_mean)
        roots = (dynamics.tau + dynamics.eta * omega) / (1.0 - dynamics.rho * omega)
        return float(np.abs(roots).max())
    N = W.shape[0]
    solve = solver(W, dynamics.rho)

    def apply(x: NDArray) -> NDArray:
        x = solve(dynamics.tau * x + dynamics.eta * (W @ x))
        return x - x.mean() if remove_mean else x

    start = 1.0 + np.cos(np.arange(N, dtype=float))
    operator = sparse_linalg.LinearOperator((N, N), matvec=apply, dtype=float)
    largest = sparse_linalg.eigs(operator, k=1, which="LM", v0=start, return_eigenvectors=False)
    return float(np.abs(largest[0]))


def _omega(logdet: LogDet, W: sparse.csr_array, remove_mean: bool) -> NDArray:
    """Return the eigenvalues of W, without the one nearest 1 if the mean is removed."""
    if not isinstance(logdet, Spectrum):
        if W.shape[0] > DENSE_SPECTRUM:
            raise BoundaryError(
                "The estimates lie at the edge of the stable region, where the bias correction "
                f"needs all the eigenvalues of W; with {W.shape[0]} units (more than "
                f"{DENSE_SPECTRUM}) they are not computed. Use bias_correction=False."
            )
        logdet = Spectrum.of(W, symmetrize(W))
    omega = logdet.omega
    return np.delete(omega, np.abs(omega - 1.0).argmin()) if remove_mean else omega
