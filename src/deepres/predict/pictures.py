"""What is asked about -> pictures, in its order: files, folders, patterns, addresses, videos, bytes from a pipe."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.files import path_of
from deepres.base.wording import reason_alone
from deepres.data.decode import BadImageError, decode, decode_bytes
from deepres.data.formats import SUFFIXES
from deepres.data.sources.folders import images_under
from deepres.data.transforms.per_image import with_channels
from deepres.predict.addresses import MOST_BYTES, fetch
from deepres.predict.videos import frames, is_video

PIPE = "-"
"""The word that stands for the bytes of stdin."""

_MAGIC = re.compile(r"[*?\[]")
_SCHEME = re.compile(r"(?!file$)[A-Za-z][A-Za-z0-9+.-]+(?=://)|(data|file|blob)(?=:)", re.IGNORECASE)


class Picture:
    """A picture by its `name`; `load` gives a file, its bytes, or pixels (uint8 RGB, (3, H, W)), or refuses.

    It is read when it is needed, once, but for files, which are read each time. `file` is where it lies, if it does.
    """

    def __init__(self, name: str, load: Callable[[], Path | bytes | Tensor], file: Path | None = None) -> None:
        self.name, self._load, self.file = name, load, file

    @cached_property
    def content(self) -> Path | bytes | Tensor:
        """What `load` gives; BadImageError, InputError."""
        return self._load()

    def pixels(self, channels: int, levels: float | None = None) -> Tensor:
        """Upright, uint8 (channels, H, W), `levels` as in `decode`; BadImageError names it where there are none."""
        match self.content:
            case Path() as path:
                return decode(path, channels, levels=levels)
            case bytes() as data:
                return decode_bytes(data, self.name, channels, levels=levels)
            case pixels:
                return with_channels(pixels, channels, self.name)

    @classmethod
    def refused(cls, name: str, why: str) -> "Picture":
        """One that there is not, or that cannot be had: its answer will be the reason."""

        def load() -> bytes:
            raise BadImageError(f"{name}: {why}")

        return cls(name, load)


def of_file(path: Path) -> Picture:
    """The picture in this file."""
    return Picture(str(path), lambda: path, path)


class ImageInputs:
    """All that is asked about: `files` are listed at once, the frames of videos come as they are read."""

    def __init__(self, words: Sequence[str], every: float, pipe: Callable[[], bytes]) -> None:
        self._every, self._pipe, self._piped = every, pipe, False
        self.listed: list[Picture | Path] = []  # a path is a video
        for word in words:
            self.listed += self._found(word)
        self.videos = [one for one in self.listed if isinstance(one, Path)]

    def __len__(self) -> int:
        return len(self.listed)

    def __iter__(self) -> Iterator[Picture]:
        for one in self.listed:
            if isinstance(one, Picture):
                yield one
                continue
            try:
                for seconds, pixels in frames(one, self._every):
                    yield Picture(f"{one}@{seconds:.1f}s", lambda pixels=pixels: pixels)  # type: ignore[misc]
            except InputError as cause:
                yield Picture.refused(str(one), reason_alone(str(one), cause.message))

    def _found(self, word: str) -> list[Picture | Path]:
        if word == PIPE:
            data = b"" if self._piped else self._pipe()
            self._piped = True
            return [Picture("stdin", lambda: _require_few(data))]
        if not word.strip():
            return [Picture.refused("''", "an empty name; wanted an image file, a folder, a pattern or an address")]
        try:
            path = path_of(word)
            exists = path.exists()
        except PermissionError:
            why = "may not be looked at (Permission denied); mend the permissions of the folders above it"
            return [Picture.refused(word, why)]
        except (InputError, OSError):  # a home of nobody, too long; an address may be
            path, exists = Path(), False
            if not _SCHEME.match(word):
                return [Picture.refused(word.replace("\0", "\\0")[:80], "no name of a file")]
        if exists:
            return self._under(path)
        if scheme := _SCHEME.match(word):
            if scheme[0].lower() not in ("http", "https"):
                return [
                    Picture.refused(word[:80], f"{scheme[0]}: is not read; wanted a path, or an address by http(s)")
                ]
            return [Picture(word, lambda: fetch(word))]
        return self._matching(word, path) if _MAGIC.search(word) else [of_file(path)]

    def _under(self, path: Path) -> list[Picture | Path]:
        if not path.is_dir():
            return [path] if is_video(path) else [of_file(path)]
        try:
            found = images_under(path)
        except InputError as cause:
            return [Picture.refused(str(path), reason_alone(str(path), cause.message))]
        return [*map(of_file, found)] or [Picture.refused(str(path), "no images in this folder; name image files")]

    def _matching(self, word: str, path: Path) -> list[Picture | Path]:
        """As the shell would have it, hidden files apart; of what `*` or `**` alone matches the images are taken."""
        parts = path.parts
        fixed = next(number for number, part in enumerate(parts) if _MAGIC.search(part))
        root, pattern = Path(*parts[:fixed]), "/".join(parts[fixed:])
        everything = parts[-1] in ("*", "**", "*.*")
        pattern += "/*" if parts[-1] == "**" else ""
        try:
            matched = sorted(one for one in root.glob(pattern) if not _hidden(one, root))
        except (ValueError, OSError, NotImplementedError) as cause:
            return [Picture.refused(word, f"no pattern ({cause})")]
        if "**" in parts:
            matched = [one for one in matched if not one.is_dir()]
        if everything:
            matched = [one for one in matched if one.is_dir() or one.suffix.lower() in SUFFIXES or is_video(one)]
        found = [one for match in matched for one in self._under(match)]
        return found or [Picture.refused(word, "matches no image; wanted a pattern such as 'photos/*.jpg'")]


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _require_few(data: bytes) -> bytes:
    if len(data) > MOST_BYTES:
        raise BadImageError(f"stdin: more than {MOST_BYTES >> 20} MiB; wanted the bytes of one image")
    return data
