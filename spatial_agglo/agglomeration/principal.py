"""A composite index of indicators from their principal components."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.agglomeration.entropy import CONSTANT
from spatial_agglo.agglomeration.index import CompositeIndex
from spatial_agglo.agglomeration.indicators import (
    ConstantIndicatorWarning,
    DirectionWarning,
    check_name,
    read_indicators,
)
from spatial_agglo.errors import (
    DataError,
    IdentificationError,
    MissingDependencyError,
    OptionError,
    listing,
)


def pca_index(
    data: pd.DataFrame,
    *,
    positive: Sequence[Hashable] = (),
    negative: Sequence[Hashable] = (),
    groups: Mapping[Hashable, Sequence[Hashable]] | None = None,
    entity: Hashable | None = None,
    time: Hashable | None = None,
    components: int | float | str = "kaiser",
    name: Hashable = "score",
) -> CompositeIndex:
    """Combine indicators into one score by their principal components.

    ::

        z = +-(M - mean) / s.d.                  minus for negative indicators
        score = sum_k (l_k / sum l) * (z v_k)    over the components k retained

    with l and v the eigenvalues and eigenvectors of the correlation matrix of z over all rows.
    A component's sign is arbitrary: it is chosen so that its loadings sum to more than zero,
    and better units score higher where indicators agree. With few indicators, or indicators
    that do not go together, a score is hard to read; see :func:`composite_index`.

    Parameters
    ----------
    data, positive, negative, groups, entity, time, name
        As in :func:`composite_index`. Dimensions get components of their own.
    components : "kaiser", int or float
        Components retained: those with an eigenvalue above 1 (and the first); so many (or all
        there are, in a dimension with fewer); or as many as are needed for that part of the
        variance, for example 0.85.

    Returns
    -------
    CompositeIndex
        ``weights["weight"]`` is the coefficient of each standardised indicator, ``components``
        the eigenvalues.

    Raises
    ------
    DataError
        As :func:`composite_index`.
    IdentificationError
        No indicator differs between rows, overall or in a dimension.
    OptionError
        ``components`` is none of these, or more than there are indicators.
    MissingDependencyError
        scikit-learn is not installed.

    Warns
    -----
    ConstantIndicatorWarning
        An indicator is the same in all rows: its weight is 0.
    DirectionWarning
        An indicator's weight is negative: a better value lowers the score.

    References
    ----------
    Jolliffe, I. T. (2002), Principal Component Analysis, 2nd edition, Springer, chapter 6.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({
    ...     "city": ["a", "b", "c"], "patents": [0.0, 1.0, 4.0], "smoke": [3.0, 1.0, 2.0],
    ... })
    >>> index = pca_index(df, positive=["patents"], negative=["smoke"], entity="city")
    >>> index.scores.round(3).tolist()
    [-1.273, 0.481, 0.793]
    """
    found = read_indicators(data, positive, negative, groups, entity, time)
    check_name(name, found.groups)
    keep = _components(components)
    if len(data) < 2:
        raise DataError("Principal components need two or more rows; there is one.")
    z, constant = _standardised(found.values, found.negative)
    if constant.any():
        warnings.warn(
            f"Indicator {listing(found.names[constant])} is the same in all rows: its weight is 0.",
            ConstantIndicatorWarning,
            stacklevel=2,
        )
    everything = np.arange(len(found.names))
    if isinstance(keep, int) and keep > int((~constant).sum()):
        raise OptionError(
            f"components={components!r}, but there are {int((~constant).sum())} indicators that "
            "differ between rows. Ask for as many or fewer."
        )
    overall = _retain(z, everything, constant, keep, "")
    parts = [
        _retain(z, members, constant, keep, f" of dimension {group!r}")
        for group, members in zip(found.groups, found.members, strict=True)
    ]
    _warn_of_directions(found.names, overall.weights, "")
    for group, part in zip(found.groups, parts, strict=True):
        _warn_of_directions(found.names, part.weights, f" of dimension {group!r}")
    weights = pd.DataFrame(
        {"weight": overall.weights, "direction": np.where(found.negative, "-", "+")},
        index=found.names.rename("indicator"),
    )
    scores = np.column_stack([z @ part.weights for part in (overall, *parts)])
    if found.groups:
        weights["group"] = found.group_of
        weights["weight_in_group"] = np.sum([part.weights for part in parts], axis=0)
    index = found.keys.index()
    return CompositeIndex(
        scores=pd.Series(scores[:, 0], index=index, name=name),
        dimensions=pd.DataFrame(
            scores[:, 1:], index=index, columns=pd.Index(found.groups, tupleize_cols=False)
        ),
        weights=weights,
        standardised=pd.DataFrame(z, index=index, columns=found.names),
        method=f"principal components, {overall.retained} retained",
        components=_eigenvalues(overall),
    )


def _warn_of_directions(names: pd.Index, weights: NDArray, what: str) -> None:
    against = weights < -CONSTANT * np.abs(weights).max()
    if against.any():
        warnings.warn(
            f"Indicator {listing(names[against])} has a negative weight in the score{what}: a "
            "better value lowers it, against the direction that was declared. Retain fewer "
            "components, leave it out, or use composite_index, whose weights are never negative.",
            DirectionWarning,
            stacklevel=3,
        )


class _Part(NamedTuple):
    """Coefficients of all J indicators, and the eigenvalues behind them."""

    weights: NDArray
    eigenvalues: NDArray
    retained: int


def _components(components: Any) -> Any:
    """Return "kaiser", a number of components or a part of the variance, or raise."""
    if isinstance(components, str) and components == "kaiser":
        return components
    if isinstance(components, (int, np.integer)) and not isinstance(components, bool):
        if components >= 1:
            return int(components)
    elif isinstance(components, (float, np.floating)) and 0.0 < components <= 1.0:
        return float(components)
    raise OptionError(
        f"components={components!r} must be 'kaiser', a number of components such as 2, or a "
        "part of the variance such as 0.85."
    )


def _standardised(values: NDArray, negative: NDArray) -> tuple[NDArray, NDArray]:
    centre = values - values.mean(axis=0)
    spread = centre.std(axis=0, ddof=1)
    constant = np.ptp(values, axis=0) <= CONSTANT * np.abs(values).max(axis=0)
    z = np.where(constant, 0.0, centre / np.where(constant, 1.0, spread))
    return np.where(negative, -z, z), constant


def _retain(z: NDArray, members: NDArray, constant: NDArray, keep: Any, what: str) -> _Part:
    """Return the coefficients of the indicators of one dimension, zero for all others."""
    try:
        from sklearn.decomposition import PCA  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependencyError(
            "Principal components need scikit-learn: pip install scikit-learn."
        ) from error
    used = members[~constant[members]]
    if not used.size:
        raise IdentificationError(
            f"No indicator{what} differs between rows: there are no components. Leave it out."
        )
    pca = PCA(svd_solver="full").fit(z[:, used])
    eigenvalues, vectors = pca.explained_variance_, pca.components_
    if keep == "kaiser":
        m = max(1, int((eigenvalues > 1.0).sum()))
    elif isinstance(keep, int):
        m = min(keep, eigenvalues.size)
    else:
        explained = eigenvalues.cumsum() / eigenvalues.sum()
        m = int(np.searchsorted(explained, keep - 1e-12)) + 1
    m = min(m, eigenvalues.size)
    sums = vectors.sum(axis=1)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)[:, 0]
    sign = np.where(np.abs(sums) > 1e-9, np.sign(sums), np.sign(largest))
    share = eigenvalues[:m] / eigenvalues[:m].sum()
    weights = np.zeros(z.shape[1])
    weights[used] = share @ (sign[:m, None] * vectors[:m])
    return _Part(weights, eigenvalues, m)


def _eigenvalues(part: _Part) -> pd.DataFrame:
    share = part.eigenvalues / part.eigenvalues.sum()
    number = np.arange(1, share.size + 1)
    return pd.DataFrame(
        {
            "eigenvalue": part.eigenvalues,
            "share": share,
            "cumulative": share.cumsum(),
            "retained": number <= part.retained,
        },
        index=pd.Index(number, name="component"),
    )
