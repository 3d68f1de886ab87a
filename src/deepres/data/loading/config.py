"""How batches are made: how many images, read by whom, for which device, and what training draws."""

from dataclasses import dataclass
from typing import Literal

import torch

from deepres.data.loading.workers import PREFETCH_FACTOR
from deepres.data.transforms.config import Decode

OnBadImage = Literal["stop", "skip"]


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """Batches of `batch_size` images for `device`, read by `workers` processes (0 = this one).

    A bad image stops the run with `BadImageError`, or under "skip" is left out of its batch, never replaced.
    Process `rank` of `world_size` gets its own share: of a training batch, or of the batches of an evaluation.
    """

    batch_size: int
    workers: int = 0
    on_bad_image: OnBadImage = "stop"
    device: torch.device | str = "cpu"
    rank: int = 0
    world_size: int = 1


@dataclass(frozen=True, kw_only=True)
class TrainLoaderConfig(LoaderConfig):
    """What training draws with `seed`: each worker reads at most `prefetch_factor` batches before they are asked for.

    Files are decoded as `decode` says (per_image.py); images in memory always whole. With `even` every class is drawn
    equally often (balance.py); `with_pixels`: batches hold the images as they are before normalisation too
    (`Batch.pixels`). `num_classes` None: those of the images. Each image of a batch is in it `repeats` times, augmented
    anew each time (sampler.py).
    """

    seed: int
    prefetch_factor: int = PREFETCH_FACTOR
    decode: Decode = "full"
    num_classes: int | None = None
    with_pixels: bool = False
    even: bool = False
    repeats: int = 1
