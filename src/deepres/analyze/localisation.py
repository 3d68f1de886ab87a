"""Boxes from maps by the protocol of the class activation maps, and how often they hit the object."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torchvision.ops import box_iou

from deepres.analyze.attribution import UPSAMPLING, Method, attribution_maps, method_for, top_classes
from deepres.analyze.guards import counted, some
from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.data.images import Batch
from deepres.data.targets import tensor_of
from deepres.nn.build import ResidualNetwork

SHARE_OF_MAX = 0.2
IOU = 0.5

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels; the far edges lie outside of the box."""


class Localisation(Record):
    """Errors in [0, 1]: the class wrong, or the class right and its box below the overlap; top-1 and best of top-5.

    `top5` is the best of as many classes as there are, where there are fewer than five.
    """

    num_images: int
    class_top1_wrong: int
    class_top5_wrong: int
    top1_wrong: int
    top5_wrong: int
    class_top1_error: float
    class_top5_error: float
    top1_error: float
    top5_error: float
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
    images = class1 = class5 = box1 = box5 = 0
    for batch in counted(batches, on_progress):
        truth = tensor_of(batch.targets)
        if truth.dim() != 1:
            raise InputError("localisation: labels of mixed images; give batches as evaluation has them")
        targets = top_classes(network, batch.images, 5)
        maps = attribution_maps(network, batch.images, targets, chosen)
        for row, index in enumerate(batch.indices.tolist()):
            if index not in boxes or not len(boxes[index]):
                raise InputError(f"localisation: image {index} has no true box; give one for each, or leave it out")
            ranks = (targets[row].cpu() == truth[row].cpu()).nonzero().flatten().tolist()
            hit = bool(ranks) and _hits(maps[row, ranks[0]], boxes[index], share, iou)
            class5 += bool(ranks)
            class1 += ranks == [0]
            box5 += hit
            box1 += hit and ranks == [0]
        images += len(batch)
    some(images)
    return Localisation(
        num_images=images,
        class_top1_wrong=images - class1,
        class_top5_wrong=images - class5,
        top1_wrong=images - box1,
        top5_wrong=images - box5,
        class_top1_error=(images - class1) / images,
        class_top5_error=(images - class5) / images,
        top1_error=(images - box1) / images,
        top5_error=(images - box5) / images,
        method=chosen,
        share_of_max=share,
        iou=iou,
        upsampling=UPSAMPLING,
    )


def _hits(heat: Tensor, true: Tensor, share: float, iou: float) -> bool:
    box = box_of(heat, share)
    if box is None:
        return False
    overlaps: Tensor = box_iou(torch.tensor([box], dtype=torch.float64), true.cpu().double())
    return bool(overlaps.max() >= iou)
