"""Regressions, instruments and mechanisms: how one variable acts on another.

=====================  ==================================================================
`stepwise`             a panel regression with controls added step by step
`side_by_side`         fits of any kind in one table
`fe2sls`               instruments under fixed effects, with the tests of their strength
`critical_values`      of Stock & Yogo, for weak instruments
`mediation`            direct and indirect effects, by bootstrap of entities
`moderated_mediation`  the same where a moderator changes the paths
`spatial_mediation`    the same inside a spatial Durbin model: own and neighbours' parts
=====================  ==================================================================
"""

from spatial_agglo.mechanisms.anderson_rubin import ConfidenceSet
from spatial_agglo.mechanisms.conditional import ModeratedMediation
from spatial_agglo.mechanisms.critical_values import critical_values
from spatial_agglo.mechanisms.iv import IVResult, fe2sls
from spatial_agglo.mechanisms.mediation import Mediation, mediation
from spatial_agglo.mechanisms.moderated import moderated_mediation
from spatial_agglo.mechanisms.regressions import Regressions, side_by_side, stepwise
from spatial_agglo.mechanisms.spatial import SpatialMediation, spatial_mediation

__all__ = [
    "ConfidenceSet",
    "IVResult",
    "Mediation",
    "ModeratedMediation",
    "Regressions",
    "SpatialMediation",
    "critical_values",
    "fe2sls",
    "mediation",
    "moderated_mediation",
    "side_by_side",
    "spatial_mediation",
    "stepwise",
]
