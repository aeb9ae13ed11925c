"""From a formula and a Panel to named arrays. The only importer of formulaic."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import DataError, FormulaError, listing
from spatial_agglo.panel import Panel, numeric

INTERCEPT = "Intercept"
#: Names of parameters, which regressors cannot have.
RESERVED = (INTERCEPT, "rho", "lambda", "sigma2")


@dataclass(frozen=True)
class Variables:
    """The outcome and the regressors of one formula, as arrays of one panel.

    Attributes
    ----------
    formula : str
    outcome : str
    regressors : tuple of str
        Names of the columns of ``X``; an intercept is not among them.
    intercept : bool
        Whether the formula has one (it has unless it says ``- 1``).
    y : ndarray, shape (T, N)
    X : ndarray, shape (T, N, k)
    panel : Panel
    observed : ndarray of bool, shape (T, N), or None
        The cells that have every variable; None when all of them do. y and X are zero in the
        others.
    """

    formula: str
    outcome: str
    regressors: tuple[str, ...]
    intercept: bool
    y: NDArray
    X: NDArray
    panel: Panel
    observed: NDArray | None = None

    @property
    def cells(self) -> NDArray:
        """Mask of the cells that are used, shape (T, N)."""
        return np.ones(self.panel.shape, dtype=bool) if self.observed is None else self.observed

    @property
    def nobs(self) -> int:
        """Number of cells that are used."""
        return self.panel.N * self.panel.T if self.observed is None else int(self.observed.sum())


def variables(formula: str, panel: Panel) -> Variables:
    """Evaluate a formula on a panel.

    Parameters
    ----------
    formula : str
        Wilkinson notation: ``"y ~ x1 + log(x2) + C(region) + x1:x3"``.
    panel : Panel

    Raises
    ------
    FormulaError
        The formula cannot be parsed, has no single outcome, or names an unknown column.
    DataError
        A variable is not numeric, or has missing or infinite cells (named).

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"i": [1, 2], "y": [0.0, 1.0], "x": [1.0, 4.0]})
    >>> variables("y ~ log(x)", Panel(df, entity="i")).X.ravel().round(3)
    array([0.   , 1.386])
    """
    if not isinstance(formula, str):
        raise FormulaError(f"A formula is a string such as 'y ~ x'; got {type(formula).__name__}.")
    if not isinstance(panel, Panel):
        raise DataError(
            f"A Panel is needed; got {type(panel).__name__}. Declare it once with "
            "Panel(df, entity=..., time=...)."
        )
    parsed = _parse(formula)
    found = _variables(parsed, panel)
    taken = [
        name
        for name in found.regressors
        if name in RESERVED or name.startswith("W*") or found.regressors.count(name) > 1
    ]
    if taken:
        raise FormulaError(
            f"The regressor(s) {listing(taken)} cannot be told from the model's own parameters "
            f"({', '.join(RESERVED)}, W*...), or occur twice: rename the columns."
        )
    return _with_gaps(found)


def _with_gaps(found: Variables) -> Variables:
    """Mark the cells where a variable is missing, on panels that allow them."""
    if found.panel.unbalanced == "error":
        return found
    observed = np.isfinite(found.y) & np.isfinite(found.X).all(axis=2)
    if observed.all():
        return found
    if not observed.any():
        raise DataError(f"No cell of the panel has every variable of {found.formula!r}.")
    y = np.where(observed, found.y, 0.0)
    X = np.where(observed[:, :, None], found.X, 0.0)
    return replace(found, y=y, X=X, observed=observed)


def _variables(parsed: _Parsed, panel: Panel) -> Variables:
    formula = parsed.text
    if parsed.plain is not None and not _has_category(parsed.plain, panel):
        outcome, names = parsed.plain
        columns = [_column(panel, name, formula) for name in (outcome, *names)]
        X = np.stack(columns[1:], axis=2) if names else np.zeros((*panel.shape, 0))
        return Variables(formula, outcome, names, parsed.intercept, columns[0], X, panel)
    return _evaluate(parsed, panel)


@dataclass(frozen=True)
class _Parsed:
    text: str
    formula: Any
    intercept: bool
    plain: tuple[str, tuple[str, ...]] | None


@lru_cache(maxsize=512)
def _parse(text: str) -> _Parsed:
    """Parse once per formula; a formula of bare column names needs no evaluation later."""
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    sides = text.split("~")
    if len(sides) != 2 or not all(side.strip() for side in sides) or "|" in text:
        raise FormulaError(
            f"The formula {text!r} must read 'outcome ~ regressors', with one '~' and no '|'."
        )
    shift = re.search(r"\.(shift|diff|rolling|pct_change|cumsum)\b", text)
    if shift:
        raise FormulaError(
            f"{shift.group()[1:]} in a formula would run across units. Make the column before "
            "declaring the panel: df.groupby(entity)[column].shift(1)."
        )
    try:
        formula = Formula(text)
        left, right = list(formula.lhs), list(formula.rhs)
    except (FormulaicError, SyntaxError) as error:
        reason = re.sub(r"\x1b\[[0-9;]*m|\s*\n.*", "", str(error), flags=re.DOTALL)
        raise FormulaError(f"The formula {text!r} cannot be parsed: {reason}") from error
    if len(left) != 1:
        raise FormulaError(
            f"The formula {text!r} must have exactly one outcome on the left of '~'; "
            f"it has {len(left)}."
        )
    intercept = any(str(term) == "1" for term in right)
    terms = [term for term in right if str(term) != "1"]
    bare = all(
        len(term.factors) == 1 and term.factors[0].eval_method.value == "lookup"
        for term in [*left, *terms]
    )
    plain = None
    if bare:
        plain = (
            left[0].factors[0].expr,
            tuple(term.factors[0].expr for term in terms),
        )
    return _Parsed(text, formula, intercept, plain)


def _column(panel: Panel, name: str, formula: str) -> NDArray:
    if name not in panel.dtypes:
        raise FormulaError(
            f"The formula {formula!r} names {name!r}, which the panel does not have. "
            f"Its columns are: {listing(panel.columns, 20)}."
        )
    return panel.column(name)


def _evaluate(parsed: _Parsed, panel: Panel) -> Variables:
    """Let formulaic evaluate functions, interactions and categories."""
    from formulaic.errors import FormulaicError

    frame = panel.frame.reset_index()
    _check_names(parsed, panel, frame)
    used = [name for name in parsed.formula.required_variables if name in frame.columns]
    gaps = ~(panel.arrange(frame[used].notna().all(axis=1).to_numpy()) == 1.0)
    try:
        with np.errstate(all="ignore"):
            left, right = parsed.formula.get_model_matrix(
                frame, context={"np": np, "lag": _no_lag}, na_action="ignore"
            )
    except (FormulaicError, SyntaxError, TypeError, ValueError, ArithmeticError) as error:
        raise FormulaError(
            f"The formula {parsed.text!r} cannot be evaluated: {error} "
            f"The panel's columns are: {listing(panel.frame.columns, 20)}."
        ) from error
    if left.shape[1] != 1:
        raise FormulaError(
            f"The outcome of {parsed.text!r} must be one column; it is {left.shape[1]}."
        )
    names = tuple(str(name) for name in right.columns if str(name) != INTERCEPT)
    outcome = str(left.columns[0])
    arrays = {}
    for table in (left, right):
        for name in table.columns:
            try:
                array = panel.arrange(np.asarray(table[name], dtype=float))
                array = np.where(gaps, np.nan, array)
            except (TypeError, ValueError) as error:
                raise FormulaError(
                    f"The term {str(name)!r} of {parsed.text!r} is not numeric."
                ) from error
            panel.check_finite(array, name)
            arrays[str(name)] = array
    X = np.stack([arrays[name] for name in names], axis=2) if names else None
    if X is None:
        X = np.zeros((*panel.shape, 0))
    return Variables(parsed.text, outcome, names, parsed.intercept, arrays[outcome], X, panel)


def _check_names(parsed: _Parsed, panel: Panel, frame: pd.DataFrame) -> None:
    """Raise on names that are not columns, and on gaps in what categories are made of.

    A name that is not a column could otherwise be a function of Python's (``id``, ``max``), and
    a missing category would silently become the reference level.
    """
    used = {str(name) for name in parsed.formula.required_variables} - {"np"}
    unknown = sorted(name for name in used if name not in frame.columns)
    if unknown:
        raise FormulaError(
            f"The formula {parsed.text!r} names {listing(unknown)}, which the panel does not have. "
            f"Its columns are: {listing(frame.columns, 20)}."
        )
    for name in _lookups(parsed.formula):
        if name in panel.frame.columns and not _is_category(panel.dtypes[name]):
            numeric(panel.frame, name)
    for name in sorted(used):
        if frame[name].isna().any():
            panel.check_finite(
                panel.arrange(frame[name].isna().map({True: np.nan, False: 0.0})), name
            )


def _lookups(formula: Any) -> list[str]:
    """Names of bare columns in the terms of a formula."""
    return [
        factor.expr
        for side in (formula.lhs, formula.rhs)
        for term in side
        for factor in term.factors
        if factor.eval_method.value == "lookup"
    ]


def _has_category(plain: tuple[str, tuple[str, ...]], panel: Panel) -> bool:
    return any(_is_category(panel.dtypes.get(name)) for name in (plain[0], *plain[1]))


def _is_category(dtype: Any) -> bool:
    return isinstance(dtype, pd.CategoricalDtype)


def _no_lag(*_: object) -> None:
    raise FormulaError(
        "lag() in a formula would shift rows across units. Make the lagged column before "
        "declaring the panel: df.groupby(entity)[column].shift(1)."
    )
