"""Spatial two-stage least squares for panels with fixed effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from spatial_agglo.core.likelihood import Estimate
from spatial_agglo.core.within import EFFECTS
from spatial_agglo.errors import OptionError, check_option, listing
from spatial_agglo.models import first_stage as stage
from spatial_agglo.models.covariances import as_covariance
from spatial_agglo.models.instruments import (
    Design,
    design,
    errors_of,
    lagging,
    names_of,
    request_of,
    workspace_of,
)
from spatial_agglo.models.kernels import kernel
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.two_stage import TwoStageResult, Unadjusted, outside_space
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel

MODELS = ("sar", "sdm", "ols", "slx")
COVARIANCES = ("robust", "unadjusted", "clustered", "driscoll-kraay", "conley")
#: Name of the estimator where a likelihood would have its own.
LIKELIHOOD = "2sls"
#: Rule of thumb of Staiger & Stock (1997): instruments with a smaller F are called weak.
WEAK = 10.0


def stsls(
    formula: str,
    panel: Panel,
    W: Any = None,
    *,
    model: str = "sar",
    effects: str = "two-way",
    endogenous: Sequence[str] = (),
    instruments: Sequence[str] = (),
    lags: int = 2,
    lag_instruments: bool = False,
    durbin: Sequence[str] | None = None,
    cov: Any = "robust",
) -> TwoStageResult:
    """Estimate a spatial model with endogenous regressors by two-stage least squares.

    ::

        y_t = rho W y_t + X_t beta + W X_t theta + Y_t gamma + c + alpha_t + e_t

    Wy is instrumented by ``W X, ..., W^lags X`` (with ``model="sdm"``, where WX is in the
    equation: ``W^2 X, ..., W^(lags+1) X``), the endogenous Y by instruments from outside. All
    variables are lagged first, then projected on what the fixed effects leave, ``Q(Wy)`` and
    ``Q(WX)``, which is 2SLS with dummies. Unlike maximum likelihood it needs no normality,
    no log-determinant and no row-standardised weights.

    Parameters
    ----------
    formula : str
        ``"y ~ x1 + x2"``, the endogenous regressors included.
    panel : Panel
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
        Matched to the panel's entities (and periods) by label. May be left out with
        ``model="ols"``.
    model : {"sar", "sdm", "ols", "slx"}
        With or without Wy and WX. "ols" and "slx" need ``endogenous``.
    effects : {"two-way", "entity", "time", "none"}
    endogenous : list of str
        Regressors of the formula that are correlated with the errors, besides Wy; every term
        that contains one of them (its square, its products) with it.
    instruments : list of str
        Columns, or terms as in a formula (``"np.log(z)"``), that are not in the equation.
        Needed for ``endogenous``; without it they are further instruments of Wy.
    lags : int
        How many powers of W times X instrument Wy.
    lag_instruments : bool
        Whether ``W z, ..., W^lags z`` of the outside instruments are instruments as well.
    durbin : list of str, optional
        The regressors whose spatial lag enters ("sdm", "slx"); by default all the exogenous
        ones. The lag of an endogenous regressor is endogenous too and counts as one more.
    cov : str or record of options
        Default "robust" (to heteroskedasticity; :func:`~spatial_agglo.mechanisms.iv.fe2sls` has
        "clustered"); also "unadjusted" (one variance), "clustered" (by entity;
        ``Clustered([...])`` for columns and two ways), "driscoll-kraay", ``Conley(...)``. With
        ``free = cells - fixed effects`` (two-way: N + T - 1) and k coefficients, "unadjusted"
        has ``sigma2 = e'e / (free - k)`` and the sandwiches the factor that they have
        elsewhere in the package times ``free / (free - k)``: "robust" is White's times
        ``cells / (free - k)``; "clustered" has the larger of ``G/(G - 1)`` and ``cells / (cells
        - effects not within clusters)``. In short panels with entity effects "clustered" is
        the safe choice: demeaning spreads the errors of a unit over its periods.

    Returns
    -------
    TwoStageResult
        A :class:`FitResult` with ``first_stage``, ``underidentification``,
        ``overidentification`` and ``endogeneity``.

    Raises
    ------
    IdentificationError
        Too few instruments; instruments or regressors that are collinear or absorbed by the
        fixed effects (named); instruments that tell nothing of a regressor. Weak instruments
        are no error: a note on the result gives their F.
    OptionError
        An unknown option; endogenous regressors that are not in the formula, terms with them
        that are not named, instruments that are in the formula.
    FormulaError, DataError, AlignmentError, WeightsError
        The formula, the data or W cannot be used.

    References
    ----------
    Kelejian & Prucha (1998) for the instruments; Mutl & Pfaffermayr (2011) for panels;
    Kleibergen & Paap (2006) and Sanderson & Windmeijer (2016) for their strength.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = stsls(
    ...     "logc ~ logp + logy", panel, W,
    ...     endogenous=["logp"], instruments=["np.log(pimin / cpi)"], lag_instruments=True,
    ...     cov="clustered",
    ... )
    >>> fit.params.round(3).to_dict()
    {'logp': -1.244, 'logy': 0.502, 'rho': -0.019}
    >>> fit.first_stage["conditional_F"].round(1).to_dict()
    {'logp': 16.2, 'W*logc': 26.5}
    >>> fit.overidentification.loc["Hansen J"].round(3).to_dict()
    {'statistic': 1.185, 'df': 3.0, 'p_value': 0.757}
    >>> fit.impacts().total["estimate"].round(3).to_dict()
    {'logp': -1.221, 'logy': 0.493}
    """
    return estimated(
        *prepared(
            formula,
            panel,
            W,
            model=model,
            effects=effects,
            endogenous=endogenous,
            instruments=instruments,
            lags=lags,
            lag_instruments=lag_instruments,
            durbin=durbin,
            cov=cov,
        )
    )


def prepared(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    model: str,
    effects: str,
    endogenous: Sequence[str],
    instruments: Sequence[str],
    lags: int = 2,
    lag_instruments: bool = False,
    durbin: Sequence[str] | None = None,
    cov: Any,
) -> tuple[Workspace, ModelSpec, Design, stage.Errors]:
    """Resolve the options of :func:`stsls` and project the data: what :func:`estimated` takes."""
    check_option("model", model, MODELS)
    check_option("effects", effects, EFFECTS)
    chosen = _covariance(cov)
    spec = ModelSpec.of(model, effects=effects, durbin=durbin)
    space, outside = workspace_of(formula, panel, W, names_of("instruments", instruments))
    request = request_of(space.data, endogenous, outside, lags, lag_instruments)
    spec = replace(lagging(spec, space, request), likelihood=LIKELIHOOD, cov=chosen)
    errors = errors_of(
        space, spec, None if isinstance(chosen, Unadjusted) else kernel(chosen, panel)
    )
    return space, spec, design(space, spec, request, errors), errors


def _covariance(cov: Any) -> Any:
    """Return the record of a covariance that 2SLS has."""
    if isinstance(cov, type) or not hasattr(cov, "name"):  # no record: only names are left
        check_option("cov", cov, COVARIANCES)
    if cov == Unadjusted.name:
        return Unadjusted()
    found = cov if isinstance(cov, Unadjusted) else as_covariance(cov)
    if found.name not in COVARIANCES:
        raise OptionError(
            f"cov={found.name!r} belongs to maximum likelihood. For two-stage least squares it "
            f"must be one of: {listing(COVARIANCES)}."
        )
    return found


def estimated(space: Workspace, spec: ModelSpec, d: Design, errors: stage.Errors) -> TwoStageResult:
    """Estimate by 2SLS on projected data, and test the instruments."""
    k = len(d.names)
    fitted = stage.two_stage(d.Q, d.X, d.y, d.labels)
    strength = stage.first_stage(
        d.Q, d.X, d.endogenous, errors, centred=space.has_intercept(spec.effects)
    )
    tests: list[tuple[str, str, float, int]] = []
    statistic, df = stage.overidentification(d.Q, d.X, d.y, fitted, errors)
    if df:
        name = "Sargan" if spec.cov.name == Unadjusted.name else "Hansen J"
        tests.append(("overidentification", name, statistic, df))
    instrumented = tuple(d.labels[j] for j in d.endogenous)
    sets = {"all": d.endogenous}
    if len(d.endogenous) > 1:
        sets |= {d.labels[j]: [j] for j in d.endogenous}
    for name, tested in sets.items():
        found = stage.endogeneity(d.Q, d.X, d.y, tested, errors, d.labels)
        tests.append(("endogeneity", name, *found))
    variance = float(fitted.e @ fitted.e) / errors.df(k)
    rho = float(fitted.b[-1]) if spec.has_lag else 0.0
    gamma = fitted.b[:-1] if spec.has_lag else fitted.b
    return TwoStageResult(
        spec=spec,
        names=d.names,
        values=fitted.b,
        covariance=fitted.covariance(errors),
        loglik=np.nan,
        n_effective=errors.df(0),
        estimate=Estimate(gamma=gamma, rho=rho, lam=0.0, sigma2=variance, loglik=np.nan),
        workspace=space,
        resid=errors.spread(fitted.e),
        notes=_notes(space, spec, d, fitted, strength, tests, errors),
        endogenous=instrumented,
        instruments=d.instruments,
        strength=strength,
        tests=tuple(tests),
        variance=variance,
    )


def _notes(
    space: Workspace,
    spec: ModelSpec,
    d: Design,
    fitted: stage.Fitted,
    strength: stage.FirstStage,
    tests: list[tuple[str, str, float, int]],
    errors: stage.Errors,
) -> tuple[str, ...]:
    """Return what the reader of the result must know."""
    instrumented = [d.labels[j] for j in d.endogenous]
    out = [
        "two-stage least squares: there is no likelihood, so loglik, aic and bic are NaN",
        f"endogenous: {', '.join(instrumented)}; instruments: {', '.join(d.instruments)}",
    ]
    if errors.kernel is not None:
        out += errors.meat(fitted.Xhat, fitted.e).notes
    if space.weights is not None and (spec.has_lag or spec.has_durbin):
        out.append(f"W: {space.weights.description}")
        if not space.weights.row_standardized:
            out.append("W is not row-standardised")
    data = space.data
    if data.observed is not None:
        cells = list(data.panel.index(~data.observed))
        out.append(
            f"{len(cells)} of {data.cells.size} (entity, time) cells are missing and left out: "
            f"{listing(cells, 4)}"
        )
    unlagged = [
        name
        for name in instrumented
        if spec.has_durbin and name in space.data.regressors and f"W*{name}" not in d.labels
    ]
    if unlagged:
        out.append(f"not lagged, being endogenous: {', '.join(unlagged)} (see durbin)")
    several = len(instrumented) > 1
    for name, F in zip(instrumented, strength.conditional, strict=True):
        if F < WEAK:
            which = "Sanderson-Windmeijer " if several else "first-stage "
            out.append(
                f"weak instruments: the {which}F of {name} is {F:.2f}, below the rule of thumb "
                f"of {WEAK:.0f}; estimates lean towards those of OLS and intervals are too short"
            )
    values = [*strength.F, *strength.conditional, strength.rank[0], *(test[2] for test in tests)]
    if np.isnan(values).any():
        groups = "" if errors.clusters is None else f" ({errors.clusters} clusters or periods)"
        out.append(
            f"tests that are NaN: {d.Q.shape[1]} instruments, exogenous regressors included, are "
            f"too many for the covariance of their moments{groups}"
        )
    if d.Q.shape[1] == d.X.shape[1]:
        out.append("exactly identified: there are no over-identifying restrictions to test")
    outside = outside_space(fitted.b, d.names, space)
    return (*out, outside) if outside else tuple(out)
