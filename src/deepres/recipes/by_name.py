"""Name -> recipe, and which one a source gets when none is named."""

from collections.abc import Callable

from deepres.base.errors import unknown
from deepres.data.facts import DatasetFacts
from deepres.recipes.boxes import boxes
from deepres.recipes.everyday import imagenet_modern, photos, small
from deepres.recipes.finetune import finetune
from deepres.recipes.papers import cifar_2015, effective_paths, identity_2016, imagenet_2015, imagenet_2016
from deepres.recipes.papers_boxes import coco_2015, det_2015, voc_2015
from deepres.recipes.papers_localisation import loc_2015
from deepres.recipes.papers_others import densenet_cifar, densenet_imagenet, stochastic_depth, wide
from deepres.recipes.run import Run
from deepres.recipes.written import again, is_written, written

RECIPES: dict[str, Callable[[DatasetFacts, str | None], Run]] = {
    "small": small,
    "photos": photos,
    "cifar_2015": cifar_2015,
    "effective_paths": effective_paths,
    "identity_2016": identity_2016,
    "stochastic_depth": stochastic_depth,
    "wide": wide,
    "densenet_cifar": densenet_cifar,
    "imagenet_2015": imagenet_2015,
    "imagenet_2016": imagenet_2016,
    "densenet_imagenet": densenet_imagenet,
    "imagenet_modern": imagenet_modern,
    "finetune": finetune,
    "boxes": boxes,
    "voc_2015": voc_2015,
    "coco_2015": coco_2015,
    "det_2015": det_2015,
    "loc_2015": loc_2015,
}


BEGINNING = (None, "finetune", "voc_2015", "coco_2015", "det_2015", "loc_2015")
"""Recipes that are told of the weights to begin with; others measure mean and spread on their own images."""


def recipe(name: str | None, facts: DatasetFacts, model: str | None) -> Run:
    """The run of the recipe of that name or file, or of the one that suits.

    That is "boxes" for pictures with boxes, "finetune" where weights are given to begin with, else "small" up to 40 px,
    "photos" above.

    Raises:
        InputError: no such recipe or model; the nearest are offered.
    """
    usual = "finetune" if facts.beginning else "small" if facts.side <= 40 else "photos"
    if name is not None and name not in RECIPES and is_written(name):
        return again(written(name), facts, model)
    chosen = name or ("boxes" if facts.form == "boxes" else usual)
    if chosen not in RECIPES:
        raise unknown("recipe", chosen, RECIPES)
    return RECIPES[chosen](facts, model)
