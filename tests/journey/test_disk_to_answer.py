"""From a folder of photographs to named pictures, through the command line, as a stranger would."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepres.cli.main import run


def _picture(channel: int, size: tuple[int, int], seed: int) -> Image.Image:
    """Noise in which one channel is the brightest."""
    pixels = np.random.default_rng(seed).integers(0, 120, (*size, 3), dtype=np.uint8)
    pixels[..., channel] += 120
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photos/` with two classes that colour tells apart, and a trained run."""
    folder = tmp_path_factory.mktemp("home")
    for channel, name in ((0, "red"), (2, "blue")):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(30):
            _picture(channel, (44, 52), seed=number).save(folder / "photos" / name / f"{number}.jpg")
    arguments = ["train", str(folder / "photos"), "--epochs", "8", "-b", "16", "--output", str(folder / "run")]
    assert run([*arguments, "--set", "preparation.resize=16", "--set", "preparation.crop=16"]) == 0
    return folder


@pytest.mark.medium
def test_it_learns_and_says_where_the_report_lies(home: Path) -> None:
    summary = json.loads((home / "run" / "summary.json").read_text())
    assert summary["error"] == 0
    assert summary["split"] == "test"
    assert summary["selected_by"] == "held-out images"
    page = (home / "run" / "report.html").read_text()
    assert "resnet20_cifar on photos" in page
    assert "://" not in page.replace("http://www.w3.org", "")


@pytest.mark.medium
def test_predicting_needs_the_run_folder_only(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home / "run", tmp_path / "moved")
    _picture(0, (48, 60), seed=100).save(tmp_path / "apple.png")
    _picture(2, (70, 44), seed=101).save(tmp_path / "sky.jpg")
    monkeypatch.chdir(tmp_path)
    assert run(["predict", "moved", "apple.png", "sky.jpg", "--top-k", "1", "--json"]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(answer["image"], answer["guesses"][0]["name"]) for answer in said] == [
        ("apple.png", "red"),
        ("sky.jpg", "blue"),
    ]


@pytest.mark.medium
def test_a_folder_of_images_and_a_broken_one(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "album").mkdir()
    _picture(0, (50, 50), seed=100).save(tmp_path / "album" / "1.png")
    (tmp_path / "album" / "2.png").write_bytes(b"nothing")
    assert run(["predict", str(home / "run"), str(tmp_path / "album")]) == 1
    said = capsys.readouterr()
    assert "1.png: red" in said.out
    assert "2.png" in said.err
    assert said.err.splitlines()[-1] == "deepres: 1 of 2 images could not be read; the others are answered above"


@pytest.mark.medium
def test_measuring_again_writes_report_and_json(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, answers = tmp_path / "again.html", tmp_path / "answers.npz"
    assert run(["val", str(home / "run"), "--json", "--report", str(report), "--predictions", str(answers)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["num_wrong"] == 0
    assert report.stat().st_size > 10_000
    with np.load(answers) as arrays:
        assert (arrays["truth"] == arrays["predicted"]).all()


@pytest.mark.medium
def test_a_written_split_is_the_split_that_was_trained_on(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "split.csv"
    assert run(["data", "split", str(home / "photos"), "--output", str(table)]) == 0
    ours, theirs = (
        sorted(line.split(",")[-2:] for line in path.read_text().splitlines())
        for path in (table, home / "run" / "split.csv")
    )
    assert ours == theirs
    assert run(["data", "check", str(home / "photos")]) == 0
    assert "broken          0" in capsys.readouterr().out
