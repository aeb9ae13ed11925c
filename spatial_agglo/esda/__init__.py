"""Exploratory spatial data analysis by period."""

from spatial_agglo.esda.moran import moran

__all__ = ["moran"]
