"""One's own photos: `deepres train` by default beside what other libraries' documentation does; whole commands in turn.

    python bench/photos.py run --photos DIR --weights resnet50_caffe=FILE resnet44_cifar=FILE --folder runs/photos
        [--cases A B …] [--contenders ours plain timm fastai] [--seeds 0 1 2] [--dry-run]
    python bench/photos.py collect --folder runs/photos --output evidence/photos.json
    python bench/photos.py draw evidence/photos.json --output docs/figures/photos.png

Cases: `photos_cases.py`; contenders: `photos_peers.py`. Every run is a process of its own, timed from its start to its
end; seeds are the outer loop and contenders the inner one, so that what else the machine does falls on all alike. A
result is a JSON file in the folder and is not made again; another size or length needs another folder. A run that
fails does not stop the others. Code that changes under a long bench is mixed in: give it a worktree of its own.
`--fastai PYTHON` is an interpreter that has fastai, where this one has not; it needs torch and torchvision beside it.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, strftime
from typing import Any, NamedTuple

import numpy as np
import photos_evidence
import torch
from photos_cases import CASES, Task, prepare, task
from photos_evidence import CONTENDERS

from deepres.base.errors import InputError
from deepres.nn.environment import hardware, versions
from deepres.tasks.classification.metrics import Measures, score

HERE = Path(__file__).parent
PACKAGES = "import importlib.metadata as m; print(m.version('torch'), m.version('{0}'))"


class Failed(Exception):  # noqa: N818  # one run; the others go on
    """A process that did not end well."""


class Turn(NamedTuple):
    """One run to be made."""

    task: Task
    contender: str
    seed: int

    def result(self, folder: Path) -> Path:
        """Where its result lies."""
        return folder / "results" / f"{self.task.name}.{self.contender}.{self.seed}.json"


def main() -> None:
    """Run, collect or draw; what a person can mend is said in one line, with exit code 2."""
    given = _parser().parse_args()
    try:
        given.act(given)
    except InputError as error:
        print(f"photos.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def run(given: argparse.Namespace) -> None:
    """Make all results that are not there yet, in turn."""
    torch.set_num_threads(given.threads)  # what `hardware` tells of
    files = {"weights": _named(given.weights, "--weights"), "lists": _named(given.lists, "--lists")}
    tasks = [task(name, given.photos, **files, size=given.size, epochs=given.epochs) for name in given.cases]
    unknown = [name for name in given.contenders if name not in CONTENDERS]
    if unknown:
        raise InputError(f"--contenders {unknown[0]}: wanted any of {', '.join(CONTENDERS)}")
    told = {name: _versions(name, given.fastai) for name in given.contenders}
    left = list(_left(tasks, given))
    for turn in left if given.dry_run else ():
        print(f"{turn.task.name:22} {turn.contender:7} seed {turn.seed}  {_estimate(turn, given.folder):5.1f} min")
    minutes = sum(_estimate(turn, given.folder) for turn in left)
    print(f"{len(left)} runs left, about {minutes:.0f} minutes on two threads", flush=True)
    prepared: dict[str, tuple[dict[str, Any], str]] = {}
    failures: list[str] = []
    for turn in () if given.dry_run else left:
        name = turn.task.name
        if name not in prepared:
            prepared[name] = prepare(turn.task, given.folder / "prepared", given.threads)
        facts, source = prepared[name]
        try:
            result = _carried_out(turn, facts, source, given, told[turn.contender])
        except Failed as failed:
            failures.append(f"{failed}")
            print(failures[-1], flush=True)
            continue
        path = turn.result(given.folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_text(json.dumps(result, indent=1) + "\n")
        path.with_suffix(".part").replace(path)
        print(
            f"{name} {turn.contender} seed {turn.seed}: test error {100 * result['test_error']:.2f} %, "
            f"{result['wall_seconds']:.0f} s",
            flush=True,
        )
    if failures:
        raise InputError(
            f"{len(failures)} of {len(left)} runs failed, the first: {failures[0]}; run again to repeat them"
        )


def _left(tasks: Sequence[Task], given: argparse.Namespace) -> Iterator[Turn]:
    for seed in given.seeds:
        for one in tasks:
            for contender in given.contenders:
                turn = Turn(one, contender, seed)
                if not turn.result(given.folder).is_file():
                    yield turn
                    continue
                found = json.loads(turn.result(given.folder).read_text())
                if found["epochs"] != one.epochs or (one.size is not None and found["size"] != one.size):
                    raise InputError(
                        f"{turn.result(given.folder)}: holds {found['epochs']} epochs at {found['size']} px; wanted "
                        f"{one.epochs} at {one.size or found['size']} px; take another --folder"
                    )


def _carried_out(
    turn: Turn, facts: dict[str, Any], source: str, given: argparse.Namespace, told: dict[str, str]
) -> dict[str, Any]:
    """One whole process, and what came out."""
    own = given.folder / "runs" / f"{turn.task.name}.{turn.contender}.{turn.seed}"
    shutil.rmtree(own, ignore_errors=True)
    if turn.contender == "ours":
        command = [sys.executable, "-m", "deepres", "train", source, *turn.task.flags()]
        command += ["--seed", str(turn.seed), "--output", str(own)]
    else:
        python = given.fastai if turn.contender == "fastai" else sys.executable
        command = [str(python), str(HERE / "photos_peers.py"), turn.contender]
        command += [str(given.folder / "prepared" / f"{turn.task.name}.json"), "--seed", str(turn.seed)]
        command += ["--threads", str(given.threads), "--output", str(own)]
    own.parent.mkdir(parents=True, exist_ok=True)
    log = own.parent / f"{own.name}.txt"
    src = str(HERE.parent / "src")
    env = os.environ | {"OMP_NUM_THREADS": str(given.threads), "MKL_NUM_THREADS": str(given.threads)}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [src, os.environ.get("PYTHONPATH")]))
    load, began = os.getloadavg()[0], perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=env)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = perf_counter() - began
    if process.returncode:
        last = (log.read_text().strip().splitlines() or ["it said nothing"])[-1]
        raise Failed(f"{turn.task.name} {turn.contender} seed {turn.seed}: failed ({last}); all of it in {log}")
    found = _of_ours(own) if turn.contender == "ours" else _of_peer(own, facts["classes"])
    for heavy in (*own.glob("*.safetensors"), *own.glob("state"), *own.glob("events"), *own.glob("report.html")):
        shutil.rmtree(heavy) if heavy.is_dir() else heavy.unlink()
    return {
        "case": turn.task.name,
        "contender": turn.contender,
        "seed": turn.seed,
        **found,
        "wall_seconds": round(wall, 2),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_memory_bytes": usage.ru_maxrss * 1024,
        "photos": turn.task.case.photos,
        "beginning": turn.task.case.weights,
        **{name: facts[name] for name in ("network", "size", "epochs", "batch_size", "images", "tested")},
        "num_classes": len(facts["classes"]),
        "threads": given.threads,
        "load_before": round(load, 2),
        "hardware": hardware(torch.device("cpu")),
        "versions": {**versions(), **told},
        "commit": _commit(),
        "when": strftime("%Y-%m-%d %H:%M"),
        "command": _told(command, turn.task, given.folder),
    }


def _of_ours(folder: Path) -> dict[str, Any]:
    """What a run folder says."""
    summary, test = (json.loads((folder / name).read_text()) for name in ("summary.json", "test.json"))
    epochs = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    chosen = [row for row in epochs if row["epoch"] == summary.get("chosen_epoch")] or epochs
    return {
        "test_error": test["error"],
        "num_wrong": test["num_wrong"],
        "cross_entropy": test["cross_entropy"],
        "calibration_error": test["calibration_error"],
        "held_out_error": chosen[-1].get("val_error"),
        "training_seconds": round(summary["training_seconds"], 2),
        "precision": summary["precision"],
        "chosen_epoch": summary.get("chosen_epoch"),
        "epochs_done": len(epochs),
    }


def _of_peer(folder: Path, classes: Sequence[str]) -> dict[str, Any]:
    """Its logits, by the same measures as ours."""
    scores = {}
    for part in ("val", "test"):
        with np.load(folder / f"{part}.npz") as file:
            logits, labels = torch.from_numpy(file["logits"]), torch.from_numpy(file["labels"])
        measures = Measures()
        measures.update(logits, labels, torch.arange(len(labels)))
        scores[part] = score(measures.answers(), classes)
    test, facts = scores["test"], json.loads((folder / "peer.json").read_text())
    return {
        "test_error": test.error,
        "num_wrong": test.num_wrong,
        "cross_entropy": test.cross_entropy,
        "calibration_error": test.calibration_error,
        "held_out_error": scores["val"].error,
        "training_seconds": round(facts["training_seconds"], 2),
        "precision": facts["precision"],
    }


def _versions(contender: str, fastai: Path) -> dict[str, str]:
    """Versions of what the contender needs beside torch; what is missing is refused before anything runs."""
    if contender in ("ours", "plain"):
        return {}
    if contender == "timm":
        if find_spec("timm") is None:
            raise InputError("contender timm: not installed; pip install timm, or leave it out of --contenders")
        python = sys.executable
    else:
        python = str(fastai)
    asked = (
        subprocess.run([python, "-c", PACKAGES.format(contender)], capture_output=True, text=True, check=False)
        if Path(python).is_file()
        else None
    )
    if asked is None or asked.returncode:
        raise InputError(
            f"contender {contender}: {python} does not have it; name one that has with --fastai PYTHON, or leave it "
            "out of --contenders"
        )
    return {contender: asked.stdout.split()[1]}


def _estimate(turn: Turn, folder: Path) -> float:
    """Minutes: those of another seed where one is there, else those measured when the case was written."""
    others = list((folder / "results").glob(f"{turn.task.name}.{turn.contender}.*.json"))
    if others:
        return float(json.loads(others[0].read_text())["wall_seconds"]) / 60
    case = turn.task.case
    minutes = dict(zip(CONTENDERS, case.minutes, strict=True))[turn.contender]
    return minutes * turn.task.epochs / case.epochs * ((turn.task.size or 1) / (case.size or turn.task.size or 1)) ** 2


def _named(pairs: Sequence[str], flag: str) -> dict[str, Path]:
    found = {}
    for pair in pairs:
        name, sign, path = pair.partition("=")
        if not sign:
            raise InputError(
                f"{flag} {pair}: wanted NAME=FILE, such as resnet50_caffe=model.json or signs-10=signs.csv"
            )
        found[name] = Path(path)
    return found


def _told(command: Sequence[str], one: Task, folder: Path) -> str:
    """The command as a person would type it, without this machine's folders."""
    words = ["deepres" if word == "-m" else word for word in command[1:] if word != "deepres"]
    places = {str(folder): "runs/photos", str(one.photos): "photos", str(HERE): "bench"}
    if one.weights is not None:
        places[str(one.weights)] = "/".join(one.weights.parts[-2:])
    for place, name in sorted(places.items(), key=lambda pair: -len(pair[0])):
        words = [word.replace(place, name) for word in words]
    return shlex.join(words if words[0] == "deepres" else ["python", *words])


def _commit() -> str:
    asked = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("run", help="make the results that are not there yet")
    one.set_defaults(act=run)
    one.add_argument("--photos", type=Path, required=True, help="the folder that holds the sets")
    one.add_argument("--weights", nargs="*", default=[], metavar="NET=FILE", help="resnet50_caffe=…, resnet44_cifar=…")
    one.add_argument("--lists", nargs="*", default=[], metavar="SET=CSV", help="a split of one's own: path,label,split")
    one.add_argument("--cases", nargs="*", default=list(CASES), help=", ".join(CASES))
    one.add_argument("--contenders", nargs="*", default=list(CONTENDERS))
    one.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    one.add_argument("--folder", type=Path, default=Path("runs/photos"))
    one.add_argument("--threads", type=int, default=2)
    one.add_argument("--epochs", type=int, help="in place of the case's")
    one.add_argument("--size", type=int, help="px, in place of the case's")
    one.add_argument("--fastai", type=Path, default=Path(sys.executable), metavar="PYTHON")
    one.add_argument("--dry-run", action="store_true", help="list what is left, with minutes")
    one = verbs.add_parser("collect", help="results -> evidence")
    one.set_defaults(act=lambda given: photos_evidence.write(given.folder, given.output))
    one.add_argument("--folder", type=Path, default=Path("runs/photos"))
    one.add_argument("--output", type=Path, required=True)
    one = verbs.add_parser("draw", help="evidence -> picture")
    one.set_defaults(act=lambda given: photos_evidence.draw(given.evidence, given.output))
    one.add_argument("evidence", type=Path)
    one.add_argument("--output", type=Path, required=True)
    return parser


if __name__ == "__main__":
    main()
