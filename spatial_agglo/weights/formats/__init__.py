"""Exchange of spatial weights with other programs: one function to read, one to write."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from spatial_agglo.errors import WeightsError, check_option
from spatial_agglo.weights.formats import (
    csv_table,
    matrix_market,
    neighbor_lists,
    parquet,
    stata,
)
from spatial_agglo.weights.formats.record import ID_KINDS, Exchange, Links, build, portable, problem
from spatial_agglo.weights.matrix import ISOLATES, SpatialWeights, as_weights

Reader = Callable[[Path], Links]
Writer = Callable[[Exchange, Path], None]

FORMATS: dict[str, tuple[Reader, Writer]] = {
    ".csv": (csv_table.read_csv, csv_table.write_csv),
    ".dta": (stata.read_dta, stata.write_dta),
    ".gwt": (neighbor_lists.read_gwt, neighbor_lists.write_gwt),
    ".mtx": (matrix_market.read_mtx, matrix_market.write_mtx),
    ".parquet": (parquet.read_parquet, parquet.write_parquet),
    ".gal": (neighbor_lists.read_gal, neighbor_lists.write_gal),
}


def read(
    path: str | PathLike[str],
    *,
    ids: str | Sequence[Hashable] | pd.Index | None = None,
    isolates: str = "error",
) -> SpatialWeights:
    r"""Read spatial weights from a file, in the format that its suffix names.

    Parameters
    ----------
    path : str or path
        A ``.gal``, ``.gwt``, ``.mtx``, ``.parquet``, ``.csv`` or ``.dta`` file.
    ids : {"int", "str"}, sequence of labels, or None
        None: the labels as the file holds them. "int" and "str" turn all of them into
        integers or strings. A sequence is the full list of units, in the order wanted and with
        the types wanted: the labels of the file are matched to it by their text, and a unit
        that a list of links (``.gwt``, ``.parquet``, a ``.csv`` of links) does not name is one
        without neighbours. Where the file holds no labels the sequence labels its rows in
        order.
    isolates : {"error", "allow"}
        What to do about units without neighbours.

    Returns
    -------
    SpatialWeights
        With the values of the file: nothing is standardised.

    Raises
    ------
    WeightsError
        Unknown suffix; an empty, damaged or not UTF-8 file; wrong counts; unknown or missing
        labels; weights that are negative, missing or infinite; a link given twice; a unit that
        is its own neighbour. The message names the file, and the line or the units.
    MissingDependencyError
        A ``.parquet`` file is read and pyarrow is not installed.
    FileNotFoundError
        There is no such file.

    See Also
    --------
    write : the other way, with what every format keeps.

    Notes
    -----
    ``.gal``, ``.gwt`` and ``.csv`` files are text and do not say whether ``17`` is a number.
    The rule: labels are integers if every one of them is written as an integer is (digits, at
    most 18, no leading zero, perhaps a minus sign), and strings otherwise, so that one ``007``
    makes all of them strings. Files of :func:`write` come back as they were: where the rule
    would take strings for integers, the name of the id variable in the header is ``id_text``.

    Two kinds of files have no labels unless they come from :func:`write`: ``.mtx`` files, and
    ``.dta`` files without a variable ``id`` or ``_ID``. They need ``ids=[...]``.

    GeoDa writes *distances* to ``.gwt`` files of distance bands and nearest neighbours. They
    are read as the weights that the file says they are: a far neighbour would count more.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from spatial_agglo.weights.formats import read
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "roads.gwt")
    ...     _ = path.write_text("0 3 roads id\n1 2 0.5\n1 3 0.5\n2 1 1\n3 1 1\n")
    ...     W, V = read(path), read(path, ids=["3", "2", "1"])
    >>> W.ids.tolist(), V.ids.tolist()
    ([1, 2, 3], ['3', '2', '1'])
    >>> V.to_frame().loc["1"].tolist()
    [0.5, 0.5, 0.0]
    """
    path = Path(path)
    reader, _ = _format(path)
    check_option("isolates", isolates, ISOLATES)
    if isinstance(ids, str):
        check_option("ids", ids, ID_KINDS)
    if path.stat().st_size == 0:
        raise problem(path, "the file is empty.")
    return build(reader(path), ids, isolates)


def write(W: Any, path: str | PathLike[str], *, values: bool = True) -> None:
    """Write spatial weights to a file, in the format that its suffix names.

    ============ ================================================= =========================
    suffix       what the file holds                               what comes back
    ============ ================================================= =========================
    ``.gal``     the neighbours of every unit, without weights     binary weights
    ``.gwt``     a line ``unit neighbour weight`` for every link   exact
    ``.mtx``     Matrix Market; labels in its comment lines        exact, with description
    ``.parquet`` columns source, target, weight; needs pyarrow     exact, with description
    ``.csv``     the N x N table with labels in row and header     exact; at most 5,000 units
    ``.dta``     Stata: id and the columns w1 ... wN of the table  exact; at most 5,000 units
    ============ ================================================= =========================

    All of them keep the order of the units, their labels (strings or integers, in any script),
    and the units without neighbours, which ``.gwt`` and ``.parquet`` hold as a link of weight 0
    to themselves, as libpysal does.

    Parameters
    ----------
    W : SpatialWeights, or what :func:`spatial_agglo.weights.as_weights` takes
    path : str or path
        A file that exists is replaced.
    values : bool
        False writes the links alone: every weight becomes 1.

    Raises
    ------
    WeightsError
        Unknown suffix; labels that are not all strings or all integers, or that the format
        cannot hold (blanks in ``.gal`` and ``.gwt``); weights other than 1 to ``.gal``; too many
        units for a table.
    MissingDependencyError
        A ``.parquet`` file is written and pyarrow is not installed.

    See Also
    --------
    read : the other way, with the rule for labels in text files.

    Notes
    -----
    In Stata, a ``.dta`` file of 46 units becomes a spatial weighting matrix with::

        use W.dta, clear
        generate long unit = _n
        spset unit
        spmatrix fromdata W = w1-w46, normalize(none)

    Row and column k belong to the k-th ``id``, so the rows must not be sorted before. Stata
    needs a numeric identifier (``unit``), which the data of the study get by merging on ``id``.
    ``normalize(none)`` keeps the values; without it Stata divides them by the spectral radius.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from spatial_agglo.weights import SpatialWeights
    >>> from spatial_agglo.weights.formats import read, write
    >>> W = SpatialWeights.from_dense([[0, 1, 2], [1, 0, 0], [1, 0, 0]], ids=["Île", "b", "c"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "W.gwt")
    ...     write(W.standardize("row"), path)
    ...     print(path.read_text(encoding="utf-8"))
    ...     read(path).matrix.toarray()[0].tolist()
    0 3 unknown id
    Île b 0.3333333333333333
    Île c 0.6666666666666666
    b Île 1.0
    c Île 1.0
    <BLANKLINE>
    [0.0, 0.3333333333333333, 0.6666666666666666]
    """
    path = Path(path)
    _, writer = _format(path)
    writer(portable(as_weights(W), path, values=values), path)


def _format(path: Path) -> tuple[Reader, Writer]:
    """Return the reader and the writer of the suffix."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        *known, last = FORMATS
        raise WeightsError(
            f"A {', '.join(known)} or {last} file is needed; got {path.name!r}."
        ) from None
