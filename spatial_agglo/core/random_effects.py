"""Maximum likelihood with random unit effects, on cross-products (balanced panels).

::

    y_t = rho W y_t + [1 X WX]_t gamma + u_t,    mu ~ N(0, phi sigma2),   eps ~ N(0, sigma2)
    "kkp"      u_t = lambda M u_t + mu + eps_t        (Kapoor, Kelejian & Prucha 2007)
    "baltagi"  u_t = mu + (I - lambda M)^-1 eps_t     (Anselin 1988; Baltagi, Song & Koh 2003)

With ``F = [y, Wy, 1, X, WX]`` and ``b = (1, -rho, -gamma)`` the log-likelihood is

    -(NT/2) ln(2 pi sigma2) - b' G b / (2 sigma2) + h + T ln|I - rho W| + T ln|I - lambda M|

where G adds the cross-products of F within units to those of unit means: quasi-demeaning.
For kkp ``G = G_within(lambda) + w2 G_between(lambda)`` and ``h = (N/2) ln w2``,
``w2 = 1 / (1 + T phi)``; for baltagi see :mod:`spatial_agglo.core.random_baltagi`. gamma and
sigma2 are concentrated out; the search is over rho, lambda and ``s = ln(1 + T phi) >= 0``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.jacobian import Jacobian
from spatial_agglo.core.likelihood import Filtered
from spatial_agglo.core.moments import MatrixLike, lag
from spatial_agglo.core.random_baltagi import Outside, predict_effects
from spatial_agglo.core.random_likelihood import (
    Inside,
    MeanPart,
    RandomModel,
    coefficients,
    concentrate,
    derivatives,
    jacobians,
    unpack,
)
from spatial_agglo.core.random_search import check_interior, climb, starts
from spatial_agglo.errors import IdentificationError, OptionError, check_option

FORMS = ("kkp", "baltagi")


@dataclass(frozen=True)
class RandomEstimate:
    """A maximum of the likelihood.

    Attributes
    ----------
    gamma : ndarray
        Coefficients of the regressors in the order of F.
    rho, lam : float
        0 where the model does not have them.
    phi : float
        Variance of the unit effects relative to sigma2.
    sigma2, loglik : float
    boundary : bool
        phi is 0 because the likelihood falls from there: unit means vary no more than sigma2
        alone makes them. The estimates are those of the pooled model.
    """

    gamma: NDArray
    rho: float
    lam: float
    phi: float
    sigma2: float
    loglik: float
    boundary: bool

    @property
    def sigma2_mu(self) -> float:
        """Variance of the unit effects."""
        return self.phi * self.sigma2


def random_model(
    within: Filtered,
    *,
    N: int,
    T: int,
    form: str = "kkp",
    between: Filtered | None = None,
    means: NDArray | None = None,
    M: MatrixLike | None = None,
    rho_jacobian: Jacobian | None = None,
    lam_jacobian: Jacobian | None = None,
) -> RandomModel:
    """Assemble a model from what its form needs.

    Parameters
    ----------
    within : Filtered
        Cross-products of F less its unit means; ``within + between`` are those of F.
    N, T : int
    form : {"kkp", "baltagi"}
        Without lambda the two are the same.
    between : Filtered
        Cross-products of the unit means repeated T times; not used by baltagi with lambda.
    means : ndarray, shape (N, f), and M : matrix, shape (N, N)
        Unit means of the columns of F, and the weights of the errors: baltagi with lambda.
    rho_jacobian, lam_jacobian : Jacobian or None
        ``T ln|I - rho W|`` and ``T ln|I - lambda M|`` where the model has them.

    Raises
    ------
    IdentificationError
        One period.
    OptionError
        An unknown form, or an input that the form needs is missing.
    """
    check_option("form", form, FORMS)
    if T < 2:
        raise IdentificationError(
            f"Random unit effects need at least two periods; the panel has {T}. With one "
            "period a unit effect cannot be told from the error: use effects='none'."
        )
    mean: MeanPart
    if form == "baltagi" and lam_jacobian is not None:
        if means is None or M is None:
            raise OptionError("form='baltagi' with lambda needs the unit means of F and M.")
        mean = Outside.of(means, M, T)
    elif between is None:
        raise OptionError(f"form={form!r} needs the cross-products between units.")
    else:
        mean = Inside(between, N)
    return RandomModel(within, mean, N, T, rho_jacobian, lam_jacobian)


def maximize(model: RandomModel) -> RandomEstimate:
    """Find the global maximum of the likelihood.

    rho is profiled out on a fine mesh for every (lambda, s) of a grid; from every local maximum
    of what is left a Newton search with exact derivatives runs to rounding error.

    Raises
    ------
    BoundaryError
        The likelihood rises up to an end of the parameter space of rho or lambda, or with phi
        without end.
    IdentificationError
        The outcome is explained exactly, or the search does not converge.

    Notes
    -----
    As T phi grows the unit means lose their weight in the coefficients of the regressors. They
    keep telling rho, and lambda in the form kkp, so only the models without a filtered unit
    effect (ols, slx, and baltagi's sem, sdem) tend to those with fixed effects.

    References
    ----------
    Breusch (1987) for the profile in phi, which can have two maxima; Kapoor, Kelejian & Prucha
    (2007); Baltagi, Song & Koh (2003); Millo (2014) for both forms with a lag.

    Examples
    --------
    A panel of 30 units and 5 periods without spatial terms:

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(5, 30))
    >>> y = 1.0 + 2.0 * x + rng.normal(size=30) + rng.normal(size=(5, 30))
    >>> F = np.stack([y, np.ones((5, 30)), x], axis=2)
    >>> def products(Z):
    ...     G = np.tensordot(Z, Z, ([0, 1], [0, 1]))
    ...     return Filtered(G, 0 * G, 0 * G, has_lag=False)
    >>> means = np.broadcast_to(F.mean(axis=0), F.shape)
    >>> model = random_model(products(F - means), between=products(means), N=30, T=5)
    >>> found = maximize(model)
    >>> found.gamma.round(1), round(found.phi, 1), found.boundary
    (array([0.7, 2.3]), 1.1, False)
    """
    ends = [climb(model, start) for start in starts(model)]
    x, value, settled = max(ends, key=lambda end: end[1])
    check_interior(model, x)
    if not settled:
        raise IdentificationError(
            "The search for the maximum of the likelihood did not converge: the likelihood is "
            "almost flat in some direction. Simplify the model (drop rho or lambda, or "
            "regressors that are almost collinear)."
        )
    rho, lam, s = unpack(model, x)
    gamma, ssr = concentrate(model, model.value(lam, s)[1], rho)
    return RandomEstimate(
        gamma=gamma,
        rho=rho,
        lam=lam,
        phi=float(np.expm1(s)) / model.T,
        sigma2=ssr / model.n,
        loglik=value,
        boundary=s == 0.0,
    )


def loglik_at(
    model: RandomModel, gamma: NDArray, rho: float, lam: float, phi: float, sigma2: float
) -> float:
    """Return the log-likelihood at any values of the parameters."""
    h, G = model.value(lam, float(np.log1p(model.T * phi)))
    b = coefficients(model, gamma, rho)
    out = h + jacobians(model, rho, lam) - 0.5 * model.n * np.log(2.0 * np.pi * sigma2)
    return float(out - 0.5 * (b @ G @ b) / sigma2)


def observed(model: RandomModel, estimate: RandomEstimate) -> NDArray:
    """Return minus the Hessian of the log-likelihood, exact at any parameter values.

    Returns
    -------
    ndarray, shape (p, p)
        In the order gamma, rho, lambda (those that the model has), phi, sigma2. At a boundary
        estimate the row and column of phi are NaN: 0 is not a stationary point there.
    """
    s = float(np.log1p(model.T * estimate.phi))
    at = model.surface(estimate.lam, s)
    score, info = derivatives(
        model, at, estimate.gamma, estimate.rho, estimate.lam, estimate.sigma2
    )
    slope = model.T * np.exp(-s)  # ds/dphi; the second derivative is minus its square
    info[-2] *= slope
    info[:, -2] *= slope
    info[-2, -2] += score[-2] * slope**2
    if estimate.boundary:
        info[-2] = info[:, -2] = np.nan
    return info


def covariance(information: NDArray, invert: Callable[[NDArray], NDArray]) -> NDArray:
    """Invert the information of the parameters that have one; NaN for the others.

    At ``phi = 0`` this is the covariance of the other estimates conditional on it.
    """
    free = ~np.isnan(np.diag(information))
    out = np.full(information.shape, np.nan)
    out[np.ix_(free, free)] = invert(information[np.ix_(free, free)])
    return out


@dataclass(frozen=True)
class Prediction:
    """Best linear unbiased prediction of the unit effects, and what is left.

    Attributes
    ----------
    mu : ndarray, shape (N,)
        ``E[mu | u]``: inside the filter for kkp, outside for baltagi.
    eps : ndarray, shape (T, N)
        Innovations: ``B u_t - mu`` (kkp), ``B (u_t - mu)`` (baltagi).
    """

    mu: NDArray
    eps: NDArray


def predict(
    errors: NDArray,
    *,
    phi: float,
    lam: float = 0.0,
    M: MatrixLike | None = None,
    form: str = "kkp",
) -> Prediction:
    """Predict the unit effects from ``u_t = y_t - rho W y_t - [1 X WX]_t gamma``.

    ::

        kkp        mu = T phi / (1 + T phi) mean_t(B u_t)
        baltagi    mu = T phi [T phi I + (B'B)^-1]^-1 mean_t(u_t)

    Parameters
    ----------
    errors : ndarray, shape (T, N)
    phi, lam : float
    M : matrix, shape (N, N), or None
        Needed when lambda is not 0.
    form : {"kkp", "baltagi"}

    References
    ----------
    Goldberger (1962); Baltagi, Bresson & Pirotte (2012) for both forms.

    Examples
    --------
    >>> predict(np.array([[1.0, -2.0], [3.0, 0.0]]), phi=0.5).mu
    array([ 1. , -0.5])
    """
    check_option("form", form, FORMS)
    c = errors.shape[0] * phi
    if lam == 0.0:
        mu = c / (1.0 + c) * errors.mean(axis=0)
        return Prediction(mu, errors - mu)
    if M is None:
        raise OptionError("An error process (lam is not 0) needs its weights M; got None.")
    filtered = errors - lam * lag(M, errors)
    if form == "kkp":
        mu = c / (1.0 + c) * filtered.mean(axis=0)
        return Prediction(mu, filtered - mu)
    mu = predict_effects(errors.mean(axis=0), M, lam, c)
    return Prediction(mu, filtered - (mu - lam * (M @ mu)))
