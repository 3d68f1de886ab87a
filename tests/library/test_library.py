"""Every public name has an example that runs; calls give what the commands give, and show that they go on."""

import doctest
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import deepres
from deepres.base.errors import InputError
from deepres.base.events import UNSAID, Doing
from deepres.base.watch import Watch
from deepres.cli.main import run as command
from deepres.library.showing import NotebookOutput, in_notebook
from deepres.library.training import as_edits
from deepres.recipes.run import load_run

PUBLIC = [name for name in deepres.__all__ if name != "__version__"]


@pytest.mark.medium
@pytest.mark.parametrize(
    "name", [name for name in PUBLIC if name not in ("train", "RunResult", "compare", "slim", "export")]
)
def test_its_example_runs(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    _proved(name)


@pytest.mark.long
@pytest.mark.parametrize("name", ["train", "compare", "slim", "export"])
def test_its_example_which_trains_runs(name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    if name != "train":
        (tmp_path / "runs" / "digits-1").symlink_to(home / "runs" / "digits-1")
    monkeypatch.chdir(tmp_path)
    _proved(name)


def _proved(name: str) -> None:
    found = doctest.DocTestFinder(recurse=False).find(deepres._public(name), name, globs={"deepres": deepres})
    assert found, name
    assert found[0].examples, f"{name} has no example"
    said: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found[0], out=said.append)
    assert outcome.failed == 0, "".join(said)


@pytest.mark.medium
def test_a_call_gives_what_the_command_gives(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "train",
        "digits",
        "--epochs",
        "1",
        "--compile",
        "off",
        "--device",
        "cpu",
        "--output",
        str(tmp_path / "run"),
    ]
    assert command(words) == 0
    called, asked = home / "runs" / "digits-1", tmp_path / "run"
    assert (called / "model.safetensors").read_bytes() == (asked / "model.safetensors").read_bytes()
    assert (called / "run.json").read_bytes() == (asked / "run.json").read_bytes()
    facts = json.loads((called / "summary.json").read_text())
    assert facts["command"].startswith(
        "deepres.train('digits', epochs=1, settings={'train.compile': 'off'}, device='cpu')"
    )
    measured = deepres.evaluate(called, device="cpu", progress=False)
    wanted = json.loads((asked / "test.json").read_text())
    assert (measured.error, measured.cross_entropy) == (wanted["error"], wanted["cross_entropy"])
    assert [list(row) for row in measured.confusion] == wanted["confusion"]


@pytest.mark.medium
def test_images_of_unknown_classes_are_told_apart(home: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.mkdir()
    for number in range(5):
        Image.effect_noise((16, 16), 40 + number).convert("L").save(noise / f"{number}.png")
    called = home / "runs" / "digits-1"
    found = deepres.evaluate_unknown(called, noise, device="cpu", progress=False)
    assert (found.unknown.num_known, found.unknown.num_unknown) == (found.num_images, 5)  # type: ignore[attr-defined]
    assert 0 <= found.unknown.auroc <= 1  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="the network knows 10 of its classes"):
        deepres.evaluate_unknown(called, "digits", device="cpu", progress=False)


@pytest.mark.medium
def test_what_a_run_came_to(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    folder = Path("runs/digits-1")
    run = deepres.RunResult(folder, load_run(folder), None)
    assert (run.error, run.run.seed) == (None, 0)
    assert [row["epoch"] for row in run.history] == [1]
    assert str(run) == "report: runs/digits-1/report.html"
    assert repr(run) == "RunResult('runs/digits-1', error=None)"
    assert os.fspath(run) == "runs/digits-1"
    assert run.predictor("cpu").classes == tuple("0123456789")


def test_a_verb_is_called_by_the_name_that_a_room_has_too() -> None:
    import deepres.train.loop

    assert deepres.train.loop.__name__ == "deepres.train.loop"
    assert str(deepres.train.__doc__).startswith("Train on the images")
    assert list(inspect.signature(deepres.train).parameters)[:2] == ["source", "output"]


def test_settings_are_spelt_as_on_the_command_line() -> None:
    settings: dict[str, Any] = {"recipe": "small", "train.epochs": None, "train.sync_norm": True, "seed": 3}
    settings |= {"augmentation.scale": (20, 30), "train.frozen": []}
    recipe, task, edits = as_edits(settings)
    assert (recipe, task) == ("small", None)
    assert edits == (
        "train.epochs=none",
        "train.sync_norm=true",
        "seed=3",
        "augmentation.scale=20,30",
        "train.frozen=",
    )
    with pytest.raises(InputError, match="epcohs"):
        deepres.train("digits", settings={"train.epcohs": 3}, device="cpu", progress=False)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: deepres.slim("runs/digits-1", "out", settings={"drop": 1}), "drop is an argument of its own"),
        (lambda: deepres.slim("runs/digits-1", "out", drop=0), "drop"),
        (lambda: deepres.slim("runs/digits-1", "out", settings={"max_los": 1}), "max_loss"),
        (lambda: deepres.slim("runs/digits-1", "out", settings={"max_loss": float("nan")}), "max_loss"),
        (lambda: deepres.slim("runs/digits-1", "out", settings=[1]), "settings: given"),
        (lambda: deepres.slim("runs/digits-1", "runs/digits-1"), "output"),
        (lambda: deepres.export("runs/digits-1", "onx", "out"), "format"),
        (lambda: deepres.export("runs/digits-1", "pt2", "out", settings={"max_loss": 1}), "are about --int8"),
        (lambda: deepres.export("runs/digits-1", "pt2", "out.pt2"), "wanted a folder"),
        (lambda: deepres.export("runs/digits-1", "timm", "out"), "network of timm"),
        (lambda: deepres.Predictor.load("x.onnx", "cuda"), "answers on the CPU"),
        (lambda: deepres.evaluate("x.onnx", device="cuda"), "answers on the CPU"),
        (lambda: deepres.Predictor.load(deepres.WeightsSpec("x.pt2", model="resnet18")), "model with x.pt2"),
        (lambda: deepres.compare("runs/digits-1", "x.onnx"), r"x\.onnx"),
    ],
)
def test_what_slim_and_export_cannot_take_is_refused_before_any_work(
    call: Any, told: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    before = sorted(home.rglob("*"))
    with pytest.raises(InputError, match=told) as refusal:
        call()
    assert "\n" not in str(refusal.value)
    assert sorted(home.rglob("*")) == before


@pytest.mark.medium
def test_a_picture_that_cannot_be_read_is_a_problem_not_an_error(home: Path, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"no picture")
    predictor = deepres.Predictor.load(home / "runs" / "digits-1", "cpu")
    assert "no.png" in str(predictor(tmp_path / "no.png").problem)
    assert predictor(home / "runs" / "digits-1" / "samples" / "1.png", top_k=1).guesses[0].name == "1"


class Shown:
    """What a notebook's front end shows of one cell."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, data: dict[str, str], **how: Any) -> "Shown":
        assert how == {"raw": True, "display_id": True}
        return self.update(data, raw=True)

    def update(self, data: dict[str, str], raw: bool) -> "Shown":
        self.lines.append(data["text/plain"])
        return self


def test_in_a_notebook_one_line_is_replaced_and_nothing_steers_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown()
    watch = Watch("starting", out=NotebookOutput(shown), live=True)
    for done in (10, 20, 20):
        watch(Doing("training", done, 100))
        watch.beat()
    watch.say("epoch 1")
    assert capsys.readouterr().out == "epoch 1\n"
    assert [line.split(",")[0] for line in shown.lines] == ["training: 10 %", "training: 20 %", ""]
    assert not any(sign in line for line in shown.lines for sign in "\r\x1b\n")
    assert not in_notebook()


@pytest.mark.slow
def test_runs_of_other_tasks_are_trained_measured_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    (tmp_path / "p").mkdir()
    lines = ["path,value"]
    for number in range(60):
        red = int(draw.integers(40, 216))
        pixels = np.full((20, 20, 3), (red, 90, 255 - red)) + draw.integers(-30, 30, (20, 20, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(tmp_path / "p" / f"{number}.png")
        lines.append(f"p/{number}.png,{red / 10}")
    (tmp_path / "red.csv").write_text("\n".join(lines))
    short = {"train.iterations": 4, "train.epochs": None, "train.batch_size": 8, "data.workers": 0, "recipe": "small"}
    how: dict[str, Any] = {"model": "resnet20_cifar", "device": "cpu", "progress": False}
    one = deepres.train("red.csv", settings={**short, "task": "regression"}, **how)
    two = deepres.train("red.csv", settings={**short, "task": "regression", "seed": 1}, **how)
    assert one.run.task.kind == two.run.task.kind == "regression"
    assert "error" in str(one)
    assert deepres.evaluate(one, device="cpu", progress=False).num_images == one.result.num_images  # type: ignore[union-attr]
    assert deepres.evaluate([one, two], device="cpu", progress=False).num_images == one.result.num_images  # type: ignore[union-attr]
    found = deepres.compare(one, two)
    assert len(found.pairs) == 1
    assert str(found).count("\n") == 3
    for refused in (
        lambda: deepres.compare(one, two, vote=True),
        lambda: deepres.train("red.csv", settings={"task": "regresion"}, **how),
    ):
        with pytest.raises(InputError, match="regression"):
            refused()


@pytest.mark.long
def test_a_notebook_trains_and_shows_one_line(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    cell = 'import deepres\nrun = deepres.train("digits", epochs=1, settings={"train.compile": "off"}, device="cpu")\nprint(run)'
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbclient.NotebookClient(book, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = book.cells[0].outputs
    text = "".join(output.get("text", "") for output in outputs)
    assert "test error" in text
    assert "\r" not in text
    assert "\x1b" not in text
    drawn = [output for output in outputs if output.output_type == "display_data"]
    assert len(drawn) == 1


@pytest.mark.long
@pytest.mark.parametrize("first", ["", "import deepres.train.loop", "import deepres.train, deepres.analyze.lesion"])
def test_a_room_of_a_verbs_name_is_both(first: str) -> None:
    words = f"""{first}
import inspect, deepres
import deepres.train.config as config
from deepres.analyze.lesion import __doc__
assert list(inspect.signature(deepres.train).parameters)[:2] == ["source", "output"]
assert "kinds" in inspect.signature(deepres.analyze).parameters
assert deepres.train.__doc__.startswith("Train on the images")
assert deepres.train.config is config
try: deepres.train(3)
except deepres.base.errors.InputError as refusal: assert "source: given 3" in str(refusal)
else: assert False
"""
    subprocess.run([sys.executable, "-c", words], check=True)


@pytest.mark.medium
def test_importing_and_naming_load_no_torch() -> None:
    words = "import deepres, sys; deepres.WeightsSpec('a'); deepres.list_models(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", words], check=True)
    assert UNSAID == "called from Python"
    assert set(PUBLIC) == set(deepres._PUBLIC)
    assert not torch.is_inference_mode_enabled()
