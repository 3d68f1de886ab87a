"""Pictures with boxes from the disk to the answer: trained, resumed, measured, predicted, compared, refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import deepres
from deepres.base.errors import InputError
from deepres.cli.main import run as deepres_command
from deepres.nn.create import create_model
from deepres.runs.session import Session
from deepres.runs.train import resume
from deepres.runs.verify_resume import verify_resume
from deepres.tasks.detection.detector import DetectorNetwork
from deepres.tasks.detection.task import Detection
from processes import DEEPRES, ended_together
from small_detector import NAMES, TINY, draw


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "shapes"
    draw(folder, range(26), seed=0)
    for split, numbers in {"train": range(14), "val": range(14, 20), "test": range(20, 26)}.items():
        (folder / "ImageSets/Main" / f"{split}.txt").write_text("".join(f"{number:03}\n" for number in numbers))
    return folder


@pytest.fixture(scope="module")
def trained(source: Path, tmp_path_factory: pytest.TempPathFactory) -> deepres.RunResult:
    output = tmp_path_factory.mktemp("runs") / "boxes"
    return deepres.train(source, output, epochs=2, settings=TINY, device="cpu", progress=False)


Say = Callable[..., str]


@pytest.mark.medium
def test_a_run_on_boxes_is_a_run(trained: deepres.RunResult) -> None:
    """It has a result whose figure is the average precision, curves by term, a report, and weights that load."""
    result, folder = trained.result, Path(trained)
    assert result is not None
    assert result.headline.name == "AP"
    assert 0 <= result.ap_low <= result.ap <= result.ap_high <= 1
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    terms = ("objectness", "proposal_boxes", "classes", "region_boxes")
    assert all(row["train_loss"] == pytest.approx(sum(row[f"train_{term}"] for term in terms)) for row in history)
    assert [row["val_1-AP"] for row in history] == [pytest.approx(1 - row["val_AP"]) for row in history]
    assert "</html>" in (folder / "report.html").read_text()
    network = deepres.load(trained)
    assert isinstance(network, DetectorNetwork)
    assert network.num_classes == 2
    assert not network.training
    saved = load_file(folder / "model.safetensors")
    assert all(torch.equal(tensor, saved[name]) for name, tensor in network.state_dict().items())


@pytest.mark.slow
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(
    trained: deepres.RunResult, source: Path, tmp_path: Path
) -> None:
    first = deepres.train(
        source,
        tmp_path / "run",
        epochs=1,
        settings=TINY | {"train.schedule.kind": "constant"},
        device="cpu",
        progress=False,
    )
    resume(Session(Path(first), torch.device("cpu")), ["train.epochs=2"])
    whole = deepres.train(
        source,
        tmp_path / "whole",
        epochs=2,
        settings=TINY | {"train.schedule.kind": "constant"},
        device="cpu",
        progress=False,
    )
    one, other = (load_file(Path(run) / "model.safetensors") for run in (first, whole))
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.long
def test_two_processes_train_and_measure_as_one(said: Say, source: Path, tmp_path: Path) -> None:
    settings = TINY | {"train.accumulate": 2, "train.epochs": "none", "train.iterations": 8}
    asked = ["train", str(source), "--compile", "off", "--device", "cpu"]
    asked += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    said(*asked, "--output", tmp_path / "one")
    for code, _, errors in ended_together([*DEEPRES, *asked, "--output", str(tmp_path / "two")]):
        assert code == 0, errors
    histories = [(tmp_path / folder / "history.jsonl").read_text().splitlines() for folder in ("one", "two")]
    for mine, theirs in zip(*(map(json.loads, lines) for lines in histories), strict=True):
        for name in mine:
            if name.startswith(("train_", "val_")):
                assert mine[name] == pytest.approx(theirs[name], rel=1e-3), name
    one, two = (load_file(tmp_path / folder / "model.safetensors") for folder in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)


@pytest.mark.long
def test_a_killed_run_on_boxes_resumes_bitwise(source: Path, tmp_path: Path) -> None:
    settings = TINY | {"train.epochs": "none", "train.iterations": 60, "train.save_every_seconds": 0.05}
    words = tuple(word for name, value in settings.items() for word in ("--set", f"{name}={value}"))
    assert verify_resume(tmp_path, str(source), lambda _: None, words).equal


@pytest.mark.medium
def test_scores_do_not_depend_on_the_batches(trained: deepres.RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for batch in (1, 3, 8):
        monkeypatch.setattr("deepres.runs.evaluate.batch_size", lambda *_, batch=batch: batch)
        found.append(deepres.evaluate(trained, device="cpu", progress=False))
    assert len({round(result.ap, 5) for result in found}) == 1
    assert len({result.num_found for result in found}) == 1


@pytest.mark.medium
@pytest.mark.parametrize("measure", ["coco", "voc07", "voc"])
def test_eval_measures_as_it_is_asked(said: Say, trained: deepres.RunResult, measure: str, tmp_path: Path) -> None:
    words = ("eval", trained.folder, "--measure", measure, "--json", "--device", "cpu")
    report = tmp_path / "report.html"
    told = json.loads(said(*words, *(("--report", report) if measure == "voc07" else ())))
    assert told["measure"] == measure
    assert (told["ap75"] is None) == (measure != "coco")
    assert measure != "voc07" or "</html>" in report.read_text()


@pytest.mark.medium
def test_a_loss_that_is_lost_names_its_terms_the_step_and_the_pictures(source: Path, tmp_path: Path) -> None:
    settings = TINY | {"train.schedule.lr": 1e12, "train.clip_norm": "none"}
    wanted = r"step \d+: the loss is \S+ \(objectness \S+, .*classes \S+, .*\) at learning rate .*; pictures .*\.png"
    with pytest.raises(InputError, match=wanted):
        deepres.train(source, tmp_path / "run", epochs=2, settings=settings, device="cpu", progress=False)


@pytest.mark.medium
def test_many_pictures_are_answered_by_a_fast_network_and_nearly_alike(
    trained: deepres.RunResult, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [str(source / "JPEGImages" / f"{number:03}.png") for number in range(16)]
    words = ["predict", str(trained.folder), *pictures, "--above", "0", "--json", "--device", "cpu"]
    for precision in ("float32", "bfloat16"):
        assert deepres_command([*words, "--precision", precision]) == 0
        out, err = capsys.readouterr()
        assert f"{precision}, channels last, norms folded, on cpu" in err
        assert ("--precision float32 is exact" in err) == (precision == "bfloat16")
        first = json.loads(out.splitlines()[0])["boxes"][0]
        plain = deepres.Predictor.load(trained.folder, "cpu")
        shown = replace(plain, task=plain.task.replace(above=0.0))(pictures[0]).boxes[0]
        assert first["score"] == pytest.approx(shown.score, abs=1e-3 if precision == "float32" else 0.1)


@pytest.mark.medium
def test_predict_tells_boxes_and_draws_them(
    said: Say, trained: deepres.RunResult, source: Path, tmp_path: Path
) -> None:
    pictures = [source / "JPEGImages" / f"{number:03}.png" for number in (20, 21)]
    told = said("predict", trained.folder, *pictures, "--above", 0, "--show", tmp_path / "shown", "--device", "cpu")
    assert len(list((tmp_path / "shown").iterdir())) == 2
    assert any(name in told for name in NAMES)
    with Image.open(next((tmp_path / "shown").glob("021*"))) as drawn:
        assert drawn.size == (48, 64)
    answer = json.loads(said("predict", trained.folder, pictures[0], "--above", 0, "--json", "--device", "cpu"))
    for box in answer["boxes"]:
        x1, y1, x2, y2 = box["corners"]
        assert 0 <= x1 <= x2 <= 64
        assert 0 <= y1 <= y2 <= 48
    again = deepres.Predictor.load(trained.folder, "cpu")(pictures[0])
    assert "no box with a score of 0.5 or more" in again.line() or again.boxes


@pytest.mark.medium
@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_boxes_are_written_as_others_read_them(
    said: Say, trained: deepres.RunResult, source: Path, tmp_path: Path, kind: str
) -> None:
    pictures = [source / "JPEGImages" / f"{number:03}.png" for number in (20, 21)]
    asked = ("predict", trained.folder, *pictures, "--above", 0, "--json", "--device", "cpu")
    answers = [json.loads(line) for line in said(*asked, "--format", kind, "--output", tmp_path / kind).splitlines()]
    boxes = sum(len(answer["boxes"]) for answer in answers)
    assert boxes
    written = {
        path.relative_to(tmp_path / kind).as_posix(): path.read_text() for path in (tmp_path / kind).rglob("*.*")
    }
    if kind == "coco":
        facts = json.loads(written["instances.json"])
        assert len(facts["annotations"]) == boxes
        assert [one["file_name"] for one in facts["images"]] == ["020.png", "021.png"]
        first = facts["annotations"][0]["bbox"]
        x1, y1, x2, y2 = answers[0]["boxes"][0]["corners"]
        assert first == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-3)
    elif kind == "voc":
        assert sum(text.count("<object>") for text in written.values()) == boxes
    else:
        assert sum(text.count("\n") for name, text in written.items() if name.startswith("labels/")) == boxes
    assert "exists already" in said(*asked, "--format", kind, "--output", tmp_path / kind, code=2)
    assert "--format alone" in said(*asked, "--format", kind, code=2)


@pytest.mark.medium
def test_runs_on_boxes_are_compared_by_their_figure(
    said: Say, trained: deepres.RunResult, source: Path, tmp_path: Path
) -> None:
    other = deepres.train(source, tmp_path / "b", epochs=1, settings=TINY | {"seed": 1}, device="cpu", progress=False)
    told = said("compare", trained.folder, other.folder)
    assert "paired bootstrap p" in told
    said("eval", other.folder, "--measure", "voc", "--predictions", tmp_path / "voc.npz", "--device", "cpu")
    assert "measured by AP, voc by VOC AP" in said("compare", trained.folder, tmp_path / "voc.npz", code=2)


@pytest.mark.long
def test_a_classification_network_fills_the_body_and_its_norms_stay(source: Path, tmp_path: Path) -> None:
    """Frozen norms are bitwise what the weights brought; stem and first stage too."""
    backbone = create_model("resnet18", num_classes=3, seed=5)
    for name, tensor in backbone.state_dict().items():
        if "running" in name:
            tensor.uniform_(0.5, 1.5)
    torch.save(backbone.state_dict(), tmp_path / "backbone.pth")
    small = {name: value for name, value in TINY.items() if not name.startswith("model.backbone")}
    weights = deepres.WeightsSpec(str(tmp_path / "backbone.pth"), "resnet18", "resnet18", (0.4,) * 3, (0.2,) * 3)
    settings = small | {"train.iterations": 2, "train.epochs": "none", "augmentation.scale": "40,48"}
    settings["train.batch_size"] = 1  # frozen norms need no second picture
    run = deepres.train(source, tmp_path / "run", weights=weights, settings=settings, device="cpu", progress=False)
    network, before = deepres.load(run), backbone.state_dict()
    assert network.description.name == "fasterrcnn_resnet18_fpn"
    for name, tensor in network.state_dict().items():
        if ".norm" in name and not name.startswith(("neck", "regions", "proposals")):
            assert torch.equal(tensor, before[name]), name
        if name.startswith(("stem.", "stage1.")):
            assert torch.equal(tensor, before[name]), name
    assert not torch.equal(
        network.state_dict()["stage4.unit1.branch.conv1.weight"], before["stage4.unit1.branch.conv1.weight"]
    )
    again = deepres.train(source, tmp_path / "b", weights=run, settings=settings, device="cpu", progress=False)
    assert deepres.load(again).num_classes == 2


@pytest.mark.long
def test_the_backbone_of_a_detector_is_taken_apart(
    said: Say, trained: deepres.RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lesion costs what the same detector does whose branch adds nothing; what is for classes alone is left out."""
    words = ("analyze", trained.folder, "--images", 6, "--draws", 1, "--output", tmp_path / "out", "--device", "cpu")
    found = json.loads(said(*words, "--json"))["found"]
    assert {kind for kind, told in found.items() if told[0].startswith("left out: ")} == {
        "paths",
        "reuse",
        "cam",
        "equivariance",
    }
    assert found["lesion"][0].startswith("1 - AP of the whole network ")
    each = json.loads((tmp_path / "out" / "lesion.json").read_text())["numbers"]["each"]
    assert each["num_images"] == 6
    assert each["units"] == [f"stage{number}.unit1" for number in (1, 2, 3, 4)]
    result = deepres.evaluate(trained, device="cpu", progress=False)
    assert each["intact"]["error"] == pytest.approx(1 - result.ap)
    assert all(one["error_low"] <= one["error"] <= one["error_high"] for one in (each["intact"], *each["deletions"]))
    network_of = Detection.network
    for one in each["deletions"]:

        def without(*given: object, unit: str = one["units"][0], **more: object) -> object:
            network, told = network_of(*given, **more)  # type: ignore[arg-type]
            norm = network.get_submodule(f"{unit}.branch.norm2")
            torch.nn.init.zeros_(norm.weight)
            torch.nn.init.zeros_(norm.bias)
            return network, told

        monkeypatch.setattr(Detection, "network", without)
        assert one["error"] == pytest.approx(1 - deepres.evaluate(trained, device="cpu", progress=False).ap)
    flow = json.loads((tmp_path / "out" / "propagation.json").read_text())["numbers"]["propagation"]
    assert all(row["gradient"] > 0 for row in flow["rows"])
    assert "</html>" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.medium
def test_create_model_makes_every_network_that_is_listed() -> None:
    network = deepres.create_model("fasterrcnn_resnet18_fpn", num_classes=3, seed=1)
    assert isinstance(network, DetectorNetwork)
    assert (network.num_classes, network.description.name) == (3, "fasterrcnn_resnet18_fpn")
    with pytest.raises(InputError, match="num_classes: given 0"):
        deepres.create_model("fasterrcnn_resnet18_fpn", num_classes=0)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("eval", "RUN", "--protocol", "flip"), "protocol flip: for pictures of one answer"),
        (("eval", "RUN", "--calibrate"), "its task is detection, and --calibrate is for"),
        (("analyze", "cam", "RUN"), "its task is detection, and analyze cam is for"),
        (("analyze", "lesion", "reuse", "RUN"), "its task is detection, and analyze reuse is for"),
        (("analyze", "RUN", "--class", "disc"), "its task is detection, and analyze cam is for"),
        (("predict", "RUN", "PICTURE", "--cam", "OUT"), "its task is detection, and --cam is for"),
        (("predict", "CLASSES", "PICTURE", "--show", "OUT"), "and --show is for"),
        (("eval", "CLASSES", "--measure", "voc"), "and --measure is for"),
        (("train", "SOURCE", "--model", "resnet18"), "wanted a detector"),
        (("train", "SOURCE", "--model", "fasterrcnn_resnet5_fpn"), "unknown; did you mean fasterrcnn_resnet50_fpn"),
        (("train", "digits", "--model", "fasterrcnn_resnet50_fpn"), "finds boxes"),
        (("train", "SOURCE", "--recipe", "small"), "names classes of whole pictures"),
        (("train", "SOURCE", "--folds", "3"), "and --folds is for"),
        (("train", "SOURCE", "--minutes", "1e-6"), "does not fit"),
        (("train", "SOURCE", "--batch-size", "1000000"), "1,000,000 images at a time take about "),
        (("train", "SOURCE", "--set", "train.frozen=stge1"), "train.frozen 'stge1': unknown; did you mean stage1"),
        (("train", "digits", "--set", "train.frozen=neck"), "train.frozen 'neck': unknown"),
        (("train", "SOURCE", "--set", "augmentation.crop=random_resized"), "keeps pictures whole"),
        (("train", "SOURCE", "--set", "augmentation.auto=trivial"), "turns and shears by maps that it does not tell"),
        (("train", "SOURCE", "--set", "preparation.fit=squash", "--set", "preparation.crop=64"), "wanted sides"),
        (("train", "digits", "--weights", "RUN"), "finds boxes; wanted a network that names classes"),
        (("train", "digits", "--recipe", "boxes"), "finds boxes; wanted a network that names classes"),
        (
            ("train", "digits", "--set", "preparation.fit=sides", "--set", "preparation.longest=32"),
            "is for boxes of objects",
        ),
    ],
)
def test_what_is_not_for_boxes_is_refused_in_one_line(
    said: Say,
    trained: deepres.RunResult,
    source: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
    classes: Path,
) -> None:
    places = {"RUN": trained.folder, "SOURCE": source, "PICTURE": source / "JPEGImages/000.png", "CLASSES": classes}
    places["OUT"] = tmp_path / "out"
    asked = [str(places.get(word, word)) for word in words]
    if words[0] == "train":
        asked += ["--output", str(tmp_path / "run"), "--device", "cpu"]
    told = said(*asked, code=2)
    assert message in told
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes") / "run"
    settings = {"train.iterations": 1, "train.epochs": "none", "train.batch_size": 8}
    deepres.train("digits", folder, settings=settings, device="cpu", progress=False)
    return folder


def test_a_picture_that_is_cut_short_is_named_before_training(tmp_path: Path) -> None:
    draw(tmp_path / "set", range(10), seed=0)
    picture = tmp_path / "set" / "JPEGImages" / "003.png"
    picture.write_bytes(picture.read_bytes()[:300])
    with pytest.raises(InputError, match=r"003\.png: damaged or cut short"):
        deepres.train(tmp_path / "set", tmp_path / "run", settings=TINY, device="cpu", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_source_without_objects_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "none", range(4, 5), seed=0)
    with pytest.raises(InputError, match="no object in any"):
        deepres.train(tmp_path / "none", tmp_path / "run", device="cpu", progress=False)
