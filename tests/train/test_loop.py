import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from copy import deepcopy

import pytest
import torch
from torch import nn

from deepres.base.errors import InputError
from deepres.base.records import build
from deepres.data.images import Batch
from deepres.tasks.classification.losses import cross_entropy
from deepres.tasks.validation import Validation, by_error
from deepres.train.config import SgdConfig, TrainConfig
from deepres.train.loop import Epoch, Step, TrainingContext, train
from deepres.train.precision import Precision
from deepres.train.schedules import ScheduleConfig
from deepres.train.state import State

FLOAT32 = Precision(torch.device("cpu"), torch.float32, channels_last=False)
NUM_IMAGES = 40


class Fixed:
    """Batches that are functions of their step."""

    waited_seconds = 0.0

    def __init__(self, size: int = 16) -> None:
        self.size = size

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        for step in range(start, stop):
            draw = torch.Generator().manual_seed(step)
            images = torch.randn(self.size, 3, 4, 4, generator=draw)
            labels = (images.mean((1, 2, 3)) > 0).long()
            yield Batch(images, labels, torch.arange(self.size))


def _network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 2))
    network.head_names = ("4",)  # type: ignore[assignment]
    return network


def _config(**fields: object) -> TrainConfig:
    plain = {"iterations": 10, "batch_size": 16, "schedule": ScheduleConfig(kind="constant", lr=0.1)}
    return build(TrainConfig, {**plain, **fields}, "train")


def _train(
    state: State, config: TrainConfig, val: Sequence[float | Validation] | None = None, steps: int | None = None
) -> list[Step | Epoch]:
    judged = iter([one if isinstance(one, Validation) else by_error(one, 1.0) for one in val or []])
    events = train(
        state,
        config,
        Fixed(),
        cross_entropy(),
        None if val is None else lambda network: next(judged),
        TrainingContext(num_images=NUM_IMAGES, precision=FLOAT32, seed=0),
    )
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, Step) and event.step == steps:
            break
    return seen


@pytest.mark.medium
def test_stopped_and_continued_equals_uninterrupted_bitwise() -> None:
    config = _config(ema_decay=0.99, clip_norm=1.0)
    whole = State(_network(), config.optimizer, averaged=True)
    _train(whole, config)
    first = State(_network(), config.optimizer, averaged=True)
    _train(first, config, steps=4)
    second = State(deepcopy(first.network), config.optimizer, averaged=True)
    second.optimiser.load_state_dict(first.optimiser.state_dict())
    second.average.load_state_dict(first.average.state_dict())
    second.progress = first.progress
    _train(second, config)
    for mine, theirs in ((whole.network, second.network), (whole.average, second.average)):
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    assert second.progress == whole.progress.replace(totals=second.progress.totals)


@pytest.mark.medium
def test_it_learns() -> None:
    state = State(_network(), SgdConfig(), averaged=False)
    seen = [event for event in _train(state, _config(iterations=150)) if isinstance(event, Step)]
    assert sum(step.loss for step in seen[-10:]) < 0.5 * sum(step.loss for step in seen[:10])


def test_accumulated_parts_give_the_gradient_of_the_whole() -> None:
    network = _network().eval()  # without dropout
    ends = []
    for accumulate in (1, 4):
        state = State(deepcopy(network), SgdConfig(), averaged=False)
        state.network[3].p = 0.0
        _train(state, _config(accumulate=accumulate, iterations=3))
        ends.append(state.network)
    for a, b in zip(ends[0].parameters(), ends[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_epochs_end_where_the_stream_has_passed_over_the_images() -> None:
    config = _config(iterations=None, epochs=3)
    seen = _train(State(_network(), config.optimizer, averaged=False), config)
    # 40 images in batches of 16: after ceil(40/16), ceil(80/16), ceil(120/16) steps
    assert [event.step for event in seen if isinstance(event, Epoch)] == [3, 5, 8]
    assert [event.totals.seen for event in seen if isinstance(event, Epoch)] == [48, 32, 48]
    assert [event.step for event in seen if isinstance(event, Step) and event.ends_epoch] == [3, 5, 8]


def test_the_best_epoch_is_the_one_of_lowest_held_out_error_and_patience_ends_the_run() -> None:
    config = _config(iterations=None, epochs=9, patience=2)
    state = State(_network(), config.optimizer, averaged=False)
    epochs = [event for event in _train(state, config, val=[0.5, 0.2, 0.3, 0.2, 0.1]) if isinstance(event, Epoch)]
    assert [event.best for event in epochs] == [True, True, False, False]
    assert state.progress.finished
    assert state.progress.best is not None
    assert state.progress.best.epoch == 2


def test_of_two_epochs_the_lower_error_is_better_whatever_the_loss_and_the_lower_loss_among_equals() -> None:
    config = _config(iterations=None, epochs=4)
    state = State(_network(), config.optimizer, averaged=False)
    judged = [by_error(0.3, 0.5), by_error(0.2, 0.9), by_error(0.2, 0.8), by_error(0.2, 0.8)]
    events = _train(state, config, judged)
    assert [event.best for event in events if isinstance(event, Epoch)] == [True, True, True, False]


@pytest.mark.medium
def test_the_kept_epoch_is_the_last_that_cannot_be_told_from_the_best_whatever_a_resume_does() -> None:
    config = _config(iterations=None, epochs=6)
    errors, images = [0.6, 0.1, 0.2, 0.5, 0.22, 0.9], 50  # 5 of 50: up to 21 %

    def epochs(state: State, steps: int | None) -> list[Epoch]:
        judged = [by_error(error, 1.0, images) for error in errors[state.progress.epoch :]]
        return [event for event in _train(state, config, judged, steps) if isinstance(event, Epoch)]

    whole = State(_network(), config.optimizer, averaged=False)
    assert [event.kept for event in epochs(whole, None)] == [True, True, True, False, False, False]
    kept = whole.progress.kept
    assert kept is not None
    assert (kept.epoch, kept.value, kept.images) == (3, 0.2, 50)
    parts = State(_network(), config.optimizer, averaged=False)
    seen = [*epochs(parts, 9), *epochs(parts, None)]
    assert [event.epoch for event in seen] == [1, 2, 3, 4, 5, 6]
    assert parts.progress.kept == kept


def test_an_epoch_whose_loss_is_lost_is_never_kept() -> None:
    config = _config(iterations=None, epochs=3)
    judged = [by_error(0.3, 0.5, 10), by_error(0.3, float("nan"), 10), by_error(0.0, float("inf"), 10)]
    state = State(_network(), config.optimizer, averaged=False)
    _train(state, config, judged)
    assert state.progress.kept == state.progress.best
    assert state.progress.best is not None
    assert state.progress.best.epoch == 1


@pytest.mark.medium
def test_the_low_rate_is_held_until_the_training_error_falls() -> None:
    schedule = ScheduleConfig(kind="constant", lr=0.1, warmup_lr=0.01, warmup_until_error=0.9)
    config = _config(schedule=schedule, iterations=30)
    state = State(_network(), config.optimizer, averaged=False)
    rates = [event.lr for event in _train(state, config) if isinstance(event, Step)]
    turn = rates.index(0.1)
    assert 2 < turn < 20
    assert set(rates[:turn]) == {0.01}
    assert set(rates[turn:]) == {0.1}


@pytest.mark.medium
def test_the_low_rate_is_held_for_so_many_steps_where_they_are_given() -> None:
    schedule = ScheduleConfig(kind="constant", lr=0.1, warmup_lr=0.01, warmup_until_error=0.9, warmup_steps=25)
    config = _config(schedule=schedule, iterations=30)
    state = State(_network(), config.optimizer, averaged=False)
    assert [event.lr for event in _train(state, config) if isinstance(event, Step)] == [0.01] * 25 + [0.1] * 5


def test_a_loss_that_is_not_finite_stops_with_step_and_rate() -> None:
    config = _config(schedule=ScheduleConfig(kind="constant", lr=1e30))
    with pytest.raises(InputError, match=r"step \d+: the loss is (nan|inf) at learning rate 1e\+30"):
        _train(State(_network(), config.optimizer, averaged=False), config)


def test_clipping_bounds_the_step() -> None:
    config = _config(clip_norm=1e-3, optimizer=SgdConfig(momentum=0, weight_decay=0), iterations=1)
    state = State(_network(), config.optimizer, averaged=False)
    before = [p.clone() for p in state.network.parameters()]
    _train(state, config)
    moved = sum((p - q).square().sum() for p, q in zip(before, state.network.parameters(), strict=True)).sqrt()
    assert moved.item() == pytest.approx(0.1 * 1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 3}, "epochs 3 and iterations 10: wanted one of the two"),
        ({"iterations": None}, "wanted one of the two"),
        ({"accumulate": 3}, "batch_size 16 is no multiple of accumulate 3"),
        ({"clip_norm": 0}, "clip_norm: input should be greater than 0"),
    ],
)
def test_a_wrong_plan_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _config(**fields)


def _parts(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    network = nn.Sequential(OrderedDict(stem=body, head=nn.Sequential(nn.Flatten(), nn.Linear(16, 2))))
    network.head_names = ("head",)  # type: ignore[assignment]
    return network


def test_the_head_learns_first_and_the_body_stays_with_its_statistics() -> None:
    config = _config(iterations=10, head_only_fraction=0.5)
    state = State(_parts(), config.optimizer, averaged=False)
    before = {name: tensor.clone() for name, tensor in state.network.state_dict().items()}
    _train(state, config, steps=5)
    changed = {name for name, tensor in state.network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.1.weight", "head.1.bias"}
    _train(state, config)
    now = state.network.state_dict()
    assert not any(torch.equal(now[name], before[name]) for name in before if name != "stem.0.bias")


def test_what_is_frozen_never_learns_and_a_misspelt_part_is_refused() -> None:
    config = _config(frozen=("stem",))
    state = State(_parts(), config.optimizer, averaged=False)
    before = {name: tensor.clone() for name, tensor in state.network.state_dict().items()}
    _train(state, config)
    assert all(
        torch.equal(before[name], tensor) == name.startswith("stem")
        for name, tensor in state.network.state_dict().items()
    )
    with pytest.raises(InputError, match=r"train.frozen 'stme': unknown; did you mean stem\?"):
        _train(State(_parts(), config.optimizer, averaged=False), _config(frozen=("stme",)))


def test_discriminative_rates_multiply_the_step_of_each_part() -> None:
    moved = {}
    for decay in (1.0, 0.25):
        config = _config(iterations=1, layer_decay=decay)
        state = State(_parts(), config.optimizer, averaged=False, layer_decay=decay)
        before = {name: p.detach().clone() for name, p in state.network.named_parameters()}
        _train(state, config)
        moved[decay] = {name: p.detach() - before[name] for name, p in state.network.named_parameters()}
    for name in moved[1.0]:
        factor = 0.25 if name.startswith("stem") else 1.0
        torch.testing.assert_close(moved[0.25][name], factor * moved[1.0][name], rtol=1e-3, atol=1e-8)


def test_a_compiled_network_which_has_no_truth_value_is_called() -> None:
    class Compiled:
        def __init__(self, network: nn.Module) -> None:
            self.network, self.calls = network, 0

        def __len__(self) -> int:
            raise TypeError("ResidualNetwork does not support len()")

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            logits: torch.Tensor = self.network(images)
            return logits

    config = _config(iterations=2)
    state = State(_network(), config.optimizer, averaged=False)
    forward = Compiled(state.network)
    list(
        train(
            state,
            config,
            Fixed(),
            cross_entropy(),
            None,
            TrainingContext(num_images=NUM_IMAGES, precision=FLOAT32, seed=0, forward=forward),
        )
    )
    assert forward.calls == 2


def test_a_bent_run_ends_where_it_is_bent_to_and_its_rate_falls_all_the_way() -> None:
    config = _config(iterations=20, schedule=ScheduleConfig(kind="cosine", lr=0.1), head_only_fraction=0.25)
    state = State(_network(), config.optimizer, averaged=False)
    events = train(
        state, config, Fixed(), cross_entropy(), None, TrainingContext(num_images=NUM_IMAGES, precision=FLOAT32, seed=0)
    )
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, Step) and event.step in (8, 10):
            state.progress = state.progress.bent({8: 16, 10: 14}[event.step], 20, "a test")
    steps = [event for event in seen if isinstance(event, Step)]
    assert [step.total for step in steps] == [20] * 8 + [16] * 2 + [14] * 4
    shares = [step / 20 for step in range(8)]
    shares += [0.4, 0.4 + 0.6 / 8]  # from 8 of 20 on 8 steps are left, of which 2 are made
    shares += [0.55 + 0.45 * step / 4 for step in range(4)]
    assert [step.lr for step in steps] == pytest.approx([0.05 * (1 + math.cos(math.pi * at)) for at in shares])
    assert (state.progress.finished, state.progress.step, seen[-1].step) == (True, 14, 14)


def test_a_run_bent_to_where_it_is_ends_there_with_its_epoch() -> None:
    state = State(_network(), SgdConfig(), averaged=False)
    config = _config(iterations=20)
    for event in train(
        state, config, Fixed(), cross_entropy(), None, TrainingContext(num_images=NUM_IMAGES, precision=FLOAT32, seed=0)
    ):
        if isinstance(event, Step) and event.step == 7:
            state.progress = state.progress.bent(3, 20, "a test")
    assert isinstance(event, Epoch)
    assert (event.step, state.progress.finished, state.progress.length(20)) == (7, True, 7)
