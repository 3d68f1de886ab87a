"""Whether guesses of a class and a box are right: ILSVRC's localisation (Russakovsky et al. 2015, section 4.2).

N images with K guesses each, the likeliest first; M true boxes of all images.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torchvision.ops import box_iou

from deepres.data.boxes import BoxTargets
from deepres.tasks.detection.detections import Truth

IOU = 0.5
GUESSES = 5
"""So many guesses of an image are looked at: it is right where one of them is."""


def right(classes: Tensor, boxes: Tensor, truth: Truth, iou: float = IOU) -> Tensor:
    """Of each guess whether a true box of its class overlaps its box by an IoU of `iou` or more: bool (N, K).

    `classes` int64 (N, K); `boxes` (N, K, 4), NaN where there is none; `truth.image` is the row of the image. Both are
    in px of the same picture, whichever that is: a map that stretches the axes changes no IoU. What is ignored is no
    true box.
    """
    found = torch.zeros(classes.shape, dtype=torch.bool)
    classes, boxes = classes.cpu(), boxes.cpu().double()
    counted = truth.at(~truth.ignored)
    for row, corners, label in zip(counted.image.tolist(), counted.corners, counted.classes.tolist(), strict=True):
        overlaps = box_iou(boxes[row], corners[None].double())[:, 0]
        found[row] |= (classes[row] == label) & (overlaps >= iou)  # of NaN nothing holds
    return found


def labelled(corners: Sequence[Tensor], labels: Tensor) -> Truth:
    """The true boxes (K, 4) of each of N images, all of the class that it is labelled as, int64 (N,)."""
    number = torch.tensor([len(each) for each in corners])
    image, whole = torch.arange(len(corners)).repeat_interleave(number), torch.cat(list(corners)).double()
    areas = (whole[:, 2:] - whole[:, :2]).prod(1)
    ignored = torch.zeros(len(whole), dtype=torch.bool)
    columns = {"image": image, "corners": whole, "classes": labels[image], "ignored": ignored, "areas": areas}
    return Truth.of(columns)


def first_classes(targets: BoxTargets) -> Tensor:
    """The class of the first object that counts of each of N pictures, -1 without any: int64 (N,), on the CPU."""
    classes, counted = targets.classes.cpu(), ~targets.ignored.cpu()
    found = torch.full((len(targets),), -1, dtype=torch.int64)
    for place, (start, end) in enumerate(pairwise(targets.starts.tolist())):
        of_picture = classes[start:end][counted[start:end]]
        if len(of_picture):
            found[place] = of_picture[0]
    return found


def wrong(found: Tensor, guesses: int = GUESSES) -> int:
    """Of how many images none of the first `guesses` is right: of bool (N, K), of what `right` gives."""
    return int((~found[:, :guesses].any(1)).sum())
