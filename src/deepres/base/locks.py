"""The lock of a folder: of several processes one writes there; it falls with the process, however that ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

from deepres.base.errors import InputError
from deepres.base.files import explained, open_to_append

try:
    import fcntl

    _HAS_FCNTL = True
except ImportError:  # Windows: there filelock holds it, which torch brings
    _HAS_FCNTL = False

LOCK = ".lock"
_TRIES, _PAUSE = 4, 0.05  # who only asks whether it is held holds it for a moment


@contextmanager
def locked(folder: Path, taken: str) -> Iterator[None]:
    """Hold the lock of `folder`.

    Raises:
        InputError: another process holds it, `FOLDER: taken`, or it cannot be written to.
    """
    if not _HAS_FCNTL:
        with _locked_elsewhere(folder, taken):
            yield
        return
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
    if not _HAS_FCNTL:
        try:
            with _locked_elsewhere(folder, ""):
                return False
        except InputError:
            return True
    with explained(path), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


@contextmanager
def _locked_elsewhere(folder: Path, taken: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    with explained(folder):
        if not folder.is_dir():
            raise FileNotFoundError(2, "no such folder", str(folder))
        lock = FileLock(folder / LOCK, timeout=_TRIES * _PAUSE)
        try:
            lock.acquire()
        except Timeout as cause:
            raise InputError(f"{folder}: {taken}") from cause
    try:
        yield
    finally:
        lock.release()
