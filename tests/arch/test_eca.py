"""Efficient channel attention: kernels from the number of channels, the gate against a slow loop, first values, strangers."""

from math import log2
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from deepres.arch.algebra import at, shape
from deepres.arch.attention_atoms import ChannelConv
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.shapes import ShapeError
from deepres.arch.units import Style, basic_convs, branch, efficient_attention
from deepres.nn.build import modules
from deepres.nn.create import create_model
from deepres.nn.weights.convert import to_foreign
from deepres.nn.weights.inspection import inspect


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 31, 32, 33, 64, 127, 128, 256, 511, 512, 2047, 2048, 2**13, 2**24])
def test_the_kernel_grows_with_the_logarithm_of_the_channels(channels: int) -> None:
    """gamma 2 and b 1: int(|log2(C) + b| / gamma), the next odd number where that is even, 3 at least."""
    unit = branch(basic_convs(channels, channels, 1), Style(eca_kernel="auto"), activated=False)
    whole = int(abs(log2(channels) + 1) / 2)
    wanted = max(3, whole if whole % 2 else whole + 1)
    assert at(unit, "eca.gate.conv") == ChannelConv(kernel=wanted)


def slowly(x: Tensor, filters: Tensor) -> Tensor:
    """Each channel times the sigmoid of the weighted means of its neighbours, itself in the middle."""
    y = torch.empty_like(x)
    half = len(filters) // 2
    for image in range(len(x)):
        for c in range(x.shape[1]):
            total = 0.0
            for j in range(-half, half + 1):
                if 0 <= c + j < x.shape[1]:
                    total += float(filters[j + half]) * float(x[image, c + j].mean())
            y[image, c] = x[image, c] / (1 + torch.exp(torch.tensor(-total, dtype=x.dtype)))
    return y


@pytest.mark.medium
@pytest.mark.parametrize(("channels", "kernel"), [(8, 3), (9, 5), (2, 7), (1, 1)])
def test_the_gate_is_the_slow_loops(channels: int, kernel: int) -> None:
    draw = torch.Generator().manual_seed(0)
    gate = modules(efficient_attention(kernel), (channels, 4, 5)).to_empty(device="cpu").double()
    (filters,) = gate.parameters()
    with torch.no_grad():
        filters.normal_(generator=draw)
    x = torch.randn(3, channels, 4, 5, dtype=torch.float64, generator=draw)
    torch.testing.assert_close(gate(x), slowly(x, filters.detach().flatten()), rtol=1e-12, atol=1e-12)


def test_a_filter_along_the_channels_wants_pooled_maps() -> None:
    with pytest.raises(ShapeError, match=r"takes \(C, 1, 1\), given \(4, 2, 2\); pool before it"):
        ChannelConv(kernel=3).output((4, 2, 2))
    assert shape(efficient_attention(3), (4, 2, 2)) == (4, 2, 2)


def test_first_values_are_uniform_as_torchs_own() -> None:
    network = create_model("resnet20_cifar+style.eca_kernel=9")
    filters = torch.cat([m.weight.detach().flatten() for m in network.modules() if isinstance(m, nn.Conv1d)])
    assert len(filters) == 81
    assert filters.abs().max() <= 1 / 3
    assert filters.abs().max() > 0.3
    assert abs(float(filters.mean())) < 0.06


@pytest.mark.medium
def test_weights_under_nobodys_names_are_told_by_structure(tmp_path: Path) -> None:
    name = "resnet20_cifar_b+style.eca_kernel=3"
    network = create_model(name, seed=1).eval()
    theirs = {
        name.replace("stage", "block").replace("unit", "u").replace("branch.", "").replace("eca.gate.conv", "channel")
        .replace("shortcut", "down"): tensor
        for name, tensor in network.state_dict().items()
    }  # fmt: skip
    torch.save(theirs, tmp_path / "w.pt")
    loaded = create_model(name, weights=tmp_path / "w.pt", variant=name).eval()
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded(x), network(x))


@pytest.mark.medium
def test_a_file_of_timms_is_known_by_its_names(tmp_path: Path) -> None:
    description = architecture("ecaresnetlight", num_classes=7)
    network = create_model(description, seed=1)
    theirs = to_foreign(network.state_dict(), description)
    assert theirs["layer1.0.se.conv.weight"].shape == (1, 1, 5)
    torch.save(theirs, tmp_path / "w.pth")
    assert torch.equal(
        create_model("ecaresnetlight", num_classes=7, weights=tmp_path / "w.pth").head.fc.bias, theirs["fc.bias"]
    )
    found = inspect(tmp_path / "w.pth")
    assert found.networks == ("ecaresnetlight",)
    assert (found.classes, found.channels, found.stages[0]) == (7, 3, "64: 1 of 7x7, 1 of 1x1, 1 of 3x3")


def test_networks_with_squeeze_and_excitation_differ_from_it() -> None:
    assert architecture("ecaresnet50t").body != architecture("seresnet50t").body
