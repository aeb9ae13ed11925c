"""Direct, indirect and total effects in a model whose coefficients differ between groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.errors import OptionError, check_level
from spatial_agglo.impacts.effects import Impacts

if TYPE_CHECKING:
    from spatial_agglo.robustness.regimes import Regimes

#: Units up to which the inverse of I - rho W is made.
UNITS = 4_000


def regime_impacts(found: Regimes, level: float) -> dict[str, Impacts]:
    """Return the average effects on the units of every group, with delta standard errors.

    ::

        E_k = (I - rho W)^-1 sum_h D_h (beta_kh I + theta_kh W)

    with ``D_h`` the diagonal matrix that marks the units of group h. Direct is the mean of the
    diagonal of E_k over the units of a group; total the mean of its row sums over them: what x
    rising by one in all units, of all groups, does to the units of this one; indirect their
    difference. Where groups part periods, each period has the effects of its group.

    Parameters
    ----------
    found : Regimes
    level : float
        Coverage of the intervals.

    Returns
    -------
    dict of str to Impacts
        By group.

    Raises
    ------
    OptionError
        Groups that part neither units nor periods; weights that change over time, missing
        cells; more than 4,000 units.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.robustness import regimes
    >>> df = sa.datasets.cigarettes()
    >>> df["west"] = df["state"].isin(["California", "Nevada", "Utah", "Arizona", "Idaho"])
    >>> panel = sa.Panel(df, entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> found = regimes("sdm", "logc ~ logp + logy", panel, W, groups="west")
    >>> sorted(found.impacts())
    ['False', 'True']
    """
    check_level(level)
    fit, space = found.fit, found.fit.workspace
    if found.kind == "cell":
        raise OptionError(
            "The groups part neither units nor periods, so a unit has no effect of its own group. "
            "The coefficients are in to_frame()."
        )
    if space.irregular:
        raise OptionError("Impacts by group need a balanced panel and one W for all periods.")
    N = space.data.panel.N
    if N > UNITS:
        raise OptionError(f"Impacts by group are available up to {UNITS} units; here are {N}.")
    units = found.masks[:, 0, :].astype(float)  # (G, N), where the groups part units
    out = {}
    for g, group in enumerate(found.groups):
        if found.kind == "unit":
            weigh = _multipliers(found, units, g)
            own = list(found.groups)
        else:
            weigh = _multipliers(found, np.ones((1, N)), 0)
            own = [group]
        J, point = _derivatives(found, weigh, own)
        k = len(found.regressors)
        V = np.where(np.isnan(fit.covariance), 0.0, fit.covariance)
        covariance = (J @ V @ J.T).reshape(3, k, 3, k)
        out[group] = _impacts(found.regressors, point, covariance, level, fit.details)
    return out


def _multipliers(found: Regimes, units: NDArray, g: int) -> tuple[NDArray, NDArray]:
    """Return what beta_h and theta_h are multiplied by in (direct, total), and the slopes in rho.

    Shape (2, 2, H) each: effect, coefficient (beta, theta), group.
    """
    space, rho = found.fit.workspace, found.fit.rho
    N = units.shape[1]
    W = np.zeros((N, N)) if space.W is None else space.W.matrix.toarray()
    A = np.eye(N) if rho is None else np.linalg.inv(np.eye(N) - rho * W)
    slope = np.zeros((N, N)) if rho is None else A @ W @ A
    mask = units[g] / units[g].sum()

    def of(B: NDArray) -> NDArray:
        direct = [(mask * np.diag(B)) @ units.T, mask @ (B * W.T) @ units.T]
        total = [mask @ B @ units.T, mask @ B @ (units * W.sum(axis=1)).T]
        return np.array([direct, total])

    return of(A), of(slope)


def _derivatives(
    found: Regimes, weigh: tuple[NDArray, NDArray], groups: list[str]
) -> tuple[NDArray, NDArray]:
    """Return the derivatives of the effects in the parameters, (3k, p), and the effects, (3, k)."""
    fit, (level, slope) = found.fit, weigh
    k = len(found.regressors)
    J = np.zeros((2, k, fit.values.size))
    at_rho = fit.position("rho")
    point = np.zeros((2, k))
    for j, name in enumerate(found.regressors):
        terms = [(0, name)] + [(1, f"W*{name}")] * (name in found.lagged)
        for which, term in terms:
            for h, group in enumerate(groups):
                at = fit.names.index(found.name(term, group))
                J[:, j, at] += level[:, which, h]
                point[:, j] += level[:, which, h] * fit.values[at]
                if at_rho is not None:
                    J[:, j, at_rho] += slope[:, which, h] * fit.values[at]
    stacked = np.concatenate([J[0], J[1] - J[0], J[1]])
    return stacked, np.stack([point[0], point[1] - point[0], point[1]])


def _impacts(
    names: tuple[str, ...],
    point: NDArray,
    covariance: NDArray,
    level: float,
    details: object,
) -> Impacts:
    from scipy.special import ndtri

    k = len(names)
    variance = np.clip(covariance.reshape(3 * k, 3 * k).diagonal(), 0.0, None).reshape(3, k)
    half = float(ndtri(0.5 + level / 2.0)) * np.sqrt(variance)
    return Impacts(
        names=names,
        estimate=point,
        covariance=covariance,
        bounds=np.stack([point - half, point + half]),
        method="delta",
        level=level,
        clusters=details.get("clusters") if isinstance(details, dict) else None,
    )
