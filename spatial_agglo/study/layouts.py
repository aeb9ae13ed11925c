"""Tables in the layout of the papers that the report room has no layout for. No statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from spatial_agglo.agglomeration import CompositeIndex
from spatial_agglo.mechanisms.mediation import Mediation
from spatial_agglo.report.formats import LEGEND, in_row, number, p_text, stars
from spatial_agglo.report.table import Table


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
        write = in_row(line[["estimate", "std_error"]], 4)
        rows.append("Direct effect" if effect == "direct" else "Indirect effect")
        cells = [
            mediator or ", ".join(found.mediators),
            *map(write, line[["estimate", "std_error", "bc_lower", "bc_upper"]]),
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


def compared_table(
    frame: pd.DataFrame, printed: Mapping[str, Sequence[float]], title: str, note: str
) -> Table:
    """Lay out printed moments of variables beside those of the data at hand."""
    heads = ("Mean", "Sd", "Min", "Max")
    lines = {}
    for name, values in printed.items():
        own = frame[name].agg(["mean", "std", "min", "max"])
        write = in_row([*values[:2], *own[:2]], 2)
        lines[name] = [write(v) for pair in zip(values, own, strict=False) for v in pair]
    columns = [(head, which) for head in heads for which in ("printed", "here")]
    body = pd.DataFrame.from_dict(lines, orient="index", dtype=object)
    body.columns = pd.MultiIndex.from_tuples(columns)
    body.index.name = "Variable"
    return Table(title, body, (note,))


def of_tests(frame: pd.DataFrame, title: str, notes: Sequence[str]) -> Table:
    """Lay out tests: statistic with stars, degrees of freedom, p value."""
    lines = {}
    for name, row in frame.iterrows():
        p = float(row["p_value"])
        df = row["df"]
        lines[str(name)] = [
            number(row["statistic"], 3, scientific=False) + stars(p),
            "" if pd.isna(df) else f"{int(df)}",
            p_text(p),
        ]
    body = pd.DataFrame.from_dict(lines, orient="index", columns=["Statistic", "df", "p"])
    body.index.name = "Test"
    return Table(title, body.astype(object), (LEGEND, *notes))
