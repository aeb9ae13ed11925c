"""FitResult: the frozen result of an estimator. Tables and pictures are derived elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from spatial_agglo.core.likelihood import Estimate
from spatial_agglo.errors import OptionError
from spatial_agglo.formula import INTERCEPT
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace

if TYPE_CHECKING:
    from spatial_agglo.impacts import Impacts


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted model.

    Attributes
    ----------
    spec : ModelSpec
        Model, effects, likelihood and covariance.
    loglik : float
        Maximised log-likelihood (under "corrected": of the direct likelihood).
    n_effective : int
        Observations that count: ``sigma2 = SSR / n_effective``.
    notes : tuple of str
        What the reader of the table must know: W not row-standardised, back end, ...
    details : mapping
        What only some models have: the stability of a dynamic one, a first stage, ...
    """

    spec: ModelSpec
    names: tuple[str, ...]
    values: NDArray
    covariance: NDArray
    loglik: float
    n_effective: int
    estimate: Estimate
    workspace: Workspace
    resid: NDArray
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.spec.model

    @property
    def formula(self) -> str:
        """The formula as it was given."""
        return self.workspace.data.formula

    @property
    def nobs(self) -> int:
        """Number of observations that were used: N x T on a balanced panel."""
        return self.workspace.data.nobs

    @property
    def params(self) -> pd.Series:
        """Estimates: x, W*x, rho, lambda, sigma2."""
        return pd.Series(self.values.copy(), index=list(self.names), name="params")

    @property
    def cov(self) -> pd.DataFrame:
        """Covariance matrix of all the estimates, sigma2 included."""
        return pd.DataFrame(
            self.covariance.copy(), index=list(self.names), columns=list(self.names)
        )

    @cached_property
    def std_errors(self) -> pd.Series:
        """Standard errors."""
        variances = np.diag(self.covariance)
        errors = np.sqrt(np.where(variances > 0, variances, np.nan))
        return pd.Series(errors, index=list(self.names), name="std_errors")

    @property
    def tstats(self) -> pd.Series:
        """Estimates over standard errors (asymptotically standard normal)."""
        return (self.params / self.std_errors).rename("tstats")

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p values from the standard normal distribution."""
        return pd.Series(
            2.0 * ndtr(-np.abs(self.tstats.to_numpy())), index=list(self.names), name="pvalues"
        )

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Return confidence intervals, columns "lower" and "upper"."""
        if isinstance(level, str) or not 0.0 < level < 1.0:
            raise OptionError(f"level={level!r} must lie between 0 and 1, for example 0.95.")
        half = ndtri(0.5 + level / 2.0) * self.std_errors
        return pd.DataFrame({"lower": self.params - half, "upper": self.params + half})

    @property
    def rho(self) -> float | None:
        """Coefficient of Wy, or None."""
        return float(self.params["rho"]) if self.spec.has_lag else None

    @property
    def lam(self) -> float | None:
        """Coefficient of the spatial error process, or None."""
        return float(self.params["lambda"]) if self.spec.has_error else None

    @property
    def sigma2(self) -> float:
        """Variance of the innovations."""
        return float(self.params["sigma2"])

    @property
    def aic(self) -> float:
        """Akaike's criterion; counts the parameters listed, not the fixed effects."""
        return -2.0 * self.loglik + 2.0 * len(self.names)

    @property
    def bic(self) -> float:
        """Schwarz's criterion; counts the parameters listed and the effective observations."""
        return float(-2.0 * self.loglik + np.log(self.n_effective) * len(self.names))

    @cached_property
    def resids(self) -> pd.Series:
        """Innovations, by (entity, time)."""
        data = self.workspace.data
        return data.panel.series(self.resid, "resids", data.cells)

    @cached_property
    def fitted_values(self) -> pd.Series:
        """The outcome less the innovations: fixed effects and spatial lags included."""
        data = self.workspace.data
        return data.panel.series(data.y - self.resid, "fitted_values", data.cells)

    @property
    def rsquared(self) -> float:
        """``1 - SSR / TSS`` around the grand mean: what the fixed effects explain counts."""
        y = self.workspace.data.y[self.workspace.data.cells]
        return float(1.0 - (self.resid**2).sum() / ((y - y.mean()) ** 2).sum())

    @property
    def missing(self) -> pd.MultiIndex:
        """The (entity, time) cells that were left out for lack of data."""
        data = self.workspace.data
        return data.panel.index(~data.cells)

    @property
    def regressors(self) -> tuple[str, ...]:
        """Names of the regressors, without the intercept and without lags."""
        return self.workspace.data.regressors

    def position(self, name: str) -> int | None:
        """Position of a parameter, or None when the model does not have it."""
        return self.names.index(name) if name in self.names else None

    def impacts(
        self,
        *,
        method: str = "delta",
        draws: int = 1000,
        seed: int | np.random.Generator | None = 0,
        level: float = 0.95,
    ) -> Impacts:
        """Return direct, indirect and total effects. See :func:`spatial_agglo.impacts.impacts`."""
        from spatial_agglo.impacts import impacts

        return impacts(self, method=method, draws=draws, seed=seed, level=level)

    @property
    def summary(self) -> str:
        """The estimates as a table of text."""
        from spatial_agglo.report.tables import summary

        return summary(self)

    def _repr_html_(self) -> str:
        from spatial_agglo.report.tables import summary_html

        return summary_html(self)

    def __repr__(self) -> str:
        spatial = "".join(
            f", {name}={self.params[name]:.4f}" for name in ("rho", "lambda") if name in self.names
        )
        return (
            f"FitResult({self.model}: {self.formula!r}, effects={self.spec.effects!r}, "
            f"likelihood={self.spec.likelihood!r}{spatial}, loglik={self.loglik:.3f}, "
            f"nobs={self.nobs})"
        )


def has_intercept(fit: FitResult) -> bool:
    """Tell whether a fit has an intercept among its parameters."""
    return bool(fit.names) and fit.names[0] == INTERCEPT
