"""Places that a person names for what a verb writes: never an input, never a run's own, others' files when asked."""

import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.files import clear_parts_of, open_regular, path_of


@dataclass(frozen=True)
class OwnKind:
    """What a verb writes: `what` in words, and how such a file of ours begins, so that it may be written again."""

    what: str
    beginning: bytes

    def is_of(self, path: Path) -> bool:
        """Whether this regular file is empty, or of this kind."""
        with open_regular(path) as file:
            start = file.read(1024)
        return not start or re.match(self.beginning, start, re.DOTALL) is not None


PAGE = OwnKind("a page of deepres", rb'<!doctype html>.{0,300}<meta name="generator" content="deepres">')
WORST = OwnKind(
    "a list of images that deepres wrote",
    rb"image,(truth,predicted,|truth,said,loss,split|objects,found,missed,false,split"
    rb"|[^\n]*error in standard deviations,split)",
)
ANSWERS = OwnKind("predictions that deepres wrote", rb"PK\x03\x04.{26}about\.npy")
TABLE = OwnKind("a table of answers", rb"image,[^\n]+,problem\r?\n")
SPLIT = OwnKind(
    "a split that deepres wrote",
    rb"path,(label,split(,label_index)?\r?\n|width,height,image_id,class,x1,y1,x2,y2,ignored,area,split)",
)
DRAWING = OwnKind(
    "a drawing of deepres", rb'<svg xmlns="[^"]+" viewBox="0 0 \d+ \d+" role="img" font-family="system-ui'
)
PICTURE = OwnKind("a picture of deepres", rb"\x89PNG\r\n.{0,200}Software\x00deepres")

OWN = frozenset(
    {
        "run.json",
        "folds.json",
        "config.json",
        "model.safetensors",
        "statistics.safetensors",
        "calibration.json",
    }
    | {
        "data.json",
        "summary.json",
        "ensemble.json",
        "predictions.npz",
        "history.jsonl",
        "history.csv",
        "wandb.json",
        "sessions.jsonl",
        "log.txt",
        "skipped.json",
    }
    | {"README.md"}
    | {"teacher.json", "compile.json", "doubles.json", "digests.npz", "split.csv", "worst.csv", "report.html", ".lock"}
    | {"train.json", "val.json", "test.json", "diverged.json", "pack.json", "index.npz", "manifest.json"}
    | {"state", "events", "wandb", "samples", "analysis"}
)
"""Names under which a run, a folder of weights and a packed folder keep what is theirs."""

_BEGUN = frozenset({"state", "statistics.safetensors", "data.json", "digests.npz", "doubles.json", "split.csv"}) | {
    ".lock",
    "skipped.json",
    "manifest.json",
}
"""What a start that was cut off leaves, and another start writes anew."""

_FOLD = re.compile(r"fold-\d+|records-\d+\.bin")


def require_free(
    outputs: Mapping[str, tuple[Path | None, OwnKind]], inputs: Iterable[str | Path], *, overwrite: bool
) -> None:
    """Refuse files that must not be written, by flag, before any work; `inputs` are what the verb reads.

    What processes that are no more left of these files is removed.

    Raises:
        InputError: a name that another output has; what `require_one` refuses.
    """
    taken: dict[Path, str] = {}
    read = _there(inputs)
    for flag, (path, kind) in outputs.items():
        if path is None:
            continue
        whole = Path(os.path.realpath(path))
        if whole in taken:
            raise InputError(f"{flag} {path}: {taken[whole]} is written there too; give each a file of its own")
        taken[whole] = flag
        require_one(flag, path, kind, read, overwrite=overwrite)
        clear_parts_of(whole)


def require_one(flag: str, path: Path, kind: OwnKind, inputs: Iterable[str | Path], *, overwrite: bool) -> None:
    """Refuse a file that must not be written.

    Raises:
        InputError: a name without a folder to lie in, an input, a file of a run or of a folder of weights, what is no
            regular file; without `overwrite` a file that is of another kind.
    """
    _go_on()
    given, whole, read = f"{flag} {path}", Path(os.path.realpath(path)), _there(inputs)
    require_name(flag, path)
    require_file(flag, path)
    if not whole.parent.is_dir():
        raise InputError(f"{given}: there is no folder {path.parent}; make it first, or choose another place")
    if any(_is_same(whole, other) for other in read):
        raise InputError(f"{given}: this is what is read; choose another file")
    _refuse_own(given, whole)
    if whole.exists() and not kind.is_of(whole):
        if any(other.is_dir() and whole.is_relative_to(other) for other in read):
            raise InputError(f"{given}: a file of what is read, {_within(whole, read)}; choose another file")
        if not overwrite:
            raise InputError(
                f"{given}: is there already, and is not {kind.what}; choose another file, or add --overwrite"
            )


def require_name(flag: str, path: Path | None) -> None:
    """Refuse what can be no name of a file before any folder is made for it, and a ~ that no shell has replaced.

    Raises:
        InputError: it is one of them.
    """
    if path is None:
        return
    if path.parts and path.parts[0].startswith("~") and not path.exists():
        raise InputError(f"{flag} {path}: the shell has left the ~ as it is; write the place in full")
    try:
        path_of(str(path))
    except InputError as refusal:
        raise InputError(f"{flag} {refusal.message}") from refusal


def require_file(flag: str, path: Path) -> None:
    """Refuse a device, a pipe, a folder: nothing but a regular file is written.

    Raises:
        InputError: it is one of them, or may not be looked at.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as cause:
        raise InputError(f"{flag} {path}: cannot be used ({cause.strerror}); choose another file") from cause
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file but a device, a pipe or the like"
        raise InputError(f"{flag} {path}: {what}; wanted the name of a file")


def require_not_among(flag: str, path: Path | None, files: Iterable[Path]) -> None:
    """Refuse an output that is one of the images which were read, also those that a table names elsewhere.

    Raises:
        InputError: it is.
    """
    if path is not None and path.exists() and any(each.name == path.name and _is_same(path, each) for each in files):
        raise InputError(f"{flag} {path}: this is one of the images that are read; choose another file")


def require_free_folder(flag: str, path: Path | None, inputs: Iterable[str | Path]) -> None:
    """Refuse a folder into which a verb must not write; one that holds files of others keeps them.

    Raises:
        InputError: it is an input or lies in one, is a run or a folder of weights or lies among the files of one.
    """
    if path is None:
        return
    _go_on()
    given, whole = f"{flag} {path}", Path(os.path.realpath(path))
    require_name(flag, path)
    for other in _there(inputs):
        if other.is_dir() and whole.is_relative_to(other) and not _is_holder(other):
            raise InputError(f"{given}: lies in {other}, which is read; choose another folder")
    if _is_holder(whole):
        raise InputError(f"{given}: exists already, as a run, weights or a packed folder; choose a folder of its own")
    _refuse_own(given, whole, beside="analysis")


def require_free_for_run(output: Path | None, inputs: Iterable[str | Path], flag: str = "--output") -> None:
    """Refuse a folder for a new run where the run's files would replace others, or become part of what it reads.

    What a start that was cut off left behind may be there, and files that no run writes.

    Raises:
        InputError: it would.
    """
    _go_on()
    if output is None or any((output / name).exists() for name in ("run.json", "folds.json")):
        return  # what is to be said of that, the run says
    require_free_folder(flag, output, inputs)
    try:
        found = sorted(entry.name for entry in output.iterdir()) if output.is_dir() else []
    except OSError:  # told where the folder is made
        found = []
    taken = [name for name in found if name in OWN - _BEGUN]
    if taken:
        raise InputError(f"{flag} {output}: holds {taken[0]}, which a run would replace; choose another folder")


def _go_on() -> None:
    """There is more to do than to fill stdout: files are written, also where nobody reads it any more (streams.py)."""
    getattr(sys.stdout, "go_on", lambda: None)()


def _there(inputs: Iterable[str | Path]) -> list[Path]:
    """The inputs that are places on this disk, links followed; names of sets and weights are none (`FILE::KEY` is)."""
    words = (spelled for each in map(str, inputs) for spelled in (each, each.split("::")[0]) if "\0" not in each)
    found = dict.fromkeys(Path(os.path.realpath(os.path.expanduser(word))) for word in words if word)  # noqa: PTH111
    return [path for path in found if os.path.exists(path)]  # noqa: PTH110 (never raises)


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _is_holder(folder: Path) -> bool:
    """Whether it is a run, the folds of one, a folder of weights or a packed folder."""
    names = ("run.json", "folds.json", "pack.json", "model.safetensors")
    return any(os.path.exists(folder / name) for name in names)  # noqa: PTH110


def _refuse_own(given: str, path: Path, beside: str = "") -> None:
    """Refuse a place among the files that the nearest run or folder of weights above it keeps as its own."""
    for folder in path.parents:
        if not _is_holder(folder):
            continue
        first = path.relative_to(folder).parts[0]
        if first != beside and (first in OWN or _FOLD.fullmatch(first)):
            raise InputError(f"{given}: belongs to the run or the weights in {folder}; choose another place")
        return


def _within(path: Path, folders: Iterable[Path]) -> Path:
    return next(folder for folder in folders if path.is_relative_to(folder))
