"""Fixed against random effects: Mundlak's, robust and classical forms of Hausman's test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import fdtrc

from spatial_agglo.core.within import removes_time
from spatial_agglo.diagnostics.hausman_case import Case, Found, smallest
from spatial_agglo.diagnostics.hausman_replicas import plm, splm
from spatial_agglo.diagnostics.hausman_scores import Random, meat, of_fixed
from spatial_agglo.diagnostics.table import About, chi2_table, described
from spatial_agglo.diagnostics.wald import wald
from spatial_agglo.errors import IdentificationError, OptionError, check_option
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel

METHODS = ("mundlak", "robust", "classical", "splm", "plm")
SOURCES = {
    "mundlak": "Mundlak (1978); Debarsy (2012)",
    "robust": "Hausman (1978); White (1982)",
    "classical": "Hausman (1978); Mutl & Pfaffermayr (2011)",
    "splm": "Millo & Piras (2012), splm::sphtest",
    "plm": "Hausman (1978), plm::phtest",
}


def hausman(
    formula: str,
    panel: Panel,
    W: Any = None,
    *,
    model: str = "sdm",
    method: str = "mundlak",
    effects: str = "entity",
    form: str = "kkp",
    durbin: Sequence[str] | None = None,
    spatial: bool = False,
    W_error: Any = None,
    W_durbin: Any = None,
) -> pd.DataFrame:
    """Test whether the unit effects are independent of the regressors: random against fixed.

    ::

        mundlak     random effects with the unit means of X (and WX where the model has it): the
                    means have no coefficients; Wald, times (N - q)/N
        robust      d' V^-1 d, d = b_fixed - b_random, V from the stacked scores of both models
        classical   d' (V_fixed - V_random)^-1 d

    The first two are never negative; the first is the default.

    Parameters
    ----------
    formula : str
    panel : Panel
        Balanced.
    W : weights
        None with ``model="ols"``.
    model : str
        Of the family, static.
    method : {"mundlak", "robust", "classical", "splm", "plm"}
        "robust" needs neither normal errors nor efficient random effects: units may differ in
        variance, and the errors of a unit may be correlated over time. "classical" is an error
        unless the difference of the covariances is positive definite. "splm" and "plm" (ols and
        slx; random effects of Swamy and Arora) are for replication: see the notes.
    effects : {"entity", "two-way"}
        "two-way": fixed period effects in both models, so that only unit effects are tested.
    form : {"kkp", "baltagi"}
        Of models with an error process, where the random effect stands. "baltagi" is for
        entity effects, and not for "robust".
    durbin, W_error, W_durbin
        As for the estimators.
    spatial : bool
        Whether "robust" and "classical" compare rho and lambda as well. As a rule the
        difference says little about them.

    Returns
    -------
    DataFrame
        One row, such as "Hausman (mundlak)": ``statistic``, ``df`` (number of coefficients
        compared), ``p_value``. ``.attrs["compared"]`` names them; ``.attrs["tests"]`` has the
        null, the distribution and the source.

    Raises
    ------
    IdentificationError
        "classical": the difference of the covariances is not positive definite.
    OptionError
        Options that do not go together.

    Notes
    -----
    ``splm::sphtest(method = "ML")`` compares the coefficients of X (and WX), not rho or lambda.
    It takes the expected information of the direct likelihood with fixed effects, for random
    effects ``s2 (X'Omega^-1 X)^-1`` as if rho, lambda and phi were known, and prints the absolute
    value. "splm" and "plm" do the same, and their p value is NaN where the difference of the
    covariances is not positive definite, with the reason in the attrs.

    What unit means have to say rests on N units and q means (an intercept included), however many
    periods there are. P values of "mundlak" are therefore those of F(df, N - q), as in a
    regression of unit means. The scores of "robust" are scaled by ``(1 - h_i)^(-1/2)``, h_i the
    leverage of a unit among the means, and its p values are those of Hotelling's T^2 with N - q
    degrees of freedom. Without this they reject up to 15% instead of 5% of the time when N = 49;
    "classical", which has no such correction, 9% (ols) to 20% (sdm), and it does not exist in one
    of eight samples of the latter.

    Regressors that do not vary over time have no fixed-effects estimate and are not compared.

    References
    ----------
    Hausman (1978); Mundlak (1978); White (1982), theorem 5.1 for stacked scores; Debarsy (2012)
    for the means in the SDM; Mutl & Pfaffermayr (2011); Lee & Yu (2012).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> hausman("logc ~ logp + logy", panel, W).round(2)
                       statistic  df  p_value
    test
    Hausman (mundlak)       4.36   4     0.37
    """
    check_option("method", method, METHODS)
    check_option("effects", effects, ("entity", "two-way"))
    options: dict[str, Any] = {"durbin": durbin} if durbin is not None else {}
    spec = ModelSpec.of(model, effects="random", **options)
    if spec.has_error:
        spec = ModelSpec.of(model, effects="random", form=form, **options)
    space = Workspace.of(formula, panel, W, W_error=W_error, W_durbin=W_durbin)
    return hausman_table(space, spec, method=method, effects=effects, spatial=spatial)


def hausman_table(
    space: Workspace,
    spec: ModelSpec,
    *,
    method: str = "mundlak",
    effects: str = "entity",
    spatial: bool = False,
) -> pd.DataFrame:
    """Return the test for a workspace, and a specification with random effects."""
    _check(spec, method, effects, spatial)
    if not space.data.regressors:
        raise OptionError(f"The formula {space.data.formula!r} has no regressors to compare.")
    if space.irregular:
        raise OptionError(
            "Random effects need a balanced panel and one W for all periods: complete the panel, "
            "or leave out units or periods with gaps."
        )
    test = {
        "mundlak": _mundlak,
        "robust": _robust,
        "classical": _classical,
        "splm": splm,
        "plm": plm,
    }[method]
    found = test(Case(spec, space, effects, spatial))
    name = f"Hausman ({method})"
    df = len(found.compared)
    table = chi2_table({name: (found.statistic, df)})
    distribution = f"chi2({df})"
    if found.remark:
        table["p_value"] = np.nan
    elif found.left is not None:
        table["p_value"] = float(fdtrc(df, found.left, found.scale * found.statistic / df))
        distribution = f"{df / found.scale:.4g} F({df}, {found.left})"
    null = "unit effects independent of the regressors"
    about = About(null, distribution, SOURCES[method], found.remark)
    table = described(table, {name: about})
    table.attrs["compared"] = list(found.compared)
    return table


def _check(spec: ModelSpec, method: str, effects: str, spatial: bool) -> None:
    outside = spec.has_error and spec.form == "baltagi"
    if outside and (method == "robust" or effects == "two-way"):
        raise OptionError(
            "form='baltagi' is available with method='mundlak', 'classical' and 'splm', and "
            "effects='entity': the scores of a unit effect outside the error process mix units. "
            "Use form='kkp'."
        )
    if spatial and (method not in ("robust", "classical") or not spec.spatial):
        raise OptionError(
            "spatial=True is for method='robust' or 'classical', and a model with rho or lambda."
        )
    if method in ("splm", "plm") and effects != "entity":
        raise OptionError(f"method={method!r} replicates a test with effects='entity'.")
    if method == "plm" and spec.spatial:
        raise OptionError(f"method='plm' is for ols and slx; got {spec.model}. Use 'splm'.")


def _mundlak(case: Case) -> Found:
    data, spec, moving = case.space.data, case.spec, case.moving
    if not moving:
        case.fixed()  # raises
    if spec.has_error and spec.form == "baltagi":
        found = fit(replace(spec, correlated=True), case.space)
        names, values, V = list(found.names), found.values, found.covariance
    else:
        places = [data.regressors.index(name) for name in moving]
        means = np.broadcast_to(data.X[:, :, places].mean(axis=0), (*data.y.shape, len(places)))
        extended = replace(
            data,
            regressors=(*data.regressors, *(f"mean({name})" for name in moving)),
            X=np.concatenate([data.X, means], axis=2),
        )
        if spec.has_durbin:
            lagged = spec.lagged(data)
            added = tuple(f"mean({name})" for name in lagged if name in moving)
            spec = replace(spec, durbin=(*lagged, *added))
        random = Random.of(spec, case.space.with_data(extended), case.effects)
        names, values, V = random.names, random.values, random.covariance
    tested = [name for name in names if name.removeprefix("W*").startswith("mean(")]
    at = [names.index(name) for name in tested]
    statistic = wald(values[at], np.eye(len(at)), V[np.ix_(at, at)])
    left = _enough(case.leverage[1])
    units = data.panel.N - removes_time(case.effects)
    return Found(statistic * left / units, tested, left)


def _robust(case: Case) -> Found:
    fixed = case.fixed()
    random = Random.of(case.spec, case.space, case.effects)
    names = case.compared(fixed)
    here = [fixed.names.index(name) for name in names]
    there = [random.names.index(name) for name in names]
    difference = fixed.values[here] - random.values[there]
    # what a score contributes to the difference of the estimates
    effect = np.hstack([fixed.covariance[here], -random.covariance[there]])
    used = ~np.isnan(effect).any(axis=0)  # phi at its lower end
    leverage, left = case.leverage
    scale = 1.0 / np.sqrt(np.maximum(1.0 - leverage, 0.1))[:, None]
    stacked = [replace(s, own=s.own * scale) for s in (of_fixed(fixed), random.scores())]
    V = effect[:, used] @ meat(stacked)[np.ix_(used, used)] @ effect[:, used].T
    remaining = _enough(left - len(names) + 1)
    statistic = wald(difference, np.eye(len(names)), V)
    return Found(statistic, names, remaining, scale=remaining / left)


def _enough(left: int) -> int:
    """Return the degrees of freedom that unit means leave; raise when there are none."""
    if left < 1:
        raise IdentificationError(
            "There are as many unit means of regressors as units: nothing is left to test unit "
            "effects with. Use fewer regressors (or durbin=[...])."
        )
    return left


def _classical(case: Case) -> Found:
    fixed = case.fixed()
    names = case.compared(fixed)
    if case.spec.has_error and case.spec.form == "baltagi":
        found = fit(case.spec, case.space)
        labels, values, V = list(found.names), found.values, found.covariance
    else:
        random = Random.of(case.spec, case.space, case.effects)
        labels, values, V = random.names, random.values, random.covariance
    here = [fixed.names.index(name) for name in names]
    there = [labels.index(name) for name in names]
    difference = fixed.covariance[np.ix_(here, here)] - V[np.ix_(there, there)]
    least = smallest(difference)
    if least < 1e-10:
        raise IdentificationError(
            "The classical Hausman statistic does not exist here: the covariance of the fixed "
            "effects estimates less that of the random effects estimates is not positive definite "
            f"(smallest eigenvalue of its correlation form: {least:.3g}), so the statistic "
            "could be negative. Random effects are not efficient in these data, or the sample is "
            "small. Use method='mundlak' or 'robust'."
        )
    d = fixed.values[here] - values[there]
    return Found(float(d @ np.linalg.solve(difference, d)), names)
