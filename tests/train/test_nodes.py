"""Two machines, played by two launchers with folders of their own: the same weights, and one of them writes and speaks."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from deepres.base.files import digest
from deepres.nn.weights import WEIGHTS

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
TRAIN = ["-m", "deepres", "train", "pictures", "--output", "run", "--device", "cpu", "--fast", "off", "--workers", "1"]
TRAIN += [
    "--batch-size",
    "8",
    "--model",
    "resnet20_cifar",
    "--set",
    "preparation.crop=16",
    "--set",
    "data.prefetch_factor=3",
]
TRAIN += ["--set", "train.iterations=6", "--set", "train.epochs=none", "--set", "train.accumulate=2"]


class Ended(NamedTuple):
    """A launcher that has ended, and what it and its process said."""

    code: int
    out: str
    errors: str


def machine(folder: Path, images: int = 16) -> Path:
    """A folder that is a machine's own, with its own copy of the pictures (none: without them)."""
    folder.mkdir()
    for number in range(images):
        path = folder / "pictures" / ("cat", "dog")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((20, 18), 40 + 8 * number).convert("RGB").resize((20, 18)).save(path)
    return folder


def copied(original: Path, folder: Path) -> Path:
    machine(folder, 0)
    for path in original.glob("pictures/*/*"):
        place = folder / path.relative_to(original)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    return folder


def launched(*machines: Path, processes: int = 1) -> list[Ended]:
    """What becomes of `deepres train` on these machines, the first of which has rank 0."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
    where = ["--nnodes", str(len(machines)), "--nproc-per-node", str(processes)]
    where += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    launchers = [
        subprocess.Popen(
            [*TORCHRUN, *where, "--node-rank", str(rank), *TRAIN],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, folder in enumerate(machines)
    ]
    try:
        said = [launcher.communicate(timeout=400) for launcher in launchers]
    finally:
        for launcher in launchers:
            launcher.terminate()  # it ends its process too
    return [Ended(launcher.returncode, *words) for launcher, words in zip(launchers, said, strict=True)]


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.slow
def test_two_machines_train_the_weights_of_one_and_the_first_alone_writes_and_speaks(tmp_path: Path) -> None:
    one = machine(tmp_path / "one")
    first, second = (copied(one, tmp_path / name) for name in ("first", "second"))
    before = everything(second)
    (alone,) = launched(one, processes=2)
    assert alone.code == 0, alone.errors
    ours, theirs = launched(first, second)
    assert (ours.code, theirs.code) == (0, 0), (ours.errors, theirs.errors)
    assert digest(first / "run" / WEIGHTS) == digest(one / "run" / WEIGHTS)
    assert everything(first / "run") - {"events"} >= {"run.json", "summary.json", "report.html"}
    assert everything(second) == before
    assert ours.errors.count("for 6 steps of 8 on 2 processes") == 1
    assert ours.out.count("report: ") == 1
    assert theirs.out == ""
    assert "steps" not in theirs.errors


@pytest.mark.slow
def test_a_machine_without_the_images_or_with_others_stops_all_in_one_line_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    first, bare = machine(tmp_path / "first"), machine(tmp_path / "bare", 0)
    other = machine(tmp_path / "other", 18)
    for second, message in (
        (bare, "deepres: source 'pictures': unknown; "),
        (other, "deepres: process 1 has other images than process 0 (digest "),
    ):
        ours, theirs = launched(first, second)
        assert ours.code != 0
        assert theirs.code != 0
        assert next(line for line in ours.errors.splitlines() if line.startswith("deepres: ")).startswith(message)
        assert "deepres: " not in theirs.errors
        assert not (first / "run").exists()
        assert not (second / "run").exists()
