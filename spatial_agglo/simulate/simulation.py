"""Seeded panels from every model of the family, with what they were made of."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from spatial_agglo.core.within import EFFECTS, removes_entity, removes_time
from spatial_agglo.errors import (
    OptionError,
    check_option,
)
from spatial_agglo.formula import INTERCEPT
from spatial_agglo.panel import Panel
from spatial_agglo.simulate.cells import as_given, lay_out
from spatial_agglo.simulate.draws import persistent, relative_spread, streams_of, supplied, tied
from spatial_agglo.simulate.options import (
    OUTCOME,
    TIME,
    UNIT,
    check_meaning,
    check_numbers,
    check_whole,
    coefficients,
    log_spreads,
)
from spatial_agglo.simulate.process import (
    alike,
    check_space,
    check_stable,
    outcome_of,
    recursion,
    solve_rows,
)
from spatial_agglo.weights.matrix import SpatialWeights
from spatial_agglo.weights.panel_weights import PanelWeights

#: name: (rho, theta, lambda).
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

Coefficients: TypeAlias = float | Sequence[float] | NDArray | Mapping[str, float] | pd.Series


def simulate(
    model: str,
    W: Any,
    T: int,
    *,
    beta: Coefficients,
    theta: Coefficients | None = None,
    rho: float = 0.0,
    lam: float = 0.0,
    tau: float = 0.0,
    eta: float = 0.0,
    intercept: float = 0.0,
    W_durbin: Any = None,
    W_error: Any = None,
    effects: str = "two-way",
    effects_scale: float = 1.0,
    correlated: float = 0.0,
    form: str = "kkp",
    sigma: float = 1.0,
    errors: str = "normal",
    df: float | None = None,
    heteroskedasticity: float | Mapping[str, float] = 0.0,
    serial: float = 0.0,
    common: float = 0.0,
    X: ArrayLike | pd.DataFrame | None = None,
    x_serial: float = 0.0,
    x_spatial: float = 0.0,
    x_common: float = 0.0,
    missing: float | Iterable[tuple[Hashable, Hashable]] = 0.0,
    missing_values: bool = False,
    times: Sequence[Hashable] | pd.Index | None = None,
    burn_in: int = 100,
    seed: int | np.random.Generator | None = None,
) -> Simulation:
    """Draw a panel from a spatial model whose parameters are known.

    ::

        y_t = rho W y_t + tau y_t-1 + eta W y_t-1 + intercept + X_t beta + W X_t theta + u_t
        u_t = lam M u_t + c + alpha_t + e_t,     e_it of mean 0 and variance sigma^2

    Parameters
    ----------
    model : {"ols", "slx", "sar", "sem", "sdm", "sdem", "sac", "gns"}
        Which of rho, theta and lam there are. One that the model has may be zero.
    W : SpatialWeights, libpysal Graph or W, square labelled DataFrame, or PanelWeights
        Its labels name the units. With `PanelWeights` period t uses its own W_t.
    T : int
        Number of periods.
    beta, theta : float, sequence, or mapping of name to value
        A mapping names the regressors; otherwise they are x1, x2, ... A mapping `theta` may
        leave regressors out: they have no spatial lag.
    rho, lam : float
        Inside the parameter space of the weights.
    tau, eta : float
        Coefficients of y_t-1 and of (W y)_t-1, the lag of the spatial lag (with weights that
        change, W_t-1 y_t-1). The process starts at zero, `burn_in` periods before the first.
    intercept : float
        With effects "none" and "random".
    W_durbin, W_error : weights, optional
        Of the regressors and of the error process (M); W by default.
    effects : {"two-way", "entity", "time", "none", "random"}
        "random": effects of the units, independent of X.
    effects_scale : float
        Standard deviation of the effects, which are normal.
    correlated : float
        Correlation, between -1 and 1, of the fixed effects of the units with the units' means
        of x1 + x2 + ...
    form : {"kkp", "baltagi"}
        Where the effects stand in a model with lam: inside the error filter, as above, or
        outside, u_t = c + alpha_t + (I - lam M)^-1 e_t. The estimators of fixed effects take
        them inside. With one row-standardised M for all periods and no missing cells that
        is the same model with other effects, otherwise not.
    sigma : float
        Standard deviation of the innovations; sigma^2 is their average variance when they are
        heteroskedastic.
    errors : {"normal", "t"}
        Law of the shocks that innovations are made of, always of unit variance.
    df : float, optional
        Degrees of freedom of "t", above 2; 5 by default.
    heteroskedasticity : float, or mapping of "unit" or a regressor to float
        Standard deviation of the logarithm of the spread of the innovations: over units
        (a number, or "unit"), or as a multiple of a standardised regressor. Only the second
        makes the usual standard errors of beta wrong on average.
    serial : float
        AR(1) coefficient of the innovations of every unit, stationary, between -1 and 1. It
        runs on through missing periods.
    common : float
        Share of the variance of the innovations, 0 to 1, that is due to a shock that all units
        share in a period. How a unit responds is normal with mean and variance 1, and the same
        in errors and regressors, so that no effects absorb it. Likelihoods of rho and lam take
        innovations uncorrelated between units: without period effects common shocks bias the
        estimates; with them, the error falls with N but not with T.
    X : array of shape (T, N, k) or DataFrame, optional
        Drawn standard normal by default. An array is in the order of `times` and of the ids of
        W; a DataFrame is matched by its columns (or index levels) "unit" and "time", and then
        beta must name its columns. Before the first period every unit has the mean of its X.
    x_serial, x_spatial, x_common : float
        Dependence of drawn regressors: AR(1) coefficient, rho of a spatial lag of the
        complete W_t (not rescaled), and share of variance due to a common shock.
    missing : float or collection of (unit, time)
        Share of the rows to leave out at random, or which. Period t then uses the part of W_t
        among its units, standardised again where W_t is row-standardised, to generate y: that
        is the model of an unbalanced panel. Every unit keeps a neighbour (unless the weights
        allow isolates) and a row, two if it has an effect.
    missing_values : bool
        True: missing cells keep their row, with NaN as the outcome.
    times : sequence, optional
        Increasing labels of the periods; 1, ..., T by default, or the periods of PanelWeights.
    burn_in : int
        Periods of a dynamic model before the first, with the weights of the first. Whether it
        explodes is asked of every W_t by itself.
    seed : int or Generator, optional
        A generator is not advanced. The same seed gives the same data whatever the order of
        the units in W; options of one kind (errors, say) leave the draws of the others as
        they are.

    Returns
    -------
    Simulation

    Raises
    ------
    OptionError
        Unknown or contradictory options, parameters outside their space, explosive dynamics.
    WeightsError, AlignmentError
        Malformed weights, or weights and X of different units.
    DataError
        Unusable X, or missing cells that leave a unit without rows or neighbours.

    References
    ----------
    Elhorst (2014), chapters 2 to 4, for the models and the stability of dynamic ones; Kapoor,
    Kelejian & Prucha (2007) and Baltagi, Song & Koh (2003) for the random effects; Lee & Yu
    (2012) for weights that change over time.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> sim = simulate("sdm", W, 20, beta=[1.0, -0.5], theta=[0.5, 0.3], rho=0.4, seed=1)
    >>> sim.truth.to_dict()
    {'x1': 1.0, 'x2': -0.5, 'W*x1': 0.5, 'W*x2': 0.3, 'rho': 0.4, 'sigma2': 1.0}
    >>> fit = sa.sdm(sim.formula, sim.panel, sim.W)
    >>> bool((abs(fit.params - sim.truth) < 4 * fit.std_errors).all())
    True
    """
    has_rho, has_theta, has_lam = MODELS[check_option("model", model, MODELS)]
    check_option("effects", effects, (*EFFECTS, "random"))
    check_option("form", form, ("kkp", "baltagi"))
    check_option("errors", errors, ("normal", "t"))
    nu = 5.0 if df is None else df
    check_numbers(rho=rho, lam=lam, tau=tau, eta=eta, intercept=intercept, x_spatial=x_spatial)
    check_numbers(low=0.0, sigma=sigma, effects_scale=effects_scale)
    check_numbers(low=0.0, high=1.0, common=common, x_common=x_common)
    check_numbers(low=-1.0, high=1.0, correlated=correlated)
    check_numbers(low=-1.0, high=1.0, strict=True, serial=serial, x_serial=x_serial)
    check_numbers(low=2.0, strict=True, df=nu)
    check_whole(T=(T, 1), burn_in=(burn_in, 0))
    if not isinstance(missing_values, bool):
        raise OptionError(f"missing_values={missing_values!r} must be True or False.")
    of_units, of_periods = effects not in ("none", "time"), removes_time(effects)
    fixed = of_periods or removes_entity(effects)
    lacks = f"{model} has no "
    check_meaning(
        rho=(rho != 0 and not has_rho, lacks + "spatial lag of the outcome"),
        theta=(theta is not None and not has_theta, lacks + "lagged regressors"),
        W_durbin=(W_durbin is not None and not has_theta, lacks + "lagged regressors"),
        lam=(lam != 0 and not has_lam, lacks + "spatial error"),
        W_error=(W_error is not None and not has_lam, lacks + "spatial error"),
        form=(form != "kkp" and not has_lam, lacks + "spatial error"),
        intercept=(intercept != 0 and fixed, "fixed effects absorb it"),
        correlated=(correlated != 0 and not removes_entity(effects), "no unit has a fixed effect"),
        df=(df is not None and errors != "t", "it belongs to errors='t'"),
        x_serial=(x_serial != 0 and X is not None, "X is given"),
        x_spatial=(x_spatial != 0 and X is not None, "X is given"),
        x_common=(x_common != 0 and X is not None, "X is given"),
    )
    dynamic = tau != 0 or eta != 0
    burn = burn_in if dynamic else 0
    b = coefficients("beta", beta)
    d = coefficients("theta", theta, list(b)) if has_theta else {}
    logs = log_spreads(heteroskedasticity, list(b))
    streams = streams_of(seed)

    W, W_durbin, W_error = (as_given(V) for V in (W, W_durbin, W_error))
    used = {"W": W}
    used |= {"W_durbin": W if W_durbin is None else W_durbin} if has_theta else {}
    used |= {"W_error": W if W_error is None else W_error} if has_lam else {}
    cells = lay_out(used, T, times, missing, 1 + of_units, streams["missing"])
    if dynamic and not cells.observed.all():
        raise OptionError(
            "tau and eta need the outcome of the period before, which a missing cell does not "
            "have. Simulate a complete panel, or leave tau and eta out."
        )
    check_space("rho", rho, cells.parts["W"])
    check_space("lam", lam, cells.parts.get("W_error", []))
    check_space("x_spatial", x_spatial, cells.whole)
    if dynamic:
        check_stable(cells.whole, rho, tau, eta)

    when = np.maximum(np.arange(-burn, T), 0)  # whose weights a row has: the burn-in the first's
    shape = (when.size, cells.ids.size)
    response = 1.0 + streams["response"].standard_normal(cells.ids.size)
    response /= np.sqrt(np.mean(response**2))
    if X is None:
        x = persistent(streams["X"].standard_normal, (*shape, len(b)), x_serial, x_common, response)
        for rows in alike([cells.whole[t] for t in when]) if x_spatial else ():
            x[rows] = solve_rows(cells.whole[when[rows[0]]], x_spatial, x[rows])
    else:
        x = supplied(X, list(b), hasattr(beta, "items"), W.ids, cells)
        x = np.concatenate([np.repeat(x.mean(axis=0)[None], burn, axis=0), x])

    def shock(size: tuple[int, ...]) -> NDArray:
        if errors == "normal":
            return streams["errors"].standard_normal(size)
        return streams["errors"].standard_t(nu, size) * np.sqrt((nu - 2.0) / nu)

    e = sigma * persistent(shock, shape, serial, common, response)
    e *= relative_spread(logs, list(b), x, burn, streams["spread"])
    c, alpha = np.zeros(shape[1]), np.zeros(shape[0])
    if of_units:
        c = effects_scale * tied(streams["unit"], correlated, x[burn:])
    if of_periods:
        alpha = effects_scale * streams["period"].standard_normal(shape[0])

    mean, noise = x @ np.array(list(b.values())) + intercept, e.copy()
    inner = noise if has_lam and form == "kkp" else mean
    inner += c + alpha[:, None]
    spill = x @ np.array([d.get(name, 0.0) for name in b])
    y = outcome_of(cells, when, mean, spill, noise, None if dynamic else rho, lam)
    initial = None
    if dynamic:
        start = recursion(y, [cells.whole[t] for t in when], rho, tau, eta, burn)
        initial = pd.Series(start, index=cells.ids, name=OUTCOME)

    truth = {} if fixed else {INTERCEPT: intercept}
    truth |= {f"{OUTCOME}(t-1)": tau, f"W*{OUTCOME}(t-1)": eta} if dynamic else {}
    truth |= b | {f"W*{name}": d[name] for name in b if name in d}
    truth |= {"rho": rho} if has_rho else {}
    truth |= {"lambda": lam} if has_lam else {}
    phi = (effects_scale / sigma) ** 2 if sigma else np.inf
    truth |= {"phi": phi} if effects == "random" else {}
    table = {OUTCOME: y[burn:]} | {name: x[burn:, :, j] for j, name in enumerate(b)}
    return Simulation(
        model=model,
        effects=effects,
        frame=cells.frame(table, streams["rows"], missing_values),
        truth=pd.Series(truth | {"sigma2": sigma**2}, dtype=float),
        unit_effects=pd.Series(c, index=cells.ids, name="effect"),
        period_effects=pd.Series(alpha[burn:], index=cells.periods, name="effect"),
        innovations=pd.Series(
            e[burn:][cells.observed], index=cells.index(cells.observed), name="innovation"
        ),
        initial=initial,
        W=W,
        W_durbin=W_durbin,
        W_error=W_error,
        missing=cells.index(~cells.observed),
    )


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated panel and what it was made of.

    Attributes
    ----------
    model, effects : str
    frame : DataFrame
        Columns "unit", "time", "y" and the regressors. The rows are shuffled: no result may
        depend on their order.
    truth : Series
        The parameters, labelled as estimates are: Intercept (effects "none" and "random"),
        y(t-1) and W*y(t-1) (dynamic models), x1, W*x1, rho, lambda, phi (random effects: their
        variance divided by sigma2), sigma2.
    unit_effects, period_effects : Series
        By unit and by period; zeros where the model has none.
    innovations : Series
        e_it, on a (unit, time) index, of the cells that are not missing.
    initial : Series or None
        The outcome in the period before the first, of dynamic models.
    W, W_durbin, W_error : SpatialWeights, PanelWeights or None
        As given; None for the last two when the model uses W or nothing in their place.
    missing : MultiIndex
        The (unit, time) cells without an outcome.
    """

    model: str
    effects: str
    frame: pd.DataFrame
    truth: pd.Series
    unit_effects: pd.Series
    period_effects: pd.Series
    innovations: pd.Series
    initial: pd.Series | None
    W: SpatialWeights | PanelWeights
    W_durbin: SpatialWeights | PanelWeights | None
    W_error: SpatialWeights | PanelWeights | None
    missing: pd.MultiIndex

    @cached_property
    def panel(self) -> Panel:
        """The frame as a `Panel`, which allows gaps only if there are some."""
        options: dict[str, Any] = {"unbalanced": "allow"} if len(self.missing) else {}
        return Panel(self.frame, entity=UNIT, time=TIME, **options)

    @property
    def formula(self) -> str:
        """The formula of the model: the outcome on all regressors."""
        return f"{OUTCOME} ~ " + " + ".join(map(str, self.frame.columns[3:]))
