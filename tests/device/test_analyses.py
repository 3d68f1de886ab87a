"""Every analysis on the pretended device: the CPU's bits, whether batches lie there or not, and no trace left."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepres.analyze import attribution
from deepres.analyze.equivariance import equivariance_errors, resize_consistency, shift_consistency
from deepres.analyze.faithfulness import faithfulness
from deepres.analyze.integrated import integrated_gradients
from deepres.analyze.lesion import delete_each, delete_random, permute
from deepres.analyze.localisation import localise
from deepres.analyze.paths import path_gradients
from deepres.analyze.propagation import propagation, propagation_at_start
from deepres.analyze.responses import responses
from deepres.analyze.reuse import feature_reuse
from deepres.analyze.surface import loss_surface
from deepres.analyze.units import without
from deepres.arch.architecture import Architecture
from deepres.arch.catalogue.lookup import entry
from deepres.arch.variants import SHORTCUTS
from deepres.base.records import Record
from deepres.data.images import ArrayImages, Batch
from deepres.data.loading.config import LoaderConfig
from deepres.data.loading.loader import evaluation_batches
from deepres.data.sources.config import DataConfig
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network
from deepres.nn.weights.spec import WeightsSpec
from deepres.runs.analysis.run import ANALYSES, WHEN_NAMED, AnalysisTarget, examine
from deepres.runs.analysis.units import AnalysisConfig

Same = Callable[[Callable[[torch.device], Any]], Any]
Analysis = Callable[[ResidualNetwork, list[Batch]], Any]
MEAN_IMAGE = Preparation(normalise="per_pixel")


def _small(name: str, **fields: object) -> Architecture:
    return entry(name).config.replace(input=(3, 16, 16), num_classes=4, **fields).architecture()


NETWORKS = {
    "residual": _small("resnet20_cifar", depths=(2, 1), widths=(16, 32), shortcut="B"),
    "drop-path": _small("resnet110_stochastic_cifar", depths=(1, 1), widths=(16, 32)),
    "dense": _small("densenet40_k12_cifar", depths=(2, 2), dropout=0.2),
    "gates": _small("highway19_cifar", depths=(2, 1, 1)),
}
BOXES = {index: torch.tensor([[2, 2, 12, 14]]) for index in range(8)}

ON_ALL: dict[str, Analysis] = {
    "units left out": delete_each,
    "units left out at random": lambda net, batches: delete_random(net, batches, [1, 2], draws=1),
    "paths": lambda net, batches: path_gradients(net, batches, draws=1),
    "responses": responses,
    "responses by the batch": lambda net, batches: responses(net, batches, statistics="batch"),
    "activation maps": lambda net, batches: _maps(attribution.attribution_maps, net, batches[0]),
    "Grad-CAM": lambda net, batches: _maps(attribution.grad_cam, net, batches[0]),
    "faithfulness": lambda net, batches: faithfulness(net, batches, steps=2),
    "faithfulness, mean": lambda net, batches: faithfulness(net, batches, steps=2, background="mean"),
    "localisation": lambda net, batches: localise(net, batches, BOXES),
    "single pixels": lambda net, batches: _pixels(net, batches[0]),
    "the loss around the weights": lambda net, batches: loss_surface(net, batches, points=3, draws=2),
    "shifts": lambda net, batches: shift_consistency(net, batches, max_shift=3, border="wrap"),
    "maps that move along": lambda net, batches: equivariance_errors(net, batches, shifts=(1, 2), border=0.0),
}
ON_SOME: dict[str, tuple[str, Analysis]] = {
    "units exchanged": ("residual", lambda net, batches: permute(net, batches, [1, 2], draws=1)),
    "reuse": ("dense", lambda net, batches: feature_reuse(net)),
    "signal and gradient": ("residual", lambda net, batches: propagation(net, batches[0])),
    "signal and gradient, drop-path": ("drop-path", lambda net, batches: propagation(net, batches[0])),
    "signal and gradient, gates": ("gates", lambda net, batches: propagation(net, batches[0])),
    "without a unit": ("residual", lambda net, batches: _without(net, batches[0])),
}


def _pixels(net: ResidualNetwork, batch: Batch) -> list[object]:
    found = integrated_gradients(net, batch.images, batch.targets[:, None], batch.images / 2, steps=2)
    return [one.tolist() for one in found]


def _maps(method: Callable[..., Tensor], net: ResidualNetwork, batch: Batch) -> list[object]:
    targets = attribution.top_classes(net, batch.images, 2)
    maps = method(net, batch.images, targets)
    assert maps.device == targets.device == next(net.parameters()).device
    of_the_cpu = method(net, batch.images, targets.cpu())
    return [
        maps.tolist(),
        of_the_cpu.tolist(),
        attribution.overlay(_picture(), maps[0, 0]).tolist() if maps.shape[-1] == 16 else 0,
    ]


def _picture() -> Tensor:
    return torch.full((3, 16, 16), 100, dtype=torch.uint8)


def _without(net: ResidualNetwork, batch: Batch) -> object:
    like = next(net.parameters())
    with without(net, ["stage1.unit2"]), torch.inference_mode():
        return net.eval()(batch.images.to(like)).tolist()


def _same_state(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    modes = [[module.training for module in network.modules()] for network in (one, other)]
    return modes[0] == modes[1] and all(torch.equal(tensor, kept) for tensor, kept in pairs)


def _asked(
    analysis: Analysis, description: Architecture, images: ArrayImages, statistics: Statistics, lie: str | None = None
) -> Callable[[torch.device], object]:
    """The analysis as a function of the device on which the network lies, and the batches, but where they `lie`."""

    def asked(device: torch.device) -> object:
        network = create_model(description).to(device).eval()
        batches = [
            *evaluation_batches(images, MEAN_IMAGE, statistics, LoaderConfig(batch_size=5, device=lie or device))
        ]
        torch.manual_seed(7)
        before = deepcopy(network)
        found = analysis(network, batches)
        assert _same_state(network, before)
        assert torch.rand(1, device=device).item() == torch.rand(1, generator=torch.Generator().manual_seed(7)).item()
        return found.model_dump() if isinstance(found, Record) else found

    return asked


@pytest.mark.medium
@pytest.mark.parametrize("lie", [None, "cpu"], ids=["there", "on the CPU"])
@pytest.mark.parametrize("analysis", ON_ALL.values(), ids=ON_ALL.keys())
def test_an_analysis_of_a_residual_network(
    same: Same, images: ArrayImages, statistics: Statistics, analysis: Analysis, lie: str | None
) -> None:
    same(_asked(analysis, NETWORKS["residual"], images, statistics, lie))


@pytest.mark.parametrize("name", ["drop-path", "dense", "gates"])
@pytest.mark.parametrize("analysis", [*ON_ALL.values()][:5], ids=[*ON_ALL][:5])
@pytest.mark.slow
def test_the_same_of_others(
    same: Same, images: ArrayImages, statistics: Statistics, analysis: Analysis, name: str
) -> None:
    same(_asked(analysis, NETWORKS[name], images, statistics))


@pytest.mark.parametrize(("name", "analysis"), ON_SOME.values(), ids=ON_SOME.keys())
@pytest.mark.medium
def test_an_analysis_of_some_networks(
    same: Same, images: ArrayImages, statistics: Statistics, name: str, analysis: Analysis
) -> None:
    same(_asked(analysis, NETWORKS[name], images, statistics))


@pytest.mark.medium
def test_variants_at_the_start(same: Same, images: ArrayImages, statistics: Statistics) -> None:
    config = entry("resnet20_cifar").config.replace(input=(3, 16, 16), num_classes=4, depths=(1, 1, 1))
    variants = {
        name: config.replace(style=config.style.replace(mixing=one))
        for name, one in SHORTCUTS.items()
        if not one.shortcut_dropout  # its draws are seeded for the CPU and CUDA, whose generators are put back after
    }

    def asked(device: torch.device) -> object:
        (batch,) = evaluation_batches(images, MEAN_IMAGE, statistics, LoaderConfig(batch_size=8, device=device))
        return propagation_at_start(variants, batch)

    same(asked)


@pytest.mark.medium
def test_ways_of_resizing(same: Same, images: ArrayImages, statistics: Statistics) -> None:
    resized = Preparation(fit="crop", resize=20, crop=16)
    same(
        lambda device: resize_consistency(
            create_model(NETWORKS["residual"]).to(device), images, resized, statistics, batch_size=5
        )
    )


@pytest.mark.long
def test_a_network_is_taken_apart(same: Same, images: ArrayImages, statistics: Statistics, tmp_path: Path) -> None:
    run, data = tmp_path / "run", tmp_path / "data.npz"
    run.mkdir()
    save_network(run, create_model(NETWORKS["residual"]), images.classes, MEAN_IMAGE.model_dump())
    statistics.save(run / "statistics.safetensors")
    import numpy as np

    np.savez(
        data, x=images.pixels.permute(0, 2, 3, 1).numpy(), y=images.targets.numpy(), classes=np.array(images.classes)
    )

    def asked(device: torch.device) -> dict[str, list[str]]:
        _, found = examine(
            AnalysisTarget(WeightsSpec(str(run)), DataConfig(source=str(data))),
            (),
            tmp_path / device.type,
            AnalysisConfig(images=8, draws=1, gradient_batches=1, batch_size=6),
            device=device,
            command="test",
            on_progress=lambda what, done, total: None,
        )
        assert set(found) == set(ANALYSES) - set(WHEN_NAMED)
        return found

    same(asked)
