"""Measures of a place: its location quotients, their synergy, and its specialisation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.agglomeration.employment import Employment, require_employment
from spatial_agglo.agglomeration.results import (
    by_place,
    cells,
    chosen,
    divide,
    settle_undefined,
)
from spatial_agglo.errors import DataError, check_option


def location_quotient(
    employment: Employment,
    sectors: Hashable | Sequence[Hashable] | None = None,
    *,
    undefined: str = "error",
) -> Any:
    """Return location quotients: a sector's share in a place over its share in the nation.

    ::

        LQ_ij = (e_ij / e_i.) / (e_.j / e_..)

    for place i and industry j in one period; 1 where the place is like the nation. Weighted by
    ``e_i.`` it has mean 1 over the places that make up the nation. Studies of Chinese cities
    also call it the Hoover index (Wang, Shi & Zhang 2025, eq. 5, whose subscripts are garbled);
    Hoover's coefficient of localisation is :func:`hoover_localisation`.

    Parameters
    ----------
    employment : Employment
    sectors : label or list of labels, optional
        All industries by default.
    undefined : {"error", "nan"}
        Where a place employs nobody, or the nation nobody in the sector, the quotient is 0/0.

    Returns
    -------
    Series or DataFrame
        On (entity, time), ready to join to a panel's frame: a Series for one sector, one column
        per sector for a list.

    Raises
    ------
    DataError
        Unknown sectors; undefined values, named.
    OptionError
        An unknown value of ``undefined``.

    References
    ----------
    Yin, H. & Su, W. (2024), Economies 12:117, eqs 18 and 19. Isard, W. (1960), Methods of
    Regional Analysis, chapter 7.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["a", "b"], "year": 2020, "steel": [30, 10], "bank": [70, 90]})
    >>> jobs = Employment.from_wide(
    ...     df, industries=["steel", "bank"], entity="city", time="year"
    ... )
    >>> location_quotient(jobs, "steel").round(4).tolist()
    [1.5, 0.5]
    """
    require_employment(employment)
    at, single = chosen(employment, sectors)
    values = _quotients(employment, at, undefined)
    return by_place(employment, values, at, sectors if single else None)  # type: ignore[arg-type]


def coagglomeration(
    employment: Employment, first: Hashable, second: Hashable, *, undefined: str = "error"
) -> pd.Series:
    """Return the co-agglomeration of two sectors in every place, from their location quotients.

    ::

        C = 1 - |a - b| / (a + b) + (a + b)

    with a and b the two location quotients: their likeness, between 0 and 1, plus their height.
    A place like the nation in both has 3.

    Parameters
    ----------
    employment : Employment
        With the two sectors as industries: see :meth:`Employment.group`.
    first, second : labels of industries
        In any order.
    undefined : {"error", "nan"}
        Where a location quotient is undefined, or both are zero.

    Returns
    -------
    Series
        On (entity, time), named "coagglomeration".

    Raises
    ------
    DataError
        Unknown sectors; undefined values, named.

    References
    ----------
    Yin, H. & Su, W. (2024), Economies 12:117, eq. 20.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["a", "b"], "steel": [30, 10], "bank": [20, 20], "x": [50, 70]})
    >>> jobs = Employment.from_wide(df, industries=["steel", "bank", "x"], entity="city")
    >>> coagglomeration(jobs, "steel", "bank").round(4).tolist()
    [3.3, 2.1667]
    """
    require_employment(employment)
    _require_two(first, second)
    at = employment.positions([first, second])
    a, b = np.moveaxis(_quotients(employment, at, undefined), -1, 0)
    both = a + b
    settle_undefined(
        employment.present & (both == 0),
        lambda bad: cells(employment, bad),
        undefined,
        f"Neither {first!r} nor {second!r} employs anybody: the two cannot be compared.",
    )
    likeness = 1.0 - divide(np.abs(a - b), both)
    return by_place(employment, (likeness + both)[:, :, None], at, "coagglomeration")


def krugman_specialisation(
    employment: Employment, *, reference: str = "nation", undefined: str = "error"
) -> pd.Series:
    """Return how far a place's industries are from those of the nation, or of the rest of it.

    ::

        K_i = sum_j |s_ij - s_j|,   s_ij = e_ij / e_i.

    0 where the place is like the reference, at most 2. Half of it is the share of workers who
    would have to change industry.

    Parameters
    ----------
    employment : Employment
    reference : {"nation", "rest"}
        ``s_j`` of the nation, or of the nation without the place itself.
    undefined : {"error", "nan"}
        Where a place, or the rest of the nation, employs nobody.

    Returns
    -------
    Series
        On (entity, time), named "krugman".

    Raises
    ------
    DataError
        Undefined values, named.
    OptionError
        Unknown options.

    References
    ----------
    Krugman, P. (1991), Geography and Trade, MIT Press, page 76.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["a", "b"], "steel": [30, 10], "bank": [70, 90]})
    >>> jobs = Employment.from_wide(df, industries=["steel", "bank"], entity="city")
    >>> krugman_specialisation(jobs).round(3).tolist()
    [0.2, 0.2]
    >>> krugman_specialisation(jobs, reference="rest").round(3).tolist()
    [0.4, 0.4]
    """
    require_employment(employment)
    check_option("reference", reference, ("nation", "rest"))
    counts, national = employment.counts, employment.national[:, None, :]
    own = _shares(employment, undefined)
    others = np.broadcast_to(national, counts.shape) if reference == "nation" else national - counts
    # Totals that differ by rounding leave a hair where there is nobody else.
    others = np.where(others > 1e-12 * national, others, 0.0)
    whole = others.sum(axis=2)
    settle_undefined(
        employment.present & (whole == 0),
        lambda bad: cells(employment, bad),
        undefined,
        "The nation has no other jobs to compare with.",
    )
    distance = np.abs(own - divide(others, whole[:, :, None])).sum(axis=2)
    return by_place(employment, distance[:, :, None], np.arange(1), "krugman")


def herfindahl_specialisation(
    employment: Employment, *, normalised: bool = False, undefined: str = "error"
) -> pd.Series:
    """Return the Herfindahl index of a place's industries.

    ::

        H_i = sum_j s_ij**2,   s_ij = e_ij / e_i.

    Between 1/J and 1; normalised, ``(H - 1/J) / (1 - 1/J)``, between 0 and 1.

    Parameters
    ----------
    employment : Employment
    normalised : bool
    undefined : {"error", "nan"}
        Where a place employs nobody.

    Returns
    -------
    Series
        On (entity, time), named "herfindahl".

    Raises
    ------
    DataError
        Undefined values, named; ``normalised`` with one industry.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"city": ["a", "b"], "steel": [50, 10], "bank": [50, 90]})
    >>> jobs = Employment.from_wide(df, industries=["steel", "bank"], entity="city")
    >>> herfindahl_specialisation(jobs).round(3).tolist()
    [0.5, 0.82]
    """
    require_employment(employment)
    squares = (_shares(employment, undefined) ** 2).sum(axis=2)
    J = employment.industries.size
    if normalised:
        if J == 1:
            raise DataError("A Herfindahl index of one industry is 1 and cannot be normalised.")
        squares = (squares - 1.0 / J) / (1.0 - 1.0 / J)
    return by_place(employment, squares[:, :, None], np.arange(1), "herfindahl")


def _quotients(employment: Employment, at: NDArray, undefined: str) -> NDArray:
    """Return location quotients (T, N, len(at))."""
    counts, national = employment.counts, employment.national
    in_sector = national[:, at]
    settle_undefined(
        in_sector == 0,
        lambda bad: [
            (employment.industries[at[j]], employment.times[t]) for t, j in np.argwhere(bad)
        ],
        undefined,
        "The nation employs nobody in a sector, (industry, time).",
    )
    share = _of_place(employment, counts[:, :, at], undefined)
    return divide(share, divide(in_sector, national.sum(axis=1)[:, None])[:, None, :])


def _shares(employment: Employment, undefined: str) -> NDArray:
    """Return the shares of a place's industries (T, N, J)."""
    return _of_place(employment, employment.counts, undefined)


def _of_place(employment: Employment, counts: NDArray, undefined: str) -> NDArray:
    whole = employment.counts.sum(axis=2)
    settle_undefined(
        employment.present & (whole == 0),
        lambda bad: cells(employment, bad),
        undefined,
        "A place employs nobody at all, (entity, time).",
    )
    return divide(counts, whole[:, :, None])


def _require_two(first: Hashable, second: Hashable) -> None:
    if first == second:
        raise DataError(f"Two different sectors are needed; got {first!r} twice.")
