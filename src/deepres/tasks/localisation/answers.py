"""Collects guesses batch by batch; truth is that of the measured pictures, by their places."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from deepres.data.boxes import BoxTargets
from deepres.tasks.collected import Collected, require_finite
from deepres.tasks.detection.detections import Truth
from deepres.tasks.localisation.guessing import Guessed
from deepres.tasks.localisation.measure import right


@dataclass(frozen=True, eq=False)
class GuessAnswers:
    """Guesses as in `Guessed`, of the pictures `indices` int64 (N,), sorted.

    Once they have been held against their pictures (`known`): `right` bool (N, K) of each guess, `given_right` (N,) of
    the box of the true class.
    """

    indices: Tensor
    classes: Tensor
    chances: Tensor
    boxes: Tensor
    labels: Tensor
    given: Tensor
    right: Tensor
    given_right: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def lean(self) -> "GuessAnswers":
        """As it is: nothing in it is only for some."""
        return self

    def at(self, places: Tensor) -> "GuessAnswers":
        """The answers of the pictures at these places."""
        return GuessAnswers(**{each.name: getattr(self, each.name)[places] for each in fields(self)})

    def known(self, targets: BoxTargets) -> "GuessAnswers":
        """With what is right: `targets` are those of the whole set, in px of the upright pictures."""
        truth = Truth.marked(targets[self.indices])
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        columns["right"] = right(self.classes, self.boxes, truth)
        columns["given_right"] = right(self.labels[:, None], self.given[:, None], truth)[:, 0]
        return GuessAnswers(**columns)

    def saved(self) -> dict[str, Tensor]:
        """As columns of a file; the label is the `truth`."""
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**{name: column for name, column in columns.items() if name != "labels"}, "truth": self.labels}


class GuessMetrics:
    """Neither the cut into batches nor their order nor the number of processes changes an answer."""

    def __init__(self) -> None:
        self._seen = Collected()

    def update(self, outputs: Guessed, targets: object, indices: Tensor) -> None:
        """Add a batch and the places of its pictures (N,).

        Raises:
            RunError: a box or a chance is not finite; pictures are named by their places.
        """
        require_finite(torch.cat([outputs.chances, outputs.boxes.flatten(1)], 1), indices, "guesses")
        self._seen.add(indices=indices, **outputs.columns())

    def merge(self, other: "GuessMetrics") -> None:
        """Add all that `other` has seen."""
        self._seen.merge(other._seen)

    def answers(self) -> GuessAnswers:
        """All answers so far, in order; errors as `Collected.columns`."""
        columns = self._seen.columns()
        nothing = torch.zeros(columns["classes"].shape, dtype=torch.bool)
        return GuessAnswers(**columns, right=nothing, given_right=nothing[:, 0])
