"""Marginal likelihoods: everything but the model integrated out, on a moment matrix.

With a flat or a g-prior of the coefficients and ``p(sigma2) = 1/sigma2`` both integrate in closed
form; what is left is an integral over rho, lambda or both, of a function whose every value
costs O(k^3) (:func:`log_marginal`). It is done in logs, by adaptive Gauss-Kronrod rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln, logsumexp

from spatial_agglo.core.jacobian import Jacobian
from spatial_agglo.core.likelihood import Filtered, Terms, check_residual
from spatial_agglo.core.threads import one_thread
from spatial_agglo.errors import ConvergenceError

__all__ = ["Beta", "Coefficients", "Prior", "Uniform", "log_marginal"]

#: What lies this far below the highest value of a log density does not count.
NEGLIGIBLE = 60.0
#: Share of a box to which the 7-point rule must be right; the 15-point one is far better.
TOLERANCE = 1e-8
#: Halvings of a box, and boxes at once, before the search for precision is given up.
LEVELS, MOST = 45, 200_000
#: Boxes that are evaluated at once.
BATCH = 2_000

#: A log density of one or two variables: from the coordinates of m boxes, one array (m, p) per
#: variable, to its values on their grids, (m, p) or (m, p, q).
Density: TypeAlias = Callable[[Sequence[NDArray]], NDArray]


class Prior(Protocol):
    """A prior of rho, and of lambda."""

    def interval(self, jacobian: Jacobian) -> tuple[float, float]:
        """Return where the density is positive, inside the parameter space."""

    def log_density(self, at: NDArray, jacobian: Jacobian) -> NDArray:
        """Return the log density at some values."""


@dataclass(frozen=True)
class Uniform:
    """The same density on the whole parameter space, ``(1/omega_min, 1/omega_max)``."""

    def interval(self, jacobian: Jacobian) -> tuple[float, float]:
        """Return the parameter space."""
        return jacobian.interval

    def log_density(self, at: NDArray, jacobian: Jacobian) -> NDArray:
        """Return ``-ln(1/omega_max - 1/omega_min)``."""
        low, high = jacobian.interval
        return np.full(np.shape(at), -np.log(high - low))


@dataclass(frozen=True)
class Beta:
    """A beta density with two equal shapes, stretched over ``(-1/omega_max, 1/omega_max)``.

    ``p(rho) = (1 + rho)^(a-1) (1 - rho)^(a-1) / (B(a, a) 2^(2a-1))`` for row-standardised W
    (LeSage & Pace 2009, section 5.3): nearly uniform, and zero at both ends.
    """

    shape: float = 1.01

    def interval(self, jacobian: Jacobian) -> tuple[float, float]:
        """Return ``(-1/omega_max, 1/omega_max)``, (-1, 1) for row-standardised W."""
        high = jacobian.interval[1]
        return max(-high, jacobian.interval[0]), high

    def log_density(self, at: NDArray, jacobian: Jacobian) -> NDArray:
        """Return the log density."""
        high, a = jacobian.interval[1], self.shape
        share = at / high
        ends = np.log1p(share) + np.log1p(-share)
        power = np.where(np.abs(share) < 0.5, np.log1p(-(share**2)), ends)  # no cancellation
        norm = betaln(a, a) + (2.0 * a - 1.0) * np.log(2.0) + np.log(high)
        return (a - 1.0) * power - norm


@dataclass(frozen=True)
class Coefficients:
    """The prior of the coefficients, and the degrees of freedom of the data.

    ``rank``: cells less independent dummies. ``intercept``: whether the first regressor is one;
    its prior is flat in any case. ``g``: ``beta ~ N(0, sigma2/g (X'X)^-1)``, X the filtered
    regressors after the effects are removed (Zellner 1986); None is a flat prior of density one.
    """

    rank: int
    intercept: bool
    g: float | None


def log_marginal(
    filtered: Filtered, terms: Terms, coefficients: Coefficients, prior: Prior
) -> float:
    """Return the log marginal likelihood of a model.

    ::

        flat:     Gamma(a) (2 pi)^-a  integral J(rho, lam) p(rho) p(lam) |X'X|^-1/2 SSR^-a
                  a = (rank - k)/2
        g-prior:  Gamma(a) pi^-a (g/(1+g))^(k/2)
                  integral J(rho, lam) p(rho) p(lam) ((SSR + g TSS)/(1+g))^-a
                  a = rank/2; with an intercept z, which has a flat prior and is not counted in
                  k, a = (rank - 1)/2 and a factor (z'z)^-1/2 inside the integral

    J is the Jacobian of the likelihood; X, z and y are filtered by ``I - lam M`` in models of the
    error. The flat form is that of LeSage (2014); the integral over sigma2 gives ``pi^-a``, which
    differs from his ``(2 pi)^-a`` by a density of sqrt(2) for each coefficient, as arbitrary as
    the one that it replaces.

    References
    ----------
    LeSage & Parent (2007), Geographical Analysis 39; LeSage (2014), Spatial Statistics 9;
    Fernandez, Ley & Steel (2001), Journal of Econometrics 100, for g.
    """
    k = filtered.own.shape[0] - filtered.first
    density = _density(filtered, terms, coefficients, prior)
    if coefficients.g is None:
        a = 0.5 * (coefficients.rank - k)
        constant = float(gammaln(a)) - a * np.log(2.0 * np.pi)
    else:
        a = 0.5 * (coefficients.rank - coefficients.intercept)
        slopes = k - coefficients.intercept
        constant = float(gammaln(a)) - a * np.log(np.pi)
        constant += 0.5 * slopes * np.log(coefficients.g / (1.0 + coefficients.g))
    spatial = [jacobian for jacobian in (terms.rho, terms.lam) if jacobian is not None]
    if not spatial:
        return constant + float(density([])[0])
    bounds = [prior.interval(jacobian) for jacobian in spatial]
    scans = [
        np.asarray(jacobian.grid)[(jacobian.grid > low) & (jacobian.grid < high)]
        for jacobian, (low, high) in zip(spatial, bounds, strict=True)
    ]
    tolerance = max(TOLERANCE, 1e-13 * a)  # rounding of the sum of squares counts a times
    with one_thread():
        return constant + log_integral(density, breaks(density, scans, bounds), tolerance)


def _density(filtered: Filtered, terms: Terms, coefficients: Coefficients, prior: Prior) -> Density:
    """Return the log of what is integrated over rho and lambda."""
    g, intercept = coefficients.g, coefficients.intercept
    k = filtered.own.shape[0] - filtered.first
    a = 0.5 * (coefficients.rank - (k if g is None else intercept))

    def forms(lams: NDArray) -> tuple[NDArray, NDArray]:
        """Quadratic forms in (1, -rho), and the rest of the log density, for each lambda."""
        C, log_det = partialled(filtered, lams, k)
        if g is None:
            return C, -0.5 * log_det
        total, log_det = partialled(filtered, lams, int(intercept))
        return (C + g * total) / (1.0 + g), -0.5 * log_det

    fixed = forms(np.zeros(1))
    at_zero = fixed[0][0]
    explained = at_zero[0, 1] ** 2 / at_zero[1, 1] if len(at_zero) > 1 else 0.0
    check_residual(float(at_zero[0, 0] - explained), float(filtered.own[0, 0]))

    def density(at: Sequence[NDArray]) -> NDArray:
        axes = list(at)
        rho = axes.pop(0)[:, :, None] if terms.rho is not None else np.zeros((1, 1, 1))
        (C, rest), which = fixed, np.zeros((1, 1), dtype=int)
        if terms.lam is not None:
            lams, which = _distinct(axes[0])
            C, rest = forms(lams)
            rest = rest + terms.lam.value(lams) + prior.log_density(lams, terms.lam)
        ssr = C[which, 0, 0][:, None, :]
        if terms.rho is not None:
            cross, square = C[which, 0, 1][:, None, :], C[which, 1, 1][:, None, :]
            ssr = ssr - 2.0 * rho * cross + rho**2 * square
        out = rest[which][:, None, :] - a * np.log(ssr)
        if terms.rho is not None:
            values, place = _distinct(at[0])
            part = terms.rho.value(values) + prior.log_density(values, terms.rho)
            out = out + part[place][:, :, None]
        return out.reshape([len(out), *(axis.shape[1] for axis in at)])

    return density


def _distinct(values: NDArray) -> tuple[NDArray, NDArray]:
    """Return the values that differ, and the place of each among them: boxes share coordinates."""
    found, place = np.unique(values, return_inverse=True)
    return found, place.reshape(values.shape)


def partialled(filtered: Filtered, lams: NDArray, k: int) -> tuple[NDArray, NDArray]:
    """Return (y, Wy) without the first k regressors, and ln|X'X| of these, for many lambdas.

    Shapes (m, first, first) and (m,).
    """
    first = filtered.first
    lam = np.asarray(lams, dtype=float)[:, None, None]
    n = first + k
    own, cross, lagged = (part[:n, :n] for part in (filtered.own, filtered.cross, filtered.lagged))
    A = own - lam * (cross + cross.T) + lam**2 * lagged
    scale = 1.0 / np.sqrt(np.einsum("mii->mi", A))
    R = A * scale[:, :, None] * scale[:, None, :]
    C, log_det = R[:, :first, :first], np.zeros(lams.shape)
    if k:
        L = np.linalg.cholesky(R[:, first:, first:])
        half = np.linalg.solve(L, R[:, first:, :first])
        C = C - np.swapaxes(half, 1, 2) @ half
        log_det = 2.0 * np.log(np.einsum("mii->mi", L)).sum(axis=1)
        log_det = log_det - 2.0 * np.log(scale[:, first:]).sum(axis=1)
    return C / scale[:, :first, None] / scale[:, None, :first], log_det


# --- integrals of exp(log density) ----------------------------------------------------------


def log_integral(density: Density, edges: Sequence[NDArray], tolerance: float = TOLERANCE) -> float:
    """Return the log of the integral of ``exp(density)`` over the boxes between the edges.

    Each box is integrated by the 15-point Kronrod rule in each variable. The difference from
    the 7-point Gauss rule inside it is the error, and boxes are halved until it does not count.
    """
    low, high = _boxes(edges)
    whole, done = float(logsumexp(np.log(high - low).sum(axis=1))), -np.inf
    for _ in range(LEVELS):
        fine, wrong = _rules(density, low, high)
        total = float(np.logaddexp(done, logsumexp(fine)))
        worst = wrong.max(axis=1) - np.log(tolerance)
        # done: boxes that are right in themselves, or wrong by less than their share of the space
        rest = worst > np.maximum(fine, total + np.log(high - low).sum(axis=1) - whole)
        if float(logsumexp(worst)) <= total or not rest.any():
            return total
        done = float(np.logaddexp(done, logsumexp(fine[~rest])))
        low, high = _halved(low[rest], high[rest], wrong[rest])
        if len(low) > MOST:
            break
    raise ConvergenceError(
        "The integral over the spatial parameters did not settle: the likelihood has a pole or "
        "a jump inside the parameter space. Use another W, or the information criteria of the "
        "fits."
    )


def breaks(
    density: Density, scans: Sequence[NDArray], bounds: Sequence[tuple[float, float]]
) -> list[NDArray]:
    """Return edges, in each variable, between which a log density is worth integrating.

    A scan finds the maxima, each is climbed, and the edges go away from it in steps that double,
    so that no peak is too narrow to be seen.
    """
    values = density([scan[None, :] for scan in scans])[0]
    tops = [_climb(density, scans, place) for place in _maxima(values)]
    highest = max(height for _, _, height in tops)
    out = []
    for d, (scan, ends) in enumerate(zip(scans, bounds, strict=True)):
        profile = values if values.ndim == 1 else values.max(axis=1 - d)
        lowest, last = _reach(profile, scan, ends)
        found = []
        for mode, steps, height in tops:
            if height < highest - NEGLIGIBLE:
                continue
            step, at = float(steps[d]), float(mode[d])
            found.append(at)
            while at - step > lowest or at + step < last:
                found += [at - step, at + step]
                step *= 2.0
        edges = np.unique(found)
        thin = 1e-9 * (last - lowest)  # no box as thin as the rounding of its ends
        inner = edges[(edges > lowest + thin) & (edges < last - thin)]
        out.append(np.concatenate([[lowest], inner, [last]]))
    return out


def _reach(profile: NDArray, scan: NDArray, ends: tuple[float, float]) -> tuple[float, float]:
    """Return the part of a scan that counts and one step more, or the ends of the space."""
    counts = np.flatnonzero(profile > profile.max() - NEGLIGIBLE)
    points = np.concatenate([ends[:1], scan, ends[1:]])
    return float(points[counts[0]]), float(points[counts[-1] + 2])


def _maxima(values: NDArray) -> NDArray:
    """Return the places of the local maxima of a scan, one in each row, the highest first."""
    values = np.where(np.isfinite(values), values, -np.inf)
    padded = np.pad(values, 1, constant_values=-np.inf)
    highest = values
    for shift in product(range(3), repeat=values.ndim):
        part = tuple(slice(i, i + size) for i, size in zip(shift, values.shape, strict=True))
        highest = np.maximum(highest, padded[part])
    found = np.argwhere((values >= highest) & np.isfinite(values))
    order = np.argsort(-values[tuple(found.T)], kind="stable")
    return found[order]


def _climb(
    density: Density, scans: Sequence[NDArray], place: NDArray
) -> tuple[NDArray, NDArray, float]:
    """Zoom in on a maximum; return it, the steps within which it is flat, and its height."""
    low, high = (np.array([scan[end] for scan in scans]) for end in (0, -1))
    at = np.array([scan[i] for scan, i in zip(scans, place, strict=True)])
    near = [scan[max(i - 1, 0) : i + 2] for scan, i in zip(scans, place, strict=True)]
    half = np.array([0.5 * (points[-1] - points[0]) for points in near])
    height = -np.inf
    for _ in range(200):
        axes = [
            np.clip(c + h * np.linspace(-1.0, 1.0, 9), bottom, top)
            for c, h, bottom, top in zip(at, half, low, high, strict=True)
        ]
        values = density([axis[None, :] for axis in axes])[0]
        best = np.unravel_index(int(np.nanargmax(values)), values.shape)
        height = float(values[best])
        moved = np.array([float(axis[i]) for axis, i in zip(axes, best, strict=True)])
        inside = all(0 < i < 8 or low[d] == at[d] or high[d] == at[d] for d, i in enumerate(best))
        stay = inside or np.array_equal(moved, at)
        at = moved
        if stay:
            if height - float(np.nanmin(values)) < 1.0:
                break
            half = 0.5 * half
    return at, half, height


def _boxes(edges: Sequence[NDArray]) -> tuple[NDArray, NDArray]:
    """Return the lower and upper corners of all boxes between edges, shape (m, d)."""
    corners = [
        np.stack(np.meshgrid(*(edge[part] for edge in edges), indexing="ij"), axis=-1)
        for part in (slice(None, -1), slice(1, None))
    ]
    low, high = (corner.reshape(-1, len(edges)) for corner in corners)
    return low, high


def _halved(low: NDArray, high: NDArray, wrong: NDArray) -> tuple[NDArray, NDArray]:
    """Cut boxes in two along the variables that their error comes from."""
    for d in range(low.shape[1]):
        cut = wrong[:, d] >= wrong.max(axis=1) - np.log(2.0)
        middle = 0.5 * (low[:, d] + high[:, d])
        upper, lower = low[cut].copy(), high[cut].copy()
        upper[:, d] = lower[:, d] = middle[cut]
        low = np.concatenate([low[~cut], low[cut], upper])
        high = np.concatenate([high[~cut], lower, high[cut]])
        wrong = np.concatenate([wrong[~cut], wrong[cut], wrong[cut]])
    return low, high


def _rules(density: Density, low: NDArray, high: NDArray) -> tuple[NDArray, NDArray]:
    """Return the log integral of each box, and the log error of each variable, (m,) and (m, d)."""
    parts = [
        _rule(density, low[i : i + BATCH], high[i : i + BATCH]) for i in range(0, len(low), BATCH)
    ]
    fine, wrong = zip(*parts, strict=True)
    return np.concatenate(fine), np.concatenate(wrong)


def _rule(density: Density, low: NDArray, high: NDArray) -> tuple[NDArray, NDArray]:
    m, dimensions = low.shape
    centre, half = 0.5 * (low + high), 0.5 * (high - low)
    margin = 4.0 * np.spacing(np.maximum(np.abs(low), np.abs(high)))  # never on an end
    least, most = low + margin, high - margin
    at = [
        np.clip(centre[:, [d]] + half[:, [d]] * NODES, least[:, [d]], most[:, [d]])
        for d in range(dimensions)
    ]
    values = density(at)
    top = values.reshape(m, -1).max(axis=1)
    top = np.where(np.isfinite(top), top, 0.0)
    scaled = np.exp(values - top.reshape(m, *[1] * dimensions))
    fine = _weighted(scaled, [KRONROD] * dimensions)
    coarse = [
        _weighted(scaled, [GAUSS if d == j else KRONROD for j in range(dimensions)])
        for d in range(dimensions)
    ]
    size = top + np.log(half).sum(axis=1)
    with np.errstate(divide="ignore"):  # zero is -inf
        wrong = np.log(np.abs(np.stack(coarse, axis=1) - fine[:, None]))
        return np.log(fine) + size, wrong + size[:, None]


def _weighted(values: NDArray, weights: Sequence[NDArray]) -> NDArray:
    for weight in reversed(weights):
        values = values @ weight
    return values


#: The 15 nodes of Kronrod's rule, its weights, and those of Gauss's rule on every other node.
NODES, KRONROD, GAUSS = (
    np.concatenate([left, sign * np.array(left[-2::-1])])
    for sign, *left in (
        (-1.0, -0.99145537112081264, -0.94910791234275852, -0.86486442335976907,
         -0.74153118559939444, -0.58608723546769113, -0.40584515137739717, -0.20778495500789847,
         0.0),
        (1.0, 0.022935322010529225, 0.063092092629978553, 0.10479001032225018, 0.14065325971552592,
         0.16900472663926790, 0.19035057806478541, 0.20443294007529889, 0.20948214108472783),
        (1.0, 0.0, 0.12948496616886969, 0.0, 0.27970539148927667, 0.0, 0.38183005050511894, 0.0,
         0.41795918367346939),
    )
)  # fmt: skip
