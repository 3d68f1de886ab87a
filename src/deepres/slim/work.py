"""One call of slim as far as it is: what is wanted, what was tried so far and where it lies, and whether to stop."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from deepres.base.errors import InputError
from deepres.base.events import progress_of
from deepres.base.files import write_atomic
from deepres.base.records import Record, load
from deepres.base.wording import counted
from deepres.nn.environment import hardware, versions
from deepres.runs.lock import StoppedError
from deepres.slim.frontier import INTACT, Candidate, Frontier
from deepres.slim.speed import Answering
from deepres.slim.subject import Subject, default_epochs

FACTS, PAGE = "slim.json", "slim.html"
CANDIDATES = ".candidates"
"""What is appended to the name of the output: where candidates are kept until one is chosen."""


class SlimConfig(Record):
    """What is tried, and what may be lost.

    `drop`: so many units, "auto" as many as may be (tried 1, 2, 4, …, then halved between), None none. `int8`: those
    that may be taken also in 8 bits. `epochs` of
    fine-tuning for each candidate (None: `default_epochs`). `max_loss` in points, of figures that are no shares in
    their own units (None: `gate.POINTS`). `target_ms`: one image is to take no longer.
    """

    drop: Annotated[int, Field(ge=1)] | Literal["auto"] | None = "auto"
    int8: bool = False
    target_ms: Annotated[float, Field(gt=0)] | None = None
    max_loss: Annotated[float, Field(ge=0)] | None = None
    epochs: Annotated[int, Field(ge=0)] | None = None
    accept_uncertain: bool = False


@dataclass
class Work:
    """One call, as far as it is: what is tried so far, in `folder`; `asked` is filled by signals that ask to stop.

    `intact` is the network as its speed is measured; `tried` are the names of candidates that this call has wanted.
    """

    subject: Subject
    config: SlimConfig
    folder: Path
    device: torch.device
    on_event: Callable[[Any], None]
    command: str
    frontier: Frontier
    asked: list[int]
    intact: Answering
    tried: list[str] = field(default_factory=list)

    @property
    def allowed(self) -> float:
        """What may be lost."""
        assert self.frontier.max_loss is not None
        return self.frontier.max_loss

    @property
    def epochs(self) -> int:
        """Of fine-tuning, for each candidate."""
        return default_epochs(self.subject) if self.config.epochs is None else self.config.epochs

    def progress(self, what: str) -> Callable[[int, int], None]:
        """Progress of `what`, at which a signal is heard."""
        show = progress_of(self.on_event, what)

        def progress(done: int, total: int) -> None:
            self.listen()
            show(done, total)

        return progress

    def listen(self) -> None:
        """Stop here where a signal asked for it."""
        if self.asked:
            raise self.stopped(self.asked[0])

    def stopped(self, number: int) -> StoppedError:
        """What is said of a call that signal `number` stopped."""
        kept = counted(len(self.frontier.candidates), "candidate")
        return StoppedError(
            f"stopped; {kept} and the state of what was under way are kept in {self.folder}: the same command goes on",
            number,
        )

    def keep(self, one: Candidate) -> None:
        """Write a candidate down, and tell of it."""
        self.frontier = self.frontier.with_candidate(one)
        write_atomic(self.folder / FACTS, self.frontier.to_json())
        self.on_event(line(one, self.frontier.max_loss))

    def place(self, dropped: tuple[str, ...]) -> Path:
        """The folder of the run without these units."""
        return self.folder / f"drop-{len(dropped)}"


def line(one: Candidate, allowed: float | None) -> str:
    """One candidate as a person reads it."""
    speed = one.speed
    times = "" if one.loss is None else f", {speed.times:.2f} times as fast (batch 16: {speed.times_16:.2f})"
    verdict = "" if one.loss is None or allowed is None else f": {one.verdict(allowed)}"
    return f"{one.what}: {one.loss or one.told}; {speed.milliseconds:.3g} ms an image{times}{verdict}"


def name_of(dropped: tuple[str, ...]) -> str:
    """What the candidate without these units is called."""
    return f"drop-{len(dropped)}" if dropped else INTACT


def taken_up(folder: Path, subject: Subject, config: SlimConfig, device: torch.device, command: str) -> Frontier:
    """What an earlier call kept in the folder; else nothing tried yet.

    Raises:
        InputError: it is of another network, other images or another length of fine-tuning, or none of ours.
    """
    epochs = default_epochs(subject) if config.epochs is None else config.epochs
    origin = subject.source.origin.model_dump(mode="json")
    key: dict[str, Any] = {
        "weights": subject.sha256,
        "images": {part: origin[part]["digest"] for part in ("train", "val") if origin.get(part)},
        "epochs": epochs,
        "device": str(device),
    }
    path = folder / FACTS
    if path.is_file():
        before = load(Frontier, path, "record of candidates")
        if before.key == key:
            return before.replace(chosen=None, why="", max_loss=None, target_ms=config.target_ms, command=command)
        other = next(name for name in key if before.key.get(name) != key[name])
        raise InputError(
            f"{folder}: holds candidates of another call ({other}: {str(before.key.get(other))[:60]}, now "
            f"{str(key[other])[:60]}); remove the folder, or choose another --output"
        )
    strangers = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    if strangers and not (folder / "drop-0").exists():
        raise InputError(f"{folder}: is there already, with {strangers[0]} in it; choose another --output")
    return Frontier(
        key=key,
        network=subject.network.description.name,
        images=subject.source.name,
        hardware=hardware(device),
        threads=torch.get_num_threads(),
        versions=dict(versions()),
        command=command,
        target_ms=config.target_ms,
    )
