"""Dense brute force for random effects of the unit (balanced panels, one W).

    S y_t = i + X_t beta + D X_t theta + u_t,   S = I - rho W,  B = I - lambda M
    "kkp"       B u_t = mu + eps_t      (Kapoor, Kelejian and Prucha: inside the error filter)
    "baltagi"   u_t = mu + B^-1 eps_t   (outside)
    mu ~ N(0, sigma_mu^2 I), eps_t ~ N(0, sigma2 I), phi = sigma_mu^2 / sigma2

Without an error process (ols, slx, sar, sdm) the two are one model. ``mundlak=True`` adds the
unit means of X, and of D X where the model has it: coefficients are ordered intercept, beta,
theta, means of X, means of D X. ``explicit=True`` writes the NT x NT covariance down and
factorises it; otherwise it is taken apart in time, J kron A + E kron (B'B)^-1 with J the
averaging T x T matrix and E = I - J.

Use: ``p = problem(y, X, W, "sdm", "kkp")`` and then the engine of ``dense_family``: ``fit(p)``,
``loglik(params, p)``, ``observed_cov(params, p)``, ``score(params, p)``.
"""

import numpy as np
from dense_family import (
    ERROR,
    LAGGED_Y,
    MODELS,
    Problem,
    full_rank,
    interval,
    lag,
    logdet,
    regressors,
)


def problem(
    y,
    X,
    W,
    model,
    errors="kkp",
    M=None,
    D=None,
    durbin=None,
    mundlak=False,
    intercept=True,
    explicit=False,
):
    """The problem of a model with random effects. M and D: W unless given."""
    if model not in MODELS or errors not in ("kkp", "baltagi"):
        raise ValueError(f"unknown option in {(model, errors)}")
    M = W if M is None else M
    T, N = y.shape
    Z = regressors(X.reshape(T * N, -1), [W if D is None else D] * T, model, durbin)
    if mundlak:
        means = Z.reshape(T, N, -1).mean(axis=0)
        Z = np.hstack([Z, np.tile(means, (T, 1))])
    if intercept:
        Z = np.hstack([np.ones((T * N, 1)), Z])
    whiten, log_rest = (by_covariance if explicit else by_time)(M, T, errors)
    return Problem(
        y=y.reshape(T * N),
        Wy=lag([W] * T, y.reshape(T * N)),
        Z=full_rank(Z),
        D=np.zeros((T * N, 0)),
        n=T * N,
        names=("rho",) * (model in LAGGED_Y) + ("lambda",) * (model in ERROR) + ("phi",),
        space={"rho": interval(W), "lambda": interval(M), "phi": (0.0, np.inf)},
        whiten=whiten,
        log_rho=lambda rho: T * logdet(W, rho),
        log_rest=log_rest,
        back=lambda e: e.reshape(T, N),
    )


def covariance(M, T, lam, phi, errors):
    """Covariance of the stacked u divided by sigma2, NT x NT, straight from the definition."""
    N = len(M)
    inverse = np.kron(np.eye(T), np.linalg.inv(np.eye(N) - lam * M))
    effect = np.kron(np.ones((T, 1)), np.eye(N))  # takes mu to every period
    if errors == "kkp":
        effect = inverse @ effect
    return phi * effect @ effect.T + inverse @ inverse.T


def by_covariance(M, T, errors):
    """(whiten, log_rest) from the explicit covariance."""

    def whiten(A, lam, phi):
        return np.linalg.solve(np.linalg.cholesky(covariance(M, T, lam, phi, errors)), A)

    def log_rest(lam, phi):
        return -0.5 * np.linalg.slogdet(covariance(M, T, lam, phi, errors))[1]

    return whiten, log_rest


def by_time(M, T, errors):
    """(whiten, log_rest) from the averages over time and the deviations from them.

    Deviations have covariance (B'B)^-1; averages, times sqrt(T), have (1 + T phi)(B'B)^-1
    under kkp and T phi I + (B'B)^-1 under baltagi.
    """
    N = len(M)

    def pieces(lam, phi):
        B = np.eye(N) - lam * M
        noise = np.linalg.inv(B.T @ B)
        if errors == "kkp":
            return B, (1 + T * phi) * noise
        return B, T * phi * np.eye(N) + noise

    def whiten(A, lam, phi):
        B, between = pieces(lam, phi)
        panel = A.reshape(T, N, -1)
        average = panel.mean(axis=0)
        deviations = B @ (panel - average)
        averages = np.linalg.solve(np.linalg.cholesky(between), average)
        return (deviations + averages).reshape(A.shape)

    def log_rest(lam, phi):
        B, between = pieces(lam, phi)
        return (T - 1) * np.linalg.slogdet(B)[1] - 0.5 * np.linalg.slogdet(between)[1]

    return whiten, log_rest
