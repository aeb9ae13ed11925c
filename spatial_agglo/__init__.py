"""Spatial econometrics of panels: weights, tests, estimators and spillovers."""

from spatial_agglo import agglomeration, datasets, errors, esda, report, study, weights
from spatial_agglo.diagnostics import (
    Choice,
    bsk_tests,
    cd_test,
    choose_model,
    directed_tests,
    effects_f_tests,
    effects_tests,
    hausman,
    lattice_tests,
    lm_tests,
    lr_test,
    lr_tests,
    model_probabilities,
    residual_moran,
    score_test,
    wald_test,
    wald_tests,
)
from spatial_agglo.diagnostics.diagnose import Diagnosis, diagnose
from spatial_agglo.impacts import (
    Impacts,
    aggregate,
    impact_matrix,
    impacts,
    impacts_by_unit,
    marginal_effects,
    partition,
)
from spatial_agglo.models.covariances import Bootstrap, Clustered, Conley, DriscollKraay
from spatial_agglo.models.estimators import gns, ols, sac, sar, sdem, sdm, sem, slx
from spatial_agglo.models.gmm import stsls
from spatial_agglo.models.results import FitResult
from spatial_agglo.panel import Panel
from spatial_agglo.robustness import (
    GroupFits,
    Regimes,
    Sensitivity,
    by_group,
    regimes,
    sensitivity,
)
from spatial_agglo.simulate import Simulation, simulate
from spatial_agglo.weights import SpatialWeights

__version__ = "0.1.0"

__all__ = [
    "Bootstrap",
    "Choice",
    "Clustered",
    "Conley",
    "Diagnosis",
    "DriscollKraay",
    "FitResult",
    "GroupFits",
    "Impacts",
    "Panel",
    "Regimes",
    "Sensitivity",
    "Simulation",
    "SpatialWeights",
    "agglomeration",
    "aggregate",
    "bsk_tests",
    "by_group",
    "cd_test",
    "choose_model",
    "datasets",
    "diagnose",
    "directed_tests",
    "effects_f_tests",
    "effects_tests",
    "errors",
    "esda",
    "gns",
    "hausman",
    "impact_matrix",
    "impacts",
    "impacts_by_unit",
    "lattice_tests",
    "lm_tests",
    "lr_test",
    "lr_tests",
    "marginal_effects",
    "model_probabilities",
    "ols",
    "partition",
    "regimes",
    "report",
    "residual_moran",
    "sac",
    "sar",
    "score_test",
    "sdem",
    "sdm",
    "sem",
    "sensitivity",
    "simulate",
    "slx",
    "stsls",
    "study",
    "wald_test",
    "wald_tests",
    "weights",
]
