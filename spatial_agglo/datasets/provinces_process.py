"""The process that the synthetic provinces come from: regressors, mediator, outcome."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.datasets.calibration import persistent, stretched
from spatial_agglo.datasets.provinces_published import CLUSTERS, MOMENTS, Moments
from spatial_agglo.weights import SpatialWeights, distances, nested

YEARS = np.arange(2003, 2022)
#: The share of geography in W, and the year whose product per head is its economic side.
SHARE, BASE_YEAR = 0.5, 2003
#: rho of the outcome.
RHO = 0.3
#: Coefficients of the outcome; ``x:y`` is a product of centred variables, "W*x" a spatial lag.
OUTCOME = {
    "coagglo": 0.60,
    "uic": 1.00,
    "mi": 0.40,
    "icc": 0.20,
    "coagglo:mi": 0.05,
    "coagglo:icc": 0.025,
    "uic:mi": 0.20,
    "uic:icc": 0.25,
    "pdgp": 2.00,
    "fdi": 0.087,
    "hcl": 0.0,
    "gov": -0.088,
    "inv": -0.147,
    "str": 0.0,
    "inf": 2.10,
    "W*coagglo": 1.00,
    "W*uic": 0.50,
    "W*pdgp": 2.00,
}
#: Coefficients of the mediator.
MEDIATOR = {
    "coagglo": 0.25,
    "mi": 0.10,
    "icc": 0.05,
    "coagglo:mi": 0.05,
    "coagglo:icc": 0.012,
}
#: Standard deviations of the errors; the mediator's is a mean, it grows with a province's wealth.
SIGMA, SIGMA_MEDIATOR = 1.9, 0.23
#: Cells that the source has as zero where the others are logs of large amounts, and the smallest
#: of the others: so many zeros give the published mean, minimum and standard deviation.
ZEROS = {"fdi": (15, 15.0), "hcl": (10, 7.0), "gov": (57, 21.0), "inv": (5, 20.0)}


class Drawn(NamedTuple):
    """What the process gives, (T, N) each, and the (N, N) weights it ran on."""

    values: dict[str, NDArray]
    wealth: NDArray
    W: NDArray


def draw(rng: np.random.Generator, capitals: pd.DataFrame) -> Drawn:
    """Draw regressors, mediator and outcome; means and spreads are the published ones.

    ::

        uic = a_i + X b + u
        ami = rho W ami + X beta + W X theta + a_i + b_t + e

    with X as in ``OUTCOME`` and ``MEDIATOR``.
    """
    N, T = len(capitals), YEARS.size
    region = capitals["region"].to_numpy()
    clusters = capitals["province"].isin(CLUSTERS).to_numpy()
    height = {"East": 1.0, "Central": -0.25, "West": -0.6, "Northeast": 0.0}
    wealth = np.array([height[name] for name in region]) + 0.5 * (clusters - clusters.mean())
    wealth = wealth + 0.5 * rng.standard_normal(N)
    trend = np.linspace(-1.0, 1.0, T)[:, None]

    def shocks(decay: float) -> NDArray:
        return persistent(rng, T, N, decay=decay)

    x = {"pdgp": _fitted("pdgp", 0.55 * wealth + trend + 0.12 * shocks(0.8))}
    W = _weights(capitals, x["pdgp"][YEARS == BASE_YEAR][0])
    mixtures = {
        "fdi": (1.0, 0.5, 0.35),
        "hcl": (0.5, 0.3, 0.35),
        "gov": (0.3, 0.9, 0.2),
        "inv": (0.5, 0.9, 0.3),
        "str": (0.8, 0.5, 0.4),
        "inf": (0.5, 0.9, 0.2),
        "mi": (0.9, 0.7, 0.35),
    }
    for name, (level, slope, noise) in mixtures.items():
        z = level * wealth + slope * trend + noise * shocks(0.7)
        x[name] = _fitted(name, z, rng)
    x["icc"] = _fitted("icc", 0.9 * wealth + 0.45 * shocks(0.5))
    near = np.linalg.solve(np.eye(N) - 0.85 * W, shocks(0.85).T).T
    x["coagglo"] = _fitted("coagglo", wealth + 0.3 * rng.standard_normal(N) + 0.33 * near)
    x["uic"] = _mediator(x, wealth, trend, SIGMA_MEDIATOR * shocks(0.2))
    levels = 0.95 * _scaled(-np.exp(-0.6 * wealth)) + 0.3 * rng.standard_normal(N)
    years = 2.2 * trend + 0.15 * rng.standard_normal((T, 1))
    x["ami"] = _outcome(x, W, levels, years, SIGMA * rng.standard_normal((T, N)))
    return Drawn(x, wealth, W)


def terms(x: dict[str, NDArray]) -> dict[str, NDArray]:
    """Return the regressors of the process: moderators standardised, products of centred ones.

    Means and standard deviations are the published ones, so that the terms are fixed numbers.
    """
    out = dict(x)
    for name in ("mi", "icc"):
        out[name] = (x[name] - MOMENTS[name].mean) / MOMENTS[name].sd
    for first in ("coagglo", "uic"):
        if first in x:
            centred = x[first] - MOMENTS[first].mean
            out |= {f"{first}:{name}": centred * out[name] for name in ("mi", "icc")}
    return out


def _fitted(name: str, z: NDArray, rng: np.random.Generator | None = None) -> NDArray:
    """Return values of the published moments; some of them zero, where the source has zeros."""
    moments = MOMENTS[name]
    if name not in ZEROS:
        return stretched(z.ravel(), **_limits(moments)).reshape(z.shape)
    assert rng is not None
    k, low = ZEROS[name]
    n = z.size
    rest = np.ones(n, dtype=bool)
    rest[np.argsort(rng.random(n), kind="stable")[:k]] = False
    mean = moments.mean * n / (n - k)
    squares = (n - 1) * moments.sd**2 + n * moments.mean**2 - (n - k) * mean**2
    part = Moments(mean, float(np.sqrt(squares / (n - k - 1))), low, moments.high)
    out = np.zeros(n)
    out[rest] = stretched(z.ravel()[rest], **_limits(part))
    return out.reshape(z.shape)


def _limits(moments: Moments) -> dict[str, float]:
    return {"low": moments.low, "high": moments.high, "mean": moments.mean, "sd": moments.sd}


def _scaled(z: NDArray) -> NDArray:
    return np.asarray((z - z.mean()) / z.std())


def _weights(capitals: pd.DataFrame, log_product: NDArray) -> NDArray:
    d = distances(capitals, ids="province", longitude="longitude", latitude="latitude")
    product = pd.Series(np.exp(log_product), index=capitals["province"].to_numpy())
    W = nested(d, product, form="convex", share=SHARE)
    assert isinstance(W, SpatialWeights)
    return np.asarray(W.align(pd.Index(capitals["province"])).matrix.toarray())


def _mediator(x: dict[str, NDArray], wealth: NDArray, trend: NDArray, u: NDArray) -> NDArray:
    """Return the mediator: no province below zero, the mean as published."""
    have = terms(x)
    scale = np.exp(1.6 * wealth + 0.4 * trend)
    base = sum(b * have[name] for name, b in MEDIATOR.items()) + scale / scale.mean() * u
    base = base - base.min(axis=0)
    short = MOMENTS["uic"].mean - base.mean()
    offset = np.exp(1.5 * wealth)
    offset[wealth.argmin()] = 0.0
    return np.asarray(base + max(short, 0.0) * offset / offset.mean())


def _outcome(
    x: dict[str, NDArray], W: NDArray, levels: NDArray, years: NDArray, e: NDArray
) -> NDArray:
    """Return the outcome; levels of provinces are scaled so that its sd is the published one."""
    have = terms(x)
    linear = e.copy()
    for name, b in OUTCOME.items():
        linear += b * (have[name[2:]] @ W.T if name.startswith("W*") else have[name])
    solved = np.linalg.solve(np.eye(W.shape[0]) - RHO * W, linear.T).T
    # Effects of provinces and years enter after the multiplier, which maps them one to one.
    solved = solved - solved.mean(axis=0) - solved.mean(axis=1, keepdims=True) + solved.mean()
    solved, levels = solved + years - years.mean(), levels - levels.mean()
    n = solved.size
    cross, own = float((solved * levels).sum()), float(solved.shape[0] * (levels**2).sum())
    lacking = (n - 1) * MOMENTS["ami"].sd ** 2 - float((solved**2).sum())
    size = (-cross + np.sqrt(cross**2 + own * lacking)) / own
    return np.asarray(MOMENTS["ami"].mean + solved + size * levels)
