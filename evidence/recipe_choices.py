"""What the recipes for one's own photos are chosen by: each variant of a recipe on images cut from training parts.

`python evidence/recipe_choices.py run FOLDER PHOTOS RESNET50 RESNET44 [CASE…]` trains every variant once a seed, each
as one `deepres train` into FOLDER; what is done is not done again. `… collect FOLDER` writes `recipe_choices.json`.
PHOTOS holds grocery-24, signs-10 and tiny-imagenet-10; RESNET50 is the authors' network, RESNET44 that of
pytorch_resnet_cifar10. The sets' own test images are left out, and two fifths of signs-10 (`signs-10-test.csv`, which
`bench/photos.py --lists` can be given).
"""

import csv
import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from deepres.nn.environment import hardware, versions

NOISE: tuple[str, ...] = ("train.fit_head=false", "train.head_pace=1")
BEFORE: tuple[str, ...] = (*NOISE, "train.schedule.lr=0.02", "train.schedule.warmup_fraction=0.05")
BEFORE += ("train.label_smoothing=0.1", "train.head_only_fraction=0.2", "train.layer_decay=0.7")


@dataclass(frozen=True)
class Case:
    """A recipe on some sets: the arguments that all its variants share, each variant's edits, and the seeds."""

    told: str
    sets: tuple[str, ...]
    arguments: tuple[str, ...]
    variants: dict[str, tuple[str, ...]]
    seeds: tuple[int, ...]


CASES = {
    "finetune-resnet50": Case(
        "recipe finetune from the authors' ResNet-50 at 96 px, 3 epochs",
        ("grocery-24", "signs-10"),
        ("--weights", "RESNET50", "--epochs", "3", "--set", "preparation.crop=96", "--set", "preparation.resize=104"),
        {
            "the recipe": (),
            "the recipe before": BEFORE,
            "head of noise, rate 0.005": NOISE,
            "head of noise, rate 0.01": (*NOISE, "train.schedule.lr=0.01"),
            "rate 0.002": ("train.schedule.lr=0.002",),
            "rate 0.01": ("train.schedule.lr=0.01",),
            "layers at 0.7 of the next": ("train.layer_decay=0.7",),
            "a warm-up of a fifth": ("train.schedule.warmup_fraction=0.2",),
        },
        (0, 1),
    ),
    "finetune-resnet44": Case(
        "recipe finetune from a ResNet-44 of CIFAR-10 at 32 px, 5 epochs",
        ("signs-10", "tiny-imagenet-10"),
        ("--weights", "RESNET44", "--variant", "resnet44_cifar", "--preprocessing", "imagenet", "--epochs", "5"),
        {
            "the recipe": (),
            "the recipe before": BEFORE,
            "rate 0.005": ("train.schedule.lr=0.005",),
            "rate 0.05": ("train.schedule.lr=0.05",),
        },
        (0, 1, 2),
    ),
    "photos": Case(
        "recipe photos from scratch, resnet20_cifar at 32 px, its length",
        ("signs-10",),
        (
            "--recipe",
            "photos",
            "--model",
            "resnet20_cifar",
            "--set",
            "preparation.resize=32",
            "--set",
            "preparation.crop=32",
        ),
        {
            "the recipe": (),
            "the recipe before": (
                "train.batch_size=64",
                "train.epochs=60",
                "train.schedule.warmup_fraction=0.05",
                "augmentation.area=0.25,1",
            ),
        },
        (0, 1, 2),
    ),
}


def lists(photos: Path, folder: Path) -> None:
    """A list for each set, drawn by seed 0, stratified: what to train on, and what stands for the test."""
    draw = random.Random(0)
    parts = {"grocery-24": ("train", "val"), "signs-10": ("Dataset",), "tiny-imagenet-10": ("train",)}
    trained = {"grocery-24": 0.55, "signs-10": 0.7, "tiny-imagenet-10": 0.75}
    apart = []
    for name, own in parts.items():
        classes: dict[str, list[Path]] = {}
        for path in sorted(path for part in own for path in (photos / name / part).rglob("*") if path.is_file()):
            classes.setdefault(path.parent.name, []).append(path)
        rows = []
        for label, paths in sorted(classes.items()):
            draw.shuffle(paths)
            kept = round(0.4 * len(paths)) if name == "signs-10" else 0
            apart += [(str(path), label, "test" if n < kept else "train") for n, path in enumerate(paths) if kept]
            used = paths[kept:]
            count = round(trained[name] * len(used))
            rows += [(str(path), label, "train" if n < count else "test") for n, path in enumerate(used)]
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("path", "label", "split"), *rows])
    with (folder / "signs-10-test.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split"), *apart])


def command(case: Case, name: str, variant: str, seed: int) -> list[str]:
    """What is typed, with names in place of paths."""
    every = ("data.val_fraction=0", "train.compile=off", "data.workers=0", *case.variants[variant])
    edits = [word for edit in every for word in ("--set", edit)]
    return ["deepres", "train", f"{name}.csv", *case.arguments, "--seed", str(seed), *edits]


def run(folder: Path, places: dict[str, str], keys: list[str]) -> None:
    """Train what is not done yet."""
    for key in keys or CASES:
        case = CASES[key]
        for seed in case.seeds:
            for name in case.sets:
                for number, variant in enumerate(case.variants):
                    out = folder / f"{key}.{name}.{number}.{seed}"
                    if (out / "test.json").is_file():
                        continue
                    shutil.rmtree(out, ignore_errors=True)  # it was stopped
                    typed = [places.get(word, word) for word in command(case, name, variant, seed)[1:]]
                    typed[1] = str(folder / typed[1])
                    done = subprocess.run(
                        [sys.executable, "-m", "deepres", *typed, "--output", str(out)], capture_output=True, text=True
                    )
                    said = done.stderr.strip().splitlines()[-1:] if done.returncode else []
                    print(out.name, variant, *said, flush=True)


def collect(folder: Path) -> dict[str, Any]:
    """The evidence, from the runs that are there."""
    cases: dict[str, Any] = {}
    for key, case in CASES.items():
        rows: dict[str, Any] = {}
        for number, variant in enumerate(case.variants):
            for name in case.sets:
                found = [folder / f"{key}.{name}.{number}.{seed}" / "test.json" for seed in case.seeds]
                results = [json.loads(path.read_text(encoding="utf-8")) for path in found if path.is_file()]
                if not results:
                    continue
                errors = [result["error"] for result in results]
                rows.setdefault(variant, {"command": " ".join(command(case, name, variant, 0))})[name] = {
                    "n": len(errors),
                    "images": results[0]["num_images"],
                    "mean": fmean(errors),
                    "std": stdev(errors) if len(errors) > 1 else None,
                    "each": errors,
                    "cross_entropy": fmean(result["cross_entropy"] for result in results),
                }
        cases[key] = {"told": case.told, "seeds": case.seeds, "variants": rows}
    return {
        "claim": "the recipes for one's own photos, beside variants of them, on images cut from training parts",
        "command": "python evidence/recipe_choices.py run FOLDER PHOTOS RESNET50 RESNET44",
        "hardware": hardware(torch.device("cpu")),
        "versions": dict(versions()),
        "n": max(len(case.seeds) for case in CASES.values()),
        "cases": cases,
    }


def main() -> None:
    """See the module's docstring."""
    verb, folder = sys.argv[1], Path(sys.argv[2])
    if verb == "run":
        folder.mkdir(parents=True, exist_ok=True)
        lists(Path(sys.argv[3]), folder)
        run(folder, {"RESNET50": sys.argv[4], "RESNET44": sys.argv[5]}, sys.argv[6:])
    else:
        text = json.dumps(collect(folder), indent=1) + "\n"
        (Path(__file__).parent / "recipe_choices.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
