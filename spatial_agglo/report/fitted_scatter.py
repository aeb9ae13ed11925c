"""Scatter of an outcome against a regressor with the fitted line, fixed effects removed or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from spatial_agglo.errors import OptionError, check_made, listing
from spatial_agglo.formula import INTERCEPT
from spatial_agglo.models import estimators
from spatial_agglo.models.two_stage import TwoStageResult
from spatial_agglo.panel import Panel
from spatial_agglo.report.formats import in_words, number
from spatial_agglo.report.style import (
    ALONG,
    COLOURS,
    INK,
    SMALL,
    WIDTH,
    axes,
    broken,
    finish,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from spatial_agglo.models.results import FitResult

#: Points are drawn fainter the more there are: this many are opaque.
OPAQUE = 150.0
#: Letters that fit along the vertical axis.
UPWARDS = 34


class Points(NamedTuple):
    """What is drawn: points, the line ``y = level + slope x``, and the variance of its height.

    ``variance`` holds v0, v1, v2: that of the line at x is ``v0 + 2 v1 x + v2 x^2``.
    """

    x: NDArray
    y: NDArray
    level: float
    slope: float
    variance: tuple[float, float, float]
    p_value: float


def fitted_scatter(
    fit: FitResult,
    variable: str,
    *,
    partial: bool = True,
    level: float = 0.95,
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the outcome of a regression against one of its regressors, with the fitted line.

    ::

        partial      M y against M x, M taking out the effects and all other regressors:
                     the slope is the coefficient of the fit (Frisch & Waugh 1933; Lovell 1963)
        otherwise    y against x as they are: the slope is that of a regression without effects
                     and other regressors

    Parameters
    ----------
    fit : FitResult
        From :func:`spatial_agglo.ols`.
    variable : str
        One of its regressors.
    partial : bool
        Whether effects and other regressors are taken out. The means of both variables are put
        back, so that the axes have their levels.
    level : float
        Of the band around the line, which follows the covariance of the fit. With ``partial`` it
        is that of the slope, and turns around the means.
    labels : mapping of str to str, optional
        How variable and outcome are written.
    ax : Axes, optional
        Where to draw; a new figure of a column's width by default.

    Returns
    -------
    Axes

    Raises
    ------
    OptionError
        A fit with spatial terms, random effects or by two-stage least squares; no such regressor;
        a level outside (0, 1).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from matplotlib.figure import Figure
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> fit = sa.ols("logc ~ logp + logy", panel, cov="clustered")
    >>> ax = fitted_scatter(fit, "logp", ax=Figure().add_subplot())
    >>> ax.get_xlabel()
    'logp (effects and logy removed)'
    """
    from matplotlib.ticker import MaxNLocator

    _check(fit, variable, level)
    points = partial_points(fit, variable) if partial else raw_points(fit, variable)
    names = dict(labels or {})
    ax = axes(ax, (WIDTH, 2.7))
    x, y = points.x, points.y
    alpha = float(np.clip(np.sqrt(OPAQUE / x.size), 0.18, 1.0))
    ax.plot(x, y, "o", ms=3.0, mfc=COLOURS[0], mec="none", alpha=alpha, zorder=2, rasterized=True)
    at = np.linspace(x.min(), x.max(), 200)
    line = points.level + points.slope * at
    v0, v1, v2 = points.variance
    half = ndtri(0.5 + level / 2.0) * np.sqrt(np.maximum(v0 + 2.0 * v1 * at + v2 * at**2, 0.0))
    ax.fill_between(at, line - half, line + half, color=COLOURS[1], alpha=0.22, lw=0, zorder=3)
    ax.plot(at, line, color=COLOURS[1], lw=1.5, zorder=4)
    removed = _removed(fit, variable, names) if partial else ""
    outcome = fit.workspace.data.outcome
    ax.set_xlabel(_axis(names.get(variable, variable), removed, ALONG))
    ax.set_ylabel(_axis(names.get(outcome, outcome), removed, UPWARDS))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6))
    finish(ax)
    note = f"slope = {number(points.slope, 3)}, {in_words(points.p_value)}, N = {x.size:,}"
    # Above the axes, where it hides no point.
    ax.set_title(note.replace("-", "−"), fontsize=SMALL, color=INK, loc="left", pad=3.0)
    return ax


def partial_points(fit: FitResult, variable: str) -> Points:
    """Return what effects and other regressors leave of the outcome and of a regressor.

    Residuals of regressions with the effects of the fit, means put back.
    """
    data = fit.workspace.data
    cells = data.cells
    j = data.regressors.index(variable)
    x = data.X[:, :, j]
    others = [name for name in fit.names if name not in (variable, "sigma2")]
    names = [name for name in data.regressors if name != variable]
    Z = np.stack([data.y, x, *(data.X[:, :, data.regressors.index(n)] for n in names)], axis=2)
    if INTERCEPT in others:
        Z = np.concatenate([Z, cells.astype(float)[:, :, None]], axis=2)
    flat = fit.workspace.project(Z, fit.spec)[cells]
    rest = flat[:, 2:]
    left = flat[:, :2]
    if rest.shape[1]:
        scale = np.sqrt(np.einsum("ij,ij->j", rest, rest))
        left = left - (rest / scale) @ np.linalg.lstsq(rest / scale, left, rcond=None)[0]
    slope = float(fit.params[variable])
    means = (float(x[cells].mean()), float(data.y[cells].mean()))
    v = float(fit.cov.loc[variable, variable])
    return Points(
        x=left[:, 1] + means[0],
        y=left[:, 0] + means[1],
        level=means[1] - slope * means[0],
        slope=slope,
        # The line turns around the means.
        variance=(v * means[0] ** 2, -v * means[0], v),
        p_value=float(fit.pvalues[variable]),
    )


def raw_points(fit: FitResult, variable: str) -> Points:
    """Return outcome and regressor as they are, and the regression of one on the other."""
    data = fit.workspace.data
    cells, panel = data.cells, data.panel
    if data.observed is not None:
        panel = Panel(panel.frame[cells[panel.present]], unbalanced="allow")
    left = data.formula.split("~")[0].strip()
    pooled = estimators.ols(f"{left} ~ {variable}", panel, effects="none", cov=fit.spec.cov)
    V = pooled.cov
    return Points(
        x=data.X[:, :, data.regressors.index(variable)][cells],
        y=data.y[cells],
        level=float(pooled.params[INTERCEPT]),
        slope=float(pooled.params[variable]),
        variance=(
            float(V.loc[INTERCEPT, INTERCEPT]),
            float(V.loc[INTERCEPT, variable]),
            float(V.loc[variable, variable]),
        ),
        p_value=float(pooled.pvalues[variable]),
    )


def _axis(name: str, removed: str, room: int) -> str:
    """Write a label and what was removed from it, in lines that have room for so many letters."""
    if not removed:
        return broken(name, room)
    line = f"{name} ({removed})"
    return line if len(line) <= room else f"{broken(name, room)}\n({broken(removed, room)})"


def _removed(fit: FitResult, variable: str, labels: Mapping[str, str]) -> str:
    """Say what was taken out of both variables; empty when nothing was."""
    others = [labels.get(n, n) for n in fit.workspace.data.regressors if n != variable]
    effects = ["effects"] if fit.spec.fixed != "none" else []
    if not effects and not others:
        return ""
    if len(others) > 2:
        others = [f"{len(others)} controls"]
    parts = [*effects, *others]
    text = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    return f"{text} removed"


def _check(fit: FitResult, variable: str, level: float) -> None:
    check_made(fit, "spec", "sa.ols")
    spec = fit.spec
    wrong = (
        "two-stage least squares"
        if isinstance(fit, TwoStageResult)
        else "spatial terms"
        if spec.spatial or spec.has_durbin
        else "random effects"
        if spec.effects == "random"
        else "lags of the outcome"
        if spec.dynamic is not None
        else ""
    )
    if wrong:
        raise OptionError(
            f"A scatter with its fitted line is for ols(...) with fixed effects or none; this fit "
            f"has {wrong}."
        )
    regressors = fit.workspace.data.regressors
    if variable not in regressors:
        raise OptionError(
            f"The fit has no regressor {variable!r}; it has {listing(regressors, 20)}."
        )
    if isinstance(level, str) or not 0.0 < level < 1.0:
        raise OptionError(f"level={level!r} must lie between 0 and 1, for example 0.95.")
