"""diagnose: the spatial tests of a model that another library has fitted."""

from __future__ import annotations

import html
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.core.within import EFFECTS, removes_entity, removes_time
from spatial_agglo.diagnostics.arrays import regression_from_arrays, residual_table
from spatial_agglo.diagnostics.dependence import moran_of
from spatial_agglo.diagnostics.lm import lm_table
from spatial_agglo.diagnostics.readers import EFFECTS as NAMES
from spatial_agglo.diagnostics.readers import Taken, read
from spatial_agglo.diagnostics.table import About, described, normal_row, stacked
from spatial_agglo.errors import (
    DataError,
    OptionError,
    SpatialAggloError,
    check_level,
    check_option,
    listing,
)
from spatial_agglo.models.results import FitResult
from spatial_agglo.panel import CROSS_SECTION, Panel
from spatial_agglo.weights.matrix import as_weights
from spatial_agglo.weights.panel_weights import PanelWeights

#: Columns that are closer than this to a combination of others add nothing to their rank.
RANK = 1e-9
MORAN = "Moran (1950); Cliff & Ord (1981)"


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What :func:`diagnose` found.

    Attributes
    ----------
    table : DataFrame
        One row per test: ``statistic``, ``df``, ``p_value``; ``.attrs["tests"]`` has what each
        tests.
    effects : str
        The effects that the tests take into account.
    advice : str
        What follows, and the next call.
    notes : tuple of str
        What was recognised, and what could not be tested and why.
    regression : FitResult
        The regression (or that of the residuals on the effects) as a fit of this package:
        ``regression.replace(model="sdm")`` goes on from it.
    alpha : float
        Significance level of the advice.
    """

    table: pd.DataFrame
    effects: str
    advice: str
    notes: tuple[str, ...]
    regression: FitResult
    alpha: float

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{html.escape(text)}</p>" for text in (*self.notes, self.advice))
        return f"{self.table.to_html(float_format='{:.4f}'.format)}{lines}"

    def __repr__(self) -> str:
        return "\n".join([self.table.to_string(), "", *self.notes, self.advice])


def diagnose(
    result: Any,
    W: Any,
    *,
    data: pd.DataFrame | None = None,
    entity: Hashable | None = None,
    time: Hashable | None = None,
    effects: str | None = None,
    likelihood: str = "transformed",
    unbalanced: str = "error",
    alpha: float = 0.05,
    permutations: int = 999,
    seed: int | np.random.Generator | None = 0,
) -> Diagnosis:
    """Test a model that linearmodels, statsmodels or pyfixest has fitted for spatial dependence.

    The outcome, regressors and residuals are taken from the result and matched to W by label.

    Parameters
    ----------
    result : fitted model
        linearmodels: ``PanelOLS``, ``PooledOLS``, ``RandomEffects``. statsmodels: ``OLS`` and
        ``WLS``, with or without a formula, on pandas data. pyfixest: ``feols``. Whatever is not
        least squares (weights, instruments) gets Moran's I and CD of its residuals only.
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
        Matched to the entities by label.
    data : DataFrame, optional
        Where to find ``entity`` and ``time``; matched to the result by the label of its rows.
        The frame that the library has kept by default.
    entity, time : column names, optional
        Leave both out when the model was fitted on data with an (entity, time) MultiIndex, as
        linearmodels does, or on a cross-section whose index has the labels of W; leave ``time``
        out for another cross-section.
    effects : {"none", "entity", "time", "two-way"}, optional
        Recognised by default: the options of linearmodels, the fixed effects of pyfixest, and
        dummies of all entities or of all periods among the regressors. State them for data that
        were demeaned by hand.
    likelihood : str
        As for :func:`spatial_agglo.lm_tests`.
    unbalanced : {"error", "allow"}
        As for :class:`spatial_agglo.Panel`.
    alpha : float
        Significance level of the advice.
    permutations, seed
        For the tests that need permutations.

    Returns
    -------
    Diagnosis

    Raises
    ------
    OptionError
        A kind of result that is not known (the arrays can be given to
        :mod:`spatial_agglo.diagnostics.arrays` all the same), or whose rows have no labels.
    DataError
        The residuals are not those of least squares with the effects stated.
    AlignmentError
        W and the data hold different units.

    Notes
    -----
    Random effects: the tests are those of the quasi-demeaned data, on which ``RandomEffects`` is
    least squares. W acts on units and the demeaning on periods, so they are the score tests
    given random effects that spill over like the other errors (Kapoor, Kelejian & Prucha 2007).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from linearmodels.panel import PanelOLS
    >>> df = sa.datasets.cigarettes().set_index(["state", "year"])
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> model = PanelOLS.from_formula("logc ~ logp + logy + EntityEffects + TimeEffects", df)
    >>> found = diagnose(model.fit(), W)
    >>> found.effects, found.table["statistic"].round(2).head(2).tolist()
    ('two-way', [60.41, 1.11])
    """
    check_level(alpha, "alpha", 0.05)
    if effects is not None:
        check_option("effects", effects, EFFECTS)
    if not isinstance(W, PanelWeights):
        W = as_weights(W)  # labelled: a bare matrix would be matched by position
    taken = read(result)
    keys = _keys(taken, W, data, entity, time)
    panel = Panel(taken.rows.set_axis(keys, axis=0), unbalanced=unbalanced)
    y, X, e = _arrays(panel, taken)
    notes = list(taken.notes)
    known = taken.effects(keys)
    found, kept = _recognised(panel, X, known if effects is None else effects, effects is None)
    if found != known and effects is None:
        notes.append(f"Recognised from dummies among the regressors: effects={found!r}.")
    shared: dict[str, Any] = {
        "effects": found,
        "ids": panel.entities,
        "times": panel.times,
        "unbalanced": unbalanced,
    }
    if taken.least_squares:
        base = regression_from_arrays(
            y,
            X[:, :, kept],
            W,
            likelihood=likelihood,
            names=[taken.names[j] for j in kept],
            outcome=taken.outcome,
            resid=e,
            **shared,
        )
    else:
        ones = np.ones((*e.shape, 1))
        base = regression_from_arrays(e, ones, W, outcome="residual", **shared)
    table = _table(base, taken, notes, permutations, seed)
    named = base.regressors if taken.least_squares else _varying(X, kept, taken.names)
    advice = _advice(table, taken, found, alpha, named, panel)
    return Diagnosis(table, found, advice, tuple(notes), base, alpha)


# --- labels ---------------------------------------------------------------------------------


def _keys(
    taken: Taken,
    W: Any,
    data: pd.DataFrame | None,
    entity: Hashable | None,
    time: Hashable | None,
) -> pd.MultiIndex:
    """Return the entity and the period of every row of the result."""
    rows = taken.rows
    if entity is not None:
        keys = [_key(taken, data, name) for name in (entity, time) if name is not None]
    elif time is not None:
        raise OptionError("diagnose needs entity= as well as time=; only time= was given.")
    elif rows.index.nlevels == 2:
        keys = [rows.index.get_level_values(level) for level in (0, 1)]
    elif rows.index.nlevels == 1 and rows.index.is_unique and rows.index.isin(_ids(W)).all():
        keys = [rows.index]
    else:
        raise OptionError(
            f"The rows of this {taken.kind} do not say which entity and period they are of. Fit it "
            "on data with an (entity, time) MultiIndex, or name the columns: diagnose(result, W, "
            "entity='...', time='...'), with data=df if the library has not kept them."
        )
    if len(keys) == 1:
        keys.append(pd.Index([CROSS_SECTION] * len(rows), name="time"))
    names = [keys[0].name or "entity", keys[1].name or "time"]
    return pd.MultiIndex.from_arrays(keys, names=names)


def _ids(W: Any) -> pd.Index:
    return W.ids if isinstance(W, PanelWeights) else as_weights(W).ids


def _key(taken: Taken, data: pd.DataFrame | None, name: Hashable) -> pd.Index:
    """Return the entity or period of every row, found by name."""
    rows = taken.rows.index
    if data is None and name in rows.names:
        return rows.get_level_values(name)
    frame = taken.frame if data is None else data
    if frame is None or name not in frame.columns:
        where = "data" if data is not None else f"the frame that the {taken.kind} has kept"
        have = "there is none" if frame is None else f"it has {listing(frame.columns, 20)}"
        raise OptionError(
            f"There is no column {name!r} in {where}: {have}. Give the frame on which the model "
            "was fitted, diagnose(result, W, data=df, entity=..., time=...)."
        )
    if not frame.index.is_unique:
        raise DataError(
            "The labels of the rows of data repeat, so its rows cannot be matched to those of "
            "the result. Fit the model on a frame with a unique index, and give the same frame."
        )
    missing = rows.difference(frame.index)
    if missing.size:
        raise DataError(
            f"{missing.size} row(s) of the result are not in data: {listing(missing)}. Give the "
            "frame on which the model was fitted, with its index."
        )
    if data is not None and taken.outcome in data.columns:
        _check_rows(data.loc[rows, taken.outcome], taken)
    return pd.Index(frame.loc[rows, name].array, name=name)


def _check_rows(found: pd.Series, taken: Taken) -> None:
    """Raise when rows of the same label hold another outcome in data than in the result."""
    if not pd.api.types.is_numeric_dtype(found):
        return
    own = taken.rows.iloc[:, 0].to_numpy()
    same = np.isclose(found.to_numpy(dtype=float), own, rtol=1e-9, atol=1e-9 * np.abs(own).max())
    if not same.all():
        raise DataError(
            f"{int((~same).sum())} row(s) of data have another {taken.outcome!r} than the row of "
            f"the result with the same label, {listing(found.index[~same])}: the index of data is "
            "not that of the frame on which the model was fitted. Give that frame."
        )


def _arrays(panel: Panel, taken: Taken) -> tuple[NDArray, NDArray, NDArray]:
    """Return the outcome, the regressors and the residuals as (T, N) and (T, N, k) arrays."""
    columns = np.stack([panel.column(name) for name in taken.rows.columns], axis=2)
    y, X, e = columns[:, :, 0], columns[:, :, 1:-1], columns[:, :, -1]
    return (*taken.transform(y, X, panel), e)


# --- effects --------------------------------------------------------------------------------


def _recognised(panel: Panel, X: NDArray, effects: str, look: bool) -> tuple[str, list[int]]:
    """Return the effects, and the regressors that are not dummies which these absorb.

    Dummies of all entities are regressors that do not vary over time and that, with the constant
    if the model has one, span as many dimensions as there are entities; likewise those of periods.
    """
    every = list(range(X.shape[2]))
    if panel.T < 2 or not every:
        return effects, every
    cells = np.isfinite(X).all(axis=2)
    entity, time = removes_entity(effects), removes_time(effects)
    dropped: set[int] = set()
    sides = [(axis, count, *_still(X, cells, axis)) for axis, count in enumerate(panel.shape[::-1])]
    constant = entity or time or any(_rank(values) == count for _, count, _, values in sides)
    constant = constant or not set(every).isdisjoint(set(sides[0][2]) & set(sides[1][2]))
    for axis, count, still, values in sides:
        ones = np.ones((len(values), int(constant)))
        full = look and len(still) >= count - 1
        full = full and _rank(np.hstack([ones, values])) == count
        if axis == 0 and (entity or full):
            entity, dropped = True, dropped | set(still)
        if axis == 1 and (time or full):
            time, dropped = True, dropped | set(still)
    return NAMES[entity, time], [j for j in every if j not in dropped]


def _still(X: NDArray, cells: NDArray, axis: int) -> tuple[list[int], NDArray]:
    """Return the regressors that do not vary along an axis, and their values."""
    Z = np.where(cells[:, :, None], X, np.nan)
    seen = cells.any(axis=axis)
    Z = Z[:, seen] if axis == 0 else Z[seen]
    low, high = np.nanmin(Z, axis=axis), np.nanmax(Z, axis=axis)
    size = np.maximum(np.abs(low), np.abs(high)).max(axis=0)
    still = [int(j) for j in np.flatnonzero((high - low).max(axis=0) <= 1e-12 * size)]
    scale = np.where(size > 0.0, size, 1.0)[still]
    return still, low[:, still] / scale


def _rank(values: NDArray) -> int:
    return int(np.linalg.matrix_rank(values, tol=RANK)) if values.size else 0


def _varying(X: NDArray, kept: list[int], names: Sequence[str]) -> list[str]:
    """Return the names of the regressors that are not the constant."""
    return [names[j] for j in kept if np.nanmax(X[:, :, j]) > np.nanmin(X[:, :, j])]


# --- tests ----------------------------------------------------------------------------------


def _table(
    base: FitResult,
    taken: Taken,
    notes: list[str],
    permutations: int,
    seed: int | np.random.Generator | None,
) -> pd.DataFrame:
    """Return the tests that there are; say in the notes which there are not, and why."""
    tables: list[pd.DataFrame] = []
    if taken.least_squares:
        try:
            z = normal_row("Moran's I", float(moran_of(base)["z"]))
            about = About(
                "no correlation between the errors of neighbours", "standard normal (z of I)", MORAN
            )
            tables = [lm_table(base), described(z, {"Moran's I": about})]
        except SpatialAggloError as error:
            notes.append(f"No LM tests: {error}")
    try:
        found = residual_table(base, permutations=permutations, seed=seed)
        if tables:
            found = found.drop(index="Moran's I", errors="ignore")
        tables.append(found)
    except SpatialAggloError as error:
        if not tables or isinstance(error, OptionError):
            raise
        notes.append(f"No CD test: {error}")
    return stacked(table for table in tables if len(table))


def _advice(
    table: pd.DataFrame,
    taken: Taken,
    effects: str,
    alpha: float,
    names: Sequence[str],
    panel: Panel,
) -> str:
    """Say what follows from the tests, and name the next call."""

    def found(*tests: str) -> list[str]:
        return [test for test in tests if table["p_value"].get(test, 1.0) < alpha]

    plain = all(name.isidentifier() for name in (taken.outcome, *names)) and bool(names)
    formula = repr(f"{taken.outcome} ~ {' + '.join(names)}") if plain else "formula"
    keys = f"entity={panel.entities.name!r}"
    if panel.T > 1:
        keys += f", time={panel.times.name!r}"
    data = f"{formula}, sa.Panel(df, {keys})"
    last = f"effects={taken.follow_effects or effects!r}"
    dependent = found("LM lag", "LM error", "Moran's I")
    if dependent:
        text = f"Spatial dependence of the residuals (p < {alpha:g}: {', '.join(dependent)})"
        robust = found("robust LM lag", "robust LM error")
        if len(robust) == 1:
            text += f"; {robust[0]} alone of the robust tests points to its process"
        more = ", endogenous=..., instruments=..." if taken.follow == "sa.stsls" else ""
        return f"{text}. Next: {taken.follow}({data}, W{more}, {last})."
    common = found("Pesaran CD", "local CD")
    if common:
        return (
            f"No dependence along the links of W, but the residuals of units are correlated "
            f"(p < {alpha:g}: {', '.join(common)}): common shocks, or another W. Next: effects of "
            f"time, cov='driscoll-kraay', or sa.sensitivity({data}, {{'W': W}}, {last})."
        )
    return (
        "No spatial dependence is found in the residuals. Lags of the regressors may matter all "
        f"the same. Next: sa.slx({data}, W, {last})."
    )
