"""The form of targets that are boxes: how they are cut into splits, said, counted and matched by name."""

from collections import Counter
from collections.abc import Sequence

import torch

from deepres.base.errors import InputError
from deepres.base.wording import counted
from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.forms import FormName

_NONE = "no object"


class ObjectBoxes:
    """Each image has boxes of objects, of one, or of none; a class without any is learnt by nobody and harms nobody."""

    name: FormName = "boxes"
    cut_of = "the images, by the rarest class on each"
    called = "class"
    may_point = True
    moves = True

    def strata(self, targets: BoxTargets, names: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
        """By the class on the fewest images among those on an image; groups of fewer than 4 go with the largest."""
        every = self._on(targets)
        on = Counter(label for labels in every for label in labels)
        groups = [min(labels, key=lambda label: (on[label], label), default=len(names)) for labels in every]
        sizes = Counter(groups)
        largest = max(sizes, key=lambda group: (sizes[group], -group), default=0)
        groups = [group if sizes[group] >= 4 else largest for group in groups]
        return groups, (*(f"images of '{name}'" for name in names), "images without objects")

    def require_learnable(self, targets: BoxTargets, names: Sequence[str], source: str) -> None:
        """One class is enough, and images without objects may be among them."""
        if not bool((~targets.ignored).any()):
            raise InputError(
                f"{source}: no object in any of {counted(len(targets), 'image')} to train on; nothing to learn from"
            )

    def words(self, target: Boxes, names: Sequence[str]) -> str:
        """`car (3), dog`, the most first."""
        counts = Counter(target.classes.tolist()).most_common()
        return ", ".join(f"{names[label]} ({count})" if count > 1 else names[label] for label, count in counts) or _NONE

    def on(self, target: Boxes, names: Sequence[str]) -> list[str]:
        return [names[label] for label in sorted(set(target.classes.tolist()))]

    def counts(self, targets: BoxTargets, names: Sequence[str]) -> list[int]:
        on = Counter(label for labels in self._on(targets) for label in labels)
        return [on[label] for label in range(len(names))]

    def cells(self, target: Boxes, names: Sequence[str]) -> list[str]:
        raise AssertionError("a row of a table is a box: sources/boxes_csv.py")

    def header(self, names: Sequence[str]) -> list[str]:
        raise AssertionError("a row of a table is a box: sources/boxes_csv.py")

    def matched(self, targets: BoxTargets, given: Sequence[str], wanted: Sequence[str]) -> BoxTargets:
        """Classes that no box is of may be unknown there."""
        used = {given[label] for label in set(targets.classes.tolist())}
        strangers = [name for name in given if name in used and name not in wanted]
        if strangers:
            raise ValueError(", ".join(strangers[:5]))
        numbers = [list(wanted).index(name) if name in wanted else -1 for name in given]
        return targets.renumbered(torch.tensor(numbers, dtype=torch.int64))

    def _on(self, targets: BoxTargets) -> list[set[int]]:
        """The classes on each image."""
        every: list[set[int]] = [set() for _ in range(len(targets))]
        for place, label in zip(targets.pictures.tolist(), targets.classes.tolist(), strict=True):
            every[place].add(label)
        return every
