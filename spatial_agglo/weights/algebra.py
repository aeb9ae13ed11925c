"""Algebra of weights: every operation returns a new object that tells how it was made."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from spatial_agglo.errors import OptionError
from spatial_agglo.weights.matrix import SpatialWeights, as_weights


def convex(
    first: SpatialWeights, second: SpatialWeights, *, share: float, standardize: bool = True
) -> SpatialWeights:
    """Return ``share * first + (1 - share) * second``, aligned by label.

    Parameters
    ----------
    first, second : SpatialWeights, or what :func:`as_weights` takes
    share : float
        Weight of the first, from 0 to 1.
    standardize : bool
        Row-standardise both parts before they are mixed. Without it a mix of 1/km and 1/yuan is
        one of the two in disguise.

    Raises
    ------
    OptionError
        A share outside [0, 1].

    Examples
    --------
    >>> W = SpatialWeights.from_dense([[0, 1, 1], [1, 0, 0], [1, 0, 0]], ids=["a", "b", "c"])
    >>> V = SpatialWeights.from_dense([[0, 9, 0], [9, 0, 9], [0, 9, 0]], ids=["a", "b", "c"])
    >>> convex(W, V, share=0.5).to_frame().loc["a"].tolist()
    [0.0, 0.75, 0.25]
    """
    if not (isinstance(share, (int, float)) and 0.0 <= share <= 1.0):
        raise OptionError(f"share={share!r} must lie between 0 and 1.")
    first = as_weights(first)
    second = as_weights(second).align(first.ids)
    if standardize:
        first, second = first.standardize("row"), second.standardize("row")
    return SpatialWeights(
        sparse.csr_array(share * first.matrix + (1.0 - share) * second.matrix),
        first.ids,
        description=f"{share:g} ({first.description}) + {1 - share:g} ({second.description})",
        formula=f"{share:g} [{first.formula}] + {1 - share:g} [{second.formula}]",
        isolates=first.isolates_rule,
    )


def hadamard(first: Any, second: Any) -> SpatialWeights:
    """Return the element-wise product, aligned by label; not standardised.

    Standardising rows before or after makes no difference to the standardised product.

    Parameters
    ----------
    first, second : SpatialWeights, or what :func:`as_weights` takes

    Examples
    --------
    >>> W = SpatialWeights.from_dense([[0, 1, 1], [1, 0, 0], [1, 0, 0]], ids=["a", "b", "c"])
    >>> hadamard(W, W).n_links
    4
    """
    first = as_weights(first)
    second = as_weights(second).align(first.ids)
    return SpatialWeights(
        sparse.csr_array(first.matrix * second.matrix),
        first.ids,
        description=f"({first.description}) x ({second.description})",
        formula=" x ".join(f"[{part}]" for part in (first.formula, second.formula) if part),
        isolates=first.isolates_rule,
    )


def power(W: Any, q: int) -> SpatialWeights:
    """Return ``W**q`` without its diagonal: paths of length q to other units.

    For higher-order contiguity, which counts borders and not paths, see :func:`higher_order`.

    Parameters
    ----------
    W : SpatialWeights, or what :func:`as_weights` takes
    q : int

    Examples
    --------
    >>> W = SpatialWeights.from_dense([[0, 1, 1], [1, 0, 0], [1, 0, 0]], ids=["a", "b", "c"])
    >>> power(W, 2).to_frame().loc["b"].tolist()
    [0.0, 0.0, 1.0]
    """
    W = as_weights(W)
    _whole("q", q)
    matrix = W.matrix
    for _ in range(q - 1):
        matrix = sparse.csr_array(matrix @ W.matrix)
    return W.derive(_hollow(matrix), f", power {q}", isolates="allow")


def higher_order(
    W: Any, order: int, *, cumulative: bool = False, isolates: str = "error"
) -> SpatialWeights:
    """Link units whose shortest path has ``order`` links (at most, when cumulative); binary.

    Order 1 returns the weights themselves.

    Parameters
    ----------
    W : SpatialWeights, or what :func:`as_weights` takes
    order : int
    cumulative : bool
        Whether the lower orders are included.
    isolates : {"error", "allow"}

    Examples
    --------
    >>> W = SpatialWeights.from_dense([[0, 1, 0], [1, 0, 1], [0, 1, 0]], ids=["a", "b", "c"])
    >>> higher_order(W, 2, isolates="allow").to_frame().loc["a"].tolist()
    [0.0, 0.0, 1.0]
    """
    W = as_weights(W)
    _whole("order", order)
    if order == 1:
        return W
    one = sparse.csr_array((W.matrix != 0).astype(float))
    ring, reached = one, sparse.csr_array(one + sparse.eye_array(W.n, format="csr"))
    for _ in range(order - 1):
        step = sparse.csr_array(((ring @ one) != 0).astype(float))
        ring = sparse.csr_array(step - step * (reached != 0))
        ring.eliminate_zeros()
        reached = sparse.csr_array(reached + ring)
    chosen = _hollow((reached != 0).astype(float)) if cumulative else ring
    note = f", order {order}{' and lower' if cumulative else ''}"
    return W.derive(chosen, note, isolates=isolates)


def union_nearest(W: Any, nearest: Any) -> SpatialWeights:
    """Give the isolates the links that they have in another matrix, such as ``knn(k=1)``.

    The new links go both ways.

    Parameters
    ----------
    W : SpatialWeights made with ``isolates="allow"``, not standardised
    nearest : SpatialWeights
        Aligned by label.

    Examples
    --------
    >>> W = SpatialWeights.from_dense(
    ...     [[0, 1, 0], [1, 0, 0], [0, 0, 0]], ids=["a", "b", "c"], isolates="allow"
    ... )
    >>> V = SpatialWeights.from_dense([[0, 1, 0], [1, 0, 0], [0, 1, 0]], ids=["a", "b", "c"])
    >>> union_nearest(W, V).to_frame().loc["c"].tolist()
    [0.0, 1.0, 0.0]
    """
    W = as_weights(W)
    lonely = np.diff(W.matrix.indptr) == 0
    if not lonely.any():
        return W
    other = as_weights(nearest).align(W.ids).matrix
    links = sparse.csr_array(sparse.diags_array(lonely.astype(float)) @ other)
    links = sparse.csr_array(links.maximum(links.T))
    return W.derive(
        W.matrix.maximum(links),
        f", with {int(lonely.sum())} isolate(s) linked to their nearest units",
        isolates="error",
    )


def _hollow(matrix: Any) -> sparse.csr_array:
    """Return the matrix with an empty diagonal."""
    out = sparse.csr_array(matrix)
    out = sparse.csr_array(out - sparse.diags_array(out.diagonal()))
    out.eliminate_zeros()
    return out


def _whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise OptionError(f"{name}={value!r} must be a whole number of at least 1.")
