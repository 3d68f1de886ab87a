import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deepres.analyze.attribution import (
    Weighing,
    attribution_maps,
    class_activation_maps,
    class_number,
    grad_cam,
    method_for,
    overlay,
    suits_cam,
    top_classes,
    upsampled,
)
from deepres.arch.architecture import with_classes
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.families.densenet import DenseNetConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.families.vgg import VggConfig
from deepres.arch.units import Style
from deepres.base.errors import InputError
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.hooks import part

RESNET = ResNetConfig(
    name="r", input=(3, 16, 16), num_classes=7, stem="cifar", stem_width=8, depths=(1, 1), widths=(8, 16)
)
PRE = RESNET.replace(name="pre", style=Style(order="pre"), stem_norm=False, head_dropout=0.5)
DENSE = DenseNetConfig(
    name="d", input=(3, 16, 16), num_classes=7, stem="cifar", stem_width=8, depths=(2, 2), growth=4, dropout=0.2
)
VGG = VggConfig(name="v", input=(3, 16, 16), num_classes=7, depths=(1, 2), widths=(8, 12), hidden=(20,), pool=2)
TARGETS = torch.tensor([[0, 3], [6, 3], [1, 2]])


def _built(config: ResNetConfig | DenseNetConfig | VggConfig) -> ResidualNetwork:
    """In float64, in training mode, with biases and statistics that are not at their beginnings."""
    net = create_model(config.architecture(), seed=3).double()
    draws = torch.Generator().manual_seed(4)
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        if name.endswith(("bias", "running_mean")):
            tensor.data.copy_(torch.randn(tensor.shape, generator=draws, dtype=tensor.dtype) / 5)
    return net.train()


def _images() -> Tensor:
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def _logits(net: ResidualNetwork, images: Tensor) -> Tensor:
    net.eval()
    with torch.no_grad():
        logits: Tensor = net(images)
    net.train()
    return logits


def _state(net: nn.Module) -> tuple[object, ...]:
    return (
        [module.training for module in net.modules()],
        [parameter.requires_grad for parameter in net.parameters()],
        [parameter.grad is None for parameter in net.parameters()],
        sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules()),
        [tensor.clone().numpy().tobytes() for tensor in net.state_dict().values()],
        torch.get_rng_state().numpy().tobytes(),
    )


@pytest.mark.parametrize("config", [RESNET, PRE, DENSE], ids=lambda config: config.name)
def test_the_mean_of_the_map_and_the_bias_are_the_logit(config: ResNetConfig | DenseNetConfig) -> None:
    net, images = _built(config), _images()
    maps = class_activation_maps(net, images, TARGETS)
    assert maps.shape == (3, 2, 8, 8)
    assert bool((maps < 0).any())  # evidence against the class is kept
    wanted = _logits(net, images).gather(1, TARGETS)
    bias = part(net, "head.fc").bias
    torch.testing.assert_close(maps.mean((2, 3)) + bias[TARGETS], wanted, rtol=0, atol=1e-12)


def test_the_map_is_the_weighted_sum_of_the_last_maps_pixel_by_pixel() -> None:
    net, images = _built(PRE), _images()
    maps = class_activation_maps(net, images, TARGETS)
    weight = part(net, "head.fc").weight.detach()
    with torch.no_grad():
        features = net.eval().features(images)["final"]
    for n, k, y, x in ((0, 0, 0, 0), (1, 0, 7, 3), (2, 1, 4, 5)):
        c = TARGETS[n, k]
        assert float(maps[n, k, y, x]) == pytest.approx(
            sum(float(weight[c, f] * features[n, f, y, x]) for f in range(features.shape[1])), abs=1e-12
        )


@pytest.mark.parametrize("config", [RESNET, PRE, DENSE], ids=lambda config: config.name)
def test_grad_cam_is_the_class_activation_map_over_its_number_of_pixels(config: ResNetConfig | DenseNetConfig) -> None:
    net, images = _built(config), _images()
    cam = class_activation_maps(net, images, TARGETS)
    torch.testing.assert_close(grad_cam(net, images, TARGETS), cam.relu() / 64, rtol=0, atol=1e-12)
    torch.testing.assert_close(grad_cam(net, images, TARGETS, rectified=False), cam / 64, rtol=0, atol=1e-12)


def test_grad_cam_of_hidden_layers_has_the_gradients_of_finite_differences() -> None:
    net, images = _built(VGG), _images()[:1]
    assert not suits_cam(net.description)
    targets = TARGETS[:1]
    maps = grad_cam(net, images, targets, rectified=False)
    net.eval()
    with torch.no_grad():
        features = net.forward_features(images)
        for k, c in enumerate(targets[0].tolist()):
            wanted = torch.zeros(features.shape[2:], dtype=torch.float64)
            for f in range(features.shape[1]):
                step = torch.zeros_like(features)
                step[:, f] = 1e-6
                rise = (net.forward_head(features + step) - net.forward_head(features - step))[0, c] / 2e-6
                wanted += rise / features[0, 0].numel() * features[0, f]
            torch.testing.assert_close(maps[0, k], wanted, rtol=1e-6, atol=1e-8)


def test_grad_cam_of_an_inner_part_and_of_frozen_weights_in_inference_mode() -> None:
    net, images = _built(VGG), _images()
    free = grad_cam(net, images, TARGETS, layer="stage2.unit2")
    assert free.shape == (3, 2, 8, 8)
    assert float(free.min()) >= 0
    net.requires_grad_(False)
    with torch.inference_mode():
        assert torch.equal(grad_cam(net, images + 0, TARGETS, layer="stage2.unit2"), free)


def _gradients(net: ResidualNetwork, images: Tensor, target: int, layer: str) -> tuple[Tensor, Tensor]:
    """The maps of a stage and the logit's gradients there, by running the rest of the network from them."""
    net.eval()
    names = list(net.body_names)
    x = images
    for name in names[: names.index(layer) + 1]:
        x = net.get_submodule(name)(x)
    maps = x.detach().requires_grad_()
    y = maps
    for name in names[names.index(layer) + 1 :]:
        y = net.get_submodule(name)(y)
    net.head(y)[:, target].sum().backward()
    net.train()
    assert maps.grad is not None
    return maps.detach(), maps.grad


@pytest.mark.parametrize("layer", ["stage1", "stage2"])
def test_kin_of_grad_cam_are_the_slow_loops(layer: str) -> None:
    net, images = _built(RESNET), _images()
    for weighing in ("grad-cam++", "layer-cam"):
        found = grad_cam(net, images, TARGETS, layer=layer, weighing=weighing, rectified=False)
        for n, k in ((0, 1), (2, 0)):
            maps, gradients = _gradients(net, images[n : n + 1], int(TARGETS[n, k]), layer)
            wanted = torch.zeros(maps.shape[2:], dtype=torch.float64)
            for c in range(maps.shape[1]):
                a, g = maps[0, c], gradients[0, c]
                if weighing == "layer-cam":
                    wanted += g.clamp_min(0) * a
                    continue
                weight, total = 0.0, float(a.sum())
                for one in g.flatten().tolist():
                    if one:
                        weight += max(one, 0) * one**2 / (2 * one**2 + total * one**3)
                wanted += weight * a
            torch.testing.assert_close(found[n, k], wanted, rtol=1e-9, atol=1e-12)
            assert found[n, k].ne(0).any()


@pytest.mark.medium
@pytest.mark.parametrize("weighing", ["grad-cam", "grad-cam++", "layer-cam"])
def test_kin_of_grad_cam_are_those_of_pytorch_grad_cam(weighing: Weighing) -> None:
    """Theirs adds 1e-6 to what Grad-CAM++ divides by: gradients are made large by the classifier's weights."""
    theirs = pytest.importorskip("pytorch_grad_cam")
    net, images = _built(RESNET), _images()
    part(net, "head.fc").weight.data.mul_(1e4)
    kind = {"grad-cam": "GradCAM", "grad-cam++": "GradCAMPlusPlus", "layer-cam": "LayerCAM"}[weighing]
    net.eval()
    with getattr(theirs, kind)(net, [net.get_submodule("stage1")]) as cam:
        wanted = cam(images, [theirs.utils.model_targets.ClassifierOutputTarget(int(row[0])) for row in TARGETS])
    found = upsampled(grad_cam(net, images, TARGETS, layer="stage1", weighing=weighing), (16, 16))[:, 0]
    for one, other in zip(found, torch.from_numpy(wanted), strict=True):  # theirs is scaled to 0 … 1 each
        scaled = (one - one.min()) / (one - one.min()).max()
        torch.testing.assert_close(scaled.float(), other, rtol=0, atol=1e-4)


def test_the_network_is_as_it_was_also_after_an_exception() -> None:
    net, images = _built(VGG), _images()
    part(net, "stage1").eval()
    before = _state(net)
    first = attribution_maps(net, images, TARGETS)
    assert torch.equal(first, attribution_maps(net, images, TARGETS))
    top_classes(net, images, 3)
    assert _state(net) == before
    for layer in ("stage9", "head"):
        with pytest.raises(InputError):
            grad_cam(net, images, TARGETS, layer=layer)
    assert _state(net) == before


def test_which_method_suits_which_head() -> None:
    assert [method_for(config.architecture()) for config in (RESNET, PRE, DENSE, VGG)] == ["cam"] * 3 + ["grad-cam"]
    assert method_for(VGG.replace(hidden=()).architecture()) == "cam"
    assert method_for(architecture("densenet121")) == "cam"
    assert method_for(architecture("vgg16_bn")) == "grad-cam"
    assert not suits_cam(with_classes(RESNET.architecture(), 0))


def test_top_classes_are_in_order() -> None:
    net, images = _built(RESNET), _images()
    assert torch.equal(top_classes(net, images, 9), _logits(net, images).argsort(dim=1, descending=True))


def test_maps_are_upsampled_between_pixel_centres() -> None:
    row = upsampled(torch.tensor([[[[0.0, 4.0]]]]), (1, 4))
    assert row.flatten().tolist() == [0, 1, 3, 4]
    net, images = _built(RESNET), _images()
    maps = attribution_maps(net, images, TARGETS)
    assert maps.shape == (3, 2, 16, 16)
    assert torch.equal(maps, upsampled(class_activation_maps(net, images, TARGETS), (16, 16)))


def test_overlay_mixes_the_colour_of_the_map_with_the_image() -> None:
    from matplotlib import colormaps

    image = torch.randint(256, (1, 2, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    heat = torch.tensor([[-5.0, 0.0, 1.0], [2.0, 3.0, 4.0]])
    mixed = overlay(image, heat, colours="inferno", opacity=0.25)
    assert mixed.dtype == torch.uint8
    for y in range(2):
        for x in range(3):
            colour = np.array(colormaps["inferno"](round(255 * max(0.0, float(heat[y, x])) / 4), bytes=True)[:3], float)
            assert mixed[:, y, x].tolist() == np.rint(0.75 * float(image[0, y, x]) + 0.25 * colour).tolist()
    assert torch.equal(overlay(image, heat, opacity=0), image.expand(3, -1, -1))
    lowest = overlay(image, -heat.abs(), opacity=1)
    assert lowest[:, 0, 0].tolist() == [68, 1, 84]  # viridis begins here
    assert bool((lowest == lowest[:, :1, :1]).all())


@given(st.integers(0, 2**31), st.floats(0, 1))
@settings(max_examples=20, deadline=None)
@pytest.mark.medium
def test_overlay_knows_the_map_up_to_a_factor(seed: int, opacity: float) -> None:
    draws = torch.Generator().manual_seed(seed)
    image = torch.randint(256, (3, 4, 4), dtype=torch.uint8, generator=draws)
    heat = torch.randn(4, 4, generator=draws)
    assert torch.equal(overlay(image, heat, opacity=opacity), overlay(image, heat * 4, opacity=opacity))


def test_a_class_by_number_or_name() -> None:
    names = ("cat", "catfish", "dog")
    assert [class_number(wanted, 3, names) for wanted in (2, "2", "cat", "dog")] == [2, 2, 0, 2]
    assert class_number("1", 2, ("1", "0")) == 0


@pytest.mark.parametrize(
    ("wanted", "classes", "message"),
    [
        ("catt", ("cat", "catfish", "dog"), "class 'catt': unknown; the nearest are cat, catfish, dog; or give a number from 0 to 2"),
        ("catt", (), "class 'catt': unknown; no class has a name here; or give a number from 0 to 2"),
        (3, ("cat", "catfish", "dog"), "class 3: unknown; there are 3, the nearest is 2 (dog)"),
        ("-1", (), "class -1: unknown; there are 3, the nearest is 0"),
        ("--1", ("cat",), "class '--1': unknown; the nearest are cat; or give a number from 0 to 2"),
        ("9" * 5000, (), f"class '{'9' * 5000}': unknown; no class has a name here; or give a number from 0 to 2"),
    ],
)  # fmt: skip
def test_a_class_that_does_not_exist_is_refused_in_one_line(
    wanted: int | str, classes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError) as refusal:
        class_number(wanted, 3, classes)
    assert str(refusal.value) == message


def test_refusals() -> None:
    resnet, vgg, images = _built(RESNET), _built(VGG), _images()
    with pytest.raises(InputError, match=r"^v: class activation maps need a head of .*; use grad_cam"):
        class_activation_maps(vgg, images, TARGETS)
    with pytest.raises(InputError, match=r"^class 7: unknown; there are 7, the nearest is 6$"):
        class_activation_maps(resnet, images, TARGETS + 1)
    with pytest.raises(InputError, match=r"^targets torch.int64 \(3,\): wanted int64 \(3, K\), class numbers$"):
        grad_cam(resnet, images, TARGETS[:, 0])
    with pytest.raises(
        InputError, match=r"^images of 3 x 3 px: too small for v; wanted at least 4 x 4 px; give larger"
    ):
        grad_cam(vgg, images[..., :3, :3], TARGETS)
    with pytest.raises(InputError, match=r"^images of 1 channels: r takes 3; prepare them with 3$"):
        top_classes(resnet, images[:, :1])
    with pytest.raises(InputError, match=r"^head: gives \(7,\), no map \(C, H, W\); name a part before the head$"):
        grad_cam(resnet, images, TARGETS, layer="head")
    bare = create_model(with_classes(RESNET.architecture(), 0)).double()
    with pytest.raises(InputError, match=r"^r: has no classifier, so no class to explain; build it with classes$"):
        grad_cam(bare, images, TARGETS)
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"^overlay: map \(2, 2\) on an image \(4, 4\); upsample the map first$"):
        overlay(image, torch.zeros(2, 2))
    with pytest.raises(InputError, match=r"^overlay: image torch.float32 \(3, 4, 4\); wanted uint8"):
        overlay(image.float(), torch.zeros(4, 4))
    with pytest.raises(InputError, match=r"^overlay: opacity 2; wanted 0 \(the image\) to 1 \(the map\)$"):
        overlay(image, torch.zeros(4, 4), opacity=2)
