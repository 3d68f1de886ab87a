"""`deepres data show`: the sheet holds what training feeds the network, to the bit, whatever the source."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from deepres.cli.main import run
from deepres.cli.train import planned
from deepres.data.images import Batch
from deepres.data.loading.loader import TrainLoader
from deepres.data.transforms.config import Augmentation, Preparation, in_words
from deepres.data.transforms.per_batch import as_seen, normalise
from deepres.data.transforms.per_image import fit
from deepres.data.transforms.statistics import measure_statistics
from deepres.runs import sheet
from deepres.runs.plan import Planned
from deepres.runs.sheet import Sheet, drawn, kept_part, planned_setting

TINY = ["--model", "resnet20_cifar", "--set", "model.depths=1,1,1", "--set", "model.widths=16,16,16"]
SMALL = ["--set", "preparation.fit=crop", "--set", "preparation.resize=24", "--set", "preparation.crop=20"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/: grey, 16-bit, half transparent and turned pictures of many sizes; arrays.npz; what is made of photos."""
    home = tmp_path_factory.mktemp("home")
    draw = np.random.default_rng(0)
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    for name in ("cat", "<b>dog</b>".replace("/", ""), "emü"):
        (home / "photos" / name).mkdir(parents=True)
        for number in range(8):
            size = [(40, 30), (30, 44), (50, 25), (28, 28)][number % 4]
            picture = Image.fromarray(draw.integers(0, 255, (5, 5, 3), dtype=np.uint8)).resize(size)
            path = home / "photos" / name / f"{number}, a.png"
            if number == 1:
                picture = picture.convert("L")
            if number == 2:
                picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
            if number == 3:
                picture.putalpha(99)
            picture.save(path, exif=turned if number == 4 else Image.Exif())
    x = draw.integers(0, 255, (90, 16, 16, 3), dtype=np.uint8)
    np.savez(home / "arrays.npz", x=x, y=np.arange(90) % 3)
    assert run(["data", "split", str(home / "photos"), "--output", str(home / "list.csv")]) == 0
    assert run(["data", "pack", str(home / "photos"), str(home / "packed"), "--size", "32"]) == 0
    return home


def sheet_of(home: Path, source: str, *flags: str, batches: int = 1) -> Sheet:
    """What the command makes of these flags."""
    from deepres.cli import show

    context = show.command.make_context("show", [str(home / source) if source != "digits" else source, *flags])
    given = {name: value for name, value in context.params.items() if name not in ("preprocessing", "ignore")}
    return drawn(planned_setting(planned(given)), batches)


RUNS = {
    "photos": ("photos", [*SMALL, "--recipe", "photos", "--batch-size", "6", "--seed", "3"]),
    "mixed": ("photos", [*SMALL, "--recipe", "photos", "--batch-size", "6", "--set", "augmentation.mixup=0.4"]),
    "cutmix of arrays": ("arrays.npz", ["--batch-size", "8", "--set", "augmentation.cutmix=1"]),
    "per pixel": ("arrays.npz", ["--recipe", "cifar_2015", "--batch-size", "8", "--set", "augmentation.erase=1"]),
    "automatic": ("arrays.npz", ["--batch-size", "8", "--set", "augmentation.auto=trivial"]),
    "list": ("list.csv", [*SMALL, "--recipe", "photos", "--batch-size", "6"]),
    "packed": ("packed", [*SMALL, "--recipe", "photos", "--batch-size", "6"]),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "mixed" else pytest.mark.slow) for name in RUNS]
)
@pytest.mark.medium
def test_the_first_batch_is_what_training_feeds_to_the_bit(
    name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, flags = RUNS[name]
    shown = sheet_of(home, source, *flags, *TINY, "--set", "train.iterations=1", "--set", "train.epochs=none")
    fed: list[Batch] = []
    batches = TrainLoader.batches

    def watched(self: TrainLoader, start: int, stop: int) -> Iterator[Batch]:
        for batch in batches(self, start, stop):
            fed.append(Batch(batch.images.clone(), batch.targets.clone(), batch.indices))
            yield batch

    monkeypatch.setattr(TrainLoader, "batches", watched)
    once = ["--set", "train.iterations=1", "--set", "train.epochs=none", "--set", "train.precise_bn_batches=0"]
    output = str(tmp_path / "run")
    assert run(["train", str(home / source), *flags, *TINY, *once, "--output", output, "--device", "cpu"]) == 0
    assert torch.equal(shown.batches[0].images, fed[0].images)
    assert torch.equal(shown.batches[0].targets, fed[0].targets)
    assert shown.batches[0].indices.tolist() == fed[0].indices.tolist()
    later = drawn(sheet.setting_of(tmp_path / "run"))
    assert torch.equal(later.batches[0].images, fed[0].images)


@pytest.mark.parametrize("name", ["photos", "mixed", "cutmix of arrays", "automatic"])
@pytest.mark.medium
def test_each_draw_of_an_image_is_the_one_of_its_batch(name: str, home: Path) -> None:
    source, flags = RUNS[name]
    shown = sheet_of(home, source, *flags)
    images = shown.source.train
    loader = planned_setting(Planned(shown.run, shown.source)).loader()
    assert len({row.label for row in shown.rows}) == sum(count > 0 for count in shown.counts)
    for row in shown.rows[:2]:
        assert len(row.draws) == sheet.DRAWS
        for draw in row.draws[::3]:
            batch = next(loader.batches(draw.step, draw.step + 1))
            place = [images.name(index) for index in batch.indices.tolist()].index(row.name)
            expected = as_seen(batch.images, shown.run.preparation, shown.statistics)[place]
            assert torch.equal(draw.seen, expected)
        assert [draw.epoch for draw in row.draws] == list(range(1, sheet.DRAWS + 1))


@pytest.mark.parametrize("kind", ["per_channel", "per_pixel", "none"])
def test_what_normalisation_did_is_undone(kind: Any) -> None:
    images = planned_setting(planned({**dict.fromkeys(FLAGS), "edits": (), "smoke": True})).source.train
    preparation = Preparation(channels=1, normalise=kind)
    statistics = measure_statistics(images, preparation)
    pixels = torch.stack([images.image(index) for index in range(8)])
    assert torch.equal(as_seen(normalise(pixels, preparation, statistics), preparation, statistics), pixels)


FLAGS = ("source", "recipe", "model", "weights", "variant", "mean", "std", "epochs", "batch_size", "lr", "seed")


@pytest.mark.parametrize(("width", "height", "resize", "crop"), [(40, 20, 20, 16), (20, 50, 20, 20), (24, 24, 24, 8)])
def test_the_frame_is_what_evaluation_keeps(width: int, height: int, resize: int, crop: int) -> None:
    pixels = torch.randint(256, (3, height, width), dtype=torch.uint8)
    preparation = Preparation(fit="crop", resize=resize, crop=crop)
    left, top, wide, high = (round(each) for each in kept_part(width, height, preparation))
    assert torch.equal(pixels[:, top : top + high, left : left + wide], fit(pixels, preparation))
    for whole in (Preparation(), Preparation(fit="squash", crop=16), Preparation(fit="pad", crop=16)):
        assert kept_part(width, height, whole) == (0, 0, width, height)


@pytest.mark.parametrize(
    ("augmentation", "words"),
    [
        (Augmentation(), "nothing is done to an image"),
        (Augmentation(crop="pad", pad=4, flip=0.5), "shifted by up to 4 px, mirrored in 50 %"),
        (Augmentation(crop="random_resized", mixup=0.2), "random parts of 8 to 100 % of the image, mixup 0.2"),
        (Augmentation(crop="short_side", auto="rand"), "short side 256 to 480 px, a random part of it, RandAugment"),
    ],
)
def test_augmentation_is_told_in_words(augmentation: Augmentation, words: str) -> None:
    assert in_words(augmentation) == words


@pytest.mark.medium
def test_mixed_labels_are_told_by_their_shares(home: Path) -> None:
    shown = sheet_of(home, *_joined("mixed"))
    told = [tile.label for tile in shown.tiles[0]]
    assert any(re.fullmatch(r"0\.\d\d \S+ \+ 0\.\d\d \S+", label) for label in told)
    assert sum(shown.counts) == 6


def _joined(name: str) -> tuple[str, ...]:
    source, flags = RUNS[name]
    return source, *flags


@pytest.mark.medium
@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_the_sheet_is_one_file_that_needs_nothing_else(
    suffix: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, again = tmp_path / f"sheet{suffix}", tmp_path / f"again{suffix}"
    flags = [*RUNS["photos"][1], "--batches", "2"]
    for path in (output, again):
        assert run(["data", "show", str(home / "photos"), *flags, "--output", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"sheet: {output}" in said
    assert re.search(r"in 2 batches: \d to \d images of each of 3 classes|in 2 batches: 4 images of each", said)
    assert output.read_bytes() == again.read_bytes()
    if suffix == ".png":
        with Image.open(output) as picture:
            assert picture.width > 900
    else:
        page = output.read_text(encoding="utf-8")
        assert "&lt;b&gt;dog" in page
        assert "<b><b>dog" not in page
        assert not re.search(r'(src|href)="(?!data:)', page)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["photos", "--output", "x.pdf"], "--output x.pdf: a sheet is a page or a picture"),
        (["nowhere"], "nowhere: this path does not exist"),
        (["photos", "--recipe", "photo"], "recipe 'photo': unknown; did you mean photos"),
        (["photos", "--set", "augmentation.crop=short_side", "--set", "augmentation.scale=8,9"], "augmentation.scale"),
        (["photos", "--mean", "0.5", "--std", "0.5"], "add --weights W"),
        (["run", "--recipe", "photos"], "--recipe photos with the run .*run: it is shown as it was; leave it out"),
        (["run", "--seed", "0"], "--seed 0 with the run"),
        (["run", "--set", "seed=3"], "--set seed=3 with the run"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    arguments: list[str], said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "run").mkdir(exist_ok=True)
    (home / "run" / "run.json").write_text("{}")
    capsys.readouterr()
    assert run(["data", "show", str(home / arguments[0]), *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(said, error)


@pytest.mark.medium
def test_unreadable_images_stop_it_or_are_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6):
            Image.effect_noise((20, 20), 90).save(tmp_path / "set" / name / f"{number}.png")
    (tmp_path / "set" / "a" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    flags = [
        "data",
        "show",
        "set",
        "--set",
        "data.val_fraction=0",
        "--set",
        "data.test_fraction=0",
        "--batch-size",
        "12",
    ]
    assert run(flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "3.png" in error
    assert run([*flags, "--on-bad-image", "skip"]) == 0
    said = capsys.readouterr()
    assert "left out: set/a/3.png: " in said.err
    assert "5 to 6 images of each of 2 classes" in said.out
