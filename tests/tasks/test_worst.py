"""The list of wrong images: complete, sorted, read back by csv, and harmless in a spreadsheet."""

import csv
import re
from base64 import b64decode
from io import StringIO
from pathlib import Path

import pytest
import torch

from deepres.base.cells import csv_of
from deepres.cli.main import run
from deepres.data.images import ArrayImages, Batch, FileImages
from deepres.report.evaluation import ReportFacts, write_report
from deepres.tasks.classification.worst import HEAD, LEAST_UNSURE
from deepres.tasks.evaluator import evaluate
from deepres.tasks.result import Evaluation
from deepres.tasks.worst import worst_list


def answered(names: list[str], classes: tuple[str, ...], shift: float = 1.0) -> tuple[Evaluation, FileImages]:
    labels = torch.arange(len(names)) % len(classes)
    logits = torch.randn(len(names), len(classes), generator=torch.Generator().manual_seed(0))
    logits[torch.arange(len(names)), labels] += shift
    images = FileImages(tuple(map(Path, names)), labels, classes)
    batch = Batch(logits[:, :, None, None], labels, torch.arange(len(names)))
    return evaluate(torch.nn.Flatten(), [batch], images, split="val"), images


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text, newline="")))


@pytest.mark.parametrize("count", [10, 200, 3000])
def test_all_wrong_ones_come_first_then_the_least_sure(count: int) -> None:
    evaluation, images = answered([f"{number}.jpg" for number in range(count)], ("a", "b", "c"))
    rows = rows_of(worst_list(evaluation, images))
    wrong = [row for row in rows if row["wrong"] == "1"]
    right = rows[len(wrong) :]
    assert {row["wrong"] for row in right} <= {"0"}
    assert len(wrong) == evaluation.result.num_wrong
    losses = [float(row["loss"]) for row in wrong]
    assert losses == sorted(losses, reverse=True)
    num_right = count - len(wrong)
    assert len(right) == min(num_right, max(LEAST_UNSURE, num_right // 20))
    sure = [float(row["probability"]) for row in right]
    assert sure == sorted(sure)
    assert all(row["truth"] == row["predicted"] for row in right)
    assert all(row["truth"] != row["predicted"] for row in wrong)
    assert {row["split"] for row in rows} == {"val"}
    assert wrong[0]["image"] == evaluation.result.worst[0].name
    place = int(wrong[0]["image"].removesuffix(".jpg"))
    assert wrong[0]["truth"] == "abc"[place % 3]
    assert float(wrong[0]["probability_of_truth"]) == pytest.approx(
        evaluation.result.worst[0].probability_of_truth, abs=1e-6
    )


NAMES = {
    "comma": ("a,b.jpg", "a,b.jpg"),
    "quotes": ('say "hi".jpg', 'say "hi".jpg'),
    "line feed": ("two\nlines.jpg", "two\nlines.jpg"),
    "carriage return": ("two\r\nlines.jpg", "two\r\nlines.jpg"),
    "no UTF-8": ("caf\udce9.jpg", "caf\\udce9.jpg"),
    "CJK": ("猫.jpg", "猫.jpg"),
    "formula": ("=cmd|' /C calc'!A0.jpg", "'=cmd|' /C calc'!A0.jpg"),
    "plus": ("+1.jpg", "'+1.jpg"),
    "minus": ("-2.jpg", "'-2.jpg"),
    "at": ("@SUM(A1).jpg", "'@SUM(A1).jpg"),
    "tab": ("\t=1.jpg", "'\t=1.jpg"),
    "blank before": (" =1.jpg", "' =1.jpg"),
    "full width": ("＝1.jpg", "'＝1.jpg"),
    "semicolon": ("a;b.jpg", "a;b.jpg"),
    "apostrophe": ("'a.jpg", "'a.jpg"),
    "empty": ("", "."),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_read_back_and_compute_nothing(name: str) -> None:
    given, expected = NAMES[name]
    classes = (given or "none", "other")
    evaluation, images = answered([given] * 8, classes, -5)
    rows = rows_of(worst_list(evaluation, images))
    assert len(rows) == 8
    assert {row["image"] for row in rows} == {expected}
    assert {row["truth"] for row in rows} == {expected if given else "none", "other"}
    assert all(set(row) == set(HEAD) and None not in row.values() for row in rows)


def test_numbers_stay_numbers() -> None:
    assert csv_of([["-1", -1, -0.5, 3]]) == "'-1,-1,-0.5,3\n"


@pytest.mark.medium
def test_the_page_holds_the_list(tmp_path: Path) -> None:
    labels = torch.arange(40) % 2
    images = ArrayImages(torch.zeros(40, 1, 4, 4, dtype=torch.uint8), labels, ("=a", "b"), "set/test")
    logits = torch.randn(40, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    evaluation = evaluate(torch.nn.Flatten(), [Batch(logits, labels, torch.arange(40))], images, split="test")
    text = worst_list(evaluation, images)
    write_report(tmp_path / "report.html", ReportFacts(result=evaluation.result, images=images, worst=text))
    page = (tmp_path / "report.html").read_text("utf-8")
    found = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)" download="worst.csv"', page)
    assert found is not None
    assert b64decode(found[1]).decode() == text
    assert "Every wrong image, and those of the right ones that it is least sure of" in page


@pytest.mark.slow
def test_a_run_and_eval_write_the_same_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run"
    assert run(["train", "digits", "--smoke", "--output", str(output), "--device", "cpu"]) == 0
    assert f"wrong:  {output / 'worst.csv'} lists them" in capsys.readouterr().out
    flags = ["--worst", str(tmp_path / "list.csv"), "--report", str(tmp_path / "page.html"), "--device", "cpu"]
    assert run(["eval", str(output), *flags]) == 0
    assert f"worst: {tmp_path / 'list.csv'}" in capsys.readouterr().out
    assert (tmp_path / "list.csv").read_text() == (output / "worst.csv").read_text()
    assert 'download="worst.csv"' in (output / "report.html").read_text()
    assert (
        "chosen: epoch" in (tmp_path / "page.html").read_text()
        or '"chosen_epoch": null' in (output / "summary.json").read_text()
    )
