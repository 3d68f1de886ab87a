"""A run of two processes, by torchrun or as it starts them: killed, given what belongs to another run, and compared."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from deepres.base.files import digest
from deepres.base.manifest import MANIFEST, is_whole
from processes import DEEPRES, together

Process = subprocess.Popen[str]

TIMED = {"compile.json", "config.json", "history.jsonl", "summary.json", "test.json"}
"""What holds seconds, rates, dates or places, and differs between two runs that are alike."""

FOREIGN = (
    "run.json",
    "statistics.safetensors",
    "data.json",
    "split.csv",
    "model.safetensors",
    "manifest.json",
    "state/step-*/weights.safetensors",
    "state/step-*/state.json",
    "state",
)
"""What of another run is put into a run's folder, one of these at a time."""


class Ended(NamedTuple):
    """How one of them ended, and what it said on stderr."""

    code: int
    said: str


def both_started(words: Sequence[str]) -> list[Process]:
    """`deepres WORDS`, twice, as process 0 and 1 of one run."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    return together([*DEEPRES, *words], start_new_session=True, **quiet)


def by_torchrun(words: Sequence[str], processes: int = 2) -> Process:
    """`torchrun --nproc-per-node N -m deepres WORDS`."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", "deepres"]
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def ranks(launched: Process) -> list[int]:
    """The numbers of the processes that torchrun has started, the first one first; those that are there by now."""
    found = dict[int, int]()
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError, StopIteration):
            if int((place / "stat").read_text().rpartition(")")[2].split()[1]) != launched.pid:
                continue
            facts = (place / "environ").read_bytes().split(b"\0")
            found[int(next(fact[5:] for fact in facts if fact.startswith(b"RANK=")))] = int(place.name)
    return [found[rank] for rank in sorted(found)]


def both_ended(both: Sequence[Process], seconds: float) -> list[Ended]:
    """How they ended; what still runs after so long is killed, with its loaders, and its code is 124."""
    found, until = list[Ended](), monotonic() + seconds
    for process in both:
        try:
            _, said = process.communicate(timeout=max(0.1, until - monotonic()))
            found.append(Ended(process.returncode, said))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            found.append(Ended(124, process.communicate()[1]))
    return found


def alike(folder: Path, whole: Path) -> str | None:
    """What of a run that has ended is not, bitwise, as in another of the same words: manifest, states, weights."""
    if not is_whole(folder):
        return "not all that its manifest binds is there"
    mine, theirs = (json.loads((each / MANIFEST).read_text())["files"] for each in (folder, whole))
    if set(mine) != set(theirs):
        return f"the manifest binds other files: {', '.join(sorted(set(mine) ^ set(theirs)))}"
    if other := sorted(name for name in set(mine) - TIMED if mine[name] != theirs[name]):
        return f"other content: {', '.join(other)}"
    newest = max(path.name for path in whole.glob("state/step-*"))
    for name in ("weights.safetensors", "optimiser.safetensors"):
        if digest(folder / "state" / newest / name) != digest(whole / "state" / newest / name):
            return f"other content: {newest}/{name}"
    return None


def put_foreign(folder: Path, other: Path, what: str) -> None:
    """Put what `FOREIGN` names of another run in the place of the folder's own."""
    for path in sorted(other.glob(what)):
        name = folder / path.relative_to(other)
        shutil.rmtree(name) if name.is_dir() else name.unlink(missing_ok=True)
        shutil.copytree(path, name) if path.is_dir() else shutil.copy(path, name)


def refused_once(ended: Ended) -> str | None:
    """What is wrong with how torchrun ends where both refuse: one line of ours, and no traceback but its own."""
    lines = [line for line in ended.said.splitlines() if line.startswith("deepres: ")]
    if ended.code in (0, 124) or len(lines) != 1 or "/deepres/cli/" in ended.said:
        return f"exit code {ended.code}, said: {ended.said[-600:]!r}"
    return None


def refused_together(ends: Sequence[Ended]) -> str | None:
    """What is wrong with how both refuse: with the same code, in one line of one of them."""
    lines = [line for each in ends for line in each.said.splitlines() if line.startswith("deepres: ")]
    if {each.code for each in ends} != {2}:
        return f"exit codes {[each.code for each in ends]}: {[each.said[-300:] for each in ends]}"
    return None if len(lines) == 1 and "Traceback" not in "".join(each.said for each in ends) else f"said: {lines}"
