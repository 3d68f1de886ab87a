"""What is reported: in float32 unless asked otherwise, of test images alone where there are no others, skips counted."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from noise_sets import draw, packed, pixels_of, shard_of, table, trained

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.tasks.classification.metrics import Measures, Scores
from deepres.tasks.classification.result import ClassificationResult
from deepres.tasks.result import summary
from deepres.train.precision import choose


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/, and run/ that was trained on it in bfloat16."""
    home = tmp_path_factory.mktemp("home")
    trained(draw(home / "photos"), home / "run", "--set", "train.precision=bfloat16")
    return home


def said_of(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    capsys.readouterr()
    assert run([*map(str, arguments), "--device", "cpu"]) == code
    said = capsys.readouterr()
    return said.out if code == 0 else said.err


def result_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    return dict(json.loads(said_of(capsys, "eval", *arguments, "--json")))


@pytest.mark.medium
def test_what_a_run_reports_is_float32_whatever_it_was_trained_in(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = json.loads((home / "run" / "test.json").read_text())
    again = result_of(capsys, home / "run")
    half = result_of(capsys, home / "run", "--precision", "bfloat16")
    assert (stored["precision"], again["precision"], half["precision"]) == ("float32", "float32", "bfloat16")
    assert again["cross_entropy"] == stored["cross_entropy"] != half["cross_entropy"]
    assert stored["provenance"]["precision"].startswith("float32, ")
    assert stored["provenance"]["trained_in"].startswith("bfloat16, ")
    assert json.loads((home / "run" / "summary.json").read_text())["measured_in"] == "float32"


@pytest.mark.medium
@pytest.mark.parametrize("choice", ["float32", "bfloat16", "auto"])
def test_text_and_page_say_the_precision(
    choice: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepres.train.precision.multiplies_bfloat16", lambda device: True)
    name = "float32" if choice == "float32" else "bfloat16"
    said = said_of(capsys, "eval", home / "run", "--precision", choice, "--report", tmp_path / "page.html")
    assert f"protocol center, {name}, " in said
    assert f"protocol center, {name}</div>" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("word", ["fp32", "float16", "", None])
def test_another_word_for_a_precision_is_refused_from_python_too(word: object) -> None:
    with pytest.raises(InputError, match=r"precision '.*': unknown; .*float32"):
        choose(word, torch.device("cpu"), training=False)  # type: ignore[arg-type]
    if word != "float16":
        with pytest.raises(InputError, match=r"precision '.*': unknown; .*float32"):
            choose(word, torch.device("cpu"))  # type: ignore[arg-type]


@pytest.mark.medium
def test_other_images_are_read_as_the_runs_own(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new, deep = draw(tmp_path / "new", seed=8, each=4), tmp_path / "deep"
    for path in new.glob("*/*.png"):
        place = deep / path.parent.name / ("inner" if int(path.stem) % 2 else "outer") / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    assert "data.depth" in said_of(capsys, "eval", home / "run", deep, code=2)
    folder = Path(shutil.copytree(home / "run", tmp_path / "run"))
    plan = json.loads((folder / "run.json").read_text())
    plan["data"]["depth"] = 1
    (folder / "run.json").write_text(json.dumps(plan))
    (folder / "manifest.json").unlink()  # without it the folder is taken as it is
    assert result_of(capsys, folder, deep)["num_images"] == 12


@pytest.mark.medium
def test_without_a_word_nothing_is_bfloat16_where_the_hardware_has_it(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepres.train.precision.multiplies_bfloat16", lambda device: True)
    arrays = pixels_of(home / "photos", home / "pixels.npz")
    for arguments in ([home / "run"], [home / "run", arrays, "--force"]):
        assert "protocol center, float32, " in said_of(capsys, "eval", *arguments)


FORMS: dict[str, Callable[[Path, Path], Path]] = {
    "photos/test": lambda photos, place: Path(shutil.copytree(photos, place / "test")).parent,
    "photos/val": lambda photos, place: Path(shutil.copytree(photos, place / "val")).parent,
    "photos/Testing": lambda photos, place: Path(shutil.copytree(photos, place / "Testing")).parent,
    "rows.csv": table,
    "set-test-0000.tar": shard_of,
    "set_test.npz": pixels_of,
    "set_val.npz": pixels_of,
    "x_test.npz": lambda photos, file: inside(pixels_of(photos, file)),
    "pack": lambda photos, out: packed(FORMS["photos/test"](photos, out.parent / "apart"), out),
    "photos of no part": lambda photos, place: Path(shutil.copytree(photos, place)),
}


def inside(file: Path) -> Path:
    with np.load(file) as arrays:
        np.savez(file.parent / "inside.npz", x_test=arrays["x"], y_test=arrays["y"], classes=arrays["classes"])
    return file.parent / "inside.npz"


@pytest.mark.medium
@pytest.mark.parametrize("name", FORMS)
def test_test_images_alone_are_measured_and_not_trained_on(
    name: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = FORMS[name](draw(tmp_path / "new", seed=7, each=4), tmp_path / name.replace("/", "_"))
    found = result_of(capsys, home / "run", source)
    part = "val" if "val" in name else "all images" if "no part" in name else "test"
    assert (found["split"], found["num_images"]) == (part, 12)
    if part != "all images":
        said = said_of(capsys, "train", source, "--dry-run", code=2)
        assert re.search(rf"no images to train on, only {part}, which can be measured on; name the source that", said)
        assert said.count("\n") == 1
        told = said_of(capsys, "eval", home / "run", source, "--split", "train", code=2)
        assert re.search(rf"split 'train': unknown; .*{part}", told)


@pytest.mark.medium
def test_the_test_half_of_a_pair_is_measured_alone(home: Path, tmp_path: Path) -> None:
    photos = draw(tmp_path / "new", seed=7, each=4)
    pair = [pixels_of(photos, tmp_path / f"pair_{part}.npz") for part in ("train", "test")]
    assert run(["eval", str(home / "run"), str(pair[1]), "--device", "cpu"]) == 0
    assert {part: len(images) for part, images in open_source(DataConfig(source=str(pair[0]))).splits().items()} == {
        "train": 9, "val": 3, "test": 12,
    }  # fmt: skip


def scored(counts: dict[str, tuple[int, int]]) -> Scores:
    """Wrong and all images of each class."""
    truth = torch.tensor([place for place, (_, total) in enumerate(counts.values()) for _ in range(total)])
    wrong = torch.tensor([number < bad for bad, total in counts.values() for number in range(total)])
    logits = torch.nn.functional.one_hot((truth + wrong) % len(counts), len(counts)).float()
    measures = Measures()
    measures.update(logits, truth, torch.arange(len(truth)))
    return measures.result(tuple(counts))


@pytest.mark.parametrize(
    ("counts", "order"),
    [
        ({"rare": (1, 1), "many": (8, 500), "some": (3, 60), "good": (0, 40)}, "some many good rare"),
        ({"two": (2, 2), "half": (30, 60)}, "half two"),
        ({"rare": (1, 1), "absent": (0, 0), "good": (0, 40)}, "good rare absent"),
        ({"surer": (40, 100), "less": (4, 10)}, "surer less"),
        ({"small": (1, 2), "smaller": (1, 1)}, "smaller small"),
    ],
    ids=str,
)
def test_the_worst_classes_are_those_that_are_surely_bad(counts: dict[str, tuple[int, int]], order: str) -> None:
    assert [one.name for one in scored(counts).worst_first()] == order.split()


@pytest.mark.parametrize(("classes", "shown"), [(5, False), (8, False), (10, False), (11, True), (100, True)])
def test_top5_is_shown_where_five_guesses_are_few(classes: int, shown: bool) -> None:
    found = scored({str(number): (0, 1) for number in range(classes)})
    assert found.top5_error == 0
    assert found.telling_top5 == (0 if shown else None)


def damage(photos: Path, *parts: str) -> list[Path]:
    """One image of each of these parts, cut short."""
    source = open_source(DataConfig(source=str(photos))).splits()
    found = [Path(source[part].name(parts[:place].count(part))) for place, part in enumerate(parts)]  # type: ignore[index]
    for path in found:
        path.write_bytes(path.read_bytes()[:60])
    return found


@pytest.mark.slow
def test_the_runs_own_bad_images_are_left_out_where_that_is_asked(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, folder = Path(shutil.copytree(home / "photos", tmp_path / "photos")), tmp_path / "run"
    shutil.copytree(home / "run", folder)
    plan = json.loads((folder / "run.json").read_text())
    plan["data"]["source"] = str(photos)
    (folder / "run.json").write_text(json.dumps(plan))
    (folder / "manifest.json").unlink()  # without it the folder is taken as it is
    (bad,) = damage(photos, "test")
    for source in ([], [f"{photos}/"]):
        said = said_of(capsys, "eval", folder, *source, code=2)
        assert re.search(r"1 of 9 images cannot be read \(\w+ 1 of \d\); .* --on-bad-image skip", said)
        assert f"{bad.name}: damaged or cut short" in said
        found = result_of(capsys, folder, *source, "--on-bad-image", "skip")
        assert found["num_images"] == 8
        assert [image["name"] for image in found["skipped"]] == [str(bad)]  # type: ignore[attr-defined]
    few = ["analyze", "lesion", folder, "--output", tmp_path / "analysis"]
    assert "--on-bad-image skip" in said_of(capsys, *few, code=2)
    assert "1 unreadable image left out" in said_of(capsys, *few, "--on-bad-image", "skip")


@pytest.mark.slow
def test_what_was_skipped_stays_counted_when_a_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, folder = draw(tmp_path / "photos"), tmp_path / "run"
    bad = damage(photos, "train", "train", "val", "test")
    trained(photos, folder, "-b", "48", "--on-bad-image", "skip")

    def counted() -> tuple[set[str], list[str]]:
        skipped = json.loads((folder / "summary.json").read_text())["skipped"]
        of_test = json.loads((folder / "test.json").read_text())["skipped"]
        return set(skipped), [image["name"] for image in of_test]

    first = counted()
    assert first == ({str(path) for path in bad}, [str(bad[-1])])
    said_of(capsys, "train", "--resume", folder)
    assert counted() == first
    said_of(capsys, "train", "--resume", folder, "--set", "train.iterations=3")
    assert counted() == first


GUESSED = [  # of each class the number wrong and of images; what the error is no better than
    ({"a": (4, 4), "b": (0, 6)}, "b (40.00 % wrong)"),
    ({"a": (3, 4), "b": (0, 6)}, None),
    ({"a": (3, 4), "b": (1, 6)}, "b (40.00 % wrong)"),
    ({"a": (4, 4), "b": (6, 6)}, "b (40.00 % wrong)"),
    ({"a": (0, 4), "b": (0, 6)}, None),
    ({"a": (4, 4), "b": (0, 0)}, None),  # images of one class alone
]


@pytest.mark.parametrize(("counts", "said"), GUESSED)
def test_an_error_no_better_than_one_answer_is_called_that(
    counts: dict[str, tuple[int, int]], said: str | None
) -> None:
    facts = {"split": "test", "protocol": "center", "worst": (), "skipped": (), "seconds": 1, "images_per_second": 1}
    result = ClassificationResult(**scored(counts).model_dump(), **facts, provenance={})
    told = [line for line in summary(result).splitlines() if "no better than always" in line]
    assert told == ([] if said is None else [f"note: no better than always answering {said}"])
