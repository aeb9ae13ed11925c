import hashlib
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


@pytest.mark.parametrize(("study", "table"), [("cities", "table_04"), ("provinces", "table_11")])
def test_demo_runs_the_studies_of_the_papers(call, tmp_path, study, table):
    out = tmp_path / study
    result = call("demo", "--study", study, "--draws", "40", "--out", str(out))
    assert result.exit_code == 0
    assert "Synthetic data:" in result.stdout
    assert "... tables and pictures" in result.stderr
    assert (out / f"{table}.tex").exists()
    assert (out / "index.html").exists()
    for path in out.iterdir():
        assert path.name in result.stdout


def test_demo_knows_its_studies(call):
    result = call("demo", "--study", "counties")
    assert result.exit_code == 2
    assert "provinces" in result.output
    assert call("demo", "--study", "cities", "--draws", "3").exit_code == 2


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


def test_weights_lists_the_ready_made(call):
    result = call("weights")
    assert result.exit_code == 0
    for name in spatial_agglo.datasets.ready_made().index:
        assert f"\n{name}: " in result.stdout
    assert "46 units, 188 links" in result.stdout
    assert "synthetic GDP" in result.stdout


def test_weights_are_rebuilt_with_their_checksums(call, tmp_path):
    out = tmp_path / "new"
    result = call("weights", "--rebuild", str(out))
    assert result.exit_code == 0
    lines = dict(reversed(line.split("  ")) for line in result.stdout.splitlines())
    assert set(lines) == {path.name for path in out.iterdir()}
    for name, digest in lines.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest


def test_weights_are_checked(call, monkeypatch):
    assert call("weights", "--check").exit_code == 0
    from spatial_agglo.datasets import recipes

    monkeypatch.setattr(recipes, "DIGITS", 9)
    result = call("weights", "--check")
    assert result.exit_code == 1
    assert "china_inverse_distance.gwt differs from what its recipe gives" in result.output
    assert "cigarettes_queen" not in result.output
    assert "8 of 12 files" in result.output


def test_weights_go_nowhere_that_cannot_be_written(call, tmp_path):
    (tmp_path / "taken").write_text("")
    result = call("weights", "--rebuild", str(tmp_path / "taken"))
    assert result.exit_code == 1
    assert "Name a folder that you may write to" in result.output
    assert "Traceback" not in result.output


def test_weights_are_rebuilt_or_checked_but_not_both(call, tmp_path):
    result = call("weights", "--rebuild", str(tmp_path), "--check")
    assert result.exit_code == 2
    assert "--rebuild" in result.output
    assert not list(tmp_path.iterdir())
