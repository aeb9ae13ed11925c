"""Marginal effects of variables that enter a formula in more than one way."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from spatial_agglo.errors import OptionError, check_list, listing
from spatial_agglo.impacts.effects import EFFECTS, impacts_of
from spatial_agglo.impacts.parameters import Parameters
from spatial_agglo.impacts.terms import Terms, require
from spatial_agglo.models.results import FitResult


def marginal_effects(
    fit: FitResult,
    variable: Hashable,
    *,
    at: Mapping[Hashable, Any] | None = None,
    levels: Sequence[Any] | None = None,
    method: str = "delta",
    horizon: str = "short",
    draws: int = 1000,
    seed: int | np.random.Generator | None = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return direct, indirect and total effects of a variable at stated values.

    ::

        E = (I - rho W)^-1 sum_k g_k (beta_k I + theta_k D),    g_k = d x_k / d variable

    over all terms x_k of the formula that contain the variable: itself, squares, logs,
    interactions. ``g_k`` is evaluated at the same values for all units. For a category ``g_k`` is
    the difference between a level and the reference. Other variables of these terms that are
    not in ``at`` are held at their mean over the observed cells; all values are in the index.

    Parameters
    ----------
    fit : FitResult
    variable : column of the panel
        That the formula uses: ``"x"``, not ``"x:z"``.
    at : dict, optional
        Values of variables, each one value or a list; all combinations are taken.
    levels : list, optional
        Compare levels with the first one listed: for categories in another order, and for
        numbers that jump, ``levels=[0, 1]``. By default all levels of a category, the reference
        being the first in order.
    method, horizon, draws, seed, level
        As for :func:`impacts`.

    Returns
    -------
    DataFrame
        ``estimate``, ``se``, ``z``, ``p_value``, ``lower``, ``upper``, indexed by the level of a
        category, the values of the variables that matter, and "effect".

    Raises
    ------
    OptionError
        A variable that is not in the formula; values of variables that play no part, or of
        categories that do not have them; a category that matters and has no value; a function
        without derivative there; terms that depend on the whole column, such as ``center(x)``.
    BoundaryError
        As for :func:`impacts`.

    References
    ----------
    LeSage & Pace (2009), section 2.7, for the effects of each term.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.impacts import marginal_effects
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sa.sdm("logc ~ logp * logy", panel, W)
    >>> found = marginal_effects(fit, "logp", at={"logy": [4.5, 5.0]})
    >>> found["estimate"].unstack("effect").round(2)
    effect  direct  indirect  total
    logy
    4.5      -0.95     -0.15  -1.10
    5.0      -1.29      0.02  -1.27
    """
    parameters = Parameters.of(fit, horizon)
    terms = Terms.of(fit)
    require(terms, variable)
    chosen = _levels(terms, variable, levels)
    moving = terms.moving(variable, chosen)
    if not moving and not terms.moves(variable, chosen):
        raise OptionError(
            f"No regressor changes with {variable!r} as a number does. If it stands for "
            "categories, or jumps, give levels=[reference, ...]."
        )
    points, names = _points(terms, variable, moving, _stated(at))
    changes = terms.change(terms.grid(points), variable, chosen)  # (levels - 1 or 1, m, k)
    _check(changes, terms, variable, points)
    labels = [
        (*(() if chosen is None else (chosen[j + 1],)), *(point[name] for name in names))
        for j in range(len(changes))
        for point in points
    ]
    weights = changes.reshape(len(labels), -1).T
    found = impacts_of(
        parameters.combined(weights, [str(label) for label in labels]),
        method=method,
        draws=draws,
        seed=seed,
        level=level,
    ).to_frame()
    keys = [*([variable] if chosen is not None else []), *names, "effect"]
    rows = [(*label, effect) for effect in EFFECTS for label in labels]
    found.index = (
        pd.MultiIndex.from_tuples(rows, names=keys)
        if len(keys) > 1
        else pd.Index([row[-1] for row in rows], name="effect")
    )
    m = len(labels)
    order = [e * m + j for j in range(m) for e in range(3)]  # the three effects of a point together
    found = found.iloc[order]
    found.attrs = {"variable": variable}
    if chosen is not None:
        found.attrs["reference"] = chosen[0]
    return found


def _levels(terms: Terms, variable: Hashable, levels: Sequence[Any] | None) -> list[Any] | None:
    """Return the levels to compare, the reference first; None for a derivative."""
    if levels is None:
        return terms.levels(variable) if terms.is_category(variable) else None
    chosen = [levels] if isinstance(levels, str) else check_list("levels", levels, "values")
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise OptionError(
            f"levels must name the reference and one or more other levels; got {listing(chosen)}."
        )
    _known(terms, variable, chosen)
    return chosen


def _stated(at: Mapping[Hashable, Any] | None) -> dict[Hashable, Any]:
    if at is not None and not isinstance(at, Mapping):
        raise OptionError(f"at must map variables to values, {{'x': [0, 1]}}; got {at!r}.")
    return dict(at or {})


def _known(terms: Terms, name: Hashable, values: Sequence[Any]) -> None:
    """Raise on values that a column cannot have."""
    if terms.is_category(name):
        unknown = [value for value in values if value not in terms.levels(name)]
        if unknown:
            raise OptionError(
                f"{name!r} has no level {listing(unknown)}. Its levels are: "
                f"{listing(terms.levels(name), 20)}."
            )
        return
    for value in values:
        number = isinstance(value, (int, float, np.integer, np.floating))
        if not number or not np.isfinite(value):
            raise OptionError(f"{name!r} is a number; got {value!r}.")


def _points(
    terms: Terms, variable: Hashable, moving: list[Hashable], at: dict[Hashable, Any]
) -> tuple[list[dict[Hashable, Any]], list[Hashable]]:
    """Return all combinations of values of what matters, and the order of their names."""
    idle = [name for name in at if name not in moving]
    if idle:
        raise OptionError(
            f"at names {listing(idle)}, on which the effect of {variable!r} does not depend; it "
            f"depends on {listing(moving) or 'no other value'}."
        )
    values: dict[Hashable, list[Any]] = {}
    for name, given in at.items():
        several = isinstance(given, (list, tuple, np.ndarray, pd.Series, pd.Index, range))
        values[name] = list(given) if several else [given]
        _known(terms, name, values[name])
        if not values[name]:
            raise OptionError(f"at gives no value for {name!r}.")
    for name in moving:
        if name in values:
            continue
        if terms.is_category(name):
            raise OptionError(
                f"The effect of {variable!r} depends on the category {name!r}: state its level(s), "
                f"at={{{name!r}: {terms.levels(name)[0]!r}}}. Its levels are: "
                f"{listing(terms.levels(name), 20)}."
            )
        values[name] = [float(terms.frame[name].to_numpy(dtype=float).mean())]
    names = list(values)
    points = [dict(zip(names, point, strict=True)) for point in product(*values.values())]
    return points, names


def _check(
    changes: Any, terms: Terms, variable: Hashable, points: list[dict[Hashable, Any]]
) -> None:
    """Raise where a term has no derivative."""
    bad = np.isnan(changes)
    if bad.any():
        _, m, k = (int(part[0]) for part in np.nonzero(bad))
        where = ", ".join(f"{name} = {value}" for name, value in points[m].items())
        raise OptionError(
            f"The term {terms.names[k]!r} has no derivative with respect to {variable!r} at "
            f"{where or 'these values'}: a logarithm or root of a negative number, or a jump. Give "
            "other values, or levels=[from, to] for a jump."
        )
