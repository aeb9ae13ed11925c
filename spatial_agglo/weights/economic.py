"""Weights from economic distance: similar units weigh more."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.errors import DataError, OptionError, WeightsError, check_option, listing
from spatial_agglo.panel import Panel
from spatial_agglo.weights.distances import DENSE_UNITS
from spatial_agglo.weights.geographic import positive
from spatial_agglo.weights.labels import as_labels
from spatial_agglo.weights.matrix import SpatialWeights
from spatial_agglo.weights.panel_weights import PanelWeights

DISTANCES = ("difference", "log difference", "ratio", "mahalanobis")


def levels(
    panel: Panel, variables: Hashable | Sequence[Hashable], *, window: Any
) -> pd.DataFrame | dict[Hashable, pd.DataFrame]:
    """Return the level of one or more variables of every unit over a stated window.

    Parameters
    ----------
    panel : Panel
    variables : column name or list of column names
        In constant prices where they are values.
    window : "sample", "yearly", a period, or a list or slice of periods
        "sample": mean over all periods (it contains what the weights are to explain). A list or
        ``slice(first, last)``, both ends included: mean over these, for example the years before
        the sample. One period: a base year. "yearly": one level per period.

    Returns
    -------
    DataFrame, or dict of period to DataFrame with window="yearly"
        Index: units. ``attrs["window"]`` says which window it is.

    Raises
    ------
    DataError
        A period that the panel does not have, a variable that is missing or not numeric.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"i": ["a", "b"] * 2, "t": [1, 1, 2, 2], "gdp": [1.0, 5.0, 3.0, 7.0]})
    >>> levels(Panel(df, entity="i", time="t"), "gdp", window="sample")["gdp"].tolist()
    [2.0, 6.0]
    """
    names = list(variables) if isinstance(variables, (list, tuple)) else [variables]
    if not names:
        raise DataError("Name at least one variable.")
    if isinstance(window, str) and window == "yearly":
        return {period: levels(panel, names, window=period) for period in panel.times}  # type: ignore[misc]
    where, text = _window(panel, window)
    frame = pd.DataFrame(
        {name: panel.column(name)[where].mean(axis=0) for name in names}, index=panel.entities
    )
    frame.attrs["window"] = text
    return frame


def economic_distance(
    data: Any,
    variables: Hashable | Sequence[Hashable] | None = None,
    *,
    window: Any = None,
    distance: str = "difference",
    power: float = 1.0,
    ties: str | float = "error",
    isolates: str = "error",
) -> SpatialWeights | PanelWeights:
    """Weight units by economic distance, ``w_ij = D_ij**-power``: similar units weigh more.

    Parameters
    ----------
    data : Panel, or Series or DataFrame with one row per unit
    variables : column name or list of column names
        Required for a Panel; all columns of a frame by default.
    window : "sample", "yearly", a period, or a list or slice of periods
        Required for a Panel; see :func:`levels`. "yearly" gives one W per period.
    distance : {"difference", "log difference", "ratio", "mahalanobis"}
        ``D = |Y_i - Y_j|``; ``|ln Y_i - ln Y_j|``; ``max(Y_i, Y_j) / min(Y_i, Y_j)``; or the
        Mahalanobis distance over several variables.
    power : float
        The exponent, positive.
    ties : {"error", "cap"} or float
        What to do with pairs at distance zero, whose weight would be infinite. "cap": they get
        the largest weight of the other pairs. A positive number is added to every distance.
    isolates : {"error", "allow"}

    Returns
    -------
    SpatialWeights, or PanelWeights with window="yearly"
        Symmetric, not standardised.

    Raises
    ------
    WeightsError
        Tied units (named).
    DataError
        Levels that are missing, or not positive where logs or ratios are taken.
    OptionError
        A window that is not stated, an unknown option.

    Examples
    --------
    >>> import pandas as pd
    >>> gdp = pd.Series([1.0, 2.0, 4.0], index=["a", "b", "c"])
    >>> economic_distance(gdp).to_frame().loc["b"].tolist()
    [1.0, 0.0, 0.5]
    """
    check_option("distance", distance, DISTANCES)
    power = positive("power", power)
    found = _levels_of(data, variables, window)
    if isinstance(found, dict):
        return PanelWeights(
            {
                period: economic_distance(
                    frame, distance=distance, power=power, ties=ties, isolates=isolates
                )
                for period, frame in found.items()
            }
        )
    labels = as_labels(found.index)
    if labels.size > DENSE_UNITS:
        raise WeightsError(
            f"All economic distances between {labels.size} units need "
            f"{8 * labels.size**2 / 2**30:.0f} GiB (at most {DENSE_UNITS} units are done densely). "
            "Take them on the links of a sparse geography: nested(..., form='contiguity')."
        )
    D, symbol = _distance(found, distance, labels)
    weights, rule = _invert(D, power, ties, labels)
    window_text = found.attrs.get("window", "as given")
    names = ", ".join(str(name) for name in found.columns)
    return SpatialWeights(
        sparse.csr_array(weights),
        labels,
        description=f"inverse economic distance ({distance} of {names}, {window_text}){rule}",
        formula=f"w_ij = ({symbol})^-{power:g}",
        meaning="similar neighbours weigh more",
        isolates=isolates,
    )


def single_level(income: Any) -> pd.Series:
    """Return one positive level per unit, as a Series."""
    if isinstance(income, pd.DataFrame):
        if income.shape[1] != 1:
            raise DataError(f"One variable is needed; the table has {income.shape[1]} columns.")
        series = income.iloc[:, 0]
        series.attrs.update(income.attrs)
    elif isinstance(income, pd.Series):
        series = income
    else:
        raise DataError(
            "A Series with one level per unit is needed, such as levels(panel, 'gdp', "
            f"window=...); got {type(income).__name__}."
        )
    as_labels(series.index)
    _check_levels(series.to_frame(), positive_only=True, why="this form of weights")
    return series


def _levels_of(
    data: Any, variables: Any, window: Any
) -> pd.DataFrame | dict[Hashable, pd.DataFrame]:
    if isinstance(data, Panel):
        if variables is None:
            raise OptionError("Name the variable(s) of the panel: economic_distance(panel, 'gdp').")
        if window is None:
            raise OptionError(
                "State the window over which levels are taken: window='sample' (mean over all "
                "periods), a list of periods (those before the sample are the safer choice), one "
                "base period, or 'yearly' (one W per period)."
            )
        return levels(data, variables, window=window)
    if window is not None:
        raise OptionError("window= needs a Panel; this table has one row per unit.")
    if isinstance(data, pd.Series):
        return data.to_frame(data.name if data.name is not None else "level")
    if isinstance(data, pd.DataFrame):
        names = list(data.columns) if variables is None else variables
        names = list(names) if isinstance(names, (list, tuple)) else [names]
        absent = [name for name in names if name not in data.columns]
        if absent:
            raise DataError(f"The table has no column {listing(absent)}.")
        frame = data[names]
        frame.attrs.update(data.attrs)
        return frame
    raise DataError(f"A Panel, Series or DataFrame is needed; got {type(data).__name__}.")


def _window(panel: Panel, window: Any) -> tuple[NDArray, str]:
    times = panel.times
    if isinstance(window, str) and window == "sample":
        return np.ones(panel.T, dtype=bool), "mean over the sample"
    if isinstance(window, slice):
        where = np.ones(panel.T, dtype=bool)
        if window.start is not None:
            where &= np.asarray(times >= window.start)
        if window.stop is not None:
            where &= np.asarray(times <= window.stop)
    else:
        wanted = list(window) if isinstance(window, (list, tuple, range, pd.Index)) else [window]
        absent = [period for period in wanted if period not in times]
        if absent:
            raise DataError(
                f"window names {listing(absent)}, not among the panel's periods "
                f"{listing(times, 30)}. (Known words: 'sample', 'yearly'.)"
            )
        where = np.asarray(times.isin(wanted))
    if not where.any():
        raise DataError(f"window={window!r} holds none of the panel's periods.")
    chosen = times[where]
    text = str(chosen[0]) if chosen.size == 1 else f"mean over {chosen[0]} to {chosen[-1]}"
    return where, text


def _check_levels(frame: pd.DataFrame, *, positive_only: bool, why: str) -> None:
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise DataError(f"The level {name!r} is not numeric (dtype {frame[name].dtype}).")
        values = frame[name].to_numpy(dtype=float, na_value=np.nan)
        bad = ~np.isfinite(values)
        if bad.any():
            raise DataError(f"The level {name!r} is missing for {listing(frame.index[bad])}.")
        low = values <= 0
        if positive_only and low.any():
            raise DataError(
                f"The level {name!r} must be positive for {why}; it is not for "
                f"{listing(frame.index[low])}."
            )


def _distance(frame: pd.DataFrame, distance: str, labels: pd.Index) -> tuple[NDArray, str]:
    """Return the economic distances and their formula."""
    logs = distance in ("log difference", "ratio")
    _check_levels(frame, positive_only=logs, why=f"distance={distance!r}")
    values = frame.to_numpy(dtype=float)
    if distance == "mahalanobis":
        S = np.atleast_2d(np.cov(values, rowvar=False))
        if np.linalg.matrix_rank(S) < len(S):
            raise DataError(
                "The variables are collinear across units, so the Mahalanobis distance is not "
                f"defined: drop one of {listing(frame.columns)}."
            )
        scaled = np.linalg.solve(np.linalg.cholesky(S), (values - values.mean(axis=0)).T).T
        gaps = scaled[:, None, :] - scaled[None, :, :]
        return np.sqrt((gaps**2).sum(axis=2)), "Mahalanobis distance of the levels"
    if values.shape[1] != 1:
        raise OptionError(
            f"distance={distance!r} takes one variable; got {values.shape[1]}. Use 'mahalanobis'."
        )
    y = values[:, 0]
    if distance == "difference":
        return np.abs(y[:, None] - y[None, :]), "|Y_i - Y_j|"
    if distance == "log difference":
        return np.abs(np.log(y)[:, None] - np.log(y)[None, :]), "|ln Y_i - ln Y_j|"
    return np.exp(np.abs(np.log(y)[:, None] - np.log(y)[None, :])), "max(Y_i, Y_j)/min(Y_i, Y_j)"


def _invert(D: NDArray, power: float, ties: str | float, labels: pd.Index) -> tuple[NDArray, str]:
    """Return ``D**-power`` with an empty diagonal and the rule for ties applied."""
    off = ~np.eye(len(D), dtype=bool)
    rule = ""
    if not isinstance(ties, str):
        D = D + positive("ties", ties)
        rule = f", {ties:g} added to every distance"
    else:
        check_option("ties", ties, ("error", "cap"))
    tied = off & (1e-12 * max(1e-300, float(D.max())) >= D)
    if tied.any():
        if ties == "error":
            i, j = np.nonzero(np.triu(tied))
            pairs = list(zip(labels[i], labels[j], strict=True))
            raise WeightsError(
                f"{len(pairs)} pair(s) of units have the same level: {listing(pairs)}. Their "
                "weight would be infinite. State a rule: ties='cap' (the largest weight of the "
                "other pairs) or a number that is added to every distance."
            )
        if not (off & ~tied).any():
            raise WeightsError("All units have the same level: there is no economic distance.")
        rule = ", ties capped at the largest weight of the other pairs"
    weights = np.zeros_like(D)
    near = off & ~tied
    weights[near] = D[near] ** -power
    weights[tied] = weights.max()
    return weights, rule
