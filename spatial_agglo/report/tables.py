"""From results to tables. Nothing is estimated or tested here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from spatial_agglo.errors import DataError, OptionError, check_option
from spatial_agglo.formula import INTERCEPT
from spatial_agglo.report.describe import listed, notes_of, require_moran, settings
from spatial_agglo.report.formats import LEGEND, number, p_text, period_text, stars
from spatial_agglo.report.summary import summary, summary_html
from spatial_agglo.report.table import Table

if TYPE_CHECKING:
    from spatial_agglo.diagnostics import Choice
    from spatial_agglo.impacts import Impacts
    from spatial_agglo.models.results import FitResult

__all__ = [
    "moran_table",
    "results_table",
    "selection_html",
    "selection_table",
    "summary",
    "summary_html",
]

#: Blocks of the results table, in the order of the papers.
BLOCKS = ("Main", "Wx", "Spatial", "Variance", "Direct", "Indirect", "Total", "Fit")
PARENTHESES = {"z": "z statistics", "se": "Standard errors"}
_Key = tuple[str, str, str]


def moran_table(frame: pd.DataFrame) -> Table:
    """Lay out Moran's I by period: a row per period, I with stars and z for each variable.

    Parameters
    ----------
    frame : DataFrame
        From :func:`spatial_agglo.esda.moran`.

    Returns
    -------
    Table
        Columns ``(variable, "I")`` and ``(variable, "z")``.

    Raises
    ------
    DataError
        The frame is not what ``esda.moran`` returns.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> table = moran_table(sa.esda.moran(panel, ["logc", "logp"], W))
    >>> table.body.loc["1963", "logc"].tolist()
    ['0.262***', '(2.75)']
    """
    require_moran(frame)
    periods = frame.index.unique(1)
    columns = {}
    for variable in frame.index.unique(0):
        part = frame.xs(variable, level=0).reindex(periods)
        columns[str(variable), "I"] = [
            number(row.I, 3, scientific=False) + stars(row.p_value) for row in part.itertuples()
        ]
        columns[str(variable), "z"] = [f"({number(z, 2, scientific=False)})" for z in part["z"]]
    body = pd.DataFrame(columns, dtype=object)
    body.columns = _in_order(list(columns), ["variable", "statistic"])
    body.index = pd.Index([period_text(period) for period in periods], name=frame.index.names[1])
    expected = frame["expected"].drop_duplicates()
    notes = [f"z statistics in parentheses; two-sided p from the normal distribution. {LEGEND}"]
    if len(expected) == 1:
        notes.append(f"Without spatial dependence I is expected to be {expected.iloc[0]:.3f}.")
    return Table(f"Moran's I by {frame.index.names[1] or 'period'}", body, tuple(notes))


def selection_table(choice: Choice) -> Table:
    """Lay out the tests that chose a model: statistic with stars, df and p value.

    Parameters
    ----------
    choice : Choice
        From :func:`spatial_agglo.choose_model`.

    Returns
    -------
    Table
        The verdict is its last note.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> table = selection_table(sa.choose_model("logc ~ logp + logy", panel, W))
    >>> table.body.loc["Wald SDM/SEM"].tolist()
    ['7.308**', '2', '0.026']
    """
    rows = choice.table
    body = pd.DataFrame(
        {
            "Statistic": [
                number(value, 3) + stars(p)
                for value, p in zip(rows["statistic"], rows["p_value"], strict=True)
            ],
            "df": ["" if pd.isna(df) else str(int(df)) for df in rows["df"]],
            "p-value": [p_text(p) for p in rows["p_value"]],
        },
        index=pd.Index([str(name) for name in rows.index], name="Test"),
        dtype=object,
    )
    first = LEGEND
    if "Moran's I" in rows.index:
        first += " Moran's I: of the residuals without spatial terms, as its z value."
    fit = choice.fits.get("sdm", choice.fit)
    title = f"Model selection tests for {fit.workspace.data.outcome}"
    return Table(title, body, (first, *settings({"": fit}), f"Verdict: {choice.verdict}"))


def selection_html(choice: Choice) -> str:
    """Return the selection table with its verdict as HTML.

    Parameters
    ----------
    choice : Choice

    Returns
    -------
    str

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> "Wald SDM/SAR" in selection_html(sa.choose_model("logc ~ logp + logy", panel, W))
    True
    """
    return selection_table(choice).to_html()


def results_table(
    fits: FitResult | Mapping[str, FitResult],
    impacts: bool | Mapping[str, Impacts] = True,
    *,
    parentheses: str = "z",
    decimals: int = 4,
) -> Table:
    """Lay out one or more fits as papers do: coefficients, impacts, fit.

    Parameters
    ----------
    fits : FitResult or mapping of str to FitResult
        One fit, or ``{column: fit}``.
    impacts : bool or mapping of str to Impacts
        Add direct, indirect and total effects of the fits that have spillovers (a lag of the
        outcome or of regressors), by the delta method; or those given, by column.
    parentheses : {"z", "se"}
        What stands below a coefficient.
    decimals : int
        Of coefficients and standard errors; z has two.

    Returns
    -------
    Table
        Rows are labelled (block, term, statistic); the blocks are Main, Wx, Spatial,
        Variance, Direct, Indirect, Total and Fit, as far as they are needed.

    Raises
    ------
    DataError
        There is no fit, or impacts are given for a column that is not there.
    OptionError
        Unknown ``parentheses``, ``decimals`` not a whole number from 0 to 12.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> model = "logc ~ logp + logy"
    >>> fits = {"OLS": sa.ols(model, panel, W), "SDM": sa.sdm(model, panel, W)}
    >>> table = results_table(fits)
    >>> table.body.loc[("Main", "logp"), "SDM"].tolist()
    ['-0.9997***', '(-24.30)']
    """
    check_option("parentheses", parentheses, PARENTHESES)
    if not (isinstance(decimals, int) and 0 <= decimals <= 12):
        raise OptionError(f"decimals={decimals!r} must be a whole number from 0 to 12.")
    named = _named(fits)
    effects = _impacts(named, impacts)
    cells: dict[str, dict[_Key, str]] = {}
    write = _writer(parentheses, decimals)
    for name, fit in named.items():
        cells[name] = dict(_coefficients(fit, write))
        if name in effects:
            cells[name].update(_effects(effects[name], write))
        cells[name].update(_fit_rows(fit))
    keys = dict.fromkeys(key for column in cells.values() for key in column)
    order = sorted(keys, key=lambda key: (BLOCKS.index(key[0]), key[1] == INTERCEPT))
    body = pd.DataFrame(
        {name: [column.get(key, "") for key in order] for name, column in cells.items()},
        index=_in_order(order, ["block", "term", "statistic"]),
        dtype=object,
    )
    outcomes = dict.fromkeys(fit.workspace.data.outcome for fit in named.values())
    notes = [f"{PARENTHESES[parentheses]} in parentheses. {LEGEND}"]
    notes[0] += " sigma2 carries none: its zero is the edge of its range, not a hypothesis."
    notes += [*settings(named), *_impact_notes(named, effects), *notes_of(named)]
    return Table(f"Estimates of {', '.join(outcomes)}", body, tuple(notes), footer="Fit")


def _in_order(keys: Sequence[tuple[str, ...]], names: list[str]) -> pd.MultiIndex:
    """Make an index whose levels are in the order of the table, so that look-ups are fast."""
    levels = [list(dict.fromkeys(parts)) for parts in zip(*keys, strict=True)]
    codes = [
        [level.index(part) for part in parts]
        for level, parts in zip(levels, zip(*keys, strict=True), strict=True)
    ]
    return pd.MultiIndex(levels=levels, codes=codes, names=names)


def _named(fits: FitResult | Mapping[str, FitResult]) -> dict[str, FitResult]:
    if not isinstance(fits, Mapping):
        return {fits.model.upper(): fits}
    if not fits:
        raise DataError("A table of results needs at least one fit; the mapping is empty.")
    return {str(name): fit for name, fit in fits.items()}


def _impacts(
    fits: Mapping[str, FitResult], impacts: bool | Mapping[str, Impacts]
) -> dict[str, Impacts]:
    if isinstance(impacts, Mapping):
        unknown = [name for name in impacts if name not in fits]
        if unknown:
            raise DataError(f"Impacts are given for {unknown}, not among the columns {list(fits)}.")
        return dict(impacts)
    if not impacts:
        return {}
    return {
        name: fit.impacts()
        for name, fit in fits.items()
        if fit.regressors and (fit.spec.has_lag or fit.spec.has_durbin)
    }


_Writer = Callable[[str, str, float, float, float, bool], Iterator[tuple[_Key, str]]]


def _writer(parentheses: str, decimals: int) -> _Writer:
    """Return the function that writes an estimate and what stands below it."""

    def write(
        block: str, term: str, estimate: float, se: float, p_value: float, marked: bool = True
    ) -> Iterator[tuple[_Key, str]]:
        mark = stars(p_value) if marked else ""
        yield (block, term, "estimate"), number(estimate, decimals) + mark
        below = (
            number(se, decimals)
            if parentheses == "se"
            else number(estimate / se, 2, scientific=False)
        )
        yield (block, term, parentheses), f"({below})"

    return write


def _coefficients(fit: FitResult, write: _Writer) -> Iterator[tuple[_Key, str]]:
    errors, p_values = fit.std_errors, fit.pvalues
    for name, value in fit.params.items():
        term = str(name)
        block = _block(term)
        yield from write(block, term, value, errors[name], p_values[name], block != "Variance")


def _block(name: str) -> str:
    if name in ("rho", "lambda"):
        return "Spatial"
    if name == "sigma2":
        return "Variance"
    return "Wx" if name.startswith("W*") else "Main"


def _effects(impacts: Impacts, write: _Writer) -> Iterator[tuple[_Key, str]]:
    for row in impacts.to_frame().itertuples():
        effect, variable = row.Index
        yield from write(effect.capitalize(), variable, row.estimate, row.se, row.p_value, True)


def _fit_rows(fit: FitResult) -> Iterator[tuple[_Key, str]]:
    yield ("Fit", "N", "value"), f"{fit.nobs:,}"
    yield ("Fit", "R2", "value"), number(fit.rsquared, 3, scientific=False)
    yield ("Fit", "Log-likelihood", "value"), f"{fit.loglik:,.2f}"


def _impact_notes(fits: Mapping[str, FitResult], effects: Mapping[str, Impacts]) -> list[str]:
    if not effects:
        return []
    kinds = dict.fromkeys(
        "the delta method" if item.method == "delta" else f"{item.draws:,} simulated draws"
        for item in effects.values()
    )
    text = f"Direct, indirect and total effects: standard errors by {' or '.join(kinds)}."
    without = [
        name
        for name, fit in fits.items()
        if name not in effects and not (fit.spec.has_lag or fit.spec.has_durbin)
    ]
    if without:
        text += f" {listed(without)}: no spillovers, coefficients are direct and total effects."
    return [text]
