"""Tests of nested models: Wald, likelihood-ratio and score tests down the lattice; F of effects.

::

    gns -> sac  (theta = 0)    sdem (rho = 0)       sdm (lambda = 0)
    sdm -> sar  (theta = 0)    slx  (rho = 0)       sem (theta + rho beta = 0: common factor)
    sdem -> sem (theta = 0)    slx  (lambda = 0)    sac -> sar (lambda = 0), sem (rho = 0)
    sar, sem, slx -> ols
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import fdtrc

from spatial_agglo.diagnostics.cross_section import About, described
from spatial_agglo.diagnostics.directed import score_test
from spatial_agglo.diagnostics.table import chi2_table
from spatial_agglo.errors import (
    BoundaryError,
    IdentificationError,
    OptionError,
    check_option,
    listing,
)
from spatial_agglo.models.covariances import Covariance, as_covariance
from spatial_agglo.models.fitting import fit as fit_model
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import MODELS, ModelSpec, free_cells
from spatial_agglo.models.weighting import Weighting
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
    weakly. Wald tests that start from the gns reject too often for it, 10% to 20% instead of 5%
    with 49 units and 10 periods; score and likelihood-ratio tests keep their size.

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
            about[name] = About(step.null, f"chi2({step.df})", SOURCES[test], reason)
    return described(chi2_table(rows), about)


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
    _check_alike(large, small)
    step = Step.of(large.spec, large.workspace, small.model, small)
    name = f"LR {large.model.upper()}/{small.model.upper()}"
    table = chi2_table({name: (_ratio(large, small, step), step.df)})
    return described(table, {name: About(step.null, f"chi2({step.df})", SOURCES["LR"])})


def wald_test(large: FitResult, small: str) -> pd.DataFrame:
    """Test whether a fitted model can be simplified to one that it nests.

    ``r(b)' [R V R']^-1 r(b)`` with r the parameters that the smaller model sets to zero, or for
    sdm against sem the common factor ``theta + rho beta`` with its derivatives (delta method).

    Parameters
    ----------
    large : FitResult
        Its covariance V is used: robust and clustered ones give robust tests.
    small : str
        Name of the smaller model, for instance "sar".

    Returns
    -------
    DataFrame
        One row, such as "Wald SDM/SAR": ``statistic``, ``df``, ``p_value``.

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
    table = chi2_table({name: (_wald(large, None, step), step.df)})
    return described(table, {name: About(step.null, f"chi2({step.df})", SOURCES["Wald"])})


@dataclass(frozen=True)
class Step:
    """From a model to one that it nests.

    Attributes
    ----------
    large, small : str
    zero : tuple of str
        Names of the parameters that are zero in the smaller model.
    factor : tuple of str
        Regressors whose ``theta + rho beta`` is zero; empty but for sdm against sem.
    durbin : tuple of str or None
        Lagged regressors of the larger model, as its specification has them.
    """

    large: str
    small: str
    zero: tuple[str, ...]
    factor: tuple[str, ...]
    durbin: tuple[str, ...] | None

    @classmethod
    def of(
        cls, large: ModelSpec, space: Workspace, small: str, fitted: FitResult | None = None
    ) -> Step:
        """Find the restrictions; raise when there are none that make one of the other."""
        more, less = MODELS[large.model], MODELS[small]
        lagged = large.lagged(space.data)
        if large.model == "sdm" and small == "sem":
            _check_common_factor(large, space)
            return cls("sdm", "sem", (), lagged, large.durbin)
        if any(b and not a for a, b in zip(more, less, strict=True)):
            raise _not_nested(large.model, small)
        kept: tuple[str, ...] = ()
        if less[1]:
            kept = lagged if fitted is None else fitted.spec.lagged(space.data)
        alien = [name for name in kept if name not in lagged]
        if alien:
            raise OptionError(
                f"The {small} lags {listing(alien)} and the {large.model} does not, so it is not "
                "nested. Give both the same durbin=[...]."
            )
        zero = [f"W*{name}" for name in lagged if name not in kept]
        zero += ["rho"] * (more[0] and not less[0]) + ["lambda"] * (more[2] and not less[2])
        if not zero:
            raise OptionError(
                f"There is nothing to test: both models are {small} with the same regressors."
            )
        if (large.model, small) == ("gns", "ols") and len(lagged) == len(space.data.regressors):
            raise IdentificationError(
                "gns against ols has no chi-squared distribution: where ols is true, rho and "
                "lambda of the gns are not identified apart (its information matrix is "
                "singular). Go down in steps: gns to sdm, sdem or sac, and on from there."
            )
        return cls(large.model, small, tuple(zero), (), large.durbin)

    @property
    def df(self) -> int:
        """Number of restrictions."""
        return len(self.zero) + len(self.factor)

    @property
    def null(self) -> str:
        """The restrictions in words."""
        if self.factor:
            return "theta + rho beta = 0 (common factor)"
        spatial = [name for name in self.zero if not name.startswith("W*")]
        theta = ["theta"] * (len(spatial) < len(self.zero))
        return ", ".join(f"{name} = 0" for name in [*theta, *spatial])


def _not_nested(large: str, small: str) -> OptionError:
    more, less = MODELS[large], MODELS[small]
    if all(b or not a for a, b in zip(more, less, strict=True)) or (large, small) == ("sem", "sdm"):
        return OptionError(
            f"The {large} is nested in the {small}, not the other way round: give the larger "
            "model first."
        )
    return OptionError(
        f"{large} and {small} are not nested: neither is the other with parameters set to zero, "
        "so a likelihood ratio or a Wald statistic has no chi-squared distribution. Compare "
        "their information criteria (fit.aic, fit.bic), or test each against a model that nests "
        "both (gns)."
    )


def _check_common_factor(large: ModelSpec, space: Workspace) -> None:
    """Raise unless ``theta = -rho beta`` makes the sdm a spatial error model."""
    missing = [name for name in space.data.regressors if name not in large.lagged(space.data)]
    if missing:
        raise OptionError(
            f"The sem is nested in the sdm only where all regressors are lagged; {listing(missing)}"
            " are not. Leave durbin out, or compare information criteria."
        )
    if not _same_weights(space.weights, space.durbin_weights):
        raise OptionError(
            "The sem is nested in the sdm only where y and X are lagged by the same weights; "
            "W_durbin differs from W. Compare information criteria."
        )
    if space.has_intercept(large.effects) and not space.row_standardized:
        raise OptionError(
            "With an intercept the sem is nested in the sdm only where W is row-standardised: "
            "otherwise the lag of the intercept is a regressor that the sdm lacks. Use "
            "W.standardize('row'), or compare information criteria."
        )


def _check_alike(large: FitResult, small: FitResult) -> None:
    """Raise where two fits differ in what a likelihood ratio needs them to share."""
    for found in (large, small):
        if not isinstance(found, FitResult):
            raise OptionError(f"Two fitted models are needed; got {type(found).__name__}.")
        if np.isnan(found.loglik):
            raise OptionError(f"A {found.model} without a likelihood has no likelihood ratio.")
    a, b = large.spec, small.spec
    for what in ("effects", "likelihood", "correlated", "dynamic"):
        one, other = getattr(a, what), getattr(b, what)
        if one != other:
            raise OptionError(
                f"The two fits must have the same {what}; they have {one!r} and {other!r}."
            )
    if a.effects == "random" and a.has_error and b.has_error and a.form != b.form:
        raise OptionError(f"The two fits must have the same form; got {a.form!r}, {b.form!r}.")
    if a.dynamic is not None and (a.bias_correction or b.bias_correction):
        raise OptionError(
            "Estimates with a bias correction do not maximise their likelihood, so there is no "
            "likelihood ratio: use wald_test, or bias_correction=False."
        )
    if a.effects == "random" and (a.model, b.model) == ("sdm", "sem") and b.form == "baltagi":
        raise OptionError(
            "The sem with form='baltagi' is not nested in the sdm: its unit effects do not spill "
            "over, those of the sdm do. Use form='kkp', or compare information criteria."
        )
    x, y = large.workspace, small.workspace
    if x is not y:
        _check_data(large, small)
    roles = [
        ("W", x.weights, y.weights, a.has_lag and b.has_lag),
        ("W_error", x.error_weights, y.error_weights, a.has_error and b.has_error),
        ("W_durbin", x.durbin_weights, y.durbin_weights, a.has_durbin and b.has_durbin),
        ("W", x.weights, y.error_weights, (large.model, small.model) == ("sdm", "sem")),
    ]
    for name, one, other, both in roles:
        if both and not _same_weights(one, other):
            raise OptionError(f"The two fits must have the same {name}: these weights differ.")
    if large.n_effective != small.n_effective:
        raise OptionError(
            f"The likelihoods are of different samples, of {large.n_effective} and "
            f"{small.n_effective} effective observations. Give both fits the same W."
        )


def _check_data(large: FitResult, small: FitResult) -> None:
    a, b = large.workspace.data, small.workspace.data
    same = (
        a.regressors == b.regressors
        and a.outcome == b.outcome
        and a.intercept == b.intercept
        and a.panel.entities.equals(b.panel.entities)
        and a.panel.times.equals(b.panel.times)
        and np.array_equal(a.cells, b.cells)
        and np.array_equal(a.y, b.y)
        and np.array_equal(a.X, b.X)
    )
    if not same:
        raise OptionError(
            f"The two fits must be of the same data; they are of {a.formula!r} on {a.nobs} and of "
            f"{b.formula!r} on {b.nobs} observations. Estimate the smaller model with "
            "large.replace(model=...)."
        )


def _same_weights(one: Weighting | None, other: Weighting | None) -> bool:
    if one is other:
        return True
    if one is None or other is None or one.which != other.which:
        return False
    return all(
        abs(A.matrix - B.matrix).max() == 0.0
        for A, B in zip(one.matrices, other.matrices, strict=True)
    )


def _ratio(large: FitResult, small: FitResult, step: Step) -> float:
    ratio = 2.0 * (large.loglik - small.loglik)
    if ratio < -ROUNDING:
        raise IdentificationError(
            f"The likelihood of the {step.large} is below that of the {step.small} that it nests "
            f"(LR = {ratio:.3g}): its search has ended in a local maximum."
        )
    return max(ratio, 0.0)


def _wald(large: FitResult, small: FitResult | None, step: Step) -> float:
    clusters = large.details.get("clusters")
    if clusters is not None and clusters <= step.df:
        raise IdentificationError(
            f"{step.df} restrictions cannot be tested jointly with a covariance made of "
            f"{clusters} clusters (or periods): there must be fewer restrictions. Use another cov."
        )
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
    used = np.flatnonzero(R.any(axis=0))
    return wald(restriction, R[:, used], large.covariance[np.ix_(used, used)])


def wald(restriction: NDArray, R: NDArray, covariance: NDArray) -> float:
    """Return ``r' (R V R')^-1 r``; raise when the middle is not positive definite."""
    middle = R @ covariance @ R.T
    scale = np.sqrt(np.abs(np.diag(middle)))
    if not (np.isfinite(middle).all() and np.all(scale > 0.0)):
        raise IdentificationError(
            "The covariance of what is tested is not known: the fit says why (fit.notes)."
        )
    C = middle / np.outer(scale, scale)
    if np.linalg.eigvalsh(C)[0] < 1e-12:
        raise IdentificationError(
            "The covariance of what is tested is singular: the restrictions cannot be tested "
            "jointly. Use another cov, or test fewer of them."
        )
    z = restriction / scale
    return float(z @ np.linalg.solve(C, z))


# --- fixed effects ----------------------------------------------------------------------------


def effects_f_tests(
    formula: str,
    panel: Panel,
    W: Any = None,
    *,
    model: str = "ols",
    effects: str = "two-way",
    durbin: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Test the fixed effects of a regression by F, exact under normal errors.

    ``F = [(SSR_0 - SSR)/df] / [SSR/(n - d - k)]`` with d independent dummies in the larger model.

    Parameters
    ----------
    formula : str
    panel : Panel
    W : weights, optional
        For ``model="slx"``.
    model : {"ols", "slx"}
        Spatial models have no exact F; see :func:`spatial_agglo.effects_tests` for them.
    effects : {"two-way", "entity", "time"}
        The effects of the larger model.
    durbin : list of str, optional

    Returns
    -------
    DataFrame
        Rows "F two-way/entity" (df T - 1), "F two-way/time" (N - 1) and "F two-way/none", or
        one kind of effects against none; columns ``statistic``, ``df`` (of the numerator),
        ``p_value``. Both degrees of freedom are in ``.attrs["tests"]``.

    Raises
    ------
    OptionError
        Another model, or effects="none".

    References
    ----------
    Baltagi (2021), section 2.1.3 and chapter 3.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> effects_f_tests("logc ~ logp + logy", panel)["df"].tolist()
    [29, 45, 74]
    """
    check_option("model", model, ("ols", "slx"))
    check_option("effects", effects, ("two-way", "entity", "time"))
    options: dict[str, Any] = {"durbin": durbin} if durbin is not None else {}
    spec = ModelSpec.of(model, effects=effects, likelihood="direct", **options)
    space = Workspace.of(formula, panel, W)
    smaller = ["entity", "time", "none"] if effects == "two-way" else ["none"]
    fits = {name: fit_model(replace(spec, effects=name), space) for name in (effects, *smaller)}
    ssr = {name: float((found.resid**2).sum()) for name, found in fits.items()}
    left = {name: _residual_df(found) for name, found in fits.items()}
    rows, about = {}, {}
    for name in smaller:
        df = left[name] - left[effects]
        F = ((ssr[name] - ssr[effects]) / df) / (ssr[effects] / left[effects])
        row = f"F {effects}/{name}"
        rows[row] = (F, df, float(fdtrc(df, left[effects], F)))
        what = {"entity": "period effects", "time": "unit effects", "none": "effects"}[name]
        about[row] = About(f"no {what}", f"F({df}, {left[effects]})", "Baltagi (2021)")
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["statistic", "df", "p_value"])
    table.index.name = "test"
    return described(table.astype({"df": "Int64"}), about)


def _residual_df(found: FitResult) -> int:
    """Return the observations less dummies and coefficients."""
    space, spec = found.workspace, found.spec
    T, N = space.data.panel.shape
    projector = space.projector(spec)
    free = free_cells(N, T, spec.fixed) if projector is None else projector.rank
    return int(free) - (len(found.names) - 1)  # without sigma2
