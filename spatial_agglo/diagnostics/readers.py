"""What other libraries call the outcome, the regressors and the residuals of a fitted model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import OptionError, listing
from spatial_agglo.models.results import FitResult
from spatial_agglo.panel import Panel

ARRAYS = (
    "Its arrays can be given to spatial_agglo.diagnostics.arrays: lm_from_arrays(y, X, W, "
    "effects=...) for least squares, residuals_from_arrays(resid, W) for anything else."
)


def _as_they_are(y: NDArray, X: NDArray, panel: Panel) -> tuple[NDArray, NDArray]:
    return y, X


def _none(keys: pd.MultiIndex) -> str:
    return "none"


#: From the (entity, period) of every row to the fixed effects that the library has taken out.
Effects: TypeAlias = Callable[[pd.MultiIndex], str]
Transform: TypeAlias = Callable[[NDArray, NDArray, Panel], tuple[NDArray, NDArray]]
#: Names of effects by what they are of: entities, periods.
EFFECTS = {
    (False, False): "none",
    (True, False): "entity",
    (False, True): "time",
    (True, True): "two-way",
}


@dataclass(frozen=True, eq=False)
class Taken:
    """What is taken from a fitted model.

    Attributes
    ----------
    kind : str
        Library and model, for messages.
    outcome : str
    names : tuple of str
        The k regressors.
    rows : DataFrame
        One row per observation that was used, under the label it had in the data: the outcome,
        the regressors and the residual, in k + 2 columns numbered from 0.
    least_squares : bool
        Whether the residuals are those of ordinary least squares.
    effects : callable
        The fixed effects that the library has taken out, given the labels of the rows.
    transform : callable
        Outcome and regressors as least squares had them.
    follow : str
        The function that goes on from dependence.
    follow_effects : str
        Its effects, where they differ from those of the tests.
    frame : DataFrame or None
        The data that the library has kept, with the labels of ``rows``.
    notes : tuple of str
    """

    kind: str
    outcome: str
    names: tuple[str, ...]
    rows: pd.DataFrame
    least_squares: bool = True
    effects: Effects = _none
    transform: Transform = _as_they_are
    follow: str = "sa.choose_model"
    follow_effects: str = ""
    frame: pd.DataFrame | None = None
    notes: tuple[str, ...] = field(default=())


def read(result: Any) -> Taken:
    """Take outcome, regressors and residuals from a fitted model.

    Raises
    ------
    OptionError
        The library or the kind of model is not known.
    """
    if isinstance(result, FitResult):
        raise OptionError(
            "This is a fit of this package, which needs no diagnose: lm_tests(formula, panel, W), "
            "residual_moran(fit), choose_model(formula, panel, W)."
        )
    readers = {"linearmodels": _linearmodels, "statsmodels": _statsmodels, "pyfixest": _pyfixest}
    library = type(result).__module__.split(".")[0]
    if library not in readers:
        raise OptionError(
            f"A model fitted with {listing(readers)} is needed; got {_name(result)}. {ARRAYS}"
        )
    if library != "pyfixest" and not (hasattr(result, "model") and hasattr(result, "params")):
        raise OptionError(
            f"A fitted model is needed; got {_name(result)}, which is not one. Call .fit() first."
        )
    return readers[library](result)


def _name(result: Any) -> str:
    return f"{type(result).__module__.split('.')[0]}'s {type(result).__name__}"


def _rows(y: Any, X: Any, e: Any, index: pd.Index) -> pd.DataFrame:
    """Put outcome, regressors and residuals side by side."""
    parts = [np.asarray(part, dtype=float).reshape(len(index), -1) for part in (y, X, e)]
    return pd.DataFrame(np.hstack(parts), index=index)


def _weighted(weights: Any) -> bool:
    values = np.asarray(weights, dtype=float)
    return bool(np.ptp(values) > 1e-12 * np.abs(values).max())


_NOT_LEAST = (
    "No LM tests: {} is not ordinary least squares. Moran's I of its residuals is tested by "
    "permutation."
)


# --- linearmodels ---------------------------------------------------------------------------


def _linearmodels(result: Any) -> Taken:
    model = result.model
    kind = type(model).__name__
    if kind not in ("PanelOLS", "PooledOLS", "RandomEffects"):
        raise OptionError(
            f"diagnose knows PanelOLS, PooledOLS and RandomEffects of linearmodels; got {kind}. "
            f"{ARRAYS}"
        )
    if getattr(model, "other_effects", False):
        raise OptionError(
            "This PanelOLS has effects other than those of entities and periods, which the tests "
            f"do not know. Put them into the formula as dummies. {ARRAYS}"
        )
    resid = result.resids
    names = tuple(str(name) for name in result.params.index)
    X = model.exog.dataframe.set_axis(model.exog.vars, axis=1)[list(result.params.index)]
    y = model.dependent.dataframe
    rows = _rows(y.loc[resid.index], X.loc[resid.index], resid, resid.index)
    shared: dict[str, Any] = {
        "kind": f"linearmodels {kind}",
        "outcome": str(y.columns[0]),
        "names": names,
        "rows": rows,
    }
    if _weighted(model.weights.dataframe):
        return Taken(
            **shared,
            least_squares=False,
            effects=_stated(model),
            notes=(_NOT_LEAST.format(f"weighted {kind}"),),
        )
    if kind != "RandomEffects":
        return Taken(**shared, effects=_stated(model))
    note = (
        "Random effects: tests of the quasi-demeaned data, given random effects that spill over "
        "like the other errors."
    )
    return Taken(
        **shared,
        transform=_quasi_demeaned(result.theta.iloc[:, 0]),
        follow="sa.sdm",
        follow_effects="random",
        notes=(note,),
    )


def _stated(model: Any) -> Effects:
    entity, time = (bool(getattr(model, f"{key}_effects", False)) for key in ("entity", "time"))
    return lambda keys: EFFECTS[entity, time]


def _quasi_demeaned(theta: pd.Series) -> Transform:
    """Return the transform of random effects: less a share of each unit's mean over time."""

    def transform(y: NDArray, X: NDArray, panel: Panel) -> tuple[NDArray, NDArray]:
        share = theta.loc[panel.entities].to_numpy(dtype=float)
        means = np.nanmean(X, axis=0)
        return y - share * np.nanmean(y, axis=0), X - share[:, None] * means

    return transform


# --- statsmodels ----------------------------------------------------------------------------


def _statsmodels(result: Any) -> Taken:
    model = result.model
    kind = type(model).__name__
    if kind not in ("OLS", "WLS"):
        raise OptionError(f"diagnose knows OLS and WLS of statsmodels; got {kind}. {ARRAYS}")
    if not hasattr(result, "resid"):
        raise OptionError(
            f"This {kind} was fitted with a penalty and has no residuals of least squares. {ARRAYS}"
        )
    labels = getattr(model.data, "row_labels", None)
    if not isinstance(labels, pd.Index):
        raise OptionError(
            "This statsmodels result was fitted on arrays, whose rows have no labels. Fit it on "
            f"pandas data, or with a formula. {ARRAYS}"
        )
    ordinary = kind == "OLS" or not _weighted(model.weights)
    return Taken(
        kind=f"statsmodels {kind}",
        outcome=str(model.endog_names),
        names=tuple(str(name) for name in model.exog_names),
        rows=_rows(model.endog, model.exog, result.resid, labels),
        least_squares=ordinary,
        frame=getattr(model.data, "frame", None),
        notes=() if ordinary else (_NOT_LEAST.format("WLS"),),
    )


# --- pyfixest -------------------------------------------------------------------------------


def _pyfixest(result: Any) -> Taken:
    kind = type(result).__name__
    if kind not in ("Feols", "Feiv"):
        raise OptionError(f"diagnose knows feols of pyfixest; got {kind}. {ARRAYS}")
    frame = getattr(result, "_data", None)
    y, X = (getattr(result, f"_{name}_untransformed", None) for name in ("Y", "X"))
    if not isinstance(frame, pd.DataFrame) or y is None or X is None:
        raise OptionError(
            "This pyfixest result has not kept its data (lean=True or store_data=False). Fit it "
            f"again without these options. {ARRAYS}"
        )
    ordinary = kind == "Feols" and not result._has_weights
    fixed = [part.strip() for part in str(result._fixef or "").split("+")]
    index = y.index if isinstance(y, pd.DataFrame) else frame.index
    return Taken(
        kind=f"pyfixest {kind}",
        outcome=str(result._depvar),
        names=tuple(str(name) for name in result._coefnames),
        rows=_rows(y, X, result.resid(), index),
        least_squares=ordinary,
        effects=_absorbed([name for name in fixed if name not in ("", "0")], frame.loc[index]),
        follow="sa.stsls" if kind == "Feiv" else "sa.choose_model",
        frame=frame,
        notes=() if ordinary else (_NOT_LEAST.format(f"this {kind}"),),
    )


def _absorbed(fixed: list[str], frame: pd.DataFrame) -> Effects:
    """Return the function that tells fixed effects of units and of periods by their values."""

    def effects(keys: pd.MultiIndex) -> str:
        entity = time = False
        for name in fixed:
            own = pd.factorize(frame[name])[0] if name in frame.columns else None
            units, periods = (own is not None and _same(own, codes) for codes in keys.codes)
            if not units and not periods:
                raise OptionError(
                    f"The fixed effects {name!r} are not those of the entities "
                    f"({keys.names[0]!r}) or the periods ({keys.names[1]!r}), which are all that "
                    f"the tests know. {ARRAYS}"
                )
            entity, time = entity or units, time or periods
        return EFFECTS[entity, time]

    return effects


def _same(first: NDArray, second: Any) -> bool:
    """Tell whether two codings of the same rows make the same groups."""
    pairs = np.unique(np.column_stack([first, np.asarray(second)]), axis=0)
    return len(pairs) == len(np.unique(first)) == len(np.unique(second))
