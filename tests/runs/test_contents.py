"""A picture that was exchanged under its name since a run began is refused; files that are older are not read."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.data.digests import digests
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source
from deepres.runs import contents
from deepres.runs.contents import require_same_contents

Made = Callable[..., Path]


def begun(source: Path, folder: Path, began: str = "2001-01-01 00:00:00+00:00") -> Source:
    """The source, and what a run on it keeps of it."""
    opened = open_source(DataConfig(source=str(source), val_fraction=0))
    folder.mkdir()
    kept = {f"{images.digested}.{split}": digests(images) for split, images in opened.splits().items()}
    np.savez(folder / "digests.npz", **kept)  # type: ignore[arg-type]
    (folder / "sessions.jsonl").write_text(json.dumps({"began": began, "step": 0}) + "\n")
    return opened


def test_another_picture_under_a_name_is_refused(class_folders: Made, tmp_path: Path) -> None:
    photos = class_folders("photos", {"cat": 4, "dog": 4}, (9, 9))
    source = begun(photos, tmp_path / "run")
    require_same_contents(source, tmp_path / "run")
    one, other = (Path(source.train.paths[at]) for at in (0, 1))
    os.utime(one)  # looked at and found the same
    require_same_contents(source, tmp_path / "run")
    shutil.copy(other, one)  # which another name of the same split has
    with pytest.raises(InputError, match=r"holds another picture than when the run in .* began; bring back") as caught:
        require_same_contents(source, tmp_path / "run")
    assert str(caught.value).startswith(str(one))


def test_files_that_are_older_than_the_run_are_not_read(
    class_folders: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = begun(class_folders("photos", {"cat": 4, "dog": 4}, (9, 9)), tmp_path / "run", "2201-01-01 00:00:00+00:00")
    monkeypatch.setattr(contents, "digests", lambda images: pytest.fail("read"))
    require_same_contents(source, tmp_path / "run")


@pytest.mark.parametrize("kept", ["nothing", "no time", "others"])
def test_runs_that_tell_less_are_taken_as_they_are(kept: str, class_folders: Made, tmp_path: Path) -> None:
    source = begun(class_folders("photos", {"cat": 4, "dog": 4}, (9, 9)), tmp_path / "run")
    if kept == "nothing":
        (tmp_path / "run" / "digests.npz").unlink()
    elif kept == "no time":
        (tmp_path / "run" / "sessions.jsonl").write_text('{"step": 0}\n')
    else:
        np.savez(tmp_path / "run" / "digests.npz", **{"bytes.train": np.zeros(3, np.uint64)})
    require_same_contents(source, tmp_path / "run")


def test_an_archive_that_was_written_anew_is_read_again(class_folders: Made, tmp_path: Path) -> None:
    photos = class_folders("photos", {"cat": 4, "dog": 4}, (9, 9))

    def pack(first: str) -> Path:
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            for path in sorted(photos.rglob("*.png")):
                name = path.relative_to(photos).as_posix()
                archive.write(photos / first if name == "cat/0.png" else path, name)
        return tmp_path / "photos.zip"

    source = begun(pack("cat/0.png"), tmp_path / "run")
    require_same_contents(source, tmp_path / "run")
    pack("dog/0.png")
    with pytest.raises(InputError, match=r"cat/0\.png: holds another picture"):
        require_same_contents(
            open_source(DataConfig(source=str(tmp_path / "photos.zip"), val_fraction=0)), tmp_path / "run"
        )


@pytest.mark.slow
def test_a_run_does_not_go_on_with_it(class_folders: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, folder = class_folders("photos", {"cat": 6, "dog": 6}, (9, 9)), str(tmp_path / "run")
    tiny = ["--set", "model.depths=1,1,1", "--set", "model.widths=16,16,16", "--compile", "off", "--workers", "0"]
    words = ["train", str(photos), "--recipe", "small", "-b", "4", "--epochs", "1", "--device", "cpu", "--log", "none"]
    assert run([*words, *tiny, "--output", folder]) == 0
    shutil.copy(photos / "dog" / "0.png", photos / "cat" / "0.png")
    before = (tmp_path / "run" / "run.json").read_bytes()
    capsys.readouterr()
    assert run(["train", "--resume", folder, "--epochs", "2"]) == 2
    assert "cat/0.png: holds another picture than when the run in" in capsys.readouterr().err
    assert (tmp_path / "run" / "run.json").read_bytes() == before
