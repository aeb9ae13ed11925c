"""Moran's I with permutations: every year of a panel at once, beside esda.Moran in a loop.

python benchmarks/moran.py
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import pandas as pd

import spatial_agglo as sa


def lattice(rows: int, columns: int) -> sa.SpatialWeights:
    """Queen contiguity of a grid, row-standardised."""
    i, j = np.divmod(np.arange(rows * columns), columns)
    links = []
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            inside = (i + a >= 0) & (i + a < rows) & (j + b >= 0) & (j + b < columns)
            if a or b:
                here = np.flatnonzero(inside)
                links.append((here, (i + a)[here] * columns + (j + b)[here]))
    edges = pd.DataFrame(
        np.concatenate([np.column_stack(pair) for pair in links]), columns=["i", "j"]
    )
    return sa.weights.from_edges(edges, source="i", target="j").standardize("row")


def compare(rows: int, columns: int, T: int, permutations: int = 999, repeat: int = 3) -> None:
    """Time both on the same data and print a line."""
    import esda

    N = rows * columns
    W = lattice(rows, columns)
    x = np.random.default_rng(0).normal(size=(T, N))
    frame = pd.DataFrame(
        {"i": np.tile(np.arange(N), T), "t": np.repeat(np.arange(T), N), "x": x.ravel()}
    )
    panel = sa.Panel(frame, entity="i", time="t")
    w = W.to_libpysal().to_W()
    w.sparse  # noqa: B018 (built once, before the clock starts)
    ours, theirs = [], []
    for _ in range(repeat):
        start = time.perf_counter()
        found = sa.esda.moran(panel, "x", W, permutations=permutations)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        values = [esda.Moran(x[t], w, permutations=permutations).I for t in range(T)]
        theirs.append(time.perf_counter() - start)
    gap = float(np.abs(found["I"].to_numpy() - values).max())
    print(
        f"{N:7d} units x {T:2d} years, {permutations} permutations: ours {min(ours):8.3f} s, "
        f"esda {min(theirs):8.3f} s, ratio {min(theirs) / min(ours):5.1f}, difference {gap:.1e}"
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    compare(1, 31, 19)
    compare(6, 8, 30)
    compare(316, 316, 1, repeat=1)
