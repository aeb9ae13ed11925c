"""The examples of docs/extending.md run and print what they say."""

import doctest
import re
from pathlib import Path

import pytest

from spatial_agglo import errors
from spatial_agglo.diagnostics import arrays

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"


@pytest.fixture(scope="module")
def text():
    return PAGE.read_text(encoding="utf-8")


def test_the_examples_run(text):
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) >= 4
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PAGE.name, str(PAGE), 0)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    runner.run(examples, out=report.append)
    assert runner.tries > 20
    assert not runner.failures, "".join(report)


def test_the_interface_is_named(text):
    for name in ("lm_from_arrays", "regression_from_arrays", "residuals_from_arrays"):
        assert f"`{name}`" in text
        assert callable(getattr(arrays, name))


def test_the_errors_that_are_named_exist(text):
    for name in set(re.findall(r"`(\w+Error)`", text)) - {"ValueError"}:
        assert issubclass(getattr(errors, name), errors.SpatialAggloError)
        if name != "SpatialAggloError":
            assert issubclass(getattr(errors, name), ValueError)
