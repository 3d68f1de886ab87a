"""A run that saves memory: the same weights, or a refusal before anything is written."""

from pathlib import Path

import pytest

from deepres.base.files import digest
from deepres.cli.main import run
from deepres.nn.weights.files import WEIGHTS


@pytest.mark.long
def test_a_run_that_saves_memory_ends_with_the_same_weights(tmp_path: Path) -> None:
    for choice in ("keep", "save"):
        assert run(["train", "digits", "--smoke", "--memory", choice, "--output", str(tmp_path / choice)]) == 0
        said = (tmp_path / choice / "log.txt").read_text()
        assert ("of the forward pass is computed twice" in said) == (choice == "save")
    assert digest(tmp_path / "keep" / WEIGHTS) == digest(tmp_path / "save" / WEIGHTS)


@pytest.mark.medium
def test_a_step_that_cannot_fit_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edits = ["--model", "resnet20_cifar", "--batch-size", "10000000"]
    assert run(["train", "digits", *edits, "--memory", "keep", "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "resnet20_cifar: 10,000,000 images at a time take about" in said
    assert "GiB with --memory keep, " in said
    assert "--batch-size " in said
    assert not (tmp_path / "run").exists()
