"""Every table of Yin & Su (2024): from employment counts to mechanisms and spillovers."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pandas as pd

from spatial_agglo import datasets
from spatial_agglo.report.table import Table
from spatial_agglo.study import provinces_mechanisms, provinces_regressions
from spatial_agglo.study.paper import Paper, Picture
from spatial_agglo.study.provinces_data import SOURCE, derive

_LOG = logging.getLogger(__name__)


def run_provinces(
    data: pd.DataFrame | None = None,
    *,
    draws: int = 2000,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Paper:
    """Make every table of Yin & Su (2024), by default from synthetic data.

    Location quotients and co-agglomeration from counts; the entropy-weighted index of 21
    indicators; two-way fixed effects, FE-2SLS, other measures and sub-samples; mediation and
    moderated mediation with a bootstrap by province; Moran's I, tests of the spatial model, the
    SDM with its spillovers; and mediation within the SDM, which the paper leaves for later work.

    Parameters
    ----------
    data : DataFrame, optional
        With the columns of :func:`spatial_agglo.datasets.provinces`, which it is by default. Of
        data that are not marked as synthetic (in ``attrs``) no table says so.
    draws : int
        Resamples of the bootstraps, and draws of the intervals of spatial effects.
    seed : int
    progress : function of a line of text, optional
        Told what is done next.

    Returns
    -------
    Paper
        Tables "2" to "11" as numbered in the paper, "S1", ... what it gives in words or lacks.

    Raises
    ------
    DataError
        Columns are missing.
    SpatialAggloError
        What the estimators raise.

    References
    ----------
    Yin, H. & Su, W. (2024), Economies 12:117.

    Examples
    --------
    >>> from spatial_agglo.study import run_provinces
    >>> paper = run_provinces(draws=50)  # doctest: +SKIP
    >>> paper.save("provinces")  # doctest: +SKIP
    """
    raw = datasets.provinces() if data is None else data
    say = progress or (lambda _: None)
    made: dict[str, Table] = {}
    pictures: list[Picture] = []
    note = str(raw.attrs.get("description", "")) if raw.attrs.get("synthetic") else ""
    say("indices and weights")
    found = derive(raw)
    parts = (
        provinces_regressions.described(found, bool(note)),
        provinces_regressions.baseline(found),
        provinces_mechanisms.mechanisms(found, draws, seed),
        provinces_mechanisms.spatial(found, draws, seed),
    )
    for part in parts:
        for item in part:
            if isinstance(item, str):
                _LOG.info("provinces: %s", item)
                say(item)
            elif isinstance(item, Picture):
                pictures.append(item)
            else:
                made[item[0]] = item[1]
    return Paper(
        name="provinces",
        title="Industrial synergy agglomeration and advanced manufacturing in 31 provinces",
        source=SOURCE,
        note=note,
        tables={number: made[number] for number in sorted(made, key=_place)},
        pictures=tuple(sorted(pictures, key=lambda picture: _place(picture.number))),
        absent=(
            "Table 1 is a review of the literature, figure 1 a diagram of the argument.",
            "Tables and figures S1, S2, ... are what the paper says in its text, or more.",
        ),
    )


def _place(number: str) -> tuple[bool, int]:
    return number.startswith("S"), int(number.lstrip("S"))
