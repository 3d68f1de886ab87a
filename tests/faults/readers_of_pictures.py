"""Readers of pictures, videos and what an address answers: one for each format, and all ways in which they are read."""

import io
import socket
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import numpy as np
import torch
from fuzz import Reader
from PIL import Image

from deepres.data.decode import BadImageError, decode
from deepres.data.digests import looked_at
from deepres.data.images import FileImages
from deepres.data.sources.pack import _small
from deepres.data.transforms.config import Augmentation
from deepres.data.transforms.crops import Cutter
from deepres.predict.addresses import fetch
from deepres.predict.pictures import ImageInputs
from deepres.predict.videos import frames

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
TURNED = 6


def readers_of_pictures() -> list[Reader]:
    """Of every format that is installed here."""
    found = [Reader(f"picture ({kind})", _picture(kind), _looked_at) for kind in FORMATS]
    found += [
        Reader("picture (16 bits)", _deep, _looked_at),
        Reader("picture (turned)", _turned, _looked_at),
        Reader("picture (CMYK)", _cmyk, _looked_at),
        Reader("answer of an address", _answer, _fetched),
    ]
    if find_spec("pillow_heif"):
        found.append(Reader("picture (HEIF)", _heif, _looked_at))
    if find_spec("av"):
        found += [Reader(f"video ({suffix})", _video(suffix), _watched) for suffix in ("mp4", "avi", "mkv", "webm")]
    return found


def _noise(side: int = 24) -> Image.Image:
    return Image.effect_noise((side, side + 4), 90).convert("RGB")


def _picture(kind: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / f"p.{kind.lower()}"
        _noise().save(path, kind)
        return path

    return write


def _deep(folder: Path) -> Path:
    pixels = np.arange(24 * 28, dtype=np.uint16).reshape(24, 28) * 90
    Image.fromarray(pixels).save(folder / "p.png")
    return folder / "p.png"


def _turned(folder: Path) -> Path:
    facts = Image.Exif()
    facts[0x0112] = TURNED
    _noise().save(folder / "p.jpg", "JPEG", exif=facts, progressive=True)
    return folder / "p.jpg"


def _cmyk(folder: Path) -> Path:
    _noise().convert("CMYK").save(folder / "p.jpg", "JPEG")
    return folder / "p.jpg"


def _heif(folder: Path) -> Path:
    import pillow_heif

    pillow_heif.from_pillow(_noise(64)).save(folder / "p.heic")
    return folder / "p.heic"


def _looked_at(file: Path) -> None:
    """All ways; where it cannot be read in one, it is refused in the end, after the others."""
    images = FileImages((file,), torch.zeros(1, dtype=torch.int64), ("a",))
    cut = Augmentation(crop="random_resized")
    refused: BadImageError | None = None
    ways: list[Callable[[], object]] = [
        lambda: images.header(0),
        lambda: decode(file),
        lambda: decode(file, 1, at_least=8),
        lambda: images.cut(0, Cutter(cut, 8, "bilinear", 0), 0),
        lambda: images.cut(0, Cutter(Augmentation(), 8, "bilinear", 0), 1),
        lambda: looked_at(images),
        lambda: _small(images, 0, "jpeg", 16, 90),
        lambda: [picture.pixels(3) for picture in ImageInputs([str(file)], 1.0, lambda: b"")],
    ]
    for way in ways:
        try:
            way()
        except BadImageError as cause:
            refused = cause
    if refused is not None:
        raise refused


def _answer(folder: Path) -> Path:
    """All that a server sends."""
    content = io.BytesIO()
    _noise(8).save(content, "PNG")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(content.getvalue())}\r\n\r\n"
    (folder / "answer").write_bytes(head.encode() + content.getvalue())
    return folder / "answer"


def _fetched(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                asked, _ = server.accept()
                with asked:
                    asked.recv(1 << 16)
                    with file.open("rb") as answer:
                        asked.sendall(answer.read(1 << 20))

        serving = Thread(target=serve, daemon=True)
        serving.start()
        fetch(f"http://127.0.0.1:{server.getsockname()[1]}/p.png", seconds=5)
        serving.join()


def _video(suffix: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        import av

        path = folder / f"v.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libvpx-vp9" if suffix == "webm" else "mpeg4", rate=5)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            for number in range(6):
                pixels = np.full((32, 32, 3), 40 * number, dtype=np.uint8)
                for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        return path

    return write


def _watched(file: Path) -> None:
    for _, pixels in frames(file, 0.5):
        assert pixels.shape[0] == 3
