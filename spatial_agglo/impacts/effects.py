"""Average direct, indirect and total effects with standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from spatial_agglo.errors import OptionError, check_level, check_list, check_option, listing
from spatial_agglo.impacts.hypotheses import wald
from spatial_agglo.impacts.multipliers import Multipliers, multipliers, slopes, without_lag
from spatial_agglo.impacts.parameters import Parameters
from spatial_agglo.impacts.sampling import bootstrapped, simulated

if TYPE_CHECKING:
    from spatial_agglo.models.results import FitResult

EFFECTS = ("direct", "indirect", "total")
METHODS = ("delta", "simulation", "bootstrap")


def impacts(
    fit: FitResult,
    *,
    method: str = "delta",
    horizon: str = "short",
    draws: int = 1000,
    seed: int | np.random.Generator | None = 0,
    level: float = 0.95,
) -> Impacts:
    """Return average direct, indirect and total effects (LeSage & Pace 2009).

    ::

        short run   E_k = (I - rho W)^-1 (beta_k I + theta_k W)
        long run    E_k = ((1 - tau) I - (rho + eta) W)^-1 (beta_k I + theta_k W)

    For regressor k, ``E_k`` holds the effect on unit i (row) of a change in unit j (column).
    Direct is the mean of its diagonal, total the mean of its row sums, indirect their
    difference. Models without rho have ``E_k = beta_k I + theta_k W``, and without lagged
    regressors ``theta_k = 0``. On panels with gaps, or with weights that change over time, the
    means are over all observed cells.

    Parameters
    ----------
    fit : FitResult
        Of any model. Intercepts, unit means (Mundlak) and lags of the outcome have no effects.
    method : {"delta", "simulation", "bootstrap"}
        "delta": exact derivatives and the full covariance of the coefficients, rho included.
        "simulation": draws from the normal distribution of the estimates. "bootstrap": the
        draws of a fit with ``cov=Bootstrap(...)``. The last two give standard deviations and
        percentile intervals; point values are always those at the estimates.
    horizon : {"short", "long"}
        Dynamic models: effects within the period, or of a permanent change once the process has
        settled.
    draws : int
        Simulation only.
    seed : int, Generator or None
        Simulation only; the same seed gives the same numbers.
    level : float
        Coverage of the interval.

    Returns
    -------
    Impacts

    Raises
    ------
    OptionError
        Unknown method or horizon, fewer than two draws, a level outside (0, 1); a bootstrap of a
        fit without draws; a long run of a static model.
    BoundaryError
        rho outside the parameter space, which two-stage least squares can give; a long run that
        is not stable; more than half of the draws outside.

    References
    ----------
    LeSage & Pace (2009), Introduction to Spatial Econometrics, chapter 2. Elhorst (2014),
    Spatial Econometrics, sections 2.7 and 4.6, for the delta method and the long run.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> effects = sa.impacts(sa.sdm("logc ~ logp + logy", panel, W))
    >>> effects.total["estimate"].round(3).to_dict()
    {'logp': -1.225, 'logy': 0.398}
    >>> effects.test_zero("indirect").loc["joint"].round(2).to_dict()
    {'statistic': 7.45, 'df': 2.0, 'p_value': 0.02}
    >>> dynamic = sa.sar("logc ~ logp + logy", panel, W, dynamic="both")
    >>> sa.impacts(dynamic, horizon="long").total["estimate"].round(2).to_dict()
    {'logp': -2.0, 'logy': 0.66}
    """
    return impacts_of(
        Parameters.of(fit, horizon), method=method, draws=draws, seed=seed, level=level
    )


def impacts_of(
    parameters: Parameters,
    *,
    method: str,
    draws: int,
    seed: int | np.random.Generator | None,
    level: float,
) -> Impacts:
    """Return the effects of the variables, or of weighted sums of them."""
    check_option("method", method, METHODS)
    check_level(level)
    point, J = derivatives(parameters)
    k = len(parameters.names)
    rejected, used = 0, 0
    if method == "delta":
        covariance = parameters.propagate(J.reshape(3 * k, parameters.values.size))
        half = ndtri(0.5 + level / 2.0) * np.sqrt(np.clip(covariance.diagonal(), 0.0, None))
        bounds = np.stack([point - half.reshape(3, k), point + half.reshape(3, k)])
    else:
        if method == "bootstrap":
            drawn = bootstrapped(parameters)
        else:
            drawn, rejected = simulated(parameters, draws, seed)
        used = len(drawn)
        sample = effects_at(parameters, drawn)
        covariance = np.atleast_2d(np.cov(sample.reshape(used, 3 * k), rowvar=False))
        tail = 100.0 * (1.0 - level) / 2.0
        bounds = np.percentile(sample, [tail, 100.0 - tail], axis=0)
    return Impacts(
        names=parameters.names,
        estimate=point,
        covariance=covariance.reshape(3, k, 3, k),
        bounds=bounds,
        method=method,
        level=float(level),
        draws=used,
        rejected=rejected,
        horizon="long" if parameters.long else "short",
        clusters=parameters.fit.details.get("clusters"),
    )


def derivatives(parameters: Parameters) -> tuple[NDArray, NDArray]:
    """Return (direct, indirect, total) at the estimates, (3, k), and their slopes, (3, k, P)."""
    space = parameters.space
    if parameters.rho is None:
        m, flat = without_lag(space), np.zeros(2)
        slope = flat, flat
    else:
        r = parameters.rate(parameters.values[None, :])[0]
        m, d = multipliers(space, r), slopes(space, float(r[0]))
        slope = np.concatenate([d.a, d.c]), np.concatenate([d.b, d.d])
    level = np.concatenate([m.a, m.c]), np.concatenate([m.b, m.d])
    (direct, total), (direct_J, total_J) = parameters.at(level, slope)
    point = np.stack([direct, total - direct, total])
    return point, np.stack([direct_J, total_J - direct_J, total_J])


def effects_at(parameters: Parameters, drawn: NDArray) -> NDArray:
    """Return (direct, indirect, total) at every row of parameters, shape (R, 3, k)."""
    r, s = parameters.rate(drawn)
    space = parameters.space
    m: Multipliers = without_lag(space) if parameters.rho is None else multipliers(space, r)
    beta, theta = drawn @ parameters.beta, drawn @ parameters.theta
    direct, total = (
        s[:, None] * (f[:, None] * beta + g[:, None] * theta) for f, g in ((m.a, m.b), (m.c, m.d))
    )
    return np.stack([direct, total - direct, total], axis=1)


@dataclass(frozen=True, eq=False)
class Impacts:
    """Average effects of every regressor.

    Attributes
    ----------
    names : tuple of str
        The k regressors.
    estimate : ndarray, shape (3, k)
        Direct, indirect and total effects, evaluated at the estimates.
    covariance : ndarray, shape (3, k, 3, k)
        Of the estimates above.
    bounds : ndarray, shape (2, 3, k)
        Lower and upper end of the interval.
    method : {"delta", "simulation", "bootstrap"}
    level : float
        Coverage of the interval.
    draws, rejected : int
        Draws behind covariance and bounds, and those outside the parameter space that simulation
        replaced; 0 with the delta method.
    horizon : {"short", "long"}
    clusters : int or None
        Clusters, or periods, that the covariance of the fit is made of: joint tests need more.
    """

    names: tuple[str, ...]
    estimate: NDArray
    covariance: NDArray
    bounds: NDArray
    method: str
    level: float
    draws: int = 0
    rejected: int = 0
    horizon: str = "short"
    clusters: int | None = None

    @cached_property
    def se(self) -> NDArray:
        """Standard errors, shape (3, k); NaN for an effect that the model sets to zero."""
        k = len(self.names)
        variance = self.covariance.reshape(3 * k, 3 * k).diagonal().reshape(3, k)
        return np.sqrt(np.where(variance > 0, variance, np.nan))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per regressor and effect: estimate, se, z, p_value, lower, upper."""
        index = pd.MultiIndex.from_product([EFFECTS, self.names], names=["effect", "variable"])
        return table(self.estimate, self.se, index, self.bounds)

    @property
    def direct(self) -> pd.DataFrame:
        """Effect of a unit's regressor on its own outcome, feedback included."""
        return self.to_frame().xs("direct")

    @property
    def indirect(self) -> pd.DataFrame:
        """Spillover: effect on a unit of the regressor changing in all the others."""
        return self.to_frame().xs("indirect")

    @property
    def total(self) -> pd.DataFrame:
        """Effect on a unit of the regressor changing everywhere."""
        return self.to_frame().xs("total")

    def test_zero(
        self, effect: str = "indirect", *, variables: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Test that effects are zero: each by itself and, if there are several, jointly.

        Wald tests, chi-squared. Where rho and a coefficient are both close to zero their product
        is far from normal, and the test of an indirect effect rejects too rarely.

        Parameters
        ----------
        effect : {"direct", "indirect", "total"}
        variables : list of str, optional
            All of them by default.

        Returns
        -------
        DataFrame
            Columns ``statistic``, ``df``, ``p_value``; a row for every variable, and "joint".

        Raises
        ------
        OptionError
            Unknown names; effects that the model sets to zero.
        IdentificationError
            As many restrictions as the covariance has clusters, or dependent ones.

        Examples
        --------
        >>> import spatial_agglo as sa
        >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
        >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
        >>> effects = sa.sdm("logc ~ logp + logy", panel, W).impacts()
        >>> effects.test_zero("indirect")["p_value"].round(3).to_dict()
        {'indirect of logp = 0': 0.025, 'indirect of logy = 0': 0.035, 'joint': 0.024}
        """
        check_option("effect", effect, EFFECTS)
        names = self.names if variables is None else tuple(check_list("variables", variables))
        if not names:
            raise OptionError("There is no variable to test.")
        R = np.array([self._weights(effect, name) for name in names])
        tests = {
            f"{effect} of {name} = 0": row[None, :] for name, row in zip(names, R, strict=True)
        }
        if len(names) > 1:
            tests["joint"] = R
        return self._wald(tests)

    def test_equal(self, first: tuple[str, str], second: tuple[str, str]) -> pd.DataFrame:
        """Test that two effects are equal.

        Parameters
        ----------
        first, second : pair of str
            An effect and a variable: ``("total", "x1")``.

        Returns
        -------
        DataFrame
            One row: ``statistic``, ``df`` (1), ``p_value``.

        Raises
        ------
        OptionError
            Unknown names, or twice the same effect.

        Examples
        --------
        >>> import spatial_agglo as sa
        >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
        >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
        >>> effects = sa.sdm("logc ~ logp + logy", panel, W).impacts()
        >>> effects.test_equal(("direct", "logp"), ("indirect", "logp")).round(2).iloc[0].to_dict()
        {'statistic': 63.74, 'df': 1.0, 'p_value': 0.0}
        """
        rows = []
        for pair in (first, second):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise OptionError(
                    f"Name an effect and a variable, ('total', {self.names[0]!r}); got {pair!r}."
                )
            check_option("effect", pair[0], EFFECTS)
            rows.append(self._weights(*pair))
        if tuple(first) == tuple(second):
            raise OptionError(f"first and second are twice the same effect, {tuple(first)!r}.")
        name = " = ".join(f"{effect} of {variable}" for effect, variable in (first, second))
        return self._wald({name: (rows[0] - rows[1])[None, :]})

    def _weights(self, effect: str, variable: str) -> NDArray:
        """Return the vector that picks one effect."""
        if variable not in self.names:
            raise OptionError(
                f"{variable!r} is not among the variables with effects: {listing(self.names, 20)}."
            )
        out = np.zeros((3, len(self.names)))
        out[EFFECTS.index(effect), self.names.index(variable)] = 1.0
        return out.ravel()

    def _wald(self, tests: dict[str, NDArray]) -> pd.DataFrame:
        p = 3 * len(self.names)
        return wald(self.estimate.ravel(), self.covariance.reshape(p, p), tests, self.clusters)

    def _repr_html_(self) -> str:
        return self.to_frame()._repr_html_()

    def __repr__(self) -> str:
        run = ", long run" if self.horizon == "long" else ""
        return (
            f"Impacts({self.method}, {self.level:.0%} intervals{run})\n"
            f"{self.to_frame().to_string()}"
        )


def table(
    estimate: NDArray, se: NDArray, index: pd.Index, bounds: NDArray | None = None
) -> pd.DataFrame:
    """Return estimate, se, z, p_value and, with bounds, lower and upper, under an index."""
    z = estimate / se
    columns = {"estimate": estimate, "se": se, "z": z, "p_value": 2.0 * ndtr(-np.abs(z))}
    if bounds is not None:
        columns |= {"lower": bounds[0], "upper": bounds[1]}
    return pd.DataFrame({key: value.ravel() for key, value in columns.items()}, index=index)
