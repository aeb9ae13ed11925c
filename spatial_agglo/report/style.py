"""The house style of pictures: width, colours, sizes of letters, spines, legends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import OptionError
from spatial_agglo.report.formats import period_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

#: Width of a column of text, inches.
WIDTH = 3.4
#: Okabe & Ito's colours, told apart by all readers; and the greys of what is not data.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "<", ">")
INK, GREY, PALE = "#222222", "#767676", "#E4E4E4"
#: Sizes of letters, points.
TEXT, SMALL = 8.0, 7.0
#: Letters that fit along an axis, and beside one; points that a legend may take.
ALONG, BESIDE, ACROSS = 44, 20, 215.0


def new_figure(size: tuple[float, float]) -> Figure:
    """Return a figure that no window or notebook knows of, laid out without clipped text."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the caller's axes, or those of a new figure that notebooks show."""
    from matplotlib.axes import Axes as Kind

    if isinstance(ax, Kind):
        return ax
    if ax is not None:
        raise OptionError(f"ax must be matplotlib Axes; got {type(ax).__name__}.")
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]


def root_figure(ax: Axes) -> Figure:
    """Return the figure that axes are in, also from within a subfigure."""
    figure: Any = ax.figure
    while figure.figure is not figure:
        figure = figure.figure
    return figure  # type: ignore[no-any-return]


def finish(ax: Axes) -> None:
    """Set what all pictures have: two spines, letters that can be read at this width."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        ax.spines[side].set(linewidth=0.7, color=INK)
    ax.tick_params(labelsize=SMALL, width=0.7, length=2.5, colors=INK)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set(fontsize=TEXT, color=INK)


def period_positions(periods: pd.Index) -> tuple[NDArray, list[str] | None]:
    """Return where periods stand on an axis: numbers as they are, other labels one by one.

    Examples
    --------
    >>> period_positions(pd.Index([2001, 2003]))
    (array([2001., 2003.]), None)
    >>> period_positions(pd.Index(["spring", "autumn"]))
    (array([0., 1.]), ['spring', 'autumn'])
    """
    if pd.api.types.is_numeric_dtype(periods):
        return periods.to_numpy(dtype=float), None
    return np.arange(len(periods), dtype=float), [period_text(period) for period in periods]


def whole_ticks(ax: Axes, at: NDArray) -> None:
    """Write whole numbers along the horizontal axis if periods are such."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if np.all(at == np.round(at)):
        ax.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))


def along(label: str, unit: str) -> str:
    r"""Write the label of an axis and its unit, in as many lines as it takes.

    Examples
    --------
    >>> along("share_of_workers_in_manufacturing, 1992", "standard deviations")
    'share_of_workers_in_manufacturing, 1992\n(standard deviations)'
    """
    line = f"{label} ({unit})"
    return line if len(line) <= ALONG else f"{broken(label, ALONG)}\n({unit})"


def broken(name: str, width: int) -> str:
    r"""Break a long name after blanks, underscores and the like.

    Examples
    --------
    >>> broken("share_of_workers_in_manufacturing", 20)
    'share_of_workers_in_\nmanufacturing'
    """
    lines = [""]
    for part in re.findall(r"[^ _:*.,(]+[ _:*.,(]*|[ _:*.,(]+", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def legend_columns(labels: Sequence[str]) -> int:
    """Return the number of columns, at most four, in which a legend fits above the axes."""
    for columns in range(min(4, len(labels)), 1, -1):
        lengths = [max(map(len, label.split("\n"))) for label in labels]
        parts = np.array_split(np.array(lengths), columns)
        # A handle with its gaps, and the width of a small letter.
        if sum(30.0 + 0.6 * SMALL * int(part.max()) for part in parts) <= ACROSS:
            return columns
    return 1


def legend_above(ax: Axes, handles: Any, labels: Any, *, columns: int, lift: float = 0.0) -> Legend:
    """Put a legend above the axes, where it hides nothing, or so many points higher."""
    from matplotlib.transforms import ScaledTranslation

    up = ScaledTranslation(0.0, (lift + 2.0) / 72.0, root_figure(ax).dpi_scale_trans)
    return ax.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        bbox_transform=ax.transAxes + up,
        borderaxespad=0.0,
        borderpad=0.0,
        ncols=columns,
        fontsize=SMALL,
        labelcolor=INK,
        frameon=False,
        handlelength=1.8,
        columnspacing=1.2,
        handletextpad=0.5,
    )
