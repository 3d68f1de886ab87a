"""What a run writes about itself as it goes: `history.jsonl`, a row an epoch. Loggers show the same (loggers/)."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepres.base.errors import InputError
from deepres.base.files import explained, open_to_append, read_bytes, write_atomic
from deepres.base.manifest import is_bound, release, require_own
from deepres.base.reading import parse_json, reading
from deepres.base.wording import is_share
from deepres.train.loop import Epoch

HISTORY = "history.jsonl"
_LARGEST = 1e30  # what is beyond, not even a figure can show


class HistoryWriter:
    """Rows of epochs in `folder`, continued after step `step`: what a resumed run will write again is dropped first."""

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        self.rows = [row for row in read_history(folder) if row["step"] <= step]
        release(folder, HISTORY)
        write_atomic(folder / HISTORY, "".join(json.dumps(row) + "\n" for row in self.rows))

    def write(self, epoch: Epoch) -> dict[str, Any]:
        """Append the epoch's row, flushed to the disk; errors are fractions, losses means."""
        totals = epoch.totals
        trained = figures(totals.loss, totals.counts, totals.seen)
        held_out = dict.fromkeys(trained) if epoch.val is None else epoch.val.shown
        row = {
            "epoch": epoch.epoch,
            "step": epoch.step,
            **{f"train_{name}": value for name, value in trained.items()},
            **{f"val_{name}": value for name, value in held_out.items()},
            "best": epoch.best,
            "lr": epoch.lr,
            "images_per_second": totals.seen / totals.seconds,
            "seconds": totals.seconds,
            "data_wait_fraction": totals.waited / totals.seconds,
        }
        path = self.folder / HISTORY
        with explained(path), open_to_append(path) as file:
            file.write(f"{json.dumps(row)}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)
        return row


def figures(loss: float, counts: Mapping[str, float], images: int) -> dict[str, float]:
    """Means over the images, by name: of `wrong` that is the error."""
    named = {"error" if name == "wrong" else name: count / images for name, count in counts.items()}
    return {"loss": loss / images, **named}


def told_figure(name: str, value: float) -> str:
    """`error 1.23 %`, `distance 0.4321`: fractions in percent, other figures as they are."""
    told = f"{100 * value:5.2f} %" if is_share(name) else f"{value:.4f}"
    return f"{name.replace('_', ' ')} {told}"


def read_history(folder: Path, *wanted: str) -> list[dict[str, Any]]:
    """The rows so far, each with the figures that are `wanted`; a last line cut off by a crash is left out.

    Raises:
        InputError: another line is no row of an epoch, or without one of them; or a run that has ended wrote others.
    """
    path = folder / HISTORY
    if not path.is_file():
        return []
    remedy = "bring the file as it was written, or remove it: the curves are lost then, and nothing else"
    if is_bound(folder, HISTORY):
        try:
            require_own(folder, HISTORY)
        except InputError as cause:
            raise InputError(f"{path}: not what this run wrote: damaged, or changed by hand; {remedy}") from cause
    with reading(path, "a history of epochs", remedy):
        lines = read_bytes(path).splitlines()
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(_row(parse_json(line, f"{path}: line {number}", "a row of an epoch", remedy), wanted))
        except (InputError, ValueError) as cause:
            if number == len(lines):
                break
            told = cause.message if isinstance(cause, InputError) else f"{path}: line {number}: {cause}; {remedy}"
            raise InputError(told) from cause
    return rows


def _row(row: object, wanted: Sequence[str]) -> dict[str, Any]:
    if not isinstance(row, dict) or not all(isinstance(row.get(name), int) for name in ("epoch", "step")):
        raise ValueError("wanted an object with the numbers of its epoch and step")
    missing = [name for name in ("seconds", *wanted) if name not in row]
    if missing:
        raise ValueError(f"has no {missing[0]}")
    strange = [name for name, value in row.items() if not _is_figure(name, value)]
    if strange:
        raise ValueError(f"{strange[0]} is no number, or none that a run has")
    return row


def _is_figure(name: str, value: object) -> bool:
    """A number; of held-out images there need be none."""
    if value is None:
        return name != "seconds" and not name.startswith("train_")
    return isinstance(value, int | float) and not abs(value) > _LARGEST
