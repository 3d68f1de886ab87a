"""Which images a run has seen, by what they hold: written down when it starts, asked before anything is measured.

    RUN/digests.npz   bytes.train, bytes.val, bytes.test (or pixels.…): 64 bits an image (data/digests.py)
                      bytes.before, pixels.before: what the run was trained on that its first weights come from
                      bytes.taught, pixels.taught: what the runs were trained on that are its teachers
                      place: the source as it was spelled, and where that lay

A picture in another size or encoding is known where class and file name are those of one of the run's (data/alike.py).
An image of the run's own test split is never counted as seen, also where its like stands in train. Runs of older
versions have no such file: the digests are then taken from the images, as long as these are still those of `data.json`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepres.base import records
from deepres.base.errors import InputError
from deepres.base.files import path_of, resolved, write_atomic
from deepres.base.manifest import holds_run, require_own
from deepres.base.npz import read_arrays
from deepres.data.alike import same_picture
from deepres.data.decode import BadImageError
from deepres.data.digests import Digests, digests, looked_at
from deepres.data.doubles import FILE as DOUBLES
from deepres.data.doubles import Doubles, doubles
from deepres.data.images import Images
from deepres.data.loading.fetch import by_threads
from deepres.data.loading.workers import num_cores
from deepres.data.picture_digest import UNREAD, Digested
from deepres.data.sources.config import DataConfig
from deepres.data.sources.named import NAMES
from deepres.data.sources.open import Source, open_source
from deepres.data.sources.splits import SPLITS, DatasetRecord
from deepres.data.targets import form_of
from deepres.nn.weights.checkpoints import asked_of
from deepres.recipes.run import Run
from deepres.runs.resuming import ORIGIN, require_same_images

DIGESTS = "digests.npz"
SPLIT = "split.csv"
WHAT = "record of the images"

Seen = Mapping[str, Digests]
"""`bytes.train` …, `pixels.before`: digests by what they are of and by the split."""


@dataclass(frozen=True)
class SeenImages:
    """How many of `images` the run was trained on, chose its epoch by, began with weights that were trained on, or
    was taught by one that was.

    `alike` of them are there in another size or encoding; `unknown` says why nothing can be known, where it cannot.
    """

    images: int
    trained: int = 0
    chosen: int = 0
    before: int = 0
    unknown: str | None = None
    alike: int = 0
    taught: int = 0

    def __bool__(self) -> bool:
        return bool(self.trained or self.chosen or self.before or self.taught)

    def __str__(self) -> str:
        """`412 of 600 images were trained on, 30 more chose its epoch`; or that it is not known, and why."""
        if self.unknown is not None and not self:
            return f"which images the run was trained on is not known ({self.unknown})"
        told = {
            "were trained on": self.trained,
            "chose its epoch": self.chosen,
            "were trained on by the run that it began with": self.before,
            "were trained on by its teacher": self.taught,
        }
        said = ", ".join(
            f"{count:,}{f' of {self.images:,} images' if not place else ' more'} {what}"
            for place, (what, count) in enumerate((what, count) for what, count in told.items() if count)
        )
        return said + (f" ({self.alike:,} of them in another size or encoding)" if self.alike else "")


def write_digests(folder: Path, run: Run, source: Source) -> None:
    """Write down what `source` holds, which `run` is to be trained on, and which pictures stand in two splits."""
    place = resolved(path_of(run.data.source))
    kind = source.train.digested
    looked = {split: looked_at(images) for split, images in source.splits().items()}
    write_atomic(folder / DOUBLES, doubles(source.splits(), looked).to_json())
    seen = {f"{kind}.{split}": found for split, (found, _) in looked.items()}
    taught_by = () if run.teacher is None else run.teacher.weights
    others = [("before", weights) for weights in (run.weights,) if weights] + [("taught", name) for name in taught_by]
    for role, weights in others:
        folder_of = run_of(weights)
        for name, known in {} if folder_of is None else recorded_digests(folder_of).items():
            kind_before, _, split = name.partition(".")
            if split != "test":
                earlier = seen.get(f"{kind_before}.{role}", np.empty(0, np.uint64))
                seen[f"{kind_before}.{role}"] = np.union1d(earlier, known)
    content = BytesIO()
    np.savez(content, **seen, place=np.array([run.data.source, str(place)]))  # type: ignore[arg-type]
    write_atomic(folder / DIGESTS, content.getvalue())


def doubles_in(folder: Path) -> Doubles | None:
    """Which pictures stood in two splits when the run in `folder` started; None: an older version did not look."""
    path = folder / DOUBLES
    require_own(folder, DOUBLES)
    return records.load(Doubles, path, "record of pictures in two splits") if path.is_file() else None


def own_data(folder: Path, run: Run) -> DataConfig:
    """The run's own images, also from another working folder, where the path that it was given leads elsewhere."""
    spelled, place = _place(folder)
    elsewhere = spelled == run.data.source and Path(place).exists() and not same_source(spelled, place)
    return run.data.replace(source=place) if elsewhere and spelled not in NAMES else run.data


def own_now(folder: Path, run: Run, source: str | None = None) -> DataConfig:
    """The run's own images; where they are gone from there and all of them are at `source`, each in its part, those.

    Raises:
        InputError: they are gone, and no `source` is given.
    """
    data = own_data(folder, run)
    if not _gone(data):
        return data
    if source is None:
        raise InputError(
            f"{data.source}: the images of the run in {folder} are no longer there; say where they are now: "
            f"deepres eval {folder} SOURCE, or deepres train --resume {folder} --set data.source=SOURCE"
        )
    moved = data.replace(source=source)
    try:
        require_same_images(open_source(moved), folder)
    except InputError:  # others: they are measured, or refused, as any images are
        return data
    return moved


def _gone(data: DataConfig) -> bool:
    is_path = data.source not in NAMES and not set(data.source) & set("{:*")
    return is_path and not path_of(data.source).exists()


def run_of(weights: Path | str) -> Path | None:
    """The folder of the run that these weights are of, itself or one that they lie in; None for others."""
    path = Path(asked_of(str(weights))[0])
    if not path.exists():
        return None
    return next((folder for folder in (path, *resolved(path).parents[:3]) if holds_run(folder)), None)


def same_source(one: str, other: str) -> bool:
    """Whether both spell one set known by name, or one place: `photos`, `photos/`, `./photos`, a link to it."""
    if one in NAMES or other in NAMES:
        return one == other
    paths = [path_of(source) for source in (one, other)]
    if all(path.exists() for path in paths):
        return paths[0].samefile(paths[1])
    return len({os.path.realpath(path) for path in paths}) == 1


def asks_for_own(data: DataConfig, own: DataConfig) -> bool:
    """Whether `data` is a run's own source, and not the test images that its folds leave apart (`folds` said: none)."""
    return same_source(data.source, own.source) and ("folds" not in data.model_fields_set or data.folds == own.folds)


def unchanged(folder: Path, split: str, images: Images, origin: DatasetRecord) -> bool:
    """Whether these are the images that the run's `split` held when it started.

    `origin` is that of the source as it lies there now: a run of an older version has its names and labels alone.
    """
    recorded = recorded_digests(folder)
    if recorded:
        then = recorded.get(f"{images.digested}.{split}")
        return then is not None and np.array_equal(np.sort(then), np.sort(digests(images)))
    began = _origin(folder)
    return began is None or _same(began, origin)


def began_with(folder: Path) -> bool:
    """Whether the run's first weights, or its teachers, were trained on images that are written down."""
    return any(name.endswith((".before", ".taught")) for name in recorded_digests(folder))


def overlap(folder: Path, run: Run, images: Images) -> SeenImages:
    """How many of `images` the run in `folder` has seen, each counted once."""
    seen, unknown = dict(recorded_digests(folder)), None
    kind = images.digested
    if not seen or (kind == "pixels" and "pixels.train" not in seen):
        try:
            seen |= _as_they_lie(folder, run, images, kind if seen else None)
        except InputError as cause:
            unknown = cause.message
    found = {split: np.zeros(len(images), bool) for split in (*SPLITS, "before", "taught")}
    kinds: tuple[Digested, ...] = ("bytes", "pixels") if kind == "bytes" else ("pixels",)
    for each in kinds:
        if not any(name.startswith(each) for name in seen):
            continue
        own = digests(images, each)
        for split in found:
            found[split] |= np.isin(own, seen.get(f"{each}.{split}", np.empty(0, np.uint64))) & (own != UNREAD)
    again = _of_their_names(folder, run, images, ~np.logical_or.reduce([*found.values()]))
    for split in ("train", "val"):
        found[split] |= again[split]
    trained = found["train"] & ~found["test"]
    chosen = found["val"] & ~found["test"] & ~trained
    before = found["before"] & ~trained & ~chosen
    taught = found["taught"] & ~trained & ~chosen & ~before
    alike = int((again["train"] | again["val"]).sum())
    return SeenImages(
        len(images), int(trained.sum()), int(chosen.sum()), int(before.sum()), unknown, alike, int(taught.sum())
    )


def _of_their_names(folder: Path, run: Run, images: Images, asked: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Which of those `asked` are, in another size or encoding, what the run knows under their class and file name.

    Only as long as the run's own images can be read; of arrays, whose names say nothing, none.
    """
    found = {split: np.zeros(len(images), bool) for split in ("train", "val")}
    try:
        splits = {} if images.side is not None or not asked.any() else open_source(own_data(folder, run)).splits()
    except InputError:
        return found
    for split, own in splits.items():
        if split not in found or own.side is not None:
            continue
        places = {_class_and_stem(own, place): place for place in range(len(own))}
        pairs = [(own, places.get(_class_and_stem(images, int(i)), -1), images, int(i)) for i in np.flatnonzero(asked)]
        known = [pair for pair in pairs if pair[1] >= 0]
        same = list(by_threads(_alike, known, num_cores(), ahead=8))
        found[split][[pair[3] for pair, is_same in zip(known, same, strict=True) if is_same]] = True
    return found


def _class_and_stem(images: Images, index: int) -> tuple[str, str]:
    return form_of(images.targets).words(images.targets[index], images.classes), PurePath(images.name(index)).stem


def _alike(own: Images, place: int, images: Images, index: int) -> bool:
    try:
        return same_picture(own.image(place), images.image(index))
    except BadImageError:
        return False


def _place(folder: Path) -> tuple[str, str]:
    told = _columns(folder).get("place", np.array(["", ""]))
    if told.shape != (2,) or told.dtype.kind != "U":
        raise InputError(
            f"{folder / DIGESTS}: no record of where the images lie; copy the run anew, or remove this file"
        )
    return str(told[0]), str(told[1])


def recorded_digests(folder: Path) -> dict[str, Digests]:
    """What the run in `folder` wrote down as it began, by kind and split (`bytes.train`), in the images' order."""
    return {name: column for name, column in _columns(folder).items() if name != "place"}


def _columns(folder: Path) -> dict[str, NDArray[Any]]:
    path = folder / DIGESTS
    require_own(folder, DIGESTS)
    if not path.is_file():
        return {}
    return read_arrays(path, path, "a whole record of what the run has seen", "copy the run anew, or remove this file")


def _as_they_lie(folder: Path, run: Run, images: Images, kind: Digested | None) -> dict[str, Digests]:
    """The digests of the run's own images, taken now; where that is their pixels, of those of a size with `images`.

    Raises:
        InputError: they cannot be read, or are not those that the run began with.
    """
    source = open_source(own_data(folder, run))
    began = _origin(folder)
    if began is not None and not _same(began, source.origin):
        raise InputError(f"the images of {run.data.source} are no longer those that the run began with")
    found: dict[str, Digests] = {}
    for split, own in source.splits().items():
        if kind == "pixels" and images.pixels is not None:
            own = _of_size(own, tuple(images.pixels.shape[2:]))
        each = kind or own.digested
        found[f"{each}.{split}"] = digests(own, each)
    return found


def _of_size(images: Images, size: tuple[int, ...]) -> Images:
    if images.side is not None:
        return images

    def fits(index: int) -> bool:
        try:
            seen = images.header(index)
        except BadImageError:
            return False
        return (seen.height, seen.width) == size

    return images.select([index for index in range(len(images)) if fits(index)])


def _origin(folder: Path) -> DatasetRecord | None:
    require_own(folder, ORIGIN)
    return records.load(DatasetRecord, folder / ORIGIN, WHAT) if (folder / ORIGIN).is_file() else None


def _same(then: DatasetRecord, now: DatasetRecord) -> bool:
    return all(getattr(then, split) == getattr(now, split) for split in SPLITS)
