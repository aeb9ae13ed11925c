"""Score tests: directed at the Durbin models, and of any model of the family in a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from spatial_agglo.core.likelihood import Estimate
from spatial_agglo.diagnostics.scores import Regression, quadratic, score_and_information
from spatial_agglo.diagnostics.table import About, chi2_table, described
from spatial_agglo.errors import OptionError, check_made, check_option
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import MODELS, ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel

KOLEY_BERA = "Koley & Bera (2024)"


def directed_tests(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    durbin: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Test the regression without spatial terms against the Durbin models.

    With ``d_r``, ``d_l`` the scores of rho and lambda and ``T_W`` as in
    :func:`spatial_agglo.lm_tests`, ``d_t = (WX)'e/s2``, and with
    ``J = [WXb, WX]' M [WXb, WX] / s2`` (T_W added to its first element) for (rho, theta)::

        LM WX                theta = 0          d_t' J_tt^-1 d_t
        LM SDM               rho = theta = 0    (d_r, d_t)' J^-1 (d_r, d_t)
        robust LM WX         theta = 0, whatever rho is, if small     LM SDM - LM lag
        robust LM lag (WX)   rho = 0, whatever theta is, if small     LM SDM - LM WX
        LM SDEM              lambda = theta = 0                       LM error + LM WX

    Parameters
    ----------
    formula : str
    panel : Panel
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
    effects, likelihood : str
        As for :func:`spatial_agglo.lm_tests`, whose counts and centring are used.
    durbin : list of str, optional
        The regressors whose lag is tested; all of them by default.

    Returns
    -------
    DataFrame
        One row per test: ``statistic``, ``df``, ``p_value``; ``.attrs["tests"]`` has the null,
        the distribution and the source of every row.

    Raises
    ------
    IdentificationError
        The lags of the regressors are combinations of the regressors themselves.

    Notes
    -----
    Where the lags of all regressors are tested, "robust LM lag (WX)" is "LM error" of
    :func:`spatial_agglo.lm_tests` in other words (but for an intercept with weights that are
    not row-standardised): the lag of the fitted values is a combination of WX, and what is left
    of rho is ``e'We``. Regression residuals cannot tell the SDM from the SDEM.

    References
    ----------
    Koley & Bera (2024), To use, or not to use the spatial Durbin model? That is the question;
    Bera & Yoon (1993).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> directed_tests("logc ~ logp + logy", panel, W)["df"].to_dict()
    {'LM WX': 2, 'robust LM WX': 2, 'robust LM lag (WX)': 1, 'LM SDM': 3, 'LM SDEM': 3}
    """
    spec = ModelSpec.of("slx", effects=effects, likelihood=likelihood, durbin=durbin)
    space = Workspace.of(formula, panel, W)
    space.moments(spec)  # names collinear lags
    base = fit(replace(spec, model="ols", durbin=None), space)
    at = Regression.of(base, spec)
    k = len(spec.lagged(space.data))
    theta = list(range(1, 1 + k))
    lm_wx, lm_lag, lm_error = at.statistic(theta), at.statistic([0]), at.statistic([1 + k])
    lm_sdm = at.statistic([0, *theta])
    rows = {
        "LM WX": (lm_wx, k, "theta = 0"),
        "robust LM WX": (lm_sdm - lm_lag, k, "theta = 0, for small rho"),
        "robust LM lag (WX)": (lm_sdm - lm_wx, 1, "rho = 0, for small theta"),
        "LM SDM": (lm_sdm, k + 1, "rho = 0, theta = 0"),
        "LM SDEM": (lm_error + lm_wx, k + 1, "lambda = 0, theta = 0"),
    }
    table = chi2_table({name: (value, df) for name, (value, df, _) in rows.items()})
    return described(
        table,
        {name: About(null, f"chi2({df})", KOLEY_BERA) for name, (_, df, null) in rows.items()},
    )


# --- any model in a larger one ----------------------------------------------------------------


def score_test(small: FitResult, large: str, *, durbin: Sequence[str] | None = None) -> float:
    """Return the score (LM) statistic of a fitted model within a larger one.

    ``s' I^-1 s`` with the score s and the expected information I of the larger model, both at
    the estimate of the smaller: nothing else is estimated. For instance lambda given rho (sar in
    sac), rho given lambda (sem in sac), theta given rho (sar in sdm), and the common factor
    ``theta + rho beta = 0`` (sem in sdm).

    Parameters
    ----------
    small : FitResult
    large : str
        A model that nests it; see :func:`spatial_agglo.diagnostics.lattice.lr_test`.
    durbin : list of str, optional
        Lagged regressors of the larger model, where the smaller has none.

    Returns
    -------
    float
        Chi-squared, with as many degrees of freedom as parameters are restricted.

    Raises
    ------
    OptionError
        Random effects, dynamic models, or the likelihood "corrected".
    IdentificationError
        The information is singular.

    References
    ----------
    Anselin (1988), chapter 6; Debarsy & Ertur (2010) for fixed effects; Koley & Bera (2024).
    """
    check_made(small, "spec", "sa.sar")
    spec, space = small.spec, small.workspace
    if spec.effects == "random" or spec.dynamic is not None or np.isnan(small.loglik):
        raise OptionError(
            "Score tests are for static models with fixed effects, estimated by maximum "
            "likelihood. With random effects use lr_test or wald_test."
        )
    options: dict[str, Any] = {"effects": spec.effects, "likelihood": spec.likelihood}
    lags = spec.durbin if durbin is None else tuple(durbin)
    if MODELS[check_option("large", large, MODELS)][1] and lags is not None:
        options["durbin"] = lags
    wanted = ModelSpec.of(large, **options)
    one = space.weights is space.durbin_weights is space.error_weights
    if not spec.spatial and one:
        at = Regression.of(small, wanted)
        k = at.score.size - 2
        places = [0] * wanted.has_lag + list(range(1, 1 + k)) + [1 + k] * wanted.has_error
        return at.statistic(places)
    if spec.likelihood == "corrected":
        raise OptionError(
            "likelihood='corrected' has no score that is zero at its estimates: use "
            "'transformed', or 'direct-demeaned', the likelihood that it corrects."
        )
    score, info = score_and_information(space, wanted, _embedded(small, wanted))
    return quadratic(score, info)


def _embedded(small: FitResult, large: ModelSpec) -> Estimate:
    """Return the estimate of the smaller model as one of the larger."""
    space, found = small.workspace, small.estimate
    _, have = space.regressors(small.spec)
    _, every = space.regressors(large)
    value = dict(zip(have, found.gamma.tolist(), strict=True))
    rho, lam = found.rho, found.lam
    if small.spec.has_error and not large.has_error:  # sem in sdm: the common factor
        rho, lam = found.lam, 0.0
        value |= {f"W*{name}": -rho * value[name] for name in large.lagged(space.data)}
        if space.has_intercept(large.effects):
            value[every[0]] *= 1.0 - rho
    gamma = np.array([value.get(name, 0.0) for name in every])
    return Estimate(gamma, rho, lam, found.sigma2, found.loglik)
