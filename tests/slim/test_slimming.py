"""A run made slim: the whole way, what every other verb makes of the result, and what is refused before any work."""

import json
import os
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from deepres.base.files import digest
from deepres.cli.main import run as deepres
from deepres.predict.predictor import Predictor
from deepres.recipes.run import load_run
from deepres.slim.frontier import Frontier
from deepres.slim.int8 import RUNTIMES
from processes import DEEPRES, Popen
from small_slim import pictures, train

pytestmark = pytest.mark.slow

SURE = ("--max-loss", "100", "--accept-uncertain", "--device", "cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("slim")
    train(pictures(home / "own.npz"), home / "run")
    return home


def said(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> str:
    assert deepres(["slim", *arguments]) == code
    return capsys.readouterr().err


def test_two_units_out_make_a_run_like_any_other(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = home / "slim"
    before = {path.name: digest(path) for path in (home / "run").iterdir() if path.is_file()}
    arguments = [str(home / "run"), "--output", str(out), "--drop-blocks", "2", "--finetune-epochs", "1", *SURE]
    assert deepres(["slim", *arguments]) == 0
    told = capsys.readouterr()
    assert "taken: drop-2" in told.out
    assert {path.name: digest(path) for path in (home / "run").iterdir() if path.is_file()} == before
    assert not (home / "slim.candidates").exists()
    run = load_run(out)
    assert len(run.model.without) == 2
    assert run.teacher is not None
    frontier = Frontier.model_validate_json((out / "slim.json").read_text())
    assert [one.name for one in frontier.candidates] == ["intact", "drop-2"]
    assert frontier.candidates[1].dropped == run.model.without
    assert frontier.candidates[1].sha256 == digest(out / "model.safetensors")
    assert frontier.chosen == "drop-2"
    assert "test images" in frontier.test
    assert frontier.candidates[0].loss is None
    for verb in (
        ["eval", str(out)],
        ["compare", str(out), str(home / "run")],
        ["predict", str(out), str(home / "run" / "samples")],
    ):
        assert deepres([*verb, *(["--device", "cpu"] if verb[0] != "compare" else [])]) == 0
    assert deepres(["train", str(home / "own.npz"), "--weights", str(out), "--epochs", "1", "--set", "train.compile=off",
                    "--device", "cpu", "--output", str(home / "on")]) == 0  # fmt: skip
    assert load_run(home / "on").model.without == run.model.without
    if find_spec("onnxruntime") is not None and find_spec("onnxscript") is not None:  # and on, as any run
        assert deepres(["export", str(out), "--format", "onnx", "--no-check", "--output", str(home / "file")]) == 0
        assert deepres(["eval", str(home / "file" / "model.onnx"), str(home / "own.npz"), "--force"]) == 0
    told = said(capsys, [str(out), "--output", str(home / "slimmer"), "--drop-blocks", "1"], 2)
    assert "has units of which more than y = x is left without their branch" in told  # one unit a stage is left


def test_without_fine_tuning_it_answers_as_the_lesioned_network(home: Path) -> None:
    out = home / "bare"
    arguments = [str(home / "run"), "--output", str(out), "--drop-blocks", "1", "--finetune-epochs", "0", *SURE]
    assert deepres(["slim", *arguments]) == 0
    from deepres.analyze.units import without

    whole, slim = Predictor.load(home / "run", "cpu"), Predictor.load(out, "cpu")
    assert load_run(out).teacher is None
    images = torch.randn(5, *whole.network.description.input)
    with torch.no_grad(), without(whole.network, load_run(out).model.without):
        wanted = whole.network(images)
    with torch.no_grad():
        assert torch.equal(slim.network(images), wanted)
    assert torch.equal(whole.statistics.mean, slim.statistics.mean)


def test_a_loss_that_is_too_great_or_not_shown_leaves_nothing_and_another_limit_goes_on(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, kept = home / "strict", home / "strict.candidates"
    arguments = [
        str(home / "run"),
        "--output",
        str(out),
        "--drop-blocks",
        "1",
        "--finetune-epochs",
        "0",
        "--device",
        "cpu",
    ]
    told = said(capsys, [*arguments, "--max-loss", "0.5"], 1).splitlines()
    assert told[-1].startswith("deepres: 1 unit out: error ")
    assert "held-out images" in told[-1]
    assert str(kept / "slim.html") in told[-1]
    assert not out.exists()
    assert (kept / "slim.html").is_file()
    assert not any(kept.glob("*/test.json"))  # the test images are not read for candidates
    assert deepres(["slim", *arguments, *SURE[:3]]) == 0
    assert (out / "test.json").is_file()
    facts = json.loads((out / "slim.json").read_text())
    assert facts["max_loss"] == 100


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--drop-blocks", "9"], r"--drop-blocks 9: resnet20_cifar can do without 2 units at most"),
        (["--drop-blocks", "0"], r"'--drop-blocks': 0: wanted a number of units, 1 or more, or auto"),
        (["--drop-blocks", "some"], r"'--drop-blocks': some: wanted a number of units, 1 or more, or auto"),
        (["--target-ms", "0"], r"'--target-ms'"),
        (["--max-loss", "nan"], r"'--max-loss': nan: wanted a number"),
        (["--int8"], r"--int8: 54 training images to calibrate by, wanted 100 at least"),
        (["--target-ms", "1000000"], r"--target-ms 1e\+06: resnet20_cifar answers in .* nothing is to go"),
        (["--source", "nowhere.npz"], r"nowhere.npz"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    home: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    told = said(capsys, [str(home / "run"), "--output", str(home / "no"), "--device", "cpu", *more], 2)
    assert re.search(message, told), told
    assert told.splitlines()[-1].startswith("deepres: ")
    assert not (home / "no").exists()


def test_networks_that_have_nothing_to_spare_and_images_that_were_seen_are_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train(home / "own.npz", home / "plain", "--model", "plain20_cifar")
    told = said(capsys, [str(plain), "--output", str(home / "no"), "--device", "cpu"], 2)
    assert "plain20_cifar has units without a shortcut" in told
    other = pictures(home / "other.npz")  # the same pictures, cut otherwise
    told = said(capsys, [str(home / "run"), "--source", str(other), "--output", str(home / "no"), "--device", "cpu"], 2)
    assert "were trained on" in told
    none = train(home / "own.npz", home / "none", "--set", "data.val_fraction=0")
    told = said(capsys, [str(none), "--output", str(home / "no"), "--device", "cpu"], 2)
    assert "no held-out images" in told
    told = said(capsys, [str(home / "run"), "--output", str(home / "run"), "--device", "cpu"], 2)
    assert "--output" in told
    assert not (home / "no").exists()


@pytest.mark.parametrize("multiplies", [True, False])
def test_a_file_keeps_to_7_bits_where_nothing_multiplies_8(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, multiplies: bool
) -> None:
    onnx = pytest.importorskip("onnx")
    monkeypatch.setattr("deepres.export.quantise.saturates_int8", lambda: not multiplies)
    predictor = Predictor.load(home / "run", "cpu")
    noise = torch.randint(0, 256, (8, *predictor.network.description.input), dtype=torch.uint8)
    made = RUNTIMES["onnxruntime"](tmp_path, home / "run", predictor, list(noise))
    weights = [onnx.numpy_helper.to_array(one) for one in onnx.load(made.file).graph.initializer]
    largest = max(int(abs(one.astype(int)).max()) for one in weights if one.dtype == np.int8 and one.ndim == 4)
    assert largest == (127 if multiplies else 64)


@pytest.mark.long
def test_8_bits_are_tried_by_each_runtime_and_the_file_answers(home: Path) -> None:
    for library in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(library)
    train(pictures(home / "more.npz", 240), home / "more")
    out, kept = home / "eight", home / "eight.candidates"
    code = deepres(["slim", str(home / "more"), "--output", str(out), "--int8", *SURE])
    assert code in (0, 1)  # so small a network may be no faster in 8 bits
    facts = Frontier.model_validate_json(((out if code == 0 else kept) / "slim.json").read_text())
    eight = [one for one in facts.candidates if one.precision == "int8"]
    assert "intact-int8-onnxruntime" in {one.name for one in eight}
    for one in eight:
        assert one.loss is not None
        assert one.loss.num_images == 96
        assert one.loss.agreement is not None
        assert one.loss.agreement > 0.9
        assert one.times_float32 is not None
        assert one.layers
        assert all(name.startswith(("stem", "stage", "head")) for name, _ in one.layers)
    if code == 0:
        chosen = facts.named(facts.chosen or "")
        assert chosen is not None
        assert deepres(["predict", str(out / chosen.file), str(home / "more" / "samples")]) == 0
        assert digest(out / chosen.file) == chosen.sha256
    else:
        assert not out.exists()
        assert all(one.slower_than_float32 for one in eight)


@pytest.mark.long
def test_a_signal_keeps_what_was_tried_and_the_same_command_goes_on(home: Path) -> None:
    out, kept = home / "stopped", home / "stopped.candidates"
    command = [*DEEPRES, "slim", str(home / "run"), "--output", str(out)]
    command += ["--drop-blocks", "2", "--finetune-epochs", "12", *SURE]
    process = Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (kept / "drop-2" / "run.json").exists():
        os.sched_yield()
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert "the same command goes on" in told.splitlines()[-1]
    first = json.loads((kept / "slim.json").read_text())
    assert [one["name"] for one in first["candidates"]] == ["intact"]
    assert deepres(command[3:]) == 0
    assert json.loads((out / "slim.json").read_text())["candidates"][0] == first["candidates"][0]
