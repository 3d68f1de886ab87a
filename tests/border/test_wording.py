"""Words in messages and pages: one of a thing is singular, no repr of bytes, no reason named twice, no row that says no."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.base.files import explained
from deepres.base.wording import blamed, counted, signed
from deepres.cli.main import run
from deepres.data.decode import BadImageError, decode
from deepres.report.evaluation import ReportFacts, write_report
from deepres.report.html import render
from deepres.runs.finish import _carried_out
from deepres.runs.logbook import SESSIONS


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "image", "2 images"),
        (1_234_567, "image", "1,234,567 images"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (2, "batch", "2 batches"),
        (2, "epoch", "2 epochs"),
        (1, "epoch", "1 epoch"),
    ],
)
def test_a_count_has_its_noun_in_the_right_number(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text


def test_a_reason_names_what_is_wrong_once() -> None:
    assert blamed("P", "P: empty") == blamed("P", "empty") == "P: empty"


def test_no_difference_has_no_minus() -> None:
    assert [signed(value) for value in (-0.0, -0.001, 0.004, -0.4, 1.25)] == [
        "+0.00",
        "+0.00",
        "+0.00",
        "-0.40",
        "+1.25",
    ]


@pytest.mark.parametrize("content", [b"this is no picture", b"\0\1\2\3", b"caf\xc3\xa9 not", b'it\'s "quoted"'])
def test_bytes_are_shown_as_a_person_would_write_them(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(BadImageError) as refused:
        decode(tmp_path / "a.jpg")
    assert "b'" not in str(refused.value)
    assert 'b"' not in str(refused.value)
    assert "\\x" not in str(refused.value)


PLURAL_OF_ONE = re.compile(
    r"\b(?<![\d.,])1 (images|files|classes|epochs|steps|runs|networks|units|pictures|pairs|members|rows|workers|batches|layers)\b"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch and one step on a handful of images, of which one of the test is wrong at most."""
    home = tmp_path_factory.mktemp("home")
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (home / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = draw.integers(0, 255, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(home / "photos" / name / f"{number}.png")
    tiny = ["--set", "model.depths=1,1,1", "--batch-size", "16", "--epochs", "1", "--set", "data.workers=0"]
    words = ["train", str(home / "photos"), "--output", str(home / "run"), "--device", "cpu", *tiny]
    assert run(words) == 0
    assert run(["train", "--resume", str(home / "run"), "--epochs", "2", "--device", "cpu"]) == 0
    return home / "run"


def _text(page: Path) -> str:
    html = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page.read_text(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_parts_by_one_command_are_told_together(tmp_path: Path) -> None:
    starts = [(0, "a"), (3, "b"), (1200, "b"), (1300, "c"), (1400, "b")]
    lines = [json.dumps({"step": step, "command": command}) + "\n" for step, command in starts]
    (tmp_path / SESSIONS).write_text("".join(lines))
    context = SimpleNamespace(folder=tmp_path, precision=SimpleNamespace(device=torch.device("cpu")))
    told = _carried_out(context)  # type: ignore[arg-type]
    assert [pair for pair in told.items() if "command" in pair[0] or "continued" in pair[0]] == [
        ("command", "a"),
        ("continued after steps 3; 1,200", "b"),
        ("continued after step 1,300", "c"),
        ("continued after step 1,400", "b"),
    ]


@pytest.mark.medium
def test_the_report_names_time_versions_and_commands_of_all_parts(finished: Path) -> None:
    text = _text(finished / "report.html")
    assert re.search(r"training time \d+ (s|min) in steps, over 2 sessions", text)
    assert re.search(r"versions deepres [\d.]+, torch [\d.]+", text)
    assert re.search(r"command deepres \S", text)
    assert "continued after step 1 deepres" in text
    summary = json.loads((finished / "summary.json").read_text())
    assert len(summary["commands"]) == 2
    assert "Training is orange and dashed, validation blue and solid" in text
    rows = [json.loads(line) for line in (finished / "history.jsonl").read_text().splitlines()]
    assert summary["training_seconds"] == pytest.approx(sum(row["seconds"] for row in rows))


@pytest.mark.medium
def test_the_report_has_no_row_that_says_nothing_and_no_plural_of_one(finished: Path) -> None:
    text = _text(finished / "report.html")
    assert not re.search(r"\b(weights|variant|new_head|weights_mean) (–|no)\b", text)
    assert " – " not in text.split("What was trained")[1].split("Training")[0]
    assert not PLURAL_OF_ONE.search(text), PLURAL_OF_ONE.search(text)
    assert re.search(r"The (worst image|\d+ worst images)|No image was confused", text)


@pytest.mark.medium
def test_what_eval_and_check_say_of_one_image(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = finished.parent / "photos"
    lone = finished.parent / "lone"
    for name in ("cat", "dog"):
        (lone / name).mkdir(parents=True, exist_ok=True)
        Image.open(photos / name / "0.png").rotate(90).save(lone / name / "x.png")
    capsys.readouterr()
    for words in (["eval", str(finished), str(lone), "--device", "cpu"], ["data", "check", str(photos)]):
        run(words)
        said = capsys.readouterr()
        assert not PLURAL_OF_ONE.search(said.out + said.err)


@pytest.mark.medium
def test_what_is_left_out_of_a_pack_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], finished: Path
) -> None:
    import shutil

    shutil.copytree(finished.parent / "photos", tmp_path / "photos")
    broken = tmp_path / "photos" / "cat" / "0.png"
    broken.write_bytes(b"")
    assert run(["data", "pack", str(tmp_path / "photos"), str(tmp_path / "out"), "--set", "on_bad_image=skip"]) == 0
    said = capsys.readouterr().err
    line = next(line for line in said.splitlines() if line.startswith("left out"))
    assert line.count("0.png") == 1
    assert line.startswith("left out: ")
    assert line.count(": ") == 2


def test_one_of_a_thing_in_every_page() -> None:
    text = render("analysis.html.jinja", {}, title="t", left_out={}, provenance={"source": "s"},
                  sections=[{"title": "a", "about": "b", "found": [], "svgs": [], "images": 1, "file": "f"}])  # fmt: skip
    assert "1 image at most" in text


def test_a_report_of_nothing_but_no_has_no_empty_rows(tmp_path: Path) -> None:
    facts = {
        "network": "n",
        "weights": None,
        "new_head": False,
        "variant": "",
        "frozen": [],
        "train": {"clip": None, "lr": 1.0},
    }
    write_report(tmp_path / "r.html", ReportFacts(result=None, run=facts))
    text = _text(tmp_path / "r.html")
    assert "network n" in text
    for absent in ("weights", "new_head", "variant", "frozen", "clip"):
        assert absent not in text
    assert "train (1)" in text


@pytest.mark.parametrize("code", [2, 13, 28, 30])  # no such place, no right, no room, read only
def test_a_place_that_cannot_be_written_advises_no_option_that_the_command_may_lack(code: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose another place") as told, explained(tmp_path):
        raise OSError(code, "as the system says")
    assert "--" not in told.value.message  # it is --report here, --csv, --cam or --predictions there
