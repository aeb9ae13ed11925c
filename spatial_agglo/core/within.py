"""Fixed-effects projections of arrays in time-major layout, period slow and unit fast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EFFECTS = ("none", "entity", "time", "two-way")


def removes_entity(effects: str) -> bool:
    """Tell whether ``effects`` include one constant per unit."""
    return effects in ("entity", "two-way")


def removes_time(effects: str) -> bool:
    """Tell whether ``effects`` include one constant per period."""
    return effects in ("time", "two-way")


def within(Z: NDArray, effects: str) -> NDArray:
    """Subtract the means that the fixed effects absorb (balanced panels).

    The projector is ``Q = (I_T - J_T) kron I_N`` for entity effects,
    ``I_T kron (I_N - J_N)`` for time effects and their product for two-way effects,
    with ``J`` the matrix that averages. On a balanced panel the two commute.

    Parameters
    ----------
    Z : ndarray, shape (T, N) or (T, N, k)
    effects : {"none", "entity", "time", "two-way"}

    Returns
    -------
    ndarray
        A new array of the same shape; for "none" the array itself.

    Examples
    --------
    >>> import numpy as np
    >>> within(np.array([[1.0, 2.0], [3.0, 4.0]]), "two-way")
    array([[0., 0.],
           [0., 0.]])
    """
    if removes_entity(effects):
        Z = Z - Z.mean(axis=0, keepdims=True)
    if removes_time(effects):
        Z = Z - Z.mean(axis=1, keepdims=True)
    return Z


@dataclass(frozen=True)
class Projector:
    """The exact projection ``Q`` off the dummies of the effects, whatever cells are observed.

    With ``M`` the (T, N) mask of observed cells and ``A`` the period dummies after unit means
    over the observed cells are taken out, ``Q = Q_entity - A (A'A)^+ A'``. Cells that are not
    observed are zero before and after.

    Attributes
    ----------
    mask : ndarray of float, shape (T, N)
        One where a cell is observed, zero elsewhere.
    effects : {"none", "entity", "time", "two-way"}
    periods : ndarray, shape (T, T)
        ``(A'A)^+``; empty unless the effects are two-way.
    rank : int
        Number of cells less the number of independent dummies: the trace of Q.
    """

    mask: NDArray
    effects: str
    periods: NDArray
    rank: int

    @classmethod
    def of(cls, observed: NDArray, effects: str) -> Projector:
        """Prepare the projection for a mask of observed cells."""
        mask = observed.astype(float)
        cells = int(mask.sum())
        rank, periods = cells, np.zeros((0, 0))
        counts = mask.sum(axis=0)
        if removes_entity(effects):
            rank -= int((counts > 0).sum())
        if effects == "time":
            rank -= int((mask.sum(axis=1) > 0).sum())
        elif effects == "two-way":
            share = mask / np.maximum(counts, 1.0)
            gram = np.diag(mask.sum(axis=1)) - mask @ share.T
            values, vectors = np.linalg.eigh(gram)
            kept = values > 1e-10 * max(float(values[-1]), 1.0)
            periods = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
            rank -= int(kept.sum())
        return cls(mask, effects, periods, rank)

    @property
    def counts(self) -> NDArray:
        """Observed periods of every unit, at least one to divide by, shape (N,)."""
        return np.maximum(self.mask.sum(axis=0), 1.0)

    @property
    def diagonal(self) -> NDArray:
        """Diagonal of Q, shape (T, N): what the effects leave of the variance of a cell."""
        blocks = [np.diagonal(self.block(t)) for t in range(self.mask.shape[0])]
        return self.mask - np.stack(blocks)

    def apply(self, Z: NDArray) -> NDArray:
        """Return ``Q Z`` for Z of shape (T, N) or (T, N, k)."""
        extra = (1,) * (Z.ndim - 2)
        mask = self.mask.reshape(self.mask.shape + extra)
        Z = Z * mask
        if self.effects == "time":
            sizes = np.maximum(self.mask.sum(axis=1), 1.0).reshape(-1, 1, *extra)
            return Z - mask * (Z.sum(axis=1, keepdims=True) / sizes)
        if removes_entity(self.effects):
            counts = self.counts.reshape(1, -1, *extra)
            Z = Z - mask * (Z.sum(axis=0, keepdims=True) / counts)
        if self.effects == "two-way":
            constants = np.tensordot(self.periods, Z.sum(axis=1), axes=1)  # (T,) or (T, k)
            of_units = np.tensordot((self.mask / self.counts).T, constants, axes=1)
            Z = Z - mask * (constants[:, None] - of_units[None])
        return Z

    def block(self, period: int) -> NDArray:
        """Return the N x N block of ``I - Q`` that belongs to one period, both ways."""
        mask = self.mask[period]
        if self.effects == "none":
            return np.zeros((mask.size, mask.size))
        if self.effects == "time":
            return np.outer(mask, mask) / max(float(mask.sum()), 1.0)
        P = np.diag(mask / self.counts)
        if self.effects == "two-way":
            A = -(mask / self.counts)[:, None] * self.mask.T
            A[:, period] += mask
            P += A @ self.periods @ A.T
        return P
