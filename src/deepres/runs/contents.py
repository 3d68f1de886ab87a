"""Pictures that hold something else than when a run began, under the same names; files that are older are not read."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.wording import counted
from deepres.data.digests import digests
from deepres.data.images import Images
from deepres.data.sources.open import Source
from deepres.runs.logbook import sessions
from deepres.runs.seen import recorded_digests


def require_same_contents(source: Source, folder: Path) -> None:
    """Refuse pictures that were exchanged since the run in `folder` began; names and labels are those that it knows.

    Files are asked for their times, and those that were written or moved since are read.

    Raises:
        InputError: some hold other bytes; the first is named.
    """
    known, since = recorded_digests(folder), _began(folder)
    for split, images in source.splits().items():
        then = known.get(f"{images.digested}.{split}")
        if then is None or len(then) != len(images):  # of an older version
            continue
        newer = _changed(images, since)
        now = digests(images.select(newer)) if newer else ()
        other = [index for index, digest in zip(newer, now, strict=True) if digest != then[index]]
        if other:
            more = f", and {counted(len(other) - 1, 'more does', 'more do')}" if len(other) > 1 else ""
            raise InputError(
                f"{images.name(other[0])}: holds another picture than when the run in {folder} began{more}; bring "
                "back what was there, or start a new run"
            )


def _changed(images: Images, since: float) -> Sequence[int]:
    """Which of the images may have changed; none of those whose record tells what they hold (arrays, packs)."""
    if images.pixels is not None or images.fingerprint:
        return ()
    if images.paths:
        return [index for index, path in enumerate(images.paths) if _is_newer(path, since)]
    return range(len(images)) if any(_is_newer(file, since) for file in images.files) else ()


def _is_newer(path: Path, since: float) -> bool:
    try:
        told = os.stat(path)  # noqa: PTH116 (a million files)
    except OSError:  # whoever reads it says so
        return True
    return max(told.st_mtime, told.st_ctime) >= since


def _began(folder: Path) -> float:
    """Seconds since 1970; 0 where the run does not tell."""
    try:
        return datetime.fromisoformat(str(sessions(folder)[0]["began"])).timestamp()
    except (LookupError, ValueError, OverflowError):
        return 0.0
