"""Time and memory of one two-way spatial Durbin fit, side by side with peers in one run.

Every cell (size, package) runs in a fresh process on the same simulated data. Imports, data
and objects are made first; a fit of a very small problem warms up (lazy imports, threads);
then the resident memory is noted and the first fit of the real size gives the peak. Seconds
are the best of the repetitions. This process imports the standard library only, so that what
it holds is not counted in its children.

    python benchmarks/fit.py --sizes 31 400 900 2500 --out benchmarks/fit
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import functools
import gc
import importlib.metadata
import inspect
import io
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

RHO = 0.4
#: Units of the warm-up fit.
SMALL = 16
#: Estimates of the same likelihood must agree to this; spreg stops its search at 1e-7.
AGREE = {"spreg": 1e-5, "statspai": 1e-7}


# --- data -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Data:
    """One simulated panel: rows are period slow and unit fast; W is row-standardised."""

    N: int
    T: int
    k: int
    W: Any
    frame: Any

    @property
    def names(self) -> list[str]:
        return [f"x{j + 1}" for j in range(self.k)]

    @property
    def formula(self) -> str:
        return "y ~ " + " + ".join(self.names)


def adjacency(N: int, kind: str, rng: Any) -> Any:
    """Return a binary matrix: the first N cells of a square lattice, or about 6 random links."""
    import numpy as np
    from scipy import sparse

    if kind == "random":
        m = min(6, N - 1)
        away = np.stack([rng.choice(N - 1, m, replace=False) + 1 for _ in range(N)])
        rows, columns = np.repeat(np.arange(N), m), (np.arange(N)[:, None] + away).ravel() % N
    else:
        side = int(np.ceil(np.sqrt(N)))
        r, c = np.divmod(np.arange(N), side)
        found = []
        for up, right in np.ndindex(3, 3):
            dr, dc = up - 1, right - 1
            if (dr == dc == 0) or (kind == "rook" and dr != 0 and dc != 0):
                continue
            other = (r + dr) * side + c + dc
            inside = (r + dr >= 0) & (c + dc >= 0) & (c + dc < side) & (other < N)
            found.append((np.flatnonzero(inside), other[inside]))
        rows, columns = (np.concatenate(part) for part in zip(*found, strict=True))
    return sparse.csr_array((np.ones(rows.size), (rows, columns)), shape=(N, N))


def simulate(N: int, T: int, k: int, kind: str, seed: int) -> Data:
    """Draw ``y_t = rho W y_t + X_t beta + W X_t theta + c + alpha_t + e_t``."""
    import numpy as np
    import pandas as pd
    from scipy import sparse
    from scipy.sparse import linalg

    rng = np.random.default_rng([seed, N])
    A = adjacency(N, kind, rng)
    W = sparse.csr_array(sparse.diags_array(1.0 / A.sum(axis=1)) @ A)
    beta, theta = np.linspace(1.0, 0.3, k), np.linspace(0.4, -0.2, k)
    c, alpha = rng.standard_normal(N), rng.standard_normal(T)
    X = rng.standard_normal((T, N, k)) + 0.5 * c[:, None]
    solve = linalg.splu(sparse.csc_array(sparse.eye_array(N) - RHO * W)).solve
    y = np.stack(
        [
            solve(x @ beta + W @ (x @ theta) + c + a + rng.standard_normal(N))
            for x, a in zip(X, alpha, strict=True)
        ]
    )
    frame = pd.DataFrame(X.reshape(N * T, k), columns=[f"x{j + 1}" for j in range(k)])
    frame.insert(0, "y", y.ravel())
    frame.insert(0, "year", np.repeat(np.arange(2000, 2000 + T), N))
    frame.insert(0, "unit", np.tile(np.arange(N), T))
    return Data(N, T, k, W, frame)


# --- packages ---------------------------------------------------------------------------
# A package is (prepare, fit, read): objects outside the clock; the fit with its standard
# errors on the clock; rho, then the coefficients of X and WX, for the comparison.


@dataclasses.dataclass(frozen=True)
class Package:
    label: str
    prepare: Callable[[Data], Any]
    fit: Callable[[Any], Any]
    read: Callable[[Any, Data], list[float]]
    #: Our option that maximises the same likelihood.
    twin: dict[str, str] = dataclasses.field(default_factory=dict)


def ours() -> Package:
    import spatial_agglo as sa

    def prepare(data: Data) -> Any:
        W = sa.SpatialWeights.from_sparse(data.W, ids=range(data.N))
        return data.formula, sa.Panel(data.frame, entity="unit", time="year"), W

    def fit(made: Any) -> Any:
        formula, panel, W = made
        found = sa.sdm(formula, panel, W, effects="two-way")
        found.std_errors  # noqa: B018
        return found

    return Package("spatial_agglo", prepare, fit, read_ours)


def read_ours(found: Any, data: Data) -> list[float]:
    names = ["rho", *data.names, *(f"W*{name}" for name in data.names)]
    return [float(found.params[name]) for name in names]


def spreg(*, dummies: bool) -> Package:
    import numpy as np
    import spreg as peer
    from libpysal.weights import W as Weights

    extra: dict[str, Any] = {}
    label, effects = "spreg, entity effects only", "entity"
    if "time_effects" in inspect.signature(peer.ML_LagFE.__init__).parameters:
        extra, label, effects = {"time_effects": True}, "spreg", "two-way"
    elif dummies:
        label, effects = "spreg, year dummies in X", "two-way"

    def prepare(data: Data) -> Any:
        parts = np.split(data.W.indices, data.W.indptr[1:-1])
        values = np.split(data.W.data, data.W.indptr[1:-1])
        W = Weights(
            {i: part.tolist() for i, part in enumerate(parts)},
            {i: part.tolist() for i, part in enumerate(values)},
            id_order=list(range(data.N)),
            silence_warnings=True,
        )
        W.sparse  # noqa: B018  cached on the object: not on spreg's clock
        X, lagged = data.frame[data.names].to_numpy(), "all"
        if dummies and not extra:
            year = data.frame["year"].to_numpy()
            X = np.column_stack([X, year[:, None] == np.unique(year)[1:]]).astype(float)
            lagged = [True] * data.k + [False] * (data.T - 1)
        return data.frame[["y"]].to_numpy(), X, W, lagged

    def fit(made: Any) -> Any:
        y, X, W, lagged = made
        # spat_impacts=None: ours does not compute impacts in the fit either.
        return peer.ML_LagFE(y, X, W, slx_lags=1, slx_vars=lagged, spat_impacts=None, **extra)

    def read(found: Any, data: Data) -> list[float]:
        b = found.betas.ravel()
        return [float(b[-1]), *map(float, b[: data.k]), *map(float, b[-1 - data.k : -1])]

    return Package(label, prepare, fit, read, {"effects": effects, "likelihood": "direct"})


def statspai() -> Package:
    import statspai as peer

    known = inspect.signature(peer.spatial_panel).parameters
    missing = {"model", "effects", "twoways_lag", "vce"} - set(known)
    if missing:
        raise ImportError(f"spatial_panel has no {', '.join(sorted(missing))}")

    def prepare(data: Data) -> Any:
        return data.frame, data.formula, data.W

    def fit(made: Any) -> Any:
        frame, formula, W = made
        return peer.spatial_panel(
            frame, formula, entity="unit", time="year", W=W, model="sdm", effects="twoways"
        )

    def read(found: Any, data: Data) -> list[float]:
        names = ["rho", *data.names, *(f"W_{name}" for name in data.names)]
        return [float(found.params[name]) for name in names]

    twin = {"effects": "two-way", "likelihood": "direct-demeaned"}
    return Package("StatsPAI", prepare, fit, read, twin)


PACKAGES: dict[str, Callable[[], Package]] = {
    "ours": ours,
    "spreg": lambda: spreg(dummies=False),
    "spreg-dummies": lambda: spreg(dummies=True),
    "statspai": statspai,
}


# --- one cell, in its own process --------------------------------------------------------


def peak_mb() -> float:
    """Peak resident memory of this process."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10


def forget_peak() -> None:
    """Let the peak start from what is resident now (Linux); else data creation stays in it."""
    gc.collect()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


#: Name of the option to the clock that is read.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def stopwatch(read: Callable[[], float]) -> Callable[[Callable[[], Any]], tuple[float, Any]]:
    """Return a function that runs another and returns its seconds and its result."""

    def clock(run: Callable[[], Any]) -> tuple[float, Any]:
        start = read()
        out = run()
        return read() - start, out

    return clock


def quietly(run: Callable[[], Any]) -> Any:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return run()


def cell(name: str, options: dict[str, Any], *, cold: bool) -> dict[str, Any]:
    """Measure one package at one size; ``cold`` times the first fit of the process only."""
    clock = stopwatch(CLOCKS[options["clock"]])
    try:
        package = quietly(PACKAGES[name])
    except ImportError as error:
        return {"skipped": f"{name}: {error}"}
    shape = {key: options[key] for key in ("T", "k", "kind", "seed")}
    data = simulate(options["N"], **shape)
    made = package.prepare(data)
    if cold:
        return {"label": package.label, "cold": clock(lambda: package.fit(made))[0]}
    package.fit(package.prepare(simulate(SMALL, **shape)))
    forget_peak()
    before = peak_mb()
    seconds, found = clock(lambda: package.fit(made))
    out = {
        "label": package.label,
        "memory": peak_mb() - before,
        "estimates": package.read(found, data),
        "twin": package.twin,
    }
    declared, repeated = [], []
    times = [seconds]
    start = time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - start < options["budget"] and len(times) < 500):
        if time.perf_counter() - start > 10 * options["budget"]:
            break
        del found, made
        wait, made = clock(lambda: package.prepare(data))
        seconds, found = clock(functools.partial(package.fit, made))
        times.append(seconds)
        if name == "ours":
            declared.append(wait + seconds)
            repeated.append(clock(functools.partial(package.fit, made))[0])
    out |= {"seconds": min(times), "repetitions": len(times)}
    if name == "ours":
        out |= {"declared": min(declared), "repeated": min(repeated)}
    return out


def twins(options: dict[str, Any], wanted: list[dict[str, str]]) -> dict[str, list[float]]:
    """Our estimates under the likelihoods that the peers maximise."""
    import spatial_agglo as sa

    data = simulate(options["N"], *(options[key] for key in ("T", "k", "kind", "seed")))
    W = sa.SpatialWeights.from_sparse(data.W, ids=range(data.N))
    panel = sa.Panel(data.frame, entity="unit", time="year")
    return {
        json.dumps(twin): read_ours(sa.sdm(data.formula, panel, W, **twin), data) for twin in wanted
    }


def child(job: dict[str, Any]) -> dict[str, Any]:
    """Run a job in a fresh interpreter and return what it reports."""
    command = [sys.executable, str(Path(__file__).resolve()), "--job", json.dumps(job)]
    threads = str(job.get("options", {}).get("threads", 1))
    limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | limits
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"skipped": f"failed with exit code {done.returncode}: {last}"}
    return json.loads(done.stdout.splitlines()[-1])


def answer(job: dict[str, Any]) -> dict[str, Any]:
    if job["task"] == "versions":
        return versions()
    if job["task"] == "twins":
        return quietly(lambda: twins(job["options"], job["wanted"]))
    return quietly(lambda: cell(job["name"], job["options"], cold=job["task"] == "cold"))


def versions() -> dict[str, str]:
    import spatial_agglo as sa

    out = {"spatial_agglo": sa.__version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "pandas", "qdldl", "libpysal", "spreg", "StatsPAI"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            out[name] = importlib.metadata.version(name)
    return out


# --- the run -----------------------------------------------------------------------------

COLUMNS = ("N", "package", "seconds", "speed-up", "peak MB", "memory ratio", "fits", "difference")
TARGETS = {31: 5.0, 900: 10.0, 2500: 50.0}
TARGET_MEMORY = {2500: 10.0}


def measure(options: dict[str, Any], names: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of one size and what was skipped."""
    found: dict[str, dict[str, Any]] = {}
    notes = []
    for name in names:
        result = child({"task": "warm", "name": name, "options": options})
        if "skipped" in result:
            notes.append(f"N = {options['N']}, {name}: skipped ({result['skipped']})")
        else:
            found[name] = result
    wanted = [result["twin"] for result in found.values() if result["twin"]]
    same = child({"task": "twins", "options": options, "wanted": wanted}) if wanted else {}
    if "skipped" in same:
        notes.append(f"N = {options['N']}: no comparison of estimates ({same['skipped']})")
    base = found.get("ours")
    rows = []
    for name, result in found.items():
        row = {
            "N": options["N"],
            "package": result["label"],
            "key": name,
            "seconds": result["seconds"],
            "speed-up": result["seconds"] / base["seconds"] if base else None,
            "peak MB": result["memory"],
            "memory ratio": result["memory"] / base["memory"] if base and base["memory"] else None,
            "fits": result["repetitions"],
            "difference": None,
        }
        mine = same.get(json.dumps(result["twin"]))
        if mine:
            gaps = [abs(a - b) for a, b in zip(mine, result["estimates"], strict=True)]
            row["difference"] = max(gaps)
            row["difference of rho"] = gaps[0]
            if max(gaps) > AGREE[name.split("-")[0]]:
                notes.append(
                    f"N = {options['N']}, {result['label']}: estimates differ from ours under "
                    f"{result['twin']} by {max(gaps):.1e} (rho: {gaps[0]:.1e})"
                )
        rows.append(row)
        if name == "ours":
            cold = child({"task": "cold", "name": name, "options": options})
            for key, label, value in (
                ("ours-declared", "  with Panel(...) and SpatialWeights(...)", result["declared"]),
                ("ours-repeated", "  again on the same panel and W", result["repeated"]),
                ("ours-cold", "  first fit of a process", cold.get("cold")),
            ):
                rows.append({"N": options["N"], "package": label, "key": key, "seconds": value})
    return rows, notes


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """Compare with the targets, peer by peer; the entity-only spreg does less work."""
    out = []
    for row in rows:
        if not row["key"].startswith("spreg"):
            continue
        for what, targets, column in (
            ("speed", TARGETS, "speed-up"),
            ("memory", TARGET_MEMORY, "memory ratio"),
        ):
            if row["N"] in targets and row.get(column) is not None:
                met = "met" if row[column] >= targets[row["N"]] else "MISSED"
                out.append(
                    f"{what}, N = {row['N']}, against {row['package']}: {row[column]:.1f}x "
                    f"(target {targets[row['N']]:.0f}x): {met}"
                )
    return out


def form(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column == "seconds":
        return f"{value:.4f}" if value < 1 else f"{value:.2f}"
    if column in ("speed-up", "memory ratio"):
        return f"{value:.1f}"
    if column == "peak MB":
        return f"{value:.1f}" if value < 100 else f"{value:.0f}"
    return f"{value:.0e}" if column == "difference" else str(value)


def table(rows: list[dict[str, Any]]) -> str:
    cells = [[form(column, row.get(column)) for column in COLUMNS] for row in rows]
    width = [max(map(len, column)) for column in zip(COLUMNS, *cells, strict=True)]
    left = {"package"}

    def line(values: Any) -> str:
        parts = [
            value.ljust(w) if column in left else value.rjust(w)
            for value, w, column in zip(values, width, COLUMNS, strict=True)
        ]
        return "| " + " | ".join(parts) + " |"

    rule = (
        "|"
        + "|".join(
            "-" * (w + 2) if column in left else "-" * (w + 1) + ":"
            for w, column in zip(width, COLUMNS, strict=True)
        )
        + "|"
    )
    return "\n".join([line(COLUMNS), rule, *map(line, cells)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[31, 400, 900, 2500])
    parser.add_argument("--packages", nargs="+", choices=[*PACKAGES], default=[*PACKAGES])
    parser.add_argument("--weights", choices=["queen", "rook", "random"], default="queen")
    parser.add_argument("--periods", type=int, default=20)
    parser.add_argument("--regressors", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads",
        type=int,
        default=os.cpu_count() or 1,
        help="threads of the linear algebra",
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=3.0,
        help="seconds of repetitions per cell (at least 3 fits)",
    )
    parser.add_argument(
        "--clock",
        choices=[*CLOCKS],
        default="wall",
        help="cpu, with --threads 1, is the fair one on a machine that does other work as well",
    )
    parser.add_argument("--out", type=Path, help="write OUT.csv and OUT.md")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        print(json.dumps(answer(json.loads(given.job))))
        return
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    used = child({"task": "versions"})
    for N in given.sizes:
        options = {
            "N": N,
            "T": given.periods,
            "k": given.regressors,
            "kind": given.weights,
            "seed": given.seed,
            "budget": given.budget,
            "threads": given.threads,
            "clock": given.clock,
        }
        print(f"N = {N} ...", file=sys.stderr, flush=True)
        more, said = measure(options, given.packages)
        rows += more
        notes += said
    lines = [
        f"SDM with two-way effects and standard errors; T = {given.periods}, "
        f"k = {given.regressors}, {given.weights} weights, seed {given.seed}.",
        f"{given.clock} clock, {os.cpu_count()} cores, {given.threads} thread(s), "
        f"{platform.system()} {platform.machine()}; load at the start {load:.1f}; "
        + ", ".join(f"{name} {version}" for name, version in used.items())
        + ".",
        "",
        table(rows),
        "",
        "seconds: best of the fits; speed-up and memory ratio: theirs over ours; difference: "
        "largest difference of rho, beta and theta from ours under the likelihood that the peer "
        "maximises.",
    ]
    if any("entity effects only" in row["package"] for row in rows):
        lines.append(
            "This spreg has no time_effects option: its 'entity effects only' row estimates less "
            "than ours, which favours spreg; with year dummies in X it is the two-way model."
        )
    if given.clock == "wall" and load > 0.5:
        notes.append(
            f"The machine was busy (load {load:.1f}): this slows the larger problems more. "
            "Run again when it is idle, or with --threads 1 --clock cpu."
        )
    lines += ["", *(f"- {text}" for text in [*notes, *verdicts(rows)])]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.out:
        given.out.with_suffix(".md").write_text(text, encoding="utf-8")
        with given.out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*COLUMNS, "difference of rho", "key"])
            writer.writeheader()
            writer.writerows({**row, "package": row["package"].strip()} for row in rows)


if __name__ == "__main__":
    main()
