"""`deepres train --folds`: trained, cut and taken up, measured, asked; and refused where it cannot be."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from deepres.cli.main import run
from deepres.data.images import FileImages
from deepres.predict.predictor import Predictor
from deepres.runs import train

TINY = ("--recipe", "small", "--batch-size", "8", "--set", "model.depths=1,1,1", "--set", "model.widths=16,16,16")
TINY += ("--set", "data.workers=0", "--compile", "off", "--device", "cpu", "--epochs", "1")
CPU = ("--device", "cpu")


def drawn(folder: Path, count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    for number, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for each in range(count):
            pixels = draw.integers(0, 120, (16, 16, 3)) + 100 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{each}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photos`, and `out`, trained on it in three folds; `split`, with a test split, and `official` likewise."""
    place = tmp_path_factory.mktemp("folds")
    drawn(place / "photos", 9, 0)
    drawn(place / "split" / "train", 6, 1)
    drawn(place / "split" / "test", 3, 2)
    drawn(place / "others", 2, 3)
    for source, output, folds in (("photos", "out", "3"), ("split", "official", "2")):
        words = ["train", str(place / source), "--output", str(place / output), "--folds", folds, *TINY]
        assert run(words) == 0
    return place


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


@pytest.mark.medium
def test_every_image_is_measured_once_by_a_network_that_has_not_seen_it(here: Path) -> None:
    pooled = json.loads((here / "out" / "test.json").read_text())
    tests = [json.loads((here / "out" / f"fold-{fold}" / "test.json").read_text()) for fold in (1, 2, 3)]
    wrong = sum(test["num_wrong"] for test in tests)
    assert (pooled["num_images"], pooled["num_wrong"], pooled["split"]) == (18, wrong, "cross-validated")
    interval = binomtest(wrong, 18).proportion_ci(0.95, "wilson")
    assert (pooled["error_low"], pooled["error_high"]) == pytest.approx((interval.low, interval.high))
    with np.load(here / "out" / "predictions.npz") as columns:
        names = columns["name"].tolist()
        answers = dict(
            zip(names, zip(columns["truth"], columns["predicted"], columns["loss"], strict=True), strict=True)
        )
    assert len(set(names)) == 18
    for fold in (1, 2, 3):
        folder = here / "out" / f"fold-{fold}"
        with np.load(folder / "predictions.npz") as columns:
            own = columns["name"].tolist()
            for name, *answer in zip(own, columns["truth"], columns["predicted"], columns["loss"], strict=True):
                assert answers[name] == tuple(answer)
        with (folder / "split.csv").open() as file:
            parts = {Path(row["path"]).parts[-2:]: row["split"] for row in csv.DictReader(file)}
        assert all(parts[Path(name).parts[-2:]] == "test" for name in own)
    summary = json.loads((here / "out" / "summary.json").read_text())
    errors = [test["error"] for test in tests]
    assert summary["mean_error"] == pytest.approx(np.mean(errors))
    assert summary["deviation"] == pytest.approx(np.std(errors, ddof=1))
    page = (here / "out" / "report.html").read_text()
    assert all(f'href="fold-{fold}/report.html"' in page for fold in (1, 2, 3))


@pytest.mark.medium
def test_official_test_images_are_measured_by_the_ensemble_alone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads((here / "official" / "ensemble.json").read_text())
    assert (found["num_images"], found["split"]) == (6, "test")
    assert found["provenance"]["model"] == "ensemble of 2 x resnet20_cifar"
    assert json.loads((here / "official" / "test.json").read_text())["num_images"] == 12
    for source in ([], ["split"]):
        assert run(["eval", "official", *source, "--json", *CPU]) == 0
        again = json.loads(capsys.readouterr().out)
        assert again["cross_entropy"] == pytest.approx(found["cross_entropy"], rel=1e-5)
        assert again["num_images"] == 6


@pytest.mark.medium
@pytest.mark.parametrize("words", [["out"], ["out", "photos"]])
def test_eval_pools_the_folds_on_their_own_images(
    here: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", *words, "--json", *CPU]) == 0
    again = json.loads(capsys.readouterr().out)
    pooled = json.loads((here / "out" / "test.json").read_text())
    assert (again["num_wrong"], again["split"]) == (pooled["num_wrong"], "cross-validated")
    assert again["cross_entropy"] == pytest.approx(pooled["cross_entropy"], rel=1e-5)


@pytest.mark.medium
def test_predict_is_the_mean_of_all_and_what_eval_measures(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted((here / "others").rglob("*.png"))
    members = [Predictor.load(here / "out" / f"fold-{fold}", torch.device("cpu"), settled=False) for fold in (1, 2, 3)]
    wanted = []
    for path in paths:
        image = FileImages((path,), torch.zeros(1, dtype=torch.int64), ("x",)).image(0)
        wanted.append(torch.stack([one.probabilities(one.prepare(image)[None])[0] for one in members]).mean(0))
    assert run(["predict", "out", *map(str, paths), "--json", *CPU]) == 0
    told = capsys.readouterr()
    assert "out: the mean of the answers of 3 networks, one a fold" in told.err
    for line, row in zip(told.out.splitlines(), wanted, strict=True):
        guesses = {guess["name"]: guess["probability"] for guess in json.loads(line)["guesses"]}
        assert guesses == pytest.approx({"cat": float(row[0]), "dog": float(row[1])}, abs=1e-6)
    assert run(["eval", "out", "others", "--json", "--predictions", "p.npz", *CPU]) == 0
    with np.load("p.npz") as columns:
        for row, path in zip(np.exp(columns["scores"]), columns["name"], strict=True):
            assert row == pytest.approx(
                wanted[[str(p) for p in paths].index(str(Path(path).absolute()))].numpy(), abs=1e-5
            )


@pytest.mark.medium
def test_many_images_are_answered_together(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", "out", "photos", "--top-k", "1", *CPU]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 18


@pytest.mark.slow
def test_what_was_cut_goes_on_and_what_is_done_is_left(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed in the second fold's training, then while the third is set up: the weights are those of one go."""
    trained: list[str] = []
    carry_out = train._carry_out

    def killed_in_training(context: object, *rest: object) -> object:
        trained.append(context.folder.name)  # type: ignore[attr-defined]
        if trained == ["fold-1", "fold-2"]:
            raise KeyboardInterrupt
        return carry_out(context, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "_carry_out", killed_in_training)
    output = str(tmp_path / "cut")
    assert run(["train", "photos", "--output", output, "--folds", "3", *TINY]) == 130
    assert run(["predict", output, "photos/cat/0.png", *CPU]) == 2
    assert f"1 of 3 folds are trained; go on with deepres train --resume {output}" in capsys.readouterr().err
    (tmp_path / "cut" / "fold-3" / "state").mkdir(parents=True)  # what a kill during set-up leaves behind
    assert run(["train", "--resume", output, *CPU]) == 0
    assert trained == ["fold-1", "fold-2", "fold-2", "fold-3"]
    told = capsys.readouterr()
    assert "fold 2 of 3: " in told.err
    assert "fold 1 of 3: " not in told.err
    for fold in ("fold-1", "fold-2", "fold-3"):
        weights = [(place / fold / "model.safetensors").read_bytes() for place in (here / "out", tmp_path / "cut")]
        assert weights[0] == weights[1]
    assert run(["train", "--resume", output, *CPU]) == 0  # all is done: said again, nothing trained
    assert len(trained) == 4
    assert "cross-validated error" in capsys.readouterr().out


@pytest.mark.medium
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["train", "photos", "--folds", "1"], "--folds 1: one fold alone leaves nothing to train on; wanted 2 or more"),
        (["train", "photos", "--folds", "0"], "--folds 0: "),
        (["train", "photos", "--folds", "-3"], "--folds -3: "),
        (["train", "photos", "--folds", "five"], "'five' is not a valid integer"),
        (
            ["train", "photos", "--folds", "10"],
            "class 'cat' has 9 different images, wanted one at least for each of 10",
        ),
        (
            ["train", "photos", "--folds", "3", "--minutes", "1e-6", "--recipe", "small"],
            "--minutes 1e-06: 1 epoch at 16 px in each of 3 folds does not fit",
        ),
        (["train", "photos", "--folds", "3", "--output", "out"], "out: holds a run already; continue it with --resume"),
        (["train", "photos", *TINY, "--output", "out"], "out: holds a run already; continue it with --resume out"),
        (["train", "--resume", "out", "--folds", "3"], "--folds 3 with --resume: a run keeps what it began with"),
        (["train", "--resume", "out", "--dry-run"], "--dry-run with --resume: a run keeps what it began with; leave"),
        (["train", "--resume", "out", "--smoke"], "--smoke with --resume: a run keeps what it began with; leave"),
        (["train", "--resume", "out", "--epochs", "9"], "train.epochs=9: folds keep what they began with"),
        (["train", "--resume", "out", "--lr", "9"], "train.schedule.lr=9.0: folds keep what they began with"),
        (["train", "photos", "--weights", "out"], "out: holds the folds of a run, each a network, and one is wanted"),
        (["train", "photos", "--teacher", "out"], "name out/fold-1"),
        (["analyze", "out"], "name out/fold-1"),
        (["weights", "inspect", "out"], "out"),
        (["weights", "convert", "out", "there"], "out"),
        (["bench", "out"], "out"),
        (["predict", "out", "photos/cat/0.png", "--cam", "maps"], "--cam with out: it needs a single network"),
        (["eval", "out", "--split", "val"], "--split val: each fold has its own; name out/fold-1"),
        (["eval", "out", "official"], "each fold has images of its own"),
        (["eval", "out", "--calibrate"], "out with --select or --calibrate: each fold has images of its own"),
        (["eval", "out", "out/fold-1", "others"], "named twice"),
    ],
)
def test_what_cannot_be_is_one_line(
    here: Path, words: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here.is_dir()
    assert run(words) == 2
    refusal = capsys.readouterr().err.splitlines()
    assert wanted in refusal[-1]
    assert refusal[-1].startswith("deepres: ")


@pytest.mark.medium
def test_a_record_that_is_cut_off_is_said(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(here / "out", tmp_path / "broken")
    (tmp_path / "broken" / "folds.json").write_text('{"folds": 3, "do')
    for words in (
        ["predict", str(tmp_path / "broken"), "photos/cat/0.png"],
        ["train", "--resume", str(tmp_path / "broken")],
    ):
        assert run(words) == 2
        assert "folds.json: " in capsys.readouterr().err
