from types import SimpleNamespace

import pytest

import spatial_agglo as sa

FORMULA = "logc ~ logp + logy"


@pytest.fixture(scope="session")
def study():
    """The cigarette study, estimated once: panel, W, choice, fits, impacts, moran."""
    panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    W = sa.datasets.weights("cigarettes_queen").standardize("row")
    choice = sa.choose_model(FORMULA, panel, W)
    return SimpleNamespace(
        panel=panel,
        W=W,
        choice=choice,
        fits={name.upper(): choice.fits[name] for name in ("ols", "sar", "sem", "sdm")},
        sdm=choice.fits["sdm"],
        impacts=choice.fits["sdm"].impacts(),
        moran=sa.esda.moran(panel, ["logc", "logp", "logy"], W),
    )
