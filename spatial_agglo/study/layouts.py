"""Tables in the layout of the papers that the report room has no layout for. No statistics."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from spatial_agglo.agglomeration import CompositeIndex
from spatial_agglo.impacts import Impacts
from spatial_agglo.mechanisms.mediation import Mediation
from spatial_agglo.models.results import FitResult
from spatial_agglo.report.describe import settings
from spatial_agglo.report.formats import LEGEND, number, p_text, stars
from spatial_agglo.report.table import Table

_EFFECTS = ("direct", "indirect", "total")


def indicator_table(
    index: CompositeIndex, labels: Mapping[str, str], dimensions: Mapping[str, str], title: str
) -> Table:
    """Lay out indicators with their direction and weights, overall and within dimensions."""
    weights = index.weights
    body = pd.DataFrame(
        {
            "Attributes": weights["direction"].tolist(),
            "Overall weights": [number(w, 3) for w in weights["weight"]],
            "Individual weights": [number(w, 3) for w in weights["weight_in_group"]],
        },
        index=pd.MultiIndex.from_arrays(
            [
                [dimensions[g] for g in weights["group"]],
                [labels[name] for name in weights.index],
            ],
            names=["Primary indicators", "Secondary indicators"],
        ),
        dtype=object,
    )
    notes = (
        f"{index.method[:1].upper()}{index.method[1:]}. Overall weights sum to one, individual "
        "weights to one within a primary indicator.",
    )
    return Table(title, body, notes)


def bootstrap_table(found: Mediation, title: str) -> Table:
    """Lay out indirect and direct effect with bias-corrected intervals."""
    interval = f"The {100 * found.level:g}% bias-corrected interval"
    columns: dict[tuple[str, str], list[str]] = {
        ("", "Mediating variable"): [],
        ("", "Effect size"): [],
        ("", "Bootstrap s.e."): [],
        (interval, "Lower limit"): [],
        (interval, "Upper limit"): [],
    }
    rows = []
    names = [f"indirect via {name}" for name in found.mediators]
    for effect, mediator in [*zip(names, found.mediators, strict=True), ("direct", "")]:
        line = found.effects.loc[effect]
        rows.append("Direct effect" if effect == "direct" else "Indirect effect")
        cells = [
            mediator or ", ".join(found.mediators),
            number(line["estimate"], 4),
            *(number(line[name], 4) for name in ("std_error", "bc_lower", "bc_upper")),
        ]
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    body = pd.DataFrame(columns, dtype=object)
    body.index = pd.Index(rows, name=found.outcome)
    # An outcome above the rows is the explained variable, as the papers have it.
    notes = (
        f"Explained variable: {found.outcome}. {len(found.draws):,} resamples of entities, each "
        "with its whole path over time.",
        found.verdict,
    )
    return Table(title, body, notes)


def sdm_table(fit: FitResult, impacts: Impacts, title: str) -> Table:
    """Lay out an SDM as one row per regressor: main, Wx, direct, indirect, total."""
    effects = impacts.to_frame()
    names = [name for name in fit.names if f"W*{name}" in fit.names]
    heads = [("(1)", "Main"), ("(2)", "Wx")]
    heads += [(f"({k})", effect.capitalize()) for k, effect in enumerate(_EFFECTS, 3)]
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name in names:
        found = [(fit.params[n], fit.std_errors[n], fit.pvalues[n]) for n in (name, f"W*{name}")]
        found += [
            tuple(effects.loc[(effect, name), ["estimate", "se", "p_value"]]) for effect in _EFFECTS
        ]
        rows["", name, "estimate"] = [number(b, 3) + stars(p) for b, _, p in found]
        rows["", name, "t"] = [f"({number(b / se, 2, scientific=False)})" for b, se, _ in found]
    empty = [""] * 4
    rho = fit.params["rho"]
    rows["Fit", "rho", "estimate"] = [number(rho, 3) + stars(fit.pvalues["rho"]), *empty]
    rows["Fit", "rho", "t"] = [f"({number(rho / fit.std_errors['rho'], 2)})", *empty]
    rows["Fit", "sigma2", "estimate"] = [number(fit.params["sigma2"], 3), *empty]
    rows["Fit", "N", "value"] = [f"{fit.nobs:,}"] * 5
    body = pd.DataFrame.from_dict(rows, orient="index", dtype=object)
    body.index = _in_order(list(rows), ["block", "term", "statistic"])
    body.columns = pd.MultiIndex.from_tuples(heads)
    notes = (f"z statistics in parentheses. {LEGEND}", *settings({"": fit}))
    return Table(title, body, notes, footer="Fit")


def compared_table(
    frame: pd.DataFrame, printed: Mapping[str, Sequence[float]], title: str, note: str
) -> Table:
    """Lay out printed moments of variables beside those of the data at hand."""
    heads = ("Mean", "Sd", "Min", "Max")
    lines = {}
    for name, values in printed.items():
        own = frame[name].agg(["mean", "std", "min", "max"])
        lines[name] = [number(v, 2) for pair in zip(values, own, strict=False) for v in pair]
    columns = [(head, which) for head in heads for which in ("printed", "here")]
    body = pd.DataFrame.from_dict(lines, orient="index", dtype=object)
    body.columns = pd.MultiIndex.from_tuples(columns)
    body.index.name = "Variable"
    return Table(title, body, (note,))


def led_by(table: Table, terms: Sequence[str]) -> Table:
    """Return a table of regressions with the rows of some terms first, in this order."""
    keys = list(table.body.index)
    place = {term: k for k, term in enumerate(terms)}
    block = keys[0][0]
    order = sorted(
        range(len(keys)),
        key=lambda k: (
            keys[k][0] != block,
            place.get(keys[k][1], len(place)) if keys[k][0] == block else 0,
        ),
    )
    body = table.body.iloc[order]
    body.index = _in_order([keys[k] for k in order], list(table.body.index.names))
    return replace(table, body=body)


def of_tests(frame: pd.DataFrame, title: str, notes: Sequence[str]) -> Table:
    """Lay out tests: statistic with stars, degrees of freedom, p value."""
    lines = {}
    for name, row in frame.iterrows():
        p = float(row["p_value"])
        df = row["df"]
        lines[str(name)] = [
            number(row["statistic"], 3) + stars(p),
            "" if pd.isna(df) else f"{int(df)}",
            p_text(p),
        ]
    body = pd.DataFrame.from_dict(lines, orient="index", columns=["Statistic", "df", "p"])
    body.index.name = "Test"
    return Table(title, body.astype(object), (LEGEND, *notes))


def _in_order(keys: Sequence[tuple[str, ...]], names: list[Hashable]) -> pd.MultiIndex:
    """Make an index whose levels are in the order of the table, so that look-ups are fast."""
    levels = [list(dict.fromkeys(parts)) for parts in zip(*keys, strict=True)]
    codes = [
        [level.index(part) for part in parts]
        for level, parts in zip(levels, zip(*keys, strict=True), strict=True)
    ]
    return pd.MultiIndex(levels=levels, codes=codes, names=names)
