"""VOC's masks: `SegmentationObject/a.png` beside `Annotations/a.xml`, value k where its object k lies, 255 at borders.

VOC has drawn them of a part of its pictures. Where all pictures with objects have one, they are read; of a part boxes
alone are read, or that part alone (`data.masks=on`), which is that of `ImageSets/Segmentation`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepres.base.errors import InputError
from deepres.base.files import what_lies
from deepres.base.reading import reading
from deepres.base.wording import counted
from deepres.data.decode import opened_file
from deepres.data.run_lengths import of_bitmap
from deepres.data.sources.box_labels import Labelled
from deepres.data.sources.config import DataConfig
from deepres.data.sources.splits import Split

FOLDER = "SegmentationObject"
BORDER = 255
"""Around each object; nobody says whose it is."""

_WHAT = "picture of numbers (PNG with a palette, or grey)"


def masks_png(labels: Path) -> Path:
    """Where the masks of a file of labels lie."""
    return labels.parent.parent / FOLDER / f"{labels.stem}.png"


def with_masks(parted: Mapping[Split, list[Labelled]], config: DataConfig) -> list[str]:
    """Give the objects their masks, and leave out pictures without under `data.masks=on`; what is said of it.

    Raises:
        InputError: masks that are none, or not those of the labels.
    """
    every = [picture for pictures in parted.values() for picture in pictures if picture.objects]
    there = {id(picture) for picture in every if what_lies(masks_png(picture.labels)) is not None}
    if config.masks == "off" or not there:
        return []
    part = f"{FOLDER} has masks of {len(there):,} of {counted(len(every), 'picture')} with objects"
    if len(there) < len(every) and config.masks == "auto":
        return [f"{part}: boxes alone are read; data.masks=on takes those pictures alone"]
    for pictures in parted.values():
        if len(there) < len(every):
            pictures[:] = [picture for picture in pictures if id(picture) in there]
        for picture in pictures:
            if picture.objects:
                _read(picture)
    return [f"{part}: the others are not used (data.masks=on)"] if len(there) < len(every) else []


def _read(picture: Labelled) -> None:
    path = masks_png(picture.labels)
    if (lies := what_lies(path)) != "a file":
        raise InputError(f"{path}: {lies}, wanted a {_WHAT}; bring it, or data.masks=off reads boxes alone")
    values = numbers_in(path)
    height, width = values.shape
    if picture.size is not None and picture.size != (width, height):
        told = "{} x {}".format(*picture.size)
        raise InputError(f"{path}: {width} x {height} px, {picture.labels.name} says {told}; wanted the same")
    most = int(values[values != BORDER].max(initial=0))
    if most > len(picture.objects):
        raise InputError(
            f"{path}: value {most}, {picture.labels.name} has {counted(len(picture.objects), 'object')}; is it of "
            "other labels? data.masks=off reads boxes alone"
        )
    picture.objects = [
        found._replace(shape=of_bitmap(values == number)) for number, found in enumerate(picture.objects, 1)
    ]


def numbers_in(path: Path) -> NDArray[np.uint8]:
    """The values of a picture whose colours are numbers, uint8 (H, W).

    Raises:
        InputError: it is none.
    """
    with reading(path, f"a {_WHAT}"), opened_file(path) as (_, image):
        mode, values = image.mode, np.array(image)
    if mode not in ("P", "L"):
        raise InputError(f"{path}: colours ({mode}), wanted a {_WHAT} whose value k is object k")
    return values.astype(np.uint8)
