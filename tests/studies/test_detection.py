"""The studies of detectors, from the pictures to the report: drawn ones, and VOC cut down to a hundred."""

import json
from pathlib import Path
from typing import Any

import pytest

from deepres.cli import main
from deepres.studies.plan import cells, distinct
from deepres.studies.study import studies
from small_detector import EDITS, drawn

SMALL = (
    *EDITS,
    "train.turns.proposals.batch_size=2",
    "train.turns.regions.batch_size=2",
    "train.schedule.lr=0.0005",
)
"""A detector that two steps teach nothing, in seconds."""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "VOC2007"
    return drawn(folder, 6, 6, 4)


def _reproduce(*words: object, code: int = 0) -> None:
    small = [word for edit in SMALL for word in ("--set", edit)]
    assert main.run(["reproduce", *map(str, words), "--scale", "short", *small, "--device", "cpu"]) == code


def _report(folder: Path) -> dict[str, Any]:
    (only,) = folder.glob("reports/*/report.json")
    found: dict[str, Any] = json.loads(only.read_text())
    return found


@pytest.mark.long
def test_each_improvement_is_set_beside_the_one_before_it(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("resnet/table9", "--data", f"coco={shapes}", "--output", tmp_path, "--share", 2 / 320_000)
    _reproduce(*words)
    told = capsys.readouterr().out
    facts = _report(tmp_path)
    assert [run["done"] for run in facts["runs"]] == [8, 8], "two networks, asked in four ways"
    found = {(one["row"], one["column"]): one for one in facts["outcome"]["found"]}
    ours = ("baseline Faster R-CNN (ResNet-101)", "+box refinement", "+context", "+multi-scale testing")
    assert all(found[row, column]["verdict"] == "shown" for row in ours for column in ("val50", "valall"))
    assert all(len(found[row, "val50"]["values"]) == 1 for row in ours)
    lacking = found["ensemble (3 networks)", "td50"]
    assert (lacking["verdict"], lacking["reason"].partition(" lie")[0]) == ("not run", "the labels of COCO's test-dev")
    claims = facts["outcome"]["claims"]
    assert len(claims) == 6
    assert all(held["better"] is not None and held["worse"] is not None for held in claims)
    for held in claims:
        order = f"{held['claim']['better']} above {held['claim']['worse']}"
        said = "holds" if held["better"] > held["worse"] else "DOES NOT HOLD"
        assert f"{held['title']}, {order}: {said}" in told
    before = {path: path.read_bytes() for path in tmp_path.glob("short/*/test*.json")}
    assert len(before) == 5, "one look of both, refinement of both, several sizes of one"
    _reproduce(*words)
    assert {path: path.read_bytes() for path in tmp_path.glob("short/*/test*.json")} == before


@pytest.mark.long
def test_what_begins_with_another_run_is_trained_after_it_and_each_class_is_judged(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    share = 2 / 320_000
    words = ("resnet/table10", "--data", f"voc={shapes}", "--output", tmp_path, "--share", share)
    _reproduce(*words, "--only", "baseline+++ ResNet-101 (COCO+07+12)", code=2)
    assert "coco is not here; name the folder with train2014" in capsys.readouterr().err
    _reproduce(*words, "--data", f"coco={shapes}")
    facts = _report(tmp_path)
    assert len(facts["runs"]) == 2
    begun = [json.loads((path / "stage-1" / "run.json").read_text()) for path in (tmp_path / "short").iterdir()]
    (last,) = (run for run in begun if run["weights"])
    assert last["model"]["context"]
    assert last["statistics"] == "weights"
    assert "-coco-" in Path(last["weights"]).name
    found = {(one["row"], one["column"]): one for one in facts["outcome"]["found"]}
    assert len(found) == 42
    assert found["baseline ResNet-101 (07+12)", "map"]["values"]
    assert not found["baseline ResNet-101 (07+12)", "aero"]["values"], "no aeroplane among the shapes"


@pytest.mark.long
def test_an_ensemble_answers_together_and_is_one_figure(shapes: Path, tmp_path: Path) -> None:
    _reproduce("resnet/table12", "--data", f"det={shapes}", "--output", tmp_path, "--share", 1 / 320_000)
    facts = _report(tmp_path)
    assert [run["seed"] for run in facts["runs"]] == [0, 1, 2]
    found = {(one["row"], one["column"]): one for one in facts["outcome"]["found"]}
    together = found["ensemble (3 models)", "val2"]
    assert (len(together["values"]), together["wanted"]) == (1, 3)
    (measured,) = (tmp_path / "short" / "together").iterdir()
    result = json.loads(measured.read_text())
    assert len(result["provenance"]["members"]) == 3
    assert together["values"][0] == pytest.approx(100 * result["ap"])
    assert facts["outcome"]["claims"][0]["better"] == together["values"][0]


@pytest.mark.long
def test_table_7_goes_from_a_hundred_pictures_of_voc_to_its_verdict(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = shared / "data" / "detection" / "voc2007_100" / "data" / "database"
    if not given.is_dir():
        pytest.skip(f"no hundred pictures of VOC at {given}")
    voc = tmp_path / "VOCdevkit" / "VOC2007"
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    (voc / "JPEGImages").symlink_to(given / "images")
    (voc / "Annotations").symlink_to(given / "gts" / "pascalvoc_format")
    names = sorted(path.stem for path in (given / "images").iterdir())
    for split, some in {"train": names[:30], "val": names[30:60], "trainval": names[:60], "test": names[60:]}.items():
        (voc / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(some))
    words = ("resnet/table7", "--data", f"voc={voc.parent}", "--output", tmp_path / "out", "--share", 2 / 80_000)
    _reproduce(*words)
    told = capsys.readouterr().out
    assert "resnet/table7 (short: 0.0025 % of the steps; order and sign only): 2 figures: 1 shown, 1 not run" in told
    facts = _report(tmp_path / "out")
    assert facts["runs"][0]["done"] == 8
    ours = next(one for one in facts["outcome"]["found"] if one["column"] == "07")
    assert len(ours["values"]) == 1
    assert ours["sampling"] is not None
    (run,) = (tmp_path / "out" / "short").iterdir()
    result = json.loads((run / "test.json").read_text())
    assert (result["measure"], result["num_images"], len(result["classes"])) == ("voc07", 40, 20)
    origin = json.loads((run / "data.json").read_text())
    assert (origin["train"]["images"], origin["val"]["images"]) == (50, 10), (
        "val is learnt too, and some of each class held out"
    )
    page = next((tmp_path / "out").glob("reports/*/report.html")).read_text()
    assert "the higher, the better" in page


def test_the_runs_are_the_papers_and_priced_without_pictures() -> None:
    steps = {
        number: [job.steps for job in distinct(cells(studies()[f"resnet/table{number}"], "full"))]
        for number in (7, 8, 9, 10, 12)
    }
    assert steps == {
        7: [280_000],
        8: [1_280_000],
        9: [1_280_000] * 2,
        10: [280_000, 1_280_000, 280_000],
        12: [1_280_000] * 3,
    }
    of_seven, of_nine = (cells(studies()[f"resnet/table{number}"], "full") for number in (7, 9))
    assert [cell.protocol for cell in of_nine if cell.column.name == "val50"] == [
        "center", "boxes:refine", "boxes:refine", "boxes:refine+scales=200,400,600,800,1000",
    ]  # fmt: skip
    assert [bool(cell.jobs) for cell in of_seven] == [True, False]
    assert all(job.macs > 1e17 for job in distinct(of_seven))


def test_what_runs_begin_with_is_named_or_asked_for(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, told in (
        (("resnet/table7", "--data", shapes), "begin with a ResNet-101 trained on ImageNet"),
        (("resnet/table6", "--data", shapes, "--weights", "x.pth"), "--weights x.pth: the runs of resnet/table6 begin"),
        (("resnet/table11",), "cannot be run: the labels of VOC 2012's test pictures lie on its server"),
    ):
        assert main.run(["reproduce", *map(str, words), "--output", str(tmp_path), "--device", "cpu"]) == 2
        err = capsys.readouterr().err
        assert told in err
        assert err.count("\n") == 1


def test_a_dry_run_needs_no_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.run(["reproduce", "resnet/table7", "--dry-run", "--device", "cpu"]) == 0
    told = capsys.readouterr()
    assert "280,000" in told.out
    assert "voc is not here; name the folder that holds VOC2007 and VOC2012" in told.err
