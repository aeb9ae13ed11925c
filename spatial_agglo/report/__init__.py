"""From results to text, LaTeX, HTML and pictures. No statistics here.

==========================  ===================================================================
`summary`                   one fit, as text
`results_table`             one or more fits, as papers lay them out
`selection_table`           the tests that choose a model, and the verdict
`moran_table`               Moran's I by period
`sdm_table`                 a spatial Durbin model, a row per regressor
`regression_table`          regressions column by column, with tests of instruments
`descriptives_table`        means, spreads and ranges
`equations_table`           the equations of a mediation
`mediation_table`           direct and indirect effects with their intervals
`conditional_table`         the same at values of a moderator
`spatial_mediation_table`   own and neighbours' parts
`fitted_scatter`            a variable against another, effects removed, with the line
`simple_slopes`             an effect at low, mean and high moderator
`conditional_plot`          an effect over the range of a moderator
`decision_table`            the path that led to a model, as a table
`decision_tree`             the same as a picture
`Table`                     what these return: to text, CSV, LaTeX, HTML
`moran_scatter`             a variable against its spatial lag
`moran_over_time`           Moran's I by period, as a picture
`moran_scatters`            the same for several periods
`cluster_map`               clusters and outliers of a local statistic
`significance_map`          its p values
`impacts_plot`              direct, indirect and total effects with their intervals
`links_map`                 the links of W on a map
`heat_map`                  W as a picture of its cells
`cardinality_histogram`     how many units have how many neighbours
`map_effects`               effects by unit on a map
`profile_plot`              a profile likelihood with its interval
`save`                      a picture as PNG and SVG
==========================  ===================================================================
"""

from spatial_agglo.errors import OutputError
from spatial_agglo.report.composite_figure import composite_over_time, composite_ranking
from spatial_agglo.report.decision_figure import decision_table, decision_tree
from spatial_agglo.report.descriptives import descriptives_table
from spatial_agglo.report.durbin_table import sdm_table
from spatial_agglo.report.effects_map import map_effects
from spatial_agglo.report.esda_figures import cluster_map, moran_scatters, significance_map
from spatial_agglo.report.figures import impacts_plot, moran_over_time, moran_scatter, save
from spatial_agglo.report.fitted_scatter import fitted_scatter
from spatial_agglo.report.forest import forest_plot
from spatial_agglo.report.mechanisms_tables import (
    conditional_table,
    equations_table,
    mediation_table,
    spatial_mediation_table,
)
from spatial_agglo.report.profile_figure import profile_plot
from spatial_agglo.report.regression_tables import regression_table
from spatial_agglo.report.robustness_tables import (
    groups_table,
    regimes_table,
    sensitivity_table,
)
from spatial_agglo.report.simple_slopes import conditional_plot, simple_slopes
from spatial_agglo.report.table import Table
from spatial_agglo.report.tables import moran_table, results_table, selection_table, summary
from spatial_agglo.report.weights_figures import cardinality_histogram, heat_map, links_map

__all__ = [
    "OutputError",
    "Table",
    "cardinality_histogram",
    "cluster_map",
    "composite_over_time",
    "composite_ranking",
    "conditional_plot",
    "conditional_table",
    "decision_table",
    "decision_tree",
    "descriptives_table",
    "equations_table",
    "fitted_scatter",
    "forest_plot",
    "groups_table",
    "heat_map",
    "impacts_plot",
    "links_map",
    "map_effects",
    "mediation_table",
    "moran_over_time",
    "moran_scatter",
    "moran_scatters",
    "moran_table",
    "profile_plot",
    "regimes_table",
    "regression_table",
    "results_table",
    "save",
    "sdm_table",
    "selection_table",
    "sensitivity_table",
    "significance_map",
    "simple_slopes",
    "spatial_mediation_table",
    "summary",
]
