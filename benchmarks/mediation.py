"""Time of mediation on 270 units and 15 years, 5 controls: the bootstrap by entity and what is
built on it.

python benchmarks/mediation.py --draws 2000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import spatial_agglo as sa
from spatial_agglo.mechanisms.mediation import mediation
from spatial_agglo.mechanisms.moderated import moderated_mediation
from spatial_agglo.mechanisms.spatial import spatial_mediation

CONTROLS = [f"k{j}" for j in range(1, 6)]
FORMULA = "y ~ x + " + " + ".join(CONTROLS)
ROLES = {"treatment": "x", "mediators": "m"}


def frame(N: int, T: int) -> pd.DataFrame:
    """Simulate a panel with a mediator m and a moderator z."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(N * T, 8)), columns=[*CONTROLS, "x", "z", "e"])
    data["m"] = 0.5 * data["x"] + 0.2 * data["x"] * data["z"] + rng.normal(size=N * T)
    data["y"] = 0.3 * data["x"] + 0.6 * data["m"] + data["k1"] + data["e"]
    return data.assign(i=np.repeat(np.arange(N), T), t=np.tile(np.arange(T), N))


def ring(N: int) -> sa.SpatialWeights:
    """Link every unit with four on a ring, row-standardised."""
    W = sum(np.roll(np.eye(N), shift, axis=1) for shift in (-2, -1, 1, 2))
    return sa.SpatialWeights.from_dense(W, range(N)).standardize("row")


def best(name: str, run: Callable[[], Any], repeat: int = 3) -> None:
    """Print the shortest of a few runs."""
    seconds = []
    for _ in range(repeat):
        clock = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - clock)
    print(f"{name:58s} {min(seconds):8.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=270)
    parser.add_argument("--periods", type=int, default=15)
    parser.add_argument("--draws", type=int, default=2000)
    options = parser.parse_args()
    data = frame(options.units, options.periods)
    panel = sa.Panel(data, entity="i", time="t")
    keep = np.random.default_rng(1).random(len(data)) > 0.1
    gaps = sa.Panel(data[keep], entity="i", time="t", unbalanced="allow")
    W = ring(options.units)
    draws = options.draws
    best("mediation", lambda: mediation(FORMULA, panel, **ROLES, draws=draws))
    best("mediation, a tenth of the cells missing",
         lambda: mediation(FORMULA, gaps, **ROLES, draws=draws))  # fmt: skip
    best(
        "moderated mediation, all paths",
        lambda: moderated_mediation(
            FORMULA, panel, treatment="x", mediator="m", moderator="z", draws=draws
        ),
    )
    best(
        "spatial mediation, normal draws",
        lambda: spatial_mediation(FORMULA, panel, W, **ROLES, draws=draws),
    )
    best(
        "spatial mediation, bootstrap",
        lambda: spatial_mediation(
            FORMULA, panel, W, **ROLES, draws=draws, intervals="bootstrap", progress=False
        ),
        repeat=1,
    )


if __name__ == "__main__":
    main()
