"""Pictures of a composite index: its top units over time, and one period's ranking."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import DataError, OptionError, check_made
from spatial_agglo.report.formats import period_text
from spatial_agglo.report.style import (
    BESIDE,
    COLOURS,
    GREY,
    INK,
    MARKERS,
    PALE,
    SMALL,
    WIDTH,
    axes,
    broken,
    finish,
    period_positions,
    root_figure,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from spatial_agglo.agglomeration import CompositeIndex

#: More lines than this cannot be told apart, even with their names beside them.
MOST = 15
#: Height of a name beside a line, and of a row of a ranking, points.
LINE, ROW = SMALL + 1.5, SMALL + 3.0


def composite_over_time(
    index: CompositeIndex,
    *,
    top: int = 10,
    time: Hashable | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the scores of the top units over time, their names beside the lines.

    Parameters
    ----------
    index : CompositeIndex
        From :func:`spatial_agglo.agglomeration.composite_index`, over two or more periods.
    top : int
        How many units, 1 to 15; the others are drawn pale, without a name.
    time : label of a period, optional
        In whose ranking they are the top; the last by default.
    ax : Axes, optional
        Where to draw; a new figure of a column's width by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        There is no such period, or only one.
    OptionError
        ``top`` is not between 1 and 15.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> from spatial_agglo.agglomeration import composite_index
    >>> df = pd.DataFrame({"city": ["a", "b"] * 2, "year": [2001, 2001, 2002, 2002],
    ...                    "patents": [1.0, 3.0, 2.0, 5.0]})
    >>> index = composite_index(df, positive=["patents"], entity="city", time="year")
    >>> composite_over_time(index, top=1, ax=Figure().add_subplot()).get_xlabel()
    'Year'
    """
    if isinstance(top, bool) or not isinstance(top, (int, np.integer)) or not 1 <= top <= MOST:
        raise OptionError(f"top={top!r} must be a number of units, 1 to {MOST}.")
    check_made(index, "ranking", "composite_index")
    times = index.times
    if len(times) < 2:
        raise DataError(
            "Scores over time need two or more periods; there is one. Use plot_ranking()."
        )
    table = index.scores.unstack(level=0).reindex(times)
    ranked = index.ranking(times[-1] if time is None else time)
    chosen = list(ranked.index[:top])
    at, ticks = period_positions(times)
    shown = {name: broken(str(name), BESIDE) for name in chosen}
    lines = sum(text.count("\n") + 1 for text in shown.values())
    ax = axes(ax, (WIDTH, max(2.6, 0.9 + 1.3 * lines * LINE / 72.0)))
    for name in table.columns.difference(chosen, sort=False):
        ax.plot(at, table[name].to_numpy(), color=PALE, lw=0.7, zorder=1)
    colours = [COLOURS[k % len(COLOURS)] for k in range(len(chosen))]
    for k, name in enumerate(chosen):
        marker = MARKERS[(k + k // len(COLOURS)) % len(MARKERS)]
        ax.plot(
            at, table[name].to_numpy(), color=colours[k], lw=1.2, ms=2.8, marker=marker,
            mfc=colours[k] if k < len(COLOURS) else "white", mew=0.7, zorder=3, clip_on=False,
        )  # fmt: skip
    if ticks is not None:
        step = max(1, len(at) // 6)
        ax.set_xticks(at[::step], ticks[::step])
    else:
        whole_ticks(ax, at)
    ax.set_xlim(at.min(), at.max())
    ax.margins(y=0.06)
    label = str(times.name)
    ax.set_xlabel(label[:1].upper() + label[1:])
    ax.set_ylabel(_label(index))
    finish(ax)
    _names_beside(ax, table[chosen], colours, shown)
    return ax


def composite_ranking(
    index: CompositeIndex,
    *,
    time: Hashable | None = None,
    top: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the scores of one period in order, the best on top.

    Parameters
    ----------
    index : CompositeIndex
        From :func:`spatial_agglo.agglomeration.composite_index`.
    time : label of a period, optional
        The last by default.
    top : int, optional
        How many units; all by default.
    ax : Axes, optional
        Where to draw; a new figure of a column's width by default, as high as it takes.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        There is no such period.
    OptionError
        ``top`` is not a positive number.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> from spatial_agglo.agglomeration import composite_index
    >>> df = pd.DataFrame({"city": ["a", "b"], "patents": [1.0, 3.0]})
    >>> index = composite_index(df, positive=["patents"], entity="city")
    >>> ax = composite_ranking(index, ax=Figure().add_subplot())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['b', 'a']
    """
    whole = isinstance(top, (int, np.integer)) and not isinstance(top, bool)
    if top is not None and not (whole and top >= 1):
        raise OptionError(f"top={top!r} must be a number of units, 1 or more, or None.")
    check_made(index, "ranking", "composite_index")
    times = index.times
    when = times[-1] if time is None else time
    table = index.ranking(when).iloc[: None if top is None else int(top)]
    scores, rows = table[index.scores.name].to_numpy(), np.arange(len(table), dtype=float)
    names = [broken(str(name), BESIDE) for name in table.index]
    lines = max(name.count("\n") + 1 for name in names)
    ax = axes(ax, (WIDTH, 0.7 + len(names) * lines * ROW / 72.0))
    ax.axvline(0.0, color=GREY, lw=0.6, zorder=1)
    ax.hlines(rows, 0.0, scores, color=PALE, lw=2.0, zorder=1)
    ax.plot(scores, rows, "o", ms=3.6, color=COLOURS[0], zorder=3)
    ax.set_yticks(rows, names)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set_xlabel(_label(index) if len(times) == 1 else f"{_label(index)}, {period_text(when)}")
    finish(ax)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return ax


# --- helpers ------------------------------------------------------------------------------


def _label(index: CompositeIndex) -> str:
    return str(index.scores.name)


def _names_beside(ax: Axes, table: pd.DataFrame, colours: list[str], shown: dict[Any, str]) -> None:
    """Write every name at the right end of its line, moved apart where they would overlap."""
    ends = table.ffill().iloc[-1].to_numpy()  # a unit may end before the last period
    texts = [
        ax.annotate(
            shown[name], (1.0, end), xytext=(9.0, 0.0), xycoords=ax.get_yaxis_transform(),
            textcoords="offset points", va="center", fontsize=SMALL, color=INK,
            annotation_clip=False,
        )
        for name, end in zip(table.columns, ends, strict=True)
    ]  # fmt: skip
    figure = root_figure(ax)
    figure.draw_without_rendering()  # the layout makes room for the names, and moves the axes
    pixel = figure.dpi / 72.0
    height = ax.transData.transform(np.column_stack([np.zeros(ends.size), ends]))[:, 1] / pixel
    low, high = ax.transAxes.transform([[0.0, 0.0], [0.0, 1.0]])[:, 1] / pixel
    sizes = np.array([text.get_window_extent().height for text in texts]) / pixel + LINE - SMALL
    placed = spread_apart(height, np.maximum(sizes, LINE), (low - LINE / 2, high + LINE / 2))
    for k, (text, colour) in enumerate(zip(texts, colours, strict=True)):
        shift = placed[k] - height[k]
        text.set_position((9.0, shift))
        ax.annotate(
            "", (1.0, ends[k]), xytext=(8.0, shift),
            xycoords=ax.get_yaxis_transform(), textcoords="offset points", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.8, "shrinkA": 0, "shrinkB": 1},
        )  # fmt: skip


def spread_apart(wanted: NDArray, sizes: NDArray, room: tuple[float, float]) -> NDArray:
    """Return where things of these sizes stand without overlap, in order and close to ``wanted``.

    Positions are of centres; the things are inside the room if there is enough of it.

    Examples
    --------
    >>> spread_apart(np.array([5.0, 5.0, 20.0]), np.full(3, 2.0), (0.0, 30.0)).tolist()
    [4.0, 6.0, 20.0]
    """
    order = np.argsort(wanted, kind="stable")
    sizes = sizes[order]
    steps = np.concatenate([[0.0], np.cumsum((sizes[1:] + sizes[:-1]) / 2.0)])
    # What is wanted less the steps must not decrease: the least-squares answer pools neighbours.
    blocks: list[tuple[float, int]] = []
    for value in wanted[order] - steps:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m), (b, n) = blocks[-2], blocks[-1]
            blocks[-2:] = [((a * m + b * n) / (m + n), m + n)]
    level = np.repeat([value for value, _ in blocks], [n for _, n in blocks])
    bottom, top = room[0] + sizes[0] / 2.0, room[1] - sizes[-1] / 2.0 - steps[-1]
    if top >= bottom:
        level = np.clip(level, bottom, top)
    placed = np.empty(wanted.size)
    placed[order] = level + steps
    return placed
