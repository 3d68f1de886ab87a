"""The detectors' recipes: every number of the paper in one table; weights, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest

from deepres.arch.catalogue.lookup import entry
from deepres.arch.detector import DetectorConfig
from deepres.base.errors import InputError
from deepres.data.facts import DatasetFacts, StartingWeights
from deepres.data.transforms.config import Preparation
from deepres.recipes.by_name import RECIPES
from deepres.recipes.run import Run, require_known

FACTS = DatasetFacts("somewhere", num_classes=20, num_images=5000, channels=3, side=375, form="boxes")
WEIGHTS = StartingWeights(
    "resnet101.pth", None, entry("resnet101_v1").config, (), Preparation(fit="crop", crop=224, resize=256)
)

INHERITED = {
    "preparation.fit": "sides",
    "preparation.resize": 600,
    "preparation.longest": 1000,
    "augmentation.scale": (600, 600),
    "augmentation.flip": 0.5,
    "model.neck": "c4",
    "model.anchors.sizes": ((8 * 16, 16 * 16, 32 * 16),),
    "model.anchors.ratios": (0.5, 1.0, 2.0),
    "model.proposals.border": "inside",
    "model.proposals.sampled": 256,
    "model.proposals.positive_share": 0.5,
    "model.proposals.positive_above": 0.7,
    "model.proposals.negative_below": 0.3,
    "model.proposals.overlap": 0.7,
    "model.proposals.after_train": 2000,
    "model.proposals.after_test": 300,
    "model.proposals.before_train": 12000,
    "model.proposals.before_test": 6000,
    "model.proposals.knee": 1 / 9,
    "model.regions.sampled": 128,
    "model.regions.positive_share": 0.25,
    "model.regions.positive_above": 0.5,
    "model.regions.negative": (0.1, 0.5),
    "model.regions.overlap": 0.3,
    "model.regions.pooled": "max",
    "model.regions.pool": 14,
    "model.regions.knee": 1.0,
    "model.context": False,
    "model.backbone.depths": (3, 4, 23, 3),
    "model.backbone.style.stride_on": "1x1",
    "model.backbone.style.norm": "frozen",
    "train.optimizer.momentum": 0.9,
    "train.schedule.kind": "steps",
    "train.schedule.lr": 1e-3,
    "train.schedule.gamma": 0.1,
    "train.schedule.milestones": (0.75,),
    "train.frozen": (),
    "train.joint": False,
    "train.turns.proposals.milestones": (0.75,),
    "data.val_fraction": 0,
    "select": "last",
}
OWN: dict[str, dict[str, Any]] = {
    "voc_2015": {
        "train.iterations": 60_000 + 20_000,
        "train.batch_size": 2,
        "train.turns.proposals.iterations": 60_000 + 20_000,
        "train.turns.proposals.batch_size": 1,
        "train.turns.regions.iterations": 30_000 + 30_000,
        "train.turns.regions.batch_size": 2,
        "train.turns.regions.milestones": (0.5,),
        "data.trainval": True,
        "train.optimizer.weight_decay": 5e-4,
        "task.measure": "voc07",
    },
    "coco_2015": {
        "train.iterations": 240_000 + 80_000,
        "train.batch_size": 16,
        "train.turns.proposals.iterations": 240_000 + 80_000,
        "train.turns.proposals.batch_size": 8,
        "train.turns.regions.iterations": 240_000 + 80_000,
        "train.turns.regions.batch_size": 16,
        "train.turns.regions.milestones": (0.75,),
        "data.trainval": False,
        "train.optimizer.weight_decay": 1e-4,
        "task.measure": "coco",
    },
    "det_2015": {
        "train.iterations": 240_000 + 80_000,
        "train.batch_size": 16,
        "train.turns.proposals.iterations": 240_000 + 80_000,
        "train.turns.proposals.batch_size": 8,
        "train.turns.regions.iterations": 240_000 + 80_000,
        "train.turns.regions.batch_size": 16,
        "train.turns.regions.milestones": (0.75,),
        "data.trainval": False,
        "train.optimizer.weight_decay": 1e-4,
        "task.measure": "voc",
    },
}


def field(run: Run, name: str) -> Any:
    found: Any = run
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", OWN)
def test_every_number_of_the_papers_stands_in_the_recipe(name: str) -> None:
    run = RECIPES[name](replace(FACTS, beginning=WEIGHTS), None)
    wanted = INHERITED | OWN[name]
    assert {one: field(run, one) for one in wanted} == wanted
    assert run.recipe == name
    assert run.fitted(FACTS).model.num_classes == 20


def test_weights_are_begun_with_and_without_them_norms_are_of_groups() -> None:
    run = RECIPES["voc_2015"](replace(FACTS, beginning=WEIGHTS), None)
    assert (run.weights, run.statistics, run.model.name) == ("resnet101.pth", "weights", "fasterrcnn_resnet101_v1_c4")
    bare = RECIPES["voc_2015"](FACTS, "fasterrcnn_resnet50_c4")
    assert isinstance(bare.model, DetectorConfig)
    assert (bare.weights, bare.statistics, bare.model.backbone.style.norm) == (None, "images", "group")
    ours = replace(WEIGHTS, model=bare.model)
    assert RECIPES["coco_2015"](replace(FACTS, beginning=ours), None).model == bare.model


def test_canvases_are_of_whole_steps_of_the_last_map() -> None:
    for name in ("voc_2015", "boxes"):
        for model, step in (("fasterrcnn_resnet50_fpn", 32), ("fasterrcnn_resnet50_c4", 16)):
            run = RECIPES[name](FACTS, model).fitted(FACTS)
            assert run.preparation.edge == run.model.architecture().strides[-1] == step  # type: ignore[union-attr]
            require_known(run)
            require_known(run.replace(preparation=run.preparation.replace(multiple=64)))
            said = f"preparation.multiple=8: the last map of {model} has a place every {step} px, and anchors stand on them"
            with pytest.raises(InputError, match=rf"^{said}; wanted a multiple of {step}$"):
                require_known(run.replace(preparation=run.preparation.replace(multiple=8)))


def test_other_networks_are_refused() -> None:
    with pytest.raises(InputError, match="--model resnet50: names classes of whole pictures; wanted a detector"):
        RECIPES["voc_2015"](FACTS, "resnet50")
    with pytest.raises(InputError, match="fasterrcnn_resnet50"):
        RECIPES["voc_2015"](FACTS, "fasterrcnn_resnet5_c4")
    other = replace(WEIGHTS, model=entry("densenet121").config)
    with pytest.raises(InputError, match="--weights of densenet121: a detector stands on a ResNet"):
        RECIPES["voc_2015"](replace(FACTS, beginning=other), None)
