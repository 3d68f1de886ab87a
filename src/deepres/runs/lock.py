"""Holding a run: the lock on its folder, and the signals that ask it to stop."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from deepres.base.errors import DeepresError, RunError
from deepres.base.files import clear_parts, explained
from deepres.base.locks import locked
from deepres.train.distributed import Distributed


class StoppedError(DeepresError):
    """The run was asked to stop and saved its state; the exit code is 128 plus the signal's number, as in a shell."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code, self._number = 128 + number, number

    def __reduce__(self) -> tuple[type["StoppedError"], tuple[str, int]]:
        """So that it arrives from another process."""
        return StoppedError, (self.message, self._number)


class Hold:
    """The folder that a run writes to, as the process that writes it opened it; of other processes, nothing."""

    def __init__(self, folder: Path | None = None, descriptor: int = -1) -> None:
        self._folder, self._descriptor = folder, descriptor

    def require_here(self) -> None:
        """Refuse to write where the folder is no longer.

        Raises:
            RunError: it was moved or removed.
        """
        if self._folder is None or _is(self._folder, self._descriptor):
            return
        now = _place_of(self._descriptor)
        if now is None:
            raise RunError(
                f"{self._folder}: the folder of this run was removed while it trained, and its states with it; begin "
                "anew"
            )
        raise RunError(
            f"{self._folder}: the folder of this run was moved while it trained; go on from its newest state with "
            f"deepres train --resume {now}"
        )

    def remove(self) -> None:
        """Remove the folder, which is then not missed."""
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None


@contextmanager
def held(folder: Path, processes: Distributed) -> Iterator[Hold]:
    """`alone`, by process 0 for all of `processes`."""
    with ExitStack() as stack:
        holds = [Hold()]
        processes.on_rank_zero(lambda: holds.append(stack.enter_context(alone(folder))))
        yield holds[-1]


TRAINING = "another process is training there; wait for it, or choose another --output"
"""Said where another process holds the lock of a run."""


@contextmanager
def alone(folder: Path) -> Iterator[Hold]:
    """Hold the folder's lock, so that two processes never write one run; it falls with the process, however it ends.

    What processes that are no more left half written is removed first.

    Raises:
        InputError: another process holds it, or it cannot be written to.
        RunError: something failed because the folder was moved or removed meanwhile.
    """
    with ExitStack() as stack:
        with explained(folder):
            descriptor = os.open(folder, os.O_RDONLY) if os.name == "posix" else -1  # Windows opens no folder
            if descriptor >= 0:
                stack.callback(os.close, descriptor)
        stack.enter_context(locked(folder, TRAINING))
        clear_parts(folder, folder / "state")
        hold = Hold(folder.absolute(), descriptor)
        try:
            yield hold
        except Exception:
            hold.require_here()
            raise


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that SIGTERM, Ctrl-C or a terminal that is closed (SIGHUP) fills; a second one ends at once.

    A SIGHUP that the process was started to pass over (nohup) is passed over. The handlers of before are restored.
    """
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    hung_up = () if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN else (hangup,)
    numbers = (signal.SIGTERM, signal.SIGINT, *hung_up)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is(folder: Path, descriptor: int) -> bool:
    if descriptor < 0:
        return folder.is_dir()
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except OSError:
        return False


def _place_of(descriptor: int) -> Path | None:
    """Where the open folder lies now; None where it is nowhere, or the system does not say."""
    try:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
    except OSError:
        return None
    return place if _is(place, descriptor) else None
