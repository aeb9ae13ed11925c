"""Direct, indirect and total effects of a change in a regressor."""

from spatial_agglo.impacts.effects import Impacts, impacts

__all__ = ["Impacts", "impacts"]
