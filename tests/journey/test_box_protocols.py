"""Improvements at test time as commands: spelled in results, compared with their like only, several runs as one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import deepres
from deepres.base.errors import InputError
from deepres.tasks.detection.detector import DetectorNetwork
from small_detector import TINY, draw

Say = Callable[..., str]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "shapes"
    draw(folder, range(20), seed=0)
    for split, numbers in {"train": range(10), "val": range(10, 14), "test": range(14, 20)}.items():
        (folder / "ImageSets/Main" / f"{split}.txt").write_text("".join(f"{number:03}\n" for number in numbers))
    return folder


@pytest.fixture(scope="module")
def runs(source: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("runs")
    every = []
    for seed, resize in ((0, 48), (1, 40)):
        settings = TINY | {"seed": seed, "preparation.resize": resize}
        every.append(deepres.train(source, home / str(seed), epochs=1, settings=settings, device="cpu", progress=False))
    return [Path(run) for run in every]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "spelled"),
    [
        pytest.param("boxes:refine", "boxes:refine", marks=pytest.mark.long),
        pytest.param("boxes:flip", "boxes:flip", marks=pytest.mark.long),
        pytest.param("boxes:scales=64,32,48", "boxes:scales=32,48,64", marks=pytest.mark.long),
        ("boxes:scales=32,64+refine+flip", "boxes:refine+flip+scales=32,64"),
    ],
)
def test_a_protocol_is_measured_spelled_and_shown(
    said: Say, runs: list[Path], asked: str, spelled: str, tmp_path: Path
) -> None:
    report, predictions = tmp_path / "report.html", tmp_path / "answers.npz"
    words = ("eval", runs[0], "--protocol", asked, "--device", "cpu", "--json")
    told = json.loads(said(*words, "--report", report, "--predictions", predictions))
    plain = json.loads((runs[0] / "test.json").read_text())
    assert (told["protocol"], plain["protocol"]) == (spelled, "center")
    assert spelled in report.read_text()
    assert told["num_found"] > 0
    assert told["ap"] != plain["ap"] or told["num_found"] != plain["num_found"]
    assert told["shown"].startswith("the whole image, short side 48, long side 64 at most; ")
    refused = said("compare", runs[0], predictions, code=2)
    assert f"by protocol center, answers by {spelled}" in refused
    assert "AP" in said("compare", runs[0], predictions, "--force")
    assert f"protocol {spelled}" in said(*words[:-1])


@pytest.mark.slow
def test_one_scale_is_the_plain_answer_picture_by_picture(said: Say, runs: list[Path], tmp_path: Path) -> None:
    for name, protocol in (("plain", "center"), ("scaled", "boxes:scales=48")):
        words = ("--protocol", protocol, "--predictions", tmp_path / f"{name}.npz", "--device", "cpu")
        said("eval", runs[0], *words)
    one, other = (np.load(tmp_path / f"{name}.npz") for name in ("plain", "scaled"))
    for column in ("box_image", "box_classes", "box_corners", "box_scores"):
        np.testing.assert_allclose(one[column], other[column], atol=1e-4, err_msg=column)


@pytest.mark.slow
def test_several_runs_are_one_detector(said: Say, runs: list[Path], source: Path) -> None:
    """Each is shown pictures as it was trained on them, here of short sides of 48 and 40 px."""
    told = json.loads(said("eval", *runs, source, "--protocol", "boxes:refine", "--device", "cpu", "--json"))
    assert told["provenance"]["model"].startswith("ensemble of ")
    assert len(told["provenance"]["members"]) == 2
    assert told["num_images"] == 6
    text = said("eval", *runs, "--device", "cpu")
    assert text.count("member ") == 2
    result = deepres.evaluate(runs, source, protocol="center", device="cpu", progress=False)
    assert 0 <= result.ap <= 1
    refused = said("eval", *runs, source, "--select", "val", "--device", "cpu", code=2)
    assert "--select is for" in refused
    assert "ten-crop: for pictures of one answer" in said("eval", runs[0], "--protocol", "ten-crop", code=2)


@pytest.mark.slow
def test_context_is_trained_loaded_and_measured(said: Say, source: Path, tmp_path: Path) -> None:
    settings = TINY | {"model.context": True}
    run = deepres.train(source, tmp_path / "run", epochs=1, settings=settings, device="cpu", progress=False)
    network = deepres.load(run)
    assert isinstance(network, DetectorNetwork)
    assert network.description.context
    assert network.regions.get_parameter("classes.weight").shape == (3, 32)
    result = run.result
    assert result is not None
    again = json.loads(said("eval", run.folder, "--device", "cpu", "--json"))
    assert again["ap"] == pytest.approx(result.ap, abs=1e-9)
    said("eval", run.folder, "--protocol", "boxes:refine+flip+scales=32,64", "--device", "cpu")
    refused = said("weights", "convert", run.folder, tmp_path / "out.pth", "--names", "torchvision", code=2)
    assert "looks at the whole picture beside each region" in refused
    plain = deepres.train(source, tmp_path / "b", epochs=1, settings=TINY, device="cpu", progress=False)
    with pytest.raises(InputError, match="context"):
        deepres.train(
            source,
            tmp_path / "c",
            epochs=1,
            weights=plain,
            settings={"model.context": True},
            device="cpu",
            progress=False,
        )


@pytest.mark.parametrize("recipe", ["voc_2015", "coco_2015", "det_2015"])
@pytest.mark.long
def test_a_papers_recipe_runs_from_pictures_to_its_measure(
    said: Say, source: Path, tmp_path: Path, recipe: str
) -> None:
    small = {name: value for name, value in TINY.items() if "backbone" in name or name.startswith("preparation")}
    small |= {
        "train.turns.proposals.iterations": 1,
        "train.turns.regions.iterations": 1,
        "model.anchors.sizes": "12,24,48",
        "model.proposals.after_train": 16,
        "model.proposals.after_test": 16,
        "model.regions.pool": 4,
        "model.regions.score_above": 0,
        "augmentation.scale": "40,48",
        "data.workers": 0,
    }
    words = [word for name, value in small.items() for word in ("--set", f"{name}={value}")]
    said("train", source, "--recipe", recipe, "--output", tmp_path / "run", "--device", "cpu", *words)
    result = json.loads((tmp_path / "run" / "test.json").read_text())
    assert result["measure"] == {"voc_2015": "voc07", "coco_2015": "coco", "det_2015": "voc"}[recipe]
    assert 0 <= result["ap"] <= 1
