"""The command line: ``spatial-agglo`` or ``python -m spatial_agglo``."""

from __future__ import annotations

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
    out: Annotated[
        Path,
        typer.Option(help="Folder for tables, pictures and report.html; made if it is not there."),
    ] = Path("spatial-agglo-demo"),
) -> None:
    """Run the study of cigarette demand in 46 US states, on data that ship with the package.

    Prints Moran's I by year, the tests that choose a model, their verdict, and the estimates
    with direct, indirect and total effects. Writes every table as CSV, LaTeX and HTML, every
    picture as PNG and SVG, and report.html, which has them all. Takes a few seconds.
    """
    from spatial_agglo import study
    from spatial_agglo.report.files import make_folder

    try:
        make_folder(out)
        result = study.run(study.cigarettes())
        written = result.save(out)
    except SpatialAggloError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(code=1) from error
    typer.echo(result.text())
    typer.echo(f"\nFiles written to {out}:")
    for path in written:
        typer.echo(f"  {path.name}")
    typer.echo(f"\nOpen {written[0]} in a browser to see them together.")


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
