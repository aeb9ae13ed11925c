"""Pictures of moderation: simple slopes of one path, and an effect against the moderator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from spatial_agglo.errors import check_made, check_option
from spatial_agglo.report.style import (
    COLOURS,
    GREY,
    INK,
    SMALL,
    WIDTH,
    axes,
    broken,
    finish,
    legend_above,
    legend_columns,
    root_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

    from spatial_agglo.mechanisms.conditional import ModeratedMediation

#: Height of a picture, inches; and letters that fit along the axis that stands.
HEIGHT, UPRIGHT = 2.7, 34
#: Dashes by line, so that lines differ without colour.
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)))
#: Shares of the horizontal variable between which lines are drawn.
REACH = (0.01, 0.99)
#: Share of the width from either side in which a name is written inwards.
EDGE = 0.08
#: Share of the width that is left beside a line.
MARGIN = 0.03
#: Most ticks of the rug.
MARKS = 400


def simple_slopes(
    found: ModeratedMediation, path: str = "first", *, ax: Axes | None = None
) -> Axes:
    """Plot what one path makes of its outcome, a line for each value of the moderator.

    The lines are ``mean(y) + b_x (x - x0) + b_z (z - z0) + b_xz (x - x0)(z - z0)`` with controls,
    effects and the other regressors at their means, x between its 1st and 99th percentile. The
    bands are pointwise and of the difference from the mean of y, from the equation's covariance:
    fixed effects take the level, so the band of the mean moderator closes at the mean of x.

    Parameters
    ----------
    found : ModeratedMediation
        From :func:`spatial_agglo.mechanisms.moderated.moderated_mediation`.
    path : {"direct", "first", "second"}
    ax : Axes, optional
        Where to draw; a new figure of a column's width by default.

    Returns
    -------
    Axes

    Raises
    ------
    OptionError
        An unknown path.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> from spatial_agglo.mechanisms.moderated import moderated_mediation
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> found = moderated_mediation(
    ...     "logc ~ logy", panel, treatment="logy", mediator="logp", moderator="pimin", draws=99)
    >>> simple_slopes(found, "first", ax=Figure().add_subplot()).get_xlabel()
    'logy'
    """
    check_made(found, "observed", "moderated_mediation")
    check_option("path", path, ("direct", "first", "second"))
    key = "mediator" if path == "first" else "outcome"
    across = found.mediator if path == "second" else found.treatment
    fit = found.equations[key]
    outcome = fit.workspace.data.outcome
    x = found.observed(across)
    low, high = np.quantile(x, REACH)
    grid = np.linspace(low, high, 101)
    names = [across, found.moderator, f"{across}:{found.moderator}"]
    at = [fit.names.index(name) if name in fit.names else None for name in names]
    kept = [j for j in at if j is not None]
    values, covariance = fit.values[kept], fit.covariance[np.ix_(kept, kept)]
    z = float(ndtri(0.5 + found.level / 2.0))
    level, middle = found.observed(outcome).mean(), found.observed(found.moderator).mean()
    centres = found.centres
    ax = axes(ax, (WIDTH, HEIGHT))
    for j, (label, value) in enumerate(found.values.items()):
        rows = np.stack(
            [
                grid - x.mean(),
                np.full_like(grid, value - middle),
                (grid - centres[across]) * (value - centres[found.moderator])
                - (x.mean() - centres[across]) * (middle - centres[found.moderator]),
            ],
            axis=1,
        )[:, [place is not None for place in at]]
        line = level + rows @ values
        half = z * np.sqrt(np.clip(np.einsum("ij,jk,ik->i", rows, covariance, rows), 0.0, None))
        text = f"{found.moderator} {label} ({value:.4g})".replace("-", "−")
        _line(ax, grid, line, line - half, line + half, j, text)
    ax.set_xlim(grid[0], grid[-1])
    ax.set_xlabel(broken(across, 44))
    ax.set_ylabel(broken(outcome, UPRIGHT))
    finish(ax)
    handles, labels = ax.get_legend_handles_labels()
    # In one row or one column, so that they are read in the order of the values.
    columns = len(labels) if legend_columns(labels) == len(labels) else 1
    legend_above(ax, handles, labels, columns=columns)
    return ax


def conditional_plot(
    found: ModeratedMediation, effect: str = "indirect", *, ax: Axes | None = None
) -> Axes:
    """Plot an effect against the moderator, with its bias-corrected band and a rug of the data.

    Parameters
    ----------
    found : ModeratedMediation
        From :func:`spatial_agglo.mechanisms.moderated.moderated_mediation`.
    effect : {"direct", "first", "second", "indirect", "total"}
    ax : Axes, optional
        Where to draw; a new figure of a column's width by default.

    Returns
    -------
    Axes
        The points are at those of ``found.values`` that lie within the data, as the line does;
        the band is pointwise, of the resamples.

    Raises
    ------
    OptionError
        An unknown effect.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> from spatial_agglo.mechanisms.moderated import moderated_mediation
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> found = moderated_mediation(
    ...     "logc ~ logy", panel, treatment="logy", mediator="logp", moderator="pimin", draws=99)
    >>> conditional_plot(found, ax=Figure().add_subplot()).get_xlabel()
    'pimin'
    """
    check_made(found, "curve", "moderated_mediation")
    curve = found.curve(effect)
    what = {
        "direct": f"Direct effect of {found.treatment} on {found.outcome}",
        "first": f"Effect of {found.treatment} on {found.mediator}",
        "second": f"Effect of {found.mediator} on {found.outcome}",
        "indirect": f"Indirect effect of {found.treatment} on {found.outcome}",
        "total": f"Total effect of {found.treatment} on {found.outcome}",
    }[effect]
    grid = curve.index.to_numpy()
    low, high = curve["bc_lower"].to_numpy(), curve["bc_upper"].to_numpy()
    ax = axes(ax, (WIDTH, HEIGHT))
    ax.axhline(0.0, color=GREY, lw=0.6, zorder=1)
    _line(ax, grid, curve["estimate"].to_numpy(), low, high, 0, "")
    rows = found.conditional.loc[effect]
    rows = rows[rows[found.moderator].between(grid[0], grid[-1])]
    ax.plot(
        rows[found.moderator], rows["estimate"], "o", ms=4, mfc=COLOURS[0], mec="white", mew=0.6,
        zorder=4,
    )  # fmt: skip
    _rug(ax, found.observed(found.moderator))
    ax.margins(x=MARGIN)
    ax.set_xlabel(broken(found.moderator, 44))
    ax.set_ylabel(broken(what, UPRIGHT))
    finish(ax)
    _names_above(ax, rows[found.moderator], rows["estimate"], (grid[0], grid[-1]))
    return ax


# --- helpers ------------------------------------------------------------------------------


def _line(
    ax: Axes, x: NDArray, y: NDArray, low: NDArray, high: NDArray, j: int, label: str
) -> None:
    colour = COLOURS[j % len(COLOURS)]
    ax.fill_between(x, low, high, color=colour, alpha=0.16, lw=0, zorder=2)
    ax.plot(x, y, color=colour, lw=1.4, ls=DASHES[j % len(DASHES)], label=label or None, zorder=3)


def _names_above(ax: Axes, x: pd.Series, y: pd.Series, ends: tuple[float, float]) -> None:
    """Write names above points, each higher until it hides none before it."""
    root_figure(ax).draw_without_rendering()  # the layout moves the axes
    taken: list[Bbox] = []
    for label, value in x.items():
        share = (value - ends[0]) / (ends[1] - ends[0])
        side = "left" if share < EDGE else "right" if share > 1.0 - EDGE else "center"
        note = ax.annotate(
            str(label), (value, y[label]), xytext=(0.0, 6.0), textcoords="offset points",
            ha=side, va="bottom", fontsize=SMALL, color=INK, zorder=5,
        )  # fmt: skip
        height = 6.0
        while any(note.get_window_extent().overlaps(box) for box in taken):
            height += SMALL
            note.xyann = (0.0, height)
        taken.append(note.get_window_extent())


def _rug(ax: Axes, values: NDArray) -> None:
    """Mark where the data are along the lower edge."""
    shown = np.sort(values)[:: max(1, values.size // MARKS)]
    ax.plot(
        shown, np.zeros_like(shown), "|", color=GREY, ms=5, mew=0.4, alpha=0.5,
        transform=ax.get_xaxis_transform(), clip_on=True, zorder=1,
    )  # fmt: skip
