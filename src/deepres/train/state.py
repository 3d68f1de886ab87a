"""Everything that a run is at one moment: the weights, and all that decides what they become."""

from copy import deepcopy

from pydantic import Field
from torch import nn

from deepres.base.records import Record
from deepres.tasks.validation import Validation
from deepres.train.config import OptimizerConfig
from deepres.train.distributed import Distributed, state_tensors
from deepres.train.loss_scale import LossScale
from deepres.train.optim import optimiser
from deepres.train.schedules import Bend


class EpochTotals(Record):
    """Sums since the last epoch ended: `loss` and `counts` over `seen` images; `seconds` and time `waited`."""

    loss: float = 0.0
    counts: dict[str, float] = Field(default_factory=dict)
    seen: int = 0
    seconds: float = 0.0
    waited: float = 0.0


class Best(Record):
    """An epoch as its held-out images judge it (`Validation`): its step, its key, how sure that is.

    `low` and `high` are the 95 % interval of `key[0]`, which is called `name`, of so many `images` (0: not known).
    """

    epoch: int
    step: int
    key: tuple[float, ...]
    name: str = "error"
    low: float
    high: float
    images: int = 0

    @classmethod
    def of(cls, epoch: int, step: int, val: Validation) -> "Best":
        """The epoch that ended after `step`, as `val` says."""
        low, high = (val.key[0] if end is None else end for end in (val.low, val.high))
        return cls(epoch=epoch, step=step, key=val.key, name=val.name, low=low, high=high, images=val.images)

    @property
    def value(self) -> float:
        """What decides first."""
        return self.key[0]


class Progress(Record):
    """The numbers of the state; random draws need none, since each is seeded by its step.

    `recent_error` is the share of wrong training images of the last steps (weight 0.02 for the newest), `in_warmup`
    whether the learning rate is still held at `warmup_lr` because of it; `best` is the best epoch on held-out images,
    `kept` the last that cannot be told from it (`train/selection.py`); `stale` counts epochs since `best`; `bend` is
    there once the run's length was changed on the way; `loss_scale` is of training in float16.
    """

    step: int = 0
    epoch: int = 0
    in_warmup: bool = True
    recent_error: float = 1.0
    best: Best | None = None
    kept: Best | None = None
    epochs_since_best: int = 0
    finished: bool = False
    totals: EpochTotals = Field(default_factory=EpochTotals)
    bend: Bend | None = None
    loss_scale: LossScale = LossScale()

    def length(self, planned: int) -> int:
        """Steps of the whole run, of which so many were planned."""
        return planned if self.bend is None else self.bend.total

    def at(self, step: int, planned: int) -> float:
        """Where schedules stand at `step`: the share of the run that is done, in [0, 1)."""
        return step / planned if self.bend is None else self.bend.at(step)

    def bent(self, total: int, planned: int, why: str) -> "Progress":
        """The same, to end after `total` steps in all; at least after those that are done."""
        begin = self.at(self.step, planned)
        return self.replace(bend=Bend(step=self.step, progress=begin, total=max(total, self.step), why=why))


class State:
    """Network, optimiser, average of the weights (or None), `progress`, and `digests` of epochs' weights by step.

    With `layer_decay` each part of the network learns that many times as fast as the part after it, the last, its head,
    at `head_pace`.
    """

    def __init__(
        self,
        network: nn.Module,
        config: OptimizerConfig,
        averaged: bool,
        layer_decay: float = 1.0,
        head_pace: float = 1.0,
    ) -> None:
        self.network = network
        parts = [name for name, _ in network.named_children()]
        factors = {name: layer_decay**distance for distance, name in enumerate(reversed(parts))}
        factors.update(dict.fromkeys(parts[-1:], head_pace))
        self.optimiser = optimiser(network.named_parameters(), config, factors)
        self.average = deepcopy(network).requires_grad_(False) if averaged else None
        self.progress = Progress()
        self.digests: dict[int, str] = {}

    @property
    def judged(self) -> nn.Module:
        """The network that is evaluated, selected and saved: the average where there is one; the two never mix."""
        return self.network if self.average is None else self.average


def replicate(state: State, processes: Distributed) -> None:
    """The state of process 0, in all processes."""
    state.progress = processes.on_rank_zero(lambda: state.progress)
    processes.replicate(state_tensors(state.network))
    processes.replicate(state.optimiser.state_dict())
    if state.average is not None:
        processes.replicate(state_tensors(state.average))
