"""GAL and GWT files, the lists of GeoDa and PySAL: one line for a unit, or for a link."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from spatial_agglo.errors import listing
from spatial_agglo.weights.formats.record import (
    ID_TEXT,
    Exchange,
    Links,
    from_edges,
    problem,
    text_of,
)


def read_gal(path: Path) -> Links:
    """Read neighbour lists: ``0 N file id-name`` or ``N``, then two lines for every unit.

    The lines of a unit are ``id count`` and the ids of its neighbours; after a count of zero
    the second may be missing.
    """
    lines = text_of(path).splitlines()
    N, guess = _header(path, lines[0])
    units: dict[str, int] = {}
    others: list[str] = []
    counts: list[int] = []
    where: list[int] = []
    at = 1
    while at < len(lines):
        fields = lines[at].split()
        at += 1
        if not fields:
            continue
        if len(fields) != 2:
            raise problem(path, f"expected 'id count', got {lines[at - 1].strip()!r}.", at)
        unit, count = fields[0], _count(path, fields[1], at)
        if unit in units:
            raise problem(path, f"unit {unit!r} occurs twice.", at)
        units[unit] = len(units)
        counts.append(count)
        where.append(at + 1)
        if count == 0 and at < len(lines) and lines[at].split():
            continue
        listed = lines[at].split() if at < len(lines) else []
        at += 1
        if len(listed) != count:
            raise problem(
                path,
                f"unit {unit!r} announces {count} neighbour(s) and lists {len(listed)}.",
                at,
            )
        others += listed
    if len(units) != N:
        raise problem(
            path,
            f"the first line announces {N} units, the file holds {len(units)} ({listing(units)}).",
        )
    source = np.repeat(np.arange(N), counts)
    target = pd.Index(list(units), dtype=object).get_indexer(pd.Index(others, dtype=object))
    numbers = np.repeat(np.array(where, dtype=np.intp), counts)
    if (target < 0).any():
        first = int(np.argmax(target < 0))
        unknown = [other for other, place in zip(others, target, strict=True) if place < 0]
        raise problem(path, f"neighbours that are not units: {listing(unknown)}.", numbers[first])
    ones = np.ones(target.size)
    return Links(path, list(units), N, source, target, ones, guess=guess, lines=numbers)


def write_gal(content: Exchange, path: Path) -> None:
    """Write neighbour lists, which hold no weights."""
    labels = _unbroken(content, path, "GAL")
    matrix = content.matrix
    other = int((matrix.data != 1.0).sum())
    if other:
        raise problem(
            path,
            f"GAL files hold neighbours without weights, and {other} of the {matrix.nnz} weights "
            "differ from 1: they would be lost. Write a .gwt, .mtx, .parquet, .csv or .dta file, "
            "or call spatial_agglo.weights.formats.write(W, path, values=False) to keep the "
            "links alone.",
        )
    neighbours = np.array(labels, dtype=object)[matrix.indices].tolist()
    ends = matrix.indptr.tolist()
    rows = [f"0 {len(labels)} unknown {content.id_name}"]
    for label, start, stop in zip(labels, ends[:-1], ends[1:], strict=True):
        rows += [f"{label} {stop - start}", " ".join(neighbours[start:stop])]
    path.write_bytes(("\n".join(rows) + "\n").encode("utf-8"))


def read_gwt(path: Path) -> Links:
    """Read links: ``0 N file id-name`` or ``N``, then ``unit neighbour weight``."""
    text = text_of(path)
    lines = text.splitlines()
    N, guess = _header(path, lines[0])
    # Keeping a list for every line would cost more time than all the rest.
    sizes = np.fromiter(map(len, map(str.split, lines)), dtype=np.intp, count=len(lines))
    wrong = np.flatnonzero((sizes[1:] != 3) & (sizes[1:] != 0)) + 1
    if wrong.size:
        got = lines[wrong[0]].strip()
        raise problem(path, f"expected 'unit neighbour weight', got {got!r}.", int(wrong[0]) + 1)
    numbers = np.flatnonzero(sizes[1:]) + 2
    if not numbers.size:
        raise problem(path, "the file has no links.")
    fields = text.split()[sizes[0] :]
    source, target, weight = fields[0::3], fields[1::3], fields[2::3]
    try:
        values = np.array(list(map(float, weight)))
    except ValueError:
        place = next(k for k, cell in enumerate(weight) if not _is_number(cell))
        raise problem(
            path, f"a weight is expected, got {weight[place]!r}.", int(numbers[place])
        ) from None
    return from_edges(path, source, target, values, n=N, guess=guess, lines=numbers)


def write_gwt(content: Exchange, path: Path) -> None:
    """Write one line for every link, with as many digits as the weight needs."""
    labels = np.array(_unbroken(content, path, "GWT"), dtype=object)
    source, target, weight = content.links()
    rows = [f"0 {labels.size} unknown {content.id_name}\n"]
    parts = (labels[source].tolist(), labels[target].tolist(), weight.tolist())
    rows += [f"{unit} {other} {value!r}\n" for unit, other, value in zip(*parts, strict=True)]
    path.write_bytes("".join(rows).encode("utf-8"))


def _header(path: Path, line: str) -> tuple[int, bool]:
    """Return the number of units, and whether their labels may stand for integers."""
    fields = line.split()
    if not fields:
        raise problem(path, "the number of units is expected.", 1)
    N = _count(path, fields[1] if len(fields) > 1 else fields[0], 1)
    return N, fields[-1] != ID_TEXT


def _count(path: Path, text: str, line: int) -> int:
    if not (text.isascii() and text.isdigit()):
        raise problem(path, f"a count is expected, got {text!r}.", line)
    return int(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unbroken(content: Exchange, path: Path, kind: str) -> list[str]:
    """Return the labels as text, or raise: a blank would end them."""
    labels = content.text
    blank = [label for label in labels if not label or any(c.isspace() for c in label)]
    if blank:
        raise problem(
            path,
            f"{kind} files cannot hold ids that are empty or have blanks: {listing(blank)}. "
            "Relabel them, or write a .mtx, .parquet, .csv or .dta file.",
        )
    return labels
