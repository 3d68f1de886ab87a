"""Several runs as one: members, choice on held-out images, a temperature, and what is refused."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from deepres.base.errors import InputError
from deepres.base.manifest import MANIFEST
from deepres.cli.main import run as command_line
from deepres.data.facts import facts_of
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.nn.weights.files import read_stored
from deepres.predict.predictor import Predictor
from deepres.recipes.by_name import recipe
from deepres.recipes.run import Run, smoke
from deepres.runs.ensemble import EnsembleConfig, evaluate_ensemble
from deepres.runs.evaluate import EvaluationConfig, evaluate_weights
from deepres.runs.session import Session
from deepres.runs.train import start
from deepres.tasks.classification.result import ClassificationResult

pytestmark = pytest.mark.slow

HOW = {"device": torch.device("cpu"), "command": "test"}


def plan(source: str = "digits", **data: object) -> Run:
    config = DataConfig(source=source, **data)  # type: ignore[arg-type]
    made = smoke(recipe(None, facts_of(open_source(config)), None))
    return made.replace(data=config, train=made.train.replace(precision="float32"))


@pytest.fixture(autouse=True, scope="module")
def _temperatures_of_hardly_trained_networks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deepres.tasks.classification.calibration.AT_BOUND", 0.0)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    home = tmp_path_factory.mktemp("runs")
    for seed in (0, 1, 2):
        start(plan().replace(seed=seed), Session(home / str(seed), HOW["device"]))  # type: ignore[arg-type]
    return [str(home / str(seed)) for seed in (0, 1, 2)]


def test_one_alone_is_measured_as_ever(runs: list[str]) -> None:
    found = evaluate_ensemble(runs[:1], **HOW)  # type: ignore[arg-type]
    assert found.evaluation.result.confusion == ClassificationResult.load(Path(runs[0]) / "test.json").confusion
    assert (len(found.members), found.selection) == (1, None)


def test_several_are_the_mean_of_their_probabilities(runs: list[str]) -> None:
    found = evaluate_ensemble(runs, **HOW)  # type: ignore[arg-type]
    alone = [evaluate_weights(run, None, EvaluationConfig(keep_scores=True), **HOW)[0].predictions for run in runs]  # type: ignore[arg-type]
    mean = torch.stack([one.scores.exp() for one in alone if one.scores is not None]).mean(0)
    assert found.evaluation.result.num_wrong == int((mean.argmax(1) != alone[0].truth).sum())
    facts = found.evaluation.result.provenance
    assert facts["model"] == "ensemble of 3 x resnet20_cifar"
    assert facts["run"] == ", ".join(runs)
    members = facts["members"]
    assert isinstance(members, list)
    assert str(members[0]).startswith(f"{runs[0]}: ")
    assert "sha256" in str(members[0])


def test_members_are_chosen_on_held_out_images_alone(runs: list[str]) -> None:
    found = evaluate_ensemble(runs, None, EnsembleConfig(choose_on="val", calibrate=True), **HOW)  # type: ignore[arg-type]
    assert found.selection is not None
    assert found.selection.split == "val"
    assert {*found.selection.chosen, *found.selection.left_out} == set(runs)
    assert tuple(member.name for member in found.members) == found.selection.chosen
    result = found.evaluation.result
    assert result.split == "test"
    assert result.tempered is not None
    assert result.tempered.found_on == "val"
    assert result.tempered.found_on_images == found.selection.num_images == 179
    if len(found.members) > 1:
        assert result.provenance["selection"] == str(found.selection)


def test_the_temperature_is_that_of_the_runs_own_held_out_images(runs: list[str], tmp_path: Path) -> None:
    own = evaluate_ensemble(runs[:1], None, EnsembleConfig(calibrate=True), **HOW).evaluation.result  # type: ignore[arg-type]
    source = open_source(DataConfig(source="digits"))
    x = torch.stack([source.train.image(i) for i in range(60)]).permute(0, 2, 3, 1).numpy()
    names = np.array([str(digit) for digit in range(10)])
    np.savez(tmp_path / "other.npz", x=x, y=source.train.targets[:60].numpy(), classes=names)
    data = DataConfig(source=str(tmp_path / "other.npz"))
    other = evaluate_ensemble(runs[:1], data, EnsembleConfig(calibrate=True, force=True), **HOW).evaluation.result  # type: ignore[arg-type]
    assert own.tempered is not None
    assert other.tempered is not None
    assert own.tempered.temperature == other.tempered.temperature
    assert (own.num_images, other.num_images) == (269, 60)


def test_what_a_run_knows_is_measured_unasked_and_is_what_predict_uses(runs: list[str], tmp_path: Path) -> None:
    unasked = evaluate_ensemble(runs[:1], **HOW).evaluation  # type: ignore[arg-type]
    asked = evaluate_ensemble(runs[:1], None, EnsembleConfig(calibrate=True), **HOW).evaluation  # type: ignore[arg-type]
    known = Predictor.load(runs[0], HOW["device"]).task.temperature  # type: ignore[arg-type]
    at_the_end = ClassificationResult.load(Path(runs[0]) / "test.json")
    assert known is not None
    assert unasked.result.tempered == asked.result.tempered == at_the_end.tempered
    assert unasked.result.tempered is not None
    assert (unasked.result.tempered.temperature, unasked.result.tempered.found_on_images) == (known.value, 179)
    assert unasked.predictions.scores is None  # kept where they are asked for alone
    summary = json.loads((Path(runs[0]) / "summary.json").read_text())
    assert summary["temperature"] == known.value
    assert summary["probabilities"] == f"probabilities at {known}"
    assert f"Probabilities at {known}"[1:] in (Path(runs[0]) / "report.html").read_text()
    for others in (EnsembleConfig(split="val"), EnsembleConfig(protocol="flip")):
        assert evaluate_ensemble(runs[:1], None, others, **HOW).evaluation.result.tempered is None  # type: ignore[arg-type]
    assert evaluate_ensemble(runs, **HOW).evaluation.result.tempered is None  # type: ignore[arg-type]


def test_converted_weights_keep_it_and_bare_ones_do_not(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = torch.device("cpu")
    assert command_line(["weights", "convert", runs[0], str(tmp_path / "out")]) == 0
    known = Predictor.load(runs[0], device).task.temperature
    assert Predictor.load(tmp_path / "out", device).task.temperature == known
    assert read_stored(Path(runs[0]) / "model.safetensors").task is None
    picture = next(Path(runs[0]).glob("samples/*.png"))
    for words, said in (((), True), (("--uncalibrated",), False)):
        capsys.readouterr()
        assert command_line(["predict", runs[0], str(picture), *words]) == 0
        assert (f"probabilities at {known}; --uncalibrated leaves it out" in capsys.readouterr().err) == said


def test_a_run_of_an_older_version_is_measured_as_ever(runs: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(runs[0], folder)
    (folder / MANIFEST).unlink()  # older versions wrote none
    config = json.loads((folder / "config.json").read_text())
    del config["deepres"]["task"]
    (folder / "config.json").write_text(json.dumps(config))
    old, new = (evaluate_ensemble([str(one)], **HOW).evaluation.result for one in (folder, runs[0]))  # type: ignore[arg-type]
    assert old.tempered is None
    assert (old.num_wrong, old.cross_entropy) == (new.num_wrong, new.cross_entropy)
    assert Predictor.load(folder, HOW["device"]).task.temperature is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"val_fraction": 0}, "no images were held out"),
        ({"val_fraction": 0.006}, "10 held-out images are too few to find a temperature, wanted at least 20"),
        ({"test_fraction": 0, "val_fraction": 0.2}, ""),  # measured on the held-out images, where it was found
    ],
)
def test_without_a_temperature_it_is_said_why(
    data: dict[str, float], said: str, runs: list[str], tmp_path: Path
) -> None:
    lines: list[object] = []
    beginning = plan(**data).replace(weights=runs[0])  # which knows a temperature
    done = start(beginning, Session(tmp_path / "run", HOW["device"], lines.append))  # type: ignore[arg-type]
    told = [line for line in lines if isinstance(line, str) and line.startswith("probabilities ")]
    known = Predictor.load(done.folder, HOW["device"]).task.temperature  # type: ignore[arg-type]
    assert done.result is not None
    assert done.result.tempered is None
    if said:
        assert told == [f"probabilities are left as the network gives them: {said}"]
        assert known is None
    else:
        assert told == [f"probabilities at {known}"]
        assert known is not None
        assert known.images == done.result.num_images != 179
    assert json.loads((done.folder / "summary.json").read_text())["probabilities"] == told[0]


def test_what_is_held_out_is_never_what_is_measured(runs: list[str]) -> None:
    with pytest.raises(InputError, match=r"^--select: the images of test are what is measured; name another --split$"):
        evaluate_ensemble(runs, None, EnsembleConfig(choose_on="test"), **HOW)  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match=r"^--calibrate: the images of val are what is measured; name another --split$"
    ):
        evaluate_ensemble(runs[:1], None, EnsembleConfig(calibrate=True, split="val"), **HOW)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"0: named twice; name each member of an ensemble once$"):
        evaluate_ensemble([runs[0], runs[0]], **HOW)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"split 'vla': unknown; did you mean val\?"):
        evaluate_ensemble(runs, None, EnsembleConfig(choose_on="vla"), **HOW)  # type: ignore[arg-type]


def test_a_run_without_held_out_images_has_no_temperature(runs: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "all"
    shutil.copytree(runs[0], folder)
    made = plan(val_fraction=0)
    (folder / MANIFEST).unlink()
    made.save(folder / "run.json")
    with pytest.raises(
        InputError,
        match=r"^--calibrate: .*all has no held-out images to find a temperature on; train it with --set data\.val_fraction",
    ):
        evaluate_ensemble([str(folder)], None, EnsembleConfig(calibrate=True), **HOW)  # type: ignore[arg-type]
    weights = str(folder / "model.safetensors")
    with pytest.raises(InputError, match=r"no held-out images .*; name a SOURCE with train, val and test$"):
        evaluate_ensemble([weights], DataConfig(source="digits"), EnsembleConfig(calibrate=True), **HOW)  # type: ignore[arg-type]


def test_runs_of_other_images_are_no_ensemble(runs: list[str], tmp_path: Path) -> None:
    made = plan(split_seed=7)
    start(made, Session(tmp_path / "other", HOW["device"]))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"other is measured on 269 images \(test of digits\), .*0 on others"):
        evaluate_ensemble([runs[0], str(tmp_path / "other")], **HOW)  # type: ignore[arg-type]


def test_a_protocol_goes_through_to_the_result(runs: list[str]) -> None:
    found = evaluate_ensemble(runs[:2], None, EnsembleConfig(protocol="flip"), **HOW).evaluation.result  # type: ignore[arg-type]
    assert (found.protocol, found.shown) == (
        "flip", "the central 16 x 16 of short side 16, and its mirror; probabilities averaged",
    )  # fmt: skip
