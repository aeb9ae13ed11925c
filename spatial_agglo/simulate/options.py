"""Checks of the options of a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from spatial_agglo.errors import (
    OptionError,
    check_option,
    listing,
)
from spatial_agglo.formula import RESERVED

UNIT, TIME, OUTCOME = "unit", "time", "y"

#: What regressors cannot be called.
TAKEN = (*RESERVED, "phi", UNIT, TIME, OUTCOME)


def check_meaning(**options: tuple[bool, str]) -> None:
    """Raise on options that say something about what the model does not have."""
    for name, (wrong, reason) in options.items():
        if wrong:
            raise OptionError(f"{name} has no meaning here: {reason}. Leave {name} out.")


def check_numbers(
    *, low: float = -np.inf, high: float = np.inf, strict: bool = False, **values: Any
) -> None:
    """Raise unless all values are finite numbers within limits."""
    for name, value in values.items():
        number = isinstance(value, Real) and not isinstance(value, bool)
        inside = number and np.isfinite(value) and low <= value <= high
        if not inside or (strict and value in (low, high)):
            limits = f" between {low:g} and {high:g}" if low > -np.inf else ""
            limits += ", not at the ends" if strict else ""
            raise OptionError(f"{name}={value!r} must be a finite number{limits}.")


def check_whole(**values: tuple[Any, int]) -> None:
    """Raise unless all values are whole numbers of at least their limit."""
    for name, (value, low) in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            raise OptionError(f"{name}={value!r} must be a whole number of at least {low}.")


def coefficients(name: str, values: Any, known: list[str] | None = None) -> dict[str, float]:
    """Return coefficients by the name of their regressor."""
    if hasattr(values, "items"):
        named = dict(values.items())
    else:
        array = np.atleast_1d(np.asarray([] if values is None else values))
        labels = known or [f"x{j + 1}" for j in range(array.size)]
        if array.ndim != 1 or array.size == 0 or array.size != len(labels):
            wanted = (
                f"{len(known)} number(s), one for each of {listing(known)}" if known else "numbers"
            )
            raise OptionError(f"{name} must be {wanted}, or name them; got {values!r}.")
        named = dict(zip(labels, array.tolist(), strict=True))
    if not named:
        raise OptionError(f"{name} must have at least one coefficient.")
    for label in named:
        if not isinstance(label, str) or not label.isidentifier() or label in TAKEN:
            raise OptionError(
                f"{name} names {label!r}: names of regressors must be words, and none of "
                f"{', '.join(TAKEN)}."
            )
    unknown = [label for label in named if known is not None and label not in known]
    if unknown:
        raise OptionError(f"{name} names {listing(unknown)}, which beta does not have.")
    for label, value in named.items():
        check_numbers(**{f"{name}[{label}]": value})
    return {label: float(value) for label, value in named.items()}


def log_spreads(heteroskedasticity: Any, names: list[str]) -> dict[str, float]:
    """Return what the logarithm of the spread depends on, and how much."""
    if not isinstance(heteroskedasticity, Mapping):
        heteroskedasticity = {UNIT: heteroskedasticity}
    for name, value in heteroskedasticity.items():
        check_option("heteroskedasticity", name, (UNIT, *names))
        check_numbers(**{f"heteroskedasticity[{name}]": value})
    return dict(heteroskedasticity)
