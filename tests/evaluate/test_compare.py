import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, bootstrap

from deepres.base.errors import InputError
from deepres.evaluate.compare import Answers, by_model, load_answers, paired, table


def _answers(name: str, right: "np.ndarray[tuple[int], np.dtype[np.bool_]]", **facts: str) -> Answers:
    told = {"model": "resnet20_cifar", "protocol": "center", "source": "digits, test"} | facts
    return Answers(name, told["model"], tuple(map(str, range(len(right)))), right, told["protocol"], told["source"])


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
    assert "second is better than first by" in there.verdict()
    assert "second is better than first by" in back.verdict()
    assert "no difference shown (+0.00 points" in paired(FIRST, FIRST).verdict()
    assert paired(FIRST, FIRST).p_value == 1


def test_other_images_and_other_protocols_are_refused() -> None:
    with pytest.raises(InputError, match=r"first was measured on 500 images .*, short on 400 others"):
        paired(FIRST, _answers("short", FIRST.right[:400]))
    ten = _answers("ten", SECOND.right, protocol="ten-crop")
    with pytest.raises(InputError, match=r"first was measured by protocol center, ten by ten-crop.*--force"):
        paired(FIRST, ten)
    assert paired(FIRST, ten, force=True).num_images == 500


def test_seeds_are_told_as_the_papers_quote_them() -> None:
    runs = [_answers(str(wrong), np.arange(100) >= wrong) for wrong in (8, 5, 7)]
    (seeds,) = by_model(runs)
    assert str(seeds) == "resnet20_cifar: 6.67 ± 1.53 % over 3 runs, median 7.00 %, best 5.00 %"
    assert [line.split()[0] for line in table(runs).splitlines()] == ["run", "5", "7", "8"]


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
