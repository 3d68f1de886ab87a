"""Arrays in NumPy's .npz: what their headers say is asked first, nothing is unpickled, no bomb is unpacked."""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from deepres.base.errors import InputError
from deepres.base.files import open_regular
from deepres.base.ram import free_bytes, told_bytes
from deepres.base.reading import reading

_RATIO, _LARGE = 100, 2**30
"""No pictures or answers shrink a hundredfold: arrays of 1 GiB and more that do are a bomb, or say nothing."""


class Npz:
    """The arrays of an open file, by name; one whose header lies about its size is refused before it is read."""

    def __init__(self, archive: zipfile.ZipFile, where: str) -> None:
        self._archive, self._where = archive, where
        inside = [name for name in archive.namelist() if not name.endswith("/")]
        self._members = {name.removesuffix(".npy"): name for name in inside}
        self._taken = 0

    @property
    def names(self) -> list[str]:
        """Of all arrays, in the file's order."""
        return list(self._members)

    def kind(self, name: str) -> str:
        """NumPy's letter for the kind of the array's values: f, i, u, b, U, …."""
        return self._head(name)[1].kind

    def __getitem__(self, name: str) -> NDArray[Any]:
        shape, dtype, size = self._head(name)
        info = self._archive.getinfo(self._members[name])
        self._taken += size
        free = free_bytes()
        if self._taken > free:
            raise InputError(
                f"{self._where}: '{name}' needs {told_bytes(self._taken)} of memory, {told_bytes(free)} are free; "
                "use a machine with more memory, or keep images as files"
            )
        if size >= _LARGE and size > _RATIO * max(1, info.compress_size):
            raise InputError(
                f"{self._where}: '{name}' would unpack from {told_bytes(info.compress_size)} to {told_bytes(size)}, "
                f"more than {_RATIO} times as much, which no real images do; save them without compression"
            )
        with self._archive.open(info) as file:
            values: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        if values.shape != shape or values.dtype != dtype:
            raise ValueError(f"'{name}' is not what its header says")
        return values

    def _head(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
        """Shape, type and bytes, which have to be those that the archive holds."""
        if name not in self._members:
            raise KeyError(name)
        info = self._archive.getinfo(self._members[name])
        with self._archive.open(info) as file:
            version = npy.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"'{name}' is in version {version} of NumPy's format, for arrays of records")
            shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
            begins = file.tell()
        if dtype.hasobject:
            raise ValueError(f"'{name}' holds Python objects, which are pickled; save plain arrays")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or begins + size != info.file_size:
            raise ValueError(f"'{name}' is to be {size:,} bytes by its header, there are {info.file_size - begins:,}")
        return shape, dtype, size


@contextmanager
def opened(file: Path | BytesIO, where: Path | str, wanted: str, remedy: str) -> Iterator[Npz]:
    """The arrays of a .npz; whatever fails within is an InputError (`reading`)."""
    with (
        reading(where, wanted, remedy),
        open_regular(file) if isinstance(file, Path) else file as content,
        zipfile.ZipFile(content) as archive,
    ):
        yield Npz(archive, str(where))


def read_arrays(file: Path | BytesIO, where: Path | str, wanted: str, remedy: str) -> dict[str, NDArray[Any]]:
    """All arrays of a small .npz; errors as `opened`."""
    with opened(file, where, wanted, remedy) as arrays:
        return {name: arrays[name] for name in arrays.names}
