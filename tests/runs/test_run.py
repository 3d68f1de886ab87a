"""A trained network taken apart through the front door: the folder, the page, what is not done twice."""

import json
from pathlib import Path

import pytest
import torch

from deepres.base.errors import InputError
from deepres.data.facts import facts_of
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.nn.weights.spec import WeightsSpec
from deepres.recipes.by_name import recipe
from deepres.recipes.run import smoke
from deepres.runs.analysis.run import ANALYSES, WHEN_NAMED, AnalysisTarget, examine
from deepres.runs.analysis.units import AnalysisConfig
from deepres.runs.session import Session
from deepres.runs.train import start

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SMALL = AnalysisConfig(images=24, draws=1, gradient_batches=1, batch_size=12)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    start(
        smoke(recipe(None, facts_of(open_source(DataConfig(source="digits"))), None)),
        Session(folder, CPU),
    )
    return folder


def _examine(
    run: Path, kinds: tuple[str, ...], output: Path | None = None, settings: AnalysisConfig = SMALL
) -> tuple[Path, dict[str, list[str]], list[str]]:
    asked: list[str] = []
    folder, found = examine(
        AnalysisTarget(WeightsSpec(str(run))),
        kinds,
        output,
        settings,
        device=CPU,
        command="test",
        on_progress=lambda what, done, total: asked.append(what),
    )
    return folder, found, asked


@pytest.mark.long
def test_without_a_word_all_that_fits_is_written_and_shown(run: Path) -> None:
    folder, found, _ = _examine(run, ())
    assert folder == run / "analysis"
    assert set(found) == set(ANALYSES) - set(WHEN_NAMED)
    assert found.pop("reuse")[0].startswith("left out: resnet20_cifar: ")  # no dense blocks in a ResNet
    assert any(
        line.startswith("maps are compared under shifts of up to 2 px only: stage3") for line in found["equivariance"]
    )  # 16 px images
    page = (folder / "report.html").read_text()
    for kind, lines in found.items():
        facts = json.loads((folder / f"{kind}.json").read_text())
        assert facts["found"] == lines
        assert facts["title"] in page
        for name in facts["plots"]:
            assert (folder / f"{kind}_{name}.png").read_bytes().startswith(b"\x89PNG")
            assert (folder / f"{kind}_{name}.svg").read_text().startswith("<svg ")


def test_what_stands_there_is_not_done_again_and_repeats_to_the_bit(run: Path, tmp_path: Path) -> None:
    _, found, asked = _examine(run, ("paths",), tmp_path / "a")
    assert asked
    first = (tmp_path / "a" / "paths.json").read_bytes()
    _, again, asked = _examine(run, ("paths",), tmp_path / "a")
    assert (again, asked) == (found, [])
    _examine(run, ("paths",), tmp_path / "b")
    assert (tmp_path / "b" / "paths.json").read_bytes() == first
    assert (tmp_path / "b" / "paths_lengths.svg").read_bytes() == (tmp_path / "a" / "paths_lengths.svg").read_bytes()
    _, _, asked = _examine(run, ("paths",), tmp_path / "a", SMALL.replace(seed=1))
    assert asked


def test_a_page_shows_what_is_of_the_same_weights_and_says_what_is_left_out(run: Path, tmp_path: Path) -> None:
    _examine(run, ("paths",), tmp_path)
    _examine(run, ("responses",), tmp_path, SMALL.replace(images=12))
    page = (tmp_path / "report.html").read_text()
    assert "Paths by length" in page
    assert "12 images at most" in page
    facts = json.loads((tmp_path / "paths.json").read_text())
    facts["of"][2] = "other weights"
    (tmp_path / "paths.json").write_text(json.dumps(facts))
    _examine(run, ("responses",), tmp_path, SMALL.replace(images=12))
    assert "Paths by length" not in (tmp_path / "report.html").read_text()


def test_a_class_asked_for_does_not_change_what_is_no_map(run: Path, tmp_path: Path) -> None:
    _examine(run, ("paths",), tmp_path)
    _, _, asked = _examine(run, ("paths", "cam"), tmp_path, SMALL.replace(label="3", layer="stage2"))
    assert set(asked) == {"cam"}
    assert json.loads((tmp_path / "cam.json").read_text())["numbers"]["shown"]["layer"] == "stage2"


def test_names_that_do_not_exist_are_refused_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    for settings, message in (
        (SMALL.replace(label="sevn"), "class 'sevn': unknown; the nearest are"),
        (SMALL.replace(label="10"), "class 10: unknown; there are 10, the nearest is 9"),
        (SMALL.replace(layer="stage2.unti3"), r"part 'stage2.unti3': unknown; did you mean stage2.unit3"),
    ):
        with pytest.raises(InputError, match=message):
            _examine(run, ("cam",), tmp_path / "new", settings)
    with pytest.raises(InputError, match="--class, --layer, --cam with paths: only cam uses them; add cam"):
        _examine(run, ("paths",), tmp_path / "new", SMALL.replace(label="3"))
    assert not (tmp_path / "new").exists()


def test_an_analysis_that_does_not_fit_or_does_not_exist_is_one_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"analysis 'lesoin': unknown; did you mean lesion"):
        _examine(run, ("lesoin",), tmp_path)
    with pytest.raises(InputError) as caught:
        _examine(run, ("reuse",), tmp_path)
    assert "\n" not in str(caught.value)
    assert "dense" in str(caught.value)


def test_the_loss_around_the_weights_is_written_where_it_is_named(run: Path, tmp_path: Path) -> None:
    settings = SMALL.replace(draws=2, points=3)
    folder, found, asked = _examine(run, ("surface",), tmp_path / "out", settings)
    assert found["surface"][0].startswith("24 images, seed 0, on cpu: 2 directions, 3 points along each; ")
    written = json.loads((folder / "surface.json").read_text())
    surface = written["numbers"]["surface"]
    assert (surface["num_images"], surface["seed"], surface["norm_statistics"]) == (24, 0, "kept")
    assert {path.name for path in folder.glob("surface_*")} == {
        f"surface_{plot}.{suffix}" for plot in ("plane", "slices") for suffix in ("png", "svg")
    }
    assert "The loss around the weights" in (folder / "report.html").read_text()
    assert len(asked) == 9 * 2
    assert _examine(run, ("surface",), tmp_path / "out", settings)[2] == []  # not done again
    with pytest.raises(InputError, match="--points with lesion: only surface uses them; add surface to the analyses"):
        _examine(run, ("lesion",), tmp_path / "no", settings)
    with pytest.raises(InputError, match="surface: 4 points along a direction; wanted an odd number"):
        _examine(run, ("surface",), tmp_path / "no", SMALL.replace(points=4))
    assert not (tmp_path / "no").exists()


def test_pixels_are_attributed_where_it_is_named(run: Path, tmp_path: Path) -> None:
    folder, found, _ = _examine(run, ("pixels",), tmp_path / "out", SMALL.replace(label="3"))
    assert "8 images, " in found["pixels"][0]
    shown = json.loads((folder / "pixels.json").read_text())["numbers"]["shown"]
    assert shown["label"] == ["3"] * 8
    for difference, total, gap in zip(shown["difference"], shown["total"], shown["gap"], strict=True):
        assert abs(total - difference) == pytest.approx(gap * abs(difference), rel=1e-6)
    assert (folder / "pixels_maps.png").is_file()
    with pytest.raises(InputError, match="--class, --layer, --cam with pixels: only cam uses them"):
        _examine(run, ("pixels",), tmp_path / "no", SMALL.replace(layer="stage1"))
