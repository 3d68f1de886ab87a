"""What weights want done to an image: from what they say of it, in deepres' words or the field's, and back."""

from pathlib import Path

import torch

from deepres.base.errors import InputError
from deepres.base.records import build
from deepres.data.statistics import Statistics
from deepres.data.transforms import Preparation
from deepres.nn.layouts import Preprocessing, Stored
from deepres.spec.network import Network

STATISTICS = "statistics.safetensors"


def prepared_for(
    stored: Stored,
    description: Network,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> tuple[Preparation, Statistics]:
    """Preparation and statistics of these weights: the run's own, the library's, else those of ImageNet's networks.

    Weights that say nothing get the mean and std that torchvision's and timm's networks have, and the network's own
    input size, cut from a short side of 256 / 224 of it (small inputs, up to 96 px, from the whole short side). `mean`
    and `std` are what the user says instead.

    Raises:
        InputError: statistics that do not go with the run's preparation; grey images and no mean given.
    """
    folder = Path(stored.where)
    if stored.preparation and (folder / STATISTICS).is_file():
        return build(Preparation, dict(stored.preparation), str(folder)), Statistics.load(folder / STATISTICS)
    channels, side, _ = description.input
    wanted = stored.preprocessing or Preprocessing(crop=side, resize=side if side <= 96 else side * 256 // 224)
    wanted = wanted.replace(mean=mean or wanted.mean, std=std or wanted.std)
    if not len(wanted.mean) == len(wanted.std) == channels:
        raise InputError(
            f"{stored.where}: images of {channels} channels, a mean of {len(wanted.mean)}; say with --mean and --std "
            "what was subtracted and divided by, on a scale of 0 to 1"
        )
    preparation = Preparation(
        channels=channels,
        fit=wanted.fit,
        resize=wanted.resize,
        crop=wanted.crop,
        interpolation=wanted.interpolation,
    )
    return preparation, statistics_of(wanted)


def statistics_of(preprocessing: Preprocessing) -> Statistics:
    """Mean and std alone; colour axes and mean image are not known of weights made elsewhere."""
    channels = len(preprocessing.mean)
    return Statistics(
        mean=torch.tensor(preprocessing.mean),
        std=torch.tensor(preprocessing.std),
        eigenvalues=torch.zeros(channels),
        eigenvectors=torch.eye(channels),
        mean_image=None,
        count=0,
    )


def preprocessing_of(preparation: Preparation, statistics: Statistics, description: Network) -> Preprocessing:
    """The field's words for it. A mean image becomes its mean per channel, which is nearly the same."""
    side = preparation.size or description.input[1]
    ones, zeros = (1.0,) * preparation.channels, (0.0,) * preparation.channels
    mean = zeros if preparation.normalise == "none" else tuple(statistics.mean.tolist())
    return Preprocessing(
        crop=side,
        resize=preparation.resize if preparation.fit == "crop" and preparation.resize else side,
        mean=mean,
        std=tuple(statistics.std.tolist()) if preparation.normalise == "per_channel" else ones,
        interpolation=preparation.interpolation,
        fit=preparation.fit or "crop",
    )
