"""What one fit contributes to a table of results: a cell for every row that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from spatial_agglo.formula import INTERCEPT
from spatial_agglo.models.two_stage import TwoStageResult
from spatial_agglo.report.describe import has_likelihood, sizes
from spatial_agglo.report.formats import number, p_text, stars

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


def place(key: Key) -> tuple[int, int]:
    """Return where a row stands: its block, and its place in it where that is fixed.

    Examples
    --------
    >>> sorted([("Fit", "N", ""), ("Variance", "sigma2", ""), ("Main", "x", "")], key=place)
    [('Main', 'x', ''), ('Variance', 'sigma2', ''), ('Fit', 'N', '')]
    """
    block, term, _ = key
    within = int(term == INTERCEPT)
    if block in FIXED:
        within = next(i for i, name in enumerate(ORDER) if term.startswith(name))
    return BLOCKS.index(block), within


def writer(parentheses: str, decimals: int) -> Writer:
    """Return the function that writes an estimate and what stands below it.

    Examples
    --------
    >>> dict(writer("se", 2)("Main", "logp", -1.0, 0.04, 1e-9, True)).values()
    dict_values(['-1.00***', '(0.04)'])
    """

    def write(
        block: str, term: str, estimate: float, se: float, p_value: float, marked: bool = True
    ) -> Cells:
        mark = stars(p_value) if marked else ""
        yield (block, term, "estimate"), number(estimate, decimals) + mark
        below = (
            number(se, decimals)
            if parentheses == "se"
            else number(estimate / se, 2, scientific=False)
        )
        yield (block, term, parentheses), f"({below})"

    return write


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
