"""The path to a model as a decision tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import pandas as pd

from spatial_agglo.errors import OptionError
from spatial_agglo.report.style import COLOURS, GREY, INK, SMALL, TEXT, axes
from spatial_agglo.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from spatial_agglo.diagnostics.choose import Choice
    from spatial_agglo.diagnostics.path import DecisionPath, Question, Step

__all__ = ["decision_size", "decision_table", "decision_tree"]

#: Inches: a box with a question, one with a model, gaps between and below boxes, a line of text,
#: the margin inside a box.
WIDE, NARROW, GAP, DROP, LINE, PAD = 1.92, 0.62, 0.14, 0.42, 0.135, 0.075
#: Letters of a question that fit in a line.
LETTERS = 29
#: The face of what was taken.
TAKEN = "#E5F0F7"
#: The edge of what was not.
FAINT = "#B8B8B8"


def decision_tree(path: DecisionPath | Choice, *, ax: Axes | None = None) -> Axes:
    """Draw the questions of a strategy, with the evidence on those that were asked.

    The way that was taken is drawn in colour, the others in grey.

    Parameters
    ----------
    path : DecisionPath or Choice
        ``choose_model(...).path``, or what ``choose_model`` returned.
    ax : Axes, optional
        Where to draw, of the size that :func:`decision_size` gives; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    OptionError
        ``path`` is neither.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> path = sa.choose_model("logc ~ logp + logy", panel, W).path
    >>> ax = decision_tree(path, ax=Figure(figsize=decision_size(path)).add_subplot())
    >>> "SDM" in [text.get_text() for text in ax.texts]
    True
    """
    path = _path(path)
    root = _laid_out(path)
    width, height = decision_size(path)
    notes = _notes(path, width)
    ax = axes(ax, (width, height))
    ax.set_axis_off()
    ax.set_aspect("equal")
    ax.set_xlim(0.0, width)
    ax.set_ylim(height, 0.0)
    for place in root.everything():
        for child in place.children:
            _connect(ax, place, child)
    for place in root.everything():
        _draw(ax, place)
    for count, line in enumerate(reversed(notes), start=1):
        y = height - GAP - LINE * (count - 0.5)
        ax.text(GAP, y, line, fontsize=SMALL, color=INK, va="center")
    return ax


def decision_size(path: DecisionPath | Choice) -> tuple[float, float]:
    """Return width and height, in inches, of the picture of a path."""
    path = _path(path)
    root = _laid_out(path)
    places = list(root.everything())
    width = max(place.x + 0.5 * place.width for place in places) + GAP
    height = max(place.y + place.height for place in places) + GAP
    notes = _notes(path, width)
    return width, height + (LINE * len(notes) + GAP if notes else 0.0)


def _path(path: DecisionPath | Choice) -> DecisionPath:
    """Return the path, also of a choice."""
    from spatial_agglo.diagnostics.choose import Choice
    from spatial_agglo.diagnostics.path import DecisionPath

    found = path.path if isinstance(path, Choice) else path
    if not isinstance(found, DecisionPath):
        raise OptionError(
            "The path of a choice is needed, sa.choose_model(...).path; got "
            f"{type(found).__name__}."
        )
    return found


def _notes(path: DecisionPath, width: float) -> list[str]:
    """Return what disagrees, in lines that fit below the tree."""
    text = " ".join(path.disagreements)
    return wrap(f"Disagreement: {text}", int(17.0 * width)) if text else []


def decision_table(path: DecisionPath | Choice) -> Table:
    """Lay out a path as a table, to be written as text, LaTeX, HTML or CSV.

    Parameters
    ----------
    path : DecisionPath or Choice

    Returns
    -------
    Table
        A block for each question; rows are the evidence.

    Raises
    ------
    OptionError
        It is neither.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> table = decision_table(sa.choose_model("logc ~ logp + logy", panel, W).path)
    >>> table.body.iloc[0].tolist()
    ['60.41', '1', '<0.001', 'yes']
    """
    from spatial_agglo.report.formats import number, p_text

    path = _path(path)
    rows: dict[tuple[str, str], list[str]] = {}
    for count, step in enumerate(path.steps, start=1):
        for item in step.evidence:
            tested = item.p_value is not None
            rows[f"{count}. {step.question.text}", item.name] = [
                number(item.value, 2) if tested else item.text,
                "" if item.df is None else str(item.df),
                p_text(item.p_value) if item.p_value is not None else "",
                step.answer if item is step.evidence[0] else "",
            ]
    body = pd.DataFrame.from_dict(
        rows, orient="index", columns=["Value", "df", "p-value", "Answer"], dtype=object
    )
    body.index = pd.MultiIndex.from_tuples(list(rows), names=["question", "evidence"])
    return Table(path.title, body, (f"Verdict: {' '.join(path.sentences)}",))


# --- layout -------------------------------------------------------------------------------


@dataclass
class _Place:
    """A box of the tree: where it stands (centre of its upper edge, inches) and what is in it."""

    question: Question | None
    model: str
    branch: str
    taken: bool
    lines: list[tuple[str, str]]
    children: list[_Place]
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        return NARROW if self.question is None else WIDE

    @property
    def height(self) -> float:
        return 2.0 * PAD + LINE * (len(self.lines) + (0.25 if self._parted else 0.0))

    @property
    def _parted(self) -> bool:
        return any(right for _, right in self.lines)

    @property
    def span(self) -> float:
        inner = sum(child.span for child in self.children) + GAP * max(len(self.children) - 1, 0)
        return max(self.width, inner)

    def everything(self) -> Iterator[_Place]:
        yield self
        for child in self.children:
            yield from child.everything()


def _laid_out(path: DecisionPath) -> _Place:
    root = _place(path, path.tree[0].key, "", 0, True)
    _set(root, GAP, GAP)
    return root


def _place(path: DecisionPath, key: str, branch: str, depth: int, taken: bool) -> _Place:
    question = path.question(key)
    step = path.steps[depth] if taken and depth < len(path.steps) else None
    if question is None:
        ranking = path.question("ranking")
        value = ""
        if ranking is not None:
            evidence = path.steps[0].evidence
            value = next(item.text for item in evidence if item.name == key.upper())
        lines = [(key.upper(), "")] + [(_minus(value), "")] * bool(value)
        return _Place(None, key, "" if ranking else branch, taken, lines, [])
    children = [
        _place(path, to.to, to.answer, depth + 1, step is not None and step.taken.to == to.to)
        for to in question.branches
    ]
    return _Place(question, "", branch, taken, _lines(question, step, path), children)


def _lines(question: Question, step: Step | None, path: DecisionPath) -> list[tuple[str, str]]:
    # formulas are not broken
    text = question.text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    text = text.replace(" ≠ ", "\N{NO-BREAK SPACE}≠\N{NO-BREAK SPACE}")
    text = text.replace(" + ", "\N{NO-BREAK SPACE}+\N{NO-BREAK SPACE}")
    lines = [(line, "") for line in wrap(text, LETTERS)]
    if step is None or path.strategy != "elhorst":
        return lines
    return lines + [(item.name, _minus(item.text)) for item in step.evidence]


def _set(place: _Place, left: float, top: float) -> None:
    """Put a box over its children, and these side by side from the left."""
    place.y = top
    place.x = left + 0.5 * place.span
    inner = sum(child.span for child in place.children) + GAP * max(len(place.children) - 1, 0)
    at = left + 0.5 * (place.span - inner)
    below = top + place.height + DROP
    for child in place.children:
        _set(child, at, below)
        at += child.span + GAP


# --- drawing ------------------------------------------------------------------------------


def _connect(ax: Axes, parent: _Place, child: _Place) -> None:
    """Draw the line to a child, and the answer beside it."""
    colour, width = (COLOURS[0], 1.6) if child.taken else (FAINT, 0.8)
    bend = parent.y + parent.height + 0.3 * DROP
    ax.plot(
        [parent.x, parent.x, child.x, child.x],
        [parent.y + parent.height, bend, bend, child.y],
        color=colour,
        lw=width,
        solid_joinstyle="round",
        zorder=2 if child.taken else 1,
    )


def _draw(ax: Axes, place: _Place) -> None:
    from matplotlib.patches import FancyBboxPatch

    ink = INK if place.taken else GREY
    chosen = place.question is None and place.taken
    face = COLOURS[0] if chosen else (TAKEN if place.taken else "white")
    round_box: Any = f"round,pad=0,rounding_size={0.13 if chosen else 0.05}"
    ax.add_patch(
        FancyBboxPatch(
            (place.x - 0.5 * place.width, place.y),
            place.width,
            place.height,
            boxstyle=round_box,
            facecolor=face,
            edgecolor=COLOURS[0] if place.taken else FAINT,
            linewidth=0.9,
            zorder=3,
        )
    )
    y = place.y + PAD + 0.5 * LINE
    before = ""
    for left, right in place.lines:
        if right and not before and place.question is not None:
            y += 0.25 * LINE
        before = right
        style: dict[str, Any] = {"fontsize": SMALL, "color": ink, "va": "center", "zorder": 4}
        if place.question is None:
            style |= {"color": "white" if chosen else ink}
            if left == place.model.upper():
                style |= {"fontsize": TEXT, "fontweight": "bold"}
            ax.text(place.x, y, left, ha="center", **style)
        elif right:
            ax.text(place.x - 0.5 * place.width + PAD, y, left, ha="left", **style)
            ax.text(place.x + 0.5 * place.width - PAD, y, right, ha="right", **style)
        else:
            weight = "bold" if place.taken else "normal"
            ax.text(place.x, y, left, ha="center", fontweight=weight, **style)
        y += LINE
    if place.branch:
        ax.text(
            place.x,
            place.y - 0.34 * DROP,
            place.branch,
            ha="center",
            va="center",
            fontsize=SMALL,
            color=COLOURS[0] if place.taken else GREY,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2},
            zorder=3,
        )


def _minus(text: str) -> str:
    return text.replace("-", "−")
