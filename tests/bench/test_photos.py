import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import photos
import photos_cases
import photos_evidence
import photos_peers
import pytest
import torch
from PIL import Image
from plain_networks import network, with_new_head

from deepres.base.errors import InputError
from deepres.nn.create import create_model
from deepres.nn.weights.convert import to_foreign


def _set(folder: Path, parts: tuple[str, ...] = ("",), count: int = 10, classes: str = "ab") -> Path:
    """Coloured noise; the class is the colour."""
    draw = np.random.default_rng(0)
    for part in parts:
        for number in range(count * len(classes)):
            label = number % len(classes)
            pixels = draw.integers(0, 60, (40, 44, 3), dtype=np.uint8)
            pixels[..., label % 3] += 150
            (folder / part / "kind" / classes[label]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / part / "kind" / classes[label] / f"{number}.jpg")
    return folder


@pytest.mark.medium
def test_the_released_network_is_the_same_function_in_torchvisions_words() -> None:
    torch.manual_seed(0)
    ours = create_model("resnet50_caffe", num_classes=7).eval()
    plain = network("resnet50_caffe", 7).eval()
    plain.load_state_dict(to_foreign(ours.state_dict(), ours.description, "torchvision"))
    x = torch.randn(2, 3, 75, 64)
    with torch.inference_mode():
        torch.testing.assert_close(plain(x), ours(x), rtol=1e-4, atol=1e-4)
    assert network("resnet50", 7).layer2[0].conv1.stride == (1, 1)
    with pytest.raises(ValueError, match="vgg16: no peer has it"):
        network("vgg16", 7)


@pytest.mark.medium
def test_a_new_head_is_the_last_layer_alone() -> None:
    for name in ("resnet20_cifar", "resnet18"):
        net = network(name, 10)
        before = {key: value.clone() for key, value in net.state_dict().items()}
        after = with_new_head(net, 3).state_dict()
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        assert changed == {key for key in before if key.startswith(("fc.", "14."))}
        assert net(torch.randn(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.medium
def test_splits_are_the_sets_own_or_drawn_once_by_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos_cases, "PLACES", {"own": "own", "two": "two", "none": "none", "empty": "empty"})
    _set(tmp_path / "own", ("train", "val", "test"))
    _set(tmp_path / "two", ("train", "val"))
    _set(tmp_path / "none", classes="abc")
    (tmp_path / "empty").mkdir()

    def counted(name: str, given: Path | None = None) -> dict[tuple[str, str], int]:
        rows = photos_cases.rows_of(tmp_path, name, given)
        return {pair: sum(row[1:] == pair for row in rows) for pair in {row[1:] for row in rows}}

    assert set(counted("own").values()) == {10}
    assert counted("two") == {("a", "test"): 10, ("b", "test"): 10} | {
        (label, part): number for label in "ab" for part, number in (("train", 9), ("val", 1))
    }
    assert counted("none") == {
        (label, part): number for label in "abc" for part, number in (("train", 6), ("val", 1), ("test", 3))
    }
    assert photos_cases.rows_of(tmp_path, "none") == photos_cases.rows_of(tmp_path, "none")
    with (tmp_path / "list.csv").open("w", newline="") as file:
        rows = [(f"two/train/kind/a/{n}.jpg", "a", "train" if n else "test") for n in range(0, 20, 2)]
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    assert counted("two", tmp_path / "list.csv") == {("a", "test"): 1, ("a", "train"): 8, ("a", "val"): 1}
    with pytest.raises(InputError, match="no photos in it"):
        photos_cases.rows_of(tmp_path, "empty")


def _result(contender: str, seed: int, error: float, seconds: float, **more: Any) -> dict[str, Any]:
    case = {
        "photos": "p",
        "beginning": None,
        "network": "n",
        "size": 32,
        "epochs": 1,
        "batch_size": 8,
        "images": {},
        "tested": None,
    }
    own = dict.fromkeys(("cross_entropy", "calibration_error", "training_seconds"), 1.0)
    about = {"hardware": "h", "versions": {contender: "1"}, "threads": 1, "commit": "c", "when": "now", "command": "x"}
    found = {"case": "c", "contender": contender, "seed": seed, "test_error": error, "wall_seconds": seconds}
    return {**case, **own, **about, **found, "num_classes": 2, "held_out_error": None, "peak_memory_bytes": 1,
            "precision": "float32", **more}  # fmt: skip


def _evidence(folder: Path, results: list[dict[str, Any]]) -> dict[str, Any]:
    (folder / "results").mkdir(parents=True, exist_ok=True)
    for number, result in enumerate(results):
        (folder / "results" / f"{number}.json").write_text(json.dumps(result))
    return photos_evidence.collected(folder)


@pytest.mark.parametrize(
    ("ours", "plain", "timm", "verdict"),
    [
        # errors of two seeds each; the best peer, error at most its mean and spread, spread no larger, fast enough
        ((0.1, 0.1), (0.2, 0.3), (0.1, 0.2), ("timm", True, True, True)),
        ((0.2, 0.2), (0.1, 0.1), (0.3, 0.3), ("plain", False, True, True)),
        ((0.1, 0.2), (0.15, 0.17), (0.3, 0.3), ("plain", True, False, True)),
    ],
)
def test_the_verdict_compares_with_the_best_peer(
    ours: Any, plain: Any, timm: Any, verdict: Any, tmp_path: Path
) -> None:
    seconds = {"ours": 10.0, "plain": 30.0, "timm": 5.0}
    each = {"ours": ours, "plain": plain, "timm": timm}
    results = [_result(n, s, each[n][s], seconds[n] * (s + 1)) for n in each for s in (0, 1)]
    facts = _evidence(tmp_path, results)
    found = facts["cases"]["c"]["verdict"]
    assert (
        found["best_peer"],
        found["error_at_most_the_best"],
        found["spread_no_larger"],
        found["fast_enough"],
    ) == verdict
    assert found["times_as_fast"]["timm"] == {"median": 0.5, "min": 0.5, "max": 0.5}  # of the same seed
    assert facts["n"] == 2
    assert facts["versions"] == {"ours": "1", "plain": "1", "timm": "1"}
    assert facts["cases"]["c"]["rows"]["ours"]["test_error"]["each"] == list(ours)


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([], "no results in it"),
        ([{}, {"hardware": "other"}], "results of several machines"),
        ([{}, {"epochs": 2}], "epochs is 1 in one result, 2 in another"),
    ],
)
def test_results_that_do_not_belong_together_are_refused(results: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        _evidence(tmp_path, [_result("ours", seed, 0.1, 1.0, **more) for seed, more in enumerate(results)])


def _call(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["photos.py", *map(str, words)])
    photos.main()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--photos", "{}/nowhere"], "nowhere: no such folder"),
        (["--photos", "{}", "--cases", "signs-scratc"], "did you mean signs-scratch, "),
        (["--photos", "{}", "--cases", "signs-cifar"], "given no weights; wanted --weights resnet44_cifar=FILE"),
        (["--photos", "{}", "--cases", "signs-cifar", "--weights", "resnet44_cifar=no.th"], "no such file no.th"),
        (["--photos", "{}", "--cases", "signs-cifar", "--weights", "no.th"], "--weights no.th: wanted NAME=FILE"),
        (["--photos", "{}", "--cases", "signs-scratch", "--contenders", "keras"], "wanted any of ours, plain, timm"),
        (["--photos", "{}", "--cases", "signs-scratch", "--fastai", "no"], "no does not have it; name one that has"),
        (["--photos", "{}", "--cases", "signs-scratch", "--contenders", "ours"], "signs-10/Dataset: no such folder"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _call(monkeypatch, "run", "--folder", tmp_path / "out", *(word.format(tmp_path) for word in words))
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert told in said
    assert said.count("\n") == 1


def test_a_run_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def carried_out(turn: photos.Turn, *_: object) -> dict[str, Any]:
        if turn.seed == 0:
            raise photos.Failed(f"{turn.task.name} seed 0: failed (why)")
        return _result("plain", turn.seed, 0.125, 1.0)

    monkeypatch.setattr(photos, "prepare", lambda *_: ({}, ""))
    monkeypatch.setattr(photos, "_carried_out", carried_out)
    words = ["run", "--photos", tmp_path, "--folder", tmp_path / "out", "--cases", "signs-scratch", "--threads", 1]
    with pytest.raises(SystemExit):
        _call(monkeypatch, *words, "--contenders", "plain", "--seeds", 0, 1)
    said = capsys.readouterr()
    told = ["signs-scratch seed 0: failed (why)", "signs-scratch plain seed 1: test error 12.50 %, 1 s"]
    assert said.out.splitlines()[1:] == told
    assert "1 of 2 runs failed, the first: signs-scratch seed 0: failed (why); run again" in said.err
    assert [path.name for path in (tmp_path / "out" / "results").iterdir()] == ["signs-scratch.plain.1.json"]


@pytest.mark.long
def test_all_contenders_that_are_here_run_in_turn_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("timm")
    _set(tmp_path / "photos" / "signs-10" / "Dataset", count=30)
    torch.manual_seed(0)
    weights = tmp_path / "resnet20.pt"
    torch.save(dict(create_model("resnet20_cifar", num_classes=10).state_dict()), weights)
    small = photos_cases.Case("signs-10", 1, "resnet20_cifar")
    monkeypatch.setattr(photos, "CASES", {"small": small})
    monkeypatch.setattr(photos_cases, "CASES", {"small": small})
    folder, output = tmp_path / "runs", tmp_path / "photos.json"
    words = ["run", "--photos", tmp_path / "photos", "--folder", folder, "--contenders", "ours", "plain", "timm"]
    words += ["--cases", "small", "--weights", f"resnet20_cifar={weights}", "--seeds", 0, "--threads", 1]
    _call(monkeypatch, *words, "--dry-run")
    assert "3 runs left" in capsys.readouterr().out
    assert not folder.exists()
    _call(monkeypatch, *words)
    told = capsys.readouterr().out
    assert [line.split()[1] for line in told.splitlines()[1:]] == ["ours", "plain", "timm"]
    _call(monkeypatch, *words)
    assert capsys.readouterr().out.startswith("0 runs left")
    with pytest.raises(SystemExit):
        _call(monkeypatch, *words, "--epochs", 2)
    assert "holds 1 epochs at 32 px; wanted 2" in capsys.readouterr().err
    _call(monkeypatch, "collect", "--folder", folder, "--output", output)
    facts = json.loads(output.read_text())
    assert {"claim", "command", "hardware", "versions", "n", "seeds"} <= facts.keys()
    case = facts["cases"]["small"]
    assert case["images"] == {"train": 38, "val": 4, "test": 18}
    assert list(case["rows"]) == ["ours", "plain", "timm"]
    assert str(tmp_path) not in output.read_text()
    _call(monkeypatch, "draw", output, "--output", tmp_path / "photos.png")
    with Image.open(tmp_path / "photos.png") as picture:
        assert picture.width > 300


def test_the_peers_measure_the_centre_of_every_photo(tmp_path: Path) -> None:
    folder = _set(tmp_path, count=2)
    samples = [(str(path), number % 2) for number, path in enumerate(sorted(folder.rglob("*.jpg")))]
    facts = {"size": 24, "resize": 28, "mean": [0.5] * 3, "std": [0.25] * 3, "workers": 0}
    net = torch.nn.Flatten()
    found = photos_peers.measure(net, facts, samples)
    assert found.shape == (4, 3 * 24 * 24)
    assert (np.abs(found) <= 2.0).all()
