"""Disk to weights, interrupted: whatever stops a run, resuming ends with bitwise the weights of the uninterrupted one."""

import json
import os
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from PIL import Image

from deepres.base.files import digest
from deepres.runs.verify_resume import verify_resume
from processes import DEEPRES, Popen, run

SETTINGS = (
    "--batch-size",
    "16",
    "--epochs",
    "3",
    "--set",
    "train.ema_decay=0.9",
    "--set",
    "train.save_every_seconds=0.01",
)


def _deepres(*arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = run([*DEEPRES, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stderr
    return done


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 40 JPEG files: reddish and bluish noise."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for channel, name in ((0, "red"), (2, "blue")):
        (folder / name).mkdir()
        for number in range(40):
            pixels = draw.integers(0, 160, (40, 48, 3), dtype=np.uint8)
            pixels[..., channel] += 80
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "through"
    _deepres("train", str(photos), *SETTINGS, "--output", str(folder))
    return folder


def _stopped(folder: Path, number: signal.Signals, *arguments: str) -> int:
    words = [*DEEPRES, *arguments, "--output", str(folder)]
    process = Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    began = monotonic()
    while not any(int(path.name[5:]) >= 2 for path in folder.glob("state/step-*")):
        assert process.poll() is None
        assert monotonic() - began < 120
        sleep(0.005)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    if number is not signal.SIGKILL:
        assert "state saved; continue with: deepres train --resume" in said.decode()
        assert b"Traceback" not in said
    return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGKILL, -9, id="kill"),
        pytest.param(signal.SIGTERM, 143, id="term", marks=pytest.mark.long),
        pytest.param(signal.SIGINT, 130, id="int", marks=pytest.mark.long),
    ],
)
def test_a_stopped_run_resumes_exactly(
    photos: Path, uninterrupted: Path, tmp_path: Path, number: signal.Signals, code: int, workers: str
) -> None:
    folder = tmp_path / "run"
    assert _stopped(folder, number, "train", str(photos), *SETTINGS, "--workers", workers) == code
    assert not (folder / "model.safetensors").exists()
    done = _deepres("train", "--resume", str(folder))
    assert "goes on after step" in done.stderr
    assert digest(folder / "model.safetensors") == digest(uninterrupted / "model.safetensors")
    ours, theirs = (
        [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        for run in (folder, uninterrupted)
    )
    summaries = [json.loads((run / "summary.json").read_text()) for run in (folder, uninterrupted)]
    chosen = [(one["chosen_epoch"], one["choice"], one["error"]) for one in summaries]
    assert chosen[0] == chosen[1]
    measured = ("images_per_second", "seconds", "data_wait_fraction")
    assert [{k: v for k, v in row.items() if k not in measured} for row in ours] == [
        {k: v for k, v in row.items() if k not in measured} for row in theirs
    ]


@pytest.mark.long
def test_a_finished_run_can_be_extended_and_a_damaged_state_is_passed_over(
    photos: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    _deepres("train", str(photos), *SETTINGS, "--output", str(folder))
    newest = sorted(folder.glob("state/step-*"))[-1] / "weights.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    done = _deepres("train", "--resume", str(folder), "--epochs", "4")
    assert "passed over a state that cannot be used" in done.stderr
    assert "weights.safetensors is not what was written" in done.stderr
    assert [json.loads(line)["epoch"] for line in (folder / "history.jsonl").read_text().splitlines()] == [1, 2, 3, 4]
    assert json.loads((folder / "run.json").read_text())["train"]["epochs"] == 4
    refused = _deepres("train", "--resume", str(folder), "--batch-size", "8", expect=2)
    assert "--resume: a run keeps what it began with; only train.epochs" in refused.stderr
    again = _deepres("train", "--resume", str(folder))  # nothing left to do: the same report again
    assert "report: " in again.stdout


@pytest.mark.long
def test_resume_finds_the_newest_run_and_refuses_other_images(photos: Path, tmp_path: Path) -> None:
    copy = tmp_path / "photos"
    subprocess.run(["cp", "-r", str(photos), str(copy)], check=True)
    home = {"cwd": tmp_path, "capture_output": True, "text": True}
    train = [*DEEPRES, "train"]
    first = run([*train, str(copy), "--smoke"], **home, check=False)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "runs" / "photos-1" / "report.html").is_file()
    resumed = run([*train, "--resume"], **home, check=False)
    assert "runs/photos-1/report.html" in resumed.stdout
    next(copy.glob("red/*.jpg")).unlink()
    refused = run([*train, "--resume"], **home, check=False)
    assert refused.returncode == 2
    assert "the images are not those that the run in runs/photos-1 began with" in refused.stderr


@pytest.mark.long
def test_the_users_own_proof_holds(tmp_path: Path) -> None:
    settings = ("--batch-size", "32", "--epochs", "1", "--set", "train.save_every_seconds=0.01")
    told: list[str] = []
    verdict = verify_resume(tmp_path, "digits", told.append, settings)
    assert verdict.equal
    assert 5 <= verdict.killed_after_step < 43
    assert len(told) == 3


@pytest.mark.medium
def test_two_processes_never_write_one_run(tmp_path: Path) -> None:
    import fcntl

    from deepres.base.errors import InputError
    from deepres.runs.lock import alone

    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is training there"), alone(tmp_path):
            os._exit(1)
