import subprocess
import sys

import pytest
from typer.testing import CliRunner

import spatial_agglo
from spatial_agglo.cli import app


@pytest.fixture
def call():
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, list(arguments))


def test_demo_prints_the_study_and_the_files(call, tmp_path):
    out = tmp_path / "demo"
    result = call("demo", "--out", str(out))
    assert result.exit_code == 0
    order = [
        "Moran's I by year",
        "Model selection tests for logc",
        "Verdict:",
        "Estimates of logc",
        "Direct",
        "Files written to",
        "report.html",
    ]
    places = [result.stdout.index(part) for part in order]
    assert places == sorted(places)
    for path in out.iterdir():
        assert path.name in result.stdout
    assert (out / "report.html").exists()


def test_demo_writes_to_its_own_folder_by_default(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("demo").exit_code == 0
    assert (tmp_path / "spatial-agglo-demo" / "results.tex").exists()


def test_a_folder_that_cannot_be_made_is_named_before_anything_is_computed(call, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("")
    result = call("demo", "--out", str(taken))
    assert result.exit_code == 1
    assert "taken" in result.output
    assert "Name a folder that you may write to" in result.output
    assert "Traceback" not in result.output
    assert "Moran" not in result.output


def test_help_says_what_there_is(call):
    assert "demo" in call("--help").stdout
    assert "--out" in call("demo", "--help").stdout


def test_an_unknown_option_is_an_error(call):
    result = call("demo", "--outt", "x")
    assert result.exit_code == 2
    assert "--out" in result.output


def test_version(call):
    assert call("--version").stdout == f"spatial_agglo {spatial_agglo.__version__}\n"


def test_the_module_runs():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "spatial_agglo", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"spatial_agglo {spatial_agglo.__version__}"
