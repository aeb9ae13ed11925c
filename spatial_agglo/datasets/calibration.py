"""What synthetic panels are made with: draws, columns of given moments, counts of given LQs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.errors import DataError


def stretched(z: NDArray, *, low: float, high: float, mean: float, sd: float) -> NDArray:
    """Map values monotonically to ones with a given minimum, maximum, mean and sd.

    ::

        x = low + (high - low) / (1 + exp(-(a + b s)))

    with s the standardised values and a, b > 0 such that mean and standard deviation (n - 1) are
    met; the smallest and the largest value become ``low`` and ``high``. Of normal values that
    is Johnson's bounded distribution.

    Raises
    ------
    DataError
        No such map meets both.

    References
    ----------
    Johnson, N. L. (1949), Biometrika 36:149-176, system S_B.

    Examples
    --------
    >>> x = stretched(np.arange(9.0), low=0.0, high=10.0, mean=3.0, sd=3.2)
    >>> [float(round(value, 6)) for value in (x.min(), x.max(), x.mean(), x.std(ddof=1))]
    [0.0, 10.0, 3.0, 3.2]
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    s = (z - z.mean()) / z.std()
    ends = [int(s.argmin()), int(s.argmax())]
    share, spread = (mean - low) / (high - low), sd / (high - low)

    def bent(b: float) -> NDArray:
        def at(a: float) -> NDArray:
            x = expit(a + b * s)
            x[ends] = 0.0, 1.0
            return np.asarray(x)

        return at(brentq(lambda a: float(at(a).mean()) - share, -60.0, 60.0, xtol=1e-13))

    def miss(b: float) -> float:
        return float(bent(b).std(ddof=1)) - spread

    try:
        found = bent(brentq(miss, 1e-3, 20.0, xtol=1e-13))
    except ValueError as error:
        raise DataError(
            f"No monotone map of these values has minimum {low}, maximum {high}, mean {mean} and "
            f"standard deviation {sd}."
        ) from error
    return np.asarray(low + (high - low) * found)


def persistent(rng: np.random.Generator, T: int, N: int, *, decay: float) -> NDArray:
    """Draw (T, N) stationary first-order autoregressions of variance one.

    Examples
    --------
    >>> persistent(np.random.Generator(np.random.PCG64(1)), 3, 2, decay=0.5).shape
    (3, 2)
    """
    steps = rng.standard_normal((T, N))
    out = steps.copy()
    for t in range(1, T):
        out[t] = decay * out[t - 1] + np.sqrt(1.0 - decay**2) * steps[t]
    return out


def tilted(base: NDArray, values: Sequence[NDArray], targets: Sequence[float]) -> NDArray:
    """Return shares, tilted from ``base``, under which positive values have the given means.

    ::

        p_i ~ base_i prod_k x_ik**c_k,   sum_i p_i x_ik = target_k

    with c by Newton's method, steps halved until they help.

    Raises
    ------
    DataError
        No such shares were found: a target lies outside the range of the values.

    Examples
    --------
    >>> tilted(np.ones(3), [np.array([0.5, 1.0, 4.0])], [1.0]).round(3).tolist()
    [0.582, 0.321, 0.097]
    """
    X = np.column_stack(values)
    F, X = np.log(X), X - np.asarray(targets)
    log_base = np.log(base / base.sum())

    def shares(c: NDArray) -> NDArray:
        a = log_base + F @ c
        e = np.exp(a - a.max())
        return np.asarray(e / e.sum())

    c = np.zeros(X.shape[1])
    for _ in range(100):
        p = shares(c)
        off = p @ X
        if np.abs(off).max() < 1e-12:
            return p
        slope = (X * p[:, None]).T @ F - np.outer(off, p @ F)
        step = np.linalg.lstsq(slope, off, rcond=None)[0]
        while np.abs(step).max() > 1e-14 and not (
            np.linalg.norm(shares(c - step) @ X) < np.linalg.norm(off)
        ):
            step = step / 2.0
        c = c - step
    raise DataError("No shares give these means: a target lies outside the range of the values.")
