"""What a matrix is like: its links, symmetry, components and space of rho; and two compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from spatial_agglo.core.logdet import Spectrum, symmetrize
from spatial_agglo.core.moments import lag
from spatial_agglo.errors import AlignmentError, DataError, OptionError, WeightsError, listing
from spatial_agglo.panel import Panel, numeric
from spatial_agglo.weights.labels import as_labels
from spatial_agglo.weights.matrix import SpatialWeights, as_weights
from spatial_agglo.weights.panel_weights import PanelWeights

#: Units up to which the parameter space of rho is computed; above, a bound is given.
EXACT_UNITS = 1_000
#: Relative difference up to which numbers count as equal.
EQUAL = 1e-10


@dataclass(frozen=True, eq=False, repr=False)
class WeightsSummary:
    """What a matrix is like. Made by :func:`summary`.

    Attributes
    ----------
    units, links : int
        N, and the number of non-zero weights (a pair of mutual neighbours counts twice).
    share_nonzero : float
        ``links / N**2``; its sparsity is one minus this.
    neighbours_min, neighbours_mean, neighbours_median, neighbours_max : int or float
        Of the number of non-zeros in a row.
    fewest, most, isolates : Index
        The units with the least and the most neighbours, and those with none.
    symmetric_structure, symmetric_values : bool
        Whether neighbours are mutual; whether their weights agree too.
    similar_to_symmetric : bool
        Whether a diagonal scaling makes W symmetric, so that its eigenvalues are real. It does
        where W is a row-standardised symmetric matrix.
    components, component_sizes : int, tuple of int
        The parts that no link joins, whatever its direction; the largest first.
    standardization, description, formula, meaning : str
        As in :class:`SpatialWeights`.
    row_sum_min, row_sum_max : float
    rho_min, rho_max : float
        Open interval of rho around zero on which ``I - rho W`` is non-singular.
    rho_exact, rho_note : bool, str
        False where an end is only a bound, beyond which ``I - rho W`` may be non-singular too;
        and which end it is, and why.
    """

    units: int
    links: int
    share_nonzero: float
    neighbours_min: int
    neighbours_mean: float
    neighbours_median: float
    neighbours_max: int
    fewest: pd.Index
    most: pd.Index
    symmetric_structure: bool
    symmetric_values: bool
    similar_to_symmetric: bool
    components: int
    component_sizes: tuple[int, ...]
    isolates: pd.Index
    standardization: str
    row_sum_min: float
    row_sum_max: float
    rho_min: float
    rho_max: float
    rho_exact: bool
    rho_note: str
    description: str
    formula: str
    meaning: str

    def to_frame(self) -> pd.DataFrame:
        """Return one row per attribute, in a column ``value``; lists of units as text."""
        return pd.DataFrame({"value": pd.Series(self._cells(), dtype=object)})

    def _cells(self) -> dict[str, Any]:
        cells = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: listing(value) if isinstance(value, (pd.Index, tuple)) else value
            for name, value in cells.items()
        }

    def __repr__(self) -> str:
        yes = ("no", "yes")
        lines = {
            "units": f"{self.units:,}",
            "links": f"{self.links:,} ({100 * self.share_nonzero:.3g}% of all cells)",
            "neighbours": f"{self.neighbours_min:,} to {self.neighbours_max:,}, mean "
            f"{self.neighbours_mean:.2f}, median {self.neighbours_median:g}",
            "  fewest": listing(self.fewest, 4),
            "  most": listing(self.most, 4),
            "isolates": f"{n:,}: {listing(self.isolates)}" if (n := self.isolates.size) else "none",
            "components": f"{self.components:,}, of {listing(self.component_sizes)} units",
            "symmetric": f"links {yes[self.symmetric_structure]}, "
            f"weights {yes[self.symmetric_values]}, after scaling {yes[self.similar_to_symmetric]}",
            "standardization": self.standardization,
            "row sums": f"{self.row_sum_min:.4g} to {self.row_sum_max:.4g}",
            "rho": f"{self.rho_min:.4g} to {self.rho_max:.4g} ({self.rho_note})",
            "formula": self.formula,
            "meaning": self.meaning,
        }
        if self.neighbours_min == self.neighbours_max:
            lines |= {"neighbours": f"{self.neighbours_min:,} each", "  fewest": "", "  most": ""}
        body = [f"  {name:<17}{text}".rstrip() for name, text in lines.items() if text]
        return "\n".join([f"Weights: {self.description}", *body])


def summary(W: Any) -> WeightsSummary | pd.DataFrame:
    """Describe weights: links, symmetry, components, and the parameter space of rho.

    Parameters
    ----------
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
        Nothing dense is formed for a sparse matrix.

    Returns
    -------
    WeightsSummary
        Prints as text; ``.to_frame()`` is a table. For PanelWeights a DataFrame instead: one
        row per period, the attributes in columns.

    Raises
    ------
    WeightsError
        ``W`` is not weights, or has no labels.

    Notes
    -----
    The interval of rho is that of ``W.logdet`` for at most 1,000 units. For more it is
    ``(-1/r, 1/r)``: r is the largest modulus of the eigenvalues where that is known without
    computing them (1 for row-standardised W), else its bound, the smaller of the largest row
    and column sum (Kelejian & Prucha 2010, Journal of Econometrics 157, 53-67).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> found = summary(sa.datasets.weights("us_production_queen").standardize("row"))
    >>> found.links, found.components, found.fewest.tolist()
    (214, 1, ['Maine'])
    >>> round(found.rho_min, 3), found.rho_max, found.rho_exact
    (-1.392, 1.0, True)
    >>> found.to_frame().loc["neighbours_max", "value"]
    8
    """
    if isinstance(W, PanelWeights):
        rows = [_describe(matrix)._cells() for matrix in W.values()]
        return pd.DataFrame(rows, index=pd.Index(W.periods, name="period"))
    return _describe(as_weights(W))


def compare(
    matrices: Mapping[Any, Any], x: Any = None, *, panel: Panel | None = None
) -> pd.DataFrame:
    """Compare weights of the same units, pair by pair.

    Parameters
    ----------
    matrices : mapping of name to SpatialWeights (or what :func:`as_weights` takes)
        At least two, matched by label. PanelWeights compare their periods.
    x : Series by unit, or column name of ``panel``, optional
        A variable whose spatial lags are compared too.
    panel : Panel, optional
        Needed, with the units of the weights, when ``x`` names a column.

    Returns
    -------
    DataFrame
        One row per pair, indexed by ``first`` and ``second``: ``links_first``,
        ``links_second`` and ``links_common`` (cells non-zero in each, in both); ``jaccard``
        (those in both as a share of those in either); ``corr_weights``, the correlation of the
        row-standardised weights over the cells non-zero in either; and with ``x``
        ``corr_lags``, that of the two spatial lags over units, with row-standardised weights
        (of a panel: by period, then averaged).
        A correlation is NaN where one side does not vary (as when all weights are equal), and
        ``attrs["notes"]`` says so. Isolates take part with a lag of zero.

    Raises
    ------
    WeightsError, AlignmentError
        Fewer than two matrices; different units, which are named.
    DataError, OptionError
        ``x`` is constant in a period or missing for a unit; it is a name and no panel is given.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> states = sa.datasets.us_states("production")
    >>> W = {"queen": sa.datasets.weights("us_production_queen"),
    ...      "rook": sa.weights.contiguity(states, ids="state", kind="rook")}
    >>> panel = sa.Panel(sa.datasets.us_production(), entity="state", time="year")
    >>> compare(W, "unemp", panel=panel)["jaccard"].round(3).tolist()
    [0.981]
    """
    found = _aligned(matrices)
    ids = next(iter(found.values())).ids
    X = None if x is None and panel is None else _variable(x, panel, ids)
    lags = {} if X is None else {name: lag(W.operator, X) for name, W in found.items()}
    rows, notes = [], []
    for one, two in combinations(found, 2):
        row = _pair(found[one].matrix, found[two].matrix)
        if lags:
            row["corr_lags"] = _mean_correlation(lags[one], lags[two])
        notes += [
            f"{one}, {two}: {name} is undefined, one side is constant"
            for name, value in row.items()
            if np.isnan(value)
        ]
        rows.append(row)
    pairs = pd.MultiIndex.from_tuples(list(combinations(found, 2)), names=["first", "second"])
    frame = pd.DataFrame(rows, index=pairs)
    frame.attrs["notes"] = notes
    return frame


def _describe(W: SpatialWeights) -> WeightsSummary:
    counts = np.diff(W.matrix.indptr)
    sums = W.matrix.sum(axis=1)
    _, member = csgraph.connected_components(W.matrix, directed=False)
    sizes = np.sort(np.bincount(member))[::-1]
    structure, values = _symmetry(W.matrix)
    (low, high), exact, note = _rho_space(W, structure)
    return WeightsSummary(
        units=W.n,
        links=W.n_links,
        share_nonzero=W.n_links / W.n**2,
        neighbours_min=int(counts.min()),
        neighbours_mean=float(counts.mean()),
        neighbours_median=float(np.median(counts)),
        neighbours_max=int(counts.max()),
        fewest=W.ids[counts == counts.min()],
        most=W.ids[counts == counts.max()],
        symmetric_structure=structure,
        symmetric_values=values,
        similar_to_symmetric=structure and symmetrize(W.matrix) is not None,
        components=int(sizes.size),
        component_sizes=tuple(sizes.tolist()),
        isolates=W.isolates,
        standardization=W.standardization,
        row_sum_min=float(sums.min()),
        row_sum_max=float(sums.max()),
        rho_min=low,
        rho_max=high,
        rho_exact=exact,
        rho_note=note,
        description=W.description,
        formula=W.formula,
        meaning=W.meaning,
    )


def _symmetry(W: sparse.csr_array) -> tuple[bool, bool]:
    """Tell whether the pattern of links is symmetric, and whether the weights are."""
    T = sparse.csr_array(W.T)
    T.sort_indices()
    if not (np.array_equal(W.indptr, T.indptr) and np.array_equal(W.indices, T.indices)):
        return False, False
    return True, bool((np.abs(W.data - T.data) <= EQUAL * np.maximum(W.data, T.data)).all())


def _rho_space(W: SpatialWeights, symmetric: bool) -> tuple[tuple[float, float], bool, str]:
    """Return the interval of rho, whether both ends are exact, and why not."""
    strong, _ = csgraph.connected_components(W.matrix, directed=True, connection="strong")
    if strong == W.n:
        # All eigenvalues of a nilpotent matrix are zero; logdet has no interval for it.
        return (-np.inf, np.inf), True, "exact: no chain of links leads back"
    if W.n > EXACT_UNITS:
        radius, known = _radius_bound(W, symmetric)
        which = "the lower end is a bound" if known else "both ends are bounds"
        why = f"eigenvalues are not computed for more than {EXACT_UNITS:,} units"
        return (-1.0 / radius, 1.0 / radius), False, f"{which}: {why}"
    logdet = W.logdet
    low, high = (float(end) for end in logdet.interval)
    if isinstance(logdet, Spectrum):
        share = logdet.omega / np.abs(logdet.omega).max()
        if (share.real[np.abs(share.imag) <= EQUAL] < -EQUAL).any():
            return (low, high), True, "exact"
        return (low, high), False, "the lower end is a bound: no real eigenvalue is negative"
    return (low, high), False, "the lower end is a bound: W is factorised, without eigenvalues"


def _radius_bound(W: SpatialWeights, symmetric: bool) -> tuple[float, bool]:
    """Bound the spectral radius by row and column sums, and tell whether it is exact."""
    if W.standardization == "spectral":
        return 1.0, True
    rows, columns = W.matrix.sum(axis=1), W.matrix.sum(axis=0)
    linked = rows[rows > 0]
    # Constant row sums are an eigenvalue, unless the constant leaks to units without a row.
    closed = linked.size == W.n or symmetric
    if closed and np.ptp(linked) <= EQUAL * linked.max():
        return (1.0 if W.standardization == "row" else float(linked.max())), True
    return float(min(rows.max(), columns.max())), False


def _aligned(matrices: Mapping[Any, Any]) -> dict[Any, SpatialWeights]:
    """Return the matrices row-standardised, in the order of units of the first."""
    if not isinstance(matrices, Mapping) or len(matrices) < 2:
        raise WeightsError(
            "At least two matrices are needed, as a mapping {'queen': W1, 'knn': W2}; got "
            f"{len(matrices) if isinstance(matrices, Mapping) else type(matrices).__name__}."
        )
    found = {name: as_weights(W) for name, W in matrices.items()}
    name, first = next(iter(found.items()))
    for other, W in found.items():
        matched(first.ids, W.ids, repr(name), repr(other))
    return {name: W.align(first.ids).standardize("row") for name, W in found.items()}


def _variable(x: Any, panel: Panel | None, ids: pd.Index) -> NDArray:
    """Return x in the order of the units, shape (T, N); it varies in every period."""
    if (panel is None) != isinstance(x, pd.Series):
        raise OptionError(
            "x must be a Series indexed by unit or, together with panel=..., the name of one of "
            f"its columns; got {type(x).__name__} with{'out' if panel is None else ''} a panel."
        )
    if panel is not None:
        order = matched(panel.entities, ids, "the panel", "the weights")
        values, what, times = panel.column(x)[:, order], f"column {x!r}", panel.times
    else:
        order = matched(as_labels(x.index), ids, "the Series x", "the weights")
        values, what, times = numeric(x.to_frame("x"), "x")[None, order], "x", None
        if not np.isfinite(values).all():
            missing = ids[~np.isfinite(values[0])]
            raise DataError(f"x is missing or infinite for the unit(s) {listing(missing)}.")
    flat = _constant(values)
    if flat.any():
        when = "" if times is None else f" in the period(s) {listing(times[flat])}"
        raise DataError(
            f"{what} is constant over units{when}: its spatial lags have no correlation. "
            "Choose a variable that differs between units."
        )
    return values


def matched(have: pd.Index, want: pd.Index, holder: str, asker: str) -> NDArray:
    """Return where the wanted units are, or raise naming those that only one side holds."""
    order = np.asarray(have.get_indexer(want))
    only = {asker: want[order < 0], holder: have[~have.isin(want)]}
    parts = [f"{ids.size} only in {name}: {listing(ids)}" for name, ids in only.items() if ids.size]
    if parts:
        raise AlignmentError(
            f"The units of {holder} and {asker} must be the same: {'; '.join(parts)}. "
            "Restrict both to the units they share, W.subset([...])."
        )
    return order


def _pair(A: sparse.csr_array, B: sparse.csr_array) -> dict[str, float]:
    """Compare two matrices over the cells in which either has a link."""
    N = A.shape[0]
    cells = []
    for M in (A, B):
        rows = np.repeat(np.arange(N, dtype=np.int64), np.diff(M.indptr))
        cells.append(rows * N + M.indices)
    # Each part is sorted already: a merge, where np.union1d would hash.
    either = np.sort(np.concatenate(cells), kind="stable")
    either = either[np.diff(either, prepend=-1) > 0]
    weights = np.zeros((2, either.size))
    for side, (M, cell) in enumerate(zip((A, B), cells, strict=True)):
        weights[side, np.searchsorted(either, cell)] = M.data
    common = A.nnz + B.nnz - either.size
    return {
        "links_first": A.nnz,
        "links_second": B.nnz,
        "links_common": common,
        "jaccard": common / either.size,
        "corr_weights": _mean_correlation(weights[:1], weights[1:]),
    }


def _constant(Z: NDArray) -> NDArray:
    """Tell which rows do not vary."""
    return np.ptp(Z, axis=1) <= EQUAL * np.abs(Z).max(axis=1)


def _mean_correlation(A: NDArray, B: NDArray) -> float:
    """Average the correlations of the rows of A with those of B; NaN if one does not vary."""
    if _constant(A).any() or _constant(B).any():
        return float("nan")
    a, b = (Z - Z.mean(axis=1, keepdims=True) for Z in (A, B))
    r = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return float(np.clip(r, -1.0, 1.0).mean())
