"""Does it hold elsewhere: other weights, models, samples, groups.

======================  ====================================================================
`sensitivity`           impacts over many W, models, effects and samples, side by side
`Sensitivity`           what it returns: a frame, a table, a forest plot
`by_group`              a fit for every group, W cut to each; tests of the difference
`GroupFits`             what it returns
`regimes`               one model with coefficients by group; tests that they are equal
`Regimes`               what it returns
======================  ====================================================================
"""

from spatial_agglo.robustness.regimes import Regimes, regimes
from spatial_agglo.robustness.sensitivity import Sensitivity, sensitivity
from spatial_agglo.robustness.subsamples import GroupFits, by_group

__all__ = ["GroupFits", "Regimes", "Sensitivity", "by_group", "regimes", "sensitivity"]
