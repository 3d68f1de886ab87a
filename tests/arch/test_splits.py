"""A unit's 3x3 as several layers: scales, splits and kernels against slow loops, their laws, what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepres.arch.algebra import Node, Parallel, Sequence, shape
from deepres.arch.atoms import Activation, AvgPool, Conv, Identity, MaxPool, Norm
from deepres.arch.attention_atoms import GroupSoftmax, GroupSum
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.cost import cost, receptive_field
from deepres.arch.readings.diff import difference
from deepres.arch.readings.draw import text
from deepres.arch.readings.paths import path_lengths
from deepres.arch.shapes import ShapeError
from deepres.arch.splits import divisible, kernels, scales, splits
from deepres.base.errors import InputError
from deepres.nn.build import modules
from deepres.nn.create import create_model
from deepres.nn.weights.convert import to_foreign
from deepres.nn.weights.inspection import inspect

NORM, ACT = Norm(), Activation()


def conv3(channels: int, stride: int = 1, groups: int = 1) -> Conv:
    return Conv(channels=channels, kernel=3, stride=stride, padding=1, groups=groups)


def lived_in(node: Node, given: tuple[int, ...]) -> nn.Module:
    """The modules in float64 with random weights and statistics, in evaluation."""
    draw = torch.Generator().manual_seed(0)
    module = modules(node, given).to_empty(device="cpu").double().eval()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5, generator=draw) if name.endswith("var") else tensor.normal_(
                    0, 0.5, generator=draw
                )
    return module


def slow_layer(state: dict[str, Tensor], name: str, x: Tensor, act: bool = True, **conv: Any) -> Tensor:
    """act(norm(conv(x))) by functions, of the tensors `name`.conv and `name`.norm."""
    y = F.conv2d(x, state[f"{name}conv.weight"], **conv)
    mean, var, gamma, beta = (
        state[f"{name}norm.{leaf}"][None, :, None, None] for leaf in ("running_mean", "running_var", "weight", "bias")
    )
    y = gamma * (y - mean) / (var + 1e-5).sqrt() + beta
    return y.clamp_min(0) if act else y


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize(("number", "groups"), [(2, 1), (4, 1), (5, 3)])
def test_scales_are_the_slow_loops(number: int, groups: int, changes: bool) -> None:
    stride = 2 if changes else 1
    module = lived_in(scales(conv3(3, stride, groups), number, NORM, ACT, changes=changes), given := (3 * number, 7, 6))
    state, x = module.state_dict(), torch.randn(2, *given, dtype=torch.float64)
    y, before = [], torch.zeros(2, 3, 7, 6, dtype=torch.float64)
    for place in range(number - 1):
        group = x[:, 3 * place : 3 * place + 3]
        if not changes:
            group = group + before
        before = slow_layer(state, f"scale{place + 1}.", group, stride=stride, padding=1, groups=groups)
        y.append(before)
    last = x[:, -3:]
    if changes:  # zeros counted: always ninths
        padded = F.pad(last, (1, 1, 1, 1))
        last = padded.unfold(2, 3, stride).unfold(3, 3, stride).sum((-1, -2)) / 9
    torch.testing.assert_close(module(x), torch.cat([*y, last], 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("radix", "groups"), [(1, 1), (2, 1), (1, 4), (4, 2), (2, 4)])
def test_splits_are_the_slow_loops(radix: int, groups: int) -> None:
    channels = 16
    module = lived_in(splits(conv3(channels, groups=groups), radix, NORM, ACT), (channels, 5, 4))
    state, x = module.state_dict(), torch.randn(2, channels, 5, 4, dtype=torch.float64)
    wide = slow_layer(state, "pre.", x, padding=1, groups=groups * radix)
    parts = [wide[:, r * channels : (r + 1) * channels] for r in range(radix)]
    pooled = torch.stack(parts).sum(0).mean((2, 3), keepdim=True)
    hidden = {f"h.{key.removeprefix('gate.')}": value for key, value in state.items()}
    hidden["h.conv.weight"] = hidden["h.fc1.weight"]
    bias = state["gate.fc1.bias"]
    shifted = {**hidden, "h.norm.running_mean": hidden["h.norm.running_mean"] - bias}
    z = slow_layer(shifted, "h.", pooled, groups=groups)
    z = F.conv2d(z, state["gate.fc2.weight"], state["gate.fc2.bias"], groups=groups)
    each = channels // groups
    y = torch.zeros_like(parts[0])
    for g in range(groups):
        for c in range(each):
            of = [z[:, g * radix * each + r * each + c] for r in range(radix)]
            share = [one.sigmoid() for one in of] if radix == 1 else torch.stack(of).softmax(0)
            for r in range(radix):
                y[:, g * each + c] += share[r] * parts[r][:, g * each + c]
    torch.testing.assert_close(module(x), y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("halved", [False, True])
def test_kernels_are_the_slow_loops(halved: bool) -> None:
    module = lived_in(kernels(conv3(6, 2), 4, NORM, ACT, halved=halved), (8, 9, 8))
    state, x = module.state_dict(), torch.randn(2, 8, 9, 8, dtype=torch.float64)
    given = (x[:, :4], x[:, 4:]) if halved else (x, x)
    one = slow_layer(state, "pre.path1.", given[0], stride=2, padding=1)
    wide = torch.zeros(*state["pre.path2.conv.weight"].shape[:2], 5, 5, dtype=torch.float64)
    wide[:, :, ::2, ::2] = state["pre.path2.conv.weight"]
    other = slow_layer({**state, "pre.path2.conv.weight": wide}, "pre.path2.", given[1], stride=2, padding=2)
    gate = {key.removeprefix("gate."): value for key, value in state.items()}
    hidden = slow_layer({**gate, "conv.weight": gate["fc1.weight"]}, "", (one + other).mean((2, 3), keepdim=True))
    first, second = F.conv2d(hidden, gate["fc2.weight"]).chunk(2, 1)
    share = first.exp() / (first.exp() + second.exp())
    torch.testing.assert_close(module(x), share * one + (1 - share) * other, rtol=1e-12, atol=1e-12)


def test_a_chain_of_nothing_adds_up() -> None:
    """y_i = x_i + y_(i-1) of identities are running sums, but for the last."""
    chain = Parallel(parts={name: Identity() for name in "abcd"}, join="concat", feed="chain")
    x = torch.randn(2, 8, 3, 3)
    sums = x.unflatten(1, (4, 2))[:, :3].cumsum(1).flatten(1, 2)
    torch.testing.assert_close(modules(chain, (8, 3, 3))(x), torch.cat([sums, x[:, 6:]], 1))
    groups = chain.replace(feed="groups")
    assert torch.equal(modules(groups, (8, 3, 3))(x), x)


def test_shares_are_at_most_all_and_order_the_groups() -> None:
    share = modules(GroupSoftmax(parts=2, groups=3), (12, 1, 1))
    y = share(torch.randn(4, 12, 1, 1)).reshape(4, 2, 6)
    torch.testing.assert_close(y.sum(1), torch.ones(4, 6))
    total = modules(GroupSum(parts=3), (6, 2, 2))
    x = torch.randn(2, 6, 2, 2)
    assert torch.equal(total(x), x[:, :2] + x[:, 2:4] + x[:, 4:])


def test_what_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(ShapeError, match="3 parts share 8 channels unevenly; give each the same number"):
        GroupSum(parts=3).output((8, 2, 2))
    with pytest.raises(ShapeError, match=r"take \(C, 1, 1\), given \(8, 2, 2\); pool before them"):
        GroupSoftmax(parts=2).output((8, 2, 2))
    two = {"a": Identity(), "b": Identity()}
    with pytest.raises(InputError, match="x: 2 parts share 7 channels unevenly; give each the same number"):
        shape(Parallel(parts=two, join="concat", feed="groups"), (7, 2, 2), "x")
    with pytest.raises(ValueError, match="feed 'chain' with join 'add'; groups of channels are concatenated"):
        Parallel(parts=two, feed="chain")
    smaller = MaxPool(kernel=2, stride=2)
    with pytest.raises(InputError, match=r"x: a gives \(4, 1, 1\) to the next of a chain, which is given \(4, 2, 2\)"):
        shape(Parallel(parts={"a": smaller, "b": smaller, "c": smaller}, join="concat", feed="chain"), (12, 2, 2), "x")


@pytest.mark.parametrize("padded", [False, True])
def test_a_pool_counts_what_is_padded_if_told(padded: bool) -> None:
    pool = modules(AvgPool(kernel=3, stride=2, padding=1, padded=padded), (1, 4, 4))
    assert pool(torch.ones(1, 1, 4, 4))[0, 0, 0, 0] == pytest.approx(4 / 9 if padded else 1)


@pytest.mark.parametrize(
    ("wanted", "by", "least", "found"), [(4, 8, 8, 8), (20, 8, 8, 24), (11, 8, 8, 16), (24, 16, 16, 32), (9, 8, 32, 32)]
)
def test_hidden_units_come_in_multiples(wanted: float, by: int, least: int, found: int) -> None:
    assert divisible(wanted, by, least) == found


@pytest.mark.parametrize("name", ["res2net50_26w_4s", "resnest26d", "skresnet18"])
def test_multiply_adds_are_those_of_torchs_layers(name: str) -> None:
    small = architecture(name, num_classes=5, input=(3, 64, 64))
    network = create_model(small).eval()
    counted = []

    def count(layer: Any, _: Any, y: Tensor) -> None:
        each = layer.weight[0].numel()
        counted.append(each * y[0].numel())

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))
    assert sum(counted) == cost(small).macs


def test_a_chain_sees_as_far_as_all_its_layers() -> None:
    conv = conv3(2)
    here = {f"scale{place}": conv for place in (1, 2, 3)}
    for feed, size in (("chain", 7), ("groups", 3)):
        body = Parallel(parts={**here, "rest": Identity()}, join="concat", feed=feed)
        plain = architecture("resnet20_cifar")
        seen = receptive_field(plain.replace(input=(8, 9, 9), body=(("stem", Sequence(parts={"x": body})),)))
        assert seen.size == size
    lengths = path_lengths(architecture("res2net50_26w_4s"))
    assert sum(lengths.values()) == 2**16
    assert lengths[16] == 1
    layers = path_lengths(architecture("res2net50_26w_4s"), of="layers")
    assert max(layers) == 1 + 4 * 3 + 5 * 12  # in units that change the shape the scales stand apart


def test_a_table_shows_what_stands_before_the_weighing_and_what_is_chained() -> None:
    drawn = text(architecture("resnest14d"))
    assert "1x1 64, 3x3 128 in 2 groups, (average pool, sum of 2, 1x1 32, 1x1 128, shares of 2), sum of 2," in drawn
    assert "1x1 104, (chained: 3x3 26 | 3x3 26 | 3x3 26), 1x1 256" in text(architecture("res2net50_26w_4s"))


def test_scales_that_add_and_scales_that_do_not_differ() -> None:
    wide = architecture("res2net50_26w_4s")
    changed = architecture("res2net50_26w_4s+style.radix_pool=before")
    assert difference(wide, changed) is None
    first = architecture("resnest50d_4s2x40d")
    assert difference(first, architecture("resnest50d_4s2x40d+style.radix_pool=behind")) is not None
    chain = Parallel(parts={"a": Identity(), "b": Identity(), "c": Identity()}, join="concat", feed="chain")
    one, other = (
        wide.replace(body=(("stem", Sequence(parts={"x": node})),), input=(6, 4, 4))
        for node in (chain, chain.replace(feed="groups"))
    )
    assert difference(one, other) is not None


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("res2net50_26w_4s", {"layer1.0.convs.2.weight": (26, 26, 3, 3)}),
        ("resnest14d", {"layer2.0.conv2.fc2.bias": (256,)}),
        ("skresnet18", {"layer1.0.conv1.attn.fc_select.weight": (128, 16, 1, 1)}),
    ],
)
def test_a_file_of_timms_is_known_by_its_names(name: str, theirs: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    description = architecture(name, num_classes=7)
    network = create_model(description, seed=1)
    named = to_foreign(network.state_dict(), description)
    for key, wanted in theirs.items():
        assert tuple(named[key].shape) == wanted
    torch.save(named, tmp_path / "w.pth")
    loaded = create_model(name, num_classes=7, weights=tmp_path / "w.pth")
    assert all(torch.equal(tensor, network.state_dict()[key]) for key, tensor in loaded.state_dict().items())
    assert inspect(tmp_path / "w.pth").networks == (name,)
