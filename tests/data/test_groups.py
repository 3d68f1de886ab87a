"""Images of one group (of one patient, one burst) stay in one split, and in one fold."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.data.sources.folding import fold_of, folded
from deepres.data.sources.open import DataConfig, find, open_source
from deepres.data.sources.pack import pack
from deepres.data.sources.splits import cut
from deepres.data.sources.tables import read_table

PATIENTS = 12


def _table(folder: Path, name: str = "group", *, split: Sequence[str] = (), of_patient: int = 3) -> Path:
    """Twelve patients of three pictures; each patient has cats or dogs, the last one both."""
    draw = np.random.default_rng(0)
    rows = [f"path,label,{name}" + (",split" if split else "")]
    for patient in range(PATIENTS):
        for number in range(of_patient):
            path = folder / f"{patient}-{number}.png"
            Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
            label = ("cat", "dog")[(number if patient == PATIENTS - 1 else patient) % 2]
            rows.append(f"{path.name},{label},p{patient}" + (f",{split[len(rows) % len(split)]}" if split else ""))
    (folder / "t.csv").write_text("\n".join(rows) + "\n")
    return folder / "t.csv"


def _patients(names: Sequence[str]) -> set[str]:
    return {Path(name).name.split("-")[0] for name in names}


def _parted(parts: Mapping[str, Sequence[str]]) -> list[str]:
    """The patients that stand in two splits."""
    places = defaultdict(set)
    for part, names in parts.items():
        for patient in _patients(names):
            places[patient].add(part)
    return [patient for patient, found in places.items() if len(found) > 1]


def _names(images: object) -> list[str]:
    return [images.name(index) for index in range(len(images))]  # type: ignore[attr-defined, arg-type]


@pytest.mark.parametrize("seed", range(5))
def test_no_group_stands_in_two_parts(tmp_path: Path, seed: int) -> None:
    config = DataConfig(source=str(_table(tmp_path)), split_seed=seed, val_fraction=0.2, test_fraction=0.2)
    source = open_source(config)
    parts = {part: _names(images) for part, images in source.splits().items()}
    assert set(parts) == {"train", "val", "test"}
    assert sum(map(len, parts.values())) == 3 * PATIENTS
    assert _parted(parts) == []
    assert "by group" in source.origin.test.how
    assert any("12 groups by column 'group': images of one stay in one split or fold" in n for n in source.origin.notes)


@pytest.mark.medium
def test_a_pack_keeps_groups_together_as_its_source_does(tmp_path: Path) -> None:
    pack(find(DataConfig(source=str(_table(tmp_path)))), tmp_path / "packed")
    for fields in ({}, {"folds": 3, "fold": 2}):
        table, packed = (
            open_source(DataConfig.model_validate({"source": str(tmp_path / name), **fields}))
            for name in ("t.csv", "packed")
        )
        for part, images in table.splits().items():
            assert [Path(name).name for name in _names(packed.splits()[part])] == [
                Path(name).name for name in _names(images)
            ]
        assert (
            _parted({part: _names(images) for part, images in packed.splits().items() if part != "val" or not fields})
            == []
        )


def test_without_groups_they_are_torn_and_the_table_hints_at_the_column(tmp_path: Path) -> None:
    source = open_source(DataConfig(source=str(_table(tmp_path, "patient_id"))))
    assert _parted({part: _names(images) for part, images in source.splits().items()})
    assert any("data.columns=…,group:patient_id keeps the images of one patient_id" in n for n in source.origin.notes)


@pytest.mark.parametrize(
    ("name", "columns"), [("group", None), ("Groups", None), ("patient", "path:path,label:label,group:patient")]
)
def test_no_group_stands_in_two_folds_nor_in_a_folds_val(tmp_path: Path, name: str, columns: str | None) -> None:
    config = DataConfig(source=str(_table(tmp_path, name)), columns=columns, folds=3, fold=2)
    parts = folded(find(config), 3, 0, config.source)
    assert parts.groups == PATIENTS
    every = {str(fold): [parts.whole.name(index) for index in parts.members(fold)] for fold in (1, 2, 3)}
    assert _parted(every) == []
    assert {len(names) for names in every.values()} == {12}
    source = open_source(config)
    assert _parted({part: _names(images) for part, images in source.splits().items()}) == []
    assert "folded by group: 12 groups" in " ".join(fold_of(find(config), 3, 2, 0, "t").notes)


@pytest.mark.parametrize(
    ("rows", "folds", "said"),
    [
        (["a0.png,cat,p", "a1.png,cat,", "b0.png,dog,q"], None, "line 3: 'group' is empty"),
        (
            ["a0.png,cat,p", "a0.png,cat,r", "b0.png,dog,q"],
            None,
            "line 3: 'a0.png' is of group 'r' here and of 'p' before",
        ),
        (
            ["a0.png,cat,p", "a1.png,cat,p", "b0.png,dog,q", "b1.png,dog,q"],
            2,
            "class 'cat' has 1 group, wanted one at least for each of 2 folds",
        ),
        (
            ["a0.png,cat,p", "a1.png,cat,p", "b0.png,dog,q", "b1.png,dog,q"],
            None,
            "class 'cat' has 1 group, wanted at least 3 to cut",
        ),
    ],
)
def test_groups_that_cannot_be_are_one_line(tmp_path: Path, rows: list[str], folds: int | None, said: str) -> None:
    for name in {row.split(",")[0] for row in rows}:
        Image.effect_noise((8, 8), 90).save(tmp_path / name)
    (tmp_path / "t.csv").write_text("\n".join(["path,label,group", *rows, ""]))
    with pytest.raises(InputError, match=said):
        open_source(DataConfig(source=str(tmp_path / "t.csv"), folds=folds, fold=folds and 1))


def test_a_class_that_goes_with_anothers_groups_is_refused() -> None:
    labels, groups = [0] * 9 + [1] * 3, [f"g{number % 3}" for number in range(12)]
    with pytest.raises(InputError, match="class 'dog' has 0 groups"):
        cut(
            labels, ("class 'cat'", "class 'dog'"), [str(number) for number in range(12)], {"test": 0.3}, 0, "t", groups
        )


def test_a_group_that_the_table_itself_parts_is_said(tmp_path: Path) -> None:
    found = read_table(_table(tmp_path, split=("train", "train", "test")))
    assert any("group 'p0' (and 11 more) stands in train and test: the table itself parts it" in n for n in found.notes)


def test_cuts_without_groups_are_as_they_were() -> None:
    """Images drawn several times, three parts; the places are those of the rule before groups were known."""
    names = [f"{number % 17}.png" for number in range(23)]
    labels = [number % 17 % 2 for number in range(23)]
    alone = cut(labels, ("a", "b"), names, {"test": 0.2, "val": 0.1}, 3, "t")
    assert alone == cut(labels, ("a", "b"), names, {"test": 0.2, "val": 0.1}, 3, "t", None)
    assert sorted({names[index] for part in alone.values() for index in part}) == sorted(set(names))
    for part in ("test", "val"):
        assert len({names[index] for index in alone[part]}) == len(alone[part])
    assert [len(alone[part]) for part in ("test", "val")] == [4, 2]


def test_train_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", str(_table(tmp_path)), "--folds", "3", "--dry-run"]
    assert run(words) == 0
    assert run(["data", "check", str(tmp_path / "t.csv")]) == 0
    assert "12 groups by column 'group'" in capsys.readouterr().out
