"""Classes of weights without names: read off folders and lists, answers among some, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.data.sources.config import DataConfig
from deepres.nn.create import create_model
from deepres.nn.weights.spec import WeightsSpec
from deepres.runs.classes_of import class_names
from deepres.runs.evaluate import EvaluationConfig, evaluate_weights

NUMBERS = tuple(f"n{10000000 + 7 * place}" for place in range(6))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all classes, of one picture each."""
    folder = tmp_path_factory.mktemp("known")
    _pictures(folder, NUMBERS, 1)
    return folder


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two of them."""
    folder = tmp_path_factory.mktemp("some")
    _pictures(folder, (NUMBERS[4], NUMBERS[1]), 5)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of six classes without names."""
    file = tmp_path_factory.mktemp("weights") / "w.pt"
    torch.save(create_model("resnet20_cifar_b", num_classes=6, seed=2).state_dict(), file)
    return file


def _pictures(folder: Path, classes: tuple[str, ...], each: int) -> None:
    draw = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir()
        for place in range(each):
            Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / name / f"{place}.png")


def _measured(weights: Path, source: Path, place: Path | str | None, **more: Any) -> Any:
    spec = WeightsSpec(str(weights), variant="resnet20_cifar_b", mean=(0.5,) * 3, std=(0.25,) * 3)
    config = EvaluationConfig(classes_of=None if place is None else str(place), keep_scores=True, **more)
    found, _ = evaluate_weights(spec, DataConfig(source=str(source)), config, device=torch.device("cpu"))
    return found


def test_names_are_those_of_the_folders_or_of_the_lines(known: Path, tmp_path: Path) -> None:
    assert class_names(known) == NUMBERS
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "train").symlink_to(known)
    assert class_names(tmp_path / "root") == NUMBERS
    listed = tmp_path / "names.txt"
    listed.write_text("n01440764 tench, Tinca tinca\n\ngreat white shark\n")
    assert class_names(listed) == ("n01440764", "great white shark")
    for wrong in (tmp_path / "no.csv", tmp_path / "root" / "empty"):
        if not wrong.suffix:
            wrong.mkdir()
        with pytest.raises(InputError, match="no names of classes, or one twice; wanted a folder of class folders"):
            class_names(wrong)


@pytest.mark.medium
def test_images_of_some_classes_are_answered_among_these(known: Path, some: Path, weights: Path) -> None:
    with pytest.raises(InputError, match="the network does not know the classes"):
        _measured(weights, some, None)
    found = _measured(weights, some, known)
    network = create_model("resnet20_cifar_b", num_classes=6, weights=weights).eval()
    right, scores = 0, []
    for column, name in enumerate((NUMBERS[1], NUMBERS[4])):
        for place in range(5):
            pixels = torch.from_numpy(np.array(Image.open(some / name / f"{place}.png"))).permute(2, 0, 1)
            with torch.no_grad():
                logits = network((pixels[None].float() / 255 - 0.5) / 0.25)[0, [1, 4]]
            scores.append(logits.log_softmax(0))
            right += int(logits.argmax() == column)
    assert found.result.num_images == 10
    assert found.result.error == pytest.approx(1 - right / 10)
    torch.testing.assert_close(
        torch.as_tensor(found.predictions.scores).float(), torch.stack(scores), rtol=1e-3, atol=1e-3
    )
    assert "answers among the 2 classes of the images, of the 6 that are known" in found.result.notes


@pytest.mark.medium
def test_what_does_not_go_together_is_refused(known: Path, some: Path, weights: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("\n".join(NUMBERS[:5]))
    with pytest.raises(InputError, match=r"5 classes, and .*w.pt know 6; wanted the folder that they were trained on"):
        _measured(weights, some, few)
    others = tmp_path / "others.txt"
    others.write_text("\n".join(f"class {place}" for place in range(6)))
    with pytest.raises(InputError, match="--classes-of: given nothing; wanted a folder of class folders"):
        _measured(weights, some, "")
    with pytest.raises(InputError, match=f"class '{NUMBERS[1]}' of the images is none of the 6 of .*others.txt"):
        _measured(weights, some, others)
