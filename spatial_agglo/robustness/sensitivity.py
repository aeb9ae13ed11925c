"""sensitivity: the same question asked of many weights, models, effects and samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spatial_agglo.errors import SpatialAggloError, check_level, check_option, listing
from spatial_agglo.models.covariances import as_covariance
from spatial_agglo.models.specification import EFFECTS, LIKELIHOODS, MODELS
from spatial_agglo.panel import Panel
from spatial_agglo.robustness.runs import (
    COLUMNS,
    DIMENSIONS,
    NO_W,
    NUMBERS,
    Run,
    Task,
    carried_out,
    evaluated,
    listed,
    named,
    named_samples,
    named_weights,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from spatial_agglo.report.table import Table

IMPACTS = ("direct", "indirect", "total")


def sensitivity(
    formula: str | Mapping[str, str],
    panel: Panel,
    W: Any,
    *,
    models: str | Sequence[str] = ("sdm",),
    effects: str | Sequence[str] = ("two-way",),
    samples: Mapping[str, Any] | None = None,
    variables: Sequence[str] | None = None,
    cov: Any = "observed",
    likelihood: str = "transformed",
    durbin: Sequence[str] | None = None,
    level: float = 0.95,
    n_jobs: int = 1,
) -> Sensitivity:
    """Estimate direct, indirect and total effects under every combination of specifications.

    Models and effects that share data and weights share their moments, so that a further model
    costs milliseconds. A combination that cannot be estimated is a row with the reason, as is a
    sample in which a category of the formula has another reference than in the whole panel.

    Parameters
    ----------
    formula : str, or mapping of name to str
        Several formulas are one more dimension; all must have the same outcome.
    panel : Panel
    W : mapping of name to weights, or one W
        SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame.
    models : str or list of {"ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns"}
        "ols" has no W and is estimated once.
    effects : str or list of {"two-way", "entity", "time", "none", "random"}
    samples : mapping of name to sample, optional
        A query ("year > 1970"), a list of entities, a boolean Series indexed by (entity, time)
        or by entity, a function from the panel's frame to such a Series, or None for the whole
        panel, which is the default. W is cut to the units of a sample and standardised again.
    variables : list of str, optional
        Regressors to keep; all by default.
    cov, likelihood : as for the estimators
    durbin : list of str, optional
        For the models that lag regressors; all regressors by default.
    level : float
        Coverage of the intervals (delta method).
    n_jobs : int
        Processes to run in parallel (joblib); -1 for all cores. The answer does not depend on
        it; starting them takes seconds, so it pays for long analyses.

    Returns
    -------
    Sensitivity

    Raises
    ------
    OptionError
        An unknown option, model, effect or variable; an empty list; a sample that is none of the
        above.
    FormulaError, DataError
        A formula that cannot be evaluated on the whole panel.
    SpatialAggloError
        Every single combination failed: the reason of the first.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = {
    ...     "queen": sa.datasets.weights("cigarettes_queen").standardize("row"),
    ...     "5 nearest": sa.datasets.weights("cigarettes_5_nearest").standardize("row"),
    ... }
    >>> found = sensitivity("logc ~ logp + logy", panel, W, models=["sar", "sdm"])
    >>> frame = found.to_frame()
    >>> indirect = frame[(frame["effect"] == "indirect") & (frame["variable"] == "logp")]
    >>> indirect.set_index(["W", "model"])["estimate"].round(2).to_dict()
    {('queen', 'sar'): -0.27, ('queen', 'sdm'): -0.21, ...}
    """
    formulas, weights, parts = named(formula), named_weights(W), named_samples(samples)
    chosen = listed(models, "models", MODELS)
    fixed = listed(effects, "effects", EFFECTS)
    check_option("likelihood", likelihood, LIKELIHOODS)
    check_level(level)
    covariance = as_covariance(cov)
    data, outcome, kept = evaluated(formulas, panel, parts, variables, durbin)
    every = sorted(weights.values(), key=lambda W: not getattr(W, "row_standardized", False))
    tasks = []
    for label, part, name in product([*weights, NO_W], parts, formulas):
        pairs = [(m, e) for m in chosen for e in fixed if (m == "ols") == (label == NO_W)]
        if pairs:
            options = {"likelihood": likelihood, "cov": covariance, "durbin": durbin}
            key = {"W": label, "sample": part, "formula": name}
            own = tuple(every) if label == NO_W else (weights[label],)
            tasks.append(Task(key, data[name, part], panel, own, tuple(pairs), options, level))
    found = carried_out(tasks, kept, n_jobs)
    order = ([*weights, NO_W], chosen, fixed, [*parts], [*formulas])  # as DIMENSIONS
    place = [{name: at for at, name in enumerate(names)} for names in order]
    runs = tuple(
        sorted(
            found,
            key=lambda run: [at[run.key[name]] for name, at in zip(DIMENSIONS, place, strict=True)],
        )
    )
    if all(run.error for run in runs):
        raise SpatialAggloError(
            f"None of the {len(runs)} specifications could be estimated. The first: {runs[0].error}"
        )
    settings = {"likelihood": likelihood, "cov": covariance.name}
    return Sensitivity(runs, kept, outcome, formulas, settings, level)


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Impacts over specifications.

    Attributes
    ----------
    runs : tuple of Run
    variables : tuple of str
        The regressors whose impacts are kept.
    outcome : str
    formulas : mapping of str to str
    settings : mapping of str to str
        What all fits share: the likelihood and the covariance.
    level : float
        Coverage of the intervals.
    """

    runs: tuple[Run, ...]
    variables: tuple[str, ...]
    outcome: str
    formulas: Mapping[str, str]
    settings: Mapping[str, str]
    level: float

    @property
    def varying(self) -> tuple[str, ...]:
        """The dimensions along which the specifications differ; having no W is not one."""
        return tuple(
            name for name in DIMENSIONS if len({run.key[name] for run in self.runs} - {NO_W}) > 1
        )

    @property
    def failures(self) -> pd.DataFrame:
        """The specifications that could not be estimated, and why."""
        rows = [{**run.key, "error": run.error} for run in self.runs if run.error]
        return pd.DataFrame(rows, columns=[*DIMENSIONS, "error"])

    def to_frame(self) -> pd.DataFrame:
        """Return one row per specification, variable and effect.

        Returns
        -------
        DataFrame
            The keys W, model, effects, sample, formula, variable and effect ("direct",
            "indirect", "total"); ``estimate``, ``se``, ``z``, ``p_value``, ``lower``, ``upper``;
            ``rho``, ``rho_se``, ``lambda``, ``lambda_se``, ``loglik``, ``aic``, ``bic``, ``nobs``,
            ``entities``, ``periods``; and ``error``, the reason why a specification has none.
        """
        rows = [row for run in self.runs for row in self._rows(run)]
        keys = [*DIMENSIONS, "variable", "effect"]
        return pd.DataFrame(rows, columns=[*keys, *COLUMNS, *NUMBERS, "error"])

    def _rows(self, run: Run) -> Iterator[dict[str, Any]]:
        """Yield a row for every variable and effect that a specification has, or would have."""
        numbers = {name: run.numbers.get(name, np.nan) for name in NUMBERS}
        impacts = run.impacts
        cells: dict[Any, Any] = {}
        if impacts is not None:
            cells = dict(zip(impacts.index, impacts[list(COLUMNS)].to_numpy(), strict=True))
        missing = [np.nan] * len(COLUMNS)
        for variable, effect in product(self.variables, IMPACTS):
            if impacts is not None and (effect, variable) not in cells:
                continue  # not in this formula
            found = zip(COLUMNS, cells.get((effect, variable), missing), strict=True)
            key = {**run.key, "variable": variable, "effect": effect}
            yield {**key, **dict(found), **numbers, "error": run.error}

    def summary(self) -> pd.DataFrame:
        """Return how far the estimates agree: one row per effect and variable.

        Returns
        -------
        DataFrame
            ``fits`` (with a standard error), ``failed``, ``min``, ``median``, ``max``,
            ``positive`` and ``significant``: shares of the fits, the latter at 1 - level.
        """
        frame = self.to_frame()
        rows = {}
        for (effect, variable), part in frame.groupby(["effect", "variable"], sort=False):
            kept = part[part["se"].notna()]
            estimate = kept["estimate"]
            rows[effect, variable] = {
                "fits": len(kept),
                "failed": int((part["error"] != "").sum()),
                "min": estimate.min(),
                "median": estimate.median(),
                "max": estimate.max(),
                "positive": (estimate > 0).mean(),
                "significant": (kept["p_value"] < 1.0 - self.level).mean(),
            }
        out = pd.DataFrame.from_dict(rows, orient="index")
        out.index = pd.MultiIndex.from_tuples(out.index, names=["effect", "variable"])
        order = list(product(IMPACTS, self.variables))
        return out.loc[[key for key in order if key in out.index]]

    def table(
        self,
        variables: Sequence[str] | None = None,
        effects: Sequence[str] = IMPACTS,
        *,
        parentheses: str = "z",
        decimals: int = 4,
    ) -> Table:
        """Return the impacts side by side, a column per specification, ready for a paper.

        See :func:`spatial_agglo.report.robustness_tables.sensitivity_table`.
        """
        from spatial_agglo.report.robustness_tables import sensitivity_table

        return sensitivity_table(
            self, variables, effects, parentheses=parentheses, decimals=decimals
        )

    def forest_plot(
        self, variable: str, effect: str = "indirect", *, ax: Axes | None = None
    ) -> Axes:
        """Plot one effect with its interval, a line per specification.

        See :func:`spatial_agglo.report.forest.forest_plot`.
        """
        from spatial_agglo.report.forest import forest_plot

        return forest_plot(self, variable, effect, ax=ax)

    def _repr_html_(self) -> str:
        return self.table().to_html()

    def __repr__(self) -> str:
        failed = sum(bool(run.error) for run in self.runs)
        text = f"Sensitivity({len(self.runs)} specifications, {failed} failed"
        return f"{text}, varying: {listing(self.varying)})\n{self.summary().to_string()}"
