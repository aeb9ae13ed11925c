"""Matrix Market files: the matrix by scipy, the labels in comment lines."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from spatial_agglo.errors import WeightsError
from spatial_agglo.weights.formats.record import (
    Exchange,
    Links,
    checked_labels,
    known_facts,
    problem,
)

#: The comment after which every comment is a key and a value in JSON.
MARK = "spatial_agglo"
#: A number in a line of the matrix.
NUMBER = rb"[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|(?i:nan|inf(?:inity)?))"


def read_mtx(path: Path) -> Links:
    """Read a matrix, and its labels if the file is one of :func:`write_mtx`."""
    from scipy.io import mminfo, mmread

    raw = path.read_bytes().rstrip() + b"\n"
    labels, about = _comments(path, raw)
    try:
        *_, layout, field, _ = mminfo(io.BytesIO(raw))
        if field == "complex":
            raise problem(path, "the weights are complex numbers; real ones are needed.")
        _check_lines(path, raw, layout, field)
        found = mmread(io.BytesIO(raw))
    except WeightsError:
        raise
    except (ValueError, OverflowError) as error:
        raise problem(path, f"this is not a good Matrix Market file. {error}") from None
    matrix = sparse.coo_array(found)
    rows, columns = matrix.shape
    if rows != columns:
        raise problem(path, f"a square matrix is needed; got {rows} x {columns}.")
    if labels is not None and len(labels) != rows:
        raise problem(path, f"the comments name {len(labels)} units, the matrix has {rows} rows.")
    source, target = (axis.astype(np.intp) for axis in matrix.coords)
    return Links(path, labels, rows, source, target, matrix.data.astype(float), about=about)


def write_mtx(content: Exchange, path: Path) -> None:
    """Write a matrix whose comment lines are the labels, in order.

    JSON tells strings from integers and needs no more than ASCII. Both triangles are written
    even if they agree, which every reader understands.
    """
    from scipy.io import mmwrite

    comments = [MARK]
    comments += [f"{key} {json.dumps(value)}" for key, value in content.about.items()]
    comments += [f"id {json.dumps(label)}" for label in content.labels]
    with path.open("wb") as file:
        mmwrite(
            file,
            sparse.coo_array(content.matrix),
            comment="\n".join(comments),
            field="real",
            symmetry="general",
        )


def _check_lines(path: Path, raw: bytes, layout: str, field: str) -> None:
    """Raise unless every line after the sizes holds what it should.

    scipy's reader takes ``0,5`` for 0 and ``1x`` for 1 without a word, and reads past the end
    of a file whose last line breaks off.
    """
    if layout == "array":
        wanted, line = "numbers", NUMBER
    elif field == "pattern":
        wanted, line = "two positions", rb"[0-9]+[ \t]+[0-9]+"
    else:
        wanted, line = "two positions and a number", rb"[0-9]+[ \t]+[0-9]+[ \t]+" + NUMBER
    head = re.match(rb"(?:%.*\n|[ \t\r]*\n)*.*\n", raw)
    other = re.compile(rb"^(?![ \t\r]*(?:" + line + rb")?[ \t\r]*$).*$", re.MULTILINE)
    found = other.search(raw, head.end() if head else 0)
    if found:
        got = found[0].decode("utf-8", "replace").strip()
        number = raw.count(b"\n", 0, found.start()) + 1
        raise problem(path, f"{wanted} are expected, got {got[:80]!r}.", number)


def _comments(path: Path, raw: bytes) -> tuple[list[Any] | None, dict[str, str]]:
    """Return the labels (None if there are none) and what is said about the matrix."""
    labels: list[Any] = []
    about: dict[str, str] = {}
    ours = False
    for number, line in enumerate(io.BytesIO(raw), start=1):
        if not line.startswith(b"%"):
            break
        if not ours:
            ours = line[1:].strip() == MARK.encode()
            continue
        key, _, text = line[1:].partition(b" ")
        try:
            value = json.loads(text)
        except ValueError:
            shown = line.decode("utf-8", "replace").strip()
            raise problem(
                path, f"expected '%id' and a label in JSON, got {shown!r}.", number
            ) from None
        if key == b"id":
            labels.append(value)
        else:
            about[key.decode("utf-8", "replace")] = value
    if not ours:
        return None, {}
    checked_labels(path, labels)
    return labels, known_facts(about)
