"""The one shape of a test result: a row with statistic, degrees of freedom and p value."""

from __future__ import annotations

from collections.abc import Mapping

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
    frame = pd.DataFrame.from_dict(dict(data), orient="index", columns=list(COLUMNS))
    frame.index.name = "test"
    return frame.astype({"statistic": float, "df": "Int64", "p_value": float})
