"""The recipes of DenseNet, stochastic depth and wide networks, as papers and authors' code state them."""

from deepres.arch.catalogue.lookup import entry
from deepres.data.facts import DatasetFacts
from deepres.data.sources.config import DataConfig
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.recipes.run import Run
from deepres.train.config import SgdConfig, TrainConfig
from deepres.train.schedules import ScheduleConfig

_TORCH = SgdConfig(momentum=0.9, weight_decay=1e-4, nesterov=True, decay_parameters="all")
"""Of the Torch code that all of these papers ran: Nesterov, weight decay on every parameter."""


def densenet_cifar(facts: DatasetFacts, model: str | None = None) -> Run:
    """Huang et al. 2017, section 4.2: 300 epochs of 64 a step, rate 0.1 divided by 10 at 50 % and 75 %, last weights.

    The authors' code divides an epoch early, when epochs 150 and 225 begin, counted from 1: as here.

    Command   deepres train cifar10 --recipe densenet_cifar --model densenet40_k12_cifar
    Hardware  one GPU
    Expected  test error 5.24 % (densenet40_k12_cifar), 4.51 % (densenet_bc100_k12_cifar), Table 2, one run
    Source    arXiv 1608.06993 and the authors' repository: Nesterov, weight decay on all parameters. Without
              augmentation dropout 0.2: --set augmentation.crop=none --set augmentation.flip=0 --set model.dropout=0.2.
              He initialisation by fan-in here, by fan-out there.
    """
    return Run(
        recipe="densenet_cifar",
        data=DataConfig(source=facts.source, val_fraction=0, decode="full"),
        model=entry(model or "densenet40_k12_cifar").config,
        augmentation=Augmentation(crop="pad", pad=4, flip=0.5),
        preparation=Preparation(channels=facts.channels),
        train=TrainConfig(
            epochs=300,
            batch_size=64,
            optimizer=_TORCH,
            schedule=ScheduleConfig(kind="steps", lr=0.1, milestones=_at_epochs(150, 225, of=300)),
        ),
        select="last",
    )


def densenet_imagenet(facts: DatasetFacts, model: str | None = None) -> Run:
    """Huang et al. 2017, section 4.3: 90 epochs of 256 a step, rate 0.1 divided by 10 at epochs 30 and 60.

    Command   deepres train path/to/imagenet --recipe densenet_imagenet --model densenet121
    Hardware  several GPUs
    Expected  top-1 / top-5 error of the centre crop 25.02 / 7.71 % (densenet121), Table 3
    Source    fb.resnet.torch unchanged: parts of 8 to 100 % of the area, jitter 0.4, AlexNet's colour noise, bicubic
              short side of 256 in testing. Nesterov, weight decay on all parameters. Over how many images norm
              statistics were taken is not stated: the whole batch, our choice.
    """
    return Run(
        recipe="densenet_imagenet",
        data=DataConfig(source=facts.source, val_fraction=0, decode="full", workers="auto"),
        model=entry(model or "densenet121").config,
        augmentation=Augmentation(crop="random_resized", flip=0.5, jitter=0.4, colour_pca=0.1),
        preparation=Preparation(fit="crop", resize=256, crop=224, interpolation="bicubic"),
        train=TrainConfig(
            epochs=90,
            batch_size=256,
            optimizer=_TORCH,
            schedule=ScheduleConfig(kind="steps", lr=0.1, milestones=(1 / 3, 2 / 3)),
        ),
        select="last",
    )


def stochastic_depth(facts: DatasetFacts, model: str | None = None) -> Run:
    """Huang et al. 2016: 500 epochs of 128 a step, rate 0.1 divided by 10 at 50 % and 75 %, best validation epoch.

    The authors' code divides an epoch early, when epochs 250 and 375 begin, counted from 1: as here. Networks of more
    than a thousand layers hold the rate at 0.01 for the first ten epochs: 1,202 layers do not begin to learn at 0.1.

    Command   deepres train cifar10 --recipe stochastic_depth --model resnet110_stochastic_cifar
    Hardware  one GPU
    Expected  test error 5.25 %, 6.41 % of resnet110_cifar by the same recipe, ± 0.2 between runs (authors' repository)
    Source    arXiv 1603.09382 and the authors' code: 45,000 images train, 5,000 choose the epoch; Nesterov, weight
              decay on all parameters. They divide by one scalar std too, which the first norm undoes. Their
              convolutions have biases, which the norms undo, and their shortcuts average 2x2 where ours subsample. For
              how many epochs they held the low rate we have not verified: ten, our choice.
    """
    config = entry(model or "resnet110_stochastic_cifar").config
    data = DataConfig(source=facts.source, val_fraction=0.1, decode="full")
    train = TrainConfig(
        epochs=500,
        batch_size=128,
        optimizer=_TORCH,
        schedule=ScheduleConfig(kind="steps", lr=0.1, milestones=_at_epochs(250, 375, of=500)),
    )
    if config.family == "resnet" and sum(config.depths) >= 500:
        steps = train.replace(epochs=10).steps(round(facts.num_images * (1 - data.val_fraction)))
        train = train.replace(schedule=train.schedule.replace(warmup_lr=0.01, warmup_steps=steps))
    return Run(
        recipe="stochastic_depth",
        data=data,
        model=config,
        augmentation=Augmentation(crop="pad", pad=4, flip=0.5),
        preparation=Preparation(channels=facts.channels, normalise="per_pixel"),
        train=train,
        select="best",
    )


def wide(facts: DatasetFacts, model: str | None = None) -> Run:
    """Zagoruyko & Komodakis 2016: 200 epochs of 128 a step, rate 0.1 times 0.2 at epochs 60, 120 and 160.

    The authors' code does so when these epochs begin, counted from 1, after 59, 119 and 159: as here.

    Command   deepres train cifar10 --recipe wide --model wrn28_10_cifar
    Hardware  one GPU
    Expected  test error 4.00 % on CIFAR-10, 19.25 % on CIFAR-100 (wrn28_10_cifar, median of five runs)
    Source    arXiv 1605.07146 and the authors' code: Nesterov, weight decay 0.0005 on all parameters, 4 px of
              reflection around the image. They leave out the last, smaller batch; steps run across epochs here. Norms
              begin with scale 1 here, uniform in [0, 1] there.
    """
    return Run(
        recipe="wide",
        data=DataConfig(source=facts.source, val_fraction=0, decode="full"),
        model=entry(model or "wrn28_10_cifar").config,
        augmentation=Augmentation(crop="pad", pad=4, pad_fill="reflect", flip=0.5),
        preparation=Preparation(channels=facts.channels),
        train=TrainConfig(
            epochs=200,
            batch_size=128,
            optimizer=_TORCH.replace(weight_decay=5e-4),
            schedule=ScheduleConfig(kind="steps", lr=0.1, milestones=_at_epochs(60, 120, 160, of=200), gamma=0.2),
        ),
        select="last",
    )


def _at_epochs(*epochs: int, of: int) -> tuple[float, ...]:
    """The shares of a run of so many epochs at which these begin, counted from 1: 149 / 300 for epoch 150 of 300."""
    return tuple((epoch - 1) / of for epoch in epochs)
