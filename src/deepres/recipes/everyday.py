"""Recipes of our own for one's own images: small ones in memory, photographs in folders, ImageNet the usual way."""

from deepres.data import transforms
from deepres.data.sources import DataConfig
from deepres.recipes.run import Facts, Run
from deepres.spec.catalogue import entry
from deepres.train.loop import TrainConfig
from deepres.train.optimise import SgdConfig
from deepres.train.schedules import ScheduleConfig


def small(facts: Facts, model: str | None = None) -> Run:
    """Images of at most 40 px: small shifts, no mirror, 30 epochs with a cosine, an epoch by held-out images.

    Command   deepres train digits
    Hardware  two cores, under two minutes
    Expected  test error of at most 2 % on the handwritten digits of scikit-learn
    Source    ours
    """
    side = max(16, facts.side)
    augmentation, preparation = transforms.small(side, facts.channels)
    return Run(
        recipe="small",
        data=DataConfig(source=facts.source),
        model=entry(model or "resnet20_cifar").config,
        augmentation=augmentation,
        preparation=preparation,
        train=TrainConfig(
            epochs=30,
            batch_size=64,
            sgd=SgdConfig(momentum=0.9, weight_decay=5e-4, nesterov=True),
            schedule=ScheduleConfig(kind="cosine", rate=0.1, warm_up=0.05),
            label_smoothing=0.1,
        ),
    )


def photos(facts: Facts, model: str | None = None) -> Run:
    """A folder of photographs, from scratch: random crops, mirror, light jitter, a cosine, an epoch by held-out images.

    Command   deepres train path/to/photos
    Hardware  two cores: some minutes for some thousand small pictures; a GPU for large ones
    Expected  depends on the pictures; 10 classes of Tiny ImageNet (2,000 pictures): see evidence/
    Source    ours. The network sees 64 px where the pictures are small (up to 96 px), else 128 px; and has 20 layers
              (resnet20_cifar) or 18 (resnet18) accordingly.
    """
    tiny = facts.side <= 96
    augmentation, preparation = transforms.photos(64 if tiny else 128)
    return Run(
        recipe="photos",
        data=DataConfig(source=facts.source, workers="auto"),
        model=entry(model or ("resnet20_cifar" if tiny else "resnet18")).config,
        augmentation=augmentation,
        preparation=preparation.replace(channels=facts.channels),
        train=TrainConfig(
            epochs=60,
            batch_size=64,
            sgd=SgdConfig(momentum=0.9, weight_decay=5e-4, nesterov=True),
            schedule=ScheduleConfig(kind="cosine", rate=0.05, warm_up=0.05),
            label_smoothing=0.1,
        ),
    )


def imagenet_modern(facts: Facts, model: str | None = None) -> Run:
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
            sgd=SgdConfig(momentum=0.9, weight_decay=5e-5, nesterov=True),
            schedule=ScheduleConfig(kind="cosine", rate=0.5, warm_up=0.05),
            label_smoothing=0.1,
            ema_decay=0.9999,
        ),
        select="last",
    )
