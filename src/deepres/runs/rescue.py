"""A run that cannot go on: its state saved, or which it can go on from and at which rate, tried before advised."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import log
from pathlib import Path

from deepres.arch.readings.norms import fewest_images
from deepres.arch.readings.segments import Plan
from deepres.base.errors import shared
from deepres.data.loading.loader import TrainLoader
from deepres.data.loading.processes import DiedError
from deepres.nn.build import ResidualNetwork
from deepres.nn.memory import apply
from deepres.runs.context import Setting, norms_together
from deepres.train.checkpoint import drop_newest, load_newest, save_state
from deepres.train.config import TrainConfig
from deepres.train.feeding import UnfedError
from deepres.train.health import DivergedError
from deepres.train.loop import Step, held_low, train
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


@contextmanager
def rescued(setting: Setting, state: State, plan: Plan, loader: TrainLoader) -> Iterator[None]:
    """A run that is lost within keeps the states that it can go on from; the error says how, as it was tried.

    One that has no next batch saves its state; the error says what is wrong with the batch, and how to go on.
    """
    try:
        yield
    except UnfedError as cause:
        refusal, folder = cause.refusal, setting.folder
        for skipped in setting.world.gathered(lambda: loader.skipped):
            setting.skipped.update(skipped)
        setting.world.by_first(setting.keep_skipped)
        setting.world.by_first(lambda: save_state(state, folder / "state"))
        after = f"state saved after step {state.progress.step:,}; continue with: deepres train --resume {folder}"
        refusal.message = f"{refusal.message}; {after}"
        raise refusal from cause
    except DivergedError as cause:
        raise shared(DivergedError(f"{cause.message}{_advice(setting, state, plan)}")) from cause


def _advice(setting: Setting, state: State, plan: Plan) -> str:
    """What to do, from what `TRIED` steps have shown; states that lead nowhere are dropped, but for the last one."""
    if not state.progress.step:
        return ", before anything was learnt; begin anew with other weights, or with --set train.precision=float32"
    folder, world, lost_at = setting.folder, setting.world, state.progress.step
    while True:
        world.by_first(lambda: load_newest(state, folder / "state"))
        replicate(state, world)
        begun = state.progress
        if begun.step < lost_at or begun.finished:
            for edits in _remedies(setting.run.train, state):
                world.by_first(lambda: load_newest(state, folder / "state"))
                replicate(state, world)
                if _works(setting, state, plan, edits):
                    words = " ".join(f"--set train.{name}={value:g}" for name, value in edits.items())
                    return (
                        f"; go on from the state after step {begun.step:,} at a lower rate, which was tried for some "
                        f"steps: deepres train --resume {folder} {words}"
                    )
        if not world.by_first(lambda: drop_newest(folder / "state")):
            return (
                f"; the states that are left (the newest after step {begun.step:,}) do not learn at a lower rate "
                f"either: begin anew in another --output with --lr {_lower(setting.run.train.schedule.rate):g}"
            )


def _remedies(config: TrainConfig, state: State) -> Iterator[dict[str, float]]:
    chosen = config.schedule
    lower = {"schedule.rate": _lower(chosen.rate)}
    if chosen.low_rate is not None and held_low(chosen, state.progress, state.progress.step):
        # what follows the low rate is mostly higher, and would be met beyond the steps that are tried
        lower = {"schedule.low_rate": _lower(chosen.low_rate)} | lower
    yield lower
    if config.clip_norm is None:
        yield lower | {"clip_norm": 1.0}


def _lower(rate: float) -> float:
    return float(f"{min(rate / 10, COMMON_RATE):.2g}")


def _works(setting: Setting, state: State, plan: Plan, edits: dict[str, float]) -> bool:
    """Whether some steps from this state, which they spoil, keep a loss that can be learnt from."""
    config, network = setting.run.train, state.network
    assert isinstance(network, ResidualNetwork)
    rates = {name.removeprefix("schedule."): value for name, value in edits.items() if name != "clip_norm"}
    changed = config.replace(
        schedule=config.schedule.replace(**rates), clip_norm=edits.get("clip_norm", config.clip_norm), patience=None
    )
    if state.progress.finished:
        state.progress = state.progress.replace(finished=False)
    last = state.progress.step + TRIED
    try:
        with apply(network, plan), norms_together(setting, network):
            for event in train(
                state,
                changed,
                setting.loader(),
                setting.loss(),
                None,
                num_images=len(setting.source.train),
                precision=setting.precision,
                seed=setting.run.seed,
                fewest_images=fewest_images(network.description, config.frozen),
                world=setting.world,
            ):
                if isinstance(event, Step):
                    loss = event.loss
                    if event.step >= last:
                        break
    except (DivergedError, UnfedError):
        return False
    scale = 1.0 if setting.run.teacher is None else setting.run.teacher.largest
    return loss <= TIMES_CHANCE * scale * log(max(2, len(setting.source.classes)))
