"""A synthetic panel of 270 cities, made from the published equations: not data."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.datasets import cities_process as process
from spatial_agglo.datasets.calibration import persistent, tilted

SEED = 20
#: Cities by region, how far the region is ahead, and points inside it (degrees): the cities lie
#: in the convex hull of these, which is inside mainland China.
REGIONS: dict[str, tuple[int, float, tuple[tuple[float, float], ...]]] = {
    "East": (
        101,
        0.5,
        ((114.8, 39.5), (116.9, 39.2), (118.3, 36.3), (119.2, 33.5), (120.3, 30.8),
         (119.0, 26.5), (113.5, 23.3), (112.5, 24.0)),
    ),
    "Central": (
        100,
        -0.1,
        ((112.0, 39.5), (113.8, 38.5), (117.0, 33.0), (117.8, 30.5), (116.0, 27.0),
         (113.5, 25.5), (110.5, 26.5), (109.8, 31.0)),
    ),
    "West": (
        69,
        -0.5,
        ((105.0, 40.0), (108.5, 36.0), (108.5, 30.0), (107.5, 23.5), (101.5, 24.0),
         (99.3, 28.5), (95.0, 33.0), (91.0, 40.0)),
    ),
}  # fmt: skip
#: Share of manufacturing in the nation's jobs, and persons employed, first and last year.
MANUFACTURING, EMPLOYED = (0.190, 0.170), (1.4e8, 1.7e8)
DESCRIPTION = (
    "Synthetic data: made by the computer from published equations and moments; the cities do "
    "not exist."
)


def cities() -> pd.DataFrame:
    """Make up a panel of 270 cities, 2008-2022: synthetic, not data.

    The data of Wang, Shi & Zhang (2025) are not public. This panel has the variables of their
    study, drawn from their equations, with the moments of their table 1. The cities do not
    exist: they are numbered, and their coordinates are random points of mainland China.

    Returns
    -------
    DataFrame, shape (4050, 14)
        One row per city and year, nothing missing; ``attrs["synthetic"]`` is True and
        ``attrs["description"]`` says what it is. Columns:

        ===============  ===================================================================
        `city`           "City 001" to "City 270"
        `year`           2008 to 2022: 15 years, to the last that the paper mentions
        `region`         East (101), Central (100) or West (69)
        `longitude`,     degrees; made up
        `latitude`
        `employment`     all persons employed
        `manufacturing`  persons employed in manufacturing
        `digital`        log of digital patents
        `tec`            share of science and technology in public spending (mediator)
        `inter`          telecommunications per head (mediator)
        `manu`, `serv`   shares of industry and of services in output
        `pop`            log of population density
        `edu`            share of education in public spending
        ===============  ===================================================================

    Notes
    -----
    Manufacturing agglomeration, ``agg`` in the paper, is the location quotient of manufacturing
    that follows from the counts. It and the regressors have the mean, standard deviation, minimum
    and maximum of table 1; but the printed maxima of `manu` (1.25) and `serv` (1.31) cannot be
    shares and are 0.85 and 0.80 here. Nothing is printed of `tec` and `inter`: their moments are
    made up. The equations are (1) to (4) of the paper with two-way effects,

    ``m = a_i + b_t + x'd + u`` and ``agg = c_i + d_t + x'b + m'g + e``,

    without spillovers; coefficients are in `synthetic_process`. The seed was chosen for tables that
    look like the published ones. Table 3 of the paper implies a
    total effect of 0.0485 by either mediator (0.0400 + 0.00496 * 1.720, 0.0465 + 0.0464 * 0.0433),
    table 2 one of 0.0615: the process has 0.0615 with both mediators at work.

    References
    ----------
    Wang, R., Shi, H. & Zhang, X. (2025). How does digital technology innovation affect
    manufacturing industry agglomeration? International Business & Economics Studies 7(2):175.

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> df = datasets.cities()
    >>> df.shape, df["city"].iloc[0], df.attrs["synthetic"]
    ((4050, 14), 'City 001', True)
    """
    frame = _made(SEED).copy()
    frame.attrs = {"synthetic": True, "description": DESCRIPTION}
    return frame


@cache
def _made(seed: int) -> pd.DataFrame:
    rng = np.random.Generator(np.random.PCG64(seed))
    region = np.repeat(list(REGIONS), [n for n, _, _ in REGIONS.values()])
    height = np.repeat([h for _, h, _ in REGIONS.values()], [n for n, _, _ in REGIONS.values()])
    T, N = process.YEARS.size, region.size
    x = process.draw(rng, height)
    total, manufacturing = _employment(rng, x["agg"])
    points = np.vstack([_points(rng, n, corners) for n, _, corners in REGIONS.values()])
    # Numbers say nothing about the region.
    number = np.argsort(rng.random(N), kind="stable") + 1
    names = np.array([f"City {k:03d}" for k in number])
    columns = ("digital", "tec", "inter", "manu", "serv", "pop", "edu")
    out = {
        "city": np.tile(names, T),
        "year": np.repeat(process.YEARS, N),
        "region": np.tile(region, T),
        "longitude": np.tile(points[:, 0], T),
        "latitude": np.tile(points[:, 1], T),
        "employment": total.ravel().astype(np.int64),
        "manufacturing": manufacturing.ravel().astype(np.int64),
        **{name: np.round(x[name].ravel(), 6) for name in columns},
    }
    return pd.DataFrame(out).sort_values(["city", "year"], ignore_index=True)


def _points(rng: np.random.Generator, n: int, corners: tuple) -> NDArray:
    """Draw points inside the convex hull of the corners: means with exponential weights."""
    weights = (-np.log1p(-rng.random((n, len(corners))))) ** 1.5
    weights /= weights.sum(axis=1, keepdims=True)
    return np.round(weights @ np.array(corners), 4)


def _employment(rng: np.random.Generator, agg: NDArray) -> tuple[NDArray, NDArray]:
    """Return all jobs, and those in manufacturing, whose location quotients are the given ones."""
    T, N = agg.shape
    size = 0.7 * rng.standard_normal(N) + 0.05 * persistent(rng, T, N, decay=0.9)
    base = tilted(np.exp(size[0]), [agg.mean(axis=0)], [1.0])
    p = np.stack([tilted(base * np.exp(size[t] - size[0]), [agg[t]], [1.0]) for t in range(T)])
    total = np.round(np.linspace(*EMPLOYED, T)[:, None] * p)
    manufacturing = np.round(agg * np.linspace(*MANUFACTURING, T)[:, None] * total)
    return total, manufacturing
