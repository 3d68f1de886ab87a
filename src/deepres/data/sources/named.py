"""Sets known by name: digits and digit-scenes (which the package holds), Fashion-MNIST and CIFAR (files in `root`).

Nothing is downloaded unless asked for; torchvision downloads, checks the published MD5 sums, and reads.
"""

import gzip
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deepres.base.errors import InputError, RunError
from deepres.base.files import open_regular
from deepres.base.reading import reading
from deepres.data.images import ArrayImages, Images
from deepres.data.sources.arrays import with_channels
from deepres.data.sources.digit_scenes import digit_scenes
from deepres.data.sources.digits import load_digits
from deepres.data.sources.splits import RawDataset, Split

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts its files."""

_MOST = 2**26  # bytes of an idx file of Fashion-MNIST: 47 million

NAMES = ("cifar10", "cifar100", "digit-scenes", "digits", "fashion-mnist")


def read_named(name: str, root: Path, download: bool = False, channels: int | None = None) -> RawDataset:
    """The set called `name` (one of NAMES), pixels in memory; `channels` None keeps its own.

    Raises:
        InputError: its files are not in `root`; the message says which, and how to get them.
        RunError: the download failed.
    """
    if name == "digits":
        return digits(channels)
    if name == "digit-scenes":
        return digit_scenes(channels)
    if name == "fashion-mnist":
        return fashion_mnist(root, download, channels)
    return cifar(name, root, download, channels)


def digits(channels: int | None = None) -> RawDataset:
    """1,797 handwritten digits, 8 x 8, one channel, no split; their 17 levels 0..16 become round(level * 255 / 16)."""
    images, labels = load_digits()
    pixels = torch.from_numpy(np.rint(images * (255 / 16)).astype(np.uint8)).reshape(-1, 1, 8, 8)
    classes = tuple(str(digit) for digit in range(10))
    return _found("digits", classes, {"train": (pixels, torch.from_numpy(labels.copy()))}, channels)


def fashion_mnist(root: Path, download: bool = False, channels: int | None = None) -> RawDataset:
    """60,000 + 10,000 articles of clothing, 28 x 28, one channel (Xiao et al. 2017), from four gzipped or plain files.

    Looked for in `root`/fashion-mnist, `root`/FashionMNIST/raw (torchvision's place) and DEBIAN_FASHION_MNIST.
    """
    from torchvision.datasets import FashionMNIST

    places = (root / "fashion-mnist", root / "FashionMNIST" / "raw", DEBIAN_FASHION_MNIST)
    names = [f"{split}-{what}" for split in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    place = next((place for place in places if all(_idx_file(place, name) for name in names)), None)
    if place is None and download:
        _downloaded("fashion-mnist", lambda: FashionMNIST(str(root), download=True))
        place = places[1]
    if place is None:
        raise InputError(
            f"fashion-mnist: no files in {places[0]}; put {', '.join(f'{name}.gz' for name in names)} there, "
            "install Debian's dataset-fashion-mnist, or pass --set data.download=true"
        )
    arrays = [_read_idx(_idx_file(place, name) or place / name) for name in names]
    for pixels, labels, name in zip(arrays[::2], arrays[1::2], names[1::2], strict=True):
        if pixels.dim() != 3 or labels.shape != pixels.shape[:1] or not len(labels) or int(labels.max()) > 9:
            told = f"images {tuple(pixels.shape)}, labels {tuple(labels.shape)}"
            raise InputError(f"{place / name}: {told}; wanted as many of each, of 10 classes; download the files again")
    splits: dict[Split, tuple[Tensor, Tensor]] = {
        "train": (arrays[0].unsqueeze(1), arrays[1].long()),
        "test": (arrays[2].unsqueeze(1), arrays[3].long()),
    }
    return _found("fashion-mnist", tuple(FashionMNIST.classes), splits, channels)


def cifar(name: str, root: Path, download: bool = False, channels: int | None = None) -> RawDataset:
    """50,000 + 10,000 photographs, 32 x 32, RGB, of 10 or 100 classes (Krizhevsky 2009), as torchvision reads them.

    Its files are pickles: they are opened only after their MD5 sums equal the published ones.
    """
    from torchvision.datasets import CIFAR10, CIFAR100

    kind = CIFAR10 if name == "cifar10" else CIFAR100
    place = root / kind.base_folder
    if download:
        _downloaded(name, lambda: kind(str(root), download=True))
    splits: dict[Split, tuple[Tensor, Tensor]] = {}
    classes: tuple[str, ...] = ()
    halves: tuple[tuple[Split, bool], ...] = (("train", True), ("test", False))
    for split, training in halves:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=np.exceptions.VisibleDeprecationWarning)
                data = kind(str(root), train=training)
        except RuntimeError as cause:
            given = "its files differ from the published ones (MD5)" if place.is_dir() else "not there"
            raise InputError(
                f"{name}: {place}: {given}; unpack {kind.filename} in {root}, pass --set data.download=true, "
                f"or give the same images as NAME_train.npz beside NAME_test.npz"
            ) from cause
        splits[split] = (torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets, dtype=torch.int64))
        classes = tuple(data.classes)
    return _found(name, classes, splits, channels)


def _found(
    name: str, classes: tuple[str, ...], splits: dict[Split, tuple[Tensor, Tensor]], channels: int | None
) -> RawDataset:
    images: dict[Split, Images] = {
        split: ArrayImages(
            with_channels(pixels, channels), labels, classes, f"{name}/{split}" if len(splits) > 1 else name
        )
        for split, (pixels, labels) in splits.items()
    }
    return RawDataset(name, "named", classes, images, images["train"].image(0).shape[0])


def _downloaded(name: str, get: Callable[[], object]) -> None:
    try:
        get()
    except (OSError, RuntimeError) as cause:
        reason = str(cause).splitlines()[0]
        raise RunError(f"{name}: download failed ({reason}); try again, or download the files yourself") from cause


def _idx_file(place: Path, name: str) -> Path | None:
    return next((file for file in (place / f"{name}.gz", place / name) if file.is_file()), None)


def _read_idx(path: Path) -> Tensor:
    """The array of bytes in an idx file: 0, 0, type 8, number of sizes; the sizes, big-endian; the bytes."""
    with reading(path, "a file of the set", "it is damaged; bring the file anew"):
        with gzip.open(path) if path.suffix == ".gz" else open_regular(path) as file:
            data = file.read(_MOST + 1)  # no more of a bomb
        zero, kind, dims = struct.unpack(">HBB", data[:4])
        sizes = struct.unpack(f">{dims}I", data[4 : 4 + 4 * dims])
        if zero or kind != 8 or len(data) > _MOST:
            raise ValueError("not an idx file of bytes")
        return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * dims).reshape(sizes).copy())
