"""Parquet files: a table of links, and the full list of units in its metadata."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from spatial_agglo.errors import MissingDependencyError, listing
from spatial_agglo.weights.formats.csv_table import EDGE_NAMES
from spatial_agglo.weights.formats.record import (
    Exchange,
    Links,
    checked_labels,
    from_edges,
    known_facts,
    problem,
)

#: Key of the metadata that hold the labels and the description.
KEY = b"spatial_agglo"


def read_parquet(path: Path) -> Links:
    """Read columns source, target, weight (or libpysal's focal, neighbor, weight)."""
    arrow, parquet = _pyarrow()
    try:
        with path.open("rb") as file:
            table = parquet.read_table(file)
        table.validate(full=True)
        columns = table.column_names
        names = next((names for names in EDGE_NAMES if set(names) <= set(columns)), None)
        frame = table.select(list(names or ())).to_pandas(ignore_metadata=True)
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise problem(path, f"this is not a good Parquet file. {error}") from None
    if names is None:
        raise problem(
            path,
            "columns source, target and weight (or focal, neighbor and weight) are needed; got "
            f"{listing(columns)}.",
        )
    if not pd.api.types.is_numeric_dtype(frame["weight"].dtype):
        kind = table.schema.field("weight").type
        raise problem(path, f"the column weight must hold numbers; it is of type {kind}.")
    weight = frame["weight"].to_numpy(dtype=float)
    source, target = (_labels(frame[name]) for name in names[:2])
    edges = from_edges(path, source, target, weight, guess=False)
    checked_labels(path, edges.labels or [])
    stored = (table.schema.metadata or {}).get(KEY)
    return edges if stored is None else _with_all_units(edges, stored)


def write_parquet(content: Exchange, path: Path) -> None:
    """Write columns source, target, weight."""
    arrow, parquet = _pyarrow()
    labels = arrow.array(content.labels)
    source, target, weight = content.links()
    table = arrow.table(
        {"source": labels.take(source), "target": labels.take(target), "weight": weight}
    )
    stored = json.dumps({"ids": content.labels, **content.about})
    with path.open("wb") as file:
        parquet.write_table(table.replace_schema_metadata({KEY: stored}), file)


def _with_all_units(edges: Links, stored: bytes) -> Links:
    """Return the links with the units that the file lists, in their order."""
    path, found = edges.path, edges.labels or []
    try:
        about = json.loads(stored)
        ids = list(about["ids"])
    except (ValueError, KeyError, TypeError):
        raise problem(path, "the metadata 'spatial_agglo' do not list the units.") from None
    checked_labels(path, ids)
    place = pd.Index(ids, dtype=object).get_indexer(pd.Index(found, dtype=object))
    if (place < 0).any():
        unknown = [label for label, at in zip(found, place, strict=True) if at < 0]
        raise problem(path, f"links of units that the file does not list: {listing(unknown)}.")
    return Links(
        path,
        ids,
        len(ids),
        place[edges.source],
        place[edges.target],
        edges.weight,
        about=known_facts(about),
    )


def _labels(column: pd.Series) -> pd.Series:
    """Return a column of labels; a categorical one is spelled out."""
    return column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column


def _pyarrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet files need pyarrow, which is not installed. Install it with "
            "pip install 'spatial-agglo[parquet]', or use a .mtx or .gwt file."
        ) from error
