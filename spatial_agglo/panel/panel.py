"""The class that the data go into."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import DataError, OptionError, check_option, listing
from spatial_agglo.panel.periods import check_steps, lags_of
from spatial_agglo.panel.rows import (
    check_cells,
    check_keys,
    keys,
    numeric,
    plain_labels,
    sorted_unique,
)

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
        ``time`` out alone for a cross-section: a panel of one period. Labels are sorted; those
        of an ordered categorical in its order, of an unordered one by the labels themselves.
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
    cut : MultiIndex
        The (entity, time) rows that :meth:`lag` left out; empty on a panel without lags.

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
        entities, times, body = keys(data, entity, time)
        entities, times = plain_labels(entities), plain_labels(times)
        names = (entity or entities.name or "entity", time or times.name or "time")
        check_keys(entities, names[0])
        check_keys(times, names[1])
        self.entities = sorted_unique(entities, names[0])
        self.times = sorted_unique(times, names[1])
        i = self.entities.get_indexer(pd.Index(entities))
        t = self.times.get_indexer(pd.Index(times))
        cell = t * self.entities.size + i
        check_cells(cell, self.entities, self.times, names, gaps=unbalanced == "allow")
        self.unbalanced = unbalanced
        self.present = np.zeros(self.shape, dtype=bool)
        self.present.flat[cell] = True
        self.present.flags.writeable = False
        order = np.argsort(cell)
        #: The rows of ``frame`` without labels: taking a column does not copy a MultiIndex.
        self._rows: pd.DataFrame = body.take(order).reset_index(drop=True)
        self._cache: dict[Hashable, NDArray] = {}
        self.cut: pd.MultiIndex = self.index(np.zeros(self.shape, dtype=bool))

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

    def lag(
        self,
        columns: Hashable | Iterable[Hashable] | Mapping[Hashable, int | Iterable[int]],
        lags: int | Iterable[int] = 1,
        *,
        common: bool = True,
    ) -> Panel:
        """Return a panel with columns of earlier periods, found by label and never by row.

        ``x_lag2`` is x of the same unit two periods before.

        Parameters
        ----------
        columns : name, list of names, or mapping of name to lag or lags
        lags : int or list of int
            How many periods back, 1 or more, of every name that has none of its own. On a
            panel of every other year a lag of 1 is of two years before.
        common : bool
            True: the first periods, as many as the longest lag, are cut and named in ``cut``, so
            that whatever is estimated rests on the same cells. False: they stay, with missing
            cells in the new columns, in a panel with ``unbalanced="allow"``: every formula then
            uses the cells that it has, and lists those that it leaves out.

        Returns
        -------
        Panel
            Where a unit has no row so many periods before, the lag is missing.

        Raises
        ------
        DataError
            Periods that do not follow each other at equal steps (2001, 2002, 2004), or run
            backwards (an ordered categorical), or labels without a distance (text other than
            whole numbers); lags as long as the panel; no such column; a column of that name is
            there already.
        OptionError
            Lags that are not whole numbers of at least 1; ``common`` is not True or False.

        Examples
        --------
        >>> df = pd.DataFrame(
        ...     {"city": ["a", "a", "b", "b"], "year": [2, 1, 1, 2], "x": [2.0, 1.0, 3.0, 4.0]}
        ... )
        >>> panel = Panel(df, entity="city", time="year").lag("x")
        >>> panel.frame.loc[("b", 2)].to_dict()
        {'x': 4.0, 'x_lag1': 3.0}
        >>> list(panel.cut)
        [('a', 1), ('b', 1)]
        """
        wanted = lags_of(columns, lags)
        if not isinstance(common, bool):
            raise OptionError(f"common={common!r} must be True or False.")
        longest = max(max(own) for own in wanted.values())
        if longest >= self.T:
            raise DataError(
                f"A lag of {longest} needs more than {longest} periods; the panel has {self.T}."
            )
        check_steps(self.times, "a lag")
        new: dict[Hashable, NDArray] = {}
        for name, own in wanted.items():
            array = self.column(name)
            for k in own:
                before = np.full(self.shape, np.nan)
                before[k:] = array[:-k]
                new[f"{name}_lag{k}"] = before[self.present]
        taken = [name for name in new if name in self.dtypes]
        if taken:
            raise DataError(f"The panel has columns {listing(taken)} already: rename them.")
        first = self.present & (np.arange(self.T) < longest * common)[:, None]
        frame = self.frame.assign(**{str(name): values for name, values in new.items()})
        kept = frame[~first[self.present]]
        panel = Panel(kept, unbalanced=self.unbalanced if common else "allow")
        panel.cut = self.cut.append(self.index(first))  # type: ignore[assignment]
        return panel

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
        cut = f", {self.cut.size} rows cut for lags" if self.cut.size else ""
        return f"Panel({self.N} entities x {what}{gaps}{cut}, columns: {listing(self.columns)})"
