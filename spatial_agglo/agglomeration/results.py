"""From arrays to labelled results; what is undefined is an error, or NaN on request."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.agglomeration.employment import Employment
from spatial_agglo.errors import DataError, check_option, listing

#: What to do where a measure divides zero by zero.
UNDEFINED = ("error", "nan")


def chosen(employment: Employment, sectors: Any) -> tuple[NDArray, bool]:
    """Return where the sectors stand, and whether one was named rather than a list."""
    if sectors is None:
        return np.arange(employment.industries.size), False
    if isinstance(sectors, (list, pd.Index, np.ndarray)):
        return employment.positions(list(sectors)), False
    return employment.positions([sectors]), True


def by_place(employment: Employment, values: NDArray, names: NDArray, name: Hashable | None) -> Any:
    """Label (T, N, J) values by (entity, time): a Series if ``name`` is given, else a frame."""
    rows = values[employment.present]
    if name is not None:
        return pd.Series(rows[:, 0], index=employment.index(), name=name)
    return pd.DataFrame(rows, index=employment.index(), columns=employment.industries[names])


def divide(above: NDArray, below: NDArray) -> NDArray:
    """Return above / below, NaN where below is zero."""
    shape = np.broadcast_shapes(above.shape, below.shape)
    return np.divide(above, below, out=np.full(shape, np.nan), where=below > 0)


def settle_undefined(bad: NDArray, labels: Any, rule: str, what: str) -> None:
    """Raise if a measure is undefined somewhere, unless the caller wants NaN there."""
    check_option("undefined", rule, UNDEFINED)
    if rule == "error" and bad.any():
        raise DataError(
            f"{what} Undefined in {int(bad.sum())} case(s): {listing(labels(bad))}. Leave these "
            "out, or say undefined='nan'."
        )


def cells(employment: Employment, bad: NDArray) -> list[tuple[Any, ...]]:
    """Return the (entity, time) labels of cells."""
    t, i = np.nonzero(bad)
    return list(zip(employment.entities[i], employment.times[t], strict=True))


def region_members(
    employment: Employment, regions: Mapping[Hashable, Hashable] | pd.Series | None
) -> tuple[pd.Index | None, list[NDArray]]:
    """Return the names of regions and which places are in each; all places if there are none."""
    if regions is None:
        return None, [np.arange(employment.entities.size)]
    if not isinstance(regions, (Mapping, pd.Series)):
        raise DataError(f"regions must be a dict or Series, {{entity: region}}; got {regions!r}.")
    found = dict(regions)
    unknown = [name for name in employment.entities if name not in found]
    if unknown:
        raise DataError(
            f"regions does not say where {listing(unknown)} belong(s). Every entity needs a "
            "region, {entity: region}."
        )
    of_place = pd.Index([found[name] for name in employment.entities], tupleize_cols=False)
    if of_place.isna().any():
        raise DataError(
            f"regions has no label for {listing(employment.entities[of_place.isna()])}."
        )
    codes, names = pd.factorize(of_place, sort=True)
    groups = [np.flatnonzero(codes == code) for code in range(len(names))]
    return pd.Index(names, name="region"), groups
