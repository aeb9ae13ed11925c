"""Wald tests of the spatial Durbin model against what it nests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc

from spatial_agglo.core.within import removes_time
from spatial_agglo.diagnostics.table import About, chi2_table, described
from spatial_agglo.errors import IdentificationError, OptionError
from spatial_agglo.models.results import FitResult

#: A covariance whose correlation form has a smaller eigenvalue than this has no inverse.
SINGULAR = 1e-12
SOURCE = "Elhorst (2014), sections 2.3 and 3.4; Burridge (1981)"
#: What the tests of the SDM test, by the smaller model.
NULLS = {"SAR": "theta = 0", "SEM": "theta + rho beta = 0 (common factor)"}


def wald_tests(fit: FitResult) -> pd.DataFrame:
    """Test whether a spatial Durbin model can be simplified to SAR or SEM.

    ::

        Wald SDM/SAR    theta = 0
        Wald SDM/SEM    theta + rho beta = 0     (common factor; delta method)

    Parameters
    ----------
    fit : FitResult
        Of ``sdm``, or of ``stsls(..., model="sdm")``. Its covariance is used: robust and clustered
        ones give robust tests. P values are those of an F distribution, or with clusters (or
        periods, under Driscoll & Kraay) of Hotelling's T^2: see :meth:`Reference.wald`. Those of
        the direct likelihoods are chi-squared, as in other programs.

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
    Elhorst (2014), sections 2.3 and 3.4; Burridge (1981) for the common factor; Cameron & Miller
    (2015), Journal of Human Resources 50, for few clusters.

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
    known = Reference.of(fit)
    check_clusters(known.clusters, m)
    R = np.zeros((m, fit.values.size))
    R[np.arange(m), theta] = 1.0
    rows = {"Wald SDM/SAR": (wald(fit.values[theta], R, fit.covariance), m)}
    if nests_sem(fit):
        restriction = fit.values[theta] + fit.values[rho] * fit.values[beta]
        R[np.arange(m), beta] = fit.values[rho]
        R[:, rho] = fit.values[beta]
        rows["Wald SDM/SEM"] = (wald(restriction, R, fit.covariance), m)
    table = chi2_table(rows)
    about = {}
    for name, (value, df) in rows.items():
        p, distribution = known.wald(value, df)
        table.loc[name, "p_value"] = p
        about[name] = About(NULLS[name.split("/")[1]], distribution, SOURCE)
    return described(table, about)


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


def wald(restriction: NDArray, R: NDArray, covariance: NDArray) -> float:
    """Return ``r' (R V R')^-1 r``; raise when the middle is not positive definite."""
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
            "singular: it is made of too few clusters or periods. Use another cov, or test fewer."
        )
    z = restriction / scale
    return float(z @ np.linalg.solve(middle, z))


def check_clusters(clusters: int | None, restrictions: int) -> None:
    """Raise where a covariance is made of too few clusters for so many restrictions."""
    if clusters is not None and clusters <= restrictions:
        raise IdentificationError(
            f"{restrictions} restrictions cannot be tested jointly with a covariance made of "
            f"{clusters} clusters (or periods): there must be fewer restrictions. Use another cov."
        )


@dataclass(frozen=True)
class Reference:
    """What the distribution of a Wald or likelihood-ratio statistic of a fit depends on.

    Attributes
    ----------
    coefficients : int
        p: all parameters but sigma2.
    n : int or None
        Effective observations of a transformed likelihood; None: the others are of n = NT cells
        that are not independent, and are for replication.
    clusters : int or None
        Behind the covariance (clusters or periods).
    """

    coefficients: int = 0
    n: int | None = None
    clusters: int | None = None

    @classmethod
    def of(cls, fit: FitResult) -> Reference:
        """Take from a fit what there is."""
        known = fit.spec.likelihood == "transformed" and fit.spec.dynamic is None
        return cls(
            sum(name != "sigma2" for name in fit.names),
            fit.n_effective if known else None,
            fit.details.get("clusters"),
        )

    def wald(self, statistic: float, df: int) -> tuple[float, str]:
        """Return the p value of a Wald statistic and its distribution in words.

        With a transformed likelihood ``q n/(n - p) F(q, n - p)``, as in a regression with n
        observations; with a covariance made of G clusters (or periods) that of Hotelling's T^2 with
        ``nu = G - 1 - p/2`` degrees of freedom, ``q nu/(nu - q + 1) F(q, nu - q + 1)``; otherwise
        chi-squared, as both are in large samples. The residuals of a cluster are shorter than its
        errors, the more so the more coefficients there are, and half a degree for each holds the
        size: 4% to 7% where chi-squared rejects 7% to 24% of the time (25 to 49 clusters, 2 to 8
        regressors and their lags).

        Examples
        --------
        >>> for found in (Reference(), Reference(5, 147), Reference(5, 147, clusters=49)):
        ...     p, distribution = found.wald(6.0, 2)
        ...     print(round(p, 3), distribution)
        0.05 chi2(2)
        0.058 2.07 F(2, 142)
        0.064 2.045 F(2, 44.5)
        """
        if np.isnan(statistic) or (self.clusters is None and self.n is None):
            return float(chdtrc(df, statistic)), f"chi2({df})"
        if self.clusters is not None:
            nu = max(self.clusters - 1.0 - 0.5 * self.coefficients, float(df))
            left = nu - df + 1.0
            factor = df * nu / left
        else:
            assert self.n is not None
            left = float(max(self.n - self.coefficients, 1))
            factor = df * self.n / left
        return float(fdtrc(df, left, statistic / factor)), f"{factor:.4g} F({df}, {left:g})"

    def ratio(self, statistic: float, df: int) -> tuple[float, str]:
        """Return the p value of a likelihood ratio and its distribution in words.

        With a transformed likelihood chi-squared of ``(n - p + q/2 - 1)/n LR`` (Anderson 2003,
        section 8.5); otherwise of LR.

        Examples
        --------
        >>> Reference(5, 147).ratio(6.0, 2)[1]
        'chi2(2) of 0.9660 LR'
        """
        if self.n is None:
            return float(chdtrc(df, statistic)), f"chi2({df})"
        factor = (self.n - self.coefficients + 0.5 * df - 1.0) / self.n
        return float(chdtrc(df, max(factor * statistic, 0.0))), f"chi2({df}) of {factor:.4f} LR"
