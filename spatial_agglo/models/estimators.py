"""The estimators a user calls. No arithmetic of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict, Unpack

from spatial_agglo.errors import OptionError
from spatial_agglo.models.covariances import Covariance
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel


class Options(TypedDict, total=False):
    """What every estimator takes by keyword."""

    effects: str
    likelihood: str
    cov: str | Covariance
    correlated: bool


class Durbin(TypedDict, total=False):
    """What the models with lags of the regressors take in addition."""

    durbin: Sequence[str] | None
    W_durbin: Any


class Error(TypedDict, total=False):
    """What the models with a spatial error process take in addition."""

    W_error: Any
    form: str


class Dynamic(TypedDict, total=False):
    """What the models that can be dynamic take in addition."""

    dynamic: str | None
    bias_correction: bool


class DurbinOptions(Options, Durbin): ...  # noqa: D101


class ErrorOptions(Options, Error): ...  # noqa: D101


class LagOptions(Options, Dynamic): ...  # noqa: D101


class LagDurbinOptions(Options, Durbin, Dynamic): ...  # noqa: D101


class DurbinErrorOptions(Options, Durbin, Error): ...  # noqa: D101


_SECTIONS = {
    Options: """
    effects : {"two-way", "entity", "time", "none", "random"}
        Fixed effects of the units, of the periods, both or neither; or random effects of the
        units, independent of the regressors.
    likelihood : {"transformed", "direct", "direct-demeaned", "corrected"}
        "transformed" (Lee & Yu 2010) removes the fixed effects by an orthonormal
        transformation and is consistent for all parameters; on a panel with gaps, or with
        weights that change over time, the score is adjusted to the same end. "direct" is
        maximum likelihood with dummies; "direct-demeaned" lags after demeaning, as splm and
        Stata's xsmle do; "corrected" adds the closed-form correction of Elhorst (2014) to the
        latter. The last three are for replication: with two-way effects and a dense W the
        direct likelihoods are badly biased.
    cov : str or record of options
        "observed" or "expected" information, "opg" (outer product of the scores); sandwiches:
        "robust" (heteroskedasticity), "clustered" (by entity; ``Clustered(["province",
        "time"])`` for columns and two ways), "driscoll-kraay" (common shocks; or
        ``DriscollKraay(lags=3)``), ``Conley(cutoff=..., coordinates=(...))`` (neighbours in
        space); "bootstrap" (or ``Bootstrap(draws=..., seed=..., n_jobs=...)``).
    correlated : bool
        Random effects: add the unit means of the regressors (Mundlak 1978).
""",
    Durbin: """
    durbin : list of str, optional
        The regressors whose spatial lag enters; all of them by default.
    W_durbin : weights, optional
        For the lags of the regressors; W by default.
""",
    Error: """
    W_error : weights, optional
        For the error process; W by default.
    form : {"kkp", "baltagi"}
        Random effects: the effect of a unit spills over like its other errors (Kapoor, Kelejian &
        Prucha 2007), or does not (Baltagi, Song & Koh 2003).
""",
    Dynamic: """
    dynamic : {"own", "spatial", "both"}, optional
        Adds y(t-1), W y(t-1) or both; the first period is lost. See ``fit.details``.
    bias_correction : bool
        Dynamic models: correct for the incidental effects (Yu, de Jong & Lee 2008; Lee & Yu
        2010). True by default.
""",
}

_BEFORE = """
    Parameters
    ----------
    formula : str
        ``"y ~ x1 + x2"``; functions, interactions and ``C(...)`` are understood. An intercept
        is estimated with ``effects="none"`` or "random" and absorbed by any other effects.
    panel : Panel
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
        Matched to the panel's entities (and periods) by label.
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


def _document(*sections: type) -> Callable[[Callable[..., FitResult]], Callable[..., FitResult]]:
    """Put the sections that estimators share into a docstring that is marked for them."""

    def decorate(function: Callable[..., FitResult]) -> Callable[..., FitResult]:
        options = "".join(_SECTIONS[section].strip("\n") + "\n" for section in sections)
        shared = _BEFORE + options + _AFTER
        function.__doc__ = (function.__doc__ or "").replace("[shared]", shared.strip())
        return function

    return decorate


def _estimate(model: str, formula: str, panel: Panel, W: Any, options: dict[str, Any]) -> FitResult:
    """Take the weights out of the options, validate the rest, and fit."""
    others: dict[str, Any] = {
        name: options.pop(name) for name in ("W_error", "W_durbin") if name in options
    }
    spec = ModelSpec.of(model, **options)
    for name, used in (("W_error", spec.has_error), ("W_durbin", spec.has_durbin)):
        if others.get(name) is not None and not used:
            raise OptionError(f"{name}=... has no meaning for {model}.")
    return fit(spec, Workspace.of(formula, panel, W, **others))


@_document(Options)
def ols(formula: str, panel: Panel, W: Any = None, **options: Unpack[Options]) -> FitResult:
    """Estimate the panel regression without spatial terms.

    ::

        y_t = X_t beta + c + alpha_t + e_t

    [shared]

    Notes
    -----
    Covariances have no count of the k coefficients, as all that is fitted by maximum likelihood
    here. With n cells, G clusters and m fixed effects (two-way: N + T - 1), m* of them not
    constant within a cluster: "clustered" has the factor ``max(G / (G - 1), n / (n - m*))``,
    "robust" ``n / (n - m)``, and "observed" rests on ``sigma2 = e'e / (n - m)``. Two-stage least
    squares (``fe2sls``, ``stsls``) has ``(n - m) / (n - m - k)`` on top of that, so that the two
    differ by it where they stand side by side. The default is "observed" here, "clustered" in
    ``stepwise``, ``mediation`` and ``fe2sls``, "robust" in ``stsls``.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = ols("logc ~ logp + logy", panel, W)
    >>> fit.params.drop("sigma2").round(3).to_dict()
    {'logp': -1.035, 'logy': 0.529}
    """
    return _estimate("ols", formula, panel, W, {**options})


@_document(Options, Durbin)
def slx(formula: str, panel: Panel, W: Any, **options: Unpack[DurbinOptions]) -> FitResult:
    """Estimate the model with spatially lagged regressors.

    ::

        y_t = X_t beta + W X_t theta + c + alpha_t + e_t

    [shared]

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = slx("logc ~ logp + logy", panel, W)
    >>> fit.params.drop("sigma2").round(3).to_dict()
    {'logp': -1.017, 'logy': 0.608, 'W*logp': -0.22, 'W*logy': -0.219}
    """
    return _estimate("slx", formula, panel, W, {**options})


@_document(Options, Dynamic)
def sar(formula: str, panel: Panel, W: Any, **options: Unpack[LagOptions]) -> FitResult:
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
    return _estimate("sar", formula, panel, W, {**options})


@_document(Options, Error)
def sem(formula: str, panel: Panel, W: Any, **options: Unpack[ErrorOptions]) -> FitResult:
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
    return _estimate("sem", formula, panel, W, {**options})


@_document(Options, Durbin, Dynamic)
def sdm(formula: str, panel: Panel, W: Any, **options: Unpack[LagDurbinOptions]) -> FitResult:
    """Estimate the spatial Durbin model.

    ::

        y_t = rho W y_t + X_t beta + W X_t theta + c + alpha_t + e_t

    [shared]

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sdm("logc ~ logp + logy", panel, W)
    >>> fit.params.drop("sigma2").round(3).to_dict()
    {'logp': -1.0, 'logy': 0.599, 'W*logp': 0.107, 'W*logy': -0.309, 'rho': 0.271}
    """
    return _estimate("sdm", formula, panel, W, {**options})


@_document(Options, Durbin, Error)
def sdem(formula: str, panel: Panel, W: Any, **options: Unpack[DurbinErrorOptions]) -> FitResult:
    """Estimate the spatial Durbin error model.

    ::

        y_t = X_t beta + W X_t theta + c + alpha_t + u_t,    u_t = lambda W u_t + e_t

    [shared]

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sdem("logc ~ logp + logy", panel, W)
    >>> fit.params.drop("sigma2").round(3).to_dict()
    {'logp': -1.009, 'logy': 0.585, 'W*logp': -0.168, 'W*logy': -0.157, 'lambda': 0.27}
    """
    return _estimate("sdem", formula, panel, W, {**options})


@_document(Options, Error)
def sac(formula: str, panel: Panel, W: Any, **options: Unpack[ErrorOptions]) -> FitResult:
    """Estimate the model with a spatial lag and a spatial error (SAC, SARAR).

    ::

        y_t = rho W y_t + X_t beta + c + alpha_t + u_t,    u_t = lambda M u_t + e_t

    The likelihood often has several maxima; the whole parameter space is searched.

    [shared]

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sac("logc ~ logp + logy", panel, W)
    >>> fit.params.drop("sigma2").round(3).to_dict()
    {'logp': -0.996, 'logy': 0.568, 'rho': -0.032, 'lambda': 0.314}
    """
    return _estimate("sac", formula, panel, W, {**options})


@_document(Options, Durbin, Error)
def gns(formula: str, panel: Panel, W: Any, **options: Unpack[DurbinErrorOptions]) -> FitResult:
    """Estimate the general nesting spatial model.

    ::

        y_t = rho W y_t + X_t beta + W X_t theta + c + alpha_t + u_t,    u_t = lambda M u_t + e_t

    The likelihood often has several maxima; the whole parameter space is searched. rho and
    lambda are told apart by the regressors alone, and badly: prefer a model that it nests.

    [shared]

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = gns("logc ~ logp + logy", panel, W)
    >>> fit.params[["rho", "lambda"]].round(3).to_dict()
    {'rho': 0.64, 'lambda': -0.496}
    """
    return _estimate("gns", formula, panel, W, {**options})
