import numpy as np
import pytest

from spatial_agglo.report.formats import in_row, in_words, number, p_text, split, stars


@pytest.mark.parametrize(
    ("p", "mark"),
    [
        (0.0, "***"),
        (0.0099999, "***"),
        (0.01, "**"),
        (0.0499999, "**"),
        (0.05, "*"),
        (0.0999999, "*"),
        (0.1, ""),
        (1.0, ""),
        (np.nan, ""),
    ],
)
def test_stars_change_at_the_levels_and_never_at_them(p, mark):
    assert stars(p) == mark


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.99995, "1.0000"),
        (-0.5, "-0.5000"),
        (0.0, "0.0000"),
        (-0.0, "0.0000"),
        (1.23e-5, "1.230e-05"),
        (-1.23e-5, "-1.230e-05"),
        (2.5e6, "2.500e+06"),
        (np.nan, "n/a"),
        (np.inf, "inf"),
        (np.float32(0.25), "0.2500"),
    ],
)
def test_a_number_keeps_its_digits(value, text):
    assert number(value) == text


def test_a_statistic_that_rounds_to_zero_has_no_sign_and_no_power():
    assert number(-0.001, 2, scientific=False) == "0.00"
    assert number(0.004, 2, scientific=False) == "0.00"


def test_p_values():
    assert [p_text(p) for p in (0.0, 0.00099, 0.001, 0.5, 1.0)] == [
        "<0.001",
        "<0.001",
        "0.001",
        "0.500",
        "1.000",
    ]
    assert in_words(0.00099) == "p < 0.001"
    assert in_words(0.05) == "p = 0.050"


@pytest.mark.parametrize(
    ("cell", "core", "tail"),
    [("-1.0***", "-1.0", "***"), ("(2.5)", "(2.5", ")"), ("", "", ""), ("<0.001", "<0.001", "")],
)
def test_split_puts_aside_what_hangs(cell, core, tail):
    assert split(cell) == (core, tail)


@pytest.mark.parametrize(
    ("row", "decimals", "texts"),
    [
        ([0.5285, 0.0465], 3, ["0.528", "0.046"]),
        ([0.00149, 0.00066], 3, ["0.0015", "0.0007"]),
        ([-0.000426, np.nan], 3, ["-0.00043", "n/a"]),
        ([0.0, 0.0], 2, ["0.00", "0.00"]),
        ([2.4e7, 1234.5], 3, ["24,000,000", "1,234"]),
        ([3e-12, 1e-12], 3, ["3.00e-12", "1.00e-12"]),
    ],
)
def test_a_row_keeps_two_significant_digits(row, decimals, texts):
    assert [in_row(row, decimals)(value) for value in row] == texts
