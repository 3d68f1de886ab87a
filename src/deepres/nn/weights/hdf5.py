"""HDF5 files, read in a process of their own: over a damaged one the C library may go on for ever, or crash.

That process is this file: it loads no torch, opens the file, and writes what it holds as a header in JSON and the bare
bytes of the arrays; nothing is unpickled. It may use so much processor time and memory, and no more.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import IO, Any, NamedTuple

try:
    import resource

    _IS_LIMITED = True
except ImportError:  # Windows, where only the time on the clock is bounded
    _IS_LIMITED = False

import numpy as np
from numpy.typing import NDArray

from deepres.base.errors import InputError
from deepres.base.files import open_regular
from deepres.base.reading import cause_text, reading

SECONDS, BYTES_A_SECOND = 5, 10 * 2**20
"""The processor time that a file may take: so much, and a second for each so many of its bytes."""
WAITED = 30
"""Times as much may pass on the clock, where disk and machine are busy."""
SMALL, GROWS = 2**20, 100
"""What is packed may unpack to a hundred times its bytes, and to a megabyte at any rate; weights hardly shrink."""

_MEMORY = 2 * 2**30  # for the process itself, which maps its libraries
_LATE = tuple(-getattr(signal, name) for name in ("SIGXCPU", "SIGKILL") if hasattr(signal, name))
_SCRIPT = __file__
_UNUSED = ("optimizer_weights/", "optimizer/")
_SEEDS = "seed_generator"  # of dropout
_LENGTH = 8  # bytes in front of the header


class Hdf5Contents(NamedTuple):
    """What a file holds: arrays by path, the groups that bear a name, and the model's configuration as text."""

    arrays: list[tuple[str, NDArray[Any]]]
    called: dict[str, str]
    config: str | None


def read_hdf5(path: Path, member: str = "") -> Hdf5Contents:
    """The arrays of numbers in the file, or in that member of a zip, but for an optimizer's.

    Raises:
        InputError: damaged, so that it cannot be read, or not in reasonable time; h5py is not installed.
    """
    if find_spec("h5py") is None:
        raise InputError(f"{path}: reading HDF5 needs h5py; pip install 'deepres[keras]'")
    with reading(path, "a whole HDF5 file", "fetch it again"):
        open_regular(path).close()
        seconds = SECONDS + path.stat().st_size // BYTES_A_SECOND
        with _process(path, member, seconds) as process, contextlib.suppress(EOFError):
            assert process.stdout is not None
            return _received(process.stdout)
        code = process.returncode
        if code in _LATE:
            raise ValueError(f"reading it takes more than {seconds} s of the processor, as over a loop in it")
        if code < 0:
            raise ValueError(f"the HDF5 library crashes over it, {signal.Signals(-code).name}")
        raise ValueError(f"the HDF5 library ends over it, exit code {code}")


@contextlib.contextmanager
def _process(path: Path, member: str, seconds: int) -> Iterator["subprocess.Popen[bytes]"]:
    """This file as a process, which is gone afterwards."""
    words = [sys.executable, "-P", _SCRIPT, str(path), member, str(seconds)]
    found = os.pathsep.join(filter(None, sys.path))  # what is imported here can be imported there
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": found, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    late = Timer(WAITED * seconds, process.kill)
    late.daemon = True
    late.start()
    try:
        with process:
            try:
                yield process
            except EOFError:
                process.wait()
                raise
            finally:
                process.kill()
    finally:
        late.cancel()


def _received(pipe: IO[bytes]) -> Hdf5Contents:
    header = json.loads(_exactly(pipe, int.from_bytes(_exactly(pipe, _LENGTH), "little")))
    if "refused" in header:
        raise ValueError(header["refused"])
    arrays = list[tuple[str, NDArray[Any]]]()
    for name, dtype, shape in header["arrays"]:
        values = np.empty(shape, _number(dtype))
        if values.nbytes:
            _fill(pipe, values.reshape(-1).view(np.uint8).data)
        arrays.append((name, values))
    return Hdf5Contents(arrays, header["called"], header["config"])


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    content = pipe.read(count)
    if len(content) < count:
        raise EOFError
    return content


def _fill(pipe: IO[bytes], view: memoryview) -> None:
    while view:
        count = pipe.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        view = view[count:]


def _number(dtype: str) -> np.dtype[Any]:
    kind = np.dtype(dtype)
    if kind.kind not in "fiub":
        raise ValueError(f"values of type {dtype}, which are no numbers")
    return kind


# in the process


def _answer(path: str, member: str, out: IO[bytes]) -> None:
    """Write what the file holds, or why it is refused."""
    try:
        header, arrays = _opened(path, member)
    except Exception as cause:
        header, arrays = {"refused": cause_text(cause)}, []
    text = json.dumps(header).encode()
    out.write(len(text).to_bytes(_LENGTH, "little") + text)
    for values in arrays:
        out.write(values.tobytes())
    out.flush()


def _opened(path: str, member: str) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    import h5py

    found: list[tuple[str, NDArray[Any]]] = []
    called: dict[str, str] = {}

    def keep(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            if "name" in item.attrs:
                called[name] = _text(item.attrs["name"])
        elif not name.startswith(_UNUSED) and _SEEDS not in name:
            if item.external or item.is_virtual:
                raise ValueError(f"{name} lies in another file")
            held = item.id.get_storage_size()
            if item.nbytes > SMALL and item.nbytes > GROWS * held:
                raise ValueError(f"{name} would be {item.nbytes:,} bytes, the file holds {held:,} of it")
            found.append((name, np.asarray(item[()], _number(item.dtype.str))))

    with h5py.File(_stream(path, member) if member else path, "r") as file:
        file.visititems(keep)
        config = file.attrs.get("model_config")
    arrays = [(name, values.dtype.str, values.shape) for name, values in found]
    config = None if config is None else _text(config)
    return {"arrays": arrays, "called": called, "config": config}, [values for _, values in found]


def _stream(path: str, member: str) -> io.BytesIO:
    with zipfile.ZipFile(path) as archive:
        return io.BytesIO(archive.read(member))


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _limited(path: str, seconds: int) -> None:
    if not _IS_LIMITED:
        return
    memory = _MEMORY + (GROWS + 2) * Path(path).stat().st_size
    for kind, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    _limited(sys.argv[1], int(sys.argv[3]))
    _answer(sys.argv[1], sys.argv[2], sys.stdout.buffer)
