"""Conditional effects: what a moderator makes of direct and indirect effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from spatial_agglo.errors import OptionError, check_option
from spatial_agglo.mechanisms.effects import effects_table, significant
from spatial_agglo.mechanisms.paths import Sample
from spatial_agglo.models.results import FitResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from spatial_agglo.report.table import Table

EFFECTS = ("direct", "first", "second", "indirect", "total")
WORDS = {"direct": "the direct path", "first": "the first step", "second": "the second step"}
COEFFICIENTS = ("c1", "c3", "a1", "a3", "b1", "b2")
#: Where effects are evaluated by default, in standard deviations from the mean; and the quartile
#: that stands in for a value which no cell has.
PLACES = {"low": -1.0, "mean": 0.0, "high": 1.0}
QUARTILES = {"low": ("lower quartile", 0.25), "high": ("upper quartile", 0.75)}


@dataclass(frozen=True, eq=False)
class ModeratedMediation:
    """Direct and indirect effects of a treatment given a moderator.

    Attributes
    ----------
    equations : mapping of str to FitResult
        "mediator" and "outcome", all paths moderated together: what the effects are made of.
    stepwise : mapping of str to FitResult
        "(1)" to "(9)", as numbered by Yin & Su (2024): (1)-(4) total, mediator, first step and
        direct; (5) the direct path moderated; (6), (7) the first step without and with the
        product; (8), (9) the second step without and with it (and without the treatment).
    treatment, mediator, moderator, outcome : str
    paths : tuple of str
        Those that are moderated: "direct", "first", "second".
    centres : mapping of str to float
        What was subtracted before multiplying: pooled means, or zeros.
    values : Series
        Values of the moderator at which the effects are given, by label.
    conditional : DataFrame
        Index (``effect``, ``at``): "direct", "first", "second", "indirect", "total" at each
        value. Columns: the value, and those of `Mediation.effects`.
    index : DataFrame
        Index (``effect``, ``quantity``). "index": slope of the effect in the moderator; for the
        indirect effect this is the index of moderated mediation, ``a3 b1`` or ``a1 b2`` (Hayes
        2015). Where both steps are moderated the indirect effect is a quadratic: "slope at ..."
        and "curvature" ``a3 b2`` instead. Always the difference of the last and the first value.
    interactions : DataFrame
        Index (``path``, ``model``), model "together" or "alone" (equations (5), (7), (9)): the
        coefficients of the products with the standard error and p value of the equation
        (``fit_std_error``, ``fit_p_value``) before those of the resamples.
    draws : DataFrame
        c1, c3, a1, a3, b1, b2 on every resample.
    failed : int
        Resamples that do not identify the effects, left out.
    level : float
    notes : tuple of str
    """

    equations: Mapping[str, FitResult]
    stepwise: Mapping[str, FitResult]
    treatment: str
    mediator: str
    moderator: str
    outcome: str
    paths: tuple[str, ...]
    centres: Mapping[str, float]
    values: pd.Series
    conditional: pd.DataFrame
    index: pd.DataFrame
    interactions: pd.DataFrame
    draws: pd.DataFrame
    failed: int
    level: float
    notes: tuple[str, ...]
    sample: Sample

    def curve(self, effect: str = "indirect", *, points: int = 61) -> pd.DataFrame:
        """Return an effect over the range of the moderator in the data, with its intervals.

        Parameters
        ----------
        effect : {"direct", "first", "second", "indirect", "total"}
        points : int

        Returns
        -------
        DataFrame
            Indexed by the value of the moderator; columns as in ``conditional``.
        """
        check_option("effect", effect, EFFECTS)
        if isinstance(points, bool) or not isinstance(points, int) or points < 2:
            raise OptionError(f"points={points!r} must be a whole number of at least 2.")
        seen = self.observed(self.moderator)
        grid = np.linspace(seen.min(), seen.max(), points)
        place = EFFECTS.index(effect)
        estimates = np.array([self.slopes.at(value)[0, place] for value in grid])
        drawn = Slopes(self.draws.to_numpy(), self.slopes.zero)
        draws = np.column_stack([drawn.at(value)[:, place] for value in grid])
        index = pd.Index(grid, name=self.moderator)
        return effects_table(estimates, draws, index, level=self.level)

    @property
    def slopes(self) -> Slopes:
        """The estimated coefficients, as functions of the moderator."""
        xz, mz = f"{self.treatment}:{self.moderator}", f"{self.mediator}:{self.moderator}"
        first, second = self.equations["mediator"].params, self.equations["outcome"].params
        values = [second[self.treatment], second.get(xz, 0.0)]
        values += [first[self.treatment], first.get(xz, 0.0)]
        values += [second[self.mediator], second.get(mz, 0.0)]
        return Slopes(np.array([values], dtype=float), self.centres[self.moderator])

    def observed(self, name: str) -> NDArray:
        """Return a variable on the cells that are used, shape (n,)."""
        values: NDArray = self.sample.columns[name][self.sample.cells]
        return values

    @property
    def verdict(self) -> str:
        """Which paths are moderated, by the bias-corrected intervals, and what that does."""
        said = []
        for path, words in WORDS.items():
            key = (path, "together" if path in self.paths else "alone")
            row = self.interactions.loc[key]
            how = "positively" if row["estimate"] > 0 else "negatively"
            found = how if significant(row) else "not demonstrably"
            said.append(f"{words} {found}{'' if path in self.paths else ' (alone)'}")
        text = (
            f"{self.moderator} moderates {said[0]}, {said[1]}, {said[2]} ({100 * self.level:g}% "
            "bias-corrected intervals of the products)."
        )
        rows = self.index.loc[self.index.index.get_level_values("effect") == "indirect"]
        if rows.empty:
            return f"{text} No step of the indirect effect is moderated in the model."
        last = rows.iloc[-1]
        name = rows.index[-1][1]
        held = "leaves out zero" if significant(last) else "holds zero"
        return f"{text} The interval of the indirect effect's {name} {held}."

    def table(self, *, decimals: int = 3) -> Table:
        """Return conditional effects and indices with their intervals, ready for a paper.

        See :func:`spatial_agglo.report.mechanisms_tables.conditional_table`.
        """
        from spatial_agglo.report.mechanisms_tables import conditional_table

        return conditional_table(self, decimals=decimals)

    def equations_table(self, *, parentheses: str = "se", decimals: int = 3) -> Table:
        """Return equations (5) to (9) side by side, then the two of the joint model.

        See :func:`spatial_agglo.report.mechanisms_tables.equations_table`.
        """
        from spatial_agglo.report.mechanisms_tables import equations_table

        steps = {key: self.stepwise[key] for key in ("(5)", "(6)", "(7)", "(8)", "(9)")}
        products = (f"{name}:{self.moderator}" for name in (self.treatment, self.mediator))
        return equations_table(
            {**steps, **self.equations}, f"Moderation by {self.moderator}",
            (self.treatment, self.mediator, self.moderator, *products),
            parentheses=parentheses, decimals=decimals,
        )  # fmt: skip

    def plot(self, effect: str = "indirect", *, ax: Axes | None = None) -> Axes:
        """Plot an effect against the moderator.

        See :func:`spatial_agglo.report.simple_slopes.conditional_plot`.
        """
        from spatial_agglo.report.simple_slopes import conditional_plot

        return conditional_plot(self, effect, ax=ax)

    def plot_slopes(self, path: str = "first", *, ax: Axes | None = None) -> Axes:
        """Plot the simple slopes of one path.

        See :func:`spatial_agglo.report.simple_slopes.simple_slopes`.
        """
        from spatial_agglo.report.simple_slopes import simple_slopes

        return simple_slopes(self, path, ax=ax)

    def _repr_html_(self) -> str:
        return self.table().to_html()

    def __repr__(self) -> str:
        return (
            f"ModeratedMediation({self.treatment} -> {self.mediator} -> {self.outcome} given "
            f"{self.moderator}, {len(self.draws)} resamples)\n{self.conditional.to_string()}\n"
            f"{self.index.to_string()}"
        )


@dataclass(frozen=True, eq=False)
class Slopes:
    """The slopes of both equations as functions of the moderator.

    Attributes
    ----------
    values : ndarray, shape (R, 6)
        c1, c3, a1, a3, b1, b2.
    zero : float
        Value of the moderator at which c1, a1 and b1 hold.
    """

    values: NDArray
    zero: float

    def at(self, value: float) -> NDArray:
        """Return direct, first, second, indirect and total, shape (R, 5)."""
        c1, c3, a1, a3, b1, b2 = self.values.T
        v = value - self.zero
        direct, first, second = c1 + c3 * v, a1 + a3 * v, b1 + b2 * v
        return np.column_stack([direct, first, second, first * second, direct + first * second])

    def slope(self, value: float) -> NDArray:
        """Return the derivative of the indirect effect in the moderator, shape (R,)."""
        _, _, a1, a3, b1, b2 = self.values.T
        return a3 * (b1 + b2 * (value - self.zero)) + b2 * (a1 + a3 * (value - self.zero))

    @property
    def curvature(self) -> NDArray:
        """Coefficient of the squared moderator in the indirect effect, shape (R,)."""
        return self.values[:, 3] * self.values[:, 5]


def values_of(
    sample: Sample, moderator: str, at: Mapping[str, float] | Sequence[float] | None
) -> pd.Series:
    """Return the values of the moderator, in its own units, by label.

    By default the mean and a standard deviation below and above it; a quartile instead where that
    lies outside the data, as with moderators that are skewed or binary.
    """
    if at is None:
        at = {}
        mean, spread = sample.mean(moderator), sample.deviation(moderator)
        seen = sample.columns[moderator][sample.cells]
        for name, place in PLACES.items():
            value, label = mean + place * spread, name
            if place and not seen.min() <= value <= seen.max():
                label, share = QUARTILES[name]
                value = float(np.quantile(seen, share))
            at[label] = value
    try:
        given = at.values() if isinstance(at, Mapping) else at
        numbers = [float(value) for value in given]
    except (TypeError, ValueError) as error:
        raise OptionError(f"at={at!r} must hold numbers: values of the moderator.") from error
    if not numbers or not np.isfinite(numbers).all():
        raise OptionError(f"at={at!r} must hold one finite value of the moderator or more.")
    labels = [str(name) if isinstance(at, Mapping) else f"{float(name):g}" for name in at]
    if len(set(labels)) < len(labels):
        raise OptionError(f"at={at!r} has one value twice, or two that are written alike.")
    return pd.Series(numbers, index=pd.Index(labels, name="at"), name=moderator)


def conditional_table(
    slopes: Slopes, drawn: Slopes, values: pd.Series, level: float
) -> pd.DataFrame:
    """Summarise every effect at every value of the moderator."""
    at = [(slopes.at(value)[0], drawn.at(value)) for value in values]
    keys = pd.MultiIndex.from_product([EFFECTS, values.index], names=["effect", "at"])
    estimates = np.array([found[0] for found in at]).T.ravel()
    draws = np.stack([found[1] for found in at], axis=2).reshape(len(drawn.values), -1)
    out = effects_table(estimates, draws, keys, level=level)
    out.insert(0, str(values.name), np.tile(values.to_numpy(), len(EFFECTS)))
    return out


def index_table(
    slopes: Slopes, drawn: Slopes, values: pd.Series, paths: Sequence[str], level: float
) -> pd.DataFrame:
    """Summarise how direct and indirect effect change with the moderator."""
    rows: dict[tuple[str, str], tuple[float, NDArray]] = {}

    def difference(effect: str) -> None:
        if len(values) < 2:
            return
        one, last = (
            (s.at(values.iloc[-1]) - s.at(values.iloc[0]))[:, EFFECTS.index(effect)]
            for s in (slopes, drawn)
        )
        name = f"{values.index[-1]} - {values.index[0]}"
        rows[effect, name] = float(one[0]), last

    if "direct" in paths:
        rows["direct", "index"] = float(slopes.values[0, 1]), drawn.values[:, 1]
        difference("direct")
    if "first" in paths and "second" in paths:
        for label, value in values.items():
            key = f"slope at {label}"
            rows["indirect", key] = float(slopes.slope(value)[0]), drawn.slope(value)
        rows["indirect", "curvature"] = float(slopes.curvature[0]), drawn.curvature
        difference("indirect")
    elif "first" in paths or "second" in paths:
        zero = slopes.zero
        rows["indirect", "index"] = float(slopes.slope(zero)[0]), drawn.slope(zero)
        difference("indirect")
    keys = pd.MultiIndex.from_tuples(rows, names=["effect", "quantity"])
    estimates, draws = zip(*rows.values(), strict=True)
    return effects_table(np.array(estimates), np.column_stack(draws), keys, level=level)


def interactions_table(
    together: Mapping[str, tuple[str, str]],
    alone: Mapping[str, tuple[str, str]],
    fits: Mapping[str, FitResult],
    draws: Mapping[tuple[str, str], NDArray],
    level: float,
) -> pd.DataFrame:
    """Summarise the coefficients of products, by path, in both kinds of equations."""
    rows: dict[tuple[str, str], tuple[str, str]] = {}
    for path in alone:
        if path in together:
            rows[path, "together"] = together[path]
        rows[path, "alone"] = alone[path]
    keys = pd.MultiIndex.from_tuples(rows, names=["path", "model"])
    places = list(rows.values())
    estimates = np.array([fits[key].params[name] for key, name in places])
    errors = np.array([fits[key].std_errors[name] for key, name in places])
    drawn = np.column_stack([draws[place] for place in places])
    out = effects_table(estimates, drawn, keys, level=level)
    out.insert(1, "fit_std_error", errors)
    out.insert(2, "fit_p_value", 2.0 * ndtr(-np.abs(estimates / errors)))
    return out


def beyond(sample: Sample, values: pd.Series) -> tuple[str, ...]:
    """Say which values of the moderator lie outside the data."""
    seen = sample.columns[str(values.name)][sample.cells]
    out = values[(values < seen.min()) | (values > seen.max())]
    if out.empty:
        return ()
    which = ", ".join(f"{label} ({value:.4g})" for label, value in out.items())
    return (
        f"outside the data, where {values.name} runs from {seen.min():.4g} to {seen.max():.4g}: "
        f"{which}",
    )
