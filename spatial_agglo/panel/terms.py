"""Which columns a term of a formula is made of, and how a column is written as a term."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable

from spatial_agglo.errors import OptionError


def columns_in(term: str, columns: Iterable[Hashable]) -> frozenset[str]:
    """Return the columns that a term, or the regressor made of it, is a function of.

    Examples
    --------
    >>> sorted(columns_in("I(x ** 2):C(g)[T.k]", ["x", "k", "g"]))
    ['g', 'x']
    >>> sorted(columns_in("x:k", ["x", "k", "x:k"]))
    ['x:k']
    """
    known = sorted((str(name) for name in columns), key=len, reverse=True)
    if term in known:
        return frozenset([term])
    names = "|".join(re.escape(name) for name in known)
    # the longest name first, whole names only, and no name of a function or of a level
    pattern = rf"(?<![\w.])(?:{names})(?!\w|\s*\()" if known else r"(?!)"
    return frozenset(re.findall(pattern, re.sub(r"\[T?\.?[^\[\]]*\]", "", term)))


def functions_of(name: str, terms: Iterable[str], columns: Iterable[Hashable]) -> list[str]:
    """Return the terms that move whenever a term does: its squares and products, say.

    The other levels of the same category do not count.

    Examples
    --------
    >>> functions_of("x", ["x", "k", "x:k", "np.log(x)"], ["x", "k"])
    ['x:k', 'np.log(x)']
    >>> functions_of("x:k", ["x", "k", "x:k"], ["x", "k"])
    []
    """
    columns = list(columns)
    own, stem = columns_in(name, columns), _stem(name)
    return [
        term
        for term in terms
        if term != name
        and own
        and own <= columns_in(term, columns)
        and not (stem != name and _stem(term) == stem)
    ]


def as_term(option: str, name: str, columns: Iterable[Hashable]) -> str:
    """Write the name of a column, or a term, so that a formula reads it as what it is.

    Raises
    ------
    OptionError
        A term takes something away: ``"z - 1"``.

    Examples
    --------
    >>> [as_term("instruments", name, ["z", "z-1"]) for name in ("z", "z-1", "np.log(z - 1)")]
    ['z', '`z-1`', 'np.log(z - 1)']
    """
    if name in columns:
        return name if name.isidentifier() else f"`{name}`"
    outside = re.sub(r"`[^`]*`", "", name)
    inner = None
    while outside != inner:
        inner, outside = outside, re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", outside)
    if "-" in outside:
        raise OptionError(
            f"{option} holds {name!r}, no column of the panel; as a term of a formula it would "
            f"take terms away. For a difference write I({name}); to leave a term out do not name "
            "it."
        )
    return name


def _stem(term: str) -> str:
    return re.sub(r"\[[^\[\]]*\]$", "", term)
