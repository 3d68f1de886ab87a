"""What a reader found -> train, val, test: *test* is touched once, *val* chooses the epoch.

| found              | train | val                   | test                              |
| ------------------ | ----- | --------------------- | --------------------------------- |
| train, val, test   | train | val                   | test                              |
| train, test        | train | cut from train        | test                              |
| train, val         | train | cut from train        | val (what the field reports)      |
| no split           | rest  | cut from all          | cut from all                      |

A cut is stratified: of each class the images are put into the order of `derive(split_seed, "split", name)`, the
first go to test, the next to val. It depends on names, never on the order of files, nor on any generator's version;
another val_fraction leaves the test images where they are. Where a table tells groups, groups are cut, in the order of
`derive(split_seed, "split", group)`; of pictures with boxes equal ones (equals.py) go together. Rule: ours.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import Literal

from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.seeds import derive
from deepres.base.wording import counted
from deepres.data.images import Images
from deepres.data.masks import Masks
from deepres.data.sources.equals import equal_images
from deepres.data.sources.kept_columns import KeptBoxes, KeptColumns
from deepres.data.sources.labels import alike
from deepres.data.targets import form_of

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
_FOLDERS = ("folder", "archive")  # what there is to say of their names is said where they are read


@dataclass(frozen=True)
class RawDataset:
    """What a reader found: `splits` has some of train, val, test; `train` alone is a set without a split."""

    name: str
    kind: Literal["named", "folder", "table", "arrays", "packed", "shards", "archive", "boxes"]
    classes: tuple[str, ...]
    splits: Mapping[Split, Images]
    channels: int
    ignored: int = 0  # files that are no images
    notes: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)  # by `Images.key`: those of one group are never parted
    kept: KeptColumns | KeptBoxes | None = None  # of a table, or of boxes: what else stands in it

    def groups_of(self, images: Images) -> list[str] | None:
        """The group of each image; None where the source knows none."""
        return [self.groups[images.key(i)] for i in range(len(images))] if self.groups else None


class SplitRecord(Record):
    """One split: how many images, how it came to be, and SHA-256 over names and labels.

    Of arrays over pixels and labels; of a pack over the digest of its index too, which knows what each record holds.
    """

    images: int
    how: str
    digest: str


class DatasetRecord(Record):
    """Where the images come from; with the same files, the same fractions and seed give the same digests."""

    kind: Literal["named", "folder", "table", "arrays", "packed", "shards", "archive", "boxes"]
    source: str
    train: SplitRecord
    val: SplitRecord | None
    test: SplitRecord | None
    val_fraction: float | None  # None: nothing was cut for this split
    test_fraction: float | None
    split_seed: int
    ignored: int
    notes: tuple[str, ...]


def arrange(
    found: RawDataset, source: str, val: float, test: float, seed: int
) -> tuple[dict[Split, Images], DatasetRecord]:
    """The splits by the table above, and their origin; `val` and `test` are fractions, 0 cuts nothing.

    Raises:
        InputError: nothing to train on, one class only, a class without training images, or with too few to be cut.
    """
    splits, how = dict(found.splits), dict.fromkeys(found.splits, "as given")
    if "train" not in splits:
        raise InputError(
            f"{source}: no images to train on, only {' and '.join(splits)}, which can be measured on; name the source "
            "that holds train too, or call that split so"
        )
    form = form_of(splits["train"].targets)
    form.require_learnable(splits["train"].targets, found.classes, source)
    if "val" in splits and "test" not in splits:
        splits["test"], how["test"] = splits.pop("val"), "given as val; used as test images, so it chooses no epoch"
        del how["val"]
    names = names_of(splits)
    wanted: dict[Split, float] = {"test": 0.0 if "test" in splits else test, "val": 0.0 if "val" in splits else val}
    fractions = {split: fraction for split, fraction in wanted.items() if fraction > 0}
    if fractions:
        whole, its_names = splits["train"], names["train"]
        together, by = found.groups_of(whole), ", by group"
        strata, called = form.strata(whole.targets, found.classes)
        if together is None and form.moves and (equal := _with_their_equals(whole, its_names)) is not None:
            together, by = equal, ", equal pictures in one part"
            strata = _of_the_first(strata, equal, len(fractions) + 1)
        chosen = cut(strata, called, its_names, fractions, seed, source, together)
        for split, indices in chosen.items():
            splits[split] = whole.select(indices)
            names[split] = [its_names[i] for i in indices]
        told = "" if together is None else by
        how |= {split: f"{fraction:g} of {form.cut_of}, cut from train{told}" for split, fraction in fractions.items()}
        how["train"] = f"as given, less {' and '.join(sorted(fractions))}"
    facts = {
        split: SplitRecord(images=len(splits[split]), how=how[split], digest=_digest(splits[split], names[split]))
        for split in splits
    }
    return splits, DatasetRecord(
        kind=found.kind,
        source=source,
        train=facts["train"],
        val=facts.get("val"),
        test=facts.get("test"),
        val_fraction=fractions.get("val"),
        test_fraction=fractions.get("test"),
        split_seed=seed,
        ignored=found.ignored,
        notes=(*found.notes, *(() if found.kind in _FOLDERS else alike(found.classes))),
    )


def cut(
    groups: Sequence[int],
    called: Sequence[str],
    names: Sequence[str],
    fractions: Mapping[Split, float],
    seed: int,
    where: str,
    together: Sequence[str] | None = None,
) -> dict[Split, list[int]]:
    """Indices of train and of each split in `fractions`: of a group of n images round(fraction * n), at least one each.

    `groups` are the group of each image (`Form.strata`), `called` what they are called.

    Images of one name are one image that is drawn several times: all go to train, or one to another split. Images
    that are `together` (of one patient, by a table) go to one split; they count to the group that most of them have,
    and splits are as much larger than their fraction as the last of these are.

    Raises:
        InputError: a group has fewer images, or such as stay together, than there are splits; the count is told.
    """
    again: dict[str, list[int]] = {}
    for index, key in enumerate(names if together is None else together):
        again.setdefault(key, []).append(index)
    once = {
        key: list({names[index]: index for index in reversed(every)}.values())[::-1] for key, every in again.items()
    }
    order = sorted(again, key=lambda key: (derive(seed, "split", key), key))
    members: list[list[str]] = [[] for _ in called]
    for key in order:
        members[max(Counter(sorted(groups[index] for index in once[key])).items(), key=itemgetter(1))[0]].append(key)
    chosen: dict[Split, list[int]] = {"train": [], **{split: [] for split in fractions}}
    there = set(groups)
    for number, (name, of_class) in enumerate(zip(called, members, strict=True)):
        if number not in there:
            continue
        if len(of_class) <= len(fractions):
            remedy = " or ".join(f"data.{split}_fraction=0" for split in fractions)
            raise InputError(
                f"{where}: {name} has {counted(len(of_class), 'image' if together is None else 'group')}, "
                f"wanted at least {len(fractions) + 1} to cut "
                f"{' and '.join(fractions)} from; add images, or set {remedy}"
            )
        start, still = 0, len(fractions)
        for split, fraction in fractions.items():
            taken, wanted = 0, max(1, round(fraction * sum(len(once[key]) for key in of_class)))
            while taken < wanted and start < len(of_class) - still:
                chosen[split] += once[of_class[start]]
                taken, start = taken + len(once[of_class[start]]), start + 1
            still -= 1
        chosen["train"] += [index for key in of_class[start:] for index in again[key]]
    return {split: sorted(indices) for split, indices in chosen.items()}


def _with_their_equals(images: Images, names: Sequence[str]) -> list[str] | None:
    """Of each image what the first of its equals is called, so that a cut does not part them; None where all differ."""
    groups = equal_images(images, names)
    if len(groups) == len(images):
        return None
    first = {index: min(names[other] for other in group) for group in groups for index in group}
    return [first[index] for index in range(len(images))]


def _of_the_first(strata: Sequence[int], together: Sequence[str], least: int) -> list[int]:
    """Equal images count where the first of them does; groups of fewer than `least` different ones go with the most."""
    first: dict[str, int] = {}
    for key, group in zip(together, strata, strict=True):
        first.setdefault(key, group)
    sizes = Counter(first.values())
    largest = max(sizes, key=lambda group: (sizes[group], -group))
    found = (first[key] for key in together)
    return [group if sizes[group] >= least else largest for group in found]


def names_of(splits: Mapping[Split, Images]) -> dict[Split, list[str]]:
    """What a cut goes by: paths below the folder that holds all files, or what images are called where they lie."""
    folder = _common_folder(splits.values())
    return {split: _names(images, folder) for split, images in splits.items()}


def _common_folder(splits: Iterable[Images]) -> str:
    """The folder that holds all files: names below it stay when the set is moved, or listed in a table."""
    folders = {_absolute(path.parent) for split in splits for path in split.paths}
    return os.path.commonpath(folders) if folders else ""


def _names(images: Images, folder: str) -> list[str]:
    if images.paths:
        return [_absolute(path)[len(folder) :].replace(os.sep, "/").lstrip("/") for path in images.paths]
    return [images.key(i) for i in range(len(images))]


def _absolute(path: Path) -> str:
    return os.path.normpath(path.absolute())


def _digest(images: Images, names: Sequence[str]) -> str:
    state = sha256("\n".join(images.classes).encode())
    if images.pixels is not None:
        state.update(repr(tuple(images.pixels.shape)).encode())
        state.update(images.pixels.contiguous().numpy().data)
        targets = images.targets
        told = targets.numpy().tobytes() if isinstance(targets, Tensor) else repr(targets.tolist()).encode()
        state.update(told)
    else:
        state.update(images.fingerprint.encode())
        for name, label in zip(names, images.targets.tolist(), strict=True):
            state.update(f"\n{name}\t{label}".encode())
    masks: Masks | None = getattr(images.targets, "masks", None)
    for content in () if masks is None else masks.contents():
        state.update(content)
    return state.hexdigest()
