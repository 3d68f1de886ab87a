"""Look at every image before training: sizes, kinds, broken files, duplicates within and between splits, balance.

Two images are exact duplicates when their decoded pixels are equal, and near duplicates when they lie in different
splits and are the same picture by alike.py: scaled, encoded anew, brighter, or with a narrow edge cut off. Of each
image the nearest in another split is told.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations
from statistics import median

import numpy as np

from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.base.wording import counted, reason_alone, shown, tallied
from deepres.data import check_boxes
from deepres.data.alike import DISTANCE, nearest, thumbnail, thumbnails
from deepres.data.decode import BadImageError, greatest_of
from deepres.data.images import Images
from deepres.data.loading.balance import imbalance, unequal
from deepres.data.loading.fetch import by_threads
from deepres.data.sources.open import Source
from deepres.data.sources.splits import Split
from deepres.data.targets import form_of

MAX_LISTED = 200
"""A report lists at most so many duplicates of each kind; it counts all."""

_SHOWN = 5  # lines of each kind in the printed table


class Span(Record):
    """Least, middle and greatest of a size in px."""

    least: int
    middle: float
    greatest: int


class SplitReport(Record):
    """One split: images of each class (in the order of `CheckReport.classes`), sizes, how many are of which kind."""

    split: str
    images: int
    per_class: tuple[int, ...]
    width: Span | None  # None: nothing could be read
    height: Span | None
    num_sizes: int  # different (width, height)
    traits: dict[str, int]  # grey, cmyk, 16-bit, palette, transparent, animated, rotated: files of the kind


class Broken(Record):
    """A file that cannot be read."""

    split: str
    class_name: str
    path: str
    reason: str


class Duplicates(Record):
    """Images with equal pixels (exact) or alike (near), each with its split and class."""

    paths: tuple[str, ...]
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    conflicting: bool  # their classes differ
    distance: float = 0.0  # as in alike.py


class CheckReport(Record):
    """What `check` saw; `num_` counts are complete, lists end at MAX_LISTED."""

    source: str
    classes: tuple[str, ...]
    splits: tuple[SplitReport, ...]
    ignored: int
    broken: tuple[Broken, ...]
    num_exact: int  # groups of equal images
    num_leaks: int  # groups that lie in several splits
    num_conflicts: int  # groups with several classes
    exact: tuple[Duplicates, ...]
    num_near: int  # pairs that lie in two splits
    near: tuple[Duplicates, ...]
    greatest: float | None  # value of pictures of more than 8 bits; None: there are none, or data.levels is set
    boxes: tuple[check_boxes.BoxReport, ...] | None = None  # of each split; None: targets are no boxes
    imbalance: float  # images of the greatest class of train over those of the smallest
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Seen:
    """One readable image, what it holds, and where it stands."""

    split: Split
    index: int
    size: tuple[int, int]
    traits: tuple[str, ...]
    digest: bytes
    thumbnail: bytes
    greatest: float | None


def check(source: Source, workers: int = 0, on_progress: OnProgress | None = None) -> CheckReport:
    """Decode every image of `source` once, with `workers` threads (0: none), and report; `on_progress(done, total)`.

    Near duplicates cost one comparison a pair of images in different splits: 5e8, half a minute, for 50,000 + 10,000.
    """
    splits = source.splits()
    total = sum(len(images) for images in splits.values())
    seen: list[_Seen] = []
    broken: list[Broken] = []
    for done, outcome in enumerate(_look_at_all(splits, workers), start=1):
        if isinstance(outcome, Broken):
            broken.append(outcome)
        else:
            seen.append(outcome)
        if on_progress is not None:
            on_progress(done, total)
    exact = _exact(source, seen)
    near = sorted(_near(source, seen), key=lambda pair: (not pair.conflicting, pair.distance, pair.paths))
    counts = [form_of(images.targets).counts(images.targets, source.classes) for images in splits.values()]
    return CheckReport(
        source=source.origin.source,
        classes=source.classes,
        splits=tuple(
            _split(split, len(images), seen, per_class)
            for (split, images), per_class in zip(splits.items(), counts, strict=True)
        ),
        ignored=source.origin.ignored,
        broken=tuple(broken),
        num_exact=len(exact),
        num_leaks=sum(len(set(group.splits)) > 1 for group in exact),
        num_conflicts=sum(group.conflicting for group in exact),
        exact=tuple(sorted(exact, key=lambda g: (len(set(g.splits)) == 1, not g.conflicting, g.paths))[:MAX_LISTED]),
        num_near=len(near),
        near=tuple(near[:MAX_LISTED]),
        greatest=max((image.greatest for image in seen if image.greatest is not None), default=None),
        boxes=check_boxes.check_boxes({str(split): images for split, images in splits.items()}),
        imbalance=imbalance(counts[0]),
        notes=source.origin.notes,
    )


def table(report: CheckReport) -> str:
    """The report as plain text for a terminal: splits, classes with bars, what is wrong, and what to do about it."""
    boxes = check_boxes.lines(report.boxes) if report.boxes else []
    lines = [*_splits_table(report), "", *_classes_table(report), "", *boxes, *_findings(report), *_advice(report)]
    return "\n".join(map(shown, lines)) + "\n"


def _look_at_all(splits: Mapping[Split, Images], workers: int) -> Iterator[_Seen | Broken]:
    """What each image is, in order."""
    tasks = ((split, images, index) for split, images in splits.items() for index in range(len(images)))
    yield from by_threads(_look_at, tasks, workers, ahead=8)


def _look_at(split: Split, images: Images, index: int) -> _Seen | Broken:
    try:
        traits = images.header(index).traits
        image = images.image(index)
    except BadImageError as error:
        path = images.name(index)
        name = _words(images, index)
        return Broken(split=split, class_name=name, path=path, reason=reason_alone(path, str(error)))
    pixels = image.permute(1, 2, 0).numpy()
    height, width, _ = pixels.shape
    digest = blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()
    deep = images.paths and images.levels is None and "16-bit" in traits
    greatest = greatest_of(images.paths[index]) if deep else None
    return _Seen(split, index, (width, height), traits, digest, thumbnail(image), greatest)


def _words(images: Images, index: int) -> str:
    return form_of(images.targets).words(images.targets[index], images.classes)


def _split(split: Split, number: int, seen: list[_Seen], per_class: list[int]) -> SplitReport:
    sizes = [image.size for image in seen if image.split == split]
    traits = Counter(trait for image in seen if image.split == split for trait in image.traits)
    return SplitReport(
        split=split,
        images=number,
        per_class=tuple(per_class),
        width=_span([width for width, _ in sizes]),
        height=_span([height for _, height in sizes]),
        num_sizes=len(set(sizes)),
        traits=dict(sorted(traits.items())),
    )


def _span(values: list[int]) -> Span | None:
    return Span(least=min(values), middle=median(values), greatest=max(values)) if values else None


def _exact(source: Source, seen: list[_Seen]) -> list[Duplicates]:
    groups: dict[bytes, list[_Seen]] = defaultdict(list)
    for image in seen:
        groups[image.digest].append(image)
    return [_duplicates(source, group) for group in groups.values() if len(group) > 1]


def _near(source: Source, seen: list[_Seen]) -> list[Duplicates]:
    pairs = []
    for one, other in combinations(source.splits(), 2):
        left, right = ([image for image in seen if image.split == split] for split in (one, other))
        index, distance = nearest(*(thumbnails([image.thumbnail for image in each]) for each in (left, right)))
        for place in np.flatnonzero(index >= 0).tolist():
            pair = [left[index[place]], right[place]]
            if pair[0].digest != pair[1].digest:
                pairs.append(_duplicates(source, pair, round(float(distance[place]), 4)))
    return pairs


def _duplicates(source: Source, group: list[_Seen], distance: float = 0.0) -> Duplicates:
    splits = source.splits()
    classes = tuple(_words(splits[image.split], image.index) for image in group)
    return Duplicates(
        paths=tuple(splits[image.split].name(image.index) for image in group),
        splits=tuple(image.split for image in group),
        classes=classes,
        conflicting=len(set(classes)) > 1,
        distance=distance,
    )


def _splits_table(report: CheckReport) -> list[str]:
    images = counted(sum(split.images for split in report.splits), "image")
    objects = f", {counted(sum(one.objects for one in report.boxes), 'box')}" if report.boxes else ""
    lines = [
        f"{report.source}: {counted(len(report.classes), 'class')}, {images}{objects}",
        "",
    ]
    for split in report.splits:
        size = "nothing could be read"
        if split.width and split.height:
            across = " x ".join(
                f"{s.least}" if s.least == s.greatest else f"{s.least}-{s.greatest}"
                for s in (split.width, split.height)
            )
            middle = f" (median {split.width.middle:g} x {split.height.middle:g}, {split.num_sizes} sizes)"
            size = f"{across} px" + (middle if split.num_sizes > 1 else "")
        traits = "".join(f", {count} {trait}" for trait, count in split.traits.items())
        lines.append(f"{split.split:<6}{split.images:>9,}  {size}{traits}")
    return lines


def _classes_table(report: CheckReport) -> list[str]:
    """Images of each class, or its objects."""
    counted_in = report.boxes or report.splits
    first = counted_in[0].per_class
    order = sorted(range(len(first)), key=lambda label: (-first[label], label))
    shown = order if len(order) <= 20 else [*order[:8], *order[-8:]]
    width = min(40, max(5, *(len(report.classes[label]) for label in shown)))
    what = "  objects" if report.boxes else ""
    lines = [f"{'class':<{width}}" + "".join(f"{split.split:>9}" for split in report.splits) + what]
    for place, label in enumerate(shown):
        if len(shown) < len(order) and place == 8:
            lines.append(f"… {counted(len(order) - len(shown), 'class')} in between …")
        counts = "".join(f"{split.per_class[label]:>9,}" for split in counted_in)
        bar = "#" * (round(40 * first[label] / max(1, first[order[0]])) or bool(first[label]) or not report.boxes)
        name = report.classes[label]  # of a path the end tells most
        lines.append(f"{name if len(name) <= width else '…' + name[1 - width :]:<{width}}{counts}  {bar}")
    return lines


def _findings(report: CheckReport) -> list[str]:
    of_class = Counter(broken.class_name for broken in report.broken).most_common()
    classes = ", ".join(f"{count} of {name}" for name, count in of_class[:_SHOWN]) + ", …" * (len(of_class) > _SHOWN)
    lines = [f"broken     {len(report.broken):>6,}" + (f"  ({classes})" if classes and not report.boxes else "")]
    lines += [f"             {broken.path}: {broken.reason}" for broken in report.broken[:_SHOWN]]
    duplicates = tallied("duplicates", counted(report.num_exact, "group"))
    across, unlike = f"{report.num_leaks:,} across splits", f"{report.num_conflicts:,} with different labels"
    lines.append(f"{duplicates} of equal pixels; {across}, {unlike}")
    lines += [_pair_line(group) for group in report.exact[:_SHOWN]]
    alike = tallied("alike", counted(report.num_near, "pair"))
    lines.append(f"{alike} across splits (distance at most {DISTANCE:g})")
    lines += [_pair_line(pair) for pair in report.near[:_SHOWN]]
    lines.append(tallied("ignored", counted(report.ignored, "file that is no image", "files that are no images")))
    return lines + [f"note       {note}" for note in report.notes]


def _pair_line(group: Duplicates) -> str:
    named = [
        f"{path} ({split}, {name})" for path, split, name in zip(group.paths, group.splits, group.classes, strict=True)
    ]
    return f"             {' = '.join(named[:3])}" + (f" and {len(named) - 3} more" if len(named) > 3 else "")


def _advice(report: CheckReport) -> list[str]:
    sides = [span.middle for split in report.splits for span in (split.width, split.height) if span]
    greatest = report.greatest or 65535
    advice = {
        f"pictures of 16 bits hold values up to {greatest:,.0f} of 65,535, {greatest / 257 + 1:.0f} of 256 levels "
        f"remain: --set data.levels={2 ** int(greatest).bit_length() - 1}, or data.levels=set": greatest < 2**15,
        "repair or remove the broken files, or leave them out: --on-bad-image skip": bool(report.broken),
        "images lie in several splits: the test error will flatter; keep each in one split": report.num_leaks > 0,
        "nearly equal images lie in several splits: look at them, and keep each pair in one split": report.num_near > 0,
        "equal images have different labels: look at them, one label is wrong": report.num_conflicts > 0,
        f"{unequal(report.splits[0].per_class)}: read the error per class; train --balance loss or sampler weighs them "
        "alike": unequal(report.splits[0].per_class) is not None and not report.boxes,
        **check_boxes.advice(report.boxes or ()),
        "half of the images are below 64 px: choose a network for small images": bool(sides) and min(sides) < 64,
    }
    lines = [f"advice     {line}" for line, holds in advice.items() if holds]
    return lines or ["advice     none: nothing stands out"]
