"""Wald tests of the spatial Durbin model against what it nests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.core.within import removes_time
from spatial_agglo.diagnostics.table import chi2_table
from spatial_agglo.errors import IdentificationError, OptionError
from spatial_agglo.models.results import FitResult

#: A covariance whose correlation form has a smaller eigenvalue than this has no inverse.
SINGULAR = 1e-12


def wald_tests(fit: FitResult) -> pd.DataFrame:
    """Test whether a spatial Durbin model can be simplified to SAR or SEM.

    ::

        Wald SDM/SAR    theta = 0
        Wald SDM/SEM    theta + rho beta = 0     (common factor; delta method)

    Parameters
    ----------
    fit : FitResult
        Of ``sdm``, or of ``stsls(..., model="sdm")``. Its covariance is used: robust and clustered
        ones give robust tests.

    Returns
    -------
    DataFrame
        Columns ``statistic``, ``df`` (number of lagged regressors), ``p_value``. The row of the
        SEM is left out where it is not nested: see :func:`nests_sem`. With
        ``correlated=True`` unit means and their lags count as regressors.

    Raises
    ------
    OptionError
        The fit is not of an SDM.
    IdentificationError
        Fewer clusters (or periods) than restrictions, or a covariance that is not known.

    References
    ----------
    Elhorst (2014), sections 2.3 and 3.4; Burridge (1981) for the common factor.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> sa.wald_tests(sa.sdm("logc ~ logp + logy", panel, W)).round(3)["df"].tolist()
    [2, 2]
    """
    require_sdm(fit)
    lagged = fit.spec.lagged(fit.workspace.data)
    theta = [fit.names.index(f"W*{name}") for name in lagged]
    beta = [fit.names.index(name) for name in lagged]
    rho = fit.names.index("rho")
    m = len(lagged)
    clusters = fit.details.get("clusters")
    if clusters is not None and clusters <= m:
        raise IdentificationError(
            f"{m} restrictions cannot be tested jointly with a covariance made of {clusters} "
            "clusters (or periods): there must be fewer restrictions. Use another cov."
        )
    R = np.zeros((m, fit.values.size))
    R[np.arange(m), theta] = 1.0
    rows = {"Wald SDM/SAR": (_wald(fit.values[theta], R, fit.covariance), m)}
    if nests_sem(fit):
        restriction = fit.values[theta] + fit.values[rho] * fit.values[beta]
        R[np.arange(m), beta] = fit.values[rho]
        R[:, rho] = fit.values[beta]
        rows["Wald SDM/SEM"] = (_wald(restriction, R, fit.covariance), m)
    return chi2_table(rows)


def require_sdm(fit: FitResult) -> None:
    """Raise unless the fit is of a spatial Durbin model with something lagged."""
    if not isinstance(fit, FitResult):
        raise OptionError(f"A fitted model is needed, sdm(...); got {type(fit).__name__}.")
    if fit.model != "sdm" or not fit.spec.lagged(fit.workspace.data):
        raise OptionError(
            f"The test starts from a fitted spatial Durbin model, sdm(...); got {fit.model}."
        )


def nests_sem(fit: FitResult) -> bool:
    """Tell whether a spatial error model is a special case of a fitted spatial Durbin model.

    ``(I - lambda W)(y - X b) = effects + e`` is the SDM with ``rho = lambda`` and
    ``theta = -rho b``, on panels with gaps (where the effects stand inside the filter) as well.
    For that

    - all regressors must be lagged, by the W that lags the outcome, lags of the outcome in time
      included (a dynamic SDM has no common factor with ``W y_{t-1}``);
    - ``(I - lambda W)`` must turn an intercept or period effects into others of their kind: W is
      row-standardised, or there are none of these.
    """
    space, spec = fit.workspace, fit.spec
    if len(spec.lagged(space.data)) < len(space.data.regressors):
        return False
    if space.durbin_weights is not space.weights:
        return False
    constants = removes_time(spec.fixed) or space.has_intercept(spec.effects)
    return space.row_standardized or not constants


def _wald(restriction: NDArray, R: NDArray, covariance: NDArray) -> float:
    used = R.any(axis=0)  # the variance of sigma2, which may not be known, plays no part
    middle = R[:, used] @ covariance[np.ix_(used, used)] @ R[:, used].T
    scale = np.sqrt(np.abs(np.diag(middle)))
    if not (np.isfinite(middle).all() and (scale > 0).all()):
        raise IdentificationError(
            "The covariance of the parameters that are tested is not known: see the notes of the "
            "fit. Use another cov."
        )
    middle = middle / np.outer(scale, scale)
    if not np.linalg.eigvalsh(middle)[0] > SINGULAR:
        raise IdentificationError(
            f"{len(R)} restrictions cannot be tested jointly with this covariance, which is "
            "singular: it is made of too few clusters or periods. Use another cov."
        )
    z = restriction / scale
    return float(z @ np.linalg.solve(middle, z))
