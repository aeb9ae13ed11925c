"""What all formats share: the record of a file, its checks, and the rules for labels."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.errors import WeightsError, listing, plain
from spatial_agglo.weights.labels import as_labels
from spatial_agglo.weights.matrix import ROW_SUM_TOLERANCE, STANDARDIZATIONS, SpatialWeights

#: What ``ids`` may say instead of listing the labels.
ID_KINDS = ("int", "str")
#: Names of the id variable in the header of a text file; the second says "not integers".
ID, ID_TEXT = "id", "id_text"
#: An N x N table of more units than this is refused: it is 25 million cells by then.
TABLE_UNITS = 5_000

#: Text that can only be an integer: it prints as it reads, and it fits 64 bits.
CANONICAL = re.compile(r"0|-?[1-9][0-9]{0,17}")
INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True)
class Links:
    """What a file says, before it is checked.

    ``labels`` is None if the file has none; ``n`` is the number of units that it announces.
    ``guess`` says that labels are text which may stand for integers, ``complete`` that units
    missing from ``labels`` are not units of the file; ``lines`` are those of the links.
    """

    path: Path
    labels: Sequence[Any] | None
    n: int | None
    source: NDArray[np.intp]
    target: NDArray[np.intp]
    weight: NDArray[np.float64]
    guess: bool = False
    complete: bool = True
    lines: NDArray[np.intp] | None = None
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exchange:
    """Weights in a form that every format can hold: labels all strings or all integers."""

    labels: list[str] | list[int]
    matrix: sparse.csr_array
    about: dict[str, str]

    @property
    def text(self) -> list[str]:
        """The labels as text."""
        return [str(label) for label in self.labels]

    @property
    def id_name(self) -> str:
        """The id variable's name in a text file, which tells digits from numbers."""
        digits = all(isinstance(label, str) and CANONICAL.fullmatch(label) for label in self.labels)
        return ID_TEXT if digits else ID

    def links(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Return source, target and weight, unit by unit; isolates link to themselves with 0."""
        counts = np.diff(self.matrix.indptr)
        alone = np.flatnonzero(counts == 0)
        source = np.concatenate([np.repeat(np.arange(counts.size), counts), alone])
        order = np.argsort(source, kind="stable")
        target = np.concatenate([self.matrix.indices, alone])
        weight = np.concatenate([self.matrix.data, np.zeros(alone.size)])
        return source[order], target[order], weight[order]


def problem(path: Path, what: str, line: int | None = None) -> WeightsError:
    """Return an error that names the file and, if it is known, the line."""
    where = path.name if line is None else f"{path.name}, line {line}"
    return WeightsError(f"{where}: {what}")


def portable(W: SpatialWeights, path: Path, *, values: bool) -> Exchange:
    """Return what is written, or raise if the labels would not come back as they are."""
    labels = W.ids.tolist()
    integers = all(isinstance(label, int) and not isinstance(label, bool) for label in labels)
    if not integers and not all(isinstance(label, str) for label in labels):
        other = [x for x in labels if not isinstance(x, str)]
        raise problem(
            path,
            "labels must be all strings or all integers to be written; got, among others, "
            f"{listing(other, 3)}. Relabel the units, for example as strings.",
        )
    if integers:
        long = [label for label in labels if abs(label) >= 10**18]
        if long:
            raise problem(path, f"integer labels have at most 18 digits; got {listing(long)}.")
    else:
        broken = [label for label in labels if not _encodable(label)]
        if broken:
            raise problem(path, f"labels that are not valid Unicode: {listing(broken)}.")
    matrix = W.matrix
    if not values:
        matrix = sparse.csr_array(
            (np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape
        )
    about = {"description": W.description, "formula": W.formula, "meaning": W.meaning}
    about["standardization"] = W.standardization if values else "none"
    return Exchange(labels, matrix, about)


def build(
    links: Links, ids: str | Sequence[Hashable] | pd.Index | None, isolates: str
) -> SpatialWeights:
    """Return the weights of a file, or raise an error that names the file."""
    labels, source, target = _resolved(links, ids)
    N, weight = labels.size, links.weight

    def refuse(bad: NDArray[np.bool_], what: str) -> None:
        if bad.any():
            places = np.flatnonzero(bad)
            names = "; ".join(
                f"{plain(labels[source[k]])!r} to {plain(labels[target[k]])!r}"
                + ("" if links.lines is None else f" (line {links.lines[k]})")
                for k in places[:5]
            )
            more = f" and {places.size - 5} more" if places.size > 5 else ""
            raise problem(links.path, f"{what}: {names}{more}.")

    refuse(~np.isfinite(weight), "weights that are missing or infinite")
    refuse(weight < 0, "weights that are negative")
    refuse((source == target) & (weight != 0), "units that are their own neighbour")
    repeated = pd.Series(source.astype(np.int64) * N + target).duplicated().to_numpy()
    refuse(repeated, "links that are given twice")
    matrix = sparse.csr_array((weight, (source, target)), shape=(N, N), dtype=float)
    about = {"description": links.path.stem} | dict(links.about)
    about.setdefault("standardization", _scaling(matrix))
    with _named(links.path):
        return SpatialWeights(matrix, labels, isolates=isolates, **about)


def from_edges(
    path: Path,
    source: Any,
    target: Any,
    weight: NDArray[np.float64],
    *,
    n: int | None = None,
    guess: bool = True,
    lines: NDArray[np.intp] | None = None,
    about: Mapping[str, str] | None = None,
) -> Links:
    """Return the record of a list of links: units in the order in which they first occur."""
    both = pd.concat([pd.Series(source), pd.Series(target)], ignore_index=True)
    codes, labels = pd.factorize(both)
    first, second = codes[: len(source)], codes[len(source) :]
    nameless = np.flatnonzero((first < 0) | (second < 0))
    if nameless.size:
        raise problem(
            path, f"row {nameless[0] + 1} of the links lacks the label of a unit or a neighbour."
        )
    return Links(
        path,
        labels.tolist(),
        n,
        first,
        second,
        weight,
        guess=guess,
        complete=False,
        lines=lines,
        about=about or {},
    )


def checked_labels(path: Path, labels: Sequence[Any]) -> None:
    """Raise unless all labels are strings or all are integers."""
    for kind in (str, int):
        if all(isinstance(label, kind) and not isinstance(label, bool) for label in labels):
            return
    odd = [label for label in labels if not isinstance(label, str)]
    raise problem(
        path, f"labels must be all strings or all integers; got, among others, {listing(odd, 3)}."
    )


def known_facts(about: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts that weights carry; others, of a later version, are left out."""
    names = ("description", "formula", "meaning", "standardization")
    facts = {name: about[name] for name in names if isinstance(about.get(name), str)}
    if facts.get("standardization") not in STANDARDIZATIONS:
        facts.pop("standardization", None)
    return facts


def text_of(path: Path) -> str:
    """Return the text of a UTF-8 file, without the mark that some programs put first."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise problem(
            path, f"the file is not UTF-8 ({error.reason}). Save it as UTF-8.", line
        ) from None
    if not text.strip():
        raise problem(path, "the file is empty.")
    return text


def dense_allowed(content: Exchange, path: Path) -> None:
    """Raise if the table of all pairs would be too large to be of use."""
    N = len(content.labels)
    if N > TABLE_UNITS:
        raise problem(
            path,
            f"a table of {N} x {N} cells is too large for this format (at most {TABLE_UNITS} "
            "units). Write a .parquet, .mtx or .gwt file, which hold the links alone.",
        )


def _scaling(matrix: sparse.csr_array) -> str:
    """Return how the values are scaled, as far as they tell; isolates have rows of zeros."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    unit = np.abs(sums[sums != 0] - 1.0) <= ROW_SUM_TOLERANCE
    return "row" if unit.size and unit.all() else "none"


def _resolved(
    links: Links, ids: str | Sequence[Hashable] | pd.Index | None
) -> tuple[pd.Index, NDArray[np.intp], NDArray[np.intp]]:
    """Return the labels of all units, and the links as positions among them."""
    path, found = links.path, links.labels
    if ids is None or isinstance(ids, str):
        if found is None:
            raise problem(
                path,
                f"the file does not name its {links.n} units. Pass ids=[...], the labels of its "
                f"rows in order; range(1, {(links.n or 0) + 1}) numbers them.",
            )
        if links.n is not None and len(found) != links.n:
            raise problem(
                path,
                f"the first line announces {links.n} units, the links name {len(found)}. Units "
                "without links may be left out of such a file: if so, pass ids=[...] with the "
                "labels of all of them.",
            )
        with _named(path):
            return as_labels(_typed(links, found, ids)), links.source, links.target
    with _named(path):
        wanted = as_labels(ids)
    if links.n is not None and wanted.size != links.n:
        raise problem(path, f"the file holds {links.n} units, ids= lists {wanted.size}.")
    if found is None:
        return wanted, links.source, links.target
    with _named(path):
        known = as_labels(pd.Index([str(label) for label in wanted.tolist()], dtype=object))
    texts = pd.Index([str(label) for label in found], dtype=object)
    place = known.get_indexer(texts)
    if (place < 0).any():
        raise problem(path, f"units of the file are not in ids=: {listing(texts[place < 0])}.")
    if links.complete and wanted.size != texts.size:
        extra = known[~known.isin(texts)]
        raise problem(path, f"units of ids= are not in the file: {listing(extra)}.")
    return wanted, place[links.source], place[links.target]


def _typed(links: Links, found: Sequence[Any], ids: str | None) -> list[Any]:
    """Return the labels with their types: those of the file, or those asked for."""
    if ids == "str":
        return [str(label) for label in found]
    if ids == "int":
        odd = [label for label in found if not INTEGER.fullmatch(str(label))]
        if odd:
            raise WeightsError(f"ids='int' is asked for; not integers: {listing(odd)}.")
        return [int(label) for label in found]
    if links.guess and all(CANONICAL.fullmatch(label) for label in found):
        return [int(label) for label in found]
    return list(found)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name before the message of an error of the weights."""
    try:
        yield
    except WeightsError as error:
        raise problem(path, str(error)) from None


def _encodable(label: str) -> bool:
    try:
        label.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
