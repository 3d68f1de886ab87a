"""A detector that learns in four stages: what each learns and leaves, cut and gone on with, and what it ends as."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import deepres
from deepres.base.errors import InputError
from deepres.base.files import digest
from deepres.cli.main import run as deepres_command
from deepres.recipes.plan import Words
from deepres.recipes.run import load_run
from deepres.recipes.stages import stage_run
from deepres.runs import stages
from deepres.runs.plan import Planned, plan_run
from deepres.runs.session import Session
from deepres.runs.train import Event
from deepres.train.loop import Step
from small_detector import EDITS, drawn

SMALL = (
    *EDITS,
    "train.turns.proposals.iterations=3",
    "train.turns.proposals.batch_size=2",
    "train.turns.regions.iterations=3",
    "train.save_every_seconds=0.0001",
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "shapes"
    return drawn(folder, 6, 4, 4)


@pytest.fixture(scope="module")
def planned(source: Path) -> Planned:
    return plan_run(str(source), Words(recipe="voc_2015", edits=SMALL))


@pytest.fixture(scope="module")
def whole(planned: Planned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    stages.start(planned, Session(folder, CPU))
    return folder


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def _moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The children of which any tensor is another."""
    assert before.keys() == after.keys()
    return {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}


BODY, BEHIND = {"stem", "stage1", "stage2", "stage3"}, {"stage4", "regions"}


def test_the_stages_are_those_of_the_paper(planned: Planned) -> None:
    run = planned.run.replace(
        weights="resnet101.pth", variant="resnet101", train=planned.run.train.replace(frozen=("stem",))
    )
    every = [stage_run(run, stage, lambda other: f"there/{other}") for stage in (1, 2, 3, 4)]
    told = [(each.weights, each.variant, each.train.learns, each.train.proposals_of) for each in every]
    assert told == [
        ("resnet101.pth", "resnet101", "proposals", None),
        ("resnet101.pth", "resnet101", "regions", "../stage-1"),
        ("there/2", None, "proposals", None),
        ("there/3", None, "regions", None),
    ]
    still = [set(each.train.frozen) for each in every]
    assert still == [{"stem"} | BEHIND, {"stem", "proposals"}, BODY | BEHIND, BODY | {"proposals"}]
    assert [(each.train.iterations, each.train.batch_size, each.train.schedule.milestones) for each in every] == [
        (3, 2, (0.75,)), (3, 2, (0.5,)),
    ] * 2  # fmt: skip
    assert all(each.train.joint and each.train.turns is None for each in every)


@pytest.mark.slow
def test_each_stage_learns_its_part_and_the_end_is_a_run_like_any_other(whole: Path, source: Path) -> None:
    own = [whole / f"stage-{stage}" for stage in (1, 2, 3, 4)]
    runs = [load_run(each) for each in own]
    assert [run.train.learns for run in runs] == ["proposals", "regions"] * 2
    first, second, third, fourth = map(_weights, own)
    assert _moved(second, third) == {"proposals"}
    assert _moved(third, fourth) == BEHIND
    assert _moved(first, second) == BODY | BEHIND | {"proposals"}
    assert _moved(fourth, _weights(whole)) == set()
    assert not any((each / "test.json").exists() for each in own), "test images are measured once, in the end"
    history = [json.loads((each / "history.jsonl").read_text().splitlines()[-1]) for each in own]
    assert ["train_objectness" in row for row in history] == [True, False] * 2
    assert ["train_classes" in row for row in history] == [False, True] * 2
    assert all(row["step"] == 3 for row in history)
    run, summary = load_run(whole), json.loads((whole / "summary.json").read_text())
    assert (run.recipe, run.train.joint, run.train.learns) == ("voc_2015", False, "all")
    assert [(one["stage"], one["steps"]) for one in summary["stages"]] == [(1, 3), (2, 3), (3, 3), (4, 3)]
    assert summary["measure"] == "voc07"
    page = (whole / "report.html").read_text()
    assert "learnt in turn" in page
    assert "regions are learnt among the proposals of stage 3" in page
    for words in (
        ("eval", whole),
        ("predict", whole, source / "JPEGImages" / "010.png"),
        ("analyze", "lesion", whole, "--images", 2),
        ("train", "--resume", whole),
    ):
        assert deepres_command([*map(str, words), "--device", "cpu"]) == 0, words
    assert (whole / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "step"), [(1, 1), pytest.param(3, 2, marks=pytest.mark.long), (4, 1)])
def test_cut_in_the_middle_of_a_stage_it_goes_on_bitwise(
    planned: Planned, whole: Path, tmp_path: Path, stage: int, step: int
) -> None:
    cut = tmp_path / "cut"
    begun = []

    def stop(event: Event) -> None:
        if isinstance(event, str) and event.startswith("stage "):
            begun.append(event)
        if isinstance(event, Step) and len(begun) == stage and event.step == step:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        stages.start(planned, Session(cut, CPU, stop))
    assert not (cut / "run.json").exists()
    moved = tmp_path / "elsewhere"
    shutil.move(cut, moved)
    said: list[str] = []
    stages.resume(Session(moved, CPU, lambda event: said.append(str(event))))
    assert sum(line.startswith("stage ") for line in said) == 5 - stage, "what is done is not done again"
    for name in ("stage-1", "stage-2", "stage-3", "stage-4", "."):
        assert digest(moved / name / "model.safetensors") == digest(whole / name / "model.safetensors"), name


@pytest.mark.slow
def test_all_at_once_is_one_run_that_says_so(source: Path, tmp_path: Path) -> None:
    settings: dict[str, object] = dict(edit.split("=") for edit in SMALL)  # type: ignore[misc]
    settings |= {"recipe": "voc_2015", "train.joint": True, "train.iterations": 2, "train.batch_size": 2}
    run = deepres.train(source, tmp_path / "run", settings=settings, device="cpu", progress=False)
    assert not list(run.folder.glob("stage*"))
    assert "learnt at once, from the sum of their losses" in run.report.read_text()
    assert "stages" not in json.loads((run.folder / "summary.json").read_text())


@pytest.mark.slow
def test_what_does_not_go_with_stages_is_refused_in_one_line(
    planned: Planned, whole: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [word for edit in SMALL for word in ("--set", edit)]
    new = ("train", source, "--recipe", "voc_2015", "--device", "cpu", "--output", tmp_path / "new", *small)
    for words, told in (
        ((*new, "--set", "train.iterations=3"), "train.iterations: proposals and regions learn in turn here"),
        ((*new, "--epochs", 3), "train.epochs: proposals and regions learn in turn here"),
        ((*new, "--minutes", 3), "--minutes: a run in stages is as long as train.turns says"),
        ((*new, "--weights", tmp_path / "none.pth"), "none.pth"),
        (("train", "--resume", whole, "--set", "train.clip_norm=1"), "a run in stages keeps what it began with; only"),
        (("train", source, "--recipe", "voc_2015", "--output", whole, *small), "holds a run already"),
        (("train", "digits", "--set", "train.joint=false"), "no turns that say how long each part learns"),
    ):
        assert deepres_command(list(map(str, words))) == 2, words
        err = capsys.readouterr().err
        assert told in err
        assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()
    copied = tmp_path / "copied"
    shutil.copytree(whole, copied)
    for name in ("run.json", "manifest.json", "summary.json"):
        (copied / name).unlink()
    (copied / "stage-2" / "manifest.json").write_bytes((copied / "stage-1" / "manifest.json").read_bytes())
    with pytest.raises(InputError, match="not of stage 2 of the run in"):
        stages.resume(Session(copied, CPU))
    (copied / "stages.json").write_text((copied / "stages.json").read_text().replace("voc07", "coco"))
    with pytest.raises(InputError, match="damaged, or changed by hand"):
        stages.resume(Session(copied, CPU))
