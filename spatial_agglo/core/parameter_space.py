"""The interval of rho around zero on which ``I - rho W`` is non-singular, and a grid on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg as sparse_linalg

from spatial_agglo.core.factorization import Factorize

#: Steps of the grid on each side of zero; the last point lies 2**-PANELS short of the pole.
PANELS = 12
#: Up to this many units eigenvalues are computed as dense ones.
SMALL = 50
#: The lower end of the interval is found to this share of it.
CERTIFIED = 0.01
#: No lower end is looked for beyond this multiple of ``-1 / radius``.
FAR = 1e3


def edges(interval: tuple[float, float], refine: int = 1) -> NDArray:
    """Return points around zero, graded towards both ends.

    From the centre of every step the nearer end lies three half-widths away: going out on a
    side of length L, with the other end S behind zero, a step at p is as wide as the smaller
    of ``p + S`` and ``(L - p) / 2``.
    """

    def side(length: float, behind: float) -> list[float]:
        out = [0.0]
        while length - out[-1] > length * 2.0**-PANELS:
            width = min(out[-1] + behind, 0.5 * (length - out[-1]))
            out += [out[-1] + width * step / refine for step in range(1, refine + 1)]
        return out

    low, high = interval
    return np.array([-x for x in side(-low, high)[:0:-1]] + side(high, -low))


def radius(W: sparse.csr_array, symmetric: sparse.csr_array | None = None) -> float:
    """Return the spectral radius of a matrix with non-negative entries.

    A symmetric matrix that is similar to it makes that faster.
    """
    sums = W.sum(axis=1)
    if np.allclose(sums[sums > 0], 1.0, rtol=1e-10):
        return 1.0
    if W.shape[0] <= SMALL:
        return float(np.abs(np.linalg.eigvals(W.toarray())).max())
    # the eigenvector is non-negative, so this start is not orthogonal to it
    known = {"k": 1, "v0": np.ones(W.shape[0]), "return_eigenvectors": False}
    if symmetric is None:
        return float(np.abs(sparse_linalg.eigs(W, which="LM", **known)[0]))
    return float(sparse_linalg.eigsh(symmetric, which="LA", **known)[0])


def certified(
    symmetric: sparse.csr_array, factorize: Factorize, largest: float
) -> tuple[tuple[float, float], int]:
    """Return the interval of a real spectrum whose largest eigenvalue is known.

    Below ``-1/largest`` the lower end goes as far as ``I - rho W`` stays positive definite:
    the inertia of a factorisation certifies each trial. A Ritz value is never below the
    smallest eigenvalue, so its inverse is never inside; with a few Lanczos steps it is so
    close to the end that one trial just inside of it usually does.

    Returns
    -------
    tuple of float
        The interval.
    int
        Non-zeros of the factors; 0 if there was nothing to try.
    """
    fill = 0
    inside, outside = -1.0 / largest, _outside(symmetric)
    if outside < -FAR / largest and np.isfinite(outside):
        outside = -FAR / largest
    step = 0.25 * CERTIFIED
    trial = outside * (1.0 - step) if np.isfinite(outside) else inside * 1.5
    while outside / inside > 1.0 + CERTIFIED and trial >= -FAR / largest:
        value, fill = factorize(trial)
        if np.isnan(value):
            outside = trial
        else:
            inside = trial
        step *= 2.0
        # close to the outer end while the guess is trusted, then by halves
        trial = inside * 1.5
        if np.isfinite(outside):
            trial = min(outside * (1.0 - step), 0.5 * (inside + outside))
    return (inside, 1.0 / largest), fill


def _outside(symmetric: sparse.csr_array) -> float:
    """Return a point at or below the lower end, from a Ritz value; -inf if there is none."""
    if symmetric.shape[0] <= SMALL:
        return 1.0 / float(np.linalg.eigvalsh(symmetric.toarray())[0])
    start = np.random.default_rng(0).standard_normal(symmetric.shape[0])
    try:
        ritz = sparse_linalg.eigsh(
            symmetric, k=1, which="SA", tol=1e-2, v0=start, return_eigenvectors=False
        )
    except sparse_linalg.ArpackError:
        return -np.inf
    return 1.0 / float(ritz[0]) if ritz[0] < 0 else -np.inf
