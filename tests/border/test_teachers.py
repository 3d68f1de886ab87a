"""A teacher that cannot teach is refused in one line that says what it is, what was wanted, and what to do."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deepres.cli.main import run
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network

CLASSES = ("ant", "bee", "fly")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`own.npz`, images of three classes of 32 px; bare weights of ten classes and of three, and a folder with names."""
    home = tmp_path_factory.mktemp("home")
    x = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    np.savez(home / "own.npz", x=x, y=np.arange(60) % 3, classes=np.array(CLASSES))
    save_file(create_model("resnet20_cifar").state_dict(), str(home / "ten.safetensors"))
    three = create_model("resnet20_cifar", num_classes=3)
    save_file(three.state_dict(), str(home / "three.safetensors"))
    (home / "named").mkdir()
    save_network(home / "named", three, ("ant", "bee", "wasp"), {}, None)
    strangers = {"criterion.weight": torch.ones(2), "criterion.bias": torch.ones(2)}
    save_file({**three.state_dict(), **strangers}, str(home / "more.safetensors"))
    (home / "text.pt").write_text("no weights")
    return home


BARE = ("--variant", "resnet20_cifar", "--preprocessing", "imagenet")
REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing there": (("nowhere",), "teacher weights nowhere: no such file or folder, and no name of weights"),
    "no weights": (("text.pt",), r"teacher text\.pt: "),
    "which network": (("three.safetensors",), "name it with --set teacher.variant=NET"),
    "no mean": (
        ("three.safetensors", "--variant", "resnet20_cifar"),
        "does not say how its images were normalised.*--set teacher.mean=R,G,B --set teacher.std=R,G,B",
    ),
    "as many classes": (
        ("ten.safetensors", *BARE),
        "teacher ten.safetensors: 10 classes without names, the images have 3; wanted a teacher whose classes have "
        "names, or as many",
    ),
    "mean in 0 to 255": (
        ("three.safetensors", *BARE[:2], "--set", "teacher.mean=124,116,104", "--set", "teacher.std=58,57,57"),
        "are of pixels from 0 to 255, wanted 0 to 1; divide by 255: --set teacher.mean=0.4863,.* --set teacher.std=0.22",
    ),
    "torchvision's of which network": (
        ("IMAGENET1K_V2",),
        "teacher weights IMAGENET1K_V2: of which network[?] such as ResNet50_Weights.IMAGENET1K_V2",
    ),
    "what is no network's": (
        ("more.safetensors", *BARE),
        "teacher more.safetensors.*leave them out with --ignore 'criterion.*'",
    ),
    "other classes": (
        ("named", "--preprocessing", "imagenet"),
        r"teacher named: does not know 1 class of the images \(fly; it knows ant, bee, wasp\); train it on them first: "
        "deepres train SOURCE --weights named",
    ),
    "twice": (
        ("three.safetensors", *BARE, "--teacher", "./three.safetensors"),
        r"teacher \./three.safetensors: the same as three.safetensors, whose answers would count twice; name it once",
    ),
    "none": (("three.safetensors", *BARE, "--set", "teacher.weights="), "--set teacher.weights: tuple should have at"),
    "too small": (
        ("three.safetensors", *BARE, "--set", "teacher.size=0"),
        "--set teacher.size: input should be greater than or equal to 1, given '0'",
    ),
    "temperature": (
        ("three.safetensors", *BARE, "--set", "teacher.temperature=0"),
        "--set teacher.temperature: input should be greater than 0, given '0'",
    ),
    "weight": (
        ("three.safetensors", *BARE, "--set", "teacher.weight=1.5"),
        "--set teacher.weight: input should be less than or equal to 1, given '1.5'",
    ),
    "field": (
        ("three.safetensors", *BARE, "--set", "teacher.temprature=2"),
        r"--set 'teacher.temprature': unknown; did you mean teacher.temperature\?",
    ),
}


def _refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    code = run(["train", "own.npz", "--model", "resnet20_cifar", "--device", "cpu", "--output", "run", *arguments])
    said = capsys.readouterr()
    assert (code, said.err.count("\n"), said.out) == (2, 1, ""), said.err
    assert not Path("run").exists()
    return said.err


@pytest.mark.medium
@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(
    name: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    arguments, message = REFUSED[name]
    said = _refusal(capsys, "--teacher", *arguments)
    assert re.search(message, said), said
    assert "--variant" not in said
    assert "--model" not in said


@pytest.mark.medium
def test_what_is_set_of_no_teacher_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    said = _refusal(capsys, "--set", "teacher.temperature=2")
    assert "--set teacher.temperature: there is no teacher here, so no temperature of it can be set" in said
    said = _refusal(capsys, "--mean", "0.5", "--std", "0.5")
    assert "they describe trained weights; add --weights W" in said
    assert run(["train", "--resume", "run", "--teacher", "x"]) == 2
    assert "--teacher x with --resume: a run keeps what it began with; leave --teacher out" in capsys.readouterr().err


@pytest.mark.medium
def test_what_is_said_of_bare_weights_is_the_teachers_unless_the_run_begins_with_some(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    plan = ["train", "own.npz", "--device", "cpu", "--dry-run"]
    capsys.readouterr()
    assert run([*plan, "--teacher", "three.safetensors", *BARE]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone["variant"] is None
    assert (alone["teacher"]["variant"], alone["teacher"]["mean"]) == ("resnet20_cifar", [0.485, 0.456, 0.406])
    assert alone["teacher"]["weights"] == [str(home / "three.safetensors")]
    own = [f"teacher.{name}" for name in ("variant=resnet20_cifar", "mean=0.5,0.5,0.5", "std=0.5,0.5,0.5")]
    both = ["--weights", "three.safetensors", *BARE, "--teacher", "three.safetensors"]
    assert run([*plan, *both, *(part for edit in own for part in ("--set", edit))]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["variant"], found["weights_mean"]) == ("resnet20_cifar", [0.485, 0.456, 0.406])
    assert found["teacher"]["mean"] == [0.5, 0.5, 0.5]
    assert found["teacher"]["digests"] != alone["teacher"]["digests"]  # of all that decides the answers


@pytest.mark.medium
def test_tensors_are_left_out_of_a_teachers_file(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    plan = ["train", "own.npz", "--device", "cpu", "--dry-run", "--teacher", "more.safetensors", *BARE]
    capsys.readouterr()
    assert run([*plan, "--ignore", "criterion.*"]) == 0
    written = json.loads(capsys.readouterr().out)["teacher"]["weights"]
    assert written == [f"{home / 'more.safetensors'}::-criterion.*"]


@pytest.mark.medium
def test_what_a_teacher_takes_counts_in_what_a_step_takes() -> None:
    from deepres.arch.catalogue.lookup import architecture
    from deepres.arch.readings.memory import answer_memory, step_memory
    from deepres.base.errors import InputError
    from deepres.nn.memory import require_fits

    student, teacher = architecture("resnet20_cifar"), architecture("resnet56_cifar")
    room = int(step_memory(student, 64).total * 1.2)
    assert not require_fits(student, 64, room, "keep").segments
    beside = answer_memory(teacher, 64)
    with pytest.raises(
        InputError,
        match=r"take about 97 MiB with --memory keep, the teacher \d+ MiB, 116 MiB are free; use --memory save or",
    ):
        require_fits(student, 64, room, "keep", beside=beside)
    assert answer_memory(teacher, 64) < step_memory(teacher, 64).total
    largest = 64 * 16 * 32 * 32 * 4
    parameters = 4 * sum(p.numel() for p in create_model("resnet56_cifar").state_dict().values() if p.dim())
    assert parameters + 2 * largest <= beside <= parameters + 4 * largest
