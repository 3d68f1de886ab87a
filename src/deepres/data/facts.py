"""What a recipe wants to know before it decides: of a source, and of the weights that a run begins with.

Loads no torch, so that a plan can be made without it; only looking at images does.
"""

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from deepres.arch.catalogue.entry import ModelConfig
from deepres.data.forms import FormName
from deepres.data.transforms.config import Preparation

if TYPE_CHECKING:
    from deepres.data.images import Images
    from deepres.data.sources.open import Source
    from deepres.data.targets import Targets


@dataclass(frozen=True)
class DatasetFacts:
    """What a recipe wants to know of a source: `side` is the median short side of its images in pixels.

    `beginning` is what the run begins with, where it does not begin from nothing. `targets`, of that `form`, are those
    of the training images; `classes` are their names.
    """

    source: str
    num_classes: int
    num_images: int
    channels: int
    side: int
    classes: tuple[str, ...] = ()
    beginning: "StartingWeights | None" = None
    levels: float | None = None
    form: FormName = "class"
    targets: "Targets | None" = None

    @property
    def has_masks(self) -> bool:
        """Whether objects have masks beside their boxes."""
        return getattr(self.targets, "masks", None) is not None


@dataclass(frozen=True)
class StartingWeights:
    """What a recipe wants to know of trained weights: how to find them, of what network, what they want of images.

    `mean` and `std` are what the user says of weights that do not say it.
    """

    weights: str
    variant: str | None
    model: ModelConfig
    classes: tuple[str, ...]
    preparation: Preparation
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def facts_of(source: "Source", sample: int = 101) -> DatasetFacts:
    """The facts; of files the sizes of at most `sample` are read, evenly over the set, broken ones passed over."""
    from deepres.data.targets import form_of

    images = source.train
    side = images.side
    if side is None:
        every = max(1, len(images) // sample)
        side = int(median(_short_sides(images, range(0, len(images), every)) or [224]))
    return DatasetFacts(
        source.name,
        len(source.classes),
        len(images),
        source.channels,
        side,
        source.classes,
        levels=images.levels,
        form=form_of(images.targets).name,
        targets=images.targets,
    )


def _short_sides(images: "Images", indices: range) -> list[int]:
    from deepres.data.decode import image_size

    sides = []
    for index in indices:
        try:
            sides.append(min(image_size(images.paths[index]) if images.paths else images.header(index)[:2]))
        except ValueError:  # a broken file: named when it is read
            continue
    return sides
