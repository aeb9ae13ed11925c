"""Bootstrap by entity of fixed-effects regressions, from sums per entity alone.

An entity is drawn with its whole path over time, and enters as a new entity each time it is
drawn. Least squares with fixed effects on such a sample needs only its moment matrix, which is a
weighted sum of matrices of entities, the weights counting how often each was drawn, less what
period effects take. So all resamples together are two matrix products and many small systems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.bootstrap import FEW_UNITS, PATIENCE, resample_indices
from spatial_agglo.core.random import generator
from spatial_agglo.core.threads import one_thread
from spatial_agglo.core.within import removes_entity, removes_time
from spatial_agglo.errors import IdentificationError, OptionError

#: Numbers that one batch of resamples may hold.
BATCH = 2**22
#: A smallest eigenvalue below this, of regressors scaled to unit length, is collinearity.
COLLINEAR = 1e-10
#: A regressor that keeps less than this share of its sum of squares is absorbed by the effects.
ABSORBED = 1e-11


@dataclass(frozen=True, eq=False)
class Resamples:
    """Statistics on resamples.

    Attributes
    ----------
    draws : ndarray, shape (R, q)
        Those of the resamples that identify them.
    failed : int
        Resamples that do not: a regressor is absorbed, or collinear with others.
    notes : tuple of str
        What the reader of the result must know.
    """

    draws: NDArray
    failed: int
    notes: tuple[str, ...]


def resampled(
    moments: EntityMoments,
    statistic: Callable[[NDArray], NDArray],
    *,
    draws: int,
    seed: int | np.random.Generator | None,
    progress: bool = True,
    batch: int | None = None,
) -> Resamples:
    """Evaluate a statistic of the moment matrix on resamples of entities.

    Parameters
    ----------
    moments : EntityMoments
    statistic : callable
        From moment matrices, (r, p, p), to their statistics, (r, q); NaN where a sample does not
        identify them.
    draws : int
    seed : int, Generator or None
        The same seed gives the same draws, whatever ``batch`` is.
    progress : bool
        Show a bar when it takes long.
    batch : int, optional
        Resamples at a time.

    Raises
    ------
    IdentificationError
        More than half of the resamples do not identify the statistic, or the sample itself does
        not.
    """
    check_draws(draws)
    rng, found = generator(seed), []
    size = moments.batch if batch is None else batch
    with one_thread():
        for start in _bar(range(0, draws, size), size, draws, progress):
            R = min(size, draws - start)
            found.append(statistic(moments.of(counts(moments.N, R, rng))))
    values = np.concatenate(found)
    good = np.isfinite(values).all(axis=1)
    failed = int((~good).sum())
    if 2 * failed > draws or good.sum() < 2:
        if not np.isfinite(statistic(moments.of(np.ones((1, moments.N))))).all():
            raise IdentificationError(
                "The regressors are collinear, or absorbed by the effects, in the sample itself to "
                "the precision that resampling has (half the digits of the fit). Products of "
                "variables with large means are: use centre=True. Else subtract such means, or "
                "drop a regressor."
            )
        raise IdentificationError(
            f"{failed} of {draws} resamples of the {moments.N} entities do not identify the "
            "coefficients: a regressor varies in few entities only, or there are too few of them. "
            "Drop such regressors, or use Sobel's test of the fits."
        )
    notes = [f"bootstrap of {moments.N} entities with their whole paths: {draws} resamples"]
    if moments.N < FEW_UNITS:
        notes.append(
            f"only {comb(2 * moments.N - 1, moments.N)} different resamples of {moments.N} "
            "entities: intervals of so few are too short"
        )
    if failed:
        notes.append(
            f"{failed} of {draws} resamples do not identify the coefficients (a regressor is "
            "absorbed by the effects or collinear in them) and are left out"
        )
    return Resamples(values[good], failed, tuple(notes))


def counts(N: int, R: int, rng: np.random.Generator) -> NDArray:
    """Count how often each entity is drawn, shape (R, N); every row sums to N.

    Examples
    --------
    >>> counts(4, 2, np.random.default_rng(0))
    array([[0., 1., 2., 1.],
           [3., 1., 0., 0.]])
    """
    places = resample_indices(N, R, rng) + N * np.arange(R)[:, None]
    return np.bincount(places.ravel(), minlength=R * N).reshape(R, N).astype(float)


def least_squares(G: NDArray, outcome: int, regressors: Sequence[int], size: NDArray) -> NDArray:
    """Solve the normal equations of many samples, (r, k); NaN where they have no one solution.

    Parameters
    ----------
    G : ndarray, shape (r, p, p)
        Moment matrices.
    outcome, regressors : int, sequence of int
        Columns.
    size : ndarray, shape (p,)
        Sums of squares below a tiny share of which a column counts as absorbed.
    """
    at = list(regressors)
    A, b = G[:, at][:, :, at], G[:, at, outcome]
    diagonal = np.einsum("rii->ri", A)
    good = (diagonal > ABSORBED * size[at]).all(axis=1)
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    A = A / (scale[:, :, None] * scale[:, None, :])
    A[~good] = np.eye(len(at))
    smallest = np.linalg.eigvalsh(A)[:, 0]
    good &= smallest > COLLINEAR
    A[~good] = np.eye(len(at))
    found = np.linalg.solve(A, (b / scale)[:, :, None])[:, :, 0] / scale
    return np.where(good[:, None], found, np.nan)


@dataclass(frozen=True, eq=False)
class EntityMoments:
    """What each entity adds to the moment matrix of a sample, fixed effects taken out.

    With entity means removed, ``Z_i`` (T, p) the columns of entity i and ``w_i`` the number of
    times it is drawn, the moment matrix off entity and period effects is ::

        G(w) = sum_i w_i Z_i'Z_i - B'C^+ B,    B = sum_i w_i Z_i,    C = sum_i w_i E_i

    where ``E_i = diag(s_i) - s_i s_i'/(s_i's_i)`` are the moments of the period dummies, also
    without entity means, and ``s_i`` marks the periods in which i is observed. On a balanced panel
    ``C = N (I - 11'/T)`` and ``B'C^+ B = B'B/N``. With period effects alone, C is the diagonal
    matrix of the number of entities drawn in a period; with an intercept, ``sum_i w_i T_i``.

    Attributes
    ----------
    own : ndarray, shape (N, p (p + 1) / 2)
        Upper triangle of ``Z_i'Z_i``.
    lines : ndarray, shape (N, d p)
        ``Z_i``, or its sum over time (d = 1); empty (d = 0) where nothing more is taken out.
    dummies : ndarray, shape (N, d^2) or (N, d) or (0, 0)
        ``E_i``, its diagonal where it has nothing else; empty when the panel is balanced.
    p : int
    scale : ndarray, shape (p,)
        By which the columns were divided.
    """

    own: NDArray
    lines: NDArray
    dummies: NDArray
    p: int
    scale: NDArray

    @classmethod
    def build(cls, Z: NDArray, cells: NDArray, effects: str, *, intercept: bool) -> EntityMoments:
        """Reduce columns, shape (T, N, p), to sums per entity.

        Entities without an observed cell are not there to be drawn.
        """
        there = cells.any(axis=0)
        seen = cells[:, there].astype(float)
        mask = seen[:, :, None]
        Z = Z[:, there] * mask
        if effects != "none" or intercept:
            Z = (Z - Z.sum(axis=(0, 1)) / seen.sum()) * mask
        if removes_entity(effects):
            Z = (Z - Z.sum(axis=0) / mask.sum(axis=0)) * mask
        T, N, p = Z.shape
        scale = np.sqrt((Z**2).sum(axis=(0, 1)))
        scale[scale == 0.0] = 1.0
        Z = Z / scale
        rows, columns = np.triu_indices(p)
        own = np.matmul(Z.transpose(1, 2, 0), Z.transpose(1, 0, 2))[:, rows, columns]
        lines, dummies = np.zeros((N, 0)), np.zeros((0, 0))
        if removes_time(effects):
            lines = Z.transpose(1, 0, 2).reshape(N, T * p)
            if not cells[:, there].all():
                dummies = seen.T
                if removes_entity(effects):
                    s = seen.T
                    E = -s[:, :, None] * s[:, None, :] / s.sum(axis=1)[:, None, None]
                    E[:, np.arange(T), np.arange(T)] += s
                    dummies = E.reshape(N, T * T)
        elif effects == "none" and intercept:
            lines = Z.sum(axis=0)
            dummies = seen.sum(axis=0)[:, None]
        return cls(own, lines, dummies, p, scale)

    @property
    def N(self) -> int:
        """Number of entities."""
        return len(self.own)

    @property
    def batch(self) -> int:
        """Resamples that are worked on at a time."""
        widths = (self.N, self.lines.shape[1], self.dummies.shape[1], self.p**2)
        return max(1, min(500, BATCH // max(widths)))

    @property
    def size(self) -> NDArray:
        """Sums of squares of the (scaled) columns in the sample itself, shape (p,)."""
        return np.einsum("ii->i", self.of(np.ones((1, self.N)))[0])

    def of(self, counts: NDArray) -> NDArray:
        """Return the moment matrices of resamples, (R, p, p), for counts of shape (R, N)."""
        R, p = len(counts), self.p
        rows, columns = np.triu_indices(p)
        G = np.empty((R, p, p))
        G[:, rows, columns] = G[:, columns, rows] = counts @ self.own
        if not self.lines.size:
            return G
        B = (counts @ self.lines).reshape(R, -1, p)
        d = B.shape[1]
        if not self.dummies.size:
            return G - np.matmul(B.transpose(0, 2, 1), B) / counts.sum(axis=1)[:, None, None]
        C = counts @ self.dummies
        if C.shape[1] == d:
            inverse = np.divide(1.0, C, out=np.zeros_like(C), where=C > 0)
            return G - np.matmul(B.transpose(0, 2, 1) * inverse[:, None, :], B)
        values, vectors = np.linalg.eigh(C.reshape(R, d, d))
        kept = values > 1e-10 * np.maximum(values[:, -1:], 1.0)
        inverse = np.divide(1.0, values, out=np.zeros_like(values), where=kept)
        V = np.matmul(vectors.transpose(0, 2, 1), B)
        return G - np.matmul(V.transpose(0, 2, 1) * inverse[:, None, :], V)


def check_draws(draws: int) -> None:
    """Raise unless the number of draws is whole and at least 2."""
    if isinstance(draws, bool) or not (isinstance(draws, (int, np.integer)) and draws >= 2):
        raise OptionError(f"draws={draws!r} must be a whole number of at least 2.")


def _bar(starts: range, size: int, draws: int, progress: bool) -> Iterator[int]:
    """Go through the batches, with a bar of resamples that shows when it takes long."""
    from tqdm import tqdm

    with tqdm(
        desc="bootstrap", total=draws, disable=not progress, leave=False, delay=PATIENCE
    ) as bar:
        for start in starts:
            yield start
            bar.update(min(size, draws - start))
