"""Small panels, real and synthetic, maps and points of units, ready-made weights; provenance.

=====================  ==================================================================
`cigarettes`           cigarette demand, 45 US states and DC, 1963-1992, 1,380 rows
`us_production`        output and inputs of 48 US states, 1970-1986, 816 rows
`us_states`            polygons of the units of either study
`china_capitals`       coordinates of the capitals of 31 provinces of China
`synthetic_gdp`        a made-up level for each of these provinces: synthetic, not data
`provinces`            31 provinces, 2003-2021, of Yin & Su's study: synthetic, not data
`cities`               270 cities, 2008-2022, of Wang, Shi & Zhang's study: synthetic, not data
`synthetic_process`    the true coefficients of these two
`weights`              ready-made weights: contiguity, distance, nearest, nested
`ready_made`           the table of the ready-made weights
=====================  ==================================================================

Every call returns a fresh object. US states go by full name in ``state`` and by two-letter
postal code in ``code``, Chinese provinces by ``province`` and ``code``; the columns hold the
same labels in data, map and weights. Where the numbers come from, their licences and what was
changed is in ``data/SOURCES.md`` beside this module.
"""

from spatial_agglo.datasets.catalogue import ready_made, ready_made_path, weights
from spatial_agglo.datasets.china import china_capitals, synthetic_gdp
from spatial_agglo.datasets.maps import us_states
from spatial_agglo.datasets.panels import cigarettes, us_production
from spatial_agglo.datasets.synthetic_cities import cities
from spatial_agglo.datasets.synthetic_provinces import provinces
from spatial_agglo.datasets.truth import synthetic_process

__all__ = [
    "china_capitals",
    "cigarettes",
    "cities",
    "provinces",
    "ready_made",
    "ready_made_path",
    "synthetic_gdp",
    "synthetic_process",
    "us_production",
    "us_states",
    "weights",
]
