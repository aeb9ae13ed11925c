"""by_group: the same model for every group of units or periods, and whether they differ."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import (
    DataError,
    FormulaError,
    IdentificationError,
    OptionError,
    SpatialAggloError,
    check_level,
    check_option,
    listing,
)
from spatial_agglo.formula import INTERCEPT, variables
from spatial_agglo.impacts.hypotheses import wald
from spatial_agglo.models import estimators
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import MODELS
from spatial_agglo.panel import Panel
from spatial_agglo.robustness.categories import check_references
from spatial_agglo.robustness.samples import as_text, cut, groups_of, ordered, subpanel

if TYPE_CHECKING:
    from spatial_agglo.report.table import Table

#: What independence of the groups' estimates takes.
ASSUMPTIONS = {
    "unit": "the groups are independent: no spillovers across them (a W is cut at their borders), "
    "no common shocks, errors that are not correlated between groups",
    "period": "the same units in different periods: errors that are not correlated over time",
    "cell": "the groups are independent: errors that are not correlated between groups, in space "
    "or over time",
}
IMPACTS = ("direct", "indirect", "total")
#: Options that are weights, to be cut as W is.
WEIGHTS = ("W_error", "W_durbin")
JOINT = "all coefficients"


def by_group(
    model: str | Callable[..., FitResult],
    formula: str,
    panel: Panel,
    W: Any = None,
    *,
    groups: Any,
    **options: Any,
) -> GroupFits:
    """Estimate a model for every group, with W cut to its units and standardised again.

    Every group has all its parameters to itself: coefficients, rho, effects and variance. For
    one model with some parameters in common see :func:`spatial_agglo.regimes`.

    Parameters
    ----------
    model : str or estimator
        "sdm", or ``sa.sdm``, ``sa.stsls``, or any function with the same arguments.
    formula : str
    panel : Panel
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
        Of all units; None for models without weights.
    groups : column or key of the panel, mapping from entity to group, or of name to sample
        A column that is constant over time parts the units; one that is the same for all units
        parts the periods. Samples are those of :func:`spatial_agglo.sensitivity`, as
        ``{"east": [...], "west": [...]}``.
    **options
        Of the estimator; ``W_error`` and ``W_durbin`` are cut as W is.

    Returns
    -------
    GroupFits

    Raises
    ------
    DataError
        No such column, rows without a group, fewer than two groups or too many, names that read
        the same; a group that is not a balanced panel.
    FormulaError
        A category whose reference is another level in one group than in all of them.
    WeightsError
        Units that lose all their neighbours when W is cut, with what to do.
    SpatialAggloError
        A group on which the model cannot be estimated, named.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> df = sa.datasets.cigarettes().assign(late=lambda d: d.year > 1977)
    >>> panel = sa.Panel(df, entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> found = by_group("sdm", "logc ~ logp + logy", panel, W, groups="late")
    >>> {group: round(fit.rho, 2) for group, fit in found.fits.items()}
    {'False': 0.14, 'True': 0.22}
    >>> bool(found.differences().loc[("coefficient", "rho"), "p_value"] > 0.05)
    True
    """
    estimate = _estimator(model)
    parts, kind = _parts(panel, groups)
    others = {name: options[name] for name in WEIGHTS if options.get(name) is not None}
    fits = {}
    for name, part in parts.items():
        own = None if W is None else cut(W, panel, part, name)
        options |= {key: cut(other, panel, part, name) for key, other in others.items()}
        try:
            fits[name] = estimate(formula, part, own, **options)
        except SpatialAggloError as error:
            raise type(error)(f"Group {name!r}: {error}") from error
        if not isinstance(fits[name], FitResult):
            raise OptionError(
                f"model must return a fit, as sa.sdm does; got {type(fits[name]).__name__}."
            )
    _check_references(formula, panel, fits)
    return GroupFits(fits, kind, _overlap(parts))


@dataclass(frozen=True, eq=False)
class GroupFits:
    """The fits of groups.

    Attributes
    ----------
    fits : mapping of str to FitResult
    kind : {"unit", "period", "cell"}
        What the groups part.
    overlap : int
        Cells that are in more than one group.
    """

    fits: Mapping[str, FitResult]
    kind: str
    overlap: int = 0

    @property
    def assumption(self) -> str:
        """What the tests of the difference take for granted."""
        return ASSUMPTIONS[self.kind]

    def differences(self, *, impacts: bool = True, level: float = 0.95) -> pd.DataFrame:
        """Test that the groups have the same coefficients and the same impacts.

        With estimates ``b_g`` of independent samples and their covariances ``V_g``, the Wald test
        of ``b_1 = ... = b_G``; with two groups ``(b_1 - b_2)' (V_1 + V_2)^-1 (b_1 - b_2)``.

        Parameters
        ----------
        impacts : bool
            Direct, indirect and total effects as well.
        level : float
            Coverage of the intervals of the difference.

        Returns
        -------
        DataFrame
            Index (``kind``, ``name``): "coefficient", "direct", "indirect", "total", "joint".
            Columns ``statistic``, ``df``, ``p_value`` and, for two groups, ``difference`` (first
            less second), ``se``, ``lower``, ``upper``. ``.attrs["assumption"]`` says what the
            tests take for granted. "joint" tests all coefficients but the intercept.

        Raises
        ------
        OptionError
            Groups that share cells, whose estimates are not independent.
        """
        if self.overlap:
            raise OptionError(
                f"{self.overlap} cell(s) are in more than one group, so their estimates are not "
                "independent and the difference cannot be tested in this way. Make groups that do "
                "not overlap; or use sa.regimes for interactions in one model."
            )
        check_level(level)
        rows = {}
        for name in self._shared:
            values = np.array([fit.params[name] for fit in self._fits])
            variances = np.array([fit.cov.loc[name, name] for fit in self._fits])
            rows["coefficient", name] = _equal(values, variances, level)
        if impacts:
            frames = [fit.impacts().to_frame() for fit in self._fits]
            for key in frames[0].index:
                if all(key in frame.index and frame["se"][key] > 0 for frame in frames):
                    values = np.array([frame["estimate"][key] for frame in frames])
                    variances = np.array([frame["se"][key] ** 2 for frame in frames])
                    rows[key] = _equal(values, variances, level)
        names = [name for name in self._shared if name not in (INTERCEPT, "sigma2")]
        rows["joint", JOINT], note = self._joint(names)
        out = pd.DataFrame.from_dict(rows, orient="index")
        out.index = pd.MultiIndex.from_tuples(out.index, names=["kind", "name"])
        out["df"] = out["df"].astype(int)
        out.attrs["assumption"] = self.assumption
        if note:
            out.attrs["note"] = note
        return out

    @cached_property
    def _fits(self) -> list[FitResult]:
        return list(self.fits.values())

    @property
    def _shared(self) -> list[str]:
        """Parameters that every group has."""
        return [name for name in self._fits[0].names if all(name in f.names for f in self._fits)]

    def _joint(self, names: Sequence[str]) -> tuple[dict[str, float], str]:
        """Test that all coefficients are equal; say why where that cannot be."""
        m, G = len(names), len(self._fits)
        values = np.concatenate([fit.params[names].to_numpy() for fit in self._fits])
        V = np.zeros((m * G, m * G))
        for g, fit in enumerate(self._fits):
            block = slice(g * m, (g + 1) * m)
            V[block, block] = fit.cov.loc[names, names].to_numpy()
        clusters = [fit.details.get("clusters") for fit in self._fits]
        known = [count for count in clusters if count is not None]
        try:
            if known and min(known) <= m:
                raise IdentificationError(
                    f"{m} coefficients cannot be compared jointly with a covariance made of "
                    f"{min(known)} clusters in one group."
                )
            row = wald(values, V, {JOINT: _contrasts(G, m)}, None).loc[JOINT]
        except IdentificationError as error:
            missing = {"statistic": np.nan, "df": m * (G - 1), "p_value": np.nan}
            return missing, f"no joint test: {error}"
        return {name: float(row[name]) for name in ("statistic", "df", "p_value")}, ""

    def table(self, *, parentheses: str = "z", decimals: int = 4) -> Table:
        """Return the fits side by side, with the p value of the test that they are equal.

        See :func:`spatial_agglo.report.robustness_tables.groups_table`.
        """
        from spatial_agglo.report.robustness_tables import groups_table

        return groups_table(self, parentheses=parentheses, decimals=decimals)

    def _repr_html_(self) -> str:
        return self.table().to_html()

    def __repr__(self) -> str:
        return f"GroupFits({self.kind}s parted into {listing(self.fits)})\n{self.table()}"


# --- groups -----------------------------------------------------------------------------------


def _estimator(model: str | Callable[..., FitResult]) -> Callable[..., FitResult]:
    if callable(model):
        return model
    found: Callable[..., FitResult] = getattr(estimators, check_option("model", model, MODELS))
    return found


def _parts(panel: Panel, groups: Any) -> tuple[dict[str, Panel], str]:
    """Return a panel for every group, and what the groups part."""
    if isinstance(groups, Mapping) and not _maps_entities(panel, groups):
        if len(groups) < 2:
            raise DataError(f"At least two groups are needed; got {listing(groups)}.")
        names = as_text(groups)
        parts = {
            name: subpanel(panel, sample, name)
            for name, sample in zip(names, groups.values(), strict=True)
        }
        return parts, _kind(parts)
    labels, kind = groups_of(panel, groups)
    found = ordered(labels)
    return {
        name: subpanel(panel, labels == group, name)
        for name, group in zip(as_text(found), found, strict=True)
    }, kind


def _maps_entities(panel: Panel, groups: Mapping[Hashable, Any]) -> bool:
    """Tell {entity: group} from {group: sample}: most names are entities, all values single."""
    known = sum(name in panel.entities for name in groups)
    return 2 * known > len(groups) and not any(
        isinstance(group, (list, tuple, set, pd.Index, pd.Series)) for group in groups.values()
    )


def _check_references(formula: str, panel: Panel, fits: Mapping[str, FitResult]) -> None:
    """Raise if categories have other references in a group than in all groups together."""
    parts = {name: fit.workspace.data for name, fit in fits.items()}
    rows = np.any([panel.frame.index.isin(data.panel.frame.index) for data in parts.values()], 0)
    whole = variables(formula, Panel(panel.frame[rows], unbalanced="allow"))
    for name, data in parts.items():
        try:
            check_references(whole, data)
        except FormulaError as error:
            raise FormulaError(f"Group {name!r}: {error}") from error


def _kind(parts: Mapping[str, Panel]) -> str:
    """Return what samples part: units or periods, where they share none; cells otherwise."""
    for kind, of in (("unit", "entities"), ("period", "times")):
        if len({label for part in parts.values() for label in getattr(part, of)}) == sum(
            len(getattr(part, of)) for part in parts.values()
        ):
            return kind
    return "cell"


def _overlap(parts: Mapping[str, Panel]) -> int:
    every = np.concatenate([part.frame.index.to_numpy() for part in parts.values()])
    return len(every) - len(set(every))


# --- tests ------------------------------------------------------------------------------------


def _contrasts(G: int, m: int) -> NDArray:
    """Return the matrix that subtracts the m values of the first group from the others'."""
    return np.hstack([-np.tile(np.eye(m), (G - 1, 1)), np.eye(m * (G - 1))])


def _equal(values: NDArray, variances: NDArray, level: float) -> dict[str, float]:
    """Test that independent estimates are of one number."""
    from scipy.special import chdtrc, ndtri

    G = len(values)
    weights = 1.0 / variances
    mean = float((weights * values).sum() / weights.sum())
    statistic = float((weights * (values - mean) ** 2).sum())
    row = {"statistic": statistic, "df": G - 1, "p_value": float(chdtrc(G - 1, statistic))}
    if G > 2:
        return row
    difference, se = float(values[0] - values[1]), float(np.sqrt(variances.sum()))
    half = float(ndtri(0.5 + level / 2.0)) * se
    ends = {"lower": difference - half, "upper": difference + half}
    return {**row, "difference": difference, "se": se, **ends}
