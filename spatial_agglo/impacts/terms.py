"""How the regressors of a formula move with one of its variables, at stated values.

The formula itself is evaluated at the values, and differences are taken: whatever a formula can
say of a variable (squares, logs, interactions, categories) is understood.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import (
    DataError,
    FormulaError,
    OptionError,
    SpatialAggloError,
    listing,
)
from spatial_agglo.formula import Variables, variables
from spatial_agglo.models.results import FitResult
from spatial_agglo.panel import Panel

#: Column that tells the rows apart.
ROW = "__row__"
#: Steps of differences, as shares of the scale of the variable, and places on them.
STEPS = (1e-3, 1e-4)
PLACES = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
#: Two steps must agree to the first to be taken at once, and to the second to be taken at all.
SAME, CLOSE = 1e-9, 1e-6
#: A change of slope that does not get smaller with the step is a kink, if it is not rounding.
KINK, NOISE = 0.75, 1e-7
#: Effects within this share of the largest at the same row do not depend on a value.
EQUAL = 1e-7
#: Rows at which terms are checked, and rows and levels at which it is seen what matters.
CHECKED, LOOKED_AT, LEVELS = 25, 5, 50


@dataclass(frozen=True, eq=False)
class Terms:
    """The formula of a fit, ready to be evaluated at other values.

    Attributes
    ----------
    data : Variables
    names : tuple of str
        Regressors that have effects.
    frame : DataFrame
        The observed rows, entity and time as columns; categories keep all their levels.
    """

    data: Variables
    names: tuple[str, ...]
    frame: pd.DataFrame

    @classmethod
    def of(cls, fit: FitResult) -> Terms:
        """Take the observed rows; raise if terms depend on more than their own row."""
        data = fit.workspace.data
        rows = data.panel.frame.reset_index()
        for name in rows.columns:
            if _is_category(rows[name]) or _only_in_category(str(name), data.formula):
                rows[name] = pd.Categorical(rows[name])
            elif rows[name].dtype == np.bool_:
                rows[name] = rows[name].astype(float)  # to stand beside numbers it may be set to
        rows = rows[data.cells[data.panel.present]]
        found = cls(data, tuple(fit.regressors), rows)
        found._check()
        return found

    def sample(self, size: int) -> pd.DataFrame:
        """Return some rows from all over the panel."""
        at = np.linspace(0, len(self.frame) - 1, min(size, len(self.frame))).astype(int)
        return self.frame.iloc[at]

    def candidates(self, variable: Hashable) -> list[Hashable]:
        """Return the columns besides the variable whose names occur in the formula."""
        right = self.data.formula.split("~")[1]
        return [
            name for name in self.frame.columns if name != variable and _occurs(str(name), right)
        ]

    def is_category(self, name: Hashable) -> bool:
        """Tell whether a column is a category."""
        return isinstance(self.frame[name].dtype, pd.CategoricalDtype)

    def levels(self, name: Hashable) -> list[Any]:
        """Return the levels of a category, or the lowest, middle and highest value."""
        column = self.frame[name]
        if self.is_category(name):
            return list(column.cat.categories)
        quantiles = np.quantile(column.to_numpy(dtype=float), [0.0, 0.5, 1.0])
        return np.unique(quantiles).tolist()

    def evaluate(self, rows: pd.DataFrame) -> NDArray:
        """Return the regressors at rows of values, shape (m, k)."""
        # the first row was in the fit: where no other can be evaluated, there is still one
        frame = pd.concat([self.frame.iloc[[0]], rows], ignore_index=True)
        frame = frame.assign(**{ROW: np.arange(len(frame))})
        try:
            with np.errstate(all="ignore"):
                made = variables(self.data.formula, Panel(frame, entity=ROW, unbalanced="allow"))
        except SpatialAggloError as error:
            raise OptionError(
                f"The formula {self.data.formula!r} cannot be evaluated at these values: {error}"
            ) from error
        lost = [name for name in self.names if name not in made.regressors]
        if lost:
            raise FormulaError(
                f"At other values the formula {self.data.formula!r} has no {listing(lost)}: its "
                "terms depend on which values occur. Make the columns before declaring the panel."
            )
        at = [made.regressors.index(name) for name in self.names]
        X = np.where(made.cells[0][:, None], made.X[0][:, at], np.nan)
        return X[1:]

    def differences(self, rows: pd.DataFrame, variable: Hashable, levels: Sequence[Any]) -> NDArray:
        """Return the regressors at each level less those at the first, (levels - 1, m, k)."""
        stacked = self._at(rows, variable, [np.full(len(rows), 0.0)] * len(levels), levels)
        X = self.evaluate(stacked).reshape(len(levels), len(rows), -1)
        return X[1:] - X[0]

    def derivative(self, rows: pd.DataFrame, variable: Hashable) -> NDArray:
        """Return the derivatives of the regressors, (m, k); NaN where there is none.

        Central differences of fourth order, at steps that are shortened until two of them
        agree.
        """
        x = rows[variable].to_numpy(dtype=float)
        spread = float(self.frame[variable].to_numpy(dtype=float).std())
        wide = np.maximum(np.abs(x), spread)
        near = np.where(x != 0.0, np.abs(x), wide)
        steps = [STEPS[0] * np.where(wide > 0, wide, 1.0)]
        steps += [step * np.where(near > 0, near, 1.0) for step in STEPS]
        places = [x + place * h for h in steps for place in PLACES]
        X = self.evaluate(self._at(rows, variable, places))
        X = X.reshape(len(steps), PLACES.size, len(rows), -1)
        out = np.full(X.shape[2:], np.nan)
        error = np.full(X.shape[2:], np.inf)
        for step, (a, b, c, o, d, e, f) in zip(steps, X, strict=True):
            h = step[:, None]
            with np.errstate(all="ignore"):
                one = (8.0 * (e - b) - (f - a)) / (12.0 * h)
                two = (8.0 * (d - c) - (e - b)) / (6.0 * h)
                size = np.maximum(np.abs(one), np.abs(two))
                gap = np.where(size > 0, np.abs(one - two) / size, 0.0)
                bend, nearer = np.abs(b - 2.0 * o + e), 2.0 * np.abs(c - 2.0 * o + d)
                noise = NOISE * (size * h + np.abs(o) * STEPS[0])
                gap = np.where((nearer > KINK * bend) & (nearer > noise), np.inf, gap)
            better = (gap < error) & ~(error <= SAME)
            out, error = np.where(better, two, out), np.where(better, gap, error)
        return np.where(error <= CLOSE, out, np.nan)

    def moving(self, variable: Hashable, levels: Sequence[Any] | None) -> list[Hashable]:
        """Return the columns on whose values the effect of a variable depends, itself included."""
        rows, found = self.sample(LOOKED_AT), []
        own = [variable] if levels is None else []
        for name in [*own, *self.candidates(variable)]:
            values = self.levels(name)
            at = np.linspace(0, len(values) - 1, min(LEVELS, len(values))).astype(int)
            stacked = pd.concat([self._set(rows, {name: values[j]}) for j in at])
            changes = self.change(stacked, variable, levels)
            changes = changes.reshape(len(changes), len(at), len(rows), -1)
            if not _constant(changes):
                found.append(name)
        return found

    def moves(self, variable: Hashable, levels: Sequence[Any] | None) -> bool:
        """Tell whether any regressor changes with a variable."""
        return bool(self.change(self.sample(LOOKED_AT), variable, levels).any())

    def change(
        self, rows: pd.DataFrame, variable: Hashable, levels: Sequence[Any] | None
    ) -> NDArray:
        """Return derivatives, (1, m, k), or differences between levels."""
        if levels is None:
            return self.derivative(rows, variable)[None]
        return self.differences(rows, variable, levels)

    def grid(self, points: Sequence[Mapping[Hashable, Any]]) -> pd.DataFrame:
        """Return one row for every point: an observed row with some of its values replaced."""
        first = self.frame.iloc[[0]]
        return pd.concat([self._set(first, point) for point in points], ignore_index=True)

    def _set(self, rows: pd.DataFrame, values: Mapping[Hashable, Any]) -> pd.DataFrame:
        out = rows.copy()
        for name, value in values.items():
            if self.is_category(name):
                categories = rows[name].cat.categories
                out[name] = pd.Categorical([value] * len(rows), categories=categories)
            else:
                out[name] = float(value)
        return out

    def _at(
        self,
        rows: pd.DataFrame,
        variable: Hashable,
        places: Sequence[NDArray],
        levels: Sequence[Any] | None = None,
    ) -> pd.DataFrame:
        """Stack the rows once for every place (or level) of the variable."""
        parts = []
        for j, x in enumerate(places):
            if levels is not None:
                parts.append(self._set(rows, {variable: levels[j]}))
            else:
                part = rows.copy()
                part[variable] = x
                parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def _check(self) -> None:
        """Raise if a row by itself gives other regressors than it gave in the panel."""
        rows = self.sample(CHECKED)
        at = [self.data.regressors.index(name) for name in self.names]
        given = self.data.X[self.data.cells][:, at]
        positions = self.frame.index.get_indexer(rows.index)
        given = given[positions]
        found = self.evaluate(rows)
        size = np.abs(self.data.X[self.data.cells][:, at]).max(axis=0, initial=0.0)
        off = ~(np.abs(found - given) <= 1e-9 * size).all(axis=0)
        if off.any():
            names = [name for name, bad in zip(self.names, off, strict=True) if bad]
            raise OptionError(
                f"The term(s) {listing(names)} depend on the whole column, not on their own row "
                "alone (center, scale, poly, bs, means and the like), so they cannot be evaluated "
                "at stated values. Make the column before declaring the panel."
            )


def require(terms: Terms, variable: Hashable) -> None:
    """Raise unless a variable is a column that the right side of the formula uses."""
    if not pd.api.types.is_hashable(variable) or variable not in terms.frame.columns:
        raise DataError(
            f"The panel has no column {variable!r}. Name a variable of the formula "
            f"{terms.data.formula!r}."
        )
    if not _occurs(str(variable), terms.data.formula.split("~")[1]):
        raise OptionError(
            f"{variable!r} is not in the formula {terms.data.formula!r}. Name a variable (not a "
            "term) of its right side."
        )


def _constant(changes: NDArray) -> bool:
    """Tell whether changes, (levels, values, rows, k), are the same at all values.

    They are compared to their own size: that of a derivative depends on the units of variables.
    NaN is outside the domain of a function, so that the value matters.
    """
    size = np.where(np.isfinite(changes), np.abs(changes), 0.0).max(axis=1, keepdims=True)
    first = changes[:, :1]
    with np.errstate(invalid="ignore"):
        same = (changes == first) | (np.abs(changes - first) <= EQUAL * size)
    return bool(same.all())


def _occurs(name: str, text: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text) is not None


def _only_in_category(name: str, formula: str) -> bool:
    """Tell whether a column stands in C(...) wherever it stands in a formula."""
    every = len(re.findall(rf"(?<![\w.]){re.escape(name)}(?!\w)", formula))
    inside = len(re.findall(rf"\bC\(\s*`?{re.escape(name)}`?\s*[,)]", formula))
    return every > 0 and every == inside


def _is_category(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_datetime64_any_dtype(
        column
    )
