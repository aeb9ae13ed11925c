"""Time and memory of effects after a fit: a grid in cross-section, ten regressors, an SDM.

python benchmarks/impacts.py --side 200
"""

from __future__ import annotations

import argparse
import resource
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse import linalg

import spatial_agglo as sa
from spatial_agglo.impacts import aggregate, impacts_by_unit, partition

RHO, REGRESSORS = 0.5, 10
PAGE = resource.getpagesize()


def rook(side: int) -> sparse.csr_array:
    """Contiguity of the cells of a square grid, row-standardised."""
    line = sparse.diags_array([np.ones(side - 1)] * 2, offsets=[-1, 1], shape=(side, side))
    eye = sparse.eye_array(side)
    A = sparse.csr_array(sparse.kron(line, eye) + sparse.kron(eye, line))
    return sparse.csr_array(sparse.diags_array(1.0 / A.sum(axis=1)) @ A)


def fitted(side: int, standardize: bool) -> tuple[Any, pd.Series]:
    """Simulate and fit; also a grouping of the units into 25 squares."""
    rng = np.random.default_rng(0)
    N = side * side
    matrix = rook(side)
    if not standardize:  # rows that do not sum to one
        matrix = sparse.csr_array(sparse.diags_array(rng.uniform(0.5, 1.0, N)) @ matrix)
    X = rng.normal(size=(N, REGRESSORS))
    u = X @ np.linspace(1.0, 0.1, REGRESSORS) + matrix @ X @ np.linspace(-0.2, 0.4, REGRESSORS)
    S = sparse.csc_array(sparse.eye_array(N) - RHO * matrix)
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(REGRESSORS)])
    frame["y"] = linalg.splu(S).solve(u + rng.normal(size=N))
    frame["unit"] = np.arange(N)
    W = sa.SpatialWeights.from_sparse(matrix, ids=range(N))
    formula = "y ~ " + " + ".join(f"x{j}" for j in range(REGRESSORS))
    fit = sa.sdm(formula, sa.Panel(frame, entity="unit"), W, effects="none")
    row, column = np.divmod(np.arange(N), side)
    squares = pd.Series(row * 5 // side * 5 + column * 5 // side, index=range(N))
    return fit, squares


def resident() -> float:
    """Return the memory in use, MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE / 1e6


def measure(name: str, run: Callable[[], Any]) -> None:
    """Print the seconds of a first run and the memory it adds at its peak."""
    start, peak, done = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    clock = time.perf_counter()
    run()
    seconds = time.perf_counter() - clock
    done.set()
    watcher.join()
    print(f"{name:42s} {seconds:8.2f} s   +{max(peak[0], resident()) - start:7.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=200)
    parser.add_argument("--draws", type=int, default=10_000)
    given = parser.parse_args()
    for standardize in (True, False):
        fit, squares = fitted(given.side, standardize)
        kind = "row-standardised" if standardize else "not row-standardised"
        print(f"{given.side**2} units, {REGRESSORS} regressors, W {kind}, rho = {fit.rho:.3f}")
        measure(
            f"{given.draws} draws",
            lambda fit=fit: fit.impacts(method="simulation", draws=given.draws),
        )
        measure("delta method", lambda fit=fit: fit.impacts())
        measure("partition to order 6", lambda fit=fit: partition(fit, orders=6))
        measure("by unit", lambda fit=fit: impacts_by_unit(fit, "x0"))
        measure("between 25 groups", lambda fit=fit, g=squares: aggregate(fit, "x0", g))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"peak of the process: {peak:.0f} MB\n")


if __name__ == "__main__":
    main()
