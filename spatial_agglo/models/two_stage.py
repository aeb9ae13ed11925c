"""The result of two-stage least squares: a FitResult with the tests of its instruments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from spatial_agglo.models import first_stage as stage
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.workspace import Workspace

#: Columns of a table of tests, as everywhere in the package.
TESTS = ["statistic", "df", "p_value"]


@dataclass(frozen=True)
class Unadjusted:
    """Covariance for independent errors of one variance: ``sigma2 (X^'X^)^-1``."""

    name: ClassVar[str] = "unadjusted"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class TwoStageResult(FitResult):
    """A model fitted by two-stage least squares.

    It is a :class:`FitResult` without a likelihood (``loglik``, ``aic`` and ``bic`` are NaN)
    and with ``sigma2 = e'e / (cells - fixed effects - coefficients)`` outside the parameters.

    Attributes
    ----------
    endogenous : tuple of str
        The regressors that are instrumented; ``W*y`` is that of rho.
    instruments : tuple of str
        The instruments outside the equation. Exogenous regressors instrument themselves.
    strength : FirstStage
        The numbers behind ``first_stage`` and ``underidentification``.
    tests : tuple of (table, name, statistic, df)
        The numbers behind ``overidentification`` and ``endogeneity``.
    variance : float
        ``sigma2``.
    """

    endogenous: tuple[str, ...]
    instruments: tuple[str, ...]
    strength: stage.FirstStage
    tests: tuple[tuple[str, str, float, int], ...]
    variance: float

    @property
    def sigma2(self) -> float:
        """Variance of the errors: SSR over cells less fixed effects less coefficients."""
        return self.variance

    @property
    def first_stage(self) -> pd.DataFrame:
        """Strength of the instruments, one row per endogenous regressor.

        ``rsquared`` of the first stage (effects removed); ``partial_rsquared`` of the outside
        instruments; their ``F`` with ``df`` and ``df_resid`` degrees of freedom and its
        ``p_value``; ``conditional_F`` and ``conditional_p``: Sanderson & Windmeijer (2016),
        the strength for this regressor when the others are instrumented too, the number to
        look at with several endogenous regressors. All follow ``cov``.
        """
        s = self.strength
        columns = {
            "rsquared": s.rsquared,
            "partial_rsquared": s.partial_rsquared,
            "F": s.F,
            "df": s.df,
            "df_resid": s.df_resid,
            "p_value": s.p_value,
            "conditional_F": s.conditional,
            "conditional_p": s.conditional_p,
        }
        return pd.DataFrame(columns, index=pd.Index(self.endogenous, name="endogenous"))

    @property
    def underidentification(self) -> pd.DataFrame:
        """Test that the instruments do not identify the model, all regressors together.

        Cragg-Donald (cov="unadjusted") or Kleibergen-Paap rk (else), Wald form, chi-squared;
        ``F`` is the statistic over the number of instruments, what the tables of critical
        values for weak instruments speak of.
        """
        name = "Cragg-Donald" if self.spec.cov.name == Unadjusted.name else "Kleibergen-Paap rk"
        statistic, df = self.strength.rank
        table = _table([(name, statistic, df)])
        table["F"] = statistic / self.strength.df
        return table

    @property
    def overidentification(self) -> pd.DataFrame:
        """Test that the instruments are uncorrelated with the errors; needs more than enough.

        ``cov="unadjusted"``: Sargan, ``(cells - fixed effects)`` times the R2 of the residuals
        on the instruments. Else: Hansen's J at the two-step GMM estimate, whose weights are the
        covariance of the moments at the 2SLS residuals, robust, clustered, ... as ``cov``.
        Empty when the model is exactly identified.
        """
        return self._tests("overidentification")

    @property
    def endogeneity(self) -> pd.DataFrame:
        """Durbin-Wu-Hausman tests that regressors are exogenous, together and each.

        Wald tests, under ``cov``, of the first-stage residuals added to the equation; in the
        test of one regressor the others stay instrumented.
        """
        return self._tests("endogeneity")

    def _tests(self, which: str) -> pd.DataFrame:
        return _table([row for table, *row in self.tests if table == which])

    def __repr__(self) -> str:
        return (
            f"TwoStageResult({self.model}: {self.formula!r}, effects={self.spec.effects!r}, "
            f"cov={self.spec.cov.name!r}, {len(self.endogenous)} endogenous, "
            f"{len(self.instruments)} instruments, nobs={self.nobs})"
        )


def outside_space(values: np.ndarray, names: tuple[str, ...], space: Workspace) -> str:
    """Say that rho lies where ``I - rho W`` may be singular, or return an empty string."""
    if "rho" not in names or space.weights is None:
        return ""
    rho = float(values[names.index("rho")])
    matrices = space.weights.matrices
    reach = max(float(abs(W.matrix).sum(axis=1).max()) for W in matrices)
    if abs(rho) * reach < 1.0:  # no eigenvalue is larger than the largest row sum
        return ""
    ends = [W.logdet.interval for W in matrices]
    low, high = max(end[0] for end in ends), min(end[1] for end in ends)
    if low < rho < high:
        return ""
    return f"rho = {rho:.4f} lies outside the parameter space ({low:.4g}, {high:.4g})"


def _table(rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Return tests in the shape of the package's other tests."""
    data = {name: (value, df, stage.chi2_p(value, df)) for name, value, df in rows}
    frame = pd.DataFrame.from_dict(data, orient="index", columns=TESTS)
    frame.index.name = "test"
    return frame.astype({"statistic": float, "df": "Int64", "p_value": float})
