"""Rebuild the ready-made weights: queen contiguity of the states of each study.

Run it with spatial_agglo, geopandas and libpysal installed::

    python weights/rebuild.py            # write the GAL files beside this script
    python weights/rebuild.py --check    # compare only; exit status 1 if a file differs
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from libpysal.graph import Graph

from spatial_agglo.datasets import us_states

HERE = Path(__file__).resolve().parent
FILES = {"cigarettes_queen.gal": "cigarettes", "us_production_queen.gal": "production"}


def gal_bytes(study: str) -> bytes:
    """Return the queen contiguity of a study's units as a GAL file keyed by postal code.

    Units stand in alphabetical order of the states' names, and so do the neighbours of each.
    """
    states = us_states(study).set_index("code")
    graph = Graph.build_contiguity(states, rook=False)
    lines = [f"0 {graph.n} unknown code"]
    for code in states.index:
        neighbours = set(graph[code].index)
        lines.append(f"{code} {len(neighbours)}")
        lines.append(" ".join(other for other in states.index if other in neighbours))
    return ("\n".join(lines) + "\n").encode("ascii")


def main() -> int:
    """Write the files, or compare them with what the recipe gives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    check = parser.parse_args().check
    differs = 0
    for name, study in FILES.items():
        path, content = HERE / name, gal_bytes(study)
        if not check:
            path.write_bytes(content)
            print(f"{name}: {len(content)} bytes written")
        else:
            same = path.is_file() and path.read_bytes() == content
            differs += not same
            print(f"{name}: {'identical' if same else 'DIFFERS'}")
    return int(differs > 0)


if __name__ == "__main__":
    sys.exit(main())
