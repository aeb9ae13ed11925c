"""Panel regressions as papers lay them out: columns by step, sample or estimator."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spatial_agglo.errors import check_option
from spatial_agglo.formula import INTERCEPT
from spatial_agglo.mechanisms.iv import CRAGG, WALD, IVResult
from spatial_agglo.mechanisms.regressions import Regressions, side_by_side
from spatial_agglo.models.two_stage import TwoStageResult
from spatial_agglo.report import rows
from spatial_agglo.report.describe import covariance_text, key_names, listed, notes_of
from spatial_agglo.report.formats import LEGEND, in_row, number, p_text
from spatial_agglo.report.table import Table, in_order
from spatial_agglo.report.terms import check_decimals, check_terms

if TYPE_CHECKING:
    from spatial_agglo.models.results import FitResult

PARENTHESES = {"t": "t statistics", "se": "Standard errors"}
#: The block below the coefficients.
FOOT = "Fit"
CONSTANT = "constant"
#: The critical value that is printed under an F.
CRITICAL = "size 10%"
#: Rows below the coefficients, in their order (by how they begin).
_ORDER = (
    "Controls",
    "Fixed effects",
    "Clusters",
    "First-stage F",
    "Anderson canonical",
    "Kleibergen-Paap rk LM",
    "Kleibergen-Paap",
    "Cragg-Donald",
    "Anderson-Rubin",
    "Hansen",
    "Sargan",
    "Durbin",
    "N",
    "Units",
    "Periods",
    "R2 within",
    "R2",
)
Cells = dict[rows.Key, str]


def regression_table(
    found: Regressions | Mapping[str, FitResult] | FitResult,
    *,
    keep: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    parentheses: str = "t",
    decimals: int = 4,
    first_stages: bool = False,
    constant: bool = False,
    title: str | None = None,
) -> Table:
    """Lay regressions out side by side: coefficients, effects yes or no, N and R2.

    Columns by FE-2SLS have the strength of their instruments below: first-stage F,
    Kleibergen-Paap rk LM with its p value, F with the critical value of Stock & Yogo (10%
    maximal size) in braces, Anderson-Rubin, over-identification, endogeneity.

    Parameters
    ----------
    found : Regressions, mapping of heading to FitResult, or FitResult
        Without spatial terms; see :func:`spatial_agglo.report.results_table` for those.
    keep : list of str, optional
        Terms that are shown, in this order; a row says whether a column has others ("Controls").
        All by default.
    labels : mapping of str to str, optional
        How terms and outcomes are written.
    parentheses : {"t", "se"}
        What stands below a coefficient.
    decimals : int
        Of coefficients and standard errors, at least: rows of small numbers have more, so that
        two significant digits are left. t has two.
    first_stages : bool
        Whether every column by FE-2SLS has its first stages before it.
    constant : bool
        With fixed effects: the level for a unit and a period of mean effect, without a standard
        error.
    title : str, optional

    Returns
    -------
    Table
        Columns (number, outcome), or (heading, number and outcome); rows are labelled (block,
        term, statistic), the lower block being "Fit".

    Raises
    ------
    DataError
        There is no fit, or one with spatial terms.
    OptionError
        Unknown ``parentheses``; terms to keep or to label that no column has.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.mechanisms.regressions import stepwise
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> table = regression_table(stepwise("logc ~ logp", panel, ["logy"]), decimals=3)
    >>> table.body.loc[("", "logp")].to_numpy().tolist()
    [['-1.102***', '-1.035***'], ['(-5.55)', '(-4.78)']]
    >>> table.body.loc[("Fit", "R2 within")].to_numpy().tolist()
    [['0.335', '0.394']]
    """
    check_option("parentheses", parentheses, PARENTHESES)
    check_decimals(decimals)
    regressions = _collected(found)
    columns = _columns(regressions, first_stages)
    fits = [fit for _, fit, _ in columns]
    terms = dict.fromkeys(name for fit in fits for name in fit.names if name != "sigma2")
    check_terms(list(terms), [fit.workspace.data.outcome for fit in fits], keep, labels)
    named = dict(labels or {})
    sizes = rows.sizes_of(
        lambda write: [list(_coefficients(fit, write, keep, named)) for fit in fits]
    )
    write = rows.writer(parentheses, decimals, sizes)
    levels = [fit.constant for fit in fits if fit.constant is not None]
    cells: list[Cells] = []
    for _, fit, stage_of in columns:
        own = dict(_coefficients(fit, write, keep, named))
        if constant and fit.constant is not None and INTERCEPT not in fit.names:
            own["", CONSTANT, "estimate"] = in_row(levels, decimals)(fit.constant)
        own.update(_foot(fit, keep))
        own.update(_instruments(fit, stage_of, first_stages))
        cells.append(own)
    order = _order(cells, keep, named)
    body = pd.DataFrame(
        {j: [column.get(key, "") for key in order] for j, column in enumerate(cells)},
        index=in_order(order, ["block", "term", "statistic"]),
        dtype=object,
    )
    body.columns = _heads(regressions, columns, named)
    outcomes = dict.fromkeys(named.get(o, o) for o in regressions.statistics["outcome"])
    return Table(
        title or f"Regressions of {', '.join(outcomes)}",
        body,
        tuple(_notes(regressions, fits, parentheses, constant)),
        footer=FOOT,
    )


# --- columns ----------------------------------------------------------------------------------


Column = tuple[str, "FitResult", "TwoStageResult | None"]


def _collected(found: Any) -> Regressions:
    if isinstance(found, Regressions):
        return found
    return side_by_side(found if isinstance(found, Mapping) else {"(1)": found})


def _columns(found: Regressions, first_stages: bool) -> list[Column]:
    """Return heading, fit, and of which fit it is the first stage."""
    out: list[Column] = []
    for name, fit in found.fits.items():
        if first_stages and isinstance(fit, IVResult):
            out += [(name, first, fit) for first in fit.first_stage_fits.values()]
        out.append((name, fit, None))
    return out


def _heads(
    found: Regressions, columns: Sequence[Column], labels: Mapping[str, str]
) -> pd.MultiIndex:
    """Return numbers over outcomes, or headings over numbers with outcomes."""
    outcomes = [fit.workspace.data.outcome for _, fit, _ in columns]
    numbered = list(found.fits) == [f"({j})" for j in range(1, len(found.fits) + 1)]
    heads = []
    for j, ((name, _, _), outcome) in enumerate(zip(columns, outcomes, strict=True), 1):
        text = labels.get(outcome, outcome)
        heads.append((f"({j})", text) if numbered else (name, f"({j}) {text}"))
    return pd.MultiIndex.from_tuples(heads)


# --- rows -------------------------------------------------------------------------------------


def _coefficients(
    fit: FitResult, write: rows.Writer, keep: Sequence[str] | None, labels: Mapping[str, str]
) -> rows.Cells:
    errors, p_values = fit.std_errors, fit.pvalues
    for name, value in fit.params.items():
        term = str(name)
        if term in ("sigma2", "phi") or (keep is not None and term not in keep):
            continue
        shown = CONSTANT if term == INTERCEPT else labels.get(term, term)
        yield from write("", shown, value, errors[term], p_values[term], True)


def _foot(fit: FitResult, keep: Sequence[str] | None) -> rows.Cells:
    """Yield what every column has below its coefficients."""
    if keep is not None:
        others = [n for n in fit.workspace.data.regressors if n not in keep]
        yield (FOOT, "Controls", "value"), _yes(bool(others))
    line = side_by_side({"": fit}).statistics.iloc[0]
    for name, key in zip(
        key_names(fit.workspace.data.panel), ("entity_effects", "time_effects"), strict=True
    ):
        yield (FOOT, f"Fixed effects: {name}", "value"), _yes(bool(line[key]))
    if not pd.isna(line["clusters"]):
        yield (FOOT, "Clusters", "value"), f"{line['clusters']:,}"
    yield (FOOT, "N", "value"), f"{line['nobs']:,}"
    if not np.isnan(line["rsquared_within"]):
        yield (FOOT, "R2 within", "value"), number(line["rsquared_within"], 3, scientific=False)
    yield (FOOT, "R2", "value"), number(line["rsquared"], 3, scientific=False)


def _instruments(fit: FitResult, stage_of: TwoStageResult | None, first_stages: bool) -> rows.Cells:
    """Yield the strength of the instruments and the tests of a fit by FE-2SLS."""
    if stage_of is not None:
        F = stage_of.first_stage.loc[fit.workspace.data.outcome, "F"]
        yield (FOOT, "First-stage F", "value"), number(F, 2, scientific=False)
        return
    if not isinstance(fit, TwoStageResult):
        return
    if not first_stages or not isinstance(fit, IVResult):
        one = len(fit.endogenous) == 1
        for name, F in fit.first_stage["conditional_F"].items():
            term = "First-stage F" if one else f"First-stage F: {name}"
            yield (FOOT, term, "value"), number(F, 2, scientific=False)
    if isinstance(fit, IVResult):
        yield from _relevance(fit)
    tests = {str(name): row for name, row in fit.overidentification.iterrows()}
    tests["Durbin-Wu-Hausman"] = fit.endogeneity.loc["all"]
    for test, row in tests.items():
        yield from _tested(test, row)


def _relevance(fit: IVResult) -> rows.Cells:
    table = fit.weak_instruments
    yield from _tested(str(table.index[0]), table.iloc[0])
    for name in (WALD, CRAGG):
        if name in table.index:
            yield (FOOT, name, "value"), number(table.loc[name, "statistic"], 2, scientific=False)
            critical = table.loc[name, CRITICAL]
            if not np.isnan(critical):
                yield (FOOT, name, "critical"), f"{{{critical:.2f}}}"
    yield from _tested("Anderson-Rubin F", fit.anderson_rubin.loc["Anderson-Rubin F"])


def _tested(name: str, row: pd.Series) -> rows.Cells:
    yield (FOOT, name, "statistic"), number(row["statistic"], 3, scientific=False)
    yield (FOOT, name, "p"), f"[{p_text(row['p_value'])}]"


def _order(
    cells: Sequence[Cells], keep: Sequence[str] | None, labels: Mapping[str, str]
) -> list[rows.Key]:
    """Return the rows: terms as they come (the constant last) or as kept, then the foot."""
    keys = list(dict.fromkeys(key for column in cells for key in column))
    wanted = [CONSTANT if t == INTERCEPT else labels.get(t, t) for t in keep or ()]

    def place(key: rows.Key) -> tuple[int, int]:
        block, term, _ = key
        if block == FOOT:
            return 1, next(i for i, name in enumerate(_ORDER) if term.startswith(name))
        if term in wanted:
            return 0, wanted.index(term)
        return 0, len(wanted) + (term == CONSTANT)

    terms = list(dict.fromkeys(key[:2] for key in keys))
    return sorted(keys, key=lambda key: (*place(key), terms.index(key[:2])))


# --- notes ------------------------------------------------------------------------------------


def _notes(
    found: Regressions, fits: Sequence[FitResult], parentheses: str, constant: bool
) -> Iterator[str]:
    yield f"{PARENTHESES[parentheses]} in parentheses. {LEGEND}"
    kinds: dict[str, list[str]] = {}
    for name, fit in found.fits.items():  # the number of clusters has a row of its own
        kind = re.sub(r" \([\d,]+ clusters?\)", "", covariance_text(fit))
        kinds.setdefault(kind, []).append(name)
    text = "; ".join(
        kind if len(kinds) == 1 else f"{kind} in {listed(names)}" for kind, names in kinds.items()
    )
    text = f"Standard errors: {text}."
    if any(fit.spec.fixed != "none" for fit in fits):
        text += " R2 within: of what the fixed effects leave of the outcome"
        text += "; R2: of all its variation, what they explain included."
    yield text
    iv = [fit for fit in fits if isinstance(fit, TwoStageResult)]
    if iv:
        asked = dict.fromkeys(
            f"{', '.join(fit.endogenous)} by {', '.join(fit.instruments)}" for fit in iv
        )
        text = f"Two-stage least squares: {'; '.join(asked)}. P values in brackets"
        if any(isinstance(fit, IVResult) for fit in iv):
            text += "; in braces the critical value of Stock & Yogo (2005) for a maximal size of "
            text += "10%, which supposes independent errors of one variance"
        yield f"{text}."
    if constant:
        yield "constant with fixed effects: for a unit and a period of mean effect."
    cuts = {name: fit.workspace.data.panel.cut.size for name, fit in found.fits.items()}
    if any(cuts.values()):
        yield f"Left out for lags: {_by_column(cuts)}."
    skip = ("two-stage least squares: there is", "endogenous: ")
    for note in notes_of(found.fits):
        if not any(part in note.lower() for part in skip):
            yield note


def _by_column(cuts: Mapping[str, int]) -> str:
    """Say how many cells are left out, by column where that differs."""
    sizes = [size for size in dict.fromkeys(cuts.values()) if size]
    if len(set(cuts.values())) == 1:
        return f"{sizes[0]:,} cells"
    columns = {size: [name for name, own in cuts.items() if own == size] for size in sizes}
    return "; ".join(f"{size:,} cells in {listed(names)}" for size, names in columns.items())


def _yes(value: bool) -> str:
    return "Yes" if value else "No"
