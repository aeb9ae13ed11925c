"""Seeded panels from every model of the family."""

from spatial_agglo.simulate.options import TAKEN
from spatial_agglo.simulate.simulation import MODELS, Simulation, simulate

__all__ = ["MODELS", "TAKEN", "Simulation", "simulate"]
