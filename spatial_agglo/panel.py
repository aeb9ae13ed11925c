"""Panel: the data, declared once. The only place that decides row order."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import DataError, check_option, listing

#: Label of the only period of a cross-section.
CROSS_SECTION = "cross-section"


#: What to do about cells without data.
UNBALANCED = ("error", "allow")


class Panel:
    """A panel: units over periods, one row each, declared once.

    Parameters
    ----------
    data : DataFrame
        Long format, rows in any order. The frame is copied, never changed.
    entity, time : column labels, optional
        Leave both out when the index of ``data`` is an (entity, time) MultiIndex. Leave
        ``time`` out alone for a cross-section: a panel of one period.
    unbalanced : {"error", "allow"}
        "error": every unit needs a row, and a value in every variable that is used, in every
        period. "allow": cells without a row, or with a missing value in one of the variables of
        a formula, are left out of what is made with that formula, and listed on the result.

    Attributes
    ----------
    entities, times : Index
        Sorted labels, N units and T periods.
    frame : DataFrame
        The rows in the package's order, period slow and unit fast, with an
        (entity, time) MultiIndex.
    present : ndarray of bool, shape (T, N)
        Which cells have a row.

    Raises
    ------
    DataError
        Missing or duplicated (entity, time) pairs, missing labels, unknown columns.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame(
    ...     {"city": ["b", "a", "a", "b"], "year": [1, 2, 1, 2], "y": [3.0, 2.0, 1.0, 4.0]}
    ... )
    >>> panel = Panel(df, entity="city", time="year")
    >>> panel
    Panel(2 entities x 2 periods, columns: 'y')
    >>> panel.column("y")
    array([[1., 3.],
           [2., 4.]])
    """

    def __init__(
        self,
        data: pd.DataFrame,
        *,
        entity: Hashable | None = None,
        time: Hashable | None = None,
        unbalanced: str = "error",
    ) -> None:
        check_option("unbalanced", unbalanced, UNBALANCED)
        if not isinstance(data, pd.DataFrame):
            raise DataError(
                f"Panel needs a pandas DataFrame in long format; got {type(data).__name__}."
            )
        if data.empty:
            raise DataError("Panel needs at least one row; the frame is empty.")
        entities, times, body = _keys(data, entity, time)
        names = (entity or entities.name or "entity", time or times.name or "time")
        _check_keys(entities, names[0])
        _check_keys(times, names[1])
        self.entities = _sorted_unique(entities, names[0])
        self.times = _sorted_unique(times, names[1])
        i = self.entities.get_indexer(pd.Index(entities))
        t = self.times.get_indexer(pd.Index(times))
        cell = t * self.entities.size + i
        _check_cells(cell, self.entities, self.times, names, gaps=unbalanced == "allow")
        self.unbalanced = unbalanced
        self.present = np.zeros(self.shape, dtype=bool)
        self.present.flat[cell] = True
        self.present.flags.writeable = False
        order = np.argsort(cell)
        #: The rows of ``frame`` without labels: taking a column does not copy a MultiIndex.
        self._rows: pd.DataFrame = body.take(order).reset_index(drop=True)
        self._cache: dict[Hashable, NDArray] = {}

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows in the package's order, with an (entity, time) MultiIndex."""
        return self._rows.set_axis(self.index(self.present), axis=0)

    def index(self, cells: NDArray) -> pd.MultiIndex:
        """Return the (entity, time) labels of the cells that a (T, N) mask selects."""
        t, i = np.nonzero(cells)
        return pd.MultiIndex(
            levels=[self.entities, self.times],  # type: ignore[list-item]
            codes=[i, t],  # type: ignore[list-item]
            names=[self.entities.name, self.times.name],
            verify_integrity=False,
        )

    @cached_property
    def dtypes(self) -> dict[Hashable, Any]:
        """The dtype of every variable."""
        return dict(zip(self._rows.columns, self._rows.dtypes, strict=True))

    @property
    def N(self) -> int:
        """Number of units."""
        return int(self.entities.size)

    @property
    def T(self) -> int:
        """Number of periods."""
        return int(self.times.size)

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return self.T, self.N

    @property
    def nobs(self) -> int:
        """Number of rows: N x T on a balanced panel."""
        return len(self._rows)

    @property
    def balanced(self) -> bool:
        """Whether every cell has a row."""
        return self.nobs == self.N * self.T

    @cached_property
    def columns(self) -> list[Hashable]:
        """Names of the variables."""
        return list(self._rows.columns)

    def column(self, name: Hashable) -> NDArray:
        """Return one variable as an array of shape (T, N), ready for arithmetic.

        Missing cells are NaN if the panel was declared with ``unbalanced="allow"``.

        Raises
        ------
        DataError
            Unknown name, non-numeric column, infinite cells, missing cells (named).
        """
        if name not in self._cache:
            array = self.arrange(numeric(self._rows, name))
            self.check_finite(array, name)
            array.flags.writeable = False
            self._cache[name] = array
        return self._cache[name]

    def arrange(self, values: NDArray) -> NDArray:
        """Shape one value per row of ``frame`` into (T, N); NaN in cells without a row."""
        if self.balanced:
            return np.asarray(values, dtype=float).reshape(self.T, self.N)
        array = np.full(self.shape, np.nan)
        array[self.present] = values
        return array

    def series(self, values: NDArray, name: str, cells: NDArray | None = None) -> pd.Series:
        """Label the cells of a (T, N) array (those with a row by default) by (entity, time)."""
        cells = self.present if cells is None else cells
        return pd.Series(values[cells], index=self.index(cells), name=name)

    def check_finite(self, array: NDArray, name: Hashable) -> None:
        """Raise if a variable has missing or infinite cells, naming the first of them."""
        bad = np.isinf(array) if self.unbalanced == "allow" else ~np.isfinite(array)
        if not bad.any():
            return
        t, i = np.nonzero(bad)
        cells = list(zip(self.entities[i], self.times[t], strict=True))
        kinds = [
            kind
            for kind, found in (("missing", np.isnan(array)), ("infinite", np.isinf(array)))
            if found.any()
        ]
        raise DataError(
            f"{name!r} has {len(cells)} {' or '.join(kinds)} value(s), at (entity, time) = "
            f"{listing(cells)}. A balanced panel needs every cell: fill the gaps "
            "in a stated way, or leave these units or periods out, before declaring the panel; "
            "or declare it with unbalanced='allow', and missing cells are left out and listed."
        )

    def __repr__(self) -> str:
        what = "1 period" if self.T == 1 else f"{self.T} periods"
        gaps = "" if self.balanced else f", {self.nobs} rows"
        return f"Panel({self.N} entities x {what}{gaps}, columns: {listing(self.columns)})"


def numeric(frame: pd.DataFrame, name: Hashable) -> NDArray:
    """Return a column as floats, or raise naming it and what is wrong with it."""
    if name not in frame.columns:
        raise DataError(
            f"The panel has no column {name!r}. Its columns are: {listing(frame.columns, 20)}."
        )
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise DataError(
            f"The panel has {column.shape[1]} columns named {name!r}; names must differ."
        )
    if column.dtype == np.float64:
        return column.to_numpy(copy=True)
    if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)):
        example = column.dropna().iloc[0] if column.notna().any() else None
        raise DataError(
            f"Column {name!r} is not numeric (dtype {column.dtype}, for example {example!r}). "
            "Convert it with pandas.to_numeric, or write C(...) in the formula if it is a "
            "category."
        )
    if pd.api.types.is_complex_dtype(column):
        raise DataError(f"Column {name!r} is complex; real numbers are needed.")
    return column.to_numpy(dtype=float, na_value=np.nan)


def _keys(
    data: pd.DataFrame, entity: Hashable | None, time: Hashable | None
) -> tuple[pd.Index, pd.Index, pd.DataFrame]:
    """Return the entity and time label of every row, and the remaining columns."""
    if entity is None and time is None:
        if data.index.nlevels != 2:
            raise DataError(
                "Name the columns that identify a row, Panel(df, entity=..., time=...), or set "
                f"an (entity, time) MultiIndex; the index has {data.index.nlevels} level(s)."
            )
        return data.index.get_level_values(0), data.index.get_level_values(1), data
    if entity is None:
        raise DataError("Panel needs entity= as well as time=; only time= was given.")
    frame = data.reset_index() if _in_index(data, entity, time) else data
    wanted = [entity] if time is None else [entity, time]
    for name in wanted:
        if name not in frame.columns:
            raise DataError(
                f"The frame has no column {name!r} to identify rows by. Its columns are: "
                f"{listing(frame.columns, 20)}."
            )
    if entity == time:
        raise DataError(f"entity and time must be different columns; both are {entity!r}.")
    if frame.columns.duplicated().any():
        doubled = frame.columns[frame.columns.duplicated()].unique()
        raise DataError(f"Column names must differ; more than one is named {listing(doubled)}.")
    units = pd.Index(frame[entity])
    if time is None:
        periods = pd.Index([CROSS_SECTION] * len(frame), name="time")
    else:
        periods = pd.Index(frame[time])
    return units, periods, frame.drop(columns=wanted)


def _in_index(data: pd.DataFrame, entity: Hashable, time: Hashable | None) -> bool:
    """Tell whether a named key is a level of the index rather than a column."""
    names = [name for name in data.index.names if name is not None]
    return any(
        key is not None and key not in data.columns and key in names for key in (entity, time)
    )


def _check_keys(labels: pd.Index, name: Hashable) -> None:
    missing = np.flatnonzero(labels.isna())
    if missing.size:
        raise DataError(
            f"{missing.size} row(s) have no label in {name!r} (row positions {listing(missing)}). "
            "Every row needs one."
        )


def _sorted_unique(labels: pd.Index, name: Hashable) -> pd.Index:
    unique = pd.Index(labels.unique(), name=name)
    try:
        return unique.sort_values()
    except TypeError as error:
        kinds = sorted({type(label).__name__ for label in unique})
        raise DataError(
            f"The labels in {name!r} mix types that cannot be sorted ({', '.join(kinds)}). "
            "Convert them to one type."
        ) from error


def _check_cells(
    cell: NDArray,
    entities: pd.Index,
    times: pd.Index,
    names: tuple[Hashable, Hashable],
    *,
    gaps: bool,
) -> None:
    """Raise on pairs that occur twice or, unless gaps are allowed, not at all."""
    N, T = entities.size, times.size
    count = np.bincount(cell, minlength=N * T)

    def pairs(cells: NDArray) -> str:
        return listing([(entities[c % N], times[c // N]) for c in cells])

    double = np.flatnonzero(count > 1)
    if double.size:
        hint = (
            "Give time= as well if the data are a panel."
            if times[0] == CROSS_SECTION and T == 1
            else "Aggregate or drop the repeated rows."
        )
        raise DataError(
            f"{double.size} ({names[0]}, {names[1]}) pair(s) occur more than once: "
            f"{pairs(double)}. {hint}"
        )
    absent = np.flatnonzero(count == 0)
    if absent.size and not gaps:
        raise DataError(
            f"The panel is not balanced: {absent.size} of {N * T} ({names[0]}, {names[1]}) cells "
            f"have no row: {pairs(absent)}. Every unit needs a row in every period: add the rows, "
            "leave out those units or periods, or declare the panel with unbalanced='allow'."
        )
