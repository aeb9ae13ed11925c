"""Measures of a sector: how unevenly it is spread over places, in every period."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.agglomeration.employment import Employment, require_employment
from spatial_agglo.agglomeration.results import chosen, divide, region_members
from spatial_agglo.agglomeration.spread import (
    Spread,
    by_period,
    check_benchmark,
    over_regions,
)
from spatial_agglo.errors import check_option

Sectors: TypeAlias = Hashable | Sequence[Hashable] | None
Regions: TypeAlias = Mapping[Hashable, Hashable] | pd.Series | None


def herfindahl_concentration(
    employment: Employment,
    sectors: Sectors = None,
    *,
    normalised: bool = False,
    regions: Regions = None,
    undefined: str = "error",
) -> Any:
    """Return the Herfindahl index of a sector over places.

    ::

        H_j = sum_i s_ij**2,   s_ij = e_ij / e_.j

    Between 1/n and 1 for n places; normalised, ``(H - 1/n) / (1 - 1/n)``.

    Parameters
    ----------
    employment : Employment
    sectors : label or list of labels, optional
        All industries by default.
    normalised : bool
    regions : dict or Series, optional
        {entity: region}: the measure is taken over the places of each region, which a panel of
        regions made from their cities needs.
    undefined : {"error", "nan"}
        Where a sector employs nobody.

    Returns
    -------
    Series or DataFrame
        On time, or on (region, time): a Series for one sector, one column per sector for a list.

    Raises
    ------
    DataError
        Unknown sectors; undefined values, named; an entity without a region.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["a", "b"], "steel": [30, 10], "bank": [10, 10]})
    >>> jobs = Employment.from_wide(df, industries=["steel", "bank"], entity="city")
    >>> herfindahl_concentration(jobs, "steel").tolist()
    [0.625]
    """

    def measure(spread: Spread) -> NDArray:
        H = (spread.s**2).sum(axis=1)
        if not normalised:
            return H
        floor = (spread.even**2).sum(axis=1)
        return divide(H - floor, 1.0 - floor)

    return _measured(employment, sectors, regions, undefined, measure, "herfindahl")


def hoover_localisation(
    employment: Employment,
    sectors: Sectors = None,
    *,
    benchmark: str = "employment",
    regions: Regions = None,
    undefined: str = "error",
) -> Any:
    """Return Hoover's coefficient of localisation.

    ::

        L_j = 1/2 sum_i |s_ij - x_i|,   s_ij = e_ij / e_.j

    with x the places' shares of all jobs (or 1/n): the share of the sector's jobs that would
    have to move. Between 0 and 1.

    Parameters
    ----------
    employment : Employment
    sectors : label or list of labels, optional
        All industries by default.
    benchmark : {"employment", "uniform"}
        x: the places' shares of all jobs, or 1/n.
    regions, undefined
        As in :func:`herfindahl_concentration`.

    Returns
    -------
    Series or DataFrame
        As :func:`herfindahl_concentration`.

    Raises
    ------
    DataError, OptionError
        As :func:`herfindahl_concentration`; an unknown benchmark.

    References
    ----------
    Hoover, E. M. (1936), Review of Economics and Statistics 18:162-171.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["a", "b"], "steel": [30, 10], "bank": [10, 30]})
    >>> jobs = Employment.from_wide(df, industries=["steel", "bank"], entity="city")
    >>> hoover_localisation(jobs, "steel").tolist()
    [0.25]
    """
    check_benchmark(benchmark)

    def measure(spread: Spread) -> NDArray:
        return 0.5 * np.abs(spread.s - spread.benchmark(benchmark)).sum(axis=1)

    return _measured(employment, sectors, regions, undefined, measure, "hoover")


def spatial_gini(
    employment: Employment,
    sectors: Sectors = None,
    *,
    method: str = "lorenz",
    benchmark: str = "employment",
    regions: Regions = None,
    undefined: str = "error",
) -> Any:
    """Return a sector's spatial Gini coefficient.

    ::

        lorenz     G_j = 1 - sum_i x_i (S_i + S_(i-1))      places in order of s_ij / x_i
        squares    G_j = sum_i (s_ij - x_i)**2

    with S the running sum of s. "lorenz" is twice the area between the Lorenz curve of s over x
    and the diagonal, between 0 and 1 (some programs return the area itself, at most 1/2).
    "squares" is what many studies of Chinese regions call by the same name: the raw
    concentration of :func:`ellison_glaeser`.

    Parameters
    ----------
    employment : Employment
    sectors : label or list of labels, optional
        All industries by default.
    method : {"lorenz", "squares"}
    benchmark : {"employment", "uniform"}
        x: the places' shares of all jobs, or 1/n.
    regions, undefined
        As in :func:`herfindahl_concentration`.

    Returns
    -------
    Series or DataFrame
        As :func:`herfindahl_concentration`.

    Raises
    ------
    DataError, OptionError
        As :func:`herfindahl_concentration`; an unknown method or benchmark.

    References
    ----------
    Krugman, P. (1991), Geography and Trade, MIT Press, chapter 2.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["a", "b"], "steel": [30, 10], "bank": [10, 30]})
    >>> jobs = Employment.from_wide(df, industries=["steel", "bank"], entity="city")
    >>> spatial_gini(jobs, "steel").tolist()
    [0.25]
    """
    check_option("method", method, ("lorenz", "squares"))
    check_benchmark(benchmark)

    def measure(spread: Spread) -> NDArray:
        x = spread.benchmark(benchmark)
        if method == "squares":
            return ((spread.s - x) ** 2).sum(axis=1)
        return _lorenz_gini(spread.s, x)

    return _measured(employment, sectors, regions, undefined, measure, "gini")


def theil(
    employment: Employment,
    sectors: Sectors = None,
    *,
    benchmark: str = "employment",
    regions: Regions = None,
    undefined: str = "error",
) -> Any:
    """Return Theil's index of a sector's concentration over places.

    ::

        T_j = sum_i s_ij ln(s_ij / x_i),   0 ln 0 = 0

    0 where s = x; with 1/n for x it is at most ``ln n``. :func:`theil_decomposition` splits it
    into what lies between groups of places and within them.

    Parameters
    ----------
    employment : Employment
    sectors : label or list of labels, optional
        All industries by default.
    benchmark : {"employment", "uniform"}
        x: the places' shares of all jobs, or 1/n.
    regions, undefined
        As in :func:`herfindahl_concentration`.

    Returns
    -------
    Series or DataFrame
        As :func:`herfindahl_concentration`.

    Raises
    ------
    DataError, OptionError
        As :func:`herfindahl_concentration`; an unknown benchmark.

    References
    ----------
    Theil, H. (1967), Economics and Information Theory, North-Holland.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["a", "b"], "steel": [40, 0], "bank": [0, 40]})
    >>> jobs = Employment.from_wide(df, industries=["steel", "bank"], entity="city")
    >>> theil(jobs, "steel").round(4).tolist()  # ln 2
    [0.6931]
    """
    check_benchmark(benchmark)

    def measure(spread: Spread) -> NDArray:
        return _information(spread.s, spread.benchmark(benchmark)).sum(axis=1)

    return _measured(employment, sectors, regions, undefined, measure, "theil")


def theil_decomposition(
    employment: Employment,
    sector: Hashable,
    groups: Mapping[Hashable, Hashable] | pd.Series,
    *,
    benchmark: str = "employment",
    undefined: str = "error",
) -> pd.DataFrame:
    """Split Theil's index of a sector into parts between groups of places and within them.

    ::

        T = sum_g S_g ln(S_g / X_g)  +  sum_g S_g T_g

    with S and X the groups' shares of the sector and of the benchmark, and T_g the index over
    the places of group g.

    Parameters
    ----------
    employment : Employment
    sector : label
    groups : dict or Series
        {entity: group}, for every entity.
    benchmark, undefined
        As in :func:`theil`.

    Returns
    -------
    DataFrame
        On time, with columns ``total``, ``between``, ``within``.

    Raises
    ------
    DataError
        Unknown sector; an entity without a group; undefined values.

    References
    ----------
    Theil, H. (1967), Economics and Information Theory, North-Holland, chapter 4.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": list("abcd"), "steel": [4, 4, 2, 2], "bank": [1, 1, 2, 2]})
    >>> jobs = Employment.from_wide(df, industries=["steel", "bank"], entity="city")
    >>> parts = theil_decomposition(jobs, "steel", {"a": "east", "b": "east", "c": "west",
    ...                                             "d": "west"})
    >>> bool(parts["within"].abs().max() < 1e-12)  # all of it lies between east and west
    True
    """
    require_employment(employment)
    check_benchmark(benchmark)
    _, members = region_members(employment, groups)

    def measure(spread: Spread) -> NDArray:
        s, x = spread.s, spread.benchmark(benchmark)
        S = np.stack([s[:, part].sum(axis=1) for part in members], axis=1)
        X = np.stack([x[:, part].sum(axis=1) for part in members], axis=1)
        between = _information(S, X).sum(axis=1)
        within = np.zeros_like(between)
        for g, part in enumerate(members):
            own = _information(
                np.nan_to_num(divide(s[:, part], S[:, [g]])),
                np.nan_to_num(divide(x[:, part], X[:, [g]])),
            )
            within = within + S[:, g] * own.sum(axis=1)
        total = _information(s, x).sum(axis=1)
        return np.concatenate([total, between, within], axis=1)

    at = employment.positions([sector])
    values, _ = over_regions(employment, at, None, undefined, measure)
    columns = pd.Index(["total", "between", "within"])
    return by_period(employment, values, None, columns, None)  # type: ignore[no-any-return]


def _measured(
    employment: Employment,
    sectors: Sectors,
    regions: Regions,
    undefined: str,
    measure: Callable[[Spread], NDArray],
    name: str,
) -> Any:
    require_employment(employment)
    at, single = chosen(employment, sectors)
    values, names = over_regions(employment, at, regions, undefined, measure)
    columns = None if single else employment.industries[at]
    return by_period(employment, values, names, columns, name)


def _lorenz_gini(s: NDArray, x: NDArray) -> NDArray:
    """Return the Gini coefficient over axis 1 of shares (T, n, J) over shares (T, n, 1)."""
    x = np.broadcast_to(x, s.shape)
    order = np.argsort(divide(s, x), axis=1, kind="stable")  # places without jobs come last
    s, x = np.take_along_axis(s, order, axis=1), np.take_along_axis(x, order, axis=1)
    running = s.cumsum(axis=1)
    return 1.0 - (x * (2.0 * running - s)).sum(axis=1)


def _information(s: NDArray, x: NDArray) -> NDArray:
    """Return s ln(s / x), with 0 ln 0 = 0."""
    ratio = divide(s, np.broadcast_to(x, s.shape))
    logs = np.log(ratio, out=np.zeros_like(s), where=np.nan_to_num(ratio) > 0)
    return np.where(np.isnan(s), np.nan, s * logs)
