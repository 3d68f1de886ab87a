from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deepres.base.errors import InputError
from deepres.predict.predictor import Predictor
from deepres.serve.served import Served

CLASSES = ["ant", "bee", "cat <b>"]


@pytest.mark.medium
def test_answers_are_those_of_predict_alone_and_in_a_batch(
    ask: Any, small: Path, pictures: Callable[..., bytes], tmp_path: Path
) -> None:
    predictor = Predictor.load(small, "cpu")
    files = [(f"{n}.png", pictures(n, (40 + n % 3, 30))) for n in range(9)]
    expected = []
    for name, data in files:
        (tmp_path / name).write_bytes(data)
        expected.append(predictor(tmp_path / name))
    alone = [ask("/v1/predict", data).json["answers"][0] for _, data in files]
    together = ask.form("/v1/predict", files).json["answers"]
    assert [one["image"] for one in together] == [name for name, _ in files]
    for wanted, *found in zip(expected, alone, together, strict=True):
        for one, within in zip(found, (1e-6, 1e-5), strict=True):
            assert [guess["name"] for guess in one["guesses"]] == [guess.name for guess in wanted.guesses]
            for guess, right in zip(one["guesses"], wanted.guesses, strict=True):
                assert guess["probability"] == pytest.approx(right.probability, abs=within)
            assert one["problem"] is None


@pytest.mark.medium
def test_a_bad_image_never_fails_its_neighbours_and_names_are_names(ask: Any, pictures: Callable[..., bytes]) -> None:
    names = ["a.png", "<img onerror>.jpg", "../../etc/passwd", "b\u202e.png", "cut.png"]
    contents = [pictures(0), b"no image", b"", pictures(1), pictures(2)[:-200]]
    reply = ask.form("/v1/predict?top_k=1", list(zip(names, contents, strict=True)))
    answers = reply.json["answers"]
    assert reply.status == 200
    assert [one["image"] for one in answers] == [*names[:3], "b\\u202e.png", "cut.png"]
    assert [one["problem"] is None for one in answers] == [True, False, False, True, False]
    assert "not an image that can be read" in answers[1]["problem"]
    assert "empty (0 bytes)" in answers[2]["problem"]
    assert "damaged or cut short" in answers[4]["problem"]
    assert [len(one["guesses"]) for one in answers] == [1, 0, 0, 1, 0]


def test_where_nothing_could_be_answered_the_status_says_so(ask: Any) -> None:
    alone = ask("/v1/predict", b"GIF8 not really")
    assert alone.status == 422
    assert alone.error == alone.json["answers"][0]["problem"]
    both = ask.form("/v1/predict", [("a", b"x"), ("b", b"y")])
    assert (both.status, len(both.json["answers"])) == (422, 2)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/predict", b"", 422, "no image: the body is empty; send a picture"),
        ("/v1/predict?topk=1", b"x", 422, r"option 'topk': unknown; did you mean top_k\?"),
        ("/v1/predict?top_k=0", b"x", 422, "option 'top_k': input should be greater than or equal to 1, given '0'"),
        ("/v1/predict?top_k=two", b"x", 422, "option 'top_k': .*valid integer.*given 'two'"),
        ("/v1/predict?cam=perhaps", b"x", 422, "option 'cam': .*boolean"),
        ("/v1/predict?top_k=1&top_k=2", b"x", 422, "option 'top_k': given 2 times"),
        (
            "/v1/predict?above=0.5",
            b"x",
            422,
            "above=0.5: small is a classification, which finds no boxes; leave it out",
        ),
        ("/v1/models/smal/predict", b"x", 404, r"model 'smal': unknown; did you mean small\?"),
        ("/v1/models/%2e%2e%2fetc/predict", b"x", 404, "path '/v1/models/../etc/predict': unknown"),
        ("/v1/models/x%00y", None, 404, "unknown"),
        ("/v1/predic", b"x", 404, r"path '/v1/predic': unknown; did you mean /v1/predict"),
        ("/v1/predict/", b"x", 404, r"path '/v1/predict/': unknown; did you mean /v1/predict"),
        ("/v1/predict", None, 405, "GET /v1/predict: wanted POST"),
        ("/v1/cam?class=dog", "image", 422, "class 'dog': unknown; the nearest are"),
        ("/v1/cam?class=a%0ab", "image", 422, r"class 'a\\nb': unknown"),
        ("/v1/cam?class=3", "image", 422, "class 3: unknown; there are 3"),
        ("/v1/cam?class=--1", "image", 422, "class '--1': unknown; the nearest are"),
        ("/v1/cam?class=" + "1" * 900, "image", 422, "class '1111.*': unknown; the nearest are"),
        ("/v1/cam?class=" + "1" * 1001, "image", 422, "option 'class': .*at most 1000 char"),
        ("/v1/models?all=1", None, 422, "option 'all': unknown"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    ask: Any, pictures: Callable[..., bytes], path: str, body: Any, status: int, message: str
) -> None:
    import re

    reply = ask(path, pictures() if body == "image" else body)
    assert reply.status == status, reply.body
    assert re.search(message, reply.error), reply.error
    assert "\n" not in reply.error


@pytest.mark.medium
def test_a_map_is_a_png_of_the_picture_with_the_class_said(ask: Any, pictures: Callable[..., bytes]) -> None:
    reply = ask("/v1/cam?class=cat%20%3Cb%3E", pictures(0, (60, 40), "JPEG"))
    assert (reply.status, reply.headers["content-type"], reply.headers["x-class"]) == (
        200,
        "image/png",
        "cat%20%3Cb%3E",
    )
    with Image.open(BytesIO(reply.body)) as drawn:
        assert drawn.size == (60, 40)
    large = ask("/v1/cam", pictures(0, (1200, 600), "BMP"))
    with Image.open(BytesIO(large.body)) as drawn:
        assert drawn.size == (1024, 512)
    told = ask.form("/v1/predict?cam=true", [("a", pictures()), ("b", b"none")]).json["answers"]
    assert told[0]["map"].startswith("data:image/png;base64,")
    assert "map" not in told[1]


def test_what_is_known_of_a_model_is_told(ask: Any, small: Path) -> None:
    from hashlib import sha256

    told = ask("/v1/models").json
    (facts,) = told["models"]
    assert told["default"] == "small"
    assert facts == ask("/v1/models/small").json
    assert facts["sha256"] == sha256((small / "model.safetensors").read_bytes()).hexdigest()
    assert facts["classes"] == CLASSES
    assert facts["preparation"]["crop"] == 20
    assert facts["measured"] is None
    assert facts["precision"] == "float32, as predict, on cpu"
    assert facts["task"]["kind"] == "classification"


@pytest.mark.parametrize("wrong", [ValueError, InputError])
def test_the_network_that_fails_is_told_by_its_number_and_nothing_else(
    ask: Any, pictures: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, wrong: type[Exception]
) -> None:
    real, before = Served.ask, ask.metric('deepres_images_total{model="small",outcome="failed"}')

    def broken(self: Served, read: list[Any]) -> Any:
        if any(float(one.mean()) > 1.2 for one in read):  # a white picture
            raise wrong("secret /etc/passwd")
        return real(self, read)

    monkeypatch.setattr(Served, "ask", broken)
    white = BytesIO()
    Image.new("RGB", (30, 30), "white").save(white, "PNG")
    number = f"mine-{wrong.__name__}"
    alone = ask("/v1/predict", white.getvalue(), {"X-Request-Id": number})
    assert alone.status == 500
    assert alone.error == f"model small: the network failed on this image; the log says more under request {number}"
    assert b"Traceback" not in alone.body
    assert b"secret" not in alone.body
    beside = ask.form("/v1/predict", [("a", pictures(1)), ("w", white.getvalue()), ("b", pictures(2))])
    assert beside.status == 200
    assert [one["problem"] is None for one in beside.json["answers"]] == [True, False, True]
    assert ask.metric('deepres_images_total{model="small",outcome="failed"}') == before + 2
    (line,) = ask.log("failed", id=number)
    assert f"{wrong.__name__}: secret" in line["problem"]


def test_weights_that_give_no_numbers_are_an_error_and_no_answer(
    ask: Any, pictures: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        type(ask.running.service.models.get().task), "activated", lambda self, logits: logits * float("nan")
    )
    reply = ask("/v1/predict", pictures())
    assert reply.status == 500
    assert "the network failed" in reply.error


def test_an_error_that_nobody_foresaw_is_one_line_and_logged(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Served, "facts", lambda self: 1 / 0)
    reply = ask("/v1/models")
    assert (reply.status, list(reply.json)) == (500, ["error"])
    number = reply.headers["x-request-id"]
    assert number in reply.error
    assert "Traceback" not in reply.error
    assert [line["problem"] for line in ask.log("error", id=number)] == ["ZeroDivisionError: division by zero"]


def test_every_request_is_a_line_without_pixels_and_a_count(ask: Any, pictures: Callable[..., bytes]) -> None:
    before = ask.metric('deepres_requests_total{model="small",route="/v1/predict",status="200"}')
    reply = ask("/v1/predict", pictures(3), {"Authorization": "Bearer secret", "X-Request-Id": "bad id\x01"})
    number = reply.headers["x-request-id"]
    assert number != "bad id\x01"
    (line,) = ask.log("request", id=number)
    assert line["px"] == 1200
    assert line["bytes"] == len(pictures(3))
    assert {"queue_ms", "decode_ms", "network_ms", "batch", "status", "model", "path"} <= set(line)
    assert "secret" not in str(line)
    assert ask.metric('deepres_requests_total{model="small",route="/v1/predict",status="200"}') == before + 1
    assert ask.metric("deepres_queue_length") == 0
    assert ask.metric("deepres_batch_size_count") > 0
    assert ask.metric("deepres_loop_late_seconds_count") > 0


def test_the_api_describes_itself(ask: Any) -> None:
    paths = ask("/openapi.json").json["paths"]
    assert {"/v1/predict", "/v1/cam", "/v1/models/{name}", "/metrics"} <= set(paths)
    assert "multipart/form-data" in paths["/v1/predict"]["post"]["requestBody"]["content"]
