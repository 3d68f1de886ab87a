"""Files that `deepres export` wrote, served as runs are."""

import json
import shutil
import sys
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
from small_run import small_onnx

from deepres.predict.predictor import Predictor
from deepres.serve.watching import signature

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'deepres[export]'")


def _same(told: dict[str, Any], wanted: Any, within: float = 1e-6) -> None:
    assert [one["name"] for one in told["guesses"]] == [one.name for one in wanted.guesses]
    assert [one["probability"] for one in told["guesses"]] == pytest.approx(
        [one.probability for one in wanted.guesses], abs=within
    )


@pytest.mark.medium
def test_an_exported_file_is_served_as_a_run_is(starting: Any, pictures: Callable[..., bytes], tmp_path: Path) -> None:
    from deepres.serve.run import Options

    small_onnx(tmp_path / "net.onnx")
    ask = starting(tmp_path / "net.onnx", options=Options(precision="auto"))
    facts = ask("/v1/models/net.onnx").json
    assert facts["sha256"] == sha256((tmp_path / "net.onnx").read_bytes()).hexdigest()
    assert facts["precision"].startswith("onnxruntime ")
    assert facts["preparation"]["resize"] == 20
    assert facts["note"].endswith("exported, compared with its run: unchecked")
    assert not facts["maps"]
    (tmp_path / "a.png").write_bytes(pictures(1))
    wanted = Predictor.load(tmp_path / "net.onnx")(tmp_path / "a.png")
    alone = ask("/v1/predict", pictures(1)).json["answers"][0]
    _same(alone, wanted)
    several = ask.form("/v1/predict", [("a.png", pictures(1)), ("b", b"none"), ("c.png", pictures(1, (90, 50)))])
    _same(several.json["answers"][0], wanted)
    assert [one["problem"] is None for one in several.json["answers"]] == [True, False, True]
    body = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [b64encode(pictures(1)).decode()]}]}
    assert ask("/v2/models/net.onnx/infer", json.dumps(body)).json["outputs"][1]["data"] == [wanted.guesses[0].name]
    assert ask("/v2/models/net.onnx").json["platform"] == "deepres_exported"
    for path in ("/v1/cam", "/v1/predict?cam=true"):
        reply = ask(path, pictures(1))
        assert (reply.status, reply.error) == (
            422,
            "net.onnx: an exported file draws no maps; serve the run that it was exported from",
        )


@pytest.mark.medium
def test_an_exported_file_is_exchanged_and_a_broken_one_refused(starting: Any, tmp_path: Path) -> None:
    import asyncio

    from deepres.serve.run import Options

    path = small_onnx(tmp_path / "net.onnx")
    ask = starting(path, options=Options(precision="auto"))
    before, seen = ask("/v1/models/net.onnx").json["sha256"], signature(str(path))

    def reloaded() -> bool:
        models = ask.running.service.models
        return bool(asyncio.run_coroutine_threadsafe(models.reload("net.onnx"), ask.loop).result(30))

    shutil.copy(path, tmp_path / "kept")
    path.write_bytes(path.read_bytes()[:-20])
    assert signature(str(path)) != seen
    assert not reloaded()
    assert ask("/v1/models/net.onnx").json["sha256"] == before
    shutil.copy(tmp_path / "kept", path)
    assert reloaded()
    assert [line["outcome"] for line in ask.log("reload", 2)] == ["refused", "done"]


@pytest.mark.long
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_files_that_fit_pictures_themselves_answer_as_their_run(
    starting: Any, small: Path, pictures: Callable[..., bytes], tmp_path: Path, format: str
) -> None:
    import deepres
    from deepres.serve.limits import Limits
    from deepres.serve.run import Options

    if format == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'deepres[openvino]'")
    file = Path(deepres.export(small, format, tmp_path / "out", settings={"check": False}, progress=False).file)
    limits = Limits(max_pixels=1_000_000)
    ask = starting(file, limits=limits, options=Options(precision="auto"))
    for number, size in enumerate(((40, 30), (31, 64), (40, 30))):
        (tmp_path / "a.png").write_bytes(pictures(number, size))
        told = ask("/v1/predict", pictures(number, size)).json["answers"][0]
        _same(told, Predictor.load(small, "cpu")(tmp_path / "a.png"), 0.01)
        _same(told, Predictor.load(file)(tmp_path / "a.png"))
    strip = ask("/v1/predict", pictures(0, (1, 9000)))
    assert (strip.status, "a strip of 1 x 9,000 px" in strip.error) == (422, True)
    assert signature(str(file))
