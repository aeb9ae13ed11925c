"""The dense twins themselves: against R, the earlier brute force, and Gaussian densities."""

import dense
import dense_family as family
import dense_random as random_effects
import dense_unbalanced as unbalanced
import numpy as np
import pytest
from conftest import EFFECTS
from scipy.linalg import block_diag
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

LIKELIHOODS = ("transformed", "direct")
MODELS = family.MODELS
SPATIAL = MODELS[2:]


@pytest.fixture(scope="module")
def matrices():
    return dense.weights_cases(np.random.default_rng(3))


@pytest.fixture(scope="module")
def arrays(cigarettes, queen):
    """y, X and W of the cigarette panel, by label."""
    table = cigarettes.frame.reset_index().pivot(index="year", columns="state")

    def column(name):
        return table[name][list(queen.ids)].to_numpy()

    X = np.stack([column("logp"), column("logy")], axis=2)
    return column("logc"), X, queen.matrix.toarray()


def panel(W, T=6, seed=0, rho=0.3, scale=1.0):
    rng = np.random.default_rng(seed)
    N = len(W)
    X = rng.normal(size=(T, N, 2)) + rng.normal(size=(1, N, 1)) + rng.normal(size=(T, 1, 1))
    u = X @ [1.0, -0.5] + scale * rng.normal(size=(1, N)) + rng.normal(size=(T, 1))
    u = u + rng.normal(size=(T, N)) + 2.0
    return np.linalg.solve(np.eye(N) - rho * W, u.T).T, X


def holes(T, N, seed=0, share=0.15):
    """A mask that leaves every unit and period observed, and some cells not."""
    mask = np.random.default_rng(seed).random((T, N)) > share
    assert mask.any(axis=0).all()
    assert not mask.all()
    return mask


def some_params(p, seed=0):
    """Parameters inside the space of a problem."""
    rng = np.random.default_rng(seed)
    spatial = dict(zip(("rho", "lambda", "phi"), rng.uniform(-0.6, 0.6, size=3), strict=True))
    spatial["phi"] = abs(spatial["phi"])
    free = [spatial[name] for name in p.names]
    return np.concatenate([rng.normal(size=p.Z.shape[1]), free, [1.3]])


def inverse_filter(blocks, value):
    """blockdiag((I - value W_t)^-1), with the explicit matrix of all cells."""
    n = sum(len(block) for block in blocks)
    return np.linalg.inv(np.eye(n) - value * family.lag(blocks, np.eye(n)))


def density(y, mean, cov, free=None):
    """Gaussian log-density; free: columns that the mean may add, at their best (GLS)."""
    if free is not None and free.shape[1]:
        inverse = np.linalg.inv(cov)
        mean = mean + free @ np.linalg.solve(free.T @ inverse @ free, free.T @ inverse @ (y - mean))
    return multivariate_normal(mean, cov).logpdf(y)


# --- eight models, fixed effects -------------------------------------------------------------


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", SPATIAL)
def test_transformed_likelihood_of_cigarettes(arrays, reference, model, effects):
    expected = reference("cigarettes_transformed_ml")[effects][model]
    p = family.problem(*arrays, model, effects, "transformed")
    found = family.fit(p, points=30)
    shown = slice(-len(expected["params"]), None)  # the reference has no intercept
    np.testing.assert_allclose(found["params"][shown], list(expected["params"].values()), rtol=1e-6)
    np.testing.assert_allclose(found["loglik"], expected["loglik"], rtol=1e-10)
    assert found["n"] == expected["n"]
    se = np.sqrt(np.diag(family.observed_cov(found["params"], p)))
    np.testing.assert_allclose(se[shown], list(expected["se_observed"].values()), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", SPATIAL)
def test_direct_likelihood_of_cigarettes(arrays, reference, model, effects):
    expected = reference("cigarettes_direct_ml")[effects][model]
    found = family.fit(family.problem(*arrays, model, effects, "direct"), points=30)
    shown = slice(-len(expected["params"]), None)
    np.testing.assert_allclose(found["params"][shown], list(expected["params"].values()), rtol=1e-6)
    np.testing.assert_allclose(found["loglik"], expected["loglik"], rtol=1e-10)


@pytest.mark.parametrize("case", ["knn5", "unstandardised"])
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("model", dense.MODELS)
def test_the_earlier_twin(matrices, model, likelihood, effects, case):
    W = matrices[case]
    y, X = panel(W, T=4, seed=1)
    for filter_dummies in (True, False) if model in family.ERROR else (True,):
        options = (y, X, W, model, effects, likelihood, filter_dummies)
        theirs = dense.fit(*options)
        p = family.problem(*options[:-1], filter_dummies=filter_dummies)
        ours = family.fit(p, points=30)
        np.testing.assert_allclose(ours["params"], theirs["params"], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(ours["loglik"], theirs["loglik"], rtol=1e-12)
        np.testing.assert_allclose(ours["resid"], theirs["resid"], rtol=0, atol=1e-7)
        assert ours["n"] == theirs["n"]
        cov = dense.observed_cov(theirs["params"], *options)
        scale = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
        difference = (family.observed_cov(ours["params"], p) - cov) / scale
        np.testing.assert_allclose(difference, 0.0, rtol=0, atol=1e-6)


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_three_matrices_direct_is_a_gaussian_density(matrices, model, effects):
    W, M, D = (matrices[case] for case in ("contiguity", "unstandardised", "mix"))
    y, X = panel(W, seed=2)
    T, N = y.shape
    p = family.problem(y, X, W, model, effects, "direct", M=M, D=D)
    params = some_params(p)
    rho, lam, _ = family._spatial(params[p.Z.shape[1] : -1], p)
    S = inverse_filter([W] * T, rho)
    root = S @ inverse_filter([M] * T, lam)
    Z = X.reshape(T * N, 2)
    if model in family.LAGGED_X:
        Z = np.hstack([Z, np.kron(np.eye(T), D) @ Z])
    if effects == "none":
        Z = np.hstack([np.ones((T * N, 1)), Z])
    mean = S @ Z @ params[: Z.shape[1]]
    free = S @ dense.dummies(T, N, effects)
    expected = density(y.ravel(), mean, params[-1] * root @ root.T, free)
    np.testing.assert_allclose(family.loglik(params, p), expected, rtol=1e-10)


@pytest.mark.parametrize("effects", EFFECTS[1:])
@pytest.mark.parametrize("model", MODELS)
def test_three_matrices_transformed_is_the_density_of_what_effects_leave(matrices, model, effects):
    """The transformed data's density under the untransformed model, whatever the effects."""
    W, M, D = (matrices[case] for case in ("contiguity", "knn5", "mix"))
    y, X = panel(W, seed=3)
    T, N = y.shape
    p = family.problem(y, X, W, model, effects, "transformed", M=M, D=D)
    params = some_params(p)
    rho, lam, _ = family._spatial(params[p.Z.shape[1] : -1], p)
    FT = dense.orthonormal(T) if effects in ("entity", "two-way") else np.eye(T)
    FN = dense.orthonormal(N) if effects in ("time", "two-way") else np.eye(N)
    F = np.kron(FT, FN)
    S = inverse_filter([W] * T, rho)
    root = S @ inverse_filter([M] * T, lam)
    Z = X.reshape(T * N, 2)
    if model in family.LAGGED_X:
        Z = np.hstack([Z, np.kron(np.eye(T), D) @ Z])
    dummies = dense.dummies(T, N, effects)
    mean = S @ (Z @ params[: Z.shape[1]] + dummies @ np.linspace(-9, 9, dummies.shape[1]))
    expected = density(F.T @ y.ravel(), F.T @ mean, params[-1] * F.T @ root @ root.T @ F)
    np.testing.assert_allclose(family.loglik(params, p), expected, rtol=1e-10)


@pytest.mark.parametrize("effects", ["time", "two-way"])
def test_period_effects_stay_when_the_error_matrix_is_not_row_standardised(matrices, effects):
    """Entity effects leave by F_T, period effects are at their best in a Gaussian density."""
    W, M = matrices["contiguity"], matrices["unstandardised"]
    y, X = panel(W, seed=4)
    T, N = y.shape
    p = family.problem(y, X, W, "sac", effects, "transformed", M=M)
    params = some_params(p)
    FT = dense.orthonormal(T) if effects == "two-way" else np.eye(T)
    F = np.kron(FT, np.eye(N))
    S = inverse_filter([W] * T, params[-3])
    root = S @ inverse_filter([M] * T, params[-2])
    mean = S @ X.reshape(T * N, 2) @ params[:2]
    blocks = FT.shape[1]
    free = inverse_filter([W] * blocks, params[-3]) @ np.kron(np.eye(blocks), np.ones((N, 1)))
    cov = params[-1] * F.T @ root @ root.T @ F
    expected = density(F.T @ y.ravel(), F.T @ mean, cov, free)
    np.testing.assert_allclose(family.loglik(params, p), expected, rtol=1e-10)
    assert family.fit(p)["n"] == N * blocks


@pytest.mark.slow
@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("model", ["sac", "gns"])
def test_no_start_climbs_higher(matrices, model, effects):
    W, M = matrices["contiguity"], matrices["knn5"]
    y, X = panel(W, T=8, seed=5)
    p = family.problem(y, X, W, model, effects, "transformed", M=M)
    found = family.fit(p)
    rng = np.random.default_rng(0)
    bounds = [(low + 1e-6, high - 1e-6) for low, high in (p.space["rho"], p.space["lambda"])]
    tops = [
        -minimize(lambda x: -family.concentrated(x, p), start, bounds=bounds).fun
        for start in rng.uniform(*np.transpose(bounds), size=(15, 2))
    ]
    np.testing.assert_allclose(max(tops), found["loglik"], rtol=0, atol=1e-6)


def test_the_nearest_maximum_can_be_the_lower_one(arrays):
    p = family.problem(*arrays, "gns", "entity", "transformed")
    found = family.fit(p)
    nearest = minimize(lambda x: -family.concentrated(x, p), [-0.4, 0.6], method="Nelder-Mead")
    lower = [value for value, _ in found["maxima"][1:]]
    np.testing.assert_allclose(min(abs(-nearest.fun - np.array(lower))), 0.0, atol=1e-5)
    assert -nearest.fun < found["loglik"] - 10


@pytest.mark.parametrize("model", MODELS)
def test_score(matrices, model):
    W, M = matrices["contiguity"], matrices["knn5"]
    y, X = panel(W, seed=6)
    T = len(y)
    p = family.problem(y, X, W, model, "entity", "transformed", M=M)
    found = family.fit(p)
    se = np.sqrt(np.diag(family.observed_cov(found["params"], p)))
    np.testing.assert_allclose(family.score(found["params"], p) * se, 0.0, atol=1e-6)
    if model != "sar":
        return
    params = found["params"] + 0.3 * se  # away from the maximum, with the analytic score
    beta, rho, sigma2 = params[:2], params[2], params[3]
    e = p.y - rho * p.Wy - p.Z @ beta
    trace = (T - 1) * np.trace(W @ np.linalg.inv(np.eye(len(W)) - rho * W))
    analytic = [
        *(p.Z.T @ e / sigma2),
        e @ p.Wy / sigma2 - trace,
        -p.n / (2 * sigma2) + e @ e / (2 * sigma2**2),
    ]
    np.testing.assert_allclose(family.score(params, p), analytic, rtol=1e-7)


def test_lagging_some_regressors_is_a_zero_theta(matrices):
    W, D = matrices["contiguity"], matrices["mix"]
    y, X = panel(W, seed=7)
    some = family.problem(y, X, W, "gns", "two-way", "transformed", D=D, durbin=[1])
    every = family.problem(y, X, W, "gns", "two-way", "transformed", D=D)
    params = some_params(some)
    np.testing.assert_allclose(
        family.loglik(params, some), family.loglik(np.insert(params, 2, 0.0), every), rtol=1e-12
    )


def test_what_the_engine_refuses(matrices):
    W = matrices["contiguity"]
    y, X = panel(W)
    with pytest.raises(ValueError, match="unknown option"):
        family.problem(y, X, W, "sarar", "entity", "direct")
    with pytest.raises(ValueError, match="collinear"):
        family.problem(y, np.concatenate([X, X], axis=2), W, "sar", "entity", "direct")
    p = family.problem(y, X, W, "sar", "time", "transformed")
    with pytest.raises(ValueError, match="edge of its space"):
        family.observed_cov([1.0, 1.0, 1.5, 1.0], p)
    F = dense.orthonormal(12)  # what period effects leave follows rho = 1.3
    noise = np.random.default_rng(1).normal(size=(6, 11))
    y = np.linalg.solve(np.eye(11) - 1.3 * F.T @ W @ F, noise.T).T @ F.T
    p = family.problem(y, X, W, "sar", "time", "transformed")
    with pytest.raises(ValueError, match="the maximum is on the edge"):
        family.fit(p)


# --- unbalanced panels and weights that change -------------------------------------------------


@pytest.mark.parametrize("case", ["contiguity", "knn5"])
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("model", MODELS)
def test_a_balanced_panel_is_the_family(matrices, model, likelihood, effects, case):
    W = matrices[case]
    y, X = panel(W, seed=8)
    ours = unbalanced.problem(y, X, W, np.ones(y.shape), model, effects, likelihood)
    theirs = family.problem(y, X, W, model, effects, likelihood)
    assert ours.n == theirs.n
    for seed in range(3):
        params = some_params(ours, seed)
        np.testing.assert_allclose(
            family.loglik(params, ours), family.loglik(params, theirs), rtol=1e-12
        )


@pytest.mark.parametrize(("model", "effects"), [("sdm", "two-way"), ("sem", "entity")])
def test_a_balanced_fit_is_the_family(matrices, model, effects):
    W = matrices["knn5"]
    y, X = panel(W, seed=9)
    p = unbalanced.problem(y, X, W, np.ones(y.shape), model, effects, "transformed")
    theirs = family.problem(y, X, W, model, effects, "transformed")
    ours, expected = family.fit(p), family.fit(theirs)
    np.testing.assert_allclose(ours["params"], expected["params"], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(
        family.observed_cov(ours["params"], p),
        family.observed_cov(expected["params"], theirs),
        rtol=1e-5,
        atol=1e-9,
    )


def changing(matrices, T):
    """Another W in every other period."""
    return np.stack([matrices["knn5"] if t % 2 else matrices["mix"] for t in range(T)])


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_unbalanced_direct_is_a_gaussian_density(matrices, model, effects):
    y, X = panel(matrices["contiguity"], seed=10)
    T, N = y.shape
    mask = holes(T, N)
    Ws, M, D = changing(matrices, T), matrices["mix"], matrices["knn5"]
    p = unbalanced.problem(
        np.where(mask, y, np.nan), X, Ws, mask, model, effects, "direct", M=M, D=D
    )
    params = some_params(p)
    rho, lam, _ = family._spatial(params[p.Z.shape[1] : -1], p)
    blocks = {}
    for name, every in (("W", Ws), ("M", [M] * T), ("D", [D] * T)):
        blocks[name] = []
        for t in range(T):
            block = every[t][mask[t]][:, mask[t]]
            blocks[name].append(block / block.sum(axis=1, keepdims=True))
    S, B = inverse_filter(blocks["W"], rho), inverse_filter(blocks["M"], lam)
    Z = X[mask]
    if model in family.LAGGED_X:
        Z = np.hstack([Z, np.vstack([D_t @ X[t, mask[t]] for t, D_t in enumerate(blocks["D"])])])
    if effects == "none":
        Z = np.hstack([np.ones((mask.sum(), 1)), Z])
    free = S @ B @ dense.dummies(T, N, effects)[mask.ravel()]
    cov = params[-1] * S @ B @ B.T @ S.T
    expected = density(y[mask], S @ Z @ params[: Z.shape[1]], cov, free)
    np.testing.assert_allclose(family.loglik(params, p), expected, rtol=1e-10)


@pytest.mark.parametrize("model", ["sar", "sem", "sac"])
def test_unbalanced_period_effects_have_a_closed_form(matrices, model):
    """A row-standardised W_t: Lee and Yu's transform of each period, ln|S_t| - ln(1 - rho)."""
    Ws = changing(matrices, 6)
    y, X = panel(matrices["mix"], seed=11)
    mask = holes(*y.shape, seed=1)
    p = unbalanced.problem(y, X, Ws, mask, model, "time", "transformed")
    params = some_params(p)
    total = 0.0
    for t in range(6):
        W_t = Ws[t][mask[t]][:, mask[t]]
        W_t = W_t / W_t.sum(axis=1, keepdims=True)
        one = y[t : t + 1, mask[t]], X[t : t + 1, mask[t]], W_t
        total += family.loglik(params, family.problem(*one, model, "time", "transformed"))
    np.testing.assert_allclose(family.loglik(params, p), total, rtol=1e-12)


@pytest.mark.parametrize("model", ["sar", "sem", "gns"])
def test_two_groups_observed_in_different_years_are_two_balanced_panels(matrices, model):
    first, second = matrices["contiguity"], matrices["knn5"]
    W = block_diag(first, second)
    y, X = panel(W, T=7, seed=12)
    mask = np.zeros((7, 24), dtype=bool)
    mask[:4, :12] = mask[2:, 12:] = True
    p = unbalanced.problem(y, X, W, mask, model, "entity", "transformed")
    params = some_params(p)
    a = family.problem(y[:4, :12], X[:4, :12], first, model, "entity", "transformed")
    b = family.problem(y[2:, 12:], X[2:, 12:], second, model, "entity", "transformed")
    np.testing.assert_allclose(
        family.loglik(params, p), family.loglik(params, a) + family.loglik(params, b), rtol=1e-12
    )
    assert p.n == a.n + b.n


@pytest.mark.parametrize("effects", EFFECTS)
def test_the_adjusted_score_has_expectation_zero(matrices, effects):
    """With B y = B S^-1 X beta + B S^-1 B^-1 (D delta + eps), explicit matrices of all cells."""
    Ws = changing(matrices, 6)
    y, X = panel(matrices["mix"], seed=13)
    mask = holes(*y.shape, seed=2)
    rho, lam = 0.4, -0.3
    p = unbalanced.problem(y, X, Ws, mask, "sac", effects, "transformed")
    blocks = unbalanced.cut(Ws, mask)
    others = unbalanced.cut(matrices["contiguity"], mask)
    n = int(mask.sum())
    identity = np.eye(n)
    W, M = family.lag(blocks, identity), family.lag(others, identity)
    Q = identity - p.D @ np.linalg.pinv(p.D)
    S, B = np.linalg.inv(identity - rho * W), identity - lam * W

    def slope(f, x):
        return float(dense.jacobian(lambda v: f(v[0]), np.array([x]), np.array([0.05]))[0])

    expected_rho = np.trace(Q @ B @ W @ S @ np.linalg.inv(B))  # of eps'Q B W y / sigma2
    expected_lambda = np.trace(Q @ W @ np.linalg.inv(B))  # of eps'Q M u / sigma2
    np.testing.assert_allclose(slope(p.log_rho, rho), -expected_rho, rtol=1e-7)
    np.testing.assert_allclose(
        slope(lambda v: p.log_rest(v, 0.0), lam), -expected_lambda, rtol=1e-7
    )
    if effects in ("entity", "two-way"):  # the reason why another M is refused
        B = identity - lam * M
        another = np.trace(Q @ B @ W @ S @ np.linalg.inv(B))
        assert abs(another - expected_rho) > 1e-4


def test_unbalanced_fit_maximises_over_all_parameters(matrices):
    y, X = panel(matrices["mix"], seed=14)
    mask = holes(*y.shape, seed=3)
    p = unbalanced.problem(y, X, changing(matrices, 6), mask, "sac", "two-way", "transformed")
    found = family.fit(p, points=30)
    se = np.sqrt(np.diag(family.observed_cov(found["params"], p)))
    np.testing.assert_allclose(family.score(found["params"], p) * se, 0.0, atol=1e-6)
    assert np.isnan(found["resid"][~mask]).all()
    assert np.isfinite(found["resid"][mask]).all()


def test_what_unbalanced_refuses(matrices):
    W, M = matrices["contiguity"], matrices["knn5"]
    y, X = panel(W)
    mask = np.ones(y.shape, dtype=bool)
    with pytest.raises(ValueError, match="needs M = W"):
        unbalanced.problem(y, X, W, mask, "sac", "entity", "transformed", M=M)
    mask[0, W[0] > 0] = False
    with pytest.raises(ValueError, match="without neighbours"):
        unbalanced.problem(y, X, W, mask, "sar", "entity", "transformed")


# --- random effects ------------------------------------------------------------------------------

FORMS = {"kkp": "kkp", "b": "baltagi", "none": "kkp"}  # of splm's option errors
FAMILY_OF = {  # (lag, errors, WX) of splm
    ("FALSE", False, "SAR"): "ols",
    ("FALSE", False, "SDM"): "slx",
    ("TRUE", False, "SAR"): "sar",
    ("TRUE", False, "SDM"): "sdm",
    ("FALSE", True, "SAR"): "sem",
    ("FALSE", True, "SDM"): "sdem",
    ("TRUE", True, "SAR"): "sac",
    ("TRUE", True, "SDM"): "gns",
}


def splm_params(fitted):
    """Estimates in our order; splm calls the lag parameter lambda and the other one rho."""
    other = fitted.get("errcomp", {}).get("est", {})
    lag = [fitted["arcoef"]["est"]] if "arcoef" in fitted else []
    spatial = lag + [other[name] for name in ("rho", "phi") if name in other]
    return [*fitted["coef"].values(), *spatial, fitted["sigma2"][1]]


@pytest.mark.parametrize("errors", ["kkp", "b", "none"])
@pytest.mark.parametrize("lag", ["TRUE", "FALSE"])
@pytest.mark.parametrize("wx", ["SAR", "SDM"])
def test_random_effects_of_splm(arrays, reference, wx, lag, errors):
    fitted = reference("cigarettes_r")["random_effects_splm"][f"RE_{wx}_lag{lag}_err{errors}"]
    model = FAMILY_OF[lag, errors != "none", wx]
    p = random_effects.problem(*arrays, model, FORMS[errors])
    found = family.fit(p, points=30)
    np.testing.assert_allclose(found["params"], splm_params(fitted), rtol=1e-4)
    np.testing.assert_allclose(found["loglik"], fitted["logLik_slot"], rtol=1e-10)
    assert not found["boundary"]
    # splm's numerical Hessian, over rho, lambda and phi only, has about three digits
    errors_of = np.sqrt(np.diag(family.observed_cov(found["params"], p)))
    se = dict(zip(found["names"], errors_of, strict=True))
    theirs = fitted["errcomp"]["se"]
    np.testing.assert_allclose(se["phi"], theirs["phi"], rtol=1e-2)
    if "rho" in theirs:
        np.testing.assert_allclose(se["lambda"], theirs["rho"], rtol=1e-2)
    if lag == "TRUE":
        np.testing.assert_allclose(se["rho"], fitted["arcoef"]["se"], rtol=1e-2)


@pytest.mark.parametrize("wx", ["SAR", "SDM"])
def test_random_effects_of_splm_after_demeaning_by_year(arrays, reference, wx):
    fitted = reference("cigarettes_r")["random_effects_splm"][f"RE_{wx}_timeFE_demeaned"]
    y, X, W = arrays
    if wx == "SDM":
        X = np.concatenate([X, np.einsum("ij,tjk->tik", W, X)], axis=2)
    y, X = y - y.mean(axis=1, keepdims=True), X - X.mean(axis=1, keepdims=True)
    p = random_effects.problem(y, X, W, "sar", intercept=False)
    found = family.fit(p)
    np.testing.assert_allclose(found["params"], splm_params(fitted), rtol=1e-4)
    np.testing.assert_allclose(found["loglik"], fitted["logLik_slot"], rtol=1e-10)


@pytest.mark.parametrize("mundlak", [False, True])
@pytest.mark.parametrize("errors", ["kkp", "baltagi"])
@pytest.mark.parametrize("model", MODELS)
def test_random_effects_are_a_gaussian_density(matrices, model, errors, mundlak):
    """In time and explicit NT x NT agree, and are the density of y = S^-1 (Z b + u)."""
    W, M, D = (matrices[case] for case in ("contiguity", "knn5", "mix"))
    y, X = panel(W, T=5, seed=15)
    T, N = y.shape
    options = {"M": M, "D": D, "mundlak": mundlak}
    p = random_effects.problem(y, X, W, model, errors, **options)
    params = some_params(p)
    rho, lam, phi = family._spatial(params[p.Z.shape[1] : -1], p)
    B = np.linalg.inv(np.eye(N) - lam * M)
    effect = phi * (B @ B.T if errors == "kkp" else np.eye(N))
    u = np.kron(np.ones((T, T)), effect) + np.kron(np.eye(T), B @ B.T)
    S = inverse_filter([W] * T, rho)
    columns = [X]
    if model in family.LAGGED_X:
        columns.append(np.einsum("ij,tjk->tik", D, X))
    if mundlak:
        columns += [np.broadcast_to(part.mean(axis=0), part.shape) for part in list(columns)]
    Z = np.concatenate([np.ones((T, N, 1)), *columns], axis=2).reshape(T * N, -1)
    expected = density(y.ravel(), S @ Z @ params[: Z.shape[1]], params[-1] * S @ u @ S.T)
    np.testing.assert_allclose(family.loglik(params, p), expected, rtol=1e-10)
    big = random_effects.problem(y, X, W, model, errors, explicit=True, **options)
    np.testing.assert_allclose(family.loglik(params, big), expected, rtol=1e-10)


@pytest.mark.parametrize(("model", "errors"), [("sdm", "kkp"), ("sem", "kkp"), ("sem", "baltagi")])
def test_the_explicit_covariance_gives_the_same_fit(matrices, model, errors):
    W = matrices["contiguity"]
    y, X = panel(W, T=4, seed=16)
    p = random_effects.problem(y, X, W, model, errors)
    big = random_effects.problem(y, X, W, model, errors, explicit=True)
    ours, theirs = family.fit(p, points=12), family.fit(big, points=12)
    np.testing.assert_allclose(ours["params"], theirs["params"], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(
        family.observed_cov(ours["params"], p),
        family.observed_cov(theirs["params"], big),
        rtol=1e-5,
        atol=1e-9,
    )


@pytest.mark.parametrize("errors", ["kkp", "baltagi"])
@pytest.mark.parametrize("model", MODELS)
def test_no_unit_variance_is_the_pooled_model(matrices, model, errors):
    W, M = matrices["contiguity"], matrices["knn5"]
    y, X = panel(W, seed=17)
    p = random_effects.problem(y, X, W, model, errors, M=M)
    pooled = family.problem(y, X, W, model, "none", "direct", M=M)
    params = some_params(pooled)
    with_phi = np.insert(params, len(params) - 1, 0.0)
    np.testing.assert_allclose(
        family.loglik(with_phi, p), family.loglik(params, pooled), rtol=1e-12
    )


@pytest.mark.parametrize("model", ["ols", "slx"])
def test_mundlak_gives_the_within_coefficients(matrices, model):
    W = matrices["contiguity"]
    y, X = panel(W, seed=18)
    ours = family.fit(random_effects.problem(y, X, W, model, mundlak=True))
    within = family.fit(family.problem(y, X, W, model, "entity", "transformed"))
    q = len(within["params"]) - 1
    np.testing.assert_allclose(ours["params"][1 : 1 + q], within["params"][:q], rtol=1e-8)


@pytest.mark.parametrize("errors", ["kkp", "baltagi"])
def test_units_that_differ_less_than_noise_have_no_variance(matrices, errors):
    W = matrices["contiguity"]
    y, X = panel(W, seed=19, scale=0.0)
    y, X = y - y.mean(axis=0) + y.mean(), X - X.mean(axis=0)
    p = random_effects.problem(y, X, W, "sem", errors)
    found = family.fit(p, points=20)
    assert found["boundary"]
    pooled = family.fit(family.problem(y, X, W, "sem", "none", "direct"))
    np.testing.assert_allclose(found["params"][:-2], pooled["params"][:-1], rtol=1e-7)
    with pytest.raises(ValueError, match="edge of its space"):
        family.observed_cov(found["params"], p)
