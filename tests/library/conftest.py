"""A working folder with `runs/digits-1`, a run of one epoch, and `others`, a folder with a picture of noise."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import deepres


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("library")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        deepres.train("digits", epochs=1, settings={"train.compile": "off"}, device="cpu", progress=False)
    (place / "others").mkdir()
    Image.effect_noise((16, 16), 60).save(place / "others" / "noise.png")
    return place
