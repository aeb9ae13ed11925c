"""Dense brute force for static spatial panels: slow, plain, and independent of the package.

Everything is done with explicit matrices: N x N and NT x NT weights, explicit dummies or
explicit orthonormal transforms, ``slogdet``, explicit inverses, a scalar optimiser and
finite differences. Nothing here imports the package, so agreement is evidence.

Arrays: ``y`` (T, N), ``X`` (T, N, k), ``W`` (N, N); stacked vectors are time-major (period
slow, unit fast). Models: ols slx sar sem sdm sdem. Effects: none, entity, time, two-way.
Parameters are always ordered: intercept (effects "none" only), beta, theta, rho or lambda,
sigma2. The intercept is never spatially lagged.

Likelihoods:

``direct``
    y, Wy, X, WX as they are; explicit dummies as further regressors; n = NT. For an error
    process the dummies are part of the mean, so they are filtered with it: B(y - Xb - Da).
    ``filter_dummies=False`` gives By - BXb - Da instead, i.e. "filter, then project". The two
    are the same likelihood unless time effects meet a W that is not row-standardised.
``direct-demeaned``
    y and the regressors (X, and WX where the model has it: lagged first, it is just one more
    regressor) are demeaned with explicit projection matrices; then the model without effects
    and without intercept, n = NT. Everything that the spatial process lags is lagged after
    demeaning: W(Qy), W(QX), W(QWX).
``transformed``
    Lee and Yu (2010): data multiplied by explicit orthonormal F_T (T x (T-1)) and
    F_N (N x (N-1)), W* = F_N' W F_N, then the model without effects on that sample. When W is
    not row-standardised and the effects include time, only F_T is applied (if there are entity
    effects) and the period effects stay as explicit dummies of the transformed sample.
``corrected``
    Elhorst's closed form applied to the direct-demeaned estimates.
"""

from types import SimpleNamespace

import numpy as np
from scipy.optimize import brentq, minimize_scalar

MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem")
EFFECTS = ("none", "entity", "time", "two-way")
LIKELIHOODS = ("transformed", "direct", "direct-demeaned", "corrected")

_LAGGED_X = ("slx", "sdm", "sdem")
_LAGGED_Y = ("sar", "sdm")
_ERROR = ("sem", "sdem")


# ---------------------------------------------------------------------------------------------
# Samples
# ---------------------------------------------------------------------------------------------


def row_standardised(W):
    """True when every row of W sums to one."""
    return bool(np.allclose(W.sum(axis=1), 1.0, rtol=0, atol=1e-10))


def orthonormal(m):
    """m x (m-1) matrix with orthonormal columns that all sum to zero (Helmert)."""
    F = np.zeros((m, m - 1))
    for j in range(1, m):
        F[:j, j - 1] = 1.0
        F[j, j - 1] = -float(j)
        F[:, j - 1] /= np.sqrt(j * (j + 1.0))
    return F


def demeaning(m):
    """m x m matrix that subtracts the mean."""
    return np.eye(m) - np.ones((m, m)) / m


def dummies(T, N, effects):
    """Explicit dummies (NT x d) of full column rank: one period is dropped under two-way."""
    columns = []
    if effects in ("entity", "two-way"):
        columns.append(np.kron(np.ones((T, 1)), np.eye(N)))
    if effects in ("time", "two-way"):
        D = np.kron(np.eye(T), np.ones((N, 1)))
        columns.append(D[:, 1:] if effects == "two-way" else D)
    return np.hstack(columns) if columns else np.zeros((T * N, 0))


def sample(y, X, W, model, effects, likelihood):
    """The stacked sample that the likelihood looks at.

    y (n,), Z (n, q) regressors, D (n, d) dummies that stay as parameters, W (m, m) weights of
    one block, blocks (number of blocks, n = m * blocks), Wbig (n, n), back (NT, n): the matrix
    that takes a residual of the sample back to the T x N panel.
    """
    if model not in MODELS or effects not in EFFECTS or likelihood not in LIKELIHOODS:
        raise ValueError(f"unknown option in {(model, effects, likelihood)}")
    T, N = y.shape
    k = X.shape[2]
    ys = y.reshape(T * N)
    Xs = X.reshape(T * N, k)
    entity = effects in ("entity", "two-way")
    time = effects in ("time", "two-way")

    if model in _LAGGED_X:
        Xs = np.hstack([Xs, np.kron(np.eye(T), W) @ Xs])

    if likelihood == "direct":
        Wb, blocks, back = W, T, np.eye(T * N)
        D = dummies(T, N, effects)
    elif likelihood in ("direct-demeaned", "corrected"):
        Q = np.kron(demeaning(T) if entity else np.eye(T), demeaning(N) if time else np.eye(N))
        ys, Xs = Q @ ys, Q @ Xs
        Wb, blocks, back = W, T, np.eye(T * N)
        D = np.zeros((T * N, 0))
    else:
        project_units = time and row_standardised(W)
        FT = orthonormal(T) if entity else np.eye(T)
        FN = orthonormal(N) if project_units else np.eye(N)
        back = np.kron(FT, FN)
        ys, Xs = back.T @ ys, back.T @ Xs
        Wb, blocks = FN.T @ W @ FN, FT.shape[1]
        if time and not project_units:
            D = np.kron(np.eye(blocks), np.ones((N, 1)))
        else:
            D = np.zeros((len(ys), 0))

    Wbig = np.kron(np.eye(blocks), Wb)
    Z = Xs
    if effects == "none":
        Z = np.hstack([np.ones((len(ys), 1)), Z])
    return SimpleNamespace(
        y=ys, Z=Z, D=D, W=Wb, blocks=blocks, Wbig=Wbig, back=back, n=len(ys), T=T, N=N
    )


def _ls(A, b):
    """Least-squares coefficients (no columns: an empty vector)."""
    if A.shape[1] == 0:
        return np.zeros(0)
    return np.linalg.lstsq(A, b, rcond=None)[0]


def _split(params, model):
    """(coefficients, spatial parameter or 0, sigma2)."""
    params = np.asarray(params, dtype=float)
    if model in ("ols", "slx"):
        return params[:-1], 0.0, params[-1]
    return params[:-2], params[-2], params[-1]


def _filtered(s, spatial, model, filter_dummies):
    """Left-hand side, regressors and dummies at a value of rho or lambda."""
    A = np.eye(s.n) - spatial * s.Wbig
    if model in _ERROR:
        return A @ s.y, A @ s.Z, (A @ s.D if filter_dummies else s.D)
    if model in _LAGGED_Y:
        return A @ s.y, s.Z, s.D
    return s.y, s.Z, s.D


def _logdet(s, spatial):
    sign, value = np.linalg.slogdet(np.eye(len(s.W)) - spatial * s.W)
    return s.blocks * value if sign > 0 else -np.inf


def _residual(s, coef, spatial, model, filter_dummies):
    """Innovations at given coefficients (the dummies at their best), and the dummies' values."""
    lhs, Z, D = _filtered(s, spatial, model, filter_dummies)
    r = lhs - Z @ coef
    delta = _ls(D, r)
    return r - D @ delta, delta


# ---------------------------------------------------------------------------------------------
# Likelihood and estimates
# ---------------------------------------------------------------------------------------------


def loglik(params, y, X, W, model, effects, likelihood, filter_dummies=True):
    """Log-likelihood at params; dummies, where there are any, are at their maximum."""
    s = sample(y, X, W, model, effects, likelihood)
    return _loglik(params, s, model, filter_dummies)


def _loglik(params, s, model, filter_dummies):
    coef, spatial, sigma2 = _split(params, model)
    e, _ = _residual(s, coef, spatial, model, filter_dummies)
    return -0.5 * s.n * np.log(2 * np.pi * sigma2) - e @ e / (2 * sigma2) + _logdet(s, spatial)


def _edge(W, step, limit):
    """First zero of det(I - rho W) on the way from 0 in the direction of step (or limit)."""
    identity = np.eye(len(W))
    inside = 0.0
    while abs(inside) < limit:
        outside = inside + step
        if np.linalg.slogdet(identity - outside * W)[0] <= 0:
            for _ in range(60):
                middle = 0.5 * (inside + outside)
                if np.linalg.slogdet(identity - middle * W)[0] > 0:
                    inside = middle
                else:
                    outside = middle
            return inside
        inside = outside
    return inside


def _concentrated(spatial, s, model, filter_dummies):
    """Best coefficients and sigma2, log-likelihood and score at a value of rho or lambda."""
    lhs, Z, D = _filtered(s, spatial, model, filter_dummies)
    A = np.hstack([Z, D])
    b = _ls(A, lhs)
    e = lhs - A @ b
    sigma2 = e @ e / s.n
    value = -0.5 * s.n * (np.log(2 * np.pi * sigma2) + 1) + _logdet(s, spatial)
    coef, delta = b[: Z.shape[1]], b[Z.shape[1] :]
    if model in _LAGGED_Y:
        moved = s.Wbig @ s.y
    else:  # minus the derivative of the residual with respect to lambda
        moved = s.Wbig @ (s.y - s.Z @ coef - (s.D @ delta if filter_dummies else 0))
    H = s.W @ np.linalg.inv(np.eye(len(s.W)) - spatial * s.W)
    score = e @ moved / sigma2 - s.blocks * np.trace(H)
    return coef, sigma2, value, score


def _maximum(s, W, model, filter_dummies):
    """rho or lambda: a grid, a bounded scalar search, and a root of the score to polish.

    The interval ends where det(I - rho W) of the untransformed W first changes sign.
    """
    low, high = _edge(W, -0.01, 50.0), _edge(W, 0.01, 50.0)
    grid = low + (high - low) * (np.arange(60) + 0.5) / 60

    def negative(v):
        return -_concentrated(v, s, model, filter_dummies)[2]

    def score(v):
        return _concentrated(v, s, model, filter_dummies)[3]

    best = int(np.argmin([negative(v) for v in grid]))
    left = grid[best - 1] if best > 0 else low
    right = grid[best + 1] if best < 59 else high
    found = minimize_scalar(
        negative, bounds=(left, right), method="bounded", options={"xatol": 1e-10}
    ).x
    width = min(1e-4, 0.5 * (found - low), 0.5 * (high - found))
    if width < 1e-7 or not score(found - width) > 0 > score(found + width):
        raise ValueError("the maximum is on the edge of the parameter space")
    return brentq(score, found - width, found + width, xtol=1e-15, rtol=1e-14)


def fit(y, X, W, model, effects, likelihood, filter_dummies=True):
    """Maximum likelihood: dict of params, loglik, n, resid.

    resid (T, N): innovations at the estimates (filtered for an error process; mapped back to
    the panel for the transformed likelihood, F e*). For "corrected", loglik is the maximum of
    the direct-demeaned likelihood and loglik_at_params its value at the corrected estimates.
    """
    s = sample(y, X, W, model, effects, likelihood)
    if model in ("ols", "slx"):
        b = _ls(np.hstack([s.Z, s.D]), s.y)
        coef = b[: s.Z.shape[1]]
        e, _ = _residual(s, coef, 0.0, model, filter_dummies)
        params = np.append(coef, e @ e / s.n)
    else:
        spatial = _maximum(s, W, model, filter_dummies)
        coef, sigma2, _, _ = _concentrated(spatial, s, model, filter_dummies)
        params = np.concatenate([coef, [spatial, sigma2]])
    top = _loglik(params, s, model, filter_dummies)
    if likelihood == "corrected":
        params = correct(params, y, X, W, model, effects)
    coef, spatial, _ = _split(params, model)
    e, _ = _residual(s, coef, spatial, model, filter_dummies)
    return {
        "params": params,
        "loglik": float(top),
        "loglik_at_params": float(_loglik(params, s, model, filter_dummies)),
        "n": s.n,
        "resid": (s.back @ e).reshape(y.shape),
    }


def correct(params, y, X, W, model, effects):
    """Elhorst's closed form, applied to direct-demeaned estimates (all of them, beta too).

    entity: sigma2 T/(T-1); time: sigma2 N/(N-1); two-way: params + T V b, V the inverse of the
    expected information, b = (0, 1/(1-rho), 1/(2 sigma2)), and then sigma2 T/(T-1). Without a
    spatial parameter b has no such element (ols, slx: sigma2 (1 + 1/N) T/(T-1)).
    """
    T, N = y.shape
    out = np.array(params, dtype=float)
    if effects == "entity":
        out[-1] *= T / (T - 1)
    elif effects == "time":
        out[-1] *= N / (N - 1)
    elif effects == "two-way":
        if not row_standardised(W):
            raise ValueError("the two-way correction needs a row-standardised W")
        b = np.zeros(len(out))
        b[-1] = 1 / (2 * out[-1])
        if model in _LAGGED_Y + _ERROR:
            b[-2] = 1 / (1 - out[-2])
        information = np.linalg.inv(expected_cov(out, y, X, W, model, effects, "direct-demeaned"))
        out = out + np.linalg.inv(information / (N * T)) @ b / N
        out[-1] *= T / (T - 1)
    return out


# ---------------------------------------------------------------------------------------------
# Covariances
# ---------------------------------------------------------------------------------------------


def expected_cov(params, y, X, W, model, effects, likelihood, filter_dummies=True):
    """Inverse of the expected information at params ("corrected": as "direct-demeaned").

    The information is written down for all parameters, dummies included, and inverted; the
    rows and columns of the dummies are dropped afterwards.
    """
    s = sample(y, X, W, model, effects, likelihood)
    coef, spatial, sigma2 = _split(params, model)
    _, delta = _residual(s, coef, spatial, model, filter_dummies)
    _, Z, D = _filtered(s, spatial, model, filter_dummies)
    A = np.hstack([Z, D])
    q, a = Z.shape[1], A.shape[1]
    has = model in _LAGGED_Y + _ERROR
    information = np.zeros((a + 2, a + 2))
    information[:a, :a] = A.T @ A / sigma2
    information[-1, -1] = s.n / (2 * sigma2**2)
    if has:
        H = s.Wbig @ np.linalg.inv(np.eye(s.n) - spatial * s.Wbig)
        information[a, a] = np.trace(H @ H) + np.trace(H.T @ H)
        information[a, -1] = information[-1, a] = np.trace(H) / sigma2
        if model in _LAGGED_Y:
            lagged_mean = H @ (s.Z @ coef + s.D @ delta)
            information[a, a] += lagged_mean @ lagged_mean / sigma2
            information[:a, a] = information[a, :a] = A.T @ lagged_mean / sigma2
        elif not filter_dummies:
            # the mean of y - Z coef is (I - lambda W)^-1 D delta and moves with lambda
            lagged_mean = H @ (s.D @ delta)
            information[a, a] += lagged_mean @ lagged_mean / sigma2
            information[:a, a] = information[a, :a] = A.T @ lagged_mean / sigma2
    keep = list(range(a)) + ([a] if has else []) + [a + 1]
    cov = np.linalg.inv(information[np.ix_(keep, keep)])
    wanted = list(range(q)) + list(range(a, len(keep)))
    return cov[np.ix_(wanted, wanted)]


def hessian(f, x, h):
    """Central second differences with steps h, h/2, h/4 and Richardson extrapolation."""
    x, h = np.asarray(x, dtype=float), np.asarray(h, dtype=float)
    p = len(x)

    def second(step):
        H = np.zeros((p, p))
        centre = f(x)
        for i in range(p):
            di = np.zeros(p)
            di[i] = step[i]
            H[i, i] = (f(x + di) - 2 * centre + f(x - di)) / step[i] ** 2
            for j in range(i):
                dj = np.zeros(p)
                dj[j] = step[j]
                H[i, j] = H[j, i] = (
                    f(x + di + dj) - f(x + di - dj) - f(x - di + dj) + f(x - di - dj)
                ) / (4 * step[i] * step[j])
        return H

    a, b, c = second(h), second(h / 2), second(h / 4)
    ab, bc = (4 * b - a) / 3, (4 * c - b) / 3
    return (16 * bc - ab) / 15


def jacobian(f, x, h):
    """Central first differences with steps h, h/2, h/4 and Richardson extrapolation."""
    x, h = np.asarray(x, dtype=float), np.asarray(h, dtype=float)

    def first(step):
        columns = []
        for i in range(len(x)):
            d = np.zeros(len(x))
            d[i] = step[i]
            columns.append((f(x + d) - f(x - d)) / (2 * step[i]))
        return np.array(columns).T

    a, b, c = first(h), first(h / 2), first(h / 4)
    ab, bc = (4 * b - a) / 3, (4 * c - b) / 3
    return (16 * bc - ab) / 15


def observed_cov(params, y, X, W, model, effects, likelihood, filter_dummies=True):
    """Inverse of the negative Hessian of the log-likelihood, by finite differences.

    The dummies are concentrated out, which gives the same block of the inverse as leaving them
    in. Steps are a tenth of the expected standard errors.
    """
    if likelihood == "corrected":
        raise ValueError("the corrected estimates do not maximise a likelihood")
    s = sample(y, X, W, model, effects, likelihood)
    V = expected_cov(params, y, X, W, model, effects, likelihood, filter_dummies)
    H = hessian(lambda p: _loglik(p, s, model, filter_dummies), params, 0.1 * np.sqrt(np.diag(V)))
    return np.linalg.inv(-H)


# ---------------------------------------------------------------------------------------------
# Spillovers
# ---------------------------------------------------------------------------------------------


def impacts(params, W, model, k, effects):
    """Average direct, indirect and total effects (the intercept excluded), each (k,)."""
    N = len(W)
    coef, spatial, _ = _split(params, model)
    coef = coef[1:] if effects == "none" else coef
    beta = coef[:k]
    theta = coef[k:] if model in _LAGGED_X else np.zeros(k)
    inverse = np.linalg.inv(np.eye(N) - spatial * W) if model in _LAGGED_Y else np.eye(N)
    direct, total = np.zeros(k), np.zeros(k)
    for j in range(k):
        S = inverse @ (beta[j] * np.eye(N) + theta[j] * W)
        direct[j] = np.trace(S) / N
        total[j] = S.sum() / N
    return {"direct": direct, "indirect": total - direct, "total": total}


def impacts_se(params, cov, W, model, k, effects):
    """Delta-method standard errors of the impacts, Jacobian by finite differences."""

    def stacked(p):
        found = impacts(p, W, model, k, effects)
        return np.concatenate([found["direct"], found["indirect"], found["total"]])

    params = np.asarray(params, dtype=float)
    J = jacobian(stacked, params, 1e-3 * np.maximum(np.abs(params), 0.1))
    se = np.sqrt(np.diag(J @ cov @ J.T))
    return {"direct": se[:k], "indirect": se[k : 2 * k], "total": se[2 * k :]}


# ---------------------------------------------------------------------------------------------
# Tests on the residuals of the model without spatial terms
# ---------------------------------------------------------------------------------------------


def lm_tests(y, X, W, effects, likelihood):
    """LM tests of ols with the cross-section formulas on the stacked sample.

    sigma2 = e'e/n with n the rows of the sample and no correction for the regressors. Dummies
    of the sample are regressors: their fitted values are part of the mean that W lags.
    """
    s = sample(y, X, W, "ols", effects, likelihood)
    A = np.hstack([s.Z, s.D])
    M = np.eye(s.n) - A @ np.linalg.inv(A.T @ A) @ A.T
    mean = A @ _ls(A, s.y)
    e = s.y - mean
    sigma2 = e @ e / s.n
    traces = np.trace(s.Wbig @ s.Wbig) + np.trace(s.Wbig.T @ s.Wbig)
    centre = 0.0
    if likelihood == "transformed":
        # W* has a trace: the score is centred, and sigma2 takes its share of the information
        Q = np.eye(s.n) - s.D @ np.linalg.pinv(s.D)
        QW = Q @ s.Wbig @ Q
        centre, rank = np.trace(QW), np.trace(Q)
        traces = np.trace(QW @ QW) + np.trace(QW.T @ QW) - 2 * centre**2 / rank
    lagged = s.Wbig @ mean
    J = lagged @ M @ lagged / sigma2 + traces
    lag = e @ s.Wbig @ s.y / sigma2 - centre
    error = e @ s.Wbig @ e / sigma2 - centre
    robust_lag = (lag - error) ** 2 / (J - traces)
    return {
        "LM lag": lag**2 / J,
        "robust LM lag": robust_lag,
        "LM error": error**2 / traces,
        "robust LM error": (error - traces / J * lag) ** 2 / (traces * (1 - traces / J)),
        "SARMA": error**2 / traces + robust_lag,
    }


def residual_moran(y, X, W, effects, likelihood):
    """Moran's I of ols residuals: (I, expectation, variance, z), moments under normality.

    I = (N/S0) e'We/e'e with S0 the sum of all elements of the N x N weights. Transformed:
    e and W of the transformed sample, N/S0 of the original weights.
    """
    s = sample(y, X, W, "ols", effects, likelihood)
    A = np.hstack([s.Z, s.D])
    P = np.eye(s.n) - A @ np.linalg.inv(A.T @ A) @ A.T
    e = P @ s.y
    df = s.n - A.shape[1]
    scale = len(W) / W.sum()
    PW, PWt = P @ s.Wbig, P @ s.Wbig.T
    trace = np.trace(PW)
    value = scale * (e @ s.Wbig @ e) / (e @ e)
    expectation = scale * trace / df
    second = (np.trace(PW @ PWt) + np.trace(PW @ PW) + trace**2) / (df * (df + 2))
    variance = scale**2 * second - expectation**2
    return (
        float(value),
        float(expectation),
        float(variance),
        float((value - expectation) / np.sqrt(variance)),
    )


# ---------------------------------------------------------------------------------------------
# Weights
# ---------------------------------------------------------------------------------------------


def weights_cases(rng):
    """Small weights (N = 12): three row-standardised, and one that is not.

    contiguity: rook on a 3 x 4 grid (symmetric before standardisation). knn5: five nearest
    neighbours, asymmetric, with complex eigenvalues. mix: half inverse distance, half
    contiguity, each standardised first. unstandardised: inverse distance, spectral radius 1.
    """
    N = 12
    touch = np.zeros((N, N))
    for i in range(N):
        for j in range(N):
            if abs(i // 4 - j // 4) + abs(i % 4 - j % 4) == 1:
                touch[i, j] = 1.0
    contiguity = touch / touch.sum(axis=1, keepdims=True)

    for _ in range(1000):
        points = rng.uniform(size=(N, 2))
        distance = np.sqrt(((points[:, None, :] - points[None, :, :]) ** 2).sum(axis=2))
        knn5 = np.zeros((N, N))
        for i in range(N):
            nearest = [j for j in np.argsort(distance[i]) if j != i][:5]
            knn5[i, nearest] = 1 / 5
        if np.abs(np.linalg.eigvals(knn5).imag).max() > 1e-3:
            break
    assert np.abs(np.linalg.eigvals(knn5).imag).max() > 1e-3
    assert not np.allclose(knn5, knn5.T)

    inverse = np.zeros((N, N))
    for i in range(N):
        for j in range(N):
            if i != j:
                inverse[i, j] = 1 / distance[i, j]
    mix = 0.5 * inverse / inverse.sum(axis=1, keepdims=True) + 0.5 * contiguity
    assert not np.allclose(mix, mix.T)
    unstandardised = inverse / np.abs(np.linalg.eigvalsh(inverse)).max()
    cases = {
        "contiguity": contiguity,
        "knn5": knn5,
        "mix": mix,
        "unstandardised": unstandardised,
    }
    for name, W in cases.items():
        assert row_standardised(W) == (name != "unstandardised")
        assert np.all(np.diag(W) == 0)
    return cases
