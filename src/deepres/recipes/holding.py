"""Holding a run: the lock on its folder, and the signals that ask it to stop."""

import fcntl
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from deepres.base.errors import DeepresError, InputError
from deepres.train.parallel import World


class StoppedError(DeepresError):
    """The run was asked to stop and saved its state; the exit code is 128 plus the signal's number, as in a shell."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code, self._number = 128 + number, number

    def __reduce__(self) -> tuple[type["StoppedError"], tuple[str, int]]:
        """So that it arrives from another process."""
        return StoppedError, (self.message, self._number)


@contextmanager
def held(folder: Path, world: World) -> Iterator[None]:
    """`alone`, by process 0 for all of `world`."""
    with ExitStack() as stack:
        world.by_first(lambda: stack.enter_context(alone(folder)))
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two processes never write one run; it falls with the process, however it ends.

    Raises:
        InputError: another process holds it.
    """
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            raise InputError(
                f"{folder}: another process is training there; wait for it, or choose another --output"
            ) from cause
        yield


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that SIGTERM or Ctrl-C fills; a second one ends at once. The handlers of before are restored."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
