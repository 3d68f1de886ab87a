import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.data.check import check
from deepres.data.decode import BadImageError
from deepres.data.images import Batch, FileImages
from deepres.data.loading.config import LoaderConfig, TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader, evaluation_batches
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import find, open_source
from deepres.data.sources.pack import pack
from deepres.data.sources.packed import HEADER, INDEX, VERSION, is_packed, read_packed
from deepres.data.stored_images import StoredImages
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.statistics import imagenet_statistics

FIT = Preparation(fit="crop", resize=32, crop=32)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    drawn = np.random.default_rng(0)
    for name in ("cat", "dög"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            coarse = Image.fromarray(drawn.integers(0, 256, (4, 5, 3), dtype=np.uint8))
            coarse.resize((70 + number, 50), Image.Resampling.BICUBIC).save(tmp_path / "pets" / name / f"{number}.jpg")
    return tmp_path / "pets"


@pytest.fixture
def packed(pets: Path) -> Path:
    out = pets.with_name("pets.packed")
    pack(find(DataConfig(source=str(pets))), out, kept="raw", short_side=40)
    return out


def batches(source: Path, start: int, stop: int, workers: int = 0) -> list[Batch]:
    loader = TrainLoader(
        open_source(DataConfig(source=str(source))).train,
        Augmentation(crop="random_resized", flip=0.5, jitter=0.2),
        FIT,
        imagenet_statistics(),
        TrainLoaderConfig(batch_size=4, seed=1, workers=workers, decode="scaled"),
    )
    return list(loader.batches(start, stop))


@pytest.mark.parametrize("kept", ["raw", "jpeg"])
@pytest.mark.medium
def test_a_pack_is_the_same_source(pets: Path, kept: str) -> None:
    out = pets.with_name("out")
    pack(find(DataConfig(source=str(pets))), out, kept=kept, short_side=40, quality=95)  # type: ignore[arg-type]
    for changes in ({}, {"split_seed": 3, "val_fraction": 0.3}):
        folder = open_source(DataConfig(source=str(pets)).replace(**changes))
        ours = open_source(DataConfig(source=str(out)).replace(**changes))
        assert (ours.name, ours.classes, ours.channels, ours.origin.kind) == ("pets", ("cat", "dög"), 3, "packed")
        for part, images in folder.splits().items():
            stored = ours.splits()[part]
            assert isinstance(images, FileImages)
            assert isinstance(stored, StoredImages)
            names = [path.relative_to(pets).as_posix() for path in images.paths]
            assert [stored.key(i) for i in range(len(stored))] == names
            assert torch.equal(stored.targets, images.targets)
            assert stored.name(0) == f"{out}/{names[0]}"
            for index in range(len(stored)):
                whole = images.image(index).permute(1, 2, 0).numpy()
                width, height = round(whole.shape[1] * 40 / 50), 40
                small = np.asarray(Image.fromarray(whole).resize((width, height), Image.Resampling.LANCZOS))
                difference = np.abs(stored.image(index).permute(1, 2, 0).numpy().astype(int) - small)
                assert difference.mean() < (1e-9 if kept == "raw" else 3)
                assert stored.header(index)[:2] == (width, height)


@pytest.mark.medium
def test_given_parts_stay_and_the_digest_knows_what_records_hold(pets: Path, tmp_path: Path) -> None:
    root = tmp_path / "split"
    for part in ("train", "val"):
        (root / part).mkdir(parents=True)
        for name in ("cat", "dög"):
            (pets / name).rename(root / part / name) if part == "train" else (root / part / name).mkdir()
    for name in ("cat", "dög"):
        (root / "train" / name / "9.jpg").rename(root / "val" / name / "9.jpg")
    pack(find(DataConfig(source=str(root))), tmp_path / "one", short_side=40)
    pack(find(DataConfig(source=str(root))), tmp_path / "same", short_side=40)
    pack(find(DataConfig(source=str(root))), tmp_path / "smaller", short_side=36)
    one, same, smaller = (open_source(DataConfig(source=str(tmp_path / n))) for n in ("one", "same", "smaller"))
    assert open_source(DataConfig(source=str(root))).origin.test.how == one.origin.test.how  # type: ignore[union-attr]
    assert len(one.test or ()) == 2
    assert one.origin.train == same.origin.train
    assert one.origin.train.digest != smaller.origin.train.digest


@pytest.mark.medium
@pytest.mark.parametrize("workers", [0, 2])
def test_any_step_is_reached_without_those_before_it(packed: Path, workers: int) -> None:
    whole = batches(packed, 0, 6)
    for one, other in zip(batches(packed, 3, 6, workers), whole[3:], strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.indices, other.indices)


@pytest.mark.medium
def test_crops_of_a_pack_are_near_those_of_the_files(pets: Path, packed: Path) -> None:
    unseen = {"val_fraction": 0.0, "test_fraction": 0.0}
    steps = Augmentation(crop="random_resized", area=(1, 1), ratio=(1.4, 1.4))
    seen = []
    for place in (pets, packed):
        images = open_source(DataConfig(source=str(place)).replace(**unseen)).train
        loader = TrainLoader(
            images,
            steps,
            FIT.replace(normalise="none"),
            imagenet_statistics(),
            TrainLoaderConfig(batch_size=20, seed=1, decode="scaled"),
        )
        seen.append(next(loader.batches(0, 1)).images)
    assert (seen[0] - seen[1]).abs().mean() * 255 < 4


@pytest.mark.medium
def test_evaluation_and_checking_read_a_pack(packed: Path) -> None:
    source = open_source(DataConfig(source=str(packed)))
    assert (
        sum(len(b) for b in evaluation_batches(source.train, FIT, imagenet_statistics(), LoaderConfig(batch_size=4)))
        == 14
    )
    report = check(source)
    assert (len(report.broken), report.splits[0].width.least) == (0, 56)  # type: ignore[union-attr]


@pytest.mark.medium
def test_a_store_can_be_sent_to_another_process(packed: Path) -> None:
    images = open_source(DataConfig(source=str(packed))).train
    before = images.image(0)
    assert torch.equal(pickle.loads(pickle.dumps(images)).image(0), before)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.medium
def test_channels_are_those_asked_for(packed: Path, channels: int) -> None:
    images = open_source(DataConfig(source=str(packed), channels=channels)).train  # type: ignore[arg-type]
    assert images.image(0).shape[0] == channels


def test_a_file_cut_short_is_named_with_a_remedy(packed: Path) -> None:
    file = packed / "records-00000.bin"
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.truncate(1000)
    with pytest.raises(InputError, match=rf"records-00000\.bin: holds 1,000 bytes, wanted {size:,}; copy it anew, or"):
        read_packed(packed)
    file.unlink()
    with pytest.raises(
        InputError, match=r"records-00000\.bin: is missing, wanted .*; copy it anew, or pack the source"
    ):
        read_packed(packed)


def test_another_version_is_refused(packed: Path) -> None:
    fields = json.loads((packed / HEADER).read_text())
    (packed / HEADER).write_text(json.dumps(fields | {"version": VERSION + 1, "a_new_field": 1}))
    with pytest.raises(InputError, match=r"pack\.json: version 2 of the packed form, this deepres reads 1; pack again"):
        read_packed(packed)
    (packed / HEADER).write_text("{")
    with pytest.raises(InputError, match=r"pack\.json: not a header of a pack in JSON \(.*\); pack the source again"):
        read_packed(packed)


def test_another_index_is_refused(packed: Path) -> None:
    content = (packed / INDEX).read_bytes()
    (packed / INDEX).write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"index\.npz: not the index that was packed; copy it anew"):
        read_packed(packed)
    (packed / INDEX).unlink()
    with pytest.raises(InputError, match=r"index\.npz: cannot be read \(No such file or directory\); pack the source"):
        read_packed(packed)


@pytest.mark.parametrize("kept", ["raw", "jpeg"])
@pytest.mark.medium
def test_a_damaged_record_is_found(pets: Path, kept: str) -> None:
    out = pets.with_name("out")
    pack(find(DataConfig(source=str(pets))), out, kept=kept, short_side=40)  # type: ignore[arg-type]
    file = out / "records-00000.bin"
    content = bytearray(file.read_bytes())
    content[500] ^= 1
    file.write_bytes(content)
    source = open_source(DataConfig(source=str(out)))
    (broken,) = check(source).broken
    assert broken.reason == f"damaged in {file} (another checksum); pack the source again"
    assert broken.path.startswith(f"{out}/cat/0.jpg")
    images = next(
        images for images in source.splits().values() if f"{out}/cat/0.jpg" in map(images.name, range(len(images)))
    )
    with pytest.raises(BadImageError, match=r"cat/0\.jpg: damaged in .*records-00000\.bin \(another checksum\)"):
        [images.image(index) for index in range(len(images))]


def test_a_folder_without_a_header_is_no_pack(pets: Path, packed: Path) -> None:
    assert is_packed(packed)
    assert not is_packed(pets)
