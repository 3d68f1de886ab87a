"""What networks answered to the same images, read from run folders and files of predictions; their majority vote."""

import json
import os
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepres.base import records
from deepres.base.errors import InputError
from deepres.base.manifest import require_own
from deepres.evaluate.ensemble import vote
from deepres.evaluate.plans import Plan, plan_of
from deepres.evaluate.run import Result

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, eq=False)
class Answers:
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
    plan: Plan | None = None
    notes: tuple[str, ...] = ()
    numbered: tuple[str, ...] | None = None

    def same_images(self, other: "Answers") -> bool:
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


def load_answers(path: Path) -> Answers:
    """What stands in a run's folder (`predictions.npz` and the result beside it), or in a `.npz` of predictions.

    A file needs `name`, `truth` and `predicted`, one for each image; `deepres eval --predictions` writes it.

    Raises:
        InputError: a run that was never measured, a file of other columns, or files that do not belong together.
    """
    return _of_file(path) if path.suffix == ".npz" else _of_run(path)


def named_apart(answers: Sequence[Answers], paths: Sequence[str]) -> list[Answers]:
    """The same under names of their own: folders of one name (`a/run`, `b/run`) get their paths as names.

    Raises:
        InputError: one of them is named twice.
    """
    count_of = Counter(os.path.realpath(path) for path in paths)
    twice = [path for path in paths if count_of[os.path.realpath(path)] > 1]
    if twice:
        also = f", also as {twice[1]}" if twice[1] != twice[0] else ""
        raise InputError(f"compare {twice[0]}: named twice{also}; name each run once")
    count = Counter(one.name for one in answers)
    return [replace(one, name=path) if count[one.name] > 1 else one for one, path in zip(answers, paths, strict=True)]


def voted(answers: Sequence[Answers]) -> Answers:
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
    said = torch.stack([torch.from_numpy(one.predicted) for one in members])
    assert first.truth is not None
    chosen = vote(said, 1 + max(int(said.max()), int(first.truth.max()))).numpy()
    protocol = ", ".join(dict.fromkeys(one.protocol for one in members))
    name = f"vote of {len(members)}"
    return Answers(
        name, "majority vote", first.images, chosen == first.truth, protocol, first.source, first.truth, chosen
    )


def _of_file(path: Path) -> Answers:
    try:
        with np.load(path, allow_pickle=False) as columns:
            about = json.loads(str(columns["about"])) if "about" in columns.files else {}
            name, truth, predicted = (columns[column] for column in ("name", "truth", "predicted"))
            order = np.argsort(columns["index"]) if "index" in columns.files else np.arange(len(name))
            right = (columns["rank"] == 0 if "rank" in columns.files else truth == predicted)[order]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as cause:
        raise InputError(
            f"{path}: no file of predictions ({cause}); wanted a .npz with name, truth and predicted, as "
            "deepres eval --predictions writes it"
        ) from cause
    if not len(name) == len(truth) == len(predicted) == len(right) > 0:
        raise InputError(
            f"{path}: {len(name)} names, {len(truth)} of truth, {len(predicted)} of predicted; wanted as many of each"
        )
    where = f"{about.get('source') or '?'}, {about.get('split', '?')}"
    model, protocol = str(about.get("model") or "?"), str(about.get("protocol", "center"))
    known = (truth[order].astype(np.int64), predicted[order].astype(np.int64))
    return Answers(
        path.stem,
        model,
        tuple(name[order].tolist()),
        right,
        protocol,
        where,
        *known,
        precision=str(about.get("precision") or ""),
        weights=about.get("weights_sha256"),
        plan=None if about.get("plan") is None else records.build(Plan, about["plan"], f"{path}: plan"),
        notes=tuple(about.get("notes") or ()),
    )


def _of_run(folder: Path) -> Answers:
    for name in ("test.json", "val.json"):
        require_own(folder, name, "predictions.npz")
    found = next((folder / f"{split}.json" for split in ("test", "val") if (folder / f"{split}.json").is_file()), None)
    path = folder / "predictions.npz"
    if found is None or not path.is_file():
        raise InputError(f"{folder}: no test.json with predictions.npz in it; is this a run folder that has ended?")
    result = Result.load(found)
    with np.load(path, allow_pickle=False) as columns:
        order = np.argsort(columns["index"])
        names, rank, numbers = columns["name"][order], columns["rank"][order], columns["index"][order]
        known = (columns["truth"][order], columns["predicted"][order])
    if len(names) != result.num_images:
        raise InputError(
            f"{path}: {len(names)} answers, {found.name} counts {result.num_images}; evaluate the run again"
        )
    facts = result.provenance
    where = f"{facts.get('source', '?')}, {result.split}"
    model, images = str(facts.get("model", "?")), tuple(names.tolist())
    weights, plan = facts.get("weights_sha256"), plan_of(folder)
    part = None if plan is None else plan.facts.get(f"images.{result.split}")
    return Answers(
        folder.resolve().name,
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
        numbered=None if part is None else tuple(f"{part} {number}" for number in numbers.tolist()),
    )
