"""Carrying a run out: start or resume, train, keep states; stopping at any moment loses nothing that was saved."""

import fcntl
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType

import torch
from torch import nn

from deepres.base import records
from deepres.base.errors import DeepresError, InputError
from deepres.base.files import make_folder, write_atomic
from deepres.data.sample import FileImages
from deepres.data.sources import Source, open_source, write_split
from deepres.data.splits import PARTS, Origin
from deepres.data.statistics import Statistics, measure_statistics
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.hub import find_weights
from deepres.nn.memory import apply, available_bytes, require_fits
from deepres.recipes.conclude import Finished, conclude
from deepres.recipes.run import RUN, Run, facts_of
from deepres.recipes.setting import Setting
from deepres.serve.preprocessing import STATISTICS, prepared_for
from deepres.spec.chain import Plan
from deepres.train.checkpoint import load_newest, save_best, save_state
from deepres.train.fast import Fast, keep_freed_memory, return_freed_memory, settle
from deepres.train.journal import Journal
from deepres.train.loop import Epoch, Judgement, Step, train
from deepres.train.losses import cross_entropy
from deepres.train.precision import choose
from deepres.train.state import State

ORIGIN = "data.json"
FAST = "fast.json"
HOLES = 3  # bytes that a heap full of holes takes for each one in use, where layers are computed twice
MAY_CHANGE = ("epochs", "iterations", "schedule", "patience", "save_every_seconds", "memory", "fast")
DATA_MAY_CHANGE = ("source", "root", "workers", "on_bad_image")

Event = Step | Epoch | str
"""What the caller is shown as it happens: steps, epochs, and lines of text."""


class StoppedError(DeepresError):
    """The run was asked to stop and saved its state; the exit code is 128 plus the signal's number, as in a shell."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


def start(run: Run, folder: Path, *, device: torch.device, tell: Callable[[Event], None]) -> Finished:
    """Train from the first step in a new folder.

    Raises:
        InputError: the folder already holds a run, or cannot be written; anything that images or training refuse.
        StoppedError: a signal asked for it.
    """
    if (folder / RUN).exists():
        raise InputError(
            f"{folder}: holds a run already; continue it with --resume {folder}, or choose another --output"
        )
    source = open_source(run.data)
    run = run.fitted(facts_of(source))
    plan = _plan(run, device)
    first = _new_state(run, device, begin=True)  # what is wrong with it is refused before anything is written
    new = not folder.exists()
    make_folder(folder)
    with _alone(folder):
        try:
            setting = _set_up(run, source, folder, first, device)
        except BaseException:
            if new:
                shutil.rmtree(folder)
            raise
        return _carry_out(setting, first, plan, tell)


def resume(folder: Path, edits: Sequence[str] = (), *, device: torch.device, tell: Callable[[Event], None]) -> Finished:
    """Go on from the newest whole state; `edits` such as `train.epochs=60` extend a run that has finished.

    Raises:
        InputError: no run there, no whole state, or the images are not those that the run began with.
        StoppedError: a signal asked for it.
    """
    before = records.load(Run, folder / RUN, "run description; is this a run folder?")
    run = records.edit(before, edits)
    _require_same_plan(before, run)
    source = open_source(run.data)
    _require_same_images(source, folder)
    plan = _plan(run, device)
    with _alone(folder):
        statistics = Statistics.load(folder / STATISTICS)
        setting = Setting(run, source, folder, statistics, choose(run.train.precision, device))
        state = _new_state(run, device, begin=False)
        for line in load_newest(state, folder / "state"):
            tell(f"passed over a damaged state: {line}")
        if run != before:
            run.save(folder / RUN)
        return _carry_out(setting, state, plan, tell)


def _set_up(run: Run, source: Source, folder: Path, state: State, device: torch.device) -> Setting:
    if run.statistics == "weights" and run.weights is not None:
        _, statistics = prepared_for(find_weights(run.weights, run.model.name), run.model.network())
    else:
        statistics = measure_statistics(
            source.train, run.preparation, seed=run.seed, on_bad_image=run.data.on_bad_image
        )
    statistics.save(folder / STATISTICS)
    write_atomic(folder / ORIGIN, source.origin.to_json())
    if isinstance(source.train, FileImages):
        write_split(source, folder / "split.csv")
    save_state(state, folder / "state")
    run.save(folder / RUN)
    return Setting(run, source, folder, statistics, choose(run.train.precision, device))


def _plan(run: Run, device: torch.device) -> Plan:
    """Which layers a step computes twice; a step that does not fit is refused."""
    config = run.train
    return require_fits(
        run.model.network(),
        config.batch_size,
        available_bytes(device),
        config.memory,
        accumulate=config.accumulate,
        value_bytes=choose(config.precision, device).dtype.itemsize,
        averaged=config.ema_decay is not None,
    )


def _new_state(run: Run, device: torch.device, *, begin: bool) -> State:
    weights = run.weights if begin else None
    network = create_model(
        run.model.network(), weights=weights, variant=run.variant, new_head=run.new_head, seed=run.seed
    )
    placed = choose(run.train.precision, device).place(network)
    return State(placed, run.train.sgd, averaged=run.train.ema_decay is not None, layer_decay=run.train.layer_decay)


def _carry_out(setting: Setting, state: State, plan: Plan, tell: Callable[[Event], None]) -> Finished:
    config = setting.run.train
    total = config.steps(len(setting.source.train))
    tired = config.patience is not None and state.progress.stale >= config.patience
    if state.progress.finished and state.progress.step < total and not tired:  # the run has been extended
        state.progress = state.progress.replace(finished=False)
    tell(setting.opening(state.progress.step, total))
    if plan.segments:
        tell(f"saving memory: {plan}")
    if not state.progress.finished:
        _train(setting, state, plan, tell)
    return conclude(setting, state, tell)


def _train(setting: Setting, state: State, plan: Plan, tell: Callable[[Event], None]) -> None:
    config, states, val = setting.run.train, setting.folder / "state", setting.source.val
    loader = setting.loader()

    def evaluate_val(network: nn.Module) -> Judgement:
        assert val is not None
        result = setting.judge(network, val, "val").result
        return Judgement(result.error, result.cross_entropy)

    assert isinstance(state.network, ResidualNetwork)
    fast = _settled(setting, state, plan)
    tell(str(fast))
    events = train(
        state,
        config,
        loader,
        cross_entropy(config.label_smoothing),
        None if val is None else evaluate_val,
        num_images=len(setting.source.train),
        precision=setting.precision,
        seed=setting.run.seed,
        forward=fast.forward(state.network),
    )
    saved = monotonic()
    recomputing = apply(state.network, plan)
    with Journal(setting.folder, state.progress.step) as journal, _asked_to_stop() as asked, recomputing:
        for event in events:
            if isinstance(event, Epoch):
                if event.best:
                    save_best(state.judged, states, event.step)
                journal.write(event)
            if isinstance(event, Epoch) or asked or monotonic() - saved > config.save_every_seconds:
                save_state(state, states)
                saved = monotonic()
            tell(event)
            if asked and not state.progress.finished:
                raise StoppedError(
                    f"stopped after step {state.progress.step:,}, state saved; continue with: "
                    f"deepres train --resume {setting.folder}",
                    asked[0],
                )
    setting.skipped.update(loader.skipped)


def _settled(setting: Setting, state: State, plan: Plan) -> Fast:
    """How steps are carried out: as the run began, where it is resumed; layers computed twice are never compiled."""
    config, path = setting.run.train, setting.folder / FAST
    if plan.segments:
        holes = HOLES * plan.peak_bytes > available_bytes(setting.precision.device)
        if holes and setting.precision.device.type == "cpu" and return_freed_memory():
            return Fast(choice=config.fast, reason="layers are computed twice, and freed memory is returned at once")
        return Fast(choice=config.fast, reason="layers are computed twice")
    if config.fast != "off":
        keep_freed_memory()
    if path.is_file():
        before = records.load(Fast, path, "record of how steps are carried out")
        if before.choice == config.fast:
            return before
    network = state.network
    assert isinstance(network, ResidualNetwork)
    left = (config.steps(len(setting.source.train)) - state.progress.step) * config.accumulate
    fast = settle(config.fast, network, setting.precision, config.batch_size // config.accumulate, left)
    fast.save(path)
    return fast


def _require_same_plan(before: Run, run: Run) -> None:
    """Only what decides how long, how fast and from where may change; anything else would be another run."""
    kept = before.replace(
        train=before.train.replace(**{name: getattr(run.train, name) for name in MAY_CHANGE}),
        data=before.data.replace(**{name: getattr(run.data, name) for name in DATA_MAY_CHANGE}),
    )
    if kept != run:
        may = ", ".join([f"train.{name}" for name in MAY_CHANGE] + [f"data.{name}" for name in DATA_MAY_CHANGE])
        raise InputError(
            f"--resume: a run keeps what it began with; only {may} may change; start "
            "a new run for another plan, with --weights to begin where this one ended"
        )


def _require_same_images(source: Source, folder: Path) -> None:
    then, now = records.load(Origin, folder / ORIGIN, "record of the images"), source.origin
    if any(getattr(then, part) != getattr(now, part) for part in PARTS):
        raise InputError(
            f"{source.name}: the images are not those that the run in {folder} began with; "
            "bring those back, or start a new run"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two processes never write one run; it falls with the process, however it ends."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            raise InputError(
                f"{folder}: another process is training there; wait for it, or choose another --output"
            ) from cause
        yield


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """A list that SIGTERM or Ctrl-C fills; a second one ends at once. The handlers of before are restored."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
