"""The covariance of the estimates by a wild bootstrap of entities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.bootstrap import (
    entity_bootstrap,
    few_units,
    wild_outcome,
    wild_weights,
)
from spatial_agglo.core.jacobian import Jacobian
from spatial_agglo.core.likelihood import Estimate, Filtered, Terms
from spatial_agglo.core.maximize import maximize
from spatial_agglo.core.moments import Moments, blocks, lag
from spatial_agglo.core.random import generator
from spatial_agglo.core.traces import solver
from spatial_agglo.core.within import removes_entity, within
from spatial_agglo.errors import OptionError
from spatial_agglo.models import covariances
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.weighting import Weighting
from spatial_agglo.models.workspace import Workspace

#: Squares of the multipliers are one, so sigma2 hardly varies between resamples.
NO_SIGMA2 = "the wild bootstrap gives no standard error of sigma2"


def bootstrap(
    spec: ModelSpec,
    space: Workspace,
    estimate: Estimate,
    v: NDArray,
    options: covariances.Bootstrap,
) -> tuple[NDArray, dict[str, Any], tuple[str, ...]]:
    """Return the covariance of estimates on resamples of the innovations, details and remarks.

    ::

        S_t y*_t = S_t y_t + B_t^-1 (v*_t - v_t),     S_t = I - rho W_t,  B_t = I - lambda M_t

    The regressors, W and the fixed effects stay, and the innovations of an entity keep or change
    their sign together: :func:`spatial_agglo.core.bootstrap.wild_outcome`.
    """
    if spec.likelihood not in ("transformed", "direct"):
        raise OptionError(
            f"cov='bootstrap' needs likelihood='transformed' or 'direct'; got {spec.likelihood!r}."
        )
    N = v.shape[1]
    resamples = wild_weights(N, options.draws, generator(options.seed))
    found = entity_bootstrap(
        Resampled(uuid4().hex, spec, space, estimate, v),
        resamples,
        n_jobs=options.n_jobs,
        backend="threads" if options.n_jobs == 1 else "processes",
    )
    few = few_units(N, "rademacher")
    covariance, draws = found.covariance(), found.succeeded
    covariance[-1] = covariance[:, -1] = np.nan
    details = {"draws": draws, "clusters": min(len(draws), N)}
    return covariance, details, (*found.notes, NO_SIGMA2, *([few] if few else []))


@dataclass(frozen=True, eq=False)
class Resampled:
    """A model to be estimated again, with the innovations of the entities multiplied by weights.

    Only the outcome differs between resamples. What is made of regressors and weights is made
    once (in every process that this is sent to): their projected lags, their part of the moment
    matrix, the factors of S and B, and the Jacobian terms.

    Attributes
    ----------
    token : str
        Names the run, so that a process which gets it again, task by task, knows it.
    v : ndarray, shape (T, N)
        Innovations.
    """

    token: str
    spec: ModelSpec
    space: Workspace
    estimate: Estimate
    v: NDArray

    def __call__(self, weights: NDArray) -> NDArray:
        """Return the parameters, shape (p,), for one multiplier per entity."""
        kept = self._kept
        filtered = kept.filtered(self.outcome(weights))
        found = maximize(filtered, kept.terms)
        spatial = [found.rho] * self.spec.has_lag + [found.lam] * self.spec.has_error
        values = np.concatenate([found.gamma, spatial, [found.sigma2]])
        return kept.uncentre(values, np.zeros((values.size, values.size)))[0]

    def outcome(self, weights: NDArray) -> NDArray:
        """Return the outcome of a resample, shape (T, N); zero in cells that are not used."""
        kept = self._kept
        y = wild_outcome(kept.mean, self.v, weights, outcome=kept.outcome, error=kept.error)
        return y * self.space.data.cells

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.token, self.spec, self.space, self.estimate, self.v)

    @cached_property
    def _kept(self) -> _Kept:
        from spatial_agglo.models.fitting import uncentre

        spec, space = self.spec, self.space
        words = space.words(spec)
        width = space.frame(spec).shape[2]
        Z = space.arrays(spec, words).reshape(-1, len(words) * width)
        own = np.arange(len(words)) * width
        rest = np.setdiff1d(np.arange(Z.shape[1]), own)
        lagged = [word for word, column in space.columns(spec) if column == 0]
        lagged += [space.error_letter + word for word in lagged if spec.has_error]
        _, names = space.regressors(spec)
        S = _solver(space.weights, self.estimate.rho) if spec.has_lag else None
        B = _solver(space.error_weights, self.estimate.lam) if spec.has_error else None
        terms = space.terms(spec)
        mean = space.data.y
        if spec.has_lag:
            mean = mean - self.estimate.rho * lag(space.operators["W"], mean)
        return _Kept(
            spec=spec,
            space=space,
            words=tuple(word for word in words if word in lagged),
            every=words,
            rest=rest,
            X=np.ascontiguousarray(Z[:, rest]),
            G=Z.T @ Z,
            terms=replace(
                terms, rho=terms.rho and Scanned(terms.rho), lam=terms.lam and Scanned(terms.lam)
            ),
            outcome=S,
            error=B,
            mean=mean - (self.v if B is None else B(self.v)),
            uncentre=partial(uncentre, spec, space, (*names, *spec.spatial, "sigma2")),
        )


#: In the processes of a parallel run: what they work on.
_HERE: dict[str, Resampled] = {}


def _received(token: str, *parts: Any) -> Resampled:
    """Return what this process has prepared already, or start anew."""
    if token not in _HERE:
        _HERE.clear()
        _HERE[token] = Resampled(token, *parts)
    return _HERE[token]


@dataclass(frozen=True, eq=False)
class _Kept:
    """What all resamples have in common.

    Attributes
    ----------
    words, every : tuple of str
        The operators that are applied to the outcome; those of the moment matrix.
    rest : ndarray of int
        Columns of the moment matrix that are not of the outcome.
    X : ndarray, shape (T N, len(rest))
        Those columns of the data, projected.
    G : ndarray
        The moment matrix of the sample.
    mean : ndarray, shape (T, N)
        ``S_t y_t - B_t^-1 v_t``: regressors and effects.
    """

    spec: ModelSpec
    space: Workspace
    words: tuple[str, ...]
    every: tuple[str, ...]
    rest: NDArray
    X: NDArray
    G: NDArray
    terms: Terms
    outcome: Callable[[NDArray], NDArray] | None
    error: Callable[[NDArray], NDArray] | None
    mean: NDArray
    uncentre: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]]

    def filtered(self, y: NDArray) -> Filtered:
        """Return the cross-products of the model with another outcome."""
        spec, space = self.spec, self.space
        shifts = space.shifts(spec.effects)
        F = (y if shifts is None else (y - shifts[0]) * space.data.cells)[:, :, None]
        if removes_entity(spec.fixed) and not space.irregular:
            F = within(F, "entity")
        projector = space.projector(spec)
        Y = blocks(F, space.operators, spec.fixed, words=self.words, projector=projector)
        Y = Y.reshape(-1, len(self.words))
        width = self.G.shape[0] // len(self.every)
        own = np.array([self.every.index(word) * width for word in self.words])
        G = self.G.copy()
        G[np.ix_(own, own)] = Y.T @ Y
        cross = Y.T @ self.X
        G[np.ix_(own, self.rest)] = cross
        G[np.ix_(self.rest, own)] = cross.T
        return Filtered.of(
            Moments(G, width, self.every),
            space.regressors(spec)[0],
            lag="W" if spec.has_lag else None,
            error=space.error_letter if spec.has_error else None,
        )


@dataclass(frozen=True, eq=False)
class Scanned:
    """A Jacobian term that remembers its values on arrays: every search scans the same points."""

    jacobian: Jacobian
    _values: dict[bytes, NDArray] = field(default_factory=dict, repr=False)

    @property
    def interval(self) -> tuple[float, float]:
        """The parameter space."""
        return self.jacobian.interval

    @property
    def grid(self) -> NDArray:
        """Points of the scan."""
        return self.jacobian.grid

    @cached_property
    def sketch(self) -> Scanned:
        """The cheap term for searches, with a memory of its own; itself if it is cheap."""
        rough = self.jacobian.sketch
        return self if rough is self.jacobian else Scanned(rough)

    def value(self, rho: NDArray) -> NDArray:
        """Return the term for each rho."""
        if np.ndim(rho) == 0:
            return self.jacobian.value(rho)
        key = np.ascontiguousarray(rho).tobytes()
        if key not in self._values:
            self._values[key] = self.jacobian.value(rho)
        return self._values[key]

    def derivatives(self, rho: NDArray | float) -> tuple[NDArray, NDArray]:
        """Return its first and second derivative."""
        return self.jacobian.derivatives(rho)


def _solver(weights: Weighting | None, parameter: float) -> Callable[[NDArray], NDArray]:
    """Return ``z -> (I - parameter W_t)^-1 z_t`` for every period, factors made once."""
    assert weights is not None
    which = np.array(weights.which)
    parts = [
        (np.flatnonzero(which == j), solver(W.matrix, parameter))
        for j, W in enumerate(weights.matrices)
    ]

    def solve(Z: NDArray) -> NDArray:
        out = np.empty_like(Z)
        for at, one in parts:
            out[at] = one(np.ascontiguousarray(Z[at].T)).T
        return out

    return solve
