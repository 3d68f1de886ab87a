"""Answers on the pretended device: protocols, ensembles, the predictor, folded networks; the CPU's bits throughout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from deepres.arch.architecture import Architecture
from deepres.arch.catalogue.lookup import entry
from deepres.data.images import ArrayImages, FileImages
from deepres.data.loading.config import LoaderConfig
from deepres.data.loading.loader import evaluation_batches
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.inference import folded, for_inference
from deepres.nn.weights.files import save_network
from deepres.predict.predictor import Predictor
from deepres.tasks.classification.calibration import temperature_of, tempered
from deepres.tasks.classification.ensemble import select
from deepres.tasks.ensemble import Member, together
from deepres.tasks.evaluator import EvaluationMethod, ResultFacts, evaluate
from deepres.tasks.protocols import protocol_named
from deepres.tasks.result import Evaluation
from deepres.tasks.saved import save_predictions

Same = Callable[[Callable[[torch.device], Any]], Any]
CROPPED = Preparation(fit="crop", resize=16, crop=16, normalise="per_pixel")


def _small(name: str, **fields: object) -> Architecture:
    return entry(name).config.replace(input=(3, 16, 16), num_classes=4, **fields).architecture()


RESIDUAL = _small("resnet20_cifar", depths=(1, 1, 1))
FOLDED = {
    "residual": RESIDUAL,
    "pre-activation": _small("preresnet110_cifar", depths=(1, 1, 1)),
    "branches dropped": _small("resnet110_stochastic_cifar", depths=(2, 1, 1)),
    "blurred, frozen": entry("resnet18")
    .config.replace(num_classes=4, depths=(1, 1), widths=(8, 16), style=entry("resnet18").config.style.replace(blur=3))
    .architecture(),
}


def _network(description: Architecture, device: torch.device, seed: int = 0) -> ResidualNetwork:
    """With norm statistics of its own, so that folding has something to fold."""
    network = create_model(description, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1, generator=draw)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=draw)
    return network.to(device)


def _evaluated(
    images: ArrayImages | FileImages,
    statistics: Statistics,
    device: torch.device,
    protocol: str,
    seed: int = 0,
) -> Evaluation:
    chosen, skipped = protocol_named(protocol, CROPPED), dict[str, str]()
    batches = evaluation_batches(
        images,
        CROPPED,
        statistics,
        LoaderConfig(batch_size=5, device=device, on_bad_image="skip"),
        showing=chosen.showing,
        skipped=skipped,
    )
    return evaluate(
        _network(RESIDUAL, device, seed),
        batches,
        images,
        split="test",
        method=EvaluationMethod(protocol=chosen, keep_scores=True),
        facts=ResultFacts(skipped=skipped),
    )


def _facts(evaluation: Evaluation) -> dict[str, object]:
    left = evaluation.result.model_dump(exclude={"seconds", "images_per_second"})
    columns = {name: column.tolist() for name, column in vars(evaluation.predictions).items() if column is not None}
    return {**left, **columns}


@pytest.mark.medium
@pytest.mark.parametrize(
    "protocol", ["center", "flip", "ten-crop:16/20", "ten-crop-logits:16/20", "multi-scale-flip:16,24"]
)
def test_every_protocol(same: Same, images: ArrayImages, statistics: Statistics, protocol: str) -> None:
    same(lambda device: _facts(_evaluated(images, statistics, device, protocol)))


def test_images_from_files_one_of_them_bad(
    same: Same, images: ArrayImages, statistics: Statistics, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        to_pil_image(images.pixels[number]).save(path)
    paths[2].write_bytes(b"")
    files = FileImages(tuple(paths), images.targets[:4], images.classes)
    same(lambda device: len(_evaluated(files, statistics, device, "center").predictions))


@pytest.mark.medium
def test_ensembles_temperatures_and_written_answers(
    same: Same, images: ArrayImages, statistics: Statistics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "deepres.tasks.classification.calibration.FEWEST", 1
    )  # so few tell no temperature, but the same one
    monkeypatch.setattr("deepres.tasks.classification.calibration.AT_BOUND", 0.0)

    def asked(device: torch.device) -> tuple[object, ...]:
        members = [
            Member(str(seed), _evaluated(images, statistics, device, "center", seed), images) for seed in range(3)
        ]
        whole = together(members, {})
        save_predictions(tmp_path / f"{device.type}.npz", whole, images)
        warm = tempered(whole.predictions, temperature_of(members[0].evaluation.predictions, "val"))
        return select(members), warm, _facts(whole)

    same(asked)
    assert (tmp_path / "pretend.npz").read_bytes() == (tmp_path / "cpu.npz").read_bytes()


@pytest.mark.medium
@pytest.mark.parametrize("description", FOLDED.values(), ids=FOLDED.keys())
def test_norms_are_folded_where_the_network_lies(same: Same, description: Architecture) -> None:
    def asked(device: torch.device) -> dict[str, Tensor]:
        network = _network(description, device)
        inference = for_inference(network, device, precision="float32", compiled="no")
        x = torch.randn(2, *description.input, generator=torch.Generator().manual_seed(1))
        return {**folded(network).state_dict(), "logits": inference(x), "again": inference(x.to(device))}

    same(asked)


@pytest.fixture
def run(tmp_path: Path, statistics: Statistics) -> Path:
    save_network(tmp_path, _network(RESIDUAL, torch.device("cpu")), ("a", "b", "c", "d"), CROPPED.model_dump())
    statistics.save(tmp_path / "statistics.safetensors")
    return tmp_path


@pytest.mark.medium
def test_the_predictor(same: Same, images: ArrayImages, run: Path) -> None:
    paths = [run / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        to_pil_image(images.pixels[number]).save(path)
    paths[1].write_bytes(b"")

    def asked(device: torch.device) -> list[object]:
        predictor = Predictor.load(run, device)
        assert {one.device for one in predictor.network.parameters()} == {device}
        fast = predictor.optimized(3, precision="float32", compiled="no")
        found: list[object] = [*predictor.answers(paths), *fast.answers(paths)]
        for label in (None, "c"):
            name, shown = predictor.shown(paths[0], label)
            found += [name, pil_to_tensor(shown).tolist()]
        x = predictor.prepare(images.pixels[0])[None]
        return [*found, predictor.maps(x, torch.tensor([[1]]), "stage2").tolist()]

    same(asked)
