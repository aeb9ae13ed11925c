"""Pictures of weights: links on a map, the matrix, numbers of neighbours."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from spatial_agglo.errors import WeightsError, check_option, listing
from spatial_agglo.report.style import (
    ALONG,
    COLOURS,
    INK,
    PALE,
    SMALL,
    TEXT,
    WIDTH,
    axes,
    broken,
    finish,
    legend_above,
    legend_columns,
    root_figure,
)
from spatial_agglo.weights.describe import matched
from spatial_agglo.weights.labels import as_labels, unit_labels
from spatial_agglo.weights.matrix import SpatialWeights, as_weights

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes

#: Neighbours per unit, on average, up to which every link is drawn; else so many strongest.
CROWDED, STRONGEST = 16, 5
#: Lines above which they are drawn as pixels, also in a vector file.
PIXELS = 20_000
#: Rows and columns of a matrix up to which every cell is drawn; else so many blocks, which
#: is what can be told apart at a column's width.
CELLS = 300
#: Ratio of the largest to the smallest weight above which colours are logarithmic.
WIDE = 20.0
#: Units up to which a matrix carries their labels.
LABELLED = 16
#: Bars of a histogram, at most.
BARS = 40
ORDERS = ("label", "rcm")


def links_map(
    W: Any, geometry: Any, *, ids: Hashable | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the links of W as lines between the units on a map.

    Links in either direction are one line. Where units have more than 16 neighbours on average,
    only the 5 strongest links of each are drawn (of equal ones the shortest); the caption says
    so. Units without neighbours are ringed.

    Parameters
    ----------
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
        Matched by label.
    geometry : GeoDataFrame or GeoSeries
        Polygons or points of the same units. Lines run between representative points, which
        lie inside the polygons.
    ids : column label, optional
        Column with the labels of the units; the index when left out.
    ax : Axes, optional
        Where to draw; a new figure of a column's width by default.

    Returns
    -------
    Axes

    Raises
    ------
    AlignmentError
        Weights and map do not hold the same units; they are named.
    WeightsError
        No geometries, or units without one.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> states = sa.datasets.us_states("production")
    >>> W = sa.datasets.weights("us_production_queen")
    >>> ax = links_map(W, states, ids="state", ax=Figure().add_subplot())
    >>> ax.get_xlabel()
    '214 links of 48 units'
    """
    weights = as_weights(W)
    shapes = _shapes(geometry, ids, weights.ids)
    points = shapes.representative_point()
    xy = np.column_stack([points.x, points.y])
    stretch = _stretch(shapes)
    pairs, captions = _pairs(weights, xy * (1.0, stretch))
    alone = weights.ids.isin(weights.isolates)
    if alone.any():
        captions.append(f"{int(alone.sum()):,} without neighbours (rings)")
    left, bottom, right, top = shapes.total_bounds
    tall = (top - bottom) * stretch / (right - left) if right > left else 1.5
    ax = axes(ax, (WIDTH, WIDTH * float(np.clip(tall, 0.3, 1.5)) + 0.15 * len(captions)))
    areas = shapes[shapes.geom_type.isin(["Polygon", "MultiPolygon"])]
    if len(areas):
        areas.plot(ax=ax, color=PALE, edgecolor="white", linewidth=0.5, aspect=None, zorder=1)
    _draw_links(ax, xy, pairs)
    size = float(np.clip(30.0 / np.sqrt(weights.n), 0.8, 3.2))
    ax.plot(*xy.T, "o", ms=size, mfc=INK, mec="none", zorder=3)
    if alone.any():
        rings = ax.plot(*xy[alone].T, "o", ms=max(size + 2.5, 4.0), zorder=4)[0]
        rings.set(markerfacecolor="none", markeredgecolor=COLOURS[1])
    ax.set_aspect(stretch)
    finish(ax)
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[], ylabel="")
    _caption(ax, captions)
    return ax


def heat_map(
    W: Any, *, order: str | Sequence[Hashable] | pd.Index | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the matrix as a picture, row i and column j coloured by w_ij; zeros are white.

    The colours are logarithmic where the largest weight is more than 20 times the smallest.
    More than 300 units are drawn as 300 by 300 blocks, coloured by their mean weight.

    Parameters
    ----------
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
    order : {"label", "rcm"} or list of labels, optional
        "label": sorted. "rcm": reverse Cuthill-McKee, which brings neighbours together, so
        that structure shows near the diagonal; where units have more than 16 neighbours on
        average, it goes by the 5 strongest links of each. Left out: as W holds the units.
    ax : Axes, optional
        Where to draw; a new figure of a column's width by default.

    Returns
    -------
    Axes

    Raises
    ------
    AlignmentError
        A list that does not hold the units of W.
    OptionError
        Unknown order.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> W = sa.datasets.weights("us_production_queen")
    >>> ax = heat_map(W, order="rcm", ax=Figure().add_subplot())
    >>> ax.images[0].get_array().shape
    (48, 48)
    """
    weights = as_weights(W)
    place, how = _order(weights, order)
    image = _image(weights.matrix, place)
    own, ax = ax is None, axes(ax, (WIDTH, 2.9))
    if own:  # the layout that knows that a square picture does not fill its place
        root_figure(ax).set_layout_engine("compressed")
    norm, even = _scale(image)
    N = weights.n
    edges = (0.5, N + 0.5, N + 0.5, 0.5)
    shown = ax.imshow(image, cmap=_ramp(), norm=norm, extent=edges, interpolation="nearest")
    finish(ax)
    ax.spines[:].set(visible=True, linewidth=0.7, color=INK)
    if N <= LABELLED:
        names = [str(label) for label in weights.ids[np.argsort(place)]]
        ax.set_xticks(np.arange(1, N + 1), names, rotation=90)
        ax.set_yticks(np.arange(1, N + 1), names)
    ax.set_ylabel("Unit i")
    lines, what = [f"Neighbour j; order: {how[0]}", *how[1:]], "Weight"
    if len(image) < N:
        lines.append(f"{N:,} units in {len(image)} × {len(image)} blocks")
        what = "Mean weight of a block"
    if even:
        lines.append(f"{what}: {image.max():.3g}")
    else:
        _colour_bar(ax, shown, what)
    _caption(ax, lines)
    return ax


def cardinality_histogram(W: Any, ax: Axes | None = None) -> Axes:
    """Draw how many units have how many neighbours, with the mean.

    Where links need not be mutual, an outline counts in addition of how many units each is a
    neighbour (the non-zeros of its column).

    Parameters
    ----------
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
    ax : Axes, optional
        Where to draw; a new figure of a column's width by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> W = sa.datasets.weights("us_production_queen")
    >>> cardinality_histogram(W, ax=Figure().add_subplot()).get_xlabel()
    'Neighbours per unit (no isolates)'
    """
    from matplotlib.ticker import MaxNLocator

    weights = as_weights(W)
    matrix = weights.matrix
    counts, named = np.diff(matrix.indptr), np.bincount(matrix.indices, minlength=weights.n)
    links = matrix.astype(bool).astype(float)
    mutual = abs(links - links.T).nnz == 0
    every = counts if mutual else np.concatenate([counts, named])
    step = -(-int(np.ptp(every) + 1) // BARS)
    edges = np.arange(every.min(), every.max() + step + 1, step) - 0.5
    tops, _ = np.histogram(counts, edges)
    ax = axes(ax, (WIDTH, 2.3))
    mean = float(counts.mean())
    bars = ax.bar(edges[:-1], tops, step, align="edge", color=COLOURS[5], ec="white", lw=0.5)
    line = ax.axvline(mean, color=COLOURS[1], lw=1.2, ls=(0, (4, 2)), zorder=4)
    handles: list[Any] = [line]
    labels = [f"Mean {mean:.3g}"]
    if not mutual:
        outline = ax.stairs(np.histogram(named, edges)[0], edges, color=INK, lw=1.0, zorder=3)
        handles = [bars, outline, line]
        labels = ["Neighbours", "Neighbour of", *labels]
    alone = weights.isolates.size
    isolates = f"{alone or 'no'} isolate{'' if alone == 1 else 's'}"
    ax.set_xlabel(f"Neighbours per unit ({isolates})")
    ax.set_ylabel("Units" if step == 1 else f"Units (bins of {step})")
    # A single bar is not spread over the whole width.
    ax.set_xlim(min(edges[0], mean - 3.5) - 0.2 * step, max(edges[-1], mean + 3.5) + 0.2 * step)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    finish(ax)
    legend_above(ax, handles, labels, columns=legend_columns(labels))
    return ax


# --- helpers: the map ---------------------------------------------------------------------


def _shapes(geometry: Any, ids: Hashable | None, wanted: pd.Index) -> gpd.GeoSeries:
    """Return the geometries in the order of the weights, matched by label."""
    if not hasattr(geometry, "total_bounds"):
        raise WeightsError(
            "A GeoDataFrame or GeoSeries with the polygons or points of the units is needed; got "
            f"{type(geometry).__name__}."
        )
    table = hasattr(geometry, "columns")
    labels = unit_labels(geometry, ids) if table else as_labels(geometry.index)
    order = matched(labels, wanted, "the map", "the weights")
    shapes = geometry.geometry.reset_index(drop=True).iloc[order].reset_index(drop=True)
    bad = np.asarray(shapes.isna() | shapes.is_empty)
    if bad.any():
        raise WeightsError(f"{int(bad.sum())} unit(s) have no geometry: {listing(wanted[bad])}.")
    return shapes


def _stretch(shapes: gpd.GeoSeries) -> float:
    """Height of a unit of y in units of x: above one for degrees away from the equator."""
    if shapes.crs is None or not shapes.crs.is_geographic:
        return 1.0
    _, bottom, _, top = shapes.total_bounds
    return float(1.0 / max(np.cos(np.radians((bottom + top) / 2.0)), 0.05))


def _pairs(W: SpatialWeights, xy: NDArray) -> tuple[NDArray, list[str]]:
    """Return the pairs of units to join, each once, and what captions say of them."""
    i = np.repeat(np.arange(W.n), np.diff(W.matrix.indptr))
    j = W.matrix.indices
    captions = [f"{W.n_links:,} links of {W.n:,} units"]
    if W.n_links > CROWDED * W.n:
        length = np.hypot(*(xy[i] - xy[j]).T)
        order = np.lexsort((length, -W.matrix.data, i))
        first = W.matrix.indptr[i[order]]
        strongest = order[np.arange(order.size) - first < STRONGEST]
        i, j = i[strongest], j[strongest]
        captions.append(f"The {STRONGEST} strongest of each unit are drawn")
    pairs = np.column_stack([np.minimum(i, j), np.maximum(i, j)])
    return np.unique(pairs, axis=0), captions


def _draw_links(ax: Axes, xy: NDArray, pairs: NDArray) -> None:
    """Draw lines that grow thinner and paler as they grow many."""
    from matplotlib.collections import LineCollection

    many = float(np.clip(np.log10(max(len(pairs), 1) / 100.0) / 2.5, 0.0, 1.0))
    lines = LineCollection(
        list(xy[pairs]), colors=COLOURS[0], linewidths=0.9 - 0.6 * many, alpha=0.9 - 0.4 * many
    )
    lines.set(zorder=2, rasterized=len(pairs) > PIXELS)
    ax.add_collection(lines)
    ax.autoscale_view()


# --- helpers: the matrix ------------------------------------------------------------------


def _order(
    W: SpatialWeights, order: str | Sequence[Hashable] | pd.Index | None
) -> tuple[NDArray, list[str]]:
    """Return the place of every unit, and how the order came about."""
    if order is None:
        return np.arange(W.n), ["as in W"]
    if not isinstance(order, str):
        return matched(as_labels(order), W.ids, "the order", "the weights"), ["as given"]
    check_option("order", order, ORDERS)
    if order == "label":
        try:
            units = np.asarray(W.ids.argsort())
        except TypeError:
            units = np.asarray(W.ids.astype(str).argsort())
        return np.argsort(units), ["label"]
    how, links = ["reverse Cuthill–McKee"], W.matrix
    if W.n_links > CROWDED * W.n:
        how.append(f"by the {STRONGEST} strongest links of each unit")
        links = _strongest(W.matrix)
    both = sparse.csr_matrix(links + links.T)
    return np.argsort(csgraph.reverse_cuthill_mckee(both, symmetric_mode=True)), how


def _strongest(matrix: sparse.csr_array) -> sparse.csr_array:
    """Keep the links of every row that are not weaker than its fifth strongest."""
    kept = matrix.copy()
    for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        row = kept.data[start:stop]
        if row.size > STRONGEST:
            row[row < np.partition(row, -STRONGEST)[-STRONGEST]] = 0.0
    kept.eliminate_zeros()
    return kept


def _image(matrix: sparse.csr_array, place: NDArray) -> np.ma.MaskedArray:
    """Return the cells, or the means of blocks of cells; zeros are masked."""
    N = matrix.shape[0]
    B = min(N, CELLS)
    block = place * B // N
    rows = np.repeat(block, np.diff(matrix.indptr))
    columns = block[matrix.indices]
    total = np.bincount(rows * B + columns, weights=matrix.data, minlength=B * B).reshape(B, B)
    units = np.bincount(block, minlength=B)
    mean = total / np.outer(units, units)
    return np.ma.masked_equal(mean, 0.0)


def _scale(image: np.ma.MaskedArray) -> tuple[Any, bool]:
    """Return the scale of the colours, and whether all weights are the same."""
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(image.min()), float(image.max())
    if high - low <= 1e-9 * high:
        return Normalize(0.0, 2.0 * high), True
    return LogNorm(low, high) if high > WIDE * low else Normalize(low, high), False


def _ramp() -> Any:
    """Colours from pale to dark blue, all of them apart from the white of a zero."""
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("weights", ["#C2DDF0", COLOURS[0], "#00263F"])
    return ramp.with_extremes(bad="white")


def _colour_bar(ax: Axes, shown: Any, label: str) -> None:
    """Put a colour bar beside the picture."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter, LogLocator

    bar: Any = ax.figure.colorbar(shown, ax=ax, fraction=0.05, pad=0.03, aspect=22)
    if isinstance(shown.norm, LogNorm):
        low, high = shown.get_clim()
        bar.locator = LogLocator(subs=(1.0, 2.0, 5.0) if high < 1e3 * low else (1.0,))
        bar.minorticks_off()
        bar.formatter = FuncFormatter(lambda value, _: f"{value:g}")
    bar.outline.set(linewidth=0.5, edgecolor=INK)
    bar.ax.tick_params(which="both", labelsize=SMALL, width=0.5, length=2.0, colors=INK)
    bar.set_label(label, fontsize=TEXT, color=INK)


def _caption(ax: Axes, lines: Sequence[str]) -> None:
    """Write below the picture what is drawn."""
    ax.set_xlabel("\n".join(broken(line, ALONG) for line in lines), fontsize=TEXT, color=INK)
