import numpy as np
import pytest

from deepres.arch.catalogue.lookup import entry
from deepres.base.records import parse
from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.facts import DatasetFacts, StartingWeights
from deepres.data.masks import Masks
from deepres.data.transforms.config import small
from deepres.recipes.by_name import RECIPES, recipe
from deepres.recipes.run import Run, smoke

BEGINNING = StartingWeights("there", None, entry("resnet20_cifar").config, (), small(32)[1])
FACTS = DatasetFacts("somewhere", num_classes=5, num_images=1000, channels=3, side=32, beginning=BEGINNING)


BOXES = ("voc_2015", "coco_2015", "det_2015")


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_survives_json_and_is_called_by_its_recipe(name: str) -> None:
    run = RECIPES[name](FACTS, None)
    assert run.recipe == name
    assert parse(Run, run.to_json(), name) == run


@pytest.mark.parametrize("name", RECIPES)
def test_the_header_says_command_hardware_expected_source(name: str) -> None:
    header = RECIPES[name].__doc__ or ""
    assert all(f"    {word}" in header for word in ("Command", "Hardware", "Expected", "Source"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_fitted_run_has_the_classes_and_the_size_of_the_images(name: str) -> None:
    run = RECIPES[name](FACTS, None).fitted(FACTS)
    assert run.model.num_classes == 5
    assert run.model.input[0] == 3
    whole = -(-(run.preparation.resize or 32) // 16) * 16 if name in BOXES else 32
    assert run.model.input[1] == (run.preparation.size or whole)


@pytest.mark.parametrize("name", RECIPES)
def test_the_smoke_size_is_small(name: str) -> None:
    assert smoke(RECIPES[name](FACTS, None)).train.steps(10**6) == 20


def test_the_papers_cifar_recipe_is_the_papers() -> None:
    run = RECIPES["cifar_2015"](FACTS, "resnet56_cifar")
    train = run.train
    assert (train.iterations, train.batch_size, train.batch_size // train.accumulate) == (64_000, 128, 64)
    assert (train.optimizer.momentum, train.optimizer.weight_decay, train.optimizer.nesterov) == (0.9, 1e-4, False)
    lr = train.schedule.schedule()
    assert [lr(step / 64_000) for step in (0, 31_999, 32_000, 48_000)] == pytest.approx([0.1, 0.1, 0.01, 0.001])
    assert (run.augmentation.crop, run.augmentation.pad, run.augmentation.flip) == ("pad", 4, 0.5)
    assert run.preparation.normalise == "per_pixel"
    assert (run.select, run.data.val_fraction, train.schedule.warmup_lr) == ("last", 0, None)


@pytest.mark.parametrize("model", ["resnet110_cifar", "resnet1202_cifar", "plain110_cifar"])
def test_110_layers_and_more_begin_at_a_hundredth_until_the_error_is_below_80_percent(model: str) -> None:
    schedule = RECIPES["cifar_2015"](FACTS, model).train.schedule
    assert (schedule.warmup_lr, schedule.warmup_until_error) == (0.01, 0.8)


def test_the_papers_imagenet_recipe_is_the_papers() -> None:
    run = RECIPES["imagenet_2015"](FACTS, None)
    assert run.model.name == "resnet50_v1"
    assert (run.train.iterations, run.train.batch_size, run.train.optimizer.weight_decay) == (600_000, 256, 1e-4)
    assert (run.augmentation.crop, run.augmentation.scale, run.augmentation.colour_pca) == (
        "short_side",
        (256, 480),
        0.1,
    )
    assert (run.preparation.crop, run.preparation.normalise) == (224, "per_pixel")


@pytest.mark.parametrize(("side", "expected"), [(8, "small"), (32, "small"), (64, "photos"), (500, "photos")])
def test_a_source_gets_the_recipe_that_suits(side: int, expected: str) -> None:
    assert recipe(None, DatasetFacts("x", 3, 100, 3, side), None).recipe == expected
    assert recipe(None, DatasetFacts("x", 3, 100, 3, side, beginning=BEGINNING), None).recipe == "finetune"


@pytest.mark.parametrize(
    ("masks", "model", "expected", "network"),
    [
        (True, None, "masks", "maskrcnn_resnet50_fpn"),
        (False, None, "boxes", "fasterrcnn_resnet50_fpn"),
        (True, "fasterrcnn_resnet101_c4", "boxes", "fasterrcnn_resnet101_c4"),
        (True, "maskrcnn_resnet101_c4", "masks", "maskrcnn_resnet101_c4"),
    ],
)
def test_masks_are_learnt_where_they_are_and_nobody_asked_for_boxes(
    masks: bool, model: str | None, expected: str, network: str
) -> None:
    boxes = Boxes.of([[0, 0, 4, 4]], [0], masks=Masks.of([(np.array([[0.0, 0], [4, 0], [4, 4]]),)]) if masks else None)
    facts = DatasetFacts("x", 3, 1, 3, 500, form="boxes", targets=BoxTargets.of([boxes]))
    run = recipe(None, facts, model)
    assert (run.recipe, run.model.name) == (expected, network)
    assert (getattr(run.model, "masks", None) is not None) == (expected == "masks")
    both = recipe("masks", facts, model).model
    assert both.masks is not None  # type: ignore[union-attr]
    assert both.name.startswith("maskrcnn")
    both.architecture()


def test_the_help_names_every_recipe() -> None:
    from deepres.cli.train import command

    (option,) = [parameter for parameter in command.params if parameter.name == "recipe"]
    assert all(name in option.help for name in RECIPES)  # type: ignore[attr-defined]
