import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.data.loading.config import TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source
from deepres.data.stored_images import StoredImages
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.statistics import imagenet_statistics


def picture(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 8), (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write(path: Path, members: dict[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def shard(path: Path, first: int, count: int = 6, **replaced: str) -> Path:
    """Picture n is of value 10 n and class n % 2."""
    members: dict[str, bytes | str] = {}
    for number in range(first, first + count):
        members |= {f"{number:03}.png": picture(10 * number), f"{number:03}.cls": str(number % 2)}
    return write(path, members | {name.replace("_", "."): text for name, text in replaced.items()})


def opened(source: Path | str, **changes: object) -> Source:
    return open_source(DataConfig(source=str(source), val_fraction=0, test_fraction=0).replace(**changes))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    for number in range(3):
        shard(tmp_path / "set" / f"shard-{number:04}.tar", 6 * number)
    return tmp_path / "set"


@pytest.mark.parametrize("pattern", ["", "/shard-{0000..0002}.tar"])
def test_samples_of_all_shards_are_read_in_any_order(shards: Path, pattern: str) -> None:
    source = opened(f"{shards}{pattern}")
    images = source.train
    assert isinstance(images, StoredImages)
    assert (source.name, source.origin.kind, source.classes, len(images)) == ("set", "shards", ("0", "1"), 18)
    for index in (17, 0, 9, 3):
        assert images.image(index)[0, 0, 0] == 10 * index
        assert images.targets[index] == index % 2
    assert images.name(7) == f"{shards}/shard-0001.tar/007.png"
    assert images.header(4)[:2] == (9, 8)


def test_a_single_shard_is_a_source_and_braces_choose(shards: Path) -> None:
    assert len(opened(shards / "shard-0001.tar").train) == 6
    assert len(opened(f"{shards}/shard-000{{1..2}}.tar").train) == 12


def test_labels_are_numbers_or_names_in_cls_or_json(tmp_path: Path) -> None:
    members: dict[str, bytes | str] = {}
    for number, label in enumerate(["cat", "dog", "cat", "dog"]):
        members[f"a/{number}.jpg"] = picture(number)
        members[f"a/{number}.json"] = json.dumps({"caption": "x", "label": label})
    source = opened(write(tmp_path / "named.tar", members))
    assert (source.classes, source.train.targets.tolist()) == (("cat", "dog"), [0, 1, 0, 1])
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    source = opened(tmp_path / "named.tar")
    assert (source.classes, source.train.targets.tolist()) == (("dog", "cat"), [1, 0, 1, 0])
    source = opened(shard(tmp_path / "numbered.tar", 0))
    assert (source.classes, source.train.targets.tolist()) == (("dog", "cat"), [0, 1, 0, 1, 0, 1])


def test_words_in_names_or_folders_make_the_split(tmp_path: Path) -> None:
    shard(tmp_path / "a" / "imagenet-train-0000.tar", 0)
    shard(tmp_path / "a" / "imagenet-val-0000.tar", 6, 4)
    shard(tmp_path / "b" / "train" / "0000.tar", 0)
    shard(tmp_path / "b" / "validation" / "0000.tar", 6, 4)
    for folder in ("a", "b"):
        parts = opened(tmp_path / folder).splits()
        assert {part: len(images) for part, images in parts.items()} == {"train": 6, "test": 4}


@pytest.mark.medium
def test_training_reaches_any_step_with_any_workers(shards: Path) -> None:
    def images(start: int, workers: int) -> list[torch.Tensor]:
        loader = TrainLoader(
            opened(shards).train,
            Augmentation(crop="random_resized", flip=0.5),
            Preparation(fit="crop", resize=8, crop=8),
            imagenet_statistics(),
            TrainLoaderConfig(batch_size=4, seed=1, workers=workers, decode="scaled"),
        )
        return [batch.images for batch in loader.batches(start, 6)]

    whole = images(0, 0)
    for workers in (0, 2):
        assert all(torch.equal(one, two) for one, two in zip(images(3, workers), whole[3:], strict=True))


def test_a_store_can_be_sent_to_another_process(shards: Path) -> None:
    images = opened(shards).train
    before = images.image(0)
    assert np.array_equal(pickle.loads(pickle.dumps(images)).image(0), before)


@pytest.mark.parametrize(
    "source", ["https://host/shard-{0000..0009}.tar", "pipe:curl -s host/shard.tar", "s3://a/b.tar"]
)
def test_streams_are_refused_with_a_remedy(source: str) -> None:
    with pytest.raises(InputError, match=r"an address or a stream; download it, and name the file or folder"):
        opened(source)


def test_a_compressed_or_missing_shard_is_refused(shards: Path) -> None:
    with pytest.raises(
        InputError, match=r"x\.tar\.gz: compressed, so its members cannot be read one by one; unpack it"
    ):
        opened(shards / "x.tar.gz")
    with pytest.raises(
        InputError, match=r"shard-0003\.tar: this shard does not exist; check the path, or the numbers in"
    ):
        opened(f"{shards}/shard-{{0000..0009}}.tar")


def test_a_sample_without_a_label_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", {"1.png": picture(0), "1.cls": "0", "2.png": picture(1)})
    with pytest.raises(InputError, match=r"a\.tar: 2\.png has no label; wanted 2\.cls, or 2\.json with a field label"):
        opened(path)
    path = write(tmp_path / "b.tar", {"1.png": picture(0), "1.json": '{"caption": "a cat"}'})
    with pytest.raises(
        InputError, match=r"b\.tar: 1\.json: holds no label; wanted JSON with a field label, or a plain"
    ):
        opened(path)
    path = write(tmp_path / "c.tar", {"1.png": picture(0), "1.cls": " "})
    with pytest.raises(InputError, match=r"c\.tar: 1\.cls: holds no label; wanted a number or a name"):
        opened(path)


def test_a_label_outside_the_named_classes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("dog\n")
    with pytest.raises(InputError, match=r"a\.tar: 001\.png: label 1, .*classes\.txt names 1 class; add the others"):
        opened(shard(tmp_path / "a.tar", 0))
    path = write(tmp_path / "b.tar", {"1.png": picture(0), "1.cls": "cat"})
    with pytest.raises(InputError, match=r"b\.tar: 1\.png: class 'cat' is not in .*classes\.txt"):
        opened(path)


@pytest.mark.parametrize("size", [0, 700, 1800, 3072, 5300])
def test_a_shard_cut_short_is_named(shards: Path, size: int) -> None:
    file = shards / "shard-0001.tar"
    with file.open("r+b") as tar:
        tar.truncate(size)
    with pytest.raises(
        InputError, match=r"shard-0001\.tar: cut short \(a tar ends with 1024 bytes of zeros\); copy or write"
    ):
        opened(shards)


def test_a_shard_without_pictures_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", {"1.txt": "x"})
    with pytest.raises(
        InputError, match=r"a\.tar: no pictures in 1 shards; wanted members such as 000001\.jpg, 000001\.cls"
    ):
        opened(path)


def test_a_tar_of_tars_as_imagenets_is_to_be_unpacked(tmp_path: Path) -> None:
    inner = write(tmp_path / "n01440764.tar", {"n01440764_18.txt": "x"})
    path = tmp_path / "ILSVRC2012_img_train.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(inner, "n01440764.tar")
        tar.add(inner, "n01443537.tar")
    inner.unlink()
    with pytest.raises(InputError, match=r"train\.tar: holds 2 archives \(n01440764\.tar\) and no picture; unpack it"):
        opened(path)


def test_a_file_that_is_no_tar_is_named(shards: Path) -> None:
    file = shards / "shard-0001.tar"
    file.write_bytes(b"x" * 2048 + bytes(1024))
    with pytest.raises(InputError, match=r"shard-0001\.tar: not a whole tar file \(.*\); copy it anew"):
        opened(shards)
