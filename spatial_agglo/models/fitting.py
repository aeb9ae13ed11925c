"""One fit: specification and workspace to the core, and the result back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core import information
from spatial_agglo.core.coupling import Coupling, Reduced, reduce_balanced, reduce_irregular
from spatial_agglo.core.likelihood import Estimate, Filtered
from spatial_agglo.core.maximize import maximize
from spatial_agglo.core.meat import meat, opg
from spatial_agglo.core.moments import Column
from spatial_agglo.core.mutual import Blocks, Couplings, Pairs
from spatial_agglo.core.within import Projector, removes_entity, removes_time
from spatial_agglo.errors import IdentificationError, WeightsError, listing
from spatial_agglo.models.bootstrapped import bootstrap
from spatial_agglo.models.covariances import Bootstrap, Expected, Observed, OuterProduct
from spatial_agglo.models.kernels import kernel
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.weighting import Weighting
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.weights.matrix import SpatialWeights


def fit(spec: ModelSpec, space: Workspace) -> FitResult:
    """Estimate one model on a workspace that may already hold its moments."""
    if spec.dynamic is not None:
        from spatial_agglo.models.dynamic import dynamic

        return dynamic(spec, space, lags=spec.dynamic, correct=spec.bias_correction)
    if spec.effects == "random":
        from spatial_agglo.models.random_effects import fit_random

        return fit_random(spec, space)
    engine = Engine(spec, space)
    estimate = engine.estimate
    if spec.likelihood == "corrected":
        estimate = engine.corrected(estimate)
    values = engine.values(estimate)
    covariance = engine.covariance(estimate)
    if not isinstance(spec.cov, Bootstrap):  # its draws are in the units of the data
        values, covariance = uncentre(spec, space, engine.names, values, covariance)
    else:
        values, _ = uncentre(spec, space, engine.names, values, np.zeros_like(covariance))
    return FitResult(
        spec=spec,
        names=engine.names,
        values=values,
        covariance=covariance,
        loglik=engine.estimate.loglik,
        n_effective=engine.terms.n,
        estimate=estimate,
        workspace=space,
        resid=engine.innovations(estimate),
        notes=engine.notes(),
        details=engine.details,
    )


def uncentre(
    spec: ModelSpec, space: Workspace, names: Sequence[str], values: NDArray, covariance: NDArray
) -> tuple[NDArray, NDArray]:
    """Put back into the intercept the means that were taken out of the data.

    ``alpha = alpha_c + (1 - rho) mean(y) - mean(x)'(beta + theta)``, and the same linear map for
    the covariance.
    """
    shifts = space.shifts(spec.effects)
    if shifts is None:
        return values, covariance
    gradient = np.zeros(len(names))
    for j, (_, column) in enumerate(space.regressors(spec)[0]):
        if column > 1:
            gradient[j] = -shifts[column - 1]
    if spec.has_lag:
        gradient[names.index("rho")] = -shifts[0]
    values = values.copy()
    values[0] += gradient @ values + shifts[0]
    J = np.eye(values.size)
    J[0] += gradient
    return values, J @ covariance @ J.T


class Engine:
    """The steps of one fit that share the moments, the counts and the projected data."""

    def __init__(self, spec: ModelSpec, space: Workspace) -> None:
        self.spec = spec
        self.space = space
        self.regressors, names = space.regressors(spec)
        self.names = (*names, *spec.spatial, "sigma2")
        self.columns = space.columns(spec)
        moments = space.moments(spec)
        self.width = moments.width
        self.filtered = Filtered.of(
            moments,
            self.regressors,
            lag="W" if spec.has_lag else None,
            error=space.error_letter if spec.has_error else None,
        )
        self.terms = space.terms(spec)
        self.extra_notes: tuple[str, ...] = ()
        self.details: dict[str, Any] = {}
        self.estimate = maximize(self.filtered, self.terms)

    def values(self, estimate: Estimate) -> NDArray:
        """Return the parameters in the order of the names."""
        spatial = [estimate.rho] if self.spec.has_lag else []
        spatial += [estimate.lam] if self.spec.has_error else []
        return np.concatenate([estimate.gamma, spatial, [estimate.sigma2]])

    # --- data pass --------------------------------------------------------------------

    @cached_property
    def data(self) -> NDArray:
        """The projected blocks of data that the moments were made of."""
        return self.space.arrays(self.spec, self.space.words(self.spec))

    def pick(self, columns: Sequence[Column]) -> NDArray:
        """Select columns of the projected data, shape (T, N, m)."""
        words = self.space.words(self.spec)
        return self.data[:, :, [words.index(word) * self.width + c for word, c in columns]]

    def filter(self, columns: Sequence[Column], lam: float) -> NDArray:
        """Return ``(F - lambda M F)`` for some columns."""
        if not self.spec.has_error:
            return self.pick(columns)
        letter = self.space.error_letter
        return self.pick(columns) - lam * self.pick([(letter + w, c) for w, c in columns])

    def innovations(self, estimate: Estimate) -> NDArray:
        """Return the residuals v, shape (T, N)."""
        b = self.filtered.coefficients(estimate)
        weights: dict[Column, float] = {}
        for (word, column), coefficient in zip(self.columns, b, strict=True):
            weights[word, column] = weights.get((word, column), 0.0) + coefficient
            if self.spec.has_error:
                ahead = (self.space.error_letter + word, column)
                weights[ahead] = weights.get(ahead, 0.0) - estimate.lam * coefficient
        return self.space.combination(self.spec, weights)

    # --- covariance -------------------------------------------------------------------

    def covariance(self, estimate: Estimate) -> NDArray:
        """Return the covariance matrix that the specification asks for."""
        kind = self.spec.cov
        if isinstance(kind, Expected):
            return invert(self.expected(estimate))
        bread = invert(information.observed(self.filtered, self.terms, estimate))
        if isinstance(kind, Observed):
            return bread
        if isinstance(kind, Bootstrap):
            return self._bootstrap(estimate, kind)
        return self._sandwich(estimate, bread)

    def _bootstrap(self, estimate: Estimate, options: Bootstrap) -> NDArray:
        v = self.innovations(estimate)
        covariance, details, remarks = bootstrap(self.spec, self.space, estimate, v, options)
        self.extra_notes += remarks
        self.details |= details
        return covariance

    def couplings(self, estimate: Estimate) -> list[Coupling]:
        """Return H for every matrix that differs."""
        spec, space = self.spec, self.space
        lags, errors = space.weights, space.error_weights
        one = lags or errors
        assert one is not None
        both = spec.has_lag and spec.has_error and lags is not errors
        which = list(zip(*(w.which for w in (lags, errors) if w), strict=True)) if both else []
        pairs = sorted(set(which)) if both else [(j, j) for j in range(len(one.matrices))]
        self.which = [pairs.index(pair) for pair in which] if both else list(one.which)
        return [
            Coupling(
                W=lags.matrices[i].matrix if spec.has_lag and lags else None,
                M=errors.matrices[j].matrix if spec.has_error and errors else None,
                rho=estimate.rho,
                lam=estimate.lam,
            )
            for i, j in pairs
        ]

    def reduced(self, estimate: Estimate) -> Reduced:
        """Return the traces of H that information matrices and scores need."""
        couplings = self.couplings(estimate)
        projector = self.space.projector(self.spec)
        T, N = self.space.data.panel.shape
        if projector is not None:
            if self.spec.likelihood != "transformed":
                projector = Projector.of(self.space.data.cells, "none")
            return reduce_irregular(couplings, self.which, projector)
        counts = self.spec.counts(N, T, self.space.row_standardized)
        weights = self.space.weights if self.spec.has_lag else self.space.error_weights
        logdet = None if weights is None else weights.matrices[0].logdet
        return reduce_balanced(couplings[0], T, counts.tau, counts.ones > 0, logdet)

    def expected(self, estimate: Estimate) -> NDArray:
        """Return the expected information."""
        first = self.filtered.first
        # R's routines leave the block of beta at the uncorrected lambda: kept for replication.
        gram = self.filtered.at(self.estimate.lam)[first:, first:]
        traces = self.reduced(estimate).traces if self.spec.spatial else None
        mean_lag = None
        if self.spec.has_lag:
            v = self.innovations(estimate)
            noise = np.empty_like(v)
            for j, coupling in enumerate(self.couplings(estimate)):
                at = [t for t, k in enumerate(self.which) if k == j]
                noise[at] = coupling.lagged(v[at])
            m = self.filter([("W", 0)], estimate.lam)[:, :, 0] - self.space.project(
                noise, self.spec
            )
            X = self.filter(self.regressors, estimate.lam)
            mean_lag = np.tensordot(X, m, axes=([0, 1], [0, 1])), float((m * m).sum())
        return information.expected(gram, mean_lag, traces, self.terms.n, estimate.sigma2)

    def scores(self, estimate: Estimate) -> tuple[NDArray, NDArray]:
        """Return the scores of every cell, (T, N, p), and the innovations, (T, N).

        The score of rho is ``(Q B W y)_it v_it / sigma2`` less its mean, ``diag(Q_t H_t)``, and
        that of lambda the same with ``Q M u``.
        """
        T, N = self.space.data.panel.shape
        v, sigma2 = self.innovations(estimate), estimate.sigma2
        parts = [self.filter(self.regressors, estimate.lam) * (v / sigma2)[:, :, None]]
        lags = []
        if self.spec.has_lag:
            lags.append(self.filter([("W", 0)], estimate.lam)[:, :, 0])
        if self.spec.has_error:
            ahead = [(self.space.error_letter + word, column) for word, column in self.columns]
            lags.append(self.pick(ahead) @ self.filtered.coefficients(estimate))
        if lags:
            centre = self.reduced(estimate).centre
            parts.append(np.stack(lags, axis=2) * (v / sigma2)[:, :, None] - centre)
        projector = self.space.projector(self.spec)
        if projector is None:
            share: NDArray | float = self.terms.n / (N * T)
        elif self.spec.likelihood == "transformed":
            share = projector.diagonal
        else:
            share = projector.mask
        parts.append(((v**2 / sigma2 - share) / (2.0 * sigma2))[:, :, None])
        return np.concatenate(parts, axis=2), v

    def _sandwich(self, estimate: Estimate, bread: NDArray) -> NDArray:
        data = self.space.data
        s, v = self.scores(estimate)
        couplings = None
        if self.spec.spatial:
            first = len(self.names) - 1 - len(self.spec.spatial)
            positions = tuple(range(first, len(self.names) - 1))
            couplings = Couplings(positions, estimate.sigma2, *self._blocks(estimate))
        fixed, seen = self.spec.fixed, data.observed
        if isinstance(self.spec.cov, OuterProduct):
            return opg(s, v, couplings, effects=fixed, observed=seen)
        chosen = kernel(self.spec.cov, data.panel, data.cells)
        found = meat(chosen, s, v, couplings, effects=fixed, observed=seen)
        self.extra_notes += found.notes
        self.details["clusters"] = found.clusters
        V = bread @ found.matrix @ bread
        return 0.5 * (V + V.T)

    def _blocks(self, estimate: Estimate) -> tuple[tuple[Blocks, ...], tuple[Pairs | None, ...]]:
        """Return the blocks of H for every period, period means taken out where they are.

        And what sums over pairs of units more quickly, where there is something.
        """
        couplings = self.couplings(estimate)
        cells = self.space.data.cells.astype(float)
        centre = removes_time(self.spec.fixed) and self.spec.likelihood == "transformed"
        if centre and not self.space.irregular:
            centre = self.space.row_standardized
        makers: list[Blocks] = []
        pairs: list[Pairs | None] = []
        for j, coupling in enumerate(couplings):
            mask = cells[self.which.index(j)]
            makers.append(partial(coupling.centred, mask) if centre else coupling.blocks)
            pairs.append(coupling.pairs(mask if centre else None))
        if len(makers) == 1:
            return tuple(makers), tuple(pairs)
        return tuple(makers[j] for j in self.which), tuple(pairs[j] for j in self.which)

    # --- Elhorst's correction -----------------------------------------------------------

    def corrected(self, estimate: Estimate) -> Estimate:
        """Correct the direct estimate for the incidental effects (Lee & Yu 2010; Elhorst 2014).

        Entity: ``sigma2 T/(T-1)``. Time: ``sigma2 N/(N-1)``. Two-way: first
        ``eta + [I(eta)/(NT)]^-1 (0, 1/(1-rho), 1/(2 sigma2))'/N``, then ``sigma2 T/(T-1)``.
        """
        T, N = self.space.data.panel.shape
        effects = self.spec.effects
        values = self.values(estimate)
        if effects == "two-way":
            if self.spec.spatial and not self.space.row_standardized:
                raise WeightsError(
                    "likelihood='corrected' with two-way effects is defined for row-standardised "
                    "weights: use W.standardize('row'), or likelihood='transformed'."
                )
            bias = np.zeros(values.size)
            bias[-1] = 1.0 / (2.0 * estimate.sigma2)
            for name in self.spec.spatial:
                at = self.names.index(name)
                bias[at] = 1.0 / (1.0 - values[at])
            values = values + np.linalg.solve(self.expected(estimate) / (N * T), bias / N)
        sigma2 = float(values[-1])
        if removes_entity(effects):
            sigma2 *= T / (T - 1)
        elif removes_time(effects):
            sigma2 *= N / (N - 1)
        found = dict(zip(self.names, values.tolist(), strict=True))
        return Estimate(
            gamma=values[: estimate.gamma.size],
            rho=found["rho"] if self.spec.has_lag else 0.0,
            lam=found["lambda"] if self.spec.has_error else 0.0,
            sigma2=sigma2,
            loglik=estimate.loglik,
        )

    def notes(self) -> tuple[str, ...]:
        """Return what the reader of the result must know."""
        return (*self.extra_notes, *notes(self.spec, self.space))


def notes(spec: ModelSpec, space: Workspace) -> list[str]:
    """Say which weights were used, and what was left out."""
    out: list[str] = []
    named = [
        ("W", space.weights, spec.has_lag or spec.has_durbin or spec.has_error),
        ("W of the regressors", space.durbin_weights, spec.has_durbin),
        ("W of the error process", space.error_weights, spec.has_error),
    ]
    said: list[Weighting] = []
    for name, weights, used in named:
        if weights is None or not used or weights in said:
            continue
        said.append(weights)
        out.append(f"{name}: {_described(weights)}")
        if name == "W" and spec.spatial:
            methods = dict.fromkeys(W.logdet.method for W in weights.matrices)
            out.append(f"log-determinant: {', '.join(methods)}")
        if not weights.row_standardized and spec.spatial:
            out.append(f"{name} is not row-standardised")
            periods = removes_time(spec.fixed) and spec.likelihood == "transformed"
            if periods and said[0] is weights:
                out.append(_PERIODS[space.irregular])
    return [*out, *_gaps(spec, space)]


#: What becomes of period effects when W is not row-standardised.
_PERIODS = {
    False: "period effects are estimated as parameters, because the transformation that removes "
    "them needs a row-standardised W",
    True: "the score is adjusted for the period effects, for which W need not be row-standardised",
}


def _described(weights: Weighting) -> str:
    source = weights.source
    if isinstance(source, SpatialWeights):
        return f"{source.description} ({source.n} units, {source.n_links} links)"
    return f"{source.description} ({source.ids.size} units, {len(source)} periods)"


def _gaps(spec: ModelSpec, space: Workspace) -> list[str]:
    """Say what was left out, and what that does to W and to the likelihood."""
    data, out = space.data, []
    if data.observed is not None:
        missing = int(data.cells.size - data.nobs)
        cells = list(data.panel.index(~data.observed))
        out.append(
            f"{missing} of {data.cells.size} (entity, time) cells are missing and left out: "
            f"{listing(cells, 4)}"
        )
        if spec.spatial or spec.has_durbin:
            again = ", row-standardised again" if space.row_standardized else ""
            out.append(f"W of a period: among the units observed in it{again}")
    if (
        space.irregular
        and spec.spatial
        and spec.likelihood == "transformed"
        and spec.fixed != "none"
    ):
        out.append("the score of the likelihood is adjusted for the fixed effects")
    return out


def invert(info: NDArray) -> NDArray:
    """Invert an information matrix, equilibrated; raise when it is not positive definite."""
    scale = 1.0 / np.sqrt(np.abs(np.diag(info)))
    R = info * np.outer(scale, scale)
    smallest = float(np.linalg.eigvalsh(R)[0])
    if not smallest > 1e-13:
        raise IdentificationError(
            "The information matrix is not positive definite at the estimate "
            f"(smallest eigenvalue of its correlation form: {smallest:.2e}): the data do not tell "
            "the parameters apart. Simplify the model or check for near-collinear regressors."
        )
    inverse = np.linalg.inv(R)
    return 0.5 * (inverse + inverse.T) * np.outer(scale, scale)
