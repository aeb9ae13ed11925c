"""A whole study from one declaration: Moran's I, choice of a model, estimates, impacts."""

from __future__ import annotations

import base64
import html
import logging
import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from spatial_agglo import datasets
from spatial_agglo.diagnostics import Choice, choose_model
from spatial_agglo.errors import OptionError
from spatial_agglo.esda import moran
from spatial_agglo.formula import variables
from spatial_agglo.impacts import Impacts
from spatial_agglo.models.results import FitResult
from spatial_agglo.panel import Panel
from spatial_agglo.report import figures, style
from spatial_agglo.report import html as pages
from spatial_agglo.report.files import make_folder, write_text
from spatial_agglo.report.table import Table
from spatial_agglo.report.tables import moran_table, results_table, selection_table
from spatial_agglo.weights.matrix import as_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Columns of the results table, besides the model that is chosen.
COLUMNS = ("ols", "sar", "sem", "sdm")

_LOG = logging.getLogger(__name__)
_STYLE = """\
body{max-width:62em;margin:2.5em auto;padding:0 1.5em;font:16px/1.5 Georgia,serif}
h1{margin:0 0 .3em;font-size:1.6em;line-height:1.25}
h2{margin:2em 0 .4em;font-size:1.2em}
p.lead{color:#555;margin:.2em 0}
p.verdict{margin:.6em 0;padding:.1em 0 .1em 1em;border-left:3px solid #0072B2}
.row{display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start}
figure{margin:.8em 0;width:26em;max-width:100%}
figure img{width:100%;height:auto}
figcaption{font-size:.85em;color:#444}
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """What a study is: data, weights and a model, declared once.

    Attributes
    ----------
    name : str
        Short, of letters, digits, "-" and "_"; LaTeX labels begin with it.
    title : str
    formula : str
    panel : Panel
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
    effects, likelihood, cov : str
        As for the estimators.
    alpha : float
        Significance level of the choice.
    variables : sequence of column names, optional
        For Moran's I; those of the formula that are columns of the panel by default.
    time : label of a period, optional
        Of the scatter plot; the last one by default.

    Raises
    ------
    OptionError
        The name has other characters.

    Examples
    --------
    >>> study = cigarettes()
    >>> study.name, study.formula
    ('cigarettes', 'logc ~ logp + logy')
    """

    name: str
    title: str
    formula: str
    panel: Panel
    W: Any
    effects: str = "two-way"
    likelihood: str = "transformed"
    cov: str = "observed"
    alpha: float = 0.05
    variables: Sequence[Hashable] | None = None
    time: Hashable | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-]+", self.name, flags=re.ASCII):
            raise OptionError(
                f"name={self.name!r} must be of letters, digits, '-' and '_': labels begin with "
                "it. The title may be anything."
            )


@dataclass(frozen=True, eq=False)
class StudyResult:
    """What :func:`run` found.

    Attributes
    ----------
    study : Study
    moran : DataFrame
        Moran's I by variable and period.
    choice : Choice
        Tests, verdict and the candidate models.
    fit : FitResult
        The model that was chosen.
    impacts : Impacts
        Its direct, indirect and total effects.
    """

    study: Study
    moran: pd.DataFrame
    choice: Choice
    fit: FitResult
    impacts: Impacts

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The tables by file name: "moran", "selection" and "results"."""
        W = as_weights(self.study.W)
        found = moran_table(self.moran)
        notes = (*found.notes, f"W: {W.description} ({W.n} units, {W.n_links} links).")
        columns = [*COLUMNS, *({self.choice.chosen} - set(COLUMNS))]
        return {
            "moran": replace(found, notes=notes),
            "selection": selection_table(self.choice),
            "results": results_table({m.upper(): self.choice.fits[m] for m in columns}),
        }

    def figures(self) -> dict[str, Figure]:
        """Draw the pictures, by file name.

        Returns
        -------
        dict of str to Figure
            "moran_scatter", "impacts" and, with more than one period, "moran_over_time".

        Examples
        --------
        >>> sorted(run(cigarettes()).figures())
        ['impacts', 'moran_over_time', 'moran_scatter']
        """
        study, panel = self.study, self.study.panel
        variable = self.moran.index[0][0]
        time = panel.times[-1] if study.time is None else study.time
        out: dict[str, Figure] = {}
        if panel.T > 1:
            out["moran_over_time"] = style.new_figure((style.WIDTH, 2.8))
            names = list(self.moran.index.unique(0))[: len(style.COLOURS)]
            ax = out["moran_over_time"].add_subplot()
            figures.moran_over_time(self.moran, variables=names, ax=ax)
        out["moran_scatter"] = style.new_figure((style.WIDTH, 2.8))
        ax = out["moran_scatter"].add_subplot()
        figures.moran_scatter(panel, variable, study.W, time=time, ax=ax)
        if self.impacts.names:
            out["impacts"] = style.new_figure(figures.impacts_size(self.impacts))
            figures.impacts_plot(self.impacts, ax=out["impacts"].add_subplot())
        return out

    def text(self) -> str:
        """Return title and tables as plain text.

        Returns
        -------
        str

        Examples
        --------
        >>> print(run(cigarettes()).text())
        Demand for cigarettes in 46 US states, 1963-1992
        ...
        """
        title = self.study.title
        parts = [f"{title}\n{'=' * len(title)}", *map(str, self.tables.values())]
        return "\n\n".join(parts)

    def save(self, folder: str | PathLike[str]) -> list[Path]:
        """Write tables (CSV, LaTeX, HTML), pictures (PNG, SVG) and ``report.html``.

        Parameters
        ----------
        folder : path
            Made if it is not there; files of the same names are replaced.

        Returns
        -------
        list of Path
            What was written, the report first.

        Raises
        ------
        OutputError
            The folder or a file cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     len(run(cigarettes()).save(place))
        16
        """
        place = make_folder(folder)
        written: list[Path] = []
        for stem, table in self.tables.items():
            label = f"tab:{self.study.name}-{stem.replace('_', '-')}"
            written += table.save(place, stem, label=label)
        pictures: dict[str, str] = {}
        for stem, figure in self.figures().items():
            paths = figures.save(figure, place, stem)
            pictures[stem] = base64.b64encode(paths[-1].read_bytes()).decode("ascii")
            written += paths
        page = pages.page(self.study.title, "\n".join(self._sections(pictures)), _STYLE)
        return [write_text(place / "report.html", page), *written]

    def _repr_html_(self) -> str:
        tables = "\n".join(pages.render(table.layout) for table in self.tables.values())
        return pages.styled(f"<h3>{html.escape(self.study.title)}</h3>\n{tables}")

    def __repr__(self) -> str:
        return f"StudyResult({self.study.name}: {self.fit!r})"

    def _sections(self, pictures: dict[str, str]) -> Iterator[str]:
        """Yield the parts of the report, in the order in which a paper has them."""
        study, panel = self.study, self.study.panel
        # The verdict stands above the selection table, so its last note need not repeat it.
        selection = self.tables["selection"]
        shown = {**self.tables, "selection": replace(selection, notes=selection.notes[:-1])}
        tables = {stem: pages.render(table.layout) for stem, table in shown.items()}
        variable = html.escape(str(self.moran.index[0][0]))
        yield f"<h1>{html.escape(study.title)}</h1>"
        yield (
            f'<p class="lead">{html.escape(study.formula)}; {panel.N} entities, {panel.T} '
            f"period{'s' if panel.T > 1 else ''}; W: "
            f"{html.escape(as_weights(study.W).description)}.</p>"
        )
        yield "<h2>Is there spatial dependence?</h2>\n<div class='row'>"
        yield _picture(pictures, "moran_over_time", "Moran's I by period.")
        yield _picture(
            pictures,
            "moran_scatter",
            f"{variable} of each unit against that of its neighbours; the slope is Moran's I.",
        )
        yield f"</div>\n{tables['moran']}"
        yield "<h2>Which model?</h2>"
        yield f'<p class="verdict">{html.escape(self.choice.verdict)}</p>\n{tables["selection"]}'
        yield f"<h2>Estimates</h2>\n{tables['results']}"
        yield "<h2>Direct and indirect effects</h2>"
        caption = f"Average effects in the {self.fit.model.upper()}, with 95% intervals."
        yield _picture(pictures, "impacts", caption)


def run(study: Study) -> StudyResult:
    """Carry out a study: Moran's I, tests and choice of a model, estimates, impacts.

    Parameters
    ----------
    study : Study

    Returns
    -------
    StudyResult

    Raises
    ------
    SpatialAggloError
        What the estimators raise: see :func:`spatial_agglo.sdm`.

    Examples
    --------
    >>> result = run(cigarettes())
    >>> result.choice.chosen, round(result.fit.rho, 3)
    ('sdm', 0.271)
    """
    panel = study.panel
    _LOG.info("study %s: choice of a model", study.name)
    choice = choose_model(
        study.formula,
        panel,
        study.W,
        effects=study.effects,
        likelihood=study.likelihood,
        cov=study.cov,
        alpha=study.alpha,
    )
    _LOG.info("study %s: Moran's I", study.name)
    found = moran(panel, _variables(study), study.W)
    found = found.rename_axis(["variable", str(panel.times.name)])
    fit = choice.fit
    return StudyResult(study=study, moran=found, choice=choice, fit=fit, impacts=fit.impacts())


def cigarettes() -> Study:
    """Declare the study of the demand for cigarettes in US states (Baltagi & Levin 1992).

    The log of packs sold per head is explained by the logs of real price and income, with
    effects of states and years; neighbours are states that share a border or a corner. The
    data ship with the package, see :func:`spatial_agglo.datasets.cigarettes`.

    Returns
    -------
    Study

    References
    ----------
    Elhorst (2014), chapter 3, estimates spatial models on these data.

    Examples
    --------
    >>> cigarettes().panel
    Panel(46 entities x 30 periods, columns: ...
    """
    return Study(
        name="cigarettes",
        title="Demand for cigarettes in 46 US states, 1963-1992",
        formula="logc ~ logp + logy",
        panel=Panel(datasets.cigarettes(), entity="state", time="year"),
        W=datasets.weights("cigarettes_queen").standardize("row"),
        effects="two-way",
        variables=("logc", "logp", "logy"),
    )


def _variables(study: Study) -> list[Hashable]:
    """Return the variables of Moran's I: those named, or those of the formula."""
    if study.variables is not None:
        return list(study.variables)
    data = variables(study.formula, study.panel)
    names = [name for name in (data.outcome, *data.regressors) if name in study.panel.columns]
    if not names:
        raise OptionError(
            f"No variable of the formula {study.formula!r} is a column of the panel. Name the "
            "columns for Moran's I: variables=[...]."
        )
    return list(names)


def _picture(pictures: dict[str, str], stem: str, caption: str) -> str:
    """Return a picture inside the page; nothing when the study does not have it."""
    if stem not in pictures:
        return ""
    source = f"data:image/svg+xml;base64,{pictures[stem]}"
    alt = html.escape(caption, quote=True)
    return f'<figure><img alt="{alt}" src="{source}"><figcaption>{caption}</figcaption></figure>'
