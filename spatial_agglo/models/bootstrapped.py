"""The covariance of the estimates by a wild bootstrap of entities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.bootstrap import (
    Bootstrap,
    entity_bootstrap,
    few_units,
    wild_outcome,
    wild_weights,
)
from spatial_agglo.core.likelihood import Estimate
from spatial_agglo.core.random import generator
from spatial_agglo.core.traces import solver
from spatial_agglo.errors import OptionError
from spatial_agglo.models import covariances
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.weighting import Weighting
from spatial_agglo.models.workspace import Workspace

#: Squares of the multipliers are one, so sigma2 hardly varies between resamples.
NO_SIGMA2 = "the wild bootstrap gives no standard error of sigma2"


def bootstrap(
    spec: ModelSpec, space: Workspace, estimate: Estimate, v: NDArray, options: covariances.Bootstrap
) -> tuple[Bootstrap, tuple[str, ...]]:
    """Estimate a model on resamples of its innovations; return the draws and remarks.

    ``y*_t = y_t + S_t^-1 B_t^-1 (v*_t - v_t)``: the regressors, W and the fixed effects stay, and
    the innovations of an entity keep or change their sign together.
    """
    if spec.likelihood not in ("transformed", "direct"):
        raise OptionError(
            f"cov='bootstrap' needs likelihood='transformed' or 'direct'; got {spec.likelihood!r}."
        )
    N = v.shape[1]
    rng = generator(options.seed)
    resamples = wild_weights(N, options.draws, rng)
    again = _Again(replace(spec, cov=covariances.Observed()), space, estimate, v)
    found = entity_bootstrap(
        again,
        resamples,
        n_jobs=options.n_jobs,
        backend="threads" if options.n_jobs == 1 else "processes",
    )
    few = few_units(N, "rademacher")
    return found, (*found.notes, NO_SIGMA2, *([few] if few else []))


@dataclass(frozen=True, eq=False)
class _Again:
    """Estimate once more, with the innovations of the entities multiplied by weights."""

    spec: ModelSpec
    space: Workspace
    estimate: Estimate
    v: NDArray

    def __call__(self, weights: NDArray) -> NDArray:
        from spatial_agglo.models.fitting import Engine

        data, spec = self.space.data, self.spec
        change = wild_outcome(np.zeros_like(self.v), self.v, weights) - self.v
        if spec.has_error and self.space.error_weights is not None:
            change = _solve(self.space.error_weights, self.estimate.lam, change)
        if spec.has_lag and self.space.weights is not None:
            change = _solve(self.space.weights, self.estimate.rho, change)
        y = (data.y + change) * data.cells
        engine = Engine(spec, self.space.with_data(replace(data, y=y)))
        values = engine.values(engine.estimate)
        shifts = engine.space.shifts(spec.effects)
        if shifts is not None:  # the intercept in the units of the data, as in the fit
            from spatial_agglo.models.fitting import uncentre

            p = values.size
            values, _ = uncentre(spec, engine.space, engine.names, values, np.zeros((p, p)))
        return values


def _solve(weights: Weighting, parameter: float, Z: NDArray) -> NDArray:
    """Return ``(I - parameter W_t)^-1 z_t`` for every period."""
    out = np.empty_like(Z)
    for j, W in enumerate(weights.matrices):
        at = [t for t, k in enumerate(weights.which) if k == j]
        out[at] = solver(W.matrix, parameter)(np.ascontiguousarray(Z[at].T)).T
    return out
