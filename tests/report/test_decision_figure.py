"""The decision tree: what it says, and that it can be read."""

import itertools

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import spatial_agglo as sa
from spatial_agglo.errors import OptionError
from spatial_agglo.report.decision_figure import decision_size, decision_table, decision_tree

FORMULA = "logc ~ logp + logy"


@pytest.fixture(scope="module")
def paths(study):
    raw = sa.datasets.weights("cigarettes_inverse_distance")
    found = {
        strategy: sa.choose_model(FORMULA, study.panel, study.W, strategy=strategy).path
        for strategy in ("elhorst", "aic", "posterior")
    }
    found["not nested"] = sa.choose_model(FORMULA, study.panel, raw, effects="none").path
    found["no sem"] = sa.choose_model(FORMULA, study.panel, raw).path
    lag = sa.simulate("sar", study.W, 20, beta=[1.0, 0.5], rho=0.4, seed=1).panel
    found["sar"] = sa.choose_model("y ~ x1 + x2", lag, study.W).path
    plain = sa.simulate("ols", study.W, 20, beta=[1.0, 0.5], seed=2).panel
    found["ols"] = sa.choose_model("y ~ x1 + x2", plain, study.W).path
    return found


NAMES = ("elhorst", "aic", "posterior", "not nested", "no sem", "sar", "ols")


def drawn(path):
    figure = Figure(figsize=decision_size(path), layout="constrained")
    ax = decision_tree(path, ax=figure.add_subplot())
    figure.draw_without_rendering()
    return ax


def boxes(ax):
    return [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]


def words(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("name", NAMES)
def test_no_letter_leaves_its_box_or_the_figure(paths, name):
    ax = drawn(paths[name])
    width, height = ax.figure.get_size_inches() * ax.figure.dpi
    frames = [box.get_window_extent() for box in boxes(ax)]
    for text in ax.texts:
        extent = text.get_window_extent()
        assert extent.x0 >= 0
        assert extent.y0 >= 0
        assert extent.x1 <= width
        assert extent.y1 <= height
        x, y = 0.5 * (extent.x0 + extent.x1), 0.5 * (extent.y0 + extent.y1)
        around = [frame for frame in frames if frame.contains(x, y)]
        if around:
            assert around[0].x0 <= extent.x0
            assert extent.x1 <= around[0].x1
            assert around[0].y0 <= extent.y0
            assert extent.y1 <= around[0].y1


@pytest.mark.parametrize("name", NAMES)
def test_boxes_and_words_do_not_overlap(paths, name):
    ax = drawn(paths[name])
    for things in (boxes(ax), ax.texts):
        for one, two in itertools.combinations([t.get_window_extent() for t in things], 2):
            apart = one.x1 <= two.x0 or two.x1 <= one.x0 or one.y1 <= two.y0 or two.y1 <= one.y0
            assert apart


@pytest.mark.parametrize("name", NAMES)
def test_every_question_and_model_of_the_tree_is_there(paths, name):
    path = paths[name]
    ax = drawn(path)
    ends = [b.to for q in path.tree for b in q.branches if path.question(b.to) is None]
    assert len(boxes(ax)) == len(path.tree) + len(ends)
    letters = " ".join(words(ax)).replace("\N{NO-BREAK SPACE}", " ")
    for question in path.tree:
        assert question.text in letters
    for model in ends:
        assert model.upper() in words(ax)


@pytest.mark.parametrize("name", NAMES)
def test_one_model_stands_out(paths, name):
    path = paths[name]
    ax = drawn(path)
    white = [text for text in ax.texts if text.get_color() == "white"]
    assert [text.get_text() for text in white if text.get_text().isalpha()] == [path.chosen.upper()]
    blue = [line for line in ax.lines if line.get_linewidth() > 1]
    assert len(blue) == len(path.steps)


def test_the_evidence_stands_in_the_boxes_that_were_asked(paths):
    found = words(drawn(paths["sar"]))
    for step in paths["sar"].steps:
        for item in step.evidence:
            assert item.name in found
            assert item.text in found
    assert "LR SLX/OLS" not in found
    assert "LR SLX/OLS" in words(drawn(paths["ols"]))


def test_criteria_stand_below_the_models(paths):
    found = words(drawn(paths["aic"]))
    for item in paths["aic"].steps[0].evidence:
        assert item.text.replace("-", "−") in found
    assert "< 0.001" in words(drawn(paths["posterior"]))


def test_disagreement_is_written_below(paths):
    assert "Disagreement: By BIC it would be the SEM." in words(drawn(paths["elhorst"]))
    assert not [text for text in words(drawn(paths["ols"])) if "Disagreement" in text]


def test_it_draws_a_figure_of_its_own(study):
    ax = study.choice.plot()
    try:
        assert tuple(ax.figure.get_size_inches()) == pytest.approx(decision_size(study.choice.path))
        assert ax.figure.get_figwidth() < 7.0
    finally:
        plt.close(ax.figure)


def test_it_draws_on_the_axes_of_the_caller(paths):
    left, right = Figure(figsize=(14, 5)).subplots(1, 2)
    assert decision_tree(paths["elhorst"], ax=right) is right
    assert right.patches
    assert not left.patches


def test_the_table_has_the_evidence_of_every_question(paths):
    for path in paths.values():
        table = decision_table(path)
        frame = path.to_frame()
        assert [name for _, name in table.body.index] == list(frame.index.get_level_values(1))
        assert [answer for answer in table.body["Answer"] if answer] == [
            step.answer for step in path.steps
        ]
        assert table.notes[-1].endswith(f": {path.chosen.upper()}.")
    assert "LM error" in decision_table(paths["elhorst"]).to_latex()


def test_a_choice_stands_for_its_path(study):
    choice = study.choice
    assert decision_size(choice) == decision_size(choice.path)
    assert decision_table(choice).to_text() == decision_table(choice.path).to_text()
    assert words(drawn(choice)) == words(drawn(choice.path))
    for function in (decision_size, decision_table, decision_tree):
        with pytest.raises(OptionError, match="path of a choice is needed.*got FitResult"):
            function(study.sdm)
