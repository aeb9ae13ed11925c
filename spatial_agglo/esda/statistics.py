"""Global statistics of spatial autocorrelation: values, moments, and what permutations need.

Everything works on ``x`` of shape (S, N): S series (variables, periods, or both) of N units
that share one W.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.moments import lag
from spatial_agglo.weights.matrix import SpatialWeights


@dataclass(frozen=True)
class Moments:
    """Mean and variance of a statistic under a null hypothesis, one per series."""

    expected: NDArray
    variance: NDArray


@dataclass(frozen=True)
class WeightSums:
    """The sums of weights that Cliff & Ord's moments are made of.

    ``s0 = sum w_ij``, ``s1 = sum (w_ij + w_ji)^2 / 2``, ``s2 = sum_i (w_i. + w_.i)^2``.
    """

    s0: float
    s1: float
    s2: float
    margins: NDArray

    @classmethod
    def of(cls, W: SpatialWeights) -> WeightSums:
        """Add up the weights."""
        A = W.matrix
        both = A + A.T
        margins = np.asarray(A.sum(axis=0)).ravel() + np.asarray(A.sum(axis=1)).ravel()
        return cls(
            s0=float(A.sum()),
            s1=0.5 * float((both * both).sum()),
            s2=float(margins @ margins),
            margins=margins,
        )


class Moran:
    """``I = (N / S0) z'Wz / z'z`` with z the deviations from the mean."""

    name = "I"

    @staticmethod
    def prepare(x: NDArray) -> NDArray:
        """Return the deviations from the mean."""
        return x - x.mean(axis=-1, keepdims=True)

    @staticmethod
    def value(cross: NDArray, weighted: NDArray, z: NDArray, s: WeightSums) -> NDArray:
        """Return the statistic from ``z'Wz``; ``weighted`` is not needed."""
        return cross / (z**2).sum(axis=-1) * (z.shape[-1] / s.s0)

    @staticmethod
    def moments(z: NDArray, s: WeightSums, assumption: str) -> Moments:
        """Return the moments of Cliff & Ord (1981)."""
        N = z.shape[-1]
        expected = -1.0 / (N - 1)
        if assumption == "normality":
            variance = (N**2 * s.s1 - N * s.s2 + 3 * s.s0**2) / ((N**2 - 1) * s.s0**2)
            full = np.full(len(z), variance - expected**2)
        else:
            k = _kurtosis(z)
            free = N * ((N**2 - 3 * N + 3) * s.s1 - N * s.s2 + 3 * s.s0**2)
            tied = k * ((N**2 - N) * s.s1 - 2 * N * s.s2 + 6 * s.s0**2)
            full = (free - tied) / ((N - 1) * (N - 2) * (N - 3) * s.s0**2) - expected**2
        return Moments(np.full(len(z), expected), full)


class Geary:
    """``C = (N - 1) sum_ij w_ij (x_i - x_j)^2 / (2 S0 z'z)``; below 1: similar neighbours."""

    name = "C"
    prepare = staticmethod(Moran.prepare)

    @staticmethod
    def value(cross: NDArray, weighted: NDArray, z: NDArray, s: WeightSums) -> NDArray:
        """Return the statistic from ``z'Wz`` and ``weighted = sum_i (w_i. + w_.i) z_i^2``."""
        squares = weighted - 2.0 * cross
        return (z.shape[-1] - 1) * squares / (2.0 * s.s0 * (z**2).sum(axis=-1))

    @staticmethod
    def moments(z: NDArray, s: WeightSums, assumption: str) -> Moments:
        """Return the moments of Cliff & Ord (1981)."""
        N = z.shape[-1]
        if assumption == "normality":
            variance = ((2 * s.s1 + s.s2) * (N - 1) - 4 * s.s0**2) / (2 * (N + 1) * s.s0**2)
            full = np.full(len(z), variance)
        else:
            k = _kurtosis(z)
            a = (N - 1) * s.s1 * (N**2 - 3 * N + 3 - (N - 1) * k)
            b = 0.25 * (N - 1) * s.s2 * (N**2 + 3 * N - 6 - (N**2 - N + 2) * k)
            c = s.s0**2 * (N**2 - 3 - (N - 1) ** 2 * k)
            full = (a - b + c) / (N * (N - 2) * (N - 3) * s.s0**2)
        return Moments(np.ones(len(z)), full)


class GetisOrd:
    """``G = sum_ij w_ij x_i x_j / sum_{i != j} x_i x_j`` for positive x."""

    name = "G"

    @staticmethod
    def prepare(x: NDArray) -> NDArray:
        """Return the values themselves."""
        return x

    @staticmethod
    def value(cross: NDArray, weighted: NDArray, x: NDArray, s: WeightSums) -> NDArray:
        """Return the statistic from ``x'Wx``."""
        return cross / (x.sum(axis=-1) ** 2 - (x**2).sum(axis=-1))

    @staticmethod
    def moments(x: NDArray, s: WeightSums, assumption: str) -> Moments:
        """Return the moments of Getis & Ord (1992): randomisation is the null they give."""
        N = x.shape[-1]
        m1, m2, m3, m4 = ((x**p).sum(axis=-1) for p in (1, 2, 3, 4))
        n2 = N * (N - 1)
        b0 = (N**2 - 3 * N + 3) * s.s1 - N * s.s2 + 3 * s.s0**2
        b1 = -((N**2 - N) * s.s1 - 2 * N * s.s2 + 6 * s.s0**2)
        b2 = -(2 * N * s.s1 - (N + 3) * s.s2 + 6 * s.s0**2)
        b3 = 4 * (N - 1) * s.s1 - 2 * (N + 1) * s.s2 + 8 * s.s0**2
        b4 = s.s1 - s.s2 + s.s0**2
        top = b0 * m2**2 + b1 * m4 + b2 * m1**2 * m2 + b3 * m1 * m3 + b4 * m1**4
        second = top / ((m1**2 - m2) ** 2 * n2 * (N - 2) * (N - 3))
        expected = s.s0 / n2
        return Moments(np.full(len(x), expected), second - expected**2)


Statistic = type[Moran] | type[Geary] | type[GetisOrd]


def observed(statistic: Statistic, x: NDArray, W: SpatialWeights, s: WeightSums) -> NDArray:
    """Return the statistic of every series."""
    z = statistic.prepare(x)
    cross = (z * lag(W.operator, z)).sum(axis=-1)
    return statistic.value(cross, (z**2) @ s.margins, z, s)


def _kurtosis(z: NDArray) -> NDArray:
    return z.shape[-1] * (z**4).sum(axis=-1) / (z**2).sum(axis=-1) ** 2
