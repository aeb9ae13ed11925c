"""The table of one spatial Durbin model: a row per regressor, with its lag and effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from spatial_agglo.errors import DataError, check_made, check_option
from spatial_agglo.report.describe import notes_of, settings
from spatial_agglo.report.formats import LEGEND, in_row, number, stars
from spatial_agglo.report.table import Table, in_order
from spatial_agglo.report.terms import check_decimals, check_terms

if TYPE_CHECKING:
    from spatial_agglo.impacts import Impacts
    from spatial_agglo.models.results import FitResult

_EFFECTS = ("direct", "indirect", "total")
_PARENTHESES = {"z": "z statistics", "se": "Standard errors"}


def sdm_table(
    fit: FitResult,
    impacts: Impacts | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    parentheses: str = "z",
    decimals: int = 3,
    title: str | None = None,
) -> Table:
    """Lay out a spatial Durbin model with one row per regressor: Main, Wx and its effects.

    Parameters
    ----------
    fit : FitResult
        With spatial lags of the outcome and of regressors (SDM, GNS).
    impacts : Impacts, optional
        Its effects; ``fit.impacts()`` by default.
    labels : mapping of str to str, optional
        How regressors and the outcome are written.
    parentheses : {"z", "se"}
        What stands below an estimate.
    decimals : int
        At least: rows of small numbers have more, so that two significant digits are left.
    title : str, optional

    Returns
    -------
    Table
        Columns (number, "Main"), "Wx", "Direct", "Indirect" and "Total".

    Raises
    ------
    DataError
        The model has no spatial lag of the outcome or of regressors.
    OptionError
        Unknown ``parentheses``; labels of terms that are not there.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> table = sdm_table(sa.sdm("logc ~ logp + logy", panel, W))
    >>> table.body.loc[("", "logp", "estimate")].tolist()
    ['-1.000***', '0.107', '-1.012***', '-0.213**', '-1.225***']
    """
    check_option("parentheses", parentheses, _PARENTHESES)
    check_decimals(decimals)
    check_made(fit, "workspace", "sa.sdm")
    outcome = fit.workspace.data.outcome
    if not (fit.spec.has_lag and fit.spec.has_durbin):
        raise DataError(
            "sdm_table lays out models with spatial lags of the outcome and of regressors; got "
            f"{fit.model!r}. results_table lays out any model."
        )
    check_terms(fit.names, [outcome], None, labels)
    effects = (fit.impacts() if impacts is None else impacts).to_frame()
    heads = [("(1)", "Main"), ("(2)", "Wx")]
    heads += [(f"({k})", effect.capitalize()) for k, effect in enumerate(_EFFECTS, 3)]
    rows: dict[tuple[str, str, str], list[str]] = {}

    def write(block: str, name: str, found: list[tuple[float, float, float] | None]) -> None:
        there = [cell for cell in found if cell is not None]
        text = in_row([value for b, se, _ in there for value in (b, se)], decimals)
        rows[block, name, "estimate"] = [
            "" if cell is None else text(cell[0]) + stars(cell[2]) for cell in found
        ]
        rows[block, name, parentheses] = [
            "" if cell is None else f"({_below(cell, text, parentheses)})" for cell in found
        ]

    def own(name: str) -> tuple[float, float, float] | None:
        if name not in fit.names:
            return None
        return fit.params[name], fit.std_errors[name], fit.pvalues[name]

    for name in effects.index.unique(1):
        lines = [effects.loc[(effect, name)] for effect in _EFFECTS]
        found = [(row["estimate"], row["se"], row["p_value"]) for row in lines]
        write("", (labels or {}).get(name, name), [own(name), own(f"W*{name}"), *found])
    for name in ("rho", "lambda"):
        if name in fit.names:
            write("Fit", name, [own(name), *[None] * 4])
    if "sigma2" in fit.names:
        variance = float(fit.params["sigma2"])
        rows["Fit", "sigma2", "estimate"] = [in_row([variance], decimals)(variance), *[""] * 4]
    rows["Fit", "N", "value"] = [f"{fit.nobs:,}"] * 5
    body = pd.DataFrame.from_dict(rows, orient="index", dtype=object)
    body.index = in_order(list(rows), ["block", "term", "statistic"])
    body.columns = pd.MultiIndex.from_tuples(heads)
    notes = (
        f"{_PARENTHESES[parentheses]} in parentheses. {LEGEND}",
        *settings({"": fit}),
        *notes_of({"": fit}),
    )
    outcome = (labels or {}).get(outcome, outcome)
    return Table(title or f"Spatial Durbin model of {outcome}", body, notes, footer="Fit")


def _below(cell: tuple[float, float, float], text: Callable[[float], str], what: str) -> str:
    estimate, se, _ = cell
    return text(se) if what == "se" else number(estimate / se, 2, scientific=False)
