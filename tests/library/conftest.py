"""A working folder with `runs/digits-1`, a run of one epoch."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import deepres


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("library")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        deepres.train("digits", epochs=1, settings={"train.compile": "off"}, device="cpu", progress=False)
    return place
