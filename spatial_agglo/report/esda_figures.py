"""Pictures of spatial autocorrelation: scatter plots over years, cluster maps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spatial_agglo.errors import AlignmentError, DataError, OptionError, check_made, listing
from spatial_agglo.panel import Panel
from spatial_agglo.report.figures import moran_scatter, scatter_points
from spatial_agglo.report.formats import period_text
from spatial_agglo.report.style import GREY, INK, PALE, SMALL, TEXT, WIDTH, axes

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Clusters in red and blue, outliers in their lighter shades: told apart by all readers.
CLUSTERS: Mapping[str, tuple[str, str]] = {
    "HH": ("#B2182B", "High, high neighbours"),
    "HL": ("#F4A582", "High, low neighbours"),
    "LH": ("#92C5DE", "Low, high neighbours"),
    "LL": ("#2166AC", "Low, low neighbours"),
    "hot": ("#B2182B", "Hot spot"),
    "cold": ("#2166AC", "Cold spot"),
    "similar": ("#2166AC", "Like its neighbours"),
    "dissimilar": ("#F4A582", "Unlike its neighbours"),
    "not significant": ("#EFEFEF", "Not significant"),
}
#: Steps of significance, from weak to strong.
LEVELS = (0.05, 0.01, 0.001)
SHADES = ("#C7E9C0", "#74C476", "#238B45")


def moran_scatters(
    panel: Panel,
    variable: Hashable,
    W: Any,
    *,
    times: Sequence[Hashable],
    columns: int = 2,
    label: int | Sequence[Hashable] = 3,
) -> Figure:
    """Plot Moran scatter plots of several periods on the same axes, as small multiples.

    Parameters
    ----------
    panel : Panel
    variable : column name
    W : as for :func:`moran_scatter`
    times : list of periods
    columns : int
        Plots in a row.
    label : int or list of entities
        As for :func:`moran_scatter`.

    Returns
    -------
    Figure

    Raises
    ------
    DataError
        No period, or one that the panel does not have.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> len(moran_scatters(panel, "logc", W, times=[1963, 1992]).axes)
    2
    """
    import matplotlib.pyplot as plt

    periods = list(times)
    if not periods:
        raise DataError("Name at least one period to plot.")
    if columns < 1:
        raise OptionError(f"columns={columns!r} must be a whole number of at least 1.")
    columns = min(columns, len(periods))
    rows = -(-len(periods) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(WIDTH * columns, 3.0 * rows),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    cells = grid.ravel()
    points = [scatter_points(panel, variable, W, period)[1:] for period in periods]
    within = (np.concatenate([z for z, _ in points]), np.concatenate([wz for _, wz in points]))
    for ax, period in zip(cells, periods, strict=False):
        moran_scatter(panel, variable, W, time=period, ax=ax, label=label, within=within)
        ax.set_title(period_text(period), fontsize=TEXT, color=INK)
        ax.set_xlabel(f"{variable} (standard deviations)", fontsize=TEXT)
        ax.label_outer()
    for ax in cells[len(periods) :]:
        ax.remove()
    return figure


def cluster_map(
    local: pd.DataFrame,
    geometry: gpd.GeoDataFrame,
    *,
    ids: Hashable | None = None,
    time: Hashable | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Map the clusters and outliers of a local statistic in one period.

    Parameters
    ----------
    local : DataFrame
        Of ``local_moran``, ``local_g`` or ``local_geary``.
    geometry : GeoDataFrame
        One row per unit.
    ids : column label, optional
        Labels of the units in ``geometry``; its index when left out.
    time : period, optional
        Required when there is more than one.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    AlignmentError
        Units without geometry, or geometry without units.
    DataError
        A period that is not there, or not named; a table without clusters.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> local = sa.esda.local_moran(panel, "logc", W, permutations=0)
    >>> ax = cluster_map(
    ...     local, sa.datasets.us_states(), ids="state", time=1992, ax=Figure().add_subplot()
    ... )
    """
    shapes, found = _matched(local, geometry, ids, time, "cluster")
    kinds = [kind for kind in CLUSTERS if (found == kind).any()]
    classes = [(found == kind, *CLUSTERS[kind]) for kind in kinds]
    return _map(shapes, classes, found.isna(), ax)


def significance_map(
    local: pd.DataFrame,
    geometry: gpd.GeoDataFrame,
    *,
    ids: Hashable | None = None,
    time: Hashable | None = None,
    column: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Map the p values of a local statistic in one period, in steps of 0.05, 0.01 and 0.001.

    Parameters
    ----------
    local, geometry, ids, time, ax
        As for :func:`cluster_map`.
    column : str, optional
        "p_permutation" where there is one, else "p_value".

    Returns
    -------
    Axes

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> local = sa.esda.local_moran(panel, "logc", W, permutations=0)
    >>> ax = significance_map(
    ...     local, sa.datasets.us_states(), ids="state", time=1992, ax=Figure().add_subplot()
    ... )
    """
    check_made(local, "assign", "sa.esda.local_moran")
    if column is None:
        column = "p_permutation" if "p_permutation" in local else "p_value"
    shapes, p = _matched(local, geometry, ids, time, column)
    p = p.astype(float)
    classes = []
    bounds = (*LEVELS, 0.0)
    for upper, lower, shade in zip(LEVELS, bounds[1:], SHADES, strict=True):
        chosen = (p <= upper) & ((p > lower) if lower else True)
        if chosen.any():
            classes.append((chosen, shade, f"p ≤ {upper:g}"))
    classes.append((p > LEVELS[0], CLUSTERS["not significant"][0], "Not significant"))
    return _map(shapes, classes, p.isna(), ax)


def _matched(
    local: pd.DataFrame,
    geometry: gpd.GeoDataFrame,
    ids: Hashable | None,
    time: Hashable | None,
    column: str,
) -> tuple[Any, pd.Series]:
    """Return the shapes and one period's values, matched by label."""
    check_made(local, "assign", "sa.esda.local_moran")
    if column not in local.columns:
        raise DataError(f"The table has no column {column!r}; it has {listing(local.columns, 20)}.")
    periods = local.index.get_level_values(1).unique()
    if time is None:
        if len(periods) != 1:
            raise DataError(f"Name the period to map, time=...; there are {len(periods)}.")
        time = periods[0]
    if time not in periods:
        raise DataError(f"There is no period {time!r}; there are {listing(periods, 40)}.")
    values = local[column].xs(time, level=1)
    shapes = geometry if ids is None else geometry.set_index(ids)
    lost = values.index.difference(shapes.index, sort=False)
    extra = shapes.index.difference(values.index, sort=False)
    if len(lost) or len(extra) or shapes.index.has_duplicates:
        raise AlignmentError(
            "Map and table must hold the same units, once each. Without geometry: "
            f"{listing(lost) or 'none'}; without values: {listing(extra) or 'none'}."
        )
    return shapes.geometry, values.loc[shapes.index]


def _map(
    shapes: Any,
    classes: Sequence[tuple[pd.Series, str, str]],
    missing: pd.Series,
    ax: Axes | None,
) -> Axes:
    """Draw shapes in the colours of their classes, with a legend that counts them."""
    from matplotlib.patches import Patch

    left, bottom, right, top = shapes.total_bounds
    stretch = 1.0
    if shapes.crs is not None and shapes.crs.is_geographic:
        stretch = 1.0 / np.cos(np.radians(0.5 * (bottom + top)))
    ratio = float(np.clip((top - bottom) * stretch / (right - left), 0.3, 1.6))
    ax = axes(ax, (WIDTH, WIDTH * ratio + 0.5))
    line = 0.3 if len(shapes) > 500 else 0.5
    handles = []
    for chosen, colour, text in classes:
        part = shapes[chosen.to_numpy(dtype=bool)]
        if len(part):
            part.plot(ax=ax, facecolor=colour, edgecolor="white", linewidth=line, aspect=None)
            handles.append(Patch(fc=colour, ec=GREY, lw=0.4, label=f"{text} ({len(part)})"))
    absent = shapes[missing.to_numpy(dtype=bool)]
    if len(absent):
        absent.plot(ax=ax, facecolor="white", edgecolor=PALE, hatch="////", lw=line, aspect=None)
        handles.append(
            Patch(fc="white", ec=GREY, hatch="////", lw=0.4, label=f"No value ({len(absent)})")
        )
    ax.set_aspect(stretch)
    ax.set_axis_off()
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=2,
        fontsize=SMALL,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.2,
        labelcolor=INK,
    )
    return ax
