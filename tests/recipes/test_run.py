import json
from pathlib import Path

import pytest

from deepres.base import records
from deepres.base.errors import InputError
from deepres.data.facts import DatasetFacts
from deepres.recipes import papers
from deepres.recipes.run import FORMAT, OtherFormatError, Run, load_run
from deepres.train.schedules import ScheduleConfig

RUN = papers.cifar_2015(
    DatasetFacts("somewhere", num_classes=10, num_images=1000, channels=3, side=32), "resnet20_cifar"
)


def _written(folder: Path, **changes: object) -> Path:
    facts = json.loads(RUN.to_json()) | changes
    (folder / "run.json").write_text(json.dumps({name: value for name, value in facts.items() if value is not None}))
    return folder


def test_a_run_says_its_format_and_is_read_again(tmp_path: Path) -> None:
    run = load_run(_written(tmp_path))
    assert run.format == FORMAT
    assert records.parse(Run, run.to_json(), "run") == run


@pytest.mark.parametrize(
    ("given", "reader"), [(None, "deepres 0.1"), (1, "deepres 0.1"), (FORMAT + 1, "a newer deepres")]
)
def test_another_versions_run_names_the_version_that_reads_it(tmp_path: Path, given: int | None, reader: str) -> None:
    with pytest.raises(
        OtherFormatError, match=f"run.json: a run of format {given or 1}, which {reader} reads; "
    ) as met:
        load_run(_written(tmp_path, format=given))
    assert f"go on with {reader}, or begin a new run with its weights: --weights {tmp_path}" in str(met.value)


@pytest.mark.parametrize("given", ["two", 2.5, [2]])
def test_a_format_that_is_none_is_refused(tmp_path: Path, given: object) -> None:
    with pytest.raises(InputError, match=r"run.json: format: input should be 2, given"):
        load_run(_written(tmp_path, format=given))


@pytest.mark.parametrize(
    ("old", "new"), [(f"train.schedule.{old}", f"train.schedule.{new}") for old, new in ScheduleConfig.renamed.items()]
)
def test_an_edit_in_old_words_is_answered_with_the_new(old: str, new: str) -> None:
    with pytest.raises(InputError, match=f"--set {old}: is called {new} now; write --set {new}=0.5"):
        records.edit(RUN, [f"{old}=0.5"])
