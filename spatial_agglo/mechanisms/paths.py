"""The equations of a mechanism: all on one sample, with the same effects and covariance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.within import EFFECTS, Projector
from spatial_agglo.errors import DataError, OptionError, check_option, listing
from spatial_agglo.formula import RESERVED, Variables, variables
from spatial_agglo.mechanisms.effects import COLUMNS
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel, columns_in, functions_of

#: A variable with less variation than this share of its size is absorbed by the effects.
ABSORBED = 1e-10
#: A standard deviation below this share of the mean is that of a constant.
CONSTANT = 1e-12


@dataclass(frozen=True, eq=False)
class Sample:
    """The variables of a mechanism on the cells that have all of them.

    Attributes
    ----------
    data : Variables
        Of the formula, cut to the common cells.
    treatment : str
    columns : mapping of str to ndarray, shape (T, N)
        Every variable by name, zero in the cells that are not used.
    """

    data: Variables
    treatment: str
    columns: Mapping[str, NDArray] = field(repr=False)

    @classmethod
    def of(
        cls, formula: str, panel: Panel, treatment: str, others: Mapping[str, Sequence[str]]
    ) -> Sample:
        """Evaluate a formula, add the variables of other roles, keep the cells that have all.

        ``others`` are names of columns by their role, "mediator" or "moderator".
        """
        data = variables(formula, panel)
        if treatment not in data.regressors:
            raise OptionError(
                f"treatment={treatment!r} must be a regressor of the formula {formula!r}; they "
                f"are {listing(data.regressors, 20)}."
            )
        moving = functions_of(treatment, data.regressors, panel.columns)
        if moving:
            raise OptionError(
                f"{listing(moving)} move(s) with the treatment {treatment!r}, so one coefficient "
                "is not its effect. Drop such terms; for an effect that depends on another "
                "variable name that one as the moderator."
            )
        taken = {data.outcome: "the outcome", treatment: "the treatment"}
        taken |= {name: "a control of the formula" for name in data.regressors if name not in taken}
        columns = {data.outcome: data.y}
        columns |= {name: data.X[:, :, j] for j, name in enumerate(data.regressors)}
        for role, names in others.items():
            for name in names:
                _check_name(role, name)
                if name in taken:
                    raise OptionError(
                        f"The {role} {name!r} is {taken[name]} already. The formula holds the "
                        "outcome, the treatment and controls; mediators and moderator are named "
                        "apart, and each once."
                    )
                inside = _terms_with(name, role, data, treatment)
                if inside:
                    raise OptionError(
                        f"{listing(inside)} of the formula contain(s) the {role} {name!r}. The "
                        "formula holds the outcome, the treatment and controls, none of them made "
                        "of a mediator: drop such terms."
                    )
                taken[name] = f"a {role}"
                columns[name] = panel.column(name)
        cells = data.cells & np.all([np.isfinite(column) for column in columns.values()], axis=0)
        if not cells.any():
            raise DataError(
                f"No cell of the panel has every variable: {listing(columns, 20)}. All equations "
                "use the same cells."
            )
        columns = {name: np.where(cells, column, 0.0) for name, column in columns.items()}
        observed = None if cells.all() else cells
        return cls(replace(data, observed=observed), treatment, columns)

    @property
    def outcome(self) -> str:
        """Name of the outcome."""
        return self.data.outcome

    @property
    def controls(self) -> tuple[str, ...]:
        """Names of the regressors of the formula other than the treatment."""
        return tuple(name for name in self.data.regressors if name != self.treatment)

    @property
    def cells(self) -> NDArray:
        """Mask of the cells that are used, shape (T, N)."""
        return self.data.cells

    def mean(self, name: str) -> float:
        """Return the pooled mean over the cells that are used."""
        return float(self.columns[name][self.cells].mean())

    def deviation(self, name: str) -> float:
        """Return the pooled standard deviation over the cells that are used."""
        values = self.columns[name][self.cells]
        return float(values.std(ddof=1)) if values.size > 1 else 0.0

    def with_product(self, first: str, second: str, *, centre: bool) -> Sample:
        """Add the column ``first:second``, a product of deviations from pooled means if asked.

        Raises
        ------
        OptionError
            There is a variable of that name.
        """
        product = f"{first}:{second}"
        if product in self.columns:
            raise OptionError(
                f"The variable {product!r} has the name of the product of {first!r} and "
                f"{second!r}, which is made here. Leave it out, or rename the column."
            )
        one, two = (
            self.columns[name] - (self.mean(name) if centre else 0.0) for name in (first, second)
        )
        columns = {**self.columns, product: np.where(self.cells, one * two, 0.0)}
        return replace(self, columns=columns)

    def absorbed(self, name: str, effects: str) -> bool:
        """Tell whether the effects leave nothing of a variable."""
        column = self.columns[name]
        centred = np.where(self.cells, column - self.mean(name), 0.0)
        left = Projector.of(self.cells, effects).apply(centred)
        return bool(np.abs(left).max() <= ABSORBED * max(float(np.abs(column).max()), 1e-300))

    def equation(self, outcome: str, regressors: Sequence[str]) -> Variables:
        """Return the variables of one equation."""
        sides = [*regressors, *(["-1"] if not self.data.intercept else [])]
        return replace(
            self.data,
            formula=f"{outcome} ~ {' + '.join(sides)}".replace("+ -1", "- 1"),
            outcome=outcome,
            regressors=tuple(regressors),
            y=self.columns[outcome],
            X=np.stack([self.columns[name] for name in regressors], axis=2),
        )

    def stacked(self, names: Sequence[str]) -> NDArray:
        """Return some columns as one array, shape (T, N, p)."""
        return np.stack([self.columns[name] for name in names], axis=2)

    def note(self) -> tuple[str, ...]:
        """Say which cells are left out."""
        if self.data.observed is None:
            return ()
        missing = int((~self.cells).sum())
        return (
            f"{missing} of {self.cells.size} (entity, time) cells lack a variable and are left "
            f"out of all equations: {self.lacking}",
        )

    @property
    def lacking(self) -> str:
        """The first cells that lack a variable."""
        return listing(list(self.data.panel.index(~self.cells)), 4)


@dataclass(frozen=True, eq=False)
class Products:
    """Products with a moderator.

    Attributes
    ----------
    sample : Sample
        With them, named ``x:z``.
    alone : tuple of str
        The moderator as a regressor of its own; empty when the effects absorb it.
    centres : mapping of str to float
        What was subtracted before multiplying.
    said : tuple of str
        Notes.
    """

    sample: Sample
    alone: tuple[str, ...]
    centres: Mapping[str, float]
    said: tuple[str, ...]


def products(
    sample: Sample, names: Sequence[str], moderator: str, *, centre: bool, effects: str
) -> Products:
    """Multiply variables by a moderator; look whether it survives the effects by itself.

    Raises
    ------
    DataError
        The moderator is constant.
    """
    if not isinstance(centre, bool):
        raise OptionError(f"centre={centre!r} must be True or False.")
    spread = sample.deviation(moderator)
    if not spread > CONSTANT * abs(sample.mean(moderator)):
        raise DataError(
            f"The moderator {moderator!r} is constant over the cells that are used, so it "
            "moderates nothing. Use another one, or leave the moderator out."
        )
    centres = {name: sample.mean(name) if centre else 0.0 for name in (*names, moderator)}
    made = sample
    for name in names:
        made = made.with_product(name, moderator, centre=centre)
    said = ["products are of variables as they are, not centred"]
    if centre:
        means = ", ".join(f"{name} {value:.4g}" for name, value in centres.items())
        said = [f"products are of deviations from pooled means ({means})"]
    absorbed = sample.absorbed(moderator, effects)
    if absorbed:
        said.append(f"{moderator} alone is absorbed by the effects and left out; products are not")
    return Products(made, () if absorbed else (moderator,), centres, tuple(said))


def regression(
    sample: Sample,
    outcome: str,
    regressors: Sequence[str],
    *,
    effects: str,
    cov: Any,
    notes: Sequence[str] = (),
) -> FitResult:
    """Estimate one equation without spatial terms on the common sample."""
    spec = ModelSpec.of("ols", effects=effects, cov=cov)
    found = fit(spec, Workspace(sample.equation(outcome, regressors), None))
    return replace(found, notes=(*found.notes, *notes)) if notes else found


def _check_name(role: str, name: Any) -> None:
    """Raise on what is no name, and on names that results give to something else."""
    if not isinstance(name, str):
        raise OptionError(f"The {role} must be the name of one column; got {name!r}.")
    if name in RESERVED or name.startswith("W*"):
        raise OptionError(
            f"The {role} {name!r} cannot be told from the model's own parameters "
            f"({', '.join(RESERVED)}, W*...): rename the column."
        )
    if role == "moderator" and name in COLUMNS:
        raise OptionError(
            f"The moderator {name!r} has the name of a column of the tables of effects "
            f"({', '.join(COLUMNS)}): rename the column."
        )


def _terms_with(name: str, role: str, data: Variables, treatment: str) -> list[str]:
    """Return the terms of a formula that a mediator, or the treatment if a moderator, is in."""
    terms = data.regressors if role == "mediator" else (treatment,)
    return [term for term in terms if name in columns_in(term, data.panel.columns)]


def check_effects(effects: str) -> str:
    """Raise unless the effects are fixed ones or none."""
    return check_option("effects", effects, EFFECTS)


def listed(names: str | Sequence[str], role: str) -> tuple[str, ...]:
    """Return one name or several as a tuple; raise when there is none or one comes twice."""
    found = (names,) if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
    if not found or not all(isinstance(name, str) for name in found):
        raise OptionError(f"{role}s must be the name of a column, or a list of them; got {names!r}")
    if len(set(found)) < len(found):
        raise OptionError(f"The {role}s must differ; got {listing(found)}.")
    return found
