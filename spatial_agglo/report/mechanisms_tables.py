"""Tables of mechanisms: equations side by side, effects with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from spatial_agglo.errors import OptionError, check_made
from spatial_agglo.report.describe import sentence, settings
from spatial_agglo.report.formats import LEGEND, in_row, in_words, p_text, stars
from spatial_agglo.report.table import Table, in_order
from spatial_agglo.report.tables import results_table
from spatial_agglo.report.terms import check_decimals

if TYPE_CHECKING:
    from spatial_agglo.mechanisms.conditional import ModeratedMediation
    from spatial_agglo.mechanisms.mediation import Mediation
    from spatial_agglo.mechanisms.spatial import SpatialMediation
    from spatial_agglo.models.results import FitResult

#: Columns of effects: heading, sub-heading and the column of the frame.
ESTIMATE, ERROR, P = ("", "Effect"), ("", "Std. error"), ("", "p")
#: What p values and stars rest on: the interval that the verdict speaks of.
LEGENDS = f"p: that of the bias-corrected interval which just reaches zero. {LEGEND}"
#: What the words of the frames become.
WORDS = {"own": "Own", "neighbours": "Neighbours'", "total": "Total"}


def equations_table(
    fits: Mapping[str, FitResult],
    title: str,
    leading: Sequence[str] = (),
    *,
    parentheses: str = "se",
    decimals: int = 3,
) -> Table:
    """Lay out equations with different outcomes side by side, numbered, as papers do.

    Parameters
    ----------
    fits : mapping of str to FitResult
        Keys such as "(5)" are kept as numbers of columns; others get the numbers after them.
    title : str
    leading : list of str
        Regressors whose rows come first, in this order.
    parentheses : {"z", "se"}
    decimals : int
        At least: rows of small numbers have more, so that two significant digits are left.

    Returns
    -------
    Table
        Columns (number, outcome).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.mechanisms.mediation import mediation
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> found = mediation("logc ~ logy", panel, treatment="logy", mediators="logp", draws=99)
    >>> table = equations_table(found.equations, "Mediation")
    >>> list(table.body.columns)
    [('(1)', 'logc'), ('(2)', 'logc'), ('(3)', 'logp'), ('(4)', 'logc')]
    >>> table.body.loc[("Main", "logy"), ("(4)", "logc")].tolist()
    ['0.529***', '(0.162)']
    """
    if not isinstance(fits, Mapping):
        raise OptionError(
            f"The equations of a mediation, {{name: fit}}, are needed; got {type(fits).__name__}."
        )
    named = dict(zip(_numbers(list(fits)), fits.values(), strict=True))
    table = results_table(named, impacts=False, parentheses=parentheses, decimals=decimals)
    keys = list(table.body.index)
    place = {name: j for j, name in enumerate(leading)}
    head = [key for key in keys if key[0] == "Main"]
    head.sort(key=lambda key: place.get(key[1], len(place)))
    order = [*head, *(key for key in keys if key[0] != "Main")]
    body = pd.DataFrame(
        [table.body.loc[key].tolist() for key in order],
        index=in_order(order, list(table.body.index.names)),
        columns=pd.MultiIndex.from_tuples(
            [(number, fit.workspace.data.outcome) for number, fit in named.items()]
        ),
        dtype=object,
    )
    said = (
        "Stars: of the equations' own standard errors. Effects and products are judged by their "
        "bootstrap intervals, which may say otherwise."
    )
    return replace(table, title=title, body=body, notes=(*table.notes, said))


def mediation_table(found: Mediation, *, decimals: int = 3) -> Table:
    """Lay out direct and indirect effects with both intervals, contrasts, and the verdict.

    Parameters
    ----------
    found : Mediation
    decimals : int
        At least: rows of small numbers have more, so that two significant digits are left.

    Returns
    -------
    Table

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.mechanisms.mediation import mediation
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> found = mediation("logc ~ logy", panel, treatment="logy", mediators="logp", draws=99)
    >>> [row for _, row in mediation_table(found).body.index]
    ['Direct', 'Indirect via logp', 'Total', 'Proportion mediated']
    """
    check_made(found, "sobel", "mediation")
    effects = found.effects
    if len(found.mediators) == 1:
        effects = effects.drop(index="indirect")
    rows = [("Effects", _capital(name)) for name in effects.index]
    parts = [effects]
    if len(found.contrasts):
        rows += [("Contrasts of indirect effects", str(name)) for name in found.contrasts.index]
        parts.append(found.contrasts)
    body = _body(pd.concat(parts), rows, ["block", "effect"], found.level, decimals)
    notes = [
        LEGENDS,
        "n/a: a ratio of estimates has no variance, so it has intervals but no standard error.",
        *settings(found.equations),
        *_said(found.notes),
        _sobel(found),
        found.verdict,
    ]
    title = f"Effects of {found.treatment} on {found.outcome} through "
    return Table(title + " and ".join(found.mediators), body, tuple(notes))


def conditional_table(found: ModeratedMediation, *, decimals: int = 3) -> Table:
    """Lay out conditional effects, indices of moderated mediation and interactions.

    Parameters
    ----------
    found : ModeratedMediation
    decimals : int
        At least: rows of small numbers have more, so that two significant digits are left.

    Returns
    -------
    Table

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.mechanisms.moderated import moderated_mediation
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> found = moderated_mediation(
    ...     "logc ~ logy", panel, treatment="logy", mediator="logp", moderator="pimin",
    ...     paths="first", draws=99)
    >>> conditional_table(found).body.index[0]
    ('Direct', 'pimin low (24.58)')
    """
    check_made(found, "curve", "moderated_mediation")
    names = {
        "direct": "Direct",
        "first": f"First step, {found.treatment} to {found.mediator}",
        "second": f"Second step, {found.mediator} to {found.outcome}",
        "indirect": "Indirect",
        "total": "Total",
    }
    labels = {
        label: f"{found.moderator} {label} ({value:.4g})" for label, value in found.values.items()
    }
    rows = [(names[effect], labels[at]) for effect, at in found.conditional.index]
    rows += [
        ("Change with the moderator", f"{names[effect]}: {quantity}")
        for effect, quantity in found.index.index
    ]
    rows += [("Products", f"{names[path]}: {model}") for path, model in found.interactions.index]
    frame = pd.concat([found.conditional, found.index, found.interactions])
    body = _body(frame, rows, ["block", "effect"], found.level, decimals)
    alone = (
        "Products: their coefficients with all paths moderated together, and in equations (5), (7) "
        "and (9), where each is alone."
    )
    notes = (
        LEGENDS,
        *settings(found.equations),
        *_said(found.notes),
        alone,
        found.verdict,
    )
    title = f"Effects of {found.treatment} on {found.outcome} through {found.mediator}, given "
    return Table(title + found.moderator, body, notes)


def spatial_mediation_table(found: SpatialMediation, *, decimals: int = 3) -> Table:
    """Lay out own, neighbours' and total effects by path.

    Parameters
    ----------
    found : SpatialMediation
    decimals : int
        At least: rows of small numbers have more, so that two significant digits are left.

    Returns
    -------
    Table

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.mechanisms.spatial import spatial_mediation
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> found = spatial_mediation(
    ...     "logc ~ logy", panel, W, treatment="logy", mediators="logp", draws=99)
    >>> spatial_mediation_table(found).body.index[1]
    ('Direct', "Neighbours'")
    """
    check_made(found, "differences", "spatial_mediation")
    effects = found.effects
    if len(found.mediators) == 1:
        effects = effects[effects.index.get_level_values("path") != "mediated"]
    rows = []
    for path, part, *at in effects.index:
        label = WORDS[part]
        if at:
            value = effects.loc[(path, part, at[0]), found.moderator]
            label += f", {found.moderator} {at[0]} ({value:.4g})"
        rows.append((_capital(path), label))
    frame = effects
    if len(found.differences):
        shown = found.differences.loc[["direct", "mediated", "total"]]
        rows += [
            ("Last less first value of the moderator", f"{_capital(path)}, {WORDS[part].lower()}")
            for path, part in shown.index
        ]
        frame = pd.concat([effects, shown])
    body = _body(frame, rows, ["block", "effect"], found.level, decimals)
    notes = [
        LEGENDS,
        *settings(found.equations),
        *_said(_own_notes(found)),
        "Own: what a change of the treatment in a unit does to it. Neighbours': what the same "
        "change in all other units does to it.",
    ]
    if found.moderator is None:
        notes.append(
            "Reduced form: the model without mediators. It need not equal the total of direct and "
            "mediated effects, which it approximates."
        )
        notes.append(found.verdict)
    title = f"Effects of {found.treatment} on {found.outcome} through "
    return Table(title + " and ".join(found.mediators), body, tuple(notes))


# --- helpers ------------------------------------------------------------------------------


def _numbers(keys: list[str]) -> list[str]:
    """Give numbers to the equations without one, after those of the others."""
    last = max((int(key[1:-1]) for key in keys if key.startswith("(")), default=0)
    out = []
    for key in keys:
        if not key.startswith("("):
            last += 1
        out.append(key if key.startswith("(") else f"({last})")
    return out


def _body(
    frame: pd.DataFrame,
    rows: Sequence[tuple[str, str]],
    names: list[str],
    level: float,
    decimals: int,
) -> pd.DataFrame:
    """Write the columns that all frames of effects have."""
    check_decimals(decimals)
    percent = f"{100 * level:g}%"
    heads = {
        "bc": f"Bias-corrected {percent}",
        "percentile": f"Percentile {percent}",
    }
    p = frame["p_value"].to_numpy()
    write = [
        in_row(pair, decimals) for pair in zip(frame["estimate"], frame["std_error"], strict=True)
    ]

    def column(name: str) -> list[str]:
        return [row(value) for row, value in zip(write, frame[name], strict=True)]

    effects = zip(column("estimate"), p, strict=True)
    columns = {
        ESTIMATE: [text + stars(chance) for text, chance in effects],
        ERROR: column("std_error"),
    }
    for kind, head in heads.items():
        for end in ("lower", "upper"):
            columns[head, end.capitalize()] = column(f"{kind}_{end}")
    columns[P] = [p_text(value) for value in p]
    return pd.DataFrame(
        {key: pd.array(cells, dtype=object) for key, cells in columns.items()}
    ).set_axis(in_order(list(rows), names), axis=0)


def _own_notes(found: SpatialMediation) -> list[str]:
    """Return the notes that are not those of the equations, which the settings say."""
    return [note for note in found.notes if note not in found.equations["outcome"].notes]


def _said(notes: Sequence[str]) -> list[str]:
    return [sentence(note) for note in notes]


def _sobel(found: Mediation) -> str:
    """Say what Sobel's test makes of each mediator."""
    tests = found.sobel.xs("Sobel", level="test")
    parts = [
        f"{name}: z = {row['z']:.2f}, {in_words(row['p_value'])}" for name, row in tests.iterrows()
    ]
    return (
        f"Sobel's test, which takes the product to be normal, for comparison: {'; '.join(parts)}."
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
