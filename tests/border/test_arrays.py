"""Arrays of images as Keras, medmnist and others save them: read as they mean, or refused in words that say what to do."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.data.images import ArrayImages
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source
from deepres.nn.create import create_model

X = np.random.default_rng(0).integers(0, 256, (6, 8, 7, 3), dtype=np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])
FIRST = np.ascontiguousarray(X.transpose(0, 3, 1, 2))
NAMES = np.array(["r", "g", "b"])
ROWS = np.eye(3)[Y]
CIFAR = {"x_train": X, "y_train": Y[:, None], "x_test": X[:3], "y_test": Y[:3, None]}
MED = {"train_images": X, "train_labels": Y[:, None].astype(np.uint8), "val_images": X[:3], "val_labels": Y[:3, None],
       "test_images": X[3:], "test_labels": Y[3:, None]}  # fmt: skip


def odd(letter: int) -> "np.ndarray[Any, Any]":
    """Three names, of which the first begins with a letter of that number, whether there is one or not."""
    names = np.array(["abc", "b", "c"])
    names.view(np.uint32)[0] = letter
    return names


def opened(path: Path, **arrays: Any) -> Source:
    np.savez(path, **arrays)
    return open_source(DataConfig(source=str(path), val_fraction=0, test_fraction=0))


READ: list[tuple[str, dict[str, Any], tuple[str, ...], str | None]] = [
    # name of the case, arrays, classes, what is said; pixels and labels are always X and Y
    ("Keras' CIFAR", CIFAR, ("0", "1", "2"), None),
    ("medmnist", MED, ("0", "1", "2"), None),
    ("class_names", {"x": X, "y": Y, "class_names": NAMES}, ("r", "g", "b"), None),
    ("class names as bytes", {"x": X, "y": Y, "classes": NAMES.astype("S")}, ("r", "g", "b"), None),
    ("label_names", {**CIFAR, "label_names": NAMES}, ("r", "g", "b"), None),
    ("X_train and Y_train", {"X_train": X, "Y_train": Y}, ("0", "1", "2"), None),
    ("trainX and trainY", {"trainX": X, "trainY": Y}, ("0", "1", "2"), None),
    ("images and labels", {"images": X, "labels": Y}, ("0", "1", "2"), None),
    ("data and targets", {"data": X, "targets": Y}, ("0", "1", "2"), None),
    ("one-hot", {"x": X, "y": ROWS}, ("0", "1", "2"), "'y': rows of zeros and one 1 taken as classes 0 to 2"),
    ("one-hot with names", {"x": X, "y": ROWS.astype(bool), "class_names": NAMES}, ("r", "g", "b"), "rows of zeros"),
    ("labels as floats", {"x": X, "y": Y.astype(np.float32)}, ("0", "1", "2"), None),
    ("labels as names", {"x": X, "y": np.array(["a", "b", "c", "a", "b", "c"])}, ("a", "b", "c"), None),
    ("labels as bytes", {"x": X, "y": np.array([b"a", b"b", b"c", b"a", b"b", b"c"])}, ("a", "b", "c"), None),
    ("labels among names", {"x": X, "y": NAMES[Y], "classes": NAMES}, ("r", "g", "b"), None),
    ("from 1", {"x": X, "y": Y + 1}, ("1", "2", "3"), "labels are 3 numbers from 1 to 3: classes are called by them"),
    ("with gaps", {"x": X, "y": Y * 7}, ("0", "7", "14"), "3 numbers from 0 to 14"),
    ("A and a", {"x": X, "y": Y, "classes": ["A", "a", "b"]}, ("A", "a", "b"), "nearly one name are kept apart: 'A' and"),
    ("channels first", {"x": FIRST, "y": Y}, ("0", "1", "2"), "'x': channels first, (6, 3, 8, 7)"),
    ("floats of 1", {"x": X / 255, "y": Y}, ("0", "1", "2"), "taken as parts of 255"),
    ("float32 of 1", {"x": (X / 255).astype(np.float32), "y": Y}, ("0", "1", "2"), "taken as parts of 255"),
    ("float16 of 1", {"x": (X / 255).astype(np.float16), "y": Y}, ("0", "1", "2"), "taken as parts of 255"),
    ("floats of 255", {"x": X.astype(np.float32), "y": Y}, ("0", "1", "2"), "taken as levels of 255"),
    ("int64 of 255", {"x": X.astype(np.int64), "y": Y}, ("0", "1", "2"), "taken as levels of 255"),
    ("other arrays", {"x": X, "y": Y, "ids": np.arange(6)}, ("0", "1", "2"), "t.npz: arrays not used: ids"),
    ("a pickle beside them", {"x": X, "y": Y, "meta": np.array([{}], dtype=object)}, ("0", "1", "2"), "not used: meta"),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "classes", "said"), [case[1:] for case in READ], ids=[c[0] for c in READ])
def test_is_read_as_it_means(
    tmp_path: Path, arrays: dict[str, Any], classes: tuple[str, ...], said: str | None
) -> None:
    source = opened(tmp_path / "t.npz", **arrays)
    assert isinstance(source.train, ArrayImages)
    assert np.array_equal(source.train.pixels.permute(0, 2, 3, 1).numpy(), X)
    assert source.train.targets.tolist() == Y.tolist()
    assert source.classes == classes
    assert said is None or any(said in note for note in source.origin.notes), source.origin.notes
    assert said is not None or not source.origin.notes


def test_all_parts_of_medmnist_are_read(tmp_path: Path) -> None:
    assert {part: len(images) for part, images in opened(tmp_path / "t.npz", **MED).splits().items()} == {
        "train": 6,
        "val": 3,
        "test": 3,
    }


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no names", {"arr_0": X, "arr_1": Y}, r"no array 'x_train', there are arr_0, arr_1; wanted x and y \(numpy\.savez"),
    ("two of one meaning", {"x": X, "images": X, "y": Y}, "both 'x' and 'images' may hold the same; leave one out"),
    ("two for training", {"x": X, "y": Y, "x_train": X, "y_train": Y}, "both 'x' and 'x_train' may be for training; leave one"),
    ("CIFAR-100's labels", {"data": X, "fine_labels": Y, "coarse_labels": Y}, "no array 'y', there are coarse_labels, data, fine_l"),
    ("an empty name", {"x": X, "y": np.array(["", "b", "b", "", "b", "b"])}, r"'y'\[0\]: the label is empty; fill it in"),
    ("names in Latin-1", {"x": X, "y": Y, "classes": np.array([b"caf\xe9", b"b", b"c"])}, "not names in UTF-8 in 'classes' .*; save them as texts: numpy"),
    ("labels in Latin-1", {"x": X, "y": np.array([b"caf\xe9", b"b", b"c"])[Y]}, "not names in UTF-8 in 'y' .*; save them as texts"),
    ("half a pair", {"x": X, "y": Y, "classes": odd(0xD800)}, r"'classes': a name is no text: '\\ud800bc'; give every class"),
    ("a half of a pair as label", {"x": X, "y": odd(0xD800)[Y]}, "'y': a name is no text"),
    ("letters that there are not", {"x": X, "y": Y, "classes": odd(0x110005)}, "not names in UTF-8 in 'classes'"),
    ("labels of letters that there are not", {"x": X, "y": odd(0x110005)[Y]}, "not names in UTF-8 in 'y'"),
    ("a class without a name", {"x": X, "y": Y, "classes": ["", "b", "c"]}, "'classes': a name is empty: ''; give every class a name"),
    ("a name of two lines", {"x": X, "y": Y, "classes": ["a\nb", "b", "c"]}, r"'classes': a name is over several lines: 'a\\nb'"),
    ("a label of two lines", {"x": X, "y": np.array(["a\nb", "b", "c"])[Y]}, "'y': a name is over several lines"),
    ("an array of splits", {"x": X, "y": Y, "split": np.array(["train", "test"] * 3)}, "'split' beside 'x' may say which images are for training"),
    ("yes and no of training", {"images": X, "labels": Y, "is_train": Y > 0}, "'is_train' beside 'images' may say"),
    ("large numbers", {"x": X, "y": Y.astype(np.uint64) + 2**63}, "from 9223372036854775808 to .*, wanted 0 or more"),
    ("two lists of names", {"x": X, "y": Y, "classes": NAMES, "class_names": NAMES}, "both 'classes' and 'class_names' may"),
    ("no image", {"x": X[:0], "y": Y[:0]}, r"'x' is uint8 \(0, 8, 7, 3\): there are no images in it; add some, or leave it out"),
    ("no test image", {"x_train": X, "y_train": Y, "x_test": X[:0], "y_test": Y[:0]}, "'x_test' is uint8 .*: there are no images in it"),
    ("RGBA", {"x": np.concatenate([X, X[..., :1]], 3), "y": Y}, r"with transparency; wanted .*: save x\[\.\.\., :3\]"),
    ("flattened", {"x": X.reshape(6, -1), "y": Y}, r"'x' is uint8 \(6, 168\), flattened; wanted uint8 .*: reshape it"),
    ("channels first or last", {"x": X[:, :3, :, :1], "y": Y}, "channels first or last"),
    ("SVHN's order", {"x": X.transpose(1, 2, 3, 0), "y": Y}, r"'x' is uint8 \(8, 7, 3, 6\), wanted uint8"),
    ("normalised", {"x": (X / 255 - 0.5) / 0.2, "y": Y}, "from -2.5 to 2.5, whose scale cannot be known; wanted uint8"),
    ("odd parts of 1", {"x": X / 255.7, "y": Y}, r"of 0 to 1\? then save \(255 \* x\)\.round\(\)\.astype\('uint8'\)"),
    ("zeros and ones", {"x": (X > 99) * 1.0, "y": Y}, r"from 0 to 1; of 0 to 1\? then save"),
    ("16 bits", {"x": X.astype(np.uint16) * 200, "y": Y}, "is uint16 .* whose scale cannot be known"),
    ("NaN", {"x": np.where(X > 250, np.nan, X), "y": Y}, "holds NaN or infinity"),
    ("several labels", {"x": X, "y": np.full((6, 3), 2.0)}, r"'y' is float64 \(6, 3\), several labels an image"),
    ("shares of classes", {"x": X, "y": ROWS * 0.9 + 0.03}, "several labels an image"),
    ("fractions", {"x": X, "y": Y / 2}, r"'y' is float64 \(6,\) with fractions, wanted whole numbers"),
    ("no class", {"x": X, "y": Y - 1}, "from -1 to 1, wanted 0 or more; remove images without a class"),
    ("from 1 with names", {"x": X, "y": Y + 1, "classes": NAMES}, r"labels from 1 to 3, wanted 0 to 2 \(3 classes\); subtract 1"),
    ("a strange name", {"x": X, "y": NAMES[Y], "classes": ["r", "g", "c"]}, "label 'b' is not among the names of classes"),
    ("empty names", {"x": X, "y": np.array(["a", "nan", "a", "b", "b", "a"])}, r"'y'\[1\]: label 'nan' says that there is none"),
    ("pickled labels", {"x": X, "y": Y.astype(object)}, "not an .npz of plain arrays .'y' holds Python objects, which are pickled"),
    ("a class of test alone", {**CIFAR, "y_test": Y[:3, None] + 9}, "class '9' .*has no image to train on"),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "message"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
def test_is_refused_with_what_to_do(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        opened(tmp_path / "t.npz", **arrays)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "t.npz"))


def test_bytes_that_are_dark_are_told(tmp_path: Path) -> None:
    notes = opened(tmp_path / "t.npz", x=X // 16, y=Y).origin.notes
    assert "t.npz: 'x': the greatest value is 15 of 255; where 15 is white, save 255 / 15 * x" in notes
    notes = opened(tmp_path / "t.npz", x=(X > 99).astype(np.uint8), y=Y).origin.notes
    assert "t.npz: 'x': the greatest value is 1 of 255; where 1 is white, save 255 * x" in notes


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("name", ["y", "classes", "meta"])
def test_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with nullcontext() if name == "meta" else pytest.raises(InputError, match="holds Python objects"):
        opened(tmp_path / "t.npz", **({"x": X, "y": Y} | {name: np.array([_Runs()], dtype=object)}))
    assert not (tmp_path / "ran").exists()


def test_the_command_line_says_what_was_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "t.npz", x=np.repeat(FIRST, 4, axis=0) / 255, y=np.repeat(Y + 1, 4))
    assert run(["data", "check", str(tmp_path / "t.npz")]) == 0
    shown = capsys.readouterr().out
    for note in ("channels first", "taken as parts of 255", "classes are called by them"):
        assert note in shown


@pytest.mark.medium
def test_weights_without_names_of_classes_go_by_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = create_model("resnet20_cifar")
    torch.save(network.state_dict(), tmp_path / "w.pt")
    images = np.random.default_rng(1).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(40) % 2 * 7  # classes 0 and 7 of ten
    asked = ["--model", "resnet20_cifar", "--variant", "resnet20_cifar", "--preprocessing", "0.5", "--device", "cpu"]
    np.savez(tmp_path / "some.npz", x=images.transpose(0, 3, 1, 2), y=labels)
    assert run(["eval", str(tmp_path / "w.pt"), str(tmp_path / "some.npz"), *asked]) == 0
    shown = capsys.readouterr()
    assert "channels first" in shown.out + shown.err
    with torch.no_grad():
        x = torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 127.5 - 1
        wrong = (network.eval()(x).argmax(1) != torch.from_numpy(labels)).float().mean()
    assert f"{100 * wrong:.2f} %" in shown.out
