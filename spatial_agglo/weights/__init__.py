"""Spatial weights: labels and a sparse matrix that cannot be parted."""

from spatial_agglo.weights.algebra import convex, hadamard, higher_order, power, union_nearest
from spatial_agglo.weights.describe import WeightsSummary, compare, summary
from spatial_agglo.weights.distances import (
    Distances,
    distances,
    given_distances,
    great_circle,
)
from spatial_agglo.weights.economic import economic_distance, levels
from spatial_agglo.weights.formats import read, write
from spatial_agglo.weights.geographic import (
    contiguity,
    distance_band,
    exponential_distance,
    inverse_distance,
    kernel,
    knn,
)
from spatial_agglo.weights.matrix import SpatialWeights, as_weights
from spatial_agglo.weights.nested import nested
from spatial_agglo.weights.networks import flows, from_edges, groups
from spatial_agglo.weights.panel_weights import PanelWeights

__all__ = [
    "Distances",
    "PanelWeights",
    "SpatialWeights",
    "WeightsSummary",
    "as_weights",
    "compare",
    "contiguity",
    "convex",
    "distance_band",
    "distances",
    "economic_distance",
    "exponential_distance",
    "flows",
    "from_edges",
    "given_distances",
    "great_circle",
    "groups",
    "hadamard",
    "higher_order",
    "inverse_distance",
    "kernel",
    "knn",
    "levels",
    "nested",
    "power",
    "read",
    "summary",
    "union_nearest",
    "write",
]
