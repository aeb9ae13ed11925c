"""Who and when: the unit and the period of every row of a frame, by label."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import DataError, listing

#: Label of the only period of a cross-section, as in Panel.
CROSS_SECTION = "cross-section"


@dataclass(frozen=True, eq=False)
class Keys:
    """Sorted labels of units and periods, and which of them every row belongs to."""

    entities: pd.Index
    times: pd.Index
    i: NDArray
    t: NDArray

    @property
    def cell(self) -> NDArray:
        """Number of every row's cell, period slow and unit fast."""
        return self.t * self.entities.size + self.i

    def index(self) -> pd.MultiIndex:
        """Return the (entity, time) labels of the rows, in the order of the rows."""
        return pd.MultiIndex(
            levels=[self.entities, self.times],  # type: ignore[list-item]
            codes=[self.i, self.t],  # type: ignore[list-item]
            names=[self.entities.name, self.times.name],
            verify_integrity=False,
        )

    def pairs(self, rows: NDArray) -> list[tuple[Hashable, Hashable]]:
        """Return the (entity, time) labels of some rows, for a message."""
        return list(zip(self.entities[self.i[rows]], self.times[self.t[rows]], strict=True))

    def require_unique(self, what: str = "Aggregate or drop the repeated rows.") -> None:
        """Raise if a unit has two rows in one period."""
        cell = self.cell
        doubled = np.flatnonzero(pd.Index(cell).duplicated())
        if doubled.size:
            raise DataError(
                f"{doubled.size} row(s) repeat an (entity, time) pair: "
                f"{listing(self.pairs(doubled))}. {what}"
            )


def read_keys(data: pd.DataFrame, entity: Hashable | None, time: Hashable | None) -> Keys:
    """Return the keys of every row, from columns, from levels of the index, or from both.

    Neither name: the index must be an (entity, time) MultiIndex. ``entity`` alone: a
    cross-section, one period.
    """
    if not isinstance(data, pd.DataFrame):
        raise DataError(
            "A pandas DataFrame in long format is needed (panel.frame, for a Panel); got "
            f"{type(data).__name__}."
        )
    if data.empty:
        raise DataError("At least one row and one column are needed; the frame is empty.")
    if data.columns.duplicated().any():
        doubled = data.columns[data.columns.duplicated()].unique()
        raise DataError(f"Column names must differ; more than one is named {listing(doubled)}.")
    if entity is None and time is None:
        if data.index.nlevels != 2:
            raise DataError(
                "Name the columns that identify a row, entity=... and time=..., or set an "
                f"(entity, time) MultiIndex; the index has {data.index.nlevels} level(s)."
            )
        units, periods = data.index.get_level_values(0), data.index.get_level_values(1)
        names: tuple[Hashable, Hashable] = (units.name or "entity", periods.name or "time")
    elif entity is None:
        raise DataError("entity= is needed as well as time=; only time= was given.")
    elif entity == time:
        raise DataError(f"entity and time must be different columns; both are {entity!r}.")
    else:
        units = read_labels(data, entity)
        names = (entity, "time" if time is None else time)
        periods = pd.Index([CROSS_SECTION] * len(data)) if time is None else read_labels(data, time)
    entities, i = sorted_labels(units, names[0])
    times, t = sorted_labels(periods, names[1])
    return Keys(entities, times, i, t)


def read_labels(data: pd.DataFrame, name: Hashable) -> pd.Index:
    """Return a column, or a level of the index, as labels."""
    if name in data.columns:
        return pd.Index(data[name])
    if name in data.index.names:
        return data.index.get_level_values(name)  # type: ignore[arg-type]
    raise DataError(
        f"The frame has no column {name!r} to identify rows by. Its columns are: "
        f"{listing(data.columns, 20)}."
    )


def read_numbers(data: pd.DataFrame, name: Hashable) -> NDArray:
    """Return a column as finite floats or NaN, or raise naming it and what is wrong with it."""
    if name not in data.columns:
        raise DataError(
            f"The frame has no column {name!r}. Its columns are: {listing(data.columns, 20)}."
        )
    column = data[name]
    is_number = pd.api.types.is_numeric_dtype(column) and not (
        pd.api.types.is_complex_dtype(column) or pd.api.types.is_bool_dtype(column)
    )
    if not is_number:
        example = column.dropna().iloc[0] if column.notna().any() else None
        raise DataError(
            f"Column {name!r} is not numeric (dtype {column.dtype}, for example {example!r}). "
            "Convert it with pandas.to_numeric."
        )
    values = column.to_numpy(dtype=float, na_value=np.nan, copy=True)
    if np.isinf(values).any():
        rows = np.flatnonzero(np.isinf(values))
        raise DataError(
            f"Column {name!r} has {rows.size} infinite value(s), in row(s) {listing(rows)}. "
            "Every value must be finite."
        )
    return values


def columns_list(names: object, what: str) -> list[Hashable]:
    """Return names of columns as a list, or raise if they are not one or repeat."""
    if isinstance(names, str) or not hasattr(names, "__iter__"):
        raise DataError(f"{what} must be a list of names; got {names!r}. Write {what}=[{names!r}].")
    found = list(names)
    doubled = sorted({str(name) for name in found if found.count(name) > 1})
    if doubled:
        raise DataError(f"{what} names {listing(doubled)} more than once.")
    return found


def sorted_labels(labels: pd.Index, name: Hashable) -> tuple[pd.Index, NDArray]:
    """Return the labels that occur, sorted, and the position of each row's label."""
    missing = np.flatnonzero(labels.isna())
    if missing.size:
        raise DataError(
            f"{missing.size} row(s) have no label in {name!r} (row positions {listing(missing)}). "
            "Every row needs one."
        )
    if isinstance(labels, pd.CategoricalIndex):
        labels = labels.astype(labels.categories.dtype)
    codes, unique = pd.factorize(labels)
    unique = pd.Index(unique, name=name)
    try:
        order = unique.argsort()
    except TypeError as error:
        kinds = sorted({type(label).__name__ for label in unique})
        raise DataError(
            f"The labels in {name!r} mix types that cannot be sorted ({', '.join(kinds)}). "
            "Convert them to one type."
        ) from error
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    return unique[order], rank[codes]
