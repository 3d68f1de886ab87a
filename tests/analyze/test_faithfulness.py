import itertools

import pytest
import torch
from torch import Tensor

from deepres.analyze import faithfulness as module
from deepres.analyze.attribution import attribution_maps
from deepres.analyze.faithfulness import Faithfulness, bare_images, faithfulness
from deepres.arch.families.resnet import ResNetConfig
from deepres.base.errors import InputError
from deepres.data.images import Batch
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model

SMALL = ResNetConfig(
    name="r", input=(3, 12, 12), num_classes=5, stem="cifar", stem_width=8, depths=(1, 1), widths=(8, 16)
)


@pytest.fixture
def net() -> ResidualNetwork:
    net = create_model(SMALL.architecture(), seed=1).train()
    with torch.no_grad():
        net.get_submodule("head.fc").weight.mul_(20)
    return net


def _batches(size: int = 2) -> list[Batch]:
    x = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(2))
    labels, indices = torch.arange(4), torch.arange(4) * 5
    return [Batch(*parts) for parts in zip(x.split(size), labels.split(size), indices.split(size), strict=True)]


@pytest.mark.medium
def test_curves_are_those_of_a_slow_loop(net: ResidualNetwork) -> None:
    found = faithfulness(net, _batches(), steps=4, background="mean")
    net.eval()
    deletions, insertions = [], []
    for batch in _batches():
        for image in batch.images:
            with torch.no_grad():
                target = int(net(image[None]).argmax())
            heat = attribution_maps(net, image[None], torch.tensor([[target]]))[0, 0].flatten().tolist()
            order = sorted(range(144), key=lambda place: -heat[place])
            bare = image.mean((1, 2))
            for curves, starts_bare in ((deletions, False), (insertions, True)):
                curve = []
                for share in (0, 36, 72, 108, 144):
                    changed = image.clone()
                    for rank, place in enumerate(order):
                        if (rank < share) != starts_bare:
                            changed[:, place // 12, place % 12] = bare
                    with torch.no_grad():
                        curve.append(float(net(changed[None]).double().softmax(1)[0, target]))
                curves.append(curve)
    for name, curves in (("deletion", deletions), ("insertion", insertions)):
        curve = getattr(found, name)
        wanted = [sum(points) / 4 for points in zip(*curves, strict=True)]
        assert curve.probability == pytest.approx(wanted, abs=1e-5)
        assert curve.area == pytest.approx(sum((a + b) / 8 for a, b in itertools.pairwise(wanted)), abs=1e-5)
    assert found.share == (0, 0.25, 0.5, 0.75, 1)


@pytest.mark.medium
def test_all_curves_begin_and_end_at_the_whole_and_the_bare_image(net: ResidualNetwork) -> None:
    found = faithfulness(net, _batches(), steps=5)
    whole, bare = found.deletion.probability[0], found.deletion.probability[-1]
    assert found.random_deletion.probability[0] == found.insertion.probability[-1] == whole
    assert found.random_insertion.probability[-1] == whole
    assert found.random_deletion.probability[-1] == found.insertion.probability[0] == bare
    assert whole != bare
    assert found.deletion != found.random_deletion


def test_the_pixels_that_alone_matter_go_first(net: ResidualNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a map that is right by construction deletion falls at once; with its opposite it stays up to the end."""
    matter = torch.zeros(12, 12, dtype=torch.bool)
    matter[2:5, 3:7] = True

    class Reads(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            present = (x[:, 0].abs() * matter).sum((1, 2))[:, None]
            return torch.cat([present * 10, torch.full((len(x), 4), 15.0)], 1)

    images = torch.zeros(2, 3, 12, 12)
    images[:, :, ::2] = 3
    images[:, :, 1::2] = -3
    reads = Reads()
    monkeypatch.setattr(module, "bare_images", lambda x, _: torch.zeros_like(x))
    monkeypatch.setattr(net, "forward", reads.forward)
    areas = {}
    for name, sign in (("right", 1.0), ("wrong", -1.0)):
        monkeypatch.setattr(
            module, "attribution_maps", lambda *_, sign=sign: sign * matter.expand(2, 1, 12, 12).double()
        )
        found = faithfulness(net, [Batch(images, torch.zeros(2), torch.arange(2))], steps=12)
        areas[name] = (found.deletion.area, found.insertion.area)
        assert found.deletion.area_std == 0
    assert areas["right"][0] < 0.1 < 0.9 < areas["right"][1]
    assert areas["wrong"][1] < 0.1 < 0.9 < areas["wrong"][0]


@pytest.mark.medium
def test_it_repeats_whatever_the_batches_and_changes_nothing(net: ResidualNetwork) -> None:
    modes, state = [part.training for part in net.modules()], torch.get_rng_state()
    heard: list[tuple[int, int]] = []
    first = faithfulness(net, _batches(), steps=3, on_progress=lambda *pair: heard.append(pair))
    assert first == faithfulness(net, _batches(), steps=3)
    assert heard == [(1, 2), (2, 2)]
    other = faithfulness(net, _batches(1), steps=3)
    assert other.random_deletion.probability == pytest.approx(first.random_deletion.probability, rel=1e-4)
    seeded = faithfulness(net, _batches(), steps=3, seed=1)
    assert seeded.deletion == first.deletion
    assert seeded.random_deletion != first.random_deletion
    assert [part.training for part in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert Faithfulness.model_validate_json(first.to_json()) == first
    renamed = [Batch(batch.images, batch.targets, batch.indices.flip(0)) for batch in _batches()]
    assert faithfulness(net, renamed, steps=3).deletion == first.deletion
    assert faithfulness(net, renamed, steps=3).random_deletion != first.random_deletion
    one = faithfulness(net, [Batch(*(part[:1] for part in (_batches()[0].images, torch.zeros(1), torch.arange(1))))])
    assert (one.num_images, one.deletion.area_std, len(one.share)) == (1, None, 29)


@pytest.mark.parametrize("side", [1, 2, 12, 40])
def test_backgrounds_keep_the_mean_colour_and_lose_the_detail(side: int) -> None:
    images = torch.randn(2, 3, side, side + 3, dtype=torch.float64) + 5
    for background in ("blur", "mean"):
        bare = bare_images(images, background)  # type: ignore[arg-type]
        assert bare.shape == images.shape
        assert float((bare.mean((2, 3)) - images.mean((2, 3))).abs().max()) < 0.5
    assert bool((bare == bare[..., :1, :1]).all())
    if side == 40:
        assert float(bare_images(images, "blur").std()) < float(images.std()) / 3


def test_refusals(net: ResidualNetwork) -> None:
    with pytest.raises(InputError, match=r"^faithfulness: 0 steps; wanted 1 or more$"):
        faithfulness(net, _batches(), steps=0)
    with pytest.raises(InputError, match="no image was given"):
        faithfulness(net, [])
