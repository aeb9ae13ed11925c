"""A composite index of indicators with entropy weights."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.agglomeration.entropy import CONSTANT, entropies, min_max, shares, weights_of
from spatial_agglo.agglomeration.index import CompositeIndex
from spatial_agglo.agglomeration.indicators import (
    ConstantIndicatorWarning,
    Indicators,
    check_name,
    read_indicators,
)
from spatial_agglo.errors import (
    DataError,
    IdentificationError,
    OptionError,
    check_option,
    listing,
    plain,
)

#: What a score is made of, and its factor.
SCORES = {"share": 1000.0, "standardised": 100.0}


def composite_index(
    data: pd.DataFrame,
    *,
    positive: Sequence[Hashable] = (),
    negative: Sequence[Hashable] = (),
    groups: Mapping[Hashable, Sequence[Hashable]] | None = None,
    entity: Hashable | None = None,
    time: Hashable | None = None,
    pooled: bool = True,
    scaling: str = "same",
    score: str = "share",
    name: Hashable = "score",
) -> CompositeIndex:
    """Combine indicators into one score by entropy weights.

    ::

        Y = (M - min M) / (max M - min M)     reversed for negative indicators
        P = Y / sum Y
        E = - sum P ln P / ln n               0 ln 0 = 0
        w = (1 - E) / sum (1 - E)             over indicators
        score = sum w P * 1000   ("share")    or   sum w Y * 100   ("standardised")

    min, max and sums run over the n units that are compared: all rows (``pooled``), or the units
    of one period. An indicator that sets units apart weighs more than one in which they are
    alike.

    Parameters
    ----------
    data : DataFrame
        One row per unit and period; ``panel.frame``, for a Panel.
    positive, negative : lists of column labels
        Indicators of which more is better, and worse.
    groups : dict, optional
        {dimension: indicators}: each indicator in one dimension. Dimensions get scores of their
        own, from weights that sum to one within them; the score over all indicators is not
        affected.
    entity, time : column labels, optional
        Leave both out when the index is an (entity, time) MultiIndex; leave out ``time`` alone
        for a cross-section.
    pooled : bool
        Compare all rows with one another: one set of weights, scores that can be compared over
        time. False: compare the units of each period: weights change, and "share" scores have
        the mean 1000/n in every period.
    scaling : {"same", "pooled", "period"}
        Whether min and max are those of all rows or of a period; "same": as ``pooled``.
        ``pooled=False, scaling="pooled"`` weighs by period what is measured on one scale.
    score : {"share", "standardised"}
        "share" scores sum to 1000 over the units compared. "standardised" scores lie between 0
        and 100, and reach 100 for a unit that is best in every indicator.
    name : label
        Of the score.

    Returns
    -------
    CompositeIndex
        ``scores``, ``dimensions``, ``weights``, ``ranking(time)``, ``plot(top=10)``.

    Raises
    ------
    DataError
        Missing or infinite values (named), repeated rows, indicators named twice or without a
        dimension, fewer than two units to compare.
    IdentificationError
        No indicator differs between units.
    OptionError
        Unknown options.

    Warns
    -----
    ConstantIndicatorWarning
        An indicator is the same for all units compared: its weight is 0 there.

    Notes
    -----
    Yin & Su (2024, eqs 13 to 17) print sums over t without saying which units are compared. In
    their table 3 the sub-index of green manufacturing reaches exactly 100.00, as "standardised"
    scores do. Their total has mean 32.96; "share" scores of 31 provinces would have mean
    1000/31 = 32.26 by year and 1000/589 = 1.70 pooled, neither of which it is. In their table 2
    the weights within dimensions are not the overall ones rescaled, as they would be if both
    came from one entropy per indicator.

    References
    ----------
    Yin, H. & Su, W. (2024), Economies 12:117, eqs 11 to 17 and table 2.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({
    ...     "city": ["a", "b", "c"], "patents": [0.0, 1.0, 4.0], "smoke": [3.0, 1.0, 2.0],
    ... })
    >>> index = composite_index(df, positive=["patents"], negative=["smoke"], entity="city")
    >>> index.weights["weight"].round(3).to_dict()
    {'patents': 0.564, 'smoke': 0.436}
    >>> index.ranking("cross-section")["rank"].to_dict()
    {'c': 1, 'b': 2, 'a': 3}
    """
    check_option("score", score, SCORES)
    check_option("scaling", scaling, ("same", "pooled", "period"))
    if not isinstance(pooled, bool):
        raise OptionError(f"pooled={pooled!r} must be True or False.")
    found = read_indicators(data, positive, negative, groups, entity, time)
    check_name(name, found.groups)
    together = np.zeros(len(data), dtype=np.intp)
    compared = together if pooled else found.keys.t
    scale = {"same": compared, "pooled": together, "period": found.keys.t}[scaling]
    Y, levels = _scaled(found, scale)
    sets = _sets(compared)
    weighings = [_weigh(found, Y[rows], rows) for rows in sets]
    _warn(found, sets, [weighing.flat for weighing in weighings], "has weight 0")
    if pooled and scaling == "period":
        _warn(found, _sets(scale), levels, "counts as 0")
    scores = np.empty((len(data), 1 + len(found.groups)))
    for rows, weighing in zip(sets, weighings, strict=True):
        what = shares(Y[rows]) if score == "share" else Y[rows]
        scores[rows, 0] = what @ weighing.overall
        for g, members in enumerate(found.members):
            scores[rows, 1 + g] = what[:, members] @ weighing.within[members]
    scores *= SCORES[score]
    index, times = found.keys.index(), found.keys.times
    tables = [_table(found, weighing) for weighing in weighings]
    return CompositeIndex(
        scores=pd.Series(scores[:, 0], index=index, name=name),
        dimensions=pd.DataFrame(
            scores[:, 1:], index=index, columns=pd.Index(found.groups, tupleize_cols=False)
        ),
        weights=tables[0]
        if pooled
        else pd.concat(tables, keys=times, names=[times.name, "indicator"]),
        standardised=pd.DataFrame(Y, index=index, columns=found.names),
        method=f"entropy weights, {'all rows' if pooled else 'by period'}, {score} scores",
    )


class _Weighing(NamedTuple):
    """Entropies and weights of one set of units, (J,), and which indicators do not differ."""

    entropy: NDArray
    overall: NDArray
    within: NDArray
    flat: NDArray


def _sets(of: NDArray) -> list[NDArray]:
    """Return the rows of each set of units that are compared, in the order of their codes."""
    return [np.flatnonzero(of == code) for code in range(int(of.max()) + 1)]


def _scaled(found: Indicators, scale: NDArray) -> tuple[NDArray, list[NDArray]]:
    """Return indicators between 0 and 1, and which are constant in each set."""
    Y = np.empty_like(found.values)
    levels = []
    for rows in _sets(scale):
        if rows.size < 2:
            raise DataError(
                "Entropy weights compare two or more units; there is one, "
                f"{listing(found.keys.pairs(rows))}. With pooled=True all periods are compared "
                "together."
            )
        Y[rows], constant = min_max(found.values[rows], found.negative)
        levels.append(constant)
    return Y, levels


def _weigh(found: Indicators, Y: NDArray, rows: NDArray) -> _Weighing:
    """Return the weights of one set of units, or raise if there is nothing to weigh."""
    flat = Y.max(axis=0) - Y.min(axis=0) <= CONSTANT
    E = np.where(flat, 1.0, entropies(shares(Y))) if len(Y) > 1 else np.ones(flat.size)
    overall, within = weights_of(E), np.full(E.size, np.nan)
    for members in found.members:
        within[members] = weights_of(E[members])
    empty = [g for g, part in zip(found.groups, found.members, strict=True) if flat[part].all()]
    if np.isnan(overall).any() or empty:
        what = f"of dimension {listing(empty)} " if empty and not flat.all() else ""
        period = _period(found, rows)
        where = "" if period is None else f" in {period!r}"
        remedy = "" if period is None else ", or compare all rows with pooled=True"
        raise IdentificationError(
            f"No indicator {what}differs between the units compared{where}: there is nothing to "
            f"weigh. Leave it out{remedy}."
        )
    return _Weighing(E, overall, within, flat)


def _warn(found: Indicators, sets: list[NDArray], flats: list[NDArray], what: str) -> None:
    """Warn once about every indicator that is the same for all units of a set."""
    for j in np.flatnonzero(np.any(flats, axis=0)):
        periods = [_period(found, rows) for rows, flat in zip(sets, flats, strict=True) if flat[j]]
        apart = len(sets) > 1
        warnings.warn(
            f"Indicator {found.names[j]!r} is the same for all units"
            + (f" in {listing(periods)}: it {what} there." if apart else f": it {what}."),
            ConstantIndicatorWarning,
            stacklevel=3,
        )


def _period(found: Indicators, rows: NDArray) -> Any:
    """Return the period of some rows as Python prints it, or None if they are of several."""
    t = np.unique(found.keys.t[rows])
    return plain(found.keys.times[t[0]]) if t.size == 1 < found.keys.times.size else None


def _table(found: Indicators, weighing: _Weighing) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "entropy": weighing.entropy,
            "divergence": 1.0 - weighing.entropy,
            "weight": weighing.overall,
            "direction": np.where(found.negative, "-", "+"),
        },
        index=found.names.rename("indicator"),
    )
    if found.groups:
        table["group"] = found.group_of
        table["weight_in_group"] = weighing.within
    return table
