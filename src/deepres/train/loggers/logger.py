"""The seam behind which loggers stand: what each is told of a run, from its beginning to its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import JsonValue

EpochRow = Mapping[str, Any]
"""An epoch as `history.jsonl` has it: figures by name, None where there is none."""

Ended = Literal["finished", "stopped", "failed"]
"""stopped: asked to, its state saved; failed: by an error."""


@dataclass(frozen=True)
class About:
    """The run that begins or goes on in `folder`: `run` names it, the same each time, `plan` is what `run.json` holds.

    It goes on after step `step`; `rows` are the epochs until there.
    """

    folder: Path
    run: str
    plan: Mapping[str, JsonValue]
    step: int
    rows: Sequence[EpochRow]


class Logger(Protocol):
    """Shows a run elsewhere; may raise anything, which ends its part and not the run (`logs.py`).

    No row is shown twice: a run that goes on does so where it was, and rows that were missed are made up for.
    """

    def begin(self, about: About) -> str:
        """The run begins or goes on; where it can be seen, in a line ("" says nothing)."""
        ...

    def row(self, row: EpochRow) -> None:
        """An epoch has ended."""
        ...

    def result(self, figures: Mapping[str, float]) -> None:
        """What was measured at the end, by name: `test_error`."""
        ...

    def close(self, ended: Ended) -> None:
        """There is nothing more to come; called once, however the run ends."""
        ...


def numbers(row: EpochRow) -> dict[str, float]:
    """The figures of a row that there are, as `train/loss`."""
    return {name.replace("_", "/", 1): value for name, value in row.items() if isinstance(value, float)}
