"""mixup and cutmix: each image mixed with its predecessor in the batch, the labels in the same proportion."""

import torch
from torch import Tensor
from torch.nn import functional as F

from deepres.data.rng import seeded


def mix(
    images: Tensor, labels: Tensor, num_classes: int, *, mixup: float, cutmix: float, seed: int, step: int
) -> tuple[Tensor, Tensor]:
    """x_i' = l x_i + (1 - l) x_{i-1} (mixup), or x_i with a box of share 1 - l from x_{i-1} (cutmix); l ~ Beta(a, a).

    `images` float (N, C, H, W), `labels` int64 (N,); returns the mixed images and float32 labels (N, num_classes) whose
    rows sum to 1. `mixup` and `cutmix` are the two alphas, 0 = off; where both are on, each step takes one of them with
    probability 1/2. One l a batch, as both papers' codes have it (Zhang et al. 2018; Yun et al. 2019).
    """
    if not mixup and not cutmix:
        return images, F.one_hot(labels, num_classes).float()
    from torchvision.transforms import v2

    with seeded(seed, "mixing", step):
        takes_mixup = cutmix == 0 or (mixup > 0 and torch.rand(()).item() < 0.5)
        transform = (
            v2.MixUp(alpha=mixup, num_classes=num_classes)
            if takes_mixup
            else v2.CutMix(alpha=cutmix, num_classes=num_classes)
        )
        mixed, shares = transform(images, labels)
    return mixed, shares
