"""When a figure counts as reproduced."""

from math import sqrt
from pathlib import Path

import pytest

from deepres.recipes.printed import quoted, reach_of, spread_of, verdict_of
from deepres.report.studies import Dots, dots
from deepres.studies.study import Claim, Column, Printed, Study
from deepres.studies.verdict import (
    CellResult,
    CheckedClaim,
    _comparable,
    _precision,
    outcome,
    train_error,
)


@pytest.mark.parametrize(
    ("values", "printed", "tolerance", "spread", "expected"),
    [
        ((8.9,), Printed(value=8.75), 0.3, 0.0, "reproduced"),
        ((9.05,), Printed(value=8.75), 0.3, 0.0, "reproduced"),
        ((9.06,), Printed(value=8.75), 0.3, 0.0, "not reproduced"),
        ((8.2,), Printed(value=8.75), 0.3, 0.28, "within the spread"),
        ((8.2,), Printed(value=8.75), 0.3, 0.27, "not reproduced"),
        ((6.4, 6.8, 6.9), Printed(value=6.43, quoted="best", mean=6.61), 0.05, 0.0, "reproduced"),
        ((6.6, 6.6, 6.66), Printed(value=6.43, quoted="best", mean=6.61), 0.05, 0.0, "reproduced"),
        ((6.0, 6.61, 9.0), Printed(value=6.61, quoted="median"), 0.05, 0.0, "reproduced"),
        ((35.0,), Printed(value=20, bound="above"), 0.3, 0.0, "reproduced"),
        ((19.0,), Printed(value=20, bound="above"), 0.3, 9.0, "not reproduced"),
        ((0.05,), Printed(value=0.1, bound="below"), 0.3, 0.0, "reproduced"),
    ],
)
def test_verdicts(values: tuple[float, ...], printed: Printed, tolerance: float, spread: float, expected: str) -> None:
    assert verdict_of(values, printed, tolerance, spread) == expected


def test_our_seeds_are_quoted_as_the_paper_quotes_its_own() -> None:
    values = (3.0, 1.0, 8.0)
    assert quoted(values, Printed(value=1, quoted="best")) == 1
    assert quoted(values, Printed(value=1, quoted="median")) == 3
    assert quoted(values, Printed(value=1, quoted="mean")) == 4
    assert quoted(values, None) == 4


@pytest.mark.parametrize(("better", "worse", "holds"), [(1.0, 2.0, True), (2.0, 1.0, False), (None, 1.0, None)])
def test_a_claim_holds_where_its_figures_are_in_its_order(
    better: float | None, worse: float, holds: bool | None
) -> None:
    held = CheckedClaim(
        claim=Claim(column="test", better="a", worse="b"), title="test error", better=better, worse=worse
    )
    assert held.holds is holds
    assert str(held).startswith("test error, a below b: ")
    assert {True: "holds", False: "DOES NOT", None: "not known yet"}[holds] in str(held)


def test_of_average_precision_the_higher_is_the_better() -> None:
    column = Column(name="ap", measure="ap50", title="AP50")
    assert column.higher_is_better
    claim = Claim(column="ap", better="a", worse="b")
    held = CheckedClaim(claim=claim, title="AP50", better=48.4, worse=27.2, higher_is_better=column.higher_is_better)
    assert held.holds
    assert str(held).startswith("AP50, a above b: holds")
    assert quoted((27.0, 28.0), Printed(value=28.0, quoted="best"), higher_is_better=True) == 28.0


def test_a_row_that_diverged_is_worse_than_any_whichever_way_is_better() -> None:
    lost = CellResult(row="a", column="c", diverged=1, verdict="not run")
    assert _comparable(lost, Column(name="c", measure="error", title="error")) == 100.0
    assert _comparable(lost, Column(name="c", measure="voc_ap", title="AP")) == 0.0


def test_of_boxes_the_sampling_error_is_that_which_the_run_has_measured() -> None:
    assert spread_of((76.0,), Printed(value=76.4), "voc", 0.4) == pytest.approx(sqrt(2) * 0.4)
    measured = {"measure": "voc07", "ap": 0.76, "ap_low": 0.752, "ap_high": 0.768, "ap50": 0.76}
    measured |= {"per_class": [{"name": "bus", "ap": 0.8, "ap50": 0.8}, {"name": "car", "ap": None, "ap50": None}]}
    of_all = Column(name="c", measure="voc_ap", title="AP")
    figure = _precision(of_all, measured)
    assert figure is not None
    assert figure == (76.0, pytest.approx(1.6 / 3.92))
    assert _precision(of_all.replace(of_class="bus"), measured) == (80.0, None)
    assert _precision(of_all.replace(of_class="car"), measured) is None
    assert _precision(of_all.replace(of_class="cat"), measured) is None
    assert _precision(of_all.replace(measure="ap50"), measured) is None, "COCO's is asked, VOC's was measured"


def test_a_count_is_read_from_the_description_at_either_scale_and_judged(study: Study, tmp_path: Path) -> None:
    rows = tuple(row.replace(printed={"size": Printed(value=0.27)}) if row.network else row for row in study.rows)
    for scale in ("full", "short"):
        found = outcome(study.replace(rows=rows, claims=(), shows="table"), scale, tmp_path)
        assert [one.verdict for one in found.found] == ["reproduced", "reproduced"]
        assert [round(one.values[0], 6) for one in found.found] == [0.269722, 0.269722]
    wrong = tuple(row.replace(printed={"size": Printed(value=0.28)}) if row.network else row for row in study.rows)
    found = outcome(study.replace(rows=wrong, claims=(), shows="table"), "full", tmp_path)
    assert [one.verdict for one in found.found] == ["not reproduced"] * 2


def test_what_is_not_trained_says_so_and_why(study: Study, tmp_path: Path) -> None:
    found = outcome(study, "full", tmp_path, absent={"cifar10": "cifar10: no files in data"})
    one = found.at("ResNet-20", "test")
    assert one is not None
    assert (one.verdict, one.reason) == ("not run", "cifar10: no files in data")
    assert found.verdict == "6 figures: 2 shown, 4 not run; none of 1 claims known yet"
    assert found.at("Others", "test") is None


def test_of_one_seed_the_spread_is_the_sampling_error_of_the_test_images() -> None:
    one = 100 * sqrt(0.09 * 0.91 / 10_000)
    assert spread_of((9.0,), Printed(value=8.75), "cifar10") == pytest.approx(sqrt(2) * one)
    assert spread_of((9.0, 10.0), Printed(value=8.75, std=0.3), "cifar10") == pytest.approx(sqrt(0.5 + 0.09))


def test_the_training_error_is_that_of_one_whole_pass_also_where_the_run_ends_within_one() -> None:
    rows = [{"step": 100, "train_error": 0.5}, {"step": 200, "train_error": 0.3}, {"step": 225, "train_error": 0.1}]
    assert train_error(rows[:2]) == pytest.approx(30)
    assert train_error(rows) == pytest.approx(100 * (25 * 0.1 + 75 * 0.3) / 100)
    assert train_error([{"step": 3, "train_error": 0.9}]) == pytest.approx(90)
    assert train_error([]) is None


@pytest.mark.parametrize(("tolerance", "spread"), [(0.5, 0.4), (0.5, 0.1), (0.0, 0.3)])
def test_a_figure_is_met_as_far_as_it_reaches(tolerance: float, spread: float) -> None:
    printed, reach = Printed(value=8.75), reach_of(tolerance, spread)
    assert verdict_of((8.75 + 0.999 * reach,), printed, tolerance, spread) != "not reproduced"
    assert verdict_of((8.75 - 1.001 * reach,), printed, tolerance, spread) == "not reproduced"


def test_a_row_is_drawn_with_the_bar_in_which_ours_is_met() -> None:
    rows = [Dots("ResNet-20", 8.75, (8.62, 8.9), 0.79), Dots("ResNet-32", 7.51, (7.6,))]
    (axes,) = dots(rows, "test error", "%").axes
    drawn = [line.get_xydata().tolist() for line in axes.lines if len(line.get_xydata())]
    assert drawn[0] == [[pytest.approx(7.96), 0], [pytest.approx(9.54), 0]]
    assert drawn[1:] == [[[8.75, 0]], [[8.62, 0], [8.9, 0]], [[7.51, 1]], [[7.6, 1]]]
    assert axes.get_ylim()[0] > 1, "the first row stands above"
