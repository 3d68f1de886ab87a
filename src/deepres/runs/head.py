"""A new head on trained weights: fitted to what they make of the training images, before anything learns."""

import torch
from torch import Tensor, nn

from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.data.loading.balance import class_weights, sizes
from deepres.data.loading.config import LoaderConfig
from deepres.data.loading.loader import evaluation_batches
from deepres.data.loading.workers import resolved
from deepres.data.targets import tensor_of
from deepres.nn.build import ResidualNetwork
from deepres.nn.hooks import left_as_found
from deepres.nn.precise_bn import precise_bn
from deepres.recipes.run import Run
from deepres.runs.context import RunContext
from deepres.runs.together import batch_size
from deepres.train.classifier import Classifier, fit_classifier

BATCHES = 8
"""Of training images, at most, over which norm statistics are averaged: 30 are no better (`docs/log.md`)."""
IMAGES = 20_000
"""As many, evenly over the set, are fitted to at most."""
LENGTH = 30.0
"""A step of a rate moves logits by rate x |features|^2, which differs a hundredfold between networks (9,400 in the
authors' ResNet-50): the head learns LENGTH / |features|^2 times as fast as the rest, where that is slower."""


def begin_head(context: RunContext, network: nn.Module, on_progress: OnProgress) -> Run:
    """`network`, on trained weights, is given norm statistics of these images and the classifier of its features.

    Statistics are plain averages over batches as training sees them, frozen parts apart; the features are those of the
    training images as evaluation sees them. The run that is returned says how fast the head learns from there, where
    it did not say so before.

    Raises:
        InputError: a run without trained weights, a network whose head is no linear layer on pooled features.
    """
    run = context.run
    assert isinstance(network, ResidualNetwork)
    if run.weights is None:
        raise InputError(
            "train.fit_head: it fits the head to the features of trained weights; add --weights, or leave it out"
        )
    fc = dict(network.head.named_children()).get("fc")
    if not isinstance(fc, nn.Linear):
        raise InputError(
            f"train.fit_head: the head of {run.model.name} is no linear layer on features; set train.fit_head=false"
        )
    with context.precision.autocast(), torch.no_grad():
        if any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
            steps = min(BATCHES, -(-len(context.source.train) // run.train.batch_size))
            batches = context.loader().batches(0, steps)
            shown = (context.precision.images(batch.images) for batch in batches)
            precise_bn(network, shown, run.train.frozen)
        fitted = _fitted(context, network, on_progress)
        fc.weight.copy_(fitted.weight)
        fc.bias.copy_(fitted.bias)
    measured = min(1.0, float(f"{LENGTH / max(fitted.square_length, 1e-9):.2g}"))
    return run.replace(train=run.train.replace(head_pace=run.train.head_pace or measured))


def _fitted(context: RunContext, network: ResidualNetwork, on_progress: OnProgress) -> Classifier:
    run, images, device = context.run, context.source.train, context.precision.device
    if len(images) > IMAGES:
        images = images.select([place * len(images) // IMAGES for place in range(IMAGES)])
    batches = evaluation_batches(
        images,
        run.preparation,
        context.statistics,
        LoaderConfig(
            batch_size=batch_size(run.model.input[1], device),
            workers=resolved(run.data.workers),
            device=device,
            on_bad_image=run.data.on_bad_image,
        ),
    )
    features: list[Tensor] = []
    labels: list[Tensor] = []
    with left_as_found(network):
        network.eval()
        for batch in batches:
            last = network.forward_features(context.precision.images(batch.images))
            features.append(network.forward_head(last, pre_logits=True).float().cpu())
            labels.append(tensor_of(batch.targets).cpu())
            on_progress(sum(map(len, labels)), len(images))
    truth, classes = torch.cat(labels), len(images.classes)
    weights = None if run.train.balance == "none" else class_weights(sizes(truth, classes))
    return fit_classifier(torch.cat(features), truth, classes, weights)
