"""Periods that follow each other, and lags asked for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from spatial_agglo.errors import DataError, OptionError, listing


def check_steps(times: pd.Index, what: str) -> None:
    """Raise unless the periods follow each other at equal steps forward."""
    if isinstance(times, pd.CategoricalIndex):
        times = times.astype(times.categories.dtype)
    if isinstance(times, pd.DatetimeIndex):
        months = 12 * times.year + times.month
        monthly = months.is_unique and (times.day.nunique() == 1 or times.is_month_end.all())
        numbers = np.asarray(months if monthly else times.asi8, dtype=float)
    elif isinstance(times, pd.PeriodIndex):
        numbers = times.asi8.astype(float)
    elif pd.api.types.infer_dtype(times) in ("integer", "floating", "mixed-integer-float"):
        numbers = times.to_numpy(dtype=float)
    elif all(isinstance(t, str) and t.isdecimal() and len(t) == len(times[0]) for t in times):
        numbers = np.array([float(t) for t in times])  # of one length, so sorted as numbers
    else:
        raise DataError(
            f"The periods {listing(times)} are labels without a distance, so {what} is not "
            "defined. Use numbers (years), pandas Periods or dates."
        )
    steps = np.diff(numbers)
    if (steps <= 0).any():
        raise DataError(
            f"The periods run backwards, {listing(times)}: an ordered categorical is kept in its "
            f"order, in which {what} would come from later periods. Convert them to numbers, or "
            "give the categories in the order of time."
        )
    odd = np.flatnonzero(~np.isclose(steps, np.median(steps), rtol=1e-6, atol=0.0))
    if odd.size:
        raise DataError(
            "The periods must follow each other at equal steps; these do not: "
            f"{listing([(times[i], times[i + 1]) for i in odd])}. Across a gap {what} is not of "
            "the period before: add the missing periods, or use a stretch without gaps."
        )


def lags_of(columns: Any, lags: Any) -> dict[Hashable, list[int]]:
    """Return the lags of every column that is to be lagged."""
    if isinstance(columns, Mapping):
        asked = dict(columns)
    else:
        one = isinstance(columns, (str, tuple)) or not isinstance(columns, Iterable)
        asked = dict.fromkeys([columns] if one else columns, lags)
    wanted = {
        name: list(
            dict.fromkeys([own] if isinstance(own, str) or not isinstance(own, Iterable) else own)
        )
        for name, own in asked.items()
    }
    for name, own in wanted.items():
        whole = all(isinstance(k, (int, np.integer)) and not isinstance(k, bool) for k in own)
        if not own or not whole or min(own) < 1:
            raise OptionError(
                f"The lags of {name!r} must be whole numbers of at least 1, as in 1 or [1, 2, 3]; "
                f"got {own!r}."
            )
    if not wanted:
        raise OptionError("There is no column to lag: name at least one.")
    return wanted
