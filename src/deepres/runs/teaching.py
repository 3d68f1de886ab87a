"""Teachers as they answer: what a student is shown, for the student's classes; and what is said of them.

The student's images, augmented as they are, are shown to the teacher too: the very batch where both normalise alike,
else the same view in [0, 1] (`Batch.pixels`), as grey or RGB as the teacher wants it, resized (bilinear, antialiased)
to the short side that it wants, normalised by its own mean and std. What is mixed or erased is so for both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import AliasChoices, Field
from torch import Tensor, nn
from torch.nn import functional as F

from deepres.base.records import Record
from deepres.data.images import Batch
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.per_batch import in_channels, normalised
from deepres.data.transforms.statistics import Statistics
from deepres.nn.inference import Inference
from deepres.tasks.losses import Loss
from deepres.train.config import TeacherConfig
from deepres.train.distil import distilled


class Known(Record):
    """What a run finds out of its teachers when it begins (`introduce.py`).

    `error` is theirs together on so many `images` of that `split`, as the student is shown them; `taught` is their
    error on so many of the `views` that they are to teach, which are augmented; `share` that of a step's time which
    their answers take; `notes` say what they have seen of images to be measured, `doubt` that they
    hardly know these.
    """

    error: float = 0.0
    images: int = 0
    split: Annotated[Literal["held-out", "training"], Field(validation_alias=AliasChoices("split", "part"))] = (
        "held-out"
    )
    taught: float = 0.0
    views: int = 0
    share: float = 0.0
    notes: tuple[str, ...] = ()
    doubt: str = ""


@dataclass(frozen=True)
class Teacher:
    """One teacher: `columns` int64 (classes,) are the places of the student's classes among its own (None: the same).

    `alike` says that it wants images normalised as the student does, at `side` px.
    """

    weights: str
    network: Inference
    columns: Tensor | None
    preparation: Preparation
    statistics: Statistics
    side: int
    alike: bool
    said: tuple[str, ...]

    def logits(self, images: Tensor) -> Tensor:
        """Images normalised as it wants them (N, C, H, W) -> logits of the student's classes, float32 (N, classes)."""
        short = min(images.shape[-2:])
        if short != self.side:
            size = [max(1, round(length * self.side / short)) for length in images.shape[-2:]]
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        found, _ = self.network.quickly(images)
        return found if self.columns is None else found[:, self.columns]

    def of_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1] (N, C, H, W), which stay as they are -> as it wants them."""
        own = in_channels(pixels, self.preparation.channels).clone()
        return normalised(own, self.preparation, self.statistics.at_size(*own.shape[-2:]))


class Teachers(nn.Module):
    """Pixels in [0, 1] (N, C, H, W) -> log of the mean of the teachers' probabilities, (N, classes)."""

    def __init__(self, config: TeacherConfig, members: Sequence[Teacher], known: Known | None = None) -> None:
        super().__init__()
        self.config, self.members, self.known = config, tuple(members), known or Known()

    def known_as(self, known: Known) -> "Teachers":
        """The same, with what is known of them."""
        return Teachers(self.config, self.members, known)

    def forward(self, pixels: Tensor) -> Tensor:
        return self._mean(lambda one: one.of_pixels(pixels), 1.0)

    def answers(self, batch: Batch, temperature: float) -> Tensor:
        """Mean over the teachers of softmax(logits / temperature): (N, classes) float32."""

        def shown(one: Teacher) -> Tensor:
            if one.alike:
                return batch.images
            assert batch.pixels is not None
            return one.of_pixels(batch.pixels)

        return self._mean(shown, temperature).exp()

    @property
    def want_pixels(self) -> bool:
        """Whether a batch has to hold its pixels, because a teacher normalises otherwise than the student."""
        return bool(self.config.weight) and not all(one.alike for one in self.members)

    @torch.no_grad()
    def _mean(self, shown: Callable[[Teacher], Tensor], temperature: float) -> Tensor:
        with torch.autocast(self.members[0].network.device.type, enabled=False):
            each = [F.log_softmax(one.logits(shown(one).float()) / temperature, dim=1) for one in self.members]
        return each[0] if len(each) == 1 else torch.stack(each).logsumexp(0) - torch.tensor(float(len(each))).log()

    def lines(self) -> list[str]:
        """What is said of them before a run begins."""
        who = "teacher" if len(self.members) == 1 else "teachers, whose probabilities are averaged"
        by, loss = self.shown().values()
        doubt = [self.known.doubt] if self.known.doubt else []
        return [f"{who}: {by}", f"loss: {loss}", *doubt, *self.known.notes]

    def shown(self) -> dict[str, str]:
        """Who they are, and what is learnt of them: what the report has of it."""
        known = self.known
        said = f"error {100 * known.error:.1f} % on {known.images:,} {known.split} images, as the student is shown them"
        said += f", {100 * known.taught:.1f} % on {known.views:,} views as it is trained on" if known.views else ""
        errs = [said] if known.images else []
        each = [
            f"{one.network.network.description.name} from {'; '.join([one.weights, *one.said])}" for one in self.members
        ]
        asked = f"its answers take {100 * known.share:.0f} % of a step" if known.share else "it is not asked"
        return {"taught by": "; ".join([*each, *errs]), "loss": f"{self.config.formula} ({asked})"}

    def facts(self) -> dict[str, Any]:
        """What the summary of a run says of them."""
        names = [one.network.network.description.name for one in self.members]
        return {**self.config.model_dump(mode="json"), "models": names, **self.known.model_dump(mode="json")}


def taught(hard: Loss, teachers: Teachers | None) -> Loss:
    """The loss of a run: `hard` where nobody teaches."""
    if teachers is None:
        return hard
    return distilled(hard, teachers.answers, teachers.config.temperature, teachers.config.weight)
