"""Indicators at the gate: named, finite, each positive or negative and in one dimension."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.agglomeration.keys import Keys, columns_list, read_keys, read_numbers
from spatial_agglo.errors import DataError, OptionError, listing


class ConstantIndicatorWarning(UserWarning):
    """An indicator does not differ between the units that are compared."""


class DirectionWarning(UserWarning):
    """An indicator counts against the direction that was declared for it."""


@dataclass(frozen=True, eq=False)
class Indicators:
    """Values (rows, indicators), and what each indicator is."""

    keys: Keys
    names: pd.Index
    values: NDArray
    negative: NDArray
    groups: list[Hashable]
    members: list[NDArray]

    @property
    def group_of(self) -> list[Hashable]:
        """Name of every indicator's dimension."""
        found: dict[int, Hashable] = {}
        for name, members in zip(self.groups, self.members, strict=True):
            found |= dict.fromkeys(members.tolist(), name)
        return [found[j] for j in range(len(self.names))]


def read_indicators(
    data: pd.DataFrame,
    positive: Sequence[Hashable],
    negative: Sequence[Hashable],
    groups: Mapping[Hashable, Sequence[Hashable]] | None,
    entity: Hashable | None,
    time: Hashable | None,
) -> Indicators:
    """Check indicators and their dimensions; name what is missing."""
    up, down = columns_list(positive, "positive"), columns_list(negative, "negative")
    both = [name for name in up if name in down]
    if both:
        raise DataError(f"Indicator {listing(both)} is both positive and negative.")
    if not up and not down:
        raise DataError("Name the indicators: positive=[...], negative=[...].")
    keys = read_keys(data, entity, time)
    keys.require_unique()
    names = [*up, *down]
    if groups is not None:
        names = _in_order(names, groups)
    values = np.column_stack([read_numbers(data, name) for name in names])
    _require_complete(keys, names, values)
    at = {name: j for j, name in enumerate(names)}
    members = [] if groups is None else [np.array([at[m] for m in g]) for g in groups.values()]
    return Indicators(
        keys=keys,
        names=pd.Index(names, tupleize_cols=False),
        values=values,
        negative=np.array([name in down for name in names]),
        groups=[] if groups is None else list(groups),
        members=members,
    )


def check_name(name: object, groups: Sequence[Hashable]) -> None:
    """Raise unless a score can have a name, and no dimension has it."""
    if name is None or not pd.api.types.is_hashable(name):
        raise OptionError(f"name={name!r} must be the label of a column, such as 'score'.")
    if "rank" in (name, *groups):
        raise DataError("The score or a dimension is named 'rank', as the ranks are; rename it.")
    if name in groups:
        raise DataError(f"The score and a dimension are both named {name!r}; say name=... .")


def _in_order(
    names: list[Hashable], groups: Mapping[Hashable, Sequence[Hashable]]
) -> list[Hashable]:
    """Return indicators dimension by dimension, or raise if they do not match the dimensions."""
    if not isinstance(groups, Mapping) or not groups:
        raise DataError(f"groups must be a dict, {{dimension: [indicators]}}; got {groups!r}.")
    grouped = [name for g, members in groups.items() for name in columns_list(members, str(g))]
    empty = [g for g, members in groups.items() if not len(members)]
    if empty:
        raise DataError(f"Dimension {listing(empty)} has no indicators.")
    twice = sorted({str(name) for name in grouped if grouped.count(name) > 1})
    if twice:
        raise DataError(f"Indicator {listing(twice)} is in more than one dimension.")
    unknown = [name for name in grouped if name not in names]
    if unknown:
        raise DataError(
            f"groups names {listing(unknown)}, which is neither positive nor negative. Say which."
        )
    lacking = [name for name in names if name not in grouped]
    if lacking:
        raise DataError(f"Indicator {listing(lacking)} is in no dimension of groups.")
    return grouped


def _require_complete(keys: Keys, names: list[Hashable], values: NDArray) -> None:
    missing = np.isnan(values)
    if missing.any():
        rows, columns = np.nonzero(missing)
        shown = [(*pair, names[j]) for pair, j in zip(keys.pairs(rows), columns, strict=True)]
        raise DataError(
            f"{rows.size} value(s) are missing, at (entity, time, indicator) = {listing(shown)}. "
            "Fill gaps in a stated way, for example with interpolate(...), or leave rows or "
            "indicators out."
        )
