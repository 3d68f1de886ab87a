from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from deepres.base.records import parse
from deepres.data import alike
from deepres.data import check as module
from deepres.data.check import CheckReport, check, table
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source


def photo(seed: int, width: int = 48, height: int = 36) -> Image.Image:
    """A smooth random picture: no two seeds are alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    for seed, place in enumerate(
        [f"{part}/{name}/{i}.png" for part in ("train", "test") for name in "ab" for i in "123"]
    ):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        photo(seed).save(root / place)
    return root


def opened(folder: Path) -> Source:
    return open_source(DataConfig(source=str(folder), val_fraction=0))


def test_a_clean_folder(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = check(opened(folder), on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 12) for done in range(1, 13)]
    assert [(split.split, split.images, split.per_class, split.num_sizes) for split in report.splits] == [
        ("train", 6, (3, 3), 1),
        ("test", 6, (3, 3), 1),
    ]
    assert (report.broken, report.exact, report.near, report.imbalance) == ((), (), (), 1.0)
    assert parse(CheckReport, report.to_json(), "report") == report


def test_threads_change_nothing(folder: Path) -> None:
    for name in "123":
        (folder / "train" / "a" / f"{name}.png").write_bytes(b"no image")
    assert check(opened(folder), workers=3) == check(opened(folder), workers=0)


def test_sizes_and_kinds(folder: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo(90, 100, 20).save(folder / "train" / "a" / "turned.jpg", exif=exif)
    photo(91).convert("CMYK").save(folder / "train" / "b" / "ink.jpg")
    photo(92).convert("L").save(folder / "train" / "b" / "grey.png")
    Image.fromarray(np.asarray(photo(93).convert("L")).astype(np.uint16) * 257).save(
        folder / "train" / "a" / "deep.png"
    )
    train = check(opened(folder)).splits[0]
    assert train.width is not None
    assert train.height is not None
    assert (train.width.least, train.width.middle, train.width.greatest) == (20, 48.0, 48)
    assert (train.height.least, train.height.middle, train.height.greatest) == (36, 36.0, 100)
    assert train.num_sizes == 2
    assert train.traits == {"16-bit": 1, "cmyk": 1, "grey": 2, "rotated": 1}


def test_broken_files_are_listed_with_reasons(folder: Path) -> None:
    (folder / "train" / "a" / "2.png").write_bytes(b"")
    report = check(opened(folder))
    assert [(b.split, Path(b.path).name, b.reason) for b in report.broken] == [
        ("train", "2.png", "empty (0 bytes); replace or remove the file")
    ]
    assert "repair or remove the broken files" in table(report)


def test_equal_pixels_within_and_between_parts(folder: Path) -> None:
    photo(0).save(folder / "test" / "a" / "copy.bmp")  # train/a/1.png
    photo(1).save(folder / "train" / "b" / "copy.bmp")  # train/a/2.png, another class
    report = check(opened(folder))
    assert (report.num_exact, report.num_leaks, report.num_conflicts, report.num_near) == (2, 1, 1, 0)
    leak, conflict = report.exact
    assert [Path(path).name for path in leak.paths] == ["1.png", "copy.bmp"]
    assert (leak.splits, leak.classes, leak.conflicting) == (("train", "test"), ("a", "a"), False)
    assert (conflict.splits, conflict.classes, conflict.conflicting) == (("train", "train"), ("a", "b"), True)
    assert "images lie in several splits: the test error will flatter" in table(report)
    assert "equal images have different labels" in table(report)


@pytest.mark.parametrize("change", ["jpeg", "smaller", "brighter"])
def test_the_same_picture_anew_is_near(folder: Path, change: str) -> None:
    picture, place = photo(0), folder / "test" / "b" / "anew"
    if change == "jpeg":
        picture.save(place.with_suffix(".jpg"), quality=60)
    elif change == "smaller":
        picture.resize((43, 32)).save(place.with_suffix(".png"))
    else:
        picture.point([min(255, value + 5) for value in range(256)] * 3).save(place.with_suffix(".png"))
    report = check(opened(folder))
    assert (report.num_exact, report.num_near) == (0, 1)
    assert [Path(path).stem for path in report.near[0].paths] == ["1", "anew"]
    assert (report.near[0].splits, report.near[0].conflicting) == (("train", "test"), True)


def test_plain_pictures_are_not_called_alike(folder: Path) -> None:
    for part, level in (("train", 250), ("test", 251)):
        Image.new("RGB", (48, 36), (level, level, level)).save(folder / part / "a" / "blank.png")
    assert check(opened(folder)).num_near == 0


def test_the_same_picture_in_other_greys_is_near(folder: Path) -> None:
    """It is as good an answer sheet, dark or not; an earlier measure missed it."""
    photo(0).point([value // 3 for value in range(256)] * 3).save(folder / "test" / "b" / "dark.png")
    assert check(opened(folder)).num_near == 1


def test_blocks_of_comparison_change_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        photo(number).save(folder / "test" / "a" / f"copy{number}.jpg", quality=70)
    whole = check(opened(folder))
    monkeypatch.setattr(alike, "_AT_ONCE", 1)
    monkeypatch.setattr(alike, "_TOGETHER", 1)
    assert whole.num_near >= 6
    assert check(opened(folder)) == whole


def test_long_lists_are_cut_and_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        photo(number).save(folder / "test" / "a" / f"copy{number}.bmp")
    monkeypatch.setattr(module, "MAX_LISTED", 2)
    report = check(opened(folder))
    assert (report.num_exact, len(report.exact)) == (6, 2)


@pytest.mark.medium
def test_images_in_memory_need_no_files() -> None:
    source = open_source(DataConfig())
    report = check(source)
    sizes = [(part.width.least, part.width.greatest, part.traits) for part in report.splits if part.width]
    assert sizes == [(8, 8, {})] * 3
    assert report.num_exact == 0
    assert "choose a network for small images" in table(report)


def test_table_of_a_clean_folder(folder: Path) -> None:
    report = check(opened(folder)).replace(source="pets")
    assert table(report).splitlines() == [
        "pets: 2 classes, 12 images",
        "",
        "train         6  48 x 36 px",
        "test          6  48 x 36 px",
        "",
        "class    train     test",
        "a            3        3  ########################################",
        "b            3        3  ########################################",
        "",
        "broken          0",
        "duplicates      0 groups of equal pixels; 0 across splits, 0 with different labels",
        "alike           0 pairs across splits (distance at most 0.06)",
        "ignored         0 files that are no images",
        "advice     half of the images are below 64 px: choose a network for small images",
    ]


@pytest.mark.parametrize(
    ("count", "line"),
    [(1, "ignored         1 file that is no image"), (1234, "ignored     1,234 files that are no images")],
)
def test_counts_end_in_one_column_and_their_noun_follows_them(folder: Path, count: int, line: str) -> None:
    assert line in table(check(opened(folder)).replace(ignored=count)).splitlines()


def test_imbalance_and_many_classes_in_the_table(folder: Path) -> None:
    report = check(opened(folder))
    names = tuple(f"class{i:02}" for i in range(30))
    counts = tuple(range(1, 31))
    splits = tuple(part.replace(per_class=counts) for part in report.splits)
    text = table(report.replace(classes=names, splits=splits, imbalance=30.0))
    assert "… 14 classes in between …" in text
    assert "classes from 1 to 30 images (30 to 1): read the error per class; train --balance loss or sampler" in text
    assert text.index("class29") < text.index("class22") < text.index("class07") < text.index("class00")
