"""The lock of a folder: of several processes one writes there; it falls with the process, however that ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

from deepres.base.errors import InputError
from deepres.base.files import explained, open_to_append

LOCK = ".lock"
_TRIES, _PAUSE = 4, 0.05  # who only asks whether it is held holds it for a moment


@contextmanager
def locked(folder: Path, taken: str) -> Iterator[None]:
    """Hold the lock of `folder`.

    Raises:
        InputError: another process holds it, `FOLDER: taken`, or it cannot be written to.
    """
    with explained(folder):
        file = open_to_append(folder / LOCK)
    with file:
        for number in range(_TRIES):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as cause:
                if number + 1 == _TRIES:
                    raise InputError(f"{folder}: {taken}") from cause
                sleep(_PAUSE)
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of the folder at this moment."""
    path = folder / LOCK
    if not path.is_file():
        return False
    with explained(path), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
