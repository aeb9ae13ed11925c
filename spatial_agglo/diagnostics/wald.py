"""Wald tests of the spatial Durbin model against what it nests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.diagnostics.table import chi2_table
from spatial_agglo.errors import IdentificationError, OptionError
from spatial_agglo.models.results import FitResult


def wald_tests(fit: FitResult) -> pd.DataFrame:
    """Test whether a spatial Durbin model can be simplified to SAR or SEM.

    ::

        Wald SDM/SAR    theta = 0
        Wald SDM/SEM    theta + rho beta = 0     (common factor; delta method)

    Parameters
    ----------
    fit : FitResult
        Of ``sdm``. Its covariance is used: robust and clustered ones give robust tests.

    Returns
    -------
    DataFrame
        Columns ``statistic``, ``df`` (number of lagged regressors), ``p_value``. With
        ``durbin=[...]`` the SEM is not nested and its row is left out.

    Raises
    ------
    OptionError
        The fit is not of an SDM.

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
    if m == len(fit.regressors):
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


def _wald(restriction: NDArray, R: NDArray, covariance: NDArray) -> float:
    middle = R @ np.where(np.isnan(covariance), 0.0, covariance) @ R.T  # sigma2 plays no part
    return float(restriction @ np.linalg.solve(middle, restriction))
