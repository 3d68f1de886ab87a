"""`data split` of a table: every column that it does not change stands in what it writes, in order, and reads back."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepres.cli.main import run
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import find, open_source

NAMES = [f"{number}.png" for number in range(16)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    draw = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name in NAMES:
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "in" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def label(number: int) -> str:
    return ("cat", "dog")[number % 2]


# a header, how a row is made, what is set; the header that is written, and the cells of the first picture but its part
CASES = {
    "group and more": (
        "id,path,label,group,site",
        lambda n: [100 + n, NAMES[n], label(n), f"g{n % 2}-{n // 4}", "Ulm, DE"],
        [],
        "id,path,label,group,site,split",
        ["100", "in/0.png", "cat", "g0-0", "Ulm, DE"],
    ),
    "a split that is there": (
        "split,file,species,remark",
        lambda n: [("train", "train", "train", "test")[n // 4], NAMES[n], label(n), f"=1+{n}"],
        [],
        "split,file,species,remark",
        ["in/0.png", "cat", "=1+0"],
    ),
    "columns that were said": (
        "path,what,where,age",
        lambda n: [f"P{n % 2}-{n // 4}", label(n), NAMES[n], n],
        ["data.columns=path:where,label:what,group:path"],
        "path,label,where,age,split",
        None,
    ),
    "columns of 0 and 1": (
        "patient,image,cat,dog",
        lambda n: [f"P{n}", NAMES[n], 1 - n % 2, n % 2],
        ["data.columns=path:image,label:cat,dog"],
        None,
        None,
    ),
    "several classes": (
        "image,tags,note",
        lambda n: [NAMES[n], ("cat;dog", "dog", "")[n % 3], f"n{n}"],
        ["data.columns=path:image,label:tags"],
        "path,cat,dog,note,split",
        None,
    ),
    "an order of classes": (
        "label_index,weight,path,label",
        lambda n: [1 - n % 2, 0.5 * n, NAMES[n], label(n)],
        [],
        "label_index,weight,path,label,split",
        ["1", "0.0", "in/0.png", "cat"],
    ),
    "no names": (
        None,
        lambda n: [NAMES[n], label(n), 7 * n],
        ["data.columns=path:1,label:2"],
        "path,label,column 3,split",
        ["in/0.png", "cat", "0"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_changed_stays_in_its_order(here: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    header, row, edits, wanted, first = CASES[case]
    rows = [row(number) for number in range(16)]
    quote = lambda cell: f'"{cell}"' if "," in str(cell) else str(cell)  # noqa: E731
    lines = [*([header] if header else []), *(",".join(map(quote, cells)) for cells in rows)]
    (here / "in" / "t.csv").write_text("\n".join(lines) + "\n")
    sets = [f"--set={edit.removeprefix('data.')}" for edit in [*edits, "test_fraction=0.25"]]
    assert run(["data", "split", "in/t.csv", "--output", "split.csv", *sets]) == 0
    with (here / "split.csv").open(newline="") as file:
        written = list(csv.reader(file))
    if wanted is not None:
        assert ",".join(written[0]) == wanted
    at_split = written[0].index("split")
    by_picture = {next(cell for cell in cells if cell.endswith(".png")): cells for cells in written[1:]}
    assert len(by_picture) == 16
    if first is not None:
        assert [cell for at, cell in enumerate(by_picture["in/0.png"]) if at != at_split] == first
    given = {f"in/{next(str(cell) for cell in cells if str(cell).endswith('.png'))}": cells for cells in rows}
    used = {"where", "path", "label", "split", "file", "image", "species", "what", "tags", "cat", "dog", "label_index"}
    extra = [at for at, name in enumerate((header or "a,b,column 3").replace('"', "").split(",")) if name not in used]
    for picture, cells in by_picture.items():  # each picture has its own cells
        for at in extra if header else [2]:
            assert str(given[picture][at]).strip('"') in cells
    said = [edit.removeprefix("data.columns=") for edit in edits]
    source = open_source(DataConfig(source="in/t.csv", test_fraction=0.25, columns=said[0] if said else None))
    _, told, columns = capsys.readouterr().out.strip().partition(" --set data.columns=")
    assert bool(told) == (case in ("columns that were said", "columns of 0 and 1", "several classes", "no names"))
    back = open_source(DataConfig(source="split.csv", columns=columns.strip("'") or None))
    assert back.classes == source.classes
    for part, images in source.splits().items():
        assert [path.name for path in back.splits()[part].paths] == [path.name for path in images.paths]
        assert back.splits()[part].targets.tolist() == images.targets.tolist()


def test_groups_hold_for_folds_of_what_was_written(here: Path) -> None:
    rows = [f"{name},{label(number)},g{number % 2}-{number // 4}" for number, name in enumerate(NAMES)]
    (here / "in" / "t.csv").write_text("path,label,group\n" + "\n".join(rows) + "\n")
    assert run(["data", "split", "in/t.csv", "--output", "split.csv"]) == 0
    found = find(DataConfig(source="split.csv"))
    assert {Path(path).name: group for path, group in found.groups.items()} == {
        name: f"g{number % 2}-{number // 4}" for number, name in enumerate(NAMES)
    }


def test_rows_of_one_picture_keep_each_its_own_cells(here: Path) -> None:
    rows = [*(f"{name},{label(n)},first,train" for n, name in enumerate(NAMES[:6])), "0.png,cat,again,train"]
    rows += [f"{NAMES[6]},cat,first,test", f"{NAMES[7]},dog,first,val"]
    (here / "in" / "t.csv").write_text("path,label,note,split\n" + "\n".join(rows) + "\n")
    assert run(["data", "split", "in/t.csv", "--output", "split.csv"]) == 0
    with (here / "split.csv").open(newline="") as file:
        notes = [row["note"] for row in csv.DictReader(file) if row["path"] == "in/0.png"]
    assert notes == ["first", "again"]
