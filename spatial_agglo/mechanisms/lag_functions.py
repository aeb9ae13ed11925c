"""Averages of functions of one W: what products of spatial multipliers do, without N x N arrays.

Every multiplier of a model is a function of W, so they commute, and an average over units is an
average of the function over a measure on the complex plane ::

    own     tr f(W) / N    = mean of f over the eigenvalues of W
    total   1' f(W) 1 / N  = f(1) when the rows of W sum to one

With ``S(r) = I - r W`` all that is needed are ``g_k = W^k S(r)^-1`` for k = 0, 1 and
``h_k = W^k S(r)^-1 S(q)^-1`` for k = 0, 1, 2. Where eigenvalues are not at hand, h is a divided
difference in (r, q), the integral of a derivative along the way from one to the other ::

    h_0 = integral of (r u)',   h_1 = integral of u',   h_2 = integral of v'
    u(r) = average of S(r)^-1,  v(r) = average of W S(r)^-1

which holds at r = q too and loses no digits near it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from spatial_agglo.core.spectrum import Spectrum
from spatial_agglo.core.traces import solver
from spatial_agglo.errors import BoundaryError
from spatial_agglo.weights.matrix import SpatialWeights

#: Numbers in the largest array of values of rho times eigenvalues.
CHUNK = 2**22
#: Nodes of the integrals along the way between two values of rho.
NODES = 64
#: Degrees of a polynomial in rho that are tried, and what its last coefficients may be.
DEGREES, TOLERANCE = (16, 32, 64, 128, 256), 1e-13

#: Half-width of its interval at least, as a share of the distance of zero to where S is singular.
SHORTEST = 0.05

#: From rho to u, v and their derivatives.
Averages = Callable[[NDArray], tuple[NDArray, NDArray, NDArray, NDArray]]


@dataclass(frozen=True, eq=False)
class LagFunctions:
    """Own and total averages of functions of W, for values of rho in a range.

    Attributes
    ----------
    own, total : ndarray or callable
        The points of the measure (equal weights), or u, v, u', v' as functions of rho.
    """

    own: NDArray | Averages
    total: NDArray | Averages

    @classmethod
    def of(cls, W: SpatialWeights, low: float, high: float) -> LagFunctions:
        """Prepare the averages for rho between low and high.

        Raises
        ------
        BoundaryError
            The range comes too close to where ``I - rho W`` is singular.
        """
        logdet = W.logdet
        own: NDArray | Averages = logdet.omega if isinstance(logdet, Spectrum) else _traces(W)
        total = np.ones(1) if W.row_standardized else _sums(W, low, high)
        return cls(own, total)

    def single(self, rho: NDArray) -> tuple[NDArray, NDArray]:
        """Return g_0 and g_1, own and total, each of shape (2, R)."""
        return _single(self.own, rho), _single(self.total, rho)

    def double(self, rho: NDArray, other: NDArray) -> tuple[NDArray, NDArray]:
        """Return h_0, h_1 and h_2, own and total, each of shape (3, R)."""
        return _double(self.own, rho, other), _double(self.total, rho, other)


def one_multiplier(functions: LagFunctions, b: NDArray, t: NDArray, rho: NDArray) -> NDArray:
    """Return own, neighbours' and total part of ``S^-1 (b I + t W)``, shape (R, 3)."""
    own, total = (b * g[0] + t * g[1] for g in functions.single(rho))
    return np.column_stack([own, total - own, total])


def two_multipliers(
    functions: LagFunctions,
    second: tuple[NDArray, NDArray, NDArray],
    first: tuple[NDArray, NDArray, NDArray],
) -> NDArray:
    """Return the parts of ``S_y^-1 (g I + d W) S_m^-1 (a I + c W)``, shape (R, 3).

    ``second`` is (g, d, rho of y) and ``first`` (a, c, rho of m).
    """
    (g, d, rho), (a, c, other) = second, first
    own, total = (
        g * a * h[0] + (g * c + d * a) * h[1] + d * c * h[2] for h in functions.double(rho, other)
    )
    return np.column_stack([own, total - own, total])


def _single(measure: NDArray | Averages, rho: NDArray) -> NDArray:
    if callable(measure):
        return np.stack(measure(rho)[:2])
    return _mean(measure, rho, None)[:2]


def _double(measure: NDArray | Averages, rho: NDArray, other: NDArray) -> NDArray:
    if not callable(measure):
        return _mean(measure, rho, other)
    x, weights = np.polynomial.legendre.leggauss(NODES)
    at = rho + 0.5 * (1.0 + x[:, None]) * (other - rho)
    u, _, slope_u, slope_v = measure(at)
    return np.stack([0.5 * (weights @ f) for f in (u + at * slope_u, slope_u, slope_v)])


def _mean(omega: NDArray, rho: NDArray, other: NDArray | None) -> NDArray:
    """Return the means of ``omega^k`` over the product of the resolvents, shape (3, R)."""
    out = np.empty((3, rho.size))
    step = max(1, CHUNK // omega.size)
    for start in range(0, rho.size, step):
        part = slice(start, start + step)
        value = 1.0 / (1.0 - rho[part, None] * omega)
        if other is not None:
            value = value / (1.0 - other[part, None] * omega)
        for k in range(3):
            out[k, part] = value.mean(axis=1).real  # conjugate eigenvalues come in pairs
            value = value * omega
    return out


def _traces(W: SpatialWeights) -> Averages:
    """Return u, v, u', v' of traces: ``tr(W S^-1) = -d1``, ``tr((W S^-1)^2) = -d2``."""
    logdet, N = W.logdet, W.n

    def at(rho: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        d1, d2 = logdet.derivatives(rho)
        return 1.0 - rho * d1 / N, -d1 / N, -(d1 + rho * d2) / N, -d2 / N

    return at


def _sums(W: SpatialWeights, low: float, high: float) -> Averages:
    """Return u, v, u', v' of sums over rows, as polynomials on an interval of rho."""
    ones, N = np.ones(W.n), W.n
    half, middle = 0.5 * (high - low), 0.5 * (high + low)
    # slopes of polynomials on a tiny interval would be noise
    half = max(half, SHORTEST * min(abs(end) for end in W.logdet.interval))

    def exact(rho: float) -> tuple[float, float]:
        x = solver(W.matrix, rho)(ones)
        return float(x.sum()) / N, float((W.matrix @ x).sum()) / N

    for degree in DEGREES:
        nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
        values = np.array([exact(middle + half * node) for node in nodes])
        found = np.linalg.solve(chebyshev.chebvander(nodes, degree), values)
        if np.all(np.abs(found[-3:]).max(axis=0) <= TOLERANCE * np.abs(found).max(axis=0)):
            break
    else:
        raise BoundaryError(
            f"The draws of rho, from {low:.4f} to {high:.4f}, come too close to where I - rho W "
            "has no inverse. Use a row-standardised W, or a simpler model."
        )
    u, v = found.T
    slopes = chebyshev.chebder(u) / half, chebyshev.chebder(v) / half

    def at(rho: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        x = (rho - middle) / half
        a, b, c, d = (chebyshev.chebval(x, series) for series in (u, v, *slopes))
        return a, b, c, d

    return at
