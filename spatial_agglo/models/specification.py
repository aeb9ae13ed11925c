"""ModelSpec: which of rho, theta and lambda, which effects, which likelihood.

The single gate of validation: nobody behind it checks an option again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from spatial_agglo.core.jacobian import Counts, counts
from spatial_agglo.core.within import EFFECTS as FIXED
from spatial_agglo.core.within import removes_entity, removes_time
from spatial_agglo.errors import IdentificationError, OptionError, check_option, listing
from spatial_agglo.formula import Variables
from spatial_agglo.models.covariances import Covariance, Observed, as_covariance

#: name: (Wy, WX, Mu).
MODELS: dict[str, tuple[bool, bool, bool]] = {
    "ols": (False, False, False),
    "slx": (False, True, False),
    "sar": (True, False, False),
    "sem": (False, False, True),
    "sdm": (True, True, False),
    "sdem": (False, True, True),
    "sac": (True, False, True),
    "gns": (True, True, True),
}
EFFECTS = (*FIXED, "random")
LIKELIHOODS = ("transformed", "direct", "direct-demeaned", "corrected")
FORMS = ("kkp", "baltagi")
LAGS = ("own", "spatial", "both")


@dataclass(frozen=True)
class ModelSpec:
    """A model of the family, validated.

    Attributes
    ----------
    model : str
        A key of ``MODELS``.
    effects, likelihood : str
    cov : Covariance
    durbin : tuple of str or None
        The regressors that are lagged; None means all of them (where the model lags any).
    form : {"kkp", "baltagi"}
        Random effects: the unit effect inside or outside the spatial error process.
    correlated : bool
        Random effects: whether unit means of the regressors are added (Mundlak).
    dynamic : {"own", "spatial", "both"} or None
        Which lags of the outcome in time are regressors.
    bias_correction : bool
        Whether a dynamic model is corrected for its incidental effects.
    """

    model: str
    effects: str = "two-way"
    likelihood: str = "transformed"
    cov: Covariance = Observed()  # noqa: RUF009
    durbin: tuple[str, ...] | None = None
    form: str = "kkp"
    correlated: bool = False
    dynamic: str | None = None
    bias_correction: bool = True

    @classmethod
    def of(cls, model: str, **options: Any) -> ModelSpec:
        """Validate the options; an unknown name or value is an error that names the known ones."""
        check_option("model", model, MODELS)
        known = [field.name for field in fields(cls)][1:]
        for name in options:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise OptionError(
                    f"Unknown option {name!r}.{hint} The options are: {listing(known, 20)}."
                )
        spec = cls(model, **options)
        check_option("effects", spec.effects, EFFECTS)
        check_option("likelihood", spec.likelihood, LIKELIHOODS)
        spec = replace(spec, cov=as_covariance(spec.cov), durbin=spec._checked_durbin())
        spec._check_random(options)
        spec._check_dynamic(options)
        return spec

    def _checked_durbin(self) -> tuple[str, ...] | None:
        durbin = self.durbin
        if durbin is None:
            return None
        if isinstance(durbin, str) or not isinstance(durbin, Iterable):
            raise OptionError(f"durbin must be a list of names; got {durbin!r}.")
        if not self.has_durbin:
            raise OptionError(f"durbin=... has no meaning for {self.model}: it lags no regressor.")
        if not all(isinstance(name, str) for name in durbin):
            raise OptionError(f"durbin must be a list of names; got {durbin!r}.")
        return tuple(durbin)

    def _check_random(self, options: Mapping[str, Any]) -> None:
        check_option("form", self.form, FORMS)
        for name in ("form", "correlated"):
            if name in options and self.effects != "random":
                raise OptionError(
                    f"{name}=... belongs to effects='random'; the effects are {self.effects!r}."
                )
        if self.effects != "random":
            return
        if self.likelihood not in ("transformed", "direct"):
            raise OptionError(
                f"likelihood={self.likelihood!r} is for fixed effects; random effects have one "
                "likelihood, which needs no transformation: leave the option out."
            )
        if "form" in options and not self.has_error:
            raise OptionError(f"form=... has no meaning for {self.model}: it has no error process.")

    def _check_dynamic(self, options: Mapping[str, Any]) -> None:
        if self.dynamic is None:
            if "bias_correction" in options:
                raise OptionError(
                    "bias_correction=... belongs to dynamic models: give dynamic='both', 'own' or "
                    "'spatial' as well."
                )
            return
        check_option("dynamic", self.dynamic, LAGS)
        if self.model not in ("sar", "sdm"):
            raise OptionError(f"dynamic=... is available for sar and sdm; got {self.model}.")
        if self.effects not in ("entity", "two-way"):
            raise OptionError(
                "dynamic models need effects='entity' or 'two-way': without unit effects, lags of "
                f"the outcome stand for them; got {self.effects!r}."
            )

    @property
    def fixed(self) -> str:
        """The fixed effects that are projected out: none under random effects."""
        return "none" if self.effects == "random" else self.effects

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
    def spatial(self) -> tuple[str, ...]:
        """Names of the spatial parameters."""
        return ("rho",) * self.has_lag + ("lambda",) * self.has_error

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
        """Return what effects and likelihood change in the likelihood (balanced panels)."""
        return counts(N, T, self.fixed, self.likelihood, row_standardized)

    def check_size(self, N: int, T: int, cells: int, free: int, k: int) -> None:
        """Raise when the effects cannot be removed, or leave too few observations.

        ``free`` is the number of cells less that of independent dummies.
        """
        if (removes_entity(self.fixed) or self.effects == "random") and T < 2:
            raise IdentificationError(
                f"effects={self.effects!r} needs at least two periods; the panel has {T}. With one "
                "period an entity effect absorbs every observation: use effects='none' (or "
                "'time')."
            )
        if free <= k + 1:
            raise IdentificationError(
                f"Too few observations: {N} units x {T} periods ({cells} observed cells) under "
                f"effects={self.effects!r} leave {free} for {k} coefficients."
            )


def free_cells(N: int, T: int, effects: str) -> int:
    """Return N T less the number of independent dummies of a balanced panel."""
    free = N * T - (N if removes_entity(effects) else 0)
    return free - (T if not removes_entity(effects) else T - 1) * removes_time(effects)
