import pytest
import torch

from deepres.analyze.guards import counted, evaluating, on_device, require_size, smallest_side, some
from deepres.arch.catalogue.lookup import architecture
from deepres.base.errors import InputError
from deepres.data.images import Batch
from deepres.nn.build import build
from deepres.nn.create import create_model


@pytest.mark.medium
@pytest.mark.parametrize("name", ["resnet20_cifar", "resnet18", "vgg16_bn", "densenet121", "fractalnet20_cifar"])
def test_the_smallest_side_is_the_smallest_that_runs(name: str) -> None:
    description = architecture(name)
    side = smallest_side(description)
    net = build(description).eval()
    with torch.inference_mode():
        net(torch.zeros(1, 3, side, side, device="meta"))
        if side > 1:
            with pytest.raises((RuntimeError, ValueError)):
                net(torch.zeros(1, 3, side - 1, side - 1, device="meta"))


def test_images_too_small_are_refused_with_the_smallest_size() -> None:
    description = architecture("vgg16_bn")
    require_size(description, 3, 32, 40)
    with pytest.raises(InputError) as refusal:
        require_size(description, 3, 31, 40)
    assert str(refusal.value) == (
        "images of 40 x 31 px: too small for vgg16_bn; wanted at least 32 x 32 px; give larger images"
    )
    with pytest.raises(InputError) as refusal:
        require_size(description, 3, -2, 0, lost=8)
    assert str(refusal.value) == (
        "images of 8 x 6 px: too small for vgg16_bn shifted by up to 8 px; wanted at least 40 x 40 px; "
        "give smaller shifts or larger images"
    )
    with pytest.raises(InputError, match=r"^images of 1 channels: vgg16_bn takes 3; prepare them with 3$"):
        require_size(description, 1, 32, 32)
    with pytest.raises(InputError, match=r"^no image was given, so there is nothing to measure; give at least one$"):
        some(0)


def test_evaluating_leaves_the_network_as_it_was_also_after_an_exception() -> None:
    net = create_model("resnet20_cifar").double()
    net.stem.eval()
    modes, state = [module.training for module in net.modules()], torch.get_rng_state()
    with pytest.raises(RuntimeError, match="in the middle"), evaluating(net):  # noqa: PT012
        assert not any(module.training for module in net.modules())
        assert torch.is_inference_mode_enabled()
        assert on_device(net, torch.rand(2)).dtype == torch.float64
        raise RuntimeError("in the middle")
    assert not torch.is_inference_mode_enabled()
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


def test_progress_counts_batches_and_knows_the_total_of_a_list_only() -> None:
    batch = Batch(torch.zeros(1, 1, 1, 1), torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    heard: list[tuple[int, int]] = []
    assert len(list(counted([batch] * 3, lambda *pair: heard.append(pair)))) == 3
    assert heard == [(1, 3), (2, 3), (3, 3)]
    list(counted((one for one in [batch]), lambda *pair: heard.append(pair)))
    assert heard[3:] == [(1, 0)]
