"""Damaged, foreign and oversized files: each reader refuses them in one line that names the file; nothing is costly."""

import json
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
import fuzz

from deepres.arch.catalogue.lookup import architecture
from deepres.arch.families.resnet import ResNetConfig
from deepres.base import npz
from deepres.base.errors import InputError
from deepres.base.records import recalled
from deepres.cli import main, net
from deepres.data.sources.arrays import read_npz
from deepres.data.sources.config import DataConfig
from deepres.data.sources.folders import read_folder
from deepres.data.sources.named import fashion_mnist
from deepres.data.sources.open import open_splits
from deepres.data.sources.packed import INDEX
from deepres.data.sources.tables import read_table
from deepres.nn.create import create_model
from deepres.nn.weights.files import read_stored
from deepres.nn.weights.folders import said_by
from deepres.nn.weights.hub import find_weights
from deepres.predict.pictures import ImageInputs
from deepres.report.html import render
from deepres.runs import seen
from deepres.runs.analysis import run as examine
from deepres.runs.analysis.units import AnalysisSubject
from deepres.studies.speed import MachineSpeed
from deepres.tasks.classification.predictions import load_answers, voted
from deepres.train.checkpoint import load_best, save_best
from deepres.train.history import HISTORY, read_history

DEEP, LONG = "[" * 100_000, "1" * 5000
READERS = {reader.name: reader for reader in fuzz.readers()}


NAMES = [pytest.param(name, marks=[pytest.mark.slow] * reader.slow) for name, reader in READERS.items()]


@pytest.mark.medium
@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    read, refused, faults = fuzz.fuzzed(READERS[name], tmp_path, 10)
    assert not faults, faults[0].told
    assert read + refused == max(1, 10 // READERS[name].cost)


@pytest.mark.medium
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_file_is_told_as_that(name: str, tmp_path: Path) -> None:
    """A pipe, a folder, a link to itself, a device, a file of 4 TiB; or nothing."""
    wrong = {way: told for way, told in fuzz.replaced(READERS[name], tmp_path) if told not in ("read", "refused")}
    assert not wrong, wrong


@pytest.mark.parametrize("text", [DEEP, f'{{"a": {LONG}}}', '{"architecture": "\\ud800"}', "[]", "", '{"a": {}'])
@pytest.mark.parametrize(
    "name",
    [
        *("timm config.json", "transformers preprocessor", "index of tensors", "TensorFlow.js", "pack.json"),
        *("class index", "run.json", "folds.json"),
    ],
)
def test_json_that_is_none_is_one_line_with_the_file(name: str, text: str, tmp_path: Path) -> None:
    file = READERS[name].write_valid(tmp_path)
    file.write_text(text)
    with pytest.raises(InputError, match=file.name) as refusal:
        READERS[name].read(file)
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize(
    "edit",
    [
        {"num_classes": 10**9},
        {"label_names": ["a"] * 3, "num_classes": 10**9},
        {"num_classes": 10**40},
        {"model_args": {"in_chans": 10**9}},
        {"pretrained_cfg": {"crop_pct": 1e-320}},
        {"label_names": {"0": "a", "00": "b", "2": "c"}},
    ],
)
def test_descriptions_of_impossible_networks_are_refused(edit: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**fuzz._TIMM, **edit}))
    with pytest.raises(InputError, match=r"config\.json"):
        said_by(tmp_path)


def test_our_label_names_are_texts(tmp_path: Path) -> None:
    file = READERS["our config.json"].write_valid(tmp_path)
    file.write_text(json.dumps({**json.loads(file.read_text()), "label_names": [1, 2]}))
    with pytest.raises(InputError, match=r"config\.json: label_names wanted a list of different texts"):
        read_stored(tmp_path)


def test_metadata_of_weights_is_read_as_any_other_description(tmp_path: Path) -> None:
    for text in (DEEP, f'{{"name": {LONG}}}'):
        save_file({"conv.weight": torch.zeros(1, 1, 1, 1)}, tmp_path / "w.safetensors", {"deepres": text})
        with pytest.raises(InputError, match=r"w\.safetensors: not JSON"):
            find_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("label", [10**9] * 8),
        ("label", [-1] * 8),
        ("part", [7] * 8),
        ("file_number", [3] * 8),
        ("offset", [10**9] * 8),
        ("length", [0] * 8),
        ("height", [5] * 8),
        ("name_ends", [-1] * 8),
        ("crc", [0.5] * 8),
        ("width", [6] * 7),
        ("names", [1, 2]),
        ("label", None),
    ],
)
@pytest.mark.medium
@pytest.mark.medium
def test_an_index_of_a_pack_fits_its_files_and_classes(column: str, values: list[Any] | None, tmp_path: Path) -> None:
    file = READERS["index of a pack"].write_valid(tmp_path)
    with np.load(file) as stored:
        columns = {**stored, column: np.array(values)}
    if values is None:
        del columns[column]
    np.savez(file, **columns)
    with pytest.raises(InputError, match=rf"{INDEX}: not the index of a pack \(.*; pack the source again"):
        READERS["index of a pack"].read(file)


def _encrypted(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for signature, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + flag] |= 1
    path.write_bytes(bytes(content))


def _lying(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["x.npy"] = members["x.npy"].replace(b"(8, 6, 6, 3)", b"(9, 6, 6, 3)")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(("harm", "told"), [(_encrypted, "encrypted"), (_lying, "by its header")])
def test_arrays_that_are_encrypted_or_lie_about_their_size(
    harm: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    for name in ("images in npz", "weights in npz", "predictions"):
        (tmp_path / name).mkdir()
        file = READERS[name].write_valid(tmp_path / name)
        if harm is _lying and name != "images in npz":
            continue
        harm(file)
        with pytest.raises(InputError, match=rf"{file.name}: .*{told}"):
            READERS[name].read(file)


def test_arrays_that_unpack_to_a_bomb_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "_LARGE", 2**20)
    np.savez_compressed(tmp_path / "b.npz", x=np.zeros((1200, 32, 32), np.uint8), y=np.arange(1200) % 2)
    with pytest.raises(InputError, match=r"b\.npz: 'x' would unpack from .* to 1 MiB, more than 100 times as much"):
        read_npz(tmp_path / "b.npz")
    monkeypatch.setattr(npz, "free_bytes", lambda: 1000)
    with pytest.raises(InputError, match=r"b\.npz: 'x' needs 1 MiB of memory, 0 MiB are free"):
        read_npz(tmp_path / "b.npz")


def test_classes_of_any_number_are_voted_on(tmp_path: Path) -> None:
    names = np.array(["a", "b"])
    np.savez(tmp_path / "p.npz", name=names, truth=np.array([0, 10**9]), predicted=np.array([0, 10**9]))
    answers = load_answers(tmp_path / "p.npz")
    assert voted([answers, answers]).right.all()


@pytest.mark.parametrize(
    "columns",
    [
        {"truth": np.zeros((2, 2), int)},
        {"predicted": np.array([0.5, 1])},
        {"index": np.array(["a", "b"])},
        {"rank": np.zeros(3, int)},
        {"name": np.array([1, 2])},
        {"about": np.array(DEEP)},
        {"about": np.array("[]")},
    ],
)
def test_predictions_that_are_none(columns: dict[str, Any], tmp_path: Path) -> None:
    good = {"name": np.array(["a", "b"]), "truth": np.array([0, 1]), "predicted": np.array([0, 1])}
    np.savez(tmp_path / "p.npz", **{**good, **columns})
    with pytest.raises(InputError, match=r"p\.npz"):
        load_answers(tmp_path / "p.npz")


def test_a_history_with_a_bad_line_is_named_and_a_cut_last_one_left_out(tmp_path: Path) -> None:
    rows = [
        json.dumps({**fuzz._ROW, "epoch": number, "step": 5 * number, "seconds": 1.0}).encode() for number in (1, 2)
    ]
    strange = [
        rows[1].replace(b'"seconds"', b'"x"'),
        rows[1].replace(b"0.5", b"null"),
        rows[1].replace(b"0.5", b"1e40"),
    ]
    (tmp_path / HISTORY).write_bytes(b"\n".join([*rows, b'{"epoch": 3, "st\xff']))
    assert [row["step"] for row in read_history(tmp_path)] == [5, 10]
    for bad in (b'{"epoch": 2\xff}', DEEP.encode(), b"[]", rows[1].replace(b"2", b'"2"', 1), *strange):
        (tmp_path / HISTORY).write_bytes(b"\n".join([rows[0], bad, rows[1]]))
        with pytest.raises(InputError, match=r"history\.jsonl: line 2.*remove it"):
            read_history(tmp_path)
    (tmp_path / HISTORY).write_bytes(b"\n".join(rows))
    with pytest.raises(InputError, match=r"history\.jsonl: line 1: has no lift"):
        read_history(tmp_path, "train_error", "lift")


def test_names_that_no_file_has(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"path,label\n{'x' * 300}.png,a\n\0.png,b\n")
    (tmp_path / "u.csv").write_text(f"path,label\n#{'y' * 300},a\nz.png,b\n")
    for source in ("x" * 300, "~nobody-of-that-name/x", "a/" + "é" * 200, f"{'x' * 300}.tar", str(tmp_path / "t.csv")):
        with pytest.raises(InputError):
            open_splits(DataConfig(source=source))
    with pytest.raises(InputError, match=r"no file .*z\.png"):
        read_table(tmp_path / "u.csv")
    for word in ("x" * 300, "~nobody-of-that-name/x"):
        with pytest.raises(InputError):
            find_weights(word)
        (picture,) = ImageInputs([word], 1.0, bytes)
        assert picture.name


def test_names_too_long_at_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["train", "x" * 300], ["eval", "x" * 300], ["predict", "x" * 300, "y.png"]):
        assert main.run(arguments) == 2, arguments
        said = capsys.readouterr().err
        assert said.count("\n") == 1, said


@pytest.mark.medium
def test_a_long_table_of_another_place_is_told_by_its_first_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(f"p/{i}.jpg,{i % 2}\n" for i in range(11_000)))
    with pytest.raises(InputError, match=r"the first 10000 of 11000 files are missing, the first in line 2"):
        read_table(tmp_path / "t.csv")


def test_networks_are_bounded_before_they_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ValueError, match=r"1,000,002 units, wanted 10,000 in all|1,000,002 units, wanted 10,000 at most"
    ):
        ResNetConfig(name="x", depths=(1_000_000, 1, 1), widths=(16, 32, 64))
    for fields in ({"stem_width": 10**9}, {"num_classes": 10**9}, {"input": (10**9, 8, 8)}):
        with pytest.raises(ValueError, match="less than or equal to 16777216"):
            ResNetConfig(name="x", depths=(1,), widths=(16,), **fields)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"its weights take .* GiB, .* are free"):
        create_model(ResNetConfig(name="x", depths=(1,), widths=(2**20,)).architecture(), seed=0)
    assert architecture("resnet1202_cifar")


def test_idx_files_of_unequal_length_are_refused(tmp_path: Path) -> None:
    file = READERS["idx of Fashion-MNIST"].write_valid(tmp_path)
    file.write_bytes((file.parent / "train-images-idx3-ubyte.gz").read_bytes())
    with pytest.raises(InputError, match=r"train-labels.*wanted as many of each"):
        fashion_mnist(tmp_path)


# the last net


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (KeyError("x"), "KeyError: no 'x'"),
        (OSError(5, "Input/output error", "/data/a\x1b.png"), r"OSError: Input/output error \('/data/a\\x1b.png'\)"),
        (MemoryError(), "out of memory: "),
        (RecursionError("deep"), "RecursionError: nested too deeply"),
        (RuntimeError("first\nsecond"), "RuntimeError: first; this was not foreseen"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_what_nobody_foresaw_is_one_line_and_a_file(
    cause: Exception, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> int:
        raise cause

    with pytest.raises(type(cause)):  # tests run with the net off
        net.caught(fails)
    monkeypatch.setenv(net.OFF, "0")
    monkeypatch.setattr(net, "_temporary", lambda: tmp_path)
    monkeypatch.setattr(net.threading, "excepthook", None)
    assert net.caught(fails) == 70
    said = capsys.readouterr().err
    assert said.startswith("deepres: ")
    assert said.count("\n") == 1
    assert re.search(told, said), said
    (kept,) = tmp_path.iterdir()
    assert str(kept) in said
    assert "Traceback" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_details_go_elsewhere_where_a_place_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(net.OFF, "0")
    monkeypatch.setattr(net.threading, "excepthook", None)
    monkeypatch.setattr(net, "_temporary", lambda: tmp_path / "file")
    monkeypatch.setattr(net, "cache_folder", lambda: tmp_path / "cache")
    assert net.caught(lambda: {}["x"]) == 70
    assert str(tmp_path / "cache") in capsys.readouterr().err
    monkeypatch.setattr(net, "cache_folder", lambda: tmp_path / "file")
    monkeypatch.setattr(net.Path, "cwd", lambda: tmp_path / "file")
    assert net.caught(lambda: {}["x"]) == 70
    assert "could not be written anywhere" in capsys.readouterr().err


@pytest.mark.parametrize("passing", [KeyboardInterrupt, SystemExit, BrokenPipeError])
def test_interruptions_and_refusals_have_their_own_ways(passing: type[BaseException]) -> None:
    def stops() -> int:
        raise passing

    with pytest.raises(passing):
        net.caught(stops)


def test_a_class_index_of_another_form(tmp_path: Path) -> None:
    file = READERS["class index"].write_valid(tmp_path)
    file.write_text('{"0": ["a"]}')
    with pytest.raises(InputError, match=r"imagenet_class_index\.json"):
        read_folder(tmp_path)


def test_weights_of_an_epoch_of_another_network_are_refused(tmp_path: Path) -> None:
    save_best(torch.nn.Linear(3, 2), tmp_path, 3)
    with pytest.raises(InputError, match=r"best-000000003.*of another network"):
        load_best(torch.nn.Linear(4, 2), tmp_path, 3)


@pytest.mark.parametrize("text", ["", "{", '{"key": "k"}', DEEP, '{"key": "k", "numbers": {"hardware": 1}}'])
def test_what_can_be_made_again_is(text: str, tmp_path: Path) -> None:
    """A cache, and an analysis begun before: damaged, it counts as not there."""
    (tmp_path / "speed.json").write_text(text)
    assert recalled(MachineSpeed, tmp_path / "speed.json") is None
    made = MachineSpeed(hardware="h", network="n", macs_per_second=1.0)
    subject = SimpleNamespace(folder=tmp_path, key="k", part=lambda name: tmp_path / "speed.json")
    assert AnalysisSubject.once(subject, "speed", MachineSpeed, lambda: made) == made
    assert AnalysisSubject.once(subject, "speed", MachineSpeed, lambda: pytest.fail("made twice")) == made


@pytest.mark.parametrize(
    "edit", [{"found": "x"}, {"plots": 3}, {"plots": ["\0"]}, {"plots": ["../x"]}, {"title": None}, {"images": "many"}]
)
def test_a_damaged_analysis_is_done_again(edit: dict[str, Any], tmp_path: Path) -> None:
    file = READERS["analysis"].write_valid(tmp_path)
    assert examine._before(file.parent, "paths", "k") == ["3 paths"]
    file.write_text(json.dumps({**json.loads(file.read_text()), **edit}))
    assert examine._before(file.parent, "paths", "k") is None
    READERS["analysis"].read(file)


def test_a_record_of_seen_images_without_their_place_is_refused(tmp_path: Path) -> None:
    for place in (np.array(["a", "b", "c"]), np.array([1, 2]), np.array("a")):
        np.savez(tmp_path / "digests.npz", place=place)
        with pytest.raises(InputError, match=r"digests\.npz: no record of where the images lie"):
            seen._place(tmp_path)


def test_pages_let_no_script_run() -> None:
    page = render("analysis.html.jinja", {}, title="t", sections=[], left_out={}, provenance={"source": "p"})
    assert "Content-Security-Policy\" content=\"default-src 'none'" in page
