"""The section on boxes: how often the box around a class's map hits the object that images are labelled as."""

from dataclasses import replace

import torch
from torch import Tensor

from deepres.analyze.localisation import SHARE_OF_MAX, localise
from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.base.files import path_of
from deepres.base.wording import counted, percent
from deepres.data.boxes import BoxTargets
from deepres.data.images import Images
from deepres.data.sources.boxes_imagenet import TABLES
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import find
from deepres.data.targets import tensor_of
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.geometry import evaluated
from deepres.runs.analysis.units import AnalysisSubject, Section
from deepres.tasks.localisation.measure import IOU


def boxes_around_maps(subject: AnalysisSubject, on_progress: OnProgress) -> Section:
    """ILSVRC's localisation by class activation maps (Zhou et al. 2016), on images whose source has boxes too."""
    if subject.data is None:
        raise InputError("localisation: images without a source; name one that has boxes")
    kept, corners = true_boxes(subject.images, subject.data)
    if not kept:
        raise InputError(
            f"{subject.data.source}: no box of the class that an image is labelled as; wanted boxes beside the class "
            "folders, such as ImageNet's LOC_val_solution.csv"
        )
    chosen = replace(subject, images=subject.images.select(kept))
    preparation = subject.predictor.preparation
    moved = {place: _moved(each, chosen.images, place, preparation) for place, each in enumerate(corners)}
    found = localise(subject.network, chosen.batches(), moved, on_progress=on_progress)
    left = len(subject.images) - len(kept)
    told = [
        f"top-5 localisation error {percent(found.top5_error)} (class and box, the best of five), top-1 "
        f"{percent(found.top1_error)}, on {counted(found.num_images, 'image')}; of the class alone "
        f"{percent(found.class_top5_error)} and {percent(found.class_top1_error)}",
        f"error of the box given the true class {percent(found.given_error)}",
    ]
    return Section(
        "localisation",
        "Where the object is",
        "An image is right where one of the first five classes is its own and the box around the largest part of that "
        f"class's map above {100 * SHARE_OF_MAX:.0f} % of its maximum overlaps a true box by an IoU of {IOU:g} or more "
        "(ILSVRC's localisation; Zhou et al. 2016). The network has never seen a box. Boxes lie in the part of the "
        "picture that it is shown, true ones in all of it.",
        [*told, *([f"{counted(left, 'image')} without a box of its class left out"] if left else [])],
        {"errors": found},
    )


def true_boxes(images: Images, data: DataConfig) -> tuple[list[int], list[Tensor]]:
    """The places of the images that have boxes of their own class, and these: float64 (K, 4), px of the picture.

    The boxes are what the source's labels say where it is read for boxes; ignored ones are none.
    """
    tables = any((path_of(data.source) / name).is_file() for name in TABLES.values())
    kind = "imagenet" if tables else "auto"  # which may stand beside the XML that they were made of
    found = find(data.replace(targets="boxes", boxes=kind, depth=None, splits="auto", columns=None))
    beside: dict[str, tuple[BoxTargets, int]] = {}
    for split in found.splits.values():
        targets = split.targets
        assert isinstance(targets, BoxTargets)
        beside |= {str(path): (targets, place) for place, path in enumerate(split.paths)}
    kept, corners = [], []
    labels = tensor_of(images.targets).tolist()
    for place, label in enumerate(labels):
        if (here := beside.get(images.name(place))) is None:
            continue
        boxes = here[0][here[1]]
        own = [found.classes[number] == images.classes[label] for number in boxes.classes.tolist()]
        counts = torch.tensor(own, dtype=torch.bool) & ~boxes.ignored
        if bool(counts.any()):
            kept.append(place)
            corners.append(boxes.corners[counts].double())
    return kept, corners


def _moved(corners: Tensor, images: Images, place: int, preparation: Preparation) -> Tensor:
    """Boxes of the picture as the network is shown it; what of them is cut off still counts."""
    header = images.header(place)
    geometry = evaluated(preparation, [(header.width, header.height)])
    return geometry.points(corners.reshape(1, -1, 2)).reshape(-1, 4)
