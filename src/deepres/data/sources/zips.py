"""A .zip: which files it holds and where their bytes lie; nothing is unpacked, nothing outside of it is read."""

import struct
import zipfile
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.files import open_regular
from deepres.base.reading import reading
from deepres.data.sources.tars import ArchivedFile, inner_name

MAX_BYTES = 2**29
"""A file that says it unpacks to more (512 MiB) is refused: no picture is so large, and bombs are."""

_LOCAL = struct.Struct("<4s22xHH")  # signature, …, length of the name, of the extra field
_WAYS = {0: "stored", 8: "deflate"}
_ENCRYPTED, _UTF8 = 0x1, 0x800


def files_in_zip(file: Path) -> tuple[dict[str, ArchivedFile], tuple[str, ...], tuple[str, ...]]:
    """The files in a zip by name, its folders, and notes.

    Raises:
        InputError: no zip, cut short, encrypted, packed in another way than deflate, a name that leads out of it, one
            that stands twice, a file that would unpack to more than MAX_BYTES.
    """
    found: dict[str, ArchivedFile] = {}
    folders: list[str] = []
    strange = 0
    with (
        reading(file, "a whole zip file", "copy it anew"),
        zipfile.ZipFile(file) as archive,
        open_regular(file) as content,
    ):
        for info in archive.infolist():
            spelled, known = _spelled(info)
            strange += not known
            name = inner_name(spelled, str(file))
            if info.is_dir() or spelled.endswith("\\"):
                folders.append(name)
                continue
            where = f"{file}: {name}"
            if name in found:
                raise InputError(f"{where} stands twice, and a zip does not say which one counts; write it anew")
            if info.flag_bits & _ENCRYPTED:
                raise InputError(f"{where} is encrypted; unpack it with its password, and give the folder")
            if info.compress_type not in _WAYS:
                raise InputError(f"{where} is packed in way {info.compress_type}, not deflate; write the zip anew")
            if info.file_size > MAX_BYTES:
                raise InputError(f"{where} would unpack to {info.file_size:,} bytes, above {MAX_BYTES:,}; remove it")
            content.seek(info.header_offset)
            signature, *lengths = _LOCAL.unpack(content.read(_LOCAL.size))
            if signature != b"PK\x03\x04":
                raise zipfile.BadZipFile(f"{name} does not lie where it should")
            offset = info.header_offset + _LOCAL.size + sum(lengths)
            packed = _WAYS[info.compress_type] == "deflate"
            size = info.file_size if packed else None
            found[name] = ArchivedFile(name, offset, info.compress_size, size, info.CRC)
    said = "names in an old encoding (CP437); write the zip anew if classes look wrong"
    return found, tuple(folders), (f"{file.name}: {strange} {said}",) if strange else ()


def _spelled(info: zipfile.ZipInfo) -> tuple[str, bool]:
    """The name; a Mac writes UTF-8 without saying so. False where its encoding is not known."""
    if info.flag_bits & _UTF8 or info.filename.isascii():
        return info.filename, True
    try:
        return info.filename.encode("cp437").decode(), True
    except UnicodeError:
        return info.filename, False
