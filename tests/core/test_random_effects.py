"""Random unit effects against explicit NT x NT matrices, R, and cases that must collapse."""

from types import SimpleNamespace

import dense
import numpy as np
import pytest
from scipy import optimize, sparse

from spatial_agglo.core import random_search
from spatial_agglo.core.likelihood import Filtered
from spatial_agglo.core.logdet import log_determinant
from spatial_agglo.core.moments import lag as lag_of
from spatial_agglo.core.random_baltagi import Dense, Outside, Sparse, system
from spatial_agglo.core.random_effects import (
    RandomEstimate,
    covariance,
    loglik_at,
    maximize,
    observed,
    predict,
    random_model,
)
from spatial_agglo.errors import BoundaryError, IdentificationError, OptionError
from spatial_agglo.formula import variables

#: name: (Wy, WX, Mu).
MODELS = {
    "ols": (False, False, False),
    "slx": (False, True, False),
    "sar": (True, False, False),
    "sem": (False, False, True),
    "sdm": (True, True, False),
    "sdem": (False, True, True),
    "sac": (True, False, True),
    "gns": (True, True, True),
}
FORMS = ("kkp", "baltagi")
CASES = [(model, form) for model in MODELS for form in FORMS if form == "kkp" or MODELS[model][2]]


# --- data and models ------------------------------------------------------------------


class TimesT:
    """T ln|I - rho W|."""

    def __init__(self, W, T):
        self.back_end, self.T = log_determinant(sparse.csr_array(W)), T
        self.grid, self.interval = self.back_end.grid, self.back_end.interval
        self.sketch = self

    def value(self, rho):
        return self.T * self.back_end.value(np.asarray(rho))

    def derivatives(self, rho):
        first, second = self.back_end.derivatives(np.asarray(rho))
        return self.T * first, self.T * second


def columns(y, X, W, model, intercept=True):
    """F = [y, (Wy), 1, X, (WX)], shape (T, N, f)."""
    lag, durbin, _ = MODELS[model]
    parts = [y[:, :, None]]
    if lag:
        parts.append((y @ W.T)[:, :, None])
    if intercept:
        parts.append(np.ones((*y.shape, 1)))
    parts.append(X)
    if durbin:
        parts.append(W @ X)
    return np.concatenate(parts, axis=2)


def assemble(F, W, M, model, form):
    lag, _, error = MODELS[model]
    T, N, f = F.shape

    def products(Z):
        Z, MZ = Z.reshape(-1, f), lag_of(M, Z).reshape(-1, f)
        return Filtered(Z.T @ Z, error * Z.T @ MZ, error * MZ.T @ MZ, lag)

    means = F.mean(axis=0)
    return random_model(
        products(F - means),
        N=N,
        T=T,
        form=form,
        between=products(np.broadcast_to(means, F.shape)),
        means=means,
        M=M,
        rho_jacobian=TimesT(W, T) if lag else None,
        lam_jacobian=TimesT(M, T) if error else None,
    )


def build(d, model, form):
    return assemble(columns(d.y, d.X, d.W, model), d.W, d.M, model, form)


def weights(rng, N, step):
    """Asymmetric, row-standardised weights."""
    W = rng.random((N, N)) * (rng.random((N, N)) < 0.4)
    np.fill_diagonal(W, 0.0)
    W[np.arange(N), (np.arange(N) + step) % N] += 0.3
    return W / W.sum(axis=1, keepdims=True)


def draw(seed, N=9, T=4, k=2, rho=0.4, lam=-0.3, phi=1.0, form="kkp", evened=0.0):
    """Draw a panel; `evened` is the share of the means of eps that is taken out of it."""
    rng = np.random.default_rng(seed)
    W, M = weights(rng, N, 1), weights(rng, N, 2) / 1.1
    X = rng.normal(size=(T, N, k)) + rng.normal(size=(N, 1))
    mu, eps = np.sqrt(phi) * rng.normal(size=N), rng.normal(size=(T, N))
    eps = eps - evened * eps.mean(axis=0)
    B, S = np.eye(N) - lam * M, np.eye(N) - rho * W
    u = np.linalg.solve(B, (mu + eps).T).T
    if form == "baltagi":
        u = mu + np.linalg.solve(B, eps.T).T
    y = np.linalg.solve(S, (1.0 + X @ np.arange(1.0, k + 1) + u).T).T
    return SimpleNamespace(y=y, X=X, W=W, M=M)


# --- explicit matrices ----------------------------------------------------------------


def error_covariance(N, T, M, form, lam, phi, sigma2):
    inverse = np.linalg.inv(np.eye(N) - lam * M)
    J = np.ones((T, T))
    if form == "kkp":
        return sigma2 * np.kron(np.eye(T) + phi * J, inverse @ inverse.T)
    return sigma2 * (np.kron(phi * J, np.eye(N)) + np.kron(np.eye(T), inverse @ inverse.T))


def explicit_errors(d, model, gamma, rho):
    T, N = d.y.shape
    Z = [np.ones((T * N, 1)), d.X.reshape(T * N, -1)]
    if MODELS[model][1]:
        Z.append(np.kron(np.eye(T), d.W) @ Z[1])
    return np.kron(np.eye(T), np.eye(N) - rho * d.W) @ d.y.ravel() - np.hstack(Z) @ gamma


def explicit(d, model, form, gamma, rho, lam, phi, sigma2):
    """Log-likelihood of the stacked normal vector."""
    T, N = d.y.shape
    Omega = error_covariance(N, T, d.M, form, lam, phi, sigma2)
    u = explicit_errors(d, model, gamma, rho)
    return (
        -0.5 * N * T * np.log(2.0 * np.pi)
        - 0.5 * np.linalg.slogdet(Omega)[1]
        + T * np.linalg.slogdet(np.eye(N) - rho * d.W)[1]
        - 0.5 * u @ np.linalg.solve(Omega, u)
    )


def split(x, model):
    """(gamma, rho, lam, phi, sigma2) from a vector in the order of `observed`."""
    lag, _, error = MODELS[model]
    k = x.size - 2 - lag - error
    return x[:k], x[k] if lag else 0.0, x[k + lag] if error else 0.0, x[-2], x[-1]


def stack(e, model):
    lag, _, error = MODELS[model]
    return np.concatenate([e.gamma, [e.rho] * lag, [e.lam] * error, [e.phi, e.sigma2]])


def hessian(f, x):
    """Central differences with two Richardson steps."""

    def once(h):
        out = np.empty((x.size, x.size))
        steps = np.diag(h * np.maximum(np.abs(x), 0.1))
        for i, a in enumerate(steps):
            for j, b in enumerate(steps):
                out[i, j] = f(x + a + b) - f(x + a - b) - f(x - a + b) + f(x - a - b)
                out[i, j] /= 4.0 * a[i] * b[j]
        return out

    one, two, three = once(2e-3), once(1e-3), once(5e-4)
    return (16.0 * (4.0 * three - two) - (4.0 * two - one)) / 45.0


def gradient(f, x):
    def once(h):
        steps = np.diag(h * np.maximum(np.abs(x), 0.1))
        return np.array([(f(x + a) - f(x - a)) / (2.0 * a[i]) for i, a in enumerate(steps)])

    return (4.0 * once(5e-4) - once(1e-3)) / 3.0


# --- the likelihood and its derivatives -----------------------------------------------


@pytest.mark.parametrize(("model", "form"), CASES)
def test_likelihood_and_information_at_any_point(model, form):
    d = draw(1, form=form)
    fitted = build(d, model, form)
    x = stack(maximize(fitted), model)
    x[:-2] *= 0.8
    x[-2:] = 0.7, 1.3
    point = split(x, model)
    assert loglik_at(fitted, *point) == pytest.approx(explicit(d, model, form, *point), rel=1e-12)
    info = observed(fitted, RandomEstimate(*point, loglik=0.0, boundary=False))
    numeric = -hessian(lambda z: explicit(d, model, form, *split(z, model)), x)
    scale = np.sqrt(np.abs(np.diag(numeric)))
    np.testing.assert_allclose(
        info / np.outer(scale, scale), numeric / np.outer(scale, scale), atol=1e-6
    )


def test_forms_agree_where_nothing_is_filtered():
    d = draw(2)
    inside, outside = (build(d, "gns", form) for form in FORMS)
    point = (np.arange(1.0, 6.0), 0.3, 0.0, 0.8, 1.7)
    assert loglik_at(inside, *point) == pytest.approx(loglik_at(outside, *point), rel=1e-13)


# --- the maximum ----------------------------------------------------------------------


@pytest.mark.parametrize(("model", "form"), CASES)
def test_maximum_of_the_explicit_likelihood(model, form):
    """A generic optimiser from several places finds nothing higher; the gradient is zero."""
    d = draw(3, N=7, T=4, k=1, form=form)
    found = maximize(build(d, model, form))
    assert not found.boundary
    best = stack(found, model)

    def f(x):
        gamma, rho, lam, phi, sigma2 = split(x, model)
        if phi < 0 or sigma2 <= 0 or abs(rho) > 0.999 or abs(lam) > 1.099:
            return np.inf
        return -explicit(d, model, form, gamma, rho, lam, phi, sigma2)

    assert found.loglik == pytest.approx(-f(best), rel=1e-12)
    scale = np.sqrt(np.abs(np.diag(hessian(f, best))))
    assert np.abs(gradient(f, best) / scale).max() < 1e-7
    rng = np.random.default_rng(0)
    spatial = slice(best.size - 2 - sum(MODELS[model][::2]), -2)
    highest = []
    for _ in range(3):
        start = best + rng.normal(size=best.size) / scale
        start[spatial] = rng.uniform(-0.8, 0.8, size=start[spatial].size)
        start[-2:] = rng.uniform(0.3, 2.0, size=2)
        end = optimize.minimize(f, start, method="Nelder-Mead", options={"maxfev": 3000})
        highest.append(-end.fun)
    assert max(highest) <= found.loglik + 1e-9
    assert max(highest) > found.loglik - 1e-2


@pytest.fixture(scope="module")
def cigarette_arrays(cigarettes, queen):
    data = variables("logc ~ logp + logy", cigarettes)
    W = queen.align(cigarettes.entities).matrix.toarray()
    return SimpleNamespace(y=data.y, X=data.X, W=W, M=W)


#: R 4.2.2, splm 1.6-5, logc ~ logp + logy on the cigarette panel, W row-standardised:
#: spreml(formula, data, index, w, w2 = w, lag, errors); "kkp" is errors = "semre" with the unit
#: effect inside, "b" outside. Coefficients, rho (its lambda, arcoef), lambda (its rho), phi,
#: the variance of the innovations, the log-likelihood; standard errors of (rho, lambda, phi).
SPLM = {
    ("ols", "kkp"): (
        [4.745613212, -0.7042772362, -0.005976579148],
        0.0,
        0.0,
        3.864685096,
        0.007678318600,
        1292.201247647,
        [0.8267473531],
    ),
    ("slx", "kkp"): (
        [4.884410865, -0.9154482966, 0.5174645795, 0.2594740061, -0.5532935015],
        0.0,
        0.0,
        3.838970119,
        0.007139218663,
        1342.583583327,
        [0.8227653013],
    ),
    ("sar", "kkp"): (
        [3.308621637, -0.5355787315, 0.003015404301],
        0.2947834994,
        0.0,
        4.100752644,
        0.006901345552,
        1348.295618764,
        [0.02659689684, 0.8786670734],
    ),
    ("sdm", "kkp"): (
        [2.707156612, -0.9365367225, 0.5449399083, 0.5830496262, -0.5725261721],
        0.4531387016,
        0.0,
        4.171714265,
        0.005628051605,
        1464.028930716,
        [0.02614245353, 0.8926052944],
    ),
    ("sem", "kkp"): (
        [4.42762496, -0.78865515, 0.06210526],
        0.0,
        0.4645013833,
        4.367897576,
        0.006117103926,
        1403.177238643,
        [0.02889002372, 0.9357984183],
    ),
    ("sem", "baltagi"): (
        [4.403313470, -0.7921993638, 0.06727770945],
        0.0,
        0.4747712317,
        4.560322335,
        0.006098907295,
        1403.553975177,
        [0.02944763783, 0.9851114765],
    ),
    ("sdem", "kkp"): (
        [4.88110474, -0.88804986, 0.44574247, 0.22583070, -0.48088814],
        0.0,
        0.4430643581,
        4.147617341,
        0.005710373831,
        1456.120956821,
        [0.02656442225, 0.8883780546],
    ),
    ("sdem", "baltagi"): (
        [4.86342166, -0.88725277, 0.44316181, 0.22351958, -0.47448824],
        0.0,
        0.4473008409,
        4.742141690,
        0.005704455310,
        1454.237021730,
        [0.02700674498, 1.019785240],
    ),
    ("sac", "kkp"): (
        [5.94488399, -0.92841126, 0.17119956],
        -0.4209685061,
        0.7269285707,
        3.974067401,
        0.004956358254,
        1438.031585795,
        [0.04949750734, 0.03221714070, 0.8538233543],
    ),
    ("sac", "baltagi"): (
        [5.727841939, -0.9268584203, 0.1576332050],
        -0.3647092453,
        0.7046807406,
        6.115141628,
        0.005087270009,
        1431.256392209,
        [0.04801224123, 0.03281592883, 1.361098402],
    ),
    ("gns", "kkp"): (
        [1.10676379, -0.98715930, 0.63367370, 0.84862841, -0.65336478],
        0.7845659317,
        -0.6346498189,
        3.932120333,
        0.004090082467,
        1502.742629624,
        [0.02150240584, 0.04946490192, 0.8442699113],
    ),
    ("gns", "baltagi"): (
        [1.182500869, -0.9848818172, 0.6401136595, 0.8365029848, -0.6606236125],
        0.7690101293,
        -0.6045830910,
        5.859785662,
        0.004182145635,
        1495.392887373,
        [0.02333896768, 0.05295735402, 1.276558177],
    ),
}


@pytest.mark.parametrize(("model", "form"), SPLM)
def test_splm(cigarette_arrays, model, form):
    gamma, rho, lam, phi, sigma2, loglik, errors = SPLM[model, form]
    fitted = build(cigarette_arrays, model, form)
    found = maximize(fitted)
    np.testing.assert_allclose(found.gamma, gamma, atol=1e-4)
    np.testing.assert_allclose([found.rho, found.lam], [rho, lam], atol=1e-4)
    assert found.phi == pytest.approx(phi, rel=1e-4)
    assert found.sigma2 == pytest.approx(sigma2, rel=1e-5)
    assert found.loglik == pytest.approx(loglik, rel=1e-8)
    # its standard errors are of a numerical Hessian of the concentrated likelihood
    mine = np.sqrt(np.diag(np.linalg.inv(observed(fitted, found))))[len(gamma) : -1]
    np.testing.assert_allclose(mine, errors, rtol=0.01)


@pytest.mark.parametrize(
    ("model", "gamma", "rho", "phi", "sigma2", "loglik"),
    [
        ("sar", [-0.99724188, 0.46719388], 0.1877751116, 4.266280049, 0.005232360940, 1548.2433522),
        (
            "sdm",
            [-1.00699493, 0.59334961, 0.07017914, -0.27203243],
            0.2273048516,
            4.380904113,
            0.005150470870,
            1555.4632250,
        ),
    ],
)
def test_splm_with_demeaned_periods(cigarette_arrays, model, gamma, rho, phi, sigma2, loglik):
    """The same call on y, X and WX less their period means, without intercept."""
    d = cigarette_arrays
    y, X = (Z - Z.mean(axis=1, keepdims=True) for Z in (d.y, d.X))
    if model == "sdm":
        WX = d.W @ d.X
        X = np.concatenate([X, WX - WX.mean(axis=1, keepdims=True)], axis=2)
    found = maximize(assemble(columns(y, X, d.W, "sar", intercept=False), d.W, d.W, "sar", "kkp"))
    np.testing.assert_allclose(found.gamma, gamma, atol=1e-4)
    assert found.rho == pytest.approx(rho, abs=1e-4)
    assert found.phi == pytest.approx(phi, rel=1e-4)
    assert found.sigma2 == pytest.approx(sigma2, rel=1e-5)
    assert found.loglik == pytest.approx(loglik, rel=1e-8)


def test_the_higher_of_two_maxima(cigarette_arrays):
    """The gns of the cigarette panel has two: a search that starts at the other one stays."""
    fitted = build(cigarette_arrays, "gns", "kkp")
    found = maximize(fitted)
    x, loglik, settled = random_search.climb(fitted, np.array([-0.5, 0.7, 4.8]))
    assert settled
    assert x[0] < -0.5 < 0.5 < x[1]
    assert loglik < found.loglik - 20.0
    assert found.rho > 0.5 > -0.5 > found.lam


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(6))
def test_no_start_leads_higher(form, seed):
    rng = np.random.default_rng(seed)
    d = draw(seed, N=6 + 3 * seed, T=2 + seed, k=1, rho=0.5, lam=0.6, phi=0.5, form=form)
    d.M = d.W
    fitted = build(d, "sac", form)
    found = maximize(fitted)
    for _ in range(8):
        start = np.append(rng.uniform(-0.9, 0.9, size=2), rng.choice([0.0, 0.5, 2.0, 5.0]))
        assert random_search.climb(fitted, start)[1] <= found.loglik + 1e-9


# --- cases that must collapse ---------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", dense.MODELS)
def test_boundary_is_the_pooled_model(model, form):
    """Unit means that vary less than independent errors make them: phi = 0."""
    d = draw(5, N=12, T=5, phi=0.0, evened=0.9)
    d.M = d.W
    fitted = build(d, model, form)
    found = maximize(fitted)
    assert found.boundary
    assert found.phi == found.sigma2_mu == 0.0
    pooled = dense.fit(d.y, d.X, d.W, model, "none", "direct")
    expected = np.insert(pooled["params"], -1, 0.0)
    np.testing.assert_allclose(stack(found, model), expected, rtol=1e-7, atol=1e-9)
    assert found.loglik == pytest.approx(pooled["loglik"], rel=1e-11)

    def lower(step):
        point = split(np.insert(pooled["params"], -1, step), model)
        return explicit(d, model, form, *point)

    assert lower(1e-4) < lower(0.0)
    cov = covariance(observed(fitted, found), np.linalg.inv)
    assert np.isnan(cov[-2]).all()
    assert np.isnan(cov[:, -2]).all()
    rest = [i for i in range(len(cov)) if i != len(cov) - 2]
    H = hessian(lambda x: dense.loglik(x, d.y, d.X, d.W, model, "none", "direct"), pooled["params"])
    conditional = np.linalg.inv(-H)
    scale = np.sqrt(np.diag(conditional))
    np.testing.assert_allclose(
        cov[np.ix_(rest, rest)] / np.outer(scale, scale),
        conditional / np.outer(scale, scale),
        atol=1e-5,
    )


#: splm, the call above with effects = "pooling": phi is 0.
POOLED = [
    ("sar", [2.64597138, -0.75864477, 0.25387028], 0.1902832986, 0.0, 0.03274267195, 394.5083638),
    ("sem", [2.98657702, -0.97643350, 0.37460979], 0.0, 0.3457822020, 0.03028712307, 432.1546615),
    (
        "sac",
        [5.21511107, -1.11272872, 0.47800597],
        -0.5634731,
        0.7399058316,
        0.0214864721,
        506.32006,
    ),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("model", "gamma", "rho", "lam", "sigma2", "loglik"), POOLED)
def test_splm_pooled(cigarette_arrays, model, form, gamma, rho, lam, sigma2, loglik):
    fitted = build(cigarette_arrays, model, form)
    value = loglik_at(fitted, np.array(gamma), rho, lam, 0.0, sigma2)
    assert value == pytest.approx(loglik, rel=1e-5)


@pytest.mark.parametrize(
    ("model", "form"), [("ols", "kkp"), ("slx", "kkp"), ("sem", "baltagi"), ("sdem", "baltagi")]
)
def test_dispersed_effects_are_fixed_effects(model, form):
    """As T phi grows the unit means say nothing more of the slopes, of lambda and of sigma2.

    What is left is the likelihood within units, with its N(T - 1) observations. Where the unit
    effect is filtered (kkp, and any spatial lag) the means keep telling rho and lambda.
    """
    d = draw(6, N=12, T=6, phi=1e8, rho=0.0, form=form)
    d.M = d.W
    found = maximize(build(d, model, form))
    fixed = dense.fit(d.y, d.X, d.W, model, "entity", "transformed")["params"]
    # beta of the means weighs 1 / (1 + T phi) and is wrong by sqrt(phi)
    np.testing.assert_allclose(np.delete(stack(found, model)[1:], -2), fixed, atol=1e-4)


# --- invariance -----------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_units_of_measurement_and_order_do_not_matter(form):
    d = draw(7, N=10, T=5, form=form)
    found = maximize(build(d, "gns", form))
    order = np.random.default_rng(0).permutation(10)
    turned = SimpleNamespace(
        y=100.0 * d.y[:, order],
        X=d.X[:, order] * np.array([1e4, 1e-3]),
        W=d.W[np.ix_(order, order)],
        M=d.M[np.ix_(order, order)],
    )
    again = maximize(build(turned, "gns", form))
    scale = 100.0 / np.array([1.0, 1e4, 1e-3, 1e4, 1e-3])
    np.testing.assert_allclose(again.gamma, found.gamma * scale, rtol=1e-9)
    np.testing.assert_allclose(
        [again.rho, again.lam, again.phi, again.sigma2],
        [found.rho, found.lam, found.phi, 1e4 * found.sigma2],
        rtol=1e-9,
    )
    assert again.loglik == pytest.approx(found.loglik - d.y.size * np.log(100.0), rel=1e-11)


# --- prediction -----------------------------------------------------------------------


@pytest.mark.parametrize("lam", [0.0, 0.55])
@pytest.mark.parametrize("form", FORMS)
def test_prediction_of_the_unit_effects(form, lam):
    rng = np.random.default_rng(8)
    T, N, phi = 4, 7, 0.9
    M = weights(rng, N, 1)
    u = rng.normal(size=(T, N))
    B = np.eye(N) - lam * M
    Omega = error_covariance(N, T, M, form, lam, phi, 1.0)
    loading = np.linalg.inv(B) if form == "kkp" else np.eye(N)
    mu = phi * np.kron(np.ones((1, T)), loading.T) @ np.linalg.solve(Omega, u.ravel())
    out = predict(u, phi=phi, lam=lam, M=sparse.csr_array(M), form=form)
    np.testing.assert_allclose(out.mu, mu, rtol=1e-10)
    np.testing.assert_allclose(out.eps, (u - loading @ mu) @ B.T, rtol=1e-10)
    # what the sum of squares of the likelihood is made of
    total = np.sum(out.eps**2) + np.sum(out.mu**2) / phi
    assert total == pytest.approx(u.ravel() @ np.linalg.solve(Omega, u.ravel()), rel=1e-10)


# --- K, dense and sparse --------------------------------------------------------------


def lattice(m):
    """Row-standardised rook contiguity of an m x m grid."""
    line = sparse.diags_array([np.ones(m - 1)] * 2, offsets=[-1, 1], shape=(m, m))
    one = sparse.eye_array(m)
    B = sparse.csr_array(sparse.kron(line, one) + sparse.kron(one, line))
    return sparse.csr_array(sparse.diags_array(1.0 / B.sum(axis=1)) @ B)


def nearest(n, k):
    """Row-standardised k nearest neighbours of random points: asymmetric."""
    points = np.random.default_rng(9).random((n, 2))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    W = np.zeros((n, n))
    np.put_along_axis(W, np.argsort(distance, axis=1)[:, :k], 1.0 / k, axis=1)
    return sparse.csr_array(W)


@pytest.mark.parametrize("M", [lattice(19), nearest(400, 4), 0.5 * lattice(19)])
@pytest.mark.parametrize("lam", [-0.95, -0.3, 0.4, 0.97])
@pytest.mark.parametrize("s", [0.0, 0.4, 3.0, 8.0])
def test_sparse_and_dense_factors(M, lam, s):
    assert isinstance(system(M), Sparse)
    assert isinstance(system(M.toarray()), Dense)
    full, thin = Dense.of(M), Sparse.of(M)
    Z = np.random.default_rng(0).normal(size=(M.shape[0], 2))
    (value, solve), (other, other_solve) = (K.factor(lam, np.expm1(s)) for K in (full, thin))
    assert other == pytest.approx(value, rel=1e-13, abs=1e-10)
    np.testing.assert_allclose(other_solve(Z), solve(Z), rtol=1e-9, atol=1e-12)
    g, H = full.derivatives(lam, s)
    gradient, hessian = thin.derivatives(lam, s)
    np.testing.assert_allclose(gradient, g, atol=1e-10 * np.abs(g).max())
    np.testing.assert_allclose(hessian, H, atol=1e-7 * np.abs(H).max())


def test_sparse_and_dense_estimates():
    W, T = lattice(19), 4
    N = W.shape[0]
    rng = np.random.default_rng(10)
    X = rng.normal(size=(T, N, 2))
    identity = np.eye(N)
    u = rng.normal(size=N) + np.linalg.solve(identity - 0.5 * W, rng.normal(size=(N, T))).T
    y = np.linalg.solve(identity - 0.3 * W, (X.sum(axis=2) + u).T).T
    F = columns(y, X, W.toarray(), "sac")
    thin = assemble(F, W, W, "sac", "baltagi")
    assert isinstance(thin.mean, Outside)
    assert isinstance(thin.mean.system, Sparse)
    full = assemble(F, W, W.toarray(), "sac", "baltagi")
    assert isinstance(full.mean.system, Dense)
    one, two = maximize(thin), maximize(full)
    np.testing.assert_allclose(stack(one, "sac"), stack(two, "sac"), rtol=1e-9)
    np.testing.assert_allclose(observed(thin, one), observed(full, two), rtol=1e-6, atol=1e-4)


# --- errors ---------------------------------------------------------------------------


def test_what_cannot_be_estimated():
    d = draw(11)
    F = columns(d.y, d.X, d.W, "ols")
    with pytest.raises(IdentificationError, match="at least two periods"):
        assemble(F[:1], d.W, d.M, "ols", "kkp")
    copy = np.concatenate([F, F[:, :, :1] + 1.0], axis=2)
    with pytest.raises(IdentificationError, match="explain the outcome exactly"):
        maximize(assemble(copy, d.W, d.M, "ols", "kkp"))
    still = F.copy()
    still[:, :, 0] = F[:, :, 0].mean(axis=0)
    with pytest.raises(BoundaryError, match="nothing is left to explain within units"):
        maximize(assemble(still, d.W, d.M, "ols", "kkp"))


@pytest.mark.parametrize(("model", "name"), [("sar", "rho"), ("sem", "lambda")])
@pytest.mark.parametrize("form", FORMS)
def test_end_of_the_parameter_space(model, name, form):
    """All units follow the same path: y is its own lag."""
    rng = np.random.default_rng(12)
    W = weights(rng, 8, 1)
    y = np.cumsum(rng.normal(size=(30, 1)), axis=0) + 1e-6 * rng.normal(size=(30, 8))
    d = SimpleNamespace(y=y, X=rng.normal(size=(30, 8, 1)), W=W, M=W)
    with pytest.raises(BoundaryError, match=f"end of the parameter space of {name}"):
        maximize(build(d, model, form))


def test_options():
    d = draw(13)
    fitted = build(d, "sem", "kkp")
    pieces = {"N": 9, "T": 4, "lam_jacobian": fitted.lam_jacobian}
    with pytest.raises(OptionError, match="'kkp', 'baltagi'"):
        random_model(fitted.within, form="b", **pieces)
    with pytest.raises(OptionError, match="unit means"):
        random_model(fitted.within, form="baltagi", **pieces)
    with pytest.raises(OptionError, match="between units"):
        random_model(fitted.within, form="kkp", **pieces)
    with pytest.raises(OptionError, match="needs its weights M"):
        predict(d.y, phi=1.0, lam=0.2)
    with pytest.raises(OptionError, match="'kkp', 'baltagi'"):
        predict(d.y, phi=1.0, form="outside")


# --- simulation -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_coverage(form):
    """95% intervals of the slopes, rho and lambda hold between 92% and 98% of the time."""
    truth = np.array([1.0, 1.0, 2.0, 0.4, 0.3])
    W = lattice(7).toarray()
    N, T, repetitions = 49, 8, 500
    rng = np.random.default_rng(14)
    X = rng.normal(size=(T, N, 2)) + rng.normal(size=(N, 1))
    B, S = np.eye(N) - 0.3 * W, np.eye(N) - 0.4 * W
    inside = np.zeros(5)
    for _ in range(repetitions):
        mu, eps = rng.normal(size=N), rng.normal(size=(T, N))
        u = np.linalg.solve(B, (mu + eps).T).T
        if form == "baltagi":
            u = mu + np.linalg.solve(B, eps.T).T
        y = np.linalg.solve(S, (1.0 + X @ [1.0, 2.0] + u).T).T
        fitted = build(SimpleNamespace(y=y, X=X, W=W, M=W), "sac", form)
        found = maximize(fitted)
        errors = np.sqrt(np.diag(np.linalg.inv(observed(fitted, found))))[:5]
        inside += np.abs(stack(found, "sac")[:5] - truth) < 1.96 * errors
    share = inside / repetitions
    assert np.all((share[1:] > 0.92) & (share[1:] < 0.98)), share
