"""Weights whose names no library has: told by structure; networks of others that have a name here, or are an edit."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.nn.create import create_model
from deepres.nn.weights.hub import find_weights
from deepres.nn.weights.spec import WeightsSpec
from deepres.runs.starting_weights import beginning


def _refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert run([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


@pytest.mark.medium
@pytest.mark.parametrize(
    "flags", [("--model", "resnet20_cifar_b"), ("--model", "resnet20_cifar", "--set", "model.shortcut=B")]
)
def test_option_b_has_a_name_and_every_verb_can_describe_it(
    tmp_path: Path, images: Path, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    net = create_model("resnet20_cifar_b")
    names = {"shortcut.conv": "downsample.0", "shortcut.norm": "downsample.1", "head.fc": "fc", "stem.norm": "bn1"}
    theirs = {}
    for name, tensor in net.state_dict().items():
        for ours, other in {**names, "stem.conv": "conv1", "branch.conv": "conv", "branch.norm": "bn"}.items():
            name = name.replace(ours, other)
        name = re.sub(r"unit(\d+)", lambda found: str(int(found[1]) - 1), name.replace("stage", "layer"))
        theirs[f"module.{name}"] = tensor
    torch.save({"state_dict": theirs}, tmp_path / "theirs.pth")
    half = ("--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--device", "cpu")
    assert run(["eval", str(tmp_path / "theirs.pth"), str(images), *flags, *half]) == 0
    lesion = ("--images", "2", "--output", str(tmp_path / "out"))
    assert run(["analyze", "lesion", str(tmp_path / "theirs.pth"), str(images), *flags, *half, *lesion]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--set", "model.shortcut=B"), "--set model.shortcut=B: of which network? name it with --model"),
        (("--model", "resnet20_cifar", "--set", "train.x=1"), "wanted model."),
        (("--model", "resnet20_cifar", "--set", "model.shortcat=B"), "did you mean shortcut"),
        (("--model", "resnet20_cifar", "--set", "model.shortcut=Z"), "shortcut"),
    ],
)
def test_what_describes_no_network_is_refused(
    tmp_path: Path, images: Path, flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "a.pth")
    assert said in _refused(capsys, "eval", tmp_path / "a.pth", images, *flags)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels)


def _conv(given: int, channels: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(given, channels, kernel, stride, kernel // 2, bias=False)


WIDTHS = [(4, 4, 1), (4, 8, 2), (8, 16, 2)]


class Kuangliu(nn.Module):
    """conv1, bn1, layer1.0.shortcut.0, linear."""

    class Unit(nn.Module):
        def __init__(self, given: int, channels: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = _conv(given, channels, 3, stride), _norm(channels)
            self.conv2, self.bn2 = _conv(channels, channels), _norm(channels)
            self.shortcut = nn.Sequential()
            if stride != 1 or given != channels:
                self.shortcut = nn.Sequential(_conv(given, channels, 1, stride), _norm(channels))

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(3, 4), _norm(4)
        for number, (given, channels, stride) in enumerate(WIDTHS, start=1):
            units = [self.Unit(given, channels, stride), self.Unit(channels, channels, 1)]
            setattr(self, f"layer{number}", nn.Sequential(*units))
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for number in (1, 2, 3):
            x = getattr(self, f"layer{number}")(x)
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Weiaicunzai(nn.Module):
    """conv1.0, conv2_x.0.residual_function.0, conv2_x.0.shortcut.0, fc."""

    class Unit(nn.Module):
        def __init__(self, given: int, channels: int, stride: int) -> None:
            super().__init__()
            self.residual_function = nn.Sequential(
                *(_conv(given, channels, 3, stride), _norm(channels), nn.ReLU()),
                *(_conv(channels, channels), _norm(channels)),
            )
            self.shortcut = nn.Sequential()
            if stride != 1 or given != channels:
                self.shortcut = nn.Sequential(_conv(given, channels, 1, stride), _norm(channels))

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.residual_function(x) + self.shortcut(x))

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(_conv(3, 4), _norm(4), nn.ReLU())
        for number, (given, channels, stride) in enumerate(WIDTHS, start=2):
            units = [self.Unit(given, channels, stride), self.Unit(channels, channels, 1)]
            setattr(self, f"conv{number}_x", nn.Sequential(*units))
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for number in (2, 3, 4):
            x = getattr(self, f"conv{number}_x")(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Pytorchcv(nn.Module):
    """features.init_block.conv, features.stage1.unit1.body.conv1.bn, features.stage2.unit1.identity_conv.conv, output."""

    class Block(nn.Module):
        def __init__(self, given: int, channels: int, kernel: int, stride: int) -> None:
            super().__init__()
            self.conv, self.bn = _conv(given, channels, kernel, stride), _norm(channels)

        def forward(self, x: Tensor) -> Tensor:
            return self.bn(self.conv(x))

    class Unit(nn.Module):
        def __init__(self, given: int, channels: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Module()
            self.body.conv1 = Pytorchcv.Block(given, channels, 3, stride)
            self.body.conv2 = Pytorchcv.Block(channels, channels, 3, 1)
            if stride != 1 or given != channels:
                self.identity_conv = Pytorchcv.Block(given, channels, 1, stride)

        def forward(self, x: Tensor) -> Tensor:
            y = self.body.conv2(F.relu(self.body.conv1(x)))
            return F.relu(y + (self.identity_conv(x) if hasattr(self, "identity_conv") else x))

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("init_block", self.Block(3, 4, 3, 1))
        for number, (given, channels, stride) in enumerate(WIDTHS, start=1):
            stage = nn.Sequential()
            stage.add_module("unit1", self.Unit(given, channels, stride))
            stage.add_module("unit2", self.Unit(channels, channels, 1))
            self.features.add_module(f"stage{number}", stage)
        self.output = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        first, *stages = self.features.children()
        x = F.relu(first(x))
        for stage in stages:
            x = stage(x)
        return self.output(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Hysts(nn.Module):
    """conv, bn, stage_1.0.conv_1, the shortcut first, all convolutions before all norms; the classifier before all."""

    class Unit(nn.Module):
        def __init__(self, given: int, channels: int, stride: int) -> None:
            super().__init__()
            self.changes = stride != 1 or given != channels
            if self.changes:
                self.skip_conv, self.skip_bn = _conv(given, channels, 1, stride), _norm(channels)
            self.conv_1, self.conv_2 = _conv(given, channels, 3, stride), _conv(channels, channels)
            self.bn_1, self.bn_2 = _norm(channels), _norm(channels)

        def forward(self, x: Tensor) -> Tensor:
            y = self.bn_2(self.conv_2(F.relu(self.bn_1(self.conv_1(x)))))
            return F.relu(y + (self.skip_bn(self.skip_conv(x)) if self.changes else x))

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(16, 10)
        self.conv, self.bn = _conv(3, 4), _norm(4)
        for number, (given, channels, stride) in enumerate(WIDTHS, start=1):
            units = [self.Unit(given, channels, stride), self.Unit(channels, channels, 1)]
            setattr(self, f"stage_{number}", nn.ModuleList(units))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.conv(x)))
        for number in (1, 2, 3):
            for unit in getattr(self, f"stage_{number}"):
                x = unit(x)
        return self.classifier(x.mean((2, 3)))


class Flat(nn.Module):
    """blocks.0 … blocks.N, one list of layers without units; option A with zeros on both sides."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, 4), _norm(4)]
        for given, channels, stride in WIDTHS:
            for enters, step in ((given, stride), (channels, 1)):
                layers += [
                    _conv(enters, channels, 3, step),
                    _norm(channels),
                    _conv(channels, channels),
                    _norm(channels),
                ]
        self.blocks = nn.ModuleList(layers)
        self.out = nn.Conv2d(16, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        layers = list(self.blocks)
        x = F.relu(layers[1](layers[0](x)))
        for place in range(2, len(layers), 4):
            a, b, c, d = layers[place : place + 4]
            new = a.out_channels - x.shape[1]
            short = F.pad(x[:, :, :: a.stride[0], :: a.stride[0]], (0, 0, 0, 0, new // 2, new // 2))
            x = F.relu(d(c(F.relu(b(a(x))))) + short)
        return self.out(F.adaptive_avg_pool2d(x, 1)).flatten(1)


class Bearpaw(nn.Module):
    """Activated first: layer1.0.bn1 before layer1.0.conv1; a shortcut leaves before the norm; res_layers; bn behind all."""

    raw = True

    class Unit(nn.Module):
        def __init__(self, given: int, channels: int, stride: int, raw: bool) -> None:
            super().__init__()
            self.bn1, self.conv1 = _norm(given), _conv(given, channels, 3, stride)
            self.bn2, self.conv2 = _norm(channels), _conv(channels, channels)
            self.raw = raw
            if stride != 1 or given != channels:
                self.downsample = nn.Sequential(_conv(given, channels, 1, stride))

        def forward(self, x: Tensor) -> Tensor:
            first = F.relu(self.bn1(x))
            short = self.downsample(x if self.raw else first) if hasattr(self, "downsample") else x
            return self.conv2(F.relu(self.bn2(self.conv1(first)))) + short

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _conv(3, 4)
        stages = []
        for given, channels, stride in WIDTHS:
            stages += [self.Unit(given, channels, stride, self.raw), self.Unit(channels, channels, 1, self.raw)]
        self.res_layers = nn.ModuleList(stages)
        self.last_bn = _norm(16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for unit in self.res_layers:
            x = unit(x)
        return self.fc(F.relu(self.last_bn(x)).mean((2, 3)))


class PreKuangliu(Bearpaw):
    """As kuangliu and pytorchcv: projections leave behind the activation, identities before it."""

    raw = False


class Bottlenecks(nn.Module):
    """Bottlenecks whose shortcut is registered first, with a bias nowhere; layers.0.a, .b, .c."""

    class Unit(nn.Module):
        def __init__(self, given: int, width: int, stride: int) -> None:
            super().__init__()
            channels = 4 * width
            self.proj = None
            if stride != 1 or given != channels:
                self.proj = nn.Sequential(_conv(given, channels, 1, stride), _norm(channels))
            self.a = nn.Sequential(_conv(given, width, 1), _norm(width))
            self.b = nn.Sequential(_conv(width, width, 3, stride), _norm(width))
            self.c = nn.Sequential(_conv(width, channels, 1), _norm(channels))

        def forward(self, x: Tensor) -> Tensor:
            y = self.c(F.relu(self.b(F.relu(self.a(x)))))
            return F.relu(y + (x if self.proj is None else self.proj(x)))

    def __init__(self) -> None:
        super().__init__()
        self.begin = nn.Sequential(_conv(3, 4), _norm(4), nn.ReLU())
        units, given = [], 4
        for _, width, stride in WIDTHS:
            units += [self.Unit(given, width, stride), self.Unit(4 * width, width, 1)]
            given = 4 * width
        self.layers = nn.Sequential(*units)
        self.end = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.layers(self.begin(x)).mean((2, 3)))


SMALL = "+depths=2,2,2+widths=4,8,16+stem_width=4"
B, PRE = f"resnet20_cifar_b{SMALL}", f"preresnet110_cifar{SMALL}+shortcut=B"
STYLES: dict[type[nn.Module], str] = {
    Kuangliu: B,
    Weiaicunzai: B,
    Pytorchcv: B,
    Hysts: B,
    Flat: f"resnet20_cifar{SMALL}+style.zeros=around",
    Bearpaw: f"{PRE}+style.activated=none",
    PreKuangliu: f"{PRE}+style.activated=changing",
    Bottlenecks: f"resnet164_cifar{SMALL}",
}


def _trained(style: type[nn.Module]) -> nn.Module:
    """With norms that are not the identity: an exchange of two shows in the logits."""
    torch.manual_seed(0)
    net = style().eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.3)
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return net


@pytest.mark.medium
@pytest.mark.parametrize("form", ["torch", "safetensors", "module"])
@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)
def test_networks_of_other_names_give_their_own_logits(tmp_path: Path, style: type[nn.Module], form: str) -> None:
    net, path, x = _trained(style), tmp_path / "theirs.pth", torch.randn(3, 3, 32, 32)
    if form == "torch":
        torch.save({"net": {f"module.{name}": tensor for name, tensor in net.state_dict().items()}}, path)
    elif form == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(net.state_dict(), path)
    else:
        torch.save(net, path)
    with pytest.raises(InputError, match=rf"say --variant {re.escape(STYLES[style])}") as caught:
        create_model(STYLES[style], weights=path)
    assert len(caught.value.table) > 5
    with torch.no_grad():
        ours = create_model(STYLES[style], weights=path, variant=STYLES[style]).eval()(x)
        assert torch.allclose(ours, net(x), atol=1e-5), (ours - net(x)).abs().max()


@pytest.mark.parametrize("flags", [(B, B), (None, B)])
@pytest.mark.medium
def test_training_begins_with_them(tmp_path: Path, flags: tuple[str | None, str]) -> None:
    torch.save(_trained(Weiaicunzai).state_dict(), tmp_path / "theirs.pth")
    found = beginning(WeightsSpec(str(tmp_path / "theirs.pth"), *flags, (0.5,), (0.5,)))
    assert found.model.architecture().num_classes == 10
    assert found.variant == B


def _kept(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors


def _swapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The last norm of every branch before the first, as a file that was put together by hand may have it."""
    turned = {"function.1.": "function.4.", "function.4.": "function.1."}
    names = [re.sub(r"function\.[14]\.", lambda found: turned[found[0]], name) for name in tensors]
    return {name: tensors[name] for name in names}


def _nameless(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`first` and `second` for the two norms of a unit: sorted, it is chance that they come in this order."""
    words = {"function.0": "conv_in", "function.3": "conv_out", "function.1": "norm_in", "function.4": "norm_out"}
    found = {}
    for name, tensor in tensors.items():
        for theirs, word in words.items():
            name = name.replace(f"residual_{theirs}", word)
        found[name] = tensor
    return dict(sorted(found.items()))


@pytest.mark.medium
@pytest.mark.parametrize(
    ("style", "change", "model", "said"),
    [
        (Weiaicunzai, _nameless, B, "conv_in and conv2_x.0.conv_out have one shape.*the file is sorted by name"),
        (Weiaicunzai, _swapped, B, "have one shape.*their names say the other order"),
        (Weiaicunzai, lambda t: dict(list(t.items())[:-2]), B, "15 convolutions and classifiers; wanted 16"),
        (
            Weiaicunzai,
            lambda t: {**t, "extra.conv.weight": torch.ones(4, 4, 3, 3)},
            B,
            "17 convolutions and classifiers, wanted 16; number 16, extra.conv",
        ),
        (Weiaicunzai, lambda t: {n: v for n, v in t.items() if "1.bias" not in n}, B, "has .*; wanted bias and"),
        (Weiaicunzai, _kept, f"{B}+stem_width=8", "conv1.0, is 4x3x3x3; wanted 8x3x3x3"),
        (Bearpaw, _kept, B, "res_layers.0.conv1.weight and conv1.weight are two tensors for one"),
        (Kuangliu, lambda t: dict(list(t.items())[:-2]), B, "14 missing, 10 unexpected"),  # by names, most are known
        (Weiaicunzai, _kept, f"preresnet110_cifar{SMALL}+shortcut=B", "norms"),
        (Weiaicunzai, _kept, f"{B}+style.bias=true", "has weight; wanted bias and weight"),
        (Weiaicunzai, lambda t: {**t, "loss.pos": torch.ones(3)}, B, "loss.pos is no weight, bias or statistic"),
    ],
)
def test_what_fits_no_way_or_several_is_refused(
    tmp_path: Path, style: type[nn.Module], change: object, model: str, said: str
) -> None:
    torch.save(change(dict(_trained(style).state_dict())), tmp_path / "theirs.pth")  # type: ignore[operator]
    with pytest.raises(InputError, match=said) as caught:
        create_model(model, weights=tmp_path / "theirs.pth", variant=model, num_classes=10)
    assert "\n" not in caught.value.message


@pytest.mark.medium
def test_a_network_that_activates_first_is_not_taken_for_one_that_does_not(tmp_path: Path) -> None:
    net = create_model(f"preresnet110_cifar{SMALL}")  # as many norms, of the same channels in the same order
    theirs = {f"x.{name.replace('pre.norm', 'n1').replace('norm', 'n')}": t for name, t in net.state_dict().items()}
    torch.save(theirs, tmp_path / "a.pth")
    with pytest.raises(
        InputError, match="does not fit resnet20_cifar by structure: its layers are grouped otherwise than"
    ):
        create_model(f"resnet20_cifar{SMALL}", weights=tmp_path / "a.pth", variant=f"resnet20_cifar{SMALL}")


@pytest.mark.medium
def test_the_command_shows_the_table_and_what_to_say(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(_trained(Pytorchcv).state_dict(), tmp_path / "theirs.pth")
    flags = ("--model", "resnet20_cifar_b", *(f for e in SMALL.split("+")[1:] for f in ("--set", f"model.{e}")))
    half = ("--preprocessing", "0.5", "--device", "cpu")
    said = _refused(capsys, "eval", tmp_path / "theirs.pth", images, *flags, *half)
    first, head, *rows = said.splitlines()
    assert first.endswith(f"and, if it is right, say --variant {B} (in Python variant=)")
    assert head.split() == ["ours", "in", "the", "file", "shape"]
    assert rows[0].split() == ["stem.conv", "features.init_block.conv", "4x3x3x3"]
    assert rows[-1].strip() == "… and 19 more layers"
    assert run(["eval", str(tmp_path / "theirs.pth"), str(images), "--variant", B, *half]) == 0


@pytest.mark.medium
def test_a_plain_network_and_a_residual_one_are_both_named(tmp_path: Path) -> None:
    net = create_model("resnet20_cifar")
    torch.save(
        {f"x.{name}".replace("norm", "n"): tensor for name, tensor in net.state_dict().items()}, tmp_path / "a.pth"
    )
    with pytest.raises(InputError, match=r"resnet20_cifar's \(and plain20_cifar have the same\); look"):
        create_model("resnet20_cifar", weights=tmp_path / "a.pth")


def test_the_distiller_network_is_known(shared: Path) -> None:
    path = shared / "data" / "weights" / "distiller" / "checkpoint_trained_dense.pth.tar"
    found = find_weights(path)
    assert found.description is not None
    assert found.description.name == "resnet20_cifar_b"
    assert found.preprocessing is not None
    assert found.preprocessing.mean == found.preprocessing.std == (0.5, 0.5, 0.5)


@pytest.mark.medium
@pytest.mark.parametrize("chosen", ["", "::model", "::model.inner", "::-head.extra"])
def test_a_pickled_module_of_known_names_has_to_be_confirmed_too(tmp_path: Path, chosen: str) -> None:
    net = create_model(B)
    whole = nn.Module()
    whole.inner = nn.Module()
    parts = dict(net.named_children())
    for name, part in parts.items():
        whole.inner.add_module(name, part)
    if chosen.endswith("extra"):
        whole.inner.head.register_buffer("extra", torch.ones(1))
        chosen = "::-inner.head.extra"
    torch.save({"model": whole}, tmp_path / "a.pt")
    path = f"{tmp_path / 'a.pt'}{chosen}"
    with pytest.raises(
        InputError, match=r"tensors of a pickled torch\.nn\.modules\.module\.Module, whose code is not run"
    ):
        create_model(B, weights=path)
    ours = create_model(B, weights=path, variant=B).state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in net.state_dict().items() if "extra" not in name)
