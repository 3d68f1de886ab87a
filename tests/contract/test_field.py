"""The field's networks through the contract; what others print of them; names with edits."""

import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from deepres.arch.algebra import at
from deepres.arch.architecture import Architecture, feature_shapes
from deepres.arch.atoms import Conv
from deepres.arch.catalogue.entries_field import ENTRIES, TIMM
from deepres.arch.catalogue.lookup import architecture, entry
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.readings.cost import cost
from deepres.base.errors import InputError
from deepres.nn.create import create_model
from deepres.nn.layers import SameConv2d

# learnable parameters as their repositories print them (chenyaofo, pytorchcv: 272,474; kuangliu's ResNet18: 11,173,962;
# weiaicunzai's with 100 classes: 11.22M; those of timm by timm 1.0.31); the others: 2 (16 x 32 + 64 + 32 x 64 + 128) more than option A, or by torch
EXPECTED = {
    "resnet20_cifar_b": 272_474,
    "resnet32_cifar_b": 464_154 + 2_752,
    "resnet44_cifar_b": 658_586 + 2_752,
    "resnet56_cifar_b": 853_018 + 2_752,
    "resnet110_cifar_b": 1_727_962 + 2_752,
    "resnet1202_cifar_b": 19_421_274 + 2_752,
    "resnet18_cifar64": 11_173_962,
    "resnet34_cifar64": 21_282_122,
    "resnet50_cifar64": 23_520_842,
    "resnet101_cifar64": 42_512_970,
    "resnet152_cifar64": 58_156_618,
    "resnet26": 15_995_176,
    "resnet26d": 16_014_408,
    "resnet50_gn": 25_557_032,
    "resnext50d_32x4d": 25_048_136,
    "seresnext50_32x4d": 27_559_896,
    "seresnext101_32x4d": 48_955_416,
    "seresnext101_32x8d": 93_569_048,
    "resnet10t": 5_435_488,
    "resnet14t": 10_081_632,
    "resnet26t": 16_011_872,
    "resnet50t": 25_573_728,
    "seresnet50t": 28_104_720,
    "seresnext26t_32x4d": 16_806_976,
    "seresnext26d_32x4d": 16_809_512,
    "resnet50s": 25_680_808,
    "resnet101s": 44_672_936,
    "resnet152s": 60_316_584,
    "seresnet152d": 66_841_080,
    "seresnet200d": 71_855_096,
    "seresnet269d": 113_672_760,
    "seresnext101_64x4d": 88_232_984,
    "seresnext101d_32x8d": 93_588_280,
    "ecaresnet26t": 16_011_916,
    "ecaresnet50t": 25_573_814,
    "ecaresnet50d": 25_576_350,
    "ecaresnet101d": 44_568_563,
    "ecaresnet200d": 64_693_400,
    "ecaresnet269d": 102_093_077,
    "ecaresnetlight": 30_162_046,
    "ecaresnext26t_32x4d": 15_406_220,
    "ecaresnext50t_32x4d": 25_045_686,
    "res2net50_26w_4s": 25_699_120,
    "res2net50_14w_8s": 25_059_816,
    "res2net50_26w_6s": 37_051_448,
    "res2net50_26w_8s": 48_403_776,
    "res2net50_48w_2s": 25_287_304,
    "res2net101_26w_4s": 45_206_688,
    "res2next50": 24_671_464,
    "res2net50d": 25_718_352,
    "res2net101d": 45_225_920,
    "resnest14d": 10_611_688,
    "resnest26d": 17_069_448,
    "resnest50d": 27_483_240,
    "resnest101e": 48_275_016,
    "resnest200e": 70_201_544,
    "resnest269e": 110_929_480,
    "resnest50d_4s2x40d": 30_417_592,
    "resnest50d_1s4x24d": 25_677_000,
    "skresnet18": 11_958_056,
    "skresnet34": 22_282_376,
    "skresnet50": 25_803_160,
    "skresnet50d": 25_822_392,
    "skresnext50_32x4d": 27_479_784,
    "resnetv2_18": 11_687_720,
    "resnetv2_34": 21_795_880,
    "resnetv2_18d": 11_706_952,
    "resnetv2_34d": 21_815_112,
    "resnetv2_50d": 25_568_584,
    "resnetv2_101d": 44_560_712,
    "resnetv2_152d": 60_204_360,
    "resnetv2_50t": 25_566_048,
    "resnet8_tiny": 78_666 - 2 * (3 * 16 + 2 * 32 + 2 * 64),
}
NAMES = [found.config.name for found in ENTRIES]
DEEP = re.compile(r"(?<!\d)[12]\d\d(?!\d)")
"""Of a hundred layers and more: those between the first and the last are run by `make whole`."""


def test_the_contract_covers_the_entries() -> None:
    assert set(EXPECTED) == set(NAMES)


@pytest.mark.medium
@pytest.mark.parametrize("name", NAMES)
def test_counts_equal_what_others_print(name: str) -> None:
    description = architecture(name)
    assert cost(description).parameters == EXPECTED[name]
    assert description.name == entry(name).config.name == name
    assert description.input == ((3, 224, 224) if entry(name).paper == TIMM else (3, 32, 32))
    last = list(feature_shapes(description).values())[-1]
    assert last[1] == (7 if entry(name).paper == TIMM else 4 if "cifar64" in name else 8)


@pytest.mark.medium
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if DEEP.search(name) else name
        for name in NAMES
        if "1202" not in name  # as deep as the one of the papers, which stands for it
    ],
)
def test_counts_and_names_equal_those_of_the_modules(
    name: str, agrees_with_its_modules: Callable[[Architecture], None]
) -> None:
    agrees_with_its_modules(architecture(name))


def test_a_name_may_be_followed_by_edits() -> None:
    edited = architecture("resnet20_cifar+shortcut=B+depths=9,9,9")
    assert edited.body == architecture("resnet56_cifar_b").body
    assert architecture("resnet8_tiny+style.bias=false+num_classes=7").num_classes == 7
    for name, said in {
        "resnet20_cifar+shortcut=D": "shortcut",
        "resnet20_cifar+short=B": "did you mean shortcut",
        "resnet2o_cifar+shortcut=B": "did you mean .*resnet20_cifar",
        "resnet20_cifar+": r"--set : wanted name=value",
    }.items():
        with pytest.raises(InputError, match=said):
            architecture(name)


def test_depths_of_option_b_are_answered_too() -> None:
    with pytest.raises(InputError, match=r"take resnet20_cifar_b with --set model\.depths=4,4,4"):
        architecture("resnet26_cifar_b")
    with pytest.raises(InputError, match="resnet18_cifar64 is ImageNet's behind a 3x3"):
        architecture("resnet18_cifar")


@pytest.mark.parametrize("side", [7, 8, 9, 15, 16])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 2, 1), (3, 1, 1), (2, 2, 1), (5, 3, 1), (3, 2, 2), (4, 1, 1)]
)
def test_same_padding_is_tensorflows(side: int, kernel: int, stride: int, dilation: int) -> None:
    conv = SameConv2d(2, 3, kernel, stride=stride, dilation=dilation)
    x, window = torch.randn(1, 2, side, side + 3), dilation * (kernel - 1) + 1
    padded = x
    for place, length in ((0, side + 3), (1, side)):
        out = -(-length // stride)
        total = max(0, (out - 1) * stride + window - length)
        before = [0, 0, 0, 0]
        before[2 * place], before[2 * place + 1] = total // 2, total - total // 2
        padded = F.pad(padded, before)
    wanted = F.conv2d(padded, conv.weight, conv.bias, stride, dilation=dilation)
    got = conv(x)
    assert torch.equal(got, wanted)
    assert got.shape[1:] == Conv(channels=3, kernel=kernel, stride=stride, dilation=dilation, padding="same").output(
        (2, side, side + 3)
    )
    assert torch.equal(torch.fx.symbolic_trace(torch.nn.Sequential(conv))(x), wanted)


def test_same_padding_that_pads_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is padded; say 0"):
        Conv(channels=3, kernel=1, stride=2, padding="same")


def test_where_shortcuts_of_activated_units_leave_is_a_choice() -> None:
    torch.manual_seed(0)
    x, answers = torch.randn(2, 3, 32, 32), []
    first = None
    for where in ("paper", "changing", "none"):
        net = create_model(f"preresnet110_cifar+depths=1,1,1+shortcut=B+style.activated={where}").eval()
        values = list(net.state_dict().values())
        if first is None:
            first = [torch.rand_like(v) if v.is_floating_point() else v for v in values]
        net.load_state_dict(dict(zip(net.state_dict(), first, strict=True)))
        answers.append(net(x))
    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[1], answers[2])
    assert "final" not in dict(
        ResNetConfig(name="x", depths=(1,), widths=(8,), final=False, stem_norm=False, style={"order": "pre"})
        .architecture()
        .body
    )  # type: ignore[arg-type]
    assert at(architecture("resnet8_tiny").tree, "stage2.unit1.branch.conv1").padding == "same"  # type: ignore[union-attr]
