"""Several classes an image: figures against scikit-learn, thresholds, loss, answers."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn
from torch.nn import functional as F

from deepres.base.errors import InputError, RunError
from deepres.data.images import ArrayImages, Batch
from deepres.tasks.multilabel.losses import binary_cross_entropy, positive_weights
from deepres.tasks.multilabel.metrics import LabelMetrics, average_precisions, map_interval, mean_average_precision
from deepres.tasks.multilabel.result import MultilabelResult
from deepres.tasks.multilabel.task import Multilabel
from deepres.tasks.multilabel.thresholds import Thresholds, best_threshold, found_thresholds
from deepres.tasks.task import Learning

NAMES = ("cat", "dog", "eel", "fox")
FACTS = {"split": "test", "protocol": "center", "skipped": (), "seconds": 2.0, "provenance": {}}


def _answers(images: int = 60, tied: bool = False, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = np.random.default_rng(seed)
    truth = (draw.random((images, len(NAMES))) < (0.5, 0.2, 0.8, 0.1)).astype(np.float32)
    logits = truth * 2 - 1 + draw.normal(0, 1.5, truth.shape)
    logits = np.round(logits) if tied else logits
    return torch.from_numpy(truth), torch.from_numpy(logits)


def _images(truth: torch.Tensor) -> ArrayImages:
    return ArrayImages(torch.zeros(len(truth), 1, 2, 2, dtype=torch.uint8), truth, NAMES, "set/test")


@pytest.mark.parametrize("tied", [False, True])
def test_average_precision_is_scikit_learns(tied: bool) -> None:
    truth, logits = _answers(tied=tied)
    expected = sklearn.average_precision_score(truth, logits, average=None)
    assert average_precisions(truth, logits) == pytest.approx(list(expected), abs=1e-12)
    assert mean_average_precision(truth, logits) == pytest.approx(expected.mean(), abs=1e-12)


def test_a_class_on_no_image_has_no_average_precision_and_is_left_out_of_the_mean() -> None:
    truth, logits = _answers()
    truth[:, 1] = 0
    known = average_precisions(truth, logits)
    assert known[1] is None
    assert mean_average_precision(truth, logits) == pytest.approx(np.mean([one for one in known if one is not None]))


@pytest.mark.parametrize("choose", ["half", "held-out"])
def test_the_figures_are_scikit_learns(choose: str) -> None:
    truth, logits = _answers(200)
    task = Multilabel(choose=choose)
    held_truth, held_logits = _answers(100, seed=1)
    held = task.concluded(_collected(task, held_truth, held_logits), _images(held_truth), {**FACTS, "split": "val"})
    task, _ = task.settled(held)
    result = task.concluded(_collected(task, truth, logits), _images(truth), FACTS).result
    at = np.array([0.5] * 4 if task.thresholds is None else task.thresholds.values)
    said = logits.sigmoid().numpy() >= at
    y = truth.numpy()
    assert [one.f1 for one in result.per_class] == pytest.approx(list(sklearn.f1_score(y, said, average=None)))
    assert [one.precision for one in result.per_class] == pytest.approx(
        list(sklearn.precision_score(y, said, average=None))
    )
    assert [one.recall for one in result.per_class] == pytest.approx(list(sklearn.recall_score(y, said, average=None)))
    assert result.macro_f1 == pytest.approx(sklearn.f1_score(y, said, average="macro"))
    assert result.micro_f1 == pytest.approx(sklearn.f1_score(y, said, average="micro"))
    assert result.hamming_loss == pytest.approx(sklearn.hamming_loss(y, said))
    assert result.subset_error == pytest.approx(1 - sklearn.accuracy_score(y, said))
    each = [sklearn.log_loss(y[:, c], logits.sigmoid()[:, c].numpy()) for c in range(4)]
    assert result.binary_cross_entropy == pytest.approx(np.sum(each))
    assert MultilabelResult.model_validate_json(result.to_json()) == result
    assert result.headline.low <= result.headline.value <= result.headline.high


def test_cuts_order_and_merging_change_no_figure() -> None:
    truth, logits = _answers(50)
    task, images = Multilabel(), _images(truth)
    whole = task.concluded(_collected(task, truth, logits), images, FACTS).result
    first, second = LabelMetrics(), LabelMetrics()
    for number, places in enumerate(torch.randperm(50).split(7)):
        (first if number % 2 else second).update(logits[places], truth[places], places)
    second.merge(first)
    assert task.concluded(second.answers(), images, FACTS).result == whole


@pytest.mark.medium
def test_the_interval_covers_what_the_population_has() -> None:
    """Of 60 sets of 80 images, drawn from one law, the 95 % intervals hold the law's value about 57 times."""
    law = mean_average_precision(*_answers(20_000, seed=99))
    held = 0
    for seed in range(60):
        truth, logits = _answers(80, seed=seed)
        low, high = map_interval(truth, logits)
        held += low <= law <= high
    assert held >= 50


def test_the_interval_of_rare_classes_holds_the_figure_itself() -> None:
    draw = np.random.default_rng(0)
    truth = torch.from_numpy((draw.random((40, 60)) < 0.04).astype(np.float32))
    logits = torch.from_numpy(draw.normal(0, 1, truth.shape))
    low, high = map_interval(truth, logits)
    assert low < mean_average_precision(truth, logits) < high


@pytest.mark.medium
def test_a_threshold_is_the_best_of_all_that_could_be_tried() -> None:
    def f1(y: torch.Tensor, said: torch.Tensor) -> float:
        return 2 * float((y * said).sum()) / max(1.0, float(y.sum() + said.sum()))

    for seed in range(6):
        truth, logits = _answers(40, tied=bool(seed % 2), seed=seed)
        p = logits.sigmoid()
        for y, own in zip(truth.T, p.T, strict=True):
            tried = [f1(y, own >= at) for at in torch.linspace(0, 1, 501)]
            assert f1(y, own >= best_threshold(y, own)) >= max(tried) - 1e-9


def test_a_class_on_few_held_out_images_keeps_one_half() -> None:
    truth, logits = torch.zeros(30, 2), torch.linspace(-3, 3, 60).reshape(30, 2).double()
    truth[:4, 0] = 1
    truth[:9, 1] = 1
    found = found_thresholds(truth, logits.sigmoid(), "val")
    assert found.values[0] == 0.5
    assert found.chosen == 1
    assert "1 of 2 classes" in str(found)


def test_the_loss_is_torchs_and_its_mean_is_over_images() -> None:
    truth, logits = _answers(12)
    batch = Batch(torch.zeros(12, 1, 1, 1), truth, torch.arange(12))
    value, counts = binary_cross_entropy()(lambda _: logits.float(), batch)
    assert float(value) == pytest.approx(4 * float(F.binary_cross_entropy_with_logits(logits.float(), truth)))
    assert float(counts["pair_error"]) == pytest.approx(float(((logits > 0).float() != truth).double().mean(1).sum()))
    parts = [
        binary_cross_entropy()(lambda _, k=k: logits[k : k + 4].float(), batch.at(slice(k, k + 4))) for k in (0, 4, 8)
    ]
    assert sum(float(part[0]) for part in parts) / 3 == pytest.approx(float(value))
    smooth, _ = Multilabel().loss(Learning(label_smoothing=0.2))(lambda _: logits.float(), batch)
    assert float(smooth) == pytest.approx(
        4 * float(F.binary_cross_entropy_with_logits(logits.float(), 0.8 * truth + 0.1))
    )


def test_balanced_classes_weigh_alike_where_they_are_and_where_they_are_not() -> None:
    truth, _ = _answers(100)
    weights = positive_weights(truth)
    assert torch.allclose(weights * truth.sum(0), (1 - truth).sum(0))


def test_several_views_average_as_probabilities() -> None:
    logits = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    mean = Multilabel().averaged(logits, "probability")
    assert torch.allclose(mean.sigmoid(), logits.sigmoid().mean(0))
    assert torch.equal(Multilabel().averaged(logits, "logit"), logits.mean(0))


def test_an_answer_names_what_reaches_its_threshold() -> None:
    at = Thresholds(values=(0.9, 0.1, 0.5, 0.5), chosen=2, found_on="val", images=50)
    task, logits = Multilabel(thresholds=at), torch.tensor([0.8, 0.2, 0.5, 0.3]).logit()
    answer = task.decode(task.activated(logits), NAMES, "a.jpg", most=1)
    assert answer.labels == ("dog", "eel")
    assert answer.line() == "a.jpg: eel 50.0 %  dog 20.0 %"
    none = task.decode(torch.full((4,), 0.01), NAMES, "b.jpg", most=2)
    assert none.line().startswith("b.jpg: none (likeliest ")


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(RunError, match="not finite"):
        LabelMetrics().update(torch.full((2, 4), float("nan")), torch.zeros(2, 4), torch.arange(2))
    with pytest.raises(InputError, match="no images"):
        LabelMetrics().answers()


def _collected(task: Multilabel, truth: torch.Tensor, logits: torch.Tensor) -> object:
    seen = task.metrics()
    seen.update(logits, truth, torch.arange(len(truth)))
    return seen.answers()
