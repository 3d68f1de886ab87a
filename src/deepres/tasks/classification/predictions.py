"""What networks answered to the same images, read from run folders and files of predictions; their majority vote."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepres.base import records
from deepres.base.errors import InputError
from deepres.base.files import resolved
from deepres.base.manifest import require_own
from deepres.base.npz import Npz, opened
from deepres.base.reading import parse_json
from deepres.tasks.bootstrap import Bools
from deepres.tasks.classification.ensemble import vote
from deepres.tasks.classification.result import ClassificationResult
from deepres.tasks.plans import RunPlan, plan_of

_WANTED = "wanted a .npz with name, truth and predicted, as deepres eval --predictions writes it"
Array = np.ndarray[Any, np.dtype[Any]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, eq=False)
class SavedPredictions:
    """What one network answered: `right` by image, in the order of `images`, under a protocol on a set of images.

    `truth` and `predicted`, where they are known, are the names' places among the classes: a vote needs them.
    `precision`, `weights` (their digest) and `plan` are known of what this version measured; `notes` are the result's.
    `numbered` are the images of a run's own part by their places in it, whatever path leads there.
    """

    name: str
    model: str
    images: tuple[str, ...]
    right: Bools
    protocol: str
    source: str
    truth: Integers | None = None
    predicted: Integers | None = None
    precision: str = ""
    weights: str | None = None
    plan: RunPlan | None = None
    notes: tuple[str, ...] = ()
    numbered: tuple[str, ...] | None = None

    def same_images(self, other: "SavedPredictions") -> bool:
        """Whether both answered the same: by the names of the images, or as the same part of the same set."""
        return self.images == other.images or (self.numbered is not None and self.numbered == other.numbered)

    @property
    def error(self) -> float:
        """The share of images that are wrong."""
        return 1 - float(self.right.mean())

    @property
    def num_wrong(self) -> int:
        """How many images are wrong."""
        return int((~self.right).sum())


def load_answers(path: Path) -> SavedPredictions:
    """What stands in a run's folder (`predictions.npz` and the result beside it), or in a `.npz` of predictions.

    A file needs `name`, `truth` and `predicted`, one for each image; `deepres eval --predictions` writes it.

    Raises:
        InputError: a run that was never measured, a file of other columns, or files that do not belong together.
    """
    return _of_file(path) if path.suffix == ".npz" else _of_run(path)


def voted(answers: Sequence[SavedPredictions]) -> SavedPredictions:
    """The class that most of them name, of equal ones that of the better network (`ensemble.vote`).

    Raises:
        InputError: the predicted classes of one are not known, or other images, or other numbers for the classes.
    """
    members = sorted(answers, key=lambda one: one.error)
    first = members[0]
    for one in members:
        if one.predicted is None or one.truth is None or first.truth is None:
            raise InputError(f"{one.name}: its predicted classes are not known; measure it again")
        if not one.same_images(first) or not np.array_equal(one.truth, first.truth):
            raise InputError(
                f"{one.name} and {first.name}: other images, or other numbers for the classes; measure both on the same"
            )
    assert first.truth is not None
    predicted = [one.predicted.astype(np.int64) for one in members if one.predicted is not None]
    classes, places = np.unique(np.stack(predicted), return_inverse=True)  # numbers may be anything
    chosen = classes[vote(torch.from_numpy(places.reshape(len(members), -1)), len(classes)).numpy()]
    protocol = ", ".join(dict.fromkeys(one.protocol for one in members))
    name = f"vote of {len(members)}"
    return SavedPredictions(
        name, "majority vote", first.images, chosen == first.truth, protocol, first.source, first.truth, chosen
    )


def _of_file(path: Path) -> SavedPredictions:
    with opened(path, path, "a file of predictions", _WANTED) as columns:
        about = parse_json(str(columns["about"]), f"{path}: about") if "about" in columns.names else {}
        name, truth, predicted, index, rank = _columns(path, columns)
        order = np.argsort(index)
        right = (truth == predicted if rank is None else rank == 0)[order]
        return _answers(path, about, name, truth, predicted, order, right)


def _answers(
    path: Path,
    about: dict[str, Any],
    name: Array,
    truth: Array,
    predicted: Array,
    order: Integers,
    right: Bools,
) -> SavedPredictions:
    where = f"{about.get('source') or '?'}, {about.get('split', '?')}"
    model, protocol = str(about.get("model") or "?"), str(about.get("protocol", "center"))
    known = (truth[order].astype(np.int64), predicted[order].astype(np.int64))
    return SavedPredictions(
        path.stem,
        model,
        tuple(name[order].tolist()),
        right,
        protocol,
        where,
        *known,
        precision=str(about.get("precision") or ""),
        weights=about.get("weights_sha256"),
        plan=None if about.get("plan") is None else records.build(RunPlan, about["plan"], f"{path}: plan"),
        notes=tuple(about.get("notes") or ()),
    )


def _columns(path: Path, columns: Npz) -> tuple[Array, Array, Array, Array, Array | None]:
    """Names, truth, predicted classes, places and ranks, one of each an image; ranks where the file has them."""
    name, truth, predicted = (columns[column] for column in ("name", "truth", "predicted"))
    known: dict[str, Array] = {what: columns[what] for what in ("index", "rank") if what in columns.names}
    every: dict[str, Array] = {"truth": truth, "predicted": predicted, **known}
    if name.ndim != 1 or name.dtype.kind not in "US":
        raise ValueError(f"'name' is {name.dtype} {name.shape}, wanted texts, one an image")
    if not all(len(name) == column.size > 0 for column in every.values()):
        counts = ", ".join(f"{column.size} of {what}" for what, column in every.items())
        raise InputError(f"{path}: {len(name)} names, {counts}; wanted as many of each")
    for what, column in every.items():
        if column.ndim != 1 or column.dtype.kind not in "iu":
            raise ValueError(f"'{what}' is {column.dtype} {column.shape}, wanted whole numbers, one an image")
    return name, truth, predicted, known.get("index", np.arange(len(name))), known.get("rank")


def _of_run(folder: Path) -> SavedPredictions:
    for name in ("test.json", "val.json"):
        require_own(folder, name, "predictions.npz")
    found = next((folder / f"{split}.json" for split in ("test", "val") if (folder / f"{split}.json").is_file()), None)
    path = folder / "predictions.npz"
    if found is None or not path.is_file():
        raise InputError(f"{folder}: no test.json with predictions.npz in it; is this a run folder that has ended?")
    result = ClassificationResult.load(found)
    with opened(path, path, "a file of predictions", "evaluate the run again") as columns:
        names, truth, predicted, numbers, rank = _columns(path, columns)
        if rank is None:
            raise KeyError("rank")
        order = np.argsort(numbers)
        names, rank, numbers = names[order], rank[order], numbers[order]
        known = (truth[order], predicted[order])
    if len(names) != result.num_images:
        raise InputError(
            f"{path}: {len(names)} answers, {found.name} counts {result.num_images}; evaluate the run again"
        )
    facts = result.provenance
    where = f"{facts.get('source', '?')}, {result.split}"
    model, images = str(facts.get("model", "?")), tuple(names.tolist())
    weights, plan = facts.get("weights_sha256"), plan_of(folder)
    digest = None if plan is None else plan.facts.get(f"images.{result.split}")
    return SavedPredictions(
        resolved(folder).name,
        model,
        images,
        rank == 0,
        result.protocol,
        where,
        *known,
        precision=result.precision or str(facts.get("precision", "")).partition(",")[0],
        weights=weights if isinstance(weights, str) else None,
        plan=plan,
        notes=result.notes,
        numbered=None if digest is None else tuple(f"{digest} {number}" for number in numbers.tolist()),
    )
