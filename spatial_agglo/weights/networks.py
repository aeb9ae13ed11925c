"""Weights from other networks: edge lists, flows, groups."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from spatial_agglo.errors import DataError, WeightsError, check_option, listing
from spatial_agglo.panel import numeric
from spatial_agglo.weights.labels import as_labels
from spatial_agglo.weights.matrix import SpatialWeights

DIRECTIONS = ("out", "in", "both")


def from_edges(
    table: pd.DataFrame,
    *,
    source: Hashable,
    target: Hashable,
    weight: Hashable | None = None,
    ids: Sequence[Hashable] | pd.Index | None = None,
    description: str = "user-supplied links",
    isolates: str = "error",
) -> SpatialWeights:
    """Make weights from an edge list: row ``source``, column ``target``.

    Parameters
    ----------
    table : DataFrame
        One row per link.
    source, target : column labels
        The unit that gives the weight and the neighbour that gets it.
    weight : column label, optional
        Weights; one for every link when left out.
    ids : sequence, optional
        All units in order; by default those that occur, sorted.
    isolates : {"error", "allow"}

    Returns
    -------
    SpatialWeights
        Not standardised.

    Raises
    ------
    WeightsError
        Links that occur twice, self-links, units that are not in ``ids``, bad weights (named).

    Examples
    --------
    >>> import pandas as pd
    >>> trade = pd.DataFrame({"from": ["a", "b"], "to": ["b", "a"], "value": [2.0, 3.0]})
    >>> from_edges(trade, source="from", target="to", weight="value").to_frame().loc["b"].tolist()
    [3.0, 0.0]
    """
    absent = [name for name in (source, target) if name not in table.columns]
    if absent:
        raise DataError(
            f"The table has no column {listing(absent)}; it has {listing(table.columns, 20)}."
        )
    first, second = pd.Index(table[source]), pd.Index(table[target])
    gaps = np.flatnonzero(first.isna() | second.isna())
    if gaps.size:
        raise WeightsError(f"{gaps.size} link(s) lack a unit (row positions {listing(gaps)}).")
    labels = as_labels(first.union(second).unique() if ids is None else ids)
    rows, columns = labels.get_indexer(first), labels.get_indexer(second)
    unknown = first[rows < 0].union(second[columns < 0])
    if unknown.size:
        raise WeightsError(f"Links name units that are not among ids: {listing(unknown.unique())}.")
    pairs = pd.MultiIndex.from_arrays([first, second])
    if pairs.has_duplicates:
        raise WeightsError(
            f"Links occur more than once: {listing(pairs[pairs.duplicated()].unique())}. Add "
            "them up, or drop the repeated rows."
        )
    values = np.ones(len(table)) if weight is None else numeric(table, weight)
    matrix = sparse.csr_array((values, (rows, columns)), shape=(labels.size,) * 2)
    return SpatialWeights(matrix, labels, description=description, isolates=isolates)


def flows(
    data: pd.DataFrame,
    *,
    direction: str = "out",
    source: Hashable | None = None,
    target: Hashable | None = None,
    value: Hashable | None = None,
    description: str | None = None,
    isolates: str = "error",
) -> SpatialWeights:
    """Weight units by flows between them: trade, migration, input and output.

    Parameters
    ----------
    data : DataFrame
        A square table (rows send, columns receive; same labels on both), or an edge list with
        ``source``, ``target`` and ``value``. What a unit sends to itself is left out.
    direction : {"out", "in", "both"}
        ``w_ij`` is what i sends to j, what i receives from j, or their sum.
    isolates : {"error", "allow"}

    Returns
    -------
    SpatialWeights
        Not standardised.

    Raises
    ------
    WeightsError
        Labels that differ, negative or missing flows (named).

    Examples
    --------
    >>> import pandas as pd
    >>> trade = pd.DataFrame([[9, 2], [3, 9]], index=["a", "b"], columns=["a", "b"])
    >>> flows(trade, direction="in").to_frame().loc["a"].tolist()
    [0.0, 3.0]
    """
    check_option("direction", direction, DIRECTIONS)
    given = [name is not None for name in (source, target, value)]
    if any(given) and not all(given):
        raise WeightsError("An edge list needs source=, target= and value= together.")
    if all(given):
        table, units = data, None
        if {source, target} <= set(data):
            units = pd.Index(data[source]).union(pd.Index(data[target])).dropna().unique()
            table = data[data[source] != data[target]]
        assert source is not None
        assert target is not None
        sent = from_edges(
            table, source=source, target=target, weight=value, ids=units, isolates="allow"
        )
    else:
        square = data.astype(float).copy()
        if square.shape[0] == square.shape[1] and set(square.index) == set(square.columns):
            square = square.loc[:, square.index]
            square = square.mask(np.eye(len(square), dtype=bool), 0.0)
        sent = SpatialWeights.from_frame(square, isolates="allow")
    matrix = {
        "out": sent.matrix,
        "in": sparse.csr_array(sent.matrix.T),
        "both": sparse.csr_array(sent.matrix + sent.matrix.T),
    }[direction]
    symbol = {"out": "flow_ij", "in": "flow_ji", "both": "flow_ij + flow_ji"}[direction]
    return SpatialWeights(
        matrix,
        sent.ids,
        description=description or f"flows ({direction})",
        formula=f"w_ij = {symbol}",
        meaning="partners with larger flows weigh more",
        isolates=isolates,
    )


def groups(membership: Any, *, isolates: str = "error") -> SpatialWeights:
    """Link all units of the same group, ``w_ij = 1`` (block weights).

    Parameters
    ----------
    membership : Series
        Group of every unit, labelled by unit.
    isolates : {"error", "allow"}
        What to do with units that are alone in their group.

    Returns
    -------
    SpatialWeights
        Symmetric, binary, not standardised.

    Raises
    ------
    WeightsError
        Units without a group, or alone in it.

    Examples
    --------
    >>> import pandas as pd
    >>> region = pd.Series({"a": "east", "b": "west", "c": "east", "d": "west"})
    >>> groups(region).to_frame().loc["a"].tolist()
    [0.0, 0.0, 1.0, 0.0]
    """
    if not isinstance(membership, pd.Series):
        raise WeightsError(
            f"A Series with the group of every unit is needed; got {type(membership).__name__}."
        )
    labels = as_labels(membership.index)
    missing = np.asarray(membership.isna())
    if missing.any():
        raise WeightsError(
            f"{int(missing.sum())} unit(s) have no group: {listing(labels[missing])}."
        )
    codes, names = pd.factorize(membership)
    member = sparse.csr_array(
        (np.ones(labels.size), (np.arange(labels.size), codes)), shape=(labels.size, len(names))
    )
    matrix = sparse.csr_array(member @ member.T - sparse.eye_array(labels.size))
    return SpatialWeights(
        matrix,
        labels,
        description=f"membership in {len(names)} group(s)",
        formula="w_ij = 1 if i and j belong to the same group, else 0",
        isolates=isolates,
    )
