"""Mutual terms: the covariance of the scores of rho and lambda across unrelated cells.

The score of rho (or lambda) in cell c = (unit, period) contains ``v_c (H v)_c / sigma2``. It is
a term of a quadratic form, so scores of *different* cells are correlated even when the errors
are independent, and a sum of outer products misses that. For cells c and d that a kernel holds
to be unrelated, with e ~ d and f ~ c meaning "related by the kernel",

    cov(s^a_c, s^b_d) = sum_{e ~ d, f ~ c} H^a_ce H^b_df E[v_c v_f] E[v_e v_d] / sigma2^2 :

each factor of one product pairs with a factor of the other. All other products of moments
vanish, as do those with the scores of beta and sigma2, so only the block of the spatial
parameters changes. These are the terms, over ``sigma2^2``, that outer products leave out:

=================  =======================================================================
`Robust`           ``sum_{i != j, t} H^a_ij H^b_ji v_it^2 v_jt^2``
`Clustered`        ``sum_{g != h} A^a_gh A^b_hg``, ``A_gh = sum_{c in g, e in h} v_c H_ce v_e``;
                   by entity that is ``sum_{i != j} H^a_ij H^b_ji (sum_t v_it v_jt)^2``
`TwoWayClustered`  first + second - intersection, each with its own
`DriscollKraay`    nothing: a period's sum already holds every pair of units
`Conley`           ``sum_{t,s} k_ts sum_ij (1 - K_ij) (B^a_t K)_ij (B^b_s K)_ji``, with
                   ``B_t = diag(v_t) H diag(v_t)`` without its diagonal
=================  =======================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from spatial_agglo.core.kernels import bartlett
from spatial_agglo.errors import OptionError

#: Above this many units (Conley) or clusters no dense square array of them is made.
DENSE_LIMIT = 5_000
#: Units per row of Q from which on sums over pairs are faster than blocks (measured).
UNITS_PER_SUM = 500

Block: TypeAlias = tuple[slice, Sequence[NDArray], Sequence[NDArray]]
Blocks: TypeAlias = Callable[[], Iterable[Block]]
Pairs: TypeAlias = Callable[[NDArray], NDArray]


@dataclass(frozen=True)
class Couplings:
    """The matrices H of the spatial parameters, ``v_it (H v_t)_i`` in the score of each.

    Attributes
    ----------
    positions : tuple of int
        Place of each spatial parameter among the p columns of the scores.
    sigma2 : float
    blocks : tuple of callables
        One for all periods, or one per period. A call returns a fresh iterable of
        ``(block, [H_a[:, block] for a], [H_a[block, :].T for a])`` over slices of units, each
        array (N, b). A period's H is N x N also when units are missing in it (those rows and
        columns are not used). Periods with the same object share the work.
    pairs : tuple of callables or None, optional
        Parallel to ``blocks``, for one spatial parameter: ``Q -> sum_{i != j} H_ij H_ji q_i q_j``
        for every row q of Q, (m, N), without going through all blocks.
    """

    positions: tuple[int, ...]
    sigma2: float
    blocks: tuple[Blocks, ...]
    pairs: tuple[Pairs | None, ...] = ()

    @classmethod
    def dense(cls, H: NDArray, positions: Sequence[int], sigma2: float) -> Couplings:
        """Take H as an array: (a, N, N) for all periods, or (T, a, N, N)."""

        def whole(matrices: NDArray) -> Blocks:
            full = slice(0, matrices.shape[-1])
            return lambda: [(full, list(matrices), [h.T for h in matrices])]

        stack = H if H.ndim == 4 else H[None]
        return cls(tuple(positions), sigma2, tuple(whole(matrices) for matrices in stack))

    def which(self, T: int) -> tuple[list[Blocks], NDArray]:
        """Return the distinct matrices and the number, (T,), of the one that a period has."""
        if len(self.blocks) not in (1, T):
            raise OptionError(
                f"There must be one coupling matrix for all periods, or one for each of the {T}; "
                f"got {len(self.blocks)}."
            )
        distinct = list({id(blocks): blocks for blocks in self.blocks}.values())
        number = {id(blocks): m for m, blocks in enumerate(distinct)}
        found = np.array([number[id(blocks)] for blocks in self.blocks])
        return distinct, np.broadcast_to(found, (T,))


def mutual_clusters(labels: NDArray, v: NDArray, couplings: Couplings) -> NDArray:
    """Return ``sum_{g != h} A^a_gh A^b_hg`` for every pair of spatial parameters.

    Periods that share no cluster are summed apart. Where every cluster is one unit, and H does
    not change, ``A_ij = H_ij sum_t v_it v_jt`` and blocks suffice; else A is accumulated.
    """
    T, N = v.shape
    matrices, number = couplings.which(T)
    a = range(len(couplings.positions))
    out = np.zeros((len(a), len(a)))
    single: list[list[NDArray]] = [[] for _ in matrices]
    joint: list[list[tuple[NDArray, NDArray, sparse.csr_array]]] = [[] for _ in matrices]
    sums: list[NDArray] = []
    for periods in _linked(labels):
        names, found = np.unique(labels[periods], return_inverse=True)
        own = np.where(names[0] < 0, found - 1, found).reshape(periods.size, N)
        G = int(own.max()) + 1
        if G < 2:
            continue
        used = np.unique(number[periods])
        if used.size == 1 and _single(own):
            single[used[0]].append(periods)
            continue
        if G > DENSE_LIMIT:
            raise OptionError(
                f"{G} clusters that are linked through common periods (or weights that change "
                f"over time) need {G} x {G} arrays; at most {DENSE_LIMIT} are done. Use larger "
                "clusters."
            )
        sums.append(np.zeros((len(a), G, G)))
        patterns, which = np.unique(
            np.column_stack([number[periods], own]), axis=0, return_inverse=True
        )
        for j, pattern in enumerate(patterns):
            members = membership(pattern[1:], G)
            joint[pattern[0]].append((periods[np.ravel(which) == j], sums[-1], members))
    for m, blocks in enumerate(matrices):
        pairs = couplings.pairs[couplings.blocks.index(blocks)] if couplings.pairs else None
        if single[m] and not joint[m] and pairs is not None:
            count = sum(periods.size * (periods.size + 1) // 2 for periods in single[m])
            if count * UNITS_PER_SUM <= N:
                out[0, 0] += _by_pairs(v, single[m], pairs)
                continue
        if not (single[m] or joint[m]):
            continue
        for block, columns, rows in blocks():
            if single[m]:
                c = _pairs(v, single[m], block)
                for i in a:
                    for j in a:
                        out[i, j] += np.einsum("ij,ij,ij->", columns[i], rows[j], c)
            for periods, A, members in joint[m]:
                c = v[periods].T @ v[periods, block]
                for i in a:
                    A[i] += members.T @ (columns[i] * c) @ members[block]
    for A in sums:
        A[:, np.arange(A.shape[1]), np.arange(A.shape[1])] = 0.0
        out += np.einsum("agh,bhg->ab", A, A)
    return out


def _by_pairs(v: NDArray, parts: list[NDArray], pairs: Pairs) -> float:
    """Sum ``H_ij H_ji (sum_t v_it v_jt)^2`` over the parts: the square is one of products."""
    rows, times = [], []
    for periods in parts:
        for k, t in enumerate(periods):
            for s in periods[k:]:
                rows.append(v[t] * v[s])
                times.append(1.0 if s == t else 2.0)
    return float(np.array(times) @ pairs(np.array(rows)))


def mutual_conley(
    K: sparse.csr_array, lags: int, lagged: str, v: NDArray, couplings: Couplings
) -> NDArray:
    """Return ``sum_ts k_ts sum_ij (1 - K_ij) (B^a_t K)_ij (B^b_s K)_ji``.

    Smoothing by K stands for the covariances of near errors. Without it the term is right for
    independent errors only; with the diagonal of B, means of products would enter.
    """
    T, N = v.shape
    if N > DENSE_LIMIT:
        raise OptionError(
            f"Conley's covariance with rho or lambda needs {N} x {N} arrays; at most "
            f"{DENSE_LIMIT} units are done. Use clusters of regions."
        )
    matrices, number = couplings.which(T)
    H = np.empty((len(matrices), len(couplings.positions), N, N))
    for m, blocks in enumerate(matrices):
        for block, columns, _ in blocks():
            for position, part in enumerate(columns):
                H[m, position, :, block] = part
    H[:, :, np.arange(N), np.arange(N)] = 0.0
    taper = bartlett(T, lags)
    terms = [(taper, K)]
    if lagged == "own":
        terms = [(np.eye(T), K), (taper - np.eye(T), sparse.eye_array(N, format="csr"))]
    a = range(len(couplings.positions))
    out = np.zeros((len(a), len(a)))
    for weights, kernel in terms:
        far = 1.0 - kernel.toarray()
        for t in range(T):
            others = np.flatnonzero(weights[t])
            if others.size == 0:
                continue
            left = _smooth(H[number[t]] * np.outer(v[t], v[t]), kernel)
            right = left
            if not np.array_equal(others, [t]):
                total = np.zeros_like(left)
                for m in np.unique(number[others]):
                    at = others[number[others] == m]
                    total += H[m] * (v[at].T @ (weights[t, at, None] * v[at]))
                right = _smooth(total, kernel)
            for i in a:
                for j in a:
                    out[i, j] += np.einsum("ij,ij,ij->", left[i], right[j].T, far)
    return out


def membership(numbers: NDArray, G: int) -> sparse.csr_array:
    """Return the 0/1 matrix, (n, G), of who is in which cluster; -1 is in none."""
    rows = np.flatnonzero(numbers >= 0)
    ones = np.ones(rows.size)
    return sparse.csr_array((ones, (rows, numbers[rows])), shape=(numbers.size, G))


def _linked(labels: NDArray) -> list[NDArray]:
    """Group the periods that are linked by common clusters."""
    T = labels.shape[0]
    periods, units = np.nonzero(labels >= 0)
    numbers = labels[periods, units]
    G = int(numbers.max()) + 1
    graph = sparse.csr_array((np.ones(numbers.size), (periods, T + numbers)), shape=(T + G, T + G))
    part = csgraph.connected_components(graph, directed=False)[1][:T]
    return [np.flatnonzero(part == k) for k in np.unique(part)]


def _single(own: NDArray) -> bool:
    """Tell whether every cluster is one unit and every unit one cluster."""
    periods, units = np.nonzero(own >= 0)
    pairs = np.unique(np.column_stack([own[periods, units], units]), axis=0)
    return bool(np.unique(pairs[:, 0]).size == pairs.shape[0] == np.unique(pairs[:, 1]).size)


def _pairs(v: NDArray, parts: list[NDArray], block: slice) -> NDArray:
    """Return ``sum over parts of (sum_t v_it v_jt)^2`` for j in a block, 0 where i = j."""
    alone = np.concatenate([[], *(p for p in parts if p.size == 1)]).astype(int)
    square = v[alone] ** 2
    c = square.T @ square[:, block]
    for periods in parts:
        if periods.size > 1:
            c += (v[periods].T @ v[periods, block]) ** 2
    c[np.arange(block.start, block.stop), np.arange(c.shape[1])] = 0.0
    return c


def _smooth(B: NDArray, kernel: sparse.csr_array) -> NDArray:
    return np.stack([np.asarray(part @ kernel) for part in B])
