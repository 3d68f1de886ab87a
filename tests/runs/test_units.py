"""What an interrupted analysis keeps, whose names classes have, which variants are followed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepres.arch.catalogue.lookup import entry
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.variants import ORDERS, SHORTCUTS
from deepres.base.records import Record, load
from deepres.data.images import ArrayImages
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import measure_statistics
from deepres.nn.create import create_model
from deepres.predict.predictor import Predictor
from deepres.runs.analysis.images import shifted_and_resized, where_it_looks
from deepres.runs.analysis.signal import signal_and_gradient, variants_of
from deepres.runs.analysis.units import AnalysisConfig, AnalysisSubject, units_left_out

CPU = torch.device("cpu")
TINY = ResNetConfig(
    name="tiny",
    input=(3, 16, 16),
    num_classes=3,
    stem="cifar",
    stem_width=4,
    depths=(2, 2),
    widths=(4, 8),
    shortcut="A",
)


class Number(Record):
    value: int


def _subject(folder: Path, settings: AnalysisConfig | None = None, key: str = "key") -> AnalysisSubject:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (9, 3, 16, 16), dtype=torch.uint8, generator=draw)
    images = ArrayImages(pixels, torch.arange(9) % 3, ("ant", "bee", "cat"), "noise")
    preparation = Preparation()
    predictor = Predictor(
        create_model(TINY.architecture()).eval(),
        ("class 0", "class 1", "class 2"),
        preparation,
        measure_statistics(images, preparation),
        CPU,
        unnamed=True,
    )
    chosen = settings or AnalysisConfig(images=9, draws=1, batch_size=5)
    return AnalysisSubject(predictor, images, chosen, {}, folder, key, TINY)


def _told(done: int, total: int) -> None:
    assert 0 <= done <= total


def test_what_is_made_once_is_not_made_again_unless_something_else_is_asked(tmp_path: Path) -> None:
    made = []

    def make() -> Number:
        made.append(1)
        return Number(value=len(made))

    subject = _subject(tmp_path)
    assert [subject.once("n", Number, make).value for _ in range(3)] == [1, 1, 1]
    assert replace(subject, key="other").once("n", Number, make).value == 2
    subject.part("n").write_text("{ half a fi")
    assert subject.once("n", Number, make).value == 3


@pytest.mark.medium
def test_an_interrupted_analysis_keeps_its_finished_parts(tmp_path: Path) -> None:
    subject = _subject(tmp_path)
    calls = []

    def interrupted(done: int, total: int) -> None:
        calls.append(total)
        if total != calls[0]:  # the second part has begun
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        units_left_out(subject, interrupted)
    assert subject.part("lesion_each").is_file()
    again: list[int] = []
    section = units_left_out(subject, lambda done, total: again.append(total))
    assert calls[0] not in again
    (tmp_path / "fresh").mkdir()
    fresh = units_left_out(_subject(tmp_path / "fresh"), _told)
    assert section.numbers == fresh.numbers


@pytest.mark.medium
def test_the_ranking_is_a_record_of_its_own(tmp_path: Path) -> None:
    section = units_left_out(_subject(tmp_path), _told)
    ranking = section.files["ranking"]
    ranking.save(tmp_path / "r.json")
    assert load(type(ranking), tmp_path / "r.json", "ranking") == ranking


@pytest.mark.medium
def test_classes_without_names_have_those_of_the_images(tmp_path: Path) -> None:
    assert _subject(tmp_path).classes == ("ant", "bee", "cat")
    section = where_it_looks(_subject(tmp_path, AnalysisConfig(images=9, label="bee")), _told)
    assert set(section.numbers["shown"].label) == {"bee"}  # type: ignore[attr-defined]


@pytest.mark.medium
def test_a_layer_is_shown_by_grad_cam(tmp_path: Path) -> None:
    section = where_it_looks(_subject(tmp_path, AnalysisConfig(images=9, layer="stage1")), _told)
    shown = section.numbers["shown"]
    assert (shown.method, shown.layer) == ("grad-cam", "stage1")  # type: ignore[attr-defined]
    assert section.found[0] == "Grad-CAM of stage1 of the class answered, 8 images"


@pytest.mark.medium
def test_images_that_are_taken_as_they_are_are_not_resized_and_it_is_said(tmp_path: Path) -> None:
    found = shifted_and_resized(_subject(tmp_path), _told).found
    assert any(line.startswith("ways of resizing are not compared: resizing: preparation.fit None") for line in found)
    assert "this network subsamples without low-pass filters" in found


@pytest.mark.slow
def test_every_shortcut_and_order_is_followed(tmp_path: Path) -> None:
    section = signal_and_gradient(_subject(tmp_path), _told)
    assert section.numbers["shortcuts"].variants == (*SHORTCUTS, "1x1 convolution")  # type: ignore[attr-defined]
    assert section.numbers["orders"].variants == tuple(ORDERS)  # type: ignore[attr-defined]
    assert "tiny at initialisation, 4 units deep" in section.about


@pytest.mark.parametrize("name", ["resnet50", "densenet40_k12_cifar", "plain20_cifar"])
def test_what_is_no_cifar_resnet_is_stood_in_for_by_the_papers_network(tmp_path: Path, name: str) -> None:
    subject = replace(_subject(tmp_path), config=entry(name).config)
    assert variants_of(subject) == entry("resnet110_cifar").config
    assert variants_of(replace(subject, config=None)) == entry("resnet110_cifar").config


def test_a_cifar_resnets_variants_have_its_depth_and_the_tables_style(tmp_path: Path) -> None:
    config = entry("preresnet110_cifar").config
    found = variants_of(replace(_subject(tmp_path), config=config.replace(active_units=23)))
    assert (found.depths, found.style.order, found.active_units) == ((18, 18, 18), "original", None)
