"""Stata files: one row for every unit, with its id and its row of the matrix."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spatial_agglo.errors import listing
from spatial_agglo.weights.formats.record import Exchange, Links, dense_allowed, problem

#: Names of the variable that holds the labels; the first that is there counts.
ID_NAMES = ("id", "_ID", "ID", "_id")
#: The longest text variable, in bytes, and the largest whole number of type long.
TEXT_BYTES, LONG = 2_045, 2_147_483_620
#: From here on a double skips whole numbers.
EXACT = 2**53


def read_dta(path: Path) -> Links:
    """Read the table: the variables w1 ... wN, or else all numeric ones but the id."""
    frame = _frame(path)
    name = next((name for name in ID_NAMES if name in frame), None)
    N = len(frame)
    weights = frame.drop(columns=[] if name is None else name).select_dtypes("number")
    numbered = [f"w{k}" for k in range(1, N + 1)]
    if set(numbered) <= set(weights.columns):
        weights = weights[numbered]
    if weights.shape[1] != N:
        raise problem(
            path,
            f"a table of {N} rows needs the variables w1 to w{N}, or {N} numeric variables "
            f"besides the id; got {weights.shape[1]}: {listing(weights.columns)}.",
        )
    dense = weights.to_numpy(dtype=float)
    source, target = np.nonzero(dense)
    labels = None if name is None else _labels(path, frame[name])
    return Links(path, labels, N, source, target, dense[source, target])


def write_dta(content: Exchange, path: Path) -> None:
    """Write id, w1 ... wN; the variable labels say to whom a column belongs."""
    dense_allowed(content, path)
    names = [f"w{k}" for k in range(1, len(content.labels) + 1)]
    frame = pd.DataFrame(content.matrix.toarray(), columns=names)
    frame.insert(0, "id", _column(content, path))
    notes = {name: text[:80] for name, text in zip(names, content.text, strict=True)}
    try:
        frame.to_stata(
            path,
            write_index=False,
            version=118,
            data_label=content.about["description"][:80],
            variable_labels=notes,
        )
    except ValueError as error:
        raise problem(path, f"Stata cannot hold this matrix: {error}") from None


def _frame(path: Path) -> pd.DataFrame:
    """Return the table, or raise: pandas meets a damaged file with errors of all kinds."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UnicodeWarning)
            frame = pd.read_stata(path, convert_dates=False, convert_categoricals=False)
    except Exception as error:
        what = str(error).strip() or type(error).__name__
        raise problem(path, f"this is not a good Stata file. {what}") from None
    if frame.columns.has_duplicates:
        raise problem(path, "this is not a good Stata file. Two variables have one name.")
    return frame


def _column(content: Exchange, path: Path) -> Any:
    """Return the labels as Stata holds them: text, long, or double."""
    labels = content.labels
    if isinstance(labels[0], str):
        bad = [
            text
            for text in content.text
            if not text or "\0" in text or len(text.encode("utf-8")) > TEXT_BYTES
        ]
        if bad:
            raise problem(
                path,
                f"Stata holds labels of 1 to {TEXT_BYTES} bytes without a null character; it "
                f"cannot hold {listing([text[:40] for text in bad])}.",
            )
        return np.array(labels, dtype=object)
    numbers = np.array(labels, dtype=np.int64)
    largest = int(np.abs(numbers).max())
    if largest >= EXACT:
        raise problem(
            path,
            f"Stata holds whole numbers exactly up to 2^53; got {listing([largest])}. Use "
            "strings as labels.",
        )
    return numbers.astype(np.int32 if largest <= LONG else float)


def _labels(path: Path, column: pd.Series) -> list[Any]:
    """Return the labels; whole numbers of any Stata type are integers."""
    if not pd.api.types.is_numeric_dtype(column.dtype):
        return [str(label) for label in column]
    numbers = column.to_numpy(dtype=float)
    odd = column[~np.isfinite(numbers) | (numbers != np.floor(numbers))]
    if odd.size:
        raise problem(
            path,
            f"the variable {column.name} must hold text or whole numbers; got {listing(odd)} in "
            f"row(s) {listing(odd.index + 1)}.",
        )
    return column.astype(np.int64).tolist()
