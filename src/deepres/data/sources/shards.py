"""Web shards: local .tar files of pictures with their labels beside them, read in any order by offset.

    shard-0000.tar:  000001.jpg 000001.cls 000002.jpg 000002.json …     (the members of one sample are neighbours)

Given as one .tar, as `data/shard-{0000..0009}.tar`, or as a folder of them. A sample is a picture and the labels that
share its name up to the suffix (`shot.19.jpg`, `shot.19.cls`), or where there are none, up to the first dot of its last
part (`000001.img.jpg`, `000001.cls`). A label is the text of `.cls`, or `label`, `cls` or `class` of `.json`: a number
from 0 or a name. Numbers take their names from a `classes.txt` (one a line) beside the shards. A word train, val or
test in a shard's name (`imagenet-train-0000.tar`) or its folder makes a split; without such words there is none.

Every header is read once when the source is opened, then single members: hence random order and exact resuming. Not
done: URLs, pipes and compressed tars, which can only be read in their own order. Names are not verified by checksums.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.files import path_of, read_text
from deepres.base.wording import counted
from deepres.data.decode import Header, decode_bytes, header_of
from deepres.data.images import Images
from deepres.data.picture_digest import Digested, of_bytes
from deepres.data.sources.labels import cleaned, in_order, numbered, repeated
from deepres.data.sources.pairs import labelled_pictures
from deepres.data.sources.split_names import split_named
from deepres.data.sources.splits import RawDataset, Split
from deepres.data.sources.tars import COMPRESSED, ArchivedFile, files_in, read_at
from deepres.data.stored_images import StoredImages
from deepres.data.transforms.crops import Cutter

_NUMBERED = re.compile(r"(.*?)(\d+)([-_]of[-_]\d+)?")
_MOST = 100_000  # shards of a series
_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")


class Shards:
    """The pictures of some tar files, by number; each process opens the files for itself.

    A picture is called `shard-0000.tar/000001.jpg`, below `address`; with `below`, of one file, as it is called below
    that folder of its.
    """

    def __init__(
        self,
        address: str,
        files: tuple[Path, ...],
        members: tuple[tuple[int, ArchivedFile], ...],
        below: str | None = None,
    ) -> None:
        self.address = address
        self.fingerprint = ""
        self.digested: Digested = "bytes"
        self._files = files
        self._members = members
        self._below = below
        self._open: dict[int, int] = {}

    @property
    def files(self) -> Sequence[Path]:
        return self._files

    def key(self, number: int) -> str:
        shard, member = self._members[number]
        if self._below is not None:
            return member.name[len(self._below) :]
        return f"{self._files[shard].name}/{member.name}"

    def image(self, number: int, channels: int) -> Tensor:
        return decode_bytes(self._content(number), self._name(number), channels)

    def cut(self, number: int, cutter: Cutter, place: int, channels: int) -> Tensor:
        return cutter.of_file(self._content(number), self._name(number), place, channels)

    def header(self, number: int) -> Header:
        return header_of(self._content(number), self._name(number))

    def digest(self, number: int) -> int:
        return of_bytes(self._content(number))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def _name(self, number: int) -> str:
        return f"{self.address}/{self.key(number)}"

    def _content(self, number: int) -> bytes:
        shard, member = self._members[number]
        if shard not in self._open:
            self._open[shard] = os.open(self._files[shard], os.O_RDONLY)
        return read_at(self._open[shard], member, self._name(number))


def are_shards(source: str) -> bool:
    """Whether `source` names tar files: by its suffix, or as a folder that holds some and no pictures' folders."""
    path = path_of(source)
    if path.is_dir():
        return bool(_tars(path))
    return ".tar" in path.suffixes or path.name.lower().endswith(COMPRESSED) or _is_stream(source)


def read_shards(source: str, channels: int = 3) -> RawDataset:
    """The samples of the shards that `source` names.

    Raises:
        InputError: a URL, a pipe or a compressed tar, a missing or truncated shard, a picture without label or with two
            that differ, two pictures of one name, a label out of range, shards with different kinds of labels.
    """
    files = _files(source)
    root = _root(source, files)
    members: list[tuple[int, ArchivedFile]] = []
    given: list[str] = []
    notes: tuple[str, ...] = ()
    for number, file in enumerate(files):
        found, said = labelled_pictures(file)
        members += [(number, placed) for placed, _ in found]
        given += [label for _, label in found]
        notes += said
    if not members:
        _refuse_archives_within(files)
        raise InputError(f"{source}: no pictures in {len(files)} shards; wanted members such as 000001.jpg, 000001.cls")
    where = [f"{files[shard]}: {placed.name}" for shard, placed in members]
    labels, said = cleaned(given, where.__getitem__)
    notes += said
    _require_one_kind([(files[shard], label) for (shard, _), label in zip(members, labels, strict=True)])
    classes, numbers = _classes(root, files, labels, where)
    if classes == in_order(labels):
        notes += numbered(classes)
    notes += _not_there(files)
    store = Shards(str(root), files, tuple(members))
    split_of = [_split(file, root) for file in files]
    splits: dict[Split, Images] = {}
    for split in dict.fromkeys(split_of):
        chosen = [number for number, (shard, _) in enumerate(members) if split_of[shard] == split]
        if chosen:
            theirs = torch.tensor([numbers[number] for number in chosen])
            splits[split] = StoredImages(store, torch.tensor(chosen), theirs, classes, channels)
    return RawDataset(root.resolve().name, "shards", classes, splits, channels, notes=notes)


def _files(source: str) -> tuple[Path, ...]:
    if _is_stream(source):
        raise InputError(f"{source}: an address or a stream; download it, and name the file or folder on this machine")
    path = path_of(source)
    files: list[Path] = []
    for file in _tars(path) if path.is_dir() else (path_of(name) for name in _expanded(source)):
        if file.name.lower().endswith(COMPRESSED):
            raise InputError(f"{file}: compressed, so its members cannot be read one by one; unpack it to a plain .tar")
        if not file.is_file():
            raise InputError(f"{file}: this shard does not exist; check the path, or the numbers in braces")
        files.append(file)
    if not files:
        raise InputError(f"{source}: its braces name no shard; wanted such as shard-{{0000..0009}}.tar")
    return tuple(files)


def _not_there(files: Sequence[Path]) -> tuple[str, ...]:
    """A note where the numbers in the names of several shards, from 0 or 1, have gaps or fall short of `-of-00008`."""
    series: dict[tuple[str, str], set[int]] = {}
    for file in files if len(files) > 1 else ():
        if found := _NUMBERED.fullmatch(file.stem):
            series.setdefault((found[1], found[3] or ""), set()).add(int(found[2]))
    notes = []
    for (called, of), numbers in series.items():
        total = int(of.lstrip("-_of")) if of else 0
        first = min(numbers) if not of else int(total in numbers)
        lacking = sorted(set(range(first, min(first + _MOST, first + total if of else max(numbers)))) - numbers)
        if lacking and first <= 1:
            notes.append(
                f"{called}N{of}.tar: {counted(len(lacking), 'shard is', 'shards are')} not there, the first of number "
                f"{lacking[0]}; fetch what is missing, or go on without"
            )
    return tuple(notes)


def _is_stream(source: str) -> bool:
    return "://" in source or source.startswith("pipe:") or source == "-"


def _expanded(pattern: str) -> Iterator[str]:
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    first, last = braces[1], braces[2]
    words = braces[3].split(",") if first is None else (f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1))
    for word in words:
        yield from _expanded(f"{pattern[: braces.start()]}{word}{pattern[braces.end() :]}")


def _tars(folder: Path) -> list[Path]:
    """The tar files in a folder, and in its folders train, val and test."""
    try:
        inside = [entry for entry in sorted(folder.iterdir()) if split_named(entry.name) and entry.is_dir()]
    except OSError:  # whoever lists it next says so
        return []
    return [file for place in (folder, *inside) for file in sorted(place.glob("*.tar"))]


def _root(source: str, files: tuple[Path, ...]) -> Path:
    path = path_of(source)
    return path if path.is_dir() else files[0].parent


def _split(file: Path, root: Path) -> Split:
    inner = () if file.parent == root else (file.parent.name,)
    words = [*inner, *re.split(r"[-_.]", file.stem)]
    return next((split for word in words if (split := split_named(word))), "train")


def _refuse_archives_within(files: Sequence[Path]) -> None:
    for file in files:
        within = [name for name in files_in(file).files if name.lower().endswith((".tar", ".zip", *COMPRESSED))]
        if within:
            raise InputError(
                f"{file}: holds {counted(len(within), 'archive')} ({within[0]}) and no picture; unpack it and them, "
                f"each into a folder of its name, and give the folder"
            )


def _require_one_kind(labels: Sequence[tuple[Path, str]]) -> None:
    """Shards whose labels are all numbers beside others whose labels are all names: two lists of classes."""
    kinds: dict[Path, set[bool]] = {}
    for file, label in labels:
        kinds.setdefault(file, set()).add(label.isascii() and label.isdigit())
    numbers, names = ([file for file, kind in kinds.items() if kind == {digits}] for digits in (True, False))
    if numbers and names:
        raise InputError(
            f"{names[0]}: its labels are names, those of {numbers[0].name} numbers; write all shards with one kind"
        )


def _classes(
    root: Path, files: tuple[Path, ...], labels: Sequence[str], where: Sequence[str]
) -> tuple[tuple[str, ...], list[int]]:
    """Names of the classes, and the class of each label as a number."""
    names_file, names = _named_classes(root, files)
    if not names:
        names = in_order(labels)
    elif all(label.isascii() and label.isdigit() for label in labels) and not set(labels) <= set(names):
        largest = max(range(len(labels)), key=lambda at: int(labels[at]))
        if int(labels[largest]) >= len(names):
            raise InputError(
                f"{where[largest]}: label {labels[largest]}, {names_file} names {counted(len(names), 'class')}; add "
                "the others"
            )
        return names, [int(label) for label in labels]
    index = {name: number for number, name in enumerate(names)}
    strange = next((at for at, label in enumerate(labels) if label not in index), None)
    if strange is not None:
        raise InputError(f"{where[strange]}: class '{labels[strange]}' is not in {names_file}; add it there")
    return names, [index[label] for label in labels]


def _named_classes(root: Path, files: tuple[Path, ...]) -> tuple[Path, tuple[str, ...]]:
    """The list of class names beside the shards; none, or one that all agree on."""
    lists: dict[Path, tuple[str, ...]] = {}
    for folder in dict.fromkeys((root, *(file.parent for file in files))):
        path = folder / "classes.txt"
        if path.is_file():
            lines = read_text(path, "list of class names").splitlines()
            lists[path] = tuple(line.strip() for line in lines if line.strip())
    for path, names in lists.items():
        if (twice := repeated(names)) is not None:
            raise InputError(f"{path}: names '{twice}' twice; wanted every class once")
        if names != next(iter(lists.values())):
            raise InputError(f"{path}: names other classes than {next(iter(lists))}; make them the same")
    return next(iter(lists.items()), (root / "classes.txt", ()))
