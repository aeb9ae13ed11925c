"""What Hausman's test compares: the two models of a case, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.within import removes_time
from spatial_agglo.diagnostics.scores import picked
from spatial_agglo.errors import OptionError, listing
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace


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
        means = picked(self.space, spec, columns).mean(axis=0)
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
    """A statistic, what it compares, and why there is no p value.

    ``scale`` times the statistic over its df is F with ``left`` df in the denominator; None:
    chi-squared.
    """

    statistic: float
    compared: Sequence[str]
    left: int | None = None
    remark: str = ""
    scale: float = 1.0


def smallest(A: NDArray) -> float:
    """Return the smallest eigenvalue of the correlation form of a symmetric matrix."""
    scale = np.sqrt(np.abs(np.diag(A)))
    return float(np.linalg.eigvalsh(A / np.outer(scale, scale))[0])
