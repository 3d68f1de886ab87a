from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from deepres.arch.algebra import Parallel, Sequence, at
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import Activation, Conv, Dropout, GlobalAveragePool, Identity, Linear, Norm
from deepres.arch.catalogue.lookup import architecture, entry
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.inference import Fold, border_distance, compiling_pays, folded, folds, for_inference

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _lived_in(model: str | Architecture) -> ResidualNetwork:
    """A network whose norms have statistics and parameters of their own, as after training."""
    net = create_model(model).double()
    draw = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            count = module.num_features
            module.running_mean = 0.3 * torch.randn(count, generator=draw).double()
            module.running_var = 0.5 + torch.rand(count, generator=draw).double()
            if module.affine:
                module.weight.data = 0.5 + torch.rand(count, generator=draw).double()
                module.bias.data = 0.3 * torch.randn(count, generator=draw).double()
    return net.eval()


def _norms(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def _shrunk(name: str) -> Architecture:
    """At most two units or layers a stage, a quarter of the channels: the same kinds in the same order."""
    given = entry(name).config.model_dump()
    fewer: dict[str, Callable[[Any], object]] = {
        "depths": lambda depths: [min(2, depth) for depth in depths],
        "widths": lambda widths: [width // 4 for width in widths],
        "stem_width": lambda width: width // 4,
        "growth": lambda _: 8,
        "active_units": lambda units: units and 3,
    }
    return (
        entry(name)
        .config.replace(**{key: few(given[key]) for key, few in fewer.items() if key in given})
        .architecture()
    )


# how many norms no convolution takes up: a ReLU or a join stands between, but before the first unit of the pre-activated
LEFT = {
    "resnet20_cifar": 0,
    "resnet18": 0,
    "resnet34_c": 0,
    "resnet50": 0,
    "resnet50d": 0,
    "resnet50_blur4": 0,
    "seresnet18": 0,
    "ecaresnet26t": 0,
    "res2net50_26w_4s": 0,
    "resnest26d": 0,
    "skresnet18": 0,
    "resnext50_32x4d": 0,
    "vgg15_cifar": 0,
    "plain20_cifar": 0,
    "preresnet18": 8,
    "preresnet110_cifar": 6,
    "densenet121": 12,
    "densenet_bc100_k12_cifar": 9,
    "resnet110_stochastic_cifar": 0,
    "fractalnet20_cifar": 0,
    "wrn16_4_cifar": 6,
    "rir18_wide_cifar": None,
    "highway19_cifar": None,
}


@pytest.mark.medium
@pytest.mark.parametrize("name", LEFT)
def test_folding_changes_no_logit(name: str) -> None:
    net = _lived_in(_shrunk(name))
    side = 32 if "cifar" in name else 64
    images = torch.randn(2, net.description.input[0], side, side, dtype=torch.float64)
    copy = folded(net)
    with torch.no_grad():
        wanted, given = net(images), copy(images)
    assert (wanted - given).abs().max() <= 1e-9 * wanted.abs().max()
    assert wanted.std() > 0
    if LEFT[name] is not None:
        assert _norms(copy) == LEFT[name]


def test_the_network_itself_stays_as_it_is() -> None:
    net = create_model("resnet20_cifar")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    folded(net)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net.training
    assert net.description == architecture("resnet20_cifar")


@pytest.mark.medium
def test_in_float32_the_difference_is_rounding() -> None:
    net = _lived_in("resnet20_cifar").float()
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        wanted, given = net(images), folded(net)(images)
    assert 0 < (given - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def _toy(*parts: tuple[str, object]) -> Architecture:
    head = Sequence(parts={"pool": GlobalAveragePool(), "fc": Linear(features=3)})
    return Architecture(name="toy", input=(4, 8, 8), body=(("stem", Sequence(parts=parts)),), head=head)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_norm_before_a_convolution_without_padding_is_folded(groups: int) -> None:
    toy = _toy(
        ("norm1", Norm()),
        ("conv", Conv(channels=6, kernel=3, groups=groups)),
        ("drop", Dropout(rate=0.5)),
        ("norm2", Norm()),
    )
    assert folds(toy) == (Fold("stem.conv", "stem.norm1", True), Fold("stem.conv", "stem.norm2"))
    net = _lived_in(toy)
    images = torch.randn(3, 4, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(folded(net)(images), net(images), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "parts",
    [
        [("norm", Norm()), ("conv", Conv(channels=4, kernel=3, padding=1))],  # the border's zeros
        [("norm", Norm()), ("act", Activation()), ("conv", Conv(channels=4, kernel=1))],
        [("conv", Conv(channels=4, kernel=1)), ("norm", Norm(method="group", groups=2))],
        [
            ("conv", Conv(channels=4, kernel=1)),
            ("unit", Parallel(parts={"shortcut": Identity(), "branch": Norm()})),  # two readers
        ],
        [
            ("unit", Parallel(parts={"a": Identity(), "b": Conv(channels=4, kernel=1)})),
            ("norm", Norm()),
        ],  # after a join
    ],
)
def test_what_may_not_be_folded_is_left(parts: list[tuple[str, object]]) -> None:
    assert folds(_toy(*parts)) == ()


def test_a_norm_shared_by_all_parts_follows_the_convolution_before_it() -> None:
    unit = Parallel(pre=Norm(), parts={"shortcut": Identity(), "branch": Activation()})
    assert folds(_toy(("conv", Conv(channels=4, kernel=1)), ("unit", unit))) == (Fold("stem.conv", "stem.unit.pre"),)


@pytest.mark.medium
def test_names_and_biases_follow_the_description() -> None:
    copy = folded(create_model("resnet18"))
    assert at(copy.description.tree, "stage1.unit1.branch.norm1") == Identity()
    assert copy.get_submodule("stage1.unit1.branch.conv1").bias is not None


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
@pytest.mark.medium
def test_logits_are_float32_and_near_the_plain_ones(precision: str, dtype: torch.dtype) -> None:
    net = _lived_in("resnet20_cifar").float()
    answer = for_inference(net, "cpu", precision=precision)  # type: ignore[arg-type]
    images = torch.randn(5, 3, 32, 32)
    given = answer(images)
    with torch.no_grad():
        wanted = net(images)
    assert given.dtype == torch.float32
    assert answer.dtype == dtype
    tolerance = 1e-5 if dtype is torch.float32 else 0.03
    assert (given - wanted).abs().max() <= tolerance * wanted.abs().max()
    assert torch.equal(answer(images), given)
    assert str(answer).replace(", close calls in float32", "") == (
        f"{precision}, channels last, norms folded, not compiled, on cpu"
    )
    assert ("close calls" in str(answer)) == (precision == "bfloat16")


def test_a_network_without_classifier_gives_features() -> None:
    net = create_model("resnet20_cifar", num_classes=0)
    assert for_inference(net, "cpu", precision="float32")(torch.randn(2, 3, 32, 32)).shape == (2, 64)


def test_moved_by_the_distance_two_classes_are_equally_likely() -> None:
    fc = nn.Linear(16, 5).double()
    features = torch.randn(7, 16, dtype=torch.float64)
    logits = fc(features)
    order = logits.argsort(1, descending=True)
    towards = fc.weight[order[:, 1]] - fc.weight[order[:, 0]]
    rms = features.norm(dim=1) / 4
    step = border_distance(features, logits, fc.weight) * rms
    there = fc(features + step[:, None] * towards / towards.norm(dim=1, keepdim=True))
    torch.testing.assert_close(there.gather(1, order[:, :1]), there.gather(1, order[:, 1:2]))
    torch.testing.assert_close(border_distance(3 * features, 3 * logits, fc.weight), step / rms)  # of no unit


@pytest.mark.medium
def test_close_calls_and_they_alone_are_float32_answers() -> None:
    net = _lived_in("resnet20_cifar").float()
    images = torch.randn(64, 3, 32, 32)
    images[32:] = 4 * images[32:] + 2
    with torch.no_grad():
        net.head.fc.bias -= net(images[:32]).mean(0)  # all classes are equally likely in the first half
    answer = for_inference(net, "cpu", precision="bfloat16")
    plain = for_inference(net, "cpu", precision="bfloat16", close_calls=False)
    assert plain.exact is None
    given, quick = answer(images), plain(images)
    with torch.no_grad():
        exact = folded(net)(images)
    again = (given != quick).any(1)
    assert again.any()
    assert not again[32:].any()
    assert (given[again] - exact[again]).abs().max() <= 1e-5 * exact.abs().max()
    assert (quick.argmax(1) != exact.argmax(1)).any()
    assert torch.equal(given.argmax(1), exact.argmax(1))


@pytest.mark.parametrize("classes", [0, 1])
@pytest.mark.medium
def test_without_two_classes_no_call_is_close(classes: int) -> None:
    answer = for_inference(create_model("resnet20_cifar", num_classes=classes), "cpu", precision="bfloat16")
    assert answer.exact is None
    assert answer(torch.randn(2, 3, 32, 32)).shape == (2, classes or 64)


def test_compiling_pays_once_it_gains_more_than_it_costs() -> None:
    assert not compiling_pays(1, 0.05)
    assert not compiling_pays(1199, 0.1, speed_up=4 / 3, compile_seconds=30)
    assert compiling_pays(1201, 0.1, speed_up=4 / 3, compile_seconds=30)
    assert not compiling_pays(10**9, 1.0, speed_up=1.0)


@pytest.mark.long
def test_compiled_answers_are_the_same_however_batches_are_cut() -> None:
    net = _lived_in("resnet20_cifar").float()
    answer = for_inference(net, "cpu", precision="float32", compiled="yes")
    images = torch.randn(7, 3, 32, 32)
    whole = torch.cat([answer(images[:3]), answer(images[3:])])
    with torch.no_grad():
        torch.testing.assert_close(whole, net(images), rtol=1e-4, atol=1e-4)
    assert str(answer).endswith("compiled, on cpu")
