"""Seeds and generators."""

from __future__ import annotations

import copy

import numpy as np

from spatial_agglo.errors import OptionError


def generator(seed: int | np.random.Generator | None) -> np.random.Generator:
    """Return a generator; one that the caller passes is copied, not advanced.

    The same seed, or the same state of a generator, gives the same numbers every time.
    """
    if isinstance(seed, np.random.Generator):
        return copy.deepcopy(seed)
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"seed={seed!r} must be a whole number of at least 0, a numpy Generator or None."
        ) from error
