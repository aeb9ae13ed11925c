"""Effects by order of neighbours: how far a change travels."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.core.spectrum import Spectrum
from spatial_agglo.errors import OptionError
from spatial_agglo.impacts.effects import EFFECTS, derivatives, table
from spatial_agglo.impacts.multipliers import power_sums
from spatial_agglo.impacts.parameters import Parameters
from spatial_agglo.impacts.stretches import Stretch, stretches
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.workspace import Workspace

#: Non-zeros that a power of W may have.
POWER_CELLS = 2e8


def partition(fit: FitResult, *, orders: int = 4, horizon: str = "short") -> pd.DataFrame:
    """Split effects by order of neighbours (LeSage & Pace 2009, section 2.7.3).

    ::

        E_k = sum_q rho^q W^q (beta_k I + theta_k D),    q = 0, 1, 2, ...

    Order 0 is the effect before any feedback (with ``theta_k`` on the neighbours), order 1 what
    neighbours pass on, order 2 what their neighbours do: from there on a part returns to where
    it came from and is direct. In the long run of dynamic models rho is
    ``(rho + eta)/(1 - tau)``, and all is divided by ``1 - tau``.

    Parameters
    ----------
    fit : FitResult
    orders : int
        The highest order shown.
    horizon : {"short", "long"}

    Returns
    -------
    DataFrame
        Indexed by variable, effect ("direct", "indirect", "total") and order. Columns
        ``estimate``, ``se`` (delta method), ``z``, ``p_value``; ``cumulated``, the sum up to the
        order; ``share``, of the whole effect. Without rho everything is of order 0.

    Raises
    ------
    OptionError
        Orders that are not a whole number of at least 0; powers of W with more than 2e8
        non-zeros; a long run of a static model.
    BoundaryError
        As for :func:`impacts`.

    References
    ----------
    LeSage & Pace (2009), Introduction to Spatial Econometrics.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> from spatial_agglo.impacts import partition
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> found = partition(sa.sar("logc ~ logp + logy", panel, W), orders=2)
    >>> found.loc[("logp", "total"), ["estimate", "share"]].round(3)
           estimate  share
    order
    0        -0.987  0.779
    1        -0.218  0.951
    2        -0.048  0.989
    """
    if isinstance(orders, bool) or not isinstance(orders, (int, np.integer)) or orders < 0:
        raise OptionError(f"orders={orders!r} must be a whole number of at least 0.")
    parameters = Parameters.of(fit, horizon)
    r = float(parameters.rate(parameters.values[None, :])[0][0])
    moments = _moments(parameters, int(orders))
    q = np.arange(orders + 1)
    power = r**q
    slope = np.where(q > 0, q * r ** np.maximum(q - 1, 0), 0.0)
    levels, slopes = (
        (np.concatenate(weight * moments[[0, 2]]), np.concatenate(weight * moments[[1, 3]]))
        for weight in (power, slope)
    )
    point, J = parameters.at(levels, slopes)
    k = len(parameters.names)
    point, J = point.reshape(2, orders + 1, k), J.reshape(2, orders + 1, k, -1)
    point, J = (np.stack([part[0], part[1] - part[0], part[1]]) for part in (point, J))
    variance = parameters.variance(J)
    whole = derivatives(parameters)[0]
    cumulated = point.cumsum(axis=1)
    share = np.full_like(cumulated, np.nan)
    np.divide(cumulated, whole[:, None], out=share, where=whole[:, None] != 0.0)
    index = pd.MultiIndex.from_product(
        [parameters.names, EFFECTS, q], names=["variable", "effect", "order"]
    )

    def ordered(Z: NDArray) -> NDArray:
        return np.ascontiguousarray(Z.transpose(2, 0, 1)).ravel()

    se = np.sqrt(np.where(variance > 0, variance, np.nan))
    frame = table(ordered(point), ordered(se), index)
    return frame.assign(cumulated=ordered(cumulated), share=ordered(share))


def _moments(parameters: Parameters, orders: int) -> NDArray:
    """Return ``tr(W^q), tr(W^q D), 1'W^q 1, 1'W^q D 1`` over n, shape (4, orders + 1)."""
    space = parameters.space
    parts = stretches(space)
    total = np.zeros((4, orders + 1))
    for part in parts:
        last = orders if parameters.rho is not None else 0
        total[:2, : last + 1] += part.count * _traces(part, last, space)
        total[2:, : last + 1] += part.count * power_sums(part, last)
    return total / sum(part.count * part.mask.sum() for part in parts)


def _traces(part: Stretch, orders: int, space: Workspace) -> NDArray:
    """Return ``tr(W^q)`` and ``tr(W^q D)``."""
    W, D = part.W, part.D
    out = np.zeros((2, orders + 1))
    out[0, 0] = part.mask.sum()
    if W is None or D is None or orders == 0:
        return out  # the diagonal of D is empty
    omega = _spectrum(space)
    if omega is not None and D is W:
        powers = omega[:, None] ** np.arange(orders + 2)
        traces = powers.sum(axis=0).real
        traces[1] = 0.0  # the diagonal of W is empty
        out[0, 1:], out[1] = traces[1:-1], traces[1:]
        return out
    if part.small:
        W, D = W.toarray(), D.toarray()
    left, right = [None, W], [D]
    for q in range(1, orders + 1):
        i, j = (q + 1) // 2, q // 2
        if len(left) <= i:
            left.append(_times(W, left[-1]))
        if len(right) <= j:
            right.append(_times(W, right[-1]))
        if j > 0:
            out[0, q] = float((left[i] * left[j].T).sum())
        out[1, q] = float((left[i] * right[j].T).sum())
    return out


def _spectrum(space: Workspace) -> NDArray | None:
    """Return the eigenvalues of the one W of all periods, if the fit has computed them."""
    weights = space.weights
    if space.irregular or weights is None:
        return None
    logdet = weights.matrices[0].logdet
    return logdet.omega if isinstance(logdet, Spectrum) else None


def _times(W: NDArray | sparse.csr_array, power: NDArray | sparse.csr_array) -> NDArray:
    """Return ``W power``, unless it would not fit into memory."""
    if not isinstance(power, np.ndarray) and not isinstance(W, np.ndarray):
        cells = float(np.diff(power.indptr)[W.indices].sum())
        if min(cells, float(W.shape[0]) ** 2) > POWER_CELLS:
            raise OptionError(
                f"A power of W would have up to {cells:.1e} non-zeros. Ask for fewer orders, or "
                "use weights with fewer links."
            )
        return sparse.csr_array(W @ power)
    return W @ power
