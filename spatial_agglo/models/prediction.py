"""Predictions of a fit, for its own cells and for new data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.core.within import removes_entity, removes_time
from spatial_agglo.errors import (
    BoundaryError,
    DataError,
    FormulaError,
    OptionError,
    listing,
)
from spatial_agglo.formula import Variables, variables
from spatial_agglo.models.recovered import regression, solve
from spatial_agglo.models.weighting import Weighting
from spatial_agglo.panel import Panel

if TYPE_CHECKING:
    from spatial_agglo.models.results import FitResult

#: Columns that are made for the evaluation of a formula on old and new rows together.
ROW, PERIOD, OUTCOME = "_row_of_prediction", "_period_of_prediction", "_outcome_of_prediction"
#: A regressor of an old row may move by this share when new rows join: rounding only.
SAME = 1e-9


def predict(
    fit: FitResult,
    panel: Panel | None = None,
    *,
    spillovers: bool = True,
    effects: bool | str = True,
    W: Any = None,
    W_error: Any = None,
    W_durbin: Any = None,
) -> pd.Series:
    """Predict the outcome of every cell without using any outcome.

    ::

        spillovers=True     (I - rho W)^-1 (X beta + W X theta + effects)
        spillovers=False    X beta + effects

    The first is the expected outcome (reduced form). The second leaves out all that comes from
    other units, as if rho, theta and lambda were zero; the difference is what spillovers
    contribute. ``effects`` is constant + unit + period, or the intercept. Where fixed effects
    stand inside the error process (see :func:`spatial_agglo.models.recovered.fixed_effects`)
    the first has ``(I - lambda M)^-1 effects`` in their place.

    Parameters
    ----------
    fit : FitResult
    panel : Panel, optional
        New data with the regressors of the formula, matched by name, and the units of W,
        matched by label; an outcome is not needed. The estimation sample by default. Where
        cells are missing, W of a period is among the units observed in it, as in estimation.
    spillovers : bool
    effects : {True, False, "entity", "time"}
        Which fixed effects to add to the constant: all; none, as for a unit and a period of mean
        effect; those of units only; those of periods only. A unit or period that was not in
        the estimation has no effect: say which to do without.
    W, W_error, W_durbin : weights, optional
        For the new panel; those of the fit by default. Weights that change over time are needed
        for every period of the new panel.

    Returns
    -------
    Series
        By (entity, time), for all cells that have the regressors.

    Raises
    ------
    DataError
        An effect that is not known, cells that lack a regressor, a new category.
    FormulaError
        A column is missing, or a term of the formula depends on the sample as a whole.
    AlignmentError
        Other units than those of W, or periods without weights.
    OptionError
        Effects that the model does not have, random effects, a dynamic model on a new panel.
    BoundaryError
        rho is outside the parameter space of the weights given.

    Examples
    --------
    What a price that is 10% higher in Ohio does to sales there and next door:

    >>> import spatial_agglo as sa
    >>> frame = sa.datasets.cigarettes()
    >>> panel = sa.Panel(frame, entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sa.sdm("logc ~ logp + logy", panel, W)
    >>> dearer = frame.assign(logp=frame["logp"] + 0.1 * (frame["state"] == "Ohio"))
    >>> new = sa.Panel(dearer, entity="state", time="year")
    >>> change = (fit.predict(new) - fit.predict()).xs(1992, level="year")
    >>> change[["Ohio", "Michigan", "Illinois"]].round(4).to_dict()
    {'Ohio': -0.1011, 'Michigan': -0.006, 'Illinois': -0.0004}
    """
    _check_effects(fit, effects)
    if not isinstance(spillovers, bool | np.bool_):
        raise OptionError(f"spillovers={spillovers!r} must be True or False.")
    if panel is None:
        if not (W is None and W_error is None and W_durbin is None):
            raise OptionError("Weights belong to a new panel: predict(panel, W=...).")
        space = fit.workspace
        data = space.data
        weights = _Weights(space.weights, space.error_weights, space.durbin_weights)
    else:
        data = _evaluate(fit, panel)
        weights = _aligned(fit, data, W, W_error, W_durbin) if spillovers else _Weights()
    level = _level(fit, data, effects) * data.cells
    own, lagged = regression(fit, data, weights.durbin if spillovers else None)
    if not spillovers:
        return data.panel.series(own + level, "prediction", data.cells)
    if fit.workspace.irregular:
        level = solve(weights.error, fit.lam, level)
    _check_space(fit.rho, weights.lag)
    total = solve(weights.lag, fit.rho, own + lagged + level)
    return data.panel.series(total, "prediction", data.cells)


class _Weights(NamedTuple):
    """The weights of spillovers, by where they stand; None where there are none."""

    lag: Weighting | None = None
    error: Weighting | None = None
    durbin: Weighting | None = None


# --- fixed effects ------------------------------------------------------------------------


def _check_effects(fit: FitResult, effects: bool | str) -> None:
    known: list[bool | str] = [True, False]
    known += ["entity"] * removes_entity(fit.spec.fixed) + ["time"] * removes_time(fit.spec.fixed)
    if not any(effects is option or effects == option for option in known):
        raise OptionError(
            f"effects={effects!r} must be one of {listing(known)} in predictions of a model with "
            f"effects={fit.spec.effects!r}."
        )
    if effects and fit.spec.effects == "random":
        raise OptionError(
            "The random effects of units are not part of predictions: predict(effects=False) "
            "gives the prediction for a unit whose effect is zero."
        )


def _level(fit: FitResult, data: Variables, effects: bool | str) -> NDArray:
    """Return what the fixed effects add to the cells of some data, shape (T, N)."""
    if fit.spec.fixed == "none":
        return np.zeros(data.y.shape)
    if effects is True and data is fit.workspace.data:
        return fit.levels
    level = np.full(data.y.shape, fit.constant)
    units, periods = fit.unit_effects, fit.period_effects
    if units is not None and effects in (True, "entity"):
        of_unit = units.reindex(data.panel.entities).to_numpy()
        _check_known(of_unit, data.panel.entities, np.any(data.cells, axis=0), "unit")
        level = level + np.nan_to_num(of_unit)
    if periods is not None and effects in (True, "time"):
        of_period = periods.reindex(data.panel.times).to_numpy()
        _check_known(of_period, data.panel.times, np.any(data.cells, axis=1), "period")
        level = level + np.nan_to_num(of_period)[:, None]
    return level


def _check_known(values: NDArray, labels: pd.Index, used: NDArray, what: str) -> None:
    unknown = labels[np.isnan(values) & used]
    if not unknown.size:
        return
    other = {"unit": "time", "period": "entity"}[what]
    raise DataError(
        f"The effects of {unknown.size} {what}(s) are not known, because the model was estimated "
        f"without data of them: {listing(unknown)}. effects=False puts the average effect, zero, "
        f"in place of all effects; effects={other!r} (two-way models) in place of {what} effects."
    )


# --- new data -----------------------------------------------------------------------------


def _evaluate(fit: FitResult, panel: Panel) -> Variables:
    """Evaluate the regressors of a fit on another panel.

    Old and new rows are evaluated together, so that categories mean the same; a term that
    changes for old rows when new ones join depends on the sample, and is refused.
    """
    data = fit.workspace.data
    if not isinstance(panel, Panel):
        raise DataError(
            f"predict needs a Panel, declared as the one of the fit was; got "
            f"{type(panel).__name__}."
        )
    if fit.spec.dynamic is not None:
        raise OptionError(
            "A dynamic model predicts its own sample only: a new panel does not say what the "
            "outcome was in the period before."
        )
    if fit.spec.correlated:
        raise OptionError(
            "A model with the unit means of its regressors predicts its own sample only: those "
            "means are of the periods of the estimation."
        )
    joint, old, new = _joint(data.panel, panel)
    found = variables(f"{OUTCOME} ~ {data.formula.split('~')[1]}", joint)
    if found.regressors != data.regressors:
        differ = sorted(set(found.regressors) ^ set(data.regressors))
        raise FormulaError(
            f"On the new panel {data.formula!r} gives other columns than in the estimation "
            f"({listing(differ)}): a category that was not there, or another type of column."
        )
    before = found.X[0, old][data.cells[data.panel.present]]
    _check_unmoved(before, data)
    rows = found.X[0, new]
    seen = found.cells[0, new]
    if panel.unbalanced == "error" and not seen.all():
        cells = panel.index(panel.present)[~seen]
        raise DataError(
            f"{len(cells)} cell(s) of the new panel lack a regressor of {data.formula!r}: "
            f"{listing(cells)}. Complete them, leave them out, or declare the panel with "
            "unbalanced='allow'."
        )
    X = np.zeros((*panel.shape, len(data.regressors)))
    X[panel.present] = rows
    observed = np.zeros(panel.shape, dtype=bool)
    observed[panel.present] = seen
    if not observed.any():
        raise DataError(f"No cell of the new panel has every regressor of {data.formula!r}.")
    return Variables(
        formula=data.formula,
        outcome=data.outcome,
        regressors=data.regressors,
        intercept=data.intercept,
        y=np.zeros(panel.shape),
        X=X,
        panel=panel,
        observed=None if observed.all() else observed,
    )


def _joint(old: Panel, new: Panel) -> tuple[Panel, NDArray, NDArray]:
    """Return the rows of two panels as units of one, and where the rows of each went."""
    frames = [panel.frame.reset_index() for panel in (old, new)]
    labels = [
        f"{tag}{label}"
        for tag, panel in (("", old), ("new panel: ", new))
        for label in panel.frame.index.to_flat_index()
    ]
    columns = {
        name: _joined(frames[0][name], frames[1][name], name)
        for name in frames[0].columns
        if name in frames[1].columns
    }
    frame = pd.DataFrame({**columns, ROW: labels, PERIOD: 0, OUTCOME: 1.0})
    joint = Panel(frame, entity=ROW, time=PERIOD, unbalanced="allow")
    place = joint.entities.get_indexer(pd.Index(labels))
    return joint, place[: len(frames[0])], place[len(frames[0]) :]


def _joined(old: pd.Series, new: pd.Series, name: object) -> pd.Series:
    """Put a column of the new rows under that of the old ones; categories stay what they were."""
    if isinstance(old.dtype, pd.CategoricalDtype):
        unknown = new[new.notna() & ~new.isin(old.dtype.categories)]
        if len(unknown):
            raise DataError(
                f"{name!r} has {len(unknown)} value(s) that are no category of it in the "
                f"estimation: {listing(unknown.unique())}."
            )
        new = new.astype(old.dtype)
    return pd.concat([old, new], ignore_index=True)


def _check_unmoved(before: NDArray, data: Variables) -> None:
    was = data.X[data.cells]
    size = np.abs(was).max(axis=0, initial=0.0)
    moved = np.abs(before - was).max(axis=0, initial=0.0) > SAME * size
    if moved.any():
        names = [name for name, m in zip(data.regressors, moved, strict=True) if m]
        raise FormulaError(
            f"{listing(names)} of {data.formula!r} depend on the sample as a whole, so new rows "
            "would change them. Make such columns before declaring the panel (a mean that is "
            "taken out as a number, for example), and predict from those."
        )


# --- weights ------------------------------------------------------------------------------


def _aligned(fit: FitResult, data: Variables, W: Any, W_error: Any, W_durbin: Any) -> _Weights:
    """Align the weights of a fit, or those given instead, with the units of new data."""
    spec, space = fit.spec, fit.workspace
    filtered = spec.has_error and space.irregular and spec.fixed != "none"
    for name, given, used in (
        ("W", W, spec.has_lag or spec.has_durbin or filtered),
        ("W_error", W_error, filtered),
        ("W_durbin", W_durbin, spec.has_durbin),
    ):
        if given is not None and not used:
            raise OptionError(f"{name}=... has no meaning for predictions of this {fit.model}.")

    def place(wanted: bool, given: Any, weights: Weighting | None) -> Weighting | None:
        """Align what is given for one use, or else what the fit has for it."""
        if not wanted or weights is None:
            return None
        if given is None and W is not None and weights is space.weights:
            given = W
        return Weighting.of(weights.source if given is None else given, data)

    return _Weights(
        lag=place(spec.has_lag, W, space.weights),
        error=place(filtered, W_error, space.error_weights),
        durbin=place(spec.has_durbin, W_durbin, space.durbin_weights),
    )


def _check_space(rho: float | None, weights: Weighting | None) -> None:
    """Raise where the multiplier does not exist: weights given anew, two-stage least squares."""
    if not rho or weights is None:
        return
    for W in weights.matrices:
        if abs(rho) * float(W.matrix.sum(axis=1).max()) < 1.0:
            continue
        low, high = W.logdet.interval
        if not low < rho < high:
            raise BoundaryError(
                f"rho = {rho:.4f} lies outside the parameter space ({low:.4g}, {high:.4g}) of "
                "these weights: there is no multiplier (I - rho W)^-1, and no prediction with "
                "spillovers."
            )
