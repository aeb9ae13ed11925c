"""Random permutations of units, the same for all series, one sparse product per batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.moments import MatrixLike

#: Cells of one batch of permuted data.
BATCH_CELLS = 4_000_000
#: Batches from which a progress bar is shown.
LONG_RUN = 20


def batches(N: int, series: int, permutations: int, rng: np.random.Generator) -> Iterator[NDArray]:
    """Yield permutations of the units in batches, shape (N, b)."""
    from tqdm import tqdm

    size = int(np.clip(BATCH_CELLS // (N * series), 1, permutations))
    starts = range(0, permutations, size)
    for start in tqdm(starts, desc="permutations", disable=len(starts) < LONG_RUN, leave=False):
        count = min(size, permutations - start)
        order = np.empty((count, N), dtype=np.intp)
        for row in order:
            row[:] = rng.permutation(N)
        yield np.ascontiguousarray(order.T)


def simulate(
    z: NDArray,
    W: MatrixLike,
    margins: NDArray,
    permutations: int,
    rng: np.random.Generator,
    reduce: Callable[[NDArray, NDArray], NDArray],
    other: NDArray | None = None,
) -> NDArray:
    """Return a statistic of permuted data, shape (S, permutations).

    Parameters
    ----------
    z : ndarray, shape (S, N)
        What is permuted and lagged.
    W : matrix, shape (N, N)
    margins : ndarray, shape (N,)
        Row plus column sums of W.
    reduce : callable
        Turns ``z'Wz`` and ``sum_i margins_i z_i^2``, each (S, b), into (S, b).
    other : ndarray, shape (S, N), optional
        Held in place: the cross-product is then ``other' W z``.
    """
    S, N = z.shape
    columns = np.ascontiguousarray(z.T)  # (N, S)
    held = None if other is None else other.T[:, None, :]
    out = np.empty((S, permutations))
    done = 0
    for order in batches(N, S, permutations, rng):
        shuffled = columns[order]  # (N, b, S)
        b = order.shape[1]
        lagged = (W @ shuffled.reshape(N, b * S)).reshape(N, b, S)
        left = shuffled if held is None else np.broadcast_to(held, shuffled.shape)
        cross = np.einsum("nbs,nbs->sb", left, lagged)
        weighted = np.einsum("n,nbs,nbs->sb", margins, shuffled, shuffled, optimize=False)
        out[:, done : done + b] = reduce(cross, weighted)
        done += b
    return out


def p_values(observed: NDArray, simulated: NDArray, expected: NDArray, alternative: str) -> NDArray:
    """Return ``(count + 1) / (permutations + 1)`` for each series.

    "greater" counts simulated values at least as large, "less" at most as large, "two-sided"
    those at least as far from the expected value.
    """
    o, e = observed[:, None], expected[:, None]
    slack = 1e-12 * np.maximum(1.0, np.abs(o))
    if alternative == "greater":
        hits = simulated >= o - slack
    elif alternative == "less":
        hits = simulated <= o + slack
    else:
        hits = np.abs(simulated - e) >= np.abs(o - e) - slack
    return (hits.sum(axis=1) + 1.0) / (simulated.shape[1] + 1.0)
