"""Spatial dependence of residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from spatial_agglo.core.moments import lag
from spatial_agglo.diagnostics.projection import (
    projected_traces,
    require_fixed,
    require_regular,
)
from spatial_agglo.errors import OptionError, WeightsError
from spatial_agglo.esda.autocorrelation import pooled_test
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.weighting import Weighting
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel

TEST = "Moran's I of residuals"


def residual_moran(
    formula: str | FitResult,
    panel: Panel | None = None,
    W: Any = None,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    permutations: int = 999,
    seed: int | np.random.Generator | None = 0,
) -> pd.Series:
    """Return Moran's I of the residuals of a regression or of any fitted model, all periods.

    ``I = (N/S0) e'We / e'e``. For ols and slx with the exact mean and variance of a
    regression's residuals under normality (Cliff & Ord 1981): for ``P = M_X Q`` of rank r,
    ``E = tr(PW)/r`` and ``Var = [tr(PWPW') + tr(PWPW) + tr(PW)^2]/(r (r + 2)) - E^2``. The
    innovations of a model with rho or lambda, of random effects and of two-stage least squares
    have no such moments, nor are they known for weights that change over time: there I is tested
    by permutations of the units (see :func:`spatial_agglo.esda.pooled_moran`).

    Parameters
    ----------
    formula : str or FitResult
        A formula is estimated by OLS first; a fit brings its own panel and effects.
    panel : Panel
        With a formula.
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
        With a formula; of a fit, its own W by default.
    effects, likelihood : str
        As for the estimators. The fixed effects are part of P; with
        "direct-demeaned" they are ignored in the moments, as ``spdep::lm.morantest`` on
        demeaned data does.
    permutations, seed
        Where there are no exact moments.

    Returns
    -------
    Series
        ``I``, ``expected``, then ``variance``, ``z``, ``p_value`` (two-sided), or
        ``p_permutation``.

    Raises
    ------
    WeightsError
        No weights.
    DataError
        A panel with gaps: units that are not observed in the same periods cannot be permuted.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> float(sa.residual_moran("logc ~ logp + logy", panel, W)["I"].round(4))
    0.1488
    >>> sdm = sa.sdm("logc ~ logp + logy", panel, W)
    >>> bool(sa.residual_moran(sdm)["p_permutation"] > 0.05)
    True
    """
    if not isinstance(formula, FitResult):
        if panel is None:
            raise OptionError("With a formula, residual_moran needs the panel as well.")
        spec = ModelSpec.of("ols", effects=effects, likelihood=likelihood)
        found = fit(spec, Workspace.of(formula, panel, W))
        return _of_fit(found, None, permutations, seed)
    if panel is not None or (effects, likelihood) != ("two-way", "transformed"):
        raise OptionError(
            "A fit brings its own panel, effects and likelihood: residual_moran(fit), or "
            "residual_moran(fit, W=...) for other weights."
        )
    return _of_fit(formula, W, permutations, seed)


def _of_fit(
    found: FitResult, other: Any, permutations: int, seed: int | np.random.Generator | None
) -> pd.Series:
    """Test the residuals of a fit, with its own weights or others."""
    space, spec = found.workspace, found.spec
    if space.data.observed is not None:
        require_regular(space, TEST)
    if other is None:
        weights = next((w for w in (space.weights, space.error_weights) if w is not None), None)
    else:
        weights = Weighting.of(other, space.data)
    if weights is None:
        raise WeightsError(f"{TEST} needs spatial weights W; the model was fitted without.")
    exact = not spec.spatial and spec.effects != "random" and spec.likelihood != "2sls"
    if exact and other is None and not space.irregular:
        return moran_of(found)
    if exact and found.model == "ols" and not weights.varies:
        return moran_of(fit(spec, Workspace(space.data, weights.source)))
    value, expected, p = pooled_test(found.resid, weights.source, permutations, seed)
    return pd.Series({"I": value, "expected": expected, "p_permutation": p})


def moran_of(base: FitResult) -> pd.Series:
    """Return Moran's I of the residuals of a regression that has been fitted, exact moments."""
    space, spec = base.workspace, base.spec
    require_fixed(spec, TEST)
    require_regular(space, TEST)
    if space.W is None:
        raise WeightsError(f"{TEST} needs spatial weights W; the model was fitted without.")
    W, e = space.W, base.resid
    T, N = space.data.panel.shape
    columns, _ = space.regressors(spec)
    words = space.words(spec)
    data = space.arrays(spec, words)
    width = data.shape[2] // len(words)
    X = data[:, :, [words.index(word) * width + column for word, column in columns]]
    k = X.shape[2]
    ahead = space.project(lag(W.operator, X), spec).reshape(N * T, k)  # Q W X
    back = space.project(lag(W.operator.T, X), spec).reshape(N * T, k)  # Q W'X
    X = X.reshape(N * T, k)
    inverse = np.linalg.inv(X.T @ X)
    A = inverse @ (X.T @ ahead)
    trace, squared, frobenius, rank = projected_traces(space, spec)
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
