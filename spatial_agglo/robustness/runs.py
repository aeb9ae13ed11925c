"""The fits behind a sensitivity analysis: what is to be run, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from spatial_agglo.errors import (
    DataError,
    FormulaError,
    MissingDependencyError,
    OptionError,
    SpatialAggloError,
    check_list,
    check_option,
    listing,
)
from spatial_agglo.formula import Variables, variables
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import MODELS, ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel
from spatial_agglo.robustness.categories import check_references
from spatial_agglo.robustness.samples import WHOLE, cut, subpanel
from spatial_agglo.weights.panel_weights import PanelWeights

#: What may vary, in the order in which specifications are told apart.
DIMENSIONS = ("W", "model", "effects", "sample", "formula")
#: In place of the name of weights, for the model that has none.
NO_W = "no W"
#: Seconds before a bar of progress is shown.
DELAY = 2.0
COLUMNS = ("estimate", "se", "z", "p_value", "lower", "upper")
NUMBERS = (
    "rho",
    "rho_se",
    "lambda",
    "lambda_se",
    "loglik",
    "aic",
    "bic",
    "nobs",
    "entities",
    "periods",
)
#: Variables of a formula on a sample; or why there are none.
Data: TypeAlias = dict[tuple[str, str], "Variables | DataError | FormulaError"]


@dataclass(frozen=True, eq=False)
class Run:
    """One specification and what came of it.

    Attributes
    ----------
    key : mapping of str to str
        W, model, effects, sample and formula, by their names.
    impacts : DataFrame or None
        As :meth:`spatial_agglo.Impacts.to_frame`; None where the fit failed.
    numbers : mapping of str to float
        rho, lambda and their standard errors, log-likelihood, sizes.
    error : str
        Why it failed; empty where it did not.
    irregular : bool
        Whether cells are missing, or W changes over time.
    """

    key: Mapping[str, str]
    impacts: pd.DataFrame | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    irregular: bool = False


@dataclass(frozen=True, eq=False)
class Task:
    """The specifications that share data and weights, and with them their moments.

    Attributes
    ----------
    key : mapping of str to str
        W, sample and formula, by their names.
    data : Variables, or the error that they met with
    panel : Panel
        The whole one.
    W : tuple
        Weights of the whole panel: those of the models; or, for the model that has none, any: the
        first that can be used says how period effects are taken out, so that its likelihood is
        one of the same transformed sample.
    pairs : tuple of (model, effects)
    options : mapping
        Likelihood, covariance and durbin.
    level : float
    """

    key: Mapping[str, str]
    data: Variables | DataError | FormulaError
    panel: Panel
    W: tuple[Any, ...]
    pairs: tuple[tuple[str, str], ...]
    options: Mapping[str, Any]
    level: float

    def __call__(self) -> Iterator[Run]:
        """Yield what comes of every specification, the largest models first.

        Their moments hold those of the smaller ones, so that the data are read once.
        """
        space: Workspace | Exception
        try:
            space = self._space()
        except Exception as error:  # whatever it is, the other tasks must not be lost
            space = error
        for model, effects in sorted(self.pairs, key=lambda pair: _size(pair[0]), reverse=True):
            own = {**self.key, "model": model, "effects": effects}
            yield self._attempt({name: own[name] for name in DIMENSIONS}, space)

    def _attempt(self, key: Mapping[str, str], space: Workspace | Exception) -> Run:
        try:
            if isinstance(space, Exception):
                raise space
            return self._run(key, space)
        except Exception as error:  # likewise
            return Run(key, error=f"{type(error).__name__}: {error}")

    def _space(self) -> Workspace:
        if isinstance(self.data, Exception):
            raise self.data
        reasons = []
        for W in self.W:
            try:
                own = cut(W, self.panel, self.data.panel, self.key["sample"])
                return Workspace(self.data, own)
            except SpatialAggloError as error:
                reasons.append(error)
        if self.key["W"] == NO_W:
            return Workspace(self.data, None)
        raise reasons[0]

    def _run(self, key: Mapping[str, str], space: Workspace) -> Run:
        options = dict(self.options)
        if options["durbin"] is None or not MODELS[key["model"]][1]:
            del options["durbin"]
        found = fit(ModelSpec.of(key["model"], effects=key["effects"], **options), space)
        impacts = found.impacts(level=self.level).to_frame()
        return Run(key, impacts, _numbers(found), irregular=found.workspace.irregular)


def _size(model: str) -> tuple[int, bool]:
    """Return how many spatial terms a model has, and whether one is of its errors."""
    return sum(MODELS[model]), MODELS[model][2]


def _numbers(found: FitResult) -> dict[str, float]:
    """Return the numbers of a fit that stand beside its impacts."""
    errors = found.std_errors
    out: dict[str, float] = {}
    for name in found.spec.spatial:
        out[name], out[f"{name}_se"] = float(found.params[name]), float(errors[name])
    cells = found.workspace.data.cells
    return {
        **out,
        "loglik": found.loglik,
        "aic": found.aic,
        "bic": found.bic,
        "nobs": found.nobs,
        "entities": int(cells.any(axis=0).sum()),
        "periods": int(cells.any(axis=1).sum()),
    }


def carried_out(tasks: Sequence[Task], kept: Sequence[str], n_jobs: int) -> tuple[Run, ...]:
    """Run every task; return what came of them, the variables that are kept only."""
    from tqdm import tqdm

    if isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)) or n_jobs == 0:
        raise OptionError(f"n_jobs={n_jobs!r} must be a number of processes, or -1 for all cores.")
    total = sum(len(task.pairs) for task in tasks)
    bar = tqdm(_each(tasks, n_jobs), desc="fits", total=total, delay=DELAY, leave=False)
    return tuple(_reduced(run, kept) for run in bar)


def _each(tasks: Sequence[Task], n_jobs: int) -> Iterator[Run]:
    """Yield the runs in the order of the tasks."""
    if n_jobs == 1:
        for task in tasks:
            yield from task()
        return
    try:
        from joblib import Parallel, delayed
    except ImportError as problem:
        raise MissingDependencyError(
            f"n_jobs={n_jobs} needs joblib: pip install joblib, or use n_jobs=1."
        ) from problem
    pool = Parallel(n_jobs=n_jobs, return_as="generator")
    for runs in pool(delayed(_all)(task) for task in tasks):
        yield from runs


def _all(task: Task) -> list[Run]:
    return list(task())


def _reduced(run: Run, kept: Iterable[str]) -> Run:
    """Keep the impacts of some variables."""
    if run.impacts is None:
        return run
    keep = run.impacts.index.get_level_values("variable").isin(list(kept))
    return replace(run, impacts=run.impacts[keep])


# --- names and checks --------------------------------------------------------------------------


def named(formula: str | Mapping[str, str]) -> dict[str, str]:
    """Return formulas by name."""
    if isinstance(formula, str):
        return {formula: formula}
    if not isinstance(formula, Mapping) or not formula:
        raise FormulaError(
            "A formula is a string such as 'y ~ x', or a mapping of names to such strings, not "
            f"empty; got {type(formula).__name__}."
        )
    return _texts(formula, "formula")


def named_weights(W: Any) -> dict[str, Any]:
    """Return weights by name."""
    if not isinstance(W, Mapping) or isinstance(W, PanelWeights):
        return {"W": W}
    if not W:
        raise OptionError("W must name at least one matrix: {'queen': W, ...}; it is empty.")
    found = _texts(W, "W")
    if NO_W in found:
        raise OptionError(f"W cannot be named {NO_W!r}, which stands for the model without W.")
    return found


def named_samples(samples: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return samples by name."""
    if samples is None:
        return {WHOLE: None}
    if not isinstance(samples, Mapping) or not samples:
        raise OptionError(
            "samples must be a mapping of names to samples, {'late': 'year > 1970', ...}, not "
            f"empty; got {type(samples).__name__}."
        )
    return _texts(samples, "samples")


def _texts(given: Mapping[Any, Any], what: str) -> dict[str, Any]:
    found = {str(name): value for name, value in given.items()}
    if len(found) < len(given):
        raise OptionError(f"The names of {what} must differ as text: {listing(given)}.")
    return found


def listed(given: str | Sequence[str], what: str, known: Iterable[str]) -> list[str]:
    """Return one or more options as a list, each known and named once."""
    items = [given] if isinstance(given, str) else check_list(what, given)
    if not items:
        raise OptionError(f"{what} must name at least one of: {listing(known, 20)}.")
    for item in items:
        check_option(what, item, known)
    if len(set(items)) < len(items):
        raise OptionError(f"{what} names an option twice: {listing(items, 20)}.")
    return items


def evaluated(
    formulas: Mapping[str, str],
    panel: Panel,
    samples: Mapping[str, Any],
    wanted: Sequence[str] | None,
    durbin: Sequence[str] | None = None,
) -> tuple[Data, str, tuple[str, ...]]:
    """Evaluate every formula on every sample; return outcome and variables to keep as well.

    A formula that fails on the whole panel raises; one that fails on a sample is kept as an error.
    """
    whole = {name: variables(formula, panel) for name, formula in formulas.items()}
    outcomes = list(dict.fromkeys(data.outcome for data in whole.values()))
    if len(outcomes) > 1:
        raise FormulaError(
            f"The formulas must have the same outcome to be compared; they have "
            f"{listing(outcomes)}."
        )
    every = dict.fromkeys(name for data in whole.values() for name in data.regressors)
    if not every:
        raise FormulaError("No formula has a regressor, so there are no effects to compare.")
    kept = list(every) if wanted is None else _known("variables", wanted, every)
    if not kept:
        raise OptionError(f"variables must name at least one of: {listing(every, 20)}.")
    if durbin is not None:
        _known("durbin", durbin, every)
    parts: dict[str, Panel | DataError] = {}
    for label, sample in samples.items():
        try:
            parts[label] = subpanel(panel, sample, label)
        except DataError as error:
            parts[label] = error
    out: Data = {}
    for (name, formula), (label, part) in product(formulas.items(), parts.items()):
        if part is panel:
            out[name, label] = whole[name]
        elif isinstance(part, DataError):
            out[name, label] = part
        else:
            try:
                found = variables(formula, part)
                check_references(whole[name], found)
                out[name, label] = found
            except (DataError, FormulaError) as error:
                out[name, label] = error
    return out, outcomes[0], tuple(dict.fromkeys(kept))


def _known(what: str, given: Sequence[str], regressors: Iterable[str]) -> list[str]:
    """Return names of regressors as the formulas have them; blanks in a term do not count."""
    known = {name.replace(" ", ""): name for name in regressors}
    names = {name: known.get(str(name).replace(" ", "")) for name in check_list(what, given)}
    unknown = [name for name, found in names.items() if found is None]
    if unknown:
        raise OptionError(
            f"{what}=[...] names {listing(unknown)}, not among the regressors "
            f"{listing(regressors, 20)}."
        )
    return [found for found in names.values() if found is not None]
