"""Classes of unequal size: how unequal they are, what makes them weigh alike in the loss, or come equally often.

N images, C classes, n_c images of class c.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from deepres.base.wording import counted
from deepres.data.loading.sampler import Draw, batch_at
from deepres.data.rng import generator

UNEQUAL = 2.0
"""The greatest class has so many times the images of the smallest, at least, where that is said."""


def sizes(labels: Tensor, num_classes: int) -> tuple[int, ...]:
    """n_c of every class."""
    return tuple(torch.bincount(labels.cpu(), minlength=num_classes).tolist())


def imbalance(counts: Sequence[int]) -> float:
    """max n_c / min n_c, over the classes that have images."""
    there = [count for count in counts if count]
    return max(there) / min(there) if there else 1.0


def unequal(counts: Sequence[int]) -> str | None:
    """`classes from 12 to 240 images (20 to 1)`; None where the greatest has less than twice the smallest's."""
    ratio = imbalance(counts)
    there = [count for count in counts if count]
    return (
        f"classes from {min(there):,} to {counted(max(there), 'image')} ({ratio:.3g} to 1)"
        if ratio >= UNEQUAL
        else None
    )


def effective(counts: Sequence[int]) -> int:
    """C^2 / sum_c 1 / n_c: a mean over classes is as sure as one over so many images, if all classes err alike."""
    there = [count for count in counts if count]
    return round(len(there) ** 2 / sum(1 / count for count in there))


def class_weights(counts: Sequence[int]) -> Tensor:
    """w_c = N / (C n_c), float32 (C,): their mean over the images is 1, and each class weighs N / C in all.

    What scikit-learn calls "balanced" (King & Zeng 2001). A class without images weighs nothing.
    """
    there = sum(count > 0 for count in counts)
    return torch.tensor([sum(counts) / (there * count) if count else 0.0 for count in counts])


class EvenDraws:
    """A training stream in which every class comes equally often, as a function of seed and step (compare order.py).

    Slot s belongs to class s mod C and is draw k = s div C of it; the draws of a class pass over its images again and
    again, so that they too come equally often. Place p of the stream, in epoch e = p div N, is slot
    e N + permutation(seed, e, N)[p mod N]: within an epoch of N draws no class comes more than once more than another.
    """

    def __init__(self, labels: Tensor, num_classes: int) -> None:
        self._members = [(labels.cpu() == label).nonzero()[:, 0] for label in range(num_classes)]
        self._members = [members for members in self._members if len(members)]
        self._num_images = len(labels)
        self._epoch = lru_cache(maxsize=4)(self._slots)

    def batch_at(self, step: int, batch_size: int, seed: int) -> Draw:
        """What step `step` draws."""
        n = self._num_images
        order, places = batch_at(step, batch_size, n, seed)
        epochs = places // n
        indices = torch.empty_like(order)
        for epoch in sorted(set(epochs.tolist())):
            here = epochs == epoch
            indices[here] = self._epoch(seed, epoch)[order[here]]
        return Draw(indices, places)

    def _slots(self, seed: int, epoch: int) -> Tensor:
        """The images of the slots of one epoch, int64 (N,)."""
        n, classes = self._num_images, len(self._members)
        first, images = epoch * n, torch.empty(n, dtype=torch.int64)
        for label, members in enumerate(self._members):
            start = (label - first) % classes  # the first slot of the class in this epoch
            draws = len(range(start, n, classes))
            images[start::classes] = self._drawn(members, label, (first + start) // classes, draws, seed)
        return images

    def _drawn(self, members: Tensor, label: int, first: int, draws: int, seed: int) -> Tensor:
        """Draws `first` … of a class: pass c over its n images is in the order of `permutation(seed, class, c)`.

        Of whole passes the order does not matter, since slots are put into an order of their own.
        """
        n = len(members)
        parts, at = [], first
        while at < first + draws:
            begin, end = at % n, min(n, at % n + first + draws - at)
            if begin == 0 and end == n:
                passes = (first + draws - at) // n
                parts.append(members.repeat(passes))
                at += passes * n
                continue
            order = torch.randperm(n, generator=generator(seed, "order of a class", label, at // n))
            parts.append(members[order[begin:end]])
            at += end - begin
        return torch.cat(parts) if parts else members[:0]
