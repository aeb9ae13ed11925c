"""The process that the synthetic cities come from, and what is printed of the real ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.datasets.calibration import persistent, stretched
from spatial_agglo.datasets.provinces_published import Moments

YEARS = np.arange(2008, 2023)
#: Table 1 of Wang, Shi & Zhang (2025), of 4,050 observations; medians in ``MEDIANS``.
MOMENTS = {
    "agg": Moments(0.87, 0.52, 0.01, 4.85),
    "digital": Moments(1.35, 0.93, 0.0, 4.69),
    "manu": Moments(0.46, 0.11, 0.06, 1.25),
    "serv": Moments(0.41, 0.11, 0.08, 1.31),
    "pop": Moments(5.77, 0.93, 0.68, 7.88),
    "edu": Moments(0.18, 0.04, 0.02, 0.38),
}
MEDIANS = {"agg": 0.78, "digital": 1.2, "manu": 0.46, "serv": 0.41, "pop": 5.95, "edu": 0.18}
#: Shares of value added above one, as printed, cannot be; and nothing is printed of the mediators.
USED = MOMENTS | {
    "manu": Moments(0.46, 0.11, 0.06, 0.85),
    "serv": Moments(0.41, 0.11, 0.08, 0.80),
    "tec": Moments(0.030, 0.018, 0.001, 0.20),
    "inter": Moments(1.00, 0.60, 0.10, 5.0),
}
#: Coefficients, from tables 2 and 3; the direct effect is what is left of 0.0615 in table 2.
CONTROLS = ("manu", "serv", "pop", "edu")
OUTCOME = {
    "digital": 0.051,
    "tec": 1.72,
    "inter": 0.0433,
    "manu": 0.57,
    "serv": 0.04,
    "pop": 0.09,
    "edu": -0.38,
}
MEDIATORS = {
    "tec": {"digital": 0.00496, "manu": 0.00823, "serv": 0.00218, "pop": 0.000532, "edu": 0.0336},
    "inter": {"digital": 0.0464, "manu": 0.338, "serv": -0.418, "pop": -0.000459, "edu": 0.0713},
}
#: Errors relative to a city's level: of the outcome and of the mediators.
RELATIVE = {"agg": 0.20, "tec": 0.25, "inter": 0.20}


def draw(rng: np.random.Generator, height: NDArray) -> dict[str, NDArray]:
    """Draw regressors, mediators and outcome, (T, N) each.

    ::

        m_it   = a_i + b_t + x_it delta + u_it
        agg_it = c_i + d_t + x_it beta + m_it gamma + e_it

    Parameters
    ----------
    rng : Generator
    height : (N,) how far a city's region is ahead
    """
    T, N = YEARS.size, height.size
    wealth = height + 0.7 * rng.standard_normal(N)
    trend = np.linspace(-1.0, 1.0, T)[:, None]

    def shocks(decay: float) -> NDArray:
        return persistent(rng, T, N, decay=decay)

    slope = 1.0 + 0.45 * rng.standard_normal(N) + 0.2 * wealth
    x = {"digital": _fitted("digital", wealth + 0.8 * slope * trend + 0.2 * shocks(0.6))}
    industry = 0.9 * rng.standard_normal(N) - 0.35 * trend + 0.45 * shocks(0.8)
    x["manu"] = _fitted("manu", industry)
    x["serv"] = _fitted("serv", -industry / industry.std() + 0.23 * shocks(0.8))
    x["pop"] = _fitted("pop", 0.8 * wealth + rng.standard_normal(N) + 0.12 * shocks(0.7))
    x["edu"] = _fitted("edu", 0.8 * rng.standard_normal(N) - 0.3 * wealth + 0.2 * shocks(0.5))
    for name, coefficients in MEDIATORS.items():
        linear = _combined(x, coefficients)
        level = 0.7 * wealth + 0.7 * rng.standard_normal(N)
        x[name] = _levelled(name, linear, 0.2 * trend, level, even(shocks(0.2)))
    linear = _combined(x, OUTCOME)
    level = 0.4 * wealth + rng.standard_normal(N)
    x["agg"] = _levelled("agg", linear, 0.05 * trend, level, even(shocks(0.2)))
    return x


def _combined(x: dict[str, NDArray], coefficients: dict[str, float]) -> NDArray:
    return np.asarray(sum(b * x[name] for name, b in coefficients.items()))


def even(z: NDArray) -> NDArray:
    """Map normal values of variance one to uniform ones of variance one: no error is large.

    Examples
    --------
    >>> even(np.array([-9.0, 0.0, 9.0])).round(3).tolist()
    [-1.732, 0.0, 1.732]
    """
    from scipy.special import ndtr

    return np.asarray(np.sqrt(12.0) * (ndtr(z) - 0.5))


def _fitted(name: str, z: NDArray) -> NDArray:
    m = USED[name]
    return stretched(z.ravel(), low=m.low, high=m.high, mean=m.mean, sd=m.sd).reshape(z.shape)


def _levelled(name: str, linear: NDArray, trend: NDArray, z: NDArray, errors: NDArray) -> NDArray:
    """Return a linear process whose city effects give it the moments that are aimed at.

    Errors are in proportion to a city's level, so that none falls below zero; years have a trend
    of their own in place of the regressors'. The levels are shifted, round by round, until mean,
    sd, minimum and maximum are met.
    """
    aim = np.array(USED[name])
    both = linear.mean(axis=0) + linear.mean(axis=1, keepdims=True) - linear.mean()
    deviation = linear - both + aim[0] * (trend - trend.mean())
    at = np.array([aim[0], aim[1] * 0.95, max(aim[2], 0.05 * aim[0]) * 2.0, aim[3] * 0.7])
    out = deviation
    for _ in range(60):
        level = stretched(z, low=at[2], high=at[3], mean=at[0], sd=at[1])
        out = level + deviation + RELATIVE[name] * level * errors
        found = np.array([out.mean(), out.std(ddof=1), out.min(), out.max()])
        if np.abs(found - aim).max() < 1e-9 * aim[3]:
            break
        at = at + 0.7 * (aim - found)
    return out
