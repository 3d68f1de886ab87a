"""Words that messages share: percentages, durations, text in columns."""

import pytest

from deepres.base.wording import columns, duration, percent, some


@pytest.mark.parametrize(
    ("fraction", "digits", "text"),
    [(0.0111, 2, "1.11 %"), (1.0, 2, "100.00 %"), (-1e-9, 2, "0.00 %"), (0.12345, 1, "12.3 %"), (-0.5, 1, "-50.0 %")],
)
def test_a_fraction_is_told_in_percent(fraction: float, digits: int, text: str) -> None:
    assert percent(fraction, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8, "8 s"), (89, "89 s"), (90, "2 min"), (5400, "1.5 h"), (86400 * 3, "3.0 days"), (86400 * 730, "2.0 years")],
)
def test_a_duration_is_told_in_the_unit_that_suits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_columns_are_as_wide_as_their_widest_cell_and_end_without_blanks() -> None:
    lines = [("run", "error", ""), ("a", "12.5 %", "worse"), ("longer", "1 %", "")]
    assert columns(lines, "<><") == "run      error\na       12.5 %  worse\nlonger     1 %"
    assert columns([("a\x1b[2J", "x")], "<<") == r"a\u001b[2J  x"


@pytest.mark.parametrize(
    ("names", "text"),
    [("", ""), ("a", "a"), ("abc", "a, b, c"), ("abcd", "a, b, c and 1 more"), ("a" * 2003, "a, a, a and 2,000 more")],
)
def test_the_first_names_are_told_and_how_many_others_there_are(names: str, text: str) -> None:
    assert some(iter(names), 3) == text
