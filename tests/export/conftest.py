"""Files that are made of tiny networks once for all tests; helpers lie beside them."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from small_run import run_folder, small_onnx

from deepres.data.transforms.config import Preparation
from deepres.export.facts import bundle_of
from deepres.export.onnx_file import write_fitted
from deepres.predict.predictor import Predictor


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Predictor, Path]]:
    """`made(task)` -> the predictor, and its file of fitted pictures; with a preparation, of any pictures."""
    done: dict[Any, tuple[Predictor, Path]] = {}

    def of(task: str = "classification", preparation: Preparation | None = None) -> tuple[Predictor, Path]:
        if (task, preparation) not in done:
            folder = run_folder(tmp_path_factory.mktemp(task), task, preparation)
            predictor = Predictor.load(folder, "cpu")
            write_fitted(folder / "fitted.onnx", predictor, bundle_of(predictor, str(folder)))
            done[task, preparation] = predictor, folder / "fitted.onnx"
        return done[task, preparation]

    return of


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Predictor]:
    """`loaded(task)`: the predictor of a run of that task."""
    return lambda task: Predictor.load(run_folder(tmp_path_factory.mktemp(task), task), "cpu")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return small_onnx(tmp_path / "small.onnx")
