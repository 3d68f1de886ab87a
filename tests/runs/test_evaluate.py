"""A run's folder, measured again on its own images and on others."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deepres.base.errors import InputError
from deepres.data.facts import facts_of
from deepres.data.images import ArrayImages
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import imagenet_statistics
from deepres.nn.create import create_model
from deepres.predict.preprocessing import Prepared
from deepres.recipes.by_name import recipe
from deepres.recipes.run import smoke
from deepres.runs.evaluate import EvaluationConfig, EvaluationSetup, evaluate_network, evaluate_weights
from deepres.runs.measured_on import relabelled
from deepres.runs.session import Session
from deepres.runs.together import BATCH, batch_size
from deepres.runs.train import start
from deepres.tasks.classification.result import ClassificationResult
from deepres.train.precision import choose

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    plan = smoke(recipe(None, facts_of(open_source(DataConfig(source="digits"))), None))
    start(plan, Session(folder, CPU))
    return folder


@pytest.mark.medium
def test_measured_again_it_is_the_same(run: Path) -> None:
    first = ClassificationResult.load(run / "test.json")
    again, images = evaluate_weights(run, device=CPU, command="test")
    assert len(images) == first.num_images == 269
    assert again.result.confusion == first.confusion
    assert again.result.cross_entropy == first.cross_entropy
    assert again.result.provenance["weights_sha256"] == first.provenance["weights_sha256"]


@pytest.mark.medium
def test_classes_are_matched_by_name_not_by_order(run: Path, tmp_path: Path) -> None:
    source = open_source(DataConfig(source="digits"))
    assert source.test is not None
    x = torch.stack([source.test.image(i) for i in range(len(source.test))]).permute(0, 2, 3, 1).numpy()
    y = source.test.targets.numpy()
    backwards = np.array([str(digit) for digit in reversed(range(10))])
    np.savez(tmp_path / "digits.npz", x=x, y=9 - y, classes=backwards)
    plain, _ = evaluate_weights(run, device=CPU, command="test")
    mixed, _ = evaluate_weights(run, DataConfig(source=str(tmp_path / "digits.npz")), device=CPU, command="test")
    assert mixed.result.split == "all images"
    assert mixed.result.confusion == plain.result.confusion


@pytest.mark.medium
def test_strange_classes_and_splits_are_refused(run: Path, tmp_path: Path) -> None:
    x = np.zeros((20, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "other.npz", x=x, y=np.arange(20) % 2, classes=np.array(["0", "ten"]))
    with pytest.raises(InputError, match=r"does not know the classes ten \(it knows 0, 1, 2"):
        evaluate_weights(run, DataConfig(source=str(tmp_path / "other.npz")), device=CPU, command="test")
    with pytest.raises(InputError, match=r"split 'tset': unknown; did you mean test\?"):
        evaluate_weights(run, None, EvaluationConfig(split="tset"), device=CPU, command="test")


@pytest.mark.medium
def test_a_run_folder_holds_all_that_it_promises(run: Path) -> None:
    wanted = "run.json model.safetensors config.json statistics.safetensors data.json history.jsonl test.json "
    wanted += "predictions.npz summary.json report.html state events samples"
    assert set(wanted.split()) <= {path.name for path in run.iterdir()}


def test_a_cpu_answers_fewer_of_larger_images_at_once() -> None:
    assert [batch_size(side, CPU) for side in (32, 64, 224, 2048)] == [BATCH, BATCH, 20, 1]
    assert batch_size(224, torch.device("cuda")) == BATCH


@pytest.mark.medium
@pytest.mark.parametrize(
    ("protocol", "most"),
    [("center", 6), ("center:60", 2), ("ten-crop", 6)],
)
def test_batches_are_as_large_as_the_pictures_that_are_shown_allow(
    protocol: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepres.runs.together.PIXELS", 10_000)
    network = create_model("resnet20_cifar", num_classes=2).eval()
    images = ArrayImages(torch.zeros(9, 3, 70, 65, dtype=torch.uint8), torch.arange(9) % 2, ("a", "b"), "zeros")
    preparation = Preparation(fit="crop", resize=42, crop=40)
    sizes: list[int] = []
    network.stem.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    setup = EvaluationSetup(DataConfig(source="zeros", workers=0), choose("float32", CPU), protocol)
    evaluate_network(network, images, Prepared(preparation, imagenet_statistics()), setup, split="test")
    assert max(sizes) == most


def test_a_name_that_two_classes_of_the_network_have_is_not_guessed() -> None:
    images = ArrayImages(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]), ("crane", "cat"), "x")
    with pytest.raises(InputError, match="x: the network has several classes called 'crane', and which is meant"):
        relabelled(images, ("crane", "cat", "crane"), "x")
    assert relabelled(images, ("cat", "maillot", "crane", "maillot"), "x").targets.tolist() == [2, 0]
