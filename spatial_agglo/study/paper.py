"""Paper: the numbered tables and pictures of a published study, written to files."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from spatial_agglo.errors import OptionError, listing
from spatial_agglo.report import figures
from spatial_agglo.report import html as pages
from spatial_agglo.report.files import make_folder, write_text
from spatial_agglo.report.style import GREY, SMALL, new_figure
from spatial_agglo.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLE = """\
body{max-width:74em;margin:2.5em auto;padding:0 1.5em;font:16px/1.5 Georgia,serif}
h1{margin:0 0 .3em;font-size:1.6em;line-height:1.25}
h2{margin:2em 0 .4em;font-size:1.2em}
p.lead{color:#555;margin:.2em 0}
p.made{margin:.8em 0;padding:.3em 0 .3em 1em;border-left:3px solid #D55E00}
figure{margin:1.2em 0;width:30em;max-width:100%}
figure img{width:100%;height:auto}
figcaption{font-size:.85em;color:#444}
"""


@dataclass(frozen=True)
class Picture:
    """A picture of a paper: drawn when it is needed.

    Attributes
    ----------
    number : str
        As in the paper; "S1", ... where the paper has no picture of that number.
    caption : str
    draw : function from Axes to anything
    size : (float, float)
        Inches.
    """

    number: str
    caption: str
    draw: Callable[[Axes], object]
    size: tuple[float, float] = (3.4, 2.8)


@dataclass(frozen=True, eq=False)
class Paper:
    """The tables and pictures of a published study, of its own data or of others.

    Attributes
    ----------
    name : str
        LaTeX labels begin with it.
    title, source : str
    note : str
        Stands below every table and picture: what data these are. Empty for the user's own.
    tables : dict of str to Table
        By number: those of the paper, and "S1", ... what it says in the text or lacks.
    pictures : tuple of Picture
    absent : tuple of str
        Tables and pictures of the paper that are not here, and why.
    """

    name: str
    title: str
    source: str
    note: str
    tables: dict[str, Table]
    pictures: tuple[Picture, ...]
    absent: tuple[str, ...] = ()

    def __getitem__(self, number: str) -> Table:
        if number not in self.tables:
            raise OptionError(
                f"There is no table {number!r}; there are {listing(self.tables, 40)}."
            )
        return self.shown(number)

    def shown(self, number: str) -> Table:
        """Return a table as it is printed: with its number, and what data these are."""
        table = self.tables[number]
        notes = (*table.notes, self.note) if self.note else table.notes
        return replace(table, title=f"Table {number}. {table.title}", notes=notes)

    def text(self) -> str:
        """Return title, contents and all tables as plain text.

        Returns
        -------
        str
        """
        parts = [f"{self.title}\n{'=' * len(self.title)}", self.contents()]
        return "\n\n".join([*parts, *(str(self.shown(number)) for number in self.tables)]) + "\n"

    def contents(self) -> str:
        """Return the list of tables and pictures, with the files that they are written to."""
        lines = [f"Tables and pictures of {self.source}"]
        if self.note:
            lines += ["", self.note]
        lines += ["", "Tables (.txt, .csv, .tex, .html)"]
        lines += [f"  {table_stem(n):<12} Table {n}. {t.title}" for n, t in self.tables.items()]
        if self.pictures:
            lines += ["", "Pictures (.png, .svg)"]
            lines += [
                f"  {picture_stem(p.number):<12} Figure {p.number}. {p.caption}"
                for p in self.pictures
            ]
        if self.absent:
            lines += ["", "Not here", *(f"  {line}" for line in self.absent)]
        return "\n".join(lines)

    def save(self, folder: str | PathLike[str]) -> list[Path]:
        """Write tables (text, CSV, LaTeX, HTML), pictures (PNG, SVG), a list and a page of all.

        What data these are stands in a CSV as a first line that begins with "#":
        ``pd.read_csv(path, comment="#")``.

        Parameters
        ----------
        folder : path
            Made if it is not there; files of the same names are replaced.

        Returns
        -------
        list of Path
            What was written: ``index.html`` and ``README.txt`` first.

        Raises
        ------
        OutputError
            The folder or a file cannot be written.
        """
        place = make_folder(folder)
        written: list[Path] = []
        for number in self.tables:
            written += self._save_table(place, number)
        images = {}
        for picture in self.pictures:
            figure = new_figure(picture.size)
            if self.note:
                # Before the axes: names beside lines are placed by the final layout.
                what = self.note.split(":")[0]
                figure.supxlabel(what, x=0.995, ha="right", fontsize=SMALL, color=GREY)
            picture.draw(figure.add_subplot())
            paths = figures.save(figure, place, picture_stem(picture.number))
            images[picture.number] = base64.b64encode(paths[-1].read_bytes()).decode("ascii")
            written += paths
        page = pages.page(self.title, self._page(images), _STYLE)
        return [
            write_text(place / "index.html", page),
            write_text(place / "README.txt", self.contents() + "\n"),
            *written,
        ]

    def _save_table(self, place: Path, number: str) -> list[Path]:
        stem, shown = table_stem(number), self.shown(number)
        body = shown.to_csv()
        if self.note:
            body = f"# {self.note}\n{body}"
        label = f"tab:{self.name}-{number}"
        # The number of the paper, whatever tables stand before it in the document.
        code = replace(shown, title=self.tables[number].title).to_latex(label=label)
        code = code.replace(r"\centering", rf"\centering\renewcommand{{\thetable}}{{{number}}}", 1)
        shown.to_html(place / f"{stem}.html")
        return [
            write_text(place / f"{stem}.txt", f"{shown}\n"),
            write_text(place / f"{stem}.csv", body),
            write_text(place / f"{stem}.tex", code),
            place / f"{stem}.html",
        ]

    def _page(self, images: dict[str, str]) -> str:
        out = [f"<h1>{html.escape(self.title)}</h1>"]
        out.append(f'<p class="lead">{html.escape(self.source)}</p>')
        if self.note:
            out.append(f'<p class="made">{html.escape(self.note)}</p>')
        out.append("<h2>Tables</h2>")
        out += [pages.render(self.shown(number).layout) for number in self.tables]
        if images:
            out.append("<h2>Pictures</h2>")
        for picture in self.pictures:
            caption = html.escape(f"Figure {picture.number}. {picture.caption} {self.note}".strip())
            out.append(
                f'<figure><img alt="{caption}" src="data:image/svg+xml;base64,'
                f'{images[picture.number]}"><figcaption>{caption}</figcaption></figure>'
            )
        out += [f'<p class="lead">{html.escape(line)}</p>' for line in self.absent]
        return "\n".join(out)

    def _repr_html_(self) -> str:
        tables = "\n".join(pages.render(self.shown(number).layout) for number in self.tables)
        return pages.styled(f"<h3>{html.escape(self.title)}</h3>\n{tables}")

    def __repr__(self) -> str:
        return f"Paper({self.name}: tables {', '.join(self.tables)})"


def table_stem(number: str) -> str:
    """Return the name of the files of a table.

    Examples
    --------
    >>> table_stem("4"), table_stem("S12")
    ('table_04', 'table_S12')
    """
    return f"table_{number.zfill(2) if number.isdigit() else number}"


def picture_stem(number: str) -> str:
    """Return the name of the files of a picture.

    Examples
    --------
    >>> picture_stem("2"), picture_stem("S1")
    ('figure_02', 'figure_S1')
    """
    return f"figure_{number.zfill(2) if number.isdigit() else number}"
