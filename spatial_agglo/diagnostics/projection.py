"""Traces of W on the space that the fixed effects leave, and the models that have them."""

from __future__ import annotations

import numpy as np

from spatial_agglo.core.traces import resolvent
from spatial_agglo.core.within import removes_entity, removes_time
from spatial_agglo.errors import DataError, OptionError, WeightsError, listing
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace

#: What there is instead of tests that are made for a regression on a regular panel.
INSTEAD = (
    "estimate the larger models instead: the z statistics of rho and lambda (sar, sem, sac), "
    "lr_tests and wald_tests (sdm) hold here"
)


def require_regular(space: Workspace, what: str, instead: str = INSTEAD) -> None:
    """Raise unless every cell of the panel is used and one W holds in all periods.

    Raises
    ------
    DataError
        Cells are missing.
    WeightsError
        Weights change over time.
    """
    data = space.data
    if data.observed is not None:
        cells = list(data.panel.index(~data.observed))
        raise DataError(
            f"{what} needs every cell of the panel, and {len(cells)} of {data.cells.size} (entity, "
            f"time) cells are missing: {listing(cells, 4)}. Complete the panel or leave out the "
            f"units or periods with gaps; or {instead}."
        )
    if space.irregular:
        raise WeightsError(
            f"{what} needs one W for all periods, and these weights change over time. Use one W; "
            f"or {instead}."
        )


def require_fixed(spec: ModelSpec, what: str) -> None:
    """Raise unless a specification is of a static model with fixed effects or none, by likelihood.

    Raises
    ------
    OptionError
        Random effects, a dynamic model, two-stage least squares.
    """
    if spec.effects == "random":
        raise OptionError(
            f"{what} is for fixed effects or none, not for effects='random', whose errors are "
            "correlated over time. Use effects='entity' or 'two-way'; or estimate the larger "
            "models: the z statistics of rho and lambda (sar, sem, sac), lr_tests and wald_tests "
            "(sdm) hold with random effects."
        )
    if spec.likelihood == "2sls":
        raise OptionError(
            f"{what} is for maximum likelihood; this model was fitted by two-stage least squares. "
            "residual_moran(fit) tests its residuals by permutation, and wald_tests(fit) the lags "
            "of the regressors of an sdm."
        )
    if spec.dynamic is not None:
        raise OptionError(
            f"{what} is for static models; this one has lags of the outcome in time. "
            "residual_moran(fit) tests its residuals by permutation, and wald_tests(fit) the lags "
            "of the regressors of an sdm."
        )


def projected_traces(space: Workspace, spec: ModelSpec) -> tuple[float, float, float, int]:
    """Return tr(QW), tr(QWQW), tr(QWQW') and the rank of Q, on a regular panel."""
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
