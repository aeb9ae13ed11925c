"""regimes: one model whose coefficients differ between groups, and the test that they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.core.moments import lag
from spatial_agglo.core.within import removes_entity, removes_time
from spatial_agglo.errors import (
    FormulaError,
    IdentificationError,
    OptionError,
    WeightsError,
    check_list,
    check_option,
    listing,
)
from spatial_agglo.formula import INTERCEPT, Variables, variables
from spatial_agglo.impacts.effects import Impacts
from spatial_agglo.impacts.hypotheses import wald
from spatial_agglo.models.fitting import fit as fit_model
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import MODELS, ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel
from spatial_agglo.robustness.regime_impacts import regime_impacts
from spatial_agglo.robustness.samples import as_text, groups_of, ordered

if TYPE_CHECKING:
    from spatial_agglo.report.table import Table

#: The model whose extra regressors are the lags by group: these are made here.
WITHOUT_LAGS = {"slx": "ols", "sdm": "sar", "sdem": "sem", "gns": "sac"}
ALL = "all"


def regimes(
    model: str,
    formula: str,
    panel: Panel,
    W: Any = None,
    *,
    groups: Any,
    vary: Sequence[str] | None = None,
    durbin: Sequence[str] | None = None,
    effects: str = "two-way",
    likelihood: str = "transformed",
    cov: Any = "observed",
) -> Regimes:
    """Estimate one model whose coefficients differ between groups; rho and lambda are common.

    ::

        y_it = rho (Wy)_it + x_it beta_g(it) + (Wx)_it theta_g(it) + c_g + alpha_it + e_it

    The group is that of the unit whose outcome it is: ``theta_g`` is what units of group g take
    up from their neighbours, of whatever group these are. W is not cut, so that spillovers
    cross the borders of groups, and the variance is common.

    A rho for every group would need the log-determinant of ``I - sum_g rho_g D_g W``, which is
    not a function of one number: it is not offered. Where spillovers do not cross groups,
    :func:`spatial_agglo.by_group` has a rho for each.

    Parameters
    ----------
    model : {"ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns"}
    formula : str
    panel : Panel
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
    groups : column or key of the panel, or mapping from entity to group
        Constant over time (regions), the same for all units (before and after), or neither.
    vary : list of str, optional
        Regressors whose coefficients differ; all by default.
    durbin : list of str, optional
        Regressors whose spatial lag enters; all by default in models that lag regressors.
    effects, likelihood, cov : as for the estimators

    Returns
    -------
    Regimes
        Parameters are labelled ``x[group]``, ``W*x[group]``; those in common as usual. Unless
        the effects absorb them there are intercepts by group; with fixed effects that leave
        some, relative to the first group.

    Raises
    ------
    OptionError
        Unknown model, or names in ``vary`` or ``durbin`` that are no regressors.
    DataError
        Rows without a group, fewer than two groups or too many, names that read the same.
    IdentificationError
        A regressor that the effects absorb within a group.

    References
    ----------
    Chow (1960); Anselin (1990), Spatial dependence and spatial structural instability in applied
    regression analysis.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> df = sa.datasets.cigarettes().assign(late=lambda d: d.year > 1977)
    >>> panel = sa.Panel(df, entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> found = regimes("sdm", "logc ~ logp + logy", panel, W, groups="late")
    >>> list(found.params.index[:4])
    ['logp[False]', 'logp[True]', 'logy[False]', 'logy[True]']
    >>> found.tests()["df"].to_dict()
    {'logp': 1, 'logy': 1, 'W*logp': 1, 'W*logy': 1, 'all': 4}
    """
    check_option("model", model, MODELS)
    data = variables(formula, panel)
    if not data.regressors:
        raise FormulaError(
            f"The formula {formula!r} has no regressor whose coefficient could vary."
        )
    lagged = ModelSpec.of(model, durbin=durbin).lagged(data)
    varying = _varying(data, vary)
    labels, kind = groups_of(panel, groups, len(varying) + 1)
    found = ordered(labels)
    names = as_text(found)
    masks = np.stack([_cells(panel, labels == group) for group in found])
    spec = ModelSpec.of(
        WITHOUT_LAGS.get(model, model), effects=effects, likelihood=likelihood, cov=cov
    )
    columns = _columns(data, W, lagged, varying, names, masks)
    intercepts = _intercepts(data, spec, kind, names, masks)
    inner = _inner(data, {**intercepts, **columns})
    fit = fit_model(spec, Workspace(inner, W))
    # fit.impacts() would take the lags by group for regressors: without names it has none
    fit = replace(fit, details={**fit.details, "auxiliary": inner.regressors})
    return Regimes(
        model=model,
        groups=tuple(names),
        kind=kind,
        fit=fit,
        varying=tuple(varying),
        regressors=data.regressors,
        lagged=lagged,
        intercepts=tuple(intercepts),
        masks=masks,
        data=data,
    )


@dataclass(frozen=True, eq=False)
class Regimes:
    """A model with coefficients by group.

    Attributes
    ----------
    model : str
    groups : tuple of str
    kind : {"unit", "period", "cell"}
        What the groups part.
    fit : FitResult
        The one regression behind it, in which the lags of regressors by group are regressors
        of their own. Its ``impacts()`` are empty: those of the groups are :meth:`impacts`.
    varying, regressors, lagged : tuple of str
        Regressors whose coefficients differ; all of them; those whose spatial lag enters.
    intercepts : tuple of str
        Names of the intercepts by group.
    """

    model: str
    groups: tuple[str, ...]
    kind: str
    fit: FitResult
    varying: tuple[str, ...]
    regressors: tuple[str, ...]
    lagged: tuple[str, ...]
    intercepts: tuple[str, ...]
    masks: NDArray = field(repr=False)
    data: Variables = field(repr=False)

    @property
    def params(self) -> pd.Series:
        """Estimates."""
        return self.fit.params

    @property
    def std_errors(self) -> pd.Series:
        """Standard errors."""
        return self.fit.std_errors

    @property
    def rho(self) -> float | None:
        """Coefficient of Wy, common to the groups, or None."""
        return self.fit.rho

    def name(self, term: str, group: str) -> str:
        """Return the label of the parameter that a term has in a group."""
        check_option("group", group, self.groups)
        own = f"{term}[{group}]"
        return own if own in self.fit.names else term

    def to_frame(self) -> pd.DataFrame:
        """Return one row per term and group: estimate, se, z, p_value, lower, upper."""
        fit, ends = self.fit, self.fit.conf_int()
        rows = {
            (term, group): self.name(term, group)
            for term in (*self.regressors, *(f"W*{name}" for name in self.lagged))
            for group in self.groups
        }
        names = list(rows.values())
        columns = {
            "estimate": fit.params[names],
            "se": fit.std_errors[names],
            "z": fit.tstats[names],
            "p_value": fit.pvalues[names],
            "lower": ends.loc[names, "lower"],
            "upper": ends.loc[names, "upper"],
        }
        index = pd.MultiIndex.from_tuples(rows, names=["term", "group"])
        return pd.DataFrame(
            {key: values.to_numpy() for key, values in columns.items()}, index=index
        )

    def tests(self) -> pd.DataFrame:
        """Test that coefficients are equal in all groups (Wald; Chow's test in one model).

        Returns
        -------
        DataFrame
            A row for every term that varies, and "all" for all of them together, the intercepts
            by group included; columns ``statistic``, ``df``, ``p_value``. Restrictions that are
            as many as the covariance has clusters, or not independent, cannot be tested: NaN, and
            ``.attrs["note"]`` says so.
        """
        terms = [name for name in self.regressors if name in self.varying]
        terms += [f"W*{name}" for name in self.lagged if name in self.varying]
        rows = {term: self._contrast([f"{term}[{g}]" for g in self.groups]) for term in terms}
        every = [*rows.values()]
        if self.intercepts:
            relative = len(self.intercepts) < len(self.groups)
            every.append(self._contrast(self.intercepts, relative))
        rows[ALL] = np.vstack(every)
        V = np.where(np.isnan(self.fit.covariance), 0.0, self.fit.covariance)
        frames, notes = [], []
        for name, R in rows.items():
            try:
                frames.append(wald(self.fit.values, V, {name: R}, self.fit.details.get("clusters")))
            except IdentificationError as error:
                frames.append(wald(self.fit.values, V * np.nan, {name: R}, None))
                notes.append(f"no test of {name!r}: {error}")
        out = pd.concat(frames)
        if notes:
            out.attrs["note"] = " ".join(notes)
        return out

    def _contrast(self, names: Sequence[str], relative: bool = False) -> NDArray:
        """Return the rows that subtract the first parameter from the others, or pick each."""
        at = [self.fit.names.index(name) for name in names]
        R = np.zeros((len(at), self.fit.values.size))
        R[np.arange(len(at)), at] = 1.0
        if relative:
            return R
        R[:, at[0]] -= 1.0
        return R[1:]

    def impacts(self, *, level: float = 0.95) -> dict[str, Impacts]:
        """Return direct, indirect and total effects on the units of every group.

        See :func:`spatial_agglo.robustness.regime_impacts.regime_impacts`.
        """
        return regime_impacts(self, level)

    def table(self, *, parentheses: str = "z", decimals: int = 4) -> Table:
        """Return the coefficients by group with the tests that they are equal.

        See :func:`spatial_agglo.report.robustness_tables.regimes_table`.
        """
        from spatial_agglo.report.robustness_tables import regimes_table

        return regimes_table(self, parentheses=parentheses, decimals=decimals)

    def _repr_html_(self) -> str:
        return self.table().to_html()

    def __repr__(self) -> str:
        return f"Regimes({self.model}, groups {listing(self.groups)})\n{self.table()}"


# --- regressors by group --------------------------------------------------------------------


def _varying(data: Variables, vary: Sequence[str] | None) -> list[str]:
    if vary is None:
        return list(data.regressors)
    if not check_list("vary", vary):
        raise OptionError(f"vary must name at least one of: {listing(data.regressors, 20)}.")
    unknown = [name for name in vary if name not in data.regressors]
    if unknown:
        raise OptionError(
            f"vary names {listing(unknown)}, not among the regressors "
            f"{listing(data.regressors, 20)}."
        )
    return [name for name in data.regressors if name in vary]


def _cells(panel: Panel, chosen: pd.Series) -> NDArray:
    """Return the rows that are chosen as a mask of cells, shape (T, N)."""
    mask: NDArray = panel.arrange(chosen.to_numpy(dtype=float)) == 1.0
    return mask


def _columns(
    data: Variables,
    W: Any,
    lagged: Sequence[str],
    varying: Sequence[str],
    groups: Sequence[str],
    masks: NDArray,
) -> dict[str, NDArray]:
    """Return regressors and their lags, by group where they vary."""
    terms = {name: data.X[:, :, j] for j, name in enumerate(data.regressors)}
    if lagged:
        if W is None:
            raise WeightsError("This model needs spatial weights W; got None.")
        weights = Workspace(data, W).operators["W"]
        at = [data.regressors.index(name) for name in lagged]
        lags = lag(weights, np.ascontiguousarray(data.X[:, :, at]))
        terms |= {f"W*{name}": lags[:, :, j] for j, name in enumerate(lagged)}
    out = {}
    for term, values in terms.items():
        if term.removeprefix("W*") in varying:
            for group, mask in zip(groups, masks, strict=True):
                out[f"{term}[{group}]"] = np.where(mask, values, 0.0)
        else:
            out[term] = values
    return out


def _intercepts(
    data: Variables, spec: ModelSpec, kind: str, groups: Sequence[str], masks: NDArray
) -> dict[str, NDArray]:
    """Return dummies of the groups that the effects do not absorb."""
    absorbed = (kind == "unit" and removes_entity(spec.fixed)) or (
        kind == "period" and removes_time(spec.fixed)
    )
    if absorbed or (spec.fixed == "none" and not data.intercept):
        return {}
    made = {
        f"{INTERCEPT}[{group}]": mask.astype(float)
        for group, mask in zip(groups, masks, strict=True)
    }
    if spec.fixed != "none":  # they absorb a constant
        del made[f"{INTERCEPT}[{groups[0]}]"]
    return made


def _inner(data: Variables, columns: Mapping[str, NDArray]) -> Variables:
    """Return the variables of the one regression."""
    names = tuple(columns)
    own = any(name.startswith(f"{INTERCEPT}[") for name in names)
    return replace(
        data,
        regressors=names,
        X=np.stack(list(columns.values()), axis=2),
        intercept=data.intercept and not own,
    )
