"""What the README shows exists and runs."""

import re
from pathlib import Path

import pytest

import spatial_agglo as sa

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
HOLDERS = (sa, sa.FitResult, sa.Panel, sa.SpatialWeights, sa.Impacts, sa.Choice)
ROOMS = ("agglomeration", "esda", "report", "weights")


def calls():
    """Yield (room or "", name) for every name in the second column of the table of steps."""
    table = TEXT[TEXT.index("| step |") :].split("\n\n")[0]
    for row in table.splitlines()[2:]:
        for code in re.findall(r"`([^`]+)`", row.split(" | ")[1]):
            if re.search(r"\w/\w", code):  # a path
                continue
            while "(" in code:
                code = re.sub(r"\([^()]*\)", "", code)
            room = ""
            for word in re.findall(r"[\w.]+", re.sub(r'"[^"]*"|\w+=', "", code)):
                first, _, rest = word.partition(".")
                if first in ROOMS:
                    room = first
                name = rest if first in (*ROOMS, "fit", "W", "panel", "SpatialWeights") else word
                yield room, name or word


@pytest.mark.parametrize(("room", "name"), sorted(set(calls())))
def test_names_exist(room, name):
    holders = (getattr(sa, room), *HOLDERS) if room else HOLDERS
    assert any(hasattr(holder, name) for holder in holders)


def test_the_walk_sees_names():
    found = set(calls())
    assert ("", "sdm") in found
    assert ("agglomeration", "composite_index") in found
    assert len(found) > 90


def test_the_first_example_runs():
    (block,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.S | re.M)[:1]
    names = {}
    exec(block, names)
    assert names["choice"].chosen == "sdm"
    assert names["fit"].model == "sdm"
