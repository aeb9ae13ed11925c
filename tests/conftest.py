"""Fixtures that several test modules share."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

import spatial_agglo as sa

#: Small matrices, and test processes side by side: threads would wait for each other.
THREADS = threadpool_limits(limits=1, user_api="blas")

FORMULA = "logc ~ logp + logy"
EFFECTS = ("none", "entity", "time", "two-way")


@pytest.fixture(scope="session")
def reference():
    """Load a file of reference numbers by name."""
    folder = Path(__file__).parent / "reference"
    return lambda name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def cigarettes():
    return sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")


@pytest.fixture(scope="session")
def queen():
    return sa.datasets.weights("cigarettes_queen").standardize("row")


@pytest.fixture
def small():
    """Make a small panel with labels: arrays in, (frame, panel, weights, y, X) out."""

    def make(W, T=7, seed=0, k=2, rho=0.4):
        rng = np.random.default_rng(seed)
        N = W.shape[0]
        X = rng.normal(size=(T, N, k)) + rng.normal(size=(1, N, 1)) + rng.normal(size=(T, 1, 1))
        u = X @ np.arange(1.0, k + 1.0) + rng.normal(size=(1, N)) + rng.normal(size=(T, 1))
        u = u + rng.normal(size=(T, N)) + 3.0
        y = np.linalg.solve(np.eye(N) - rho * W, u.T).T
        ids = [f"u{i:02d}" for i in range(N)]
        frame = pd.DataFrame(
            {
                "id": np.tile(ids, T),
                "t": np.repeat(np.arange(2000, 2000 + T), N),
                "y": y.ravel(),
                **{f"x{j + 1}": X[:, :, j].ravel() for j in range(k)},
            }
        )
        panel = sa.Panel(frame, entity="id", time="t")
        weights = sa.SpatialWeights.from_dense(W, ids)
        return frame, panel, weights, y, X

    return make
