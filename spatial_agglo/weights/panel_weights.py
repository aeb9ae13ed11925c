"""PanelWeights: one matrix per period."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from spatial_agglo.errors import AlignmentError, WeightsError, listing
from spatial_agglo.weights.matrix import SpatialWeights, as_weights

#: How the description of weights ends that change over time.
BY_PERIOD = ", by period"


class PanelWeights(Mapping[Hashable, SpatialWeights]):
    """Weights that change over time: a mapping from period to W, all of the same units.

    Parameters
    ----------
    matrices : mapping of period to SpatialWeights (or what :func:`as_weights` takes)
        The units are put into the order of the first period, by label.
    description : str, optional

    Attributes
    ----------
    ids : Index
    periods : tuple

    Raises
    ------
    WeightsError
        No period, or something that is not weights.
    AlignmentError
        Periods with different units.

    Examples
    --------
    >>> first = SpatialWeights.from_dense([[0, 1], [1, 0]], ids=["a", "b"])
    >>> second = SpatialWeights.from_dense([[0, 2], [3, 0]], ids=["b", "a"])
    >>> W = PanelWeights({2001: first, 2002: second})
    >>> float(W[2002].to_frame().loc["a", "b"])
    3.0
    """

    def __init__(self, matrices: Mapping[Any, Any], *, description: str | None = None) -> None:
        if not matrices:
            raise WeightsError("PanelWeights needs at least one period.")
        found = {period: as_weights(W) for period, W in matrices.items()}
        first = next(iter(found.values()))
        self.ids: pd.Index = first.ids
        self._matrices = {period: W.align(self.ids) for period, W in found.items()}
        self.description = description or f"{_shared(found)}{BY_PERIOD}"

    @property
    def periods(self) -> tuple[Hashable, ...]:
        """The periods, in the order given."""
        return tuple(self._matrices)

    @property
    def row_standardized(self) -> bool:
        """Whether every row of every period sums to one."""
        return all(W.row_standardized for W in self.values())

    def __getitem__(self, period: Hashable) -> SpatialWeights:
        if period not in self._matrices:
            raise AlignmentError(
                f"There are no weights for period {period!r}; the periods are "
                f"{listing(self._matrices, 20)}."
            )
        return self._matrices[period]

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._matrices)

    def __len__(self) -> int:
        return len(self._matrices)

    def __contains__(self, period: object) -> bool:
        return period in self._matrices

    def apply(self, function: Callable[[SpatialWeights], SpatialWeights]) -> PanelWeights:
        """Return the weights with a function applied to every period."""
        made = {period: function(W) for period, W in self.items()}
        before, after = (next(iter(W.values())).description for W in (self, made))
        if not after.startswith(before):
            return PanelWeights(made)
        # What the function adds to the description of a period, it adds to that of all.
        own = self.description.removesuffix(BY_PERIOD)
        ending = self.description[len(own) :]
        return PanelWeights(made, description=own + after[len(before) :] + ending)

    def standardize(self, how: str = "row") -> PanelWeights:
        """Return the weights with every period standardised. See `SpatialWeights.standardize`."""
        return self.apply(lambda W: W.standardize(how))

    def align(
        self, ids: Sequence[Hashable] | pd.Index, periods: Sequence[Hashable] | pd.Index
    ) -> PanelWeights:
        """Return the weights in the order of units and periods of a panel, matched by label.

        Raises
        ------
        AlignmentError
            Units differ, or a period has no weights; periods that are not asked for are left
            out.
        """
        missing = [period for period in periods if period not in self._matrices]
        if missing:
            raise AlignmentError(
                f"{len(missing)} period(s) of the data have no weights: {listing(missing)}."
            )
        return PanelWeights(
            {period: self[period].align(ids) for period in periods}, description=self.description
        )

    def __repr__(self) -> str:
        return f"PanelWeights({len(self)} periods, {self.ids.size} units: {self.description})"


def _shared(matrices: Mapping[Any, SpatialWeights]) -> str:
    """Return what the descriptions of all periods say; "yearly" where each names its own."""
    # A window stands last in its brackets.
    windows = {period: rf"(?<=[( ]){re.escape(str(period))}(?=\))" for period in matrices}
    texts = {period: W.description for period, W in matrices.items()}
    if len(texts) > 1 and all(re.search(windows[t], text) for t, text in texts.items()):
        # The longest: a rule for ties is named only in periods that have any.
        return max((re.sub(windows[t], "yearly", text) for t, text in texts.items()), key=len)
    return next(iter(texts.values()))
