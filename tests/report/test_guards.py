"""What is no result of the package is refused by every table and picture, in words."""

import inspect

import pandas as pd
import pytest

import spatial_agglo as sa

MADE = [
    name
    for name in sa.report.__all__
    if not inspect.isclass(getattr(sa.report, name)) and callable(getattr(sa.report, name))
]


def call(function, bad, panel, W):
    """Call a function with something wrong in the first place, and right things after it."""
    known = {"panel": panel, "W": W, "weights": W, "geometry": sa.datasets.us_states()}
    required = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    rest = {name: known.get(name, "logc") for name in required[1:]}
    return function(**{required[0]: bad}, **rest)


@pytest.mark.parametrize("bad", [None, 3, "text", pd.Series([1.0])], ids=repr)
@pytest.mark.parametrize("name", MADE)
def test_what_is_no_result(name, bad, cigarettes, queen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(sa.errors.SpatialAggloError):
        call(getattr(sa.report, name), bad, cigarettes, queen)


def test_the_words(cigarettes):
    with pytest.raises(sa.errors.OptionError, match=r"What sa\.choose_model.* got NoneType"):
        sa.report.selection_table(None)
    with pytest.raises(sa.errors.OptionError, match=r"What sa\.sdm.* got Panel"):
        sa.report.results_table({"(1)": cigarettes})
    with pytest.raises(sa.errors.OptionError, match=r"fit, are needed; got int|\{name: fit\}"):
        sa.report.equations_table(3, "Mediation")
    with pytest.raises(sa.errors.OptionError, match="ax must be matplotlib Axes; got int"):
        sa.report.moran_over_time(
            sa.esda.moran(
                cigarettes, "logc", sa.datasets.weights("cigarettes_queen").standardize("row")
            ),
            ax=3,
        )
