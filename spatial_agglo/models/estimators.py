"""The estimators a user calls. No arithmetic of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel

_PARAMETERS = """
    Parameters
    ----------
    formula : str
        ``"y ~ x1 + x2"``; functions, interactions and ``C(...)`` are understood. An intercept
        is estimated with ``effects="none"`` and absorbed by any other effects.
    panel : Panel
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
        Matched to the panel's entities by label.
    effects : {"two-way", "entity", "time", "none"}
        Fixed effects of the units, of the periods, both or neither.
    likelihood : {"transformed", "direct", "direct-demeaned", "corrected"}
        "transformed" (Lee & Yu 2010) removes the fixed effects by an orthonormal
        transformation and is consistent for all parameters. "direct" is maximum likelihood
        with dummies; "direct-demeaned" lags after demeaning, as splm and Stata's xsmle do;
        "corrected" adds the closed-form correction of Elhorst (2014) to the latter. The
        last three are for replication: with two-way effects and a dense W the direct
        likelihoods are badly biased.
    cov : {"observed", "expected", "robust", "clustered"}
        Inverse of the observed or expected information; the sandwich, robust to
        heteroskedasticity (times T/(T - 1) with entity and N/(N - 1) with time effects, what
        demeaning takes from the variance of a residual); the sandwich with scores summed by
        entity, robust to serial correlation as well (factor N/(N - 1)).
"""

_DURBIN = """    durbin : list of str, optional
        The regressors whose spatial lag enters; all of them by default.
"""

_AFTER = """
    Returns
    -------
    FitResult

    Raises
    ------
    FormulaError, DataError
        The formula or the data cannot be used.
    AlignmentError, WeightsError
        W and the panel hold different units, or W is malformed.
    IdentificationError
        Collinear or absorbed regressors (named), too few observations.
    BoundaryError
        No interior maximum.
    OptionError
        An unknown option; the known ones are listed.
"""


def _document(function: Callable[..., FitResult]) -> Callable[..., FitResult]:
    """Put the sections that all estimators share into a docstring that is marked for them."""
    text = function.__doc__ or ""
    durbin = _DURBIN if "[durbin]" in text else ""
    text = text.replace("[durbin]", "")
    function.__doc__ = text.replace("[shared]", (_PARAMETERS + durbin + _AFTER).strip())
    return function


@_document
def ols(
    formula: str,
    panel: Panel,
    W: Any = None,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    cov: str = "observed",
) -> FitResult:
    """Estimate the panel regression without spatial terms.

    ::

        y_t = X_t beta + c + alpha_t + e_t

    [shared]

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = ols("logc ~ logp + logy", panel, W)
    >>> fit.params.drop("sigma2").round(3).to_dict()
    {'logp': -1.035, 'logy': 0.529}
    """
    spec = ModelSpec.of("ols", effects=effects, likelihood=likelihood, cov=cov)
    return fit(spec, Workspace.of(formula, panel, W))


@_document
def slx(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    cov: str = "observed",
    durbin: Sequence[str] | None = None,
) -> FitResult:
    """Estimate the model with spatially lagged regressors.

    ::

        y_t = X_t beta + W X_t theta + c + alpha_t + e_t

    [shared][durbin]

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = slx("logc ~ logp + logy", panel, W)
    >>> fit.params.drop("sigma2").round(3).to_dict()
    {'logp': -1.017, 'logy': 0.608, 'W*logp': -0.22, 'W*logy': -0.219}
    """
    spec = ModelSpec.of("slx", effects=effects, likelihood=likelihood, cov=cov, durbin=durbin)
    return fit(spec, Workspace.of(formula, panel, W))


@_document
def sar(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    cov: str = "observed",
) -> FitResult:
    """Estimate the spatial autoregressive (spatial lag) model.

    ::

        y_t = rho W y_t + X_t beta + c + alpha_t + e_t

    [shared]

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sar("logc ~ logp + logy", panel, W)
    >>> fit.params.drop("sigma2").round(3).to_dict()
    {'logp': -0.987, 'logy': 0.452, 'rho': 0.221}
    """
    spec = ModelSpec.of("sar", effects=effects, likelihood=likelihood, cov=cov)
    return fit(spec, Workspace.of(formula, panel, W))


@_document
def sem(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    cov: str = "observed",
) -> FitResult:
    """Estimate the spatial error model.

    ::

        y_t = X_t beta + c + alpha_t + u_t,    u_t = lambda W u_t + e_t

    [shared]

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sem("logc ~ logp + logy", panel, W)
    >>> fit.params.drop("sigma2").round(3).to_dict()
    {'logp': -0.999, 'logy': 0.558, 'lambda': 0.283}
    """
    spec = ModelSpec.of("sem", effects=effects, likelihood=likelihood, cov=cov)
    return fit(spec, Workspace.of(formula, panel, W))


@_document
def sdm(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    cov: str = "observed",
    durbin: Sequence[str] | None = None,
) -> FitResult:
    """Estimate the spatial Durbin model.

    ::

        y_t = rho W y_t + X_t beta + W X_t theta + c + alpha_t + e_t

    [shared][durbin]

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sdm("logc ~ logp + logy", panel, W)
    >>> fit.params.drop("sigma2").round(3).to_dict()
    {'logp': -1.0, 'logy': 0.599, 'W*logp': 0.107, 'W*logy': -0.309, 'rho': 0.271}
    """
    spec = ModelSpec.of("sdm", effects=effects, likelihood=likelihood, cov=cov, durbin=durbin)
    return fit(spec, Workspace.of(formula, panel, W))


@_document
def sdem(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    cov: str = "observed",
    durbin: Sequence[str] | None = None,
) -> FitResult:
    """Estimate the spatial Durbin error model.

    ::

        y_t = X_t beta + W X_t theta + c + alpha_t + u_t,    u_t = lambda W u_t + e_t

    [shared][durbin]

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sdem("logc ~ logp + logy", panel, W)
    >>> fit.params.drop("sigma2").round(3).to_dict()
    {'logp': -1.009, 'logy': 0.585, 'W*logp': -0.168, 'W*logy': -0.157, 'lambda': 0.27}
    """
    spec = ModelSpec.of("sdem", effects=effects, likelihood=likelihood, cov=cov, durbin=durbin)
    return fit(spec, Workspace.of(formula, panel, W))
