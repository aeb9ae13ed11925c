"""Dependence that a fitted model leaves: Moran's I of innovations, and the local CD of a fit."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import FORMULA
from dense import sample
from diagnostics.size_study import FEW, WIDE, lattice, rates

import spatial_agglo as sa
from spatial_agglo.core.traces import resolvent
from spatial_agglo.diagnostics.cross_section import cd_test
from spatial_agglo.diagnostics.directed import score_test
from spatial_agglo.diagnostics.random_effects import bsk_tests
from spatial_agglo.diagnostics.remaining import remaining
from spatial_agglo.models.specification import MODELS
from spatial_agglo.models.weighting import Weighting

XY = "y ~ x1 + x2"


def weights(N=9, seed=3):
    rng = np.random.default_rng(seed)
    W = np.zeros((N, N))
    for i in range(N):
        W[i, rng.choice([j for j in range(N) if j != i], 3, replace=False)] = rng.uniform(0.5, 1, 3)
    return W / W.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("effects", ["none", "entity", "two-way"])
@pytest.mark.parametrize(("model", "larger"), [("sar", "sac"), ("sdm", "gns")])
def test_after_a_lag_it_is_the_root_of_the_score_test(cigarettes, queen, model, larger, effects):
    fit = getattr(sa, model)(FORMULA, cigarettes, queen, effects=effects)
    found = sa.residual_moran(fit)
    assert found["z"] ** 2 == pytest.approx(score_test(fit, larger), rel=1e-8)
    assert np.sign(found["z"]) == np.sign(found["I"] - found["expected"])
    assert found["z"] == pytest.approx((found["I"] - found["expected"]) / found["variance"] ** 0.5)


def brute_force(y, X, W, V, fit, effects):
    """The root of the score test of kappa from the density of the (transformed) sample.

    ``(I - kappa V)(I - lambda W)((I - rho W) y - Z g) = D d + e``; information by differences.
    """
    has = MODELS[fit.model]
    s = sample(y, X, W, "slx" if has[1] else "ols", effects, "transformed")
    other = sample(y, X, V, "ols", effects, "transformed")
    k = s.Z.shape[1]
    identity = np.eye(s.n)

    def pieces(eta):
        kappa, s2 = eta[-1], eta[-2]
        rest = list(eta[k:-2])
        rho = rest.pop(0) if has[0] else 0.0
        lam = rest.pop(0) if has[2] else 0.0
        S, B = identity - rho * s.Wbig, identity - lam * s.Wbig
        spread = np.linalg.inv((identity - kappa * other.Wbig) @ B @ S)
        return np.linalg.solve(S, s.Z @ eta[:k]), s2 * spread @ spread.T

    assert not s.D.size
    eta = np.array([*fit.values, 0.0])
    mean, cov = pieces(eta)
    inverse, r = np.linalg.inv(cov), s.y - mean
    slopes = []
    for i in range(eta.size):
        step = np.zeros(eta.size)
        step[i] = 1e-5
        up, down = pieces(eta + step), pieces(eta - step)
        slopes.append([(a - b) / 2e-5 for a, b in zip(up, down, strict=True)])
    A = inverse @ slopes[-1][1]
    score = 0.5 * r @ A @ inverse @ r - 0.5 * np.trace(A)
    info = np.array(
        [
            [m @ inverse @ n + 0.5 * np.trace(inverse @ C @ inverse @ E) for n, E in slopes]
            for m, C in slopes
        ]
    )
    return score * np.sqrt(np.linalg.inv(info)[-1, -1])


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("model", ["sar", "sem", "sdm", "sdem", "sac"])
def test_by_density(small, model, effects, own):
    """Along the weights of the model, and along others."""
    W = weights()
    _, panel, given, y, X = small(W, T=5, seed=5, rho=0.3)
    V = W if own else weights(seed=11)
    fit = getattr(sa, model)(XY, panel, given, effects=effects)
    other = {} if own else {"W": sa.SpatialWeights.from_dense(V, given.ids)}
    expected = brute_force(y, X, W, V, fit, effects)
    assert sa.residual_moran(fit, **other)["z"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("effects", ["entity", "two-way"])
def test_two_stage_least_squares(small, effects):
    """Anselin and Kelejian's variance, with dummies and lags written out."""
    W = weights(12)
    _, panel, given, y, X = small(W, T=6, seed=2, rho=0.3)
    fit = sa.stsls(XY, panel, given, model="sar", effects=effects, cov="unadjusted")
    from dense import dummies

    D = dummies(6, 12, effects)
    Q = np.eye(72) - D @ np.linalg.pinv(D)
    big = np.kron(np.eye(6), W)
    Z = Q @ np.column_stack([X.reshape(72, 2), big @ y.ravel()])
    e = Q @ (y.ravel() - np.column_stack([X.reshape(72, 2), big @ y.ravel()]) @ fit.values)
    n = np.linalg.matrix_rank(Q)
    s2, c = e @ e / n, np.trace(Q @ big)
    own = np.trace(Q @ big @ Q @ big) + np.trace(Q @ big @ Q @ big.T) - 2 * c**2 / n
    d = Z.T @ (big @ e + big.T @ e - 2 * c / n * e) / s2
    expected = (e @ big @ e / s2 - c) / np.sqrt(own + d @ fit.covariance @ d)
    assert sa.residual_moran(fit)["z"] == pytest.approx(expected, rel=1e-8)


def test_random_effects_of_a_regression(cigarettes, queen):
    """The score of an error process that the unit effects pass through: CLM lambda (kkp)."""
    fit = sa.ols(FORMULA, cigarettes, queen, effects="random")
    expected = bsk_tests(FORMULA, cigarettes, queen, form="kkp").loc["CLM lambda", "statistic"]
    assert sa.residual_moran(fit)["z"] == pytest.approx(expected, rel=1e-3)


def test_random_effects_without_variance_are_no_effects(small):
    """phi at its lower end: the test of the model without unit effects."""
    W = weights(16)
    frame, _, given, _, X = small(W, T=6, seed=3)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        y = X @ [1.0, 2.0] + rng.normal(size=(6, 16))
        panel = sa.Panel(frame.assign(y=y.ravel()), entity="id", time="t")
        fit = sa.sar(XY, panel, given, effects="random")
        if np.isnan(fit.std_errors["phi"]):
            break
    else:
        pytest.fail("no sample without unit effects")
    plain = sa.residual_moran(sa.sar(XY, panel, given, effects="none"))["z"]
    assert sa.residual_moran(fit)["z"] == pytest.approx(plain, rel=1e-3)


def test_effects_outside_the_error_process_are_permuted(cigarettes, queen):
    fit = sa.sem(FORMULA, cigarettes, queen, effects="random", form="baltagi")
    found = sa.residual_moran(fit, permutations=19)
    assert list(found.index) == ["I", "expected", "p_permutation"]


def test_variance_is_smaller_than_that_of_a_regression(cigarettes, queen):
    """And by how much: the score of lambda given rho against that of lambda alone."""
    fit = sa.sar(FORMULA, cigarettes, queen)
    left = remaining(fit, fit.workspace.weights)
    W = queen.matrix
    found = resolvent(W, 0.0)
    one = W.sum(axis=0)
    squared = found.squared - 1.0  # JW: less the eigenvalue one, and the squares of column means
    frobenius = found.frobenius - (one @ one) / 46
    periods = 29
    raw = periods * (squared + frobenius) - 2.0 * periods**2 / (45 * periods)
    assert left.raw == pytest.approx(raw, rel=1e-8)
    assert left.variance < 0.7 * left.raw


def test_all_units_alike(cigarettes):
    """With period effects and equal weights I is -1/(N - 1) whatever the residuals are."""
    W = sa.SpatialWeights.from_dense((np.ones((46, 46)) - np.eye(46)) / 45.0, cigarettes.entities)
    for effects in ("time", "two-way"):
        with pytest.raises(sa.errors.IdentificationError, match="the same whatever"):
            sa.residual_moran(FORMULA, cigarettes, W, effects=effects)
        table = sa.lm_tests(FORMULA, cigarettes, W, effects=effects)
        assert table["statistic"].isna().all()
    assert np.isfinite(sa.residual_moran(FORMULA, cigarettes, W, effects="entity")["z"])


def test_nothing_is_left_beside_lambda(cigarettes, queen):
    """At lambda = 0 a second error process along the same weights is the first one."""
    fit = sa.sem(FORMULA, cigarettes, queen)
    at = replace(fit, estimate=replace(fit.estimate, lam=0.0))
    with pytest.raises(sa.errors.IdentificationError, match="Nothing is left"):
        sa.residual_moran(at)


def test_local_cd_of_a_fit_knows_what_was_estimated(cigarettes, queen):
    """Its variance: one less the squared correlations with sums of v_i'v_j and with the scores."""
    fit = sa.sar(FORMULA, cigarettes, queen, effects="entity")
    table = cd_test(fit)
    links = ((queen.matrix + queen.matrix.T) != 0).astype(float)
    V = sa.SpatialWeights.from_sparse(links, queen.ids)
    left = remaining(fit, Weighting.of(V, fit.workspace.data))
    chi = np.random.default_rng(0).chisquare(29, size=1_000_000)
    common = np.sqrt(chi).mean() ** 4 / chi.mean() ** 2
    share = 1.0 - common * (1.0 - left.variance / left.raw)
    z = table.loc["local CD", "statistic"] / np.sqrt(30 / 29 * share)
    from scipy.stats import norm

    assert table.loc["local CD", "p_value"] == pytest.approx(2 * norm.sf(abs(z)), rel=1e-2)
    assert "for rho and lambda" in table.attrs["tests"]["local CD"]["distribution"]
    plain = cd_test(fit, reference="normal")
    assert plain["statistic"].tolist() == table["statistic"].tolist()


def test_cd_is_a_chi_squared():
    """The squared sum over units in T - 1 directions, by simulation of independent residuals."""
    rng = np.random.default_rng(4)
    W = lattice()
    sim = sa.simulate("ols", W, 6, beta=[1.0], effects="entity", seed=0)
    fit = sa.ols(sim.formula, sim.panel, effects="entity")
    p = []
    for _ in range(1000):
        e = rng.normal(size=(6, 49))
        p.append(cd_test(replace(fit, resid=e - e.mean(axis=0)))["p_value"].iloc[0])
    counts = np.histogram(p, bins=4, range=(0, 1))[0]
    assert np.all(np.abs(counts - 250) < 50)  # 3.6 standard errors


@pytest.mark.slow
@pytest.mark.parametrize("effects", ["entity", "two-way"])
@pytest.mark.parametrize("null", ["sar", "sem", "sdm"])
def test_size(null, effects):
    table = rates(null, effects, FEW)
    left = table[table.index.str.contains(" after ")]
    assert len(left) >= 3
    assert left["rate"].between(*WIDE).all(), left
