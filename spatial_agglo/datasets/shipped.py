"""Where the files lie that ship with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from spatial_agglo.errors import DataError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

PACKAGE = "spatial_agglo.datasets"


def data_file(name: str) -> Traversable:
    """Find a table of the data sets."""
    return files(PACKAGE).joinpath("data", name)


def matrix_file(name: str) -> Path | Traversable:
    """Find a file of ready-made weights, or raise a DataError that says where it should be."""
    installed = files(PACKAGE).joinpath("matrices", name)
    if installed.is_file():
        return installed
    # The wheel carries the files inside the package; a checkout has them at its root.
    checkout = Path(__file__).resolve().parents[2] / "weights" / name
    if checkout.is_file():
        return checkout
    raise DataError(
        f"{name} must lie in the installed package or in the folder weights of a source tree; it "
        "is in neither. Reinstall spatial_agglo, or make the files: "
        "python -m spatial_agglo weights --rebuild FOLDER."
    )
