"""Masks as COCO, YOLO and VOC write them: the same objects with the same pixels, and what is none of them refused."""

import json
import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from boxed_sets import NAMES, SET, SIZE, coco, coco_facts, picture, voc, yolo
from PIL import Image
from pycocotools import mask as theirs

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.data.boxes import BoxTargets
from deepres.data.masks import Masks
from deepres.data.run_lengths import RunLengths, of_bitmap
from deepres.data.sources.config import DataConfig
from deepres.data.sources.mask_labels import cells_of
from deepres.data.sources.open import open_source, open_splits

WIDTH, HEIGHT = SIZE
WHOLE = {"val_fraction": 0.0, "test_fraction": 0.0}
FRACTIONS = [word for name, value in WHOLE.items() for word in ("--set", f"{name}={value}")]


def opened(source: Path, **config: Any) -> tuple[BoxTargets, tuple[str, ...]]:
    """The boxes of all pictures, which are in the order of their names, and the notes."""
    raw = open_splits(DataConfig(source=str(source), **config))
    (images,) = raw.splits.values()
    assert isinstance(images.targets, BoxTargets)
    return images.targets, raw.notes


def pixels_of(targets: BoxTargets, size: tuple[int, int] = (HEIGHT, WIDTH)) -> list[Any]:
    assert targets.masks is not None
    return [targets.masks.bitmap(place, size) for place in range(len(targets.masks))]


def drawn(name: str, box: tuple[int, int, int, int]) -> Any:
    """A rectangle of whole pixels, all readers' the same."""
    x1, y1, x2, y2 = box
    found = np.zeros((HEIGHT, WIDTH), bool)
    found[y1:y2, x1:x2] = True
    return found


def wanted() -> list[Any]:
    return [drawn(*one) for objects in SET.values() for one in objects]


def corners(box: tuple[int, int, int, int]) -> list[float]:
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def facts_with(kind: str) -> dict[str, list[Any]]:
    facts: dict[str, list[Any]] = coco_facts()  # type: ignore[assignment]
    boxes = [box for objects in SET.values() for _, box in objects]
    for row, box in zip(facts["annotations"], boxes, strict=True):
        runs = of_bitmap(drawn("", box))
        row["segmentation"] = [corners(box)] if kind == "polygons" else runs.facts()
    return facts


def written(root: Path, facts: dict[str, list[Any]]) -> Path:
    coco(root)
    (root / "annotations" / "instances.json").write_text(json.dumps(facts))
    return root


def masked_yolo(root: Path) -> Path:
    yolo(root)
    for name, objects in SET.items():
        lines = []
        for label, box in objects:
            values = [value / side for value, side in zip(corners(box), SIZE * 4, strict=True)]
            lines.append(" ".join([str(NAMES.index(label)), *(f"{value:.9f}" for value in values)]))
        (root / "labels" / f"{Path(name).stem}.txt").write_text("\n".join(lines))
    return root


def masked_voc(root: Path) -> Path:
    voc(root)
    folder = root / "SegmentationObject"
    folder.mkdir()
    for name, objects in SET.items():
        values = np.zeros((HEIGHT, WIDTH), np.uint8)
        for number, one in enumerate(objects, 1):
            values[drawn(*one)] = number
        values[0, -1] = 255
        image = Image.fromarray(values, "P")
        image.putpalette([value % 256 for value in range(768)])
        image.save(folder / f"{Path(name).stem}.png")
    return root


@pytest.mark.parametrize("kind", ["polygons", "runs"])
def test_polygons_and_run_lengths_of_coco(tmp_path: Path, kind: str) -> None:
    found, _ = opened(written(tmp_path, facts_with(kind)))
    assert all((mine == own).all() for mine, own in zip(pixels_of(found), wanted(), strict=True))


def test_outlines_of_yolo(tmp_path: Path) -> None:
    found, _ = opened(masked_yolo(tmp_path))
    assert all((mine == own).all() for mine, own in zip(pixels_of(found), wanted(), strict=True))
    boxes, _ = opened(yolo(tmp_path / "boxes"))
    assert boxes.masks is None
    assert (found.corners - boxes.corners).abs().max() < 1e-4


@pytest.mark.parametrize("packed", [False, True])
def test_pictures_of_numbers_of_voc(tmp_path: Path, packed: bool) -> None:
    root = masked_voc(tmp_path / "set")
    if packed:
        with ZipFile(tmp_path / "set.zip", "w") as archive:
            for file in sorted(root.rglob("*")):
                archive.write(file, file.relative_to(tmp_path))
    found, _ = opened(tmp_path / "set.zip" if packed else root)
    own = wanted()
    own[3] &= ~own[4]  # the last lies in the one before: a pixel has one number
    assert all((mine == pixels).all() for mine, pixels in zip(pixels_of(found), own, strict=True))


def test_where_a_part_of_voc_has_masks_boxes_alone_are_read_or_that_part(tmp_path: Path) -> None:
    root = masked_voc(tmp_path)
    (root / "SegmentationObject" / "b.png").unlink()
    found, notes = opened(root)
    assert found.masks is None
    assert len(found) == 4
    told = "SegmentationObject has masks of 2 of 3 pictures with objects"
    assert f"{told}: boxes alone are read; data.masks=on takes those pictures alone" in notes
    found, notes = opened(root, masks="on")
    assert (len(found), len(found.masks or ())) == (2, 4)
    assert f"{told}: the others are not used (data.masks=on)" in notes


def test_masks_are_not_read_where_they_are_not_wanted(tmp_path: Path) -> None:
    for number, root in enumerate((masked_voc(tmp_path / "voc"), masked_yolo(tmp_path / "yolo"))):
        assert opened(root, masks="off")[0].masks is None, number
    with pytest.raises(InputError, match=r"data\.masks=on, and no object has a mask; leave it out"):
        opened(yolo(tmp_path / "bare"), masks="on")


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_several_parts_and_holes_between_them(tmp_path: Path) -> None:
    facts = facts_with("polygons")
    parts = [[2.0, 5, 9, 5, 9, 15], [11.0, 20, 19, 20, 19, 30, 11, 30], [12, 8, 18, 8], [3, 3, 8, 8, 5, 5]]
    facts["annotations"][2]["segmentation"] = parts
    found, notes = opened(written(tmp_path, facts))
    known = theirs.decode(theirs.merge(theirs.frPyObjects([[*map(float, part)] for part in parts[:2]], HEIGHT, WIDTH)))
    assert (pixels_of(found)[2] == known.astype(bool)).all()
    where = "instances.json: annotation 102 (dog) of b.png"
    assert f"{where}: polygon 3 of 4 has 2 points, wanted 3" in notes
    assert f"{where}: polygon 4 of 4 has no area" in notes
    assert "2 polygons are left out (data.on_bad_box=stop refuses them)" in notes
    with pytest.raises(InputError, match="polygon 3 of 4 has 2 points, wanted 3, nor have 1 more; mend the labels"):
        opened(tmp_path, on_bad_box="stop")


def test_an_object_whose_mask_has_no_area_is_left_out_and_named(tmp_path: Path) -> None:
    facts = facts_with("polygons")
    facts["annotations"][1]["segmentation"] = [[54, 38, 60, 44]]
    found, notes = opened(written(tmp_path, facts))
    assert (len(found.corners), len(found.masks or ())) == (4, 4)
    assert any("annotation 101 (dog) of a.png: box 54,38,10,10 has a mask without area" in note for note in notes)
    with pytest.raises(InputError, match="annotation 101"):
        opened(tmp_path, on_bad_box="stop")


def test_labels_of_the_stored_picture_turn_their_masks_with_it(tmp_path: Path) -> None:
    root = written(tmp_path, facts_with("polygons"))
    upright = pixels_of(opened(root)[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in SET:
        with Image.open(root / "images" / name) as image:
            image.convert("RGB").save(root / "images" / name, exif=exif.tobytes())
    for kind in ("polygons", "runs"):
        (root / "annotations" / "instances.json").write_text(json.dumps(facts_with(kind)))
        turned, _ = opened(root, frame="stored")
        found = pixels_of(turned, (WIDTH, HEIGHT))
        assert all((mine == np.rot90(own, -1)).all() for mine, own in zip(found, upright, strict=True))


def edited(**fields: Any) -> Any:
    return lambda facts: facts["annotations"][2].update(fields)


REFUSED = {
    "none": (edited(segmentation=[]), r"annotation 102 \(dog\) of b\.png: no mask, and 4 objects of this set have one"),
    "odd": (
        edited(segmentation=[[1, 2, 3, 4, 5]]),
        "annotation 102: segmentation: polygon 1 has 5 numbers, wanted pai",
    ),
    "text": (edited(segmentation=[["a"] * 6]), "segmentation: polygon 1 has something that is no number"),
    "flat": (edited(segmentation=[1, 2, 3, 4, 5, 6]), "segmentation: no list of polygons and no run lengths"),
    "counts": (
        edited(segmentation={"size": [48, 64], "counts": [3]}),
        "segmentation: counts come to 3 px, size to 3,07",
    ),
    "no counts": (
        edited(segmentation={"size": [48, 64], "rle": "x"}),
        "annotation 102: segmentation: no size and counts",
    ),
    "huge": (edited(segmentation=[[1, 2, 1e300, 4, 5, 6]]), "segmentation: polygon 1 has a number that no picture has"),
    "endless": (
        edited(segmentation=[[1, 2, 10**400, 4, 5, 6]]),
        "segmentation: polygon 1 has a number that no picture",
    ),
    "nan": (edited(segmentation=[[1, 2, float("nan"), 4, 5, 6]]), "segmentation: polygon 1 has a number that no pict"),
    "size": (edited(segmentation=of_bitmap(np.ones((6, 5), bool)).facts()), "a mask of 5 x 6 px, the picture has 64 x"),
    "outside": (
        edited(segmentation=[[0, 0, 70, 0, 70, 30]]),
        r"an outline from \(0, 0\) to \(70, 30\) ends outside of",
    ),
    "no box": (lambda facts: facts["annotations"][2].pop("bbox"), "write the box of its outline"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_mask_is_refused_by_its_number(tmp_path: Path, change: Any, message: str) -> None:
    facts = facts_with("polygons")
    change(facts)
    root = written(tmp_path, facts)
    with pytest.raises(InputError, match=message) as refusal:
        opened(root)
    assert "\n" not in str(refusal.value)
    if "no mask" in message:
        assert opened(root, masks="off")[0].masks is None


@pytest.mark.parametrize("beyond", [0.0, 0.4, 0.99])
def test_points_of_yolo_outside_of_the_picture_by_less_than_a_pixel_are_as_edges_of_boxes(
    tmp_path: Path, beyond: float
) -> None:
    root = masked_yolo(tmp_path)
    low, high = -beyond / WIDTH, 1 + beyond / HEIGHT
    (root / "labels" / "b.txt").write_text(f"1 {low:.9f} .5 .5 .5 .5 {high:.9f} {low:.9f} {high:.9f}")
    found, notes = opened(root)
    assert found.corners[2].tolist() == [0, HEIGHT / 2, WIDTH / 2, HEIGHT]
    assert ("1 box clipped: an edge lay outside of the picture, by 1 px at most" in notes) == (beyond > 0)
    pixels = pixels_of(found)[2]
    assert pixels[HEIGHT // 2 :, : WIDTH // 2].all()
    assert pixels.sum() == HEIGHT * WIDTH // 4


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (1 + 1.5 / WIDTH, r"labels/b\.txt:1 \(dog\): box .* ends outside of the picture \(64 x 48\) by more than 1 px"),
        (-1.5 / WIDTH, r"labels/b\.txt:1 \(dog\): box .* ends outside of the picture \(64 x 48\) by more than 1 px"),
        (1.5, r"b\.txt:1: 1\.500000 lies outside of 0 to 1; YOLO labels are shares of the picture"),
    ],
)
def test_points_of_yolo_further_outside_are_refused(tmp_path: Path, point: float, said: str) -> None:
    root = masked_yolo(tmp_path)
    (root / "labels" / "b.txt").write_text(f"1 .1 .1 {point:.6f} .5 .5 .9")
    with pytest.raises(InputError, match=said):
        opened(root)


def test_files_of_yolo_of_both_kinds_and_key_points_are_refused(tmp_path: Path) -> None:
    root = masked_yolo(tmp_path)
    text = (root / "labels" / "b.txt").read_text()
    (root / "labels" / "b.txt").write_text("1 .5 .5 .1 .1")
    with pytest.raises(InputError, match=r"labels/b\.txt:1 \(dog\): no mask, and 4 objects of this set have one"):
        opened(root)
    (root / "labels" / "b.txt").write_text(text)
    (root / "data.yaml").write_text("names: [car, dog]\nkpt_shape: [3, 2]\n")
    with pytest.raises(InputError, match="kpt_shape: its labels are key points"):
        opened(root)


def test_pictures_of_numbers_that_are_of_other_labels_are_refused(tmp_path: Path) -> None:
    root = masked_voc(tmp_path)
    file = root / "SegmentationObject" / "b.png"
    Image.fromarray(np.full((HEIGHT, WIDTH), 3, np.uint8)).save(file)
    with pytest.raises(InputError, match=r"b\.png: value 3, b\.xml has 1 object; is it of other labels"):
        opened(root)
    Image.fromarray(np.ones((HEIGHT, 9), np.uint8)).save(file)
    with pytest.raises(InputError, match=r"b\.png: 9 x 48 px, b\.xml says 64 x 48; wanted the same"):
        opened(root)
    Image.new("RGB", SIZE).save(file)
    with pytest.raises(InputError, match=r"^[^ ]*b\.png: colours \(RGB\), wanted a picture of .* value k is object k$"):
        opened(root)
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(InputError, match=r"b\.png"):
        opened(root)


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_the_fruits_come_with_165_masks_of_pycocotools(shared: Path) -> None:
    home = shared / "data" / "detection" / "fruits_nuts_coco"
    facts = json.loads((home / "data" / "trainval.json").read_text())
    raw = open_splits(DataConfig(source=str(home)))
    (images,) = raw.splits.values()
    assert isinstance(images.targets, BoxTargets)
    targets = images.targets
    assert targets.masks is not None
    assert len(targets.masks) == 165
    sizes = {image["id"]: (image["height"], image["width"]) for image in facts["images"]}
    for number, picture_id in enumerate(targets.ids.tolist()):
        own = targets[number].masks
        assert own is not None
        rows = [row for row in facts["annotations"] if row["image_id"] == picture_id]
        for place, row in enumerate(rows):
            size = sizes[picture_id]
            known = theirs.decode(theirs.merge(theirs.frPyObjects(row["segmentation"], *size))).astype(bool)
            found = own.bitmap(place, size)
            assert (found == known).all()
            assert abs(found.sum() - row["area"]) <= 0.005 * row["area"]


def test_a_copy_without_outlines_is_a_set_of_boxes(tmp_path: Path) -> None:
    root = written(tmp_path, facts_with("polygons"))
    one = opened(root, masks="off")[0]
    assert one.tolist() == opened(coco(root))[0].tolist() == opened(written(root, facts_with("runs")))[0].tolist()


@pytest.mark.parametrize("kind", ["polygons", "runs"])
def test_a_split_is_a_table_that_holds_the_masks(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = facts_with(kind)
    source = written(tmp_path / "in", facts)
    monkeypatch.chdir(tmp_path)
    assert run(["data", "split", str(source), "--output", "split.csv", *FRACTIONS]) == 0
    one, other = (opened(each)[0] for each in (source, Path("split.csv")))
    assert one.tolist() == other.tolist()
    assert all((mine == own).all() for mine, own in zip(pixels_of(one), pixels_of(other), strict=True))
    assert one.masks is not None
    assert other.masks is not None
    assert isinstance(other.masks.shapes[0], RunLengths) == (kind == "runs")


def test_outlines_of_yolo_are_in_px_in_a_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = masked_yolo(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    assert run(["data", "split", str(source), "--output", "split.csv", *FRACTIONS]) == 0
    first, second = (pixels_of(opened(each)[0]) for each in (source, Path("split.csv")))
    assert all((mine == own).all() for mine, own in zip(first, second, strict=True))


def test_a_cell_that_is_no_mask_is_refused_by_its_line(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    head = "filename,class,x1,y1,x2,y2,segmentation"
    for cell, told in (("[[1,2,3]]", "polygon 1 has 3 numbers, wanted pairs of x and y"), ("{", "not JSON")):
        (tmp_path / "t.csv").write_text(f'{head}\na.png,dog,1,2,9,9,"{cell}"\n')
        with pytest.raises(InputError, match=re.escape("t.csv: line 2: segmentation: ") + f".*{told}"):
            opened(tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"a\.png: a mask of 139,522 letters; a table holds 131,071 in a cell"):
        cells_of(Masks.of([(np.full((11624, 2), 10.5), np.ones((3, 2)))]), "a.png")


def test_sets_that_differ_in_masks_alone_have_other_digests(tmp_path: Path) -> None:
    """A run that is resumed on other outlines is refused; of boxes alone nothing changes."""
    found = []
    for change in (0, 0, 1):
        facts = facts_with("polygons")
        facts["annotations"][0]["segmentation"][0][0] += change
        source = written(tmp_path / "in", facts)
        for masks in ("on", "off"):
            config = DataConfig(source=str(source), masks=masks, **WHOLE)  # type: ignore[arg-type]
            found.append(open_source(config).origin.train.digest)
    assert found[0] == found[2]
    assert len({found[0], found[1], found[4]}) == 3
    assert found[1] == found[3] == found[5]
