"""Rebuild the ready-made weights in this folder.

The recipes are in the package, ``spatial_agglo.datasets.recipes``; this script points them at
the folder that it stands in, where ``python -m spatial_agglo weights`` takes any folder::

    python weights/rebuild.py            # write the files beside this script
    python weights/rebuild.py --check    # compare only; exit status 1 if a file differs
"""

from __future__ import annotations

import argparse
import sys
from hashlib import sha256
from pathlib import Path

from spatial_agglo.datasets import recipes

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Write the files, or compare them with what the recipes give."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    if not parser.parse_args().check:
        for path in recipes.rebuild(HERE):
            print(f"{sha256(path.read_bytes()).hexdigest()}  {path.name}")
        return 0
    wrong = recipes.differing(HERE)
    print("\n".join(wrong) or "All files are what their recipes give, byte for byte.")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
