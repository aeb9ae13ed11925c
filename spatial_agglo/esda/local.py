"""Local spatial autocorrelation by period, on PySAL's esda."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from spatial_agglo.core.random import generator
from spatial_agglo.errors import (
    DataError,
    MissingDependencyError,
    OptionError,
    check_made,
    check_option,
)
from spatial_agglo.esda.autocorrelation import adjusted, check_permutations
from spatial_agglo.esda.data import aligned, as_panel, collect
from spatial_agglo.weights.matrix import SpatialWeights
from spatial_agglo.weights.panel_weights import PanelWeights

QUADRANTS = {1: "HH", 2: "LH", 3: "LL", 4: "HL"}
NOT_SIGNIFICANT = "not significant"
#: Periods from which a progress bar is shown.
LONG_RUN = 40
CORRECTIONS = ("none", "fdr")


def local_moran(
    data: Any,
    variable: Any,
    W: Any,
    *,
    permutations: int = 999,
    seed: int | np.random.Generator | None = 0,
    alpha: float = 0.05,
    correction: str = "none",
    missing: str = "raise",
    ids: Hashable | None = None,
) -> pd.DataFrame:
    """Return local Moran's I of every unit in every period (Anselin 1995).

    ``I_i = (z_i / m2) sum_j w_ij z_j`` with ``m2 = z'z/N``: positive inside clusters (HH, LL),
    negative for outliers (HL, LH). Quadrants name the unit first, then its neighbours.

    Parameters
    ----------
    data : Panel, or DataFrame or GeoDataFrame with one row per unit
    variable : column name or Series on (entity, time)
    W : SpatialWeights, PanelWeights, libpysal Graph or W, or square labelled DataFrame
    permutations : int
        Conditional permutations (the unit stays, its neighbours are drawn) by
        ``esda.Moran_Local``; 0 for none, then p values are analytical.
    seed : int, Generator or None
    alpha : float
        Significance level of ``cluster``.
    correction : {"none", "fdr"}
        "fdr" holds the false discovery rate over the units of a period at alpha.
    missing : {"raise", "nan"}
        "nan": a period with a missing cell is NaN throughout. Units without neighbours are
        NaN always.
    ids : column label, optional
        Labels of the units in a DataFrame; its index when left out.

    Returns
    -------
    DataFrame
        Index (entity, time): ``I``, ``expected``, ``variance``, ``z``, ``p_value`` (conditional
        moments of Sokal, Oden & Thomson 1998, two-sided), ``p_permutation`` (one-sided, as esda
        gives it), ``quadrant``, ``cluster`` (the quadrant where significant, else "not
        significant").

    Raises
    ------
    DataError
        Missing cells, a constant variable.
    MissingDependencyError
        ``esda`` is not installed.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> found = sa.esda.local_moran(panel, "logc", W, permutations=99)
    >>> found.loc[("Utah", 1992), "quadrant"]
    'LL'
    """
    esda = _esda()

    def statistic(x: NDArray, w: Any, seed: int) -> dict[str, NDArray]:
        found = esda.Moran_Local(
            x,
            w,
            transformation="o",
            permutations=permutations,
            seed=seed,
            n_jobs=1,
            keep_simulations=False,
        )
        value = found.Is * (x.size / (x.size - 1.0))
        z = (value - found.EIc) / np.sqrt(found.VIc)
        out = {
            "I": value,
            "expected": found.EIc,
            "variance": found.VIc,
            "z": z,
            "p_value": 2.0 * ndtr(-np.abs(z)),
        }
        if permutations:
            out["p_permutation"] = found.p_sim
        out["quadrant"] = np.array([QUADRANTS[q] for q in found.q], dtype=object)
        return out

    frame = _by_period(
        data, variable, W, statistic, permutations, seed, alpha, correction, missing, ids
    )
    frame["cluster"] = frame["quadrant"].where(frame.pop("significant"), NOT_SIGNIFICANT)
    frame.loc[frame["I"].isna(), ["quadrant", "cluster"]] = None
    return frame


def local_geary(
    data: Any,
    variable: Any,
    W: Any,
    *,
    permutations: int = 999,
    seed: int | np.random.Generator | None = 0,
    alpha: float = 0.05,
    correction: str = "none",
    missing: str = "raise",
    ids: Hashable | None = None,
) -> pd.DataFrame:
    """Return local Geary's C of every unit in every period (Anselin 2019).

    ``C_i = sum_j w_ij (z_i - z_j)^2`` with z standardised: small where a unit is like its
    neighbours.

    Parameters
    ----------
    data, variable, W, permutations, seed, alpha, correction, missing, ids
        As for :func:`local_moran`; ``esda.Geary_Local`` is used, with rows standardised.

    Returns
    -------
    DataFrame
        Index (entity, time): ``C``, ``expected`` (given the unit's own value), ``p_permutation``,
        ``cluster`` ("similar", "dissimilar" or "not significant").

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> sa.esda.local_geary(panel, "logc", W, permutations=99).shape
    (1380, 4)
    """
    esda = _esda()
    _needs_permutations(permutations)

    def statistic(x: NDArray, w: Any, seed: int) -> dict[str, NDArray]:
        found = esda.Geary_Local(
            connectivity=w, permutations=permutations, n_jobs=1, drop_islands=False
        ).fit(x)
        z2 = (x - x.mean()) ** 2 / x.var()
        return {
            "C": np.asarray(found.localG),
            "expected": x.size * (1.0 + z2) / (x.size - 1.0),
            "p_permutation": np.asarray(found.p_sim),
        }

    frame = _by_period(
        data, variable, W, statistic, permutations, seed, alpha, correction, missing, ids
    )
    low = (frame["C"] < frame["expected"]).to_numpy()
    kind = pd.Series(np.where(low, "similar", "dissimilar"), index=frame.index)
    frame["cluster"] = kind.where(frame.pop("significant"), NOT_SIGNIFICANT)
    frame.loc[frame["C"].isna(), "cluster"] = None
    return frame


def local_g(
    data: Any,
    variable: Any,
    W: Any,
    *,
    star: bool = True,
    permutations: int = 999,
    seed: int | np.random.Generator | None = 0,
    alpha: float = 0.05,
    correction: str = "none",
    missing: str = "raise",
    ids: Hashable | None = None,
) -> pd.DataFrame:
    """Return the local Gi* (or Gi) of every unit in every period (Ord & Getis 1995).

    Hot spots (high values around a unit) and cold spots. Gi* counts the unit itself, with the
    largest weight of its neighbours; Gi does not.

    Parameters
    ----------
    star : bool
        Whether the unit itself counts.
    data, variable, W, permutations, seed, alpha, correction, missing, ids
        As for :func:`local_moran`; ``esda.G_Local`` is used, with rows standardised.

    Returns
    -------
    DataFrame
        Index (entity, time): ``G``, ``z``, ``p_value`` (two-sided, analytical),
        ``p_permutation``, ``cluster`` ("hot", "cold" or "not significant").

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> sa.esda.local_g(panel, "sales", W, permutations=99).shape
    (1380, 5)
    """
    esda = _esda()

    def statistic(x: NDArray, w: Any, seed: int) -> dict[str, NDArray]:
        found = esda.G_Local(
            x,
            w,
            transform="R",
            star=star,
            permutations=permutations,
            seed=seed,
            n_jobs=1,
            keep_simulations=False,
        )
        out = {
            "G": np.asarray(found.Gs),
            "z": np.asarray(found.Zs),
            "p_value": 2.0 * ndtr(-np.abs(np.asarray(found.Zs))),
        }
        if permutations:
            out["p_permutation"] = np.asarray(found.p_sim)
        return out

    frame = _by_period(
        data, variable, W, statistic, permutations, seed, alpha, correction, missing, ids
    )
    kind = pd.Series(np.where(frame["z"] > 0, "hot", "cold"), index=frame.index)
    frame["cluster"] = kind.where(frame.pop("significant"), NOT_SIGNIFICANT)
    frame.loc[frame["G"].isna(), "cluster"] = None
    return frame


def transitions(local: pd.DataFrame, *, column: str = "quadrant") -> pd.DataFrame:
    """Count how units move between quadrants from one period to the next.

    Parameters
    ----------
    local : DataFrame
        Of :func:`local_moran`.
    column : {"quadrant", "cluster"}
        "cluster" counts what is not significant as a state of its own.

    Returns
    -------
    DataFrame
        Rows: state in a period; columns: state in the next; counts over all pairs of
        consecutive periods. Divide by the row sums for shares.

    Raises
    ------
    DataError
        A single period, or a table without the column.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> moves = transitions(sa.esda.local_moran(panel, "logc", W, permutations=0))
    >>> int(moves.to_numpy().sum()) == 46 * 29
    True
    """
    check_option("column", column, ("quadrant", "cluster"))
    check_made(local, "assign", "sa.esda.local_moran")
    if column not in local.columns:
        raise DataError(f"The table has no column {column!r}: is it from local_moran?")
    wide = local[column].unstack(level=0)
    if len(wide) < 2:
        raise DataError("Transitions need at least two periods; there is one.")
    states = list(QUADRANTS.values()) + ([NOT_SIGNIFICANT] if column == "cluster" else [])
    before, after = wide.iloc[:-1].to_numpy().ravel(), wide.iloc[1:].to_numpy().ravel()
    known = pd.notna(before) & pd.notna(after)
    counts = pd.crosstab(
        pd.Categorical(before[known], states),
        pd.Categorical(after[known], states),
        dropna=False,
    )
    return counts.rename_axis(index="from", columns="to")


def _by_period(
    data: Any,
    variable: Any,
    W: Any,
    statistic: Callable[[NDArray, Any, int], dict[str, NDArray]],
    permutations: int,
    seed: int | np.random.Generator | None,
    alpha: float,
    correction: str,
    missing: str,
    ids: Hashable | None,
) -> pd.DataFrame:
    """Run a local statistic on every period; mark what is significant."""
    from tqdm import tqdm

    check_option("correction", correction, CORRECTIONS)
    check_permutations(permutations)
    if not 0.0 < alpha < 1.0:
        raise OptionError(f"alpha={alpha!r} must lie between 0 and 1, for example 0.05.")
    panel = as_panel(data, ids)
    weights = aligned(W, panel)
    found = collect(panel, variable, missing)
    if len(found) != 1:
        raise DataError(f"One variable is needed; got {len(found)}.")
    series = found[0]
    number = int(generator(seed).integers(2**31 - 1))
    matrices: dict[int, Any] = {}
    columns: dict[str, NDArray] = {}
    significant = np.zeros(panel.shape, dtype=bool)
    periods = np.flatnonzero(series.usable)
    for t in tqdm(periods, desc="periods", disable=len(periods) < LONG_RUN, leave=False):
        matrix = _of_period(weights, panel.times[t])
        if id(matrix) not in matrices:
            with warnings.catch_warnings(), redirect_stdout(StringIO()):
                warnings.simplefilter("ignore")
                matrices[id(matrix)] = matrix.to_libpysal().to_W()
        with warnings.catch_warnings(), _numpy_state(number):
            warnings.simplefilter("ignore")
            with redirect_stdout(StringIO()):  # libpysal prints the names of isolates
                values = statistic(series.x[t].copy(), matrices[id(matrix)], number)
        if "p_permutation" in values:  # esda counts in single precision
            count = np.round(values["p_permutation"].astype(float) * (permutations + 1))
            values["p_permutation"] = count / (permutations + 1)
        lonely = panel.entities.isin(matrix.isolates)
        for name, found_row in values.items():
            row = found_row.astype(object if found_row.dtype == object else float)
            row[lonely] = np.nan
            full = columns.setdefault(name, np.full(panel.shape, np.nan, dtype=row.dtype))
            full[t] = row
        p = values["p_permutation"] if "p_permutation" in values else values["p_value"]
        p = np.where(lonely, np.nan, p)
        significant[t] = (adjusted(p, "fdr") if correction == "fdr" else p) <= alpha
    if not columns:
        raise DataError(f"{series.name!r} cannot be used in any period: {series.reasons[0]}.")
    frame = pd.DataFrame({name: full.ravel() for name, full in columns.items()})
    frame["significant"] = significant.ravel()
    return frame.set_axis(panel.frame.index, axis=0)


def _of_period(W: SpatialWeights | PanelWeights, period: Hashable) -> SpatialWeights:
    return W if isinstance(W, SpatialWeights) else W[period]


@contextmanager
def _numpy_state(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, which esda draws from, and put it back afterwards."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _needs_permutations(permutations: int) -> None:
    if permutations < 1:
        raise OptionError(
            "This statistic has no analytical p value: permutations must be 1 or more."
        )


def _esda() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import esda
    except ImportError as error:
        raise MissingDependencyError(
            "Local statistics need the library esda: pip install esda."
        ) from error
    return esda
