"""A forest plot: one effect and its interval, a line for every specification."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.errors import DataError, OptionError, check_made, check_option, listing
from spatial_agglo.report.formats import number
from spatial_agglo.report.style import COLOURS, GREY, INK, PALE, SMALL, axes, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from spatial_agglo.robustness.runs import Run
    from spatial_agglo.robustness.sensitivity import Sensitivity

EFFECTS = ("direct", "indirect", "total")
SHOWN = ("estimate", "lower", "upper", "p_value")
#: What kinds of errors are called in the plot; the whole reason is in ``failures``.
REASONS = {
    "AlignmentError": "units of W and data differ",
    "BoundaryError": "no interior maximum",
    "ConvergenceError": "not converged",
    "DataError": "data",
    "FormulaError": "formula",
    "IdentificationError": "not identified",
    "OptionError": "options",
    "WeightsError": "weights",
}
#: Width of the picture, inches, and the height of a line, of what is above and below them.
WIDTH, LINE, REST = 5.2, 0.185, 0.95
#: Intervals so many times longer than the median one do not widen the axis.
LONG = 4.0
#: Points between the columns of letters and the axes, and the indent below a heading.
GAP, INDENT = 7.0, 7.0


@dataclass(frozen=True)
class Line:
    """A line of the plot: a heading, or a specification."""

    label: str
    heading: bool = False
    colour: str = COLOURS[0]
    estimate: float = np.nan
    lower: float = np.nan
    upper: float = np.nan
    p_value: float = np.nan
    error: str = ""

    @property
    def drawn(self) -> bool:
        """Whether there is an estimate with an interval."""
        return bool(np.isfinite([self.estimate, self.lower, self.upper]).all()) and (
            self.lower < self.upper
        )


def forest_plot(
    found: Sensitivity, variable: str, effect: str = "indirect", *, ax: Axes | None = None
) -> Axes:
    """Plot one effect of a variable with its interval, a line per specification.

    Filled markers have p values below 1 - level; the band is the interval of the first line;
    an arrow says that an interval goes on outside the axes. Specifications that failed have a line
    that says so.

    Parameters
    ----------
    found : Sensitivity
        From :func:`spatial_agglo.sensitivity`.
    variable : str
    effect : {"direct", "indirect", "total"}
    ax : Axes, optional
        Where to draw; a new figure of one and a half columns' width by default.

    Returns
    -------
    Axes

    Raises
    ------
    OptionError
        Unknown variable or effect.
    DataError
        No specification has an estimate of it.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> from spatial_agglo.robustness.sensitivity import sensitivity
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> found = sensitivity("logc ~ logp + logy", panel, W, models=["sar", "sdm"])
    >>> forest_plot(found, "logp", ax=Figure().add_subplot()).get_xlabel()
    'Indirect effect of logp and 95% interval'
    """
    check_made(found, "runs", "sa.sensitivity")
    check_option("effect", effect, EFFECTS)
    if variable not in found.variables:
        raise OptionError(
            f"variable={variable!r} is not among those that were kept: "
            f"{listing(found.variables, 20)}."
        )
    lines = list(_lines(found, variable, effect))
    drawn = [line for line in lines if line.drawn]
    if not drawn:
        raise DataError(
            f"No specification has a standard error of the {effect} effect of {variable!r}, so "
            "there is nothing to plot."
        )
    places = _places(lines)
    ax = axes(ax, (WIDTH, REST + LINE * (places[-1] + 1.0)))
    low, high = _limits(drawn)
    ax.set_xlim(low, high)
    ax.set_ylim(places[-1] + 0.6, -0.6)
    ax.axvspan(drawn[0].lower, drawn[0].upper, color=PALE, lw=0, zorder=0)
    if low < 0.0 < high:
        ax.axvline(0.0, color=GREY, lw=0.6, ls=(0, (4, 3)), zorder=1)
    for y, line in zip(places, lines, strict=True):
        if line.drawn:
            _interval(ax, y, line, 1.0 - found.level)
    ax.set_xlabel(f"{effect.capitalize()} effect of {variable} and {found.level:.0%} interval")
    ax.set_yticks([])
    finish(ax)
    ax.spines["left"].set_visible(False)
    _letters(ax, lines, places, found.level)
    return ax


# --- lines --------------------------------------------------------------------------------------


def _lines(found: Sensitivity, variable: str, effect: str) -> Iterator[Line]:
    """Yield the lines: a heading for every value of the first dimension, where two vary."""
    varying = found.varying
    nested = len(varying) > 1
    colours = _colours(found, varying[1]) if nested else {}
    last = None
    for run in found.runs:
        if run.impacts is not None and (effect, variable) not in run.impacts.index:
            continue  # the variable is not in this formula
        if nested and run.key[varying[0]] != last:
            last = run.key[varying[0]]
            yield Line(_text(varying[0], last), heading=True)
        own = varying[1:] if nested else varying
        label = ", ".join(_text(name, run.key[name]) for name in own) or _text(
            "model", run.key["model"]
        )
        colour = colours.get(run.key[varying[1]], COLOURS[0]) if nested else COLOURS[0]
        yield _line(run, label, colour, variable, effect)


def _line(run: Run, label: str, colour: str, variable: str, effect: str) -> Line:
    if run.impacts is None:
        kind = run.error.split(":")[0]
        return Line(label, error=REASONS.get(kind, kind))
    row = run.impacts.loc[(effect, variable)]
    estimate, lower, upper, p = (float(row[name]) for name in SHOWN)
    return Line(label, False, colour, estimate, lower, upper, p)


def _colours(found: Sensitivity, dimension: str) -> dict[str, str]:
    """Return a colour for every value of a dimension, if there are enough of them."""
    values = list(dict.fromkeys(run.key[dimension] for run in found.runs))
    if len(values) > len(COLOURS):
        return {}
    return dict(zip(values, COLOURS, strict=False))


def _text(dimension: str, value: str) -> str:
    return value.upper() if dimension == "model" else value


def _places(lines: Sequence[Line]) -> NDArray:
    """Return where lines stand, from the top; a heading has more room above it."""
    steps = [1.0 + 0.35 * line.heading for line in lines]
    return np.cumsum([0.0, *steps[1:]])


# --- drawing ------------------------------------------------------------------------------------


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    """Return the ends of the axis: neither very long intervals nor far estimates decide them."""
    lower, upper, middle = (
        np.array([getattr(line, name) for line in lines]) for name in ("lower", "upper", "estimate")
    )
    usual = LONG * np.median(upper - lower)
    near = np.abs(middle - np.median(middle)) <= usual
    kept = near & (upper - lower <= usual)
    if not kept.any():
        kept = near = np.ones(len(lines), dtype=bool)
    low = min(float(lower[kept].min()), float(middle[near].min()))
    high = max(float(upper[kept].max()), float(middle[near].max()))
    low, high = _with_zero(low, high)
    space = 0.04 * (high - low)
    return low - space, high + space


def _with_zero(low: float, high: float) -> tuple[float, float]:
    """Take zero into the axis when it is not far away."""
    width = high - low
    if 0.0 < low < 1.5 * width:
        return 0.0, high
    if -1.5 * width < high < 0.0:
        return low, 0.0
    return low, high


def _interval(ax: Axes, y: float, line: Line, alpha: float) -> None:
    """Draw an estimate and its interval; arrows where it leaves the axes."""
    low, high = ax.get_xlim()
    left, right = max(line.lower, low), min(line.upper, high)
    if left < right:
        ax.plot([left, right], [y, y], color=line.colour, lw=1.3, solid_capstyle="butt", zorder=2)
    for outside, end, marker in (
        (line.lower < low, low, "<"),
        (line.upper > high, high, ">"),
    ):
        if outside:
            ax.plot(end, y, marker, color=line.colour, ms=4.0, clip_on=False, zorder=2)
    if low <= line.estimate <= high:
        face = line.colour if line.p_value < alpha else "white"
        ax.plot(line.estimate, y, "o", ms=4.4, mec=line.colour, mfc=face, mew=1.0, zorder=3)


def _letters(ax: Axes, lines: Sequence[Line], places: NDArray, level: float) -> None:
    """Write labels to the left of the axes; estimates and intervals to the right."""
    nested = any(line.heading for line in lines)
    indents = [INDENT * (nested and not line.heading) for line in lines]
    widths = [_width(line.label, SMALL, line.heading) for line in lines]
    left = -max(w + indent for w, indent in zip(widths, indents, strict=True)) - GAP
    decimals = _decimals([line for line in lines if line.drawn])
    texts = [_numbers(line, decimals) for line in lines]
    # columns are aligned on the right, so that their decimals stand below one another
    ends = [GAP, GAP, 0.5 * GAP]
    for j in range(3):
        ends[j] += max(_width(text[j], SMALL) for text in texts) + (ends[j - 1] if j else 0.0)
    for y, line, indent, text in zip(places, lines, indents, texts, strict=True):
        _note(ax, y, line.label, 0.0, left + indent, "left", bold=line.heading)
        if line.error:
            _note(ax, y, f"not estimated ({line.error})", 0.0, GAP, "left", grey=True)
        elif not line.heading and not line.drawn:
            _note(ax, y, text[0], 1.0, ends[0], "right", grey=True)
            _note(ax, y, "fixed by the model", 1.0, ends[0] + GAP, "left", grey=True)
        else:
            for part, end in zip(text, ends, strict=True):
                _note(ax, y, part, 1.0, end, "right")
    ax.annotate(
        f"Filled: p < {1.0 - level:.2g}. Band: the first interval.",
        (1.0, 1.0),
        xycoords="axes fraction",
        xytext=(0.0, 3.0),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=SMALL - 0.5,
        color=GREY,
    )


def _note(
    ax: Axes,
    y: float,
    text: str,
    x: float,
    shift: float,
    side: str,
    *,
    bold: bool = False,
    grey: bool = False,
) -> None:
    if not text:
        return
    from matplotlib.patheffects import withStroke

    ax.annotate(
        text,
        (x, y),
        xycoords=("axes fraction", "data"),
        xytext=(shift, 0.0),
        textcoords="offset points",
        ha=side,
        va="center_baseline",
        fontsize=SMALL,
        fontweight="bold" if bold else "normal",
        color=GREY if grey else INK,
        annotation_clip=False,
        zorder=4,
        path_effects=[withStroke(linewidth=1.6, foreground="white")] if grey else None,
    )


def _numbers(line: Line, decimals: int) -> tuple[str, str, str]:
    """Return the estimate and the two ends of its interval as text."""
    if line.heading or line.error:
        return "", "", ""
    estimate, low, high = (
        number(value, decimals, scientific=False).replace("-", "−")
        for value in (line.estimate, line.lower, line.upper)
    )
    return (estimate, f"[{low},", f"{high}]") if line.drawn else (estimate, "", "")


def _decimals(lines: Sequence[Line]) -> int:
    """Return the decimals that show two digits of the shortest interval."""
    width = min(line.upper - line.lower for line in lines)
    return int(np.clip(np.ceil(-np.log10(width / 20.0)), 0, 6))


def _width(text: str, size: float, bold: bool = False) -> float:
    """Return the width of a text in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text:
        return 0.0
    font = FontProperties(weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().x1)
