"""Global spatial autocorrelation by period: Moran's I, Geary's C, Getis-Ord G."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from spatial_agglo.core.moments import lag
from spatial_agglo.core.random import generator
from spatial_agglo.errors import DataError, OptionError, WeightsError, check_option
from spatial_agglo.esda.data import Series, aligned, as_panel, collect
from spatial_agglo.esda.permutation import p_values, simulate
from spatial_agglo.esda.statistics import (
    Geary,
    GetisOrd,
    Moran,
    Statistic,
    WeightSums,
    observed,
)
from spatial_agglo.weights.matrix import SpatialWeights
from spatial_agglo.weights.panel_weights import PanelWeights

ASSUMPTIONS = ("randomization", "normality")
ALTERNATIVES = ("two-sided", "greater", "less")
ADJUSTMENTS = ("none", "fdr", "holm", "bonferroni")

_SHARED = """data : Panel, or DataFrame or GeoDataFrame with one row per unit
    variables : column name, Series on (entity, time), list or mapping of these
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
        Matched by label; not changed. PanelWeights are used period by period.
    assumption : {"randomization", "normality"}
        Under which the variance is computed (Cliff & Ord 1981).
    alternative : {"two-sided", "greater", "less"}
        Of both kinds of p values.
    permutations : int
        Random permutations of the units, the same for all variables and periods; 0 for none.
    seed : int, Generator or None
        The same seed gives the same answer.
    adjust : {"none", "fdr", "holm", "bonferroni"}
        For the multiplicity of periods, within each variable: adds ``p_adjusted``, from the
        permutation p values where there are any.
    missing : {"raise", "nan"}
        "nan": a period with a missing cell (or without variation) is NaN, and ``note`` says why.
    ids : column label, optional
        Labels of the units in a DataFrame; its index when left out."""


def _documented(function: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    """Put the parameters that all statistics share into a docstring."""
    function.__doc__ = (function.__doc__ or "").replace("[shared]", _SHARED)
    return function


@_documented
def moran(
    data: Any,
    variables: Any,
    W: Any,
    *,
    assumption: str = "randomization",
    alternative: str = "two-sided",
    permutations: int = 0,
    seed: int | np.random.Generator | None = 0,
    adjust: str = "none",
    missing: str = "raise",
    ids: Hashable | None = None,
) -> pd.DataFrame:
    """Return Moran's I of one or more variables in every period.

    ``I = (N / S0) z'Wz / z'z`` with ``z`` the deviations from the period's mean; above its
    expectation -1/(N - 1) where neighbours are alike.

    Parameters
    ----------
    [shared]

    Returns
    -------
    DataFrame
        One row per variable and period: ``I``, ``expected``, ``variance``, ``z``, ``p_value``,
        and, where asked for, ``p_permutation``, ``p_adjusted``, ``note``.

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
    options = _options(assumption, alternative, permutations, adjust)
    return _by_period(Moran, data, variables, W, ids, missing, seed, options)


@_documented
def geary(
    data: Any,
    variables: Any,
    W: Any,
    *,
    assumption: str = "randomization",
    alternative: str = "two-sided",
    permutations: int = 0,
    seed: int | np.random.Generator | None = 0,
    adjust: str = "none",
    missing: str = "raise",
    ids: Hashable | None = None,
) -> pd.DataFrame:
    """Return Geary's C of one or more variables in every period.

    ``C = (N - 1) sum_ij w_ij (x_i - x_j)^2 / (2 S0 z'z)``; below its expectation 1 where
    neighbours are alike, so ``alternative="less"`` tests for positive autocorrelation.

    Parameters
    ----------
    [shared]

    Returns
    -------
    DataFrame
        As :func:`moran`, with ``C`` for ``I``. ``z`` is (C - expected) / s.d.; spdep prints the
        opposite sign.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> float(sa.esda.geary(panel, "logc", W).loc[("logc", 1963), "C"].round(4))
    0.6965
    """
    options = _options(assumption, alternative, permutations, adjust)
    return _by_period(Geary, data, variables, W, ids, missing, seed, options)


@_documented
def getis_ord(
    data: Any,
    variables: Any,
    W: Any,
    *,
    assumption: str = "randomization",
    alternative: str = "two-sided",
    permutations: int = 0,
    seed: int | np.random.Generator | None = 0,
    adjust: str = "none",
    missing: str = "raise",
    ids: Hashable | None = None,
) -> pd.DataFrame:
    """Return the global G of Getis & Ord (1992) of one or more variables in every period.

    ``G = sum_ij w_ij x_i x_j / sum_{i != j} x_i x_j`` for variables that are not negative;
    above its expectation ``S0 / (N (N - 1))`` where high values cluster. Meant for binary
    weights.

    Parameters
    ----------
    [shared]

    Returns
    -------
    DataFrame
        As :func:`moran`, with ``G`` for ``I``.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen")
    >>> sa.esda.getis_ord(panel, "sales", W).shape
    (30, 5)
    """
    if assumption != "randomization":
        check_option("assumption", assumption, ("randomization",))
    options = _options(assumption, alternative, permutations, adjust)
    return _by_period(GetisOrd, data, variables, W, ids, missing, seed, options)


@_documented
def moran_bivariate(
    data: Any,
    outcome: Any,
    variables: Any,
    W: Any,
    *,
    alternative: str = "two-sided",
    permutations: int = 999,
    seed: int | np.random.Generator | None = 0,
    adjust: str = "none",
    missing: str = "raise",
    ids: Hashable | None = None,
) -> pd.DataFrame:
    """Return the bivariate Moran's I of an outcome and the spatial lag of other variables.

    ``I = (N / S0) z_y' W z_x / sqrt(z_y'z_y z_x'z_x)``: is y high where the neighbours' x is
    high? There is no analytical null that allows for the correlation of y and x in place, so p
    values come from permutations of x over the units, y held in place.

    Parameters
    ----------
    data : Panel, or DataFrame or GeoDataFrame with one row per unit
    outcome : column name or Series
        The y.
    variables : column name, Series, list or mapping of these
        The x, one or more.
    W, alternative, permutations, seed, adjust, missing, ids
        As for :func:`moran`.

    Returns
    -------
    DataFrame
        One row per x and period: ``I``, ``p_permutation`` (and ``p_adjusted``, ``note``).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> sa.esda.moran_bivariate(panel, "logc", "logp", W, permutations=99).shape
    (30, 2)
    """
    options = _options("randomization", alternative, permutations, adjust)
    panel = as_panel(data, ids)
    weights = aligned(W, panel)
    y = collect(panel, outcome, missing)
    if len(y) != 1:
        raise DataError(f"One outcome is needed; got {len(y)}.")
    frames = []
    for x in collect(panel, variables, missing):
        usable = y[0].usable & x.usable
        reasons = [a or b for a, b in zip(y[0].reasons, x.reasons, strict=True)]
        joint = Series(x.name, x.x, usable, reasons)
        frames.append(_bivariate(panel, y[0].x, joint, weights, options, generator(seed), missing))
    return pd.concat(frames)


def pooled_moran(
    panel: Any,
    variables: Any,
    W: Any,
    *,
    alternative: str = "two-sided",
    permutations: int = 999,
    seed: int | np.random.Generator | None = 0,
) -> pd.DataFrame:
    """Return one Moran's I over all periods, with a permutation test.

    ``I = sum_t (N / S0_t) z_t'W_t z_t / sum_t z_t'z_t`` with deviations from each period's
    mean. Units are permuted, by the same permutation in all periods: the history of a unit
    stays together, so serial correlation does not pass for spatial autocorrelation (periods
    permuted on their own would make persistent variables significant far too often).

    Parameters
    ----------
    panel : Panel
    variables : column name, Series on (entity, time), list or mapping of these
    W : as for :func:`moran`
    alternative : {"two-sided", "greater", "less"}
    permutations : int
    seed : int, Generator or None

    Returns
    -------
    DataFrame
        One row per variable: ``I``, ``expected``, ``p_permutation``.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> float(sa.esda.pooled_moran(panel, "logc", W)["I"].iloc[0].round(3))
    0.193
    """
    check_permutations(permutations, 1)
    check_option("alternative", alternative, ALTERNATIVES)
    panel = as_panel(panel, None)
    weights = aligned(W, panel)
    rows = {}
    for series in collect(panel, variables, "raise"):
        z = Moran.prepare(series.x)
        value, expected, p = pooled_test(z, weights, permutations, seed, alternative)
        rows[series.name] = {"I": value, "expected": expected, "p_permutation": p}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "variable"
    return frame


def pooled_test(
    z: NDArray,
    W: SpatialWeights | PanelWeights,
    permutations: int,
    seed: int | np.random.Generator | None,
    alternative: str = "two-sided",
) -> tuple[float, float, float]:
    """Return the pooled I of values that are centred already, its expectation and p value."""
    check_permutations(permutations, 1)
    total = float((z**2).sum())
    value, simulated = _pooled(z, W, permutations, generator(seed))
    expected = -1.0 / (z.shape[1] - 1)
    p = p_values(
        np.array([value / total]), simulated[None, :] / total, np.array([expected]), alternative
    )
    return value / total, expected, float(p[0])


def _pooled(
    z: NDArray, W: SpatialWeights | PanelWeights, permutations: int, rng: np.random.Generator
) -> tuple[float, NDArray]:
    """Sum of the cross-products over periods, and of those of permuted units."""
    if isinstance(W, SpatialWeights):
        scale = z.shape[1] / float(W.matrix.sum())
        value = scale * float((z * lag(W.operator, z)).sum())
        margins = np.zeros(z.shape[1])
        found = simulate(z, W.operator, margins, permutations, rng, lambda cross, _: cross)
        return value, scale * found.sum(axis=0)
    value, total = 0.0, np.zeros(permutations)
    for t, period in enumerate(W):
        part = _pooled(z[[t]], W[period], permutations, generator(rng))
        value, total = value + part[0], total + part[1]
    return value, total


def _options(assumption: str, alternative: str, permutations: int, adjust: str) -> dict[str, Any]:
    check_option("assumption", assumption, ASSUMPTIONS)
    check_option("alternative", alternative, ALTERNATIVES)
    check_option("adjust", adjust, ADJUSTMENTS)
    check_permutations(permutations)
    return {
        "assumption": assumption,
        "alternative": alternative,
        "permutations": int(permutations),
        "adjust": adjust,
    }


def check_permutations(permutations: object, least: int = 0) -> None:
    """Raise unless it is a whole number that is large enough."""
    if isinstance(permutations, bool) or not isinstance(permutations, (int, np.integer)):
        raise OptionError(f"permutations={permutations!r} must be a whole number, such as 999.")
    if permutations < least:
        raise OptionError(
            f"permutations={permutations!r} must not be "
            + ("negative." if least == 0 else f"less than {least}.")
        )


def _by_period(
    statistic: Statistic,
    data: Any,
    variables: Any,
    W: Any,
    ids: Hashable | None,
    missing: str,
    seed: int | np.random.Generator | None,
    options: dict[str, Any],
) -> pd.DataFrame:
    panel = as_panel(data, ids)
    weights = aligned(W, panel)
    found = collect(panel, variables, missing, positive=statistic is GetisOrd)
    x = np.stack([series.x for series in found])  # (V, T, N)
    usable = np.stack([series.usable for series in found])
    if isinstance(weights, SpatialWeights):
        groups: list[tuple[SpatialWeights, NDArray]] = [(weights, usable)]
    else:
        groups = []
        for t, period in enumerate(weights):
            here = np.zeros_like(usable)
            here[:, t] = usable[:, t]
            groups.append((weights[period], here))
    parts: dict[str, NDArray] = {}
    for matrix, here in groups:
        if here.any():
            # the same permutations in every period, whether W changes or not
            for name, values in _test(statistic, x[here], matrix, options, generator(seed)).items():
                parts.setdefault(name, np.full(usable.shape, np.nan))[here] = values
    if not parts:
        raise DataError("No variable can be used in any period.")
    frames = []
    for v, series in enumerate(found):
        columns = {name: values[v] for name, values in parts.items()}
        frames.append(_frame(panel.times, series, columns, options, missing))
    return pd.concat(frames)


def _test(
    statistic: Statistic,
    x: NDArray,
    W: SpatialWeights,
    options: dict[str, Any],
    rng: np.random.Generator,
) -> dict[str, NDArray]:
    """Value, moments and p values of series that share one W."""
    s = WeightSums.of(W)
    value = observed(statistic, x, W, s)
    z = statistic.prepare(x)
    moments = statistic.moments(z, s, options["assumption"])
    if (moments.variance <= 1e-14 * moments.expected**2).any():
        raise WeightsError(
            f"{statistic.name} is the same however the values are arranged, because all units have "
            "the same weight in each other: these weights cannot show spatial autocorrelation."
        )
    score = (value - moments.expected) / np.sqrt(moments.variance)
    out = {
        statistic.name: value,
        "expected": moments.expected,
        "variance": moments.variance,
        "z": score,
        "p_value": _normal_p(score, options["alternative"]),
    }
    if options["permutations"]:
        simulated = simulate(
            z,
            W.operator,
            s.margins,
            options["permutations"],
            rng,
            lambda cross, weighted: statistic.value(cross, weighted, z[:, None, :], s),
        )
        out["p_permutation"] = p_values(value, simulated, moments.expected, options["alternative"])
    return out


def _bivariate(
    panel: Any,
    y: NDArray,
    x: Series,
    W: SpatialWeights | PanelWeights,
    options: dict[str, Any],
    rng: np.random.Generator,
    missing: str,
) -> pd.DataFrame:
    T = len(x.usable)
    columns = {"I": np.full(T, np.nan), "p_permutation": np.full(T, np.nan)}
    if isinstance(W, SpatialWeights):
        groups = [(W, np.flatnonzero(x.usable))]
    else:
        groups = [(W[period], np.array([t])) for t, period in enumerate(W) if x.usable[t]]
    for matrix, rows in groups:
        a, b = Moran.prepare(y[rows]), Moran.prepare(x.x[rows])
        size = panel.N / float(matrix.matrix.sum())
        scale = size / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
        value = scale * (a * lag(matrix.operator, b)).sum(axis=1)
        columns["I"][rows] = value
        if options["permutations"]:
            found = simulate(
                b,
                matrix.operator,
                np.zeros(panel.N),
                options["permutations"],
                generator(rng),
                lambda cross, _: cross,
                other=a,
            )
            found = found * scale[:, None]
            centre = found.mean(axis=1)
            columns["p_permutation"][rows] = p_values(value, found, centre, options["alternative"])
    return _frame(panel.times, x, columns, options, missing)


def _frame(
    times: pd.Index,
    series: Series,
    columns: dict[str, NDArray],
    options: dict[str, Any],
    missing: str,
) -> pd.DataFrame:
    names = ["variable", times.name or "time"]
    index = pd.MultiIndex.from_product([[series.name], times], names=names)
    frame = pd.DataFrame(columns, index=index)
    if options["adjust"] != "none":
        base = "p_permutation" if "p_permutation" in frame else "p_value"
        frame["p_adjusted"] = adjusted(frame[base].to_numpy(), options["adjust"])
    if missing == "nan":
        frame["note"] = series.reasons
    return frame


def adjusted(p: NDArray, method: str) -> NDArray:
    """Return p values adjusted for multiplicity; NaN stay NaN and do not count."""
    out = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    values = p[known]
    m = values.size
    if m == 0:
        return out
    if method == "bonferroni":
        found = values * m
    elif method == "holm":
        order = np.argsort(values)
        steps = np.maximum.accumulate(values[order] * (m - np.arange(m)))
        found = np.empty(m)
        found[order] = steps
    else:
        from scipy.stats import false_discovery_control

        found = false_discovery_control(values)
    out[known] = np.minimum(found, 1.0)
    return out


def _normal_p(z: NDArray, alternative: str) -> NDArray:
    if alternative == "greater":
        return np.asarray(ndtr(-z))
    if alternative == "less":
        return np.asarray(ndtr(z))
    return np.asarray(2.0 * ndtr(-np.abs(z)))
