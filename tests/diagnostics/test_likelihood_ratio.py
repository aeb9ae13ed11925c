"""P values of likelihood ratios of the fixed effects: scaled as the formula says."""

import numpy as np
import pytest
from conftest import FORMULA
from dense import dummies
from scipy.stats import chi2

import spatial_agglo as sa

XY = "y ~ x1 + x2"
N, T = 14, 6


def ring():
    W = np.zeros((N, N))
    for i in range(N):
        W[i, (i + 1) % N] = W[i, (i - 1) % N] = 1.0
        W[i, (i + N // 2) % N] = 0.5
    return W / W.sum(axis=1, keepdims=True)


def off(effects):
    """The projection off the dummies of some effects."""
    D = dummies(T, N, effects)
    return np.eye(N * T) - D @ np.linalg.pinv(D)


@pytest.mark.parametrize("smaller", ["entity", "time"])
def test_of_a_regression_they_are_those_of_f(small, smaller):
    _, panel, *_ = small(ring(), T=T, seed=8)
    rng = np.random.default_rng(0)
    frame = panel.frame.reset_index()
    for scale in (0.0, 0.5):
        effects = {"entity": panel.times, "time": panel.entities}[smaller]
        shift = dict(zip(effects, scale * rng.normal(size=len(effects)), strict=True))
        key = {"entity": "t", "time": "id"}[smaller]
        y = frame["x1"] + frame[key].map(shift) + rng.normal(size=len(frame))
        made = sa.Panel(frame.assign(y=y), entity="id", time="t")
        table = sa.effects_tests(XY, made, model="ols")
        exact = sa.effects_f_tests(XY, made)
        name = f"two-way/{smaller}"
        p = exact.loc[f"F {name}", "p_value"]
        assert table.loc[f"LR {name}", "p_value"] == pytest.approx(p, rel=0.05, abs=1e-4)


@pytest.mark.parametrize("model", ["sar", "sem", "sac"])
def test_of_a_spatial_model_they_know_what_rho_takes_along(small, model):
    W = ring()
    _, panel, weights, *_ = small(W, T=T, seed=3, rho=0.3)
    table = sa.effects_tests(XY, panel, weights, model=model)
    full = getattr(sa, model)(XY, panel, weights, likelihood="direct")
    spatial = [name for name in ("rho", "lambda") if name in full.names]
    Q = off("two-way")
    n = np.linalg.matrix_rank(Q)
    for smaller, q in (("entity", T - 1), ("time", N - 1)):
        P = off(smaller) - Q
        d = []
        for name in spatial:
            H = np.kron(np.eye(T), W @ np.linalg.inv(np.eye(N) - full.params[name] * W))
            d.append(np.trace(P @ H) / q - np.trace(Q @ H) / n)
        d = np.array(d)
        left = n - 2 - len(spatial)
        factor = (left + q / 2 - 1) / (N * T)
        factor /= 1.0 + (q - 1) * d @ full.cov.loc[spatial, spatial].to_numpy() @ d
        row = table.loc[f"LR two-way/{smaller}"]
        restricted = full.replace(effects=smaller)
        assert row["statistic"] == pytest.approx(2 * (full.loglik - restricted.loglik), rel=1e-8)
        assert row["p_value"] == pytest.approx(chi2.sf(factor * row["statistic"], q), rel=1e-6)
        said = table.attrs["tests"][f"LR two-way/{smaller}"]["distribution"]
        assert said == f"chi2({q}) of {factor:.4f} LR"


def test_without_scaling_they_are_published_ones(cigarettes, queen):
    for model in ("ols", "sdm"):
        plain = sa.effects_tests(FORMULA, cigarettes, queen, model=model, scaling="none")
        scaled = sa.effects_tests(FORMULA, cigarettes, queen, model=model)
        assert plain["statistic"].tolist() == scaled["statistic"].tolist()
        expected = chi2.sf(plain["statistic"], plain["df"].to_numpy(float))
        np.testing.assert_allclose(plain["p_value"], expected, rtol=1e-8)
        assert plain.attrs["tests"]["LR two-way/entity"]["distribution"] == "chi2(29)"
    with pytest.raises(sa.errors.OptionError, match="scaling='bartlett' is not known"):
        sa.effects_tests(FORMULA, cigarettes, queen, scaling="bartlett")


def test_rows_know_what_they_test(cigarettes, queen):
    sdm = sa.sdm(FORMULA, cigarettes, queen)
    for table in (sa.lr_tests(sdm), sa.wald_tests(sdm), sa.lm_tests(FORMULA, cigarettes, queen)):
        about = table.attrs["tests"]
        assert list(about) == list(table.index)
        assert all(set(entry) == {"null", "distribution", "source"} for entry in about.values())
