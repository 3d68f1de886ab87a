"""What papers print for whole runs: found for the run that is meant, judged by the rule that studies use."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from deepres.data.facts import DatasetFacts
from deepres.recipes.by_name import RECIPES
from deepres.recipes.expected import FILE, Expectation, expectation, figures
from deepres.recipes.plan import Words, planned

ROOT = Path(__file__).parents[2]
CIFAR10, CIFAR100 = DatasetFacts("cifar10", 10, 50_000, 3, 32), DatasetFacts("cifar100", 100, 50_000, 3, 32)
IMAGENET = DatasetFacts("photos", 1000, 1_281_167, 3, 375)


def _expected(facts: DatasetFacts = CIFAR10, **words: Any) -> Expectation | None:
    return expectation(planned(Words(**words), facts), facts)


def _lines(facts: DatasetFacts = CIFAR10, **words: Any) -> str:
    found = _expected(facts, **words)
    return "" if found is None else "\n".join(found.lines())


@pytest.mark.medium
def test_the_file_is_what_the_studies_print() -> None:
    program = runpy.run_path(str(ROOT / "evidence" / "expected_figures.py"))
    assert program["text"]() == (ROOT / "src" / "deepres" / "recipes" / FILE).read_text(encoding="utf-8")


def test_every_figure_is_of_a_recipe_and_says_where_it_stands() -> None:
    assert len(figures()) > 100
    for one in figures():
        assert one.recipe in RECIPES
        assert one.place
        assert 0 < one.value < 100


def test_a_recipe_as_it_is_expects_its_table() -> None:
    assert _lines(recipe="cifar_2015") == (
        "expected: He et al. 2015 (arXiv 1512.03385), Table 6 prints test error 8.75 %, for this network and recipe on "
        "cifar10"
    )
    assert "6.43 % (best of 5 runs, mean 6.61 ± 0.16)" in _lines(recipe="cifar_2015", model="resnet110_cifar")
    assert "Table 3 prints test error 25.02 %, top-5 error 7.71 %, test error 23.61 % by ten-crop-logits" in _lines(
        IMAGENET, recipe="densenet_imagenet", model="densenet121"
    )


def test_the_row_with_the_same_edits_is_meant() -> None:
    row = "model.style.order=bn_after_add"
    assert "Table 2 prints test error 8.17 %" in _lines(recipe="identity_2016", model="resnet110_cifar", edits=(row,))
    far = _lines(recipe="identity_2016", model="resnet110_cifar", edits=(row, "train.accumulate=1"))
    assert far.startswith("not comparable with what is printed, train.accumulate=1 (the recipe: 2): ")
    assert "8.17 %" in far


def test_what_a_run_deviates_in_is_said() -> None:
    assert _lines(recipe="cifar_2015", edits=("train.iterations=200",)) == (
        "not comparable with what is printed, train.iterations=200 (the recipe: 64000): He et al. 2015 (arXiv "
        "1512.03385), Table 6 prints test error 8.75 %"
    )
    assert "and 1 more: He" in _lines(
        recipe="cifar_2015", epochs=3, edits=("train.batch_size=64", "train.schedule.lr=0.05", "seed=3")
    )
    half = _lines(recipe="cifar_2015", edits=("train.precision=bfloat16",))
    assert "train.precision=bfloat16 (the recipe: auto)" in half
    full = _lines(recipe="cifar_2015", edits=("train.precision=float32",))  # as the papers' machines computed
    assert full == _lines(recipe="cifar_2015")
    held = DatasetFacts("cifar10", 10, 45_000, 3, 32)
    assert "data.val_fraction=0.1 (the recipe: 0" in _lines(held, recipe="cifar_2015", edits=("data.val_fraction=0.1",))


@pytest.mark.parametrize(
    "nothing",
    [
        {"recipe": "small"},
        {"recipe": "cifar_2015", "facts": CIFAR100},
        {"recipe": "cifar_2015", "facts": DatasetFacts("mine", 10, 50_000, 3, 32)},
        {"recipe": "cifar_2015", "model": "wrn16_4_cifar"},
        {"recipe": "imagenet_modern", "facts": IMAGENET},
    ],
)
def test_where_no_figure_is_known_nothing_is_said(nothing: dict[str, Any]) -> None:
    assert _lines(**nothing) == ""


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (8.9, "here 8.90 %: reproduced, at most 0.3 points apart"),
        (9.3, "here 9.30 %: within the spread, 0.55 apart, more than 0.3 points, but within two standard deviations"),
        (11.3, "here 11.30 %: not reproduced, 2.55 apart, more than 0.3 points and than two standard deviations"),
    ],
)
def test_a_run_that_ended_is_judged(error: float, verdict: str) -> None:
    found = _expected(recipe="cifar_2015")
    assert found is not None
    (line,) = found.ended({"error": error, "top5_error": None}, 10_000, 64_000, 64_000)
    assert line.startswith("He et al. 2015 (arXiv 1512.03385), Table 6 prints test error 8.75 %; ")
    assert verdict in line


def test_a_run_that_was_cut_or_measured_on_others_is_not_comparable() -> None:
    found = _expected(recipe="cifar_2015")
    assert found is not None
    (line,) = found.ended({"error": 8.9}, 1_000, 32_000, 64_000)
    assert (
        "not comparable with what is printed, it ended after 32,000 of 64,000 steps, measured on 1,000 images" in line
    )


def test_a_limit_is_kept_or_not() -> None:
    found = _expected(recipe="identity_2016", model="resnet110_cifar", edits=("model.shortcut=C",))
    above = _expected(
        recipe="identity_2016", model="resnet110_cifar", edits=("model.style.mixing.shortcut_dropout=0.5",)
    )
    assert found is not None
    assert above is not None
    assert "12.22 %" in found.ended({"error": 12.2}, 10_000, 64_000, 64_000)[0]
    assert above.ended({"error": 35.0}, 10_000, 64_000, 64_000)[0].endswith("here 35.00 %: reproduced")


def test_other_protocols_are_named() -> None:
    found = _expected(IMAGENET, recipe="imagenet_2015", model="resnet34_a")
    assert found is not None
    lines = found.ended({"error": 27.0}, 50_000, 600_000, 600_000)
    assert any("deepres eval --protocol ten-crop measures that" in line for line in lines)
