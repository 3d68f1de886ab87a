from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from deepres.analyze import equivariance
from deepres.analyze.equivariance import equivariance_errors, part_fields, resize_consistency, shift_consistency
from deepres.arch.algebra import Sequence
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import Conv, GlobalAveragePool, Linear
from deepres.arch.families.resnet import ResNetConfig
from deepres.base.errors import InputError
from deepres.data.images import ArrayImages, Batch
from deepres.data.loading.loader import prepare_one
from deepres.data.rng import generator
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import imagenet_statistics
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model

SMALL = ResNetConfig(
    name="r", input=(3, 16, 16), num_classes=9, stem="cifar", stem_width=8, depths=(1, 1), widths=(8, 16)
)


@pytest.fixture
def net() -> ResidualNetwork:
    """With logits so near one another that shifts change answers."""
    net = create_model(SMALL.architecture(), seed=1).eval()
    with torch.no_grad():
        logits = torch.cat([net(batch.images) for batch in _batches(16, 30)])
        net.get_submodule("head.fc").bias.sub_(logits.mean(0))
    return net.train()


def _batches(side: int, count: int = 6, size: int = 3) -> list[Batch]:
    x = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(2))
    labels, indices = torch.arange(count) % 9, torch.arange(count) * 5
    return [Batch(*parts) for parts in zip(x.split(size), labels.split(size), indices.split(size), strict=True)]


def _state(net: nn.Module) -> tuple[object, ...]:
    return (
        [module.training for module in net.modules()],
        [tensor.clone().numpy().tobytes() for tensor in net.state_dict().values()],
        torch.get_rng_state().numpy().tobytes(),
    )


@pytest.mark.medium
@pytest.mark.parametrize("along", ["both", "diagonal"])
@pytest.mark.parametrize("border", ["crop", "wrap"])
def test_consistency_is_that_of_a_slow_loop(net: ResidualNetwork, border: str, along: str) -> None:
    found = shift_consistency(net, _batches(20), max_shift=6, pairs=3, seed=7, border=border, along=along)  # type: ignore[arg-type]
    net.eval()
    equal = 0
    seen: list[tuple[int, int]] = []
    for batch in _batches(20):
        for image, index in zip(batch.images, batch.indices.tolist(), strict=True):
            draws = torch.randint(7, (3, 2, 2), generator=generator(7, "shift", index)).tolist()
            for pair in draws:
                answers = []
                for top, left in pair:
                    left = top if along == "diagonal" else left
                    seen.append((top, left))
                    view = (
                        image[:, top : top + 14, left : left + 14]
                        if border == "crop"
                        else torch.stack([image[:, (y + top) % 20][:, (torch.arange(20) + left) % 20] for y in range(20)], 1)
                    )  # fmt: skip
                    with torch.no_grad():
                        answers.append(int(net(view[None]).argmax()))
                equal += answers[0] == answers[1]
    assert (found.num_images, found.num_pairs, found.num_equal) == (6, 18, equal)
    assert found.consistency == equal / 18
    assert 0 < equal < 18
    assert {top for top, _ in seen} == set(range(7))


@pytest.mark.medium
def test_consistency_does_not_depend_on_batches_and_repeats(net: ResidualNetwork) -> None:
    before = _state(net)
    first = shift_consistency(net, _batches(20), max_shift=4, pairs=4)
    assert first == shift_consistency(net, _batches(20, size=1), max_shift=4, pairs=4)
    assert shift_consistency(net, _batches(20), max_shift=4, pairs=4, seed=1) != first
    assert _state(net) == before
    assert type(first).model_validate_json(first.to_json()) == first


def _plain(stride: int, padding: int) -> ResidualNetwork:
    conv = Conv(channels=4, kernel=3, stride=stride, padding=padding)
    body = {"stem": Sequence(parts={"conv": conv}), "stage1": Sequence(parts={"conv": conv})}
    head = Sequence(parts={"pool": GlobalAveragePool(), "fc": Linear(features=3)})
    return create_model(Architecture(name="plain", input=(3, 32, 32), body=tuple(body.items()), head=head)).double()


def test_convolutions_move_with_their_images_by_multiples_of_the_stride_and_only_so() -> None:
    for error in equivariance_errors(_plain(2, 0), _batches(40), shifts=(1, 2, 3, 4, 6, 8), border=0):
        assert error.relative_error is not None
        assert error.stride == {"stem": 2, "stage1": 4}[error.part]
        assert error.multiple == (error.shift_px % error.stride == 0)
        if error.multiple:
            assert error.relative_error < 1e-12
        else:
            assert error.relative_error > 0.1


def test_parts_of_a_pixel_are_exact_on_a_slope() -> None:
    """Convolutions without padding map a slope to a slope, which interpolation continues exactly."""
    slope = torch.arange(40.0, dtype=torch.float64)
    image = (2 * slope[:, None] - 3 * slope).expand(1, 3, 40, 40)
    batch = Batch(image, torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    for error in equivariance_errors(_plain(2, 0), [batch], shifts=(1, 2, 3, 4, 5, 7)):
        assert error.relative_error is not None
        assert error.relative_error < 1e-12


def test_padding_breaks_it_at_the_border_alone() -> None:
    padded = _plain(1, 1)
    at_border = equivariance_errors(padded, _batches(24), shifts=(1, 4), border=0)
    inside = equivariance_errors(padded, _batches(24), shifts=(1, 4), border=0.15)
    for error in at_border:
        assert error.relative_error is not None
        assert error.relative_error > 0.01
        assert (error.border_px, error.border_free) == (0, False)
    for error in inside:
        assert error.relative_error is not None
        assert error.relative_error < 1e-12
        assert error.border_px >= 3
        assert error.border_free


def test_errors_are_those_of_a_slow_loop(net: ResidualNetwork) -> None:
    found = {(e.part, e.shift_px): e for e in equivariance_errors(net, _batches(20), shifts=(1, 4), border=0.125)}
    net.eval()
    x = torch.cat([batch.images for batch in _batches(20)])
    with torch.no_grad():
        still, moved = net.features(x[..., :16, :16]), net.features(x[..., 1:17, 1:17])
    a, b = still["stage2"].double(), moved["stage2"].double()  # 8 x 8, stride 2, border 1: half a pixel's shift
    above = below = 0.0
    for i in range(1, 6):
        for j in range(1, 6):
            wanted = (a[:, :, i, j] + a[:, :, i + 1, j] + a[:, :, i, j + 1] + a[:, :, i + 1, j + 1]) / 4
            above += float((b[:, :, i, j] - wanted).square().sum())
            below += float(wanted.square().sum())
    assert found["stage2", 1].border_px == 1
    assert found["stage2", 1].relative_error == pytest.approx(_squared_over(a, b), rel=1e-9)
    assert found["stage2", 1].relative_error == pytest.approx(sqrt(above / below), rel=1e-9)


def _squared_over(a: Tensor, b: Tensor) -> float:
    wanted = nn.functional.avg_pool2d(a, 2, stride=1)[:, :, 1:6, 1:6]
    return float((b[:, :, 1:6, 1:6] - wanted).norm() / wanted.norm())


@pytest.mark.medium
def test_shifts_by_default_reach_the_last_stride_and_all_repeats(net: ResidualNetwork) -> None:
    before = _state(net)
    first = equivariance_errors(net, _batches(20))
    assert [(e.part, e.shift_px) for e in first] == [(p, t) for p in ("stem", "stage1", "stage2") for t in (1, 2)]
    assert first == equivariance_errors(net, _batches(20))
    for one, other in zip(first, equivariance_errors(net, _batches(20, size=2)), strict=True):
        assert one.relative_error == pytest.approx(other.relative_error, rel=1e-5)
    assert {name: field.stride for name, field in part_fields(net.description).items()} == {
        "stem": 1,
        "stage1": 1,
        "stage2": 2,
    }
    with pytest.raises(RuntimeError, match="in the middle"):
        equivariance_errors(net, _broken())
    with pytest.raises(RuntimeError, match="in the middle"):
        shift_consistency(net, _broken(), max_shift=2)
    assert _state(net) == before
    assert not torch.is_inference_mode_enabled()


def _broken():  # type: ignore[no-untyped-def]
    yield _batches(20)[0]
    torch.rand(3)
    raise RuntimeError("in the middle")


@pytest.mark.medium
def test_resizing_is_that_of_a_slow_loop(net: ResidualNetwork) -> None:
    pixels = torch.randint(256, (7, 3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    images = ArrayImages(pixels, torch.arange(7) % 9, tuple("abcdefghi"), "noise/test")
    preparation = Preparation(fit="crop", resize=18, crop=16, interpolation="bicubic", antialias=False)
    before = _state(net)
    found = resize_consistency(net, images, preparation, imagenet_statistics(), batch_size=3)
    assert found == resize_consistency(net, images, preparation, imagenet_statistics(), batch_size=7)
    assert _state(net) == before
    assert found.settings == (
        "bilinear, antialias",
        "bilinear, no antialias",
        "bicubic, antialias",
        "bicubic, no antialias",
    )
    assert found.reference == "bicubic, no antialias"
    net.eval()
    answers = []
    for interpolation in ("bilinear", "bicubic"):
        for antialias in (True, False):
            way = Preparation(fit="crop", resize=18, crop=16, interpolation=interpolation, antialias=antialias)
            with torch.no_grad():
                answers.append(
                    [int(net(prepare_one(p, way, imagenet_statistics())[None]).argmax()) for p in pixels]
                )  # fmt: skip
    for i, one in enumerate(answers):
        assert found.num_wrong[i] == sum(a != n % 9 for n, a in enumerate(one))
        for j, other in enumerate(answers):
            assert found.num_changed[i][j] == sum(a != b for a, b in zip(one, other, strict=True))
    assert found.share_changed == tuple(count / 7 for count in found.num_changed[3])
    assert sum(found.share_changed) > 0


def test_refusals(net: ResidualNetwork) -> None:
    with pytest.raises(InputError, match=r"^images of 20 x 20 px: too small for r shifted by up to 20 px; wanted at "):
        shift_consistency(net, _batches(20), max_shift=20)
    with pytest.raises(InputError, match=r"wanted at least 21 x 21 px; give smaller shifts or larger images$"):
        equivariance_errors(net, _batches(20), shifts=(20,))
    with pytest.raises(InputError, match=r"^shift consistency: max_shift 0, pairs 1; wanted both 1 or more$"):
        shift_consistency(net, _batches(20), max_shift=0)
    with pytest.raises(InputError, match=r"^equivariance: shifts \(0,\), border 0.125; wanted shifts of 1 or more"):
        equivariance_errors(net, _batches(20), shifts=(0,))
    with pytest.raises(InputError, match=r"^stem: a map of 4 x 4 px leaves nothing to compare under a shift of 16 px"):
        equivariance_errors(net, _batches(20), shifts=(16,))
    with pytest.raises(InputError, match="no image was given"):
        shift_consistency(net, [])
    with pytest.raises(InputError, match="no image was given"):
        equivariance_errors(net, [])
    nothing = ArrayImages(torch.zeros(0, 3, 9, 9, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), ("a",), "x")
    with pytest.raises(InputError, match="no image was given"):
        resize_consistency(net, nothing, Preparation(fit="squash", crop=16), imagenet_statistics())
    with pytest.raises(
        InputError, match=r"^resizing: preparation.fit None resizes nothing; give fit, resize and crop$"
    ):
        resize_consistency(net, nothing, Preparation(), imagenet_statistics())


def test_a_map_of_zeros_has_no_relative_error(net: ResidualNetwork) -> None:
    with torch.no_grad():
        net.get_submodule("stem.conv").weight.zero_()
    first = equivariance_errors(net, _batches(20))[0]
    assert (first.part, first.relative_error) == ("stem", None)
    assert equivariance.StageError.model_validate_json(first.to_json()) == first
