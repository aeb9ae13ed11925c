"""FitResult: the frozen result of an estimator. Tables and pictures are derived elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from spatial_agglo.core.likelihood import Estimate
from spatial_agglo.errors import IdentificationError, OptionError, listing
from spatial_agglo.formula import INTERCEPT
from spatial_agglo.models import prediction, profile, recovered
from spatial_agglo.models.specification import MODELS, ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.panel import Panel

if TYPE_CHECKING:
    from spatial_agglo.impacts import Impacts


#: What ``replace`` takes besides the options of a model.
DATA = ("formula", "panel", "W", "W_error", "W_durbin")


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted model.

    Its arrays are read-only, and every table is made anew: nothing that is done with a result
    changes it.

    Attributes
    ----------
    spec : ModelSpec
        Model, effects, likelihood and covariance.
    loglik : float
        Maximised log-likelihood (under "corrected": of the direct likelihood).
    n_effective : int
        Observations that count: ``sigma2 = SSR / n_effective``.
    notes : tuple of str
        What the reader of the table must know: W not row-standardised, back end, ...
    details : mapping
        What only some models have: the stability of a dynamic one, a first stage, ...
    """

    spec: ModelSpec
    names: tuple[str, ...]
    values: NDArray
    covariance: NDArray
    loglik: float
    n_effective: int
    estimate: Estimate
    workspace: Workspace
    resid: NDArray
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._protect()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._protect()  # pickles do not keep the flag

    def _protect(self) -> None:
        for name in ("values", "covariance", "resid"):
            array = np.asarray(getattr(self, name)).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.spec.model

    @property
    def formula(self) -> str:
        """The formula as it was given."""
        return self.workspace.data.formula

    @property
    def nobs(self) -> int:
        """Number of observations that were used: N x T on a balanced panel."""
        return self.workspace.data.nobs

    @property
    def params(self) -> pd.Series:
        """Estimates: x, W*x, rho, lambda, sigma2."""
        return pd.Series(self.values.copy(), index=list(self.names), name="params")

    @property
    def cov(self) -> pd.DataFrame:
        """Covariance matrix of all the estimates, sigma2 included."""
        return pd.DataFrame(
            self.covariance.copy(), index=list(self.names), columns=list(self.names)
        )

    @property
    def std_errors(self) -> pd.Series:
        """Standard errors."""
        variances = np.diag(self.covariance)
        errors = np.sqrt(np.where(variances > 0, variances, np.nan))
        return pd.Series(errors, index=list(self.names), name="std_errors")

    @property
    def tstats(self) -> pd.Series:
        """Estimates over standard errors (asymptotically standard normal)."""
        return (self.params / self.std_errors).rename("tstats")

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p values from the standard normal distribution."""
        return pd.Series(
            2.0 * ndtr(-np.abs(self.tstats.to_numpy())), index=list(self.names), name="pvalues"
        )

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Return confidence intervals, columns "lower" and "upper"."""
        if isinstance(level, str) or not 0.0 < level < 1.0:
            raise OptionError(f"level={level!r} must lie between 0 and 1, for example 0.95.")
        half = ndtri(0.5 + level / 2.0) * self.std_errors
        return pd.DataFrame({"lower": self.params - half, "upper": self.params + half})

    @property
    def rho(self) -> float | None:
        """Coefficient of Wy, or None."""
        return float(self.params["rho"]) if self.spec.has_lag else None

    @property
    def lam(self) -> float | None:
        """Coefficient of the spatial error process, or None."""
        return float(self.params["lambda"]) if self.spec.has_error else None

    @property
    def sigma2(self) -> float:
        """Variance of the innovations."""
        return float(self.params["sigma2"])

    # --- how well it fits -------------------------------------------------------------

    @property
    def n_parameters(self) -> int:
        """Number of parameters that the information criteria count: those in ``params``.

        Coefficients, rho, lambda and variances. Fixed effects are not counted: the transformed
        likelihood has none, and the direct ones have as many in every model that may be
        compared (same data, effects and likelihood).
        """
        return len(self.names)

    @property
    def aic(self) -> float:
        """Akaike's criterion, ``-2 loglik + 2 n_parameters``."""
        return -2.0 * self.loglik + 2.0 * self.n_parameters

    @property
    def aicc(self) -> float:
        """Akaike's criterion for small samples: ``aic + 2 k (k + 1) / (n - k - 1)``.

        ``k = n_parameters`` and ``n = n_effective`` (Hurvich & Tsai 1989).
        """
        k, n = self.n_parameters, self.n_effective
        if n <= k + 1:
            raise IdentificationError(
                f"aicc needs more than {k + 1} effective observations for {k} parameters; there "
                f"are {n}."
            )
        return self.aic + 2.0 * k * (k + 1) / (n - k - 1)

    @property
    def bic(self) -> float:
        """Schwarz's criterion, ``-2 loglik + n_parameters ln(n_effective)``."""
        return float(-2.0 * self.loglik + np.log(self.n_effective) * self.n_parameters)

    @property
    def hqic(self) -> float:
        """Hannan and Quinn's criterion, ``-2 loglik + 2 n_parameters ln(ln(n_effective))``."""
        penalty = 2.0 * np.log(np.log(self.n_effective))
        return float(-2.0 * self.loglik + penalty * self.n_parameters)

    @property
    def rsquared(self) -> float:
        """``1 - SSR / TSS`` around the grand mean: what the fixed effects explain counts."""
        y = self.workspace.data.y[self.workspace.data.cells]
        return float(1.0 - (self.resid**2).sum() / ((y - y.mean()) ** 2).sum())

    @property
    def rsquared_within(self) -> float:
        """``1 - SSR / TSS`` of what the fixed effects leave of the outcome."""
        return recovered.rsquared_within(self)

    @property
    def corr_squared(self) -> float:
        """Squared correlation of the outcome with its reduced form, fixed effects taken out.

        Elhorst's corr2. See :func:`spatial_agglo.models.recovered.corr_squared`.
        """
        return recovered.corr_squared(self)

    # --- cell by cell -----------------------------------------------------------------

    @property
    def resids(self) -> pd.Series:
        """Innovations e, by (entity, time)."""
        return self._series(self.resid, "resids")

    @property
    def fitted_values(self) -> pd.Series:
        """The outcome less the innovations: fixed effects and spatial lags included.

        This is structural: it uses the outcome of neighbours. ``predict()`` does not.
        """
        return self._series(self.workspace.data.y - self.resid, "fitted_values")

    @property
    def disturbances(self) -> pd.Series:
        """Disturbances u of the outcome's equation, ``u = lambda M u + e``.

        Without a spatial error process these are the innovations. Fixed effects are not in them.
        """
        return self._series(recovered.disturbances(self), "disturbances")

    @property
    def reduced_form_residuals(self) -> pd.Series:
        """The outcome less its reduced form: ``y - predict() = S^-1 u``."""
        return (self._series(self.workspace.data.y, "y") - self.predict()).rename(
            "reduced_form_residuals"
        )

    def _series(self, values: NDArray, name: str) -> pd.Series:
        data = self.workspace.data
        return data.panel.series(values, name, data.cells)

    # --- fixed effects ----------------------------------------------------------------

    @property
    def constant(self) -> float | None:
        """The intercept, or with fixed effects the level for a unit and period of mean effect.

        None in a model without effects and without an intercept.
        """
        return self.fixed_effects.constant

    @property
    def unit_effects(self) -> pd.Series | None:
        """Effects of the units, which sum to zero; None without them.

        ``.attrs["constraint"]`` says where in the model they stand. See
        :func:`spatial_agglo.models.recovered.fixed_effects`.
        """
        return recovered.labelled(self, "unit")

    @property
    def period_effects(self) -> pd.Series | None:
        """Effects of the periods, which sum to zero; None without them."""
        return recovered.labelled(self, "period")

    @cached_property
    def levels(self) -> NDArray:
        """What the fixed effects add to every cell, constant included, shape (T, N)."""
        return recovered.levels(self)

    @cached_property
    def fixed_effects(self) -> recovered.FixedEffects:
        """Constant, unit and period effects as arrays."""
        return recovered.fixed_effects(self)

    # --- what follows from it ---------------------------------------------------------

    def predict(
        self,
        panel: Panel | None = None,
        *,
        spillovers: bool = True,
        effects: bool | str = True,
        W: Any = None,
        W_error: Any = None,
        W_durbin: Any = None,
    ) -> pd.Series:
        """Predict the outcome, with or without what comes from other units.

        See :func:`spatial_agglo.models.prediction.predict`.
        """
        return prediction.predict(
            self,
            panel,
            spillovers=spillovers,
            effects=effects,
            W=W,
            W_error=W_error,
            W_durbin=W_durbin,
        )

    def profile(
        self,
        name: str = "rho",
        *,
        points: int = 101,
        level: float = 0.95,
        low: float | None = None,
        high: float | None = None,
    ) -> profile.Profile:
        """Return the likelihood of rho or lambda, with its interval and a plot.

        See :func:`spatial_agglo.models.profile.profile`.
        """
        return profile.profile(self, name, points=points, level=level, low=low, high=high)

    def replace(self, **changes: Any) -> FitResult:
        """Estimate again with something changed, and everything else as it was.

        Parameters
        ----------
        **changes
            Any option of the estimators, ``model``, or formula, panel, W, W_error, W_durbin.
            Where only options change, the data are not read again. An option that has no meaning
            in the new model is left out, with a note on the result, if this fit had it; given
            here, it is an error.

        Returns
        -------
        FitResult

        Examples
        --------
        >>> import spatial_agglo as sa
        >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
        >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
        >>> fit = sa.sdm("logc ~ logp + logy", panel, W)
        >>> fit.replace(model="sar", cov="clustered").params[["logp", "rho"]].round(3).to_dict()
        {'logp': -0.987, 'rho': 0.221}
        """
        return _refit(self, changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the estimates and what they were made of in plain Python, ready for JSON."""
        criteria = ("loglik", "aic", "bic", "hqic", "rsquared")
        return {
            "model": self.model,
            "formula": self.formula,
            "effects": self.spec.effects,
            "likelihood": self.spec.likelihood,
            "cov": self.spec.cov.name,
            "params": self.params.to_dict(),
            "std_errors": self.std_errors.to_dict(),
            "covariance": self.covariance.tolist(),
            "nobs": self.nobs,
            "n_effective": int(self.n_effective),
            "n_parameters": self.n_parameters,
            **{name: float(getattr(self, name)) for name in criteria},
            "notes": list(self.notes),
        }

    @property
    def missing(self) -> pd.MultiIndex:
        """The (entity, time) cells that were left out for lack of data."""
        data = self.workspace.data
        return data.panel.index(~data.cells)

    @property
    def regressors(self) -> tuple[str, ...]:
        """Names of the regressors, without the intercept, lags and unit means."""
        auxiliary = self.details.get("auxiliary", ())
        return tuple(name for name in self.workspace.data.regressors if name not in auxiliary)

    def position(self, name: str) -> int | None:
        """Position of a parameter, or None when the model does not have it."""
        return self.names.index(name) if name in self.names else None

    def impacts(
        self,
        *,
        method: str = "delta",
        draws: int = 1000,
        seed: int | np.random.Generator | None = 0,
        level: float = 0.95,
        horizon: str = "short",
    ) -> Impacts:
        """Return direct, indirect and total effects. See :func:`spatial_agglo.impacts.impacts`."""
        from spatial_agglo.impacts import impacts

        return impacts(self, method=method, draws=draws, seed=seed, level=level, horizon=horizon)

    @property
    def summary(self) -> str:
        """The estimates as a table of text."""
        from spatial_agglo.report.tables import summary

        return summary(self)

    def _repr_html_(self) -> str:
        from spatial_agglo.report.tables import summary_html

        return summary_html(self)

    def __repr__(self) -> str:
        spatial = "".join(
            f", {name}={self.params[name]:.4f}" for name in ("rho", "lambda") if name in self.names
        )
        return (
            f"FitResult({self.model}: {self.formula!r}, effects={self.spec.effects!r}, "
            f"likelihood={self.spec.likelihood!r}{spatial}, loglik={self.loglik:.3f}, "
            f"nobs={self.nobs})"
        )


def has_intercept(fit: FitResult) -> bool:
    """Tell whether a fit has an intercept among its parameters."""
    return bool(fit.names) and fit.names[0] == INTERCEPT


# --- estimating again ---------------------------------------------------------------------


def _refit(fit: FitResult, changes: Mapping[str, Any]) -> FitResult:
    """Estimate with the changes, everything else being inherited from a fit."""
    from spatial_agglo.models.fitting import fit as estimate

    options = [option.name for option in fields(ModelSpec)]
    unknown = [name for name in changes if name not in (*options, *DATA)]
    if unknown:
        raise OptionError(
            f"replace() does not know {listing(unknown)}. It takes: "
            f"{listing((*options, *DATA), 20)}."
        )
    space = fit.details.get("workspace", fit.workspace)
    made = fit.spec.dynamic is not None or fit.spec.correlated
    if made and space is fit.workspace:
        raise OptionError(
            "replace() is not available for this model, whose regressors are not those of its "
            "formula alone: call the estimator."
        )
    if np.isnan(fit.loglik):
        raise OptionError("replace() is for maximum likelihood: call this estimator again.")
    given = {name: value for name, value in changes.items() if name in options}
    inherited = {
        option.name: getattr(fit.spec, option.name)
        for option in fields(ModelSpec)
        if option.name not in given and getattr(fit.spec, option.name) != option.default
    }
    if "durbin" in inherited:  # all regressors, and unit means of them, are the default
        lagged = [name for name in inherited["durbin"] if name in space.data.regressors]
        inherited["durbin"] = lagged
        if len(lagged) == len(space.data.regressors):
            del inherited["durbin"]
    dropped = _meaningless(given, inherited)
    kept = {name: value for name, value in inherited.items() if name not in dropped}
    spec = ModelSpec.of(**(kept | given))
    found = estimate(spec, _space(space, spec, changes))
    if not dropped:
        return found
    left = ", ".join(f"{name}={inherited[name]!r}" for name in dropped)
    return replace(found, notes=(*found.notes, f"left out, without meaning here: {left}"))


def _meaningless(given: Mapping[str, Any], inherited: Mapping[str, Any]) -> list[str]:
    """Return the inherited options that the model asked for cannot have."""
    have = {**inherited, **given}
    model, effects = have["model"], have.get("effects", ModelSpec.effects)
    lags, lags_x, errors = MODELS.get(model, (True, True, True))
    random, fixed = effects == "random", effects in ("entity", "two-way")
    dynamic = have.get("dynamic") is not None and lags and not errors and fixed
    meaning = {
        "durbin": lags_x,
        "form": random and errors,
        "correlated": random,
        "likelihood": not random or have.get("likelihood") in ("transformed", "direct"),
        "dynamic": dynamic,
        "bias_correction": dynamic,
    }
    return [name for name in inherited if not meaning.get(name, True)]


def _space(space: Workspace, spec: ModelSpec, changes: Mapping[str, Any]) -> Workspace:
    """Return the workspace of a changed fit: the same one where the data are the same."""
    others = {}
    for name, weights, used in (
        ("W_error", space.error_weights, spec.has_error),
        ("W_durbin", space.durbin_weights, spec.has_durbin),
    ):
        if changes.get(name) is not None and not used:
            raise OptionError(f"{name}=... has no meaning for {spec.model}.")
        own = weights is not None and weights is not space.weights
        if name in changes:
            others[name] = changes[name]
        elif own and used and weights is not None:
            others[name] = weights.source
        elif own:
            others[name] = None
    if not any(name in changes for name in DATA) and None not in others.values():
        return space
    W = changes.get("W", space.weights.source if space.weights else None)
    formula, panel = changes.get("formula"), changes.get("panel")
    if formula is None and panel is None:
        return Workspace(space.data, W, **others)
    return Workspace.of(
        space.data.formula if formula is None else formula,
        space.data.panel if panel is None else panel,
        W,
        **others,
    )
