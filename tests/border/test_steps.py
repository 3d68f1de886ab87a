"""Shapes that a training step can take, checked before the run; schedules and patience when a run is resumed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from deepres.arch.architecture import with_input
from deepres.arch.atoms import Norm
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.norms import fewest_images, require_normalisable, single_valued
from deepres.arch.shapes import ShapeError
from deepres.base.errors import InputError
from deepres.base.records import build as record
from deepres.cli.main import run
from deepres.data.images import Batch
from deepres.nn.build import build
from deepres.nn.create import create_model
from deepres.tasks.classification.losses import cross_entropy
from deepres.train.config import SgdConfig, TrainConfig
from deepres.train.feeding import UnfedError
from deepres.train.loop import Step, TrainingContext, train
from deepres.train.precision import Precision
from deepres.train.state import State

FLOAT32 = Precision(torch.device("cpu"), torch.float32, channels_last=False)
SIZES = [
    ("resnet18", 32, 2),  # the last maps are 1 x 1
    ("resnet18", 64, 1),
    ("resnet18", 33, 1),
    ("resnet20_cifar", 4, 2),  # as small as it goes
    ("resnet20_cifar", 32, 1),
    ("densenet121", 32, 2),
    ("preresnet110_cifar", 4, 2),
    ("resnet50d", 32, 2),
    ("vgg19_bn", 32, 1),
]


@pytest.mark.medium
@pytest.mark.parametrize(("name", "side", "wanted"), SIZES)
def test_the_fewest_images_are_those_that_torch_itself_can_do_with(name: str, side: int, wanted: int) -> None:
    described = with_input(architecture(name), (3, side, side))
    assert fewest_images(described) == wanted
    module = build(described).train()
    images = torch.empty(1, 3, side, side, device="meta")
    if wanted == 2:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            module.forward_features(images)
    else:
        module.forward_features(images)
    module.forward_features(images.expand(2, -1, -1, -1))


STEPS = [  # images of a step, parts, refused
    (1, 1, True),
    (2, 2, True),
    (4, 4, True),
    (5, 4, True),  # one part has two images, the others one
    (4, 2, False),
    (2, 1, False),
    (8, 4, False),
]


@pytest.mark.parametrize(("images", "parts", "refused"), STEPS)
def test_a_part_of_one_image_is_refused_where_a_norm_would_see_one_value(
    images: int, parts: int, refused: bool
) -> None:
    described = with_input(architecture("resnet18"), (3, 32, 32))
    if not refused:
        require_normalisable(described, images, parts=parts)
        return
    with pytest.raises(InputError, match=r"resnet18: a step of \d images? .*stage4\S+ sees one value.*set train.batch"):
        require_normalisable(described, images, parts=parts)
    require_normalisable(architecture("resnet18"), images, parts=parts)  # at 224 px there is nothing to refuse


def test_frozen_parts_are_left_out() -> None:
    described = with_input(architecture("resnet18"), (3, 32, 32))
    assert all(name.startswith("stage4") for name in single_valued(described))
    assert fewest_images(described, ["stage4"]) == 1


def test_a_group_of_one_value_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"32 groups of \(32, 1, 1\) hold one value each; choose other"):
        Norm(method="group", groups=32).output((32, 1, 1))
    assert Norm(method="group", groups=16).output((32, 1, 1)) == (32, 1, 1)


@pytest.mark.parametrize(
    "flags", [["-b", "4", "--set", "train.accumulate=4"], ["-b", "1"], ["-b", "3", "--set", "train.accumulate=3"]]
)
def test_the_command_line_refuses_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    output = tmp_path / "run"
    assert run(["train", "digits", "--model", "resnet18", *flags, "--output", str(output)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("deepres: resnet18: a step of ")
    assert "set train.batch_size=" in said[-1]
    assert not output.exists()


class _Short:
    """Batches of which some images could not be read."""

    waited_seconds = 0.0

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        for length in self.lengths[start:stop]:
            yield Batch(torch.randn(length, 3, 32, 32), torch.zeros(length, dtype=torch.int64), torch.arange(length))


def _steps(lengths: list[int], accumulate: int) -> list[Step]:
    module = (
        create_model("resnet18", num_classes=2, input_size=32) if False else create_model("resnet18", num_classes=2)
    )
    schedule = {"kind": "constant", "lr": 1e-6}
    fields = {"iterations": len(lengths), "batch_size": 4, "accumulate": accumulate, "schedule": schedule}
    config = record(TrainConfig, fields, "train")
    events = train(
        State(module, SgdConfig(), averaged=False),
        config,
        _Short(lengths),
        cross_entropy(),
        None,
        TrainingContext(num_images=1000, precision=FLOAT32, seed=0, fewest_images=2),
    )
    return [event for event in events if isinstance(event, Step)]


@pytest.mark.medium
def test_a_step_with_unreadable_images_is_made_in_fewer_parts() -> None:
    assert [step.images for step in _steps([4, 3, 2], accumulate=2)] == [4, 3, 2]


@pytest.mark.medium
def test_a_step_with_too_few_readable_images_is_refused_in_one_line() -> None:
    with pytest.raises(UnfedError, match="1 readable in its share of a step, and its norms want 2 at once; mend the"):
        _steps([4, 1], accumulate=1)


SHORT = ["--batch-size", "64"]


@pytest.mark.long
def test_a_longer_schedule_is_said_and_can_be_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "run")
    assert run(["train", "digits", *SHORT, "--epochs", "2", "--output", folder]) == 0
    capsys.readouterr()
    assert run(["train", "--resume", folder, "--epochs", "3"]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    found = re.search(
        r"stretched over 64 steps: the rate, (\S+) until now, goes on at (\S+); to hold it: ([^;]*)", said
    )
    assert found is not None, said
    assert float(found[1]) < float(found[2])
    held = re.findall(r"--set train\.schedule\.\S+", found[3])
    assert run(["train", "--resume", folder, "--epochs", "4", *" ".join(held).split()]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert "stretched" not in said
    last = json.loads((tmp_path / "run" / "history.jsonl").read_text().splitlines()[-1])
    assert (last["epoch"], last["lr"]) == (4, float(found[1]))


@pytest.mark.long
def test_a_run_that_patience_ended_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "run")
    few = ["--set", "train.patience=1", "--lr", "1e-9"]
    assert run(["train", "digits", *SHORT, *few, "--epochs", "9", "--output", folder]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert re.search(r"stopped by train.patience=1 after epoch \d+: 1 epochs? without a better held-out error", said), (
        said
    )
    assert '"ended_by": "train.patience"' in (tmp_path / "run" / "summary.json").read_text()
    assert run(["train", "--resume", folder]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert "to go on: --set train.patience=6, or =none" in said
    assert run(["train", "--resume", folder, "--epochs", "12"]) == 2
    said = capsys.readouterr().err
    assert "none is left that this could be of; go on with --set train.patience=6, or leave it out" in said
    assert said.count("\n") == 1
