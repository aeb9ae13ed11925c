"""The command line: ``spatial-agglo`` or ``python -m spatial_agglo``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from spatial_agglo.errors import SpatialAggloError

app = typer.Typer(
    help="Spatial econometrics of panels: weights, tests, estimators and spillovers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help is wrapped to the width of the terminal and needs no box characters.
    rich_markup_mode=None,
)


class StudyName(StrEnum):
    """Studies that can be run."""

    cigarettes = "cigarettes"
    provinces = "provinces"
    cities = "cities"


@app.callback(invoke_without_command=True)
def about(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Spatial econometrics of panels: weights, tests, estimators and spillovers."""
    if version:
        import spatial_agglo

        typer.echo(f"spatial_agglo {spatial_agglo.__version__}")
        raise typer.Exit


@app.command()
def demo(
    study: Annotated[StudyName, typer.Option(help="Which study to run.")] = StudyName.cigarettes,
    out: Annotated[
        Path,
        typer.Option(help="Folder for tables, pictures and a page; made if it is not there."),
    ] = Path("spatial-agglo-demo"),
    draws: Annotated[
        int,
        typer.Option(min=20, help="Bootstrap draws of provinces and cities; fewer take less time."),
    ] = 2000,
) -> None:
    """Run a whole study, on data that ship with the package.

    cigarettes: demand for cigarettes in 46 US states. Prints Moran's I by year, the tests that
    choose a model, their verdict, and the estimates with direct, indirect and total effects.
    Takes a few seconds.

    provinces, cities: every table of Yin & Su (2024) and of Wang, Shi & Zhang (2025), in their
    layout, on SYNTHETIC data. Take up to a minute.

    Writes every table as CSV, LaTeX and HTML, every picture as PNG and SVG, and a page that has
    them all.
    """
    from spatial_agglo.report.files import make_folder

    try:
        make_folder(out)
        text, written = _carried_out(study, out, draws)
    except SpatialAggloError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(code=1) from error
    typer.echo(text)
    typer.echo(f"\nFiles written to {out}:")
    for path in written:
        typer.echo(f"  {path.name}")
    typer.echo(f"\nOpen {written[0]} in a browser to see them together.")


def _carried_out(name: StudyName, out: Path, draws: int) -> tuple[str, list[Path]]:
    """Run a study and write its files; return what is printed, and the files, a page first."""
    from spatial_agglo import study

    if name is StudyName.cigarettes:
        result = study.run(study.cigarettes())
        return result.text(), result.save(out)
    run = study.run_provinces if name is StudyName.provinces else study.run_cities

    def progress(what: str) -> None:
        typer.echo(f"... {what}", err=True)

    paper = run(draws=draws, progress=progress)
    progress("tables and pictures")
    return paper.text(), paper.save(out)


@app.command()
def weights(
    rebuild: Annotated[
        Path | None,
        typer.Option(help="Make all of them and write them to this folder, with their checksums."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Make all of them and compare with those of the package."),
    ] = False,
) -> None:
    """List the ready-made weights of the data sets, or make them again.

    --check exits with 1 if a file of the package is not, byte for byte, what its recipe gives.
    """
    if check and rebuild is not None:
        raise typer.BadParameter("use it without --check.", param_hint="--rebuild")
    try:
        if rebuild is not None:
            _rebuild_weights(rebuild)
        elif check:
            _check_weights()
        else:
            _list_weights()
    except SpatialAggloError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(code=1) from error


def _list_weights() -> None:
    from spatial_agglo import datasets

    typer.echo('Ready-made weights, loaded by spatial_agglo.datasets.weights("NAME"):\n')
    for name, row in datasets.ready_made().iterrows():
        typer.echo(f"{name}: {row['units']} units, {row['links']} links\n  {row['description']}")


def _rebuild_weights(folder: Path) -> None:
    from hashlib import sha256

    from spatial_agglo.datasets import recipes

    for path in recipes.rebuild(folder):
        typer.echo(f"{sha256(path.read_bytes()).hexdigest()}  {path.name}")


def _check_weights() -> None:
    from spatial_agglo.datasets import ready_made, recipes

    wrong = recipes.differing()
    for line in wrong:
        typer.echo(line)
    total = len(ready_made())
    if wrong:
        typer.echo(
            f"Error: {len(wrong)} of {total} files are not what their recipes give.", err=True
        )
        raise typer.Exit(code=1)
    typer.echo(f"All {total} files are what their recipes give, byte for byte.")


def main() -> None:
    """Run the command line.

    Examples
    --------
    >>> callable(main)
    True
    """
    app(prog_name="spatial-agglo")
