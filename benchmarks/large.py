"""Large cross-sections in one run: our maximum likelihood, and spreg's with sparse LU.

A complete call with standard errors, on new objects every time: the log-determinant of W is
part of it. Every cell runs in a process of its own, on the same simulated data; imports, data
and objects are made before, and a fit of 256 units warms up. As for fit.py the fair setting is
one thread and the CPU clock, and it is the default here.

    python benchmarks/large.py --out benchmarks/large
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fit as common

RHO = 0.4
SMALL = 256
#: Estimates of the same likelihood must agree to this; spreg stops its search at 1e-7.
AGREE = 1e-5
#: Seconds that our spatial Durbin model of 40,000 units may take.
TARGET_SECONDS = 2.0
#: Times that we must be faster than spreg at 10,000 units.
TARGET_RATIO = 50.0

COLUMNS = ["N", "weights", "model", "package", "seconds", "speed-up", "peak MB", "fits", "rho"]


def simulate(N: int, k: int, kind: str, seed: int) -> common.Data:
    """Draw ``y = rho W y + X beta + W X theta + e`` for one period."""
    import numpy as np
    import pandas as pd
    from scipy import sparse
    from scipy.sparse import linalg

    rng = np.random.default_rng([seed, N])
    A = common.adjacency(N, kind, rng)
    W = sparse.csr_array(sparse.diags_array(1.0 / A.sum(axis=1)) @ A)
    X = rng.standard_normal((N, k))
    mean = X @ np.linspace(1.0, 0.3, k) + W @ (X @ np.linspace(0.4, -0.2, k))
    S = sparse.csc_array(sparse.eye_array(N) - RHO * W)
    y = linalg.splu(S, permc_spec="MMD_AT_PLUS_A").solve(mean + rng.standard_normal(N))
    frame = pd.DataFrame(X, columns=[f"x{j + 1}" for j in range(k)])
    frame.insert(0, "y", y)
    frame.insert(0, "unit", np.arange(N))
    return common.Data(N, 1, k, W, frame)


# --- packages ---------------------------------------------------------------------------
# A package is (prepare, fit, read): objects outside the clock; the fit with its standard
# errors on the clock; rho, then the other coefficients, for the comparison.


def ours(model: str, cov: str = "observed") -> common.Package:
    import spatial_agglo as sa

    def prepare(data: common.Data) -> Any:
        W = sa.SpatialWeights.from_sparse(data.W, ids=range(data.N))
        return data.formula, sa.Panel(data.frame, entity="unit"), W

    def fit(made: Any) -> Any:
        formula, panel, W = made
        found = getattr(sa, model)(formula, panel, W, effects="none", cov=cov)
        found.std_errors  # noqa: B018
        return found

    def read(found: Any, data: common.Data) -> list[float]:
        names = ["rho", *data.names]
        names += [f"W*{name}" for name in data.names] if model == "sdm" else []
        return [float(found.params[name]) for name in names]

    label = "spatial_agglo" + ("" if cov == "observed" else f", cov={cov!r}")
    return common.Package(label, prepare, fit, read)


def spreg(model: str) -> common.Package:
    import numpy as np
    import spreg as peer
    from libpysal.weights import W as Weights

    def prepare(data: common.Data) -> Any:
        parts = np.split(data.W.indices, data.W.indptr[1:-1])
        values = np.split(data.W.data, data.W.indptr[1:-1])
        W = Weights(
            {i: part.tolist() for i, part in enumerate(parts)},
            {i: part.tolist() for i, part in enumerate(values)},
            id_order=list(range(data.N)),
            silence_warnings=True,
        )
        W.sparse  # noqa: B018  cached on the object: not on spreg's clock
        return data.frame[["y"]].to_numpy(), data.frame[data.names].to_numpy(), W

    def fit(made: Any) -> Any:
        y, X, W = made
        # spat_impacts=None: ours does not compute impacts in the fit either.
        return peer.ML_Lag(
            y, X, W, slx_lags=int(model == "sdm"), method="LU", spat_impacts=None, spat_diag=False
        )

    def read(found: Any, data: common.Data) -> list[float]:
        b = found.betas.ravel()  # the intercept first, rho last
        return [float(b[-1]), *map(float, b[1:-1])]

    return common.Package("spreg, method='LU'", prepare, fit, read)


PACKAGES: dict[str, Callable[[str], common.Package]] = {
    "ours": ours,
    "ours-robust": lambda model: ours(model, "robust"),
    "spreg": spreg,
}


# --- one cell, in its own process --------------------------------------------------------


def cell(job: dict[str, Any]) -> dict[str, Any]:
    """Measure one package at one size."""
    clock = common.stopwatch(common.CLOCKS[job["clock"]])
    try:
        package = common.quietly(lambda: PACKAGES[job["package"]](job["model"]))
    except ImportError as error:
        return {"skipped": f"{job['package']}: {error}"}
    shape = {key: job[key] for key in ("k", "kind", "seed")}
    data = simulate(job["N"], **shape)
    made = package.prepare(data)
    common.quietly(lambda: package.fit(package.prepare(simulate(SMALL, **shape))))
    common.forget_peak()
    before = common.peak_mb()
    seconds, found = common.quietly(lambda: clock(lambda: package.fit(made)))
    memory = common.peak_mb() - before
    times, start = [seconds], time.perf_counter()
    while len(times) < 5 and time.perf_counter() - start < job["budget"]:
        made = package.prepare(data)
        run = functools.partial(package.fit, made)
        times.append(common.quietly(functools.partial(clock, run))[0])
    out = {
        "label": package.label,
        "seconds": min(times),
        "memory": memory,
        "repetitions": len(times),
        "estimates": package.read(found, data),
    }
    if job["package"].startswith("ours"):
        out["method"] = made[2].logdet.method
    return out


def child(job: dict[str, Any], threads: int) -> dict[str, Any]:
    """Run a job in a fresh interpreter and return what it reports."""
    command = [sys.executable, str(Path(__file__).resolve()), "--job", json.dumps(job)]
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    limits = dict.fromkeys(names, str(threads))
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | limits
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"skipped": f"failed with exit code {done.returncode}: {last}"}
    return json.loads(done.stdout.splitlines()[-1])


def measure(
    cells: list[tuple[int, str, str, str]], given: argparse.Namespace
) -> tuple[list[dict[str, Any]], list[str]]:
    """Run the cells (N, weights, model, package); return rows and notes."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    reference: dict[tuple[int, str, str], dict[str, Any]] = {}
    shared = {"k": given.regressors, "seed": given.seed, "clock": given.clock}
    for N, kind, model, package in cells:
        print(f"{package}: {model}, {N} units, {kind} ...", file=sys.stderr, flush=True)
        job = shared | {"N": N, "kind": kind, "model": model, "package": package}
        result = child(job | {"budget": given.budget}, given.threads)
        if "skipped" in result:
            notes.append(result["skipped"])
            continue
        base = reference.setdefault((N, kind, model), result)
        ratio = result["seconds"] / base["seconds"]
        rows.append(
            {
                "N": N,
                "weights": kind,
                "model": model,
                "package": result["label"],
                "seconds": f"{result['seconds']:.2f}",
                "speed-up": f"{ratio:.1f}",
                "peak MB": f"{result['memory']:.0f}",
                "fits": result["repetitions"],
                "rho": f"{result['estimates'][0]:.6f}",
            }
        )
        where = f"{model}, {N} units, {kind}"
        if package == "ours":
            notes.append(f"{where}: log-determinant by {result['method']}")
        if package == "ours" and N == 40_000:
            met = "met" if result["seconds"] <= TARGET_SECONDS else "MISSED"
            notes.append(
                f"{where}: {result['seconds']:.2f} s (target {TARGET_SECONDS:.0f} s): {met}"
            )
        if package == "spreg":
            pairs = zip(base["estimates"], result["estimates"], strict=True)
            gap = max(abs(a - b) for a, b in pairs)
            agree = "agree" if gap <= AGREE else "DIFFER"
            notes.append(f"{where}: estimates {agree} (largest difference {gap:.0e})")
            if N == 10_000:
                met = "met" if ratio >= TARGET_RATIO else "MISSED"
                notes.append(f"{where}: {ratio:.0f}x (target {TARGET_RATIO:.0f}x): {met}")
    return rows, notes


def table(rows: list[dict[str, Any]]) -> str:
    cells = [[str(row[column]) for column in COLUMNS] for row in rows]
    width = [max(map(len, column)) for column in zip(COLUMNS, *cells, strict=True)]
    left = {"weights", "model", "package"}

    def line(values: list[str]) -> str:
        parts = [
            value.ljust(w) if column in left else value.rjust(w)
            for value, w, column in zip(values, width, COLUMNS, strict=True)
        ]
        return "| " + " | ".join(parts) + " |"

    rule = [
        "-" * (w + 2) if column in left else "-" * (w + 1) + ":"
        for w, column in zip(width, COLUMNS, strict=True)
    ]
    return "\n".join([line(COLUMNS), "|" + "|".join(rule) + "|", *map(line, cells)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", type=int, default=40_000, help="units of our own rows; 0: none")
    parser.add_argument("--beside", type=int, default=10_000, help="units beside spreg; 0: none")
    parser.add_argument("--regressors", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--budget", type=float, default=20.0, help="seconds of repetitions per cell (up to 5 fits)"
    )
    parser.add_argument("--clock", choices=[*common.CLOCKS], default="cpu")
    parser.add_argument("--out", type=Path, help="write OUT.csv and OUT.md")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        print(json.dumps(cell(json.loads(given.job))))
        return
    cells: list[tuple[int, str, str, str]] = []
    for kind in ("rook", "queen"):
        if given.large:
            cells += [(given.large, kind, "sdm", "ours"), (given.large, kind, "sdm", "ours-robust")]
    for kind, model in (("rook", "sar"), ("queen", "sar"), ("queen", "sdm")):
        if given.beside:
            cells += [(given.beside, kind, model, name) for name in ("ours", "spreg")]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    versions = common.child({"task": "versions"})
    rows, notes = measure(cells, given)
    lines = [
        f"Cross-sections with standard errors; k = {given.regressors}, seed {given.seed}.",
        f"{given.clock} clock, {os.cpu_count()} cores, {given.threads} thread(s), "
        f"{platform.system()} {platform.machine()}; load at the start {load:.1f}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
        table(rows),
        "",
        "seconds: best of the fits, log-determinant and standard errors included; speed-up: "
        "theirs over the first row of the same problem; peak MB: of the first fit, above what is "
        "resident before.",
        "",
        *(f"- {note}" for note in notes),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.out:
        given.out.with_suffix(".md").write_text(text, encoding="utf-8")
        with given.out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
