"""The one shape of a test result: a row with statistic, degrees of freedom and p value.

What a row tests (:class:`About`) goes into ``table.attrs["tests"]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import chdtrc, ndtr

COLUMNS = ("statistic", "df", "p_value")


def chi2_table(rows: Mapping[str, tuple[float, int]]) -> pd.DataFrame:
    """Return a table of chi-squared tests from ``{name: (statistic, df)}``."""
    data = {
        name: (float(statistic), df, float(chdtrc(df, max(statistic, 0.0))))
        for name, (statistic, df) in rows.items()
    }
    return _frame(data)


def normal_row(name: str, z: float) -> pd.DataFrame:
    """Return a two-sided test of a standard normal statistic; it has no df."""
    return _frame({name: (float(z), pd.NA, float(2.0 * ndtr(-np.abs(z))))})


def _frame(data: Mapping[str, tuple[object, ...]]) -> pd.DataFrame:
    statistic, df, p_value = zip(*data.values(), strict=True) if data else ((), (), ())
    return pd.DataFrame(
        {
            "statistic": np.array(statistic, dtype=float),
            "df": pd.array(list(df), dtype="Int64"),
            "p_value": np.array(p_value, dtype=float),
        },
        index=pd.Index(list(data), dtype=object, name="test"),
        columns=list(COLUMNS),
    )


# --- what a row of a table tests --------------------------------------------------------------


@dataclass(frozen=True)
class About:
    """What a row of a table of tests is about.

    Attributes
    ----------
    null : str
        The hypothesis that a small p value speaks against.
    distribution : str
        Of the statistic under the null.
    source : str
    reason : str
        Why the row is NaN; empty otherwise.
    """

    null: str
    distribution: str
    source: str
    reason: str = ""


def described(table: pd.DataFrame, about: Mapping[str, About]) -> pd.DataFrame:
    """Put into ``table.attrs["tests"]`` what every row tests.

    Plain dictionaries of text: they survive selection, rounding, copies and pickles.
    """
    table.attrs["tests"] = {
        name: {key: text for key, text in vars(note).items() if text}
        for name, note in about.items()
    }
    return table


def stacked(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Put tables below one another; what their rows test, and other attrs, are kept.

    ``pandas.concat`` drops attrs that differ.
    """
    tables = list(tables)
    out = pd.concat(tables)
    out.attrs = {}
    for table in tables:
        for key, value in table.attrs.items():
            merge = isinstance(value, dict) and isinstance(out.attrs.get(key, {}), dict)
            out.attrs[key] = {**out.attrs.get(key, {}), **value} if merge else value
    return out
