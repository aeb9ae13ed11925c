"""Observed and expected information of (gamma, rho, lambda, sigma2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.likelihood import Estimate, Filtered, LogJacobian


def observed(
    filtered: Filtered,
    jacobian: LogJacobian,
    estimate: Estimate,
    *,
    lag: bool,
    error: bool,
) -> NDArray:
    """Return minus the Hessian of the log-likelihood at its maximum.

    With ``v = (F - lambda W F) b`` the second derivatives of ``-v'v / (2 sigma2)`` are
    cross-products of the columns of ``F - lambda W F`` and of ``W F b``, all of them in the
    moment matrix; the log-determinant adds ``-L''``. The first-order conditions
    ``v'v = n sigma2`` and ``v' v_rho = sigma2 L'`` are used for the row of sigma2.

    Returns
    -------
    ndarray, shape (k + lag + error + 1, k + lag + error + 1)
        In the order gamma, rho, lambda, sigma2.
    """
    K = filtered.at(estimate.lam)
    b = filtered.coefficients(estimate)
    k, first, sigma2 = estimate.gamma.size, filtered.first, estimate.sigma2
    size = k + lag + error + 1
    info = np.zeros((size, size))
    gamma = slice(0, k)
    info[gamma, gamma] = K[first:, first:] / sigma2
    info[-1, -1] = jacobian.counts.n / (2.0 * sigma2**2)
    if lag:
        d1, d2 = jacobian.derivatives(estimate.rho)
        info[k, gamma] = info[gamma, k] = K[1, first:] / sigma2
        info[k, k] = K[1, 1] / sigma2 - d2
        info[k, -1] = info[-1, k] = -d1 / sigma2
    if error:
        at = k + lag
        d1, d2 = jacobian.derivatives(estimate.lam)
        cross = filtered.cross - estimate.lam * filtered.lagged
        mixed = (cross + cross.T) @ b / sigma2
        info[at, gamma] = info[gamma, at] = mixed[first:]
        if lag:
            info[at, k] = info[k, at] = mixed[1]
        info[at, at] = b @ filtered.lagged @ b / sigma2 - d2
        info[at, -1] = info[-1, at] = -d1 / sigma2
    return info


def expected(
    gram: NDArray,
    mean_lag: tuple[NDArray, float] | None,
    traces: tuple[float, float, float] | None,
    tau: int,
    n: int,
    sigma2: float,
) -> NDArray:
    """Return the expected information of a model with at most one of rho and lambda.

    Parameters
    ----------
    gram : ndarray, shape (k, k)
        Cross-products of the (filtered, projected) regressors.
    mean_lag : (ndarray of shape (k,), float) or None
        ``X'm`` and ``m'm`` with ``m = E[Q W y]``; None for an error process.
    traces : (tr H, tr HH, tr H'H) or None
        Of ``H = W S^-1`` on the space that the effects leave; None for ols and slx.
    tau : int
        Periods that count.
    n, sigma2
        Effective observations and innovation variance.
    """
    k = gram.shape[0]
    size = k + (traces is not None) + 1
    info = np.zeros((size, size))
    info[:k, :k] = gram / sigma2
    info[-1, -1] = n / (2.0 * sigma2**2)
    if traces is not None:
        trace, squared, frobenius = traces
        info[k, k] = tau * (squared + frobenius)
        info[k, -1] = info[-1, k] = tau * trace / sigma2
        if mean_lag is not None:
            info[k, :k] = info[:k, k] = mean_lag[0] / sigma2
            info[k, k] += mean_lag[1] / sigma2
    return info
