"""Mediation with fixed effects: direct and indirect effects, bootstrapped by entity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from spatial_agglo.errors import check_level
from spatial_agglo.mechanisms.effects import UNSTABLE, effects_table, verdict
from spatial_agglo.mechanisms.paths import Sample, check_effects, listed, regression
from spatial_agglo.mechanisms.resampling import (
    EntityMoments,
    check_draws,
    least_squares,
    resampled,
)
from spatial_agglo.models.covariances import as_covariance
from spatial_agglo.models.results import FitResult
from spatial_agglo.panel import Panel

if TYPE_CHECKING:
    from spatial_agglo.report.table import Table

#: Keys of the equations beside those of the mediators, and how the latter begin.
TOTAL, MEDIATORS, DIRECT, MEDIATOR = "total", "mediators", "direct", "mediator: "
PROPORTION = "proportion mediated"


def mediation(
    formula: str,
    panel: Panel,
    *,
    treatment: str,
    mediators: str | Sequence[str],
    effects: str = "two-way",
    cov: Any = "clustered",
    draws: int = 2000,
    seed: int | np.random.Generator | None = 0,
    level: float = 0.95,
    progress: bool = True,
) -> Mediation:
    """Part the effect of a treatment into a direct one and those through mediators.

    ::

        total       y   = c  x           + controls + effects + e
        mediator j  m_j = a_j x          + controls + effects + e_j
        direct      y   = c' x + sum_j b_j m_j + controls + effects + e'

        direct c',   indirect through j: a_j b_j,   total c = c' + sum_j a_j b_j

    The equality is exact, because all equations have the same cells, controls and effects.
    Errors and intervals come from resamples of entities, each drawn with its whole path over
    time and entering as a new entity every time it is drawn.

    Parameters
    ----------
    formula : str
        ``"y ~ x + controls"``, without the mediators.
    panel : Panel
        Where cells may be missing, those that lack any of the variables are left out of all
        equations, with a note.
    treatment : str
        A regressor of the formula.
    mediators : str or list of str
        Columns of the panel. Several act side by side, none through another.
    effects : {"two-way", "entity", "time", "none"}
    cov : str or record of options
        "clustered" (by entity) by default, where :func:`spatial_agglo.ols` has "observed"; all
        others as there. Of the equations and of Sobel's test only: errors and intervals of the
        effects are those of the resamples.
    draws : int
        Resamples.
    seed : int, Generator or None
        The same seed gives the same numbers.
    level : float
        Coverage of the intervals.
    progress : bool
        Show a bar when it takes long.

    Returns
    -------
    Mediation

    Raises
    ------
    OptionError
        A treatment that is not in the formula, or is in another of its terms; a mediator that is
        the outcome, the treatment or (in) a control, or is named as a parameter; unknown options.
    DataError
        An unknown mediator, one that is not numeric, or has missing cells.
    IdentificationError
        Collinear or absorbed regressors; resamples that mostly do not identify the effects.

    Notes
    -----
    Read as causes, the effects suppose that nothing unobserved moves treatment and outcome,
    treatment and mediator, or mediator and outcome together once controls and effects are taken
    out, and that x and m do not interact. No test of these equations can tell.

    A ratio of estimates has no variance, so the proportion mediated has intervals but no
    standard error.

    References
    ----------
    Baron & Kenny (1986), Journal of Personality and Social Psychology 51; Preacher & Hayes
    (2008), Behavior Research Methods 40; Cameron, Gelbach & Miller (2008), Review of Economics
    and Statistics 90, for resampling clusters.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.mechanisms.mediation import mediation
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> found = mediation("logc ~ logy", panel, treatment="logy", mediators="logp", draws=500)
    >>> found.effects["estimate"].round(3).drop("indirect").to_dict()
    {'direct': 0.529, 'indirect via logp': 0.167, 'total': 0.695, 'proportion mediated': 0.24}
    """
    names = listed(mediators, "mediator")
    check_effects(effects)
    check_draws(draws)
    check_level(level)
    sample = Sample.of(formula, panel, treatment, {"mediator": names})
    covariance = as_covariance(cov)
    rest, notes = sample.controls, sample.note()
    plan = {
        TOTAL: (sample.outcome, (treatment, *rest)),
        MEDIATORS: (sample.outcome, (*names, *rest)),
        **{f"{MEDIATOR}{name}": (name, (treatment, *rest)) for name in names},
        DIRECT: (sample.outcome, (treatment, *names, *rest)),
    }
    equations = {
        key: regression(sample, left, right, effects=effects, cov=covariance)
        for key, (left, right) in plan.items()
    }
    a = np.array([equations[f"{MEDIATOR}{name}"].params[treatment] for name in names])
    b = equations[DIRECT].params[list(names)].to_numpy()
    direct = float(equations[DIRECT].params[treatment])
    estimates = _effects(np.array([direct]), a[None], b[None])[0]

    columns = [sample.outcome, treatment, *names, *rest]
    moments = EntityMoments.build(
        sample.stacked(columns), sample.cells, effects, intercept=sample.data.intercept
    )
    found = resampled(
        moments, _statistic(moments, len(names)), draws=draws, seed=seed, progress=progress
    )
    J = len(names)
    paths = found.draws
    drawn = _effects(paths[:, 0], paths[:, 1 : 1 + J], paths[:, 1 + J :])
    index = [DIRECT, *(f"indirect via {name}" for name in names), "indirect", TOTAL, PROPORTION]
    table = effects_table(estimates, drawn, index, level=level, ratios=[J + 3])
    pairs = list(combinations(range(J), 2))
    return Mediation(
        equations=equations,
        treatment=treatment,
        mediators=names,
        outcome=sample.outcome,
        effects=table,
        contrasts=effects_table(
            np.array([estimates[1 + i] - estimates[1 + j] for i, j in pairs]),
            np.stack([drawn[:, 1 + i] - drawn[:, 1 + j] for i, j in pairs], axis=1),
            [f"{names[i]} - {names[j]}" for i, j in pairs],
            level=level,
        )
        if pairs
        else table.iloc[:0],
        draws=pd.DataFrame(drawn, columns=index),
        failed=found.failed,
        level=level,
        notes=(*notes, *found.notes, *_unstable(drawn[:, J + 2], estimates[J + 2])),
    )


def _statistic(moments: EntityMoments, J: int) -> Any:
    """Return the function from moment matrices of ``[y, x, m.., controls..]`` to c', a and b."""
    size, scale = moments.size, moments.scale
    mediators = list(range(2, 2 + J))
    controls = list(range(2 + J, moments.p))

    def statistic(G: NDArray) -> NDArray:
        outcome = least_squares(G, 0, [1, *mediators, *controls], size)[:, : 1 + J]
        outcome = outcome * scale[0] / scale[[1, *mediators]]
        first = [least_squares(G, m, [1, *controls], size)[:, 0] * scale[m] for m in mediators]
        return np.column_stack([outcome[:, 0], *(a / scale[1] for a in first), outcome[:, 1:]])

    return statistic


def _effects(direct: NDArray, a: NDArray, b: NDArray) -> NDArray:
    """Return direct, indirect by mediator, indirect, total and proportion, shape (R, J + 4)."""
    each = a * b
    indirect = each.sum(axis=1)
    total = direct + indirect
    with np.errstate(divide="ignore", invalid="ignore"):
        share = indirect / total
    return np.column_stack([direct, each, indirect, total, share])


def _unstable(totals: NDArray, total: float) -> tuple[str, ...]:
    """Warn of a proportion of a total whose sign is not known."""
    other = float((totals * total <= 0).mean())
    if other < UNSTABLE:
        return ()
    return (
        f"the total effect has the other sign in {100 * other:.0f}% of the resamples: its sign is "
        "not known, and the proportion mediated means little",
    )


@dataclass(frozen=True, eq=False)
class Mediation:
    """Direct and indirect effects of a treatment.

    Attributes
    ----------
    equations : mapping of str to FitResult
        "total", "mediators" (the outcome on the mediators without the treatment, as the stepwise
        procedure has it; no effect uses it), "mediator: m" for each, "direct".
    treatment, outcome : str
    mediators : tuple of str
    effects : DataFrame
        A row for "direct", "indirect via m" for each mediator, "indirect" (their sum), "total" and
        "proportion mediated"; columns ``estimate``, ``std_error``, ``percentile_lower``,
        ``percentile_upper``, ``bc_lower``, ``bc_upper`` (bias-corrected), ``p_value``.
    contrasts : DataFrame
        Differences between the indirect effects of two mediators; empty with one mediator.
    draws : DataFrame
        The effects on every resample, a column for each.
    failed : int
        Resamples that do not identify the effects, left out.
    level : float
        Coverage of the intervals.
    notes : tuple of str
        What the reader of the table must know.
    """

    equations: Mapping[str, FitResult]
    treatment: str
    mediators: tuple[str, ...]
    outcome: str
    effects: pd.DataFrame
    contrasts: pd.DataFrame
    draws: pd.DataFrame
    failed: int
    level: float
    notes: tuple[str, ...]

    @property
    def sobel(self) -> pd.DataFrame:
        """Tests of each indirect effect from the normal distribution, for comparison.

        The variance of ``a b``: Sobel ``a^2 s_b^2 + b^2 s_a^2``; Aroian adds ``s_a^2 s_b^2``,
        Goodman subtracts it. They take ``a b`` to be normal, which it is not in small samples,
        and a and b to be uncorrelated. NaN where Goodman's variance is negative.
        """
        rows = {}
        for name in self.mediators:
            first, second = self.equations[f"{MEDIATOR}{name}"], self.equations[DIRECT]
            a, b = float(first.params[self.treatment]), float(second.params[name])
            va = float(first.std_errors[self.treatment]) ** 2
            vb = float(second.std_errors[name]) ** 2
            for test, sign in (("Sobel", 0.0), ("Aroian", 1.0), ("Goodman", -1.0)):
                variance = a * a * vb + b * b * va + sign * va * vb
                error = np.sqrt(variance) if variance > 0 else np.nan
                z = a * b / error
                rows[name, test] = (a * b, error, z, 2.0 * ndtr(-abs(z)))
        columns = ["estimate", "std_error", "z", "p_value"]
        out = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
        out.index = pd.MultiIndex.from_tuples(out.index, names=["mediator", "test"])
        return out

    @property
    def verdict(self) -> str:
        """What the bias-corrected intervals say: full, partial or no mediation, suppression."""
        direct = self.effects.loc[DIRECT]
        parts = [
            verdict(direct, self.effects.loc[f"indirect via {name}"], name, self.level)
            for name in self.mediators
        ]
        if len(parts) > 1:
            together = "all mediators together"
            parts = [verdict(direct, self.effects.loc["indirect"], together, self.level), *parts]
        return " ".join(parts)

    def table(self, *, decimals: int = 3) -> Table:
        """Return the effects with their intervals, ready for a paper.

        See :func:`spatial_agglo.report.mechanisms_tables.mediation_table`.
        """
        from spatial_agglo.report.mechanisms_tables import mediation_table

        return mediation_table(self, decimals=decimals)

    def equations_table(self, *, parentheses: str = "se", decimals: int = 3) -> Table:
        """Return the equations side by side, ready for a paper.

        See :func:`spatial_agglo.report.mechanisms_tables.equations_table`.
        """
        from spatial_agglo.report.mechanisms_tables import equations_table

        return equations_table(
            self.equations, "Mediation", (self.treatment, *self.mediators),
            parentheses=parentheses, decimals=decimals,
        )  # fmt: skip

    def _repr_html_(self) -> str:
        return self.table().to_html()

    def __repr__(self) -> str:
        return (
            f"Mediation({self.treatment} -> {', '.join(self.mediators)} -> {self.outcome}, "
            f"{len(self.draws)} resamples)\n{self.effects.to_string()}\n{self.verdict}"
        )
