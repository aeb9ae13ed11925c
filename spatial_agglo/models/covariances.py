"""Which covariance matrix of the estimates is wanted, and with which options."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, TypeAlias

import numpy as np

from spatial_agglo.core.random import generator
from spatial_agglo.errors import OptionError, check_option, listing

KERNELS = ("bartlett", "uniform")


@dataclass(frozen=True)
class Observed:
    """Inverse of minus the Hessian of the log-likelihood at its maximum."""

    name: ClassVar[str] = "observed"


@dataclass(frozen=True)
class Expected:
    """Inverse of the expected (Fisher) information."""

    name: ClassVar[str] = "expected"


@dataclass(frozen=True)
class OuterProduct:
    """Inverse of the outer product of the scores (Berndt, Hall, Hall & Hausman 1974).

    With the covariance of the scores of rho and lambda across units, and the factor of `Robust`.
    It supposes errors of one variance: under others it is worse than "observed".
    """

    name: ClassVar[str] = "opg"


@dataclass(frozen=True)
class Robust:
    """Sandwich that is robust to heteroskedastic innovations (White 1980).

    With the covariance of the scores of rho and lambda across units (Kelejian & Prucha 2001)
    and the factor ``n / (n - m)``, n cells and m fixed effects. rho and lambda themselves are
    consistent if the variances have nothing to do with the place of a unit in W (Lin & Lee 2010).
    """

    name: ClassVar[str] = "robust"


@dataclass(frozen=True)
class Clustered:
    """Sandwich with scores summed by cluster, one or two ways.

    With G clusters the factor is the larger of ``G / (G - 1)`` and ``n / (n - m)``, n cells and m
    the fixed effects that vary within clusters; two ways are ``V1 + V2 - V12`` with the smaller G.

    Parameters
    ----------
    by : str or sequence of one or two str
        "entity", "time", or a column of the panel.

    References
    ----------
    Liang & Zeger (1986), Biometrika 73; Cameron, Gelbach & Miller (2011), Journal of Business &
    Economic Statistics 29.

    Examples
    --------
    >>> Clustered().by, Clustered(["entity", "time"]).by
    (('entity',), ('entity', 'time'))
    """

    by: Any = "entity"
    name: ClassVar[str] = "clustered"

    def __post_init__(self) -> None:
        by = (
            (self.by,) if isinstance(self.by, str) or not isinstance(self.by, Sequence) else self.by
        )
        known = all(isinstance(name, Hashable) for name in by)
        if not (known and 1 <= len(by) <= 2 and len(set(by)) == len(by)):
            raise OptionError(
                f"Clustered(by=...) takes one or two different columns, 'entity' or 'time'; "
                f"got {listing(by)}."
            )
        object.__setattr__(self, "by", tuple(by))


@dataclass(frozen=True)
class DriscollKraay:
    """Sandwich robust to common shocks and to serial correlation (Driscoll & Kraay 1998).

    The scores are summed over units in every period; their autocovariances get the weights of
    Bartlett, ``1 - l/(lags + 1)``, and their sum the factor ``T / (T - k)``, ``k`` about
    ``lags + 1``, because scores add up to zero. For many periods, and for coefficients of
    regressors. Where the errors of units are correlated, the likelihood estimate of rho has a
    bias that more periods do not remove; if units respond to the shocks in different ways and
    period effects are in the model, ``Clustered(["entity", "time"])`` covers it.

    Parameters
    ----------
    lags : int, optional
        ``floor(4 (T/100)^(2/9))`` by default (Hoechle 2007).

    References
    ----------
    Driscoll & Kraay (1998), Review of Economics and Statistics 80; Vogelsang (2012), Journal of
    Econometrics 166, for fixed effects.
    """

    lags: int | None = None
    name: ClassVar[str] = "driscoll-kraay"

    def __post_init__(self) -> None:
        _check_lags(self.lags, optional=True)


@dataclass(frozen=True, eq=False)
class Conley:
    """Sandwich robust to correlation between units that are close (Conley 1999).

    The factor is that of `Robust`. Errors that are correlated between units bias rho and lambda:
    this is for models without them, or where strong regressors tell rho.

    Parameters
    ----------
    cutoff : float
        Distance at which the kernel reaches zero, in the unit of the distances: km for
        longitude and latitude. The kernel "uniform" includes it.
    coordinates : pair of column names, optional
        Of the panel: longitude and latitude in degrees, constant over time for every unit.
    distances : square labelled DataFrame, or Distances of ``spatial_agglo.weights``, optional
        Instead of coordinates: the distance between every two units, matched by label; the
        same in both directions.
    kernel : {"bartlett", "uniform"}
    lags : int
        Serial correlation up to this many periods (Bartlett weights) within a unit.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> km = sa.weights.distances(sa.datasets.us_states(), ids="state")
    >>> fit = sa.slx("logc ~ logp + logy", panel, W, cov=sa.Conley(500.0, distances=km, lags=2))
    >>> fit.std_errors.round(3).to_dict()
    {'logp': 0.093, 'logy': 0.104, 'W*logp': 0.137, 'W*logy': 0.146, 'sigma2': 0.001}
    """

    cutoff: float
    coordinates: tuple[Hashable, Hashable] | None = None
    distances: Any = None
    kernel: str = "bartlett"
    lags: int = 0
    name: ClassVar[str] = "conley"

    def __post_init__(self) -> None:
        check_option("kernel", self.kernel, KERNELS)
        _check_lags(self.lags, optional=False)
        number = isinstance(self.cutoff, Real) and not isinstance(self.cutoff, bool)
        if not (number and 0 < self.cutoff < np.inf):
            raise OptionError(f"cutoff={self.cutoff!r} must be a distance above 0.")
        if (self.coordinates is None) == (self.distances is None):
            raise OptionError(
                "Conley needs coordinates=(longitude, latitude), the names of two columns, or "
                "distances=..., a square labelled DataFrame; one of the two."
            )
        names = self.coordinates
        if names is not None and not (isinstance(names, (tuple, list)) and len(names) == 2):
            raise OptionError(
                f"coordinates={names!r} must be the names of two columns: (longitude, latitude)."
            )


@dataclass(frozen=True)
class Bootstrap:
    """Covariance of estimates on resampled residuals: wild, by entity.

    The innovations of an entity keep or change their sign together (Rademacher), so that
    heteroskedasticity and serial correlation are kept; the outcome is rebuilt through the
    spatial multiplier and the model estimated again.

    Parameters
    ----------
    draws : int
    seed : int
        The same seed gives the same numbers, whatever ``n_jobs`` is.
    n_jobs : int
        Processes to run in parallel (joblib); -1 for all cores.

    Notes
    -----
    The draws are in ``fit.details["draws"]``, one row each. sigma2 has no standard error: the
    squares of the innovations do not change with their signs.

    References
    ----------
    Cameron, Gelbach & Miller (2008), Review of Economics and Statistics 90; Davidson & Flachaire
    (2008), Journal of Econometrics 146.
    """

    draws: int = 999
    seed: int = 0
    n_jobs: int = 1
    name: ClassVar[str] = "bootstrap"

    def __post_init__(self) -> None:
        if not (_whole(self.draws) and self.draws >= 2):
            raise OptionError(f"draws={self.draws!r} must be a whole number of at least 2.")
        if not (_whole(self.n_jobs) and self.n_jobs != 0):
            raise OptionError(
                f"n_jobs={self.n_jobs!r} must be 1 or more, or negative to count from the "
                "processors."
            )
        generator(self.seed)


Covariance: TypeAlias = (
    Observed | Expected | OuterProduct | Robust | Clustered | DriscollKraay | Conley | Bootstrap
)
#: What can be asked for by name, with the default options.
BY_NAME: dict[str, Any] = {
    kind.name: kind
    for kind in (Observed, Expected, OuterProduct, Robust, Clustered, DriscollKraay, Bootstrap)
}


def as_covariance(cov: Any) -> Covariance:
    """Return the record that a name stands for; records are returned as they are."""
    if isinstance(cov, (*BY_NAME.values(), Conley)):
        return cov  # type: ignore[return-value]
    if cov == "conley":
        raise OptionError(
            "cov='conley' needs distances: cov=Conley(cutoff=..., coordinates=(longitude, "
            "latitude)) with the names of two columns."
        )
    found: Covariance = BY_NAME[check_option("cov", cov, (*BY_NAME, "conley"))]()
    return found


def _check_lags(lags: int | None, *, optional: bool) -> None:
    if lags is None and optional:
        return
    if not (_whole(lags) and lags >= 0):  # type: ignore[operator]
        raise OptionError(f"lags={lags!r} must be a whole number of periods, zero or more.")


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
