"""The first held-out losses of runs from nothing on few images: of the size of chance, whatever the network."""

from copy import deepcopy
from math import isfinite, log
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepres.arch.architecture import Architecture
from deepres.arch.families.densenet import DenseNetConfig
from deepres.arch.families.fractal import FractalConfig
from deepres.arch.families.highway import HighwayConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.families.rir import RirConfig
from deepres.arch.families.vgg import VggConfig
from deepres.arch.units import Style
from deepres.base.records import build as record
from deepres.data.images import ArrayImages
from deepres.data.loading.config import LoaderConfig, TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader, evaluation_batches
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.statistics import measure_statistics
from deepres.nn.create import create_model
from deepres.nn.precise_bn import precise_bn
from deepres.tasks.classification.losses import cross_entropy
from deepres.tasks.evaluator import evaluate
from deepres.tasks.validation import Validation, by_error
from deepres.train.config import SgdConfig, TrainConfig
from deepres.train.loop import Epoch, Step, TrainingContext, train
from deepres.train.precision import Precision
from deepres.train.schedules import ScheduleConfig
from deepres.train.settling import SETTLED, Settling
from deepres.train.state import State

FLOAT32 = Precision(torch.device("cpu"), torch.float32, channels_last=True)
CLASSES = 5
SIDE = 16
PLAIN = Preparation()

_SIZE: dict[str, Any] = {"num_classes": CLASSES, "input": (3, SIDE, SIDE)}
_TINY: dict[str, Any] = {"name": "tiny", "stem": "cifar", "stem_width": 8, **_SIZE}
FAMILIES: dict[str, Architecture] = {
    "resnet": ResNetConfig(depths=(2, 2), widths=(8, 16), **_TINY).architecture(),
    "stem of 7x7": ResNetConfig(depths=(2, 2), widths=(8, 16), **{**_TINY, "stem": "imagenet"}).architecture(),
    "bottleneck": ResNetConfig(unit="bottleneck", depths=(2, 2), widths=(4, 8), **_TINY).architecture(),
    "plain": ResNetConfig(shortcut="none", depths=(3, 3), widths=(8, 16), **_TINY).architecture(),
    "pre-activation": ResNetConfig(style=Style(order="pre"), depths=(2, 2), widths=(8, 16), **_TINY).architecture(),
    "stochastic depth": ResNetConfig(drop_path=0.5, depths=(3, 3), widths=(8, 16), **_TINY).architecture(),
    "densenet": DenseNetConfig(
        name="tiny", depths=(3, 3), growth=6, stem_width=8, stem="cifar", **_SIZE
    ).architecture(),
    "highway": HighwayConfig(name="tiny", depths=(2, 2), widths=(8, 16), **_SIZE).architecture(),
    "fractal": FractalConfig(name="tiny", columns=2, widths=(8, 16), dropout=(0.0, 0.1), **_SIZE).architecture(),
    "two streams": RirConfig(name="tiny", depths=(1, 1), widths=(8, 16), **_SIZE).architecture(),
    "vgg": VggConfig(name="tiny", depths=(2, 2), widths=(8, 16), hidden=(), **_SIZE).architecture(),
    "norms of groups": ResNetConfig(
        style=Style(norm="group", norm_groups=4), depths=(2,), widths=(8,), **_TINY
    ).architecture(),
}


def images(count: int = 100, seed: int = 0) -> ArrayImages:
    """Noise, brighter in one of five places."""
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 160, (count, 3, SIDE, SIDE), generator=draw, dtype=torch.uint8)
    labels = torch.arange(count) % CLASSES
    for place, label in enumerate(labels.tolist()):
        pixels[place, label % 3, 3 * label : 3 * label + 4] += 90
    return ArrayImages(pixels, labels, tuple("abcde"), "bands")


TRAIN, VAL = images(), images(40, seed=1)
STATISTICS = measure_statistics(TRAIN, PLAIN, seed=0, on_bad_image="stop")


def judged(network: nn.Module) -> Validation:
    result = evaluate(
        network, evaluation_batches(VAL, PLAIN, STATISTICS, LoaderConfig(batch_size=40)), VAL, split="val"
    ).result
    return by_error(result.error, result.cross_entropy)


def ran(state: State, config: TrainConfig, *, stop: int | None = None, **given: Any) -> list[Epoch]:
    loader = TrainLoader(
        TRAIN,
        Augmentation(crop="pad", pad=2),
        PLAIN,
        STATISTICS,
        TrainLoaderConfig(batch_size=config.batch_size, seed=0),
    )
    facts: dict[str, Any] = {"num_images": len(TRAIN), "precision": FLOAT32, "seed": 0, "from_nothing": True, **given}
    seen = []
    for event in train(state, config, loader, cross_entropy(), judged, TrainingContext(**facts)):
        if isinstance(event, Epoch):
            seen.append(event)
        if stop == event.step and not (isinstance(event, Step) and event.ends_epoch):
            break
    return seen


def plan(lr: float = 0.1, **fields: Any) -> TrainConfig:
    schedule = ScheduleConfig(kind="cosine", lr=lr, warmup_fraction=0.05)
    return record(TrainConfig, {"epochs": 3, "batch_size": 16, "schedule": schedule, **fields}, "train")


def state_of(network: nn.Module, averaged: bool = False) -> State:
    return State(network, SgdConfig(nesterov=True), averaged=averaged)


@pytest.mark.medium
@pytest.mark.parametrize(("family", "averaged"), [*((family, False) for family in FAMILIES), ("resnet", True)])
def test_the_first_held_out_losses_are_moderate(family: str, averaged: bool) -> None:
    state = state_of(create_model(FAMILIES[family], seed=0), averaged)
    losses = [epoch.val.shown["loss"] for epoch in ran(state, plan(ema_decay=0.9 if averaged else None)) if epoch.val]
    assert len(losses) == 3
    assert all(isfinite(loss) and loss < 2 * log(CLASSES) for loss in losses), losses


@pytest.mark.medium
def test_weights_learn_as_without_it_bit_by_bit_and_a_run_from_trained_weights_keeps_its_statistics() -> None:
    ends = []
    for from_nothing in (True, False):
        state = state_of(create_model(FAMILIES["resnet"], seed=0))
        ran(state, plan(), from_nothing=from_nothing)
        ends.append(state.network)
    settled, running = (dict(network.named_parameters()) for network in ends)
    assert all(torch.equal(settled[name], running[name]) for name in settled)
    counts = [int(network.get_submodule("stem.norm").num_batches_tracked) for network in ends]
    assert counts == [19, 19]
    mean = ends[1].get_submodule("stem.norm").running_mean
    assert not torch.equal(ends[0].get_submodule("stem.norm").running_mean, mean)
    again = state_of(create_model(FAMILIES["resnet"], seed=0))
    with torch.no_grad():
        for norm in norms(again.network):
            norm.running_mean.fill_(7.0)
    ran(again, plan(epochs=1), from_nothing=False)
    assert float((again.network.get_submodule("stem.norm").running_mean / 7 / 0.9**7).mean()) == pytest.approx(1, 0.1)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("stop", "fields"),
    [
        (1, {}),
        (7, {}),
        (9, {"accumulate": 4, "ema_decay": 0.9}),
        (3, {"batch_size": 50}),
        (2, {"batch_size": 200, "epochs": 6}),
    ],
    ids=str,
)
def test_stopped_within_an_epoch_or_at_its_end_and_continued_equals_uninterrupted_bitwise(
    stop: int, fields: Any
) -> None:
    config = plan(**{"epochs": 2, **fields})
    averaged = "ema_decay" in fields
    whole = state_of(create_model(FAMILIES["resnet"], seed=0), averaged)
    expected = ran(whole, config)
    first = state_of(create_model(FAMILIES["resnet"], seed=0), averaged)
    told = ran(first, config, stop=stop)
    second = state_of(deepcopy(first.network), averaged)
    second.optimiser.load_state_dict(first.optimiser.state_dict())
    if second.average is not None and first.average is not None:
        second.average.load_state_dict(first.average.state_dict())
    second.progress = first.progress
    told += ran(second, config)
    assert same(second.judged.state_dict(), whole.judged.state_dict())
    assert same(second.network.state_dict(), whole.network.state_dict())
    assert [epoch.val for epoch in told] == [epoch.val for epoch in expected]


@pytest.mark.medium
def test_frozen_parts_keep_their_statistics_and_norms_their_count() -> None:
    network = create_model(FAMILIES["resnet"], seed=0)
    before = {name: tensor.clone() for name, tensor in network.named_buffers()}
    ran(state_of(network), plan(frozen=("stage1",)))
    moved = {name for name, tensor in network.named_buffers() if not torch.equal(tensor, before[name])}
    assert moved == {name for name in before if not name.startswith("stage1")}
    counted = precise_bn(network, [torch.randn(8, 3, SIDE, SIDE)], frozen=("stem", "stage1"))
    still = {name for name, tensor in network.named_buffers() if name.startswith(("stem", "stage1"))}
    assert counted == 1
    assert int(network.get_submodule("stem.norm").num_batches_tracked) == 19
    assert still


@pytest.mark.medium
def test_statistics_are_the_plain_average_over_the_last_images() -> None:
    state = state_of(create_model(FAMILIES["resnet"], seed=0))
    ran(state, plan(epochs=1))
    loader = TrainLoader(
        TRAIN, Augmentation(crop="pad", pad=2), PLAIN, STATISTICS, TrainLoaderConfig(batch_size=16, seed=0)
    )
    twin = deepcopy(state.network)
    precise_bn(twin, (batch.images for batch in loader.batches(1, 7)))
    for mine, theirs in zip(norms(state.network), norms(twin), strict=True):
        torch.testing.assert_close(mine.running_var, theirs.running_var)
        torch.testing.assert_close(mine.running_mean, theirs.running_mean)


@pytest.mark.parametrize(
    ("batch_size", "num_images", "total", "step", "first"),
    [
        (16, 100, 60, 30, 25),  # an epoch's batches
        (64, 2000, 900, 40, 37),  # 256 images
        (512, 50_000, 9000, 40, 40),  # one batch holds more
        (64, 2000, 900, SETTLED, SETTLED),  # settled
        (128, 50_000, 64_000, 7, 7),  # the first epoch ends later
        (128, 50_000, 20, 7, 6),  # a run that ends earlier
        (64, 2000, None, 40, 40),  # began with trained weights
        (16, 100, 60, 2, 0),
        (200, 100, 60, 2, 2),  # an epoch is less than a step
    ],
)
def test_which_step_matters_first_is_a_function_of_the_step(
    batch_size: int, num_images: int, total: int | None, step: int, first: int
) -> None:
    network = create_model(FAMILIES["resnet"], seed=0)
    assert Settling(network, batch_size, num_images, total).first(step) == first
    without = create_model(FAMILIES["norms of groups"], seed=0)
    assert Settling(without, batch_size, num_images, total).first(step) == step


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def same(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
