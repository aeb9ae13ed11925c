"""Two-stage least squares on projected data, and the tests of its instruments.

Everything rests on one orthonormal basis ``Q = [Q1, Q2]`` of the instruments: Q1 spans the
exogenous regressors, Q2 what the outside instruments add. Then ``X^ = Q Q'X`` and every test
is a quadratic form in ``Q2'x`` or ``Q'e`` and the covariance that the errors are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.special import chdtrc, fdtrc

from spatial_agglo.core.kernels import Kernel
from spatial_agglo.core.likelihood import COLLINEAR, EXACT
from spatial_agglo.core.meat import Meat, meat
from spatial_agglo.errors import IdentificationError, listing

#: A covariance whose correlation form has a smaller eigenvalue than this has no inverse.
SINGULAR = 1e-12


@dataclass(frozen=True, eq=False)
class Errors:
    """How the errors may vary, and what the fixed effects have taken from them.

    Attributes
    ----------
    kernel : Kernel or None
        Of the sandwich; None for independent errors of one variance.
    effects : {"none", "entity", "time", "two-way"}
        What was projected out.
    seen : ndarray of bool, shape (T, N)
        The cells that are used, one row of every array each, period slow and unit fast.
    free : int
        Cells less fixed effects.
    """

    kernel: Kernel | None
    effects: str
    seen: NDArray
    free: int

    def df(self, k: int) -> int:
        """Cells less fixed effects less k coefficients."""
        return self.free - k

    def df_test(self, k: int) -> int:
        """Denominator of an F test in a regression with k coefficients."""
        return self.df(k) if self.clusters is None else self.clusters - 1

    @cached_property
    def clusters(self) -> int | None:
        """Number of clusters (of periods under Driscoll-Kraay)."""
        ones = np.ones(int(self.seen.sum()))
        return None if self.kernel is None else self.meat(ones[:, None], ones).clusters

    def meat(self, A: NDArray, e: NDArray) -> Meat:
        """Return the covariance of ``A'e``, sandwiches only, without the count of coefficients."""
        assert self.kernel is not None
        observed = None if self.seen.all() else self.seen
        return meat(
            self.kernel,
            self.spread(A * e[:, None]),
            self.spread(e),
            effects=self.effects,
            observed=observed,
        )

    def spread(self, values: NDArray) -> NDArray:
        """Return rows of used cells as (T, N) or (T, N, k), zero in the other cells."""
        shape = (*self.seen.shape, *values.shape[1:])
        if self.seen.all():
            return values.reshape(shape)
        out = np.zeros(shape)
        out[self.seen] = values
        return out

    def of_sum(self, A: NDArray, e: NDArray, k: int) -> NDArray:
        """Return the covariance of ``A'e``, e the residuals of a regression with k coefficients.

        ``e'e / (free - k) A'A`` for errors of one variance; otherwise the meat of the kernel
        times ``free / (free - k)``.
        """
        if self.kernel is None:
            return A.T @ A * (float(e @ e) / self.df(k))
        return self.meat(A, e).matrix * (self.free / self.df(k))


@dataclass(frozen=True)
class Fitted:
    """Coefficients, residuals and what their covariance is made of."""

    b: NDArray
    e: NDArray
    Xhat: NDArray
    bread: NDArray

    def covariance(self, errors: Errors) -> NDArray:
        """Return the covariance of the coefficients."""
        V = self.bread @ errors.of_sum(self.Xhat, self.e, self.b.size) @ self.bread
        return 0.5 * (V + V.T)


@dataclass(frozen=True)
class FirstStage:
    """Strength of the instruments, one entry per endogenous regressor.

    Attributes
    ----------
    rsquared, partial_rsquared : ndarray
        Of the first stage, effects removed; of the outside instruments alone.
    F, p_value : ndarray
        Of the outside instruments; ``F(df, df_resid)``.
    conditional, conditional_p : ndarray
        Sanderson-Windmeijer: for this regressor, the others being instrumented as well;
        ``F(df - m + 1, df_resid)`` with m endogenous regressors.
    rank : (float, int)
        Wald statistic of the hypothesis that the model is not identified, and its df:
        Cragg-Donald (errors of one variance) or Kleibergen-Paap rk (else). Over df + m - 1,
        the number of instruments, it is the F.
    """

    rsquared: NDArray
    partial_rsquared: NDArray
    F: NDArray
    p_value: NDArray
    df: int
    df_resid: int
    conditional: NDArray
    conditional_p: NDArray
    rank: tuple[float, int]


def triangle(A: NDArray) -> tuple[NDArray, NDArray]:
    """Return Q and R of ``A = Q R``, the columns of A scaled to unit length."""
    scaled = np.asfortranarray(A / np.sqrt(np.einsum("ij,ij->j", A, A)))
    Q, R = linalg.qr(scaled, mode="economic", overwrite_a=True, check_finite=False)
    return Q, R


def dependent(R: NDArray, names: tuple[str, ...]) -> tuple[str, list[str]] | None:
    """Find the first column that is a linear combination of those before it, and name these."""
    for j in range(1, len(names)):
        if R[j, j] ** 2 < COLLINEAR * j:
            combination = linalg.solve_triangular(R[:j, :j], R[:j, j])
            return names[j], [names[i] for i in np.flatnonzero(np.abs(combination) > 1e-6)]
    return None


def two_stage(Q: NDArray, X: NDArray, y: NDArray, names: tuple[str, ...]) -> Fitted:
    """Estimate ``b = (X'QQ'X)^-1 X'QQ'y``.

    Raises
    ------
    IdentificationError
        The fitted regressors are collinear, or nothing is left to explain.
    """
    scale = np.sqrt(np.einsum("ij,ij->j", X, X))
    P = Q.T @ X / scale
    told = np.sum(P**2, axis=0)
    if np.any(told < COLLINEAR):
        raise IdentificationError(
            f"The instruments tell nothing of {names[int(np.argmin(told))]!r}: its coefficient is "
            "not identified. Other instruments are needed."
        )
    U, R = triangle(P)
    found = dependent(R, names)
    if found:
        raise IdentificationError(
            f"What the instruments tell of {found[0]!r} is a combination of what they tell of "
            f"{listing(found[1])}: the coefficients are not identified. Other instruments are "
            "needed."
        )
    units = scale * np.sqrt(told)
    b = linalg.solve_triangular(R, U.T @ (Q.T @ y)) / units
    e = y - X @ b
    if e @ e <= EXACT * (y @ y):
        raise IdentificationError(
            "The regressors and effects explain the outcome exactly: the residual variance is "
            "zero. Is a regressor a copy of the outcome?"
        )
    inverse = linalg.solve_triangular(R, np.eye(b.size)) / units[:, None]
    return Fitted(b, e, Q @ (P * scale), inverse @ inverse.T)


def first_stage(
    Q: NDArray, X: NDArray, endogenous: list[int], errors: Errors, *, centred: bool
) -> FirstStage:
    """Measure the strength of the instruments; ``centred``: the model has an intercept."""
    r = reduced_form(Q, X, endogenous)
    Q2, C2, V, q, q2, m = r.Q2, r.C2, r.V, Q.shape[1], r.Q2.shape[1], len(endogenous)
    Y = X[:, endogenous]
    left, partial = np.sum(V**2, axis=0) * r.size**2, np.sum(C2**2, axis=0)
    total = np.sum((Y - Y.mean(axis=0)) ** 2 if centred else Y**2, axis=0)
    rsquared = 1.0 - left / total
    df_resid = errors.df_test(q)
    F, conditional = np.empty(m), np.empty(m)
    for j in range(m):
        F[j] = quadratic(C2[:, j], errors.of_sum(Q2, V[:, j], q)) / q2
        others = [i for i in range(m) if i != j]
        conditional[j] = _conditional(C2, V, Q2, j, others, errors, q) / (q2 - m + 1)
    return FirstStage(
        rsquared=rsquared,
        partial_rsquared=partial,
        F=F,
        p_value=fdtrc(q2, df_resid, F),
        df=q2,
        df_resid=df_resid,
        conditional=conditional,
        conditional_p=fdtrc(q2 - m + 1, df_resid, conditional),
        rank=(rank_wald(r, errors, q), q2 - m + 1),
    )


@dataclass(frozen=True, eq=False)
class ReducedForm:
    """What the outside instruments tell of the endogenous regressors, exogenous ones taken out.

    ``Y / size = Q2 C2 + V``, every column of length one.

    Attributes
    ----------
    Q2 : ndarray, shape (n, q2)
    C2 : ndarray, shape (q2, m)
    V : ndarray, shape (n, m)
    size : ndarray, shape (m,)
    """

    Q2: NDArray
    C2: NDArray
    V: NDArray
    size: NDArray


def reduced_form(Q: NDArray, X: NDArray, endogenous: list[int]) -> ReducedForm:
    """Split the endogenous columns of X between the outside instruments and the rest."""
    q1 = X.shape[1] - len(endogenous)
    Y = X[:, endogenous]
    C = Q.T @ Y
    V, C2 = Y - Q @ C, C[q1:]
    size = np.sqrt(np.sum(C2**2, axis=0) + np.einsum("ij,ij->j", V, V))
    return ReducedForm(Q[:, q1:], C2 / size, V / size, size)


def rank_wald(r: ReducedForm, errors: Errors, q: int) -> float:
    """Return the Wald statistic of Kleibergen & Paap (2006): rank m - 1 against m.

    The moments of :func:`_weakest`, their covariance from the residuals of the first stages
    with q instruments. Cragg & Donald's for errors of one variance.
    """
    weakest, free = _weakest(r)
    return quadratic(free.T @ (r.C2 @ weakest), errors.of_sum(r.Q2 @ free, r.V @ weakest, q))


def rank_lm(r: ReducedForm, errors: Errors) -> float:
    """Return the score statistic of Kleibergen & Paap (2006): rank m - 1 against m.

    As :func:`rank_wald`, the covariance from the endogenous regressors themselves, exogenous
    ones taken out, as when the instruments tell nothing of them. For errors of one variance
    Anderson's, ``free`` times the smallest squared canonical correlation.
    """
    weakest, free = _weakest(r)
    y = (r.Q2 @ r.C2 + r.V) @ weakest
    return quadratic(free.T @ (r.C2 @ weakest), errors.of_sum(r.Q2 @ free, y, 0))


def _conditional(
    C2: NDArray, V: NDArray, Q2: NDArray, j: int, others: list[int], errors: Errors, q: int
) -> float:
    """Return the Wald statistic of Sanderson & Windmeijer (2016) for one regressor.

    The others are taken out of it by 2SLS; what the instruments still tell of it lies in the
    q2 - m + 1 directions orthogonal to what they tell of the others.
    """
    if not others:
        return quadratic(C2[:, j], errors.of_sum(Q2, V[:, j], q))
    delta = linalg.lstsq(C2[:, others], C2[:, j])[0]
    free = linalg.null_space(C2[:, others].T)
    v = V[:, j] - V[:, others] @ delta
    return quadratic(free.T @ C2[:, j], errors.of_sum(Q2 @ free, v, q))


def _weakest(r: ReducedForm) -> tuple[NDArray, NDArray]:
    """Return what the rank tests look at, from the singular values of the canonical correlations.

    The combination of the endogenous regressors that the instruments tell least about, and
    the directions of the instruments that its singular vector leaves.
    """
    m = r.C2.shape[1]
    whiten = linalg.inv(linalg.cholesky(r.C2.T @ r.C2 + r.V.T @ r.V))
    U, _, Rt = linalg.svd(r.C2 @ whiten)
    return whiten @ Rt[-1], U[:, m - 1 :]


def overidentification(
    Q: NDArray, X: NDArray, y: NDArray, fitted: Fitted, errors: Errors
) -> tuple[float, int]:
    """Return Sargan's statistic (errors of one variance) or Hansen's J (else), and its df.

    Sargan: ``free e'QQ'e / e'e``. J: the minimum over b of
    ``g(b)' S^-1 g(b)``, ``g(b) = Q'(y - X b)``, S the covariance of ``Q'e`` at the 2SLS
    residuals: that is, at the two-step GMM estimate.
    """
    df = Q.shape[1] - X.shape[1]
    if df == 0:
        return np.nan, 0
    S = errors.of_sum(Q, fitted.e, 0)
    if errors.kernel is None:
        return quadratic(Q.T @ fitted.e, S), df
    if singular(S):
        return np.nan, df
    L = linalg.cholesky(S, lower=True)
    scale = np.sqrt(np.einsum("ij,ij->j", X, X))
    A = linalg.solve_triangular(L, Q.T @ (X / scale), lower=True)
    g = linalg.solve_triangular(L, Q.T @ y, lower=True)
    return float(np.sum((g - A @ linalg.lstsq(A, g)[0]) ** 2)), df


def endogeneity(
    Q: NDArray,
    X: NDArray,
    y: NDArray,
    tested: list[int],
    errors: Errors,
    names: tuple[str, ...],
) -> tuple[float, int]:
    """Return the Wald statistic of Durbin, Wu and Hausman, and its df.

    The first-stage residuals of the tested regressors are added to the equation, as regressors
    and as instruments; their coefficients are zero when the regressors are exogenous.
    """
    Y = X[:, tested]
    V = Y - Q @ (Q.T @ Y)
    extra = tuple(f"residual of {names[j]}" for j in tested)
    fitted = two_stage(np.hstack([Q, triangle(V)[0]]), np.hstack([X, V]), y, (*names, *extra))
    m = len(tested)
    return quadratic(fitted.b[-m:], fitted.covariance(errors)[-m:, -m:]), m


def quadratic(g: NDArray, S: NDArray) -> float:
    """Return ``g' S^-1 g``, NaN when S is singular (fewer clusters than restrictions)."""
    if singular(S):
        return np.nan
    scale = np.sqrt(np.diag(S))
    g = g / scale
    return float(g @ linalg.solve(S / np.outer(scale, scale), g, assume_a="pos"))


def chi2_p(statistic: float, df: int) -> float:
    """Return the p value of a chi-squared statistic."""
    return float(chdtrc(df, statistic)) if df else np.nan


def singular(S: NDArray) -> bool:
    """Tell whether a covariance has no inverse."""
    scale = np.sqrt(np.diag(S))
    if not np.all(scale > 0):
        return True
    return bool(np.linalg.eigvalsh(S / np.outer(scale, scale))[0] < SINGULAR)
