"""The rules by which counts are accepted: missing, negative, totals, the nation's own row."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spatial_agglo.agglomeration.keys import Keys
from spatial_agglo.errors import DataError, OptionError, check_option, listing

#: Name of the industry that is made of what is left of a total.
OTHER = "other"
#: An undeclared total is recognised by equality to so much: published totals are rounded.
SUSPECT = 1e-3
#: With fewer others than this a sum that fits may be chance.
OTHERS = 3


@dataclass(frozen=True)
class Rules:
    """What to do with counts that are not as they should be; see Employment.from_tidy."""

    missing: str
    unbalanced: str
    negative: str
    remainder: str
    totals: str
    tolerance: float

    def __post_init__(self) -> None:
        check_option("missing", self.missing, ("error", "zero", "exclude"))
        check_option("unbalanced", self.unbalanced, ("error", "allow"))
        check_option("negative", self.negative, ("error", "missing"))
        check_option("remainder", self.remainder, ("error", "other", "rescale"))
        check_option("totals", self.totals, ("error", "allow"))
        number = isinstance(self.tolerance, Real) and not isinstance(self.tolerance, bool)
        if not number or not 0.0 <= self.tolerance < 1.0:
            raise OptionError(
                f"tolerance={self.tolerance!r} must be a relative difference: 0 or more, below 1."
            )


@dataclass(frozen=True, eq=False)
class Settled:
    """The fields of Employment."""

    entities: pd.Index
    times: pd.Index
    industries: pd.Index
    counts: NDArray
    present: NDArray
    national: NDArray
    nation: Hashable | None
    filled: pd.MultiIndex
    excluded: pd.MultiIndex


class _Block(NamedTuple):
    """Counts of some units, (T, n, J), and the labels that messages need."""

    values: NDArray
    entities: pd.Index
    times: pd.Index
    industries: pd.Index

    def triples(self, where: NDArray) -> list[tuple[Any, ...]]:
        t, i, j = np.nonzero(where)
        return list(zip(self.entities[i], self.times[t], self.industries[j], strict=True))

    def pairs(self, where: NDArray) -> list[tuple[Any, ...]]:
        t, i = np.nonzero(where)
        return list(zip(self.entities[i], self.times[t], strict=True))


def settle(
    keys: Keys,
    industries: pd.Index,
    cube: NDArray,
    rules: Rules,
    total: Hashable | None,
    nation: Hashable | None,
) -> Settled:
    """Apply the rules to the (T, N, J) cube of counts, NaN where there is none."""
    if total is None and rules.remainder != "error":
        raise OptionError(f"remainder={rules.remainder!r} needs total=, what industries sum to.")
    block = _without_negative(_Block(cube, keys.entities, keys.times, industries), rules)
    block, own = _split_nation(block, nation)
    block, present, filled, excluded = _complete(block, rules, total)
    block = _sum_up(block, present, rules, total)
    if own is None:
        national = block.values.sum(axis=1)
        if rules.totals == "error":
            _refuse_total_entity(block, present)
    else:
        own, there, more, _ = _complete(own, rules, total, nation=True)
        own = _sum_up(own, there, rules, total)
        filled += more
        national = own.values[:, 0]
        _within_nation(block, national, nation, rules)
    if total is None and rules.totals == "error":
        _refuse_total_industry(block)
    names = [block.entities.name, block.times.name]
    return Settled(
        block.entities, block.times, block.industries, block.values, present, national, nation,
        _multi_index(filled, [*names, block.industries.name or "industry"]),
        _multi_index(excluded, names),
    )  # fmt: skip


def _multi_index(labels: list[tuple[Any, ...]], names: list[Any]) -> pd.MultiIndex:
    if not labels:
        return pd.MultiIndex.from_arrays([[]] * len(names), names=names)
    return pd.MultiIndex.from_tuples(labels, names=names)


def _without_negative(block: _Block, rules: Rules) -> _Block:
    negative = block.values < 0
    if not negative.any():
        return block
    if rules.negative == "error":
        raise DataError(
            f"{int(negative.sum())} count(s) are negative, at (entity, time, industry) = "
            f"{listing(block.triples(negative))}. Employment cannot be: correct them, or say "
            "negative='missing' and what to do about missing ones."
        )
    return block._replace(values=np.where(negative, np.nan, block.values))


def _split_nation(block: _Block, nation: Hashable | None) -> tuple[_Block, _Block | None]:
    if nation is None:
        return block, None
    at = block.entities.get_indexer(pd.Index([nation], tupleize_cols=False))
    if at[0] < 0:
        raise DataError(
            f"There is no entity {nation!r} to be the nation. Entities are: "
            f"{listing(block.entities)}."
        )
    places = np.arange(block.entities.size) != at[0]
    if not places.any():
        raise DataError(f"{nation!r} is the only entity; places are needed besides the nation.")
    return (
        block._replace(values=block.values[:, places], entities=block.entities[places]),
        block._replace(values=block.values[:, at], entities=block.entities[at]),
    )


def _complete(
    block: _Block, rules: Rules, total: Hashable | None, *, nation: bool = False
) -> tuple[_Block, NDArray, list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return counts with zeros where there are none, the cells present, and both lists."""
    holes = np.isnan(block.values)
    empty = holes.all(axis=2)
    if empty.any() and (rules.unbalanced == "error" or nation):
        raise DataError(
            f"{int(empty.sum())} (entity, time) cell(s) have no count at all: "
            f"{listing(block.pairs(empty))}. Add them, leave these units or periods out"
            + ("." if nation else ", or say unbalanced='allow'.")
        )
    partial = holes & ~empty[:, :, None]
    present = ~empty
    filled: list[tuple[Any, ...]] = []
    excluded: list[tuple[Any, ...]] = []
    if partial.any():
        if rules.missing == "error" or (nation and rules.missing == "exclude"):
            raise DataError(
                f"{int(partial.sum())} count(s) are missing, at (entity, time, industry) = "
                f"{listing(block.triples(partial))}. Add them"
                + (
                    ": the nation cannot be left out."
                    if nation
                    else ", or say missing='zero' (nobody works there) or missing='exclude' (leave "
                    "these places out of those periods)."
                )
            )
        if rules.missing == "zero":
            _require_total(block, partial, total)
            filled = block.triples(partial)
        else:
            gone = partial.any(axis=2)
            excluded = block.pairs(gone)
            present = present & ~gone
    values = np.where(present[:, :, None] & ~holes, block.values, 0.0)
    return block._replace(values=values), present, filled, excluded


def _require_total(block: _Block, partial: NDArray, total: Hashable | None) -> None:
    if total is None:
        return
    at = np.flatnonzero(block.industries == total)
    lacking = np.asarray(partial[:, :, at].any(axis=2))
    if lacking.any():
        raise DataError(
            f"The total {total!r} is missing at (entity, time) = {listing(block.pairs(lacking))}. "
            "A total cannot be set to zero: add it, or say missing='exclude'."
        )


def _sum_up(block: _Block, present: NDArray, rules: Rules, total: Hashable | None) -> _Block:
    """Take the total out of the industries and make these sum to it."""
    if total is None:
        return block
    is_total = block.industries == total
    if not is_total.any():
        raise DataError(
            f"There is no industry {total!r} to be the total. Industries are: "
            f"{listing(block.industries, 30)}."
        )
    names = block.industries[~is_total]
    parts, whole = block.values[:, :, ~is_total], block.values[:, :, is_total][:, :, 0]
    if not len(names):
        raise DataError(f"{total!r} is the only industry; its parts are needed.")
    sums = parts.sum(axis=2)
    block = block._replace(values=parts, industries=names)
    off = present & (np.abs(sums - whole) > rules.tolerance * np.maximum(whole, sums))
    if rules.remainder == "rescale":
        return _rescaled(block, off, sums, whole)
    wrong = off & (sums > whole) if rules.remainder == "other" else off
    if wrong.any():
        shown = [
            (*pair, float(s), float(w))
            for pair, s, w in zip(block.pairs(wrong), sums[wrong], whole[wrong], strict=True)
        ]
        what = "exceed" if rules.remainder == "other" else "do not sum to"
        remedy = (
            "correct them, or say remainder='rescale'"
            if rules.remainder == "other"
            else "add the industries that are lacking, say remainder='other' (the rest is an "
            "industry of its own) or remainder='rescale'"
        )
        raise DataError(
            f"In {int(wrong.sum())} cell(s) industries {what} the total {total!r}: (entity, time, "
            f"sum, total) = {listing(shown, 4)}. For counts that are right, {remedy}; differences "
            "from rounding are allowed for with tolerance=."
        )
    if rules.remainder == "error":
        return block
    if OTHER in names:
        raise DataError(
            f"An industry is named {OTHER!r} already, and remainder='other' would make another. "
            "Rename it."
        )
    rest = np.where(off, whole - sums, 0.0)
    return block._replace(
        values=np.concatenate([parts, rest[:, :, None]], axis=2),
        industries=names.append(pd.Index([OTHER])).rename(names.name),
    )


def _rescaled(block: _Block, off: NDArray, sums: NDArray, whole: NDArray) -> _Block:
    empty = off & (sums == 0)
    if empty.any():
        raise DataError(
            "Industries cannot be scaled up to the total where all are zero, at (entity, time) = "
            f"{listing(block.pairs(empty))}. Correct the counts, or say remainder='other'."
        )
    scale = np.divide(whole, sums, out=np.ones_like(sums), where=off)
    return block._replace(values=block.values * scale[:, :, None])


def _within_nation(block: _Block, national: NDArray, nation: Hashable | None, rules: Rules) -> None:
    """Raise if the places together employ more than the nation, naming where."""
    if national.shape[1] != block.industries.size:
        raise DataError(f"The industries of {nation!r} are not those of the places.")
    sums = block.values.sum(axis=1)
    t, j = np.nonzero(sums > national * (1.0 + rules.tolerance) + 1e-300)
    if t.size:
        shown = [
            (block.times[a], block.industries[b], float(sums[a, b]), float(national[a, b]))
            for a, b in zip(t, j, strict=True)
        ]
        raise DataError(
            f"Places employ more than the nation {nation!r} in {t.size} case(s): (time, industry, "
            f"sum, nation) = {listing(shown, 4)}. Correct the counts; differences from rounding "
            "are allowed for with tolerance=."
        )


def _refuse_total_entity(block: _Block, present: NDArray) -> None:
    _, N, _ = block.values.shape
    if N <= OTHERS or not present.all():
        return
    sums = block.values.sum(axis=1, keepdims=True)
    same = np.abs(2.0 * block.values - sums) <= SUSPECT * sums / 2.0
    totals = block.entities[same.all(axis=(0, 2)) & block.values.any(axis=(0, 2))]
    if len(totals):
        raise DataError(
            f"Entity {listing(totals)} equals the sum of all others in every industry and period: "
            f"a total, which would count every job twice? Say nation={totals[0]!r}, drop its "
            "rows, or say totals='allow' if it is a place."
        )


def _refuse_total_industry(block: _Block) -> None:
    if block.industries.size <= OTHERS:
        return
    sums = block.values.sum(axis=2, keepdims=True)
    same = np.abs(2.0 * block.values - sums) <= SUSPECT * sums / 2.0
    totals = block.industries[same.all(axis=(0, 1)) & block.values.any(axis=(0, 1))]
    if len(totals):
        raise DataError(
            f"Industry {listing(totals)} equals the sum of all others in every place and period: "
            f"a total, which would count every job twice? Say total={totals[0]!r}, leave it out, "
            "or say totals='allow' if it is an industry."
        )
