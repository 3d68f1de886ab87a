"""Units that a network can be described without: the bits of the lesioned network, and what is refused."""

import pytest
import torch

from deepres.analyze.units import without
from deepres.arch.architecture import unit_names
from deepres.arch.catalogue.lookup import architecture, config_of, entry
from deepres.arch.families.densenet import DenseNetConfig
from deepres.arch.families.highway import HighwayConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.families.rir import RirConfig
from deepres.arch.families.vgg import VggConfig
from deepres.arch.spare import left_out, spare_units, why_none
from deepres.arch.units import Mixing, Style
from deepres.base.errors import InputError
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.create import create_model
from deepres.nn.init import initialise
from deepres.nn.weights.formats import Checkpoint
from deepres.nn.weights.part import part_of

SMALL = {"name": "small", "input": (3, 8, 8), "num_classes": 4}
CIFAR = {"stem": "cifar", "stem_width": 4, "depths": (3, 3), "widths": (4, 8)}


def resnet(shortcut: str = "A", style: Style | None = None, **more: object) -> ResNetConfig:
    given = {**SMALL, **CIFAR, "shortcut": shortcut, "style": style or Style(), **more}
    return ResNetConfig.model_validate(given)


def lived_in(description: object) -> ResidualNetwork:
    network = build(description)  # type: ignore[arg-type]
    initialise(network, 0)
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias, std=0.5)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, *description.input))  # type: ignore[attr-defined]
    return network.eval()


SPARE = {
    "original": (resnet(), 5),
    "projections": (resnet("B"), 5),
    "bottlenecks": (resnet("B", unit="bottleneck"), 4),
    "activated before": (resnet(style=Style(order="pre"), stem_norm=False), 4),
    "relu before the addition": (resnet(style=Style(order="relu_before_add")), 5),
    "drop-path": (resnet(drop_path=0.3), 5),
    "squeeze": (resnet(style=Style(se_ratio=0.5)), 5),
    "eca": (resnet(style=Style(eca_kernel=3)), 5),
    "scales": (resnet("B", Style(scales=4), unit="bottleneck"), 4),
    "splits": (resnet(style=Style(radix=2)), 5),
    "kernels": (resnet(style=Style(kernels="halves")), 5),
    "gates": (resnet(style=Style(mixing=Mixing(gate="exclusive"))), 5),
    "highway": (HighwayConfig(**SMALL, depths=(3, 2), widths=(4, 6)), 5),
    "two streams": (RirConfig(**SMALL, depths=(2, 2), widths=(4, 8)), 3),
    "imagenet's stem": (resnet("B", stem="imagenet", input=(3, 64, 64)), 5),
}


@pytest.mark.medium
@pytest.mark.parametrize("name", SPARE)
def test_the_network_without_units_answers_as_the_one_whose_branches_are_left_out(name: str) -> None:
    config, number = SPARE[name]
    description = config.architecture()
    units = spare_units(description)
    assert len(units) == number
    network, images = lived_in(description), torch.randn(5, *description.input)
    for cut in (units[:1], units[1:3], units[-1:]):
        with torch.no_grad(), without(network, cut):
            wanted = network(images)
        with torch.no_grad():
            assert torch.equal(part_of(network, cut)(images), wanted)
            changed = network(images)
        assert not torch.equal(changed, wanted)
    stored = Checkpoint("weights", network.state_dict(), description)
    slim = create_model(config.replace(without=cut).architecture(), weights=stored).eval()
    with torch.no_grad():
        assert torch.equal(slim(images), wanted)


NONE = {
    "plain": (resnet("none"), "without a shortcut"),
    "vgg": (VggConfig(**{**SMALL, "input": (3, 32, 32)}, depths=(2, 2), widths=(4, 8)), "without a shortcut"),
    "dense": (DenseNetConfig(**SMALL, depths=(2, 2), growth=4), "side by side"),
    "projections everywhere": (resnet("C"), "more than y = x"),
    "norm after the addition": (resnet(style=Style(order="bn_after_add")), "more than y = x"),
    "scaled shortcut": (resnet(style=Style(mixing=Mixing(shortcut_scale=0.5))), "more than y = x"),
    "gated shortcut": (resnet(style=Style(mixing=Mixing(gate="shortcut"))), "other than addition"),
    "silu": (resnet(style=Style(activation="silu")), "more than y = x"),
    "one unit a stage": (resnet(depths=(1, 1)), "one unit a stage"),
}


@pytest.mark.parametrize("name", NONE)
def test_where_no_unit_can_go_it_is_said_why(name: str) -> None:
    config, why = NONE[name]
    assert spare_units(config.architecture()) == ()
    assert why in why_none(config.architecture())


def test_each_stage_keeps_a_unit() -> None:
    description = resnet().architecture()
    gone: list[str] = []
    while units := spare_units(resnet(without=tuple(gone)).architecture()):
        gone.append(units[0])
    assert len(gone) == 4  # of six
    assert {name.partition(".")[0] for name in unit_names(resnet(without=tuple(gone)).architecture())} == {
        "stage1",
        "stage2",
    }
    assert left_out(description, resnet(without=tuple(gone)).architecture()) == tuple(sorted(gone))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("stage1.unit4",), r"unit 'stage1.unit4': unknown; did you mean stage1.unit"),
        (("stage2.unit1",), r"stage2.unit1 cannot be left out, as it changes the shape .*; keep it"),
        (("stage1.unit1", "stage1.unit1"), r"stage1.unit1 is left out twice; name it once"),
        (("stage1.unit1", "stage1.unit2", "stage1.unit3"), r"stage1.unit3 is the last unit of stage1"),
    ],
)
def test_what_cannot_be_left_out_is_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resnet(without=names).architecture()


@pytest.mark.medium
def test_weights_of_more_units_fit_only_where_nothing_is_left_of_these() -> None:
    whole = resnet("C")
    stored = Checkpoint("weights", lived_in(whole.architecture()).state_dict(), whole.architecture())
    with pytest.raises(InputError, match=r"tensors that the network does not have: stage1.unit2"):
        create_model(whole.replace(without=("stage1.unit2",)).architecture(), weights=stored)


def test_a_description_without_units_is_found_again_in_the_catalogue() -> None:
    slim = architecture("resnet20_cifar+without=stage1.unit2,stage3.unit3")
    found = config_of(slim)
    assert found is not None
    assert found.architecture() == slim
    assert config_of(architecture("resnet20_cifar")) == entry("resnet20_cifar").config
    assert config_of(architecture("resnet20_cifar+shortcut=B")) is None
