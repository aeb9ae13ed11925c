"""Spatial dependence of residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from spatial_agglo.core.moments import Operator, lag
from spatial_agglo.diagnostics.projection import require_fixed
from spatial_agglo.diagnostics.remaining import Remaining, remaining
from spatial_agglo.diagnostics.scores import ROUNDING, forms, picked, rank
from spatial_agglo.diagnostics.table import About
from spatial_agglo.errors import DataError, IdentificationError, OptionError, WeightsError
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
    """Test the residuals of a regression, or of any fitted model, for spatial dependence.

    ``I = sum_t (N_t/S0_t) e_t'W_t e_t / e'e``, the sums of all periods' cells and weights being N_t
    and S0_t, with the mean and the variance that I has without dependence:

    - regressions (ols, slx): those of a regression's residuals under normality, exact (Cliff &
      Ord 1981). For ``P = M_X Q`` of rank r, ``E = tr(PW)/r`` and
      ``Var = [tr(PWPW') + tr(PWPW) + tr(PW)^2]/(r (r + 2)) - E^2``;
    - models with rho or lambda: those of the score of a further error process
      ``(I - kappa W) v = e`` of the innovations v at kappa = 0, after the estimated parameters
      have been partialled out with the expected information. After a sar z is the signed root of
      ``score_test(fit, "sac")``. The variance is much smaller than that of a regression, for the
      estimates have taken most of the dependence along W out of the residuals: a permutation of
      the units, which does not know, would never reject;
    - two-stage least squares: the same with the covariance of its estimates (Anselin & Kelejian
      1997); random effects: of the quasi-demeaned residuals.

    Parameters
    ----------
    formula : str or FitResult
        A formula is estimated by OLS first; a fit brings its own panel and effects.
    panel : Panel
        With a formula. It may have gaps.
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
        With a formula; of a fit, its own W by default.
    effects, likelihood : str
        As for the estimators. The fixed effects are part of P; with
        "direct-demeaned" they are ignored in the moments of a regression, as
        ``spdep::lm.morantest`` on demeaned data does.
    permutations, seed
        For permutations of the units, where no variance is known: unit effects that stand outside
        an error process (``effects="random", form="baltagi"``). They make the test conservative.

    Returns
    -------
    Series
        ``I``, ``expected``, ``variance``, ``z``, ``p_value`` (two-sided, standard normal); or
        ``I``, ``expected``, ``p_permutation``.

    Raises
    ------
    WeightsError
        No weights.
    IdentificationError
        I is the same whatever the residuals are: period effects, and weights that are the same for
        every two units; or nothing is left to test beside lambda.
    DataError
        Permutations on a panel with gaps.

    References
    ----------
    Cliff & Ord (1981), chapter 8; Anselin & Kelejian (1997), International Regional Science Review
    20, 153-182; Kelejian & Prucha (2001), Journal of Econometrics 104, 219-257.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> float(sa.residual_moran("logc ~ logp + logy", panel, W)["I"].round(4))
    0.1488
    >>> sdm = sa.sdm("logc ~ logp + logy", panel, W)
    >>> bool(sa.residual_moran(sdm)["p_value"] > 0.05)
    False
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
    if other is None:
        weights = next((w for w in (space.weights, space.error_weights) if w is not None), None)
    else:
        weights = Weighting.of(other, space.data)
    if weights is None:
        raise WeightsError(f"{TEST} needs spatial weights W; the model was fitted without.")
    static = spec.likelihood != "2sls" and spec.dynamic is None
    if not spec.spatial and spec.effects != "random" and static:
        return moran_of(found, weights)
    scaled = _scaled(weights, space)
    left = remaining(found, scaled)
    if left is None:
        if space.data.observed is not None:
            raise DataError(
                f"{TEST} of this model are tested by permutation of the units, which needs a "
                "balanced panel. Use form='kkp', or fixed effects."
            )
        value, expected, p = pooled_test(found.resid, weights.source, permutations, seed)
        series = pd.Series({"I": value, "expected": expected, "p_permutation": p})
        return _about(series, f"{permutations} permutations of the units", "Cliff & Ord (1981)")
    return _series(left)


def _series(left: Remaining) -> pd.Series:
    z = left.z
    if np.isnan(z):
        raise IdentificationError(
            "Nothing is left to test in the residuals: a further error process along these "
            "weights cannot be told from what the model has. Give other weights, W=..."
        )
    n = left.rank
    value, expected, variance = (left.score + left.mean) / n, left.mean / n, left.variance / n**2
    return _row(value, expected, variance, z, "Anselin & Kelejian (1997); Anselin (1988)")


def _row(value: float, expected: float, variance: float, z: float, source: str) -> pd.Series:
    series = pd.Series(
        {
            "I": value,
            "expected": expected,
            "variance": variance,
            "z": z,
            "p_value": float(2.0 * ndtr(-abs(z))),
        }
    )
    return _about(series, "standard normal (z of I)", source)


def _about(series: pd.Series, distribution: str, source: str) -> pd.Series:
    null = "no correlation between the errors of neighbours"
    series.attrs["tests"] = {"Moran's I": vars(About(null, distribution, source))}
    return series


def _scaled(weights: Weighting, space: Workspace) -> Weighting:
    """Return weights that add up to the number of observed units in every period."""
    cells = space.data.cells.sum(axis=1)
    made = []
    for j, W in enumerate(weights.matrices):
        share = float(cells[weights.which.index(j)]) / float(W.matrix.sum())
        made.append(W if share == 1.0 else W.derive(W.matrix * share, ", scaled", isolates="allow"))
    return Weighting(weights.source, tuple(made), weights.which, weights.row_standardized)


def moran_of(base: FitResult, weights: Weighting | None = None) -> pd.Series:
    """Return Moran's I of the residuals of a regression that has been fitted, exact moments."""
    space, spec = base.workspace, base.spec
    require_fixed(spec, TEST)
    weights = space.weights if weights is None else weights
    if weights is None:
        raise WeightsError(f"{TEST} needs spatial weights W; the model was fitted without.")
    V = _scaled(weights, space)
    W: Operator = V.operator
    back_by: Any = tuple(M.T for M in W) if isinstance(W, tuple) else W.T
    e = base.resid
    columns, _ = space.regressors(spec)
    X = picked(space, spec, columns)
    size, k = e.size, X.shape[2]
    ahead = space.project(lag(W, X), spec).reshape(size, k)  # Q W X
    back = space.project(lag(back_by, X), spec).reshape(size, k)  # Q W'X
    X = X.reshape(size, k)
    inverse = np.linalg.inv(X.T @ X)
    A = inverse @ (X.T @ ahead)
    exact = not spec.lags_last
    traces = forms(space, spec, base.estimate, extra=V, exact=exact)
    trace = float(traces.single[0]) if exact else 0.0
    squared, frobenius = float(traces.squared[0, 0]), float(traces.frobenius[0, 0])
    r = (rank(space, spec) if exact else size) - k
    first = trace - float(np.trace(A))
    second = squared - 2.0 * float(np.trace(inverse @ (back.T @ ahead))) + float(np.trace(A @ A))
    third = frobenius - float(np.trace(inverse @ (ahead.T @ ahead + back.T @ back)))
    third += float(np.trace(A @ inverse @ (ahead.T @ X)))
    expected = first / r
    variance = (third + second + first**2) / (r * (r + 2)) - expected**2
    links = sum(
        float(count * (one.matrix.data @ one.matrix.data))
        for count, one in zip(V.times, V.matrices, strict=True)
    )
    if not variance > ROUNDING * links / (r * (r + 2)):
        raise IdentificationError(
            "Moran's I is the same whatever the residuals are, so there is no test: with period "
            "effects that is so when all units have the same weight in each other."
        )
    value = float((e * lag(W, e)).sum() / (e * e).sum())
    z = (value - expected) / np.sqrt(variance)
    return _row(value, expected, variance, z, "Cliff & Ord (1981)")
