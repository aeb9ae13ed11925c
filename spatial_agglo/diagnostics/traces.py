"""Moments of quadratic forms ``e'Ke`` in residuals: exact traces of K on what effects leave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.within import Projector, removes_entity

Block = tuple[slice, Sequence[NDArray], Sequence[NDArray]]


@dataclass(frozen=True)
class Forms:
    """Traces of some matrices K (block diagonal: one N x N block per period) and of pairs.

    For errors e = Q v with independent v of variance s2, ``e'Ke`` has the mean ``s2 tr(QK)``, and
    two such forms the covariance ``s2^2 [tr(QK QL) + tr(QK QL')]`` under normality.

    Attributes
    ----------
    single : ndarray, shape (a,)
        tr(QK).
    squared, frobenius : ndarray, shape (a, a)
        tr(QK QL) and tr(QK QL').
    """

    single: NDArray
    squared: NDArray
    frobenius: NDArray

    @property
    def pairs(self) -> NDArray:
        """``tr(QK QL) + tr(QK QL')``."""
        return self.squared + self.frobenius


def balanced_traces(blocks: Iterable[Block], N: int, periods: int, *, remove_mean: bool) -> Forms:
    """Return the traces on a balanced panel where K is the same in all periods.

    Parameters
    ----------
    blocks : iterable of ``(block, [K[:, block]], [K[block, :]'])``
        Over blocks of units; the same matrices in every block.
    N, periods : int
        Units, and the periods that entity effects leave (T - 1, or T).
    remove_mean : bool
        Whether period means are taken out. Then ``tr(JKJL) = tr(KL) - 1'KL1/N - 1'LK1/N +
        (1'K1)(1'L1)/N^2``, ``J = I - 11'/N``, whatever the row sums of K are.
    """
    trace: Any = 0.0
    squared: Any = 0.0
    frobenius: Any = 0.0
    down, across = [], []
    for block, columns, rows in blocks:
        trace = trace + np.array([np.trace(c[block]) for c in columns])
        squared = squared + np.array([[(c * r).sum() for r in rows] for c in columns])
        frobenius = frobenius + np.array([[(c * k).sum() for k in columns] for c in columns])
        down.append(np.stack([c.sum(axis=0) for c in columns]))
        across.append(np.stack([r.sum(axis=0) for r in rows]))
    if remove_mean:
        d, a = np.concatenate(down, axis=1), np.concatenate(across, axis=1)  # 1'K and K1
        mean = d.sum(axis=1) / N
        mixed = d @ a.T / N
        squared = squared - mixed - mixed.T + np.outer(mean, mean)
        frobenius = frobenius - (d @ d.T + a @ a.T) / N + np.outer(mean, mean)
        trace = trace - mean
    return Forms(periods * trace, periods * squared, periods * frobenius)


def irregular_traces(
    matrices: Sequence[Sequence[Any]], which: Sequence[int], projector: Projector
) -> Forms:
    """Return the traces on a panel with gaps, or where K changes over time.

    With ``I - Q = E + A G A'``, E the means of units over their observed periods and A the period
    dummies less these: no array is larger than T x N x T.

    Parameters
    ----------
    matrices : sequence of sequences of arrays, sparse or dense
        For every K the blocks that differ, (N, N), zero where units are not observed.
    which : sequence of int
        For every period, its place among them.
    projector : Projector
    """
    parts = [Part.of(blocks, which, projector) for blocks in matrices]
    G = _gram(projector)
    w = (
        1.0 / projector.counts
        if removes_entity(projector.effects)
        else np.zeros_like(projector.counts)
    )
    single = np.array([_single(part, w, G) for part in parts])
    turned = [part.T for part in parts]
    squared = np.array([[_pair(one, two, w, G) for two in parts] for one in parts])
    frobenius = np.array([[_pair(one, two, w, G) for two in turned] for one in parts])
    return Forms(single, squared, frobenius)


@dataclass(frozen=True)
class Part:
    """What traces need of one K.

    Attributes
    ----------
    blocks : sequence of (N, N) matrices
    times : ndarray of int
        In how many periods each block holds.
    total : (N, N) matrix
        Their sum over periods.
    ahead, back : ndarray, shape (T, N, m)
        ``K A`` and ``K'A``.
    inner : ndarray, shape (m, m)
        ``A'K A``.
    """

    blocks: Sequence[Any]
    times: NDArray
    total: Any
    ahead: NDArray
    back: NDArray
    inner: NDArray

    @classmethod
    def of(cls, blocks: Sequence[Any], which: Sequence[int], projector: Projector) -> Part:
        """Apply K to the dummies of the periods."""
        A = _periods(projector)
        times = np.bincount(which, minlength=len(blocks))
        total = blocks[0] * times[0]
        for block, count in zip(blocks[1:], times[1:], strict=True):
            total = total + block * count
        ahead = np.stack([blocks[j] @ A[t] for t, j in enumerate(which)])
        back = np.stack([blocks[j].T @ A[t] for t, j in enumerate(which)])
        return cls(blocks, times, total, ahead, back, np.tensordot(A, ahead, ((0, 1), (0, 1))))

    @property
    def T(self) -> Part:
        """The same of the transpose of K."""
        turned = [block.T for block in self.blocks]
        return Part(turned, self.times, self.total.T, self.back, self.ahead, self.inner.T)


def _periods(projector: Projector) -> NDArray:
    """Return A, shape (T, N, T): period dummies less what unit means take of them."""
    mask = projector.mask
    T, N = mask.shape
    if projector.effects in ("none", "entity"):
        return np.zeros((T, N, 0))
    A = np.zeros((T, N, T))
    if projector.effects == "two-way":
        A -= mask[:, :, None] * (mask / projector.counts).T[None]
    A[np.arange(T), :, np.arange(T)] += mask
    return A


def _gram(projector: Projector) -> NDArray:
    """Return ``G = (A'A)^+``."""
    if projector.effects == "two-way":
        return projector.periods
    if projector.effects == "time":
        return np.diag(1.0 / np.maximum(projector.mask.sum(axis=1), 1.0))
    return np.zeros((0, 0))


def _single(part: Part, w: NDArray, G: NDArray) -> float:
    diagonal = part.total.diagonal()
    return float(((1.0 - w) * diagonal).sum() - (G * part.inner).sum())


def _pair(one: Part, two: Part, w: NDArray, G: NDArray) -> float:
    """Return tr(QK QL), which is ``tr(KL) - tr(PKL) - tr(PLK) + tr(PKPL)`` with P = I - Q."""
    left, right = np.zeros_like(w), np.zeros_like(w)  # diagonals of KL and LK
    for K, L, count in zip(one.blocks, two.blocks, one.times, strict=True):
        product = K * L.T
        left += count * np.asarray(product.sum(axis=1)).ravel()
        right += count * np.asarray(product.sum(axis=0)).ravel()
    value = ((1.0 - w) * left - w * right).sum()
    value -= (G * np.tensordot(one.back, two.ahead, ((0, 1), (0, 1)))).sum()
    value -= (G * np.tensordot(two.back, one.ahead, ((0, 1), (0, 1)))).sum()
    value += w @ ((one.total * two.total.T) @ w)
    if G.size:
        ahead, back = (
            [np.einsum("tnm->nm", getattr(part, side)) for part in (one, two)]
            for side in ("ahead", "back")
        )
        value += (G * (back[1].T @ (w[:, None] * ahead[0]))).sum()
        value += (G * (back[0].T @ (w[:, None] * ahead[1]))).sum()
        value += np.trace(G @ one.inner @ G @ two.inner)
    return float(value)
