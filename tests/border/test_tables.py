"""Tables of images as other people write them: read as they mean, or refused in words that say what to do."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from deepres.base.errors import InputError
from deepres.base.records import edit, parse
from deepres.cli.main import run
from deepres.data.images import FileImages
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source

FILES = ("1.png", "2.png", "3.png", "my cat.png", "sub/4.jpg", "sub/été.png", "#5.png")
TWO = {"1.png": "cat", "2.png": "dog"}
THREE = {**TWO, "3.png": "cat"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


def opened(path: Path, *edits: str) -> Source:
    return open_source(edit(DataConfig(source=str(path), val_fraction=0, test_fraction=0), edits))


def listed(source: Source, folder: Path) -> dict[str, str]:
    found = {}
    for images in source.splits().values():
        assert isinstance(images, FileImages)
        for path, label in zip(images.paths, images.targets.tolist(), strict=True):
            found[path.relative_to(folder).as_posix()] = images.classes[label]
    return found


READ: list[tuple[str, str, bytes | str, dict[str, str], str | None]] = [
    # name of the case, file, content, what is read, what is said of it
    ("blank after the comma", "t.csv", "path, label\n1.png, cat\n2.png, dog\n", TWO, None),
    ("quotes", "t.csv", '"path", "label"\n"1.png", "cat, big"\n"2.png", "dog"\n', {**TWO, "1.png": "cat, big"}, None),
    ("UTF-8 with a mark", "t.csv", "\ufeffpath,label\n1.png,cat\n2.png,dog\n", TWO, None),
    ("Latin-1", "t.csv", "path,label\n1.png,ch\u00e4t\n2.png,dog\n".encode("latin-1"), {**TWO, "1.png": "chät"}, "Windows-1252"),
    ("Windows-1252", "t.csv", "path,label\n1.png,\u20ac\n2.png,dog\n".encode("cp1252"), {**TWO, "1.png": "€"}, "Windows-1252"),
    ("UTF-16", "t.csv", "path,label\n1.png,chät\n2.png,dog\n".encode("utf-16"), {**TWO, "1.png": "chät"}, None),
    ("UTF-16 of Excel, tabs", "t.txt", "path\tlabel\r\n1.png\tcat\r\n2.png\tdog\r\n".encode("utf-16"), TWO, None),
    ("UTF-16 without mark", "t.csv", "path,label\n1.png,cat\n2.png,dog\n".encode("utf-16-be"), TWO, None),
    ("tabs", "t.tsv", "path\tlabel\n1.png\tcat\n2.png\tdog\n", TWO, None),
    ("semicolons", "t.csv", "path;label\n1.png;cat\n2.png;dog\n", TWO, None),
    ("semicolons, commas in cells", "t.csv", "path;label\n1.png;cat, big\n2.png;dog\n", {**TWO, "1.png": "cat, big"}, None),
    ("pipes", "t.csv", "path|label\n1.png|cat\n2.png|dog\n", TWO, None),
    ("Excel's first line", "t.csv", "sep=;\r\npath;label\r\n1.png;cat\r\n2.png;dog\r\n", TWO, None),
    ("blanks", "t.csv", "path label\n1.png cat\n2.png dog\n", TWO, None),
    ("no header", "t.csv", "1.png,cat\n2.png,dog\n", TWO, "columns: path from '1', label from '2'"),
    ("no header, label first", "t.csv", "cat,1.png\ndog,2.png\n", TWO, "path from '2', label from '1'"),
    ("no header, splits", "t.csv", "1.png,cat,train\n2.png,dog,train\n3.png,cat,test\n", THREE, "split from '3'"),
    ("fastai's is_valid", "t.csv", "path,label,is_valid\n1.png,cat,False\n2.png,dog,False\n3.png,cat,True\n", THREE, "split from 'is_valid'"),
    ("Caffe's list", "train.txt", "1.png 0\nsub/4.jpg 1\nmy cat.png 1\n", {"1.png": "0", "sub/4.jpg": "1", "my cat.png": "1"}, None),
    ("a list, label first", "t.txt", "0 1.png\n1 my cat.png\n", {"1.png": "0", "my cat.png": "1"}, None),
    ("a list, quotes", "t.txt", '"my cat.png" 1\n"1.png" 0\n', {"1.png": "0", "my cat.png": "1"}, None),
    ("a list with commas", "t.txt", "1.png,cat\n2.png,dog\n", TWO, None),
    ("MXNet's list", "t.lst", "0\t3.000000\t1.png\n1\t4.000000\t2.png\n", {"1.png": "3", "2.png": "4"}, "label from '2'"),
    ("filename, class", "t.csv", "filename,class\n1.png,cat\n2.png,dog\n", TWO, "path from 'filename', label from 'class'"),
    ("Kaggle's ids", "t.csv", "id,breed\n1,cat\n2,dog\n", TWO, "path from 'id', label from 'breed'"),
    ("ids without suffix, no header", "t.csv", "1,cat\n2,dog\n", TWO, None),
    ("image_id, other columns", "t.csv", "image_id,breed,age\n1,cat,3\n2,dog,4\n", TWO, "columns not used: age"),
    ("Image Name, Class Name", "t.csv", "Image Name,Class Name\n1.png,cat\n2.png,dog\n", TWO, "from 'Image Name'"),
    ("filepath, target", "t.csv", "filepath,target\n1.png,0\n2.png,1\n", {"1.png": "0", "2.png": "1"}, "'filepath'"),
    ("two columns of any name", "t.csv", "image,gesture\n1.png,cat\n2.png,dog\n", TWO, "label from 'gesture'"),
    ("pandas' index", "t.csv", ",path,label\n0,1.png,cat\n1,2.png,dog\n", TWO, "not used: "),
    ("one-hot", "t.csv", "filename, cat, dog\n1.png, 1, 0\n2.png, 0, 1\n", TWO, "label from 2 columns of 0 and 1 (cat, dog)"),
    ("one-hot, floats", "t.csv", "image,cat,dog\n1,1.0,0.0\n2,0.0,1.0\n", TWO, "2 columns of 0 and 1"),
    ("set as split", "t.csv", "file,label,set\n1.png,cat,train\n2.png,dog,train\n3.png,cat,test\n", THREE, "split from 'set'"),
    ("set that is none", "t.csv", "file,label,set\n1.png,cat,A\n2.png,dog,B\n", TWO, "columns not used: set"),
    ("a column called train", "t.csv", "path,label,train\n1.png,cat,True\n2.png,dog,True\n3.png,cat,False\n", THREE, "split from 'train'"),
    ("a column called validation", "t.csv", "path,label,validation\n1.png,cat,0\n2.png,dog,0\n3.png,cat,1\n", THREE, "split from 'validation'"),
    ("classes called train and car", "t.csv", "path,train,car\n1.png,1,0\n2.png,0,1\n", {"1.png": "train", "2.png": "car"}, "label from 2 columns"),
    ("labels beside classes called so", "t.csv", "path,label,train,car\n1.png,cat,1,0\n2.png,dog,0,1\n", TWO, "columns not used: train, car"),
    ("pandas' dummies", "t.csv", "path,cat,dog\n1.png,True,False\n2.png,False,True\n", TWO, "label from 2 columns"),
    ("numbers and names", "t.csv", "path,label\n1.png,3\n2.png,dog\n", {"1.png": "3", "2.png": "dog"}, "1 label is a number such as '3', others names such as 'dog'"),
    ("names like numbers", "t.csv", "path,label\n1.png,1E5\n2.png,2E5\n", {"1.png": "1E5", "2.png": "2E5"}, None),
    ("numpy's numbers", "t.csv", "path,label\n1.png,0.000e+00\n2.png,1.000e+00\n", {"1.png": "0", "2.png": "1"}, None),
    ("names that differ unseen", "t.csv", "path,label\n1.png,cat\n2.png,c\u200bat\n", {"1.png": "cat", "2.png": "c\u200bat"}, "nearly one name"),
    ("two words each", "t.csv", "path,label\n1.png,hot dog/big\n2.png,cat/big\n", {"1.png": "hot dog/big", "2.png": "cat/big"}, None),
    ("backslashes", "t.csv", "path,label\nsub\\4.jpg,cat\n.\\2.png,dog\n", {"sub/4.jpg": "cat", "2.png": "dog"}, None),
    ("dots", "t.csv", "path,label\n./sub/../1.png,cat\n2.png,dog\n", TWO, None),
    ("blank and comment rows", "t.csv", "# made by hand\n\npath,label\n1.png,cat\n\n,\n#3.png,cat\n2.png,dog\n", TWO, "2 lines that begin with #"),
    ("header behind a comment's mark", "t.csv", "# path,label\n1.png,cat\n2.png,dog\n", TWO, None),
    ("a file that begins with #", "t.csv", "path,label\n1.png,cat\n#5.png,dog\n", {"1.png": "cat", "#5.png": "dog"}, None),
    ("labels as floats", "t.csv", "path,label\n1.png,3.0\n2.png,10.0\n", {"1.png": "3", "2.png": "10"}, None),
    ("None as a class", "t.csv", "path,label\n1.png,None\n2.png,dog\n", {**TWO, "1.png": "None"}, "'None' is taken as the name of a class"),
    ("A and a", "t.csv", "path,label\n1.png,A\n2.png,a\n", {"1.png": "A", "2.png": "a"}, "classes with nearly one name are kept apart: 'A' and 'a'"),
    ("03 and 3", "t.csv", "path,label\n1.png,03\n2.png,3\n", {"1.png": "03", "2.png": "3"}, "nearly one name"),
    ("another Unicode form", "t.csv", "path,label\n1.png,cat\nsub/e\u0301te\u0301.png,dog\n", {"1.png": "cat", "sub/été.png": "dog"}, None),
    ("old Macs' line ends", "t.csv", "path,label\r1.png,cat\r2.png,dog\r", TWO, None),
    ("blanks that do not show", "t.csv", "path,label\n1.png,cat\u200b\n2.png,\u00a0dog\n", TWO, None),
    ("trailing commas", "t.csv", "path,label\n1.png,cat,\n2.png,dog,\n", TWO, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "meant", "said"), [case[1:] for case in READ], ids=[c[0] for c in READ])
def test_is_read_as_it_means(
    place: Path, name: str, content: bytes | str, meant: dict[str, str], said: str | None
) -> None:
    (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    source = opened(place / name)
    assert listed(source, place) == meant
    assert said is None or any(said in note for note in source.origin.notes), source.origin.notes


REFUSED: list[tuple[str, str, bytes | str, str]] = [
    ("no label", "t.csv", "path\n1.png\n2.png\n", "holds paths and no labels; wanted a second column"),
    ("list without labels", "t.txt", "1.png\n2.png\n", "holds paths and no labels"),
    ("several labels", "t.txt", "1.png 0 1\n2.png 1 0\n", r"3 columns and no line with names; say it with --set data\.columns=path:1,label:2"),
    ("no path", "t.csv", "what,label\n1.png,cat\n", r"which column holds the paths of the images\? there are what, label; say it with --set data\.columns=path:COLUMN,label:COLUMN"),
    ("two labels", "t.csv", "path,class_id,class_name\n1.png,0,cat\n", "which column holds the labels.* there are class_id, class_name; say"),
    ("two paths", "t.csv", "file,image,label\n1.png,1.png,cat\n", "which column holds the paths.* there are file, image; say"),
    ("one column twice", "t.csv", "path,label,label\n1.png,cat,dog\n", "two columns are called 'label'; rename one"),
    ("boxes", "t.csv", "filename,class,xmin,ymin\n1.png,cat,1,2\n", "column 'xmin' is about boxes; for one class an image"),
    ("a class twice", "t.csv", "path,cat,dog\n1.png,2,1\n2.png,0,1\n", "which column holds the labels"),
    ("pixels", "t.csv", "label,pixel0,pixel1\n0,3,4\n", r"its columns hold pixels; wanted paths of files, or an \.npz"),
    ("FER", "t.csv", "emotion,pixels,Usage\n0,3 4,Training\n", "its columns hold pixels"),
    ("an address", "t.csv", "path,label\nhttps://a.b/1.png,cat\n", r"line 2: 'https://a\.b/1\.png' is an address; download"),
    ("Windows' drive", "t.csv", "path,label\nC:\\data\\1.png,cat\n", r"'C:\\data\\1\.png' is a place on a Windows machine"),
    ("a share", "t.csv", "path,label\n\\\\nas\\1.png,cat\n", "is a place on a Windows machine"),
    ("a missing file", "t.csv", "path,label\n1.png,cat\n7.png,dog\n", r"line 3: no file .*7\.png; paths are relative to the table"),
    ("another machine", "t.csv", "path,label\n/kaggle/1.png,cat\n2.png,dog\n", r"no file /kaggle/1\.png; as on the machine where the table was written\?"),
    ("two columns of parts", "t.csv", "path,label,is_valid,is_test\n1.png,cat,0,1\n2.png,dog,0,0\n", "which column holds the splits.* there are is_valid, is_test; say"),
    ("another case", "t.csv", "path,label\n1.png,cat\n2.PNG,dog\n", r"line 3: no file .*2\.PNG; there is 2\.png, in other letters"),
    ("an empty label", "t.csv", "path,label\n1.png,cat\n2.png,\n", "line 3: 'label' is empty; fill it in or remove the line"),
    ("NaN", "t.csv", "path,label\n1.png,cat\n2.png,NaN\n", "line 3: label 'NaN' says that there is none; fill it in"),
    ("None among numbers", "t.csv", "path,label\n1.png,0\n2.png,None\n3.png,None\n", r"label 'None' says that there is none \(2 such"),
    ("fractions", "t.csv", "path,label\n1.png,1.0\n2.png,0.5\n", r"line 3: label '0\.5' is no whole number; wanted classes"),
    ("no class as -1", "t.csv", "path,label\n1.png,1\n2.png,-1\n", r"line 3: label '-1', wanted 0 or more; remove images without"),
    ("two labels of a file", "t.csv", "path,label\n1.png,cat\n2.png,dog\n./1.png,dog\n", r"line 4: '1\.png' is 'dog' here and 'cat' in line 2; keep one"),
    ("a file in two splits", "t.csv", "path,label,split\n1.png,cat,train\n2.png,dog,train\n1.png,cat,test\n", r"line 4: '1\.png' is in test here and in train in line 2"),
    ("twice in test", "t.csv", "path,label,split\n1.png,cat,train\n2.png,dog,train\n3.png,cat,test\n3.png,cat,test\n", "test measures each once; remove one"),
    ("a split's number", "t.csv", "path,label,split\n1.png,cat,0\n", "line 2: split '0'; wanted one of train"),
    ("too many cells", "t.csv", "path,label\n1.png,cat, big\n2.png,dog\n", r"line 2: 3 cells, wanted 2; put quotes around a cell that holds ','"),
    ("a name of two files", "t.csv", "id,label\n1,cat\nsub/4,dog\n", r"line 3: 'sub/4' may be 4\.jpg and 4\.png; write it with its suffix"),
    ("an open quote", "t.csv", 'path,label\n"1.png,cat\n2.png,dog\n', "line 3: a cell goes over several lines; is a quote not closed"),
    ("binary", "t.csv", b"PK\x03\x04\0\0\0\0\0\0\x14\0\x06\0\0", "a zip archive, as Excel's files are; save it as CSV, or unpack it; wanted a table"),
    ("zeros", "t.csv", b"path,label\n1.png,c\0t\n", "holds bytes of zero, so it is no text"),
    ("Parquet", "t.csv", b"PAR1\x15\x04\x15\0", "a Parquet file; write it as CSV"),
    ("gzip", "t.csv", b"\x1f\x8b\x08\0\0\0", "packed with gzip; unpack it"),
    ("a web page", "t.csv", "\ufeff\n<!DOCTYPE html><html>\n", r"a web page \(HTML\) under the name of a table"),
    ("git-lfs", "t.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a git-lfs pointer, not the table itself; fetch it"),
    ("JSON", "t.csv", '[{"path": "1.png", "label": "cat"}]\n', "JSON; write it as CSV"),
    ("a split that is none", "t.csv", "path,label,set\n1.png,cat,train\n2.png,dog,tset\n", "line 3: 'tset' in column 'set'; wanted train, val or test in each"),
    ("a split left empty", "t.csv", "path,label,subset\n1.png,cat,train\n2.png,dog,\n", "line 3: '' in column 'subset'; wanted train, val or test"),
    ("FER's splits", "t.csv", "path,label,Usage\n1.png,cat,Training\n2.png,dog,PublicTest\n", "'PublicTest' in column 'Usage'"),
    ("CelebA's splits", "t.csv", "path,label,partition\n1.png,cat,0\n2.png,dog,2\n", "line 2: '0' in column 'partition'; wanted train"),
    ("columns train and test", "t.csv", "path,label,train,test\n1.png,cat,1,0\n2.png,dog,0,1\n", "which column holds the splits.* there are train, test"),
    ("names between |", "t.csv", "path,label\n1.png,cat|dog\n2.png,dog\n3.png,cat\n", r"line 2: 'cat\|dog' holds names that stand in other labels too; several classes an image\? write ';' between them"),
    ("names between commas", "t.csv", 'path,label\n1.png,"cat,fox"\n2.png,"dog, fox"\n3.png,"dog, cat"\n', "line 2: 'cat,fox' holds names that stand in other"),
    ("a list of Python", "t.csv", """path,label\n1.png,"['cat', 'fox']"\n2.png,['dog']\n""", r"line 2: '\['cat', 'fox'\]' holds names"),
    ("no known encoding", "t.csv", b"path,label\n1.png,\x81\xff\n", "neither UTF-8 nor cp1252 .*; save it as UTF-8"),
    ("a header alone", "t.csv", "path,label\n", "no rows; wanted a first line with column names"),
    ("nothing", "t.csv", "\n\n", "no rows"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
def test_is_refused_with_what_to_do(place: Path, name: str, content: bytes | str, message: str) -> None:
    (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (place / "sub" / "4.png").touch()
    with pytest.raises(InputError, match=message) as caught:
        opened(place / name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(place / name))


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("picture number,kind of thing,which\n", "path:picture number,label:kind of thing,split:which"),
        ("a,b,c\n", "path:1,label:2,split:3"),
        ("", "path:1, label:2, split:3"),
        ("A,B,C\n", "label:b,split:c,path:a"),
    ],
)
def test_columns_are_named_by_name_or_number(place: Path, header: str, columns: str) -> None:
    (place / "t.csv").write_text(f"{header}1.png,cat,train\n2.png,dog,train\n3.png,cat,test\n")
    source = opened(place / "t.csv", f"columns={columns}")
    assert listed(source, place) == THREE
    assert source.test is not None
    assert len(source.test) == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("label", r"columns 'label'; wanted data\.columns=path:COLUMN,label:COLUMN"),
        ("name:path", "columns 'name:path'; wanted"),
        ("path:,label:b", "wanted data"),
        ("path:a,path:b", "wanted data"),
        ("path:nine", "no column 'nine', there are path, label; set data.columns=path:COLUMN"),
        ("path:9", "no column '9'"),
    ],
)
def test_columns_that_cannot_be_are_refused(place: Path, columns: str, message: str) -> None:
    (place / "t.csv").write_text("path,label\n1.png,cat\n2.png,dog\n")
    with pytest.raises(InputError, match=message):
        opened(place / "t.csv", f"columns={columns}")


@pytest.mark.parametrize(
    ("column", "cells", "parts"),
    [
        ("is_valid", ("False", "False", "True"), {"train": 2, "test": 1}),  # the one split beside train is reported
        ("isTest", ("0", "0", "1"), {"train": 2, "test": 1}),
        ("is_training_image", ("1", "1", "0"), {"train": 2, "test": 1}),
        ("is_validation", ("no", "no", "yes"), {"train": 2, "test": 1}),
        ("is_valid", ("good", "good", "bad"), {"train": 3}),
    ],
)
def test_a_column_that_asks_for_a_part_is_the_split(
    place: Path, column: str, cells: tuple[str, ...], parts: dict[str, int]
) -> None:
    rows = zip(("1.png,cat", "2.png,dog", "3.png,cat"), cells, strict=True)
    (place / "t.csv").write_text(f"path,label,{column}\n" + "".join(f"{row},{cell}\n" for row, cell in rows))
    assert {part: len(images) for part, images in opened(place / "t.csv").splits().items()} == parts


def test_a_first_line_that_may_be_names_is_told(place: Path) -> None:
    (place / "t.csv").write_text("A,B\n1.png,cat\n2.png,dog\n")
    notes = opened(place / "t.csv", "columns=path:1,label:2").origin.notes
    assert "t.csv: its first line (A, B) is taken as names of columns" in notes


def test_all_missing_files_are_counted_and_ten_named(place: Path) -> None:
    (place / "t.csv").write_text("path,label\n1.png,cat\n" + "".join(f"no/{n}.png,dog\n" for n in range(12)))
    with pytest.raises(
        InputError, match=r"12 of 13 files are missing, the first in line 3: no file .*0\.png"
    ) as caught:
        opened(place / "t.csv")
    assert [*caught.value.table[:2], caught.value.table[-1]] == ["line 3: no/0.png", "line 4: no/1.png", "… and 2 more"]
    assert len(caught.value.table) == 11


@pytest.mark.parametrize(
    ("table", "folder"), [("t.csv", "images"), ("lists/t.csv", ""), ("labels/t.csv", "images"), ("t.csv", "train_256")]
)
def test_a_folder_that_has_all_files_is_found_and_said(place: Path, table: str, folder: str) -> None:
    base = place / "set"
    for name in ("8.png", "9.png"):
        (base / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(base / folder / name)
    (base / table).parent.mkdir(exist_ok=True)
    (base / table).write_text("path,label\n8.png,cat\n9.png,dog\n")
    source = opened(base / table)
    assert listed(source, base / folder) == {"8.png": "cat", "9.png": "dog"} or folder == ""
    assert any("paths are relative to" in note for note in source.origin.notes)


def test_two_folders_that_have_them_are_no_guess(place: Path) -> None:
    for folder in ("small", "large"):
        (place / "set" / folder).mkdir(parents=True)
        (place / "set" / folder / "8.png").touch()
    (place / "set" / "t.csv").write_text("path,label\n8.png,cat\n")
    with pytest.raises(InputError, match=r"its files lie in large and small; write the paths relative to the table"):
        opened(place / "set" / "t.csv")


def test_another_sets_folder_is_never_taken(place: Path) -> None:
    for folder in ("one", "other"):
        (place / folder).mkdir()
    (place / "other" / "8.png").touch()
    (place / "one" / "t.csv").write_text("path,label\n8.png,cat\n")
    with pytest.raises(InputError, match=r"no file .*one/8\.png; paths are relative to the table"):
        opened(place / "one" / "t.csv")


def _many(place: Path, rows: Sequence[tuple[str, str]]) -> Path:
    for number, (name, _) in enumerate(rows):
        if not (place / name).exists():
            Image.new("RGB", (8, 8), (number, 2 * number, 99 - number)).save(place / name)
    (place / "many.csv").write_text("path,label\n" + "".join(f"{name},{label}\n" for name, label in rows))
    return place / "many.csv"


def test_repeated_rows_train_as_often_and_never_leak(place: Path) -> None:
    rows = [(f"a{n}.png", "a") for n in range(20)] + [(f"b{n}.png", "b") for n in range(10)] * 3
    source = open_source(DataConfig(source=str(_many(place, rows)), val_fraction=0.2, test_fraction=0.2))
    names = {part: [images.name(i) for i in range(len(images))] for part, images in source.splits().items()}
    assert set(names["train"]).isdisjoint(names["val"])
    assert set(names["train"]).isdisjoint(names["test"])
    assert [len(names[part]) for part in ("train", "val", "test")] == [12 + 6 * 3, 4 + 2, 4 + 2]
    assert any("20 rows repeat an image: training draws it as often" in note for note in source.origin.notes)
    once = open_source(DataConfig(source=str(_many(place, rows[:30])), val_fraction=0.2, test_fraction=0.2))
    assert {Path(once.val.name(i)).name for i in range(len(once.val))} == {  # type: ignore[union-attr, arg-type]
        Path(name).name for name in names["val"]
    }


def test_a_split_is_written_with_its_repeats_and_read_back(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = _many(place, [(f"a{n}.png", "a") for n in range(8)] * 2 + [(f"b{n}.png", "b") for n in range(8)])
    assert run(["data", "split", str(table), "--output", str(place / "split.csv")]) == 0
    before, after = open_source(DataConfig(source=str(table))), open_source(DataConfig(source=str(place / "split.csv")))
    assert before.origin.train.digest == after.origin.train.digest
    assert before.origin.test == before.origin.test


def test_check_takes_the_columns_as_messages_advise_them(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "t.csv").write_text("what,kind\n1.png,cat\n2.png,dog\n3.png,cat\n")
    cut = ["--set", "val_fraction=0", "--set", "test_fraction=0"]
    assert run(["data", "check", str(place / "t.csv"), *cut, "--set", "data.columns=path:what,label:kind"]) == 0
    assert "2 classes" in capsys.readouterr().out


def test_runs_of_before_keep_their_columns() -> None:
    old = DataConfig().model_dump_json()[:-1].replace('"columns":null,', "")
    fields = '"path_column": "file", "label_column": "label", "split_column": null'
    assert parse(DataConfig, f"{old}, {fields}}}", "run").columns == "path:file"
    assert parse(DataConfig, f"{old}, {fields.replace('file', 'path')}}}", "run") == DataConfig()


def test_lists_beside_it_are_told(place: Path) -> None:
    (place / "train.txt").write_text("1.png 0\n2.png 1\n")
    (place / "val.txt").write_text("3.png 1\n")
    assert (
        "val.txt beside train.txt is not used; put both in one table with a column split"
        in opened(place / "train.txt").origin.notes
    )


OTHERS = {
    "set.json": "of annotations, one class an image is wanted: write paths and labels as a .csv",
    "set.jsonl": "of annotations",
    "1.xml": "of annotations",
    "set.parquet": "write paths and labels as a .csv",
    "set.XLSX": "write paths and labels as a .csv",
    "set.csv.gz": "unpack it",
    "x_train.npy": "pixels and labels belong into one file",
    "train_32x32.mat": "read its arrays",
    "data.pkl": "a pickle can run code and is never opened",
    "data_batch_1": "give the name cifar10",
    "train-images-idx3-ubyte": "an idx file",
    "train-images-idx3-ubyte.gz": "an idx file",
    "a.tfrecord": "web shards",
    "a.rar": "unpack it",
    "1.jpg": "one picture; give the folder of class folders",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"a file of suffix ") as caught:
        opened(tmp_path / name)
    assert OTHERS[name] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.medium
def test_training_says_what_was_taken(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    table = _many(place, [(f"a{n}.png", "a") for n in range(8)] + [(f"b{n}.png", "b") for n in range(8)])
    table.write_text(table.read_text().replace("path,label", "file,kind"))
    tiny = ["--model", "resnet20_cifar", "--set", "model.depths=1,1,1", "--set", "train.iterations=1"]
    quick = [
        "--recipe",
        "small",
        "--set",
        "train.epochs=none",
        "--batch-size",
        "4",
        "--compile",
        "off",
        "--device",
        "cpu",
    ]
    assert run(["train", str(table), *tiny, *quick]) == 0
    assert "images: many.csv: columns: path from 'file', label from 'kind'" in capsys.readouterr().err
