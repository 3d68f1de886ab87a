"""The same words make the same run, whoever says them; images are listed once."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepres.base.errors import InputError
from deepres.cli.main import run as command
from deepres.data.facts import DatasetFacts
from deepres.data.sources import open as opening
from deepres.recipes.plan import Words, planned
from deepres.recipes.run import load_run
from deepres.runs import plan as plans
from deepres.runs.bench import bench
from deepres.runs.plan import plan_run
from deepres.studies.plan import DATASETS, run_of
from deepres.studies.study import Column, Row, study_named

Folders = Callable[[str, Mapping[str, int], tuple[int, int]], Path]
PHOTOS = DATASETS["imagenet"]


@pytest.mark.parametrize(
    "edits",
    [
        ("preparation.resize=32", "preparation.crop=32"),
        ("preparation.crop=48", "model.shortcut=B"),
        ("preparation.channels=1", "augmentation.colour_pca=0"),
        ("model.input=1,224,224",),
        ("preparation.crop=64", "train.epochs=2"),
    ],
)
def test_the_same_edits_make_the_same_network_by_the_command_and_in_a_study(edits: tuple[str, ...]) -> None:
    words = Words(recipe="imagenet_modern", model="resnet18", edits=edits)
    study = study_named("resnet/table4").replace(dataset="imagenet", recipe="imagenet_modern")
    row = Row(label="one", network="resnet18", edits=edits)
    of_study = run_of(study, row, Column(name="error", title="error", measure="error"))
    assert of_study == planned(words, PHOTOS)
    crop = of_study.preparation.crop
    assert of_study.model.input == (of_study.preparation.channels, crop, crop)


def test_an_input_that_the_images_do_not_have_is_refused_by_whoever_asks() -> None:
    words = Words(recipe="photos", edits=("model.input=3,99,99",))
    with pytest.raises(InputError, match=r"come as 3,128,128; their size is preparation\.crop"):
        planned(words, PHOTOS)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that are listed, as it happens."""
    seen: list[str] = []
    original = opening._found

    def found(config: Any) -> Any:
        seen.append(config.source)
        return original(config)

    monkeypatch.setattr(opening, "_found", found)
    return seen


SMALL = ("--set", "preparation.crop=16", "--model", "resnet20_cifar", "--smoke", "--device", "cpu")


@pytest.mark.medium
@pytest.mark.parametrize(
    "recipe", ["photos", pytest.param("imagenet_modern", marks=pytest.mark.long)]
)  # the second holds nothing out: it cuts otherwise
def test_training_lists_its_images_once(recipe: str, class_folders: Folders, listed: list[str], tmp_path: Path) -> None:
    folder = class_folders("pets", {"cat": 20, "dog": 20}, (20, 24))
    out = tmp_path / "out"
    assert command(["train", str(folder), "--recipe", recipe, *SMALL, "--output", str(out)]) == 0
    assert listed == [str(folder)]
    assert load_run(out).data.val_fraction == (0.1 if recipe == "photos" else 0.0)


@pytest.mark.medium
def test_a_bench_lists_its_images_once(class_folders: Folders, listed: list[str]) -> None:
    import torch

    folder = class_folders("pets", {"cat": 20, "dog": 20}, (20, 24))
    bench("resnet20_cifar", source=str(folder), device=torch.device("cpu"), batch_size=2, seconds=0.01)
    assert listed == [str(folder)]


def test_what_was_opened_to_look_is_what_the_run_has(class_folders: Folders) -> None:
    folder = class_folders("pets", {"cat": 20, "dog": 20}, (20, 24))
    for words in (
        Words(),
        Words(recipe="imagenet_modern"),
        Words(edits=("data.val_fraction=0.3", "data.split_seed=4")),
    ):
        plan = plan_run(str(folder), words)
        again = opening.open_source(plan.run.data)
        assert plan.source.origin == again.origin
        assert [len(images) for images in plan.source.splits().values()] == [
            len(one) for one in again.splits().values()
        ]


def test_facts_alone_make_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "find", None)
    facts = DatasetFacts("mine", 7, 900, 3, 100)
    run = planned(Words(epochs=3, source="elsewhere"), facts)
    assert (run.recipe, run.train.epochs, run.data.source, run.model.num_classes) == ("photos", 3, "elsewhere", 7)
    assert planned(Words(smoke=True), replace(facts, side=20)).train.iterations == 20
