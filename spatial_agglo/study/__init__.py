"""A whole study: from one declaration, or every table of a published paper.

=====================  ==================================================================
`Study`                what a study is: data, weights and a model, declared once
`run`                  carries it out: Moran's I, choice of a model, estimates, impacts
`StudyResult`          what `run` returns: tables, pictures, a report
`cigarettes`           the declaration of the demand for cigarettes in US states
`run_provinces`        the tables of Yin & Su (2024), from counts to spillovers
`run_cities`           the tables of Wang, Shi & Zhang (2025)
`Paper`                what these two return: numbered tables and pictures, written to files
=====================  ==================================================================
"""

from spatial_agglo.study.cities import run_cities
from spatial_agglo.study.declared import COLUMNS, Study, StudyResult, cigarettes, run
from spatial_agglo.study.paper import Paper
from spatial_agglo.study.provinces import run_provinces

__all__ = [
    "COLUMNS",
    "Paper",
    "Study",
    "StudyResult",
    "cigarettes",
    "run",
    "run_cities",
    "run_provinces",
]
