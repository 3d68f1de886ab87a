"""A temperature against one that is known, against a grid, and what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deepres.base.errors import InputError
from deepres.tasks.classification.calibration import (
    FEWEST,
    Tempered,
    at_temperature,
    find_temperature,
    temperature_of,
    tempered,
)
from deepres.tasks.classification.metrics import Measures, Predictions, coverage, score
from deepres.tasks.classification.task import Temperature

CLASSES = tuple("abcde")


def answers(seed: int, factor: float, count: int = 4000, keep: bool = True) -> Predictions:
    """Labels drawn from softmax(z), logits stated as `factor` z: the right temperature is `factor`."""
    draw = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(count, 5, generator=draw)
    labels = torch.multinomial(z.softmax(1), 1, generator=draw)[:, 0]
    measures = Measures(keep_scores=keep)
    measures.update(factor * z, labels, torch.arange(count))
    return measures.answers()


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_the_temperature_that_spoilt_the_logits_is_found(factor: float) -> None:
    assert find_temperature(answers(0, factor)) == pytest.approx(factor, rel=0.05)


@pytest.mark.medium
def test_it_is_the_minimum_of_the_loss_over_a_grid() -> None:
    held_out = answers(1, 1.7, 500)
    found = find_temperature(held_out)
    losses = {float(t): float(at_temperature(held_out, float(t)).loss.mean()) for t in np.linspace(0.5, 4, 351)}
    best = min(losses, key=losses.__getitem__)
    assert found == pytest.approx(best, abs=0.01)
    assert float(at_temperature(held_out, found).loss.mean()) <= losses[best] + 1e-12
    assert find_temperature(held_out) == found  # to the bit


def test_temperature_one_changes_nothing_and_none_changes_an_answer() -> None:
    before = answers(2, 3.0, 200)
    same, cooler = at_temperature(before, 1.0), at_temperature(before, 3.0)
    torch.testing.assert_close(same.probability, before.probability, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(same.loss, before.loss, rtol=1e-12, atol=1e-12)
    assert torch.equal(cooler.predicted, before.predicted)
    assert torch.equal(cooler.rank, before.rank)
    assert cooler.scores is not None
    assert torch.equal(cooler.scores.argmax(1), before.predicted)
    torch.testing.assert_close(cooler.scores.exp().sum(1), torch.ones(200, dtype=torch.float64))
    assert float(cooler.probability.mean()) < float(before.probability.mean())


def test_too_sure_a_network_is_mended_on_other_images() -> None:
    test, held_out = answers(3, 2.5), answers(4, 2.5)
    found = tempered(test, temperature_of(held_out, "val"))
    assert found.calibration_error_before == score(test, CLASSES).calibration_error
    assert found.cross_entropy_before == score(test, CLASSES).cross_entropy
    after = score(at_temperature(test, found.temperature), CLASSES)
    assert (found.calibration_error, found.cross_entropy) == (after.calibration_error, after.cross_entropy)
    assert found.calibration == after.calibration
    assert found.calibration_error < 0.3 * found.calibration_error_before
    assert found.cross_entropy < found.cross_entropy_before
    assert str(found).startswith("temperature 2.4") or str(found).startswith("temperature 2.5")
    assert ", found on 4,000 images of val: calibration error " in str(found)
    assert Tempered.model_validate_json(found.model_dump_json()) == found


def test_what_tells_no_temperature_is_refused() -> None:
    measures = Measures(keep_scores=True)
    measures.update(torch.eye(5) * 3, torch.arange(5), torch.arange(5))
    with pytest.raises(
        InputError, match=r"^temperature: 5 held-out images are too few to find a temperature, wanted at least 20"
    ):
        find_temperature(measures.answers())
    with pytest.raises(InputError, match=r"^temperature: wanted the scores of all classes; evaluate with keep_scores"):
        find_temperature(answers(0, 1.0, 50, keep=False))


def test_coverage_counts_the_surest_first() -> None:
    found = answers(5, 1.0, 437)
    points = coverage(found)
    order = found.probability.argsort(descending=True)
    for number, point in enumerate(points, 1):
        assert point.num_images == round(number * 437 / 20)
        kept = order[: point.num_images]
        assert point.num_wrong == int((found.rank[kept] > 0).sum())
        assert point.probability == float(found.probability[kept].min())
    assert (points[-1].num_images, points[-1].num_wrong) == (437, int((found.rank > 0).sum()))
    assert points[4].num_wrong / points[4].num_images < points[-1].num_wrong / 437


def test_equally_sure_images_are_answered_together() -> None:
    measures = Measures()
    measures.update(torch.tensor([[2.0, 0]] * 6 + [[1.0, 0]] * 4), torch.tensor([0, 1] * 5), torch.arange(10))
    assert [(point.num_images, point.num_wrong) for point in coverage(measures.answers(), 5)] == [(6, 3), (10, 5)]


def all_right(count: int, gap: float, classes: int = 5) -> Predictions:
    """Every image is right; its logit stands `gap` above all others."""
    labels = torch.arange(count) % classes
    measures = Measures(keep_scores=True)
    measures.update(gap * torch.eye(classes, dtype=torch.float64)[labels], labels, torch.arange(count))
    return measures.answers()


@pytest.mark.parametrize("count", [FEWEST, 50, 400])
@pytest.mark.parametrize("gap", [0.5, 2.0, 30.0])
def test_of_images_that_are_all_right_it_is_the_one_by_hand(count: int, gap: float) -> None:
    # n images right and one that is as likely its runner-up, p / q = e^(gap / T), p + 4 q = 1
    found = temperature_of(all_right(count, gap), "val")
    grid = np.exp(np.linspace(np.log(found.value) - 1, np.log(found.value) + 1, 20001))
    g = gap / grid
    log_p, log_q = -np.log1p(4 * np.exp(-g)), -g - np.log1p(4 * np.exp(-g))
    loss = -(count + 0.5) * log_p - 0.5 * log_q
    assert found.value == pytest.approx(float(grid[loss.argmin()]), rel=1e-3)
    p = 1 / (1 + 4 * np.exp(-gap / found.value))
    assert p == pytest.approx((count + 0.5) / (count + 1), abs=1e-6)  # the law of the half error
    assert found.low < found.value < found.high


@pytest.mark.medium
def test_the_more_images_are_right_the_surer_it_gets_and_what_is_added_does_not_weigh_on_many() -> None:
    few, more = (find_temperature(all_right(count, 2.0)) for count in (FEWEST, 400))
    assert more < few < 1
    scores = answers(6, 1.7).scores
    assert scores is not None
    held_out = answers(6, 1.7)

    def plain(t: float) -> float:  # without the image that is added
        return float(-(scores / t).log_softmax(1).gather(1, held_out.truth[:, None]).mean())

    grid = np.linspace(1.2, 2.4, 1201)
    assert find_temperature(held_out) == pytest.approx(float(grid[np.argmin([plain(t) for t in grid])]), rel=2e-3)


def test_a_class_that_is_ruled_out_and_one_class_alone_break_nothing() -> None:
    held_out = answers(7, 1.0, 100)
    assert held_out.scores is not None
    ruled_out = held_out.scores.clone()
    ruled_out[torch.arange(100), (held_out.truth + 1) % 5] = -np.inf
    found = temperature_of(replace(held_out, scores=ruled_out), "val")
    assert found.low < found.value < found.high
    alone = replace(held_out, scores=torch.full_like(ruled_out, -np.inf).scatter(1, held_out.truth[:, None], 0.0))
    with pytest.raises(InputError, match=r"^temperature: the search ended at its bound|all 100"):
        find_temperature(alone)


@pytest.mark.medium
def test_the_interval_of_few_images_holds_the_true_temperature() -> None:
    covered = []
    for seed in range(40):
        few = answers(100 + seed, 0.25, 40)  # timid: logits a quarter of what they should be
        found = temperature_of(few, "val")
        covered.append(found.low <= 0.25 <= found.high)
    assert sum(covered) >= 35


def test_a_temperature_is_a_positive_number_and_says_what_it_rests_on() -> None:
    found = Temperature(value=0.4321, low=0.3, high=0.612, found_on="val", images=60)
    assert str(found) == "temperature 0.43 (95 % interval 0.30 to 0.61), found on 60 held-out images"
    for value in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="value"):
            Temperature(value=value, low=0.3, high=0.6, found_on="val", images=60)


def test_one_measures_nothing_new() -> None:
    test = answers(9, 2.0, 300)
    same = tempered(test, Temperature(value=1.0, low=0.9, high=1.1, found_on="val", images=50))
    assert same.calibration_error == pytest.approx(same.calibration_error_before, abs=1e-12)
    assert same.cross_entropy == pytest.approx(same.cross_entropy_before, abs=1e-12)
    sharp = tempered(test, Temperature(value=0.1, low=0.9, high=1.1, found_on="val", images=50))
    assert sum(one.num_right for one in sharp.calibration) == int((test.rank == 0).sum())  # the error stays
