"""CSV files: the labelled N x N table, or a list of links."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from spatial_agglo.errors import listing
from spatial_agglo.weights.formats.record import (
    ID_TEXT,
    Exchange,
    Links,
    dense_allowed,
    from_edges,
    problem,
    text_of,
)

#: Headers that make a list of links: unit, neighbour, weight.
EDGE_NAMES = (("source", "target", "weight"), ("focal", "neighbor", "weight"))


def read_csv(path: Path) -> Links:
    """Read a table with labels in its first column and header, or a list of links.

    A header of source, target and weight, in any order, makes a list of links.
    """
    rows = _rows(path)
    _, header = next(rows)
    names = [name.strip().lower() for name in header]
    for edge_names in EDGE_NAMES:
        if sorted(names) == sorted(edge_names):
            return _edges(path, rows, [names.index(name) for name in edge_names])
    return _table(path, rows, header)


def write_csv(content: Exchange, path: Path) -> None:
    """Write the table of all pairs, with as many digits as the weights need."""
    dense_allowed(content, path)
    labels, matrix = content.text, content.matrix
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([content.id_name, *labels])
    for label, start, stop in zip(labels, matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        row = ["0"] * len(labels)
        for column in range(start, stop):
            row[matrix.indices[column]] = repr(float(matrix.data[column]))
        writer.writerow([label, *row])
    path.write_bytes(out.getvalue().encode("utf-8"))


def _table(path: Path, rows: Iterator[tuple[int, list[str]]], header: list[str]) -> Links:
    """Return the record of a table whose columns may come in another order than its rows."""
    columns = header[1:]
    labels: list[str] = []
    if not columns:
        raise problem(path, f"a header with commas is expected, got {','.join(header)!r}.", 1)
    source, target, weight, lines = [], [], [], []
    for line, (label, *cells) in rows:
        if len(cells) != len(columns):
            raise problem(
                path,
                f"the header has {len(columns)} units, the row of {label!r} {len(cells)} cells.",
                line,
            )
        try:
            values = np.array(list(map(float, cells)))
        except ValueError:
            at = next(k for k, cell in enumerate(cells) if _number(cell) is None)
            raise problem(
                path,
                f"a weight is expected at unit {label!r} and neighbour {columns[at]!r}, got "
                f"{cells[at]!r}.",
                line,
            ) from None
        linked = np.flatnonzero(values)
        source.append(np.full(linked.size, len(labels)))
        target.append(linked)
        weight.append(values[linked])
        lines.append(np.full(linked.size, line))
        labels.append(label)
    if not labels:
        raise problem(path, "there is a header and no row.")
    place = pd.Index(labels, dtype=object)
    for where, index in (("first column", place), ("header", pd.Index(columns, dtype=object))):
        twice = index[index.duplicated()]
        if twice.size:
            raise problem(path, f"labels that occur twice in the {where}: {listing(twice)}.")
    if set(labels) != set(columns):
        raise problem(
            path,
            "the first column and the header must have the same labels; only one of them has: "
            f"{listing(sorted(set(labels) ^ set(columns)))}.",
        )
    order = place.get_indexer(pd.Index(columns, dtype=object))
    return Links(
        path,
        labels,
        len(labels),
        np.concatenate(source),
        order[np.concatenate(target)],
        np.concatenate(weight),
        guess=header[0] != ID_TEXT,
        lines=np.concatenate(lines),
    )


def _edges(path: Path, rows: Iterator[tuple[int, list[str]]], order: list[int]) -> Links:
    """Return the record of a list of links, whose columns come in ``order``."""
    lines, fields = [], []
    for line, row in rows:
        if len(row) != 3:
            raise problem(path, f"three cells are expected, got {len(row)}.", line)
        unit, other, text = (row[at] for at in order)
        value = _number(text)
        if value is None:
            raise problem(path, f"a weight is expected, got {text!r}.", line)
        lines.append(line)
        fields.append((unit, other, value))
    if not fields:
        raise problem(path, "the file has no links.")
    source, target, weight = zip(*fields, strict=True)
    return from_edges(path, source, target, np.array(weight), lines=np.array(lines))


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the number of its last line."""
    reader = csv.reader(io.StringIO(text_of(path), newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise problem(path, f"this is not a good CSV file: {error}.", reader.line_num) from None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
