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


def main() -> None:
    """Run the command line.

    Examples
    --------
    >>> callable(main)
    True
    """
    app(prog_name="spatial-agglo")
