from collections.abc import Callable

import pytest

from deepres.base.errors import InputError
from deepres.base.records import build, edit, parse
from deepres.data.transforms.config import (
    Augmentation,
    Preparation,
    check_together,
    cifar_2015,
    imagenet_2015,
    imagenet_modern,
    photos,
    small,
)

RECIPES: list[Callable[[], tuple[Augmentation, Preparation]]] = [
    cifar_2015,
    imagenet_2015,
    imagenet_modern,
    photos,
    lambda: small(8, channels=1),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_go_together_and_survive_json(recipe: Callable[[], tuple[Augmentation, Preparation]]) -> None:
    augmentation, preparation = recipe()
    check_together(augmentation, preparation)
    assert parse(Augmentation, augmentation.to_json(), "test") == augmentation
    assert parse(Preparation, preparation.to_json(), "test") == preparation


def test_the_papers_recipes_are_the_papers() -> None:
    augmentation, preparation = cifar_2015()
    assert (augmentation.crop, augmentation.pad, augmentation.flip) == ("pad", 4, 0.5)
    assert (preparation.normalise, preparation.fit) == ("per_pixel", None)
    augmentation, preparation = imagenet_2015()
    assert (augmentation.crop, augmentation.scale, augmentation.colour_pca) == ("short_side", (256, 480), 0.1)
    assert (preparation.normalise, preparation.resize, preparation.crop) == ("per_pixel", 256, 224)


def test_the_default_augmentation_does_nothing() -> None:
    nothing = Augmentation()
    assert not nothing.is_per_sample
    assert (nothing.crop, nothing.flip, nothing.erase, nothing.mixup, nothing.cutmix) == ("none", 0, 0, 0, 0)


def test_fields_are_edited_by_name() -> None:
    edited = edit(Augmentation(), ["crop=short_side", "scale=128,160", "flip=0.5", "auto=rand"])
    assert edited == Augmentation(crop="short_side", scale=(128, 160), flip=0.5, auto="rand")
    assert edit(Preparation(), ["crop=64", "fit=pad", "channels=1"]) == Preparation(crop=64, fit="pad", channels=1)
    assert edit(Preparation(crop=64, fit="pad"), ["fit=none"]).size is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flip": 1.5}, r"augmentation: flip: .*less than or equal to 1, given 1.5"),
        ({"area": (0.5, 2.0)}, r"augmentation: area: given \(0.5, 2.0\), wanted shares of the image, at most 1"),
        (
            {"scale": (480, 256)},
            r"augmentation: scale: given \(480, 256\), wanted two numbers above 0, the smaller first",
        ),
        ({"ratio": (0, 1)}, r"augmentation: ratio: given \(0.0, 1.0\), wanted two numbers above 0"),
        (
            {"crop": "centre"},
            r"augmentation: crop: input should be 'none', 'pad', 'random_resized', 'short_side' or 'whole'",
        ),
        ({"flips": 1}, r"augmentation: field 'flips': unknown; did you mean flip\?"),
    ],
)
def test_an_impossible_augmentation_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(Augmentation, fields, "augmentation")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": 4}, r"preparation: channels: given 4, wanted 1 \(grey\) or 3 \(RGB\)"),
        ({"fit": "pad"}, "preparation: fit 'pad' without a size; give crop first, such as crop=224"),
        ({"fit": "crop", "crop": 224}, "cannot cut 224 from a short side of None; give resize >= crop first"),
        ({"fit": "crop", "crop": 224, "resize": 200}, "cannot cut 224 from a short side of 200"),
    ],
)
def test_an_impossible_preparation_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(Preparation, fields, "preparation")


@pytest.mark.parametrize(
    ("augmentation", "preparation", "message"),
    [
        (Augmentation(crop="random_resized"), Preparation(), "augmentation.crop 'random_resized': wanted a size"),
        (
            Augmentation(crop="short_side", scale=(100, 200)),
            Preparation(fit="squash", crop=128),
            r"augmentation.scale \(100, 200\): short side 100 holds no crop of 128; raise the scale",
        ),
        (
            Augmentation(colour_pca=0.1),
            Preparation(channels=1),
            "augmentation.colour_pca 0.1: wanted preparation.channels 3, given 1; set colour_pca to 0",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    augmentation: Augmentation, preparation: Preparation, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_together(augmentation, preparation)
