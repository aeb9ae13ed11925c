"""Score tests: directed at the Durbin models, and of any model of the family in a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.core import information
from spatial_agglo.core.coupling import Coupling, reduce_balanced, reduce_irregular
from spatial_agglo.core.likelihood import Estimate, Filtered, solve_spd
from spatial_agglo.core.moments import Column, lag
from spatial_agglo.core.traces import resolvent
from spatial_agglo.core.within import Projector
from spatial_agglo.diagnostics.cross_section import About, described
from spatial_agglo.diagnostics.projection import projected_traces
from spatial_agglo.diagnostics.table import chi2_table
from spatial_agglo.errors import IdentificationError, OptionError, WeightsError, check_option
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import MODELS, ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel

#: An information matrix, scaled to ones on its diagonal, with a smaller eigenvalue is singular.
SINGULAR = 1e-9
KOLEY_BERA = "Koley & Bera (2024)"


def directed_tests(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    durbin: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Test the regression without spatial terms against the Durbin models.

    With ``d_r``, ``d_l`` the scores of rho and lambda and ``T_W`` as in
    :func:`spatial_agglo.lm_tests`, ``d_t = (WX)'e/s2``, and with
    ``J = [WXb, WX]' M [WXb, WX] / s2`` (T_W added to its first element) for (rho, theta)::

        LM WX                theta = 0          d_t' J_tt^-1 d_t
        LM SDM               rho = theta = 0    (d_r, d_t)' J^-1 (d_r, d_t)
        robust LM WX         theta = 0, whatever rho is, if small     LM SDM - LM lag
        robust LM lag (WX)   rho = 0, whatever theta is, if small     LM SDM - LM WX
        LM SDEM              lambda = theta = 0                       LM error + LM WX

    Parameters
    ----------
    formula : str
    panel : Panel
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
    effects, likelihood : str
        As for :func:`spatial_agglo.lm_tests`, whose counts and centring are used.
    durbin : list of str, optional
        The regressors whose lag is tested; all of them by default.

    Returns
    -------
    DataFrame
        One row per test: ``statistic``, ``df``, ``p_value``; ``.attrs["tests"]`` has the null,
        the distribution and the source of every row.

    Raises
    ------
    IdentificationError
        The lags of the regressors are combinations of the regressors themselves.

    Notes
    -----
    Where the lags of all regressors are tested, "robust LM lag (WX)" is "LM error" of
    :func:`spatial_agglo.lm_tests` in other words (but for an intercept with weights that are
    not row-standardised): the lag of the fitted values is a combination of WX, and what is left
    of rho is ``e'We``. Regression residuals cannot tell the SDM from the SDEM.

    References
    ----------
    Koley & Bera (2024), To use, or not to use the spatial Durbin model? That is the question;
    Bera & Yoon (1993).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> directed_tests("logc ~ logp + logy", panel, W)["df"].to_dict()
    {'LM WX': 2, 'robust LM WX': 2, 'robust LM lag (WX)': 1, 'LM SDM': 3, 'LM SDEM': 3}
    """
    spec = ModelSpec.of("slx", effects=effects, likelihood=likelihood, durbin=durbin)
    space = Workspace.of(formula, panel, W)
    space.moments(spec)  # names collinear lags
    base = fit(replace(spec, model="ols", durbin=None), space)
    at = Regression.of(base, spec)
    k = len(spec.lagged(space.data))
    theta = list(range(1, 1 + k))
    lm_wx, lm_lag, lm_error = at.statistic(theta), at.statistic([0]), at.statistic([1 + k])
    lm_sdm = at.statistic([0, *theta])
    rows = {
        "LM WX": (lm_wx, k, "theta = 0"),
        "robust LM WX": (lm_sdm - lm_lag, k, "theta = 0, for small rho"),
        "robust LM lag (WX)": (lm_sdm - lm_wx, 1, "rho = 0, for small theta"),
        "LM SDM": (lm_sdm, k + 1, "rho = 0, theta = 0"),
        "LM SDEM": (lm_error + lm_wx, k + 1, "lambda = 0, theta = 0"),
    }
    table = chi2_table({name: (value, df) for name, (value, df, _) in rows.items()})
    return described(
        table,
        {name: About(null, f"chi2({df})", KOLEY_BERA) for name, (_, df, null) in rows.items()},
    )


@dataclass(frozen=True)
class Regression:
    """Scores of (rho, theta, lambda) at a regression, and their covariance.

    Attributes
    ----------
    score : ndarray, shape (k + 2,)
    covariance : ndarray, shape (k + 2, k + 2)
        The information after beta and sigma2 have been partialled out.
    """

    score: NDArray
    covariance: NDArray

    @classmethod
    def of(cls, base: FitResult, larger: ModelSpec) -> Regression:
        """Evaluate at a fit of ols or slx; theta belongs to the lags that only `larger` has."""
        space, spec = base.workspace, base.spec
        if space.W is None:
            raise WeightsError("Score tests of spatial terms need weights W; there are none.")
        T, N = space.data.panel.shape
        n = spec.counts(N, T, space.row_standardized).n
        e = base.resid
        s2 = float((e * e).sum()) / n
        have, _ = space.regressors(spec)
        every, _ = space.regressors(larger)
        new = [column for column in every if column not in have]
        X, D = (_columns(space, larger, columns) for columns in (have, new))
        outcome = space.arrays(spec, [""])[:, :, 0] if spec.lags_last else space.data.y
        We, Wy = lag(space.W.operator, e), lag(space.W.operator, outcome)
        fitted = space.project(Wy - We, spec).reshape(N * T, 1)  # Q W (y - e)
        B = np.hstack([fitted, D])
        J = B.T @ B
        if X.size:
            along = X.T @ B
            J -= along.T @ solve_spd(X.T @ X, along)
        trace, squared, frobenius, rank = projected_traces(space, spec)
        if spec.likelihood != "transformed":
            found = resolvent(space.W.matrix, 0.0)
            trace, squared, frobenius = 0.0, T * found.squared, T * found.frobenius
        T_W = squared + frobenius - 2.0 * trace**2 / rank
        size = D.shape[1] + 2
        covariance = np.zeros((size, size))
        covariance[:-1, :-1] = J / s2
        covariance[0, 0] += T_W
        covariance[0, -1] = covariance[-1, 0] = covariance[-1, -1] = T_W
        score = np.empty(size)
        score[0] = float((e * Wy).sum()) / s2 - trace
        score[1:-1] = D.T @ e.ravel() / s2
        score[-1] = float((e * We).sum()) / s2 - trace
        return cls(score, covariance)

    def statistic(self, places: Sequence[int]) -> float:
        """Return the score test of some of (rho, theta, lambda), the others being zero."""
        return quadratic(self.score[list(places)], self.covariance[np.ix_(places, places)])


def _columns(space: Workspace, spec: ModelSpec, columns: Sequence[Column]) -> NDArray:
    """Return projected columns, shape (NT, m)."""
    words = space.words(spec)
    data = space.arrays(spec, words)
    width = data.shape[2] // len(words)
    places = [words.index(word) * width + column for word, column in columns]
    return data[:, :, places].reshape(data.shape[0] * data.shape[1], len(places))


def quadratic(score: NDArray, covariance: NDArray) -> float:
    """Return ``s' V^-1 s``; raise when V is singular."""
    if not score.size:
        return 0.0
    scale = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        R = covariance / np.outer(scale, scale)
        z = score / scale
    if not np.isfinite(R).all() or np.linalg.eigvalsh(R)[0] < SINGULAR:
        raise IdentificationError(
            "The score test is not defined: at the restricted estimate the information matrix is "
            "singular, so the parameters that are tested cannot be told apart (from a "
            "regression, rho and lambda when all regressors are lagged). Test fewer of them."
        )
    return float(z @ np.linalg.solve(R, z))


# --- any model in a larger one ----------------------------------------------------------------


def score_test(small: FitResult, large: str, *, durbin: Sequence[str] | None = None) -> float:
    """Return the score (LM) statistic of a fitted model within a larger one.

    ``s' I^-1 s`` with the score s and the expected information I of the larger model, both at
    the estimate of the smaller: nothing else is estimated. For instance lambda given rho (sar in
    sac), rho given lambda (sem in sac), theta given rho (sar in sdm), and the common factor
    ``theta + rho beta = 0`` (sem in sdm).

    Parameters
    ----------
    small : FitResult
    large : str
        A model that nests it; see :func:`spatial_agglo.diagnostics.lattice.lr_test`.
    durbin : list of str, optional
        Lagged regressors of the larger model, where the smaller has none.

    Returns
    -------
    float
        Chi-squared, with as many degrees of freedom as parameters are restricted.

    Raises
    ------
    OptionError
        Random effects, dynamic models, or the likelihood "corrected".
    IdentificationError
        The information is singular.

    References
    ----------
    Anselin (1988), chapter 6; Debarsy & Ertur (2010) for fixed effects; Koley & Bera (2024).
    """
    spec, space = small.spec, small.workspace
    if spec.effects == "random" or spec.dynamic is not None or np.isnan(small.loglik):
        raise OptionError(
            "Score tests are for static models with fixed effects, estimated by maximum "
            "likelihood. With random effects use lr_test or wald_test."
        )
    options: dict[str, Any] = {"effects": spec.effects, "likelihood": spec.likelihood}
    lags = spec.durbin if durbin is None else tuple(durbin)
    if MODELS[check_option("large", large, MODELS)][1] and lags is not None:
        options["durbin"] = lags
    wanted = ModelSpec.of(large, **options)
    one = space.weights is space.durbin_weights is space.error_weights
    if not spec.spatial and one and not space.irregular:
        at = Regression.of(small, wanted)
        k = at.score.size - 2
        places = [0] * wanted.has_lag + list(range(1, 1 + k)) + [1 + k] * wanted.has_error
        return at.statistic(places)
    if spec.likelihood == "corrected":
        raise OptionError(
            "likelihood='corrected' has no score that is zero at its estimates: use "
            "'transformed', or 'direct-demeaned', the likelihood that it corrects."
        )
    score, info = score_and_information(space, wanted, _embedded(small, wanted))
    return quadratic(score, info)


def _embedded(small: FitResult, large: ModelSpec) -> Estimate:
    """Return the estimate of the smaller model as one of the larger."""
    space, found = small.workspace, small.estimate
    _, have = space.regressors(small.spec)
    _, every = space.regressors(large)
    value = dict(zip(have, found.gamma.tolist(), strict=True))
    rho, lam = found.rho, found.lam
    if small.spec.has_error and not large.has_error:  # sem in sdm: the common factor
        rho, lam = found.lam, 0.0
        value |= {f"W*{name}": -rho * value[name] for name in large.lagged(space.data)}
        if space.has_intercept(large.effects):
            value[every[0]] *= 1.0 - rho
    gamma = np.array([value.get(name, 0.0) for name in every])
    return Estimate(gamma, rho, lam, found.sigma2, found.loglik)


def score_and_information(
    space: Workspace, spec: ModelSpec, estimate: Estimate
) -> tuple[NDArray, NDArray]:
    """Return the score and the expected information of a model at any parameter values.

    In the order gamma, rho, lambda, sigma2. With ``F = [y, Wy, X, WX]``,
    ``v = (F - lambda M F) b`` and the Jacobian terms L, the scores are ``x'v/s2``,
    ``(Wy)'v/s2 + L'(rho)``, ``(M F b)'v/s2 + L'(lambda)`` and ``(v'v/s2 - n)/(2 s2)``.
    """
    moments = space.moments(spec)
    regressors, _ = space.regressors(spec)
    terms = space.terms(spec)
    filtered = Filtered.of(
        moments,
        regressors,
        lag="W" if spec.has_lag else None,
        error=space.error_letter if spec.has_error else None,
    )
    K, b, first = filtered.at(estimate.lam), filtered.coefficients(estimate), filtered.first
    s2 = estimate.sigma2
    Kb = K @ b / s2
    parts = [Kb[first:]]
    if terms.rho is not None:
        parts.append(Kb[1:2] + terms.rho.derivatives(estimate.rho)[0])
    if terms.lam is not None:
        ahead = b @ (filtered.cross - estimate.lam * filtered.lagged) @ b / s2
        parts.append(np.atleast_1d(ahead + terms.lam.derivatives(estimate.lam)[0]))
    parts.append(np.array([0.5 * (b @ Kb - terms.n) / s2]))
    couplings, which = _couplings(space, spec, estimate)
    mean_lag, traces = None, None
    if spec.spatial:
        projector = space.projector(spec)
        T, N = space.data.panel.shape
        if projector is None:
            counts = spec.counts(N, T, space.row_standardized)
            found = reduce_balanced(couplings[0], T, counts.tau, remove_mean=counts.ones > 0)
        else:
            if spec.likelihood != "transformed":
                projector = Projector.of(space.data.cells, "none")
            found = reduce_irregular(couplings, which, projector)
        traces = found.traces
    if spec.has_lag:
        mean_lag = _mean_lag(space, spec, estimate, b, couplings, which)
    info = information.expected(K[first:, first:], mean_lag, traces, terms.n, s2)
    return np.concatenate(parts), info


def _couplings(
    space: Workspace, spec: ModelSpec, estimate: Estimate
) -> tuple[list[Coupling], list[int]]:
    """Return H for every pair of matrices that differs, and which of them a period has."""
    lags, errors = space.weights, space.error_weights
    if lags is None or errors is None:
        return [], []
    pairs = list(zip(lags.which, errors.which, strict=True))
    distinct = sorted(set(pairs))
    made = []
    for i, j in distinct:
        W, M = lags.matrices[i].matrix, errors.matrices[j].matrix
        made.append(
            Coupling(
                W=W if spec.has_lag else None,
                M=M if spec.has_error else None,
                rho=estimate.rho,
                lam=estimate.lam,
            )
        )
    return made, [distinct.index(pair) for pair in pairs]


def _mean_lag(
    space: Workspace,
    spec: ModelSpec,
    estimate: Estimate,
    b: NDArray,
    couplings: Sequence[Coupling],
    which: Sequence[int],
) -> tuple[NDArray, float]:
    """Return ``X'm`` and ``m'm`` with ``m = E[Q B W y] = Q (B W y - H v)``."""
    columns = space.columns(spec)
    words = space.words(spec)
    data = space.arrays(spec, words)
    width = data.shape[2] // len(words)

    def pick(wanted: Sequence[Column]) -> NDArray:
        return data[:, :, [words.index(word) * width + column for word, column in wanted]]

    F = pick(columns)
    if spec.has_error:
        letter = space.error_letter
        F = F - estimate.lam * pick([(letter + word, column) for word, column in columns])
    v = F @ b
    noise = np.empty_like(v)
    for j, coupling in enumerate(couplings):
        at = [t for t, k in enumerate(which) if k == j]
        noise[at] = coupling.lagged(v[at])
    m = F[:, :, 1] - space.project(noise, spec)
    return np.tensordot(F[:, :, 2:], m, axes=([0, 1], [0, 1])), float((m * m).sum())
