"""From draws to a table of effects: errors, two kinds of intervals, p values; and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from spatial_agglo.errors import check_level

COLUMNS = (
    "estimate",
    "std_error",
    "percentile_lower",
    "percentile_upper",
    "bc_lower",
    "bc_upper",
    "p_value",
)
#: Share of draws in which the total effect has the other sign, above which a share of it means
#: nothing.
UNSTABLE = 0.025


def effects_table(
    estimates: NDArray,
    draws: NDArray,
    index: pd.Index | Sequence[Any],
    *,
    level: float,
    ratios: Sequence[int] = (),
) -> pd.DataFrame:
    """Summarise draws of effects around their estimates.

    Parameters
    ----------
    estimates : ndarray, shape (q,)
    draws : ndarray, shape (R, q)
    index : labels of the q effects
    level : float
        Coverage of the intervals.
    ratios : positions
        Effects that are ratios, whose distribution has no variance: their standard error is NaN.

    Returns
    -------
    DataFrame
        ``estimate``, ``std_error`` (standard deviation of the draws), ``percentile_lower`` and
        ``percentile_upper``, ``bc_lower`` and ``bc_upper`` (bias-corrected), and ``p_value``, that
        of the bias-corrected interval which just reaches zero (see :func:`p_values`).

    References
    ----------
    Efron (1987), Journal of the American Statistical Association 82; MacKinnon, Lockwood &
    Williams (2004), Multivariate Behavioral Research 39.

    Examples
    --------
    >>> draws = np.arange(1.0, 100.0)[:, None]
    >>> effects_table(np.array([50.0]), draws, ["x"], level=0.9).round(2).loc["x"].tolist()
    [50.0, 28.72, 5.9, 94.1, 5.9, 94.1, 0.02]
    """
    check_level(level)
    errors = draws.std(axis=0, ddof=1)
    errors[list(ratios)] = np.nan
    low, high = np.quantile(draws, [0.5 - level / 2.0, 0.5 + level / 2.0], axis=0)
    bc_low, bc_high = bias_corrected(estimates, draws, level)
    values = [estimates, errors, low, high, bc_low, bc_high, p_values(estimates, draws)]
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)), index=index)


def bias_corrected(estimates: NDArray, draws: NDArray, level: float) -> tuple[NDArray, NDArray]:
    """Return the ends of bias-corrected percentile intervals.

    The quantiles ``Phi(2 z0 -+ z)`` of the draws, ``z0 = Phi^-1(share of draws below the
    estimate)``, draws equal to it counting half. NaN where all draws lie on one side of it.
    """
    z0, z = ndtri(_share_below(estimates, draws)), ndtri(0.5 + level / 2.0)
    ends = np.full((2, estimates.size), np.nan)
    for j in np.flatnonzero(np.isfinite(z0)):
        ends[:, j] = np.quantile(draws[:, j], ndtr(2.0 * z0[j] + np.array([-z, z])))
    return ends[0], ends[1]


def p_values(estimates: NDArray, draws: NDArray) -> NDArray:
    """Return two-sided p values: 1 less the level of the bias-corrected interval that ends in zero.

    ``2 Phi(-|Phi^-1(u) - 2 z0|)``, u the place of zero among the draws (that quantile of them
    which is zero) and z0 as in :func:`bias_corrected`; of the percentile interval (``z0 = 0``)
    where that has none. Never below ``2 / (R + 1)``, what R draws can show.

    Examples
    --------
    >>> draws = np.arange(-10.0, 90.0)[:, None]
    >>> [p_values(np.array([b]), draws).round(3).tolist() for b in (39.5, 30.0)]
    [[0.202], [0.427]]
    """
    R, z0 = len(draws), ndtri(_share_below(estimates, draws))
    z0[~np.isfinite(z0)] = 0.0
    ordered = np.sort(draws, axis=0)
    below, reached = (draws < 0.0).sum(axis=0), (draws <= 0.0).sum(axis=0)
    # Draws that are zero make it a range of quantiles; else zero lies between two draws.
    first, last = below / (R - 1.0), (reached - 1.0) / (R - 1.0)
    for j in np.flatnonzero(below == reached):
        i = int(below[j])
        if 0 < i < R:
            left, right = ordered[i - 1 : i + 1, j]
            first[j] = last[j] = (i - 1.0 - left / (right - left)) / (R - 1.0)
        else:
            first[j] = last[j] = float(i == R)
    gap = np.maximum(ndtri(first) - 2.0 * z0, 2.0 * z0 - ndtri(last))
    return np.clip(2.0 * ndtr(-np.maximum(gap, 0.0)), 2.0 / (R + 1.0), 1.0)


def _share_below(estimates: NDArray, draws: NDArray) -> NDArray:
    """Return the share of draws below the estimates, those equal to them counting half."""
    share: NDArray = (draws < estimates).mean(axis=0) + 0.5 * (draws == estimates).mean(axis=0)
    return share


def significant(row: pd.Series) -> bool:
    """Tell whether the bias-corrected interval leaves out zero; percentile where there is none."""
    kind = "bc" if np.isfinite(row["bc_lower"]) else "percentile"
    return bool(row[f"{kind}_lower"] > 0.0 or row[f"{kind}_upper"] < 0.0)


def verdict(
    direct: pd.Series,
    indirect: pd.Series,
    what: str,
    level: float,
    *,
    called: str = "indirect effect",
) -> str:
    """Say what the intervals say about mediation, and what they do not.

    Examples
    --------
    >>> rows = [pd.Series({"estimate": b, "bc_lower": b - 0.1, "bc_upper": b + 0.1})
    ...         for b in (0.4, 0.3)]
    >>> print(verdict(*rows, "uic", 0.95))
    Partial mediation through uic: the 95% bias-corrected intervals of the indirect effect and of
    the direct effect leave out zero, and both have the same sign.
    """
    interval = f"{100 * level:g}% bias-corrected interval"
    if not significant(indirect):
        return f"No mediation shown through {what}: the {interval} of the {called} holds zero."
    if not significant(direct):
        return (
            f"Full mediation through {what}: the {interval} of the {called} leaves out zero, "
            "that of the direct effect holds it. That a direct effect is not distinguished "
            "from zero does not show that there is none."
        )
    if direct["estimate"] * indirect["estimate"] > 0:
        return (
            f"Partial mediation through {what}: the {interval}s of the {called} and of the "
            "direct effect leave out zero, and both have the same sign."
        )
    return (
        f"Suppression (competitive mediation) through {what}: the {interval}s of the "
        f"{called} and of the direct effect leave out zero, and their signs differ, so that each "
        "hides part of the other in the total."
    )
