"""Spatial dependence that a fitted model has left: a score test that knows what was estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.moments import lag
from spatial_agglo.diagnostics.scores import forms, means, picked, rank, score_and_information
from spatial_agglo.models.fitting import invert
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.weighting import Weighting


@dataclass(frozen=True)
class Remaining:
    """The score of a further process ``(I - kappa V) v = e`` of the innovations, at kappa = 0.

    Attributes
    ----------
    score : float
        ``v'Vv/s2 - tr(QV)``.
    variance : float
        After what was estimated has been partialled out.
    raw : float
        The same as if only the effects and sigma2 had been estimated.
    mean : float
        ``tr(QV)``.
    rank : int
        Rank of Q, with ``s2 = v'v/rank``.
    """

    score: float
    variance: float
    raw: float
    mean: float
    rank: int

    @property
    def z(self) -> float:
        """The signed root of the score test; NaN where nothing is left to test."""
        if not self.variance > 1e-9 * self.raw:
            return float("nan")
        return float(self.score / np.sqrt(self.variance))


def remaining(fit: FitResult, V: Weighting) -> Remaining | None:
    """Test the innovations of a fit for dependence along V; None where no variance is known.

    The information of kappa with rho and lambda is ``tr(QV QH) + tr(QV QH')``, with sigma2
    ``tr(QV)/s2``, with all others zero. Maximum likelihood: variance
    ``I_kk - I_k' I^-1 I_k`` with the expected information I. Two-stage least squares (Anselin &
    Kelejian 1997): ``I_kk + d'Cd`` with ``d = Z'(V + V')v/s2`` and C the covariance of the
    estimates. Random effects: v is quasi-demeaned, C that of the estimates, and no variance is
    known where the unit effects stand outside an error process.
    """
    space, spec = fit.workspace, fit.spec
    outside = spec.effects == "random" and spec.has_error and spec.form == "baltagi"
    if outside:
        return None
    v, n = fit.resid, rank(space, spec)
    if spec.effects == "random":
        v = _quasi_demeaned(fit)
    s2 = float((v * v).sum()) / n
    by_likelihood = spec.likelihood != "2sls"
    modelled = spec if by_likelihood else replace(spec, model="ols", durbin=None)
    traces = forms(space, modelled, fit.estimate, extra=V, exact=True)
    mean, own = float(traces.single[0]), float(traces.pairs[0, 0])
    score = float((v * lag(V.operator, v)).sum()) / s2 - mean
    raw = own - 2.0 * mean**2 / n
    shared = np.append(traces.pairs[0, 1:], mean / s2)  # with rho, lambda, sigma2
    if not by_likelihood:
        Z = picked(space, spec, [*space.regressors(spec)[0], *([("W", 0)] if spec.has_lag else [])])
        around = lag(V.operator, v) + lag(_transposed(V), v) - 2.0 * mean / n * v
        d = np.tensordot(Z, around, axes=([0, 1], [0, 1])) / s2
        return Remaining(score, raw + float(d @ fit.covariance @ d), raw, mean, n)
    if spec.effects == "random":
        info, shared = _random_information(fit, traces.single[1:], traces.pairs[1:, 1:], shared)
    else:
        _, info = score_and_information(space, replace(spec, dynamic=None), fit.estimate)
    C = invert(info)[-shared.size :, -shared.size :]
    return Remaining(score, own - float(shared @ C @ shared), raw, mean, n)


def _transposed(V: Weighting) -> NDArray | tuple[NDArray, ...]:
    operator = V.operator
    if isinstance(operator, tuple):
        return tuple(matrix.T for matrix in operator)
    return operator.T  # type: ignore[no-any-return]


def _quasi_demeaned(fit: FitResult) -> NDArray:
    """Return ``v - (1 - 1/sqrt(1 + T phi)) mean(v)``, whose errors are independent."""
    space, spec, found = fit.workspace, fit.spec, fit.estimate
    b = np.concatenate([[1.0], [-found.rho] * spec.has_lag, -found.gamma])
    weights = dict(zip(space.columns(spec), b.tolist(), strict=True))
    if spec.has_error:
        letter = space.error_letter
        for (word, column), value in tuple(weights.items()):
            key = (letter + word, column)
            weights[key] = weights.get(key, 0.0) - found.lam * value
    return _less_a_share(fit, space.combination(spec, weights))


def _less_a_share(fit: FitResult, Z: NDArray) -> NDArray:
    share = 1.0 - 1.0 / np.sqrt(1.0 + len(Z) * float(fit.params["phi"]))
    return Z - share * Z.mean(axis=0)


def _random_information(
    fit: FitResult, single: NDArray, pairs: NDArray, shared: NDArray
) -> tuple[NDArray, NDArray]:
    """Return the expected information of (gamma, phi, rho, lambda, sigma2), and phi's share.

    That of the quasi-demeaned data; with ``w = 1/(1 + T phi)`` the score of phi is
    ``T w/2 (T |mean(v*)|^2/s2 - N)``: its variance is ``(T w)^2 N/2``, and its covariance with the
    scores of a spatial parameter and sigma2 ``w tr(H)`` and ``T w N/(2 s2)``. At its lower end
    phi is taken as known.
    """
    space, spec, s2 = fit.workspace, fit.spec, fit.estimate.sigma2
    T, N = space.data.panel.shape
    b = np.concatenate([[1.0], [-fit.estimate.rho] * spec.has_lag, -fit.estimate.gamma])
    X, m = means(space, spec, fit.estimate, b)
    X, m = (_less_a_share(fit, Z.reshape(T, N, -1)).reshape(T * N, -1) for Z in (X, m))
    k, a = X.shape[1], m.shape[1]
    w = 1.0 / (1.0 + T * float(fit.params["phi"]))
    info = np.zeros((k + a + 2, k + a + 2))
    info[:k, :k] = X.T @ X / s2
    info[:k, k + 1 : -1] = X.T @ m / s2
    info[k, k] = 0.5 * N * (T * w) ** 2
    info[k, k + 1 : -1] = w * single
    info[k, -1] = 0.5 * T * w * N / s2
    info[k + 1 : -1, k + 1 : -1] = pairs + m.T @ m / s2
    info[k + 1 : -1, -1] = single / s2
    info[-1, -1] = 0.5 * N * T / s2**2
    info = np.triu(info) + np.triu(info, 1).T
    if np.isnan(fit.covariance[fit.names.index("phi")]).any():
        return np.delete(np.delete(info, k, axis=0), k, axis=1), shared
    return info, np.insert(shared, 0, w * shared[-1] * s2)
