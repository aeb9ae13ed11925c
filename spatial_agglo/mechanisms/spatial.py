"""Mediation and moderated mediation inside spatial models: own and neighbours' parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spatial_agglo.core.bootstrap import check_jobs
from spatial_agglo.core.threads import one_thread
from spatial_agglo.errors import OptionError, check_level, check_option
from spatial_agglo.mechanisms.conditional import beyond, values_of
from spatial_agglo.mechanisms.effects import effects_table, significant, verdict
from spatial_agglo.mechanisms.joint import normal_draws, wild_draws
from spatial_agglo.mechanisms.lag_functions import LagFunctions
from spatial_agglo.mechanisms.paths import Sample, check_effects, listed
from spatial_agglo.mechanisms.resampling import check_draws
from spatial_agglo.mechanisms.spatial_paths import (
    DIRECT,
    MEDIATED,
    OUTCOME,
    PATHS,
    Parameters,
    Plan,
    parts,
)
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import MODELS
from spatial_agglo.panel import Panel

if TYPE_CHECKING:
    from spatial_agglo.report.table import Table

PARTS = ("own", "neighbours", "total")
INTERVALS = ("montecarlo", "bootstrap")
LIKELIHOODS = ("transformed", "direct")


def spatial_mediation(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    treatment: str,
    mediators: str | Sequence[str],
    model: str = "sdm",
    moderator: str | None = None,
    paths: str | Sequence[str] | None = None,
    centre: bool = True,
    at: Mapping[str, float] | Sequence[float] | None = None,
    effects: str = "two-way",
    likelihood: str = "transformed",
    durbin: Sequence[str] | None = None,
    intervals: str = "montecarlo",
    draws: int = 2000,
    seed: int | np.random.Generator | None = 0,
    level: float = 0.95,
    n_jobs: int = 1,
    progress: bool = True,
) -> SpatialMediation:
    """Part the effect of a treatment by path, direct or mediated, and by place, own or neighbours'.

    ::

        m_t = r W m_t + a x_t + c W x_t                                 + ... + e_t
        y_t = p W y_t + b x_t + d W x_t + g m_t + h W m_t               + ... + u_t

        direct    D = (I - p W)^-1 (b I + d W)
        mediated  M = (I - p W)^-1 (g I + h W) (I - r W)^-1 (a I + c W)

    with controls, their lags and effects in both. Of each N x N matrix the mean of the diagonal is
    the own part, the mean of the row sums the total, and the difference the neighbours' part: what
    a change of x in all other units does to a unit. Total is D + M, of all mediators. With
    rho and all lags at zero this is :func:`~spatial_agglo.mechanisms.mediation.mediation`.

    The "reduced form" is the same model without the mediators. Its effects need not equal D + M
    and are there for comparison: solving the two equations for y gives all powers of W of x and
    errors that are spatially correlated, which a model with one lag of each only approximates.

    With a moderator z, products as in
    :func:`~spatial_agglo.mechanisms.moderated.moderated_mediation` enter (and are lagged like other
    regressors), and the effects are those for z at one value in all units.

    Parameters
    ----------
    formula : str
        ``"y ~ x + controls"``, without mediators and moderator.
    panel : Panel
        Every unit in every period.
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
        Of both equations. Its log-determinant is taken from all eigenvalues up to 1,000 units.
    treatment : str
    mediators : str or list of str
    model : {"sdm", "sar", "slx", "sdem", "sem", "sac", "gns", "ols"}
        Of all equations.
    moderator : str, optional
    paths, centre, at
        As for ``moderated_mediation``, if there is a moderator; all paths by default.
    effects : {"two-way", "entity", "time", "none"}
    likelihood : {"transformed", "direct"}
    durbin : list of str, optional
        The regressors whose lag enters, in whichever equation has them; all by default.
    intervals : {"montecarlo", "bootstrap"}
        "montecarlo": normal draws of all estimates from their joint covariance, clustered by
        entity. "bootstrap": wild, by entity, an entity changing the sign of its errors in all
        equations together; slower, and not resting on normal estimates.
    draws : int
    seed : int, Generator or None
        The same seed gives the same numbers, whatever ``n_jobs`` is.
    level : float
    n_jobs : int
        Processes of the bootstrap (joblib); -1 for all cores.
    progress : bool
        Show a bar when it takes long.

    Returns
    -------
    SpatialMediation

    Raises
    ------
    OptionError
        Names that play two parts, stand in other terms of the formula, or are those of parameters
        or of columns of the tables; unknown options.
    WeightsError
        A panel with gaps (named), or weights that change over time.
    DataError, IdentificationError, BoundaryError
        As for the estimators.

    References
    ----------
    LeSage & Pace (2009), chapter 2, for own, neighbours' and total effects; Hayes (2015) for the
    moderator; MacKinnon, Lockwood & Williams (2004) for Monte Carlo intervals of products.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.mechanisms.spatial import spatial_mediation
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> found = spatial_mediation(
    ...     "logc ~ logy", panel, W, treatment="logy", mediators="logp", draws=500)
    >>> found.effects["estimate"].unstack().loc[["direct", "mediated"]].round(3)
    part      neighbours    own  total
    path
    direct        -0.190  0.588  0.398
    mediated       0.151  0.106  0.257
    """
    names = listed(mediators, "mediator")
    check_option("model", model, MODELS)
    check_option("intervals", intervals, INTERVALS)
    check_option("likelihood", likelihood, LIKELIHOODS)
    check_effects(effects)
    check_draws(draws)
    check_level(level)
    check_jobs(n_jobs)
    roles = {"mediator": names, "moderator": () if moderator is None else (moderator,)}
    sample = Sample.of(formula, panel, treatment, roles)
    if moderator is None and not (paths is None and at is None and centre is True):
        raise OptionError(
            "paths, centre and at belong to a moderator: name one, or leave them out."
        )
    chosen = PATHS if paths is None else listed(paths, "path")
    plan = Plan.of(sample, names, moderator, chosen, centre, effects)
    fits = plan.fitted(W, model=model, effects=effects, likelihood=likelihood, durbin=durbin)
    if intervals == "montecarlo":
        drawn, failed, notes = normal_draws(fits, draws, seed)
    else:
        drawn, failed, notes = wild_draws(fits, draws, seed, n_jobs, progress)
    estimates = {key: found.values[None, :-1] for key, found in fits.items()}
    sources = [Parameters(fits, values) for values in (estimates, drawn)]
    points = None if moderator is None else values_of(sample, moderator, at)
    with one_thread():
        functions = _functions(fits, sources)
        values, simulated = (_evaluated(plan, functions, source, points) for source in sources)
    table = effects_table(
        values.iloc[0].to_numpy(), simulated.to_numpy(), values.columns, level=level
    )
    if points is not None:
        table.insert(0, str(points.name), points.loc[table.index.get_level_values("at")].to_numpy())
    return SpatialMediation(
        equations=fits,
        treatment=treatment,
        mediators=names,
        moderator=moderator,
        outcome=sample.outcome,
        effects=table,
        differences=_differences(values, simulated, points, level),
        draws=simulated,
        intervals=intervals,
        failed=failed,
        level=level,
        notes=(
            *notes,
            *plan.said,
            *(() if points is None else beyond(sample, points)),
            *fits[OUTCOME].notes,
        ),
    )


def _functions(fits: Mapping[str, FitResult], sources: Sequence[Parameters]) -> LagFunctions:
    """Prepare the averages of functions of W over the range of all rho."""
    rho = np.concatenate([source(key, "rho") for source in sources for key in fits])
    W = fits[OUTCOME].workspace.W
    assert W is not None
    return LagFunctions.of(W, min(0.0, float(rho.min())), max(0.0, float(rho.max())))


def _evaluated(
    plan: Plan, functions: LagFunctions, source: Parameters, points: pd.Series | None
) -> pd.DataFrame:
    """Return every effect on every draw, columns (path, part) or (path, part, at)."""
    if points is None:
        found = parts(plan, functions, source, 0.0)
        keys = pd.MultiIndex.from_product([found, PARTS], names=["path", "part"])
        return pd.DataFrame(np.hstack(list(found.values())), columns=keys)
    by_value = [parts(plan, functions, source, value - plan.zero) for value in points]
    arrays = [np.stack([each[path] for each in by_value], axis=2) for path in by_value[0]]
    keys = pd.MultiIndex.from_product(
        [by_value[0], PARTS, points.index], names=["path", "part", "at"]
    )
    flat = [array.reshape(len(array), -1) for array in arrays]
    return pd.DataFrame(np.hstack(flat), columns=keys)


def _differences(
    values: pd.DataFrame, simulated: pd.DataFrame, points: pd.Series | None, level: float
) -> pd.DataFrame:
    """Summarise effects at the last value of the moderator less those at the first."""
    if points is None or len(points) < 2:
        empty = pd.MultiIndex.from_arrays([[], []], names=["path", "part"])
        return effects_table(np.zeros(0), np.zeros((2, 0)), empty, level=level)
    one, many = (
        source.xs(points.index[-1], axis=1, level="at")
        - source.xs(points.index[0], axis=1, level="at")
        for source in (values, simulated)
    )
    return effects_table(one.iloc[0].to_numpy(), many.to_numpy(), one.columns, level=level)


@dataclass(frozen=True, eq=False)
class SpatialMediation:
    """Effects of a treatment by path and by place.

    Attributes
    ----------
    equations : mapping of str to FitResult
        "outcome", "mediator: m" for each and, without a moderator, "reduced form"; clustered by
        entity.
    treatment, outcome : str
    mediators : tuple of str
    moderator : str or None
    effects : DataFrame
        Index (``path``, ``part``), with a moderator (``path``, ``part``, ``at``). Paths: "direct",
        "mediated via m" for each, "mediated" (their sum), "total" (direct and mediated) and,
        without a moderator, "reduced form" and "reduced form - total". Parts: "own",
        "neighbours", "total". Columns as in `Mediation.effects`, after the value of the moderator
        if there is one.
    differences : DataFrame
        Effects at the last value of the moderator less those at the first; empty without one.
    draws : DataFrame
        The effects on every draw, columns as the index of ``effects``.
    intervals : {"montecarlo", "bootstrap"}
    failed : int
        Draws outside the parameter space, or resamples that could not be estimated.
    level : float
    notes : tuple of str
    """

    equations: Mapping[str, FitResult]
    treatment: str
    mediators: tuple[str, ...]
    moderator: str | None
    outcome: str
    effects: pd.DataFrame
    differences: pd.DataFrame
    draws: pd.DataFrame
    intervals: str
    failed: int
    level: float
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """What the intervals say about mediation, in the unit itself and from its neighbours.

        Raises
        ------
        OptionError
            There is a moderator, and so no one verdict.
        """
        if self.moderator is not None:
            raise OptionError(
                f"Effects depend on {self.moderator}: there is no one verdict. See effects and "
                "differences."
            )
        via = " and ".join(self.mediators)
        said = []
        for part, where in (("own", "In the unit itself"), ("neighbours", "From neighbours")):
            direct, mediated = (self.effects.loc[(path, part)] for path in (DIRECT, MEDIATED))
            text = verdict(direct, mediated, via, self.level, called="mediated effect")
            absent = [path for path in (DIRECT, MEDIATED) if not self.draws[path, part].any()]
            if len(absent) == 2:
                text = f"All zero by construction: this {self.equations[OUTCOME].model} has no lag."
            elif absent:
                left = f"the {100 * self.level:g}% bias-corrected interval of the mediated effect"
                text = (
                    f"The direct effect is zero by construction, {left} "
                    f"{'leaves out' if significant(mediated) else 'holds'} zero."
                )
            said.append(f"{where}: {text[0].lower()}{text[1:]}")
        return " ".join(said)

    def table(self, *, decimals: int = 3) -> Table:
        """Return the effects with their intervals, ready for a paper.

        See :func:`spatial_agglo.report.mechanisms_tables.spatial_mediation_table`.
        """
        from spatial_agglo.report.mechanisms_tables import spatial_mediation_table

        return spatial_mediation_table(self, decimals=decimals)

    def equations_table(self, *, parentheses: str = "se", decimals: int = 3) -> Table:
        """Return the equations side by side, ready for a paper.

        See :func:`spatial_agglo.report.mechanisms_tables.equations_table`.
        """
        from spatial_agglo.report.mechanisms_tables import equations_table

        return equations_table(
            self.equations, "Spatial mediation", (self.treatment, *self.mediators),
            parentheses=parentheses, decimals=decimals,
        )  # fmt: skip

    def _repr_html_(self) -> str:
        return self.table().to_html()

    def __repr__(self) -> str:
        given = "" if self.moderator is None else f" given {self.moderator}"
        return (
            f"SpatialMediation({self.treatment} -> {', '.join(self.mediators)} -> {self.outcome}"
            f"{given}, {self.equations[OUTCOME].model}, {len(self.draws)} draws)\n"
            f"{self.effects.to_string()}"
        )
