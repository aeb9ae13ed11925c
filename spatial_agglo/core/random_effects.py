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
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.likelihood import EXACT, Filtered, solve_spd
from spatial_agglo.core.moments import MatrixLike, lag
from spatial_agglo.core.random_baltagi import Outside, Surface, predict_effects
from spatial_agglo.errors import BoundaryError, IdentificationError, OptionError, check_option

FORMS = ("kkp", "baltagi")
#: Values of s at which the likelihood is searched; maxima between them are found from them.
S_GRID = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 13.0, 17.0, 21.0])
#: ln(1 + T phi) above this is a variance of the unit effects without end.
S_MAX = 25.0
#: Values of lambda in the search: for baltagi, where each costs factorisations, and for kkp.
FEW, MANY = 15, 60


class Jacobian(Protocol):
    """``T ln|I - rho W|`` on an open interval, as core.likelihood has it."""

    @property
    def interval(self) -> tuple[float, float]: ...  # noqa: D102

    @property
    def grid(self) -> NDArray: ...  # noqa: D102

    def value(self, rho: NDArray) -> NDArray:
        """Return the term of the log-likelihood."""

    def derivatives(self, rho: NDArray | float) -> tuple[NDArray, NDArray]:
        """Return its first and second derivative."""


class MeanPart(Protocol):
    """What the unit means add to the likelihood."""

    def value(self, lam: float, s: float) -> tuple[float, NDArray]:
        """Return ``h`` and the cross-products."""

    def surface(self, lam: float, s: float) -> Surface:
        """Return them with two derivatives."""


@dataclass(frozen=True)
class Inside:
    """The unit means when the unit effect lies inside the filter (kkp), or nothing filters."""

    between: Filtered
    N: int

    def value(self, lam: float, s: float) -> tuple[float, NDArray]:
        """Return ``h = (N/2) ln w2`` and ``w2 G_between(lambda)``, ``w2 = exp(-s)``."""
        return -0.5 * self.N * s, np.exp(-s) * self.between.at(lam)

    def surface(self, lam: float, s: float) -> Surface:
        """Return them with two derivatives."""
        h, G = self.value(lam, s)
        G1, G2 = (np.exp(-s) * D for D in _slopes(self.between, lam))
        return Surface(
            log=h,
            gram=G,
            log1=np.array([0.0, -0.5 * self.N]),
            gram1=np.array([G1, -G]),
            log2=np.zeros((2, 2)),
            gram2=np.array([[G2, -G1], [-G1, G]]),
        )


@dataclass(frozen=True)
class RandomModel:
    """One model with random unit effects, ready to be evaluated.

    Attributes
    ----------
    within : Filtered
        Cross-products of F less its unit means.
    mean : MeanPart
        The unit means.
    N, T : int
    rho_jacobian, lam_jacobian : Jacobian or None
        ``T ln|I - rho W|`` and ``T ln|I - lambda M|``; None: the model has no rho, no lambda.
    """

    within: Filtered
    mean: MeanPart
    N: int
    T: int
    rho_jacobian: Jacobian | None = None
    lam_jacobian: Jacobian | None = None

    @property
    def n(self) -> int:
        """Observations."""
        return self.N * self.T

    def value(self, lam: float, s: float) -> tuple[float, NDArray]:
        """Return h and G."""
        h, G = self.mean.value(lam, s)
        return h, G + self.within.at(lam)

    def surface(self, lam: float, s: float) -> Surface:
        """Return h and G with two derivatives."""
        at = self.mean.surface(lam, s)
        at.gram1[0] += (slopes := _slopes(self.within, lam))[0]
        at.gram2[0, 0] += slopes[1]
        gram = at.gram + self.within.at(lam)
        return Surface(at.log, gram, at.log1, at.gram1, at.log2, at.gram2)


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
    ends = [_climb(model, start) for start in _starts(model)]
    x, value, settled = max(ends, key=lambda end: end[1])
    _check_interior(model, x)
    if not settled:
        raise IdentificationError(
            "The search for the maximum of the likelihood did not converge: the likelihood is "
            "almost flat in some direction. Simplify the model (drop rho or lambda, or "
            "regressors that are almost collinear)."
        )
    rho, lam, s = _unpack(model, x)
    gamma, ssr = _concentrate(model, model.value(lam, s)[1], rho)
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
    b = _coefficients(model, gamma, rho)
    out = h + _jacobians(model, rho, lam) - 0.5 * model.n * np.log(2.0 * np.pi * sigma2)
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
    score, info = _derivatives(
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


# --- the likelihood at a point --------------------------------------------------------


def _slopes(filtered: Filtered, lam: float) -> tuple[NDArray, NDArray]:
    """First and second derivative of ``filtered.at(lam)``."""
    mixed = filtered.cross + filtered.cross.T
    return 2.0 * lam * filtered.lagged - mixed, 2.0 * filtered.lagged


def _coefficients(model: RandomModel, gamma: NDArray, rho: float) -> NDArray:
    return np.concatenate([np.array([1.0, -rho])[: model.within.first], -gamma])


def _unpack(model: RandomModel, x: NDArray) -> tuple[float, float, float]:
    """Return (rho, lambda, s) from those of them that the model has."""
    rho = float(x[0]) if model.rho_jacobian else 0.0
    lam = float(x[-2]) if model.lam_jacobian else 0.0
    return rho, lam, float(x[-1])


def _jacobians(model: RandomModel, rho: float, lam: float) -> float:
    pairs = ((model.rho_jacobian, rho), (model.lam_jacobian, lam))
    return sum(float(jacobian.value(np.asarray(x))) for jacobian, x in pairs if jacobian)


def _concentrate(model: RandomModel, G: NDArray, rho: float) -> tuple[NDArray, float]:
    """Return gamma and the sum of squares."""
    first = model.within.first
    gamma = np.zeros(0)
    if G.shape[0] > first:
        left = np.array([1.0, -rho])[:first]
        gamma = solve_spd(G[first:, first:], G[first:, :first] @ left)
    b = _coefficients(model, gamma, rho)
    ssr = float(b @ G @ b)
    if not ssr > EXACT * G[0, 0]:
        raise IdentificationError(
            "The regressors explain the outcome exactly: the residual variance is zero. Is a "
            "regressor a copy of the outcome?"
        )
    return gamma, ssr


def _profile(model: RandomModel, x: NDArray) -> float:
    """Return the likelihood with gamma and sigma2 concentrated out."""
    rho, lam, s = _unpack(model, x)
    h, G = model.value(lam, s)
    sigma2 = _concentrate(model, G, rho)[1] / model.n
    return h + _jacobians(model, rho, lam) - 0.5 * model.n * (np.log(2.0 * np.pi * sigma2) + 1.0)


def _newton(model: RandomModel, x: NDArray) -> tuple[NDArray, NDArray]:
    """Return the gradient and the Hessian of the profile likelihood, the latter by Schur."""
    rho, lam, s = _unpack(model, x)
    at = model.surface(lam, s)
    gamma, ssr = _concentrate(model, at.gram, rho)
    score, info = _derivatives(model, at, gamma, rho, lam, ssr / model.n)
    k = gamma.size
    outer = np.arange(k, k + x.size)
    inner = np.append(np.arange(k), k + x.size)
    scale = 1.0 / np.sqrt(np.diag(info)[inner])
    A = info[np.ix_(inner, inner)] * np.outer(scale, scale)
    C = info[np.ix_(inner, outer)] * scale[:, None]
    return score[outer], -(info[np.ix_(outer, outer)] - C.T @ np.linalg.solve(A, C))


def _derivatives(
    model: RandomModel, at: Surface, gamma: NDArray, rho: float, lam: float, sigma2: float
) -> tuple[NDArray, NDArray]:
    """Score and minus the Hessian in (gamma, rho, lambda, s, sigma2), at any point.

    Everything is a quadratic form ``q = b'Gb``: gamma and rho enter through b, lambda and s
    through G.
    """
    b = _coefficients(model, gamma, rho)
    k, first = gamma.size, model.within.first
    linear = np.append(np.arange(first, first + k), np.arange(1, first))
    m = linear.size
    keep = [0, 1] if model.lam_jacobian else [1]
    inner = np.arange(m, m + len(keep))
    Gb = at.gram @ b
    q, q1, q2 = float(b @ Gb), (at.gram1 @ b @ b)[keep], (at.gram2 @ b @ b)[np.ix_(keep, keep)]
    size = m + len(keep) + 1
    score, info = np.zeros(size), np.zeros((size, size))
    score[:m] = Gb[linear] / sigma2
    score[inner] = at.log1[keep] - 0.5 * q1 / sigma2
    score[-1] = 0.5 * (q / sigma2 - model.n) / sigma2
    info[:m, :m] = at.gram[np.ix_(linear, linear)] / sigma2
    info[m:-1, m:-1] = 0.5 * q2 / sigma2 - at.log2[np.ix_(keep, keep)]
    info[m:-1, :m] = -(at.gram1[keep] @ b)[:, linear] / sigma2
    info[-1, :m] = Gb[linear] / sigma2**2
    info[-1, m:-1] = -0.5 * q1 / sigma2**2
    info[-1, -1] = (q / sigma2 - 0.5 * model.n) / sigma2**2
    info = np.tril(info) + np.tril(info, -1).T
    for jacobian, value, place in ((model.rho_jacobian, rho, k), (model.lam_jacobian, lam, m)):
        if jacobian:
            d1, d2 = jacobian.derivatives(value)
            score[place] += d1
            info[place, place] -= d2
    return score, info


# --- the search -----------------------------------------------------------------------


def _starts(model: RandomModel) -> list[NDArray]:
    """Local maxima, on a grid of (lambda, s), of the likelihood with rho profiled out."""
    rhos, rho_values = _mesh(model.rho_jacobian)
    lams, lam_values = _mesh(model.lam_jacobian)
    grid = S_GRID
    if isinstance(model.mean, Outside):  # every point costs a factorisation
        grid = S_GRID[::2]
        some = _thin(lams, FEW)
    else:
        some = _thin(lams, MANY)
    lams, lam_values = lams[some], lam_values[some]
    values, best = np.empty((2, lams.size, grid.size))
    for i, lam in enumerate(lams):
        for j, s in enumerate(grid):
            h, G = model.value(float(lam), float(s))
            profile = h + rho_values - 0.5 * model.n * np.log(_sums_of_squares(model, G, rhos))
            top = int(np.argmax(profile))
            values[i, j], best[i, j] = lam_values[i] + profile[top], rhos[top]
    padded = np.pad(values, 1, constant_values=-np.inf)
    shifts = [(a, c) for a in range(3) for c in range(3) if (a, c) != (1, 1)]
    around = [padded[a : a + lams.size, c : c + grid.size] for a, c in shifts]
    peaks = np.argwhere(np.all([values >= near for near in around], axis=0))
    has = [model.rho_jacobian is not None, model.lam_jacobian is not None, True]
    return [np.array([best[i, j], lams[i], grid[j]])[has] for i, j in peaks]


def _sums_of_squares(model: RandomModel, G: NDArray, rhos: NDArray) -> NDArray:
    """Return the sum of squares for every rho: a quadratic, from two regressions."""
    first = model.within.first
    C = G[:first, :first]
    if G.shape[0] > first:
        C = C - G[:first, first:] @ solve_spd(G[first:, first:], G[first:, :first])
    ssr = C[0, 0] + (0.0 if first == 1 else rhos * (rhos * C[1, 1] - 2.0 * C[0, 1]))
    return np.maximum(ssr, EXACT * G[0, 0])


def _mesh(jacobian: Jacobian | None) -> tuple[NDArray, NDArray]:
    """Points dense enough to see a narrow maximum, and the Jacobian there, interpolated."""
    if jacobian is None:
        return np.zeros(1), np.zeros(1)
    from scipy.interpolate import CubicSpline

    values = jacobian.value(jacobian.grid)
    grid, values = jacobian.grid[np.isfinite(values)], values[np.isfinite(values)]
    pieces = max(1, round(200 / grid.size))
    steps = np.arange(grid.size * pieces - pieces + 1) / pieces
    mesh = np.interp(steps, np.arange(grid.size), grid)
    return mesh, CubicSpline(grid, values)(mesh)


def _thin(mesh: NDArray, count: int) -> NDArray:
    """Positions of the points nearest to Chebyshev nodes, which crowd towards the ends."""
    middle, half = 0.5 * (mesh[0] + mesh[-1]), 0.5 * (mesh[-1] - mesh[0])
    nodes = middle - half * np.cos(np.pi * (np.arange(count) + 0.5) / count)
    return np.unique(np.abs(mesh[:, None] - nodes).argmin(axis=0))


def _bounds(model: RandomModel) -> tuple[NDArray, NDArray]:
    both = [j for j in (model.rho_jacobian, model.lam_jacobian) if j]
    low = [float(j.grid[0]) for j in both] + [0.0]
    high = [float(j.grid[-1]) for j in both] + [S_MAX]
    return np.array(low), np.array(high)


def _climb(model: RandomModel, x: NDArray) -> tuple[NDArray, float, bool]:
    """Newton's method in a box: where it ends, the likelihood there, whether it settled."""
    low, high = _bounds(model)
    longest = np.append(0.2 * (high - low)[:-1], 2.0)
    x = np.clip(x, low, high)
    value, before = _profile(model, x), np.inf
    for _ in range(100):
        gradient, hessian = _newton(model, x)
        free = ~(((x <= low) & (gradient <= 0)) | ((x >= high) & (gradient >= 0)))
        step = np.zeros(x.size)
        if free.any():
            # Away from a maximum the Hessian is bent to be negative definite.
            roots, V = np.linalg.eigh(-hessian[np.ix_(free, free)])
            roots = np.maximum(np.abs(roots), 1e-8 * np.abs(roots).max())
            step[free] = V @ (V.T @ gradient[free] / roots)
        step /= max(1.0, float(np.max(np.abs(step) / longest)))
        # What rounding makes of the likelihood must not stop the last steps.
        slack = 1e-13 * model.n + 1e-13 * abs(value)
        for halving in range(40):
            new = np.clip(x + step * 0.5**halving, low, high)
            new_value = _profile(model, new)
            if new_value >= value - slack:
                break
        else:
            return x, value, False
        moved = float(np.max(np.abs(new - x)))
        x, value = new, new_value
        if moved < 1e-13 or (moved < 1e-9 and moved >= 0.5 * before):
            return x, value, True
        before = moved
    return x, value, False


def _check_interior(model: RandomModel, x: NDArray) -> None:
    """Raise when the maximum lies at an end of the parameter space other than phi = 0."""
    rho, lam, s = _unpack(model, x)
    for name, jacobian, value in (
        ("rho", model.rho_jacobian, rho),
        ("lambda", model.lam_jacobian, lam),
    ):
        if jacobian and value in (jacobian.grid[0], jacobian.grid[-1]):
            low, high = jacobian.interval
            raise BoundaryError(
                f"The likelihood rises up to the end of the parameter space of {name}, "
                f"({low:.4g}, {high:.4g}): there is no interior maximum (it was followed to "
                f"{name} = {value:.4f}). Usual causes: a variable that is almost its own spatial "
                "lag (a trend that all units share: put period dummies into the formula), a W "
                "with very few links or almost equal rows, or far too few observations."
            )
    if s >= S_MAX:
        raise BoundaryError(
            "The likelihood rises with the variance of the unit effects without end: nothing is "
            "left to explain within units (an outcome that does not vary over time, or as many "
            "regressors as observations). Random effects then mean fixed effects: use "
            "effects='entity' with an outcome that varies within units."
        )
