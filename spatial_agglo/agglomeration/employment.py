"""Employment: counts by unit, period and industry, checked once, from which measures are made."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.agglomeration.counts import Rules, Settled, settle
from spatial_agglo.agglomeration.keys import (
    Keys,
    columns_list,
    read_keys,
    read_labels,
    read_numbers,
    sorted_labels,
)
from spatial_agglo.errors import DataError, OptionError, listing


@dataclass(frozen=True, eq=False, repr=False)
class Employment:
    """Counts of employment by unit, period and industry.

    Made by :meth:`from_tidy` or :meth:`from_wide`, which check every count; the measures of
    :mod:`spatial_agglo.agglomeration` take it as it is. Industries that are listed make up the
    whole of a place's employment: its total is their sum.

    Attributes
    ----------
    entities, times, industries : Index
        N units and T periods, sorted; J industries.
    counts : ndarray, shape (T, N, J)
        Zero in cells that ``present`` says are not there.
    present : ndarray of bool, shape (T, N)
        Units that have all their counts in a period.
    national : ndarray, shape (T, J)
        The nation's counts: those of its own row if there was one, else sums over units.
    nation : label or None
        Of the nation's row.
    filled : MultiIndex
        (entity, time, industry) that had no count and were set to zero on request.
    excluded : MultiIndex
        (entity, time) left out on request because a count is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({
    ...     "city": ["a", "b"], "year": [2020, 2020],
    ...     "manufacturing": [30.0, 10.0], "finance": [10.0, 20.0], "other": [60.0, 70.0],
    ... })
    >>> jobs = Employment.from_wide(
    ...     df, industries=["manufacturing", "finance", "other"], entity="city", time="year"
    ... )
    >>> jobs
    Employment(2 entities x 1 period x 3 industries; nation: sum of the entities)
    >>> jobs.national
    array([[ 40.,  30., 130.]])
    """

    entities: pd.Index
    times: pd.Index
    industries: pd.Index
    counts: NDArray
    present: NDArray
    national: NDArray
    nation: Hashable | None
    filled: pd.MultiIndex = field(repr=False)
    excluded: pd.MultiIndex = field(repr=False)

    @classmethod
    def from_tidy(
        cls,
        data: pd.DataFrame,
        *,
        industry: Hashable,
        employment: Hashable,
        entity: Hashable | None = None,
        time: Hashable | None = None,
        total: Hashable | None = None,
        nation: Hashable | None = None,
        missing: str = "error",
        unbalanced: str = "error",
        negative: str = "error",
        remainder: str = "error",
        totals: str = "error",
        tolerance: float = 1e-6,
    ) -> Employment:
        """Read one row per unit, period and industry.

        Parameters
        ----------
        data : DataFrame
            Rows in any order.
        industry, employment : column labels
            Whose workers, and how many (persons, thousands, full-time equivalents: any unit).
        entity, time : column labels, optional
            Leave both out when the index is an (entity, time) MultiIndex; leave out ``time``
            alone for a cross-section.
        total : label of an industry, optional
            The rows that hold a place's total employment, not an industry of their own.
        nation : label of an entity, optional
            The rows that hold the nation's counts, not a place of their own. Needed when the
            places that are given are not the whole nation; then location quotients and
            specialisation compare with it.
        missing : {"error", "zero", "exclude"}
            An industry without a count (no row, or NaN) in a place that has others. "zero": it
            employs nobody there, listed in ``filled``. "exclude": the place is left out of that
            period, and of all sums of it, listed in ``excluded``.
        unbalanced : {"error", "allow"}
            Places without any count in a period that others have. "allow": they are not there.
        negative : {"error", "missing"}
            Counts below zero. "missing": as if there were none.
        remainder : {"error", "other", "rescale"}
            With ``total``: what to do where industries do not sum to it. "other": what is left
            becomes an industry named "other" (industries that exceed the total are an error).
            "rescale": industries are scaled so that they sum to it.
        totals : {"error", "allow"}
            An entity (or industry) that equals the sum of all others to 0.1% in every cell is
            taken for a total that was not declared.
        tolerance : float
            Relative difference between a total and its parts that is put down to rounding; the
            sum of the parts is used.

        Returns
        -------
        Employment

        Raises
        ------
        DataError
            What the rules above forbid, naming cells; unknown columns; repeated rows; infinite
            counts.
        OptionError
            Unknown values of the options.

        Examples
        --------
        >>> import pandas as pd
        >>> df = pd.DataFrame({
        ...     "city": ["a", "a", "b", "b"], "year": 2020,
        ...     "sector": ["finance", "steel"] * 2, "workers": [1, 3, 4, 2],
        ... })
        >>> jobs = Employment.from_tidy(
        ...     df, entity="city", time="year", industry="sector", employment="workers"
        ... )
        >>> jobs.to_frame().loc[("b", 2020)].to_dict()
        {'finance': 4.0, 'steel': 2.0}
        """
        rules = Rules(missing, unbalanced, negative, remainder, totals, tolerance)
        keys = read_keys(data, entity, time)
        industries, j = sorted_labels(read_labels(data, industry), industry)
        values = read_numbers(data, employment)
        T, N, J = keys.times.size, keys.entities.size, industries.size
        cell = keys.cell * J + j
        doubled = np.flatnonzero(pd.Index(cell).duplicated())
        if doubled.size:
            names = [(*pair, industries[j[row]]) for row, pair in _named(keys, doubled)]
            raise DataError(
                f"{doubled.size} row(s) repeat an (entity, time, industry) triple: "
                f"{listing(names)}. Sum them, for example with groupby(...).sum(), or drop them."
            )
        cube = np.full((T, N, J), np.nan)
        cube.flat[cell] = values
        return cls._settle(keys, industries, cube, rules, total, nation)

    @classmethod
    def from_wide(
        cls,
        data: pd.DataFrame,
        *,
        industries: Sequence[Hashable],
        entity: Hashable | None = None,
        time: Hashable | None = None,
        total: Hashable | None = None,
        shares: float | None = None,
        nation: Hashable | None = None,
        missing: str = "error",
        unbalanced: str = "error",
        negative: str = "error",
        remainder: str = "error",
        totals: str = "error",
        tolerance: float = 1e-6,
    ) -> Employment:
        """Read one row per unit and period, one column per industry.

        Parameters
        ----------
        data : DataFrame
            Rows in any order.
        industries : list of column labels
            Counts, or shares of the place's employment.
        total : column label, optional
            The place's total employment.
        shares : float, optional
            The columns are shares of ``total``: what a place's shares sum to, 1 or 100.
        entity, time, nation, missing, unbalanced, negative, remainder, totals, tolerance
            As in :meth:`from_tidy`.

        Returns
        -------
        Employment

        Raises
        ------
        DataError, OptionError
            As :meth:`from_tidy`.

        Examples
        --------
        >>> import pandas as pd
        >>> df = pd.DataFrame({"city": ["a", "b"], "all": [50, 80], "steel": [20.0, 60.0]})
        >>> jobs = Employment.from_wide(
        ...     df, industries=["steel"], entity="city", total="all", shares=100, remainder="other"
        ... )
        >>> jobs.to_frame()["other"].tolist()
        [40.0, 32.0]
        """
        rules = Rules(missing, unbalanced, negative, remainder, totals, tolerance)
        keys = read_keys(data, entity, time)
        keys.require_unique()
        names = columns_list(industries, "industries")
        if not names:
            raise DataError("industries must name at least one column.")
        if total is not None and total in names:
            raise DataError(f"total={total!r} is among the industries as well; name it once.")
        values = np.stack([read_numbers(data, name) for name in names], axis=-1)
        if total is not None:
            whole = read_numbers(data, total)
            if shares is not None:
                values = values / _sum_of_shares(shares) * whole[:, None]
            names, values = [*names, total], np.column_stack([values, whole])
        elif shares is not None:
            raise DataError("shares= needs total=, the column of places' total employment.")
        cube = np.full((keys.times.size, keys.entities.size, len(names)), np.nan)
        cube[keys.t, keys.i] = values
        columns = pd.Index(names, name="industry", tupleize_cols=False)
        return cls._settle(keys, columns, cube, rules, total, nation)

    @classmethod
    def _settle(
        cls,
        keys: Keys,
        industries: pd.Index,
        cube: NDArray,
        rules: Rules,
        total: Hashable | None,
        nation: Hashable | None,
    ) -> Employment:
        found: Settled = settle(keys, industries, cube, rules, total, nation)
        for array in (found.counts, found.present, found.national):
            array.flags.writeable = False
        return cls(**vars(found))

    def group(self, sectors: Mapping[Hashable, Sequence[Hashable]]) -> Employment:
        """Merge industries into sectors; the others stay as they are.

        Parameters
        ----------
        sectors : dict
            Name of a sector to the industries that make it up.

        Returns
        -------
        Employment
            Sectors first, in the order given, then the industries that are in none.

        Raises
        ------
        DataError
            An industry that is not there (close names are suggested), that is in two sectors,
            or whose name is taken by a sector that it is not part of.

        Examples
        --------
        >>> import pandas as pd
        >>> df = pd.DataFrame({"city": ["a", "b"], "steel": [1, 5], "bank": [2, 6], "law": [3, 7]})
        >>> jobs = Employment.from_wide(df, industries=["steel", "bank", "law"], entity="city")
        >>> jobs.group({"producer services": ["bank", "law"]}).industries.tolist()
        ['producer services', 'steel']
        """
        if not isinstance(sectors, Mapping) or not sectors:
            raise DataError(
                "group needs a dict of sectors, {'producer services': ['finance', ...]}; got "
                f"{sectors!r}."
            )
        members = {name: columns_list(found, str(name)) for name, found in sectors.items()}
        named = [industry for found in members.values() for industry in found]
        self.positions(named)
        twice = sorted({str(name) for name in named if named.count(name) > 1})
        if twice:
            raise DataError(f"Industry {listing(twice)} is in more than one sector.")
        rest = [name for name in self.industries if name not in set(named)]
        for name, found in members.items():
            if not found:
                raise DataError(f"Sector {name!r} has no industries.")
            if name in rest:
                raise DataError(
                    f"Sector {name!r} has the name of an industry that it does not hold. "
                    "Use another name."
                )
        parts = [self.positions(found) for found in members.values()]
        parts += [self.positions([name]) for name in rest]

        def merged(values: NDArray) -> NDArray:
            return np.stack([values[..., part].sum(axis=-1) for part in parts], axis=-1)

        names = pd.Index([*members, *rest], name=self.industries.name, tupleize_cols=False)
        return replace(
            self, industries=names, counts=merged(self.counts), national=merged(self.national)
        )

    def positions(self, names: Sequence[Hashable]) -> NDArray:
        """Return where industries stand, or raise naming those that are not there."""
        several = [name for name in names if not pd.api.types.is_hashable(name)]
        if several:
            raise DataError(
                f"The name of one industry is needed; got {several[0]!r}. Several that count as "
                "one are merged first: employment.group({'name': [...]})."
            )
        at = self.industries.get_indexer(pd.Index(names, tupleize_cols=False))
        unknown = [name for name, j in zip(names, at, strict=True) if j < 0]
        if unknown:
            known = {str(name): name for name in self.industries}
            near = [
                known[match]
                for name in unknown
                for match in get_close_matches(str(name), list(known), n=1)
            ]
            hint = f" Did you mean {listing(near)}?" if near else ""
            raise DataError(
                f"There is no industry {listing(unknown)}.{hint} There are: "
                f"{listing(self.industries, 30)}."
            )
        return np.asarray(at)

    def index(self) -> pd.MultiIndex:
        """Return the (entity, time) labels of the cells, period slow and unit fast."""
        t, i = np.nonzero(self.present)
        return pd.MultiIndex(
            levels=[self.entities, self.times],  # type: ignore[list-item]
            codes=[i, t],  # type: ignore[list-item]
            names=[self.entities.name, self.times.name],
            verify_integrity=False,
        )

    def to_frame(self) -> pd.DataFrame:
        """Return counts, one row per unit and period, one column per industry."""
        return pd.DataFrame(self.counts[self.present], self.index(), self.industries)

    def __repr__(self) -> str:
        T, N, J = self.counts.shape
        sizes = zip((N, T, J), ("entit", "period", "industr"), strict=True)
        text = " x ".join(f"{n} {_plural(word, n)}" for n, word in sizes)
        nation = "sum of the entities" if self.nation is None else repr(self.nation)
        return f"Employment({text}; nation: {nation})"


def require_employment(employment: Any) -> Employment:
    """Return the argument, or raise saying how counts are declared."""
    if not isinstance(employment, Employment):
        raise DataError(
            "Counts are declared first: Employment.from_tidy(df, entity=..., time=..., "
            "industry=..., employment=...) or Employment.from_wide(df, industries=[...], ...); "
            f"got {type(employment).__name__}."
        )
    return employment


def _plural(word: str, n: int) -> str:
    if word.endswith("d"):
        return word if n == 1 else f"{word}s"
    return f"{word}y" if n == 1 else f"{word}ies"


def _named(keys: Keys, rows: NDArray) -> list[tuple[int, tuple[Hashable, Hashable]]]:
    return [(int(row), pair) for row, pair in zip(rows, keys.pairs(rows), strict=True)]


def _sum_of_shares(shares: float) -> float:
    if isinstance(shares, bool) or shares not in (1, 100):
        raise OptionError(f"shares={shares!r} must be what a place's shares sum to: 1 or 100.")
    return float(shares)
