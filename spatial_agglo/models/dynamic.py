"""Dynamic spatial panels with fixed effects, corrected for the bias of order 1/T."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from spatial_agglo.core.dynamic_bias import Dynamics, radius, score_bias
from spatial_agglo.core.jacobian import Counts, counts
from spatial_agglo.core.likelihood import Estimate
from spatial_agglo.core.moments import lag
from spatial_agglo.core.within import removes_time
from spatial_agglo.errors import (
    BoundaryError,
    DataError,
    FormulaError,
    IdentificationError,
    OptionError,
    WeightsError,
    listing,
)
from spatial_agglo.models.covariances import Bootstrap
from spatial_agglo.models.fitting import Engine
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel, check_steps

#: Fewest periods that must be left without the first, the initial condition.
PERIODS = 3


def dynamic(
    spec: ModelSpec, space: Workspace, *, lags: str = "both", correct: bool = True
) -> DynamicFit:
    """Estimate a dynamic SAR or SDM and correct it for the bias that entity effects cause.

    ::

        y_t = tau y_{t-1} + eta W y_{t-1} + rho W y_t + X_t beta + W X_t theta
              + c + alpha_t + e_t,    t = 2..T

    The first period is the initial condition. Maximum likelihood takes y_{t-1} and W y_{t-1} as
    regressors; removing the entity effects biases it by a term of order 1/T, however large N
    is. The corrected estimate is ``v + I(v)^-1 b(v)`` at the maximum v, with I the expected
    information and b minus the expected score (Yu, de Jong & Lee 2008); its covariance and
    log-likelihood are evaluated where it is.

    Parameters
    ----------
    spec : ModelSpec
        Of ``sar`` or ``sdm``, with entity or two-way effects. ``likelihood="transformed"``
        transforms the period effects away (Lee & Yu 2010); the entity effects stay in the
        likelihood that is corrected, ``sigma2 = SSR / NT`` or ``SSR / (N - 1)T`` before its
        own correction. "direct" and "direct-demeaned" keep the period effects as well and
        correct for both, with a second term of order 1/N: for replication.
    space : Workspace
        Of all T periods.
    lags : {"both", "own", "spatial"}
        y_{t-1} and W y_{t-1}, or one of them.
    correct : bool
        False: plain maximum likelihood.

    Returns
    -------
    DynamicFit
        Parameters ``y(t-1)``, ``W*y(t-1)``, X, ``W*x``, rho, sigma2. Estimates that are not
        stable carry a note.

    Raises
    ------
    OptionError
        Another model or other effects, unknown lags, ``likelihood="corrected"``.
    DataError
        Periods that do not follow each other at equal steps, or a panel with gaps.
    IdentificationError
        Fewer than three periods are left.
    WeightsError
        Weights that change over time; correction with period effects and weights that are not
        row-standardised.
    BoundaryError
        Correction of estimates that are not stable: the sum over powers of
        ``A = (I - rho W)^-1 (tau I + eta W)`` diverges.

    References
    ----------
    Yu, de Jong & Lee (2008), Journal of Econometrics 146(1), 118-134. Lee & Yu (2010),
    Econometric Theory 26(2), 564-597.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> space = Workspace.of("logc ~ logp + logy", panel, W)
    >>> found = dynamic(ModelSpec.of("sar", effects="two-way"), space)
    >>> found.params.drop("sigma2").round(3).to_dict()
    {'logc(t-1)': 0.867, 'W*logc(t-1)': -0.033, 'logp': -0.255, 'logy': 0.085, 'rho': 0.038}
    >>> round(found.stability.total, 3)
    0.872
    """
    spec = _checked(spec, space, lags, correct)
    own, spatial = _labels(space, lags)
    lagged = _lagged(space, own, spatial)
    engine = Engine(_EffectsStay.of(spec) if correct else spec, lagged)
    estimate = _corrected(engine, own, spatial) if correct else engine.estimate
    values, covariance = engine.values(estimate), engine.covariance(estimate)
    stability = _stability(engine, values, covariance, own, spatial)
    return DynamicFit(
        spec=spec,
        names=engine.names,
        values=values,
        covariance=covariance,
        loglik=estimate.loglik,
        n_effective=engine.terms.n,
        estimate=estimate,
        workspace=lagged,
        resid=engine.innovations(estimate),
        notes=(*engine.notes(), *_notes(spec, space.data.panel, stability)),
        details={
            "workspace": space,
            "auxiliary": tuple(name for name in (own, spatial) if name is not None),
            "stability": stability,
            "own_lag": own,
            "spatial_lag": spatial,
            "uncorrected": pd.Series(engine.values(engine.estimate), index=list(engine.names)),
        },
    )


@dataclass(frozen=True)
class Stability:
    """Whether shocks die out.

    Attributes
    ----------
    total, std_error : float
        ``rho + tau + eta`` and its standard error. With row-standardised W, a shock that all
        units share dies out if it is below 1.
    statistic, p_value : float
        Wald test of ``rho + tau + eta = 1``, chi-squared with one degree of freedom.
    radius : float
        Largest modulus among the eigenvalues of ``A = (I - rho W)^-1 (tau I + eta W)``: below 1,
        every shock dies out.
    radius_within : float
        The same without the root of shocks that all units share where period effects absorb
        it: what the correction by the transformation approach needs below 1.
    """

    total: float
    std_error: float
    statistic: float
    p_value: float
    radius: float
    radius_within: float


@dataclass(frozen=True, eq=False, repr=False)
class DynamicFit(FitResult):
    """A fitted dynamic model; what it has more than others stands in ``details``."""

    @property
    def stability(self) -> Stability:
        """Whether shocks die out."""
        return self.details["stability"]

    @property
    def own_lag(self) -> str | None:
        """Name of the parameter tau, of y_{t-1}; None where the model does not have it."""
        return self.details["own_lag"]

    @property
    def spatial_lag(self) -> str | None:
        """Name of the parameter eta, of W y_{t-1}; None where the model does not have it."""
        return self.details["spatial_lag"]

    @property
    def tau(self) -> float | None:
        """Coefficient of y_{t-1}, or None."""
        return None if self.own_lag is None else float(self.params[self.own_lag])

    @property
    def eta(self) -> float | None:
        """Coefficient of W y_{t-1}, or None."""
        return None if self.spatial_lag is None else float(self.params[self.spatial_lag])

    @property
    def uncorrected(self) -> pd.Series:
        """The maximum of the likelihood."""
        return self.details["uncorrected"]

    def __repr__(self) -> str:
        return super().__repr__().replace("FitResult", "DynamicFit", 1)


@dataclass(frozen=True)
class _EffectsStay(ModelSpec):
    """A specification whose likelihood keeps the entity effects, as the corrections suppose."""

    @classmethod
    def of(cls, spec: ModelSpec) -> _EffectsStay:  # type: ignore[override]
        return cls(**{field.name: getattr(spec, field.name) for field in fields(spec)})

    def counts(self, N: int, T: int, row_standardized: bool) -> Counts:
        """Return the counts with the period effects transformed away, at most."""
        transformed = "time" if removes_time(self.fixed) else "none"
        return counts(N, T, transformed, self.likelihood, row_standardized)


# --- data ---------------------------------------------------------------------------------


def _checked(spec: ModelSpec, space: Workspace, lags: str, correct: bool) -> ModelSpec:
    """Return the specification of the lagged data, or raise."""
    ModelSpec.of(spec.model, effects=spec.effects, dynamic=lags)
    if spec.likelihood == "corrected":
        raise OptionError(
            "likelihood='corrected' is the correction of static models. For dynamic ones use "
            "bias_correction=True with likelihood='transformed', 'direct' or 'direct-demeaned'."
        )
    if isinstance(spec.cov, Bootstrap):
        raise OptionError(
            "cov='bootstrap' is not offered for dynamic models: it would hold y(t-1) fixed. Use "
            "'clustered' or 'driscoll-kraay'."
        )
    data = space.data
    if not data.panel.balanced or data.observed is not None:
        raise DataError(
            "Dynamic models need a balanced panel, or y(t-1) is not there. Leave out the units or "
            "periods with gaps."
        )
    if data.panel.T - 1 < PERIODS:
        raise IdentificationError(
            f"Dynamic models need at least {PERIODS + 1} periods, of which the first is the "
            f"initial condition; the panel has {data.panel.T}."
        )
    check_steps(data.panel.times, "y(t-1)")
    if correct and removes_time(spec.effects) and not space.row_standardized:
        raise WeightsError(
            "The bias correction with period effects is defined for row-standardised weights "
            "(Lee & Yu 2010): use W.standardize('row'), effects='entity', or "
            "bias_correction=False."
        )
    # the lags of the outcome are regressors from here on, and are not lagged again
    durbin = spec.lagged(data) if spec.has_durbin else None
    return replace(spec, dynamic=lags, bias_correction=correct, durbin=durbin)


def _labels(space: Workspace, lags: str) -> tuple[str | None, str | None]:
    """Return the names of y_{t-1} and W y_{t-1}, None for one that is not wanted."""
    data = space.data
    own = f"{data.outcome}(t-1)" if lags in ("both", "own") else None
    spatial = f"W*{data.outcome}(t-1)" if lags in ("both", "spatial") else None
    taken = [name for name in (own, spatial) if name in data.regressors]
    if taken:
        raise FormulaError(
            f"The formula has regressors named {listing(taken)}, as the lags of the outcome are: "
            "leave them out of the formula, or rename them."
        )
    return own, spatial


def _lagged(space: Workspace, own: str | None, spatial: str | None) -> Workspace:
    """Return the workspace of t = 2..T with the lags of the outcome before the regressors."""
    data, W = space.data, space.W
    if W is None or space.durbin_weights is None:
        raise WeightsError("Dynamic spatial models need spatial weights W; got None.")
    before = data.y[:-1]
    lags = {own: before} if own is not None else {}
    if spatial is not None:
        lags[spatial] = lag(W.operator, before)
    rest = replace(
        data,
        regressors=(*lags, *data.regressors),
        y=data.y[1:],
        X=np.concatenate([np.stack(list(lags.values()), axis=2), data.X[1:]], axis=2),
        panel=Panel(data.panel.frame.iloc[data.panel.N :]),  # period slow, unit fast
    )
    same = space.durbin_weights is space.weights
    return Workspace(rest, W, W_durbin=None if same else space.durbin_weights.matrices[0])


# --- correction ---------------------------------------------------------------------------


def _dynamics(
    names: tuple[str, ...], values: NDArray, own: str | None, spatial: str | None
) -> Dynamics:
    at = dict(zip(names, values.tolist(), strict=True))
    return Dynamics(at[own] if own else 0.0, at[spatial] if spatial else 0.0, at["rho"])


def _corrected(engine: Engine, own: str | None, spatial: str | None) -> Estimate:
    """Return ``v + I(v)^-1 b(v)`` and the log-likelihood there."""
    W, terms, ml = engine.space.W, engine.terms, engine.estimate
    assert W is not None
    assert terms.rho is not None
    values = engine.values(ml)
    at = _dynamics(engine.names, values, own, spatial)
    both = removes_time(engine.spec.effects)
    remove_mean = both and engine.spec.likelihood == "transformed"
    largest = radius(at, W.logdet, W.matrix, remove_mean=remove_mean)
    if not largest < 1.0:
        raise BoundaryError(
            f"The estimates are not stable before correction: rho + tau + eta = {at.total:.4f}, "
            f"and A = (I - rho W)^-1 (tau I + eta W) has a root of {largest:.4f}: the bias, a sum "
            "over powers of A, diverges. bias_correction=False shows these estimates; "
            "effects='two-way' removes a root that all units share; a missing lag "
            "(dynamic='both') or an outcome in levels instead of growth can be the cause."
        )
    bias = score_bias(
        at,
        W.logdet,
        W.matrix,
        sigma2=ml.sigma2,
        remove_mean=remove_mean,
        periods=engine.space.data.panel.T if both and not remove_mean else 0,
    )
    b = np.zeros(values.size)
    for name, term in zip((own, spatial, "rho", "sigma2"), bias, strict=True):
        if name is not None:
            b[engine.names.index(name)] = term
    values = values + np.linalg.solve(engine.expected(ml), b)
    found = replace(ml, gamma=values[:-2], rho=float(values[-2]), sigma2=float(values[-1]))
    low, high = terms.rho.interval
    if not low < found.rho < high:
        raise BoundaryError(
            f"The correction carries rho from {ml.rho:.4f} to {found.rho:.4f}, out of the "
            f"parameter space ({low:.4g}, {high:.4g}): T is too short for a correction of order "
            "1/T. bias_correction=False shows the estimates before it."
        )
    c = engine.filtered.coefficients(found)
    loglik = -0.5 * terms.n * np.log(2.0 * np.pi * found.sigma2)
    loglik -= 0.5 * (c @ engine.filtered.own @ c) / found.sigma2
    return replace(found, loglik=float(loglik + terms.rho.value(np.asarray(found.rho))))


def _stability(
    engine: Engine, values: NDArray, covariance: NDArray, own: str | None, spatial: str | None
) -> Stability:
    W = engine.space.W
    assert W is not None
    at = _dynamics(engine.names, values, own, spatial)
    g = np.array([name in (own, spatial, "rho") for name in engine.names], dtype=float)
    std_error = float(np.sqrt(g @ covariance @ g))
    z = (at.total - 1.0) / std_error
    whole = within = radius(at, W.logdet, W.matrix, remove_mean=False)
    if removes_time(engine.spec.effects) and W.row_standardized:
        within = radius(at, W.logdet, W.matrix, remove_mean=True)
    return Stability(at.total, std_error, z**2, float(2.0 * ndtr(-abs(z))), whole, within)


def _notes(spec: ModelSpec, panel: Panel, stability: Stability) -> tuple[str, ...]:
    out = [f"dynamic: {panel.times[0]} is the initial condition, T = {panel.T - 1} periods remain"]
    if not spec.bias_correction:
        out.append("not corrected for the bias of order 1/T that entity effects cause")
    elif not removes_time(spec.effects):
        out.append("bias-corrected (Yu, de Jong & Lee 2008)")
    else:
        how = "transformation" if spec.likelihood == "transformed" else "direct"
        out.append(f"bias-corrected by the {how} approach (Lee & Yu 2010)")
    if stability.total >= 1.0 or stability.radius >= 1.0:
        out.append(
            f"NOT STABLE: rho + tau + eta = {stability.total:.4f} (standard error "
            f"{stability.std_error:.4f}), largest root {stability.radius:.4f}, "
            f"{stability.radius_within:.4f} without what period effects absorb"
        )
    return tuple(out)
