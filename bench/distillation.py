"""What a teacher brings: the same small network from scratch with and without one, on part of CIFAR-10 and on photos.

`python bench/distillation.py SHARED --work DIR --output evidence/distillation.json`, SHARED the folder of real images
and weights (`data/`). Runs that stand in DIR are not done again. Each is what `deepres train` does by default at the
length given here; the error is that of the test images, which choose nothing.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

from deepres.base import records
from deepres.data.sources.open import open_source
from deepres.data.transforms.statistics import Statistics
from deepres.predict.preprocessing import STATISTICS
from deepres.recipes.run import Run
from deepres.runs.context import RunContext
from deepres.runs.teacher import find_teachers
from deepres.tasks.classification.losses import wrong
from deepres.train.precision import choose

SEEDS = (0, 1, 2)
SMALL = ("--model", "resnet20_cifar", "--set", "model.depths=1,1,1", "--set", "train.compile=off")  # a ResNet-8
ONE_SEED = ("taught, other crops",)
CROPS = ("augmentation.crop=random_resized", "augmentation.area=0.25,1", "augmentation.jitter=0.2")  # the student's
PLAIN = ("--set", "train.label_smoothing=0", "--set", "train.head_only_fraction=0", "--set", "train.layer_decay=1")


def cifar(shared: Path, work: Path, images: int, tested: int) -> Path:
    """The first `images` of CIFAR-10's training images in an order drawn by 0, and of its test images `tested`."""
    path = work / "cifar.npz"
    if not path.exists():
        unpack = shared / "data" / "unpack_cifar10.py"
        subprocess.run([sys.executable, str(unpack), str(work)], check=True, stdout=subprocess.DEVNULL)
        columns: dict[str, Any] = {}
        for part, count in (("train", images), ("test", tested)):
            with np.load(work / f"cifar10_{part}.npz") as whole:
                some = np.random.default_rng(0).permutation(len(whole["y"]))[:count]
                columns |= {f"x_{part}": whole["x"][some], f"y_{part}": whole["y"][some], "classes": whole["classes"]}
        np.savez(path, **columns)
    return path


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    """The summary of the run in `folder`, which is begun, or gone on with, unless it stands there."""
    if not (folder / "summary.json").exists():
        begun = (folder / "run.json").exists()
        plan = ["--resume", str(folder)] if begun else [*arguments, "--output", str(folder)]
        command = [sys.executable, "-m", "deepres", "train", *plan, "--device", "cpu"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return dict(json.loads((folder / "summary.json").read_text()))


def error_of(weights: str, source: Path) -> float:
    """Of a teacher on the same test images, alone."""
    command = [sys.executable, "-m", "deepres", "eval", weights, str(source), "--split", "test", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["error"])


def error_on_views(folder: Path, batches: int = 10) -> float:
    """Of the teacher of the run in `folder`, on the views that it teaches: its first batches, augmented."""
    run = records.load(Run, folder / "run.json", "run description")
    source, statistics = open_source(run.data), Statistics.load(folder / STATISTICS)
    precision = choose(run.train.precision, torch.device("cpu"))
    found = find_teachers(run, source.classes)
    assert found is not None
    teachers = found.ready(run, source.classes, statistics, precision)
    wrong_ones = seen = 0
    for batch in RunContext(run, source, folder, statistics, precision, teachers=teachers).loader().batches(0, batches):
        wrong_ones += int(wrong(teachers.answers(batch, 1.0), batch.targets))
        seen += len(batch)
    return wrong_ones / seen


def row(name: str, work: Path, source: Path, variants: dict[str, list[str]], *plan: str) -> dict[str, Any]:
    """Each variant of the student under each seed, and its teacher alone on the same test images."""
    found: dict[str, Any] = {"set": name}
    for kind, more in variants.items():
        seeds = SEEDS[:1] if kind in ONE_SEED else SEEDS
        folders = [work / f"{name}-{kind}-{seed}" for seed in seeds]
        runs = [
            run(folder, str(source), *SMALL, *plan, *more, "--seed", str(seed))
            for folder, seed in zip(folders, seeds, strict=True)
        ]
        errors = [summary["error"] for summary in runs]
        curves = [(folder / "history.jsonl").read_text().splitlines() for folder in folders]
        found[kind] = {
            "test_error": {"mean": mean(errors), "std": stdev(errors) if len(errors) > 1 else None, "each": errors},
            "held_out_error": [min(json.loads(line)["val_error"] for line in lines) for lines in curves],
            "training_seconds": [summary["training_seconds"] for summary in runs],
        }
        if "teacher" in runs[0]:
            told = runs[0]["teacher"]
            found[kind] |= {name: told[name] for name in ("models", "temperature", "weight", "share")}
            found[kind]["teacher_test_error"] = error_of(more[1], source)
            found[kind]["teacher_error_on_its_views"] = error_on_views(folders[0])
    found["plan"] = " ".join([*SMALL, *plan])
    found["num_test_images"] = runs[0]["num_images"]
    found |= {name: runs[0][name] for name in ("hardware", "precision", "versions", "recipe")}
    return found


def main() -> None:
    """Read the command line, do what is missing, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2500)
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()
    work, data = given.work.absolute(), given.shared.absolute() / "data"
    work.mkdir(parents=True, exist_ok=True)
    weights = str(data / "weights" / "pytorch_resnet_cifar10" / "resnet20-12fca82f.th")
    epochs = ("--epochs", str(given.epochs))

    source = cifar(given.shared.absolute(), work, given.images, 2000)
    variants = {"alone": [], "taught": ["--teacher", weights]}
    rows = [row("cifar", work, source, variants, *epochs)]
    photos, size = data / "photos" / "signs-10" / "Dataset", ("preparation.crop=32", "preparation.resize=32")
    sized = [part for edit in size for part in ("--set", edit)]
    crops = [part for edit in CROPS for part in ("--set", edit)]
    teachers = {name: str(work / f"signs-teacher-{name}") for name in ("crops", "shifts")}
    for name, more in (("crops", ["--epochs", "12", *crops]), ("shifts", ["--epochs", "6"])):
        run(Path(teachers[name]), str(photos), "--weights", weights, "--lr", "0.01", *PLAIN, *more)
    variants = {
        "alone": [],
        "taught": ["--teacher", teachers["crops"]],
        "taught, other crops": ["--teacher", teachers["shifts"]],
    }
    rows.append(row("signs", work, photos, variants, "--recipe", "photos", *epochs, *sized))
    facts = {
        "claim": f"A ResNet-8 from scratch with and without a teacher: {given.images:,} images of CIFAR-10 (teacher: "
        "pytorch_resnet_cifar10's ResNet-20, which was trained on all of them), and signs-10 at 32 px (teacher: the "
        "same network fine-tuned on its training part, with the student's crops; 'other crops': with shifts alone)",
        "command": "python bench/distillation.py ../shared --work DIR --output evidence/distillation.json",
        "note": "The error of the teacher on its views is that on the student's first 640, cropped and flipped as the "
        "student gets them. Other work ran on the machine: seconds are no measure of speed.",
        "seeds": list(SEEDS),
        "n": len(SEEDS),
        **{name: rows[0].pop(name) for name in ("hardware", "precision", "versions")},
        "rows": [
            {name: value for name, value in one.items() if name not in ("hardware", "versions", "precision")}
            for one in rows
        ],
    }
    given.output.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
