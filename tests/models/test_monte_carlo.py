"""Simulations: bias and coverage under two-way effects and a dense W.

``pytest -m slow -s tests/models/test_monte_carlo.py`` prints what it finds.
"""

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa
from spatial_agglo.core import meat

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


def draw(W, rng, errors, strength=1.0):
    """One two-way SDM panel with the given innovations, as a Panel."""
    dense = W.matrix.toarray()
    units = W.n
    X = rng.normal(size=(T, units, 2)) + rng.normal(size=(units, 1))
    u = strength * (X @ BETA + np.einsum("ij,tjk->tik", dense, X) @ THETA)
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


def lattice(side):
    """Row-standardised rook contiguity of a grid, with labels."""
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
    cells = [(i, j) for i in range(side) for j in range(side)]
    neighbours = {
        f"{i}-{j}": [f"{i + a}-{j + b}" for a, b in steps if (i + a, j + b) in set(cells)]
        for i, j in cells
    }
    return sa.SpatialWeights.from_dict(neighbours).standardize("row")


@pytest.mark.parametrize("kind", ["heteroskedastic", "serially correlated"])
@pytest.mark.parametrize("strength", [1.0, 0.1])
def test_robust_standard_errors(monkeypatch, kind, strength):
    """The sandwich covers where it should, also when rho rests on the errors alone.

    Beside it: the plain information matrix, and the usual sandwich that adds up outer
    products unit by unit and so leaves out the covariance between units.
    """
    rng = np.random.default_rng(11)
    units, replications = 100, 1000
    W = lattice(10)
    spread = np.exp(rng.normal(scale=0.7, size=units))
    cov = "robust" if kind == "heteroskedastic" else "clustered"
    truth = np.concatenate([strength * BETA, strength * THETA, [RHO]])
    hits = {"observed": [], cov: [], "unit by unit": []}
    full = meat.mutual_clusters
    for _ in range(replications):
        errors = rng.normal(size=(T, units))
        if kind == "heteroskedastic":
            errors *= spread
        else:
            for t in range(1, T):
                errors[t] += 0.7 * errors[t - 1]
        panel = draw(W, rng, errors, strength)
        for name, found in hits.items():
            without = name == "unit by unit"
            monkeypatch.setattr(meat, "mutual_clusters", (lambda *_: 0.0) if without else full)
            fit = sa.sdm("y ~ x1 + x2", panel, W, cov=cov if without else name)
            found.append(covers(fit.values[:5], np.sqrt(np.diag(fit.covariance))[:5], truth))
    coverage = {name: np.mean(found, axis=0) for name, found in hits.items()}
    print(f"\n{kind} errors, coefficients x {strength}: coverage of x1 x2 W*x1 W*x2 rho")
    for name, values in coverage.items():
        print(f"  {name:12s}", np.round(values, 3))
    assert ((coverage[cov] > 0.92) & (coverage[cov] < 0.98)).all()
    if strength < 1:
        assert coverage["unit by unit"][4] < 0.92


@pytest.mark.parametrize("periods", [2, 5])
def test_robust_standard_errors_in_short_panels(monkeypatch, periods):
    """Demeaning takes a part of the residuals' variance; the factor gives it back."""
    import sys

    monkeypatch.setattr(sys.modules[__name__], "T", periods)
    rng = np.random.default_rng(3)
    W, hits = lattice(12), []
    truth = np.concatenate([BETA, THETA, [RHO]])
    for _ in range(1000):
        panel = draw(W, rng, rng.normal(size=(periods, 144)))
        fit = sa.sdm("y ~ x1 + x2", panel, W, cov="robust")
        hits.append(covers(fit.values[:5], np.sqrt(np.diag(fit.covariance))[:5], truth))
    print(f"\nT = {periods}, robust: coverage of x1 x2 W*x1 W*x2 rho", np.mean(hits, axis=0))
    assert (np.mean(hits, axis=0) > 0.91).all()


def test_size_of_the_lm_tests(inverse_distance):
    """Under the null, two-way effects and a dense W: 5% is 5%, thanks to the centring."""
    rng = np.random.default_rng(5)
    W, rejected = inverse_distance, {"transformed": [], "direct": []}
    X = rng.normal(size=(T, N, 2))
    for _ in range(2000):
        y = X @ BETA + rng.normal(size=N) + rng.normal(size=(T, 1)) + rng.normal(size=(T, N))
        frame = pd.DataFrame({"id": np.tile(W.ids, T), "t": np.repeat(range(T), N)})
        frame["y"], frame["x1"], frame["x2"] = y.ravel(), X[:, :, 0].ravel(), X[:, :, 1].ravel()
        panel = sa.Panel(frame, entity="id", time="t")
        for likelihood, found in rejected.items():
            p = sa.lm_tests("y ~ x1 + x2", panel, W, likelihood=likelihood)["p_value"]
            found.append(p < 0.05)
    size = {name: np.mean(found, axis=0) for name, found in rejected.items()}
    print("\nsize of LM lag, robust LM lag, LM error, robust LM error, SARMA")
    for name, values in size.items():
        print(f"  {name:12s}", np.round(values, 3))
    assert ((size["transformed"] > 0.03) & (size["transformed"] < 0.075)).all()
    assert size["direct"][2] > 0.2
