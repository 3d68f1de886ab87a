"""A temperature against one that is known, against a grid, and what it leaves alone."""

import numpy as np
import pytest
import torch

from deepres.base.errors import InputError
from deepres.evaluate.calibration import Tempered, at_temperature, find_temperature, tempered
from deepres.evaluate.measures import Measures, Predictions, coverage, score

CLASSES = tuple("abcde")


def answers(seed: int, factor: float, count: int = 4000, keep: bool = True) -> Predictions:
    """Labels drawn from softmax(z), logits stated as `factor` z: the right temperature is `factor`."""
    draw = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(count, 5, generator=draw)
    labels = torch.multinomial(z.softmax(1), 1, generator=draw)[:, 0]
    measures = Measures(keep_scores=keep)
    measures.update(factor * z, labels, torch.arange(count))
    return measures.predictions()


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_the_temperature_that_spoilt_the_logits_is_found(factor: float) -> None:
    assert find_temperature(answers(0, factor)) == pytest.approx(factor, rel=0.05)


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
    found = tempered(test, held_out, "val")
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
    with pytest.raises(InputError, match=r"^temperature: all 5 held-out images are right, which tells none; hold more"):
        find_temperature(measures.predictions())
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
    assert [(point.num_images, point.num_wrong) for point in coverage(measures.predictions(), 5)] == [(6, 3), (10, 5)]
