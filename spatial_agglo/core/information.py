"""Observed and expected information of (gamma, rho, lambda, sigma2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.likelihood import Estimate, Filtered, Terms


def observed(filtered: Filtered, terms: Terms, estimate: Estimate) -> NDArray:
    """Return minus the Hessian of the log-likelihood at its maximum.

    With ``v = (F - lambda M F) b`` the second derivatives of ``-v'v / (2 sigma2)`` are
    cross-products of the columns of ``F - lambda M F`` and of ``M F b``, all of them in the
    moment matrix; the Jacobian terms add ``-L''``. The first-order conditions
    ``v'v = n sigma2`` and ``v' v_rho = sigma2 L'`` are used for the row of sigma2.

    Returns
    -------
    ndarray, shape (k + lag + error + 1, k + lag + error + 1)
        In the order gamma, rho, lambda, sigma2.
    """
    K = filtered.at(estimate.lam)
    b = filtered.coefficients(estimate)
    k, first, sigma2 = estimate.gamma.size, filtered.first, estimate.sigma2
    size = k + (terms.rho is not None) + (terms.lam is not None) + 1
    info = np.zeros((size, size))
    gamma = slice(0, k)
    info[gamma, gamma] = K[first:, first:] / sigma2
    info[-1, -1] = terms.n / (2.0 * sigma2**2)
    if terms.rho is not None:
        d1, d2 = terms.rho.derivatives(estimate.rho)
        info[k, gamma] = info[gamma, k] = K[1, first:] / sigma2
        info[k, k] = K[1, 1] / sigma2 - d2
        info[k, -1] = info[-1, k] = -d1 / sigma2
    if terms.lam is not None:
        at = size - 2
        d1, d2 = terms.lam.derivatives(estimate.lam)
        cross = filtered.cross - estimate.lam * filtered.lagged
        mixed = (cross + cross.T) @ b / sigma2
        info[at, gamma] = info[gamma, at] = mixed[first:]
        if terms.rho is not None:
            info[at, k] = info[k, at] = mixed[1]
        info[at, at] = b @ filtered.lagged @ b / sigma2 - d2
        info[at, -1] = info[-1, at] = -d1 / sigma2
    return info


@dataclass(frozen=True)
class Traces:
    """What the expected information needs of ``H`` for every spatial parameter.

    ``H = B W S^-1 B^-1`` for rho and ``M B^-1`` for lambda, ``S = I - rho W``,
    ``B = I - lambda M``; ``Q`` is the part of the projection that acts within a period.

    Attributes
    ----------
    single : ndarray, shape (a,)
        ``sum_t tr(Q_t H_t)``.
    pairs : ndarray, shape (a, a)
        ``sum_t tr(Q_t H_t H_t) + tr(H_t' Q_t H_t)``, for pairs of parameters.
    """

    single: NDArray
    pairs: NDArray


def expected(
    gram: NDArray,
    mean_lag: tuple[NDArray, float] | None,
    traces: Traces | None,
    n: int,
    sigma2: float,
) -> NDArray:
    """Return the expected information of (gamma, rho, lambda, sigma2).

    Parameters
    ----------
    gram : ndarray, shape (k, k)
        Cross-products of the (filtered, projected) regressors.
    mean_lag : (ndarray of shape (k,), float) or None
        ``X'm`` and ``m'm`` with ``m = E[Q B W y]``; None without a spatial lag.
    traces : Traces or None
        None for ols and slx.
    n, sigma2
        Effective observations and innovation variance.
    """
    k = gram.shape[0]
    a = 0 if traces is None else traces.single.size
    info = np.zeros((k + a + 1, k + a + 1))
    info[:k, :k] = gram / sigma2
    info[-1, -1] = n / (2.0 * sigma2**2)
    if traces is not None:
        info[k:-1, k:-1] = traces.pairs
        info[k:-1, -1] = info[-1, k:-1] = traces.single / sigma2
    if mean_lag is not None:
        info[k, :k] = info[:k, k] = mean_lag[0] / sigma2
        info[k, k] += mean_lag[1] / sigma2
    return info
