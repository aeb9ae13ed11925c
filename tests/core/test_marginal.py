"""Marginal likelihoods against brute force: dense data, fixed grids, plain sums."""

from dataclasses import dataclass

import dense
import numpy as np
import pytest
from dense_family import MODELS, problem
from scipy import sparse
from scipy.special import betaln, gammaln, logsumexp

from spatial_agglo.core.jacobian import LogJacobian, counts
from spatial_agglo.core.likelihood import Filtered, Terms
from spatial_agglo.core.logdet import log_determinant
from spatial_agglo.core.marginal import (
    Beta,
    Coefficients,
    Uniform,
    breaks,
    log_integral,
    log_marginal,
)
from spatial_agglo.core.moments import accumulate
from spatial_agglo.core.within import within
from spatial_agglo.errors import ConvergenceError, IdentificationError
from spatial_agglo.models.specification import free_cells

N, T, K = 12, 5, 2
CASES = dense.weights_cases(np.random.default_rng(3))
LAGGED_X, LAGGED_Y = ("slx", "sdm", "sdem", "gns"), ("sar", "sdm", "sac", "gns")
ERROR = ("sem", "sdem", "sac", "gns")


def data(k=K, seed=0, T=T, rho=0.3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(T, N, k)) + rng.normal(size=(1, N, 1))
    u = X.sum(axis=2) + 2.0 + rng.normal(size=(T, N))
    return np.linalg.solve(np.eye(N) - rho * CASES["knn5"], u.T).T, X


def ours(y, X, W, model, effects, likelihood, g, prior):
    """The log marginal likelihood from the moment matrix."""
    T, N, k = X.shape
    columns = [y[:, :, None], *([np.ones((T, N, 1))] if effects == "none" else []), X]
    F = np.concatenate(columns, axis=2)
    if effects in ("entity", "two-way"):
        F = within(F, "entity")
    moments = accumulate(F, {"W": W}, effects, words=("", "W", "WW"))
    first = F.shape[2] - k
    regressors = [("", j) for j in range(1, F.shape[2])]
    if model in LAGGED_X:
        regressors += [("W", first + j) for j in range(k)]
    filtered = Filtered.of(
        moments,
        regressors,
        lag="W" if model in LAGGED_Y else None,
        error="W" if model in ERROR else None,
    )
    number = counts(N, T, effects, likelihood, bool(np.allclose(W.sum(axis=1), 1.0)))
    term = LogJacobian(log_determinant(sparse.csr_array(W)), number)
    terms = Terms(number.n, term if model in LAGGED_Y else None, term if model in ERROR else None)
    coefficients = Coefficients(free_cells(N, T, effects), effects == "none", g)
    return log_marginal(filtered, terms, coefficients, prior)


def nodes(interval, panels=20, order=12):
    """Composite Gauss-Legendre nodes and log weights, finer towards both ends."""
    low, high = interval
    edges = low + (high - low) * 0.5 * (1.0 - np.cos(np.linspace(0.0, np.pi, panels + 1)))
    x, w = np.polynomial.legendre.leggauss(order)
    half = 0.5 * np.diff(edges)[:, None]
    at = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * x
    return at.ravel(), np.log(half * w).ravel()


def brute(y, X, W, model, effects, likelihood, g, interval, log_prior):
    """The same on explicit transformed data, one regression for each lambda, plain sums."""
    p = problem(y, X, W, model, effects, likelihood)
    rank = np.linalg.matrix_rank(p.D) if p.D.size else 0
    rho, log_w = nodes(interval) if "rho" in p.names else (np.zeros(1), np.zeros(1))
    lam, log_v = nodes(interval) if "lambda" in p.names else (np.zeros(1), np.zeros(1))
    jacobian = np.array([p.log_rho(r) for r in rho]) + log_w
    if "rho" in p.names:
        jacobian = jacobian + log_prior(rho)
    intercept = effects == "none"
    rows = []
    for value, weight in zip(lam, log_v, strict=True):
        both = p.whiten(np.column_stack([p.y, p.Wy, p.Z]), value, 0.0)
        D = p.whiten(p.D, value, 0.0)
        if g is not None and intercept:
            D = np.column_stack([D, both[:, 2]])
        if D.size:
            both = both - D @ np.linalg.lstsq(D, both, rcond=None)[0]
        Z = np.delete(both, [0, 1, *([2] if g is not None and intercept else [])], axis=1)
        left = both[:, 0, None] - both[:, 1, None] * rho
        e = left - Z @ np.linalg.lstsq(Z, left, rcond=None)[0]
        ssr, tss = (e**2).sum(axis=0), (left**2).sum(axis=0)
        k = Z.shape[1]
        if g is None:
            a = 0.5 * (p.n - rank - k)
            height = -0.5 * np.linalg.slogdet(Z.T @ Z)[1] - a * np.log(ssr)
            height = height + gammaln(a) - a * np.log(2 * np.pi)
        else:
            a = 0.5 * (p.n - rank - intercept)
            height = -a * np.log((ssr + g * tss) / (1 + g)) + 0.5 * k * np.log(g / (1 + g))
            height = height + gammaln(a) - a * np.log(np.pi)
            if intercept:
                one = p.whiten(np.ones((p.n, 1)), value, 0.0)
                height = height - 0.5 * np.log((one**2).sum())
        height = height + jacobian + p.log_rest(value, 0.0) + weight
        if "lambda" in p.names:
            height = height + log_prior(value)
        rows.append(logsumexp(height))
    return float(logsumexp(rows))


# --- against brute force ------------------------------------------------------------------


@pytest.mark.parametrize("g", [None, 0.02])
@pytest.mark.parametrize("effects", ["none", "entity", "time", "two-way"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_against_sums_on_explicit_data(model, effects, g):
    y, X = data()
    W = CASES["contiguity"]
    interval = 1 / np.linalg.eigvals(W).real.min(), 1.0
    uniform = -np.log(interval[1] - interval[0])
    found = ours(y, X, W, model, effects, "transformed", g, Uniform())
    expected = brute(
        y, X, W, model, effects, "transformed", g, interval, lambda v: uniform + 0.0 * v
    )
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("weights", ["knn5", "mix", "unstandardised"])
@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
@pytest.mark.parametrize("model", ["sdm", "sem", "sac"])
def test_weights_of_every_kind(model, likelihood, weights):
    """Asymmetric ones with complex eigenvalues, and ones that are not row-standardised."""
    y, X = data(seed=1)
    W = CASES[weights]
    values = np.linalg.eigvals(W)
    real = values.real[np.abs(values.imag) < 1e-9]
    interval = 1 / real.min(), 1 / real.max()
    uniform = -np.log(interval[1] - interval[0])
    found = ours(y, X, W, model, "entity", likelihood, 0.05, Uniform())
    expected = brute(
        y, X, W, model, "entity", likelihood, 0.05, interval, lambda v: uniform + 0.0 * v
    )
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("model", ["ols", "sar", "sdm"])
def test_period_effects_of_weights_that_are_not_row_standardised(model):
    """They are integrated out with a flat prior, so their number leaves the exponent."""
    y, X = data(seed=2)
    W = CASES["unstandardised"]
    values = np.linalg.eigvals(W).real
    interval = 1 / values.min(), 1 / values.max()
    uniform = -np.log(interval[1] - interval[0])
    for effects in ("time", "two-way"):
        found = ours(y, X, W, model, effects, "transformed", 0.1, Uniform())
        expected = brute(
            y, X, W, model, effects, "transformed", 0.1, interval, lambda v: uniform + 0.0 * v
        )
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [1.0, 1.01, 4.0])
@pytest.mark.parametrize("model", ["sar", "sdem", "gns"])
def test_the_beta_prior(model, shape):
    y, X = data(seed=4)
    W = CASES["contiguity"]

    def log_prior(v):
        a = shape
        return (a - 1) * np.log((1 + v) * (1 - v)) - betaln(a, a) - (2 * a - 1) * np.log(2)

    found = ours(y, X, W, model, "two-way", "transformed", 0.02, Beta(shape))
    expected = brute(y, X, W, model, "two-way", "transformed", 0.02, (-1.0, 1.0), log_prior)
    assert found == pytest.approx(expected, abs=1e-6 if shape == 1.01 else 1e-8)


@pytest.mark.parametrize("g", [None, 0.1])
def test_coefficient_and_variance_integrate_in_closed_form(g):
    """beta, ln sigma2 and rho on a grid of three dimensions, with nothing concentrated out."""
    y, X = data(k=1, seed=5, T=3)
    W = CASES["contiguity"]
    p = problem(y, X, W, "sar", "entity", "transformed")
    x, n = p.Z[:, 0], p.n
    rho, log_w = nodes((1 / np.linalg.eigvals(W).real.min(), 1.0), panels=12, order=10)
    beta = np.linspace(-3.0, 5.0, 401)
    log_s2 = np.linspace(-5.0, 6.0, 401)
    step = np.log((beta[1] - beta[0]) * (log_s2[1] - log_s2[0]))
    s2 = np.exp(log_s2)[:, None]
    total = []
    for r, weight in zip(rho, log_w, strict=True):
        e = (p.y - r * p.Wy)[:, None] - x[:, None] * beta
        value = -0.5 * n * np.log(2 * np.pi * s2) - (e**2).sum(axis=0) / (2 * s2)
        if g is not None:
            precision = g * (x @ x) / s2
            value = value + 0.5 * np.log(precision / (2 * np.pi)) - 0.5 * precision * beta**2
        total.append(logsumexp(value) + step + p.log_rho(r) + weight)
    interval = 1 / np.linalg.eigvals(W).real.min(), 1.0
    expected = logsumexp(total) - np.log(interval[1] - interval[0])
    found = ours(y, X, W, "sar", "entity", "transformed", g, Uniform())
    if g is None:  # (2 pi)^-a in place of pi^-a
        found += 0.5 * (n - 1) * np.log(2)
    assert found == pytest.approx(expected, abs=1e-6)


# --- special cases ------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["sar", "sem", "sac"])
def test_a_prior_at_zero_gives_ols(model):
    y, X = data(seed=6)
    W = CASES["mix"]
    tight = Beta(1e9)
    found = ours(y, X, W, model, "two-way", "transformed", 0.02, tight)
    plain = ours(y, X, W, "ols", "two-way", "transformed", 0.02, tight)
    assert found == pytest.approx(plain, abs=1e-4)


def test_a_prior_at_zero_leaves_the_lags_of_x():
    y, X = data(seed=6)
    W = CASES["mix"]
    found = [
        ours(y, X, W, model, "entity", "transformed", 0.02, Beta(1e9))
        for model in ("slx", "sdm", "sdem", "gns")
    ]
    np.testing.assert_allclose(found, found[0], rtol=0, atol=1e-4)


def test_a_perfect_fit_is_an_error():
    _, X = data()
    y = X.sum(axis=2)
    for model in ("ols", "sar", "sem", "gns"):
        with pytest.raises(IdentificationError, match="exactly"):
            ours(y, X, CASES["mix"], model, "entity", "transformed", None, Uniform())


@dataclass(frozen=True)
class Space:
    interval: tuple[float, float]


@pytest.mark.parametrize("interval", [(-1.5, 1.0), (-3.0, 0.25)])
@pytest.mark.parametrize("prior", [Uniform(), Beta(), Beta(1.0), Beta(7.5)])
def test_priors_integrate_to_one(prior, interval):
    ends = prior.interval(Space(interval))
    assert interval[0] <= ends[0] < ends[1] == interval[1]
    x, w = nodes(ends)
    assert logsumexp(prior.log_density(x, Space(interval)) + w) == pytest.approx(0.0, abs=1e-4)


# --- integrals ----------------------------------------------------------------------------

GRID = np.linspace(-0.999, 0.999, 97)


def normal(x, mean, sd):
    return -0.5 * ((x - mean) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))


@pytest.mark.parametrize("sd", [1e-7, 1e-4, 0.01, 0.05])
@pytest.mark.parametrize("mean", [-0.9, 0.0, 0.123456, 0.7])
def test_peaks_of_any_width_are_found(mean, sd):
    def density(at):
        return normal(at[0], mean, sd) - 2000.0

    edges = breaks(density, [GRID], [(-1.0, 1.0)])
    assert log_integral(density, edges) == pytest.approx(-2000.0, abs=1e-9 if sd < 0.02 else 0.03)


def test_two_needles_far_apart():
    """The higher one lies between two points of the scan, the lower one on a point."""

    def density(at):
        low, high = normal(at[0], GRID[20], 1e-3), normal(at[0], 0.5 * (GRID[80] + GRID[81]), 1e-3)
        return np.logaddexp(low + np.log(0.25), high + np.log(0.75))

    edges = breaks(density, [GRID], [(-1.0, 1.0)])
    assert log_integral(density, edges) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("correlation", [0.0, 0.9, -0.999])
@pytest.mark.parametrize("sd", [1e-3, 0.04])
def test_ridges(sd, correlation):
    def density(at):
        x, y = at[0][:, :, None] - 0.1, at[1][:, None, :] + 0.2
        rest = sd**2 * (1 - correlation**2)
        along = -0.5 * (x / sd) ** 2 - 0.5 * (y - correlation * x) ** 2 / rest
        return along - np.log(2 * np.pi * sd * np.sqrt(rest))

    edges = breaks(density, [GRID, GRID], [(-1.0, 1.0)] * 2)
    assert log_integral(density, edges) == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize("power", [0.01, 0.5, 3.0])
def test_mass_at_the_ends(power):
    def density(at):
        return power * np.log((1.0 - at[0]) * (1.0 + at[0]))

    edges = breaks(density, [GRID], [(-1.0, 1.0)])
    expected = betaln(power + 1, power + 1) + (2 * power + 1) * np.log(2)
    assert log_integral(density, edges) == pytest.approx(expected, abs=1e-8)


def test_a_pole_is_an_error():
    def density(at):
        return -np.log(np.abs(at[0] - 0.1 * np.pi) + 1e-300)

    with pytest.raises(ConvergenceError, match="did not settle"):
        log_integral(density, [np.array([-1.0, 0.0, 1.0])])
