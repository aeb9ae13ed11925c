"""Lagrange multiplier tests of random unit effects and spatial errors (Baltagi, Song & Koh)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtr

from spatial_agglo.core.moments import lag
from spatial_agglo.core.traces import resolvent
from spatial_agglo.diagnostics.table import About, described
from spatial_agglo.errors import IdentificationError, WeightsError, check_option
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel

SOURCE = "Baltagi, Song & Koh (2003)"


def bsk_tests(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    form: str = "baltagi",
    alternative: str = "positive",
    variance: str = "exact",
) -> pd.DataFrame:
    """Test for random unit effects and for a spatial error process, jointly and one by one.

    ::

        y_t = X_t b + u_t,   u_t = mu + (I - lambda W)^-1 e_t,   mu ~ (0, s2_mu),   e ~ (0, s2)

        LM-H         s2_mu = 0 and lambda = 0; one-sided, 1/4 chi2(0) + 1/2 chi2(1) + 1/4 chi2(2)
        LM1, SLM1    s2_mu = 0, taking lambda = 0 for granted; SLM1 is standardised
        LM2, SLM2    lambda = 0, taking s2_mu = 0 for granted; SLM2 is Moran's I of the residuals
        CLM mu       s2_mu = 0, whatever lambda is
        CLM lambda   lambda = 0, whatever s2_mu is

    All but LM-H are standard normal, and large values speak against the null. The first five rest
    on OLS, CLM mu on the spatial error model and CLM lambda on random effects.

    Parameters
    ----------
    formula : str
    panel : Panel
        Balanced.
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
    form : {"baltagi", "kkp"}
        The conditional tests: unit effects outside the error process, as above, or inside,
        ``u_t = (I - lambda W)^-1 (mu + e_t)`` (Kapoor, Kelejian & Prucha 2007).
    alternative : {"positive", "either"}
        The sign of lambda. A variance is never negative, but lambda may be: "either" makes p
        values of LM2, SLM2 and CLM lambda two-sided, and LM-H then adds LM2^2 whatever its sign
        (1/2 chi2(1) + 1/2 chi2(2)).
    variance : {"exact", "splm"}
        Of SLM2. "exact" has the variance of a quadratic form in ``(W + W')/2``; "splm" takes W
        for symmetric, as ``splm::bsktest`` does, and is for replication.

    Returns
    -------
    DataFrame
        One row per test: ``statistic``, ``df``, ``p_value``; ``.attrs["tests"]`` has the null,
        the distribution and the source of every row.

    Raises
    ------
    IdentificationError
        One period only.
    WeightsError
        No weights, or cells are missing.

    Notes
    -----
    ``splm::bsktest`` prints twice these one-sided p values, and CLM mu and CLM lambda without
    their sign.

    References
    ----------
    Baltagi, Song & Koh (2003); Honda (1985, 1991) for LM1 and its standardisation; Gourieroux,
    Holly & Monfort (1982) for the mixture.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> bsk_tests("logc ~ logp + logy", panel, W)["statistic"].round(2).to_dict()
    {'LM-H': 10644.17, 'LM1': 102.43, 'SLM1': 104.86, 'LM2': 12.37, 'SLM2': 12.49,
    'CLM mu': 109.96, 'CLM lambda': 15.76}
    """
    check_option("form", form, ("baltagi", "kkp"))
    check_option("alternative", alternative, ("positive", "either"))
    check_option("variance", variance, ("exact", "splm"))
    space = Workspace.of(formula, panel, W)
    if space.W is None:
        raise WeightsError("These tests need spatial weights W; got None.")
    if panel.T < 2:
        raise IdentificationError(
            f"Random unit effects need at least two periods; the panel has {panel.T}."
        )
    spec = ModelSpec.of("ols", effects="none")
    pooled = fit(spec, space)
    lm1, lm2 = _marginal(pooled)
    either = alternative == "either"
    values = {
        "LM-H": max(lm1, 0.0) ** 2 + (lm2 if either else max(lm2, 0.0)) ** 2,
        "LM1": lm1,
        "SLM1": _standardized_effects(pooled),
        "LM2": lm2,
        "SLM2": _standardized_errors(pooled, as_splm=variance == "splm"),
        "CLM mu": _effects_given_errors(fit(replace(spec, model="sem"), space), form),
        "CLM lambda": _errors_given_effects(fit(replace(spec, effects="random"), space), form),
    }
    rows, about = {}, {}
    for name, value in values.items():
        free = either and name in ("LM2", "SLM2", "CLM lambda")
        df: object = pd.NA
        if name == "LM-H":
            p, distribution = mixture(value, either)
        elif free:
            p, distribution = float(2.0 * ndtr(-abs(value))), "standard normal, two-sided"
        else:
            p, distribution = float(ndtr(-value)), "standard normal, one-sided"
        rows[name] = (float(value), df, p)
        about[name] = About(_NULLS[name], distribution, SOURCE)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["statistic", "df", "p_value"])
    table.index.name = "test"
    return described(table.astype({"statistic": float, "df": "Int64", "p_value": float}), about)


_NULLS = {
    "LM-H": "no unit effects and lambda = 0",
    "LM1": "no unit effects, given lambda = 0",
    "SLM1": "no unit effects, given lambda = 0",
    "LM2": "lambda = 0, given no unit effects",
    "SLM2": "lambda = 0, given no unit effects",
    "CLM mu": "no unit effects, whatever lambda is",
    "CLM lambda": "lambda = 0, whatever the unit effects are",
}


def mixture(value: float, either: bool = False) -> tuple[float, str]:
    """Return the p value of LM-H, and its distribution in words."""
    one, two = (float(chdtrc(df, max(value, 0.0))) for df in (1, 2))
    if either:
        return 0.5 * one + 0.5 * two, "1/2 chi2(1) + 1/2 chi2(2)"
    return (
        0.5 * one + 0.25 * two if value > 0.0 else 1.0
    ), "1/4 chi2(0) + 1/2 chi2(1) + 1/4 chi2(2)"


def _marginal(pooled: FitResult) -> tuple[float, float]:
    """Return LM1 and LM2.

    ``LM1 = sqrt(NT/(2(T-1))) (e'(J_T x I)e/e'e - 1)``, ``LM2 = sqrt(N^2 T/b) e'(I x W)e/e'e`` with
    ``b = tr(WW + W'W)``.
    """
    e = pooled.resid
    T, N = e.shape
    W = _weights(pooled.workspace)
    total = float((e * e).sum())
    G = float((e.sum(axis=0) ** 2).sum()) / total - 1.0
    H = float((e * lag(W.operator, e)).sum()) / total
    found = resolvent(W.matrix, 0.0)
    b = found.squared + found.frobenius
    return float(np.sqrt(N * T / (2.0 * (T - 1))) * G), float(np.sqrt(N * N * T / b) * H)


@dataclass(frozen=True)
class QuadraticForm:
    """A symmetric D as ``e'De/e'e`` of regression residuals needs it.

    Attributes
    ----------
    value : float
        ``e'De/e'e``.
    trace, square : float
        tr(D), tr(DD).
    single, double : ndarray, shape (k, k)
        ``(X'X)^-1 X'DX`` and ``(X'X)^-1 X'DDX``.
    """

    value: float
    trace: float
    square: float
    single: NDArray
    double: NDArray

    def standardized(self, cells: int) -> float:
        """Return the value less its mean, in standard deviations, under normality.

        With ``M = I - X (X'X)^-1 X'`` of rank s: ``E = tr(DM)/s`` and
        ``Var = 2 [s tr(DMDM) - tr(DM)^2] / (s^2 (s + 2))``.
        """
        s = cells - self.single.shape[0]
        first = self.trace - float(np.trace(self.single))
        second = self.square - 2.0 * float(np.trace(self.double))
        second += float(np.trace(self.single @ self.single))
        variance = 2.0 * (s * second - first**2) / (s**2 * (s + 2.0))
        return float((self.value - first / s) / np.sqrt(variance))


def _standardized_effects(pooled: FitResult) -> float:
    """Return SLM1: ``D = J_T x I``, whose square is T D."""
    e = pooled.resid
    T, N = e.shape
    X = _regressors(pooled)
    sums = X.sum(axis=0)
    single = np.linalg.solve(_cross(X, X), sums.T @ sums)
    value = float((e.sum(axis=0) ** 2).sum() / (e * e).sum())
    form = QuadraticForm(value, float(N * T), float(N * T * T), single, T * single)
    return form.standardized(N * T)


def _standardized_errors(pooled: FitResult, *, as_splm: bool) -> float:
    """Return SLM2: ``D = I x (W + W')/2``; splm takes D = I x W for symmetric."""
    e = pooled.resid
    T, N = e.shape
    W = _weights(pooled.workspace)
    X = _regressors(pooled)
    gram = _cross(X, X)
    ahead = lag(W.operator, X)
    found = resolvent(W.matrix, 0.0)
    if as_splm:
        square = T * found.squared
        single, double = _cross(X, ahead), _cross(X, lag(W.operator, ahead))
    else:
        both = 0.5 * (ahead + lag(W.operator.T, X))
        square = 0.5 * T * (found.squared + found.frobenius)
        single, double = _cross(X, both), _cross(both, both)
    value = float((e * lag(W.operator, e)).sum() / (e * e).sum())
    trace = T * float(found.diagonal.sum())
    form = QuadraticForm(
        value, trace, square, np.linalg.solve(gram, single), np.linalg.solve(gram, double)
    )
    return form.standardized(N * T)


def _errors_given_effects(random: FitResult, form: str) -> float:
    """Return CLM lambda, from a regression with random effects.

    With ``s1 = T s2_mu + s2``, ``Jbar`` and E the averages over time and the deviations from
    them: score ``u'[(a Jbar + E/s2) x W]u`` and information ``(T - 1 + a^2 s1^2) b``, with
    ``a = s2/s1^2`` for baltagi and ``a = 1/s1`` for kkp.
    """
    space = random.workspace
    u = _errors(random)
    T, N = u.shape
    W = _weights(space)
    mean = u.mean(axis=0)
    deviations = u - mean
    s2 = float((deviations**2).sum()) / (N * (T - 1))
    s1 = T * float((mean**2).sum()) / N
    if s1 <= s2:  # no unit effects: the restricted maximum is the regression's
        s1 = s2 = float((u**2).sum()) / (N * T)
    a = s2 / s1**2 if form == "baltagi" else 1.0 / s1
    score = T * a * float(mean @ (W.matrix @ mean))
    score += float((deviations * lag(W.operator, deviations)).sum()) / s2
    found = resolvent(W.matrix, 0.0)
    b = found.squared + found.frobenius
    return float(score / np.sqrt((T - 1 + (a * s1) ** 2) * b))


def _effects_given_errors(sem: FitResult, form: str) -> float:
    """Return CLM mu, from the spatial error model.

    With ``B = I - lambda W``, ``H = W B^-1`` and ``U = sum_t u_t``: score of s2_mu
    ``-T h/(2 s2) + |B'B U|^2/(2 s2^2)``, ``h = tr(B'B)``, and its variance after lambda and s2
    have been partialled out
    ``T/(2 s2^2) {T e - [h^2 c - 2 g h d + d^2 N]/(N c - g^2)}`` with ``e = tr((B'B)^2)``,
    ``c = 2 tr(HH + H'H)``, ``g = 2 tr(H)``, ``d = 2 tr(W'B)`` (baltagi). For kkp, Breusch and
    Pagan's test of the filtered residuals.
    """
    space, lam = sem.workspace, sem.estimate.lam
    W = _weights(space).matrix
    u = _errors(sem)
    T, N = u.shape
    filtered = u - lam * lag(W, u)
    s2 = float((filtered**2).sum()) / (N * T)
    total = filtered.sum(axis=0)  # B U
    if form == "kkp":
        score = (float(total @ total) / s2 - N * T) / (2.0 * s2)
        return float(score / np.sqrt(N * T * (T - 1) / (2.0 * s2**2)))
    twice = total - lam * (W.T @ total)  # B'B U
    found = resolvent(W, lam)
    squares, trace = float((W.data**2).sum()), float(W.diagonal().sum())
    h = N - 2.0 * lam * trace + lam**2 * squares
    BB = -lam * (W + W.T) + lam**2 * (W.T @ W)
    e = N + 2.0 * float(BB.diagonal().sum()) + float((BB.multiply(BB)).sum())
    c = 2.0 * (found.squared + found.frobenius)
    g = 2.0 * float(found.diagonal.sum())
    d = 2.0 * (trace - lam * squares)
    score = (float(twice @ twice) / s2 - T * h) / (2.0 * s2)
    taken = (h**2 * c - 2.0 * g * h * d + d**2 * N) / (N * c - g**2)
    return float(score / np.sqrt(T / (2.0 * s2**2) * (T * e - taken)))


def _weights(space: Workspace) -> Any:
    assert space.W is not None
    return space.W


def _regressors(found: FitResult) -> NDArray:
    """Return the regressors, intercept included, shape (T, N, k)."""
    space, spec = found.workspace, found.spec
    columns, _ = space.regressors(spec)
    return space.arrays(spec, [""])[:, :, [column for _, column in columns]]


def _errors(found: FitResult) -> NDArray:
    """Return ``y - X b`` with what unit effects and error process leave in it, shape (T, N)."""
    space, spec = found.workspace, found.spec
    columns, _ = space.regressors(spec)
    weights = {("", 0): 1.0}
    weights |= dict(zip(columns, (-found.estimate.gamma).tolist(), strict=True))
    return space.combination(spec, weights)


def _cross(A: NDArray, B: NDArray) -> NDArray:
    return np.tensordot(A, B, axes=([0, 1], [0, 1]))
