"""What training minimises: cross-entropy against a class, a mixture, smoothed labels; or of each class."""

import torch.nn.functional as F
from torch import Tensor

from deepres.data.images import Batch
from deepres.data.targets import tensor_of
from deepres.tasks.losses import Counts, Forward, Loss, OnceThere


def cross_entropy(label_smoothing: float = 0.0, weights: Tensor | None = None) -> Loss:
    """-sum_k q_k log p_k, p = softmax(logits), q = (1 - s) label + s / classes (Szegedy et al. 2016, section 7).

    Computed in float32 whatever the network's precision; labels are class numbers or, once mixed, distributions.
    With `weights` (C,) of the classes -sum_k w_k q_k log p_k, in both cases averaged over the images. That is torch's
    loss of each image, but not its mean of class numbers, which divides by the weights that a batch happens to hold: a
    step would then depend on how it is cut into parts or dealt out to processes.
    """

    held = None if weights is None else OnceThere(weights)

    def loss(network: Forward, batch: Batch) -> tuple[Tensor, Counts]:
        logits, truth = network(batch.images).float(), tensor_of(batch.targets)
        counts = {"wrong": wrong(logits.detach(), truth)}
        if held is None:
            return F.cross_entropy(logits, truth, label_smoothing=label_smoothing), counts
        w = held.on(logits.device)
        total = F.cross_entropy(logits, truth, w, label_smoothing=label_smoothing, reduction="sum")
        return total / len(batch), counts

    return loss


def binary_cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """-mean_k (q_k log p_k + (1 - q_k) log(1 - p_k)), p = sigmoid(logits), q = (1 - s) label + s / classes.

    Each class is asked on its own whether the image is of it (Wightman et al. 2021, section 2.1, as timm computes it:
    averaged over classes and images, so that it is smaller than a cross-entropy, and wants a larger rate of SGD).
    Computed in float32 whatever the network's precision; labels are class numbers or, once mixed, distributions.
    """

    def loss(network: Forward, batch: Batch) -> tuple[Tensor, Counts]:
        logits, truth = network(batch.images).float(), tensor_of(batch.targets)
        classes = logits.shape[1]
        labels = F.one_hot(truth, classes) if truth.dim() == 1 else truth
        wanted = (1 - label_smoothing) * labels.to(logits.dtype) + label_smoothing / classes
        return F.binary_cross_entropy_with_logits(logits, wanted), {"wrong": wrong(logits.detach(), truth)}

    return loss


def wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of the batch are not classified as their (main) label: int64 scalar."""
    truth = labels if labels.dim() == 1 else labels.argmax(1)
    return (logits.argmax(1) != truth).sum()
