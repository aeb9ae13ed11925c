"""choose_model: the published selection table in one call, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from spatial_agglo.core.marginal import Prior
from spatial_agglo.diagnostics.path import DecisionPath
from spatial_agglo.diagnostics.posterior import (
    SLOPES,
    as_prior,
    candidates,
    with_probabilities,
)
from spatial_agglo.diagnostics.projection import require_fixed
from spatial_agglo.diagnostics.selection import ROWS, described_rows, tests_of
from spatial_agglo.diagnostics.strategies import STRATEGIES, Case, elhorst, ranked, why_not_nested
from spatial_agglo.diagnostics.wald import nests_sem
from spatial_agglo.errors import (
    BoundaryError,
    ConvergenceError,
    FormulaError,
    IdentificationError,
    OptionError,
    SpatialAggloError,
    WeightsError,
    check_level,
    check_option,
)
from spatial_agglo.models.covariances import Covariance
from spatial_agglo.models.fitting import fit as fit_model
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import MODELS, ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel
from spatial_agglo.weights.panel_weights import PanelWeights

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The models that the tests of the table are about.
TESTED = ("sdm", "ols", "slx", "sar", "sem")


@dataclass(frozen=True, eq=False)
class Choice:
    """What :func:`choose_model` found.

    Attributes
    ----------
    table : DataFrame
        One row per test: ``statistic``, ``df``, ``p_value``; null, distribution and source of
        each are in ``.attrs["tests"]``.
    path : DecisionPath
        The questions of the strategy, the evidence on each and the answers taken.
    fits : mapping of str to FitResult
        The models that were estimated.
    alpha : float
        Significance level of the tests.
    criteria : DataFrame
        One row per candidate: ``loglik``, ``n_parameters``, ``aic``, ``bic``; by posterior
        probability also ``log_marginal`` and ``probability``.
    notes : tuple of str
        What is missing, and why; priors.
    """

    table: pd.DataFrame
    path: DecisionPath
    fits: Mapping[str, FitResult]
    alpha: float
    criteria: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> str:
        """Name of the model."""
        return self.path.chosen

    @property
    def steps(self) -> tuple[str, ...]:
        """The path, a sentence per decision."""
        return self.path.sentences

    @property
    def verdict(self) -> str:
        """The path taken, in a few sentences, ending in a model."""
        return " ".join(self.steps)

    @property
    def fit(self) -> FitResult:
        """The fitted model that was chosen."""
        return self.fits[self.chosen]

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the path as a decision tree.

        See :func:`spatial_agglo.report.decision_figure.decision_tree`.
        """
        from spatial_agglo.report.decision_figure import decision_tree

        return decision_tree(self.path, ax=ax)

    def _repr_html_(self) -> str:
        from spatial_agglo.report.tables import selection_html

        return selection_html(self)

    def __repr__(self) -> str:
        return "\n".join([self.table.to_string(), "", self.verdict, *self.notes])


def choose_model(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    cov: str | Covariance = "observed",
    alpha: float = 0.05,
    strategy: str = "elhorst",
    models: Sequence[str] | None = None,
    durbin: Sequence[str] | None = None,
    prior: str | Prior = "uniform",
    coefficients: str = "zellner",
) -> Choice:
    """Run the tests that papers print, and choose a model by a stated strategy.

    "elhorst" (2014, section 3.4; LeSage & Pace 2009): if neither LM test finds spatial
    dependence, the SLX terms are tested, and without them OLS stands; with them the SDM says
    whether the outcome spills over as well. Otherwise the spatial Durbin model is estimated
    and Wald and LR tests ask whether it simplifies: to SAR when ``theta = 0`` is not rejected
    and the robust LM tests point to a lag, to SEM when the common factor is not rejected and
    they point to an error. Where the tests disagree the Durbin model stays, for it nests both.

    "aic", "bic", "posterior": the best of the candidates, nested in one another or not.

    Parameters
    ----------
    formula : str
    panel : Panel
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
    effects, likelihood, cov : str
        As for the estimators, and the same in all fits.
    alpha : float
        Significance level.
    strategy : {"elhorst", "aic", "bic", "posterior"}
    models : sequence of str, optional
        The candidates of a criterion; all eight by default. Those of "elhorst" are ols, slx, sar,
        sem and sdm.
    durbin : sequence of str, optional
        The regressors that are lagged in slx, sdm, sdem and gns; all by default.
    prior, coefficients
        Of "posterior", see :func:`spatial_agglo.model_probabilities`, which also compares
        several W.

    Returns
    -------
    Choice

    Raises
    ------
    OptionError
        "elhorst" or "posterior" with random effects; options that belong to another strategy.

    Notes
    -----
    The SDM does not nest the SEM if some regressors are not lagged, or if there is an intercept
    and W is not row-standardised: the tests of one against the other are left out, and where
    the robust LM tests point to an error, AIC decides between the two.

    The LR tests of the effects use the direct likelihood of the SDM, whatever
    ``likelihood`` is: transformed likelihoods with different effects are of different
    samples; their p values are scaled, see :func:`spatial_agglo.effects_tests`. Hausman's test is
    Mundlak's form, in the SDM. How a statistic is distributed is in ``table.attrs["tests"]``.

    On a panel with gaps, or with weights that change over time, there is no Hausman test: random
    effects need a balanced panel and one W.

    A candidate of a criterion that cannot be estimated is left out, and a test that is not
    decisive and cannot be made as well; the verdict and the notes say so.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> choice = sa.choose_model("logc ~ logp + logy", panel, W)
    >>> choice.chosen
    'sdm'
    >>> sa.choose_model("logc ~ logp + logy", panel, W, strategy="bic", models=["sem", "sdm"]).steps
    ('BIC is lowest for the SEM (-3106.5), then the SDM (+7.0).', ..., 'Lowest BIC: SEM.')
    """
    _check(alpha, strategy, models, W, prior, coefficients)
    spec = ModelSpec.of("sdm", effects=effects, likelihood=likelihood, cov=cov, durbin=durbin)
    by_tests = strategy == "elhorst"
    names = TESTED if by_tests else candidates(models, tuple(MODELS))
    if by_tests:
        require_fixed(spec, "choose_model")
    space = Workspace.of(formula, panel, W)
    if not space.data.regressors:
        raise FormulaError(f"The formula {formula!r} has no regressor to choose a model for.")
    if not spec.lagged(space.data):
        raise OptionError(f"durbin={durbin!r} names no regressor, which leaves nothing to lag.")
    fits, failed = _fits(spec, space, dict.fromkeys((*names, *TESTED)), needed=by_tests)
    found = [name for name in names if name in fits]
    if not found:
        raise failed[names[0]]
    tests, missing = tests_of(fits, space, spec, by_tests)
    criteria = _criteria(fits, found)
    notes = [f"{name.upper()} not estimated: {failed[name]}" for name in names if name in failed]
    notes += [f"{what} left out: {reason}" for what, reason in missing.items()]
    if strategy == "posterior":
        specs = [fits[name].spec for name in found]
        criteria, priors = with_probabilities(criteria, specs, space, prior, coefficients)
        notes.append(f"Priors: {priors}.")
    tested = [name for name in TESTED if name in fits]
    nested = "sdm" not in fits or nests_sem(fits["sdm"])
    case = Case(tests, _criteria(fits, tested), alpha, nested, why_not_nested(spec, space))
    if by_tests:
        path = elhorst(case)
    else:
        others = {name.upper(): str(criteria[name].idxmin()) for name in ("aic", "bic")}
        others.pop(strategy.upper(), None)
        if {"LM lag", "LR SDM/SAR", "LR SLX/OLS"} <= set(tests.index):
            others["Elhorst's strategy"] = elhorst(case).chosen
        path = ranked(criteria, strategy, others, [name for name in names if name in failed])
    table = tests.loc[[name for name in tests.index if name in ROWS]]
    return Choice(described_rows(table), path, fits, alpha, criteria, tuple(notes))


def _check(
    alpha: float,
    strategy: str,
    models: Sequence[str] | None,
    W: Any,
    prior: str | Prior,
    coefficients: str,
) -> None:
    """Raise on options that are unknown or belong to another strategy."""
    check_level(alpha, "alpha", 0.05)
    check_option("strategy", strategy, STRATEGIES)
    if strategy == "elhorst" and models is not None:
        raise OptionError(
            "models=... belongs to strategy='aic', 'bic' or 'posterior'; the path of Elhorst has "
            f"candidates of its own: {', '.join(TESTED)}."
        )
    as_prior(prior)
    check_option("coefficients", coefficients, SLOPES)
    if strategy != "posterior" and (prior, coefficients) != ("uniform", "zellner"):
        raise OptionError(
            f"prior=... and coefficients=... belong to strategy='posterior'; it is {strategy!r}."
        )
    if W is None:
        raise WeightsError("choose_model needs spatial weights W; got None.")
    if isinstance(W, Mapping) and not isinstance(W, PanelWeights):
        raise OptionError(
            "choose_model takes one W. To compare several: "
            "model_probabilities(formula, panel, {name: W, ...})."
        )


def _fits(
    spec: ModelSpec, space: Workspace, names: Sequence[str] | Mapping[str, None], *, needed: bool
) -> tuple[dict[str, FitResult], dict[str, SpatialAggloError]]:
    """Estimate models; those that cannot be are returned with the reason.

    ``needed``: raise, but for the SEM, which the weights may rule out.
    """
    fits: dict[str, FitResult] = {}
    failed: dict[str, SpatialAggloError] = {}
    for name in names:
        durbin = spec.durbin if MODELS[name][1] else None
        try:
            fits[name] = fit_model(replace(spec, model=name, durbin=durbin), space)
        except (BoundaryError, ConvergenceError, IdentificationError, WeightsError) as error:
            if needed and not (name == "sem" and isinstance(error, WeightsError)):
                raise
            failed[name] = error
    return fits, failed


# --- criteria and the path ------------------------------------------------------------------


def _criteria(fits: Mapping[str, FitResult], names: Sequence[str]) -> pd.DataFrame:
    columns = ("loglik", "n_parameters", "aic", "bic")
    rows = {name: [getattr(fits[name], column) for column in columns] for name in names}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(columns))
    return frame.rename_axis("model")
