"""Boxes from maps by the protocol of the class activation maps, and how often they hit the object."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from deepres.analyze.attribution import UPSAMPLING, Method, attribution_maps, method_for, top_classes
from deepres.analyze.guards import counted, some
from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.data.images import Batch
from deepres.data.targets import tensor_of
from deepres.nn.build import ResidualNetwork
from deepres.tasks.localisation.measure import GUESSES, IOU, labelled, right, wrong

SHARE_OF_MAX = 0.2

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels; the far edges lie outside of the box."""


class Localisation(Record):
    """Errors in [0, 1]: the class wrong, or the class right and its box below the overlap; top-1 and best of top-5.

    `top5` is the best of as many classes as there are, where there are fewer than five. `given` is the error of the box
    of the true class, whatever the network answers.
    """

    num_images: int
    class_top1_wrong: int
    class_top5_wrong: int
    top1_wrong: int
    top5_wrong: int
    given_wrong: int
    class_top1_error: float
    class_top5_error: float
    top1_error: float
    top5_error: float
    given_error: float
    method: Method
    share_of_max: float
    iou: float
    upsampling: str


def box_of(heat: Tensor, share: float = SHARE_OF_MAX) -> Box | None:
    """The box around the largest connected part of heat > share max(heat): (H, W) -> pixels (Zhou et al. 2016).

    On the raw map: after scaling to its minimum the threshold would be another one. Parts are connected over edges,
    not corners, and the first from above wins of equal ones: ours. None where nothing of the map is positive.
    """
    values = heat.detach().cpu().double().numpy()
    if values.max() <= 0:
        return None
    labels, _ = ndimage.label(values > share * values.max())
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    rows, columns = ndimage.find_objects(labels)[int(sizes.argmax()) - 1]
    return columns.start, rows.start, columns.stop, rows.stop


def localise(
    network: ResidualNetwork,
    batches: Iterable[Batch],
    boxes: Mapping[int, Tensor],
    *,
    method: Method | None = None,
    share: float = SHARE_OF_MAX,
    iou: float = IOU,
    on_progress: OnProgress | None = None,
) -> Localisation:
    """An image is right where one of its first classes is the label and that class's box has IoU >= `iou` with a true
    box: for the first class, and for any of the first five (ILSVRC's localisation, Zhou et al. 2016).

    `boxes[index]` (K, 4) are the true boxes x1, y1, x2, y2 of the image of that index, in pixels of the batch's images
    (after resizing and cropping), of the labelled class. One box a class and one crop; the paper's submission to the
    test server and its released code do it otherwise.

    Raises:
        InputError: an image without a true box, labels that are mixed, no image at all.
    """
    chosen = method or method_for(network.description)
    images = class1 = class5 = box1 = box5 = given = 0
    for batch in counted(batches, on_progress):
        labels = tensor_of(batch.targets)
        if labels.dim() != 1:
            raise InputError("localisation: labels of mixed images; give batches as evaluation has them")
        labels = labels.cpu()
        truth = labelled(_true(batch, boxes), labels)
        targets = top_classes(network, batch.images, GUESSES)
        maps = attribution_maps(network, batch.images, targets, chosen)
        guessed = targets.cpu() == labels[:, None]  # no other guess can be right, and needs no box
        corners = torch.full((*guessed.shape, 4), torch.nan, dtype=torch.float64)
        for row, rank in guessed.nonzero().tolist():
            corners[row, rank] = _corners(maps[row, rank], share)
        found = right(targets, corners, truth, iou)
        class1, class5 = class1 + int(guessed[:, 0].sum()), class5 + int(guessed.any(1).sum())
        box1, box5 = box1 + len(batch) - wrong(found, 1), box5 + len(batch) - wrong(found)
        of_label = corners[torch.arange(len(labels)), guessed.int().argmax(1)][:, None]
        missed = (~guessed.any(1)).nonzero()[:, 0]
        if len(missed):
            own_maps = attribution_maps(network, batch.images[missed], labels[missed, None].to(targets), chosen)
            for place, row in enumerate(missed.tolist()):
                of_label[row, 0] = _corners(own_maps[place, 0], share)
        given += len(batch) - wrong(right(labels[:, None], of_label, truth, iou))
        images += len(batch)
    some(images)
    return Localisation(
        num_images=images,
        class_top1_wrong=images - class1,
        class_top5_wrong=images - class5,
        top1_wrong=images - box1,
        top5_wrong=images - box5,
        given_wrong=images - given,
        class_top1_error=(images - class1) / images,
        class_top5_error=(images - class5) / images,
        top1_error=(images - box1) / images,
        top5_error=(images - box5) / images,
        given_error=(images - given) / images,
        method=chosen,
        share_of_max=share,
        iou=iou,
        upsampling=UPSAMPLING,
    )


def _true(batch: Batch, boxes: Mapping[int, Tensor]) -> list[Tensor]:
    """The true boxes of each image of a batch."""
    rows = batch.indices.tolist()
    for index in rows:
        if index not in boxes or not len(boxes[index]):
            raise InputError(f"localisation: image {index} has no true box; give one for each, or leave it out")
    return [boxes[index].cpu() for index in rows]


def _corners(heat: Tensor, share: float) -> Tensor:
    """`box_of` as numbers, NaN where there is none: float64 (4,)."""
    box = box_of(heat, share)
    return torch.full((4,), torch.nan, dtype=torch.float64) if box is None else torch.tensor(box, dtype=torch.float64)
