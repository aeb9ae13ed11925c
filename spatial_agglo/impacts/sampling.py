"""Draws of the parameters that effects depend on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.random import generator
from spatial_agglo.core.sampling import normal_inside
from spatial_agglo.errors import BoundaryError, IdentificationError, OptionError
from spatial_agglo.impacts.parameters import Parameters


def simulated(
    parameters: Parameters, draws: int, seed: int | np.random.Generator | None
) -> tuple[NDArray, int]:
    """Draw from N(estimates, covariance) inside the parameter space; count the rejected.

    Returns
    -------
    ndarray, shape (draws, P)
    int

    Raises
    ------
    OptionError
        Fewer than two draws.
    IdentificationError
        A variance that is not known.
    BoundaryError
        More than half of the draws fall outside the parameter space.
    """
    if isinstance(draws, bool) or not (isinstance(draws, (int, np.integer)) and draws >= 2):
        raise OptionError(f"draws={draws!r} must be a whole number of at least 2.")
    rng = generator(seed)
    values, covariance = parameters.values, parameters.covariance
    if not np.isfinite(covariance).all():
        raise IdentificationError(
            "The covariance of the coefficients is not known (NaN), so there is no distribution "
            "to draw from. Use another cov."
        )
    found = normal_inside(values, covariance, parameters.inside, int(draws), rng)
    if found is None:
        what = "outside the parameter space"
        what += ", or are not stable in the long run" if parameters.long else ""
        raise BoundaryError(
            f"More than half of the draws fall {what}: rho = {parameters.fit.rho:.3f} is too "
            "close to the edge, or too imprecise, for simulation. Use method='delta'."
        )
    return found


def bootstrapped(parameters: Parameters) -> NDArray:
    """Return the draws of a fit whose covariance is the bootstrap's, (R, P).

    Raises
    ------
    OptionError
        The fit has no such draws.
    """
    draws = parameters.fit.details.get("draws")
    if draws is None:
        raise OptionError(
            "method='bootstrap' takes the draws of a fit with the bootstrap's covariance: estimate "
            "with cov=sa.Bootstrap(draws=..., seed=...). This fit has "
            f"cov={parameters.fit.spec.cov.name!r}."
        )
    return np.asarray(draws)[:, list(parameters.used)]
