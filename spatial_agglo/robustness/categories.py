"""Whether the regressors of a part of a panel are those of the whole."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from spatial_agglo.errors import FormulaError, listing
from spatial_agglo.formula import Variables


def check_references(whole: Variables, part: Variables) -> None:
    """Raise if a category has another reference in a part of a panel than in the whole.

    The levels of ``C(k)`` are those that occur, and the first is the reference. A part without
    it has another one, so that ``C(k)[T.c]``, and an intercept or slope beside it, would be
    compared with what has the same name and another meaning.

    Raises
    ------
    FormulaError
        A level that the part holds has a regressor in the whole and none in the part.

    Examples
    --------
    >>> import pandas as pd
    >>> from spatial_agglo.formula import variables
    >>> from spatial_agglo.panel import Panel
    >>> df = pd.DataFrame({"i": range(4), "y": 0.0, "k": ["a", "b", "c", "d"]})
    >>> whole = variables("y ~ C(k)", Panel(df, entity="i"))
    >>> check_references(whole, variables("y ~ C(k)", Panel(df[:3], entity="i")))
    >>> check_references(whole, variables("y ~ C(k)", Panel(df[1:], entity="i")))
    Traceback (most recent call last):
    ...
    spatial_agglo.errors.FormulaError: The level of 'C(k)[T.b]' is the reference here and not...
    """
    lost = [name for name in whole.regressors if name not in part.regressors]
    kept = _stems(part.regressors)
    lost = [name for name in lost if kept & _stems([name])]
    if not lost:
        return
    rows = whole.panel.times.get_indexer(part.panel.times)
    columns = whole.panel.entities.get_indexer(part.panel.entities)
    X = whole.X[np.ix_(rows, columns, [whole.regressors.index(name) for name in lost])]
    used = (X[part.cells] != 0.0).any(axis=0)
    moved = [name for name, occurs in zip(lost, used, strict=True) if occurs]
    if moved:
        raise FormulaError(
            f"The level of {listing(moved)} is the reference here and not in the whole sample, so "
            "that coefficients of the same name would have different meanings. State a level that "
            "all parts have, as in C(k, contr.treatment('level')), or make dummies of your own."
        )


def _stems(names: Iterable[str]) -> set[str]:
    """Return the factors of terms, the levels of categories left out."""
    return {stem for name in names for stem in re.sub(r"\[[^\]]*\]", "", name).split(":")}
