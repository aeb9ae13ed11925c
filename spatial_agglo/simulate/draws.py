"""Random parts of a simulated panel: regressors, innovations, effects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.core.random import generator
from spatial_agglo.errors import (
    AlignmentError,
    DataError,
    OptionError,
    listing,
)
from spatial_agglo.panel import Panel
from spatial_agglo.simulate.cells import Cells
from spatial_agglo.simulate.options import TIME, UNIT


def streams_of(seed: Any) -> dict[str, np.random.Generator]:
    """Return a generator for each kind of draw, so that options do not disturb each other."""
    names = ("X", "unit", "period", "errors", "spread", "response", "missing", "rows")
    entropy = generator(seed).integers(2**63, size=4).tolist()
    children = np.random.SeedSequence(entropy).spawn(len(names))
    return {name: np.random.default_rng(child) for name, child in zip(names, children, strict=True)}


def persistent(
    draw: Callable[[tuple[int, ...]], NDArray],
    shape: tuple[int, ...],
    serial: float,
    common: float,
    response: NDArray,
) -> NDArray:
    """Return stationary AR(1) series of unit variance, a share of it from shared shocks."""
    z = draw(shape)
    if common:
        shared = draw((shape[0], 1, *shape[2:]))
        z = np.sqrt(1.0 - common) * z
        z += np.sqrt(common) * response.reshape(-1, *[1] * (len(shape) - 2)) * shared
    if serial:
        for t in range(1, shape[0]):
            z[t] = serial * z[t - 1] + np.sqrt(1.0 - serial**2) * z[t]
    return z


def supplied(X: Any, names: list[str], named: bool, given: pd.Index, cells: Cells) -> NDArray:
    """Return regressors that the caller supplies, by label or in the stated order."""
    if isinstance(X, pd.DataFrame):
        if not named:
            raise OptionError(
                "X has labels, so beta must name its columns: beta={'name': value, ...}."
            )
        panel = Panel(X, entity=UNIT, time=TIME)
        for have, want, what in (
            (panel.entities, cells.ids, "units"),
            (panel.times, cells.periods, "periods"),
        ):
            if set(have) != set(want):
                raise AlignmentError(
                    f"X must have the {what} of the simulation; only one of the two has "
                    f"{listing(have.symmetric_difference(want, sort=False))}."
                )
        return np.stack([panel.column(name) for name in names], axis=2)
    try:
        array = np.asarray(X, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"X must hold numbers: {error}") from error
    array = array[:, :, None] if array.ndim == 2 else array
    shape = (cells.periods.size, cells.ids.size, len(names))
    if array.shape != shape or not np.isfinite(array).all():
        raise DataError(
            f"X must be finite and of shape (T, N, k) = {shape}; got {array.shape} with "
            f"{int((~np.isfinite(array)).sum())} missing or infinite value(s)."
        )
    return array[:, given.get_indexer(cells.ids)]


def relative_spread(
    logs: dict[str, float], names: list[str], x: NDArray, burn: int, rng: np.random.Generator
) -> NDArray:
    """Return the relative spread of every innovation, of mean square one in the sample."""
    if not any(logs.values()):
        return np.ones(x.shape[:2])
    own = rng.standard_normal(x.shape[1])
    log = np.full(x.shape[:2], logs.get(UNIT, 0.0) * own)
    for j, name in enumerate(names):
        if logs.get(name):
            log += logs[name] * standardized(x[:, :, j], x[burn:, :, j], name)
    out = np.exp(log)
    return out / np.sqrt(np.mean(out[burn:] ** 2))


def tied(rng: np.random.Generator, correlation: float, x: NDArray) -> NDArray:
    """Return standard normal effects of units, correlated with the units' mean of X."""
    own = rng.standard_normal((x.shape[1],))
    if correlation == 0:
        return own
    means = x.sum(axis=2).mean(axis=0)
    means = standardized(means, means, "the units' mean of X")
    return correlation * means + np.sqrt(1.0 - correlation**2) * own


def standardized(values: NDArray, sample: NDArray, name: str) -> NDArray:
    """Return values in deviations from the mean of a sample, by its standard deviation."""
    deviation = float(sample.std())
    if deviation <= 1e-12 * float(np.abs(sample).max()):
        raise DataError(f"{name!r} does not vary, so nothing can depend on it.")
    out: NDArray = (values - sample.mean()) / deviation
    return out
