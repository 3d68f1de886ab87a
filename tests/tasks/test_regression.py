"""Numbers of an image: figures against scikit-learn, standardised targets, intervals, answers."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn
from torch.nn import functional as F

from deepres.base.errors import InputError, RunError
from deepres.data.images import ArrayImages, Batch
from deepres.tasks.regression.metrics import NumberMetrics, bound, interval_of_mean, r2
from deepres.tasks.regression.result import RegressionResult
from deepres.tasks.regression.task import Regression
from deepres.tasks.task import Learning

FACTS = {"split": "test", "protocol": "center", "skipped": (), "seconds": 2.0, "provenance": {}}


def _numbers(images: int = 80, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = np.random.default_rng(seed)
    truth = draw.normal((30.0, -2000.0), (8.0, 500.0), (images, 2))
    return torch.from_numpy(truth), torch.from_numpy(truth + draw.normal(0, (3.0, 100.0), truth.shape))


def _images(truth: torch.Tensor, names: tuple[str, ...] = ("age", "height")) -> ArrayImages:
    return ArrayImages(torch.zeros(len(truth), 1, 2, 2, dtype=torch.uint8), truth, names, "set/test")


def _collected(task: Regression, truth: torch.Tensor, predicted: torch.Tensor) -> object:
    seen = task.metrics()
    z = (predicted - torch.tensor(task.mean)) / torch.tensor(task.std)
    seen.update(z, truth, torch.arange(len(truth)))
    return seen.answers()


def test_the_figures_are_scikit_learns() -> None:
    truth, predicted = _numbers()
    task = Regression().fitted(*_train())
    result = task.concluded(_collected(task, truth, predicted), _images(truth), FACTS).result
    for number, one in enumerate(result.per_column):
        y, f = truth[:, number], predicted[:, number]
        assert one.mean_absolute_error == pytest.approx(sklearn.mean_absolute_error(y, f))
        assert one.root_mean_squared_error == pytest.approx(sklearn.root_mean_squared_error(y, f))
        assert one.median_absolute_error == pytest.approx(sklearn.median_absolute_error(y, f))
        assert one.r2 == pytest.approx(sklearn.r2_score(y, f))
        assert one.of_the_mean == pytest.approx(sklearn.mean_absolute_error(y, np.full(len(y), task.mean[number])))
    assert RegressionResult.model_validate_json(result.to_json()) == result
    assert result.headline.low <= result.headline.value <= result.headline.high
    assert "standard deviations" in result.headline.name


def test_of_one_column_the_headline_is_in_its_units() -> None:
    truth, predicted = (both[:, :1] for both in _numbers())
    targets, _ = _train()
    task = Regression().fitted(targets[:, :1], ("age",))
    result = task.concluded(_collected(task, truth, predicted), _images(truth, ("age",)), FACTS).result
    assert result.error == pytest.approx(sklearn.mean_absolute_error(truth, predicted))
    assert result.headline.name == "mean absolute error of age"


def test_mean_and_spread_are_those_of_the_training_numbers() -> None:
    targets, names = _train()
    task = Regression().fitted(targets, names)
    assert task.mean == pytest.approx(targets.mean(0).tolist(), rel=1e-12)
    assert task.std == pytest.approx(targets.numpy().std(0).tolist(), rel=1e-12)


def test_a_column_that_never_changes_is_refused() -> None:
    targets, names = _train()
    targets[:, 1] = 7
    with pytest.raises(InputError, match="column 'height': every training image has 7"):
        Regression().fitted(targets, names)


@pytest.mark.parametrize("delta", [0.1, 1.0, 5.0])
def test_the_loss_is_torchs_of_standardised_numbers(delta: float) -> None:
    truth, predicted = _numbers(10)
    task = Regression(delta=delta).fitted(*_train())
    mean, std = torch.tensor(task.mean), torch.tensor(task.std)
    z = ((predicted - mean) / std).float()
    batch = Batch(torch.zeros(10, 1, 1, 1), truth, torch.arange(10))
    value, counts = task.loss(Learning())(lambda _: z, batch)
    wanted = ((truth - mean) / std).float()
    assert float(value) == pytest.approx(float(F.huber_loss(z, wanted, delta=delta)), rel=1e-5)
    assert float(counts["distance"]) == pytest.approx(float((z - wanted).abs().mean(1).sum()), rel=1e-5)


def test_cuts_order_and_merging_change_no_figure() -> None:
    truth, predicted = _numbers(50)
    task, images = Regression().fitted(*_train()), _images(truth)
    whole = task.concluded(_collected(task, truth, predicted), images, FACTS).result
    z = (predicted - torch.tensor(task.mean)) / torch.tensor(task.std)
    first, second = NumberMetrics(task.mean, task.std), NumberMetrics(task.mean, task.std)
    for number, places in enumerate(torch.randperm(50).split(7)):
        (first if number % 2 else second).update(z[places], truth[places], places)
    second.merge(first)
    assert task.concluded(second.answers(), images, FACTS).result == whole


def test_intervals_of_answers_hold_as_often_as_they_say() -> None:
    """Split conformal: over many draws of 50 held-out images, 90 % of new ones lie within, on average, or more."""
    held = []
    for seed in range(300):
        draw = np.random.default_rng(seed)
        errors = torch.from_numpy(draw.standard_t(3, 50))
        half = bound(errors, 0.9)
        assert half is not None
        held.append(float(np.mean(np.abs(draw.standard_t(3, 200)) <= half)))
    assert 0.89 <= np.mean(held) <= 0.93
    assert bound(torch.ones(8), 0.9) is None
    assert bound(torch.tensor([3.0, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]), 0.9) == 9


def test_the_interval_of_a_mean_is_students() -> None:
    from scipy import stats

    values = torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64)
    expected = stats.t.interval(0.95, 3, loc=float(values.mean()), scale=stats.sem(values.numpy()))
    low, high = interval_of_mean(values)
    assert (low, high) == pytest.approx((max(0.0, expected[0]), expected[1]))


def test_r2_of_equal_numbers_is_not_defined() -> None:
    assert r2(torch.ones(4), torch.zeros(4)) is None


def test_an_answer_comes_with_its_interval() -> None:
    task = Regression().fitted(*_train())
    truth, predicted = _numbers(40)
    held = task.concluded(_collected(task, truth, predicted), _images(truth), {**FACTS, "split": "val"})
    known, told = task.settled(held)
    assert told.startswith("answers hold for 90 % of images within age ± ")
    answer = known.decode(known.activated(torch.zeros(2)), ("age", "height"), "a.jpg", most=5)
    assert answer.values[0].value == pytest.approx(task.mean[0])
    assert answer.values[0].low < answer.values[0].value < answer.values[0].high
    assert "(90 %: " in answer.line()
    assert "(90 %: " not in task.decode(task.activated(torch.zeros(2)), ("age", "height"), "a.jpg", most=5).line()
    few = task.concluded(_collected(task, truth[:5], predicted[:5]), _images(truth[:5]), FACTS)
    assert "too few for 90 %" in task.settled(few)[1]


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(RunError, match="not finite"):
        NumberMetrics((0.0,), (1.0,)).update(torch.full((2, 1), float("inf")), torch.zeros(2, 1), torch.arange(2))


def _train() -> tuple[torch.Tensor, tuple[str, ...]]:
    return _numbers(200, seed=5)[0], ("age", "height")
