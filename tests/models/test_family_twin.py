"""sac and gns, and other matrices for errors and regressors, against a dense brute force."""

import dense
import dense_family
import numpy as np
import pytest
from conftest import EFFECTS

import spatial_agglo as sa


@pytest.fixture(scope="module")
def matrices():
    return dense.weights_cases(np.random.default_rng(3))


def run(model, panel, W, **options):
    return getattr(sa, model)("y ~ x1 + x2", panel, W, **options)


def check(fit, found, problem):
    np.testing.assert_allclose(fit.loglik, found["loglik"], rtol=1e-9)
    np.testing.assert_allclose(fit.values, found["params"], rtol=2e-5, atol=2e-5)
    # on the same side of flat directions: the twin's likelihood at our estimates is its maximum
    at_ours = dense_family.loglik(fit.values, problem)
    assert at_ours == pytest.approx(found["loglik"], abs=1e-6)
    assert fit.n_effective == found["n"]
    np.testing.assert_allclose(fit.resid, found["resid"], atol=1e-4)
    cov = dense_family.observed_cov(fit.values, problem)
    np.testing.assert_allclose(fit.std_errors, np.sqrt(np.diag(cov)), rtol=1e-4)


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("likelihood", ["transformed", "direct"])
@pytest.mark.parametrize("model", ["sac", "gns"])
@pytest.mark.parametrize("case", ["contiguity", "knn5"])
def test_both_parameters(matrices, small, model, likelihood, effects, case):
    W = matrices[case]
    _, panel, weights, y, X = small(W, seed=8)
    fit = run(model, panel, weights, effects=effects, likelihood=likelihood)
    problem = dense_family.problem(y, X, W, model, effects, likelihood)
    check(fit, dense_family.fit(problem), problem)


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", ["slx", "sem", "sdm", "sdem", "sac", "gns"])
def test_other_matrices(matrices, small, model, effects):
    W, M, D = matrices["contiguity"], matrices["knn5"], matrices["mix"]
    _, panel, weights, y, X = small(W, seed=4)
    others, dense_others = {}, {}
    if model in ("sem", "sdem", "sac", "gns"):
        others["W_error"] = sa.SpatialWeights.from_dense(M, weights.ids)
        dense_others["M"] = M
    if model in ("slx", "sdm", "sdem", "gns"):
        others["W_durbin"] = sa.SpatialWeights.from_dense(D, weights.ids)
        dense_others["D"] = D
    fit = run(model, panel, weights, effects=effects, **others)
    problem = dense_family.problem(y, X, W, model, effects, "transformed", **dense_others)
    check(fit, dense_family.fit(problem), problem)


@pytest.mark.parametrize("model", ["slx", "sdm", "sdem", "gns"])
@pytest.mark.parametrize("standardized", [True, False])
def test_impacts_with_another_matrix_for_the_regressors(matrices, small, model, standardized):
    W = matrices["contiguity"]
    rows = np.random.default_rng(0).uniform(0.5, 1.5, size=(len(W), 1))
    D = matrices["mix"] * (1.0 if standardized else rows)
    _, panel, weights, _, _ = small(W, seed=4)
    fit = run(
        model,
        panel,
        weights,
        effects="entity",
        W_durbin=sa.SpatialWeights.from_dense(D, weights.ids),
    )
    N, rho = len(W), fit.rho or 0.0
    S = np.eye(N) - rho * W

    def effects(values):
        p = dict(zip(fit.names, values, strict=True))
        inverse = np.linalg.inv(np.eye(N) - p.get("rho", 0.0) * W)
        out = []
        for name in ("x1", "x2"):
            E = inverse @ (p[name] * np.eye(N) + p[f"W*{name}"] * D)
            out.append((np.trace(E) / N, E.sum() / N))
        direct, total = np.array(out).T
        return np.stack([direct, total - direct, total])

    assert np.linalg.cond(S) < 1e6
    found = fit.impacts()
    np.testing.assert_allclose(found.estimate, effects(fit.values), rtol=1e-10)
    J = dense.jacobian(lambda v: effects(v).ravel(), fit.values, 1e-5 * np.ones(fit.values.size))
    twin = np.sqrt(np.diag(J @ fit.covariance @ J.T)).reshape(3, 2)
    np.testing.assert_allclose(found.se, twin, rtol=1e-6)
    drawn = fit.impacts(method="simulation", draws=200, seed=3)
    rng = sa.impacts(fit, method="simulation", draws=200, seed=3)
    np.testing.assert_array_equal(drawn.bounds, rng.bounds)


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("same", [True, False])
def test_expected_information(matrices, small, effects, same):
    """Minus the mean of the Hessian, with H = B W S^-1 B^-1 and K = M B^-1 written out."""
    W = matrices["contiguity"]
    M = W if same else matrices["knn5"]
    _, panel, weights, y, X = small(W, seed=6)
    other = None if same else sa.SpatialWeights.from_dense(M, weights.ids)
    fit = run("gns", panel, weights, effects=effects, W_error=other, cov="expected")
    N, T = len(W), X.shape[0]
    S, B = np.eye(N) - fit.rho * W, np.eye(N) - fit.lam * M
    H = [B @ W @ np.linalg.inv(S) @ np.linalg.inv(B), M @ np.linalg.inv(B)]
    J = np.eye(N) - 1 / N if effects in ("time", "two-way") else np.eye(N)
    QT = np.eye(T) - 1 / T if effects in ("entity", "two-way") else np.eye(T)
    tau = round(np.trace(QT))
    Q = np.kron(QT, J)
    one = [np.ones((T * N, 1))] if effects == "none" else []
    flat, lagged = X.reshape(T * N, -1), (W @ X).reshape(T * N, -1)
    Z = np.hstack([*one, flat, lagged])
    gamma = fit.values[: Z.shape[1]]
    big = np.eye(T)
    BZ = Q @ np.kron(big, B) @ Z
    # the mean of Wy, with the innovations that were found: m = Q B W y - Q H v
    v = fit.resid.reshape(-1)
    u = y.reshape(-1) - fit.rho * (W @ y.T).T.reshape(-1) - Z @ gamma
    np.testing.assert_allclose(Q @ np.kron(big, B) @ u, v, atol=1e-8)
    m = Q @ np.kron(big, B @ W) @ y.reshape(-1) - Q @ np.kron(big, H[0]) @ v
    k, s2 = Z.shape[1], fit.sigma2
    info = np.zeros((k + 3, k + 3))
    info[:k, :k] = BZ.T @ BZ / s2
    info[k, :k] = info[:k, k] = BZ.T @ m / s2
    info[k, k] = m @ m / s2
    for a in range(2):
        for b in range(2):
            pair = np.trace(J @ H[a] @ H[b]) + np.trace(H[a].T @ J @ H[b])
            info[k + a, k + b] += tau * pair
        info[k + a, -1] = info[-1, k + a] = tau * np.trace(J @ H[a]) / s2
    info[-1, -1] = fit.n_effective / (2 * s2**2)
    twin = np.linalg.inv(info)
    scale = np.sqrt(np.outer(np.diag(twin), np.diag(twin)))
    np.testing.assert_allclose(fit.covariance / scale, twin / scale, atol=1e-8)


def test_the_global_maximum_is_found(cigarettes, queen):
    """A surface with two maxima: the higher one is taken."""
    fit = sa.gns("logc ~ logp + logy", cigarettes, queen, effects="entity")
    data = fit.workspace.data
    W = queen.align(cigarettes.entities).matrix.toarray()
    problem = dense_family.problem(data.y, data.X, W, "gns", "entity", "transformed")
    found = dense_family.fit(problem, points=30)
    assert len(found["maxima"]) >= 2
    assert fit.loglik == pytest.approx(found["maxima"][0][0], abs=1e-6)
    assert fit.loglik > found["maxima"][1][0] + 1.0
