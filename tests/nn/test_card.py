import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepres.base.files import digest
from deepres.cli.main import run
from deepres.nn.weights.card import CARD, CardFacts, card, write_card

HOSTILE = "<script>\x1b[2J|`*_[x](y)\n# no\u202e"


def _head(text: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert found is not None
    return dict(yaml.safe_load(found[1]))


def test_what_nobody_said_is_said_to_be_unknown() -> None:
    text = card(CardFacts("resnet18", "class"))
    assert _head(text) == {
        "license": "unknown",
        "library_name": "deepres",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "deepres"],
    }
    assert "nobody has said" in text
    assert "Nothing was measured." in text
    assert card(CardFacts("resnet18", "class")) == text


def test_what_comes_from_outside_stays_text() -> None:
    facts = CardFacts("resnet18", "class", (HOSTILE, "dog"), dataset=HOSTILE, splits={"train": (3, HOSTILE)})
    text = card(facts)
    head, body = _head(text), text.split("\n---\n", 1)[1]
    (dataset,) = head["datasets"]
    assert "\x1b" not in text
    assert "\n" not in dataset
    assert "<script" not in body
    assert "\n# no" not in body
    assert r"\|\`\*\_\[x\](y)" in body


def test_a_card_that_somebody_changed_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / CARD
    assert write_card(tmp_path, "one\n") is None
    assert write_card(tmp_path, "two\n") is None
    assert path.read_text().startswith("two\n\n<!-- written by deepres, sha256 ")
    path.write_text(path.read_text().replace("two", "twice"))
    assert (
        write_card(tmp_path, "three")
        == f"{path}: changed by hand, and left as it is; remove it to have it written anew"
    )
    assert path.read_text().startswith("twice")
    path.write_text("")
    assert write_card(tmp_path, "three") is None
    path.unlink()
    path.mkdir()
    assert "left as it is" in (write_card(tmp_path, "four") or "")


WORDS = {
    "multilabel": ("image-classification", "mean_average_precision"),
    "regression": ("image-regression", "mae"),
    "detection": ("object-detection", "mean_average_precision"),
    "classification": ("image-classification", "accuracy"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=pytest.mark.long) if task == "multilabel" else task for task in sorted(WORDS)]
)
def test_the_card_of_a_run_has_its_own_figures_and_resuming_gives_its_bytes(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "faults"))
    from runs_of_tasks import PLAIN, SMALL, TASKS, pictures

    words = TASKS.get(task, ["photos", *PLAIN])
    source = pictures() / words[0]
    if task == "classification":
        source = tmp_path / "photos"
        for number, picture in enumerate(sorted((pictures() / "photos").iterdir())):
            place = source / "ab"[number % 2] / picture.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(picture.read_bytes())
    folder, path = tmp_path / "run", tmp_path / "run" / CARD
    assert run(["train", str(source), *words[1:], *SMALL, "--set", "license=mit", "--output", str(folder)]) == 0
    known, facts = hub.ModelCard.load(path), json.loads((folder / "summary.json").read_text())
    kind, figure = WORDS[task]
    assert known.data.license == "mit"
    assert known.data.library_name == "deepres"
    assert known.data.datasets == [source.name.removesuffix(".csv")] or known.data.datasets == [source.name]
    (told,) = known.data.eval_results
    assert (told.task_type, told.metric_type, told.dataset_split) == (kind, figure, "test")
    low, high = facts.get("interval_95") or facts["error_interval_95"]
    value = facts["error"] if task == "classification" else facts[told.metric_name]
    if task == "classification":
        value, low, high = 1 - value, 1 - high, 1 - low
    assert told.metric_value == pytest.approx(value, abs=1e-6)
    assert told.metric_args["interval_95"] == pytest.approx([low, high], abs=1e-6)
    assert f"{facts['num_images']}" in known.text
    config = json.loads((folder / "config.json").read_text())
    assert config["license"] == "mit"
    if task == "regression":
        assert "id2label" not in config
    else:
        assert config["id2label"] == {str(number): name for number, name in enumerate(config["label_names"])}
        assert {str(number): name for name, number in config["label2id"].items()} == config["id2label"]
    before = path.read_bytes()
    assert run(["train", "--resume", str(folder)]) == 0
    assert path.read_bytes() == before
    weights = digest(folder / "model.safetensors")
    assert run(["train", "--resume", str(folder), "--set", "license=cc-by-4.0"]) == 0
    assert hub.ModelCard.load(path).data.license == "cc-by-4.0"
    assert digest(folder / "model.safetensors") == weights
    for spoil in (b"mine", before[:200]):
        path.write_bytes(spoil)
        capsys.readouterr()
        assert run(["train", "--resume", str(folder)]) == 0
        assert path.read_bytes() == spoil
        assert "changed by hand, and left as it is" in capsys.readouterr().err
