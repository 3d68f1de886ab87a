"""`data split` of boxes: what the source says of pictures, classes and boxes stands in the table, and reads back."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from boxed_sets import SIZE, coco, picture
from PIL import Image

from deepres.cli.main import run
from deepres.data.boxes import BoxTargets
from deepres.data.images import Images
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source

NAMES = [f"{number}.png" for number in range(12)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        picture(tmp_path / "in" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def said(images: Images) -> list[Any]:
    targets = images.targets
    assert isinstance(targets, BoxTargets)
    areas, ignored = targets.areas.tolist(), targets.ignored.tolist()
    return [[path.name for path in images.paths], targets.tolist(), targets.ids.tolist(), areas, ignored]


def require_alike(source: str, split: str, *edits: str) -> None:
    """The split holds what the source does, and itself when it is split once more."""
    fields = dict(edit.split("=") for edit in edits)
    one, other = (open_source(DataConfig.model_validate({"source": each, **fields})) for each in (source, split))
    assert one.classes == other.classes
    assert {name: said(images) for name, images in one.splits().items()} == {
        name: said(images) for name, images in other.splits().items()
    }
    ids = [images.targets.class_ids for images in (one.train, other.train) if isinstance(images.targets, BoxTargets)]
    assert ids[0] == ids[1]


# a header, and what stands behind filename, class and corners of the n-th box; the names that it has in the split
HEADERS = {
    "remarks": (
        "filename,class,xmin,ymin,xmax,ymax,patient,remark",
        lambda n: f'P{n // 4},"=1+{n}, Ulm"',
        ["patient", "remark"],
    ),
    "names of ours": ("img,label,x1,y1,x2,y2,truncated,occluded", lambda n: f"{n % 2},{n}", ["truncated", "occluded"]),
    "names like ours": (
        "path,class,xmin,ymin,xmax,ymax,x1,Class",
        lambda n: f"{n},other",
        ["own x1", "own Class"],
    ),
    "no name, and one twice": (
        "filename,class,xmin,ymin,xmax,ymax,,note,note",
        lambda n: f"{n},a{n},b{n}",
        ["column 7", "note (column 8)", "note"],
    ),
}


@pytest.mark.parametrize(("header", "rest", "names"), HEADERS.values(), ids=HEADERS)
@pytest.mark.medium
def test_other_columns_stay_beside_their_box(header: str, rest: Any, names: list[str], here: Path) -> None:
    rows, wanted = [header], {}
    for number, name in enumerate(NAMES):
        for again in range(number % 3):  # every third has no object
            box = 10 * number + again
            rows.append(f"{name},{('dog', 'cat')[again]},{2 + again},3,{20 + number},30,{rest(box)}")
            cells = next(csv.reader([rest(box)]))
            wanted[name, float(20 + number), again] = cells
        if number % 3 == 0:
            rows.append(f"{name},,,,,,{rest(number)}")
            wanted[name, None, 0] = next(csv.reader([rest(number)]))
    (here / "in" / "t.csv").write_text("\n".join(rows) + "\n")
    assert run(["data", "split", "in/t.csv", "--output", "s.csv"]) == 0
    found = {}
    for row in written(here / "s.csv"):
        box = float(row["x2"]) if row["x2"] else None
        found[Path(row["path"]).name, box, int(row["class"] == "cat")] = [row[name] for name in names]
    if "note (column 8)" in names:
        wanted = {key: [cells[0], cells[1], cells[2]] for key, cells in wanted.items()}
    assert found == wanted
    require_alike("in/t.csv", "s.csv")
    assert run(["data", "split", "s.csv", "--output", "again.csv"]) == 0
    assert sorted((here / "again.csv").read_text().splitlines()) == sorted((here / "s.csv").read_text().splitlines())


def test_tables_of_splits_keep_the_columns_of_both(here: Path) -> None:
    head = "filename,class,xmin,ymin,xmax,ymax"
    for split, names, more in (("train", NAMES[:8], "who,when"), ("test", NAMES[8:], "when,where")):
        rows = [f"{name},dog,1,1,9,{9 + place},{split}1,{split}2" for place, name in enumerate(names)]
        (here / "in" / f"{split}.csv").write_text("\n".join([f"{head},{more}", *rows]))
    assert run(["data", "split", "in", "--output", "s.csv"]) == 0
    cells = {row["split"]: [row[name] for name in ("who", "when", "where")] for row in written(here / "s.csv")}
    assert cells == {"train": ["train1", "train2", ""], "test": ["", "test1", "test2"], "val": ["train1", "train2", ""]}


def test_a_box_that_is_left_out_takes_its_row_with_it(here: Path) -> None:
    rows = ["filename,class,xmin,ymin,xmax,ymax,remark"]
    for name in NAMES:
        rows += [f"{name},dog,5,5,5,5,click", f"{name},dog,5,5,9,9,box", f"{name},owl,1,1,9,9,bird"]
    (here / "in" / "t.csv").write_text("\n".join(rows))
    assert run(["data", "split", "in/t.csv", "--output", "s.csv", "--set", "classes=dog"]) == 0
    assert {row["remark"] for row in written(here / "s.csv")} == {"box"}
    assert len(written(here / "s.csv")) == len(NAMES)


def test_what_coco_says_of_classes_and_sizes_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    coco(tmp_path / "set")
    (file,) = (tmp_path / "set").rglob("*.json")
    facts = json.loads(file.read_text())
    names = [each["name"] for each in facts["categories"]]
    for each, new in zip(facts["categories"], sorted(names), strict=True):  # dog 3, car 90
        each["name"] = new
    file.write_text(json.dumps(facts))
    assert (
        run(["data", "split", "set", "--output", "s.csv", "--set", "val_fraction=0", "--set", "test_fraction=0"]) == 0
    )
    rows = written(tmp_path / "s.csv")
    assert {(row["width"], row["height"]) for row in rows} == {tuple(map(str, SIZE))}
    assert {row["class"]: row["label_index"] for row in rows if row["class"]} == {
        name: str(place) for place, name in enumerate(sorted(names, reverse=True))
    }
    require_alike("set", "s.csv", "val_fraction=0", "test_fraction=0")


@pytest.mark.medium
def test_a_split_says_which_way_up_its_boxes_are(here: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for number, name in enumerate(NAMES):  # no two alike: equal pictures go to one split
        Image.new("RGB", SIZE, (20 * number, 0, 0)).save((here / "in" / name).with_suffix(".jpg"), exif=exif)
        (here / "in" / name).unlink()
    rows = [f"{Path(name).stem}.jpg,{SIZE[0]},{SIZE[1]},dog,1,1,10,10" for name in NAMES]
    (here / "in" / "t.csv").write_text("\n".join(["filename,width,height,class,xmin,ymin,xmax,ymax", *rows]))
    assert run(["data", "split", "in/t.csv", "--output", "s.csv"]) == 0
    require_alike("in/t.csv", "s.csv", "frame=stored")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["dog,1", "dog,0"], "class 'dog' has two numbers, 1 and 0; keep one"),
        (["dog,1", "cat,2"], "column 'label_index': wanted every number from 0 to 1 once a class"),
        (["dog,0", "cat,"], "column 'label_index': wanted every number from 0 to 1 once a class"),
    ],
)
def test_an_order_of_classes_that_is_none_is_refused(
    rows: list[str], told: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [row.split(",") for row in rows]
    lines = [f"{name},{label},1,1,9,9,{index}" for name in NAMES for label, index in cells]
    (here / "in" / "t.csv").write_text("\n".join(["path,class,x1,y1,x2,y2,label_index", *lines]))
    assert run(["data", "split", "in/t.csv"]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("numbers", "wanted"), [(["7", "3"], (3, 7)), (["7", "7"], ()), (["7", "x"], ()), (["", "3"], ())]
)
def test_numbers_of_classes_are_cocos_where_each_has_one(
    numbers: list[str], wanted: tuple[int, ...], here: Path
) -> None:
    lines = [
        f"{name},{label},1,1,9,9,{each}" for name in NAMES for label, each in zip(("dog", "cat"), numbers, strict=True)
    ]
    (here / "in" / "t.csv").write_text("\n".join(["path,class,x1,y1,x2,y2,category_id", *lines]))
    targets = open_source(DataConfig(source="in/t.csv")).train.targets
    assert isinstance(targets, BoxTargets)
    assert targets.class_ids == wanted
