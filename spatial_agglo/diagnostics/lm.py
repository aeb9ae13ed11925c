"""Lagrange multiplier tests of the spatial lag and the spatial error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from spatial_agglo.core.likelihood import solve_spd
from spatial_agglo.core.moments import lag
from spatial_agglo.core.traces import resolvent
from spatial_agglo.diagnostics.projection import (
    projected_traces,
    require_fixed,
    require_regular,
)
from spatial_agglo.diagnostics.table import chi2_table
from spatial_agglo.errors import WeightsError
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel

TEST = "A Lagrange multiplier test of the regression"


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
        fitted values is a combination of the regressors (no regressors, or a W in which all
        units have the same weight), for then they are not defined.

    Raises
    ------
    DataError, WeightsError
        A panel with gaps, weights that change over time: these statistics need one W for all
        cells.
    OptionError
        effects="random", for which they do not hold.
    SpatialAggloError
        As the estimators do.

    References
    ----------
    Anselin (1988); Anselin, Bera, Florax & Yoon (1996); Elhorst (2014), chapter 3;
    Debarsy & Ertur (2010).

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
    require_regular(space, TEST)
    return lm_table(fit(spec, space))


def lm_table(base: FitResult) -> pd.DataFrame:
    """Return the LM tests of a regression that has been fitted."""
    space, spec = base.workspace, base.spec
    require_fixed(spec, TEST)
    require_regular(space, TEST)
    if space.W is None:
        raise WeightsError("LM tests need spatial weights W; the regression was fitted without.")
    T, N = space.data.panel.shape
    counts = spec.counts(N, T, space.row_standardized)
    e = base.resid
    s2 = float((e * e).sum()) / counts.n
    outcome = space.arrays(spec, [""])[:, :, 0] if spec.lags_last else space.data.y
    We, Wy = lag(space.W.operator, e), lag(space.W.operator, outcome)
    fitted = space.project(Wy - We, spec)  # Q W (y - e): the lag of the fitted mean
    columns, _ = space.regressors(spec)
    X = space.arrays(spec, [""])[:, :, [column for _, column in columns]].reshape(N * T, -1)
    along = X.T @ fitted.ravel()
    left = float((fitted * fitted).sum())
    if along.size:
        left -= float(along @ solve_spd(X.T @ X, along))
    trace, squared, frobenius, rank = projected_traces(space, spec)
    if spec.likelihood != "transformed":
        found = resolvent(space.W.matrix, 0.0)
        trace, squared, frobenius = 0.0, T * found.squared, T * found.frobenius
    T_W = squared + frobenius - 2.0 * trace**2 / rank
    J = left / s2 + T_W
    lag_score = float((e * Wy).sum()) / s2 - trace
    error_score = float((e * We).sum()) / s2 - trace
    lm_lag, lm_error = lag_score**2 / J, error_score**2 / T_W
    robust_lag = robust_error = np.nan  # not defined when the lag of the fit adds nothing to X
    noise = 1e-12 * float((fitted * fitted).sum()) + 1e-16 * float((Wy * Wy).sum())
    if left > noise:
        robust_lag = (lag_score - error_score) ** 2 / (left / s2)
        robust_error = (error_score - T_W / J * lag_score) ** 2 / (T_W * (1.0 - T_W / J))
    return chi2_table(
        {
            "LM lag": (lm_lag, 1),
            "robust LM lag": (robust_lag, 1),
            "LM error": (lm_error, 1),
            "robust LM error": (robust_error, 1),
            "SARMA": (lm_lag + robust_error, 2),
        }
    )
