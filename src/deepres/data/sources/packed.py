"""A packed folder: all pictures of a source, made small, in a few large files with an index; it is a source itself.

    OUT/pack.json            Header: version, classes, how pictures are kept, bytes of each file, digest of the index
    OUT/index.npz            for each record: file, offset, length, CRC-32, height, width, label, part (its split),
                             name, the digest of the file that it was made of (digests.py) and its group, where known
    OUT/records-00000.bin    records one after another, at most FILE_BYTES each

A record is a JPEG, or raw uint8 (H, W, C). Names and splits are those of the source before a split is cut, so that the
same fractions and seed cut the same images. Sizes and the index's digest are verified when a pack is opened, a record's
CRC when it is read whole (always for JPEG; of raw records crops read only their part, `data check` reads all).
"""

import mmap
import zlib
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepres.base import npz
from deepres.base.errors import InputError
from deepres.base.files import open_regular, read_bytes, read_text
from deepres.base.reading import json_object
from deepres.base.records import Record, parse
from deepres.data.decode import BadImageError, Header, decode_bytes, header_of
from deepres.data.forms import TOLD, FormName
from deepres.data.images import Images
from deepres.data.picture_digest import Digested, of_bytes
from deepres.data.sources.splits import SPLITS, RawDataset, Split
from deepres.data.stored_images import StoredImages
from deepres.data.transforms.crops import Cutter
from deepres.data.transforms.per_image import with_channels

VERSION = 1
HEADER, INDEX = "pack.json", "index.npz"

StoredAs = Literal["raw", "jpeg"]


class PackHeader(Record):
    """What a pack is: `files` name -> bytes, no picture above `short_side` px, `quality` None for raw."""

    version: int
    name: str
    classes: tuple[str, ...]
    channels: Literal[1, 3]
    kept: StoredAs
    short_side: int
    quality: int | None
    files: dict[str, int]
    index_sha256: str
    ignored: int = 0
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()  # which the index has by number
    targets: FormName = "class"  # of the other forms the index holds them in a column of their own


class Index:
    """The columns of the index, one entry a record; `names` is UTF-8, record i at `name_ends[i - 1]:name_ends[i]`."""

    ORIGIN = "origin"
    GROUP = "group"
    TARGETS = "targets"  # float64, a row of as many as there are names after the other
    COLUMNS = ("file_number", "offset", "length", "crc", "height", "width", "label", "part", "name_ends", "names")

    def __init__(self, columns: dict[str, NDArray[Any]]) -> None:
        self.columns = columns

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    @property
    def has_origins(self) -> bool:
        """Whether the digests of the files that the records were made of are known."""
        return self.ORIGIN in self.columns

    def name(self, number: int) -> str:
        """What record `number` was called in its source."""
        ends = self.columns["name_ends"]
        begin = int(ends[number - 1]) if number else 0
        return bytes(self.columns["names"][begin : int(ends[number])]).decode("utf-8", "surrogateescape")


class Pack:
    """The records of a packed folder, by number, read where they lie; each process maps the files for itself."""

    def __init__(self, folder: Path, header: PackHeader, index: Index) -> None:
        self.address = str(folder)
        self.fingerprint = header.index_sha256
        self.digested: Digested = "bytes" if index.has_origins or header.kept == "jpeg" else "pixels"
        self._folder = folder
        self._header = header
        self._index = index
        self._files = tuple(header.files)
        self.files = tuple(folder / name for name in header.files)
        self._maps: dict[int, mmap.mmap] = {}

    def key(self, number: int) -> str:
        return self._index.name(number)

    def image(self, number: int, channels: int) -> Tensor:
        content = self._verified(number)
        if self._header.kept == "jpeg":
            return decode_bytes(bytes(content), self._name(number), channels)
        return with_channels(self._pixels(number, content).contiguous(), channels)

    def cut(self, number: int, cutter: Cutter, place: int, channels: int) -> Tensor:
        if self._header.kept == "jpeg":
            return cutter.of_file(bytes(self._verified(number)), self._name(number), place, channels)
        return with_channels(cutter.of_pixels(self._pixels(number, self._content(number)), place), channels)

    def header(self, number: int) -> Header:
        if self._header.kept == "jpeg":
            return header_of(bytes(self._content(number)), self._name(number))
        grey = ("grey",) if self._header.channels == 1 else ()
        return Header(int(self._index["width"][number]), int(self._index["height"][number]), "raw", grey)

    def digest(self, number: int) -> int:
        if self._index.has_origins:
            return int(self._index[Index.ORIGIN][number])
        return of_bytes(self._content(number))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}

    def _name(self, number: int) -> str:
        return f"{self.address}/{self.key(number)}"

    def _pixels(self, number: int, content: memoryview) -> Tensor:
        """(C, H, W) over the file's own memory, (H, W, C)."""
        shape = (int(self._index["height"][number]), int(self._index["width"][number]), self._header.channels)
        return torch.frombuffer(content, dtype=torch.uint8).view(shape).permute(2, 0, 1)

    def _verified(self, number: int) -> memoryview:
        content = self._content(number)
        if zlib.crc32(content) != int(self._index["crc"][number]):
            file = self._folder / self._files[int(self._index["file_number"][number])]
            raise BadImageError(f"{self._name(number)}: damaged in {file} (another checksum); pack the source again")
        return content

    def _content(self, number: int) -> memoryview:
        file, offset = int(self._index["file_number"][number]), int(self._index["offset"][number])
        if file not in self._maps:
            with open_regular(self._folder / self._files[file]) as opened:
                self._maps[file] = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)  # torch wants it writable
        return memoryview(self._maps[file])[offset : offset + int(self._index["length"][number])]


def is_packed(folder: Path) -> bool:
    """Whether the folder says that it is a pack."""
    return (folder / HEADER).is_file()


def read_packed(folder: Path, channels: Literal[1, 3] | None = None) -> RawDataset:
    """What was packed: names, splits and classes of the source, pictures as they are kept.

    Raises:
        InputError: another version, a file that is missing or cut short, an index that is not the one written.
    """
    header, index = open_pack(folder)
    channels = channels or header.channels
    pack, targets = Pack(folder, header, index), _targets(header, index)
    splits: dict[Split, Images] = {}
    for code, split in enumerate(SPLITS):
        numbers = torch.from_numpy(np.flatnonzero(index["part"] == code))
        if len(numbers):
            splits[split] = StoredImages(pack, numbers, targets[numbers], header.classes, channels)
    numbered = index[Index.GROUP].tolist() if header.groups else ()
    groups = {pack.key(record): header.groups[number] for record, number in enumerate(numbered)}
    return RawDataset(header.name, "packed", header.classes, splits, channels, header.ignored, header.notes, groups)


def open_pack(folder: Path) -> tuple[PackHeader, Index]:
    """Header and index, verified; errors as in `read_packed`."""
    path = folder / HEADER
    version = _version(path)
    if version != VERSION:
        raise InputError(f"{path}: version {version} of the packed form, this deepres reads {VERSION}; pack again")
    header = parse(PackHeader, read_text(path, "header of a pack"), str(path))
    if len(set(header.classes)) < len(header.classes) or any(not _is_plain(name) for name in header.files):
        raise InputError(f"{path}: not what was packed: a class that stands twice, or a file elsewhere; pack again")
    for name, size in header.files.items():
        given = (folder / name).stat().st_size if (folder / name).is_file() else None
        if given != size:
            is_now = "is missing" if given is None else f"holds {given:,} bytes"
            raise InputError(f"{folder / name}: {is_now}, wanted {size:,}; copy it anew, or pack the source again")
    content = _bytes(folder / INDEX)
    if sha256(content).hexdigest() != header.index_sha256:
        raise InputError(f"{folder / INDEX}: not the index that was packed; copy it anew, or pack the source again")
    with npz.opened(BytesIO(content), folder / INDEX, "the index of a pack", "pack the source again") as columns:
        known = [
            *Index.COLUMNS,
            *(name for name in (Index.ORIGIN, Index.TARGETS, Index.GROUP) if name in columns.names),
        ]
        index = Index({name: columns[name] for name in known})
        _require_consistent(header, index)
    return header, index


def _targets(header: PackHeader, index: Index) -> Tensor:
    if header.targets == "class":
        return torch.from_numpy(index["label"].astype(np.int64))
    found = torch.from_numpy(index[Index.TARGETS]).reshape(-1, len(header.classes))
    return found.float() if header.targets == "classes" else found


def _is_plain(name: str) -> bool:
    """Whether it is the name of a file in the pack, not of one elsewhere."""
    return Path(name).name == name and "\0" not in name and len(name.encode()) <= 255


def _require_consistent(header: PackHeader, index: Index) -> None:
    """Refuse (ValueError) an index whose records cannot be those of the header's files and classes."""
    count = len(index["label"])
    if (header.targets != "class") != (Index.TARGETS in index.columns):
        raise ValueError(f"its targets are not {TOLD[header.targets]}")
    if bool(header.groups) != (Index.GROUP in index.columns):
        raise ValueError("its groups are not those of its records")
    for name, column in index.columns.items():
        if name == Index.TARGETS:
            if column.dtype != np.float64 or column.shape != (count * len(header.classes),):
                raise ValueError(f"'{name}' is {column.dtype} {column.shape}, wanted {len(header.classes)} a record")
            if not np.isfinite(column).all() or (header.targets == "classes" and not np.isin(column, (0, 1)).all()):
                raise ValueError(f"'{name}' holds what is no target of {TOLD[header.targets]}")
            continue
        kinds = "u" if name == "names" else "iu"
        if column.ndim != 1 or column.dtype.kind not in kinds or (name != "names" and len(column) != count):
            raise ValueError(f"'{name}' is {column.dtype} {column.shape}, wanted whole numbers ({count},)")
    sizes = np.array(list(header.files.values()), dtype=np.int64)
    limits = {
        "label": len(header.classes) if header.targets == "class" else 1,
        "part": len(SPLITS),
        "file_number": len(sizes),
    }
    limits |= {Index.GROUP: len(header.groups)} if header.groups else {}
    for name, limit in limits.items():
        _require_within(index, name, 0, limit - 1)
    for name in ("height", "width", "length"):
        _require_within(index, name, 1, 2**40)
    _require_within(index, "offset", 0, 2**60)
    room = sizes[index["file_number"].astype(np.int64)] - index["offset"].astype(np.int64)
    length = index["length"].astype(np.int64)
    if (length > room).any():
        raise ValueError(f"record {int((length > room).argmax())} ends behind its file")
    area = index["height"].astype(np.float64) * index["width"].astype(np.float64) * header.channels
    if header.kept == "raw" and (area != length).any():
        raise ValueError(f"record {int((area != length).argmax())} has another size in bytes than in pixels")
    ends = index["name_ends"].astype(np.int64)
    if not count or ends[0] < 0 or (np.diff(ends) < 0).any() or int(ends[-1]) != len(index["names"]):
        raise ValueError("its names are not those of its records")


def _require_within(index: Index, name: str, low: int, high: int) -> None:
    column = index[name]
    if len(column) and not (low <= int(column.min()) and int(column.max()) <= high):
        raise ValueError(f"'{name}' from {column.min()} to {column.max()}, wanted {low} to {high}")


def _version(path: Path) -> object:
    return json_object(path, "header of a pack", "pack the source again").get("version")


def _bytes(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as cause:
        raise InputError(f"{path}: cannot be read ({cause.strerror}); pack the source again") from cause
