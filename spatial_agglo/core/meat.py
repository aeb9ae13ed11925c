"""Meats: the middle of every sandwich covariance, with the covariance of scores across units.

The score of rho (or lambda) in cell c = (unit, period) contains ``v_c (H v)_c / sigma2``. It is
a term of a quadratic form, so scores of *different* cells are correlated even when the errors
are independent, and a sum of outer products misses that. For cells c and d that a kernel holds
to be unrelated, with e ~ d and f ~ c meaning "related by the kernel",

    cov(s^a_c, s^b_d) = sum_{e ~ d, f ~ c} H^a_ce H^b_df E[v_c v_f] E[v_e v_d] / sigma2^2 :

each factor of one product pairs with a factor of the other. All other products of moments
vanish, as do those with the scores of beta and sigma2, so only the block of the spatial
parameters changes. `meat` adds what the kernel's outer products leave out ("mutual" below):

=================  =======================================================================
`Robust`           ``sum_{i != j, t} H^a_ij H^b_ji v_it^2 v_jt^2``
`Clustered`        ``sum_{g != h} A^a_gh A^b_hg``, ``A_gh = sum_{c in g, e in h} v_c H_ce v_e``;
                   by entity that is ``sum_{i != j} H^a_ij H^b_ji (sum_t v_it v_jt)^2``
`TwoWayClustered`  first + second - intersection, each with its own
`DriscollKraay`    nothing: a period's sum already holds every pair of units
`Conley`           ``sum_{t,s} k_ts sum_ij (1 - K_ij) (B^a_t K)_ij (B^b_s K)_ji``, with
                   ``B_t = diag(v_t) H diag(v_t)`` without its diagonal
=================  =======================================================================

Scores are centred on average over units, not unit by unit. Where units differ in variance, or
errors are correlated across them, the score of a unit has a mean, whose square enters sums over
T periods T^2 times: clusters by entity, alone or as one of two ways, are then conservative for
rho in long panels. With errors correlated across units the estimate of rho itself may be
inconsistent: the errors are those of the value that it converges to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from spatial_agglo.core.within import removes_entity, removes_time
from spatial_agglo.errors import DataError, IdentificationError, OptionError, check_option

#: Above this many units (Conley) or clusters no dense square array of them is made.
DENSE_LIMIT = 5_000
#: A scaled eigenvalue below minus this share of the largest is negative, not rounding.
NEGATIVE = 1e-9

Block: TypeAlias = tuple[slice, Sequence[NDArray], Sequence[NDArray]]
Blocks: TypeAlias = Callable[[], Iterable[Block]]


@dataclass(frozen=True)
class Robust:
    """Each cell by itself: heteroskedastic, independent errors (White 1980)."""


@dataclass(frozen=True, eq=False)
class Clustered:
    """Errors that are related in any way within clusters, and not between them.

    Attributes
    ----------
    labels : ndarray of int, shape (T, N)
        Cluster of every cell; what stands in unobserved cells is not read.
    """

    labels: NDArray


@dataclass(frozen=True, eq=False)
class TwoWayClustered:
    """Errors related within either of two partitions: ``V1 + V2 - V12``.

    Cameron, Gelbach & Miller (2011). Both ``labels`` are integers of shape (T, N).
    """

    first: NDArray
    second: NDArray


@dataclass(frozen=True)
class DriscollKraay:
    """Errors related between all units, fading over ``lags`` periods (many periods needed).

    ``sum_l k_l (Gamma_l + Gamma_l')`` of the period sums of scores with Bartlett weights
    ``k_l = 1 - l/(lags + 1)``; by default ``lags = floor(4 (T/100)^(2/9))``.
    Driscoll & Kraay (1998); Hoechle (2007) for the default.
    """

    lags: int | None = None


@dataclass(frozen=True, eq=False)
class Conley:
    """Errors related between near units, and over ``lags`` periods.

    The product ``s_it s_js`` counts ``K_ij k_ts``, with Bartlett weights
    ``k_ts = 1 - |t - s|/(lags + 1)``. With ``lagged="own"`` different periods are related
    within a unit only, as in the programs of Hsiang (2010).

    Attributes
    ----------
    K : ndarray or sparse array, shape (N, N)
        Weights of the kernel: symmetric, 1 on the diagonal, 0 beyond the cutoff.
    lags : int
    lagged : {"neighbours", "own"}
    """

    K: NDArray | sparse.csr_array
    lags: int = 0
    lagged: str = "neighbours"

    @classmethod
    def within(
        cls,
        distances: NDArray,
        cutoff: float,
        *,
        kernel: str = "uniform",
        lags: int = 0,
        lagged: str = "neighbours",
    ) -> Conley:
        """Make the kernel of a matrix of distances, (N, N), in the unit of ``cutoff``.

        "uniform": 1 up to and including the cutoff. "bartlett": ``1 - d/cutoff``. In the plane
        neither is sure to give a positive semi-definite meat; `meat` says so when it does not.

        Examples
        --------
        >>> import numpy as np
        >>> d = np.array([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]])
        >>> Conley.within(d, 2.0, kernel="bartlett").K.toarray()
        array([[1. , 0.5, 0. ],
               [0.5, 1. , 0. ],
               [0. , 0. , 1. ]])
        """
        check_option("kernel", kernel, ("uniform", "bartlett"))
        if not cutoff > 0:
            raise OptionError(f"cutoff={cutoff!r} must be a distance above 0.")
        d = np.asarray(distances, dtype=float)
        K = (d <= cutoff) * 1.0 if kernel == "uniform" else np.clip(1.0 - d / cutoff, 0.0, None)
        return cls(sparse.csr_array(K), lags, lagged)


Kernel: TypeAlias = Robust | Clustered | TwoWayClustered | DriscollKraay | Conley


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
    """

    positions: tuple[int, ...]
    sigma2: float
    blocks: tuple[Blocks, ...]

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


@dataclass(frozen=True)
class Meat:
    """The middle of a sandwich.

    Attributes
    ----------
    matrix : ndarray, shape (p, p)
        With the small-sample factor.
    factor : float
        That factor.
    clusters : int or None
        (Smallest) number of clusters or, for Driscoll-Kraay, periods: fewer restrictions than
        this can be tested jointly.
    notes : tuple of str
        What the reader of the result must know.
    """

    matrix: NDArray
    factor: float
    clusters: int | None = None
    notes: tuple[str, ...] = ()


def meat(
    kernel: Kernel,
    s: NDArray,
    v: NDArray,
    couplings: Couplings | None = None,
    *,
    effects: str = "none",
    observed: NDArray | None = None,
) -> Meat:
    """Return the covariance of the summed scores ``sum_it s_it`` under a kernel.

    ``sum_{c,d} K_cd s_c s_d'`` plus the mutual terms of the module's introduction, times a
    small-sample factor. With n observed cells and m the number of constants of those
    ``effects`` (N, T, or N + T - 1) that are not constant within a cluster:

    - `Robust`, `Conley`: ``n / (n - m)``, that is T/(T-1) with entity effects, N/(N-1) with
      time effects, their product with both, as residuals are that much smaller than errors;
    - `Clustered`: the larger of ``G / (G - 1)`` and ``n / (n - m)``;
    - `TwoWayClustered`: the same with the smaller G, for all three terms;
    - `DriscollKraay`: as clustered by period, ``T / (T - 1)``.

    Parameters
    ----------
    kernel : Robust, Clustered, TwoWayClustered, DriscollKraay or Conley
    s : ndarray, shape (T, N, p)
        Scores; zero in unobserved cells.
    v : ndarray, shape (T, N)
        Innovations; zero in unobserved cells.
    couplings : Couplings, optional
        For models with rho or lambda.
    effects : {"none", "entity", "time", "two-way"}
        What was projected out of the data.
    observed : ndarray of bool, shape (T, N), optional
        All cells by default.

    Raises
    ------
    DataError
        A score or an innovation is not finite, or not zero where nothing was observed.
    OptionError
        Labels, lags or weights of the kernel cannot be used.

    Notes
    -----
    When mutual terms, the subtraction of two-way clustering or a Conley kernel leave a negative
    eigenvalue, it is set to zero, as Cameron, Gelbach & Miller (2011) do, and ``notes`` says so.

    References
    ----------
    Kelejian & Prucha (2001) for the variance of quadratic forms; Cameron, Gelbach & Miller
    (2011); Driscoll & Kraay (1998); Conley (1999).

    Examples
    --------
    >>> import numpy as np
    >>> s = np.array([[[1.0], [2.0]], [[-1.0], [-2.0]], [[1.0], [-1.0]]])  # T = 3, N = 2
    >>> meat(Robust(), s, s[:, :, 0]).matrix
    array([[12.]])
    >>> found = meat(Clustered(entity_labels(3, 2)), s, s[:, :, 0])
    >>> found.matrix, found.factor  # ((1 - 1 + 1)^2 + (2 - 2 - 1)^2) * 2/1
    (array([[4.]]), 2.0)
    """
    raw = _assemble(kernel, s, v, couplings, effects, observed)
    scale = np.sqrt(np.einsum("tni,tni->i", s, s))
    scale[scale == 0.0] = 1.0
    values, vectors = np.linalg.eigh(raw.matrix / np.outer(scale, scale))
    if values[0] >= -NEGATIVE * max(values[-1], 0.0):
        return raw
    repaired = (vectors * np.clip(values, 0.0, None)) @ vectors.T * np.outer(scale, scale)
    note = (
        "the middle of the sandwich was not positive semi-definite (eigenvalue "
        f"{values[0] / np.abs(values).max():.1e} of the largest): negative eigenvalues were set "
        "to zero (Cameron, Gelbach & Miller 2011)"
    )
    return replace(raw, matrix=repaired, notes=(*raw.notes, note))


def opg(
    s: NDArray,
    v: NDArray,
    couplings: Couplings | None = None,
    *,
    effects: str = "none",
    observed: NDArray | None = None,
) -> NDArray:
    """Return the covariance of the estimates by the outer product of gradients, (p, p).

    The inverse of the `Robust` meat, mutual terms and factor included: without them the sum of
    ``s s'`` estimates ``tr(H'H)`` where the information of rho has ``tr(HH) + tr(H'H)``, and
    the information equality would fail. Arguments as for `meat`.

    Raises
    ------
    IdentificationError
        The outer product is not positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> s = np.array([[[1.0], [2.0]], [[-1.0], [-2.0]]])
    >>> opg(s, s[:, :, 0])
    array([[0.1]])
    """
    info = _assemble(Robust(), s, v, couplings, effects, observed).matrix
    scale = np.sqrt(np.abs(np.diag(info)))
    if not np.all(scale > 0.0):
        raise IdentificationError(
            "cov='opg': the scores of a parameter are all zero. Use cov='observed'."
        )
    R = info / np.outer(scale, scale)
    smallest = float(np.linalg.eigvalsh(R)[0])
    if not smallest > 1e-13:
        raise IdentificationError(
            "cov='opg': the outer product of the scores is not positive definite (smallest "
            f"eigenvalue of its correlation form: {smallest:.2e}); there must be many more cells "
            "than parameters. Use cov='observed'."
        )
    inverse = np.linalg.inv(R) / np.outer(scale, scale)
    return 0.5 * (inverse + inverse.T)


def entity_labels(T: int, N: int) -> NDArray:
    """Return the labels, (T, N), of clustering by entity."""
    return np.broadcast_to(np.arange(N), (T, N))


def time_labels(T: int, N: int) -> NDArray:
    """Return the labels, (T, N), of clustering by period."""
    return np.broadcast_to(np.arange(T)[:, None], (T, N))


def default_lags(T: int) -> int:
    """Return ``floor(4 (T/100)^(2/9))``, at most T - 1.

    Examples
    --------
    >>> default_lags(30), default_lags(100)
    (3, 4)
    """
    return min(int(np.floor(4.0 * (T / 100.0) ** (2.0 / 9.0))), T - 1)


def _assemble(
    kernel: Kernel,
    s: NDArray,
    v: NDArray,
    couplings: Couplings | None,
    effects: str,
    observed: NDArray | None,
) -> Meat:
    """Return the meat before any repair."""
    T, N, _ = s.shape
    seen = _checked(s, v, observed)
    effects_lost = _Lost(effects, seen)

    def clustered(labels: NDArray) -> NDArray:
        total = _outer(labels, s)
        if couplings is not None:
            _add(total, couplings, _mutual_clusters(labels, v, couplings))
        return total

    match kernel:
        case Robust():
            own = np.where(seen, np.arange(T * N).reshape(T, N), -1)
            factor = effects_lost.factor([])
            return Meat(clustered(own) * factor, factor)
        case Clustered():
            labels, G = _labels(kernel.labels, seen)
            factor = max(G / (G - 1), effects_lost.factor([labels]))
            return Meat(clustered(labels) * factor, factor, G, _few(G, s.shape[2], "clusters"))
        case TwoWayClustered():
            one, G1 = _labels(kernel.first, seen)
            two, G2 = _labels(kernel.second, seen)
            both = np.where(seen, one * (two.max() + 1) + two, -1)
            both, _ = _labels(both, seen)
            G = min(G1, G2)
            factor = max(G / (G - 1), effects_lost.factor([one, two]))
            total = clustered(one) + clustered(two) - clustered(both)
            return Meat(total * factor, factor, G, _few(G, s.shape[2], "clusters"))
        case DriscollKraay():
            lags = default_lags(T) if kernel.lags is None else _lags(kernel.lags, T)
            labels, G = _labels(time_labels(T, N), seen)
            factor = max(G / (G - 1), effects_lost.factor([labels]))
            sums = s.sum(axis=1)
            total = sums.T @ _taper(T, lags) @ sums
            notes = (f"Driscoll-Kraay with {lags} lags", *_few(G, s.shape[2], "periods"))
            return Meat(total * factor, factor, G, notes)
        case Conley():
            K = _kernel_weights(kernel, N)
            lags = _lags(kernel.lags, T)
            total = _outer_conley(K, lags, kernel.lagged, s)
            if couplings is not None:
                _add(total, couplings, _mutual_conley(K, lags, kernel.lagged, v, couplings))
            factor = effects_lost.factor([])
            return Meat(total * factor, factor)
    raise OptionError(
        "The kernel must be Robust, Clustered, TwoWayClustered, DriscollKraay or Conley; got "
        f"{type(kernel).__name__}."
    )


def _checked(s: NDArray, v: NDArray, observed: NDArray | None) -> NDArray:
    """Return the mask of observed cells; raise for values that cannot be scores."""
    if v.shape != s.shape[:2] or (observed is not None and observed.shape != v.shape):
        raise DataError(
            f"Scores (T, N, p), innovations (T, N) and mask (T, N) must fit; got {s.shape}, "
            f"{v.shape} and {None if observed is None else observed.shape}."
        )
    if not (np.isfinite(s).all() and np.isfinite(v).all()):
        raise DataError("Scores and innovations must be finite; there are NaN or infinite ones.")
    seen = np.ones(v.shape, dtype=bool) if observed is None else observed.astype(bool)
    if np.any(s[~seen]) or np.any(v[~seen]):
        raise DataError("Scores and innovations must be zero in cells that were not observed.")
    return seen


@dataclass(frozen=True)
class _Lost:
    """Degrees of freedom that effects take from the residuals."""

    effects: str
    seen: NDArray

    def factor(self, partitions: list[NDArray]) -> float:
        """Return ``n / (n - m)``; constants within a cluster of any partition cost nothing."""
        n = int(self.seen.sum())
        entity = removes_entity(self.effects) and not any(map(self._within_units, partitions))
        time = removes_time(self.effects) and not any(map(self._within_periods, partitions))
        m = entity * int(self.seen.any(axis=0).sum()) + time * int(self.seen.any(axis=1).sum())
        m -= entity and time
        if n <= m:
            raise IdentificationError(
                f"{m} effects cannot be told from {n} cells: no residual variance is left."
            )
        return n / (n - m)

    def _within_periods(self, labels: NDArray) -> bool:
        return _constant(labels, self.seen)

    def _within_units(self, labels: NDArray) -> bool:
        return _constant(labels.T, self.seen.T)


def _constant(labels: NDArray, seen: NDArray) -> bool:
    """Tell whether the observed labels of every row are the same."""
    largest = np.where(seen, labels, -1).max(axis=1)
    return bool(np.all(~seen | (labels == largest[:, None])))


def _labels(labels: NDArray, seen: NDArray) -> tuple[NDArray, int]:
    """Renumber the clusters 0..G-1, with -1 where nothing was observed."""
    labels = np.asarray(labels)
    if labels.shape != seen.shape or not np.issubdtype(labels.dtype, np.integer):
        raise OptionError(
            f"Cluster labels must be integers of shape {seen.shape}; got {labels.dtype} of shape "
            f"{labels.shape}."
        )
    names, numbers = np.unique(labels[seen], return_inverse=True)
    if names.size < 2:
        raise OptionError("All observed cells are in one cluster; at least two are needed.")
    out = np.full(seen.shape, -1)
    out[seen] = numbers
    return out, int(names.size)


def _few(G: int, p: int, what: str) -> tuple[str, ...]:
    if p < G:
        return ()
    return (
        f"only {G} {what} for {p} parameters: fewer than {G} restrictions can be tested jointly",
    )


def _lags(lags: int, T: int) -> int:
    if not isinstance(lags, int | np.integer) or not 0 <= lags < T:
        raise OptionError(f"lags={lags!r} must be a whole number from 0 to T - 1 = {T - 1}.")
    return int(lags)


def _kernel_weights(kernel: Conley, N: int) -> sparse.csr_array:
    check_option("lagged", kernel.lagged, ("neighbours", "own"))
    K = sparse.csr_array(kernel.K)
    if K.shape != (N, N) or abs(K - K.T).sum() > 1e-10 * N or not np.allclose(K.diagonal(), 1.0):
        raise OptionError(
            f"The kernel weights K must be a symmetric ({N}, {N}) matrix with ones on the "
            f"diagonal; got shape {K.shape}."
        )
    return K


def _taper(T: int, lags: int) -> NDArray:
    """Return the Bartlett weights ``k_ts``, (T, T)."""
    apart = np.abs(np.subtract.outer(np.arange(T), np.arange(T)))
    return np.clip(1.0 - apart / (lags + 1.0), 0.0, None)


def _add(total: NDArray, couplings: Couplings, mutual: NDArray) -> None:
    at = np.ix_(couplings.positions, couplings.positions)
    total[at] += mutual / couplings.sigma2**2


def _outer(labels: NDArray, s: NDArray) -> NDArray:
    """Sum the scores by cluster, then their outer products."""
    seen = labels >= 0
    flat, numbers = s[seen], labels[seen]
    sums = _members(numbers, int(numbers.max()) + 1).T @ flat
    return sums.T @ sums


def _members(numbers: NDArray, G: int) -> sparse.csr_array:
    """Return the 0/1 matrix, (n, G), of who is in which cluster; -1 is in none."""
    rows = np.flatnonzero(numbers >= 0)
    ones = np.ones(rows.size)
    return sparse.csr_array((ones, (rows, numbers[rows])), shape=(numbers.size, G))


def _outer_conley(K: sparse.csr_array, lags: int, lagged: str, s: NDArray) -> NDArray:
    T, N, p = s.shape
    flat = s.transpose(1, 0, 2).reshape(N, T * p)
    near = (K @ flat).reshape(N, T, p).transpose(1, 0, 2)
    taper = _taper(T, lags)
    if lagged == "own":
        total = np.einsum("tni,tnj->ij", s, near)
        return total + np.einsum("tni,ts,snj->ij", s, taper - np.eye(T), s, optimize=True)
    return np.einsum("tni,ts,snj->ij", s, taper, near, optimize=True)


def _mutual_clusters(labels: NDArray, v: NDArray, couplings: Couplings) -> NDArray:
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
            members = _members(pattern[1:], G)
            joint[pattern[0]].append((periods[np.ravel(which) == j], sums[-1], members))
    for m, blocks in enumerate(matrices):
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


def _mutual_conley(
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
    taper = _taper(T, lags)
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


def _smooth(B: NDArray, kernel: sparse.csr_array) -> NDArray:
    return np.stack([np.asarray(part @ kernel) for part in B])
