"""The extension interface: arrays of any other library in, the tests of this package out.

==========================  ===================================================================
`regression_from_arrays`    a fit of this package: every test that takes a fit works on it
`lm_from_arrays`            the LM tests of a spatial lag and a spatial error
`residuals_from_arrays`     Moran's I and CD of the residuals of any other model
==========================  ===================================================================

All three take plain arrays in one order: periods first, units second. ``docs/extending.md`` shows
them at work; :func:`spatial_agglo.diagnose` is made of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from spatial_agglo.core.within import EFFECTS
from spatial_agglo.diagnostics.cross_section import cd_test
from spatial_agglo.diagnostics.lm import lm_table
from spatial_agglo.diagnostics.table import About, described, stacked
from spatial_agglo.errors import DataError, OptionError, check_list, check_option, listing
from spatial_agglo.esda.autocorrelation import pooled_test
from spatial_agglo.formula import RESERVED, Variables
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel
from spatial_agglo.weights.matrix import SpatialWeights
from spatial_agglo.weights.panel_weights import PanelWeights

#: Residuals may differ from those of least squares by this much of their standard deviation.
AGREEMENT = 1e-4
#: A column that varies less than this, relative to its size, is an intercept.
CONSTANT = 1e-12


def regression_from_arrays(
    y: ArrayLike,
    X: ArrayLike,
    W: Any = None,
    *,
    effects: str = "none",
    likelihood: str = "transformed",
    ids: Sequence[Hashable] | pd.Index | None = None,
    times: Sequence[Hashable] | pd.Index | None = None,
    names: Sequence[str] | None = None,
    outcome: str = "y",
    unbalanced: str = "error",
    resid: ArrayLike | None = None,
) -> FitResult:
    """Fit a regression without spatial terms from plain arrays.

    ::

        y_t = X_t beta + effects + e_t

    It is a fit like any other: :func:`spatial_agglo.residual_moran`, ``cd_test`` and
    ``fit.replace(model="sdm")`` go on from it.

    Parameters
    ----------
    y : array, shape (T, N)
        The outcome, not demeaned; row t is a period and column i a unit.
    X : array, shape (T, N, k)
        The regressors, without dummies of units and periods. A column that is constant is the
        intercept: it is estimated with ``effects="none"`` and absorbed by any other effects.
    W : array or scipy sparse matrix, shape (N, N); or SpatialWeights, PanelWeights; optional
        Of a bare matrix row i and column i belong to ``y[:, i]``, and ``W[i, j]`` is the weight
        that i gives to j. Labelled weights are matched to ``ids``.
    effects : {"none", "entity", "time", "two-way"}
    likelihood : str
        As for :func:`spatial_agglo.lm_tests`.
    ids, times : sequences of N and T labels, optional
        0, 1, 2, ... by default.
    names : sequence of k str, optional
        Of the regressors; x1, x2, ... by default.
    outcome : str
    unbalanced : {"error", "allow"}
        "allow": cells in which y or X is NaN are left out.
    resid : array, shape (T, N), optional
        The residuals as the other library has them, to be checked: they must be those of least
        squares with these effects.

    Returns
    -------
    FitResult
        Of ``ols``. Its units and periods are sorted by label.

    Raises
    ------
    DataError
        Shapes that do not go together, missing cells, labels that occur twice, residuals that are
        not those of least squares.
    OptionError
        Unknown effects; labelled weights without ``ids``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> W = np.roll(np.eye(9), 1, axis=1)
    >>> X = rng.normal(size=(4, 9, 1))
    >>> y = X[:, :, 0] + rng.normal(size=(4, 9))
    >>> regression_from_arrays(y, X, W, effects="two-way").nobs
    36
    """
    check_option("effects", effects, EFFECTS)
    Y, regressors = _array(y, "y", 2), _array(X, "X", 3)
    labels = _labels(Y, ids, times)
    data = _variables(Y, regressors, labels, names, outcome, unbalanced)
    weights = _weights(W, labels[0], ids is not None)
    found = fit(
        ModelSpec.of("ols", effects=effects, likelihood=likelihood), Workspace(data, weights)
    )
    if resid is not None:
        _check_residuals(found, _array(resid, "resid", 2), labels)
    return found


def lm_from_arrays(
    y: ArrayLike,
    X: ArrayLike,
    W: Any,
    *,
    effects: str = "none",
    likelihood: str = "transformed",
    ids: Sequence[Hashable] | pd.Index | None = None,
    times: Sequence[Hashable] | pd.Index | None = None,
    unbalanced: str = "error",
    resid: ArrayLike | None = None,
) -> pd.DataFrame:
    """Test a regression, given as plain arrays, against a spatial lag and a spatial error.

    The statistics are those of :func:`spatial_agglo.lm_tests`, functions of least-squares
    residuals: give ``resid`` to have yours checked. Parameters and errors are those of
    :func:`regression_from_arrays`.

    Returns
    -------
    DataFrame
        Rows "LM lag", "robust LM lag", "LM error", "robust LM error", "SARMA"; columns
        ``statistic``, ``df``, ``p_value``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> W = np.roll(np.eye(9), 1, axis=1)
    >>> X = rng.normal(size=(4, 9, 1))
    >>> y = X[:, :, 0] + rng.normal(size=(4, 9))
    >>> lm_from_arrays(y, X, W, effects="two-way")["df"].tolist()
    [1, 1, 1, 1, 2]
    """
    base = regression_from_arrays(
        y,
        X,
        W,
        effects=effects,
        likelihood=likelihood,
        ids=ids,
        times=times,
        unbalanced=unbalanced,
        resid=resid,
    )
    return lm_table(base)


def residuals_from_arrays(
    resid: ArrayLike,
    W: Any,
    *,
    effects: str = "none",
    ids: Sequence[Hashable] | pd.Index | None = None,
    times: Sequence[Hashable] | pd.Index | None = None,
    unbalanced: str = "error",
    permutations: int = 999,
    seed: int | np.random.Generator | None = 0,
) -> pd.DataFrame:
    """Test the residuals of any model for dependence between units.

    For residuals that are not those of least squares (weighted, robust, instrumental variables,
    machine learning), which have no LM tests.

    Parameters
    ----------
    resid : array, shape (T, N)
    W : as for :func:`regression_from_arrays`
    effects : {"none", "entity", "time", "two-way"}
        Which means the model has taken out; they are taken out of the residuals (again).
    ids, times, unbalanced
        As for :func:`regression_from_arrays`.
    permutations : int
    seed : int, Generator or None

    Returns
    -------
    DataFrame
        "Moran's I" of all periods, by permutation of the units (balanced panels only), "Pesaran
        CD" and "local CD" (three periods or more; one W for all of them).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> W = np.roll(np.eye(9), 1, axis=1)
    >>> residuals_from_arrays(rng.normal(size=(4, 9)), W).index.tolist()
    ["Moran's I", 'Pesaran CD', 'local CD']
    """
    e = _array(resid, "resid", 2)
    ones = np.ones((*e.shape, 1))
    base = regression_from_arrays(
        e, ones, W, effects=effects, ids=ids, times=times, unbalanced=unbalanced
    )
    return residual_table(base, permutations=permutations, seed=seed)


def residual_table(
    base: FitResult, *, permutations: int, seed: int | np.random.Generator | None
) -> pd.DataFrame:
    """Return Moran's I and CD of residuals that a fit holds."""
    tables = []
    space = base.workspace
    if space.weights is not None and space.data.observed is None:
        value, _, p = pooled_test(base.resid, space.weights.source, permutations, seed)
        row = pd.DataFrame(
            {"statistic": [value], "df": pd.array([pd.NA], dtype="Int64"), "p_value": [p]},
            index=pd.Index(["Moran's I"], name="test"),
        )
        how = f"{permutations} permutations of the units"
        source = "Moran (1950); Cliff & Ord (1981)"
        null = "no correlation between the residuals of neighbours"
        tables.append(described(row, {"Moran's I": About(null, how, source)}))
    if space.data.panel.T > 2:
        if space.weights is not None and isinstance(space.weights.source, PanelWeights):
            base = replace(base, workspace=Workspace(space.data, None))  # no links to be local to
        tables.append(cd_test(base, permutations=permutations, seed=seed))
    if not tables:
        raise DataError(
            "There is no test for these residuals: Moran's I needs a balanced panel and weights, "
            "CD at least three periods."
        )
    return stacked(tables)


# --- from arrays to labelled data ---------------------------------------------------------------

_Labels = tuple[pd.Index, pd.Index]


def _array(values: ArrayLike, name: str, dimensions: int) -> NDArray:
    """Return an array of floats with so many dimensions."""
    shape = {2: "(T, N), periods first", 3: "(T, N, k), periods first"}[dimensions]
    if isinstance(values, pd.DataFrame):
        raise DataError(
            f"{name} is a table with labels, which would be ignored here: give its numbers, "
            f"{name}.to_numpy(), with ids= and times= from its labels."
        )
    if np.iscomplexobj(values):
        raise DataError(f"{name} is complex; real numbers are needed.")
    try:
        if isinstance(values, np.ma.MaskedArray):
            values = np.ma.filled(values.astype(float), np.nan)
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must hold numbers, with the shape {shape}: {error}") from error
    if array.ndim != dimensions:
        raise DataError(
            f"{name} must have the shape {shape}; its shape is {array.shape}. A cross-section is a "
            "panel of one period: y[None, :] and X[None, :, :]."
        )
    return array


def _labels(
    y: NDArray,
    ids: Sequence[Hashable] | pd.Index | None,
    times: Sequence[Hashable] | pd.Index | None,
) -> _Labels:
    """Return the labels of columns and rows, as many as there are."""
    found = []
    for labels, count, name in ((ids, y.shape[1], "ids"), (times, y.shape[0], "times")):
        if labels is not None and not isinstance(labels, pd.Index):
            labels = check_list(name, labels, "labels")
        index = pd.RangeIndex(count) if labels is None else pd.Index(labels)
        if len(index) != count:
            raise DataError(
                f"{name} must have a label for each of {count} "
                f"{'units (columns)' if name == 'ids' else 'periods (rows)'} of y; got "
                f"{len(index)}."
            )
        if index.has_duplicates:
            raise DataError(f"{name} must differ; {listing(index[index.duplicated()])} repeat.")
        found.append(index)
    return found[0], found[1]


def _variables(
    y: NDArray,
    X: NDArray,
    labels: _Labels,
    names: Sequence[str] | None,
    outcome: str,
    unbalanced: str,
) -> Variables:
    """Return labelled variables; constant columns become the intercept."""
    if X.shape[:2] != y.shape:
        raise DataError(
            f"y and X must have the same periods and units; their shapes are {y.shape} and "
            f"{X.shape}."
        )
    called = [f"x{j + 1}" for j in range(X.shape[2])] if names is None else [*map(str, names)]
    if len(called) != X.shape[2]:
        raise DataError(f"names must name the {X.shape[2]} columns of X; got {len(called)}.")
    cells = np.isfinite(y) & np.isfinite(X).all(axis=2)
    constant = [_is_constant(X[:, :, j][cells]) for j in range(X.shape[2])]
    kept = [j for j, is_constant in enumerate(constant) if not is_constant]
    regressors = tuple(called[j] for j in kept)
    every = (outcome, *regressors)
    taken = [
        name
        for name in regressors
        if name in RESERVED or name.startswith("W*") or every.count(name) > 1
    ]
    if taken:
        raise DataError(
            f"The regressor(s) {listing(taken)} cannot be told from the model's own parameters "
            f"({', '.join(RESERVED)}, W*...), or occur twice: give other names=[...]."
        )
    values = np.concatenate([y[:, :, None], X[:, :, kept]], axis=2)
    panel = _panel(values, every, labels, unbalanced)
    columns = np.stack([panel.column(name) for name in every], axis=2)
    observed = np.isfinite(columns).all(axis=2)
    gaps = not observed.all()
    if gaps:
        columns = np.where(observed[:, :, None], columns, 0.0)
    right = " + ".join([*regressors] or ["1"]) + ("" if any(constant) or not kept else " - 1")
    return Variables(
        formula=f"{outcome} ~ {right}",
        outcome=outcome,
        regressors=regressors,
        intercept=any(constant),
        y=columns[:, :, 0],
        X=columns[:, :, 1:],
        panel=panel,
        observed=observed if gaps else None,
    )


def _is_constant(values: NDArray) -> bool:
    if not values.size:
        raise DataError("No cell has both y and every regressor.")
    size = float(np.abs(values).max())
    return size > 0.0 and float(np.ptp(values)) <= CONSTANT * size


def _panel(values: NDArray, names: Sequence[str], labels: _Labels, unbalanced: str) -> Panel:
    """Return a panel, which puts units and periods into its own order."""
    ids, times = labels
    T, N, m = values.shape
    index = pd.MultiIndex.from_arrays(
        [ids.take(np.tile(np.arange(N), T)), times.take(np.repeat(np.arange(T), N))],
        names=[ids.name or "entity", times.name or "time"],
    )
    frame = pd.DataFrame(values.reshape(T * N, m), index=index, columns=list(names))
    return Panel(frame, unbalanced=unbalanced)


def _weights(W: Any, ids: pd.Index, labelled: bool) -> Any:
    """Give a bare matrix the labels of the units; leave labelled weights to be matched."""
    if W is None:
        return None
    description = "weights given as a plain matrix"
    if isinstance(W, np.ndarray):
        return SpatialWeights.from_dense(W, ids, description=description)
    if sparse.issparse(W):
        return SpatialWeights.from_sparse(W, ids, description=description)
    if not labelled:
        kind = "PanelWeights" if isinstance(W, PanelWeights) else type(W).__name__
        raise OptionError(
            f"W is labelled ({kind}), so it is matched by label: give ids=[...], the label of "
            "every column of y; or give the bare matrix, in the order of the columns."
        )
    return W


def _check_residuals(found: FitResult, resid: NDArray, labels: _Labels) -> None:
    """Raise when residuals are not those of least squares."""
    panel = found.workspace.data.panel
    T, N = panel.shape
    if resid.shape != (T, N):
        raise DataError(f"resid must have the shape of y, {(T, N)}; its shape is {resid.shape}.")
    i, t = labels[0].get_indexer(panel.entities), labels[1].get_indexer(panel.times)
    cells = found.workspace.data.cells
    given, own = resid[np.ix_(t, i)][cells], found.resid[cells]
    far = float(np.abs(given - own).max())
    if not far <= AGREEMENT * float(own.std()):
        raise DataError(
            "The residuals are not those of least squares of y on X with "
            f"effects={found.spec.effects!r}: they differ by up to {far:.3g}, their standard "
            f"deviation is {own.std():.3g}. State the effects of the model (effects='entity', "
            "'time', 'two-way' or 'none'); for residuals of other estimators there is "
            "spatial_agglo.diagnostics.arrays.residuals_from_arrays."
        )
