import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, bootstrap

from deepres.base.errors import InputError
from deepres.report.comparison import write_comparison
from deepres.tasks.classification.compare import (
    against_best,
    all_pairs,
    holm,
    paired,
    small,
    table,
    table_of_pairs,
)
from deepres.tasks.classification.pooling import Seeds
from deepres.tasks.classification.predictions import SavedPredictions, load_answers, voted
from deepres.tasks.comparison import compared
from deepres.tasks.paired import named_apart


def _answers(name: str, right: "np.ndarray[tuple[int], np.dtype[np.bool_]]", **facts: str) -> SavedPredictions:
    told = {"model": "resnet20_cifar", "protocol": "center", "source": "digits, test"} | facts
    return SavedPredictions(
        name, told["model"], tuple(map(str, range(len(right)))), right, told["protocol"], told["source"]
    )


DRAW = np.random.default_rng(0)
FIRST = _answers("first", DRAW.random(500) < 0.8)
SECOND = _answers("second", FIRST.right | (DRAW.random(500) < 0.3), model="resnet56_cifar")


def test_mcnemars_test_is_the_two_sided_binomial_of_a_worked_example() -> None:
    right = np.ones(100, dtype=bool)
    one, other = right.copy(), right.copy()
    one[:10], other[10:13] = False, False  # ten against three
    found = paired(_answers("a", one), _answers("b", other))
    assert (found.only_first, found.only_second) == (3, 10)
    assert found.difference == pytest.approx(0.07)
    assert found.p_value == pytest.approx(2 * binom.cdf(3, 13, 0.5))


def test_the_interval_is_scipys_percentile_bootstrap() -> None:
    found = paired(FIRST, SECOND)
    differences = SECOND.right.astype(float) - FIRST.right.astype(float)
    theirs = bootstrap((differences,), np.mean, method="percentile", n_resamples=5000, rng=1).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)
    assert paired(FIRST, SECOND) == found  # repeats to the bit
    assert paired(FIRST, SECOND, seed=1) != found


def test_exchanging_the_two_turns_the_sign() -> None:
    there, back = paired(FIRST, SECOND), paired(SECOND, FIRST)
    assert there.difference == -back.difference
    assert there.p_value == back.p_value
    assert "second is better than first by" in there.sentence()
    assert "second is better than first by" in back.sentence()
    assert "no difference shown (+0.00 points" in paired(FIRST, FIRST).sentence()
    assert paired(FIRST, FIRST).p_value == 1


def test_other_images_and_other_protocols_are_refused() -> None:
    with pytest.raises(InputError, match=r"first was measured on 500 images .*, short on 400 others"):
        paired(FIRST, _answers("short", FIRST.right[:400]))
    ten = _answers("ten", SECOND.right, protocol="ten-crop")
    with pytest.raises(InputError, match=r"first was measured by protocol center, ten by ten-crop.*--force"):
        paired(FIRST, ten)
    assert paired(FIRST, ten, force=True).num_images == 500


def test_the_table_puts_the_best_first() -> None:
    runs = [_answers(str(wrong), np.arange(100) >= wrong) for wrong in (8, 5, 7)]
    assert [line.split()[0] for line in table(runs).splitlines()] == ["run", "5", "7", "8"]


def test_holms_correction_is_that_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # R: p.adjust(…, "holm")
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.3]) == [0.3]
    assert holm([]) == []


def test_all_pairs_are_corrected_for_their_number() -> None:
    three = [FIRST, SECOND, _answers("third", DRAW.random(500) < 0.5)]
    pairs = all_pairs(three)
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("first", "second"),
        ("first", "third"),
        ("second", "third"),
    ]
    assert [pair.p_corrected for pair in pairs] == holm([pair.p_value for pair in pairs])
    assert all(pair.num_pairs == 3 for pair in pairs)
    assert "corrected for 3 pairs" in pairs[0].sentence()
    (alone,) = all_pairs([FIRST, SECOND])
    assert alone == paired(FIRST, SECOND)
    assert "corrected" not in alone.sentence()


def test_a_difference_that_only_the_correction_takes_away_is_not_shown() -> None:
    pair = paired(FIRST, SECOND).replace(p_value=0.03, p_corrected=0.06, num_pairs=2)
    assert "no difference shown" in pair.sentence()
    assert "no difference shown" in table_of_pairs([pair])
    assert "no difference shown" not in pair.replace(p_corrected=0.04).sentence()


def test_each_is_put_against_the_best_with_the_sign_of_its_loss() -> None:
    three = [SECOND, FIRST, _answers("third", SECOND.right & FIRST.right & (DRAW.random(500) < 0.9))]
    pairs = all_pairs(three)
    versus = against_best(three, pairs)
    assert [(pair.first, pair.second) for pair in versus] == [("first", "second"), ("third", "second")]
    assert all(pair.difference > 0 and pair.low <= pair.difference <= pair.high for pair in versus)
    assert versus[0].only_first == int((FIRST.right & ~SECOND.right).sum()) == 0
    assert versus[0].only_second == pairs[0].only_first > 0
    lines = table_of_pairs(versus).splitlines()
    assert lines[0].split() == ["run", "points", "95", "%", "interval", "McNemar", "p", "corrected"]
    assert [line.split()[0] for line in lines[1:]] == ["first", "third"]
    assert all(line.endswith("worse") for line in lines[1:])
    assert "against" in table_of_pairs(pairs)


def test_a_probability_below_the_range_of_numbers_is_said_to_be_small() -> None:
    assert [small(p) for p in (0.0, 1e-301, 3.44e-5, 0.0019, 1)] == ["<1e-300", "<1e-300", "3.4e-05", "0.0019", "1"]


def _said(name: str, predicted: list[int], truth: list[int]) -> SavedPredictions:
    columns = np.array(truth), np.array(predicted)
    images = tuple(map(str, range(len(truth))))
    return SavedPredictions(name, name, images, columns[0] == columns[1], "center", "x, test", *columns)


def test_a_vote_goes_with_the_better_network_where_it_is_even() -> None:
    truth = [0, 1, 2, 0]
    best = _said("best", [0, 1, 0, 1], truth)
    other = _said("other", [1, 1, 2, 2], truth)
    worst = _said("worst", [1, 0, 0, 2], truth)
    found = voted([worst, other, best])
    assert found.predicted is not None
    assert found.predicted.tolist() == [1, 1, 0, 2]
    assert voted([worst, best]).predicted.tolist() == [0, 1, 0, 1]  # type: ignore[union-attr]
    assert (found.name, found.model, found.num_wrong) == ("vote of 3", "majority vote", 3)
    with pytest.raises(InputError, match=r"^first: its predicted classes are not known; measure it again$"):
        voted([FIRST, FIRST])
    with pytest.raises(InputError, match=r"other images, or other numbers for the classes; measure both on the same$"):
        voted([best, _said("odd", [0, 1, 2, 0], [1, 1, 2, 0])])


def _write(path: Path, **columns: object) -> Path:
    np.savez(path, **columns)  # type: ignore[arg-type]
    return path


def test_a_file_of_predictions_is_read_in_the_order_of_its_index(tmp_path: Path) -> None:
    plain = {"name": np.array(["b", "a"]), "truth": np.array([1, 0]), "predicted": np.array([1, 1])}
    found = load_answers(_write(tmp_path / "old.npz", **plain))
    assert (found.name, found.model, found.protocol, found.source) == ("old", "?", "center", "?, ?")
    assert (found.images, found.right.tolist()) == (("b", "a"), [True, False])
    about = '{"model": "resnet20", "source": "digits", "split": "test", "protocol": "flip"}'
    full = load_answers(_write(tmp_path / "new.npz", **plain, index=np.array([1, 0]), about=np.array(about)))
    assert (full.model, full.protocol, full.source) == ("resnet20", "flip", "digits, test")
    assert (full.images, full.right.tolist()) == (("a", "b"), [False, True])
    assert full.predicted is not None
    assert full.predicted.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"x": np.zeros(3)},
            r"a\.npz: not a file of predictions \(.*name.*; wanted a \.npz with name, truth and predicted",
        ),
        (
            {"name": np.array(["a"]), "truth": np.zeros(2), "predicted": np.zeros(2)},
            r"a\.npz: 1 names, 2 of truth, 2 of predicted; wanted as many of each$",
        ),
    ],
)
def test_a_file_without_the_columns_is_refused(columns: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_answers(_write(tmp_path / "a.npz", **columns))


def test_what_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("text")
    with pytest.raises(InputError, match=r"a\.npz: not a file of predictions"):
        load_answers(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"b\.npz: cannot be read .No such file.*; wanted a file of predictions"):
        load_answers(tmp_path / "b.npz")


def test_folders_of_one_name_are_told_apart_by_their_paths() -> None:
    assert [one.name for one in named_apart([FIRST, FIRST, SECOND], ["x/first", "y/first", "z"])] == [
        "x/first", "y/first", "second",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"^compare x: named twice; name each run once$"):
        named_apart([FIRST, FIRST], ["x", "x"])


@pytest.mark.medium
def test_the_page_shows_all_and_repeats_to_the_byte(tmp_path: Path) -> None:
    odd = _answers("<b>odd</b>", DRAW.random(500) < 0.5)
    answers = [FIRST, SECOND, odd]
    seeds = [Seeds(model="resnet20_cifar", runs=("first", "second"), seeds=(0, 1), errors=(0.1, 0.2))]
    for name in ("a.html", "b.html"):
        write_comparison(tmp_path / name, answers, all_pairs(answers), seeds, ["odd: <i>note</i>"])
    page = (tmp_path / "a.html").read_text()
    assert page == (tmp_path / "b.html").read_text()
    assert "<b>odd" not in page
    assert "&lt;b&gt;odd&lt;/b&gt;" in page
    assert "3 networks compared" in page
    assert "Each against the best, second" in page
    assert page.count("<svg ") == 1
    assert "resnet20_cifar: " in page
    assert "odd: &lt;i&gt;note" in page
    assert "://" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize("missing", ["test.json", "predictions.npz"])
def test_a_run_that_was_not_measured_is_refused(missing: str, tmp_path: Path) -> None:
    (tmp_path / ("test.json" if missing == "predictions.npz" else "predictions.npz")).write_bytes(b"")
    with pytest.raises(
        InputError, match=r"no test\.json with predictions\.npz in it; is this a run folder that has ended"
    ):
        load_answers(tmp_path)


@pytest.mark.slow
def test_published_networks_have_their_published_accuracy_and_are_told_apart(shared: Path, tmp_path: Path) -> None:
    unpack = [sys.executable, str(shared / "data" / "unpack_cifar10.py"), str(tmp_path)]
    subprocess.run(unpack, check=True, capture_output=True)
    with np.load(tmp_path / "cifar10_test.npz") as test, np.load(shared / "data/predictions/predictions.npz") as stored:
        truth, said = test["y"], {name: stored[name] for name in stored.files if name.startswith("original__")}
    runs = {name.removeprefix("original__"): _answers(name, each == truth) for name, each in said.items()}
    published = {
        "resnet_basic_32": 92.52,
        "resnet_basic_110": 93.46,
        "resnet_preact_bottleneck_164": 94.19,
        "densenet_BC_100_12": 95.54,
        "wrn_28_10": 95.93,
    }
    for name, accuracy in published.items():
        assert 100 * (1 - runs[name].error) == pytest.approx(accuracy, abs=0.005)
    found = paired(runs["resnet_basic_110"], runs["densenet_BC_100_12"])
    assert found.p_value < 1e-10
    assert found.low < found.difference < found.high
    assert paired(runs["densenet_BC_100_12"], runs["wrn_28_10"]).p_value > 0.01


@pytest.mark.parametrize(("first", "second"), [("classification", "regression"), ("multilabel", "classification")])
def test_runs_of_two_tasks_are_not_compared(tmp_path: Path, first: str, second: str) -> None:
    for name, kind in (("one", first), ("two", second)):
        np.savez(tmp_path / f"{name}.npz", about=np.array(json.dumps({"task": {"kind": kind}})))
    with pytest.raises(InputError, match=rf"one\.npz is of {first}, .*two\.npz of {second}; compare runs of one task"):
        compared([tmp_path / "one.npz", tmp_path / "two.npz"])
    with pytest.raises(InputError) as caught:  # what is not there is of no task
        compared([tmp_path / "one.npz", tmp_path / "nowhere"])
    assert "one task" not in str(caught.value)
