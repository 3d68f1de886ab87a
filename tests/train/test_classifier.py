"""The classifier on features: scikit-learn's logistic regression is the reference."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from deepres.data.loading.balance import class_weights, sizes
from deepres.train.classifier import PENALTIES, fit_classifier


def _features(seed: int = 0, images: int = 120, classes: int = 4) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % classes
    centres = torch.randn(classes, 30, generator=draw)
    return 7 + 40 * (centres[labels] + 1.5 * torch.randn(images, 30, generator=draw)), labels


@pytest.mark.parametrize("images", [120, 20])  # more than features, and fewer
def test_it_is_the_logistic_regression_of_scaled_features(images: int) -> None:
    x, labels = _features(images=images)
    found = fit_classifier(x, labels, 4)
    scale = (x - x.mean(0)).double().square().sum(1).mean().sqrt()
    z = (x.double() - x.double().mean(0)) / scale
    reference = LogisticRegression(C=1 / (found.penalty * len(z)), tol=1e-10, max_iter=10_000).fit(z, labels)
    theirs = torch.from_numpy(reference.predict_log_proba(z))
    ours = (x.double() @ found.weight.T + found.bias).log_softmax(1)
    assert (ours.exp() - theirs.exp()).abs().max() < 0.005
    assert found.square_length == pytest.approx(float(x.square().sum(1).mean()), rel=1e-6)


@pytest.mark.medium
def test_with_weights_of_classes_it_is_the_balanced_one() -> None:
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([60, 20, 5]))
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(3, 3, generator=draw)[labels] + torch.randn(85, 3, generator=draw)
    found = fit_classifier(x, labels, 3, class_weights(sizes(labels, 3)))
    z = x.double() - x.double().mean(0)
    z = z / z.square().sum(1).mean().sqrt()
    strength = 1 / (found.penalty * len(z))
    reference = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000, class_weight="balanced").fit(z, labels)
    theirs = torch.from_numpy(reference.predict_proba(z))
    ours = (x.double() @ found.weight.T + found.bias).softmax(1)
    plain = fit_classifier(x, labels, 3)
    unweighted = (x.double() @ plain.weight.T + plain.bias).softmax(1)
    assert (unweighted - theirs).abs().max() > 0.02
    assert (ours - theirs).abs().max() < 1e-3


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e4])
@pytest.mark.medium
def test_probabilities_do_not_depend_on_the_features_scale_or_offset(factor: float) -> None:
    x, labels = _features()
    plain, moved = fit_classifier(x, labels, 4), fit_classifier(factor * (x.double() + 3), labels, 4)
    ours = x.double() @ plain.weight.T + plain.bias
    theirs = factor * (x.double() + 3) @ moved.weight.T + moved.bias
    assert torch.allclose(ours.softmax(1), theirs.softmax(1), atol=1e-4)


@pytest.mark.medium
def test_noise_is_penalised_strongly_and_what_is_told_apart_is_not() -> None:
    draw = torch.Generator().manual_seed(1)
    noise = torch.randn(200, 50, generator=draw)
    labels = torch.arange(200) % 4
    assert fit_classifier(noise, labels, 4).penalty == PENALTIES[0]
    apart = torch.nn.functional.one_hot(labels, 4).float() + 0.01 * torch.randn(200, 4, generator=draw)
    assert fit_classifier(apart, labels, 4).penalty < PENALTIES[2]


@pytest.mark.parametrize(
    ("x", "labels", "classes"),
    [
        (torch.zeros(6, 3), torch.arange(6) % 2, 2),  # features that say nothing
        (torch.ones(4, 3), torch.tensor([0, 0, 2, 2]), 3),  # a class without images, none with five
        (torch.randn(1, 5), torch.tensor([1]), 2),
    ],
)
def test_whatever_the_features_are_it_is_finite(x: Tensor, labels: Tensor, classes: int) -> None:
    found = fit_classifier(x, labels, classes)
    assert found.weight.shape == (classes, x.shape[1])
    assert bool(found.weight.isfinite().all() and found.bias.isfinite().all())


def test_again_it_is_the_same_to_the_bit() -> None:
    one, two = fit_classifier(*_features(), 4), fit_classifier(*_features(), 4)
    assert torch.equal(one.weight, two.weight)
    assert torch.equal(one.bias, two.bias)
