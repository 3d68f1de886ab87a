"""A teacher's answers learnt beside the labels (Hinton, Vinyals & Dean 2015), and what a run says of its teacher."""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from deepres.base.records import Record
from deepres.data.images import Batch
from deepres.train.losses import Counts, Forward, Loss

Positive = Annotated[float, Field(gt=0)]

Answers = Callable[[Batch, float], Tensor]
"""answers(batch, temperature) -> the teacher's probabilities at that temperature: float32 (N, classes), no gradient."""


class TeacherConfig(Record):
    """Who teaches: `weights` are runs, files or names; of several the probabilities are averaged.

    `variant`, `mean` and `std` are said of bare weights that do not say them; `size` is the short side in pixels at
    which a teacher sees the images (None: its own). The loss is `distilled`, with this `temperature` and `weight`.
    `digests`, one for each, are of all that decides its answers: weights, classes, mean and std.

    Temperature 4 and weight 0.9 are what the field trains CIFAR with (Cho & Hariharan 2019; Tian et al. 2020); the
    paper tries temperatures from 1 to 20 and finds a considerably lower weight of the labels best. Measured here: see
    `evidence/distillation.json`.
    """

    weights: Annotated[tuple[str, ...], Field(min_length=1)]
    variant: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: Annotated[int, Field(ge=1, le=4096)] | None = None
    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0
    weight: Annotated[float, Field(ge=0, le=1)] = 0.9
    digests: tuple[str, ...] = ()

    @property
    def formula(self) -> str:
        """`0.1 x cross-entropy + 0.9 x 4² x divergence from the teacher at temperature 4`."""
        hard, soft, t = f"{1 - self.weight:.4g}", f"{self.weight:.4g}", f"{self.temperature:.4g}"
        return f"{hard} x cross-entropy + {soft} x {t}² x divergence from the teacher at temperature {t}"

    @property
    def largest(self) -> float:
        """The loss of a network that guesses is at most so many times its cross-entropy."""
        return 1 - self.weight + self.weight * self.temperature**2


def distilled(hard: Loss, answers: Answers, temperature: float, weight: float) -> Loss:
    """(1 - w) L + w T^2 KL(p || q), L the loss `hard`, p the teacher's answers at T, q = softmax(logits / T).

    KL(p || q) = sum_k p_k log(p_k / q_k), mean over images. Its gradient shrinks as 1 / T^2, which T^2 makes good, so
    that w means the same at every temperature (section 2 of the paper). With weight 0 it is `hard` itself.
    """
    if not weight:
        return hard

    def loss(network: Forward, batch: Batch) -> tuple[Tensor, Counts]:
        wanted = answers(batch, temperature)  # first: its maps are gone when the student's are made
        logits: list[Tensor] = []

        def heard(images: Tensor) -> Tensor:
            logits.append(network(images))
            return logits[-1]

        value, counts = hard(heard, batch)
        own = F.log_softmax(logits[-1].float() / temperature, dim=1)
        divergence = F.kl_div(own, wanted, reduction="batchmean")
        return (1 - weight) * value + weight * temperature**2 * divergence, counts

    return loss
