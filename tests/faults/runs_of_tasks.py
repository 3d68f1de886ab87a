"""A small run of each task, made once: what its files are, damaged or foreign, is tried on."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from deepres.cli.main import run

SMALL = ["--device", "cpu", "--compile", "off", "--workers", "0", "--epochs", "2", "--batch-size", "4"]
PLAIN = ["--recipe", "small", "--model", "resnet20_cifar", "--set", "model.depths=1,1,1"]
PLAIN += ["--set", "preparation.crop=8", "--set", "data.val_fraction=0.25", "--set", "data.test_fraction=0.25"]
BOXES = {
    "model.backbone.widths": "8,8,8,16",
    "model.backbone.stem_width": "8",
    "model.backbone.depths": "1,1,1,1",
    "model.backbone.style.norm_groups": "4",
    "model.neck_channels": "8",
    "model.anchors.sizes": "12/24/48/96/192",
    "model.proposals.after_train": "16",
    "model.proposals.after_test": "16",
    "model.regions.widths": "16",
    "model.regions.sampled": "8",
    "model.regions.score_above": "0",
    "preparation.resize": "48",
    "preparation.longest": "64",
}
TASKS = {
    "multilabel": ["several.csv", *PLAIN],
    "regression": ["numbers.csv", "--task", "regression", *PLAIN, "--set", "data.columns=path:path,label:age,size"],
    "detection": ["boxes.csv", *(word for name, value in BOXES.items() for word in ("--set", f"{name}={value}"))],
}
"""Task -> the table beside the pictures, and flags of a network that trains in a second or few."""


@cache
def pictures() -> Path:
    """Twenty pictures in `photos`, and a table of each form of targets beside them."""
    home = Path(tempfile.mkdtemp(prefix="deepres-tasks-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    draw = np.random.default_rng(0)
    rows = {"several.csv": ["path,label"], "numbers.csv": ["path,age,size"]}
    rows["boxes.csv"] = ["path,class,x1,y1,x2,y2,split"]
    (home / "photos").mkdir()
    for number in range(20):
        name = f"photos/{number:02}.png"
        Image.fromarray(draw.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(home / name)
        rows["several.csv"].append(f"{name},{';'.join(c for place, c in enumerate('ab') if number >> place & 1)}")
        rows["numbers.csv"].append(f"{name},{number},{draw.random():.3f}")
        split = "train" if number < 12 else "val" if number < 16 else "test"
        rows["boxes.csv"].append(f"{name},{'ab'[number % 2]},{number},4,{number + 20},40,{split}")
    for name, lines in rows.items():
        (home / name).write_text("\n".join(lines) + "\n")
    return home


@cache
def run_of(task: str, seed: int = 0) -> Path:
    """A run of two epochs."""
    table, *flags = TASKS[task]
    folder = pictures() / f"{task}-{seed}"
    assert run(["train", str(pictures() / table), *flags, *SMALL, "--seed", str(seed), "--output", str(folder)]) == 0
    return folder
