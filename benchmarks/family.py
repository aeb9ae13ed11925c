"""Time all eight models under all four effects: 270 units, 15 periods, six regressors.

    python benchmarks/family.py

Panel and W are declared anew, so that the spectrum and every moment matrix are part of the time.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

import spatial_agglo as sa

MODELS = ("ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns")
EFFECTS = ("none", "entity", "time", "two-way")


def make(N: int, T: int, k: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Simulate a spatial Durbin panel with dense row-standardised inverse distances."""
    rng = np.random.default_rng(0)
    points = rng.uniform(size=(N, 2))
    d = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    np.fill_diagonal(d, np.inf)
    W = 1.0 / d
    W /= W.sum(axis=1, keepdims=True)
    X = rng.normal(size=(T, N, k))
    mean = X.sum(axis=2) + 0.5 * (W @ X.sum(axis=2).T).T + rng.normal(size=N)
    y = np.linalg.solve(np.eye(N) - 0.4 * W, (mean + rng.normal(size=(T, N))).T).T
    frame = pd.DataFrame(X.reshape(T * N, k), columns=[f"x{j}" for j in range(k)])
    frame["unit"], frame["period"] = np.tile(np.arange(N), T), np.repeat(np.arange(T), N)
    frame["y"] = y.ravel()
    return frame, W


def run(frame: pd.DataFrame, W: np.ndarray, k: int) -> None:
    """Declare the panel and the weights, and fit everything, standard errors included."""
    panel = sa.Panel(frame, entity="unit", time="period")
    weights = sa.SpatialWeights.from_dense(W, range(len(W)))
    formula = "y ~ " + " + ".join(f"x{j}" for j in range(k))
    for effects in EFFECTS:
        for model in MODELS:
            fit = getattr(sa, model)(formula, panel, weights, effects=effects)
            assert np.isfinite(fit.std_errors).all()


def main() -> None:
    """Print the time of the first run of the process, and the best and median of ten more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=270)
    parser.add_argument("--periods", type=int, default=15)
    parser.add_argument("--regressors", type=int, default=6)
    options = parser.parse_args()
    k = options.regressors
    frame, W = make(options.units, options.periods, k)
    times = []
    for _ in range(11):
        start = time.perf_counter()
        run(frame, W, k)
        times.append(time.perf_counter() - start)
    print(f"{len(MODELS) * len(EFFECTS)} fits, {options.units} x {options.periods} x {k}")
    best, middle = min(times[1:]), np.median(times[1:])
    print(f"first {times[0]:.3f} s, best {best:.3f} s, median {middle:.3f} s")


if __name__ == "__main__":
    main()
