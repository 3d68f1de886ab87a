"""Pictures with masks from the disk to the answer: trained as they are, predicted, drawn, written, served, refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as theirs

import deepres
from deepres.cli.main import run as deepres_command
from deepres.recipes.run import load_run
from small_detector import TINY

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
Say = Callable[..., str]
SIZE = (48, 64)
EDITS = [f"{name}={value}" for name, value in (TINY | {"data.test_fraction": 0.25}).items()]


def draw(folder: Path, number: int = 16) -> Path:
    """Rhombs and squares of two colours, as COCO's polygons: images/, instances.json."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for place in range(number):
        pixels = np.full((*SIZE, 3), 90, np.uint8) + rng.integers(0, 20, (*SIZE, 1), dtype=np.uint8)
        for which in range(2):
            side = int(rng.integers(12, 24))
            left, top = int(rng.integers(0, SIZE[1] - side)), int(rng.integers(0, SIZE[0] - side))
            square = [(0, 0), (side, 0), (side, side), (0, side)]
            rhomb = [(side / 2, 0), (side, side / 2), (side / 2, side), (0, side / 2)]
            points = [(left + x, top + y) for x, y in (rhomb if which else square)]
            polygon = [float(value) for point in points for value in point]
            inside = theirs.decode(theirs.merge(theirs.frPyObjects([polygon], *SIZE))).astype(bool)
            pixels[inside] = (250, 40, 40) if which else (40, 40, 250)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": place,
                    "category_id": which + 1,
                    "bbox": [left, top, side, side],
                    "area": float(inside.sum()),
                    "iscrowd": 0,
                    "segmentation": [polygon],
                }
            )
        Image.fromarray(pixels).save(folder / "images" / f"{place}.png")
        images.append({"id": place, "file_name": f"{place}.png", "width": SIZE[1], "height": SIZE[0]})
    categories = [{"id": 1, "name": "square"}, {"id": 2, "name": "rhomb"}]
    facts = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("outlined") / "shapes")


@pytest.fixture(scope="module")
def trained(source: Path, tmp_path_factory: pytest.TempPathFactory) -> deepres.RunResult:
    output = tmp_path_factory.mktemp("runs") / "masks"
    settings = TINY | {"data.test_fraction": 0.25}
    return deepres.train(source, output, epochs=1, settings=settings, device="cpu", progress=False)


@pytest.mark.medium
def test_a_source_with_masks_is_learnt_with_them(trained: deepres.RunResult) -> None:
    run = load_run(Path(trained))
    assert (run.recipe, run.model.name, run.task.measure) == ("masks", "maskrcnn_resnet18_fpn_small", "masks")  # type: ignore[union-attr]
    assert run.model.masks.widths == (64, 64)  # type: ignore[union-attr]
    assert trained.result is not None
    assert trained.result.headline.name == "mask AP"
    assert any("or more, at an overlap of masks of 0.5: " in line for line in trained.result.lines())
    history = [json.loads(line) for line in (Path(trained) / "history.jsonl").read_text().splitlines()]
    assert all(row["train_masks"] > 0 for row in history)
    worst = [one for each in (trained.result.most_missed, trained.result.most_false) for one in each]  # type: ignore[attr-defined]
    masks = [outline.mask for one in worst for outline in one.outlines]
    assert masks
    assert all(mask.size == SIZE and theirs.decode(mask.model_dump()).shape == SIZE for mask in masks)
    assert "Masks lie on the picture" in (Path(trained) / "report.html").read_text()


@pytest.mark.medium
def test_answers_carry_masks_that_pycocotools_decodes(
    said: Say, trained: deepres.RunResult, source: Path, tmp_path: Path
) -> None:
    pictures = [source / "images" / f"{number}.png" for number in (0, 1)]
    asked = ("predict", trained.folder, *pictures, "--above", 0, "--device", "cpu", "--json")
    lines = said(*asked, "--show", tmp_path / "shown", "--format", "coco", "--output", tmp_path / "coco").splitlines()
    answers = [json.loads(line) for line in lines]
    boxes = [box for answer in answers for box in answer["boxes"]]
    assert len(boxes) > 5
    for box in boxes:
        pixels = theirs.decode(box["segmentation"])
        assert pixels.shape == SIZE
        x1, y1, x2, y2 = box["corners"]
        outside = pixels.copy()
        outside[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = 0
        assert not outside.any()
    assert any(theirs.area(box["segmentation"]) for box in boxes)
    written = json.loads((tmp_path / "coco" / "results.json").read_text())
    assert [one["segmentation"] for one in written] == [box["segmentation"] for box in boxes]
    assert len(list((tmp_path / "shown").iterdir())) == 2
    plain = said("predict", trained.folder, pictures[0], "--above", 0, "--device", "cpu")
    assert "counts" not in plain
    own = deepres.Predictor.load(trained.folder, "cpu")
    found = replace(own, task=own.task.replace(above=0.0))(pictures[0]).model_dump(mode="json")
    assert [one["segmentation"] for one in found["boxes"]] == [one["segmentation"] for one in answers[0]["boxes"]]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "task detection, network maskrcnn_resnet18_fpn_small"),
        (("--task", "detection"), "recipe masks"),
        (("--recipe", "boxes"), "have masks, and fasterrcnn_resnet18_fpn_small learns boxes alone; --recipe masks"),
        (("--recipe", "boxes", "--set", "task.measure=masks"), "finds boxes alone; take --recipe masks, or another"),
        (("--set", "data.masks=off"), "chosen to suit: recipe boxes"),
        (("--set", "task.measure=voc"), "recipe masks"),
    ],
)
def test_what_is_learnt_is_said_and_asked_for(
    capsys: pytest.CaptureFixture[str], source: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    edits = [word for edit in EDITS for word in ("--set", edit)]
    steps = ("--set", "train.epochs=none", "--set", "train.iterations=1")
    output = ("--output", str(tmp_path / "run"), "--device", "cpu")
    code = deepres_command(["train", str(source), *words, *edits, *steps, *output])
    found = capsys.readouterr().err
    assert code == (2 if "task.measure=masks" in words else 0), found
    assert told in found
    if "task.measure=voc" in words:
        assert load_run(tmp_path / "run").task.measure == "voc"  # type: ignore[union-attr]


@pytest.mark.medium
def test_recipe_boxes_leaves_the_masks_of_its_weights_behind_and_recipe_masks_keeps_them(
    capsys: pytest.CaptureFixture[str], trained: deepres.RunResult, source: Path, tmp_path: Path
) -> None:
    steps = ["--set", "train.epochs=none", "--set", "train.iterations=1", "--device", "cpu"]
    for recipe, name in (("boxes", "fasterrcnn_resnet18_fpn_small"), ("masks", "maskrcnn_resnet18_fpn_small")):
        output = tmp_path / recipe
        words = ["--recipe", recipe, "--weights", str(trained.folder), "--output", str(output)]
        assert deepres_command(["train", str(source), *words, *steps]) == 0
        told = capsys.readouterr().err
        model = load_run(output).model
        assert model.name == name
        assert model.masks == (None if recipe == "boxes" else load_run(Path(trained)).model.masks)  # type: ignore[union-attr]
        assert ("what draws masks in" in told) == (recipe == "boxes")
        assert (f"have masks, and {name} learns boxes alone; --recipe masks learns both" in told) == (recipe == "boxes")


@pytest.mark.medium
def test_export_says_what_to_do_instead(said: Say, trained: deepres.RunResult, tmp_path: Path) -> None:
    told = said(
        "export",
        trained.folder,
        "--format",
        "onnx",
        "--input",
        "fitted",
        "--no-check",
        "--output",
        tmp_path / "out",
        code=2,
    )
    assert "draws masks, and exported files answer boxes alone; serve the run, or train one with --recipe boxes" in told


@pytest.mark.medium
def test_a_run_does_not_go_on_with_other_outlines(said: Say, tmp_path: Path) -> None:
    source, run = draw(tmp_path / "shapes"), tmp_path / "run"
    edits = [word for edit in EDITS for word in ("--set", edit)]
    steps = ["--set", "train.epochs=none", "--set"]
    said("train", source, *edits, *steps, "train.iterations=1", "--output", run, "--device", "cpu")
    more = ("train", "--resume", run, *steps, "train.iterations=2", "--device", "cpu")
    whole = (source / "instances.json").read_text()
    facts = json.loads(whole)
    for annotation in facts["annotations"]:
        annotation["segmentation"][0][0] += 0.25
    (source / "instances.json").write_text(json.dumps(facts))
    assert "the images are not those that the run" in said(*more, code=2)
    (source / "instances.json").write_text(whole)
    said(*more)
