"""A detector made ready to answer answers as before; regions as sums of rows are RoIAlign."""

import pytest
import torch
from tiny import network, pictures
from torchvision.ops import roi_align

from deepres.arch.regions import Regions
from deepres.tasks.detection.inference import for_inference
from deepres.tasks.detection.pooling import align

SIZES = torch.tensor([[64, 64], [40, 64], [64, 33]])


@pytest.mark.parametrize("neck", ["fpn", "c4"])
@pytest.mark.parametrize("pooled", ["align", "max"])
@pytest.mark.medium
def test_folded_in_float32_it_finds_the_same(neck: str, pooled: str) -> None:
    pool = {"pool": 4, "widths": ()} if neck == "c4" else {"pool": 3, "widths": (16,)}
    net = network(neck, regions=Regions(score_above=0.0, most=20, pooled=pooled, **pool))  # type: ignore[arg-type]
    dice = torch.Generator().manual_seed(0)
    for name, tensor in net.state_dict().items():
        if "running_var" in name or ("norm" in name and name.endswith("weight")):
            tensor.uniform_(0.5, 1.5, generator=dice)
        elif "running_mean" in name:
            tensor.normal_(0, 0.1, generator=dice)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    images = pictures(3)
    with torch.no_grad():
        wanted = net.eval()(images, SIZES)
    fast = for_inference(net, "cpu", "float32")
    for one, other in zip(fast(images, SIZES), wanted, strict=True):
        assert torch.equal(one.classes, other.classes)
        torch.testing.assert_close(one.scores, other.scores, rtol=0, atol=1e-4)
        torch.testing.assert_close(one.corners, other.corners, rtol=0, atol=1e-2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    near = for_inference(net, "cpu", "bfloat16")
    for found in near(images, SIZES):
        assert found.scores.dtype == found.corners.dtype == torch.float32
        assert len(found.scores) == 20
    assert "norms folded" in str(near)
    assert near.network.regions.get_submodule("classes").weight.dtype == torch.float32
    assert (
        near.network.get_parameter("neck.output1.weight" if neck == "fpn" else "stem.conv.weight").dtype == near.dtype
    )


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("pool", "samples"), [(7, 2), (3, 1), (2, 3)])
def test_sums_of_rows_are_torchvisions_roi_align(aligned: bool, pool: int, samples: int) -> None:
    dice = torch.Generator().manual_seed(1)
    levels = [torch.randn(2, 5, 32 // s, 40 // s, generator=dice, dtype=torch.float64) for s in (2, 4)]
    levels = [level.requires_grad_() for level in levels]
    low = torch.rand(60, 2, generator=dice, dtype=torch.float64) * 50 - 8
    boxes = torch.cat([low, low + torch.rand(60, 2, generator=dice, dtype=torch.float64) ** 3 * 60], 1)
    picture = torch.randint(0, 2, (60, 1), generator=dice).double()
    regions, level = torch.cat([picture, boxes], 1), torch.randint(0, 2, (60,), generator=dice)
    found = align(levels, regions, level, (2, 4), pool, samples, 0.5 if aligned else 0.0)
    aim = torch.randn(found.shape, generator=dice, dtype=torch.float64)
    gradients = torch.autograd.grad((found * aim).sum(), levels)
    wanted = torch.zeros_like(found)
    for place, stride in enumerate((2, 4)):
        own = level == place
        wanted[own] = roi_align(levels[place], regions[own], pool, 1 / stride, samples, aligned)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    for one, other in zip(gradients, torch.autograd.grad((wanted * aim).sum(), levels), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
    none = align(levels, regions[:0], level[:0], (2, 4), pool, samples, 0.5)
    assert none.shape == (0, 5, pool, pool)
