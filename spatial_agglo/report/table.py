"""Table: strings with a title and notes, to be written as text, CSV, LaTeX or HTML."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import pandas as pd

from spatial_agglo.errors import DataError, OptionError, listing
from spatial_agglo.report import html, latex, text
from spatial_agglo.report.files import make_folder, write_text
from spatial_agglo.report.layout import Layout, column_labels


@dataclass(frozen=True, eq=False)
class Table:
    """A table of strings, ready to be written in any form.

    Attributes
    ----------
    title : str
    body : DataFrame of str
        The index has one level (row), two (block, row) or three (block, row, statistic);
        columns have one level, or two where a heading spans several.
    notes : tuple of str
        Stand below the table.
    footer : str
        The block that is set off by a rule instead of a heading.

    Raises
    ------
    DataError
        The body has no rows or no columns, too many levels, or cells that are not strings.

    Examples
    --------
    >>> import pandas as pd
    >>> body = pd.DataFrame({"SDM": ["-1.00***", "0.27"]}, index=["logp", "rho"])
    >>> print(Table("Estimates", body))
    Estimates
    --------------
            SDM
    --------------
    logp  -1.00***
    rho    0.27
    --------------
    """

    title: str
    body: pd.DataFrame
    notes: tuple[str, ...] = ()
    footer: str = ""

    def __post_init__(self) -> None:
        if not self.body.size:
            raise DataError("A table needs at least one row and one column; its body has none.")
        if self.body.index.nlevels > 3 or self.body.columns.nlevels > 2:
            raise DataError(
                "A table has at most three levels of rows and two of columns; got "
                f"{self.body.index.nlevels} and {self.body.columns.nlevels}."
            )
        for name, column in self.body.items():
            if not all(isinstance(cell, str) for cell in column):
                raise DataError(
                    f"The cells of a table are strings; column {name!r} holds something else. "
                    "Format its numbers first."
                )

    @property
    def layout(self) -> Layout:
        """The table as it is seen, before it is written in any form."""
        return Layout.of(self.title, self.body, self.notes, self.footer)

    def led_by(self, terms: Sequence[str]) -> Table:
        """Return the table with the rows of some terms first in their block, in this order.

        Parameters
        ----------
        terms : list of str
            As they are written in the table; of the first block.

        Returns
        -------
        Table

        Raises
        ------
        OptionError
            A term that the first block does not have.

        Examples
        --------
        >>> import pandas as pd
        >>> index = pd.MultiIndex.from_tuples([("", "x"), ("", "z"), ("Fit", "N")])
        >>> table = Table("", pd.DataFrame({"(1)": ["1.2", "0.3", "90"]}, index=index))
        >>> table.led_by(["z"]).body.index.get_level_values(1).tolist()
        ['z', 'x', 'N']
        """
        keys = [key if isinstance(key, tuple) else ("", key) for key in self.body.index]
        first = [key[0] == keys[0][0] for key in keys]
        there = {key[1] for key, own in zip(keys, first, strict=True) if own}
        unknown = [term for term in terms if term not in there]
        if unknown:
            raise OptionError(
                f"The table's first rows have no {listing(unknown)}; they have "
                f"{listing(sorted(map(str, there)), 20)}."
            )
        place = {term: k for k, term in enumerate(terms)}
        order = sorted(
            range(len(keys)),
            key=lambda k: (not first[k], place.get(keys[k][1], len(place)) if first[k] else 0),
        )
        body = self.body.iloc[order]
        if body.index.nlevels > 1:
            body.index = in_order([keys[k] for k in order], self.body.index.names)
        return replace(self, body=body)

    def to_text(self) -> str:
        """Return the table as aligned plain text.

        Returns
        -------
        str
        """
        return text.render(self.layout)

    def to_csv(self, path: str | PathLike[str] | None = None) -> str:
        """Return the body as CSV, every row with its full label; write it if a path is given.

        Title and notes are left out, so that every line after the first is a row.

        Parameters
        ----------
        path : path, optional

        Returns
        -------
        str

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        flat = self.body.set_axis(
            [" ".join(filter(None, column)) for column in column_labels(self.body)], axis=1
        )
        names = [
            str(name) if name is not None else f"row{level}"
            for level, name in enumerate(self.body.index.names)
        ]
        return _written(flat.to_csv(lineterminator="\n", index_label=names), path)

    def to_latex(self, path: str | PathLike[str] | None = None, *, label: str | None = None) -> str:
        """Return a LaTeX ``table`` (needs the package booktabs); write it if a path is given.

        Parameters
        ----------
        path : path, optional
        label : str, optional
            Name to refer to; "tab:" and the title by default.

        Returns
        -------
        str

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        return _written(latex.render(self.layout, label or f"tab:{_slug(self.title)}"), path)

    def to_html(self, path: str | PathLike[str] | None = None) -> str:
        """Return HTML that carries its own style; write it as a page if a path is given.

        Parameters
        ----------
        path : path, optional

        Returns
        -------
        str

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        fragment = html.render(self.layout)
        if path is not None:
            write_text(path, html.page(self.title, fragment))
        return html.styled(fragment)

    def save(
        self, folder: str | PathLike[str], stem: str, *, label: str | None = None
    ) -> list[Path]:
        """Write ``stem.csv``, ``stem.tex`` and ``stem.html``.

        Parameters
        ----------
        folder : path
            Made if it is not there.
        stem : str
        label : str, optional
            For LaTeX; "tab:stem" by default.

        Returns
        -------
        list of Path

        Raises
        ------
        OutputError
            The folder or a file cannot be written.
        """
        place = make_folder(folder)
        paths = [place / f"{stem}{suffix}" for suffix in (".csv", ".tex", ".html")]
        self.to_csv(paths[0])
        self.to_latex(paths[1], label=label or f"tab:{stem}")
        self.to_html(paths[2])
        return paths

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()


def in_order(keys: Sequence[tuple[str, ...]], names: Sequence[Hashable]) -> pd.MultiIndex:
    """Make an index whose levels are in the order of the table, so that look-ups are fast.

    Examples
    --------
    >>> in_order([("Main", "x"), ("Fit", "N")], ["block", "term"]).levels[0].tolist()
    ['Main', 'Fit']
    """
    levels = [list(dict.fromkeys(parts)) for parts in zip(*keys, strict=True)]
    codes = [
        [level.index(part) for part in parts]
        for level, parts in zip(levels, zip(*keys, strict=True), strict=True)
    ]
    return pd.MultiIndex(levels=levels, codes=codes, names=list(names))


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "table"


def _written(content: str, path: str | PathLike[str] | None) -> str:
    if path is not None:
        write_text(path, content)
    return content
