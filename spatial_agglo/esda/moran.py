"""Global Moran's I by period."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from spatial_agglo.core.moments import lag
from spatial_agglo.errors import DataError, WeightsError, check_option, listing
from spatial_agglo.panel import Panel
from spatial_agglo.weights.matrix import SpatialWeights, as_weights
from spatial_agglo.weights.panel_weights import PanelWeights

ASSUMPTIONS = ("randomization", "normality")


def moran(
    panel: Panel,
    variables: Hashable | Sequence[Hashable],
    W: Any,
    *,
    assumption: str = "randomization",
) -> pd.DataFrame:
    """Return Moran's I of one or more variables in every period.

    ``I = (N / S0) z'Wz / z'z`` with ``z`` the deviations from the period's mean.

    Parameters
    ----------
    panel : Panel
    variables : column name or list of column names
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
        Matched by label; not changed. PanelWeights are used period by period.
    assumption : {"randomization", "normality"}
        Under which the variance of I is computed (Cliff & Ord 1981).

    Returns
    -------
    DataFrame
        One row per variable and period, in that order: ``I``, ``expected``, ``variance``,
        ``z``, ``p_value`` (two-sided, normal).

    Raises
    ------
    DataError
        A variable that is missing somewhere, not numeric, or constant in a period; fewer than
        four units.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> sa.esda.moran(panel, "logc", W).loc[("logc", 1963), ["I", "z"]].round(4).tolist()
    [0.2624, 2.7533]
    """
    check_option("assumption", assumption, ASSUMPTIONS)
    names: list[Hashable]
    names = list(variables) if isinstance(variables, (list, tuple, pd.Index)) else [variables]
    if not names:
        raise DataError("Name at least one variable.")
    if panel.N < 4:
        raise DataError(f"Moran's I needs at least four units; the panel has {panel.N}.")
    weights: SpatialWeights | PanelWeights
    if isinstance(W, PanelWeights):
        weights = W.align(panel.entities, panel.times)
    else:
        weights = as_weights(W).align(panel.entities)
    frames = []
    for name in names:
        x = panel.column(name)
        constant = np.ptp(x, axis=1) <= 1e-12 * np.abs(x).max(axis=1)
        if constant.any():
            raise DataError(
                f"{name!r} is the same for all units in period(s) "
                f"{listing(panel.times[constant])}: Moran's I is not defined there."
            )
        columns = _by_period(x, weights, assumption)
        index = pd.MultiIndex.from_product([[name], panel.times], names=["variable", "time"])
        frames.append(pd.DataFrame(columns, index=index))
    return pd.concat(frames)


def _by_period(x: NDArray, W: SpatialWeights | PanelWeights, assumption: str) -> dict[str, NDArray]:
    """Compute all periods at once with one W, or each with its own."""
    if isinstance(W, SpatialWeights):
        return _statistics(x, W, assumption)
    parts = [_statistics(x[[t]], W[period], assumption) for t, period in enumerate(W)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _statistics(x: NDArray, W: SpatialWeights, assumption: str) -> dict[str, NDArray]:
    """I, its moments, z and p for every period of ``x``, shape (T, N)."""
    N = W.n
    z = x - x.mean(axis=1, keepdims=True)
    s0, s1, s2 = weight_sums(W)
    second = (z**2).sum(axis=1)
    statistic = (z * lag(W.operator, z)).sum(axis=1) / second * (N / s0)
    expected = -1.0 / (N - 1)
    if assumption == "normality":
        variance = (N**2 * s1 - N * s2 + 3 * s0**2) / ((N**2 - 1) * s0**2) - expected**2
        variance = np.full_like(statistic, variance)
    else:
        kurtosis = N * (z**4).sum(axis=1) / second**2
        free = N * ((N**2 - 3 * N + 3) * s1 - N * s2 + 3 * s0**2)
        tied = kurtosis * ((N**2 - N) * s1 - 2 * N * s2 + 6 * s0**2)
        variance = (free - tied) / ((N - 1) * (N - 2) * (N - 3) * s0**2) - expected**2
    score = (statistic - expected) / np.sqrt(variance)
    return {
        "I": statistic,
        "expected": np.full_like(statistic, expected),
        "variance": variance,
        "z": score,
        "p_value": 2.0 * ndtr(-np.abs(score)),
    }


def weight_sums(W: SpatialWeights) -> tuple[float, float, float]:
    """Return the sums S0, S1 and S2 of Cliff & Ord."""
    A = W.matrix
    s0 = float(A.sum())
    if s0 == 0:
        raise WeightsError("The weights have no links.")
    both = A + A.T
    s1 = 0.5 * float((both * both).sum())
    margins = np.asarray(A.sum(axis=0)).ravel() + np.asarray(A.sum(axis=1)).ravel()
    return s0, s1, float(margins @ margins)
