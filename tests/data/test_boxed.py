"""Sources with boxes: one set in four ways of writing reads as one; what readers are given in the field."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from boxed_sets import KINDS, NAMES, SET, SIZE, coco, coco_facts, picture, table, voc, xml_of, yolo
from PIL import Image, ImageOps

from deepres.base.errors import InputError
from deepres.base.records import edit
from deepres.data.boxes import CLIPPED, LEFT_OUT, NO_FILE, BoxTargets
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source, open_splits, write_split
from deepres.data.sources.pack import pack
from deepres.data.sources.splits import RawDataset
from deepres.data.sources.turns import turned_upright

WANTED = {name: sorted((label, corners) for label, corners in objects) for name, objects in SET.items()}


def raw(source: Path, *edits: str) -> RawDataset:
    return open_splits(edit(DataConfig(source=str(source)), list(edits)))


def targets_of(found: RawDataset, split: str = "train") -> BoxTargets:
    targets = found.splits[split].targets  # type: ignore[index]
    assert isinstance(targets, BoxTargets)
    return targets


def boxes_in(found: RawDataset, split: str = "train") -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    images = found.splits[split]  # type: ignore[index]
    return {
        path.name: sorted(
            (found.classes[label], tuple(corners))
            for label, corners in zip(boxes.classes.tolist(), boxes.corners.tolist(), strict=True)
        )
        for path, boxes in zip(images.paths, targets_of(found, split), strict=True)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_one_set_written_in_four_ways_reads_as_one(kind: str, tmp_path: Path) -> None:
    found = raw(KINDS[kind](tmp_path / "set"))
    assert found.kind == "boxes"
    assert found.classes == NAMES
    read = boxes_in(found)
    for name, objects in WANTED.items():
        assert [label for label, _ in read[name]] == [label for label, _ in objects]
        assert np.allclose([c for _, c in read[name]], [c for _, c in objects], atol=1e-5)
    assert float(targets_of(found).areas[0]) == pytest.approx(100, rel=1e-5)


@pytest.mark.parametrize("kind", ["voc", "csv"])
def test_pixels_are_counted_from_1_unless_a_box_begins_at_0(kind: str, tmp_path: Path) -> None:
    one, zero = raw(KINDS[kind](tmp_path / "one")), raw(KINDS[kind](tmp_path / "zero", first=0))  # type: ignore[call-arg]
    assert boxes_in(one) == boxes_in(zero)
    assert any("counted from 1 (as VOC does" in note for note in one.notes)
    assert any("counted from 0" in note and "begins there" in note for note in zero.notes)
    moved = boxes_in(raw(tmp_path / "one", "first_pixel=0"))
    assert moved["b.png"] == [("dog", (4.0, 6.0, 20.0, 31.0))]
    assert boxes_in(raw(tmp_path / "zero", "first_pixel=0")) == boxes_in(zero)
    assert boxes_in(raw(tmp_path / "one", "first_pixel=1")) == boxes_in(one)


def test_ids_are_those_of_the_source_and_gaps_in_them_matter_to_nobody(tmp_path: Path) -> None:
    assert targets_of(raw(coco(tmp_path))).ids.tolist() == [10, 20, 30, 40]
    assert targets_of(raw(voc(tmp_path / "v"))).ids.tolist() == [0, 1, 2, 3]


def test_crowds_and_difficult_objects_are_ignored_and_areas_are_those_of_coco(tmp_path: Path) -> None:
    root = coco(tmp_path / "coco")
    facts = coco_facts()
    facts["annotations"][0] |= {"iscrowd": 1, "area": 7.5}
    facts["annotations"][1] |= {"ignore": 1}
    del facts["annotations"][2]["area"]
    (root / "annotations" / "instances.json").write_text(json.dumps(facts))
    targets = targets_of(raw(root))
    assert targets.ignored.tolist() == [True, True, False, False, False]
    assert targets.areas.tolist() == [7.5, 100, 17 * 26, 62 * 45, 24]


@pytest.mark.parametrize(
    ("told", "ignored"),
    [
        ("", False),
        ("<difficult>0</difficult>", False),
        ("<difficult>Unspecified</difficult>", False),
        ("<difficult/>", False),
        ("<difficult> 1 </difficult>", True),
        ("<pose>Left</pose><difficult>1</difficult>", True),
    ],
)
def test_difficult_may_be_missing_or_unspecified(told: str, ignored: bool, tmp_path: Path) -> None:
    root = voc(tmp_path)
    (root / "Annotations" / "b.xml").write_text(xml_of([("dog", (4, 6, 20, 31))], more=told))
    assert targets_of(raw(root))[1].ignored.tolist() == [ignored]


def lists(root: Path, **names: str) -> None:
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for name, lines in names.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(lines.replace(" ", "\n") + "\n")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"train": "a b", "val": "c", "test": "d"}, {"train": "ab", "val": "c", "test": "d"}),
        ({"train": "a b", "val": "c", "trainval": "a b c", "test": "d"}, {"train": "ab", "val": "c", "test": "d"}),
        ({"trainval": "a b c", "test": "d"}, {"train": "abc", "test": "d"}),
        ({"train": "a d", "trainval": "a b d", "test": "c"}, {"train": "abd", "test": "c"}),
        ({"train": "a b c"}, {"train": "abc"}),
    ],
)
def test_official_lists_are_the_split(given: dict[str, str], wanted: dict[str, str], tmp_path: Path) -> None:
    root = voc(tmp_path / "VOC2007")
    lists(root, **given)
    for source in (root, tmp_path):  # also the folder above, as VOCdevkit is
        found = raw(source)
        assert {split: "".join(p.stem for p in images.paths) for split, images in found.splits.items()} == wanted


def test_val_is_learnt_with_train_where_that_is_asked_and_there_are_test_pictures(tmp_path: Path) -> None:
    root = voc(tmp_path / "three")
    lists(root, train="a b", val="c", test="d")
    apart, joined = raw(root), raw(root, "trainval=true")
    assert {split: len(images) for split, images in joined.splits.items()} == {"train": 3, "test": 1}
    of_both = [*boxes_in(apart, "train").items(), *boxes_in(apart, "val").items()]
    assert list(boxes_in(joined, "train").items()) == of_both
    assert "val is learnt with train: 1 picture (data.trainval)" in joined.notes
    two = voc(tmp_path / "two")
    lists(two, train="a b", val="c d")
    assert {split: len(images) for split, images in raw(two, "trainval=true").splits.items()} == {"train": 2, "val": 2}


def test_a_list_without_labels_is_left_out_and_pictures_in_no_list_are_counted(tmp_path: Path) -> None:
    root = voc(tmp_path)
    picture(root / "JPEGImages" / "e.png")
    lists(root, train="a b", test="e")
    found = raw(root)
    assert list(found.splits) == ["train"]
    assert any("test.txt: none of its 1 pictures has labels: it is not used" in note for note in found.notes)
    assert any("2 pictures of Annotations in none of the lists: not used" in note for note in found.notes)


@pytest.mark.parametrize(
    ("pictures", "labels", "split"),
    [
        ("images", "annotations", "train"),
        ("images", "annotations/xmls", "train"),
        ("", "", "train"),
        ("a/b/pics", "a/c", "train"),
        ("images/train", "annotations/train", "train"),
        ("train/images", "train/annotations", "train"),
    ],
)
def test_folders_of_xml_and_of_pictures_find_each_other(pictures: str, labels: str, split: str, tmp_path: Path) -> None:
    found = raw(voc(tmp_path, pictures=pictures, labels=labels))
    assert boxes_in(found, split)["b.png"] == [("dog", (3.0, 5.0, 20.0, 31.0))]


@pytest.mark.parametrize(
    ("pictures", "labels"), [("{}", "{}"), ("images/{}", "annotations/{}"), ("{}/images", "{}/xml")]
)
def test_folders_called_by_a_split_are_splits(pictures: str, labels: str, tmp_path: Path) -> None:
    voc(tmp_path, pictures=pictures.format("train"), labels=labels.format("train"))
    voc(tmp_path, pictures=pictures.format("valid"), labels=labels.format("valid"))
    assert {split: len(images) for split, images in raw(tmp_path).splits.items()} == {"train": 4, "val": 4}


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (["annotations/instances_train2017.json", "annotations/instances_val2017.json"], ["train2017", "val2017"]),
        (["train/_annotations.coco.json", "valid/_annotations.coco.json"], ["train", "valid"]),
        (["train.json", "val.json"], ["images", "images"]),
        (["annotations/train.json", "annotations/val.json"], ["images/train", "images/val"]),
    ],
)
def test_a_coco_file_for_each_split_finds_its_pictures(names: list[str], folders: list[str], tmp_path: Path) -> None:
    facts = coco_facts()
    for name, folder in zip(names, folders, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(json.dumps(facts))
        for each in SET:
            picture(tmp_path / folder / each)
    found = raw(tmp_path)
    assert {split: len(images) for split, images in found.splits.items()} == {"train": 4, "val": 4}
    assert [
        found.splits[split].paths[0].parent.relative_to(tmp_path).as_posix() for split in ("train", "val")
    ] == folders


def test_a_single_file_finds_its_pictures_by_data_root_and_others_are_counted(tmp_path: Path) -> None:
    root = coco(tmp_path / "set")
    file = tmp_path / "elsewhere" / "labels.json"
    file.parent.mkdir()
    (root / "annotations" / "instances.json").rename(file)
    picture(root / "images" / "unlisted.png")
    with pytest.raises(InputError, match=r"4 of 4 pictures are not beside it, such as a.png; data.root=FOLDER says"):
        raw(file)
    found = raw(file, f"root={root / 'images'}")
    assert any("1 picture beside those that it lists: not used" in note for note in found.notes)
    assert len(found.splits["train"]) == 4


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("names: [car, dog]\n", {"train": 4}),
        ("names:\n  0: car\n  1: dog\n", {"train": 4}),
        ("names: {1: dog, 0: car}\nnc: 2\n", {"train": 4}),
        ("path: .\ntrain: images\nval: images2\nnames: [car, dog]\n", {"train": 4, "val": 4}),
        ("path: /else/where\ntrain: ../images\nval: [images2]\nnames: [car, dog]\n", {"train": 4, "val": 4}),
        ("train: list.txt\nval: images2\ntest: none/here\nnames: [car, dog]\n", {"train": 2, "val": 4}),
    ],
)
def test_a_description_of_yolo_names_classes_and_splits(text: str, wanted: dict[str, int], tmp_path: Path) -> None:
    root = yolo(tmp_path)
    for name in SET:
        picture(root / "images2" / name)
    (root / "list.txt").write_text("images/a.png\nimages/b.png\n")
    if "images2" not in text:
        for file in (root / "images2").iterdir():
            file.unlink()
    (root / "data.yaml").write_text(text)
    found = raw(root)
    assert found.classes == NAMES
    assert {split: len(images) for split, images in found.splits.items()} == wanted
    assert boxes_in(raw(root / "data.yaml")).keys() == boxes_in(found).keys()


def test_a_picture_without_a_file_of_labels_is_not_one_whose_file_is_empty(tmp_path: Path) -> None:
    root = yolo(tmp_path / "yolo")
    (root / "labels" / "b.txt").unlink()
    targets = targets_of(raw(root))
    assert targets.remarks[:, NO_FILE].tolist() == [0, 1, 0, 0]
    assert targets.counts.tolist() == [2, 0, 0, 2]
    with pytest.raises(InputError, match=r"b\.png: no label file .*b\.txt; data\.unlabelled=empty takes it"):
        raw(root, "unlabelled=stop")
    root = voc(tmp_path / "voc")
    (root / "Annotations" / "b.xml").unlink()
    with pytest.raises(
        InputError, match=r"b\.png: no label file; data\.unlabelled=empty takes it as a picture without"
    ):
        raw(root)
    targets = targets_of(raw(root, "unlabelled=empty"))
    assert sorted(targets.remarks[:, NO_FILE].tolist()) == [0, 0, 0, 1]
    assert len(targets) == 4


def test_boxes_without_area_are_left_out_by_name_or_refused(tmp_path: Path) -> None:
    root = voc(tmp_path)
    (root / "Annotations" / "b.xml").write_text(
        xml_of([("dog", (4, 6, 20, 31)), ("dog", (9, 9, 9, 30)), ("dog", (9, 9, 5, 30))])
    )
    found = raw(root)
    assert targets_of(found).remarks[:, LEFT_OUT].tolist() == [0, 2, 0, 0]
    assert "b.xml: object 2 of 3 (dog): box 9,9,9,30 has no area" in found.notes
    assert "2 of 7 boxes without area are left out (data.on_bad_box=stop refuses them)" in found.notes
    with pytest.raises(InputError, match=r"b\.xml: object 2 of 3 \(dog\): box 9,9,9,30 has no area, nor have 1 more"):
        raw(root, "on_bad_box=stop")


@pytest.mark.parametrize("corners", [(0.5, 1, 65, 49), (60, 40, 64.5, 48.9), (1, 1, 65, 10)])
def test_an_edge_outside_by_1_px_is_clipped_and_counted(corners: tuple[float, ...], tmp_path: Path) -> None:
    root = voc(tmp_path)
    (root / "Annotations" / "b.xml").write_text(xml_of([("dog", corners)]))
    found = raw(root, "first_pixel=1")
    assert targets_of(found).remarks[:, CLIPPED].tolist() == [0, 1, 0, 0]
    (x1, y1, x2, y2) = targets_of(found)[1].corners[0].tolist()
    assert 0 <= x1 < x2 <= 64
    assert 0 <= y1 < y2 <= 48
    assert "1 box clipped: an edge lay outside of the picture, by 1 px at most" in found.notes


def test_duplicates_are_kept_and_counted(tmp_path: Path) -> None:
    root = voc(tmp_path)
    (root / "Annotations" / "b.xml").write_text(xml_of([("dog", (4, 6, 20, 31))] * 3))
    found = raw(root)
    assert len(targets_of(found)[1]) == 3
    assert "2 boxes twice on a picture, the same class and place: kept" in found.notes


def turned(path: Path, turn: int, size: tuple[int, int] = SIZE) -> None:
    image = Image.new("RGB", size, "white")
    exif = image.getexif()
    exif[274] = turn
    image.save(path, exif=exif)


@pytest.mark.parametrize("frame", ["upright", "stored"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_boxes_of_both_frames_are_one_on_the_upright_picture(turn: int, frame: str, tmp_path: Path) -> None:
    stored = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    stored[5:15, 40:60] = 255
    image = Image.fromarray(stored)
    image.getexif()[274] = turn
    upright = np.array(ImageOps.exif_transpose(image))
    rows, columns = (np.flatnonzero(upright.any(axis)) for axis in (1, 0))
    wanted = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert turned_upright(np.array([[40.0, 5, 60, 15]]), SIZE, turn).tolist() == [wanted]
    written = [40, 5, 60, 15] if frame == "stored" else wanted
    size = SIZE if frame == "stored" else upright.shape[::-1]
    turned(tmp_path / "a.jpg", turn)
    (tmp_path / "a.xml").write_text(xml_of([("dog", [written[0] + 1, written[1] + 1, *written[2:]])], size))
    found = raw(tmp_path, f"frame={frame}")
    assert targets_of(found)[0].corners.tolist() == [wanted]
    header = found.splits["train"].header(0)
    assert (header.width, header.height) == upright.shape[::-1]
    assert (len(found.notes) == 2) == (turn in (2, 3, 4))  # only these are not told by their sizes


def test_a_picture_turned_by_half_is_taken_as_others_are_or_asked_for(tmp_path: Path) -> None:
    turned(tmp_path / "half.jpg", 3)
    (tmp_path / "half.xml").write_text(xml_of([("dog", (1, 1, 10, 10))]))
    found = raw(tmp_path)
    assert targets_of(found)[0].corners.tolist() == [[0, 0, 10, 10]]
    assert any(
        "half.jpg: sizes do not tell which way up their boxes are meant, taken as upright" in n for n in found.notes
    )
    turned(tmp_path / "side.jpg", 6)
    (tmp_path / "side.xml").write_text(xml_of([("dog", (1, 1, 10, 10))], SIZE))  # as stored
    assert targets_of(raw(tmp_path))[0].corners.tolist() == [[54, 38, 64, 48]]
    turned(tmp_path / "other.jpg", 6)
    (tmp_path / "other.xml").write_text(xml_of([("dog", (1, 1, 10, 10))], SIZE[::-1]))
    with pytest.raises(
        InputError, match=r"of others 1 are meant upright, 1 as stored; set data.frame=upright or stored"
    ):
        raw(tmp_path)


def test_sizes_that_fit_neither_way_up_are_refused_with_all_three(tmp_path: Path) -> None:
    turned(tmp_path / "a.jpg", 6)
    (tmp_path / "a.xml").write_text(xml_of([("dog", (1, 1, 10, 10))], (60, 80)))
    with pytest.raises(
        InputError, match=r"a\.jpg: stored 64 x 48, turned upright 48 x 64, .*a\.xml says 60 x 80; wanted"
    ):
        raw(tmp_path)


def test_a_folder_of_class_folders_stays_one_whatever_lies_beside_its_pictures(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        picture(tmp_path / name)
        (tmp_path / name).with_suffix(".xml").write_text(xml_of([("dog", (1, 1, 10, 10))]))
    (tmp_path / "facts.json").write_text('{"images": [], "annotations": []}')
    (tmp_path / "boxes.csv").write_text("filename,class,xmin,ymin,xmax,ymax\n1.png,cat,1,1,2,2\n")
    assert raw(tmp_path).kind == "folder"
    with pytest.raises(InputError, match=r"no data\.yaml \(YOLO\) in it; wanted one of XML files"):
        raw(tmp_path, "boxes=yolo", "targets=boxes")


def test_labels_of_two_kinds_are_asked_about(tmp_path: Path) -> None:
    voc(tmp_path, pictures="images")
    (tmp_path / "instances.json").write_text(json.dumps(coco_facts()))
    with pytest.raises(InputError, match=r"labels of two kinds .*; say which: data\.boxes=voc or coco"):
        raw(tmp_path)
    assert targets_of(raw(tmp_path, "boxes=coco")).ids.tolist() == [10, 20, 30, 40]
    assert targets_of(raw(tmp_path, "boxes=voc")).ids.tolist() == [0, 1, 2, 3]


def test_tables_called_by_splits_are_splits(tmp_path: Path) -> None:
    table(tmp_path)
    rows = (tmp_path / "boxes.csv").read_text().splitlines()
    (tmp_path / "train_labels.csv").write_text("\n".join([rows[0], *rows[1:3]]))
    (tmp_path / "test_labels.csv").write_text("\n".join([rows[0], *rows[3:]]))
    found = raw(tmp_path)
    assert {split: [p.name for p in images.paths] for split, images in found.splits.items()} == {
        "train": ["a.png"],
        "test": ["b.png", "c.png", "d.png"],
    }


def test_classes_are_chosen_and_ordered_by_name(tmp_path: Path) -> None:
    found = raw(voc(tmp_path), "classes=dog,car")
    assert found.classes == ("dog", "car")
    assert targets_of(found)[0].classes.tolist() == [1, 0]
    only = raw(tmp_path, "classes=dog")
    assert targets_of(only).counts.tolist() == [1, 1, 0, 0]
    assert any("leaves out the boxes of other classes (3 car)" in note for note in only.notes)
    with pytest.raises(InputError, match=r"data\.classes=cat: 'cat' is none of them; .* has car, dog"):
        raw(tmp_path, "classes=cat")


def many(root: Path, number: int = 24) -> Path:
    """Pictures with a dog each, every fourth with a rare owl, every sixth without an object."""
    for each in range(number):
        picture(root / "images" / f"{each}.png")
        objects = [] if each % 6 == 5 else [("dog", (1, 1, 9, 9)), *([("owl", (2, 2, 8, 9))] if each % 4 == 0 else [])]
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"{each}.xml").write_text(xml_of(objects))
    return root


@pytest.mark.medium
def test_without_lists_a_split_is_cut_by_rarest_class_and_written_as_a_table_that_reads_back(tmp_path: Path) -> None:
    source = open_source(DataConfig(source=str(many(tmp_path / "set")), val_fraction=0.25, test_fraction=0.25))
    for images in source.splits().values():
        names = [source.classes[label] for label in images.targets.classes.tolist()]  # type: ignore[attr-defined]
        assert "owl" in names
        assert int((images.targets.counts == 0).sum()) >= 1  # type: ignore[attr-defined]
    write_split(source, tmp_path / "split.csv")
    again = open_source(DataConfig(source=str(tmp_path / "split.csv")))
    assert again.classes == source.classes
    for split, images in source.splits().items():
        other = again.splits()[split]
        assert [p.name for p in other.paths] == [p.name for p in images.paths]
        assert other.targets.tolist() == images.targets.tolist()
        assert other.targets.ids.tolist() == images.targets.ids.tolist()  # type: ignore[attr-defined]
        assert torch.equal(other.targets.areas, images.targets.areas)  # type: ignore[attr-defined]


def test_one_class_is_enough(tmp_path: Path) -> None:
    root = voc(tmp_path)
    for file in (root / "Annotations").iterdir():
        file.write_text(file.read_text().replace("car", "dog"))
    source: Source = open_source(DataConfig(source=str(root), val_fraction=0.25, test_fraction=0.25))
    assert source.classes == ("dog",)


@pytest.mark.parametrize(("mode", "size"), [("L", SIZE), ("RGBA", SIZE), ("RGB", (1, 1)), ("RGB", (5000, 20))])
def test_grey_and_clear_pictures_one_of_1_px_and_a_strip_are_read(
    mode: str, size: tuple[int, int], tmp_path: Path
) -> None:
    Image.new(mode, size).save(tmp_path / "bär.png")
    (tmp_path / "bär.xml").write_text(xml_of([("dog", (0, 0, *size))], size))
    found = raw(tmp_path)
    assert targets_of(found)[0].corners.tolist() == [[0, 0, *size]]
    assert found.splits["train"].image(0).shape == (3, size[1], size[0])


Mend = Callable[[Path], object]


def in_xml(text: str) -> Mend:
    return lambda root: (root / "Annotations" / "b.xml").write_text(text, encoding="utf-8")


def in_json(change: Callable[[dict[str, list[dict[str, object]]]], object]) -> Mend:
    def mend(root: Path) -> None:
        facts = coco_facts()
        change(facts)
        (root / "annotations" / "instances.json").write_text(json.dumps(facts))

    return mend


def in_lines(text: str) -> Mend:
    return lambda root: (root / "labels" / "b.txt").write_text(text)


def in_rows(row: str) -> Mend:
    return lambda root: (root / "boxes.csv").write_text((root / "boxes.csv").read_text() + row + "\n")


DOG = xml_of([("dog", (4, 6, 20, 31))])
BOMB = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]>' + DOG.replace("dog", "&c;")
REFUSED: dict[str, tuple[str, Mend, str]] = {
    "cut in half": (
        "voc",
        in_xml(DOG[: len(DOG) // 2]),
        r"b\.xml: not a VOC annotation in XML \(line 1: unclosed token\)",
    ),
    "empty file": ("voc", in_xml(""), r"b\.xml: not a VOC annotation in XML"),
    "bomb": ("voc", in_xml(BOMB), r"b\.xml: .*it has a DOCTYPE, which may ask for other files and is not read"),
    "deep": ("voc", in_xml("<annotation>" * 40), r"b\.xml: .*nested too deeply"),
    "not voc": ("voc", in_xml("<html/>"), r"b\.xml: <html> .*wanted <annotation>"),
    "no name": ("voc", in_xml(DOG.replace("<name>dog</name>", "")), r"b\.xml: object 1: no name; wanted <name>"),
    "polygon": ("voc", in_xml(DOG.replace("bndbox", "polygon")), r"b\.xml: object 1 \(dog\): no <bndbox>"),
    "no corner": (
        "voc",
        in_xml(DOG.replace("<xmax>20</xmax>", "")),
        r"object 1 \(dog\): xmax is missing; wanted a number",
    ),
    "no number": ("voc", in_xml(DOG.replace("20", "2O")), r"object 1 \(dog\): xmax '2O'; wanted a number of px"),
    "nan": ("voc", in_xml(DOG.replace("20", "nan")), r"object 1 \(dog\): xmax 'nan'; wanted a number of px"),
    "difficult": (
        "voc",
        in_xml(xml_of([("dog", (1, 1, 2, 2))], more="<difficult>2</difficult>")),
        r"difficult '2'; wanted 0 or 1",
    ),
    "other size": (
        "voc",
        in_xml(xml_of([("dog", (4, 6, 20, 31))], (48, 64))),
        r"b\.xml: size 48 x 64, b\.png is 64 x 48",
    ),
    "outside": (
        "voc",
        in_xml(xml_of([("dog", (4, 6, 70, 31))])),
        r"b\.xml: object 1 of 1 \(dog\): box 4,6,70,31 ends outside of the picture \(64 x 48\) by more than 1 px: is the",
    ),
    "negative": (
        "voc",
        in_xml(xml_of([("dog", (-9, 6, 20, 31))])),
        r"b\.xml: object 1 of 1 \(dog\): box -9,6,20,31 ends outside of the picture \(64 x 48\) by more than 1 px",
    ),
    "no pictures": (
        "voc",
        lambda root: [file.unlink() for file in (root / "JPEGImages").iterdir()],
        r"set: XML of boxes, and no pictures; give the folder that holds both",
    ),
    "xml alone": ("voc", lambda root: (root / "JPEGImages" / "b.png").unlink(), r"b\.xml: no picture of that name in "),
    "two pictures": (
        "voc",
        lambda root: picture(root / "JPEGImages" / "b.jpg"),
        r"'b' may be .*b\.jpg, .*b\.png; keep one",
    ),
    "two lists": (
        "voc",
        lambda root: lists(root, train="a b", test="c b"),
        r"test\.txt:2: b stands in train\.txt too; keep it once",
    ),
    "list of strangers": ("voc", lambda root: lists(root, train="a z", test="c"), r"train\.txt:2: no picture z"),
    "json in half": (
        "coco",
        lambda root: (root / "annotations" / "instances.json").write_text(json.dumps(coco_facts())[:-20]),
        r"instances\.json: not a set of boxes .* in JSON \(line 1: ",
    ),
    "twin": (
        "coco",
        in_json(lambda f: f["images"][1].update(file_name="a.png")),
        r"two images of file name a\.png \(10 and 20\)",
    ),
    "twin id": ("coco", in_json(lambda f: f["images"][1].update(id=10)), r"two images of id 10; give each its own"),
    "no image": (
        "coco",
        in_json(lambda f: f["annotations"][0].update(image_id=99)),
        r"annotation 100 speaks of image 99, which is not in images",
    ),
    "no category": (
        "coco",
        in_json(lambda f: f["annotations"][0].update(category_id=2)),
        r"annotation 100: category 2 is used, categories has 3 to 90; did you mean ids from 3\?",
    ),
    "gap": (
        "coco",
        in_json(lambda f: f["annotations"][0].update(category_id=7)),
        r"category 7 is used, categories has 3 to 90$",
    ),
    "no bbox": (
        "coco",
        in_json(lambda f: f["annotations"][0].pop("bbox")),
        r"annotation 100: bbox is None; wanted \[x, y, width, height\] in px",
    ),
    "bbox of 3": (
        "coco",
        in_json(lambda f: f["annotations"][0].update(bbox=[1, 2, 3])),
        r"bbox is \[1, 2, 3\]; wanted",
    ),
    "bbox nan": (
        "coco",
        in_json(lambda f: f["annotations"][0].update(bbox=[1, 2, float("nan"), 3])),
        r"bbox is \[1, 2, nan, 3\]; wanted",
    ),
    "text id": (
        "coco",
        in_json(lambda f: f["images"][0].update(id="10")),
        r"image 1: id is '10'; wanted a whole number",
    ),
    "twin name": (
        "coco",
        in_json(lambda f: f["categories"][0].update(name="car")),
        r"two categories of id 3 or of name 'car'",
    ),
    "missing picture": (
        "coco",
        lambda root: (root / "images" / "b.png").unlink(),
        r"1 of 4 pictures are not in .*images, such as b\.png",
    ),
    "far outside": (
        "coco",
        in_json(lambda f: f["annotations"][0].update(bbox=[60, 2, 30, 3])),
        r"annotation 100 \(car\) of a\.png: box 60,2,30,3 ends outside",
    ),
    "class 5": (
        "yolo",
        in_lines("1 .5 .5 .1 .1\n5 .5 .5 .1 .1"),
        r"labels/b\.txt:2: class 5, data\.yaml names 2 \(0 to 1\)",
    ),
    "class -1": ("yolo", in_lines("-1 .5 .5 .1 .1"), r"b\.txt:1: class -1, data\.yaml names 2"),
    "pixels": (
        "yolo",
        in_lines("1 154 .5 .1 .1"),
        r"b\.txt:1: 154 lies outside of 0 to 1; YOLO labels are shares of the picture",
    ),
    "share nan": ("yolo", in_lines("1 nan .5 .1 .1"), r"b\.txt:1: '1 nan .*'; wanted numbers"),
    "six": (
        "yolo",
        in_lines("1 .5 .5 .1 .1 .9"),
        r"b\.txt:1: 6 numbers; a score\? wanted class x y width height, or class",
    ),
    "odd": (
        "yolo",
        in_lines("1 .5 .5 .1 .1 .9 .3 .2"),
        r"b\.txt:1: 8 numbers; wanted class x y width height, or class",
    ),
    "four": ("yolo", in_lines("1 .5 .5 .1"), r"b\.txt:1: 4 numbers; wanted class x y width height"),
    "words": ("yolo", in_lines("dog .5 .5 .1 .1"), r"b\.txt:1: 'dog \.5 \.5 \.1 \.1'; wanted numbers"),
    "beyond": ("yolo", in_lines("1 .9 .5 .4 .1"), r"labels/b\.txt:1 \(dog\): box 0\.9,0\.5,0\.4,0\.1 ends outside"),
    "nc": (
        "yolo",
        lambda root: (root / "data.yaml").write_text("names: [a, b]\nnc: 3"),
        r"data\.yaml: nc is 3, names has 2",
    ),
    "gaps of names": (
        "yolo",
        lambda root: (root / "data.yaml").write_text("names: {0: a, 2: b}"),
        r"names are numbered 0, 2; wanted 0 to 1",
    ),
    "no folder": (
        "yolo",
        lambda root: (root / "data.yaml").write_text("names: [a, b]\ntrain: x"),
        r"data\.yaml: train: x is not there",
    ),
    "references": (
        "yolo",
        lambda root: (root / "data.yaml").write_text("a: &a [1]\nb: *a\nnames: [a]"),
        r"references \(\*\), which are not followed",
    ),
    "yes": (
        "yolo",
        lambda root: (root / "data.yaml").write_text("names: [yes, no]"),
        r"names: True is what YAML makes of yes",
    ),
    "no names": ("yolo", lambda root: (root / "data.yaml").unlink(), r"no data\.yaml \(YOLO\) in it"),
    "underscore": ("yolo", in_lines("1 .5 .5 .1 0.1_0"), r"b\.txt:1: .*; wanted numbers: class x y width height"),
    "big": (
        "coco",
        in_json(lambda f: f["annotations"][0].update(bbox=[10**400, 0, 1, 1])),
        r"bbox is \[1000+….*wanted",
    ),
    "no annotations": (
        "coco",
        in_json(lambda f: f.pop("annotations")),
        r"annotations is missing; wanted a set of boxes",
    ),
    "answers": (
        "coco",
        lambda root: (root / "annotations" / "instances.json").write_text('[{"bbox": [1, 2, 3, 4], "score": 1}]'),
        r"a list of 1, as of answers\? wanted a set of boxes",
    ),
    "line break": ("voc", in_xml(DOG.replace("dog", "do\ng")), r"class 'do\\ng': wanted a name of letters in one line"),
    "half a pixel": ("voc", in_xml(DOG.replace("<width>64", "<width>64.5")), r"b\.xml: size 64\.5 x 48; wanted whole"),
    "digits of another script": ("voc", in_xml(DOG.replace("20", "٢٠")), r"xmax '٢٠'; wanted a number of px"),
    "twice in a list": ("voc", lambda root: lists(root, train="a b a"), r"train\.txt:3: a stands twice; keep it once"),
    "empty list": ("voc", lambda root: lists(root, train=""), r"train\.txt: names no picture; wanted one a line"),
    "wide row": ("csv", in_rows("a.png,64,48,dog,1,2,3,4,5"), r"boxes\.csv: line 8: more cells than the 8 columns"),
    "minus": ("csv", in_rows("a.png,-64,48,dog,1,2,3,4"), r"boxes\.csv: line 8: size -64 x 48; wanted whole numbers"),
    "no class": ("csv", in_rows("a.png,64,48,,1,2,3,4"), r"boxes\.csv: line 8: no class"),
    "no corner of a row": (
        "csv",
        in_rows("a.png,64,48,dog,1,2,3,"),
        r"boxes\.csv: line 8: ymax is ''; wanted a number",
    ),
    "inf": ("csv", in_rows("a.png,64,48,dog,1,2,3,inf"), r"line 8: ymax is 'inf'; wanted a number"),
    "two sizes": (
        "csv",
        in_rows("a.png,60,48,dog,1,2,3,4"),
        r"line 8: a\.png has two sizes, \(64, 48\) and \(60, 48\)",
    ),
    "no file": ("csv", in_rows("z.png,64,48,dog,1,2,3,4"), r"files are missing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_that_names_the_file(case: str, tmp_path: Path) -> None:
    kind, mend, message = REFUSED[case]
    root = KINDS[kind](tmp_path / "set")
    mend(root)
    with pytest.raises(InputError, match=message) as refusal:
        raw(root, f"boxes={kind}")
    assert "\n" not in refusal.value.message
    assert (
        str(tmp_path) in refusal.value.message or ".png: " in refusal.value.message or kind in ("voc", "coco", "yolo")
    )


@pytest.mark.parametrize(
    ("encoding", "between", "before"),
    [("utf-8-sig", ",", ""), ("utf-16", "\t", ""), ("utf-8", ";", "sep=;\n"), ("utf-8", ",", "\n")],
)
def test_a_table_of_boxes_is_known_in_whatever_encoding(
    encoding: str, between: str, before: str, tmp_path: Path
) -> None:
    root = table(tmp_path)
    text = before + (root / "boxes.csv").read_text().replace(",", between)
    (root / "boxes.csv").write_text(text, encoding=encoding)
    assert boxes_in(raw(root / "boxes.csv")).keys() == SET.keys()


def test_labels_of_yolo_without_names_are_told(tmp_path: Path) -> None:
    (yolo(tmp_path) / "data.yaml").unlink()
    with pytest.raises(InputError, match=r"labels/a\.txt may hold boxes as YOLO writes them, but no data\.yaml names"):
        raw(tmp_path)


def test_lists_may_name_files_and_folders(tmp_path: Path) -> None:
    root = voc(tmp_path)
    lists(root, train="a.png JPEGImages/b.png ./JPEGImages/c")
    assert [path.name for path in raw(root).splits["train"].paths] == ["a.png", "b.png", "c.png"]


@pytest.mark.medium
def test_folds_hold_each_picture_once_and_equal_ones_together(tmp_path: Path) -> None:
    many(tmp_path / "set")
    tested: list[str] = []
    for fold in (1, 2, 3):
        source = open_source(edit(DataConfig(source=str(tmp_path / "set")), ["folds=3", f"fold={fold}"]))
        assert source.test is not None
        tested += [path.name for path in source.test.paths]
    assert sorted(tested) == sorted(f"{number}.png" for number in range(24))


def test_folds_of_train_and_val_keep_their_boxes(tmp_path: Path) -> None:
    voc(tmp_path, pictures="train", labels="train")
    voc(tmp_path, pictures="val", labels="val")
    voc(tmp_path, pictures="test", labels="test")
    source = open_source(edit(DataConfig(source=str(tmp_path)), ["folds=2", "fold=1"]))
    for images in source.splits().values():
        for path, boxes in zip(images.paths, images.targets, strict=True):  # type: ignore[call-overload]
            assert len(boxes) == len(SET[path.name])


def test_boxes_are_not_packed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its images have boxes, which a pack has no room for"):
        pack(raw(voc(tmp_path / "set")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.medium
def test_real_sets_are_read_as_they_are_meant(shared: Path) -> None:
    sets = shared / "data" / "detection"
    if not sets.is_dir():
        pytest.skip(f"no sets with boxes at {sets}")
    bccd = raw(sets / "bccd" / "BCCD")
    assert {split: len(images) for split, images in bccd.splits.items()} == {"train": 205, "val": 87, "test": 72}
    assert bccd.classes == ("Platelets", "RBC", "WBC")
    assert sum(len(targets_of(bccd, split).classes) for split in bccd.splits) == 4886
    assert "BloodImage_00338.xml: object 13 of 14 (RBC): box 504,337,504,337 has no area" in bccd.notes
    assert "BloodImage_00343.xml: object 4 of 12 (RBC): box 181,329,181,329 has no area" in bccd.notes
    xml, rows = raw(sets / "raccoon"), raw(sets / "raccoon" / "data" / "raccoon_labels.csv")
    assert boxes_in(xml) == boxes_in(rows)
    assert sum(len(boxes) for boxes in boxes_in(xml).values()) == 217
    halves = raw(sets / "raccoon" / "data")
    assert {split: len(images) for split, images in halves.splits.items()} == {"train": 160, "test": 40}
    voc_xml, voc_json = (raw(sets / "voc2007_100", f"boxes={kind}") for kind in ("voc", "coco"))
    assert (len(voc_xml.classes), int(targets_of(voc_xml).ignored.sum())) == (20, 38)
    one, other = boxes_in(voc_xml), boxes_in(voc_json)
    assert sum(map(len, one.values())) == 273
    for name, boxes in one.items():
        assert [(label, (x1 + 1, y1 + 1, x2, y2)) for label, (x1, y1, x2, y2) in boxes] == other[name]
    with pytest.raises(InputError, match="labels of two kinds"):
        raw(sets / "voc2007_100")
    fruits = targets_of(raw(sets / "fruits_nuts_coco"))
    assert (len(fruits), len(fruits.classes)) == (18, 165)


@pytest.mark.medium
def test_what_is_said_of_boxes_where_there_are_none_is_refused(class_folders: Callable[..., Path]) -> None:
    pets = class_folders("pets", {"cat": 4, "dog": 4}, (8, 8))
    for said in ("first_pixel=1", "frame=stored", "on_bad_box=stop", "unlabelled=empty", "classes=cat"):
        with pytest.raises(
            InputError, match=rf"data\.{said.split('=')[0]}: .* holds one class an image, and it is about"
        ):
            raw(pets, said)
    with pytest.raises(InputError, match=r"data\.classes: digit-scenes holds no labels of boxes"):
        raw(Path("digit-scenes"), "classes=1,2")


def test_what_a_way_of_writing_has_no_use_for_is_said(tmp_path: Path) -> None:
    notes = raw(coco(tmp_path), "first_pixel=1").notes
    assert any(
        "data.first_pixel=1 changes nothing: it is about XML files (VOC) and a .csv of boxes" in n for n in notes
    )


@pytest.mark.parametrize(
    ("name", "cells", "said"),
    [
        ("Usage", ("Training", "Test"), None),
        ("train", ("1", "0"), None),
        ("is_test", ("no", "yes"), None),
        ("Usage", ("Training", "PublicTest"), "'PublicTest' in column 'Usage'; wanted train, val or test"),
        ("phase", ("early", "late"), ""),
    ],
)
def test_a_table_of_boxes_says_its_splits_as_any_table(
    tmp_path: Path, name: str, cells: tuple[str, str], said: str | None
) -> None:
    rows = [f"filename,class,xmin,ymin,xmax,ymax,{name}"]
    for number in range(4):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,cat,1,1,5,5,{cells[number == 3]}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    if said:
        with pytest.raises(InputError, match=said):
            raw(tmp_path / "t.csv")
        return
    found = raw(tmp_path / "t.csv")
    assert {split: len(images) for split, images in found.splits.items()} == (
        {"train": 3, "test": 1} if said is None else {"train": 4}
    )
    assert any(f"split from '{name}'" in note for note in found.notes) == (said is None)


def test_boxes_in_shares_of_the_picture_are_no_px(tmp_path: Path) -> None:
    rows = ["filename,class,xmin,ymin,xmax,ymax"]
    for number in range(3):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,cat,0.1,0,0.5,1")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    with pytest.raises(InputError, match="all boxes lie between 0 and 1, as shares of the picture; wanted px"):
        raw(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("\n".join([*rows, "2.png,cat,1,1,5,5"]))
    assert raw(tmp_path / "t.csv").classes == ("cat",)
