"""Pictures and their labels within a shard: which belong together, and which of several labels counts.

A label file belongs to the picture of its name up to the suffix; one that belongs to none so, to the picture of its
name up to the first dot, as webdataset has it. Other pictures of such a sample (`000001.seg.png`) are left out.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.files import open_regular
from deepres.base.reading import parse_json, reading
from deepres.base.wording import counted
from deepres.data.formats import SUFFIXES
from deepres.data.sources.tars import ArchivedFile, files_in, read_at

_FIELDS = ("label", "cls", "class")
_LABELS = (".cls", ".json")


@dataclass(frozen=True)
class _Names:
    """The names in a shard: labels by their name up to the suffix, and all by their name up to the first dot."""

    labels: Mapping[str, Sequence[str]]
    groups: Mapping[str, Sequence[str]]  # … -> pictures
    loose: Mapping[str, Sequence[str]]  # … -> labels that no picture has by its suffix


def labelled_pictures(file: Path) -> tuple[list[tuple[ArchivedFile, str]], tuple[str, ...]]:
    """The pictures of a shard in its order, each with its label, and notes.

    Raises:
        InputError: no tar; a picture without a label or with two that differ; two pictures with one name.
    """
    tar = files_in(file)
    files = tar.files
    pictures = _pictures(files)
    names = _names(files, pictures)
    found: list[tuple[ArchivedFile, str]] = []
    left_out, used = 0, set[str]()
    descriptor = os.open(file, os.O_RDONLY)
    try:
        for picture, labels in _paired(file, pictures, names):
            if labels:
                where = {label: f"{file}: {label}" for label in labels}
                told = [(label, _told(at, read_at(descriptor, files[label], at))) for label, at in where.items()]
                found.append((files[picture], _agreed(file, picture, told)))
            left_out += not labels
            used.update(labels)
    finally:
        os.close(descriptor)
    said = {f"{counted(tar.replaced, 'member')} replaced by later ones of their name": tar.replaced}
    said[f"{counted(left_out, 'further picture of samples is', 'further pictures of samples are')} left out"] = left_out
    alone = [label for group in names.labels.values() for label in group if label not in used]
    if alone:
        said[f"{counted(len(alone), 'label has', 'labels have')} no picture, such as {alone[0]}: not used"] = len(alone)
    return found, tuple(f"{file.name}: {note}" for note, count in said.items() if count)


def holds_labels(file: Path, files: Mapping[str, ArchivedFile]) -> bool:
    """Whether the tar is a shard: some picture has a .cls, or a .json that holds a label, beside it."""
    names = _names(files, _pictures(files))
    labels = [label for group in (*names.labels.values(), *names.loose.values()) for label in group]
    if any(label.lower().endswith(".cls") for label in labels):
        return True
    stems = {_stem(picture) for group in names.groups.values() for picture in group}
    first = next((label for stem in names.labels if stem in stems for label in names.labels[stem]), None)
    if first is None:
        return False
    with open_regular(file) as content:
        where = f"{file}: {first}"
        return bool(_told(where, read_at(content.fileno(), files[first], where)))


def _pictures(files: Mapping[str, ArchivedFile]) -> list[str]:
    """Those that are not hidden, as `._1.jpg` of a Mac is."""
    last = {name: name.rpartition("/")[2] for name in files}
    return [name for name in files if os.path.splitext(name)[1].lower() in SUFFIXES and last[name][0] != "."]  # noqa: PTH122


def _names(files: Mapping[str, ArchivedFile], pictures: Sequence[str]) -> _Names:
    labels: dict[str, list[str]] = defaultdict(list)
    for name in files:
        if os.path.splitext(name)[1].lower() in _LABELS:  # noqa: PTH122
            labels[_stem(name)].append(name)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in pictures:
        groups[_first(name)].append(name)
    stems = set(map(_stem, pictures))
    loose: dict[str, list[str]] = defaultdict(list)
    for stem, theirs in labels.items():
        if stem not in stems:
            for name in theirs:
                loose[_first(name)].append(name)
    return _Names(labels, groups, loose)


def _paired(file: Path, pictures: Sequence[str], names: _Names) -> Iterator[tuple[str, Sequence[str]]]:
    """Each picture with its label files; none for a further picture of a sample that has its own."""
    owner: dict[str, str] = {}
    for picture in pictures:
        stem, key = _stem(picture), _first(picture)
        labels = names.labels.get(stem, ())
        if not labels:
            labels = [label for label in names.loose.get(key, ()) if stem == key or _stem(label) == key]
        for label in labels:
            if owner.setdefault(label, picture) != picture:
                both = f"{owner[label]} and {picture}"
                raise InputError(
                    f"{file}: {both} are two pictures for {label}; give each a name and a label of its own"
                )
        if not labels and not any(_stem(other) == key and key in names.labels for other in names.groups[key]):
            raise InputError(f"{file}: {picture} has no label; wanted {stem}.cls, or {stem}.json with a field label")
        yield picture, labels


def _stem(name: str) -> str:
    """`a/shot.19.jpg` -> `a/shot.19`."""
    return name.rpartition(".")[0]


def _first(name: str) -> str:
    """`a/shot.19.jpg` -> `a/shot`."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _told(where: str, content: bytes) -> str:
    """What a label file says; a JSON without a label says nothing (empty)."""
    with reading(where, "a label", "wanted JSON with a field label, or a plain number or name"):
        text = content.decode("utf-8-sig").strip()
        fields = parse_json(text, where, "a label in JSON") if where.lower().endswith(".json") else text
    if not text:
        raise InputError(f"{where}: holds no label; wanted a number or a name")
    return _field(where, fields)


def _field(where: str, fields: object) -> str:
    if isinstance(fields, int | float | str) and not isinstance(fields, bool):
        return str(fields).strip()
    if not isinstance(fields, dict):
        return ""
    told = {name: fields[name] for name in _FIELDS if isinstance(fields.get(name), int | float | str)}
    return _same_of_a_kind(where, {name: str(value).strip() for name, value in told.items()})


def _agreed(file: Path, picture: str, told: Sequence[tuple[str, str]]) -> str:
    """The label on which the label files of a picture agree; a .cls goes before a .json."""
    first = sorted(told, key=lambda one: one[0].lower().endswith(".json"))
    label = _same_of_a_kind(f"{file}: {picture}", {name.rpartition("/")[2]: text for name, text in first})
    if not label:
        raise InputError(f"{file}: {first[0][0]}: holds no label; wanted JSON with a field label, or a plain .cls")
    return label


def _same_of_a_kind(where: str, told: Mapping[str, str]) -> str:
    """The first of some labels; one may be the number and another the name of the class, but no two that differ."""
    said = {name: text for name, text in told.items() if text}
    for kind in (True, False):
        alike = {name: text for name, text in said.items() if text.isdigit() == kind}
        if len(set(alike.values())) > 1:
            both = " and ".join(f"'{text}' ({name})" for name, text in list(alike.items())[:2])
            raise InputError(f"{where}: has two labels, {both}; remove one")
    return next(iter(said.values()), "")
