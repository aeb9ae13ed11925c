"""Lagrange multiplier tests of the spatial lag and the spatial error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from spatial_agglo.diagnostics.projection import require_fixed
from spatial_agglo.diagnostics.scores import Regression
from spatial_agglo.diagnostics.table import About, chi2_table, described
from spatial_agglo.errors import WeightsError
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel

TEST = "A Lagrange multiplier test of the regression"
ONE, ROBUST = "Anselin (1988); Debarsy & Ertur (2010)", "Anselin, Bera, Florax & Yoon (1996)"
#: Null and source of every row.
ROWS = {
    "LM lag": ("rho = 0", ONE),
    "robust LM lag": ("rho = 0 in the local presence of lambda", ROBUST),
    "LM error": ("lambda = 0", ONE),
    "robust LM error": ("lambda = 0 in the local presence of rho", ROBUST),
    "SARMA": ("rho = 0, lambda = 0", ROBUST),
}


def lm_tests(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
) -> pd.DataFrame:
    """Test the regression without spatial terms against a spatial lag and a spatial error.

    With ``e`` the residuals of the regression under the given effects, ``s2 = e'e/n``,
    ``d_y = e'Wy/s2 - c``, ``d_e = e'We/s2 - c``, ``T_W = tau tr(WW + W'W) - 2 c^2/n`` and
    ``J = (WXb)'M(WXb)/s2 + T_W``::

        LM lag          d_y^2 / J
        LM error        d_e^2 / T_W
        robust LM lag   (d_y - d_e)^2 / (J - T_W)
        robust LM error (d_e - (T_W/J) d_y)^2 / (T_W (1 - T_W/J))
        SARMA           LM lag + robust LM error

    c is zero but for the transformed likelihood with time effects: the weights among the
    transformed data have the trace ``c = tau tr(JW)``, ``J = I - 11'/N`` (minus one a period for
    row-standardised W), so that is the mean of ``e'We/s2`` without dependence. Without it the
    tests reject far too often.

    On a panel with gaps, and with weights that change over time, the traces are those of
    ``Q diag(W_1, ..., W_T)`` with the exact projection Q (c = tr(QW), T_W = tr(QWQW + QWQW') -
    2 c^2/n), and the tests are those of the models that are estimated there, whose effects stand
    inside the spatial processes: ``e'We`` is ``e'W(y - Xb)``, the lags of the estimated effects
    enter J and T_W by their sums of squares, and the robust forms are those of Bera & Yoon with
    the covariance of the two scores in place of T_W.

    Parameters
    ----------
    formula : str
    panel : Panel
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
    effects : {"two-way", "entity", "time", "none"}
    likelihood : {"transformed", "direct", "direct-demeaned", "corrected"}
        "transformed": on the data that the orthonormal transformation leaves (Debarsy & Ertur
        2010); for entity effects (T - 1)/T times the direct statistic. "direct": dummies,
        n = NT. "direct-demeaned": lags after demeaning, as splm's ``slmtest`` and Elhorst's
        routines do; "corrected" is the same here, for the correction concerns estimates.

    Returns
    -------
    DataFrame
        Index "LM lag", "robust LM lag", "LM error", "robust LM error", "SARMA"; columns
        ``statistic``, ``df``, ``p_value``. The robust tests and SARMA are NaN where the lag of the
        fitted values is a combination of the regressors (no regressors, for example), and all
        are with period effects and a W in which all units have the same weight: then they are
        not defined.

    Raises
    ------
    OptionError
        effects="random", for which they do not hold; on a panel with gaps, or with weights that
        change, a likelihood other than "transformed" and "direct".
    SpatialAggloError
        As the estimators do.

    References
    ----------
    Anselin (1988); Anselin, Bera, Florax & Yoon (1996); Elhorst (2014), chapter 3;
    Debarsy & Ertur (2010); Bera & Yoon (1993).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> table = sa.lm_tests("logc ~ logp + logy", panel, W)
    >>> table["statistic"].round(2).tolist()
    [60.41, 1.11, 73.06, 13.76, 74.17]
    """
    spec = ModelSpec.of("ols", effects=effects, likelihood=likelihood)
    require_fixed(spec, TEST)
    space = Workspace.of(formula, panel, W)
    return lm_table(fit(spec, space))


def lm_table(base: FitResult) -> pd.DataFrame:
    """Return the LM tests of a regression that has been fitted."""
    space, spec = base.workspace, base.spec
    require_fixed(spec, TEST)
    if space.weights is None:
        raise WeightsError("LM tests need spatial weights W; the regression was fitted without.")
    at = Regression.of(base, spec)
    (lag_score, error_score), J = at.score, at.covariance
    own = np.diag(J)
    lm_lag, lm_error = (
        score**2 / size if size > at.noise else np.nan
        for score, size in zip(at.score, own, strict=True)
    )
    robust_lag = robust_error = np.nan
    if (own > at.noise).all():
        left = own - J[0, 1] ** 2 / own[::-1]  # of each what the other does not explain
        if left[0] > at.noise * max(1.0, own[0] / own[1]) and left[1] > 0.0:
            robust_lag = (lag_score - J[0, 1] / own[1] * error_score) ** 2 / left[0]
            robust_error = (error_score - J[0, 1] / own[0] * lag_score) ** 2 / left[1]
    table = chi2_table(
        {
            "LM lag": (lm_lag, 1),
            "robust LM lag": (robust_lag, 1),
            "LM error": (lm_error, 1),
            "robust LM error": (robust_error, 1),
            "SARMA": (lm_lag + robust_error, 2),
        }
    )
    return described(
        table,
        {
            name: About(null, f"chi2({df})", source)
            for (name, (null, source)), df in zip(ROWS.items(), table["df"], strict=True)
        },
    )
