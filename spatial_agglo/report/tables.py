"""From results to tables. Nothing is estimated or tested here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from spatial_agglo.errors import BoundaryError, DataError, check_made, check_option
from spatial_agglo.report import rows
from spatial_agglo.report.describe import (
    has_likelihood,
    listed,
    notes_of,
    require_moran,
    settings,
    variances,
)
from spatial_agglo.report.formats import LEGEND, number, p_text, period_text, stars
from spatial_agglo.report.summary import summary, summary_html
from spatial_agglo.report.table import Table, in_order
from spatial_agglo.report.terms import check_decimals, check_terms

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

#: How standard errors of effects are found.
_KINDS = {
    "delta": "the delta method",
    "simulation": "{:,} simulated draws",
    "bootstrap": "{:,} bootstrap draws",
}
PARENTHESES = {"z": "z statistics", "se": "Standard errors"}
#: Parameters that are not of regressors: always shown, and by their own names.
FIXED_NAMES = ("rho", "lambda", "phi", "sigma2")


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
    body.columns = in_order(list(columns), ["variable", "statistic"])
    body.index = pd.Index([period_text(period) for period in periods], name=frame.index.names[1])
    expected = frame["expected"].dropna().drop_duplicates()
    notes = [f"z statistics in parentheses; two-sided p from the normal distribution. {LEGEND}"]
    if frame["I"].isna().any():
        notes.append("n/a: not defined, a value is missing or the variable does not vary.")
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
    ['7.308**', '2', '0.027']
    """
    check_made(choice, "verdict", "sa.choose_model")
    rows = choice.table
    body = pd.DataFrame(
        {
            "Statistic": [
                number(value, 3, scientific=False) + stars(p)
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
    notes = (first, *_references(rows), *settings({"": fit}), *choice.notes)
    return Table(title, body, (*notes, f"Verdict: {choice.verdict}"))


def _references(rows: pd.DataFrame) -> list[str]:
    """Say which p values do not follow from the statistic and a chi-squared of its df."""
    kinds: dict[str, list[str]] = {}
    for name, about in rows.attrs.get("tests", {}).items():
        distribution = about["distribution"]
        if name in rows.index and (" of " in distribution or "F(" in distribution):
            kinds.setdefault(distribution, []).append(str(name))
    text = "; ".join(f"{', '.join(names)}: {kind}" for kind, names in kinds.items())
    return [f"P values for small samples. {text}."] if text else []


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
    keep: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    parentheses: str = "z",
    decimals: int = 4,
    title: str | None = None,
) -> Table:
    """Lay out one or more fits as papers do: coefficients, impacts, fit.

    Parameters
    ----------
    fits : FitResult or mapping of str to FitResult
        One fit, or ``{column: fit}``.
    impacts : bool or mapping of str to Impacts
        Add direct, indirect and total effects of the fits that have spillovers (a lag of the
        outcome or of regressors), by the delta method; or those given, by column.
    keep : list of str, optional
        Regressors that are shown, in this order, with their spatial lags and effects; a row says
        whether a column has others ("Controls"). Spatial parameters and variances always are.
        All by default.
    labels : mapping of str to str, optional
        How terms and outcomes are written; ``W*x`` follows ``x``.
    parentheses : {"z", "se"}
        What stands below a coefficient.
    decimals : int
        Of coefficients and standard errors, at least: rows of small numbers have more, so that
        two significant digits are left. z has two.
    title : str, optional

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
        Unknown ``parentheses``, ``decimals`` not a whole number from 0 to 12; terms to keep or
        to label that no column has.

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
    >>> price = results_table(fits, keep=["logp"], labels={"logp": "Price"}).body
    >>> price.loc[("Wx", "W*Price"), "SDM"].tolist()
    ['0.1071', '(1.26)']
    """
    check_option("parentheses", parentheses, PARENTHESES)
    check_decimals(decimals)
    named = _named(fits)
    terms = [name for fit in named.values() for name in fit.names if name not in FIXED_NAMES]
    outcomes = dict.fromkeys(fit.workspace.data.outcome for fit in named.values())
    check_terms(list(dict.fromkeys(terms)), list(outcomes), keep, labels)
    effects, without = _impacts(named, impacts)
    cells: dict[str, dict[rows.Key, str]] = {}

    def estimated(name: str, write: rows.Writer) -> dict[rows.Key, str]:
        out = dict(rows.coefficients(named[name], write))
        if name in effects:
            out.update(rows.effects(effects[name], write))
        return {key: text for key, text in out.items() if rows.kept(key, keep)}

    sizes = rows.sizes_of(lambda write: [estimated(name, write) for name in named])
    write, counts = rows.writer(parentheses, decimals, sizes), rows.counted(named)
    for name, fit in named.items():
        cells[name] = estimated(name, write)
        cells[name].update(rows.instruments(fit))
        if keep is not None:
            others = any(term not in keep for term in fit.regressors)
            cells[name]["Fit", "Controls", "value"] = "Yes" if others else "No"
        cells[name].update(rows.fit_rows(fit, counts=counts))
    keys = dict.fromkeys(key for column in cells.values() for key in column)
    order = sorted(keys, key=lambda key: rows.place(key, keep))
    body = pd.DataFrame(
        {name: [column.get(key, "") for key in order] for name, column in cells.items()},
        index=in_order(
            [rows.written(key, labels) for key in order], ["block", "term", "statistic"]
        ),
        dtype=object,
    )
    notes = [
        f"{PARENTHESES[parentheses]} in parentheses. {LEGEND}{_no_stars(named)}",
        *settings(named),
        *_impact_notes(named, effects),
        *without,
        *_instrument_notes(named),
        *notes_of(named),
    ]
    of = ", ".join((labels or {}).get(outcome, outcome) for outcome in outcomes)
    return Table(title or f"Estimates of {of}", body, tuple(notes), footer="Fit")


def _named(fits: FitResult | Mapping[str, FitResult]) -> dict[str, FitResult]:
    every = fits if isinstance(fits, Mapping) else {"": fits}
    for fit in every.values():
        check_made(fit, "std_errors", "sa.sdm")
    if not isinstance(fits, Mapping):
        return {fits.model.upper(): fits}
    if not fits:
        raise DataError("A table of results needs at least one fit; the mapping is empty.")
    return {str(name): fit for name, fit in fits.items()}


def _impacts(
    fits: Mapping[str, FitResult], impacts: bool | Mapping[str, Impacts]
) -> tuple[dict[str, Impacts], list[str]]:
    """Return the effects of the fits that have them, and why others do not."""
    if isinstance(impacts, Mapping):
        unknown = [name for name in impacts if name not in fits]
        if unknown:
            raise DataError(f"Impacts are given for {unknown}, not among the columns {list(fits)}.")
        return dict(impacts), []
    found: dict[str, Impacts] = {}
    without: list[str] = []
    for name, fit in fits.items() if impacts else ():
        if fit.regressors and (fit.spec.has_lag or fit.spec.has_durbin):
            try:
                found[name] = fit.impacts()
            except BoundaryError:  # two-stage least squares does not confine rho
                reason = "rho lies outside the parameter space, so effects do not exist"
                without.append(f"{listed([name])}: {reason}.")
    return found, without


def _no_stars(fits: Mapping[str, FitResult]) -> str:
    names = variances(fits)
    if not names:
        return ""
    one = len(names) == 1
    verb, whose = ("carries", "its") if one else ("carry", "their")
    return (
        f" {' and '.join(names)} {verb} none: {whose} zero is the edge of {whose} range, not a "
        "hypothesis."
    )


def _impact_notes(fits: Mapping[str, FitResult], effects: Mapping[str, Impacts]) -> list[str]:
    if not effects:
        return []
    kinds = dict.fromkeys(_KINDS[item.method].format(item.draws) for item in effects.values())
    text = f"Direct, indirect and total effects: standard errors by {' or '.join(kinds)}."
    for horizon in ("short", "long"):
        names = [
            name
            for name, item in effects.items()
            if fits[name].spec.dynamic is not None and item.horizon == horizon
        ]
        if names:
            text += f" {listed(names)}: {horizon}-run effects."
    if rows.untested(effects):
        text += " n/a: an effect that is zero in its model has no standard error."
    without = [
        name
        for name, fit in fits.items()
        if name not in effects and not (fit.spec.has_lag or fit.spec.has_durbin)
    ]
    if without:
        text += f" {listed(without)}: no spillovers, coefficients are direct and total effects."
    return [text]


def _instrument_notes(fits: Mapping[str, FitResult]) -> list[str]:
    by_stages = [fit for fit in fits.values() if not has_likelihood(fit)]
    if not by_stages:
        return []
    text = "Instruments: p values in brackets. First-stage F: of the instruments outside the model"
    if any(len(getattr(fit, "endogenous", ())) > 1 for fit in by_stages):
        text += ", the other endogenous regressors being instrumented as well (Sanderson & "
        text += "Windmeijer 2016)"
    return [f"{text}. Durbin-Wu-Hausman: of the hypothesis that no regressor is endogenous."]
