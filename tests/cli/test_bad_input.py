"""What a person can get wrong, through the command line: one line, exit code 2, nothing lost, nothing left behind."""

import errno
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepres.cli.main import run

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Run the command line in an empty folder; it must say one line that matches, exit with 2 and write no run."""
    monkeypatch.chdir(tmp_path)

    def check(*arguments: object, match: str, run_is_kept: bool = False) -> str:
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr().err
        last = said.splitlines()[-1]
        assert code == 2, said
        assert last.startswith("deepres: "), said
        assert re.search(match, last), said
        assert "Traceback" not in said
        assert run_is_kept or not (tmp_path / "runs").exists()
        return said

    return check


def _photos(folder: Path, counts: dict[str, int]) -> Path:
    draw = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(draw.integers(0, 255, (36, 44, 3), dtype=np.uint8)).save(folder / name / f"{number}.jpg")
    return folder


def test_a_folder_without_images(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused("train", tmp_path / "empty", match=r"empty: .*(no image|images)")


def test_a_folder_of_one_class(refused: Refused, tmp_path: Path) -> None:
    refused("train", _photos(tmp_path / "p", {"cat": 9}), match="one class")


def test_a_class_of_one_image(refused: Refused, tmp_path: Path) -> None:
    refused("train", _photos(tmp_path / "p", {"cat": 9, "dog": 1}), match="dog")


def test_a_path_that_is_not_there(refused: Refused, tmp_path: Path) -> None:
    _photos(tmp_path / "pets", {"cat": 1})
    refused("train", tmp_path / "pest", match="does not exist; did you mean .*pets")


@pytest.mark.medium
def test_a_misspelt_source_recipe_model_and_key(refused: Refused) -> None:
    refused("train", "digit", match=r"source 'digit': unknown; did you mean digits, digit-scenes\?")
    refused("train", "--recipe", "cifar2015", match=r"recipe 'cifar2015': unknown; did you mean cifar_2015")
    refused("train", "--model", "resnet20", match=r"model 'resnet20': unknown; did you mean .*resnet20_cifar")
    refused("train", "--set", "train.epoch=3", match=r"--set 'train.epoch': unknown; did you mean train.epochs\?")
    refused("train", "--set", "modl.shortcut=B", match=r"--set 'modl': unknown; did you mean model\?")
    refused("train", "--set", "model.shortcut=D", match=r"model.shortcut: input should be 'none', 'A', 'B' or 'C'")
    refused("train", "--set", "model.depths=3,3", match=r"depths \(3, 3\) and widths \(16, 32, 64\)")
    refused("train", "--lr", "-1", match="train.schedule.lr: input should be greater than 0")


def test_a_shortcut_that_cannot_be(refused: Refused) -> None:
    refused(
        "train",
        "--set",
        "model.widths=64,32,16",
        match=r"stage2\.unit1\.shortcut: an option-A shortcut cannot go from 64 to 32",
    )


@pytest.mark.parametrize("bad", ["truncated.jpg", "text.jpg", "empty.jpg", "bomb.png"])
@pytest.mark.long
def test_a_broken_image_is_named_or_skipped_and_listed(
    bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _photos(tmp_path / "p", {"cat": 12, "dog": 12})
    content = {
        "truncated.jpg": lambda: (folder / "cat" / "0.jpg").read_bytes()[:700],
        "text.jpg": lambda: b"a picture of a cat",
        "empty.jpg": lambda: b"",
        "bomb.png": _bomb,
    }[bad]()
    (folder / "cat" / bad).write_bytes(content)
    (folder / "dog" / bad).write_bytes(content)
    assert run(["train", str(folder), "--smoke", "--output", str(tmp_path / "stopped")]) == 2
    said = capsys.readouterr().err
    assert "deepres: 2 of 26 images cannot be read (" in said
    assert "--on-bad-image skip" in said
    assert all(f"  {folder / name / bad}: " in said for name in ("cat", "dog"))
    assert not (tmp_path / "stopped").exists()
    code = run(["train", str(folder), "--smoke", "--on-bad-image", "skip", "--output", str(tmp_path / "skipped")])
    said = capsys.readouterr().err
    assert code == 0, said
    assert f"skipped: {folder / 'cat' / bad}" in said.replace("\n", "")


def _bomb() -> bytes:
    """The header of a 30000 x 30000 PNG; what follows is never read."""
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.slow
def test_unusual_but_whole_images_are_handled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _photos(tmp_path / "p", {"cat": 12, "dog": 12})
    picture = Image.open(folder / "cat" / "0.jpg")
    for name in ("cat", "dog"):
        picture.convert("CMYK").save(folder / name / "cmyk.jpg")
        Image.fromarray(np.arange(36 * 44, dtype=np.uint16).reshape(36, 44) * 41).save(folder / name / "grey16.png")
        transparent = picture.convert("P")
        transparent.info["transparency"] = 3
        transparent.save(folder / name / "palette.png", transparency=3)
        picture.save(folder / name / "moving.gif", save_all=True, append_images=[picture.rotate(90)])
    assert run(["train", str(folder), "--smoke", "--output", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    assert "skipped" not in capsys.readouterr().err


def test_a_table_with_a_missing_file_or_column(refused: Refused, tmp_path: Path) -> None:
    _photos(tmp_path, {"cat": 3})
    table = tmp_path / "t.csv"
    table.write_text("path,label\ncat/0.jpg,cat\ncat/nine.jpg,dog\n")
    refused("train", table, match=r"t\.csv.*cat/nine\.jpg")
    table.write_text("what,label\ncat/0.jpg,cat\n")
    refused("train", table, match=r"paths.*what, label")


@pytest.mark.medium
def test_a_rate_that_makes_the_loss_infinite_keeps_the_last_good_state(refused: Refused, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    said = refused(
        "train", "digits", "--smoke", "--lr", "1e30", "--set", "train.schedule.warmup_fraction=0", "--output", folder,
        match=r"step \d+: the loss is (nan|inf) at learning rate",
    )  # fmt: skip
    assert (
        f"go on from the state after step 0 at a lower rate, which was tried for some steps: deepres train --resume {folder}"
        in said
    )
    assert list(folder.glob("state/step-*/weights.safetensors"))
    assert not (folder / "model.safetensors").exists()


@pytest.mark.medium
def test_an_output_that_cannot_be_written(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(
        "train", "digits", "--output", tmp_path / "file" / "run", match=r"file/run: cannot be used \(Not a directory\)"
    )


@pytest.mark.medium
def test_an_output_that_holds_a_run(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    refused("train", "digits", "--output", tmp_path / "run", match=r"holds a run already; continue it with --resume")


@pytest.mark.slow
def test_a_full_disk_keeps_the_states_before_it(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    real, calls = os.fsync, [0]

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] > 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        refused(
            "train", "digits", "--smoke", "--set", "train.save_every_seconds=0.0001", "--output", folder,
            match="the disk is full; free some space",
        )  # fmt: skip
    assert not list(folder.glob("**/*.part"))
    assert run(["train", "--resume", str(folder)]) == 0, capsys.readouterr().err


@pytest.mark.medium
def test_weights_that_do_not_fit_or_would_run_code(refused: Refused, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    import deepres

    save_file(
        deepres.create_model("resnet20_cifar", num_classes=7, in_chans=1).state_dict(), tmp_path / "seven.safetensors"
    )
    bare = ("train", "digits", "--output", tmp_path / "a", "--weights", tmp_path / "seven.safetensors")
    refused(*bare, match="does not say of which network of the catalogue it is; name it with --model")
    named = (*bare, "--model", "resnet20_cifar", "--preprocessing", "0.5")
    refused(*named, match="these tensors fit resnet20_cifar, plain20_cifar alike .* such as --variant resnet20_cifar")
    refused(
        *bare,
        "--model",
        "resnet20_cifar",
        "--variant",
        "resnet20_cifar",
        "--recipe",
        "small",
        match="these weights know 7 classes, the network has 10",
    )

    (tmp_path / "trap.pt").write_bytes(pickle.dumps(os.system))
    refused("train", "--output", tmp_path / "b", "--weights", tmp_path / "trap.pt", match="trap.pt: refused")
    torch.save({"a": 1}, tmp_path / "other.pt")
    refused(
        "train", "--output", tmp_path / "c", "--weights", tmp_path / "other.pt", match="no dictionary of tensors in it"
    )
    refused(
        "train",
        "--output",
        tmp_path / "d",
        "--weights",
        tmp_path / "none.pt",
        match="none.pt: no such file or folder, and no name of weights",
    )


def test_what_is_no_run_folder(refused: Refused, tmp_path: Path) -> None:
    refused("predict", tmp_path, "cat.jpg", match="is this a run folder")
    refused("eval", tmp_path, match="is this a run folder")
    refused("train", "--resume", tmp_path, match="is this a run folder")
    refused("train", "--resume", match="no run under runs/; name its folder")
