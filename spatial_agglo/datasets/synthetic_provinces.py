"""A synthetic panel of 31 provinces, made from the published equations: not data."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.datasets import provinces_process as process
from spatial_agglo.datasets.calibration import persistent, tilted
from spatial_agglo.datasets.china import china_capitals
from spatial_agglo.datasets.indicator_system import indicators_of
from spatial_agglo.datasets.provinces_published import (
    CLUSTERS,
    DIMENSIONS,
    INDICATORS,
    MOMENTS,
)

SEED = 36
#: Producer services and what share of their jobs each has, on average.
SERVICES = {
    "transport": 0.33,
    "leasing": 0.19,
    "information": 0.12,
    "finance": 0.20,
    "science": 0.16,
}
#: Shares of manufacturing and of producer services in the nation's jobs; persons employed.
MANUFACTURING, PRODUCER_SERVICES = (0.052, 0.050), (0.026, 0.033)
EMPLOYED = (7.1e8, 7.5e8)
#: Sums of the overall weights of table 2 by dimension, moved as little as it takes for the
#: published means of the dimensions to have the published mean of the index.
SHARES = {"amt": 0.372, "amm": 0.135, "amw": 0.215, "gam": 0.065, "ame": 0.213}


#: What every table and picture of these data must say.
DESCRIPTION = (
    "Synthetic data: made by the computer from published equations and moments, not statistics "
    "of the provinces whose names they carry."
)


def provinces() -> pd.DataFrame:
    """Make up a panel of 31 provinces of China, 2003-2021: synthetic, not data.

    The data of Yin & Su (2024) are not public. This panel has the variables of their study,
    drawn from their equations, with the moments of their table 3, so that the study can be
    carried out from counts to spillovers. Only names, regions and coordinates are real; no
    number says anything about the province that it stands beside.

    Returns
    -------
    DataFrame, shape (589, 45)
        One row per province and year, nothing missing but ``centers``; ``attrs["synthetic"]``
        is True and ``attrs["description"]`` says what it is. Columns:

        ====================  ==============================================================
        `province`, `year`    as in `china_capitals`; 2003 to 2021
        `region`              East, Central, West or Northeast
        `longitude`,          of the capital, degrees
        `latitude`
        `clusters`            whether it is one of the 18 provinces with national clusters
                              of advanced manufacturing that the paper lists
        `employment`          all persons employed
        `manufacturing`       persons employed in manufacturing
        `transport`,          persons employed in the five producer services: transport,
        `leasing`,            storage and post; leasing and business services; information;
        `information`,        finance; science and technical services
        `finance`, `science`
        `new_products` to     the 21 indicators of the paper's table 2, in its order; of
        `log_profit`          `debt_ratio` less is better
        `pdgp`                log of product per head
        `fdi`, `hcl`,         logs of foreign investment, human capital, government
        `gov`, `inv`          spending, fixed investment; with zeros, see the notes
        `str`                 share of services in output, percent
        `inf`                 log of post and telecommunications
        `uic`                 urban innovation capacity: patents, ten thousand (mediator)
        `mi`                  manufacturing intelligence: imports of robots (moderator)
        `icc`                 international capacity cooperation over product (moderator)
        `centers`             national manufacturing innovation centres; from 2016 on
        ====================  ==============================================================

    Notes
    -----
    Controls, moderators and the co-agglomeration that follows from the counts have the mean,
    standard deviation, minimum and maximum of table 3 exactly. The mediator and the outcome
    come from linear equations,

    ``uic = a_i + x'm + u`` and ``ami = rho W ami + x'b + (W x)'t + a_i + b_t + e``,

    with coefficients in `synthetic_process`, and meet them as far as such equations can: the
    outcome its mean and standard deviation (its range is 15.5 to 51.8, printed 14.48 to 49.24),
    the mediator its minimum and within 5 percent its standard deviation and maximum (its mean is
    0.64, printed 0.48). W is half inverse distance between capitals and half inverse difference
    in product per head of 2003, both row-standardised: `nested` with form="convex".

    The outcome is not a column: it is the pooled entropy index (standardised scores) of the 21
    indicators, which are made for it to be. Tables 2 and 3 of the paper cannot both come from one
    pooled entropy computation: weights within dimensions would be the overall ones rescaled
    (0.075/0.299 = 0.251 is printed as 0.231), and the dimensions' means under the overall weights
    give 35.9, not 32.96. Here the dimensions' scores have means within 2.5 percent and standard
    deviations within 10 percent of table 3, and the weights are the nearest to table 2 that one
    computation allows.

    Indicators are made for the index and agree with nothing else: `log_employment` is not the
    log of `manufacturing`.

    The paper's minima of `fdi`, `hcl`, `gov` and `inv`, logs of large amounts, are zero: gaps,
    it seems, that were coded so. There are 15, 10, 57 and 5 zeros here, as many as the published
    standard deviations imply.

    The seed was chosen for tables that look like the published ones. Nothing is endogenous here:
    instruments are not needed, and lagged co-agglomeration is a weaker one than the paper's.

    References
    ----------
    Yin, H. & Su, W. (2024). Industrial synergy agglomeration, urban innovation capacity, and
    advanced manufacturing development. Economies 12:117.

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> df = datasets.provinces()
    >>> df.shape, df.attrs["synthetic"]
    ((589, 45), True)
    >>> float(df["mi"].mean().round(2)), float(df["mi"].std().round(2))
    (97.28, 182.18)
    """
    frame = _made(SEED).copy()
    frame.attrs = {"synthetic": True, "description": DESCRIPTION}
    return frame


@cache
def _made(seed: int) -> pd.DataFrame:
    rng = np.random.Generator(np.random.PCG64(seed))
    capitals = china_capitals()
    drawn = process.draw(rng, capitals)
    x, (T, N) = drawn.values, drawn.values["ami"].shape
    out: dict[str, NDArray] = {
        "province": np.tile(capitals["province"], T),
        "year": np.repeat(process.YEARS, N),
        **{name: np.tile(capitals[name], T) for name in ("region", "longitude", "latitude")},
        "clusters": np.tile(capitals["province"].isin(CLUSTERS), T),
        **_employment(rng, x["coagglo"], drawn.wealth),
        **_indicators(rng, x["ami"]),
    }
    names = ("pdgp", "fdi", "hcl", "gov", "inv", "str", "inf", "uic", "mi", "icc")
    out |= {name: np.round(x[name].ravel(), 6) for name in names}
    out["centers"] = _centers(rng, x["coagglo"]).ravel()
    frame = pd.DataFrame(out).sort_values(["province", "year"], ignore_index=True)
    return frame


def _employment(rng: np.random.Generator, coagglo: NDArray, wealth: NDArray) -> dict[str, NDArray]:
    """Return counts of persons whose co-agglomeration is the given one.

    With r the difference of the two location quotients over their sum, eq. 20 gives the sum
    ``coagglo - 1 + |r|``. Total jobs are such that both quotients have mean 1 over the nation.
    """
    T, N = coagglo.shape
    side = np.where(np.argsort(np.argsort(rng.random(N))) % 2, 1.0, -1.0)
    r = side * (0.35 + 0.08 * np.tanh(persistent(rng, T, N, decay=0.9)))
    both = coagglo - 1.0 + np.abs(r)
    a, b = (1.0 + r) * both / 2.0, (1.0 - r) * both / 2.0
    base = np.exp(0.7 * rng.standard_normal(N) - 0.2 * wealth)
    # Sizes that fit all years together first, so that those of a year need little change.
    base = tilted(base, [a.mean(axis=0), b.mean(axis=0)], [1.0, 1.0])
    p = np.stack([tilted(base, [a[t], b[t]], [1.0, 1.0]) for t in range(T)])
    total = np.round(np.linspace(*EMPLOYED, T)[:, None] * p)
    share = {"m": np.linspace(*MANUFACTURING, T), "s": np.linspace(*PRODUCER_SERVICES, T)}
    manufacturing = np.round(a * share["m"][:, None] * total)
    services = b * share["s"][:, None] * total
    mix = np.stack(
        [
            size * np.exp(0.15 * persistent(rng, T, N, decay=0.95) + 0.2 * rng.standard_normal(N))
            for size in SERVICES.values()
        ]
    )
    parts = np.round(services * mix / mix.sum(axis=0))
    return {
        "employment": total.ravel().astype(np.int64),
        "manufacturing": manufacturing.ravel().astype(np.int64),
        **{name: part.ravel().astype(np.int64) for name, part in zip(SERVICES, parts, strict=True)},
    }


def _indicators(rng: np.random.Generator, ami: NDArray) -> dict[str, NDArray]:
    """Return indicators whose entropy-weighted index is the given one."""
    T, N = ami.shape
    noises = np.stack(
        [
            0.6 * rng.standard_normal(N)
            + 0.25 * np.cumsum(rng.standard_normal(T))[:, None]
            + 0.6 * rng.standard_normal((T, N))
            for _ in DIMENSIONS
        ],
        axis=-1,
    ).reshape(T * N, -1)
    noises = (noises - noises.mean(axis=0)) / noises.std(axis=0)
    within = {g: [i.individual for i in INDICATORS if i.dimension == g] for g in DIMENSIONS}
    Y = indicators_of(
        ami.ravel(),
        {g: MOMENTS[g] for g in DIMENSIONS},
        within,
        SHARES,
        noises,
        rng.standard_normal((T * N, len(INDICATORS))),
    )
    out = {}
    for y, item in zip(Y.T, INDICATORS, strict=True):
        part = y if item.direction == "+" else 1.0 - y
        out[item.column] = np.round(item.low + (item.high - item.low) * part, 6)
    return out


def _centers(rng: np.random.Generator, coagglo: NDArray) -> NDArray:
    """Return how many national innovation centres there are, from 2016 on."""
    T, N = coagglo.shape
    since = process.YEARS >= 2016
    age = np.where(since, process.YEARS - 2015, 0)[:, None]
    pull = np.clip(coagglo - 2.0, 0.0, 6.0) * (0.6 + 0.4 * rng.random(N))
    found = np.floor(0.1 * pull * age + 0.35 * rng.random((T, N)))
    out = np.maximum.accumulate(found, axis=0)
    return np.where(since[:, None], out, np.nan)
