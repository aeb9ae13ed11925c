"""Measures of agglomeration from employment counts, and composite indices of indicators.

=====================================  ==========================================================
`Employment`                           counts by unit, period and industry, checked once
`location_quotient`                    of a place and sector (also called Hoover index)
`coagglomeration`                      synergy of two sectors in a place
`krugman_specialisation`               of a place against the nation
`herfindahl_specialisation`            of a place over industries
`herfindahl_concentration`             of a sector over places
`hoover_localisation`                  of a sector: Hoover's coefficient
`spatial_gini`                         of a sector
`theil`, `theil_decomposition`         of a sector; between and within groups of places
`ellison_glaeser`                      of a sector, beyond what large plants explain
`ellison_glaeser_coagglomeration`      of two or more sectors, in full or simplified
`plant_herfindahl`                     sizes of plants, for `ellison_glaeser`
`composite_index`                      indicators to a score by entropy weights
`pca_index`                            indicators to a score by principal components
`CompositeIndex`                       what these two return
`interpolate`                          gaps by a straight line, reporting what was filled
`ConstantIndicatorWarning`             an indicator that gets weight 0
=====================================  ==========================================================
"""

from spatial_agglo.agglomeration.composite import composite_index
from spatial_agglo.agglomeration.concentration import (
    herfindahl_concentration,
    hoover_localisation,
    spatial_gini,
    theil,
    theil_decomposition,
)
from spatial_agglo.agglomeration.ellison_glaeser import (
    ellison_glaeser,
    ellison_glaeser_coagglomeration,
    plant_herfindahl,
)
from spatial_agglo.agglomeration.employment import Employment
from spatial_agglo.agglomeration.gaps import Interpolation, interpolate
from spatial_agglo.agglomeration.index import CompositeIndex
from spatial_agglo.agglomeration.indicators import ConstantIndicatorWarning, DirectionWarning
from spatial_agglo.agglomeration.location import (
    coagglomeration,
    herfindahl_specialisation,
    krugman_specialisation,
    location_quotient,
)
from spatial_agglo.agglomeration.principal import pca_index

__all__ = [
    "CompositeIndex",
    "ConstantIndicatorWarning",
    "DirectionWarning",
    "Employment",
    "Interpolation",
    "coagglomeration",
    "composite_index",
    "ellison_glaeser",
    "ellison_glaeser_coagglomeration",
    "herfindahl_concentration",
    "herfindahl_specialisation",
    "hoover_localisation",
    "interpolate",
    "krugman_specialisation",
    "location_quotient",
    "pca_index",
    "plant_herfindahl",
    "spatial_gini",
    "theil",
    "theil_decomposition",
]
