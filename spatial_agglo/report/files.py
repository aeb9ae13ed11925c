"""Writing files, with errors that say what to do."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

from spatial_agglo.errors import OutputError


def make_folder(folder: str | PathLike[str]) -> Path:
    """Make a folder, with those above it, unless it is there.

    Parameters
    ----------
    folder : path

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        The folder cannot be made, is read-only, or a file stands in its place.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as place:
    ...     make_folder(Path(place) / "a" / "b").is_dir()
    True
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {str(path)!r} cannot be made ({_reason(error)}). Name a folder that you "
            "may write to."
        ) from error
    if not os.access(path, os.W_OK):
        raise OutputError(
            f"The folder {str(path)!r} is read-only. Name a folder that you may write to."
        )
    return path


def write_text(path: str | PathLike[str], text: str) -> Path:
    """Write text as UTF-8 with Unix line ends.

    Parameters
    ----------
    path : path
    text : str

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as place:
    ...     write_text(Path(place) / "a.txt", "abc").name
    'a.txt'
    """
    path = Path(path)
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise not_written(path, error) from error
    return path


def not_written(path: Path, error: OSError) -> OutputError:
    """Return the error that says which file could not be written, and why.

    Examples
    --------
    >>> from pathlib import Path
    >>> print(not_written(Path("a.csv"), PermissionError(13, "Permission denied")))
    The file 'a.csv' cannot be written (Permission denied). Name a folder that exists and that...
    """
    return OutputError(
        f"The file {str(path)!r} cannot be written ({_reason(error)}). Name a folder that exists "
        "and that you may write to, and close the file if another program has it open."
    )


def _reason(error: OSError) -> str:
    if isinstance(error, FileExistsError):
        return "a file of that name is in its place"
    return error.strerror or str(error)
