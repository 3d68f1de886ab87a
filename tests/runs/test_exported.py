"""Which run a file was made of: by the name of its folder and its weights, wherever both are moved to."""

import shutil
import sys
from pathlib import Path

import pytest

from deepres.base.errors import InputError
from deepres.base.files import digest
from deepres.export.facts import bundle_of
from deepres.predict.exported.bundle import Bundle
from deepres.runs.exported import evaluate_exported, run_behind

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
from small_run import SMALL, small_onnx


def _run(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "run.json").write_text("{}")
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Bundle]:
    """`home/runs/pets-1`, `home/files/pets`, and what the file in the latter says."""
    run = _run(tmp_path / "home" / "runs" / "pets-1")
    (tmp_path / "home" / "files" / "pets").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home", SMALL.replace(run="pets-1", weights_sha256=digest(run / "model.safetensors"))


def test_it_is_found_here_beside_the_file_and_above_it(
    home: tuple[Path, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, bundle = home
    file = place / "files" / "pets" / "model.onnx"
    assert run_behind(file, bundle) == place / "runs" / "pets-1"
    moved = place.rename(tmp_path / "moved")
    assert run_behind(moved / "files" / "pets" / "model.onnx", bundle) == moved / "runs" / "pets-1"
    assert run_behind(tmp_path / "elsewhere" / "model.onnx", bundle) is None
    monkeypatch.chdir(moved)
    assert run_behind(tmp_path / "elsewhere" / "model.onnx", bundle) == Path("runs/pets-1")


def test_of_another_run_of_that_name_it_is_not(home: tuple[Path, Bundle]) -> None:
    place, bundle = home
    file = place / "files" / "pets" / "model.onnx"
    shutil.rmtree(place / "runs" / "pets-1")
    _run(place / "files" / "pets-1", b"others")
    assert run_behind(file, bundle) is None
    _run(place / "pets-1")
    assert run_behind(file, bundle) == place / "pets-1"


@pytest.mark.parametrize("name", ["../runs/pets-1", "/etc", "a/../../x", "", "."])
def test_no_name_leads_anywhere_else(home: tuple[Path, Bundle], name: str) -> None:
    place, bundle = home
    assert run_behind(place / "files" / "pets" / "model.onnx", bundle.replace(run=name)) is None


def test_without_it_images_have_to_be_named(home: tuple[Path, Bundle]) -> None:
    file = small_onnx(home[0] / "files" / "model.onnx")
    with pytest.raises(InputError, match=r"of no run, so without images of its own; name a SOURCE"):
        evaluate_exported(str(file))


def test_a_file_says_the_name_of_its_runs_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from small_run import run_folder

    from deepres.predict.predictor import Predictor

    run = run_folder(tmp_path / "pets-1")
    predictor = Predictor.load(run, "cpu")
    assert bundle_of(predictor, str(run)).run is None, "weights, but no run"
    (run / "run.json").write_text("{}")
    monkeypatch.chdir(run)
    assert bundle_of(predictor, ".").run == "pets-1"
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "folds.json").write_text("{}")
    fold = run.rename(tmp_path / "pets" / "fold-1")
    found = bundle_of(predictor, str(fold))
    assert found.run == "pets/fold-1"
    assert str(tmp_path) not in str(found.to_texts())
