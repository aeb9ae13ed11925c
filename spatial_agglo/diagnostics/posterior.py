"""Posterior probabilities of models, and of weights."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from spatial_agglo.core.likelihood import Filtered
from spatial_agglo.core.marginal import Beta, Coefficients, Prior, Uniform, log_marginal
from spatial_agglo.core.moments import Moments, accumulate
from spatial_agglo.core.within import removes_time
from spatial_agglo.errors import (
    FormulaError,
    IdentificationError,
    OptionError,
    SpatialAggloError,
    check_option,
    listing,
)
from spatial_agglo.formula import Variables, variables
from spatial_agglo.models.specification import MODELS, ModelSpec, free_cells
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel
from spatial_agglo.weights.panel_weights import PanelWeights

__all__ = ["Beta", "Uniform", "model_probabilities"]

PRIORS: dict[str, Prior] = {"uniform": Uniform(), "beta": Beta()}
SLOPES = ("zellner", "flat")
#: In place of a name of weights where a model uses none.
NO_W = "none"


def model_probabilities(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    models: Sequence[str] | None = None,
    effects: str = "two-way",
    likelihood: str = "transformed",
    prior: str | Prior = "uniform",
    coefficients: str = "zellner",
    durbin: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compare models, and spatial weights, by their posterior probabilities.

    The coefficients, the variance, and then rho and lambda are integrated out of the
    likelihood. What is left is the marginal likelihood ``p(y | model, W)``, and with the same
    prior probability for every row ``P(model, W | y)`` is its share of the sum. The models need
    not be nested.

    Parameters
    ----------
    formula : str
    panel : Panel
    W : weights, or mapping of name to weights
        As for the estimators; several are compared with one another.
    models : sequence of str, optional
        All eight by default. "ols" has no W and is counted once.
    effects : {"two-way", "entity", "time", "none"}
    likelihood : {"transformed", "direct", "direct-demeaned", "corrected"}
        "direct-demeaned" lags y and X after demeaning, as SDPDmod does; "corrected" is the same
        here, for the correction concerns estimates.
    prior : {"uniform", "beta"} or Beta
        Of rho and lambda: uniform over the parameter space; or ``Beta(shape=1.01)`` over
        ``(-1/omega_max, 1/omega_max)``, (-1, 1) for row-standardised W.
    coefficients : {"zellner", "flat"}
        "zellner": ``N(0, sigma2/g (X'X)^-1)`` with ``g = 1/max(n, K^2)``, K = 2k, an intercept
        flat (LeSage & Parent 2007, after Fernandez, Ley & Steel 2001). "flat" (LeSage 2014,
        SDPDmod): then the probabilities of models with different numbers of coefficients depend
        on the units of the regressors, for a price in cents has another flat prior than a
        price in dollars.
    durbin : sequence of str, optional
        The regressors that are lagged in slx, sdm, sdem and gns; all by default.

    Returns
    -------
    DataFrame
        Index (W, model); columns ``log_marginal``, up to a constant that all rows share, and
        ``probability``. ``.attrs["priors"]`` says what the priors were.

    Raises
    ------
    OptionError
        Unknown names, random effects, or weights that cannot be compared: with time effects the
        transformed likelihood of row-standardised weights is of other data than that of other
        weights.
    SpatialAggloError
        As the estimators do.

    References
    ----------
    LeSage & Parent (2007), Geographical Analysis 39, 241-267; LeSage (2014), Spatial Statistics 9,
    122-145.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> table = model_probabilities("logc ~ logp + logy", panel, W, models=["sar", "sem", "sdm"])
    >>> table["probability"].round(3).to_dict()
    {('W', 'sar'): 0.004, ('W', 'sem'): 0.968, ('W', 'sdm'): 0.029}
    """
    names = candidates(models, tuple(MODELS))
    chosen = as_prior(prior)
    check_option("coefficients", coefficients, SLOPES)
    data = variables(formula, panel)
    specs = [specified(name, data, effects, likelihood, durbin) for name in names]
    spaces = {name: Workspace(data, weights) for name, weights in _named(W).items()}
    _check_comparable(spaces, specs[0])
    found: dict[tuple[Hashable, str], float] = {}
    for name, space in spaces.items():
        for spec in specs:
            key = (NO_W, spec.model) if spec.model == "ols" else (name, spec.model)
            if key not in found:
                found[key] = _explained(spec, space, name, chosen, coefficients)
    values = np.array(list(found.values()))
    table = pd.DataFrame(
        {"log_marginal": values, "probability": np.exp(values - logsumexp(values))},
        index=pd.MultiIndex.from_tuples(list(found), names=["W", "model"]),
    )
    table.attrs["priors"] = stated(chosen, coefficients, specs[0], next(iter(spaces.values())))
    return table


def marginal_of(spec: ModelSpec, space: Workspace, prior: Prior, coefficients: str) -> float:
    """Return the log marginal likelihood of one model, up to a constant that all models share."""
    moments = _moments(spec, space)
    plain = replace(spec, likelihood="direct") if _lagged_last(spec) else spec
    regressors, _ = space.regressors(plain)
    filtered = Filtered.of(
        moments,
        regressors,
        lag="W" if spec.has_lag else None,
        error=space.error_letter if spec.has_error else None,
    )
    intercept = space.has_intercept(spec.effects)
    rank = _rank(spec, space)
    slopes = Coefficients(rank, intercept, None)
    if coefficients == "zellner":
        slopes = replace(slopes, g=_g(spec, space))
    if rank <= len(regressors):
        raise IdentificationError(
            f"{spec.model} has {len(regressors)} coefficients for {rank} observations that the "
            "effects leave: use fewer regressors or fewer effects."
        )
    return log_marginal(filtered, space.terms(spec), slopes, prior)


def with_probabilities(
    criteria: pd.DataFrame,
    specs: Sequence[ModelSpec],
    space: Workspace,
    prior: str | Prior,
    coefficients: str,
) -> tuple[pd.DataFrame, str]:
    """Add log marginal likelihoods and probabilities to a table of models; say the priors."""
    chosen = as_prior(prior)
    require_marginal(specs[0])
    values = np.array([marginal_of(spec, space, chosen, coefficients) for spec in specs])
    probability = np.exp(values - logsumexp(values))
    found = criteria.assign(log_marginal=values, probability=probability)
    return found, stated(chosen, coefficients, specs[0], space)


def _g(spec: ModelSpec, space: Workspace) -> float:
    """Return g of the benchmark prior, the same for all models of these data."""
    n = _rank(spec, space) - space.has_intercept(spec.effects)
    return 1.0 / max(n, (2 * len(space.data.regressors)) ** 2)


def _rank(spec: ModelSpec, space: Workspace) -> int:
    """Return the cells less the independent dummies."""
    projector = space.projector(spec)
    T, N = space.data.panel.shape
    return free_cells(N, T, spec.fixed) if projector is None else projector.rank


def _lagged_last(spec: ModelSpec) -> bool:
    return spec.lags_last and removes_time(spec.effects)


def _moments(spec: ModelSpec, space: Workspace) -> Moments:
    """Return the moments of a model; with lags after demeaning, those of X as well, W(QX).

    The estimators take ``Q(WX)`` there, as splm and xsmle do.
    """
    if not _lagged_last(spec):
        return space.moments(spec)
    plain = replace(spec, likelihood="direct")
    space.moments(plain)  # the checks
    words = space.words(plain)
    return accumulate(space.frame(plain), space.operators, spec.fixed, words=words, lag_last=True)


def _explained(
    spec: ModelSpec, space: Workspace, name: Hashable, prior: Prior, coefficients: str
) -> float:
    """Return a log marginal likelihood; an error says which model and weights it is about."""
    try:
        return marginal_of(spec, space, prior, coefficients)
    except SpatialAggloError as error:
        raise type(error)(f"{spec.model} with the weights {name!r}: {error}") from error


# --- the gate -----------------------------------------------------------------------------


def candidates(models: Sequence[str] | None, default: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of models to compare, checked."""
    if models is None:
        return default
    if isinstance(models, str) or not isinstance(models, Sequence) or not models:
        raise OptionError(f"models must be a list of names, for example ['sar', 'sdm']; {models!r}")
    for name in models:
        check_option("models", name, MODELS)
    return tuple(dict.fromkeys(models))


def as_prior(prior: str | Prior) -> Prior:
    """Return the prior of rho and lambda that is meant."""
    if isinstance(prior, Uniform | Beta):
        shape = getattr(prior, "shape", 1.0)
        if not (np.isfinite(shape) and shape >= 1.0):
            raise OptionError(f"Beta(shape={shape!r}) needs a shape of at least 1, such as 1.01.")
        return prior
    return PRIORS[check_option("prior", prior, PRIORS)]


def specified(
    model: str, data: Variables, effects: str, likelihood: str, durbin: Sequence[str] | None
) -> ModelSpec:
    """Return the specification of a candidate; ``durbin`` is for those that lag regressors."""
    if not data.regressors:
        raise FormulaError(f"The formula {data.formula!r} has no regressor to compare models of.")
    lagging = {"durbin": durbin} if durbin is not None and MODELS[model][1] else {}
    spec = ModelSpec.of(model, effects=effects, likelihood=likelihood, **lagging)
    require_marginal(spec)
    if durbin is not None and MODELS[model][1] and not spec.lagged(data):
        raise OptionError(f"durbin={durbin!r} names no regressor, which leaves nothing to lag.")
    return spec


def require_marginal(spec: ModelSpec) -> None:
    """Raise where marginal likelihoods are not available."""
    if spec.effects == "random":
        raise OptionError(
            "Marginal likelihoods are available with fixed effects or none; got effects='random'. "
            "Compare information criteria instead."
        )


def _named(W: Any) -> dict[Hashable, Any]:
    if not isinstance(W, Mapping) or isinstance(W, PanelWeights):
        return {"W": W}
    if not W:
        raise OptionError("W is an empty mapping: give weights, or {name: weights}.")
    if NO_W in W:
        raise OptionError(f"The name {NO_W!r} stands for models without weights: use another name.")
    return dict(W)


def _check_comparable(spaces: Mapping[Hashable, Workspace], spec: ModelSpec) -> None:
    if spec.likelihood != "transformed" or not removes_time(spec.effects):
        return
    kinds: dict[bool, list[Hashable]] = {True: [], False: []}
    for name, space in spaces.items():
        if space.weights is not None:
            kinds[space.row_standardized].append(name)
    if kinds[True] and kinds[False]:
        raise OptionError(
            "With time effects the transformed likelihood removes the period means of "
            "row-standardised weights and estimates them with others, which makes two kinds of "
            f"data. Row-standardised: {listing(kinds[True])}; not: {listing(kinds[False])}. "
            "Standardise all of them, or use likelihood='direct'."
        )


def stated(prior: Prior, coefficients: str, spec: ModelSpec, space: Workspace) -> str:
    """Say what the priors are."""
    match prior:
        case Beta(shape):
            spatial = f"beta({shape:g}, {shape:g}) between minus and plus 1/omega_max"
        case _:
            spatial = "uniform over the parameter space"
    slopes = "flat"
    if coefficients == "zellner":
        slopes = f"N(0, sigma2/g (X'X)^-1), g = 1/{round(1.0 / _g(spec, space))}"
    return (
        f"rho and lambda: {spatial}; coefficients: {slopes}; sigma2: 1/sigma2; "
        "models: equally probable"
    )
