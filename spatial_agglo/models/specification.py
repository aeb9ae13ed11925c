"""ModelSpec: which of rho, theta and lambda, which effects, which likelihood.

The single gate of validation: nobody behind it checks an option again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spatial_agglo.core.likelihood import Counts, counts
from spatial_agglo.core.within import EFFECTS, removes_entity, removes_time
from spatial_agglo.errors import IdentificationError, OptionError, check_option, listing
from spatial_agglo.formula import Variables

#: name: (Wy, WX, Wu).
MODELS: dict[str, tuple[bool, bool, bool]] = {
    "ols": (False, False, False),
    "slx": (False, True, False),
    "sar": (True, False, False),
    "sem": (False, False, True),
    "sdm": (True, True, False),
    "sdem": (False, True, True),
}
LIKELIHOODS = ("transformed", "direct", "direct-demeaned", "corrected")
COVARIANCES = ("observed", "expected", "robust", "clustered")


@dataclass(frozen=True)
class ModelSpec:
    """A model of the family, validated.

    Attributes
    ----------
    model : str
        A key of ``MODELS``.
    effects, likelihood, cov : str
    durbin : tuple of str or None
        The regressors that are lagged; None means all of them (where the model lags any).
    """

    model: str
    effects: str = "two-way"
    likelihood: str = "transformed"
    cov: str = "observed"
    durbin: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        model: str,
        *,
        effects: str = "two-way",
        likelihood: str = "transformed",
        cov: str = "observed",
        durbin: Sequence[str] | None = None,
    ) -> ModelSpec:
        """Validate the options; an unknown value is an error that names the known ones."""
        check_option("model", model, MODELS)
        check_option("effects", effects, EFFECTS)
        check_option("likelihood", likelihood, LIKELIHOODS)
        check_option("cov", cov, COVARIANCES)
        if durbin is not None:
            if isinstance(durbin, str) or not isinstance(durbin, Iterable):
                raise OptionError(f"durbin must be a list of names; got {durbin!r}.")
            if not MODELS[model][1]:
                raise OptionError(f"durbin=... has no meaning for {model}: it lags no regressor.")
            if not all(isinstance(name, str) for name in durbin):
                raise OptionError(f"durbin must be a list of names; got {durbin!r}.")
            durbin = tuple(durbin)
        return cls(model, effects, likelihood, cov, durbin)

    @property
    def has_lag(self) -> bool:
        """Whether the model has rho."""
        return MODELS[self.model][0]

    @property
    def has_durbin(self) -> bool:
        """Whether the model has theta."""
        return MODELS[self.model][1]

    @property
    def has_error(self) -> bool:
        """Whether the model has lambda."""
        return MODELS[self.model][2]

    @property
    def spatial(self) -> str | None:
        """Name of the spatial parameter, if there is one."""
        return "rho" if self.has_lag else "lambda" if self.has_error else None

    @property
    def lags_last(self) -> bool:
        """Whether the data are demeaned before they are lagged, W(Qy)."""
        return self.likelihood in ("direct-demeaned", "corrected")

    def lagged(self, data: Variables) -> tuple[str, ...]:
        """Names of the regressors whose spatial lag enters."""
        if not self.has_durbin:
            return ()
        if self.durbin is None:
            return data.regressors
        known = {name.replace(" ", ""): name for name in data.regressors}
        wanted = [known.get(name.replace(" ", ""), name) for name in self.durbin]
        unknown = [name for name in wanted if name not in data.regressors]
        if unknown:
            raise OptionError(
                f"durbin names {listing(unknown)}, not among the regressors "
                f"{listing(data.regressors, 20)}."
            )
        return tuple(name for name in data.regressors if name in wanted)

    def counts(self, N: int, T: int, row_standardized: bool) -> Counts:
        """Return what effects and likelihood change in the likelihood."""
        return counts(N, T, self.effects, self.likelihood, row_standardized)

    def check_size(self, N: int, T: int, k: int) -> None:
        """Raise when the effects cannot be removed, or leave too few observations."""
        if removes_entity(self.effects) and T < 2:
            raise IdentificationError(
                f"effects={self.effects!r} needs at least two periods; the panel has {T}. With one "
                "period an entity effect absorbs every observation: use effects='none' (or "
                "'time')."
            )
        free = N * T - (N if removes_entity(self.effects) else 0)
        free -= (T if not removes_entity(self.effects) else T - 1) * removes_time(self.effects)
        if free <= k + 1:
            raise IdentificationError(
                f"Too few observations: {N} units x {T} periods under effects={self.effects!r} "
                f"leave {free} for {k} coefficients."
            )
