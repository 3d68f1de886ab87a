"""The localisers' recipe: every number of the paper in one table, both stages, and what is refused."""

from dataclasses import replace
from functools import reduce
from typing import Any

import pytest

from deepres.arch.catalogue.lookup import entry
from deepres.arch.localiser import on
from deepres.base.errors import InputError
from deepres.data.facts import DatasetFacts, StartingWeights
from deepres.data.transforms.config import Preparation
from deepres.recipes.by_name import RECIPES
from deepres.recipes.run import Run, require_known, smoke

CLASSES = tuple(f"class {number}" for number in range(1000))
RESNET = entry("resnet101_v1").config
PREPARATION = Preparation(fit="crop", crop=224, resize=256)
FACTS = DatasetFacts("imagenet", 1000, 544_546, 3, 375, CLASSES, form="boxes")
TRAINED = StartingWeights("resnet101.pth", None, RESNET, CLASSES, PREPARATION)

PAPER = {
    "task.kind": "localisation",
    "task.anchors.sizes": ((8 * 16, 16 * 16, 32 * 16),),
    "task.anchors.ratios": (0.5, 1.0, 2.0),
    "task.positive_above": 0.7,
    "task.negative_below": 0.3,
    "task.sampled": 8,
    "task.positive_share": 0.5,
    "task.classifier": "resnet101.pth",
    "task.proposer": None,
    "augmentation.crop": "short_side",
    "augmentation.scale": (256, 480),
    "augmentation.flip": 0.5,
    "preparation.crop": 224,
    "preparation.resize": 256,
    "preparation.fit": "crop",
    "model.input": (3, 224, 224),
    "model.num_classes": 1000,
    "model.anchors": 9,
    "model.backbone.depths": (3, 4, 23, 3),
    "model.backbone.style.norm": "frozen",
    "train.batch_size": 256,
    "train.iterations": 80_000,
    "train.schedule.lr": 1e-3,
    "train.schedule.milestones": (0.75,),
    "train.optimizer.momentum": 0.9,
    "train.optimizer.weight_decay": 1e-4,
    "data.targets": "boxes",
    "statistics": "weights",
    "select": "last",
}
"""What the paper says, and what is inherited or ours (recipes/papers_localisation.py)."""

SECOND = {
    "task.proposer": "rpn",
    "task.classifier": None,
    "task.proposals": 200,
    "task.side": 224,
    "task.region_above": 0.5,
    "model.anchors": 0,
    "model.input": (3, 224, 224),
    "preparation.fit": "sides",
    "preparation.resize": 256,
    "augmentation.crop": "whole",
    "train.batch_size": 256,
}


def _value(run: Run, name: str) -> Any:
    return reduce(getattr, name.split("."), run)


def _run(begin: StartingWeights | None, model: str | None = None) -> Run:
    facts = replace(FACTS, beginning=begin)
    run = RECIPES["loc_2015"](facts, model)
    fitted = run.fitted(replace(facts, targets=None))
    require_known(fitted)
    return fitted


@pytest.mark.parametrize("name", PAPER)
def test_every_number_of_the_first_stage(name: str) -> None:
    assert _value(_run(TRAINED), name) == PAPER[name]


@pytest.mark.parametrize("name", SECOND)
def test_every_number_of_the_second_stage(name: str) -> None:
    rpn = StartingWeights("rpn", None, on(RESNET, 9), CLASSES, PREPARATION)  # type: ignore[arg-type]
    assert _value(_run(rpn), name) == SECOND[name]


def test_without_weights_norms_learn_and_the_network_names_its_own_classes() -> None:
    run = _run(None, "resnet50_v1")
    assert (run.model.name, run.task.classifier, run.statistics) == ("localrpn_resnet50_v1", None, "images")  # type: ignore[union-attr]
    assert _value(run, "model.backbone.style.norm") == "batch"


def test_weights_of_other_classes_name_none() -> None:
    assert _run(replace(TRAINED, classes=CLASSES[1:])).task.classifier is None  # type: ignore[union-attr]


def test_what_is_no_residual_network_is_refused() -> None:
    with pytest.raises(InputError, match=r"vgg16_bn: a localiser stands on a ResNet; name one, such as resnet101"):
        _run(None, "vgg16_bn")
    with pytest.raises(InputError, match="a localiser stands on a ResNet; take weights of one"):
        _run(replace(TRAINED, model=entry("densenet121").config))


def test_a_detector_is_no_localiser_and_the_other_way_round() -> None:
    run = _run(TRAINED)
    with pytest.raises(InputError, match=r"wanted a localiser, as recipe loc_2015 builds it"):
        require_known(run.replace(model=run.model.backbone))  # type: ignore[union-attr]
    boxes = RECIPES["boxes"](FACTS, None).fitted(FACTS)
    with pytest.raises(InputError, match=r"wanted a detector, such as"):
        require_known(boxes.replace(model=run.model))


def test_anchors_that_are_asked_for_are_the_networks() -> None:
    run = RECIPES["loc_2015"](FACTS, "resnet18")
    task = run.task.replace(anchors=run.task.anchors.replace(sizes=((16, 24),)))  # type: ignore[union-attr]
    assert run.replace(task=task).fitted(replace(FACTS, targets=None)).model.anchors == 6  # type: ignore[union-attr]
    assert smoke(run).train.steps(10**6) == 20
