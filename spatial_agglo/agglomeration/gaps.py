"""Filling gaps by a straight line, as a step of its own that says what it filled."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.agglomeration.keys import Keys, columns_list, read_keys, read_numbers
from spatial_agglo.errors import DataError, OptionError, check_option, listing

#: Columns of the lists of what is filled and what is not.
OWN = ("column", "value", "reason")


class Interpolation(NamedTuple):
    """A frame with gaps filled, what was filled, and what was not.

    ``filled`` and ``unfilled`` have one row per cell: entity, time, ``column``, and ``value``
    or the ``reason``.
    """

    data: pd.DataFrame
    filled: pd.DataFrame
    unfilled: pd.DataFrame


def interpolate(
    data: pd.DataFrame,
    columns: Sequence[Hashable],
    *,
    entity: Hashable | None = None,
    time: Hashable | None = None,
    limit: int | None = None,
    unfilled: str = "error",
) -> Interpolation:
    """Fill gaps within units by a straight line between the values on both sides.

    ::

        y_t = y_a + (y_b - y_a) (t - a) / (b - a),    a < t < b the nearest periods with a value

    Distances are those of the time labels: numbers (also as text, "2001") or dates. Nothing is
    ever carried beyond a unit's first or last value, nor from one unit to another.

    Parameters
    ----------
    data : DataFrame
        One row per unit and period, in any order; not changed.
    columns : list of column labels
        What to fill; other columns stay as they are.
    entity, time : column labels, optional
        Leave both out when the index is an (entity, time) MultiIndex.
    limit : int, optional
        Longest gap that is filled, in rows; longer ones are left as they are, whole.
    unfilled : {"error", "leave"}
        What to do about missing values that a line cannot reach: before the first or after the
        last value of a unit, in gaps longer than ``limit``, or in units without any.

    Returns
    -------
    Interpolation
        ``data`` (a copy, rows in the order they came), ``filled``, ``unfilled``.

    Raises
    ------
    DataError
        Values that stay missing, named; unknown or non-numeric columns; time labels that are
        neither numbers nor dates; a period without a row between others of a unit (add it
        first); units or periods in a column named "column", "value" or "reason".
    OptionError
        ``limit`` is not a whole positive number; an unknown value of ``unfilled``.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": "a", "year": [2001, 2002, 2004], "y": [1.0, None, 4.0]})
    >>> found = interpolate(df, ["y"], entity="city", time="year")
    >>> found.data["y"].tolist(), found.filled.to_dict("records")
    ([1.0, 2.0, 4.0], [{'city': 'a', 'year': 2002, 'column': 'y', 'value': 2.0}])
    """
    check_option("unfilled", unfilled, ("error", "leave"))
    if limit is not None and not _is_length(limit):
        raise OptionError(
            f"limit={limit!r} must be the length of a gap, a whole number of 1 or more, or None."
        )
    names = columns_list(columns, "columns")
    if not names:
        raise DataError("columns=[...] is empty: name what to fill.")
    if entity is not None and time is None:
        raise DataError("Gaps are filled over time; name the column of periods, time=... .")
    keys = read_keys(data, entity, time)
    keys.require_unique()
    clash = [name for name in (keys.entities.name, keys.times.name) if name in OWN]
    if clash:
        raise DataError(
            f"The column of units or periods is named {listing(clash)}, as a column of the lists "
            f"of what is filled ({', '.join(OWN)}): rename it."
        )
    at = _positions(keys)
    _require_rows(keys)
    frame = data.copy()
    filled: list[pd.DataFrame] = []
    left: list[pd.DataFrame] = []
    for name in names:
        values = read_numbers(data, name)
        new, why = _fill(values, keys, at, limit)
        done = np.isnan(values) & ~np.isnan(new)
        if done.any():
            frame[name] = new
        filled.append(_rows(keys, done, name).assign(value=new[done]))
        lacking = np.isnan(new)
        left.append(_rows(keys, lacking, name).assign(reason=why[lacking]))
    rest = pd.concat(left, ignore_index=True)
    if unfilled == "error" and len(rest):
        raise DataError(
            f"{len(rest)} value(s) cannot be interpolated: "
            f"{listing(rest.itertuples(index=False, name=None))}. Find them, leave these units or "
            "periods out, or say unfilled='leave'."
        )
    return Interpolation(frame, pd.concat(filled, ignore_index=True), rest)


def _is_length(limit: object) -> bool:
    whole = isinstance(limit, Real) and not isinstance(limit, bool) and float(limit).is_integer()
    return whole and limit >= 1  # type: ignore[operator, no-any-return]


def _positions(keys: Keys) -> NDArray:
    """Return where periods stand on the line of time, as numbers."""
    times = keys.times
    if isinstance(times, pd.DatetimeIndex):
        return (times - times[0]) / pd.Timedelta(days=1)  # type: ignore[no-any-return]
    if isinstance(times, pd.PeriodIndex):
        return np.asarray(times.asi8, dtype=float)
    if all(isinstance(t, str) and t.isdecimal() and len(t) == len(times[0]) for t in times):
        return np.array([float(t) for t in times])  # of one length, so sorted as numbers
    if not pd.api.types.is_numeric_dtype(times) or pd.api.types.is_bool_dtype(times):
        raise DataError(
            f"Periods must be numbers or dates to interpolate over; got {times[0]!r} "
            f"({times.dtype}). Convert them, for example with pandas.to_numeric."
        )
    return times.to_numpy(dtype=float)


def _require_rows(keys: Keys) -> None:
    """Raise if a unit has no row in a period between two others: it would stay empty."""
    T, N = keys.times.size, keys.entities.size
    there = np.zeros((T, N), dtype=bool)
    there[keys.t, keys.i] = True
    begun = np.maximum.accumulate(there, axis=0)
    goes_on = np.maximum.accumulate(there[::-1], axis=0)[::-1]
    t, i = np.nonzero(begun & goes_on & ~there)
    if t.size:
        cells = list(zip(keys.entities[i], keys.times[t], strict=True))
        raise DataError(
            f"{t.size} (entity, time) cell(s) between others have no row, and no row can be filled "
            f"that is not there: {listing(cells)}. Add the rows, with missing values: "
            "df.set_index([entity, time]), then .reindex(pd.MultiIndex.from_product([units, "
            "periods], names=[entity, time])).reset_index(). Units that come later or leave "
            "earlier need none before or after."
        )


def _fill(values: NDArray, keys: Keys, at: NDArray, limit: int | None) -> tuple[NDArray, NDArray]:
    """Return the values with gaps filled, and why the others were not, by row."""
    T, N = keys.times.size, keys.entities.size
    y = np.full((T, N), np.nan)
    y[keys.t, keys.i] = values
    step, known = np.arange(T)[:, None], ~np.isnan(y)
    before = np.maximum.accumulate(np.where(known, step, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, step, T)[::-1], axis=0)[::-1]
    # Units have a row in every period of a gap: its length in periods is that in rows.
    long = (after - before - 1 > (T if limit is None else limit)) & (before >= 0) & (after < T)
    why = np.select(
        [~known.any(axis=0) & np.ones((T, 1), dtype=bool), before < 0, after >= T, long],
        [
            "the unit has no value",
            "before the first value",
            "after the last value",
            f"in a gap longer than {limit}",
        ],
        "",
    )
    t, i = np.nonzero(~known & (why == ""))
    a, b = before[t, i], after[t, i]
    y[t, i] = y[a, i] + (y[b, i] - y[a, i]) * (at[t] - at[a]) / (at[b] - at[a])
    return y[keys.t, keys.i], why[keys.t, keys.i]


def _rows(keys: Keys, where: NDArray, name: Hashable) -> pd.DataFrame:
    rows = np.flatnonzero(where)
    return pd.DataFrame(
        {
            keys.entities.name: keys.entities[keys.i[rows]],
            keys.times.name: keys.times[keys.t[rows]],
            "column": pd.Series([name] * rows.size, dtype=object),
        }
    )
