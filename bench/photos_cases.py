"""The cases of `photos.py`: which photos, which network and weights, which size, how many epochs; what all share.

The photos are named, not included: `grocery-24` (marcusklasson/GroceryStoreDataset cut down to 24 kinds, nested
folders, its own split), `signs-10` (ardamavi/Sign-Language-Digits-Dataset, folder `Dataset`), `tiny-imagenet-10` (10
classes of Tiny ImageNet, `val` is the test set). A split that a set does not have is drawn once, stratified, seed 0,
and written as a list that every contender reads. Weights: the ResNet-50 that the authors of the 2015 paper released,
and pytorch_resnet_cifar10's ResNet-44.
"""

import csv
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from photos_peers import Photos, shown
from plain_networks import network

from deepres.base.errors import InputError, unknown
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.weights.convert import to_foreign
from deepres.nn.weights.hub import find_weights
from deepres.predict.preprocessing import prepared_for

SUFFIXES = (".jpg", ".jpeg", ".png")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
AGREEMENT = 1e-4
"""Of the largest logit: how far the peers' logits may be from ours before anything is trained."""
Row = tuple[str, str, str]
"""Path, label, split."""


@dataclass(frozen=True)
class Case:
    """One comparison. `weights` names the network of the weights, None from scratch; `size` None is the weights' own.

    `minutes` are those of ours, plain, timm, fastai on two threads of a Xeon with AVX512, for `--dry-run` alone.
    """

    photos: str
    epochs: int
    weights: str | None = None
    size: int | None = None
    minutes: tuple[float, float, float, float] = (1, 1, 1, 1)


CASES: dict[str, Case] = {
    "grocery-resnet50": Case("grocery-24", 3, "resnet50_caffe", minutes=(3.5, 7.5, 3, 7)),
    "grocery-resnet50-112": Case("grocery-24", 3, "resnet50_caffe", 112, (1.2, 2, 1, 1.9)),
    "signs-resnet50-112": Case("signs-10", 3, "resnet50_caffe", 112, (0.9, 1.4, 0.7, 1.3)),
    "grocery-cifar": Case("grocery-24", 5, "resnet44_cifar", minutes=(0.6, 0.8, 0.6, 0.9)),
    "signs-cifar": Case("signs-10", 5, "resnet44_cifar", minutes=(0.4, 0.5, 0.3, 0.5)),
    "tiny-cifar": Case("tiny-imagenet-10", 5, "resnet44_cifar", minutes=(0.6, 0.8, 0.5, 0.9)),
    "signs-scratch": Case("signs-10", 60, minutes=(4.5, 10, 4.5, 11)),
    "tiny-scratch": Case("tiny-imagenet-10", 60, minutes=(4, 10, 7, 12)),
}
PLACES = {"grocery-24": "grocery-24", "signs-10": "signs-10/Dataset", "tiny-imagenet-10": "tiny-imagenet-10"}
SHARES = {"test": 0.3, "val": 0.1}
"""Of the images of a class, where a set has no such part; `val` is of the part to train on."""


def rows_of(photos: Path, name: str, given: Path | None = None) -> list[Row]:
    """Every photo of the set with its class and its part: the set's own parts, a list's, or drawn ones.

    Raises:
        InputError: no such folder; a folder without photos.
    """
    place = photos / PLACES[name]
    if given is not None:
        with given.open(newline="", encoding="utf-8") as file:
            rows = [
                (str((given.parent / row["path"]).resolve()), row["label"], row["split"])
                for row in csv.DictReader(file)
            ]
    else:
        if not place.is_dir():
            raise InputError(f"{place}: no such folder; give the one that holds {PLACES[name]} with --photos")
        found = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES)
        parts = {path: path.relative_to(place).parts[0] for path in found}
        has_parts = set(parts.values()) <= {"train", "val", "test"}
        rows = [(str(path.resolve()), path.parent.name, parts[path] if has_parts else "train") for path in found]
        if has_parts and "test" not in parts.values():
            rows = [(path, label, "test" if part == "val" else part) for path, label, part in rows]
    if not rows:
        raise InputError(f"{given or place}: no photos in it; wanted files ending in {', '.join(SUFFIXES)}")
    for part, share in SHARES.items():
        if part not in {row[2] for row in rows}:
            rows = _held_out(rows, part, share)
    return sorted(rows)


def _held_out(rows: Sequence[Row], part: str, share: float) -> list[Row]:
    """That share of the training images of each class becomes another part; seed 0."""
    drawn, taken = random.Random(f"{part} 0"), set()
    for label in sorted({row[1] for row in rows}):
        of_class = sorted(row for row in rows if row[1:] == (label, "train"))
        taken.update(drawn.sample(of_class, max(1, round(share * len(of_class)))))
    return [
        (path, label, part) if (path, label, split) in taken else (path, label, split) for path, label, split in rows
    ]


@dataclass(frozen=True)
class Task:
    """A case with all that a call of the bench says: where photos and weights lie, size and length."""

    name: str
    case: Case
    photos: Path
    weights: Path | None
    given: Path | None
    size: int | None
    epochs: int

    @property
    def is_nested(self) -> bool:
        """Whether ours is given the folder itself, whose classes are its innermost folders."""
        return self.case.photos == "grocery-24" and self.given is None

    def flags(self) -> list[str]:
        """What `deepres train SOURCE` is told of the case; all else is its default."""
        told = ["--epochs", str(self.epochs)]
        if self.is_nested:
            told += ["--set", "data.depth=leaf"]
        if self.weights is not None:
            told += ["--weights", str(self.weights)]
            if str(self.case.weights).endswith("_cifar"):
                told += ["--variant", str(self.case.weights), "--preprocessing", "imagenet"]
        if self.size is not None:
            told += ["--set", f"preparation.resize={self.size * 8 // 7}", "--set", f"preparation.crop={self.size}"]
        return told


def task(
    name: str,
    photos: Path,
    weights: Mapping[str, Path],
    lists: Mapping[str, Path],
    size: int | None = None,
    epochs: int | None = None,
) -> Task:
    """The case of that name; `size` and `epochs` in place of its own.

    Raises:
        InputError: no such case, folder or file.
    """
    if name not in CASES:
        raise unknown("case", name, CASES)
    case = CASES[name]
    if not photos.is_dir():
        raise InputError(f"--photos {photos}: no such folder")
    file = None if case.weights is None else weights.get(case.weights)
    if case.weights is not None and (file is None or not file.is_file()):
        given = "no weights" if file is None else f"no such file {file}"
        raise InputError(f"case {name}: given {given}; wanted --weights {case.weights}=FILE")
    return Task(name, case, photos, file, lists.get(case.photos), size or case.size, epochs or case.epochs)


def prepare(task: Task, folder: Path, workers: int) -> tuple[dict[str, Any], str]:
    """What all contenders have in common, written into `folder` as list, weights and facts; and the source for ours.

    Network, sizes and batch are those that `deepres train` takes (by its --dry-run).

    Raises:
        InputError: `deepres train` refuses; the network is not written for the peers; logits of the converted weights
            are further from ours than 1e-4 of the largest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, listed = rows_of(task.photos, task.case.photos, task.given), folder / f"{task.case.photos}.csv"
    with listed.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "label", "split"), *rows])
    source = str(task.photos / PLACES[task.case.photos]) if task.is_nested else str(listed)
    run = _planned(source, task.flags())
    preparation, name = run["preparation"], run["model"]["name"]
    tested = [row for row in rows if row[2] == "test"]
    facts: dict[str, Any] = {
        "list": str(listed.resolve()),
        "classes": sorted({row[1] for row in rows}),
        "images": dict(Counter(row[2] for row in rows)),
        "tested": None if task.given is None else " ".join(f"{label}/{Path(path).name}" for path, label, _ in tested),
        "network": name,
        "size": preparation["crop"],
        "resize": preparation["resize"],
        "mean": IMAGENET[0],
        "std": IMAGENET[1],
        "epochs": task.epochs,
        "batch_size": run["train"]["batch_size"],
        "workers": workers,
        "weights": None,
    }
    if task.weights is not None:
        facts |= _converted(task, folder / f"{name}.pt")
    try:
        network(name, 2)
    except ValueError as cause:
        raise InputError(f"case {task.name}: {cause}") from cause
    if task.weights is not None:
        _require_same(task, facts, [row[0] for row in rows if row[2] == "val"][:4])
    (folder / f"{task.name}.json").write_text(json.dumps(facts, indent=1) + "\n")
    return facts, source


def _planned(source: str, told: Sequence[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "deepres", "train", source, *told, "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"deepres train {source}: {(done.stderr.strip() or done.stdout).splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _converted(task: Task, path: Path) -> dict[str, Any]:
    """The weights under the names of the peers' network, in a file; mean and std that they want."""
    name = str(task.case.weights)
    stored, ours = find_weights(str(task.weights), name), _ours(task)
    mean, std = (None, None) if stored.preprocessing else IMAGENET
    statistics = prepared_for(stored, ours.description, mean, std).statistics
    tensors = ours.state_dict()
    classes = len(tensors["head.fc.weight"])
    plain = network(name, classes)
    if isinstance(plain, torch.nn.Sequential):
        named = dict(zip(plain.state_dict(), tensors.values(), strict=True))
    else:
        named = to_foreign(tensors, ours.description, "torchvision")
    plain.load_state_dict(named)
    torch.save(named, path)
    return {
        "weights": str(path.resolve()),
        "weights_classes": classes,
        "mean": statistics.mean.tolist(),
        "std": statistics.std.tolist(),
    }


def _ours(task: Task) -> ResidualNetwork:
    name = str(task.case.weights)
    return create_model(name, weights=task.weights, variant=name if name.endswith("_cifar") else None)


def _require_same(task: Task, facts: dict[str, Any], photos: Sequence[str]) -> None:
    """The peers' network with the converted weights is the same function as ours with the file."""
    name, samples = str(task.case.weights), [(path, 0) for path in photos]
    plain = network(name, facts["weights_classes"])
    plain.load_state_dict(torch.load(facts["weights"], weights_only=True))
    ours, pixels = _ours(task).eval(), Photos(samples, shown(facts))
    with torch.inference_mode():
        batch = torch.stack([pixels[number][0] for number in range(len(samples))])
        given, wanted = plain.eval()(batch), ours(batch)
    apart = float((given - wanted).abs().max() / wanted.abs().max())
    if not apart <= AGREEMENT:
        raise InputError(f"case {task.name}: logits of the peers' {name} are {apart:.2g} of the largest from ours")
