"""How published weights were trained: every name that stands for some has a row, and every row says its source."""

from pathlib import Path

import pytest

from deepres.arch.catalogue.tags import TAGS
from deepres.cli.main import run
from deepres.nn.weights.trainings import UNKNOWN, trained_by, trainings


@pytest.mark.parametrize("network", sorted(TAGS))
def test_every_tag_has_a_row(network: str) -> None:
    assert trained_by(f"{network}.{TAGS[network]}") is not None


@pytest.mark.medium
def test_every_set_of_torchvisions_weights_has_a_row() -> None:
    from torchvision import models

    from deepres.nn.weights.hub import _torchvision_models

    for network in _torchvision_models():
        for one in models.get_model_weights(network):
            found = trained_by(str(one))
            assert found is not None, one
            assert found == trained_by(f"{network}.{one.name}")


def test_what_is_known_has_a_source() -> None:
    for one in trainings():
        known = [name for name, value in one if value is not None and name not in ("names", "source", "beyond")]
        assert bool(known) == (one.source is not None), one.names


def test_what_is_known_is_said_and_what_is_not_too() -> None:
    found = trained_by("hf-hub:timm/resnet50.a1_in1k")
    assert found == trained_by("resnet50.a1_in1k")
    assert found is not None
    lines = found.lines()
    assert "trained: epochs         600" in lines
    assert "trained: loss           binary cross-entropy, label smoothing 0.1" in lines
    assert f"trained: averaging      {UNKNOWN}" in lines
    assert any(line.startswith("trained: source") and "2110.00476" in line for line in lines)
    unknown = trained_by("resnet50c.gluon_in1k")
    assert unknown is not None
    assert unknown.lines() == ["trained         not published here: no public source of how was found"]


@pytest.mark.parametrize("name", ["runs/photos-1", "last.pth", "resnet50", "a/resnet50.pth", ""])
def test_a_path_is_nobodys(name: str) -> None:
    assert trained_by(name) is None


@pytest.mark.medium
def test_it_is_said_where_the_weights_cannot_be_fetched(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from deepres.nn.weights import hub

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(hub.torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(hub.torch.hub, "download_url_to_file", unreachable)
    assert run(["weights", "inspect", "ResNet50_Weights.IMAGENET1K_V2"]) == 2
    said = capsys.readouterr()
    assert "trained: epochs         600\n" in said.out
    assert "cannot be fetched (no network)" in said.err
