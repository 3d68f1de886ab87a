"""Packing: every picture of a source decoded once, made small, and written into a packed folder (packed.py)."""

import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.base.files import folder_atomic
from deepres.base.wording import counted
from deepres.data.decode import BadImageError, as_picture, header_of, read_bytes
from deepres.data.digests import digests
from deepres.data.images import Images
from deepres.data.loading.fetch import by_threads
from deepres.data.sources.packed import HEADER, INDEX, VERSION, Index, PackHeader, StoredAs
from deepres.data.sources.splits import SPLITS, RawDataset, Split, names_of
from deepres.data.targets import form_of, tensor_of

FILE_BYTES = 2**30
"""A new file of records begins before this would be exceeded."""

SHORT_SIDE = 288
QUALITY = 90


class Packed(NamedTuple):
    """What was written, and what was left out: name -> reason."""

    header: PackHeader
    images: int
    skipped: dict[str, str]


class _Picture(NamedTuple):
    content: bytes
    height: int
    width: int


@dataclass
class _Columns:
    """The index as it grows."""

    rows: list[tuple[int, ...]] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    targets: list[float] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    @property
    def group_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.groups))

    def content(self) -> bytes:
        table = np.array(self.rows, dtype=np.int64).reshape(-1, 8).T
        columns: dict[str, Any] = dict(zip(Index.COLUMNS, table, strict=False))
        columns["name_ends"] = np.cumsum([len(name) for name in self.names], dtype=np.int64)
        if self.origins:
            columns[Index.ORIGIN] = np.array(self.origins, dtype=np.uint64)
        if self.groups:
            places = {name: place for place, name in enumerate(self.group_names)}
            columns[Index.GROUP] = np.array([places[name] for name in self.groups], dtype=np.int64)
        if self.targets:
            columns[Index.TARGETS] = np.array(self.targets, dtype=np.float64)
        file = BytesIO()
        np.savez(file, **columns, names=np.frombuffer(b"".join(self.names), np.uint8))
        return file.getvalue()


def pack(
    found: RawDataset,
    out: Path,
    *,
    kept: StoredAs = "raw",
    short_side: int = SHORT_SIDE,
    quality: int = QUALITY,
    workers: int = 0,
    on_bad_image: Literal["stop", "skip"] = "stop",
    on_progress: OnProgress | None = None,
) -> Packed:
    """Write the images of `found` to the new folder `out`, which appears whole or not at all.

    Larger pictures are resized to `short_side` px (Lanczos), smaller ones kept; as JPEG of `quality` (one that is small
    enough already: its own bytes), or raw. `workers` threads (0: none); `on_progress(done, total)`.

    Raises:
        InputError: `out` exists, images in memory, no image left; BadImageError for a bad one, under "stop".
    """
    if os.path.lexists(out):
        raise InputError(f"{out}: exists already; choose another place, or remove it first")
    if any(form_of(images.targets).moves for images in found.splits.values()):
        raise InputError(f"{found.name}: its images have boxes, which a pack has no room for; train on it as it lies")
    if any(images.pixels is not None for images in found.splits.values()):
        raise InputError(f"{found.name}: its images are arrays, and read fast as they are; wanted image files")
    total, skipped, columns = sum(map(len, found.splits.values())), dict[str, str](), _Columns()
    known = all(images.digested == "bytes" for images in found.splits.values())
    origins = {split: digests(images) for split, images in found.splits.items()} if known else {}
    with folder_atomic(out) as folder:
        with _Files(folder) as files:
            pictures = _pictures(found.splits, lambda images, i: _small(images, i, kept, short_side, quality), workers)
            for done, (split, index, name, picture) in enumerate(pictures, start=1):
                if isinstance(picture, _Picture):
                    place = files.add(picture.content)
                    target = tensor_of(found.splits[split].targets)[index]
                    label = int(target) if target.dim() == 0 else 0
                    columns.targets += target.double().tolist() if target.dim() else []
                    size = (picture.height, picture.width)
                    columns.rows.append((*place, zlib.crc32(picture.content), *size, label, SPLITS.index(split)))
                    columns.names.append(name.encode("utf-8", "surrogateescape"))
                    columns.groups += [found.groups[found.splits[split].key(index)]] if found.groups else []
                    columns.origins += [int(origins[split][index])] if split in origins else []
                elif on_bad_image == "stop":
                    raise BadImageError(f"{picture}, or leave such images out: --set on_bad_image=skip")
                else:
                    skipped[found.splits[split].name(index)] = str(picture)
                if on_progress is not None:
                    on_progress(done, total)
        if not columns.rows:
            raise InputError(f"{found.name}: none of {counted(total, 'image')} can be read; mend or replace them")
        index_content = columns.content()
        header = PackHeader(
            version=VERSION,
            name=found.name,
            classes=found.classes,
            channels=3 if found.channels == 3 else 1,
            kept=kept,
            short_side=short_side,
            quality=quality if kept == "jpeg" else None,
            files=files.sizes,
            index_sha256=sha256(index_content).hexdigest(),
            ignored=found.ignored,
            notes=found.notes,
            groups=columns.group_names,
            targets=form_of(next(iter(found.splits.values())).targets).name,
        )
        (folder / INDEX).write_bytes(index_content)
        header.save(folder / HEADER)
    return Packed(header, len(columns.rows), skipped)


class _Files:
    """The files of records in a folder, the last one open for writing."""

    def __init__(self, folder: Path) -> None:
        self.sizes: dict[str, int] = {}
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._used = 0

    def add(self, content: bytes) -> tuple[int, int, int]:
        """Write a record; file, offset and length."""
        if self._file is None or self._used + len(content) > FILE_BYTES:
            self._close()
            self._file = (self._folder / f"records-{len(self.sizes):05}.bin").open("wb")
        offset = self._used
        self._file.write(content)
        self._used += len(content)
        return len(self.sizes), offset, len(content)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self.sizes[Path(self._file.name).name] = self._used
            self._file, self._used = None, 0

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


_Outcome = tuple[Split, int, str, _Picture | BadImageError]


def _pictures(
    splits: Mapping[Split, Images], small: Callable[[Images, int], _Picture], workers: int
) -> Iterator[_Outcome]:
    """Split, index, name and what became of it, in order, whatever the threads do; a few a thread are kept ahead."""
    names = names_of(splits)

    def outcome(split: Split, index: int) -> _Outcome:
        try:
            return split, index, names[split][index], small(splits[split], index)
        except BadImageError as error:
            return split, index, names[split][index], error

    tasks = ((split, index) for split, images in splits.items() for index in range(len(images)))
    yield from by_threads(outcome, tasks, workers, ahead=4)


def _small(images: Images, index: int, kept: StoredAs, short_side: int, quality: int) -> _Picture:
    if kept == "jpeg" and images.paths:
        content = read_bytes(images.paths[index])
        seen = header_of(content, images.name(index))
        if seen.format == "JPEG" and min(seen.width, seen.height) <= short_side:
            images.image(index)  # a damaged one is refused now, not in training
            return _Picture(content, seen.height, seen.width)
    picture = as_picture(images.image(index))
    if min(picture.size) > short_side:
        width, height = (max(1, round(side * short_side / min(picture.size))) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    if kept == "raw":
        return _Picture(picture.tobytes(), picture.height, picture.width)
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return _Picture(file.getvalue(), picture.height, picture.width)
