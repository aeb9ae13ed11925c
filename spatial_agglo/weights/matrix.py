"""SpatialWeights: an N x N matrix whose rows and columns carry the labels of the units."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse import linalg as sparse_linalg

from spatial_agglo.core.logdet import BACK_ENDS, LogDet, check_back_end, log_determinant
from spatial_agglo.core.moments import MatrixLike
from spatial_agglo.errors import (
    AlignmentError,
    WeightsError,
    check_option,
    listing,
    plain,
)
from spatial_agglo.weights.labels import as_labels

if TYPE_CHECKING:
    from libpysal.graph import Graph

STANDARDIZATIONS = ("row", "spectral", "min-max", "none")
ISOLATES = ("error", "allow")

#: Row sums may differ from 1 by this much in a matrix that counts as row-standardised.
ROW_SUM_TOLERANCE = 1e-10
#: Up to this many cells a matrix that is not very sparse is multiplied as a dense one.
DENSE_CELLS = 4_000_000
#: Share of non-zeros above which a dense product is the faster one (measured: 0.1 to 0.35).
DENSE_SHARE = 0.15


class SpatialWeights:
    """Spatial weights W: row i holds the weights that unit i gives to its neighbours.

    Use :meth:`from_dense`, :meth:`from_sparse`, :meth:`from_frame`, :meth:`from_dict`,
    :meth:`from_libpysal`, :meth:`read`, or a builder such as
    :func:`spatial_agglo.weights.contiguity`. The object is immutable: every operation
    returns a new one.

    Attributes
    ----------
    matrix : scipy.sparse.csr_array, shape (N, N)
        Non-negative, finite, with an empty diagonal.
    ids : Index
        Labels of rows and columns.
    standardization : {"row", "spectral", "min-max", "none"}
        "row" whenever every row sums to one, however the matrix came about.
    description : str
        How the matrix was made.
    formula : str
        The weights before standardisation, for table notes; may be empty.
    meaning : str
        Who weighs more, in a few words, for table notes; may be empty.

    Examples
    --------
    >>> W = SpatialWeights.from_dense([[0, 1, 1], [1, 0, 0], [1, 0, 0]], ids=["a", "b", "c"])
    >>> W.standardize("row").to_frame().loc["a"].tolist()
    [0.0, 0.5, 0.5]
    >>> W.align(["c", "a", "b"]).ids.tolist()
    ['c', 'a', 'b']
    """

    def __init__(
        self,
        matrix: sparse.csr_array,
        ids: Sequence[Hashable] | pd.Index,
        *,
        description: str = "user-supplied weights",
        formula: str = "",
        meaning: str = "",
        isolates: str = "error",
        standardization: str = "none",
    ) -> None:
        check_option("isolates", isolates, ISOLATES)
        self.ids = as_labels(ids)
        self.matrix = _validated(matrix, self.ids)
        self.description, self.formula, self.meaning = description, formula, meaning
        self.isolates_rule = isolates
        self._standardization = check_option("standardization", standardization, STANDARDIZATIONS)
        self._logdet: LogDet | None = None
        self._source: SpatialWeights | None = None
        if isolates == "error" and self.isolates.size:
            raise WeightsError(
                f"{self.isolates.size} unit(s) have no neighbours: {listing(self.isolates)}. "
                "Their spatial lag would be zero. Link them (for example to their nearest "
                "unit), leave them out of data and weights, or pass isolates='allow' to keep "
                "them with a lag of zero."
            )
        if self.matrix.nnz == 0:
            raise WeightsError("The weights have no links at all.")

    # --- makers -----------------------------------------------------------------------

    @classmethod
    def from_dense(
        cls,
        array: ArrayLike,
        ids: Sequence[Hashable] | pd.Index,
        *,
        description: str = "user-supplied matrix",
        isolates: str = "error",
    ) -> SpatialWeights:
        """Make weights from a square array and the labels of its rows.

        Raises
        ------
        WeightsError
            Not square, wrong number of labels, duplicated labels, NaN, infinite or negative
            weights, a self-link, units without neighbours.
        """
        try:
            dense = np.asarray(array, dtype=float)
        except (TypeError, ValueError) as error:
            raise WeightsError(f"The array must hold numbers: {error}") from error
        if dense.ndim != 2:
            raise WeightsError(f"A square array is needed; got {dense.ndim} dimension(s).")
        return cls(sparse.csr_array(dense), ids, description=description, isolates=isolates)

    @classmethod
    def from_sparse(
        cls,
        matrix: Any,
        ids: Sequence[Hashable] | pd.Index,
        *,
        description: str = "user-supplied sparse matrix",
        isolates: str = "error",
    ) -> SpatialWeights:
        """Make weights from a scipy sparse matrix or array and the labels of its rows."""
        if not sparse.issparse(matrix):
            raise WeightsError(
                f"A scipy sparse matrix is needed; got {type(matrix).__name__}. "
                "Use from_dense for arrays and from_frame for DataFrames."
            )
        copy = sparse.csr_array(matrix, dtype=float, copy=True)
        return cls(copy, ids, description=description, isolates=isolates)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        description: str = "user-supplied table",
        isolates: str = "error",
    ) -> SpatialWeights:
        """Make weights from a square DataFrame with the same labels on rows and columns.

        The columns may come in another order than the rows; they are matched by label.
        """
        rows, columns = as_labels(frame.index), as_labels(frame.columns)
        if set(rows) != set(columns):
            only = rows.symmetric_difference(columns, sort=False)
            raise WeightsError(
                "Rows and columns of the table must have the same labels; only one of them "
                f"has: {listing(only)}."
            )
        return cls.from_dense(
            frame.loc[rows, rows].to_numpy(), rows, description=description, isolates=isolates
        )

    @classmethod
    def from_dict(
        cls,
        neighbors: Mapping[Any, Sequence[Any]],
        weights: Mapping[Any, Sequence[float]] | None = None,
        *,
        description: str = "user-supplied neighbours",
        isolates: str = "error",
    ) -> SpatialWeights:
        """Make weights from ``{unit: [neighbours]}``, or ``{unit: {neighbour: weight}}``."""
        ids = as_labels(list(neighbors))
        place = {label: position for position, label in enumerate(ids)}
        rows, columns, values = [], [], []
        for unit, others in neighbors.items():
            if isinstance(others, str) or not isinstance(others, Iterable):
                raise WeightsError(
                    f"The neighbours of {unit!r} must be a list of units, or a mapping of unit to "
                    f"weight; got {others!r}."
                )
            if weights is not None:
                given = list(weights[unit])
            elif isinstance(others, Mapping):
                given = list(others.values())
            else:
                given = [1.0] * len(list(others))
            others = list(others)
            if len(given) != len(others):
                raise WeightsError(
                    f"Unit {unit!r} has {len(others)} neighbours and {len(given)} weights."
                )
            unknown = [other for other in others if other not in place]
            if unknown:
                raise WeightsError(
                    f"Unit {unit!r} has neighbours that are not units: {listing(unknown)}."
                )
            if len(set(others)) != len(others):
                raise WeightsError(f"Unit {unit!r} lists a neighbour more than once.")
            rows += [place[unit]] * len(others)
            columns += [place[other] for other in others]
            values += list(given)
        matrix = sparse.csr_array(
            (values, (rows, columns)), shape=(len(ids), len(ids)), dtype=float
        )
        return cls(matrix, ids, description=description, isolates=isolates)

    @classmethod
    def from_libpysal(
        cls, weights: Any, *, description: str = "libpysal weights", isolates: str = "error"
    ) -> SpatialWeights:
        """Make weights from a libpysal ``Graph`` or ``W``, as they are (values included).

        The original is not changed.
        """
        if hasattr(weights, "unique_ids"):
            ids = weights.unique_ids
        elif hasattr(weights, "id_order"):
            ids = weights.id_order
        else:
            raise WeightsError(f"A libpysal Graph or W is needed; got {type(weights).__name__}.")
        copy = sparse.csr_array(weights.sparse, dtype=float, copy=True)
        return cls(copy, ids, description=description, isolates=isolates)

    @classmethod
    def read(
        cls,
        path: str | PathLike[str],
        *,
        ids: Any = None,
        isolates: str = "error",
    ) -> SpatialWeights:
        """Read a file; its suffix tells the format. See :func:`spatial_agglo.weights.read`."""
        from spatial_agglo.weights.formats import read

        return read(path, ids=ids, isolates=isolates)

    # --- what it is -------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Number of units."""
        return int(self.ids.size)

    @property
    def n_links(self) -> int:
        """Number of non-zero weights."""
        return int(self.matrix.nnz)

    @cached_property
    def isolates(self) -> pd.Index:
        """Units without neighbours."""
        return self.ids[np.diff(self.matrix.indptr) == 0]

    @cached_property
    def row_standardized(self) -> bool:
        """Whether every row sums to one."""
        sums = np.asarray(self.matrix.sum(axis=1)).ravel()
        return bool(np.abs(sums - 1.0).max() <= ROW_SUM_TOLERANCE)

    @property
    def standardization(self) -> str:
        """How the weights are scaled; "row" whenever every row sums to one."""
        return "row" if self.row_standardized else self._standardization

    @property
    def logdet(self) -> LogDet:
        """ln|I - rho W|; computed on first use and kept with the matrix.

        It does not depend on the order of the units, so an aligned copy asks its source.
        """
        if self._source is not None:
            return self._source.logdet
        if self._logdet is None:
            self._logdet = log_determinant(self.matrix, self._back_end)
        return self._logdet

    #: What the user wants the log-determinant computed by.
    _back_end = "auto"

    def with_logdet(self, how: str) -> SpatialWeights:
        """Return the same weights whose log-determinant is computed in the way that is named.

        The default, "auto", is the fastest; what it chose is in ``W.logdet.method`` and in the
        notes of every fit. An aligned copy keeps the choice; a matrix with other values
        (``standardize``, ``subset``, ``T``) starts from "auto" again.

        Parameters
        ----------
        how : {"auto", "spectrum", "ldl", "lu"}
            "spectrum": from all eigenvalues, for up to 12,000 units. "ldl": sparse LDL' factors
            at a few values of rho, interpolated to their precision; for symmetric weights,
            row-standardised or not. "lu": the same from sparse LU factors, for any weights; its
            parameter space ends at -1/r, r the spectral radius, where the others may go further.

        Raises
        ------
        OptionError
            ``how`` is unknown.
        WeightsError
            The matrix is too large for "spectrum", or "ldl" is asked for a matrix that no
            diagonal scaling makes symmetric.

        Examples
        --------
        >>> W = SpatialWeights.from_dense([[0, 1, 1], [1, 0, 0], [1, 0, 0]], ids=["a", "b", "c"])
        >>> W.logdet.method, W.with_logdet("ldl").logdet.method
        ('spectrum', "sparse LDL' with Chebyshev interpolation")
        """
        if how in ("spectrum", "ldl"):
            check_back_end(self.matrix, how)
        out = copy.copy(self)
        out._back_end = check_option("logdet", how, BACK_ENDS)
        out._source = None
        return out

    @cached_property
    def operator(self) -> MatrixLike:
        """The matrix as products are fastest: dense when it is small and not very sparse."""
        cells = self.n**2
        dense = cells <= DENSE_CELLS and self.n_links > DENSE_SHARE * cells
        return self.matrix.toarray() if dense else self.matrix

    # --- operations -------------------------------------------------------------------

    def standardize(self, how: str = "row") -> SpatialWeights:
        """Return the weights scaled, so that coefficients can be compared.

        Parameters
        ----------
        how : {"row", "spectral", "min-max", "none"}
            "row": every row is divided by its sum (rows of allowed isolates stay zero).
            "spectral": by the largest modulus of the eigenvalues. "min-max": by the smaller of
            the largest row and column sum (Kelejian & Prucha 2010); this and "spectral" keep
            the relative size of rows.
        """
        check_option("standardize", how, STANDARDIZATIONS)
        if how == "none" or how == self.standardization:
            return self
        rows = np.asarray(self.matrix.sum(axis=1)).ravel()
        if how == "row":
            scale = np.divide(1.0, rows, out=np.zeros_like(rows), where=rows > 0)
            matrix = sparse.csr_array(sparse.diags_array(scale) @ self.matrix)
            return self.derive(matrix, ", row-standardised", "row")
        if how == "spectral":
            factor = spectral_radius(self.matrix)
            note = ", divided by its spectral radius"
        else:
            factor = min(float(rows.max()), float(self.matrix.sum(axis=0).max()))
            note = ", divided by the smaller of its largest row and column sum"
        return self.derive(self.matrix / factor, note, how)

    def derive(
        self, matrix: Any, note: str, standardization: str = "none", isolates: str | None = None
    ) -> SpatialWeights:
        """Return another matrix of the same units whose description goes on from this one's."""
        return SpatialWeights(
            sparse.csr_array(matrix),
            self.ids,
            description=self.description + note,
            formula=self.formula,
            meaning=self.meaning,
            isolates=self.isolates_rule if isolates is None else isolates,
            standardization=standardization,
        )

    def align(self, ids: Sequence[Hashable] | pd.Index) -> SpatialWeights:
        """Return the weights in the order of ``ids``, matched by label.

        Raises
        ------
        AlignmentError
            The two sets of labels differ. Nothing is dropped: restrict or complete one side.
        """
        wanted = as_labels(ids)
        if wanted.equals(self.ids):
            return self
        order = self.ids.get_indexer(wanted)
        missing = wanted[order < 0]
        if missing.size or wanted.size != self.ids.size:
            extra = self.ids[~self.ids.isin(wanted)]
            raise AlignmentError(_mismatch(wanted, self.ids, missing, extra))
        aligned = SpatialWeights(
            self.matrix[order][:, order],
            wanted,
            description=self.description,
            formula=self.formula,
            meaning=self.meaning,
            isolates=self.isolates_rule,
            standardization=self._standardization,
        )
        aligned._source = self
        return aligned

    def subset(
        self, ids: Sequence[Hashable] | pd.Index, *, standardize: bool = True
    ) -> SpatialWeights:
        """Return the weights among some of the units.

        Parameters
        ----------
        ids : labels of the units to keep, in the order wanted
        standardize : bool
            Row-standardise again where the whole matrix was; False keeps the values, and then
            rows that lost neighbours no longer sum to one.
        """
        wanted = as_labels(ids)
        order = self.ids.get_indexer(wanted)
        if (order < 0).any():
            raise AlignmentError(f"The weights have no unit {listing(wanted[order < 0])}.")
        part = SpatialWeights(
            self.matrix[order][:, order],
            wanted,
            description=f"{self.description}, {wanted.size} of {self.n} units",
            formula=self.formula,
            meaning=self.meaning,
            isolates=self.isolates_rule,
        )
        return part.standardize("row") if standardize and self.row_standardized else part

    @property
    def T(self) -> SpatialWeights:
        """The transpose: j's weight in i becomes i's weight in j."""
        return self.derive(self.matrix.T, ", transposed", isolates="allow")

    # --- exchange ---------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """Return a dense DataFrame with the labels on rows and columns."""
        return pd.DataFrame(self.matrix.toarray(), index=self.ids, columns=self.ids)

    def to_libpysal(self) -> Graph:
        """Return a libpysal ``Graph`` with the same labels, order and values."""
        from libpysal.graph import Graph

        return Graph.from_sparse(self.matrix.copy(), ids=self.ids.to_numpy())

    def write(self, path: str | PathLike[str], *, values: bool = True) -> None:
        """Write a file; its suffix tells the format. See :func:`spatial_agglo.weights.write`."""
        from spatial_agglo.weights.formats import write

        write(self, path, values=values)

    def __getstate__(self) -> dict[str, Any]:
        """Leave factorisations behind: they cannot be pickled, and are made again on use."""
        return {**self.__dict__, "_logdet": None}

    def __repr__(self) -> str:
        return (
            f"SpatialWeights({self.n} units, {self.n_links} links, "
            f"standardization={self.standardization!r}: {self.description})"
        )


def as_weights(W: Any) -> SpatialWeights:
    """Return labelled weights from whatever carries its labels.

    Parameters
    ----------
    W : SpatialWeights, libpysal Graph or W, or a square labelled DataFrame

    Raises
    ------
    WeightsError
        The object has no labels (an array), or is none of these.
    """
    if isinstance(W, SpatialWeights):
        return W
    if isinstance(W, pd.DataFrame):
        return SpatialWeights.from_frame(W)
    if hasattr(W, "sparse") and (hasattr(W, "unique_ids") or hasattr(W, "id_order")):
        return SpatialWeights.from_libpysal(W)
    if isinstance(W, (np.ndarray, list)) or sparse.issparse(W):
        raise WeightsError(
            "A bare matrix has no labels, so it cannot be matched to the panel's units. "
            "Use SpatialWeights.from_dense(matrix, ids=[...]) (from_sparse for sparse ones), "
            "with the label of every row."
        )
    if isinstance(W, Mapping) and hasattr(W, "periods"):
        raise WeightsError(
            "Weights that change over time cannot be used here: one W for all periods is needed. "
            "Take one period, W[period], or weights from levels over a fixed window."
        )
    raise WeightsError(
        "Spatial weights are needed: a SpatialWeights, a libpysal Graph or W, or a square "
        f"DataFrame; got {type(W).__name__}."
    )


def _validated(matrix: sparse.csr_array, ids: pd.Index) -> sparse.csr_array:
    """Return a canonical matrix, or raise naming the units that are wrong."""
    N = ids.size
    if matrix.shape != (N, N):
        raise WeightsError(
            f"A matrix of {N} x {N} is needed for {N} labels; got "
            f"{matrix.shape[0]} x {matrix.shape[1]}."
        )
    if N < 2:
        raise WeightsError(f"Spatial weights need at least two units; got {N}.")
    matrix = sparse.csr_array(matrix, dtype=float, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    rows = np.repeat(np.arange(N), np.diff(matrix.indptr))

    def links(bad: NDArray) -> str:
        return listing(list(zip(ids[rows[bad]], ids[matrix.indices[bad]], strict=True)))

    for bad, what in (
        (~np.isfinite(matrix.data), "missing or infinite"),
        (matrix.data < 0, "negative"),
    ):
        if bad.any():
            raise WeightsError(
                f"{int(bad.sum())} weight(s) are {what}, at (unit, neighbour) = {links(bad)}. "
                "Weights must be finite and not negative. (A distance of zero between two "
                "units gives an infinite inverse distance.)"
            )
    itself = rows == matrix.indices
    if itself.any():
        raise WeightsError(
            f"{int(itself.sum())} unit(s) are their own neighbour: {listing(ids[rows[itself]])}. "
            "Set the diagonal to zero."
        )
    return matrix


def spectral_radius(matrix: sparse.csr_array) -> float:
    """Return the largest modulus of the eigenvalues of a non-negative matrix."""
    N = matrix.shape[0]
    if N <= 500:
        return float(np.abs(np.linalg.eigvals(matrix.toarray())).max())
    start = np.ones(N)
    found = sparse_linalg.eigs(matrix, k=1, which="LM", v0=start, return_eigenvectors=False)
    return float(np.abs(found[0]))


def _mismatch(wanted: pd.Index, have: pd.Index, missing: pd.Index, extra: pd.Index) -> str:
    parts = []
    if missing.size:
        parts.append(f"{missing.size} unit(s) of the data have no weights: {listing(missing)}.")
    if extra.size:
        parts.append(f"{extra.size} unit(s) of the weights have no data: {listing(extra)}.")
    if missing.size == wanted.size:
        first, second = plain(wanted[0]), plain(have[0])
        parts.append(
            f"No label agrees: the data have {type(first).__name__} labels such as {first!r}, the "
            f"weights {type(second).__name__} labels such as {second!r}."
        )
    parts.append(
        "Both must hold the same units: use W.subset([...]) and standardise again, or complete "
        "the data. Nothing is dropped silently."
    )
    return " ".join(parts)
