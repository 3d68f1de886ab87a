"""What flows: a set of labelled images (in memory or as files), and the batches that are drawn from it.

Layout of tensors: N images, C channels, H rows, W columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, overload

import torch
from torch import Tensor

from deepres.data.decode import Header, decode, read_bytes, read_header
from deepres.data.picture_digest import Digested, of_bytes, of_pixels
from deepres.data.targets import Targets
from deepres.data.transforms.crops import Cutter
from deepres.data.transforms.sides import OwnSizes


class Images(Protocol):
    """N images: `image(i)` uint8 (C, H, W), `targets` of a form of targets.py, `name(i)` a path or an address.

    `paths` are their files, one each, or none; `files` those that many lie in together; `pixels` all of them, uint8
    (N, C, H, W), where they lie in memory, else None; `side` the short side in px where all are of one size; `levels`
    what is white, as in `decode`; `digested` what their digests are of where nothing is asked for; `address` and
    `fingerprint` tell the set that they are of ("": their paths do).
    """

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def targets(self) -> Targets: ...

    @property
    def paths(self) -> Sequence[Path]: ...

    @property
    def files(self) -> Sequence[Path]: ...

    @property
    def pixels(self) -> Tensor | None: ...

    @property
    def side(self) -> int | None: ...

    @property
    def levels(self) -> float | None: ...

    @property
    def digested(self) -> Digested: ...

    @property
    def address(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def image(self, index: int) -> Tensor:
        """Image `index`, uint8 (C, H, W); BadImageError where it cannot be read."""

    def cut(self, index: int, cutter: Cutter, place: int) -> Tensor:
        """What training sees of it at `place`, uint8 (C, H, W); errors as of `image`."""

    def header(self, index: int) -> Header:
        """Its size and kind, before its pixels are read; BadImageError where it cannot be."""

    def digest(self, index: int) -> int:
        """Of its file's bytes or of its pixels, as `digested` says; BadImageError, OSError where it cannot be read."""

    def name(self, index: int) -> str:
        """The path, or `set/split/index` for an image that lies in memory."""

    def key(self, index: int) -> str:
        """What it is called within its source."""

    def select(self, indices: Sequence[int]) -> "Images":
        """The images at `indices`, in that order."""

    def labelled(self, targets: Any, classes: tuple[str, ...]) -> "Images":
        """The same images with other targets, of a form that they can have."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images of one size held in memory: `pixels` uint8 (N, C, H, W), `targets` as in targets.py."""

    pixels: Tensor
    targets: Targets
    classes: tuple[str, ...]
    address: str  # "digits/train": image 12 is named digits/train/12
    numbers: tuple[int, ...] | None = None  # each image's number in the set that it was selected from

    def __post_init__(self) -> None:
        assert self.pixels.dtype == torch.uint8
        assert self.pixels.dim() == 4
        assert len(self.targets) == len(self.pixels)

    @property
    def paths(self) -> Sequence[Path]:
        return ()

    @property
    def files(self) -> Sequence[Path]:
        return ()

    @property
    def side(self) -> int | None:
        return min(self.pixels.shape[2:])

    @property
    def levels(self) -> float | None:
        return None

    @property
    def digested(self) -> Digested:
        return "pixels"

    @property
    def fingerprint(self) -> str:
        return ""

    def image(self, index: int) -> Tensor:
        return self.pixels[index]

    def cut(self, index: int, cutter: Cutter, place: int) -> Tensor:
        return cutter.of_pixels(self.pixels[index], place)

    def header(self, index: int) -> Header:
        return Header(self.pixels.shape[3], self.pixels.shape[2], "", ())

    def digest(self, index: int) -> int:
        return of_pixels(self.pixels[index : index + 1])[0]

    def name(self, index: int) -> str:
        return f"{self.address}/{index if self.numbers is None else self.numbers[index]}"

    def key(self, index: int) -> str:
        return self.name(index)

    def labelled(self, targets: Targets, classes: tuple[str, ...]) -> "ArrayImages":
        return replace(self, targets=targets, classes=classes)

    def select(self, indices: Sequence[int]) -> "ArrayImages":
        chosen = torch.as_tensor(list(indices), dtype=torch.int64)
        numbers = tuple(int(i) if self.numbers is None else self.numbers[i] for i in indices)
        return ArrayImages(self.pixels[chosen], self.targets[chosen], self.classes, self.address, numbers)

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class FileImages:
    """Images that are decoded when asked for; `channels` is 3 (RGB) or 1 (grey), `levels` white, as in `decode`.

    It travels to other processes as one text: a million paths, each an object, would take ten seconds.
    """

    paths: Sequence[Path]
    targets: Targets
    classes: tuple[str, ...]
    channels: int = 3
    levels: float | None = None

    @property
    def files(self) -> Sequence[Path]:
        return ()

    @property
    def side(self) -> int | None:
        return None

    @property
    def pixels(self) -> None:
        return None

    @property
    def digested(self) -> Digested:
        return "bytes"

    @property
    def address(self) -> str:
        return ""

    @property
    def fingerprint(self) -> str:
        return ""

    def image(self, index: int) -> Tensor:
        return decode(self.paths[index], self.channels, levels=self.levels)

    def cut(self, index: int, cutter: Cutter, place: int) -> Tensor:
        return cutter.of_file(read_bytes(self.paths[index]), self.name(index), place, self.channels, self.levels)

    def header(self, index: int) -> Header:
        return read_header(self.paths[index])

    def digest(self, index: int) -> int:
        return of_bytes(read_bytes(self.paths[index]))

    def name(self, index: int) -> str:
        return str(self.paths[index])

    def key(self, index: int) -> str:
        return self.name(index)

    def labelled(self, targets: Targets, classes: tuple[str, ...]) -> "FileImages":
        return replace(self, targets=targets, classes=classes)

    def select(self, indices: Sequence[int]) -> "FileImages":
        paths = tuple(self.paths[i] for i in indices)
        return replace(self, paths=paths, targets=self.targets[torch.as_tensor(list(indices), dtype=torch.int64)])

    def __len__(self) -> int:
        return len(self.paths)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self._text, self.targets, self.classes, self.channels, self.levels)

    @cached_property
    def _text(self) -> str:
        return _BETWEEN.join(map(str, self.paths))


class _Paths(Sequence[Path]):
    """Paths that are made when they are asked for."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    @overload
    def __getitem__(self, at: int) -> Path: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Path]: ...

    def __getitem__(self, at: int | slice) -> Path | Sequence[Path]:
        return Path(self._names[at]) if isinstance(at, int) else _Paths(self._names[at])

    def __len__(self) -> int:
        return len(self._names)


_BETWEEN = "\0"  # in no path


def _arrived(text: str, targets: Targets, classes: tuple[str, ...], channels: int, levels: float | None) -> FileImages:
    names = text.split(_BETWEEN) if len(targets) else []
    return FileImages(_Paths(names), targets, classes, channels, levels)


@dataclass(frozen=True, eq=False)
class Batch:
    """`images` float32 (N, C, H, W) normalised; `targets` of a form, of classes float32 (N, classes) once mixed.

    `indices` int64 (N,) are the images' places in their set. `pixels`, where they are asked for, are the same images,
    augmented alike, in [0, 1]: what a network of another preparation (a teacher) is to be shown. `own` are the sizes of
    pictures that stand on a canvas, which is no larger than the largest of them need.
    """

    images: Tensor
    targets: Targets
    indices: Tensor
    pixels: Tensor | None = None
    own: OwnSizes | None = None

    def at(self, places: Tensor | slice) -> "Batch":
        """The images at these places of the batch."""
        where = places.cpu() if isinstance(places, Tensor) else places
        images, pixels = self.images[places], None if self.pixels is None else self.pixels[places]
        own = None if self.own is None else self.own.at(where)
        if own is not None and len(own.sizes):
            height, width = own.canvas
            images, pixels = images[..., :height, :width], None if pixels is None else pixels[..., :height, :width]
        return Batch(images, self.targets[places], self.indices[where], pixels, own)

    def __len__(self) -> int:
        return len(self.indices)
