"""Indicators made so that their entropy-weighted index is a given one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.agglomeration.entropy import entropies, shares, weights_of
from spatial_agglo.datasets.calibration import stretched
from spatial_agglo.errors import DataError

#: How much the squared coefficients of variation of indicators exceed what dimensions need.
SPREAD = 3.2
#: What of an indicator's normal score it shares with its dimension.
COMMON = 0.75
#: Rounds of correction; the index is met to LEFT points (of 100).
ROUNDS, LEFT = 60, 1e-9


def indicators_of(
    total: NDArray,
    moments: Mapping[str, Sequence[float]],
    within: Mapping[str, Sequence[float]],
    share: Mapping[str, float],
    noises: NDArray,
    own: NDArray,
) -> NDArray:
    """Make indicators, scaled to 0..1, whose pooled entropy-weighted index is ``total``.

    Parameters
    ----------
    total : (n,) index, 0..100
    moments : {dimension: (mean, sd, low, high)} of the dimensions' own scores
    within : {dimension: weights of its indicators}, aimed at
    share : {dimension: sum of the overall weights of its indicators}, aimed at
    noises : (n, dimensions) and own : (n, indicators), standard normal

    Returns
    -------
    (n, indicators) array

    Notes
    -----
    Dimensions follow the total and vary on their own account; indicators follow their dimension.
    The weights come from the indicators' own entropies, so the indicators are moved, round by
    round, until their weighted sum is the total: by what is missing, in proportion to
    ``y (1 - y)``, so that none leaves 0..1 and ends stay ends.
    """
    names = list(moments)
    sizes = [len(within[g]) for g in names]
    group = np.repeat(np.arange(len(names)), sizes)
    mean, sd, low, high = np.array([moments[g] for g in names]).T
    aim = np.concatenate([share[g] * np.asarray(within[g]) / sum(within[g]) for g in names])
    z = (total - total.mean()) / total.std()
    D = _dimensions(z, noises, moments, np.array([share[g] for g in names]), sd)
    Y = _first(D, own, group, mean / 100.0, aim)
    for _ in range(ROUNDS):
        w = weights_of(entropies(shares(Y)))
        W = np.bincount(group, w)
        D = np.clip(D + np.outer(total - D @ W, sd / (W @ sd)), low, high)
        for g in range(len(names)):
            at = group == g
            Y[:, at] = _moved(Y[:, at], w[at] / W[g], D[:, g])
    # Where a dimension is at its end the others make up for it.
    for _ in range(ROUNDS):
        w = weights_of(entropies(shares(Y)))
        if np.abs(total - 100.0 * Y @ w).max() < LEFT:
            return Y
        Y = _moved(Y, w, total)
    raise DataError("No indicators of this index were found.")


def _moved(Y: NDArray, w: NDArray, score: NDArray) -> NDArray:
    """Return indicators moved towards the score, the less the nearer they are to their ends."""
    room = Y * (1.0 - Y)
    pull = room @ w
    step = np.divide(score / 100.0 - Y @ w, pull, out=np.zeros_like(pull), where=pull > 1e-12)
    return np.asarray(Y + room * np.clip(step, -0.9, 0.9)[:, None])


def _dimensions(
    z: NDArray, noises: NDArray, moments: Mapping, share: NDArray, sd: NDArray
) -> NDArray:
    """Return first scores of the dimensions: what they share with the total, and their own."""
    pull = share * sd
    noises = noises - np.outer(noises @ pull, pull) / (pull @ pull)
    loading = 0.62
    columns = []
    for g, (m, s, low, high) in enumerate(moments.values()):
        own = noises[:, g] / noises[:, g].std()
        mixed = loading * z + np.sqrt(1.0 - loading**2) * own
        columns.append(stretched(mixed, low=low, high=high, mean=m, sd=s))
    return np.column_stack(columns)


def _first(D: NDArray, own: NDArray, group: NDArray, mean: NDArray, aim: NDArray) -> NDArray:
    """Return first indicators: of the mean of their dimension, spread by the weights aimed at."""
    columns = []
    top = D.argmax(axis=0)
    # 1 - E is near half the squared coefficient of variation over ln n.
    variation = np.sqrt(SPREAD * aim)
    for m, g in enumerate(group):
        score = (D[:, g] - D[:, g].mean()) / D[:, g].std()
        score = COMMON * score + np.sqrt(1.0 - COMMON**2) * own[:, m]
        # The best unit of a dimension near 100 is the best in its indicators; below 100 the
        # last of them makes the difference.
        last = m + 1 == group.size or group[m + 1] != g
        if D[:, g].max() > 90.0:
            score[top[g]] = np.sort(score)[-10]
            if not last or D[:, g].max() > 99.5:
                score[top[g]] = score.max() + 0.5
        columns.append(stretched(score, low=0.0, high=1.0, mean=mean[g], sd=variation[m] * mean[g]))
    return np.column_stack(columns)
