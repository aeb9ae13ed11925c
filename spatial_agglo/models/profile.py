"""The likelihood of one spatial parameter, everything else at its best."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import chdtri

from spatial_agglo.core.jacobian import Jacobian
from spatial_agglo.core.likelihood import Estimate, Filtered, Terms, complete
from spatial_agglo.core.maximize import maximize
from spatial_agglo.errors import BoundaryError, OptionError, check_option

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from spatial_agglo.models.results import FitResult

#: The grid reaches as far as the profile is within this many times the cut-off of its maximum.
REACH = 2.5
#: Standard errors from the estimate at which the search looks, besides the points of the grid.
NEAR = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
#: What the likelihood of an estimate may differ from that of the profile there.
SAME = 1e-8


@dataclass(frozen=True, eq=False)
class Profile:
    """The profile likelihood of a spatial parameter.

    Attributes
    ----------
    name : {"rho", "lambda"}
    grid : ndarray
        Values of the parameter.
    loglik : ndarray
        The log-likelihood there, all other parameters at their best.
    other : ndarray or None
        The best value of the other spatial parameter, in models with both.
    estimate, maximum : float
        Where the highest maximum is, and the log-likelihood there.
    level : float
        Confidence level of the interval.
    parts : tuple of (float, float)
        Where ``2 (maximum - loglik)`` is at most the chi-squared quantile with one degree of
        freedom: usually one interval, more if other maxima are nearly as high. An end at the
        border of the parameter space means that the data do not bound the parameter there.
    maxima : tuple of (float, float)
        Value and log-likelihood of all local maxima over the parameter space, highest first.
    space : tuple of float
        The parameter space.
    """

    name: str
    grid: NDArray
    loglik: NDArray
    other: NDArray | None
    estimate: float
    maximum: float
    level: float
    parts: tuple[tuple[float, float], ...]
    maxima: tuple[tuple[float, float], ...]
    space: tuple[float, float]

    @property
    def cutoff(self) -> float:
        """The log-likelihood at the ends of the interval."""
        return self.maximum - 0.5 * _quantile(self.level)

    @property
    def interval(self) -> tuple[float, float]:
        """The likelihood-ratio interval, from the lowest to the highest of its parts."""
        return self.parts[0][0], self.parts[-1][1]

    def to_frame(self) -> pd.DataFrame:
        """Return the profile as a table: loglik, lr, and the other spatial parameter if any.

        ``lr = 2 (maximum - loglik)`` is the likelihood-ratio statistic of the value.
        """
        columns = {"loglik": self.loglik, "lr": 2.0 * (self.maximum - self.loglik)}
        if self.other is not None:
            columns["lambda" if self.name == "rho" else "rho"] = self.other
        return pd.DataFrame(columns, index=pd.Index(self.grid, name=self.name))

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Plot the profile with its interval and its maxima.

        See :func:`spatial_agglo.report.profile_figure.profile_plot`.
        """
        from spatial_agglo.report.profile_figure import profile_plot

        return profile_plot(self, ax=ax)

    def __repr__(self) -> str:
        low, high = self.interval
        more = f", {len(self.maxima)} local maxima" if len(self.maxima) > 1 else ""
        return (
            f"Profile({self.name}={self.estimate:.4f}, {self.level * 100:.4g}% interval "
            f"({low:.4f}, {high:.4f}){more})"
        )


def profile(
    fit: FitResult,
    name: str = "rho",
    *,
    points: int = 101,
    level: float = 0.95,
    low: float | None = None,
    high: float | None = None,
) -> Profile:
    """Return the likelihood as a function of rho or lambda, all else at its best.

    ::

        l(rho) = max over beta, theta, lambda, sigma2 of the log-likelihood

    Parameters
    ----------
    fit : FitResult
    name : {"rho", "lambda"}
    points : int
    level : float
        Of the likelihood-ratio interval, ``2 (maximum - l) <= chi2(1)``. It need not be
        symmetric, and stays inside the parameter space. On panels with gaps or weights that
        change, where the score is adjusted for fixed effects, it is that of the adjusted
        likelihood.
    low, high : float, optional
        Ends of the grid; by default it reaches 2.5 times as deep as the interval. The search for
        maxima covers the parameter space in any case.

    Returns
    -------
    Profile
        With ``interval``, ``maxima``, ``to_frame()`` and ``plot()``.

    Raises
    ------
    OptionError
        The model does not have the parameter, or the estimate is not the maximum of a
        likelihood (corrected estimates, random effects, two-stage least squares).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> profile(sa.sar("logc ~ logp + logy", panel, W))
    Profile(rho=0.2210, 95% interval (0.1632, 0.2783))
    """
    _check(fit, name, points, level)
    filtered, terms = _likelihood(fit)
    _check_maximum(fit, filtered, terms)
    jacobian = terms.rho if name == "rho" else terms.lam
    assert jacobian is not None
    curve = _Curve(filtered, terms, name)
    estimate = float(fit.rho if name == "rho" else fit.lam)  # type: ignore[arg-type]
    top = curve(estimate)

    x = _looked_at(jacobian, estimate, float(fit.std_errors[name]))
    y = np.array([curve(float(value)) for value in x])
    drop = 0.5 * _quantile(level)
    wide = _parts(curve, x, y, top - REACH * drop)
    start = wide[0][0] if low is None else _inside(low, "low", jacobian)
    end = wide[-1][1] if high is None else _inside(high, "high", jacobian)
    space = (float(jacobian.interval[0]), float(jacobian.interval[1]))
    if not start < end:
        raise OptionError(f"low={start:.6g} must be smaller than high={end:.6g}.")
    grid = np.linspace(start, end, points)
    loglik = np.array([curve(float(value)) for value in grid])
    both = terms.rho is not None and terms.lam is not None
    return Profile(
        name=name,
        grid=_fixed(grid),
        loglik=_fixed(loglik),
        other=_fixed(np.array([curve.other(float(value)) for value in grid])) if both else None,
        estimate=estimate,
        maximum=top,
        level=level,
        parts=_to_the_border(_parts(curve, x, y, top - drop), x, space),
        maxima=_maxima(curve, x, y, estimate, top),
        space=space,
    )


class _Curve:
    """The profile as a function, which remembers where it was."""

    def __init__(self, filtered: Filtered, terms: Terms, name: str) -> None:
        self.filtered, self.terms, self.name = filtered, terms, name
        self._found: dict[float, tuple[float, float]] = {}

    def __call__(self, value: float) -> float:
        return self._at(value)[0]

    def other(self, value: float) -> float:
        """Return the best value of the other spatial parameter (zero if there is none)."""
        return self._at(value)[1]

    def _at(self, value: float) -> tuple[float, float]:
        if value not in self._found:
            self._found[value] = self._evaluate(value)
        return self._found[value]

    def _evaluate(self, value: float) -> tuple[float, float]:
        terms, n = self.terms, self.terms.n
        at = np.asarray(value)
        if self.name == "rho":
            if terms.lam is None:
                return complete(self.filtered, terms, value, 0.0).loglik, 0.0
            assert terms.rho is not None
            found = _best(_given_rho(self.filtered, value), Terms(n, None, terms.lam))
            return found.loglik + float(terms.rho.value(at)), found.lam
        if terms.rho is None:
            return complete(self.filtered, terms, 0.0, value).loglik, 0.0
        assert terms.lam is not None
        found = _best(_given_lambda(self.filtered, value), Terms(n, terms.rho, None))
        return found.loglik + float(terms.lam.value(at)), found.rho


def _given_rho(filtered: Filtered, rho: float) -> Filtered:
    """Return the cross-products with ``y - rho Wy`` in place of the columns y and Wy."""
    K = np.delete(np.eye(filtered.own.shape[0]), 1, axis=1)
    K[1, 0] = -rho
    own, cross, lagged = (K.T @ C @ K for C in (filtered.own, filtered.cross, filtered.lagged))
    return Filtered(own, cross, lagged, has_lag=False)


def _given_lambda(filtered: Filtered, lam: float) -> Filtered:
    """Return the cross-products of data that are filtered already."""
    own = filtered.at(lam)
    return Filtered(own, np.zeros_like(own), np.zeros_like(own), has_lag=True)


def _best(filtered: Filtered, terms: Terms) -> Estimate:
    """Maximise over the one parameter left; at the border where the likelihood rises to it."""
    try:
        return maximize(filtered, terms)
    except BoundaryError:
        jacobian = terms.rho or terms.lam
        assert jacobian is not None
        ends = [float(jacobian.grid[0]), float(jacobian.grid[-1])]
        pairs = [(end, 0.0) if terms.rho is not None else (0.0, end) for end in ends]
        return max((complete(filtered, terms, *pair) for pair in pairs), key=lambda e: e.loglik)


def _likelihood(fit: FitResult) -> tuple[Filtered, Terms]:
    """Return the cross-products and Jacobian terms that the estimate came from."""
    spec, space = fit.spec, fit.workspace
    regressors, _ = space.regressors(spec)
    filtered = Filtered.of(
        space.moments(spec),
        regressors,
        lag="W" if spec.has_lag else None,
        error=space.error_letter if spec.has_error else None,
    )
    return filtered, space.terms(spec)


# --- where to look ------------------------------------------------------------------------


def _looked_at(jacobian: Jacobian, estimate: float, std_error: float) -> NDArray:
    """Return the points of the search: the whole parameter space, and more near the estimate."""
    grid = jacobian.grid
    near = [estimate]
    if np.isfinite(std_error):
        near += [estimate + sign * step * std_error for sign in (-1.0, 1.0) for step in NEAR]
    x: NDArray = np.unique(np.concatenate([grid, near]))
    inside: NDArray = x[(x >= grid[0]) & (x <= grid[-1])]
    return inside


def _parts(curve: _Curve, x: NDArray, y: NDArray, height: float) -> tuple[tuple[float, float], ...]:
    """Return the intervals on which the profile lies above a height."""
    ends = []
    if y[0] >= height:
        ends.append(float(x[0]))
    for (a, at_a), (b, at_b) in pairwise(zip(x.tolist(), y.tolist(), strict=True)):
        if (at_a >= height) != (at_b >= height):
            ends.append(float(optimize.brentq(lambda v: curve(v) - height, a, b, xtol=1e-12)))
    if y[-1] >= height:
        ends.append(float(x[-1]))
    return tuple(zip(ends[::2], ends[1::2], strict=True))


def _to_the_border(
    parts: tuple[tuple[float, float], ...], x: NDArray, space: tuple[float, float]
) -> tuple[tuple[float, float], ...]:
    """Put the border of the parameter space where a part ends with the search just inside it."""
    first, last = float(x[0]), float(x[-1])
    return tuple(
        (space[0] if low == first else low, space[1] if high == last else high)
        for low, high in parts
    )


def _maxima(
    curve: _Curve, x: NDArray, y: NDArray, estimate: float, top: float
) -> tuple[tuple[float, float], ...]:
    """Return every local maximum inside the parameter space, highest first."""
    found = [(estimate, top)]
    for i in range(1, x.size - 1):
        if not (y[i] > y[i - 1] and y[i] > y[i + 1]) or x[i - 1] <= estimate <= x[i + 1]:
            continue
        best = optimize.minimize_scalar(
            lambda v: -curve(float(v)),
            bounds=(x[i - 1], x[i + 1]),
            method="bounded",
            options={"xatol": 1e-10 * (x[-1] - x[0])},
        )
        found.append((float(best.x), float(-best.fun)))
    return tuple(sorted(found, key=lambda pair: -pair[1]))


def _quantile(level: float) -> float:
    """Return the chi-squared quantile with one degree of freedom."""
    return float(chdtri(1, 1.0 - level))


def _fixed(array: NDArray) -> NDArray:
    array.flags.writeable = False
    return array


# --- checks -------------------------------------------------------------------------------


def _check(fit: FitResult, name: str, points: int, level: float) -> None:
    if not fit.spec.spatial:
        raise OptionError(f"{fit.model} has no spatial parameter to profile.")
    check_option("name", name, fit.spec.spatial)
    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 2:
        raise OptionError(f"points={points!r} must be a whole number, 2 or more.")
    if isinstance(level, str) or not 0.0 < level < 1.0:
        raise OptionError(f"level={level!r} must lie between 0 and 1, for example 0.95.")


def _check_maximum(fit: FitResult, filtered: Filtered, terms: Terms) -> None:
    """Raise unless the estimate is the maximum of this likelihood."""
    if fit.spec.effects == "random":
        raise OptionError("The profile of models with random effects is not available.")
    found = complete(filtered, terms, fit.rho or 0.0, fit.lam or 0.0)
    if not abs(found.loglik - fit.loglik) <= SAME * (1.0 + abs(found.loglik)):
        raise OptionError(
            f"This estimate is not the maximum of a likelihood (likelihood="
            f"{fit.spec.likelihood!r}: log-likelihood {fit.loglik:.6f}, at its spatial parameters "
            f"{found.loglik:.6f}), so there is no profile around it. Corrected estimates: "
            "fit.replace(likelihood='transformed').profile(), or bias_correction=False."
        )


def _inside(value: float, name: str, jacobian: Jacobian) -> float:
    low, high = jacobian.interval
    if not low < value < high:
        raise OptionError(
            f"{name}={value!r} must lie inside the parameter space ({low:.4g}, {high:.4g})."
        )
    return float(value)
