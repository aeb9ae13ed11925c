"""How the ready-made weights are made, so that every machine makes the same bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from importlib.resources import as_file
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from spatial_agglo.datasets.catalogue import CATALOGUE, file_name, ready_made_path
from spatial_agglo.datasets.china import china_capitals, synthetic_gdp
from spatial_agglo.datasets.maps import us_states
from spatial_agglo.errors import DataError, OutputError, check_option
from spatial_agglo.weights import (
    Distances,
    SpatialWeights,
    contiguity,
    given_distances,
    great_circle,
    inverse_distance,
    knn,
    nested,
)

#: Significant digits of the stored weights. Machines differ in the sixteenth.
DIGITS = 10
#: Decimals of the degrees of the points inside the states, a metre: as many as the capitals have.
DECIMALS = 5


def recipe(name: str) -> SpatialWeights:
    """Make ready-made weights from their data, keyed by `code`, before they are rounded.

    Parameters
    ----------
    name : str
        As in `spatial_agglo.datasets.weights`.

    Raises
    ------
    OptionError
        `name` is not known (a `ValueError`).
    MissingDependencyError
        geopandas or libpysal, whose map the US states need, is not installed.

    Examples
    --------
    >>> recipe("china_inverse_distance").ids[:3].tolist()
    ['AH', 'BJ', 'CQ']
    """
    check_option("name", name, CATALOGUE)
    return RECIPES[name]()


def rounded(W: SpatialWeights) -> SpatialWeights:
    """Return the weights with as many significant digits as the files hold.

    Examples
    --------
    >>> V = rounded(SpatialWeights.from_dense([[0, 1 / 3], [1, 0]], ids=["a", "b"]))
    >>> V.matrix.toarray().tolist()
    [[0.0, 0.3333333333], [1.0, 0.0]]
    """
    data = np.array([float(f"{value:.{DIGITS - 1}e}") for value in W.matrix.data.tolist()])
    matrix = sparse.csr_array((data, W.matrix.indices, W.matrix.indptr), shape=W.matrix.shape)
    return W.derive(matrix, f", to {DIGITS} significant digits")


def rebuild(folder: str | Path) -> list[Path]:
    """Make all ready-made weights and write them to a folder.

    Parameters
    ----------
    folder : str or Path
        Made if it is not there. Files of the same names are replaced.

    Returns
    -------
    list of Path

    Raises
    ------
    OutputError
        The folder cannot be written to.
    MissingDependencyError
        geopandas or libpysal is not installed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = [path.name for path in rebuild(folder)]
    >>> len(written), written[0]
    (12, 'cigarettes_queen.gal')
    """
    folder = Path(folder)
    made = {file_name(name): rounded(recipe(name)) for name in CATALOGUE}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, W in made.items():
            W.write(folder / file)
    except OSError as error:
        raise OutputError(
            f"The weights cannot be written to {folder}: {error}. Name a folder that you may "
            "write to."
        ) from error
    return [folder / file for file in made]


def differing(folder: str | Path | None = None) -> list[str]:
    """Make all ready-made weights again and name the files that are not the same.

    Parameters
    ----------
    folder : str or Path, optional
        Where the files are; those that ship with the package when left out.

    Returns
    -------
    list of str
        Each the name of a file and what is wrong with it; empty if all are the same, byte for
        byte.

    Examples
    --------
    >>> differing()
    []
    """
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        rebuild(scratch)
        for name in CATALOGUE:
            file = file_name(name)
            found = _content(name, folder)
            if found is None:
                wrong.append(f"{file} is missing")
            elif found != Path(scratch, file).read_bytes():
                wrong.append(f"{file} differs from what its recipe gives")
    return wrong


def _content(name: str, folder: str | Path | None) -> bytes | None:
    """Return the bytes of a file that is there."""
    if folder is not None:
        path = Path(folder, file_name(name))
        return path.read_bytes() if path.is_file() else None
    try:
        with as_file(ready_made_path(name)) as path:
            return path.read_bytes()
    except DataError:
        return None


def _distances(points: pd.DataFrame) -> Distances:
    """Return great-circle distances by the haversine formula.

    From sines and cosines of differences of angles: the rounding of one machine or another
    stays in the last digit, however near two points are.
    """
    d = great_circle(points["longitude"], points["latitude"])
    return given_distances(d, points["code"].tolist(), unit="km")


def _state_distances(study: str) -> Distances:
    states = us_states(study)
    inside = states.geometry.representative_point()
    return _distances(
        pd.DataFrame(
            {
                "code": states["code"],
                "longitude": inside.x.round(DECIMALS),
                "latitude": inside.y.round(DECIMALS),
            }
        )
    )


def _queen(study: str) -> SpatialWeights:
    return contiguity(us_states(study), ids="code")


def _inverse(study: str) -> SpatialWeights:
    return inverse_distance(_state_distances(study))


def _nearest(study: str) -> SpatialWeights:
    return knn(_state_distances(study), k=5)


def _capitals() -> SpatialWeights:
    return inverse_distance(_distances(china_capitals()))


def _nested(form: str, **options: Any) -> SpatialWeights:
    capitals = china_capitals()
    gdp = synthetic_gdp().loc[capitals["province"]].set_axis(capitals["code"])
    W = nested(_distances(capitals), gdp, form=form, **options)
    assert isinstance(W, SpatialWeights)
    return W


RECIPES: dict[str, Callable[[], SpatialWeights]] = {
    **{
        f"{name}_{kind}": partial(make, study)
        for name, study in (("cigarettes", "cigarettes"), ("us_production", "production"))
        for kind, make in (
            ("queen", _queen),
            ("inverse_distance", _inverse),
            ("5_nearest", _nearest),
        )
    },
    "china_inverse_distance": _capitals,
    "china_synthetic_product": partial(_nested, "product"),
    "china_synthetic_convex": partial(_nested, "convex", share=0.5),
    "china_synthetic_scaled": partial(_nested, "scaled"),
    "china_synthetic_gravity": partial(_nested, "gravity"),
    "china_synthetic_asymmetric": partial(_nested, "asymmetric"),
}
