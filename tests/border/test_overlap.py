"""Images that a run was trained on are never counted as test images without a word, wherever they lie."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from noise_sets import CLASSES, draw, packed, pixels_of, shard_of, table, trained
from PIL import Image

from deepres.cli.main import run
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.runs.seen import same_source


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/, and run/ that was trained on it."""
    home = tmp_path_factory.mktemp("home")
    before = Path.cwd()
    os.chdir(home)
    trained(Path("photos") if draw(home / "photos") else home, home / "run")
    os.chdir(before)
    return home


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))


def result_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    capsys.readouterr()
    code = run(["eval", *map(str, arguments), "--device", "cpu", "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    return dict(json.loads(said.out))


def refusal_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    code = run([*map(str, arguments), "--device", "cpu"])
    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (2, 1), said
    return said


SPELLINGS = {
    "as trained": "photos",
    "slash": "photos/",
    "dot": "./photos",
    "doubled": "photos//.",
    "absolute": "{home}/photos",
    "tilde": "~/photos",
    "up and down": "run/../photos",
    "link": "link",
    "link to the parent": "parent/photos",
}


@pytest.mark.parametrize("name", ["slash", "absolute", "link", pytest.param("tilde", marks=pytest.mark.slow)])
@pytest.mark.medium
def test_the_runs_own_images_are_its_test_part_however_they_are_spelled(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for link, to in {"link": "photos", "parent": "."}.items():
        if not (home / link).is_symlink():
            (home / link).symlink_to(to)
    found = result_of(capsys, "run", SPELLINGS[name].format(home=home))
    own = json.loads(Path("run/test.json").read_text())
    assert (found["split"], found["num_images"], found["notes"]) == ("test", 9, [])
    assert found["confusion"] == own["confusion"]


@pytest.mark.medium
def test_every_spelling_is_the_same_source(home: Path) -> None:
    for name, spelling in SPELLINGS.items():
        if "link" not in name:
            assert same_source("photos", spelling.format(home=home)), name
    assert not same_source("photos", "run")


@pytest.mark.slow
def test_a_part_is_measured_by_name_also_that_of_training(capsys: pytest.CaptureFixture[str]) -> None:
    for split, count in {"train": 45, "val": 6, "test": 9}.items():
        found = result_of(capsys, "run", "./photos/", "--split", split)
        assert (found["split"], found["num_images"], found["notes"]) == (split, count, [])


@pytest.mark.medium
def test_a_run_finds_its_images_from_another_working_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "photos", seed=4)  # others of the same spelling
    monkeypatch.chdir(tmp_path)
    for source in ([], [home / "photos"]):
        found = result_of(capsys, home / "run", *source)
        assert (found["split"], found["num_images"], found["notes"]) == ("test", 9, [])
    others = result_of(capsys, home / "run", "photos")
    assert (others["split"], others["num_images"], others["notes"]) == ("all images", 60, [])
    twin = pixels_of(home / "photos", tmp_path / "pixels.npz")
    assert re.search(ALL, refusal_of(capsys, "eval", home / "run", twin))


@pytest.mark.medium
def test_a_set_known_by_name_is_no_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "digits", each=1)
    assert same_source("digits", "digits")
    assert not same_source("digits", "./digits")
    assert same_source("./digits", "digits/")
    assert same_source("gone/away", "./gone//away/")


def copy(photos: Path, place: Path) -> Path:
    return Path(shutil.copytree(photos, place))


def renamed(photos: Path, place: Path) -> Path:
    for number, path in enumerate(sorted(photos.glob("*/*.png"))):
        to = place / path.parent.name / f"{(number * 7919) % 1000:03}_{number}.PNG"
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
    return place


def two_classes(photos: Path, place: Path) -> Path:
    for name in CLASSES[:2]:
        shutil.copytree(photos / name, place / name)
    return place


def as_validation(photos: Path, place: Path) -> Path:
    for part in ("train", "val"):
        shutil.copytree(photos, place / part)
    return place


def with_new_ones(photos: Path, place: Path) -> Path:
    draw(place, seed=1)
    for path in photos.glob("*/*.png"):
        shutil.copyfile(path, place / path.parent.name / f"old{path.name}")
    return place


def links(photos: Path, place: Path) -> Path:
    for path in photos.glob("*/*.png"):
        (place / path.parent.name).mkdir(parents=True, exist_ok=True)
        (place / path.parent.name / path.name).symlink_to(path)
    return place


def resized(photos: Path, place: Path, suffix: str = ".png") -> Path:
    for path in photos.glob("*/*.png"):
        (place / path.parent.name).mkdir(parents=True, exist_ok=True)
        picture = Image.open(path)
        picture = picture.resize((40, 40), Image.Resampling.BOX) if suffix == ".png" else picture
        picture.save((place / path.parent.name / path.name).with_suffix(suffix))
    return place


ALL = r"45 of 60 images were trained on, 6 more chose its epoch"
FORMS: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "copy": (copy, ALL),
    "copy of other names": (renamed, ALL),
    "links": (links, ALL),
    "table.csv": (table, ALL),
    "as val beside train": (as_validation, ALL),
    "two classes": (two_classes, r"30 of 40 images were trained on, 4 more chose"),
    "half of them new": (with_new_ones, r"45 of 120 images were trained on, 6 more chose"),
    "shard.tar": (shard_of, ALL),
    "packed": (packed, ALL),
    "packed smaller": (lambda photos, out: packed(photos, out, "--size", "16"), ALL),
    "packed as JPEG": (lambda photos, out: packed(photos, out, "--format", "jpeg"), ALL),
    "arrays.npz": (pixels_of, ALL),
    "resized": (resized, ALL + r" \(51 of them in another size or encoding\)"),
    "as BMP": (lambda photos, place: resized(photos, place, ".bmp"), ALL + r" \(51 of them in another"),
}


QUICK = ("copy", "table.csv", "half of them new", "packed smaller", "arrays.npz", "resized")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in FORMS]
)
@pytest.mark.medium
def test_what_the_run_has_seen_is_refused_in_whatever_form(
    name: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, told = FORMS[name]
    source = make(home / "photos", tmp_path / name.replace(" ", "_"))
    said = refusal_of(capsys, "eval", "run", source)
    assert re.search(
        rf"{source.name}: {told}.*, so the error would come out too low; .*, or insist with --force$", said
    ), said


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("eval", "run/model.safetensors", "COPY", "--model", "resnet20_cifar", "--preprocessing", "0.5"),
        ("eval", "run", "COPY", "--split", "train"),
        ("eval", "run", "twin", "COPY"),
        ("eval", "run", "COPY", "--calibrate"),
        ("eval", "run", "twin", "COPY", "--select", "train"),
        ("analyze", "lesion", "run", "COPY"),
    ],
    ids=" ".join,
)
def test_every_verb_that_measures_refuses(
    words: tuple[str, ...], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = home / "twin"
    if "twin" in words and not twin.exists():
        trained(Path("photos"), twin, "--seed", "1")
    source = str(copy(home / "photos", tmp_path / "copy"))
    assert re.search(ALL, refusal_of(capsys, *(source if word == "COPY" else word for word in words)))


@pytest.mark.slow
def test_who_insists_is_told_in_text_page_and_file(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, page, answers = copy(home / "photos", tmp_path / "copy"), tmp_path / "page.html", tmp_path / "copy.npz"
    arguments = ["run", str(source), "--force", "--report", str(page), "--predictions", str(answers)]
    assert run(["eval", *arguments, "--device", "cpu"]) == 0
    assert re.search(rf"^note: .*copy: {ALL}$", capsys.readouterr().out, re.MULTILINE)
    assert re.search(ALL, page.read_text())
    assert run(["compare", str(answers), str(answers.rename(tmp_path / "b.npz")), "--force"]) in (0, 2)
    output = ["--output", str(tmp_path / "analysis"), "--device", "cpu"]
    assert run(["analyze", "lesion", "run", str(source), "--force", "--images", "4", *output]) == 0
    assert re.search(rf"note:\n  .*copy: {ALL}\n", capsys.readouterr().out)
    assert re.search(ALL, (tmp_path / "analysis" / "report.html").read_text())


@pytest.mark.medium
def test_new_images_and_copies_of_the_test_part_are_measured(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = result_of(capsys, "run", draw(tmp_path / "new", seed=2, each=4))
    assert (new["split"], new["num_images"], new["notes"]) == ("all images", 12, [])
    test = open_source(DataConfig(source=str(home / "photos"))).test
    assert test is not None
    for number in range(len(test)):
        place = tmp_path / "part" / test.classes[int(test.targets[number])]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(test.name(number), place)
    part = result_of(capsys, "run", tmp_path / "part")
    assert (part["num_images"], part["notes"]) == (9, [])
    assert part["confusion"] == json.loads(Path("run/test.json").read_text())["confusion"]


@pytest.mark.slow
def test_one_picture_in_two_parts_does_not_close_the_runs_own_test_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = draw(tmp_path / "photos")
    test = open_source(DataConfig(source=str(photos))).test
    train = open_source(DataConfig(source=str(photos))).train
    assert test is not None
    shutil.copyfile(train.name(0), test.name(0))
    folder = trained(photos, tmp_path / "run")
    (note,) = result_of(capsys, folder)["notes"]  # type: ignore[misc]
    assert note.startswith("1 of 9 images stands in train too (the same picture, or nearly): without it the error is ")
    (tmp_path / "apart" / "ant").mkdir(parents=True)
    shutil.copy(test.name(0), tmp_path / "apart" / "ant")
    assert result_of(capsys, folder, tmp_path / "apart")["notes"] == []


@pytest.mark.slow
@pytest.mark.parametrize("form", ["arrays.npz", "packed", "packed by an older version", "shard.tar", "table.csv"])
def test_a_run_on_another_form_knows_the_folder_too(
    form: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    makers = {"arrays.npz": pixels_of, "shard.tar": shard_of, "table.csv": table}
    source = makers.get(form, packed)(home / "photos", tmp_path / form.replace(" ", "_"))
    if form == "packed by an older version":
        forget_origins(source)
    if form == "table.csv":
        source.write_text(re.sub(",test$", ",train", source.read_text(), flags=re.MULTILINE))
    folder = trained(source, tmp_path / "run")
    assert result_of(capsys, folder, source)["num_images"] == 9
    assert re.search(ALL, refusal_of(capsys, "eval", folder, home / "photos"))
    assert re.search(ALL, refusal_of(capsys, "eval", folder, pixels_of(home / "photos", tmp_path / "pixels.npz")))


def forget_origins(pack: Path) -> None:
    with np.load(pack / "index.npz") as index:
        columns = {name: index[name] for name in index.files if name != "origin"}
    np.savez(pack / "index.npz", **columns)
    header = json.loads((pack / "pack.json").read_text())
    header["index_sha256"] = hashlib.sha256((pack / "index.npz").read_bytes()).hexdigest()
    (pack / "pack.json").write_text(json.dumps(header))


@pytest.mark.medium
@pytest.mark.parametrize("gone", [False, True])
def test_a_run_of_an_older_version_is_asked_by_its_images_as_they_lie(
    gone: bool, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, folder = copy(home / "photos", tmp_path / "photos"), copy(home / "run", tmp_path / "run")
    (folder / "digests.npz").unlink()
    plan = json.loads((folder / "run.json").read_text())
    plan["data"]["source"] = str(photos)
    (folder / "run.json").write_text(json.dumps(plan))
    (folder / "manifest.json").unlink()  # without it the folder is taken as it is
    assert result_of(capsys, folder, f"{photos}/")["notes"] == []
    twin = copy(photos, tmp_path / "twin")
    if gone:
        shutil.rmtree(photos)
        assert result_of(capsys, folder, twin)["notes"] == []  # all of them, moved
        next(twin.rglob("*.png")).unlink()  # others
        (note,) = result_of(capsys, folder, twin)["notes"]  # type: ignore[misc]
        assert re.search(r"which images the run was trained on is not known \(.*photos: this path does not exist", note)
    else:
        assert re.search(ALL, refusal_of(capsys, "eval", folder, twin))
        shutil.copy(photos / "ant" / "000.png", photos / "ant" / "new.png")
        said = refusal_of(capsys, "eval", folder)
        assert re.search(r"not known \(the images of .* are no longer those that the run began with\)", said)


@pytest.mark.medium
@pytest.mark.parametrize("change", ["many more", "another picture", "one less"])
def test_own_images_that_have_changed_are_said_to_have(
    change: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, folder = copy(home / "photos", tmp_path / "photos"), copy(home / "run", tmp_path / "run")
    plan = json.loads((folder / "run.json").read_text())
    plan["data"]["source"] = str(photos)
    (folder / "run.json").write_text(json.dumps(plan))
    (folder / "manifest.json").unlink()  # without it the folder is taken as it is
    test = open_source(DataConfig(source=str(photos))).test
    assert test is not None
    if change == "one less":  # one of val becomes test
        Path(test.name(0)).unlink()
        listed = refusal_of(capsys, "eval", folder).split(" measure on those that ")[1].split(" lists")[0]
        rows = [row for row in Path(listed).read_text().splitlines() if (folder / row.split(",")[0]).is_file()]
        Path(listed).write_text("path,label,split\n" + "\n".join(rows))
        found = result_of(capsys, folder, listed)
        assert (found["split"], found["num_images"], found["notes"]) == ("test", 8, [])
        return
    if change == "many more":  # shifts the cut: some of val become test
        draw(tmp_path / "more", seed=3, each=24)
        for path in (tmp_path / "more").glob("*/*.png"):
            shutil.copyfile(path, photos / path.parent.name / f"more{path.name}")
        assert re.search(r"images? were trained on|chose its epoch", refusal_of(capsys, "eval", folder))
        found = result_of(capsys, folder, "--force")
        assert len(found["notes"]) == 2  # type: ignore[arg-type]
    else:
        path = Path(test.name(0))
        shutil.copyfile(draw(tmp_path / "more", seed=3, each=1) / "ant" / "000.png", path)
        found = result_of(capsys, folder)
    assert found["notes"][0] == f"the images of {photos} are no longer those that the run began with"  # type: ignore[index]


@pytest.mark.slow
def test_what_the_first_weights_had_seen_is_said(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned = tmp_path / "tuned"
    plan = ["train", "photos", "--weights", "run", "-b", "16", "--device", "cpu", "--output", str(tuned)]
    short = ["train.epochs=none", "train.iterations=2", "train.precise_bn_batches=0", "train.compile=off"]
    assert run([*plan, *(part for edit in [*short, "data.split_seed=9"] for part in ("--set", edit))]) == 0
    told = r"\d of 9 images were trained on by the run that it began with"
    assert re.search(told, capsys.readouterr().out)
    assert re.search(told, json.loads((tuned / "test.json").read_text())["notes"][0])
    (note,) = result_of(capsys, tuned)["notes"]  # type: ignore[misc]
    assert re.search(told, note)
    table = (Path("run/split.csv").read_text()).splitlines()[1:]
    earlier = {Path("run", row.split(",")[0]).resolve() for row in table if not row.endswith("test")}
    own = [row for row in (tuned / "split.csv").read_text().splitlines()[1:] if row.endswith("test")]
    assert note.split()[1] == str(sum((tuned / row.split(",")[0]).resolve() in earlier for row in own))


@pytest.mark.slow
def test_images_that_moved_are_asked_for_and_found_from_anywhere(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(home / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    (home / "photos").rename(home / "moved")
    try:
        moved = (
            "photos: the images of the run in run are no longer there; say where they are now: deepres eval run SOURCE"
        )
        assert moved in refusal_of(capsys, "eval", "run")
        assert "or deepres train --resume run --set data.source=SOURCE" in refusal_of(
            capsys, "train", "--resume", "run"
        )
        assert result_of(capsys, "run", home / "moved")["num_images"] == 9  # as advised: its test split
        monkeypatch.chdir(home)
        steps = json.loads(Path("run/run.json").read_text())["train"]
        more = ["--set", f"train.epochs={steps['epochs'] + 1}"] if steps["epochs"] else []
        more = more or ["--set", f"train.iterations={steps['iterations'] + 1}"]
        monkeypatch.chdir(tmp_path)
        where = ["--set", f"data.source={home / 'moved'}"]
        assert run(["train", "--resume", "run", *more, *where, "--device", "cpu"]) == 0
    finally:
        (home / "moved").rename(home / "photos")
    shutil.rmtree("run")
    shutil.copytree(home / "run", "run")
    assert run(["train", "--resume", "run", *more, "--device", "cpu"]) == 0  # photos is a path of the folder before
    assert json.loads(Path("run/run.json").read_text())["data"]["source"] == "photos"
