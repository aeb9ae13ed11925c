"""Which cells of a simulated panel have a row, and the weights among those that do."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.errors import (
    DataError,
    OptionError,
    WeightsError,
    listing,
)
from spatial_agglo.simulate.options import TIME, UNIT, check_numbers
from spatial_agglo.weights.matrix import SpatialWeights, as_weights
from spatial_agglo.weights.panel_weights import PanelWeights


def as_given(W: Any) -> Any:
    """Return labelled weights, constant or by period; None stays None."""
    return W if W is None or isinstance(W, PanelWeights) else as_weights(W)


@dataclass(frozen=True)
class Cells:
    """Units and periods, sorted as a Panel sorts them; which cells have a row; their weights."""

    ids: pd.Index
    periods: pd.Index
    observed: NDArray
    #: By period: W of all units, and every matrix of the model cut to the units that have a row.
    whole: list[SpatialWeights]
    parts: dict[str, list[SpatialWeights]]

    def index(self, which: NDArray) -> pd.MultiIndex:
        """Label the cells of a (T, N) mask."""
        t, i = np.nonzero(which)
        levels: list[Any] = [self.ids, self.periods]
        codes: list[Any] = [i, t]
        return pd.MultiIndex(levels, codes, names=[UNIT, TIME], verify_integrity=False)

    def frame(
        self, columns: dict[str, NDArray], rng: np.random.Generator, complete: bool
    ) -> pd.DataFrame:
        """Put (T, N) arrays into a long table with shuffled rows."""
        t, i = np.nonzero(self.observed | complete)
        order = rng.permutation(t.size)
        t, i = t[order], i[order]
        keys = {UNIT: self.ids[i], TIME: self.periods[t]}
        return pd.DataFrame(keys | {name: values[t, i] for name, values in columns.items()})


def lay_out(
    used: dict[str, Any], T: int, times: Any, missing: Any, needed: int, rng: np.random.Generator
) -> Cells:
    """Resolve the labels, decide which cells have a row, and cut the weights to them."""
    try:
        ids = pd.Index(used["W"].ids.sort_values(), name=UNIT)
    except TypeError as error:
        raise WeightsError(
            f"The ids of W mix types that cannot be sorted: {listing(used['W'].ids)}. Convert "
            "them to one type."
        ) from error
    periods = period_labels(used["W"], T, times)
    aligned = {id(V): by_period(V, ids, periods) for V in used.values()}
    full = {name: aligned[id(V)] for name, V in used.items()}
    if isinstance(missing, Real):
        check_numbers(low=0.0, high=1.0, missing=missing)
        quota = round(float(missing) * T * ids.size)
        observed = draw_observed(quota, full, ids, needed, rng)
    else:
        observed = marked(missing, ids, periods, needed)
    cut: dict[tuple[int, bytes], SpatialWeights] = {}
    parts: dict[str, list[SpatialWeights]] = {name: [] for name in full}
    for name, matrices in full.items():
        for W, mask, period in zip(matrices, observed, periods, strict=True):
            key = (id(W), mask.tobytes())
            if key not in cut:  # the same units, the same object: it is factorised once
                cut[key] = part_of(W, mask, ids, period)
            parts[name].append(cut[key])
    return Cells(ids, periods, observed, full["W"], parts)


def by_period(W: Any, ids: pd.Index, periods: pd.Index) -> list[SpatialWeights]:
    """Return the aligned matrix of every period."""
    if isinstance(W, PanelWeights):
        return list(W.align(ids, periods).values())
    return [W.align(ids)] * periods.size


def period_labels(W: Any, T: int, times: Any) -> pd.Index:
    """Return the labels of the periods."""
    if times is None:
        times = sorted(W.periods) if isinstance(W, PanelWeights) else range(1, T + 1)
    periods = pd.Index(list(times), name=TIME)
    if periods.size != T:
        raise OptionError(f"T={T} needs as many labels of periods; got {listing(periods)}.")
    if periods.hasnans or not (periods.is_unique and periods.is_monotonic_increasing):
        raise OptionError(f"times must increase, for a Panel sorts them; got {listing(periods)}.")
    return periods


def marked(missing: Any, ids: pd.Index, periods: pd.Index, needed: int) -> NDArray:
    """Return which cells are observed when those that are not are named."""
    observed = np.ones((periods.size, ids.size), dtype=bool)
    row, column = ({label: p for p, label in enumerate(labels)} for labels in (periods, ids))
    try:
        pairs = [(unit, time) for unit, time in missing]
        t = np.array([row.get(time, -1) for _, time in pairs], dtype=int)
        i = np.array([column.get(unit, -1) for unit, _ in pairs], dtype=int)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"missing must be a share or a collection of (unit, time) pairs; got {missing!r}."
        ) from error
    unknown = [pair for pair, p, q in zip(pairs, t, i, strict=True) if min(p, q) < 0]
    if unknown:
        raise DataError(
            f"missing names {listing(unknown)}, which are not cells (unit, time) of this panel: "
            f"its units are {listing(ids, 3)}, its periods {listing(periods, 3)}."
        )
    observed[t, i] = False
    few = observed.sum(axis=0) < needed
    if pairs and few.any():
        raise DataError(
            f"{listing(ids[few])} would have fewer than {needed} row(s), too few under these "
            "effects. Leave fewer cells out."
        )
    return observed


def draw_observed(
    quota: int,
    full: dict[str, list[SpatialWeights]],
    ids: pd.Index,
    needed: int,
    rng: np.random.Generator,
) -> NDArray:
    """Leave out cells one by one, in random order, that no unit needs as its last neighbour."""
    T, N = len(full["W"]), ids.size
    observed = np.ones((T, N), dtype=bool)
    if not quota:
        return observed
    strict = [V for V in full.values() if V[0].isolates_rule == "error"]
    degree = [np.array([np.diff(W.matrix.indptr) for W in V]) for V in strict]
    into = {id(W): sparse.csc_array(W.matrix) for V in strict for W in V}
    left = 0
    for t, i in zip(*np.divmod(rng.permutation(T * N), N), strict=True):
        if observed[:, i].sum() <= needed:
            continue
        hit = []
        for V, count in zip(strict, degree, strict=True):
            W = into[id(V[t])]
            hit.append((count[t], W.indices[W.indptr[i] : W.indptr[i + 1]]))
        if any((observed[t, units] & (count[units] < 2)).any() for count, units in hit):
            continue
        observed[t, i] = False
        for count, units in hit:
            count[units] -= 1
        left += 1
        if left == quota:
            return observed
    raise DataError(
        f"Only {left} of the {quota} cells can be left out so that every unit keeps a neighbour "
        f"in every period and {needed} row(s). Ask for a smaller share, or for weights with more "
        "links or isolates='allow'."
    )


def part_of(W: SpatialWeights, mask: NDArray, ids: pd.Index, period: Hashable) -> SpatialWeights:
    """Return the weights among the units of a mask."""
    if mask.all():
        return W
    try:
        return W.subset(ids[mask])
    except WeightsError as error:
        raise DataError(
            f"The units that have a row in period {period!r} have no weights among themselves: "
            f"{error} Or leave other cells out."
        ) from error
