"""Thresholds are those of the held-out images; AUROC is scikit-learn's; what is put aside is called unknown everywhere."""

import numpy as np
import pytest
import torch

from deepres.base.errors import InputError
from deepres.tasks.classification.metrics import Measures, Predictions
from deepres.tasks.classification.rejection import SHARES, Rejection, Threshold, rule_of
from deepres.tasks.classification.task import Classification
from deepres.tasks.classification.unknown import auroc, found_rejection, unknown_scores

KEPT = Rejection(
    thresholds=tuple(
        Threshold(probability=p, answered=n, wrong=w) for p, n, w in ((0.2, 100, 9), (0.5, 95, 5), (0.9, 60, 0))
    ),
    found_on="val",
    images=100,
)


def _answers(n: int, seed: int = 0) -> Predictions:
    torch.manual_seed(seed)
    found = Measures()
    found.update(2 * torch.randn(n, 4), torch.randint(4, (n,)), torch.arange(n))
    return found.answers()


@pytest.mark.parametrize(
    ("rule", "probability"),
    [
        ("coverage=1", 0.2),
        ("coverage=0.96", 0.2),
        ("coverage=0.95", 0.5),
        ("coverage=95%", 0.5),
        ("coverage=0.5", 0.9),
        ("coverage=0", 0.9),
        ("error=0.09", 0.2),
        ("error=6%", 0.5),
        ("error=0", 0.9),
        ("probability=0.75", 0.75),
    ],
)
def test_a_rule_is_a_probability(rule: str, probability: float) -> None:
    assert rule_of(rule, KEPT).probability == probability


def test_what_a_rule_does_is_said() -> None:
    assert rule_of("coverage=0.95", KEPT).said == (
        "below a probability of 0.5000: 95 of 100 held-out images (val) are answered, 5 of these wrongly (5.26 %)"
    )


@pytest.mark.parametrize("rule", ["0.5", "coverage=2", "coverage=x", "coverage=nan", "recall=0.5", "error=-1", ""])
def test_another_rule_is_refused(rule: str) -> None:
    with pytest.raises(InputError, match=rf"--reject {rule}: wanted coverage=0.95"):
        rule_of(rule, KEPT)


def test_rules_that_need_thresholds_are_refused_where_there_are_none() -> None:
    with pytest.raises(InputError, match=r"--reject coverage=0.9: these weights keep no thresholds"):
        rule_of("coverage=0.9", None)
    worse = KEPT.replace(thresholds=KEPT.thresholds[:2])
    with pytest.raises(InputError, match=r"on 100 held-out images no threshold has so few errors; the least is error="):
        rule_of("error=0.01", worse)


def test_thresholds_are_those_of_a_slow_count() -> None:
    answers = _answers(200)
    found = found_rejection(answers, "val")
    assert (found.found_on, found.images) == ("val", 200)
    ordered = sorted(answers.probability.tolist(), reverse=True)
    for share, one in zip(SHARES, found.thresholds, strict=True):
        assert one.answered == round(share * 200)
        assert one.probability == ordered[one.answered - 1]
        kept = [p >= one.probability for p in answers.probability.tolist()]
        assert one.wrong == sum(k and r > 0 for k, r in zip(kept, answers.rank.tolist(), strict=True))


def test_equal_probabilities_stay_together() -> None:
    found = Measures()
    found.update(torch.zeros(30, 3), torch.zeros(30, dtype=torch.int64), torch.arange(30))
    (one,) = found_rejection(found.answers(), "val").thresholds
    assert (one.answered, one.wrong) == (30, 0)


@pytest.mark.medium
@pytest.mark.parametrize("seed", range(3))
def test_auroc_is_scikit_learns_and_its_interval_delongs(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(seed)
    a, b = draw.normal(1, 1, 40).round(1), draw.normal(0, 1, 25).round(1)  # ties
    area, low, high = auroc(a, b)
    assert area == pytest.approx(metrics.roc_auc_score([1] * 40 + [0] * 25, [*a, *b]))
    pairs = np.array([[(x > y) + (x == y) / 2 for y in b] for x in a])
    variance = pairs.mean(1).var(ddof=1) / 40 + pairs.mean(0).var(ddof=1) / 25
    assert high - area == pytest.approx(1.96 * variance**0.5, rel=1e-4)
    assert low == pytest.approx(2 * area - high)


def test_pairs_that_are_all_in_order_are_not_taken_for_certain() -> None:
    ones, zeros = np.ones(20), np.zeros(50)
    area, low, high = auroc(ones, zeros)
    assert (area, high) == (1, 1)
    assert low == pytest.approx(20 / (20 + 1.96**2), rel=1e-3)  # Wilson's
    area, low, high = auroc(zeros, ones)
    assert (area, low) == (0, 0)
    assert high == pytest.approx(1.96**2 / (20 + 1.96**2), rel=1e-3)
    assert auroc(ones[:1], ones) == (0.5, 0, 1)


def test_known_and_unknown_images_are_counted_at_the_runs_thresholds() -> None:
    known, unknown = torch.tensor([0.95, 0.9, 0.6, 0.4]), torch.tensor([0.55, 0.1])
    found = unknown_scores(known, unknown, "others", KEPT)
    assert [(one.coverage, one.known, one.unknown) for one in found.at] == [(1, 4, 1), (0.95, 3, 1), (0.6, 1, 0)]
    assert found.auroc == 7 / 8
    assert found.unknown_answered == 0.5
    assert found.curve[0] == (0, 0)
    assert found.curve[-1] == (1, 1)
    assert found.lines()[1] == (
        "--reject coverage=0.95: answered are 75.00 % of the known images and 50.00 % of the unknown"
    )
    with pytest.raises(InputError, match="others: wanted images of known and of unknown classes"):
        unknown_scores(known, unknown[:0], "others", KEPT)


def test_an_answer_below_is_unknown_in_every_form() -> None:
    task = Classification(rejection=KEPT).rejecting("coverage=0.95")[0]
    names = ("cat", "dog", "owl")
    sure, unsure = (task.decode(torch.tensor(p), names, "a.png", 2) for p in ([0.6, 0.3, 0.1], [0.4, 0.35, 0.25]))
    assert (sure.label, unsure.label) == ("cat", "unknown")
    assert unsure.line() == "a.png: unknown (cat 40.0 %  dog 35.0 %)"
    assert sure.line() == "a.png: cat 60.0 %  dog 30.0 %"
    assert unsure.rows()[0] == {
        "answer": "unknown",
        "class": "cat",
        "probability": "0.400000",
        "class_2": "dog",
        "probability_2": "0.350000",
    }
    assert set(unsure.rows()[0]) == set(task.columns(names, 2))
    assert [one.model_dump(mode="json")["unknown"] for one in (sure, unsure)] == [False, True]
    plain = Classification(rejection=KEPT).decode(torch.tensor([0.4, 0.35, 0.25]), names, "a.png", 2)
    assert "unknown" not in plain.model_dump(mode="json")
    assert "answer" not in plain.rows()[0]


def test_what_is_asked_is_not_kept_and_what_was_found_is() -> None:
    task = Classification(rejection=KEPT)
    dumped = task.rejecting("error=0")[0].model_dump(mode="json")
    assert Classification.model_validate(dumped) == task
    assert task.unsettled() == Classification()
