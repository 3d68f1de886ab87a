"""What is said of a run that was longer than needed."""

import pytest

from deepres.data.facts import DatasetFacts
from deepres.recipes.by_name import recipe
from deepres.runs.length import told_length
from deepres.tasks.validation import by_error
from deepres.train.state import Best


def rows(errors: list[float | None]) -> list[dict[str, float | None]]:
    return [{"val_error": error, "val_loss": 1.0} for error in errors]


@pytest.mark.parametrize(
    ("errors", "images", "name", "said"),
    [
        ([0.5, 0.2, 0.01, 0.0, *[0.01] * 26], 179, "small", "from epoch 3 of 30 on 179 held-out images tell no gain"),
        ([0.5, *[0.01] * 29], 1000, "small", "such as --epochs 4, may do as well"),
        ([*[0.5] * 10, *[0.01] * 20], 1000, "small", ""),  # two thirds of it would not be enough
        ([*[0.3] * 9, *[0.01] * 21], 1000, "small", "such as --epochs 20,"),
        ([0.5, *[0.01] * 20, 0.5, *[0.01] * 8], 1000, "small", ""),  # late, it was worse again
        ([0.5, None, *[0.01] * 28], 1000, "small", "from epoch 3 of 30"),
        ([0.5, 0.1, *[0.0] * 28], 40, "small", ""),  # 40 images cannot tell 8.8 % from 0
        ([0.5, *[0.01] * 12], 1000, "small", ""),  # it was cut or stopped
        ([0.5, *[0.01] * 29], 1000, "cifar_2015", ""),
        ([0.5, *[0.01] * 29], 0, "small", ""),  # not known on how many
    ],
)
def test_a_run_that_gained_nothing_more_says_since_when(
    errors: list[float | None], images: int, name: str, said: str
) -> None:
    run = recipe(name, DatasetFacts("digits", 10, 1000, 3, 32), None)
    run = run.replace(train=run.train.replace(epochs=30, iterations=None))
    known = [error for error in errors if error is not None]
    best = Best.of(1, 1, by_error(min(known), 1.0, images))
    told = told_length(run, best, rows(errors))
    assert said in told
    assert bool(told) == bool(said)


def test_without_held_out_images_nothing_is_said() -> None:
    assert told_length(recipe("small", DatasetFacts("digits", 10, 1000, 3, 32), None), None, []) == ""
