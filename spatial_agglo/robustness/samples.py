"""Parts of a panel, and weights cut to them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from spatial_agglo.errors import DataError, OptionError, WeightsError, listing
from spatial_agglo.panel import Panel
from spatial_agglo.weights.matrix import SpatialWeights, as_weights
from spatial_agglo.weights.panel_weights import PanelWeights

#: What a sample may be, for messages.
KINDS = (
    "None (everything), a query ('year > 1970'), a list of entities, a boolean Series indexed by "
    "(entity, time) or by entity, or a function from the frame to such a Series"
)
WHOLE = "all"


def subpanel(panel: Panel, sample: Any, name: Hashable) -> Panel:
    """Return the part of a panel that a sample selects.

    Parameters
    ----------
    panel : Panel
    sample : None, str, list of entities, boolean Series, or function
        A query is evaluated on the panel's frame, with the names of entity and time for its keys.
    name : hashable
        For messages.

    Raises
    ------
    OptionError
        The sample is none of these, or its query cannot be evaluated.
    DataError
        It names units that are not there, selects nothing, or leaves gaps in a panel that was
        not declared with ``unbalanced="allow"``.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> subpanel(panel, "year > 1970", "late").shape
    (22, 46)
    >>> subpanel(panel, ["Ohio", "Texas"], "two").shape
    (30, 2)
    """
    if sample is None:
        return panel
    keep = _mask(panel, sample, name)
    if not keep.any():
        raise DataError(f"The sample {name!r} selects no row of the panel.")
    if keep.all():
        return panel
    try:
        return Panel(panel.frame[keep], unbalanced=panel.unbalanced)
    except DataError as error:
        raise DataError(f"The sample {name!r} is not a panel. {error}") from error


def cut(W: Any, panel: Panel, part: Panel, name: Hashable) -> SpatialWeights | PanelWeights:
    """Return the weights among the units of a part of a panel, standardised again as they were.

    Raises
    ------
    AlignmentError
        The weights and the whole panel hold different units.
    WeightsError
        A unit has lost all its neighbours.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> states = ["Arizona", "New Mexico", "Texas", "Utah"]
    >>> part = cut(W, panel, subpanel(panel, states, "south-west"), "south-west")
    >>> part.to_frame().loc["Utah"].tolist()
    [0.5, 0.5, 0.0, 0.0]
    """
    if isinstance(W, PanelWeights):
        return W.apply(lambda period: _cut(period, panel, part, name))
    return _cut(as_weights(W), panel, part, name)


def _cut(W: SpatialWeights, panel: Panel, part: Panel, name: Hashable) -> SpatialWeights:
    W = W.align(panel.entities)
    entities = part.entities
    if len(entities) == W.n:
        return W
    order = W.ids.get_indexer(entities)
    inside = W.matrix[order][:, order]
    alone = entities[np.diff(inside.indptr) == 0]
    if alone.size and W.isolates_rule == "error":
        raise WeightsError(
            f"Cut to the {entities.size} units of {name!r}, {alone.size} unit(s) have no "
            f"neighbours left: {listing(alone)}. Their spatial lag would be zero. Leave these "
            "units out, choose groups that keep neighbours together, take weights with more links "
            "(weights.union_nearest, weights.knn), or make the weights with isolates='allow' to "
            "keep them with a lag of zero."
        )
    kept = W.subset(entities)
    return kept if W.row_standardized else kept.standardize(W.standardization)


def groups_of(panel: Panel, groups: Any, rows: int = 2) -> tuple[pd.Series, str]:
    """Return the group of every row of a panel, and what kind of groups they are.

    Parameters
    ----------
    panel : Panel
    groups : column or key of the panel, or Series or mapping from entity to group
    rows : int
        Rows that a group must have on average.

    Returns
    -------
    labels : Series
        By (entity, time).
    kind : {"unit", "period", "cell"}
        Whether they part units, periods, or neither.

    Raises
    ------
    DataError
        No such column, rows without a group, fewer than two groups, or too many; a unit in two
        groups.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> df = sa.datasets.cigarettes().assign(late=lambda d: d.year > 1977)
    >>> groups_of(sa.Panel(df, entity="state", time="year"), "late")[1]
    'period'
    """
    index = panel.frame.index
    if isinstance(groups, (Mapping, pd.Series)):
        given = _by_entity(groups)
        unknown = given.index.difference(panel.entities)
        if unknown.size:
            raise DataError(f"groups name {listing(unknown)}, which the panel does not have.")
        labels = given.reindex(index.get_level_values(0)).set_axis(index).rename("group")
    else:
        frame = panel.frame.reset_index()
        if not pd.api.types.is_hashable(groups) or groups not in frame.columns:
            shown = type(groups).__name__ if isinstance(groups, pd.DataFrame) else repr(groups)
            raise DataError(
                f"groups={shown} must be a column of the panel, or a mapping from entity to "
                f"group. Its columns are: {listing(frame.columns, 20)}."
            )
        labels = frame[groups].set_axis(index).rename("group")
    missing = labels.isna()
    if missing.any():
        raise DataError(
            f"{int(missing.sum())} row(s) have no group, at (entity, time) = "
            f"{listing(labels.index[missing])}. Give every row one, or leave these out."
        )
    if labels.nunique() < 2:
        raise DataError(
            f"At least two groups are needed; every row is in {listing(labels.unique())}."
        )
    if labels.nunique() * rows > len(labels):
        what = "groups" if isinstance(groups, (Mapping, pd.Series)) else repr(groups)
        raise DataError(
            f"{what} has {labels.nunique()} groups in {len(labels)} rows; at least {rows} rows a "
            "group are needed. Make classes of a number first: pd.cut, pd.qcut."
        )
    for level, kind in ((0, "unit"), (1, "period")):
        if (labels.groupby(level=level).nunique() == 1).all():
            return labels, kind
    return labels, "cell"


def _by_entity(groups: Mapping[Hashable, Any] | pd.Series) -> pd.Series:
    """Return the group of every entity, each once."""
    if not isinstance(groups, pd.Series):
        return pd.Series(dict(groups), dtype=object)
    if groups.index.nlevels > 1:
        raise DataError(
            "groups must be indexed by entity alone; its index has "
            f"{groups.index.nlevels} levels. Make groups of rows a column of the panel."
        )
    found = groups.groupby(level=0, observed=True).nunique(dropna=False)
    several = found.index[found > 1]
    if several.size:
        raise DataError(f"groups give more than one group to {listing(several)}.")
    return groups[~groups.index.duplicated()]


def as_text(names: Iterable[Hashable]) -> list[str]:
    """Return the names of groups as text, which must tell them apart."""
    names = list(names)
    found = [str(name) for name in names]
    if len(set(found)) < len(found):
        raise DataError(f"The names of groups must differ as text: {listing(names)}.")
    return found


def ordered(labels: pd.Series) -> list[Hashable]:
    """Return the groups: in the order of their categories, or sorted."""
    if isinstance(labels.dtype, pd.CategoricalDtype):
        return [group for group in labels.cat.categories if (labels == group).any()]
    found = list(labels.unique())
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=str)


# --- masks ----------------------------------------------------------------------------------


def _mask(panel: Panel, sample: Any, name: Hashable) -> np.ndarray:
    """Return which rows of the panel's frame a sample selects."""
    if isinstance(sample, Callable):  # type: ignore[arg-type]
        sample = _called(sample, panel, name)
    if isinstance(sample, str):
        return _query(panel, sample, name)
    if isinstance(sample, pd.Series) and pd.api.types.infer_dtype(sample) == "boolean":
        return _aligned(panel, sample, name)
    if isinstance(sample, (list, tuple, set, frozenset, pd.Index, pd.Series)):
        wanted = pd.Index(list(sample))
        unknown = wanted.difference(panel.entities)
        if unknown.size:
            raise DataError(
                f"The sample {name!r} names {listing(unknown)}, which the panel does not have."
            )
        return panel.frame.index.get_level_values(0).isin(wanted)
    raise OptionError(f"The sample {name!r} must be {KINDS}; got {type(sample).__name__}.")


def _called(function: Callable[[pd.DataFrame], Any], panel: Panel, name: Hashable) -> Any:
    try:
        return function(panel.frame.copy())
    except Exception as error:  # whatever a function of the user raises
        raise DataError(
            f"The function of the sample {name!r} failed: {type(error).__name__}: {error}"
        ) from error


def _query(panel: Panel, query: str, name: Hashable) -> np.ndarray:
    frame = panel.frame.reset_index()
    try:
        found = frame.eval(query)
    except Exception as error:  # whatever a parser of expressions raises
        raise OptionError(
            f"The query {query!r} of the sample {name!r} cannot be evaluated: {error} The columns "
            f"are: {listing(frame.columns, 20)}."
        ) from error
    if not (isinstance(found, pd.Series) and pd.api.types.is_bool_dtype(found)):
        raise OptionError(
            f"The query {query!r} of the sample {name!r} must be true or false for every row, as "
            "in 'year > 1970'."
        )
    return _flags(found, name)


def _flags(mask: pd.Series, name: Hashable) -> np.ndarray:
    missing = mask.index[mask.isna()]
    if len(missing):
        raise DataError(
            f"The sample {name!r} is neither true nor false in {len(missing)} row(s): "
            f"{listing(missing)}. Say what is meant there: mask.fillna(False)."
        )
    return mask.to_numpy(dtype=bool)


def _aligned(panel: Panel, mask: pd.Series, name: Hashable) -> np.ndarray:
    """Return a boolean Series in the order of the panel's rows, matched by label."""
    index = panel.frame.index
    if list(mask.index.names) == list(index.names)[::-1] and len(set(index.names)) == 2:
        mask = mask.swaplevel()  # its levels say that they are (time, entity)
    keys = index if mask.index.nlevels == 2 else index.get_level_values(0)
    if mask.index.nlevels > 2 or mask.index.has_duplicates:
        raise OptionError(
            f"The mask of the sample {name!r} must be indexed by (entity, time), or by entity, "
            "each once."
        )
    at = mask.index.get_indexer(keys)
    if (at < 0).any():
        raise DataError(
            f"The mask of the sample {name!r} says nothing about {listing(keys[at < 0].unique())}: "
            "its index must hold the (entity, time) pairs, or the entities, of the panel."
        )
    return _flags(mask, name)[at]
