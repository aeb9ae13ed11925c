"""Tests of nested models: Wald, likelihood-ratio and score tests down the lattice.

::

    gns -> sac  (theta = 0)    sdem (rho = 0)       sdm (lambda = 0)
    sdm -> sar  (theta = 0)    slx  (rho = 0)       sem (theta + rho beta = 0: common factor)
    sdem -> sem (theta = 0)    slx  (lambda = 0)    sac -> sar (lambda = 0), sem (rho = 0)
    sar, sem, slx -> ols
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from spatial_agglo.diagnostics.directed import score_test
from spatial_agglo.diagnostics.nesting import Step, check_alike
from spatial_agglo.diagnostics.table import About, chi2_table, described
from spatial_agglo.diagnostics.wald import Reference, check_clusters, wald
from spatial_agglo.errors import (
    BoundaryError,
    IdentificationError,
    OptionError,
    check_option,
)
from spatial_agglo.models.covariances import Covariance, as_covariance
from spatial_agglo.models.fitting import fit as fit_model
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import MODELS, ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel

#: (larger, smaller), one step apart.
STEPS = (
    ("gns", "sac"),
    ("gns", "sdem"),
    ("gns", "sdm"),
    ("sdm", "sar"),
    ("sdm", "sem"),
    ("sdm", "slx"),
    ("sdem", "sem"),
    ("sdem", "slx"),
    ("sac", "sar"),
    ("sac", "sem"),
    ("sar", "ols"),
    ("sem", "ols"),
    ("slx", "ols"),
)
TESTS = ("LM", "LR", "Wald")
#: Why Wald statistics from the gns have no p value.
NO_WALD = (
    "rho and lambda of the gns are told apart weakly, and no reference distribution of the Wald "
    "statistic keeps its size: take the LM or the LR row"
)
SOURCES = {
    "LM": "Anselin (1988), chapter 6; Debarsy & Ertur (2010)",
    "LR": "Elhorst (2014), sections 2.3 and 3.4; LeSage & Pace (2009)",
    "Wald": "Elhorst (2014), sections 2.3 and 3.4; Burridge (1981)",
}
#: A likelihood ratio below minus this is more than rounding.
ROUNDING = 1e-6


def lattice_tests(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    cov: str | Covariance = "observed",
    durbin: Sequence[str] | None = None,
    W_error: Any = None,
    W_durbin: Any = None,
    models: Sequence[str] = tuple(MODELS),
    tests: Sequence[str] = TESTS,
) -> pd.DataFrame:
    """Test every step from the general nesting model down to the regression.

    Parameters
    ----------
    formula : str
    panel : Panel
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
    effects, likelihood, cov, durbin, W_error, W_durbin
        As for the estimators. ``cov`` is that of the Wald tests.
    models : sequence of str
        The models between which steps are tested.
    tests : sequence of {"LM", "LR", "Wald"}
        "LM" is left out with random effects.

    Returns
    -------
    DataFrame
        Rows such as "LR SDM/SAR"; columns ``statistic``, ``df``, ``p_value``. Where a model
        cannot be estimated, or a test is not defined, the row is NaN, and the reason is in
        ``.attrs["tests"]`` with the null, the distribution and the source of the row.

    Notes
    -----
    rho and lambda of the gns (and of the sac, where regressors explain little) are told apart
    weakly. Wald tests that start from the gns would reject too often for it, 7% to 17% instead of
    5% with 49 units and 10 periods, whatever the reference distribution: the curvature at an
    estimate says little of a likelihood with a long ridge. Their statistics have no p value
    (NaN, with the reason in ``attrs``). Score and likelihood-ratio tests of the same hypotheses
    keep their size. See ``docs/simulations-tests.md``.

    Wald and likelihood-ratio p values of the transformed likelihood allow for the number of
    coefficients, see :func:`spatial_agglo.wald_tests`; those of the direct likelihoods are
    chi-squared, as in other programs.

    References
    ----------
    Elhorst (2014), section 2.3; LeSage & Pace (2009); Burridge (1981) for the common factor.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> table = lattice_tests("logc ~ logp + logy", panel, W, models=["sdm", "sar", "sem"])
    >>> table["statistic"].round(2).to_dict()  # doctest: +ELLIPSIS
    {'LM SDM/SAR': 19.09, 'LR SDM/SAR': 18.19, ... 'LR SDM/SEM': 7.32, ...}
    """
    models = [check_option("models", model, MODELS) for model in models]
    tests = [check_option("tests", test, TESTS) for test in tests]
    space = Workspace.of(formula, panel, W, W_error=W_error, W_durbin=W_durbin)
    fits: dict[str, FitResult | Exception] = {}
    for model in models:
        options: dict[str, Any] = {"durbin": durbin} if MODELS[model][1] and durbin else {}
        spec = ModelSpec.of(
            model, effects=effects, likelihood=likelihood, cov=as_covariance(cov), **options
        )
        try:
            fits[model] = fit_model(spec, space)
        except (BoundaryError, IdentificationError) as error:
            fits[model] = error
    rows: dict[str, tuple[float, int]] = {}
    p_values: dict[str, float] = {}
    about: dict[str, About] = {}
    for large, small in STEPS:
        if large not in fits or small not in fits:
            continue
        try:
            step = Step.of(_spec(fits, large, effects, durbin), space, small)
        except OptionError:  # without the lags of all regressors the SEM is not nested
            continue
        for test in tests:
            if test == "LM" and effects == "random":
                continue
            name = f"{test} {large.upper()}/{small.upper()}"
            value, reason = _tried(test, fits[large], fits[small], step)
            rows[name] = value, step.df
            found = fits[large]
            if test == "Wald" and isinstance(found, FitResult):
                p_values[name], about[name] = _about_wald(found, value, step, reason)
                continue
            known = Reference()
            if test == "LR" and isinstance(found, FitResult):
                known = Reference.of(found)
            p_values[name], distribution = known.ratio(value, step.df)
            about[name] = About(step.null, distribution, SOURCES[test], reason)
    table = chi2_table(rows)
    table["p_value"] = pd.Series(p_values, dtype=float)
    return described(table, about)


def _spec(
    fits: dict[str, FitResult | Exception],
    model: str,
    effects: str,
    durbin: Sequence[str] | None,
) -> ModelSpec:
    found = fits[model]
    if isinstance(found, FitResult):
        return found.spec
    lags = tuple(durbin) if durbin and MODELS[model][1] else None
    return ModelSpec(model, effects=effects, durbin=lags)


def _tried(
    test: str, large: FitResult | Exception, small: FitResult | Exception, step: Step
) -> tuple[float, str]:
    """Return a statistic, or NaN and the reason."""
    if isinstance(small, Exception):
        return np.nan, f"{step.small} cannot be estimated: {small}"
    try:
        if test == "LM":
            lags = large.spec.durbin if isinstance(large, FitResult) else step.durbin
            return score_test(small, step.large, durbin=lags), ""
        if isinstance(large, Exception):
            return np.nan, f"{step.large} cannot be estimated: {large}"
        return (_wald if test == "Wald" else _ratio)(large, small, step), ""
    except (IdentificationError, OptionError) as error:
        return np.nan, str(error)


def lr_test(large: FitResult, small: FitResult) -> pd.DataFrame:
    """Test a model against a larger one that nests it, ``LR = 2 (l_large - l_small)``.

    Parameters
    ----------
    large, small : FitResult
        Of the same data, weights, effects and likelihood. Nested are models whose parameters are
        a part of those of the larger, fewer lagged regressors in the same model, and the spatial
        error model in the SDM that lags all regressors (common factor).

    Returns
    -------
    DataFrame
        One row, such as "LR SDM/SAR": ``statistic``, ``df``, ``p_value``.

    Raises
    ------
    OptionError
        The models are not nested, or differ in what they must share.
    IdentificationError
        The ratio has no chi-squared distribution (gns against ols), or is negative.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> sdm = sa.sdm("logc ~ logp + logy", panel, W)
    >>> lr_test(sdm, sdm.replace(model="sem")).round(2)
                statistic  df  p_value
    test
    LR SDM/SEM       7.32   2     0.03
    """
    check_alike(large, small)
    step = Step.of(large.spec, large.workspace, small.model, small)
    name = f"LR {large.model.upper()}/{small.model.upper()}"
    value = _ratio(large, small, step)
    table = chi2_table({name: (value, step.df)})
    table["p_value"], distribution = Reference.of(large).ratio(value, step.df)
    return described(table, {name: About(step.null, distribution, SOURCES["LR"])})


def wald_test(large: FitResult, small: str) -> pd.DataFrame:
    """Test whether a fitted model can be simplified to one that it nests.

    ``r(b)' [R V R']^-1 r(b)`` with r the parameters that the smaller model sets to zero, or for
    sdm against sem the common factor ``theta + rho beta`` with its derivatives (delta method).

    Parameters
    ----------
    large : FitResult
        Its covariance V is used: robust and clustered ones give robust tests, with the reference
        distribution of :func:`spatial_agglo.wald_tests`.
    small : str
        Name of the smaller model, for instance "sar".

    Returns
    -------
    DataFrame
        One row, such as "Wald SDM/SAR": ``statistic``, ``df``, ``p_value``; from the gns without
        a p value, see :func:`lattice_tests`.

    Raises
    ------
    OptionError
        The models are not nested.
    IdentificationError
        Fewer clusters than restrictions, or a covariance that is singular or unknown.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> wald_test(sa.gns("logc ~ logp + logy", panel, W), "sdm")["df"].tolist()
    [1]
    """
    if not isinstance(large, FitResult):
        raise OptionError(f"A fitted model is needed, sdm(...); got {type(large).__name__}.")
    step = Step.of(large.spec, large.workspace, check_option("small", small, MODELS))
    name = f"Wald {large.model.upper()}/{small.upper()}"
    value = _wald(large, None, step)
    table = chi2_table({name: (value, step.df)})
    table["p_value"], about = _about_wald(large, value, step, "")
    return described(table, {name: about})


def _about_wald(large: FitResult, value: float, step: Step, reason: str) -> tuple[float, About]:
    """Return the p value of a Wald statistic, none from the gns, and what the row is about."""
    p, distribution = Reference.of(large).wald(value, step.df)
    if large.model == "gns" and np.isfinite(value):
        p, distribution, reason = np.nan, "none that holds", NO_WALD
    return p, About(step.null, distribution, SOURCES["Wald"], reason)


def _ratio(large: FitResult, small: FitResult, step: Step) -> float:
    ratio = 2.0 * (large.loglik - small.loglik)
    if ratio < -ROUNDING:
        raise IdentificationError(
            f"The likelihood of the {step.large} is below that of the {step.small} that it nests "
            f"(LR = {ratio:.3g}): its search has ended in a local maximum."
        )
    return max(ratio, 0.0)


def _wald(large: FitResult, small: FitResult | None, step: Step) -> float:
    check_clusters(large.details.get("clusters"), step.df)
    names = list(large.names)
    R = np.zeros((step.df, len(names)))
    if step.zero:
        at = [names.index(name) for name in step.zero]
        R[np.arange(step.df), at] = 1.0
        restriction = large.values[at]
    else:
        theta = [names.index(f"W*{name}") for name in step.factor]
        beta = [names.index(name) for name in step.factor]
        rho = names.index("rho")
        restriction = large.values[theta] + large.values[rho] * large.values[beta]
        R[np.arange(step.df), theta] = 1.0
        R[np.arange(step.df), beta] = large.values[rho]
        R[:, rho] = large.values[beta]
    return wald(restriction, R, large.covariance)
