"""Imports point down the floors of the house and never up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import spatial_agglo

ROOT = Path(spatial_agglo.__file__).parent
FLOORS = {
    "errors": 0,
    "core": 1,
    "panel": 1,
    "agglomeration": 1,
    "formula": 2,
    "weights": 2,
    "datasets": 3,
    "models": 3,
    "esda": 3,
    "simulate": 3,
    "impacts": 4,
    "diagnostics": 4,
    "mechanisms": 4,
    "report": 5,
    "robustness": 5,
    "study": 6,
    "cli": 7,
}
#: Methods of results that may reach up, lazily: what they call is derived from the result.
LAZY = {
    "agglomeration/index.py",
    "diagnostics/choose.py",
    "mechanisms/conditional.py",
    "mechanisms/mediation.py",
    "mechanisms/regressions.py",
    "mechanisms/spatial.py",
    "models/profile.py",
    "models/results.py",
    "robustness/regimes.py",
    "robustness/sensitivity.py",
    "robustness/subsamples.py",
}


def files():
    return sorted(
        path
        for path in ROOT.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py") or path.parent != ROOT
    )


def imports(path):
    """(room, is at module level) of every import from the package, outside TYPE_CHECKING."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []

    def visit(node, top):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "spatial_agglo":
                names = [f"spatial_agglo.{alias.name}" for alias in node.names]
            else:
                names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "spatial_agglo" and len(parts) > 1:
                found.append((parts[1], top))
        inner = top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, inner)

    visit(tree, True)
    return found


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    here = room(path)
    assert here in FLOORS, f"{here} has no floor"
    for there, at_top in imports(path):
        if there == here:
            continue
        lazy = not at_top and path.relative_to(ROOT).as_posix() in LAZY
        assert FLOORS[there] < FLOORS[here] or lazy, f"{path.name} imports {there}"


def test_the_walk_sees_imports():
    """The check above can fail: it finds what is known to be there."""
    found = imports(ROOT / "models" / "results.py")
    assert ("formula", True) in found
    assert ("impacts", False) in found


def test_core_knows_no_labels():
    for path in (ROOT / "core").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "pandas" not in text, path.name


def test_formulaic_has_one_importer():
    users = [
        p
        for p in ROOT.rglob("*.py")
        if "import formulaic" in p.read_text("utf-8") or "from formulaic" in p.read_text("utf-8")
    ]
    assert [p.name for p in users] == ["formula.py"]


def test_heavy_libraries_are_imported_where_they_are_used():
    """Importing the package must not import what takes long."""
    code = (
        "import sys, spatial_agglo;"
        "print([m for m in ('libpysal', 'geopandas', 'matplotlib', 'formulaic', 'esda', 'typer',"
        " 'scipy.stats', 'qdldl', 'tqdm') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    assert done.stdout.strip() == "[]"


def test_only_the_command_line_prints():
    for path in ROOT.rglob("*.py"):
        if path.name in ("cli.py", "__main__.py"):
            continue
        calls = [
            node.lineno
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
        ]
        assert not calls, f"{path.name} prints in line(s) {calls}"
