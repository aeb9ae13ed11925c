"""What the study of provinces is about: names, formula, and what follows from the raw columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from spatial_agglo.agglomeration import (
    CompositeIndex,
    Employment,
    coagglomeration,
    composite_index,
    ellison_glaeser_coagglomeration,
)
from spatial_agglo.datasets.provinces_published import DIMENSIONS, INDICATORS
from spatial_agglo.datasets.synthetic_provinces import SERVICES
from spatial_agglo.errors import DataError, listing
from spatial_agglo.panel import Panel
from spatial_agglo.report.table import Table
from spatial_agglo.study.paper import Picture
from spatial_agglo.weights import SpatialWeights, distances, economic_distance, nested

SOURCE = (
    "Yin, H. & Su, W. (2024), Industrial synergy agglomeration, urban innovation capacity, and "
    "advanced manufacturing development, Economies 12:117"
)
CONTROLS = ("pdgp", "fdi", "hcl", "gov", "inv", "str", "inf")
RIGHT = " + ".join(CONTROLS)
FORMULA = f"ami ~ coagglo + {RIGHT}"
NAMES = {
    "ami": "Advanced Manufacturing Industry",
    "amt": "Advanced Manufacturing Technology",
    "amm": "Advanced Manufacturing Management",
    "amw": "Advanced Manufacturing Workforce",
    "gam": "Green Advanced Manufacturing",
    "ame": "Advanced Manufacturing Efficiency",
    "coagglo": "Industrial Synergy Agglomeration",
    "pdgp": "Economic Development",
    "fdi": "Foreign Direct Investment",
    "hcl": "Human Capital Level",
    "gov": "Government Support Intensity",
    "inv": "Fixed Investment Level",
    "str": "Industrial Structure",
    "inf": "Informatization Level",
    "uic": "Urban Innovation Capacity",
    "mi": "Manufacturing Intelligence",
    "icc": "International Capacity Cooperation",
}
MODERATORS = {"mi": "manufacturing intelligence", "icc": "international capacity cooperation"}
#: Since when national innovation centres are counted.
FIRST_CENTERS = 2016

#: What the parts of the study yield: what is done next, pictures, and tables by number.
Part = Iterator["str | Picture | tuple[str, Table]"]


@dataclass(frozen=True, eq=False)
class Derived:
    """What follows from the raw columns by the package's own measures.

    Attributes
    ----------
    frame : DataFrame
        The data with ``coagglo``, ``EG``, ``ami`` and its five dimensions.
    panel : Panel
    index : CompositeIndex
    W : SpatialWeights
        Nested: half inverse distance, half inverse difference in product per head, of the first
        year.
    W_economic : SpatialWeights
        By product per head alone.
    """

    frame: pd.DataFrame
    panel: Panel
    index: CompositeIndex
    W: SpatialWeights
    W_economic: SpatialWeights


def derive(data: pd.DataFrame) -> Derived:
    """Compute indices, outcome and weights from the raw columns.

    Parameters
    ----------
    data : DataFrame
        With the columns of :func:`spatial_agglo.datasets.provinces`.

    Returns
    -------
    Derived

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> found = derive(datasets.provinces())
    >>> found.frame[["ami", "coagglo"]].mean().round(2).to_dict()
    {'ami': 32.96, 'coagglo': 3.99}
    """
    needed = ["province", "year", "region", "clusters", "longitude", "latitude", "employment"]
    needed += ["manufacturing", *SERVICES, *(item.column for item in INDICATORS)]
    needed += [*CONTROLS, "uic", *MODERATORS, "centers"]
    missing = [name for name in needed if name not in data.columns]
    if missing:
        raise DataError(
            f"The study of provinces needs columns {listing(missing, 50)}: see the table in "
            "datasets.provinces."
        )
    jobs = Employment.from_wide(
        data,
        industries=["manufacturing", *SERVICES],
        entity="province",
        time="year",
        total="employment",
        remainder="other",
    ).group({"producer services": list(SERVICES)})
    pair = ("manufacturing", "producer services")
    index = composite_index(
        data,
        positive=[item.column for item in INDICATORS if item.direction == "+"],
        negative=[item.column for item in INDICATORS if item.direction == "-"],
        groups={g: [i.column for i in INDICATORS if i.dimension == g] for g in DIMENSIONS},
        entity="province",
        time="year",
        score="standardised",
        name="ami",
    )
    frame = data.set_index(["province", "year"])
    frame = frame.join(coagglomeration(jobs, *pair).rename("coagglo"))
    EG = ellison_glaeser_coagglomeration(jobs, pair, method="devereux", contributions=True)
    frame = frame.join(100.0 * EG.rename("EG")).join(index.scores).join(index.dimensions)
    start = data["year"].min()
    base = frame.xs(start, level="year")
    d = distances(base, longitude="longitude", latitude="latitude")
    product = np.exp(base["pdgp"]).rename(f"product per head of {start}")
    W = nested(d, product, form="convex", share=0.5)
    frame = frame.reset_index()
    return Derived(
        frame=frame,
        panel=Panel(frame, entity="province", time="year"),
        index=index,
        W=W,  # type: ignore[arg-type]
        W_economic=economic_distance(product).standardize("row"),  # type: ignore[arg-type]
    )
