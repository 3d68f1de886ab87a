"""A study small enough to run: two networks of 20 layers, three steps each, on coloured noise of CIFAR's form."""

from pathlib import Path

import numpy as np
import pytest

from deepres.studies.study import Claim, Column, Printed, Row, Study

STEPS = 3


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair of .npz files of CIFAR-10's form: each class has a colour of its own."""
    folder = tmp_path_factory.mktemp("images")
    draws = np.random.default_rng(0)
    for part, count in (("train", 400), ("test", 60)):
        labels = np.arange(count) % 10
        colours = np.linspace(20, 230, 10)[labels][:, None, None, None]
        pixels = np.clip(colours + draws.normal(0, 12, (count, 32, 32, 3)), 0, 255).astype(np.uint8)
        np.savez(folder / f"cifar10_{part}.npz", x=pixels, y=labels.astype(np.int64))
    return folder / "cifar10_train.npz"


@pytest.fixture
def study() -> Study:
    return Study(
        name="test/table1",
        title="two of 20 layers",
        source="nobody 2026, Table 1",
        shows="curves",
        recipe="cifar_2015",
        seeds=2,
        short=STEPS / 64_000,
        columns=(
            Column(name="train", measure="train_error", title="training error"),
            Column(name="test", measure="error", title="test error"),
            Column(name="size", measure="parameters", title="parameters"),
        ),
        rows=(
            Row(label="Others", printed={"test": Printed(value=9.0)}),
            Row(label="plain-20", network="plain20_cifar", panel="plain"),
            Row(label="ResNet-20", network="resnet20_cifar", panel="ResNet"),
        ),
        claims=(Claim(column="test", better="ResNet-20", worse="plain-20", says="shortcuts help"),),
    )
