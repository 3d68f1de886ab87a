"""Files as other people have them: which are pictures, which cannot be read and why, and how many bits they have."""

import struct
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.data import decode as decoding
from deepres.data import formats, readable
from deepres.data.check import check, table
from deepres.data.decode import BadImageError, decode
from deepres.data.readable import require_readable, unreadable
from deepres.data.sources.config import DataConfig
from deepres.data.sources.folders import images_under, read_folder
from deepres.data.sources.open import open_source
from deepres.predict.pictures import of_file
from deepres.predict.predictor import Predictor
from deepres.recipes.run import Run


def picture(kind: str = "JPEG", seed: int = 0, size: int = 24, **how: object) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(pixels).save(content, kind, **how)  # type: ignore[arg-type]
    return content.getvalue()


def folder(root: Path, **more: bytes) -> Path:
    """Eight cats and eight dogs, and what else there is, in cat/."""
    for number, name in enumerate(("cat", "dog") * 8):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / f"{number}.jpg").write_bytes(picture(seed=number))
    for name, content in more.items():
        (root / "cat" / name).write_bytes(content)
    return root


BY_CONTENT = {
    "a PNG called jpg": ("a.jpg", "PNG"),
    "a JPEG called png": ("a.png", "JPEG"),
    "no suffix": ("a", "JPEG"),
    "a browser's": ("a.jpeg_large", "JPEG"),
    "kept twice": ("a.JPG.1", "JPEG"),
    "a number behind a dot": ("IMG.20210101", "PNG"),
    "a WebP without suffix": ("a", "WEBP"),
    "AVIF": ("a.avif", "AVIF"),
    "AVIF without suffix": ("a", "AVIF"),
    "loud": ("A.JPEG", "JPEG"),
}


@pytest.mark.parametrize(("name", "kind"), BY_CONTENT.values(), ids=BY_CONTENT)
@pytest.mark.medium
def test_pictures_are_known_by_their_content(tmp_path: Path, name: str, kind: str) -> None:
    folder(tmp_path, **{name: picture(kind)})
    found = read_folder(tmp_path)
    assert (len(found.splits["train"]), found.ignored) == (17, 0)
    assert decode(tmp_path / "cat" / name).shape == (3, 24, 24)
    assert not unreadable(found.splits).reasons


@pytest.mark.parametrize("name", ["._a.jpg", "Thumbs.db", ".DS_Store", "desktop.ini"])
def test_what_programs_leave_is_passed_over(tmp_path: Path, name: str) -> None:
    assert [read_folder(folder(tmp_path, **{name: b"\0\5\x16\7"})).ignored, len(images_under(tmp_path))] == [0, 16]


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
DNG = b"II*\0" + struct.pack("<IHHHIBBBBI", 8, 1, 50706, 1, 4, 1, 4, 0, 0, 0)

UNREADABLE = {
    "nothing": ("a.jpg", b"", r"empty \(0 bytes\)"),
    "a web page": ("a.jpg", b"\n<!DOCTYPE html><html>", r"a web page \(HTML\) .*; fetch it anew"),
    "a web page in capitals": ("a.png", b"<HTML><BODY>404", r"a web page \(HTML\)"),
    "a pointer": ("a.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    "in iCloud": (".IMG_1.jpg.icloud", b"bplist00", "a placeholder, the photo itself lies in iCloud"),
    "macOS": ("a.jpg", b"\0\5\x16\7\0\2\0\0", "AppleDouble"),
    "half": ("a.jpg", picture()[:-300], "damaged or cut short"),
    "half a PNG": ("a.png", picture("PNG")[:-300], "damaged or cut short"),
    "JPEG XL": ("a.jxl", b"\xff\x0a\0\0", r"JPEG XL, .*djxl"),
    "Canon": ("a.cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "camera's raw file, .* develop it"),
    "Canon's newer": ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "camera's raw file"),
    "Nikon": ("a.nef", b"MM\0*" + bytes(40), "camera's raw file"),
    "Photoshop": ("a.psd", b"8BPS\0\1" + bytes(30), "a Photoshop file, .* export it as PNG"),
    "SVG": ("a.svg", b'<?xml version="1.0"?><svg xmlns="">', "vector drawing"),
    "PDF": ("a.pdf", b"%PDF-1.7", "a PDF, no picture"),
    "DICOM": ("a.dcm", bytes(128) + b"DICM", "DICOM, .* export it as PNG"),
    "a film": ("a.jpg", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "a video, no picture"),
    "an archive": ("a.jpg", b"PK\3\4" + bytes(30), "a zip archive, no picture; unpack it"),
    "words": ("a.jpg", b"this is no picture", r'not an image that can be read \(it begins with "this is no p"\)'),
    "bytes": ("a.jpg", b"\1\2\3\4\xfe", r"it begins with bytes 01 02 03 04 fe"),
}


@pytest.mark.parametrize(("name", "content", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_no_picture_vanishes_and_its_remedy_is_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    found = unreadable(read_folder(folder(tmp_path, **{name: content})).splits)
    assert found.of_class == {"cat": (1, 9)}
    assert len(found.reasons) == 1
    with pytest.raises(
        InputError, match=rf"1 of 17 images cannot be read \(cat 1 of 9\); .*--on-bad-image skip\n.*{reason}"
    ):
        require_readable(read_folder(tmp_path).splits, "stop")


def test_a_link_to_nothing_is_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    (folder(tmp_path) / "dog" / "a.jpg").symlink_to("/nowhere/a.jpg")
    assert list(unreadable(read_folder(tmp_path).splits).reasons.values()) == [
        "cannot be opened (a link to nothing); wanted an image file"
    ]


def test_photos_of_phones_are_read_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(HEIC)
    monkeypatch.setattr(decoding, "_readable", lambda: ("JPEG", "PNG"))
    with pytest.raises(
        BadImageError, match=r"a\.heic: HEIC/HEIF, read once pillow-heif is there: pip install 'deepres\[heif\]'"
    ):
        decode(path)
    monkeypatch.undo()
    if find_spec("pillow_heif") is None:
        pytest.skip("pillow-heif is not installed")
    decoding._readable()
    path.write_bytes(picture("HEIF"))
    assert decode(path).shape == (3, 24, 24)


CUT = {"JPEG": {}, "PNG": {}, "GIF": {}, "WEBP": {"lossless": True}, "TIFF": {}, "BMP": {}, "PPM": {}, "AVIF": {}}


@pytest.mark.parametrize("kind", CUT)
def test_files_cut_short_are_found_without_decoding_the_others(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readable, "WHOLE_BYTES", 0)
    whole = picture(kind, **CUT[kind])
    folder(tmp_path, **{"whole.png": whole, "cut.png": whole[: len(whole) * 2 // 3], "tail.jpg": picture() + b"more"})
    assert [Path(name).name for name in unreadable(read_folder(tmp_path).splits).reasons] == ["cut.png"]


def test_all_that_cannot_be_read_are_named_up_to_ten(tmp_path: Path) -> None:
    folder(tmp_path, **{f"bad{number:02}.jpg": b"no" for number in range(13)})
    with pytest.raises(InputError, match=r"^13 of 29 images cannot be read \(cat 13 of 21\)") as caught:
        require_readable(open_source(DataConfig(source=str(tmp_path))).splits(), "stop")
    assert len(caught.value.table) == 11
    assert caught.value.table[-1] == "  and 3 more"
    lines = require_readable(read_folder(tmp_path).splits, "skip")
    assert lines[0] == "13 of 29 images cannot be read (cat 13 of 21): left out"


def test_a_class_without_a_readable_image_is_refused_in_any_case(tmp_path: Path) -> None:
    for file in (folder(tmp_path) / "dog").iterdir():
        file.write_bytes(HEIC[:8])
    with pytest.raises(InputError, match="class 'dog': none of its images for training can be read"):
        require_readable(read_folder(tmp_path).splits, "skip")


@pytest.mark.medium
def test_train_stops_before_it_begins_and_check_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = str(folder(tmp_path / "pets", **{"a.jpg": b"", "b.heif": b"no"}))
    assert run(["train", source, "--smoke"]) == 2
    said = capsys.readouterr().err
    assert "deepres: 2 of 18 images cannot be read (cat 2 of 10)" in said
    assert "a.jpg: empty (0 bytes)" in said
    assert "b.heif: " in said
    assert not (tmp_path / "runs").exists()
    assert run(["data", "check", source]) == 1
    assert "broken          2  (2 of cat)" in capsys.readouterr().out
    assert run(["data", "check", source, "--set", "data.on_bad_image=skip"]) == 1
    for name in ("a.jpg", "b.heif"):
        (tmp_path / "pets" / "cat" / name).unlink()
    assert run(["data", "check", source]) == 0


# --- more than 8 bits


def png16(values: NDArray[np.uint16]) -> bytes:
    height, width = values.shape[:2]
    kind = {2: 0, 3: {2: 4, 3: 2, 4: 6}[values.shape[-1]] if values.ndim == 3 else 0}[values.ndim]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values: NDArray[np.generic], photometric: int = 1) -> bytes:
    """Grey or RGB, not compressed, of whatever type."""
    height, width = values.shape[:2]
    channels, bits = values.size // (height * width), values.dtype.itemsize * 8
    data, form = values.tobytes(), {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    place = 8 + len(data)
    after = place + 2 + 12 * 10 + 4
    tags = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, bits if channels == 1 else after), (259, 3, 1, 1),
        (262, 3, 1, photometric), (273, 4, 1, 8), (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(data)),
        (339, 3, 1, form),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (
        b"II*\0"
        + struct.pack("<I", place)
        + data
        + struct.pack("<H", 10)
        + directory
        + bytes(4)
        + struct.pack("<3H", *[bits] * 3)
    )


RAMP = (np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)) % 4096  # 0 to 4095
COLOURS = np.stack([RAMP, RAMP.T, RAMP[::-1]], axis=2)

DEEP: dict[str, tuple[str, bytes, float, NDArray[np.generic]]] = {
    "PNG of 12 bits": ("a.png", png16(RAMP), 4095, RAMP / 4095),
    "TIFF of 12 bits": ("a.tif", tiff(RAMP), 4095, RAMP / 4095),
    "TIFF, white is 0": ("a.tif", tiff(65535 - RAMP, 0), 4095, RAMP / 4095),
    "PNG of 12 bits in colour": ("a.png", png16(COLOURS), 4095, COLOURS / 4095),
    "PNG of 16 bits in colour": ("a.png", png16(COLOURS * 16), 65520, COLOURS / 4095),
    "TIFF of signed 16 bits": ("a.tif", tiff(RAMP.astype(np.int16) - 100), 2000, np.clip((RAMP - 100.0) / 2000, 0, 1)),
    "TIFF of 32 bits": ("a.tif", tiff(RAMP.astype(np.int32)), 4095, RAMP / 4095),
    "TIFF of floats": ("a.tif", tiff((RAMP / 4095).astype(np.float32)), 1, RAMP / 4095),
}


@pytest.mark.parametrize(("name", "content", "levels", "grey"), DEEP.values(), ids=DEEP)
def test_levels_say_which_value_is_white(
    tmp_path: Path, name: str, content: bytes, levels: float, grey: NDArray[np.generic]
) -> None:
    (tmp_path / name).write_bytes(content)
    seen = decode(tmp_path / name, levels=levels).permute(1, 2, 0).numpy().astype(float)
    wanted = grey if grey.ndim == 3 else np.repeat(grey[:, :, None], 3, axis=2)
    assert np.abs(seen - wanted * 255).max() <= 0.51


def test_a_value_that_is_no_number_is_named(tmp_path: Path) -> None:
    values = np.ones((4, 4), np.float32)
    values[0, 0] = np.nan
    (tmp_path / "a.tif").write_bytes(tiff(values))
    with pytest.raises(BadImageError, match=r"a\.tif: holds values that are no numbers"):
        decode(tmp_path / "a.tif", levels=1)
    with pytest.raises(BadImageError, match=r"a\.tif: 32 bits a pixel, their range unknown; .*--set data.levels=1"):
        decode(tmp_path / "a.tif")


def deep_folder(root: Path, make: Callable[[NDArray[np.uint16]], bytes]) -> Path:
    for number in range(12):
        place = root / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(make(np.roll(RAMP[::2, ::2], number)))
    return root


@pytest.mark.parametrize(
    "make", [png16, lambda v: png16(np.stack([v] * 3, 2)), lambda v: tiff(np.stack([v] * 3, 2), 2)]
)
def test_check_sees_that_16_bits_hold_12(tmp_path: Path, make: Callable[[NDArray[np.uint16]], bytes]) -> None:
    said = table(check(open_source(DataConfig(source=str(deep_folder(tmp_path, make))))))
    assert "of 65,535, 17 of 256 levels remain: --set data.levels=4095, or data.levels=set" in said


def test_levels_of_the_set_are_part_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(deep_folder(tmp_path / "deep", png16))
    assert open_source(DataConfig(source=source, levels="set")).train.image(0).max() == 255
    assert open_source(DataConfig(source=source, levels=8060)).train.image(0).max() in (127, 128)
    assert run(["train", source, "--set", "data.levels=set", "--dry-run"]) == 0
    planned = Run.model_validate_json(capsys.readouterr().out)
    assert planned.data.levels == planned.preparation.levels == 4030


@pytest.mark.slow
def test_levels_are_used_when_a_run_answers(tmp_path: Path) -> None:
    source, home = deep_folder(tmp_path / "deep", png16), tmp_path / "run"
    assert run(["train", str(source), "--smoke", "--set", "data.levels=set", "--output", str(home)]) == 0
    predictor = Predictor.load(home, torch.device("cpu"))
    assert predictor.preparation.levels == 4030
    assert of_file(source / "a" / "0.png").pixels(3, predictor.preparation.levels).max() == 255


def test_levels_of_what_has_8_bits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no picture of more than 8 bits, so data\.levels=set means nothing; leave it out"
    ):
        open_source(DataConfig(source=str(folder(tmp_path)), levels="set"))


def test_kinds_are_told_apart_by_their_first_bytes() -> None:
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "AVIF"):
        assert str(formats.kind_of(picture(kind)[:256])).upper() == kind
