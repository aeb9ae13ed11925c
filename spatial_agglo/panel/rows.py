"""Which row is which: keys, labels and cells of a long frame, and its numbers."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import DataError, listing

#: Label of the only period of a cross-section.
CROSS_SECTION = "cross-section"


def keys(
    data: pd.DataFrame, entity: Hashable | None, time: Hashable | None
) -> tuple[pd.Index, pd.Index, pd.DataFrame]:
    """Return the entity and time label of every row, and the remaining columns."""
    if entity is None and time is None:
        if data.index.nlevels != 2:
            raise DataError(
                "Name the columns that identify a row, Panel(df, entity=..., time=...), or set "
                f"an (entity, time) MultiIndex; the index has {data.index.nlevels} level(s)."
            )
        units, periods = (data.index.get_level_values(level) for level in (0, 1))
        if _like_time(units) and not _like_time(periods):
            raise DataError(
                "The index must be (entity, time), in this order; its first level, "
                f"{listing(units.unique()[:3])}, looks like the time and its second, "
                f"{listing(periods.unique()[:3])}, like the entity. Use df.swaplevel(), or say "
                "which is which: Panel(df, entity=..., time=...)."
            )
        return units, periods, data
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


def _like_time(labels: pd.Index) -> bool:
    """Tell whether labels are numbers or dates."""
    return isinstance(labels, (pd.DatetimeIndex, pd.PeriodIndex)) or pd.api.types.is_numeric_dtype(
        labels.dtype
    )


def _in_index(data: pd.DataFrame, entity: Hashable, time: Hashable | None) -> bool:
    """Tell whether a named key is a level of the index rather than a column."""
    names = [name for name in data.index.names if name is not None]
    return any(
        key is not None and key not in data.columns and key in names for key in (entity, time)
    )


def check_keys(labels: pd.Index, name: Hashable) -> None:
    """Raise if a row has no label."""
    missing = np.flatnonzero(labels.isna())
    if missing.size:
        raise DataError(
            f"{missing.size} row(s) have no label in {name!r} (row positions {listing(missing)}). "
            "Every row needs one."
        )


def plain_labels(labels: pd.Index) -> pd.Index:
    """Return a category's labels as such, unless the category is ordered.

    The order of the levels of an unordered category means nothing, but pandas would sort by it.
    """
    if isinstance(labels, pd.CategoricalIndex) and not labels.ordered:
        return labels.astype(labels.categories.dtype)
    return labels


def sorted_unique(labels: pd.Index, name: Hashable) -> pd.Index:
    """Return the labels that occur, sorted."""
    unique = pd.Index(labels.unique(), name=name)
    try:
        return unique.sort_values()
    except TypeError as error:
        kinds = sorted({type(label).__name__ for label in unique})
        raise DataError(
            f"The labels in {name!r} mix types that cannot be sorted ({', '.join(kinds)}). "
            "Convert them to one type."
        ) from error


def check_cells(
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
