"""How a sector is spread over places: shares, by period and, if asked, within regions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.agglomeration.employment import Employment
from spatial_agglo.agglomeration.results import divide, region_members, settle_undefined
from spatial_agglo.errors import check_option

#: What a sector's places are compared with.
BENCHMARKS = ("employment", "uniform")


class Spread(NamedTuple):
    """Shares of the places of one region.

    ``s``, (T, n, J): of each sector's jobs. ``x``, (T, n, 1): of all jobs. ``even``, (T, n, 1):
    the same for every place that is present. ``jobs``, (T, J): the sectors' sizes.
    """

    s: NDArray
    x: NDArray
    even: NDArray
    jobs: NDArray

    def benchmark(self, name: str) -> NDArray:
        """Return the shares that a sector without any concentration would have."""
        return self.x if name == "employment" else self.even


def over_regions(
    employment: Employment,
    at: NDArray,
    regions: Mapping[Hashable, Hashable] | pd.Series | None,
    undefined: str,
    measure: Callable[[Spread], NDArray],
) -> tuple[NDArray, pd.Index | None]:
    """Apply a measure to every region: (T, R, ...), and the names of the regions, if any."""
    names, groups = region_members(employment, regions)
    found = []
    for number, members in enumerate(groups):
        spread = spread_of(employment, at, members)
        region = None if names is None else names[number]
        settle_undefined(
            spread.jobs == 0,
            lambda bad, region=region: _where(employment, at, bad, region),
            undefined,
            "A sector employs nobody.",
        )
        found.append(measure(spread))
    return np.stack(found, axis=1), names


def spread_of(employment: Employment, at: NDArray, members: NDArray) -> Spread:
    """Return the shares of some places in some sectors and in all jobs."""
    counts = employment.counts[:, members]
    there = employment.present[:, members][:, :, None].astype(float)
    jobs = counts.sum(axis=1)
    whole = counts.sum(axis=2, keepdims=True)
    return Spread(
        s=divide(counts[:, :, at], jobs[:, None, at]),
        x=divide(whole, whole.sum(axis=1, keepdims=True)),
        even=divide(there, there.sum(axis=1, keepdims=True)),
        jobs=jobs[:, at],
    )


def by_period(
    employment: Employment,
    values: NDArray,
    names: pd.Index | None,
    columns: pd.Index | None,
    name: Hashable,
) -> Any:
    """Label (T, R, J) values by time, or by (region, time): a Series without ``columns``."""
    T, R, J = values.shape
    index: pd.Index = employment.times
    if names is not None:
        index = pd.MultiIndex(
            levels=[names, employment.times],  # type: ignore[list-item]
            codes=[np.tile(np.arange(R), T), np.repeat(np.arange(T), R)],  # type: ignore[list-item]
            names=[names.name, employment.times.name],
        )
    rows = values.reshape(T * R, J)
    if columns is None:
        return pd.Series(rows[:, 0], index=index, name=name)
    return pd.DataFrame(rows, index=index, columns=columns)


def check_benchmark(benchmark: str) -> None:
    """Raise unless the benchmark is known."""
    check_option("benchmark", benchmark, BENCHMARKS)


def _where(
    employment: Employment, at: NDArray, bad: NDArray, region: Hashable | None
) -> list[tuple[Any, ...]]:
    ahead = () if region is None else (region,)
    return [
        (*ahead, employment.industries[at[j]], employment.times[t]) for t, j in np.argwhere(bad)
    ]
