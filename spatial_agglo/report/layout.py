"""What all forms of a table share: its lines, headings and labels, laid out once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Line:
    """A line of the body: a row of cells, or the heading of a block (no cells)."""

    label: str
    cells: tuple[str, ...]
    ruled: bool = False
    indented: bool = False


@dataclass(frozen=True)
class Layout:
    """A table as it is seen, whatever it is written in.

    Attributes
    ----------
    title : str
    corner : str
        What stands above the labels of the rows.
    spans : tuple of (str, int)
        Headings over several columns with their width; empty with one level of columns.
    heads : tuple of str
        Headings of the columns.
    lines : tuple of Line
    notes : tuple of str
    """

    title: str
    corner: str
    spans: tuple[tuple[str, int], ...]
    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, title: str, body: pd.DataFrame, notes: tuple[str, ...], footer: str) -> Layout:
        """Lay out the body of a table.

        Examples
        --------
        >>> body = pd.DataFrame({"SDM": ["-1.00", "0.27"]}, index=["logp", "rho"])
        >>> [line.label for line in Layout.of("Estimates", body, (), "").lines]
        ['logp', 'rho']
        """
        columns = column_labels(body)
        name = body.index.name if body.index.nlevels == 1 else None
        return cls(
            title=title,
            corner="" if name is None else str(name),
            spans=tuple(_spans(columns)) if body.columns.nlevels > 1 else (),
            heads=tuple(column[-1] for column in columns),
            lines=tuple(_lines(body, footer)),
            notes=notes,
        )


def column_labels(body: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the headings of every column, from the outermost.

    Examples
    --------
    >>> column_labels(pd.DataFrame({("logc", "I"): ["0.2"], ("logc", "z"): ["2.7"]}))
    [('logc', 'I'), ('logc', 'z')]
    """
    return [
        tuple(map(str, column)) if isinstance(column, tuple) else (str(column),)
        for column in body.columns
    ]


def _spans(columns: list[tuple[str, ...]]) -> list[tuple[str, int]]:
    spans: list[tuple[str, int]] = []
    for outer, *_ in columns:
        if spans and spans[-1][0] == outer:
            spans[-1] = (outer, spans[-1][1] + 1)
        else:
            spans.append((outer, 1))
    return spans


def _lines(body: pd.DataFrame, footer: str) -> Iterator[Line]:
    """Headings where a block begins, labels only where they change."""
    last_block = last_label = ""
    for key, *cells in body.itertuples(name=None):
        parts = [str(part) for part in key] if isinstance(key, tuple) else ["", str(key)]
        block, label = parts[0], parts[1]
        new, headed = block != last_block, bool(block) and block != footer
        if new and headed:
            yield Line(block, ())
        repeated = len(parts) > 2 and not new and label == last_label
        yield Line(
            "" if repeated else label,
            tuple(cells),
            ruled=new and not headed,
            indented=headed,
        )
        last_block, last_label = block, label
