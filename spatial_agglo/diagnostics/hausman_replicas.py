"""Hausman's test as splm and plm make it, for replication."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.likelihood import solve_spd
from spatial_agglo.diagnostics.hausman_case import Case, Found, smallest
from spatial_agglo.diagnostics.hausman_scores import with_lags
from spatial_agglo.errors import OptionError
from spatial_agglo.models.covariances import Expected
from spatial_agglo.models.fitting import fit, invert
from spatial_agglo.models.results import FitResult


def splm(case: Case) -> Found:
    """Take the direct likelihood's expected information, and ``s2 (X'Omega^-1 X)^-1``."""
    fixed = case.fixed("direct", Expected())
    random = fit(case.spec, case.space)
    names = case.compared(fixed)
    here = [fixed.names.index(name) for name in names]
    there = [random.names.index(name) for name in names]
    V = invert(_gls_gram(case, random) / random.sigma2)
    difference = fixed.covariance[np.ix_(here, here)] - V[np.ix_(there, there)]
    d = fixed.values[here] - random.values[there]
    value = float(d @ np.linalg.solve(difference, d))
    return Found(abs(value), names, remark=_indefinite(difference, value))


def _indefinite(difference: NDArray, value: float) -> str:
    """Say so where a difference of covariances has no positive quadratic forms."""
    if smallest(difference) > 0.0:
        return ""
    what = "is the absolute value of" if value < 0.0 else "could as well be negative; it is"
    return (
        "the difference of the covariances is not positive definite, and the statistic "
        f"{what} {value:.5g}: there is no p value"
    )


def _gls_gram(case: Case, random: FitResult) -> NDArray:
    """Return ``X' Omega^-1 X`` for the regressors of a random-effects fit."""
    space, spec = case.space, case.spec
    regressors, _ = space.regressors(spec)
    k = len(regressors)
    lam = random.estimate.lam
    phi = float(random.params["phi"])
    X, MX = with_lags(space, spec, regressors, spec.has_error)
    T, N = X.shape[:2]
    Z = X - lam * MX
    mean = Z.mean(axis=0)
    deviations = (Z - mean).reshape(N * T, k)
    gram = deviations.T @ deviations
    if spec.has_error and spec.form == "baltagi" and space.error_weights is not None:
        B = np.eye(N) - lam * space.error_weights.matrices[0].matrix.toarray()
        V = T * phi * (B @ B.T) + np.eye(N)  # of B u averaged over time, times T
        return gram + T * mean.T @ np.linalg.solve(V, mean)
    return gram + T * mean.T @ mean / (1.0 + T * phi)


def plm(case: Case) -> Found:
    """Compare the within and Swamy-Arora estimates, as ``plm::phtest``."""
    data, moving, spec = case.space.data, case.moving, case.spec
    if len(moving) < len(data.regressors):
        raise OptionError("method='plm' needs regressors that all vary over time.")
    pooled = replace(spec, effects="none")
    regressors, names = case.space.regressors(pooled)
    X, _ = with_lags(case.space, pooled, [("", 0), *regressors], False)
    T, N, width = X.shape
    first = int(case.space.has_intercept("none"))
    k = width - 1 - first
    means = X.mean(axis=0)
    deviations = (X - means).reshape(N * T, width)
    G_w, G_b = deviations.T @ deviations, T * means.T @ means
    slopes = slice(1 + first, width)
    b_w = solve_spd(G_w[slopes, slopes], G_w[slopes, 0])
    s2 = float(G_w[0, 0] - b_w @ G_w[slopes, 0]) / (N * (T - 1) - k)
    b_b = solve_spd(G_b[1:, 1:], G_b[1:, 0])
    s1 = float(G_b[0, 0] - b_b @ G_b[1:, 0]) / (N - k - first)
    G = G_w + s2 / s1 * G_b
    b = solve_spd(G[1:, 1:], G[1:, 0])
    s2_gls = float(G[0, 0] - b @ G[1:, 0]) / (N * T - k - first)
    V = invert(G_w[slopes, slopes] / s2) - invert(G[1:, 1:] / s2_gls)[first:, first:]
    d = b_w - b[first:]
    value = float(d @ np.linalg.solve(V, d))
    return Found(abs(value), names[first:], remark=_indefinite(V, value))
