"""Which back end answers: measured once, remembered, said; none that breaks the promise of a precision."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.data.transforms.config import Preparation
from deepres.predict import backends
from deepres.predict.backends import BackendTime, BackendTimes, Question, answering, in_turns, made, trying_pays
from deepres.predict.predictor import Predictor

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
from small_run import SIDE, TASKS, noise, run_folder

SIZE = (3, SIDE, SIDE)


@pytest.fixture
def predictor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """A tiny network; what is measured is remembered in `tmp_path/cache` only."""
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path / "cache"))
    return Predictor.load(run_folder(tmp_path / "run"), "cpu")


def _question(predictor: Predictor, images: int = 1000, precision: Any = "float32", seconds: float = 1.0) -> Question:
    task = predictor.task
    return Question(predictor.network, task, SIZE, images, precision, predictor.network, "predict", lambda: seconds)


@pytest.mark.parametrize(
    ("images", "fastest"),
    [(16, "torch"), (160, "openvino"), (16_000, "onnxruntime")],
)
def test_what_takes_least_in_all_is_fastest(images: int, fastest: str) -> None:
    times = BackendTimes(
        seconds={
            "torch": BackendTime(batch=3),
            "openvino": BackendTime(ready=10, batch=1),
            "onnxruntime": BackendTime(ready=20, batch=0.5),
            "broken": BackendTime(failed="no"),
        }
    )
    assert times.for_images(images)[0][1] == fastest
    assert len(times.for_images(images)) == 3


def test_few_images_try_nothing() -> None:
    assert not trying_pays(16, 0.1)
    assert trying_pays(1000, 0.1)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which back ends were made; OpenVINO is fastest, onnxruntime answers nothing."""
    log: list[str] = []

    def fake(question: Question, backend: Any) -> Any:
        log.append(backend)
        if backend == "onnxruntime":
            raise InputError("no such operator")
        return lambda batch: batch

    monkeypatch.setattr(backends, "find_spec", lambda library: object())
    monkeypatch.setattr(backends, "version", lambda library: "1.0")
    monkeypatch.setattr(backends, "made", fake)
    monkeypatch.setattr(backends, "in_turns", lambda answers, batch: [9.0, *[1.0] * (len(answers) - 1)])
    return log


def test_it_is_measured_once_remembered_and_said(
    predictor: Predictor, measured: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    found = answering(_question(predictor), "auto", said.append)
    assert found is not None
    assert found[0] == "openvino"
    assert measured == ["openvino", "onnxruntime"]
    assert answering(_question(predictor), "auto", said.append) is not None
    assert measured == ["openvino", "onnxruntime", "openvino"], "made, but not measured again"
    (kept,) = (tmp_path / "cache" / "backends").iterdir()
    assert said[0] == said[1]
    assert said[0].startswith("answered by openvino: 1,000 images take openvino 62.5 s, torch 562 s; measured once")
    assert str(kept) in said[0]
    torch_threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: torch_threads + 1)
    answering(_question(predictor), "auto", said.append)
    assert len(list(kept.parent.iterdir())) == 2, "other threads are another machine"


@pytest.mark.parametrize(
    "changed", ["nothing", "processor", "torch", "runtime", "network", "size", "precision", "verb"]
)
def test_another_machine_or_network_is_measured_anew(
    changed: str, predictor: Predictor, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    question = _question(predictor)
    answering(question, "auto", str)
    before = len(measured)
    if changed == "processor":
        monkeypatch.setattr(backends, "hardware", lambda device: "another processor")
    elif changed == "torch":
        monkeypatch.setattr(torch, "__version__", "99")
    elif changed == "runtime":
        monkeypatch.setattr(backends, "version", lambda library: "2.0")
    elif changed == "network":
        known = predictor.network.description
        predictor.network.description = known.replace(name="another")
    else:
        other: dict[str, dict[str, Any]] = {"size": {"size": (3, 8, 8)}, "precision": {"precision": "auto"}}
        other["verb"] = {"verb": "eval"}
        question = replace(question, **other.get(changed, {}))
    answering(question, "auto", str)
    again = measured[before:]
    assert again == (["openvino"] if changed == "nothing" else ["openvino", "onnxruntime"])


def test_a_memory_that_is_broken_harms_nothing(predictor: Predictor, measured: list[str], tmp_path: Path) -> None:
    answering(_question(predictor), "auto", str)
    (kept,) = (tmp_path / "cache" / "backends").iterdir()
    for text in ("{", '{"seconds": {}}', '{"seconds": {"evil": {"batch": 0.1}}}'):
        kept.write_text(text)
        answering(_question(predictor), "auto", str)
    assert set(measured) == {"openvino", "onnxruntime"}


def test_with_little_to_gain_or_nothing_installed_torch_answers_and_nothing_is_kept(
    predictor: Predictor, measured: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answering(_question(predictor, seconds=0.001), "auto", str) is None
    monkeypatch.setattr(backends, "find_spec", lambda library: None)
    assert answering(_question(predictor), "auto", str) is None
    assert measured == []
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("precision", "kept"),
    [("auto", ["openvino", "onnxruntime"]), ("float32", ["openvino", "onnxruntime"]), ("bfloat16", ["openvino"])],
)
def test_only_those_that_keep_the_precision_are_tried(
    predictor: Predictor, measured: list[str], precision: str, kept: list[str]
) -> None:
    answering(_question(predictor, precision=precision), "auto", str)
    assert measured == kept
    for task in ("multilabel", "regression"):  # close calls are classification's: they stay in float32
        question = replace(_question(predictor, precision=precision), task=TASKS[task])
        assert question.dtype is torch.float32


@pytest.mark.medium
def test_what_cannot_be_is_one_line(
    tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(tmp_path / "0.png")
    from PIL import Image

    Image.new("RGB", (20, 20)).save(picture)
    for library, extra in (("openvino", "openvino"), ("onnxruntime", "export")):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, library, None)
            assert run(["predict", str(tmp_path / "run"), picture, "--backend", library, "--device", "cpu"]) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert told == f"deepres: --backend {library}: needs {library}; pip install 'deepres[{extra}]'"
    words = ["predict", str(tmp_path / "run"), picture, "--backend", "onnxruntime", "--precision", "bfloat16"]
    assert run([*words, "--device", "cpu"]) == 2
    assert "it computes in float32 on a CPU; leave one out" in capsys.readouterr().err
    assert run(["predict", str(tmp_path / "run"), picture, "--backend", "tensorrt"]) == 2
    assert "'tensorrt' is not one of 'auto', 'torch', 'openvino', 'onnxruntime'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_runtime_answers_as_torch_does_whatever_the_task(task: str, backend: Any, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    pytest.importorskip("onnxscript")
    predictor = Predictor.load(run_folder(tmp_path / "run", task, Preparation(fit="squash", resize=SIDE, crop=SIDE)))
    quick = predictor.optimized(1, precision="float32", backend=backend)
    images = torch.stack([predictor.prepare(one) for one in noise(20)])
    for number in (1, 3, 20):
        torch.testing.assert_close(
            quick.probabilities(images[:number]), predictor.probabilities(images[:number]), rtol=1e-4, atol=1e-4
        )
    larger = torch.nn.functional.pad(images, (4, 4, 4, 4))  # what the graph was not made for is torch's
    torch.testing.assert_close(quick.probabilities(larger), predictor.probabilities(larger), rtol=1e-4, atol=1e-4)
    assert str(quick.ready).endswith(", float32, norms folded, on cpu")


@pytest.mark.slow
def test_close_calls_in_bfloat16_are_float32s_and_a_runtime_that_answers_otherwise_is_refused(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    quick = made(_question(predictor, precision="bfloat16"), "openvino")
    assert quick.exact is not None
    images = torch.stack([predictor.prepare(one) for one in noise(20)])
    with torch.inference_mode():
        _, distance = quick.quickly(images)
        exact = quick.exact(images.contiguous(memory_format=torch.channels_last))
        close = distance < 0.1
        torch.testing.assert_close(quick(images)[close], exact[close], rtol=1e-5, atol=1e-5)
    right: Callable[..., Any] = backends._openvino

    def wrong(*given: Any) -> Callable[[Any], Any]:
        run = right(*given)
        return lambda images: run(images)[:, ::-1].copy()

    monkeypatch.setattr(backends, "_openvino", wrong)
    with pytest.raises(InputError, match=r"tiny by OpenVINO .*: answers .* away from torch's"):
        made(_question(predictor), "openvino")


@pytest.mark.slow
def test_eval_by_a_runtime_is_evals_figure_and_says_so(
    tmp_path: Path, predictor: Predictor, class_folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    source = class_folders("pets", {"ant": 7, "bee": 8, "cat": 9}, (20, 20))
    found = {}
    for backend in ("torch", "auto", "onnxruntime"):
        words = ["eval", str(tmp_path / "run"), str(source), "--json", "--device", "cpu", "--backend", backend]
        assert run(words) == 0
        said = capsys.readouterr()
        found[backend] = json.loads(said.out)
        assert ("onnxruntime" in said.err) == (backend == "onnxruntime")
    assert "backend" not in found["auto"]["provenance"], "24 images are too few to try others"
    assert found["onnxruntime"]["precision"] == "float32"
    assert found["onnxruntime"]["provenance"]["backend"].startswith("onnxruntime 1")
    assert found["onnxruntime"]["cross_entropy"] == pytest.approx(found["torch"]["cross_entropy"], abs=1e-5)
    assert found["onnxruntime"]["error"] == found["torch"]["error"]
    words = ["eval", str(tmp_path / "run"), str(source), "--device", "cpu", "--backend", "openvino"]
    assert run([*words, "--protocol", "flip"]) == 2
    assert "--backend openvino: answers one view of an image" in capsys.readouterr().err


def test_answers_are_timed_in_turns() -> None:
    asked: list[str] = []
    first, second = in_turns([lambda batch: asked.append("a"), lambda batch: asked.append("b")], torch.zeros(1))
    assert asked == ["a", "b"] * 4
    assert min(first, second) > 0
