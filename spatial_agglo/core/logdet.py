"""ln|I - rho W| and its first two derivatives: back ends behind one protocol.

``d/drho ln|I - rho W| = -tr(W S^-1)`` and ``d2 = -tr((W S^-1)^2)``, ``S = I - rho W``,
so a back end also supplies the traces that impacts and information matrices need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse import csgraph
from scipy.sparse import linalg as sparse_linalg

from spatial_agglo.errors import WeightsError

#: Up to this many units the spectrum is the cheapest back end, whatever the sparsity.
SPECTRUM_UNITS = 150
#: A matrix with a larger share of non-zeros than this is treated as dense.
DENSE_SHARE = 0.1
#: Units above which a dense spectrum is not computed.
SPECTRUM_LIMIT = 12_000
#: Chebyshev nodes per panel; panels are graded so that the error is about 5.8**-NODES.
NODES = 20
#: Panels on each side of zero; the last edge lies 2**-PANELS short of the pole.
PANELS = 12


class LogDet(Protocol):
    """What the likelihood asks of a back end.

    Attributes
    ----------
    method : str
        Name of the back end, recorded on the result.
    interval : tuple of float
        Open interval of rho around zero on which ``I - rho W`` is non-singular.
    grid : ndarray
        Increasing values inside the interval at which ``value`` is cheap.
    """

    @property
    def method(self) -> str: ...  # noqa: D102

    @property
    def interval(self) -> tuple[float, float]: ...  # noqa: D102

    @property
    def grid(self) -> NDArray: ...  # noqa: D102

    def value(self, rho: NDArray) -> NDArray:
        """Return ``ln|I - rho W|`` for each rho."""

    def derivatives(self, rho: NDArray) -> tuple[NDArray, NDArray]:
        """Return the first and second derivative for each rho."""


def log_determinant(W: sparse.csr_array) -> LogDet:
    """Choose a back end from the size, sparsity and symmetry of ``W``.

    The spectrum when W is small or full; a sparse LDL' factorisation with a re-used
    symbolic analysis when W is similar to a symmetric matrix; sparse LU otherwise.

    Raises
    ------
    WeightsError
        A full matrix of more than ``SPECTRUM_LIMIT`` units.
    """
    N = W.shape[0]
    symmetric = symmetrize(W)
    full = W.nnz > DENSE_SHARE * N * N
    if full and N > SPECTRUM_LIMIT:
        raise WeightsError(
            f"The spectrum of a full {N} x {N} matrix needs {8 * N * N / 2**30:.0f} GiB and "
            f"hours; at most {SPECTRUM_LIMIT} units are supported. Use a sparse W: "
            "a distance cut-off or the nearest neighbours."
        )
    if N <= SPECTRUM_UNITS or full:
        return Spectrum.of(W, symmetric)
    if symmetric is not None:
        return Interpolant(
            method="sparse LDL' with Chebyshev interpolation",
            evaluate=_ldl(symmetric),
            interval=_certified_interval(symmetric, radius=_radius(W)),
        )
    radius = _radius(W)
    return Interpolant(
        method="sparse LU with Chebyshev interpolation",
        evaluate=_lu(W),
        interval=(-1.0 / radius, 1.0 / radius),
    )


def symmetrize(W: sparse.csr_array, tolerance: float = 1e-12) -> sparse.csr_array | None:
    """Return a symmetric matrix similar to ``W`` by a diagonal scaling, or None.

    A row-standardised symmetric matrix ``D^-1 B`` is similar to ``D^-1/2 B D^-1/2``. The
    scaling is found along a spanning forest, so that it need not be told.
    """
    W = W if W.has_sorted_indices else W.sorted_indices()
    T = sparse.csr_array(W.T)
    T.sort_indices()
    if not (np.array_equal(W.indptr, T.indptr) and np.array_equal(W.indices, T.indices)):
        return None
    log_ratio = np.log(W.data / T.data)
    rows = np.repeat(np.arange(W.shape[0]), np.diff(W.indptr))
    limit = 1e2 * tolerance * max(1.0, np.abs(log_ratio).max(initial=0.0))

    def fits(scale: NDArray) -> bool:
        gap = scale[rows] - scale[W.indices] + log_ratio
        return bool(np.abs(gap).max(initial=0.0) <= limit)

    # One value per row, as in standardised contiguity, tells the scale at once.
    guess = np.zeros(W.shape[0])
    guess[rows] = -np.log(W.data)
    if not (fits(guess) or fits(_propagate(W, log_ratio))):
        return None
    return sparse.csr_array((np.sqrt(W.data * T.data), W.indices, W.indptr), shape=W.shape)


def _propagate(W: sparse.csr_array, log_ratio: NDArray) -> NDArray:
    """Solve ``scale_j = scale_i + ln(w_ij / w_ji)`` along a spanning forest."""
    N = W.shape[0]
    _, component = csgraph.connected_components(W, directed=False)
    _, roots = np.unique(component, return_index=True)
    gate = sparse.csr_array(
        (np.ones(roots.size), (np.zeros(roots.size, dtype=int), roots)), shape=(1, N)
    )
    forest = sparse.block_array([[W, gate.T], [gate, None]], format="csr")
    _, parent = csgraph.breadth_first_order(forest, N, directed=False)
    parent = np.where(parent[:N] == N, np.arange(N), parent[:N])
    ratios = sparse.csr_array((log_ratio, W.indices, W.indptr), shape=W.shape)
    scale = np.asarray(ratios[parent, np.arange(N)]).ravel()
    while not np.array_equal(parent, parent[parent]):  # pointer jumping: log2(depth) rounds
        scale = scale + scale[parent]
        parent = parent[parent]
    return scale


@dataclass(frozen=True)
class Spectrum:
    """Exact values from the eigenvalues: ``sum ln|1 - rho omega|`` over complex omega."""

    omega: NDArray
    interval: tuple[float, float]
    grid: NDArray
    method: str = "spectrum"

    @classmethod
    def of(cls, W: sparse.csr_array, symmetric: sparse.csr_array | None) -> Spectrum:
        """Compute the spectrum of ``W`` (of its symmetric twin where there is one)."""
        omega: NDArray
        if symmetric is not None:
            omega = linalg.eigvalsh(symmetric.toarray(), check_finite=False)
        else:
            omega = linalg.eigvals(W.toarray(), check_finite=False)
            if np.all(omega.imag == 0):
                omega = omega.real
        radius = float(np.abs(omega).max())
        if radius <= 1e-12 * float(np.abs(W.data).max(initial=0.0)):
            raise WeightsError(
                "No chain of links leads back to where it started, so all eigenvalues of W are "
                "zero and the parameter space has no ends. Such a W needs no determinant: put "
                "the spatial lag into the formula as a regressor."
            )
        # what rounding leaves of a zero eigenvalue would put an end of the space far away
        real = omega.real[np.abs(omega.imag) <= 1e-10 * radius]
        real = real[np.abs(real) > 1e-6 * radius]
        low = real.min(initial=-1e-6 * radius)
        low = low if low < -1e-6 * radius else -radius
        high = real.max(initial=1e-6 * radius)
        high = high if high > 1e-6 * radius else radius
        one = np.allclose(W.sum(axis=1), 1.0, rtol=1e-12, atol=0)
        interval = (1.0 / low, 1.0 if one else 1.0 / high)
        return cls(omega=omega, interval=interval, grid=_edges(interval, refine=4))

    def value(self, rho: NDArray) -> NDArray:
        """Return ``ln|I - rho W|`` for each rho."""
        rho = np.asarray(rho, dtype=float)
        return np.log(np.abs(1.0 - rho[..., None] * self.omega)).sum(axis=-1)

    def derivatives(self, rho: NDArray) -> tuple[NDArray, NDArray]:
        """Return the first and second derivative for each rho."""
        rho = np.asarray(rho, dtype=float)
        ratio = self.omega / (1.0 - rho[..., None] * self.omega)
        return -ratio.real.sum(axis=-1), -(ratio**2).real.sum(axis=-1)


@dataclass(frozen=True)
class Interpolant:
    """Piecewise Chebyshev interpolation of exact factorisations, built where it is asked.

    The panels halve in width towards the poles at both ends of the interval. From the
    centre of a panel the nearest singularity lies three half-widths away, so every panel
    converges at the same geometric rate (5.8 per node).
    """

    method: str
    evaluate: Callable[[float], float]
    interval: tuple[float, float]
    grid: NDArray = field(init=False)
    _exact: dict[float, float] = field(default_factory=dict, repr=False)
    _panels: dict[int, tuple[NDArray, NDArray, NDArray]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", _edges(self.interval))

    def value(self, rho: NDArray) -> NDArray:
        """Return ``ln|I - rho W|`` for each rho; exact on the grid and at a single point."""
        rho = np.asarray(rho, dtype=float)
        if rho.ndim == 0 or np.isin(rho, self.grid).all():
            return np.reshape([self._at(float(r)) for r in rho.ravel()], rho.shape)
        return self._interpolate(rho, 0)

    def derivatives(self, rho: NDArray) -> tuple[NDArray, NDArray]:
        """Return the first and second derivative for each rho."""
        rho = np.asarray(rho, dtype=float)
        return self._interpolate(rho, 1), self._interpolate(rho, 2)

    def _at(self, rho: float) -> float:
        if rho not in self._exact:
            self._exact[rho] = 0.0 if rho == 0 else self.evaluate(rho)
        return self._exact[rho]

    def _interpolate(self, rho: NDArray, order: int) -> NDArray:
        which = np.searchsorted(self.grid, rho, side="right") - 1
        # An edge belongs to two panels: take the one that is there already.
        for edge in np.unique(which[np.isin(rho, self.grid)]):
            if edge not in self._panels and edge - 1 in self._panels:
                which = np.where((which == edge) & (rho == self.grid[edge]), edge - 1, which)
        which = np.clip(which, 0, self.grid.size - 2)
        out = np.empty(rho.shape)
        for panel in np.unique(which):
            here = which == panel
            left, right = self.grid[panel], self.grid[panel + 1]
            x = (2.0 * rho[here] - left - right) / (right - left)
            out[here] = chebyshev.chebval(x, self._panel(int(panel))[order])
            out[here] *= (2.0 / (right - left)) ** order
        return out

    def _panel(self, panel: int) -> tuple[NDArray, NDArray, NDArray]:
        if panel not in self._panels:
            left, right = self.grid[panel], self.grid[panel + 1]
            nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
            values = [self._at(0.5 * (left + right + (right - left) * x)) for x in nodes]
            c = linalg.solve(chebyshev.chebvander(nodes, NODES - 1), np.array(values))
            first = chebyshev.chebder(c)
            self._panels[panel] = (c, first, chebyshev.chebder(first))
        return self._panels[panel]


def _edges(interval: tuple[float, float], refine: int = 1) -> NDArray:
    """Edges of panels around zero, graded towards both ends.

    From the centre of every panel the nearer end lies three half-widths away: going out on a
    side of length L, with the other end S behind zero, a panel at p is as wide as the smaller
    of ``p + S`` and ``(L - p) / 2``.
    """

    def side(length: float, behind: float) -> list[float]:
        edges = [0.0]
        while length - edges[-1] > length * 2.0**-PANELS:
            width = min(edges[-1] + behind, 0.5 * (length - edges[-1]))
            edges += [edges[-1] + width * step / refine for step in range(1, refine + 1)]
        return edges

    low, high = interval
    return np.array([-x for x in side(-low, high)[:0:-1]] + side(high, -low))


def _radius(W: sparse.csr_array) -> float:
    """Spectral radius of a matrix with non-negative entries."""
    sums = W.sum(axis=1)
    if np.allclose(sums[sums > 0], 1.0, rtol=1e-10):
        return 1.0
    start = np.ones(W.shape[0])
    largest = sparse_linalg.eigs(W, k=1, which="LM", v0=start, return_eigenvectors=False)
    return float(np.abs(largest[0]))


def _ldl(symmetric: sparse.csr_array) -> Callable[[float], float]:
    """Return ``rho -> ln|I - rho W|``; NaN where ``I - rho W`` is not positive definite."""
    import qdldl

    N = symmetric.shape[0]
    identity = sparse.eye_array(N, format="csc")
    upper = sparse.csc_array(sparse.triu(symmetric, k=1))
    pattern = sparse.csc_matrix(identity + upper)
    pattern.sort_indices()
    columns = np.repeat(np.arange(N), np.diff(pattern.indptr))
    diagonal = pattern.indices == columns
    weights = np.where(diagonal, 0.0, pattern.data)
    solver = None

    def evaluate(rho: float) -> float:
        nonlocal solver
        pattern.data = diagonal - rho * weights
        try:
            if solver is None:
                solver = qdldl.Solver(pattern, upper=True)
            else:
                solver.update(pattern, upper=True)
        except RuntimeError:
            solver = None
            return np.nan
        pivots = np.asarray(solver.factors()[1])
        return float(np.log(pivots).sum()) if pivots.min() > 0 else np.nan

    return evaluate


def _lu(W: sparse.csr_array) -> Callable[[float], float]:
    """Return ``rho -> ln|I - rho W|`` from SuperLU."""
    identity = sparse.eye_array(W.shape[0], format="csc")
    W = sparse.csc_array(W)

    def evaluate(rho: float) -> float:
        factor = factorize(sparse.csc_array(identity - rho * W))
        return float(np.log(np.abs(factor.U.diagonal())).sum())

    return evaluate


def factorize(S: sparse.csc_array) -> sparse_linalg.SuperLU:
    """Factorise ``I - rho W`` without pivoting, which would undo the ordering.

    Inside the spectral radius it is an H-matrix (W is not negative), and those need no pivots.
    """
    return sparse_linalg.splu(
        S, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )


def _certified_interval(symmetric: sparse.csr_array, radius: float) -> tuple[float, float]:
    """Widen the lower end below ``-1/radius`` as far as ``I - rho W`` stays positive definite.

    The inertia of the factorisation certifies each trial; the end is found to 1%.
    """
    evaluate = _ldl(symmetric)
    inside, outside = -1.0 / radius, -np.inf
    trial = inside * 1.01
    while True:
        if np.isnan(evaluate(trial)):
            outside = trial
        else:
            inside = trial
        if np.isfinite(outside):
            if outside / inside < 1.0101:
                return inside, 1.0 / radius
            trial = 0.5 * (inside + outside)
        else:
            trial = inside * 1.5
            if trial < -1e3 / radius:
                return inside, 1.0 / radius
