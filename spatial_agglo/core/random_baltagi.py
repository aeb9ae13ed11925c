"""Unit effects outside the spatial filter: the part of the likelihood that unit means carry.

With ``u_t = mu + B^-1 eps_t``, ``B = I - lambda M`` and ``c = T phi``, the unit means have
covariance ``sigma2 V / T``, ``V = c I + (B'B)^-1``. Since ``V^-1 = B' K^-1 B`` and
``|V| = |K| / |B|^2`` with ``K = I + c B B'``, one factorisation of K (positive definite, sparse
when M is) gives everything, however close to singular B is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy import linalg, sparse

from spatial_agglo.core.moments import MatrixLike

#: Up to this many units K is factorised as a dense matrix, whatever its sparsity.
DENSE_UNITS = 300
#: A K with a larger share of non-zeros than this is treated as dense.
DENSE_SHARE = 0.1
#: Chebyshev nodes of a derivative of ln|K|; its error falls by 5.8 with each of them.
NODES = 14


@dataclass(frozen=True)
class Surface:
    """Cross-products of F and a logarithm, as functions of (lambda, s), ``s = ln(1 + T phi)``.

    Attributes
    ----------
    log, gram : float and ndarray, shape (f, f)
        What adds to the log-likelihood, and the cross-products whose quadratic form in b is
        the sum of squares.
    log1, gram1 : ndarray, shapes (2,) and (2, f, f)
        First derivatives with respect to lambda and s.
    log2, gram2 : ndarray, shapes (2, 2) and (2, 2, f, f)
        Second derivatives.
    """

    log: float
    gram: NDArray
    log1: NDArray
    gram1: NDArray
    log2: NDArray
    gram2: NDArray


@dataclass(frozen=True)
class Outside:
    """The unit means when the unit effect lies outside the filter (Baltagi).

    ::

        log  = -1/2 ln|K|,    gram = T Fbar' B' K^-1 B Fbar

    Attributes
    ----------
    means, lagged : ndarray, shape (N, f)
        Unit means of F, and M times them.
    system : System
        K, ready to be factorised.
    T : int
    """

    means: NDArray
    lagged: NDArray
    system: System
    T: int

    @classmethod
    def of(cls, means: NDArray, M: MatrixLike, T: int) -> Outside:
        """Lag the unit means and prepare K."""
        return cls(means=means, lagged=M @ means, system=system(M), T=T)

    def value(self, lam: float, s: float) -> tuple[float, NDArray]:
        """Return ``log`` and ``gram``."""
        Z = self.means - lam * self.lagged
        logdet, solve = self.system.factor(lam, np.expm1(s))
        return -0.5 * logdet, self.T * (Z.T @ solve(Z))

    def surface(self, lam: float, s: float) -> Surface:
        """Return them with their derivatives.

        With ``A = K^-1 B Fbar``, ``P = B'A = V^-1 Fbar`` and ``R = Fbar - c P = B^-1 A``: the
        derivative of ``Fbar' V^-1 Fbar`` is ``-(A'MR + R'M'A)`` in lambda, ``-P'P`` in c.
        """
        M, T, c = self.system.M, self.T, float(np.expm1(s))
        Z = self.means - lam * self.lagged
        logdet, solve = self.system.factor(lam, c)

        def transposed(A: NDArray) -> NDArray:
            return A - lam * (M.T @ A)

        def filtered(A: NDArray) -> NDArray:
            return A - lam * (M @ A)

        A = solve(Z)
        P = transposed(A)
        R = self.means - c * P
        MR, MA = M @ R, M.T @ A
        A_l = solve(c * filtered(MA) - MR)
        P_l = transposed(A_l) - MA
        A_c = -solve(filtered(P))
        P_c = transposed(A_c)
        lam1 = -T * _twice(A.T @ MR)
        c1 = -T * (P.T @ P)
        lam2 = -T * _twice(A_l.T @ MR - c * (MA.T @ P_l))
        mixed = -T * _twice(A_c.T @ MR - MA.T @ (P + c * P_c))
        c2 = -T * _twice(P_c.T @ P)
        slope = 1.0 + c  # dc/ds, and the second derivative as well
        log1, log2 = self.system.derivatives(lam, s)
        return Surface(
            log=-0.5 * logdet,
            gram=T * (Z.T @ A),
            log1=-0.5 * log1,
            gram1=np.array([lam1, slope * c1]),
            log2=-0.5 * log2,
            gram2=np.array([[lam2, slope * mixed], [slope * mixed, slope**2 * c2 + slope * c1]]),
        )


def predict_effects(means: NDArray, M: MatrixLike, lam: float, c: float) -> NDArray:
    """Return ``E[mu | u] = c V^-1 ubar``, shape (N,), from the unit means of u."""
    _, solve = system(M).factor(lam, c)
    A = solve(means - lam * (M @ means))
    return c * (A - lam * (M.T @ A))


class System(Protocol):
    """``K = I + c (I - lambda M)(I - lambda M)'``, factorised where it is asked."""

    @property
    def M(self) -> MatrixLike: ...  # noqa: D102

    def factor(self, lam: float, c: float) -> tuple[float, Callable[[NDArray], NDArray]]:
        """Return ``ln|K|`` and ``b -> K^-1 b``."""

    def derivatives(self, lam: float, s: float) -> tuple[NDArray, NDArray]:
        """Return the gradient and the Hessian of ``ln|K|`` in (lambda, s), ``c = e^s - 1``."""


def system(M: MatrixLike) -> System:
    """Choose how K is factorised, from the size and sparsity of ``M M'``."""
    N = M.shape[0]
    if isinstance(M, np.ndarray) or N <= DENSE_UNITS:
        return Dense.of(M)
    found = Sparse.of(M)
    return Dense.of(M) if found.rows.size > DENSE_SHARE * 0.5 * N * N else found


@dataclass(frozen=True)
class Dense:
    """Cholesky; derivatives of ``ln|K|`` are exact traces."""

    M: NDArray
    sum: NDArray
    product: NDArray

    @classmethod
    def of(cls, M: MatrixLike) -> Dense:
        """Form ``M + M'`` and ``M M'``."""
        dense = M if isinstance(M, np.ndarray) else M.toarray()
        return cls(M=dense, sum=dense + dense.T, product=dense @ dense.T)

    def _squared(self, lam: float) -> NDArray:
        out = lam**2 * self.product - lam * self.sum
        out.flat[:: out.shape[0] + 1] += 1.0
        return out

    def _cholesky(self, BB: NDArray, c: float) -> tuple[NDArray, bool]:
        K = c * BB
        K.flat[:: K.shape[0] + 1] += 1.0
        return linalg.cho_factor(K, lower=True, overwrite_a=True, check_finite=False)

    def factor(self, lam: float, c: float) -> tuple[float, Callable[[NDArray], NDArray]]:
        """Return ``ln|K|`` and ``b -> K^-1 b``."""
        factor = self._cholesky(self._squared(lam), c)
        logdet = 2.0 * float(np.log(np.diag(factor[0])).sum())
        return logdet, lambda b: linalg.cho_solve(factor, b, check_finite=False)

    def derivatives(self, lam: float, s: float) -> tuple[NDArray, NDArray]:
        """Return the gradient and the Hessian of ``ln|K|``: traces of ``K^-1 dK``."""
        c = float(np.expm1(s))
        BB = self._squared(lam)
        slope = self.sum - 2.0 * lam * self.product
        factor = self._cholesky(BB, c)
        X = linalg.cho_solve(factor, slope, check_finite=False)
        Y = linalg.cho_solve(factor, BB, check_finite=False)
        half = linalg.solve_triangular(factor[0], self.M, lower=True, check_finite=False)
        d_l, d_c = -c * np.trace(X), np.trace(Y)
        d_ll = 2.0 * c * np.sum(half * half) - c**2 * np.sum(X * X.T)
        d_lc = -np.trace(X) + c * np.sum(X * Y.T)
        d_cc = -np.sum(Y * Y.T)
        g = 1.0 + c
        return np.array([d_l, g * d_c]), np.array(
            [[d_ll, g * d_lc], [g * d_lc, g**2 * d_cc + g * d_c]]
        )


@dataclass(frozen=True)
class Sparse:
    """Sparse LDL'; ``ln|K|`` is differentiated by Chebyshev interpolation of exact values.

    The interpolation stays within a third of the distance to the nearest singularity, so its
    error is about 5.8**-NODES; rounding adds about ``1e-16 N (NODES / width)^2`` to a second
    derivative.
    """

    M: sparse.csr_array
    rows: NDArray
    columns: NDArray
    terms: NDArray

    @classmethod
    def of(cls, M: sparse.csr_array) -> Sparse:
        """Lay out I, M + M' and M M' on one upper-triangular pattern, by columns."""
        N = M.shape[0]
        parts = [sparse.eye_array(N), M + M.T, M @ M.T]
        upper = [sparse.coo_array(sparse.triu(part)) for part in parts]
        keys = [part.col.astype(np.int64) * N + part.row for part in upper]
        pattern = np.unique(np.concatenate(keys))
        terms = np.zeros((3, pattern.size))
        for term, key, part in zip(terms, keys, upper, strict=True):
            np.add.at(term, np.searchsorted(pattern, key), part.data)
        return cls(M=M, rows=pattern % N, columns=pattern // N, terms=terms)

    def _matrix(self, lam: float, c: float) -> sparse.csc_matrix:
        N = self.M.shape[0]
        identity, total, product = self.terms
        data = (1.0 + c) * identity + c * (lam**2 * product - lam * total)
        pointer = np.searchsorted(self.columns, np.arange(N + 1))
        return sparse.csc_matrix((data, self.rows, pointer), shape=(N, N))

    def factor(self, lam: float, c: float) -> tuple[float, Callable[[NDArray], NDArray]]:
        """Return ``ln|K|`` and ``b -> K^-1 b``."""
        import qdldl

        solver = qdldl.Solver(self._matrix(lam, c), upper=True)

        def solve(b: NDArray) -> NDArray:
            if b.ndim == 1:
                return np.asarray(solver.solve(b))
            return np.column_stack([solver.solve(np.ascontiguousarray(x)) for x in b.T])

        return _logdet(solver), solve

    def derivatives(self, lam: float, s: float) -> tuple[NDArray, NDArray]:
        """Return the gradient and the Hessian of ``ln|K|``, along both axes and a diagonal."""
        import qdldl

        c = float(np.expm1(s))
        solver = qdldl.Solver(self._matrix(lam, c), upper=True)
        widths = self._widths(lam, s, solver)
        nodes, first, second = _stencil()

        def along(a: float, b: float) -> tuple[float, float]:
            values = np.empty(NODES)
            for i, x in enumerate(nodes):
                solver.update(self._matrix(lam + a * x, float(np.expm1(s + b * x))), upper=True)
                values[i] = _logdet(solver)
            return float(first @ values), float(second @ values)

        g_l, h_l = along(widths[0], 0.0)
        g_s, h_s = along(0.0, widths[1])
        _, h_d = along(0.5 * widths[0], 0.5 * widths[1])
        mixed = 2.0 * h_d - 0.5 * (h_l + h_s)
        gradient = np.array([g_l, g_s]) / widths
        return gradient, np.array([[h_l, mixed], [mixed, h_s]]) / np.outer(widths, widths)

    def _widths(self, lam: float, s: float, solver: object) -> NDArray:
        """Return a third of the distances to the nearest singularities of ``ln|K|``.

        In lambda: ``K(lam + z) = K - z c (MB' + BM') + z^2 c MM'`` is singular nowhere closer
        than ``(sqrt(2) - 1) / |X|``, ``X = sqrt(c) K^-1/2 M``, because ``|sqrt(c) K^-1/2 B| < 1``.
        In s: where ``c = -1 / |B|^2``.
        """
        c = max(float(np.expm1(s)), 1e-8)
        B = sparse.csr_array(sparse.eye_array(self.M.shape[0]) - lam * self.M)
        norm = float(abs(B).sum(axis=0).max() * abs(B).sum(axis=1).max())
        x = np.cos(np.arange(self.M.shape[0]))  # near no eigenvector of a regular lattice
        size = 0.0
        for _ in range(30):
            x = c * (self.M.T @ solver.solve(self.M @ x))  # type: ignore[attr-defined]
            size = float(np.linalg.norm(x))
            x /= size
        radius_s = s - np.log1p(-1.0 / norm) if norm > 1.0 else np.pi
        return np.array([0.4 / max(np.sqrt(size), 0.4), min(radius_s, np.pi)]) / 3.0


def _logdet(solver: object) -> float:
    return float(np.log(np.asarray(solver.factors()[1])).sum())  # type: ignore[attr-defined]


def _stencil() -> tuple[NDArray, NDArray, NDArray]:
    """Chebyshev nodes on (-1, 1), and the weights of two derivatives at 0."""
    nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    coefficients = np.linalg.inv(chebyshev.chebvander(nodes, NODES - 1))
    first = chebyshev.chebder(coefficients)
    second = chebyshev.chebder(first)
    one, two = (np.asarray(chebyshev.chebval(0.0, d)) for d in (first, second))
    return nodes, one, two


def _twice(A: NDArray) -> NDArray:
    return A + A.T
