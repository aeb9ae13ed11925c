"""Baltagi, Song & Koh's tests: against R, and against dense scores and information."""

import numpy as np
import pytest
from conftest import FORMULA
from dense_random import covariance
from diagnostics.size_study import FEW, WIDE, rates

import spatial_agglo as sa
from spatial_agglo.diagnostics.random_effects import bsk_tests, mixture

R_NAMES = {
    "LM-H": "LMH",
    "LM1": "LM1",
    "LM2": "LM2",
    "CLM lambda": "CLMlambda",
    "CLM mu": "CLMmu",
}


def test_r(cigarettes, queen, reference):
    """``splm::bsktest``; its p values are two-sided for statistics of one side."""
    expected = reference("cigarettes_r")["splm_tests"]
    table = bsk_tests(FORMULA, cigarettes, queen)
    for ours, theirs in R_NAMES.items():
        found = expected["bsk"][theirs]
        np.testing.assert_allclose(table.loc[ours, "statistic"], found["statistic"], rtol=1e-6)
        if ours != "LM-H":
            np.testing.assert_allclose(2 * table.loc[ours, "p_value"], found["p"], rtol=1e-4)
    assert table.loc["SLM1", "statistic"] == pytest.approx(
        expected["slm1_std"]["statistic"], rel=1e-8
    )


def test_r_standardised(cigarettes, queen, reference):
    """splm takes W for symmetric in the variance of SLM2; exactly it is Moran's I of
    the residuals, which spdep standardises with both W and W'."""
    expected = reference("cigarettes_r")
    as_splm = bsk_tests(FORMULA, cigarettes, queen, variance="splm")
    theirs = expected["splm_tests"]["slm2_std"]["statistic"]
    assert as_splm.loc["SLM2", "statistic"] == pytest.approx(theirs, rel=1e-8)
    exact = bsk_tests(FORMULA, cigarettes, queen)
    moran = expected["ols_lm"]["none"]["spdep_moran_kronW"]["statistic"]
    assert exact.loc["SLM2", "statistic"] == pytest.approx(moran, rel=1e-8)
    assert abs(theirs - moran) > 0.5


def test_symmetric_weights_need_no_choice(small):
    W = np.zeros((8, 8))
    for i in range(8):
        W[i, (i + 1) % 8] = W[(i + 1) % 8, i] = 1.0
    _, panel, weights, _, _ = small(W / 2.0)
    one, other = (bsk_tests("y ~ x1 + x2", panel, weights, variance=v) for v in ("exact", "splm"))
    np.testing.assert_allclose(one["statistic"], other["statistic"], rtol=1e-12)


# --- by brute force ---------------------------------------------------------------------------


def weights(N=7, seed=0, standardize=True):
    rng = np.random.default_rng(seed)
    W = rng.uniform(0.2, 1.0, size=(N, N)) * (rng.uniform(size=(N, N)) < 0.5)
    np.fill_diagonal(W, 0.0)
    W[np.arange(N), (np.arange(N) + 1) % N] = 1.0
    return W / W.sum(axis=1, keepdims=True) if standardize else W / W.sum(axis=1).max()


def drawn(small, W, T, seed, lam, scale):
    """Panel, weights, y and X with unit effects outside a spatial error process."""
    frame, _, given, _, X = small(W, T=T, seed=seed)
    rng = np.random.default_rng(seed)
    N = len(W)
    u = np.linalg.solve(np.eye(N) - lam * W, rng.normal(size=(T, N)).T).T
    y = 1.0 + X @ [1.0, -0.5] + scale * rng.normal(size=N) + u
    return sa.Panel(frame.assign(y=y.ravel()), entity="id", time="t"), given, y, X


def score_and_information(u, W, T, lam, phi, sigma2, form, step=1e-5):
    """Score and information of (s2_mu, lambda, sigma2) from the NT x NT covariance.

    The covariance is written down; its derivatives are central differences.
    """

    def V(s2_mu, lam, s2):
        return s2 * covariance(W, T, lam, s2_mu / s2, form)

    at = np.array([phi * sigma2, lam, sigma2])
    inverse = np.linalg.inv(V(*at))
    slopes = []
    for i in range(3):
        d = np.zeros(3)
        d[i] = step
        slopes.append((V(*(at + d)) - V(*(at - d))) / (2 * step))
    score = [-0.5 * np.trace(inverse @ D) + 0.5 * u @ inverse @ D @ inverse @ u for D in slopes]
    info = [[0.5 * np.trace(inverse @ A @ inverse @ B) for A in slopes] for B in slopes]
    return np.array(score), np.array(info)


def efficient(score, info, i):
    """Signed root of the score test of one parameter, the others at their maximum."""
    others = [j for j in range(3) if j != i]
    along = info[i, others] @ np.linalg.inv(info[np.ix_(others, others)])
    variance = info[i, i] - along @ info[others, i]
    return score[i] / np.sqrt(variance), score[others]


@pytest.mark.parametrize("form", ["baltagi", "kkp"])
@pytest.mark.parametrize("standardize", [True, False])
def test_conditional_tests_by_brute_force(small, form, standardize):
    W = weights(standardize=standardize)
    panel, given, y, X = drawn(small, W, T=5, seed=2, lam=0.3, scale=1.0)
    T, N = y.shape
    table = bsk_tests("y ~ x1 + x2", panel, given, form=form)
    ones = np.concatenate([np.ones((T, N, 1)), X], axis=2).reshape(T * N, 3)

    random = sa.ols("y ~ x1 + x2", panel, effects="random")
    assert random.params["phi"] > 0.01
    u = y.ravel() - ones @ random.params.iloc[:3].to_numpy()
    parts = score_and_information(u, W, T, 0.0, random.params["phi"], random.sigma2, form)
    z, rest = efficient(*parts, 1)
    np.testing.assert_allclose(rest, 0.0, atol=1e-4)  # at the restricted maximum
    assert table.loc["CLM lambda", "statistic"] == pytest.approx(z, rel=1e-6)

    sem = sa.sem("y ~ x1 + x2", panel, given, effects="none")
    u = y.ravel() - ones @ sem.params.iloc[:3].to_numpy()
    parts = score_and_information(u, W, T, sem.lam, 0.0, sem.sigma2, form)
    z, rest = efficient(*parts, 0)
    np.testing.assert_allclose(rest, 0.0, atol=1e-4)
    assert table.loc["CLM mu", "statistic"] == pytest.approx(z, rel=1e-6)

    # marginal: the same at OLS
    ols = sa.ols("y ~ x1 + x2", panel, effects="none")
    parts = score_and_information(ols.resid.ravel(), W, T, 0.0, 0.0, ols.sigma2, form)
    assert table.loc["LM1", "statistic"] == pytest.approx(efficient(*parts, 0)[0], rel=1e-6)
    assert table.loc["LM2", "statistic"] == pytest.approx(efficient(*parts, 1)[0], rel=1e-6)


def test_standardised_by_brute_force(small):
    """Mean and variance of e'De/e'e under normality from explicit NT x NT matrices."""
    W = weights()
    _, panel, given, y, X = small(W, T=4, seed=4)
    T, N = y.shape
    table = bsk_tests("y ~ x1 + x2", panel, given)
    A = np.concatenate([np.ones((T, N, 1)), X], axis=2).reshape(T * N, 3)
    M = np.eye(T * N) - A @ np.linalg.inv(A.T @ A) @ A.T
    e = M @ y.ravel()
    forms = {
        "SLM1": np.kron(np.ones((T, T)), np.eye(N)),
        "SLM2": np.kron(np.eye(T), (W + W.T) / 2.0),
    }
    s = T * N - 3
    for name, D in forms.items():
        DM = D @ M
        mean = np.trace(DM) / s
        variance = 2.0 * (s * np.trace(DM @ DM) - np.trace(DM) ** 2) / (s**2 * (s + 2.0))
        z = (e @ D @ e / (e @ e) - mean) / np.sqrt(variance)
        assert table.loc[name, "statistic"] == pytest.approx(z, rel=1e-10)


def test_no_unit_effects_in_the_data(small):
    """Where phi is zero the conditional test of lambda is the marginal one."""
    W = weights()
    frame, _, given, _, _ = small(W, T=6, seed=1)
    rng = np.random.default_rng(9)
    noise = rng.normal(size=(6, 7))
    noise = noise - 0.9 * noise.mean(axis=0)  # unit means that vary less than chance makes them
    frame = frame.assign(y=noise.ravel())
    panel = sa.Panel(frame, entity="id", time="t")
    assert sa.ols("y ~ x1", panel, effects="random").params["phi"] == 0.0
    for form in ("baltagi", "kkp"):
        table = bsk_tests("y ~ x1", panel, given, form=form)["statistic"]
        assert table["CLM lambda"] == pytest.approx(table["LM2"], rel=1e-8)
        assert table["LM1"] < 0.0


def test_sides(small):
    """Negative statistics speak for the null, unless lambda may be negative."""
    W = weights()
    panel, given, _, _ = drawn(small, W, T=12, seed=3, lam=-0.9, scale=0.3)
    positive = bsk_tests("y ~ x1 + x2", panel, given)
    either = bsk_tests("y ~ x1 + x2", panel, given, alternative="either")
    assert positive.loc["LM2", "statistic"] < -1.5
    assert positive.loc["LM2", "p_value"] > 0.9 > 0.2 > either.loc["LM2", "p_value"]
    lm1, lm2 = positive["statistic"][["LM1", "LM2"]]
    assert positive.loc["LM-H", "statistic"] == pytest.approx(max(lm1, 0.0) ** 2)
    assert either.loc["LM-H", "statistic"] == pytest.approx(max(lm1, 0.0) ** 2 + lm2**2)
    assert positive.loc["LM1", "p_value"] == either.loc["LM1", "p_value"]


def test_mixture_is_that_of_two_positive_parts():
    """max(z1, 0)^2 + max(z2, 0)^2, and max(z1, 0)^2 + z2^2, by simulation."""
    z = np.random.default_rng(0).normal(size=(2, 400_000))
    both = (np.maximum(z, 0.0) ** 2).sum(axis=0)
    one = np.maximum(z[0], 0.0) ** 2 + z[1] ** 2
    for value in (0.5, 2.0, 4.2, 7.0):
        assert mixture(value)[0] == pytest.approx((both > value).mean(), abs=0.003)
        assert mixture(value, either=True)[0] == pytest.approx((one > value).mean(), abs=0.003)
    assert mixture(0.0)[0] == 1.0


def test_rows_know_what_they_test(cigarettes, queen):
    table = bsk_tests(FORMULA, cigarettes, queen)
    assert set(table.attrs["tests"]) == set(table.index)
    assert "1/4 chi2(0)" in table.attrs["tests"]["LM-H"]["distribution"]
    assert table["df"].isna().all()


def test_what_cannot_be_tested(cigarettes, queen):
    year = cigarettes.frame.reset_index().query("year == 1970")
    one = sa.Panel(year, entity="state", time="year")
    with pytest.raises(sa.errors.IdentificationError, match="two periods"):
        bsk_tests(FORMULA, one, queen)
    gaps = cigarettes.frame.reset_index().iloc[1:]
    panel = sa.Panel(gaps, entity="state", time="year", unbalanced="allow")
    with pytest.raises(sa.errors.WeightsError, match="cells are missing"):
        bsk_tests(FORMULA, panel, queen)
    with pytest.raises(sa.errors.WeightsError, match="need spatial weights"):
        bsk_tests(FORMULA, cigarettes, None)
    for name in ("form", "alternative", "variance"):
        with pytest.raises(sa.errors.OptionError, match=f"{name}='x' is not known"):
            bsk_tests(FORMULA, cigarettes, queen, **{name: "x"})


@pytest.mark.slow
def test_size():
    table = rates("neither effects nor errors", "none", FEW)
    assert table["rate"].between(*WIDE).all(), table
    for null, effects in (("unit effects only", "random"), ("spatial errors only", "none")):
        assert rates(null, effects, FEW)["rate"].between(*WIDE).all()
