"""Scores, and the sandwich covariances made of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core.traces import resolvent_blocks


def scores(
    X: NDArray,
    v: NDArray,
    sigma2: float,
    lag: NDArray | None,
    centre: NDArray | None,
    share: float,
) -> NDArray:
    """Return the score of every observation, shape (T, N, k + 1 or k + 2).

    Parameters
    ----------
    X : ndarray, shape (T, N, k)
        Regressors, filtered and projected.
    v : ndarray, shape (T, N)
        Innovations.
    sigma2 : float
    lag : ndarray, shape (T, N), or None
        ``Q W y`` for rho, ``Q W u`` for lambda, None when the model has neither.
    centre : ndarray, shape (N,), or None
        ``E[lag_it v_it] / sigma2``: the diagonal of ``J W S^-1`` times the share.
    share : float
        ``n / (N T)``: what the effects leave of the variance of one observation.
    """
    parts = [X * (v / sigma2)[:, :, None]]
    if lag is not None and centre is not None:
        parts.append((lag * v / sigma2 - centre)[:, :, None])
    parts.append(((v**2 / sigma2 - share) / (2.0 * sigma2))[:, :, None])
    return np.concatenate(parts, axis=2)


def meat(s: NDArray, *, clustered: bool) -> NDArray:
    """Return the sum of outer products of scores, by observation or summed by unit first."""
    flat = s.sum(axis=0) if clustered else s.reshape(-1, s.shape[2])
    return flat.T @ flat


def mutual(
    W: sparse.csr_array, rho: float, v: NDArray, *, column_sums: NDArray | None, clustered: bool
) -> float:
    """Return the covariance of the scores of rho between different units.

    The score of unit i contains ``v_i (H v)_i`` with ``H = W S^-1``. For ``i != j`` two such
    terms share ``v_i v_j`` and covary: ``E[s_i s_j] = H_ij H_ji var(v_i) var(v_j)``, which no
    sum of outer products unit by unit contains. Under homoskedastic errors it is what makes
    the sandwich agree with the information matrix, whose entry is tr(HH) + tr(H'H)
    (Kelejian & Prucha 2001 give the variance of such quadratic forms).

    Estimated by ``sum_{i != j} H_ij H_ji c_ij`` with ``c_ij = sum_t v_it^2 v_jt^2``, or
    ``(sum_t v_it v_jt)^2`` when the errors of a unit are correlated over time. With
    ``column_sums`` (that is ``1'H``) H is replaced by ``J H``: period means are removed.
    """
    total = 0.0
    square = v**2
    for block, columns, rows in resolvent_blocks(W, rho):
        if column_sums is not None:
            columns = columns - column_sums[block] / W.shape[0]
            rows = rows - column_sums[:, None] / W.shape[0]
        product = columns * rows
        width = product.shape[1]
        product[np.arange(block.start, block.stop), np.arange(width)] = 0.0
        covariance = (v.T @ v[:, block]) ** 2 if clustered else square.T @ square[:, block]
        total += float((product * covariance).sum())
    return total


def sandwich(bread: NDArray, meat: NDArray, factor: float) -> NDArray:
    """Return ``bread meat bread`` times a small-sample factor; bread is inverse information."""
    V = bread @ meat @ bread * factor
    return 0.5 * (V + V.T)
