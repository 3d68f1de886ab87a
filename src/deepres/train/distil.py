"""A teacher's answers learnt beside the labels (Hinton, Vinyals & Dean 2015), and what a run says of its teacher."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from deepres.data.images import Batch
from deepres.tasks.losses import Counts, Forward, Loss

Answers = Callable[[Batch, float], Tensor]
"""answers(batch, temperature) -> the teacher's probabilities at that temperature: float32 (N, classes), no gradient."""


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
            logits.append(network(images).float())  # once: both losses' gradients are added in float32
            return logits[-1]

        value, counts = hard(heard, batch)
        own = F.log_softmax(logits[-1] / temperature, dim=1)
        divergence = F.kl_div(own, wanted, reduction="batchmean")
        return (1 - weight) * value + weight * temperature**2 * divergence, counts

    return loss
