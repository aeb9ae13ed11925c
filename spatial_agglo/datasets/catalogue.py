"""Ready-made weights: what there is, where the files are, and how to load one."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from spatial_agglo.datasets.china import china_capitals
from spatial_agglo.datasets.panels import state_labels
from spatial_agglo.datasets.shipped import matrix_file
from spatial_agglo.errors import check_option

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from spatial_agglo.weights import SpatialWeights

SIMILAR, RICH = "similar neighbours weigh more", "rich neighbours weigh more"


@dataclass(frozen=True)
class ReadyMade:
    """One ready-made matrix.

    ``data`` names the loader of the data set whose units it links. ``formula`` is that of the
    weights as they are stored; ``suffix`` is ``.gal`` for weights of one, ``.gwt`` for others.
    """

    data: str
    units: int
    links: int
    suffix: str
    description: str
    formula: str
    meaning: str = ""


def _of_states(name: str, data: str, n: int, contiguous: int) -> dict[str, ReadyMade]:
    """Return the three matrices of a panel of US states."""
    return {
        f"{name}_queen": ReadyMade(
            data,
            n,
            contiguous,
            ".gal",
            "queen contiguity of the states",
            "w_ij = 1 if i and j share a border, else 0",
        ),
        f"{name}_inverse_distance": ReadyMade(
            data,
            n,
            n * (n - 1),
            ".gwt",
            "inverse great-circle distance between points inside the states",
            "w_ij = d_ij^-1",
        ),
        f"{name}_5_nearest": ReadyMade(
            data,
            n,
            5 * n,
            ".gal",
            "5 nearest neighbours by great-circle distance between points inside the states",
            "w_ij = 1 if j is among the 5 units nearest to i, else 0",
        ),
    }


def _synthetic(form: str, formula: str, meaning: str) -> dict[str, ReadyMade]:
    """Return a nested form on the capitals' distances and the synthetic series."""
    return {
        f"china_synthetic_{form}": ReadyMade(
            "china_capitals",
            31,
            930,
            ".gwt",
            f"nested ({form}) of inverse distance between the capitals and a synthetic GDP",
            f"{formula}, Y synthetic",
            meaning,
        )
    }


CATALOGUE: dict[str, ReadyMade] = {
    **_of_states("cigarettes", "cigarettes", 46, 188),
    **_of_states("us_production", "us_production", 48, 214),
    "china_inverse_distance": ReadyMade(
        "china_capitals",
        31,
        930,
        ".gwt",
        "inverse great-circle distance between the capitals of the provinces",
        "w_ij = d_ij^-1",
    ),
    **_synthetic("product", "w_ij = g_ij / |Y_i - Y_j|, g_ij = d_ij^-1", SIMILAR),
    **_synthetic(
        "convex",
        "w_ij = 0.5 g_ij + 0.5 e_ij, both row-standardised, g_ij = d_ij^-1, e_ij = 1/|Y_i - Y_j|",
        SIMILAR,
    ),
    **_synthetic("scaled", "w_ij = g_ij Y_j / mean(Y), g_ij = d_ij^-1", RICH),
    **_synthetic("gravity", "w_ij = g_ij Y_i Y_j, g_ij = d_ij^-2", RICH),
    **_synthetic("asymmetric", "w_ij = g_ij Y_j / (Y_i + Y_j), g_ij = d_ij^-1", RICH),
}


def weights(name: str, ids: str | None = None) -> SpatialWeights:
    """Load ready-made weights, not standardised (but for the convex form, see below).

    Parameters
    ----------
    name : str
        ==============================  =====================================================
        "cigarettes_queen"              46 units of `cigarettes`: contiguity (a shared vertex
                                        is enough), 188 links
        "cigarettes_inverse_distance"   1/d, d the great-circle distance in km between points
                                        inside the states
        "cigarettes_5_nearest"          the five nearest by that distance; not symmetric
        "us_production_queen"           48 units of `us_production`: contiguity, 214 links
        "us_production_..."             "inverse_distance" and "5_nearest", as above
        "china_inverse_distance"        31 units of `china_capitals`: 1/d between the capitals
        "china_synthetic_product"       ``1/d_ij / |Y_i - Y_j|`` with Y the **synthetic** series
                                        of `synthetic_gdp`, which is not data
        "china_synthetic_convex"        half ``1/d_ij``, half ``1/|Y_i - Y_j|``, both
                                        row-standardised, and so is the mixture
        "china_synthetic_scaled"        ``1/d_ij Y_j / mean(Y)``
        "china_synthetic_gravity"       ``1/d_ij² Y_i Y_j``
        "china_synthetic_asymmetric"    ``1/d_ij Y_j / (Y_i + Y_j)``
        ==============================  =====================================================
    ids : str, optional
        Label the units by this column of the data: "state" (the default) or "code" for US
        states, "province" (the default), "province_zh", "capital", "capital_zh" or "code" for
        China.

    Returns
    -------
    SpatialWeights
        Units in alphabetical order of the names of states or provinces. A link is a non-zero of
        the matrix: every pair of neighbours counts twice.

    Raises
    ------
    OptionError
        `name` or `ids` is not known (a `ValueError`).

    See Also
    --------
    ready_made : the table of all of them.
    spatial_agglo.weights.nested : what the forms mean.

    Notes
    -----
    Distances between states are those between points inside them, which say little about large
    or divided ones: Michigan's lies on its upper peninsula. The capitals are points of GeoNames
    (CC BY 4.0), see `china_capitals`.

    "cigarettes_queen" equals, element by element, the matrix that libpysal ships as
    ``spat-sym-us.mat``, which spatial panel studies of these data use.

    The files are GAL and GWT files keyed by `code`, since these formats separate their fields by
    blanks and names of states have blanks in them. Weights other than one are stored with ten
    significant digits. How they are made is in the folder ``weights`` of the source tree;
    ``python -m spatial_agglo weights --check`` makes them again and compares.

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> W = datasets.weights("cigarettes_queen")
    >>> W.matrix.shape, W.matrix.nnz
    ((46, 46), 188)
    >>> V = datasets.weights("china_inverse_distance", ids="capital_zh").to_frame()
    >>> round(1 / V.loc["北京市", "上海市"])  # km from Beijing to Shanghai
    1068
    """
    check_option("name", name, CATALOGUE)
    entry = CATALOGUE[name]
    labels = unit_labels(entry.data)
    ids = labels.columns[0] if ids is None else check_option("ids", ids, labels.columns)
    from spatial_agglo.weights import SpatialWeights, read

    with as_file(ready_made_path(name)) as path:
        stored = read(path, ids=labels["code"].tolist())
    return SpatialWeights(
        stored.matrix,
        labels[ids].tolist(),
        description=f"{entry.description} ({name})",
        formula=entry.formula,
        meaning=entry.meaning,
    )


def ready_made() -> pd.DataFrame:
    """List the ready-made weights.

    Returns
    -------
    DataFrame
        Indexed by the `name` that `weights` takes, with the columns `data` (the loader of the
        data set), `units`, `links`, `description` and `formula`.

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> table = datasets.ready_made()
    >>> table[["data", "units", "links"]].head(1).to_dict("index")
    {'cigarettes_queen': {'data': 'cigarettes', 'units': 46, 'links': 188}}
    """
    columns = ["data", "units", "links", "description", "formula"]
    rows = [[getattr(entry, column) for column in columns] for entry in CATALOGUE.values()]
    return pd.DataFrame(rows, index=pd.Index(CATALOGUE, name="name"), columns=columns)


def ready_made_path(name: str) -> Path | Traversable:
    """Find the file of ready-made weights, a GAL or GWT file keyed by `code`.

    Parameters
    ----------
    name : str
        As in `weights`.

    Returns
    -------
    Path or Traversable
        The file, inside the installed package or in the folder ``weights`` of a source tree.

    Raises
    ------
    OptionError
        `name` is not known (a `ValueError`).
    DataError
        The file is in neither place.

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> datasets.ready_made_path("cigarettes_queen").name
    'cigarettes_queen.gal'
    """
    check_option("name", name, CATALOGUE)
    return matrix_file(file_name(name))


def file_name(name: str) -> str:
    """Return the name of the file that holds ready-made weights."""
    return name + CATALOGUE[name].suffix


def unit_labels(data: str) -> pd.DataFrame:
    """Return the labels of the units of a data set; the first column is the usual one."""
    if data == "china_capitals":
        return china_capitals()[["province", "province_zh", "capital", "capital_zh", "code"]]
    return state_labels("cigarettes" if data == "cigarettes" else "production")
