"""ln|I - rho W| between exact factorisations, to the precision of a factorisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TypeAlias

import numpy as np
from numpy.polynomial import chebyshev, polynomial
from numpy.typing import NDArray
from scipy import linalg, sparse

from spatial_agglo.core.charts import Chart
from spatial_agglo.core.factorization import Factorize
from spatial_agglo.core.parameter_space import edges

#: Error of the second derivative by z, as a share of the number of units.
TOLERANCE = 1e-8
#: A panel of z is as wide as this share of what is left to the edge of the disc.
WIDTH = 1 / 12
#: The panel around zero.
INNER = 0.1
#: Panels go on until z is this close to the edge of the disc.
CLOSE = 1e-7
#: A product of powers of W is made while it costs less than this share of a factorisation.
CHEAP = 0.2


@dataclass(frozen=True)
class Interpolant:
    """Piecewise Chebyshev interpolation of exact factorisations, built where it is asked.

    A chart takes rho to z in the unit disc, where the log-determinant is a power series. Its
    first m terms are known from the traces of powers of W; what is left is ``z^(m+1) R(z)``
    with R analytic in the disc, and R is interpolated at Chebyshev nodes on a panel around
    the z in question. How many nodes a panel needs follows from the bound of the
    coefficients (Trefethen 2013, Approximation Theory and Approximation Practice, theorem
    8.1): five to ten.

    Attributes
    ----------
    method : str
        Name of the back end.
    factorize : callable
        The log-determinant at one rho, and the non-zeros of the factors.
    interval : tuple of float
        Open interval of rho on which ``I - rho W`` is non-singular.
    chart : Chart
        The map of that interval into the disc.
    traces : ndarray
        ``tr (W/r)^k`` for k = 0, 1, .., r the spectral radius.
    """

    method: str
    factorize: Factorize
    interval: tuple[float, float]
    chart: Chart
    traces: NDArray
    _alone: Lock = field(default_factory=Lock, repr=False, compare=False)
    _exact: dict[float, float] = field(default_factory=dict, repr=False)
    _panels: dict[tuple[float, float, int], tuple[NDArray, ...]] = field(
        default_factory=dict, repr=False
    )

    @cached_property
    def grid(self) -> NDArray:
        """Increasing values inside the interval, closer together towards its ends."""
        return edges(self.interval)

    def value(self, rho: NDArray) -> NDArray:
        """Return ``ln|I - rho W|`` for each rho; NaN outside the interval."""
        rho = np.asarray(rho, dtype=float)
        return self._evaluate(rho, derivatives=False)[0]

    def derivatives(self, rho: NDArray) -> tuple[NDArray, NDArray]:
        """Return the first and second derivative for each rho."""
        rho = np.asarray(rho, dtype=float)
        _, first, second = self._evaluate(rho, derivatives=True)
        return first, second

    @cached_property
    def sketch(self) -> Sketch:
        """What the traces alone tell, for searches."""
        return Sketch(self.interval, self.chart, self._series[1], self.traces.size)

    @cached_property
    def _series(self) -> tuple[NDArray, NDArray]:
        return self.chart.series(self.traces)

    @cached_property
    def _slopes(self) -> NDArray:
        return _with_derivatives(self._series[0])

    @cached_property
    def _edges(self) -> NDArray:
        """Edges of the panels of z; between the two in the middle the traces suffice."""
        m = self.traces.size
        z = [(0.5 * TOLERANCE / m) ** (1.0 / max(m - 2, 1))]
        z += [INNER] if z[0] < INNER else []
        while 1.0 - z[-1] > CLOSE:
            z.append(z[-1] + WIDTH * (1.0 - z[-1]))
        side = np.array(z)
        return np.concatenate([-side[::-1], side])

    def _ends(self, panel: int) -> tuple[float, float, int]:
        """Return the ends of a panel, and the power of z that its polynomial is times."""
        left, right = float(self._edges[panel]), float(self._edges[panel + 1])
        if max(-left, right) <= INNER:  # divided by a power of z, rounding would grow
            return -INNER, INNER, 0
        return left, right, self.traces.size

    def _evaluate(self, rho: NDArray, *, derivatives: bool) -> Triple:
        flat = _inside(np.ravel(rho), self.interval)
        out = np.full((3, flat.size), np.nan)
        z = self.chart.z(flat)
        panels = np.searchsorted(self._edges, z[0], side="right") - 1
        panels = np.clip(panels, 0, self._edges.size - 2)
        for panel in np.unique(panels[np.isfinite(flat)]):
            here = (panels == panel) & np.isfinite(flat)
            if not derivatives and self._dearer(panel, flat[here]):
                out[0, here] = [self._at(float(r)) for r in flat[here]]
                continue
            at, slope, bend = (part[here] for part in z)
            out[:, here] = _chained(
                self.chart.base(flat[here]), self._on_panel(panel, at), slope, bend
            )
        value, first, second = (part.reshape(rho.shape) for part in out)
        return value, first, second

    def _dearer(self, panel: int, rho: NDArray) -> bool:
        """Whether a panel that is not there yet costs more than the values one by one."""
        if panel == self._middle or self._ends(panel) in self._panels:
            return False
        return np.unique(rho).size < self._nodes(*self._ends(panel))

    @property
    def _middle(self) -> int:
        return self._edges.size // 2 - 1

    def _on_panel(self, panel: int, z: NDArray) -> Triple:
        """Return ``inner + series + z^p R`` on a panel, with its derivatives by z."""
        value, first, second = _plus_series(self.chart.inner(z), self._slopes, z)
        if panel == self._middle:
            return value, first, second
        left, right, p = self._ends(panel)
        c = self._panel(left, right, p)
        x, scale = (2.0 * z - left - right) / (right - left), 2.0 / (right - left)
        R = [chebyshev.chebval(x, c[j]) * scale**j for j in range(3)]
        if p == 0:
            return value + R[0], first + R[1], second + R[2]
        P = [z**p, p * z ** (p - 1), p * (p - 1) * z ** (p - 2)]
        return (
            value + P[0] * R[0],
            first + P[1] * R[0] + P[0] * R[1],
            second + P[2] * R[0] + 2.0 * P[1] * R[1] + P[0] * R[2],
        )

    def _panel(self, left: float, right: float, p: int) -> tuple[NDArray, ...]:
        """Return the Chebyshev coefficients of R on a panel, and of its two derivatives."""
        key = (left, right, p)
        if key not in self._panels:
            n = self._nodes(left, right, p)
            nodes = np.cos(np.pi * (np.arange(n) + 0.5) / n)
            z = 0.5 * (left + right + (right - left) * nodes)
            rho = self.chart.rho(z)
            exact = np.array([self._at(float(r)) for r in rho])
            rest = exact - self.chart.base(rho)[0] - self.chart.inner(z)[0]
            rest = (rest - polynomial.polyval(z, self._series[0])) / z**p
            c = linalg.solve(chebyshev.chebvander(nodes, n - 1), rest)
            self._panels[key] = (c, chebyshev.chebder(c), chebyshev.chebder(c, 2))
        return self._panels[key]

    def _nodes(self, left: float, right: float, p: int) -> int:
        """Return how many nodes the bound of the coefficients asks for on a panel.

        What is left of the series is at most ``reach x^m / (m (1 - x))`` in modulus on an
        ellipse around the panel that reaches out to x, and divided by ``z^p`` with p = m at most
        ``reach / (m (1 - x))``. So the Chebyshev coefficients fall like ``r^-k``, r the sum of
        the half-axes in units of half the panel; aliasing doubles them, and k^4/3 bounds the
        second derivative of T_k.
        """
        m, far = self.traces.size, max(abs(left), abs(right))
        centre, half = 0.5 * abs(left + right), 0.5 * (right - left)
        r = np.geomspace(1.5, 2.0 * (1.0 - centre) / half, 200)
        x = centre + 0.5 * half * (r + 1.0 / r)
        r, x = r[x < 1.0], x[x < 1.0]
        bound = 4.0 / (m * (1.0 - x)) * (far**p if p else x**m)
        n = np.arange(2, 60)[:, None]
        error = bound * n**4 / 3.0 * r ** -n.astype(float) / (1.0 - 1.0 / r)
        enough = error.min(axis=1) <= TOLERANCE * (half / (1.0 - centre)) ** 2
        return int(n[np.argmax(enough), 0])

    def _at(self, rho: float) -> float:
        with self._alone:  # a factorisation writes into the arrays of the one before
            if rho not in self._exact:
                self._exact[rho] = 0.0 if rho == 0 else self.factorize(rho)[0]
        return self._exact[rho]


@dataclass(frozen=True)
class Sketch:
    """The power series of the log-determinant as far as traces tell it: no factorisation.

    It is exact at zero and worst at the ends of the interval, where ``value`` is off by up to
    a few per cent of the number of units.
    """

    interval: tuple[float, float]
    chart: Chart
    series: NDArray
    known: int
    method: str = "traces of powers"

    @cached_property
    def _slopes(self) -> NDArray:
        return _with_derivatives(self.series)

    @cached_property
    def grid(self) -> NDArray:
        """Increasing values inside the interval, closer together towards its ends."""
        return edges(self.interval)

    @property
    def sketch(self) -> Sketch:
        """Itself."""
        return self

    def value(self, rho: NDArray) -> NDArray:
        """Return about ``ln|I - rho W|`` for each rho; NaN outside the interval."""
        return self._evaluate(np.asarray(rho, dtype=float))[0]

    def derivatives(self, rho: NDArray) -> tuple[NDArray, NDArray]:
        """Return about the first and second derivative for each rho."""
        _, first, second = self._evaluate(np.asarray(rho, dtype=float))
        return first, second

    def error(self, rho: NDArray) -> NDArray:
        """Return a bound of the error of ``value``."""
        z = np.abs(self.chart.z(_inside(np.asarray(rho, dtype=float), self.interval))[0])
        return self.chart.reach / self.known * z**self.known / (1.0 - z)

    def _evaluate(self, rho: NDArray) -> Triple:
        rho = _inside(rho, self.interval)
        z, slope, bend = self.chart.z(rho)
        G = _plus_series(self.chart.inner(z), self._slopes, z)
        return _chained(self.chart.base(rho), G, slope, bend)


Triple: TypeAlias = tuple[NDArray, NDArray, NDArray]


def _inside(rho: NDArray, interval: tuple[float, float]) -> NDArray:
    """Return rho with NaN where it is outside the interval."""
    return np.where((rho > interval[0]) & (rho < interval[1]), rho, np.nan)


def _with_derivatives(series: NDArray) -> NDArray:
    """Return the coefficients of a power series and of its two derivatives, shape (m, 3)."""
    k = np.arange(series.size, dtype=float)
    out = np.zeros((series.size, 3))
    out[:, 0] = series
    out[:-1, 1] = (k * series)[1:]
    out[:-2, 2] = (k * (k - 1.0) * series)[2:]
    return out


def _plus_series(inner: Triple, series: NDArray, z: NDArray) -> Triple:
    """Add the sums of ``series``, shape (m, 3), at z: one array of powers for all three."""
    sums = z[..., None] ** np.arange(series.shape[0]) @ series
    return inner[0] + sums[..., 0], inner[1] + sums[..., 1], inner[2] + sums[..., 2]


def _chained(base: Triple, G: Triple, slope: NDArray, bend: NDArray) -> Triple:
    """Return ``base(rho) + G(z(rho))`` with its derivatives by rho."""
    return (
        base[0] + G[0],
        base[1] + G[1] * slope,
        base[2] + G[2] * slope**2 + G[1] * bend,
    )


def power_traces(W: sparse.csr_array, fill: int, *, symmetric: bool) -> NDArray:
    """Return tr(W^0), tr(W^1), .. as far as they are cheap beside a factorisation.

    ``tr(W^(i+j))`` is a sum over the entries of ``W^i`` and of the transpose of ``W^j``.

    Parameters
    ----------
    W : csr_array, shape (N, N)
    fill : int
        Non-zeros of both factors: a factorisation takes at least ``fill^2 / 4N`` operations.
    symmetric : bool
        Whether W is.
    """

    def transposed(A: sparse.csr_array) -> sparse.csr_array:
        out = A if symmetric else sparse.csr_array(A.T)
        out.sort_indices()  # sums over two patterns are twice as fast
        return out

    N = W.shape[0]
    power, other = W, transposed(W)
    traces = [float(N), float(W.trace()), float((W * other).sum())]
    budget, degree = CHEAP * fill**2 / (4.0 * N), np.diff(W.indptr)
    while float(degree[power.indices].sum()) < budget:
        power = sparse.csr_array(power @ W)
        power.sort_indices()
        traces.append(float((power * other).sum()))
        other = transposed(power)
        traces.append(float((power * other).sum()))
    return np.array(traces)
