"""The recipes of He et al. 2015 and 2016 and Veit et al. 2016 as they state them; where they are silent, we say so."""

from deepres.arch.catalogue.lookup import entry
from deepres.base.errors import InputError
from deepres.data.facts import DatasetFacts
from deepres.data.sources.config import DataConfig
from deepres.data.transforms import config as transforms
from deepres.recipes.run import Run
from deepres.train.config import SgdConfig, TrainConfig
from deepres.train.schedules import ScheduleConfig


def cifar_2015(facts: DatasetFacts, model: str | None = None) -> Run:
    """Section 4.2: 64,000 iterations of 128, rate 0.1 divided by 10 at 32k and 48k, all training images, last weights.

    Command   deepres train cifar10 --recipe cifar_2015 --model resnet20_cifar
    Hardware  one GPU, or two cores for about a day
    Expected  test error 8.75 % (resnet20_cifar), 6.97 % (56), 6.43 % (110; 6.61 ± 0.16 over five runs), Table 6
    Source    the paper ran 2 GPUs with 64 images each, so norm statistics are those of 64: accumulate=2. Networks of
              110 layers and more hold the rate at 0.01 until the training error is below 80 %. What weight decay acts
              on is not stated: weights only, our choice.
    """
    config = entry(model or "resnet20_cifar").config
    augmentation, preparation = transforms.cifar_2015()
    deep = config.family == "resnet" and sum(config.depths) >= 54
    return Run(
        recipe="cifar_2015",
        data=DataConfig(source=facts.source, val_fraction=0, decode="full"),
        model=config,
        augmentation=augmentation,
        preparation=preparation.replace(channels=facts.channels),
        train=TrainConfig(
            iterations=64_000,
            batch_size=128,
            accumulate=2,
            optimizer=SgdConfig(momentum=0.9, weight_decay=1e-4),
            schedule=ScheduleConfig(kind="steps", lr=0.1, milestones=(0.5, 0.75), warmup_lr=0.01 if deep else None),
        ),
        select="last",
    )


def effective_paths(facts: DatasetFacts, model: str | None = None) -> Run:
    """Veit et al. 2016, training on effective paths only: each batch trains 23 of the 54 units, drawn anew.

    Command   deepres train cifar10 --recipe effective_paths
    Hardware  one GPU, or two cores for some days
    Expected  test error 5.96 % against 6.10 % of the whole network, in the paper not significantly different
    Source    arXiv 1605.06431: ResNet-110 with pre-activation. Other depths train the same share of their units. Not
              stated: the schedule (that of `cifar_2015` here, its statistics over the whole batch, so that a batch is
              one draw), whether units that change the shape may be left out (here they may: their shortcut stays), and
              how to test (here all units, each branch times 23 / 54, as in stochastic depth).
    """
    run = cifar_2015(facts, model or "preresnet110_cifar")
    config = run.model
    if config.family != "resnet" or config.shortcut == "none":
        raise InputError(f"recipe effective_paths: {config.name} has no residual units to draw; give a ResNet")
    units = sum(config.depths)
    return run.replace(
        recipe="effective_paths",
        model=config.replace(active_units=max(1, round(units * 23 / 54))),
        train=run.train.replace(accumulate=1),
    )


def imagenet_2015(facts: DatasetFacts, model: str | None = None) -> Run:
    """Section 3.4: 600,000 iterations of 256, rate 0.1 divided by 10 at plateaus, short side in [256, 480], 224 crops.

    Command   deepres train path/to/imagenet --recipe imagenet_2015 --model resnet50_v1
    Hardware  eight GPUs with 32 images each; accumulate=8 gives one GPU the same norm statistics
    Expected  top-1 / top-5 error of the centre crop 24.7 / 7.8 % (resnet50_v1), 23.6 / 7.1 (101), 23.0 / 6.7 (152): the
              authors' released networks
    Source    the iterations at which the error had plateaued are not stated: halves and three quarters, our choice.
              Norm statistics are recomputed as true averages after training, as the authors did.
    """
    augmentation, preparation = transforms.imagenet_2015()
    return Run(
        recipe="imagenet_2015",
        data=DataConfig(source=facts.source, val_fraction=0, decode="full", workers=2),
        model=entry(model or "resnet50_v1").config,
        augmentation=augmentation,
        preparation=preparation,
        train=TrainConfig(
            iterations=600_000,
            batch_size=256,
            accumulate=8,
            optimizer=SgdConfig(momentum=0.9, weight_decay=1e-4),
            schedule=ScheduleConfig(kind="steps", lr=0.1, milestones=(0.5, 0.75)),
            precise_bn_batches=200,
        ),
        select="last",
    )


def identity_2016(facts: DatasetFacts, model: str | None = None) -> Run:
    """He et al. 2016, appendix: as `cifar_2015`, but every network holds the rate at 0.01 for its first 400 steps.

    Command   deepres train cifar10 --recipe identity_2016 --model preresnet164_cifar
    Hardware  one GPU
    Expected  test error 5.46 % (preresnet164_cifar), 4.92 % (preresnet1001_cifar), median of five runs, Table 3
    Source    arXiv 1603.05027; the length is not stated there, 64,000 steps as in 2015.
    """
    run = cifar_2015(facts, model or "preresnet110_cifar")
    schedule = run.train.schedule.replace(warmup_lr=0.01, warmup_steps=400)
    return run.replace(recipe="identity_2016", train=run.train.replace(schedule=schedule))


def imagenet_2016(facts: DatasetFacts, model: str | None = None) -> Run:
    """He et al. 2016, appendix: as `imagenet_2015`, the rate divided by 10 at epochs 30 and 60 of 90.

    Command   deepres train path/to/imagenet --recipe imagenet_2016 --model preresnet200
    Hardware  eight GPUs with 32 images each, about three weeks for 200 layers
    Expected  top-1 / top-5 error of one crop of 320 px 20.7 / 5.3 % (preresnet200), Table 5
    Source    arXiv 1603.05027; how many epochs is not stated there: 90, as in fb.resnet.torch.
    """
    run = imagenet_2015(facts, model or "preresnet200")
    schedule = run.train.schedule.replace(milestones=(1 / 3, 2 / 3))
    return run.replace(recipe="imagenet_2016", train=run.train.replace(epochs=90, iterations=None, schedule=schedule))
