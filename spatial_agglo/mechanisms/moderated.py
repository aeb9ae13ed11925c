"""Moderated mediation with fixed effects: direct and indirect effects given a moderator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import OptionError, check_level, check_option
from spatial_agglo.mechanisms.conditional import (
    COEFFICIENTS,
    ModeratedMediation,
    Slopes,
    beyond,
    conditional_table,
    index_table,
    interactions_table,
    values_of,
)
from spatial_agglo.mechanisms.paths import Sample, check_effects, listed, products, regression
from spatial_agglo.mechanisms.resampling import (
    EntityMoments,
    check_draws,
    least_squares,
    resampled,
)
from spatial_agglo.models.covariances import as_covariance
from spatial_agglo.models.results import FitResult
from spatial_agglo.panel import Panel

#: The paths that may be moderated.
PATHS = ("direct", "first", "second")
#: Where the coefficients of their products stand among those that are resampled: in the model in
#: which all are moderated together, and where each is alone.
TOGETHER = {"direct": 1, "first": 3, "second": 5}
ALONE = {"direct": 6, "first": 7, "second": 8}


def moderated_mediation(
    formula: str,
    panel: Panel,
    *,
    treatment: str,
    mediator: str,
    moderator: str,
    paths: str | Sequence[str] = ("direct", "first", "second"),
    centre: bool = True,
    at: Mapping[str, float] | Sequence[float] | None = None,
    effects: str = "two-way",
    cov: Any = "clustered",
    draws: int = 2000,
    seed: int | np.random.Generator | None = 0,
    level: float = 0.95,
    progress: bool = True,
) -> ModeratedMediation:
    """Estimate how a moderator changes the direct effect and both steps of the indirect one.

    ::

        m = a1 x + a2 z + a3 (x - x0)(z - z0)                                     + ... + e
        y = c1 x + c2 z + c3 (x - x0)(z - z0) + b1 m + b2 (m - m0)(z - z0)        + ... + u

        at z = v:  direct   c1 + c3 (v - z0)
                   first    a1 + a3 (v - z0)      second  b1 + b2 (v - z0)
                   indirect first * second        total   direct + indirect

    with controls and effects in every equation, and only those of a3, c3 and b2 whose path is
    moderated. x0, z0 and m0 are pooled means of the cells that are used, or zero. A product is
    made of the (centred) variables and then loses its own fixed effects, as any regressor does; it
    is not the product of demeaned variables, which is another variable. Centring changes the
    meaning of a1, c1 and b1 (the effect at the mean of z, not at zero) and no conditional effect.

    Besides, the equations of the stepwise procedure are estimated: each path moderated alone, and
    where the second step is, without the treatment.

    Parameters
    ----------
    formula : str
        ``"y ~ x + controls"``, without mediator and moderator.
    panel : Panel
        Where cells may be missing, those that lack any of the variables are left out of all
        equations, with a note.
    treatment : str
        A regressor of the formula.
    mediator, moderator : str
        Columns of the panel. What the effects absorb of a moderator alone, such as one that does
        not change over time, is left out, with a note; its products stay.
    paths : subset of {"direct", "first", "second"}
        Which the moderator changes: x to y, x to m, m to y.
    centre : bool
        Subtract pooled means before multiplying.
    at : mapping of str to float, or list of float, optional
        Values of the moderator, in its own units; the mean and one standard deviation below and
        above it (pooled, of the cells used) by default, or a quartile where one of these lies
        outside the data. They are fixed in resampling.
    effects, cov, draws, seed, level, progress
        As for :func:`~spatial_agglo.mechanisms.mediation.mediation`.

    Returns
    -------
    ModeratedMediation

    Raises
    ------
    OptionError
        Names that play two parts, stand in other terms of the formula, or are those of parameters
        or of columns of the tables; unknown paths or options.
    DataError
        Unknown or missing data, a moderator that does not vary.
    IdentificationError
        Collinear or absorbed regressors.

    References
    ----------
    Hayes (2015), Multivariate Behavioral Research 50, for the index; Preacher, Rucker & Hayes
    (2007), Multivariate Behavioral Research 42; Yin & Su (2024), Economies 12:117, equations
    (1)-(9).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.mechanisms.moderated import moderated_mediation
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> found = moderated_mediation(
    ...     "logc ~ logy", panel, treatment="logy", mediator="logp", moderator="pimin",
    ...     paths="first", draws=500)
    >>> found.conditional.loc["indirect", "estimate"].round(3).to_dict()
    {'low': 0.218, 'mean': 0.158, 'high': 0.099}
    """
    chosen = _paths(paths)
    for role, name in (("mediator", mediator), ("moderator", moderator)):
        if not isinstance(name, str):
            raise OptionError(f"{role}={name!r} must be the name of one column.")
    check_effects(effects)
    check_draws(draws)
    check_level(level)
    roles = {"mediator": [mediator], "moderator": [moderator]}
    sample = Sample.of(formula, panel, treatment, roles)
    design = Design.of(sample, mediator, moderator, centre, effects)
    points = values_of(sample, moderator, at)
    covariance = as_covariance(cov)

    def estimated(plan: Mapping[str, tuple[str, tuple[str, ...]]]) -> dict[str, FitResult]:
        return {
            key: regression(
                design.sample, left, right, effects=effects, cov=covariance, notes=design.said
            )
            for key, (left, right) in plan.items()
        }

    model, stepwise = design.model(chosen), design.stepwise()
    equations = estimated(model)
    steps = estimated(stepwise)
    moments = EntityMoments.build(
        design.sample.stacked(design.columns),
        design.sample.cells,
        effects,
        intercept=sample.data.intercept,
    )
    wanted = design.coefficients(chosen)
    plans = {**model, **stepwise}
    found = resampled(
        moments, _statistic(moments, design, plans, wanted), draws=draws, seed=seed,
        progress=progress,
    )  # fmt: skip
    fits = {**equations, **steps}
    values = np.array([fits[key].params[name] if name else 0.0 for key, name in wanted])
    slopes = Slopes(values[None, :6], design.zero)
    drawn = Slopes(found.draws[:, :6], design.zero)
    return ModeratedMediation(
        equations=equations,
        stepwise=steps,
        treatment=treatment,
        mediator=mediator,
        moderator=moderator,
        outcome=sample.outcome,
        paths=chosen,
        centres=design.centres,
        values=points,
        conditional=conditional_table(slopes, drawn, points, level),
        index=index_table(slopes, drawn, points, chosen, level),
        interactions=interactions_table(
            {path: wanted[j] for path, j in TOGETHER.items() if path in chosen},
            {path: wanted[j] for path, j in ALONE.items()},
            fits,
            {name: found.draws[:, j] for j, name in enumerate(wanted)},
            level,
        ),
        draws=pd.DataFrame(found.draws[:, :6], columns=list(COEFFICIENTS)),
        failed=found.failed,
        level=level,
        notes=(*sample.note(), *found.notes, *design.said, *beyond(sample, points)),
        sample=design.sample,
    )


@dataclass(frozen=True, eq=False)
class Design:
    """Which columns stand in which equation.

    Attributes
    ----------
    sample : Sample
        With the products.
    mediator, moderator : str
    alone : tuple of str
        The moderator as a regressor of its own; empty when the effects absorb it.
    centres : mapping of str to float
        What was subtracted before multiplying.
    said : tuple of str
        Notes on products.
    """

    sample: Sample
    mediator: str
    moderator: str
    alone: tuple[str, ...]
    centres: Mapping[str, float]
    said: tuple[str, ...]

    @classmethod
    def of(
        cls, sample: Sample, mediator: str, moderator: str, centre: bool, effects: str
    ) -> Design:
        """Make the products."""
        names = (sample.treatment, mediator)
        made = products(sample, names, moderator, centre=centre, effects=effects)
        return cls(made.sample, mediator, moderator, made.alone, made.centres, made.said)

    @property
    def treatment(self) -> str:
        """Name of the treatment."""
        return self.sample.treatment

    @property
    def zero(self) -> float:
        """Value of the moderator at which products do not change a slope."""
        return self.centres[self.moderator]

    @property
    def products(self) -> tuple[str, str]:
        """Names of the products of the moderator with the treatment and the mediator."""
        return f"{self.treatment}:{self.moderator}", f"{self.mediator}:{self.moderator}"

    @property
    def columns(self) -> list[str]:
        """Every column, in the order of the moment matrix."""
        head = [self.sample.outcome, self.treatment, self.mediator, *self.alone, *self.products]
        return [*head, *self.sample.controls]

    def model(self, paths: Sequence[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Return the two equations in which all paths are moderated together."""
        xz, mz = self.products
        rest = self.sample.controls
        first = (self.treatment, *self.alone, *([xz] if "first" in paths else []), *rest)
        second = (
            self.treatment,
            self.mediator,
            *self.alone,
            *([xz] if "direct" in paths else []),
            *([mz] if "second" in paths else []),
            *rest,
        )
        return {"mediator": (self.mediator, first), "outcome": (self.sample.outcome, second)}

    def stepwise(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Return equations (1) to (9) of Yin & Su (2024)."""
        y, x, m, z = self.sample.outcome, self.treatment, self.mediator, self.alone
        (xz, mz), rest = self.products, self.sample.controls
        return {
            "(1)": (y, (x, *rest)),
            "(2)": (y, (m, *rest)),
            "(3)": (m, (x, *rest)),
            "(4)": (y, (x, m, *rest)),
            "(5)": (y, (x, *z, xz, *rest)),
            "(6)": (m, (x, *z, *rest)),
            "(7)": (m, (x, *z, xz, *rest)),
            "(8)": (y, (m, *z, *rest)),
            "(9)": (y, (m, *z, mz, *rest)),
        }

    def coefficients(self, paths: Sequence[str]) -> list[tuple[str, str]]:
        """Return equation and name of each coefficient; no name: zero.

        They are c1, c3, a1, a3, b1, b2, and the products of equations (5), (7) and (9).
        """
        xz, mz = self.products
        return [
            ("outcome", self.treatment),
            ("outcome", xz if "direct" in paths else ""),
            ("mediator", self.treatment),
            ("mediator", xz if "first" in paths else ""),
            ("outcome", self.mediator),
            ("outcome", mz if "second" in paths else ""),
            ("(5)", xz),
            ("(7)", xz),
            ("(9)", mz),
        ]


def _paths(paths: str | Sequence[str]) -> tuple[str, ...]:
    given = listed(paths, "path")
    for name in given:
        check_option("paths", name, PATHS)
    return tuple(name for name in PATHS if name in given)


def _statistic(
    moments: EntityMoments,
    design: Design,
    plans: Mapping[str, tuple[str, tuple[str, ...]]],
    wanted: Sequence[tuple[str, str]],
) -> Any:
    """Return the function from moment matrices to the coefficients that are wanted."""
    place = {name: j for j, name in enumerate(design.columns)}
    size, scale = moments.size, moments.scale

    def statistic(G: NDArray) -> NDArray:
        solved: dict[str, NDArray] = {}
        for key in dict.fromkeys(key for key, _ in wanted):
            left, right = plans[key]
            at = [place[name] for name in right]
            found = least_squares(G, place[left], at, size)
            solved[key] = found * scale[place[left]] / scale[at]
        columns = [
            solved[key][:, plans[key][1].index(name)] if name else np.zeros(len(G))
            for key, name in wanted
        ]
        return np.column_stack(columns)

    return statistic
