import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import models

from deepres.arch.catalogue.lookup import entry
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.families.vgg import VggConfig
from deepres.base.errors import InputError
from deepres.nn.create import create_model
from deepres.nn.weights.convert import conventions_for, known_as, names_in, to_foreign, to_ours
from processes import DEEPRES, run


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 47),
        ("resnet50", 65),
        ("resnext50_32x4d", 40),
        pytest.param("wide_resnet50_2", 33, marks=pytest.mark.long),
    ],
)
@pytest.mark.slow
def test_torchvisions_weights_by_name_give_torchvisions_logits(name: str, size: int) -> None:
    theirs = getattr(models, name)(num_classes=7).double().eval()
    ours = create_model(name, num_classes=7).double().eval()
    ours.load_state_dict(to_ours(theirs.state_dict(), ours.description).tensors)
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-9)


def _with_zeros_on_both_sides(t: dict[str, Tensor], x: Tensor, depth: int) -> Tensor:
    """The other repository's network, written out: option A puts half of the zeros before the real channels."""

    def conv_norm(x: Tensor, prefix: str, number: str, stride: int = 1) -> Tensor:
        x = F.conv2d(x, t[f"{prefix}conv{number}.weight"], stride=stride, padding=1)
        n = f"{prefix}bn{number}."
        return F.batch_norm(x, t[n + "running_mean"], t[n + "running_var"], t[n + "weight"], t[n + "bias"])

    x = conv_norm(x, "", "1").relu()
    for stage in (1, 2, 3):
        for unit in range(depth):
            prefix, stride = f"layer{stage}.{unit}.", 2 if stage > 1 and unit == 0 else 1
            short = x
            if stride == 2:
                quarter = x.shape[1] // 2
                short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
            x = (conv_norm(conv_norm(x, prefix, "1", stride).relu(), prefix, "2") + short).relu()
    return F.linear(x.mean((2, 3)), t["linear.weight"], t["linear.bias"])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.medium
def test_zeros_on_both_sides_are_the_same_function_with_permuted_channels(seed: int) -> None:
    ours = create_model("resnet20_cifar").double().eval()
    draw = torch.Generator().manual_seed(seed)
    theirs = {}
    for name, tensor in ours.state_dict().items():
        if tensor.is_floating_point():
            part = name.replace("stem.", "").replace("head.fc", "linear").replace("branch.", "").replace("norm", "bn")
            part = part.replace("conv.", "conv1.").replace("bn.", "bn1.").replace("stage", "layer")
            for number in (1, 2, 3):
                part = part.replace(f"unit{number}.", f"{number - 1}.")
            theirs[part] = torch.rand(tensor.shape, generator=draw, dtype=tensor.dtype) - (0 if "var" in name else 0.4)
    ours.load_state_dict(to_ours(theirs, ours.description).tensors)
    x = torch.randn(2, 3, 13, 16, generator=draw, dtype=torch.float64)
    torch.testing.assert_close(ours(x), _with_zeros_on_both_sides(theirs, x, depth=3), rtol=1e-12, atol=0)


def test_our_own_names_pass_and_strange_ones_are_refused() -> None:
    net = create_model("resnet20_cifar")
    assert to_ours(net.state_dict(), net.description).tensors.keys() == net.state_dict().keys()
    with pytest.raises(
        InputError, match=r"weights: blocks\.0\.attn\.weight is no tensor of resnet20_cifar in the names of deepres, "
    ):
        to_ours({"blocks.0.attn.weight": torch.ones(1)}, net.description)


def test_trained_weights_of_others_have_their_published_accuracy() -> None:
    facts = json.loads((Path(__file__).parents[2] / "evidence" / "foreign_cifar_weights.json").read_text())
    assert facts["n"] == 10_000
    assert len(facts["networks"]) == 3
    for network in facts["networks"]:
        assert network["num_wrong"] == network["num_wrong_by_a_plain_loop"]
        stated = round(100 * (100 - network["published_accuracy_percent"]))  # images wrong of 10,000
        assert abs(network["num_wrong"] - stated) <= 1  # 23 of them are stand-ins


@pytest.mark.long
def test_every_published_weight_is_evaluated_as_by_a_plain_loop_to_the_image(shared: Path, tmp_path: Path) -> None:
    import runpy

    import numpy as np

    program = runpy.run_path(str(Path(__file__).parents[2] / "evidence" / "foreign_weights.py"))
    unpack = [sys.executable, str(shared / "data" / "unpack_cifar10.py"), str(tmp_path)]
    subprocess.run(unpack, check=True, capture_output=True)
    arrays = np.load(tmp_path / "cifar10_test.npz")
    few = tmp_path / "few_test.npz"
    np.savez(few, x=arrays["x"][:600], y=arrays["y"][:600], classes=arrays["classes"])
    x, y = torch.from_numpy(arrays["x"][:600]).permute(0, 3, 1, 2), torch.from_numpy(arrays["y"][:600])
    folder = shared / "data" / "weights"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in (".th", ".tar")}
    assert found == {name for name, *_ in program["NETWORKS"]}
    for name, model, shortcut, scaling, _ in program["NETWORKS"]:
        words = [word.format(weights=folder / name, images=few) for word in program["COMMAND"]]
        answer = json.loads(run([*DEEPRES, *words[1:]], check=True, capture_output=True, text=True).stdout)
        assert answer["num_images"] == 600
        assert answer["num_wrong"] == program["plain"](folder / name, model, shortcut, scaling, x, y)


@pytest.mark.medium
def test_prefixes_of_wrappers_fall_away() -> None:
    net = create_model("resnet18", num_classes=2)
    wrapped = {
        f"module._orig_mod.{name}": tensor for name, tensor in models.resnet18(num_classes=2).state_dict().items()
    }
    assert to_ours(wrapped, net.description).tensors.keys() == net.state_dict().keys()


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "conventions"),
    [
        ("resnet50", ("timm", "torchvision", "transformers", "mmpretrain", "detectron2")),
        ("resnet20_cifar", ("timm", "pytorch_resnet_cifar10")),
        ("resnet50d", ("timm",)),
        ("resnetv2_50", ("timm",)),
        ("densenet121", ("timm", "torchvision")),
        ("vgg16_bn", ("torchvision",)),
        ("plain20_cifar", ()),
        ("fractalnet20_cifar", ()),
    ],
)
def test_every_convention_names_every_tensor_once_and_leads_back(name: str, conventions: tuple[str, ...]) -> None:
    config = entry(name).config.replace(num_classes=2)
    net = create_model((config.replace(hidden=(64, 64)) if isinstance(config, VggConfig) else config).architecture())
    assert conventions_for(net.description) == conventions
    for convention in conventions:
        theirs = to_foreign(net.state_dict(), net.description, convention)
        assert len(theirs) == len(net.state_dict())
        back = to_ours(theirs, net.description)
        assert back.convention == convention or {back.convention, convention} == {"timm", "torchvision"}
        assert all(torch.equal(back.tensors[key], tensor) for key, tensor in net.state_dict().items())


@pytest.mark.medium
def test_names_of_libraries_not_installed_here() -> None:
    """As their published checkpoints have them: detectron2's R-50, mmpretrain's ResNet-50."""
    description = create_model("resnet50").description
    names = names_in("detectron2", description)
    assert names["stem.norm.running_mean"] == "stem.conv1.norm.running_mean"
    assert names["stage1.unit1.shortcut.conv.weight"] == "res2.0.shortcut.weight"
    assert names["stage4.unit3.branch.norm2.bias"] == "res5.2.conv2.norm.bias"
    names = names_in("mmpretrain", description)
    assert names["stem.conv.weight"] == "backbone.conv1.weight"
    assert names["stage1.unit1.shortcut.norm.weight"] == "backbone.layer1.0.downsample.1.weight"
    assert names["head.fc.bias"] == "head.fc.bias"


@pytest.mark.medium
def test_libraries_that_have_no_such_network_are_refused() -> None:
    net = create_model("resnetv2_50", num_classes=2)
    with pytest.raises(InputError, match=r"resnetv2_50: torchvision has no such network"):
        to_foreign(net.state_dict(), net.description, "torchvision")
    with pytest.raises(InputError, match=r"library 'tim': unknown; did you mean timm"):
        to_foreign(net.state_dict(), net.description, "tim")


@pytest.mark.medium
def test_what_timm_calls_a_network_is_told_by_its_structure() -> None:
    assert known_as(create_model("resnet50d").description) == "resnet50d"
    assert known_as(create_model("resnet50", num_classes=2, in_chans=1).description) == "resnet50"
    assert known_as(create_model("resnet200").description) == "resnet200"
    assert known_as(create_model("resnet200_v1").description) is None
    config = entry("resnet50").config
    assert isinstance(config, ResNetConfig)
    assert known_as(config.replace(style=config.style.replace(stride_on="1x1")).architecture()) is None
