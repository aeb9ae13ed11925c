"""Tests that choose a model: each is a function, each result a table."""

from spatial_agglo.core.marginal import Beta as BetaPrior
from spatial_agglo.diagnostics.choose import Choice, choose_model
from spatial_agglo.diagnostics.cross_section import cd_test
from spatial_agglo.diagnostics.dependence import residual_moran
from spatial_agglo.diagnostics.directed import directed_tests, score_test
from spatial_agglo.diagnostics.fixed_effects import effects_f_tests
from spatial_agglo.diagnostics.hausman import hausman
from spatial_agglo.diagnostics.lattice import lattice_tests, lr_test, wald_test
from spatial_agglo.diagnostics.likelihood_ratio import effects_tests, lr_tests
from spatial_agglo.diagnostics.lm import lm_tests
from spatial_agglo.diagnostics.posterior import model_probabilities
from spatial_agglo.diagnostics.random_effects import bsk_tests
from spatial_agglo.diagnostics.wald import wald_tests

__all__ = [
    "BetaPrior",
    "Choice",
    "bsk_tests",
    "cd_test",
    "choose_model",
    "directed_tests",
    "effects_f_tests",
    "effects_tests",
    "hausman",
    "lattice_tests",
    "lm_tests",
    "lr_test",
    "lr_tests",
    "model_probabilities",
    "residual_moran",
    "score_test",
    "wald_test",
    "wald_tests",
]
