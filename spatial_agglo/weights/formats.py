"""Reading and writing weights files."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from spatial_agglo.errors import WeightsError, listing
from spatial_agglo.weights.matrix import SpatialWeights


def read(path: str | PathLike[str], *, isolates: str = "error") -> SpatialWeights:
    """Read binary weights from a GAL file (the neighbour lists of GeoDa and PySAL).

    Parameters
    ----------
    path : path of a file that ends in ``.gal``
    isolates : {"error", "allow"}

    Notes
    -----
    The first line is ``0 N file id-name`` or ``N``; then each unit takes two lines,
    ``id count`` and the ids of its neighbours. Ids are strings without blanks.

    Raises
    ------
    WeightsError
        Unknown suffix, wrong counts, unknown ids: the line is named.
    """
    path = Path(path)
    if path.suffix.lower() != ".gal":
        raise WeightsError(f"A .gal file is needed; got {path.name!r}.")
    lines = _numbered(path)
    try:
        _, header = next(lines)
    except StopIteration:
        raise WeightsError(f"{path.name} is empty.") from None
    N = _integer(header.split()[1 if len(header.split()) > 1 else 0], path, 1)
    neighbors: dict[str, list[str]] = {}
    for number, line in lines:
        fields = line.split()
        if len(fields) != 2:
            raise WeightsError(
                f"{path.name}, line {number}: expected 'id count', got {line.strip()!r}."
            )
        unit, count = fields[0], _integer(fields[1], path, number)
        if unit in neighbors:
            raise WeightsError(f"{path.name}, line {number}: unit {unit!r} occurs twice.")
        number, line = next(lines, (number + 1, ""))
        others = line.split()
        if len(others) != count:
            raise WeightsError(
                f"{path.name}, line {number}: unit {unit!r} announces {count} neighbour(s) and "
                f"lists {len(others)}."
            )
        neighbors[unit] = others
    if len(neighbors) != N:
        raise WeightsError(
            f"{path.name}: the first line announces {N} units, the file holds {len(neighbors)} "
            f"({listing(neighbors)})."
        )
    return SpatialWeights.from_dict(neighbors, description=path.stem, isolates=isolates)


def write(W: SpatialWeights, path: str | PathLike[str]) -> None:
    """Write the neighbours of every unit to a GAL file; weights are not kept.

    Raises
    ------
    WeightsError
        Unknown suffix, or ids with blanks, which the format cannot hold.
    """
    path = Path(path)
    if path.suffix.lower() != ".gal":
        raise WeightsError(f"A .gal file is needed; got {path.name!r}.")
    labels = [str(label) for label in W.ids]
    blank = [label for label in labels if not label or any(c.isspace() for c in label)]
    if blank:
        raise WeightsError(f"GAL files cannot hold ids with blanks: {listing(blank)}.")
    rows = [f"0 {W.n} unknown id"]
    for position, label in enumerate(labels):
        start, stop = W.matrix.indptr[position : position + 2]
        others = [labels[j] for j in W.matrix.indices[start:stop]]
        rows += [f"{label} {len(others)}", " ".join(others)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    text = path.read_text(encoding="utf-8").splitlines()
    return iter(enumerate(text, start=1))


def _integer(text: str, path: Path, number: int) -> int:
    try:
        return int(text)
    except ValueError:
        raise WeightsError(
            f"{path.name}, line {number}: a count is expected, got {text!r}."
        ) from None
