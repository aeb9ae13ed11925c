"""CompositeIndex: scores, the weights behind them, rankings and their picture."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from spatial_agglo.errors import DataError, listing, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class CompositeIndex:
    """A composite index of units over periods.

    Attributes
    ----------
    scores : Series
        On (entity, time), rows in the order of the data; ready to join to a panel's frame.
    dimensions : DataFrame
        One column per dimension, the same rows; without columns if there are no dimensions.
    weights : DataFrame
        One row per indicator, or per (time, indicator). ``entropy``, ``divergence``, ``weight``
        (sums to one), ``direction``, ``group`` and ``weight_in_group`` (sums to one in each
        dimension). Of principal components: ``weight`` is the coefficient of the standardised
        indicator.
    standardised : DataFrame
        The indicators as they were weighed.
    method : str
        How it was made.
    components : DataFrame or None
        Of principal components: ``eigenvalue``, ``share``, ``cumulative``, ``retained``.
    """

    scores: pd.Series
    dimensions: pd.DataFrame
    weights: pd.DataFrame
    standardised: pd.DataFrame
    method: str
    components: pd.DataFrame | None = None

    @property
    def times(self) -> pd.Index:
        """The periods, sorted."""
        return self.scores.index.unique(1).sort_values()

    @property
    def mean_weights(self) -> pd.DataFrame:
        """Weights averaged over periods, one row per indicator; as they are if there is one set.

        Numbers are means over periods; an indicator's direction and dimension do not change.
        """
        if self.weights.index.nlevels == 1:
            return self.weights
        by = self.weights.groupby(level="indicator", sort=False)
        numbers = by.mean(numeric_only=True)
        return by.first().assign(**{name: numbers[name] for name in numbers.columns})

    def ranking(self, time: Hashable) -> pd.DataFrame:
        """Return the units of one period, the best first.

        Parameters
        ----------
        time : label of a period
            "cross-section" if there is one that was not named.

        Returns
        -------
        DataFrame
            On entity: ``rank`` (units that are equal share the better rank), the score, and the
            scores of dimensions.

        Raises
        ------
        DataError
            There is no such period.
        """
        if not pd.api.types.is_hashable(time) or time not in self.times:
            raise DataError(
                f"There is no period {plain(time)!r}; there are {listing(self.times, 40)}."
            )
        table = self.scores.xs(time, level=1).to_frame().join(self.dimensions.xs(time, level=1))
        name = self.scores.name
        table = table.sort_values([name], ascending=False, kind="stable")
        rank = table[name].rank(ascending=False, method="min").astype(int)
        table.insert(0, "rank", rank)
        return table

    def plot(self, top: int = 10, *, time: Hashable | None = None, ax: Axes | None = None) -> Axes:
        """Plot the scores of the top units over time.

        See :func:`spatial_agglo.report.composite_figure.composite_over_time`.
        """
        from spatial_agglo.report.composite_figure import composite_over_time

        return composite_over_time(self, top=top, time=time, ax=ax)

    def plot_ranking(
        self, time: Hashable | None = None, *, top: int | None = None, ax: Axes | None = None
    ) -> Axes:
        """Plot the scores of one period in order.

        See :func:`spatial_agglo.report.composite_figure.composite_ranking`.
        """
        from spatial_agglo.report.composite_figure import composite_ranking

        return composite_ranking(self, time=time, top=top, ax=ax)

    def __repr__(self) -> str:
        index = self.scores.index
        J = len(self.standardised.columns)
        return (
            f"CompositeIndex({index.unique(0).size} entities, {len(self.times)} period(s), {J} "
            f"indicators; {self.method})"
        )
