"""Tests that choose a model: each is a function, each result a table."""

from spatial_agglo.diagnostics.choose import Choice, choose_model
from spatial_agglo.diagnostics.dependence import residual_moran
from spatial_agglo.diagnostics.likelihood_ratio import effects_tests, lr_tests
from spatial_agglo.diagnostics.lm import lm_tests
from spatial_agglo.diagnostics.wald import wald_tests

__all__ = [
    "Choice",
    "choose_model",
    "effects_tests",
    "lm_tests",
    "lr_tests",
    "residual_moran",
    "wald_tests",
]
