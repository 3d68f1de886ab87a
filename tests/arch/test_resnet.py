"""Residual networks of every order and shortcut: what stands where, as the second paper draws it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepres.arch.algebra import Node, Parallel, Sequence, at
from deepres.arch.architecture import Architecture, unit_names
from deepres.arch.atoms import Activation, Conv, DropPath, Norm
from deepres.arch.catalogue.lookup import architecture, entry
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.readings.cost import cost
from deepres.arch.units import Mixing, Style
from deepres.arch.variants import ORDERS, SHORTCUTS, with_mixing, with_order
from deepres.base.errors import InputError
from deepres.base.records import build
from deepres.nn.create import create_model


def _config(**fields: object) -> ResNetConfig:
    plain = {"name": "x", "input": (3, 16, 16), "num_classes": 3, "stem": "cifar", "stem_width": 4, "shortcut": "A"}
    return build(ResNetConfig, {**plain, "depths": (2, 2), "widths": (4, 8), **fields}, "x")


def _letters(node: Node) -> str:
    """W for weights, B for a norm, R for a ReLU, in the order of the paper's Table 2."""
    match node:
        case Conv():
            return "W"
        case Norm():
            return "B"
        case Activation():
            return "R"
        case Sequence():
            return "".join(_letters(child) for _, child in node.parts)
        case _:
            return ""


@pytest.mark.parametrize(
    ("row", "branch", "after"),
    [
        ("original", "WBRWB", "R"),
        ("BN after addition", "WBRW", "BR"),
        ("ReLU before addition", "WBRWBR", ""),
        ("ReLU-only pre-activation", "RWBRWB", ""),
        ("full pre-activation", "BRWBRW", ""),
    ],
)
def test_table_2_of_identity_mappings(row: str, branch: str, after: str) -> None:
    unit = at(with_order(_config(), ORDERS[row]).architecture().tree, "stage1.unit2")
    assert isinstance(unit, Parallel)
    assert _letters(dict(unit.parts)["branch"]) == branch
    assert _letters(unit.act) == after


@pytest.mark.parametrize(
    ("row", "stem", "first", "last"),
    [("ReLU-only pre-activation", "WBR", "WBRWB", "R"), ("full pre-activation", "WBR", "WBRW", "BR")],
)
def test_the_first_and_last_units_are_those_of_the_appendix(row: str, stem: str, first: str, last: str) -> None:
    net = with_order(_config(), ORDERS[row]).architecture()
    unit = at(net.tree, "stage1.unit1")
    assert isinstance(unit, Parallel)
    assert (_letters(at(net.tree, "stem")), _letters(unit.pre), _letters(dict(unit.parts)["branch"])) == (
        stem,
        "",
        first,
    )
    assert _letters(at(net.tree, "final")) == last


def test_a_unit_that_changes_the_shape_shares_its_pre_activation_and_projects_without_norm() -> None:
    net = architecture("preresnet164_cifar")
    for name in ("stage1.unit1", "stage2.unit1", "stage3.unit1"):
        unit = at(net.tree, name)
        assert isinstance(unit, Parallel)
        assert _letters(unit.pre) == "BR"
        assert _letters(dict(unit.parts)["shortcut"]) == "W"
        assert _letters(dict(unit.parts)["branch"]) == "WBRWBRW"
    assert _letters(at(net.tree, "stem")) == "W"
    assert _letters(at(net.tree, "stage1.unit2")) == ""
    assert len(unit_names(net)) == 54


@pytest.mark.parametrize("row", SHORTCUTS)
def test_every_row_of_table_1_can_be_built_on_any_resnet(row: str) -> None:
    for name in ("resnet20_cifar", "resnet18"):
        description = with_mixing(entry(name).config, SHORTCUTS[row]).architecture()
        assert description.num_classes == entry(name).config.num_classes


def test_scaling_by_nothing_is_a_plain_network() -> None:
    config = entry("resnet20_cifar").config
    plain = architecture("plain20_cifar")
    assert with_mixing(config, SHORTCUTS["scaling 0"]).architecture().tree == plain.tree


def test_gates_cost_what_the_paper_says_they_are() -> None:
    config = entry("resnet110_cifar").config
    gated = with_mixing(config, SHORTCUTS["exclusive gating, bias -6"]).architecture()
    gates = 18 * (16 * 16 + 16) + (16 * 32 + 32) + 17 * (32 * 32 + 32) + (32 * 64 + 64) + 17 * (64 * 64 + 64)
    assert cost(gated).parameters == cost(config.architecture()).parameters + gates


def test_option_c_on_110_layers_has_the_counted_parameters() -> None:
    config = entry("resnet110_cifar").config.replace(shortcut="C")
    assert cost(config.architecture()).parameters == 1_826_202


@pytest.mark.parametrize(("per", "rates"), [("batch", (0.125, 0.25, 0.375, 0.5)), ("sample", (0, 1 / 6, 1 / 3, 0.5))])
def test_drop_path_decays_linearly(per: str, rates: tuple[float, ...]) -> None:
    net = _config(drop_path=0.5, drop_path_per=per).architecture()
    found = [at(net.tree, f"{name}.branch.drop_path") for name in unit_names(net)]
    assert all(isinstance(path, DropPath) and path.per == per for path in found)
    assert [path.rate for path in found] == pytest.approx(rates)  # type: ignore[union-attr]


@given(
    order=st.sampled_from(list(ORDERS.values())),
    mixing=st.sampled_from(list(SHORTCUTS.values())),
    unit=st.sampled_from(["single", "basic", "bottleneck"]),
    shortcut=st.sampled_from(["none", "A", "B", "C"]),
    stem=st.sampled_from(["imagenet", "cifar", "deep", "tiered", "rs"]),
    attention=st.sampled_from([{}, {"se_ratio": 0.25}, {"eca_kernel": "auto"}, {"eca_kernel": 5}]),
    blur=st.sampled_from([None, 3]),
    norm=st.sampled_from(["batch", "group", "frozen"]),
    projection=st.sampled_from(["conv", "pool"]),
    several=st.sampled_from([{}, {"scales": 2}, {"scales": 3}, {"radix": 2}, {"radix": 1}, {"kernels": "halves"}]),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_any_combination_is_a_network_that_can_be_counted_and_built(
    order: str,
    mixing: Mixing,
    unit: str,
    shortcut: str,
    stem: str,
    attention: dict[str, object],
    blur: int | None,
    norm: str,
    projection: str,
    several: dict[str, object],
) -> None:
    if order in ("pre", "relu_pre") or blur or ("scales" in several and unit != "bottleneck"):
        several = {}
    style = {
        **several,
        "order": order,
        "mixing": mixing,
        **attention,
        "blur": blur,
        "norm": norm,
        "norm_groups": 1 if stem == "tiered" else 4,  # of its first layer's 3 channels
        "projection": projection,
    }
    config = _config(
        unit=unit, shortcut=shortcut, stem=stem, stem_width=8, widths=(8, 16), style=style, input=(3, 64, 64)
    )
    description = config.architecture()
    assert isinstance(description, Architecture)
    net = create_model(description)
    assert sum(p.numel() for p in net.parameters()) == cost(description).parameters


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": (2, 2, 2)}, r"depths \(2, 2, 2\) and widths \(4, 8\): wanted one of each for every stage"),
        ({"groups": 2}, "groups 2 with unit 'basic': only bottlenecks are grouped"),
        ({"stem_norm": False}, "stem_norm false with an order that does not begin with an activation"),
        ({"depths": (0, 2)}, "depths.0: input should be greater than or equal to 1"),
        ({"style": {"eca_kernel": 4}}, "style.eca_kernel.*4, wanted an odd number"),
        ({"style": {"eca_kernel": 3, "se_ratio": 0.5}}, "eca_kernel 3 with se_ratio 0.5; give one of the two"),
        ({"style": {"scales": 2}}, "style.scales 2 with unit 'basic'; set unit=bottleneck"),
        ({"style": {"radix": 2, "kernels": "whole"}}, "radix 2 with kernels whole; give one of the two"),
        ({"style": {"radix": 2, "order": "pre"}}, "radix 2 with order 'pre', wanted activations behind the weights"),
        ({"style": {"kernels": "whole", "blur": 3}}, "kernels whole with blur 3, wanted activations behind"),
        ({"style": {"order": "post"}}, "style.order: input should be 'original'"),
    ],
)
def test_an_impossible_edit_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _config(**fields)


def test_an_option_a_shortcut_to_fewer_channels_is_refused_with_its_name() -> None:
    with pytest.raises(InputError, match=r"x: stage2\.unit1\.shortcut: an option-A shortcut cannot go from 8 to 4"):
        _config(widths=(8, 4), stem_width=8).architecture()


def test_groups_that_do_not_divide_are_refused_with_their_name() -> None:
    style = Style(norm="group", norm_groups=3)
    with pytest.raises(
        InputError, match=r"x: stem\.norm: 3 groups of \(4, 16, 16\) do not divide it; choose other norm_groups"
    ):
        _config(style=style).architecture()
