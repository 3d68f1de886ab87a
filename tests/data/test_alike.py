"""The same picture is known again in another size, encoding, brightness, or cut a little; other pictures are not."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from deepres.data import alike
from deepres.data.alike import NOTHING, nearest, same_picture, thumbnail, thumbnails
from deepres.data.digests import digests, looked_at
from deepres.data.doubles import Doubles, doubles
from deepres.data.images import ArrayImages, FileImages
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source

Picture = Image.Image


def photo(seed: int, width: int = 160, height: int = 120) -> Picture:
    """Large shapes and fine ones, as a photograph has; no two seeds are alike."""
    draw = np.random.default_rng(seed)
    layers = [
        np.asarray(Image.fromarray(draw.integers(0, 256, (rows, rows, 3), dtype=np.uint8)).resize((width, height), 3))
        for rows in (4, 11, 40)
    ]
    return Image.fromarray(np.average(layers, axis=0, weights=(3, 2, 1)).astype(np.uint8))


def saved(picture: Picture, quality: int) -> Picture:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return Image.open(content).convert(picture.mode)


def cut(left: float, top: float, right: float, bottom: float) -> Callable[[Picture], Picture]:
    return lambda p: p.crop(
        (round(left * p.width), round(top * p.height), round(right * p.width), round(bottom * p.height))
    )


SAME: dict[str, Callable[[Picture], Picture]] = {
    "quality 30": lambda p: saved(p, 30),
    "quality 95": lambda p: saved(p, 95),
    "half": lambda p: p.resize((p.width // 2, p.height // 2)),
    "double": lambda p: p.resize((p.width * 2, p.height * 2)),
    "squashed": lambda p: p.resize((90, 90)),
    "centre": cut(0.025, 0.025, 0.975, 0.975),
    "left and top": cut(0.05, 0.05, 1, 1),
    "right": cut(0, 0, 0.95, 1),
    "bottom": cut(0, 0, 1, 0.95),
    "3 % of one side": cut(0.03, 0, 1, 1),
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.15),
    "darker": lambda p: ImageEnhance.Brightness(p).enhance(0.85),
    "contrast": lambda p: ImageEnhance.Contrast(p).enhance(0.8),
    "grey": lambda p: p.convert("L").convert("RGB"),
    "all at once": lambda p: saved(ImageEnhance.Brightness(cut(0, 0, 0.95, 0.95)(p)).enhance(1.1).resize((90, 70)), 50),
}
OTHER: dict[str, Callable[[Picture], Picture]] = {
    "mirrored": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda p: p.transpose(Image.Transpose.ROTATE_180),
    "negative": lambda p: p.point([255 - value for value in range(256)] * 3),
    "another": lambda p: photo(99),
    "a third of it": cut(0, 0, 0.4, 0.4),
    "plain": lambda p: Image.new("RGB", p.size, (90, 120, 60)),
}


def tensor(picture: Picture) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


@pytest.mark.parametrize("name", [*SAME, *OTHER])
def test_the_same_picture_is_known_again_and_no_other(name: str) -> None:
    change = {**SAME, **OTHER}[name]
    for seed in range(3):
        one, other = tensor(photo(seed)), tensor(change(photo(seed)))
        assert same_picture(one, other) == (name in SAME)
        assert same_picture(other, one) == (name in SAME)


def of(pictures: list[Picture]) -> NDArray[np.uint8]:
    return thumbnails([thumbnail(tensor(picture)) for picture in pictures])


@pytest.mark.medium
def test_of_many_the_nearest_is_told_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    left = of([photo(seed) for seed in range(40)])
    right = of([*(saved(photo(seed), 40) for seed in (7, 3, 31)), photo(77), cut(0.05, 0, 1, 1)(photo(5))])
    index, distance = nearest(left, right)
    assert index.tolist() == [7, 3, 31, -1, 5]
    assert (distance[[0, 1, 2, 4]] < alike.DISTANCE).all()
    assert np.isinf(distance[3])
    for name, value in {"_AT_ONCE": 1, "_TOGETHER": 1}.items():
        monkeypatch.setattr(alike, name, value)
    again = nearest(left, right)
    assert again[0].tolist() == index.tolist()
    np.testing.assert_allclose(again[1], distance, atol=1e-5)
    monkeypatch.setattr(alike, "MOST_PAIRS", 4)  # of a great set the most alike are looked at
    assert nearest(left, right)[0].tolist()[:3] == [7, 3, 31]
    monkeypatch.setattr(alike, "MOST_PAIRS", 2_000_000)
    monkeypatch.setattr(alike, "COARSE", -1.0)  # every pair
    looked_at = []
    correlation = alike._correlation
    monkeypatch.setattr(alike, "_correlation", lambda *given: (looked_at.append(len(given[2])), correlation(*given))[1])
    assert nearest(left, right)[0].tolist() == index.tolist()
    monkeypatch.setattr(alike, "MOST_CUT", 6)  # … and of them closely those most alike uncut
    assert nearest(left, right)[0].tolist() == index.tolist()
    assert looked_at == [200, 200, 6, 6]


@pytest.mark.parametrize(("left", "right"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_is_alike_where_there_is_nothing(left: int, right: int) -> None:
    index, _ = nearest(
        of([photo(1)] * left) if left else thumbnails([]), of([photo(1)] * right) if right else thumbnails([])
    )
    assert index.tolist() == [-1] * right


def test_what_is_small_or_broken_has_no_thumbnail(tmp_path: Path) -> None:
    assert thumbnail(torch.randint(256, (1, 28, 28), dtype=torch.uint8)) == NOTHING
    photo(0).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8 no image")
    (tmp_path / "c.jpg").write_bytes(b"")
    paths = tuple(tmp_path / name for name in ("a.png", "b.jpg", "c.jpg", "absent.jpg"))
    images = FileImages(paths, torch.zeros(4, dtype=torch.int64), ("x", "y"))
    found, small = looked_at(images)
    assert found.tolist() == digests(images).tolist()
    assert small.any(axis=(1, 2)).tolist() == [True, False, False, False]
    late, none = looked_at(images, seconds=-1)
    assert late.tolist() == found.tolist()
    assert not none.any()


def found_in(source: str, **fields: object) -> tuple[Doubles, dict[str, int]]:
    parts = open_source(DataConfig.model_validate({"source": source, **fields})).splits()
    sizes = {str(part): len(images) for part, images in parts.items()}
    return doubles(parts, {part: looked_at(images) for part, images in parts.items()}), sizes


@pytest.mark.medium
def test_pictures_of_two_parts_are_told_those_of_two_classes_first(tmp_path: Path) -> None:
    for part, seeds in {"train": range(8), "val": range(20, 23), "test": range(30, 34)}.items():
        for seed in seeds:
            place = tmp_path / part / "ab"[seed % 2] / f"{seed}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            photo(seed).save(place)
    photo(2).save(tmp_path / "test" / "a" / "equal.png")
    saved(photo(4), 60).save(tmp_path / "test" / "b" / "other class.jpg")
    photo(20).resize((80, 60)).save(tmp_path / "test" / "a" / "of val.png")
    photo(6).save(tmp_path / "val" / "a" / "six.bmp")
    found, sizes = found_in(str(tmp_path))
    told = [(Path(p.one.name).name, Path(p.other.name).name, p.conflicting, p.equal) for p in found.pairs]
    assert told[0] == ("4.png", "other class.jpg", True, False)
    assert told[1] == ("2.png", "equal.png", False, True)
    assert sorted(told[2:]) == [("20.png", "of val.png", False, False), ("6.png", "six.bmp", False, False)]
    assert found.sentence(sizes) == (  # type: ignore[arg-type]
        "1 of 4 images of val stands in train too; 3 of 7 images of test stand in train and val too: "
        "the same picture, or nearly"
    )
    assert (found.num_compared, found.num_images) == (19, 19)
    assert found.places("test") == sorted(found.places("test"), key=found.places("test").index)


def test_equal_pixels_of_small_arrays_are_told_and_nothing_else() -> None:
    draw = torch.Generator().manual_seed(0)
    train, test = (torch.randint(256, (6, 1, 8, 8), dtype=torch.uint8, generator=draw) for _ in range(2))
    test[1], test[4] = train[3], train[3]
    labels = torch.arange(6) % 2
    parts = {"train": ArrayImages(train, labels, ("a", "b"), "t"), "test": ArrayImages(test, labels, ("a", "b"), "u")}
    found = doubles(parts, {part: looked_at(images) for part, images in parts.items()})  # type: ignore[arg-type]
    assert [(p.one.index, p.other.index, p.conflicting) for p in found.pairs] == [(3, 4, True), (3, 1, False)]


@pytest.mark.long
@pytest.mark.parametrize(("folder", "pairs"), [("signs-10/Dataset", 0), ("grocery-24", 2), ("imagenet-100", 0)])
def test_on_real_photographs_hits_are_many_and_false_ones_none(folder: str, pairs: int, shared: Path) -> None:
    """The pairs of groceries are bursts: the same mangoes, the same melon twice."""
    paths = sorted(p for p in (shared / "data" / "photos" / folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    small = thumbnails([thumbnail(tensor(Image.open(path).convert("RGB"))) for path in paths])
    assert (nearest(small[::2], small[1::2])[0] >= 0).sum() == pairs
    some = paths[:: max(1, len(paths) // 30)]
    for name, change in SAME.items():
        index, _ = nearest(small, of([change(Image.open(path).convert("RGB")) for path in some]))
        hits = sum(paths[at] == path for at, path in zip(index.tolist(), some, strict=True) if at >= 0)
        assert hits >= 0.98 * len(some) - 1, name
