"""Tables of many specifications, of groups and of regimes, as papers lay them out."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spatial_agglo.errors import OptionError, check_list, check_made, check_option, listing
from spatial_agglo.formula import INTERCEPT
from spatial_agglo.report import rows
from spatial_agglo.report.describe import COVARIANCES, LIKELIHOODS, listed, sentence, settings
from spatial_agglo.report.formats import LEGEND, in_words, p_text
from spatial_agglo.report.table import Table
from spatial_agglo.report.tables import PARENTHESES, results_table

if TYPE_CHECKING:
    from spatial_agglo.robustness.regimes import Regimes
    from spatial_agglo.robustness.runs import Run
    from spatial_agglo.robustness.sensitivity import Sensitivity
    from spatial_agglo.robustness.subsamples import GroupFits

EFFECTS = ("direct", "indirect", "total")
#: Blocks of a table of results by the kinds of a test of the difference.
_KINDS = {"Direct": "direct", "Indirect": "indirect", "Total": "total"}
EQUAL, COMMON = "Equal: p", "Common"
NOTHING = "—"


def sensitivity_table(
    found: Sensitivity,
    variables: Sequence[str] | None = None,
    effects: Sequence[str] = EFFECTS,
    *,
    parentheses: str = "z",
    decimals: int = 4,
) -> Table:
    """Lay out the impacts of all specifications side by side, a column for each.

    Parameters
    ----------
    found : Sensitivity
        From :func:`spatial_agglo.sensitivity`.
    variables : list of str, optional
        All that were kept by default.
    effects : list of {"direct", "indirect", "total"}
    parentheses : {"z", "se"}
        What stands below an estimate.
    decimals : int

    Returns
    -------
    Table
        Specifications that failed have a dash in every cell, and a note with the reason.

    Raises
    ------
    OptionError
        Unknown names or options.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.robustness import sensitivity
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> found = sensitivity("logc ~ logp + logy", panel, W, models=["sar", "sdm"])
    >>> sensitivity_table(found, ["logp"]).body.loc[("Indirect", "logp"), "SDM"].tolist()
    ['-0.2126**', '(-2.24)']
    """
    check_made(found, "runs", "sa.sensitivity")
    check_option("parentheses", parentheses, PARENTHESES)
    _check_decimals(decimals)
    chosen = [effects] if isinstance(effects, str) else check_list("effects", effects)
    for effect in chosen:
        check_option("effects", effect, EFFECTS)
    kept = found.variables if variables is None else tuple(check_list("variables", variables))
    unknown = [name for name in kept if name not in found.variables]
    if unknown or not kept or not chosen:
        raise OptionError(
            f"variables={list(kept)!r} must be among those that were kept, "
            f"{listing(found.variables, 20)}, and there must be a variable and an effect."
        )
    write = rows.writer(parentheses, decimals)
    cells = [_cells(run, kept, chosen, write) for run in found.runs]
    keys = dict.fromkeys(key for column in cells for key in column)
    order = sorted(keys, key=lambda key: _place(key, chosen, kept))
    body = pd.DataFrame(
        {
            j: [NOTHING if found.runs[j].error else column.get(key, "") for key in order]
            for j, column in enumerate(cells)
        },
        index=_index(order, ["block", "term", "statistic"]),
        dtype=object,
    )
    body.columns = _heads(found)
    notes = [f"{PARENTHESES[parentheses]} in parentheses. {LEGEND}", *_said(found)]
    title = f"Effects on {found.outcome} under {len(found.runs)} specifications"
    return Table(title, body, tuple(notes), footer="Fit")


def groups_table(found: GroupFits, *, parentheses: str = "z", decimals: int = 4) -> Table:
    """Lay out the fits of groups side by side, with the tests that they are equal.

    Parameters
    ----------
    found : GroupFits
        From :func:`spatial_agglo.by_group`.
    parentheses : {"z", "se"}
    decimals : int

    Returns
    -------
    Table
        As :func:`spatial_agglo.report.results_table`, with a last column of p values; without
        it where groups overlap.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.robustness import by_group
    >>> df = sa.datasets.cigarettes().assign(late=lambda d: d.year > 1977)
    >>> panel = sa.Panel(df, entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> table = groups_table(by_group("sar", "logc ~ logp", panel, W, groups="late"))
    >>> list(table.body.columns)
    ['False', 'True', 'Equal: p']
    """
    check_made(found, "overlap", "sa.by_group")
    table = results_table(found.fits, parentheses=parentheses, decimals=decimals)
    if found.overlap:
        return table
    tests = found.differences()
    p = tests["p_value"]
    column = []
    for block, term, statistic in table.body.index:
        key = (_KINDS.get(block, "coefficient"), term)
        shown = statistic == "estimate" and key in p.index
        column.append(p_text(p[key]) if shown else "")
    joint = tests.xs("joint").iloc[0]
    equal = _beside(EQUAL, found.fits)
    note = f"{equal}: Wald tests that the groups are equal, which assume that "
    note += (
        f"{found.assumption}."
        if found.kind != "period"
        else (f"the periods are independent ({found.assumption}).")
    )
    if np.isfinite(joint["statistic"]):
        note += (
            f" All coefficients: chi2({int(joint['df'])}) = {joint['statistic']:.2f}, "
            f"{in_words(joint['p_value'])}."
        )
    notes = (*table.notes, note, *_untested(tests))
    return replace(table, body=table.body.assign(**{equal: column}), notes=notes)


def regimes_table(found: Regimes, *, parentheses: str = "z", decimals: int = 4) -> Table:
    """Lay out coefficients by group, those in common, and the tests that groups are equal.

    Parameters
    ----------
    found : Regimes
        From :func:`spatial_agglo.regimes`.
    parentheses : {"z", "se"}
    decimals : int

    Returns
    -------
    Table
        A column per group, one for what they have in common, and one of p values.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.robustness import regimes
    >>> df = sa.datasets.cigarettes().assign(late=lambda d: d.year > 1977)
    >>> panel = sa.Panel(df, entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> table = regimes_table(regimes("sar", "logc ~ logp", panel, W, groups="late"))
    >>> list(table.body.columns)
    ['False', 'True', 'Common', 'Equal: p']
    """
    check_made(found, "intercepts", "sa.regimes")
    check_option("parentheses", parentheses, PARENTHESES)
    _check_decimals(decimals)
    common = _beside(COMMON, found.groups)
    equal = _beside(EQUAL, found.groups)
    fit, tests = found.fit, found.tests()
    write = rows.writer(parentheses, decimals)
    cells: dict[str, dict[rows.Key, str]] = {name: {} for name in (*found.groups, common)}
    errors, p_values = fit.std_errors, fit.pvalues
    for name, value in fit.params.items():
        label = str(name)
        term, group = _term(label, found)
        block = "Wx" if term.startswith("W*") else rows.block_of(replace(fit, details={}), term)
        cells[common if group is None else group].update(
            write(block, term, value, errors[name], p_values[name], block != "Variance")
        )
    cells[common].update(rows.fit_rows(fit))
    order = sorted(
        dict.fromkeys(key for column in cells.values() for key in column), key=rows.place
    )
    body = pd.DataFrame(
        {name: [column.get(key, "") for key in order] for name, column in cells.items()},
        index=_index(order, ["block", "term", "statistic"]),
        dtype=object,
    )
    body[equal] = [
        p_text(tests.loc[term, "p_value"]) if kind == "estimate" and term in tests.index else ""
        for _, term, kind in order
    ]
    statistic, df, p = (tests.at["all", name] for name in ("statistic", "df", "p_value"))
    note = f"{equal}: Wald tests that the groups are equal"
    if np.isfinite(statistic):
        note += f"; all of them, chi2({df}) = {statistic:.2f}, {in_words(p)}"
    notes = (
        f"{PARENTHESES[parentheses]} in parentheses. {LEGEND}",
        *settings({"": fit}),
        f"{note}.",
        *_untested(tests),
    )
    title = f"Estimates of {fit.workspace.data.outcome} by group ({found.model.upper()})"
    return Table(title, body, notes, footer="Fit")


# --- helpers ------------------------------------------------------------------------------


def _beside(name: str, groups: Container[str]) -> str:
    """Return the name of a column beside those of groups, longer if a group has it."""
    while name in groups:
        name += " (all groups)"
    return name


def _untested(tests: pd.DataFrame) -> list[str]:
    """Return why some tests have no statistic, as sentences."""
    note = tests.attrs.get("note", "")
    return [sentence(note.removesuffix("."))] if note else []


def _check_decimals(decimals: int) -> None:
    if isinstance(decimals, bool) or not (isinstance(decimals, int) and 0 <= decimals <= 12):
        raise OptionError(f"decimals={decimals!r} must be a whole number from 0 to 12.")


def _cells(
    run: Run, variables: Sequence[str], effects: Sequence[str], write: rows.Writer
) -> dict[rows.Key, str]:
    """Return the cells of one specification."""
    out: dict[rows.Key, str] = {}
    if run.impacts is None:
        return out
    for effect in effects:
        for variable in variables:
            if (effect, variable) not in run.impacts.index:
                continue
            row = run.impacts.loc[(effect, variable)]
            if np.isfinite(row["se"]):
                out.update(
                    write(
                        effect.capitalize(),
                        variable,
                        float(row["estimate"]),
                        float(row["se"]),
                        float(row["p_value"]),
                        True,
                    )
                )
    for name in ("rho", "lambda"):
        if name in run.numbers:
            value, se = run.numbers[name], run.numbers[f"{name}_se"]
            out.update(write("Spatial", name, value, se, _p(value, se), True))
    out["Fit", "N", "value"] = f"{int(run.numbers['nobs']):,}"
    out["Fit", "Units", "value"] = f"{int(run.numbers['entities']):,}"
    out["Fit", "Log-likelihood", "value"] = f"{run.numbers['loglik']:,.2f}"
    return out


def _p(value: float, se: float) -> float:
    from scipy.special import ndtr

    return float(2.0 * ndtr(-abs(value / se)))


def _place(key: rows.Key, effects: Sequence[str], variables: Sequence[str]) -> tuple[int, int, int]:
    """Return where a row stands: effects and variables as asked for, then rho, then the fit."""
    block, term, _ = key
    if block.lower() in effects:
        return 0, list(effects).index(block.lower()), list(variables).index(term)
    return 1, *rows.place(key)


def _index(keys: Sequence[tuple[str, ...]], names: list[str]) -> pd.MultiIndex:
    """Make an index whose levels are in the order of the table."""
    parts = [list(dict.fromkeys(part)) for part in zip(*keys, strict=True)]
    codes = [
        [level.index(part) for part in given]
        for level, given in zip(parts, zip(*keys, strict=True), strict=True)
    ]
    return pd.MultiIndex(levels=parts, codes=codes, names=names)


def _heads(found: Sensitivity) -> pd.Index:
    """Return the headings of the columns: the first dimension that varies over the others."""
    varying = found.varying or ("model",)
    labels = [[_text(name, run) for name in varying] for run in found.runs]
    if len(varying) == 1:
        return pd.Index([label[0] for label in labels])
    return pd.MultiIndex.from_tuples([(label[0], ", ".join(label[1:])) for label in labels])


def _text(dimension: str, run: Run) -> str:
    value = run.key[dimension]
    return value.upper() if dimension == "model" else value


def _said(found: Sensitivity) -> list[str]:
    """Return what all specifications share, and why some failed."""
    first = found.runs[0].key
    same = [name for name in ("model", "effects", "sample") if name not in found.varying]
    parts = [f"{name}: {_text(name, found.runs[0])}" for name in same if first[name] != "all"]
    cov = found.settings["cov"]
    parts.append(f"likelihood: {_likelihoods(found)}")
    parts.append(f"standard errors: {COVARIANCES.get(cov, cov)}, effects by the delta method")
    if len(found.formulas) == 1:
        parts = [*found.formulas.values(), *parts]
    notes = [f"{'; '.join(parts)}."]
    reasons: dict[str, list[str]] = {}
    for run in found.runs:
        if run.error:
            label = ", ".join(_text(name, run) for name in found.varying)
            reasons.setdefault(run.error, []).append(label)
    notes += [
        f"{NOTHING} Not estimated: {'; '.join(labels)}. {reason}"
        for reason, labels in reasons.items()
    ]
    return notes


def _likelihoods(found: Sensitivity) -> str:
    """Return the likelihoods in words, with the effects where they differ by these."""
    words: dict[str, list[str]] = {}
    for run in found.runs:
        if not run.error:
            words.setdefault(_likelihood(run, found.settings["likelihood"]), []).append(
                run.key["effects"]
            )
    if len(words) < 2:
        return "".join(words)
    return ", ".join(
        f"{text} ({listed(list(dict.fromkeys(effects)))} effects)"
        for text, effects in words.items()
    )


def _likelihood(run: Run, likelihood: str) -> str:
    """Return the likelihood of a specification in words, as its own table does."""
    effects = run.key["effects"]
    if effects == "random":
        return "maximum likelihood, random effects"
    if effects == "none" and likelihood in ("transformed", "direct"):
        return "maximum likelihood"
    spatial = {"rho", "lambda"}.intersection(run.numbers)
    if likelihood == "transformed" and run.irregular and spatial:
        return "transformed, score adjusted for the fixed effects"
    return LIKELIHOODS.get(likelihood, likelihood)


def _term(name: str, found: Regimes) -> tuple[str, str | None]:
    """Part the label of a parameter into its term and its group, if it has one."""
    for group in found.groups:
        term = name.removesuffix(f"[{group}]")
        if term != name and term.removeprefix("W*") in (*found.varying, INTERCEPT):
            return term, group
    return name, None
