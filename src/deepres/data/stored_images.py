"""Images of a store: many pictures in few files, by number."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from deepres.data.decode import Header
from deepres.data.picture_digest import Digested, of_pixels
from deepres.data.targets import Targets
from deepres.data.transforms.crops import Cutter


class Store(Protocol):
    """Many pictures in few files, by number; `key` is what a picture was called where it came from.

    A store may be sent to another process. `fingerprint` changes with what the pictures hold, as far as that is known.
    `digest` is of the bytes of the picture's file (picture_digest.py); where these are lost, `digested` is "pixels".
    `files` are those that the pictures lie in.
    """

    @property
    def address(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def digested(self) -> Digested: ...

    @property
    def files(self) -> Sequence[Path]: ...

    def digest(self, number: int) -> int: ...

    def key(self, number: int) -> str: ...

    def image(self, number: int, channels: int) -> Tensor: ...

    def cut(self, number: int, cutter: Cutter, place: int, channels: int) -> Tensor: ...

    def header(self, number: int) -> Header: ...


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images of a store, by their `numbers` there; `channels` is 3 (RGB) or 1 (grey)."""

    store: Store
    numbers: Tensor
    targets: Targets
    classes: tuple[str, ...]
    channels: int = 3

    @property
    def paths(self) -> Sequence[Path]:
        return ()

    @property
    def files(self) -> Sequence[Path]:
        return self.store.files

    @property
    def side(self) -> int | None:
        return None

    @property
    def pixels(self) -> None:
        return None

    @property
    def levels(self) -> float | None:
        return None

    @property
    def digested(self) -> Digested:
        return self.store.digested

    @property
    def address(self) -> str:
        return self.store.address

    @property
    def fingerprint(self) -> str:
        return self.store.fingerprint

    def image(self, index: int) -> Tensor:
        return self.store.image(int(self.numbers[index]), self.channels)

    def cut(self, index: int, cutter: Cutter, place: int) -> Tensor:
        return self.store.cut(int(self.numbers[index]), cutter, place, self.channels)

    def header(self, index: int) -> Header:
        return self.store.header(int(self.numbers[index]))

    def digest(self, index: int) -> int:
        if self.digested == "pixels":
            return of_pixels(self.image(index)[None])[0]
        return self.store.digest(int(self.numbers[index]))

    def key(self, index: int) -> str:
        return self.store.key(int(self.numbers[index]))

    def name(self, index: int) -> str:
        return f"{self.address}/{self.key(index)}"

    def select(self, indices: Sequence[int]) -> "StoredImages":
        chosen = torch.as_tensor(list(indices), dtype=torch.int64)
        return StoredImages(self.store, self.numbers[chosen], self.targets[chosen], self.classes, self.channels)

    def labelled(self, targets: Tensor, classes: tuple[str, ...]) -> "StoredImages":
        return replace(self, targets=targets, classes=classes)

    def __len__(self) -> int:
        return len(self.targets)
