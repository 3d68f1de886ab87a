"""Training in float16 is torch's GradScaler's: the same scales, the same steps left out, the same weights."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from deepres.base.errors import RunError
from deepres.data.images import Batch
from deepres.tasks.losses import Counts, Forward
from deepres.train import loss_scale
from deepres.train.config import SgdConfig, TrainConfig
from deepres.train.loop import TrainingContext, train
from deepres.train.loss_scale import LossScale, unscaled
from deepres.train.precision import Precision
from deepres.train.schedules import ScheduleConfig
from deepres.train.state import State

FLOAT16 = Precision(torch.device("cpu"), torch.float16, channels_last=False)
STEPS, GREAT = 12, (0, 1, 6)
"""At three of the steps the loss is so great that its scaled gradients overflow."""


class Fixed:
    waited_seconds = 0.0

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        for step in range(start, stop):
            yield Batch(_images(step), torch.zeros(8, dtype=torch.int64), torch.full((8,), step))


def _images(step: int) -> Tensor:
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(step))


def _network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    network.head_names = ("2",)  # type: ignore[assignment]
    return network


def _loss(network: Forward, batch: Batch) -> tuple[Tensor, Counts]:
    great = 1e4 if int(batch.indices[0]) in GREAT else 1.0
    return network(batch.images).float().square().mean() * great, Counts()


def _trained(first: int | None = None) -> State:
    config = TrainConfig(
        iterations=STEPS,
        batch_size=8,
        schedule=ScheduleConfig(kind="constant", lr=0.05),
        optimizer=SgdConfig(weight_decay=0),
    )
    state = State(_network(), config.optimizer, averaged=False)
    context = TrainingContext(num_images=1000, precision=FLOAT16, seed=0)
    for number, _ in enumerate(train(state, config, Fixed(), _loss, None, context), start=1):
        if number == first:
            break
    return state


@pytest.mark.medium
def test_it_is_torchs_grad_scaler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LossScale, "CLEAN", 3)
    state, network = _trained(), _network()
    scaler = torch.amp.GradScaler("cpu", growth_interval=3)
    plain = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    scales = []
    for step in range(STEPS):
        with FLOAT16.autocast():
            value = network(_images(step)).float().square().mean() * (1e4 if step in GREAT else 1.0)
        scaler.scale(value).backward()  # type: ignore[no-untyped-call]
        scaler.step(plain)
        scaler.update()
        plain.zero_grad()
        scales.append(scaler.get_scale())
    assert state.progress.loss_scale.scale == scales[-1]
    assert scales[0] > scales[1] < scales[5] > scales[6] < scales[-1]  # it fell and it rose
    assert state.progress.loss_scale.left_out == len(GREAT)
    for ours, theirs in zip(state.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_scales_fall_rise_and_end() -> None:
    scale = LossScale(scale=4.0)
    for _ in range(LossScale.CLEAN):
        scale = scale.after(True)
    assert scale == LossScale(scale=8.0)
    assert scale.after(False) == LossScale(scale=4.0, left_out=1)
    for _ in range(4):
        scale = scale.after(False)
    assert (scale.scale, scale.left_out) == (0.5, 4)
    with pytest.raises(RunError, match=r"^train\.precision=float16: the gradients overflow"):
        scale.after(False)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_not_finite_is_seen_and_great_ones_are_none(bad: float) -> None:
    whole = [torch.full((4,), 3e38), torch.tensor([2.0, 4.0])]
    assert unscaled(whole, 2.0)
    assert whole[1].tolist() == [1.0, 2.0]
    whole[0][2] = bad
    assert not unscaled(whole, 2.0)


def test_the_state_says_where_the_scale_stands() -> None:
    assert _trained(3).progress.loss_scale.left_out == 2
    assert loss_scale.LossScale.model_validate_json(_trained(3).progress.loss_scale.model_dump_json()) == (
        _trained(3).progress.loss_scale
    )
