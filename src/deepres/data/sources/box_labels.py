"""What files of labels say of boxes, beside the pictures: which way up, in px, inside; what cannot be is refused.

| what is found                    | what becomes of it                                                      |
| -------------------------------- | ----------------------------------------------------------------------- |
| a box without area               | left out and named, or refused (`data.on_bad_box`)                      |
| an edge outside, by up to 1 px   | clipped, and counted                                                    |
| an edge outside, by more         | refused: it may be of another picture                                   |
| a picture that is stored turned  | its boxes are turned with it where the labels are of the stored size    |
| sizes that fit neither way up    | refused with all three                                                  |
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepres.base.errors import InputError
from deepres.base.wording import counted, is_text, quoted, some
from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.decode import BadImageError, opened_file, orientation
from deepres.data.images import FileImages, Images
from deepres.data.masks import MaskShape
from deepres.data.sources.config import DataConfig
from deepres.data.sources.kept_columns import KeptBoxes
from deepres.data.sources.labels import number_in
from deepres.data.sources.mask_labels import MOST, DrawnMasks, require_all_or_none
from deepres.data.sources.splits import SPLITS, RawDataset, Split
from deepres.data.sources.turns import ON_ITS_SIDE, turn_of, turned_upright

_SHOWN = 5
_TABLE = 10

FourNumbers = tuple[float, float, float, float]


class Object(NamedTuple):
    """A box as it is written: its `number` and four numbers there, its class, its mask and what is left out of that."""

    number: int
    name: str
    given: FourNumbers
    ignored: bool = False
    area: float | None = None
    shape: MaskShape | None = None
    flaws: tuple[str, ...] = ()


@dataclass
class Labelled:
    """What is said of one picture: `size` (W, H) where it is told; `labels` names the file, or it is missing."""

    picture: Path
    labels: Path
    objects: list[Object]
    size: tuple[int, int] | None = None
    id: int | None = None
    missing: bool = False
    count: int = 0  # of its objects, before any class was left out


@dataclass
class Labels:
    """What a source says: pictures of each split (or of "all"), classes in their order, how its numbers are meant.

    `corners` makes (K, 4) as written, of a picture of (W, H), into half-open corners in px; `flat` says which rows have
    no area. `called` names an object in an error. `others` are further columns of a table, whose cells `cells` gives.
    `relative`: polygons are shares of the picture.
    """

    pictures: dict[Split, list[Labelled]]
    classes: tuple[str, ...]
    corners: "Callable[[NDArray[np.float64], tuple[int, int]], NDArray[np.float64]]"
    flat: "Callable[[NDArray[np.float64]], NDArray[np.bool_]]"
    called: Callable[[Labelled, Object], str]
    notes: list[str] = field(default_factory=list)
    class_ids: tuple[int, ...] = ()  # what COCO calls the classes
    others: tuple[str, ...] = ()
    cells: Callable[[Labelled, Object | None], list[str]] = lambda *_: []
    relative: bool = False

    def every(self) -> Iterable[Labelled]:
        """All pictures."""
        return (picture for split in self.pictures.values() for picture in split)


def coordinate_in(text: str | None) -> float:
    """The px or the share that a text says; NaN where it says none: also of 1_000, and of what no picture has."""
    value = number_in(text.strip()) if text is not None and text.isascii() else math.nan
    return value if abs(value) <= MOST else math.nan


def trainval_note(pictures: int) -> str:
    """What is said where `data.trainval` has an effect."""
    return f"val is learnt with train: {counted(pictures, 'picture')} (data.trainval)"


def settled(labels: Labels, name: str, config: DataConfig, channels: int) -> RawDataset:
    """The images of all splits with their boxes.

    Raises:
        InputError: as the table above says; an unknown class of `data.classes`.
    """
    odd = next((name for name in labels.classes if not name.isprintable() or not is_text(name)), None)
    if odd is not None:
        raise InputError(f"{config.source}: class {quoted(odd)}: wanted a name of letters in one line; rename it")
    labels = _of_classes(labels, config)
    if config.trainval and {"train", "val", "test"} <= labels.pictures.keys():
        held_out = labels.pictures.pop("val")
        labels.pictures["train"] = [*labels.pictures["train"], *held_out]
        labels.notes.append(trainval_note(len(held_out)))
    require_all_or_none(labels.every(), config, labels.called)
    seen = {id(picture): _seen(picture) for picture in labels.every()}
    frames, told = _frames(labels, seen, config)
    rows = _Rows(labels, config)
    splits: dict[Split, Images] = {}
    kept = KeptBoxes(labels.others)
    first = 0
    for split, pictures in sorted(labels.pictures.items(), key=lambda item: SPLITS.index(item[0])):
        made = [rows.of(picture, seen[id(picture)], frames.get(id(picture), 1)) for picture in pictures]
        for picture in pictures:
            if (header := seen[id(picture)]) is not None:
                kept.sizes[picture.picture] = header.upright
            if labels.others:
                found: list[Object | None] = [*picture.objects] or [None]
                kept.rows[picture.picture] = [labels.cells(picture, one) for one in found]
        ids = [first + place if picture.id is None else picture.id for place, picture in enumerate(pictures)]
        first += len(pictures)
        targets = BoxTargets.of([boxes for boxes, _ in made], ids, [remarks for _, remarks in made])
        targets = replace(targets, class_ids=labels.class_ids)
        paths = tuple(picture.picture for picture in pictures)
        splits[split] = FileImages(paths, targets, labels.classes, channels)
    rows.refuse()
    notes = (*labels.notes, *told, *rows.notes(), *_without(labels))
    return RawDataset(name, "boxes", labels.classes, splits, channels, notes=notes, kept=kept)


def _of_classes(labels: Labels, config: DataConfig) -> Labels:
    """The labels of the classes that are asked for."""
    wanted = config.classes
    if wanted is None:
        return labels
    strange = [name for name in wanted if name not in labels.classes]
    if strange or len(set(wanted)) < len(wanted):
        what = f"'{strange[0]}' is none of them" if strange else "one stands there twice"
        raise InputError(
            f"data.classes={','.join(wanted)}: {what}; {config.source} has {', '.join(labels.classes[:20])}"
        )
    left = Counter[str]()
    for picture in labels.every():
        left.update(found.name for found in picture.objects if found.name not in wanted)
        picture.objects = [found for found in picture.objects if found.name in wanted]
    by_name = dict(zip(labels.classes, labels.class_ids, strict=False))
    labels.classes, labels.class_ids = wanted, tuple(by_name[name] for name in wanted if name in by_name)
    if left:
        told = ", ".join(f"{count:,} {name}" for name, count in left.most_common(_SHOWN))
        labels.notes.append(f"data.classes leaves out the boxes of other classes ({told})")
    return labels


class _Seen(NamedTuple):
    """Of a picture's header: (W, H) as it is stored, and EXIF's orientation."""

    stored: tuple[int, int]
    turn: int

    @property
    def upright(self) -> tuple[int, int]:
        return self.stored[::-1] if self.turn in ON_ITS_SIDE else self.stored


def _seen(picture: Labelled) -> _Seen | None:
    """None: it cannot be read, which is told where pictures are read."""
    try:
        with opened_file(picture.picture) as (_, image):
            return _Seen((image.width, image.height), orientation(image))
    except BadImageError:
        return None


def _frames(labels: Labels, seen: dict[int, _Seen | None], config: DataConfig) -> tuple[dict[int, int], list[str]]:
    """By picture the turn that its boxes need, 1 being none; what is said of those that sizes do not tell."""
    turns: dict[int, int] = {}
    unknown: list[Labelled] = []
    told: Counter[str] = Counter()
    for picture in labels.every():
        header = seen[id(picture)]
        if header is None:
            continue
        as_upright, as_stored = (
            picture.size is None or picture.size == size for size in (header.upright, header.stored)
        )
        if not (as_upright or as_stored):
            raise InputError(_other_size(picture, header))
        if header.turn == 1:
            continue
        if as_upright and as_stored:
            unknown.append(picture)
        else:
            told["stored" if as_stored else "upright"] += 1
            turns[id(picture)] = header.turn if as_stored else 1
    if not unknown:
        return turns, []
    which = f"{counted(len(unknown), 'picture')} stored turned, such as {unknown[0].picture.name}"
    frame, why = config.frame, "data.frame"
    if frame == "auto":
        if len(told) > 1:
            raise InputError(
                f"{config.source}: {which}: their sizes do not tell which way up their boxes are meant, and of others "
                f"{told['upright']} are meant upright, {told['stored']} as stored; set data.frame=upright or stored"
            )
        frame, why = ("stored", "as the others are") if told["stored"] else ("upright", "data.frame=stored otherwise")
    for picture in unknown:
        header = seen[id(picture)]
        turns[id(picture)] = header.turn if header is not None and frame == "stored" else 1
    return turns, [f"{which}: sizes do not tell which way up their boxes are meant, taken as {frame} ({why})"]


def _other_size(picture: Labelled, header: _Seen) -> str:
    (width, height), name = picture.size or (0, 0), picture.picture.name
    if header.turn not in ON_ITS_SIDE:
        own = "{} x {}".format(*header.stored)
        return f"{picture.labels}: size {width} x {height}, {name} is {own}; are the labels of another picture?"
    stored, upright = ("{} x {}".format(*size) for size in (header.stored, header.upright))
    return (
        f"{name}: stored {stored}, turned upright {upright}, {picture.labels} says {width} x {height}; "
        "wanted one of the two"
    )


class _Rows:
    """Boxes as written -> boxes of the upright picture, and what there is to say of all."""

    def __init__(self, labels: Labels, config: DataConfig) -> None:
        self._labels, self._config = labels, config
        self._numbers = {name: number for number, name in enumerate(labels.classes)}
        self._flat: list[str] = []
        self._outside: list[str] = []
        self._masks = DrawnMasks(labels.called, relative=labels.relative)
        self._clipped = self._total = self._duplicates = 0

    def of(self, picture: Labelled, header: _Seen | None, turn: int) -> tuple[Boxes, tuple[int, int, int]]:
        """The boxes of a picture, and its row of `remarks`."""
        if not picture.objects:
            return Boxes.of([], []), (int(picture.missing), 0, 0)
        self._total += len(picture.objects)
        given = np.array([found.given for found in picture.objects], dtype=np.float64)
        upright = header.upright if header is not None else picture.size
        size = (header.stored if turn != 1 else upright) if header is not None else picture.size
        corners = self._labels.corners(given, size or (1, 1))
        clipped = corners
        if size is not None:
            ends = np.array([*size, *size], dtype=np.float64)
            clipped = np.clip(corners, 0, ends)
        beyond = np.abs(corners - clipped).max(1)
        flat = self._labels.flat(given) | (clipped[:, 2] <= clipped[:, 0]) | (clipped[:, 3] <= clipped[:, 1])
        far = beyond > 1 + 1e-9
        for row in np.flatnonzero(far).tolist():
            width, height = size or (0, 0)
            self._outside.append(f"{self._said(picture, row)} ends outside of the picture ({width} x {height})")
        for row in np.flatnonzero(flat & ~far).tolist():
            self._flat.append(f"{self._said(picture, row)} has no area")
        empty = self._masks.empty(picture)
        for row in np.flatnonzero(empty & ~flat & ~far).tolist():
            self._flat.append(f"{self._said(picture, row)} has a mask without area")
        flat |= empty
        kept = np.flatnonzero(~flat)
        self._clipped += int((beyond[kept] > 1e-9).sum())
        chosen = [picture.objects[row] for row in kept]
        picture.objects = chosen
        self._duplicates += len(chosen) - len({(found.name, found.given) for found in chosen})
        areas = [
            (x2 - x1) * (y2 - y1) if found.area is None else found.area
            for found, (x1, y1, x2, y2) in zip(chosen, clipped[kept].tolist(), strict=True)
        ]
        turned = turned_upright(clipped[kept], size, turn) if size is not None else clipped[kept]
        masks = self._masks.of(picture, chosen, size, turn_of(size or (1, 1), turn))
        numbers, ignored = [self._numbers[found.name] for found in chosen], [found.ignored for found in chosen]
        boxes = Boxes.of(turned, numbers, ignored, areas, masks)
        return boxes, (int(picture.missing), int(flat.sum()), int((beyond[kept] > 1e-9).sum()))

    def refuse(self) -> None:
        """Refuse what is outside, and under "stop" what has no area."""
        if self._outside:
            more = f"; so do {len(self._outside) - 1} more" if len(self._outside) > 1 else ""
            raise InputError(
                f"{self._outside[0]} by more than 1 px: is the file of another picture?{more}",
                _listed(self._outside) if more else (),
            )
        flat = [*self._flat, *self._masks.left_out()]
        if flat and self._config.on_bad_box == "stop":
            more = f", nor have {len(flat) - 1} more" if len(flat) > 1 else ""
            raise InputError(
                f"{flat[0]}{more}; mend the labels, or data.on_bad_box=drop leaves out what has no area",
                _listed(flat) if more else (),
            )

    def notes(self) -> list[str]:
        """What became of boxes."""
        notes = [*self._masks.notes(), *self._flat[:_SHOWN]]
        if self._flat:
            notes.append(
                f"{len(self._flat):,} of {counted(self._total, 'box')} without area "
                f"{'is' if len(self._flat) == 1 else 'are'} left out (data.on_bad_box=stop refuses them)"
            )
        if self._clipped:
            notes.append(
                f"{counted(self._clipped, 'box')} clipped: an edge lay outside of the picture, by 1 px at most"
            )
        if self._duplicates:
            notes.append(f"{counted(self._duplicates, 'box')} twice on a picture, the same class and place: kept")
        return notes

    def _said(self, picture: Labelled, row: int) -> str:
        found = picture.objects[row]
        numbers = ",".join(f"{value:.10g}" for value in found.given)
        return f"{self._labels.called(picture, found)}: box {numbers}"


def no_size(given: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the boxes (K, 4), of two numbers and width and height, have no area."""
    return (given[:, 2] <= 0) | (given[:, 3] <= 0)


def _without(labels: Labels) -> list[str]:
    """The classes that no box is of."""
    used = {found.name for picture in labels.every() for found in picture.objects}
    empty = [name for name in labels.classes if name not in used]
    if not empty:
        return []
    return [f"no object of {counted(len(empty), 'class')}: {some(empty)}"]


def _listed(lines: Sequence[str]) -> list[str]:
    more = [f"… and {len(lines) - _TABLE} more"] if len(lines) > _TABLE else []
    return [f"  {line}" for line in lines[:_TABLE]] + more
