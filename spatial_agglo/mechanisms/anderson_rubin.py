"""Anderson-Rubin tests: inference on instrumented coefficients however weak the instruments."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.special import fdtri

from spatial_agglo.core.kernels import Conley, TwoWayClustered
from spatial_agglo.errors import IdentificationError, OptionError, check_level
from spatial_agglo.models import first_stage as stage
from spatial_agglo.models.instruments import Design

#: A root of the quadratic eigenvalue problem is real when its imaginary part is below this share.
REAL = 1e-7
#: Failure of the parallelogram law, over its terms, that is not rounding.
QUADRATIC = 1e-8
#: Why there is no set.
REPAIRED = (
    "The covariance of the moments is not positive at all values of the coefficient, so that "
    "negative eigenvalues are set to zero and the set has no exact solution. Use clusters of one "
    "kind, cov='robust' or 'driscoll-kraay'; anderson_rubin_test(...) tests single values."
)


@dataclass(frozen=True)
class ConfidenceSet:
    """The values of a coefficient that a test does not reject.

    Attributes
    ----------
    intervals : tuple of (float, float)
        In order; ends are -inf and inf where the set has none.
    level : float
    critical : float
        Of the F statistic.

    Examples
    --------
    >>> ConfidenceSet(((-np.inf, -1.0), (2.0, np.inf)), 0.95, 3.9)
    (-inf, -1] and [2, inf)
    >>> ConfidenceSet((), 0.95, 3.9).kind
    'empty'
    """

    intervals: tuple[tuple[float, float], ...]
    level: float
    critical: float

    @property
    def kind(self) -> str:
        """What the set is: "interval", "half-line", "union", "line" or "empty".

        "line": the data say nothing of the coefficient. "empty": no value fits, which speaks
        against the instruments. "union": of two or more pieces.
        """
        if not self.intervals:
            return "empty"
        if len(self.intervals) > 1:
            return "union"
        return ("interval", "half-line", "line")[int(np.isinf(self.intervals[0]).sum())]

    def __contains__(self, value: float) -> bool:
        return any(low <= value <= high for low, high in self.intervals)

    def __repr__(self) -> str:
        if not self.intervals:
            return "{}"
        return " and ".join(
            ("(-inf" if np.isinf(low) else f"[{low:.6g}")
            + ", "
            + ("inf)" if np.isinf(high) else f"{high:.6g}]")
            for low, high in self.intervals
        )


def statistic(d: Design, errors: stage.Errors, values: NDArray) -> tuple[float, float]:
    """Return the F and chi-squared statistics of the hypothesis that the coefficients are these.

    ::

        y - Y b = X gamma + Z delta + e,    H0: delta = 0

    With q instruments, exogenous regressors included, q2 of them outside, ``free = cells -
    fixed effects``: ``chi2 = d' V^-1 d``, V with the factors of the covariance and no count of
    coefficients, and ``F = chi2 (free - q) / (free q2)``.
    """
    q1 = d.X.shape[1] - len(d.endogenous)
    u = d.y - d.X[:, d.endogenous] @ values
    moments = d.Q.T @ u
    S = errors.of_sum(d.Q[:, q1:], u - d.Q @ moments, 0)
    chi2 = stage.quadratic(moments[q1:], S)
    q = d.Q.shape[1]
    return chi2 * errors.df(q) / (errors.free * (q - q1)), chi2


def confidence_set(d: Design, errors: stage.Errors, level: float) -> ConfidenceSet:
    """Return the values b of the only instrumented coefficient that the F test does not reject.

    The moments ``g(b) = g0 - b g1`` are linear and their covariance ``S(b) = S0 - b S1 + b^2 S2``
    is quadratic in b, so ``g' S^-1 g = c`` where ``det(c S(b) - g(b) g(b)') = 0``. For errors of
    one variance S is a multiple of the identity, and this is a quadratic equation; otherwise it
    is a quadratic eigenvalue problem of the size of the instruments, whose real eigenvalues are
    all the ends there are. Nothing is searched on a grid.

    Raises
    ------
    OptionError
        More than one endogenous regressor; a level outside (0, 1); a covariance that is repaired
        to be positive definite, so that it is not quadratic in b.
    IdentificationError
        The covariance of the moments is singular: more instruments than clusters.
    """
    if len(d.endogenous) != 1:
        raise OptionError(
            f"The confidence set is for one endogenous regressor; there are {len(d.endogenous)}. "
            "Test values of all of them with anderson_rubin_test({...})."
        )
    check_level(level)
    q1, q = d.X.shape[1] - 1, d.Q.shape[1]
    Q2, x = d.Q[:, q1:], d.X[:, d.endogenous[0]]
    q2 = q - q1
    critical = float(fdtri(q2, errors.df_test(q), level))
    # Measured from the 2SLS estimate in units of its scale, so that roots are of order one.
    centre, unit = _scale(d)
    u, v = d.y - centre * x, unit * x
    g = np.column_stack([Q2.T @ u, Q2.T @ v])
    u, v = u - d.Q @ (d.Q.T @ u), v - d.Q @ (d.Q.T @ v)
    if errors.kernel is None:
        roots = _scalar_roots(g, np.array([u @ u, u @ v, v @ v]), critical * q2 / errors.df(q))
    else:
        S = [errors.of_sum(Q2, e, q) for e in (u, v, u - v, u + v)]
        cross = 0.25 * (S[3] - S[2])
        _check_quadratic(S, g, cross, errors)
        roots = _roots(g, S[0], cross, S[1], critical * q2)

    def F(t: float) -> float:
        return statistic(d, errors, np.array([centre + unit * t]))[0]

    edges = [-np.inf, *roots, np.inf]
    pieces: list[list[float]] = []
    for low, high in pairwise(edges):
        if F(_inner(low, high)) > critical:
            continue
        if pieces and pieces[-1][1] == low:
            pieces[-1][1] = high
        else:
            pieces.append([low, high])
    intervals = tuple((centre + unit * low, centre + unit * high) for low, high in pieces)
    return ConfidenceSet(intervals, float(level), critical)


def _scale(d: Design) -> tuple[float, float]:
    """Return the 2SLS estimate, and the standard deviation of its error over that of x."""
    fitted = stage.two_stage(d.Q, d.X, d.y, d.labels)
    j = d.endogenous[0]
    others = [i for i in range(d.X.shape[1]) if i != j]
    x = d.X[:, j]
    if others:
        x = x - d.X[:, others] @ linalg.lstsq(d.X[:, others], x)[0]
    return float(fitted.b[j]), float(np.sqrt((fitted.e @ fitted.e) / (x @ x)))


def _scalar_roots(g: NDArray, e: NDArray, share: float) -> list[float]:
    """Solve ``g(t)'g(t) = share e(t)'e(t)``, ``g(t) = g0 - t g1`` and ``e(t)`` likewise."""
    a0 = g[:, 0] @ g[:, 0] - share * e[0]
    a1 = -2.0 * (g[:, 0] @ g[:, 1] - share * e[1])
    a2 = g[:, 1] @ g[:, 1] - share * e[2]
    return _distinct(np.roots([a2, a1, a0]).astype(complex))


def _roots(g: NDArray, S0: NDArray, cross: NDArray, S2: NDArray, c: float) -> list[float]:
    """Return the real t at which ``g(t)' S(t)^-1 g(t) = c``, ``S(t) = S0 - 2 t cross + t^2 S2``."""
    if stage.singular(S0) or stage.singular(S2):
        raise IdentificationError(
            "The Anderson-Rubin set needs a covariance of the moments that is not singular: there "
            "are more instruments than the clusters (or periods) can tell apart. Use fewer "
            "instruments, or other clusters."
        )
    L = linalg.cholesky(S0, lower=True)

    def white(A: NDArray) -> NDArray:
        half = linalg.solve_triangular(L, A, lower=True)
        return np.asarray(linalg.solve_triangular(L, half.T, lower=True))

    k = g.shape[0]
    M0 = c * np.eye(k) - white(np.outer(g[:, 0], g[:, 0]))
    M1 = -2.0 * c * white(cross) + white(np.outer(g[:, 0], g[:, 1]) + np.outer(g[:, 1], g[:, 0]))
    M2 = c * white(S2) - white(np.outer(g[:, 1], g[:, 1]))
    identity, zero = np.eye(k), np.zeros((k, k))
    A = np.block([[zero, identity], [-M0, -M1]])
    B = np.block([[identity, zero], [zero, M2]])
    alpha, beta = linalg.eig(A, B, right=False, homogeneous_eigvals=True)
    finite = np.abs(beta) > REAL**2 * np.abs(alpha)
    return _distinct(alpha[finite] / beta[finite])


def _distinct(roots: NDArray) -> list[float]:
    """Return the real ones in order. One too many does no harm: both its sides are tested."""
    real = np.abs(roots.imag) <= REAL * (1.0 + np.abs(roots.real))
    return [float(t) for t in np.unique(roots[real].real)]


def _inner(low: float, high: float) -> float:
    """Return a point between two edges."""
    if np.isinf(low) and np.isinf(high):
        return 0.0
    if np.isinf(low):
        return high - 1.0 - abs(high)
    if np.isinf(high):
        return low + 1.0 + abs(low)
    return 0.5 * (low + high)


def _check_quadratic(S: list[NDArray], g: NDArray, cross: NDArray, errors: stage.Errors) -> None:
    """Raise when a covariance is repaired at some values: it is no quadratic form in them.

    Then it does not follow the parallelogram law where it is evaluated, or turns indefinite
    elsewhere. Sums over one way of clusters or periods are positive whatever the value.
    """
    gap = S[2] + S[3] - 2.0 * (S[0] + S[1])
    if np.abs(gap).max() > QUADRATIC * max(np.abs(part).max() for part in S):
        raise OptionError(REPAIRED)
    indefinite = isinstance(errors.kernel, (TwoWayClustered, Conley))
    if indefinite and _roots(np.zeros_like(g), S[0], cross, S[1], 1.0):
        raise OptionError(REPAIRED)
