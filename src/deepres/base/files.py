"""Files that are whole or absent: written under a temporary name, flushed to the disk, renamed."""

import errno
import glob
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, cast

from deepres.base.errors import InputError

_OWNER = re.compile(r"\..+\.([1-9]\d{0,9})\.part", re.DOTALL)
"""The number of the process that writes a part."""

_PLAIN = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""No waiting for a pipe, no child that inherits it, bytes as they are: as far as the system knows them."""
_NO_FILE = "no regular file but a folder, a pipe or a device"
_LONGEST = 255  # bytes of a name, on every common file system


def resolved(path: Path) -> Path:
    """Absolute, links followed; where links lead in a circle, as far as they lead (Path.resolve raises there)."""
    return Path(os.path.realpath(path))


def path_of(text: str) -> Path:
    """The path that a person wrote, with its ~.

    Raises:
        InputError: a home of nobody, or what cannot be a path: a byte of zero, a name of more than 255 bytes.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as cause:
        raise InputError(f"{text}: there is no such user here; write ./{text} for a file of that name") from cause
    if "\0" in text or max((len(os.fsencode(part)) for part in path.parts), default=0) > _LONGEST:
        shown = text.replace("\0", "\\0")
        raise InputError(f"{shown[:80]}{'…' * (len(shown) > 80)}: no name of a file; one has 1 to {_LONGEST} bytes")
    return path


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write `path` so that a reader, or a crash at any moment, sees the old file or the new one, never a part.

    A link stays, and what it leads to is written; a device, a pipe or a folder is never replaced.

    Raises:
        InputError: the place cannot be written or holds what is no regular file, or the disk is full.
    """
    data = content.encode() if isinstance(content, str) else content
    with explained(path):
        path = _regular_place(path)
        temporary = part_of(path)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it is flushed and renamed to `path`, on failure removed.

    An existing `path` is replaced.
    """
    temporary = part_of(path)
    with explained(path):
        clear_parts_of(path)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for file in temporary.iterdir():
                flush(file)
            flush(temporary)
            if path.exists():
                shutil.rmtree(path)
            temporary.replace(path)
            flush(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def part_of(path: Path) -> Path:
    """Where this process writes what is to become `path`: beside it, hidden, `.NAME.PID.part`."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def clear_parts_of(path: Path) -> None:
    """Remove what processes that are no more left half written of what was to become `path`."""
    with explained(path):
        _clear(path.parent.glob(f".{glob.escape(path.name)}.*.part"))


def clear_parts(*folders: Path) -> None:
    """Remove what processes that are no more left half written directly in these folders, which nobody else writes."""
    for folder in folders:
        with explained(folder):
            _clear(folder.glob(".*.part"))


def _clear(parts: Iterable[Path]) -> None:
    for path in parts:
        owner = _OWNER.fullmatch(path.name)
        if owner is None or _lives(int(owner[1])):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _lives(process: int) -> bool:
    """Whether another process of that number is there; this one has begun nothing yet that it could leave."""
    if process == os.getpid():
        return False
    if os.name != "posix":  # there asking would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def cache_folder() -> Path:
    """Where what can be had again is kept: DEEPRES_CACHE, else `deepres` in the user's, or what is as good."""
    if given := os.environ.get("DEEPRES_CACHE"):
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepres"
    except RuntimeError:  # nobody's home: a user whom the system does not know, as in containers
        return Path(tempfile.gettempdir()) / f"deepres-{getattr(os, 'getuid', str)()}"


def digest(path: Path) -> str:
    """SHA-256 of the file in hexadecimal; of a folder, of one line `NAME DIGEST` for each file directly in it."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        return sha256("".join(f"{file.name} {digest(file)}\n" for file in files).encode()).hexdigest()
    with explained(path), open_regular(path) as file:
        state = sha256()
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def open_regular(path: Path | str) -> BinaryIO:
    """The file, open for reading, if it is a regular one: a pipe would hang, a device never end. Asked of what is open.

    Raises:
        OSError: it cannot be opened, or is none.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (a device may act when it is opened)
        raise OSError(errno.EINVAL, _NO_FILE, str(path))
    return _regular(os.open(path, os.O_RDONLY | _PLAIN), path, "rb")


def what_lies(path: Path) -> str | None:
    """What lies there in place of a file, in words; None where nothing does.

    Raises:
        OSError: it may not be looked at.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a link to nothing"
    except OSError as cause:
        return f"a link that leads nowhere ({cause.strerror})"
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_bytes(path: Path | str) -> bytes:
    """All of a regular file; errors as `open_regular`, also where it is larger than the memory."""
    with open_regular(path) as file:
        try:
            return file.read()
        except (MemoryError, OverflowError) as cause:
            raise OSError(errno.EFBIG, "larger than the memory that is free", str(path)) from cause


def open_to_append(path: Path) -> BinaryIO:
    """The file, open for writing at its end, made where it is absent; errors as `open_regular`."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, _NO_FILE, str(path))
    return _regular(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _PLAIN, 0o666), path, "ab")


def is_folder(name: str) -> bool:
    """Whether a folder of that name is there; what can be no name is none."""
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):
        return False


def read_text(path: Path, what: str) -> str:
    """The file as UTF-8 text, without a mark (BOM) before it; `what` names it in the error ("run description").

    Raises:
        InputError: it is absent, unreadable or not text.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise InputError(f"{path}: wanted a readable {what}; {_reason(cause)}") from cause


def make_folder(path: Path) -> None:
    """Create `path` and its parents, and prove that a file can be written there.

    Raises:
        InputError: it cannot be created or written, or a file has its name.
    """
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
        probe = part_of(path / "probe")
        probe.write_bytes(b"")
        probe.unlink()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an operating system's error about `path` into one line that says what to do."""
    try:
        yield
    except OSError as cause:
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{path}: the disk is full; free some space, or choose another place") from cause
        raise InputError(
            f"{path}: cannot be used ({_reason(cause)}); choose another place, or mend its permissions"
        ) from cause


def _regular(descriptor: int, path: Path | str, mode: str) -> BinaryIO:
    """The open file, if it is a regular one."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, _NO_FILE, str(path))
    return cast(BinaryIO, os.fdopen(descriptor, mode))


def _regular_place(path: Path) -> Path:
    """Where a file of this name is written, links followed: a regular file's place, or a free one."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        regular = True
    if not regular:
        raise InputError(f"{path}: no regular file but a folder, a device or a pipe; choose another name")
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _reason(cause: Exception) -> str:
    return (cause.strerror or str(cause)) if isinstance(cause, OSError) else str(cause)


def flush(path: Path) -> None:
    """Have the system put the file, or the folder's list of names, on the disk."""
    if os.name != "posix" and path.is_dir():
        return  # Windows opens no folder
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
