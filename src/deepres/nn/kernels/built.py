"""One file of C++ as a library of this machine: built once, kept in the cache, tried before it is used."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from deepres.base.errors import InputError
from deepres.base.files import cache_folder, read_bytes, write_atomic
from deepres.nn.environment import hardware

_LIBRARY = torch.library.Library("deepres", "FRAGMENT")  # type: ignore[no-untyped-call]
_KINDS = {"p": ctypes.c_void_p, "l": ctypes.c_long, "i": ctypes.c_int}
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")


class Built:
    """The functions of `source`, called `name` in messages; `require_right` raises InputError where they are wrong.

    `functions`: what each of them takes, a letter each: pointer, long, int. One that is called `..._of` gives a long.
    """

    def __init__(
        self, name: str, source: Path, functions: Mapping[str, str], require_right: Callable[[ctypes.CDLL], None]
    ) -> None:
        self.name, self.source, self.functions, self.require_right = name, source, functions, require_right

    def version(self) -> str:
        """Digest of the source, of the headers beside it and of how it is built."""
        files = self.source, *sorted(self.source.parent.glob("*.h"))
        return sha256(b"".join(read_bytes(file) for file in files) + " ".join(_FLAGS).encode()).hexdigest()[:16]

    def lacking(self) -> str | None:
        """Why they cannot be had here, None where they can; first asked, it builds them."""
        try:
            _ = self.library
        except InputError as cause:
            return str(cause)
        return None

    @cached_property
    def library(self) -> ctypes.CDLL:
        """Built for this processor once and kept below `cache_folder()`.

        Raises:
            InputError: they cannot be built here, or do not compute what they are for.
        """
        if sys.platform != "linux" or platform.machine() != "x86_64":
            raise InputError(f"{self.name} are for Linux on x86-64 alone")
        compiler = shutil.which(os.environ.get("CXX", "g++"))
        if compiler is None:
            raise InputError("no C++ compiler on this machine")
        about = "\0".join((self.version(), compiler, hardware(torch.device("cpu"))))
        place = cache_folder() / "kernels" / f"{sha256(about.encode()).hexdigest()[:24]}.so"
        try:
            if place.is_file() and _is_whole(read_bytes(place)):
                return self._loaded(place)
            with tempfile.TemporaryDirectory() as folder:
                made = Path(folder) / "kernels.so"
                subprocess.run([compiler, *_FLAGS, str(self.source), "-o", str(made)], check=True, capture_output=True)
                found = self._loaded(made)
                place.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(place, _sealed(read_bytes(made)))
                return found
        except (OSError, subprocess.CalledProcessError) as cause:
            raise InputError(f"{self.name} cannot be built here ({compiler}: {cause})") from cause

    def _loaded(self, place: Path) -> ctypes.CDLL:
        found = ctypes.CDLL(str(place))
        for name, taken in self.functions.items():
            function = getattr(found, name)
            function.argtypes = [_KINDS[letter] for letter in taken]
            function.restype = ctypes.c_long if name.endswith("_of") else None
        self.require_right(found)
        return found


def _sealed(built: bytes) -> bytes:
    """With its digest at the end, which a loader does not look at: one that is cut would end the process."""
    return built + sha256(built).digest()


def _is_whole(kept: bytes) -> bool:
    return kept == _sealed(kept[: -sha256().digest_size])


def operator(schema: str, carried_out: Callable[..., Any], shaped: Callable[..., Any]) -> None:
    """Make `torch.ops.deepres.NAME` by its schema; `shaped` gives what comes out where shapes alone are asked for."""
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)  # type: ignore[no-untyped-call]
    _LIBRARY.impl(name, carried_out, "CPU")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"deepres::{name}", shaped, lib=_LIBRARY)


class _Room(threading.local):
    room, floats = torch.empty(0), 0


_kept = _Room()


def scratch(floats: int) -> int:
    """Where there is room for what lies between, kept for the next layer: new pages cost more than sums."""
    if _kept.floats < floats:
        _kept.room, _kept.floats = torch.empty(floats), floats
    return _kept.room.data_ptr()
