"""The study of provinces: descriptives, fixed effects, instruments, sub-samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from spatial_agglo.datasets.provinces_published import DIMENSIONS, INDICATORS, MOMENTS
from spatial_agglo.diagnostics import hausman
from spatial_agglo.mechanisms.iv import fe2sls
from spatial_agglo.models.estimators import ols
from spatial_agglo.models.results import FitResult
from spatial_agglo.panel import Panel
from spatial_agglo.report.composite_figure import composite_over_time
from spatial_agglo.report.descriptives import descriptives_table
from spatial_agglo.report.fitted_scatter import fitted_scatter
from spatial_agglo.report.regression_tables import regression_table
from spatial_agglo.report.table import Table
from spatial_agglo.robustness import by_group
from spatial_agglo.study import layouts
from spatial_agglo.study.paper import Picture
from spatial_agglo.study.provinces_data import FIRST_CENTERS, FORMULA, NAMES, RIGHT, Derived, Part


def described(found: Derived, synthetic: bool) -> Part:
    """Yield weights of the indicators, descriptives, and what is printed of them."""
    labels = {item.column: item.label for item in INDICATORS}
    title = "Evaluation indicator system for advanced manufacturing"
    yield "2", layouts.indicator_table(found.index, labels, DIMENSIONS, title)
    table = descriptives_table(
        found.panel, list(NAMES), statistics=("N", "mean", "sd", "min", "max")
    )
    body = table.body.rename(columns={"N": "Obs", "SD": "Sd"})
    body.insert(0, "Variables", list(NAMES))
    body.index = pd.Index(NAMES.values(), name="Variable names")
    yield "3", replace(table, title="Descriptive statistics of the variables", body=body)
    if synthetic:
        said = (
            "printed: table 3 of the paper. The outcome, its dimensions and the mediator come from "
            "equations and meet the printed moments as far as these allow; the printed tables 2 "
            "and 3 cannot both come from one pooled entropy computation (see the notes of "
            "datasets.provinces). All else is calibrated to the printed moments."
        )
        title = "Moments printed in the paper and those of the data at hand"
        yield "S1", layouts.compared_table(found.frame, MOMENTS, title, said)
    yield Picture(
        "2",
        "Development level of advanced manufacturing in the ten leading provinces.",
        lambda ax: composite_over_time(found.index, top=10, ax=ax).set_ylabel("ami"),
        (5.0, 3.4),
    )


def baseline(found: Derived) -> Part:
    """Yield fixed effects, instruments, other measures, dimensions and sub-samples."""
    yield "baseline, instruments, robustness"
    panel, frame = found.panel, found.frame
    base = _ols(FORMULA, panel)
    test = hausman(FORMULA, panel, model="ols", effects="two-way")
    yield (
        "S2",
        layouts.of_tests(
            test,
            "Random against fixed effects of provinces",
            ["Null: effects of provinces do not depend on the regressors; fixed effects of years."],
        ),
    )
    lagged = panel.lag("coagglo")
    late = Panel(frame[frame["year"] >= FIRST_CENTERS], entity="province", time="year")
    columns = {
        "Baseline regression": base,
        "IV": fe2sls(FORMULA, lagged, endogenous=["coagglo"], instruments=["coagglo_lag1"]),
        "Replace X": _ols(f"ami ~ EG + {RIGHT}", panel),
        "Replace Y": _ols(f"centers ~ coagglo + {RIGHT}", late),
    }
    table = table_of(
        columns,
        "Baseline regression and robustness testing",
        first_stages=True,
        labels={"coagglo_lag1": "L.coagglo"},
    )
    extra = (
        "EG: the province's contribution to the simplified Ellison-Glaeser index of the nation, "
        "times 100. centers: national manufacturing innovation centres, "
        f"{FIRST_CENTERS}-{panel.times[-1]}."
    )
    yield (
        "4",
        replace(table.led_by(["coagglo", "EG", "L.coagglo"]), notes=(*table.notes, extra)),
    )
    yield (
        "5",
        table_of(
            {
                f"({k})": _ols(f"{g} ~ coagglo + {RIGHT}", panel)
                for k, g in enumerate(DIMENSIONS, 1)
            },
            "Subdivision advanced manufacturing evaluation indicators",
        ),
    )
    place = frame.drop_duplicates("province").set_index("province")
    regions = {
        name: list(place.index[place["region"] == name])
        for name in ("East", "Central", "West", "Northeast")
    }
    clusters = {
        name: list(place.index[place["clusters"] == has])
        for name, has in (("Clusters", True), ("No clusters", False))
    }
    fits: dict[str, FitResult] = {}
    for groups in (regions, clusters):
        fits |= by_group(
            ols, FORMULA, panel, groups=groups, effects="two-way", cov="clustered"
        ).fits
    yield "6", table_of(fits, "Heterogeneity analysis")
    yield Picture(
        "3",
        "Industrial synergy agglomeration and the development of advanced manufacturing.",
        lambda ax: fitted_scatter(base, "coagglo", partial=False, ax=ax),
    )
    yield Picture(
        "S1",
        "The same, effects and controls removed.",
        lambda ax: fitted_scatter(base, "coagglo", ax=ax),
    )


def table_of(fits: dict[str, FitResult], title: str, **options: Any) -> Table:
    """Lay regressions out as the paper does: standard errors below, a constant, three decimals."""
    return regression_table(
        fits, parentheses="se", decimals=3, constant=True, title=title, **options
    )


def _ols(formula: str, panel: Panel) -> FitResult:
    return ols(formula, panel, effects="two-way", cov="clustered")
