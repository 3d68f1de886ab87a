"""Tests run side by side, each process on one thread; real data lies at DEEPRES_SHARED or beside the repository."""

import gc
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepres.base import watch

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DEEPRES_TRACEBACK", "1")  # the last net off, also in processes that tests start: a mistake shows
gc.disable()  # importing makes objects that stay; to look for garbage among them costs more than it finds


def pytest_collection_finish() -> None:
    """What the imports made is no garbage: the collections during the tests leave it out, which saves a tenth."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _never_late(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No line that says that work goes on, which a busy machine would bring among those that are counted."""
    if not request.module.__name__.endswith("test_terminal"):
        monkeypatch.setattr(watch, "EVERY", math.inf)


@pytest.fixture
def class_folders(tmp_path: Path) -> Callable[..., Path]:
    """`class_folders("pets", {"cat": 12, "dog": 3}, (40, 40))`: a folder for each class, of as many pictures of noise."""

    def made(name: str, counts: Mapping[str, int], size: tuple[int, int], suffix: str = ".png") -> Path:
        draw = np.random.default_rng(0)
        for label, count in counts.items():
            (tmp_path / name / label).mkdir(parents=True)
            for number in range(count):
                picture = Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8))
                picture.save(tmp_path / name / label / f"{number}{suffix}")
        return tmp_path / name

    return made


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    place = Path(os.environ.get("DEEPRES_SHARED", Path(__file__).parents[2] / "shared"))
    if not (place / "data").is_dir():
        pytest.skip(f"real images and weights are not at {place}; set DEEPRES_SHARED")
    return place
