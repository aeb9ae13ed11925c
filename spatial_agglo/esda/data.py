"""From panels, tables and series to arrays of one row per period."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import DataError, check_option, listing
from spatial_agglo.panel import Panel, numeric
from spatial_agglo.weights.matrix import SpatialWeights, as_weights
from spatial_agglo.weights.panel_weights import PanelWeights

MISSING = ("raise", "nan")


@dataclass(frozen=True)
class Series:
    """One variable over all periods; a period that cannot be used says why.

    Attributes
    ----------
    name : Hashable
    x : ndarray, shape (T, N)
    usable : ndarray of bool, shape (T,)
    reasons : list of str, one per period, empty where usable
    """

    name: Hashable
    x: NDArray
    usable: NDArray
    reasons: list[str]


def as_panel(data: Any, ids: Hashable | None) -> Panel:
    """Return a Panel with a row in every cell, empty where the given one has none.

    A table of one row per unit (a GeoDataFrame, say) has one period.
    """
    if isinstance(data, Panel):
        if ids is not None:
            raise DataError("ids= is for a table of one row per unit; a Panel knows its units.")
        return data if data.balanced else _completed(data)
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"A Panel or a DataFrame is needed; got {type(data).__name__}.")
    table = pd.DataFrame({name: data[name] for name in data.columns if name != ids})
    table["__unit__"] = data[ids].to_numpy() if ids is not None else data.index
    return Panel(table, entity="__unit__")


def _completed(panel: Panel) -> Panel:
    flags = panel.frame.select_dtypes("bool").columns
    frame = panel.frame.astype(dict.fromkeys(flags, float))
    return Panel(frame.reindex(panel.index(np.ones(panel.shape, bool))), unbalanced="allow")


def aligned(W: Any, panel: Panel) -> SpatialWeights | PanelWeights:
    """Return the weights in the order of the panel's units (and periods)."""
    if isinstance(W, PanelWeights):
        return W.align(panel.entities, panel.times)
    return as_weights(W).align(panel.entities)


def named(variables: Any) -> list[Any]:
    """Return a list of column names and series from one or several of them."""
    if isinstance(variables, pd.Series):
        return [variables]
    if isinstance(variables, Mapping):
        return [series.rename(name) for name, series in variables.items()]
    if isinstance(variables, Sequence | pd.Index) and not isinstance(variables, str):
        return list(variables)
    return [variables]


def collect(panel: Panel, variables: Any, missing: str, *, positive: bool = False) -> list[Series]:
    """Return the variables of a panel, each period checked.

    Raises
    ------
    DataError
        Cells that are missing (named), a period in which a variable is constant (or not positive
        where it must be), unless ``missing="nan"``; fewer than four units.
    """
    check_option("missing", missing, MISSING)
    names = named(variables)
    if not names:
        raise DataError("Name at least one variable.")
    if panel.N < 4:
        raise DataError(
            f"Statistics of spatial autocorrelation need at least four units; there are {panel.N}."
        )
    return [_series(panel, name, missing, positive) for name in names]


def _series(panel: Panel, variable: Any, missing: str, positive: bool) -> Series:
    if isinstance(variable, pd.Series):
        name, x = variable.name, _by_label(panel, variable)
    else:
        name, x = variable, panel.arrange(numeric(panel.frame, variable))
    if missing == "raise":
        panel.check_finite(x, name)
        _check_gaps(panel, x, name)
    reasons = []
    for row in x:
        bad = ~np.isfinite(row)
        if bad.any():
            reasons.append(f"missing for {listing(panel.entities[bad], 3)}")
        elif np.ptp(row) <= 1e-12 * np.abs(row).max():
            reasons.append("the same for all units")
        elif positive and row.min() < 0:
            reasons.append(f"negative for {listing(panel.entities[row < 0], 3)}")
        else:
            reasons.append("")
    usable = np.array([not reason for reason in reasons])
    if missing == "raise" and not usable.all():
        t = int(np.flatnonzero(~usable)[0])
        where = panel.times[[reason == reasons[t] for reason in reasons]]
        raise DataError(
            f"{name!r} is {reasons[t]} in period(s) {listing(where)}, so the statistic is not "
            "defined there. Leave these periods out, or pass missing='nan' to get NaN with "
            "the reason."
        )
    return Series(name, x, usable, reasons)


def _check_gaps(panel: Panel, x: NDArray, name: Hashable) -> None:
    """Raise on the gaps that a panel declared with unbalanced="allow" may have, naming them."""
    gaps = np.isnan(x)
    if not gaps.any():
        return
    cells = list(panel.index(gaps))
    raise DataError(
        f"{name!r} has no value in {len(cells)} of {x.size} (entity, time) cells: "
        f"{listing(cells)}. Statistics of spatial autocorrelation need every unit in a period, "
        "for without some of them W is another matrix. Leave out those units or periods (a Panel "
        "and W.subset of the rest), or fill the gaps in a stated way; where the function takes "
        "missing='nan', that gives NaN in these periods, and the statistic in the others."
    )


def _by_label(panel: Panel, series: pd.Series) -> NDArray:
    """Put a series on the (entity, time) index, or on entities alone, into the panel's order.

    On a panel that may have gaps, cells without a value are NaN.
    """
    gaps = panel.unbalanced == "allow"
    index = panel.index(np.ones(panel.shape, dtype=bool)) if gaps else panel.frame.index
    if series.index.nlevels == 1 and panel.T == 1:
        series = series.set_axis(
            pd.MultiIndex.from_product([series.index, panel.times], names=index.names)
        )
    own, cells = set(series.index), set(index)
    if series.index.has_duplicates or not (own <= cells if gaps else own == cells):
        raise DataError(
            f"The series {series.name!r} must have one value for every (entity, time) of the "
            f"panel, on that index; it has {series.size} value(s) for {panel.nobs} cells."
        )
    return np.asarray(series.reindex(index), dtype=float).reshape(panel.shape)
