"""Likelihood-ratio tests: of the spatial Durbin model, and of the fixed effects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from spatial_agglo.core.within import removes_entity, removes_time
from spatial_agglo.diagnostics.table import chi2_table
from spatial_agglo.diagnostics.wald import require_sdm
from spatial_agglo.errors import OptionError
from spatial_agglo.models.covariances import Observed
from spatial_agglo.models.fitting import fit as fit_model
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel


def lr_tests(fit: FitResult) -> pd.DataFrame:
    """Test whether a spatial Durbin model can be simplified to SAR or SEM.

    ``LR = 2 (l_sdm - l_restricted)``, with the same data, W, effects and likelihood; the
    restricted models are estimated here, from moments that exist already.

    Parameters
    ----------
    fit : FitResult
        Of ``sdm``.

    Returns
    -------
    DataFrame
        Rows "LR SDM/SAR" and "LR SDM/SEM"; columns ``statistic``, ``df`` (number of lagged
        regressors), ``p_value``. With ``durbin=[...]`` the SEM is not nested and left out.

    Raises
    ------
    OptionError
        The fit is not of an SDM.

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
    lagged = fit.spec.lagged(fit.workspace.data)
    nested = ["sar", "sem"] if len(lagged) == len(fit.regressors) else ["sar"]
    rows = {}
    for model in nested:
        spec = replace(fit.spec, model=model, durbin=None, cov=Observed())
        restricted = fit_model(spec, fit.workspace)
        rows[f"LR SDM/{model.upper()}"] = (2.0 * (fit.loglik - restricted.loglik), len(lagged))
    return chi2_table(rows)


def effects_tests(
    formula: str,
    panel: Panel,
    W: Any = None,
    *,
    model: str = "sdm",
    effects: str = "two-way",
    likelihood: str = "direct",
) -> pd.DataFrame:
    """Test the fixed effects by likelihood ratios.

    Two-way effects against entity effects alone (``T - 1`` degrees of freedom) and against
    time effects alone (``N - 1``); a single kind of effects against none.

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

    Returns
    -------
    DataFrame
        Rows such as "LR two-way/entity"; columns ``statistic``, ``df``, ``p_value``.

    Raises
    ------
    OptionError
        effects="none", or a likelihood under which the test does not exist.

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
    return effects_table(Workspace.of(formula, panel, W), spec)


def effects_table(space: Workspace, spec: ModelSpec) -> pd.DataFrame:
    """Return the LR tests of the effects of a specification."""
    if spec.likelihood not in ("direct", "direct-demeaned"):
        raise OptionError(
            f"likelihood={spec.likelihood!r} cannot test effects: it needs 'direct' or "
            "'direct-demeaned', the likelihoods of one and the same sample."
        )
    if spec.effects == "none":
        raise OptionError("effects='none' leaves nothing to test; give the larger model's effects.")
    T, N = space.data.panel.shape
    smaller = [name for name in ("entity", "time") if name != spec.effects]
    if spec.effects != "two-way":
        smaller = ["none"]
    full = fit_model(spec, space)
    rows = {}
    for effects in smaller:
        restricted = fit_model(replace(spec, effects=effects), space)
        df = (N - 1) * (removes_entity(spec.effects) and not removes_entity(effects))
        df += (T - 1) * (removes_time(spec.effects) and not removes_time(effects))
        name = f"LR {spec.effects}/{effects}"
        rows[name] = (2.0 * (full.loglik - restricted.loglik), df)
    return chi2_table(rows)
