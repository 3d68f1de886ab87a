"""Tables, arrays and packs of several classes or numbers an image: read as they mean, or refused in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import find, open_source, write_split
from deepres.data.sources.pack import pack
from deepres.data.sources.packed import read_packed

N = 12


@pytest.fixture
def home(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for number in range(N):
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def _table(home: Path, header: str, rows: list[str]) -> str:
    lines = [header, *(f"{number % N}.png,{row}" for number, row in enumerate(rows))]
    (home / "t.csv").write_text("\n".join(lines) + "\n")
    return str(home / "t.csv")


CELLS = ["cat", "cat; dog", "", "dog;cat;eel", "eel", " dog "] * 2
SETS = [[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 0, 1], [0, 1, 0]] * 2


def test_names_between_semicolons_are_several_classes_and_an_empty_cell_is_none(home: Path) -> None:
    found = find(DataConfig(source=_table(home, "path,label", CELLS)))
    assert found.classes == ("cat", "dog", "eel")
    assert found.splits["train"].targets.tolist() == SETS
    assert found.splits["train"].targets.dtype == torch.float32


def test_columns_of_0_and_1_are_several_classes_unless_each_row_has_one(home: Path) -> None:
    rows = [",".join(map(str, row)) for row in SETS]
    found = find(DataConfig(source=_table(home, "path,cat,dog,eel", rows)))
    assert found.splits["train"].targets.tolist() == SETS
    one = ["1,0,0", "0,1,0", "0,0,1"] * 4
    assert (
        find(DataConfig(source=_table(home, "path,cat,dog,eel", one))).splits["train"].targets.tolist() == [0, 1, 2] * 4
    )
    asked = find(DataConfig(source=_table(home, "path,cat,dog,eel", one), targets="classes"))
    assert asked.splits["train"].targets.dtype == torch.float32


def test_a_single_name_a_cell_is_several_classes_where_that_is_asked(home: Path) -> None:
    found = find(DataConfig(source=_table(home, "path,label", ["cat", "dog"] * 6), targets="classes"))
    assert found.splits["train"].targets.tolist() == [[1, 0], [0, 1]] * 6


def test_numbers_are_read_where_they_are_asked_for(home: Path) -> None:
    rows = [f"{n / 3!r},{-n}" for n in range(N)]
    source = _table(home, "path,angle,depth", rows)
    both = find(DataConfig(source=source, targets="numbers", columns="path:path,label:angle,depth"))
    assert both.classes == ("angle", "depth")
    assert both.splits["train"].targets.tolist() == [[n / 3, -n] for n in range(N)]
    one = find(DataConfig(source=source, targets="numbers", columns="path:path,label:depth"))
    assert one.classes == ("depth",)
    alone = find(DataConfig(source=_table(home, "path,age", [str(n) for n in range(N)]), targets="numbers"))
    assert alone.splits["train"].targets[:, 0].tolist() == list(range(N))


@pytest.mark.parametrize(
    ("header", "rows", "fields", "message"),
    [
        ("path,angle", ["1.5"] * N, {}, "is no whole number; .*numbers to be learnt: data.targets=numbers"),
        ("path,angle", ["1.5"] * (N - 1) + ["x"], {"targets": "numbers"}, "line 13: 'angle' is 'x'; wanted a number"),
        ("path,age", ["5", ""] * 6, {"targets": "numbers"}, "line 3: 'age' is empty; fill it in or remove the line"),
        (
            "path,age",
            ['"1,5"'] * N,
            {"targets": "numbers"},
            "line 2: 'age' is '1,5'; wanted a number; correct the line",
        ),
        ("path,age", ["1_0"] * N, {"targets": "numbers"}, "line 2: 'age' is '1_0'; wanted a number"),
        ("path,age", ["\u0661"] * N, {"targets": "numbers"}, "wanted a number"),
        ("path,a,b", ["1,0", "0,1", "1,"] * 4, {}, "line 4: 'b' is empty; fill it in or remove the line"),
        ("path,a,b", ["1,0", "0,1", "1,-1"] * 4, {}, "line 4: 'b' is -1; wanted 0 or 1, a column for each class"),
        (
            "path,angle",
            ["1", "nan"] * 6,
            {"targets": "numbers", "columns": "label:angle"},
            "line 3: 'angle' is 'nan'; wanted a number",
        ),
        (
            "path,angle",
            ["1", "1e999"] * 6,
            {"targets": "numbers", "columns": "label:angle"},
            "'angle' is '1e999'; wanted a number",
        ),
        ("path,angle", ["1", ""] * 6, {"targets": "numbers", "columns": "label:angle"}, "line 3: 'angle' is empty"),
        (
            "path,a,b",
            ["1,2"] * N,
            {"targets": "numbers"},
            "which column holds the numbers.*; label:a,b are all of them$",
        ),
        (
            "path,age",
            [f"{n}e300" for n in range(N)],
            {"targets": "numbers"},
            "'age' has numbers up to .*e\\+30., wanted at",
        ),
        ("path,angle", ["7"] * N, {"targets": "numbers"}, "column 'angle' is 7 for every image to train on"),
        (
            "path,a,b",
            ["1,1", "0,1"] * 6,
            {"targets": "class", "columns": "label:a,b"},
            "2 of its classes are 1; wanted one class",
        ),
        (
            "path,a,b",
            ["1,2", "0,1"] * 6,
            {"targets": "classes", "columns": "label:a,b"},
            "line 2: 'b' is 2; wanted 0 or 1",
        ),
        ("path,label", [""] * N, {"targets": "classes"}, "'label' names no class in any line"),
        ("path,label", ["cat;nan", "dog"] * 6, {}, "line 2: label 'nan' says that there is none"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    home: Path, header: str, rows: list[str], fields: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_source(DataConfig(source=_table(home, header, rows), **fields))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("targets", ["classes", "numbers"])
def test_a_source_of_one_class_an_image_is_refused_for_others(targets: str) -> None:
    with pytest.raises(InputError, match="digits: holds one class an image, wanted"):
        open_source(DataConfig(source="digits", targets=targets))


def test_a_cut_is_the_same_for_any_order_of_rows_and_each_class_is_trained_on(home: Path) -> None:
    rows = [f"{n}.png,{cell}" for n, cell in enumerate(CELLS)]
    parts = []
    for number, order in enumerate((rows, rows[::-1])):
        (home / f"{number}.csv").write_text("\n".join(["path,label", *order]) + "\n")
        source = open_source(DataConfig(source=str(home / f"{number}.csv")))
        parts.append({part: sorted(map(Path, images.paths)) for part, images in source.splits().items()})
        assert source.train.targets.any(0).all()
    assert parts[0] == parts[1]


@pytest.mark.parametrize("form", ["classes", "numbers"])
def test_packs_and_lists_of_a_split_give_the_same_targets(home: Path, form: str) -> None:
    cells = CELLS if form == "classes" else [f"{n / 7!r}" for n in range(N)]
    config = DataConfig(source=_table(home, "path,label", cells), targets=form)
    found = find(config)
    pack(found, home / "packed")
    packed = read_packed(home / "packed")
    assert packed.classes == found.classes
    assert torch.equal(packed.splits["train"].targets, found.splits["train"].targets)
    assert packed.splits["train"].targets.dtype == found.splits["train"].targets.dtype
    source = open_source(config)
    write_split(source, home / "split.csv")
    again = open_source(config.replace(source=str(home / "split.csv")))
    for part, images in source.splits().items():
        other = again.splits()[part]
        assert torch.equal(other.targets, images.targets)
        assert [*map(Path, other.paths)] == [*map(Path, images.paths)]


def test_arrays_of_0_and_1_and_of_numbers(tmp_path: Path) -> None:
    x = np.zeros((N, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.array(SETS), classes=np.array(["cat", "dog", "eel"]))
    found = find(DataConfig(source=str(tmp_path / "a.npz")))
    assert found.splits["train"].targets.tolist() == SETS
    np.savez(tmp_path / "b.npz", x=x, y=np.linspace(0, 1, N))
    numbers = find(DataConfig(source=str(tmp_path / "b.npz"), targets="numbers"))
    assert numbers.classes == ("y",)
    assert numbers.splits["train"].targets[:, 0].tolist() == np.linspace(0, 1, N).tolist()
    with pytest.raises(InputError, match=r"with fractions, .*data\.targets=numbers"):
        find(DataConfig(source=str(tmp_path / "b.npz")))
