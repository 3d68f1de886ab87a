"""Folders of pictures as other people have them: what is taken as what, or the question in one line."""

import os
import re
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.data.sources.config import DataConfig
from deepres.data.sources.folders import read_folder
from deepres.data.sources.layout import Layout, arranged
from deepres.data.sources.open import open_source
from deepres.data.sources.split_names import split_named
from deepres.data.sources.splits import Split


def taken(*pictures: str, **how: object) -> Layout:
    return arranged(pictures, "photos", **how)  # type: ignore[arg-type]


def two(*parts: str) -> tuple[str, ...]:
    """A cat and a dog in each folder."""
    return tuple(f"{part}/{name}/1.jpg" for part in parts for name in ("cat", "dog"))


SPELLINGS: dict[Split | None, str] = {
    "train": "train Train TRAIN training Training trainset train_set training-set train.set training_data TrainingData "
    "train_images images_train trainImages train_imgs imgs-train train2017 dataset_train training_samples trn trains "
    "trainval TRAINING_SET train_jpegs data_train",
    "val": "val Val valid validation Validation dev Dev eval evaluation val_set validation_images val2017 VALIDATION "
    "valid_data dev-set development validate",
    "test": "test Test testing Testing tests test_set testset TEST_SET test_images holdout hold-out hold_out tst testing_data "
    "Test_Data images-test test2019",
    None: "cat trainer training_shoes train1 test2 trainA train_cropped invalid validity contest testament device "
    "evaluated_cats images data set latest train_station 1 fold1",
}


@pytest.mark.parametrize(("part", "names"), SPELLINGS.items())
def test_spellings(part: Split | None, names: str) -> None:
    assert {name: split_named(name) for name in names.split()} == dict.fromkeys(names.split(), part)


LAYOUTS = {
    "plain": (two("train", "val", "test"), "train val test"),
    "issue 1": (two("Training", "Validation", "Testing"), "Training Validation Testing"),
    "issue 2": (two("train_set", "dev", "test_set"), "train_set dev test_set"),
    "issue 3": (two("Train", "Test"), "Train - Test"),
    "issue 4": (two("training_data", "TEST"), "training_data - TEST"),
    "mixed case": (two("train", "Testing"), "train - Testing"),
    "images above": (two("images/train", "images/val"), "images/train images/val"),
    "images above, twice": (
        two("dataset/images/train", "dataset/images/test"),
        "dataset/images/train - dataset/images/test",
    ),
    "images between": (two("train/images", "test/images"), "train/images - test/images"),
    "images below": (tuple(f"{p}/{c}/images/1.jpg" for p in ("train", "test") for c in "ab"), "train - test"),
    "a wrapper": (two("photos/train", "photos/test"), "photos/train - photos/test"),
    "Intel's": (two("seg_train/seg_train", "seg_test/seg_test"), "seg_train/seg_train - seg_test/seg_test"),
    "each part twice": (
        two("training_set/training_set", "test_set/test_set"),
        "training_set/training_set - test_set/test_set",
    ),
    "one prefix": (two("flowers-train", "flowers-val"), "flowers-train flowers-val"),
    "numbered alike": (two("train1", "test1"), "train1 - test1"),
    "something beside": ((*two("train", "test"), "examples/1.jpg", "old/cat/2.jpg"), "train - test"),
    "labels beside": ((*two("train", "test"), "test/1.jpg"), "train - test"),
}


@pytest.mark.parametrize(("pictures", "places"), LAYOUTS.values(), ids=LAYOUTS)
def test_parts_are_known_by_name(pictures: tuple[str, ...], places: str) -> None:
    layout = taken(*pictures)
    wanted = {
        part: place for part, place in zip(("train", "val", "test"), places.split(), strict=False) if place != "-"
    }
    assert {part: listing.place for part, listing in layout.splits.items()} == wanted
    assert layout.splits["train"].labels == (0, 1)
    plain = set(places.split()) <= {"train", "val", "test", "-"} or "/images" in places
    assert plain or any(" taken" in note for note in layout.notes)


def test_the_class_may_stand_above_the_part() -> None:
    layout = taken("cat/train/1.jpg", "cat/test/2.jpg", "dog/train/3.jpg", "dog/Testing/4.jpg")
    assert layout.classes == ("cat", "dog")
    assert {part: listing.pictures for part, listing in layout.splits.items()} == {
        "train": ("cat/train/1.jpg", "dog/train/3.jpg"),
        "test": ("cat/test/2.jpg", "dog/Testing/4.jpg"),
    }
    assert layout.notes == ("every class folder holds train/, test/: taken as these splits",)


QUESTIONS = {
    "a part beside classes": (
        ("train/1.jpg", "bus/1.jpg", "car/1.jpg"),
        r"photos: train/ beside bus/, car/: splits, or classes\? --set data.splits=folders leaves bus/, car/ out, or --set data.splits=none takes all 3 as classes",
    ),
    "a split with classes beside classes": ((*two("train"), "bird/1.jpg"), "train/ beside bird/: splits, or"),
    "an unclear second split": (two("train", "test_2"), r"train/ beside test_2/: splits, or classes\?"),
    "valid or invalid": (
        ("valid/1.jpg", "invalid/2.jpg"),
        r"valid/ beside invalid/: .* name what is for training train/, or",
    ),
    "a test beside classes": (("test/1.jpg", "cat/1.jpg", "dog/1.jpg"), "test/ beside cat/, dog/: "),
    "val twice": (two("train", "val", "validation"), "both val/ and validation/ mean val; remove one, or"),
    "train twice": (two("train", "Training"), "both (train|Training)/ and (train|Training)/ mean train; remove one"),
    "CycleGAN's": (
        ("trainA/1.jpg", "trainB/1.jpg", "testA/1.jpg", "testB/1.jpg"),
        "trainA/.*sound like splits; name the",
    ),
    "the class in the name": (
        ("cats_train/1.jpg", "dogs_train/1.jpg", "cats_test/1.jpg"),
        "sound like splits",
    ),
    "cropped or not": (two("train_cropped", "test_full"), "test_full/, train_cropped/ sound like splits"),
    "folds": (
        two("fold1", "fold2", "fold3"),
        r"fold1/, fold2/, fold3/ sound like folds of one set; .* \.csv with a column split",
    ),
    "flat folds": (("split_0/1.jpg", "split_1/1.jpg"), "sound like folds of one set"),
    "some classes above parts": (
        ("cat/train/1.jpg", "cat/test/1.jpg", "dog/1.jpg"),
        "cat/ holds train/, test/, dog/ not that alone",
    ),
    "too high, with parts": (
        (*two("Dataset/train", "Dataset/test"), "Examples/1.jpg"),
        r"Dataset/ holds train/, test/ with class folders itself; name photos/Dataset",
    ),
    "two sets": (two("a/train", "a/test", "b/train", "b/test"), "name photos/a"),
    "a split within a split": (
        (*two("train", "test"), "train/val/cat/1.jpg", "train/val/dog/1.jpg"),
        r"photos/train/val: a split within train/, whose class folders stand beside it; move it out of train/, or --set",
    ),
    "pictures and masks": (
        ("images/1.jpg", "masks/1.png"),
        r"images/ beside masks/: classes\? .* data.splits=none takes all 2",
    ),
}


@pytest.mark.parametrize(("pictures", "question"), QUESTIONS.values(), ids=QUESTIONS)
def test_what_may_be_a_part_or_a_class_is_asked(pictures: tuple[str, ...], question: str) -> None:
    with pytest.raises(InputError, match=question) as caught:
        taken(*pictures)
    assert "\n" not in str(caught.value)


def test_the_question_is_answered() -> None:
    vehicles = ("bus/1.jpg", "car/2.jpg", "train/3.jpg")
    assert taken(*vehicles, splits="none").classes == ("bus", "car", "train")
    assert taken("valid/1.jpg", "invalid/2.jpg", splits="none").classes == ("invalid", "valid")
    beside = taken(*two("train"), "bird/1.jpg", splits="folders")
    assert (beside.classes, beside.notes) == (("cat", "dog"), ("bird/ stands beside train/: it is not used",))
    assert taken("images/1.jpg", "masks/1.png", splits="none").classes == ("images", "masks")


def test_a_part_without_labels_is_kept_apart() -> None:
    layout = taken(*two("train"), "test/1.jpg", "test/2.jpg")
    assert layout.splits["test"].labels is None
    assert layout.splits["test"].pictures == ("test/1.jpg", "test/2.jpg")


def test_parts_without_train_are_told() -> None:
    assert set(taken(*two("val", "test")).splits) == {"val", "test"}


NESTED = ("Fruit/Apple/Gala/1.jpg", "Fruit/Apple/Pink/2.jpg", "Fruit/Lime/3.jpg", "Packages/Milk/4.jpg")

DEPTHS = {
    "nested": (
        NESTED,
        r"\(Fruit/Apple/Gala\): --set data.depth=1 \(2 classes such as Fruit\), data.depth=2 \(3 classes such as Fruit/Apple\) or data.depth=leaf \(4 classes such as Fruit/Apple/Gala\)",
    ),
    "nested in parts": (tuple(f"{part}/{name}" for part in ("train", "test") for name in NESTED), "data.depth=leaf"),
    "in test alone": (
        ("train/a/1.jpg", "train/b/1.jpg", "test/a/x/1.jpg", "test/a/y/1.jpg", "test/b/1.jpg"),
        "data.depth=1",
    ),
    "pictures beside folders": (
        ("a/1.jpg", "a/old/2.jpg", "b/1.jpg"),
        "data.depth=1 .2 classes such as a. or data.depth=leaf .3 classes such as a/old",
    ),
    "one too high": (
        (*two("Dataset"), "Examples/1.jpg"),
        r"Dataset/ holds 2 folders of images itself, Examples/ none; is Dataset/ the set\? name photos/Dataset, or --set data.depth=1 \(2 classes such as Dataset\)",
    ),
    "buckets": (
        ("a/000/1.jpg", "a/001/2.jpg", "b/000/3.jpg", "b/001/4.jpg"),
        r"data.depth=1 \(2 classes such as a\) or data.depth=leaf \(4",
    ),
}


@pytest.mark.parametrize(("pictures", "question"), DEPTHS.values(), ids=DEPTHS)
def test_what_a_class_is_in_nested_folders_is_asked(pictures: tuple[str, ...], question: str) -> None:
    with pytest.raises(InputError, match=question) as caught:
        taken(*pictures)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("depth", "classes"),
    [
        (1, ("Fruit", "Packages")),
        (2, ("Fruit/Apple", "Fruit/Lime", "Packages/Milk")),
        ("leaf", ("Fruit/Apple/Gala", "Fruit/Apple/Pink", "Fruit/Lime", "Packages/Milk")),
        (9, ("Fruit/Apple/Gala", "Fruit/Apple/Pink", "Fruit/Lime", "Packages/Milk")),
    ],
)
def test_depth(depth: int | str, classes: tuple[str, ...]) -> None:
    layout = taken(*NESTED, depth=depth)
    assert layout.classes == classes
    assert sorted(layout.splits["train"].pictures) == sorted(NESTED)


UNASKED = {
    "images in each": (("cat/images/1.jpg", "dog/images/2.jpg"), ("cat", "dog"), ()),
    "images in one": (("cat/1.jpg", "cat/images/2.jpg", "dog/3.jpg"), ("cat", "dog"), ()),
    "one folder deep": (("cat/new/1.jpg", "dog/2.jpg"), ("cat", "dog"), ()),
    "a wrapper": (two("photos"), ("cat", "dog"), ("photos/ alone holds pictures: taken is what lies in it",)),
    "numbers": (("1/1.jpg", "10/1.jpg", "2/1.jpg"), ("1", "10", "2"), ()),
    "hidden": (
        (
            *two("."),
            "cat/.ipynb_checkpoints/1.jpg",
            "__MACOSX/cat/1.jpg",
            "@eaDir/1.jpg",
            "$RECYCLE.BIN/1.jpg",
            "#recycle/1.jpg",
            "lost+found/1.jpg",
            "System Volume Information/1.jpg",
        ),
        ("cat", "dog"),
        (),
    ),
    "a blank at the end": (
        ("cat /1.jpg", "dog/1.jpg"),
        ("cat", "dog"),
        ("'cat ' has a blank at its end: it is taken as 'cat'",),
    ),
    "case": (("A/1.jpg", "a/1.jpg"), ("A", "a"), ("'A' and 'a' differ in case only: they are two classes",)),
    "accents": ((f"{unicodedata.normalize('NFD', 'café')}/1.jpg", "tea/1.jpg"), ("café", "tea"), ()),
}


@pytest.mark.parametrize(("pictures", "classes", "notes"), UNASKED.values(), ids=UNASKED)
def test_what_needs_no_question(pictures: tuple[str, ...], classes: tuple[str, ...], notes: tuple[str, ...]) -> None:
    layout = taken(*(picture.removeprefix("./") for picture in pictures))
    assert (layout.classes, layout.notes) == (classes, notes)


@pytest.mark.parametrize("twin", ["cat ", " cat"])
def test_twins_are_refused(twin: str) -> None:
    with pytest.raises(InputError, match=r"photos: .*'cat'.* read alike .*; merge them, or rename one"):
        taken("cat/1.jpg", f"{twin}/1.jpg", "dog/1.jpg")
    with pytest.raises(InputError, match=r"photos/train: 'cafe\\u0301' and 'caf\\xe9' read alike"):
        taken(*(f"train/{unicodedata.normalize(form, 'café')}/1.jpg" for form in ("NFC", "NFD")))


def test_accents_in_two_ways_meet_across_parts() -> None:
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    layout = taken(f"train/{names[0]}/1.jpg", "train/b/1.jpg", f"test/{names[1]}/1.jpg", "test/b/1.jpg")
    assert layout.splits["test"].labels == (0, 1)


def test_a_part_may_lack_classes_and_has_none_of_its_own() -> None:
    layout = taken(*two("train", "val"), "test/dog/1.jpg", folders=["test/cat"])
    assert layout.splits["test"].labels == (1,)
    assert layout.notes == ("test/ has no images of cat",)
    with pytest.raises(
        InputError, match=r"test/ has classes that train/ has not: Cat \(train/ has cat\); rename or remove"
    ):
        taken(*two("train"), "test/Cat/1.jpg", "test/dog/1.jpg")
    with pytest.raises(InputError, match="photos/train/bird: a class without images; add some or remove the folder"):
        taken(*two("train", "test"), folders=["train/bird"])


def test_folders_of_other_files_are_no_classes() -> None:
    layout = taken(*two("a")[:2], others=["a/notes/1.xml", "a/notes/2.txt"], folders=[])
    assert layout.classes == ("cat", "dog")
    assert "notes/ holds 2 other files and no images: it is no class" in layout.notes
    with pytest.raises(InputError, match="films: a class without images"):
        taken("cat/1.jpg", "dog/1.jpg", others=["films/1.mp4"])


def test_an_empty_part_is_told() -> None:
    assert taken(*two("train", "test"), folders=["val"]).notes == ("val/ holds no images: it is not used",)


NO_TEXT = {
    "a folder as Windows zips it": ("caf\udce9/1.jpg", r"photos: 'caf\\xe9/1\.jpg': a name that is no UTF-8, .*convmv -f cp1252"),
    "a picture so": ("cat/\udc82\udca0.jpg", r"'cat/\\x82\\xa0\.jpg': a name that is no UTF-8"),
    "a folder of two lines": ("new\nline/1.jpg", r"'new\\nline/1\.jpg': a name with a line break; rename it"),
    "a picture so, of Unicode": ("cat/a\u2028b.jpg", r"'cat/a\\u2028b\.jpg': a name with a line break"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "said"), NO_TEXT.values(), ids=NO_TEXT)
def test_names_that_cannot_be_written_down_are_refused(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        taken("dog/1.jpg", name)
    assert str(caught.value).isprintable()
    assert taken("dog/a\tb.jpg", "cat/\u200b\u00a0é.jpg").classes == ("cat", "dog")


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff\xd8\xff")


def test_links_in_a_circle_to_themselves_and_to_nothing_are_told(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "dog/1.jpg"):
        picture(tmp_path / name)
    (tmp_path / "cat" / "all").symlink_to(tmp_path)
    (tmp_path / "cat" / "self").symlink_to(tmp_path / "cat" / "self")
    (tmp_path / "dog" / "gone").symlink_to(tmp_path / "nowhere")
    found = read_folder(tmp_path)
    assert [len(found.splits["train"]), found.classes] == [2, ("cat", "dog")]
    assert "cat/all: a link to a folder that it lies in; it is not followed" in found.notes
    assert {"cat/self: a link to nothing; it is passed over", "dog/gone: a link to nothing; it is passed over"} < {
        *found.notes
    }


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    picture(tmp_path / "store" / "1.jpg")
    picture(tmp_path / "set" / "dog" / "1.jpg")
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "store")
    assert read_folder(tmp_path / "set").classes == ("cat", "dog")


BESIDE = {
    "Kaggle's": (("train/1.jpg", "test/2.jpg"), ("test.csv", "train.csv"), "train.csv"),
    "HF's": (("train/1.jpg",), ("train/metadata.csv",), "train/metadata.csv"),
    "flat": (("1.jpg",), ("labels.tsv", "a.csv"), "labels.tsv"),
    "a zip alone": ((), ("readme.txt", "pets.zip"), "pets.zip"),
    "zips of parts": ((), ("test.zip", "train.zip"), "train.zip"),
    "arrays beside a list": ((), ("notes.txt", "set.npz", "more.npz"), "more.npz"),
    "deep within": (("1.jpg",), ("a/b/c.csv",), None),
    "a zip beside pictures": (("1.jpg",), ("pets.zip",), None),
}


@pytest.mark.parametrize(("pictures", "others", "given"), BESIDE.values(), ids=BESIDE)
def test_a_folder_that_is_refused_names_what_lies_in_it(
    tmp_path: Path, pictures: tuple[str, ...], others: tuple[str, ...], given: str | None
) -> None:
    for name in (*pictures, *others):
        picture(tmp_path / name)
    for name in others:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"outside class folders|no images") as caught:
        read_folder(tmp_path)
    assert str(caught.value).endswith(f"holds, give {tmp_path / given}") if given else "give" not in str(caught.value)


def test_files_without_suffix_are_told(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no images \(1 other file: no suffix\)"):
        read_folder(tmp_path)


@pytest.mark.parametrize("verb", [["train"], ["data", "check"], ["data", "split"]])
def test_sources_that_are_nothing_or_no_text_are_refused(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*verb, ""]) == 2
    assert "'': an empty argument (a variable that is not set?)" in capsys.readouterr().err
    assert run([*verb, "caf\udce9"]) == 2
    assert r"'caf\xe9': this is no UTF-8, and could not be written down; rename it" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"source 'caf\\xe9': a name that is no UTF-8"):
        open_source(DataConfig(source="caf\udce9"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "1.jpg")
    (tmp_path / "dog").mkdir(mode=0)
    with pytest.raises(InputError, match=r"dog: cannot be listed \(Permission denied\)"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data", "check", "{nested}"], r"--set data\.depth=1 \(2 classes such as"),
        (["train", "{nested}", "--smoke"], r"--set data\.depth=1"),
        (["eval", "{run}", "{nested}", "--set", "data.depht=1"], "'data.depht': unknown; did you mean data.depth"),
        (
            ["eval", "{run}", "--set", "data.depth=1"],
            r"--set data\.depth=1: a run reads its own images as it did; name a",
        ),
    ],
)
def test_the_command_line_asks_and_takes_the_answer(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/x/1.jpg", "a/y/1.jpg", "b/x/1.jpg"):
        picture(tmp_path / "nested" / name)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    assert run([word.format(nested=tmp_path / "nested", run=tmp_path / "run") for word in words]) == 2
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.slow
def test_nested_classes_from_training_to_another_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a/x", "a/y", "b"):
        for number in range(8):
            place = tmp_path / "set" / name / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((16, 16), 20 + number).convert("RGB").save(place)
            other = tmp_path / "other" / name / f"{number}.png"
            other.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((16, 16), 50 + number).convert("RGB").save(other)
    source, home = str(tmp_path / "set"), str(tmp_path / "run")
    assert run(["train", source, "--smoke", "--set", "data.depth=leaf", "--output", home]) == 0
    assert "3 classes: a/x, a/y, b" in capsys.readouterr().err
    assert run(["eval", home, str(tmp_path / "other")]) == 0
    assert "of 24 images" in capsys.readouterr().out
    assert run(["eval", home, str(tmp_path / "other"), "--set", "data.depth=1"]) == 2
    assert "the network does not know the classes a" in capsys.readouterr().err
