"""Training on the pretended device: batches, steps, states on disk, bounded memory; the CPU's bits throughout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deepres.arch.architecture import Architecture
from deepres.arch.catalogue.lookup import entry
from deepres.arch.readings.checkpointing import make_plan
from deepres.arch.readings.segments import CheckpointPlan
from deepres.base.records import build
from deepres.data.images import ArrayImages
from deepres.data.loading.config import LoaderConfig, TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader, evaluation_batches
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.create import create_model
from deepres.nn.memory import apply
from deepres.nn.precise_bn import precise_bn
from deepres.tasks.classification.losses import cross_entropy
from deepres.tasks.evaluator import evaluate
from deepres.tasks.validation import Validation, by_error
from deepres.train.checkpoint import load_best, load_newest, save_best, save_state
from deepres.train.config import TrainConfig
from deepres.train.loop import Step, TrainingContext, train
from deepres.train.precision import Precision
from deepres.train.state import State

Same = Callable[[Callable[[torch.device], Any]], Any]
ALL_AT_ONCE = Augmentation(crop="pad", pad=2, flip=0.5, colour_pca=0.1, erase=0.7, mixup=0.3, cutmix=1.0)
MEAN_IMAGE = Preparation(normalise="per_pixel")


def _small(name: str, **fields: object) -> Architecture:
    return entry(name).config.replace(input=(3, 16, 16), num_classes=4, **fields).architecture()


NETWORKS = {
    "residual": _small("resnet20_cifar", depths=(1, 1), widths=(16, 32)),
    "pre-activation, dropout": _small("preresnet110_cifar", depths=(1, 1, 1), head_dropout=0.5),
    "branches dropped for a batch": _small("resnet110_stochastic_cifar", depths=(2, 1, 1)),
    "branches dropped for an image": _small("resnet20_cifar", depths=(1, 1, 1), drop_path=0.5, drop_path_per="sample"),
    "branches counted": _small("resnet20_cifar", depths=(1, 1, 1), active_units=2),
    "dense": _small("densenet40_k12_cifar", depths=(2, 2)),
    "columns": _small("fractalnet20_drop_cifar", widths=(8, 8), dropout=(0.0, 0.0)),
    "gates": _small("highway19_cifar", depths=(2, 1, 1)),
}


def _precision(device: torch.device) -> Precision:
    return Precision(device, torch.float32, channels_last=True)


def _loader(
    images: ArrayImages, statistics: Statistics, device: torch.device, augmentation: Augmentation = ALL_AT_ONCE
) -> TrainLoader:
    return TrainLoader(
        images, augmentation, MEAN_IMAGE, statistics, TrainLoaderConfig(batch_size=6, seed=3, device=device)
    )


def _state(description: Architecture, device: torch.device, config: TrainConfig) -> State:
    return State(
        _precision(device).place(create_model(description)),
        config.optimizer,
        averaged=True,
        layer_decay=config.layer_decay,
    )


def _tensors(state: State) -> dict[str, Tensor]:
    assert state.average is not None
    return {
        **{f"weights.{name}": tensor for name, tensor in state.network.state_dict().items()},
        **{f"average.{name}": tensor for name, tensor in state.average.state_dict().items()},
        **{f"velocity.{name}": tensor for name, tensor in state.optimiser.state_dict().items()},
    }


def _config(**fields: object) -> TrainConfig:
    given = {"iterations": 3, "batch_size": 6, "accumulate": 2, "ema_decay": 0.9, "clip_norm": 1.0, **fields}
    return build(TrainConfig, given, "train")


def _train(
    state: State, config: TrainConfig, images: ArrayImages, statistics: Statistics, device: torch.device, stop: int = 9
) -> list[tuple[float, int]]:
    """The loss and mistakes of each step; held-out images are judged at the end of each epoch."""

    def judge(network: torch.nn.Module) -> Validation:
        batches = evaluation_batches(images, MEAN_IMAGE, statistics, LoaderConfig(batch_size=5, device=device))
        result = evaluate(network, batches, images, split="val").result
        return by_error(result.error, result.cross_entropy)

    seen = []
    for event in train(
        state,
        config,
        _loader(images, statistics, device),
        cross_entropy(label_smoothing=0.1),
        judge,
        TrainingContext(num_images=len(images), precision=_precision(device), seed=1),
    ):
        if isinstance(event, Step):
            seen.append((event.loss, event.counts["wrong"]))
            if event.step == stop:
                break
    return seen


@pytest.mark.parametrize(
    "augmentation",
    [
        ALL_AT_ONCE,
        ALL_AT_ONCE.replace(pad_fill="reflect", cutmix=0.0),
        ALL_AT_ONCE.replace(mixup=0.0),
        Augmentation(),
        Augmentation(jitter=0.2, flip=0.5),
    ],
    ids=["all", "reflected, mixup", "cutmix", "nothing", "image by image"],
)
def test_batches_lie_on_the_device(
    same: Same, images: ArrayImages, statistics: Statistics, augmentation: Augmentation
) -> None:
    def drawn(device: torch.device) -> dict[str, Tensor]:
        found = {}
        for step, batch in enumerate(_loader(images, statistics, device, augmentation).batches(0, 4)):
            assert batch.indices.device.type == "cpu"
            found |= {f"{step} images": batch.images, f"{step} labels": batch.targets}
        return found

    same(drawn)


@pytest.mark.medium
@pytest.mark.parametrize("description", NETWORKS.values(), ids=NETWORKS.keys())
def test_a_run_has_the_cpus_bits(
    same: Same, images: ArrayImages, statistics: Statistics, description: Architecture
) -> None:
    config = _config(iterations=2)
    losses = []

    def trained(device: torch.device) -> dict[str, Tensor]:
        state = _state(description, device, config)
        losses.append(_train(state, config, images, statistics, device))
        return _tensors(state)

    same(trained)
    assert losses[0] == losses[1]


@pytest.mark.medium
def test_head_first_and_parts_that_learn_at_their_own_rate(
    same: Same, images: ArrayImages, statistics: Statistics
) -> None:
    config = _config(head_only_fraction=0.5, frozen=("stem",), layer_decay=0.5, patience=1)

    def trained(device: torch.device) -> dict[str, Tensor]:
        state = _state(NETWORKS["residual"], device, config)
        _train(state, config, images, statistics, device)
        return _tensors(state)

    same(trained)


@pytest.mark.medium
def test_a_state_goes_to_disk_and_back(same: Same, images: ArrayImages, statistics: Statistics, tmp_path: Path) -> None:
    config, description = _config(), NETWORKS["pre-activation, dropout"]

    def resumed(device: torch.device) -> dict[str, Tensor]:
        whole, first, second = (_state(description, device, config) for _ in range(3))
        _train(whole, config, images, statistics, device)
        _train(first, config, images, statistics, device, stop=2)
        save_state(first, tmp_path / device.type)
        save_best(first.judged, tmp_path / device.type, 2)
        assert load_newest(second, tmp_path / device.type) == []
        _train(second, config, images, statistics, device)
        for name, tensor in _tensors(second).items():
            assert torch.equal(tensor.cpu(), _tensors(whole)[name].cpu()), name
        load_best(whole.network, tmp_path / device.type, 2)
        return {**_tensors(second), **whole.network.state_dict()}

    same(resumed)
    kept = [sorted((tmp_path / kind / "step-000000002").glob("*.safetensors")) for kind in ("pretend", "cpu")]
    assert [path.read_bytes() for path in kept[0]] == [path.read_bytes() for path in kept[1]]


@pytest.mark.medium
@pytest.mark.parametrize("name", ["pre-activation, dropout", "branches dropped for an image", "dense", "columns"])
def test_layers_computed_twice_have_the_plain_steps_bits(same: Same, name: str) -> None:
    description = NETWORKS[name]
    plan = make_plan(description, 4, most=1.0)
    assert plan.segments

    def stepped(device: torch.device) -> dict[str, Tensor]:
        ends, draws = [], []
        for chosen in (CheckpointPlan(), plan):
            network = create_model(description).to(device).train()
            torch.manual_seed(2)
            x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)).to(device)
            with apply(network, chosen):
                network(x).square().mean().backward()
            ends.append({name: one.grad for name, one in network.named_parameters() if one.grad is not None})
            ends[-1] |= {name: one for name, one in network.named_buffers() if one is not None}
            draws.append((torch.rand(3, device=device).tolist(), torch.rand(3).tolist()))
        for name, one in ends[0].items():
            assert torch.equal(one.cpu(), ends[1][name].cpu()), name
        assert draws[0] == draws[1]  # both generators go on as if nothing had been drawn twice
        return ends[1]

    same(stepped)


@pytest.mark.medium
def test_norm_statistics_are_averaged_on_the_device(same: Same, images: ArrayImages, statistics: Statistics) -> None:
    def averaged(device: torch.device) -> dict[str, Tensor]:
        network = create_model(NETWORKS["residual"]).to(device)
        batches = _loader(images, statistics, device).batches(0, 3)
        assert precise_bn(network, (batch.images for batch in batches)) == 3
        return dict(network.named_buffers())

    same(averaged)
