"""Fixed-effects projections of arrays in time-major layout, period slow and unit fast."""

from __future__ import annotations

from numpy.typing import NDArray

EFFECTS = ("none", "entity", "time", "two-way")


def removes_entity(effects: str) -> bool:
    """Tell whether ``effects`` include one constant per unit."""
    return effects in ("entity", "two-way")


def removes_time(effects: str) -> bool:
    """Tell whether ``effects`` include one constant per period."""
    return effects in ("time", "two-way")


def within(Z: NDArray, effects: str) -> NDArray:
    """Subtract the means that the fixed effects absorb (balanced panels).

    The projector is ``Q = (I_T - J_T) kron I_N`` for entity effects,
    ``I_T kron (I_N - J_N)`` for time effects and their product for two-way effects,
    with ``J`` the matrix that averages. On a balanced panel the two commute.

    Parameters
    ----------
    Z : ndarray, shape (T, N) or (T, N, k)
    effects : {"none", "entity", "time", "two-way"}

    Returns
    -------
    ndarray
        A new array of the same shape; for "none" the array itself.

    Examples
    --------
    >>> import numpy as np
    >>> within(np.array([[1.0, 2.0], [3.0, 4.0]]), "two-way")
    array([[0., 0.],
           [0., 0.]])
    """
    if removes_entity(effects):
        Z = Z - Z.mean(axis=0, keepdims=True)
    if removes_time(effects):
        Z = Z - Z.mean(axis=1, keepdims=True)
    return Z
