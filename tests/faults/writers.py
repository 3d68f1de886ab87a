"""Every verb that writes files, and what it writes: what drills with full disks and lost readers go over.

Whoever adds a writer adds it to `writers()`.
"""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from deepres.cli.main import run

TRAIN = [
    "--device",
    "cpu",
    "--compile",
    "off",
    "--recipe",
    "small",
    "--workers",
    "0",
    "--batch-size",
    "4",
    "--epochs",
    "1",
]
TRAIN += ["--set", "model.depths=2,1,1", "--set", "model.widths=16,16,16", "--set", "preparation.crop=8"]
_SLIM = "slim --drop-blocks 1 --finetune-epochs 0 --max-loss 100 --accept-uncertain --device cpu"
XML = (
    "<annotation><object><name>dog</name><bndbox><xmin>2</xmin><ymin>1</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
    "</object></annotation>"
)


class Writer(NamedTuple):
    """`words(home)` in a folder made by `home_in` write `outputs`, files or folders in it; `long`: it trains."""

    name: str
    words: Callable[[Path], list[str]]
    outputs: tuple[str, ...]
    long: bool = False


def writers() -> list[Writer]:
    """One for each verb that writes, with all that it can write."""
    return [
        _writer("describe", "describe resnet20_cifar --svg {}/net.svg", "net.svg"),
        _writer(
            "eval",
            "eval {0}/run --device cpu --report {0}/e.html --worst {0}/e.csv --predictions {0}/e.npz",
            *("e.html", "e.csv", "e.npz"),
        ),
        _writer("predict", "predict {0}/run {0}/photos --device cpu --csv {0}/p.csv --cam {0}/maps", "p.csv", "maps"),
        _writer("compare", "compare {0}/run {0}/other --force --report {0}/c.html", "c.html"),
        _writer("analyze", "analyze {0}/run lesion --device cpu --images 2 --draws 1 --output {0}/taken", "taken"),
        _writer("data split", "data split {0}/photos --output {0}/s.csv", "s.csv"),
        _writer("data split of boxes", "data split {0}/boxed --output {0}/b.csv", "b.csv"),
        _writer("data show", "data show {0}/photos --output {0}/sheet.html", "sheet.html"),
        _writer("data pack", "data pack {0}/photos {0}/packed", "packed"),
        _writer("weights convert", "weights convert {0}/run {0}/weights", "weights"),
        _writer("weights convert to others' names", "weights convert {0}/run {0}/w.pth --names timm", "w.pth"),
        _writer("export", "export {0}/run --format onnx --no-check --output {0}/onnx", "onnx"),
        _writer("export of a program", "export {0}/run --format pt2 --no-check --output {0}/pt2", "pt2"),
        _training("train", "train {0}/photos --log tensorboard,csv --output {0}/new", "new"),
        _training("train with a teacher", "train {0}/photos --teacher {0}/run --output {0}/taught", "taught"),
        _training("train over a damaged picture", "train {0}/spoilt --on-bad-image skip --output {0}/some", "some"),
        Writer("slim", lambda home: f"{_SLIM} {home}/run --output {home}/slim".split(), ("slim",), True),
        _training("train for longer", "train --resume {0}/run", "run/summary.json"),
        _training("train in folds", "train {0}/photos --folds 2 --output {0}/folds", "folds"),
    ]


def home_in(folder: Path) -> Path:
    """Photos, some with a damaged one among them, some with boxes, and two runs on the first."""
    shutil.copytree(_made(folder.parent), folder)
    return folder


@cache
def _made(folder: Path) -> Path:
    home = folder / "writers"
    draw = np.random.default_rng(0)
    for source, label, number in ((s, c, n) for s in ("photos", "spoilt") for c in ("cat", "dog") for n in range(8)):
        path = home / source / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)
    (home / "spoilt" / "cat" / "1.png").write_bytes(path.read_bytes()[:-40])
    for number in range(8):
        (home / "boxed").mkdir(exist_ok=True)
        shutil.copyfile(home / "photos" / "cat" / f"{number}.png", home / "boxed" / f"{number}.png")
        (home / "boxed" / f"{number}.xml").write_text(XML)
    for name, seed in (("run", "0"), ("other", "1")):
        assert run(["train", str(home / "photos"), *TRAIN, "--seed", seed, "--output", str(home / name)]) == 0
    return home


def _writer(name: str, words: str, *outputs: str) -> Writer:
    return Writer(name, lambda home: words.format(home).split(), outputs)


def _training(name: str, words: str, *outputs: str) -> Writer:
    more = [*TRAIN[:4], "--epochs", "2"] if "--resume" in words else TRAIN
    return Writer(name, lambda home: [*words.format(home).split(), *more], outputs, True)
