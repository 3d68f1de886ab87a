from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.base.records import edit, parse
from deepres.data.images import ArrayImages, FileImages, Images
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source, write_split
from deepres.data.sources.splits import DatasetRecord


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path / "pets"


def files(images: Images | None) -> list[tuple[Path, int]]:
    assert isinstance(images, FileImages)
    return sorted((path.resolve(), y) for path, y in zip(images.paths, images.targets.tolist(), strict=True))


def test_digits_are_cut_into_three_stratified_parts() -> None:
    source = open_source(DataConfig())
    assert [len(images) for images in source.splits().values()] == [1349, 179, 269]
    assert source.channels == 1
    for images in source.splits().values():
        assert set(images.targets.tolist()) == set(range(10))
    names = [images.name(i) for images in source.splits().values() for i in range(len(images))]
    assert len(set(names)) == 1797


@pytest.mark.medium
def test_the_same_config_gives_the_same_bits() -> None:
    one, two = open_source(DataConfig()), open_source(DataConfig())
    assert one.origin == two.origin
    for part, images in one.splits().items():
        other = two.splits()[part]
        assert isinstance(images, ArrayImages)
        assert isinstance(other, ArrayImages)
        assert torch.equal(images.pixels, other.pixels)
    assert open_source(DataConfig(split_seed=1)).origin.train.digest != one.origin.train.digest


def test_digest_follows_pixels_and_labels(tmp_path: Path) -> None:
    x, y = np.zeros((6, 2, 2), dtype=np.uint8), np.array([0, 1, 0, 1, 0, 1])

    def digest(x: np.ndarray, y: np.ndarray) -> str:  # type: ignore[type-arg]
        np.savez(tmp_path / "toy.npz", x=x, y=y)
        config = DataConfig(source=str(tmp_path / "toy.npz"), val_fraction=0, test_fraction=0)
        return open_source(config).origin.train.digest

    changed = x.copy()
    changed[5, 1, 1] = 1
    assert digest(x, y) == digest(x, y)
    assert len({digest(x, y), digest(changed, y), digest(x, y[::-1].copy())}) == 3


def test_folder_and_its_written_split_are_the_same_source(pets: Path, tmp_path: Path) -> None:
    source = open_source(DataConfig(source=str(pets), val_fraction=0.2, test_fraction=0.3))
    assert [len(images) for images in source.splits().values()] == [10, 4, 6]
    write_split(source, tmp_path / "split.csv")
    again = open_source(DataConfig(source=str(tmp_path / "split.csv")))
    for part, images in source.splits().items():
        assert files(again.splits()[part]) == files(images)
    assert again.classes == source.classes
    facts = zip((again.origin.train, again.origin.val, again.origin.test),
                (source.origin.train, source.origin.val, source.origin.test), strict=True)  # fmt: skip
    assert all(new is not None and old is not None and new.digest == old.digest for new, old in facts)
    assert again.origin.train.how == "as given"


def test_origin_is_json(pets: Path) -> None:
    origin = open_source(DataConfig(source=str(pets))).origin
    assert parse(DatasetRecord, origin.to_json(), "origin") == origin
    assert (origin.kind, origin.split_seed, origin.val_fraction, origin.test_fraction) == ("folder", 0, 0.1, 0.15)
    assert (origin.train.images, origin.train.how) == (14, "as given, less test and val")


def channels_of(source: Source) -> tuple[int, int]:
    return source.channels, source.train.image(0).shape[0]


def test_channels_are_the_sources_or_as_wanted(pets: Path) -> None:
    assert channels_of(open_source(DataConfig(source=str(pets)))) == (3, 3)
    assert channels_of(open_source(DataConfig(source=str(pets), channels=1))) == (1, 1)
    assert channels_of(open_source(DataConfig(channels=3))) == (3, 3)


def test_a_folder_with_a_pair_of_arrays(tmp_path: Path) -> None:
    for part in ("train", "test"):
        np.savez(tmp_path / f"toy_{part}.npz", x=np.zeros((8, 2, 2), dtype=np.uint8), y=np.arange(8) % 2)
    source = open_source(DataConfig(source=str(tmp_path), val_fraction=0.25))
    assert [len(images) for images in source.splits().values()] == [6, 2, 8]
    assert source.name == "toy"


def test_settings_by_dotted_edit() -> None:
    config = edit(DataConfig(), ["channels=3", "root=none", "val_fraction=0", "on_bad_image=skip", "download=true"])
    assert config == DataConfig(channels=3, root=None, val_fraction=0, on_bad_image="skip", download=True)
    assert edit(config, ["channels=none"]).channels is None
    assert parse(DataConfig, config.to_json(), "run") == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("val_fraction=1", "val_fraction: input should be less than 1"),
        ("channels=2", "channels: input should be 1 or 3"),
        ("on_bad_image=replace", "on_bad_image: input should be 'stop' or 'skip'"),
        (
            "val_fraction=0.9",
            r"val_fraction 0\.9 \+ test_fraction 0\.15 leave nothing to train on; wanted a sum below 1",
        ),
    ],
)
def test_wrong_settings_are_refused(change: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        edit(DataConfig(), [change])


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"source 'cifar-10': unknown; did you mean cifar10.*; nor is there a folder of"
    ):
        open_source(DataConfig(source="cifar-10"))


def test_missing_path_gets_the_nearest(pets: Path) -> None:
    with pytest.raises(InputError, match=r"/pet: this path does not exist; did you mean .*/pets\?"):
        open_source(DataConfig(source=str(pets.parent / "pet")))
    with pytest.raises(InputError, match=r"\./zzz: this path does not exist; check the path"):
        open_source(DataConfig(source="./zzz"))
    with pytest.raises(InputError, match=r"list\.csv: this path does not exist"):
        open_source(DataConfig(source="list.csv"))


def test_another_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "set.foo").touch()
    with pytest.raises(
        InputError, match=r"set\.foo: a file of suffix '\.foo'; wanted a folder of class folders, a \.zip or \.tar"
    ):
        open_source(DataConfig(source=str(tmp_path / "set.foo")))


def test_one_class_and_one_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "set" / "only").mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(tmp_path / "set" / "only" / "1.png")
    with pytest.raises(InputError, match=r"one class only \('only'\), wanted at least two to tell apart"):
        open_source(DataConfig(source=str(tmp_path / "set")))
    (tmp_path / "set" / "other").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "set" / "other" / "1.png")
    with pytest.raises(InputError, match="class 'only' has 1 image, wanted at least 3 to cut test and val from"):
        open_source(DataConfig(source=str(tmp_path / "set")))
