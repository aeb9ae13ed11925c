"""Estimates with random unit effects, and scores by unit, for the robust form of Hausman's test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core import random_effects as core
from spatial_agglo.core.coupling import Coupling
from spatial_agglo.core.likelihood import Filtered
from spatial_agglo.core.moments import Column, accumulate
from spatial_agglo.core.within import removes_time, within
from spatial_agglo.diagnostics.scores import picked
from spatial_agglo.models.fitting import invert
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace


def with_lags(
    space: Workspace, spec: ModelSpec, columns: Sequence[Column], ahead: bool
) -> tuple[NDArray, NDArray]:
    """Return columns of the projected data, and their lags by the error weights (or zeros)."""
    Z = picked(space, spec, columns)
    if not ahead:
        return Z, np.zeros_like(Z)
    letter = space.error_letter
    return Z, picked(space, spec, [(letter + word, column) for word, column in columns])


# --- random effects of the units, with fixed effects of the periods or without --------------


@dataclass(frozen=True)
class Random:
    """A fit with random unit effects (inside the error process), and what its scores need.

    With fixed period effects the likelihood is that of the data less their period means (Lee &
    Yu 2010): N - 1 units, ``T ln|I - rho W| - T ln(1 - rho)``, and the same for lambda.
    """

    names: list[str]
    values: NDArray
    covariance: NDArray
    spec: ModelSpec
    space: Workspace
    found: core.RandomEstimate

    @classmethod
    def of(cls, spec: ModelSpec, space: Workspace, effects: str) -> Random:
        """Estimate by maximum likelihood."""
        over_time = removes_time(effects)
        spec = replace(spec, effects="time") if over_time else spec
        space.moments(spec)  # checks ranks and sizes, naming variables
        F = space.frame(spec)
        T = F.shape[0]
        words = space.words(spec)
        regressors, names = space.regressors(spec)
        kind = "time" if over_time else "none"
        means = np.sqrt(T) * F.mean(axis=0, keepdims=True)
        inside, between = (
            Filtered.of(
                accumulate(part, space.operators, kind, words=words),
                regressors,
                lag="W" if spec.has_lag else None,
                error=space.error_letter if spec.has_error else None,
            )
            for part in (within(F, "entity"), means)
        )
        terms = space.terms(spec)
        model = core.random_model(
            inside,
            N=terms.n // T,
            T=T,
            between=between,
            rho_jacobian=terms.rho,
            lam_jacobian=terms.lam,
        )
        found = core.maximize(model)
        spatial = [found.rho] * spec.has_lag + [found.lam] * spec.has_error
        return cls(
            names=[*names, *spec.spatial, "phi", "sigma2"],
            values=np.concatenate([found.gamma, spatial, [found.phi, found.sigma2]]),
            covariance=core.covariance(core.observed(model, found), invert),
            spec=spec,
            space=space,
            found=found,
        )

    def scores(self) -> Scores:
        """Return the scores by unit."""
        T = self.space.data.panel.T
        weight = 1.0 / (1.0 + T * self.found.phi)
        A = np.eye(T) - (1.0 - weight) / T
        gamma, rho, lam = self.found.gamma, self.found.rho, self.found.lam
        made = _scores(self.spec, self.space, gamma, rho, lam, self.found.sigma2, A, float(T))
        v, s2 = made.v, self.found.sigma2
        between = T * v.mean(axis=0) ** 2
        units = 1.0 - 1.0 / v.shape[1] if made.centred else 1.0
        phi = 0.5 * T * weight * (weight * between / s2 - units)
        own = np.insert(made.own, made.own.shape[1] - 1, phi, axis=1)
        return replace(made, own=own)


# --- scores by unit ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Scores:
    """The scores of a model as sums over units and over pairs of units.

    With independent units the terms of different units, and of different pairs, are not
    correlated, so their outer products add up to the covariance of the scores, whatever the
    variances, and whatever the correlation over time within a unit.

    Attributes
    ----------
    own : ndarray, shape (N, p)
        What only the errors of one unit enter: linear terms and ``h_ii v_i'A v_i``.
    positions : tuple of int
        Of rho and lambda among the p.
    v, Av : ndarray, shape (T, N)
        The errors, and A times them over sigma2: pairs enter by ``(h_ij + h_ji) v_i'A v_j``.
    coupling : Coupling
        Of the h_ij.
    centred : bool
        Whether period means are out.
    """

    own: NDArray
    positions: tuple[int, ...]
    v: NDArray
    Av: NDArray
    coupling: Coupling
    centred: bool

    def pairs(self) -> Iterator[tuple[slice, list[NDArray]]]:
        """Yield ``(h_ij + h_ji) v_i'A v_j / s2`` by parameter, for blocks of columns j."""
        if not self.positions:
            return
        coupling = self.coupling
        mask = np.ones(self.v.shape[1])
        for block, columns, rows in coupling.centred(mask) if self.centred else coupling.blocks():
            gram = self.Av.T @ self.v[:, block]
            yield block, [(c + r) * gram for c, r in zip(columns, rows, strict=True)]


def of_fixed(fixed: FitResult) -> Scores:
    """Return the scores of a fit with fixed effects by unit."""
    T = fixed.workspace.data.panel.T
    A = np.eye(T) - 1.0 / T
    at = fixed.estimate
    return _scores(
        fixed.spec, fixed.workspace, at.gamma, at.rho, at.lam, at.sigma2, A, float(T - 1)
    )


def _scores(
    spec: ModelSpec,
    space: Workspace,
    gamma: NDArray,
    rho: float,
    lam: float,
    s2: float,
    A: NDArray,
    share: float,
) -> Scores:
    """Return the scores of gamma, rho, lambda and sigma2; ``share`` is ``E v_i'A v_i / s2``."""
    F, MF = with_lags(space, spec, space.columns(spec), spec.has_error)
    Z = F - lam * MF
    first = 1 + spec.has_lag
    b = np.concatenate([np.array([1.0, -rho])[:first], -gamma])
    v = Z @ b
    Av = np.tensordot(A, v, axes=1) / s2
    parts = [np.einsum("tnk,tn->nk", Z[:, :, first:], Av)]
    centred = removes_time(spec.effects) and space.row_standardized
    positions: tuple[int, ...] = ()
    lags, errors = space.weights, space.error_weights
    coupling = Coupling(
        W=lags.matrices[0].matrix if spec.has_lag and lags else None,
        M=errors.matrices[0].matrix if spec.has_error and errors else None,
        rho=rho,
        lam=lam,
    )
    quadratic = (v * Av).sum(axis=0)  # v_i'A v_i / s2
    if spec.spatial:
        positions = tuple(range(gamma.size, gamma.size + len(spec.spatial)))
        mask = np.ones(v.shape[1])
        diagonals = [
            np.stack([np.diagonal(c[block]) for c in columns], axis=1)
            for block, columns, _ in (coupling.centred(mask) if centred else coupling.blocks())
        ]
        spatial = np.concatenate(diagonals) * (quadratic - share)[:, None]
        if spec.has_lag:
            m = Z[:, :, 1] - space.project(coupling.lagged(v), spec)
            spatial[:, 0] += (m * Av).sum(axis=0)
        parts.append(spatial)
    units = 1.0 - 1.0 / v.shape[1] if centred else 1.0  # what period means leave of a variance
    parts.append((0.5 * (quadratic - share * units) / s2)[:, None])
    return Scores(np.concatenate(parts, axis=1), positions, v, Av, coupling, centred)


def meat(models: Sequence[Scores]) -> NDArray:
    """Return the joint covariance of the scores of some models of the same data."""
    own = np.concatenate([scores.own for scores in models], axis=1)
    total = own.T @ own
    starts = np.cumsum([0, *(scores.own.shape[1] for scores in models)])
    at = [
        start + place
        for start, scores in zip(starts, models, strict=False)
        for place in scores.positions
    ]
    if at:
        for blocks in zip(*(scores.pairs() for scores in models), strict=True):
            block = blocks[0][0]
            pairs = [pair for _, found in blocks for pair in found]
            for pair in pairs:
                pair[np.arange(block.start, block.stop), np.arange(pair.shape[1])] = 0.0
            for (p, one), (q, other) in product(enumerate(pairs), repeat=2):
                total[at[p], at[q]] += 0.5 * float((one * other).sum())  # every pair came twice
    return total
