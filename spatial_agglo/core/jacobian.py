"""The Jacobian term of a likelihood: log-determinants over periods, less what effects remove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse import csgraph

from spatial_agglo.core.factorization import symmetrize
from spatial_agglo.core.logdet import LogDet
from spatial_agglo.core.parameter_space import edges
from spatial_agglo.core.within import Projector, removes_entity, removes_time

#: Chebyshev nodes per panel of the quadrature for matrices without a basis of eigenvectors.
NODES = 16


@dataclass(frozen=True)
class Counts:
    """What effects and likelihood change in a likelihood: three numbers.

    Attributes
    ----------
    n : int
        Independent observations: ``sigma2 = SSR / n``.
    tau : int
        Factor of ``ln|I - rho W|``.
    ones : int
        Factor of ``-ln(1 - rho)``: the eigenvalue 1 that removing period means takes away.
    """

    n: int
    tau: int
    ones: int


def counts(N: int, T: int, effects: str, likelihood: str, row_standardized: bool) -> Counts:
    """Return the counts of METHODS table: Lee & Yu (2010) for "transformed", else NT.

    Without row-standardised weights the period effects cannot be transformed away; they
    are then estimated as parameters, and only the entity effects change the counts.
    """
    if likelihood != "transformed":
        return Counts(n=N * T, tau=T, ones=0)
    periods = T - 1 if removes_entity(effects) else T
    if removes_time(effects) and row_standardized:
        return Counts(n=(N - 1) * periods, tau=periods, ones=periods)
    return Counts(n=N * periods, tau=periods, ones=0)


class Jacobian(Protocol):
    """The term of one spatial parameter in a log-likelihood.

    Attributes
    ----------
    interval : tuple of float
        Open parameter space around zero.
    grid : ndarray
        Increasing values inside it at which ``value`` is cheap.
    """

    @property
    def interval(self) -> tuple[float, float]: ...  # noqa: D102

    @property
    def grid(self) -> NDArray: ...  # noqa: D102

    def value(self, rho: NDArray) -> NDArray:
        """Return the term for each rho."""

    def derivatives(self, rho: NDArray | float) -> tuple[NDArray, NDArray]:
        """Return its first and second derivative."""

    @property
    def sketch(self) -> Jacobian:
        """The same term, cheap and perhaps only close, for searches; itself if it is cheap."""


@dataclass(frozen=True)
class LogJacobian:
    """``tau ln|I - rho W| - ones ln(1 - rho)``: one W for all periods, a balanced panel."""

    logdet: LogDet
    counts: Counts

    @property
    def interval(self) -> tuple[float, float]:
        """The parameter space."""
        return self.logdet.interval

    @property
    def grid(self) -> NDArray:
        """Values at which the back end is cheap."""
        return self.logdet.grid

    @property
    def sketch(self) -> LogJacobian:
        """The term from the sketch of the log-determinant."""
        rough = self.logdet.sketch
        return self if rough is self.logdet else replace(self, logdet=rough)

    def value(self, rho: NDArray) -> NDArray:
        """Return the term for each rho."""
        out = self.counts.tau * self.logdet.value(rho)
        return out - self.counts.ones * np.log1p(-rho) if self.counts.ones else out

    def derivatives(self, rho: NDArray | float) -> tuple[NDArray, NDArray]:
        """Return its first and second derivative."""
        rho = np.asarray(rho, dtype=float)
        first, second = self.logdet.derivatives(rho)
        gap = self.counts.ones / (1.0 - rho)
        return self.counts.tau * first + gap, self.counts.tau * second + gap / (1.0 - rho)


@dataclass(frozen=True)
class SummedJacobian:
    """``sum_t ln|I - rho W_t| + integral_0^rho sum_t tr(P_t H_t(r)) dr``, ``H = W (I - r W)^-1``.

    The first sum is the direct likelihood's. ``P_t`` is the block of period t of ``I - Q``, the
    projection on the dummies: under the true rho the score of the direct likelihood has the
    mean ``-sum_t tr(P_t H_t)``, and the second term takes it out (an adjusted score:
    McCullagh & Tibshirani 1990; Lee & Yu 2010 and Meng & Yang 2021 for spatial panels). With one
    row-standardised W and a balanced panel the sum is Lee and Yu's
    ``tau ln|S| - ones ln(1 - rho)``.

    Attributes
    ----------
    logdets : sequence of LogDet
        Of the matrices that differ.
    times : ndarray of int
        In how many periods each of them holds.
    removed : sequence of Removed
        The second term, by matrix; empty for the direct likelihood.
    """

    logdets: Sequence[LogDet]
    times: NDArray
    removed: Sequence[Removed] = ()

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The parameter space: the intersection over periods."""
        ends = np.array([logdet.interval for logdet in self.logdets])
        return float(ends[:, 0].max()), float(ends[:, 1].min())

    @cached_property
    def grid(self) -> NDArray:
        """Points graded towards both ends."""
        return edges(self.interval)

    @property
    def sketch(self) -> SummedJacobian:
        """The sum of the sketches of the log-determinants."""
        rough = [d.sketch for d in self.logdets]
        same = all(a is b for a, b in zip(rough, self.logdets, strict=True))
        return self if same else replace(self, logdets=rough)

    def value(self, rho: NDArray) -> NDArray:
        """Return the term for each rho."""
        rho = np.asarray(rho, dtype=float)
        parts = [m * d.value(rho) for m, d in zip(self.times, self.logdets, strict=True)]
        parts += [removed.value(rho) for removed in self.removed]
        return np.sum(parts, axis=0)

    def derivatives(self, rho: NDArray | float) -> tuple[NDArray, NDArray]:
        """Return its first and second derivative."""
        rho = np.asarray(rho, dtype=float)
        pairs = [
            tuple(m * part for part in d.derivatives(rho))
            for m, d in zip(self.times, self.logdets, strict=True)
        ]
        pairs += [removed.derivatives(rho) for removed in self.removed]
        first, second = np.sum([p[0] for p in pairs], axis=0), np.sum([p[1] for p in pairs], axis=0)
        return first, second


@dataclass(frozen=True)
class Removed:
    """``integral_0^rho tr(P W (I - r W)^-1) dr`` of one matrix.

    In the basis of eigenvectors, ``W = V diag(omega) V^-1``, it is
    ``-sum_j p_j ln(1 - rho omega_j)`` with ``p = diag(V^-1 P V)``. A matrix without such a basis
    (units that nobody names as a neighbour can do that) is integrated numerically.

    Attributes
    ----------
    omega, share : ndarray
        Eigenvalues and the p_j; empty where the matrix has no basis of eigenvectors.
    W, P : ndarray, shape (N, N)
    edges : ndarray
        Panels of the quadrature.
    """

    omega: NDArray
    share: NDArray
    W: NDArray
    P: NDArray
    edges: NDArray

    @classmethod
    def of(cls, W: sparse.csr_array, P: NDArray, grid: NDArray) -> Removed:
        """Decompose ``W``, on the units that have links."""
        named = np.bincount(W.indices, minlength=W.shape[0]) > 0
        used = np.flatnonzero((np.diff(W.indptr) > 0) | named)
        W, P = W[used][:, used], P[np.ix_(used, used)]
        dense = W.toarray()
        symmetric = symmetrize(W)
        if symmetric is not None:
            omega, U = linalg.eigh(symmetric.toarray(), check_finite=False)
            scale = _scaling(W)
            V, inverse = scale[:, None] * U, U.T / scale
        else:
            omega, V = linalg.eig(dense, check_finite=False)
            with np.errstate(all="ignore"):
                inverse = _inverse(V)
        share = np.einsum("ij,jk,ki->i", inverse, P, V, optimize=True)
        back = (V * omega) @ inverse
        if not np.abs(back - dense).max() <= 1e-10 * np.abs(dense).max():
            omega = share = np.zeros(0)
        return cls(omega, share, dense, P, grid)

    def value(self, rho: NDArray) -> NDArray:
        """Return the integral up to each rho."""
        if self.omega.size:
            terms = self.share * np.log(1.0 - rho[..., None] * self.omega.astype(complex))
            return -terms.sum(axis=-1).real
        flat = np.atleast_1d(rho)
        return np.reshape([self._integral(float(r)) for r in flat], np.shape(rho))

    def derivatives(self, rho: NDArray) -> tuple[NDArray, NDArray]:
        """Return ``tr(P H)`` and ``tr(P H H)``."""
        if self.omega.size:
            ratio = self.omega / (1.0 - rho[..., None] * self.omega)
            first, second = (self.share * ratio).sum(-1), (self.share * ratio**2).sum(-1)
            return np.real(first), np.real(second)
        pairs = np.array([self._traces(float(r)) for r in np.atleast_1d(rho)])
        shape = np.shape(rho)
        return pairs[:, 0].reshape(shape), pairs[:, 1].reshape(shape)

    def _traces(self, rho: float) -> tuple[float, float]:
        H = linalg.solve((np.eye(len(self.W)) - rho * self.W).T, self.W.T, check_finite=False).T
        PH = self.P @ H
        return float(np.trace(PH)), float((PH * H.T).sum())

    @cached_property
    def _panels(self) -> tuple[NDArray, list[NDArray]]:
        """Edges from the lowest up with zero among them, and the integral on each panel."""
        ends = np.unique(np.append(self.edges, 0.0))
        nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
        inverse = np.linalg.inv(chebyshev.chebvander(nodes, NODES - 1))
        pieces = []
        for left, right in pairwise(ends):
            at = 0.5 * (left + right + (right - left) * nodes)
            c = inverse @ np.array([self._traces(float(x))[0] for x in at])
            pieces.append(chebyshev.chebint(c, lbnd=-1) * 0.5 * (right - left))
        return ends, pieces

    def _integral(self, rho: float) -> float:
        ends, pieces = self._panels
        whole = np.array([chebyshev.chebval(1.0, c) for c in pieces])
        upto = np.concatenate([[0.0], np.cumsum(whole)])
        zero = upto[np.searchsorted(ends, 0.0)]
        j = int(np.clip(np.searchsorted(ends, rho, side="right") - 1, 0, len(pieces) - 1))
        x = (2.0 * rho - ends[j] - ends[j + 1]) / (ends[j + 1] - ends[j])
        return float(upto[j] + chebyshev.chebval(x, pieces[j]) - zero)


def _scaling(W: sparse.csr_array) -> NDArray:
    """Return d with ``W = diag(d) A diag(d)^-1`` for its symmetric twin A.

    ``w_ij / w_ji = (d_i / d_j)^2``, followed along a tree from one unit of every component.
    """
    log_d = np.zeros(W.shape[0])
    _, component = csgraph.connected_components(W, directed=False)
    for root in np.unique(component, return_index=True)[1]:
        order, parent = csgraph.breadth_first_order(W, root, directed=False)
        for j in order[1:]:
            i = parent[j]
            log_d[j] = log_d[i] - 0.5 * np.log(W[i, j] / W[j, i])
    return np.exp(log_d)


def _inverse(V: NDArray) -> NDArray:
    """Return the inverse, NaN where there is none; what it is worth is checked by its use."""
    try:
        return np.linalg.inv(V)
    except np.linalg.LinAlgError:
        return np.full_like(V, np.nan)


def removed(
    matrices: Sequence[sparse.csr_array],
    which: Sequence[int],
    projector: Projector,
    grid: NDArray,
) -> list[Removed]:
    """Return the second term of :class:`SummedJacobian`, one entry per matrix that differs."""
    sums = [np.zeros(matrix.shape) for matrix in matrices]
    for period, j in enumerate(which):
        sums[j] += projector.block(period)
    return [Removed.of(W, P, grid) for W, P in zip(matrices, sums, strict=True)]
