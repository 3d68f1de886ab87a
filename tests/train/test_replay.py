"""Steps that are replayed are the steps themselves, to the bit: on a GPU as graphs, here by doing their work again."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepres.base.records import build
from deepres.data.images import Batch
from deepres.nn.create import create_model
from deepres.tasks.classification.losses import cross_entropy
from deepres.train.compile import CompilePlan
from deepres.train.config import TrainConfig
from deepres.train.loop import Step, TrainingContext, train
from deepres.train.precision import Precision, choose
from deepres.train.replay import WARM_UP, Replay, as_cuda_graph
from deepres.train.schedules import ScheduleConfig
from deepres.train.state import State

FLOAT32 = Precision(torch.device("cpu"), torch.float32, channels_last=False)
STEPS = 12


@dataclass
class Again:
    """A capture that keeps the work and does it again at each replay; the work of the capture leaves no trace."""

    network: nn.Module
    captured: int = 0
    replayed: int = 0

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1
        before = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        with torch.random.fork_rng():
            work()
        for name, buffer in self.network.named_buffers():
            buffer.copy_(before[name])

        def replay() -> None:
            self.replayed += 1
            work()

        for parameter in self.network.parameters():  # those of a graph hold nothing before its first replay
            parameter.grad = None
        return replay


@dataclass
class Drawn:
    """Batches that are functions of their step; `sizes` are those of steps that are not of `size` images."""

    size: int = 8
    sizes: dict[int, int] = field(default_factory=dict)
    change: Callable[[Batch], Batch] = lambda batch: batch
    device: torch.device = FLOAT32.device
    side: int = 4
    waited_seconds: float = 0.0

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        for step in range(start, stop):
            draw = torch.Generator().manual_seed(step)
            size = self.sizes.get(step, self.size)
            images = torch.randn(size, 3, self.side, self.side, generator=draw).to(self.device)
            labels = (images.mean((1, 2, 3)) > 0).long()
            yield self.change(Batch(images, labels, torch.arange(size)))


def _network() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2)
    network = nn.Sequential(*body, nn.Linear(16, 2))
    network.head_names = ("5",)  # type: ignore[assignment]
    return network


def _config(**fields: object) -> TrainConfig:
    plain = {"iterations": STEPS, "batch_size": 8, "schedule": ScheduleConfig(kind="constant", lr=0.1)}
    return build(TrainConfig, {**plain, **fields}, "train")


def _trained(
    network: nn.Module,
    config: TrainConfig,
    batches: Drawn,
    precision: Precision = FLOAT32,
    **context: Any,
) -> tuple[State, list[Step]]:
    state = State(network, config.optimizer, averaged=False)
    facts = TrainingContext(num_images=10**6, precision=precision, seed=0, **context)
    events = list(train(state, config, batches, cross_entropy(), None, facts))
    return state, [event for event in events if isinstance(event, Step)]


def _same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("fields", [{}, {"accumulate": 2}, {"accumulate": 4}, {"clip_norm": 0.1}])
@pytest.mark.medium
def test_replayed_steps_are_the_steps_themselves(fields: dict[str, object]) -> None:
    config, first = _config(**fields), _network()
    plain, told = _trained(deepcopy(first), config, Drawn())
    again = Again(first)
    replayed, told_again = _trained(first, config, Drawn(), capture=again)
    assert (again.captured, again.replayed) == (1, STEPS - WARM_UP)
    assert _same(plain.network, replayed.network)
    for one, other in zip(told, told_again, strict=True):
        assert (one.loss, one.counts, one.images) == (other.loss, other.counts, other.images)


@pytest.mark.medium
def test_a_short_batch_passes_as_it_is_and_the_graph_stays() -> None:
    first, batches = _network(), Drawn(sizes={6: 5, 9: 3})
    plain, _ = _trained(deepcopy(first), _config(), batches)
    again = Again(first)
    replayed, _ = _trained(first, _config(), batches, capture=again)
    assert (again.captured, again.replayed) == (1, STEPS - WARM_UP - 2)
    assert _same(plain.network, replayed.network)


@pytest.mark.medium
def test_passes_that_cannot_be_captured_stay_as_they_are() -> None:
    first, tried = _network(), []
    plain, _ = _trained(deepcopy(first), _config(), Drawn())

    def refuse(work: Callable[[], None]) -> Callable[[], None]:
        tried.append(1)
        Again(first)(work)
        raise RuntimeError("operation not permitted when stream is capturing")

    replayed, _ = _trained(first, _config(), Drawn(), capture=refuse)
    assert tried == [1]
    assert _same(plain.network, replayed.network)


@pytest.mark.medium
def test_what_begins_to_learn_is_captured_anew() -> None:
    first, config = _network(), _config(head_only_fraction=0.5)
    plain, _ = _trained(deepcopy(first), config, Drawn())
    again = Again(first)
    replayed, _ = _trained(first, config, Drawn(), capture=again)
    assert (again.captured, again.replayed) == (2, STEPS - 2 * WARM_UP)
    assert _same(plain.network, replayed.network)


@dataclass
class _Wrapped:
    labels: Tensor

    def __getitem__(self, places: Any) -> "_Wrapped":
        return _Wrapped(self.labels[places])


@pytest.mark.parametrize(
    "change",
    [
        lambda batch: replace(batch, pixels=batch.images),
        lambda batch: replace(batch, own=object()),
        lambda batch: replace(batch, targets=_Wrapped(batch.targets)),
    ],
    ids=["for a teacher", "of their own sizes", "no tensor"],
)
def test_a_batch_that_no_graph_can_take_passes_as_it_is(change: Callable[[Batch], Batch]) -> None:
    network = _network()
    again = Again(network)
    replay = Replay(list(network.parameters()), again)
    seen = []

    def passes(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        seen.append(batch)
        return batch.images.sum(), {}

    given = [change(batch) for batch in Drawn().batches(0, 6)]
    for batch in given:
        replay(passes, batch, "kind")
    assert seen == given
    assert again.captured == 0


def test_another_form_of_targets_is_another_kind() -> None:
    network = _network()
    again = Again(network)
    replay = Replay(list(network.parameters()), again)
    losses = []

    def passes(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return batch.targets.double().sum(), {}

    for step, batch in enumerate(Drawn().batches(0, 10)):
        mixed = replace(batch, targets=torch.eye(2)[batch.targets] * step) if step > 4 else batch
        losses.append((float(replay(passes, mixed, "kind")[0]), float(passes(mixed)[0])))
    assert again.captured == 2
    assert all(replayed == plain for replayed, plain in losses)


CUDA = torch.device("cuda")
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")


@on_gpu
@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("resnet20_cifar", {}),
        ("resnet20_cifar", {"accumulate": 2}),
        ("resnet20_cifar+style.dropout=0.2", {"accumulate": 2}),
        ("resnet20_cifar+drop_path=0.5", {}),
    ],
)
def test_on_a_gpu_a_graph_gives_the_bits_of_the_passes(
    model: str, fields: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    config, precision = _config(**fields), choose("bfloat16", CUDA)
    ends = []
    for capture in (None, as_cuda_graph):
        network = precision.place(create_model(model, num_classes=2))
        state, told = _trained(network, config, Drawn(side=32, device=CUDA), precision, capture=capture)
        ends.append((state.network, [step.loss for step in told]))
    assert ends[0][1] == ends[1][1]
    assert _same(ends[0][0], ends[1][0])


@on_gpu
def test_on_a_gpu_compiled_passes_are_captured_too() -> None:
    config, precision = _config(accumulate=2), choose("float32", CUDA)
    losses = []
    for plan in (CompilePlan(), CompilePlan(compiled="default", captured=True)):
        network = precision.place(create_model("resnet20_cifar", num_classes=2))
        calls = {"forward": plan.forward(network), "capture": plan.capture}
        _, told = _trained(network, config, Drawn(side=32, device=CUDA), precision, **calls)
        losses.append(torch.tensor([step.loss for step in told]))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-3, atol=1e-3)
