"""Which models are nested in which, by what restrictions, and what two fits must share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spatial_agglo.errors import IdentificationError, OptionError, listing
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import MODELS, ModelSpec
from spatial_agglo.models.weighting import Weighting
from spatial_agglo.models.workspace import Workspace


@dataclass(frozen=True)
class Step:
    """From a model to one that it nests.

    Attributes
    ----------
    large, small : str
    zero : tuple of str
        Names of the parameters that are zero in the smaller model.
    factor : tuple of str
        Regressors whose ``theta + rho beta`` is zero; empty but for sdm against sem.
    durbin : tuple of str or None
        Lagged regressors of the larger model, as its specification has them.
    """

    large: str
    small: str
    zero: tuple[str, ...]
    factor: tuple[str, ...]
    durbin: tuple[str, ...] | None

    @classmethod
    def of(
        cls, large: ModelSpec, space: Workspace, small: str, fitted: FitResult | None = None
    ) -> Step:
        """Find the restrictions; raise when there are none that make one of the other."""
        more, less = MODELS[large.model], MODELS[small]
        lagged = large.lagged(space.data)
        if large.model == "sdm" and small == "sem":
            _check_common_factor(large, space)
            return cls("sdm", "sem", (), lagged, large.durbin)
        if any(b and not a for a, b in zip(more, less, strict=True)):
            raise _not_nested(large.model, small)
        kept: tuple[str, ...] = ()
        if less[1]:
            kept = lagged if fitted is None else fitted.spec.lagged(space.data)
        alien = [name for name in kept if name not in lagged]
        if alien:
            raise OptionError(
                f"The {small} lags {listing(alien)} and the {large.model} does not, so it is not "
                "nested. Give both the same durbin=[...]."
            )
        zero = [f"W*{name}" for name in lagged if name not in kept]
        zero += ["rho"] * (more[0] and not less[0]) + ["lambda"] * (more[2] and not less[2])
        if not zero:
            raise OptionError(
                f"There is nothing to test: both models are {small} with the same regressors."
            )
        if (large.model, small) == ("gns", "ols") and len(lagged) == len(space.data.regressors):
            raise IdentificationError(
                "gns against ols has no chi-squared distribution: where ols is true, rho and "
                "lambda of the gns are not identified apart (its information matrix is "
                "singular). Go down in steps: gns to sdm, sdem or sac, and on from there."
            )
        return cls(large.model, small, tuple(zero), (), large.durbin)

    @property
    def df(self) -> int:
        """Number of restrictions."""
        return len(self.zero) + len(self.factor)

    @property
    def null(self) -> str:
        """The restrictions in words."""
        if self.factor:
            return "theta + rho beta = 0 (common factor)"
        spatial = [name for name in self.zero if not name.startswith("W*")]
        theta = ["theta"] * (len(spatial) < len(self.zero))
        return ", ".join(f"{name} = 0" for name in [*theta, *spatial])


def _not_nested(large: str, small: str) -> OptionError:
    more, less = MODELS[large], MODELS[small]
    if all(b or not a for a, b in zip(more, less, strict=True)) or (large, small) == ("sem", "sdm"):
        return OptionError(
            f"The {large} is nested in the {small}, not the other way round: give the larger "
            "model first."
        )
    return OptionError(
        f"{large} and {small} are not nested: neither is the other with parameters set to zero, "
        "so a likelihood ratio or a Wald statistic has no chi-squared distribution. Compare "
        "their information criteria (fit.aic, fit.bic), or test each against a model that nests "
        "both (gns)."
    )


def _check_common_factor(large: ModelSpec, space: Workspace) -> None:
    """Raise unless ``theta = -rho beta`` makes the sdm a spatial error model."""
    missing = [name for name in space.data.regressors if name not in large.lagged(space.data)]
    if missing:
        raise OptionError(
            f"The sem is nested in the sdm only where all regressors are lagged; {listing(missing)}"
            " are not. Leave durbin out, or compare information criteria."
        )
    if not _same_weights(space.weights, space.durbin_weights):
        raise OptionError(
            "The sem is nested in the sdm only where y and X are lagged by the same weights; "
            "W_durbin differs from W. Compare information criteria."
        )
    if space.has_intercept(large.effects) and not space.row_standardized:
        raise OptionError(
            "With an intercept the sem is nested in the sdm only where W is row-standardised: "
            "otherwise the lag of the intercept is a regressor that the sdm lacks. Use "
            "W.standardize('row'), or compare information criteria."
        )


def check_alike(large: FitResult, small: FitResult) -> None:
    """Raise where two fits differ in what a likelihood ratio needs them to share."""
    for found in (large, small):
        if not isinstance(found, FitResult):
            raise OptionError(f"Two fitted models are needed; got {type(found).__name__}.")
        if np.isnan(found.loglik):
            raise OptionError(f"A {found.model} without a likelihood has no likelihood ratio.")
    a, b = large.spec, small.spec
    for what in ("effects", "likelihood", "correlated", "dynamic"):
        one, other = getattr(a, what), getattr(b, what)
        if one != other:
            raise OptionError(
                f"The two fits must have the same {what}; they have {one!r} and {other!r}."
            )
    if a.effects == "random" and a.has_error and b.has_error and a.form != b.form:
        raise OptionError(f"The two fits must have the same form; got {a.form!r}, {b.form!r}.")
    if a.dynamic is not None and (a.bias_correction or b.bias_correction):
        raise OptionError(
            "Estimates with a bias correction do not maximise their likelihood, so there is no "
            "likelihood ratio: use wald_test, or bias_correction=False."
        )
    if a.effects == "random" and (a.model, b.model) == ("sdm", "sem") and b.form == "baltagi":
        raise OptionError(
            "The sem with form='baltagi' is not nested in the sdm: its unit effects do not spill "
            "over, those of the sdm do. Use form='kkp', or compare information criteria."
        )
    x, y = large.workspace, small.workspace
    if x is not y:
        _check_data(large, small)
    roles = [
        ("W", x.weights, y.weights, a.has_lag and b.has_lag),
        ("W_error", x.error_weights, y.error_weights, a.has_error and b.has_error),
        ("W_durbin", x.durbin_weights, y.durbin_weights, a.has_durbin and b.has_durbin),
        ("W", x.weights, y.error_weights, (large.model, small.model) == ("sdm", "sem")),
    ]
    for name, one, other, both in roles:
        if both and not _same_weights(one, other):
            raise OptionError(f"The two fits must have the same {name}: these weights differ.")
    if large.n_effective != small.n_effective:
        raise OptionError(
            f"The likelihoods are of different samples, of {large.n_effective} and "
            f"{small.n_effective} effective observations. Give both fits the same W."
        )


def _check_data(large: FitResult, small: FitResult) -> None:
    a, b = large.workspace.data, small.workspace.data
    same = (
        a.regressors == b.regressors
        and a.outcome == b.outcome
        and a.intercept == b.intercept
        and a.panel.entities.equals(b.panel.entities)
        and a.panel.times.equals(b.panel.times)
        and np.array_equal(a.cells, b.cells)
        and np.array_equal(a.y, b.y)
        and np.array_equal(a.X, b.X)
    )
    if not same:
        raise OptionError(
            f"The two fits must be of the same data; they are of {a.formula!r} on {a.nobs} and of "
            f"{b.formula!r} on {b.nobs} observations. Estimate the smaller model with "
            "large.replace(model=...)."
        )


def _same_weights(one: Weighting | None, other: Weighting | None) -> bool:
    if one is other:
        return True
    if one is None or other is None or one.which != other.which:
        return False
    return all(
        abs(A.matrix - B.matrix).max() == 0.0
        for A, B in zip(one.matrices, other.matrices, strict=True)
    )
