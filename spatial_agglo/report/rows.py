"""What one fit contributes to a table of results: a cell for every row that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from spatial_agglo.formula import INTERCEPT
from spatial_agglo.models.two_stage import TwoStageResult
from spatial_agglo.report.describe import has_likelihood, sizes
from spatial_agglo.report.formats import in_row, number, p_text, stars

if TYPE_CHECKING:
    from spatial_agglo.impacts import Impacts
    from spatial_agglo.models.results import FitResult

#: Blocks of the results table, in the order of the papers.
BLOCKS = (
    "Dynamics",
    "Main",
    "Wx",
    "Unit means",
    "Spatial",
    "Variance",
    "Direct",
    "Indirect",
    "Total",
    "Instruments",
    "Fit",
)
#: Rows of a block that keep this order (by how they begin), whichever column has them first.
ORDER = (
    "First-stage F",
    "Cragg-Donald",
    "Kleibergen-Paap",
    "Sargan",
    "Hansen",
    "Durbin-Wu-Hausman",
    "rho",
    "lambda",
    "phi",
    "sigma2",
    "Controls",
    "N",
    "Units",
    "Periods",
    "R2",
    "Log-likelihood",
)
#: Blocks of which that holds: their rows are not named by the user.
FIXED = ("Spatial", "Variance", "Instruments", "Fit")
#: Block, term and statistic.
Key = tuple[str, str, str]
Cells = Iterator[tuple[Key, str]]
Writer = Callable[[str, str, float, float, float, bool], Cells]
#: Numbers that stand in a row, by block and term.
Sizes = dict[tuple[str, str], list[float]]


def place(key: Key, keep: Sequence[str] | None = None) -> tuple[int, int]:
    """Return where a row stands: its block, and its place in it where that is fixed or asked for.

    Examples
    --------
    >>> sorted([("Fit", "N", ""), ("Variance", "sigma2", ""), ("Main", "x", "")], key=place)
    [('Main', 'x', ''), ('Variance', 'sigma2', ''), ('Fit', 'N', '')]
    """
    block, term, _ = key
    within = int(term == INTERCEPT)
    if block in FIXED:
        within = next(i for i, name in enumerate(ORDER) if term.startswith(name))
    elif keep is not None:
        within = list(keep).index(_shown_as(term, keep))
    return BLOCKS.index(block), within


def kept(key: Key, keep: Sequence[str] | None) -> bool:
    """Tell whether a row is shown: a spatial lag is kept with its regressor.

    Examples
    --------
    >>> [kept(("Wx", "W*x", "z"), keep) for keep in (None, ["x"], ["W*x"], ["y"])]
    [True, True, True, False]
    """
    block, term, _ = key
    return keep is None or block in FIXED or _shown_as(term, keep) in keep


def _shown_as(term: str, keep: Sequence[str]) -> str:
    """Return the name by which a term is asked for: its own, or that of what it is a lag of."""
    return term if term in keep else term.removeprefix("W*")


def written(key: Key, labels: Mapping[str, str] | None) -> Key:
    """Return a row's key with the label of its term.

    Examples
    --------
    >>> written(("Wx", "W*x", "z"), {"x": "Price"})
    ('Wx', 'W*Price', 'z')
    """
    block, term, statistic = key
    if not labels or block in FIXED:
        return key
    own = term.removeprefix("W*")
    text = labels.get(term, term[: len(term) - len(own)] + labels.get(own, own))
    return block, text, statistic


def writer(parentheses: str, decimals: int, sizes: Sizes | None = None) -> Writer:
    """Return the function that writes an estimate and what stands below it.

    ``sizes``: what the columns have in a row, from :func:`sizes_of`, so that they are written
    with the same decimals.

    Examples
    --------
    >>> dict(writer("se", 2)("Main", "logp", -1.0, 0.04, 1e-9, True)).values()
    dict_values(['-1.00***', '(0.04)'])
    """

    def write(
        block: str, term: str, estimate: float, se: float, p_value: float, marked: bool = True
    ) -> Cells:
        mark = stars(p_value) if marked else ""
        written = in_row((sizes or {}).get((block, term), [estimate, se]), decimals)
        yield (block, term, "estimate"), written(estimate) + mark
        below = written(se) if parentheses == "se" else number(estimate / se, 2, scientific=False)
        yield (block, term, parentheses), f"({below})"

    return write


def sizes_of(fill: Callable[[Writer], object]) -> Sizes:
    """Return the estimates and standard errors of every row that a function writes.

    Examples
    --------
    >>> sizes_of(lambda write: [dict(write("Main", "x", b, 0.1, 0.5, True)) for b in (1.0, 2.0)])
    {('Main', 'x'): [1.0, 0.1, 2.0, 0.1]}
    """
    found: Sizes = {}

    def note(
        block: str, term: str, estimate: float, se: float, p_value: float, marked: bool = True
    ) -> Cells:
        found.setdefault((block, term), []).extend((float(estimate), float(se)))
        yield from ()

    fill(note)
    return found


def coefficients(fit: FitResult, write: Writer) -> Cells:
    """Yield the parameters of a fit, each in its block."""
    errors, p_values = fit.std_errors, fit.pvalues
    for name, value in fit.params.items():
        term = str(name)
        block = block_of(fit, term)
        yield from write(block, term, value, errors[name], p_values[name], block != "Variance")


def block_of(fit: FitResult, name: str) -> str:
    """Return the block that a parameter stands in.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> fit = sa.sar("logc ~ logp", panel, W, effects="random", correlated=True)
    >>> [block_of(fit, name) for name in fit.names[1:]]
    ['Main', 'Unit means', 'Spatial', 'Variance', 'Variance']
    """
    if name in ("rho", "lambda"):
        return "Spatial"
    if name == "sigma2" or (name == "phi" and fit.spec.effects == "random"):
        return "Variance"
    added = fit.details.get("auxiliary", ())
    if name in added or name.removeprefix("W*") in added:
        return "Unit means" if fit.spec.dynamic is None else "Dynamics"
    return "Wx" if name.startswith("W*") else "Main"


def effects(impacts: Impacts, write: Writer) -> Cells:
    """Yield direct, indirect and total effects."""
    for row in impacts.to_frame().itertuples():
        effect, variable = row.Index
        yield from write(effect.capitalize(), variable, row.estimate, row.se, row.p_value, True)


def instruments(fit: FitResult) -> Cells:
    """Yield the strength of the instruments and the tests of a fit by two-stage least squares."""
    if not isinstance(fit, TwoStageResult):
        return
    for name, F in fit.first_stage["conditional_F"].items():
        yield ("Instruments", f"First-stage F: {name}", "value"), number(F, 2, scientific=False)
    for name, F in fit.underidentification["F"].items():
        yield ("Instruments", f"{name} F", "value"), number(F, 2, scientific=False)
    tests = {str(name): row for name, row in fit.overidentification.iterrows()}
    tests["Durbin-Wu-Hausman"] = fit.endogeneity.loc["all"]
    for name, row in tests.items():
        yield ("Instruments", name, "statistic"), number(row["statistic"], 3, scientific=False)
        yield ("Instruments", name, "p"), f"[{p_text(row['p_value'])}]"


def fit_rows(fit: FitResult, *, counts: bool = False) -> Cells:
    """Yield how many observations there are and how well they are fitted.

    ``counts``: units and periods as well, and how many periods a unit has.
    """
    found = sizes(fit)
    yield ("Fit", "N", "value"), f"{found.cells:,}"
    if counts:
        yield ("Fit", "Units", "value"), f"{found.units:,}"
        yield ("Fit", "Periods", "value"), f"{found.periods:,}"
        if found.per_unit is not None:
            least, mean, most = found.per_unit
            yield ("Fit", "Periods per unit, min", "value"), f"{least:,}"
            yield ("Fit", "Periods per unit, mean", "value"), number(mean, 1)
            yield ("Fit", "Periods per unit, max", "value"), f"{most:,}"
    yield ("Fit", "R2", "value"), number(fit.rsquared, 3, scientific=False)
    if has_likelihood(fit):
        yield ("Fit", "Log-likelihood", "value"), f"{fit.loglik:,.2f}"


def counted(fits: Mapping[str, FitResult]) -> bool:
    """Tell whether units and periods must be counted: cells are missing, or the sizes differ."""
    found = [sizes(fit) for fit in fits.values()]
    return any(size.per_unit is not None or size[:2] != found[0][:2] for size in found)


def untested(impacts: Mapping[str, Impacts]) -> bool:
    """Tell whether there are effects without a standard error, being zero in their model."""
    return any(bool(np.isnan(item.se).any()) for item in impacts.values())
