"""What stands beside an image: one class, several, or numbers; how each is cut into splits, said, written, matched.

A form is a fact of data, as a kind of file is; what a network learns of it is a task (`tasks/`), and two tasks may
share a form. N images, C classes, K columns.

| form    | targets                   | names     | in a table                                                  |
| ------- | ------------------------- | --------- | ----------------------------------------------------------- |
| class   | int64 (N,)                | C classes | a name, a whole number, or columns of one 1 a row           |
| classes | float32 (N, C) of 0 and 1 | C classes | names between `;` (empty: none), or columns of 0 and 1      |
| numbers | float64 (N, K)            | K columns | a column each                                               |
| boxes   | BoxTargets (boxes.py)     | C classes | a row a box                                                 |
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.data.box_form import ObjectBoxes
from deepres.data.forms import FormName

if TYPE_CHECKING:
    from deepres.data.transforms.geometry import Geometry

MOST = 1e30
"""Of numbers to be learnt, which are answered in 32 bits."""

BETWEEN = ";"
"""What separates names in one cell."""


class Targets(Protocol):
    """The targets of some images, in their order: a batch asks no more of them. A tensor is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: Any, /) -> Self:
        """Those at these places (int64, or a slice)."""

    def to(self, device: Any, /) -> Self:
        """The same on that device."""

    def tolist(self) -> list[Any]:
        """As numbers in lists, one an image."""


class Located(Targets, Protocol):
    """Targets that lie in the picture, and move with its pixels; no tensor, so they say of which `form` they are."""

    @property
    def form(self) -> FormName: ...

    def placed(self, geometry: "Geometry", seeds: Tensor) -> Self:
        """The same where the pixels went, knowing the map and the true sizes of the pictures.

        `seeds` int64 (N,), one an image, are for what a loss draws of it.
        """


def tensor_of(targets: Targets) -> Tensor:
    """The targets of a task whose form is a tensor."""
    assert isinstance(targets, Tensor)
    return targets


class Form(Protocol):
    """How targets of one form are dealt with, whoever learns them."""

    name: FormName
    cut_of: str  # what a cut takes a share of
    called: str  # what a name is one of
    may_point: bool  # a target may say where in the picture something is
    moves: bool  # it says so, and moves with the pixels (`Located`)

    def strata(self, targets: Any, names: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
        """The group of each image, and what groups are called: a cut takes its share of each."""

    def require_learnable(self, targets: Any, names: Sequence[str], source: str) -> None:
        """Refuse training images that leave nothing to learn (InputError)."""

    def words(self, target: Any, names: Sequence[str]) -> str:
        """One image's target as a person reads it."""

    def on(self, target: Any, names: Sequence[str]) -> list[str]:
        """The names that one image counts for: its classes; of numbers every column."""

    def counts(self, targets: Any, names: Sequence[str]) -> list[int]:
        """How many images each name has."""

    def cells(self, target: Any, names: Sequence[str]) -> list[str]:
        """The same as cells of a table below `header`, exactly."""

    def header(self, names: Sequence[str]) -> list[str]:
        """The columns of a table that hold it."""

    def matched(self, targets: Any, given: Sequence[str], wanted: Sequence[str]) -> Any:
        """The targets under `wanted`, the same names in another order; ValueError names those that are missing."""


class OneClass:
    """Each image is of one class."""

    name: FormName = "class"
    cut_of = "each class"
    called = "class"
    may_point = False
    moves = False

    def strata(self, targets: Tensor, names: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
        return targets.tolist(), tuple(f"class '{name}'" for name in names)

    def require_learnable(self, targets: Tensor, names: Sequence[str], source: str) -> None:
        if len(names) < 2:
            raise InputError(f"{source}: one class only ('{names[0]}'), wanted at least two to tell apart")
        counts = self.counts(targets, names)
        _require_each(
            names, counts, f"{source}: class '{{}}'{{}} has no image to train on; add some or remove the class"
        )

    def words(self, target: Tensor, names: Sequence[str]) -> str:
        return names[int(target)]

    def on(self, target: Tensor, names: Sequence[str]) -> list[str]:
        return [names[int(target)]]

    def counts(self, targets: Tensor, names: Sequence[str]) -> list[int]:
        found: list[int] = torch.bincount(targets, minlength=len(names)).tolist()
        return found

    def cells(self, target: Tensor, names: Sequence[str]) -> list[str]:
        return [names[int(target)]]

    def header(self, names: Sequence[str]) -> list[str]:
        return ["label"]

    def matched(self, targets: Tensor, given: Sequence[str], wanted: Sequence[str]) -> Tensor:
        _require_known(given, wanted)
        return torch.tensor([wanted.index(name) for name in given])[targets]


class SeveralClasses:
    """Each image is of several classes, of one, or of none."""

    name: FormName = "classes"
    cut_of = "each class"
    called = "class"
    may_point = False
    moves = False

    def strata(self, targets: Tensor, names: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
        """By its rarest class, so that a cut gets its share of each; groups of fewer than 4 go with the largest."""
        counts = targets.sum(0)
        rarity = torch.where(targets > 0, counts.expand_as(targets), torch.inf)
        group = torch.where(targets.any(1), rarity.argmin(1), torch.tensor(len(names)))
        sizes = torch.bincount(group, minlength=len(names) + 1)
        group = torch.where(sizes[group] < 4, sizes.argmax(), group)
        return group.tolist(), (*(f"images of '{name}'" for name in names), "images of no class")

    def require_learnable(self, targets: Tensor, names: Sequence[str], source: str) -> None:
        there = self.counts(targets, names)
        _require_each(
            names, there, f"{source}: class '{{}}'{{}} is on no image to train on; add some or remove the class"
        )

    def words(self, target: Tensor, names: Sequence[str]) -> str:
        return f"{BETWEEN} ".join(self.on(target, names)) or "none"

    def on(self, target: Tensor, names: Sequence[str]) -> list[str]:
        return [name for name, there in zip(names, target.tolist(), strict=True) if there]

    def counts(self, targets: Tensor, names: Sequence[str]) -> list[int]:
        return [int(count) for count in targets.sum(0).tolist()]

    def cells(self, target: Tensor, names: Sequence[str]) -> list[str]:
        return [str(int(on)) for on in target.tolist()]

    def header(self, names: Sequence[str]) -> list[str]:
        return list(names)

    def matched(self, targets: Tensor, given: Sequence[str], wanted: Sequence[str]) -> Tensor:
        """Classes that these images do not know are on none of them."""
        _require_known(given, wanted)
        found = targets.new_zeros(len(targets), len(wanted))
        found[:, [wanted.index(name) for name in given]] = targets
        return found


class Numbers:
    """Each image has a number, or several, each in a column of its own."""

    name: FormName = "numbers"
    cut_of = "the images"
    called = "column"
    may_point = True
    moves = False

    def strata(self, targets: Tensor, names: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
        return [0] * len(targets), ("the source",)

    def require_learnable(self, targets: Tensor, names: Sequence[str], source: str) -> None:
        for name, column in zip(names, targets.T, strict=True):
            if len(column) and (most := column.abs().max().item()) > MOST:
                raise InputError(
                    f"{source}: column '{name}' has numbers up to {most:.3g}, wanted at most {MOST:g}, which networks "
                    "can answer; divide the column"
                )
            if len(column) and bool((column == column[0]).all()):
                raise InputError(
                    f"{source}: column '{name}' is {column[0].item():g} for every image to train on, which leaves "
                    "nothing to learn; leave it out, or add images of other numbers"
                )

    def words(self, target: Tensor, names: Sequence[str]) -> str:
        return ", ".join(f"{name} {value:.6g}" for name, value in zip(names, target.tolist(), strict=True))

    def on(self, target: Tensor, names: Sequence[str]) -> list[str]:
        return list(names)

    def counts(self, targets: Tensor, names: Sequence[str]) -> list[int]:
        return [len(targets)] * len(names)

    def cells(self, target: Tensor, names: Sequence[str]) -> list[str]:
        return [repr(value) for value in target.tolist()]

    def header(self, names: Sequence[str]) -> list[str]:
        return list(names)

    def matched(self, targets: Tensor, given: Sequence[str], wanted: Sequence[str]) -> Tensor:
        _require_known(wanted, given)
        return targets[:, [list(given).index(name) for name in wanted]]


FORMS: dict[FormName, Form] = {
    "class": OneClass(),
    "classes": SeveralClasses(),
    "numbers": Numbers(),
    "boxes": ObjectBoxes(),
}


DTYPES: dict[torch.dtype, FormName] = {torch.int64: "class", torch.float32: "classes", torch.float64: "numbers"}
"""Each form has its own."""


def form_of(targets: Targets) -> Form:
    """The form, of tensors by their dtype."""
    return FORMS[DTYPES[targets.dtype] if isinstance(targets, Tensor) else cast("Located", targets).form]


def _require_each(names: Sequence[str], counts: Sequence[float], message: str) -> None:
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        raise InputError(message.format(empty[0], f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""))


def _require_known(given: Sequence[str], wanted: Sequence[str]) -> None:
    strangers = [name for name in given if name not in wanted]
    if strangers:
        raise ValueError(", ".join(strangers[:5]))
