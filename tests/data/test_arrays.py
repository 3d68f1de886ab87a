from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.data.images import ArrayImages
from deepres.data.sources.arrays import pair_in, read_npz, with_channels

X = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])


def npy_bytes() -> bytes:
    file = BytesIO()
    np.save(file, X)
    return file.getvalue()


def save(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_pixels_labels_and_names(tmp_path: Path) -> None:
    found = read_npz(save(tmp_path / "toy.npz", x=X, y=Y.astype(np.uint8), classes=["r", "g", "b"]))
    images = found.splits["train"]
    assert isinstance(images, ArrayImages)
    assert np.array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), X)
    assert images.targets.tolist() == Y.tolist()
    assert (found.name, found.classes, found.channels) == ("toy", ("r", "g", "b"), 3)
    assert images.name(5) == "toy/train/5"


def test_grey_without_names(tmp_path: Path) -> None:
    found = read_npz(save(tmp_path / "toy.npz", x=X[..., 0], y=Y))
    assert found.splits["train"].image(0).shape == (1, 4, 5)
    assert found.classes == ("0", "1", "2")


@pytest.mark.parametrize("names", [("x", "y"), ("x_train", "y_train")])
def test_parts_in_one_file(tmp_path: Path, names: tuple[str, str]) -> None:
    arrays = {names[0]: X, names[1]: Y, "x_test": X[:2], "y_test": Y[:2], "x_val": X[:3], "y_val": Y[:3]}
    found = read_npz(save(tmp_path / "toy.npz", **arrays))
    assert {part: len(images) for part, images in found.splits.items()} == {"train": 6, "val": 3, "test": 2}


def test_a_pair_by_file_and_by_folder(tmp_path: Path) -> None:
    train, test = save(tmp_path / "toy_train.npz", x=X, y=Y), save(tmp_path / "toy_test.npz", x=X[:2], y=Y[:2])
    assert pair_in(tmp_path) == train
    assert {part: len(images) for part, images in read_npz(train).splits.items()} == {"train": 6, "test": 2}
    assert {part: len(images) for part, images in read_npz(test).splits.items()} == {"test": 2}  # to be measured on
    save(tmp_path / "other_train.npz", x=X, y=Y)
    assert pair_in(tmp_path) == train
    save(tmp_path / "other_test.npz", x=X, y=Y)
    assert pair_in(tmp_path) is None


def test_a_pair_with_different_classes(tmp_path: Path) -> None:
    train = save(tmp_path / "toy_train.npz", x=X, y=Y, classes=["a", "b", "c"])
    save(tmp_path / "toy_test.npz", x=X, y=Y, classes=["a", "c", "b"])
    with pytest.raises(InputError, match=r"toy_test\.npz: 'classes' differs from that of toy_train\.npz"):
        read_npz(train)


def test_luma_equals_pillows_and_grey_is_repeated() -> None:
    pixels = torch.from_numpy(X).permute(0, 3, 1, 2)
    luma = with_channels(pixels, 1)
    assert all(
        np.array_equal(luma[i, 0].numpy(), np.asarray(Image.fromarray(X[i]).convert("L"))) for i in range(len(X))
    )
    assert torch.equal(with_channels(luma, 3), luma.expand(-1, 3, -1, -1))
    assert with_channels(pixels, None).is_contiguous()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": Y}, "no array 'x_train', there are y; wanted x and y"),
        ({"x": X}, "no array 'y', there are x; wanted x and y"),
        ({"x": X, "y": Y, "x_test": X}, "no array 'y_test', there are x, x_test, y; wanted"),
        (
            {"x": X / 7, "y": Y},
            r"'x' is float64 \(6, 4, 5, 3\) from .* to .*, whose scale cannot be known; wanted uint8",
        ),
        ({"x": X[..., :2], "y": Y}, r"'x' is uint8 \(6, 4, 5, 2\), wanted"),
        ({"x": X[:0], "y": Y[:0]}, r"'x' is uint8 \(0, 4, 5, 3\): there are no images in it"),
        ({"x": X, "y": Y[:3]}, r"'y' is int64 \(3,\), wanted whole numbers \(6,\), one an image"),
        ({"x": X, "y": Y / 2}, r"'y' is float64 \(6,\) with fractions, wanted whole numbers"),
        ({"x": X, "y": Y - 1}, r"'y' is int64 \(6,\) from -1 to 1, wanted 0 or more; remove"),
        ({"x": X, "y": Y, "classes": ["a", "b"]}, r"labels from 0 to 2, wanted 0 to 1 \(2 classes\)"),
        ({"x": X, "y": Y, "classes": ["a", "a", "b"]}, r"'classes' is <U1 \(3,\), wanted a list of different names"),
        ({"x": X, "y": Y, "classes": [1, 2, 3]}, r"'classes' is int64 \(3,\), wanted a list of different names"),
        (
            {"x": X, "y": Y, "classes": np.array(["a", "b", "c"], dtype=object)},
            "not an .npz of plain arrays .* holds Python objects",
        ),
    ],
)
def test_wrong_arrays_are_refused_in_one_line(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_npz(save(tmp_path / "toy.npz", **arrays))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'toy.npz'}: ")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short", npy_bytes()])
def test_a_file_that_is_no_npz(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toy.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"toy\.npz: not an \.npz of plain arrays \(.*\); save it with numpy\.savez"):
        read_npz(path)
