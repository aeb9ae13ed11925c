"""Traces of W on the space that the fixed effects leave."""

from __future__ import annotations

import numpy as np

from spatial_agglo.core.traces import resolvent
from spatial_agglo.core.within import removes_entity, removes_time
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace


def projected_traces(space: Workspace, spec: ModelSpec) -> tuple[float, float, float, int]:
    """Return tr(QW), tr(QWQW), tr(QWQW') and the rank of Q."""
    assert space.W is not None
    W = space.W.matrix
    T, N = space.data.panel.shape
    found = resolvent(space.W.matrix, 0.0)
    if spec.lags_last:
        return 0.0, T * found.squared, T * found.frobenius, N * T
    periods = T - 1 if removes_entity(spec.effects) else T
    trace, squared, frobenius = 0.0, found.squared, found.frobenius
    rank = N * periods
    if removes_time(spec.effects):
        rows, columns = np.asarray(W.sum(axis=1)).ravel(), np.asarray(W.sum(axis=0)).ravel()
        mean = float(rows.sum()) / N
        trace = -mean
        squared += mean**2 - 2.0 * float(columns @ rows) / N
        frobenius += mean**2 - float(rows @ rows + columns @ columns) / N
        rank = (N - 1) * periods
    return periods * trace, periods * squared, periods * frobenius, rank
