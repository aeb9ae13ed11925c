"""Regressors and instruments of spatial two-stage least squares, as projected arrays.

The only part of the estimator that touches workspaces, weights and formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.kernels import Kernel
from spatial_agglo.core.likelihood import COLLINEAR
from spatial_agglo.core.moments import lag
from spatial_agglo.errors import (
    DataError,
    FormulaError,
    IdentificationError,
    OptionError,
    WeightsError,
    listing,
)
from spatial_agglo.formula import INTERCEPT, Variables, variables
from spatial_agglo.models.first_stage import Errors, dependent, triangle
from spatial_agglo.models.specification import ModelSpec, free_cells
from spatial_agglo.models.workspace import ABSORBED, Workspace
from spatial_agglo.panel import Panel, as_term, functions_of


@dataclass(frozen=True)
class Request:
    """What a user asks of the instruments, labels resolved.

    Attributes
    ----------
    endogenous : tuple of str
        Columns of the formula that are instrumented.
    outside : Variables or None
        Instruments from outside the model.
    lags : int
        Highest power of W of an instrument, beyond those that are regressors.
    lag_outside : bool
        Whether the outside instruments are lagged as well.
    """

    endogenous: tuple[str, ...]
    outside: Variables | None
    lags: int
    lag_outside: bool


@dataclass(frozen=True)
class Design:
    """Projected columns, one row per used cell, period slow and unit fast.

    Attributes
    ----------
    y : ndarray, shape (n,)
    X : ndarray, shape (n, k)
        Regressors in the order of the parameters; Wy, if there, is the last.
    names : tuple of str
        Of the parameters: x, W*x, rho.
    labels : tuple of str
        Of the columns: x, W*x, W*y.
    endogenous : list of int
        Columns of X that are instrumented.
    Q : ndarray, shape (n, q)
        Orthonormal basis of the exogenous regressors, then of the instruments outside the
        equation.
    instruments : tuple of str
        Names of the latter.
    """

    y: NDArray
    X: NDArray
    names: tuple[str, ...]
    labels: tuple[str, ...]
    endogenous: list[int]
    Q: NDArray
    instruments: tuple[str, ...]


def workspace_of(
    formula: str, panel: Panel, W: Any, terms: list[str]
) -> tuple[Workspace, Variables | None]:
    """Evaluate the formula and the outside instruments on the cells that have both."""
    data = variables(formula, panel)
    found = _evaluate(terms, data) if terms else None
    if found is not None and (data.observed is not None or found.observed is not None):
        both = data.cells & found.cells
        if not both.any():
            raise DataError(
                f"No cell of the panel has every variable of {formula!r} and the instruments "
                f"{listing(terms)} as well."
            )
        data, found = (
            replace(
                part,
                y=np.where(both, part.y, 0.0),
                X=np.where(both[:, :, None], part.X, 0.0),
                observed=both,
            )
            for part in (data, found)
        )
    return Workspace(data, W), found


def design(space: Workspace, spec: ModelSpec, request: Request, errors: Errors) -> Design:
    """Lag the variables, take out the fixed effects, and check that the model is identified.

    Raises
    ------
    WeightsError
        Lags are needed and there are no weights.
    IdentificationError
        Too few instruments; absorbed or collinear regressors or instruments (named).
    """
    data = space.data
    if space.weights is None and (spec.has_lag or spec.has_durbin or request.lag_outside):
        what = "lag_instruments=True" if request.lag_outside else f"model={spec.model!r}"
        raise WeightsError(f"{what} needs spatial weights W; got None.")
    regressors, instrumented = _regressors(space, spec, request)
    inside, outside = _inside(space, spec, request), _outside(space, request)
    T, N = data.y.shape
    spec.check_size(N, T, data.nobs, errors.free, len(regressors))
    _check_order(instrumented, request, tuple(outside), tuple(inside), spec)
    raw = regressors | inside | outside
    projected = space.project(np.stack([data.y, *raw.values()], axis=2), spec)
    flat = projected.reshape(data.y.size, -1) if data.observed is None else projected[data.cells]
    y, columns = flat[:, 0], dict(zip(raw, flat.T[1:], strict=True))
    for what, names in (("regressor", regressors), ("instrument", inside | outside)):
        for name in names:
            _check_absorbed(what, name, columns[name], raw[name], spec.effects)
    _check_absorbed("outcome", data.outcome, y, data.y, spec.effects)
    labels = tuple(regressors)
    X = np.column_stack([columns[name] for name in labels])
    found = dependent(triangle(X)[1], labels)
    if found:
        raise IdentificationError(
            f"The regressor {found[0]!r} is a linear combination of {listing(found[1])} once the "
            "fixed effects are removed. Drop one of them, or name the columns to lag with "
            "durbin=[...]."
        )
    kept = [name for name in labels if name not in instrumented]
    Q = _basis(columns, (*kept, *inside, *outside), errors)
    for name in instrumented:
        _check_exact(name, columns[name], Q)
    return Design(
        y=y,
        X=X,
        names=(*labels[:-1], "rho") if spec.has_lag else labels,
        labels=labels,
        endogenous=[labels.index(name) for name in instrumented],
        Q=Q,
        instruments=(*inside, *outside),
    )


def errors_of(space: Workspace, spec: ModelSpec, kernel: Kernel | None) -> Errors:
    """Count the cells that the fixed effects leave."""
    projector = space.projector(spec)
    T, N = space.data.y.shape
    free = free_cells(N, T, spec.fixed) if projector is None else projector.rank
    return Errors(kernel, spec.fixed, space.data.cells, free)


def request_of(
    data: Variables,
    endogenous: Sequence[str],
    outside: Variables | None,
    lags: int,
    lag_outside: bool,
) -> Request:
    """Resolve the endogenous regressors, and check the other options.

    Raises
    ------
    OptionError
        Unknown or repeated names, terms with an endogenous regressor that are not named, lags
        below 1, nothing to lag.
    """
    if isinstance(lags, bool) or not isinstance(lags, (int, np.integer)) or lags < 1:
        raise OptionError(f"lags={lags!r} must be a whole number of at least 1.")
    if not isinstance(lag_outside, bool):
        raise OptionError(f"lag_instruments={lag_outside!r} must be True or False.")
    wanted = [_match(name, data.regressors) for name in names_of("endogenous", endogenous)]
    unknown = [name for name in wanted if name not in data.regressors]
    if unknown:
        raise OptionError(
            f"endogenous names {listing(unknown)}, not among the regressors of the formula, "
            f"{listing(data.regressors, 20)}. An endogenous regressor stands in the formula; "
            "instruments=[...] names what is outside it."
        )
    for name in wanted:
        moving = functions_of(name, data.regressors, data.panel.columns)
        exogenous = [term for term in moving if term not in wanted]
        if exogenous:
            raise OptionError(
                f"{listing(exogenous)} contain(s) the endogenous regressor {name!r} and cannot be "
                "exogenous. Name them in endogenous=[...] as well, with an instrument for each "
                f"(if z is one for {name!r}: its product or square, I(z**2)), or drop them."
            )
    if lag_outside and outside is None:
        raise OptionError("lag_instruments=True has nothing to lag: name instruments=[...].")
    return Request(
        endogenous=tuple(name for name in data.regressors if name in wanted),
        outside=outside,
        lags=int(lags),
        lag_outside=lag_outside,
    )


def lagging(spec: ModelSpec, space: Workspace, request: Request) -> ModelSpec:
    """Name the regressors that are lagged: by default the exogenous ones."""
    if not spec.has_durbin or spec.durbin is not None or not request.endogenous:
        return spec
    names = tuple(n for n in space.data.regressors if n not in request.endogenous)
    return replace(spec, durbin=names)


def names_of(option: str, names: Sequence[str]) -> list[str]:
    """Return a list of different strings, or raise."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise OptionError(f"{option} must be a list of names; got {names!r}.")
    names = list(names)
    if not all(isinstance(name, str) for name in names):
        raise OptionError(f"{option} must be a list of names; got {names!r}.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OptionError(f"{option} names {listing(twice)} more than once.")
    return names


def _match(name: str, known: tuple[str, ...]) -> str:
    """Return the known name that differs by spaces only, else the name itself."""
    return {k.replace(" ", ""): k for k in known}.get(name.replace(" ", ""), name)


def _evaluate(terms: list[str], data: Variables) -> Variables:
    left = data.formula.split("~")[0]
    wanted = [as_term("instruments", term, data.panel.columns) for term in terms]
    found = variables(f"{left} ~ {' + '.join(wanted)}", data.panel)
    if not found.regressors:
        raise FormulaError(f"instruments={terms!r} name no variable.")
    inside = [name for name in found.regressors if name in (data.outcome, *data.regressors)]
    if inside:
        raise OptionError(
            f"The instruments {listing(inside)} are in the equation. An instrument acts on the "
            "outcome through the endogenous regressors only, so it stands outside the formula "
            "(exogenous regressors are their own instruments, without being named)."
        )
    return found


def _regressors(
    space: Workspace, spec: ModelSpec, request: Request
) -> tuple[dict[str, NDArray], list[str]]:
    """Return the columns of the equation in the order of the parameters, and the endogenous."""
    data = space.data
    lagged = spec.lagged(data)
    out = {INTERCEPT: data.cells.astype(float)} if space.has_intercept(spec.effects) else {}
    out |= {name: data.X[:, :, j] for j, name in enumerate(data.regressors)}
    out |= _ladder(space, {name: out[name] for name in lagged}, 1)
    instrumented = [*request.endogenous]
    instrumented += [_label(name, 1) for name in lagged if name in request.endogenous]
    if spec.has_lag:
        out |= _ladder(space, {data.outcome: data.y}, 1)
        instrumented.append(_label(data.outcome, 1))
    return out, instrumented


def _inside(space: Workspace, spec: ModelSpec, request: Request) -> dict[str, NDArray]:
    """Instruments for Wy: lags of the exogenous regressors that are not regressors."""
    if not spec.has_lag:
        return {}
    data, lagged = space.data, spec.lagged(space.data)
    exogenous = {
        name: data.X[:, :, j]
        for j, name in enumerate(data.regressors)
        if name not in request.endogenous
    }
    first = {name: 1 + (name in lagged) for name in exogenous}
    found = _ladder(space, exogenous, request.lags + max(first.values(), default=1) - 1)
    wanted = [
        _label(name, power)
        for power in range(1, request.lags + 2)
        for name in exogenous
        if first[name] <= power < first[name] + request.lags
    ]
    return {label: found[label] for label in wanted}


def _outside(space: Workspace, request: Request) -> dict[str, NDArray]:
    """Instruments that the user names, and their lags if wanted."""
    if request.outside is None:
        return {}
    out = {name: request.outside.X[:, :, j] for j, name in enumerate(request.outside.regressors)}
    return out | (_ladder(space, out, request.lags) if request.lag_outside else {})


def _ladder(space: Workspace, columns: dict[str, NDArray], top: int) -> dict[str, NDArray]:
    """Return W, W^2, ..., W^top times each column."""
    out: dict[str, NDArray] = {}
    if not columns:
        return out
    Z = np.stack(list(columns.values()), axis=2)
    for power in range(1, top + 1):
        Z = lag(space.operators["W"], Z)
        out |= {_label(name, power): Z[:, :, j] for j, name in enumerate(columns)}
    return out


def _label(name: str, power: int) -> str:
    return f"W*{name}" if power == 1 else f"W{power}*{name}"


def _basis(columns: dict[str, NDArray], names: tuple[str, ...], errors: Errors) -> NDArray:
    """Return the orthonormal basis of the instruments, in their order."""
    if errors.df(len(names)) <= 0:
        raise IdentificationError(
            f"{len(names)} instruments (exogenous regressors included) are too many for "
            f"the {errors.free} cells that the fixed effects leave of {errors.seen.sum()}: use "
            "fewer."
        )
    Q, R = triangle(np.column_stack([columns[name] for name in names]))
    found = dependent(R, names)
    if found:
        raise IdentificationError(
            f"The instrument {found[0]!r} is a linear combination of {listing(found[1])} once the "
            "fixed effects are removed: it adds nothing. Leave it out, or lower lags (the powers "
            "of some matrices repeat themselves: with equal weights for all units, W2*x is a "
            "combination of x and W*x)."
        )
    return Q


def _check_order(
    instrumented: list[str],
    request: Request,
    outside: tuple[str, ...],
    inside: tuple[str, ...],
    spec: ModelSpec,
) -> None:
    """Raise when there are fewer instruments than regressors to instrument."""
    if not instrumented:
        raise OptionError(
            f"model={spec.model!r} without endogenous=[...] has nothing to instrument: use "
            f"{spec.model}(...)."
        )
    others = instrumented[:-1] if spec.has_lag else instrumented
    if len(outside) < len(others):
        have = f"{len(outside)} given: {listing(outside)}" if outside else "none given"
        raise IdentificationError(
            f"The endogenous regressors {listing(others)} need at least {len(others)} "
            f"instrument(s) from outside the formula; {have}. Name them with instruments=[...]; "
            "lag_instruments=True adds their spatial lags. (The lags of the exogenous regressors "
            "are there for Wy.)"
        )
    if len(outside) + len(inside) < len(instrumented):
        have = listing([*inside, *outside]) or "none"
        raise IdentificationError(
            f"The endogenous regressors {listing(instrumented)} need at least "
            f"{len(instrumented)} instruments; there are {len(outside) + len(inside)}: {have}. Wy "
            "is instrumented by spatial lags of the exogenous regressors: add exogenous "
            f"regressors or outside instruments, or raise lags (now {request.lags})."
        )


def _check_absorbed(what: str, name: str, column: NDArray, raw: NDArray, effects: str) -> None:
    why = {
        "none": "is zero everywhere",
        "entity": "does not vary over time, so the entity effects absorb it",
        "time": "does not vary between units, so the time effects absorb it",
        "two-way": "does not vary beyond what the entity and time effects absorb",
    }[effects]
    if np.sqrt(np.mean(column**2)) <= ABSORBED * np.abs(raw).max():
        raise IdentificationError(
            f"The {what} {name!r} {why}. Remedy: drop it, choose another, or change effects "
            f"(now {effects!r})."
        )


def _check_exact(name: str, x: NDArray, Q: NDArray) -> None:
    """Raise when the instruments reproduce an endogenous regressor: then 2SLS is OLS."""
    v = x - Q @ (Q.T @ x)
    if v @ v < COLLINEAR * (x @ x):
        raise IdentificationError(
            f"The instruments and exogenous regressors add up to {name!r} exactly, so it is "
            "not endogenous if they are not. Is an instrument a copy of it?"
        )
