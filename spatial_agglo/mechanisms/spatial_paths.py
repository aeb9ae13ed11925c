"""Which regressors stand in which spatial equation, and the effects that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.spectrum import Spectrum
from spatial_agglo.errors import OptionError, WeightsError, check_list, check_option, listing
from spatial_agglo.mechanisms.lag_functions import LagFunctions, one_multiplier, two_multipliers
from spatial_agglo.mechanisms.paths import Sample, products
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace
from spatial_agglo.weights.matrix import as_weights
from spatial_agglo.weights.panel_weights import PanelWeights

#: Up to this many units all eigenvalues of W are the cheapest for thousands of draws.
SPECTRUM_UNITS = 1_000
#: The paths that may be moderated, and the keys of the equations.
PATHS = ("direct", "first", "second")
OUTCOME, REDUCED, MEDIATOR = "outcome", "reduced form", "mediator: "
#: Names of effects.
DIRECT, MEDIATED, TOTAL = "direct", "mediated", "total"
DIFFERENCE = "reduced form - total"


@dataclass(frozen=True, eq=False)
class Plan:
    """The equations of a spatial mechanism.

    Attributes
    ----------
    sample : Sample
        With the products.
    mediators : tuple of str
    moderator : str or None
    paths : tuple of str
        Those that are moderated.
    alone : tuple of str
        The moderator as a regressor of its own; empty when there is none, or when the effects
        absorb it.
    zero : float
        Value of the moderator at which products do not change a slope.
    said : tuple of str
        Notes.
    """

    sample: Sample
    mediators: tuple[str, ...]
    moderator: str | None
    paths: tuple[str, ...]
    alone: tuple[str, ...]
    zero: float
    said: tuple[str, ...]

    @classmethod
    def of(
        cls,
        sample: Sample,
        mediators: tuple[str, ...],
        moderator: str | None,
        paths: Sequence[str],
        centre: bool,
        effects: str,
    ) -> Plan:
        """Make the products that a moderator asks for."""
        for path in paths:
            check_option("paths", path, PATHS)
        if moderator is None:
            return cls(sample, mediators, None, (), (), 0.0, ())
        made = products(
            sample, [sample.treatment, *mediators], moderator, centre=centre, effects=effects
        )
        kept = tuple(path for path in PATHS if path in paths)
        zero = made.centres[moderator]
        return cls(made.sample, mediators, moderator, kept, made.alone, zero, made.said)

    @property
    def equations(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Outcome and regressors of every equation."""
        x, m, z, rest = self.sample.treatment, self.mediators, self.alone, self.sample.controls
        xz = [self.product(x)]
        mz = [self.product(name) for name in m]
        y = self.sample.outcome
        direct = xz if "direct" in self.paths else []
        second = mz if "second" in self.paths else []
        first = xz if "first" in self.paths else []
        out = {OUTCOME: (y, (x, *m, *z, *direct, *second, *rest))}
        out |= {f"{MEDIATOR}{name}": (name, (x, *z, *first, *rest)) for name in m}
        if self.moderator is None:
            out[REDUCED] = (y, (x, *rest))
        return out

    def product(self, name: str) -> str:
        """Return the name of the product of a variable with the moderator."""
        return f"{name}:{self.moderator}"

    def fitted(
        self,
        W: Any,
        *,
        model: str,
        effects: str,
        likelihood: str,
        durbin: Sequence[str] | None,
    ) -> dict[str, FitResult]:
        """Estimate every equation with the same weights, clustered by entity."""
        if W is None:
            raise WeightsError("Spatial mediation needs W; without one there is mediation().")
        if self.sample.data.observed is not None:
            raise WeightsError(
                "spatial_mediation needs every variable of every unit in every period; at (entity, "
                f"time) = {self.sample.lacking} they are missing. Fill them in a stated way, for "
                "example with agglomeration.interpolate(...), or leave those units or periods out "
                "of the panel (units out of W as well)."
            )
        known = {name for _, right in self.equations.values() for name in right}
        if durbin is not None:
            chosen = (durbin,) if isinstance(durbin, str) else tuple(check_list("durbin", durbin))
            unknown = [name for name in chosen if name not in known]
            if unknown:
                raise OptionError(
                    f"durbin names {listing(unknown)}, which no equation has. Their regressors "
                    f"are {listing(sorted(known), 20)}."
                )
        weights = _with_spectrum(W)
        space: Workspace | None = None
        fits = {}
        for key, (left, right) in self.equations.items():
            data = self.sample.equation(left, right)
            space = Workspace(data, weights) if space is None else space.with_data(data)
            if space.irregular:
                raise WeightsError(
                    "spatial_mediation needs one W for all periods, and these weights change. Use "
                    "those of one period, or their mean."
                )
            lagged = {} if durbin is None else {"durbin": [n for n in chosen if n in right]}
            spec = ModelSpec.of(
                model, effects=effects, likelihood=likelihood, cov="clustered", **lagged
            )
            fits[key] = fit(spec, space)
        return fits


def _with_spectrum(W: Any) -> Any:
    """Return weights whose log-determinant is cheap for as many values of rho as draws ask for."""
    if isinstance(W, PanelWeights):
        return W
    single = as_weights(W)
    if single.n > SPECTRUM_UNITS or isinstance(single.logdet, Spectrum):
        return single
    return single.with_logdet("spectrum")


@dataclass(frozen=True, eq=False)
class Parameters:
    """Estimates or draws of the parameters of all equations, by name."""

    fits: Mapping[str, FitResult]
    values: Mapping[str, NDArray]

    def __call__(self, equation: str, name: str) -> NDArray:
        """Return a parameter, shape (R,); zeros where the equation does not have it."""
        at = self.fits[equation].position(name)
        values = self.values[equation]
        return np.zeros(len(values)) if at is None else values[:, at]

    def slope(self, equation: str, name: str, product: str, v: float) -> tuple[NDArray, NDArray]:
        """Return the coefficients of a regressor and of its lag at a value of the moderator."""
        own, lagged = (
            self(equation, f"{mark}{name}") + v * self(equation, f"{mark}{product}")
            for mark in ("", "W*")
        )
        return own, lagged


def parts(
    plan: Plan, functions: LagFunctions, parameters: Parameters, v: float
) -> dict[str, NDArray]:
    """Return own, neighbours' and total part, shape (R, 3), of every effect.

    ``v`` is the moderator less the value at which products do not count.
    """
    x = plan.sample.treatment
    xz = plan.product(x)
    rho = parameters(OUTCOME, "rho")
    out = {DIRECT: one_multiplier(functions, *parameters.slope(OUTCOME, x, xz, v), rho)}
    for name in plan.mediators:
        key = f"{MEDIATOR}{name}"
        second = parameters.slope(OUTCOME, name, plan.product(name), v)
        first = parameters.slope(key, x, xz, v)
        out[f"{MEDIATED} via {name}"] = two_multipliers(
            functions, (*second, rho), (*first, parameters(key, "rho"))
        )
    out[MEDIATED] = np.sum(list(out.values())[1:], axis=0)
    out[TOTAL] = out[DIRECT] + out[MEDIATED]
    if plan.moderator is None:
        slope = parameters.slope(REDUCED, x, xz, 0.0)
        out[REDUCED] = one_multiplier(functions, *slope, parameters(REDUCED, "rho"))
        out[DIFFERENCE] = out[REDUCED] - out[TOTAL]
    return out
