"""Maps of effects by unit: what each unit keeps, receives and sends."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.errors import DataError, OptionError, check_option, listing
from spatial_agglo.report.style import (
    ALONG,
    GREY,
    INK,
    PALE,
    SMALL,
    TEXT,
    WIDTH,
    axes,
    broken,
    root_figure,
)
from spatial_agglo.weights.describe import matched
from spatial_agglo.weights.labels import as_labels, unit_labels

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes

SCHEMES = ("quantiles", "equal")
#: Classes that readers tell apart.
MOST = 9
#: What the columns of `impacts_by_unit` are called in a legend.
WORDS = {
    "own": "Effect on the unit itself",
    "received": "Received from other units",
    "sent": "Sent to other units",
    "total_received": "Own and received",
    "total_sent": "Own and sent",
}
#: From near zero to far from it: effects below zero in blue, above in red.
BELOW, ABOVE = ("#D6E6F4", "#6AAED6", "#0B3C74"), ("#FDE0D2", "#F4745B", "#7F0A12")
NONE = "#F7F7F7"
#: Ranges within this share of the largest value are one value.
SAME = 1e-9
#: Powers of ten that are written out.
SMALLEST, LARGEST = -4, 5
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def map_effects(
    effects: pd.DataFrame,
    geometry: Any,
    *,
    ids: Hashable | None = None,
    column: str = "sent",
    classes: int = 5,
    scheme: str = "quantiles",
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Map what every unit keeps, receives or sends.

    Effects below zero are blue and those above red, darker the farther from zero. A class never
    holds both signs; effects of exactly zero are a class of their own. The legend counts units;
    those of the map that the table does not have are light grey. Very small and very large
    effects are shown as multiples of a power of ten, which the title of the legend says.

    Parameters
    ----------
    effects : DataFrame
        Of :func:`spatial_agglo.impacts.impacts_by_unit`, or any other by unit.
    geometry : GeoDataFrame or GeoSeries
        Polygons or points of the units, matched by label.
    ids : column label, optional
        Labels of the units in ``geometry``; its index when left out.
    column : str
        "own", "received", "sent", "total_received", "total_sent".
    classes : int
        At most so many classes, 1 to 9.
    scheme : {"quantiles", "equal"}
        Classes with about as many units each, or as wide as each other.
    label : str, optional
        Title of the legend.
    ax : Axes, optional
        Where to draw; a new figure of a column's width by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        The table has no such column of numbers, or twice; no unit has a value, or one has an
        infinite one; units without a shape.
    AlignmentError
        Units that the map does not have.
    OptionError
        Unknown scheme, classes that are not a number from 1 to 9, a label that is not a text.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> from spatial_agglo.impacts import impacts_by_unit
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> by_state = impacts_by_unit(sa.sdm("logc ~ logp + logy", panel, W), "logp")
    >>> ax = map_effects(
    ...     by_state, sa.datasets.us_states(), ids="state", ax=Figure().add_subplot()
    ... )
    >>> ax.get_legend().get_title().get_text()
    'Sent to other units'
    """
    check_option("scheme", scheme, SCHEMES)
    if isinstance(classes, bool) or not (isinstance(classes, int) and 1 <= classes <= MOST):
        raise OptionError(f"classes={classes!r} must be a whole number from 1 to {MOST}.")
    shapes, values, others = _matched(effects, geometry, ids, column)
    if label is not None and not isinstance(label, str):
        raise OptionError(f"label must be a text; got {label!r}.")
    power = _power(values)
    found = _classes(values / 10.0**power, classes, scheme)
    stretch, ratio = _proportions(geometry.geometry)
    rows = -(-(len(found) + 1 + bool(len(others))) // 2)
    own, ax = ax is None, axes(ax, (WIDTH, WIDTH * ratio + 0.35 + 0.17 * rows))
    if own:  # the layout that knows that a map does not fill its place
        root_figure(ax).set_layout_engine("compressed")
    handles = [_draw(ax, shapes, *part) for part in found]
    absent = np.isnan(values)
    if absent.any():
        handles.append(_draw(ax, shapes, absent, "white", "No value"))
    if len(others):
        handles.append(_draw(ax, others, np.full(len(others), True), PALE, "No data"))
    ax.set_aspect(stretch)
    ax.set_axis_off()
    legend = ax.legend(
        handles=handles,
        title=broken(
            (WORDS.get(column, str(column)) if label is None else label) + _times(power), ALONG
        ),
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=2,
        fontsize=SMALL,
        title_fontsize=TEXT,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.6,
        labelcolor=INK,
    )
    legend.get_title().set(color=INK, multialignment="center")
    return ax


def _matched(
    effects: pd.DataFrame, geometry: Any, ids: Hashable | None, column: str
) -> tuple[gpd.GeoSeries, NDArray, gpd.GeoSeries]:
    """Return the shapes and their values, matched by label, and the shapes of other units."""
    values = _values(effects, column)
    if not hasattr(geometry, "total_bounds"):
        raise DataError(
            "A GeoDataFrame or GeoSeries with the polygons or points of the units is needed; got "
            f"{type(geometry).__name__}."
        )
    labels = (
        unit_labels(geometry, ids) if hasattr(geometry, "columns") else as_labels(geometry.index)
    )
    units = as_labels(effects.index)
    mapped = labels.isin(units)
    order = matched(labels[mapped], units, "the map", "the table of effects")
    shapes = geometry.geometry[mapped].iloc[order]
    nowhere = units[(shapes.isna() | shapes.is_empty).to_numpy()]
    if nowhere.size:
        raise DataError(
            f"{nowhere.size} unit(s) have no shape on the map: {listing(nowhere)}. Leave them out "
            "of the table of effects, or complete the map."
        )
    return shapes, values, geometry.geometry[~mapped].dropna()


def _values(effects: pd.DataFrame, column: str) -> NDArray:
    """Return a column of finite or missing numbers."""
    columns = list(effects.columns) if isinstance(effects, pd.DataFrame) else []
    if columns.count(column) != 1:
        has = f"it has {listing(columns, 20) or 'no columns'}"
        raise DataError(
            f"The table of effects has no column {column!r}; {has}."
            if column not in columns
            else f"The table of effects has several columns {column!r}; {has}."
        )
    try:
        values = effects[column].to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"The effects in {column!r} are not numbers: {error}") from error
    if np.isinf(values).any():
        raise DataError(f"Effects are infinite: {listing(effects.index[np.isinf(values)])}.")
    if np.isnan(values).all():
        raise DataError(f"No unit has a value in {column!r}.")
    return values


def _power(values: NDArray) -> int:
    """Return the power of ten of which effects are written as multiples; mostly 0."""
    largest = float(np.nanmax(np.abs(values)))
    power = int(np.floor(np.log10(largest))) if largest > 0 else 0
    return max(power, -300) if power < SMALLEST or power > LARGEST else 0


def _times(power: int) -> str:
    """Write a power of ten behind a title.

    Examples
    --------
    >>> _times(0), _times(-13)
    ('', ' (×10⁻¹³)')
    """
    return f" (×10{str(power).translate(RAISED)})" if power else ""


def _classes(values: NDArray, classes: int, scheme: str) -> list[tuple[NDArray, str, str]]:
    """Return mask, colour and text of every class, from the lowest to the highest."""
    known = values[~np.isnan(values)]
    below, above = known[known < 0], known[known > 0]
    shares = [classes if not above.size else 0, classes if not below.size else 0]
    if below.size and above.size:
        if classes == 1:
            raise OptionError("Effects have both signs: ask for at least two classes.")
        first = int(np.clip(round(classes * below.size / known.size), 1, classes - 1))
        shares = [first, classes - first]
    parts: list[tuple[float, float, str]] = []
    for side, count, ramp, sign in (
        (below, shares[0], BELOW, -1.0),
        (above, shares[1], ABOVE, 1.0),
    ):
        if side.size:
            ranges = _ranges(side, count, scheme)
            colours = _ramp(ramp, len(ranges))
            colours = colours[::-1] if sign < 0 else colours
            parts += [(*ends, colour) for ends, colour in zip(ranges, colours, strict=True)]
    if (known == 0).any():
        parts.append((0.0, 0.0, NONE))
    parts.sort()
    texts = _texts([(low, high) for low, high, _ in parts])
    out = []
    for (low, high, colour), text in zip(parts, texts, strict=True):
        # an edge belongs to the class below it, so that each unit is in one
        inside = (values > low) & (values <= high)
        first_of_side = not any(other[1] == low and other[0] < low for other in parts)
        if first_of_side:
            inside |= values == low
        inside &= np.sign(values) == np.sign(low if low else high)
        if inside.any():
            out.append((inside, colour, text))
    return out


def _ranges(side: NDArray, count: int, scheme: str) -> list[tuple[float, float]]:
    """Return the classes of one sign, fewer where values are equal.

    Where so many are equal that quantiles coincide, equal values stay together in classes that
    come as near to equal sizes as they can.
    """
    side = np.sort(side)
    near = SAME * np.abs(side).max()
    different = np.split(side, np.flatnonzero(np.diff(side) > near) + 1)
    if len(different) > 1 and scheme == "equal":
        return list(pairwise(np.linspace(side[0], side[-1], count + 1).tolist()))
    if len(different) <= count:
        return [(float(part[0]), float(part[-1])) for part in different]
    edges = np.quantile(side, np.linspace(0.0, 1.0, count + 1))
    if (np.diff(edges) > near).all():
        return list(pairwise(edges.tolist()))
    if side[0] < 0:  # from zero outwards, as above it
        return [(-high, -low) for low, high in reversed(_ranges(-side, count, scheme))]
    out: list[tuple[float, float]] = []
    while different:
        wanted = sum(map(len, different)) / (count - len(out))
        sizes = np.cumsum([len(part) for part in different])
        last = len(different) - 1 if count - len(out) == 1 else np.argmin(np.abs(sizes - wanted))
        out.append((float(different[0][0]), float(different[last][-1])))
        different = different[last + 1 :]
    return out


def _ramp(colours: tuple[str, ...], count: int) -> list[str]:
    """Return colours from pale to dark; the middle for one."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    ramp = LinearSegmentedColormap.from_list("effects", list(colours))
    places = np.linspace(0.0, 1.0, count) if count > 1 else np.array([0.5])
    return [to_hex(ramp(place)) for place in places]


def _texts(ranges: list[tuple[float, float]]) -> list[str]:
    """Write ranges with as few digits as tell all of their ends apart."""
    ends = sorted({end for pair in ranges for end in pair})
    gaps = [b - a for a, b in pairwise(ends) if b - a > SAME * abs(b)]
    finest = min(gaps) if gaps else max(abs(end) for end in ends) or 1.0
    digits = int(np.clip(np.ceil(-np.log10(finest)) + (0 if gaps else 2), 0, 12))

    def write(x: float) -> str:
        return f"{x:.{digits}f}".replace("-", "−")

    return [write(a) if write(a) == write(b) else f"{write(a)} to {write(b)}" for a, b in ranges]


def _proportions(shapes: gpd.GeoSeries) -> tuple[float, float]:
    """Return the height of a unit of y in units of x, and of the map in widths."""
    left, bottom, right, top = shapes.total_bounds
    stretch = 1.0
    if shapes.crs is not None and shapes.crs.is_geographic:
        stretch = float(1.0 / max(np.cos(np.radians(0.5 * (bottom + top))), 0.05))
    wide = right - left
    return stretch, float(np.clip((top - bottom) * stretch / wide, 0.3, 1.6)) if wide > 0 else 1.0


def _draw(ax: Axes, shapes: gpd.GeoSeries, chosen: NDArray, colour: str, text: str) -> Any:
    """Draw the units of one class and return its entry in the legend."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    part = shapes[chosen]
    label = f"{text} ({len(part)})"
    empty = text == "No value"
    if part.geom_type.isin(["Point", "MultiPoint"]).all():
        size = float(np.clip(700.0 / len(shapes), 6.0, 40.0))
        edge = GREY if empty else INK
        part.plot(ax=ax, color=colour, edgecolor=edge, linewidth=0.4, markersize=size, aspect=None)
        return Line2D([], [], ls="", marker="o", ms=5.0, mfc=colour, mec=edge, mew=0.4, label=label)
    line = 0.3 if len(shapes) > 500 else 0.5
    hatch = "////" if empty else None
    edge = GREY if colour in ("white", NONE) else "white"
    part.plot(ax=ax, facecolor=colour, edgecolor=edge, hatch=hatch, linewidth=line, aspect=None)
    return Patch(fc=colour, ec=GREY, lw=0.4, hatch=hatch, label=label)
