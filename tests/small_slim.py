"""A run on pictures of 12 px that is quickly made slim."""

from pathlib import Path

import numpy as np

from deepres.cli.main import run as deepres

TINY = ("model.depths=2,2,1", "model.widths=4,6,8", "model.stem_width=4", "data.val_fraction=0.4")
PLAN = ("train.epochs=none", "train.iterations=6", "train.precise_bn_batches=0", "train.compile=off")


def pictures(file: Path, images: int = 120, seed: int = 0) -> Path:
    noise = np.random.default_rng(seed)
    y = np.arange(images) % 3
    x = noise.integers(0, 120, (images, 12, 12, 3), dtype=np.uint8) + (40 * y).astype(np.uint8)[:, None, None, None]
    np.savez(file, x=x, y=y, classes=np.array(["ant", "bee", "fly"]))
    return file


def train(source: Path, folder: Path, *more: str) -> Path:
    edits = [part for edit in (*TINY, *PLAN) for part in ("--set", edit)]
    plan = ["train", str(source), "--recipe", "small", "-b", "16", "--device", "cpu"]
    model = [] if "--model" in more else ["--model", "resnet20_cifar"]
    assert deepres([*plan, *model, *edits, *more, "--output", str(folder)]) == 0
    return folder
