import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from deepres.data.decode import BadImageError, decode_bytes
from deepres.data.transforms import crops
from deepres.data.transforms.config import Augmentation
from deepres.data.transforms.crops import Cut, Cutter, draw

RANDOM = Augmentation(crop="random_resized", flip=0.5)
SHORT = Augmentation(crop="short_side", scale=(40, 60), flip=0.5)


def photo(width: int, height: int, mode: str = "RGB", kind: str = "JPEG", seed: int = 0, **options: object) -> bytes:
    """A smooth picture, such as a camera would take."""
    made = np.random.default_rng(seed).integers(0, 256, (height // 40 + 2, width // 40 + 2, 3), dtype=np.uint8)
    picture = Image.fromarray(made).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def reference(content: bytes, cut: Cut, size: int, channels: int = 3) -> Tensor:
    """All pixels, then torchvision's transforms with the same box."""
    pixels = decode_bytes(content, "x", channels)
    left, top, width, height = (int(side) for side in cut[:4])
    view: Tensor = functional.resized_crop(pixels, top, left, height, width, [size, size], antialias=True)
    return view.flip(-1) if cut.flip else view


def apart(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference in levels of 255."""
    return float((one.float() - other.float()).abs().mean())


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_crop_that_needs_all_pixels_equals_the_reference_bitwise(place: int, mode: str) -> None:
    content = photo(150, 110, mode)
    cut = draw(RANDOM, 64, 150, 110, 3, place)
    assert torch.equal(Cutter(RANDOM, 64, "bilinear", 3).of_file(content, "x", place), reference(content, cut, 64))


@pytest.mark.medium
def test_scaled_decoding_stays_near_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    scaled = Cut.scaled
    monkeypatch.setattr(Cut, "scaled", lambda self, factor: (used.append(round(1 / factor)), scaled(self, factor))[1])
    for place in range(12):
        content, size = photo(600, 500, seed=place, quality=90), (48, 140)[place % 2]
        cut = draw(RANDOM, size, 600, 500, 0, place)
        seen = Cutter(RANDOM, size, "bilinear", 0).of_file(content, "x", place)
        assert apart(seen, reference(content, cut, size)) < 2
    assert {2, 4, 8} <= set(used)


def test_scaled_decoding_of_photographs_stays_near_the_reference(shared: Path) -> None:
    found = []
    for place, path in enumerate(sorted((shared / "data/photos/imagenet-100").rglob("*.JPEG"))[:30]):
        content = path.read_bytes()
        width, height = Image.open(io.BytesIO(content)).size
        cut = draw(RANDOM, 96, width, height, 1, place)
        seen = Cutter(RANDOM, 96, "bilinear", 1).of_file(content, "x", place)
        found.append(apart(seen, reference(content, cut, 96)))
    assert np.mean(found) < 1
    assert max(found) < 4


@pytest.mark.parametrize("place", range(6))
def test_a_short_side_crop_is_the_window_of_the_resized_picture(place: int) -> None:
    content = photo(150, 110)
    cut = draw(SHORT, 32, 150, 110, 3, place)
    side = round(110 * 32 / cut.height)
    resized = functional.resize(decode_bytes(content, "x"), [side], antialias=True)
    top, left = round(cut.top * 32 / cut.height), round(cut.left * 32 / cut.width)
    window = resized[:, top : top + 32, left : left + 32]
    seen = Cutter(SHORT, 32, "bilinear", 3).of_file(content, "x", place)
    assert 40 <= side <= 60
    assert apart(seen, window.flip(-1) if cut.flip else window) < 1


@pytest.mark.medium
def test_boxes_have_torchvisions_distribution() -> None:
    for width, height, ratio in ((500, 375, (3 / 4, 4 / 3)), (120, 400, (3 / 4, 4 / 3)), (900, 900, (0.1, 4.0))):
        augmentation = RANDOM.replace(ratio=ratio)
        ours = [draw(augmentation, 64, width, height, 0, place)[:4] for place in range(2000)]
        canvas = torch.empty(3, height, width)
        torch.manual_seed(0)
        boxes = [v2.RandomResizedCrop(64, ratio=ratio).make_params([canvas]) for _ in range(2000)]
        theirs = [(box["left"], box["top"], box["width"], box["height"]) for box in boxes]
        for side in range(4):
            assert ks_2samp([box[side] for box in ours], [box[side] for box in theirs]).pvalue > 0.001


@pytest.mark.medium
def test_short_sides_and_places_are_uniform_with_both_ends() -> None:
    cuts = [draw(SHORT, 32, 80, 60, 0, place) for place in range(4000)]
    sides = np.bincount([round(60 * 32 / cut.height) for cut in cuts], minlength=61)
    assert (sides[40:61] > 4000 / 21 * 0.7).all()
    assert sides[:40].sum() == 0
    tops = {round(cut.top * 32 / cut.height) for cut in cuts if round(60 * 32 / cut.height) == 40}
    assert tops == set(range(9))
    assert 0.46 < np.mean([cut.flip for cut in cuts]) < 0.54


@given(width=st.integers(1, 900), height=st.integers(1, 900), place=st.integers(0, 99), short=st.booleans())
@pytest.mark.medium
def test_a_box_lies_within_its_picture(width: int, height: int, place: int, short: bool) -> None:
    cut = draw(SHORT if short else RANDOM, 32, width, height, 0, place)
    assert min(cut[:4]) >= 0
    assert min(cut.width, cut.height) > 0
    assert cut.left + cut.width <= width + 1e-9 * width
    assert cut.top + cut.height <= height + 1e-9 * height


def test_a_draw_depends_on_seed_and_place_only() -> None:
    first = [draw(RANDOM, 64, 300, 200, 5, place) for place in range(20)]
    torch.rand(7)
    assert [draw(RANDOM, 64, 300, 200, 5, place) for place in range(20)] == first
    assert len(set(first)) == 20
    assert draw(RANDOM, 64, 300, 200, 6, 0) != first[0]


@pytest.mark.parametrize(
    "content",
    [
        photo(90, 70, "RGBA", "PNG"),
        photo(90, 70, "P", "GIF"),
        photo(90, 70, "CMYK"),
        photo(90, 70, "L", "PNG"),
        photo(1, 300),
        photo(300, 1, kind="PNG"),
    ],
    ids=["transparent", "palette", "cmyk", "grey", "thin", "flat"],
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augmentation", [RANDOM, SHORT])
def test_every_kind_of_picture_is_cut(content: bytes, channels: int, augmentation: Augmentation) -> None:
    for interpolation in ("bilinear", "bicubic"):
        cutter = Cutter(augmentation, 32, interpolation, 0)  # type: ignore[arg-type]
        for place in range(4):
            seen = cutter.of_file(content, "x", place, channels)
            assert (seen.shape, seen.dtype) == ((channels, 32, 32), torch.uint8)


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
@pytest.mark.parametrize("size", [16, 64])
def test_a_turned_picture_is_cut_upright(turn: int, size: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    content = photo(200, 120, exif=exif, quality=95)
    width, height = (120, 200) if turn in (6, 8) else (200, 120)
    for place in range(4):
        cut = draw(RANDOM, size, width, height, 0, place)
        seen = Cutter(RANDOM, size, "bilinear", 0).of_file(content, "x", place)
        assert apart(seen, reference(content, cut, size)) < 1.5


def test_pixels_and_files_are_cut_alike() -> None:
    content = photo(150, 110, kind="PNG")
    pixels = decode_bytes(content, "x")
    for augmentation in (RANDOM, SHORT):
        cutter = Cutter(augmentation, 32, "bilinear", 0)
        for place in range(5):
            assert torch.equal(cutter.of_pixels(pixels, place), cutter.of_file(content, "x", place))
            assert cutter.of_pixels(pixels[:1], place).shape == (1, 32, 32)


def test_without_torchvisions_decoder_pillow_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cutter = Cutter(RANDOM, 64, "bilinear", 0)
    content = photo(150, 110)
    seen = [cutter.of_file(content, "x", place) for place in range(5)]
    assert crops._decoder() is not None
    monkeypatch.setattr(crops, "_decoder", lambda: None)
    assert all(torch.equal(cutter.of_file(content, "x", place), one) for place, one in enumerate(seen))


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_file_cut_short_is_named_in_one_line(size: int, share: float) -> None:
    content = photo(150, 110)
    with pytest.raises(BadImageError, match=r"^cat\.jpg: (damaged or cut short|not an image)[^\n]*$"):
        Cutter(RANDOM, size, "bilinear", 0).of_file(content[: int(share * len(content))], "cat.jpg", 0)
