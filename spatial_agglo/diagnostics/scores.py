"""Scores of spatial parameters and what they have in common with the other parameters.

On a panel with gaps, or with weights that change, all effects stand inside the spatial processes,
as in the models that the package estimates there:
``(I - lambda W_t)(I - rho W_t) y_t = ... + effects + e_t``. The lags of the effects are then
part of the means of the scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core import information
from spatial_agglo.core.coupling import Coupling
from spatial_agglo.core.likelihood import Estimate, Filtered, solve_spd
from spatial_agglo.core.moments import Column, combine, lag
from spatial_agglo.core.traces import BLOCK, DENSE_UNITS
from spatial_agglo.core.within import Projector, removes_entity, removes_time
from spatial_agglo.diagnostics.traces import Block, Forms, balanced_traces, irregular_traces
from spatial_agglo.errors import IdentificationError, WeightsError
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.weighting import Weighting
from spatial_agglo.models.workspace import Workspace

#: An information matrix, scaled to ones on its diagonal, with a smaller eigenvalue is singular.
SINGULAR = 1e-9
#: What is left of a sum of squares by rounding, as a share of it.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Regression:
    """Scores of (rho, theta, lambda) at a regression, and their covariance.

    Attributes
    ----------
    score : ndarray, shape (k + 2,)
    covariance : ndarray, shape (k + 2, k + 2)
        The information after beta and sigma2 have been partialled out.
    noise : float
        An information below this is rounding.
    """

    score: NDArray
    covariance: NDArray
    noise: float = 0.0

    @classmethod
    def of(cls, base: FitResult, larger: ModelSpec) -> Regression:
        """Evaluate at a fit of ols or slx; theta belongs to the lags that only `larger` has."""
        space, spec = base.workspace, base.spec
        if space.weights is None:
            raise WeightsError("Score tests of spatial terms need weights W; there are none.")
        T, N = space.data.panel.shape
        W = space.weights.operator
        e = base.resid
        s2 = float((e * e).sum()) / space.terms(spec).n
        have, _ = space.regressors(spec)
        every, _ = space.regressors(larger)
        new = [column for column in every if column not in have]
        X, D = (_columns(space, larger, columns) for columns in (have, new))
        outcome = space.arrays(spec, [""])[:, :, 0] if spec.lags_last else space.data.y
        held = lag(W, _effects(base))
        We, Wy = lag(W, e), lag(W, outcome)
        fitted = space.project(Wy - We, spec).reshape(N * T, 1)  # Q W (y - e)
        B = np.hstack([fitted, D, space.project(held, spec).reshape(N * T, 1)])
        J = B.T @ B
        if X.size:
            along = X.T @ B
            J -= along.T @ solve_spd(X.T @ X, along)
        trace, T_W = traces_of(space, spec)
        size = D.shape[1] + 2
        covariance = J / s2
        for i, j in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            covariance[i, j] += T_W
        score = np.empty(size)
        score[0] = float((e * Wy).sum()) / s2 - trace
        score[1:-1] = D.T @ e.ravel() / s2
        score[-1] = float((e * (We + held)).sum()) / s2 - trace
        size = float((fitted * fitted).sum()) + 1e-4 * float((outcome * outcome).sum())
        links = sum(
            float(count * (one.matrix.data @ one.matrix.data))
            for count, one in zip(space.weights.times, space.weights.matrices, strict=True)
        )
        return cls(score, covariance, ROUNDING * (size / s2 + links))

    def statistic(self, places: Sequence[int]) -> float:
        """Return the score test of some of (rho, theta, lambda), the others being zero."""
        return quadratic(self.score[list(places)], self.covariance[np.ix_(places, places)])


def traces_of(space: Workspace, spec: ModelSpec) -> tuple[float, float]:
    """Return c and T_W: the mean of ``e'We/s2``, and its variance, as a likelihood has them."""
    estimate = Estimate(np.zeros(0), 0.0, 0.0, 1.0, np.nan)
    transformed = spec.likelihood == "transformed"
    found = forms(space, spec, estimate, extra=space.weights, exact=transformed)
    trace, T_W = float(found.single[0]), float(found.pairs[0, 0])
    if not transformed:
        return 0.0, T_W
    return trace, T_W - 2.0 * trace**2 / rank(space, spec)


def rank(space: Workspace, spec: ModelSpec) -> int:
    """Return the rank of Q: observed cells less independent dummies."""
    projector = space.projector(spec)
    if projector is not None:
        return projector.rank
    T, N = space.data.panel.shape
    return (T - removes_entity(spec.fixed)) * (N - removes_time(spec.fixed))


def _effects(base: FitResult) -> NDArray:
    """Return the estimated effects of a regression by cell; zeros where lags cannot move them."""
    space, spec = base.workspace, base.spec
    if not space.irregular or spec.fixed == "none":
        return np.zeros_like(base.resid)
    columns, _ = space.regressors(spec)
    frame = space.frame(spec)
    vectors: dict[str, NDArray] = {"": np.zeros(frame.shape[2])}
    for (word, place), value in zip(columns, base.estimate.gamma, strict=True):
        vectors.setdefault(word, np.zeros(frame.shape[2]))[place] -= value
    vectors[""][0] = 1.0
    return combine(frame, space.operators, vectors) - base.resid


def _columns(space: Workspace, spec: ModelSpec, columns: Sequence[Column]) -> NDArray:
    """Return projected columns, shape (NT, m)."""
    return picked(space, spec, columns).reshape(space.data.y.size, len(columns))


def picked(space: Workspace, spec: ModelSpec, columns: Sequence[Column]) -> NDArray:
    """Return projected columns, shape (T, N, m)."""
    words = space.words(spec)
    data = space.arrays(spec, words)
    width = data.shape[2] // len(words)
    return data[:, :, [words.index(word) * width + column for word, column in columns]]


def quadratic(score: NDArray, covariance: NDArray) -> float:
    """Return ``s' V^-1 s``; raise when V is singular."""
    if not score.size:
        return 0.0
    scale = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        R = covariance / np.outer(scale, scale)
        z = score / scale
    if not np.isfinite(R).all() or np.linalg.eigvalsh(R)[0] < SINGULAR:
        raise IdentificationError(
            "The score test is not defined: at the restricted estimate the information matrix is "
            "singular, so the parameters that are tested cannot be told apart (from a "
            "regression, rho and lambda when all regressors are lagged). Test fewer of them."
        )
    return float(z @ np.linalg.solve(R, z))


# --- at any parameter values ------------------------------------------------------------------


def score_and_information(
    space: Workspace, spec: ModelSpec, estimate: Estimate
) -> tuple[NDArray, NDArray]:
    """Return the score and the expected information of a model at any parameter values.

    In the order gamma, rho, lambda, sigma2. With ``F = [y, Wy, X, WX]``,
    ``v = (F - lambda M F) b`` and the Jacobian terms L, the scores are ``x'v/s2``,
    ``(Wy)'v/s2 + L'(rho)``, ``(M F b)'v/s2 + L'(lambda)`` and ``(v'v/s2 - n)/(2 s2)``.
    """
    moments = space.moments(spec)
    regressors, _ = space.regressors(spec)
    terms = space.terms(spec)
    filtered = Filtered.of(
        moments,
        regressors,
        lag="W" if spec.has_lag else None,
        error=space.error_letter if spec.has_error else None,
    )
    K, b, first = filtered.at(estimate.lam), filtered.coefficients(estimate), filtered.first
    s2 = estimate.sigma2
    Kb = K @ b / s2
    parts = [Kb[first:]]
    if terms.rho is not None:
        parts.append(Kb[1:2] + terms.rho.derivatives(estimate.rho)[0])
    if terms.lam is not None:
        ahead = b @ (filtered.cross - estimate.lam * filtered.lagged) @ b / s2
        parts.append(np.atleast_1d(ahead + terms.lam.derivatives(estimate.lam)[0]))
    parts.append(np.array([0.5 * (b @ Kb - terms.n) / s2]))
    traces = None
    if spec.spatial:
        found = forms(space, spec, estimate, exact=False)
        traces = information.Traces(found.single, found.pairs)
    info = information.expected(K[first:, first:], None, traces, terms.n, s2)
    if spec.spatial:
        X, m = means(space, spec, estimate, b)
        k, a = X.shape[1], m.shape[1]
        info[k : k + a, :k] = m.T @ X / s2
        info[:k, k : k + a] = info[k : k + a, :k].T
        info[k : k + a, k : k + a] += m.T @ m / s2
    return np.concatenate(parts), info


def means(
    space: Workspace, spec: ModelSpec, estimate: Estimate, b: NDArray
) -> tuple[NDArray, NDArray]:
    """Return the filtered regressors, (cells, k), and the means of what the scores multiply by v.

    ``E[Q B W y] = Q (B W y - H v)`` for rho. For lambda ``E[Q M u] = Q (M u - H v)``, which is
    zero but for the lags of effects on a panel with gaps or with weights that change.
    """
    columns = space.columns(spec)
    k = len(columns) - 1 - spec.has_lag
    F = picked(space, spec, columns)
    if not spec.spatial:
        return F[:, :, 1:].reshape(-1, k), np.zeros((F[:, :, 0].size, 0))
    ahead = F
    if spec.has_error:
        letter = space.error_letter
        ahead = picked(space, spec, [(letter + word, column) for word, column in columns])
        F = F - estimate.lam * ahead
    v = F @ b
    couplings, which = _couplings(space, spec, estimate)
    first, found = 1 + spec.has_lag, []
    if spec.has_lag:
        noise = np.empty_like(v)
        for j, coupling in enumerate(couplings):
            at = [t for t, k in enumerate(which) if k == j]
            noise[at] = coupling.lagged(v[at])
        found.append(F[:, :, 1] - space.project(noise, spec))
    if spec.has_error:
        mean = np.zeros_like(v)
        if space.irregular:
            noise = np.empty_like(v)
            for j, coupling in enumerate(couplings):
                at = [t for t, k in enumerate(which) if k == j]
                noise[at] = v[at] @ coupling.dense()[-1].T
            mean = ahead @ b - space.project(noise, spec)
        found.append(mean)
    return F[:, :, first:].reshape(v.size, k), np.stack(found, axis=2).reshape(v.size, -1)


def _couplings(
    space: Workspace, spec: ModelSpec, estimate: Estimate, extra: Weighting | None = None
) -> tuple[list[Coupling], list[int]]:
    """Return H for every set of matrices that differs, and which of them a period has."""
    lags, errors = space.weights, space.error_weights
    roles = [
        lags if spec.has_lag else None,
        errors if spec.has_error else None,
        extra,
    ]
    sets = list(zip(*(w.which if w else (0,) * space.data.panel.T for w in roles), strict=True))
    distinct = sorted(set(sets))
    W, M = (
        [None] if weights is None else [one.matrix for one in weights.matrices]
        for weights in roles[:2]
    )
    made = [Coupling(W=W[i], M=M[j], rho=estimate.rho, lam=estimate.lam) for i, j, _ in distinct]
    return made, [distinct.index(one) for one in sets]


# --- traces -----------------------------------------------------------------------------------


def forms(
    space: Workspace,
    spec: ModelSpec,
    estimate: Estimate,
    *,
    extra: Weighting | None = None,
    exact: bool,
) -> Forms:
    """Return the traces of the H of rho and lambda, and of further weights before them.

    ``exact``: on what the fixed effects leave; otherwise as the likelihood of the model counts
    periods and units.
    """
    couplings, which = _couplings(space, spec, estimate, extra)
    T, N = space.data.panel.shape
    varies = extra is not None and extra.varies
    if not space.irregular and not varies:
        matrix = None if extra is None else extra.matrices[0].matrix
        counts = spec.counts(N, T, space.row_standardized)
        periods, remove_mean = counts.tau, counts.ones > 0
        if exact:
            periods, remove_mean = T - removes_entity(spec.fixed), removes_time(spec.fixed)
        blocks = _blocks(couplings[0] if spec.spatial else None, matrix)
        return balanced_traces(blocks, N, periods, remove_mean=remove_mean)
    whole = exact or spec.likelihood == "transformed"
    projector = Projector.of(space.data.cells, spec.fixed if whole else "none")
    dense = [coupling.dense() if spec.spatial else [] for coupling in couplings]
    matrices: list[list[Any]] = [list(parts) for parts in zip(*dense, strict=True)]
    if extra is not None:
        first = [which.index(j) for j in range(len(couplings))]
        matrices.insert(0, [extra.matrices[extra.which[t]].matrix for t in first])
    return irregular_traces(matrices, which, projector)


def _blocks(coupling: Coupling | None, V: sparse.csr_array | None) -> Iterator[Block]:
    """Yield blocks of columns and rows of V and of the H of a coupling."""
    if coupling is None:
        assert V is not None
        N = V.shape[0]
        size = N if N <= DENSE_UNITS else BLOCK
        slices = [slice(start, min(start + size, N)) for start in range(0, N, size)]
        parts: Iterator[Block] = ((block, [], []) for block in slices)
    else:
        parts = coupling.blocks()
    columns_of = None if V is None else sparse.csc_array(V)
    for block, columns, rows in parts:
        if V is None or columns_of is None:
            yield block, columns, rows
            continue
        yield (
            block,
            [columns_of[:, block].toarray(), *columns],
            [V[block].toarray().T, *rows],
        )
