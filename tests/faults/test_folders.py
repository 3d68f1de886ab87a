"""A run's folder that is half written, may not be read or written, is moved, removed, or wanted by several at once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepres.base.errors import InputError, RunError
from deepres.base.files import clear_parts, folder_atomic
from deepres.cli.main import run as deepres
from deepres.runs.lock import alone
from deepres.runs.places import output_of
from deepres.train import checkpoint
from deepres.train.distributed import SINGLE_PROCESS

SHORT = ["--model", "resnet20_cifar", "--set", "model.depths=1,1,1", "--batch-size", "8", "--device", "cpu"]
SHORT += ["--set", "train.epochs=none", "--set", "train.iterations=3", "--set", "train.save_every_seconds=0.001"]
NOBODY = 65534


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    draw = np.random.default_rng(0)
    for name in ("bright", "dark"):
        (home / "pictures" / name).mkdir(parents=True)
        for number in range(8):
            pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(home / "pictures" / name / f"{number}.png")
    return home / "pictures"


@pytest.fixture
def ended() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_parts_that_nobody_owns_go_and_others_stay(tmp_path: Path, ended: int) -> None:
    for name in (".a.json.{}.part", ".step-000000003.{}.part", ".probe.{}.part"):
        for owner in (ended, os.getpid(), os.getppid()):
            (tmp_path / name.format(owner)).mkdir()
            (tmp_path / name.format(owner) / "weights.safetensors").write_bytes(b"half")
    kept = ["notes.part", ".mine.part", f".a.{ended}.part.old", f"a.{ended}.part", ".a.x7.part", f".{ended}.part"]
    for name in kept:
        (tmp_path / name).write_text("")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    (tmp_path / f".link.{ended}.part").symlink_to(outside)
    clear_parts(tmp_path)
    lived = {f"{name}.{os.getppid()}.part" for name in (".a.json", ".step-000000003", ".probe")}
    assert {path.name for path in tmp_path.iterdir()} == {*kept, *lived, "outside"}
    assert (outside / "kept").exists()


def test_a_folder_written_again_clears_what_an_earlier_try_left(tmp_path: Path, ended: int) -> None:
    (tmp_path / f".pack.{ended}.part").mkdir()
    (tmp_path / f".pack2.{ended}.part").mkdir()
    with folder_atomic(tmp_path / "pack") as new:
        (new / "a").write_text("")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".pack2.{ended}.part", "pack"]


@pytest.mark.medium
def test_start_and_resume_clear_the_runs_folder(pictures: Path, tmp_path: Path, ended: int) -> None:
    def left() -> list[Path]:
        return [*folder.rglob("*.part")]

    def leave() -> None:
        for name in (f".run.json.{ended}.part", f".files.{ended}.part/model.safetensors"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("half")
        (folder / "state" / f".step-000000002.{ended}.part").mkdir(parents=True)

    folder = tmp_path / "run"
    leave()
    assert deepres(["train", str(pictures), "--output", str(folder), *SHORT]) == 0
    assert not left()
    leave()
    assert deepres(["train", "--resume", str(folder)]) == 0
    assert not left()


def _moved(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def _replaced(folder: Path) -> None:
    _moved(folder)
    (folder / "state").mkdir(parents=True)


GONE: dict[str, tuple[Callable[[Path], object], str]] = {
    "moved": (_moved, "was moved while it trained; go on from its newest state with deepres train --resume"),
    "removed": (shutil.rmtree, "was removed while it trained, and its states with it; begin anew"),
    "another in its place": (_replaced, "was moved while it trained; go on from its newest state with"),
}


@pytest.mark.medium
@pytest.mark.parametrize(("what", "said"), GONE.values(), ids=GONE)
def test_a_folder_that_goes_while_it_trains_ends_in_one_line(
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    what: Callable[[Path], object],
    said: str,
) -> None:
    folder, save, count = tmp_path / "run", checkpoint.save_state, []

    def saved(*values: object) -> object:
        done = save(*values)  # type: ignore[arg-type]
        count.append(1)
        if len(count) == 1:
            what(folder)
        return done

    monkeypatch.setattr("deepres.runs.train.save_state", saved)
    assert deepres(["train", str(pictures), "--output", str(folder), *SHORT]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("deepres: ")]
    assert said in line
    assert len(count) == 1
    if what is not shutil.rmtree:
        assert line.endswith(f"--resume {tmp_path / 'elsewhere'}")
        assert not any(path.is_file() for path in folder.rglob("*"))
        assert deepres(["train", "--resume", str(tmp_path / "elsewhere")]) == 0
    else:
        assert not folder.exists()


def test_a_refusal_that_has_nothing_to_do_with_the_folder_stays(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="images"), alone(tmp_path):
        raise InputError("images")
    with pytest.raises(RunError, match="was removed"), alone(tmp_path):  # noqa: PT012
        shutil.rmtree(tmp_path)
        raise InputError("images")


def test_starts_with_the_same_default_name_take_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    class Planned:
        class data:  # noqa: N801
            source = "photos/"

    with output_of(None, Planned, SINGLE_PROCESS) as a, output_of(None, Planned, SINGLE_PROCESS) as b:  # type: ignore[arg-type]
        with output_of(None, Planned, SINGLE_PROCESS) as c:  # type: ignore[arg-type]
            assert [str(each) for each in (a, b, c)] == ["runs/photos-1", "runs/photos-2", "runs/photos-3"]
        (b / "run.json").write_text("")
        assert not c.exists()  # nothing was put in
    assert [str(path) for path in Path("runs").iterdir()] == ["runs/photos-2"]


def test_a_start_that_is_refused_leaves_no_folder(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert deepres(["train", str(pictures), *SHORT, "--set", "train.sync_norm=true", "--weights", "no.pt"]) == 2
    assert not Path("runs").exists()
