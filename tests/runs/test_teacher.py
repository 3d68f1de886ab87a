"""Learning from a teacher: it sees what the student sees, answers for the student's classes, and changes nothing else."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepres.arch.families.resnet import ResNetConfig
from deepres.base.files import digest
from deepres.cli.main import run as deepres
from deepres.data.images import ArrayImages, Batch
from deepres.data.loading.config import TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.statistics import measure_statistics
from deepres.nn.create import create_model
from deepres.nn.inference import for_inference
from deepres.runs.teaching import Teacher, Teachers
from deepres.train.config import TeacherConfig
from deepres.train.precision import choose

CPU = torch.device("cpu")
FLOAT = choose("float32", CPU)
CLASSES = ("ant", "bee", "fly")
TINY = ("model.depths=1,1,1", "model.widths=4,6,8", "model.stem_width=4")
PLAN = ("train.epochs=none", "train.iterations=4", "train.precise_bn_batches=0", "train.compile=off")


def _set(file: Path, *, side: int = 16, channels: int = 3, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> Path:
    noise, each = np.random.default_rng(seed), 20
    x = noise.integers(0, 256, (each * len(classes), side, side, channels), dtype=np.uint8)
    np.savez(file, x=x, y=np.arange(len(x)) % len(classes), classes=np.array(classes))
    return file


def train(source: Path, folder: Path, *arguments: str, expect: int = 0) -> Path:
    edits = [part for edit in (*TINY, *PLAN) for part in ("--set", edit)]
    plan = ["train", str(source), "--recipe", "small", "--model", "resnet20_cifar", "-b", "8", "--no-scale-lr"]
    plan += ["--device", "cpu"]
    assert deepres([*plan, *edits, "--output", str(folder), *arguments]) == expect
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`own.npz` and `plain`, a run on it; `large`, a run on others of 24 px, with more classes in another order."""
    home = tmp_path_factory.mktemp("home")
    train(_set(home / "own.npz"), home / "plain")
    train(_set(home / "large.npz", side=24, classes=("fly", "cow", "bee", "ant"), seed=1), home / "large")
    return home


@pytest.fixture(scope="module")
def grey(home: Path) -> None:
    """`grey`, a run on grey images, with the classes in another order."""
    train(_set(home / "grey.npz", channels=1, classes=("bee", "fly", "ant"), seed=2), home / "grey", "--seed", "3")


def teacher(
    network_seed: int = 0, *, columns: torch.Tensor | None = None, side: int = 16, alike: bool = True
) -> Teacher:
    config = ResNetConfig(name="tiny", unit="basic", depths=(1, 1), widths=(8, 16), num_classes=4, input=(3, 16, 16))
    network = create_model(config.architecture(), seed=network_seed).eval()
    ready = for_inference(network, CPU, precision="float32", compiled="no", close_calls=False)
    statistics = replace(measure_statistics(IMAGES, PREPARATION), mean=torch.full((3,), 0.4), std=torch.full((3,), 0.3))
    return Teacher("tiny", ready, columns, Preparation(), statistics, side, alike, ())


IMAGES = ArrayImages(
    torch.randint(256, (60, 3, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8),
    torch.arange(60) % 4,
    ("a", "b", "c", "d"),
    "noise",
)
PREPARATION = Preparation(normalise="per_pixel")
AUGMENTATIONS = {
    "shift and flip": Augmentation(crop="pad", pad=3, flip=0.5),
    "erased": Augmentation(erase=0.9),
    "mixed": Augmentation(mixup=1.0, cutmix=1.0, flip=0.5),
    "colour": Augmentation(colour_pca=0.1, flip=0.5),
    "one by one": Augmentation(jitter=0.3, crop="pad", pad=2),
}


@pytest.mark.parametrize("normalise", ["per_channel", "per_pixel", "none"])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_pixels_are_the_very_view_before_normalisation(name: str, normalise: Any) -> None:
    """Per channel: x std + mean. Per pixel: a mean image of one colour gives the same."""
    augmentation, preparation = AUGMENTATIONS[name], Preparation(normalise=normalise)
    statistics = measure_statistics(IMAGES, PREPARATION)
    flat = replace(statistics, mean_image=statistics.mean[:, None, None].expand(3, 16, 16).clone())
    views = []
    for rank in range(2):
        both = [
            TrainLoader(
                IMAGES,
                augmentation,
                preparation,
                flat,
                TrainLoaderConfig(batch_size=12, seed=5, rank=rank, world_size=2, with_pixels=wanted),
            )
            for wanted in (False, True)
        ]
        for plain, batch in zip(*(loader.batches(0, 3) for loader in both), strict=True):
            assert torch.equal(plain.images, batch.images)  # the student's view is as ever
            assert plain.pixels is None
            assert batch.pixels is not None
            scale, mean = {
                "per_channel": (statistics.std[:, None, None], statistics.mean[:, None, None]),
                "per_pixel": (torch.ones(1), statistics.mean[:, None, None]),
                "none": (torch.ones(1), torch.zeros(1)),
            }[normalise]
            torch.testing.assert_close(batch.pixels, batch.images * scale + mean, rtol=1e-5, atol=2e-6)
            part = batch.at(torch.tensor([3, 1]))
            assert part.pixels is not None
            assert torch.equal(part.pixels, batch.pixels[[3, 1]])
            views.append(batch.pixels)
    assert len(views) == 6


def test_a_mean_image_is_taken_off_before_shifts_and_put_back_before_them() -> None:
    """With a mean image of many colours, what is shown is still the picture: shifted pixels, not differences."""
    statistics = measure_statistics(IMAGES, PREPARATION)
    loader = TrainLoader(
        IMAGES,
        Augmentation(flip=1.0),
        PREPARATION,
        statistics,
        TrainLoaderConfig(batch_size=12, seed=5, with_pixels=True),
    )
    batch = next(loader.batches(0, 1))
    assert batch.pixels is not None
    torch.testing.assert_close(batch.pixels, IMAGES.pixels[batch.indices].flip(-1) / 255, rtol=0, atol=1e-6)


@pytest.mark.medium
def test_a_teacher_of_the_same_preparation_gets_the_very_batch_another_its_own() -> None:
    images = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    pixels = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    batch = Batch(images, torch.arange(5), torch.arange(5), pixels)
    alike, other = teacher(), teacher(alike=False)
    network = alike.network.network
    for one, shown in ((alike, images), (other, (pixels - 0.4) / 0.3)):
        found = Teachers(TeacherConfig(weights=("x",)), [one]).answers(batch, 4.0)
        torch.testing.assert_close(found, (network(shown) / 4).softmax(1), rtol=1e-4, atol=1e-5)
        assert not found.requires_grad
        assert not found.is_inference()


def test_another_size_is_resized_with_antialiasing_and_grey_becomes_rgb() -> None:
    pixels = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    one = teacher(alike=False)
    found = Teachers(TeacherConfig(weights=("x",)), [one])(pixels)
    assert torch.equal(pixels, torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(1)))
    rgb = (pixels.expand(3, 3, 32, 32) - 0.4) / 0.3
    resized = torch.nn.functional.interpolate(rgb, (16, 16), mode="bilinear", antialias=True)
    torch.testing.assert_close(found, one.network.network(resized).log_softmax(1), rtol=1e-4, atol=1e-4)


@pytest.mark.medium
def test_columns_are_the_students_classes_and_several_teachers_average_probabilities() -> None:
    pixels = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    some = torch.tensor([2, 0, 3])
    members = [teacher(seed, columns=some, alike=False) for seed in (0, 1)]
    found = Teachers(TeacherConfig(weights=("x", "y")), members)(pixels).exp()
    each = [one.network.network(one.of_pixels(pixels))[:, some].softmax(1) for one in members]
    torch.testing.assert_close(found, (each[0] + each[1]) / 2, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.sum(1), torch.ones(3))


@pytest.mark.medium
def test_without_weight_a_run_is_bitwise_the_one_without_a_teacher(home: Path, tmp_path: Path) -> None:
    found = train(home / "own.npz", tmp_path / "run", "--teacher", str(home / "large"), "--set", "teacher.weight=0")
    assert digest(found / "model.safetensors") == digest(home / "plain" / "model.safetensors")


CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "own": (("plain",), ("teacher: resnet20_cifar from ", "error ", "held-out images, as the student is shown them")),
    "others, larger": (
        ("large",),
        ("3 of its 4 classes, matched by name", "enlarged from 16 to 24 px", "with its own mean and std"),
    ),
    "grey, other order": (("grey",), ("its classes in another order, matched by name",)),
    "two at once": (
        ("plain", "large"),
        (
            "teachers, whose probabilities are averaged: resnet20_cifar from ",
            "; resnet20_cifar from ",
            "3 of its 4 classes, matched by name",
            "the teacher errs like one that guesses (66.7 %)",
        ),
    ),
}


@pytest.mark.parametrize(
    "name", [name if name == "two at once" else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
@pytest.mark.medium
def test_who_teaches_is_said_and_kept(
    name: str,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    names, words = CASES[name]
    if "grey" in names:
        request.getfixturevalue("grey")
    monkeypatch.chdir(home)
    asked = [part for one in names for part in ("--teacher", one)]
    folder = train(Path("own.npz"), tmp_path / "run", *asked, "--set", "teacher.temperature=2")
    said = capsys.readouterr().err
    for each in (*words, "loss: 0.1 x cross-entropy + 0.9 x 2² x divergence from the teacher at temperature 2 (its"):
        assert each in said, said
    assert ("with its own mean and std" in said) == (name != "own")  # who normalises alike gets the very batch
    written = json.loads((folder / "run.json").read_text())["teacher"]
    assert written["weights"] == [str(home / one) for one in names]
    assert (written["temperature"], len(written["digests"])) == (2.0, len(names))
    assert digest(folder / "model.safetensors") != digest(home / "plain" / "model.safetensors")
    assert json.loads((folder / "summary.json").read_text())["teacher"]["digests"] == written["digests"]
    report = (folder / "report.html").read_text()
    assert "x divergence from the teacher at temperature 2" in report
    assert "taught by" in report
    assert "resnet20_cifar from " in report


def _interrupted(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Path:
    """A run that dies after its second step, as by kill -9: nothing but what was saved is left."""
    import deepres.runs.train as execute

    class Killed(BaseException):
        pass

    saved: Callable[..., Any] = execute.save_state

    def once(state: Any, states: Path) -> None:
        saved(state, states)
        if state.progress.step == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(execute, "save_state", once)
        with pytest.raises(Killed):
            train(home / "own.npz", folder, *arguments, "--set", "train.save_every_seconds=0.0001")
    assert not (folder / "model.safetensors").exists()
    return folder


@pytest.mark.slow
def test_a_taught_run_resumes_to_the_bit_where_its_teacher_is_or_was_moved_to(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(home / "large", tmp_path / "teacher")
    taught = ("--teacher", str(tmp_path / "teacher"), "--set", "train.accumulate=2")
    through = train(home / "own.npz", tmp_path / "through", *taught)
    folder = _interrupted(home, tmp_path / "run", monkeypatch, *taught)
    (tmp_path / "teacher").rename(tmp_path / "moved")
    capsys.readouterr()
    resume = ["train", "--resume", str(folder), "--device", "cpu"]
    assert deepres(resume) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"teacher {tmp_path / 'teacher'}: no longer there; bring it back, or say where it is" in said
    assert deepres([*resume, "--set", f"teacher.weights={home / 'plain'}"]) == 2
    assert "are not those that the run was planned with" in capsys.readouterr().err
    assert deepres([*resume, "--set", "teacher.temperature=3"]) == 2
    assert "--resume: a run keeps what it began with" in capsys.readouterr().err
    assert deepres([*resume, "--set", f"teacher.weights={tmp_path / 'moved'}"]) == 0
    assert digest(folder / "model.safetensors") == digest(through / "model.safetensors")
    shutil.rmtree(tmp_path / "moved")
    assert deepres(["eval", str(folder), "--device", "cpu"]) == 0  # who has learnt needs no teacher


@pytest.mark.slow
def test_a_teacher_that_was_trained_on_test_images_is_told_of(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = train(home / "own.npz", tmp_path / "run", "--teacher", str(home / "plain"))
    assert "so the error may flatter" not in capsys.readouterr().err  # the same split: the test images are its own
    assert json.loads((own / "test.json").read_text())["notes"] == []
    other = ("--set", "data.split_seed=7", "--teacher", str(home / "plain"))
    folder = train(home / "own.npz", tmp_path / "other", *other)
    said = capsys.readouterr().err
    assert "of the test images: " in said
    assert "were trained on" in said
    assert "so the error may flatter" in said
    assert any("of the test images: " in note for note in json.loads((folder / "test.json").read_text())["notes"])


@pytest.mark.parametrize(("taught", "mixup", "doubted"), [(0.38, 0.0, True), (0.2, 0.0, False), (0.38, 0.4, False)])
def test_a_teacher_that_does_not_know_such_crops_is_doubted(
    taught: float, mixup: float, doubted: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from deepres.runs import introduce
    from deepres.runs.context import RunContext

    monkeypatch.setattr(introduce, "_error", lambda *given: 0.09)
    monkeypatch.setattr(introduce, "_error_on_views", lambda *given: (taught, 128))
    monkeypatch.setattr(introduce, "_share", lambda *given: 0.25)
    source: Any = type("Source", (), {"val": IMAGES, "train": IMAGES, "classes": IMAGES.classes, "splits": dict})()
    run: Any = type("Run", (), {"augmentation": Augmentation(mixup=mixup)})
    one = Teachers(TeacherConfig(weights=("x",)), [teacher()])
    context = RunContext(run, source, tmp_path, measure_statistics(IMAGES, PREPARATION), FLOAT, teachers=one)
    found = introduce.introduced(context, create_model("resnet20_cifar"), lambda event: None)
    assert found is not None
    assert (
        f"error 9.0 % on 60 held-out images, as the student is shown them, {100 * taught:.1f} % on 128 views"
        in (found.lines()[0])
    )
    assert ("the teacher hardly knows images that are augmented so: take one" in found.lines()[-1]) == doubted
    assert introduce.introduced(context, create_model("resnet20_cifar"), print).known == found.known  # kept


@pytest.mark.slow
def test_what_a_teacher_was_trained_on_is_no_test_of_who_learnt_of_it(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(home / "own.npz") as own:
        np.savez(tmp_path / "half.npz", x=own["x"][:30], y=own["y"][:30], classes=own["classes"])
        np.savez(tmp_path / "rest.npz", x=own["x"][30:], y=own["y"][30:], classes=own["classes"])
    folder = train(tmp_path / "half.npz", tmp_path / "run", "--teacher", str(home / "plain"))
    asked = ["eval", str(folder), str(tmp_path / "rest.npz"), "--device", "cpu", "--json"]
    capsys.readouterr()
    assert deepres(asked) == 2
    said = capsys.readouterr().err
    assert "of 30 images were trained on by its teacher, so the error would come out too low" in said, said
    assert deepres([*asked, "--force"]) == 0
    assert "were trained on by its teacher" in json.loads(capsys.readouterr().out)["notes"][0]


@pytest.mark.medium
def test_what_process_0_sends_the_others_answers_alike(home: Path, tmp_path: Path) -> None:
    from deepres.data.sources.config import DataConfig
    from deepres.data.sources.open import open_source
    from deepres.recipes.run import Run
    from deepres.runs.teacher import find_teachers

    run = Run.model_validate(json.loads((home / "plain" / "run.json").read_text()))
    run = run.replace(teacher=TeacherConfig(weights=(str(home / "large"), str(home / "plain"))))
    found = find_teachers(run, open_source(DataConfig(source=str(home / "own.npz"))).classes)
    assert found is not None
    import pickle

    sent = pickle.loads(pickle.dumps(found))  # as process 0 sends it to the others
    statistics = measure_statistics(IMAGES, PREPARATION)
    batch = Batch(torch.rand(4, 3, 16, 16), torch.zeros(4), torch.arange(4), torch.rand(4, 3, 16, 16))
    answers = [
        each.ready(run, CLASSES, statistics, choose("float32", CPU)).answers(batch, 2.0) for each in (found, sent)
    ]
    assert torch.equal(*answers)
    assert found.memory(8, 4) > found.memory(4, 4) > 0
