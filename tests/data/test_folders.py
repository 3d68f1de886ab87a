import json
from pathlib import Path

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from deepres.base.errors import InputError
from deepres.data.images import FileImages
from deepres.data.sources.folders import read_folder


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2)).save(path, "PNG")


def fill(root: Path, *names: str) -> Path:
    for name in names:
        image(root / name)
    return root


def listed(images: object) -> list[tuple[str, int]]:
    assert isinstance(images, FileImages)
    return [(path.name, label) for path, label in zip(images.paths, images.targets.tolist(), strict=True)]


def test_class_folders_equal_torchvisions(tmp_path: Path) -> None:
    fill(tmp_path, "class2/b.png", "class10/a.JPEG", "class10/deep/er/c.webp", "Class3/d.bmp")
    found = read_folder(tmp_path, depth=1)  # deep/er/ may be a class of its own: torchvision does not ask
    reference = ImageFolder(str(tmp_path))
    images = found.splits["train"]
    assert isinstance(images, FileImages)
    assert list(found.classes) == reference.classes == ["Class3", "class10", "class2"]
    assert sorted((str(p), y) for p, y in zip(images.paths, images.targets.tolist(), strict=True)) == sorted(
        reference.samples
    )


def test_hidden_files_are_passed_over_and_others_counted(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.png", "b/1.png", "a/.2.png", ".cache/3.png", "__MACOSX/4.png", "a/__MACOSX/5.png", "6.png")
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "LICENSE").touch()
    found = read_folder(tmp_path)
    assert listed(found.splits["train"]) == [("1.png", 0), ("1.png", 1)]
    assert found.ignored == 2
    assert found.notes == (f"outside the class folders of {tmp_path.name}/: 1 not used",)


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_parts_by_name(tmp_path: Path, val: str) -> None:
    fill(tmp_path, *(f"{part}/{name}/{part}.png" for part in ("train", val, "test") for name in "ab"), "old/a/1.png")
    found = read_folder(tmp_path)
    assert {part: listed(images) for part, images in found.splits.items()} == {
        "train": [("train.png", 0), ("train.png", 1)],
        "val": [(f"{val}.png", 0), (f"{val}.png", 1)],
        "test": [("test.png", 0), ("test.png", 1)],
    }
    spelled = () if val == "val" else (f"{val}/ is taken as val",)
    assert found.notes == (*spelled, f"old/ stands beside train/, {val}/, test/: it is not used")


def test_imagenet_as_kaggle_gives_it(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "train/n01/1.JPEG",
        "train/n02/2.JPEG",
        "train/n03/3.JPEG",
        "val/v1.JPEG",
        "val/v2.JPEG",
        "test/t.JPEG",
    )
    (tmp_path / "LOC_synset_mapping.txt").write_text("n01 crane\nn02 tench, Tinca tinca\nn03 crane\n")
    (tmp_path / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nv2,n01 1 2 3 4 n01 5 6 7 8\nv1,n03 1 2 3 4\n"
    )
    found = read_folder(tmp_path)
    assert found.classes == ("crane (n01)", "tench, Tinca tinca", "crane (n03)")
    assert listed(found.splits["val"]) == [("v1.JPEG", 2), ("v2.JPEG", 0)]
    assert "test" not in found.splits
    assert found.notes == ("test/ has no class folders, so no labels: it is not used",)


def test_names_from_the_class_index(tmp_path: Path) -> None:
    fill(tmp_path, "train/n01/1.JPEG", "train/n02/2.JPEG", "val/n01/1.JPEG", "val/n02/1.JPEG")
    index = tmp_path / "imagenet_class_index.json"
    index.write_text(json.dumps({"0": ["n01", "tench"], "1": ["n02", "goldfish"]}))
    assert read_folder(tmp_path).classes == ("tench", "goldfish")
    index.write_text("[1]")
    with pytest.raises(InputError, match=r"imagenet_class_index\.json: wanted .*; mend or remove it"):
        read_folder(tmp_path)


def test_tiny_imagenet(tmp_path: Path) -> None:
    fill(tmp_path, "train/n01/images/1.JPEG", "train/n02/images/2.JPEG", "val/images/v1.JPEG", "test/images/t.JPEG")
    (tmp_path / "train/n01/n01_boxes.txt").touch()
    (tmp_path / "val/val_annotations.txt").write_text("v1.JPEG\tn02\t0\t0\t9\t9\n")
    (tmp_path / "words.txt").write_text("n01\tgoldfish\nn02\tbull frog\nn99\tnothing\n")
    found = read_folder(tmp_path)
    assert found.classes == ("goldfish", "bull frog")
    assert listed(found.splits["train"]) == [("1.JPEG", 0), ("2.JPEG", 1)]
    assert listed(found.splits["val"]) == [("v1.JPEG", 1)]
    assert found.ignored == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"no images; wanted one folder a class, such as .*/cat/1\.jpg"),
        (["1.png", "2.png"], "2 images outside class folders; wanted one folder a class"),
        (["train/a/1.png", "val/a/1.png", "valid/a/1.png"], "both val/ and valid/ mean val; remove one"),
        (
            ["train/a/1.png", "train/b/1.png", "test/b/1.png", "test/c/1.png"],
            "test/ has classes that train/ has not: c; rename or remove them",
        ),
        (["train/a/1.png", "train/b/1.png", "val/1.png"], "val: no class folders and no labels; wanted .*as in train/"),
    ],
)
def test_wrong_layouts_are_refused_in_one_line(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_folder(fill(tmp_path, *names))
    assert "\n" not in str(caught.value)


def test_other_files_are_named_where_no_image_is(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.mp4").touch()
    with pytest.raises(InputError, match=r"no images \(1 other file: \.mp4\); wanted one folder a class"):
        read_folder(tmp_path)


def test_empty_class_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="/c: a class without images; add some or remove the folder"):
        read_folder(tmp_path)


def test_flat_val_with_a_stranger(tmp_path: Path) -> None:
    fill(tmp_path, "train/n01/1.png", "train/n02/2.png", "val/v1.png", "val/v2.png")
    solution = tmp_path / "LOC_val_solution.csv"
    solution.write_text("ImageId,PredictionString\nv1,n01 1 2 3 4\n")
    with pytest.raises(InputError, match=r"v2\.png: has no label; add it"):
        read_folder(tmp_path)
    solution.write_text("ImageId,PredictionString\nv1,n01 1 2 3 4\nv2,n77 1 2 3 4\n")
    with pytest.raises(InputError, match=r"v2\.png: class 'n77' is not in train/"):
        read_folder(tmp_path)
