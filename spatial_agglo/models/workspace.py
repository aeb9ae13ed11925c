"""Workspace: one formula, one panel and one W, reduced to moments at most once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.likelihood import check_rank
from spatial_agglo.core.moments import MatrixLike, Moments, accumulate, blocks, lag
from spatial_agglo.core.within import removes_entity, removes_time, within
from spatial_agglo.errors import IdentificationError, WeightsError
from spatial_agglo.formula import INTERCEPT, Variables, variables
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.panel import Panel
from spatial_agglo.weights.matrix import SpatialWeights, as_weights

#: A variable with less variation than this, relative to its size, counts as absorbed.
ABSORBED = 1e-10


class Workspace:
    """The data of several models that differ in specification only.

    Parameters
    ----------
    data : Variables
    W : SpatialWeights or None
        Aligned to the entities of the panel.
    """

    def __init__(self, data: Variables, W: SpatialWeights | None) -> None:
        self.data = data
        self.W = W
        self._frames: dict[tuple[str, bool], NDArray] = {}
        self._moments: dict[tuple[str, bool], Moments] = {}

    @classmethod
    def of(cls, formula: str, panel: Panel, W: Any) -> Workspace:
        """Resolve the labels: evaluate the formula, align W with the panel's entities."""
        data = variables(formula, panel)
        return cls(data, None if W is None else as_weights(W).align(panel.entities))

    @property
    def row_standardized(self) -> bool:
        """Whether W is there and row-standardised."""
        return self.W is not None and self.W.row_standardized

    @property
    def operator(self) -> MatrixLike | None:
        """W as products are fastest."""
        return None if self.W is None else self.W.operator

    def has_intercept(self, effects: str) -> bool:
        """Whether an intercept is estimated: fixed effects absorb it."""
        return effects == "none" and self.data.intercept

    def shifts(self, effects: str) -> NDArray | None:
        """Return the means that are taken out of ``[y, X]`` before an intercept is fitted.

        This only moves the intercept, and keeps the moments well scaled; it needs
        ``W 1 = 1``, so without row-standardised weights nothing is moved.
        """
        if not self.has_intercept(effects) or not (self.W is None or self.row_standardized):
            return None
        return np.concatenate([[self.data.y.mean()], self.data.X.mean(axis=(0, 1))])

    def frame(self, spec: ModelSpec) -> NDArray:
        """Return ``[y, (1), X]`` with shifts and entity means taken out, shape (T, N, f).

        Where the data are demeaned before they are lagged, ``W X`` is appended as regressors
        of their own: splm and xsmle take the lags of X as data, ``Q(WX)``, and lag only y and
        the errors after demeaning.
        """
        key = (spec.effects, self._appends(spec))
        if key not in self._frames:
            F = np.concatenate([self.data.y[:, :, None], self.data.X], axis=2)
            shifts = self.shifts(spec.effects)
            if shifts is not None:
                F = F - shifts
            if self.has_intercept(spec.effects):
                F = np.insert(F, 1, 1.0, axis=2)
            if self._appends(spec):
                F = np.concatenate([F, lag(self.W.operator, self.data.X)], axis=2)  # type: ignore[union-attr]
            if removes_entity(spec.effects):
                F = within(F, "entity")
            self._frames[key] = F
        return self._frames[key]

    def _appends(self, spec: ModelSpec) -> bool:
        return spec.lags_last and removes_time(spec.effects) and self.W is not None

    def regressors(self, spec: ModelSpec) -> tuple[list[tuple[int, int]], list[str]]:
        """Return the (power of W, column of the frame) and the name of each regressor."""
        first = 2 if self.has_intercept(spec.effects) else 1
        place = {name: first + j for j, name in enumerate(self.data.regressors)}
        lagged = spec.lagged(self.data)
        columns = [(0, 1)] if first == 2 else []
        columns += [(0, place[name]) for name in self.data.regressors]
        if self._appends(spec):
            columns += [(0, place[name] + len(place)) for name in lagged]
        else:
            columns += [(1, place[name]) for name in lagged]
        names = [INTERCEPT] if first == 2 else []
        names += [*self.data.regressors, *(f"W*{name}" for name in lagged)]
        return columns, names

    def orders(self, spec: ModelSpec) -> int:
        """Return the number of blocks of the moment matrix that a model needs."""
        columns, _ = self.regressors(spec)
        highest = max([order for order, _ in columns] + [int(spec.has_lag)])
        return 1 + highest + spec.has_error

    def moments(self, spec: ModelSpec) -> Moments:
        """Return the moment matrix for the effects and likelihood of a model."""
        orders = self.orders(spec)
        if orders > 1 and self.W is None:
            raise WeightsError(f"{spec.model} needs spatial weights W; got None.")
        key = (spec.effects, self._appends(spec))
        found = self._moments.get(key)
        if found is None or found.orders < orders:
            found = accumulate(
                self.frame(spec),
                self.operator,
                spec.effects,
                orders=max(orders, 2) if self.W is not None else orders,
                lag_last=spec.lags_last,
            )
            self._moments[key] = found
        self._check(found, spec)
        return found

    def arrays(self, spec: ModelSpec, orders: int) -> NDArray:
        """Return the projected data behind the moments, shape (T, N, orders * width)."""
        return blocks(
            self.frame(spec),
            self.operator,
            spec.effects,
            orders=orders,
            lag_last=spec.lags_last,
        )

    def combination(self, spec: ModelSpec, weights: NDArray) -> NDArray:
        """Return ``arrays(spec, orders) @ weights`` without the arrays, shape (T, N).

        ``weights`` has a row per power of W: ``F w0 + W (F w1 + W (F w2))``.
        """
        F, lags_last = self.frame(spec), spec.lags_last
        before = "time" if lags_last and removes_time(spec.effects) else "none"
        after = "time" if not lags_last and removes_time(spec.effects) else "none"
        out = within(F @ weights[-1], before)
        for row in weights[-2::-1]:
            out = within(F @ row, before) + lag(self.operator, out)  # type: ignore[arg-type]
        return within(out, after)

    def project(self, Z: NDArray, spec: ModelSpec) -> NDArray:
        """Apply to an array what is applied to data after they are lagged."""
        return Z if spec.lags_last else within(Z, spec.effects)

    def _check(self, moments: Moments, spec: ModelSpec) -> None:
        """Raise on absorbed and collinear variables, naming them."""
        T, N = self.data.panel.shape
        columns, names = self.regressors(spec)
        spec.check_size(N, T, len(columns))
        first = 2 if self.has_intercept(spec.effects) else 1
        sizes = [np.abs(self.data.X[:, :, j]).max() for j in range(len(self.data.regressors))]
        sizes = [np.abs(self.data.y).max(), *([1.0] if first == 2 else []), *sizes, *sizes]
        reach = 1.0 if self.W is None else float(self.W.matrix.sum(axis=1).max())
        labels = {(0, 0): self.data.outcome} | dict(zip(columns, names, strict=True))
        for (order, column), label in labels.items():
            i = moments.index(order, column)
            if label == INTERCEPT:
                continue
            size = sizes[column] * (reach if label.startswith("W*") else 1.0)
            if np.sqrt(moments.G[i, i] / (N * T)) <= ABSORBED * size:
                raise IdentificationError(_absorbed(label, spec.effects, (order, column) == (0, 0)))
        where = [moments.index(order, column) for order, column in columns]
        if where:
            check_rank(moments.G[np.ix_(where, where)], names)


def _absorbed(name: str, effects: str, is_outcome: bool) -> str:
    why = {
        "none": "is constant: it is the intercept",
        "entity": "does not vary over time, so the entity effects absorb it",
        "time": "does not vary between units, so the time effects absorb it",
        "two-way": "does not vary beyond what the entity and time effects absorb",
    }[effects]
    what = "The outcome" if is_outcome else "The regressor"
    remedy = "choose another outcome" if is_outcome else "drop it, interact it with a variable"
    return f"{what} {name!r} {why}. Remedy: {remedy}, or change effects (now {effects!r})."
