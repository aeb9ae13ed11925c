"""Two-stage least squares with fixed effects, and what there is to say of its instruments."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtrc, fdtrc

from spatial_agglo.errors import FormulaError, OptionError, listing
from spatial_agglo.formula import INTERCEPT
from spatial_agglo.mechanisms import anderson_rubin as ar
from spatial_agglo.mechanisms.critical_values import BIASES, SIZES, critical_values
from spatial_agglo.models import estimators
from spatial_agglo.models import first_stage as stage
from spatial_agglo.models.gmm import estimated, prepared
from spatial_agglo.models.instruments import Design, names_of
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.two_stage import TESTS, TwoStageResult, Unadjusted
from spatial_agglo.panel import Panel

LM, WALD, CRAGG = "Kleibergen-Paap rk LM", "Kleibergen-Paap rk Wald F", "Cragg-Donald Wald F"
ANDERSON = "Anderson canonical correlations LM"


def fe2sls(
    formula: str,
    panel: Panel,
    W: None = None,
    *,
    endogenous: Sequence[str],
    instruments: Sequence[str],
    effects: str = "two-way",
    cov: Any = "clustered",
) -> IVResult:
    """Estimate a panel regression with fixed effects by two-stage least squares (FE-2SLS).

    ::

        y_it = Y_it gamma + X_it beta + c_i + alpha_t + e_it
        Y_it = Z_it pi + X_it delta + d_i + eta_t + v_it

    The effects are taken out of all variables, which is 2SLS with dummies. This is
    :func:`spatial_agglo.stsls` without W, with more to say of the instruments.

    Parameters
    ----------
    formula : str
        ``"y ~ p + x1 + x2"``, the endogenous regressors included.
    panel : Panel
        For a lagged regressor as an instrument: ``panel.lag("p")``, then
        ``instruments=["p_lag1"]``.
    W : None
        There are none here; the place that every estimator has, so that
        :func:`spatial_agglo.by_group` can be told to use this one. With weights: ``stsls``.
    endogenous : list of str
        Regressors of the formula that are correlated with the errors; every term that contains
        one of them (its square, its products) with it.
    instruments : list of str
        Columns, or terms as in a formula (``"np.log(z)"``), that are not in the equation: at
        least as many as endogenous regressors.
    effects : {"two-way", "entity", "time", "none"}
    cov : str or record of options
        Default "clustered" (by entity; ``Clustered([...])`` for columns and two ways), where
        ``stsls`` has "robust" and ``ols`` "observed". Also "robust", "unadjusted" (independent
        errors of one variance), "driscoll-kraay", ``Conley(...)``. With n cells, m fixed effects
        (two-way: N + T - 1), ``free = n - m`` and k coefficients: "unadjusted" has ``e'e / (free
        - k)``, "robust" White's times ``n / (free - k)``, and "clustered", with G clusters and
        m* of the effects not within clusters, the sum over clusters times ``max(G / (G - 1), n
        / (n - m*)) free / (free - k)``.

    Returns
    -------
    IVResult

    Raises
    ------
    OptionError
        No endogenous regressors or no instruments; names that are not in the formula, terms with
        an endogenous regressor that are not named, instruments that are in the formula.
    IdentificationError
        Too few instruments; instruments or regressors that are collinear, absorbed by the
        effects, or tell nothing (named).
    FormulaError, DataError
        The formula or the data cannot be used.

    References
    ----------
    Baltagi (2021), Econometric Analysis of Panel Data, section 7.1. Kleibergen & Paap (2006),
    Journal of Econometrics 133(1), 97-126. Stock & Yogo (2005). Anderson & Rubin (1949).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year").lag("logp")
    >>> fit = fe2sls(
    ...     "logc ~ logp + logy", panel, endogenous=["logp"], instruments=["logp_lag1"]
    ... )
    >>> fit.params.round(3).to_dict()
    {'logp': -1.383, 'logy': 0.442}
    >>> fit.weak_instruments["statistic"].round(1).tolist()
    [20.2, 380.8, 1087.0]
    >>> fit.anderson_rubin_set()
    [-1.90333, -0.785]
    """
    if W is not None:
        raise OptionError(
            "fe2sls has no spatial terms, so it takes no W. Leave it out, or use stsls(formula, "
            "panel, W, endogenous=[...], instruments=[...])."
        )
    for option, given in (("endogenous", endogenous), ("instruments", instruments)):
        if not names_of(option, given):
            raise OptionError(
                f"{option}=[...] is empty. Two-stage least squares needs endogenous regressors of "
                "the formula and instruments from outside it; without them use ols(...)."
            )
    parts = prepared(
        formula,
        panel,
        None,
        model="ols",
        effects=effects,
        endogenous=endogenous,
        instruments=instruments,
        cov=cov,
    )
    found = estimated(*parts)
    whole = {field.name: getattr(found, field.name) for field in fields(found)}
    return IVResult(**whole, design=parts[2], errors=parts[3])


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class IVResult(TwoStageResult):
    """A panel regression fitted by two-stage least squares.

    It is a :class:`FitResult` without a likelihood, with ``first_stage``, ``underidentification``,
    ``overidentification`` and ``endogeneity`` of :class:`TwoStageResult`, and more.

    Attributes
    ----------
    design : Design
        The projected data.
    errors : Errors
        How the errors may vary.
    """

    design: Design
    errors: stage.Errors

    @cached_property
    def weak_instruments(self) -> pd.DataFrame:
        """Tests of the instruments' relevance, and critical values for their strength.

        "Kleibergen-Paap rk LM": of the hypothesis that the model is not identified, chi-squared
        (with ``cov="unadjusted"`` Anderson's); its covariance has the factor of ``cov`` without
        a count of coefficients, where ivreg2 has none. "Kleibergen-Paap rk Wald F": of the
        same hypothesis, the Wald statistic over the number of instruments, ``df``; with one
        endogenous regressor the first-stage F. "Cragg-Donald Wald F": the same for
        independent errors of one variance. The F have no p value: they are held against the
        critical values of Stock & Yogo (2005), columns "size 10%" to "bias 30%", see
        :func:`critical_values`. Why there is none says column ``reason``.
        """
        reduced = stage.reduced_form(self.design.Q, self.design.X, self.design.endogenous)
        q, k, m = self.design.Q.shape[1], reduced.Q2.shape[1], len(self.endogenous)
        simple = replace(self.errors, kernel=None)
        score = stage.rank_lm(reduced, self.errors)
        plain = self.spec.cov.name == Unadjusted.name
        strength = {} if plain else {WALD: stage.rank_wald(reduced, self.errors, q) / k}
        strength[CRAGG] = stage.rank_wald(reduced, simple, q) / k
        table = critical_values(m, k)
        reason = "; ".join(table.attrs["reasons"].values())
        df = k - m + 1
        rows: dict[str, list[Any]] = {
            ANDERSON if plain else LM: [
                score,
                df,
                float(chdtrc(df, score)),
                *[np.nan] * 8,
                "chi-squared: has a p value",
            ]
        }
        rows |= {name: [F, k, np.nan, *table, reason] for name, F in strength.items()}
        out = pd.DataFrame.from_dict(
            rows, orient="index", columns=[*TESTS, *SIZES, *BIASES, "reason"]
        )
        out.index.name = "test"
        return out.astype({"df": "Int64"})

    @property
    def anderson_rubin(self) -> pd.DataFrame:
        """Test that the coefficients of all endogenous regressors are zero.

        It is valid with weak instruments. See :meth:`anderson_rubin_test`.
        """
        return self._anderson_rubin(np.zeros(len(self.endogenous)))

    def anderson_rubin_test(self, values: float | Mapping[str, float]) -> pd.DataFrame:
        """Test values of the instrumented coefficients by Anderson & Rubin (1949).

        The instruments must not explain ``y - Y gamma``: valid however weak they are, and it
        rejects as well when they belong into the equation.

        Parameters
        ----------
        values : float or mapping of name to float
            One for every endogenous regressor.

        Returns
        -------
        DataFrame
            Rows "Anderson-Rubin F" and "Anderson-Rubin chi2": ``statistic``, ``df``,
            ``df_resid`` (of F: cells less fixed effects less instruments; clusters less one) and
            ``p_value``. F is chi2 over df, times ``(free - q) / free`` with q instruments,
            exogenous regressors included.

        Examples
        --------
        >>> import spatial_agglo as sa
        >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year").lag("logp")
        >>> fit = fe2sls(
        ...     "logc ~ logp + logy", panel, endogenous=["logp"], instruments=["logp_lag1"]
        ... )
        >>> fit.anderson_rubin_test(-1.0)["p_value"].round(3).tolist()
        [0.192, 0.185]
        """
        if not isinstance(values, Mapping):
            if isinstance(values, bool) or not isinstance(values, Real):
                raise OptionError(
                    "The values to test must be a number or a mapping of names to numbers; got "
                    f"{values!r}."
                )
            values = dict.fromkeys(self.endogenous, float(values))
            if len(values) > 1:
                raise OptionError(
                    f"There are several endogenous regressors, {listing(self.endogenous)}: give a "
                    "value for each, as a mapping."
                )
        if set(values) != set(self.endogenous):
            raise OptionError(
                "Every endogenous regressor needs a value, and nothing else: "
                f"{listing(self.endogenous)}; got {listing(values)}."
            )
        if not all(isinstance(v, Real) and np.isfinite(v) for v in values.values()):
            raise OptionError(f"The values to test must be finite numbers; got {dict(values)!r}.")
        return self._anderson_rubin(np.array([float(values[name]) for name in self.endogenous]))

    def _anderson_rubin(self, values: np.ndarray) -> pd.DataFrame:
        F, chi2 = ar.statistic(self.design, self.errors, values)
        q = self.design.Q.shape[1]
        df, left = len(self.instruments), self.errors.df_test(q)
        rows: dict[str, list[Any]] = {
            "Anderson-Rubin F": [F, df, left, float(fdtrc(df, left, F))],
            "Anderson-Rubin chi2": [chi2, df, pd.NA, float(chdtrc(df, chi2))],
        }
        columns = ["statistic", "df", "df_resid", "p_value"]
        out = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
        out.index.name = "test"
        return out.astype({"df": "Int64", "df_resid": "Int64"})

    def anderson_rubin_set(self, level: float = 0.95) -> ar.ConfidenceSet:
        """Return the values of the only instrumented coefficient that the F test does not reject.

        It covers the true value as often as it says, however weak the instruments: an interval,
        two half-lines, the whole line or nothing. Solved exactly; see
        :func:`spatial_agglo.mechanisms.anderson_rubin.confidence_set`.
        """
        return ar.confidence_set(self.design, self.errors, level)

    @cached_property
    def first_stage_fits(self) -> dict[str, FitResult]:
        """The first-stage regressions, one per endogenous regressor, as ordinary fits.

        Of the same cells, with the same effects and covariance as :func:`spatial_agglo.ols` has
        it, that is without the factor ``free / (free - q)`` of the tests in ``first_stage``.
        """
        data = self.workspace.data
        panel = data.panel
        if data.observed is not None:
            kept = data.cells[panel.present]
            panel = Panel(panel.frame[kept], unbalanced="allow")
        plain = isinstance(self.spec.cov, Unadjusted)
        cov = "expected" if plain else self.spec.cov
        exogenous = [name for name in data.regressors if name not in self.endogenous]
        right = " + ".join(_quoted([*self.instruments, *exogenous], panel))
        if not data.intercept:
            right += " - 1"
        return {
            name: estimators.ols(
                f"{_quoted([name], panel)[0]} ~ {right}",
                panel,
                effects=self.spec.effects,
                cov=cov,
            )
            for name in self.endogenous
        }

    def __repr__(self) -> str:
        return super().__repr__().replace("TwoStageResult(ols", "IVResult(fe2sls", 1)


def _quoted(names: Sequence[str], panel: Panel) -> list[str]:
    """Write names as terms of a formula; categories have columns that are not terms."""
    known: list[Hashable] = panel.columns
    coded = [name for name in names if "[" in name and name not in known]
    if coded or INTERCEPT in names:
        raise FormulaError(
            f"The columns {listing(coded)} of a category are not terms of a formula, so the first "
            "stage has none. Make dummy columns before declaring the panel."
        )
    return [f"`{n}`" if n in known and not n.isidentifier() else n for n in names]
