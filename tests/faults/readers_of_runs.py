"""Readers of what lies in the folder of a run or of a cache: one for each kind of file, and how it is asked for."""

import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fuzz import Reader
from torch import nn

from deepres.base import records
from deepres.base.manifest import MANIFEST, require_own
from deepres.cli import main
from deepres.cli.weights import _names
from deepres.data.sources.open import find
from deepres.library.measuring import Analysis
from deepres.nn.memory import CheckpointPlan
from deepres.recipes.run import Run, load_run
from deepres.report.evaluation import ReportFacts, write_report
from deepres.runs import autotune, context, fold_plan, folds, introduce, resuming, seen, stages
from deepres.runs.analysis import run as examine
from deepres.runs.analysis import units
from deepres.runs.finish import training_of
from deepres.studies import evidence, report, responses, speed, verdict
from deepres.tasks.classification.predictions import load_answers
from deepres.tasks.classification.result import ClassificationResult
from deepres.tasks.paired import _about
from deepres.tasks.plans import plan_of
from deepres.train.checkpoint import drop_newest, load_best, load_newest, save_best, save_state
from deepres.train.config import SgdConfig
from deepres.train.distributed import SINGLE_PROCESS
from deepres.train.state import State


def readers_of_runs() -> list[Reader]:
    """Of files that a run wrote some time ago, in a folder whose manifest is not there: what is read is what lies there."""
    return [
        Reader(
            "test.json", _of_run("test.json"), lambda file: (ClassificationResult.load(file), load_answers(file.parent))
        ),
        Reader("what predictions say of themselves", _of_run("predictions.npz"), _about),
        Reader("numbers of an analysis", _analysis("paths.json", _PATHS), _numbers),
        Reader("predictions of a run", _of_run("predictions.npz"), lambda file: load_answers(file.parent)),
        Reader("summary.json", _of_run("summary.json"), lambda file: training_of(file.parent)),
        Reader("summary.json of a fold", _of_run("summary.json"), lambda file: folds._was_cut(file.parent)),
        Reader("history of a run", _of_run("history.jsonl"), lambda file: _shown(file.parent), 10),
        Reader("data.json", _of_run("data.json"), _same_images),
        Reader("doubles.json", _of_run("doubles.json"), lambda file: seen.doubles_in(file.parent)),
        Reader("digests.npz", _of_run("digests.npz"), _seen),
        Reader("run.json of a run", _of_run("run.json"), lambda file: load_run(file.parent)),
        Reader("skipped.json", _of_run("skipped.json", {"a.png": "cut short"}), lambda file: _skipped(file.parent)),
        Reader("teacher.json", _of_run("teacher.json", _TEACHER), _introduced),
        Reader("compile.json", _of_run("compile.json"), _settled),
        Reader("manifest.json", _of_run(MANIFEST), lambda file: require_own(file.parent, "run.json", "test.json")),
        Reader("state.json", _state("step-000000003/state.json"), _resumed),
        Reader("weights of a state", _state("step-000000003/weights.safetensors"), _resumed),
        Reader("best weights", _state("best-000000003.safetensors"), lambda file: load_best(_linear(), file.parent, 3)),
        Reader("plan of stages", _plan_of_stages, lambda file: stages._stages_in(file.parent)),
        Reader("plan of folds", _plan_of_folds, lambda file: fold_plan.plan_in(file.parent)),
        Reader("responses.json", _analysis("responses.json", _RESPONSES), _responses),
        Reader("analysis", _analysis("paths.json", _PATHS), _examined),
        Reader("part of an analysis", _analysis(".paths.part.json", _PART), _taken_up),
        Reader("plot of an analysis", _plot, _plots),
        Reader("cache", _speed, lambda file: records.recalled(speed.MachineSpeed, file)),
        Reader("test.json of a study", _of_run("test.json"), _judged),
        Reader(
            "summary of a study",
            _of_run("summary.json"),
            lambda file: evidence.facts_of(_job(file.parent), file.parent),
        ),
        Reader("names of classes", _names_of_classes, lambda file: _names(file, 3)),
    ]


_TEACHER = {"error": 0.1, "images": 10, "part": "held-out", "taught": 0.2, "views": 4, "share": 0.5, "notes": ["n"]}
_RESPONSES = {"numbers": {"responses": {"layers": [{"name": "a", "std": 1.0}, {"name": "b", "std": 0.5}]}}}
_OF = ["tiny", "p", "f00", "test"]
_PATHS = {"key": "k", "of": _OF, "title": "Paths", "about": "how long", "found": ["3 paths"], "plots": ["lengths"]}
_PATHS |= {"images": 3, "provenance": {"model": "tiny"}, "numbers": {"lengths": {"a": [1.0, 2.0]}}}
_PART = {"key": "k", "numbers": {"macs_per_second": 1.0, "hardware": "h", "network": "n"}}


@cache
def _whole() -> Path:
    """A run of two epochs on a few pictures."""
    from fuzz import _pictures

    home = Path(tempfile.mkdtemp(prefix="deepres-fuzz-"))
    _pictures(home / "pictures", 16)
    words = ["--device", "cpu", "--compile", "off", "--model", "resnet20_cifar", "--batch-size", "8", "--epochs", "2"]
    words += ["--set", "preparation.crop=8", "--workers", "0", "--output", str(home / "run")]
    assert main.run(["train", str(home / "pictures"), *words]) == 0
    return home / "run"


def _of_run(name: str, facts: object = None) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        shutil.copytree(_whole(), folder, dirs_exist_ok=True)
        if name != MANIFEST:
            (folder / MANIFEST).unlink()
        if facts is not None:
            (folder / name).write_text(json.dumps(facts))
        return folder / name

    return write


def _shown(folder: Path) -> None:
    report._curves([SimpleNamespace(row=SimpleNamespace(label="x", panel=""), jobs=[_job(folder)])], folder)
    verdict.train_error(training_of(folder)["history"])
    result = ClassificationResult.load(folder / "test.json")
    write_report(folder / "report.html", ReportFacts(result=result, run={}, **training_of(folder)))


def _same_images(file: Path) -> None:
    plan_of(file.parent)
    source = SimpleNamespace(name="p", origin=seen._origin(file.parent))
    resuming.require_same_images(source, file.parent)


def _seen(file: Path) -> None:
    run = load_run(file.parent)
    seen.began_with(file.parent)
    seen.own_data(file.parent, run)
    seen.overlap(file.parent, run, find(run.data).splits["train"])


def _skipped(folder: Path) -> None:
    before = context.skipped_before(folder)
    context.RunContext.keep_skipped(SimpleNamespace(skipped={**before, "b.png": "empty"}, folder=folder))


def _introduced(file: Path) -> None:
    if not file.is_file():
        return  # it would be introduced anew
    teachers = SimpleNamespace(known_as=lambda known: str(known))
    introduce.introduced(SimpleNamespace(teachers=teachers, processes=SINGLE_PROCESS, folder=file.parent), None, print)


def _settled(file: Path) -> None:
    run = load_run(file.parent)
    train = run.train.replace(compile="auto")
    of = SimpleNamespace(run=run.replace(train=train), folder=file.parent, processes=SINGLE_PROCESS, precision=None)
    of.source = SimpleNamespace(train=range(10))
    autotune.settle_steps(of, State(_tiny_network(), SgdConfig(), averaged=False), CheckpointPlan(), in_haste=True)


@cache
def _tiny_network() -> Any:
    from fuzz import _tiny

    return _tiny()


def _linear() -> nn.Module:
    return nn.Linear(3, 2)


def _state(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        state = State(_linear(), SgdConfig(), averaged=True)
        state.progress = state.progress.replace(step=3)
        save_state(state, folder)
        save_best(state.network, folder, 3)
        return folder / name

    return write


def _resumed(file: Path) -> None:
    """States after it are written and dropped first, for which those before are looked at."""
    folder, state = file.parents[1], State(_linear(), SgdConfig(), averaged=True)
    state.progress = state.progress.replace(step=5)
    save_state(state, folder)
    drop_newest(folder)
    load_newest(state, folder)


def _plan_of_stages(folder: Path) -> Path:
    run = records.load(Run, _whole() / "run.json", "run description")
    stages._begin(stages.Staged(run=run, name="0" * 32), folder)
    return folder / "stages.json"


def _plan_of_folds(folder: Path) -> Path:
    run = records.load(Run, _whole() / "run.json", "run description")
    plan = fold_plan.Folds(folds=2, run=run.replace(data=run.data.replace(folds=2, fold=1)))
    plan.save(folder / "folds.json")
    return folder / "folds.json"


def _job(folder: Path) -> Any:
    run = records.load(Run, _whole() / "run.json", "run description")
    return SimpleNamespace(name="job", run=run, steps=3, folder=lambda home: folder)


def _analysis(name: str, facts: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        place = folder / "analysis"
        place.mkdir(exist_ok=True)
        (place / name).write_text(json.dumps(facts))
        (place / "paths_lengths.svg").write_text("<svg/>")
        return place / name

    return write


def _responses(file: Path) -> None:
    responses.mean_response(_job(file.parents[1]), file.parents[1])


def _examined(file: Path) -> None:
    """The page of all sections that stand there already."""
    examine._before(file.parent, "paths", "k")
    examine._page(SimpleNamespace(folder=file.parent, provenance={"source": "p"}), "t", list(_OF), {})


def _numbers(file: Path) -> None:
    Analysis(folder=file.parent, found={"paths": []}).numbers("paths")


def _taken_up(file: Path) -> None:
    of = SimpleNamespace(folder=file.parent, key="k", part=lambda name: file)
    units.AnalysisSubject.once(
        of, "paths", speed.MachineSpeed, lambda: speed.MachineSpeed(hardware="h", network="n", macs_per_second=1)
    )


def _plot(folder: Path) -> Path:
    place = folder / "analysis" / "lesion_each.svg"
    place.parent.mkdir()
    place.write_text("<svg><text>unit</text></svg>")
    return place


def _plots(file: Path) -> None:
    cells = [SimpleNamespace(jobs=[_job(file.parents[1])])]
    report.existing_plots(SimpleNamespace(shows="deletion"), cells, file.parents[1])


def _speed(folder: Path) -> Path:
    speed.MachineSpeed(hardware="h", network="n", macs_per_second=1e9).save(folder / "speed.json")
    return folder / "speed.json"


def _judged(file: Path) -> None:
    column = SimpleNamespace(measure="error")
    cell = SimpleNamespace(column=column, protocol="center")
    verdict._value(cell, _job(file.parent), file.parent, None)


def _names_of_classes(folder: Path) -> Path:
    (folder / "names.txt").write_text("cat\ndog\nfrog\n")
    return folder / "names.txt"
