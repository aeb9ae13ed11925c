"""From results to pictures of a column's width. matplotlib is imported where it is used."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.core.moments import lag
from spatial_agglo.errors import DataError, OptionError, check_made, listing, plain
from spatial_agglo.esda import moran
from spatial_agglo.panel import Panel, numeric
from spatial_agglo.report.describe import require_moran
from spatial_agglo.report.files import make_folder, not_written
from spatial_agglo.report.formats import in_words, period_text
from spatial_agglo.report.labels import Labeller
from spatial_agglo.report.style import (
    BESIDE,
    COLOURS,
    GREY,
    INK,
    MARKERS,
    PALE,
    SMALL,
    TEXT,
    WIDTH,
    along,
    axes,
    broken,
    finish,
    legend_above,
    legend_columns,
    period_positions,
    whole_ticks,
)
from spatial_agglo.weights.matrix import as_weights
from spatial_agglo.weights.panel_weights import PanelWeights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from spatial_agglo.impacts import Impacts

#: A band of so many standard deviations, and the level at which periods are marked.
DEVIATIONS, LEVEL = 1.96, 0.05


def moran_scatter(
    panel: Panel,
    variable: Hashable,
    W: Any,
    *,
    time: Hashable,
    ax: Axes | None = None,
    label: int | Sequence[Hashable] = 5,
    within: tuple[NDArray, NDArray] | None = None,
) -> Axes:
    """Plot a variable against its spatial lag in one period; the slope is Moran's I.

    Parameters
    ----------
    panel : Panel
    variable : column name
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
        Matched by label. The lag is scaled by ``N / S0``, which is 1 for row-standardised
        weights, so that the slope is I for any weights.
    time : label of a period
    ax : Axes, optional
        Where to draw; a new figure of a column's width by default.
    label : int or list of entities
        Name so many of the units that lie farthest out, or the units listed.
    within : pair of arrays, optional
        Points (x and y) for which the axes leave room, for several plots on the same scale;
        those of the plot itself by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        The panel has no such period, variable or unit.
    OptionError
        ``label`` is a negative number.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> ax = moran_scatter(panel, "logc", W, time=1992, ax=Figure().add_subplot())
    >>> ax.get_xlabel()
    'logc, 1992 (standard deviations)'
    """
    found, z, wz = scatter_points(panel, variable, W, time)
    named = _chosen(panel.entities, z, wz, label)

    ax = axes(ax, (WIDTH, 3.0))
    statistic = float(found["I"])
    ends = np.array([z.min(), z.max()])
    ax.axhline(0.0, color=GREY, lw=0.6, ls=(0, (4, 3)), zorder=1)
    ax.axvline(0.0, color=GREY, lw=0.6, ls=(0, (4, 3)), zorder=1)
    ax.plot(ends, wz.mean() + statistic * ends, color=COLOURS[1], lw=1.4, zorder=2)
    ax.plot(z, wz, "o", ms=4, mfc=COLOURS[0], mec="white", mew=0.5, zorder=3)
    ax.set_xlabel(along(f"{variable}, {period_text(time)}", "standard deviations"))
    ax.set_ylabel(along(f"Spatial lag of {variable}", "standard deviations"))
    finish(ax)
    _widen(ax, *((z, wz) if within is None else within))
    labels = Labeller(ax, z, wz, line=(ends, wz.mean() + statistic * ends))
    for where, name in (("ur", "HH"), ("ul", "LH"), ("ll", "LL"), ("lr", "HL")):
        labels.corner(where, name, color=GREY, size=TEXT, weight="bold")
    # The corner that the slope leaves empty.
    free = "lr" if statistic >= 0 else "ur"
    text = f"I = {statistic:.3f}\n{in_words(float(found['p_value']))}".replace("-", "−")
    labels.corner(free, text, color=INK, size=TEXT, below="HL" if free == "lr" else "HH")
    for i in named:
        labels.point(i, str(panel.entities[i]), color=INK, size=SMALL)
    return ax


def scatter_points(
    panel: Panel, variable: Hashable, W: Any, time: Hashable
) -> tuple[pd.Series, NDArray, NDArray]:
    """Return Moran's I of one period, and the standardised variable and its spatial lag."""
    check_made(panel, "entities", "sa.Panel")
    if time not in panel.times:
        raise DataError(f"The panel has no period {time!r}; it has {listing(panel.times, 40)}.")
    x = panel.arrange(numeric(panel.frame, variable))[panel.times.get_loc(time)]
    if np.isnan(x).any():
        raise DataError(
            f"{variable!r} is missing in period {plain(time)!r} for "
            f"{listing(panel.entities[np.isnan(x)])}; Moran's I of a period needs every unit. "
            "Choose another period, or leave these units out of the panel and of W."
        )
    weights = W[time] if isinstance(W, PanelWeights) else as_weights(W)
    weights = weights.align(panel.entities)
    found = moran(pd.DataFrame({variable: x}, index=panel.entities), variable, weights).iloc[0]
    z = (x - x.mean()) / x.std()
    wz = lag(weights.operator, z[None, :])[0] * (weights.n / float(weights.matrix.sum()))
    return found, z, wz


def moran_over_time(
    frame: pd.DataFrame,
    *,
    variables: Sequence[Hashable] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot Moran's I by period, with the band in which it lies when there is no dependence.

    The band is the widest of the variables' ``E[I] ± 1.96 s.d.``; filled markers are periods
    whose own p value is below 0.05.

    Parameters
    ----------
    frame : DataFrame
        From :func:`spatial_agglo.esda.moran`.
    variables : list, optional
        Which to draw; all by default, at most seven.
    ax : Axes, optional
        Where to draw; a new figure of a column's width by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        A variable is not in the frame, or there are more than seven.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> frame = sa.esda.moran(panel, ["logc", "logp"], W)
    >>> moran_over_time(frame, ax=Figure().add_subplot()).get_ylabel()
    "Moran's I"
    """
    names = _drawn(frame, variables)
    periods = frame.index.unique(1)
    parts = [frame.xs(name, level=0).reindex(periods) for name in names]
    at, ticks = period_positions(periods)
    ax = axes(ax, (WIDTH, 2.5))
    _null_band(ax, at, parts)
    for part, colour, marker in zip(parts, COLOURS, MARKERS, strict=False):
        values, sure = part["I"].to_numpy(), (part["p_value"] < LEVEL).to_numpy()
        ax.plot(at, values, color=colour, lw=1.1, zorder=3)
        for shown, face in ((sure, colour), (~sure, "white")):
            marks = ax.plot(at[shown], values[shown], ls="", color=colour, marker=marker, zorder=3)
            marks[0].set(markerfacecolor=face, markersize=3.6, markeredgewidth=0.8)
    if ticks is not None:
        step = max(1, len(at) // 6)
        ax.set_xticks(at[::step], ticks[::step])
    else:
        whole_ticks(ax, at)
    name = str(frame.index.names[1])
    ax.set_xlabel(name[:1].upper() + name[1:])
    ax.set_ylabel("Moran's I")
    finish(ax)
    _moran_legend(ax, names)
    return ax


def impacts_plot(impacts: Impacts, *, ax: Axes | None = None) -> Axes:
    """Plot direct, indirect and total effects with their intervals.

    Parameters
    ----------
    impacts : Impacts
        From ``fit.impacts()``.
    ax : Axes, optional
        Where to draw; a new figure of a column's width by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> effects = sa.sdm("logc ~ logp + logy", panel, W).impacts()
    >>> impacts_plot(effects, ax=Figure().add_subplot()).get_xlabel()
    'Average effect and 95% interval'
    """
    check_made(impacts, "total", "fit.impacts")
    frame = impacts.to_frame()
    names = list(impacts.names)
    ax = axes(ax, impacts_size(impacts))
    ax.axvline(0.0, color=GREY, lw=0.6, ls=(0, (4, 3)), zorder=1)
    rows = np.arange(len(names), dtype=float)
    for j, effect in enumerate(frame.index.unique(0)):
        part = frame.loc[effect].loc[names]
        point = part["estimate"].to_numpy()
        ends = np.vstack([point - part["lower"], part["upper"] - point]).clip(min=0.0)
        ax.errorbar(
            point,
            rows + 0.24 * (j - 1),
            xerr=ends,
            fmt=MARKERS[j],
            color=COLOURS[j],
            ms=4.2,
            elinewidth=1.3,
            capsize=0,
            label=str(effect).capitalize(),
            zorder=3,
        )
    ax.set_yticks(rows, [broken(name, BESIDE) for name in names])
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.set_xlabel(f"Average effect and {impacts.level:.0%} interval")
    finish(ax)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0, labelsize=TEXT)
    ax.margins(x=0.04)
    legend_above(ax, *ax.get_legend_handles_labels(), columns=3)
    return ax


def impacts_size(impacts: Impacts) -> tuple[float, float]:
    """Return width and height, in inches, of a picture of so many effects."""
    return WIDTH, 0.95 + 0.55 * len(impacts.names)


def save(figure: Figure, folder: str | PathLike[str], stem: str) -> list[Path]:
    """Write a picture as ``stem.png`` (300 dpi) and ``stem.svg``.

    The same picture gives the same bytes: no dates, fixed identifiers, letters as outlines.

    Parameters
    ----------
    figure : Figure
    folder : path
        Made if it is not there.
    stem : str

    Returns
    -------
    list of Path

    Raises
    ------
    OutputError
        The folder or a file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from matplotlib.figure import Figure
    >>> with tempfile.TemporaryDirectory() as place:
    ...     [path.name for path in save(Figure(), place, "empty")]
    ['empty.png', 'empty.svg']
    """
    import matplotlib as mpl

    check_made(figure, "savefig", "matplotlib.pyplot.figure")
    place = make_folder(folder)
    paths = [place / f"{stem}.png", place / f"{stem}.svg"]
    with mpl.rc_context({"svg.hashsalt": "spatial_agglo", "svg.fonttype": "path"}):
        for path, metadata in zip(paths, ({"Software": None}, {"Date": None}), strict=True):
            try:
                figure.savefig(path, dpi=300, metadata=metadata)
            except OSError as error:
                raise not_written(path, error) from error
    return paths


# --- helpers ------------------------------------------------------------------------------


def _widen(ax: Axes, x: NDArray, y: NDArray) -> None:
    """Follow the data and the centre, with room for the labels of points and corners."""
    for values, set_limits in ((x, ax.set_xlim), (y, ax.set_ylim)):
        low, high = min(values.min(), 0.0), max(values.max(), 0.0)
        if low == high:
            low, high = -1.0, 1.0
        set_limits(low - 0.12 * (high - low), high + 0.12 * (high - low))


def _chosen(
    entities: pd.Index, z: NDArray, wz: NDArray, label: int | Sequence[Hashable]
) -> list[int]:
    """Positions of the units to name: the farthest from the centre, or those listed."""
    if isinstance(label, (int, np.integer)):
        if label < 0:
            raise OptionError(f"label={label!r} must be a number of units, 0 or more, or a list.")
        spread = wz.std() or 1.0
        distance = z**2 + ((wz - wz.mean()) / spread) ** 2
        return [int(i) for i in np.argsort(-distance, kind="stable")[: int(label)]]
    names = [label] if isinstance(label, str) else list(label)
    at = entities.get_indexer(pd.Index(names))
    if (at < 0).any():
        unknown = [name for name, i in zip(names, at, strict=True) if i < 0]
        raise DataError(f"The panel has no unit {listing(unknown)} to label.")
    return [int(i) for i in at]


def _drawn(frame: pd.DataFrame, variables: Sequence[Hashable] | None) -> list[Hashable]:
    """Return the variables to draw, or raise if they are not there or too many."""
    require_moran(frame)
    known = frame.index.unique(0)
    names = list(known) if variables is None else list(variables)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(f"The frame has no variable {listing(unknown)}; it has {listing(known)}.")
    if not 0 < len(names) <= len(COLOURS):
        raise DataError(
            f"A picture takes 1 to {len(COLOURS)} lines that can be told apart; got {len(names)}. "
            "Name fewer with variables=[...]."
        )
    return names


def _null_band(ax: Axes, at: NDArray, parts: Sequence[pd.DataFrame]) -> None:
    """Draw where I lies without dependence: the widest interval of the variables."""
    expected = parts[0]["expected"].to_numpy()
    variances = [part["variance"].to_numpy() for part in parts]
    half = DEVIATIONS * np.sqrt(np.max(variances, axis=0))
    ax.fill_between(at, expected - half, expected + half, color=PALE, lw=0, zorder=1)
    known = np.concatenate([[False], np.isfinite(half), [False]])
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    if alone.any():  # between periods without a value a band has no width
        ends = half[alone]
        ax.errorbar(
            at[alone], expected[alone], yerr=ends, fmt="none", ecolor=PALE, elinewidth=8, zorder=1
        )
    ax.plot(at, expected, color=GREY, lw=0.6, ls=(0, (4, 3)), zorder=2)


def _moran_legend(ax: Axes, names: Sequence[Hashable]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    lines = [
        Line2D([], [], color=colour, marker=marker, ms=3.6, lw=1.1)
        for _, colour, marker in zip(names, COLOURS, MARKERS, strict=False)
    ]
    filled = Line2D([], [], ls="", color=GREY, marker="o", ms=3.6)
    null = (Patch(facecolor=PALE), Line2D([], [], color=GREY, lw=0.6, ls=(0, (4, 3))))
    key = legend_above(
        ax, [filled, null], [f"Filled: p < {LEVEL:g}", "Null: E[I], 95% interval"], columns=2
    )
    # A second legend replaces the first unless it is kept by hand.
    ax.add_artist(key)
    labels = [broken(str(name), BESIDE) for name in names]
    legend_above(ax, lines, labels, columns=legend_columns(labels), lift=SMALL + 5.0)
