"""Web shards: local .tar files of pictures with their labels beside them, read in any order by offset.

    shard-0000.tar:  000001.jpg 000001.cls 000002.jpg 000002.json …     (the members of one sample are neighbours)

Given as one .tar, as `data/shard-{0000..0009}.tar`, or as a folder of them. A sample is what shares a name up to the
first dot of its last part. Its label is the text of `.cls`, or `label`, `cls` or `class` of `.json`: a number from 0 or
a name. Numbers take their names from a `classes.txt` (one a line) beside the shards. A word train, val or test in a
shard's name (`imagenet-train-0000.tar`) or its folder makes a split; without such words there is none.

Every header is read once when the source is opened, then single members: hence random order and exact resuming. Not
done: URLs, pipes and compressed tars, which can only be read in their own order. Names are not verified by checksums.
"""

import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.files import read_text
from deepres.data.crops import Cutter
from deepres.data.decode import Header, decode_bytes, header_of
from deepres.data.formats import SUFFIXES
from deepres.data.sample import Images, StoredImages
from deepres.data.split_names import part_named
from deepres.data.splits import Found, Part

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_LABEL_FIELDS = ("label", "cls", "class")
_END = bytes(1024)
_LABELS = (".cls", ".json")


@dataclass(frozen=True)
class _Member:
    """A picture within a shard, and its label as it stands there."""

    shard: int
    name: str
    offset: int
    length: int
    label: str


class Shards:
    """The pictures of some tar files, by number; each process opens the files for itself."""

    def __init__(self, address: str, files: tuple[Path, ...], members: tuple[_Member, ...]) -> None:
        self.address = address
        self.fingerprint = ""
        self._files = files
        self._members = members
        self._open: dict[int, int] = {}

    def key(self, number: int) -> str:
        member = self._members[number]
        return f"{self._files[member.shard].name}/{member.name}"

    def image(self, number: int, channels: int) -> Tensor:
        return decode_bytes(self._content(number), self._name(number), channels)

    def cut(self, number: int, cutter: Cutter, place: int, channels: int) -> Tensor:
        return cutter.of_file(self._content(number), self._name(number), place, channels)

    def header(self, number: int) -> Header:
        return header_of(self._content(number), self._name(number))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def _name(self, number: int) -> str:
        return f"{self.address}/{self.key(number)}"

    def _content(self, number: int) -> bytes:
        member = self._members[number]
        if member.shard not in self._open:
            self._open[member.shard] = os.open(self._files[member.shard], os.O_RDONLY)
        return os.pread(self._open[member.shard], member.length, member.offset)


def are_shards(source: str) -> bool:
    """Whether `source` names tar files: by its suffix, or as a folder that holds some and no pictures' folders."""
    path = Path(source).expanduser()
    if path.is_dir():
        return bool(_tars(path))
    return ".tar" in path.suffixes or _is_stream(source)


def read_shards(source: str, channels: int = 3) -> Found:
    """The samples of the shards that `source` names.

    Raises:
        InputError: a URL, a pipe or a compressed tar, a missing or truncated shard, a sample without label or picture's
            label out of range, no pictures at all.
    """
    files = _files(source)
    root = _root(source, files)
    members = tuple(member for number, file in enumerate(files) for member in _members(number, file))
    if not members:
        raise InputError(f"{source}: no pictures in {len(files)} shards; wanted members such as 000001.jpg, 000001.cls")
    classes, index = _classes(root, files, members)
    store = Shards(str(root), files, members)
    part_of = [_part(file, root) for file in files]
    parts: dict[Part, Images] = {}
    for part in dict.fromkeys(part_of):
        numbers = [number for number, member in enumerate(members) if part_of[member.shard] == part]
        if numbers:
            labels = torch.tensor([index[members[number].label] for number in numbers])
            parts[part] = StoredImages(store, torch.tensor(numbers), labels, classes, channels)
    return Found(root.resolve().name, "shards", classes, parts, channels)


def _files(source: str) -> tuple[Path, ...]:
    if _is_stream(source):
        raise InputError(f"{source}: a stream is read in its own order only; download the shards and name their folder")
    path = Path(source).expanduser()
    files = _tars(path) if path.is_dir() else [Path(name).expanduser() for name in _expanded(source)]
    for file in files:
        if file.suffix != ".tar":
            raise InputError(f"{file}: compressed, so its members cannot be read one by one; unpack it to a plain .tar")
        if not file.is_file():
            raise InputError(f"{file}: this shard does not exist; check the path, or the numbers in braces")
    return tuple(files)


def _is_stream(source: str) -> bool:
    return "://" in source or source.startswith("pipe:") or source == "-"


def _expanded(pattern: str) -> Iterator[str]:
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    first, last = braces[1], braces[2]
    for number in range(int(first), int(last) + 1):
        yield from _expanded(f"{pattern[: braces.start()]}{number:0{len(first)}}{pattern[braces.end() :]}")


def _tars(folder: Path) -> list[Path]:
    """The tar files in a folder, and in its folders train, val and test."""
    try:
        inside = [entry for entry in sorted(folder.iterdir()) if part_named(entry.name) and entry.is_dir()]
    except OSError:  # whoever lists it next says so
        return []
    return [file for place in (folder, *inside) for file in sorted(place.glob("*.tar"))]


def _root(source: str, files: tuple[Path, ...]) -> Path:
    path = Path(source).expanduser()
    return path if path.is_dir() else files[0].parent


def _part(file: Path, root: Path) -> Part:
    inner = () if file.parent == root else (file.parent.name,)
    words = [*inner, *re.split(r"[-_.]", file.stem)]
    return next((part for word in words if (part := part_named(word))), "train")


def _members(number: int, file: Path) -> Iterator[_Member]:
    """The pictures of a shard with their labels, in its order."""
    pictures: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, str] = {}
    _require_end(file)
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                key, suffix = _split(member.name)
                if Path(member.name).suffix.lower() in SUFFIXES:
                    pictures[key] = (member.name, member.offset_data, member.size)
                elif suffix in _LABELS and (content := tar.extractfile(member)) is not None:
                    labels.setdefault(key, _label(f"{file}: {member.name}", suffix, content.read()))
    except tarfile.TarError as cause:
        raise InputError(f"{file}: no whole tar file ({cause}); copy it anew") from cause
    for key, (name, offset, length) in pictures.items():
        if key not in labels:
            raise InputError(f"{file}: {name} has no label; wanted {key}.cls, or {key}.json with a field label")
        yield _Member(number, name, offset, length, labels[key])


def _require_end(file: Path) -> None:
    """Every tar ends with two blocks of zeros; one that was cut between two members would only seem smaller."""
    with file.open("rb") as tar:
        tar.seek(max(0, file.stat().st_size - len(_END)))
        if tar.read() != _END:
            raise InputError(f"{file}: cut short (a tar ends with {len(_END)} bytes of zeros); copy or write it anew")


def _split(name: str) -> tuple[str, str]:
    """`a/000001.seg.jpg` -> (`a/000001`, `.seg.jpg`)."""
    folder, _, last = name.rpartition("/")
    key, dot, suffix = last.partition(".")
    return f"{folder}/{key}" if folder else key, (dot + suffix).lower()


def _label(where: str, suffix: str, content: bytes) -> str:
    try:
        text = content.decode().strip()
        if suffix == ".json":
            fields = json.loads(text)
            text = str(next(fields[name] for name in _LABEL_FIELDS if name in fields))
    except (ValueError, StopIteration, TypeError) as cause:
        raise InputError(
            f"{where}: holds no label; wanted JSON with a field label, or a plain number or name"
        ) from cause
    if not text:
        raise InputError(f"{where}: holds no label; wanted a number or a name")
    return text


def _classes(
    root: Path, files: tuple[Path, ...], members: tuple[_Member, ...]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the classes, and the index of each label."""
    labels = {member.label for member in members}
    names_file = root / "classes.txt"
    names = tuple(read_text(names_file, "list of class names").split("\n")) if names_file.is_file() else ()
    names = tuple(name.strip() for name in names if name.strip())
    if not all(label.isascii() and label.isdigit() for label in labels):
        names = names or tuple(sorted(labels))
        strange = next((member for member in members if member.label not in names), None)
        if strange is not None:
            raise InputError(f"{files[strange.shard]}: {strange.name}: class '{strange.label}' is not in {names_file}")
        return names, {name: number for number, name in enumerate(names)}
    largest = max(members, key=lambda member: int(member.label))
    names = names or tuple(str(number) for number in range(int(largest.label) + 1))
    if int(largest.label) >= len(names):
        where = f"{files[largest.shard]}: {largest.name}"
        raise InputError(f"{where}: label {largest.label}, {names_file} names {len(names)} classes; add the others")
    return names, {label: int(label) for label in labels}
