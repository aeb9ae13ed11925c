"""The picture of a profile likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from spatial_agglo.errors import check_made
from spatial_agglo.report.style import (
    COLOURS,
    GREY,
    INK,
    PALE,
    WIDTH,
    axes,
    finish,
    legend_above,
    legend_columns,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from spatial_agglo.models.profile import Profile

#: How parameters are written along an axis.
SYMBOLS = {"rho": r"$\rho$", "lambda": r"$\lambda$"}


def profile_plot(profile: Profile, *, ax: Axes | None = None) -> Axes:
    """Plot the profile likelihood of a spatial parameter.

    The dashed line lies half a chi-squared quantile below the maximum; where the curve is above
    it is the likelihood-ratio interval, which is shaded. A filled marker stands at the
    estimate, open ones at other local maxima.

    Parameters
    ----------
    profile : Profile
        From ``fit.profile()``.
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
    >>> found = sa.sar("logc ~ logp + logy", panel, W).profile()
    >>> profile_plot(found, ax=Figure().add_subplot()).get_ylabel()
    'Profile log-likelihood'
    """
    check_made(profile, "maxima", "fit.profile")
    ax = axes(ax, (WIDTH, 2.5))
    x, y = _curve(profile)
    bands = [ax.axvspan(*part, color=PALE, lw=0, zorder=1) for part in profile.parts]
    cut = ax.axhline(profile.cutoff, color=GREY, lw=0.6, ls=(0, (4, 3)), zorder=2)
    ax.plot(x, y, color=COLOURS[0], lw=1.4, zorder=3)
    ax.plot(
        [profile.estimate], [profile.maximum], "o", ms=4.6, mfc=COLOURS[1], mec="white", mew=0.5,
        zorder=5, label=f"Estimate, {_number(profile.estimate, profile)}",
    )  # fmt: skip
    handles, labels = _handles(ax)
    others = [pair for pair in _others(profile) if x[0] <= pair[0] <= x[-1]]
    if others:
        marks = ax.plot(
            *np.transpose(others), "o", ms=4.2, mfc="white", mec=COLOURS[1], mew=1.0, zorder=4
        )
        handles.append(marks[0])
        labels.append("Other maximum" if len(others) == 1 else "Other maxima")
    handles.append((bands[0], cut))
    labels.append(f"{profile.level * 100:.4g}% interval, {_written(profile)}")
    _frame(ax, x, y)
    finish(ax)
    ax.set_xlabel(SYMBOLS[profile.name])
    ax.set_ylabel("Profile log-likelihood")
    legend_above(ax, handles, labels, columns=legend_columns(labels))
    return ax


def _curve(profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of the curve, its maxima among them so that peaks are not cut off."""
    inside = [pair for pair in profile.maxima if profile.grid[0] < pair[0] < profile.grid[-1]]
    x = np.concatenate([profile.grid, [pair[0] for pair in inside]])
    y = np.concatenate([profile.loglik, [pair[1] for pair in inside]])
    order = np.argsort(x)
    return x[order], y[order]


def _handles(ax: Axes) -> tuple[list[Any], list[Any]]:
    """Return the handles of a legend, to which pairs of artists may be added."""
    return ax.get_legend_handles_labels()


def _others(profile: Profile) -> list[tuple[float, float]]:
    return [pair for pair in profile.maxima if pair[0] != profile.estimate]


def _written(profile: Profile) -> str:
    parts = [" to ".join(_number(end, profile) for end in part) for part in profile.parts]
    return " and ".join(parts) if len(parts) < 3 else f"in {len(parts)} parts"


def _number(value: float, profile: Profile) -> str:
    """Write a value of the parameter with the digits that the narrowest interval calls for."""
    narrow = min(high - low for low, high in profile.parts)
    digits = max(3, int(np.ceil(-np.log10(narrow))) + 1) if narrow > 0 else 3
    return f"{value:.{min(digits, 8)}f}".replace("-", "−")


def _frame(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Leave room above the peak, and write whole numbers of the log-likelihood in full."""
    from matplotlib.ticker import MaxNLocator

    height = float(y.max() - y.min()) or 1.0
    ax.set_xlim(float(x[0]), float(x[-1]))
    ax.set_ylim(float(y.min()) - 0.04 * height, float(y.max()) + 0.1 * height)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6))
    ax.ticklabel_format(axis="y", useOffset=False, style="plain")
    ax.yaxis.label.set_color(INK)
