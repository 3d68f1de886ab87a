import pytest
import torch
from torch import nn

from deepres.base.errors import InputError
from deepres.base.records import build
from deepres.data.images import Batch
from deepres.tasks.classification.losses import binary_cross_entropy, cross_entropy, wrong
from deepres.train.config import TrainConfig


def _batch(labels: torch.Tensor) -> Batch:
    return Batch(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), labels, torch.arange(6))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_the_formula(smoothing: float) -> None:
    batch = _batch(torch.tensor([0, 1, 2, 3, 0, 1]))
    loss, counts = cross_entropy(smoothing)(nn.Identity(), batch)
    logits = batch.images
    assert counts["wrong"] == (logits.argmax(1) != batch.targets).sum()
    log_p = logits - logits.exp().sum(1, keepdim=True).log()
    q = (1 - smoothing) * nn.functional.one_hot(batch.targets, 4) + smoothing / 4
    torch.testing.assert_close(loss, -(q * log_p).sum(1).mean())


def test_a_mixture_that_is_one_class_is_that_class() -> None:
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    plain, _ = cross_entropy(0.1)(nn.Identity(), _batch(labels))
    mixed, _ = cross_entropy(0.1)(nn.Identity(), _batch(nn.functional.one_hot(labels, 4).float()))
    torch.testing.assert_close(plain, mixed)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mixed", [False, True])
def test_each_class_asked_on_its_own_is_the_formula(smoothing: float, mixed: bool) -> None:
    labels = torch.tensor([0, 1, 2, 3, 0, 3])
    q = nn.functional.one_hot(labels, 4).float()
    if mixed:
        q = 0.7 * q + 0.3 * q.roll(1, 0)
    batch = _batch(q if mixed else labels)
    loss, counts = binary_cross_entropy(smoothing)(nn.Identity(), batch)
    smooth = (1 - smoothing) * q + smoothing / 4
    p = batch.images.sigmoid()
    torch.testing.assert_close(loss, -(smooth * p.log() + (1 - smooth) * (1 - p).log()).mean())
    assert counts["wrong"] == (batch.images.argmax(1) != q.argmax(1)).sum()


@pytest.mark.medium
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_timms(smoothing: float) -> None:
    timms = pytest.importorskip("timm.loss")
    batch = _batch(torch.tensor([0, 1, 2, 3, 0, 1]))
    loss, _ = binary_cross_entropy(smoothing)(nn.Identity(), batch)
    torch.testing.assert_close(loss, timms.BinaryCrossEntropy(smoothing)(batch.images, batch.targets))


def test_it_goes_with_no_weights_of_classes() -> None:
    with pytest.raises(InputError, match="loss=binary asks of each class on its own, balance=loss weighs images"):
        build(TrainConfig, {"epochs": 1, "loss": "binary", "balance": "loss"}, "train")


WEIGHTS = torch.tensor([0.25, 0.5, 1.0, 4.0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mixed", [False, True])
def test_weights_of_classes_are_those_of_the_formula_averaged_over_images(smoothing: float, mixed: bool) -> None:
    labels = torch.tensor([0, 1, 2, 3, 0, 3])
    q = nn.functional.one_hot(labels, 4).float()
    if mixed:
        q = 0.7 * q + 0.3 * q.roll(1, 0)
    batch = _batch(q if mixed else labels)
    loss, _ = cross_entropy(smoothing, WEIGHTS)(nn.Identity(), batch)
    logits = batch.images
    smooth = (1 - smoothing) * q + smoothing / 4
    torch.testing.assert_close(loss, -(WEIGHTS * smooth * logits.log_softmax(1)).sum(1).mean())
    if not mixed:  # torch's own mean divides by the weights of the batch instead
        torchs = nn.CrossEntropyLoss(WEIGHTS, label_smoothing=smoothing)(logits, labels)
        torch.testing.assert_close(loss, torchs * WEIGHTS[labels].mean())


def test_parts_of_a_weighted_batch_average_to_the_whole() -> None:
    loss = cross_entropy(0.1, WEIGHTS)
    whole = _batch(torch.tensor([0, 0, 0, 3, 2, 3]))
    parts = [Batch(whole.images[i], whole.targets[i], whole.indices[i]) for i in (slice(0, 4), slice(4, 6))]
    mean = sum(loss(nn.Identity(), part)[0] * len(part) / 6 for part in parts)
    torch.testing.assert_close(mean, loss(nn.Identity(), whole)[0])


def test_weights_of_one_change_nothing() -> None:
    batch = _batch(torch.tensor([0, 1, 2, 3, 0, 1]))
    plain, _ = cross_entropy(0.1)(nn.Identity(), batch)
    weighted, _ = cross_entropy(0.1, torch.ones(4))(nn.Identity(), batch)
    torch.testing.assert_close(plain, weighted)


def test_mistakes_are_counted_against_the_main_class() -> None:
    logits = torch.tensor([[2.0, 1.0], [1.0, 2.0], [3.0, 0.0]])
    assert wrong(logits, torch.tensor([0, 0, 0])) == 1
    assert wrong(logits, torch.tensor([[0.6, 0.4], [0.3, 0.7], [0.4, 0.6]])) == 1
