"""Direct, indirect and total effects of a change in a regressor.

======================  ====================================================================
`impacts`               average effects, with delta, simulated or bootstrap errors
`Impacts`               what it returns: tables, and tests on effects
`partition`             the same by order of neighbours
`marginal_effects`      of variables in squares, interactions and categories, at stated values
`impacts_by_unit`       what every unit keeps, receives and sends
`aggregate`             what one group of units sends to another
`impact_matrix`         from every unit to every unit
======================  ====================================================================
"""

from spatial_agglo.impacts.effects import Impacts, impacts
from spatial_agglo.impacts.marginal import marginal_effects
from spatial_agglo.impacts.orders import partition
from spatial_agglo.impacts.regions import aggregate
from spatial_agglo.impacts.units import impact_matrix, impacts_by_unit

__all__ = [
    "Impacts",
    "aggregate",
    "impact_matrix",
    "impacts",
    "impacts_by_unit",
    "marginal_effects",
    "partition",
]
