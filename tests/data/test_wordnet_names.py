"""ILSVRC's detection set: classes by WordNet's numbers, named by map_det.txt; val1 and val2 as lists."""

from pathlib import Path

import pytest
from boxed_sets import picture, xml_of

from deepres.base.errors import InputError
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_splits

LINES = "n02672831 1 accordion\nn02691156 2 airplane\n\nn07739125 3 granny apple\n"


def det(root: Path, lines: str = LINES, **lists: str) -> Path:
    for name, number in (("ILSVRC2012_val_00000001", "n02691156"), ("ILSVRC2012_val_00000002", "n07739125")):
        picture(root / "JPEGImages" / f"{name}.png")
        file = root / "Annotations" / f"{name}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(xml_of([(number, (2, 3, 20, 30))]))
    (root / "map_det.txt").write_text(lines)
    for split, text in lists.items():
        path = root / "ImageSets" / "Main" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_numbers_are_named_and_lists_are_the_split(tmp_path: Path) -> None:
    source = det(tmp_path, train="ILSVRC2012_val_00000001 1\n", test="val/ILSVRC2012_val_00000002 2\n")
    found = open_splits(DataConfig(source=str(source)))
    assert found.classes == ("airplane", "granny apple")
    assert {split: [path.stem[-1] for path in images.paths] for split, images in found.splits.items()} == {
        "train": ["1"],
        "test": ["2"],
    }
    assert any("map_det.txt" in note for note in found.notes)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("n02691156 1 airplane\n", r"object 1 \(n07739125\): map_det.txt has no such number; add it"),
        ("n02691156 airplane\n", r"map_det.txt:1: 'n02691156 airplane'; wanted such as n02672831 1 accordion"),
        ("plane 1 airplane\n", "wanted such as n02672831 1 accordion"),
        (LINES + "n02672831 4 organ\n", r"map_det.txt:5: n02672831 organ stands there twice"),
        (LINES + "n02672832 4 accordion\n", "stands there twice; keep it once"),
    ],
)
def test_files_that_do_not_name_every_number_once_are_refused(lines: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        open_splits(DataConfig(source=str(det(tmp_path, lines))))
