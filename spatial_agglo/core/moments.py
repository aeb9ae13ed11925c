"""The moment matrix: one pass over the data, additive over periods.

Everything the estimators and tests need of the data is
``G = sum_t Z_t' Q Z_t`` with ``Z_t = [F_t, W F_t, ...]`` and ``F_t = [y_t, X_t]``.
A block of Z is named by the operators that were applied to F, the last one first:
"" is F itself, "W" is ``W F``, "MW" is ``M W F``. This module does not know which model will
be estimated, nor what the letters stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core.within import Projector, removes_time, within

#: Cells (doubles) that one block of periods may occupy while it is accumulated: what stays
#: in the processor's cache, from measurement.
BLOCK_CELLS = 2**16

#: W as the arithmetic takes it: dense when it is small or full, sparse otherwise.
MatrixLike: TypeAlias = NDArray | sparse.csr_array
#: One matrix for all periods, or one for each.
Operator: TypeAlias = MatrixLike | tuple[MatrixLike, ...]
#: A column of the moment matrix: the operators applied, and the column of F.
Column: TypeAlias = tuple[str, int]


@dataclass(frozen=True)
class Moments:
    """Cross-products of the lagged and projected data.

    Attributes
    ----------
    G : ndarray, shape (p, p)
        Second moments of the blocks, each ``1 + k`` columns wide, ``F = [y, X]``.
    width : int
        ``1 + k``.
    words : tuple of str
        The operators applied in each block, in order.
    """

    G: NDArray
    width: int
    words: tuple[str, ...]

    def index(self, word: str, column: int) -> int:
        """Row of G that holds a column of ``[y, X]`` after the operators of ``word``."""
        return self.words.index(word) * self.width + column

    def select(self, rows: Sequence[Column], columns: Sequence[Column]) -> NDArray:
        """Return the cross-products of some columns with others."""
        i = [self.index(*place) for place in rows]
        j = [self.index(*place) for place in columns]
        return self.G[np.ix_(i, j)]


def lag(W: Operator, Z: NDArray) -> NDArray:
    """Return ``W_t z_t`` for every period and column of ``Z``, shape (T, N) or (T, N, k)."""
    if isinstance(W, tuple):
        return np.stack([matrix @ z for matrix, z in zip(W, Z, strict=True)])
    if Z.ndim == 2:
        return np.ascontiguousarray((W @ Z.T).T)
    if isinstance(W, np.ndarray):
        return np.matmul(W, Z)
    T, N, k = Z.shape
    if T == 1:
        return (W @ Z[0])[None]
    flat = np.ascontiguousarray(Z.transpose(1, 0, 2)).reshape(N, T * k)
    return np.ascontiguousarray((W @ flat).reshape(N, T, k).transpose(1, 0, 2))


def blocks(
    F: NDArray,
    operators: Mapping[str, Operator],
    effects: str,
    *,
    words: Sequence[str],
    lag_last: bool = False,
    projector: Projector | None = None,
) -> NDArray:
    """Return the projected blocks of a stretch of periods, shape (T, N, p).

    Parameters
    ----------
    F : ndarray, shape (T, N, 1 + k)
        Without a projector, entity means must have been taken out before (they need all the
        periods).
    operators : mapping of letter to operator
    effects : str
    words : sequence of str
        Every word but "" must follow the word that it extends: "W" before "MW".
    lag_last : bool
        False: lag, then project, ``Q(W F)``. True: project, then lag, ``W(Q F)``.
    projector : Projector, optional
        For panels with gaps or operators that change over time; needs all the periods.
    """
    time = removes_time(effects) and projector is None
    made = {"": within(F, "time") if time and lag_last else F}
    for word in words:
        if word not in made:
            made[word] = lag(operators[word[0]], made[word[1:]])
    Z = np.concatenate([made[word] for word in words], axis=2) if len(words) > 1 else made[words[0]]
    if projector is not None:
        return projector.apply(Z)
    if time and not lag_last:
        if len(words) == 1:
            return within(Z, "time")
        Z -= Z.mean(axis=1, keepdims=True)
    return Z


def accumulate(
    F: NDArray,
    operators: Mapping[str, Operator],
    effects: str,
    *,
    words: Sequence[str],
    lag_last: bool = False,
    projector: Projector | None = None,
) -> Moments:
    """Reduce the data to their moment matrix, a block of periods at a time.

    The parameters are those of :func:`blocks`. With a projector all the periods are one block.
    """
    T, N, width = F.shape
    p = len(words) * width
    G = np.zeros((p, p))
    step = T if projector is not None else max(1, BLOCK_CELLS // max(1, N * p))
    for start in range(0, T, step):
        Z = blocks(
            F[start : start + step],
            operators,
            effects,
            words=words,
            lag_last=lag_last,
            projector=projector,
        ).reshape(-1, p)
        G += Z.T @ Z
    return Moments(G=G, width=width, words=tuple(words))


def combine(
    F: NDArray, operators: Mapping[str, Operator], weights: Mapping[str, NDArray]
) -> NDArray:
    """Return the sum over words of ``W... F w`` without the blocks, shape (T, N).

    Words that end in the same operator are summed before it is applied.
    """
    out = F @ weights[""] if "" in weights else np.zeros(F.shape[:2])
    for letter in sorted({word[0] for word in weights if word}):
        inner = {word[1:]: w for word, w in weights.items() if word[:1] == letter}
        out = out + lag(operators[letter], combine(F, operators, inner))
    return out
