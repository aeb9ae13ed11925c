"""Exploratory spatial data analysis by period."""

from spatial_agglo.esda.autocorrelation import (
    geary,
    getis_ord,
    moran,
    moran_bivariate,
    pooled_moran,
)
from spatial_agglo.esda.local import local_g, local_geary, local_moran, transitions

__all__ = [
    "geary",
    "getis_ord",
    "local_g",
    "local_geary",
    "local_moran",
    "moran",
    "moran_bivariate",
    "pooled_moran",
    "transitions",
]
