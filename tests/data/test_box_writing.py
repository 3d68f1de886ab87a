"""Boxes written as others read them, and read back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from boxed_sets import picture

from deepres.base.errors import InputError
from deepres.base.records import edit
from deepres.data.box_writing import FORMATS, BoxFormat, PictureBoxes, relative_names, write_boxes
from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.masks import Masks
from deepres.data.run_lengths import of_bitmap
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_splits

NAMES = ("große Ente", 'a "quoted" <name> & more')
SIZES = {"bär.jpg": (640, 480), "sub/1.jpg": (37, 5000), "sub/dir/1.jpg": (300, 200), "none.jpg": (64, 48)}


def answers() -> list[PictureBoxes]:
    draw = np.random.default_rng(3)
    found = []
    for place, (name, (width, height)) in enumerate(SIZES.items()):
        number = 0 if name == "none.jpg" else 7
        low = draw.uniform(0, 0.7, (number, 2)) * (width, height)
        far = np.minimum(low + draw.uniform(0.002, 0.3, (number, 2)) * (width, height), (width, height))
        boxes = Boxes.of(np.concatenate([low, far], 1), draw.integers(0, 2, number), draw.random(number) < 0.2)
        found.append(PictureBoxes(name, (width, height), boxes, tuple(draw.random(number).tolist()), 70 - 10 * place))
    return found


def read(source: Path, *edits: str) -> dict[str, Boxes]:
    found = open_splits(edit(DataConfig(source=str(source)), list(edits)))
    images = found.splits["train"]
    assert isinstance(images.targets, BoxTargets)
    assert set(found.classes) == set(NAMES)
    numbers = torch.tensor([NAMES.index(name) for name in found.classes])
    renamed = images.targets.renumbered(numbers)
    return dict(zip(relative_names(images.paths), renamed, strict=True))


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_written_reads_back_to_a_thousandth_of_a_pixel(kind: BoxFormat, tmp_path: Path) -> None:
    given = answers()
    pictures = tmp_path / "set" / "images" if kind == "yolo" else tmp_path / "set"
    for one in given:
        picture(pictures / one.name, one.size)
    out = tmp_path / "set" / "written" if kind == "coco" else tmp_path / "out"
    write_boxes(out, kind, given, NAMES, [17, 90])
    if kind == "yolo":
        (out / "labels").rename(tmp_path / "set" / "labels")
        (out / "data.yaml").rename(tmp_path / "set" / "data.yaml")
        back = read(tmp_path / "set")
    elif kind == "voc":
        for file in out.rglob("*.xml"):
            file.rename(tmp_path / "set" / file.relative_to(out))
        back = read(tmp_path / "set", "boxes=voc")
    else:
        back = read(out / "instances.json", f"root={tmp_path / 'set'}")
    assert back.keys() == SIZES.keys()
    for one in given:
        found = back[one.name]
        assert torch.allclose(found.corners, one.boxes.corners, atol=1e-3, rtol=0)
        assert found.classes.tolist() == one.boxes.classes.tolist()
        assert kind == "yolo" or found.ignored.tolist() == one.boxes.ignored.tolist()


def test_cocos_own_tools_load_the_results_and_ids_are_the_sources(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    given = answers()
    write_boxes(tmp_path / "out", "coco", given, NAMES, [17, 90])
    truth = coco.COCO(str(tmp_path / "out" / "instances.json"))
    loaded = truth.loadRes(str(tmp_path / "out" / "results.json"))
    assert sorted(truth.getImgIds()) == [40, 50, 60, 70]
    assert set(truth.getCatIds()) == {17, 90}
    first = loaded.loadAnns(loaded.getAnnIds(imgIds=[70]))
    assert [row["score"] for row in first] == list(given[0].scores or ())
    assert [row["category_id"] for row in first] == [[17, 90][label] for label in given[0].boxes.classes.tolist()]


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
def test_masks_are_written_as_run_lengths_that_both_readers_decode(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    pixels = np.zeros((2, 48, 64), bool)
    pixels[0, 5:20, 7:30] = True
    pixels[1, 3:9, 40:64] = np.random.default_rng(0).random((6, 24)) > 0.5
    masks = Masks.of([of_bitmap(one) for one in pixels])
    boxes = Boxes.of([[7, 5, 30, 20], [40, 3, 64, 9]], [0, 1], masks=masks)
    given = [PictureBoxes("a.png", (64, 48), boxes, (0.9, 0.8)), PictureBoxes("b.png", (64, 48), boxes[:0], ())]
    for one in given:
        picture(tmp_path / "set" / one.name, one.size)
    write_boxes(tmp_path / "out", "coco", given, NAMES, [17, 90])
    truth = coco.COCO(str(tmp_path / "out" / "instances.json"))
    loaded = truth.loadRes(str(tmp_path / "out" / "results.json"))
    for their in (truth, loaded):
        assert all((their.annToMask(row) == one).all() for row, one in zip(their.loadAnns([1, 2]), pixels, strict=True))
    back = read(tmp_path / "out" / "instances.json", f"root={tmp_path / 'set'}")["a.png"]
    assert back.masks is not None
    assert all((back.masks.bitmap(place, (48, 64)) == pixels[place]).all() for place in range(2))


def test_scores_stand_beside_their_boxes(tmp_path: Path) -> None:
    one = PictureBoxes("a.jpg", (64, 48), Boxes.of([[1, 2, 3, 4], [5, 6, 9, 9]], [1, 0]), (0.75, 0.5))
    write_boxes(tmp_path / "voc", "voc", [one], NAMES)
    text = (tmp_path / "voc" / "a.xml").read_text(encoding="utf-8")
    assert text.index("<xmin>2</xmin>") < text.index("<score>0.75</score>") < text.index("<score>0.5</score>")
    write_boxes(tmp_path / "yolo", "yolo", [one], NAMES)
    assert (tmp_path / "yolo" / "scores" / "a.txt").read_text() == "0.75\n0.5\n"
    without = PictureBoxes("a.jpg", (64, 48), one.boxes)
    write_boxes(tmp_path / "coco", "coco", [without], NAMES)
    assert "score" not in (tmp_path / "coco" / "instances.json").read_text()
    assert json.loads((tmp_path / "coco" / "instances.json").read_text())["images"][0]["id"] == 1


@pytest.mark.parametrize(
    ("kind", "names", "message"),
    [
        ("voc", ["a.jpg", "a.png"], r"a\.jpg and a\.png: both would have a\.xml; rename one, or write coco"),
        ("yolo", ["s/A.jpg", "s/a.jpg"], r"s/A\.jpg and s/a\.jpg: both would have a\.txt"),
        ("coco", ["a.jpg", "a.jpg"], r"a\.jpg: stands twice"),
        ("voc", ["../a.jpg"], "wanted the name of a picture below a folder"),
        ("coco", ["/etc/a.jpg"], "wanted the name of a picture below a folder"),
    ],
)
def test_two_pictures_never_share_a_file_and_none_leaves_the_folder(
    kind: BoxFormat, names: list[str], message: str, tmp_path: Path
) -> None:
    given = [PictureBoxes(name, (9, 9), Boxes.of([], [])) for name in names]
    with pytest.raises(InputError, match=message):
        write_boxes(tmp_path / "out", kind, given, NAMES)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out: exists already; choose another place"):
        write_boxes(tmp_path / "out", "voc", [], NAMES)
