import pytest
import torch
from torch import nn

from deepres.data.sample import Batch
from deepres.train.losses import cross_entropy, wrong


def _batch(labels: torch.Tensor) -> Batch:
    return Batch(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), labels, torch.arange(6))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_the_formula(smoothing: float) -> None:
    batch = _batch(torch.tensor([0, 1, 2, 3, 0, 1]))
    loss, logits = cross_entropy(smoothing)(nn.Identity(), batch)
    log_p = logits - logits.exp().sum(1, keepdim=True).log()
    q = (1 - smoothing) * nn.functional.one_hot(batch.labels, 4) + smoothing / 4
    torch.testing.assert_close(loss, -(q * log_p).sum(1).mean())


def test_a_mixture_that_is_one_class_is_that_class() -> None:
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    plain, _ = cross_entropy(0.1)(nn.Identity(), _batch(labels))
    mixed, _ = cross_entropy(0.1)(nn.Identity(), _batch(nn.functional.one_hot(labels, 4).float()))
    torch.testing.assert_close(plain, mixed)


def test_mistakes_are_counted_against_the_main_class() -> None:
    logits = torch.tensor([[2.0, 1.0], [1.0, 2.0], [3.0, 0.0]])
    assert wrong(logits, torch.tensor([0, 0, 0])) == 1
    assert wrong(logits, torch.tensor([[0.6, 0.4], [0.3, 0.7], [0.4, 0.6]])) == 1
