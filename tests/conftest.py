"""Tests run side by side, each process on one thread; real data lies at DEEPRES_SHARED or beside the repository."""

import gc
import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
gc.disable()  # importing makes objects that stay; to look for garbage among them costs more than it finds


def pytest_collection_finish() -> None:
    """What the imports made is no garbage: the collections during the tests leave it out, which saves a tenth."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    place = Path(os.environ.get("DEEPRES_SHARED", Path(__file__).parents[2] / "shared"))
    if not (place / "data").is_dir():
        pytest.skip(f"real images and weights are not at {place}; set DEEPRES_SHARED")
    return place
