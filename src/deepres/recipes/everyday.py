"""Recipes of our own for one's own images: small ones in memory, photographs in folders, ImageNet the usual way."""

from math import ceil

from deepres.arch.catalogue.lookup import entry
from deepres.data.facts import DatasetFacts
from deepres.data.sources.config import DataConfig
from deepres.data.transforms import config as transforms
from deepres.recipes.run import Run
from deepres.train.config import SgdConfig, TrainConfig
from deepres.train.schedules import ScheduleConfig

MOST_EPOCHS = 300
"""Passes over the images that are made for the sake of steps, at most."""


def small(facts: DatasetFacts, model: str | None = None) -> Run:
    """Images of at most 40 px: small shifts, no mirror, a cosine over 30 epochs, or more of less than 640 images.

    Command   deepres train digits
    Hardware  two cores, under two minutes
    Expected  test error of at most 2 % on the handwritten digits of scikit-learn
    Source    ours. 600 steps at least, as the digits have: 200 of them in 30 epochs are 94 steps, and 3.1 ± 0.7 % of
              others were wrong, 2.0 ± 0.2 % after 96 epochs in steps of 32 (3 seeds).
    """
    side = max(16, facts.side)
    epochs, batch_size = _length(facts.num_images, epochs=30, steps=600)
    augmentation, preparation = transforms.small(side, facts.channels)
    return Run(
        recipe="small",
        data=DataConfig(source=facts.source),
        model=entry(model or "resnet20_cifar").config,
        augmentation=augmentation,
        preparation=preparation,
        train=TrainConfig(
            epochs=epochs,
            batch_size=batch_size,
            optimizer=SgdConfig(momentum=0.9, weight_decay=5e-4, nesterov=True),
            schedule=ScheduleConfig(kind="cosine", lr=0.1, warmup_fraction=0.05),
            label_smoothing=0.1,
        ),
    )


def photos(facts: DatasetFacts, model: str | None = None) -> Run:
    """A folder of photographs, from scratch: random crops, mirror, light jitter, a cosine over 1,000 steps at least.

    Command   deepres train path/to/photos
    Hardware  two cores: some minutes for some thousand small pictures; a GPU for large ones
    Expected  depends on the pictures; 10 classes of Tiny ImageNet (2,000 pictures): see evidence/
    Source    ours. The network sees 64 px where the pictures are small (up to 96 px), else 128 px; and has 20 layers
              (resnet20_cifar) or 18 (resnet18) accordingly. 60 epochs; steps of 64 images, or of 32 where those were
              fewer than 1,000, and more epochs where these are. 540 photographs of signs, then 600 of 10 classes of
              Tiny ImageNet, held-out error of 3 seeds at 32 px: 2.2 ± 1.1 and 53.8 ± 1.3 %; fastai's plan, the best of
              three peers, 2.0 ± 0.8 and 53.0 ± 2.0. The rate rises for a quarter of the run and crops hold 35 % of the
              area at least, which brings 0.6 and 3 points; what was thrown out: docs/log.md.
    """
    tiny = facts.side <= 96
    epochs, batch_size = _length(facts.num_images, epochs=60, steps=1000)
    augmentation, preparation = transforms.photos(64 if tiny else 128)
    return Run(
        recipe="photos",
        data=DataConfig(source=facts.source, workers="auto"),
        model=entry(model or ("resnet20_cifar" if tiny else "resnet18")).config,
        augmentation=augmentation,
        preparation=preparation.replace(channels=facts.channels),
        train=TrainConfig(
            epochs=epochs,
            batch_size=batch_size,
            optimizer=SgdConfig(momentum=0.9, weight_decay=5e-4, nesterov=True),
            schedule=ScheduleConfig(kind="cosine", lr=0.05, warmup_fraction=0.25),
            label_smoothing=0.1,
        ),
    )


def imagenet_modern(facts: DatasetFacts, model: str | None = None) -> Run:
    """ImageNet the usual way: 90 epochs, RandomResizedCrop, TrivialAugment, label smoothing, cosine, averaged weights.

    Command   deepres train path/to/imagenet --recipe imagenet_modern --model resnet50
    Hardware  one GPU of 80 GB; `train.accumulate` for smaller ones
    Expected  not measured here
    Source    ours, after torchvision's references
    """
    augmentation, preparation = transforms.imagenet_modern()
    return Run(
        recipe="imagenet_modern",
        data=DataConfig(source=facts.source, val_fraction=0, workers="auto"),
        model=entry(model or "resnet50").config,
        augmentation=augmentation,
        preparation=preparation,
        train=TrainConfig(
            epochs=90,
            batch_size=512,
            optimizer=SgdConfig(momentum=0.9, weight_decay=5e-5, nesterov=True),
            schedule=ScheduleConfig(kind="cosine", lr=0.5, warmup_fraction=0.05),
            label_smoothing=0.1,
            ema_decay=0.9999,
        ),
        select="last",
    )


def _length(num_images: int, epochs: int, steps: int) -> tuple[int, int]:
    """Epochs, and images of a step: 64, where that makes so many `steps`, else 32 in as many epochs as that takes.

    A network learns in steps: a few hundred images make a few of them an epoch.
    """
    batch_size = 64 if epochs * num_images >= 64 * steps else 32
    return max(epochs, min(MOST_EPOCHS, ceil(steps * batch_size / max(1, num_images)))), batch_size
