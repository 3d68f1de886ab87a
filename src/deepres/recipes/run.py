"""A whole run as one value: images, network, what is done to them, how long; it is `run.json`, edited by `--set`."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from deepres.base.manifest import RUN, require_own
from deepres.base.records import Record, load
from deepres.data.decode import image_size
from deepres.data.sample import ArrayImages, FileImages, StoredImages
from deepres.data.sources import DataConfig, Source
from deepres.data.transforms import Augmentation, Preparation
from deepres.spec.entry import Config
from deepres.train.distil import TeacherConfig
from deepres.train.loop import TrainConfig
from deepres.train.selection import Select


class Run(Record):
    """Everything that decides a run's weights, but for the versions of the software.

    `weights` is a path or a name to begin with (None: He initialisation), `variant` what they were trained as where
    they do not say and several fit, `new_head` leaves their classifier behind. `statistics` are those of the training
    images, or those that came with the weights: `weights_mean` and `weights_std` where these do not say. `select` says
    which epoch's weights are kept: the "best" on held-out images, the "last", or ("auto") the last of those that the
    held-out images cannot tell from the best. `teacher` is whose answers are learnt beside the labels.
    """

    recipe: str
    data: DataConfig
    model: Config
    augmentation: Augmentation
    preparation: Preparation
    train: TrainConfig
    weights: str | None = None
    variant: str | None = None
    weights_mean: tuple[float, ...] | None = None
    weights_std: tuple[float, ...] | None = None
    new_head: bool = False
    statistics: Literal["images", "weights"] = "images"
    select: Select = "auto"
    teacher: TeacherConfig | None = None
    seed: int = 0

    def fitted(self, facts: "Facts") -> "Run":
        """The same run for classes, channels, size and levels of these images; a size that the recipe sets stays."""
        side = self.preparation.size or facts.side
        model = self.model.replace(num_classes=facts.num_classes, input=(self.preparation.channels, side, side))
        data, preparation = self.data.replace(levels=facts.levels), self.preparation.replace(levels=facts.levels)
        return self.replace(model=model, data=data, preparation=preparation)


def load_run(folder: Path) -> Run:
    """The run in the folder, as it wrote itself down.

    Raises:
        InputError: no run there, or its description is damaged, changed by hand, or another run's.
    """
    require_own(folder, RUN)
    return load(Run, folder / RUN, "run description; is this a run folder?")


@dataclass(frozen=True)
class Facts:
    """What a recipe wants to know of a source: `side` is the median short side of its images in pixels.

    `beginning` is what the run begins with, where it does not begin from nothing.
    """

    source: str
    num_classes: int
    num_images: int
    channels: int
    side: int
    classes: tuple[str, ...] = ()
    beginning: "Beginning | None" = None
    levels: float | None = None


@dataclass(frozen=True)
class Beginning:
    """What a recipe wants to know of trained weights: how to find them, of what network, what they want of images.

    `mean` and `std` are what the user says of weights that do not say it.
    """

    weights: str
    variant: str | None
    model: Config
    classes: tuple[str, ...]
    preparation: Preparation
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def facts_of(source: Source, sample: int = 101) -> Facts:
    """The facts; of files the sizes of at most `sample` are read, evenly over the set, broken ones passed over."""
    images = source.train
    if isinstance(images, ArrayImages):
        side = min(images.pixels.shape[2:])
    else:
        assert isinstance(images, FileImages | StoredImages)
        every = max(1, len(images) // sample)
        side = int(median(_short_sides(images, range(0, len(images), every)) or [224]))
    levels = images.levels if isinstance(images, FileImages) else None
    return Facts(source.name, len(source.classes), len(images), source.channels, side, source.classes, levels=levels)


def smoke(run: Run) -> Run:
    """The same run cut down to 20 steps of 16 images: does it work at all, in under a minute on two cores."""
    train = run.train.replace(epochs=None, iterations=20, batch_size=16, accumulate=1, average_statistics=0)
    return run.replace(train=train)


def _short_sides(images: FileImages | StoredImages, indices: range) -> list[int]:
    sides = []
    for index in indices:
        try:
            if isinstance(images, FileImages):
                sides.append(min(image_size(images.paths[index])))
            else:
                sides.append(min(images.header(index)[:2]))
        except ValueError:  # a broken file: named when it is read
            continue
    return sides
