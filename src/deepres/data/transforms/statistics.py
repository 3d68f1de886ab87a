"""What the training images are like: mean and spread by channel, the mean image, the principal axes of colour."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional

from deepres.base.errors import InputError
from deepres.base.files import read_bytes, write_atomic
from deepres.base.reading import reading, require_small
from deepres.base.wording import some
from deepres.data.decode import BadImageError
from deepres.data.images import Images
from deepres.data.rng import generator
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.per_image import fit

CHUNK = 500  # images in memory that are summed at once


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of pixel values in [0, 1], float32: `mean`, `std` (C,), `mean_image` (C, H, W) where it is subtracted.

    `eigenvalues` (C,), falling, and `eigenvectors` (C, C), in columns, are those of the pixels' covariance between
    channels. `count` says how many images were measured; 0 = published values.
    """

    mean: Tensor
    std: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor
    mean_image: Tensor | None
    count: int

    def to(self, device: torch.device | str) -> "Statistics":
        """The same numbers on `device`."""
        return Statistics.from_tensors({name: tensor.to(device) for name, tensor in self.to_tensors().items()})

    def at_size(self, height: int, width: int) -> "Statistics":
        """The same, the mean image resized (bilinear) to `height` x `width`; itself where it has that size."""
        if self.mean_image is None or self.mean_image.shape[-2:] == (height, width):
            return self
        resized = functional.interpolate(self.mean_image[None], (height, width), mode="bilinear", antialias=True)[0]
        return replace(self, mean_image=resized)

    def to_tensors(self) -> dict[str, Tensor]:
        """By name, `count` as int64 (); `from_tensors` gives an equal value back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: torch.as_tensor(value) for name, value in values.items() if value is not None}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], where: str = "statistics") -> "Statistics":
        """Of what `to_tensors` gave.

        Raises:
            InputError: a tensor is missing, or one is unknown.
        """
        wanted = {field.name for field in fields(cls)}
        if tensors.keys() | {"mean_image"} != wanted:
            raise InputError(f"{where}: holds {some(sorted(tensors))}; wanted {', '.join(sorted(wanted))}")
        floats = {name: tensor for name, tensor in tensors.items() if name not in ("count", "mean_image")}
        return cls(**floats, mean_image=tensors.get("mean_image"), count=int(tensors["count"]))

    def save(self, path: Path) -> None:
        """Write as safetensors, whole or not at all."""
        write_atomic(path, save({name: tensor.cpu().contiguous() for name, tensor in self.to_tensors().items()}))

    @classmethod
    def load(cls, path: Path) -> "Statistics":
        """Read what `save` wrote.

        Raises:
            InputError: no such file, or values that no images have: not finite, or of pixels outside [0, 1].
        """
        what = "statistics of the training images"
        require_small(path, what)
        with reading(path, f"the {what}", "bring a whole file of statistics"):
            tensors = load(read_bytes(path))
            found = cls.from_tensors(tensors, str(path))
        for name, tensor in tensors.items():
            if name != "count" and not (tensor.is_floating_point() and bool(torch.isfinite(tensor).all())):
                raise InputError(f"{path}: {name} is no finite number everywhere; bring a whole file of statistics")
        means = [found.mean] if found.mean_image is None else [found.mean, found.mean_image]
        channels = found.mean.numel()
        if found.eigenvalues.shape != (channels,) or found.eigenvectors.shape != (channels, channels):
            raise InputError(f"{path}: its colour axes are of another number of channels; bring a whole file")
        if found.mean_image is not None and (found.mean_image.dim() != 3 or len(found.mean_image) != channels):
            raise InputError(f"{path}: its mean image is of another number of channels; bring a whole file")
        if found.mean.shape != found.std.shape or found.mean.dim() != 1 or any(_outside(each) for each in means):
            raise InputError(
                f"{path}: mean {found.mean.tolist()}, std {found.std.tolist()}; wanted those of pixels from 0 to 1, "
                "one for each channel; values as of 0 to 255 are to be divided by 255"
            )
        return found


def imagenet_statistics() -> Statistics:
    """Mean and std that go with torchvision's and timm's ImageNet weights; colour axes as in fb.resnet.torch."""
    return Statistics(
        mean=torch.tensor([0.485, 0.456, 0.406]),
        std=torch.tensor([0.229, 0.224, 0.225]),
        eigenvalues=torch.tensor([0.2175, 0.0188, 0.0045]),
        eigenvectors=torch.tensor([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]),
        mean_image=None,
        count=0,
    )


def measure_statistics(
    images: Images,
    preparation: Preparation,
    *,
    limit: int = 2000,
    seed: int = 0,
    on_bad_image: Literal["stop", "skip"] = "stop",
) -> Statistics:
    """Mean, std (of the population), mean image and colour covariance of the images as evaluation would see them.

    Exact over images in memory; of files, a seeded sample of at most `limit` is read. Sums are of whole numbers in
    float64, hence exact and independent of the order. The mean image is measured where `normalise` is "per_pixel".

    Raises:
        BadImageError: an image cannot be read and `on_bad_image` is "stop".
        InputError: no image at all; sizes that differ, for a mean image; one value everywhere, for a std.
    """
    channels = preparation.channels
    total, count, pixels = torch.zeros(channels, dtype=torch.float64), 0, 0
    products = torch.zeros(channels, channels, dtype=torch.float64)
    image_total: Tensor | None = None
    for chunk in _chunks(images, preparation, limit, seed, on_bad_image):
        values_CNP = chunk.to(torch.float64).transpose(0, 1).reshape(channels, -1)
        total += values_CNP.sum(1)
        products += values_CNP @ values_CNP.T
        count, pixels = count + len(chunk), pixels + values_CNP.shape[1]
        if preparation.normalise == "per_pixel":
            summed = chunk.sum(0, dtype=torch.float64)
            if image_total is not None and image_total.shape != summed.shape:
                raise InputError(
                    f"training images of {_size(image_total)} and {_size(summed)} px have no mean image; "
                    f"set preparation.fit, or preparation.normalise=per_channel"
                )
            image_total = summed if image_total is None else image_total + summed
    if not count:
        raise InputError("training images: none could be read, so their mean is unknown; mend or replace them")
    mean = total / pixels / 255
    covariance = products / pixels / 255**2 - torch.outer(mean, mean)
    std = covariance.diagonal().clamp(min=0).sqrt()
    if preparation.normalise == "per_channel" and bool((std < 1e-6).any()):
        raise InputError(
            f"training images: channel {int(std.argmin())} has one value everywhere, which has no std to divide by; "
            f"set preparation.normalise=none"
        )
    eigenvalues, eigenvectors = _principal_axes(covariance)
    mean_image = None if image_total is None else (image_total / count / 255).float()
    return Statistics(mean.float(), std.float(), eigenvalues.float(), eigenvectors.float(), mean_image, count)


def _chunks(images: Images, preparation: Preparation, limit: int, seed: int, on_bad_image: str) -> Iterator[Tensor]:
    if images.pixels is not None:
        for start in range(0, len(images), CHUNK):
            yield fit(images.pixels[start : start + CHUNK], preparation, images.address)
        return
    chosen = torch.arange(len(images))
    if len(images) > limit:
        chosen = torch.randperm(len(images), generator=generator(seed, "statistics"))[:limit].sort().values
    for index in chosen.tolist():
        try:
            yield fit(images.image(index), preparation, images.name(index)).unsqueeze(0)
        except BadImageError:
            if on_bad_image == "stop":
                raise


def _principal_axes(covariance: Tensor) -> tuple[Tensor, Tensor]:
    eigenvalues, eigenvectors = torch.linalg.eigh(covariance)
    eigenvalues, eigenvectors = eigenvalues.flip(0).clamp(min=0), eigenvectors.flip(1)
    largest = eigenvectors.gather(0, eigenvectors.abs().argmax(0, keepdim=True))
    return eigenvalues, eigenvectors * largest.sign()


def _outside(mean: Tensor) -> bool:
    """Whether it is no mean of pixels in [0, 1]."""
    return bool(((mean < 0) | (mean > 1)).any())


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]} x {image.shape[-2]}"
