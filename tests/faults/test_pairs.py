"""Runs of two processes: killed and resumed they are bitwise the undisturbed run; what is another's both refuse."""

import shutil
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from pairs import Ended, alike, both_ended, both_started, put_foreign, refused_together
from writers import TRAIN

SECONDS = 150.0
WORDS = [*TRAIN, "--epochs", "3", "--set", "train.save_every_seconds=0.01"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, draw = tmp_path_factory.mktemp("pairs") / "photos", np.random.default_rng(0)
    for label, number in ((label, number) for label in ("cat", "dog") for number in range(10)):
        path = folder / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def whole(photos: Path) -> Path:
    folder = photos.parent / "whole"
    ends = both_ended(both_started(["train", str(photos), *WORDS, "--output", str(folder)]), SECONDS)
    assert [each.code for each in ends] == [0, 0], ends
    return folder


@pytest.mark.long
def test_both_killed_and_resumed_it_is_bitwise_the_undisturbed_run(photos: Path, whole: Path) -> None:
    folder, began = whole.with_name("killed"), monotonic()  # beside it: paths of pictures are written relative to it
    both = both_started(["train", str(photos), *WORDS, "--output", str(folder)])
    while not list(folder.glob("state/step-*2")) and both[0].poll() is None and monotonic() - began < SECONDS:
        sleep(0.002)
    for process in both:
        process.kill()
    both_ended(both, SECONDS)
    ends = both_ended(both_started(["train", "--resume", str(folder)]), SECONDS)
    assert [each.code for each in ends] == [0, 0], ends
    assert alike(folder, whole) is None


@pytest.mark.long
def test_a_file_of_another_run_is_refused_by_both_in_one_line(whole: Path, photos: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(whole, folder)
    shutil.copytree(whole, other)
    numbers = bytearray((other / "statistics.safetensors").read_bytes())
    numbers[-1] ^= 1
    (other / "statistics.safetensors").write_bytes(numbers)
    put_foreign(folder, other, "statistics.safetensors")
    ends = both_ended(both_started(["train", "--resume", str(folder)]), SECONDS)
    assert refused_together(ends) is None
    assert "statistics.safetensors" in ends[0].said
    assert alike(folder, whole) is not None


@pytest.mark.parametrize(
    ("ends", "right"),
    [
        ([Ended(2, "deepres: x\n"), Ended(2, "")], True),
        ([Ended(2, "deepres: x\n"), Ended(2, "deepres: x\n")], False),
        ([Ended(2, "deepres: x\n"), Ended(124, "")], False),
        ([Ended(2, "deepres: x\n"), Ended(2, "Traceback (most recent call last):")], False),
        ([Ended(2, ""), Ended(2, "")], False),
    ],
)
def test_what_counts_as_refused_together(ends: list[Ended], right: bool) -> None:
    assert (refused_together(ends) is None) == right
