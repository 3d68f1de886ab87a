"""The report: self-contained, escaped, the same bytes each time, whole for 2 to 1000 classes."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.data.decode import BadImageError
from deepres.data.images import ArrayImages, Batch
from deepres.report import charts
from deepres.report.evaluation import ReportFacts, write_report
from deepres.tasks.classification.result import ClassificationResult
from deepres.tasks.evaluator import ResultFacts, evaluate

EVIL = "<b>&amp;\"'</script><script>alert(1)</script> 蟻"
HISTORY = [
    {"epoch": e, "train_error": 0.5 / e, "val_error": 0.6 / e, "train_loss": 1 / e, "val_loss": 2 / e, "lr": 0.1 / e}
    | {"data_wait_fraction": 0.25}
    for e in range(1, 13)
]
RUN = {"network": "resnet20_cifar", "seed": 0, "train": {"lr": 0.1, "drops": (0.5, 0.75), "ema": None, "amp": False}}


class Page(HTMLParser):
    """Collects tags and addresses, and checks that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data + " "


class Broken(ArrayImages):
    """Images that cannot be read any more."""

    def image(self, index: int) -> Tensor:
        raise BadImageError(f"{self.name(index)}: gone")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures without content: drawing takes most of the time, and what the test asks is said in words."""
    monkeypatch.setattr(charts, "svg_of", lambda *_: "<svg></svg>")


def made(
    classes: int, count: int = 60, name: str = "", skipped: dict[str, str] | None = None
) -> tuple[ClassificationResult, ArrayImages]:
    labels = torch.arange(count) % classes
    pixels = torch.full((count, 3, 4, 4), 7, dtype=torch.uint8)
    images = ArrayImages(pixels, labels, tuple(f"{name}{i}" for i in range(classes)), f"{name or 'set'}/test")
    logits = torch.randn(count, classes, generator=torch.Generator().manual_seed(classes))
    logits[torch.arange(count), labels] += 2
    batch = Batch(logits.reshape(count, classes, 1, 1), labels, torch.arange(count))
    facts: dict[str, Any] = {"command": EVIL, "versions": {"torch": "2.11"}}
    found = evaluate(
        torch.nn.Flatten(), [batch], images, split="test", facts=ResultFacts(provenance=facts, skipped=skipped or {})
    )
    return found.result.replace(seconds=1, images_per_second=60), images


def written(folder: Path, **given: Any) -> str:
    write_report(folder / "report.html", ReportFacts(**given))
    return (folder / "report.html").read_text("utf-8")


@pytest.mark.medium
@pytest.mark.parametrize("classes", [2, 20, 21, 200, 201])
def test_a_report_is_one_whole_file_without_foreign_addresses(classes: int, tmp_path: Path) -> None:
    result, images = made(classes, max(60, classes))
    history = HISTORY if classes == 2 else ()
    text = written(tmp_path, result=result, history=history, images=images, run=RUN, chosen_epoch=9)
    page = Page(text)
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert set(re.findall(r'https?://[^"\s]+', text)) <= {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert "@import" not in text
    assert page.tags.count("svg") == (5 if history else 2)
    assert ('<table class="confusion">' in text) == (classes <= 20)
    assert ('class="matrix"' in text) == (20 < classes <= 200)
    assert page.tags.count("figure") == 2 + len(result.worst)


@pytest.mark.medium
def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    result, images = made(10)
    given: dict[str, Any] = {"result": result, "history": HISTORY, "images": images, "run": RUN, "chosen_epoch": 3}
    assert written(tmp_path, **given) == written(tmp_path, **given)


@pytest.mark.medium
def test_names_from_outside_are_escaped_everywhere(tmp_path: Path) -> None:
    result, images = made(6, name=EVIL, skipped={EVIL: f"{EVIL}: {EVIL}"})
    given: dict[str, Any] = {"images": images, "run": {EVIL: EVIL, "x": {EVIL: [EVIL]}}, "title": EVIL}
    text = written(tmp_path, result=result, history=[{"epoch": 1, EVIL: EVIL}], **given)
    page = Page(text)
    assert "script" not in page.tags
    assert "b" in page.tags
    assert "<b>&amp;" not in text
    assert page.words.count(EVIL) > 20


@pytest.mark.medium
@pytest.mark.usefixtures("undrawn")
def test_what_is_shown(tmp_path: Path) -> None:
    result, images = made(10)
    words = " ".join(Page(written(tmp_path, result=result, history=HISTORY, images=images, run=RUN)).words.split())
    for part in (
        f"{100 * result.error:.2f} % test error",
        f"{result.num_wrong} of 60 images wrong; protocol center",
        "Waiting for data took 25.0 % of the time.",
        "drops 0.5, 0.75",
        "amp no",
        "versions.torch 2.11",
        f"The {len(result.worst)} worst images",
    ):
        assert part in words
    assert "Skipped" not in words


@pytest.mark.usefixtures("undrawn")
@pytest.mark.medium
def test_classes_stand_in_order_of_their_error_and_absent_ones_last(tmp_path: Path) -> None:
    result, _ = made(12, count=11)
    text = written(tmp_path, result=result)
    rows = text[text.index("Class by class") : text.index("Calibration</h2>")]
    order = re.findall(r'<td class="name">(\d+)</td>', rows)
    recalls = [result.per_class[int(name)].recall for name in order]
    assert recalls[-1] is None
    assert recalls[:-1] == sorted(recalls[:-1], key=lambda r: -1 if r is None else r)
    assert "no images" in rows


@pytest.mark.medium
def test_a_report_without_result_images_or_history(tmp_path: Path) -> None:
    assert "not evaluated" in Page(written(tmp_path, result=None)).words
    assert Page(written(tmp_path, result=None, history=HISTORY)).tags.count("svg") == 3
    alone = [{name: value for name, value in row.items() if not name.startswith("val_")} for row in HISTORY]
    assert "Training is orange and dashed. " in Page(written(tmp_path, result=None, history=alone)).words
    assert "worst images" not in Page(written(tmp_path, result=made(3)[0])).words


@pytest.mark.usefixtures("undrawn")
@pytest.mark.medium
def test_no_wrong_image_at_all(tmp_path: Path) -> None:
    labels = torch.arange(5)
    images = ArrayImages(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), labels, tuple("abcde"), "set/test")
    batch = Batch(torch.eye(5).reshape(5, 5, 1, 1) * 50, labels, labels)
    result = evaluate(torch.nn.Flatten(), [batch], images, split="test").result
    words = Page(written(tmp_path, result=result, images=images)).words
    assert "0.00 %" in words
    assert "No image was confused." in words


@pytest.mark.usefixtures("undrawn")
@pytest.mark.medium
def test_an_image_that_is_gone_is_said_to_be_so(tmp_path: Path) -> None:
    result, images = made(5)
    gone = Broken(images.pixels, images.targets, images.classes, images.address)
    text = written(tmp_path, result=result, images=gone)
    assert text.count("can no longer be read") == len(result.worst) > 0
    assert ": gone" in text


def test_images_of_another_set_are_refused(tmp_path: Path) -> None:
    result, images = made(5)
    other = ArrayImages(images.pixels, images.targets, images.classes, "set/val")
    with pytest.raises(InputError, match=r"^report: image \d+ is set/val/\d+, the result says set/test/\d+; give the"):
        write_report(tmp_path / "report.html", ReportFacts(result=result, images=other))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("undrawn")
def test_a_name_that_is_no_unicode_is_still_written(tmp_path: Path) -> None:
    assert r"caf\udce9" in written(tmp_path, result=None, run={"source": "caf\udce9"})


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("wrong", "end"), [(0, "10"), (4, "20"), (30, "100"), (60, "100")])
@pytest.mark.medium
def test_the_scale_ends_above_the_interval(wrong: int, end: str, tmp_path: Path) -> None:
    said = (torch.arange(60) < wrong).long()
    images = ArrayImages(torch.zeros(60, 1, 1, 1, dtype=torch.uint8), torch.zeros(60).long(), ("a", "b"), "set/test")
    batch = Batch(torch.nn.functional.one_hot(said, 2).float().reshape(60, 2, 1, 1), images.targets, torch.arange(60))
    result = evaluate(torch.nn.Flatten(), [batch], images, split="test").result
    text = written(tmp_path, result=result)
    assert f"<span>{end} %</span>" in text
    left, width = re.findall(r'class="interval" style="left: ([\d.]+)%; width: ([\d.]+)%', text)[0]
    assert float(left) + float(width) <= 100.001


@pytest.mark.medium
@pytest.mark.parametrize("steps", [(), (10,), (10, 25)])
def test_curves_mark_the_chosen_epoch_and_where_a_run_was_taken_up(steps: tuple[int, ...], tmp_path: Path) -> None:
    history = [{**row, "step": 5 * row["epoch"]} for row in HISTORY]
    text = written(tmp_path, result=None, history=history, chosen_epoch=7, continued=steps)
    assert text.count("<svg ") == 3
    assert text.count(">chosen: epoch 7<") == 2
    assert text.count(">continued<") == (2 if steps else 0)
    below = text[text.index('<div class="below">') :]
    assert "Learning rate" in below[: below.index("</svg>")]
    assert "the dotted line and the ring mark the chosen epoch, 7" in text
