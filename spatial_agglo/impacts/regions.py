"""Effects between groups of units: what one region sends to another."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from spatial_agglo.core.traces import solver
from spatial_agglo.errors import (
    AlignmentError,
    DataError,
    OptionError,
    check_level,
    check_option,
    listing,
)
from spatial_agglo.impacts.effects import table
from spatial_agglo.impacts.parameters import Parameters
from spatial_agglo.impacts.stretches import Stretch, stretches
from spatial_agglo.models.results import FitResult
from spatial_agglo.panel import Panel

#: "mean": of the units affected. "sum": over them.
HOW = ("mean", "sum")
#: Units times groups up to which systems are solved for all groups at once.
CELLS = 2e7


def aggregate(
    fit: FitResult,
    variable: str,
    groups: Hashable | pd.Series | Mapping[Hashable, Hashable],
    *,
    how: str = "mean",
    horizon: str = "short",
    period: Hashable | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the effects of a change in all units of one group on the units of another.

    ::

        sum_AB = sum_{i in A} sum_{j in B} E_ij,    mean_AB = sum_AB / N_A
        E = (I - rho W)^-1 (beta I + theta D)

    "mean" answers: if the variable rises by one in every unit of B, by how much does the outcome
    of a unit of A change on average? For A = B this holds the direct effects and the spillovers
    within the group. Over all B the means add up to the average total effect in A.

    Parameters
    ----------
    fit : FitResult
    variable : str
        One of ``fit.regressors``.
    groups : Series or dict by unit, or column of the panel
        The group of every unit: each in exactly one. A column must not vary over time.
    how : {"mean", "sum"}
    horizon : {"short", "long"}
    period : label of a period, optional
        With gaps or weights that change over time: in one period. By default sums are those of
        an average period, and means are over all observed cells.
    level : float
        Coverage of the interval.

    Returns
    -------
    DataFrame
        Indexed by "to" (affected) and "from" (changes): ``estimate``, ``se`` (delta method),
        ``z``, ``p_value``, ``lower``, ``upper``. ``frame["estimate"].unstack("from")`` is the
        matrix.

    Raises
    ------
    AlignmentError
        Units without a group, or groups of units that the panel does not have.
    DataError
        A column that varies over time; an unknown column or period.
    OptionError
        Unknown variable or option; more than 2e7 units times groups.
    BoundaryError
        As for :func:`impacts`.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.impacts import aggregate
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> coast = ["California", "Oregon", "Washington"]
    >>> groups = {s: "Pacific" if s in coast else "rest" for s in panel.entities}
    >>> found = aggregate(sa.sdm("logc ~ logp + logy", panel, W), "logp", groups)
    >>> found["estimate"].unstack("from").round(3)
    from     Pacific   rest
    to
    Pacific   -1.011 -0.214
    rest      -0.003 -1.221
    """
    check_option("how", how, HOW)
    check_level(level)
    parameters = Parameters.of(fit, horizon).only(variable)
    panel = parameters.space.data.panel
    labels, codes = _grouped(groups, panel)
    G = len(labels)
    if G * panel.N > CELLS:
        raise OptionError(
            f"{G} groups of {panel.N} units are too many: their product may be up to {CELLS:.0e}. "
            "Use larger groups, or impacts_by_unit."
        )
    member = (codes[:, None] == np.arange(G)).astype(float)
    r = float(parameters.rate(parameters.values[None, :])[0][0])
    parts = stretches(parameters.space, period)
    found, cells, periods = np.zeros((4, G, G)), np.zeros(G), 0
    for part in parts:
        found += part.count * _between(part, member * part.mask[:, None], r)
        cells += part.count * (part.mask @ member)
        periods += part.count
    size = cells if how == "mean" else np.full(G, float(periods))
    found = np.divide(
        found, size[:, None], out=np.full_like(found, np.nan), where=cells[:, None] > 0
    ).reshape(4, -1)
    point, J = parameters.at((found[0], found[1]), (found[2], found[3]))
    estimate = point[:, 0]
    variance = parameters.variance(J[:, 0])
    se = np.sqrt(np.where(variance > 0, variance, np.nan))
    half = ndtri(0.5 + level / 2.0) * np.sqrt(np.clip(variance, 0.0, None))
    index = pd.MultiIndex.from_product([labels, labels], names=["to", "from"])
    return table(estimate, se, index, np.stack([estimate - half, estimate + half]))


def _between(part: Stretch, Z: NDArray, r: float) -> NDArray:
    """Return ``Z'S^-1 Z``, ``Z'S^-1 D Z`` and their derivatives by r, shape (4, G, G)."""
    lagged = np.zeros_like(Z) if part.D is None else part.D @ Z
    both = np.concatenate([Z, lagged], axis=1)
    G = Z.shape[1]
    if part.W is None:
        level, slope = both, np.zeros_like(both)
    else:
        solve = solver(part.W, r)
        level = solve(both)
        slope = solve(part.W @ level)
    rows = [Z.T @ part for part in (level[:, :G], level[:, G:], slope[:, :G], slope[:, G:])]
    return np.stack(rows)


def _grouped(groups: Any, panel: Panel) -> tuple[pd.Index, NDArray]:
    """Return the labels of the groups, and the group of every unit as their positions."""
    if isinstance(groups, (pd.Series, Mapping)):
        by_unit = _by_label(groups, panel)
    else:
        by_unit = _by_column(groups, panel)
    missing = by_unit.index[by_unit.isna()]
    if len(missing):
        raise AlignmentError(f"{len(missing)} unit(s) have no group: {listing(missing)}.")
    if isinstance(by_unit.dtype, pd.CategoricalDtype):
        found = by_unit.cat.remove_unused_categories()
        return pd.Index(found.cat.categories), found.cat.codes.to_numpy()
    try:
        codes, labels = pd.factorize(by_unit, sort=True)
    except TypeError:
        codes, labels = pd.factorize(by_unit)
    return pd.Index(labels), codes


def _by_label(groups: pd.Series | Mapping[Hashable, Hashable], panel: Panel) -> pd.Series:
    """Return the groups in the order of the panel's units."""
    series = groups if isinstance(groups, pd.Series) else pd.Series(dict(groups))
    if series.index.has_duplicates:
        twice = series.index[series.index.duplicated()].unique()
        raise AlignmentError(f"Every unit has one group; given more than once: {listing(twice)}.")
    extra = series.index.difference(panel.entities, sort=False)
    lost = panel.entities.difference(series.index, sort=False)
    if len(extra) or len(lost):
        raise AlignmentError(
            "The groups must be those of the panel's units, by label. Units without a group: "
            f"{listing(lost) or 'none'}; groups of units that the panel does not have: "
            f"{listing(extra) or 'none'}."
        )
    return series.loc[panel.entities]


def _by_column(name: Hashable, panel: Panel) -> pd.Series:
    """Return a column that does not vary over time, by unit."""
    try:
        known = name in panel.frame.columns
    except TypeError as error:
        raise OptionError(
            "groups must be a Series or dict by unit, or the name of a column of the panel; got "
            f"{type(name).__name__}."
        ) from error
    if not known:
        raise DataError(
            f"The panel has no column {name!r}. Its columns are: {listing(panel.columns, 20)}."
        )
    by_unit = panel.frame[name].groupby(level=0, observed=True)
    varies = by_unit.nunique(dropna=False)
    varies = varies.index[varies > 1]
    if len(varies):
        raise DataError(
            f"{name!r} varies over time, or is missing in some periods, in {len(varies)} unit(s): "
            f"{listing(varies)}. A unit must be in one group; give a Series by unit."
        )
    return by_unit.first().loc[panel.entities]
