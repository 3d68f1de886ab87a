"""The recipes of DenseNet, stochastic depth and wide networks, and of the second ResNet paper, to the letter."""

import pytest

from deepres.data.facts import DatasetFacts
from deepres.data.transforms.config import check_together
from deepres.recipes.by_name import RECIPES
from deepres.recipes.run import Run

CIFAR = DatasetFacts("somewhere", num_classes=10, num_images=50_000, channels=3, side=32)
IMAGENET = DatasetFacts("somewhere", num_classes=1000, num_images=1_281_167, channels=3, side=375)


def _run(name: str) -> Run:
    facts = IMAGENET if "imagenet" in name else CIFAR
    return RECIPES[name](facts, None).fitted(facts)


def _rates(run: Run, epochs: list[float], total: float) -> list[float]:
    lr = run.train.schedule.schedule()
    return [lr(epoch / total) for epoch in epochs]


def _optimiser(run: Run) -> tuple[int, float, bool, str]:
    sgd = run.train.optimizer
    assert sgd.momentum == 0.9
    return run.train.batch_size, sgd.weight_decay, sgd.nesterov, sgd.decay_parameters


def test_densenet_on_cifar() -> None:
    run = _run("densenet_cifar")
    assert (run.model.name, run.train.epochs, run.select, run.data.val_fraction) == (
        "densenet40_k12_cifar",
        300,
        "last",
        0,
    )
    assert _optimiser(run) == (64, 1e-4, True, "all")
    assert _rates(run, [0, 148.9, 149, 224], 300) == pytest.approx([0.1, 0.1, 0.01, 0.001])  # from epoch 150, 225
    assert (run.augmentation.crop, run.augmentation.pad, run.augmentation.pad_fill) == ("pad", 4, "zero")
    assert (run.augmentation.flip, run.preparation.normalise) == (0.5, "per_channel")


def test_densenet_on_imagenet() -> None:
    run = _run("densenet_imagenet")
    assert (run.model.name, run.train.epochs) == ("densenet121", 90)
    assert _optimiser(run) == (256, 1e-4, True, "all")
    assert _rates(run, [0, 29.9, 30.1, 60.1], 90) == pytest.approx([0.1, 0.1, 0.01, 0.001])
    assert (run.augmentation.area, run.augmentation.jitter, run.augmentation.colour_pca) == ((0.08, 1.0), 0.4, 0.1)
    assert (run.preparation.resize, run.preparation.crop, run.preparation.interpolation) == (256, 224, "bicubic")


def test_stochastic_depth() -> None:
    run = _run("stochastic_depth")
    assert (run.train.epochs, run.select, run.data.val_fraction) == (500, "best", 0.1)
    assert _optimiser(run) == (128, 1e-4, True, "all")
    assert _rates(run, [0, 248.9, 249, 374], 500) == pytest.approx([0.1, 0.1, 0.01, 0.001])  # from epoch 250, 375
    assert run.train.schedule.warmup_lr is None
    assert run.model.drop_path == 0.5  # type: ignore[union-attr]
    assert run.preparation.normalise == "per_pixel"


def test_stochastic_depth_of_1202_layers_begins_with_a_low_rate() -> None:
    for model, low in (("resnet1202_stochastic_cifar", 0.01), ("resnet1202_cifar", 0.01), ("resnet110_cifar", None)):
        schedule = RECIPES["stochastic_depth"](CIFAR, model).train.schedule
        assert schedule.warmup_lr == low
        assert schedule.warmup_steps == (3516 if low else None)  # ten epochs of 45,000 images


def test_wide_networks() -> None:
    run = _run("wide")
    assert (run.model.name, run.train.epochs, run.select) == ("wrn28_10_cifar", 200, "last")
    assert _optimiser(run) == (128, 5e-4, True, "all")
    assert _rates(run, [0, 58.9, 59.1, 119.1, 159.1], 200) == pytest.approx([0.1, 0.1, 0.02, 0.004, 0.0008])
    assert (run.augmentation.crop, run.augmentation.pad_fill, run.augmentation.pad) == ("pad", "reflect", 4)


def test_the_second_paper_on_cifar_holds_the_rate_for_400_steps_whatever_the_depth() -> None:
    schedule = _run("identity_2016").train.schedule
    assert (schedule.warmup_lr, schedule.warmup_steps) == (0.01, 400)
    assert RECIPES["identity_2016"](CIFAR, "resnet20_cifar").train.schedule == schedule
    first, second = RECIPES["cifar_2015"](CIFAR, "preresnet110_cifar"), _run("identity_2016")
    assert second.replace(recipe=first.recipe, train=first.train) == first.fitted(CIFAR)
    assert second.train.replace(schedule=first.train.schedule) == first.train


def test_the_second_paper_on_imagenet_drops_at_30_and_60_epochs_without_a_low_rate() -> None:
    run = _run("imagenet_2016")
    assert (run.model.name, run.train.epochs, run.train.iterations) == ("preresnet200", 90, None)
    assert (run.train.schedule.warmup_lr, run.train.schedule.warmup_fraction) == (None, 0)
    assert _rates(run, [0, 29.9, 30.1, 60.1], 90) == pytest.approx([0.1, 0.1, 0.01, 0.001])
    assert run.augmentation == RECIPES["imagenet_2015"](IMAGENET, None).augmentation


@pytest.mark.parametrize("name", RECIPES)
def test_augmentation_and_preparation_go_together(name: str) -> None:
    if name != "finetune":
        run = _run(name)
        check_together(run.augmentation, run.preparation)
