import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deepres.arch.families.rir import RirConfig
from deepres.arch.readings.paths import path_lengths
from deepres.base.errors import InputError
from deepres.base.records import build
from deepres.nn.create import create_model
from deepres.nn.layers import Parallel


def _config(**fields: object) -> RirConfig:
    small = {"name": "x", "input": (3, 8, 8), "num_classes": 3, "depths": (1, 2), "widths": (4, 8)}
    return build(RirConfig, {**small, **fields}, "x")


def _layer(unit: Parallel, name: str, streams: tuple[Tensor, Tensor], stride: int) -> tuple[Tensor, Tensor]:
    """r' = conv(r; W_rr) + conv(t; W_tr) + r and t' = conv(r; W_rt) + conv(t; W_tt), stream by stream, then norm."""
    r, t = streams
    weights = dict(unit.get_submodule(f"branch.{name}").named_parameters())
    w, norm = weights["branch.weight"], unit.get_submodule(f"branch.{name}.act.norm")
    out, given = w.shape[0] // 2, w.shape[1] // 2

    def conv(x: Tensor, rows: slice, columns: slice) -> Tensor:
        return F.conv2d(x, w[rows, columns], stride=stride, padding=1)

    new_r = conv(r, slice(out), slice(given)) + conv(t, slice(out), slice(given, None))
    new_t = conv(r, slice(out, None), slice(given)) + conv(t, slice(out, None), slice(given, None))
    new_r[:, :given] += r[:, :, ::stride, ::stride]
    y = norm(torch.cat([new_r, new_t], dim=1))
    return y[:, :out], y[:, out:]


@pytest.mark.medium
@given(number=st.integers(1, 2), stage=st.integers(1, 2), seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_a_unit_equals_two_streams_written_out(number: int, stage: int, seed: int) -> None:
    net = create_model(_config(depths=(2, 2)).architecture(), seed=seed).double().eval()
    unit = net.get_submodule(f"stage{stage}.unit{number}")
    assert isinstance(unit, Parallel)
    changes = (stage, number) == (2, 1)
    width = 4 if changes or stage == 1 else 8
    x = torch.randn(2, width, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    streams = (x[:, : width // 2], x[:, width // 2 :])
    first = _layer(unit, "layer1", streams, 2 if changes else 1)
    second = _layer(unit, "layer2", (first[0].relu(), first[1].relu()), 1)
    shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 4)) if changes else x
    torch.testing.assert_close(unit(x), (torch.cat(second, dim=1) + shortcut).relu(), rtol=0, atol=1e-12)


def test_zero_weights_keep_the_residual_stream_and_forget_the_transient_one() -> None:
    net = create_model(_config().architecture()).double().eval()
    layer = net.get_submodule("stage1.unit1.branch.layer2")
    torch.nn.init.zeros_(layer.get_parameter("branch.weight"))
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    y = layer(x) * (1 + 1e-5) ** 0.5  # the norm's eps
    torch.testing.assert_close(y[:, :2], x[:, :2])
    assert (y[:, 2:] == 0).all()


def test_paths_go_through_none_one_or_all_of_a_unit() -> None:
    # a unit's shortcut (0), or its branch (1) and in each of two layers the convolution (1) or the mask (0)
    assert path_lengths(_config(depths=(1,), widths=(4,)).architecture()) == {0: 1, 1: 1, 2: 2, 3: 1}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widths": (4,)}, r"depths \(1, 2\) and widths \(4,\): wanted one of each for every stage"),
        ({"widths": (4, 7)}, r"widths \(4, 7\): two equal streams cannot share 7 channels; make it even"),
        ({"widths": (8, 4)}, r"widths \(8, 4\): zeros only add channels; make no stage narrower than the last"),
    ],
)
def test_widths_that_cannot_be_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _config(**fields)
