"""What a paper prints for a run stands in its first lines and, judged, in the notes of its result."""

from types import SimpleNamespace
from typing import Any

import pytest

from deepres.data.facts import DatasetFacts
from deepres.recipes.plan import Words, planned
from deepres.runs import expected
from deepres.runs.expected import expected_lines, met

CIFAR10 = DatasetFacts("cifar10_train", 10, 50_000, 3, 32)
SOURCE: Any = SimpleNamespace(train=range(50_000))


def _result(split: str = "test", num_images: int = 10_000) -> Any:
    return SimpleNamespace(split=split, error=0.089, top5_error=None, num_images=num_images)


def test_a_whole_run_of_a_papers_recipe_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected, "facts_of", lambda _: CIFAR10)
    run = planned(Words(recipe="cifar_2015"), CIFAR10)
    assert expected_lines(run, SOURCE)[0].startswith("expected: He et al. 2015 (arXiv 1512.03385), Table 6 prints")
    assert met(run, SOURCE, _result(), 64_000)[0].endswith("here 8.90 %: reproduced, at most 0.3 points apart")
    assert "it ended after 9 of 64,000 steps" in met(run, SOURCE, _result(), 9)[0]
    assert met(run, SOURCE, _result("val"), 64_000) == ()


def test_of_other_recipes_no_picture_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(expected, "facts_of")
    run = planned(Words(recipe="small"), CIFAR10)
    assert expected_lines(run, SOURCE) == []
    assert met(run, SOURCE, _result(), 600) == ()
