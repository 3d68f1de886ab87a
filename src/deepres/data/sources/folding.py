"""K folds of the images that are no test images: of each class as many in every fold, equal pictures in one of them.

Test images are those given as test, or as val where that is all there is beside train; val beside test is folded
with train. Equal are images of one name, files of equal bytes, arrays of equal pixels; those of one group of a table
count as equal. Groups of equal images, the largest first, then class by class in the order of
`derive(split_seed, "fold", name)`, go each to the fold that holds the fewest of their class, of such to the smallest
fold, of such to the first. It depends on names and contents, never on the order of files. Rule: ours.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from deepres.base.errors import InputError
from deepres.base.seeds import derive
from deepres.base.wording import counted
from deepres.data.boxes import BoxTargets
from deepres.data.images import ArrayImages, FileImages, Images
from deepres.data.sources.equals import equal_images
from deepres.data.sources.splits import RawDataset, Split, names_of
from deepres.data.stored_images import StoredImages
from deepres.data.targets import Targets, form_of, tensor_of


@dataclass(frozen=True)
class Folded:
    """The images that are folded, `fold` (from 1) of each, and what stays apart; `repeated` have their equal in it."""

    whole: Images
    fold: tuple[int, ...]
    apart: dict[Split, Images]
    repeated: int = 0
    groups: int = 0  # that stay together, where the source tells them

    def members(self, fold: int) -> list[int]:
        """Which of the images a fold holds, in their order."""
        return [index for index, own in enumerate(self.fold) if own == fold]


def folded(found: RawDataset, folds: int, seed: int, source: str) -> Folded:
    """The images of `found` in so many folds.

    Raises:
        InputError: a class has fewer different images than there are folds, or there is nothing to train on.
    """
    if "train" not in found.splits:
        raise InputError(f"{source}: folds are of images to train on; it holds only {' and '.join(found.splits)}")
    whole, apart = found.splits["train"], dict(found.splits)
    del apart["train"]
    if "test" in apart and "val" in apart and (both := _joined(whole, apart["val"])) is not None:
        whole = both
        del apart["val"]
    names = names_of({"train": whole})["train"]
    labels, called = form_of(whole.targets).strata(whole.targets, whole.classes)
    named = found.groups_of(whole)
    groups = equal_images(whole, names, named)
    held = [{labels[index] for index in group} for group in groups]
    for number, name in enumerate(called):
        different = sum(number in classes for classes in held)
        if different < folds and number in labels:
            fewer = f"take {different} folds, or " if different > 1 else ""
            what = "different image" if named is None else "group"
            raise InputError(
                f"{source}: {name} has {counted(different, what)}, wanted one at least for each "
                f"of {folds} folds; {fewer}add images"
            )
    fold = assigned(groups, labels, names, folds, seed)
    repeated = sum(len(group) - 1 for group in groups)
    return Folded(whole, tuple(fold), apart, repeated if named is None else 0, 0 if named is None else len(groups))


def fold_of(found: RawDataset, folds: int, fold: int, seed: int, source: str) -> RawDataset:
    """`found` as one fold's run sees it: the fold is its test split, the others are to train on."""
    every = folded(found, folds, seed, source)
    own = set(every.members(fold))
    rest = [index for index in range(len(every.whole)) if index not in own]
    chosen: dict[Split, Images] = {"train": every.whole.select(rest), "test": every.whole.select(sorted(own))}
    kept = "val" in every.apart and "test" in every.apart  # it could not be folded: it chooses the epoch of each
    if kept:
        chosen["val"] = every.apart["val"]
    note = f"fold {fold} of {folds} is the test split"
    if every.repeated:
        note += f" ({counted(every.repeated, 'image equals', 'images equal')} another: in its fold)"
    if every.groups:
        note += f" (folded by group: {counted(every.groups, 'group')})"
    out = {split: images for split, images in every.apart.items() if not (kept and split == "val")}
    note += "".join(f"; {len(images):,} given as {split} stay apart" for split, images in out.items())
    return replace(found, splits=chosen, notes=(*found.notes, note))


def assigned(
    groups: Sequence[Sequence[int]], labels: Sequence[int], names: Sequence[str], folds: int, seed: int
) -> list[int]:
    """The fold of each image, from 1, by the rule above."""
    called = [min(names[index] for index in group) for group in groups]
    kind = [min(labels[index] for index in group) for group in groups]

    def first(g: int) -> tuple[int, int, int, str]:
        return -len(groups[g]), kind[g], derive(seed, "fold", called[g]), called[g]

    order = sorted(range(len(groups)), key=first)
    sizes, of_class = [0] * folds, [defaultdict[int, int](int) for _ in range(folds)]
    fold = [0] * len(labels)
    for number in order:
        own = [labels[index] for index in groups[number]]
        best = min(range(folds), key=lambda f: (sum(of_class[f][label] for label in own), sizes[f], f))
        for index, label in zip(groups[number], own, strict=True):
            fold[index] = best + 1
            of_class[best][label] += 1
        sizes[best] += len(own)
    return fold


def _joined(one: Images, other: Images) -> Images | None:
    """Both as one set; None where they lie in different stores, or are arrays of different sizes."""
    labels: Targets
    if isinstance(one.targets, BoxTargets) and isinstance(other.targets, BoxTargets):
        labels = one.targets.joined(other.targets)
    else:
        labels = torch.cat([tensor_of(one.targets), tensor_of(other.targets)])
    if isinstance(one, FileImages) and isinstance(other, FileImages):
        return replace(one, paths=(*one.paths, *other.paths), targets=labels)
    if isinstance(one, StoredImages) and isinstance(other, StoredImages) and one.store is other.store:
        return replace(one, numbers=torch.cat([one.numbers, other.numbers]), targets=labels)
    if (
        isinstance(one, ArrayImages)
        and isinstance(other, ArrayImages)
        and one.pixels.shape[1:] == other.pixels.shape[1:]
    ):
        return ArrayImages(torch.cat([one.pixels, other.pixels]), labels, one.classes, f"{one.address}+val")
    return None
