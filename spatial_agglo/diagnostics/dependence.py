"""Spatial dependence of residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from spatial_agglo.core.moments import lag
from spatial_agglo.core.traces import resolvent
from spatial_agglo.core.within import removes_time
from spatial_agglo.errors import WeightsError
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel


def residual_moran(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
) -> pd.Series:
    """Return Moran's I of the residuals of the regression without spatial terms.

    ``I = (N/S0) e'We / e'e`` pooled over periods, with the exact mean and variance of a
    regression's residuals under normality (Cliff & Ord 1981): for ``P = M_X Q`` of rank r,
    ``E = tr(PW)/r`` and ``Var = [tr(PWPW') + tr(PWPW) + tr(PW)^2]/(r (r + 2)) - E^2``.

    Parameters
    ----------
    formula : str
    panel : Panel
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
    effects, likelihood : str
        As for :func:`spatial_agglo.lm_tests`. The fixed effects are part of P; with
        "direct-demeaned" they are ignored in the moments, as ``spdep::lm.morantest`` on
        demeaned data does.

    Returns
    -------
    Series
        ``I``, ``expected``, ``variance``, ``z``, ``p_value`` (two-sided).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> float(sa.residual_moran("logc ~ logp + logy", panel, W)["I"].round(4))
    0.1488
    """
    spec = ModelSpec.of("ols", effects=effects, likelihood=likelihood)
    return moran_of(fit(spec, Workspace.of(formula, panel, W)))


def moran_of(base: FitResult) -> pd.Series:
    """Return Moran's I of the residuals of a regression that has been fitted."""
    space, spec = base.workspace, base.spec
    if space.W is None:
        raise WeightsError("Moran's I needs spatial weights W; the regression was fitted without.")
    W, e = space.W, base.resid
    T, N = space.data.panel.shape
    columns, _ = space.regressors(spec)
    X = space.arrays(spec, 1)[:, :, [column for _, column in columns]]
    k = X.shape[2]
    ahead = space.project(lag(W.operator, X), spec).reshape(N * T, k)  # Q W X
    back = space.project(lag(W.operator.T, X), spec).reshape(N * T, k)  # Q W'X
    X = X.reshape(N * T, k)
    inverse = np.linalg.inv(X.T @ X)
    A = inverse @ (X.T @ ahead)
    trace, squared, frobenius, rank = _projected_traces(space, spec)
    r = rank - k
    first = trace - float(np.trace(A))
    second = squared - 2.0 * float(np.trace(inverse @ (back.T @ ahead))) + float(np.trace(A @ A))
    third = frobenius - float(np.trace(inverse @ (ahead.T @ ahead + back.T @ back)))
    third += float(np.trace(A @ inverse @ (ahead.T @ X)))
    expected = first / r
    variance = (third + second + first**2) / (r * (r + 2)) - expected**2
    ratio = float((e * lag(W.operator, e)).sum() / (e * e).sum())
    z = (ratio - expected) / np.sqrt(variance)
    scale = N / float(W.matrix.sum())
    return pd.Series(
        {
            "I": scale * ratio,
            "expected": scale * expected,
            "variance": scale**2 * variance,
            "z": z,
            "p_value": float(2.0 * ndtr(-abs(z))),
        }
    )


def _projected_traces(space: Workspace, spec: ModelSpec) -> tuple[float, float, float, int]:
    """Return tr(QW), tr(QWQW), tr(QWQW') and the rank of Q."""
    assert space.W is not None
    W = space.W.matrix
    T, N = space.data.panel.shape
    found = resolvent(space.W.matrix, 0.0)
    if spec.lags_last:
        return 0.0, T * found.squared, T * found.frobenius, N * T
    periods = T - 1 if spec.effects in ("entity", "two-way") else T
    trace, squared, frobenius = 0.0, found.squared, found.frobenius
    rank = N * periods
    if removes_time(spec.effects):
        rows, columns = np.asarray(W.sum(axis=1)).ravel(), np.asarray(W.sum(axis=0)).ravel()
        mean = float(rows.sum()) / N
        trace = -mean
        squared += mean**2 - 2.0 * float(columns @ rows) / N
        frobenius += mean**2 - float(rows @ rows + columns @ columns) / N
        rank = (N - 1) * periods
    return periods * trace, periods * squared, periods * frobenius, rank
