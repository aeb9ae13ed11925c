"""choose_model: the published selection table in one call, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from spatial_agglo.diagnostics.dependence import moran_of
from spatial_agglo.diagnostics.likelihood_ratio import effects_table, lr_tests
from spatial_agglo.diagnostics.lm import lm_table
from spatial_agglo.diagnostics.projection import require_fixed, require_regular
from spatial_agglo.diagnostics.table import normal_row
from spatial_agglo.diagnostics.wald import wald_tests
from spatial_agglo.errors import FormulaError, OptionError
from spatial_agglo.models.covariances import Observed
from spatial_agglo.models.fitting import fit as fit_model
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel

#: Rows of the published selection table, in its order.
ORDER = (
    "Moran's I",
    "LM error",
    "robust LM error",
    "LM lag",
    "robust LM lag",
    "LR SDM/SAR",
    "LR SDM/SEM",
    "Wald SDM/SAR",
    "Wald SDM/SEM",
)
#: What there is instead on panels that the tests are not made for.
INSTEAD = (
    "estimate the models one by one and compare them: sdm(...) with lr_tests and wald_tests, and "
    "their information criteria"
)
NOT_NESTED = (
    "The SEM is not nested in the SDM: there is an intercept and W is not row-standardised."
)


@dataclass(frozen=True, eq=False)
class Choice:
    """What :func:`choose_model` found.

    Attributes
    ----------
    table : DataFrame
        One row per test: ``statistic``, ``df``, ``p_value``.
    steps : tuple of str
        The path, a sentence per decision.
    chosen : str
        Name of the model.
    fits : mapping of str to FitResult
        The candidates: "ols", "slx", "sar", "sem", "sdm".
    alpha : float
        Significance level of the decisions.
    """

    table: pd.DataFrame
    steps: tuple[str, ...]
    chosen: str
    fits: Mapping[str, FitResult]
    alpha: float

    @property
    def verdict(self) -> str:
        """The path taken, in a few sentences, ending in a model."""
        return " ".join(self.steps)

    @property
    def fit(self) -> FitResult:
        """The fitted model that was chosen."""
        return self.fits[self.chosen]

    def _repr_html_(self) -> str:
        from spatial_agglo.report.tables import selection_html

        return selection_html(self)

    def __repr__(self) -> str:
        return f"{self.table.to_string()}\n\n{self.verdict}"


def choose_model(
    formula: str,
    panel: Panel,
    W: Any,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    cov: str = "observed",
    alpha: float = 0.05,
) -> Choice:
    """Run the tests that decide between OLS, SAR, SEM and SDM, and follow them to a model.

    The strategy is Elhorst's (2014, section 3.4; LeSage & Pace 2009). If neither LM test
    finds spatial dependence, the SLX terms are tested, and without them OLS stands.
    Otherwise the spatial Durbin model is estimated and Wald and LR tests ask whether it
    simplifies: to SAR when ``theta = 0`` is not rejected and the robust LM tests point to a
    lag, to SEM when the common factor is not rejected and they point to an error. Where the
    tests disagree the Durbin model stays, for it nests both.

    Parameters
    ----------
    formula : str
    panel : Panel
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame
    effects, likelihood, cov : str
        As for the estimators, and the same in all fits.
    alpha : float
        Significance level.

    Returns
    -------
    Choice

    Raises
    ------
    DataError, WeightsError
        A panel with gaps, weights that change over time.
    OptionError
        effects="random".

    Notes
    -----
    With an intercept and weights that are not row-standardised the SDM does not nest the SEM: the
    tests of one against the other are left out, and the SEM is not among the candidates.

    The LR tests of the effects use the direct likelihood of the SDM, whatever
    ``likelihood`` is: transformed likelihoods with different effects are of different
    samples.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> choice = sa.choose_model("logc ~ logp + logy", panel, W)
    >>> choice.chosen
    'sdm'
    """
    if not 0.0 < alpha < 1.0:
        raise OptionError(f"alpha={alpha!r} must lie between 0 and 1, for example 0.05.")
    spec = ModelSpec.of("sdm", effects=effects, likelihood=likelihood, cov=cov)
    require_fixed(spec, "choose_model")
    space = Workspace.of(formula, panel, W)
    require_regular(space, "choose_model", INSTEAD)
    if not space.data.regressors:
        raise FormulaError(f"The formula {formula!r} has no regressor to choose a model for.")
    fits = {
        model: fit_model(replace(spec, model=model), space)
        for model in ("sdm", "ols", "slx", "sar", "sem")
    }
    table = _table(fits, space, spec)
    slx_p = float(_nested(fits["slx"], fits["ols"], len(space.data.regressors)))
    chosen, steps = _decide(table["p_value"], table["statistic"], slx_p, alpha)
    return Choice(table=table, steps=steps, chosen=chosen, fits=fits, alpha=alpha)


def _table(fits: Mapping[str, FitResult], space: Workspace, spec: ModelSpec) -> pd.DataFrame:
    parts = [
        normal_row("Moran's I", float(moran_of(fits["ols"])["z"])),
        lm_table(fits["ols"]),
        lr_tests(fits["sdm"]),
        wald_tests(fits["sdm"]),
    ]
    table = pd.concat(parts)
    table = table.loc[[name for name in ORDER if name in table.index]]
    if spec.effects != "none":
        direct = replace(spec, likelihood="direct", cov=Observed())
        table = pd.concat([table, effects_table(space, direct)])
    return table


def _nested(large: FitResult, small: FitResult, df: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(df, 2.0 * (large.loglik - small.loglik)))


def _decide(
    p: pd.Series, statistic: pd.Series, slx_p: float, alpha: float
) -> tuple[str, tuple[str, ...]]:
    """Follow the strategy; return the model and a sentence per decision."""

    def says(*names: str) -> str:
        return ", ".join(f"{name}: p {_p(p[name])}" for name in names)

    if min(p["LM lag"], p["LM error"]) >= alpha:
        first = f"No spatial dependence in the residuals ({says('LM lag', 'LM error')})."
        if slx_p >= alpha:
            return "ols", (first, f"Lagged regressors do not matter either (p {_p(slx_p)}): OLS.")
        rest = f"Lagged regressors matter (LR SLX/OLS: p {_p(slx_p)}): SLX."
        return "slx", (first, rest)
    steps = [f"The residuals are spatially dependent ({says('LM lag', 'LM error')})."]
    lag_rejected = [p[f"{test} SDM/SAR"] < alpha for test in ("LR", "Wald")]
    error_rejected = [bool(p.get(f"{test} SDM/SEM", 0.0) < alpha) for test in ("LR", "Wald")]
    for name, rejected in (("SAR", lag_rejected), ("SEM", error_rejected)):
        if f"LR SDM/{name}" not in p.index:
            steps.append(NOT_NESTED)
            continue
        tests = says(f"LR SDM/{name}", f"Wald SDM/{name}")
        if all(rejected):
            steps.append(f"The SDM does not simplify to the {name} ({tests}).")
        elif any(rejected):
            steps.append(f"LR and Wald disagree on simplifying the SDM to the {name} ({tests}).")
        else:
            steps.append(f"The SDM can be simplified to the {name} ({tests}).")
    points, why = _points(p, statistic, alpha)
    lag_open, error_open = not any(lag_rejected), not any(error_rejected)
    if lag_open and points == "lag":
        steps.append(f"{why}: SAR.")
        return "sar", tuple(steps)
    if error_open and points == "error":
        steps.append(f"{why}: SEM.")
        return "sem", tuple(steps)
    if lag_open or error_open:
        steps.append(f"{why}, so the tests disagree and the model that nests both stays: SDM.")
    else:
        both = (
            "Both simplifications fail" if NOT_NESTED not in steps else "The simplification fails"
        )
        steps.append(f"{both}: SDM.")
    return "sdm", tuple(steps)


def _points(p: pd.Series, statistic: pd.Series, alpha: float) -> tuple[str, str]:
    """Which process the robust LM tests point to, and a sentence that says so."""
    names = ("robust LM lag", "robust LM error")
    significant = [name for name in names if p[name] < alpha]
    text = f"robust LM lag: p {_p(p[names[0]])}, robust LM error: p {_p(p[names[1]])}"
    if not significant:
        return "neither", f"The robust LM tests point to neither process ({text})"
    best = max(significant, key=lambda name: float(statistic[name]))
    what = "lag" if best.endswith("lag") else "error"
    return what, f"The robust LM tests point to a spatial {what} ({text})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
