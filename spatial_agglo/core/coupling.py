"""H, the matrices through which the innovations of one unit enter the scores of others.

For rho ``H = B W S^-1 B^-1`` (``W S^-1`` without an error process, or with the same W in both)
and for lambda ``H = M B^-1``, with ``S = I - rho W`` and ``B = I - lambda M``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core.information import Traces
from spatial_agglo.core.logdet import LogDet
from spatial_agglo.core.traces import BLOCK, DENSE_UNITS, pair_sums, resolvent, solver
from spatial_agglo.core.within import Projector

Apply = Callable[[NDArray], NDArray]


@dataclass(frozen=True)
class Coupling:
    """H of every spatial parameter in one period, or in all where W does not change.

    Attributes
    ----------
    W : csr_array or None
        None in a model without rho.
    M : csr_array or None
        None in a model without lambda.
    rho, lam : float
    """

    W: sparse.csr_array | None
    M: sparse.csr_array | None
    rho: float = 0.0
    lam: float = 0.0

    @property
    def size(self) -> int:
        """Number of units."""
        matrix = self.W if self.W is not None else self.M
        assert matrix is not None
        return int(matrix.shape[0])

    def dense(self) -> list[NDArray]:
        """Return every H as one array, in the order rho, lambda."""
        identity = np.eye(self.size)
        return [forward(identity) for forward, _ in self._maps()]

    def blocks(self) -> Iterator[tuple[slice, list[NDArray], list[NDArray]]]:
        """Yield ``(block, [H[:, block]], [H[block, :]'])`` over blocks of units."""
        N = self.size
        maps = self._maps()
        if N <= DENSE_UNITS:
            whole = self.dense()
            yield slice(0, N), whole, [H.T for H in whole]
            return
        for start in range(0, N, BLOCK):
            block = slice(start, min(start + BLOCK, N))
            unit = np.zeros((N, block.stop - start))
            unit[np.arange(start, block.stop), np.arange(unit.shape[1])] = 1.0
            yield block, [f(unit) for f, _ in maps], [back(unit) for _, back in maps]

    def pairs(self, mask: NDArray | None = None) -> Callable[[NDArray], NDArray] | None:
        """Return ``Q -> sum_{i != j} A_ij A_ji q_i q_j`` for rows q; None if there are two H.

        A is H, or ``J H`` with a mask.
        """
        if self._single is None:
            return None
        share = None if mask is None else mask / mask.sum()
        return partial(pair_sums, *self._single, share=share)

    @property
    def _single(self) -> tuple[sparse.csr_array, float] | None:
        """The matrix and the parameter of a model with one of rho and lambda."""
        if self.M is None and self.W is not None:
            return self.W, self.rho
        return (self.M, self.lam) if self.W is None and self.M is not None else None

    def lagged(self, V: NDArray) -> NDArray:
        """Return ``H v`` with the H of rho, for every row of ``V``, shape (m, N)."""
        forward, _ = self._maps()[0]
        return np.ascontiguousarray(forward(np.ascontiguousarray(V.T)).T)

    def centred(self, mask: NDArray) -> Iterator[tuple[slice, list[NDArray], list[NDArray]]]:
        """Yield the blocks of ``J H``, J taking out the mean over the units of a mask."""
        share = mask / mask.sum()
        sums = [back(mask) for _, back in self._maps()]
        for block, columns, rows in self.blocks():
            ahead = [c - share[:, None] * c.sum(axis=0) for c in columns]
            back = [r - s[:, None] * share[block] for r, s in zip(rows, sums, strict=True)]
            yield block, ahead, back

    def _maps(self) -> list[tuple[Apply, Apply]]:
        """Return ``x -> H x`` and ``x -> H' x`` for every spatial parameter."""
        out = []
        M, lam = self.M, self.lam
        if self.W is not None:
            W = self.W
            S, St = solver(W, self.rho), solver(sparse.csr_array(W.T), self.rho)
            if M is None or M is W:
                out.append((lambda x: W @ S(x), lambda x: St(W.T @ x)))
            else:
                B, Bt = solver(M, lam), solver(sparse.csr_array(M.T), lam)

                def forward(x: NDArray) -> NDArray:
                    z = W @ S(B(x))
                    return z - lam * (M @ z)

                def backward(x: NDArray) -> NDArray:
                    return Bt(St(W.T @ (x - lam * (M.T @ x))))

                out.append((forward, backward))
        if M is not None:
            C, Ct = solver(M, lam), solver(sparse.csr_array(M.T), lam)
            out.append((lambda x: M @ C(x), lambda x: Ct(M.T @ x)))
        return out


@dataclass(frozen=True)
class Reduced:
    """The H of a panel reduced to what information and scores need.

    Attributes
    ----------
    traces : Traces
    centre : ndarray, shape (T, N, a)
        ``diag(Q_t H_t)``: the mean of the spatial part of the scores, by observation.
    """

    traces: Traces
    centre: NDArray


def reduce_balanced(
    coupling: Coupling, T: int, tau: int, remove_mean: bool, logdet: LogDet | None = None
) -> Reduced:
    """Reduce H when Q acts within a period as ``tau/T (I - 11'/N)`` or ``tau/T I``.

    ``remove_mean`` needs row-standardised weights, whose H maps ones to a multiple of ones. In
    models with one spatial parameter ``logdet`` is that of its matrix.
    """
    N = coupling.size
    d, s, total = _reduced(coupling, logdet)
    if remove_mean:
        one = s.sum(axis=0) / N
        total = total - np.outer(one, one) - s.T @ s / N
        d = d - s / N
    traces = Traces(single=tau * d.sum(axis=0), pairs=tau * total)
    centre = np.broadcast_to(d * (tau / T), (T, *d.shape))
    return Reduced(traces, centre)


def _reduced(coupling: Coupling, logdet: LogDet | None) -> tuple[NDArray, NDArray, NDArray]:
    """Return ``diag(H_a)`` and ``1'H_a``, (N, a), and ``tr(H_a H_b) + tr(H_a'H_b)``, (a, a)."""
    if coupling._single is not None:
        found = resolvent(*coupling._single, logdet)
        total = np.array([[found.squared + found.frobenius]])
        return found.diagonal[:, None], found.column_sums[:, None], total
    diagonal, sums, pairs = [], [], []
    for block, columns, rows in coupling.blocks():
        diagonal.append(np.stack([np.diagonal(c[block]) for c in columns], axis=1))
        sums.append(np.stack([c.sum(axis=0) for c in columns], axis=1))
        both = list(zip(rows, columns, strict=True))
        pairs.append([[float((c * (r + k)).sum()) for r, k in both] for c in columns])
    return np.concatenate(diagonal), np.concatenate(sums), np.sum(pairs, axis=0)


def reduce_irregular(
    couplings: Sequence[Coupling], which: Sequence[int], projector: Projector
) -> Reduced:
    """Reduce H when cells are missing or W changes: one dense H per matrix that differs."""
    T, N = projector.mask.shape
    dense = [coupling.dense() for coupling in couplings]
    a = len(dense[0])
    single, pairs, centre = np.zeros(a), np.zeros((a, a)), np.zeros((T, N, a))
    for t, j in enumerate(which):
        Q = np.diag(projector.mask[t]) - projector.block(t)
        QH = [Q @ H for H in dense[j]]
        for p in range(a):
            centre[t, :, p] = np.diagonal(QH[p])
            single[p] += centre[t, :, p].sum()
            for q in range(a):
                pairs[p, q] += (QH[p] * dense[j][q].T).sum() + (dense[j][p] * QH[q]).sum()
    return Reduced(Traces(single, 0.5 * (pairs + pairs.T)), centre)
