"""Time of ``import spatial_agglo`` beyond numpy, scipy and pandas, in fresh processes.

The byte code goes to a temporary folder in an import that is not counted, so the numbers are
those of an installed package whatever the state of the checkout. Best of the repetitions.

    python benchmarks/imports.py
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

BUDGET = 0.5
CODE = """
import time
start = time.perf_counter()
import numpy, scipy, pandas
base = time.perf_counter()
import {module}
print(base - start, time.perf_counter() - base)
"""


def run(arguments: list[str], cache: str) -> subprocess.CompletedProcess[str]:
    env = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = cache
    return subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, check=False
    )


def seconds(module: str, cache: str) -> tuple[float, float]:
    """Return the seconds of numpy, scipy and pandas, and of the module after them."""
    done = run(["-c", CODE.format(module=module)], cache)
    if done.returncode:
        raise SystemExit(f"import {module} failed:\n{done.stderr}")
    base, more = map(float, done.stdout.split())
    return base, more


def heaviest(module: str, cache: str, count: int) -> list[tuple[float, str]]:
    """Return the milliseconds of the modules that take longest themselves, after the base."""
    code = f"import numpy, scipy, pandas\nimport {module}"
    lines = run(["-X", "importtime", "-c", code], cache).stderr.splitlines()
    rows = [line.removeprefix("import time:").split("|") for line in lines if "|" in line]
    names = [name.strip() for *_, name in rows]
    first = names.index("pandas") + 1 if "pandas" in names else 0
    own = [(int(row[0]) / 1e3, row[2].strip()) for row in rows[first:]]
    return sorted(own, reverse=True)[:count]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", default="spatial_agglo", help="to compare: spreg, statspai")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--top", type=int, default=0, help="list the slowest modules")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        seconds(given.module, cache)
        runs = [seconds(given.module, cache) for _ in range(given.repeat)]
        base, more = min(base for base, _ in runs), min(more for _, more in runs)
        print(f"numpy, scipy, pandas: {base:.3f} s")
        print(f"{given.module} after them: {more:.3f} s (best of {given.repeat})")
        for milliseconds, name in heaviest(given.module, cache, given.top):
            print(f"  {milliseconds:7.1f} ms  {name}")
    if given.module == "spatial_agglo":
        print(f"budget {BUDGET} s: " + ("met" if more < BUDGET else "MISSED"))
        raise SystemExit(more >= BUDGET)


if __name__ == "__main__":
    main()
