"""Pictures that are trained on and measured: said when a run starts, beside its error, in the report, by eval."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.cli.main import run
from deepres.data.digests import looked_at
from deepres.data.doubles import Double, Doubles, ImageRef, doubles
from deepres.data.images import ArrayImages, Batch
from deepres.report.evaluation import ReportFacts, write_report
from deepres.tasks.classification.task import Classification, Temperature
from deepres.tasks.doubled import told_of_doubles
from deepres.tasks.evaluator import evaluate
from deepres.tasks.result import Evaluation


def measured(count: int = 10, wrong: tuple[int, ...] = (1, 4, 6)) -> tuple[Evaluation, ArrayImages]:
    labels = torch.arange(count) % 2
    logits = torch.nn.functional.one_hot(labels, 2).float()
    logits[list(wrong)] = 1 - logits[list(wrong)]
    images = ArrayImages(
        torch.arange(count * 48, dtype=torch.uint8).reshape(count, 3, 4, 4), labels, ("a", "b"), "s/test"
    )
    batch = Batch(logits[:, :, None, None], labels, torch.arange(count))
    return evaluate(torch.nn.Flatten(), [batch], images, split="test"), images


def doubles_of(images: ArrayImages, *indices: int, split: str = "test", class_name: str = "a") -> Doubles:
    pairs = [
        Double(
            one=ImageRef(split="train", index=index, name=f"s/train/{index}", class_name="a"),
            other=ImageRef.model_validate(
                {"split": split, "index": index, "name": f"s/test/{index}", "class_name": class_name}
            ),
            distance=0.01,
            equal=False,
        )
        for index in indices
    ]
    return Doubles(pairs=tuple(pairs), num_compared=15, num_images=20)


SAID = {
    (): None,
    (
        1,
    ): "1 of 10 images stands in train too (the same picture, or nearly): without it the error is 22.22 %, 2 of 9 images wrong",
    (1, 4, 6, 8): "4 of 10 images stand in train too (the same picture, or nearly): without them the error is 0.00 %, "
    "0 of 6 images wrong",
    tuple(range(10)): "10 of 10 images stand in train too (the same picture, or nearly): the error says nothing of "
    "other images",
    (11,): None,
}


def test_what_is_said_needs_no_scores_where_the_run_has_a_temperature() -> None:
    evaluation, images = measured()
    assert evaluation.predictions.scores is None
    found = {"value": 0.5, "low": 0.3, "high": 0.8, "found_on": "val", "images": 20}
    settled = replace(evaluation, task=Classification(temperature=Temperature.model_validate(found)))
    doubles = doubles_of(images, 1)
    assert told_of_doubles(settled, images, doubles).result == told_of_doubles(evaluation, images, doubles).result


@pytest.mark.parametrize("indices", SAID)
def test_the_error_without_them_is_said(indices: tuple[int, ...]) -> None:
    evaluation, images = measured()
    told = told_of_doubles(evaluation, images, doubles_of(images, *indices)).result.notes
    assert told == (() if SAID[indices] is None else (SAID[indices],))
    assert told_of_doubles(evaluation, images, None) is evaluation
    assert told_of_doubles(evaluation, images, doubles_of(images, 1, split="val")) is evaluation


@pytest.mark.medium
def test_the_report_shows_them_side_by_side(tmp_path: Path) -> None:
    evaluation, images = measured()
    found = doubles_of(images, 1, 2, class_name="<b>")
    splits = {"train": images, "test": images}
    write_report(tmp_path / "r.html", ReportFacts(result=evaluation.result, doubles=found, splits=splits))  # type: ignore[arg-type]
    page = (tmp_path / "r.html").read_text("utf-8")
    section = page[page.index('id="doubles"') :]
    assert section.count("<img ") == 4
    assert "2 of 10 images of test stand in train too: the same picture, or nearly." in section
    assert section.count("distance 0.010, of different classes") == 2
    assert "&lt;b&gt;" in section
    assert "15 of 20 images were compared by what they show" in section
    write_report(tmp_path / "r.html", ReportFacts(result=evaluation.result, doubles=doubles_of(images), splits=splits))  # type: ignore[arg-type]
    assert 'id="doubles"' not in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.long
def test_a_run_says_it_at_its_start_beside_its_error_and_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for part, count in {"train": 12, "val": 4, "test": 4}.items():
        for number in range(count):
            path = tmp_path / "set" / part / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(draw.integers(0, 256, (9, 9, 3), dtype=np.uint8))
            coarse.resize((48, 48), Image.Resampling.BICUBIC).save(path)
    with Image.open("set/train/a/0.png") as picture:
        picture.save("set/test/a/again.jpg", quality=70)
    flags = ["--smoke", "--model", "resnet20_cifar", "--set", "preparation.resize=32", "--set", "preparation.crop=32"]
    assert run(["train", "set", *flags, "--set", "preparation.fit=crop", "--output", "run", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    line = "1 of 5 images of test stands in train too: the same picture, or nearly; the report shows them"
    assert f"note: {line}" in said.err
    note = r"1 of 5 images stands in train too \(the same picture, or nearly\): without it the error is \d+\.\d\d %"
    assert re.search(note, said.out)
    assert re.search(note, "\n".join(json.loads(Path("run/test.json").read_text())["notes"]))
    assert "The same picture in two splits" in Path("run/report.html").read_text()
    assert run(["eval", "run", "--device", "cpu"]) == 0
    assert re.search(note, capsys.readouterr().out)
    assert run(["data", "check", "set"]) == 0
    assert "alike           1 pair across splits" in capsys.readouterr().out


def test_a_picture_that_stands_under_two_classes_is_told() -> None:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (6, 3, 4, 4), generator=draw, dtype=torch.uint8)
    pixels[4] = pixels[1]
    labels = torch.tensor([0, 0, 1, 1, 1, 0])
    images = ArrayImages(pixels, labels, ("cat", "dog"), "s/train")
    told = doubles({"train": images}, {"train": looked_at(images)})
    assert told.contradiction() == ("s/train/1 (cat) and s/train/4 (dog) of train are one picture: a label is wrong")
    pixels[5] = pixels[0]  # of one class
    assert len(doubles({"train": images}, {"train": looked_at(images)}).within) == 1
    pixels[3] = pixels[1]
    more = doubles({"train": images}, {"train": looked_at(images)}).contradiction()
    assert more.endswith("are one picture, and 1 more has another class too: a label is wrong")
    assert (
        doubles({"train": images.select([0, 1, 2])}, {"train": looked_at(images.select([0, 1, 2]))}).contradiction()
        == ""
    )
    assert Doubles.model_validate_json('{"num_compared": 1, "num_images": 1}').within == ()  # of runs of before
