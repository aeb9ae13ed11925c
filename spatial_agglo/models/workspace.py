"""Workspace: one formula, one panel and one W, reduced to moments at most once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.core.jacobian import LogJacobian, SummedJacobian, removed
from spatial_agglo.core.likelihood import Terms, check_rank
from spatial_agglo.core.moments import Column, Moments, Operator, accumulate, blocks, combine, lag
from spatial_agglo.core.within import Projector, removes_entity, removes_time, within
from spatial_agglo.errors import IdentificationError, OptionError, WeightsError, listing
from spatial_agglo.formula import INTERCEPT, Variables, variables
from spatial_agglo.models.specification import ModelSpec, free_cells
from spatial_agglo.models.weighting import Weighting
from spatial_agglo.panel import Panel
from spatial_agglo.weights.matrix import SpatialWeights

#: A variable with less variation than this, relative to its size, counts as absorbed.
ABSORBED = 1e-10
#: Units up to which the adjusted score of an irregular panel is available (it needs N^3).
ADJUSTED_UNITS = 3_000


class Workspace:
    """The data of several models that differ in specification only.

    Parameters
    ----------
    data : Variables
    W : SpatialWeights, PanelWeights, or what can be made one; None without spatial terms
    W_error, W_durbin : likewise, optional
        For the error process and for the lags of the regressors; W itself by default.
    """

    def __init__(
        self, data: Variables, W: Any, *, W_error: Any = None, W_durbin: Any = None
    ) -> None:
        self.data = data
        self.weights = _weighting(W, data)
        self.error_weights, self.durbin_weights = (
            self.weights if other is None or other is W else _weighting(other, data)
            for other in (W_error, W_durbin)
        )
        self._frames: dict[tuple[str, bool], NDArray] = {}
        self._moments: dict[tuple[str, bool], Moments] = {}
        self._projectors: dict[str, Projector] = {}
        self._jacobians: dict[tuple[int, str, bool], SummedJacobian] = {}

    @classmethod
    def of(
        cls, formula: str, panel: Panel, W: Any, *, W_error: Any = None, W_durbin: Any = None
    ) -> Workspace:
        """Resolve the labels: evaluate the formula, align W with the panel's entities."""
        return cls(variables(formula, panel), W, W_error=W_error, W_durbin=W_durbin)

    def with_data(self, data: Variables) -> Workspace:
        """Return a workspace with the same weights and other variables of the same cells."""
        other = Workspace(data, None)
        other.weights = self.weights
        other.error_weights = self.error_weights
        other.durbin_weights = self.durbin_weights
        if data.observed is self.data.observed:  # nothing of these depends on the variables
            other._projectors, other._jacobians = self._projectors, self._jacobians
        return other

    # --- weights ----------------------------------------------------------------------

    @property
    def W(self) -> SpatialWeights | None:
        """The one matrix of all periods.

        Raises
        ------
        WeightsError
            Weights change over time, or cells are missing.
        """
        if self.weights is None:
            return None
        if self.irregular:
            raise WeightsError(
                "This needs one W for all periods and a balanced panel; here "
                + ("cells are missing." if self.data.observed is not None else "W changes.")
            )
        return self.weights.matrices[0]

    @property
    def irregular(self) -> bool:
        """Whether cells are missing or a matrix changes over time."""
        return self.data.observed is not None or any(
            weights is not None and weights.varies
            for weights in (self.weights, self.error_weights, self.durbin_weights)
        )

    @property
    def row_standardized(self) -> bool:
        """Whether all matrices are row-standardised (so they are when there are none)."""
        return all(
            weights is None or weights.row_standardized
            for weights in (self.weights, self.error_weights, self.durbin_weights)
        )

    @property
    def durbin_letter(self) -> str:
        """Letter of the matrix that lags the regressors."""
        return "W" if self.durbin_weights is self.weights else "D"

    @property
    def error_letter(self) -> str:
        """Letter of the matrix of the error process."""
        return "W" if self.error_weights is self.weights else "M"

    @property
    def operators(self) -> dict[str, Operator]:
        """The matrices by letter, as products are fastest."""
        letters = {"W": self.weights, "D": self.durbin_weights, "M": self.error_weights}
        return {key: found.operator for key, found in letters.items() if found is not None}

    def projector(self, spec: ModelSpec) -> Projector | None:
        """Return the exact projection for irregular panels; None on regular ones."""
        if not self.irregular:
            return None
        if spec.fixed not in self._projectors:
            self._projectors[spec.fixed] = Projector.of(self.data.cells, spec.fixed)
        return self._projectors[spec.fixed]

    # --- data -------------------------------------------------------------------------

    def has_intercept(self, effects: str) -> bool:
        """Whether an intercept is estimated: fixed effects absorb it."""
        return effects in ("none", "random") and self.data.intercept

    def shifts(self, effects: str) -> NDArray | None:
        """Return the means that are taken out of ``[y, X]`` before an intercept is fitted.

        This only moves the intercept, and keeps the moments well scaled; it needs
        ``W 1 = 1``, so without row-standardised weights nothing is moved.
        """
        if not (self.has_intercept(effects) and self.row_standardized):
            return None
        cells = self.data.cells
        return np.concatenate([[self.data.y[cells].mean()], self.data.X[cells].mean(axis=0)])

    def frame(self, spec: ModelSpec) -> NDArray:
        """Return ``[y, (1), X]`` with shifts and entity means taken out, shape (T, N, f).

        Where the data are demeaned before they are lagged, ``W X`` is appended as regressors
        of their own: splm and xsmle take the lags of X as data, ``Q(WX)``, and lag only y and
        the errors after demeaning. Irregular panels are projected after lagging, in one go.
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
                lagged = lag(self.operators[self.durbin_letter], self.data.X)
                F = np.concatenate([F, lagged], axis=2)
            if self.data.observed is not None:
                F = F * self.data.observed[:, :, None]
            if removes_entity(spec.fixed) and not self.irregular:
                F = within(F, "entity")
            self._frames[key] = F
        return self._frames[key]

    def _appends(self, spec: ModelSpec) -> bool:
        return spec.lags_last and removes_time(spec.effects) and self.weights is not None

    def regressors(self, spec: ModelSpec) -> tuple[list[Column], list[str]]:
        """Return the column (operators, column of the frame) and the name of each regressor."""
        first = 2 if self.has_intercept(spec.effects) else 1
        place = {name: first + j for j, name in enumerate(self.data.regressors)}
        lagged = spec.lagged(self.data)
        columns = [("", 1)] if first == 2 else []
        columns += [("", place[name]) for name in self.data.regressors]
        if self._appends(spec):
            columns += [("", place[name] + len(place)) for name in lagged]
        else:
            columns += [(self.durbin_letter, place[name]) for name in lagged]
        names = [INTERCEPT] if first == 2 else []
        names += [*self.data.regressors, *(f"W*{name}" for name in lagged)]
        return columns, names

    def columns(self, spec: ModelSpec) -> list[Column]:
        """Return the columns of F: y, Wy where the model has it, the regressors."""
        regressors, _ = self.regressors(spec)
        return [("", 0), *([("W", 0)] if spec.has_lag else []), *regressors]

    def words(self, spec: ModelSpec) -> tuple[str, ...]:
        """Return the blocks of the moment matrix that a model needs."""
        words = dict.fromkeys(["", *(word for word, _ in self.columns(spec))])
        if spec.has_error:
            words |= dict.fromkeys([self.error_letter + word for word in words])
        return tuple(sorted(words, key=len))

    def moments(self, spec: ModelSpec) -> Moments:
        """Return the moment matrix for the effects and likelihood of a model."""
        self._check_weights(spec)
        words = self.words(spec)
        key = (spec.effects, self._appends(spec))
        found = self._moments.get(key)
        if found is None or not set(words) <= set(found.words):
            # W y is needed by the tests and by most models: one pass for all of them
            have = found.words if found is not None else ("W",) * (self.weights is not None)
            words = tuple(sorted({*words, *have}, key=len))
            found = accumulate(
                self.frame(spec),
                self.operators,
                spec.fixed,
                words=words,
                lag_last=spec.lags_last,
                projector=self.projector(spec),
            )
            self._moments[key] = found
        self._check(found, spec)
        return found

    def arrays(self, spec: ModelSpec, words: Sequence[str]) -> NDArray:
        """Return the projected data behind the moments, shape (T, N, len(words) * width)."""
        return blocks(
            self.frame(spec),
            self.operators,
            spec.fixed,
            words=words,
            lag_last=spec.lags_last,
            projector=self.projector(spec),
        )

    def combination(self, spec: ModelSpec, weights: Mapping[Column, float]) -> NDArray:
        """Return a weighted sum of projected columns without making them, shape (T, N)."""
        F = self.frame(spec)
        vectors: dict[str, NDArray] = {}
        for (word, column), weight in weights.items():
            vectors.setdefault(word, np.zeros(F.shape[2]))[column] += weight
        time = removes_time(spec.fixed) and not self.irregular
        if time and spec.lags_last:
            F = within(F, "time")
        out = combine(F, self.operators, vectors)
        projector = self.projector(spec)
        if projector is not None:
            return projector.apply(out)
        return within(out, "time") if time and not spec.lags_last else out

    def project(self, Z: NDArray, spec: ModelSpec) -> NDArray:
        """Apply to an array what is applied to data after they are lagged."""
        if spec.lags_last:
            return Z
        projector = self.projector(spec)
        return within(Z, spec.fixed) if projector is None else projector.apply(Z)

    # --- likelihood -------------------------------------------------------------------

    def terms(self, spec: ModelSpec) -> Terms:
        """Return the Jacobian terms and the number of independent observations."""
        T, N = self.data.panel.shape
        if not self.irregular:
            counts = spec.counts(N, T, self.row_standardized)
            makers = [
                LogJacobian(weights.matrices[0].logdet, counts) if wanted and weights else None
                for wanted, weights in (
                    (spec.has_lag, self.weights),
                    (spec.has_error, self.error_weights),
                )
            ]
            return Terms(counts.n, *makers)
        projector = self.projector(spec)
        assert projector is not None
        adjusted = spec.likelihood == "transformed" and spec.fixed != "none"
        n = projector.rank if spec.likelihood == "transformed" else self.data.nobs
        sums = [
            self._jacobian(weights, spec.fixed, projector if adjusted else None)
            if wanted and weights is not None
            else None
            for wanted, weights in (
                (spec.has_lag, self.weights),
                (spec.has_error, self.error_weights),
            )
        ]
        return Terms(n, *sums)

    def _jacobian(
        self, weights: Weighting, effects: str, projector: Projector | None
    ) -> SummedJacobian:
        """Return the Jacobian term of weights on an irregular panel, made once."""
        key = (id(weights), effects, projector is not None)
        if key not in self._jacobians:
            self._jacobians[key] = _summed(weights, projector)
        return self._jacobians[key]

    # --- checks -----------------------------------------------------------------------

    def _check_weights(self, spec: ModelSpec) -> None:
        """Raise where the weights do not fit the model."""
        for wanted, weights, name in (
            (spec.has_lag, self.weights, "W"),
            (spec.has_durbin, self.durbin_weights, "W"),
            (spec.has_error, self.error_weights, "W"),
        ):
            if wanted and weights is None:
                raise WeightsError(f"{spec.model} needs spatial weights {name}; got None.")
        if self.irregular and spec.likelihood not in ("transformed", "direct"):
            raise OptionError(
                f"likelihood={spec.likelihood!r} is for balanced panels and one W: use "
                "'transformed', or 'direct'."
            )
        if self.irregular and spec.effects == "random":
            raise OptionError(
                "Random effects need a balanced panel and one W for all periods: use fixed "
                "effects, or complete the panel."
            )
        if spec.has_error and removes_time(spec.fixed):
            self._check_periods(spec)
        if (
            self.irregular
            and spec.has_lag
            and spec.has_error
            and self.error_letter != "W"
            and spec.likelihood == "transformed"
            and spec.fixed != "none"
        ):
            raise OptionError(
                f"{spec.model} on a panel with gaps, or with weights that change over time, has no "
                "transformed likelihood when the error process has another W. Use the same W, or "
                "likelihood='direct'."
            )

    def _check_periods(self, spec: ModelSpec) -> None:
        """Raise where removing period means would change the model of the errors."""
        weights = self.error_weights
        if weights is None or weights.row_standardized:
            return
        alone = weights.matrices[0].isolates
        if not self.irregular and alone.size:
            raise WeightsError(
                f"{spec.model} with effects={spec.effects!r} needs weights whose rows all sum to "
                f"one; those of units without neighbours do not: {listing(alone)}. "
                "Link them (weights.union_nearest) or leave these units out."
            )
        raise WeightsError(
            f"{spec.model} with effects={spec.effects!r} needs row-standardised weights: with "
            "other weights the filter I - lambda W turns a period effect into something that "
            "period means do not remove. Use W.standardize('row'), or effects='entity' with "
            "period dummies C(...) in the formula."
        )

    def _check(self, moments: Moments, spec: ModelSpec) -> None:
        """Raise on absorbed and collinear variables, naming them."""
        T, N = self.data.panel.shape
        columns, names = self.regressors(spec)
        projector = self.projector(spec)
        free = free_cells(N, T, spec.fixed) if projector is None else projector.rank
        spec.check_size(N, T, self.data.nobs, free, len(columns))
        first = 2 if self.has_intercept(spec.effects) else 1
        sizes = [np.abs(self.data.X[:, :, j]).max() for j in range(len(self.data.regressors))]
        sizes = [np.abs(self.data.y).max(), *([1.0] if first == 2 else []), *sizes, *sizes]
        reach = 1.0
        if self.durbin_weights is not None:
            reach = max(float(W.matrix.sum(axis=1).max()) for W in self.durbin_weights.matrices)
        labels = {("", 0): self.data.outcome} | dict(zip(columns, names, strict=True))
        for (word, column), label in labels.items():
            i = moments.index(word, column)
            if label == INTERCEPT:
                continue
            size = sizes[column] * (reach if label.startswith("W*") else 1.0)
            if np.sqrt(moments.G[i, i] / self.data.nobs) <= ABSORBED * size:
                absorbed = _absorbed(label, spec.effects, (word, column) == ("", 0))
                raise IdentificationError(absorbed)
        if columns:
            check_rank(moments.select(columns, columns), names)


def _weighting(W: Any, data: Variables) -> Weighting | None:
    return None if W is None else Weighting.of(W, data)


def _summed(weights: Weighting, projector: Projector | None) -> SummedJacobian:
    """Return the Jacobian term of weights that change; adjusted when a projector is given."""
    logdets = [W.logdet for W in weights.matrices]
    plain = SummedJacobian(logdets, weights.times)
    if projector is None:
        return plain
    if weights.matrices[0].n > ADJUSTED_UNITS:
        raise WeightsError(
            f"The transformed likelihood of a panel with gaps, or with weights that change over "
            f"time, is available up to {ADJUSTED_UNITS} units; here are "
            f"{weights.matrices[0].n}. Use likelihood='direct'."
        )
    matrices = [W.matrix for W in weights.matrices]
    return SummedJacobian(
        logdets, weights.times, removed(matrices, weights.which, projector, plain.grid)
    )


def _absorbed(name: str, effects: str, is_outcome: bool) -> str:
    why = {
        "none": "is constant: it is the intercept",
        "random": "is constant: it is the intercept",
        "entity": "does not vary over time, so the entity effects absorb it",
        "time": "does not vary between units, so the time effects absorb it",
        "two-way": "does not vary beyond what the entity and time effects absorb",
    }[effects]
    what = "The outcome" if is_outcome else "The regressor"
    remedy = "choose another outcome" if is_outcome else "drop it, interact it with a variable"
    return f"{what} {name!r} {why}. Remedy: {remedy}, or change effects (now {effects!r})."
