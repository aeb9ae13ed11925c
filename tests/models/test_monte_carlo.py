"""Simulations: bias and coverage under two-way effects and a dense W.

``pytest -m slow -s tests/models/test_monte_carlo.py`` prints what it finds.
"""

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa

pytestmark = pytest.mark.slow

N, T, RHO = 30, 15, 0.4
BETA, THETA = np.array([1.0, -0.5]), np.array([0.5, 0.3])


@pytest.fixture(scope="module")
def inverse_distance():
    rng = np.random.default_rng(2024)
    places = pd.DataFrame(
        {"lon": rng.uniform(100, 120, N), "lat": rng.uniform(25, 40, N)},
        index=[f"p{i:02d}" for i in range(N)],
    )
    W = sa.weights.inverse_distance(places, longitude="lon", latitude="lat")
    return W.standardize("row")


def draw(W, rng, errors):
    """One two-way SDM panel with the given innovations, as a Panel."""
    dense = W.matrix.toarray()
    units = W.n
    X = rng.normal(size=(T, units, 2)) + rng.normal(size=(units, 1))
    u = X @ BETA + np.einsum("ij,tjk->tik", dense, X) @ THETA
    u = u + rng.normal(size=units) + rng.normal(size=(T, 1)) + errors
    y = np.linalg.solve(np.eye(units) - RHO * dense, u.T).T
    frame = pd.DataFrame(
        {
            "id": np.tile(W.ids, T),
            "t": np.repeat(np.arange(T), units),
            "y": y.ravel(),
            "x1": X[:, :, 0].ravel(),
            "x2": X[:, :, 1].ravel(),
        }
    )
    return sa.Panel(frame, entity="id", time="t")


def true_direct(W):
    S = np.linalg.inv(np.eye(W.n) - RHO * W.matrix.toarray())
    return np.array(
        [
            np.trace(S @ (BETA[k] * np.eye(W.n) + THETA[k] * W.matrix.toarray())) / W.n
            for k in range(2)
        ]
    )


def covers(estimate, se, truth):
    return np.abs(np.asarray(estimate) - truth) <= 1.959963984540054 * np.asarray(se)


def test_dense_weights_two_way_effects(inverse_distance):
    rng = np.random.default_rng(7)
    W, replications = inverse_distance, 2000
    direct_effect = true_direct(W)
    rho = {"transformed": [], "direct": [], "corrected": []}
    beta, effect = [], []
    for _ in range(replications):
        panel = draw(W, rng, rng.normal(size=(T, N)))
        for likelihood, found in rho.items():
            try:
                fit = sa.sdm("y ~ x1 + x2", panel, W, likelihood=likelihood)
            except sa.errors.BoundaryError:
                found.append(np.nan)
                continue
            found.append(fit.rho)
            if likelihood == "transformed":
                beta.append(covers(fit.params[["x1", "x2"]], fit.std_errors[["x1", "x2"]], BETA))
                d = fit.impacts().direct
                effect.append(covers(d["estimate"], d["se"], direct_effect))
    mean = {name: float(np.nanmean(found)) for name, found in rho.items()}
    failed = {name: int(np.isnan(found).sum()) for name, found in rho.items()}
    print(f"\nN = {N}, T = {T}, rho = {RHO}, W = row-standardised 1/d, {replications} draws")
    print("mean of the estimated rho:", mean, "on the boundary:", failed)
    print("coverage of beta", np.mean(beta, axis=0), "of direct effects", np.mean(effect, axis=0))
    assert sum(failed.values()) <= 0.01 * replications
    assert abs(mean["transformed"] - RHO) < 0.05
    assert mean["direct"] < RHO - 0.2
    for coverage in (*np.mean(beta, axis=0), *np.mean(effect, axis=0)):
        assert 0.92 <= coverage <= 0.98


@pytest.mark.parametrize("kind", ["heteroskedastic", "serially correlated"])
def test_robust_standard_errors(kind):
    """The sandwich covers where it should; without the covariance between units rho's does not."""
    rng = np.random.default_rng(11)
    units, replications = 100, 1000
    side = np.arange(10)
    ids = [f"{i}-{j}" for i in side for j in side]
    neighbours = {
        f"{i}-{j}": [
            f"{i + a}-{j + b}"
            for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0))
            if 0 <= i + a < 10 and 0 <= j + b < 10
        ]
        for i in side
        for j in side
    }
    W = sa.SpatialWeights.from_dict(neighbours).standardize("row").align(ids)
    spread = np.exp(rng.normal(scale=0.7, size=units))
    cov = "robust" if kind == "heteroskedastic" else "clustered"
    hits = {"observed": [], cov: []}
    for _ in range(replications):
        noise = rng.normal(size=(T, units))
        if kind == "heteroskedastic":
            errors = noise * spread
        else:
            errors = noise.copy()
            for t in range(1, T):
                errors[t] = 0.7 * errors[t - 1] + noise[t]
        panel = draw(W, rng, errors)
        for name, found in hits.items():
            fit = sa.sdm("y ~ x1 + x2", panel, W, cov=name)
            truth = np.concatenate([BETA, THETA, [RHO]])
            found.append(covers(fit.values[:5], np.sqrt(np.diag(fit.covariance))[:5], truth))
    coverage = {name: np.mean(found, axis=0) for name, found in hits.items()}
    print(f"\n{kind} errors, coverage of x1 x2 W*x1 W*x2 rho:")
    for name, values in coverage.items():
        print(f"  {name:10s}", np.round(values, 3))
    assert ((coverage[cov] > 0.92) & (coverage[cov] < 0.98)).all()
