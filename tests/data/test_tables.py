from pathlib import Path

import pytest
import torch

from deepres.base.errors import InputError
from deepres.data.images import ArrayImages, FileImages
from deepres.data.sources.splits import RawDataset
from deepres.data.sources.tables import read_table, write_table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for name in ("1.png", "2.png", "3.png", "deep/4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "set.csv"


def read(path: Path, text: str, columns: str | None = None) -> RawDataset:
    path.write_text(text, encoding="utf-8")
    return read_table(path, columns)


def listed(found: RawDataset) -> dict[str, list[tuple[str, str]]]:
    return {
        part: [
            (path.name, found.classes[label]) for path, label in zip(images.paths, images.targets.tolist(), strict=True)
        ]
        for part, images in found.splits.items()
        if isinstance(images, FileImages)
    }


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_paths_labels_and_splits(table: Path, separator: str, start: str) -> None:
    text = start + "path,label,split\n1.png,dog,train\n2.png,cat,Validation\ndeep/4.png,cat,test\n"
    found = read(table, text.replace(",", separator))
    assert found.classes == ("cat", "dog")
    assert listed(found) == {"train": [("1.png", "dog")], "val": [("2.png", "cat")], "test": [("4.png", "cat")]}


def test_without_splits_all_is_train(table: Path) -> None:
    found = read(table, 'file,kind\n1.png,"a, b"\n2.png,c\n', columns="path:file,label:kind")
    assert listed(found) == {"train": [("1.png", "a, b"), ("2.png", "c")]}


def test_whole_numbers_are_ordered_by_value(table: Path) -> None:
    assert read(table, "path,label\n1.png,10\n2.png,9\n3.png,0\n").classes == ("0", "9", "10")
    assert read(table, "path,label\n1.png,10\n2.png,9\n3.png,x\n").classes == ("10", "9", "x")


@pytest.mark.parametrize("classes", [("a", "b"), ("b", "a"), ("10", "9")])
def test_written_and_read_back(tmp_path: Path, classes: tuple[str, ...]) -> None:
    for name in ("1.png", "2.png", "3.png"):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / name).touch()
    paths = tuple(tmp_path / "images" / f"{number}.png" for number in (1, 2, 3))
    whole = FileImages(paths, torch.tensor([0, 1, 0]), classes)
    parts = {"train": whole.select([0, 1]), "test": whole.select([2])}
    (tmp_path / "lists").mkdir()
    write_table(tmp_path / "lists" / "split.csv", parts, "here")
    found = read_table(tmp_path / "lists" / "split.csv")
    assert found.classes == classes
    for part, images in parts.items():
        again = found.splits[part]  # type: ignore[index]
        assert isinstance(again, FileImages)
        assert again.paths == images.paths
        assert torch.equal(again.targets, images.targets)


def test_images_in_memory_cannot_be_listed(tmp_path: Path) -> None:
    images = ArrayImages(
        torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), ("a",), "digits"
    )
    with pytest.raises(
        InputError, match="digits: its images are no files to be listed; split_seed and fractions repeat"
    ):
        write_table(tmp_path / "split.csv", {"train": images}, "digits")
    assert not (tmp_path / "split.csv").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("what,label\n1.png,a\n", r"set\.csv: which column holds the paths of the images\? there are what, label; say"),
        ("path,a,b\n1.png,a,b\n", r"which column holds the labels\? there are path, a, b; say it with --set data\.col"),
        ("path,label\n", "no rows; wanted a first line with column names"),
        ("", "no rows"),
        ("path,label\n1.png,\n", "line 2: 'label' is empty; fill it in or remove the line"),
        ("path,label\n1.png,a\n2.png\n", "line 3: 'label' is empty"),
        ("path,label\n,a\n", "line 2: 'path' is empty"),
        ("path,label\n1.png,a\n7.png,b\n", r"line 3: no file .*7\.png; paths are relative to the table"),
        (
            "path,label\n1.png,a\n7.png,b\n8.png,b\n",
            r"2 of 3 files are missing, the first in line 3: no file .*7\.png; paths",
        ),
        (
            "path,label\n1.png,a\n2.png,b\n./1.png,b\n",
            r"line 4: '1\.png' is 'b' here and 'a' in line 2; keep one label",
        ),
        ("path,label,split\n1.png,a,new\n", "line 2: split 'new'; wanted one of train, val, test"),
        ("path,label,split\n1.png,a,\n", "line 2: 'split' is empty"),
        ("path,label,label_index\n1.png,a,0\n2.png,a,1\n", "line 3: 'a' has two numbers, 0 and 1"),
        ("path,label,label_index\n1.png,a,0\n2.png,b,2\n", "wanted every number from 0 to 1 once a class"),
    ],
)
def test_wrong_tables_are_refused_in_one_line(table: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(table, text)
    assert "\n" not in caught.value.message


def test_a_split_column_that_is_asked_for_must_be_there(table: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'fold', there are path, label; set data\.columns=split:COLUMN"):
        read(table, "path,label\n1.png,a\n", columns="split:fold")
