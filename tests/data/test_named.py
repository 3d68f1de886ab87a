import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, FashionMNIST

from deepres.base.errors import InputError, RunError
from deepres.data.images import ArrayImages, Images
from deepres.data.sources import digits as shipped
from deepres.data.sources import named
from deepres.data.sources.named import cifar, digits, fashion_mnist


def pixels_of(images: Images) -> np.ndarray:  # type: ignore[type-arg]
    assert isinstance(images, ArrayImages)
    return images.pixels.numpy()


@pytest.mark.medium
def test_digits_are_scikit_learns_in_256_levels() -> None:
    from sklearn.datasets import load_digits

    reference = load_digits()
    ours = shipped.load_digits()
    assert [array.tobytes() for array in ours] == [reference.data.tobytes(), reference.target.tobytes()]
    assert [array.dtype for array in ours] == [reference.data.dtype, reference.target.dtype]
    found = digits()
    images = found.splits["train"]
    pixels = pixels_of(images)
    assert pixels.shape == (1797, 1, 8, 8)
    assert images.targets.tolist() == reference.target.tolist()
    levels = {0: 0, 1: 16, 2: 32, 8: 128, 15: 239, 16: 255}
    for level, expected in levels.items():
        assert (pixels[:, 0][reference.images == level] == expected).all()
    assert images.name(3) == "digits/3"
    assert digits(channels=3).splits["train"].image(0).shape == (3, 8, 8)


@pytest.fixture
def no_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(named, "DEBIAN_FASHION_MNIST", tmp_path / "no such folder")


def write_idx(folder: Path, packed: bool) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": draw.integers(0, 256, (6, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte": np.arange(6, dtype=np.uint8),
        "t10k-images-idx3-ubyte": draw.integers(0, 256, (3, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(3, dtype=np.uint8),
    }
    for name, array in arrays.items():
        data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    return arrays


@pytest.mark.usefixtures("no_debian")
@pytest.mark.parametrize(("place", "packed"), [("fashion-mnist", True), ("FashionMNIST/raw", False)])
def test_fashion_mnist_from_idx_files(tmp_path: Path, place: str, packed: bool) -> None:
    arrays = write_idx(tmp_path / place, packed)
    found = fashion_mnist(tmp_path)
    assert np.array_equal(pixels_of(found.splits["train"])[:, 0], arrays["train-images-idx3-ubyte"])
    assert np.array_equal(pixels_of(found.splits["test"])[:, 0], arrays["t10k-images-idx3-ubyte"])
    assert found.splits["test"].targets.tolist() == [0, 1, 2]
    assert (found.classes[9], found.channels) == ("Ankle boot", 1)
    if not packed:
        assert np.array_equal(pixels_of(found.splits["train"])[:, 0], FashionMNIST(str(tmp_path)).data.numpy())


@pytest.mark.usefixtures("no_debian")
def test_fashion_mnist_missing_or_damaged(tmp_path: Path) -> None:
    message = r"fashion-mnist: no files in .*; put train-images-idx3-ubyte\.gz, .* or pass --set data\.download=true"
    with pytest.raises(InputError, match=message):
        fashion_mnist(tmp_path)
    write_idx(tmp_path / "fashion-mnist", packed=True)
    path = tmp_path / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(
        InputError,
        match=r"t10k-labels-idx1-ubyte\.gz: not a file of the set \(.*\); it is damaged; bring the file anew",
    ):
        fashion_mnist(tmp_path)


def test_cifar_from_verified_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()

    def write(name: str, content: object) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    data = {name: draw.integers(0, 256, (4, 3072), dtype=np.uint8) for name in ("data_batch_1", "test_batch")}
    sums = {name: write(name, {"data": rows, "labels": [0, 1, 2, 3]}) for name, rows in data.items()}
    meta = write("batches.meta", {"label_names": ["a", "b", "c", "d"]})
    monkeypatch.setattr(CIFAR10, "train_list", [sums["data_batch_1"]])
    monkeypatch.setattr(CIFAR10, "test_list", [sums["test_batch"]])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    found = cifar("cifar10", tmp_path)
    assert np.array_equal(pixels_of(found.splits["train"]).reshape(4, -1), data["data_batch_1"])
    assert np.array_equal(pixels_of(found.splits["test"]).reshape(4, -1), data["test_batch"])
    assert found.classes == ("a", "b", "c", "d")
    (folder / "test_batch").write_bytes(b"another pickle")
    with pytest.raises(InputError, match=r"its files differ from the published ones \(MD5\); unpack cifar-10-python"):
        cifar("cifar10", tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_missing(tmp_path: Path, name: str) -> None:
    message = rf"{name}: .*: not there; unpack cifar-10*-python\.tar\.gz in .*, pass --set data\.download=true, or give"
    with pytest.raises(InputError, match=message):
        cifar(name, tmp_path)


def test_failed_download_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: CIFAR10) -> None:
        raise OSError("no route to host\nmore")

    monkeypatch.setattr(CIFAR10, "download", refuse)
    with pytest.raises(
        RunError, match=r"cifar10: download failed \(no route to host\); try again, or download the files yourself"
    ):
        cifar("cifar10", tmp_path, download=True)
