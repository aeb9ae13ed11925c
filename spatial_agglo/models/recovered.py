"""What a fit says of every cell: fixed effects, disturbances, the reduced form, R2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from spatial_agglo.core.moments import lag
from spatial_agglo.core.traces import solve_panel
from spatial_agglo.core.within import removes_entity, removes_time, within
from spatial_agglo.errors import IdentificationError, OptionError, WeightsError, listing
from spatial_agglo.formula import INTERCEPT, Variables
from spatial_agglo.models.weighting import Weighting

if TYPE_CHECKING:
    from spatial_agglo.models.results import FitResult

#: Fixed effects may miss what they should add up to by this share of the outcome.
EXACT = 1e-6


@dataclass(frozen=True, eq=False)
class FixedEffects:
    """Fixed effects, normalised to sum to zero, and the constant that this takes.

    Attributes
    ----------
    constant : float or None
        None without fixed effects and without an intercept.
    units : ndarray, shape (N,), or None
        NaN for units that are never observed.
    periods : ndarray, shape (T,), or None
    """

    constant: float | None
    units: NDArray | None = None
    periods: NDArray | None = None

    def __post_init__(self) -> None:
        for array in (self.units, self.periods):
            if array is not None:
                array.flags.writeable = False


def fixed_effects(fit: FitResult) -> FixedEffects:
    """Split what the fixed effects add to every cell into a constant, units and periods.

    ::

        y_t = rho W y_t + X_t beta + W X_t theta + constant + unit + period_t + u_t,
        sum_i unit_i = 0,    sum_t period_t = 0

    reproduces the outcome exactly. Where cells are missing or weights change over time the
    effects stand inside the error process, ``u_t = lambda M u_t + constant + unit + period_t +
    e_t`` (the same thing without lambda). Sums are over the units and periods that are
    observed, each counted once; an effect that is never observed is NaN. Without fixed effects
    the constant is the intercept.

    Raises
    ------
    IdentificationError
        Two-way effects, and gaps that leave no chain of cells between some units.
    WeightsError
        See :func:`levels`.
    OptionError
        Random effects.

    References
    ----------
    Elhorst (2014), Spatial Econometrics, section 3.3: the same constant, and effects as
    deviations from it.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sa.sar("logc ~ logp + logy", panel, W)
    >>> fit.unit_effects[["New Hampshire", "Utah"]].round(2).to_dict()
    {'New Hampshire': 0.49, 'Utah': -0.54}
    >>> fit.unit_effects.attrs["constraint"]
    'unit effects sum to zero; y_t = ... + constant + unit + period + u_t'
    """
    cells, fixed = fit.workspace.data.cells, fit.spec.fixed
    if fit.spec.effects == "random":
        raise OptionError(
            "Random effects are not parameters, so there are none to recover: their predictions "
            "are in fit.details['unit_effects']. Fixed ones: fit.replace(effects='entity')."
        )
    if fixed == "none":
        values = dict(zip(fit.names, fit.values.tolist(), strict=True))
        return FixedEffects(values.get(INTERCEPT))
    m = fit.levels
    of_unit, of_period = np.maximum(cells.sum(axis=0), 1), np.maximum(cells.sum(axis=1), 1)
    if fixed == "time":
        periods = np.where(cells.any(axis=1), m.sum(axis=1) / of_period, np.nan)
        constant = float(np.nanmean(periods))
        return FixedEffects(constant, periods=periods - constant)
    periods = np.zeros(m.shape[0])
    if fixed == "two-way":
        _check_connected(fit)
        periods = _periods(fit, m)
    units = (m - np.nan_to_num(periods)[:, None] * cells).sum(axis=0) / of_unit
    units = np.where(cells.any(axis=0), units, np.nan)
    of_units, of_periods = float(np.nanmean(units)), float(np.nanmean(periods))
    constant = of_units + of_periods
    if fixed == "entity":
        return FixedEffects(constant, units - of_units)
    return FixedEffects(constant, units - of_units, periods - of_periods)


def levels(fit: FitResult) -> NDArray:
    """Return what the fixed effects add to every cell, constant included, shape (T, N).

    With ``r = S y - X beta - W X theta`` and the innovations v it is ``r - B^-1 v`` (effects in
    the mean), or ``B r - v`` where cells are missing or weights change (effects inside the
    filter B of the errors). It is zero without fixed effects: an intercept is a regressor.

    Raises
    ------
    WeightsError
        Data that were demeaned over units before they were lagged by a W that is not
        row-standardised: the period effects of that model are not effects on y.
    """
    spec, space = fit.spec, fit.workspace
    data = space.data
    if spec.fixed == "none":
        return np.zeros(data.y.shape)
    if (
        spec.lags_last
        and spec.has_lag
        and removes_time(spec.fixed)
        and not (space.weights and space.weights.row_standardized)
    ):
        raise WeightsError(
            f"likelihood={spec.likelihood!r} takes period means out before W is applied; with a W "
            "that is not row-standardised these are not period effects on the outcome, and cannot "
            "be recovered. Use likelihood='transformed' or 'direct', or W.standardize('row')."
        )
    own, lagged = regression(fit, data, space.durbin_weights)
    r = (data.y - own - lagged) * data.cells
    if fit.rho and space.weights:
        r = r - fit.rho * lag(space.weights.operator, data.y)
    if space.irregular and fit.lam and space.error_weights:
        r = r - fit.lam * lag(space.error_weights.operator, r)
        m = r - fit.resid
    else:
        m = r - disturbances(fit)
    _check_dummies(fit, m)
    m.flags.writeable = False
    return m


def regression(
    fit: FitResult, data: Variables, durbin: Weighting | None
) -> tuple[NDArray, NDArray]:
    """Return ``X beta`` (with the intercept, if there is one) and ``W X theta``, shape (T, N).

    ``data`` are those of the fit, or others with the same regressors.
    """
    _, names = fit.workspace.regressors(fit.spec)
    if list(fit.names[: len(names)]) != names:
        raise OptionError(
            f"The fitted values of this {fit.model} (parameters {listing(fit.names, 20)}) are not "
            "a function of the regressors of its formula alone: only fit.fitted_values and "
            "fit.resids are available."
        )
    values = dict(zip(fit.names, fit.values.tolist(), strict=True))
    own = data.X @ np.array([values[name] for name in data.regressors])
    if INTERCEPT in names:
        own = own + values[INTERCEPT] * data.cells
    chosen = fit.spec.lagged(data)
    if not chosen or durbin is None:
        return own, np.zeros_like(own)
    theta = [values[f"W*{name}"] if name in chosen else 0.0 for name in data.regressors]
    return own, lag(durbin.operator, data.X @ np.array(theta))


def disturbances(fit: FitResult) -> NDArray:
    """Return ``u = (I - lambda M)^-1 e``, shape (T, N); the innovations without lambda."""
    return solve(fit.workspace.error_weights, fit.lam, fit.resid)


def solve(weights: Weighting | None, value: float | None, Z: NDArray) -> NDArray:
    """Return ``(I - value W_t)^-1 z_t`` for every period of ``Z``, shape (T, N)."""
    if not value or weights is None:
        return Z
    out = np.empty_like(Z)
    which = np.array(weights.which)
    for j, W in enumerate(weights.matrices):
        out[which == j] = solve_panel(W.matrix, value, Z[which == j])
    return out


def rsquared_within(fit: FitResult) -> float:
    """Return ``1 - SSR / sum (Qy)^2``, Q taking out the fixed effects.

    Without fixed effects Q takes out the grand mean, as in ``rsquared``.
    """
    if fit.spec.effects == "random":
        raise OptionError(
            "rsquared_within compares with what fixed effects leave of the outcome; the effects "
            "are 'random'. See rsquared and corr_squared."
        )
    return float(1.0 - (fit.resid**2).sum() / (centred(fit, fit.workspace.data.y) ** 2).sum())


def corr_squared(fit: FitResult) -> float:
    """Return the squared correlation of the outcome with its reduced form, without effects.

    ::

        corr(Q y, S^-1 Q (X beta + W X theta))^2,    S = I - rho W

    Q takes out the fixed effects: what regressors and spillovers explain without them, and
    without the outcome of neighbours. The distance from ``rsquared`` is what fixed effects and
    the outcome of neighbours add. NaN without regressors.

    References
    ----------
    Elhorst (2014), Spatial Econometrics, section 3.5; corr2 in his routines. For the cigarette
    panel (two-way spatial Durbin model) table 3.3 has 0.400, with an R2 of 0.901.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sa.sdm("logc ~ logp + logy", panel, W, likelihood="direct-demeaned")
    >>> round(fit.rsquared, 3), round(fit.corr_squared, 3)
    (0.901, 0.4)
    """
    space, cells = fit.workspace, fit.workspace.data.cells
    own, lagged = regression(fit, space.data, space.durbin_weights)
    explained = own + lagged
    if fit.spec.fixed != "none":
        explained = centred(fit, explained)
    explained = solve(space.weights, fit.rho, explained)[cells]
    actual = centred(fit, space.data.y)[cells]
    a, b = actual - actual.mean(), explained - explained.mean()
    if not b.any():
        return float("nan")
    return float((a @ b) ** 2 / ((a @ a) * (b @ b)))


def centred(fit: FitResult, Z: NDArray) -> NDArray:
    """Take out what the fixed effects absorb; without any, the mean of the cells."""
    spec, cells = fit.spec, fit.workspace.data.cells
    if spec.fixed == "none":
        return (Z - Z[cells].mean()) * cells
    projector = fit.workspace.projector(spec)
    return within(Z, spec.fixed) if projector is None else projector.apply(Z)


def labelled(fit: FitResult, which: str) -> pd.Series | None:
    """Return the effects of units or periods by label, saying how they are normalised."""
    found, panel = fit.fixed_effects, fit.workspace.data.panel
    values = found.units if which == "unit" else found.periods
    if values is None:
        return None
    labels = panel.entities if which == "unit" else panel.times
    series = pd.Series(values.copy(), index=labels, name=f"{which}_effects")
    series.attrs["constraint"] = _constraint(fit, which)
    return series


# --- helpers ------------------------------------------------------------------------------


def _constraint(fit: FitResult, which: str) -> str:
    spec, space = fit.spec, fit.workspace
    inside = space.irregular and spec.has_error
    terms = ["constant"] + ["unit"] * removes_entity(spec.fixed)
    terms += ["period"] * removes_time(spec.fixed)
    where = (
        f"u_t = lambda {space.error_letter} u_t + {' + '.join(terms)} + e_t"
        if inside
        else f"y_t = ... + {' + '.join(terms)} + u_t"
    )
    return f"{which} effects sum to zero; {where}"


def _periods(fit: FitResult, m: NDArray) -> NDArray:
    """Return period effects up to a constant; NaN for periods without a cell."""
    cells = fit.workspace.data.cells
    if cells.all():
        return m.mean(axis=1)
    projector = fit.workspace.projector(fit.spec)
    assert projector is not None
    counts = np.maximum(cells.sum(axis=0), 1)
    found = projector.periods @ (m - cells * (m.sum(axis=0) / counts)).sum(axis=1)
    return np.where(cells.any(axis=1), found, np.nan)


def _check_dummies(fit: FitResult, m: NDArray) -> None:
    """Raise unless an array is a sum of dummies: then the parts of the fit do not fit together."""
    size = np.abs(fit.workspace.data.y).max() + np.abs(m).max()
    if np.abs(centred(fit, m)).max() > EXACT * size:
        raise OptionError(
            f"The fixed effects of this {fit.model} cannot be recovered: its residuals are not "
            "those of its parameters on the data of its formula."
        )


def _check_connected(fit: FitResult) -> None:
    """Raise unless the observed cells link all units and periods with each other."""
    data = fit.workspace.data
    cells = data.cells
    if cells.all():
        return
    links = sparse.block_array([[None, sparse.csr_array(cells.T)], [sparse.csr_array(cells), None]])
    _, label = csgraph.connected_components(links, directed=False)
    units = np.flatnonzero(cells.any(axis=0))
    groups = [data.panel.entities[units[label[units] == g]] for g in np.unique(label[units])]
    if len(groups) > 1:
        smallest = min(groups, key=len)
        raise IdentificationError(
            f"Unit and period effects are not identified: the cells fall into {len(groups)} groups "
            f"of units that share no period with each other; one group is {listing(smallest)}. "
            "Leave the smaller groups out, or use effects='entity' or 'time'."
        )
