"""Every table of Wang, Shi & Zhang (2025): digital technology and manufacturing agglomeration."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from spatial_agglo import datasets
from spatial_agglo.agglomeration import Employment, location_quotient
from spatial_agglo.datasets.cities_process import MOMENTS
from spatial_agglo.errors import DataError, listing
from spatial_agglo.mechanisms.mediation import mediation
from spatial_agglo.mechanisms.regressions import Regressions, stepwise
from spatial_agglo.models.estimators import ols
from spatial_agglo.models.results import FitResult
from spatial_agglo.panel import Panel
from spatial_agglo.report.descriptives import descriptives_table
from spatial_agglo.report.fitted_scatter import fitted_scatter
from spatial_agglo.report.regression_tables import regression_table
from spatial_agglo.report.table import Table
from spatial_agglo.study import layouts
from spatial_agglo.study.paper import Paper, Picture

_LOG = logging.getLogger(__name__)
SOURCE = (
    "Wang, R., Shi, H. & Zhang, X. (2025), How does digital technology innovation affect "
    "manufacturing industry agglomeration?, International Business & Economics Studies 7(2):175"
)
CONTROLS = ("manu", "serv", "pop", "edu")
RIGHT = " + ".join(CONTROLS)
MEDIATORS = ("tec", "inter")


def run_cities(
    data: pd.DataFrame | None = None,
    *,
    draws: int = 2000,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Paper:
    """Make every table of Wang, Shi & Zhang (2025), by default from synthetic data.

    The location quotient of manufacturing from counts, two-way fixed effects step by step, two
    mediators, the regressor lagged one to three years; and the bootstrap of the mediation, which
    the paper does not have.

    Parameters
    ----------
    data : DataFrame, optional
        With the columns of :func:`spatial_agglo.datasets.cities`, which it is by default. Of
        data that are not marked as synthetic (in ``attrs``) no table says so.
    draws : int
        Resamples of the bootstrap.
    seed : int
    progress : function of a line of text, optional
        Told what is done next.

    Returns
    -------
    Paper
        Tables "1" to "4" as numbered in the paper, and more.

    Raises
    ------
    DataError
        Columns are missing.

    References
    ----------
    Wang, R., Shi, H. & Zhang, X. (2025), International Business & Economics Studies 7(2):175.

    Examples
    --------
    >>> from spatial_agglo.study import run_cities
    >>> paper = run_cities(draws=50)
    >>> list(paper.tables)
    ['1', '2', '3', '4', 'S1', 'S2']
    """
    raw = datasets.cities() if data is None else data
    note = str(raw.attrs.get("description", "")) if raw.attrs.get("synthetic") else ""

    def say(what: str) -> None:
        _LOG.info("cities: %s", what)
        if progress is not None:
            progress(what)

    say("location quotients and fixed effects step by step")
    panel = derive(raw)
    tables = {"1": _descriptives(panel)}
    steps = stepwise("agg ~ digital", panel, CONTROLS, cov="robust")
    tables["2"] = _table(steps, "Benchmark regression results")
    say("mechanisms and lags")
    tables["3"] = _mechanisms(panel).led_by(["digital", *MEDIATORS])
    tables["4"] = _lags(panel)
    say("mediation, bootstrapped")
    found = mediation(
        f"agg ~ digital + {RIGHT}",
        panel,
        treatment="digital",
        mediators=MEDIATORS,
        draws=draws,
        seed=seed,
        progress=False,
    )
    tables["S1"] = layouts.bootstrap_table(found, "Bootstrap of both mediators together")
    if note:
        said = (
            "printed: table 1 of the paper; its maxima of manu and serv are above one, which no "
            "share can be."
        )
        title = "Moments printed in the paper and those of the data at hand"
        tables["S2"] = layouts.compared_table(panel.frame, MOMENTS, title, said)
    last = steps["(5)"]
    return Paper(
        name="cities",
        title="Digital technology innovation and manufacturing agglomeration in 270 cities",
        source=SOURCE,
        note=note,
        tables=tables,
        pictures=(
            Picture(
                "S1",
                "Manufacturing agglomeration and digital technology, effects and controls removed.",
                lambda ax: fitted_scatter(last, "digital", ax=ax),
            ),
        ),
        absent=("Tables and figures S1, S2 are more than the paper has.",),
    )


def derive(data: pd.DataFrame) -> Panel:
    """Return the panel with manufacturing agglomeration, ``agg``, from the counts.

    Parameters
    ----------
    data : DataFrame
        With the columns of :func:`spatial_agglo.datasets.cities`.

    Returns
    -------
    Panel

    Examples
    --------
    >>> round(float(derive(datasets.cities()).frame["agg"].mean()), 2)
    0.87
    """
    needed = ["city", "year", "employment", "manufacturing", "digital", *MEDIATORS, *CONTROLS]
    missing = [name for name in needed if name not in data.columns]
    if missing:
        raise DataError(
            f"The study of cities needs columns {listing(missing, 50)}: see the table in "
            "datasets.cities."
        )
    jobs = Employment.from_wide(
        data,
        industries=["manufacturing"],
        entity="city",
        time="year",
        total="employment",
        remainder="other",
    )
    frame = data.set_index(["city", "year"])
    frame = frame.join(location_quotient(jobs, "manufacturing").rename("agg"))
    return Panel(frame)


def _descriptives(panel: Panel) -> Table:
    names = ["agg", "digital", *CONTROLS]
    table = descriptives_table(panel, names)
    return replace(
        table,
        title="Descriptive statistical results of main variables",
        body=table.body.rename(columns={"P50": "p50"}),
    )


def _mechanisms(panel: Panel) -> Table:
    fits: dict[str, FitResult] = {}
    for name in MEDIATORS:
        fits[f"({len(fits) + 1})"] = _ols(f"{name} ~ digital + {RIGHT}", panel)
        fits[f"({len(fits) + 1})"] = _ols(f"agg ~ digital + {name} + {RIGHT}", panel)
    return _table(fits, "Mechanism test results", decimals=5)


def _lags(panel: Panel) -> Table:
    fits: dict[str, FitResult] = {}
    labels: dict[str, str] = {}
    for k in (1, 2, 3):
        name = f"digital_lag{k}"
        fits[f"({k})"] = _ols(f"agg ~ {name} + {RIGHT}", panel.lag("digital", k))
        labels[name] = "L.digital" if k == 1 else f"L{k}.digital"
    table = _table(fits, "Endogeneity test", labels=labels)
    return table.led_by(list(labels.values()))


def _ols(formula: str, panel: Panel) -> FitResult:
    return ols(formula, panel, effects="two-way", cov="robust")


def _table(
    found: Regressions | dict[str, FitResult],
    title: str,
    *,
    decimals: int = 4,
    labels: dict[str, str] | None = None,
) -> Table:
    """Lay regressions out as the paper does: t statistics below, a constant."""
    return regression_table(
        found, parentheses="t", decimals=decimals, constant=True, title=title, labels=labels
    )
