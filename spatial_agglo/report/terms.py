"""Which terms a table shows, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spatial_agglo.errors import OptionError, listing


def check_terms(
    terms: Sequence[str],
    outcomes: Sequence[str],
    keep: Sequence[str] | None,
    labels: Mapping[str, str] | None,
) -> None:
    """Raise unless the terms to keep and to label are there, and stay apart when labelled.

    Examples
    --------
    >>> check_terms(["logp", "logy"], ["logc"], ["logp"], {"logp": "Price", "logc": "Packs"})
    >>> check_terms(["logp"], ["logc"], ["price"], None)
    Traceback (most recent call last):
    spatial_agglo.errors.OptionError: keep names 'price'; the terms are 'logp'.
    """
    if keep is not None:
        if isinstance(keep, str) or not all(isinstance(name, str) for name in keep):
            raise OptionError(f"keep must be a list of terms; got {keep!r}.")
        unknown = [name for name in keep if name not in terms]
        if unknown or not keep:
            raise OptionError(
                f"keep names {listing(unknown) or 'nothing'}; the terms are {listing(terms, 20)}."
            )
    known = {*terms, *outcomes}
    unknown = [name for name in labels or () if name not in known]
    if unknown:
        raise OptionError(
            f"labels name {listing(unknown)}, neither a term nor an outcome; there are "
            f"{listing(sorted(known), 20)}."
        )
    written = [(labels or {}).get(name, name) for name in terms]
    twice = sorted({text for text in written if written.count(text) > 1})
    if twice:
        raise OptionError(f"labels give {listing(twice)} to more than one term.")


def check_decimals(decimals: int) -> None:
    """Raise unless a number of decimals is one.

    Examples
    --------
    >>> check_decimals(3)
    """
    if isinstance(decimals, bool) or not (isinstance(decimals, int) and 0 <= decimals <= 12):
        raise OptionError(f"decimals={decimals!r} must be a whole number from 0 to 12.")
