"""Meats: the middle of every sandwich covariance, with the covariance of scores across units.

Outer products of scores within what a kernel relates, plus the mutual terms of
:mod:`spatial_agglo.core.mutual` for rho and lambda.

Scores are centred on average over units, not unit by unit. Where units differ in variance, or
errors are correlated across them, the score of a unit has a mean, whose square enters sums over
T periods T^2 times: clusters by entity, alone or as one of two ways, are then conservative for
rho in long panels. With errors correlated across units the estimate of rho itself may be
inconsistent: the errors are those of the value that it converges to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core.kernels import (
    Clustered,
    Conley,
    DriscollKraay,
    Kernel,
    Robust,
    TwoWayClustered,
    bartlett,
    default_lags,
    time_labels,
)
from spatial_agglo.core.mutual import Couplings, membership, mutual_clusters, mutual_conley
from spatial_agglo.core.within import removes_entity, removes_time
from spatial_agglo.errors import DataError, IdentificationError, OptionError, check_option

#: A scaled eigenvalue below minus this share of the largest is negative, not rounding.
NEGATIVE = 1e-9
#: With fewer periods Driscoll-Kraay errors are too small (docs/simulations.md has T = 40).
SHORT = 20
#: Sums of scores with a square below this share of the sum of squares are rounding.
VANISHED = 1e-20


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
    - `DriscollKraay`: ``T / (T - k)``, ``k = sum_ts k_ts / T`` (about ``lags + 1``), which is the
      ``T / (T - 1)`` of clusters by period when there are no lags.

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
    IdentificationError
        The scores sum to zero in every cluster.
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
    >>> from spatial_agglo.core.kernels import entity_labels
    >>> s = np.array([[[1.0], [2.0]], [[-1.0], [-2.0]], [[1.0], [-1.0]]])  # T = 3, N = 2
    >>> meat(Robust(), s, s[:, :, 0]).matrix
    array([[12.]])
    >>> found = meat(Clustered(entity_labels(3, 2)), s, s[:, :, 0])
    >>> found.matrix, found.factor  # ((1 - 1 + 1)^2 + (2 - 2 - 1)^2) * 2/1
    (array([[4.]]), 2.0)
    """
    raw = _assemble(kernel, s, v, couplings, effects, observed)
    scale = np.sqrt(np.einsum("tni,tni->i", s, s))
    if np.any(np.abs(np.diag(raw.matrix))[scale > 0] <= VANISHED * scale[scale > 0] ** 2):
        raise IdentificationError(
            "The scores sum to zero in every cluster, whatever the data, so there is no covariance "
            "to estimate: that is so with two periods, or two units, once fixed effects are "
            "removed. Cluster by something with more groups, or use cov='robust'."
        )
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
            _add(total, couplings, mutual_clusters(labels, v, couplings))
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
            taper, sums = bartlett(T, lags), s.sum(axis=1)
            there = seen.any(axis=1)
            factor = max(_of_zero_sums(taper[np.ix_(there, there)]), effects_lost.factor([labels]))
            total = sums.T @ taper @ sums
            notes = (f"Driscoll-Kraay with {lags} lags", *_few(G, s.shape[2], "periods"))
            if G < SHORT:
                notes += (
                    f"only {G} periods, which Driscoll-Kraay errors are an average of: they are "
                    "too small, and tests reject too often",
                )
            return Meat(total * factor, factor, G, notes)
        case Conley():
            K = _kernel_weights(kernel, N)
            lags = _lags(kernel.lags, T)
            total = _outer_conley(K, lags, kernel.lagged, s)
            if couplings is not None:
                _add(total, couplings, mutual_conley(K, lags, kernel.lagged, v, couplings))
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


def _of_zero_sums(taper: NDArray) -> float:
    """Return ``G / (G - 1'K1/G)`` for the (G, G) weights K of G sums that add up to zero.

    Scores do so at the estimate. Independent sums less their mean have ``sum k_ts g_t g_s`` equal
    to ``tr(K) - 1'K1/G`` variances on average, where it ought to be G.
    """
    G = len(taper)
    return float(G / (G - taper.sum() / G))


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


def _add(total: NDArray, couplings: Couplings, mutual: NDArray) -> None:
    at = np.ix_(couplings.positions, couplings.positions)
    total[at] += mutual / couplings.sigma2**2


def _outer(labels: NDArray, s: NDArray) -> NDArray:
    """Sum the scores by cluster, then their outer products."""
    seen = labels >= 0
    flat, numbers = s[seen], labels[seen]
    sums = membership(numbers, int(numbers.max()) + 1).T @ flat
    return sums.T @ sums


def _outer_conley(K: sparse.csr_array, lags: int, lagged: str, s: NDArray) -> NDArray:
    T, N, p = s.shape
    flat = s.transpose(1, 0, 2).reshape(N, T * p)
    near = (K @ flat).reshape(N, T, p).transpose(1, 0, 2)
    taper = bartlett(T, lags)
    if lagged == "own":
        total = np.einsum("tni,tnj->ij", s, near)
        return total + np.einsum("tni,ts,snj->ij", s, taper - np.eye(T), s, optimize=True)
    return np.einsum("tni,ts,snj->ij", s, taper, near, optimize=True)
