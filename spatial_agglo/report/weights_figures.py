"""Pictures of weights: links on a map, the matrix, numbers of neighbours."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from spatial_agglo.errors import AlignmentError, WeightsError, check_option, listing
from spatial_agglo.report.style import (
    ALONG,
    COLOURS,
    GREY,
    INK,
    PALE,
    SMALL,
    TEXT,
    WIDTH,
    axes,
    broken,
    finish,
    legend_above,
)
from spatial_agglo.weights.labels import as_labels, unit_labels
from spatial_agglo.weights.matrix import SpatialWeights, as_weights

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes

#: Neighbours per unit, on average, up to which every link is drawn; else so many strongest.
CROWDED, STRONGEST = 16, 5
#: Lines above which they are drawn as pixels, also in a vector file.
PIXELS = 20_000
#: Rows and columns of a matrix up to which every cell is drawn; else so many blocks.
CELLS = 500
#: Units up to which a matrix carries their labels.
LABELLED = 25
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
    pairs, caption = _pairs(weights, xy * (1.0, stretch))
    left, bottom, right, top = shapes.total_bounds
    tall = (top - bottom) * stretch / max(right - left, 1e-9 * stretch * (top - bottom), 1e-300)
    ax = axes(ax, (WIDTH, float(np.clip(WIDTH * tall, 0.3 * WIDTH, 1.5 * WIDTH)) + 0.25))
    areas = shapes[shapes.geom_type.isin(["Polygon", "MultiPolygon"])]
    if len(areas):
        areas.plot(ax=ax, color=PALE, edgecolor="white", linewidth=0.5, aspect=None, zorder=1)
    _draw_links(ax, xy, pairs)
    size = float(np.clip(30.0 / np.sqrt(weights.n), 0.8, 3.2))
    ax.plot(*xy.T, "o", ms=size, mfc=INK, mec="none", zorder=3)
    alone = weights.ids.isin(weights.isolates)
    if alone.any():
        ring = {"mfc": "none", "mec": COLOURS[1], "mew": 1.0}
        ax.plot(*xy[alone].T, "o", ms=max(size + 2.5, 4.0), zorder=4, **ring)
        caption += f"; {int(alone.sum()):,} without neighbours (rings)"
    ax.set_aspect(stretch)
    finish(ax)
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[])
    _caption(ax, caption)
    return ax


def heat_map(
    W: Any, *, order: str | Sequence[Hashable] | pd.Index | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the matrix as a picture, row i and column j coloured by w_ij; zeros are white.

    The colours are logarithmic where the largest weight is more than 50 times the smallest.
    More than 500 units are drawn in 500 blocks, coloured by their mean weight.

    Parameters
    ----------
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
    order : {"label", "rcm"} or list of labels, optional
        "label": sorted. "rcm": reverse Cuthill-McKee, which brings neighbours together, so
        that structure shows near the diagonal. Left out: as W holds the units.
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
    from matplotlib.colors import LogNorm, Normalize

    weights = as_weights(W)
    place, how = _order(weights, order)
    image, block = _image(weights.matrix, place)
    ax = axes(ax, (WIDTH, 3.0))
    low, high = float(image.min()), float(image.max())
    norm = LogNorm(low, high) if high > 50.0 * low else Normalize(0.0, high)
    shown = ax.imshow(
        image,
        cmap=_ramp(),
        norm=norm,
        extent=(0.5, weights.n + 0.5, weights.n + 0.5, 0.5),
        interpolation="nearest",
    )
    finish(ax)
    ax.spines[:].set_visible(True)
    ax.spines[:].set(linewidth=0.7, color=INK)
    if weights.n <= LABELLED:
        names = [str(label) for label in weights.ids[np.argsort(place)]]
        ax.set_xticks(np.arange(1, weights.n + 1), names, rotation=90)
        ax.set_yticks(np.arange(1, weights.n + 1), names)
    _colour_bar(ax, shown, "Mean weight of a block" if block > 1 else "Weight")
    caption = f"Neighbour j; order: {how}"
    if block > 1:
        caption += f"\nblocks of about {block:.3g} × {block:.3g} units"
    ax.set_ylabel("Unit i")
    _caption(ax, caption)
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
    N, matrix = weights.n, weights.matrix
    counts = np.diff(matrix.indptr)
    named = np.bincount(matrix.indices, minlength=N)
    pattern = sparse.csr_array((np.ones(matrix.nnz), matrix.indices, matrix.indptr), matrix.shape)
    mutual = abs(pattern - pattern.T).nnz == 0
    every = counts if mutual else np.concatenate([counts, named])
    step = -(-int(np.ptp(every) + 1) // BARS)
    edges = np.arange(every.min(), every.max() + step + 1, step) - 0.5
    ax = axes(ax, (WIDTH, 2.3))
    mean = float(counts.mean())
    bars = ax.hist(counts, edges, color=COLOURS[5], ec="white", lw=0.5, zorder=2)[2]
    line = ax.axvline(mean, color=COLOURS[1], lw=1.2, ls=(0, (4, 2)), zorder=4)
    handles, labels = [bars, line], ["Neighbours", f"Mean {mean:.3g}"]
    if not mutual:
        steps = ax.hist(named, edges, histtype="step", color=INK, lw=1.0, zorder=3)[2]
        handles.insert(1, steps[0])
        labels.insert(1, "Is a neighbour of")
    alone = weights.isolates.size
    isolates = "no isolates" if not alone else f"{alone:,} isolate{'s' if alone > 1 else ''}"
    ax.set_xlabel(f"Neighbours per unit ({isolates})")
    ax.set_ylabel("Units" if step == 1 else f"Units (bins of {step})")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    finish(ax)
    legend_above(ax, handles, labels, columns=len(labels))
    return ax


# --- helpers: the map ---------------------------------------------------------------------


def _shapes(geometry: Any, ids: Hashable | None, wanted: pd.Index) -> gpd.GeoSeries:
    """Return the geometries in the order of the weights, matched by label."""
    if not (hasattr(geometry, "geometry") and hasattr(geometry, "total_bounds")):
        raise WeightsError(
            "A GeoDataFrame or GeoSeries with the polygons or points of the units is needed; got "
            f"{type(geometry).__name__}."
        )
    series = hasattr(geometry, "geom_type") and not hasattr(geometry, "columns")
    labels = as_labels(geometry.index) if series else unit_labels(geometry, ids)
    order = _matched(labels, wanted, "the map")
    shapes = geometry.geometry.reset_index(drop=True).iloc[order].reset_index(drop=True)
    bad = np.asarray(shapes.isna() | shapes.is_empty)
    if bad.any():
        raise WeightsError(f"{int(bad.sum())} unit(s) have no geometry: {listing(wanted[bad])}.")
    return shapes


def _matched(have: pd.Index, wanted: pd.Index, holder: str) -> NDArray:
    """Return where the units of W are; raise unless both hold the same."""
    order = np.asarray(have.get_indexer(wanted))
    only = {"the weights": wanted[order < 0], holder: have[~have.isin(wanted)]}
    parts = [f"{ids.size} only in {name}: {listing(ids)}" for name, ids in only.items() if ids.size]
    if parts:
        raise AlignmentError(
            f"{holder} and the weights do not hold the same units; {'; '.join(parts)}. "
            "Restrict one of them: W.subset([...]), or a selection of rows."
        )
    return order


def _stretch(shapes: gpd.GeoSeries) -> float:
    """Height of a unit of y in units of x: above one for degrees away from the equator."""
    if shapes.crs is None or not shapes.crs.is_geographic:
        return 1.0
    _, bottom, _, top = shapes.total_bounds
    return float(1.0 / max(np.cos(np.radians((bottom + top) / 2.0)), 0.05))


def _pairs(W: SpatialWeights, xy: NDArray) -> tuple[NDArray, str]:
    """Return the pairs of units to join, each once, and what a caption says of them."""
    i = np.repeat(np.arange(W.n), np.diff(W.matrix.indptr))
    j = W.matrix.indices
    caption = f"{W.n_links:,} links of {W.n:,} units"
    if W.n_links > CROWDED * W.n:
        length = np.hypot(*(xy[i] - xy[j]).T)
        order = np.lexsort((length, -W.matrix.data, i))
        first = W.matrix.indptr[i[order]]
        strongest = order[np.arange(order.size) - first < STRONGEST]
        i, j = i[strongest], j[strongest]
        caption += f"; the {STRONGEST} strongest of each are drawn"
    pairs = np.column_stack([np.minimum(i, j), np.maximum(i, j)])
    return np.unique(pairs, axis=0), caption


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
) -> tuple[NDArray, str]:
    """Return the place of every unit, and how the order came about."""
    if order is None:
        return np.arange(W.n), "as in W"
    if not isinstance(order, str):
        return np.argsort(_matched(W.ids, as_labels(order), "order")), "as given"
    check_option("order", order, ORDERS)
    if order == "label":
        try:
            units = np.asarray(W.ids.argsort())
        except TypeError:
            units = np.asarray(W.ids.astype(str).argsort())
        return np.argsort(units), "label"
    both = sparse.csr_array(W.matrix + W.matrix.T)
    units = csgraph.reverse_cuthill_mckee(sparse.csr_matrix(both), symmetric_mode=True)
    return np.argsort(units), "reverse Cuthill–McKee"


def _image(matrix: sparse.csr_array, place: NDArray) -> tuple[np.ma.MaskedArray, float]:
    """Return the cells, or the means of blocks of cells, and the units along a block."""
    N = matrix.shape[0]
    B = min(N, CELLS)
    block = place * B // N
    rows = np.repeat(block, np.diff(matrix.indptr))
    columns = block[matrix.indices]
    total = np.bincount(rows * B + columns, weights=matrix.data, minlength=B * B).reshape(B, B)
    units = np.bincount(block, minlength=B)
    mean = total / np.outer(units, units)
    return np.ma.masked_equal(mean, 0.0), N / B


def _ramp() -> Any:
    """Colours from pale to dark blue, all of them apart from the white of a zero."""
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("weights", ["#CFE3F2", COLOURS[0], "#00263F"])
    ramp.set_bad("white")
    return ramp


def _colour_bar(ax: Axes, shown: Any, label: str) -> None:
    """Put a colour bar of the height of the picture beside it."""
    beside = ax.inset_axes((1.03, 0.0, 0.045, 1.0))
    bar = ax.figure.colorbar(shown, cax=beside)
    bar.outline.set(linewidth=0.5, edgecolor=INK)  # type: ignore[operator]
    beside.tick_params(which="both", labelsize=SMALL, width=0.5, length=2.0, colors=INK)
    bar.set_label(label, fontsize=TEXT, color=INK)


def _caption(ax: Axes, text: str) -> None:
    """Write below the picture what is drawn."""
    ax.set_xlabel(broken(text, ALONG), fontsize=TEXT, color=INK)
