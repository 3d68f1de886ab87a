"""Weights that a localiser asks beside its own: found where they lie now, refused where they are gone or others."""

import shutil
from pathlib import Path

import pytest
from small_localiser import NAMES, network

from deepres.base.errors import InputError
from deepres.tasks.localisation.task import Localising, Partner
from deepres.tasks.task import FirstValues, read_in, written_in


def folder(place: Path, content: str) -> Path:
    """What lies there as weights do."""
    place.mkdir(parents=True)
    (place / "model.safetensors").write_text(content)
    return place


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Localising]:
    """A home of runs, and what the one in `rcnn` writes down of the two that it asks."""
    home = tmp_path / "runs"
    named, rpn = folder(home / "named", "classes"), folder(home / "rpn", "boxes")
    task = Localising(classifier=str(named), proposer=str(rpn))
    return home, written_in(task, home / "rcnn")


def test_a_run_writes_down_the_ways_to_what_it_asks_and_what_that_held(runs: tuple[Path, Localising]) -> None:
    home, task = runs
    assert task.classifier_at is not None
    assert task.classifier_at.beside == "../named"
    assert task.proposer_at == Partner(beside="../rpn", digest=task.proposer_at.digest)  # type: ignore[union-attr]
    assert task.proposer_at.digest != task.classifier_at.digest  # type: ignore[union-attr]
    assert read_in(task, home / "rcnn") == task
    assert written_in(task, home / "rcnn") == task
    assert Localising.model_validate(task.model_dump(mode="json")) == task
    by_name = written_in(Localising(classifier="resnet18.a1_in1k"), home / "x")
    assert by_name == Localising(classifier="resnet18.a1_in1k")
    assert read_in(by_name, home / "y") == by_name


@pytest.mark.parametrize("copied", [False, True])
def test_neighbours_that_moved_with_a_run_are_asked_there(runs: tuple[Path, Localising], copied: bool) -> None:
    home, task = runs
    new = home.parent / "elsewhere" / "all"
    if copied:
        shutil.copytree(home, new)
    else:
        new.parent.mkdir()
        home.rename(new)
    found = read_in(task, new / "rcnn")
    assert (found.classifier, found.proposer) == (str(new / "named"), str(new / "rpn"))
    for field in ("classifier", "proposer"):
        _require(found, field)


def test_a_run_that_moved_alone_asks_where_they_lay(runs: tuple[Path, Localising]) -> None:
    home, task = runs
    assert read_in(task, home.parent / "elsewhere" / "rcnn") == task
    other = folder(home.parent / "elsewhere" / "named", "others of the same name")
    assert read_in(task, home.parent / "elsewhere" / "rcnn") == task  # digests tell
    (home / "named" / "model.safetensors").write_text("trained again")
    assert read_in(task, other.parent / "rcnn").classifier == str(other)
    with pytest.raises(InputError, match=r"task\.classifier=.*named: not the weights that the run began with \(digest"):
        _require(read_in(task, other.parent / "rcnn"), "classifier")


def test_what_is_gone_or_another_is_refused_in_a_line_that_says_what_is_missing(runs: tuple[Path, Localising]) -> None:
    home, task = runs
    shutil.rmtree(home / "rpn")
    gone = read_in(task, home / "rcnn")
    with pytest.raises(InputError) as refusal:
        gone.network(network().description, NAMES, FirstValues())
    with pytest.raises(InputError) as alone:
        task.replace(classifier=None, classifier_at=None).network(network(0).description, NAMES, FirstValues())
    told = (
        f"task.proposer={home / 'rpn'}: no longer there, nor at ../rpn from the run; bring it back, or move both "
        "folders together"
    )
    assert str(alone.value) == told
    assert "says nothing of a whole region" in str(refusal.value)  # another network is told first
    (home / "named" / "model.safetensors").write_text("trained again")
    with pytest.raises(
        InputError, match=r"not the weights that the run began with \(digest [0-9a-f]{12} then, [0-9a-f]"
    ):
        task.replace(proposer=None, proposer_at=None).network(network(9).description, NAMES, FirstValues())
    with pytest.raises(InputError, match=r"task\.classifier=/no/such: no longer there; bring it back"):
        Localising(classifier="/no/such").network(network(9).description, NAMES, FirstValues())


def _require(task: Localising, field: str) -> None:
    from deepres.tasks.localisation.partners import require_there

    require_there(f"task.{field}", getattr(task, field), getattr(task, f"{field}_at"))
