"""Dense brute force for unbalanced panels and weights that change over time.

Unit i is observed in period t where ``mask[t, i]``. Period t uses W_t: the sub-matrix of the
units observed in t, with its rows re-standardised if they summed to one before; M_t (error
process) and D_t (lagged regressors) likewise. The effects are inside the error filter, which
for one balanced W with rows that sum to one is the model of ``dense_family``:

    S_t y_t = X_t beta + D_t X_t theta + u_t,   B_t u_t = c + alpha_t + eps_t,
    S_t = I - rho W_t,   B_t = I - lambda M_t

(effects "none": an intercept among the regressors instead). Q projects off the explicit
dummies, on the stacked observed cells; v = Q B (S y - ...).

``direct``
    all cells counted: -(cells/2) ln(2 pi s2) - v'v / (2 s2) + sum ln|S_t| + sum ln|B_t|
``transformed``
    adjusted score, n = cells - rank(dummies), for M = W or only one of rho and lambda:
    -(n/2) ln(2 pi s2) - v'v / (2 s2) + A_W(rho) + A_M(lambda),
    A_W(rho) = - integral from 0 to rho of tr(Q blockdiag(W_t (I - r W_t)^-1)) dr

Use: ``p = problem(y, X, W, mask, "sdm", "entity", "transformed")`` and then the engine of
``dense_family``: ``fit(p)``, ``loglik(params, p)``, ``observed_cov(params, p)``, ``score``.
"""

from functools import cache
from itertools import pairwise

import numpy as np
from dense import dummies, row_standardised
from dense_family import (
    EFFECTS,
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


def problem(y, X, W, mask, model, effects, likelihood, M=None, D=None, durbin=None):
    """The problem of a model; W, M and D are (N, N) or (T, N, N). M and D: W unless given."""
    if model not in MODELS or effects not in EFFECTS or likelihood not in ("direct", "transformed"):
        raise ValueError(f"unknown option in {(model, effects, likelihood)}")
    T, N, k = X.shape
    mask = np.asarray(mask, dtype=bool)
    cells = mask.reshape(T * N)
    Ws = cut(W, mask)
    Ms = Ws if M is None else cut(M, mask)
    Ds = Ws if D is None else cut(D, mask)
    names = ("rho",) * (model in LAGGED_Y) + ("lambda",) * (model in ERROR)
    if likelihood == "transformed" and len(names) == 2 and M is not None:
        same = all(np.allclose(a, b, rtol=0, atol=1e-14) for a, b in zip(Ws, Ms, strict=True))
        if not same:
            raise ValueError("the adjusted score needs M = W when there are rho and lambda")

    stacked = y.reshape(T * N)[cells]
    Z = regressors(X.reshape(T * N, k)[cells], Ds, model, durbin)
    if effects == "none":
        Z = np.hstack([np.ones((len(stacked), 1)), Z])
    dummy = dummies(T, N, effects)[cells]
    Q = np.eye(len(stacked)) - dummy @ np.linalg.pinv(dummy)

    n = len(stacked)
    log_w, log_m = sum_of_logdets(Ws), sum_of_logdets(Ms)
    if likelihood == "transformed":
        n -= np.linalg.matrix_rank(dummy) if dummy.shape[1] else 0
        log_w, log_m = adjusted(Ws, Q), adjusted(Ms, Q)

    def back(e):
        panel = np.full(T * N, np.nan)
        panel[cells] = e
        return panel.reshape(T, N)

    return Problem(
        y=stacked,
        Wy=lag(Ws, stacked),
        Z=full_rank(Z),
        D=dummy,
        n=int(n),
        names=names,
        space={"rho": common_interval(Ws), "lambda": common_interval(Ms)},
        whiten=lambda A, lam, phi: A - lam * lag(Ms, A),
        log_rho=log_w,
        log_rest=lambda lam, phi: log_m(lam),
        back=back,
        whiten_dummies=False,
    )


def cut(W, mask):
    """[W_t]: the sub-matrices of the observed units, re-standardised where W_t was."""
    T = len(mask)
    every = [W] * T if W.ndim == 2 else list(W)
    blocks = []
    for full, observed in zip(every, mask, strict=True):
        block = full[np.ix_(observed, observed)]
        if row_standardised(full):
            sums = block.sum(axis=1, keepdims=True)
            if (sums <= 0).any():
                raise ValueError("a unit is left without neighbours in some period")
            block = block / sums
        blocks.append(block)
    return blocks


def common_interval(blocks):
    """The values around 0 where every |I - v W_t| > 0."""
    ends = np.array([interval(block) for block in blocks])
    return float(ends[:, 0].max()), float(ends[:, 1].min())


def sum_of_logdets(blocks):
    return lambda value: sum(logdet(block, value) for block in blocks)


def adjusted(blocks, Q):
    """A(v) = - integral from 0 to v of tr(Q blockdiag(W_t (I - r W_t)^-1)) dr, by quadrature.

    Gauss-Legendre with 12 nodes on [0, v/2], [v/2, 3v/4], ...: the pieces shrink towards v,
    beyond which the integrand has its pole. Only the diagonal blocks of Q enter the trace.
    """
    ends = np.cumsum([0, *(len(block) for block in blocks)])
    pieces = [slice(a, b) for a, b in pairwise(ends)]
    nodes, weights = np.polynomial.legendre.leggauss(12)

    def traces(r):
        r = r[:, None, None]
        total = 0.0
        for W, piece in zip(blocks, pieces, strict=True):
            H = W @ np.linalg.inv(np.eye(len(W)) - r * W)
            total = total + np.trace(Q[piece, piece] @ H, axis1=1, axis2=2)
        return total

    @cache
    def integral(value):
        knots = value * np.append(1 - 0.5 ** np.arange(8), 1.0)
        middle, half = 0.5 * (knots[1:] + knots[:-1]), 0.5 * np.diff(knots)
        r = middle[:, None] + half[:, None] * nodes
        return -float((half[:, None] * weights * traces(r.ravel()).reshape(r.shape)).sum())

    return lambda value: integral(float(value))
