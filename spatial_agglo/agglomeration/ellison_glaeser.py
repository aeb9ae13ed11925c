"""The Ellison-Glaeser index of agglomeration, and its forms for two or more sectors."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.agglomeration.employment import Employment, require_employment
from spatial_agglo.agglomeration.keys import (
    CROSS_SECTION,
    columns_list,
    read_labels,
    read_numbers,
    sorted_labels,
)
from spatial_agglo.agglomeration.results import chosen, divide, settle_undefined
from spatial_agglo.agglomeration.spread import Spread, by_period, over_regions, spread_of
from spatial_agglo.errors import DataError, OptionError, check_option, listing


def ellison_glaeser(
    employment: Employment,
    plants: pd.Series,
    sectors: Hashable | Sequence[Hashable] | None = None,
    *,
    method: str = "ellison-glaeser",
    undefined: str = "error",
) -> pd.DataFrame:
    """Return the index of agglomeration beyond what a sector's few large plants explain.

    ::

        ellison-glaeser    g = [G / (1 - sum_i x_i**2) - H] / (1 - H),     G = sum_i (s_i - x_i)**2
        maurel-sedillot    g = [(sum_i s_i**2 - sum_i x_i**2) / (1 - sum_i x_i**2) - H] / (1 - H)

    with s_i the shares of place i in the sector's jobs, x_i in all jobs, and H the Herfindahl
    index of the sizes of the sector's plants. Plants that fall on places at random, as darts in
    proportion to x, have 0 on average.

    Parameters
    ----------
    employment : Employment
    plants : Series
        H: on (industry, time), or on industry if it does not change; from
        :func:`plant_herfindahl`.
    sectors : label or list of labels, optional
        All industries by default. H of a sector is not a mean of its industries': make it from
        the plants of all of them.
    method : {"ellison-glaeser", "maurel-sedillot"}
    undefined : {"error", "nan"}
        Where a sector employs nobody or has one plant (H = 1), or all jobs are in one place.

    Returns
    -------
    DataFrame
        On (industry, time), with columns ``G`` (the raw concentration of the method, before
        ``1 - sum x**2``), ``H`` and ``gamma``.

    Raises
    ------
    DataError
        Unknown sectors; sectors and periods without H; H outside (0, 1]; undefined values.
    OptionError
        Unknown options.

    References
    ----------
    Ellison, G. & Glaeser, E. L. (1997), Journal of Political Economy 105:889-927. Maurel, F. &
    Sedillot, B. (1999), Regional Science and Urban Economics 29:575-604.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["a", "b"], "steel": [30, 10], "bank": [10, 30]})
    >>> jobs = Employment.from_wide(df, industries=["steel", "bank"], entity="city")
    >>> found = ellison_glaeser(jobs, pd.Series({"steel": 0.1}), "steel")
    >>> found.round(4).iloc[0].tolist()  # (0.125 / 0.5 - 0.1) / 0.9
    [0.125, 0.1, 0.1667]
    """
    require_employment(employment)
    check_option("method", method, ("ellison-glaeser", "maurel-sedillot"))
    at, _ = chosen(employment, sectors)
    H = _plant_indices(employment, plants, at)

    def measure(spread: Spread) -> NDArray:
        s, x = spread.s, spread.x
        raw = (s - x) ** 2 if method == "ellison-glaeser" else s**2 - x**2
        G, room = raw.sum(axis=1), 1.0 - (x**2).sum(axis=1)
        gamma = divide(divide(G, _no_dust(room)) - H, 1.0 - H)
        return np.stack([G, H, gamma], axis=-1)

    values, _ = over_regions(employment, at, None, undefined, measure)
    values = values[:, 0]  # (T, J, 3)
    lacking = np.isnan(values[:, :, 2]) & ~np.isnan(values[:, :, 0])
    settle_undefined(
        lacking,
        lambda bad: [
            (employment.industries[at[j]], employment.times[t]) for t, j in np.argwhere(bad)
        ],
        undefined,
        "The index divides by zero where a sector has one plant or all jobs are in one place.",
    )
    T, J, _ = values.shape
    index = pd.MultiIndex(
        levels=[employment.industries, employment.times],  # type: ignore[list-item]
        codes=[np.repeat(at, T), np.tile(np.arange(T), J)],  # type: ignore[list-item]
        names=[employment.industries.name or "industry", employment.times.name],
    )
    rows = values.transpose(1, 0, 2).reshape(J * T, 3)
    return pd.DataFrame(rows, index=index, columns=["G", "H", "gamma"])


def ellison_glaeser_coagglomeration(
    employment: Employment,
    sectors: Sequence[Hashable],
    *,
    method: str = "ellison-glaeser",
    regions: Mapping[Hashable, Hashable] | pd.Series | None = None,
    contributions: bool = False,
    undefined: str = "error",
) -> pd.Series:
    """Return the Ellison-Glaeser index of co-agglomeration of two or more sectors.

    ::

        ellison-glaeser    g = [G - sum_j w_j**2 G_j] / [(1 - sum_i x_i**2)(1 - sum_j w_j**2)]
        devereux           g = [H - sum_j w_j**2 H_j] / (1 - sum_j w_j**2)

    with w_j the sectors' shares of their joint jobs, ``G = sum_i (s_i - x_i)**2`` and
    ``H = sum_i s_i**2 - 1/n`` of the sectors together (no subscript) and one by one, x_i the
    places' shares of all jobs, n the number of places. The second is the simplified form, which
    needs no benchmark. No plants are needed: in the original, ``[G / (1 - sum x**2) -
    H_p - sum_j g_j w_j**2 (1 - H_j)] / (1 - sum w_j**2)`` with ``H_p = sum_j w_j**2 H_j``, the
    plants' Herfindahl indices cancel.

    For two sectors the weights cancel as well, and what remains is a covariance of shares::

        ellison-glaeser    g = sum_i (s_i1 - x_i)(s_i2 - x_i) / (1 - sum_i x_i**2)
        devereux           g = sum_i s_i1 s_i2 - 1/n

    Two sectors of random plants have 0 on average in the first form and ``sum_i x_i**2 - 1/n`` in
    the second, which takes places of unequal size for co-agglomeration.

    Parameters
    ----------
    employment : Employment
        With the sectors as industries: see :meth:`Employment.group`.
    sectors : list of labels
        Two or more.
    method : {"ellison-glaeser", "devereux"}
    regions : dict or Series, optional
        {entity: region}: the index over the places of each region. The index has one value per
        period, which period effects absorb in a regression: a study of provinces needs the
        cities of each, or ``contributions``.
    contributions : bool
        Return what each place adds to the sum over places (1/n of it for the 1/n): the index of
        a period is the sum of its contributions.
    undefined : {"error", "nan"}
        Where a sector employs nobody, or all jobs are in one place.

    Returns
    -------
    Series
        Named "gamma", on time; with ``regions`` on (region, time); with ``contributions`` on
        (entity, time), ready to join to a panel's frame.

    Raises
    ------
    DataError
        Unknown or repeated sectors; undefined values; an entity without a region.
    OptionError
        Unknown options, or ``regions`` and ``contributions`` together.

    Notes
    -----
    Yin & Su (2024, eq. 21) print the simplified form with one index throughout,
    ``[H_ij - (H_i w_i**2 + H_j w_i**2)] / [1 - (w_i**2 + w_i**2)]``. That is a misprint: the
    second w must be the second sector's, ``w_j``, above and below, as it is here; with ``w_i``
    twice the index would change when the sectors are swapped, and divide by zero at
    ``w_i**2 = 1/2``.

    References
    ----------
    Ellison, G. & Glaeser, E. L. (1997), Journal of Political Economy 105:889-927. Ellison, G.,
    Glaeser, E. L. & Kerr, W. R. (2010), American Economic Review 100:1195-1213. Devereux, M. P.,
    Griffith, R. & Simpson, H. (2004), Regional Science and Urban Economics 34:533-564, as given
    by Yin, H. & Su, W. (2024), Economies 12:117, eqs 21 and 22.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["a", "b"], "steel": [30, 10], "bank": [20, 20], "x": [50, 70]})
    >>> jobs = Employment.from_wide(df, industries=["steel", "bank", "x"], entity="city")
    >>> ellison_glaeser_coagglomeration(jobs, ["steel", "bank"], method="devereux").tolist()
    [0.0]
    """
    require_employment(employment)
    check_option("method", method, ("ellison-glaeser", "devereux"))
    names = columns_list(sectors, "sectors")
    if len(names) < 2:
        raise DataError(f"Co-agglomeration needs two or more sectors; got {listing(names)}.")
    if not isinstance(contributions, bool):
        raise OptionError(f"contributions={contributions!r} must be True or False.")
    if contributions and regions is not None:
        raise OptionError("contributions= and regions= cannot be asked for together.")
    at = employment.positions(names)

    def measure(spread: Spread) -> NDArray:
        return _terms(spread, method).sum(axis=1)[:, None]

    values, of = over_regions(employment, at, regions, undefined, measure)
    settle_undefined(
        np.isnan(values[:, :, 0]),
        lambda bad: [
            employment.times[t] if of is None else (of[r], employment.times[t])
            for t, r in np.argwhere(bad)
        ],
        undefined,
        "The index divides by zero where all jobs are in one place.",
    )
    if not contributions:
        return by_period(employment, values, of, None, "gamma")  # type: ignore[no-any-return]
    everywhere = np.arange(employment.entities.size)
    terms = _terms(spread_of(employment, at, everywhere), method)
    return pd.Series(terms[employment.present], index=employment.index(), name="gamma")


def plant_herfindahl(
    plants: pd.DataFrame,
    *,
    industry: Hashable,
    employment: Hashable,
    time: Hashable | None = None,
    sectors: Mapping[Hashable, Sequence[Hashable]] | None = None,
) -> pd.Series:
    """Return the Herfindahl index of the sizes of every industry's plants.

    ::

        H_j = sum_k z_k**2,   z_k = plant k's share of the jobs of industry j

    Parameters
    ----------
    plants : DataFrame
        One row per plant (and period), rows in any order.
    industry, employment, time : column labels
        Leave out ``time`` for a cross-section.
    sectors : dict, optional
        Name of a sector to its industries, as in :meth:`Employment.group`; other industries
        stay as they are.

    Returns
    -------
    Series
        On (industry, time), named "H"; industries and periods without jobs are not in it.

    Raises
    ------
    DataError
        Missing or negative sizes; unknown columns; a sector's industry that no plant has.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"branch": ["steel"] * 3 + ["bank"], "jobs": [50, 30, 20, 7]})
    >>> plant_herfindahl(df, industry="branch", employment="jobs").round(2).tolist()
    [1.0, 0.38]
    """
    if not isinstance(plants, pd.DataFrame) or plants.empty:
        raise DataError("plants must be a DataFrame with one row per plant.")
    labels = read_labels(plants, industry)
    if sectors is not None:
        to_sector: dict[Hashable, Hashable] = {}
        for name, members in sectors.items():
            to_sector |= dict.fromkeys(columns_list(members, str(name)), name)
        unknown = [member for member in to_sector if member not in set(labels)]
        if unknown:
            raise DataError(f"No plant is in industry {listing(unknown)}.")
        labels = pd.Index([to_sector.get(label, label) for label in labels], tupleize_cols=False)
    # A plant without an industry keeps its missing label, and is named below.
    periods = pd.Index([CROSS_SECTION] * len(plants)) if time is None else read_labels(plants, time)
    industries, j = sorted_labels(labels, industry)
    times, t = sorted_labels(periods, "time" if time is None else time)
    size = read_numbers(plants, employment)
    wrong = np.flatnonzero(~(size >= 0))
    if wrong.size:
        raise DataError(
            f"{wrong.size} plant(s) have a missing or negative size, in row(s) {listing(wrong)}."
        )
    cell, shape = j * times.size + t, (industries.size, times.size)
    jobs = np.bincount(cell, weights=size, minlength=shape[0] * shape[1])
    squares = np.bincount(cell, weights=(size / np.where(jobs, jobs, 1.0)[cell]) ** 2,
                          minlength=jobs.size)  # fmt: skip
    index = pd.MultiIndex.from_product([industries, times])
    return pd.Series(squares, index=index, name="H")[jobs > 0]


def _terms(spread: Spread, method: str) -> NDArray:
    """Return what each place adds to the index of co-agglomeration, (T, n)."""
    w = divide(spread.jobs, spread.jobs.sum(axis=1, keepdims=True))[:, None, :]
    joint = (w * spread.s).sum(axis=2)
    if method == "devereux":
        floor = spread.even[:, :, 0] / (spread.even > 0).sum(axis=1)
        together, alone = joint**2 - floor, spread.s**2 - floor[:, :, None]
        room = np.ones((w.shape[0], 1))
    else:
        together = (joint - spread.x[:, :, 0]) ** 2
        alone = (spread.s - spread.x) ** 2
        room = _no_dust(1.0 - (spread.x**2).sum(axis=1))
    own = (w**2 * alone).sum(axis=2)
    return divide(together - own, room * (1.0 - (w**2).sum(axis=2)))


def _no_dust(room: NDArray) -> NDArray:
    """Set to zero what rounding leaves of ``1 - sum x**2`` when all jobs are in one place."""
    return np.where(room > 1e-12, room, 0.0)


def _plant_indices(employment: Employment, plants: Any, at: NDArray) -> NDArray:
    """Return H as an array (T, J), or raise naming what has none."""
    if not isinstance(plants, pd.Series):
        raise DataError(
            "plants must be a Series of plant Herfindahl indices on (industry, time) or on "
            f"industry, from plant_herfindahl(...); got {type(plants).__name__}."
        )
    names = employment.industries[at]
    if not pd.api.types.is_numeric_dtype(plants) or plants.index.nlevels > 2:
        raise DataError(
            "plants must hold numbers on (industry, time) or on industry; got "
            f"{plants.index.nlevels} level(s) and dtype {plants.dtype}."
        )
    if plants.index.duplicated().any():
        raise DataError("plants repeats a label; one H per industry (and period) is needed.")
    if plants.index.nlevels == 1:
        wanted: Any = names
        H = np.tile(plants.reindex(names).to_numpy(dtype=float), (employment.times.size, 1))
    else:
        wanted = pd.MultiIndex.from_product([employment.times, names]).swaplevel()
        H = plants.reindex(wanted).to_numpy(dtype=float).reshape(-1, at.size)
    works = employment.counts.sum(axis=1)[:, at] > 0
    needed = works.any(axis=0) if plants.index.nlevels == 1 else works.ravel()
    lacking = needed & ~wanted.isin(plants.index)
    if lacking.any():
        raise DataError(
            f"plants has no Herfindahl index for {listing(wanted[lacking])}. Sectors need their "
            "own: plant_herfindahl(..., sectors={...})."
        )
    outside = works & ~((H > 0) & (H <= 1.0 + 1e-12))
    if outside.any():
        shown = [(names[j], employment.times[t], float(H[t, j])) for t, j in np.argwhere(outside)]
        raise DataError(
            "A plant Herfindahl index is above 0 and at most 1; got (industry, time, H) = "
            f"{listing(shown)}."
        )
    return np.where(works, H, np.nan)
