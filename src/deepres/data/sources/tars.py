"""A plain .tar: which files it holds and where their bytes lie; how such a file within another one is read.

Of a name that stands several times the last member counts, as tar says (`tar rf` corrects by appending).
"""

import os
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from deepres.base.errors import InputError
from deepres.base.files import open_regular
from deepres.base.reading import reading
from deepres.data.decode import BadImageError

_READING = Lock()

_END = bytes(1024)
_BLOCK = 1 << 20
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd"}
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")


@dataclass(frozen=True)
class ArchivedFile:
    """A file within another one: what it is called, where it begins, its length there in bytes.

    `unpacked`, of one that is deflated, is its own length; `crc` its checksum, where that is known.
    """

    name: str
    offset: int
    length: int
    unpacked: int | None = None
    crc: int | None = None


@dataclass(frozen=True)
class Tar:
    """The files in a tar by name, in the order of their first mention; how many were replaced by later ones."""

    files: dict[str, ArchivedFile]
    folders: tuple[str, ...]
    replaced: int


def files_in(file: Path) -> Tar:
    """What a tar holds; a hard link is the member that it names.

    Raises:
        InputError: no tar, compressed, cut short, or two put together; a symbolic link, a file with holes, a name that
            leads out of it.
    """
    _require_plain(file)
    found: dict[str, ArchivedFile] = {}
    folders: list[str] = []
    replaced = 0
    with reading(file, "a whole tar file", "copy it anew"), tarfile.open(file, "r:") as tar:
        for member in tar:
            name = inner_name(member.name, str(file))
            if member.isdir():
                folders.append(name)
                continue
            if member.issym():
                raise InputError(f"{file}: {name} is a link to {member.linkname}; write the tar with tar -h")
            if member.issparse():
                raise InputError(f"{file}: {name} is kept with holes (sparse); write the tar without tar -S")
            if member.islnk():
                aim = inner_name(member.linkname, str(file))
                if aim not in found:
                    raise InputError(f"{file}: {name} is a link to {aim}, which is not in it; write the tar anew")
                placed = ArchivedFile(name, found[aim].offset, found[aim].length)
            elif member.isfile():
                placed = ArchivedFile(name, member.offset_data, member.size)
            else:
                continue
            replaced += name in found
            found[name] = placed
        end = tar.offset
    _require_nothing_behind(file, end)
    return Tar(found, tuple(folders), replaced)


def inner_name(name: str, where: str) -> str:
    """`./cat/1.jpg` -> `cat/1.jpg`; backslashes separate folders as on Windows.

    Raises:
        InputError: the name leads out of the archive.
    """
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or parts[0].endswith(":"):
        raise InputError(f"{where}: {name} leads out of it; write the archive with names relative to its folder")
    return "/".join(part for part in parts if part not in ("", "."))


def _read(descriptor: int, length: int, offset: int) -> bytes:
    """As `os.pread`, for systems without it: of several threads one reads at a time."""
    with _READING:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, length)


def read_at(descriptor: int, placed: ArchivedFile, where: str) -> bytes:
    """The bytes of a file within an open one, unpacked to no more than it says.

    Raises:
        BadImageError: they are damaged; `where` names it.
    """
    read = os.pread if hasattr(os, "pread") else _read
    content = read(descriptor, placed.length, placed.offset)
    try:
        if placed.unpacked is not None:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, placed.unpacked + 1)
    except zlib.error as cause:
        raise BadImageError(f"{where}: damaged ({cause}); write the archive anew") from cause
    whole = placed.length if placed.unpacked is None else placed.unpacked
    if len(content) != whole or (placed.crc is not None and zlib.crc32(content) != placed.crc):
        raise BadImageError(f"{where}: damaged (another length or checksum); write the archive anew")
    return content


def _require_plain(file: Path) -> None:
    """Every tar ends with two blocks of zeros; one that was cut between two members would only seem smaller."""
    try:
        with open_regular(file) as tar:
            start = tar.read(8)
            tar.seek(max(0, file.stat().st_size - len(_END)))
            end = tar.read()
    except OSError as cause:
        raise InputError(f"{file}: cannot be read ({cause.strerror}); wanted a .tar") from cause
    kind = next((kind for magic, kind in _COMPRESSED.items() if start.startswith(magic)), None)
    if kind:
        raise InputError(
            f"{file}: compressed ({kind}), so its members cannot be read one by one; unpack it to a plain .tar"
        )
    if end != _END:
        raise InputError(f"{file}: cut short (a tar ends with {len(_END)} bytes of zeros); copy or write it anew")


def _require_nothing_behind(file: Path, end: int) -> None:
    with open_regular(file) as tar:
        tar.seek(end)
        while block := tar.read(_BLOCK):
            if block.count(0) != len(block):
                raise InputError(
                    f"{file}: more stands behind its end, as if two tars were put together; join them with tar -A"
                )
