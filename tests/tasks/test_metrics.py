"""Measures against slow loops and torchmetrics; merging and splitting change no bit."""

from math import exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import Tensor

from deepres.base.errors import InputError, RunError
from deepres.tasks.classification.metrics import Measures, Scores, interval


def names(count: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(count))


def some(num_images: int, num_classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (num_images,), generator=generator)
    logits = torch.randn(num_images, num_classes, generator=generator)
    logits[torch.arange(num_images), labels] += 1
    return logits, labels, torch.arange(num_images)


def measured(logits: Tensor, labels: Tensor, indices: Tensor) -> Scores:
    measures = Measures()
    measures.update(logits, labels, indices)
    return measures.result(names(logits.shape[1]))


@pytest.mark.slow  # to import torchmetrics takes four seconds; the slow loop below proves the same
@pytest.mark.parametrize("num_classes", [2, 5, 30])
def test_scores_equal_torchmetrics(num_classes: int) -> None:
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_calibration_error,
        multiclass_confusion_matrix,
        multiclass_f1_score,
        multiclass_precision,
        multiclass_recall,
    )

    logits, labels, indices = some(500, num_classes, seed=1)
    ours = measured(logits, labels, indices)
    accuracy = multiclass_accuracy(logits, labels, num_classes, average="micro")
    assert ours.error == pytest.approx(1 - float(accuracy), abs=1e-6)
    assert torch.equal(torch.tensor(ours.confusion), multiclass_confusion_matrix(logits, labels, num_classes))
    assert ours.cross_entropy == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    ece = multiclass_calibration_error(logits.double().softmax(1), labels, num_classes, n_bins=15)
    assert ours.calibration_error == pytest.approx(float(ece), abs=1e-6)
    if num_classes >= 5:
        top5 = multiclass_accuracy(logits, labels, num_classes, top_k=5, average="micro")
        assert ours.top5_error == pytest.approx(1 - float(top5), abs=1e-6)
    for name, reference in (
        ("precision", multiclass_precision(logits, labels, num_classes, average="none")),
        ("recall", multiclass_recall(logits, labels, num_classes, average="none")),
        ("f1", multiclass_f1_score(logits, labels, num_classes, average="none")),
    ):
        assert [getattr(one, name) for one in ours.per_class] == pytest.approx(reference.tolist(), abs=1e-6)


def test_counts_equal_a_slow_loop() -> None:
    logits, labels, indices = some(60, 6, seed=2)
    ours = measured(logits, labels, indices)
    wrong = outside = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        order = sorted(range(6), key=lambda c: (-row[c], c))
        wrong += order[0] != label
        outside += label not in order[:5]
    assert (ours.num_wrong, ours.top5_error) == (wrong, outside / 60)
    assert wrong
    assert outside


@pytest.mark.parametrize("num_classes", [2, 5, 30])
def test_scores_equal_a_slow_loop(num_classes: int) -> None:
    logits, labels, indices = some(500, num_classes, seed=1)
    ours = measured(logits, labels, indices)
    pairs, bins, surprise = [], [[] for _ in range(15)], 0.0
    for row, truth in zip(logits.tolist(), labels.tolist(), strict=True):
        total = sum(exp(value) for value in row)
        answer = row.index(max(row))
        confidence = exp(row[answer]) / total
        bins[min(int(confidence * 15), 14)].append(confidence - (answer == truth))
        surprise -= log(exp(row[truth]) / total)
        pairs.append((truth, answer))
    assert ours.error == pytest.approx(sum(t != a for t, a in pairs) / 500)
    assert ours.cross_entropy == pytest.approx(surprise / 500, rel=1e-6)
    assert ours.calibration_error == pytest.approx(sum(abs(sum(gaps)) for gaps in bins) / 500, abs=1e-6)
    for c, one in enumerate(ours.per_class):
        assert list(ours.confusion[c]) == [pairs.count((c, a)) for a in range(num_classes)]
        right = pairs.count((c, c))
        precision, recall = right / sum(a == c for _, a in pairs), right / sum(t == c for t, _ in pairs)
        assert (one.precision, one.recall) == (pytest.approx(precision), pytest.approx(recall))
        assert one.f1 == pytest.approx(2 * precision * recall / (precision + recall) if right else 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(2, 12), st.integers(0, 10**6), st.data())
@pytest.mark.medium
def test_splitting_shuffling_and_merging_change_no_bit(
    images: int, classes: int, seed: int, data: st.DataObject
) -> None:
    logits, labels, indices = some(images, classes, seed)
    whole = measured(logits, labels, indices)
    order = torch.tensor(data.draw(st.permutations(range(images))))
    size = data.draw(st.integers(1, images))
    parts = [Measures(), Measures()]
    for number, chosen in enumerate(order.split(size)):
        parts[number % 2].update(logits[chosen], labels[chosen], indices[chosen])
    parts[0].merge(parts[1])
    assert parts[0].result(names(classes)) == whole


@pytest.mark.parametrize("counts", [(30, 3), (5, 50, 1, 20), (10, 10, 10), (7, 0, 3)])
def test_the_balanced_error_is_scikit_learns(counts: tuple[int, ...]) -> None:
    from sklearn.metrics import balanced_accuracy_score

    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    logits, _, indices = some(len(labels), len(counts), seed=3)
    logits[:, counts.index(0) if 0 in counts else 0] -= 9 * (0 in counts)
    scores = measured(logits, labels, indices)
    assert scores.balanced_error == pytest.approx(1 - balanced_accuracy_score(labels, logits.argmax(1)), abs=1e-12)
    assert (scores.telling_balanced is None) == (counts == (10, 10, 10))
    assert Scores.model_validate_json(scores.to_json()) == scores


def test_results_of_before_get_their_balanced_error() -> None:
    scores = measured(*some(50, 4, seed=1))
    old = {name: value for name, value in scores.model_dump().items() if name != "balanced_error"}
    assert Scores.model_validate(old).balanced_error == scores.balanced_error


def test_top5_of_fewer_than_five_classes_is_none() -> None:
    assert measured(*some(10, 4, seed=0)).top5_error is None
    assert measured(*some(10, 5, seed=0)).top5_error == 0


def test_of_equal_logits_the_first_class_is_the_answer() -> None:
    ours = measured(torch.zeros(3, 3), torch.tensor([0, 1, 2]), torch.arange(3))
    assert ours.confusion == ((1, 0, 0), (1, 0, 0), (1, 0, 0))
    assert ours.num_wrong == 2
    assert ours.cross_entropy == pytest.approx(log(3))


def test_scores_without_a_denominator_are_none() -> None:
    ours = measured(torch.tensor([[1.0, 0, 0], [1.0, 0, 0]]), torch.tensor([0, 1]), torch.arange(2))
    assert [(c.precision, c.recall, c.f1) for c in ours.per_class] == [
        (0.5, 1.0, pytest.approx(2 / 3)),
        (None, 0.0, 0.0),
        (None, None, None),
    ]


def test_a_certain_answer_falls_into_the_last_bin() -> None:
    logits = torch.tensor([[1000.0, 0], [1000.0, 0], [3.0, 0]])
    ours = measured(logits, torch.tensor([0, 1, 0]), torch.arange(3))
    assert [b.num_images for b in ours.calibration] == [0] * 14 + [3]
    assert ours.calibration[-1].num_right == 2


def test_confused_pairs_are_counted_and_sorted() -> None:
    truth, said = torch.tensor([0, 0, 1, 2, 2, 1]), torch.tensor([1, 1, 0, 2, 0, 1])
    ours = measured(torch.nn.functional.one_hot(said, 3).float(), truth, torch.arange(6))
    assert [(p.truth, p.predicted, p.num_images) for p in ours.confused] == [
        ("class 0", "class 1", 2),
        ("class 1", "class 0", 1),
        ("class 2", "class 0", 1),
    ]


@given(st.integers(0, 200), st.integers(1, 200))
@pytest.mark.medium
def test_wilsons_interval_equals_its_formula(count: int, total: int) -> None:
    count = min(count, total)
    z, p = 1.959963984540054, count / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * (p * (1 - p) / total + z * z / (4 * total * total)) ** 0.5
    assert interval(count, total) == pytest.approx((middle - half, middle + half), abs=1e-9)


@pytest.mark.medium
def test_wilsons_interval_is_scipys_to_the_last_bit() -> None:
    for total in (1, 2, 3, 7, 40, 157, 10_000, 50_000):
        for count in range(0, total + 1, max(1, total // 37)):
            low, high = binomtest(count, total).proportion_ci(confidence_level=0.95, method="wilson")
            assert interval(count, total) == (low, high)


def test_half_precision_logits_lose_nothing_in_the_sums() -> None:
    logits, labels, indices = some(50, 7, seed=3)
    assert measured(logits.bfloat16(), labels, indices) == measured(logits.bfloat16().double(), labels, indices)


def test_an_image_given_twice_is_refused() -> None:
    logits, labels, indices = some(4, 3, seed=0)
    measures = Measures()
    measures.update(logits, labels, indices)
    measures.update(logits[:1], labels[:1], torch.tensor([2]))
    with pytest.raises(InputError, match=r"^evaluation: image 2 was given more than once; wanted each once, no padded"):
        measures.answers()


def test_no_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"^evaluation: no images were given; wanted at least one$"):
        Measures().answers()


def test_logits_that_are_not_finite_stop() -> None:
    logits, labels, indices = some(4, 3, seed=0)
    logits[1, 2] = torch.nan
    with pytest.raises(
        RunError, match=r"^evaluation: the logits of 1 of 4 images are not finite \(image 8\); the weights"
    ):
        Measures().update(logits, labels, indices + 7)
