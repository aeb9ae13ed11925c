"""Weighting: a spatial weights matrix as it acts in every period of a panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core.moments import Operator
from spatial_agglo.errors import WeightsError, listing, plain
from spatial_agglo.formula import Variables
from spatial_agglo.weights.matrix import ROW_SUM_TOLERANCE, SpatialWeights, as_weights
from spatial_agglo.weights.panel_weights import PanelWeights


@dataclass(frozen=True, eq=False)
class Weighting:
    """The matrix of every period, aligned with the units of a panel.

    Where cells are missing, a period has the sub-matrix of the units observed in it, each
    row divided by its sum again if the whole matrix is row-standardised; rows and columns of
    the others are zero, so that all matrices are N x N.

    Attributes
    ----------
    source : SpatialWeights or PanelWeights
        As given, aligned.
    matrices : tuple of SpatialWeights
        Those that differ.
    which : tuple of int
        For every period, its place among them.
    row_standardized : bool
        Whether the row of every observed cell sums to one.
    """

    source: SpatialWeights | PanelWeights
    matrices: tuple[SpatialWeights, ...]
    which: tuple[int, ...]
    row_standardized: bool

    @classmethod
    def of(cls, W: Any, data: Variables) -> Weighting:
        """Align weights with a panel, and cut them to the observed units of every period."""
        panel = data.panel
        if isinstance(W, PanelWeights):
            aligned = W.align(panel.entities, panel.times)
            if data.observed is None and len(panel.times) == 1:
                return cls.of(aligned[panel.times[0]], data)
            given: Sequence[SpatialWeights] = [aligned[period] for period in panel.times]
            return cls._by_period(aligned, given, data)
        single = as_weights(W).align(panel.entities)
        if data.observed is None:
            return cls(single, (single,), (0,) * panel.T, single.row_standardized)
        return cls._by_period(single, [single] * panel.T, data)

    @classmethod
    def _by_period(
        cls,
        source: SpatialWeights | PanelWeights,
        given: Sequence[SpatialWeights],
        data: Variables,
    ) -> Weighting:
        found: dict[tuple[bytes, ...], int] = {}
        matrices: list[SpatialWeights] = []
        which, standardized = [], True
        for t, W in enumerate(given):
            cells = data.cells[t]
            matrix = W.matrix
            parts = (matrix.data, matrix.indices, matrix.indptr, cells)
            key = tuple(part.tobytes() for part in parts)
            if key not in found:
                found[key] = len(matrices)
                matrices.append(_cut(W, cells, data.panel.times[t]))
            which.append(found[key])
            sums = np.asarray(matrices[found[key]].matrix.sum(axis=1)).ravel()[cells]
            standardized &= bool(np.abs(sums - 1.0).max(initial=0.0) <= ROW_SUM_TOLERANCE)
        return cls(source, tuple(matrices), tuple(which), standardized)

    @property
    def varies(self) -> bool:
        """Whether periods have different matrices."""
        return len(self.matrices) > 1

    @cached_property
    def operator(self) -> Operator:
        """What is multiplied with data: one matrix, or one for each period."""
        if not self.varies:
            return self.matrices[0].operator
        return tuple(self.matrices[j].operator for j in self.which)

    @property
    def times(self) -> NDArray:
        """In how many periods each matrix holds."""
        return np.bincount(self.which, minlength=len(self.matrices))

    @property
    def description(self) -> str:
        """How the weights were made."""
        return self.source.description


def _cut(W: SpatialWeights, cells: NDArray, period: object) -> SpatialWeights:
    """Return the weights among the units of a mask, still N x N."""
    if cells.all():
        return W
    keep = sparse.diags_array(cells.astype(float))
    matrix = sparse.csr_array(keep @ W.matrix @ keep)
    matrix.eliminate_zeros()
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    alone = cells & (sums == 0) & (np.diff(W.matrix.indptr) > 0)
    if alone.any() and W.isolates_rule == "error":
        raise WeightsError(
            f"In period {plain(period)!r} {int(alone.sum())} unit(s) have no neighbour "
            f"left, because all of theirs are missing: {listing(W.ids[alone])}. Their spatial lag "
            "would be zero. Leave these cells out as well, complete the data of their neighbours, "
            "use weights with more links, or allow it: weights made with isolates='allow'."
        )
    if W.row_standardized:
        scale = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
        matrix = sparse.csr_array(sparse.diags_array(scale) @ matrix)
    if matrix.nnz == 0:
        raise WeightsError(
            f"In period {plain(period)!r} {int(cells.sum())} unit(s) are observed and no two of "
            "them are linked. Leave the period out of the data before declaring the panel, or use "
            "weights with more links."
        )
    return W.derive(matrix, f", cut to the units observed in {period}", isolates="allow")
