"""Spatial weights: labels and a sparse matrix that cannot be parted."""

from spatial_agglo.weights.formats import read
from spatial_agglo.weights.geographic import contiguity, great_circle, inverse_distance
from spatial_agglo.weights.matrix import SpatialWeights, as_weights

__all__ = [
    "SpatialWeights",
    "as_weights",
    "contiguity",
    "great_circle",
    "inverse_distance",
    "read",
]
