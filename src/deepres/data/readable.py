"""Every picture of a source opened before anything is done with them: all that cannot be read are named at once.

Of each file the header is read, and of JPEG, PNG, WebP, GIF and TIFF whether it ends where it should; where that is in
doubt, and in sets of at most WHOLE_BYTES altogether, it is decoded. Damage in the midst of larger sets is found by
decoding alone: in training, or by `deepres data check`.
"""

import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import IO, NamedTuple

from PIL import Image

from deepres.base.errors import InputError
from deepres.base.wording import counted, reason_alone
from deepres.data.decode import BadImageError, decode, opened_file, require_levels
from deepres.data.images import Images
from deepres.data.loading.fetch import by_threads
from deepres.data.sources.splits import Split
from deepres.data.targets import form_of

WHOLE_BYTES = 2**25
"""Sets of files of so many bytes altogether are decoded as they are checked: some seconds."""
SECONDS = 60.0
"""After so long the rest is left to training; what is checked until then is spread evenly over the set."""
SHOWN = 10

_AT_ONCE = 64  # files of one task


class Unreadable(NamedTuple):
    """What cannot be read: name -> reason, and of each class how many of how many; how many were opened."""

    reasons: dict[str, str]
    of_class: dict[str, tuple[int, int]]
    num_opened: int
    num_images: int

    def sentence(self) -> str:
        """`13 of 52 images cannot be read (cat 12 of 26, dog 1 of 26)`."""
        worst = sorted(self.of_class.items(), key=lambda item: -item[1][0] / item[1][1])
        named = [f"{name} {bad} of {every}" for name, (bad, every) in worst[:5]]
        more = f", … in {len(worst)} classes" if len(worst) > 5 else ""
        return f"{len(self.reasons)} of {counted(self.num_images, 'image')} cannot be read ({', '.join(named)}{more})"

    def lines(self) -> list[str]:
        """The first SHOWN, each with its reason, and how many more there are."""
        lines = [f"  {name}: {reason}" for name, reason in list(self.reasons.items())[:SHOWN]]
        rest = len(self.reasons) - SHOWN
        return [*lines, f"  and {rest} more"] if rest > 0 else lines


def unreadable(splits: Mapping[Split, Images], threads: int = 4, seconds: float = SECONDS) -> Unreadable:
    """What of the files of all splits cannot be read; images in memory can."""
    every = [(images, index) for images in splits.values() if not _lie_ready(images) for index in range(len(images))]
    whole = _bytes_of(every, WHOLE_BYTES) <= WHOLE_BYTES
    tasks = max(1, -(-len(every) // _AT_ONCE))
    began, opened = monotonic(), 0
    bad: dict[tuple[int, int], str] = {}
    places = {id(images): number for number, images in enumerate(splits.values())}

    def look(start: int) -> list[tuple[int, int, str | None]]:
        if monotonic() - began > seconds:
            return []
        return [(places[id(images)], index, _problem(images, index, whole)) for images, index in every[start::tasks]]

    for answers in by_threads(look, ((start,) for start in range(tasks)), threads, ahead=2):
        opened += len(answers)
        bad.update({(place, index): reason for place, index, reason in answers if reason is not None})
    named = list(splits.values())
    reasons = {named[place].name(index): reason for (place, index), reason in sorted(bad.items())}
    lost = Counter(name for place, index in bad for name in _names(named[place], index))
    counts = Counter[str]()
    for images in named:
        numbers = form_of(images.targets).counts(images.targets, images.classes)
        counts.update(dict(zip(images.classes, numbers, strict=True)))
    return Unreadable(reasons, {name: (lost[name], counts[name]) for name in lost}, opened, sum(map(len, named)))


def require_readable(splits: Mapping[Split, Images], on_bad_image: str) -> list[str]:
    """Refuse images that cannot be read; under "skip" what there is to say of them.

    Raises:
        InputError: some cannot be read, under "stop"; all of a class cannot, in train.
    """
    found = unreadable(splits)
    if not found.reasons:
        return []
    if on_bad_image == "stop":
        raise InputError(
            f"{found.sentence()}; mend or remove them, or leave them out: --on-bad-image skip", found.lines()
        )
    if "train" in splits:
        left = unreadable_classes(splits["train"], found)
        if left:
            raise InputError(
                f"class '{left[0]}': none of its images for training can be read; mend them, or remove the class",
                found.lines(),
            )
    return [f"{found.sentence()}: left out", *found.lines()]


def unreadable_classes(images: Images, found: Unreadable) -> list[str]:
    """The classes of which no image is left."""
    kept = (index for index in range(len(images)) if images.name(index) not in found.reasons)
    left = Counter(name for index in kept for name in _names(images, index))
    present = form_of(images.targets).counts(images.targets, images.classes)
    return [name for name, count in zip(images.classes, present, strict=True) if count and not left[name]]


def _names(images: Images, index: int) -> list[str]:
    return form_of(images.targets).on(images.targets[index], images.classes)


def _lie_ready(images: Images) -> bool:
    return images.side is not None


def _bytes_of(every: list[tuple[Images, int]], most: int) -> int:
    """The bytes of the files, counted no further than just above `most`."""
    total = 0
    for images, index in every:
        if not images.paths:
            return most + 1
        try:
            total += images.paths[index].stat().st_size
        except OSError:
            continue
        if total > most:
            break
    return total


def _problem(images: Images, index: int, whole: bool) -> str | None:
    name = images.name(index)
    try:
        if images.paths:
            _look_at(images.paths[index], images.levels, whole)
        else:
            images.header(index)
    except BadImageError as error:
        return reason_alone(name, str(error))
    return None


def _look_at(path: Path, levels: float | None, whole: bool) -> None:
    """Raise BadImageError where the file cannot be read."""
    if not whole:
        with opened_file(path) as (file, image):
            require_levels(image, str(path), levels)
            whole = not _ends_well(file, image)
    if whole:
        decode(path, levels=levels)


def _ends_well(file: IO[bytes], image: Image.Image) -> bool:
    """Whether the file holds all that its header promises; False: perhaps not."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 12))
    end = file.read(12)
    if image.format in ("JPEG", "MPO", "JPEG2000"):
        return end.endswith(b"\xff\xd9")
    if image.format == "PNG":
        return end[4:8] == b"IEND"
    if image.format == "GIF":
        return end.endswith(b"\x3b")
    if image.format == "WEBP":
        file.seek(4)
        return bool(struct.unpack("<I", file.read(4))[0] + 8 <= size)
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        starts, lengths = ((tags.get(a) or tags.get(b) or ()) for a, b in ((273, 324), (279, 325)))
        return (
            bool(starts)
            and len(starts) == len(lengths)
            and all(s + n <= size for s, n in zip(starts, lengths, strict=True))
        )
    return False
