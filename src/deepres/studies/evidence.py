"""A run of a study as evidence: what was trained, by what, what came of it, and the verdict on it; a JSON file each."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deepres.arch.readings.cost import cost
from deepres.base import records
from deepres.base.files import make_folder, write_atomic
from deepres.base.manifest import require_vouched
from deepres.base.reading import json_object
from deepres.recipes.run import CUT
from deepres.runs.autotune import COMPILE
from deepres.runs.logbook import sessions
from deepres.studies.plan import DIVERGED, SUMMARY, Job, cells
from deepres.studies.readings import is_read
from deepres.studies.responses import mean_response
from deepres.studies.study import Study, studies
from deepres.studies.texts import printed_text
from deepres.studies.verdict import outcome
from deepres.train.compile import CompilePlan
from deepres.train.history import read_history

CURVE = ("step", "train_error", "val_error", "lr")
CURVE_OF_BOXES = ("step", "train_loss", "val_1-AP", "lr")
CURVE_OF_GUESSES = ("step", "train_loss", "val_error", "lr")
"""What is kept of a run's history, a row an epoch."""

JUDGED = ("reproduced", "within the spread", "not reproduced")


def write_evidence(job: Job, home: Path, study: Study) -> Path:
    """Write down a run that has ended, and its figure for each published study, and `study`, that it is a run of."""
    path = job.evidence(home)
    make_folder(path.parent)
    write_atomic(path, records.json_text(evidence(job, home, (study, *studies().values()))))
    return path


def evidence(job: Job, home: Path, among: Iterable[Study]) -> dict[str, Any]:
    """The run, its commands, hardware, versions, digest of weights, curve; its own figures with their verdicts."""
    facts = facts_of(job, home)
    went = sessions(job.folder(home))
    last = went[-1] if went else {}
    figures = _figures(job, home, among)
    judged = next((one for one in figures if one["verdict"] in JUDGED), None)
    return {
        "claim": _claim(job, figures, judged),
        "command": went[0]["command"] if went else "",
        "hardware": facts["hardware"] or last.get("hardware", ""),
        "versions": facts["versions"] or last.get("versions", {}),
        "n": 1,
        **{name: value for name, value in facts.items() if name not in ("hardware", "versions", "curve")},
        "dataset": job.dataset,
        "scale": job.scale,
        "sessions": len(went),
        "verdict": "shown" if judged is None else judged["verdict"],
        "figures": figures,
        "curve": facts["curve"],
    }


def facts_of(job: Job, home: Path) -> dict[str, Any]:
    """What was trained: network, recipe, steps, and where it ended the error, time, hardware and weights.

    The error of boxes is 1 - AP.
    """
    folder = job.folder(home)
    path = folder / SUMMARY
    require_vouched(path)
    summary = json_object(path, "summary of a run", "train it anew") if path.is_file() else {}
    trained = sum(row["seconds"] for row in read_history(folder, "seconds"))
    stages = summary.get("stages", [])
    guesses = job.run.task.form == "boxes" and CUT in job.run.task.tools
    boxes = job.run.task.form == "boxes" and not guesses
    curve = CURVE_OF_BOXES if boxes else CURVE_OF_GUESSES if guesses else CURVE
    history = read_history(folder, *curve)
    interval = summary.get("interval_95" if boxes or guesses else "error_interval_95")
    ended = json_object(folder / DIVERGED, "record of a divergence") if (folder / DIVERGED).is_file() else {}
    return {
        "name": job.name,
        "network": job.run.model.name,
        "parameters": cost(job.run.model.architecture()).parameters,
        "recipe": job.run.recipe,
        "steps": job.steps,
        "done": sum(one["steps"] for one in stages) if stages else history[-1]["step"] if history else 0,
        "seed": job.run.seed,
        "error": summary.get("error"),
        "error_interval_95": [1 - end for end in reversed(interval)] if boxes and interval else interval,
        "num_test_images": summary.get("num_images"),
        "diverged": ended.get("reason", ""),
        "weights_sha256": summary.get("weights_sha256", ""),
        "minutes": sum(one["training_seconds"] for one in stages or ({"training_seconds": trained},)) / 60,
        "hardware": summary.get("hardware", ""),
        "precision": summary.get("precision", ""),
        "steps_taken": _steps_taken(folder),
        "versions": summary.get("versions", {}),
        "curve": [{name: row[name] for name in curve} for row in history],
    }


def _steps_taken(folder: Path) -> str:
    """Compiled or not, by which kernels: `compiled steps (default; rounding differs a little): …`."""
    path = folder / COMPILE
    require_vouched(path)
    return str(records.load(CompilePlan, path, "record of how steps are carried out")) if path.is_file() else ""


def _figures(job: Job, home: Path, among: Iterable[Study]) -> list[dict[str, Any]]:
    """The run's figure in every cell that it is a run of, as if it were the only one; judged where one is printed."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for study in among:
        if job.run.recipe not in {study.recipe, *(row.recipe for row in study.rows)}:
            continue  # none of its runs is this one, known without planning them
        mine = [
            cell
            for cell in cells(study, job.scale, (job.run.seed,))
            if not (is_read(cell.column) or cell.row.ensemble) and any(each.name == job.name for each in cell.jobs)
        ]
        if not mine:
            continue
        rows = study.only(tuple(dict.fromkeys(cell.row.label for cell in mine)))
        came = outcome(rows, job.scale, home, seeds=(job.run.seed,), responses=mean_response)
        for cell in mine:
            one = came.at(cell.row.label, cell.column.name)
            if one is None or (one.quoted is None and not one.diverged):
                continue
            printed = cell.row.printed.get(cell.column.name)
            found.setdefault(
                (study.name, one.row, one.column),
                {
                    "study": study.name,
                    "row": one.row,
                    "column": cell.column.title,
                    "printed": "" if printed is None else printed_text(printed, cell.column),
                    "ours": one.quoted,
                    "verdict": one.verdict,
                },
            )
    return list(found.values())


def _claim(job: Job, figures: list[dict[str, Any]], judged: dict[str, Any] | None) -> str:
    """`resnet/table6, ResNet-20, seed 0: test error 8.61, printed 8.75: reproduced`."""
    if not figures:
        return f"{job.name}: trained"
    one, precision = judged or figures[0], job.run.train.precision
    which = ", ".join([one["study"], one["row"], *([] if precision == "auto" else [precision]), f"seed {job.run.seed}"])
    ours = "diverged" if one["ours"] is None else f"{one['column']} {one['ours']:.2f}"
    printed = f", printed {one['printed']}: {one['verdict']}" if one["printed"] else ""
    return f"{which}: {ours}{printed}"
