"""The diagonal of ``(I - rho W)^-1`` from a sparse factorisation, without solving N systems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg.lapack import dtrtri

from spatial_agglo.core.factorization import factorize
from spatial_agglo.core.progress import progress

#: A subtree of the elimination tree with up to this many columns is one block.
SUBTREE = 32
#: A column joins the block before it when that adds at most this many zeros.
ZEROS = 8


def inverse_diagonal(S: sparse.csc_array) -> NDArray:
    """Return the diagonal of the inverse of ``S = I - rho W``, to machine precision.

    With ``S = L U`` the entries of ``Z = S^-1`` at the non-zeros of ``L + U'`` need no others
    (Takahashi, Fagan & Chen 1973; Erisman & Tinney 1975). Going up from the last block J of
    columns, with I the rows below J in L,

        Z_IJ = -Z_II L_IJ L_JJ^-1,    Z_JI = -U_JJ^-1 U_JI Z_II,
        Z_JJ = (L_JJ U_JJ)^-1 - U_JJ^-1 U_JI Z_IJ,

    and Z_II is part of what is known of the block that I begins in. It takes a few times as
    long as a factorisation.

    Parameters
    ----------
    S : csc_array, shape (N, N)
        With a spectral radius of ``rho W`` below one, as :func:`factorize` needs it.

    Returns
    -------
    ndarray, shape (N,)

    Examples
    --------
    >>> S = sparse.csc_array(np.array([[1.0, -0.5, 0.0], [-0.5, 1.0, -0.5], [0.0, 0.0, 1.0]]))
    >>> inverse_diagonal(S)
    array([1.33333333, 1.33333333, 1.        ])
    """
    order, tree = _analysed(S)
    factor = factorize(sparse.csc_array(S[order][:, order]), "NATURAL")
    to = factor.perm_c  # as a rule the order that was given
    L, U = tree.dense(factor.L, to), tree.dense(factor.U.T, to)
    known: dict[int, NDArray] = {}
    diagonal = np.empty(S.shape[0])
    for k, columns, rows, up in tree.downwards():
        w = columns.stop - columns.start
        L_inverse = dtrtri(L[k][:, :w].T, lower=1, unitdiag=1)[0]
        U_inverse = dtrtri(U[k][:, :w])[0]
        Z = np.empty((rows.size, rows.size))
        Z[:w, :w] = U_inverse @ L_inverse
        if rows.size > w:
            where = np.searchsorted(tree.rows[up], rows[w:])
            Z_II = known[up][np.ix_(where, where)]
            right = U_inverse @ U[k][:, w:]
            Z[w:, w:] = Z_II
            Z[w:, :w] = -Z_II @ (L[k][:, w:].T @ L_inverse)
            Z[:w, w:] = -right @ Z_II
            Z[:w, :w] -= right @ Z[w:, :w]
        diagonal[order[columns]] = np.diagonal(Z)[:w]
        known[k] = Z
        for done in tree.last_use[k]:
            del known[done]
    return diagonal


@dataclass(frozen=True)
class _Tree:
    """Blocks of columns with (nearly) the same rows, in the order of elimination.

    Attributes
    ----------
    first : ndarray, shape (K + 1,)
        First column of every block.
    rows : list of K ndarrays
        Rows of a block: its columns, then those below.
    parent : list of int
        The block of the first row below; the block itself where there is none.
    last_use : list of K lists
        Which blocks are not needed any more, on the way down, after one is done.
    """

    first: NDArray
    rows: list[NDArray]
    parent: list[int]
    last_use: list[list[int]]

    def downwards(self) -> Iterator[tuple[int, slice, NDArray, int]]:
        """Yield number, columns, rows and parent of the blocks, the last first."""
        for k in progress(range(len(self.rows) - 1, -1, -1), "inverse of a sparse matrix"):
            yield k, slice(self.first[k], self.first[k + 1]), self.rows[k], self.parent[k]

    def dense(self, lower: sparse.csc_array, to: NDArray) -> list[NDArray]:
        """Return the columns of a lower triangle, block by block, a row each."""
        N = lower.shape[0]
        lower = sparse.coo_array(lower)
        inverse = np.argsort(to)
        i, j = inverse[lower.coords[0]], inverse[lower.coords[1]]
        sizes = np.array([rows.size for rows in self.rows])
        block = np.repeat(np.arange(sizes.size), np.diff(self.first))[j]
        keys = np.concatenate([rows + k * N for k, rows in enumerate(self.rows)])
        starts = np.concatenate([[0], np.cumsum(sizes * np.diff(self.first))])
        place = np.searchsorted(keys, block * N + i) - (np.cumsum(sizes) - sizes)[block]
        flat = np.zeros(starts[-1])
        flat[starts[block] + (j - self.first[block]) * sizes[block] + place] = lower.data
        return [
            flat[a:b].reshape(-1, size)
            for a, b, size in zip(starts[:-1], starts[1:], sizes, strict=True)
        ]


def _analysed(S: sparse.csc_array) -> tuple[NDArray, _Tree]:
    """Return an order of elimination and the blocks of the factors, from the pattern of S.

    The pattern of the factors is that of ``I - 0.99 A``, A the row-standardised links in
    either direction: all its entries below the diagonal are negative, so none cancels.
    """
    N = S.shape[0]
    off = sparse.csr_array(abs(S) + abs(S).T)
    off.setdiag(0.0)
    off.eliminate_zeros()
    off.data[:] = 0.99
    sums = np.maximum(off.sum(axis=1), 0.99)
    links = sparse.csc_array(sparse.eye_array(N) - sparse.diags_array(0.99 / sums) @ off)
    factor = factorize(links)
    lower = sparse.csc_array(factor.L)
    lower.sort_indices()
    below = [part[1:] for part in np.split(lower.indices, lower.indptr[1:-1])]  # no diagonal
    post = _postorder([int(part[0]) if part.size else N for part in below])
    new = np.argsort(post)
    below = [np.sort(new[below[j]]) for j in post]
    parent = [int(part[0]) if part.size else N for part in below]
    first = _blocks(parent, [part.size for part in below])
    last = first[1:] - 1
    rows = [
        np.concatenate([np.arange(a, z + 1), below[z]]) for a, z in zip(first, last, strict=False)
    ]
    of = np.repeat(np.arange(last.size), np.diff(first))
    up = [int(of[parent[z]]) if parent[z] < N else k for k, z in enumerate(last)]
    last_use: list[list[int]] = [[] for _ in up]
    seen: dict[int, int] = {}
    for k, p in enumerate(up):
        seen.setdefault(p, k)  # the lowest block that asks for p
        seen.setdefault(k, k)
    for p, k in seen.items():
        last_use[k].append(p)
    return np.argsort(factor.perm_c)[post], _Tree(first, rows, up, last_use)


def _postorder(parent: list[int]) -> NDArray:
    """Return the columns such that every subtree is contiguous and ends with its root."""
    N = len(parent)
    children: list[list[int]] = [[] for _ in range(N + 1)]
    for j, p in enumerate(parent):
        children[p].append(j)
    out, stack = [], [N]
    while stack:  # roots before their children, then turned around
        j = stack.pop()
        out.append(j)
        stack += children[j]
    return np.array(out[:0:-1])


def _blocks(parent: list[int], below: list[int]) -> NDArray:
    """Return the first column of every block, and N."""
    N = len(parent)
    size = [1] * (N + 1)
    for j, p in enumerate(parent):
        size[p] += size[j] if p < N else 0
    first, j = [], 0
    open_block = False
    while j < N:
        root = j
        while parent[root] < N and size[parent[root]] <= SUBTREE:
            root = parent[root]
        if size[root] <= SUBTREE:
            first.append(j)
            j, open_block = root + 1, False
            continue
        joins = open_block and parent[j - 1] == j and below[j] + 1 - below[j - 1] <= ZEROS
        if not joins:
            first.append(j)
        j, open_block = j + 1, True
    return np.array([*first, N])
