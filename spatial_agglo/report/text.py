"""A table as aligned plain text."""

from __future__ import annotations

import textwrap

from spatial_agglo.report.formats import Cell, split
from spatial_agglo.report.layout import Layout

#: Notes are not wrapped to less than this.
NARROWEST = 72
_TIE = "\N{NO-BREAK SPACE}"


def render(layout: Layout) -> str:
    """Return a table as text: digits aligned, stars and brackets hanging.

    Parameters
    ----------
    layout : Layout

    Returns
    -------
    str

    Examples
    --------
    >>> import pandas as pd
    >>> body = pd.DataFrame({"SDM": ["-1.00***", "(-24.3)"]}, index=["logp", ""])
    >>> render(Layout.of("", body, (), "")).splitlines()[3:5]
    ['logp  -1.00***', '      (-24.3)']
    """
    labels = [("  " if line.indented else "") + line.label for line in layout.lines]
    first = max(len(label) for label in [layout.corner, *labels])
    widths = [
        _widths(head, [split(line.cells[j]) for line in layout.lines if line.cells])
        for j, head in enumerate(layout.heads)
    ]
    width = first + sum(core + tail + 2 for core, tail in widths)
    rule = "-" * width
    out = wrap(layout.title, width)
    out.append(rule)
    if layout.spans:
        out.append(_span_line(layout, first, widths))
    out += [_row(layout.corner, [Cell(head, "") for head in layout.heads], first, widths), rule]
    for label, line in zip(labels, layout.lines, strict=True):
        out += [rule] * (line.ruled and out[-1] != rule)
        out.append(_row(label, [split(cell) for cell in line.cells], first, widths))
    out.append(rule)
    for note in layout.notes:
        out += wrap(note, width)
    return "\n".join(out)


def wrap(note: str, width: int) -> list[str]:
    """Break a note into lines, never inside "p < 0.05", "N - 1" or a word with a hyphen.

    Parameters
    ----------
    note : str
    width : int
        At least; notes are not wrapped to less than 72.

    Returns
    -------
    list of str

    Examples
    --------
    >>> wrap("a short note", 40)
    ['a short note']
    """
    for sign in "<=-":
        note = note.replace(f" {sign} ", f"{_TIE}{sign}{_TIE}")
    lines = textwrap.wrap(
        note, max(width, NARROWEST), break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_TIE, " ") for line in lines]


def _widths(head: str, cells: list[Cell]) -> tuple[int, int]:
    """Room for the aligned part and for what hangs; a heading may use both."""
    core = max(len(cell.core) for cell in cells)
    tail = max(len(cell.tail) for cell in cells)
    return max(core, len(head)), tail


def _row(label: str, cells: list[Cell], first: int, widths: list[tuple[int, int]]) -> str:
    parts = [f"{label:<{first}}"]
    parts += [
        f"{cell.core:>{core}}{cell.tail:<{tail}}"
        for cell, (core, tail) in zip(cells, widths, strict=False)
    ]
    return "  ".join(parts).rstrip()


def _span_line(layout: Layout, first: int, widths: list[tuple[int, int]]) -> str:
    parts, j = [" " * first], 0
    for text, count in layout.spans:
        width = sum(core + tail + 2 for core, tail in widths[j : j + count]) - 2
        parts.append(f"{text:^{width}}")
        j += count
    return "  ".join(parts).rstrip()
