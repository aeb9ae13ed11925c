"""Panels and weights that the tests of effects share."""

import dense
import numpy as np
import pandas as pd
import pytest

import spatial_agglo as sa

FORMULA = "y ~ x1 + x2"


@pytest.fixture(scope="session")
def matrices():
    return dense.weights_cases(np.random.default_rng(3))


@pytest.fixture(scope="session")
def labelled():
    """Weights with the labels of the small panels."""

    def make(W):
        return sa.SpatialWeights.from_dense(W, [f"u{i:02d}" for i in range(len(W))])

    return make


@pytest.fixture(scope="session")
def dynamic_panel():
    """A stationary dynamic panel with unit and period effects on given weights."""

    def make(W, T=14, seed=0, tau=0.4, eta=0.1, rho=0.3, common=True):
        rng = np.random.default_rng(seed)
        N, burn = len(W), 40
        S = np.linalg.inv(np.eye(N) - rho * W)
        X = rng.normal(size=(burn + T, N, 2))
        fixed = rng.normal(size=N)
        y = np.zeros((burn + T, N))
        for t in range(1, burn + T):
            u = X[t] @ [1.0, -0.5] + W @ X[t] @ [0.3, 0.2] + fixed + common * rng.normal()
            u = u + tau * y[t - 1] + eta * W @ y[t - 1] + 0.5 * rng.normal(size=N)
            y[t] = S @ u
        frame = pd.DataFrame(
            {
                "id": np.tile([f"u{i:02d}" for i in range(N)], T),
                "t": np.repeat(np.arange(T), N),
                "y": y[burn:].ravel(),
                "x1": X[burn:, :, 0].ravel(),
                "x2": X[burn:, :, 1].ravel(),
            }
        )
        return sa.Panel(frame, entity="id", time="t")

    return make
