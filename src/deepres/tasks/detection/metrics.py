"""Collects what was found, batch by batch; truth is that of the measured pictures, by their places."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from deepres.base.errors import InputError, RunError
from deepres.base.wording import counted
from deepres.data.boxes import BoxTargets
from deepres.tasks.collected import Collected
from deepres.tasks.detection.detections import Detections, Truth


@dataclass(frozen=True, eq=False)
class BoxAnswers:
    """What was found in the pictures `indices` int64 (N,), sorted; `image` of each box is one of them.

    `truth` is what is there, once the answers have been held against their pictures (`known`).
    """

    indices: Tensor
    detections: Detections
    truth: Truth = field(default_factory=Truth.none)

    def __len__(self) -> int:
        return len(self.indices)

    def lean(self) -> "BoxAnswers":
        """As it is: nothing in it is only for some."""
        return self

    def at(self, places: Tensor) -> "BoxAnswers":
        """The answers of the pictures at these places."""
        kept = self.indices[places].sort().values
        return BoxAnswers(kept, self.detections.placed(kept).moved(kept), self.truth.placed(kept).moved(kept))

    def known(self, targets: BoxTargets) -> "BoxAnswers":
        """With what is there: `targets` are those of the whole set, in px of the upright pictures.

        Where masks were found they have masks too; a picture in which nothing was found needs none.
        """
        found, sizes = self.detections.placed(self.indices), None
        if found.masks is not None:
            sizes = {at: runs.size for at, runs in zip(found.image.tolist(), found.masks.runs, strict=True)}
        truth = Truth.marked(targets[self.indices], sizes).moved(self.indices)
        return BoxAnswers(self.indices, self.detections, truth)


class DetectionMetrics:
    """Neither the cut into batches nor their order nor the number of processes changes an answer.

    Boxes are told in px of the upright picture, as `targets` of a set are and those of a batch, which move with the
    prepared picture, are not: so truth is taken from the set, by the places of the pictures (`BoxAnswers.known`).
    """

    def __init__(self) -> None:
        self._pictures = Collected()
        self._found: list[Detections] = []

    def update(self, outputs: Detections, targets: object, indices: Tensor) -> None:
        """Add a batch: boxes whose `image` is the row of the batch, and the places of its pictures (N,).

        Raises:
            RunError: a corner or a score is not finite; pictures are named by their places.
        """
        places = indices.detach().cpu()
        found = Detections.of({**outputs.columns(), "masks": outputs.masks})
        _require_finite(found, places)
        self._pictures.add(indices=places)
        self._found.append(found.moved(places))

    def merge(self, other: "DetectionMetrics") -> None:
        """Add all that `other` has seen."""
        self._pictures.merge(other._pictures)
        self._found.extend(other._found)

    def answers(self) -> BoxAnswers:
        """All answers so far, by picture; of one picture in the order of the network. Errors: `Collected.columns`."""
        return BoxAnswers(self._pictures.columns()["indices"], Detections.together(self._found))


def require_object(truth: Truth, names: tuple[str, ...], split: str) -> None:
    """Refuse to measure where there is nothing to find.

    Raises:
        InputError: no picture has an object that counts.
    """
    if not int((~truth.ignored).sum()):
        left = f" ({counted(len(truth), 'box')} to be ignored)" if len(truth) else ""
        raise InputError(
            f"{split}: no object of {', '.join(names[:3])}{' …' if len(names) > 3 else ''} in any picture{left}: "
            "AP is not defined; nothing was measured, give pictures with boxes"
        )


def _require_finite(found: Detections, places: Tensor) -> None:
    finite = found.corners.isfinite().all(1) & found.scores.isfinite()
    if not finite.all():
        named = ", ".join(str(int(i)) for i in places[sorted(set(found.image[~finite].tolist()))][:3])
        raise RunError(
            f"evaluation: {counted(int((~finite).sum()), 'box')} of {counted(len(found), 'box')} found "
            f"{'is' if int((~finite).sum()) == 1 else 'are'} not finite (picture {named}); "
            "the weights are damaged, or training diverged: lower the learning rate"
        )


def of_batch(pictures: "list[dict[str, Tensor]]") -> Detections:
    """Boxes of a batch, a dictionary a picture, as torchvision has it: "boxes" (M, 4), "labels" from 0, "scores"."""
    return Detections.together(
        [
            Detections.of(
                {
                    "image": torch.full((len(one["scores"]),), row),
                    "corners": one["boxes"],
                    "classes": one["labels"],
                    "scores": one["scores"],
                }
            )
            for row, one in enumerate(pictures)
        ]
    )
