"""`deepres eval` and `deepres compare` as typed: ensembles, protocols, files of predictions; refusals in one line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from deepres.cli.evaluate import apart
from deepres.cli.main import run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two runs on the digits; one on 32 px arrays that stay as they are, of other classes."""
    home = tmp_path_factory.mktemp("home")
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 255, (80, 32, 32, 3), dtype=np.uint8), np.arange(80) % 2
    np.savez(home / "noise.npz", x=x, y=y, classes=np.array(["left", "right"]))
    folders = [str(home / name) for name in ("a", "b", "noise")]
    for number, folder in enumerate(folders[:2]):
        assert run(["train", "digits", "--smoke", "--seed", str(number), "--output", folder, "--device", "cpu"]) == 0
    plan = ["train", str(home / "noise.npz"), "--recipe", "cifar_2015", "--smoke", "--device", "cpu"]
    assert run([*plan, "--output", folders[2], "--set", "train.precise_bn_batches=0"]) == 0
    return folders


def say(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    code = run([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out


@pytest.mark.long
def test_several_runs_are_one_ensemble_and_their_answers_are_compared(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "deepres.tasks.classification.calibration.AT_BOUND", 0.0
    )  # hardly trained: the best is no temperature
    files = [tmp_path / f"{name}.npz" for name in ("first", "second", "both")]
    report = tmp_path / "report.html"
    said = say(capsys, "eval", *runs[:2], "--calibrate", "--select", "val", "--report", report, "--device", "cpu")
    assert said.startswith("chosen on 179 images of val: ")
    assert "\ntemperature " in said
    assert "at temperature" in report.read_text()
    for path, weights in zip(files, ([runs[0]], [runs[1]], runs[:2]), strict=True):
        out = say(capsys, "eval", *weights, "--predictions", path, "--device", "cpu", "--protocol", "flip")
        assert "protocol flip" in out
        assert (f"member {runs[0]}: " in out) == (len(weights) == 2)
    page = tmp_path / "page.html"
    table = say(capsys, "compare", *files, "--vote", "--report", page)
    assert re.search(r"^first +resnet20_cifar +\d", table, re.MULTILINE)
    assert re.search(r"^both +ensemble of 2 x resnet20_cifar +\d", table, re.MULTILINE)
    assert re.search(r"^vote of 3 +majority vote +\d", table, re.MULTILINE)
    assert "each against the best, " in table
    assert "corrected for 6 pairs" in table
    assert "4 networks compared" in page.read_text()
    every = say(capsys, "compare", *files, "--vote", "--pairs")
    assert len(every.split("every pair")[1].splitlines()) == 8
    facts = json.loads(say(capsys, "compare", *files, "--json"))
    assert [pair["num_pairs"] for pair in facts["pairs"]] == [3, 3, 3]
    assert len(say(capsys, "compare", *runs[:2]).splitlines()) == 5  # head, two runs, their seeds, the verdict


@pytest.mark.slow
def test_what_cannot_be_measured_or_compared_is_one_line_and_exit_code_2(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, noise = runs
    flipped = tmp_path / "flipped.npz"
    say(capsys, "eval", second, "--protocol", "flip", "--predictions", flipped, "--device", "cpu")
    for arguments, message in {
        ("compare", first, noise): r"a was measured on 269 images \(digits, test\), noise on \d+ others",
        ("compare", first, flipped): r"a was measured by protocol center, flipped by flip: .* insist with --force",
        ("compare", first, first): r"a: named twice; name each run once",
        ("compare", first): r"one run alone; name at least two",
        (
            "compare",
            first,
            tmp_path / "none.npz",
        ): r"none\.npz: cannot be read \(No such file or directory\); wanted a file of predictions",
        (
            "eval",
            first,
            noise,
        ): r"knows 2 classes \(left, right\), .*a 10 classes .*; members of an ensemble need the same",
        ("eval", noise, "--protocol", "ten-crop"): r"ten-crop:224/256: wants a short side of 256 px, .* has 32 x 32",
        ("eval", noise, "--protocol", "multi-scale:48"): r"wants a short side of 48 px, .* use center or flip",
        ("eval", noise, "--protocol", "tencrop"): r"protocol 'tencrop': unknown; did you mean ten-crop",
        ("eval", first, "--select", "val"): r"--select val: one run alone",
        ("eval", first, "--calibrate", "--split", "val"): r"--calibrate: the images of val are what is measured",
        ("eval", first, "digit"): r"source 'digit': unknown; did you mean digits",
    }.items():
        capsys.readouterr()
        assert (
            run([str(argument) for argument in arguments] + (["--device", "cpu"] if arguments[0] == "eval" else []))
            == 2
        )
        said = capsys.readouterr().err
        assert re.search(message, said), said
        assert said.count("\n") == 1, said
    assert say(capsys, "compare", first, flipped, "--force").count("\n") >= 4
    assert "the single view of the original image" in say(capsys, "eval", noise, "--json", "--device", "cpu")


def test_the_last_of_several_arguments_is_the_images_unless_it_is_weights(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    (tmp_path / "photos").mkdir()
    folder, photos = str(tmp_path / "run"), str(tmp_path / "photos")
    assert apart((folder,)) == ((folder,), None)
    assert apart((photos,)) == ((photos,), None)  # refused later, in words about weights
    assert apart((folder, photos)) == ((folder,), photos)
    assert apart((folder, folder, "digits")) == ((folder, folder), "digits")
    for weights in (
        "a.safetensors",
        "net.pth.tar",
        "resnet50.a1_in1k",
        "IMAGENET1K_V2",
        "hf-hub:timm/resnet50",
        folder,
    ):
        assert apart((folder, weights)) == ((folder, weights), None)
    for images in ("cifar10", "shard-{0000..0009}.tar", "x.npz", "table.csv", "resnet50.jpg!"):
        assert apart((folder, images)) == ((folder,), images)


@pytest.mark.slow
def test_what_a_run_does_not_know_is_told_apart_and_put_aside(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, flat = sorted((Path(runs[0]) / "samples").iterdir()), tmp_path / "flat"
    flat.mkdir()
    for path in samples:
        (flat / path.name).write_bytes(path.read_bytes())
    report = tmp_path / "report.html"
    noise = Path(runs[2]).parent / "noise.npz"
    for source, many in ((noise, 80), (flat, len(samples))):
        words = ["eval", runs[0], "--unknown", source, "--device", "cpu"]
        said = json.loads(say(capsys, *words, "--json", "--report", report, "--overwrite"))["unknown"]
        assert (said["num_known"], said["num_unknown"]) == (269, many)
        assert said["auroc_low"] <= said["auroc"] <= said["auroc_high"]
        assert f"unknown ({source}, {many} images): AUROC of the highest probability" in say(capsys, *words)
        assert "Unknown images that are answered" in report.read_text()
    for words, why in (
        (["eval", runs[0], "--unknown", "digits"], "the network knows 10 of its classes (0, 1, 2, 3, …)"),
        (["eval", *runs[:2], "--unknown", str(noise)], "it is of one network; name one run"),
        (["eval", runs[0], "--unknown", str(noise), "--protocol", "flip"], "--unknown with --protocol: it is of the"),
        (["predict", runs[0], str(samples[0]), "--reject", "half"], "--reject half: wanted coverage=0.95"),
    ):
        assert run([*words, "--device", "cpu"]) == 2
        assert why in capsys.readouterr().err
    ask = ["predict", runs[0], str(samples[0]), "--reject"]
    assert '"unknown": true' in say(capsys, *ask, "probability=0.999", "--json")
    table = tmp_path / "answers.csv"
    assert ": unknown (" in say(capsys, *ask, "probability=0.999", "--csv", table)
    assert table.read_text().splitlines()[0].startswith("image,answer,class,probability,")
    assert run([*ask, "coverage=0.9"]) == 0
    assert "unknown below a probability of 0." in capsys.readouterr().err
