"""Every estimator against a dense brute force that shares no code with the package."""

import dense
import numpy as np
import pytest
from conftest import EFFECTS

import spatial_agglo as sa

CASES = ("contiguity", "knn5", "mix")
MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem")


@pytest.fixture(scope="module")
def matrices():
    return dense.weights_cases(np.random.default_rng(3))


def run(model, panel, W, **options):
    return getattr(sa, model)("y ~ x1 + x2", panel, W, **options)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("likelihood", ["transformed", "direct", "direct-demeaned"])
@pytest.mark.parametrize("model", MODELS)
def test_likelihood_information_and_residuals(matrices, small, model, likelihood, effects, case):
    W = matrices[case]
    _, panel, weights, y, X = small(W, seed=1)
    fit = run(model, panel, weights, effects=effects, likelihood=likelihood)
    twin = dense.fit(y, X, W, model, effects, likelihood)
    np.testing.assert_allclose(fit.values, twin["params"], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(fit.loglik, twin["loglik"], rtol=1e-10)
    assert fit.n_effective == twin["n"]
    np.testing.assert_allclose(fit.resid, twin["resid"], rtol=0, atol=1e-7)
    cov = dense.observed_cov(twin["params"], y, X, W, model, effects, likelihood)
    np.testing.assert_allclose(fit.std_errors, np.sqrt(np.diag(cov)), rtol=1e-5)
    scale = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    np.testing.assert_allclose(fit.covariance / scale, cov / scale, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("likelihood", ["transformed", "direct", "direct-demeaned"])
@pytest.mark.parametrize("model", ["sar", "sem", "sdm", "sdem"])
def test_expected_information(matrices, small, model, likelihood, effects, case):
    W = matrices[case]
    _, panel, weights, y, X = small(W, seed=11)
    fit = run(model, panel, weights, effects=effects, likelihood=likelihood, cov="expected")
    cov = dense.expected_cov(fit.values, y, X, W, model, effects, likelihood)
    scale = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    np.testing.assert_allclose(fit.covariance / scale, cov / scale, atol=1e-9)


@pytest.mark.parametrize("effects", EFFECTS[1:])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_corrected_estimates(matrices, small, model, effects, case):
    W = matrices[case]
    _, panel, weights, y, X = small(W, seed=3, T=9)
    fit = run(model, panel, weights, effects=effects, likelihood="corrected")
    twin = dense.fit(y, X, W, model, effects, "corrected")
    np.testing.assert_allclose(fit.values, twin["params"], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("case", [*CASES, "unstandardised"])
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_impacts_and_their_delta_errors(matrices, small, model, effects, case):
    W = matrices[case]
    if case == "unstandardised" and model in ("sem", "sdem") and effects in ("time", "two-way"):
        pytest.skip("refused, see test_weights_that_are_not_row_standardised")
    _, panel, weights, _, _ = small(W, seed=4)
    fit = run(model, panel, weights, effects=effects)
    twin = dense.impacts(fit.values, W, model, 2, effects)
    errors = dense.impacts_se(fit.values, fit.covariance, W, model, 2, effects)
    effects_found = fit.impacts()
    for j, name in enumerate(("direct", "indirect", "total")):
        np.testing.assert_allclose(effects_found.estimate[j], twin[name], atol=1e-10)
        se = np.nan_to_num(effects_found.se[j])
        np.testing.assert_allclose(se, np.nan_to_num(errors[name]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("case", [*CASES, "unstandardised"])
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("likelihood", ["transformed", "direct", "direct-demeaned"])
def test_lm_statistics(matrices, small, likelihood, effects, case):
    W = matrices[case]
    _, panel, weights, y, X = small(W, seed=5)
    table = sa.lm_tests("y ~ x1 + x2", panel, weights, effects=effects, likelihood=likelihood)
    twin = dense.lm_tests(y, X, W, effects, likelihood)
    for name, value in twin.items():
        np.testing.assert_allclose(table.loc[name, "statistic"], value, rtol=1e-8)
    s = table["statistic"]
    assert s["LM lag"] + s["robust LM error"] == pytest.approx(s["LM error"] + s["robust LM lag"])


@pytest.mark.parametrize("case", [*CASES, "unstandardised"])
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("likelihood", ["transformed", "direct-demeaned"])
def test_moran_of_residuals(matrices, small, likelihood, effects, case):
    W = matrices[case]
    _, panel, weights, y, X = small(W, seed=6)
    ours = sa.residual_moran("y ~ x1 + x2", panel, weights, effects=effects, likelihood=likelihood)
    twin = dense.residual_moran(y, X, W, effects, likelihood)
    np.testing.assert_allclose(ours[["I", "expected", "variance", "z"]], twin, rtol=1e-8)


def test_moran_of_the_residuals_of_any_fit(matrices, small):
    """An slx is an ols on [X, WX]; with rho it is the score of a further error process."""
    W = matrices["knn5"]
    _, panel, weights, y, X = small(W, seed=9)
    lagged = np.einsum("ij,tjk->tik", W, X)
    twin = dense.residual_moran(y, np.concatenate([X, lagged], 2), W, "two-way", "transformed")
    ours = sa.residual_moran(run("slx", panel, weights))
    np.testing.assert_allclose(ours[["I", "expected", "variance", "z"]], twin, rtol=1e-8)
    sdm = run("sdm", panel, weights)
    found = sa.residual_moran(sdm)
    e = sdm.resid - sdm.resid.mean(axis=1, keepdims=True)
    assert found["I"] == pytest.approx(sum(e[t] @ W @ e[t] for t in range(7)) / (e**2).sum())
    assert found["z"] ** 2 == pytest.approx(sa.score_test(sdm, "gns"), rel=1e-8)
    again = sa.residual_moran(run("ols", panel, None), W=weights)
    np.testing.assert_allclose(again, sa.residual_moran("y ~ x1 + x2", panel, weights))
    other = sa.residual_moran(sdm, W=sa.SpatialWeights.from_dense(matrices["mix"], weights.ids))
    assert other["I"] != found["I"]
    with pytest.raises(sa.errors.OptionError, match="needs the panel"):
        sa.residual_moran("y ~ x1")
    with pytest.raises(sa.errors.WeightsError, match="W"):
        sa.residual_moran(run("ols", panel, None))


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_weights_that_are_not_row_standardised(matrices, small, model, effects):
    """Period effects are then parameters; an error process with them is refused."""
    W = matrices["unstandardised"]
    _, panel, weights, y, X = small(W, seed=7)
    if model in ("sem", "sdem") and effects in ("time", "two-way"):
        with pytest.raises(sa.errors.WeightsError, match="row-standardised"):
            run(model, panel, weights, effects=effects)
        return
    fit = run(model, panel, weights, effects=effects)
    twin = dense.fit(y, X, W, model, effects, "transformed")
    np.testing.assert_allclose(fit.values, twin["params"], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(fit.loglik, twin["loglik"], rtol=1e-9)
    cov = dense.observed_cov(twin["params"], y, X, W, model, effects, "transformed")
    np.testing.assert_allclose(fit.std_errors, np.sqrt(np.diag(cov)), rtol=1e-4)
    if model in ("sar", "sdm"):
        assert "W is not row-standardised" in fit.notes


def sandwich_by_loops(fit, W, clustered):
    """Robust covariance of a two-way SDM from explicit scores, pair by pair."""
    panel, data = fit.workspace.data.panel, fit.workspace.data
    T, N = panel.shape
    J = np.eye(N) - 1.0 / N

    def Q(Z):
        Z = Z - Z.mean(axis=0)
        return Z - Z.mean(axis=1, keepdims=True)

    Wy = np.stack([W @ row for row in data.y])
    columns = [Q(data.X[:, :, j]) for j in range(2)]
    columns += [Q(np.stack([W @ row for row in data.X[:, :, j]])) for j in range(2)]
    v = Q(data.y) - fit.rho * Q(Wy)
    for j in range(4):
        v = v - fit.values[j] * columns[j]
    H = J @ W @ np.linalg.inv(np.eye(N) - fit.rho * W)
    s2 = fit.sigma2
    s = np.zeros((T, N, 6))
    for t in range(T):
        for i in range(N):
            for j in range(4):
                s[t, i, j] = columns[j][t, i] * v[t, i] / s2
            s[t, i, 4] = Q(Wy)[t, i] * v[t, i] / s2 - (T - 1) / T * H[i, i]
            share = (T - 1) * (N - 1) / (T * N)
            s[t, i, 5] = (v[t, i] ** 2 / s2 - share) / (2 * s2)
    np.testing.assert_allclose(s.sum(axis=(0, 1)) * [1, 1, 1, 1, 1, s2], 0, atol=1e-6)
    meat = np.zeros((6, 6))
    groups = s.sum(axis=0) if clustered else s.reshape(-1, 6)
    for row in groups:
        meat += np.outer(row, row)
    for i in range(N):
        for j in range(N):
            if i != j:
                same = (
                    sum(v[t, i] * v[t, j] for t in range(T)) ** 2
                    if clustered
                    else sum(v[t, i] ** 2 * v[t, j] ** 2 for t in range(T))
                )
                meat[4, 4] += H[i, j] * H[j, i] * same / s2**2
    return meat


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("cov", ["robust", "clustered"])
def test_sandwich_against_loops(matrices, small, case, cov):
    W = matrices[case]
    _, panel, weights, y, X = small(W, seed=8, T=5)
    fit = run("sdm", panel, weights, cov=cov)
    bread = dense.observed_cov(fit.values, y, X, W, "sdm", "two-way", "transformed")
    N = W.shape[0]
    meat = sandwich_by_loops(fit, W, cov == "clustered")
    factor = N / (N - 1) if cov == "clustered" else 5 / 4 * N / (N - 1)  # T = 5
    twin = bread @ meat @ bread * factor
    scale = np.sqrt(np.outer(np.diag(twin), np.diag(twin)))
    np.testing.assert_allclose(fit.covariance / scale, twin / scale, atol=2e-5)
