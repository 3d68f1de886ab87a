"""Numbers far from the recipe's are asked about in one line; all others, and what is left out or turned off, are not."""

import pytest

from deepres.data.facts import DatasetFacts
from deepres.recipes.by_name import RECIPES
from deepres.recipes.plan import Words, planned_aloud

CIFAR = DatasetFacts("cifar10", 10, 50_000, 3, 32)

FAR = {
    ("train.optimizer.weight_decay=1e-2",): "train.optimizer.weight_decay=0.01 is 100 times the recipe's 0.0001",
    ("train.optimizer.weight_decay=1e-5",): "train.optimizer.weight_decay=1e-05 is 1/10 of the recipe's 0.0001",
    ("train.schedule.lr=1",): "train.schedule.lr=1 is 10 times the recipe's 0.1",
    ("train.schedule.lr=0.001",): "train.schedule.lr=0.001 is 1/100 of the recipe's 0.1",
    ("train.optimizer.momentum=0.99",): "train.optimizer.momentum=0.99 is far closer to 1 than the recipe's 0.9",
    ("train.optimizer.momentum=0.09",): "train.optimizer.momentum=0.09 is 1/10 of the recipe's 0.9",
    ("train.schedule.milestones=0.05,0.075",): "train.schedule.milestones[0]=0.05 is 1/10 of the recipe's 0.5; "
    "train.schedule.milestones[1]=0.075 is 1/10 of the recipe's 0.75",
    ("train.batch_size=8", "train.schedule.lr=0.1"): "train.schedule.lr=0.1 is 16 times the recipe's 0.1 for 128 in "
    "proportion to steps of 8, 0.00625",
    ("train.optimizer=adamw", "train.schedule.lr=0.1"): "train.schedule.lr=0.1 is 100 times adamw's usual 0.001",
    ("train.optimizer=adamw", "train.schedule.lr=0.001", "train.optimizer.weight_decay=1e-4"): "train.optimizer."
    "weight_decay=0.0001 is 1/100 of adamw's usual 0.01",
}  # fmt: skip
NEAR = [
    (),
    ("train.optimizer.weight_decay=5e-4",),
    ("train.optimizer.weight_decay=0",),
    ("train.optimizer.momentum=0.95",),
    ("train.optimizer.momentum=0",),
    ("train.schedule.lr=0.3",),
    ("train.batch_size=1280",),  # the rate goes along
    ("train.batch_size=8", "train.schedule.lr=0.01"),
    ("train.label_smoothing=0.1",),  # the recipe has none
    ("train.epochs=1", "train.iterations=none", "train.save_every_seconds=6000"),
    ("train.optimizer=adamw", "train.schedule.lr=0.001"),
    ("data.val_fraction=0.001", "seed=7"),
]


@pytest.mark.parametrize(("edits", "said"), FAR.items(), ids=" ".join)
def test_what_is_far_from_the_recipe_is_asked_about(edits: tuple[str, ...], said: str) -> None:
    for smoke in (False, True):
        _, lines = planned_aloud(Words("cifar_2015", edits=edits, smoke=smoke), CIFAR)
        assert lines == (f"far from recipe cifar_2015: {said} (if so meant, nothing is to be done)",)


@pytest.mark.parametrize("edits", NEAR, ids=" ".join)
def test_what_is_near_or_off_is_not(edits: tuple[str, ...]) -> None:
    assert not [line for line in planned_aloud(Words("cifar_2015", edits=edits), CIFAR)[1] if line.startswith("far")]


def test_a_rate_that_is_kept_for_steps_of_another_size_is_asked_about() -> None:
    words = Words("cifar_2015", edits=("train.batch_size=2048",), scale_lr=False)
    (line,) = planned_aloud(words, CIFAR)[1]
    assert "train.schedule.lr=0.1 is 1/16 of the recipe's 0.1 for 128 in proportion to steps of 2048, 1.6" in line


@pytest.mark.parametrize(
    "name", [name for name in RECIPES if not name.endswith(("_2015", "boxes", "masks", "finetune"))]
)
def test_the_yardstick_is_each_recipes_own(name: str) -> None:
    facts = DatasetFacts("photos", 5, 2000, 3, 300) if "imagenet" in name or name == "photos" else CIFAR
    own = planned_aloud(Words(name), facts)[0].train.optimizer.weight_decay
    assert planned_aloud(Words(name, edits=(f"train.optimizer.weight_decay={own * 9}",)), facts)[1] == ()
    (line,) = planned_aloud(Words(name, edits=(f"train.optimizer.weight_decay={own * 10}",)), facts)[1]
    assert f"10 times the recipe's {own:g}" in line
