"""The rate goes with the batch size, sides go with one size; what the papers state stays."""

import pytest

from deepres.data.facts import DatasetFacts
from deepres.recipes.adjusted import resized
from deepres.recipes.by_name import RECIPES, recipe
from deepres.recipes.plan import Words, planned, planned_aloud

DIGITS = DatasetFacts("digits", 10, 1400, 1, 16)
CIFAR = DatasetFacts("cifar10", 10, 50_000, 3, 32)
PHOTOS = DatasetFacts("photos", 5, 2000, 3, 300)


@pytest.mark.parametrize(
    ("words", "lr"),
    [
        (Words("small"), 0.1),
        (Words("small", edits=("train.batch_size=64",)), 0.1),
        (Words("small", edits=("train.batch_size=32",)), 0.05),
        (Words("small", edits=("train.batch_size=96",)), 0.15),
        (Words("small", edits=("train.batch_size=32", "train.schedule.lr=0.1")), 0.1),
        (Words("small", edits=("train.batch_size=32",), scale_lr=False), 0.1),
        (Words("small", edits=("train.batch_size=32",), smoke=True), 0.05),
    ],
)
def test_the_rate_goes_with_the_batch_size(words: Words, lr: float) -> None:
    run, lines = planned_aloud(words, DIGITS)
    said = "".join(lines)
    assert run.train.schedule.lr == pytest.approx(lr)
    assert bool(said) == (lr != 0.1 and not words.smoke)
    assert not said or f"rate {lr:g} for steps of {run.train.batch_size} images" in said


BOXES = ("voc_2015", "coco_2015", "det_2015", "loc_2015")
"""Recipes for sources with boxes: tests/recipes has a file of theirs."""


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("finetune", "boxes", *BOXES)])
def test_recipes_keep_their_own_numbers(name: str) -> None:
    facts = PHOTOS if "imagenet" in name or name == "photos" else CIFAR
    run, said = planned_aloud(Words(name), facts)
    assert (run.train.schedule, run.train.batch_size) == (
        recipe(name, facts, None).train.schedule,
        recipe(name, facts, None).train.batch_size,
    )
    assert said == ()


def test_every_rate_of_a_recipe_goes_with_it() -> None:
    schedule = planned(Words("identity_2016", edits=("train.batch_size=64", "train.schedule.end=0.001")), CIFAR)
    assert (schedule.train.schedule.warmup_lr, schedule.train.schedule.end) == (0.005, 0.0005)


@pytest.mark.parametrize(
    ("name", "facts", "sides"),
    [
        ("photos", PHOTOS, (160, 160, (256, 480))),
        ("imagenet_modern", PHOTOS, (160, 183, (256, 480))),
        ("imagenet_2015", PHOTOS, (160, 183, (183, 343))),
        ("small", DIGITS, (160, 160, (256, 480))),
        ("cifar_2015", CIFAR, (160, None, (256, 480))),
    ],
)
def test_one_size_gives_all_sides(name: str, facts: DatasetFacts, sides: tuple[int, int, tuple[int, int]]) -> None:
    run = resized(recipe(name, facts, None), 160)
    assert (run.preparation.crop, run.preparation.resize, run.augmentation.scale) == sides
    planned_run = planned(Words(name, size=160), facts)
    assert planned_run.model.input[1:] == (160, 160)
