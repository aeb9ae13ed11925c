"""Maps of the parameter space into the unit disc, where ln|I - rho W| is a short power series.

With ``z = z(rho)`` and the traces of the first powers of W,

    ln|I - rho W| = base(rho) + inner(z) + sum_k a_k z^k,    |a_k| <= reach / k,

so that what is left after m terms is below ``reach |z|^(m+1) / ((m+1) (1 - |z|))`` and, divided
by ``z^(m+1)``, is analytic in the whole disc. The smaller ``|z|``, the faster all of it converges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

#: Terms of a series that is continued beyond the traces that are known.
TERMS = 400


class Chart(Protocol):
    """What the interpolation asks of a map."""

    @property
    def reach(self) -> float:
        """Bound of ``k |a_k|``."""

    def z(self, rho: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return z and its first and second derivative with respect to rho."""

    def rho(self, z: NDArray) -> NDArray:
        """Return the inverse of the map."""

    def base(self, rho: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return base and its first and second derivative with respect to rho."""

    def inner(self, z: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return inner and its first and second derivative with respect to z."""

    def series(self, traces: NDArray) -> tuple[NDArray, NDArray]:
        """Return ``0, a_1 .. a_m``, then a guess of more of them.

        ``traces`` are those of powers 0 to m of W over its spectral radius.
        """


@dataclass(frozen=True)
class Slits:
    """For N real eigenvalues between ``low < 0`` and ``high > 0``.

    As a function of rho the log-determinant is analytic in the plane without the rays beyond
    ``1/low`` and ``1/high``; ``2z/(1+z^2) = s`` with ``s = h rho / (1 - c rho)``,
    ``c = (high + low)/2``, ``h = (high - low)/2`` maps that region onto the disc. From
    ``ln(1 - 2 z cos t + z^2) = -2 sum_k cos(k t) z^k / k`` follows
    ``a_k = -2/k tr T_k((W - cI)/h)``, T_k the Chebyshev polynomials.
    """

    N: int
    low: float
    high: float

    @property
    def reach(self) -> float:
        """Return 2N: no Chebyshev polynomial exceeds one on the spectrum."""
        return 2.0 * self.N

    @property
    def _ch(self) -> tuple[float, float]:
        return 0.5 * (self.high + self.low), 0.5 * (self.high - self.low)

    def z(self, rho: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return z and its derivatives; written without a difference of nearly equal numbers."""
        c, h = self._ch
        d = 1.0 - c * rho
        z = h * rho / (d + np.sqrt((1.0 - self.high * rho) * (1.0 - self.low * rho)))
        s1, s2 = h / d**2, 2.0 * c * h / d**3
        square = z * z
        up, down = 1.0 + square, 1.0 - square
        z1 = up**2 / (2.0 * down)
        z2 = z * up * (3.0 - square) / down**2 * z1
        return z, z1 * s1, z2 * s1**2 + z1 * s2

    def rho(self, z: NDArray) -> NDArray:
        """Return rho from z."""
        c, h = self._ch
        return 2.0 * z / (h * (1.0 + z * z) + 2.0 * c * z)

    def base(self, rho: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return ``N ln(1 - c rho)`` and its derivatives."""
        c, _ = self._ch
        slope = -c / (1.0 - c * rho)
        return self.N * np.log1p(-c * rho), self.N * slope, -self.N * slope**2

    def inner(self, z: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return ``-N ln(1 + z^2)`` and its derivatives."""
        up = 1.0 + z * z
        return (
            -self.N * np.log1p(z * z),
            -2.0 * self.N * z / up,
            -2.0 * self.N * (1.0 - z * z) / up**2,
        )

    def series(self, traces: NDArray) -> tuple[NDArray, NDArray]:
        """Return the coefficients; those that are not known are guessed as zero."""
        c, h = self._ch
        scaled = Polynomial([-c / h, self.high / h])
        known = np.zeros(traces.size)
        for k in range(1, traces.size):
            T = Chebyshev.basis(k).convert(kind=Polynomial)(scaled)
            known[k] = -2.0 / k * float(T.coef @ traces[: k + 1])
        return known, known


@dataclass(frozen=True)
class Disc:
    """For N eigenvalues, complex ones too, of modulus up to ``radius``: ``z = radius rho``.

    ``a_k = -tr((W/radius)^k) / k`` (Barry & Pace 1999, Linear Algebra and its Applications 289).
    """

    N: int
    radius: float

    @property
    def reach(self) -> float:
        """Return N."""
        return float(self.N)

    def z(self, rho: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return z and its derivatives."""
        return self.radius * rho, np.full_like(rho, self.radius), np.zeros_like(rho)

    def rho(self, z: NDArray) -> NDArray:
        """Return rho from z."""
        return z / self.radius

    def base(self, rho: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return zeros."""
        return np.zeros_like(rho), np.zeros_like(rho), np.zeros_like(rho)

    def inner(self, z: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return zeros."""
        return np.zeros_like(z), np.zeros_like(z), np.zeros_like(z)

    def series(self, traces: NDArray) -> tuple[NDArray, NDArray]:
        """Return the coefficients; the guess is that the traces go on falling like 1/k.

        That is how often a random walk in the plane is back where it started.
        """
        k = np.arange(traces.size)
        known = np.zeros(traces.size)
        known[1:] = -traces[1:] / k[1:]
        more = np.arange(traces.size, TERMS)
        last = float(known[-2:] @ k[-2:]) / 2.0
        return known, np.concatenate([known, last * (traces.size - 1) / more**2])
