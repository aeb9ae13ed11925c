"""Labels of units: one per unit, none missing, none twice."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from spatial_agglo.errors import WeightsError, listing


def as_labels(ids: Sequence[Hashable] | pd.Index) -> pd.Index:
    """Return the labels as an Index without duplicates or gaps."""
    if ids is None or isinstance(ids, (str, set, frozenset, dict, pd.DataFrame)):
        raise WeightsError(
            "Labels must come in a stated order, one per row: a list, Index or Series; got "
            f"{type(ids).__name__}."
        )
    labels = ids if isinstance(ids, pd.Index) else pd.Index(list(ids))
    if labels.nlevels > 1:
        raise WeightsError(
            "Unit labels must be single values; got a MultiIndex. Weights are made from a table "
            "with one row per unit: of a panel, that of one period."
        )
    if labels.hasnans:
        raise WeightsError(f"{int(labels.isna().sum())} unit(s) have no label (NaN).")
    if labels.has_duplicates:
        raise WeightsError(
            f"Unit labels must differ; repeated: {listing(labels[labels.duplicated()].unique())}. "
            "A table must have one row per unit: of a panel take one period, or drop_duplicates."
        )
    return labels


def unit_labels(table: Any, ids: Hashable | None) -> pd.Index:
    """Return the labels of the rows of a table: a column, or the index."""
    if ids is None:
        return as_labels(table.index)
    if ids not in table.columns:
        raise WeightsError(
            f"The table has no column {ids!r} with the labels of the units. Its columns are: "
            f"{listing(table.columns, 20)}."
        )
    return as_labels(pd.Index(table[ids]))
