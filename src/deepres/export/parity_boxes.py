"""Real pictures through a detector and the file that was made of it: which boxes both find, and how far apart."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from deepres.data.transforms.per_image import fit
from deepres.export.parity import FEWEST, Differing, Parity, readable, require_enough, short_name, spread
from deepres.nn.environment import hardware, versions
from deepres.predict.exported.bundle import Bundle
from deepres.predict.pictures import Picture
from deepres.predict.predictor import Predictor
from deepres.tasks.detection.regions import Found

SAME = 0.9
"""Two boxes of one class are the same from this IoU on."""

TOGETHER = (1, 2, 5)
"""So many pictures are asked in one call, in the first calls; in those after them one."""

FileBoxes = Callable[[Tensor], Sequence[Tensor]]
"""Resized pictures uint8 (N, C, H, W) -> boxes (M, 4), labels (M,), scores (M,), counts (N,)."""


def compared_boxes(
    predictor: Predictor,
    asked: FileBoxes,
    pictures: Sequence[Picture],
    bundle: Bundle,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Parity:
    """Pictures as decoded, resized, through `asked` and through the predictor's network.

    A picture differs where a box that is shown, of the task's `above` or more, is found by one of them alone.

    Raises:
        InputError: fewer than 64 of them can be read.
    """
    unread, differing, scores, corners = list[str](), list[Differing](), [torch.zeros(0)], [torch.zeros(0)]
    images = unmatched = 0
    above: float = getattr(predictor.task, "above", 0.5)
    for picture, pixels in islice(readable(spread(pictures), predictor, unread), FEWEST):
        number = TOGETHER[images] if images < len(TOGETHER) else 1
        own, other = _of_network(predictor, pixels), _of_file(asked, fit(pixels, predictor.preparation), number)
        mine, theirs = matched(own, other)
        scores.append((own.scores[mine] - other.scores[theirs]).abs())
        corners.append((own.corners[mine] - other.corners[theirs]).abs().flatten())
        alone = [without(own, mine), without(other, theirs)]
        unmatched += sum(len(each.scores) for each in alone)
        shown = torch.cat([each.scores[each.scores >= above] for each in alone])
        if len(shown):
            told = [f"{int((each.scores >= above).sum())} boxes" for each in (own, other)]
            margin = float((shown - above).max())
            differing.append(Differing(image=short_name(picture), network=told[0], file=told[1], margin=margin))
        images += 1
        if on_progress is not None:
            on_progress(images, min(FEWEST, len(pictures)))
    require_enough(images)
    apart, moved = torch.cat(scores), torch.cat(corners)
    return Parity(
        images=images,
        max_difference=float(apart.max()) if len(apart) else 0.0,
        mean_difference=float(apart.mean()) if len(apart) else 0.0,
        agreement=1 - len(differing) / images,
        differing=tuple(differing),
        unread=tuple(unread),
        runtime=str(getattr(asked, "__self__", asked)),  # what these outputs are of
        versions=dict(versions()),
        hardware=hardware(torch.device("cpu")),
        run=bundle.run,
        max_px=float(moved.max()) if len(moved) else 0.0,
        unmatched=unmatched,
    )


def matched(own: Found, other: Found) -> tuple[Tensor, Tensor]:
    """Places of boxes that are the same, each once: those of `own`, and of `other`."""
    alike = box_iou(own.corners.double(), other.corners.double())
    alike = torch.where(own.classes[:, None] == other.classes, alike, 0.0)
    mine, theirs = [], []
    while alike.numel() and float(alike.max()) >= SAME:
        row, column = divmod(int(alike.argmax()), alike.shape[1])
        mine.append(row)
        theirs.append(column)
        alike[row], alike[:, column] = 0.0, 0.0
    return torch.tensor(mine, dtype=torch.int64), torch.tensor(theirs, dtype=torch.int64)


def without(found: Found, places: Tensor) -> Found:
    """What was found, but for these places."""
    left = torch.ones(len(found.scores), dtype=torch.bool).index_fill(0, places, False)
    return found.at(left)


def _of_file(asked: FileBoxes, resized: Tensor, number: int) -> Found:
    """What the file finds on a picture that is the last of so many in one call; the others are its mirror."""
    *parts, counts = asked(torch.stack([*[resized.flip(2)] * (number - 1), resized]))
    return Found(*(each[len(each) - int(counts[-1]) :] for each in parts))


@torch.inference_mode()
def _of_network(predictor: Predictor, pixels: Tensor) -> Found:
    batch: Any = predictor.task.asked(pixels, predictor.preparation, predictor.statistics)
    found: list[Found] = predictor.network(batch.images, batch.targets.where.sizes)
    return found[0]
