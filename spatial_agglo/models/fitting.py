"""One fit: specification and workspace to the core, and the result back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core import information, sandwich
from spatial_agglo.core.likelihood import Estimate, Filtered, LogJacobian, maximize
from spatial_agglo.core.moments import lag
from spatial_agglo.core.traces import Resolvent, resolvent, solve_panel
from spatial_agglo.core.within import removes_entity, removes_time
from spatial_agglo.errors import IdentificationError, WeightsError, listing
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace


def fit(spec: ModelSpec, space: Workspace) -> FitResult:
    """Estimate one model on a workspace that may already hold its moments."""
    engine = _Engine(spec, space)
    estimate = engine.estimate
    if spec.likelihood == "corrected":
        estimate = engine.corrected(estimate)
    values = engine.values(estimate)
    covariance = engine.covariance(estimate)
    shift = engine.uncentring()
    if shift is not None:
        values[0] += shift @ values + space.shifts(spec.effects)[0]  # type: ignore[index]
        J = np.eye(values.size)
        J[0] += shift
        covariance = J @ covariance @ J.T
    return FitResult(
        spec=spec,
        names=engine.names,
        values=values,
        covariance=covariance,
        loglik=engine.estimate.loglik,
        n_effective=engine.jacobian.counts.n,
        estimate=estimate,
        workspace=space,
        resid=engine.innovations(estimate),
        notes=engine.notes(),
    )


class _Engine:
    """The steps of one fit that share the moments, the counts and the projected data."""

    def __init__(self, spec: ModelSpec, space: Workspace) -> None:
        self.spec = spec
        self.space = space
        T, N = space.data.panel.shape
        self.columns, names = space.regressors(spec)
        spatial = [spec.spatial] if spec.spatial else []
        self.names = (*names, *spatial, "sigma2")
        _check_periods(spec, space)
        moments = space.moments(spec)
        self.width = moments.width
        self.filtered = Filtered.of(moments, self.columns, spec.has_lag, spec.has_error)
        counts = spec.counts(N, T, space.row_standardized)
        logdet = space.W.logdet if spatial and space.W is not None else None
        self.jacobian = LogJacobian(logdet, counts)
        self.estimate = maximize(
            self.filtered, self.jacobian, lag=spec.has_lag, error=spec.has_error
        )
        self._data: NDArray | None = None

    def values(self, estimate: Estimate) -> NDArray:
        """Return the parameters in the order of the names."""
        spatial = [estimate.rho] if self.spec.has_lag else []
        spatial += [estimate.lam] if self.spec.has_error else []
        return np.concatenate([estimate.gamma, spatial, [estimate.sigma2]])

    def uncentring(self) -> NDArray | None:
        """Gradient of the intercept with respect to the parameters when means were taken out.

        ``alpha = alpha_c + (1 - rho) mean(y) - mean(x)'(beta + theta)``.
        """
        shifts = self.space.shifts(self.spec.effects)
        if shifts is None:
            return None
        gradient = np.zeros(len(self.names))
        for j, (_, column) in enumerate(self.columns):
            if column > 1:
                gradient[j] = -shifts[column - 1]
        if self.spec.has_lag:
            gradient[-2] = -shifts[0]
        return gradient

    # --- data pass --------------------------------------------------------------------

    def data(self) -> NDArray:
        """Return the projected data ``[F, WF, ...]`` that the moments were made of."""
        if self._data is None:
            self._data = self.space.arrays(self.spec, self.space.orders(self.spec))
        return self._data

    def pick(self, columns: Sequence[tuple[int, int]]) -> NDArray:
        """Select (power of W, column) from the projected data, shape (T, N, m)."""
        return self.data()[:, :, [order * self.width + column for order, column in columns]]

    def filter(self, columns: Sequence[tuple[int, int]], lam: float) -> NDArray:
        """Return ``(F - lam W F)`` for some columns."""
        if not self.spec.has_error:
            return self.pick(columns)
        return self.pick(columns) - lam * self.pick([(o + 1, c) for o, c in columns])

    @property
    def all_columns(self) -> list[tuple[int, int]]:
        """The columns of F."""
        return [(0, 0)] + ([(1, 0)] if self.spec.has_lag else []) + self.columns

    def innovations(self, estimate: Estimate) -> NDArray:
        """Return the residuals v, shape (T, N)."""
        b = self.filtered.coefficients(estimate)
        weights = np.zeros((self.space.orders(self.spec), self.width))
        for (order, column), coefficient in zip(self.all_columns, b, strict=True):
            weights[order, column] += coefficient
            if self.spec.has_error:
                weights[order + 1, column] -= estimate.lam * coefficient
        return self.space.combination(self.spec, weights)

    # --- covariance -------------------------------------------------------------------

    def covariance(self, estimate: Estimate) -> NDArray:
        """Return the covariance matrix that the specification asks for."""
        kind = self.spec.cov
        if kind == "expected":
            return _invert(self.expected(estimate))
        bread = _invert(
            information.observed(
                self.filtered,
                self.jacobian,
                estimate,
                lag=self.spec.has_lag,
                error=self.spec.has_error,
            )
        )
        if kind == "observed":
            return bread
        return self._sandwich(estimate, bread, clustered=kind == "clustered")

    def _resolvent(self, estimate: Estimate) -> Resolvent:
        assert self.space.W is not None
        return resolvent(self.space.W.matrix, estimate.rho or estimate.lam)

    def expected(self, estimate: Estimate) -> NDArray:
        """Return the expected information."""
        first = self.filtered.first
        # R's routines leave the block of beta at the uncorrected lambda: kept for replication.
        gram = self.filtered.at(self.estimate.lam)[first:, first:]
        counts = self.jacobian.counts
        traces = mean_lag = None
        if self.spec.spatial:
            traces = self._resolvent(estimate).projected(counts.ones > 0)
        if self.spec.has_lag:
            W = self.space.W
            assert W is not None
            v = self.innovations(estimate)
            noise = self.space.project(
                lag(W.operator, solve_panel(W.matrix, estimate.rho, v)), self.spec
            )
            m = self.pick([(1, 0)])[:, :, 0] - noise
            X = self.pick(self.columns)
            mean_lag = np.tensordot(X, m, axes=([0, 1], [0, 1])), float((m * m).sum())
        return information.expected(gram, mean_lag, traces, counts.tau, counts.n, estimate.sigma2)

    def _sandwich(self, estimate: Estimate, bread: NDArray, *, clustered: bool) -> NDArray:
        T, N = self.space.data.panel.shape
        counts = self.jacobian.counts
        v = self.innovations(estimate)
        wy = centre = None
        total = 0.0
        if self.spec.spatial:
            W = self.space.W
            assert W is not None
            if self.spec.has_lag:
                wy = self.pick([(1, 0)])[:, :, 0]
            else:
                b = self.filtered.coefficients(estimate)
                wy = self.pick([(o + 1, c) for o, c in self.all_columns]) @ b
            found = self._resolvent(estimate)
            sums = found.column_sums if counts.ones else None
            centre = found.diagonal if sums is None else found.diagonal - sums / N
            centre = centre * counts.tau / T
            total = sandwich.mutual(
                W.matrix, estimate.rho or estimate.lam, v, column_sums=sums, clustered=clustered
            )
        s = sandwich.scores(
            self.filter(self.columns, estimate.lam),
            v,
            estimate.sigma2,
            wy,
            centre,
            counts.n / (N * T),
        )
        meat = sandwich.meat(s, clustered=clustered)
        if self.spec.spatial:
            meat[-2, -2] += total / estimate.sigma2**2
        if clustered:
            return sandwich.sandwich(bread, meat, N / (N - 1))
        # demeaning leaves (T-1)/T, (N-1)/N or both of the variance of an innovation
        factor = T / (T - 1) if removes_entity(self.spec.effects) else 1.0
        factor *= N / (N - 1) if removes_time(self.spec.effects) else 1.0
        return sandwich.sandwich(bread, meat, factor)

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
            if self.spec.spatial:
                bias[-2] = 1.0 / (1.0 - (estimate.rho or estimate.lam))
            values = values + np.linalg.solve(self.expected(estimate) / (N * T), bias / N)
        sigma2 = float(values[-1])
        if removes_entity(effects):
            sigma2 *= T / (T - 1)
        elif removes_time(effects):
            sigma2 *= N / (N - 1)
        spatial = float(values[-2]) if self.spec.spatial else 0.0
        k = estimate.gamma.size
        return Estimate(
            gamma=values[:k],
            rho=spatial if self.spec.has_lag else 0.0,
            lam=spatial if self.spec.has_error else 0.0,
            sigma2=sigma2,
            loglik=estimate.loglik,
        )

    def notes(self) -> tuple[str, ...]:
        """Return what the reader of the result must know."""
        out = []
        spec, W = self.spec, self.space.W
        if W is not None and (spec.spatial or spec.has_durbin):
            out.append(f"W: {W.description} ({W.n} units, {W.n_links} links)")
        if spec.spatial and W is not None:
            out.append(f"log-determinant: {W.logdet.method}")
            if not W.row_standardized:
                out.append("W is not row-standardised")
                if removes_time(spec.effects) and spec.likelihood == "transformed":
                    out.append(
                        "period effects are estimated as parameters, because the transformation "
                        "that removes them needs a row-standardised W"
                    )
        return tuple(out)


def _check_periods(spec: ModelSpec, space: Workspace) -> None:
    """Raise where removing period means would change the model of the errors."""
    if spec.has_error and removes_time(spec.effects) and not space.row_standardized:
        if space.W is not None and space.W.isolates.size:
            raise WeightsError(
                f"{spec.model} with effects={spec.effects!r} needs weights whose rows all sum to "
                f"one; those of units without neighbours do not: {listing(space.W.isolates)}. "
                "Link them (weights.union_nearest) or leave these units out."
            )
        raise WeightsError(
            f"{spec.model} with effects={spec.effects!r} needs row-standardised weights: with "
            "other weights the filter I - lambda W turns a period effect into something that "
            "period means do not remove. Use W.standardize('row'), or effects='entity' with period "
            "dummies C(...) in the formula."
        )


def _invert(info: NDArray) -> NDArray:
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
