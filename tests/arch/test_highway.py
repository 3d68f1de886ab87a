import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from deepres.arch.algebra import at
from deepres.arch.architecture import unit_names
from deepres.arch.atoms import Conv, Linear
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.families.highway import HighwayConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.units import Mixing, Style
from deepres.base.errors import InputError
from deepres.base.records import build
from deepres.nn.create import create_model


def _config(layer: str, bias: float = -2.0, **fields: object) -> HighwayConfig:
    small = {"name": "x", "input": (2, 8, 8), "num_classes": 3, "layer": layer, "gate_bias": bias}
    return build(HighwayConfig, {**small, "depths": (2, 1), "widths": (4, 6), **fields}, "x")


@given(layer=st.sampled_from(["conv", "linear"]), bias=st.floats(-10, 2), seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None)
@pytest.mark.medium
def test_a_layer_equals_the_papers_formula(layer: str, bias: float, seed: int) -> None:
    unit = create_model(_config(layer, bias).architecture(), seed=seed).double().get_submodule("stage1.unit2")
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 4, *((5, 5) if layer == "conv" else ()), dtype=torch.float64, generator=draw)
    weights = dict(unit.named_parameters())

    def affine(part: str) -> torch.Tensor:
        name = f"{part}.{'conv' if layer == 'conv' else 'fc'}"
        w, b = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return F.conv2d(x, w, b, padding=1) if layer == "conv" else x @ w.T + b

    t = 1 / (1 + torch.exp(-affine("gate")))
    torch.testing.assert_close(unit(x), affine("branch").clamp(min=0) * t + x * (1 - t), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("layer", "part"), [("conv", "conv"), ("linear", "fc")])
def test_every_gate_begins_with_the_descriptions_bias_and_nothing_else_does(layer: str, part: str) -> None:
    net = create_model(_config(layer, -3.5).architecture())
    biases = {name: p for name, p in net.named_parameters() if name.endswith(".bias")}
    gates = {name for name in biases if ".gate." in name}
    assert gates == {f"{unit}.gate.{part}.bias" for unit in unit_names(net.description)}
    assert all((bias == (-3.5 if name in gates else 0)).all() for name, bias in biases.items())


@pytest.mark.parametrize("layer", ["conv", "linear"])
def test_a_very_negative_bias_begins_as_a_copy(layer: str) -> None:
    net = create_model(_config(layer, -60.0).architecture()).double()
    maps = net.features(torch.randn(2, 2, 8, 8, dtype=torch.float64))
    torch.testing.assert_close(maps["stage1"], maps["stem"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("gate", ["exclusive", "shortcut"])
def test_the_gates_of_identity_mappings_begin_with_their_bias(gate: str) -> None:
    style = Style(mixing=Mixing.model_validate({"gate": gate, "gate_bias": -6}))
    small = {"name": "x", "input": (3, 8, 8), "num_classes": 3, "stem": "cifar", "stem_width": 4, "shortcut": "A"}
    config = build(ResNetConfig, {**small, "depths": (2, 2), "widths": (4, 8), "style": style}, "x")
    net = create_model(config.architecture())
    gates = [p for name, p in net.named_parameters() if name.endswith(".gate.conv.bias")]
    assert len(gates) == 4
    assert all((p == -6).all() for p in gates)
    assert (net.get_parameter("head.fc.bias") == 0).all()


@pytest.mark.parametrize(("name", "layers"), [("highway19_cifar", 19), ("highway32_cifar", 32), ("highway_fc50", 51)])
@pytest.mark.medium
def test_the_name_counts_the_layers(name: str, layers: int) -> None:
    """Convolutions and classifier; a fully connected network is called by its hidden layers."""
    net = create_model(name)
    weights = [n for n, p in net.named_parameters() if p.dim() > 1 and ".gate." not in n]
    assert len(weights) == layers


def test_gate_biases_are_the_sources() -> None:
    def bias(name: str, part: str) -> float:
        atom = at(architecture(name).tree, part)
        assert isinstance(atom, Conv | Linear)
        return atom.bias_init

    assert bias("highway_fc50", "stage1.unit1.gate.fc") == -2
    assert bias("highway_fc50_cifar", "stage1.unit49.gate.fc") == -4


@pytest.mark.parametrize("atom", [Conv, Linear])
def test_a_first_bias_needs_a_bias(atom: type[Conv] | type[Linear]) -> None:
    sizes = {"channels": 3, "kernel": 1} if atom is Conv else {"features": 3}
    with pytest.raises(InputError, match=r"x: bias_init -2 without a bias; set bias=true, or leave bias_init out"):
        build(atom, {**sizes, "bias": False, "bias_init": -2}, "x")


def test_depths_and_widths_must_be_as_many() -> None:
    with pytest.raises(InputError, match=r"depths \(2,\) and widths \(4, 6\): wanted one of each for every stage"):
        _config("conv", depths=(2,))
