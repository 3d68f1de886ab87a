"""What commands keep when they are given again and again in one process; and how a soak judges what it saw."""

import gc
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
from soak import Held, judged, sloped
from writers import home_in

from deepres.cli.main import run as deepres
from deepres.nn.weights.files import read_tensors

MEGABYTE = 2**20
ALIKE = random.Random(0)


def history(step: float, opened: Callable[[int], int] = lambda _: 6, count: int = 900) -> list[Held]:
    """A heap of 800 MiB that is a little more or less after each command, and grows by `step` bytes a command."""
    first = [800 * MEGABYTE + step * number + ALIKE.uniform(-1, 1) * MEGABYTE for number in range(count)]
    return [Held(round(each), 1_000_000, opened(number)) for number, each in enumerate(first)]


@pytest.mark.parametrize(
    ("taken", "wrong"),
    [
        (history(0), None),
        (history(20_000), None),  # 1.2 % from the third on
        (history(60_000), "memory x 1.03"),
        (history(0, lambda number: 6 + number // 300), "descriptors x 1.1"),
        (history(0, lambda number: min(number, 200)), None),  # kept from the third on
        ([Held(600 * MEGABYTE if number < 200 else 800 * MEGABYTE, 1, 6) for number in range(900)], None),
    ],
)
def test_what_grows_from_the_first_third_on_is_wrong(taken: list[Held], wrong: str | None) -> None:
    told = judged(taken, 1800.0)
    assert (told.wrong is None) if wrong is None else (told.wrong is not None and wrong in told.wrong)
    assert told.facts["times"] == 900


def test_a_slope_is_told_with_its_error_and_by_the_hour() -> None:
    facts = judged(history(2_000), seconds=1800.0).facts  # 1,800 commands an hour
    slope, error = facts["bytes_per_1000"]
    assert abs(slope - 2_000_000) < 3 * error < 2_000_000
    assert facts["bytes_per_hour"] == pytest.approx([1.8 * slope, 1.8 * error], abs=2)
    assert facts["objects_per_1000"] == [0, 0]
    assert sloped([3.0 + 0.5 * number for number in range(400)]) == pytest.approx((0.5, 0.0), abs=1e-9)


def kept(work: Callable[[], object], warm: int, times: int) -> float:
    """Objects that stay of each time, once it was done `warm` times.

    The least of three trials: what threads of earlier tests take meanwhile is counted too, what stays stays in each.
    """
    for _ in range(warm):
        work()
    gc.collect()
    gc.freeze()  # what was there before is looked through once, not seven times
    found = []
    for _ in range(3):
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(times):
            work()
        gc.collect()
        found.append((sys.getallocatedblocks() - before) / times)
    return min(found)


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "npz"])
@pytest.mark.long
def test_weights_that_were_read_leave_nothing(tmp_path: Path, suffix: str) -> None:
    path, tensors = tmp_path / f"weights.{suffix}", {f"layer{number}.weight": torch.ones(300) for number in range(100)}
    if suffix == "npz":
        import numpy as np

        np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})  # type: ignore[arg-type]
    elif suffix == "pt":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    assert kept(lambda: read_tensors(path), 5, 20) < 10


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return home_in(tmp_path_factory.mktemp("soak") / "home")


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        ["predict", "RUN", "PICTURE"],
        ["eval", "RUN"],
        ["weights", "inspect", "RUN"],
        ["data", "check", "PHOTOS"],
        ["describe", "resnet20_cifar"],
        ["predict", "RUN", "absent.png"],
    ],
    ids=" ".join,
)
def test_a_command_that_was_given_leaves_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    places = {"RUN": home / "run", "PHOTOS": home / "photos", "PICTURE": home / "photos" / "cat" / "0.png"}

    def given() -> None:
        deepres([str(places.get(word, word)) for word in words])
        capsys.readouterr()

    assert kept(given, 8, 8) < 100  # caches are filled; of streams, tensors or numbers kept it would be hundreds
