"""The training loop on one page: draw, forward, loss, backward, clip, step, count; the caller does the rest."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import Protocol

import torch
from torch import Tensor, nn

from deepres.base.errors import DeepresError, InputError, shared
from deepres.base.seeds import derive
from deepres.base.wording import is_share
from deepres.data.images import Batch
from deepres.nn.freeze import freeze
from deepres.nn.model import body_names
from deepres.tasks.losses import Counts, Forward, Loss
from deepres.tasks.validation import Validation
from deepres.train.config import TrainConfig
from deepres.train.distributed import SINGLE_PROCESS, Distributed
from deepres.train.feeding import UnfedError, batch_or_refusal, next_batch
from deepres.train.grad_sync import GradSync
from deepres.train.health import DivergedError, fault, lost
from deepres.train.loss_scale import unscaled
from deepres.train.optim import average_weights
from deepres.train.precision import Precision
from deepres.train.replay import Capture, Replay
from deepres.train.schedules import Schedule, ScheduleConfig
from deepres.train.selection import alike
from deepres.train.settling import Settling
from deepres.train.state import Best, EpochTotals, Progress, State


@dataclass(frozen=True)
class Step:
    """One optimiser step is done: `step` of `total` so far."""

    step: int
    total: int
    loss: float
    counts: Mapping[str, float]
    images: int
    lr: float
    waited_seconds: float
    seconds: float
    ends_epoch: bool = False  # its event comes next, and a state saved before that would lack it


@dataclass(frozen=True)
class Epoch:
    """The stream has passed once more over the images, or the run has ended; `val` is None without held-out images."""

    epoch: int
    step: int
    totals: EpochTotals
    lr: float
    val: Validation | None
    best: bool
    kept: bool = False  # it cannot be told from the best


class Batches(Protocol):
    """Where batches come from: those of steps `start` … `stop` - 1, and the seconds waited for them so far."""

    waited_seconds: float

    def batches(self, start: int, stop: int) -> Iterator[Batch]: ...


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """What training goes by beside its configuration: how many images, in which precision, with which processes.

    `forward` is what a training step calls in place of the network (compiled, wrapped); evaluation gets the network.
    `capture`, where it is given, makes one graph of a step's passes (`train/replay.py`).
    `fewest_images` go through it together at least (`arch/readings/norms.py`): where images could not be read, in fewer
    pieces.
    `from_nothing`: no trained norm statistics are there to be kept, the first ones are averages (`train/settling.py`).
    """

    num_images: int
    precision: Precision
    seed: int
    forward: Forward | None = None
    capture: Capture | None = None
    fewest_images: int = 1
    from_nothing: bool = False
    processes: Distributed = SINGLE_PROCESS


def train(
    state: State,
    config: TrainConfig,
    batches: Batches,
    loss: Loss,
    evaluate: Callable[[nn.Module], Validation] | None,
    context: TrainingContext,
) -> Iterator[Step | Epoch]:
    """Train from `state` to the end, yielding after each step and each epoch; stopping between two is always safe.

    All that happens from step t on is a function of the state after t steps: a state saved there and resumed gives
    the weights of the uninterrupted run. The caller may bend `state.progress` after a step, to a length that is not
    beyond that with which this began: the run ends there, its schedule with it.

    Each of `processes` trains on its share of every batch; state and events are the same in all of them, but for
    the seconds. Other draws than those of batches (dropout and the like) are each process' own.

    Raises:
        DivergedError: the loss or the weights are lost (`train/health.py`); at an epoch's end those after the step too,
            which no later loss may show.
        UnfedError: there is no batch for the next step; the state may be saved.
    """
    num_images, precision, processes = context.num_images, context.precision, context.processes
    planned, schedule = config.steps(num_images), config.schedule.schedule()
    settling = Settling(state.network, config.batch_size, num_images, planned if context.from_nothing else None)
    drawn = batches.batches(settling.first(state.progress.step), state.progress.length(planned))
    pieces = config.pieces(processes.size)
    exchange = GradSync(processes, state.network, config.batch_size, pieces, own_norms=not config.sync_norm)
    own = ("rank", processes.rank) if processes.rank else ()
    fewest = 1 if config.sync_norm and processes.size > 1 else context.fewest_images
    for step in range(settling.first(state.progress.step), state.progress.step):  # passed before the run was resumed
        passed = next_batch(drawn, pieces, fewest, processes)
        assert passed is not None
        settling.see(passed, _cut(passed, pieces, fewest), step)
    upcoming: Batch | DeepresError | None = next_batch(drawn, pieces, fewest, processes)
    frozen: tuple[str, ...] | None = None
    replay = None if context.capture is None else Replay(list(state.network.parameters()), context.capture)
    while (step := state.progress.step) < state.progress.length(planned):
        began, waited_before = perf_counter(), batches.waited_seconds
        if frozen != (still := _frozen(state.network, config, state.progress.at(step, planned))):
            freeze(state.network, frozen := still)
        if isinstance(batch := upcoming, DeepresError):
            raise UnfedError(batch)
        assert batch is not None
        settling.see(batch, _cut(batch, pieces, fewest), step)
        lr = lr_at(config.schedule, schedule, state.progress, step, planned)
        torch.manual_seed(derive(context.seed, "step", step, *own))  # dropout and the like
        called = state.network if context.forward is None else context.forward  # a compiled module has no truth value
        scale = state.progress.loss_scale.scale if precision.dtype is torch.float16 else 1.0
        cut = _cut(batch, pieces, fewest)
        passes = partial(_gradient, called, loss, cut, precision, exchange, scale)
        mean_loss, counts = passes(batch) if replay is None else replay(passes, batch, (cut, frozen, scale))
        # before the loss is asked for, so that a GPU works meanwhile
        upcoming = batch_or_refusal(drawn, pieces, fewest, processes)
        mean_loss, counts, seen = exchange.totals(mean_loss, counts, len(batch))
        if lost(float(mean_loss)):
            state.optimiser.zero_grad()
            terms = {name: float(count) / seen for name, count in counts.items() if not _is_error(name)}
            told = _lost(float(mean_loss), terms, step, lr, state)
            raise shared(DivergedError(told, tuple(batch.indices.tolist())))
        if sound := scale == 1 or _unscaled(state):
            if config.clip_norm is not None:
                nn.utils.clip_grad_norm_(state.network.parameters(), config.clip_norm)
            state.optimiser.step(lr)
        state.optimiser.zero_grad()
        if sound and state.average is not None and config.ema_decay is not None:
            average_weights(state.average, state.network, config.ema_decay, step)
        waited = batches.waited_seconds - waited_before
        seconds = perf_counter() - began
        total = state.progress.length(planned)
        ends = (step + 1) * config.batch_size // num_images > step * config.batch_size // num_images
        ends = ends or step + 1 == total
        counted = {name: float(count) for name, count in counts.items()}
        done = Step(step + 1, total, float(mean_loss), counted, seen, lr, waited, seconds, ends)
        _count(state, done, config)
        yield done
        last = step + 1 == state.progress.length(planned)
        if ends or last:
            _require_alive(state, _first_piece(batch, pieces, fewest), loss, precision, lr, processes)
            settling.settle(state.judged, frozen, precision, step + 1, processes)
            yield _end_epoch(state, config, evaluate, lr, last=last)
            if state.progress.finished:
                drawn.close()  # type: ignore[attr-defined]
                return


def in_warmup(chosen: ScheduleConfig, progress: Progress, step: int) -> bool:
    """Whether `warmup_lr` still holds: for some steps, or until the training error has fallen."""
    return chosen.warmup_lr is not None and (
        progress.in_warmup if chosen.warmup_steps is None else step < chosen.warmup_steps
    )


def lr_at(chosen: ScheduleConfig, schedule: Schedule, progress: Progress, step: int, planned: int) -> float:
    """The schedule's rate at step `step` of `planned`, or that of the warm-up."""
    if chosen.warmup_lr is not None and in_warmup(chosen, progress, step):
        return chosen.warmup_lr
    return schedule(progress.at(step, planned))


def _is_error(count: str) -> bool:
    """Whether a count is of what is wrong, not a term of the loss."""
    return count == "wrong" or is_share(count)


def _cut(batch: Batch, pieces: int, fewest: int) -> int:
    """The pieces that a batch is computed in."""
    return min(pieces, len(batch) // fewest)


def _frozen(network: nn.Module, config: TrainConfig, progress: float) -> tuple[str, ...]:
    return body_names(network) if progress < config.head_only_fraction else config.frozen


def _unscaled(state: State) -> bool:
    """Whether the gradients, divided by their scale, are finite; the next step's scale is chosen by that."""
    grads = [parameter.grad for parameter in state.network.parameters() if parameter.grad is not None]
    sound = unscaled(grads, state.progress.loss_scale.scale)
    state.progress = state.progress.replace(loss_scale=state.progress.loss_scale.after(sound))
    return sound


def _gradient(
    network: Forward, loss: Loss, pieces: int, precision: Precision, exchange: GradSync, scale: float, batch: Batch
) -> tuple[Tensor, Counts]:
    whole = exchange.planned(len(batch))
    mean_loss, counts = torch.zeros((), device=batch.images.device), Counts()
    for number, places in enumerate(_shares(len(batch), pieces), start=1):
        piece = batch if pieces == 1 else batch.at(places)
        piece = replace(piece, images=precision.images(piece.images))
        with precision.autocast():
            value, counted = loss(network, piece)
        share = value * (len(piece) / whole)
        with exchange.summing() if number == pieces else nullcontext():
            (share if scale == 1 else share * scale).backward()  # type: ignore[no-untyped-call]
        mean_loss += share.detach()
        for name, count in counted.items():
            counts[name] = counts.get(name, 0) + count
    return mean_loss, counts


def _shares(count: int, pieces: int) -> list[slice]:
    """`count` places in `pieces` shares, the larger ones first."""
    ends = [number * (count // pieces) + min(number, count % pieces) for number in range(pieces + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def _count(state: State, done: Step, config: TrainConfig) -> None:
    before = state.progress
    totals = before.totals
    schedule = config.schedule
    if schedule.warmup_lr is not None and schedule.warmup_steps is None and "wrong" not in done.counts:
        raise shared(
            InputError(
                "train.schedule.warmup_lr: held until the training error falls, and no wrong images are counted here; "
                "set train.schedule.warmup_steps"
            )
        )
    recent = 0.98 * before.recent_error + 0.02 * done.counts.get("wrong", 0.0) / done.images
    state.progress = before.replace(
        step=done.step,
        recent_error=recent,
        in_warmup=before.in_warmup and recent >= config.schedule.warmup_until_error,
        totals=EpochTotals(
            loss=totals.loss + done.loss * done.images,
            counts={name: totals.counts.get(name, 0.0) + count for name, count in done.counts.items()},
            seen=totals.seen + done.images,
            seconds=totals.seconds + done.seconds,
            waited=totals.waited + done.waited_seconds,
        ),
    )


def _end_epoch(
    state: State, config: TrainConfig, evaluate: Callable[[nn.Module], Validation] | None, lr: float, last: bool
) -> Epoch:
    before = state.progress
    val = None if evaluate is None else evaluate(state.judged)
    better = val is not None and val.finite and (before.best is None or val.key < before.best.key)
    epoch = before.epoch + 1
    best, kept = before.best, before.kept
    if val is not None and val.finite:
        this = Best.of(epoch, before.step, val)
        best = this if better or best is None else best
        kept = this if alike(best, this.value) else kept
    epochs_since_best = 0 if better else before.epochs_since_best + 1
    early_stopped = config.patience is not None and val is not None and epochs_since_best >= config.patience
    state.progress = before.replace(
        epoch=epoch,
        best=best,
        kept=kept,
        epochs_since_best=epochs_since_best,
        finished=last or early_stopped,
        totals=EpochTotals(),
    )
    return Epoch(epoch, before.step, before.totals, lr, val, better, kept is not before.kept)


def _require_alive(
    state: State, piece: Batch, loss: Loss, precision: Precision, lr: float, processes: Distributed
) -> None:
    """The weights at the end of an epoch, which no later loss may show, answer images of its last step."""
    wrong_with = fault(state.judged.state_dict())
    if wrong_with is None:
        before = {name: buffer.clone() for name, buffer in state.network.named_buffers()}
        with torch.no_grad(), precision.autocast():
            value = float(loss(state.network, replace(piece, images=precision.images(piece.images)))[0])
            for name, buffer in state.network.named_buffers():
                buffer.copy_(before[name])
        wrong_with = f"the loss is {value:.3g}" if lost(value) else None
    told = next((words for words in processes.all_gather(lambda: wrong_with) if words is not None), None)
    if told is not None:
        raise shared(DivergedError(f"after step {state.progress.step}: {told} at learning rate {lr:g}"))


def _first_piece(batch: Batch, pieces: int, fewest: int) -> Batch:
    return batch.at(slice(max(fewest, len(batch) // pieces)))


def _lost(value: float, terms: Mapping[str, float], step: int, lr: float, state: State) -> str:
    counted = ", ".join(f"{name} {term:.3g}" for name, term in terms.items())
    totals = state.progress.totals
    lately = f"; mean loss of the epoch before it: {totals.loss / totals.seen:.3g}" if totals.seen else ""
    of_it = f" ({counted})" if counted else ""
    return f"step {step + 1}: the loss is {value:.3g}{of_it} at learning rate {lr:g}{lately}"
