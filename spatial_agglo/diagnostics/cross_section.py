"""Dependence between units: Pesaran's CD test and its local version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import chdtr, gammaln, ndtr

from spatial_agglo.core.random import generator
from spatial_agglo.core.within import Projector, removes_time, within
from spatial_agglo.diagnostics.remaining import remaining
from spatial_agglo.diagnostics.table import About, described, normal_row
from spatial_agglo.errors import DataError, OptionError, check_option
from spatial_agglo.models.fitting import fit
from spatial_agglo.models.results import FitResult
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.weighting import Weighting
from spatial_agglo.models.workspace import ADJUSTED_UNITS, Workspace
from spatial_agglo.panel import Panel
from spatial_agglo.weights.matrix import SpatialWeights, as_weights

#: Periods that two units must share before their correlation says anything.
SHARED = 3
#: Columns of the correlation matrix that are made at once.
BLOCK = 1_000
#: Up to this many units the estimation of rho and lambda matters to CD of all pairs.
FEW_UNITS = 500


def cd_test(
    formula: str | FitResult,
    panel: Panel | None = None,
    W: Any = None,
    *,
    effects: str = "two-way",
    likelihood: str = "transformed",
    reference: str = "auto",
    permutations: int = 999,
    seed: int | np.random.Generator | None = 0,
) -> pd.DataFrame:
    """Test whether the residuals of different units are correlated (Pesaran 2004).

    With ``r_ij`` the correlation of the residuals of units i and j over the ``T_ij`` periods that
    both have, and P the number of pairs::

        Pesaran CD    P^(-1/2) sum over all pairs of sqrt(T_ij) r_ij
        local CD      the same over the pairs that W links, in either direction

    Without cross-section dependence both are standard normal, when there are many pairs.

    Parameters
    ----------
    formula : str or FitResult
        A formula is estimated by OLS first; a fit brings its own panel and effects.
    panel : Panel
        With a formula.
    W : SpatialWeights, libpysal Graph or W, or square labelled DataFrame, optional
        Which units are neighbours; of a fit, its own W by default. Without one there is no
        local CD.
    effects, likelihood : str
        With a formula, as for the estimators.
    reference : {"auto", "normal", "adjusted", "permutation"}
        Where p values come from. "normal": as published. "adjusted": with the variance that the
        sum has without dependence, the mean of ``T_ij/(T_ij - 1)`` (correlations over few periods
        vary more than 1/T); normal for the local CD, and for CD, which is the square of a sum over
        units in each of T - 1 directions, chi-squared with T - 1 df. "permutation": every unit's
        periods are shuffled by themselves, and the effects taken out again. Residuals of a model
        with period effects sum to zero in every period, so their correlations are -1/(N - 1) on
        average, and CD is far from normal without any dependence (Juodis & Reese 2022). "auto" is
        "permutation" with period effects and on panels with gaps (where "adjusted" rejects CD 7%
        of the time), "adjusted" otherwise; both take errors independent over time.
    permutations, seed
        For "permutation".

    Returns
    -------
    DataFrame
        Rows "Pesaran CD" and, with W, "local CD"; columns ``statistic``, ``df`` (none),
        ``p_value`` (two-sided). ``.attrs["tests"]`` has the null, the distribution and the
        source of every row.

    Raises
    ------
    DataError
        No two units share three periods, or a unit's residuals do not vary.
    OptionError
        A formula without a panel, or a fit with options of its own.

    Notes
    -----
    Pairs with fewer than three common periods are left out; how many is in the attrs. rho and
    lambda have taken a part of the dependence along the links out of the residuals. "adjusted"
    and "permutation" know: they multiply the variance by what is left of it, as far as it is
    that of ``sum_ij v_i'v_j``, after these have been estimated (see
    :func:`spatial_agglo.residual_moran`). Without that the local CD of an sdm would never reject.
    Of several orders of neighbours, CD(p), give the links up to the p-th order as W.

    References
    ----------
    Pesaran (2004, 2021); Moscone & Tosetti (2009) for the local version; Juodis & Reese (2022).

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> cd_test("logc ~ logp + logy", panel, W, effects="entity").round(1)
                statistic    df  p_value
    test
    Pesaran CD       42.8  <NA>      0.0
    local CD         24.0  <NA>      0.0
    """
    check_option("reference", reference, ("auto", "normal", "adjusted", "permutation"))
    found, weights = _resolved(formula, panel, W, effects, likelihood)
    spec, cells = found.spec, found.workspace.data.cells
    links = None if weights is None else _links(weights)
    pairs = Pairs.of(found.resid, cells, links)
    if reference == "auto":
        regular = cells.all() and not removes_time(spec.fixed)
        reference = "adjusted" if regular else "permutation"
    rows = [normal_row(name, value) for name, value in pairs.statistics.items()]
    table = pd.concat(rows)
    distributions = ["standard normal"] * len(table)
    own = 1.0 / (pairs.variances["Pesaran CD"] - 1.0)  # T - 1
    shares = _shares(found, weights, own) if reference != "normal" else [1.0] * len(table)
    if reference == "adjusted":
        z = table["statistic"].to_numpy() / np.sqrt(list(pairs.variances.values()))
        z = z / np.sqrt(shares[: len(z)])
        table["p_value"] = 2.0 * ndtr(-np.abs(z))
        below = float(chdtr(own, max(own + np.sqrt(2.0 * own) * z[0], 0.0)))
        table.iloc[0, table.columns.get_loc("p_value")] = 2.0 * min(below, 1.0 - below)
        variance = "mean T_ij/(T_ij - 1)"
        distributions = [
            f"chi-squared of {own:.4g} df, mean 0 and variance {variance}",
            f"normal of mean 0 and variance {variance}",
        ]
    if reference == "permutation":
        if permutations < 1:
            raise OptionError(f"permutations={permutations!r} must be at least 1.")
        drawn = _permuted(found, links, permutations, generator(seed))
        expected = drawn.mean(axis=0)
        spread = np.abs(drawn - expected) * np.sqrt(shares[: len(table)])
        far = spread >= np.abs(table["statistic"].to_numpy() - expected)
        table["p_value"] = (1.0 + far.sum(axis=0)) / (permutations + 1.0)
        distributions = [f"{permutations} permutations of periods within units"] * len(table)
    distributions = [
        text + (f", variance times {share:.3g} for rho and lambda" if share < 0.9995 else "")
        for text, share in zip(distributions, shares, strict=False)
    ]
    about = {
        "Pesaran CD": About(
            "no correlation between the errors of different units",
            distributions[0],
            "Pesaran (2004, 2021)",
        ),
        "local CD": About(
            "no correlation between the errors of neighbours",
            distributions[-1],
            "Pesaran (2004); Moscone & Tosetti (2009)",
        ),
    }
    table = described(table, {name: about[name] for name in table.index})
    if pairs.left_out:
        table.attrs["pairs_left_out"] = pairs.left_out
    return table


@dataclass(frozen=True)
class Pairs:
    """CD statistics of residuals, their variances, and how many pairs had too few periods."""

    statistics: dict[str, float]
    variances: dict[str, float]
    left_out: int

    @classmethod
    def of(cls, e: NDArray, cells: NDArray, links: sparse.csc_array | None) -> Pairs:
        """Add up the correlations of residuals of shape (T, N), every pair twice."""
        T, N = e.shape
        add = _complete if cells.all() and T >= SHARED else _with_gaps
        totals, counts, spread = add(e, cells, links)
        if not counts[0] or (links is not None and not counts[1]):
            raise DataError(
                f"No two units {'that are linked ' if counts[0] else ''}are observed in {SHARED} "
                "common periods, so their residuals have no correlation."
            )
        if np.isnan(totals).any():
            raise DataError(
                "The residuals of a unit do not vary over the periods that it shares with "
                "another: their correlation is not defined. Leave the unit out."
            )
        names = ["Pesaran CD", "local CD"]
        statistics, variances = (
            dict(zip(names, values.tolist(), strict=False))
            for values in (totals / np.sqrt(2.0 * counts), spread / counts)
        )
        return cls(statistics, variances, (N * (N - 1) - int(counts[0])) // 2)


def _complete(e: NDArray, cells: NDArray, links: sparse.csc_array | None) -> tuple[NDArray, ...]:
    """Return the sums of ``sqrt(T) r_ij``, how many, and the sums of their variances."""
    T, N = e.shape
    Z = e - e.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        Z = Z / np.sqrt((Z * Z).sum(axis=0))
    totals, counts = [float((Z.sum(axis=1) ** 2).sum()) - N], [N * (N - 1)]
    if links is not None:
        totals.append(float((Z.T * (links @ Z.T)).sum()))
        counts.append(links.nnz)
    n = np.array(counts)
    return np.sqrt(T) * np.array(totals), n, n * (T / (T - 1.0))


def _with_gaps(e: NDArray, cells: NDArray, links: sparse.csc_array | None) -> tuple[NDArray, ...]:
    """Return the same where every pair has its own common periods, by blocks of units."""
    N = e.shape[1]
    m = cells.astype(float)
    e = e * m
    kinds = 1 if links is None else 2
    totals, counts, spread = np.zeros(kinds), np.zeros(kinds, dtype=int), np.zeros(kinds)
    for start in range(0, N, BLOCK):
        block = slice(start, min(start + BLOCK, N))
        shared = m.T @ m[:, block]
        n = np.maximum(shared, 1.0)
        own, other = e.T @ m[:, block], m.T @ e[:, block]
        cross = e.T @ e[:, block] - own * other / n
        product = (e * e).T @ m[:, block] - own**2 / n
        product *= m.T @ (e * e)[:, block] - other**2 / n
        kept = shared >= SHARED
        kept[np.arange(block.start, block.stop), np.arange(kept.shape[1])] = False
        r = np.where(product > 0.0, cross / np.sqrt(np.maximum(product, 1e-300)), np.nan)
        weighted = np.where(kept, np.sqrt(shared) * r, 0.0)
        variance = np.where(kept, shared / np.maximum(shared - 1.0, 1.0), 0.0)
        every: Any = [(slice(None), slice(None))]
        if links is not None:
            every.append(links[:, block].nonzero())
        for kind, chosen in enumerate(every):
            totals[kind] += weighted[chosen].sum()
            counts[kind] += int(kept[chosen].sum())
            spread[kind] += variance[chosen].sum()
    return totals, counts, spread


def _permuted(
    found: FitResult, links: sparse.csc_array | None, draws: int, rng: np.random.Generator
) -> NDArray:
    """Return the statistics of residuals whose periods were shuffled unit by unit."""
    e, cells = found.resid, found.workspace.data.cells
    projector = None if cells.all() else Projector.of(cells, found.spec.fixed)
    out = []
    for _ in range(draws):
        # observed cells first, in random order, and back to where cells are observed
        order = np.argsort(np.where(cells, rng.random(e.shape), 2.0), axis=0)
        shuffled = np.zeros_like(e)
        places = np.argsort(~cells, axis=0, kind="stable")
        np.put_along_axis(shuffled, places, np.take_along_axis(e, order, axis=0), axis=0)
        if projector is None:
            shuffled = within(shuffled, found.spec.fixed)
        else:
            shuffled = projector.apply(shuffled)
        out.append(list(Pairs.of(shuffled, cells, links).statistics.values()))
    return np.array(out)


def _shares(found: FitResult, weights: SpatialWeights | None, df: float) -> list[float]:
    """Return what rho and lambda leave of the variance of CD and of the local CD.

    They take it from sums of ``v_i'v_j``, whose squared correlation with the sums of correlations
    is ``E[s]^4/E[s^2]^2``, s the standard deviation of df normal numbers.
    """
    space, spec = found.workspace, found.spec
    N = space.data.panel.N
    known = spec.spatial and not (space.irregular and N > ADJUSTED_UNITS)
    shares = [1.0, 1.0]
    if not known:
        return shares
    ids = space.data.panel.entities
    common = (2.0 / df * np.exp(2.0 * (gammaln(0.5 * (df + 1.0)) - gammaln(0.5 * df)))) ** 2
    tested: list[sparse.csc_array | None] = [None, None if weights is None else _links(weights)]
    if N <= FEW_UNITS and not removes_time(spec.fixed):  # of order 1/N; nothing with their means
        tested[0] = sparse.csc_array(np.ones((N, N)) - np.eye(N))
    for place, links in enumerate(tested):
        if links is None:
            continue
        V = SpatialWeights.from_sparse(sparse.csr_array(links), ids, isolates="allow")
        left = remaining(found, Weighting.of(V, space.data))
        if left is not None:
            shares[place] = 1.0 - common * (1.0 - left.variance / left.raw)
    return shares


def _resolved(
    formula: str | FitResult, panel: Panel | None, W: Any, effects: str, likelihood: str
) -> tuple[FitResult, SpatialWeights | None]:
    """Return the fit, and the weights that say who is linked: those given, or the model's own."""
    if not isinstance(formula, FitResult):
        if panel is None:
            raise OptionError("With a formula, cd_test needs the panel as well.")
        spec = ModelSpec.of("ols", effects=effects, likelihood=likelihood)
        found = fit(spec, Workspace.of(formula, panel, None))
        return found, None if W is None else as_weights(W).align(panel.entities)
    if panel is not None or (effects, likelihood) != ("two-way", "transformed"):
        raise OptionError(
            "A fit brings its own panel, effects and likelihood: cd_test(fit), or "
            "cd_test(fit, W=...) for other neighbours."
        )
    data, own = formula.workspace.data, formula.workspace.weights
    if W is not None:
        return formula, as_weights(W).align(data.panel.entities)
    if own is None:
        return formula, None
    if not isinstance(own.source, SpatialWeights):
        raise OptionError(
            "The local CD test needs one W for all periods, and these weights change over time: "
            "give the links as W=..., one period's weights for example."
        )
    return formula, own.source


def _links(weights: SpatialWeights) -> sparse.csc_array:
    """Return who is linked with whom, in either direction, without the diagonal."""
    linked = weights.matrix != 0
    both = sparse.csc_array((linked + linked.T).astype(float))
    both.setdiag(0.0)
    both.eliminate_zeros()
    return both
