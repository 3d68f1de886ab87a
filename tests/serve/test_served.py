"""One network that is served: what it is tried with, what is told of it."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from deepres.base.errors import DeepresError, InputError
from deepres.serve.served import Served


def _loaded(folder: Path, precision: Any = "float32") -> Served:
    return Served.load("net", str(folder), "cpu", precision)


@pytest.mark.medium
def test_weights_and_what_the_run_measured_of_these_very_weights_are_told(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "net")
    weights = sha256((tmp_path / "net" / "model.safetensors").read_bytes()).hexdigest()
    summary = {"weights_sha256": weights, "source": "photos", "split": "test", "num_images": 9, "error": 0.25}
    (tmp_path / "net" / "summary.json").write_text(json.dumps(summary))
    served = _loaded(tmp_path / "net")
    assert served.sha256 == weights
    assert served.facts()["measured"] == {"source": "photos", "split": "test", "num_images": 9, "error": 0.25}
    assert json.loads(json.dumps(served.facts()))["sha256"] == weights
    (tmp_path / "net" / "summary.json").write_text(json.dumps({**summary, "weights_sha256": "of another"}))
    assert _loaded(tmp_path / "net").facts()["measured"] is None


@pytest.mark.medium
def test_it_answers_its_own_images_before_it_is_ready(
    small: Path, tmp_path: Path, pictures: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small, tmp_path / "net")
    samples = tmp_path / "net" / "samples"
    samples.mkdir()
    for number in range(2):
        (samples / f"{number}.png").write_bytes(pictures(number))
    asked: list[Any] = []
    real = Served.decoded
    monkeypatch.setattr(Served, "decoded", lambda self, out, name: asked.append(name) or real(self, out, name))
    _loaded(tmp_path / "net")
    assert asked == [str(samples / "0.png"), str(samples / "1.png")]
    (samples / "2.png").write_bytes(b"none")
    with pytest.raises(DeepresError, match=r"its own image cannot be asked \(.*2.png: not an image"):
        _loaded(tmp_path / "net")


@pytest.mark.medium
def test_maps_are_told_and_drawn_no_larger_than_shown(small: Path, pictures: Callable[..., bytes]) -> None:
    served = _loaded(small)
    assert served.facts()["maps"]
    job = served.map_job(pictures(0, (1500, 40)), "wide.png", "bee")
    _, pixels = job.read()
    ((name, chance, drawn),) = job.ask([pixels])
    assert name == "bee"
    assert 0 < chance < 1
    from io import BytesIO

    from PIL import Image

    assert Image.open(BytesIO(drawn())).size == (1024, 27)
    with pytest.raises(InputError, match="bees"):
        served.require_maps("bees")
