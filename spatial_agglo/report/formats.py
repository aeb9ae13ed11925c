"""How one cell of a table is written: numbers, stars, p values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

#: Significance levels and their marks, the smallest first.
STARS = ((0.01, "***"), (0.05, "**"), (0.10, "*"))
LEGEND = ", ".join(f"{mark} p < {level:g}" for level, mark in STARS) + "."
#: Decimals that a row of a table may have; a row that needs more is written in powers of ten.
MOST_DECIMALS = 9
#: From here on numbers go without decimals, with commas between thousands.
MILLION = 1e6


class Cell(NamedTuple):
    """A cell in two parts: what is aligned, and what hangs to the right of it."""

    core: str
    tail: str


def stars(p_value: float) -> str:
    """Return the significance mark of a p value; none for NaN.

    Examples
    --------
    >>> [stars(p) for p in (0.009, 0.01, 0.05, 0.1)]
    ['***', '**', '*', '']
    """
    return next((mark for level, mark in STARS if p_value < level), "")


def number(value: float, decimals: int = 4, *, scientific: bool = True) -> str:
    """Write a number with fixed decimals.

    Parameters
    ----------
    value : float
        NaN is written "n/a".
    decimals : int
    scientific : bool
        Switch to powers of ten where fixed decimals would show only zeros, or over a million.

    Returns
    -------
    str

    Examples
    --------
    >>> number(-0.99974), number(0.0000123), number(0.0, 2), number(float("nan"))
    ('-0.9997', '1.230e-05', '0.00', 'n/a')
    """
    value = float(value)
    if math.isnan(value):
        return "n/a"
    text = f"{value:.{decimals}f}"
    vanishes = float(text) == 0.0
    if scientific and math.isfinite(value) and (abs(value) >= 1e6 or (vanishes and value != 0.0)):
        return f"{value:.{max(decimals - 1, 1)}e}"
    return text.removeprefix("-") if vanishes else text


def in_row(values: Iterable[float], decimals: int) -> Callable[[float], str]:
    """Return what writes the numbers of one row alike, so that they can be compared.

    The largest of the values has at least two significant digits: small numbers get more
    decimals than ``decimals``. From a million on there are commas instead of decimals.

    Examples
    --------
    >>> write = in_row([0.00149, 0.00066], 3)
    >>> write(0.00149), write(0.00066), in_row([2.4e7], 3)(2.4e7)
    ('0.0015', '0.0007', '24,000,000')
    """
    sizes = [abs(value) for value in map(float, values) if math.isfinite(value)]
    size = max(sizes, default=0.0)
    if size >= MILLION:
        return lambda value: "n/a" if math.isnan(value) else f"{float(value):,.0f}"
    needed = 1 - math.floor(math.log10(size)) if size else 0
    if needed > MOST_DECIMALS:
        return lambda value: number(value, decimals)
    return lambda value: number(value, max(decimals, needed), scientific=False)


def p_text(p_value: float) -> str:
    """Write a p value with three decimals, or that it is smaller than they can show.

    Examples
    --------
    >>> p_text(0.0257), p_text(1e-9)
    ('0.026', '<0.001')
    """
    return "<0.001" if p_value < 0.001 else number(p_value, 3, scientific=False)


def in_words(p_value: float) -> str:
    """Write a p value as part of a sentence or picture.

    Examples
    --------
    >>> in_words(0.0257), in_words(1e-9)
    ('p = 0.026', 'p < 0.001')
    """
    return "p < 0.001" if p_value < 0.001 else f"p = {p_text(p_value)}"


def period_text(period: object) -> str:
    """Write a period; a date goes without its midnight.

    Examples
    --------
    >>> import pandas as pd
    >>> period_text(1963), period_text(pd.Timestamp("1963-01-01"))
    ('1963', '1963-01-01')
    """
    return str(period).removesuffix(" 00:00:00")


def split(cell: str) -> Cell:
    """Part a cell so that its digits can be aligned: stars and a closing bracket hang.

    Examples
    --------
    >>> split("-1.02***"), split("(2.51)"), split("[0.757]")
    (Cell(core='-1.02', tail='***'), Cell(core='(2.51', tail=')'), Cell(core='[0.757', tail=']'))
    """
    core = cell.rstrip("*)]}")
    return Cell(core, cell[len(core) :])
