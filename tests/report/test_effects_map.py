"""The map of effects: what is drawn in which colour, and what is refused."""

import geopandas as gpd
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from shapely.geometry import Polygon

import spatial_agglo as sa
from spatial_agglo.errors import AlignmentError, DataError, OptionError, WeightsError
from spatial_agglo.impacts import impacts_by_unit
from spatial_agglo.report.effects_map import WORDS, map_effects
from spatial_agglo.report.style import PALE

FORMULA = "logc ~ logp + logy"


@pytest.fixture(scope="module")
def states():
    return sa.datasets.us_states()


@pytest.fixture(scope="module")
def by_state(cigarettes, queen):
    return impacts_by_unit(sa.sdm(FORMULA, cigarettes, queen), "logp")


def axes():
    return Figure().add_subplot()


def drawn(ax, states):
    """The colour in which each state was drawn, by label, from the shapes themselves."""
    found = {}
    points = dict(zip(states["state"], states.representative_point(), strict=True))
    for collection in ax.collections:
        colour = to_hex(collection.get_facecolor()[0])
        for path in collection.get_paths():
            for name, point in points.items():
                if path.contains_point((point.x, point.y)):
                    found[name] = colour
    return found


def classes(ax):
    """(low, high, count, colour) of the entries of the legend."""
    out = []
    for text, patch in zip(ax.get_legend().get_texts(), ax.get_legend().get_patches(), strict=True):
        words, _, count = text.get_text().rpartition(" (")
        ends = [float(end.replace("−", "-")) for end in words.split(" to ")]
        out.append((ends[0], ends[-1], int(count[:-1]), to_hex(patch.get_facecolor())))
    return out


def lightness(colour):
    return sum(to_rgb(colour))


@pytest.mark.parametrize("scheme", ["quantiles", "equal"])
@pytest.mark.parametrize("column", ["own", "received", "sent", "total_sent"])
def test_every_unit_is_in_the_class_of_its_value(by_state, states, column, scheme):
    shuffled = states.sample(frac=1.0, random_state=0)
    ax = map_effects(by_state, shuffled, ids="state", column=column, scheme=scheme, ax=axes())
    found, legend = drawn(ax, states), classes(ax)
    assert set(found) == set(by_state.index)
    assert sum(count for _, _, count, _ in legend) == 46
    step = 10.0 ** -len(ax.get_legend().get_texts()[0].get_text().split(" to ")[0].split(".")[1])
    for name, value in by_state[column].items():
        low, high, _, _ = next(entry for entry in legend if entry[3] == found[name])
        assert low - step <= value <= high + step
    for _, _, count, colour in legend:
        assert sum(other == colour for other in found.values()) == count
    if scheme == "quantiles":
        assert max(c for _, _, c, _ in legend) - min(c for _, _, c, _ in legend) <= 1


def test_darker_is_farther_from_zero(by_state, states):
    effects = by_state.assign(sent=by_state["sent"] + 0.2)  # of both signs
    ax = map_effects(effects, states, ids="state", classes=6, ax=axes())
    legend = classes(ax)
    below = [entry for entry in legend if entry[1] <= 0]
    above = [entry for entry in legend if entry[0] >= 0]
    assert len(below) + len(above) == len(legend) == 6
    assert sum(entry[2] for entry in below) == (effects["sent"] < 0).sum()
    dark = [lightness(colour) for *_, colour in below]
    assert dark == sorted(dark)
    dark = [lightness(colour) for *_, colour in above]
    assert dark == sorted(dark, reverse=True)
    for *_, colour in below:
        red, _, blue = to_rgb(colour)
        assert blue > red
    for *_, colour in above:
        red, _, blue = to_rgb(colour)
        assert red > blue


def test_zeros_and_missing_values_stand_apart(by_state, states):
    effects = by_state.copy()
    effects.loc["Texas", "sent"] = 0.0
    effects.loc["Ohio", "sent"] = np.nan
    ax = map_effects(effects, states, ids="state", ax=axes())
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "No value (1)" in texts
    assert sum(text.startswith("0.0") and text.endswith("(1)") for text in texts) == 1
    counts = [int(text.rpartition("(")[2][:-1]) for text in texts]
    assert sum(counts) == 46
    hatched = [patch for patch in ax.get_legend().get_patches() if patch.get_hatch()]
    assert len(hatched) == 1


def test_one_value_is_one_class(by_state, states):
    """Row-standardised weights: every state receives as much in total."""
    ax = map_effects(by_state, states, ids="state", column="total_received", ax=axes())
    (text,) = ax.get_legend().get_texts()
    assert text.get_text() == f"{by_state['total_received'].iloc[0]:.2f} (46)".replace("-", "−")
    assert len(set(drawn(ax, states).values())) == 1


def test_labels_and_titles(by_state, states):
    for column, words in WORDS.items():
        ax = map_effects(by_state, states, ids="state", column=column, ax=axes())
        assert ax.get_legend().get_title().get_text() == words
    ax = map_effects(by_state, states.set_index("state"), label="Price", ax=axes())
    assert ax.get_legend().get_title().get_text() == "Price"
    ax = map_effects(by_state, states.set_index("state").geometry, ax=axes())
    assert len(drawn(ax, states)) == 46


def test_points(cigarettes):
    capitals = sa.datasets.china_capitals()
    points = gpd.GeoDataFrame(
        capitals[["province"]],
        geometry=gpd.points_from_xy(capitals["longitude"], capitals["latitude"]),
        crs=4326,
    )
    values = np.random.default_rng(0).gamma(2.0, size=len(capitals))
    effects = pd.DataFrame({"received": values}, index=pd.Index(capitals["province"]))
    ax = map_effects(effects, points, ids="province", column="received", ax=axes())
    offsets = np.concatenate([c.get_offsets() for c in ax.collections])
    assert len(offsets) == len(capitals)
    counts = [int(t.get_text().rpartition("(")[2][:-1]) for t in ax.get_legend().get_texts()]
    assert [len(c.get_offsets()) for c in ax.collections] == counts
    high = capitals.loc[values.argmax(), ["longitude", "latitude"]].to_numpy(dtype=float)
    darkest = min(ax.collections, key=lambda c: lightness(to_hex(c.get_facecolor()[0])))
    assert (np.asarray(darkest.get_offsets()) == high).all(axis=1).any()


def test_a_figure_of_its_own(by_state, states):
    ax = map_effects(by_state, states, ids="state")
    width, height = ax.figure.get_size_inches()
    assert width == pytest.approx(3.4)
    assert height < 4.0
    ax.figure.canvas.draw()
    legend = ax.get_legend()
    for part in (*legend.get_texts(), *legend.get_patches(), legend.get_title()):
        box = part.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= ax.figure.bbox.x1
        assert 0 <= box.y0 < box.y1 <= ax.figure.bbox.y1
    plt.close(ax.figure)


def test_what_is_refused(by_state, states):
    with pytest.raises(DataError, match="no column 'spillover'; it has 'own'"):
        map_effects(by_state, states, ids="state", column="spillover")
    with pytest.raises(DataError, match="no column 'sent'"):
        map_effects(by_state["sent"], states, ids="state")
    with pytest.raises(DataError, match="GeoDataFrame or GeoSeries"):
        map_effects(by_state, by_state)
    with pytest.raises(DataError, match="No unit has a value"):
        map_effects(by_state * np.nan, states, ids="state")
    with pytest.raises(AlignmentError, match="'Ohio'"):
        map_effects(by_state, states[states["state"] != "Ohio"], ids="state")
    with pytest.raises(WeightsError, match="no column 'name'"):
        map_effects(by_state, states, ids="name")
    with pytest.raises(OptionError, match="'quantiles', 'equal'"):
        map_effects(by_state, states, ids="state", scheme="jenks")
    for wrong in (0, 10, 2.5, True):
        with pytest.raises(OptionError, match="from 1 to 9"):
            map_effects(by_state, states, ids="state", classes=wrong)
    mixed = by_state.assign(sent=by_state["sent"] + 0.2)
    with pytest.raises(OptionError, match="both signs"):
        map_effects(mixed, states, ids="state", classes=1)
    for wrong in (3, ["x"]):
        with pytest.raises(OptionError, match="label must be a text"):
            map_effects(by_state, states, ids="state", label=wrong)
    with pytest.raises(DataError, match=r"no column \['sent'\]"):
        map_effects(by_state, states, ids="state", column=["sent"])
    with pytest.raises(DataError, match="'sent' are not numbers"):
        map_effects(by_state.assign(sent="much"), states, ids="state")
    with pytest.raises(DataError, match="several columns 'sent'"):
        map_effects(pd.concat([by_state, by_state], axis=1), states, ids="state")
    infinite = by_state["sent"].where(by_state.index != "Ohio", -np.inf)
    with pytest.raises(DataError, match="infinite: 'Ohio'"):
        map_effects(by_state.assign(sent=infinite), states, ids="state")
    for shape in (None, Polygon()):
        shapes = states.set_index("state").geometry
        lost = gpd.GeoSeries({**shapes, "Ohio": shape}, crs=states.crs)
        with pytest.raises(DataError, match="1 unit.*no shape on the map: 'Ohio'"):
            map_effects(by_state, lost)


def test_units_of_the_map_without_effects_are_grey(by_state, states):
    some = by_state.drop(["Ohio", "Texas"])
    ax = map_effects(some, states, ids="state", ax=axes())
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[-1] == "No data (2)"
    found = drawn(ax, states)
    assert found["Ohio"] == found["Texas"] == to_hex(PALE)
    assert sum(colour == to_hex(PALE) for colour in found.values()) == 2
    alone = drawn(
        map_effects(some, states[states["state"].isin(some.index)], ids="state", ax=axes()), states
    )
    assert {name: found[name] for name in alone} == alone


@pytest.mark.parametrize(("power", "written"), [(-15, "⁻¹⁵"), (-6, "⁻⁶"), (9, "⁹")])
def test_very_small_and_large_effects_can_be_read(by_state, states, power, written):
    """The legend is that of effects near one, times a power of ten."""
    sent = by_state["sent"] / by_state["sent"].abs().max() * -9.0
    plain = map_effects(by_state.assign(sent=sent), states, ids="state", ax=axes())
    scaled = by_state.assign(sent=sent * 10.0**power)
    ax = map_effects(scaled, states, ids="state", label="Effect", ax=axes())
    assert ax.get_legend().get_title().get_text() == f"Effect (×10{written})"
    ends = [(low, high) for low, high, *_ in classes(ax)]
    assert ends == [(low, high) for low, high, *_ in classes(plain)]
    assert len(set(ends)) == 5


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_many_equal_values_do_not_hide_the_others(by_state, states, sign):
    def counts(values, **options):
        effects = by_state.assign(sent=sign * np.asarray(values, dtype=float))
        ax = map_effects(effects, states, ids="state", ax=axes(), **options)
        return [(min(map(abs, part[:2])), part[2]) for part in classes(ax)][:: int(sign)]

    assert counts([1] * 40 + [3] * 6) == [(1, 40), (3, 6)]
    assert counts([1] * 6 + [3] * 40) == [(1, 6), (3, 40)]
    assert counts([1] * 40 + [3] * 4 + [5] * 2, classes=9) == [(1, 40), (3, 4), (5, 2)]
    ties = counts([1] * 40 + [2, 3, 4, 5, 6, 7])
    assert ties[0] == (1, 40)
    assert sum(count for _, count in ties) == 46
    assert len(ties) == 5
    assert counts([1, 2, 3, 4, 5, 6] + [7] * 40)[-1] == (7, 40)
