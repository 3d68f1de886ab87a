"""Two machines, played by two launchers with folders of their own: the same weights, and one of them writes and speaks."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

import pytest
from PIL import Image

from deepres.base.files import digest
from deepres.nn.weights.files import WEIGHTS
from processes import DEEPRES, Popen, ended_together

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
TRAIN = [
    "-m",
    "deepres",
    "train",
    "pictures",
    "--output",
    "run",
    "--device",
    "cpu",
    "--compile",
    "off",
    "--workers",
    "1",
]
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


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
    return port


def launched(*machines: Path) -> list[Ended]:
    """What becomes of `deepres train` on these machines, the first of which has rank 0."""
    where = ["--nnodes", str(len(machines)), "--nproc-per-node", "1"]
    where += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
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


def begun(*machines: Path) -> list[Ended]:
    """The same without launchers, in the environment that they would give."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(len(machines))}
    place |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [
        Popen([*DEEPRES, *TRAIN[2:]], cwd=folder, env={**os.environ, **place, "RANK": str(rank)}, **piped)
        for rank, folder in enumerate(machines)
    ]
    said = [process.communicate(timeout=300) for process in started]
    return [Ended(process.returncode, *words) for process, words in zip(started, said, strict=True)]


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.long
def test_two_machines_train_the_weights_of_one_and_the_first_alone_writes_and_speaks(tmp_path: Path) -> None:
    one = machine(tmp_path / "one")
    first, second = (copied(one, tmp_path / name) for name in ("first", "second"))
    before = everything(second)
    assert [code for code, _, _ in ended_together([*DEEPRES, *TRAIN[2:]], cwd=one)] == [0, 0]
    ours, theirs = launched(first, second)
    assert (ours.code, theirs.code) == (0, 0), (ours.errors, theirs.errors)
    assert digest(first / "run" / WEIGHTS) == digest(one / "run" / WEIGHTS)
    assert everything(first / "run") - {"events"} >= {"run.json", "summary.json", "report.html"}
    assert everything(second) == before
    assert ours.errors.count("6 steps of 8 images on 2 processes") == 1
    assert ours.out.count("report: ") == 1
    assert theirs.out == ""
    assert "steps" not in theirs.errors


@pytest.mark.long
def test_a_machine_without_the_images_or_with_others_stops_all_in_one_line_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    first, bare = machine(tmp_path / "first"), machine(tmp_path / "bare", 0)
    other = machine(tmp_path / "other", 18)
    for second, message in (
        (bare, "deepres: source 'pictures': unknown; "),
        (other, "deepres: process 1 has other images than process 0 (digest "),
    ):
        ours, theirs = begun(first, second)
        assert (ours.code, theirs.code) == (2, 2)
        assert next(line for line in ours.errors.splitlines() if line.startswith("deepres: ")).startswith(message)
        assert "deepres: " not in theirs.errors
        assert not (first / "run").exists()
        assert not (second / "run").exists()


def family(process: int) -> Iterator[int]:
    """The process and all that it has started, and they."""
    yield process
    lists = Path(f"/proc/{process}/task").glob("*/children")
    for child in chain.from_iterable(path.read_text().split() for path in lists):
        yield from family(int(child))


def answers(port: int) -> None:
    """Wait until somebody listens there."""
    until = monotonic() + 120
    while monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        sleep(0.05)


def lose(launcher: "subprocess.Popen[str]") -> None:
    """End it and its processes at once, as when a machine is switched off."""
    for process in reversed(list(family(launcher.pid))):
        os.kill(process, signal.SIGKILL)
    launcher.wait()


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
def test_a_lost_machine_comes_back_and_the_run_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    one = machine(tmp_path / "one")
    first, second = (copied(one, tmp_path / name) for name in ("first", "second"))
    train = [*TRAIN, "--set", "train.iterations=60", "--set", "train.save_every_seconds=0.1"]
    assert [code for code, _, _ in ended_together([*DEEPRES, *train[2:]], cwd=one)] == [0, 0]
    where = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "a"]
    port = free_port()
    where += ["--rdzv-endpoint", f"127.0.0.1:{port}", "--max-restarts", "2"]
    run = tmp_path / "shared" / "run"
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    said = (tmp_path / "said").open("w+")

    def start(folder: Path) -> "subprocess.Popen[str]":
        words = [*TORCHRUN, *where, *train, "--output", str(run)]
        return subprocess.Popen(words, cwd=folder, env=environment, stdout=said, stderr=said, text=True)

    staying = start(first)
    answers(port)  # so that the machines meet at the one that stays
    lost, back = start(second), None
    try:
        until = monotonic() + 120
        while not {path.name for path in run.glob("state/step-*")} - {"step-000000000"} and monotonic() < until:
            sleep(0.05)
        lose(lost)
        assert staying.poll() is None
        back = start(second)
        assert (staying.wait(200), back.wait(200)) == (0, 0), (tmp_path / "said").read_text()
    finally:
        for launcher in filter(None, (staying, lost, back)):
            if launcher.poll() is None:
                lose(launcher)
        said.close()
    assert "goes on after step" in (tmp_path / "said").read_text()
    assert digest(run / WEIGHTS) == digest(one / "run" / WEIGHTS)
