"""Descriptive statistics of a panel's variables, as papers lay them out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
import pandas as pd

from spatial_agglo.errors import DataError, check_made, check_option
from spatial_agglo.panel import Panel, numeric
from spatial_agglo.report.formats import MILLION, in_row
from spatial_agglo.report.table import Table
from spatial_agglo.report.terms import check_decimals

#: What a table of descriptives may have, in the order of the papers.
DESCRIPTIVES = {
    "N": "count",
    "mean": "mean",
    "sd": "standard deviation, divisor N - 1",
    "min": "smallest",
    "p25": "lower quartile",
    "p50": "median",
    "p75": "upper quartile",
    "max": "largest",
}
#: A variable of this mean or spread is written without decimals.
THOUSANDS = 1e3


def descriptives_table(
    panel: Panel,
    variables: Sequence[Hashable] | None = None,
    *,
    statistics: Sequence[str] = ("N", "mean", "sd", "min", "p50", "max"),
    labels: Mapping[Hashable, str] | None = None,
    decimals: int = 2,
) -> Table:
    """Lay out how variables are distributed over all cells of a panel, a row each.

    Parameters
    ----------
    panel : Panel
    variables : list of column names, optional
        All the numeric ones by default.
    statistics : list of {"N", "mean", "sd", "min", "p25", "p50", "p75", "max"}
        Over the cells that have a value; "sd" has the divisor N - 1.
    labels : mapping of name to str, optional
    decimals : int
        At least: a variable of small numbers has more, so that two significant digits are left;
        one whose mean or spread is a thousand or more has none, and commas.

    Returns
    -------
    Table

    Raises
    ------
    DataError
        Unknown or non-numeric columns, or no variable at all.
    OptionError
        Unknown statistics.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> descriptives_table(panel, ["logc", "logp"]).body.loc["logc"].to_dict()
    {'N': '1,380', 'Mean': '4.79', 'SD': '0.22', 'Min': '3.98', 'P50': '4.80', 'Max': '5.70'}
    """
    check_decimals(decimals)
    for what in statistics:
        check_option("statistics", what, DESCRIPTIVES)
    check_made(panel, "entities", "sa.Panel")
    frame = panel.frame
    names = list(variables) if variables is not None else _numeric_columns(panel)
    if not names or not statistics:
        raise DataError("Descriptives need at least one numeric variable and one statistic.")
    written = {name: str((labels or {}).get(name, name)) for name in names}
    lines = {}
    for name in names:
        values = numeric(frame, name)
        values = values[~np.isnan(values)]
        if not values.size:
            raise DataError(f"{name!r} has no value in any cell: there is nothing to describe.")
        write = _writer(values, decimals)
        lines[written[name]] = [write(what) for what in statistics]
    heads = [{"sd": "SD", "N": "N"}.get(what, what.capitalize()) for what in statistics]
    body = pd.DataFrame.from_dict(lines, orient="index", columns=heads, dtype=object)
    body.index.name = "Variable"
    notes = [f"{panel.N:,} units, {panel.T:,} periods."]
    if not panel.balanced:
        notes = [f"{panel.N:,} units, {panel.T:,} periods, {panel.nobs:,} rows."]
    if "sd" in statistics:
        notes.append("SD: standard deviation over all cells, divisor N - 1.")
    return Table("Descriptive statistics", body, (" ".join(notes),))


def _numeric_columns(panel: Panel) -> list[Hashable]:
    return [name for name, kind in panel.dtypes.items() if pd.api.types.is_numeric_dtype(kind)]


def _writer(values: np.ndarray, decimals: int) -> Callable[[str], str]:
    """Return what writes the statistics of a variable, all with the same decimals."""
    sd = float(values.std(ddof=1)) if values.size > 1 else float("nan")
    mean = float(values.mean())
    quantiles = {"min": 0.0, "p25": 0.25, "p50": 0.5, "p75": 0.75, "max": 1.0}
    number = in_row([mean, sd], decimals)
    if max(abs(mean), 0.0 if np.isnan(sd) else sd) >= THOUSANDS:
        number = in_row([MILLION], 0)

    def write(what: str) -> str:
        if what == "N":
            return f"{values.size:,}"
        if what in quantiles:
            return number(float(np.quantile(values, quantiles[what])))
        return number(mean if what == "mean" else sd)

    return write
