"""The Open Inference Protocol: against its text byte by byte, and with Triton's own client where it is installed."""

import json
import struct
from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepres.predict.pictures import Picture
from deepres.predict.predictor import Predictor

CLASSES = ["ant", "bee", "cat <b>"]


@pytest.fixture(scope="module")
def expected(small: Path, pictures: Callable[..., bytes]) -> np.ndarray[Any, Any]:
    predictor = Predictor.load(small, "cpu")
    read = [predictor.read(Picture(str(n), lambda n=n: pictures(n))) for n in range(3)]
    return np.stack([predictor.ask([one])[0].numpy() for one in read])


@pytest.fixture(scope="module")
def pixels(pictures: Callable[..., bytes]) -> np.ndarray[Any, Any]:
    decoded = [np.asarray(Image.open(BytesIO(pictures(n))).convert("RGB")).transpose(2, 0, 1) for n in range(3)]
    return np.stack(decoded)


def _image(**facts: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "image", **facts}]}


def _probabilities(reply: Any) -> np.ndarray[Any, Any]:
    facts = next(one for one in reply.json["outputs"] if one["name"] == "probabilities")
    assert facts["datatype"] == "FP32"
    return np.array(facts["data"], np.float32).reshape(facts["shape"])


@pytest.mark.medium
def test_health_and_metadata(ask: Any) -> None:
    assert ask("/v2").json["extensions"] == ["binary_tensor_data"]
    assert ask("/v2/health/live").json == {"live": True}
    assert ask("/v2/health/ready").json == {"ready": True}
    assert ask("/v2/models/small/ready").json == {"name": "small", "ready": True}
    assert ask("/v2/models/small").json == {
        "name": "small",
        "versions": ["1"],
        "platform": "deepres_pytorch",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 3, -1, -1]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "labels", "datatype": "BYTES", "shape": [-1]},
        ],
    }
    assert "did you mean small?" in ask("/v2/models/smal").error
    assert ask("/v2/models/smal/ready").status == 404
    assert ask("/v2/models/small/versions/1/ready").json == {"name": "small", "ready": True}
    assert ask("/v2/models/small/versions/1").json == ask("/v2/models/small").json
    for path in ("", "/ready"):
        reply = ask(f"/v2/models/small/versions/2{path}")
        assert (reply.status, reply.error) == (404, "model small: version 2 is not there; known: 1")


def test_readiness_is_told_while_it_takes_leave(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask.running.service, "draining", True)
    reply = ask("/v2/health/ready")
    assert (reply.status, reply.json["ready"]) == (503, False)
    assert reply.headers["connection"] == "close"


@pytest.mark.medium
def test_pixels_and_files_in_json_and_binary_are_answered_alike(
    ask: Any, pictures: Any, pixels: Any, expected: Any
) -> None:
    files = [pictures(n) for n in range(3)]
    shape = list(pixels.shape)
    nested = ask("/v2/models/small/infer", json.dumps(_image(datatype="UINT8", shape=shape, data=pixels.tolist())))
    flat = _image(datatype="UINT8", shape=shape, data=pixels.reshape(-1).tolist()) | {"id": "7"}
    row = ask("/v2/models/small/infer", json.dumps(flat))
    encoded = [b64encode(one).decode() for one in files]
    text = ask("/v2/models/small/infer", json.dumps(_image(datatype="BYTES", shape=[3], data=encoded)))
    for reply in (nested, row, text):
        assert reply.status == 200, reply.body
        np.testing.assert_allclose(_probabilities(reply), expected, atol=1e-5)
        labels = reply.json["outputs"][1]
        assert labels["data"] == [CLASSES[n] for n in expected.argmax(1)]
        assert (labels["shape"], labels["datatype"]) == ([3], "BYTES")
        assert (reply.json["model_name"], reply.json["model_version"]) == ("small", "1")
    assert row.json["id"] == "7"
    assert "id" not in nested.json
    packed = b"".join(struct.pack("<I", len(one)) + one for one in files)
    for facts, tail in (
        (_image(datatype="UINT8", shape=shape, parameters={"binary_data_size": pixels.nbytes}), pixels.tobytes()),
        (_image(datatype="BYTES", shape=[3], parameters={"binary_data_size": len(packed)}), packed),
    ):
        facts["outputs"] = [
            {"name": "labels", "parameters": {"binary_data": True}},
            {"name": "probabilities", "parameters": {"binary_data": True}},
        ]
        head = json.dumps(facts).encode()
        reply = ask("/v2/models/small/infer", head + tail, {"Inference-Header-Content-Length": str(len(head))})
        assert reply.headers["content-type"] == "application/octet-stream"
        size = int(reply.headers["inference-header-content-length"])
        told = json.loads(reply.body[:size])["outputs"]
        sizes = [one["parameters"]["binary_data_size"] for one in told]
        assert len(reply.body) == size + sum(sizes)
        values = np.frombuffer(reply.body[size + sizes[0] :], "<f4").reshape(3, 3)
        np.testing.assert_allclose(values, expected, atol=1e-5)
        first = CLASSES[int(expected[0].argmax())].encode()
        assert reply.body[size:].startswith(struct.pack("<I", len(first)) + first)


GOOD: dict[str, Any] = {"datatype": "BYTES", "shape": [1], "data": ["eA=="]}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "body: not JSON"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b"[]", 400, "no list `inputs`"),
        ({}, 400, "no list `inputs`"),
        ({"inputs": []}, 400, "no list `inputs`"),
        ({"inputs": [{}, {}]}, 400, "2 inputs; wanted one, named image"),
        ({"inputs": [{"name": "imag"}]}, 400, r"input 'imag': unknown; did you mean image\?"),
        (_image(**GOOD) | {"outputs": [{"name": "logits"}]}, 400, "output 'logits': unknown; known: labels, probab"),
        (_image(**GOOD) | {"outputs": [{"name": "labels", "parameters": {"classification": 3}}]}, 400, "not known"),
        (_image(**GOOD) | {"outputs": "labels"}, 400, "outputs: wanted a list"),
        (_image(**GOOD) | {"id": {"a": 1}}, 400, "id: {'a': 1}; wanted a text"),
        (_image(datatype="UINT8", shape=[1, 3, 1, 99_000], data=[1] * 297_000), 422, "a strip of 99,000 x 1 px, 57"),
        (_image(**GOOD), 422, "image 0: not an image that can be read"),
        (_image(**{**GOOD, "data": ["!"]}), 400, "files in base64"),
        (_image(**{**GOOD, "data": [7]}), 400, "files in base64"),
        (_image(**{**GOOD, "shape": [2]}), 400, "1 file, its shape says 2"),
        (_image(**{**GOOD, "shape": [65]}), 413, "at most 64"),
        (_image(**{**GOOD, "shape": [True]}), 400, "positive whole numbers"),
        (_image(**{**GOOD, "shape": [-1]}), 400, "positive whole numbers"),
        (_image(datatype="BYTES", shape=[1]), 400, "no list `data`"),
        (_image(datatype="FP32", shape=[1, 3, 2, 2], data=[0.5] * 12), 400, r"wanted UINT8 \[n, 3, height, width\]"),
        (_image(datatype="UINT8", shape=[1, 1, 2, 2], data=[1] * 4), 400, r"wanted UINT8 \[n, 3, height, width\]"),
        (_image(datatype="UINT8", shape=[1, 3, 2, 2], data=[1] * 11), 400, "11 values, its shape .* says 12"),
        (_image(datatype="UINT8", shape=[1, 3, 2, 2], data=[256] * 12), 400, "from 0 to 255"),
        (_image(datatype="UINT8", shape=[1, 3, 2, 2], data=[-1] * 12), 400, "from 0 to 255"),
        (_image(datatype="UINT8", shape=[1, 3, 2, 2], data=[1.5] * 12), 400, "from 0 to 255"),
        (_image(datatype="UINT8", shape=[1, 3, 2, 2], data=[True] * 12), 400, "from 0 to 255"),
        (_image(datatype="UINT8", shape=[1, 3, 2, 2], data=[]), 400, "from 0 to 255"),
        (_image(datatype="UINT8", shape=[1, 3, 2, 2], data=[[1], [2, 3]]), 400, "ragged"),
        (_image(datatype="UINT8", shape=[1, 3, 2, 2], data=[10**30] * 12), 400, "from 0 to 255"),
        (_image(datatype="UINT8", shape=[1, 3, 90000, 90000], data=[1]), 422, "90,000 x 90,000 px; the limit"),
        (_image(datatype="UINT8", shape=[1, 3, 2, 2], parameters={"binary_data_size": 12}), 400, "0 bytes follow the"),
        (_image(datatype="UINT8", shape=[1, 3, 2, 2], parameters=[1]), 400, "parameters: wanted an object"),
        (b'{"inputs": [' + b"0," * 400_001 + b"0]}", 413, "more than 400,000 values in JSON; send them as binary"),
        (b'{"inputs": [' + b"[]," * 200_001 + b"0]}", 413, "more than 400,000 values in JSON; send them as binary"),
        (b"{" + b'"a":1,' * 1_001 + b'"b":1}', 413, "1,002 texts in JSON, at most 1,000; send"),
        (b'{"inputs": [' + b"1" * 2_400_000 + b"]}", 413, "2,400,006 bytes of numbers in JSON, at most 2,400,000"),
    ],
)
def test_what_is_none_of_the_protocol_is_one_line(ask: Any, body: Any, status: int, message: str) -> None:
    import re

    reply = ask("/v2/models/small/infer", body if isinstance(body, bytes) else json.dumps(body))
    assert reply.status == status, reply.body
    assert re.search(message, reply.error), reply.error
    assert list(reply.json) == ["error"]


@pytest.mark.parametrize("length", ["-1", "x", "999999", "1.5", "9" * 5000])
def test_a_length_that_is_none_is_refused(ask: Any, length: str) -> None:
    reply = ask("/v2/models/small/infer", b"{}", {"Inference-Header-Content-Length": length})
    assert (reply.status, "wanted the bytes of JSON" in reply.error) == (400, True)


def test_binary_files_that_end_too_early_are_refused(ask: Any) -> None:
    tail = struct.pack("<I", 50) + b"short"
    head = json.dumps(_image(datatype="BYTES", shape=[1], parameters={"binary_data_size": len(tail)})).encode()
    reply = ask("/v2/models/small/infer", head + tail, {"Inference-Header-Content-Length": str(len(head))})
    assert reply.error == "input image: its binary data ends within file 1"


@pytest.mark.slow
def test_tritons_own_client_understands_every_word(ask: Any, pictures: Any, pixels: Any, expected: Any) -> None:
    http = pytest.importorskip("tritonclient.http")
    with http.InferenceServerClient(f"127.0.0.1:{ask.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("small")
        assert client.get_server_metadata()["name"] == "deepres"
        assert client.get_model_metadata("small")["outputs"][0]["name"] == "probabilities"
        for binary in (True, False):
            image = http.InferInput("image", list(pixels.shape), "UINT8")
            image.set_data_from_numpy(pixels, binary_data=binary)
            outputs = [http.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "labels")]
            found = client.infer("small", [image], outputs=outputs, request_id="9")
            np.testing.assert_allclose(found.as_numpy("probabilities"), expected, atol=1e-5)
            labels = [CLASSES[n] for n in expected.argmax(1)]
            told = [one.decode() if isinstance(one, bytes) else one for one in found.as_numpy("labels")]
            assert told == labels
            assert found.get_response()["id"] == "9"
        files = http.InferInput("image", [3], "BYTES")
        files.set_data_from_numpy(np.array([pictures(n) for n in range(3)], dtype=np.object_))
        found = client.infer("small", [files], model_version="1")
        np.testing.assert_allclose(found.as_numpy("probabilities"), expected, atol=1e-5)
        with pytest.raises(http.InferenceServerException, match="did you mean small"):
            client.infer("smal", [files])
