"""What is lost against the intact network: the score interval against a slow likelihood, the verdicts, the words."""

from collections.abc import Callable
from math import log, sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from deepres.slim.gate import PairedLoss, allowed_loss, compared, refusal, score_interval
from deepres.tasks.kinds import task_named
from deepres.tasks.task import Compared

SHARES = Compared("error", lambda weights: weights, lambda value: f"{100 * value:.2f} %")


def slow_score(lost: int, gained: int, n: int, d: float) -> float:
    """(lost - gained - n d) / sqrt of its variance at the likeliest probabilities with p_lost - p_gained = d."""
    same = n - lost - gained

    def minus_likelihood(rare: float) -> float:
        often = rare + d
        terms = ((lost, often), (gained, rare), (same, 1 - often - rare))
        return -sum(count * log(max(p, 1e-300)) for count, p in terms if count)

    low, high = max(0.0, -d), (1 - d) / 2
    rare = minimize_scalar(minus_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
    return (lost - gained - n * d) / sqrt(n * (2 * rare + d - d * d))


@pytest.mark.parametrize(("lost", "gained", "n"), [(12, 2, 100), (30, 21, 900), (3, 0, 50), (0, 7, 60), (40, 40, 200)])
def test_the_interval_ends_where_the_score_is_rejected(lost: int, gained: int, n: int) -> None:
    low, high = score_interval(lost, gained, n)
    assert low < (lost - gained) / n < high
    assert slow_score(lost, gained, n, low) == pytest.approx(1.95996, abs=2e-4)
    assert slow_score(lost, gained, n, high) == pytest.approx(-1.95996, abs=2e-4)
    assert score_interval(gained, lost, n) == pytest.approx((-high, -low), abs=1e-9)


def test_a_hundred_images_that_are_answered_alike_show_nothing_and_a_thousand_do() -> None:
    z2 = 1.959963984540054**2
    for n, verdict in ((100, "not shown"), (700, "not shown"), (1000, "passed")):
        low, high = score_interval(0, 0, n)
        assert (low, high) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)))
        assert loss(0, 0, n).verdict(0.5) == verdict


def loss(lost: int, gained: int, n: int) -> PairedLoss:
    low, high = score_interval(lost, gained, n)
    facts = {"figure": "error", "shares": True, "num_images": n, "intact": 0.05, "slim": 0.05 + (lost - gained) / n}
    return PairedLoss(**facts, loss=(lost - gained) / n, low=low, high=high)


@pytest.mark.parametrize(
    ("lost", "gained", "n", "allowed", "verdict"),
    [
        (60, 20, 5000, 0.5, "failed"),  # 0.8 points
        (20, 20, 5000, 0.5, "passed"),
        (24, 4, 5000, 0.5, "not shown"),  # 0.4 points, up to 0.6
        (4, 24, 5000, 0.0, "passed"),  # better
        (24, 4, 5000, 1.0, "passed"),
    ],
)
def test_the_verdict_is_of_the_loss_and_of_its_interval(
    lost: int, gained: int, n: int, allowed: float, verdict: str
) -> None:
    assert loss(lost, gained, n).verdict(allowed) == verdict


def test_a_refusal_is_one_line_with_loss_interval_number_and_three_layers() -> None:
    layers = [("stage1.unit1", 0.5), ("stem", 0.25), ("stage2", 0.125), ("head", 0.1)]
    assert refusal("2 units out", loss(60, 20, 5000), 0.5, layers) == (
        "2 units out: error 5.80 % against 5.00 %, +0.80 points (95 % interval +0.46 to +1.17) on 5,000 held-out images; "
        "more than 0.5 points (--max-loss) is lost; layers furthest from float32: stage1.unit1 50 %, stem 25 %, stage2 "
        "12 %; allow more, drop fewer units, or fine-tune for longer (--finetune-epochs)"
    )
    told = refusal("int8 by onnxruntime", loss(0, 0, 100), 0.5)
    assert "is not shown; give more held-out images, or take it as it is with --accept-uncertain" in told


def test_of_a_figure_that_is_no_share_nothing_is_assumed() -> None:
    figure = Compared("mean absolute error", lambda weights: weights, lambda value: f"{value:.4g}")
    assert allowed_loss(None, SHARES, "5 %") == 0.5
    assert allowed_loss(0.02, figure, "0.4") == 0.02
    with pytest.raises(ValueError, match=r"^--max-loss: the mean absolute error \(0.4 on held-out images\) has units"):
        allowed_loss(None, figure, "0.4")


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def made(name: str, kind: str, **columns: np.ndarray) -> Path:
        about = {"model": name, "task": task_named(kind).model_dump(mode="json"), "protocol": "center", "source": "x"}
        n = len(next(iter(columns.values())))
        names = np.array([f"{number}.png" for number in range(n)])
        import json

        np.savez(tmp_path / f"{name}.npz", about=np.array(json.dumps(about)), index=np.arange(n), name=names, **columns)
        return tmp_path / f"{name}.npz"

    return made


def test_classes_are_compared_image_by_image(saved: Callable[..., Path]) -> None:
    truth = np.arange(200) % 5
    first, second = truth.copy(), truth.copy()
    first[:10] = 9  # wrong before
    second[5:20] = 8  # 5 more wrong of both, 10 of the slim one alone, 5 mended
    found = compared(
        saved("a", "classification", truth=truth, predicted=first),
        saved("b", "classification", truth=truth, predicted=second),
    )
    assert (found.intact, found.slim, found.loss, found.num_images) == pytest.approx((0.05, 0.075, 0.025, 200))
    assert found.agreement == 0.9
    assert (found.low, found.high) == score_interval(10, 5, 200)


@pytest.mark.medium
def test_numbers_and_several_classes_are_compared_by_the_paired_bootstrap(saved: Callable[..., Path]) -> None:
    draw = np.random.default_rng(0)
    truth = draw.normal(size=(300, 1))
    near, far = truth + 0.1 * draw.normal(size=truth.shape), truth + 0.3 * draw.normal(size=truth.shape)
    numbers = [saved(name, "regression", truth=truth, predicted=values) for name, values in (("a", near), ("b", far))]
    found = compared(*numbers)
    assert not found.shares
    assert found.loss == pytest.approx(np.abs(far - truth).mean() - np.abs(near - truth).mean())
    assert 0 < found.low < found.loss < found.high
    assert found.verdict(1.0) == "passed"
    assert found.verdict(0.01) == "failed"
    present = draw.random((100, 2)) < 0.5
    alike = [saved(name, "multilabel", truth=present, logits=present - 0.5) for name in ("c", "d")]
    found = compared(*alike)  # every draw of the bootstrap says 0
    assert found.loss == 0
    assert found.high == score_interval(0, 0, 100)[1]
    assert found.verdict(0.5) == "not shown"
