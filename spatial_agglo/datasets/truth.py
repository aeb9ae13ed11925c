"""The coefficients that the synthetic panels were made with."""

from __future__ import annotations

import pandas as pd

from spatial_agglo.datasets import cities_process, provinces_process
from spatial_agglo.errors import check_option

STUDIES = ("provinces", "cities")


def synthetic_process(study: str) -> pd.Series:
    """Return the true coefficients of `provinces` or `cities`, for holding estimates against.

    Parameters
    ----------
    study : {"provinces", "cities"}

    Returns
    -------
    Series
        On (equation, term). ``W*x`` is a spatial lag, ``x:z`` a product. Of provinces, the
        moderators ``mi`` and ``icc`` are standardised by their mean and standard deviation, and
        products are of ``coagglo`` less 3.99 or ``uic`` less 0.48 and a standardised moderator;
        ``sigma2`` is the variance of the errors where it is one number. Terms of the SDM that are
        not listed are zero.

    Raises
    ------
    OptionError
        Another study.

    Examples
    --------
    >>> from spatial_agglo import datasets
    >>> truth = datasets.synthetic_process("provinces")
    >>> truth["ami"][["rho", "coagglo", "W*coagglo"]].tolist()
    [0.3, 0.6, 1.0]
    """
    check_option("study", study, STUDIES)
    if study == "provinces":
        parts = {
            "uic": dict(provinces_process.MEDIATOR),
            "ami": {
                **provinces_process.OUTCOME,
                "rho": provinces_process.RHO,
                "sigma2": provinces_process.SIGMA**2,
            },
        }
    else:
        parts = {**cities_process.MEDIATORS, "agg": dict(cities_process.OUTCOME)}
    rows = {(eq, term): value for eq, terms in parts.items() for term, value in terms.items()}
    out = pd.Series(rows, name="coefficient")
    return out.rename_axis(["equation", "term"])
