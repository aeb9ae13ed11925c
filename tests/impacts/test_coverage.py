"""Simulation: how often the intervals of effects hold the truth.

``pytest -m slow -s tests/impacts/test_coverage.py`` prints what it finds.
"""

import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa

pytestmark = pytest.mark.slow

SIDE, T, RHO = 7, 10, 0.4
BETA, THETA = np.array([1.0, -0.5]), np.array([0.5, 0.3])
EFFECTS = ("direct", "indirect", "total")


def grid():
    """Queen contiguity of a 7 x 7 grid, row-standardised."""
    i, j = np.divmod(np.arange(SIDE**2), SIDE)
    near = np.maximum(np.abs(i[:, None] - i), np.abs(j[:, None] - j)) == 1
    W = near / near.sum(axis=1, keepdims=True)
    return W, sa.SpatialWeights.from_dense(W, range(SIDE**2))


def averages(S, W):
    """Direct, indirect and total effects of both variables, (3, 2)."""
    E = [S @ (b * np.eye(len(W)) + t * W) for b, t in zip(BETA, THETA, strict=True)]
    direct = np.array([np.trace(e) for e in E]) / len(W)
    total = np.array([e.sum() for e in E]) / len(W)
    return np.stack([direct, total - direct, total])


def report(name, hits):
    share = np.mean(hits, axis=0)
    print(f"\n{name}: coverage of nominal 95% intervals, {len(hits)} samples")
    for effect, row in zip(EFFECTS, share, strict=True):
        print(f"  {effect:9s}", np.round(row, 3))
    return share


@pytest.mark.parametrize("effects", ["entity", "two-way"])
def test_static(effects):
    rng = np.random.default_rng(3)
    W, weights = grid()
    N = len(W)
    S = np.linalg.inv(np.eye(N) - RHO * W)
    truth = averages(S, W)
    hits = {"delta": [], "simulation": []}
    for _ in range(2000):
        X = rng.normal(size=(T, N, 2)) + rng.normal(size=(N, 1))
        u = X @ BETA + np.einsum("ij,tjk->tik", W, X) @ THETA + rng.normal(size=N)
        u += rng.normal(size=(T, N)) + (effects == "two-way") * rng.normal(size=(T, 1))
        y = u @ S.T
        frame = pd.DataFrame({"id": np.tile(range(N), T), "t": np.repeat(range(T), N)})
        frame["y"], frame["x1"], frame["x2"] = y.ravel(), X[:, :, 0].ravel(), X[:, :, 1].ravel()
        panel = sa.Panel(frame, entity="id", time="t")
        fit = sa.sdm("y ~ x1 + x2", panel, weights, effects=effects)
        for method, found in hits.items():
            bounds = sa.impacts(fit, method=method, draws=300).bounds
            found.append((bounds[0] <= truth) & (truth <= bounds[1]))
    for method, found in hits.items():
        share = report(f"sdm, {effects}, {method}", found)
        assert ((share >= 0.92) & (share <= 0.98)).all()


def test_long_run():
    """A dynamic SDM, T = 40, corrected for bias: short and long run."""
    rng = np.random.default_rng(4)
    W, weights = grid()
    N, periods, tau, eta = len(W), 40, 0.4, -0.1
    S = np.linalg.inv(np.eye(N) - RHO * W)
    M = np.linalg.inv((1.0 - tau) * np.eye(N) - (RHO + eta) * W)
    truth = {"short": averages(S, W), "long": averages(M, W)}
    hits = {"short": [], "long": []}
    for _ in range(1000):
        fixed = rng.normal(size=N)
        X = rng.normal(size=(30 + periods, N, 2))
        y = np.zeros((30 + periods, N))
        for t in range(1, len(y)):
            u = tau * y[t - 1] + eta * W @ y[t - 1] + X[t] @ BETA + W @ X[t] @ THETA
            y[t] = S @ (u + fixed + rng.normal(size=N))
        y, X = y[30:], X[30:]
        frame = pd.DataFrame(
            {"id": np.tile(range(N), periods), "t": np.repeat(range(periods), N), "y": y.ravel()}
        )
        frame["x1"], frame["x2"] = X[:, :, 0].ravel(), X[:, :, 1].ravel()
        panel = sa.Panel(frame, entity="id", time="t")
        fit = sa.sdm("y ~ x1 + x2", panel, weights, effects="entity", dynamic="both")
        for horizon, found in hits.items():
            bounds = sa.impacts(fit, horizon=horizon).bounds
            found.append((bounds[0] <= truth[horizon]) & (truth[horizon] <= bounds[1]))
    for horizon, found in hits.items():
        share = report(f"dynamic sdm, {horizon} run", found)
        assert ((share >= 0.92) & (share <= 0.98)).all()
