import pytest
import torch
from torch import nn
from torchvision import models

from deepres.arch.architecture import unit_names, without
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.families.vgg import VggConfig
from deepres.base.errors import InputError
from deepres.base.records import build
from deepres.nn.create import create_model


def _small_torchvision(depths: tuple[int, ...], widths: tuple[int, ...]) -> nn.Module:
    """Its own constructor on fewer channels: the 138 million of the whole are a matter of counting."""
    plan: list[str | int] = [layer for n, w in zip(depths, widths, strict=True) for layer in (*([w] * n), "M")]
    theirs = models.VGG(models.vgg.make_layers(plan, batch_norm=True), num_classes=4, init_weights=False)
    theirs.classifier = nn.Sequential(
        nn.Linear(widths[-1] * 49, 24),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(24, 20),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(20, 4),
    )
    return theirs.double().eval()


@pytest.mark.medium
@pytest.mark.parametrize("size", [32, 75])
def test_logits_equal_torchvisions_construction_with_its_weights(size: int) -> None:
    depths, widths = (2, 2, 3, 3, 3), (4, 6, 8, 10, 12)
    theirs = _small_torchvision(depths, widths)
    config = VggConfig(name="x", depths=depths, widths=widths, hidden=(24, 20), num_classes=4)
    ours = create_model(config.architecture()).double().eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_logits_of_the_whole_vgg16_equal_torchvisions() -> None:
    with torch.device("meta"):
        theirs = models.vgg16_bn(num_classes=4, init_weights=False)
    theirs.to_empty(device="cpu").eval()
    ours = create_model("vgg16_bn", num_classes=4).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "height"), [(7, 7), (7, 9), (2, 5), (3, 1)])
def test_the_adaptive_pool_is_the_mean_of_its_windows(size: int, height: int) -> None:
    config = VggConfig(name="x", depths=(1,), widths=(2,), hidden=(3,), pool=size)
    pool = create_model(config.architecture()).get_submodule("head.pool")
    x = torch.randn(2, 2, height, height + 2, dtype=torch.float64)
    y = pool(x)
    for row in range(size):
        top, bottom = row * height // size, -(-(row + 1) * height // size)
        for column in range(size):
            left, right = column * (height + 2) // size, -(-(column + 1) * (height + 2) // size)
            torch.testing.assert_close(y[..., row, column], x[..., top:bottom, left:right].mean((2, 3)))


def test_every_layer_of_equal_width_can_be_left_out() -> None:
    description = architecture("vgg15_cifar")
    layers = unit_names(description)
    assert len(layers) == 13  # the stem and the classifier are the other two
    for name in layers:
        assert len(unit_names(without(description, name))) == 12


def test_a_layer_that_changes_the_width_fits_no_weights_without_it_and_pools_stay() -> None:
    description = without(architecture("vgg16_bn"), "stage2.unit1")
    assert [name for name, _ in dict(description.body)["stage2"].parts] == ["unit2", "pool"]  # type: ignore[union-attr]


def test_depths_and_widths_must_be_as_many() -> None:
    with pytest.raises(InputError, match=r"depths \(1, 2\) and widths \(8,\): wanted one of each for every stage"):
        build(VggConfig, {"name": "x", "depths": (1, 2), "widths": (8,)}, "x")


def test_without_norms_it_is_the_papers_network() -> None:
    ours = create_model(VggConfig(name="x", depths=(1, 1), widths=(4, 4), hidden=(6,), norm=False).architecture())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ours.modules())
