"""Draws from a normal distribution, cut at the edge of the parameter space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def normal_inside(
    values: NDArray,
    covariance: NDArray,
    inside: Callable[[NDArray], NDArray],
    draws: int,
    rng: np.random.Generator,
) -> tuple[NDArray, int] | None:
    """Draw from N(values, covariance) where ``inside`` says yes; count the rejected.

    Parameters
    ----------
    values, covariance : ndarray, shapes (P,) and (P, P)
    inside : callable
        Takes (m, P) and tells of every row whether it is in the parameter space.
    draws : int
    rng : Generator

    Returns
    -------
    ndarray, shape (draws, P), and int; or None
        None when more than half of the draws fall outside.
    """
    scale = np.sqrt(np.clip(np.diag(covariance), 0.0, None))
    safe = np.where(scale > 0, scale, 1.0)
    eigenvalues, vectors = np.linalg.eigh(covariance / np.outer(safe, safe))
    root = vectors * np.sqrt(np.clip(eigenvalues, 0.0, None))
    kept, rejected = np.zeros((0, values.size)), 0
    while len(kept) < draws:
        found = values + (rng.standard_normal((draws, values.size)) @ root.T) * safe
        accepted = inside(found)
        need = draws - len(kept)
        if accepted.sum() >= need:
            last = np.flatnonzero(accepted)[need - 1] + 1
            found, accepted = found[:last], accepted[:last]
        rejected += int((~accepted).sum())
        kept = np.concatenate([kept, found[accepted]])
        if rejected > draws and rejected > len(kept):
            return None
    return kept, rejected
