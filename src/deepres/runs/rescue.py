"""A run that cannot go on: its state saved, or which it can go on from and at which rate, tried before advised."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import log
from pathlib import Path

from deepres.arch.readings.norms import fewest_images
from deepres.arch.readings.segments import CheckpointPlan
from deepres.base.errors import shared
from deepres.data.loading.loader import TrainLoader
from deepres.data.loading.processes import DiedError
from deepres.nn.memory import apply
from deepres.nn.model import told_by
from deepres.runs.context import RunContext, norms_together
from deepres.train.checkpoint import drop_newest, load_newest, save_state
from deepres.train.config import TrainConfig
from deepres.train.feeding import UnfedError
from deepres.train.health import DivergedError
from deepres.train.loop import Step, TrainingContext, in_warmup, train
from deepres.train.state import State, replicate

TRIED = 10  # steps, in memory alone
TIMES_CHANCE = 5.0  # a mean loss up to so many times that of guessing is one that can be learnt from
COMMON_RATE = 0.1  # the highest advised


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Where loader processes die again and again the error names the way on, whatever they were reading for."""
    try:
        yield
    except DiedError as cause:
        if "--resume" not in cause.message:
            cause.message += f"; continue with: deepres train --resume {folder}"
        raise


FEW = 8
"""Pictures of a step that are named."""


@contextmanager
def rescued(context: RunContext, state: State, plan: CheckpointPlan, loader: TrainLoader) -> Iterator[None]:
    """A run that is lost within keeps the states that it can go on from; the error says how, as it was tried.

    One that has no next batch saves its state; the error says what is wrong with the batch, and how to go on.
    """
    try:
        yield
    except UnfedError as cause:
        refusal, folder = cause.refusal, context.folder
        for skipped in context.processes.all_gather(lambda: loader.skipped):
            context.skipped.update(skipped)
        context.processes.on_rank_zero(context.keep_skipped)
        context.processes.on_rank_zero(lambda: save_state(state, folder / "state"))
        after = f"state saved after step {state.progress.step:,}; continue with: deepres train --resume {folder}"
        refusal.message = f"{refusal.message}; {after}"
        raise refusal from cause
    except DivergedError as cause:
        told = f"{cause.message}{_pictures(context, cause.images)}{_advice(context, state, plan)}"
        raise shared(DivergedError(told)) from cause


def _pictures(context: RunContext, places: tuple[int, ...]) -> str:
    """Which pictures the step was about, where they are few enough to be looked at."""
    if not 0 < len(places) <= FEW:
        return ""
    return "; pictures " + ", ".join(context.source.train.key(place) for place in sorted(set(places)))


def _advice(context: RunContext, state: State, plan: CheckpointPlan) -> str:
    """What to do, from what `TRIED` steps have shown; states that lead nowhere are dropped, but for the last one."""
    if not state.progress.step:
        return ", before anything was learnt; begin anew with other weights, or with --set train.precision=float32"
    folder, processes, lost_at = context.folder, context.processes, state.progress.step
    while True:
        processes.on_rank_zero(lambda: load_newest(state, folder / "state"))
        replicate(state, processes)
        begun = state.progress
        if begun.step < lost_at or begun.finished:
            for edits in _remedies(context.run.train, state):
                processes.on_rank_zero(lambda: load_newest(state, folder / "state"))
                replicate(state, processes)
                if _works(context, state, plan, edits):
                    words = " ".join(f"--set train.{name}={value:g}" for name, value in edits.items())
                    return (
                        f"; go on from the state after step {begun.step:,} at a lower rate, which was tried for some "
                        f"steps: deepres train --resume {folder} {words}"
                    )
        if not processes.on_rank_zero(lambda: drop_newest(folder / "state")):
            return (
                f"; the states that are left (the newest after step {begun.step:,}) do not learn at a lower rate "
                f"either: begin anew in another --output with --lr {_lower(context.run.train.schedule.lr):g}"
            )


def _remedies(config: TrainConfig, state: State) -> Iterator[dict[str, float]]:
    chosen = config.schedule
    lower = {"schedule.lr": _lower(chosen.lr)}
    if chosen.warmup_lr is not None and in_warmup(chosen, state.progress, state.progress.step):
        # what follows the low rate is mostly higher, and would be met beyond the steps that are tried
        lower = {"schedule.warmup_lr": _lower(chosen.warmup_lr)} | lower
    yield lower
    if config.clip_norm is None:
        yield lower | {"clip_norm": 1.0}


def _lower(lr: float) -> float:
    return float(f"{min(lr / 10, COMMON_RATE):.2g}")


def _works(context: RunContext, state: State, plan: CheckpointPlan, edits: dict[str, float]) -> bool:
    """Whether some steps from this state, which they spoil, keep a loss that can be learnt from."""
    config, network = context.run.train, state.network
    rates = {name.removeprefix("schedule."): value for name, value in edits.items() if name != "clip_norm"}
    changed = config.replace(
        schedule=config.schedule.replace(**rates), clip_norm=edits.get("clip_norm", config.clip_norm), patience=None
    )
    if state.progress.finished:
        state.progress = state.progress.replace(finished=False)
    last = state.progress.step + TRIED
    try:
        with apply(network, plan), norms_together(context, network):
            for event in train(
                state,
                changed,
                context.loader(),
                context.loss(),
                None,
                TrainingContext(
                    num_images=len(context.source.train),
                    precision=context.precision,
                    seed=context.run.seed,
                    fewest_images=fewest_images(told_by(network).description, config.frozen),
                    processes=context.processes,
                ),
            ):
                if isinstance(event, Step):
                    loss = event.loss
                    if event.step >= last:
                        break
    except (DivergedError, UnfedError):
        return False
    scale = 1.0 if context.run.teacher is None else context.run.teacher.largest
    return loss <= TIMES_CHANCE * scale * log(max(2, len(context.source.classes)))
