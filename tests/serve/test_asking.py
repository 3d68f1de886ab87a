"""Every task is answered in its own words, as predict answers it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepres.predict.predictor import Predictor


def _near(found: Any, wanted: Any) -> None:
    """Equal, numbers to 1e-4."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for name in wanted:
            _near(found[name], wanted[name])
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            _near(one, other)
    else:
        assert found == (pytest.approx(wanted, abs=1e-4) if isinstance(wanted, float) else wanted)


@pytest.mark.medium
@pytest.mark.parametrize("name", ["labels", "numbers", "boxes"])
def test_every_task_is_answered_as_predict_answers_it(
    all_of_them: Any, folders: dict[str, Path], pictures: Callable[..., bytes], tmp_path: Path, name: str
) -> None:
    predictor = Predictor.load(folders[name], "cpu")
    files = [("a.png", pictures(1)), ("none.png", b"none"), ("b.png", pictures(2, (60, 80)))]
    reply = all_of_them.form(f"/v1/models/{name}/predict", files)
    assert reply.status == 200
    for (file, data), told in zip(files, reply.json["answers"], strict=True):
        (tmp_path / file).write_bytes(data)
        wanted = predictor(tmp_path / file).model_dump(mode="json")
        if told["problem"] is None:
            _near(told, {**wanted, "image": file})
        else:
            assert file == "none.png"
            assert {**told, "problem": ""} == {**wanted, "image": file, "problem": ""}
    assert reply.json["answers"][0]["problem"] is None


@pytest.mark.medium
def test_boxes_are_told_from_the_score_that_is_asked(
    all_of_them: Any, folders: dict[str, Path], pictures: Callable[..., bytes], tmp_path: Path
) -> None:
    told = all_of_them("/v1/models/boxes/predict?above=0", pictures(1)).json["answers"][0]
    predictor = Predictor.load(folders["boxes"], "cpu")
    (tmp_path / "a.png").write_bytes(pictures(1))
    asked = replace(predictor, task=predictor.task.replace(above=0.0))(tmp_path / "a.png").model_dump(mode="json")
    _near(told["boxes"], asked["boxes"])
    assert told["hidden"] == 0
    assert told["boxes"]


@pytest.mark.medium
def test_a_localiser_tells_its_guesses_and_hides_none(
    starting: Any, localiser: Path, pictures: Callable[..., bytes], tmp_path: Path
) -> None:
    client = starting(localiser)
    told = client("/v1/predict", pictures(1)).json["answers"][0]
    (tmp_path / "a.png").write_bytes(pictures(1))
    own = Predictor.load(localiser, "cpu")(tmp_path / "a.png").model_dump(mode="json")
    _near(told["boxes"], own["boxes"])
    assert len(told["boxes"]) == 3
    of = client("/v1/models").json["models"][0]
    assert of["task"]["classifier"] == "small"  # its name: folders of this machine are nobody's business
    assert str(localiser.parent.parent) not in str(of)
    refused = client("/v1/predict?above=0.5", pictures(1))
    assert (refused.status, refused.error) == (
        422,
        "above=0.5: places is a localisation, which hides none of its guesses; leave it out",
    )


@pytest.mark.medium
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("numbers/predict?top_k=2", "top_k=2: numbers is a regression, which names no classes; leave it out"),
        ("boxes/predict?top_k=2", "top_k=2: boxes is a detection, which names no classes; leave it out"),
        ("labels/predict?above=0.5", "above=0.5: labels is a multilabel, which finds no boxes; leave it out"),
        (
            "boxes/predict?reject=error=0.1",
            "reject=error=0.1: boxes is a detection, which names no one class; leave it",
        ),
        ("boxes/cam", "boxes: its task is detection, and --cam is for classification alone"),
        ("labels/predict?cam=true", "labels: its task is multilabel, and --cam is for classification alone"),
    ],
)
def test_an_option_that_means_nothing_to_the_task_is_refused(
    all_of_them: Any, pictures: Callable[..., bytes], path: str, message: str
) -> None:
    reply = all_of_them(f"/v1/models/{path}", pictures())
    assert reply.status == 422
    assert reply.error.startswith(message)


@pytest.mark.medium
def test_unsure_answers_are_unknown_where_that_is_asked(ask: Any, pictures: Callable[..., bytes]) -> None:
    sure = max(guess["probability"] for guess in ask("/v1/predict", pictures()).json["answers"][0]["guesses"])
    for limit, unknown in ((sure - 0.001, False), (sure + 0.001, True)):
        told = ask(f"/v1/predict?reject=probability={limit:.4f}", pictures()).json["answers"][0]
        assert told["unknown"] is unknown
        assert told["guesses"]
    assert "unknown" not in ask("/v1/predict", pictures()).json["answers"][0]
    for rule, message in (
        ("half", "reject=half: wanted coverage=0.95"),
        ("coverage=0.9", "reject=coverage=0.9: these weights keep no thresholds"),
    ):
        refused = ask(f"/v1/predict?reject={rule}", pictures())
        assert refused.status == 422
        assert refused.error.startswith(message)


@pytest.mark.medium
def test_the_protocol_has_outputs_for_what_is_a_tensor(all_of_them: Any, pictures: Callable[..., bytes]) -> None:
    import json
    from base64 import b64encode

    body = json.dumps(
        {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [b64encode(pictures()).decode()]}]}
    )
    (values,) = all_of_them("/v2/models/numbers/infer", body).json["outputs"]
    told = all_of_them("/v1/models/numbers/predict", pictures()).json["answers"][0]["values"]
    assert (values["name"], values["shape"]) == ("values", [1, 3])
    assert values["data"] == pytest.approx([one["value"] for one in told], rel=1e-5)
    labels = all_of_them("/v2/models/labels/infer", body).json["outputs"][1]["data"]
    assert labels == [";".join(all_of_them("/v1/models/labels/predict", pictures()).json["answers"][0]["labels"])]
    refused = all_of_them("/v2/models/boxes/infer", body)
    assert refused.error == "boxes is a detection, whose answers are no tensors; use /v1/predict"
