"""Entropy weights of indicators, on arrays of units by indicators."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: A spread of an indicator this small, relative to its size, is rounding.
CONSTANT = 1e-12


def min_max(M: NDArray, negative: NDArray) -> tuple[NDArray, NDArray]:
    """Scale every column to [0, 1]; return the columns and which of them are constant.

    ::

        Y = (M - min M) / (max M - min M)    or, for negative indicators, 1 - that

    A constant column has no scale: it is 0 throughout.

    References
    ----------
    Yin, H. & Su, W. (2024), Economies 12:117, eqs 11 and 12.

    Examples
    --------
    >>> min_max(np.array([[1.0, 1.0], [3.0, 3.0], [2.0, 2.0]]), np.array([False, True]))[0]
    array([[0. , 1. ],
           [1. , 0. ],
           [0.5, 0.5]])
    """
    low, high = M.min(axis=0), M.max(axis=0)
    constant = high - low <= CONSTANT * np.maximum(np.abs(low), np.abs(high))
    room = np.where(constant, 1.0, high - low)
    Y = np.where(negative, high - M, M - low) / room
    return np.where(constant, 0.0, Y), constant


def shares(Y: NDArray) -> NDArray:
    """Return every unit's share of each column, ``P = Y / sum Y``; 0 in a column of zeros."""
    whole = Y.sum(axis=0)
    return Y / np.where(whole > 0, whole, 1.0)


def entropies(P: NDArray) -> NDArray:
    """Return the entropy of every column of shares, with 0 ln 0 = 0; 1 for a column of zeros.

    ::

        E = - sum P ln P / ln n

    References
    ----------
    Yin, H. & Su, W. (2024), Economies 12:117, eq. 14, with n the number of units compared.

    Examples
    --------
    >>> entropies(np.array([[0.5, 1.0], [0.5, 0.0]])).tolist()
    [1.0, 0.0]
    """
    logs = np.log(P, out=np.zeros_like(P), where=P > 0)
    E = np.abs((P * logs).sum(axis=0)) / np.log(P.shape[0])
    # Equal shares can come out a hair above 1.
    return np.where(P.any(axis=0), np.minimum(E, 1.0), 1.0)


def weights_of(E: NDArray) -> NDArray:
    """Return weights in proportion to the divergence ``1 - E``; NaN if none diverges."""
    divergence = 1.0 - E
    whole = divergence.sum()
    return divergence / whole if whole > 0 else np.full_like(E, np.nan)
