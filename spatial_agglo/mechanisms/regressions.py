"""Panel regressions side by side: controls step by step, samples, estimators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spatial_agglo.core.within import removes_entity, removes_time
from spatial_agglo.errors import DataError, OptionError, SpatialAggloError, listing
from spatial_agglo.formula import variables
from spatial_agglo.models.covariances import Clustered
from spatial_agglo.models.estimators import ols
from spatial_agglo.models.kernels import cluster_labels
from spatial_agglo.models.results import FitResult
from spatial_agglo.panel import Panel, as_term

if TYPE_CHECKING:
    from spatial_agglo.report.table import Table


def stepwise(
    formula: str,
    panel: Panel,
    controls: Sequence[str | Sequence[str]],
    *,
    effects: str = "two-way",
    cov: Any = "clustered",
    common: bool = True,
) -> Regressions:
    """Estimate a panel regression, then again with every further step of controls.

    ::

        y_it = x_it beta + w_it gamma + c_i + alpha_t + e_it,   w none, then more step by step

    Every column is :func:`spatial_agglo.ols`; nothing is chosen by a test.

    Parameters
    ----------
    formula : str
        ``"y ~ x"``, what stands in every column.
    panel : Panel
        Lagged regressors are columns of it: ``panel.lag("x", [1, 2, 3])``.
    controls : list of str or of lists of str
        Terms that are added, one step each; a list is one step of several. What is the name of
        a column is that column, however it is spelled.
    effects : {"two-way", "entity", "time", "none", "random"}
    cov : str or record of options
        "clustered" (by entity) by default, where :func:`spatial_agglo.ols` has "observed"; all
        others as there.
    common : bool
        Whether all columns use the cells that have every variable of the last one. On a panel
        that was declared with ``unbalanced="allow"`` False lets every column use what it has.

    Returns
    -------
    Regressions
        Columns "(1)", "(2)", ....

    Raises
    ------
    OptionError
        No controls, or controls that are no terms, or in the formula or in two steps.
    FormulaError, DataError, IdentificationError
        As for :func:`spatial_agglo.ols`; the column is named.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> found = stepwise("logc ~ logp", panel, ["logy", "np.log(pop)"])
    >>> found.to_frame()["estimate"].xs("logp", level="term").round(3).to_dict()
    {'(1)': -1.102, '(2)': -1.035, '(3)': -1.033}
    """
    steps = _steps(controls)
    if isinstance(panel, Panel):  # else the first formula says what is wrong
        steps = [[as_term("controls", term, panel.columns) for term in step] for step in steps]
    if not isinstance(common, bool):
        raise OptionError(f"common={common!r} must be True or False.")
    formulas = [formula]
    for step in steps:
        formulas.append(f"{formulas[-1]} + {' + '.join(step)}")
    _check_added(formulas, steps, panel)
    if common:
        panel = _with_all(formulas[-1], panel)
    fits = {}
    for number, text in enumerate(formulas, 1):
        name = f"({number})"
        try:
            fits[name] = ols(text, panel, effects=effects, cov=cov)
        except SpatialAggloError as error:
            raise type(error)(f"Column {name}, {text!r}: {error}") from error
    return side_by_side(fits)


def side_by_side(fits: Mapping[str, FitResult]) -> Regressions:
    """Put fits next to one another: sub-samples, outcomes, lags, least squares and FE-2SLS.

    Parameters
    ----------
    fits : mapping of str to FitResult
        By heading of the column; of models without spatial terms. For sub-samples
        ``spatial_agglo.by_group(...).fits``.

    Returns
    -------
    Regressions

    Raises
    ------
    DataError
        There is no fit, or one with spatial terms; headings that are written alike.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> df = sa.datasets.cigarettes().assign(late=lambda d: d.year > 1977)
    >>> panel = sa.Panel(df, entity="state", time="year")
    >>> groups = sa.by_group(sa.ols, "logc ~ logp + logy", panel, groups="late", cov="clustered")
    >>> side_by_side(groups.fits).statistics["nobs"].to_dict()
    {'False': 690, 'True': 690}
    """
    if not isinstance(fits, Mapping) or not fits:
        raise DataError("A mapping of headings to fits is needed, with at least one fit.")
    for name, fit in fits.items():
        if not isinstance(fit, FitResult):
            raise DataError(f"{name!r} is not a fit but {type(fit).__name__}.")
        if fit.spec.spatial or fit.spec.has_durbin or fit.spec.dynamic is not None:
            raise DataError(
                f"{name!r} has spatial or dynamic terms ({fit.model}); spatial models stand side "
                "by side in report.results_table({...})."
            )
    headings = [str(name) for name in fits]
    alike = sorted({name for name in headings if headings.count(name) > 1})
    if alike:
        raise DataError(
            f"Headings must differ as they are written; {listing(alike)} stands for several."
        )
    return Regressions(MappingProxyType(dict(zip(headings, fits.values(), strict=True))))


@dataclass(frozen=True, eq=False)
class Regressions:
    """Regressions side by side.

    Attributes
    ----------
    fits : mapping of str to FitResult
        In the order of the columns.
    """

    fits: Mapping[str, FitResult]

    def __getitem__(self, name: str) -> FitResult:
        if not isinstance(name, str) or name not in self.fits:
            raise OptionError(f"There is no column {name!r}; there are {listing(self.fits, 20)}.")
        return self.fits[name]

    def __len__(self) -> int:
        return len(self.fits)

    def to_frame(self) -> pd.DataFrame:
        """Return all coefficients: a row per column and term.

        Returns
        -------
        DataFrame
            Index (column, term); ``estimate``, ``se``, ``t``, ``p_value``. Variances are left
            out.
        """
        parts = {}
        for name, fit in self.fits.items():
            random = fit.spec.effects == "random"  # else phi is a regressor's name
            variances = ("sigma2", "phi") if random else ("sigma2",)
            terms = [term for term in fit.names if term not in variances]
            parts[name] = pd.DataFrame(
                {
                    "estimate": fit.params[terms],
                    "se": fit.std_errors[terms],
                    "t": fit.tstats[terms],
                    "p_value": fit.pvalues[terms],
                }
            )
        return pd.concat(parts, names=["column", "term"])

    @property
    def statistics(self) -> pd.DataFrame:
        """What stands below the coefficients, a row per column.

        ``outcome``; ``entity_effects`` and ``time_effects``, whether there are fixed ones;
        ``nobs``, ``entities``, ``periods``; ``rsquared_within``, of what the fixed effects leave
        of the outcome (NaN with random effects), and ``rsquared``, of all its variation, what
        the fixed effects explain included; ``clusters``, their smallest number in any
        direction, missing without.
        """
        rows = {}
        for name, fit in self.fits.items():
            spec, data = fit.spec, fit.workspace.data
            random = spec.effects == "random"
            rows[name] = {
                "outcome": data.outcome,
                "entity_effects": removes_entity(spec.fixed),
                "time_effects": removes_time(spec.fixed),
                "nobs": fit.nobs,
                "entities": int(data.cells.any(axis=0).sum()),
                "periods": int(data.cells.any(axis=1).sum()),
                "rsquared_within": np.nan if random else fit.rsquared_within,
                "rsquared": fit.rsquared,
                "clusters": _clusters(fit),
            }
        out = pd.DataFrame.from_dict(rows, orient="index")
        out.index.name = "column"
        return out.astype({"clusters": "Int64"})

    def table(self, **options: Any) -> Table:
        """Lay the columns out as papers do. See :func:`spatial_agglo.report.regression_table`."""
        from spatial_agglo.report.regression_tables import regression_table

        return regression_table(self, **options)

    def _repr_html_(self) -> str:
        return self.table().to_html()

    def __repr__(self) -> str:
        return f"Regressions({listing(self.fits, 20)})"


def _steps(controls: Sequence[str | Sequence[str]]) -> list[list[str]]:
    """Return the terms of every step, each once."""
    if isinstance(controls, str) or not isinstance(controls, Iterable):
        raise OptionError(
            f"controls must be a list of terms, or of lists of terms; got {controls!r}."
        )
    steps = [
        list(step) if isinstance(step, Iterable) and not isinstance(step, str) else [step]
        for step in controls
    ]
    terms = [term for step in steps for term in step]
    if not terms or not all(steps) or not all(isinstance(term, str) for term in terms):
        raise OptionError(
            "controls must name at least one term in every step, as in ['x1', ['x2', 'x3']]; got "
            f"{controls!r}."
        )
    twice = sorted({term for term in terms if terms.count(term) > 1})
    if twice:
        raise OptionError(f"controls name {listing(twice)} more than once.")
    return steps


def _check_added(formulas: list[str], steps: list[list[str]], panel: Panel) -> None:
    """Raise when a step adds nothing to the regressors: it would repeat the column before."""
    before = variables(formulas[0], panel).regressors
    for text, step in zip(formulas[1:], steps, strict=True):
        now = variables(text, panel).regressors
        if len(now) < len(before) + len(step):
            raise OptionError(
                f"The step {step!r} adds {len(now) - len(before)} regressor(s) to {list(before)}: "
                "a control is in the formula already."
            )
        before = now


def _with_all(formula: str, panel: Panel) -> Panel:
    """Return the part of a panel that has every variable of a formula."""
    found = variables(formula, panel)
    if found.observed is None:
        return panel
    return Panel(panel.frame[found.observed[panel.present]], unbalanced="allow")


def _clusters(fit: FitResult) -> int | None:
    """Return the smallest number of clusters among the cells that are used."""
    cov, data = fit.spec.cov, fit.workspace.data
    if not isinstance(cov, Clustered):
        return None
    return min(
        int(np.unique(cluster_labels(data.panel, by, data.cells)[data.cells]).size) for by in cov.by
    )
