"""Dense brute force for the eight models, and the engine of dense_unbalanced and dense_random.

Slow, plain, and independent of the package: explicit dummies or explicit orthonormal
transforms, ``slogdet``, a grid over the whole parameter space, generic optimisers and finite
differences. Nothing here imports the package, so agreement is evidence. ``dense`` is the
earlier twin (one spatial parameter); the conventions are the same.

    y_t = rho W y_t + X_t beta + D X_t theta + c + alpha_t + u_t,   u_t = lambda M u_t + eps_t

Use: ``p = problem(y, X, W, "gns", "entity", "transformed", M=M, D=D)``, then ``fit(p)``,
``loglik(params, p)``, ``observed_cov(params, p)``, ``score(params, p)``. Parameters are always
ordered: intercept (effects "none" and random effects; never lagged), beta, theta, rho, lambda,
phi (random effects), sigma2. Arrays: y (T, N), X (T, N, k), W, M, D (N, N), time-major.

Likelihoods of ``problem``:

``direct``
    explicit dummies as further regressors, n = NT, filtered with the mean: B(y - Xb - Da).
    ``filter_dummies=False`` gives By - BXb - Da, effects inside the error filter.
``transformed``
    data multiplied by explicit orthonormal F_T and F_N (Lee and Yu 2010), W* = F_N' W F_N and
    M* = F_N' M F_N. When W or M (those that the model filters with; W if it filters with
    none) is not row-standardised and the effects include time, only F_T is applied and the
    period effects stay as explicit dummies of the transformed sample.

Every problem has the form: r = y - rho Wy - Z b - D d whitened at (lambda, phi), d at its best,

    log L = -(n/2) ln(2 pi sigma2) - r'r / (2 sigma2) + log_rho(rho) + log_rest(lambda, phi)
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from dense import dummies, hessian, jacobian, orthonormal, row_standardised
from scipy.ndimage import maximum_filter
from scipy.optimize import minimize

MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns")
EFFECTS = ("none", "entity", "time", "two-way")
LAGGED_X = ("slx", "sdm", "sdem", "gns")
LAGGED_Y = ("sar", "sdm", "sac", "gns")
ERROR = ("sem", "sdem", "sac", "gns")


@dataclass(frozen=True)
class Problem:
    """A stacked sample and the pieces of its log-likelihood (see the module's docstring).

    names: the free ones among rho, lambda, phi. space: name -> (low, high). whiten(A, lambda,
    phi): the whitened columns of A. whiten_dummies: False leaves D as it is. back: takes an
    innovation to the (T, N) panel.
    """

    y: np.ndarray
    Wy: np.ndarray
    Z: np.ndarray
    D: np.ndarray
    n: int
    names: tuple
    space: dict
    whiten: Callable
    log_rho: Callable
    log_rest: Callable
    back: Callable
    whiten_dummies: bool = True


# ---------------------------------------------------------------------------------------------
# The engine
# ---------------------------------------------------------------------------------------------


def fit(p, points=60):
    """Global maximum: dict of params, names, loglik, n, resid, boundary, maxima.

    maxima: every local maximum found, best first, as (log-likelihood, values of p.names).
    boundary: the best phi is 0. The best rho or lambda on the edge of its space is an error.
    resid (T, N): innovations (random effects: whitened).
    """
    maxima = _local_maxima(p, points)
    if "phi" in p.names:
        pooled = replace(p, names=p.names[:-1])
        maxima = [found for found in maxima if found[1][-1] > 1e-6]
        maxima += [(v, np.append(x, 0.0), e) for v, x, e in _local_maxima(pooled, points)]
    maxima.sort(key=lambda found: -found[0])
    best, x, edge = maxima[0]
    if edge:
        raise ValueError(f"the maximum is on the edge of the parameter space: {p.names} = {x}")
    coef, sigma2, residual = _given(x, p)
    params = np.concatenate([coef, x, [sigma2]])
    return {
        "params": params,
        "names": (*(f"b{j}" for j in range(len(coef))), *p.names, "sigma2"),
        "loglik": float(best),
        "n": p.n,
        "resid": p.back(residual),
        "boundary": "phi" in p.names and bool(x[-1] == 0.0),
        "maxima": [(float(v), tuple(x.tolist())) for v, x, _ in maxima],
    }


def loglik(params, p):
    """Log-likelihood at params; dummies, where there are any, are at their maximum."""
    params = np.asarray(params, dtype=float)
    q = p.Z.shape[1]
    rho, lam, phi = _spatial(params[q:-1], p)
    sigma2 = params[-1]
    r = p.whiten((p.y - rho * p.Wy - p.Z @ params[:q])[:, None], lam, phi)[:, 0]
    e = r - _fitted(_dummies(p, lam, phi), r)
    value = -0.5 * p.n * np.log(2 * np.pi * sigma2) - e @ e / (2 * sigma2)
    return value + p.log_rho(rho) + p.log_rest(lam, phi)


def observed_cov(params, p):
    """Inverse of the negative Hessian of the log-likelihood, by finite differences.

    The dummies are concentrated out, which gives the same block of the inverse as leaving them
    in.
    """
    return np.linalg.inv(-_curvature(lambda v: loglik(v, p), params, _room(params, p))[0])


def score(params, p):
    """Gradient of the log-likelihood at any params, by finite differences.

    Steps: a tenth of the conditional standard errors, from the diagonal of a first Hessian.
    """

    def f(v):
        return loglik(v, p)

    room = _room(params, p)
    diagonal = np.abs(np.diag(hessian(f, params, _first_steps(params, room))))
    return jacobian(f, params, np.minimum(0.1 / np.sqrt(diagonal), room / 8))


def concentrated(x, p):
    """Log-likelihood at the best coefficients and sigma2 for given values of p.names."""
    _, sigma2, _ = _given(x, p)
    rho, lam, phi = _spatial(x, p)
    top = -0.5 * p.n * (np.log(2 * np.pi * sigma2) + 1)
    return top + p.log_rho(rho) + p.log_rest(lam, phi)


def _spatial(x, p):
    """(rho, lambda, phi); those that the model does not have are 0."""
    values = dict(zip(p.names, x, strict=True))
    return tuple(values.get(name, 0.0) for name in ("rho", "lambda", "phi"))


def _ls(A, b):
    """Least-squares coefficients (no columns: an empty vector)."""
    if A.shape[1] == 0:
        return np.zeros((0, *b.shape[1:]))
    return np.linalg.lstsq(A, b, rcond=None)[0]


def _fitted(A, b):
    return A @ _ls(A, b)


def _dummies(p, lam, phi):
    return p.whiten(p.D, lam, phi) if p.whiten_dummies else p.D


def _given(x, p):
    """Best coefficients and sigma2, and the residual, for given values of p.names."""
    rho, lam, phi = _spatial(x, p)
    lhs = p.whiten((p.y - rho * p.Wy)[:, None], lam, phi)[:, 0]
    A = np.hstack([p.whiten(p.Z, lam, phi), _dummies(p, lam, phi)])
    b = _ls(A, lhs)
    e = lhs - A @ b
    return b[: p.Z.shape[1]], e @ e / p.n, e


def _surface(p, grids):
    """Concentrated log-likelihood on the grid (rho, lambda, phi): one regression per (l, f)."""
    rho, lam, phi = grids
    jacobians = np.array([p.log_rho(r) for r in rho])
    surface = np.empty((len(rho), len(lam), len(phi)))
    for j, m in product(range(len(lam)), range(len(phi))):
        both = p.whiten(np.column_stack([p.y, p.Wy]), lam[j], phi[m])
        A = np.hstack([p.whiten(p.Z, lam[j], phi[m]), _dummies(p, lam[j], phi[m])])
        e = both - _fitted(A, both)
        ssr = ((e[:, 0, None] - e[:, 1, None] * rho) ** 2).sum(axis=0)
        surface[:, j, m] = -0.5 * p.n * (np.log(2 * np.pi * ssr / p.n) + 1) + jacobians
        surface[:, j, m] += p.log_rest(lam[j], phi[m])
    return surface


def _grid(p, name, points):
    """Midpoints of equal cells (rho, lambda); phi on a logarithmic scale; 0 if not free.

    A space that goes far below -1 gets a coarser grid there.
    """
    if name not in p.names:
        return np.zeros(1)
    if name == "phi":
        return np.geomspace(1e-4, 1e4, 25)
    low, high = p.space[name]
    parts = [(low, high, points)]
    if low < -2.0 < -1.0 < high:
        parts = [(low, -1.0, points // 2), (-1.0, high, points)]
    return np.concatenate([a + (b - a) * (np.arange(m) + 0.5) / m for a, b, m in parts])


def _local_maxima(p, points):
    """[(log-likelihood, values of p.names, on the edge?)] from every local maximum of the grid."""
    if not p.names:
        return [(concentrated(np.zeros(0), p), np.zeros(0), False)]
    grids = [_grid(p, name, points) for name in ("rho", "lambda", "phi")]
    surface = _surface(p, grids)
    peaks = surface == maximum_filter(surface, size=3, mode="constant", cval=-np.inf)
    free = [i for i, name in enumerate(("rho", "lambda", "phi")) if name in p.names]
    low, high = np.array([p.space[name] for name in p.names]).T
    found = []
    for peak in np.argwhere(peaks & np.isfinite(surface)):
        start = np.array([grids[i][peak[i]] for i in free])
        value, x, edge = _climb(lambda v: concentrated(v, p), start, low, high)
        if not any(np.allclose(x, other, rtol=0, atol=1e-6) for _, other, _ in found):
            found.append((value, x, edge))
    return found


def _climb(f, start, low, high):
    """A simplex search, then Newton with finite differences unless it ran to the edge."""
    cell = np.minimum(0.02 * np.maximum(np.abs(start), 0.5), 0.2 * (high - start))
    inside = 1e-9 * np.minimum(high - low, 1.0)
    x = minimize(
        lambda v: -f(v),
        start,
        method="Nelder-Mead",
        bounds=list(zip(low + inside, high - inside, strict=True)),
        options={
            "initial_simplex": np.vstack([start, start + np.diag(cell)]),
            "xatol": 1e-5,
            "fatol": 1e-9,
            "maxiter": 5000,
        },
    ).x
    room = np.minimum(x - low, high - x)
    if (room < 1e-6).any():
        return f(x), x, True
    H, step = _curvature(f, x, room)
    se = np.sqrt(np.diag(np.linalg.inv(-H)))
    for _ in range(10):
        move = np.linalg.solve(-H, jacobian(f, x, step))
        x = x + move
        if (np.abs(move) < 1e-8 * se).all():
            return f(x), x, False
    raise ValueError(f"the Newton steps did not settle at {x}")


def _room(params, p):
    """Distance of each parameter to the nearer end of its space."""
    room = np.full(len(params), np.inf)
    room[-1] = params[-1]
    q = p.Z.shape[1]
    for i, name in enumerate(p.names):
        low, high = p.space[name]
        room[q + i] = min(params[q + i] - low, high - params[q + i])
    if (room <= 0).any():
        raise ValueError("a parameter is on the edge of its space: no curvature there")
    return room


def _first_steps(x, room):
    return np.minimum(1e-2 * np.maximum(np.abs(x), 0.1), room / 100)


def _curvature(f, x, room):
    """Hessian, and the steps it was made with: a tenth of the standard errors.

    A first Hessian, with steps that are only sure to stay inside, gives the standard errors.
    """
    x = np.asarray(x, dtype=float)
    step = _first_steps(x, room)
    for _ in range(2):
        variance = np.diag(np.linalg.inv(-hessian(f, x, step)))
        if (variance <= 0).any():
            raise ValueError(f"not a maximum: {x}")
        step = np.minimum(0.1 * np.sqrt(variance), room / 8)
    return hessian(f, x, step), step


# ---------------------------------------------------------------------------------------------
# The eight models with fixed effects
# ---------------------------------------------------------------------------------------------


def problem(
    y,
    X,
    W,
    model,
    effects,
    likelihood,
    M=None,
    D=None,
    durbin=None,
    filter_dummies=True,
    project_units=None,
):
    """The problem of a model: fixed effects, one W, every cell observed.

    M and D: W unless given. durbin: the columns of X that are lagged (all). project_units:
    whether "transformed" with time effects applies F_N (default: when it is exact).
    """
    if model not in MODELS or effects not in EFFECTS or likelihood not in ("direct", "transformed"):
        raise ValueError(f"unknown option in {(model, effects, likelihood)}")
    M = W if M is None else M
    T, N = y.shape
    entity = effects in ("entity", "two-way")
    time = effects in ("time", "two-way")
    filters = [W] * (model in LAGGED_Y) + [M] * (model in ERROR)
    if project_units is None:
        project_units = all(row_standardised(A) for A in filters or [W])

    transformed = likelihood == "transformed"
    FT = orthonormal(T) if transformed and entity else np.eye(T)
    FN = orthonormal(N) if transformed and time and project_units else np.eye(N)
    F = np.kron(FT, FN)
    blocks = FT.shape[1]
    if not transformed:
        dummy = dummies(T, N, effects)
    elif time and not project_units:
        dummy = np.kron(np.eye(blocks), np.ones((N, 1)))
    else:
        dummy = np.zeros((F.shape[1], 0))

    Ws, Ms = FN.T @ W @ FN, FN.T @ M @ FN
    stacked = F.T @ y.reshape(T * N)
    Z = F.T @ regressors(X.reshape(T * N, -1), [W if D is None else D] * T, model, durbin)
    if effects == "none":
        Z = np.hstack([np.ones((len(stacked), 1)), Z])
    return Problem(
        y=stacked,
        Wy=lag([Ws] * blocks, stacked),
        Z=full_rank(Z),
        D=dummy,
        n=len(stacked),
        names=("rho",) * (model in LAGGED_Y) + ("lambda",) * (model in ERROR),
        space={"rho": interval(W), "lambda": interval(M)},
        whiten=lambda A, lam, phi: A - lam * lag([Ms] * blocks, A),
        log_rho=lambda rho: blocks * logdet(Ws, rho),
        log_rest=lambda lam, phi: blocks * logdet(Ms, lam),
        back=lambda e: (F @ e).reshape(T, N),
        whiten_dummies=filter_dummies,
    )


def regressors(X, Ds, model, durbin=None):
    """[X, DX] of the model; X stacked (cells, k), Ds: the matrix of every period."""
    if model not in LAGGED_X:
        return X
    columns = slice(None) if durbin is None else list(durbin)
    return np.hstack([X, lag(Ds, X[:, columns])])


def lag(blocks, A):
    """blockdiag(blocks) @ A, block by block."""
    ends = np.cumsum([len(block) for block in blocks])
    pieces = np.split(A, ends[:-1])
    return np.concatenate([block @ piece for block, piece in zip(blocks, pieces, strict=True)])


def logdet(A, value):
    """ln |I - value A|; minus infinity where the determinant is not positive."""
    sign, log = np.linalg.slogdet(np.eye(len(A)) - value * A)
    return log if sign > 0 else -np.inf


def full_rank(Z):
    if np.linalg.matrix_rank(Z / np.sqrt((Z**2).sum(axis=0))) < Z.shape[1]:
        raise ValueError("the regressors are collinear")
    return Z


def interval(W):
    """(1 / smallest, 1 / largest real eigenvalue): the values around 0 where |I - v W| > 0.

    Where no real eigenvalue ends it, it is cut at 5 / spectral radius.
    """
    values = np.linalg.eigvals(W)
    radius = np.abs(values).max()
    real = values.real[np.abs(values.imag) < 1e-7 * radius]
    below, above = real[real < -1e-7 * radius], real[real > 1e-7 * radius]
    low = 1 / below.min() if below.size else -5 / radius
    high = 1 / above.max() if above.size else 5 / radius
    return float(low), float(high)
