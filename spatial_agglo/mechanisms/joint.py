"""Draws of the parameters of several spatial equations together, by entity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations_with_replacement
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from spatial_agglo.core import information
from spatial_agglo.core.bootstrap import entity_bootstrap, few_units, wild_weights
from spatial_agglo.core.kernels import Clustered, entity_labels
from spatial_agglo.core.likelihood import Estimate
from spatial_agglo.core.meat import meat
from spatial_agglo.core.mutual import Block
from spatial_agglo.core.random import generator
from spatial_agglo.core.sampling import normal_inside
from spatial_agglo.core.traces import DENSE_UNITS
from spatial_agglo.core.within import removes_time
from spatial_agglo.errors import BoundaryError, IdentificationError
from spatial_agglo.models.bootstrapped import Resampled
from spatial_agglo.models.fitting import Engine, invert
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace

Draws = dict[str, NDArray]


def normal_draws(
    fits: Mapping[str, FitResult], draws: int, seed: int | np.random.Generator | None
) -> tuple[Draws, int, tuple[str, ...]]:
    """Draw the parameters of all equations from N(estimates, joint clustered covariance).

    Returns
    -------
    dict of str to ndarray, shape (draws, p)
        By equation, sigma2 left out.
    int
        Draws outside the parameter space, which are made again.
    tuple of str
        Notes.

    Raises
    ------
    BoundaryError
        More than half of the draws fall outside the parameter space.
    """
    values = np.concatenate([fit.values[:-1] for fit in fits.values()])
    V = joint_covariance(fits)
    if not np.isfinite(V).all():
        raise IdentificationError("The covariance of the coefficients is not known (NaN).")
    found = normal_inside(values, V, partial(_inside, fits), draws, generator(seed))
    if found is None:
        raise BoundaryError(
            "More than half of the draws fall outside the parameter space: a rho is too close "
            "to the edge, or too imprecise. Use intervals='bootstrap'."
        )
    kept, rejected = found
    notes = [f"{draws} draws from the joint normal distribution of the estimates, clustered"]
    if rejected:
        notes.append(f"{rejected} draws outside the parameter space were made again")
    return _split(fits, kept), rejected, tuple(notes)


def wild_draws(
    fits: Mapping[str, FitResult],
    draws: int,
    seed: int | np.random.Generator | None,
    n_jobs: int,
    progress: bool,
) -> tuple[Draws, int, tuple[str, ...]]:
    """Estimate all equations on wild resamples, an entity having one sign in all of them.

    Each outcome is rebuilt through its own multiplier, with W and its regressors as they are; in
    the equation of y these include the observed mediators. Rebuilding those as well would give
    the errors of both equations the same signs, whose products are then always 1, and the
    coefficient of the mediator, which rests on those products, would not vary as it should.
    """
    N = next(iter(fits.values())).workspace.data.panel.N
    estimate = Together(
        uuid4().hex,
        tuple((fit.spec, fit.workspace, fit.estimate, fit.resid) for fit in fits.values()),
    )
    resamples = wild_weights(N, draws, generator(seed))
    found = entity_bootstrap(
        estimate,
        resamples,
        n_jobs=n_jobs,
        backend="threads" if n_jobs == 1 else "processes",
        progress=progress,
    )
    few = few_units(N, "rademacher")
    failed = sum(found.failures.values())
    notes = (f"wild {found.notes[0]}", *found.notes[1:], *([few] if few else []))
    return _split(fits, found.succeeded), failed, notes


@dataclass(frozen=True, eq=False)
class Together:
    """Several models to be estimated again, on the same multipliers of entities.

    Attributes
    ----------
    token : str
        Names the run, so that a process which gets it again, task by task, knows it.
    parts : tuple of (ModelSpec, Workspace, Estimate, innovations)
    """

    token: str
    parts: tuple[tuple[ModelSpec, Workspace, Estimate, NDArray], ...]

    def __call__(self, weights: NDArray) -> NDArray:
        """Return the parameters of all models, sigma2 left out."""
        return np.concatenate([run(weights)[:-1] for run in self._runs])

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.token, self.parts)

    @cached_property
    def _runs(self) -> list[Resampled]:
        return [Resampled(f"{self.token}-{j}", *part) for j, part in enumerate(self.parts)]


#: In the processes of a parallel run: what they work on.
_HERE: dict[str, Together] = {}


def _received(token: str, parts: Any) -> Together:
    """Return what this process has prepared already, or start anew."""
    if token not in _HERE:
        _HERE.clear()
        _HERE[token] = Together(token, parts)
    return _HERE[token]


def joint_covariance(fits: Mapping[str, FitResult]) -> NDArray:
    """Return the covariance of the estimates of all equations, clustered by entity.

    The sandwich of the stacked scores, sigma2 of each equation left out: scores are summed by
    entity over all equations, and the quadratic forms that are the scores of rho and lambda
    add, within and between equations, what they share across entities (`_mutual`). Its blocks on
    the diagonal are the covariances of the fits, but for an intercept, which fits put back into
    the units of the data.
    """
    engines = [Engine(fit.spec, fit.workspace) for fit in fits.values()]
    estimates = [fit.estimate for fit in fits.values()]
    scores = [engine.scores(at) for engine, at in zip(engines, estimates, strict=True)]
    breads = [
        invert(information.observed(engine.filtered, engine.terms, at))
        for engine, at in zip(engines, estimates, strict=True)
    ]
    v = scores[0][1]
    found = meat(
        Clustered(entity_labels(*v.shape)),
        np.concatenate([s for s, _ in scores], axis=2),
        v,
        effects=engines[0].spec.fixed,
    )
    middle = found.matrix.copy()
    ends = np.cumsum([0, *(s.shape[2] for s, _ in scores)])
    spatial = len(engines[0].spec.spatial)
    places = [np.arange(end - 1 - spatial, end - 1) for end in ends[1:]]
    equations = [
        Spatial(_blocks(engine, at), v, at.sigma2)
        for engine, at, (_, v) in zip(engines, estimates, scores, strict=True)
        if spatial
    ]
    for i, j in combinations_with_replacement(range(len(fits) if spatial else 0), 2):
        shared = found.factor * _mutual(equations[i], equations[j])
        middle[np.ix_(places[i], places[j])] += shared
        if i != j:
            middle[np.ix_(places[j], places[i])] += shared.T
    bread = linalg.block_diag(*breads)
    V = bread @ middle @ bread
    keep = np.setdiff1d(np.arange(ends[-1]), ends[1:] - 1)
    return 0.5 * (V + V.T)[np.ix_(keep, keep)]


@dataclass(frozen=True, eq=False)
class Spatial:
    """What the scores of rho and lambda of one equation are made of.

    Attributes
    ----------
    blocks : callable
        Returns the matrices through which innovations enter the scores, by blocks of units.
    v : ndarray, shape (T, N)
        Innovations.
    sigma2 : float
    """

    blocks: Callable[[], Iterable[Block]]
    v: NDArray
    sigma2: float


def _mutual(one: Spatial, other: Spatial) -> NDArray:
    """Return what the scores of rho and lambda of two equations share across entities.

    ``sum_{i != j} H_ij K_ji (sum_t v_it v_jt) (sum_t w_it w_jt)``, v and w the innovations and H
    and K the matrices through which they enter the scores: :mod:`spatial_agglo.core.mutual` with
    two equations.
    """
    v, w = one.v, other.v
    out: NDArray | float = 0.0
    for (block, columns, _), (_, _, rows) in zip(one.blocks(), other.blocks(), strict=True):
        c = (v.T @ v[:, block]) * (w.T @ w[:, block])
        c[np.arange(block.start, block.stop), np.arange(block.stop - block.start)] = 0.0
        out = out + np.array([[np.vdot(H * c, K) for K in rows] for H in columns])
    return np.asarray(out) / (one.sigma2 * other.sigma2)


def _blocks(engine: Engine, at: Estimate) -> Callable[[], Iterable[Block]]:
    """Return the blocks of H, period means taken out where the likelihood has done so."""
    coupling, space = engine.couplings(at)[0], engine.space
    spec, N = engine.spec, space.data.panel.N
    centred = removes_time(spec.fixed) and spec.likelihood == "transformed"
    make = coupling.blocks
    if centred and space.row_standardized:
        make = partial(coupling.centred, np.ones(N))
    if N > DENSE_UNITS:
        return make
    kept = list(make())
    return lambda: kept


def _inside(fits: Mapping[str, FitResult], draws: NDArray) -> NDArray:
    """Tell which draws have every rho in its parameter space, shape (R,)."""
    good = np.ones(len(draws), dtype=bool)
    for name, part in _split(fits, draws).items():
        fit = fits[name]
        if not fit.spec.has_lag:
            continue
        W = fit.workspace.W
        assert W is not None
        low, high = W.logdet.interval
        rho = part[:, fit.names.index("rho")]
        good &= (low < rho) & (rho < high)
    return good


def _split(fits: Mapping[str, FitResult], draws: NDArray) -> Draws:
    """Part stacked draws by equation."""
    ends = np.cumsum([0, *(len(fit.names) - 1 for fit in fits.values())])
    return {name: draws[:, ends[i] : ends[i + 1]] for i, name in enumerate(fits)}
