"""Likelihood-ratio tests: of the spatial Durbin model, and of the fixed effects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from spatial_agglo.diagnostics.table import About, chi2_table, described
from spatial_agglo.diagnostics.wald import NULLS, Reference, nests_sem, require_sdm
from spatial_agglo.diagnostics.wald import SOURCE as WALD_AND_LR
from spatial_agglo.errors import (
    IdentificationError,
    OptionError,
    WeightsError,
    check_option,
)
from spatial_agglo.models.covariances import Observed
from spatial_agglo.models.fitting import fit as fit_model
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec, free_cells
from spatial_agglo.models.workspace import ADJUSTED_UNITS, Workspace
from spatial_agglo.panel import Panel

#: A likelihood ratio that is negative by less than this is zero.
ROUNDING = 1e-5
SOURCE = "Elhorst (2014), section 3.3; Rothenberg (1984) for the scaling"


def lr_tests(fit: FitResult) -> pd.DataFrame:
    """Test whether a spatial Durbin model can be simplified to SAR or SEM.

    ``LR = 2 (l_sdm - l_restricted)``, with the same data, W, effects and likelihood; the
    restricted models are estimated here, from moments that exist already. P values of the
    transformed likelihood (n effective observations, p coefficients, q restrictions) are those of
    ``(n - p + q/2 - 1)/n LR``, which matters in short panels; of the others, those of LR.

    Parameters
    ----------
    fit : FitResult
        Of ``sdm``.

    Returns
    -------
    DataFrame
        Rows "LR SDM/SAR" and "LR SDM/SEM"; columns ``statistic``, ``df`` (number of lagged
        regressors), ``p_value``. The row of the SEM is left out where it is not nested: with
        ``durbin=[...]`` or ``W_durbin``, and with an intercept or period effects unless W is
        row-standardised. With random effects the SEM is that of Kapoor, Kelejian & Prucha,
        which the SDM nests; with ``correlated=True`` unit means and their lags count as regressors.

    Raises
    ------
    OptionError
        The fit is not of an SDM, or is one without a likelihood that can be compared: two-stage
        least squares, dynamic models (evaluated at corrected estimates).
    IdentificationError
        The likelihood of a restricted model is larger than that of the SDM.

    References
    ----------
    Elhorst (2014), sections 2.3 and 3.4.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sa.sdm("logc ~ logp + logy", panel, W, likelihood="direct-demeaned")
    >>> sa.lr_tests(fit)["statistic"].round(3).to_dict()
    {'LR SDM/SAR': 15.751, 'LR SDM/SEM': 8.29}
    """
    require_sdm(fit)
    _require_likelihood(fit)
    lagged = fit.spec.lagged(fit.workspace.data)
    rows = {}
    for model in ("sar", "sem") if nests_sem(fit) else ("sar",):
        # unit means (correlated random effects) are regressors of the workspace already
        spec = replace(fit.spec, model=model, durbin=None, cov=Observed(), correlated=False)
        restricted = fit_model(spec, fit.workspace)
        statistic = 2.0 * (fit.loglik - restricted.loglik)
        # data that are demeaned before they are lagged nest the SEM approximately only
        if statistic < -ROUNDING and not fit.spec.lags_last:
            raise IdentificationError(
                f"The likelihood of the {model} is larger than that of the sdm that nests it (LR = "
                f"{statistic:.3g}): the likelihood of the sdm has several maxima, and a lower one "
                "was found. Look at fit.profile('rho')."
            )
        rows[f"LR SDM/{model.upper()}"] = (statistic, len(lagged))
    table, about = chi2_table(rows), {}
    for name, (value, df) in rows.items():
        p, distribution = Reference.of(fit).ratio(value, df)
        table.loc[name, "p_value"] = p
        about[name] = About(NULLS[name.split("/")[1]], distribution, WALD_AND_LR)
    return described(table, about)


def _require_likelihood(fit: FitResult) -> None:
    """Raise unless the likelihood of a fit can be compared with that of a restricted model."""
    if fit.spec.likelihood == "2sls":
        raise OptionError(
            "A likelihood ratio needs a likelihood, and this model was fitted by two-stage least "
            "squares, which has none. Use wald_tests(fit)."
        )
    if fit.spec.dynamic is not None:
        raise OptionError(
            "The log-likelihood of a dynamic model is evaluated at estimates that are corrected "
            "for bias, not at its maximum: its ratios are not chi-squared. Use wald_tests(fit)."
        )


def effects_tests(
    formula: str,
    panel: Panel,
    W: Any = None,
    *,
    model: str = "sdm",
    effects: str = "two-way",
    likelihood: str = "direct",
    scaling: str = "small-sample",
) -> pd.DataFrame:
    """Test the fixed effects by likelihood ratios.

    Two-way effects against entity effects alone (``q = T - 1`` degrees of freedom) and against
    time effects alone (``N - 1``); a single kind of effects against none. On panels with gaps the
    degrees of freedom are the difference in the rank of the dummies.

    So many restrictions make ``LR = 2 (l - l_0)`` larger than chi-squared: without effects it
    rejects 9% to 13% of the time instead of 5% (N = 49, T = 10). P values are therefore those of ::

        LR (nu + q/2 - 1)/n / (1 + (q - 1) d'V d)

    with n observations, ``nu = n - dummies - k``, k counting rho and lambda, V the covariance of
    these two and ``d = tr(PH)/q - tr(QH)/tr(Q)`` for each of them, ``H = W (I - rho W)^-1`` or
    ``M (I - lambda M)^-1``, P the projection on the dummies that are tested and Q that off all.
    The first factor is the usual one for regressions: for ols it takes chi-squared to the exact
    F of :func:`spatial_agglo.effects_f_tests` up to terms of order n^-2. The second is
    for the part of rho that the dummies take along: d is large for period effects, which all lie
    along the eigenvalue ``1/(1 - rho)`` of H, and next to nothing for unit effects.

    Parameters
    ----------
    formula : str
    panel : Panel
    W : as for the estimators; None with ``model="ols"``
    model : str
        The model under which the effects are tested. "ols" replicates Elhorst (2014).
    effects : {"two-way", "entity", "time"}
        The effects of the larger model.
    likelihood : {"direct", "direct-demeaned"}
        Transformed likelihoods are of different samples and cannot be compared.
    scaling : {"small-sample", "none"}
        Of which p values are made. "none": of LR itself, as published and in other programs.

    Returns
    -------
    DataFrame
        Rows such as "LR two-way/entity"; columns ``statistic`` (LR, never scaled), ``df``,
        ``p_value``. The factor is in ``.attrs["tests"]``.

    Raises
    ------
    OptionError
        effects="none" or "random", or a likelihood under which the test does not exist.
    WeightsError
        An error process, an intercept in the smaller model, and weights that are not
        row-standardised on a panel with gaps or with weights that change: not nested.

    References
    ----------
    Elhorst (2014), section 3.3; Rothenberg (1984), section 6, and Anderson (2003), section 8.5,
    for the first factor.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> sa.effects_tests("logc ~ logp + logy", panel, model="ols").round(1)
                       statistic  df  p_value
    test
    LR two-way/entity      473.1  29      0.0
    LR two-way/time       2315.7  45      0.0
    """
    spec = ModelSpec.of(model, effects=effects, likelihood=likelihood)
    check_option("scaling", scaling, ("small-sample", "none"))
    return effects_table(Workspace.of(formula, panel, W), spec, scale=scaling != "none")


def effects_table(space: Workspace, spec: ModelSpec, *, scale: bool = True) -> pd.DataFrame:
    """Return the LR tests of the effects of a specification."""
    if spec.likelihood not in ("direct", "direct-demeaned"):
        raise OptionError(
            f"likelihood={spec.likelihood!r} cannot test effects: it needs 'direct' or "
            "'direct-demeaned', the likelihoods of one and the same sample."
        )
    if spec.effects == "none":
        raise OptionError("effects='none' leaves nothing to test; give the larger model's effects.")
    if spec.effects == "random":
        raise OptionError(
            "effects='random' against none is a hypothesis at the edge of the parameter space "
            "(phi = 0), where the likelihood ratio is not chi-squared. This test is for fixed "
            "effects: 'two-way', 'entity' or 'time'."
        )
    smaller = [name for name in ("entity", "time") if name != spec.effects]
    if spec.effects != "two-way":
        smaller = ["none"]
    full = fit_model(spec, space)
    left = _free(space, spec) + space.has_intercept(spec.effects) - (len(full.names) - 1)
    rows, factors, about = {}, {}, {}
    for effects in smaller:
        small = replace(spec, effects=effects)
        _require_nested(space, small)
        restricted = fit_model(small, space)
        df = _free(space, small) - _free(space, spec)
        name = f"LR {spec.effects}/{effects}"
        rows[name] = (2.0 * (full.loglik - restricted.loglik), df)
        factors[name] = (left + 0.5 * df - 1.0) / space.data.nobs if scale else 1.0
        if scale and spec.spatial:
            factors[name] /= 1.0 + (df - 1) * _taken_along(full, small)
        distribution = f"chi2({df})" + f" of {factors[name]:.4f} LR" * scale
        about[name] = About(
            f"no effects of the {_GONE[spec.effects, effects]}", distribution, SOURCE
        )
    table = chi2_table(rows)
    scaled = table["statistic"] * pd.Series(factors)
    table["p_value"] = chdtrc(table["df"].to_numpy(float), np.maximum(scaled.to_numpy(), 0.0))
    return described(table, about)


def _taken_along(full: FitResult, small: ModelSpec) -> float:
    """Return d'V d: what the spatial parameters lose to the dummies that only `full` has."""
    space, at = full.workspace, full.estimate
    if space.irregular and space.data.panel.N > ADJUSTED_UNITS:
        return 0.0
    traces, sizes = [], []
    for spec in (full.spec, small):
        terms = space.terms(replace(spec, likelihood="transformed"))
        found = [(terms.rho, at.rho), (terms.lam, at.lam)]
        traces.append([-float(term.derivatives(x)[0]) for term, x in found if term is not None])
        sizes.append(terms.n)
    both, fewer = np.array(traces)
    d = (fewer - both) / max(sizes[1] - sizes[0], 1) - both / sizes[0]
    places = [full.names.index(name) for name in full.spec.spatial]
    return float(d @ full.covariance[np.ix_(places, places)] @ d)


#: What the smaller model lacks.
_GONE = {
    ("two-way", "entity"): "periods",
    ("two-way", "time"): "units",
    ("entity", "none"): "units",
    ("time", "none"): "periods",
}


def _free(space: Workspace, spec: ModelSpec) -> int:
    """Return the number of cells less that of independent dummies, an intercept among them."""
    projector = space.projector(spec)
    free = projector.rank if projector else free_cells(*space.data.panel.shape[::-1], spec.effects)
    return free - space.has_intercept(spec.effects)


def _require_nested(space: Workspace, small: ModelSpec) -> None:
    """Raise where an intercept outside the error filter is no special case of effects inside."""
    inside = space.irregular and small.has_error and not space.row_standardized
    if inside and space.has_intercept(small.effects):
        raise WeightsError(
            f"On this panel the effects of a {small.model} stand inside its error process, and an "
            "intercept is a special case of them only if W is row-standardised. Use "
            "W.standardize('row')."
        )
