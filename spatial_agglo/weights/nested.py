"""Nested economic-geographic weights: six forms that go by one name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from spatial_agglo.errors import (
    AlignmentError,
    OptionError,
    WeightsError,
    check_option,
    listing,
)
from spatial_agglo.weights.algebra import convex
from spatial_agglo.weights.distances import Distances
from spatial_agglo.weights.economic import economic_distance, single_level
from spatial_agglo.weights.geographic import inverse_distance, positive
from spatial_agglo.weights.matrix import SpatialWeights, as_weights
from spatial_agglo.weights.panel_weights import PanelWeights

SIMILAR, RICH = "similar neighbours weigh more", "rich neighbours weigh more"
FORMS = {
    "product": ("w_ij = g_ij / |Y_i - Y_j|", SIMILAR),
    "convex": ("w_ij = phi g_ij + (1 - phi) e_ij, both row-standardised", SIMILAR),
    "scaled": ("w_ij = g_ij Y_j / mean(Y)", RICH),
    "contiguity": ("w_ij = c_ij / |Y_i - Y_j|", SIMILAR),
    "gravity": ("w_ij = g_ij Y_i Y_j", RICH),
    "asymmetric": ("w_ij = g_ij Y_j / (Y_i + Y_j)", RICH),
}


def nested(
    geographic: Any,
    income: Any,
    *,
    form: str,
    power: float | None = None,
    share: float | None = None,
    ties: str | float = "error",
) -> SpatialWeights | PanelWeights:
    """Combine geography and economy into one matrix; the form must be named.

    ============  ===============================================  ==================
    form          weights                                          who weighs more
    ============  ===============================================  ==================
    product       ``g_ij / |Y_i - Y_j|``                           similar neighbours
    convex        ``share g_ij + (1 - share) e_ij``                similar neighbours
    scaled        ``g_ij Y_j / mean(Y)`` (Li, Tan & Bai 2010)      rich neighbours
    contiguity    ``c_ij / |Y_i - Y_j|`` (Lin, Long & Wu 2005)     similar neighbours
    gravity       ``g_ij Y_i Y_j``                                 rich neighbours
    asymmetric    ``g_ij Y_j / (Y_i + Y_j)``                       rich neighbours
    ============  ===============================================  ==================

    ``g_ij = d_ij**-power``, ``e_ij = 1/|Y_i - Y_j|``, ``c_ij`` contiguity. "Similar" and "rich"
    are opposite ideas. The parts of the convex form are row-standardised before they are mixed
    (a raw mix of 1/km and 1/yuan is one of the two in disguise); of the other forms the result
    is to be standardised, and standardising the parts first would change nothing.

    Parameters
    ----------
    geographic : Distances, GeoDataFrame or SpatialWeights
        Distances (or a GeoDataFrame, or :func:`given_distances`) for ``d_ij``; or weights to be
        used as ``g_ij``. "contiguity" needs weights.
    income : Series, DataFrame of one column, or mapping of period to either
        Levels by unit, such as ``levels(panel, "gdp", window=...)``. A mapping (window="yearly")
        gives one W per period.
    form : {"product", "convex", "scaled", "contiguity", "gravity", "asymmetric"}
    power : float, optional
        Exponent of distance: 1 by default, 2 for "gravity". Only with distances.
    share : float, optional
        Weight of geography in the convex form, required there and nowhere else.
    ties : {"error", "cap"} or float
        For pairs with the same level; see :func:`economic_distance`.

    Returns
    -------
    SpatialWeights, or PanelWeights for a mapping
        ``formula`` and ``meaning`` are for table notes. Row-standardised for "convex", else not.

    Raises
    ------
    OptionError
        An unknown form, options that the form does not have.
    AlignmentError
        Geography and income hold different units.
    DataError, WeightsError
        Levels that are missing or not positive; ties; no coordinates.

    Examples
    --------
    >>> import pandas as pd
    >>> towns = pd.DataFrame({"x": [0.0, 1.0, 3.0], "y": 0.0}, index=["a", "b", "c"])
    >>> gdp = pd.Series([1.0, 2.0, 4.0], index=["a", "b", "c"])
    >>> from spatial_agglo.weights import distances
    >>> d = distances(towns, x="x", y="y")
    >>> W = nested(d, gdp, form="product")
    >>> W.to_frame().loc["b"].tolist()
    [1.0, 0.0, 0.25]
    >>> W.meaning
    'similar neighbours weigh more'
    """
    check_option("form", form, FORMS)
    _check_options(form, geographic, power, share)
    if power is None:
        power = 2.0 if form == "gravity" else 1.0
    G = (
        as_weights(geographic)
        if _is_weights(geographic)
        else inverse_distance(geographic, power=power)
    )
    if isinstance(income, Mapping):
        return PanelWeights(
            {
                period: nested(G, level, form=form, share=share, ties=ties)
                for period, level in income.items()
            }
        )
    level = single_level(income)
    window = level.attrs.get("window", "as given")
    formula, meaning = FORMS[form]
    if form == "convex":
        assert share is not None
        mixed = convex(G, _static(economic_distance(level, ties=ties)), share=share)
        formula = formula.replace("(1 - phi)", f"{1 - share:g}").replace("phi", f"{share:g}")
        matrix, ids = mixed.matrix, mixed.ids
    else:
        ids = G.ids
        y = _aligned(level, ids)
        rows = np.repeat(np.arange(G.n), np.diff(G.matrix.indptr))
        own, other = y[rows], y[G.matrix.indices]
        if form in ("product", "contiguity"):
            factor = _inverse_gaps(own, other, ties, ids[rows], ids[G.matrix.indices])
        else:
            factor = {
                "scaled": other / y.mean(),
                "gravity": own * other,
                "asymmetric": other / (own + other),
            }[form]
        data = G.matrix.data * factor
        matrix = sparse.csr_array((data, G.matrix.indices, G.matrix.indptr), shape=G.matrix.shape)
    geography = G.formula.removeprefix("w_ij = ") or G.description
    symbol = "c_ij" if form == "contiguity" else "g_ij"
    return SpatialWeights(
        matrix,
        ids,
        description=f"nested ({form}) of {G.description} and {level.name} ({window})",
        formula=f"{formula}, {symbol} = {geography}",
        meaning=meaning,
        isolates=G.isolates_rule,
    )


def _check_options(form: str, geographic: Any, power: float | None, share: float | None) -> None:
    if (share is not None) != (form == "convex"):
        need = "needs share=... (the weight of geography)" if form == "convex" else "has no share"
        raise OptionError(f"form={form!r} {need}; got share={share!r}.")
    if power is not None:
        positive("power", power)
        if _is_weights(geographic):
            raise OptionError("power=... is for distances; the geographic weights are used as is.")
    if form == "contiguity" and not _is_weights(geographic):
        raise OptionError(
            "form='contiguity' needs contiguity weights, contiguity(...); got "
            f"{type(geographic).__name__}. With distances, use form='product'."
        )


def _is_weights(geographic: Any) -> bool:
    return isinstance(geographic, SpatialWeights) or (
        hasattr(geographic, "sparse") and not isinstance(geographic, (Distances, pd.DataFrame))
    )


def _aligned(level: pd.Series, ids: pd.Index) -> NDArray:
    """Return the levels in the order of the units; the same units are needed."""
    probe = set(level.index) ^ set(ids)
    if probe:
        raise AlignmentError(
            f"Geography and income must hold the same units; only one of them has {listing(probe)}."
        )
    return level.loc[ids].to_numpy(dtype=float)


def _inverse_gaps(
    own: NDArray, other: NDArray, ties: str | float, rows: pd.Index, columns: pd.Index
) -> NDArray:
    """Return ``1 / |Y_i - Y_j|`` on the links of the geography, with the rule for ties there."""
    gaps = np.abs(own - other)
    if not isinstance(ties, str):
        return np.asarray(1.0 / (gaps + positive("ties", ties)))
    check_option("ties", ties, ("error", "cap"))
    tied = gaps <= 1e-12 * max(1e-300, float(gaps.max(initial=0.0)))
    if not tied.any():
        return np.asarray(1.0 / gaps)
    if ties == "error":
        pairs = [(a, b) for a, b in zip(rows[tied], columns[tied], strict=True) if str(a) <= str(b)]
        raise WeightsError(
            f"{len(pairs)} pair(s) of linked units have the same level: {listing(pairs)}. Their "
            "weight would be infinite. State a rule: ties='cap' (the largest factor of the other "
            "links) or a number that is added to every distance."
        )
    if tied.all():
        raise WeightsError("All linked units have the same level: there is no economic distance.")
    return np.where(tied, 1.0 / gaps[~tied].min(), 1.0 / np.where(tied, 1.0, gaps))


def _static(W: SpatialWeights | PanelWeights) -> SpatialWeights:
    if isinstance(W, PanelWeights):
        raise WeightsError("One matrix is needed; got weights by period.")
    return W
