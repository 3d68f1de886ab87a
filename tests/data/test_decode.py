import threading
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from deepres.data import decode as module
from deepres.data.decode import BadImageError, as_picture, decode, decode_bytes, image_size, read_header

Save = Callable[..., Path]


def picture(height: int = 24, width: int = 40) -> Image.Image:
    """Smooth, coloured, and different under every turn."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(image: Image.Image, name: str, **options: object) -> Path:
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


def test_colours_equal_pillows(save: Save) -> None:
    expected = torch.from_numpy(np.array(picture())).permute(2, 0, 1)
    for name in ("a.png", "a.bmp", "a.tif", "a.ppm"):
        got = decode(save(picture(), name))
        assert got.dtype == torch.uint8
        assert got.is_contiguous()
        assert torch.equal(got, expected), name


def test_one_channel_is_pillows_luma(save: Save) -> None:
    expected = torch.from_numpy(np.array(picture().convert("L")))[None]
    assert torch.equal(decode(save(picture(), "a.png"), channels=1), expected)


def test_grey_gives_three_equal_channels(save: Save) -> None:
    grey = picture().convert("L")
    path = save(grey, "a.png")
    assert torch.equal(decode(path), torch.from_numpy(np.array(grey)).expand(3, -1, -1))
    assert torch.equal(decode(path, 1)[0], torch.from_numpy(np.array(grey)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_orientation_is_honoured(save: Save, orientation: int, kind: str) -> None:
    path = save(picture(), f"a.{kind}", exif=turned(orientation))
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image))
    got = decode(path)
    assert torch.equal(got, torch.from_numpy(expected).permute(2, 0, 1))
    assert image_size(path) == (got.shape[2], got.shape[1]) == ((40, 24) if orientation < 5 else (24, 40))
    assert ("rotated" in read_header(path).traits) == (orientation != 1)


@pytest.mark.parametrize("exif", [b"Exif\0\0rubbish rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff", turned(77).tobytes()])
def test_unreadable_exif_counts_as_none(exif: bytes) -> None:
    assert torch.equal(
        decode_bytes(encoded(picture(), "PNG", exif=exif), "a"), decode_bytes(encoded(picture(), "PNG"), "a")
    )


def test_cmyk_equals_pillows_conversion(save: Save) -> None:
    path = save(picture().convert("CMYK"), "a.jpg", quality=95)
    with Image.open(path) as image:
        assert image.mode == "CMYK"
        expected = np.array(image.convert("RGB"))
    assert torch.equal(decode(path), torch.from_numpy(expected).permute(2, 0, 1))
    assert read_header(path).traits == ("cmyk",)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_are_scaled_not_clipped(save: Save, name: str) -> None:
    values = np.array([[0, 100, 128, 129, 256, 32767, 32768, 65407, 65535]], dtype=np.uint16)
    path = save(Image.fromarray(values), name)
    assert decode(path, 1).flatten().tolist() == [round(int(v) / 257) for v in values[0]]
    assert torch.equal(decode(path, 3), decode(path, 1).expand(3, -1, -1))
    assert "16-bit" in read_header(path).traits


def test_transparent_sixteen_bit_grey_is_white() -> None:
    data = encoded(Image.fromarray(np.array([[7, 700]], dtype=np.uint16)), "PNG", transparency=7)
    assert decode_bytes(data, "a", 1).flatten().tolist() == [255, round(700 / 257)]


def test_transparency_shows_white(save: Save) -> None:
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, 3] = (0, 51, 255)
    clear = save(Image.fromarray(rgba), "rgba.png")
    assert decode(clear)[0].flatten().tolist() == [255, 204, 0]
    grey = save(Image.fromarray(rgba).convert("LA"), "la.png")
    assert decode(grey, 1).flatten().tolist() == [255, 204, 0]
    assert read_header(grey).traits == ("grey", "transparent")


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_palette_with_a_transparent_colour(save: Save, transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.putpixel((1, 0), 1)
    path = save(image, "a.png", transparency=transparency)
    assert decode(path).squeeze(1).T.tolist() == [[255, 255, 255], [200, 100, 50]]
    assert read_header(path).traits == ("palette", "transparent")


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_first_frame_of_an_animation(save: Save, name: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = save(frames[0], name, save_all=True, append_images=frames[1:], lossless=True)
    assert decode(path)[:, 0, 0].tolist() == [255, 0, 0]
    assert "animated" in read_header(path).traits


def test_one_bit_a_pixel(save: Save) -> None:
    image = Image.new("1", (3, 1))
    image.putpixel((1, 0), 1)
    assert decode(save(image, "a.png"), 1).flatten().tolist() == [0, 255, 0]


def test_content_decides_and_not_the_suffix(save: Save) -> None:
    path = save(picture(), "really_a_png.png").rename(Path(save(picture(), "b.png")).with_name("called.jpg"))
    assert torch.equal(decode(path), torch.from_numpy(np.array(picture())).permute(2, 0, 1))


def test_reduced_decoding_stays_above_the_size_needed(save: Save) -> None:
    path = save(picture(240, 400), "a.jpg")
    assert decode(path, at_least=240).shape == (3, 240, 400)
    assert decode(path, at_least=121).shape == (3, 240, 400)
    assert decode(path, at_least=120).shape == (3, 120, 200)
    assert decode(path, at_least=1).shape == (3, 30, 50)
    assert torch.equal(decode(path, at_least=240), decode(path))
    assert decode(save(picture(240, 400), "a.png"), at_least=1).shape == (3, 240, 400)


def test_bytes_and_file_agree(save: Save) -> None:
    path = save(picture(), "a.jpg")
    assert torch.equal(decode(path), decode_bytes(path.read_bytes(), "upload"))
    assert torch.equal(decode(path), decode(path))


JPEG, PROGRESSIVE = encoded(picture(), "JPEG"), encoded(picture(), "JPEG", progressive=True)
PNG, WEBP, GIF = encoded(picture(), "PNG"), encoded(picture(), "WEBP"), encoded(picture(), "GIF")


@given(st.sampled_from([JPEG, PROGRESSIVE, PNG, WEBP, GIF]), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
@pytest.mark.medium
def test_a_file_cut_short_is_refused_or_whole(data: bytes, kept: float) -> None:
    try:
        got = decode_bytes(data[: int(len(data) * kept)], "cut")
    except BadImageError:
        return
    assert torch.equal(got, decode_bytes(data, "whole"))


@given(st.sampled_from([JPEG, PNG, GIF]), st.integers(0, 400), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
@pytest.mark.medium
def test_damage_raises_one_kind_of_error_in_one_line(data: bytes, place: int, value: int) -> None:
    damaged = bytearray(data)
    damaged[place % len(data)] = value
    message = "damaged: "
    try:
        decode_bytes(bytes(damaged), "damaged")
    except BadImageError as error:
        message = str(error)
    assert message.startswith("damaged: ")
    assert "\n" not in message


def test_truncated_jpeg_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    path.write_bytes(JPEG[:-20])
    with pytest.raises(BadImageError, match=r"half\.jpg: damaged or cut short \(image file is truncated.*replace or"):
        decode(path)


def test_text_called_jpg(tmp_path: Path) -> None:
    path = tmp_path / "page.jpg"
    path.write_text("<!DOCTYPE html>")
    with pytest.raises(BadImageError, match=r"page\.jpg: a web page \(HTML\) .*; fetch it anew"):
        decode(path)


def test_no_other_program_is_started(tmp_path: Path) -> None:
    path = tmp_path / "script.jpg"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(BadImageError, match="PostScript, no picture; export it as PNG"):
        decode(path)


def test_empty_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(BadImageError, match=r"empty\.png: empty \(0 bytes\); replace or remove"):
        decode(path)
    for read in (decode, image_size, read_header):
        with pytest.raises(BadImageError, match=r"gone\.png: cannot be opened \(No such file or directory\)"):
            read(tmp_path / "gone.png")
    with pytest.raises(BadImageError, match="cannot be opened"):
        decode(tmp_path)


def png_of_size(width: int, height: int) -> bytes:
    from struct import pack
    from zlib import compress, crc32

    def chunk(kind: bytes, body: bytes) -> bytes:
        return pack(">I", len(body)) + kind + body + pack(">I", crc32(kind + body))

    head = chunk(b"IHDR", pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height", "given_size"),
    [(30_000, 30_000, "a huge size"), (12_000, 12_000, "12000 x 12000 px"), (10_000, 13_422, "10000 x 13422 px")],
)
def test_decompression_bomb_is_refused_from_its_header(width: int, height: int, given_size: str) -> None:
    with pytest.raises(BadImageError, match=rf"bomb: {given_size}.*, wanted at most 134,217,728 pixels"):
        decode_bytes(png_of_size(width, height), "bomb")


def test_just_below_the_limit_only_the_data_is_missing() -> None:
    with pytest.raises(BadImageError, match="damaged or cut short"):
        decode_bytes(png_of_size(1, 13_000), "long")


def test_thirty_two_bits_have_no_known_range(save: Save) -> None:
    path = save(Image.fromarray(np.ones((2, 2), dtype=np.float32)), "float.tif")
    with pytest.raises(
        BadImageError, match=r"float\.tif: 32 bits a pixel, their range unknown; train with .* --set data.levels=1, or"
    ):
        decode(path)


def test_no_warning_of_pillows_leaks_and_filters_are_restored() -> None:
    bomb_for_pillow = png_of_size(9_500, 9_500)  # above the size at which Pillow warns, below our limit
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(BadImageError, match="damaged or cut short"):
            decode_bytes(bomb_for_pillow, "big")
    assert seen == []
    assert list(warnings.filters) == before


def test_filters_return_when_the_last_is_out() -> None:
    before = list(warnings.filters)
    with module._quiet:
        with module._quiet:
            pass
        warnings.warn_explicit("still inside", UserWarning, "file", 1, module="PIL.Image")
    assert list(warnings.filters) == before
    with pytest.raises(UserWarning, match="outside"):
        warnings.warn_explicit("outside", UserWarning, "file", 1, module="PIL.Image")


def test_filters_survive_many_threads() -> None:
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [decode_bytes(JPEG, "a") for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
    assert module._quiet._inside == 0


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_pixels_are_a_picture_of_the_same_pixels(channels: int, mode: str) -> None:
    pixels = torch.randint(256, (channels, 5, 7), dtype=torch.uint8)
    picture = as_picture(pixels)
    assert (picture.mode, picture.size) == (mode, (7, 5))
    assert np.array_equal(np.asarray(picture).reshape(5, 7, channels), pixels.permute(1, 2, 0).numpy())
    assert as_picture(pixels[:, ::2]).size == (7, 3)  # a view


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_strip_by_strip_the_pixels_are_pillows(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRIP", 130)  # of 40 px a row: 3 rows, the last strip shorter
    for orientation in range(1, 9):
        stored = picture(25).convert("RGBA" if mode == "RGBA" else "RGB")
        if mode == "RGBA":
            stored.putalpha(Image.linear_gradient("L").resize(stored.size))
        data = encoded(stored.convert(mode), "PNG", exif=turned(orientation))
        whole = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGBA")
        white = Image.new("RGB", whole.size, "white")
        white.paste(whole, mask=whole.getchannel("A"))
        for channels, wanted in ((3, white), (1, white.convert("L"))):
            if mode == "L" and channels == 1:
                wanted = whole.convert("L")
            values = np.asarray(wanted).reshape(*wanted.size[::-1], channels).transpose(2, 0, 1)
            assert torch.equal(decode_bytes(data, "x", channels), torch.from_numpy(values.copy()))
