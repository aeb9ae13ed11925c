"""Fixed against random effects: Mundlak's, robust and classical forms of Hausman's test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import fdtrc

from spatial_agglo.core import random_effects as core
from spatial_agglo.core.coupling import Coupling
from spatial_agglo.core.likelihood import Filtered, solve_spd
from spatial_agglo.core.moments import accumulate
from spatial_agglo.core.within import removes_time, within
from spatial_agglo.diagnostics.cross_section import About, described
from spatial_agglo.diagnostics.lattice import wald
from spatial_agglo.diagnostics.table import chi2_table
from spatial_agglo.errors import IdentificationError, OptionError, check_option, listing
from spatial_agglo.models.covariances import Expected
from spatial_agglo.models.fitting import fit, invert
from spatial_agglo.models.results import FitResult
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
    periods there are. P values of the first two are therefore those of F(df, N - q), as in a
    regression of unit means, and the scores of "robust" are scaled by ``(1 - h_i)^(-1/2)``, h_i the
    leverage of a unit among the means. Without this they reject up to 15% instead of 5% of the
    time when N = 49; "classical", which has no such correction, 9% (ols) to 23% (sdm), and it does
    not exist in one of eight samples of the latter.

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
        "splm": _splm,
        "plm": _plm,
    }[method]
    found = test(Case(spec, space, effects, spatial))
    name = f"Hausman ({method})"
    df = len(found.compared)
    table = chi2_table({name: (found.statistic, df)})
    distribution = f"chi2({df})"
    if found.remark:
        table["p_value"] = np.nan
    elif found.left is not None:
        table["p_value"] = float(fdtrc(df, found.left, found.statistic / df))
        distribution = f"{df} F({df}, {found.left})"
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


@dataclass(frozen=True)
class Case:
    """What is compared."""

    spec: ModelSpec
    space: Workspace
    effects: str
    spatial: bool

    @property
    def leverage(self) -> tuple[NDArray, int]:
        """Leverage of every unit in a regression on unit means, and what N leaves of them."""
        kind = "time" if removes_time(self.effects) else "none"
        spec = replace(self.spec, effects=kind)
        columns, _ = self.space.regressors(spec)
        means = _picked(self.space, spec, columns, False)[0].mean(axis=0)
        U, scale, _ = np.linalg.svd(means, full_matrices=False)
        U = U[:, scale > 1e-10 * scale[0]]
        N, q = U.shape
        return (U**2).sum(axis=1), N - (kind == "time") - q

    @property
    def moving(self) -> list[str]:
        """Regressors that vary over time."""
        data = self.space.data
        varies = np.abs(data.X - data.X[:1]).max(axis=(0, 1)) > 0
        return [name for name, moves in zip(data.regressors, varies, strict=True) if moves]

    def fixed(self, likelihood: str = "transformed", cov: Any = "observed") -> FitResult:
        """Estimate with fixed effects, on the regressors that vary over time."""
        data, moving = self.space.data, self.moving
        if not moving:
            raise OptionError(
                "No regressor varies over time, so nothing can be compared: "
                f"{listing(data.regressors)}."
            )
        options: dict[str, Any] = {}
        if self.spec.has_durbin:
            options["durbin"] = [name for name in self.spec.lagged(data) if name in moving]
        places = [data.regressors.index(name) for name in moving]
        part = replace(data, regressors=tuple(moving), X=data.X[:, :, places])
        spec = ModelSpec.of(
            self.spec.model, effects=self.effects, likelihood=likelihood, cov=cov, **options
        )
        return fit(spec, self.space.with_data(part))

    def compared(self, fixed: FitResult) -> list[str]:
        """Names of the parameters that both models have."""
        left = () if self.spatial else ("rho", "lambda")
        return [name for name in fixed.names if name not in (*left, "sigma2")]


@dataclass(frozen=True)
class Found:
    """A statistic, what it compares, the df of its denominator, and why there is no p value."""

    statistic: float
    compared: Sequence[str]
    left: int | None = None
    remark: str = ""


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
    return Found(wald(difference, np.eye(len(names)), V), names, _enough(left))


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
    smallest = _smallest(difference)
    if smallest < 1e-10:
        raise IdentificationError(
            "The classical Hausman statistic does not exist here: the covariance of the fixed "
            "effects estimates less that of the random effects estimates is not positive definite "
            f"(smallest eigenvalue of its correlation form: {smallest:.3g}), so the statistic "
            "could be negative. Random effects are not efficient in these data, or the sample is "
            "small. Use method='mundlak' or 'robust'."
        )
    d = fixed.values[here] - values[there]
    return Found(float(d @ np.linalg.solve(difference, d)), names)


def _smallest(A: NDArray) -> float:
    scale = np.sqrt(np.abs(np.diag(A)))
    return float(np.linalg.eigvalsh(A / np.outer(scale, scale))[0])


def _splm(case: Case) -> Found:
    """Take the direct likelihood's expected information, and ``s2 (X'Omega^-1 X)^-1``."""
    fixed = case.fixed("direct", Expected())
    random = fit(case.spec, case.space)
    names = case.compared(fixed)
    here = [fixed.names.index(name) for name in names]
    there = [random.names.index(name) for name in names]
    V = invert(_gls_gram(case, random) / random.sigma2)
    difference = fixed.covariance[np.ix_(here, here)] - V[np.ix_(there, there)]
    d = fixed.values[here] - random.values[there]
    value = float(d @ np.linalg.solve(difference, d))
    return Found(abs(value), names, remark=_indefinite(difference, value))


def _indefinite(difference: NDArray, value: float) -> str:
    """Say so where a difference of covariances has no positive quadratic forms."""
    if _smallest(difference) > 0.0:
        return ""
    what = "is the absolute value of" if value < 0.0 else "could as well be negative; it is"
    return (
        "the difference of the covariances is not positive definite, and the statistic "
        f"{what} {value:.5g}: there is no p value"
    )


def _gls_gram(case: Case, random: FitResult) -> NDArray:
    """Return ``X' Omega^-1 X`` for the regressors of a random-effects fit."""
    space, spec = case.space, case.spec
    regressors, _ = space.regressors(spec)
    k = len(regressors)
    lam = random.estimate.lam
    phi = float(random.params["phi"])
    X, MX = _picked(space, spec, regressors, spec.has_error)
    T, N = X.shape[:2]
    Z = X - lam * MX
    mean = Z.mean(axis=0)
    deviations = (Z - mean).reshape(N * T, k)
    gram = deviations.T @ deviations
    if spec.has_error and spec.form == "baltagi" and space.error_weights is not None:
        B = np.eye(N) - lam * space.error_weights.matrices[0].matrix.toarray()
        V = T * phi * (B @ B.T) + np.eye(N)  # of B u averaged over time, times T
        return gram + T * mean.T @ np.linalg.solve(V, mean)
    return gram + T * mean.T @ mean / (1.0 + T * phi)


def _plm(case: Case) -> Found:
    """Compare the within and Swamy-Arora estimates, as ``plm::phtest``."""
    data, moving, spec = case.space.data, case.moving, case.spec
    if len(moving) < len(data.regressors):
        raise OptionError("method='plm' needs regressors that all vary over time.")
    pooled = replace(spec, effects="none")
    regressors, names = case.space.regressors(pooled)
    X, _ = _picked(case.space, pooled, [("", 0), *regressors], False)
    T, N, width = X.shape
    first = int(case.space.has_intercept("none"))
    k = width - 1 - first
    means = X.mean(axis=0)
    deviations = (X - means).reshape(N * T, width)
    G_w, G_b = deviations.T @ deviations, T * means.T @ means
    slopes = slice(1 + first, width)
    b_w = solve_spd(G_w[slopes, slopes], G_w[slopes, 0])
    s2 = float(G_w[0, 0] - b_w @ G_w[slopes, 0]) / (N * (T - 1) - k)
    b_b = solve_spd(G_b[1:, 1:], G_b[1:, 0])
    s1 = float(G_b[0, 0] - b_b @ G_b[1:, 0]) / (N - k - first)
    G = G_w + s2 / s1 * G_b
    b = solve_spd(G[1:, 1:], G[1:, 0])
    s2_gls = float(G[0, 0] - b @ G[1:, 0]) / (N * T - k - first)
    V = invert(G_w[slopes, slopes] / s2) - invert(G[1:, 1:] / s2_gls)[first:, first:]
    d = b_w - b[first:]
    value = float(d @ np.linalg.solve(V, d))
    return Found(abs(value), names[first:], remark=_indefinite(V, value))


def _picked(
    space: Workspace, spec: ModelSpec, columns: Sequence[tuple[str, int]], ahead: bool
) -> tuple[NDArray, NDArray]:
    """Return columns of the projected data, and their lags by the error weights (or zeros)."""
    words = space.words(spec)
    data = space.arrays(spec, words)
    width = data.shape[2] // len(words)

    def pick(wanted: Sequence[tuple[str, int]]) -> NDArray:
        return data[:, :, [words.index(word) * width + column for word, column in wanted]]

    Z = pick(columns)
    if not ahead:
        return Z, np.zeros_like(Z)
    letter = space.error_letter
    return Z, pick([(letter + word, column) for word, column in columns])


# --- random effects of the units, with fixed effects of the periods or without --------------


@dataclass(frozen=True)
class Random:
    """A fit with random unit effects (inside the error process), and what its scores need.

    With fixed period effects the likelihood is that of the data less their period means (Lee &
    Yu 2010): N - 1 units, ``T ln|I - rho W| - T ln(1 - rho)``, and the same for lambda.
    """

    names: list[str]
    values: NDArray
    covariance: NDArray
    spec: ModelSpec
    space: Workspace
    found: core.RandomEstimate

    @classmethod
    def of(cls, spec: ModelSpec, space: Workspace, effects: str) -> Random:
        """Estimate by maximum likelihood."""
        over_time = removes_time(effects)
        spec = replace(spec, effects="time") if over_time else spec
        space.moments(spec)  # checks ranks and sizes, naming variables
        F = space.frame(spec)
        T = F.shape[0]
        words = space.words(spec)
        regressors, names = space.regressors(spec)
        kind = "time" if over_time else "none"
        means = np.sqrt(T) * F.mean(axis=0, keepdims=True)
        inside, between = (
            Filtered.of(
                accumulate(part, space.operators, kind, words=words),
                regressors,
                lag="W" if spec.has_lag else None,
                error=space.error_letter if spec.has_error else None,
            )
            for part in (within(F, "entity"), means)
        )
        terms = space.terms(spec)
        model = core.random_model(
            inside,
            N=terms.n // T,
            T=T,
            between=between,
            rho_jacobian=terms.rho,
            lam_jacobian=terms.lam,
        )
        found = core.maximize(model)
        spatial = [found.rho] * spec.has_lag + [found.lam] * spec.has_error
        return cls(
            names=[*names, *spec.spatial, "phi", "sigma2"],
            values=np.concatenate([found.gamma, spatial, [found.phi, found.sigma2]]),
            covariance=core.covariance(core.observed(model, found), invert),
            spec=spec,
            space=space,
            found=found,
        )

    def scores(self) -> Scores:
        """Return the scores by unit."""
        T = self.space.data.panel.T
        weight = 1.0 / (1.0 + T * self.found.phi)
        A = np.eye(T) - (1.0 - weight) / T
        gamma, rho, lam = self.found.gamma, self.found.rho, self.found.lam
        made = _scores(self.spec, self.space, gamma, rho, lam, self.found.sigma2, A, float(T))
        v, s2 = made.v, self.found.sigma2
        between = T * v.mean(axis=0) ** 2
        units = 1.0 - 1.0 / v.shape[1] if made.centred else 1.0
        phi = 0.5 * T * weight * (weight * between / s2 - units)
        own = np.insert(made.own, made.own.shape[1] - 1, phi, axis=1)
        return replace(made, own=own)


# --- scores by unit ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Scores:
    """The scores of a model as sums over units and over pairs of units.

    With independent units the terms of different units, and of different pairs, are not
    correlated, so their outer products add up to the covariance of the scores, whatever the
    variances, and whatever the correlation over time within a unit.

    Attributes
    ----------
    own : ndarray, shape (N, p)
        What only the errors of one unit enter: linear terms and ``h_ii v_i'A v_i``.
    positions : tuple of int
        Of rho and lambda among the p.
    v, Av : ndarray, shape (T, N)
        The errors, and A times them over sigma2: pairs enter by ``(h_ij + h_ji) v_i'A v_j``.
    coupling : Coupling
        Of the h_ij.
    centred : bool
        Whether period means are out.
    """

    own: NDArray
    positions: tuple[int, ...]
    v: NDArray
    Av: NDArray
    coupling: Coupling
    centred: bool

    def pairs(self) -> Iterator[tuple[slice, list[NDArray]]]:
        """Yield ``(h_ij + h_ji) v_i'A v_j / s2`` by parameter, for blocks of columns j."""
        if not self.positions:
            return
        coupling = self.coupling
        mask = np.ones(self.v.shape[1])
        for block, columns, rows in coupling.centred(mask) if self.centred else coupling.blocks():
            gram = self.Av.T @ self.v[:, block]
            yield block, [(c + r) * gram for c, r in zip(columns, rows, strict=True)]


def of_fixed(fixed: FitResult) -> Scores:
    """Return the scores of a fit with fixed effects by unit."""
    T = fixed.workspace.data.panel.T
    A = np.eye(T) - 1.0 / T
    at = fixed.estimate
    return _scores(
        fixed.spec, fixed.workspace, at.gamma, at.rho, at.lam, at.sigma2, A, float(T - 1)
    )


def _scores(
    spec: ModelSpec,
    space: Workspace,
    gamma: NDArray,
    rho: float,
    lam: float,
    s2: float,
    A: NDArray,
    share: float,
) -> Scores:
    """Return the scores of gamma, rho, lambda and sigma2; ``share`` is ``E v_i'A v_i / s2``."""
    F, MF = _picked(space, spec, space.columns(spec), spec.has_error)
    Z = F - lam * MF
    first = 1 + spec.has_lag
    b = np.concatenate([np.array([1.0, -rho])[:first], -gamma])
    v = Z @ b
    Av = np.tensordot(A, v, axes=1) / s2
    parts = [np.einsum("tnk,tn->nk", Z[:, :, first:], Av)]
    centred = removes_time(spec.effects) and space.row_standardized
    positions: tuple[int, ...] = ()
    lags, errors = space.weights, space.error_weights
    coupling = Coupling(
        W=lags.matrices[0].matrix if spec.has_lag and lags else None,
        M=errors.matrices[0].matrix if spec.has_error and errors else None,
        rho=rho,
        lam=lam,
    )
    quadratic = (v * Av).sum(axis=0)  # v_i'A v_i / s2
    if spec.spatial:
        positions = tuple(range(gamma.size, gamma.size + len(spec.spatial)))
        mask = np.ones(v.shape[1])
        diagonals = [
            np.stack([np.diagonal(c[block]) for c in columns], axis=1)
            for block, columns, _ in (coupling.centred(mask) if centred else coupling.blocks())
        ]
        spatial = np.concatenate(diagonals) * (quadratic - share)[:, None]
        if spec.has_lag:
            m = Z[:, :, 1] - space.project(coupling.lagged(v), spec)
            spatial[:, 0] += (m * Av).sum(axis=0)
        parts.append(spatial)
    units = 1.0 - 1.0 / v.shape[1] if centred else 1.0  # what period means leave of a variance
    parts.append((0.5 * (quadratic - share * units) / s2)[:, None])
    return Scores(np.concatenate(parts, axis=1), positions, v, Av, coupling, centred)


def meat(models: Sequence[Scores]) -> NDArray:
    """Return the joint covariance of the scores of some models of the same data."""
    own = np.concatenate([scores.own for scores in models], axis=1)
    total = own.T @ own
    starts = np.cumsum([0, *(scores.own.shape[1] for scores in models)])
    at = [
        start + place
        for start, scores in zip(starts, models, strict=False)
        for place in scores.positions
    ]
    if at:
        for blocks in zip(*(scores.pairs() for scores in models), strict=True):
            block = blocks[0][0]
            pairs = [pair for _, found in blocks for pair in found]
            for pair in pairs:
                pair[np.arange(block.start, block.stop), np.arange(pair.shape[1])] = 0.0
            for (p, one), (q, other) in product(enumerate(pairs), repeat=2):
                total[at[p], at[q]] += 0.5 * float((one * other).sum())  # every pair came twice
    return total
