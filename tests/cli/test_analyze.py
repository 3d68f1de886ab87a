"""Taking a network apart and showing where it looks, through the command line: what comes out, what is refused."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from deepres.arch.architecture import Architecture
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.families.vgg import VggConfig
from deepres.cli.main import run as deepres
from deepres.data.images import ArrayImages
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import measure_statistics
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network
from drawn_objects import NAMES, imagenet

CLASSES = ("cat", "dog", "horse")
NET = {"input": (3, 32, 32), "num_classes": 3}


def _saved(folder: Path, description: Architecture, classes: tuple[str, ...] = CLASSES) -> Path:
    folder.mkdir()
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=draw)
    save_network(folder, create_model(description), classes, Preparation().model_dump(mode="json"))
    measure_statistics(ArrayImages(pixels, torch.arange(6) % 3, CLASSES, "noise"), Preparation()).save(
        folder / "statistics.safetensors"
    )
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw = torch.Generator().manual_seed(1)
    for name in CLASSES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(2):
            pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=draw)
            Image.fromarray(pixels.numpy()).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def residual(tmp_path: Path) -> Path:
    config = ResNetConfig(name="small", stem="cifar", stem_width=4, depths=(1, 2), widths=(4, 8), **NET)
    return _saved(tmp_path / "residual", config.architecture())


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return _saved(
        tmp_path / "plain",
        VggConfig(name="row", depths=(2, 1, 1, 1, 1), widths=(4,) * 5, hidden=(), **NET).architecture(),
    )


def _refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    code = deepres([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    assert code == 2, said
    assert said.count("\n") == 1, said
    assert said.startswith("deepres: ")
    return said


@pytest.mark.slow
def test_what_is_found_is_said_and_written(
    residual: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    words = ["analyze", "lesion", "cam", str(residual), str(photos), "--draws", "1", "--output", str(output)]
    assert deepres([*words, "--class", "dog", "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert set(found["found"]) == {"lesion", "cam"}
    assert "class activation maps of dog, 6 images" in found["found"]["cam"]
    assert (output / "report.html").is_file()
    ranking = json.loads((output / "lesion_ranking.json").read_text())
    assert set(ranking["units"]) == {"stage1.unit1", "stage2.unit1", "stage2.unit2"}
    assert not list(output.glob(".*.part.json"))


@pytest.mark.medium
def test_boxes_beside_classes_give_the_errors_of_localisation(
    photos: Path, residual: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ResNetConfig(
        name="r", stem="cifar", stem_width=4, depths=(1,), widths=(4,), input=(3, 32, 32), num_classes=3
    )
    weights = _saved(tmp_path / "three", config.architecture(), NAMES[:3])
    source = imagenet(tmp_path / "imagenet", train=1, val=2, side=32, classes=3)
    rows = (source / "LOC_val_solution.csv").read_text().splitlines()
    (source / "LOC_val_solution.csv").write_text("\n".join(rows))
    out = tmp_path / "out"
    assert deepres(["analyze", "localisation", str(weights), str(source), "--output", str(out), "--json"]) == 0
    (errors, given) = json.loads(capsys.readouterr().out)["found"]["localisation"]
    numbers = json.loads((out / "localisation.json").read_text())["numbers"]["errors"]
    assert numbers["num_images"] == 6
    assert numbers["class_top5_wrong"] == 0  # of three classes
    assert numbers["top5_wrong"] == numbers["given_wrong"]
    assert numbers["given_wrong"] <= numbers["top1_wrong"]
    assert errors.startswith(f"top-5 localisation error {100 * numbers['top5_error']:.2f} %")
    assert given == f"error of the box given the true class {100 * numbers['given_error']:.2f} %"
    assert "no labels of boxes in it" in _refused(capsys, "analyze", "localisation", residual, photos)


@pytest.mark.medium
def test_what_cannot_be_is_one_line_with_the_nearest_names(
    residual: Path, plain: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "row: no unit has a branch and a shortcut; there is one path only" in _refused(
        capsys, "analyze", "paths", plain, photos
    )
    assert "analysis 'leison': unknown; did you mean lesion?" in _refused(capsys, "analyze", "leison", residual, photos)
    assert "class 'hors': unknown; the nearest are horse" in _refused(
        capsys, "analyze", "cam", residual, photos, "--class", "hors"
    )
    assert "part 'stage2.unti2': unknown; did you mean stage2.unit2" in _refused(
        capsys, "analyze", "cam", residual, photos, "--layer", "stage2.unti2"
    )
    for picture in photos.rglob("*.png"):
        Image.new("RGB", (16, 16)).save(picture)
    said = _refused(capsys, "analyze", plain, photos, "--output", tmp_path / "no")
    assert re.search(r"images of 16 x 16 px: too small for row; wanted at least 32 x 32 px; give larger images", said)
    assert not (tmp_path / "no").exists()


@pytest.mark.medium
def test_each_answer_gets_a_map_of_its_class_or_of_the_one_asked_for(
    residual: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, other = photos / "cat" / "0.png", photos / "dog" / "0.png"
    maps = tmp_path / "maps"
    assert deepres(["predict", str(residual), str(picture), str(other), "--cam", str(maps)]) == 0
    first = capsys.readouterr().out.splitlines()
    assert len(first) == 4
    answered = first[0].split(": ")[1].split()[0]
    assert first[1].startswith(f"  {answered}: {maps}/0-")
    drawn, others = (Path(line.split(": ")[1]) for line in first[1::2])
    assert drawn != others
    again = tmp_path / "again"
    for name in CLASSES:
        words = ["predict", str(residual), str(picture), "--cam", str(again), "--class", name, "--json"]
        assert deepres(words) == 0
        told = Path(json.loads(capsys.readouterr().out)["map"])
        same = told.read_bytes() == drawn.read_bytes()
        assert same == (name == answered)


def test_a_class_that_does_not_exist_or_no_folder_for_maps_is_refused(
    residual: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = photos / "cat" / "0.png"
    said = _refused(capsys, "predict", residual, picture, "--cam", tmp_path / "maps", "--class", "dgo")
    assert "class 'dgo': unknown; the nearest are dog" in said
    assert not (tmp_path / "maps").exists()
    assert "--class dog without --cam" in _refused(capsys, "predict", residual, picture, "--class", "dog")


@pytest.mark.medium
def test_an_image_too_small_is_reported_and_the_others_are_answered(
    plain: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "tiny.png")
    assert deepres(["predict", str(plain), str(tmp_path / "tiny.png"), str(photos / "cat" / "0.png")]) == 1
    said = capsys.readouterr()
    assert "tiny.png: images of 9 x 9 px: too small for row; wanted at least 32 x 32 px" in said.err
    assert said.out.startswith(str(photos / "cat" / "0.png"))
