"""Effects by unit: what each of them receives and sends, and from whom to whom."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg, sparse

from spatial_agglo.core.progress import progress
from spatial_agglo.core.selected import inverse_diagonal
from spatial_agglo.core.traces import BLOCK, solver
from spatial_agglo.errors import OptionError
from spatial_agglo.impacts.parameters import Parameters
from spatial_agglo.impacts.stretches import Stretch, stretches
from spatial_agglo.models.results import FitResult

#: Units up to which a matrix of effects is made.
MATRIX_UNITS = 3_000
#: Below this share of its upper end, the series in rho is exact to 1e-12 after four terms.
SMALL = 1e-3


def impacts_by_unit(
    fit: FitResult, variable: str, *, horizon: str = "short", period: Hashable | None = None
) -> pd.DataFrame:
    """Return what every unit keeps, receives and sends.

    ::

        own_i = E_ii    received_i = sum_{j != i} E_ij    sent_j = sum_{i != j} E_ij

    with ``E = (I - rho W)^-1 (beta I + theta D)``, the matrix of effects of one variable: row i is
    affected, column j changes. The mean of ``own`` is the direct effect, the means of
    ``received`` and ``sent`` are both the indirect effect.

    Parameters
    ----------
    fit : FitResult
    variable : str
        One of ``fit.regressors``.
    horizon : {"short", "long"}
        As for :func:`impacts`.
    period : label of a period, optional
        With gaps or weights that change over time: that of one period. By default every unit has
        its mean over the periods in which it is observed, so that means over cells (not over
        units) are the average effects.

    Returns
    -------
    DataFrame
        Indexed by unit, ready to be joined to a map: ``own``, ``received``, ``sent``,
        ``total_received`` (own + received: the effect of a change everywhere on the unit),
        ``total_sent`` (own + sent: the effect of a change in the unit everywhere). NaN for units
        that are not observed.

    Raises
    ------
    OptionError
        Unknown variable; a long run of a static model.
    DataError
        Unknown period.
    BoundaryError
        As for :func:`impacts`.

    References
    ----------
    LeSage & Pace (2009), Introduction to Spatial Econometrics, section 2.7.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.impacts import impacts_by_unit
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> by_state = impacts_by_unit(sa.sdm("logc ~ logp + logy", panel, W), "logp")
    >>> by_state["sent"].nsmallest(2).round(3).to_dict()
    {'Idaho': -0.367, 'Massachusetts': -0.358}
    """
    parameters = Parameters.of(fit, horizon).only(variable)
    beta, theta, r, s = _coefficients(parameters)
    parts = stretches(parameters.space, period)
    N = parameters.space.data.panel.N
    sums, seen = np.zeros((3, N)), np.zeros(N)
    for part in parts:
        mask, ahead, back = part.mask, part.mask, part.mask
        if r != 0.0 and part.W is not None:
            back = solver(sparse.csr_array(part.W.T), r)(mask)
        sent, lagged = beta * back, np.zeros(N)
        if theta != 0.0 and part.D is not None:
            sent = sent + theta * (part.D.T @ back)
            lagged = part.D @ mask
        ahead = beta * mask + theta * lagged
        if r != 0.0 and part.W is not None:
            ahead = solver(part.W, r)(ahead)
        inverse, crossed = _diagonals(part, r, lagged=theta != 0.0)
        own = beta * inverse + theta * crossed
        sums += part.count * s * mask * np.stack([own, ahead, sent])
        seen += part.count * mask
    own, ahead, sent = np.divide(sums, seen, out=np.full_like(sums, np.nan), where=seen > 0)
    columns = {
        "own": own,
        "received": ahead - own,
        "sent": sent - own,
        "total_received": ahead,
        "total_sent": sent,
    }
    return pd.DataFrame(columns, index=parameters.space.data.panel.entities)


def impact_matrix(
    fit: FitResult, variable: str, *, horizon: str = "short", period: Hashable | None = None
) -> pd.DataFrame:
    """Return the effect of a change in every unit (column) on every unit (row).

    ::

        E = (I - rho W)^-1 (beta I + theta D)

    Parameters
    ----------
    fit : FitResult
        Of at most 3,000 units.
    variable : str
    horizon : {"short", "long"}
    period : label of a period, optional
        Needed with gaps or weights that change over time; the units observed in it.

    Returns
    -------
    DataFrame
        N x N, rows "to", columns "from".

    Raises
    ------
    OptionError
        More than 3,000 units (`aggregate` and `impacts_by_unit` have no such limit); unknown
        variable; no period named where periods differ.
    DataError, BoundaryError
        As for :func:`impacts_by_unit`.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.impacts import impact_matrix
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> E = impact_matrix(sa.sdm("logc ~ logp + logy", panel, W), "logp")
    >>> E.loc["Ohio", ["Ohio", "Michigan", "Illinois"]].round(4).to_dict()
    {'Ohio': -1.0107, 'Michigan': -0.0362, 'Illinois': -0.0044}
    """
    parameters = Parameters.of(fit, horizon).only(variable)
    space = parameters.space
    N = space.data.panel.N
    if N > MATRIX_UNITS:
        raise OptionError(
            f"A matrix of effects is made for up to {MATRIX_UNITS} units; here are {N}. Use "
            "impacts_by_unit, or aggregate for effects between groups of units."
        )
    parts = stretches(space, period)
    if len(parts) > 1:
        raise OptionError(
            "Effects differ between periods, because cells are missing or weights change: name "
            "one, period=..."
        )
    part = parts[0]
    beta, theta, r, s = _coefficients(parameters)
    E = beta * np.eye(N)
    if theta != 0.0 and part.D is not None:
        E += theta * part.D.toarray()
    if r != 0.0 and part.W is not None:
        E = linalg.solve(np.eye(N) - r * part.W.toarray(), E, check_finite=False)
    here = part.mask > 0
    units = space.data.panel.entities[here]
    return pd.DataFrame(s * E[np.ix_(here, here)], units.rename("to"), units.rename("from"))


def _coefficients(parameters: Parameters) -> tuple[float, float, float, float]:
    """Return beta, theta, r and s of one variable at the estimates."""
    values = parameters.values
    r, s = parameters.rate(values[None, :])
    beta, theta = values @ parameters.beta, values @ parameters.theta
    return float(beta[0]), float(theta[0]), float(r[0]), float(s[0])


def _diagonals(part: Stretch, r: float, *, lagged: bool) -> tuple[NDArray, NDArray]:
    """Return the diagonals of ``S^-1`` and of ``S^-1 D`` (zeros unless it is needed)."""
    A, B, N = part.W, part.D, part.mask.size
    if r == 0.0 or A is None:
        return np.ones(N), np.zeros(N)  # the diagonal of D is empty
    if part.small:
        inverse = linalg.inv(np.eye(N) - r * A.toarray(), check_finite=False)
        crossed = np.zeros(N)
        if lagged and B is not None:
            crossed = np.einsum("ij,ji->i", inverse, B.toarray())
        return np.diagonal(inverse), crossed
    own = _lag_diagonal(part, A, r)
    if not lagged or B is None or B is A:
        return 1.0 + r * own, own
    return 1.0 + r * own, _solved_diagonal(A, B, r)


def _lag_diagonal(part: Stretch, A: sparse.csr_array, r: float) -> NDArray:
    """Return the diagonal of ``W S^-1``, which is that of ``S^-1 W``, for a large sparse W."""
    if abs(r) * part.radius >= 1.0:  # sparse factors are not safe there
        return _solved_diagonal(A, A, r)
    if abs(r) * part.radius < SMALL:
        square = sparse.csr_array(A @ A)
        powers = [square.diagonal()]
        powers += [np.asarray((square * B.T).sum(axis=1)).ravel() for B in (A, square)]
        return sum(r ** (j + 1) * power for j, power in enumerate(powers))
    S = sparse.csc_array(sparse.eye_array(A.shape[0]) - r * A)
    return (inverse_diagonal(S) - 1.0) / r


def _solved_diagonal(A: sparse.csr_array, B: sparse.csr_array, r: float) -> NDArray:
    """Return the diagonal of ``S^-1 B``, a block of columns at a time."""
    N = A.shape[0]
    solve, columns, out = solver(A, r), sparse.csc_array(B), np.empty(N)
    for start in progress(range(0, N, BLOCK), "blocks of units"):
        block = slice(start, min(start + BLOCK, N))
        out[block] = np.diagonal(solve(columns[:, block].toarray())[block])
    return out
