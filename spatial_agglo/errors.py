"""Every exception of the package.

A message says three things: what was required, what came, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any


class SpatialAggloError(Exception):
    """Base class of every error that the package raises on purpose."""


class DataError(SpatialAggloError, ValueError):
    """The panel's rows, cells or columns cannot be used as they are."""


class WeightsError(SpatialAggloError, ValueError):
    """A spatial weights matrix is malformed, or lacks what a model needs."""


class AlignmentError(WeightsError):
    """Weights and data do not hold the same units."""


class FormulaError(SpatialAggloError, ValueError):
    """A formula cannot be parsed, or names what the panel does not have."""


class OptionError(SpatialAggloError, ValueError):
    """An option has a value that is not known."""


class IdentificationError(SpatialAggloError, ValueError):
    """The data cannot tell the parameters apart (collinear, absorbed, too few)."""


class BoundaryError(SpatialAggloError, ArithmeticError):
    """The likelihood has no interior maximum in the parameter space."""


class ConvergenceError(SpatialAggloError, ArithmeticError):
    """A search stopped before it reached a maximum."""


class MissingDependencyError(SpatialAggloError, ImportError):
    """An optional library is needed and not installed."""


class OutputError(SpatialAggloError, OSError):
    """A file or folder cannot be written."""


def listing(items: Iterable[object], limit: int = 8) -> str:
    """Name the first few offenders and count the rest.

    Examples
    --------
    >>> listing(["a", "b"])
    "'a', 'b'"
    >>> listing(range(4), limit=2)
    '0, 1 and 2 more'
    """
    items = [plain(item) for item in items]
    shown = ", ".join(repr(item) for item in items[:limit])
    rest = len(items) - limit
    return f"{shown} and {rest} more" if rest > 0 else shown


def plain(label: object) -> object:
    """Return the label as Python prints it (a numpy scalar loses its wrapper)."""
    if isinstance(label, tuple):
        return tuple(plain(part) for part in label)
    if hasattr(label, "item") and not isinstance(label, str):
        return label.item()
    return label


def check_option(name: str, value: object, known: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``known``; else raise, naming them all."""
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise OptionError(
            f"{name}={value!r} is not known. It must be one of: "
            + ", ".join(repr(option) for option in known)
            + "."
        )
    return value


def check_level(level: object, name: str = "level", example: float = 0.95) -> None:
    """Raise unless the coverage of an interval, or a significance level, is in (0, 1)."""
    if isinstance(level, bool) or not isinstance(level, Real) or not 0.0 < float(level) < 1.0:
        raise OptionError(f"{name}={level!r} must lie between 0 and 1, for example {example}.")


def check_list(name: str, given: object, of: str = "names") -> list[Any]:
    """Return the items of a list, tuple or the like; raise on a text, and on what is no list."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise OptionError(f"{name} must be a list of {of}; got {given!r}.")
    return list(given)


def check_made(found: object, attribute: str, maker: str) -> None:
    """Raise unless something is what ``maker`` returns, told by an attribute that this has."""
    if isinstance(found, type) or not hasattr(found, attribute):
        raise OptionError(f"What {maker}(...) returns is needed; got {type(found).__name__}.")
